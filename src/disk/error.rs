//! What went wrong on the disk, where, and what may help?
//!
//! One error for all verbs of this room: what was tried, on which path, and what the operating
//! system said. It never holds a file's content.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What the verbs of this room return.
pub type Result<T> = std::result::Result<T, DiskError>;

/// One thing the disk did not do.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {}", path.display(), Plain(source))]
pub struct DiskError {
    /// What was tried, as a verb that fits after "cannot": `read`, `write`, `rename`.
    pub action: &'static str,
    /// What it was tried on.
    pub path: PathBuf,
    /// What the operating system said.
    pub source: io::Error,
}

impl DiskError {
    pub(super) fn new(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self { action, path: path.to_owned(), source: source.into() }
    }

    /// The class of the failure, for callers that treat, say, "not found" apart.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }

    /// What a person can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        if let Some(inner) = self.source.get_ref()
            && inner.is::<NotRegular>()
        {
            return Some("move it aside and try again".to_owned());
        }
        let hint = match self.kind() {
            io::ErrorKind::StorageFull => "free some space on that file system and try again",
            io::ErrorKind::QuotaExceeded => "your disk quota is used up; free some space",
            io::ErrorKind::PermissionDenied => "check who owns it and what its mode allows",
            io::ErrorKind::ReadOnlyFilesystem => "the file system is mounted read-only",
            io::ErrorKind::CrossesDevices | io::ErrorKind::ResourceBusy => {
                "it may be a mount point; name a folder inside one file system"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// Something other than a file has the name of one.
#[derive(Debug, thiserror::Error)]
#[error("it is {0}, not a regular file")]
pub(super) struct NotRegular(&'static str);

impl NotRegular {
    /// `what` is the kind of thing, with its article.
    pub(super) fn error(what: &'static str) -> io::Error {
        io::Error::other(Self(what))
    }
}

/// Gives a low-level result its place: what was tried, and on which path.
pub(super) trait At<T> {
    /// Turns the error into a [`DiskError`].
    fn at(self, action: &'static str, path: &Path) -> Result<T>;
}

impl<T, E: Into<io::Error>> At<T> for std::result::Result<T, E> {
    fn at(self, action: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| DiskError::new(action, path, source))
    }
}

/// An I/O error without the number that the standard library appends.
struct Plain<'a>(&'a io::Error);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let plain = match self.0.raw_os_error() {
            Some(_) => text.split(" (os error ").next().unwrap_or(&text),
            None => &text,
        };
        f.write_str(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn an_error_names_what_was_tried_and_where_and_why() {
        let full = io::Error::from(rustix::io::Errno::NOSPC);
        let error = DiskError::new("write", Path::new("store/a.json"), full);
        assert_eq!(error.to_string(), "cannot write store/a.json: No space left on device");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(error.hint().unwrap().contains("free some space"));
    }

    #[test]
    fn words_of_our_own_are_shown_as_they_are() {
        let ours = io::Error::other("it is a socket (os error of its own)");
        let error = DiskError::new("read", Path::new("x"), ours);
        assert_eq!(error.to_string(), "cannot read x: it is a socket (os error of its own)");
        assert_eq!(error.hint(), None);
    }
}
