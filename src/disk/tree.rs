//! What lies below a folder?
//!
//! Looks, and follows no link: each folder is reached name by name through open descriptors, so
//! that nobody can lead the walk elsewhere by exchanging a folder for a link meanwhile. Pipes,
//! sockets and devices are reported and never opened.

use std::path::{Path, PathBuf};

use super::error::{At, Result};
use super::replace::{STAGING_SUFFIX, parent, reserved_name, sync_dir};
use super::sys;
use imp::{Folder, descend, list, open_root};

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
    /// Last change of the content, in seconds since 1970.
    pub modified: i64,
    /// Permission bits, `0o7777` at most.
    pub mode: u32,
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
    let top = open_root(root).map_err(sys::explain_open).at("list", root)?;
    let mut walk = Walk::default();
    let mut pending = Vec::new();
    let first = list(&top, Path::new("")).at("list", root)?;
    take(first, &mut walk, &mut pending, enter);
    // The folder listed last: the next one is mostly in it, which spares the way from the top.
    let mut last = None;
    while let Some(path) = pending.pop() {
        match look_into(&top, &mut last, &path) {
            Ok(found) => take(found, &mut walk, &mut pending, enter),
            Err(error) => walk.unreadable.push((path, error.to_string())),
        }
    }
    // In their place, for there may be hundreds of thousands.
    fn bytes(path: &Path) -> &[u8] {
        path.as_os_str().as_encoded_bytes()
    }
    walk.nodes.sort_unstable_by(|a, b| bytes(&a.path).cmp(bytes(&b.path)));
    walk.unreadable.sort_by(|(a, _), (b, _)| bytes(a).cmp(bytes(b)));
    Ok(walk)
}

/// Whether `root` is a folder that can be walked: one that is there, and not a link to one.
///
/// # Errors
///
/// When it is not.
pub fn is_root(root: &Path) -> Result<()> {
    open_root(root).map(drop).map_err(sys::explain_open).at("list", root)
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
        let path = staging_name(beside)?;
        match sys::create_dir(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            other => {
                other.at("create a folder in", holder)?;
                if let Err(error) = sync_dir(holder) {
                    // If this fails too, its name says to everybody that it is litter.
                    let _left_behind = sys::remove_dir(&path);
                    return Err(error);
                }
                return Ok(path);
            }
        }
    }
}

/// A reserved name in the folder that holds `beside`, for a folder that is made later.
///
/// # Errors
///
/// When the system has no random numbers.
pub fn staging_name(beside: &Path) -> Result<PathBuf> {
    let holder = parent(beside);
    Ok(holder.join(reserved_name(STAGING_SUFFIX).at("create a folder in", holder)?))
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
        opened.and_then(|file| sys::sync(&file)).at("sync", &path)?;
    }
    sync_dir(root)
}

/// One folder's entries, and those that could not be looked at.
#[derive(Default)]
struct Found {
    nodes: Vec<Node>,
    unreadable: Vec<(PathBuf, String)>,
}

/// Lists the folder at `path` below `top`; nothing if it has vanished or is one no more.
fn look_into(
    top: &Folder,
    last: &mut Option<(PathBuf, Folder)>,
    path: &Path,
) -> std::io::Result<Found> {
    let dir = match (&*last, path.file_name()) {
        (Some((above, dir)), Some(name)) if path.parent() == Some(above) => {
            descend(dir, Path::new(name))?
        }
        _ => descend(top, path)?,
    };
    let Some(dir) = dir else {
        return Ok(Found::default());
    };
    let found = list(&dir, path)?;
    *last = Some((path.to_owned(), dir));
    Ok(found)
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

#[cfg(unix)]
mod imp {
    use std::ffi::OsStr;
    use std::fs::File;
    use std::io;
    use std::os::unix::ffi::OsStrExt;
    use std::path::{Path, PathBuf};

    use rustix::fs::{AtFlags, Dir, FileType, Stat, statat};
    use rustix::io::Errno;

    use super::super::sys::{self, Call};
    use super::{Found, Kind, Node};

    /// An open folder.
    pub(super) type Folder = File;

    pub(super) fn open_root(root: &Path) -> io::Result<File> {
        sys::open_dir(root)
    }

    /// Opens a folder below `top` name by name; `None` if it has vanished or is one no more.
    pub(super) fn descend(top: &Folder, path: &Path) -> io::Result<Option<File>> {
        let mut dir = top.try_clone()?;
        for name in path {
            match sys::beneath::open_dir(&dir, name) {
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

    pub(super) fn list(dir: &Folder, path: &Path) -> io::Result<Found> {
        sys::ask(Call::List, path)?;
        let mut found = Found::default();
        for entry in Dir::read_from(dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let path = path.join(OsStr::from_bytes(name.to_bytes()));
            match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => found.nodes.push(node(path, &stat)),
                Err(Errno::NOENT) => {}
                Err(error) => found.unreadable.push((path, io::Error::from(error).to_string())),
            }
        }
        Ok(found)
    }

    fn node(path: PathBuf, stat: &Stat) -> Node {
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
            modified: signed(stat.st_mtime),
            mode: u32::try_from(unsigned(stat.st_mode) & 0o7777).unwrap_or_default(),
        }
    }

    /// The fields of `stat` have other widths on every system; none holds a negative count.
    fn unsigned<T: TryInto<u64>>(field: T) -> u64 {
        field.try_into().unwrap_or_default()
    }

    fn signed<T: TryInto<i64>>(field: T) -> i64 {
        field.try_into().unwrap_or_default()
    }
}

/// By path, where folders cannot be opened one in another; links are told by asking first.
#[cfg(not(unix))]
mod imp {
    use std::fs::Metadata;
    use std::io;
    use std::path::{Path, PathBuf};

    use super::super::sys;
    use super::{Found, Kind, Node};

    /// A folder's path.
    pub(super) type Folder = PathBuf;

    pub(super) fn open_root(root: &Path) -> io::Result<PathBuf> {
        sys::open_read(root).map(drop).or_else(|error| match std::fs::symlink_metadata(root) {
            Ok(meta) if meta.is_dir() => Ok(()),
            _ => Err(error),
        })?;
        Ok(root.to_owned())
    }

    pub(super) fn descend(top: &Folder, path: &Path) -> io::Result<Option<PathBuf>> {
        let path = top.join(path);
        let is_dir = std::fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir());
        Ok(is_dir.then_some(path))
    }

    pub(super) fn list(dir: &Folder, path: &Path) -> io::Result<Found> {
        let mut found = Found::default();
        for entry in sys::read_dir(dir)? {
            let entry = entry?;
            let path = path.join(entry.file_name());
            match entry.metadata() {
                Ok(meta) => found.nodes.push(node(path, &meta)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => found.unreadable.push((path, error.to_string())),
            }
        }
        Ok(found)
    }

    fn node(path: PathBuf, meta: &Metadata) -> Node {
        let facts = sys::facts(meta);
        Node {
            path,
            kind: if meta.is_symlink() {
                Kind::Symlink
            } else if meta.is_dir() {
                Kind::Dir
            } else if meta.is_file() {
                Kind::File
            } else {
                Kind::Other("device")
            },
            size: facts.size,
            modified: facts.modified.0,
            mode: if meta.is_dir() { 0o700 } else { 0o600 },
        }
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    /// What a walk found, a line each, in its order.
    fn lines(walk: &Walk) -> Vec<String> {
        walk.nodes.iter().map(|n| format!("{} {:?}", n.path.display(), n.kind)).collect()
    }

    #[test]
    fn everything_is_found_once_and_in_bytewise_order() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("b/c")).unwrap();
        for name in ["b.txt", "b/z", "b/c/d", "B", "b-", "ä"] {
            fs::write(at(name), name).unwrap();
        }
        let walk = walk(dir.path(), &mut |_| Visit::Take).unwrap();
        assert_eq!(
            lines(&walk),
            [
                "B File",
                "b Dir",
                "b- File",
                "b.txt File",
                "b/c Dir",
                "b/c/d File",
                "b/z File",
                "ä File"
            ]
        );
        assert!(walk.unreadable.is_empty());
    }

    #[test]
    fn links_are_named_and_never_followed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::create_dir(dir.path().join("outside")).unwrap();
        fs::write(dir.path().join("outside/x"), "").unwrap();
        symlink("..", root.join("sub/up")).unwrap();
        symlink("self", root.join("self")).unwrap();
        symlink("../outside", root.join("out")).unwrap();
        symlink("nothing", root.join("broken")).unwrap();
        let found = walk(&root, &mut |_| Visit::Take).unwrap();
        assert_eq!(
            lines(&found),
            ["broken Symlink", "out Symlink", "self Symlink", "sub Dir", "sub/up Symlink"]
        );
        let error = walk(&root.join("out"), &mut |_| Visit::Take).unwrap_err();
        assert_eq!(error.action, "list");
    }

    #[test]
    fn pipes_and_sockets_are_told_and_never_opened() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let dir = tempfile::tempdir().unwrap();
        mknodat(CWD, dir.path().join("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("s")).unwrap();
        let walk = walk(dir.path(), &mut |_| Visit::Take).unwrap();
        assert_eq!(lines(&walk), ["pipe Other(\"fifo\")", "s Other(\"socket\")"]);
        sync_tree(dir.path()).unwrap();
    }

    #[test]
    fn what_is_skipped_is_not_entered() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("no/below")).unwrap();
        fs::create_dir_all(dir.path().join("yes/below")).unwrap();
        let mut asked = Vec::new();
        let walk = walk(dir.path(), &mut |node| {
            asked.push(node.path.clone());
            if node.path.starts_with("no") { Visit::Skip } else { Visit::Take }
        });
        assert_eq!(lines(&walk.unwrap()), ["yes Dir", "yes/below Dir"]);
        asked.sort();
        assert_eq!(asked, ["no", "yes", "yes/below"].map(PathBuf::from));
    }

    #[test]
    fn names_are_bytes_and_need_not_be_text() {
        let dir = tempfile::tempdir().unwrap();
        let name = OsStr::from_bytes(b"a\xff\nb");
        fs::write(dir.path().join(name), "").unwrap();
        let walk = walk(dir.path(), &mut |_| Visit::Take).unwrap();
        assert_eq!(walk.nodes[0].path, Path::new(name));
    }

    #[test]
    fn the_facts_of_a_file_are_the_kernel_s() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "content").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let walk = walk(dir.path(), &mut |_| Visit::Take).unwrap();
        let (node, meta) = (&walk.nodes[0], fs::metadata(&path).unwrap());
        assert_eq!((node.size, node.mode, node.modified), (7, 0o640, meta.mtime()));
    }

    #[test]
    fn a_deep_tree_costs_neither_stack_nor_descriptors() {
        let dir = tempfile::tempdir().unwrap();
        let deep = (0..1500).fold(PathBuf::new(), |path, _| path.join("d"));
        fs::create_dir_all(dir.path().join(&deep)).unwrap();
        let walk = walk(dir.path(), &mut |_| Visit::Take).unwrap();
        assert_eq!(walk.nodes.len(), 1500);
        assert!(walk.unreadable.is_empty());
    }

    #[test]
    fn a_folder_that_vanishes_during_the_walk_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["gone", "link"] {
            fs::create_dir_all(dir.path().join(name).join("below")).unwrap();
        }
        let walk = walk(dir.path(), &mut |node| {
            // Both were listed; one is removed, the other becomes a link, before it is opened.
            let path = dir.path().join(&node.path);
            let _ = fs::remove_dir_all(&path);
            if node.path == Path::new("link") {
                symlink("/", path).unwrap();
            }
            Visit::Take
        });
        let walk = walk.unwrap();
        assert_eq!(lines(&walk), ["gone Dir", "link Dir"]);
        assert!(walk.unreadable.is_empty());
    }

    #[test]
    fn a_root_that_is_not_there_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let error = walk(&dir.path().join("none"), &mut |_| Visit::Take).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    }

    #[test]
    fn a_staging_folder_is_beside_and_counts_as_litter() {
        let dir = tempfile::tempdir().unwrap();
        let staged = staging_dir(&dir.path().join("home")).unwrap();
        assert_eq!(staged.parent(), Some(dir.path()));
        assert_eq!(
            super::super::replace::litter(dir.path()).unwrap(),
            std::slice::from_ref(&staged)
        );
        fs::write(staged.join("a"), "").unwrap();
        sync_tree(&staged).unwrap();
        assert!(staging_dir(&dir.path().join("none/home")).is_err());
    }
}
