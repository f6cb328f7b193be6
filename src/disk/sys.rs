//! What does this operating system call it?
//!
//! Every call of this room that changes the disk, and every one that opens or lists something on
//! it, goes through here: those the standard library has, those it lacks, and those it has
//! without the flags that matter. Every difference between systems that the rest of the room
//! would notice ends here, and so does the disk itself in a test ([`faults`]).

#[cfg(unix)]
pub(super) mod beneath;
#[cfg(test)]
pub(crate) mod faults;
#[cfg(not(unix))]
#[path = "sys/portable.rs"]
mod imp;
#[cfg(unix)]
#[path = "sys/unix.rs"]
mod imp;
#[cfg(target_os = "linux")]
mod writeback;

use std::fs::{File, ReadDir};
use std::io::{self, Write};
use std::path::Path;
use std::time::SystemTime;

pub(super) use imp::{
    available, explain_open, facts, is_alive, is_unsupported, kind_of, lock_is_unsupported,
    mount_begins, record_lock_shared, sync_is_unsupported,
};

/// What the disk is asked for, told apart as far as the answers differ.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Call {
    /// Open what is there.
    Open,
    /// Read what is open.
    Read,
    /// List a folder.
    List,
    /// Make a file.
    Create,
    /// Write into one.
    Write,
    /// Let one have the content of another: not every file system can.
    Clone,
    /// Reserve room for one.
    Reserve,
    /// Change its length.
    Truncate,
    /// Have the disk begin with what a file has, without waiting until it is there.
    // Only Linux can be asked for that.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code))]
    Begin,
    /// Bring a file or a folder onto the disk.
    Sync,
    /// Change the mode.
    Narrow,
    /// Change the time.
    Date,
    /// Make a folder.
    MakeDir,
    /// Make a link, symbolic or hard.
    Link,
    /// Rename, whatever has the new name.
    Rename,
    /// Rename to a name that must be free, or exchange two names: not every file system can.
    RenameWith,
    /// Remove a name.
    Remove,
    /// Let SQLite change a database.
    Database,
}

/// An open file that is written to.
pub(super) struct Output<'a>(pub(super) &'a File);

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let asked = ask(Call::Write, Path::new(""));
        #[cfg(test)]
        if asked.is_err() {
            self.0.write_all(faults::torn(bytes))?;
        }
        asked?;
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Asks whether the disk will do something, which only a test ever denies.
#[cfg(not(test))]
pub(super) fn ask(_call: Call, _path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
pub(super) use faults::ask;

/// Whether a test plays commands in a weather of its own, which nothing but a test does.
#[cfg(not(test))]
pub(super) fn is_played() -> bool {
    false
}

#[cfg(test)]
pub(in crate::disk) use faults::is_played;

/// What a thread that works for another one on the disk takes along, which is nothing outside
/// of a test.
#[cfg(not(test))]
#[derive(Clone)]
pub(super) struct Errand;

#[cfg(not(test))]
impl Errand {
    pub(super) fn of_this_thread() -> Self {
        Self
    }

    pub(super) fn run<T>(self, act: impl FnOnce() -> T) -> T {
        act()
    }
}

#[cfg(test)]
pub(super) use faults::Errand;

pub(super) fn open_read(path: &Path) -> io::Result<File> {
    ask(Call::Open, path)?;
    imp::open_read(path)
}

/// Like [`open_read`], but a symbolic link is followed to what it names.
pub(super) fn open_read_following(path: &Path) -> io::Result<File> {
    ask(Call::Open, path)?;
    imp::open_read_following(path)
}

pub(super) fn open_write(path: &Path) -> io::Result<File> {
    ask(Call::Open, path)?;
    imp::open_write(path)
}

pub(super) fn open_append(path: &Path) -> io::Result<File> {
    ask(Call::Open, path)?;
    imp::open_append(path)
}

pub(super) fn open_dir(path: &Path) -> io::Result<File> {
    ask(Call::Open, path)?;
    imp::open_dir(path)
}

/// The entries of a folder, in no order.
pub(super) fn read_dir(path: &Path) -> io::Result<ReadDir> {
    ask(Call::List, path)?;
    std::fs::read_dir(path)
}

/// A new, empty file for reading and writing, 0600 from its first moment.
pub(super) fn create_new(path: &Path) -> io::Result<File> {
    ask(Call::Create, path)?;
    imp::create_new(path)
}

/// The file that is there, or a new one.
pub(super) fn open_or_create(path: &Path) -> io::Result<File> {
    ask(Call::Create, path)?;
    imp::open_or_create(path)
}

/// Reserves blocks without changing the file's length; a file system that cannot is fine.
pub(super) fn preallocate(file: &File, len: u64) -> io::Result<()> {
    ask(Call::Reserve, Path::new(""))?;
    imp::preallocate(file, len)
}

/// Lets an open file have the content of another one, of which the file system makes no copy before one
/// of the two is written to. The rest of what both are is left alone; most file systems cannot.
pub(super) fn clone_content(file: &File, from: &File) -> io::Result<()> {
    ask(Call::Clone, Path::new(""))?;
    #[cfg(test)]
    if faults::is_cloning() {
        // What a test runs on cannot, mostly.
        let (mut file, mut from) = (file, from);
        return io::copy(&mut from, &mut file).map(drop);
    }
    imp::clone_content(file, from)
}

/// Whether an open file lies where files are cloned and nobody but this system writes to them, so that
/// every write shows in their times.
#[cfg(unix)]
pub(super) fn clones_by_itself(file: &File) -> bool {
    #[cfg(test)]
    if faults::is_cloning() {
        return true;
    }
    imp::clones_by_itself(file)
}

pub(super) fn set_len(file: &File, len: u64) -> io::Result<()> {
    ask(Call::Truncate, Path::new(""))?;
    file.set_len(len)
}

pub(super) fn set_modified(file: &File, at: SystemTime) -> io::Result<()> {
    ask(Call::Date, Path::new(""))?;
    file.set_modified(at)
}

/// Takes the rights of group and others away through an open file, answering the mode it had if
/// that changed anything.
pub(super) fn narrow(file: &File) -> io::Result<Option<u32>> {
    ask(Call::Narrow, Path::new(""))?;
    imp::narrow(file)
}

/// Brings a file or a folder onto the disk; a file system that does not know how is fine.
pub(super) fn sync(file: &File) -> io::Result<()> {
    let synced = ask(Call::Sync, Path::new("")).and_then(|()| {
        #[cfg(test)]
        if is_played() {
            return Ok(());
        }
        file.sync_all()
    });
    match synced {
        Err(error) if sync_is_unsupported(&error) => Ok(()),
        other => other,
    }
}

/// Has the disk begin with so many bytes of a file from one place on, where that can be asked for.
#[cfg(all(unix, not(target_os = "linux")))]
pub(super) fn begin(_file: &File, _from: u64, _bytes: u64) -> io::Result<()> {
    Ok(())
}

#[cfg(target_os = "linux")]
pub(super) use writeback::begin;

#[cfg(unix)]
pub(super) use beneath::Place;
#[cfg(not(unix))]
pub(super) use imp::Place;

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) use beneath::sync_file_system;

pub(super) fn create_dir(path: &Path) -> io::Result<()> {
    ask(Call::MakeDir, path)?;
    imp::create_dir(path)
}

pub(super) fn symlink(target: &Path, at: &Path) -> io::Result<()> {
    ask(Call::Link, at)?;
    imp::symlink(target, at)
}

pub(super) fn hard_link(from: &Path, to: &Path) -> io::Result<()> {
    ask(Call::Link, to)?;
    std::fs::hard_link(from, to)
}

pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    ask(Call::Rename, to)?;
    std::fs::rename(from, to)
}

/// Gives something a new name that must be free, in one step.
pub(super) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    ask(Call::RenameWith, to)?;
    imp::rename_new(from, to)
}

/// Exchanges two names in one step.
pub(super) fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    ask(Call::RenameWith, other)?;
    imp::exchange(one, other)
}

pub(super) fn remove_file(path: &Path) -> io::Result<()> {
    ask(Call::Remove, path)?;
    std::fs::remove_file(path)
}

/// Removes an empty folder.
pub(super) fn remove_dir(path: &Path) -> io::Result<()> {
    ask(Call::Remove, path)?;
    std::fs::remove_dir(path)
}

/// Removes a folder and all that is in it. Links are removed, never followed, whoever exchanges
/// names meanwhile.
pub(super) fn remove_dir_all(path: &Path) -> io::Result<()> {
    imp::remove_dir_all(path)
}
