//! Is what a plan would store in a snapshot already?
//!
//! Nothing is read but names, lengths and times. So whatever could have been written in the second
//! of the capture, or later, counts as changed: to store a home once more is never wrong.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::UNIX_EPOCH;

use super::{Content, Item, OURS, Plan};
use crate::codex::home::CodexHome;
use crate::disk::archive::{Entry, Node};
use crate::disk::database;
use crate::snapshot::logins;
use crate::snapshot::store::Stored;

impl Plan {
    /// Whether the snapshot holds all that this plan would store, as it is now, but for the login
    /// and the name of the installation, which a restore leaves as they are.
    #[must_use]
    pub fn is_held_by(&self, stored: &Stored) -> bool {
        let Some(captured) = stored.metadata.created_at else { return false };
        let Ok(archive) = logins::open(stored) else { return false };
        let Ok(entries) = archive.entries() else { return false };
        if logins::is_another(&archive, stored) {
            return false;
        }
        let is_compared = |name: &str| {
            let is_ours = name == OURS || name.starts_with(".codex-manager/metadata");
            !is_ours && name != CodexHome::AUTH && name != CodexHome::INSTALLATION_ID
        };
        let mut held: BTreeMap<&str, &Entry> =
            entries.iter().map(|entry| (entry.name.as_str(), entry)).collect();
        held.retain(|name, _| is_compared(name));
        let since = captured.instant().timestamp();
        let mut items = self.items.iter().filter(|item| is_compared(item.name.as_str()));
        items.all(|item| {
            held.remove(item.name.as_str())
                .is_some_and(|entry| is_the_same(item, entry, self.root(), since))
        }) && held.is_empty()
    }
}

/// Whether an item surely is what the entry holds that was stored at `since`, in seconds.
fn is_the_same(item: &Item, entry: &Entry, root: &Path, since: i64) -> bool {
    let stood_still = item.modified < since && item.modified == entry.modified;
    match (&item.content, &entry.node) {
        (Content::Folder, Node::Dir) => true,
        (Content::Link(now), Node::Symlink { target }) => **now == **target,
        (
            Content::File { path }
            | Content::Lines { path }
            | Content::Kept { path, is_database: false, .. },
            Node::File { size },
        ) => {
            stood_still
                && item.mode == entry.mode
                && written(&path.path(root, &item.name))
                    .is_some_and(|(length, at)| length == *size && at < since)
        }
        // The copy of a database has a length of its own, and what is new may be in its log alone.
        (
            Content::Database { path, .. } | Content::Kept { path, is_database: true, .. },
            Node::File { .. },
        ) => {
            let path = path.path(root, &item.name);
            let mut beside = database::companions(&path).into_iter();
            stood_still
                && written(&path).is_some_and(|(_, at)| at < since)
                && beside.all(|beside| written(&beside).is_none_or(|(_, at)| at < since))
        }
        _ => false,
    }
}

/// The length of a file, and when it was last written, in seconds; of one that cannot be looked at
/// nothing is known, so that it counts as written just now. `None` if it is not there.
fn written(path: &Path) -> Option<(u64, i64)> {
    match path.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(_) => Some((0, i64::MAX)),
        Ok(facts) => {
            let at = facts.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
            let at = at.and_then(|since| i64::try_from(since.as_secs()).ok());
            Some((facts.len(), at.unwrap_or(i64::MAX)))
        }
    }
}
