//! Which session files may hold the newest event, if a home has too many to ask about each?
//!
//! Those that were begun last, as their names tell, and those that were gone on with. Of these
//! Codex itself takes notes: who types a prompt is written to `history.jsonl`, who names a session
//! to `session_index.jsonl`, and a session that is open has a lock. All three name it by its id, a
//! UUIDv7 that ends the name of its file and holds the instant at which it was begun. The name begins
//! with the same instant in local time: so it is looked for where it should be, and only if it is
//! not there in the folders of three days.
//!
//! Notes are hints. One that is odd is passed over, and nothing but the id is taken from it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta};
use serde::Deserialize;

use super::backwards::Backwards;
use super::listing::{Listing, check, is_rollout, open};

/// So many sessions are looked at because they were begun last.
pub(super) const NEWEST: usize = 100;

/// So many others are looked for because a note names them.
const RESUMED: usize = 64;

/// How a rollout's name begins: the second in which the session was begun, in local time.
const BEGUN: &str = "rollout-%Y-%m-%dT%H-%M-%S";

/// Zones differ by quarters of an hour, in seconds.
const QUARTER: i64 = 15 * 60;

/// In so many zones is looked for a session by its whole name.
const ZONES: usize = 4;

/// How much of each file of notes is read, from its end, in bytes.
const NOTES: u64 = 64 << 10;

/// So many locks of open sessions are looked at.
const LOCKS: usize = 256;

/// Lists the rollouts of a home that were begun or gone on with last, in no order. What it asks the
/// system for does not grow with the sessions of the home, but for the names in the newest folders
/// and in `archived_sessions/`, which has none below it.
///
/// What it can miss: a session older than the newest 100 that was gone on with by a Codex which
/// took no note of it (`codex exec resume`) and has ended.
pub(super) fn recent(codex_home: &Path) -> io::Result<Listing> {
    check(codex_home)?;
    let mut listing = Listing::default();
    let newest = listing.newest_by_name(codex_home, NEWEST);
    let found: HashSet<&str> = newest.iter().filter_map(|path| id_of(path.file_name()?)).collect();
    let mut resumed = noted(codex_home, &mut listing);
    resumed.retain(|id| !found.contains(id.0.as_str()));
    resumed.truncate(RESUMED);
    let rest = find(codex_home, &resumed, &zones(&newest), &mut listing);
    listing.look_at(newest.into_iter().chain(rest));
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

    /// When it was made, in UTC.
    fn made(&self) -> Option<NaiveDateTime> {
        let digits: String = self.0.chars().filter(|letter| *letter != '-').take(12).collect();
        let millis = i64::from_str_radix(&digits, 16).ok()?;
        Some(DateTime::from_timestamp_millis(millis)?.naive_utc())
    }

    /// The day in UTC on which it was made.
    fn day(&self) -> Option<NaiveDate> {
        Some(self.made()?.date())
    }
}

/// The id at the end of a rollout's name.
fn id_of(name: &OsStr) -> Option<&str> {
    let stem = name.to_str()?.strip_suffix(".jsonl")?;
    stem.get(stem.len().checked_sub(36)?..)
}

/// How far from UTC these sessions were begun, as their names and ids tell, in seconds: most often
/// first, and an hour more and less for the other half of the year, as far as there is room for it.
fn zones(sessions: &[PathBuf]) -> Vec<i64> {
    let mut seen: BTreeMap<i64, usize> = BTreeMap::new();
    for name in sessions.iter().filter_map(|path| path.file_name()?.to_str()) {
        let begun = name.get(..27).and_then(|text| NaiveDateTime::parse_from_str(text, BEGUN).ok());
        let made = id_of(OsStr::new(name)).and_then(Id::parse).and_then(|id| id.made());
        if let Some((begun, made)) = begun.zip(made) {
            // The name has whole seconds, and may be given a moment after the id.
            let off = (begun - made).num_seconds() + QUARTER / 2;
            *seen.entry(off.div_euclid(QUARTER) * QUARTER).or_default() += 1;
        }
    }
    let mut seen: Vec<_> = seen.into_iter().collect();
    seen.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let mut zones = Vec::new();
    for off in seen.iter().flat_map(|(off, _)| [*off, off + 3600, off - 3600]) {
        if !zones.contains(&off) {
            zones.push(off);
        }
    }
    zones.truncate(ZONES);
    zones
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

/// Looks at the files of these sessions that are where they should be; answers where the others
/// lie, as far as they are found.
fn find(codex_home: &Path, wanted: &[Id], zones: &[i64], listing: &mut Listing) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = Folders { codex_home, known: BTreeMap::new(), has_archived: None };
    // Folders are in local time, which may be a day off in either direction.
    let mut days: BTreeMap<NaiveDate, BTreeSet<&str>> = BTreeMap::new();
    for (id, day) in wanted.iter().filter_map(|id| Some((id, id.day()?))) {
        if folders.has_expected(id, zones, listing) {
            continue;
        }
        for day in [day.pred_opt(), Some(day), day.succ_opt()].into_iter().flatten() {
            days.entry(day).or_default().insert(&id.0);
        }
    }
    for (day, ids) in &days {
        if folders.is_real(*day, listing) {
            take(&folders.of(*day), ids, listing, &mut found);
        }
    }
    let mut rest: BTreeSet<&str> = days.into_values().flatten().collect();
    for id in found.iter().filter_map(|path| id_of(path.file_name()?)) {
        rest.remove(id);
    }
    let mut old = Vec::new();
    if !rest.is_empty() && folders.has_archived(listing) {
        take(&folders.archived(), &rest, listing, &mut old);
    }
    found.append(&mut old);
    found
}

/// The folders of a home in which sessions lie.
struct Folders<'a> {
    codex_home: &'a Path,
    /// Whether it is there, of those that were asked for.
    known: BTreeMap<NaiveDate, bool>,
    has_archived: Option<bool>,
}

impl Folders<'_> {
    fn of(&self, day: NaiveDate) -> PathBuf {
        self.codex_home.join(parts_of(day))
    }

    fn archived(&self) -> PathBuf {
        self.codex_home.join("archived_sessions")
    }

    /// Whether the folder of what was put away is there, and is no link.
    fn has_archived(&mut self, listing: &mut Listing) -> bool {
        let archived = self.archived();
        *self.has_archived.get_or_insert_with(|| listing.is_folder(&archived))
    }

    /// Whether the folder of a day is there, and no link leads to it.
    fn is_real(&mut self, day: NaiveDate, listing: &mut Listing) -> bool {
        *self.known.entry(day).or_insert_with(|| {
            let mut folder = self.codex_home.to_owned();
            parts_of(day).split('/').all(|part| {
                folder.push(part);
                listing.is_folder(&folder)
            })
        })
    }

    /// Whether the file of a session was named in one of these zones; looks at it then.
    fn has_expected(&mut self, id: &Id, zones: &[i64], listing: &mut Listing) -> bool {
        let begun = |off: &i64| id.made()?.checked_add_signed(TimeDelta::try_seconds(*off)?);
        zones.iter().filter_map(begun).any(|begun| {
            let name = format!("{}-{}.jsonl", begun.format(BEGUN), id.0);
            let of_day = self.is_real(begun.date(), listing).then(|| self.of(begun.date()));
            let archived = self.has_archived(listing).then(|| self.archived());
            let places = [of_day, archived].into_iter().flatten();
            places.map(|folder| folder.join(&name)).any(|path| listing.take_file(path))
        })
    }
}

/// The folder of a day in a home.
fn parts_of(day: NaiveDate) -> String {
    day.format("sessions/%Y/%m/%d").to_string()
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

        /// As many as are looked at, begun on 21 November 2026 at 10:14:13 in UTC, and named then.
        fn named(&self, time: &str) -> &Self {
            for number in 0..NEWEST {
                self.write(&format!("sessions/2026/11/21/{}", newer(time, number)), "");
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

    /// What a session is called that was begun on 21 November 2026 at 10:14:13 in UTC.
    fn newer(time: &str, number: usize) -> String {
        format!("rollout-{time}-01a1fd99-6f{number:02x}-7982-9416-a973cf6e68f2.jsonl")
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
    fn a_noted_session_is_looked_for_where_its_name_should_be() {
        #[rustfmt::skip]
        let cases: &[(&[&str], &[i64])] = &[
            (&["2026-11-21T10-14-13"],                        &[0, 3600, -3600]),
            // The name came a second after the id.
            (&["2026-11-21T10-14-14"],                        &[0, 3600, -3600]),
            (&["2026-11-21T12-14-13"],                        &[7200, 10_800, 3600]),
            (&["2026-11-21T15-59-13"],                        &[20_700, 24_300, 17_100]),
            (&["2026-11-20T22-44-13"],                        &[-41_400, -37_800, -45_000]),
            (&["2026-11-21T12-14-13", "2026-11-21T11-14-13", "2026-11-21T11-14-13"],
                                                              &[3600, 7200, 0, 10_800]),
            (&["2026-11-21", "at some time or other "],       &[]),
            (&[],                                             &[]),
        ];
        for (times, expected) in cases {
            let sessions: Vec<_> = times.iter().map(|time| newer(time, 0).into()).collect();
            assert_eq!(zones(&sessions), *expected, "{times:?}");
        }

        // OLD was made at 02:21:16.672. It takes four questions to get to the folder of a day and one to
        // that of what was put away; then one for each name in each.
        for (begun, questions) in [
            ("sessions/2025/04/20/rollout-2025-04-20T04-21-16", 4 + 1 + 1),
            ("sessions/2025/04/20/rollout-2025-04-20T03-21-16", 4 + 1 + 2 + 2 + 1),
            ("archived_sessions/rollout-2025-04-20T04-21-16", 4 + 1 + 2),
            // All the names, then what is in three folders of which there are two, and in that one.
            ("sessions/2025/04/20/rollout-2025-04-20T04-21-18", 4 + 1 + 6 + 5 + 1 + 4 + 1),
            ("sessions/2025/04/19/rollout-2025-04-19T20-21-16", 4 + 1 + 6 + 5 + 1 + 4 + 1),
            ("archived_sessions/rollout-2025-04-20T04-21-18", 4 + 1 + 6 + 5 + 1 + 4 + 1 + 1),
        ] {
            let home = Home::new();
            home.named("2026-11-21T12-14-13");
            for folder in ["sessions/2025/04/19", "sessions/2025/04/20", "archived_sessions"] {
                home.write(&format!("{folder}/rollout-2025-04-01T00-00-00.jsonl"), "");
            }
            let before = home.recent().1;
            let lies = format!("{begun}-{OLD}.jsonl");
            home.write(&lies, "").write("history.jsonl", prompt(OLD));
            let (found, asked) = home.recent();
            assert_eq!((found, asked - before), (vec![lies], questions));
        }

        // What is no file has no name that counts, wherever the file is then.
        #[cfg(unix)]
        for is_link in [true, false] {
            let home = Home::new();
            home.named("2026-11-21T12-14-13");
            let lies = place_of(21, OLD);
            home.write(&lies, "").write("history.jsonl", prompt(OLD));
            let name = format!("sessions/2025/04/20/rollout-2025-04-20T04-21-16-{OLD}.jsonl");
            let name = home.0.path().join(name);
            fs::create_dir_all(name.parent().unwrap()).unwrap();
            if is_link {
                std::os::unix::fs::symlink(home.0.path().join(&lies), &name).unwrap();
            } else {
                fs::create_dir(&name).unwrap();
            }
            let listing = recent(home.0.path()).unwrap();
            let paths = listing.files.iter().map(|file| listing.path(file));
            assert!(paths.clone().any(|path| path == home.0.path().join(&lies)), "{is_link}");
            assert_eq!(paths.count(), NEWEST + 1);
        }
    }

    #[test]
    fn a_session_lies_in_the_folder_of_its_day_where_it_was_begun() {
        // In a zone six hours behind UTC it was still the 19th.
        let home = Home::new();
        home.named("2026-11-21T04-14-13")
            .write("sessions/2025/04/20/x", "")
            .write("archived_sessions/x", "");
        let before = home.recent().1;
        let lies = format!("sessions/2025/04/19/rollout-2025-04-19T20-21-16-{OLD}.jsonl");
        home.write(&lies, "").write("history.jsonl", prompt(OLD));
        let (found, asked) = home.recent();
        assert_eq!((found, asked - before), (vec![lies], 4 + 1 + 1));
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
        home.filled(400);
        let few = home.recent().1;
        // The newest 100 are asked about; what holds them are a day, its month and so on.
        assert_eq!(few, NEWEST + 1 + 3 + 2 + 1);
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

        // Of those that are gone, too: each is looked for by its names, and their folders once.
        let home = Home::new();
        home.named("2026-11-21T12-14-13")
            .write("archived_sessions/x", "")
            .write("sessions/2025/04/20/x", "");
        let before = home.recent().1;
        home.write("history.jsonl", (0..2 * RESUMED).map(|n| prompt(&id(n))).collect::<String>());
        let asked = home.recent().1 - before;
        assert!(asked <= RESUMED * 2 * ZONES + 3 * 5 + 2, "{asked}");
    }
}
