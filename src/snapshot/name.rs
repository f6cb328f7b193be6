//! What is a snapshot called?
//!
//! `yyyy-mm-dd-hhmmss-WHO-codex`: the wall clock at which the weekly session began (or, where
//! that is unknown, of the capture) and whose snapshot it is. A second one of the same account
//! and second carries `~2` after WHO. Once a sidecar exists the name decides nothing (SPEC,
//! "Snapshots").

use std::fmt;
use std::str::FromStr;

use chrono::{NaiveDateTime, Timelike};
use serde::{Deserialize, Serialize};

use crate::account::Email;

/// Ending of an archive's file name.
pub const ARCHIVE: &str = ".tar.gz";
/// Ending of a sidecar's file name.
pub const SIDECAR: &str = ".metadata.json";

const CLOCK: &str = "%Y-%m-%d-%H%M%S";
const LAST: &str = "-codex";

/// The base name of a snapshot; archive and sidecar add their endings to it.
///
/// It is one component of a path on every system.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct SnapshotName {
    began: NaiveDateTime,
    who: Who,
    number: u32,
}

/// Whose snapshot a name says it is.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Who {
    /// The account with this address.
    Email(Email),
    /// A login without an address: `apikey` or `unknown`, and a short id.
    Nameless(String),
}

impl Who {
    /// A label for a login without an address: lower-case letters, digits and hyphens of
    /// `label`, anything else left out.
    #[must_use]
    pub fn nameless(label: &str) -> Self {
        let kept: String = label.chars().filter(|&c| fits_label(c)).collect();
        Self::Nameless(if kept.is_empty() { "unknown".to_owned() } else { kept })
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Email(email) => email.fmt(f),
            Self::Nameless(label) => f.pad(label),
        }
    }
}

impl SnapshotName {
    /// The first name for `who` at a wall clock; fractions of a second do not count.
    #[must_use]
    pub fn new(began: NaiveDateTime, who: Who) -> Self {
        Self { began: began.with_nanosecond(0).unwrap_or(began), who, number: 1 }
    }

    /// The name a further snapshot of the same account and second takes: `~2`, `~3`, …
    #[must_use]
    pub fn next(&self) -> Self {
        Self { number: self.number.saturating_add(1), ..self.clone() }
    }

    /// Whose it says it is.
    #[must_use]
    pub fn who(&self) -> &Who {
        &self.who
    }

    /// File name of the archive.
    #[must_use]
    pub fn archive(&self) -> String {
        format!("{self}{ARCHIVE}")
    }

    /// File name of the sidecar.
    #[must_use]
    pub fn sidecar(&self) -> String {
        format!("{self}{SIDECAR}")
    }
}

impl fmt::Display for SnapshotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = if self.number == 1 { String::new() } else { format!("~{}", self.number) };
        f.pad(&format!("{}-{}{number}{LAST}", self.began.format(CLOCK), self.who))
    }
}

impl FromStr for SnapshotName {
    type Err = NotASnapshotName;

    fn from_str(text: &str) -> Result<Self, NotASnapshotName> {
        let odd = || NotASnapshotName(text.to_owned());
        let (clock, rest) = text.split_at_checked(17).ok_or_else(odd)?;
        let began = NaiveDateTime::parse_from_str(clock, CLOCK).map_err(|_| odd())?;
        let who =
            rest.strip_prefix('-').and_then(|rest| rest.strip_suffix(LAST)).ok_or_else(odd)?;
        let (who, number) = match who.rsplit_once('~') {
            // Before the `@` a `~` belongs to the address.
            Some((who, number)) if !number.contains('@') => {
                (who, number.parse().ok().filter(|&n| 2 <= n).ok_or_else(odd)?)
            }
            _ => (who, 1),
        };
        let who = match who.parse() {
            Ok(email) => Who::Email(email),
            Err(_) if !who.is_empty() && who.chars().all(fits_label) => {
                Who::Nameless(who.to_owned())
            }
            Err(_) => return Err(odd()),
        };
        let name = Self { began, who, number };
        // One text, one name: `~02` or a date such as 2026-4-1 would be a second spelling.
        if name.to_string() == text { Ok(name) } else { Err(odd()) }
    }
}

impl From<SnapshotName> for String {
    fn from(name: SnapshotName) -> Self {
        name.to_string()
    }
}

impl TryFrom<String> for SnapshotName {
    type Error = NotASnapshotName;

    fn try_from(text: String) -> Result<Self, NotASnapshotName> {
        text.parse()
    }
}

/// Text that is no snapshot name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is not a snapshot name")]
pub struct NotASnapshotName(pub String);

fn fits_label(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn a_name_is_read_back_exactly_or_not_at_all() {
        check("2026-04-14-155500-ada@example.com-codex",   true);
        check("2026-04-14-155500-ada@example.com~2-codex", true);
        check("2026-04-14-155500-a~2@example.com-codex",   true);
        check("2026-04-14-155500-a~2@example.com~12-codex", true);
        check("2026-04-14-155500-x-codex@example.com-codex", true);
        check("2026-04-14-155500-apikey-00ff00ff-codex",   true);
        check("2026-04-14-155500-ada@example.com~1-codex", false);
        check("2026-04-14-155500-ada@example.com~02-codex", false);
        check("2026-04-14-155500-ada@example.com~x-codex", false);
        check("2026-04-31-155500-ada@example.com-codex",   false);
        check("2026-04-14-255500-ada@example.com-codex",   false);
        check("2026-04-14-155500-Ada@example.com-codex",   false);
        check("2026-04-14-155500-../x@example.com-codex",  false);
        check("2026-04-14-155500-ada@example.com",         false);
        check("2026-04-14-155500--codex",                  false);
        check("2026-04-14-15550é-ada@example.com-codex",   false);
        check("",                                          false);
    }

    #[track_caller]
    fn check(text: &str, is_a_name: bool) {
        let read = text.parse::<SnapshotName>();
        assert_eq!(
            read.as_ref().map(ToString::to_string).ok().as_deref(),
            is_a_name.then_some(text)
        );
    }

    #[test]
    fn further_snapshots_of_one_second_count_up() {
        let first: SnapshotName = "2026-04-14-155500-ada@example.com-codex".parse().unwrap();
        assert_eq!(first.next().to_string(), "2026-04-14-155500-ada@example.com~2-codex");
        assert_eq!(
            first.next().next().archive(),
            "2026-04-14-155500-ada@example.com~3-codex.tar.gz"
        );
        assert_eq!(Who::nameless("../..\u{1b}").to_string(), "unknown");
    }
}
