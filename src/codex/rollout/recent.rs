//! Which session files may hold the newest event, if a home has too many to ask about each?
//!
//! Those that were begun last, as their names tell, and those that were gone on with. Of these
//! Codex itself takes notes: who types a prompt is written to `history.jsonl`, who names a session
//! to `session_index.jsonl`, and a session that is open has a lock. All three name it by its id, a
//! UUIDv7 that ends the name of its file and holds the instant at which it was begun: so it is
//! looked for in three folders, not in all.
//!
//! Notes are hints. One that is odd is passed over, and nothing but the id is taken from it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveDate};
use serde::Deserialize;

use super::backwards::Backwards;
use super::listing::{Listing, check, is_rollout, open};

/// So many sessions are looked at because they were begun last.
pub(super) const NEWEST: usize = 500;

/// So many others are looked for because a note names them.
const RESUMED: usize = 64;

/// How much of each file of notes is read, from its end, in bytes.
const NOTES: u64 = 64 << 10;

/// So many locks of open sessions are looked at.
const LOCKS: usize = 256;

/// Lists the rollouts of a home that were begun or gone on with last, in no order. What it asks the
/// system for does not grow with the sessions of the home, but for the names in the newest folders
/// and in `archived_sessions/`, which has none below it.
///
/// What it can miss: a session older than the newest 500 that was gone on with by a Codex which
/// took no note of it (`codex exec resume`) and has ended.
pub(super) fn recent(codex_home: &Path) -> io::Result<Listing> {
    check(codex_home)?;
    let mut listing = Listing::default();
    let newest = listing.newest_by_name(codex_home, NEWEST);
    let found: HashSet<&str> = newest.iter().filter_map(|path| id_of(path.file_name()?)).collect();
    let mut resumed = noted(codex_home, &mut listing);
    resumed.retain(|id| !found.contains(id.0.as_str()));
    resumed.truncate(RESUMED);
    let resumed = find(codex_home, &resumed, &mut listing);
    listing.look_at(newest.into_iter().chain(resumed));
    Ok(listing)
}

/// The id of a session, in the letters of its file's name.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Id(String);

impl Id {
    /// Only what Codex gives to a session: a UUIDv7 in small letters.
    fn parse(text: &str) -> Option<Self> {
        let fits = |(at, letter): (usize, u8)| match at {
            8 | 13 | 18 | 23 => letter == b'-',
            14 => letter == b'7',
            _ => matches!(letter, b'0'..=b'9' | b'a'..=b'f'),
        };
        (text.len() == 36 && text.bytes().enumerate().all(fits)).then(|| Self(text.to_owned()))
    }

    /// The day in UTC on which it was made.
    fn day(&self) -> Option<NaiveDate> {
        let digits: String = self.0.chars().filter(|letter| *letter != '-').take(12).collect();
        let millis = i64::from_str_radix(&digits, 16).ok()?;
        Some(DateTime::from_timestamp_millis(millis)?.date_naive())
    }
}

/// The id at the end of a rollout's name.
fn id_of(name: &OsStr) -> Option<&str> {
    let stem = name.to_str()?.strip_suffix(".jsonl")?;
    stem.get(stem.len().checked_sub(36)?..)
}

/// The sessions that Codex took note of, each once, the last first.
fn noted(codex_home: &Path, listing: &mut Listing) -> Vec<Id> {
    let locks = listing.entries(&codex_home.join("thread-writer-locks")).take(LOCKS);
    let locks =
        locks.filter_map(|entry| Id::parse(entry.file_name().to_str()?.strip_suffix(".lock")?));
    let notes = ["history.jsonl", "session_index.jsonl"].iter().flat_map(|name| {
        // A file that cannot be read holds no notes.
        notes(&codex_home.join(name)).unwrap_or_default()
    });
    let mut seen = BTreeSet::new();
    locks.chain(notes).filter(|id| seen.insert(id.clone())).collect()
}

/// One line of either file; the rest of it is not kept.
#[derive(Deserialize)]
struct Note {
    #[serde(alias = "id")]
    session_id: String,
}

fn notes(path: &Path) -> io::Result<Vec<Id>> {
    let mut lines = Backwards::new(open(path)?, 0, NOTES)?;
    let mut ids = Vec::new();
    while let Some(line) = lines.next_line()? {
        let note = serde_json::from_slice(&line).ok();
        ids.extend(note.and_then(|note: Note| Id::parse(&note.session_id)));
    }
    Ok(ids)
}

/// The files of these sessions, wherever they lie.
fn find(codex_home: &Path, wanted: &[Id], listing: &mut Listing) -> Vec<PathBuf> {
    // Folders are in local time, which may be a day off in either direction.
    let mut days: BTreeMap<NaiveDate, BTreeSet<&str>> = BTreeMap::new();
    for (id, day) in wanted.iter().filter_map(|id| Some((id, id.day()?))) {
        for day in [day.pred_opt(), Some(day), day.succ_opt()].into_iter().flatten() {
            days.entry(day).or_default().insert(&id.0);
        }
    }
    let mut found = Vec::new();
    for (day, ids) in &days {
        let mut folder = codex_home.to_owned();
        let parts = format!("sessions/{}", day.format("%Y/%m/%d"));
        let is_real = parts.split('/').all(|part| {
            folder.push(part);
            listing.is_folder(&folder)
        });
        if is_real {
            take(&folder, ids, listing, &mut found);
        }
    }
    let mut rest: BTreeSet<&str> = wanted.iter().map(|id| id.0.as_str()).collect();
    for id in found.iter().filter_map(|path| id_of(path.file_name()?)) {
        rest.remove(id);
    }
    let archived = codex_home.join("archived_sessions");
    let mut old = Vec::new();
    if !rest.is_empty() && listing.is_folder(&archived) {
        take(&archived, &rest, listing, &mut old);
    }
    found.append(&mut old);
    found
}

/// Takes the files of these sessions in one folder.
fn take(folder: &Path, ids: &BTreeSet<&str>, listing: &mut Listing, found: &mut Vec<PathBuf>) {
    let names = listing.entries(folder).map(|entry| entry.file_name());
    let theirs =
        names.filter(|name| is_rollout(name) && id_of(name).is_some_and(|id| ids.contains(id)));
    found.extend(theirs.map(|name| folder.join(name)));
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::codex::rollout::listing::list;
    use crate::codex::rollout::place;

    /// A Codex home of the test's own.
    struct Home(tempfile::TempDir);

    impl Home {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn write(&self, path: &str, text: impl AsRef<[u8]>) -> &Self {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
            self
        }

        /// So many sessions, 100 on each of the last days of 2026.
        fn filled(&self, sessions: u64) -> &Self {
            let last = NaiveDate::from_ymd_opt(2026, 12, 31).unwrap();
            for number in 0..sessions {
                let day = last - chrono::Days::new(number / 100);
                let (folder, name) = (day.format("%Y/%m/%d"), day.format("rollout-%FT00-00-00"));
                let place = format!("sessions/{folder}/{name}-{:02}.jsonl", number % 100);
                self.write(&place, "");
            }
            self
        }

        /// Those that are looked at, but for what filled the home, and how much was asked for it.
        fn recent(&self) -> (Vec<String>, usize) {
            let listing = recent(self.0.path()).unwrap();
            assert_eq!(listing.skipped, []);
            let paths = listing.files.iter().map(|file| listing.path(file));
            let files = paths.map(|path| place(self.0.path(), &path));
            let mut files: Vec<String> = files.filter(|it| !it.contains("/2026/")).collect();
            files.sort();
            (files, listing.asked)
        }
    }

    /// Made on 20 April 2025 at two in the morning, in UTC.
    const OLD: &str = "01965100-0000-7abc-9def-0123456789ab";

    fn name(day: u32, id: &str) -> String {
        format!("rollout-2025-04-{day:02}T12-00-00-{id}.jsonl")
    }

    fn place_of(day: u32, id: &str) -> String {
        format!("sessions/2025/04/{day:02}/{}", name(day, id))
    }

    fn prompt(id: &str) -> String {
        format!("{{\"session_id\":\"{id}\",\"ts\":1795256059,\"text\":\"made up\"}}\n")
    }

    #[test]
    #[rustfmt::skip]
    fn an_id_is_a_uuid_of_version_7_and_tells_its_day() {
        let day = |text: &str| Id::parse(text).map(|id| id.day().unwrap().to_string());
        let of = |text, expected: Option<&str>| assert_eq!(day(text).as_deref(), expected, "{text}");
        of(OLD,                                     Some("2025-04-20"));
        of("01a1fd99-6f0f-7982-9416-a973cf6e68f2",  Some("2026-11-21"));
        of("00000000-0000-7000-8000-000000000000",  Some("1970-01-01"));
        of("ffffffff-ffff-7fff-bfff-ffffffffffff",  Some("+10889-08-02"));
        of("01a1fd99-6f0f-4982-9416-a973cf6e68f2",  None);
        of("01A1FD99-6F0F-7982-9416-A973CF6E68F2",  None);
        of("01a1fd99-6f0f-7982-9416-a973cf6e68f",   None);
        of("01a1fd99-6f0f-7982-9416-a973cf6e68f2f", None);
        of("01a1fd9996f0f-7982-9416-a973cf6e68f2",  None);
        of("../../../../../7/../../../../../../et", None);
        of("",                                      None);
    }

    #[test]
    fn an_old_session_is_found_by_what_codex_noted_of_it() {
        let index = format!("{{\"id\":\"{OLD}\",\"thread_name\":\"a\",\"updated_at\":\"x\"}}\n");
        let lock = format!("thread-writer-locks/{OLD}.lock");
        let history = || ("history.jsonl", prompt(OLD));
        let archived = format!("archived_sessions/{}", name(20, OLD));
        // Folders and names are in local time: the day before, that day, and the day after.
        for (note, lies, is_found) in [
            (history(), place_of(20, OLD), true),
            (history(), place_of(19, OLD), true),
            (history(), place_of(21, OLD), true),
            (history(), archived.clone(), true),
            (history(), place_of(18, OLD), false),
            (history(), place_of(22, OLD), false),
            (("session_index.jsonl", index), place_of(20, OLD), true),
            ((lock.as_str(), String::new()), place_of(20, OLD), true),
            (("notes.jsonl", prompt(OLD)), place_of(20, OLD), false),
        ] {
            let home = Home::new();
            home.filled(NEWEST.try_into().unwrap()).write(&lies, "").write(note.0, &note.1);
            // Its neighbours are none that were noted.
            home.write(&place_of(20, "01965100-0000-7abc-9def-0123456789ac"), "");
            let expected = if is_found { vec![lies.clone()] } else { vec![] };
            // All that fills the home is newer, but what is archived comes before nothing.
            assert_eq!(home.recent().0, expected, "{} {lies}", note.0);
        }
    }

    #[test]
    fn odd_notes_are_passed_over_and_hide_no_others() {
        let other = "01965100-0000-7abc-9def-0123456789ac";
        let long = format!("{{\"session_id\":\"{other}\",\"text\":\"{}\"}}\n", "x".repeat(70_000));
        let odd = [
            "".to_owned(),
            "\n\n[]\n7\nnull\n".to_owned(),
            "not JSON\n\u{0}\n".to_owned(),
            format!("{{\"session_id\":7,\"text\":\"{other}\"}}\n"),
            format!("{{\"text\":\"{other}\"}}\n"),
            format!("{{\"session_id\":\"{other}\",\"id\":\"{other}\"}}\n"),
            prompt("../../../../etc/passwd"),
            prompt("01965100-0000-4abc-9def-0123456789ac"),
            // Too far from the end.
            long.clone(),
        ];
        for odd in odd {
            let home = Home::new();
            home.write("history.jsonl", format!("{odd}{}", prompt(OLD)));
            let noted = noted(home.0.path(), &mut Listing::default());
            assert_eq!(noted, [Id(OLD.to_owned())], "{}", odd.get(..20).unwrap_or(&odd));
        }
        // Half a line at the end, and one that hides what is before it.
        let home = Home::new();
        home.write("history.jsonl", prompt(OLD) + prompt(other).get(..60).unwrap());
        assert_eq!(noted(home.0.path(), &mut Listing::default()), [Id(OLD.to_owned())]);
        home.write("history.jsonl", prompt(OLD) + &long);
        assert_eq!(noted(home.0.path(), &mut Listing::default()), []);
        // The last comes first, and each once.
        home.write("history.jsonl", prompt(other) + &prompt(OLD) + &prompt(OLD));
        home.write("session_index.jsonl", prompt(other));
        let both = [OLD, other].map(|id| Id(id.to_owned()));
        assert_eq!(noted(home.0.path(), &mut Listing::default()), both);
    }

    #[cfg(unix)]
    #[test]
    fn no_link_is_followed_to_a_note_or_a_session() {
        use std::os::unix::fs::symlink;

        let outside = Home::new();
        outside
            .write("history.jsonl", prompt(OLD))
            .write(&name(20, OLD), "")
            .write(&place_of(20, OLD), "");
        let there = |name: &str| outside.0.path().join(name);
        let home = || {
            let home = Home::new();
            home.filled(NEWEST.try_into().unwrap());
            home
        };
        let linked = home();
        linked.write(&place_of(20, OLD), "");
        symlink(there("history.jsonl"), linked.0.path().join("history.jsonl")).unwrap();
        assert_eq!(linked.recent().0, [""; 0]);
        // A folder that is a link, of the day or of the year.
        for folder in ["sessions/2025/04/20", "sessions/2025"] {
            let linked = home();
            let link = linked.0.path().join(folder);
            linked.write("history.jsonl", prompt(OLD));
            fs::create_dir_all(link.parent().unwrap()).unwrap();
            symlink(there(folder), link).unwrap();
            assert_eq!(linked.recent().0, [""; 0], "{folder}");
        }
        let linked = home();
        linked.write("history.jsonl", prompt(OLD)).write("sessions/2025/04/20/x", "");
        symlink(there(&name(20, OLD)), linked.0.path().join(place_of(20, OLD))).unwrap();
        let listing = recent(linked.0.path()).unwrap();
        assert_eq!(listing.files.len(), NEWEST);
        assert_eq!(listing.skipped.first().unwrap().1, "a link, not followed");
    }

    #[test]
    fn what_is_asked_for_does_not_grow_with_the_sessions() {
        let home = Home::new();
        home.filled(700);
        let few = home.recent().1;
        // The newest 500 are asked about; what holds them are five days, their month and so on.
        assert_eq!(few, NEWEST + 5 + 3 + 2 + 1);
        home.filled(2_500);
        assert_eq!(home.recent().1, few);
        let paths = |listing: &Listing| -> BTreeSet<PathBuf> {
            listing.files.iter().map(|it| listing.path(it)).collect()
        };
        let all = list(home.0.path()).unwrap();
        assert!(2_500 < all.asked && all.files.len() == 2_500);
        let newest: BTreeSet<_> = paths(&all).into_iter().rev().take(NEWEST).collect();
        assert_eq!(paths(&recent(home.0.path()).unwrap()), newest);

        // Of those that were noted, too.
        let id = |number: usize| format!("01965100-{number:04x}-7abc-9def-0123456789ab");
        let noted: String = (0..2 * RESUMED).map(|number| prompt(&id(number))).collect();
        home.write("history.jsonl", noted);
        for number in 0..2 * RESUMED {
            home.write(&place_of(20, &id(number)), "");
        }
        let (found, asked) = home.recent();
        assert_eq!(found.len(), RESUMED);
        assert!(found.iter().any(|it| it.contains(&id(2 * RESUMED - 1))), "the last ones");
        // Three days, and four names to each of them.
        assert!(asked <= few + RESUMED + 3 * 5, "{asked}");
    }
}
