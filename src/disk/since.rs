//! What changed below a folder since some moment?
//!
//! Asked of the file system's own clock, which also stamps what is renamed, and which nobody can
//! set back by dating a file.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::Result;
use super::tree::{self, Kind, Visit};
use super::{read, sys};
use crate::disk::error::At as _;

/// An instant of a file system's clock.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Moment {
    seconds: i64,
    nanoseconds: i64,
}

impl Moment {
    /// Whole seconds since 1970.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.seconds
    }
}

/// When the file or folder (a link at its end not followed) last changed in any way: content,
/// name, or mode. `None` if it is not there, or where the system does not tell.
///
/// # Errors
///
/// When it cannot be looked at.
pub fn moment(path: &Path) -> Result<Option<Moment>> {
    let meta = read::absent_is_none(std::fs::symlink_metadata(path).at("look at", path))?;
    let (seconds, nanoseconds) = match meta {
        Some(meta) => sys::facts(&meta).changed,
        None => return Ok(None),
    };
    Ok(((seconds, nanoseconds) != (0, 0)).then_some(Moment { seconds, nanoseconds }))
}

/// The newest moment of a folder and all that is below it.
///
/// # Errors
///
/// When the folder cannot be listed.
pub fn newest(root: &Path) -> Result<Option<Moment>> {
    let mut newest = moment(root)?;
    look_at_each(root, &mut |_, found| newest = newest.max(found))?;
    Ok(newest)
}

/// The files and links below `root` that changed after `since`, and the folders in which names
/// came or went, relative to it and sorted; the root itself is not among them.
///
/// # Errors
///
/// When the folder cannot be listed.
pub fn changed(root: &Path, since: Moment) -> Result<Vec<PathBuf>> {
    let mut changed = Vec::new();
    look_at_each(root, &mut |path, found| {
        if found.is_some_and(|found| since < found) {
            changed.push(path.to_owned());
        }
    })?;
    changed.sort_by_cached_key(|path| path.as_os_str().as_encoded_bytes().to_vec());
    Ok(changed)
}

/// Looks at all that is below a folder, in no order. Only folders are kept in mind meanwhile, for
/// there may be hundreds of thousands of files.
fn look_at_each(root: &Path, hear: &mut dyn FnMut(&Path, Option<Moment>)) -> Result<()> {
    let mut failed = None;
    tree::walk(root, &mut |node| {
        if failed.is_some() {
            return Visit::Skip;
        }
        match moment(&root.join(&node.path)) {
            Ok(found) => hear(&node.path, found),
            Err(error) => failed = Some(error),
        }
        if node.kind == Kind::Dir { Visit::Take } else { Visit::Skip }
    })?;
    failed.map_or(Ok(()), Err)
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::fs;
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn whatever_is_written_made_moved_or_removed_shows() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["still", "written", "moved/in", "emptied/gone"] {
            fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            fs::write(at(name), "old").unwrap();
        }
        let since = newest(dir.path()).unwrap().unwrap();
        assert_eq!(changed(dir.path(), since).unwrap(), Vec::<PathBuf>::new());
        // The clock of a file system ticks every few milliseconds.
        let began = SystemTime::now();
        while moment(dir.path()).unwrap() == Some(since)
            || changed(dir.path(), since).unwrap().is_empty()
        {
            fs::write(at("written"), "new").unwrap();
            assert!(began.elapsed().unwrap() < Duration::from_secs(10), "the clock stands still");
            if !changed(dir.path(), since).unwrap().is_empty() {
                break;
            }
        }
        fs::rename(at("moved/in"), at("moved/out")).unwrap();
        fs::remove_file(at("emptied/gone")).unwrap();
        fs::write(at("dated"), "").unwrap();
        let file = fs::File::options().write(true).open(at("dated")).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1)).unwrap();
        let expected = ["dated", "emptied", "moved", "moved/out", "written"].map(PathBuf::from);
        assert_eq!(changed(dir.path(), since).unwrap(), expected);
    }

    #[test]
    fn what_is_not_there_has_no_moment() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(moment(&dir.path().join("none")).unwrap(), None);
    }
}
