//! Which account is this, and which one does a person mean?

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::account::Email;

/// What tells one account from every other.
///
/// One e-mail may own a personal plan and a team seat, and one workspace id is shared by a
/// whole team; only the pair of user and workspace is one account. Its text form is
/// `chatgpt:USER/WORKSPACE`, `apikey:FINGERPRINT` or `email:ADDRESS`.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum AccountKey {
    /// A ChatGPT login: the user and the workspace (`chatgpt_user_id`, `chatgpt_account_id`).
    ChatGpt {
        /// `chatgpt_user_id` of the id token.
        user_id: String,
        /// `chatgpt_account_id` of the id token.
        account_id: String,
    },
    /// An API key, by its fingerprint (hex); it has no windows.
    ApiKey(String),
    /// A record that knows only an address, as those of the older tool.
    Email(Email),
}

impl AccountKey {
    /// Eight hexadecimal digits that a person can type instead of the key.
    #[must_use]
    pub fn short_id(&self) -> String {
        let digest = Sha256::digest(self.to_string());
        digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
    }

    /// What an account is called in a sentence that has no address: `API key 51f1bb89`, or the
    /// short id alone.
    #[must_use]
    pub fn title(&self) -> String {
        match self {
            Self::ApiKey(_) => format!("API key {}", self.short_id()),
            Self::ChatGpt { .. } | Self::Email(_) => self.short_id(),
        }
    }
}

impl fmt::Display for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ChatGpt { user_id, account_id } => write!(f, "chatgpt:{user_id}/{account_id}"),
            Self::ApiKey(fingerprint) => write!(f, "apikey:{fingerprint}"),
            Self::Email(email) => write!(f, "email:{email}"),
        }
    }
}

impl FromStr for AccountKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let id = |part: &str| {
            let fits = !part.is_empty()
                && part.len() <= 256
                && part.chars().all(|c| c.is_ascii_graphic() && c != '/');
            fits.then(|| part.to_owned()).ok_or(InvalidKey)
        };
        match text.split_once(':').ok_or(InvalidKey)? {
            ("chatgpt", rest) => {
                let (user_id, account_id) = rest.split_once('/').ok_or(InvalidKey)?;
                Ok(Self::ChatGpt { user_id: id(user_id)?, account_id: id(account_id)? })
            }
            ("apikey", rest) => id(rest).map(Self::ApiKey),
            ("email", rest) => rest.parse().map(Self::Email).map_err(|_| InvalidKey),
            _ => Err(InvalidKey),
        }
    }
}

impl From<AccountKey> for String {
    fn from(key: AccountKey) -> Self {
        key.to_string()
    }
}

impl TryFrom<String> for AccountKey {
    type Error = InvalidKey;

    fn try_from(text: String) -> Result<Self, InvalidKey> {
        text.parse()
    }
}

/// Text that is no account key. The text itself is not repeated: it comes from a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not an account key")]
pub struct InvalidKey;

/// An account with what people call it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Account {
    /// What tells it from the others.
    pub key: AccountKey,
    /// Its label.
    pub email: Option<Email>,
    /// The name the user gave it in the configuration.
    pub alias: Option<String>,
}

/// What came of asking for an account by a name.
pub type Named<'a> = Result<&'a Account, NotNamed>;

/// Why a name stands for no single account.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotNamed {
    /// Nothing is called that.
    #[error("no account is called {asked:?}")]
    Nobody {
        /// What was asked for.
        asked: String,
    },
    /// More than one is, and a person has to choose.
    #[error("{asked:?} fits {} accounts: {}", candidates.len(), candidates.join(", "))]
    Several {
        /// What was asked for.
        asked: String,
        /// Each candidate, spelled so that it is unique.
        candidates: Vec<String>,
    },
    /// The user gave this name to somebody who is not known.
    #[error("{alias} is set to {meant:?}, and no account that is known is that one")]
    Astray {
        /// The name, as it is set.
        alias: String,
        /// Whom it is set to.
        meant: String,
    },
}

/// A name that the user gave to an account in the configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Alias {
    /// The name.
    pub name: String,
    /// Whom it is set to, in full, known or not.
    pub meant: String,
}

/// Finds the one account a person means by an alias, an e-mail, a short id, a key or a unique
/// fragment of an alias or e-mail.
///
/// A whole name wins over fragments, and a whole address is a fragment of none, so `b@x.com` is
/// never `a-b@x.com`; of the whole names an alias wins over an address. Case does not matter,
/// unless two aliases differ in nothing else. An alias means whom it is set to or nobody: it is
/// never looked at as a fragment of another name.
///
/// # Errors
///
/// [`NotNamed`] when nothing fits, or more than one account does.
pub fn name<'a>(asked: &str, accounts: &'a [Account], aliases: &[Alias]) -> Named<'a> {
    let wanted = asked.trim().to_lowercase();
    let is_address = wanted.parse::<Email>().is_ok();
    let is_whole = |alias: &&Alias| alias.name.to_lowercase() == wanted;
    let exactly = aliases.iter().find(|alias| alias.name == asked.trim());
    if let Some(alias) = exactly.or_else(|| aliases.iter().find(is_whole)) {
        return whole_name(&alias.meant, accounts).map_err(|error| astray(alias, error));
    }
    let found = among(asked, &wanted, is_address, accounts);
    let is_part = |alias: &&Alias| {
        !wanted.is_empty()
            && alias.name.to_lowercase().contains(&wanted)
            && matches!(whole_name(&alias.meant, accounts), Err(NotNamed::Nobody { .. }))
    };
    // A part of such a name may well mean it, and not the account whose address has it too.
    match (aliases.iter().find(is_part), found) {
        (Some(alias), Err(error @ NotNamed::Nobody { .. })) => Err(astray(alias, error)),
        (Some(alias), Ok(found)) if !is_whole_name_of(found, asked, &wanted) => {
            let candidates = vec![spelled(found, &[found]), alias.name.clone()];
            Err(NotNamed::Several { asked: asked.to_owned(), candidates })
        }
        (_, found) => found,
    }
}

/// An error about whom an alias is set to, told of the alias.
fn astray(alias: &Alias, error: NotNamed) -> NotNamed {
    match error {
        NotNamed::Nobody { .. } => {
            NotNamed::Astray { alias: alias.name.clone(), meant: alias.meant.clone() }
        }
        error => error,
    }
}

fn is_whole_name_of(account: &Account, asked: &str, wanted: &str) -> bool {
    alias(account).is_some_and(|alias| alias == wanted)
        || account.email.as_ref().is_some_and(|email| email.as_str() == wanted)
        || is_id(account, asked)
}

/// The account by what is said of it: in full, else in part.
fn among<'a>(asked: &str, wanted: &str, is_address: bool, accounts: &'a [Account]) -> Named<'a> {
    first(
        asked,
        accounts,
        &[
            &|account| alias(account).is_some_and(|alias| alias == wanted),
            &|account| account.email.as_ref().is_some_and(|email| email.as_str() == wanted),
            &|account| is_id(account, asked),
            &|account| {
                !wanted.is_empty()
                    && (alias(account).is_some_and(|alias| alias.contains(wanted))
                        || !is_address
                            && account.email.as_ref().is_some_and(|e| e.as_str().contains(wanted)))
            },
        ],
    )
}

/// Finds the one account that has this e-mail, short id or key, as a file names it: what stands
/// there for long must not mean another account when a further one comes along.
///
/// # Errors
///
/// [`NotNamed`] when nothing fits, or more than one account does.
pub fn whole_name<'a>(asked: &str, accounts: &'a [Account]) -> Named<'a> {
    let wanted = asked.trim().to_lowercase();
    first(
        asked,
        accounts,
        &[
            &|account| account.email.as_ref().is_some_and(|email| email.as_str() == wanted),
            &|account| is_id(account, asked),
        ],
    )
}

/// The account that the first of these tests which fits any fits.
fn first<'a>(
    asked: &str,
    accounts: &'a [Account],
    tests: &[&dyn Fn(&Account) -> bool],
) -> Named<'a> {
    for test in tests {
        let fitting: Vec<&Account> = accounts.iter().filter(|account| test(account)).collect();
        match fitting.as_slice() {
            [] => {}
            [one] => return Ok(one),
            several => {
                return Err(NotNamed::Several {
                    asked: asked.to_owned(),
                    candidates: several.iter().map(|account| spelled(account, several)).collect(),
                });
            }
        }
    }
    Err(NotNamed::Nobody { asked: asked.to_owned() })
}

fn alias(account: &Account) -> Option<String> {
    account.alias.as_deref().map(str::to_lowercase)
}

/// Whether an account has this short id or key.
fn is_id(account: &Account, asked: &str) -> bool {
    let asked = asked.trim();
    account.key.short_id() == asked.to_lowercase() || account.key.to_string() == asked
}

/// What people call `account` among `all`: its alias, else its address, with its short id behind
/// that where another has the same address, else its [`title`](AccountKey::title).
pub fn label<'a>(account: &Account, all: impl IntoIterator<Item = &'a Account>) -> String {
    let Account { key, email, alias } = account;
    match (alias, email) {
        (Some(alias), _) => alias.clone(),
        (None, Some(address)) => {
            let is_shared = all.into_iter().filter(|other| other.email == *email).count() > 1;
            let id = if is_shared { format!(" ({})", key.short_id()) } else { String::new() };
            format!("{address}{id}")
        }
        (None, None) => key.title(),
    }
}

/// The shortest spelling that tells `account` from its rivals.
fn spelled(account: &Account, rivals: &[&Account]) -> String {
    let email = account.email.as_ref();
    let shared = rivals.iter().filter(|rival| rival.email.as_ref() == email).count() > 1;
    match (&account.alias, email) {
        (Some(alias), _) => alias.clone(),
        (None, Some(email)) if !shared => email.to_string(),
        (None, Some(email)) => format!("{} ({email})", account.key.short_id()),
        (None, None) => account.key.short_id(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Vec<Account> {
        let chatgpt = |user: &str, workspace: &str, email: &str, alias: Option<&str>| Account {
            key: AccountKey::ChatGpt { user_id: user.into(), account_id: workspace.into() },
            email: Some(email.parse().unwrap()),
            alias: alias.map(str::to_owned),
        };
        vec![
            chatgpt("user-a", "acct-1", "a-b@x.com", None),
            chatgpt("user-b", "acct-2", "b@x.com", Some("work")),
            chatgpt("user-c", "acct-3", "cleo@y.com", None),
            chatgpt("user-c", "acct-4", "cleo@y.com", None),
            Account { key: AccountKey::ApiKey("00ff".into()), email: None, alias: None },
        ]
    }

    #[test]
    #[rustfmt::skip]
    fn a_whole_name_wins_over_a_fragment_and_two_fits_are_a_question() {
        check("b@x.com",  "chatgpt:user-b/acct-2");      // not a-b@x.com
        check("a-b",      "chatgpt:user-a/acct-1");
        check("WORK",     "chatgpt:user-b/acct-2");
        check("wor",      "chatgpt:user-b/acct-2");
        check("-b@x.com", "no account is called \"-b@x.com\"");
        check("b@x.co",   "no account is called \"b@x.co\"");
        check("-b@",      "chatgpt:user-a/acct-1");
        check("x.com",    "\"x.com\" fits 2 accounts: a-b@x.com, work");
        check("zed",      "no account is called \"zed\"");
        check("",         "no account is called \"\"");
        check("chatgpt:user-c/acct-4", "chatgpt:user-c/acct-4");
        check(&accounts()[4].key.short_id(), "apikey:00ff");
    }

    #[test]
    #[rustfmt::skip]
    fn a_file_names_an_account_in_full_or_not_at_all() {
        let all = accounts();
        let found = |asked: &str| whole_name(asked, &all).ok().map(|account| account.key.to_string());
        for (asked, expected) in [
            ("B@x.com",               Some("chatgpt:user-b/acct-2")),
            ("chatgpt:user-c/acct-4", Some("chatgpt:user-c/acct-4")),
            ("work",                  None),
            ("a-b",                   None),
            ("cleo@y.com",            None),
        ] {
            assert_eq!(found(asked).as_deref(), expected, "{asked}");
        }
        assert_eq!(found(&all[4].key.short_id()), Some("apikey:00ff".to_owned()));
    }

    #[test]
    fn two_accounts_of_one_address_are_told_apart_by_their_short_ids() {
        let all = accounts();
        let error = name("cleo@y.com", &all, &[]).unwrap_err().to_string();
        for account in &all[2..4] {
            assert!(error.contains(&account.key.short_id()), "{error}");
            assert_eq!(name(&account.key.short_id(), &all, &[]), Ok(account));
        }
    }

    #[track_caller]
    fn check(asked: &str, expected: &str) {
        let all = accounts();
        told(asked, name(asked, &all, &[]), expected);
    }

    #[test]
    #[rustfmt::skip]
    fn an_alias_means_whom_it_is_set_to_or_nobody() {
        check_with("b",     "b=cleo@x.com", "b is set to \"cleo@x.com\", and no account that is known is that one");
        check_with("B",     "b=cleo@x.com", "b is set to \"cleo@x.com\", and no account that is known is that one");
        check_with("x.com", "x.com=b@x.com", "chatgpt:user-b/acct-2");     // a fragment of two
        check_with("a-b",   "a-b=b@x.com",  "chatgpt:user-b/acct-2");      // though it is not the last of its names
        check_with("a-b",   "A-b=b@x.com a-b=a-b@x.com", "chatgpt:user-a/acct-1");
        check_with("a-b",   "a-b2=zed@x.com", "\"a-b\" fits 2 accounts: a-b@x.com, a-b2");
        check_with("work",  "work2=zed@x.com", "chatgpt:user-b/acct-2");
        check_with("zed",   "zed2=zed@x.com", "zed2 is set to \"zed@x.com\", and no account that is known is that one");
        check_with("me",    "me=cleo@y.com", &name("cleo@y.com", &accounts(), &[]).unwrap_err().to_string());
    }

    #[track_caller]
    fn check_with(asked: &str, aliases: &str, expected: &str) {
        let alias = |text: &str| {
            let (name, meant) = text.split_once('=').unwrap();
            Alias { name: name.to_owned(), meant: meant.to_owned() }
        };
        let aliases: Vec<Alias> = aliases.split(' ').map(alias).collect();
        told(asked, name(asked, &accounts(), &aliases), expected);
    }

    #[track_caller]
    fn told(asked: &str, found: Named<'_>, expected: &str) {
        let found = match found {
            Ok(account) => account.key.to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected, "{asked:?}");
    }

    #[test]
    fn a_key_is_read_back_from_its_text() {
        for account in accounts() {
            assert_eq!(account.key.to_string().parse(), Ok(account.key));
        }
        for odd in ["", "chatgpt:", "chatgpt:a", "chatgpt:/b", "email:x", "other:1", "apikey:\n"] {
            assert!(odd.parse::<AccountKey>().is_err(), "{odd:?}");
        }
    }
}
