//! Where in the manager home does everything lie, and which snapshots are there?

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::account::{Account, AccountKey};
use crate::codex::home;
use crate::disk::archive::{Archive, EntryName, Layout, Limits};
use crate::disk::lock::{Lock, LockError, Mode};
use crate::disk::{DiskError, read, replace};
use crate::quota::{Entry, Ledger, ledger};
use crate::snapshot::legacy;
use crate::snapshot::metadata::{Kind, MAX_BYTES, MEMBER, Metadata};
use crate::snapshot::name::{ARCHIVE, SIDECAR, SnapshotName};
use crate::snapshot::restore;
use crate::time::Zone;

/// Largest ledger, inventory or configuration that is read, in bytes.
pub const MAX_RECORDS: u64 = 256 << 20;

/// A plain archive can only be read from its beginning, all of it. Above this length, in bytes, a
/// list does without what it says.
const GLANCE: u64 = 1 << 20;

/// The manager home.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Store {
    root: PathBuf,
}

/// A snapshot that was found, with what it says about itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// What a person calls it: its base name, or its place among the older tool's.
    pub title: String,
    /// The archive.
    pub archive: PathBuf,
    /// The sidecar, unless what is known comes out of the archive alone.
    pub sidecar: Option<PathBuf>,
    /// What it says.
    pub metadata: Metadata,
    /// Which program wrote it.
    pub origin: Origin,
}

impl Stored {
    /// Whether it holds a login that names no account and was kept before it was replaced.
    #[must_use]
    pub fn is_orphan(&self) -> bool {
        self.origin == Origin::Ours
            && self.metadata.kind == Kind::Auth
            && self.metadata.login.is_none()
            && self.key().is_none()
    }

    /// Whose snapshot it is.
    #[must_use]
    pub fn key(&self) -> Option<AccountKey> {
        self.metadata.key()
    }

    /// Whether it is a snapshot of this account. One of the older tool knows only an address,
    /// which several accounts may share.
    #[must_use]
    pub fn is_of(&self, account: &Account) -> bool {
        match self.key() {
            Some(AccountKey::Email(email)) => account.email == Some(email),
            Some(key) => key == account.key,
            None => false,
        }
    }
}

/// Which program wrote a snapshot.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    /// This one.
    Ours,
    /// The older Python tool, 1.0.0 to 23.0.0.
    Python,
}

/// Everything in `backups/`.
#[derive(Debug, Default)]
pub struct Scan {
    /// The snapshots, newest first.
    pub snapshots: Vec<Stored>,
    /// What is there and cannot be used; it hides nothing else.
    pub problems: Vec<Odd>,
}

/// Something in `backups/` that is not as it should be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Odd {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub what: String,
    /// Which kind of oddity it is.
    pub kind: OddKind,
}

/// Kinds of oddities.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OddKind {
    /// A sidecar whose archive is gone: litter of a deletion, or something was moved.
    NoArchive,
    /// An archive without a sidecar; it is complete, the sidecar can be written again.
    NoSidecar,
    /// A sidecar that cannot be used.
    BadSidecar,
    /// An archive that is not what its sidecar says.
    BadArchive,
}

impl Store {
    /// The manager home at `root`, which need not exist yet.
    #[must_use]
    pub fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `config.toml`.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    /// `inventory.json`, the normalized legacy records.
    #[must_use]
    pub fn inventory(&self) -> PathBuf {
        self.root.join("inventory.json")
    }

    /// `ledger.jsonl`, what was ever said about quotas and switches.
    #[must_use]
    pub fn ledger(&self) -> PathBuf {
        self.root.join("ledger.jsonl")
    }

    /// `cooldown.json` of the older tool, which is only read.
    #[must_use]
    pub fn legacy_cooldowns(&self) -> PathBuf {
        self.root.join("cooldown.json")
    }

    /// `backups/`.
    #[must_use]
    pub fn backups(&self) -> PathBuf {
        self.root.join("backups")
    }

    /// `trash/`, for snapshots that were replaced.
    #[must_use]
    pub fn trash(&self) -> PathBuf {
        self.root.join("trash")
    }

    /// `undo/`, for what was live before.
    #[must_use]
    pub fn undo(&self) -> PathBuf {
        self.root.join("undo")
    }

    /// `journal.json`, there only while two homes change places.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.root.join("journal.json")
    }

    /// `tmp/`, for private copies while they are worked on.
    #[must_use]
    pub fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// `lock`.
    #[must_use]
    pub fn lock_file(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// The archive of a name.
    #[must_use]
    pub fn archive(&self, name: &SnapshotName) -> PathBuf {
        self.backups().join(name.archive())
    }

    /// The sidecar of a name.
    #[must_use]
    pub fn sidecar(&self, name: &SnapshotName) -> PathBuf {
        self.backups().join(name.sidecar())
    }

    /// Whether there is a manager home.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.root.is_dir()
    }

    /// Creates what is missing, takes the lock for changes, finishes a restore that was killed,
    /// and removes what an interrupted run left in the store. Answers the mode of a manager home that others could look into, which
    /// has been narrowed.
    ///
    /// # Errors
    ///
    /// When another process holds the lock for the whole of `timeout`, or the disk refuses.
    pub fn open(&self, timeout: Duration, doing: &str) -> Result<Opened, StoreError> {
        replace::private_dir(&self.root)?;
        let narrowed = replace::narrow(&self.root)?;
        let lock = Lock::acquire(&self.lock_file(), Mode::Exclusive, timeout, doing)?;
        for folder in [self.backups(), self.tmp(), self.undo(), self.trash()] {
            replace::private_dir(&folder)?;
        }
        // First of all, for what was staged is litter only when this is done.
        let finished = restore::finish(&self.journal(), &self.undo());
        let finished = finished.unwrap_or_else(|error| {
            vec![format!("an interrupted restore could not be finished: {error}")]
        });
        for folder in [self.root.clone(), self.backups(), self.tmp(), self.trash()] {
            sweep(&folder)?;
        }
        let torn = self.mend_ledger()?;
        Ok(Opened { lock, narrowed, torn, finished })
    }

    /// Reads what is in `backups/`, and in the older tool's folders there.
    ///
    /// # Errors
    ///
    /// When the folder itself cannot be listed. A folder that does not exist holds nothing.
    pub fn scan(&self, zone: &Zone) -> Result<Scan, StoreError> {
        scan(&self.backups(), zone)
    }

    /// The ledger, as far as it can be read.
    ///
    /// # Errors
    ///
    /// When the file is there and cannot be read at all.
    pub fn read_ledger(&self) -> Result<Ledger, StoreError> {
        let bytes = read::optional(&self.ledger(), MAX_RECORDS)?;
        Ok(bytes.map(|bytes| ledger::parse(&bytes)).unwrap_or_default())
    }

    /// Sees to it that the ledger ends in a whole line; the caller holds the lock. An entry that
    /// lacks only its newline gets it. Half a line moves to `ledger.jsonl.torn`, or `.torn-2` and
    /// so on if that is taken: answers where.
    fn mend_ledger(&self) -> Result<Option<PathBuf>, DiskError> {
        let path = self.ledger();
        let Some(lines) = read::absent_is_none(read::open_lines(&path))? else { return Ok(None) };
        if lines.torn == 0 {
            return Ok(None);
        }
        let mut bytes = read::bounded(&path, MAX_RECORDS)?;
        let Some(from) = ledger::parse(&bytes).torn_from else {
            bytes.push(b'\n');
            replace::write(&path, &bytes)?;
            return Ok(None);
        };
        let torn = bytes.get(from..).unwrap_or_default();
        let aside = (1_u32..)
            .map(|number| match number {
                1 => self.root.join("ledger.jsonl.torn"),
                _ => self.root.join(format!("ledger.jsonl.torn-{number}")),
            })
            .find(|aside| aside.symlink_metadata().is_err());
        if let Some(aside) = &aside {
            replace::write_new(aside, torn)?;
        }
        replace::truncate_torn_tail(&path)?;
        Ok(aside)
    }

    /// Appends to the ledger; the caller holds the lock.
    ///
    /// # Errors
    ///
    /// When the disk refuses; what was appended before stays.
    pub fn record(&self, entries: &[Entry], _lock: &Lock) -> Result<(), StoreError> {
        for entry in entries {
            let line = entry.to_line().map_err(|_| StoreError::Unwritable)?;
            replace::append(&self.ledger(), line.trim_end().as_bytes())?;
        }
        Ok(())
    }

    /// The first name from `wanted` on that nothing in `backups/` has.
    #[must_use]
    pub fn free_name(&self, wanted: SnapshotName) -> SnapshotName {
        let mut name = wanted;
        // `symlink_metadata`, for a dangling link occupies a name too.
        while self.archive(&name).symlink_metadata().is_ok()
            || self.sidecar(&name).symlink_metadata().is_ok()
        {
            name = name.next();
        }
        name
    }
}

/// An archive outside the store, with its sidecar beside it or the copy inside it.
///
/// # Errors
///
/// What is wrong with it, in words.
pub fn stored_at(archive: &Path, zone: &Zone) -> Result<Stored, String> {
    let title = archive.file_name().unwrap_or_default().to_string_lossy();
    let title = title.strip_suffix(ARCHIVE).unwrap_or(&title).to_owned();
    let sidecar = archive.with_file_name(format!("{title}{SIDECAR}"));
    let found = |sidecar, metadata, origin| Stored {
        title: title.clone(),
        archive: archive.to_owned(),
        sidecar,
        metadata,
        origin,
    };
    if let Ok(metadata) = read_sidecar(&sidecar) {
        return Ok(found(Some(sidecar), metadata, Origin::Ours));
    }
    let opened = Archive::open(archive, &Limits::default()).map_err(|error| error.to_string())?;
    if opened.layout() == Layout::Seekable {
        return inside(archive).map(|metadata| found(None, metadata, Origin::Ours));
    }
    let told = read::bounded(&sidecar, MAX_BYTES).ok().or_else(|| inside_older(archive).ok());
    let metadata = told.and_then(|bytes| legacy::metadata(&bytes, zone).ok());
    Ok(found(None, metadata.unwrap_or_else(|| Metadata::empty(Kind::Full)), Origin::Python))
}

/// A manager home that is open for changes.
#[derive(Debug)]
pub struct Opened {
    /// Held until it is dropped.
    pub lock: Lock,
    /// The mode the manager home had, if it was wider than 0700.
    pub narrowed: Option<u32>,
    /// Where half a line is now that the ledger ended in.
    pub torn: Option<PathBuf>,
    /// What became of a restore that was interrupted, if one was.
    pub finished: Vec<String>,
}

/// Why the manager home could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The lock is held, or there are no locks.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A ledger entry has no JSON form.
    #[error("a ledger entry cannot be written as JSON")]
    Unwritable,
}

impl StoreError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Lock(error) => error.hint(),
            Self::Disk(error) => error.hint(),
            Self::Unwritable => None,
        }
    }
}

/// Removes what an interrupted run left under a reserved name. A folder that is not there has
/// no litter.
fn sweep(folder: &Path) -> Result<(), DiskError> {
    let Some(litter) = read::absent_is_none(replace::litter(folder))? else { return Ok(()) };
    for path in litter {
        if path.symlink_metadata().is_ok_and(|facts| facts.is_dir()) {
            // A restore that was killed right after its exchange leaves the replaced home so.
            if !home::may_be_one(&path) {
                replace::remove_tree(&path)?;
            }
        } else {
            replace::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Reads one folder of snapshots.
fn scan(backups: &Path, zone: &Zone) -> Result<Scan, StoreError> {
    let mut scan = Scan::default();
    let Some(names) = read::absent_is_none(list(backups))? else { return Ok(scan) };
    let older = legacy::find(backups)?;
    let theirs: BTreeSet<&Path> = older
        .archives
        .iter()
        .map(|found| found.archive.as_path())
        .chain(older.metadata_only.iter().map(PathBuf::as_path))
        .collect();
    for name in &names {
        let path = backups.join(name);
        if theirs.contains(path.as_path()) {
            continue;
        }
        if let Some(Ok(title)) = name.strip_suffix(ARCHIVE).map(str::parse) {
            take(backups, &title, &names, &mut scan);
        } else if let Some(base) = name.strip_suffix(SIDECAR)
            && !names.contains(&format!("{base}{ARCHIVE}"))
        {
            lone_sidecar(path, &mut scan);
        }
    }
    for (path, what) in older.unreadable {
        scan.problems.push(Odd { path, what, kind: OddKind::BadArchive });
    }
    for found in older.archives {
        take_older(found, zone, &mut scan);
    }
    scan.snapshots
        .sort_by(|a, b| (b.metadata.created_at, &b.title).cmp(&(a.metadata.created_at, &a.title)));
    Ok(scan)
}

/// One archive of ours: with its sidecar, or with the copy inside it.
fn take(backups: &Path, name: &SnapshotName, names: &BTreeSet<String>, scan: &mut Scan) {
    let archive = backups.join(name.archive());
    let sidecar = backups.join(name.sidecar());
    let told = if names.contains(&name.sidecar()) {
        read_sidecar(&sidecar)
    } else {
        Err("has no sidecar; the copy inside it is used".to_owned())
    };
    let found = |sidecar, metadata| Stored {
        title: name.to_string(),
        archive: archive.clone(),
        sidecar,
        metadata,
        origin: Origin::Ours,
    };
    match told {
        Ok(metadata) => match disagreement(&archive, name, &metadata) {
            None => scan.snapshots.push(found(Some(sidecar), metadata)),
            Some(what) => {
                scan.problems.push(Odd { path: archive, what, kind: OddKind::BadArchive });
            }
        },
        Err(what) => {
            let (path, kind) = if names.contains(&name.sidecar()) {
                (sidecar, OddKind::BadSidecar)
            } else {
                (archive.clone(), OddKind::NoSidecar)
            };
            match inside(&archive) {
                Ok(metadata) => {
                    scan.snapshots.push(found(None, metadata));
                    scan.problems.push(Odd { path, what, kind });
                }
                Err(inner) if kind == OddKind::NoSidecar => {
                    let what = format!("has no sidecar, and {inner}");
                    scan.problems.push(Odd { path, what, kind: OddKind::BadArchive });
                }
                Err(_) => scan.problems.push(Odd { path, what, kind }),
            }
        }
    }
}

/// What a snapshot says about itself, also where that was too much to read for a list: an archive
/// of the older tool without a sidecar is read to its end.
///
/// # Errors
///
/// What is wrong with it, in words.
pub fn look_into(stored: &Stored, zone: &Zone) -> Result<Stored, String> {
    if stored.origin == Origin::Ours || stored.sidecar.is_some() {
        return Ok(stored.clone());
    }
    let mut whole = stored.clone();
    if let Ok(told) = legacy::metadata(&inside_older(&stored.archive)?, zone) {
        let email = told.email.clone().or(whole.metadata.email);
        whole.metadata = Metadata { email, kind: told.kind, ..told };
    }
    Ok(whole)
}

/// One archive of the older tool: what its sidecar says, else the member of that name, else
/// what its place says.
fn take_older(found: legacy::Found, zone: &Zone, scan: &mut Scan) {
    let told = match &found.sidecar {
        Some(sidecar) => read::bounded(sidecar, MAX_BYTES).map_err(|error| error.to_string()),
        None if found.archive.metadata().is_ok_and(|facts| GLANCE < facts.len()) => {
            let what = "has no sidecar and was not looked into; `show` reads all of it".to_owned();
            let path = found.archive.clone();
            scan.problems.push(Odd { path, what, kind: OddKind::NoSidecar });
            let mut metadata = Metadata::empty(found.kind.unwrap_or(Kind::Full));
            metadata.email = found.email;
            scan.snapshots.push(Stored {
                title: found.title,
                archive: found.archive,
                sidecar: None,
                metadata,
                origin: Origin::Python,
            });
            return;
        }
        None => inside_older(&found.archive),
    };
    let metadata = told.and_then(|bytes| {
        legacy::metadata(&bytes, zone).map_err(|error| format!("its metadata {error}"))
    });
    let mut metadata = match metadata {
        Ok(metadata) => metadata,
        Err(what) => {
            let path = found.sidecar.clone().unwrap_or_else(|| found.archive.clone());
            scan.problems.push(Odd { path, what, kind: OddKind::BadSidecar });
            if !found.archive.is_file()
                || Archive::open(&found.archive, &Limits::default()).is_err()
            {
                return;
            }
            Metadata::empty(found.kind.unwrap_or(Kind::Full))
        }
    };
    metadata.kind = found.kind.unwrap_or(metadata.kind);
    metadata.email = metadata.email.or(found.email);
    scan.snapshots.push(Stored {
        title: found.title,
        archive: found.archive,
        sidecar: found.sidecar,
        metadata,
        origin: Origin::Python,
    });
}

/// The metadata member of an archive of the older tool.
fn inside_older(archive: &Path) -> Result<Vec<u8>, String> {
    let words = |error: crate::disk::archive::ArchiveError| error.to_string();
    let opened = Archive::open(archive, &Limits::default()).map_err(words)?;
    let entries = opened.entries().map_err(words)?;
    let member = entries.iter().rev().find(|entry| legacy::is_metadata_member(entry.name.as_str()));
    let member = member.ok_or_else(|| "it holds no metadata".to_owned())?;
    let bytes = opened.read(&member.name, MAX_BYTES).map_err(words)?;
    bytes.ok_or_else(|| "it holds no metadata".to_owned())
}

fn read_sidecar(path: &Path) -> Result<Metadata, String> {
    let bytes = read::bounded(path, MAX_BYTES).map_err(|error| error.to_string())?;
    Metadata::parse(&bytes).map_err(|error| error.to_string())
}

/// Reads the copy of the metadata inside one of our archives.
///
/// # Errors
///
/// What is wrong with it, in words.
pub fn inside(archive: &Path) -> Result<Metadata, String> {
    let opened = Archive::open(archive, &Limits::default()).map_err(|error| error.to_string())?;
    let member: EntryName =
        MEMBER.parse().map_err(|_| "its metadata has no usable name".to_owned())?;
    let bytes = opened.read(&member, MAX_BYTES).map_err(|error| error.to_string())?;
    let bytes = bytes.ok_or_else(|| "it holds no metadata".to_owned())?;
    Metadata::parse(&bytes).map_err(|error| format!("its metadata {error}"))
}

/// What contradicts the sidecar without opening the archive: its name and its length.
fn disagreement(archive: &Path, name: &SnapshotName, metadata: &Metadata) -> Option<String> {
    let facts = metadata.archive.as_ref()?;
    if facts.name != name.archive() {
        return Some("its sidecar describes an archive of another name".to_owned());
    }
    let found = archive.symlink_metadata().ok()?;
    if !found.is_file() {
        return Some("is not a regular file".to_owned());
    }
    (found.len() != facts.bytes)
        .then(|| format!("has {} bytes, its sidecar says {}", found.len(), facts.bytes))
}

fn lone_sidecar(path: PathBuf, scan: &mut Scan) {
    let what = match read_sidecar(&path) {
        Ok(_) => "its archive is gone".to_owned(),
        Err(what) => format!("its archive is gone, and it {what}"),
    };
    scan.problems.push(Odd { path, what, kind: OddKind::NoArchive });
}

/// The UTF-8 names in a folder; others are not ours.
fn list(folder: &Path) -> Result<BTreeSet<String>, DiskError> {
    let names = read::names(folder)?;
    Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect())
}
