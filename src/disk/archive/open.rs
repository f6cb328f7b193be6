//! Which layout does a file have, and what can be asked of either?

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::gzip::{FOOTER_BYTES, is_frame, read_footer};
use super::plain::Plain;
use super::seekable::{Seekable, read_toc};
use super::toc::{Take, as_u64};
use super::{ArchiveError, Chunk, Entry, EntryName, Extracted, Extraction, Limits, Node, Problem};
use crate::disk::sys;

/// An archive that was opened and whose table of contents, if it has one, is sound.
///
/// Whether its content is too is answered by [`Archive::verify`], and anew by every read.
#[derive(Debug)]
pub struct Archive {
    inner: Inner,
    bytes: u64,
}

/// How an archive is laid out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Layout {
    /// Ours: many gzip members, a table of contents, every chunk with its digest.
    Seekable,
    /// One gzip stream, as the older tool wrote; only its own checksum vouches for it.
    Plain,
}

#[derive(Debug)]
enum Inner {
    Seekable(Seekable),
    Plain(Plain),
}

impl Archive {
    /// Opens a regular file, never through a link and without waiting for a pipe's other end.
    ///
    /// A file with our footer, or that starts as ours do, is read as ours and must be sound as such.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::NotRegular`], [`ArchiveError::Io`], and whatever is wrong with the footer or the
    /// table of contents. The content of a plain archive is not looked at yet.
    pub fn open(path: &Path, limits: &Limits) -> Result<Self, ArchiveError> {
        let Found { file, bytes, toc } = find(path)?;
        let limits = &limits.of(bytes);
        let inner = match toc {
            Some(toc) => Inner::Seekable(Seekable::open(file, toc, limits)?),
            None => Inner::Plain(Plain::new(file, bytes, limits.clone())),
        };
        Ok(Self { inner, bytes })
    }

    /// Lets `jobs` threads check and unpack, at most; without, as many as there are processors. What
    /// comes out does not depend on it.
    #[must_use]
    pub fn with_jobs(mut self, jobs: usize) -> Self {
        if let Inner::Seekable(archive) = &mut self.inner {
            archive.jobs = jobs;
        }
        self
    }

    /// How it is laid out.
    pub fn layout(&self) -> Layout {
        match self.inner {
            Inner::Seekable(_) => Layout::Seekable,
            Inner::Plain(_) => Layout::Plain,
        }
    }

    /// `sha256:` and the digest of the table of contents; none for a plain archive.
    pub fn toc_digest(&self) -> Option<&str> {
        match &self.inner {
            Inner::Seekable(archive) => Some(archive.toc_digest()),
            Inner::Plain(_) => None,
        }
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Every entry in the archive's order. A plain archive is read whole for this, once.
    ///
    /// # Errors
    ///
    /// For a plain archive, whatever is wrong anywhere in it.
    pub fn entries(&self) -> Result<&[Entry], ArchiveError> {
        match &self.inner {
            Inner::Seekable(archive) => Ok(archive.entries()),
            Inner::Plain(archive) => archive.entries(),
        }
    }

    /// Bytes of content of all its files.
    ///
    /// # Errors
    ///
    /// As [`Archive::entries`].
    pub fn content_bytes(&self) -> Result<u64, ArchiveError> {
        Ok(self.entries()?.iter().map(Entry::size).fold(0, u64::saturating_add))
    }

    /// The chunks of a file; none in a plain archive, or if there is no such file. An empty file has none.
    pub fn chunks(&self, name: &EntryName) -> Option<&[Chunk]> {
        self.position(name).map(|index| self.chunks_at(index))
    }

    /// The place in [`Archive::entries`] of the file of this name; none in a plain archive.
    pub fn position(&self, name: &EntryName) -> Option<usize> {
        match &self.inner {
            Inner::Seekable(archive) => archive.index(name),
            Inner::Plain(_) => None,
        }
    }

    /// The chunks of the entry in this place of [`Archive::entries`]; none in a plain archive.
    pub fn chunks_at(&self, index: usize) -> &[Chunk] {
        match &self.inner {
            Inner::Seekable(archive) => archive.toc.chunks_of(index),
            Inner::Plain(_) => &[],
        }
    }

    /// The open file, for members to be copied from it whatever has its name by then; none of a plain
    /// archive, or if the system has no descriptor to spare.
    pub fn file(&self) -> Option<File> {
        match &self.inner {
            Inner::Seekable(archive) => archive.file().try_clone().ok(),
            Inner::Plain(_) => None,
        }
    }

    /// The verified content of one file; none if there is no entry of that name.
    ///
    /// A seekable archive is touched only where the file lies; a plain one is read to its end.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::NotAFile`]; [`ArchiveError::TooMuch`] beyond `cap` bytes; damage.
    pub fn read(&self, name: &EntryName, cap: u64) -> Result<Option<Vec<u8>>, ArchiveError> {
        let Some((index, entry)) =
            self.entries()?.iter().enumerate().find(|(_, entry)| entry.name == *name)
        else {
            return Ok(None);
        };
        let Node::File { size } = entry.node else {
            return Err(ArchiveError::NotAFile { name: name.clone() });
        };
        if size > cap {
            let what = "bytes of a file that is read whole";
            return Err(ArchiveError::TooMuch { what, found: size, limit: cap });
        }
        match &self.inner {
            Inner::Seekable(archive) => archive.read(index).map(Some),
            Inner::Plain(archive) => archive.read(index).map(Some),
        }
    }

    /// Checks every byte; `progress` gets the bytes of content as they are done.
    ///
    /// A problem in one place does not hide those in others, as far as the layout allows: a plain
    /// archive has at most one.
    ///
    /// # Errors
    ///
    /// Only if the file cannot be read, or [`ArchiveError::Interrupted`]; damage is in the answer.
    pub fn verify(
        &self,
        progress: &mut dyn FnMut(u64),
        stop: &AtomicBool,
    ) -> Result<Vec<Problem>, ArchiveError> {
        match &self.inner {
            Inner::Seekable(archive) => archive.verify(progress, stop),
            Inner::Plain(archive) => archive.verify(progress, stop),
        }
    }

    /// Unpacks into `into`, an existing empty directory that nobody else uses.
    ///
    /// Files are 0600, or 0700 if their owner may execute them, directories 0700. When it returns, every
    /// byte that was written was verified; bringing them onto the disk is the caller's part.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong. What was unpacked by then stays, for the caller to remove.
    pub fn extract(
        &self,
        into: &Path,
        how: &mut Extraction<'_>,
    ) -> Result<Extracted, ArchiveError> {
        match &self.inner {
            Inner::Seekable(archive) => archive.extract(into, how),
            Inner::Plain(archive) => archive.extract(into, how),
        }
    }

    /// Unpacks what [`Extraction::place`] chooses, as [`Archive::extract`] does, but one damaged file
    /// does not keep the others back: it is left out and in the answer. What was not chosen is
    /// not looked at.
    ///
    /// A plain archive vouches for nothing by parts: it is sound as a whole, or an error.
    ///
    /// # Errors
    ///
    /// What is no damage of a single file. What was unpacked by then stays, for the caller to remove.
    pub fn pick(
        &self,
        into: &Path,
        how: &mut Extraction<'_>,
    ) -> Result<(Extracted, Vec<Problem>), ArchiveError> {
        match &self.inner {
            Inner::Seekable(archive) => archive.pick(into, how),
            Inner::Plain(archive) => Ok((archive.extract(into, how)?, Vec::new())),
        }
    }
}

/// A regular file that may be an archive.
pub(super) struct Found {
    pub(super) file: File,
    /// Its length.
    pub(super) bytes: u64,
    /// Where its table of contents begins and the footer behind it, if it is laid out as ours are.
    pub(super) toc: Option<(u64, u64)>,
}

/// Opens a regular file and looks for a footer of ours.
///
/// # Errors
///
/// [`ArchiveError::NotRegular`], [`ArchiveError::Io`], and a file that starts as ours do and does not
/// end like that.
pub(super) fn find(path: &Path) -> Result<Found, ArchiveError> {
    let file = open_regular(path)?;
    let bytes = file.metadata().map_err(ArchiveError::reading)?.len();
    let mut start = Vec::new();
    Section::new(&file, 0, bytes.min(16)).read_to_end(&mut start).map_err(ArchiveError::reading)?;
    let mut end = Vec::new();
    let footer_at = bytes.saturating_sub(FOOTER_BYTES);
    Section::new(&file, footer_at, bytes).read_to_end(&mut end).map_err(ArchiveError::reading)?;
    let toc = read_footer(&end).map(|toc_offset| (toc_offset, footer_at));
    if toc.is_none() && is_frame(&start) {
        return Err(ArchiveError::corrupt(footer_at, "the footer is damaged or cut off"));
    }
    Ok(Found { file, bytes, toc })
}

/// Reads the table of contents of a seekable archive, entry by entry, and nothing else of it; answers
/// what has taken it in, its digest, and the open file.
///
/// # Errors
///
/// Those of [`Archive::open`], and for a plain archive [`ArchiveError::Corrupt`].
pub(crate) fn read_table<T: Take>(path: &Path, into: T) -> Result<(T, String, File), ArchiveError> {
    let Found { file, bytes, toc } = find(path)?;
    let toc = toc.ok_or_else(|| ArchiveError::corrupt(bytes, "it has no footer"))?;
    let (into, digest) = read_toc(&file, toc, &Limits::default().of(bytes), into)?;
    Ok((into, digest, file))
}

/// A stretch of a file, read without moving the file's own position.
#[derive(Debug)]
pub(super) struct Section<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl<'a> Section<'a> {
    pub(super) fn new(file: &'a File, start: u64, end: u64) -> Self {
        Self { file, at: start, end }
    }
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let length = rest.min(buffer.len());
        let read = read_at(self.file, buffer.get_mut(..length).unwrap_or_default(), self.at)?;
        self.at += as_u64(read);
        Ok(read)
    }
}

/// Exactly the bytes from `start` to `end`.
pub(super) fn bytes_of(file: &File, start: u64, end: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(end.saturating_sub(start)).map_err(io::Error::other)?];
    Section::new(file, start, end).read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    sys::ask(sys::Call::Read, Path::new(""))?;
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    sys::ask(sys::Call::Read, Path::new(""))?;
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}

#[cfg(unix)]
pub(super) fn open_regular(path: &Path) -> Result<File, ArchiveError> {
    let not_regular = || ArchiveError::NotRegular { path: path.to_owned() };
    let file = match sys::open_read(path) {
        Ok(file) => file,
        Err(error) if rustix::io::Errno::from_io_error(&error) == Some(rustix::io::Errno::LOOP) => {
            return Err(not_regular());
        }
        Err(source) => return Err(ArchiveError::Io { doing: "open", source }),
    };
    let about = file.metadata().map_err(ArchiveError::reading)?;
    if about.is_file() { Ok(file) } else { Err(not_regular()) }
}

#[cfg(not(unix))]
pub(super) fn open_regular(path: &Path) -> Result<File, ArchiveError> {
    let opening = |source| ArchiveError::Io { doing: "open", source };
    if !std::fs::symlink_metadata(path).map_err(opening)?.is_file() {
        return Err(ArchiveError::NotRegular { path: path.to_owned() });
    }
    sys::open_read(path).map_err(opening)
}
