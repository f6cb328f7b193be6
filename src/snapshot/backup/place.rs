//! Which steps give a finished archive its name, and what becomes of the one that had it?
//!
//! A new name: the sidecar first, the archive last, which is what makes it a snapshot. A name
//! that is taken: the old sidecar goes to `trash/`, the new archive takes the old one's place in
//! one instant, which gets a name there, and the new sidecar follows. At every moment the name has
//! one whole archive, and never beside another one's sidecar: where there is none, the copy of the
//! metadata inside the archive speaks for it.

use std::io::Write as _;

use crate::disk::replace::{self, NewFile};
use crate::disk::{DiskError, Result};
use crate::snapshot::metadata::Metadata;
use crate::snapshot::name::SnapshotName;
use crate::snapshot::operations::{Change, Pair, SnapshotChange, Step};
use crate::snapshot::store::Store;

/// A snapshot that is written and synced, but for its names, and the steps that give it them.
#[derive(Debug)]
pub(super) struct Placing {
    pub(super) steps: Vec<Step>,
    pub(super) changes: Vec<Change>,
}

/// Writes the sidecar and decides how the pair gets the name; with `replaces`, from a snapshot
/// that has it.
///
/// # Errors
///
/// When the disk refuses; what was written is gone then.
pub(super) fn prepare(
    store: &Store,
    name: &SnapshotName,
    archive: NewFile,
    metadata: &Metadata,
    replaces: bool,
) -> Result<Placing> {
    let path = store.sidecar(name);
    let mut sidecar = NewFile::create_in(&store.backups())?;
    let written = sidecar.write_all(&metadata.to_bytes());
    written.map_err(|source| DiskError { action: "write", path, source })?;
    let sidecar = sidecar.keep()?;
    let archive = match archive.keep() {
        Ok(archive) => store.relative(&archive),
        Err(error) => {
            // What stays, the next command removes.
            let _litter = replace::remove_file(&sidecar);
            return Err(error);
        }
    };
    let sidecar = store.relative(&sidecar);
    let pair = store.pair(name);
    let mut steps = Vec::new();
    let mut changes = Vec::new();
    let digest = |said: &Metadata| said.archive.as_ref().map(|facts| facts.toc_digest.clone());
    if replaces {
        let mut resting = store.resting(name);
        resting.sidecar = resting.sidecar.filter(|_| pair.sidecar.is_some());
        let old = SnapshotChange {
            title: name.to_string(),
            toc_digest: store.told(name).as_ref().and_then(digest),
            from: Some(pair.clone()),
            to: resting,
        };
        let Pair { archive: keep, sidecar: kept } = old.to.clone();
        steps.extend(pair.sidecar.clone().zip(kept).map(|(from, to)| Step::Move { from, to }));
        steps.push(Step::Replace { path: pair.archive.clone(), with: archive, keep });
        changes.push(Change::Snapshot(old));
    } else {
        let to = pair.archive.clone();
        steps.push(Step::Move { from: archive, to });
    }
    let to = store.relative(&store.sidecar(name));
    let follows = Step::Move { from: sidecar, to: to.clone() };
    let at = if replaces { steps.len() } else { 0 };
    steps.insert(at, follows);
    changes.push(Change::Snapshot(SnapshotChange {
        title: name.to_string(),
        toc_digest: digest(metadata),
        from: None,
        to: Pair { archive: pair.archive, sidecar: Some(to) },
    }));
    Ok(Placing { steps, changes })
}

#[cfg(test)]
mod tests {
    use super::super::tests::Bench;
    use super::*;
    use crate::snapshot::metadata::Kind;
    use crate::snapshot::operations::Transaction;
    use crate::snapshot::store::OddKind;

    /// Writes a new archive under a reserved name, as `prepare` gets it.
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
        for done in 0..=3 {
            let bench = Bench::new();
            let old = bench.backup(Kind::Full);
            bench.file("later.txt", "more");
            let (archive, metadata) = new_pair(&bench);
            let new = metadata.archive.clone().unwrap().toc_digest;
            let was = old.metadata.archive.clone().unwrap().toc_digest;
            assert_ne!(new, was);
            let placing = prepare(&bench.store, &old.name, archive, &metadata, true).unwrap();
            assert_eq!(placing.steps.len(), 3);
            for step in &placing.steps[..done] {
                step.forward(bench.store.root()).unwrap();
            }

            let scan = bench.scan();
            let titles: Vec<&str> = scan.snapshots.iter().map(|it| it.title.as_str()).collect();
            assert_eq!(titles, [old.name.to_string()], "after {done}");
            let odd: Vec<OddKind> = scan.problems.iter().map(|odd| odd.kind).collect();
            let lacks = matches!(done, 1 | 2);
            assert_eq!(odd, if lacks { vec![OddKind::NoSidecar] } else { Vec::new() }, "{done}");
            assert_eq!(bench.digest(&old.archive), if done < 2 { was } else { new }, "{done}");
            assert_eq!(bench.verdict(&scan.snapshots[0]), Vec::<String>::new(), "{done}");
        }
    }

    #[test]
    fn a_name_that_somebody_else_took_meanwhile_stays_theirs() {
        let bench = Bench::new();
        let (archive, metadata) = new_pair(&bench);
        let name: SnapshotName = "2026-11-21-100000-ada@example.com-codex".parse().unwrap();
        let placing = prepare(&bench.store, &name, archive, &metadata, false).unwrap();
        std::fs::write(bench.store.archive(&name), "theirs").unwrap();
        let opened = bench.open();
        let transaction = Transaction { steps: placing.steps, ..Transaction::default() };
        transaction.run(&bench.store, &opened.lock).unwrap_err();
        assert_eq!(std::fs::read(bench.store.archive(&name)).unwrap(), b"theirs");
        assert!(!bench.store.sidecar(&name).exists());
        assert_eq!(std::fs::read_dir(bench.store.backups()).unwrap().count(), 1);
    }
}
