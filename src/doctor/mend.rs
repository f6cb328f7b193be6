//! What of it can be mended without asking anybody?
//!
//! Only what nobody would miss: rights of others, sidecars that an archive can tell again, and
//! what an interrupted run left. [`survey`] looks. Opening the store for changes mends the last
//! kind by itself; [`apply`] mends the others and tells what became of all of them.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use serde::Serialize;

use super::modes::{self, SECRET_FILES};
use crate::codex::home::{self, CodexHome};
use crate::disk::archive::{Archive, ArchiveError, Limits, Node};
use crate::disk::tree::{self, Kind};
use crate::disk::{read, replace};
use crate::snapshot::metadata::{ArchiveFacts, Metadata};
use crate::snapshot::name::{ARCHIVE, SIDECAR};
use crate::snapshot::store::{self, Origin, Store};
use crate::time::Zone;

/// Something that can be mended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fault {
    /// Others than its owner have rights on it.
    Open {
        /// The file or folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A sidecar is missing beside an archive of ours.
    NoSidecar {
        /// The sidecar.
        path: PathBuf,
        /// The archive.
        archive: PathBuf,
    },
    /// A run was interrupted in the middle of something that can be finished or taken back.
    Unfinished {
        /// The journal that tells.
        path: PathBuf,
    },
    /// An interrupted run left it under a reserved name.
    Leftover {
        /// The file or folder.
        path: PathBuf,
    },
    /// It does not end in a whole line.
    Torn {
        /// The file of lines.
        path: PathBuf,
    },
}

impl Fault {
    /// What is faulty; of a missing sidecar, the sidecar.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Open { path, .. }
            | Self::NoSidecar { path, .. }
            | Self::Unfinished { path }
            | Self::Leftover { path }
            | Self::Torn { path } => path,
        }
    }

    /// What will become of it.
    #[must_use]
    pub fn announced(&self) -> Mend {
        let what = match self {
            Self::Open { mode, .. } => {
                format!("is open to others (mode {mode:04o}) and becomes {:04o}", mode & 0o7700)
            }
            Self::NoSidecar { .. } => "is missing and is written from the archive".to_owned(),
            Self::Unfinished { .. } => "tells of an interrupted run, which is finished".to_owned(),
            Self::Leftover { .. } => "was left by an interrupted run and goes".to_owned(),
            Self::Torn { .. } => "ends in the middle of a line, which is mended".to_owned(),
        };
        self.told(what)
    }

    fn mended(&self) -> Mend {
        let what = match self {
            Self::Open { mode, .. } => {
                format!("was open to others (mode {mode:04o}), is {:04o} now", mode & 0o7700)
            }
            Self::NoSidecar { .. } => "was missing, was written from the archive".to_owned(),
            Self::Unfinished { .. } => "told of an interrupted run, which is finished".to_owned(),
            Self::Leftover { .. } => "was left by an interrupted run, is gone".to_owned(),
            Self::Torn { .. } => {
                "ended in the middle of a line, ends in a whole one now".to_owned()
            }
        };
        self.told(what)
    }

    fn told(&self, what: String) -> Mend {
        Mend { path: self.path().to_owned(), what }
    }
}

/// What became, or would become, of something that was not as it should be.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Mend {
    /// What it was about.
    pub path: PathBuf,
    /// What was done, in words that follow the path; of what was left, why.
    pub what: String,
}

/// All that mending came to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Mended {
    /// What is as it should be now.
    pub fixed: Vec<Mend>,
    /// What is not, and why.
    pub left: Vec<Mend>,
    /// From how many files and folders the rights of others were taken.
    pub narrowed: u64,
    /// How many sidecars were written.
    pub sidecars: u64,
}

/// Looks for everything that [`apply`] and opening the store can mend, and changes nothing.
///
/// What cannot be listed is not in the answer: `examine` tells of it.
#[must_use]
pub fn survey(store: &Store, home: &CodexHome, zone: &Zone) -> Vec<Fault> {
    let mut faults = rights(store, home);
    faults.extend(sidecars(store, zone));
    let journal = store.journal();
    if journal.symlink_metadata().is_ok() {
        faults.push(Fault::Unfinished { path: journal });
    }
    faults.extend(leftovers(store).into_iter().map(|path| Fault::Leftover { path }));
    for path in [store.ledger(), store.operations()] {
        if read::open_lines(&path).is_ok_and(|lines| 0 < lines.torn) {
            faults.push(Fault::Torn { path });
        }
    }
    faults
}

/// Mends `now`, what was found after the store was opened for changes; what else is in `before`,
/// found until then, is mended already. The caller holds the lock.
///
/// A file of another user is left as it is, and so is whatever the disk refuses to change: the
/// answer tells why. Archives are read in full before a sidecar is written for them; `stop` ends
/// that.
#[must_use]
pub fn apply(before: &[Fault], now: &[Fault], stop: &AtomicBool) -> Mended {
    apply_as(modes::own_user(), before, now, stop)
}

fn apply_as(own: Option<u32>, before: &[Fault], now: &[Fault], stop: &AtomicBool) -> Mended {
    let mut mended = Mended::default();
    for fault in before.iter().filter(|fault| !now.contains(fault)) {
        mended.narrowed += u64::from(matches!(fault, Fault::Open { .. }));
        mended.fixed.push(fault.mended());
    }
    for fault in now {
        let done = match fault {
            Fault::Open { path, .. } => narrow(path, own),
            Fault::NoSidecar { path, archive } => write_sidecar(archive, path, stop),
            Fault::Unfinished { .. } => {
                Err("could not be finished; a warning tells why".to_owned())
            }
            Fault::Leftover { .. } => Err("is in use, or could not be removed".to_owned()),
            Fault::Torn { .. } => Err("still ends in the middle of a line".to_owned()),
        };
        match done {
            Ok(()) => {
                mended.sidecars += u64::from(matches!(fault, Fault::NoSidecar { .. }));
                mended.narrowed += u64::from(matches!(fault, Fault::Open { .. }));
                mended.fixed.push(fault.mended());
            }
            Err(why) => mended.left.push(fault.told(why)),
        }
    }
    mended
}

/// What in the manager home, and which of the secrets in the Codex home, others have rights on.
/// Links are left alone, and so are homes kept for `undo`: those have the modes Codex gave them,
/// in folders of the owner's alone.
fn rights(store: &Store, home: &CodexHome) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut look = |path: PathBuf| {
        let Ok(facts) = path.symlink_metadata() else { return };
        if !(facts.is_file() || facts.is_dir()) {
            return;
        }
        if let Some(mode) = modes::open_to_others(&facts) {
            faults.push(Fault::Open { path, mode });
        }
    };
    look(store.root().to_owned());
    for path in below(store) {
        look(path);
    }
    for name in SECRET_FILES {
        look(home.root().join(name));
    }
    faults
}

/// All files and folders in the manager home that are ours to look at, folders first.
fn below(store: &Store) -> Vec<PathBuf> {
    let walk = tree::walk(store.root(), &mut |node| modes::visit(store, node));
    let nodes = walk.map(|walk| walk.nodes).unwrap_or_default();
    let ours = nodes.into_iter().filter(|node| matches!(node.kind, Kind::Dir | Kind::File));
    ours.map(|node| store.root().join(node.path)).collect()
}

fn sidecars(store: &Store, zone: &Zone) -> Vec<Fault> {
    let snapshots = store.scan(zone).map(|scan| scan.snapshots).unwrap_or_default();
    let alone =
        snapshots.into_iter().filter(|it| it.origin == Origin::Ours && it.sidecar.is_none());
    alone
        .filter_map(|stored| {
            let name = stored.archive.file_name()?.to_str()?.strip_suffix(ARCHIVE)?;
            let path = stored.archive.with_file_name(format!("{name}{SIDECAR}"));
            // A damaged one is a person's to look at: it may say more than the archive does.
            let is_missing = path.symlink_metadata().is_err();
            is_missing.then_some(Fault::NoSidecar { path, archive: stored.archive })
        })
        .collect()
}

/// What opening the store sweeps away.
pub(super) fn leftovers(store: &Store) -> Vec<PathBuf> {
    let folders = [store.root().to_owned(), store.backups(), store.tmp(), store.trash()];
    let found = folders.iter().flat_map(|folder| replace::litter(folder).unwrap_or_default());
    found.filter(|path| !home::may_be_one(path)).collect()
}

fn narrow(path: &Path, own: Option<u32>) -> Result<(), String> {
    let facts = path.symlink_metadata().map_err(|error| error.to_string())?;
    if let (Some(owner), Some(own)) = (modes::owner(&facts), own)
        && owner != own
    {
        return Err(format!("belongs to another user (number {owner})"));
    }
    replace::narrow(path).map(drop).map_err(|error| error.to_string())
}

/// Writes what an archive says of itself beside it, once all of it was found to be sound.
fn write_sidecar(archive: &Path, sidecar: &Path, stop: &AtomicBool) -> Result<(), String> {
    let metadata = retold(archive, stop)?;
    replace::write_new(sidecar, &metadata.to_bytes()).map_err(|error| error.to_string())
}

fn retold(path: &Path, stop: &AtomicBool) -> Result<Metadata, String> {
    let words = |error: ArchiveError| error.to_string();
    let archive = Archive::open(path, &Limits::default()).map_err(words)?;
    let problems = archive.verify(&mut |_| (), stop).map_err(words)?;
    if let Some(problem) = problems.first() {
        return Err(format!("cannot be written: in the archive {problem}"));
    }
    let name = path.file_name().and_then(|name| name.to_str());
    let (Some(name), Some(digest)) = (name, archive.toc_digest()) else {
        return Err("cannot be written: the archive is none of ours".to_owned());
    };
    let files = archive.entries().map_err(words)?;
    let files = files.iter().filter(|entry| matches!(entry.node, Node::File { .. })).count();
    let facts = ArchiveFacts {
        name: name.to_owned(),
        bytes: archive.bytes(),
        toc_digest: digest.to_owned(),
        files: u64::try_from(files).unwrap_or(u64::MAX),
        content_bytes: archive.content_bytes().map_err(words)?,
        compressor: None,
        login: store::login_member(&archive),
    };
    Ok(Metadata { archive: Some(facts), ..store::told_in(&archive)? })
}

// Modes and owners as other systems do not have them.
#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn lab() -> (tempfile::TempDir, Store, CodexHome) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let (store, home) = (Store::at(root.join("manager")), CodexHome::at(root.join("codex")));
        fs::create_dir(home.root()).unwrap();
        drop(store.open(std::time::Duration::ZERO, "test").unwrap());
        (folder, store, home)
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_file_of_another_user_is_told_of_and_left() {
        let (_folder, store, home) = lab();
        let files = [store.ledger(), home.auth()];
        for file in &files {
            fs::write(file, "").unwrap();
            fs::set_permissions(file, PermissionsExt::from_mode(0o644)).unwrap();
        }
        let now = survey(&store, &home, &Zone::UTC);
        let paths: Vec<&Path> = now.iter().map(Fault::path).collect();
        assert_eq!(paths, files);
        let own = modes::own_user().unwrap();
        let mended = apply_as(Some(own + 1), &now, &now, &AtomicBool::new(false));
        assert_eq!(mended.fixed, []);
        let why = format!("belongs to another user (number {own})");
        assert!(mended.left.iter().all(|left| left.what == why), "{:?}", mended.left);
        assert!(files.iter().all(|file| mode(file) == 0o644));
        let mended = apply_as(Some(own), &now, &now, &AtomicBool::new(false));
        assert_eq!((mended.fixed.len(), mended.left.len()), (2, 0));
        assert!(files.iter().all(|file| mode(file) == 0o600));
    }

    #[test]
    fn what_opening_the_store_could_not_mend_is_told_as_left() {
        let (_folder, store, home) = lab();
        let faults = |names: &[PathBuf]| -> Vec<Fault> {
            names.iter().map(|path| Fault::Leftover { path: path.clone() }).collect()
        };
        let (gone, stays) = (store.tmp().join("a"), store.tmp().join("b"));
        let before = faults(&[gone.clone(), stays.clone()]);
        let mended = apply(&before, &faults(std::slice::from_ref(&stays)), &AtomicBool::new(false));
        let said = |path: &Path, what: &str| vec![Mend { path: path.into(), what: what.into() }];
        assert_eq!(mended.fixed, said(&gone, "was left by an interrupted run, is gone"));
        assert_eq!(mended.left, said(&stays, "is in use, or could not be removed"));

        fs::write(store.journal(), "no journal").unwrap();
        fs::set_permissions(store.journal(), PermissionsExt::from_mode(0o600)).unwrap();
        let journal = [Fault::Unfinished { path: store.journal() }];
        assert_eq!(survey(&store, &home, &Zone::UTC), journal);
        let mended = apply(&journal, &journal, &AtomicBool::new(false));
        let why = "could not be finished; a warning tells why";
        assert_eq!(mended.left, said(&store.journal(), why));
    }
}
