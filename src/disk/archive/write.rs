//! How is a seekable archive laid down, byte for byte the same from the same entries?
//!
//! Headers gather in frames, every chunk of content gets a member of its own. Members are made by the
//! crew and written in the order of the entries.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use super::behind::{self, Stretch};
use super::contents::Contents;
use super::crew::{Batch, Crew, Fault, Made, Piece};
use super::entry::{clamp_time, is_target};
use super::gzip::footer;
use super::known::{Again, Known, Library};
use super::tarball::{LARGEST_FILE, header, padding};
use super::toc::{CHUNK, TOC_NAME, as_u64};
use super::{ArchiveError, Chunk, Entry, EntryName, NameSet, Node};
use crate::disk::read::fill;

/// Headers gather until a frame has this many bytes.
pub(super) const FRAME: usize = 1 << 20;

/// Writes entries, in the order they come, into a seekable archive.
///
/// After an error about a name nothing has been written and the next entry may follow; after any other
/// the archive is worthless and [`Writer::finish`] refuses. Members are made while further entries come,
/// so an error about a file may show at a later call: it names the file.
pub struct Writer<W: Write> {
    out: W,
    /// Bytes written to `out`.
    offset: u64,
    /// Tar bytes that wait for their member.
    frame: Vec<u8>,
    /// What gathers for the crew.
    batch: Batch,
    crew: Crew,
    /// Members that were written and not read back, and how many there are of chunks in all.
    behind: Stretch,
    members: usize,
    contents: Contents,
    names: NameSet,
    content_bytes: u64,
    files: u64,
    reused_bytes: u64,
    compressed_bytes: u64,
    /// Set while an entry is half written.
    torn: bool,
}

/// Whether an archive needs this name for its table of contents.
pub(crate) fn is_reserved(name: &EntryName) -> bool {
    name.folds_to(TOC_NAME)
}

/// What was stored of one file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FileSummary {
    /// Bytes of content.
    pub size: u64,
    /// Chunks they were cut into.
    pub chunks: u64,
}

/// What a finished archive is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Written {
    /// `sha256:` and the hex digest of the table of contents' JSON; the root of the chain of trust.
    pub toc_digest: String,
    /// Bytes of the archive.
    pub bytes: u64,
    /// Regular files in it.
    pub files: u64,
    /// Bytes of their content.
    pub content_bytes: u64,
    /// Where all content of the first entry lies, if that is a file of one chunk.
    pub first: Option<Chunk>,
    /// Bytes of members that were copied from other archives.
    pub reused_bytes: u64,
    /// Bytes of members that were made from content.
    pub compressed_bytes: u64,
    /// Where the members of chunks start that did not read back as they were made; none if they were
    /// not read back.
    pub doubtful: Option<BTreeSet<u64>>,
}

impl<W: Write> Writer<W> {
    /// A writer onto `out` at deflate level 1 to 12, compressing on `workers` threads (0 and 1: on none
    /// but the caller's).
    pub fn new(out: W, level: u32, workers: usize) -> Self {
        Self {
            out,
            offset: 0,
            frame: Vec::new(),
            batch: Batch::default(),
            crew: Crew::new(level, workers),
            behind: Stretch::default(),
            members: 0,
            contents: Contents::default(),
            names: NameSet::default().without_names(),
            content_bytes: 0,
            files: 0,
            reused_bytes: 0,
            compressed_bytes: 0,
            torn: false,
        }
    }

    /// Copies the members of chunks that `library` has instead of making them; what else the library
    /// has is left alone. Before the first entry.
    #[must_use]
    pub fn with_library(mut self, library: Arc<dyn Library>) -> Self {
        self.crew.look_into(library);
        self
    }

    /// Lets the table of contents wait in a file of this folder, under a reserved name and gone with
    /// the writer, instead of in memory, if it is long. Before the first entry.
    #[must_use]
    pub fn with_folder(mut self, folder: &Path) -> Self {
        self.contents.wait_in(folder);
        self
    }

    /// Makes room for so many entries, roughly. Before the first entry.
    #[must_use]
    pub fn with_room_for(mut self, entries: usize) -> Self {
        self.names = self.names.with_room_for(entries);
        self
    }

    /// Reads the members of chunks back while others are written, from a second handle of the file
    /// that `out` writes, which is read by place. Before the first entry.
    #[must_use]
    pub fn with_read_back(mut self, file: File) -> Self {
        self.crew.read_back_from(file);
        self
    }

    /// Adds a directory.
    ///
    /// # Errors
    ///
    /// Those of names ([`NameSet::insert`], [`ArchiveError::Reserved`]) and of writing.
    pub fn dir(&mut self, name: &EntryName, mode: u32, modified: i64) -> Result<(), ArchiveError> {
        self.announce(name, Node::Dir, mode, modified).map(drop)
    }

    /// Adds a symbolic link, whatever it points to.
    ///
    /// # Errors
    ///
    /// Those of names, [`ArchiveError::InvalidTarget`], and those of writing.
    pub fn symlink(
        &mut self,
        name: &EntryName,
        target: &str,
        modified: i64,
    ) -> Result<(), ArchiveError> {
        if !is_target(target) {
            return Err(ArchiveError::InvalidTarget { name: name.clone() });
        }
        self.announce(name, Node::Symlink { target: target.to_owned() }, 0o777, modified).map(drop)
    }

    /// Adds a file of exactly `size` bytes; `mode` counts as far as `0o777`.
    ///
    /// # Errors
    ///
    /// Those of names; [`ArchiveError::TooLarge`] from 64 GiB on (a tar header cannot say it without a
    /// second opinion); [`ArchiveError::ContentChanged`] if `content` has fewer or more bytes,
    /// [`ArchiveError::Source`] if it fails; those of writing.
    pub fn file(
        &mut self,
        name: &EntryName,
        mode: u32,
        modified: i64,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<FileSummary, ArchiveError> {
        if size > LARGEST_FILE {
            return Err(ArchiveError::TooLarge { name: name.clone(), size });
        }
        let entry = self.begin_file(name, mode, modified, size)?;
        let unread = |source| ArchiveError::Source { name: name.clone(), source };
        let changed = || ArchiveError::ContentChanged { name: name.clone(), expected: size };
        let mut rest = size;
        let mut chunks = 0;
        while rest > 0 {
            let length = rest.min(CHUNK);
            let bytes = usize::try_from(length).map_err(|_| changed())?;
            self.make_room(bytes)?;
            let count = fill(&mut *content, self.batch.content.room(bytes)).map_err(unread)?;
            if count != bytes {
                return Err(changed());
            }
            self.batch.content.grow(count);
            self.add(Piece::Chunk { entry, bytes }, bytes)?;
            rest -= length;
            chunks += 1;
        }
        if fill(content, &mut [0]).map_err(unread)? > 0 {
            return Err(changed());
        }
        self.end_file(size);
        Ok(FileSummary { size, chunks })
    }

    /// Adds a file whose chunks are known to lie in other archives, by copying their members.
    ///
    /// The members are copied as they lie there: the archive may have a name only once
    /// [`read_back`](super::read_back) has found each of them to have its
    /// digest. Where one cannot be read, `again` opens the file, and that chunk alone is read from
    /// its place and made anew; its content must have the digest that was known.
    ///
    /// # Errors
    ///
    /// As [`Writer::file`]: [`ArchiveError::ContentChanged`] if `known` does not tile a file of
    /// `size` bytes, or if what had to be read is not what was known; [`ArchiveError::Source`] if it
    /// cannot be read or went away.
    pub fn unchanged(
        &mut self,
        name: &EntryName,
        mode: u32,
        modified: i64,
        size: u64,
        known: impl IntoIterator<Item = Known>,
        again: &Again,
    ) -> Result<FileSummary, ArchiveError> {
        if size > LARGEST_FILE {
            return Err(ArchiveError::TooLarge { name: name.clone(), size });
        }
        let entry = self.begin_file(name, mode, modified, size)?;
        let changed = || ArchiveError::ContentChanged { name: name.clone(), expected: size };
        let (mut at, mut chunks) = (0, 0);
        for chunk in known {
            if chunk.size != CHUNK.min(size - at) || chunk.size == 0 {
                return Err(changed());
            }
            let bytes = usize::try_from(chunk.member_size).unwrap_or(usize::MAX);
            self.make_room(bytes)?;
            let again = Arc::clone(again);
            let next = at + chunk.size;
            self.add(Piece::Known { entry, at, known: chunk, again }, bytes)?;
            at = next;
            chunks += 1;
        }
        if at != size {
            return Err(changed());
        }
        self.end_file(size);
        Ok(FileSummary { size, chunks })
    }

    /// Writes the table of contents and the footer and hands `out` back, flushed but not synced.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Io`], also if an entry before failed half-way.
    pub fn finish(mut self) -> Result<(W, Written), ArchiveError> {
        if self.torn {
            return Err(ArchiveError::writing(io::Error::other("an entry is incomplete")));
        }
        self.flush_frame()?;
        self.hand_in();
        while let Some(packed) = self.crew.take_next() {
            self.settle(packed)?;
        }
        let toc_offset = self.offset;
        // Nothing can be added any more, and the table takes memory of its own.
        self.names = NameSet::default();
        let toc_digest = self.put_toc()?;
        self.put(&footer(toc_offset))?;
        self.out.flush().map_err(ArchiveError::writing)?;
        self.read_back()?;
        let written = Written {
            toc_digest,
            bytes: self.offset,
            files: self.files,
            content_bytes: self.content_bytes,
            first: self.contents.first().cloned(),
            reused_bytes: self.reused_bytes,
            compressed_bytes: self.compressed_bytes,
            doubtful: self.crew.doubtful(self.members),
        };
        Ok((self.out, written))
    }

    /// Writes the table of contents, which may be long, in frames; answers its digest.
    fn put_toc(&mut self) -> Result<String, ArchiveError> {
        let (size, digest) = self.contents.close().map_err(ArchiveError::writing)?;
        let node = Node::File { size };
        let entry = Entry { name: TOC_NAME.parse()?, node, mode: 0o600, modified: 0 };
        let end = padding(size) + 2 * as_u64(super::tarball::BLOCK);
        let end = vec![0; usize::try_from(end).unwrap_or(0)];
        // The frames that it fills say nothing about it, so that it can be read meanwhile.
        let contents = std::mem::take(&mut self.contents);
        let mut frames = Frames { writer: self, failed: None };
        let written = frames
            .write_all(&header(&entry))
            .and_then(|()| contents.write(&mut frames))
            .and_then(|()| frames.write_all(&end));
        let failed = frames.failed.take();
        self.contents = contents;
        failed.map_or_else(|| written.map_err(ArchiveError::writing), Err)?;
        self.flush_frame()?;
        self.hand_in();
        while let Some(packed) = self.crew.take_next() {
            self.settle(packed)?;
        }
        Ok(digest)
    }

    /// Puts an entry into the table of contents and its header into the frame; answers which entry
    /// it is.
    fn announce(
        &mut self,
        name: &EntryName,
        node: Node,
        mode: u32,
        modified: i64,
    ) -> Result<usize, ArchiveError> {
        if is_reserved(name) {
            return Err(ArchiveError::Reserved { name: name.clone() });
        }
        self.names.insert(name, node == Node::Dir)?;
        if self.frame.len() >= FRAME {
            self.flush_frame()?;
        }
        let (mode, modified) = (mode & 0o777, clamp_time(modified));
        let entry = Entry { name: name.clone(), node, mode, modified };
        self.frame.extend(header(&entry));
        self.contents.push_entry(entry).map_err(|error| {
            self.torn = true;
            ArchiveError::writing(error)
        })
    }

    /// Announces a file; answers which entry it is.
    fn begin_file(
        &mut self,
        name: &EntryName,
        mode: u32,
        modified: i64,
        size: u64,
    ) -> Result<usize, ArchiveError> {
        let entry = self.announce(name, Node::File { size }, mode, modified)?;
        self.torn = true;
        if size > 0 {
            self.flush_frame()?;
        }
        Ok(entry)
    }

    fn end_file(&mut self, size: u64) {
        // The padding belongs to the next frame, so that a chunk's member holds its content alone.
        let zeros = usize::try_from(padding(size)).unwrap_or(0);
        self.frame.resize(self.frame.len() + zeros, 0);
        self.files += 1;
        self.content_bytes += size;
        self.torn = false;
    }

    fn flush_frame(&mut self) -> Result<(), ArchiveError> {
        let bytes = self.frame.len();
        if bytes == 0 {
            return Ok(());
        }
        self.make_room(bytes)?;
        self.batch.content.put(&self.frame);
        self.frame.clear();
        self.add(Piece::Frame { bytes }, bytes)
    }

    /// Sends off what has gathered unless so many bytes more fit in.
    fn make_room(&mut self, bytes: usize) -> Result<(), ArchiveError> {
        if self.batch.is_full_for(bytes) { self.send() } else { Ok(()) }
    }

    fn add(&mut self, piece: Piece, bytes: usize) -> Result<(), ArchiveError> {
        self.batch.add(piece, bytes);
        if self.batch.is_worth_sending() { self.send() } else { Ok(()) }
    }

    /// Sends off what has gathered, and writes what has come back.
    fn send(&mut self) -> Result<(), ArchiveError> {
        self.hand_in();
        while let Some(packed) = self.crew.take_due() {
            self.settle(packed)?;
        }
        Ok(())
    }

    fn hand_in(&mut self) {
        let next = self.crew.batch();
        let batch = std::mem::replace(&mut self.batch, next);
        self.crew.hand_in(batch);
    }

    /// Writes the members of a batch and puts them into the table of contents.
    fn settle(&mut self, (batch, result): (Batch, Result<(), Fault>)) -> Result<(), ArchiveError> {
        result.map_err(|fault| self.told(fault))?;
        let mut offset = self.offset;
        self.put(batch.members.filled())?;
        for (piece, made) in batch.pieces.iter().zip(&batch.made) {
            let member_size = made.member_size;
            if let Piece::Chunk { entry, .. } | Piece::Known { entry, .. } = piece {
                let Made { size, member_digest, digest, .. } = *made;
                self.members += 1;
                if self.crew.reads_back() {
                    if self.behind.ends_before(offset) {
                        self.read_back()?;
                    }
                    self.behind.add(offset, member_size, member_digest);
                }
                let chunk = Chunk { offset, member_size, member_digest, size, digest };
                self.contents.push_chunk(*entry, chunk).map_err(|error| {
                    self.torn = true;
                    ArchiveError::writing(error)
                })?;
                let count =
                    if made.copied { &mut self.reused_bytes } else { &mut self.compressed_bytes };
                *count += member_size;
            }
            offset += member_size;
        }
        self.crew.put_back(batch);
        if behind::WORTH <= self.behind.bytes() { self.read_back() } else { Ok(()) }
    }

    /// Has what was written and not read back read back.
    fn read_back(&mut self) -> Result<(), ArchiveError> {
        let stretch = std::mem::take(&mut self.behind);
        if stretch.len() > 0 {
            // What was written last may wait in `out`.
            self.out.flush().map_err(|error| {
                self.torn = true;
                ArchiveError::writing(error)
            })?;
            self.crew.read_back(stretch);
        }
        Ok(())
    }

    /// The error that a fault is, with the name of its file; nothing more can follow.
    fn told(&mut self, fault: Fault) -> ArchiveError {
        self.torn = true;
        let named = |entry: usize| self.contents.waiting(entry);
        let lost = || ArchiveError::writing(io::Error::other("an entry without a name"));
        match fault {
            Fault::Io(error) => ArchiveError::writing(error),
            Fault::Source { entry, source } => named(entry).map_or_else(lost, |entry| {
                ArchiveError::Source { name: entry.name.clone(), source }
            }),
            Fault::Changed { entry } => named(entry).map_or_else(lost, |entry| {
                ArchiveError::ContentChanged { name: entry.name.clone(), expected: entry.size() }
            }),
        }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.out.write_all(bytes).map_err(|error| {
            self.torn = true;
            ArchiveError::writing(error)
        })?;
        self.offset += as_u64(bytes.len());
        Ok(())
    }
}

/// Cuts what is written to it into full frames.
struct Frames<'a, W: Write> {
    writer: &'a mut Writer<W>,
    failed: Option<ArchiveError>,
}

impl<W: Write> Write for Frames<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.writer.frame.len() >= FRAME
            && let Err(error) = self.writer.flush_frame()
        {
            self.failed = Some(error);
            return Err(io::ErrorKind::Other.into());
        }
        let room = FRAME.saturating_sub(self.writer.frame.len());
        let part = bytes.get(..room).unwrap_or(bytes);
        self.writer.frame.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
