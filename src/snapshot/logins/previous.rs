//! Who was signed in to this home before?
//!
//! Pure: what the log and the sidecars tell comes in. The log knows every switch that this program
//! made; of a person who signed in with Codex itself, a snapshot that was taken of the home tells.

use std::path::Path;

use chrono::{DateTime, Utc};

use crate::account::AccountKey;
use crate::snapshot::operations::{Change, Log, Record, SignedIn};
use crate::snapshot::store::Stored;
use crate::time::Stamp;

/// The account that was signed in to the home at `root` before `now` was; `None` if nothing tells of
/// one. `shown` is how sidecars name that home.
///
/// What was done to other homes does not count, nor who was signed in to them.
#[must_use]
pub fn previous(
    root: &Path,
    shown: &str,
    now: Option<&AccountKey>,
    log: &Log,
    snapshots: &[Stored],
) -> Option<AccountKey> {
    let seen = snapshots.iter().filter_map(|stored| {
        let metadata = &stored.metadata;
        let is_here = metadata.source_codex_home.as_deref() == Some(shown);
        let at = metadata.created_at.filter(|_| is_here)?;
        Some((at.instant(), stored.key()?))
    });
    let mut seen: Vec<(DateTime<Utc>, AccountKey)> = seen.collect();
    // A snapshot is older than a switch of the same second, and the log is in order as it is.
    let switched = log.records.iter().flat_map(|record| {
        accounts(record, root).into_iter().flatten().map(|key| (record.at.instant(), key))
    });
    seen.extend(switched);
    seen.sort_by_key(|(at, _)| *at);
    let mut keys = seen.into_iter().rev().map(|(_, key)| key);
    keys.find(|key| now != Some(key))
}

/// When this account last left the home at `root` and its state behind: another login took the place
/// of its login, and nothing else. `None` if the last time its home went away with it.
#[must_use]
pub fn left_alone(root: &Path, account: &AccountKey, log: &Log) -> Option<Stamp> {
    let mut newest_first = log.records.iter().rev();
    newest_first.find_map(|record| {
        let left = accounts(record, root).first().cloned().flatten();
        let is_alone = |change: &Change| matches!(change, Change::Login { .. });
        (left.as_ref() == Some(account))
            .then(|| record.changes.iter().any(is_alone).then_some(record.at))
    })?
}

/// Who was signed in to the home before and after an operation, as far as it is about that.
fn accounts(record: &Record, root: &Path) -> [Option<AccountKey>; 2] {
    let named = |who: &SignedIn| match who {
        SignedIn::Account(key) => Some(key.clone()),
        SignedIn::Orphan(_) | SignedIn::Nobody => None,
    };
    for change in &record.changes {
        match change {
            Change::Login { place, before, after } if place == root => {
                return [named(before), named(after)];
            }
            Change::Home(home) if home.place == root => {
                let told = record.accounts.clone().unwrap_or_default();
                return [told.before, told.after];
            }
            _ => {}
        }
    }
    [None, None]
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::snapshot::metadata::{AccountFacts, Kind, Metadata};
    use crate::snapshot::operations::{Accounts, HomeChange};
    use crate::snapshot::store::Origin;
    use crate::time::Zone;

    fn at(clock: &str) -> Stamp {
        Zone::UTC.stamp(format!("2026-11-21T{clock}:00Z").parse().unwrap())
    }

    fn key(name: &str) -> Option<AccountKey> {
        (name != "-").then(|| format!("chatgpt:user-{name}/acct-{name}").parse().unwrap())
    }

    fn who(name: &str) -> SignedIn {
        key(name).map_or(SignedIn::Nobody, SignedIn::Account)
    }

    /// A log in the notation of the table: clock, `use` or `restore` or `config`, home, before,
    /// after.
    fn log(lines: &[&str]) -> Log {
        let records = lines.iter().map(|line| {
            let [clock, command, home, before, after] = line.split(' ').collect::<Vec<_>>()[..]
            else {
                unreachable!("{line}")
            };
            let mut record = Record::new((*line).to_owned(), at(clock), command, String::new());
            let place = PathBuf::from(home);
            match command {
                "use" => record.changes.push(Change::Login {
                    place,
                    before: who(before),
                    after: who(after),
                }),
                _ => {
                    record.accounts = Some(Accounts { before: key(before), after: key(after) });
                    record.changes.push(Change::Home(HomeChange {
                        place,
                        kept: None,
                        new: None,
                        old: None,
                        carried: Vec::new(),
                        databases: None,
                        settled: None,
                    }));
                }
            }
            record
        });
        let mut log = Log::default();
        log.records.extend(records);
        log
    }

    /// A snapshot: clock, home, account.
    fn snapshot(line: &str) -> Stored {
        let [clock, home, name] = line.split(' ').collect::<Vec<_>>()[..] else {
            unreachable!("{line}")
        };
        let mut metadata = Metadata::empty(Kind::Full);
        metadata.created_at = Some(at(clock));
        metadata.source_codex_home = Some(home.to_owned());
        metadata.account = Some(AccountFacts {
            user_id: Some(format!("user-{name}")),
            account_id: Some(format!("acct-{name}")),
            plan: None,
            auth_mode: None,
        });
        let (title, archive) = (line.to_owned(), PathBuf::from(line));
        Stored { title, archive, sidecar: None, metadata: metadata.into(), origin: Origin::Ours }
    }

    #[test]
    #[rustfmt::skip]
    fn the_one_before_is_the_last_other_account_that_this_home_had() {
        check("ada", &["10:00 use /h bob ada"], &[],                                   "bob");
        check("bob", &["10:00 use /h ada bob", "11:00 use /h bob ada"], &[],           "ada");
        check("ada", &["10:00 use /h cyd bob", "11:00 use /h bob ada"], &[],           "bob");
        check("ada", &["10:00 restore /h bob ada"], &[],                               "bob");
        check("ada", &[], &[],                                                         "-");
        check("ada", &["10:00 use /other bob ada"], &[],                               "-"); // another home
        check("ada", &["10:00 use /h - ada"], &[],                                     "-");
        check("cyd", &["10:00 use /h bob ada"], &[],                                   "ada"); // signed in since, with Codex
        check("-",   &["10:00 use /h bob ada"], &[],                                   "ada"); // signed out since
        check("ada", &[], &["09:00 /h bob"],                                           "bob"); // only a snapshot tells
        check("ada", &[], &["09:00 /other bob"],                                       "-");
        check("ada", &["10:00 use /h bob ada"], &["11:00 /h cyd"],                     "cyd");
        check("ada", &["10:00 use /h bob ada"], &["10:00 /h cyd", "12:00 /h ada"],     "bob");
        // In one second the log is in order.
        check("bob", &["10:00 use /h ada bob", "10:00 use /h bob ada", "10:00 use /h ada bob"], &[], "ada");
    }

    #[test]
    #[rustfmt::skip]
    fn whoever_left_by_an_exchange_of_logins_left_their_state_behind() {
        for (lines, expected) in [
            (&["10:00 use /h ada bob"][..],                                 Some("10:00")),
            (&["10:00 use /h ada bob", "11:00 use /h bob cyd"],             Some("10:00")),
            (&["10:00 restore /h ada bob"],                                 None), // their home went with them
            (&["10:00 use /h ada bob", "11:00 restore /h ada bob"],         None),
            (&["10:00 restore /h ada bob", "11:00 use /h ada bob"],         Some("11:00")),
            (&["10:00 use /other ada bob"],                                 None),
            (&["10:00 use /h bob ada"],                                     None), // she came
        ] {
            let found = left_alone(Path::new("/h"), &key("ada").unwrap(), &log(lines));
            assert_eq!(found, expected.map(at), "{lines:?}");
        }
    }

    #[track_caller]
    fn check(now: &str, lines: &[&str], snapshots: &[&str], expected: &str) {
        let snapshots: Vec<Stored> = snapshots.iter().map(|line| snapshot(line)).collect();
        let found = previous(Path::new("/h"), "/h", key(now).as_ref(), &log(lines), &snapshots);
        assert_eq!(found, key(expected));
    }
}
