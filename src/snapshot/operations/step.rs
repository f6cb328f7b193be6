//! What is done in one go, and how is it done again, or taken back, after a run was killed?
//!
//! Each step knows by looking at the disk how far it came: going forward twice is going forward
//! once, and going back undoes whatever part of it was done.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::below;
use crate::disk::{DiskError, read, replace, swap};

/// One step of a transaction; paths are relative to the manager home.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Step {
    /// A file gets another name, which must be free.
    Move {
        /// Its name now.
        from: PathBuf,
        /// Its name then.
        to: PathBuf,
    },
    /// A file takes the place of another one, in one instant; that one gets a name of its own
    /// before.
    Replace {
        /// The place.
        path: PathBuf,
        /// The file that takes it.
        with: PathBuf,
        /// The name that the one before gets, which must be free.
        keep: PathBuf,
    },
    /// Whole lines are added to a file.
    Append {
        /// The file.
        path: PathBuf,
        /// How long it was before, in bytes.
        at: u64,
        /// The lines, each with its newline.
        lines: String,
    },
}

impl Step {
    /// Does it, or the rest of it.
    ///
    /// # Errors
    ///
    /// When the disk refuses, or is not as it was when this was planned.
    pub(in crate::snapshot) fn forward(&self, root: &Path) -> Result<(), DiskError> {
        match self {
            Self::Move { from, to } => move_file(&at(root, from)?, &at(root, to)?),
            Self::Replace { path, with, keep } => {
                let (path, with, keep) = (at(root, path)?, at(root, with)?, at(root, keep)?);
                if !is_there(&with) {
                    return if is_there(&path) { Ok(()) } else { Err(lost(&with)) };
                }
                if !is_there(&keep) {
                    replace::keep_as(&path, &keep)?;
                }
                replace::rename_over(&with, &path)
            }
            Self::Append { path, at: length, lines } => {
                append_at(&at(root, path)?, *length, lines.as_bytes())
            }
        }
    }

    /// Takes back whatever part of it was done.
    ///
    /// # Errors
    ///
    /// When the disk refuses.
    pub(in crate::snapshot) fn back(&self, root: &Path) -> Result<(), DiskError> {
        match self {
            Self::Move { from, to } => {
                let (from, to) = (at(root, from)?, at(root, to)?);
                if is_there(&to) && (!is_there(&from) || is_one_file(&from, &to)?) {
                    return move_file(&to, &from);
                }
                Ok(())
            }
            Self::Replace { path, with, keep } => {
                let (path, with, keep) = (at(root, path)?, at(root, with)?, at(root, keep)?);
                if !is_there(&keep) {
                    return Ok(());
                }
                if !is_there(&with) {
                    replace::keep_as(&path, &with)?;
                    replace::rename_over(&keep, &path)?;
                }
                // Two names of one file are left alone by a rename.
                replace::remove_file(&keep).map(drop)
            }
            Self::Append { path, at: length, lines } => {
                cut(&at(root, path)?, *length, lines.as_bytes())
            }
        }
    }

    /// Whether what it moves is gone from where it was, and something is where it goes.
    pub(super) fn has_moved(&self, root: &Path) -> bool {
        let (from, to) = match self {
            Self::Move { from, to } => (from, to),
            Self::Replace { with, path, .. } => (with, path),
            Self::Append { .. } => return false,
        };
        at(root, from).is_ok_and(|from| !is_there(&from))
            && at(root, to).is_ok_and(|to| is_there(&to))
    }

    /// Whether it puts something where the other one takes it from: until then nothing is there,
    /// which says nothing about the other one.
    pub(super) fn brings(&self, other: &Self) -> bool {
        let source = match other {
            Self::Move { from, .. } => from,
            Self::Replace { with, .. } => with,
            Self::Append { .. } => return false,
        };
        match self {
            Self::Move { to, .. } => to == source,
            Self::Replace { path, keep, .. } => path == source || keep == source,
            Self::Append { .. } => false,
        }
    }

    /// The file under construction that it uses up, if it uses one.
    pub(super) fn source(&self, root: &Path) -> Option<PathBuf> {
        let source = match self {
            Self::Move { from, .. } => from,
            Self::Replace { with, .. } => with,
            Self::Append { .. } => return None,
        };
        at(root, source).ok().filter(|path| replace::is_unfinished(path))
    }

    /// The folder of an operation in `undo/` out of which it takes something.
    pub(super) fn leaves(&self, root: &Path) -> Option<PathBuf> {
        let source = match self {
            Self::Move { from, .. } => from,
            Self::Replace { with, .. } => with,
            Self::Append { .. } => return None,
        };
        let folder = at(root, source).ok()?.parent()?.to_owned();
        (folder.parent() == Some(&root.join("undo"))).then_some(folder)
    }

    /// The folders that it needs.
    pub(super) fn folders(&self, root: &Path) -> Result<Option<PathBuf>, DiskError> {
        let target = match self {
            Self::Move { to, .. } => to,
            Self::Replace { keep, .. } => keep,
            Self::Append { .. } => return Ok(None),
        };
        Ok(at(root, target)?.parent().map(Path::to_owned))
    }
}

/// Adds lines to a file that had `length` bytes before anybody added them: the rest of them if
/// only a part is there, nothing if they all are.
///
/// # Errors
///
/// When the disk refuses, or something else follows those bytes.
pub(super) fn append_at(path: &Path, length: u64, lines: &[u8]) -> Result<(), DiskError> {
    let found = match read::absent_is_none(read::bounded_from(path, length, lines.len()))? {
        None if length == 0 => Vec::new(),
        None => return Err(lost(path)),
        Some(found) => found,
    };
    if found == lines {
        return Ok(());
    }
    if !lines.starts_with(&found) {
        let source = io::Error::new(io::ErrorKind::InvalidData, "somebody else wrote to it");
        return Err(DiskError { action: "append to", path: path.to_owned(), source });
    }
    if !found.is_empty() {
        replace::cut(path, length)?;
    }
    replace::append_lines(path, lines)
}

/// Adds lines to a file unless they are somewhere behind its first `length` bytes: others may have
/// added theirs meanwhile.
///
/// # Errors
///
/// When the disk refuses, or the file ends in half a line of somebody else.
pub(super) fn note_lines(path: &Path, length: u64, lines: &[u8]) -> Result<(), DiskError> {
    let rest = read::bounded_from(path, length, usize::MAX);
    let rest = read::absent_is_none(rest)?.unwrap_or_default();
    if rest.windows(lines.len()).any(|found| found == lines) {
        return Ok(());
    }
    if !rest.is_empty() && lines.starts_with(&rest) {
        replace::cut(path, length)?;
    }
    replace::append_lines(path, lines)
}

/// Takes off what was added behind the first `length` bytes, as far as it is the beginning of these
/// lines.
fn cut(path: &Path, length: u64, lines: &[u8]) -> Result<(), DiskError> {
    let found = read::bounded_from(path, length, lines.len().saturating_add(1));
    let found = match found {
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => return Ok(()),
        found => read::absent_is_none(found)?.unwrap_or_default(),
    };
    if found.is_empty() || !lines.starts_with(&found) {
        return Ok(());
    }
    if length == 0 { replace::remove_file(path).map(drop) } else { replace::cut(path, length) }
}

/// Gives a file a new name. Where renaming knows no flags that is a link and an unlink, and a run
/// that was killed in between leaves both names.
fn move_file(from: &Path, to: &Path) -> Result<(), DiskError> {
    match (is_there(from), is_there(to)) {
        (true, true) if is_one_file(from, to)? => replace::remove_file(from).map(drop),
        (true, _) => replace::rename_new(from, to),
        (false, true) => Ok(()),
        (false, false) => Err(lost(from)),
    }
}

fn is_one_file(one: &Path, other: &Path) -> Result<bool, DiskError> {
    let found = swap::identity(one)?;
    Ok(found.is_some() && found == swap::identity(other)?)
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn at(root: &Path, relative: &Path) -> Result<PathBuf, DiskError> {
    below(root, relative).ok_or_else(|| DiskError {
        action: "touch",
        path: relative.to_owned(),
        source: io::Error::other("it is no place that an operation changes"),
    })
}

fn lost(path: &Path) -> DiskError {
    DiskError { action: "find", path: path.to_owned(), source: io::ErrorKind::NotFound.into() }
}
