//! How do unpacked bytes reach a directory without ever leaving it?
//!
//! On Unix everything is relative to open directories, each opened by one component without following
//! links; names the system looks up are single components. Elsewhere paths are used and existing files
//! are never opened.

use std::io;

use super::EntryName;

#[cfg(not(unix))]
pub(super) use paths::{Destination, NewFile};
#[cfg(unix)]
pub(super) use unix::{Destination, NewFile};

/// Whole aligned blocks of this many zero bytes are left as holes.
const HOLE: usize = 64 << 10;

/// Whether a link may be restored wherever the tree comes to lie: relative, and `..` only at its start
/// and not further than the root.
///
/// A `..` after a name could leave the tree through another link; at the start it cannot, since the
/// directories above a link are real.
pub(super) fn stays_inside(name: &EntryName, target: &str) -> bool {
    if target.starts_with('/') || target.contains(['\\', ':']) && cfg!(windows) {
        return false;
    }
    let parts = || target.split('/').filter(|part| !matches!(*part, "" | "."));
    let up = parts().take_while(|part| *part == "..").count();
    up < name.depth() && !parts().skip(up).any(|part| part == "..")
}

/// The stretches of `bytes` that must be written, as ranges; the rest are whole blocks of zeros.
fn stretches(bytes: &[u8]) -> Vec<(usize, &[u8])> {
    let blocks = bytes.chunks(HOLE).enumerate().map(|(index, block)| (index * HOLE, block));
    blocks.filter(|(_, block)| block.len() < HOLE || block.iter().any(|byte| *byte != 0)).collect()
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

#[cfg(unix)]
mod unix {
    use std::fs::File;
    use std::io;
    use std::path::Path;

    use super::super::EntryName;
    use super::{invalid, stretches};
    use crate::disk::sys::{self, beneath};

    /// An existing private directory that a tree is unpacked into.
    pub(in super::super) struct Destination {
        root: File,
        /// The directories that lead to the last name used, outermost first.
        way: Vec<(String, File)>,
    }

    /// A file that did not exist before.
    pub(in super::super) struct NewFile {
        file: File,
        length: u64,
    }

    impl Destination {
        pub(in super::super) fn open(into: &Path) -> io::Result<Self> {
            Ok(Self { root: sys::open_dir(into)?, way: Vec::new() })
        }

        /// Makes a directory and those above it, 0700; one that is there already is fine.
        pub(in super::super) fn dir(&mut self, name: &EntryName) -> io::Result<()> {
            self.walk(name.components())
        }

        /// Creates a file, 0600 or 0700; one that is there already is an error.
        pub(in super::super) fn file(
            &mut self,
            name: &EntryName,
            executable: bool,
        ) -> io::Result<NewFile> {
            self.walk_to_parent(name)?;
            let file = beneath::create_new(self.here(), name.leaf(), executable)?;
            Ok(NewFile { file, length: 0 })
        }

        /// Creates a symbolic link.
        pub(in super::super) fn symlink(
            &mut self,
            name: &EntryName,
            target: &str,
            modified: i64,
        ) -> io::Result<()> {
            self.walk_to_parent(name)?;
            beneath::symlink(self.here(), name.leaf(), target, modified)
        }

        /// Sets a directory's time, after everything in it is there.
        pub(in super::super) fn date_dir(
            &mut self,
            name: &EntryName,
            modified: i64,
        ) -> io::Result<()> {
            self.walk(name.components())?;
            beneath::date(self.here(), modified)
        }

        /// Brings everything onto the disk. `dirs` are all directories, deepest first.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        pub(in super::super) fn sync(&mut self, _dirs: &[EntryName]) -> io::Result<()> {
            beneath::sync_file_system(&self.root)?;
            sys::sync(&self.root)
        }

        /// Brings everything onto the disk. `dirs` are all directories, deepest first.
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        pub(in super::super) fn sync(&mut self, dirs: &[EntryName]) -> io::Result<()> {
            for dir in dirs {
                self.walk(dir.components())?;
                sys::sync(self.here())?;
            }
            sys::sync(&self.root)
        }

        fn here(&self) -> &File {
            self.way.last().map_or(&self.root, |(_, dir)| dir)
        }

        fn walk_to_parent(&mut self, name: &EntryName) -> io::Result<()> {
            self.walk(name.components().take(name.depth().saturating_sub(1)))
        }

        /// Opens the directories on the way, making those that are missing.
        fn walk<'a>(&mut self, parts: impl Iterator<Item = &'a str>) -> io::Result<()> {
            let mut kept = 0;
            for part in parts {
                if self.way.get(kept).is_some_and(|(name, _)| name == part) {
                    kept += 1;
                    continue;
                }
                self.way.truncate(kept);
                match beneath::create_dir(self.here(), part) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(error);
                    }
                    _ => {}
                }
                let dir = beneath::open_dir(self.here(), part)?;
                self.way.push((part.to_owned(), dir));
                kept += 1;
            }
            self.way.truncate(kept);
            Ok(())
        }
    }

    impl NewFile {
        /// Adds bytes; long stretches of zeros become holes.
        pub(in super::super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
            for (start, stretch) in stretches(bytes) {
                let start = u64::try_from(start).map_err(io::Error::other)?;
                beneath::write_at(&self.file, stretch, self.length + start)?;
            }
            let added = u64::try_from(bytes.len()).map_err(io::Error::other)?;
            self.length = self.length.checked_add(added).ok_or_else(|| invalid("too long"))?;
            Ok(())
        }

        /// Sets length and time. The bytes are on the disk after [`Destination::sync`].
        pub(in super::super) fn finish(self, modified: i64) -> io::Result<()> {
            sys::set_len(&self.file, self.length)?;
            beneath::date(&self.file, modified)?;
            if cfg!(any(target_os = "linux", target_os = "android")) {
                return Ok(());
            }
            sys::sync(&self.file)
        }
    }
}

#[cfg(not(unix))]
mod paths {
    use std::fs::{self, File};
    use std::io::{self, Seek, SeekFrom, Write};
    use std::path::{Path, PathBuf};
    use std::time::{Duration, SystemTime};

    use super::super::EntryName;
    use super::{invalid, stretches};
    use crate::disk::replace;
    use crate::disk::sys::{self, Output};

    /// An existing private directory that a tree is unpacked into.
    pub(in super::super) struct Destination {
        root: PathBuf,
    }

    /// A file that did not exist before.
    pub(in super::super) struct NewFile {
        file: File,
        length: u64,
    }

    impl Destination {
        pub(in super::super) fn open(into: &Path) -> io::Result<Self> {
            if !fs::symlink_metadata(into)?.is_dir() {
                return Err(invalid("not a directory"));
            }
            Ok(Self { root: into.to_owned() })
        }

        pub(in super::super) fn dir(&mut self, name: &EntryName) -> io::Result<()> {
            replace::private_dir(&self.path(name)?).map(drop).map_err(|error| error.source)
        }

        pub(in super::super) fn file(
            &mut self,
            name: &EntryName,
            _executable: bool,
        ) -> io::Result<NewFile> {
            if let Some(parent) = name.parent() {
                self.dir(&parent)?;
            }
            let file = sys::create_new(&self.path(name)?)?;
            Ok(NewFile { file, length: 0 })
        }

        pub(in super::super) fn symlink(
            &mut self,
            _name: &EntryName,
            _target: &str,
            _modified: i64,
        ) -> io::Result<()> {
            Err(io::Error::new(io::ErrorKind::Unsupported, "no symbolic links here"))
        }

        pub(in super::super) fn date_dir(
            &mut self,
            _name: &EntryName,
            _modified: i64,
        ) -> io::Result<()> {
            Ok(())
        }

        pub(in super::super) fn sync(&mut self, _dirs: &[EntryName]) -> io::Result<()> {
            Ok(())
        }

        fn path(&self, name: &EntryName) -> io::Result<PathBuf> {
            // A colon opens another stream of a file; the rest cannot be in a name there.
            if name.as_str().contains([':', '<', '>', '"', '|', '?', '*']) {
                return Err(invalid("this system has no such names"));
            }
            Ok(name.components().fold(self.root.clone(), |path, part| path.join(part)))
        }
    }

    impl NewFile {
        pub(in super::super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
            for (start, stretch) in stretches(bytes) {
                let start = u64::try_from(start).map_err(io::Error::other)?;
                self.file.seek(SeekFrom::Start(self.length + start))?;
                Output(&self.file).write_all(stretch)?;
            }
            let added = u64::try_from(bytes.len()).map_err(io::Error::other)?;
            self.length = self.length.checked_add(added).ok_or_else(|| invalid("too long"))?;
            Ok(())
        }

        pub(in super::super) fn finish(self, modified: i64) -> io::Result<()> {
            sys::set_len(&self.file, self.length)?;
            let since = Duration::from_secs(u64::try_from(modified).unwrap_or(0));
            sys::set_modified(&self.file, SystemTime::UNIX_EPOCH + since)?;
            sys::sync(&self.file)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn a_link_stays_inside_or_is_left_out() {
        link("a",     "b",            true);
        link("a",     "./b/c",        true);
        link("a",     ".",            true);
        link("d/a",   "../b",         true);
        link("d/a",   "..",           true);
        link("d/e/a", "../../b/c",    true);
        link("a",     "..",           false);
        link("a",     "../b",         false);
        link("d/a",   "../../b",      false);
        link("d/a",   "./../../b",    false);
        link("a",     "/etc/passwd",  false);
        link("d/a",   "x/../b",       false);   // `x` may be a link itself
        link("d/a",   "x/../../../b", false);
        link("a",     "..b/c..",      true);
    }

    #[track_caller]
    fn link(name: &str, target: &str, expected: bool) {
        assert_eq!(stays_inside(&name.parse().unwrap(), target), expected, "{name} -> {target}");
    }

    #[test]
    fn only_whole_blocks_of_zeros_are_left_out() {
        let mut bytes = vec![0; 3 * HOLE + 5];
        bytes[HOLE] = 1;
        let kept: Vec<_> = stretches(&bytes).iter().map(|(at, part)| (*at, part.len())).collect();
        assert_eq!(kept, [(HOLE, HOLE), (3 * HOLE, 5)]);
    }
}
