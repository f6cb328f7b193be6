//! How does a file of the manager home change so that it can be changed back?

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::{Change, Step, Version, below, log};
use crate::disk::replace::NewFile;
use crate::disk::{DiskError, read};
use crate::snapshot::store::{MAX_RECORDS, Store};

/// The step that gives the file at `path`, relative to the manager home, this content, as part of
/// the operation `id`: what it held goes to `undo/ID/`.
///
/// # Errors
///
/// When the disk refuses; nothing has changed then.
pub(crate) fn rewrite(
    store: &Store,
    id: &str,
    path: &str,
    content: &[u8],
) -> Result<(Step, Change), DiskError> {
    let path = PathBuf::from(path);
    let target = store.root().join(&path);
    let before = read::optional(&target, MAX_RECORDS)?;
    let mut new = NewFile::create_in(&store.tmp())?;
    let failed = |source| DiskError { action: "write", path: target.clone(), source };
    new.write_all(content).map_err(failed)?;
    let with = store.relative(&new.keep()?);
    let before = before.map(|bytes| version(&bytes, Some(keep(id, &path))));
    let step = match before.as_ref().and_then(|before| before.kept.clone()) {
        Some(keep) => Step::Replace { path: path.clone(), with, keep },
        None => Step::Move { from: with, to: path.clone() },
    };
    let after = Some(version(content, None));
    Ok((step, Change::File { path, before, after }))
}

/// What a file holds, in words of a record; `None` if it is not there.
///
/// # Errors
///
/// When it cannot be read.
pub(crate) fn found(store: &Store, path: &Path) -> Result<Option<String>, DiskError> {
    let Some(path) = below(store.root(), path) else { return Ok(None) };
    let bytes = read::optional(&path, MAX_RECORDS)?;
    Ok(bytes.map(|bytes| log::digest(&bytes)))
}

/// The step that gives a file back what it held before an operation, as part of the operation
/// `id`, and what that changes.
pub(crate) fn give_back(
    id: &str,
    path: &Path,
    before: Option<&Version>,
    after: Option<&Version>,
) -> Option<(Step, Change)> {
    let there = after.map(|_| keep(id, path));
    let back = before.map(|before| before.kept.clone()).unwrap_or_default();
    let path = path.to_owned();
    let step = match (back, there.clone()) {
        (Some(with), Some(keep)) => Step::Replace { path: path.clone(), with, keep },
        (Some(from), None) => Step::Move { from, to: path.clone() },
        (None, Some(to)) if before.is_none() => Step::Move { from: path.clone(), to },
        (None, _) => return None,
    };
    let is = |version: &Version, kept| Version { digest: version.digest.clone(), kept };
    let change = Change::File {
        path,
        before: after.map(|after| is(after, there)),
        after: before.map(|before| is(before, None)),
    };
    Some((step, change))
}

fn keep(id: &str, path: &Path) -> PathBuf {
    Path::new("undo").join(id).join(path)
}

fn version(bytes: &[u8], kept: Option<PathBuf>) -> Version {
    Version { digest: log::digest(bytes), kept }
}
