//! How is a seekable archive laid down, byte for byte the same from the same entries?
//!
//! Headers gather in frames, every chunk of content gets a member of its own. Compressing a chunk is a
//! pure function, so it may run on any thread; members are written in the order they were handed in,
//! and the bytes do not depend on how many threads there are.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

use super::entry::{clamp_time, is_target};
use super::gzip::{Deflater, footer};
use super::tarball::{LARGEST_FILE, header, pad, padding};
use super::toc::{CHUNK, TOC_NAME, Toc, as_u64, digest_text, sha256};
use super::{Archive, ArchiveError, Chunk, Entry, EntryName, NameSet, Node};

/// Headers gather until a frame has this many bytes.
pub(super) const FRAME: usize = 1 << 20;

/// Writes entries, in the order they come, into a seekable archive.
///
/// After an error about a name nothing has been written and the next entry may follow; after any other
/// the archive is worthless and [`Writer::finish`] refuses.
pub struct Writer<W: Write> {
    out: W,
    level: u32,
    /// Bytes written to `out`.
    offset: u64,
    /// Tar bytes that wait for their member.
    frame: Vec<u8>,
    /// Members on their way, in order.
    queue: VecDeque<(Packing, Kind)>,
    crew: Crew,
    toc: Toc,
    names: NameSet,
    content_bytes: u64,
    files: u64,
    /// Set while an entry is half written.
    torn: bool,
}

/// Whether an archive needs this name for its table of contents.
pub(crate) fn is_reserved(name: &EntryName) -> bool {
    name.folded() == TOC_NAME
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
}

#[derive(Clone, Copy)]
enum Kind {
    Frame,
    /// A chunk of the entry with this index.
    Chunk {
        entry: usize,
        size: u64,
    },
}

impl<W: Write> Writer<W> {
    /// A writer onto `out` at deflate level 1 to 12, compressing on `workers` threads (0 and 1: on none
    /// but the caller's).
    pub fn new(out: W, level: u32, workers: usize) -> Self {
        Self {
            out,
            level,
            offset: 0,
            frame: Vec::new(),
            queue: VecDeque::new(),
            crew: Crew::new(workers),
            toc: Toc::default(),
            names: NameSet::default(),
            content_bytes: 0,
            files: 0,
            torn: false,
        }
    }

    /// Adds a directory.
    ///
    /// # Errors
    ///
    /// Those of names ([`NameSet::insert`], [`ArchiveError::Reserved`]) and of writing.
    pub fn dir(&mut self, name: &EntryName, mode: u32, modified: i64) -> Result<(), ArchiveError> {
        self.announce(name, Node::Dir, mode, modified)
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
        self.announce(name, Node::Symlink { target: target.to_owned() }, 0o777, modified)
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
        self.announce(name, Node::File { size }, mode, modified)?;
        self.torn = true;
        let entry = self.toc.entries.len().saturating_sub(1);
        if size > 0 {
            self.flush_frame()?;
        }
        let mut rest = size;
        let mut chunks = 0;
        while rest > 0 {
            let length = rest.min(CHUNK);
            let bytes = self.chunk_of(name, size, length, content)?;
            self.push(bytes, Kind::Chunk { entry, size: length })?;
            rest -= length;
            chunks += 1;
        }
        let source = |source| ArchiveError::Source { name: name.clone(), source };
        let mut beyond = Vec::new();
        if content.take(1).read_to_end(&mut beyond).map_err(source)? > 0 {
            return Err(ArchiveError::ContentChanged { name: name.clone(), expected: size });
        }
        self.end_file(size);
        Ok(FileSummary { size, chunks })
    }

    /// Adds a file whose content is that of `source` in another seekable archive, by copying the
    /// compressed members; each is checked against its digest, so that rot does not spread.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::NotAFile`] if `from` has no chunks to copy from, and [`ArchiveError::CorruptFile`]
    /// if they are damaged; nothing has been written then and the file can be added by
    /// [`Writer::file`]. Those of names and of writing.
    pub fn copy(
        &mut self,
        name: &EntryName,
        mode: u32,
        modified: i64,
        from: &Archive,
        source: &EntryName,
    ) -> Result<FileSummary, ArchiveError> {
        let chunks =
            from.chunks(source).ok_or_else(|| ArchiveError::NotAFile { name: source.clone() })?;
        for number in 0..chunks.len() {
            from.member(source, number)?;
        }
        let size = chunks.iter().map(|chunk| chunk.size).sum();
        self.announce(name, Node::File { size }, mode, modified)?;
        self.torn = true;
        let entry = self.toc.entries.len().saturating_sub(1);
        if size > 0 {
            self.flush_frame()?;
        }
        for (number, chunk) in chunks.iter().enumerate() {
            let member = from.member(source, number)?;
            let (member_digest, digest) = (chunk.member_digest, chunk.digest);
            let packing = Packing::Done(Ok(Packed { member, member_digest, digest }));
            self.enqueue(packing, Kind::Chunk { entry, size: chunk.size })?;
        }
        self.end_file(size);
        Ok(FileSummary { size, chunks: as_u64(chunks.len()) })
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
        while self.settle()? {}
        let json = self.toc.to_json()?;
        let toc_digest = digest_text(&sha256(&json));
        let toc_offset = self.offset;
        let mut tail = self.toc_entry(&json)?;
        tail.extend(json);
        pad(&mut tail);
        tail.resize(tail.len() + 2 * super::tarball::BLOCK, 0);
        let mut member = Vec::new();
        Deflater::new(self.level).frame(&tail, &mut member).map_err(ArchiveError::writing)?;
        self.put(&member)?;
        self.put(&footer(toc_offset))?;
        self.out.flush().map_err(ArchiveError::writing)?;
        let (bytes, files, content_bytes) = (self.offset, self.files, self.content_bytes);
        let first = match self.toc.chunks.first().map(Vec::as_slice) {
            Some([only]) => Some(only.clone()),
            _ => None,
        };
        Ok((self.out, Written { toc_digest, bytes, files, content_bytes, first }))
    }

    fn toc_entry(&self, json: &[u8]) -> Result<Vec<u8>, ArchiveError> {
        let node = Node::File { size: as_u64(json.len()) };
        Ok(header(&Entry { name: TOC_NAME.parse()?, node, mode: 0o600, modified: 0 }))
    }

    /// Puts an entry into the table of contents and its header into the frame.
    fn announce(
        &mut self,
        name: &EntryName,
        node: Node,
        mode: u32,
        modified: i64,
    ) -> Result<(), ArchiveError> {
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
        self.toc.entries.push(entry);
        self.toc.chunks.push(Vec::new());
        Ok(())
    }

    fn end_file(&mut self, size: u64) {
        // The padding belongs to the next frame, so that a chunk's member holds its content alone.
        let zeros = usize::try_from(padding(size)).unwrap_or(0);
        self.frame.resize(self.frame.len() + zeros, 0);
        self.files += 1;
        self.content_bytes += size;
        self.torn = false;
    }

    fn chunk_of(
        &self,
        name: &EntryName,
        size: u64,
        length: u64,
        content: &mut dyn Read,
    ) -> Result<Vec<u8>, ArchiveError> {
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        content
            .take(length)
            .read_to_end(&mut bytes)
            .map_err(|source| ArchiveError::Source { name: name.clone(), source })?;
        if as_u64(bytes.len()) != length {
            return Err(ArchiveError::ContentChanged { name: name.clone(), expected: size });
        }
        Ok(bytes)
    }

    fn flush_frame(&mut self) -> Result<(), ArchiveError> {
        if self.frame.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::take(&mut self.frame);
        self.push(bytes, Kind::Frame)
    }

    fn push(&mut self, content: Vec<u8>, kind: Kind) -> Result<(), ArchiveError> {
        let level = self.level;
        let packing = self.crew.pack(Job { content, frame: matches!(kind, Kind::Frame), level });
        self.enqueue(packing, kind)
    }

    fn enqueue(&mut self, packing: Packing, kind: Kind) -> Result<(), ArchiveError> {
        self.queue.push_back((packing, kind));
        // Few enough to bound memory, enough to keep every thread busy.
        while self.queue.len() > 4 * self.crew.workers {
            self.settle()?;
        }
        Ok(())
    }

    /// Writes the oldest member that is on its way; false if there is none.
    fn settle(&mut self) -> Result<bool, ArchiveError> {
        let Some((packing, kind)) = self.queue.pop_front() else { return Ok(false) };
        let packed = packing.wait().map_err(ArchiveError::writing)?;
        let offset = self.offset;
        self.put(&packed.member)?;
        if let Kind::Chunk { entry, size } = kind
            && let Some(chunks) = self.toc.chunks.get_mut(entry)
        {
            chunks.push(Chunk {
                offset,
                member_size: as_u64(packed.member.len()),
                member_digest: packed.member_digest,
                size,
                digest: packed.digest,
            });
        }
        Ok(true)
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

/// Content that wants to become a member.
struct Job {
    content: Vec<u8>,
    frame: bool,
    level: u32,
}

/// A member with the digests that a chunk needs.
struct Packed {
    member: Vec<u8>,
    member_digest: [u8; 32],
    digest: [u8; 32],
}

fn pack(deflater: &mut Option<Deflater>, job: &Job) -> io::Result<Packed> {
    let deflater = deflater.get_or_insert_with(|| Deflater::new(job.level));
    let mut member = Vec::new();
    if job.frame {
        deflater.frame(&job.content, &mut member)?;
        return Ok(Packed { member, member_digest: [0; 32], digest: [0; 32] });
    }
    deflater.chunk(&job.content, &mut member)?;
    let (member_digest, digest) = (sha256(&member), sha256(&job.content));
    Ok(Packed { member, member_digest, digest })
}

/// A member that is there or being made.
enum Packing {
    Done(io::Result<Packed>),
    Underway(Receiver<io::Result<Packed>>),
}

impl Packing {
    fn wait(self) -> io::Result<Packed> {
        match self {
            Self::Done(packed) => packed,
            Self::Underway(answer) => {
                answer.recv().unwrap_or_else(|_| Err(io::Error::other("a compressing thread died")))
            }
        }
    }
}

type Order = (Job, SyncSender<io::Result<Packed>>);

/// Threads that compress; each is started when there is work for it and ends with the writer.
struct Crew {
    workers: usize,
    started: usize,
    /// For what is packed by the caller's thread.
    own: Option<Deflater>,
    orders: Sender<Order>,
    desk: Arc<Mutex<Receiver<Order>>>,
}

impl Crew {
    fn new(workers: usize) -> Self {
        let (orders, desk) = channel();
        let workers = if workers < 2 { 0 } else { workers };
        Self { workers, started: 0, own: None, orders, desk: Arc::new(Mutex::new(desk)) }
    }

    fn pack(&mut self, job: Job) -> Packing {
        if self.started < self.workers && self.hire() {
            self.started += 1;
        }
        if self.started == 0 {
            return Packing::Done(pack(&mut self.own, &job));
        }
        let (reply, answer) = sync_channel(1);
        match self.orders.send((job, reply)) {
            Ok(()) => Packing::Underway(answer),
            Err(unsent) => Packing::Done(pack(&mut self.own, &unsent.0.0)),
        }
    }

    /// Starts one more thread; a system that has none to give is no reason to fail.
    fn hire(&self) -> bool {
        let desk = Arc::clone(&self.desk);
        let work = move || {
            let mut deflater = None;
            loop {
                let order = desk.lock().map(|desk| desk.recv());
                let Ok(Ok((job, reply))) = order else { break };
                // Nobody waits any more when the writer was dropped after an error.
                let _ = reply.send(pack(&mut deflater, &job));
            }
        };
        thread::Builder::new().name("compress".to_owned()).spawn(work).is_ok()
    }
}
