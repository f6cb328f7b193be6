//! The same calls where there is only the standard library.
//!
//! Owner-only modes, syncing a folder and exchanging two names do not exist here: the user's
//! own profile folder keeps others out, and what cannot be done says so.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::disk::facts::Facts;
use crate::disk::folder::Seen;

/// A folder whose names are asked for, and what has them.
#[derive(Debug)]
pub(in crate::disk) struct Place(PathBuf);

impl Place {
    /// A folder, not through a link.
    pub(in crate::disk) fn open(path: &Path) -> io::Result<Self> {
        super::ask(super::Call::Open, path)?;
        refuse_link(path)?;
        Ok(Self(path.to_owned()))
    }

    /// Tells each name that is Unicode, in no order.
    pub(in crate::disk) fn list(&self, mut tell: impl FnMut(&str)) -> io::Result<()> {
        for entry in super::read_dir(&self.0)? {
            if let Some(name) = entry?.file_name().to_str() {
                tell(name);
            }
        }
        Ok(())
    }

    /// What has this name; no link is followed.
    pub(in crate::disk) fn see(&self, name: &str) -> io::Result<Seen> {
        let meta = std::fs::symlink_metadata(self.0.join(name))?;
        Ok(if meta.is_file() { Seen::File(facts(&meta)) } else { Seen::Other })
    }
}

pub(super) fn open_read(path: &Path) -> io::Result<File> {
    refuse_link(path)?;
    File::open(path)
}

pub(super) fn open_read_following(path: &Path) -> io::Result<File> {
    File::open(path)
}

pub(super) fn open_write(path: &Path) -> io::Result<File> {
    refuse_link(path)?;
    OpenOptions::new().read(true).write(true).open(path)
}

pub(super) fn open_append(path: &Path) -> io::Result<File> {
    refuse_link(path)?;
    OpenOptions::new().read(true).append(true).open(path)
}

pub(super) fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).open(path)
}

pub(super) fn open_or_create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

pub(super) fn open_dir(path: &Path) -> io::Result<File> {
    refuse_link(path)?;
    File::open(path)
}

pub(super) fn remove_dir_all(path: &Path) -> io::Result<()> {
    super::ask(super::Call::Remove, path)?;
    std::fs::remove_dir_all(path)
}

pub(super) fn create_dir(path: &Path) -> io::Result<()> {
    std::fs::create_dir(path)
}

pub(super) fn symlink(_target: &Path, _at: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(super) fn narrow(_file: &File) -> io::Result<Option<u32>> {
    Ok(None)
}

pub(in crate::disk) fn kind_of(meta: &Metadata) -> &'static str {
    if meta.is_dir() {
        "a folder"
    } else if meta.is_symlink() {
        "a symbolic link"
    } else if meta.is_file() {
        "a regular file"
    } else {
        "a device"
    }
}

pub(in crate::disk) fn explain_open(error: io::Error) -> io::Error {
    error
}

pub(in crate::disk) fn facts(meta: &Metadata) -> Facts {
    let since = meta.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let modified = since.map_or((0, 0), |since| {
        (i64::try_from(since.as_secs()).unwrap_or(i64::MAX), i64::from(since.subsec_nanos()))
    });
    Facts { device: 0, inode: 0, size: meta.len(), modified, changed: modified }
}

pub(in crate::disk) fn sync_is_unsupported(error: &io::Error) -> bool {
    // Windows refuses to flush a handle that is open for reading only, a folder's among them.
    matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied)
}

pub(in crate::disk) fn is_unsupported(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
}

pub(in crate::disk) fn lock_is_unsupported(error: &io::Error) -> bool {
    is_unsupported(error)
}

pub(super) fn rename_new(_from: &Path, _to: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(super) fn exchange(_one: &Path, _other: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(super) fn preallocate(_file: &File, _len: u64) -> io::Result<()> {
    Ok(())
}

/// Unknown here, so nothing is ever refused for want of room.
pub(in crate::disk) fn available(_dir: &Path) -> io::Result<u64> {
    Ok(u64::MAX)
}

pub(in crate::disk) fn mount_begins(_dir: &File) -> Option<bool> {
    None
}

/// Byte-range locks are mandatory here and an open database cannot be deleted: none is needed.
pub(in crate::disk) fn record_lock_shared(_file: &File) -> io::Result<()> {
    Ok(())
}

pub(in crate::disk) fn is_alive(_pid: u32) -> bool {
    true
}

fn refuse_link(path: &Path) -> io::Result<()> {
    if std::fs::symlink_metadata(path)?.is_symlink() {
        return Err(io::Error::other("it is a symbolic link"));
    }
    Ok(())
}
