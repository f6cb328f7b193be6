//! What can be done in an open folder, by one name at a time?
//!
//! Whoever exchanges a folder for a link meanwhile leads nobody astray: no link is followed here.

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, Timespec, Timestamps, futimens, mkdirat, openat, statat,
    symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::{Call, ask, imp};
use crate::disk::facts::Facts;
use crate::disk::folder::Seen;

/// An open folder whose names are asked for, and what has them.
#[derive(Debug)]
pub(in crate::disk) struct Place(File);

impl Place {
    /// Opens a folder, not through a link.
    pub(in crate::disk) fn open(path: &Path) -> io::Result<Self> {
        super::open_dir(path).map(Self)
    }

    /// Tells each name that is UTF-8, in no order.
    pub(in crate::disk) fn list(&self, mut tell: impl FnMut(&str)) -> io::Result<()> {
        ask(Call::List, Path::new(""))?;
        each_name(&self.0, |name| match name.to_str() {
            Ok("." | "..") | Err(_) => {}
            Ok(name) => tell(name),
        })
    }

    /// What has this name; no link is followed.
    pub(in crate::disk) fn see(&self, name: &str) -> io::Result<Seen> {
        let stat = statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(Seen::Other);
        }
        Ok(Seen::File(Facts {
            device: number(stat.st_dev),
            inode: number(stat.st_ino),
            size: number(stat.st_size),
            modified: (number(stat.st_mtime), number(stat.st_mtime_nsec)),
            changed: (number(stat.st_ctime), number(stat.st_ctime_nsec)),
        }))
    }
}

/// Tells each name in an open folder where it stands in the system's answer: no copy of each is made.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn each_name(folder: &File, mut tell: impl FnMut(&CStr)) -> io::Result<()> {
    rustix::fs::seek(folder, rustix::fs::SeekFrom::Start(0))?;
    let mut answer = Vec::with_capacity(64 << 10);
    let mut names = rustix::fs::RawDir::new(folder, answer.spare_capacity_mut());
    while let Some(entry) = names.next() {
        tell(entry?.file_name());
    }
    Ok(())
}

/// Tells each name in an open folder.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn each_name(folder: &File, mut tell: impl FnMut(&CStr)) -> io::Result<()> {
    for entry in Dir::read_from(folder)? {
        tell(entry?.file_name());
    }
    Ok(())
}

/// A number of the system's, whose width differs from one to the next; all of them fit.
fn number<T: TryInto<U>, U: Default>(number: T) -> U {
    number.try_into().unwrap_or_default()
}

/// Opens a folder.
pub(in crate::disk) fn open_dir(dir: &File, name: impl AsRef<OsStr>) -> io::Result<File> {
    ask(Call::Open, Path::new(name.as_ref()))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | imp::SAFE;
    Ok(openat(dir, name.as_ref(), flags, Mode::empty())?.into())
}

/// Opens what is there for reading, without waiting for a pipe's other end.
pub(in crate::disk) fn open_read(dir: &File, name: &str) -> io::Result<File> {
    ask(Call::Open, Path::new(name))?;
    Ok(openat(dir, name, OFlags::RDONLY | imp::SAFE, Mode::empty())?.into())
}

/// Makes a folder, 0700.
pub(in crate::disk) fn create_dir(dir: &File, name: &str) -> io::Result<()> {
    ask(Call::MakeDir, Path::new(name))?;
    Ok(mkdirat(dir, name, Mode::RWXU)?)
}

/// Creates a file for reading and writing, 0600 or 0700; one that is there already is an error.
pub(in crate::disk) fn create_new(dir: &File, name: &str, executable: bool) -> io::Result<File> {
    ask(Call::Create, Path::new(name))?;
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | imp::SAFE;
    let mode = if executable { Mode::RWXU } else { Mode::RUSR | Mode::WUSR };
    Ok(openat(dir, name, flags, mode)?.into())
}

/// Makes a symbolic link of that time, in seconds since 1970.
pub(in crate::disk) fn symlink(
    dir: &File,
    name: &str,
    target: &str,
    modified: i64,
) -> io::Result<()> {
    ask(Call::Link, Path::new(name))?;
    symlinkat(target, dir, name)?;
    ask(Call::Date, Path::new(name))?;
    Ok(utimensat(dir, name, &times(modified), AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Writes into an open file, at that place.
pub(in crate::disk) fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    let asked = ask(Call::Write, Path::new(""));
    #[cfg(test)]
    if asked.is_err() {
        file.write_all_at(super::faults::torn(bytes), at)?;
    }
    asked?;
    file.write_all_at(bytes, at)
}

/// Gives an open file or folder its time, in seconds since 1970.
pub(in crate::disk) fn date(file: &File, modified: i64) -> io::Result<()> {
    ask(Call::Date, Path::new(""))?;
    Ok(futimens(file, &times(modified))?)
}

/// Brings all that was written to the file system of an open folder onto the disk.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(in crate::disk) fn sync_file_system(dir: &File) -> io::Result<()> {
    ask(Call::Sync, Path::new(""))?;
    #[cfg(test)]
    if super::faults::is_played() {
        return Ok(());
    }
    Ok(rustix::fs::syncfs(dir)?)
}

/// Removes all that is in an open folder.
pub(super) fn remove_all(dir: &File) -> io::Result<()> {
    for name in names(dir)? {
        let path = Path::new(OsStr::from_bytes(name.to_bytes()));
        ask(Call::Remove, path)?;
        match unlinkat(dir, name.as_c_str(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            // Which of the two says that it is a folder depends on the system.
            Err(refused @ (Errno::ISDIR | Errno::PERM)) => {
                match open_dir(dir, path) {
                    Ok(below) => remove_all(&below)?,
                    Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                        return Err(refused.into());
                    }
                    Err(error) => return Err(error),
                }
                ask(Call::Remove, path)?;
                unlinkat(dir, name.as_c_str(), AtFlags::REMOVEDIR)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Names what is in a folder, before anything of it changes.
fn names(dir: &File) -> io::Result<Vec<CString>> {
    ask(Call::List, Path::new(""))?;
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

fn times(modified: i64) -> Timestamps {
    let at = Timespec { tv_sec: modified, tv_nsec: 0 };
    Timestamps { last_access: at, last_modification: at }
}
