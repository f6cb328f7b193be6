//! The same calls by rustix, with the flags that keep a link, a pipe or a stranger out.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::beneath;
use crate::disk::facts::Facts;

const PRIVATE_FILE: Mode = Mode::RUSR.union(Mode::WUSR);
const PRIVATE_DIR: Mode = Mode::RWXU;
pub(super) const SAFE: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

pub(super) fn open_read(path: &Path) -> io::Result<File> {
    open(path, OFlags::RDONLY | SAFE)
}

pub(super) fn open_read_following(path: &Path) -> io::Result<File> {
    open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC)
}

pub(super) fn open_write(path: &Path) -> io::Result<File> {
    open(path, OFlags::RDWR | SAFE)
}

pub(super) fn open_append(path: &Path) -> io::Result<File> {
    open(path, OFlags::RDWR | OFlags::APPEND | SAFE)
}

pub(super) fn create_new(path: &Path) -> io::Result<File> {
    open(path, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | SAFE)
}

pub(super) fn open_or_create(path: &Path) -> io::Result<File> {
    open(path, OFlags::RDWR | OFlags::CREATE | SAFE)
}

pub(super) fn open_dir(path: &Path) -> io::Result<File> {
    open(path, OFlags::RDONLY | OFlags::DIRECTORY | SAFE)
}

pub(super) fn remove_dir_all(path: &Path) -> io::Result<()> {
    beneath::remove_all(&super::open_dir(path)?)?;
    super::remove_dir(path)
}

pub(super) fn create_dir(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::mkdir(path, PRIVATE_DIR)?)
}

pub(super) fn symlink(target: &Path, at: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, at)
}

pub(super) fn narrow(file: &File) -> io::Result<Option<u32>> {
    let mode = file.metadata()?.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(None);
    }
    file.set_permissions(std::fs::Permissions::from_mode(mode & 0o7700))?;
    Ok(Some(mode))
}

pub(in crate::disk) fn kind_of(meta: &Metadata) -> &'static str {
    let kind = meta.file_type();
    if kind.is_dir() {
        "a folder"
    } else if kind.is_symlink() {
        "a symbolic link"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_file() {
        "a regular file"
    } else {
        "a device"
    }
}

/// Turns the riddles that opening a link or a socket answers with into plain words.
pub(in crate::disk) fn explain_open(error: io::Error) -> io::Error {
    match Errno::from_io_error(&error) {
        Some(Errno::LOOP) => io::Error::other("it is a symbolic link"),
        Some(Errno::NXIO) => crate::disk::error::NotRegular::error("a socket"),
        _ => error,
    }
}

pub(in crate::disk) fn facts(meta: &Metadata) -> Facts {
    Facts {
        device: meta.dev(),
        inode: meta.ino(),
        size: meta.len(),
        modified: (meta.mtime(), meta.mtime_nsec()),
        changed: (meta.ctime(), meta.ctime_nsec()),
    }
}

/// Some file systems cannot sync a file or a folder; there is nothing to be done about it.
pub(in crate::disk) fn sync_is_unsupported(error: &io::Error) -> bool {
    // Two of these are one number on some systems, which a pattern would not allow.
    let unsupported = [Errno::INVAL, Errno::NOTSUP, Errno::OPNOTSUPP, Errno::NOSYS];
    Errno::from_io_error(error).is_some_and(|errno| unsupported.contains(&errno))
}

/// Whether the answer means "not on this file system", as opposed to a failure.
pub(in crate::disk) fn is_unsupported(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported || sync_is_unsupported(error)
}

/// Whether the answer to a lock request means that there are no locks here.
pub(in crate::disk) fn lock_is_unsupported(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::NOLCK) || is_unsupported(error)
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
pub(super) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    rename_with(from, to, rustix::fs::RenameFlags::NOREPLACE)
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
pub(super) fn rename_new(_from: &Path, _to: &Path) -> io::Result<()> {
    Err(Errno::NOSYS.into())
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
pub(super) fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    rename_with(one, other, rustix::fs::RenameFlags::EXCHANGE)
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
pub(super) fn exchange(_one: &Path, _other: &Path) -> io::Result<()> {
    Err(Errno::NOSYS.into())
}

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn clone_content(file: &File, from: &File) -> io::Result<()> {
    Ok(rustix::fs::ioctl_ficlone(file, from)?)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn clone_content(_file: &File, _from: &File) -> io::Result<()> {
    Err(Errno::NOTSUP.into())
}

/// Btrfs, XFS, bcachefs. NFS and SMB clone as well, but others may write to what they have.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn clones_by_itself(file: &File) -> bool {
    const LOCAL: [u32; 3] = [0x9123_683e, 0x5846_5342, 0xca45_1a4e];
    let kind = rustix::fs::fstatfs(file).ok().and_then(|facts| u32::try_from(facts.f_type).ok());
    kind.is_some_and(|kind| LOCAL.contains(&kind))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn clones_by_itself(_file: &File) -> bool {
    false
}

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn preallocate(file: &File, len: u64) -> io::Result<()> {
    use rustix::fs::FallocateFlags;
    match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, 0, len) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        other => Ok(other?),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn preallocate(_file: &File, _len: u64) -> io::Result<()> {
    Ok(())
}

pub(in crate::disk) fn available(dir: &Path) -> io::Result<u64> {
    let facts = rustix::fs::statvfs(dir)?;
    Ok(facts.f_bavail.saturating_mul(facts.f_frsize))
}

/// Whether a mount begins here, where the kernel tells (it knows bind mounts too).
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(in crate::disk) fn mount_begins(dir: &File) -> Option<bool> {
    use rustix::fs::{AtFlags, StatxAttributes, StatxFlags};
    let facts = rustix::fs::statx(dir, "", AtFlags::EMPTY_PATH, StatxFlags::empty()).ok()?;
    facts
        .stx_attributes_mask
        .contains(StatxAttributes::MOUNT_ROOT)
        .then(|| facts.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(in crate::disk) fn mount_begins(_dir: &File) -> Option<bool> {
    None
}

/// Takes a shared POSIX record lock over the whole file, without waiting.
///
/// It belongs to the process and falls when *any* descriptor of the file is closed.
pub(in crate::disk) fn record_lock_shared(file: &File) -> io::Result<()> {
    use rustix::fs::FlockOperation;
    Ok(rustix::fs::fcntl_lock(file, FlockOperation::NonBlockingLockShared)?)
}

/// Whether a process of this id exists on this machine.
pub(in crate::disk) fn is_alive(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| !matches!(rustix::process::test_kill_process(pid), Err(Errno::SRCH)))
}

fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    Ok(rustix::fs::open(path, flags, PRIVATE_FILE)?.into())
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn rename_with(from: &Path, to: &Path, flags: rustix::fs::RenameFlags) -> io::Result<()> {
    use rustix::fs::CWD;
    Ok(rustix::fs::renameat_with(CWD, from, CWD, to, flags)?)
}
