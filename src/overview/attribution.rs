//! Whose are the figures in a session file?
//!
//! Nothing in an event says it. What is known of who was signed in to the home then is weighed with
//! who began the session and when; SPEC, "Quota", has the table.

use crate::account::AccountKey;
use crate::quota::ledger::active::{Came, Tenant};
use crate::quota::{Basis, Confidence};
use crate::time::Stamp;

/// Whose something in a session file is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Attribution {
    /// One account's.
    Known {
        /// Which.
        account: AccountKey,
        /// Certain or likely.
        confidence: Confidence,
        /// What decided it.
        basis: Basis,
    },
    /// One of several, or nobody's that is known.
    Ambiguous {
        /// Who may have been signed in.
        candidates: Vec<AccountKey>,
        /// What kept it from being decided.
        basis: Basis,
    },
}

impl Attribution {
    /// The account, unless it is ambiguous.
    #[must_use]
    pub fn account(&self) -> Option<&AccountKey> {
        match self {
            Self::Known { account, .. } => Some(account),
            Self::Ambiguous { .. } => None,
        }
    }
}

/// What a session file says of its session.
#[derive(Clone, Copy, Debug, Default)]
pub struct Origin<'a> {
    /// Who began it (Codex 0.160.1 and newer).
    pub creator: Option<&'a AccountKey>,
    /// When.
    pub begun: Option<Stamp>,
}

/// Whose a turn of this session is, if `tenant` tells who was signed in then.
///
/// A session that was begun while somebody was signed in is theirs, and so is what followed, unless
/// it was resumed by another. A Codex that runs while somebody signs in beside us goes on as the
/// account before; the background server of Codex 0.160.1 and newer even begins sessions as that.
#[must_use]
pub fn attribute(origin: Origin<'_>, tenant: &Tenant<'_>) -> Attribution {
    let Origin { creator, begun } = origin;
    let since = |instant: Stamp| begun.is_some_and(|begun| instant <= begun);
    let known = |account: &AccountKey, confidence, basis| Attribution::Known {
        account: account.clone(),
        confidence,
        basis,
    };
    let certain = |account, basis| known(account, Confidence::Certain, basis);
    let likely = |account, basis| known(account, Confidence::Likely, basis);
    let one_of = |accounts: &[Option<&AccountKey>], basis| Attribution::Ambiguous {
        candidates: accounts.iter().flatten().copied().cloned().collect(),
        basis,
    };
    match *tenant {
        Tenant::Unknown => match creator {
            Some(creator) => likely(creator, Basis::Creator),
            None => one_of(&[], Basis::NothingTells),
        },
        Tenant::Known { account, since: from, came: Came::Switched } => match creator {
            Some(creator) if creator != account && since(from) => likely(creator, Basis::Creator),
            Some(creator) if creator != account => likely(account, Basis::Ledger),
            _ => certain(account, Basis::Ledger),
        },
        Tenant::Known { account, since: from, came: Came::Noticed { former } } => {
            match (creator, former) {
                (Some(creator), _) if creator == account => match former {
                    Some(_) if !since(from) => likely(account, Basis::Login),
                    _ => certain(account, Basis::Login),
                },
                (Some(creator), _) if since(from) => likely(creator, Basis::Creator),
                (None, Some(_)) if since(from) => likely(account, Basis::Login),
                (_, Some(former)) => one_of(&[Some(former), Some(account)], Basis::SignedInBeside),
                (Some(_), None) => likely(account, Basis::Login),
                (None, None) => certain(account, Basis::Login),
            }
        }
        Tenant::Either { before, after, since: seen } => match creator {
            Some(creator) if Some(creator) == before => likely(creator, Basis::Creator),
            // It was signed in when it began the session, so it had come by then.
            Some(creator) if creator == after && seen.is_none_or(since) => {
                likely(creator, Basis::Creator)
            }
            Some(creator) if creator != after && before.is_none() => {
                likely(creator, Basis::Creator)
            }
            _ => one_of(&[before, Some(after)], Basis::SignedInBeside),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> AccountKey {
        format!("chatgpt:{name}/{name}").parse().unwrap()
    }

    fn stamp(hour: u32) -> Stamp {
        format!("2026-04-21T{hour:02}:00:00Z").parse().unwrap()
    }

    #[test]
    #[rustfmt::skip]
    fn a_turn_belongs_to_whom_the_ledger_the_login_and_the_session_say() {
        // creator, session begun at   signed in at the time of the turn
        check("",  0,  "",                  "? nothing-tells");
        check("a", 9,  "",                  "a likely creator");
        // `use` put it in place at 10; Codex was not running
        check("",  0,  "b since 10",        "b certain ledger");
        check("b", 9,  "b since 10",        "b certain ledger");
        check("a", 9,  "b since 10",        "b likely ledger");       // resumed, or --force
        check("a", 11, "b since 10",        "a likely creator");      // a server that kept running
        // somebody signed in beside us, and auth.json did not change since 10
        check("",  0,  "b noticed 10",      "b certain login");
        check("b", 11, "b noticed 10",      "b certain login");
        check("b", 9,  "b noticed 10",      "b certain login");
        check("a", 9,  "b noticed 10",      "b likely login");
        check("a", 11, "b noticed 10",      "a likely creator");
        check("",  0,  "b noticed 10, was c", "c|b? signed-in-beside"); // who was running goes on as c
        check("",  11, "b noticed 10, was c", "b likely login");
        check("c", 9,  "b noticed 10, was c", "c|b? signed-in-beside"); // resumed by either
        check("c", 11, "b noticed 10, was c", "c likely creator");
        check("b", 9,  "b noticed 10, was c", "b likely login");
        check("b", 11, "b noticed 10, was c", "b certain login");
        check("a", 9,  "b noticed 10, was c", "c|b? signed-in-beside");
        // it was the one at 8 and the other later on
        check("",  9,  "c or b after 8",    "c|b? signed-in-beside");
        check("c", 9,  "c or b after 8",    "c likely creator");
        check("b", 9,  "c or b after 8",    "b likely creator");      // it had come by then
        check("b", 7,  "c or b after 8",    "c|b? signed-in-beside");
        check("b", 0,  "c or b after 8",    "c|b? signed-in-beside");
        check("a", 9,  "c or b after 8",    "c|b? signed-in-beside");
        check("",  9,  "? or b",            "b? signed-in-beside");
        check("a", 9,  "? or b",            "a likely creator");
        check("b", 9,  "? or b",            "b likely creator");
    }

    #[track_caller]
    fn check(creator: &str, begun: u32, tenant: &str, expected: &str) {
        let keys: Vec<AccountKey> = ["a", "b", "c"].map(key).to_vec();
        let find = |name: &str| {
            keys.iter().find(|key| key.to_string() == format!("chatgpt:{name}/{name}"))
        };
        let words: Vec<&str> = tenant.split([' ', ',']).filter(|word| !word.is_empty()).collect();
        let hour = |text: &str| stamp(text.parse().unwrap());
        let tenant = match words.as_slice() {
            [] => Tenant::Unknown,
            [name, "since", at] => Tenant::Known {
                account: find(name).unwrap(),
                since: hour(at),
                came: Came::Switched,
            },
            [name, "noticed", at, rest @ ..] => Tenant::Known {
                account: find(name).unwrap(),
                since: hour(at),
                came: Came::Noticed { former: rest.last().and_then(|name| find(name)) },
            },
            [before, "or", after, rest @ ..] => Tenant::Either {
                before: find(before),
                after: find(after).unwrap(),
                since: rest.last().map(|at| hour(at)),
            },
            other => unreachable!("{other:?}"),
        };
        let begun = (0 < begun).then(|| stamp(begun));
        let found = attribute(Origin { creator: find(creator), begun }, &tenant);
        let name = |key: &AccountKey| key.to_string().rsplit('/').next().unwrap().to_owned();
        let basis = |basis| serde_json::to_value(basis).unwrap().as_str().unwrap().to_owned();
        let told = match &found {
            Attribution::Known { account, confidence, basis: why } => {
                format!("{} {confidence} {}", name(account), basis(*why))
            }
            Attribution::Ambiguous { candidates, basis: why } => {
                let names: Vec<String> = candidates.iter().map(name).collect();
                format!("{}? {}", names.join("|"), basis(*why))
            }
        };
        assert_eq!(told, expected);
    }
}
