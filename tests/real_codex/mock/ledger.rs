//! Which tokens are good at this instant?
//!
//! Stricter than it needs to be, on purpose: a refresh token works once, as at the real service,
//! so that a test notices when an older login came back in place of a newer one.

use std::collections::{BTreeMap, HashMap};

use super::account::{Person, Quota, Tokens};

/// Why a token endpoint said no; the texts are the service's error codes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refusal {
    /// It was exchanged before.
    Reused,
    /// Nobody was given it, or its login was revoked.
    Invalidated,
}

impl Refusal {
    /// The code that Codex decides by.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Refusal::Reused => "refresh_token_reused",
            Refusal::Invalidated => "refresh_token_invalidated",
        }
    }
}

/// What a refresh token is worth.
#[derive(Clone, Copy, Debug)]
enum Worth {
    Live(Person),
    Spent,
    Revoked,
}

/// Accounts with their quotas, and every token handed out so far.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    quotas: BTreeMap<&'static str, Quota>,
    access: HashMap<String, (Person, i64)>,
    refresh: HashMap<String, Worth>,
    serial: u64,
}

impl Ledger {
    /// Hands out the tokens of a new sign-in, whose access token ends at `expires_at`.
    pub(crate) fn sign_in(&mut self, person: &Person, now: i64, expires_at: i64) -> Tokens {
        self.serial += 1;
        let tokens = Tokens::mint(person, self.serial, now, expires_at);
        self.access.insert(tokens.access.clone(), (*person, expires_at));
        self.refresh.insert(tokens.refresh.clone(), Worth::Live(*person));
        tokens
    }

    /// Exchanges a refresh token for new tokens that are good for ten days.
    pub(crate) fn refresh(&mut self, token: &str, now: i64) -> Result<(Person, Tokens), Refusal> {
        match self.refresh.get(token).copied() {
            Some(Worth::Live(person)) => {
                self.refresh.insert(token.to_owned(), Worth::Spent);
                Ok((person, self.sign_in(&person, now, now + 10 * 86_400)))
            }
            Some(Worth::Spent) => Err(Refusal::Reused),
            Some(Worth::Revoked) | None => Err(Refusal::Invalidated),
        }
    }

    /// Ends a login, as `codex logout` asks for. The access token lives on until it expires.
    pub(crate) fn revoke(&mut self, token: &str) {
        if let Some(worth) = self.refresh.get_mut(token) {
            *worth = Worth::Revoked;
        }
    }

    /// Whose access token this is, unless it is unknown or has expired.
    pub(crate) fn bearer(&self, token: &str, now: i64) -> Option<Person> {
        let (person, expires_at) = self.access.get(token)?;
        (now < *expires_at).then_some(*person)
    }

    /// What is left to an account; by default an ordinary week.
    pub(crate) fn quota(&mut self, person: &Person, now: i64) -> Quota {
        // Fixed at the first question, so that all answers agree to the second.
        *self.quotas.entry(person.account).or_insert_with(|| Quota::ordinary(now))
    }

    /// Decides what is left to an account from now on.
    pub(crate) fn set_quota(&mut self, person: &Person, quota: Quota) {
        self.quotas.insert(person.account, quota);
    }
}
