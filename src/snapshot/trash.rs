//! How does a snapshot go to the trash?
//!
//! It moves, under its own name if that is free there, so that `undo` can move it back. What has
//! been there for long enough is `prune`'s question.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::snapshot::name::{ARCHIVE, SnapshotName, Who};
use crate::snapshot::operations::{Change, Pair, SnapshotChange, Step};
use crate::snapshot::store::{Store, Stored};
use crate::time::{Stamp, Zone};

/// The steps that move snapshots to `trash/`, and what that changes.
///
/// One of the older tool may lie in folders of its own; in the trash it gets a name like ours.
#[must_use]
pub fn put_away<'a>(
    going: impl IntoIterator<Item = &'a Stored>,
    store: &Store,
    zone: &Zone,
) -> (Vec<Step>, Vec<Change>) {
    let (mut steps, mut changes, mut taken) = (Vec::new(), Vec::new(), BTreeSet::new());
    for stored in going {
        let own = name_of(&stored.archive, store);
        let from = match &own {
            Some(name) => store.pair(name),
            None => Pair {
                archive: store.relative(&stored.archive),
                sidecar: stored.sidecar.as_deref().map(|path| store.relative(path)),
            },
        };
        let to = resting(own.unwrap_or_else(|| made_up(stored, zone)), store, &mut taken);
        let to = Pair { sidecar: to.sidecar.filter(|_| from.sidecar.is_some()), ..to };
        // The mirror image of a backup: without its archive a sidecar is no snapshot.
        steps.push(Step::Move { from: from.archive.clone(), to: to.archive.clone() });
        let companion = from.sidecar.clone().zip(to.sidecar.clone());
        steps.extend(companion.map(|(from, to)| Step::Move { from, to }));
        let facts = stored.metadata.archive.as_ref();
        changes.push(Change::Snapshot(SnapshotChange {
            title: stored.title.clone(),
            toc_digest: facts.map(|facts| facts.toc_digest.clone()),
            from: Some(from),
            to,
        }));
    }
    (steps, changes)
}

/// Names in `trash/` that nothing has, and none of those that come with it.
fn resting(name: SnapshotName, store: &Store, taken: &mut BTreeSet<PathBuf>) -> Pair {
    let mut resting = name;
    loop {
        let to = store.resting(&resting);
        if taken.insert(to.archive.clone()) {
            return to;
        }
        resting = resting.next();
    }
}

/// The name of a snapshot that lies in `backups/` as ours do.
fn name_of(archive: &Path, store: &Store) -> Option<SnapshotName> {
    let is_flat = archive.parent() == Some(&store.backups());
    let name = archive.file_name().filter(|_| is_flat)?.to_str()?;
    name.strip_suffix(ARCHIVE)?.parse().ok()
}

/// A name like ours for what has none.
fn made_up(stored: &Stored, zone: &Zone) -> SnapshotName {
    let metadata = &stored.metadata;
    let at = metadata.session_start_at.or(metadata.created_at).or_else(|| Stamp::from_epoch(0));
    let who = metadata.email.clone().map_or_else(|| Who::nameless("unknown"), Who::Email);
    SnapshotName::new(at.map_or_else(Default::default, |at| zone.wall(at.instant())), who)
}
