//! Which snapshots are in `backups/`, and what there is not as it should be?

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use super::sidecars::Rows;
use super::told::{inside, inside_older, read_sidecar};
use super::{Odd, OddKind, Origin, Scan, StoreError, Stored, list};
use crate::disk::facts::Facts;
use crate::disk::read;
use crate::snapshot::legacy;
use crate::snapshot::metadata::{Kind, MAX_BYTES, Metadata};
use crate::snapshot::name::{ARCHIVE, SIDECAR, SnapshotName};
use crate::time::Zone;

/// A plain archive can only be read from its beginning, all of it. Above this length, in bytes, a
/// list does without what it says.
const GLANCE: u64 = 1 << 20;

/// Reads one folder of snapshots, but for the sidecars that are `known` and look as they did. Those
/// that were read come into `fresh`, with how they looked before.
pub(super) fn scan(
    backups: &Path,
    zone: &Zone,
    mut known: Rows<'_>,
    fresh: &mut Vec<(String, Facts)>,
) -> Result<Scan, StoreError> {
    let mut scan = Scan::default();
    let Some(names) = read::absent_is_none(list(backups))? else { return Ok(scan) };
    let names = Names(names.into_iter().collect());
    let mut rest = Vec::new();
    let mut taken = HashSet::new();
    for name in &names.0 {
        let Some(title) = name.strip_suffix(ARCHIVE) else { continue };
        let sidecar = format!("{title}{SIDECAR}");
        let path = backups.join(&sidecar);
        let facts = match names.has(&sidecar) {
            true => Facts::at(&path).ok().flatten(),
            false => None,
        };
        let recalled = facts.and_then(|facts| known.find(title, &facts));
        let told = recalled.or_else(|| {
            let facts = facts.filter(|_| title.parse::<SnapshotName>().is_ok())?;
            let metadata = read_sidecar(&path).ok()?;
            fresh.push((title.to_owned(), facts));
            Some(metadata)
        });
        match told {
            Some(metadata) => {
                taken.insert(title);
                take_told(title, backups.join(name), path, metadata, &mut scan);
            }
            None => rest.push((name.as_str(), title)),
        }
    }
    // What has a sidecar of ours is none of the older tool's.
    let is_taken = |name: &str| {
        let ends = [ARCHIVE, SIDECAR];
        ends.iter().any(|end| name.strip_suffix(end).is_some_and(|base| taken.contains(base)))
    };
    let others = names.0.iter().map(String::as_str).filter(|name| !is_taken(name));
    let older = legacy::find_among(backups, others.clone())?;
    let theirs: BTreeSet<&Path> = older
        .archives
        .iter()
        .map(|found| found.archive.as_path())
        .chain(older.metadata_only.iter().map(PathBuf::as_path))
        .collect();
    for (name, title) in rest {
        if title.parse::<SnapshotName>().is_ok() && !theirs.contains(backups.join(name).as_path()) {
            take(backups, title, &names, &mut scan);
        }
    }
    for name in others {
        let path = backups.join(name);
        if let Some(base) = name.strip_suffix(SIDECAR)
            && !names.has(&format!("{base}{ARCHIVE}"))
            && !theirs.contains(path.as_path())
        {
            lone_sidecar(path, &mut scan);
        }
    }
    scan.problems.sort_by(|a, b| a.path.cmp(&b.path));
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

/// The names in the folder, in bytewise order.
struct Names(Vec<String>);

impl Names {
    fn has(&self, name: &str) -> bool {
        self.0.binary_search_by(|other| other.as_str().cmp(name)).is_ok()
    }
}

/// One archive of ours with its sidecar.
fn take_told(title: &str, archive: PathBuf, sidecar: PathBuf, metadata: Metadata, scan: &mut Scan) {
    match disagreement(&archive, &metadata) {
        None => scan.snapshots.push(Stored {
            title: title.to_owned(),
            archive,
            sidecar: Some(sidecar),
            metadata,
            origin: Origin::Ours,
        }),
        Some(what) => scan.problems.push(Odd { path: archive, what, kind: OddKind::BadArchive }),
    }
}

/// One archive of ours: with its sidecar, or with the copy inside it.
fn take(backups: &Path, title: &str, names: &Names, scan: &mut Scan) {
    let archive = backups.join(format!("{title}{ARCHIVE}"));
    let sidecar = backups.join(format!("{title}{SIDECAR}"));
    let has_sidecar = names.has(&format!("{title}{SIDECAR}"));
    let told = if has_sidecar {
        read_sidecar(&sidecar)
    } else {
        Err("has no sidecar; the copy inside it is used".to_owned())
    };
    match told {
        Ok(metadata) => take_told(title, archive, sidecar, metadata, scan),
        Err(what) => {
            let (path, kind) = if has_sidecar {
                (sidecar, OddKind::BadSidecar)
            } else {
                (archive.clone(), OddKind::NoSidecar)
            };
            match inside(&archive) {
                Ok(metadata) => {
                    scan.snapshots.push(Stored {
                        title: title.to_owned(),
                        archive,
                        sidecar: None,
                        metadata,
                        origin: Origin::Ours,
                    });
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

/// One archive of the older tool: what its sidecar says, else the member of that name, else
/// what its place says.
fn take_older(found: legacy::Found, zone: &Zone, scan: &mut Scan) {
    let mut odd = |path: &Path, what: String, kind| {
        scan.problems.push(Odd { path: path.to_owned(), what, kind });
    };
    let archive = found.archive.as_path();
    let is_large = || archive.metadata().is_ok_and(|facts| GLANCE < facts.len());
    let parsed = |bytes: Vec<u8>| {
        legacy::metadata(&bytes, zone).map_err(|error| format!("its metadata {error}"))
    };
    let (told, source) = match &found.sidecar {
        Some(sidecar) => {
            let bytes = read::bounded(sidecar, MAX_BYTES).map_err(|error| error.to_string());
            (bytes.and_then(parsed).map(Some), sidecar.as_path())
        }
        None if is_large() => {
            let what = "has no sidecar and was not looked into; `show` reads all of it".to_owned();
            odd(archive, what, OddKind::NoSidecar);
            (Ok(None), archive)
        }
        None => match inside_older(archive) {
            Ok(bytes) => (bytes.map(parsed).transpose(), archive),
            Err(what) => return odd(archive, what, OddKind::BadArchive),
        },
    };
    let told = match told {
        Ok(told) => told,
        Err(what) if found.sidecar.is_some() && !is_large() => match inside_older(archive) {
            Ok(bytes) => {
                odd(source, what, OddKind::BadSidecar);
                bytes.and_then(|bytes| parsed(bytes).ok())
            }
            Err(what) => return odd(archive, what, OddKind::BadArchive),
        },
        Err(what) => {
            odd(source, what, OddKind::BadSidecar);
            None
        }
    };
    let mut metadata = told.unwrap_or_else(|| Metadata::empty(found.kind.unwrap_or(Kind::Full)));
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

/// What contradicts the sidecar without opening the archive. Its length does; its name was only
/// what it was called then, and a pair may be renamed.
fn disagreement(archive: &Path, metadata: &Metadata) -> Option<String> {
    let facts = metadata.archive.as_ref()?;
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
