//! Which content need not be compressed, or not even read, because an earlier archive has it?
//!
//! [`Past`] is the snapshot that the home's cache tells of, and how the files looked then. What it
//! [`Proves`] unchanged is copied from there without being opened. [`Shelves`] are the tables of
//! contents of that and a few other archives, in which the content of whatever had to be read is
//! looked for by its digest.
//! Both only ever name a member, which is checked before it is copied or, where its content is not
//! to be read, when the new archive is read back; an archive that vanishes or turns out to be
//! another one costs time.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};

use super::cache::{Beside, Cache, Look, is_proven};
use super::table::Table;
use crate::disk::archive::{EntryName, Known, Library};
use crate::disk::{Facts, Result, database};
use crate::snapshot::metadata::{ArchiveFacts, Metadata};
use crate::snapshot::name::SnapshotName;
use crate::snapshot::store::{Origin, Store, Stored};
use crate::time::Zone;

/// So many tables are looked into, that of the home's own last snapshot included.
const TABLES: usize = 8;

/// So many chunks may the tables have together beyond the first, which bounds memory.
const CHUNKS: u64 = 50_000;

/// A table is read when so many bytes for each of its chunks were not found elsewhere: it takes
/// a fraction of the time that compressing them takes.
const WORTH: u64 = 4 << 10;

/// So many bytes that were not found are worth a look at all sidecars.
const WORTH_A_LOOK: u64 = 4 << 20;

impl Look {
    /// How the file at `path` looks now; as a database, with what lies beside it. `None` if it
    /// is not there.
    pub(super) fn at(path: &Path, is_database: bool) -> Result<Option<Self>> {
        let beside = if is_database {
            let [log, journal] = database::companions(path);
            Some(Beside { log: Facts::at(&log)?, journal: Facts::at(&journal)? })
        } else {
            None
        };
        Ok(Facts::at(path)?.map(|file| Self { file, beside }))
    }
}

/// The snapshot in which the home's cache believes, and what it says. The archive itself has not been
/// opened yet.
#[derive(Debug)]
pub(super) struct Past {
    cache: Cache,
    /// The rows of files in the order of how they looked.
    by_look: Vec<u32>,
    archive: PathBuf,
    told: ArchiveFacts,
}

impl Past {
    /// What is known of the home at `root`; `None` unless cache and sidecar agree, and the archive
    /// was compressed as the next one will be.
    pub(super) fn open(store: &Store, root: &Path, compressor: &str) -> Option<Self> {
        let cache = store.known_files(root)?;
        let name: SnapshotName = cache.snapshot.parse().ok()?;
        let told = store.told(&name)?.archive?;
        let fits =
            told.toc_digest == cache.toc_digest && told.compressor.as_deref() == Some(compressor);
        let by_look = cache.by_look();
        fits.then(|| Self { cache, by_look, archive: store.archive(&name), told })
    }

    /// Which entry the file at `path` seems to be, by how it looks, and whether as a database. What
    /// name the entry has is looked at when it is its turn, and what lies beside a database too.
    pub(super) fn glance(&self, path: &Path) -> Option<(u32, bool)> {
        // A file that nobody may read any more bears another time of change.
        self.cache.find(&self.by_look, &Facts::at(path).ok()??)
    }

    /// Opens the archive; `None` if it is not there any more, or is another one. What is too long for
    /// memory waits in `folder`.
    pub(super) fn prove(self: Arc<Self>, compressor: &str, folder: &Path) -> Option<Proves> {
        let table = Table::open(&self.archive, &self.told, compressor, folder)?;
        Some(Proves { past: self, table: Arc::new(table) })
    }
}

/// What a past snapshot proves of the files of the home, with its archive at hand.
#[derive(Debug)]
pub(super) struct Proves {
    past: Arc<Past>,
    table: Arc<Table>,
}

impl Proves {
    /// The snapshot's name.
    pub(super) fn snapshot(&self) -> &str {
        &self.past.cache.snapshot
    }

    /// The digest of its table of contents.
    pub(super) fn toc_digest(&self) -> &str {
        self.table.digest()
    }

    /// The chunks of the entry, if a file of this name that looks like this surely is what it holds.
    pub(super) fn proven(
        &self,
        (entry, name): (u32, &EntryName),
        look: &Look,
        now: DateTime<Utc>,
    ) -> Option<Vec<Known>> {
        let held = self.table.held(entry, name)?;
        if !self.past.cache.is_look(entry, look) || !is_proven(look, &held, now) {
            return None;
        }
        self.table.chunks(&held)
    }
}

/// Where chunks are looked for by their digest.
pub(super) struct Shelves {
    store: Store,
    whose: Whose,
    compressor: String,
    /// Where tables wait that are too long for memory.
    folder: PathBuf,
    state: Mutex<State>,
}

/// Shelves that threads may look into as long as this is there: when it goes, so does what waits on
/// the disk, whoever of them has not ended yet.
pub(super) struct Lent(Arc<Shelves>);

impl Deref for Lent {
    type Target = Arc<Shelves>;

    fn deref(&self) -> &Arc<Shelves> {
        &self.0
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State { others: Some(VecDeque::new()), ..State::default() };
    }
}

/// The home that is stored, as its sidecars name it.
#[derive(Clone, Debug)]
pub(super) struct Whose {
    home: Option<String>,
    host: Option<String>,
}

impl Whose {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self { home: metadata.source_codex_home.clone(), host: metadata.host.clone() }
    }
}

#[derive(Default)]
struct State {
    tables: Vec<Arc<Table>>,
    /// What else may be looked into, best first; `None` until somebody has asked.
    others: Option<VecDeque<Candidate>>,
    /// Bytes of content that no table had since the last one was read.
    missed: u64,
    /// Chunks that further tables may have.
    room: u64,
}

/// An archive that may be looked into.
#[derive(Clone, Debug, PartialEq)]
struct Candidate {
    archive: PathBuf,
    facts: ArchiveFacts,
    is_of_home: bool,
}

impl Candidate {
    /// About how many chunks it has.
    fn chunks(&self) -> u64 {
        self.facts.files.saturating_add(self.facts.content_bytes >> 20)
    }
}

impl Shelves {
    /// With the table of what is known of the home. Where nothing is, that of its newest snapshot
    /// is read at once: much will be in it.
    pub(super) fn lend(
        store: &Store,
        past: Option<&Proves>,
        whose: Whose,
        (compressor, folder): (&str, &Path),
    ) -> Lent {
        let mut state = State { room: CHUNKS, ..State::default() };
        match past {
            Some(past) => state.tables.push(Arc::clone(&past.table)),
            None => {
                let mut others = candidates(store, &whose, compressor);
                if others.front().is_some_and(|first| first.is_of_home)
                    && let Some(first) = others.pop_front()
                {
                    state.tables.extend(read(&first, compressor, folder));
                }
                state.others = Some(others);
            }
        }
        Lent(Arc::new(Self {
            store: store.clone(),
            whose,
            compressor: compressor.to_owned(),
            folder: folder.to_owned(),
            state: Mutex::new(state),
        }))
    }

    /// Reads the next table if what was missed is worth it.
    fn read_on(&self, state: &mut State) -> Option<Arc<Table>> {
        let others = state
            .others
            .get_or_insert_with(|| candidates(&self.store, &self.whose, &self.compressor));
        let next = others.front()?;
        let chunks = next.chunks();
        if state.room < chunks || TABLES <= state.tables.len() {
            others.pop_front();
            return None;
        }
        if state.missed < chunks.saturating_mul(WORTH) {
            return None;
        }
        let next = others.pop_front()?;
        state.missed = 0;
        let table = read(&next, &self.compressor, &self.folder)?;
        // The table of the home's last snapshot is the first, by whatever way it came here.
        if state.tables.iter().any(|known| known.digest() == table.digest()) {
            return None;
        }
        state.room -= chunks;
        state.tables.push(Arc::clone(&table));
        Some(table)
    }
}

impl Library for Shelves {
    fn find(&self, digest: &[u8; 32], size: u64) -> Option<Known> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let found = state.tables.iter().find_map(|table| table.find(digest, size));
        if found.is_some() {
            return found;
        }
        state.missed = state.missed.saturating_add(size);
        // To look for others means to read every sidecar.
        if state.others.is_none() && state.missed < WORTH_A_LOOK {
            return None;
        }
        self.read_on(&mut state)?.find(digest, size)
    }
}

fn read(candidate: &Candidate, compressor: &str, folder: &Path) -> Option<Arc<Table>> {
    Table::open(&candidate.archive, &candidate.facts, compressor, folder).map(Arc::new)
}

/// The snapshots that may have the same content: those of this home, the newest first, then the
/// newest of each account.
fn candidates(store: &Store, whose: &Whose, compressor: &str) -> VecDeque<Candidate> {
    let Ok(scan) = store.scan(&Zone::UTC) else { return VecDeque::new() };
    choose(&scan.snapshots, whose, compressor)
}

/// Chooses among snapshots, which come newest first.
fn choose(snapshots: &[Stored], whose: &Whose, compressor: &str) -> VecDeque<Candidate> {
    let mut accounts = BTreeSet::new();
    let (mut own, mut others) = (Vec::new(), Vec::new());
    for stored in snapshots {
        let Metadata { kind, source_codex_home: home, host, archive, .. } = &*stored.metadata;
        let Some(facts) = archive else { continue };
        let fits = stored.origin == Origin::Ours
            && kind.has_state()
            && facts.compressor.as_deref() == Some(compressor);
        if !fits {
            continue;
        }
        let is_of_home = home.is_some() && *home == whose.home && *host == whose.host;
        let is_newest = accounts.insert(stored.key().map(|key| key.to_string()));
        let candidate =
            Candidate { archive: stored.archive.clone(), facts: facts.clone(), is_of_home };
        if is_of_home {
            own.push(candidate);
        } else if is_newest {
            others.push(candidate);
        }
    }
    // One account more is worth more than an older state of the same home.
    own.truncate(TABLES / 2);
    own.into_iter().chain(others).take(TABLES).collect()
}
