//! Which addresses may become part of a file name and of a terminal line?

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The address an account signs in with, in lower case.
///
/// It becomes one component of a path on every system and a cell of every table, so nothing
/// gets in that could break either: letters, digits and `.!#$%&'+-=^_{}~` before the `@`;
/// letters, digits, dots and hyphens after it. A `~` in the domain is free for the number of a
/// second snapshot.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Email(String);

impl Email {
    /// Longest address in bytes (RFC 5321 allows a path of 256 with its brackets).
    pub const MAX_BYTES: usize = 254;

    /// The address as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Email {
    type Err = InvalidEmail;

    fn from_str(text: &str) -> Result<Self, InvalidEmail> {
        let invalid = || InvalidEmail(text.to_owned());
        let (local, domain) = text.split_once('@').ok_or_else(invalid)?;
        let local_fits = !local.is_empty()
            && !local.starts_with('.')
            && !local.ends_with('.')
            && local.chars().all(|c| c.is_alphanumeric() || ".!#$%&'+-=^_{}~".contains(c));
        let label_fits = |label: &str| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.chars().all(|c| c.is_alphanumeric() || c == '-')
        };
        let fits = local_fits && domain.split('.').all(label_fits);
        let lower = text.to_lowercase();
        if fits && lower.len() <= Self::MAX_BYTES { Ok(Self(lower)) } else { Err(invalid()) }
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<Email> for String {
    fn from(email: Email) -> Self {
        email.0
    }
}

impl TryFrom<String> for Email {
    type Error = InvalidEmail;

    fn try_from(text: String) -> Result<Self, InvalidEmail> {
        text.parse()
    }
}

/// Text that is no address, or one that could break a path or a terminal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InvalidEmail(pub String);

impl std::error::Error for InvalidEmail {}

impl fmt::Display for InvalidEmail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not an e-mail address that can be used in a file name", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn an_address_is_lower_cased_and_cannot_break_a_path_or_a_line() {
        check("Ada@Example.COM",            Some("ada@example.com"));
        check("a+b.c_d-e@x-y.example.com",  Some("a+b.c_d-e@x-y.example.com"));
        check("jürgen@münchen.example",     Some("jürgen@münchen.example"));
        check("root@localhost",             Some("root@localhost"));
        check("",                           None);
        check("@example.com",               None);
        check("ada@",                       None);
        check("ada",                        None);
        check("a@b@c",                      None);
        check("../x@example.com",           None);
        check("a/b@example.com",            None);
        check("a\\b@example.com",           None);
        check("a b@example.com",            None);
        check("a\u{1b}[31m@example.com",    None);
        check("a|@example.com",             None);
        check("a\u{202e}@example.com",      None);
        check("ada@exam~2ple.com",          None);
        check("ada@example..com",           None);
        check("ada@-example.com",           None);
        check("ada@example.com.",           None);
        check(".ada@example.com",           None);
        check("a*@example.com",             None);
        check(&format!("{}@example.com", "x".repeat(300)), None);
    }

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(text.parse::<Email>().ok().as_ref().map(Email::as_str), expected, "{text:?}");
    }
}
