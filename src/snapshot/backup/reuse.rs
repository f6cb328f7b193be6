//! Which content need not be compressed, or not even read, because an earlier archive has it?
//!
//! [`Past`] is the snapshot that the home's cache tells of: what it proves unchanged is copied
//! from there without being opened. [`Shelves`] are the tables of contents of that and a few
//! other archives, in which the content of whatever had to be read is looked for by its digest.
//! Both only ever name a member, which is checked before it is copied or, where its content is not
//! to be read, when the new archive is read back; an archive that vanishes or turns out to be
//! another one costs time.

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use chrono::{DateTime, Utc};

use super::cache::{Beside, Cache, Look, is_proven};
use crate::disk::archive::{Archive, Chunk, EntryName, Known, Library, Limits};
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

/// The snapshot in which the home's cache believes, and what it says.
#[derive(Debug)]
pub(super) struct Past {
    cache: Cache,
    table: Arc<Table>,
}

impl Past {
    /// What is known of the home at `root`; `None` unless cache, sidecar and archive agree, and
    /// the archive was compressed as the next one will be.
    pub(super) fn open(store: &Store, root: &Path, compressor: &str) -> Option<Self> {
        let cache = store.known_files(root)?;
        let name: SnapshotName = cache.snapshot.parse().ok()?;
        let told = store.told(&name)?.archive?;
        if told.toc_digest != cache.toc_digest {
            return None;
        }
        let table = Table::open(&store.archive(&name), &told, compressor)?;
        Some(Self { cache, table: Arc::new(table) })
    }

    /// Which entry the file at `path` was, if it looks as it did then, and whether as a database.
    /// What lies beside a database is looked at when it is its turn.
    pub(super) fn glance(&self, name: &EntryName, path: &Path) -> Option<(usize, bool)> {
        let entry = self.table.archive.position(name)?;
        let is_database = self.cache.is_database(entry)?;
        // A file that nobody may read any more bears another time of change.
        let found = Facts::at(path).ok()??;
        self.cache.is_file(entry, &found).then_some((entry, is_database))
    }

    /// Its name.
    pub(super) fn snapshot(&self) -> &str {
        &self.cache.snapshot
    }

    /// The digest of its table of contents.
    pub(super) fn toc_digest(&self) -> &str {
        &self.cache.toc_digest
    }

    /// The name of the entry, which takes no memory of its own.
    pub(super) fn name(&self, entry: u32) -> Option<&EntryName> {
        Some(&self.table.archive.entries().ok()?.get(usize::try_from(entry).ok()?)?.name)
    }

    /// The chunks of the entry, if a file that looks like this surely is what it holds.
    pub(super) fn proven(
        &self,
        entry: usize,
        look: &Look,
        now: DateTime<Utc>,
    ) -> Option<Vec<Known>> {
        let held = self.table.archive.entries().ok()?.get(entry)?;
        if !self.cache.is_look(entry, look) || !is_proven(look, held, now) {
            return None;
        }
        let chunks = self.table.archive.chunks_at(entry);
        Some(chunks.iter().map(|chunk| self.table.known(chunk)).collect())
    }
}

/// Where chunks are looked for by their digest.
pub(super) struct Shelves {
    store: Store,
    whose: Whose,
    compressor: String,
    state: Mutex<State>,
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
    pub(super) fn new(store: &Store, past: Option<&Past>, whose: Whose, compressor: &str) -> Self {
        let mut state = State { room: CHUNKS, ..State::default() };
        match past {
            Some(past) => state.tables.push(Arc::clone(&past.table)),
            None => {
                let mut others = candidates(store, &whose, compressor);
                if others.front().is_some_and(|first| first.is_of_home)
                    && let Some(first) = others.pop_front()
                {
                    state.tables.extend(read(&first, compressor));
                }
                state.others = Some(others);
            }
        }
        Self {
            store: store.clone(),
            whose,
            compressor: compressor.to_owned(),
            state: Mutex::new(state),
        }
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
        let table = read(&next, &self.compressor)?;
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

fn read(candidate: &Candidate, compressor: &str) -> Option<Arc<Table>> {
    Table::open(&candidate.archive, &candidate.facts, compressor).map(Arc::new)
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

/// A table of contents, and the archive it belongs to, which stays open: whatever has its name
/// later is another one.
struct Table {
    archive: Archive,
    file: Arc<File>,
    /// The entry of each chunk and its number there, in the order of the digests, once something is
    /// looked for.
    index: OnceLock<Vec<(u32, u32)>>,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("digest", &self.digest()).finish_non_exhaustive()
    }
}

impl Table {
    /// `None` unless the archive is the one that the sidecar describes, and made by the same
    /// compressor.
    fn open(path: &Path, told: &ArchiveFacts, compressor: &str) -> Option<Self> {
        if told.compressor.as_deref() != Some(compressor) {
            return None;
        }
        let archive = Archive::open(path, &Limits::default()).ok()?;
        if archive.toc_digest() != Some(&told.toc_digest) {
            return None;
        }
        let file = Arc::new(archive.file()?);
        archive.entries().ok()?;
        Some(Self { archive, file, index: OnceLock::new() })
    }

    fn index(&self) -> &[(u32, u32)] {
        self.index.get_or_init(|| {
            let entries = self.archive.entries().map_or(0, <[_]>::len);
            let all = (0..entries).zip(0..).flat_map(|(entry, number)| {
                let chunks = self.archive.chunks_at(entry).iter().zip(0..);
                chunks.map(move |(_, at)| (number, at))
            });
            let mut index: Vec<(u32, u32)> = all.collect();
            index.sort_unstable_by_key(|place| self.chunk(*place).map(|chunk| &chunk.digest));
            index
        })
    }

    fn chunk(&self, (entry, at): (u32, u32)) -> Option<&Chunk> {
        let chunks = self.archive.chunks_at(usize::try_from(entry).ok()?);
        chunks.get(usize::try_from(at).ok()?)
    }

    fn digest(&self) -> Option<&str> {
        self.archive.toc_digest()
    }

    fn find(&self, digest: &[u8; 32], size: u64) -> Option<Known> {
        let digest_of = |place: &(u32, u32)| self.chunk(*place).map(|chunk| &chunk.digest);
        let index = self.index();
        let first = index.partition_point(|place| digest_of(place) < Some(digest));
        let chunks = index.get(first..)?.iter().filter_map(|place| self.chunk(*place));
        let mut same = chunks.take_while(|chunk| chunk.digest == *digest);
        Some(self.known(same.find(|chunk| chunk.size == size)?))
    }

    fn known(&self, chunk: &Chunk) -> Known {
        let Chunk { offset, member_size, member_digest, size, digest } = *chunk;
        let archive = Arc::clone(&self.file);
        Known { archive, offset, member_size, member_digest, size, digest }
    }
}
