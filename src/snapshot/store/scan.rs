//! Which snapshots are in `backups/`, and what there is not as it should be?

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{MAIN_SEPARATOR_STR, Path, PathBuf};

use super::said::Said;
use super::sidecars::Rows;
use super::told::{inside, inside_older, read_sidecar};
use super::{Odd, OddKind, Origin, Scan, StoreError, Stored};
use crate::disk::folder::Seen;
use crate::disk::{Facts, Folder, read};
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
    mut known: Rows,
    fresh: &mut Vec<(String, Facts)>,
) -> Result<Scan, StoreError> {
    let mut scan = Scan::default();
    let Some(folder) = read::absent_is_none(Folder::list(backups))? else { return Ok(scan) };
    scan.snapshots.reserve(folder.names().count() / 2);
    let (mut rest, mut others) = (Vec::new(), Vec::new());
    // A sidecar whose archive would come next.
    let mut pending: Option<&str> = None;
    let mut sidecar = String::new();
    for name in folder.names() {
        let Some(title) = name.strip_suffix(ARCHIVE) else {
            others.extend(pending.take_if(|_| name.ends_with(SIDECAR)));
            match name.ends_with(SIDECAR) {
                true => pending = Some(name),
                false => others.push(name),
            }
            continue;
        };
        sidecar.clear();
        sidecar.push_str(title);
        sidecar.push_str(SIDECAR);
        // It comes right before the archive, unless something has an odd name.
        let is_there = pending == Some(sidecar.as_str()) || folder.has(&sidecar);
        let facts = match is_there.then(|| folder.see(&sidecar)).flatten() {
            Some(Seen::File(facts)) => Some(facts),
            Some(Seen::Other) | None => None,
        };
        let recalled = facts.and_then(|facts| known.find(title, &facts));
        let said = recalled.or_else(|| {
            let facts = facts.filter(|_| title.parse::<SnapshotName>().is_ok())?;
            let metadata = read_sidecar(&joined(backups, title, SIDECAR)).ok()?;
            fresh.push((title.to_owned(), facts));
            Some(metadata.into())
        });
        match said {
            Some(said) => {
                if pending.take_if(|pending| *pending == sidecar.as_str()).is_none() {
                    others.retain(|other| *other != sidecar);
                }
                take_told(name, backups, said, &folder, &mut scan);
            }
            None => {
                rest.push(title);
                others.push(name);
            }
        }
    }
    others.extend(pending);
    take_others(backups, &folder, &others, &rest, zone, &mut scan)?;
    // No two have one title, so it is the same order each time.
    scan.snapshots.sort_unstable_by(|a, b| {
        let (one, other) = (a.metadata.brief().created_at, b.metadata.brief().created_at);
        (other, &b.title).cmp(&(one, &a.title))
    });
    Ok(scan)
}

/// What is neither an archive nor a sidecar of a pair of ours that was taken: archives of the older
/// tool, and ours of which the sidecar is missing or cannot be used, the `rest`.
fn take_others(
    backups: &Path,
    folder: &Folder,
    others: &[&str],
    rest: &[&str],
    zone: &Zone,
    scan: &mut Scan,
) -> Result<(), StoreError> {
    let older = legacy::find_among(backups, others.iter().copied())?;
    let theirs: BTreeSet<&Path> = older
        .archives
        .iter()
        .map(|found| found.archive.as_path())
        .chain(older.metadata_only.iter().map(PathBuf::as_path))
        .collect();
    for title in rest {
        let archive = backups.join(format!("{title}{ARCHIVE}"));
        if title.parse::<SnapshotName>().is_ok() && !theirs.contains(archive.as_path()) {
            take(backups, title, folder, scan);
        }
    }
    for name in others {
        let path = backups.join(name);
        if let Some(base) = name.strip_suffix(SIDECAR)
            && !folder.has(&format!("{base}{ARCHIVE}"))
            && !theirs.contains(path.as_path())
        {
            lone_sidecar(path, scan);
        }
    }
    scan.problems.sort_by(|a, b| a.path.cmp(&b.path));
    for (path, what) in older.unreadable {
        scan.problems.push(Odd { path, what, kind: OddKind::BadArchive });
    }
    for found in older.archives {
        take_older(found, zone, scan);
    }
    Ok(())
}

/// One archive of ours, by its name, with its sidecar.
fn take_told(name: &str, backups: &Path, said: Said, folder: &Folder, scan: &mut Scan) {
    let title = name.strip_suffix(ARCHIVE).unwrap_or(name);
    let archive = joined(backups, title, ARCHIVE);
    match disagreement(name, said.brief().bytes, folder) {
        None => scan.snapshots.push(Stored {
            title: title.to_owned(),
            archive,
            sidecar: Some(joined(backups, title, SIDECAR)),
            metadata: said,
            origin: Origin::Ours,
        }),
        Some(what) => scan.problems.push(Odd { path: archive, what, kind: OddKind::BadArchive }),
    }
}

/// One archive of ours: with its sidecar, or with the copy inside it.
fn take(backups: &Path, title: &str, folder: &Folder, scan: &mut Scan) {
    let archive = joined(backups, title, ARCHIVE);
    let sidecar = joined(backups, title, SIDECAR);
    let has_sidecar = folder.has(&format!("{title}{SIDECAR}"));
    let told = if has_sidecar {
        read_sidecar(&sidecar)
    } else {
        Err("has no sidecar; the copy inside it is used".to_owned())
    };
    match told {
        Ok(metadata) => {
            take_told(&format!("{title}{ARCHIVE}"), backups, metadata.into(), folder, scan);
        }
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
                        metadata: metadata.into(),
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

/// The path of a file of a snapshot, made in one go.
fn joined(backups: &Path, title: &str, ending: &str) -> PathBuf {
    let length = backups.as_os_str().len() + 1 + title.len() + ending.len();
    let mut path = OsString::with_capacity(length);
    path.push(backups);
    path.push(MAIN_SEPARATOR_STR);
    path.push(title);
    path.push(ending);
    path.into()
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
        metadata: metadata.into(),
        origin: Origin::Python,
    });
}

/// What contradicts the sidecar without opening the archive. Its length does; its name was only
/// what it was called then, and a pair may be renamed.
fn disagreement(name: &str, said: Option<u64>, folder: &Folder) -> Option<String> {
    let said = said?;
    match folder.see(name)? {
        Seen::Other => Some("is not a regular file".to_owned()),
        Seen::File(found) => (found.size != said)
            .then(|| format!("has {} bytes, its sidecar says {said}", found.size)),
    }
}

fn lone_sidecar(path: PathBuf, scan: &mut Scan) {
    let what = match read_sidecar(&path) {
        Ok(_) => "its archive is gone".to_owned(),
        Err(what) => format!("its archive is gone, and it {what}"),
    };
    scan.problems.push(Odd { path, what, kind: OddKind::NoArchive });
}
