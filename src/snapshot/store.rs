//! Where in the manager home does everything lie, and which snapshots are there?

mod files;
mod packed;
mod rollouts;
mod said;
mod scan;
mod sidecars;
mod told;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::account::{Account, AccountKey};
use crate::codex::home;
use crate::disk::lock::{Lock, LockError, Mode};
use crate::disk::{DiskError, read, replace};
use crate::quota::{Entry, Ledger, ledger};
use crate::snapshot::drill;
use crate::snapshot::journal;
use crate::snapshot::legacy;
use crate::snapshot::metadata::{Kind, Metadata};
use crate::snapshot::name::{ARCHIVE, SIDECAR, SnapshotName};
use crate::snapshot::operations::{OperationError, Pair, log};
use crate::snapshot::sign_in;
use crate::time::Zone;
use sidecars::Rows;
use told::read_sidecar;

pub use said::{Brief, Digest, Figures, Said, Whose};
pub use told::{
    contradictions, damaged_sidecar, differences, inside, login_member, look_into, miscount,
    remains, stored_at, told_in,
};

/// Largest ledger, inventory or log that is read, in bytes.
pub const MAX_RECORDS: u64 = 256 << 20;
/// Largest configuration that is read, in bytes.
pub const MAX_CONFIG: u64 = 1 << 20;

/// What is in every manager home that was ever written to, this program's or the older tool's,
/// and hardly anywhere else. `backups/` counts too, if snapshots are in it.
const MARKS: [&str; 8] = [
    "ledger.jsonl",
    "operations.jsonl",
    "inventory.json",
    "cooldown.json",
    "rollouts.cache",
    "glimpses.cache",
    "sidecars.cache",
    "lock",
];

/// What may be in a manager home and is in other folders too. Where nothing else is, the folder
/// is taken for one: somebody has written the configuration by hand, or a file manager was here.
const COMMON: [&str; 11] = [
    "config.toml",
    "config.json",
    "backups",
    "profiles",
    "trash",
    "undo",
    "tmp",
    ".DS_Store",
    "Thumbs.db",
    "desktop.ini",
    "lost+found",
];

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
    pub metadata: Said,
    /// Which program wrote it.
    pub origin: Origin,
}

impl Stored {
    /// Whether it holds a login that names no account and was kept before it was replaced.
    #[must_use]
    pub fn is_orphan(&self) -> bool {
        self.origin == Origin::Ours
            && self.metadata.brief().kind == Kind::Auth
            && self.metadata.whose().key.is_none()
            && self.metadata.login.is_none()
    }

    /// Whose snapshot it is.
    #[must_use]
    pub fn key(&self) -> Option<AccountKey> {
        self.metadata.whose().key.clone()
    }

    /// Whether it is a snapshot of this account. One of the older tool knows only an address,
    /// which several accounts may share.
    #[must_use]
    pub fn is_of(&self, account: &Account) -> bool {
        match &self.metadata.whose().key {
            Some(AccountKey::Email(email)) => account.email.as_ref() == Some(email),
            Some(key) => *key == account.key,
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

    /// `operations.jsonl`, what was done.
    #[must_use]
    pub fn operations(&self) -> PathBuf {
        self.root.join("operations.jsonl")
    }

    /// `journal.json`, there only while something changes.
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

    /// A path in the manager home as records of operations have it.
    #[must_use]
    pub fn relative(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.root).unwrap_or(path).to_owned()
    }

    /// The files that a snapshot of this name has in `backups/`: the archive, and the sidecar if
    /// it is there.
    #[must_use]
    pub fn pair(&self, name: &SnapshotName) -> Pair {
        let sidecar = self.sidecar(name);
        let sidecar = sidecar.symlink_metadata().is_ok().then(|| self.relative(&sidecar));
        Pair { archive: self.relative(&self.archive(name)), sidecar }
    }

    /// Names in `trash/` that nothing has, for a snapshot of this name.
    #[must_use]
    pub fn resting(&self, name: &SnapshotName) -> Pair {
        let mut resting = name.clone();
        loop {
            let archive = self.trash().join(resting.archive());
            let sidecar = self.trash().join(resting.sidecar());
            if archive.symlink_metadata().is_err() && sidecar.symlink_metadata().is_err() {
                let sidecar = Some(self.relative(&sidecar));
                return Pair { archive: self.relative(&archive), sidecar };
            }
            resting = resting.next();
        }
    }

    /// Whether there is a manager home.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.root.is_dir()
    }

    /// Creates what is missing, takes the lock for changes, finishes an operation that was killed,
    /// removes what an interrupted run left in the store, and mends the ends of the ledger and of the
    /// log of operations.
    /// A manager home that others could look into is narrowed. What of all that a person should
    /// know is in the answer.
    ///
    /// # Errors
    ///
    /// When the folder is somebody else's, another process holds the lock for the whole of
    /// `timeout`, or the disk refuses. An operation that cannot be finished is no error: the
    /// answer tells.
    pub fn open(&self, timeout: Duration, doing: &str) -> Result<Opened, StoreError> {
        self.refuse_foreign()?;
        replace::private_dir(&self.root)?;
        let narrowed = replace::narrow(&self.root)?;
        let lock = Lock::acquire(&self.lock_file(), Mode::Exclusive, timeout, doing)?;
        for folder in [self.backups(), self.tmp(), self.undo(), self.trash()] {
            replace::private_dir(&folder)?;
        }
        // First of all: it knows what half a line at the end of a file was going to be.
        let finished = journal::finish(self, &lock);
        let torn = self.mend_ledger()?.into_iter().chain(log::mend(&self.operations())?).collect();
        let finished = match finished {
            Ok(finished) => finished,
            // What was staged is litter only when this is done: all of it stays.
            Err(error) => {
                let told = format!("an interrupted operation could not be finished: {error}");
                return Ok(Opened { lock, narrowed, torn, finished: vec![told] });
            }
        };
        if self.journal().symlink_metadata().is_ok() {
            // Nor is what belongs to a journal that nobody here can read.
            return Ok(Opened { lock, narrowed, torn, finished });
        }
        let logins = sign_in::finish_interrupted(self, &lock);
        let finished = finished.into_iter().chain(logins).collect();
        for folder in [self.root.clone(), self.backups(), self.tmp(), self.trash()] {
            sweep(&folder)?;
        }
        for operation in read::names(&self.undo())? {
            let folder = self.undo().join(operation);
            for copies in [folder.clone(), folder.join("sqlite_home")] {
                if copies.symlink_metadata().is_ok_and(|facts| facts.is_dir()) {
                    replace::remove_unfinished(&copies)?;
                }
            }
            // What a step would have put there, had it come to that. Most hold something.
            let _is_needed = replace::remove_empty_dir(&folder);
        }
        Ok(Opened { lock, narrowed, torn, finished })
    }

    /// Refuses a folder that is somebody else's: there is something in it, and nothing of it
    /// is a manager home's. Nothing is changed. A folder that is not there yet is fine.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotOurs`], or when the folder cannot be listed.
    pub fn refuse_foreign(&self) -> Result<(), StoreError> {
        let Some(names) = read::absent_is_none(list(&self.root))? else { return Ok(()) };
        let is_ours = |name: &String| match name.as_str() {
            "backups" => holds_snapshots(&self.backups()),
            name => MARKS.contains(&name),
        };
        let may_be_ours = |name: &String| {
            COMMON.contains(&name.as_str()) || name.starts_with(replace::TEMP_PREFIX)
        };
        if names.iter().any(is_ours) || names.iter().all(may_be_ours) {
            return Ok(());
        }
        Err(StoreError::NotOurs { path: self.root.clone() })
    }

    /// Reads what is in `backups/`, and in the older tool's folders there.
    ///
    /// # Errors
    ///
    /// When the folder itself cannot be listed. A folder that does not exist holds nothing.
    pub fn scan(&self, zone: &Zone) -> Result<Scan, StoreError> {
        scan::scan(&self.backups(), zone, Rows::default(), &mut Vec::new())
    }

    /// Reads what is in `trash/`; an absent folder holds nothing.
    ///
    /// # Errors
    ///
    /// When the folder itself cannot be listed.
    pub fn scan_trash(&self, zone: &Zone) -> Result<Scan, StoreError> {
        scan::scan(&self.trash(), zone, Rows::default(), &mut Vec::new())
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
        let aside = replace::free_beside(&path, "torn");
        replace::write_new(&aside, torn)?;
        replace::truncate_torn_tail(&path)?;
        Ok(Some(aside))
    }

    /// Appends to the ledger; the caller holds the lock.
    ///
    /// # Errors
    ///
    /// While the journal of an operation stands, which counts the bytes of the ledger; when the
    /// disk refuses. What was appended before stays.
    pub fn record(&self, entries: &[Entry], _lock: &Lock) -> Result<(), StoreError> {
        if self.journal().symlink_metadata().is_ok() {
            return Err(StoreError::Operation(OperationError::Unfinished { path: self.journal() }));
        }
        for entry in entries {
            let path = self.ledger();
            let line = entry.to_line().map_err(|error| DiskError {
                action: "append to",
                path: path.clone(),
                source: error.into(),
            })?;
            replace::append(&path, line.trim_end().as_bytes())?;
        }
        Ok(())
    }

    /// The first name from `wanted` on that nothing in `backups/` has, nor a snapshot in `trash/`.
    #[must_use]
    pub fn free_name(&self, wanted: SnapshotName) -> SnapshotName {
        let mut name = wanted;
        while self.has(&name) || self.rests(&name) {
            name = name.next();
        }
        name
    }

    /// Whether anything in `backups/` has this name.
    #[must_use]
    pub fn has(&self, name: &SnapshotName) -> bool {
        // A dangling link occupies a name too.
        [self.archive(name), self.sidecar(name)].iter().any(|path| path.symlink_metadata().is_ok())
    }

    /// Whether a snapshot of this name was put away; it may come back.
    fn rests(&self, name: &SnapshotName) -> bool {
        self.trash().join(name.archive()).symlink_metadata().is_ok()
    }

    /// What the snapshot of this name says about itself, in its sidecar or else inside it;
    /// `None` if there is no such archive or nothing about it can be read.
    #[must_use]
    pub fn told(&self, name: &SnapshotName) -> Option<Metadata> {
        let archive = self.archive(name);
        if !archive.symlink_metadata().is_ok_and(|facts| facts.is_file()) {
            return None;
        }
        read_sidecar(&self.sidecar(name)).or_else(|_| inside(&archive)).ok()
    }
}

/// A manager home that is open for changes.
#[derive(Debug)]
pub struct Opened {
    /// Held until it is dropped.
    pub lock: Lock,
    /// The mode the manager home had, if it was wider than 0700.
    pub narrowed: Option<u32>,
    /// Where half a line is now that the ledger or the log of operations ended in.
    pub torn: Vec<PathBuf>,
    /// What became of an operation that was interrupted, if one was.
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
    /// An operation could not be finished.
    #[error(transparent)]
    Operation(#[from] OperationError),
    /// The folder is somebody else's.
    #[error("{} is not empty and no manager home", path.display())]
    NotOurs {
        /// The folder.
        path: PathBuf,
    },
}

impl StoreError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Lock(error) => error.hint(),
            Self::Disk(error) => error.hint(),
            Self::Operation(error) => error.hint(),
            Self::NotOurs { .. } => {
                Some("name an empty folder, or one that is not there yet, with --home".to_owned())
            }
        }
    }
}

/// Removes what an interrupted run left under a reserved name. A folder that is not there has
/// no litter.
fn sweep(folder: &Path) -> Result<(), DiskError> {
    let Some(litter) = read::absent_is_none(replace::litter(folder))? else { return Ok(()) };
    for path in litter {
        if replace::is_buried(&path) {
            // What cannot go is in nobody's way.
            let _stays = replace::remove_tree(&path);
        } else if path.symlink_metadata().is_ok_and(|facts| facts.is_dir()) {
            // A restore that was killed right after its exchange leaves the replaced home so; and
            // a drill holds no lock but its own, and may be at work in there.
            if !home::may_be_one(&path) && !sign_in::is_scratch(&path) {
                drill::remove_unless_in_use(&path)?;
            }
        } else {
            replace::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Whether a folder named `backups` is one of ours or of the older tool's.
fn holds_snapshots(backups: &Path) -> bool {
    let is_snapshot = |name: &String| {
        [ARCHIVE, SIDECAR]
            .iter()
            .any(|end| name.strip_suffix(end).is_some_and(|base| base.ends_with("-codex")))
    };
    list(backups).is_ok_and(|names| names.iter().any(is_snapshot))
        || legacy::find(backups).is_ok_and(|older| !older.archives.is_empty())
}

/// The UTF-8 names in a folder; others are not ours.
fn list(folder: &Path) -> Result<BTreeSet<String>, DiskError> {
    let names = read::names(folder)?;
    Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    #[rustfmt::skip]
    fn a_folder_is_a_manager_home_by_what_is_in_it() {
        check(&[],                                                       true);
        check(&["config.toml"],                                          true);
        check(&["config.toml", "tmp/", ".DS_Store"],                     true);
        check(&["backups/"],                                             true);
        check(&["ledger.jsonl", "letter.txt"],                           true);
        check(&["cooldown.json", "letter.txt"],                          true);
        check(&["inventory.json", "letter.txt"],                         true);
        check(&["rollouts.cache", "letter.txt"],                         true);
        check(&["letter.txt"],                                           false);
        check(&["config.toml", "auth.json"],                             false); // another Codex home
        check(&["config.json", "src/"],                                  false);
        check(&["backups/", "letter.txt"],                               false);
        check(&["backups/photos.tar.gz", "letter.txt"],                  false);
        check(&["backups/2026-04-14-155500-ada@example.com-codex.tar.gz", "letter.txt"], true);
        check(&["backups/auth/ada@example.com/latest.tar.gz", "letter.txt"], true);
    }

    #[track_caller]
    fn check(entries: &[&str], expected: bool) {
        let folder = tempfile::tempdir().unwrap();
        for entry in entries {
            let path = folder.path().join(entry);
            if entry.ends_with('/') {
                fs::create_dir_all(path).unwrap();
            } else {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, "").unwrap();
            }
        }
        let before = read::names(folder.path()).unwrap().len();
        let opened = Store::at(folder.path().to_owned()).open(Duration::ZERO, "test");
        assert_eq!(opened.is_ok(), expected, "{entries:?}");
        if let Err(error) = opened {
            assert!(matches!(error, StoreError::NotOurs { .. }), "{error}");
            assert_eq!(read::names(folder.path()).unwrap().len(), before);
        }
    }
}
