//! What does the manager home remember of sidecars, so that a look at thousands does not read them?
//!
//! `sidecars.cache` may be deleted at any time: without it the sidecars are read. It says "the file
//! of this name, which looked so to the system, said this"; a file that looks otherwise now is
//! read. So is everything by whoever changes anything: only a look believes it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};

use super::bulk::{self, Bulk, Piece};
use super::packed::{Packed, layout, take};
use super::said::{Brief, Said, Whose};
use super::{Origin, Scan, Store, StoreError, scan};
use crate::disk::facts::Facts;
use crate::disk::{read, replace};
use crate::time::Zone;

/// So many sidecars that had to be read are worth remembering. Fewer are quickly read again, and
/// whoever has few finds nothing new in the manager home.
const WORTH: usize = 200;

/// A larger memory is neither written nor read, in bytes, nor one that unpacks to more.
const MAX_BYTES: u64 = 64 << 20;

/// What the file begins with. A digest of the rest follows; the rest is the length of the rows, that
/// of the unpacked bulk, the rows, and the bulk.
const HEAD: &[u8] = b"codex-manager/sidecars/2\n";

/// A file that changed less than so many seconds before it was looked at may change again without
/// looking otherwise.
const RACY: i64 = 2;

impl Store {
    /// `sidecars.cache`, what is remembered of sidecars.
    #[must_use]
    pub fn sidecars(&self) -> PathBuf {
        self.root().join("sidecars.cache")
    }

    /// Reads what is in `backups/` as [`Store::scan`] does, but for the sidecars that look as they
    /// did when they were read before. What had to be read is remembered, if it was much and that
    /// is possible.
    ///
    /// For those who only look: what decides about a change is read. `began` is when this run did:
    /// what changed shortly before, or since, is not remembered.
    ///
    /// # Errors
    ///
    /// When the folder itself cannot be listed. A folder that does not exist holds nothing.
    pub fn recall(&self, zone: &Zone, began: DateTime<Utc>) -> Result<Scan, StoreError> {
        recall(self, zone, began, WORTH)
    }
}

fn recall(
    store: &Store,
    zone: &Zone,
    began: DateTime<Utc>,
    worth: usize,
) -> Result<Scan, StoreError> {
    let bytes = read::optional(&store.sidecars(), MAX_BYTES).ok().flatten().unwrap_or_default();
    let known = Rows::of(bytes);
    let mut fresh = Vec::new();
    let scan = scan::scan(&store.backups(), zone, known.clone(), &mut fresh)?;
    if worth <= fresh.len() {
        let bytes = remember(&scan, &known, &fresh, began);
        // Of no use the next time, no more.
        let _unwritten = bytes.map(|bytes| replace::write(&store.sidecars(), &bytes));
    }
    Ok(scan)
}

/// What is remembered, in bytewise order of the names.
#[derive(Clone, Default)]
pub(super) struct Rows {
    file: Arc<Vec<u8>>,
    /// Where the next row begins, and where the last ends.
    at: usize,
    end: usize,
    /// What each sidecar said.
    bulk: Arc<Bulk>,
    /// Who was named so far, by the bytes of it: thousands of snapshots are of few accounts.
    people: HashMap<Box<[u8]>, Arc<Whose>>,
}

/// What is remembered of one sidecar.
struct Row<'a> {
    /// The snapshot's base name.
    name: &'a str,
    /// How the sidecar looked.
    facts: Facts,
    /// Whose it is, and what is shown of it.
    whose: &'a [u8],
    brief: &'a [u8],
    /// Where all that it said lies in the bulk.
    said: (u32, u32),
    /// Where the next row begins.
    after: usize,
}

impl Rows {
    /// Nothing, if the file is not what was written by this version of the program.
    fn of(file: Vec<u8>) -> Self {
        let spans = || {
            let (seal, mut rest) = file.strip_prefix(HEAD)?.split_first_chunk::<32>()?;
            if *seal != sealed(rest) {
                return None;
            }
            let rest = &mut rest;
            let (rows, unpacked) = (u64::unpack(rest)?, u64::unpack(rest)?);
            let at = file.len() - rest.len();
            take(rest, usize::try_from(rows).ok()?)?;
            let unpacked = usize::try_from(Some(unpacked).filter(|it| *it <= MAX_BYTES)?).ok()?;
            Some((at, file.len() - rest.len(), unpacked))
        };
        let Some((at, end, unpacked)) = spans() else { return Self::default() };
        let file = Arc::new(file);
        let bulk = Arc::new(Bulk::of(Arc::clone(&file), end, unpacked));
        Self { file, at, end, bulk, people: HashMap::new() }
    }

    /// The row that begins there, if one does.
    fn row(&self, at: usize) -> Option<Row<'_>> {
        Row::at(self.file.get(..self.end)?, at)
    }

    /// What the sidecar of this name says, if it is remembered and looks as it did. Names have to be
    /// asked for in bytewise order: what comes before one is passed over.
    pub(super) fn find(&mut self, name: &str, facts: &Facts) -> Option<Said> {
        let file = Arc::clone(&self.file);
        loop {
            let row = Row::at(file.get(..self.end)?, self.at)?;
            match row.name.cmp(name) {
                std::cmp::Ordering::Less => self.at = row.after,
                std::cmp::Ordering::Greater => return None,
                std::cmp::Ordering::Equal => {
                    self.at = row.after;
                    return if row.facts == *facts { self.said(&row) } else { None };
                }
            }
        }
    }

    fn said(&mut self, row: &Row<'_>) -> Option<Said> {
        let whose = match self.people.get(row.whose) {
            Some(known) => Arc::clone(known),
            None => {
                let whose = Arc::new(Whose::unpack(&mut { row.whose })?);
                self.people.insert(row.whose.into(), Arc::clone(&whose));
                whose
            }
        };
        let brief = Brief::unpack(&mut { row.brief })?;
        let piece = Piece { bulk: Arc::clone(&self.bulk), span: row.said };
        Some(Said::remembered(whose, brief, piece))
    }
}

impl<'a> Row<'a> {
    /// The row that begins there, among the first bytes of a file.
    fn at(file: &'a [u8], at: usize) -> Option<Self> {
        let mut from = file.get(at..)?;
        let name = std::str::from_utf8(counted(&mut from)?).ok()?;
        let facts = Facts::unpack(&mut from)?;
        let (whose, brief) = (counted(&mut from)?, counted(&mut from)?);
        let said = (u32::unpack(&mut from)?, u32::unpack(&mut from)?);
        Some(Self { name, facts, whose, brief, said, after: file.len() - from.len() })
    }
}

/// Takes bytes off the front that stand behind their number.
fn counted<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(u32::unpack(from)?).ok()?;
    take(from, length)
}

/// Appends bytes behind their number.
fn count(bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    u32::try_from(bytes.len()).ok()?.pack(out);
    out.extend(bytes);
    Some(())
}

/// The bytes of the file: what was found, as far as it will look otherwise when it changes.
fn remember(
    scan: &Scan,
    known: &Rows,
    fresh: &[(String, Facts)],
    began: DateTime<Utc>,
) -> Option<Vec<u8>> {
    // Where files have no numbers, one may have been put in the place of another.
    let is_settled = |facts: &Facts| {
        facts.inode != 0
            && [facts.modified, facts.changed]
                .iter()
                .all(|(seconds, _)| *seconds < began.timestamp() - RACY)
    };
    let rows = std::iter::successors(known.row(known.at), |row| known.row(row.after));
    let mut facts: HashMap<&str, Facts> = rows.map(|row| (row.name, row.facts)).collect();
    facts.extend(fresh.iter().map(|(title, facts)| (title.as_str(), *facts)));
    let mut found: Vec<_> = scan
        .snapshots
        .iter()
        .filter(|stored| stored.origin == Origin::Ours && stored.sidecar.is_some())
        .filter_map(|stored| {
            Some((&stored.title, facts.get(stored.title.as_str())?, &stored.metadata))
        })
        .filter(|(_, facts, _)| is_settled(facts))
        .collect();
    found.sort_by_key(|(title, ..)| *title);
    let (mut rows, mut said_by_all, mut packed) = (Vec::new(), Vec::new(), Vec::new());
    for (title, facts, said) in found {
        title.pack(&mut rows);
        facts.pack(&mut rows);
        let mut counted = |pack: &dyn Fn(&mut Vec<u8>)| {
            packed.clear();
            pack(&mut packed);
            count(&packed, &mut rows)
        };
        counted(&|out| said.whose().pack(out))?;
        counted(&|out| said.brief().pack(out))?;
        u32::try_from(said_by_all.len()).ok()?.pack(&mut rows);
        match said.packed() {
            Some(bytes) => said_by_all.extend(bytes),
            None => said.pack(&mut said_by_all),
        }
        u32::try_from(said_by_all.len()).ok()?.pack(&mut rows);
    }
    let mut rest = Vec::new();
    for length in [rows.len(), said_by_all.len()] {
        let length = u64::try_from(length).ok().filter(|length| *length <= MAX_BYTES)?;
        length.pack(&mut rest);
    }
    rest.extend(rows);
    rest.extend(bulk::pack(&said_by_all)?);
    let bytes = [HEAD, &sealed(&rest), &rest].concat();
    u64::try_from(bytes.len()).is_ok_and(|length| length <= MAX_BYTES).then_some(bytes)
}

/// What vouches for the rest of the file, and for what its bytes mean.
fn sealed(rest: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(layout()).chain_update([0]).chain_update(rest).finalize().into()
}

impl Packed for Facts {
    fn pack(&self, out: &mut Vec<u8>) {
        let Self { device, inode, size, modified, changed } = self;
        [device, inode, size].into_iter().for_each(|number| number.pack(out));
        [modified.0, modified.1, changed.0, changed.1].iter().for_each(|number| number.pack(out));
    }

    fn unpack(from: &mut &[u8]) -> Option<Self> {
        let (device, inode, size) = (u64::unpack(from)?, u64::unpack(from)?, u64::unpack(from)?);
        let modified = (i64::unpack(from)?, i64::unpack(from)?);
        let changed = (i64::unpack(from)?, i64::unpack(from)?);
        Some(Self { device, inode, size, modified, changed })
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;
    use crate::disk::faults::Weather;
    use crate::disk::{Call, archive};
    use crate::snapshot::metadata::{ArchiveFacts, Kind, Metadata};

    /// A manager home with these snapshots, whose archives are of three bytes.
    fn lab(names: &[&str]) -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path().join("manager"));
        drop(store.open(Duration::ZERO, "test").unwrap());
        for name in names {
            write(&store, name, "first");
        }
        (dir, store)
    }

    fn title(name: &str) -> String {
        format!("2026-11-21-100000-{name}@example.com-codex")
    }

    fn write(store: &Store, name: &str, label: &str) {
        let path = |ending: &str| store.backups().join(format!("{}{ending}", title(name)));
        let metadata = Metadata {
            email: Some(format!("{name}@example.com").parse().unwrap()),
            label: Some(label.to_owned()),
            archive: Some(ArchiveFacts {
                name: format!("{}.tar.gz", title(name)),
                bytes: 3,
                toc_digest: archive::digest_of(b"table"),
                files: 2,
                content_bytes: 9,
                compressor: None,
                login: None,
            }),
            ..Metadata::empty(Kind::Full)
        };
        fs::write(path(".tar.gz"), "abc").unwrap();
        fs::write(path(".metadata.json"), metadata.to_bytes()).unwrap();
    }

    /// Looks as long after everything was written that nothing is racy.
    fn look(store: &Store, worth: usize) -> Scan {
        let later = Utc::now() + TimeDelta::minutes(1);
        recall(store, &Zone::UTC, later, worth).unwrap()
    }

    /// Everything a look found, and how many sidecars it opened.
    fn told(store: &Store) -> (String, usize) {
        let (scan, asked) = Weather::default().over(|| look(store, usize::MAX));
        let opened = |(call, path): &&(Call, PathBuf)| {
            *call == Call::Open && path.to_string_lossy().ends_with(".metadata.json")
        };
        (format!("{scan:?}"), asked.iter().filter(opened).count())
    }

    fn anew(store: &Store) -> String {
        format!("{:?}", store.scan(&Zone::UTC).unwrap())
    }

    #[test]
    fn sidecars_that_look_as_they_did_are_not_opened_and_what_is_told_is_the_same() {
        let (_dir, store) = lab(&["ada", "bob", "cyd"]);
        assert_eq!(look(&store, 4).snapshots.len(), 3);
        assert!(!store.sidecars().exists(), "it was not worth it");
        look(&store, 3);
        assert_eq!(told(&store), (anew(&store), 0));

        write(&store, "bob", "second");
        write(&store, "abe", "new");
        for ending in ["tar.gz", "metadata.json"] {
            fs::remove_file(store.backups().join(format!("{}.{ending}", title("cyd")))).unwrap();
        }
        let (seen, opened) = told(&store);
        assert_eq!(seen, anew(&store));
        assert!(seen.contains("second") && !seen.contains("cyd"), "{seen}");
        assert_eq!(opened, 2);
        look(&store, 2);
        assert_eq!(told(&store), (anew(&store), 0));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]

        #[test]
        fn what_is_recalled_is_what_is_there_whatever_happens_to_the_files(
            deeds in prop::collection::vec((0..4_usize, 0..9_u8), 1..16),
        ) {
            let names = ["ada", "bob", "cyd", "dan"];
            let (_dir, store) = lab(&names);
            look(&store, 1);
            for (number, (who, deed)) in deeds.into_iter().enumerate() {
                // No two are of one length: the times of a file tell no two states of one instant.
                let text = "x".repeat(10 + number);
                let name = names[who];
                let path = |ending: &str| store.backups().join(format!("{}{ending}", title(name)));
                let (archive, sidecar) = (path(".tar.gz"), path(".metadata.json"));
                // What is not there cannot be removed or renamed.
                let _may_fail = match deed {
                    0 | 1 => {
                        write(&store, name, &text);
                        Ok(())
                    }
                    2 => fs::write(&sidecar, &text),
                    3 => fs::write(&archive, &text),
                    4 => fs::remove_file(&sidecar),
                    5 => fs::remove_file(&archive),
                    6 => fs::rename(&sidecar, path("-codex.metadata.json")),
                    7 => fs::remove_file(&sidecar)
                        .and_then(|()| std::os::unix::fs::symlink(&archive, &sidecar)),
                    _ => fs::write(path("-codex.tar.gz"), &text),
                };
                prop_assert_eq!(told(&store).0, anew(&store));
                for stored in look(&store, 1).snapshots {
                    prop_assert_eq!(stored.metadata.brief(), &Brief::of(&stored.metadata));
                    prop_assert_eq!(&stored.key(), &stored.metadata.whole().key());
                    prop_assert_eq!(&stored.metadata.whose().email, &stored.metadata.email);
                }
            }
        }
    }

    #[test]
    fn the_length_of_an_archive_is_never_remembered() {
        let (_dir, store) = lab(&["ada"]);
        look(&store, 1);
        fs::write(store.backups().join(format!("{}.tar.gz", title("ada"))), "abcd").unwrap();
        let (seen, opened) = told(&store);
        assert_eq!((seen.as_str(), opened), (anew(&store).as_str(), 0));
        assert!(seen.contains("has 4 bytes, its sidecar says 3"), "{seen}");
    }

    #[test]
    fn a_sidecar_that_was_written_just_now_is_not_remembered() {
        let (_dir, store) = lab(&["ada", "bob"]);
        recall(&store, &Zone::UTC, Utc::now(), 1).unwrap();
        assert!(store.sidecars().exists());
        assert_eq!(told(&store), (anew(&store), 2));
    }

    #[test]
    fn whatever_is_wrong_with_the_memory_is_told_by_nobody_and_changes_nothing() {
        let (_dir, store) = lab(&["ada", "bob"]);
        look(&store, 1);
        let good = fs::read(store.sidecars()).unwrap();
        let expected = anew(&store);
        for length in (0..good.len()).step_by(11) {
            fs::write(store.sidecars(), &good[..length]).unwrap();
            assert_eq!(told(&store), (expected.clone(), 2), "{length}");
        }
        for at in (0..good.len()).step_by(5) {
            let mut bent = good.clone();
            bent[at] ^= 1 << (at % 8);
            fs::write(store.sidecars(), bent).unwrap();
            assert_eq!(told(&store), (expected.clone(), 2), "{at}");
        }
        fs::remove_file(store.sidecars()).unwrap();
        fs::create_dir(store.sidecars()).unwrap();
        look(&store, 1);
        assert_eq!(told(&store), (expected, 2));
    }

    #[test]
    fn who_changes_anything_does_not_believe_it() {
        let (_dir, store) = lab(&["ada"]);
        look(&store, 1);
        // Sealed, of the right file, and a lie.
        let good = fs::read(store.sidecars()).unwrap();
        let rows = good.get(HEAD.len() + 32..).unwrap();
        let mut lie = rows.to_vec();
        for at in 0..lie.len() - 4 {
            if lie[at..].starts_with(b"first") {
                lie[at..at + 5].copy_from_slice(b"wrong");
            }
        }
        fs::write(store.sidecars(), [HEAD, &sealed(&lie), &lie].concat()).unwrap();
        let label = |scan: Scan| scan.snapshots[0].metadata.brief().label.clone();
        assert_eq!(label(look(&store, usize::MAX)).as_deref(), Some("wrong"));
        assert_eq!(label(store.scan(&Zone::UTC).unwrap()).as_deref(), Some("first"));
    }
}
