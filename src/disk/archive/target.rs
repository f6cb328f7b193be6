//! How do unpacked bytes reach a directory without ever leaving it?
//!
//! On Unix everything is relative to open directories, each opened by one component without following
//! links; names the system looks up are single components. Elsewhere paths are used and existing files
//! are never opened.

use std::io;

use super::EntryName;
use super::toc::as_u64;

#[cfg(not(unix))]
pub(super) use paths::{Destination, Likeness, NewFile};
#[cfg(unix)]
pub(super) use unix::{Destination, Likeness, NewFile};

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

/// The next stretch of `bytes` from `at` on that must be written, as a range; what lies between are
/// whole blocks of zeros.
fn stretch(bytes: &[u8], at: usize) -> Option<(usize, &[u8])> {
    let is_hole = |block: &[u8]| block.len() == HOLE && block.iter().all(|byte| *byte == 0);
    let blocks = bytes.get(at..)?.chunks(HOLE);
    let start = at + HOLE * blocks.clone().take_while(|block| is_hole(block)).count();
    let rest = bytes.get(start..).filter(|rest| !rest.is_empty())?;
    let full = rest.chunks(HOLE).take_while(|block| !is_hole(block)).count();
    Some((start, rest.get(..HOLE * full).unwrap_or(rest)))
}

/// Writes what is no hole, by `write`, and answers where that ends.
fn write_stretches(
    bytes: &[u8],
    at: u64,
    mut write: impl FnMut(&[u8], u64) -> io::Result<()>,
) -> io::Result<u64> {
    let mut done = 0;
    let mut reached = 0;
    while let Some((start, part)) = stretch(bytes, done) {
        let place = at.checked_add(as_u64(start)).ok_or_else(|| invalid("too long"))?;
        write(part, place)?;
        done = start + part.len();
        reached = place + as_u64(part.len());
    }
    Ok(reached)
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

#[cfg(unix)]
mod unix {
    use std::fs::File;
    use std::io;
    use std::path::Path;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::time::Duration;

    use super::super::EntryName;
    use super::{as_u64, write_stretches};
    use crate::disk::facts::Facts;
    use crate::disk::read::is_at_rest;
    use crate::disk::sys::{self, beneath};

    /// A file that has not changed for so long bears other times once it is written to.
    const REST: Duration = Duration::from_secs(2);
    /// So many bytes in a row are worth asking the disk to begin.
    const WORTH: u64 = 64 << 10;

    /// An existing private directory that a tree is unpacked into.
    pub(in super::super) struct Destination {
        root: File,
        /// The directories that lead to the last name used, outermost first.
        way: Vec<(String, File)>,
    }

    /// A file that did not exist before. Its content may come from several threads, in any order.
    pub(in super::super) struct NewFile {
        file: File,
        /// Where the last byte ends that was written, or that it began with.
        reached: AtomicU64,
        /// Whether it began with the content of another file, so that no hole is one.
        is_clone: AtomicBool,
        /// How that file looked before, if that tells whether anybody writes to it.
        original: OnceLock<Facts>,
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
            let (reached, is_clone) = (AtomicU64::new(0), AtomicBool::new(false));
            Ok(NewFile { file, reached, is_clone, original: OnceLock::new() })
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
        /// Lets an empty file begin with the content of another one, at no cost, where the file
        /// system can do that. It is not said what that content is: somebody may write to it.
        pub(in super::super) fn clone_from(&self, other: &File) -> io::Result<()> {
            let before = Facts::of(other, Path::new("")).ok();
            let before = before.filter(|before| is_at_rest(before, REST));
            let before = before.filter(|_| sys::clones_by_itself(other));
            let cloned = sys::clone_content(&self.file, other);
            if let Some(before) = before.filter(|_| cloned.is_ok()) {
                let _first = self.original.set(before);
            }
            // One that failed may have left something, and either may be longer than it should be.
            let length = self.file.metadata().map_or(u64::MAX, |facts| facts.len());
            if cloned.is_ok() || length > 0 {
                self.is_clone.store(true, Ordering::Relaxed);
                self.reached.store(length, Ordering::Relaxed);
            }
            cloned
        }

        /// The file itself, if it began with the content of another one: what is in it by now is
        /// what stays in it.
        pub(in super::super) fn cloned(&self) -> Option<&File> {
            self.is_clone.load(Ordering::Relaxed).then_some(&self.file)
        }

        /// Whether it began with the content of a file that lay at rest, so that [`Self::is_like`] tells
        /// whether that still has it.
        pub(in super::super) fn has_original(&self) -> bool {
            self.original.get().is_some()
        }

        /// Whether `other` is the file whose content it began with, lay at rest then, and looks as it did:
        /// what was read of it since is what this file began with.
        pub(in super::super) fn is_like(&self, other: &File) -> bool {
            let now = Facts::of(other, Path::new(""));
            self.original.get().is_some_and(|before| now.is_ok_and(|now| now == *before))
        }

        /// Writes bytes at their place; in an empty file, long stretches of zeros become holes.
        pub(in super::super) fn write(&self, bytes: &[u8], at: u64) -> io::Result<()> {
            let write = |part: &[u8], at| beneath::write_at(&self.file, part, at);
            let reached = if self.cloned().is_some() {
                write(bytes, at)?;
                at.saturating_add(as_u64(bytes.len()))
            } else {
                write_stretches(bytes, at, write)?
            };
            self.reached.fetch_max(reached, Ordering::Relaxed);
            Ok(())
        }

        /// Has the disk begin with bytes that were written, if they are worth a call: many small files
        /// are brought there sooner by the sync at the end.
        pub(in super::super) fn begin(&self, from: u64, bytes: u64) -> io::Result<()> {
            if bytes < WORTH { Ok(()) } else { sys::begin(&self.file, from, bytes) }
        }

        /// Sets length and time. Whether the bytes are on the disk is not known yet.
        pub(in super::super) fn finish(&self, size: u64, modified: i64) -> io::Result<()> {
            if self.reached.load(Ordering::Relaxed) != size {
                sys::set_len(&self.file, size)?;
            }
            beneath::date(&self.file, modified)
        }
    }

    /// A folder from which content is taken that may be the one that is needed, while others use it.
    pub(in super::super) struct Likeness {
        root: File,
        /// The folders that lead to the last name asked for, outermost first.
        way: Vec<(String, File)>,
    }

    impl Likeness {
        pub(in super::super) fn open(root: &Path) -> io::Result<Self> {
            Ok(Self { root: sys::open_dir(root)?, way: Vec::new() })
        }

        /// The regular file of this name; none if there is none. No link is followed, and nothing
        /// else is waited for.
        pub(in super::super) fn file(&mut self, name: &EntryName) -> Option<File> {
            let above = name.depth().saturating_sub(1);
            let same = name.components().take(above).zip(&self.way);
            let kept = same.take_while(|(part, (known, _))| part == known).count();
            self.way.truncate(kept);
            for part in name.components().take(above).skip(kept) {
                let dir = beneath::open_dir(self.here(), part).ok()?;
                self.way.push((part.to_owned(), dir));
            }
            let file = beneath::open_read(self.here(), name.leaf()).ok()?;
            file.metadata().is_ok_and(|facts| facts.is_file()).then_some(file)
        }

        fn here(&self) -> &File {
            self.way.last().map_or(&self.root, |(_, dir)| dir)
        }
    }
}

#[cfg(not(unix))]
mod paths {
    use std::fs::{self, File};
    use std::io::{self, Seek, SeekFrom, Write};
    use std::path::{Path, PathBuf};
    use std::sync::{Mutex, PoisonError};
    use std::time::{Duration, SystemTime};

    use super::super::EntryName;
    use super::{invalid, write_stretches};
    use crate::disk::replace;
    use crate::disk::sys::{self, Output};

    /// An existing private directory that a tree is unpacked into.
    pub(in super::super) struct Destination {
        root: PathBuf,
    }

    /// A file that did not exist before. Its content may come from several threads, in any order.
    pub(in super::super) struct NewFile {
        /// One at a time, for writing moves the place where it is written.
        file: Mutex<File>,
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
            Ok(NewFile { file: Mutex::new(file) })
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

        fn path(&self, name: &EntryName) -> io::Result<PathBuf> {
            // A colon opens another stream of a file; the rest cannot be in a name there.
            if name.as_str().contains([':', '<', '>', '"', '|', '?', '*']) {
                return Err(invalid("this system has no such names"));
            }
            Ok(name.components().fold(self.root.clone(), |path, part| path.join(part)))
        }
    }

    impl NewFile {
        /// Writes bytes at their place; long stretches of zeros become holes.
        pub(in super::super) fn write(&self, bytes: &[u8], at: u64) -> io::Result<()> {
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            write_stretches(bytes, at, |part, at| {
                file.seek(SeekFrom::Start(at))?;
                Output(&file).write_all(part)
            })
            .map(drop)
        }

        /// Lets an empty file begin with the content of another one, at no cost; no system does
        /// here.
        pub(in super::super) fn clone_from(&self, other: &File) -> io::Result<()> {
            sys::clone_content(&self.file.lock().unwrap_or_else(PoisonError::into_inner), other)
        }

        /// None began so.
        pub(in super::super) fn cloned(&self) -> Option<&File> {
            None
        }

        /// None began so.
        pub(in super::super) fn has_original(&self) -> bool {
            false
        }

        /// None began so.
        pub(in super::super) fn is_like(&self, _other: &File) -> bool {
            false
        }

        /// Nothing: they are brought onto the disk with the file.
        pub(in super::super) fn begin(&self, _from: u64, _bytes: u64) -> io::Result<()> {
            Ok(())
        }

        /// Sets length and time, and brings the bytes onto the disk.
        pub(in super::super) fn finish(&self, size: u64, modified: i64) -> io::Result<()> {
            let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            sys::set_len(&file, size)?;
            let since = Duration::from_secs(u64::try_from(modified).unwrap_or(0));
            sys::set_modified(&file, SystemTime::UNIX_EPOCH + since)?;
            sys::sync(&file)
        }
    }

    /// A folder from which content is taken that may be the one that is needed.
    pub(in super::super) struct Likeness;

    impl Likeness {
        pub(in super::super) fn open(_root: &Path) -> io::Result<Self> {
            Ok(Self)
        }

        /// None: a path could lead through somebody's link here.
        pub(in super::super) fn file(&mut self, _name: &EntryName) -> Option<File> {
            None
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
        let mut kept = Vec::new();
        let write = |part: &[u8], at| {
            kept.push((at, part.len()));
            Ok(())
        };
        assert_eq!(write_stretches(&bytes, 7, write).unwrap(), as_u64(7 + bytes.len()));
        let at = |blocks| as_u64(7 + blocks * HOLE);
        assert_eq!(kept, [(at(1), HOLE), (at(3), 5)]);
        kept.clear();
        bytes[2 * HOLE] = 1;
        bytes.truncate(3 * HOLE);
        let write = |part: &[u8], at| {
            kept.push((at, part.len()));
            Ok(())
        };
        write_stretches(&bytes, 7, write).unwrap();
        assert_eq!(kept, [(at(1), 2 * HOLE)], "one call for what hangs together");
        assert_eq!(write_stretches(&[0; HOLE], 7, |_, _| Err(invalid("none"))).unwrap(), 0);
    }
}
