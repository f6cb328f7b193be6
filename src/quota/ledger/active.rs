//! Who was signed in to a Codex home at some instant?
//!
//! The ledger knows of switches that went through this program, and of sign-ins beside it that it
//! noticed later: between the last time the account before was seen and the time from which on the
//! new one surely was there, it may have been either.

use std::path::Path;

use chrono::{DateTime, Utc};

use super::{Entry, Ledger, Noticed};
use crate::account::AccountKey;
use crate::time::Stamp;

/// Who was signed in, as far as the ledger tells.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Tenant<'a> {
    /// It does not.
    Unknown,
    /// This account.
    Known {
        /// Which.
        account: &'a AccountKey,
        /// From when on.
        since: Stamp,
        /// How it came there.
        came: Came<'a>,
    },
    /// One of two: somebody signed in around then.
    Either {
        /// Who was before, if that is known.
        before: Option<&'a AccountKey>,
        /// Who was afterwards.
        after: &'a AccountKey,
        /// Until then it was surely the one before.
        since: Option<Stamp>,
    },
}

/// How an account came to be signed in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Came<'a> {
    /// This program put its login in place, while no Codex was running.
    Switched,
    /// Somebody signed in beside it. A Codex that was running goes on as the one before.
    Noticed {
        /// Who was before, if that is known.
        former: Option<&'a AccountKey>,
    },
}

/// One activation, in the order of time.
struct Turn<'a> {
    /// From when on it was surely this account.
    from: Stamp,
    account: &'a AccountKey,
    noticed: Option<Noticed>,
}

impl Ledger {
    /// Who was signed in to the home at an instant. Lines that do not name their home count for
    /// every home. Of two activations in one second the later line counts.
    #[must_use]
    pub fn tenant(&self, home: &Path, instant: DateTime<Utc>) -> Tenant<'_> {
        // No Codex runs while this program puts a login in place, so what is of the same second came
        // before.
        let has_begun = |turn: &Turn<'_>| match turn.noticed {
            None => turn.from.instant() < instant,
            Some(_) => turn.from.instant() <= instant,
        };
        let (past, coming): (Vec<_>, Vec<_>) = self.turns(home).into_iter().partition(has_begun);
        let current = past.last();
        if let Some(next) = coming.first()
            && let Some(noticed) = next.noticed
            && noticed.after.is_none_or(|after| after.instant() < instant)
            && current.is_none_or(|current| current.account != next.account)
        {
            return Tenant::Either {
                before: current.map(|current| current.account),
                after: next.account,
                since: noticed.after,
            };
        }
        let Some(current) = current else { return Tenant::Unknown };
        let mut earlier = past.iter().rev().skip_while(|turn| turn.account == current.account);
        let former = earlier.next().map(|turn| turn.account);
        // A line that says once more who is signed in begins nothing.
        let begun = past.iter().rev().take_while(|turn| turn.account == current.account).last();
        let begun = begun.unwrap_or(current);
        Tenant::Known {
            account: current.account,
            since: begun.from,
            came: match begun.noticed {
                Some(_) => Came::Noticed { former },
                None => Came::Switched,
            },
        }
    }

    /// Which account the ledger takes for the one that is signed in to the home at `now`.
    #[must_use]
    pub fn active_in(&self, home: &Path, now: DateTime<Utc>) -> Option<&AccountKey> {
        let mut latest_first = self.turns(home).into_iter().rev();
        latest_first.find(|turn| turn.from.instant() <= now).map(|turn| turn.account)
    }

    /// What to write down if `account` is found to be signed in to the home, and the ledger does
    /// not know: `unchanged_since` is when `auth.json` last changed, if that is known.
    #[must_use]
    pub fn notice(
        &self,
        home: &Path,
        account: &AccountKey,
        unchanged_since: Option<Stamp>,
        now: Stamp,
    ) -> Option<Noticed> {
        let active = self.active_in(home, now.instant());
        if active == Some(account) {
            return None;
        }
        let after = active.and_then(|active| self.last_seen(home, active, now));
        let before = unchanged_since.filter(|since| *since <= now).unwrap_or(now);
        // A clock that was set back makes an empty stretch, not one that runs backwards.
        Some(Noticed { after: after.filter(|after| *after <= before), before })
    }

    /// When an account was last seen signed in to the home.
    fn last_seen(&self, home: &Path, account: &AccountKey, now: Stamp) -> Option<Stamp> {
        let seen = self.entries.iter().filter_map(|entry| match entry {
            Entry::Activation { at, account: of, home: of_home, .. } => {
                (of == account && is_of(of_home.as_deref(), home)).then_some(*at)
            }
            Entry::Reading { at, reading } => {
                let is_there = reading.home.as_deref() == Some(home);
                (reading.account == *account && is_there).then_some(*at)
            }
            _ => None,
        });
        seen.filter(|at| *at <= now).max()
    }

    fn turns(&self, home: &Path) -> Vec<Turn<'_>> {
        let turns = self.entries.iter().filter_map(|entry| match entry {
            Entry::Activation { at, account, home: of, noticed, .. } => {
                let from = noticed.map_or(*at, |noticed| noticed.before);
                let turn = Turn { from, account, noticed: *noticed };
                is_of(of.as_deref(), home).then_some(turn)
            }
            _ => None,
        });
        let mut turns: Vec<Turn<'_>> = turns.collect();
        turns.sort_by_key(|turn| turn.from);
        turns
    }
}

/// Old lines do not name their home.
fn is_of(named: Option<&Path>, home: &Path) -> bool {
    named.is_none_or(|named| named == home)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: &str = "/home/ada/.codex";

    fn key(name: &str) -> AccountKey {
        format!("chatgpt:user-{name}/acct-{name}").parse().unwrap()
    }

    fn at(day: u32) -> Stamp {
        format!("2026-04-{day:02}T12:00:00+02:00").parse().unwrap()
    }

    fn switched(day: u32, name: &str) -> Entry {
        Entry::Activation {
            at: at(day),
            account: key(name),
            email: None,
            home: Some(HOME.into()),
            noticed: None,
        }
    }

    /// Noticed on a day: the change was after one day (0: nobody knows) and before another.
    fn noticed(day: u32, name: &str, after: u32, before: u32) -> Entry {
        let after = (0 < after).then(|| at(after));
        Entry::Activation {
            at: at(day),
            account: key(name),
            email: None,
            home: Some(HOME.into()),
            noticed: Some(Noticed { after, before: at(before) }),
        }
    }

    #[test]
    #[rustfmt::skip]
    fn the_active_account_is_the_one_last_activated_by_then_in_that_home() {
        let mut elsewhere = switched(6, "z");
        if let Entry::Activation { home, .. } = &mut elsewhere { *home = Some("/other".into()); }
        let mut old = switched(7, "c");
        if let Entry::Activation { home, .. } = &mut old { *home = None; }
        let ledger = Ledger {
            entries: vec![switched(9, "b"), switched(4, "a"), elsewhere, old, switched(9, "a")],
            ..Ledger::default()
        };
        for (day, expected) in [
            (4, "?"),           // no Codex ran while it was put in place
            (5, "a since 4"),
            (7, "a since 4"),
            (8, "c since 7"),   // it does not say in which home
            (9, "c since 7"),
            (10, "a since 9"),  // the later line of one second
        ] {
            assert_eq!(told(&ledger, day), expected, "{day}");
        }
        let active = |home, day| ledger.active_in(Path::new(home), at(day).instant()).cloned();
        assert_eq!(active("/other", 6), Some(key("z")));
        assert_eq!((active(HOME, 3), active(HOME, 4), active(HOME, 9)), (None, Some(key("a")), Some(key("a"))));
    }

    #[test]
    #[rustfmt::skip]
    fn who_was_signed_in_around_a_change_beside_us_is_one_of_two() {
        let ledger = Ledger {
            entries: vec![switched(2, "a"), noticed(9, "b", 4, 7), switched(12, "c")],
            ..Ledger::default()
        };
        for (day, expected) in [
            (4, "a since 2"),            // it was seen then
            (5, "a or b after 4"),
            (6, "a or b after 4"),
            (7, "b since 7, noticed, was a"),
            (12, "b since 7, noticed, was a"),
            (13, "c since 12"),
        ] {
            assert_eq!(told(&ledger, day), expected, "{day}");
        }
        let first = Ledger { entries: vec![noticed(9, "b", 0, 7)], ..Ledger::default() };
        assert_eq!(told(&first, 6), "? or b");
        assert_eq!(told(&first, 7), "b since 7, noticed");
    }

    fn told(ledger: &Ledger, day: u32) -> String {
        let name = |key: &AccountKey| key.to_string().rsplit('-').next().unwrap().to_owned();
        let day_of = |at: Stamp| at.wall().format("%-d").to_string();
        match ledger.tenant(Path::new(HOME), at(day).instant()) {
            Tenant::Unknown => "?".to_owned(),
            Tenant::Known { account, since, came } => {
                let came = match came {
                    Came::Switched => String::new(),
                    Came::Noticed { former: None } => ", noticed".to_owned(),
                    Came::Noticed { former: Some(former) } => {
                        format!(", noticed, was {}", name(former))
                    }
                };
                format!("{} since {}{came}", name(account), day_of(since))
            }
            Tenant::Either { before, after, since } => {
                let before = before.map_or("?".to_owned(), name);
                let since = since.map_or(String::new(), |at| format!(" after {}", day_of(at)));
                format!("{before} or {}{since}", name(after))
            }
        }
    }

    #[test]
    #[rustfmt::skip]
    fn a_sign_in_beside_us_is_noticed_with_the_time_it_must_have_happened_in() {
        //      ledger                               found  auth.json  now  after  before
        check(&[switched(2, "a")],                   "a",   Some(5),   9,   None);
        check(&[switched(2, "a")],                   "b",   Some(5),   9,   Some((2, 5)));
        check(&[switched(2, "a")],                   "b",   None,      9,   Some((2, 9)));
        check(&[switched(2, "a")],                   "b",   Some(12),  9,   Some((2, 9)));  // a clock ahead
        check(&[switched(2, "a")],                   "b",   Some(1),   9,   Some((0, 1)));  // set back
        check(&[],                                   "b",   Some(5),   9,   Some((0, 5)));
        check(&[switched(2, "a"), noticed(4, "b", 2, 3)], "b", Some(8), 9,  None);          // refreshed since
        check(&[switched(2, "a"), noticed(4, "b", 2, 3)], "a", Some(8), 9,  Some((4, 8)));
    }

    #[track_caller]
    fn check(
        entries: &[Entry],
        found: &str,
        changed: Option<u32>,
        now: u32,
        expected: Option<(u32, u32)>,
    ) {
        let ledger = Ledger { entries: entries.to_vec(), ..Ledger::default() };
        let noticed = ledger.notice(Path::new(HOME), &key(found), changed.map(at), at(now));
        let expected = expected.map(|(after, before)| Noticed {
            after: (0 < after).then(|| at(after)),
            before: at(before),
        });
        assert_eq!(noticed, expected);
    }
}
