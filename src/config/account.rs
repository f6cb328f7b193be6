//! What may a person say about one account?
//!
//! The table `[accounts."NAME"]` of `config.toml`. NAME is an e-mail, an account key or a short
//! id; which account that is, is told where accounts are known.

use std::fmt;

use serde::Serialize;

use super::Value;

/// How long a note may be, in bytes.
const LONGEST_NOTE: usize = 500;

/// One thing that can be said.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Field {
    /// `note`
    Note,
    /// `disabled`
    Disabled,
    /// `reserve`
    Reserve,
    /// `priority`
    Priority,
}

impl Field {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 4] = [Self::Note, Self::Disabled, Self::Reserve, Self::Priority];

    pub(super) fn help(self) -> &'static str {
        match self {
            Self::Note => "a remark about this account",
            Self::Disabled => "whether `recommend` passes this account over",
            Self::Reserve => "percent of this account's quota to keep back",
            Self::Priority => "accounts with more of it are recommended first",
        }
    }

    pub(super) fn default_value(self) -> Option<Value> {
        match self {
            Self::Note => None,
            Self::Disabled => Some(Value::Switch(false)),
            Self::Reserve => Some(Value::Whole(0)),
            Self::Priority => Some(Value::Signed(0)),
        }
    }

    pub(super) fn expected(self) -> &'static str {
        match self {
            Self::Note => "one line of 1 to 500 bytes",
            Self::Disabled => "true or false",
            Self::Reserve => "a whole percentage between 0 and 100",
            Self::Priority => "a whole number between -1000 and 1000",
        }
    }

    pub(super) fn allows(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Note, Value::Text(note)) => is_note(note),
            (Self::Disabled, Value::Switch(_)) => true,
            (Self::Reserve, Value::Whole(percent)) => *percent <= 100,
            (Self::Priority, Value::Signed(priority)) => (-1000..=1000).contains(priority),
            _ => false,
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Note => "note",
            Self::Disabled => "disabled",
            Self::Reserve => "reserve",
            Self::Priority => "priority",
        })
    }
}

/// What a person said about one account.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct AccountSettings {
    /// A remark.
    pub note: Option<String>,
    /// Whether it is not to be recommended.
    pub disabled: bool,
    /// How much of its quota to keep back, in percent, at most 100.
    pub reserve: u8,
    /// The more, the earlier it is recommended; from -1000 to 1000.
    pub priority: i32,
}

impl AccountSettings {
    /// Takes over one value, which fits its field.
    pub(super) fn take(&mut self, field: Field, value: &Value) {
        match (field, value) {
            (Field::Note, Value::Text(note)) => self.note = Some(note.clone()),
            (Field::Disabled, Value::Switch(disabled)) => self.disabled = *disabled,
            (Field::Reserve, Value::Whole(percent)) => {
                self.reserve = u8::try_from(*percent).unwrap_or(100);
            }
            (Field::Priority, Value::Signed(priority)) => self.priority = *priority,
            _ => {}
        }
    }
}

/// Whether a text can be a note: one line, neither empty nor long.
#[must_use]
pub fn is_note(text: &str) -> bool {
    let is_short = (1..=LONGEST_NOTE).contains(&text.len());
    is_short && !text.trim().is_empty() && !text.contains(char::is_control)
}

/// Whether a name is spelled like an e-mail, a key or a short id: an alias names no table, for it
/// is a setting itself.
pub(super) fn is_account(name: &str) -> bool {
    let is_short_id = || name.len() == 8 && name.chars().all(|c| c.is_ascii_hexdigit());
    name.len() <= 1_024
        && !name.contains(|c: char| c.is_whitespace() || c.is_control())
        && (name.contains(['@', ':']) || is_short_id())
}
