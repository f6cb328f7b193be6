//! When does a finished archive get its name, and what becomes of the one that had it?
//!
//! A new name: the sidecar first, the archive last, which is what makes it a snapshot. A name
//! that is taken: the old pair gets second names in `trash/`, the old sidecar goes, the new
//! archive takes the old one's place in one step, and its sidecar follows. At every moment the
//! name has one whole archive; between the two steps in the middle and at the end the copy of
//! the metadata inside it speaks for it.

use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;

use super::BackupError;
use crate::disk::replace::{self, NewFile, Overwrite};
use crate::disk::{DiskError, Result};
use crate::snapshot::metadata::Metadata;
use crate::snapshot::name::SnapshotName;
use crate::snapshot::store::Store;

/// What is called after each step; an error stops the work there. Only tests give one.
type AfterStep<'a> = &'a mut dyn FnMut() -> Result<()>;

/// Gives the archive and its sidecar a name that nothing has.
///
/// # Errors
///
/// When the disk refuses; neither has a name then. [`BackupError::Unconfirmed`] if both have
/// theirs and only the last step failed, to have the folder synced.
pub(super) fn publish(
    store: &Store,
    name: &SnapshotName,
    archive: NewFile,
    metadata: &Metadata,
) -> std::result::Result<(), BackupError> {
    publish_in_steps(store, name, archive, metadata, &mut || Ok(()))
}

fn publish_in_steps(
    store: &Store,
    name: &SnapshotName,
    archive: NewFile,
    metadata: &Metadata,
    after_step: AfterStep<'_>,
) -> std::result::Result<(), BackupError> {
    let (path, sidecar) = (store.archive(name), store.sidecar(name));
    let written = replace::write_new(&sidecar, &metadata.to_bytes());
    // What was there before is not ours to remove.
    if written.as_ref().is_err_and(|error| error.kind() == ErrorKind::AlreadyExists) {
        return Ok(written?);
    }
    let done = written
        .and_then(|()| after_step())
        .and_then(|()| archive.commit(&path, Overwrite::Never))
        .and_then(|()| after_step());
    let Err(source) = done else { return Ok(()) };
    let bytes = metadata.archive.as_ref().map(|facts| facts.bytes);
    let has_its_name = source.kind() != ErrorKind::AlreadyExists
        && path.symlink_metadata().is_ok_and(|facts| Some(facts.len()) == bytes);
    if has_its_name {
        return Err(BackupError::Unconfirmed { name: name.to_string(), source });
    }
    replace::remove_file(&sidecar)?;
    Err(source.into())
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
    replace_in_steps(store, name, archive, metadata, &mut || Ok(()))
}

fn replace_in_steps(
    store: &Store,
    name: &SnapshotName,
    archive: NewFile,
    metadata: &Metadata,
    after_step: AfterStep<'_>,
) -> std::result::Result<(), BackupError> {
    let new = Incoming::prepare(store, name, archive, metadata)?;
    after_step()?;
    let old = Kept::keep(store, name)?;
    if let Err(error) = exchange(&old, new, after_step) {
        old.put_back()?;
        return Err(error.into());
    }
    Ok(())
}

fn exchange(old: &Kept, new: Incoming, after_step: AfterStep<'_>) -> Result<()> {
    after_step()?;
    old.uncover()?;
    after_step()?;
    new.take_place(after_step)
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

    fn take_place(self, after_step: AfterStep<'_>) -> Result<()> {
        let Self { archive: (archive, to), sidecar: (sidecar, beside) } = self;
        archive.commit(&to, Overwrite::Replace)?;
        after_step()?;
        sidecar.commit(&beside, Overwrite::Replace)?;
        after_step()
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
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

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

    /// How a run ends that is killed after so many steps: nothing is tidied up.
    fn killed(after: usize, work: impl FnOnce(AfterStep<'_>)) {
        let mut done = 0;
        let ended = catch_unwind(AssertUnwindSafe(|| {
            work(&mut || {
                done += 1;
                if done == after { resume_unwind(Box::new("killed")) } else { Ok(()) }
            });
        }));
        assert!(ended.is_err(), "there are fewer than {after} steps");
    }

    fn refused() -> DiskError {
        DiskError { action: "sync", path: "x".into(), source: std::io::Error::other("made up") }
    }

    /// An error in the place of a step's end.
    fn failing(at: usize) -> impl FnMut() -> Result<()> {
        let mut done = 0;
        move || {
            done += 1;
            if done == at { Err(refused()) } else { Ok(()) }
        }
    }

    #[test]
    fn stopped_after_any_step_the_name_has_one_whole_snapshot() {
        let steps = ["written", "kept", "uncovered", "archive", "sidecar"];
        for (number, step) in (1..).zip(steps) {
            let bench = Bench::new();
            let old = bench.backup(Kind::Full);
            bench.file("later.txt", "more");
            let (archive, metadata) = new_pair(&bench);
            let new = metadata.archive.clone().unwrap().toc_digest;
            let was = old.metadata.archive.clone().unwrap().toc_digest;
            assert_ne!(new, was);
            killed(number, |after_step| {
                replace_in_steps(&bench.store, &old.name, archive, &metadata, after_step).unwrap();
            });

            let name = old.name.to_string();
            bench.open();
            let scan = bench.scan();
            let titles: Vec<&str> = scan.snapshots.iter().map(|it| it.title.as_str()).collect();
            assert_eq!(titles, [name.as_str()], "after {step}");
            let odd: Vec<OddKind> = scan.problems.iter().map(|odd| odd.kind).collect();
            let lacks = matches!(step, "uncovered" | "archive");
            assert_eq!(odd, if lacks { vec![OddKind::NoSidecar] } else { Vec::new() }, "{step}");
            let is_new = matches!(step, "archive" | "sidecar");
            assert_eq!(bench.digest(&old.archive), if is_new { new } else { was }, "{step}");
            assert_eq!(bench.verdict(&scan.snapshots[0]), Vec::<String>::new(), "{step}");
            let trash = std::fs::read_dir(bench.store.trash()).unwrap().count();
            assert_eq!(trash, if step == "written" { 0 } else { 2 }, "after {step}");
        }
    }

    #[test]
    fn whichever_step_fails_the_old_snapshot_is_back() {
        for number in 1..=5 {
            let bench = Bench::new();
            let old = bench.backup(Kind::Full);
            let before = [&old.archive, &old.sidecar].map(|path| std::fs::read(path).unwrap());
            bench.file("later.txt", "more");
            let (archive, metadata) = new_pair(&bench);
            let (store, name) = (&bench.store, &old.name);
            let done = replace_in_steps(store, name, archive, &metadata, &mut failing(number));
            assert!(done.is_err(), "{number}");
            let after = [&old.archive, &old.sidecar].map(|path| std::fs::read(path).unwrap());
            assert!(after == before, "step {number}");
            assert_eq!(std::fs::read_dir(bench.store.trash()).unwrap().count(), 0, "{number}");
        }
    }

    #[test]
    fn an_archive_that_has_its_name_keeps_its_sidecar_whatever_fails_then() {
        for (number, is_there) in [(1, false), (2, true)] {
            let bench = Bench::new();
            let (archive, metadata) = new_pair(&bench);
            let name = metadata.archive.as_ref().unwrap().name.strip_suffix(".tar.gz").unwrap();
            let name: SnapshotName = name.parse().unwrap();
            let step = &mut failing(number);
            let error = publish_in_steps(&bench.store, &name, archive, &metadata, step);
            let error = error.unwrap_err();
            let is_told = matches!(error, BackupError::Unconfirmed { .. });
            assert_eq!(is_told, is_there, "{error}");
            assert_eq!(bench.store.archive(&name).exists(), is_there);
            assert_eq!(bench.store.sidecar(&name).exists(), is_there);
            assert_eq!(error.to_string().contains(&name.to_string()), is_there, "{error}");
            assert_eq!(bench.scan().snapshots.len(), usize::from(is_there));
        }
    }

    #[test]
    fn a_sidecar_that_was_there_before_is_not_ours_to_remove() {
        let bench = Bench::new();
        let (archive, metadata) = new_pair(&bench);
        let name: SnapshotName = "2026-11-21-100000-ada@example.com-codex".parse().unwrap();
        std::fs::write(bench.store.sidecar(&name), "theirs").unwrap();
        publish(&bench.store, &name, archive, &metadata).unwrap_err();
        assert_eq!(std::fs::read(bench.store.sidecar(&name)).unwrap(), b"theirs");
        assert!(!bench.store.archive(&name).exists());
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
