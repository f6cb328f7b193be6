//! What does the system say of a file without opening it, and does it tell one state from the next?

use std::fs::File;
use std::path::Path;

use super::error::{At, NotRegular, Result};
use super::{read, sys};

/// What tells one file from another, and one state of it from the next.
///
/// Where a system has no numbers for files, device and inode are 0, and the times are the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Facts {
    /// The file system it lies on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// Length in bytes.
    pub size: u64,
    /// Last change of the content: whole seconds and nanoseconds since 1970. Anybody can set it.
    pub modified: (i64, i64),
    /// Last change of content, name or mode, by the file system's own clock.
    pub changed: (i64, i64),
}

impl Facts {
    /// Of an open file.
    ///
    /// # Errors
    ///
    /// When the system does not tell; `path` names the file in the error.
    pub fn of(file: &File, path: &Path) -> Result<Self> {
        Ok(sys::facts(&file.metadata().at("look at", path)?))
    }

    /// Of the regular file at `path`; `None` if nothing is there.
    ///
    /// # Errors
    ///
    /// When it cannot be looked at, or is something else, such as a symbolic link.
    pub fn at(path: &Path) -> Result<Option<Self>> {
        let meta = read::absent_is_none(std::fs::symlink_metadata(path).at("look at", path))?;
        let Some(meta) = meta else { return Ok(None) };
        if !meta.is_file() {
            return Err(NotRegular::error(sys::kind_of(&meta))).at("look at", path);
        }
        Ok(Some(sys::facts(&meta)))
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_facts_of_a_file_are_the_same_open_or_by_its_name_until_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "four").unwrap();
        let file = File::open(&path).unwrap();
        let facts = Facts::at(&path).unwrap().unwrap();
        assert_eq!(Facts::of(&file, &path).unwrap(), facts);
        assert_eq!(facts.size, 4);
        fs::write(dir.path().join("b"), "four").unwrap();
        fs::rename(dir.path().join("b"), &path).unwrap();
        assert_ne!(Facts::at(&path).unwrap().unwrap().inode, facts.inode);
    }

    #[test]
    fn what_is_not_there_has_none_and_what_is_no_regular_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("target", dir.path().join("link")).unwrap();
        fs::write(dir.path().join("target"), "x").unwrap();
        assert_eq!(Facts::at(&dir.path().join("none")).unwrap(), None);
        for (name, what) in [("link", "a symbolic link"), (".", "a folder")] {
            let error = Facts::at(&dir.path().join(name)).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}
