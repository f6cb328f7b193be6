//! Which files of a home surely are what its last snapshot holds, though nobody reads them?
//!
//! A [`Cache`] says how the files looked when a snapshot was made, and nothing else: what was in
//! them is told by the snapshot's own table of contents. So a cache may be deleted at any time,
//! and one that is damaged, of another home or of another snapshot is no cache: files are read.
//!
//! A look proves something only if the file had been at rest before it: of a file that was
//! written a moment ago the next change may bear the same time (SPEC, "Reuse").

use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::table::Held;
use crate::disk::Facts;

/// A larger cache is neither written nor read, in bytes.
pub const MAX_CACHE: u64 = 64 << 20;

/// How long a file must have been at rest when it was looked at: file systems tell times as
/// coarsely as this.
const AT_REST: TimeDelta = TimeDelta::seconds(2);

/// The format that [`Cache::to_bytes`] writes; any other is not read.
const VERSION: u32 = 2;

const SCHEMA: &str = "codex-manager/files";

/// Bytes of one row: the entry, the part, and the beginning of a digest of how it looked.
const ROW: usize = 4 + 1 + SIGHT;

/// Bytes of a digest that are kept: looks are only ever compared, and two that differ have the same
/// 128 bits as rarely as a disk answers with another file.
const SIGHT: usize = 16;

/// How a file looked, and if it is a database, what lay beside it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Look {
    pub(super) file: Facts,
    /// `None` for a file that is stored as the bytes it is.
    pub(super) beside: Option<Beside>,
}

/// What of a database may lie in other files; that there is none is a fact too.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Beside {
    pub(super) log: Option<Facts>,
    pub(super) journal: Option<Facts>,
}

impl Look {
    /// Whether nothing of it changed shortly before `now`, nor after it, as a clock would have
    /// it that was set back.
    pub(super) fn is_at_rest(&self, now: DateTime<Utc>) -> bool {
        let latest = now - AT_REST;
        let latest = (latest.timestamp(), i64::from(latest.timestamp_subsec_nanos()));
        let beside = self.beside.into_iter().flat_map(|beside| [beside.log, beside.journal]);
        let mut all = beside.flatten().chain([self.file]);
        // Where files have no numbers, one may have been put in the place of another.
        all.all(|facts| facts.inode != 0 && facts.modified <= latest && facts.changed <= latest)
    }
}

/// Whether a file that looks now as it did when it was read for the entry of a snapshot surely is what
/// is held there.
pub(super) fn is_proven(found: &Look, held: &Held, now: DateTime<Utc>) -> bool {
    // The copy of a database has a length of its own.
    let is_as_long = found.beside.is_some() || found.file.size == held.size;
    is_as_long && found.file.modified.0 == held.modified && found.is_at_rest(now)
}

/// How the files of a home looked when a snapshot of it was made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cache {
    /// The snapshot.
    pub(super) snapshot: String,
    /// The digest of its table of contents.
    pub(super) toc_digest: String,
    /// A row for each file and each part of a database, by entry and part: kept packed, for
    /// there may be hundreds of thousands.
    rows: Vec<u8>,
}

/// What a row tells of, besides its entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Part {
    File,
    Database,
    Log,
    Journal,
}

impl Part {
    /// The number in a row.
    fn number(self) -> u8 {
        match self {
            Self::File => 0,
            Self::Database => 1,
            Self::Log => 2,
            Self::Journal => 3,
        }
    }

    fn of_number(number: u8) -> Option<Self> {
        let all = [Self::File, Self::Database, Self::Log, Self::Journal];
        all.into_iter().find(|part| part.number() == number)
    }
}

#[derive(Deserialize, Serialize)]
struct Head {
    schema: String,
    schema_version: u32,
    codex_home: String,
    snapshot: String,
    toc_digest: String,
    /// SHA-256 of the home, the snapshot, its digest, and the rows.
    digest: String,
}

impl Cache {
    /// Of this snapshot, knowing nothing yet.
    pub(super) fn new(snapshot: String, toc_digest: String) -> Self {
        Self { snapshot, toc_digest, rows: Vec::new() }
    }

    /// Makes room for so many files.
    pub(super) fn reserve(&mut self, files: usize) {
        self.rows.reserve_exact(files.saturating_mul(ROW));
    }

    /// Notes how the file looked that became this entry, counted from 0; they come in order. One
    /// that is not at rest is forgotten, for its look would prove nothing.
    pub(super) fn note(&mut self, entry: usize, look: &Look, now: DateTime<Utc>) {
        let Ok(entry) = u32::try_from(entry) else { return };
        if !look.is_at_rest(now) {
            return;
        }
        for (part, facts) in parts(look) {
            self.rows.extend(entry.to_be_bytes());
            self.rows.push(part.number());
            self.rows.extend(sight(facts));
        }
    }

    /// Those rows that tell of a file itself, in the order of what it is known by.
    pub(super) fn by_look(&self) -> Vec<u32> {
        let (rows, _) = self.rows.as_chunks::<ROW>();
        let is_file = |row: &[u8; ROW]| matches!(part_of(row), Some(Part::File | Part::Database));
        let all = rows.iter().zip(0..).filter(|(row, _)| is_file(row));
        let mut by_look: Vec<u32> = all.map(|(_, number)| number).collect();
        by_look.shrink_to_fit();
        by_look.sort_unstable_by_key(|number| self.row(*number).map(sight_in));
        by_look
    }

    /// The entry that a file became which looked like this, whatever lay beside it, and whether as a
    /// database; found by what [`Cache::by_look`] answered.
    pub(super) fn find(&self, by_look: &[u32], file: &Facts) -> Option<(u32, bool)> {
        let sight = sight(file);
        let sight_of = |number: &u32| self.row(*number).map(sight_in);
        let first = by_look.partition_point(|number| sight_of(number) < Some(&sight));
        let row = self.row(*by_look.get(first)?)?;
        let entry = place(row).0;
        if sight_in(row) != sight {
            return None;
        }
        Some((entry, self.is_database(entry)?))
    }

    fn row(&self, number: u32) -> Option<&[u8; ROW]> {
        self.rows.as_chunks::<ROW>().0.get(usize::try_from(number).ok()?)
    }

    /// Whether the file that became this entry was a database, if how it looked was noted.
    fn is_database(&self, entry: u32) -> Option<bool> {
        match self.rows_of(entry)? {
            [row] if part_of(row) == Some(Part::File) => Some(false),
            [row, ..] if part_of(row) == Some(Part::Database) => Some(true),
            _ => None,
        }
    }

    /// Whether the file that became this entry looked like this, and what lay beside it.
    pub(super) fn is_look(&self, entry: u32, look: &Look) -> bool {
        let Some(rows) = self.rows_of(entry) else { return false };
        let same = |(row, (part, facts)): (&[u8; ROW], (Part, &Facts))| {
            part_of(row) == Some(part) && sight_in(row) == sight(facts)
        };
        rows.len() == parts(look).count() && rows.iter().zip(parts(look)).all(same)
    }

    /// All that was noted of an entry.
    fn rows_of(&self, entry: u32) -> Option<&[[u8; ROW]]> {
        let (rows, _) = self.rows.as_chunks::<ROW>();
        let first = rows.partition_point(|row| place(row).0 < entry);
        let own = rows.get(first..)?;
        let count = own.iter().take_while(|row| place(row).0 == entry).count();
        own.get(..count).filter(|own| !own.is_empty())
    }

    /// What says of each entry what is true of the next one.
    #[cfg(test)]
    pub(super) fn shifted(&self) -> Self {
        let mut shifted = Self { rows: Vec::new(), ..self.clone() };
        for row in self.rows.as_chunks::<ROW>().0.iter().filter(|row| place(row).0 > 0) {
            shifted.rows.extend((place(row).0 - 1).to_be_bytes());
            shifted.rows.extend(&row[4..]);
        }
        shifted
    }

    /// Reads the bytes of the file that is kept for this home; `None` unless they are exactly
    /// what was written for it.
    #[must_use]
    pub fn parse(mut bytes: Vec<u8>, codex_home: &Path) -> Option<Self> {
        let (head, rows) = split(&bytes)?;
        let is_ours = head.schema == SCHEMA && head.schema_version == VERSION;
        let is_of_home = Path::new(&head.codex_home) == codex_home;
        if !is_ours || !is_of_home || head.digest != seal(&head, rows) {
            return None;
        }
        let (whole, []) = rows.as_chunks::<ROW>() else { return None };
        if !whole.is_sorted_by(|one, next| place(one) < place(next)) {
            return None;
        }
        let rows = bytes.split_off(bytes.len() - rows.len());
        Some(Self { snapshot: head.snapshot, toc_digest: head.toc_digest, rows })
    }

    /// The bytes of the file for this home; `None` if there would be more than [`MAX_CACHE`] of
    /// them, or the home has a name that is not UTF-8.
    #[must_use]
    pub fn to_bytes(&self, codex_home: &Path) -> Option<Vec<u8>> {
        let mut head = Head {
            schema: SCHEMA.to_owned(),
            schema_version: VERSION,
            codex_home: codex_home.to_str()?.to_owned(),
            snapshot: self.snapshot.clone(),
            toc_digest: self.toc_digest.clone(),
            digest: String::new(),
        };
        head.digest = seal(&head, &self.rows);
        let mut bytes = serde_json::to_vec(&head).ok()?;
        bytes.push(b'\n');
        bytes.extend(&self.rows);
        u64::try_from(bytes.len()).is_ok_and(|len| len <= MAX_CACHE).then_some(bytes)
    }
}

/// What the file is called that is kept for a home.
#[must_use]
pub fn file_name(codex_home: &Path) -> String {
    let digest = Sha256::digest(codex_home.as_os_str().as_encoded_bytes());
    let short: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{PREFIX}{short}{SUFFIX}")
}

/// Whether a file may be one of these, by its name.
#[must_use]
pub fn is_file_name(name: &str) -> bool {
    let short = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX));
    short.is_some_and(|short| short.len() == 16 && short.bytes().all(|b| b.is_ascii_hexdigit()))
}

const PREFIX: &str = "files-";
const SUFFIX: &str = ".cache";

/// For which home these bytes were written, by their first line, which is all that is needed.
#[must_use]
pub fn home_of(bytes: &[u8]) -> Option<String> {
    Some(split(bytes)?.0.codex_home)
}

fn split(bytes: &[u8]) -> Option<(Head, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (head, rows) = (bytes.get(..end)?, bytes.get(end + 1..)?);
    Some((serde_json::from_slice(head).ok()?, rows))
}

fn seal(head: &Head, rows: &[u8]) -> String {
    let mut hasher = Sha256::new();
    for text in [&head.codex_home, &head.snapshot, &head.toc_digest] {
        hasher.update(text);
        hasher.update([0]);
    }
    hasher.update(rows);
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The entry and the part that a row tells of.
fn place(row: &[u8; ROW]) -> (u32, u8) {
    let [a, b, c, d, part, ..] = *row;
    (u32::from_be_bytes([a, b, c, d]), part)
}

fn part_of(row: &[u8; ROW]) -> Option<Part> {
    Part::of_number(place(row).1)
}

fn sight_in(row: &[u8; ROW]) -> &[u8] {
    row.get(ROW - SIGHT..).unwrap_or_default()
}

/// What a look is of, in the order of the rows.
fn parts(look: &Look) -> impl Iterator<Item = (Part, &Facts)> {
    let first = if look.beside.is_some() { Part::Database } else { Part::File };
    let log = look.beside.as_ref().and_then(|beside| beside.log.as_ref());
    let journal = look.beside.as_ref().and_then(|beside| beside.journal.as_ref());
    let beside = [(Part::Log, log), (Part::Journal, journal)];
    let beside = beside.into_iter().filter_map(|(part, facts)| Some((part, facts?)));
    std::iter::once((first, &look.file)).chain(beside)
}

/// What a look is known by.
fn sight(facts: &Facts) -> [u8; SIGHT] {
    let Facts { device, inode, size, modified, changed } = facts;
    let mut hasher = Sha256::new();
    for number in [device, inode, size] {
        hasher.update(number.to_be_bytes());
    }
    for (seconds, nanos) in [modified, changed] {
        hasher.update(seconds.to_be_bytes());
        hasher.update(nanos.to_be_bytes());
    }
    let digest: [u8; 32] = hasher.finalize().into();
    digest.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: &str = "/home/ada/.codex";

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_000, 500).unwrap()
    }

    fn facts(modified: (i64, i64), changed: (i64, i64)) -> Facts {
        Facts { device: 7, inode: 8, size: 9, modified, changed }
    }

    fn file(modified: (i64, i64), changed: (i64, i64)) -> Look {
        Look { file: facts(modified, changed), beside: None }
    }

    fn database(log: Option<Facts>, journal: Option<Facts>) -> Look {
        Look { file: facts((10, 0), (10, 0)), beside: Some(Beside { log, journal }) }
    }

    fn held(size: u64, modified: i64) -> Held {
        Held { size, modified, ..Held::default() }
    }

    #[test]
    #[rustfmt::skip]
    fn a_look_counts_two_seconds_after_the_last_change_whichever_time_tells_it() {
        for (modified, changed, expected) in [
            ((10, 0),         (10, 0),         true),
            ((998, 500),      (998, 500),      true),   // exactly two seconds
            ((998, 501),      (10, 0),         false),
            ((10, 0),         (998, 501),      false),  // dated back
            ((1_000, 500),    (1_000, 500),    false),
            ((2_000, 0),      (10, 0),         false),  // in the future
            ((10, 0),         (2_000, 0),      false),  // the clock was set back
        ] {
            let look = file(modified, changed);
            assert_eq!(look.is_at_rest(now()), expected, "{modified:?} {changed:?}");
            let beside = [database(Some(look.file), None), database(None, Some(look.file))];
            assert_eq!(beside.map(|look| look.is_at_rest(now())), [expected; 2], "{modified:?}");
        }
        let mut unnumbered = file((10, 0), (10, 0));
        unnumbered.file.inode = 0;
        assert!(!unnumbered.is_at_rest(now()));
    }

    #[test]
    #[rustfmt::skip]
    fn a_file_is_proven_if_every_fact_and_the_entry_agree() {
        let then = file((10, 1), (11, 2));
        let changed = |change: &dyn Fn(&mut Facts)| {
            let mut look = then;
            change(&mut look.file);
            look
        };
        let same = held(9, 10);
        for (found, entry, expected) in [
            (then,                                       &same,                                true),
            (changed(&|it| it.size = 10),                &held(10, 10),  false),
            (changed(&|it| it.modified = (10, 2)),       &same,                                false),
            (changed(&|it| it.changed = (11, 3)),        &same,                                false),
            (changed(&|it| it.inode = 9),                &same,                                false),
            (changed(&|it| it.device = 8),               &same,                                false),
            (then,                                       &held(8, 10),   false),
            (then,                                       &held(9, 11),   false),
            (Look { beside: database(None, None).beside, ..then }, &same,                      false),
        ] {
            assert_eq!(is_told(&then, &found, entry), expected, "{found:?} {entry:?}");
        }
        let racy = file((10, 1), (999, 0));
        assert!(!is_told(&racy, &racy, &same));
    }

    /// Whether what was noted, long after it was at rest, proves what was found.
    fn is_told(then: &Look, found: &Look, held: &Held) -> bool {
        let mut cache = Cache::new(String::new(), String::new());
        cache.note(3, then, now() + TimeDelta::days(1));
        let entry = cache.find(&cache.by_look(), &found.file);
        let is_same = then.file == found.file;
        assert_eq!(entry, is_same.then_some((3, then.beside.is_some())), "{found:?}");
        cache.is_look(3, found) && is_proven(found, held, now())
    }

    #[test]
    #[rustfmt::skip]
    fn of_a_database_its_log_and_its_journal_count_and_that_there_is_none_too() {
        let [one, other] = [facts((10, 0), (10, 0)), facts((10, 0), (10, 1))].map(Some);
        let held = held(12_345, 10);
        for (then, found, expected) in [
            (database(None, None), database(None, None),  true),
            (database(one, one),   database(one, one),    true),
            (database(None, None), database(one, None),   false),
            (database(one, None),  database(None, None),  false),
            (database(one, None),  database(other, None), false),
            (database(None, one),  database(None, None),  false),
            (database(None, one),  database(one, None),   false),
            (database(None, one),  database(None, other), false),
            (database(None, None), file((10, 0), (10, 0)), false),
        ] {
            assert_eq!(is_told(&then, &found, &held), expected, "{then:?} {found:?}");
        }
    }

    fn some_cache() -> Cache {
        let mut cache =
            Cache::new("2026-11-22-000000-ada@example.com-codex".into(), "sha256:d".into());
        let part = facts((-1, 999_999_999), (3, 4));
        for (entry, look) in [
            (0, file((10, 1), (11, 2))),
            (2, database(None, None)),
            (3, database(Some(part), None)),
            (4, database(None, Some(part))),
            (7, database(Some(part), Some(facts((5, 6), (7, 8))))),
            (8, file((999, 0), (999, 0))),
        ] {
            cache.note(entry, &look, now());
        }
        cache
    }

    #[test]
    fn what_was_noted_is_read_again_but_for_what_was_not_at_rest() {
        let cache = some_cache();
        let bytes = cache.to_bytes(Path::new(HOME)).unwrap();
        assert_eq!(home_of(&bytes).as_deref(), Some(HOME));
        let read = Cache::parse(bytes, Path::new(HOME)).unwrap();
        assert_eq!(read, cache);
        let part = facts((-1, 999_999_999), (3, 4));
        let looks = [
            (0, file((10, 1), (11, 2))),
            (2, database(None, None)),
            (3, database(Some(part), None)),
            (4, database(None, Some(part))),
            (7, database(Some(part), Some(facts((5, 6), (7, 8))))),
        ];
        for (entry, look) in &looks {
            assert_eq!(read.is_database(*entry), Some(look.beside.is_some()), "{entry}");
            for (other, found) in &looks {
                assert_eq!(read.is_look(*entry, found), entry == other, "{entry} {found:?}");
            }
        }
        let unknown = [1, 5, 6, 8, 9, u32::MAX];
        assert_eq!(unknown.map(|entry| read.is_database(entry)), [None; 6]);
        assert!(!unknown.iter().any(|entry| read.is_look(*entry, &looks[0].1)));
    }

    #[test]
    fn a_cache_that_is_damaged_cut_or_of_another_home_or_version_is_none() {
        let bytes = some_cache().to_bytes(Path::new(HOME)).unwrap();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            assert_eq!(Cache::parse(flipped, Path::new(HOME)), None, "{at}");
            assert_eq!(Cache::parse(bytes[..at].to_vec(), Path::new(HOME)), None, "{at}");
        }
        assert_eq!(Cache::parse([&bytes[..], b"\0"].concat(), Path::new(HOME)), None);
        assert_eq!(Cache::parse(bytes.clone(), Path::new("/home/bob/.codex")), None);
        let newer = b"\"schema_version\":3".as_slice();
        let at = bytes.windows(newer.len()).position(|it| it == b"\"schema_version\":2").unwrap();
        let newer = [&bytes[..at], newer, &bytes[at + newer.len()..]].concat();
        assert_eq!(Cache::parse(newer, Path::new(HOME)), None);
    }

    /// What somebody could write who knows the format and the seal.
    fn sealed(rows: &[&[u8]]) -> Option<Cache> {
        let forged = Cache { rows: rows.concat(), ..some_cache() };
        Cache::parse(forged.to_bytes(Path::new(HOME)).unwrap(), Path::new(HOME))
    }

    #[test]
    fn rows_in_disorder_or_half_of_one_are_no_cache_even_with_the_right_seal() {
        let rows = some_cache().rows;
        let (rows, _) = rows.as_chunks::<ROW>();
        assert!(sealed(&[&rows[0], &rows[1]]).is_some());
        assert_eq!(sealed(&[&rows[1], &rows[0]]), None);
        assert_eq!(sealed(&[&rows[0], &rows[0]]), None);
        assert_eq!(sealed(&[&rows[0], &rows[1][1..]]), None);
    }

    #[test]
    fn rows_that_contradict_each_other_tell_nothing_of_their_entry() {
        let rows = some_cache().rows;
        let (rows, _) = rows.as_chunks::<ROW>();
        let as_part = |part: u8| {
            let mut row = rows[0];
            row[4] = part;
            row
        };
        for parts in [vec![2], vec![3], vec![4], vec![0, 1], vec![0, 2], vec![1, 4], vec![255]] {
            let forged: Vec<_> = parts.iter().map(|part| as_part(*part)).collect();
            let forged: Vec<&[u8]> = forged.iter().map(<[u8; ROW]>::as_slice).collect();
            let cache = sealed(&forged).unwrap();
            assert_ne!(cache.is_database(0), Some(false), "{parts:?}");
            assert!(!cache.is_look(0, &file((10, 1), (11, 2))), "{parts:?}");
        }
    }

    #[test]
    fn every_home_has_a_file_of_its_own() {
        let [one, other] = [HOME, "/home/ada/.codex2"].map(|home| file_name(Path::new(home)));
        assert_ne!(one, other);
        for (name, expected) in [
            (one.as_str(), true),
            (other.as_str(), true),
            ("rollouts.cache", false),
            ("files-.cache", false),
            ("files-0123456789abcdeg.cache", false),
            ("files-0123456789abcdef.cache.bak", false),
        ] {
            assert_eq!(is_file_name(name), expected, "{name}");
        }
    }
}
