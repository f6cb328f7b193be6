//! When does a finished archive get its name, and what becomes of the one that had it?
//!
//! A new name: the sidecar first, the archive last, which is what makes it a snapshot. A name
//! that is taken: the old pair gets second names in `trash/`, the old sidecar goes, the new
//! archive takes the old one's place in one step, and its sidecar follows. At every moment the
//! name has one whole archive; between the two steps in the middle and at the end the copy of
//! the metadata inside it speaks for it.

use std::io::Write as _;
use std::path::PathBuf;

use super::BackupError;
use crate::disk::replace::{self, NewFile, Overwrite};
use crate::disk::{DiskError, Result};
use crate::snapshot::metadata::Metadata;
use crate::snapshot::name::SnapshotName;
use crate::snapshot::store::Store;

/// Gives the archive and its sidecar a name that nothing has.
///
/// # Errors
///
/// When the disk refuses; neither has a name then.
pub(super) fn publish(
    store: &Store,
    name: &SnapshotName,
    archive: NewFile,
    metadata: &Metadata,
) -> std::result::Result<(), BackupError> {
    let sidecar = store.sidecar(name);
    replace::write_new(&sidecar, &metadata.to_bytes())?;
    if let Err(error) = archive.commit(&store.archive(name), Overwrite::Never) {
        replace::remove_file(&sidecar)?;
        return Err(error.into());
    }
    Ok(())
}

/// Lets the archive and its sidecar take the place of the snapshot of that name, which goes to
/// `trash/`.
///
/// # Errors
///
/// When the disk refuses; the old one has its name then, whole.
pub(super) fn replace_old(
    store: &Store,
    name: &SnapshotName,
    archive: NewFile,
    metadata: &Metadata,
) -> std::result::Result<(), BackupError> {
    let new = Incoming::prepare(store, name, archive, metadata)?;
    let old = Kept::keep(store, name)?;
    let done = old.uncover().and_then(|()| new.take_place());
    if let Err(error) = done {
        old.put_back()?;
        return Err(error.into());
    }
    Ok(())
}

/// A snapshot that is written and synced, but for its names.
struct Incoming {
    archive: (NewFile, PathBuf),
    sidecar: (NewFile, PathBuf),
}

impl Incoming {
    fn prepare(
        store: &Store,
        name: &SnapshotName,
        archive: NewFile,
        metadata: &Metadata,
    ) -> Result<Self> {
        let path = store.sidecar(name);
        let mut sidecar = NewFile::create_in(&store.backups())?;
        let written = sidecar.write_all(&metadata.to_bytes());
        written.map_err(|source| DiskError { action: "write", path: path.clone(), source })?;
        Ok(Self { archive: (archive, store.archive(name)), sidecar: (sidecar, path) })
    }

    fn take_place(self) -> Result<()> {
        let Self { archive: (archive, to), sidecar: (sidecar, beside) } = self;
        archive.commit(&to, Overwrite::Replace)?;
        sidecar.commit(&beside, Overwrite::Replace)
    }
}

/// The old snapshot under its second names: each with its first one.
struct Kept {
    archive: (PathBuf, PathBuf),
    sidecar: Option<(PathBuf, PathBuf)>,
}

impl Kept {
    /// Gives the old pair further names in `trash/`; the old ones stay.
    fn keep(store: &Store, name: &SnapshotName) -> Result<Self> {
        let is_taken = |file: String| store.trash().join(file).symlink_metadata().is_ok();
        let mut resting = name.clone();
        while is_taken(resting.archive()) || is_taken(resting.sidecar()) {
            resting = resting.next();
        }
        let archive = (store.trash().join(resting.archive()), store.archive(name));
        replace::keep_as(&archive.1, &archive.0)?;
        let sidecar = (store.trash().join(resting.sidecar()), store.sidecar(name));
        let has_sidecar = sidecar.1.symlink_metadata().is_ok();
        if has_sidecar && let Err(error) = replace::keep_as(&sidecar.1, &sidecar.0) {
            replace::remove_file(&archive.0)?;
            return Err(error);
        }
        Ok(Self { archive, sidecar: has_sidecar.then_some(sidecar) })
    }

    /// Takes the old sidecar away, so that no archive ever stands beside another one's.
    fn uncover(&self) -> Result<()> {
        match &self.sidecar {
            Some((_, sidecar)) => replace::remove_file(sidecar).map(drop),
            None => Ok(()),
        }
    }

    /// Gives the old pair its first names back and takes the second ones away.
    fn put_back(&self) -> Result<()> {
        for (kept, first) in std::iter::once(&self.archive).chain(&self.sidecar) {
            // Two names of one file are left alone by a rename.
            replace::rename_over(kept, first)?;
            replace::remove_file(kept)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Bench;
    use super::*;
    use crate::snapshot::metadata::Kind;
    use crate::snapshot::store::OddKind;

    /// Writes a new archive under a reserved name, as `apply` does before it calls this file.
    fn new_pair(bench: &Bench) -> (NewFile, Metadata) {
        let made = bench.backup(Kind::Full);
        let mut archive = NewFile::create_in(&bench.store.backups()).unwrap();
        archive.write_all(&std::fs::read(&made.archive).unwrap()).unwrap();
        std::fs::remove_file(&made.archive).unwrap();
        std::fs::remove_file(&made.sidecar).unwrap();
        (archive, made.metadata)
    }

    #[test]
    fn stopped_after_any_step_the_name_has_one_whole_snapshot() {
        for steps in 0..=4 {
            let bench = Bench::new();
            let old = bench.backup(Kind::Full);
            bench.file("later.txt", "more");
            let (archive, metadata) = new_pair(&bench);
            let was = metadata.archive.clone().unwrap().toc_digest;

            let new = Incoming::prepare(&bench.store, &old.name, archive, &metadata).unwrap();
            let Incoming { archive: (archive, to), sidecar: (sidecar, beside) } = new;
            let mut expected = old.metadata.archive.clone().unwrap().toc_digest;
            if 1 <= steps {
                let kept = Kept::keep(&bench.store, &old.name).unwrap();
                if 2 <= steps {
                    kept.uncover().unwrap();
                }
            }
            if 3 <= steps {
                archive.commit(&to, Overwrite::Replace).unwrap();
                expected = was;
            }
            if 4 <= steps {
                sidecar.commit(&beside, Overwrite::Replace).unwrap();
            }

            let name = old.name.to_string();
            bench.open();
            let scan = bench.scan();
            let titles: Vec<&str> = scan.snapshots.iter().map(|it| it.title.as_str()).collect();
            assert_eq!(titles, [name.as_str()], "after step {steps}");
            let odd: Vec<OddKind> = scan.problems.iter().map(|odd| odd.kind).collect();
            let lacks = matches!(steps, 2 | 3);
            assert_eq!(odd, if lacks { vec![OddKind::NoSidecar] } else { Vec::new() }, "{steps}");
            assert_eq!(bench.digest(&old.archive), expected, "after step {steps}");
            assert_eq!(bench.verdict(&scan.snapshots[0]), Vec::<String>::new(), "{steps}");
            let trash = std::fs::read_dir(bench.store.trash()).unwrap().count();
            assert_eq!(trash, if steps == 0 { 0 } else { 2 }, "after step {steps}");
        }
    }

    #[test]
    fn what_fails_half_way_is_put_back() {
        for has_sidecar in [true, false] {
            let bench = Bench::new();
            let old = bench.backup(Kind::Full);
            if !has_sidecar {
                std::fs::remove_file(&old.sidecar).unwrap();
            }
            let bytes = std::fs::read(&old.archive).unwrap();
            let kept = Kept::keep(&bench.store, &old.name).unwrap();
            kept.uncover().unwrap();
            replace::write(&old.archive, b"another").unwrap();
            kept.put_back().unwrap();
            assert_eq!(std::fs::read(&old.archive).unwrap(), bytes);
            assert_eq!(old.sidecar.exists(), has_sidecar);
            assert_eq!(std::fs::read_dir(bench.store.trash()).unwrap().count(), 0);
        }
    }
}
