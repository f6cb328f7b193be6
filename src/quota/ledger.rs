//! What was ever said about quotas and switches?
//!
//! `ledger.jsonl` is append-only, one JSON object per line: `schema_version`, `at` (when the
//! line was written), `event`, and what belongs to it. This room reads and writes lines; the
//! file itself is opened elsewhere. Who was signed in when is [`active`]'s question.

pub mod active;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Basis, Reading, Source};
use crate::account::{AccountKey, Email};
use crate::disk::json;
use crate::time::Stamp;
use crate::window::Window;

/// The format that [`Entry::to_line`] writes.
pub const SCHEMA_VERSION: u64 = 1;

/// One line of the ledger.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Entry {
    /// A source was asked.
    Reading {
        /// When the line was written.
        at: Stamp,
        /// What the source said.
        #[serde(flatten)]
        reading: Reading,
    },
    /// A source was asked, and whose figures they are nobody can tell. They are kept, and nobody's
    /// availability follows from them.
    AmbiguousReading {
        /// When the line was written.
        at: Stamp,
        /// What the source said.
        #[serde(flatten)]
        reading: Ambiguous,
    },
    /// An account's login became, or was found to be, the live one.
    Activation {
        /// When it was put in place, or found there.
        at: Stamp,
        /// Whose login it is.
        account: AccountKey,
        /// Its label.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        email: Option<Email>,
        /// In which Codex home; old lines do not tell.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        home: Option<PathBuf>,
        /// When somebody signed in beside this program, if that is how it came there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        noticed: Option<Noticed>,
    },
    /// A person set an account aside.
    Cooldown {
        /// When they did.
        at: Stamp,
        /// Which account.
        account: AccountKey,
        /// Its label.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        email: Option<Email>,
        /// Until when; at that very instant it is over.
        until: Stamp,
    },
    /// A person took the cooldown they had set back.
    CooldownCleared {
        /// When they did.
        at: Stamp,
        /// Which account.
        account: AccountKey,
    },
    /// A person wanted an account to be forgotten: what was said of it before counts no more.
    Forgotten {
        /// When they did.
        at: Stamp,
        /// Which account.
        account: AccountKey,
    },
    /// A person took that back.
    Remembered {
        /// When they did.
        at: Stamp,
        /// Which account.
        account: AccountKey,
    },
}

/// What a source said of one of several accounts.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Ambiguous {
    /// Whose it may be, as far as anybody is known who could have been signed in.
    #[serde(default)]
    pub candidates: Vec<AccountKey>,
    /// What kept it from being decided.
    pub basis: Basis,
    /// When the figures held.
    pub observed_at: Stamp,
    /// Where they come from.
    pub source: Source,
    /// From which Codex home.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<PathBuf>,
    /// The windows.
    #[serde(default)]
    pub windows: Vec<Window>,
    /// Whether the backend said that a limit is reached; `None` if it did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_reached: Option<bool>,
}

/// When somebody signed in beside this program.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Noticed {
    /// Not before this: the account before was seen then. `None` if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Stamp>,
    /// Not after this: from then on `auth.json` did not change, or it was seen.
    pub before: Stamp,
}

impl Entry {
    /// When the line was written.
    #[must_use]
    pub fn at(&self) -> Stamp {
        match self {
            Self::Reading { at, .. }
            | Self::AmbiguousReading { at, .. }
            | Self::Activation { at, .. }
            | Self::Cooldown { at, .. }
            | Self::CooldownCleared { at, .. }
            | Self::Forgotten { at, .. }
            | Self::Remembered { at, .. } => *at,
        }
    }

    /// The account it is about, if it is about one.
    #[must_use]
    pub fn account(&self) -> Option<&AccountKey> {
        match self {
            Self::Reading { reading, .. } => Some(&reading.account),
            Self::AmbiguousReading { .. } => None,
            Self::Activation { account, .. }
            | Self::Cooldown { account, .. }
            | Self::CooldownCleared { account, .. }
            | Self::Forgotten { account, .. }
            | Self::Remembered { account, .. } => Some(account),
        }
    }

    /// The entry as one line of the file, with its newline.
    ///
    /// # Errors
    ///
    /// None in practice: every field has a JSON form. The signature is serde's.
    pub fn to_line(&self) -> serde_json::Result<String> {
        let mut object = Map::from_iter([("schema_version".to_owned(), SCHEMA_VERSION.into())]);
        if let Value::Object(fields) = serde_json::to_value(self)? {
            // `at` and `event` stand first, for people who look at the file.
            for name in ["at", "event"] {
                object.extend(fields.get(name).map(|value| (name.to_owned(), value.clone())));
            }
            object.extend(fields.into_iter().filter(|(name, _)| name != "at" && name != "event"));
        }
        let mut line = serde_json::to_string(&Value::Object(object))?;
        line.push('\n');
        Ok(line)
    }
}

/// The ledger as far as it could be read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    /// The entries in the order of the file, which need not be that of time.
    pub entries: Vec<Entry>,
    /// Damaged lines (counted from 1) and what is wrong with them, never their content.
    pub problems: Vec<(usize, String)>,
    /// Lines (counted from 1) that a newer version wrote and this one does not understand.
    pub newer: Vec<usize>,
    /// Where a torn last line begins, in bytes: whoever appends cuts the file off there.
    pub torn_from: Option<usize>,
}

/// Reads the bytes of a ledger.
///
/// A damaged line, also a torn last one, costs itself only; nor does an event that this version
/// does not know hide the others. Such lines stay in the file, which only ever grows.
#[must_use]
pub fn parse(bytes: &[u8]) -> Ledger {
    let mut ledger = Ledger::default();
    for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        if line.trim_ascii().is_empty() {
            continue;
        }
        match parse_line(line) {
            Ok(entry) => ledger.entries.push(entry),
            Err(Unread::Newer) => ledger.newer.push(number),
            Err(Unread::Damaged(reason)) => ledger.problems.push((number, reason)),
        }
    }
    // A line that lacks its newline and is whole only wants the newline.
    let tail = bytes.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    if !tail.trim_ascii().is_empty() && matches!(parse_line(tail), Err(Unread::Damaged(_))) {
        ledger.torn_from = bytes.len().checked_sub(tail.len());
    }
    ledger
}

impl Ledger {
    /// What was said of an account and still counts, in the order of the file: what came before it
    /// was forgotten does not. Who was signed in then stays true all the same, for
    /// [`Ledger::tenant`].
    pub fn said(&self, account: &AccountKey) -> impl Iterator<Item = &Entry> {
        let forgotten = self.forgotten(account);
        self.entries
            .iter()
            .enumerate()
            .filter(move |(line, entry)| {
                entry.account() == Some(account)
                    && !matches!(entry, Entry::Forgotten { .. } | Entry::Remembered { .. })
                    && forgotten.is_none_or(|mark| mark < (entry.at(), *line))
            })
            .map(|(_, entry)| entry)
    }

    /// When a person wanted this account to be forgotten, if they did and did not take it back.
    #[must_use]
    pub fn forgotten_at(&self, account: &AccountKey) -> Option<Stamp> {
        self.forgotten(account).map(|(at, _)| at)
    }

    /// The accounts that a person wanted to be forgotten, and when.
    #[must_use]
    pub fn all_forgotten(&self) -> BTreeMap<AccountKey, Stamp> {
        let marks = self.entries.iter().filter(|entry| matches!(entry, Entry::Forgotten { .. }));
        let asked: BTreeSet<&AccountKey> = marks.filter_map(Entry::account).collect();
        asked.into_iter().filter_map(|key| Some((key.clone(), self.forgotten_at(key)?))).collect()
    }

    /// The mark behind which an account is forgotten: its time, then its place in the file. Taking
    /// one back brings the one before it into force.
    fn forgotten(&self, account: &AccountKey) -> Option<(Stamp, usize)> {
        let mut marks: Vec<(Stamp, usize, bool)> = (0..)
            .zip(&self.entries)
            .filter(|(_, entry)| entry.account() == Some(account))
            .filter_map(|(line, entry)| match entry {
                Entry::Forgotten { at, .. } => Some((*at, line, true)),
                Entry::Remembered { at, .. } => Some((*at, line, false)),
                _ => None,
            })
            .collect();
        marks.sort_unstable();
        let mut standing = Vec::new();
        for (at, line, is_forgotten) in marks {
            if is_forgotten {
                standing.push((at, line));
            } else {
                standing.pop();
            }
        }
        standing.pop()
    }

    /// What is known of an account at `now`: its readings and the cooldown a person set, if
    /// that was not taken back by then. Lines written after `now` do not count.
    ///
    /// Taking a cooldown back removes that cooldown and nothing else: readings stay.
    #[must_use]
    pub fn readings(&self, account: &AccountKey, now: DateTime<Utc>) -> Vec<Reading> {
        let mut readings = Vec::new();
        let mut manual: Option<(Stamp, Option<Reading>)> = None;
        for entry in self.said(account) {
            if now < entry.at().instant() {
                continue;
            }
            let (at, set) = match entry {
                Entry::Reading { reading, .. } => {
                    readings.push(reading.clone());
                    continue;
                }
                Entry::Activation { .. } | Entry::AmbiguousReading { .. } => continue,
                Entry::Cooldown { at, account, email, until } => {
                    let reading = Reading::manual(account.clone(), *at, *until);
                    (*at, Some(Reading { email: email.clone(), ..reading }))
                }
                Entry::CooldownCleared { at, .. } => (*at, None),
                Entry::Forgotten { .. } | Entry::Remembered { .. } => continue,
            };
            // Ledgers of two machines may be joined: time decides, and then the later line.
            if manual.as_ref().is_none_or(|(since, _)| *since <= at) {
                manual = Some((at, set));
            }
        }
        readings.extend(manual.and_then(|(_, set)| set));
        readings
    }

    /// Until when a person set this account aside, whether that has passed or not; `None` if they
    /// never did, or took it back.
    #[must_use]
    pub fn set_aside_until(&self, account: &AccountKey) -> Option<Stamp> {
        let mut last: Option<(Stamp, Option<Stamp>)> = None;
        for entry in self.said(account) {
            let told = match entry {
                Entry::Cooldown { at, until, .. } => (*at, Some(*until)),
                Entry::CooldownCleared { at, .. } => (*at, None),
                _ => continue,
            };
            // As in `readings`: time decides, and then the later line.
            if last.is_none_or(|(since, _)| since <= told.0) {
                last = Some(told);
            }
        }
        last.and_then(|(_, until)| until)
    }

    /// Every account the ledger mentions and nobody wanted to be forgotten since, each once, in the
    /// order of first mention.
    #[must_use]
    pub fn accounts(&self) -> Vec<AccountKey> {
        let mut accounts: Vec<AccountKey> = Vec::new();
        for account in self.entries.iter().filter_map(Entry::account) {
            if !accounts.contains(account) {
                accounts.push(account.clone());
            }
        }
        accounts.retain(|account| self.said(account).next().is_some());
        accounts
    }

    /// The label an account was last seen with.
    #[must_use]
    pub fn email(&self, account: &AccountKey) -> Option<Email> {
        let said: Vec<&Entry> = self.said(account).collect();
        said.into_iter().rev().find_map(|entry| match entry {
            Entry::Reading { reading, .. } => reading.email.clone(),
            Entry::Activation { email, .. } | Entry::Cooldown { email, .. } => email.clone(),
            _ => None,
        })
    }

    /// Every activation, in the order of the file.
    pub fn activations(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| matches!(entry, Entry::Activation { .. }))
    }

    /// Whether what a reading says is written down already, whatever decided whose it is.
    #[must_use]
    pub fn knows(&self, entry: &Entry) -> bool {
        let is_it = |known: &Entry| match (known, entry) {
            (Entry::Reading { reading: known, .. }, Entry::Reading { reading, .. }) => {
                known.says_what(reading)
            }
            (
                Entry::AmbiguousReading { reading: known, .. },
                Entry::AmbiguousReading { reading, .. },
            ) => known == reading,
            _ => false,
        };
        // What was written last is most likely what is read again.
        self.entries.iter().rev().any(is_it)
    }

    /// When an account last became the live one of any home, at or before `now`.
    #[must_use]
    pub fn last_activation(&self, account: &AccountKey, now: DateTime<Utc>) -> Option<Stamp> {
        self.said(account)
            .filter(|entry| matches!(entry, Entry::Activation { .. }))
            .map(Entry::at)
            .filter(|at| at.instant() <= now)
            .max()
    }
}

/// Why a line gave no entry.
enum Unread {
    Newer,
    Damaged(String),
}

fn parse_line(line: &[u8]) -> Result<Entry, Unread> {
    let damaged = |reason: &str| Unread::Damaged(reason.to_owned());
    let value = json::strict(line).map_err(|error| {
        let column = error.column();
        Unread::Damaged(if error.is_eof() {
            "the line is torn".to_owned()
        } else if error.is_data() {
            "a key stands twice".to_owned()
        } else {
            format!("not JSON at column {column}")
        })
    })?;
    let object = value.as_object().ok_or_else(|| damaged("not an object"))?;
    let version = object.get("schema_version").and_then(Value::as_u64);
    let version = version.ok_or_else(|| damaged("no `schema_version`"))?;
    let event = object.get("event").and_then(Value::as_str);
    let known = match event.ok_or_else(|| damaged("no `event`"))? {
        "reading" => "reading",
        "ambiguous-reading" => "ambiguous-reading",
        "activation" => "activation",
        "cooldown" => "cooldown",
        "cooldown-cleared" => "cooldown-cleared",
        "forgotten" => "forgotten",
        "remembered" => "remembered",
        _ => return Err(Unread::Newer),
    };
    // A newer line is read if it can be; serde's own words could repeat what is in it.
    serde_json::from_value(value).map_err(|_| match version {
        ..=SCHEMA_VERSION => Unread::Damaged(format!("not a whole `{known}` entry")),
        _ => Unread::Newer,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::quota::Confidence;

    fn key(name: &str) -> AccountKey {
        format!("chatgpt:user-{name}/acct-{name}").parse().unwrap()
    }

    fn at(day: u32) -> Stamp {
        format!("2026-04-{day:02}T12:00:00+02:00").parse().unwrap()
    }

    fn activation(day: u32, name: &str) -> Entry {
        Entry::Activation {
            at: at(day),
            account: key(name),
            email: None,
            home: Some("/home/ada/.codex".into()),
            noticed: None,
        }
    }

    fn cooldown(day: u32, until: u32) -> Entry {
        Entry::Cooldown { at: at(day), account: key("a"), email: None, until: at(until) }
    }

    fn cleared(day: u32) -> Entry {
        Entry::CooldownCleared { at: at(day), account: key("a") }
    }

    fn forgotten(day: u32) -> Entry {
        Entry::Forgotten { at: at(day), account: key("a") }
    }

    fn remembered(day: u32) -> Entry {
        Entry::Remembered { at: at(day), account: key("a") }
    }

    fn reading(day: u32) -> Entry {
        let window =
            Window { minutes: 10_080, used_percent: Some(45.5), resets_at: Some(at(day + 5)) };
        let mut reading = Reading::new(key("a"), Source::AppServer, at(day), vec![window]);
        reading.email = Some("ada@example.com".parse().unwrap());
        Entry::Reading { at: at(day), reading }
    }

    fn ledger(entries: Vec<Entry>) -> Ledger {
        Ledger { entries, ..Ledger::default() }
    }

    #[test]
    fn every_entry_is_read_back_from_its_line() {
        let marks = [forgotten(7), remembered(8)];
        for entry in
            [reading(3), activation(4, "a"), cooldown(5, 9), cleared(6)].iter().chain(&marks)
        {
            let line = entry.to_line().unwrap();
            assert!(line.starts_with("{\"schema_version\":1,\"at\":\"2026-04-0"), "{line}");
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            assert_eq!(parse(line.as_bytes()), ledger(vec![entry.clone()]));
        }
    }

    #[test]
    fn a_bad_line_and_a_newer_event_hide_nothing() {
        let good = activation(4, "a").to_line().unwrap();
        let newer = good.replace("activation", "teleport");
        let newer_form =
            good.replace("\"schema_version\":1", "\"schema_version\":2").replace("acc", "owner");
        let newer_known = good.replace("\"schema_version\":1", "\"schema_version\":2");
        let text = format!(
            "{good}not json sk-secret\n\n[]\n{newer}{newer_form}{newer_known}\
             {{\"schema_version\":1,\"event\":\"activation\",\"at\":\"sk-secret\"}}\n\
             {{\"event\":\"activation\"}}\n{good}{}",
            good.get(..30).unwrap()
        );
        let parsed = parse(text.as_bytes());
        assert_eq!(parsed.entries, vec![activation(4, "a"); 3]);
        assert_eq!(parsed.newer, [5, 6]);
        assert_eq!(parsed.torn_from, Some(text.len() - 30));
        let problems: Vec<_> = parsed.problems.iter().map(|(n, why)| (*n, why.as_str())).collect();
        assert_eq!(
            problems,
            [
                (2, "not JSON at column 2"),
                (4, "not an object"),
                (8, "not a whole `activation` entry"),
                (9, "no `schema_version`"),
                (11, "the line is torn"),
            ]
        );
    }

    #[test]
    fn a_last_line_without_its_newline_counts_if_it_is_whole() {
        let line = activation(4, "a").to_line().unwrap();
        let parsed = parse(line.trim_end().as_bytes());
        assert_eq!((parsed.entries.len(), parsed.torn_from), (1, None));
        assert_eq!(parse(format!("{line}x\n").as_bytes()).torn_from, None, "damaged, not torn");
    }

    #[test]
    #[rustfmt::skip]
    fn a_cooldown_lasts_until_it_is_taken_back_or_set_anew() {
        manual(&[cooldown(3, 20)],                             9, Some(20));
        manual(&[cooldown(3, 20), cleared(5)],                 9, None);
        manual(&[cooldown(3, 20), cleared(5)],                 4, Some(20)); // not yet taken back
        manual(&[cleared(5), cooldown(3, 20)],                 9, None);     // joined ledgers
        manual(&[cooldown(3, 20), cooldown(4, 12)],            9, Some(12)); // set anew
        manual(&[cooldown(3, 20), cleared(3)],                 9, None);     // in one second
        manual(&[cooldown(3, 20), cleared(4), cooldown(5, 8)], 9, Some(8));
        manual(&[cooldown(3, 20)],                             2, None);     // not yet set
    }

    #[track_caller]
    fn manual(entries: &[Entry], now: u32, expected: Option<u32>) {
        let readings = ledger(entries.to_vec()).readings(&key("a"), at(now).instant());
        let until: Vec<_> =
            readings.iter().flat_map(|reading| &reading.windows).map(|w| w.resets_at).collect();
        assert_eq!(until, expected.map(|day| Some(at(day))).into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn taking_a_cooldown_back_leaves_the_readings() {
        let entries = vec![reading(2), cooldown(3, 20), cleared(4), activation(5, "b")];
        let readings = ledger(entries).readings(&key("a"), at(9).instant());
        assert_eq!(readings.iter().map(|r| r.source).collect::<Vec<_>>(), [Source::AppServer]);
    }

    #[test]
    #[rustfmt::skip]
    fn what_was_said_before_an_account_was_forgotten_counts_no_more_until_that_is_taken_back() {
        let (r, f, back) = (reading, forgotten, remembered);
        forgets(&[r(2), f(4)],                              "",    Some(4));
        forgets(&[r(2), f(4), r(5)],                        "5",   Some(4));
        forgets(&[r(2), r(4), f(4), r(4)],                  "4",   Some(4)); // in one second: the line
        forgets(&[f(4), r(2), r(5)],                        "5",   Some(4)); // joined ledgers: the time
        forgets(&[r(2), f(4), back(5)],                     "2",   None);
        forgets(&[r(2), f(4), r(5), back(5)],               "2 5", None);
        forgets(&[r(2), f(3), r(5), f(6)],                  "",    Some(6));
        forgets(&[r(2), f(3), r(5), f(6), back(6)],         "5",   Some(3)); // the one before holds again
        forgets(&[r(2), f(3), r(5), f(6), back(7), back(7)], "2 5", None);
        forgets(&[back(1), r(2)],                           "2",   None);
    }

    #[track_caller]
    fn forgets(entries: &[Entry], expected: &str, since: Option<u32>) {
        let ledger = ledger(entries.iter().cloned().chain([activation(1, "b")]).collect());
        let readings = ledger.readings(&key("a"), at(20).instant());
        let days: Vec<_> =
            readings.iter().map(|r| r.observed_at.wall().format("%-d").to_string()).collect();
        assert_eq!(days.join(" "), expected);
        assert_eq!(ledger.forgotten_at(&key("a")), since.map(at));
        assert_eq!(ledger.all_forgotten().len(), usize::from(since.is_some()));
        assert_eq!(ledger.accounts().contains(&key("a")), !expected.is_empty());
        assert!(ledger.accounts().contains(&key("b")));
        assert_eq!(ledger.email(&key("a")).is_some(), !expected.is_empty());
    }

    #[test]
    fn who_was_signed_in_stays_true_when_they_are_forgotten() {
        let entries = vec![activation(2, "b"), cooldown(3, 9), activation(4, "a"), forgotten(5)];
        let ledger = ledger(entries);
        let home = std::path::Path::new("/home/ada/.codex");
        assert_eq!(ledger.active_in(home, at(4).instant()), Some(&key("a")), "it was not b");
        assert_eq!(ledger.last_activation(&key("a"), at(9).instant()), None);
        assert_eq!(ledger.set_aside_until(&key("a")), None);
    }

    #[test]
    fn the_last_activation_is_the_latest_by_then_in_whatever_order_they_stand() {
        let ledger =
            ledger(vec![activation(8, "a"), activation(4, "a"), activation(6, "c"), reading(2)]);
        assert_eq!(ledger.last_activation(&key("a"), at(7).instant()), Some(at(4)));
        assert_eq!(ledger.last_activation(&key("a"), at(9).instant()), Some(at(8)));
        assert_eq!(ledger.last_activation(&key("d"), at(9).instant()), None);
        assert_eq!(ledger.accounts(), [key("a"), key("c")]);
        assert_eq!(ledger.email(&key("a")).unwrap().as_str(), "ada@example.com");
    }

    #[test]
    fn a_reading_is_known_again_whatever_decided_whose_it_is() {
        let Entry::Reading { at, reading: noted } = reading(3) else { unreachable!() };
        let ledger = ledger(vec![Entry::Reading { at, reading: noted.clone() }]);
        let again = Reading {
            basis: Some(Basis::Creator),
            confidence: Confidence::Likely,
            ..noted.clone()
        };
        assert!(ledger.knows(&Entry::Reading { at, reading: again }));
        let other = Reading { account: key("b"), ..noted };
        assert!(!ledger.knows(&Entry::Reading { at, reading: other }));
    }

    #[test]
    fn an_ambiguous_reading_is_kept_and_is_nobodys() {
        let Entry::Reading { at: written, reading: of_a } = reading(3) else { unreachable!() };
        let entry = Entry::AmbiguousReading {
            at: written,
            reading: Ambiguous {
                candidates: vec![key("a"), key("b")],
                basis: Basis::SignedInBeside,
                observed_at: of_a.observed_at,
                source: Source::Rollout,
                home: None,
                windows: of_a.windows,
                limit_reached: None,
            },
        };
        let line = entry.to_line().unwrap();
        assert!(line.contains("\"event\":\"ambiguous-reading\""), "{line}");
        let parsed = parse(line.as_bytes());
        assert_eq!(parsed, ledger(vec![entry]));
        assert_eq!(parsed.accounts(), []);
        assert_eq!(parsed.readings(&key("a"), at(9).instant()), []);
    }

    #[test]
    fn lines_of_old_ledgers_are_read() {
        let old = r#"{"schema_version":1,"at":"2026-04-03T12:00:00+02:00","event":"activation","account":"chatgpt:user-a/acct-a"}"#;
        let reading = r#"{"schema_version":1,"at":"2026-04-03T12:00:00+02:00","event":"reading","account":"chatgpt:user-a/acct-a","observed_at":"2026-04-03T12:00:00+02:00","source":"rollout","windows":[]}"#;
        let parsed = parse(format!("{old}\n{reading}\n").as_bytes());
        assert!(matches!(
            parsed.entries.as_slice(),
            [
                Entry::Activation { home: None, noticed: None, .. },
                Entry::Reading { reading, .. },
            ] if reading.confidence == Confidence::Certain && reading.home.is_none()
        ));
    }

    proptest! {
        #[test]
        fn odd_bytes_never_hide_a_good_line(
            before in proptest::collection::vec(any::<u8>(), 0..200),
            after in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut bytes = before;
            bytes.push(b'\n');
            bytes.extend(activation(4, "a").to_line().unwrap().into_bytes());
            bytes.extend(after);
            prop_assert!(parse(&bytes).entries.contains(&activation(4, "a")));
        }
    }
}
