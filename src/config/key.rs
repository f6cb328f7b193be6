//! Which settings are there, and which values do they take?

use std::fmt;
use std::str::FromStr;

use chrono::TimeDelta;
use serde::{Serialize, Serializer};
use toml_edit::Item;

use super::Strategy;
use super::account::{Field, is_account};
use crate::time::Zone;

/// A setting, by what it is called.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Key {
    /// `codex_home`
    CodexHome,
    /// `codex_program`
    CodexProgram,
    /// `timezone`
    Timezone,
    /// `color`
    Color,
    /// `lock_timeout`
    LockTimeout,
    /// `jobs`
    Jobs,
    /// `strategy`
    Strategy,
    /// `undo.keep_days`
    UndoKeepDays,
    /// `trash.keep_days`
    TrashKeepDays,
    /// `status.live`
    StatusLive,
    /// `status.timeout_seconds`
    StatusTimeoutSeconds,
    /// `session_duration_hours`
    SessionDurationHours,
    /// `exclude`
    Exclude,
    /// `lean`
    Lean,
    /// `compression_level`
    CompressionLevel,
    /// `aliases.NAME`, as often as there are names.
    Alias(String),
    /// `accounts.NAME.FIELD`: NAME is an e-mail, an account key or a short id.
    Account(String, Field),
}

impl Key {
    /// Every setting with a fixed name, in the order in which they are listed.
    pub const FIXED: [Self; 15] = [
        Self::CodexHome,
        Self::CodexProgram,
        Self::Timezone,
        Self::Color,
        Self::LockTimeout,
        Self::Jobs,
        Self::Strategy,
        Self::UndoKeepDays,
        Self::TrashKeepDays,
        Self::StatusLive,
        Self::StatusTimeoutSeconds,
        Self::SessionDurationHours,
        Self::Exclude,
        Self::Lean,
        Self::CompressionLevel,
    ];

    /// What it is for, in one line.
    #[must_use]
    pub fn help(&self) -> &'static str {
        match self {
            Self::CodexHome => "the Codex home, if it is not ~/.codex",
            Self::CodexProgram => "the program of Codex, if it is not `codex` on PATH",
            Self::Timezone => "IANA name of the zone that times are shown and read in",
            Self::Color => "when output is coloured: auto, always or never",
            Self::LockTimeout => "seconds to wait for another run to finish",
            Self::Jobs => "threads for backup, restore and verify; 0: as many as there are cores",
            Self::Strategy => "what decides between ready accounts: lru, soonest-reset, most-left",
            Self::TrashKeepDays => "days for which snapshots that were put away stay in trash/",
            Self::UndoKeepDays => "days for which `undo` can bring back what was replaced",
            Self::StatusLive => "whether `status` and `backup` ask Codex itself for the quota",
            Self::StatusTimeoutSeconds => "seconds that Codex may take to answer",
            Self::SessionDurationHours => "length of a session in hours, for files of older tools",
            Self::Exclude => "glob patterns that snapshots leave out",
            Self::Lean => "whether snapshots leave out logs and caches unless told otherwise",
            Self::CompressionLevel => "how hard snapshots are compressed: 1 fast, 6 small, 12 slow",
            Self::Alias(_) => "a name of your own for an account (e-mail, key or short id)",
            Self::Account(_, field) => field.help(),
        }
    }

    /// Its value where nothing sets it; `None` if it then has none.
    #[must_use]
    pub fn default_value(&self) -> Option<Value> {
        match self {
            Self::CodexHome | Self::CodexProgram | Self::Timezone | Self::Alias(_) => None,
            Self::Color => Some(Value::Text("auto".to_owned())),
            Self::LockTimeout => Some(Value::Whole(10)),
            Self::Jobs => Some(Value::Whole(0)),
            Self::Strategy => Some(Value::Text(Strategy::default().to_string())),
            Self::UndoKeepDays => Some(Value::Whole(7)),
            Self::TrashKeepDays => Some(Value::Whole(30)),
            Self::StatusLive => Some(Value::Switch(true)),
            Self::StatusTimeoutSeconds => Some(Value::Whole(5)),
            Self::SessionDurationHours => Some(Value::Decimal(2.0)),
            Self::Exclude => Some(Value::List(Vec::new())),
            Self::Lean => Some(Value::Switch(false)),
            Self::CompressionLevel => Some(Value::Whole(1)),
            Self::Account(_, field) => field.default_value(),
        }
    }

    /// The environment variable that sets it: `CODEX_MANAGER_` and the name in capitals, its
    /// dots and hyphens as underscores. What is said of one account has none: the name of the
    /// variable would have to spell an address.
    #[must_use]
    pub fn variable(&self) -> Option<String> {
        let name = || self.to_string().to_uppercase().replace(['.', '-'], "_");
        (!matches!(self, Self::Account(..))).then(|| format!("CODEX_MANAGER_{}", name()))
    }

    /// What a value has to look like, for an error message.
    pub(super) fn expected(&self) -> &'static str {
        match self {
            Self::CodexHome => "a path",
            Self::CodexProgram => "a path, or the name of a program on PATH",
            Self::Timezone => "an IANA time zone name, as Europe/Berlin",
            Self::Color => "auto, always or never",
            Self::LockTimeout => "a whole number of seconds between 0 and 86400",
            Self::Jobs => "a whole number between 0 and 1024",
            Self::Strategy => "lru, soonest-reset or most-left",
            Self::UndoKeepDays | Self::TrashKeepDays => {
                "a whole number of days between 0 and 36500"
            }
            Self::StatusTimeoutSeconds => "a whole number of seconds between 1 and 600",
            Self::SessionDurationHours => "a number of hours above 0 and up to 168",
            Self::Exclude => "a list of glob patterns",
            Self::Lean | Self::StatusLive => "true or false",
            Self::CompressionLevel => "a whole number between 1 and 12",
            Self::Alias(_) => "an e-mail address, an account key or a short id",
            Self::Account(_, field) => field.expected(),
        }
    }

    /// The tables that the setting stands in, the outer one first, and its name there.
    pub(super) fn path(&self) -> (Vec<&str>, String) {
        match self {
            Self::UndoKeepDays => (vec!["undo"], "keep_days".to_owned()),
            Self::TrashKeepDays => (vec!["trash"], "keep_days".to_owned()),
            Self::StatusLive => (vec!["status"], "live".to_owned()),
            Self::StatusTimeoutSeconds => (vec!["status"], "timeout_seconds".to_owned()),
            Self::Alias(name) => (vec!["aliases"], name.clone()),
            Self::Account(name, field) => (vec!["accounts", name], field.to_string()),
            _ => (Vec::new(), self.to_string()),
        }
    }

    /// Reads a value as a person types it; a list is separated by commas, or written as in TOML.
    pub(super) fn read(&self, text: &str) -> Option<Value> {
        let text = text.trim();
        let value = match self.default_value() {
            Some(Value::Whole(_)) => Value::Whole(text.parse().ok()?),
            Some(Value::Signed(_)) => Value::Signed(text.parse().ok()?),
            Some(Value::Decimal(_)) => Value::Decimal(text.parse().ok()?),
            Some(Value::Switch(_)) => Value::Switch(match text {
                "true" | "yes" | "on" | "1" => true,
                "false" | "no" | "off" | "0" => false,
                _ => return None,
            }),
            Some(Value::List(_)) => Value::List(read_list(text)),
            Some(Value::Text(_)) | None => Value::Text(text.to_owned()),
        };
        self.allows(&value).then_some(value)
    }

    /// Reads a value as it stands in the file.
    pub(super) fn read_item(&self, item: &Item) -> Option<Value> {
        let value = match self.default_value() {
            Some(Value::Whole(_)) => Value::Whole(u32::try_from(item.as_integer()?).ok()?),
            Some(Value::Signed(_)) => Value::Signed(i32::try_from(item.as_integer()?).ok()?),
            Some(Value::Decimal(_)) => {
                // A whole number of hours is written without a point.
                let whole = || Some(f64::from(i32::try_from(item.as_integer()?).ok()?));
                Value::Decimal(item.as_float().or_else(whole)?)
            }
            Some(Value::Switch(_)) => Value::Switch(item.as_bool()?),
            Some(Value::List(_)) => {
                let parts = item.as_array()?.iter().map(|part| part.as_str().map(str::to_owned));
                Value::List(parts.collect::<Option<_>>()?)
            }
            Some(Value::Text(_)) | None => Value::Text(item.as_str()?.to_owned()),
        };
        self.allows(&value).then_some(value)
    }

    fn allows(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::CodexHome | Self::CodexProgram, Value::Text(path)) => {
                !path.is_empty() && !path.contains('\0')
            }
            (Self::Timezone, Value::Text(name)) => name.parse::<Zone>().is_ok(),
            (Self::Color, Value::Text(when)) => when.parse::<Color>().is_ok(),
            (Self::LockTimeout, Value::Whole(seconds)) => *seconds <= 86_400,
            (Self::Jobs, Value::Whole(threads)) => *threads <= 1024,
            (Self::CompressionLevel, Value::Whole(level)) => (1..=12).contains(level),
            (Self::Strategy, Value::Text(name)) => name.parse::<Strategy>().is_ok(),
            (Self::UndoKeepDays | Self::TrashKeepDays, Value::Whole(days)) => *days <= 36_500,
            (Self::SessionDurationHours, Value::Decimal(hours)) => {
                0.0 < *hours && *hours <= 168.0 && session(*hours).is_some()
            }
            (Self::Exclude, Value::List(globs)) => {
                globs.iter().all(|glob| super::pattern(glob).is_some())
            }
            (Self::StatusTimeoutSeconds, Value::Whole(seconds)) => (1..=600).contains(seconds),
            (Self::Lean | Self::StatusLive, Value::Switch(_)) => true,
            // Whether that is an account is told where accounts are known.
            (Self::Alias(_), Value::Text(account)) => is_account(account),
            (Self::Account(_, field), value) => field.allows(value),
            _ => false,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CodexHome => f.pad("codex_home"),
            Self::CodexProgram => f.pad("codex_program"),
            Self::Timezone => f.pad("timezone"),
            Self::Color => f.pad("color"),
            Self::LockTimeout => f.pad("lock_timeout"),
            Self::Jobs => f.pad("jobs"),
            Self::Strategy => f.pad("strategy"),
            Self::UndoKeepDays => f.pad("undo.keep_days"),
            Self::TrashKeepDays => f.pad("trash.keep_days"),
            Self::StatusLive => f.pad("status.live"),
            Self::StatusTimeoutSeconds => f.pad("status.timeout_seconds"),
            Self::SessionDurationHours => f.pad("session_duration_hours"),
            Self::Exclude => f.pad("exclude"),
            Self::Lean => f.pad("lean"),
            Self::CompressionLevel => f.pad("compression_level"),
            Self::Alias(name) => f.pad(&format!("aliases.{name}")),
            Self::Account(name, field) => f.pad(&format!("accounts.{name}.{field}")),
        }
    }
}

impl FromStr for Key {
    type Err = UnknownKey;

    fn from_str(text: &str) -> Result<Self, UnknownKey> {
        if let Some(name) = text.strip_prefix("aliases.")
            && is_alias(name)
        {
            return Ok(Self::Alias(name.to_owned()));
        }
        // The dots of an address are its own; the last one is before the field.
        if let Some((name, field)) =
            text.strip_prefix("accounts.").and_then(|rest| rest.rsplit_once('.'))
            && is_account(name)
        {
            let unknown = || {
                let fields = Field::ALL.iter().map(ToString::to_string);
                let nearest = nearest(field, fields).map(|it| format!("accounts.{name}.{it}"));
                UnknownKey { asked: text.to_owned(), nearest }
            };
            let field = Field::ALL.into_iter().find(|it| it.to_string() == field);
            return field.map(|it| Self::Account(name.to_owned(), it)).ok_or_else(unknown);
        }
        let fixed = Self::FIXED.into_iter().find(|key| key.to_string() == text);
        fixed.ok_or_else(|| {
            let nearest = nearest(text, Self::FIXED.iter().map(ToString::to_string));
            UnknownKey { asked: text.to_owned(), nearest }
        })
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A name that no setting has.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("there is no setting {asked:?}")]
pub struct UnknownKey {
    /// What was asked for.
    pub asked: String,
    /// The setting that is spelled most like it, if one is.
    pub nearest: Option<String>,
}

impl UnknownKey {
    /// What may have been meant.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let field = self.asked.strip_prefix("accounts.").and_then(|rest| rest.rsplit_once('.'));
        let is_field = |field: &str| Field::ALL.iter().any(|it| it.to_string() == field);
        if field.is_some_and(|(name, field)| is_field(field) && !is_account(name)) {
            let form = "`accounts.NAME.FIELD` has an e-mail, a key or a short id as its NAME";
            return Some(format!("{form}; `codex-manager accounts` shows them"));
        }
        Some(match &self.nearest {
            Some(name) => format!("did you mean `{name}`?"),
            None => "see `codex-manager config list`".to_owned(),
        })
    }
}

/// The value of a setting.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// `true` or `false`.
    Switch(bool),
    /// A whole number that is not negative.
    Whole(u32),
    /// A whole number.
    Signed(i32),
    /// A number.
    Decimal(f64),
    /// A text.
    Text(String),
    /// Several texts.
    List(Vec<String>),
}

impl fmt::Display for Value {
    /// The form in which `config set` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Switch(value) => write!(f, "{value}"),
            Self::Whole(value) => write!(f, "{value}"),
            Self::Signed(value) => write!(f, "{value}"),
            Self::Decimal(value) => write!(f, "{value}"),
            Self::Text(value) => f.pad(value),
            Self::List(values) => f.pad(&values.join(",")),
        }
    }
}

impl Value {
    /// Its text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl From<&Value> for toml_edit::Value {
    fn from(value: &Value) -> Self {
        match value {
            Value::Switch(value) => (*value).into(),
            Value::Whole(value) => i64::from(*value).into(),
            Value::Signed(value) => i64::from(*value).into(),
            Value::Decimal(value) => (*value).into(),
            Value::Text(value) => value.as_str().into(),
            Value::List(values) => values.iter().map(String::as_str).collect::<Self>(),
        }
    }
}

/// When output is coloured.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Color {
    /// On a terminal that can show it.
    #[default]
    Auto,
    /// Also in a pipe.
    Always,
    /// Nowhere.
    Never,
}

impl FromStr for Color {
    type Err = UnknownColor;

    fn from_str(text: &str) -> Result<Self, UnknownColor> {
        match text {
            "auto" => Ok(Self::Auto),
            "always" => Ok(Self::Always),
            "never" => Ok(Self::Never),
            _ => Err(UnknownColor),
        }
    }
}

/// Text that says nothing about colour.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("auto, always or never is expected")]
pub struct UnknownColor;

/// The length of a session of so many hours, in whole seconds; `None` below one second.
pub(super) fn session(hours: f64) -> Option<TimeDelta> {
    let seconds = std::time::Duration::try_from_secs_f64((hours * 3_600.0).round()).ok()?;
    TimeDelta::from_std(seconds).ok().filter(|length| TimeDelta::zero() < *length)
}

/// Whether an alias can be told from every other way to name an account, and typed.
#[must_use]
pub fn is_alias(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !name.starts_with('-') && (1..=64).contains(&name.len()) && name.chars().all(fits)
}

fn read_list(text: &str) -> Vec<String> {
    // A pattern may hold a comma or begin with a bracket; what is no TOML list is no list.
    let texts = |value: toml_edit::Value| -> Option<Vec<String>> {
        value.as_array()?.iter().map(|part| part.as_str().map(str::to_owned)).collect()
    };
    text.parse().ok().and_then(texts).unwrap_or_else(|| {
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
    })
}

/// The name that is spelled most like `text`, unless none is.
fn nearest(text: &str, names: impl Iterator<Item = String>) -> Option<String> {
    names
        .map(|name| (distance(text, &name), name))
        .filter(|(distance, name)| *distance <= name.len().div_ceil(3))
        .min()
        .map(|(_, name)| name)
}

/// How many letters have to be put in, left out or changed to get from `a` to `b`.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (number, x) in (1..).zip(a.chars()) {
        let mut next = vec![number];
        let mut left = number;
        for (y, pair) in b.chars().zip(row.windows(2)) {
            if let [corner, above] = pair {
                left = (corner + usize::from(x != y)).min(above + 1).min(left + 1);
                next.push(left);
            }
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn a_value_is_checked_against_its_setting() {
        check("codex_home",             "~/mine/.codex",    Some("~/mine/.codex"));
        check("codex_home",             " ",                None);
        check("timezone",               "Europe/Berlin",    Some("Europe/Berlin"));
        check("timezone",               "Europe/Nowhere",   None);
        check("color",                  "never",            Some("never"));
        check("color",                  "sometimes",        None);
        check("lock_timeout",           "0",                Some("0"));
        check("lock_timeout",           "86400",            Some("86400"));
        check("lock_timeout",           "86401",            None);
        check("lock_timeout",           "-1",               None);
        check("lock_timeout",           "10s",              None);
        check("strategy",               "most-left",        Some("most-left"));
        check("strategy",               "MOST-LEFT",        None);
        check("undo.keep_days",         "36500",            Some("36500"));
        check("undo.keep_days",         "36501",            None);
        check("session_duration_hours", "2",                Some("2"));
        check("session_duration_hours", "0.5",              Some("0.5"));
        check("session_duration_hours", "168",              Some("168"));
        check("session_duration_hours", "168.1",            None);
        check("session_duration_hours", "0",                None);
        check("session_duration_hours", "0.00001",          None);
        check("session_duration_hours", "NaN",              None);
        check("session_duration_hours", "inf",              None);
        check("codex_program",          "/opt/codex/codex", Some("/opt/codex/codex"));
        check("codex_program",          "",                 None);
        check("status.live",            "off",              Some("false"));
        check("status.live",            "5",                None);
        check("status.timeout_seconds", "1",                Some("1"));
        check("status.timeout_seconds", "600",              Some("600"));
        check("status.timeout_seconds", "0",                None);
        check("status.timeout_seconds", "601",              None);
        check("exclude",                "logs/**, *.tmp",   Some("logs/**,*.tmp"));
        check("exclude",                "[ab]*.log",        Some("[ab]*.log"));
        check("exclude",                "[\"a,b\"]",        Some("a,b"));
        check("exclude",                "",                 Some(""));
        check("exclude",                "a/***",            None);
        check("lean",                   "yes",              Some("true"));
        check("lean",                   "0",                Some("false"));
        check("lean",                   "maybe",            None);
        check("aliases.work",           "Ada@Example.com",  Some("Ada@Example.com"));
        check("aliases.work",           "chatgpt:u/a",      Some("chatgpt:u/a"));
        check("aliases.work",           "0a1b2c3d",         Some("0a1b2c3d"));
        check("aliases.work",           "ada",              None);
    }

    #[test]
    #[rustfmt::skip]
    fn what_is_said_of_an_account_is_checked_too() {
        check("accounts.ada@example.com.note",      " of the team ",  Some("of the team"));
        check("accounts.ada@example.com.note",      " ",              None);
        check("accounts.ada@example.com.note",      "two\nlines",     None);
        check("accounts.ada@example.com.note",      &"x".repeat(501), None);
        check("accounts.ada@example.com.disabled",  "yes",            Some("true"));
        check("accounts.ada@example.com.disabled",  "maybe",          None);
        check("accounts.chatgpt:u/a.reserve",       "0",              Some("0"));
        check("accounts.chatgpt:u/a.reserve",       "100",            Some("100"));
        check("accounts.chatgpt:u/a.reserve",       "101",            None);
        check("accounts.chatgpt:u/a.reserve",       "-1",             None);
        check("accounts.0a1b2c3d.priority",         "-1000",          Some("-1000"));
        check("accounts.0a1b2c3d.priority",         "1000",           Some("1000"));
        check("accounts.0a1b2c3d.priority",         "1001",           None);
        check("accounts.0a1b2c3d.priority",         "-1001",          None);
        check("accounts.0a1b2c3d.priority",         "1.5",            None);
    }

    #[track_caller]
    fn check(key: &str, text: &str, expected: Option<&str>) {
        let value = key.parse::<Key>().unwrap().read(text);
        assert_eq!(value.map(|value| value.to_string()).as_deref(), expected);
    }

    #[test]
    #[rustfmt::skip]
    fn an_unknown_name_is_answered_with_the_nearest() {
        unknown("colour",               Some("color"));
        unknown("codexhome",            Some("codex_home"));
        unknown("keep_days",            Some("undo.keep_days"));
        unknown("locktimeout",          Some("lock_timeout"));
        unknown("",                     None);
        unknown("remote",               None);
        unknown("aliases.",             None);
        unknown("aliases.a@b",          None);
        unknown("aliases.-",            None); // `-` names the account before
        unknown("aliases.a b",          None);
        unknown("accounts.a@b.c.nots",  Some("accounts.a@b.c.note"));
        unknown("accounts.a@b.c.colour", None);
        unknown("accounts.ada.note",    None); // an alias would name itself
        unknown("accounts.a@b c.note",  None);
        unknown("accounts.note",        None);
    }

    #[track_caller]
    fn unknown(text: &str, nearest: Option<&str>) {
        assert_eq!(text.parse::<Key>().unwrap_err().nearest.as_deref(), nearest, "{text}");
    }

    #[test]
    fn every_key_is_read_back_from_its_name_and_every_default_is_allowed() {
        let fields = Field::ALL.map(|field| Key::Account("ada@example.com".to_owned(), field));
        let alias = [Key::Alias("work".to_owned())];
        for key in Key::FIXED.into_iter().chain(alias).chain(fields) {
            assert_eq!(key.to_string().parse(), Ok(key.clone()));
            assert!(key.default_value().is_none_or(|value| key.allows(&value)), "{key}");
        }
        let variable = |key: Key| key.variable().unwrap_or_default();
        assert_eq!(variable(Key::UndoKeepDays), "CODEX_MANAGER_UNDO_KEEP_DAYS");
        assert_eq!(variable(Key::Account("ada@example.com".to_owned(), Field::Note)), "");
    }
}
