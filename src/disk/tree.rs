//! What lies below a folder?
//!
//! Looks, and follows no link: each folder is reached name by name through open descriptors, so
//! that nobody can lead the walk elsewhere by exchanging a folder for a link meanwhile. Pipes,
//! sockets and devices are reported and never opened.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::error::{At, Result};
use super::replace::{STAGING_SUFFIX, parent, reserved_name, sync, sync_dir};
use super::sys;

/// What sort of thing an entry is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A folder.
    Dir,
    /// A regular file.
    File,
    /// A symbolic link, whatever it names.
    Symlink,
    /// Something that is not to be opened: `socket`, `fifo`, `device`.
    Other(&'static str),
}

/// One entry, as it was when the walk came by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Node {
    /// Relative to the root of the walk.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// Length in bytes; of a link, the length of what it says.
    pub size: u64,
    /// Bytes that it takes up on the disk: less than `size` if there are holes in it.
    pub stored: u64,
    /// Last change of the content, in seconds since 1970.
    pub modified: i64,
    /// And nanoseconds.
    pub modified_ns: i64,
    /// Last change of content, mode or name, in seconds since 1970.
    pub changed: i64,
    /// And nanoseconds.
    pub changed_ns: i64,
    /// Permission bits, `0o7777` at most.
    pub mode: u32,
    /// The file system it lies on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// How many names it has.
    pub links: u64,
}

/// Whether an entry belongs to the answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Visit {
    /// It does; if it is a folder, so may what it holds.
    Take,
    /// It does not, nor does anything below it.
    Skip,
}

/// What a walk found.
#[derive(Debug, Default)]
pub struct Walk {
    /// All that was taken, the root left out, in bytewise order of the paths: a folder comes
    /// before what it holds.
    pub nodes: Vec<Node>,
    /// What could not be looked into, and why. A folder named here is in `nodes` too.
    pub unreadable: Vec<(PathBuf, String)>,
}

/// Walks everything below `root`, which must be a folder and not a link to one.
///
/// `enter` is asked once for every entry, folders before what they hold. Entries that vanish
/// between listing and looking are as if they had never been; each folder's listing is its own
/// instant, not one for the whole tree.
///
/// # Errors
///
/// When `root` itself cannot be opened or listed. What fails below is in [`Walk::unreadable`].
pub fn walk(root: &Path, enter: &mut dyn FnMut(&Node) -> Visit) -> Result<Walk> {
    let top = sys::open_dir(root).map_err(sys::explain_open).at("list", root)?;
    let mut walk = Walk::default();
    let mut pending = Vec::new();
    let first = list(&top, Path::new("")).at("list", root)?;
    take(first, &mut walk, &mut pending, enter);
    while let Some(path) = pending.pop() {
        let found = descend(&top, &path).and_then(|dir| match dir {
            Some(dir) => list(&dir, &path),
            None => Ok(Found::default()),
        });
        match found {
            Ok(found) => take(found, &mut walk, &mut pending, enter),
            Err(error) => walk.unreadable.push((path, error.to_string())),
        }
    }
    let bytes = |path: &PathBuf| path.as_os_str().as_encoded_bytes().to_vec();
    walk.nodes.sort_by_cached_key(|node| bytes(&node.path));
    walk.unreadable.sort_by_cached_key(|(path, _)| bytes(path));
    Ok(walk)
}

/// Creates an empty folder (0700) under a reserved name in the folder that holds `beside`, and
/// so on the same file system; an interrupted run leaves it to [`super::replace::litter`].
///
/// # Errors
///
/// When that folder cannot be written.
pub fn staging_dir(beside: &Path) -> Result<PathBuf> {
    let holder = parent(beside);
    loop {
        let path = holder.join(reserved_name(STAGING_SUFFIX).at("create a folder in", holder)?);
        match sys::create_dir(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            other => {
                other.at("create a folder in", holder)?;
                sync_dir(holder)?;
                return Ok(path);
            }
        }
    }
}

/// Makes a finished tree survive a power cut: its files first, then its folders, the root last.
///
/// # Errors
///
/// When anything in it cannot be opened or synced.
pub fn sync_tree(root: &Path) -> Result<()> {
    let mut walk = walk(root, &mut |_| Visit::Take)?;
    if let Some((path, why)) = walk.unreadable.pop() {
        return Err(std::io::Error::other(why)).at("sync", &root.join(path));
    }
    // Backwards in this order, what a folder holds comes before the folder.
    for node in walk.nodes.iter().rev() {
        let path = root.join(&node.path);
        let opened = match node.kind {
            Kind::Dir => sys::open_dir(&path),
            Kind::File => sys::open_read(&path),
            Kind::Symlink | Kind::Other(_) => continue,
        };
        opened.and_then(|file| sync(&file)).at("sync", &path)?;
    }
    sync_dir(root)
}

/// One folder's entries, and those that could not be looked at.
#[derive(Default)]
struct Found {
    nodes: Vec<Node>,
    unreadable: Vec<(PathBuf, String)>,
}

fn take(
    found: Found,
    walk: &mut Walk,
    pending: &mut Vec<PathBuf>,
    enter: &mut dyn FnMut(&Node) -> Visit,
) {
    walk.unreadable.extend(found.unreadable);
    for node in found.nodes {
        if enter(&node) == Visit::Skip {
            continue;
        }
        if node.kind == Kind::Dir {
            pending.push(node.path.clone());
        }
        walk.nodes.push(node);
    }
}

/// Opens a folder below `top` name by name; `None` if it has vanished or is one no more.
#[cfg(unix)]
fn descend(top: &File, path: &Path) -> std::io::Result<Option<File>> {
    use rustix::io::Errno;
    let mut dir = top.try_clone()?;
    for name in path {
        match sys::open_dir_in(&dir, name) {
            Ok(next) => dir = next,
            Err(error) => {
                return match Errno::from_io_error(&error) {
                    Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
                    _ => Err(error),
                };
            }
        }
    }
    Ok(Some(dir))
}

#[cfg(unix)]
fn list(dir: &File, path: &Path) -> std::io::Result<Found> {
    use std::os::unix::ffi::OsStrExt;

    use rustix::fs::{AtFlags, statat};
    use rustix::io::Errno;

    let mut found = Found::default();
    for entry in rustix::fs::Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let path = path.join(std::ffi::OsStr::from_bytes(name.to_bytes()));
        match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => found.nodes.push(node(path, &stat)),
            Err(Errno::NOENT) => {}
            Err(error) => found.unreadable.push((path, std::io::Error::from(error).to_string())),
        }
    }
    Ok(found)
}

#[cfg(unix)]
fn node(path: PathBuf, stat: &rustix::fs::Stat) -> Node {
    use rustix::fs::FileType;
    Node {
        path,
        kind: match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Kind::Dir,
            FileType::RegularFile => Kind::File,
            FileType::Symlink => Kind::Symlink,
            FileType::Socket => Kind::Other("socket"),
            FileType::Fifo => Kind::Other("fifo"),
            _ => Kind::Other("device"),
        },
        size: unsigned(stat.st_size),
        stored: unsigned(stat.st_blocks).saturating_mul(512),
        modified: signed(stat.st_mtime),
        modified_ns: signed(stat.st_mtime_nsec),
        changed: signed(stat.st_ctime),
        changed_ns: signed(stat.st_ctime_nsec),
        mode: u32::try_from(unsigned(stat.st_mode) & 0o7777).unwrap_or_default(),
        device: unsigned(stat.st_dev),
        inode: unsigned(stat.st_ino),
        links: unsigned(stat.st_nlink),
    }
}

/// The fields of `stat` have other widths on every system; none holds a negative count.
#[cfg(unix)]
fn unsigned<T: TryInto<u64>>(field: T) -> u64 {
    field.try_into().unwrap_or_default()
}

#[cfg(unix)]
fn signed<T: TryInto<i64>>(field: T) -> i64 {
    field.try_into().unwrap_or_default()
}

#[cfg(not(unix))]
fn descend(top: &File, path: &Path) -> std::io::Result<Option<File>> {
    let _unused = top;
    let _unused = path;
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(not(unix))]
fn list(_dir: &File, _path: &Path) -> std::io::Result<Found> {
    Err(std::io::ErrorKind::Unsupported.into())
}
