//! What is in a plain `tar.gz`, and is it one gzip stream with one tar and nothing else?
//!
//! Nothing in it can be found without reading from the start, so every question is one pass from the
//! first byte to the last, which checks the stream's checksum and the zeros behind the tar as well.
//!
//! The older tool stored a file with two names once and then as a hard link. Such a link counts as a
//! file of its own with the content of the entry before it that it names; on the disk nothing is linked.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use flate2::bufread::GzDecoder;

use super::extract::{self, Plan, go_on, is_executable};
use super::open::Section;
use super::tarball::{Headers, Item, padding, stream_error};
use super::toc::as_u64;
use super::{
    ArchiveError, Entry, EntryName, Extracted, Extraction, Limits, NameSet, Node, Problem,
};

/// How much content is held at once.
const BUFFER: u64 = 1 << 20;

/// An open plain archive.
#[derive(Debug)]
pub(super) struct Plain {
    file: File,
    bytes: u64,
    limits: Limits,
    contents: OnceLock<Contents>,
}

/// What a pass found.
#[derive(Debug, Default)]
struct Contents {
    entries: Vec<Entry>,
    /// For each entry, the one whose content it has: itself, unless it is a hard link.
    origins: Vec<usize>,
}

/// What a pass does with the content of each entry, piece by piece.
trait Visitor {
    /// An entry begins; it has the content of another one if `origin` is not its own index.
    fn entry(&mut self, index: usize, origin: usize, entry: &Entry) -> Result<(), ArchiveError>;
    /// Some of its content.
    fn content(&mut self, bytes: &[u8]) -> Result<(), ArchiveError>;
    /// All of its content was there.
    fn end(&mut self) -> Result<(), ArchiveError>;
}

impl Plain {
    pub(super) fn new(file: File, bytes: u64, limits: Limits) -> Self {
        Self { file, bytes, limits, contents: OnceLock::new() }
    }

    pub(super) fn entries(&self) -> Result<&[Entry], ArchiveError> {
        Ok(&self.listed(&AtomicBool::new(false))?.entries)
    }

    /// What is in it, from a pass that can be stopped if there was none yet.
    fn listed(&self, stop: &AtomicBool) -> Result<&Contents, ArchiveError> {
        if let Some(contents) = self.contents.get() {
            return Ok(contents);
        }
        let found = self.pass(&mut Listing { progress: &mut |_| {}, stop })?;
        Ok(self.contents.get_or_init(|| found))
    }

    pub(super) fn read(&self, index: usize) -> Result<Vec<u8>, ArchiveError> {
        let contents = self.listed(&AtomicBool::new(false))?;
        let origin = contents.origins.get(index).copied().unwrap_or(index);
        let mut taking = Taking { index: origin, here: false, content: Vec::new() };
        self.pass(&mut taking)?;
        Ok(taking.content)
    }

    pub(super) fn verify(
        &self,
        progress: &mut dyn FnMut(u64),
        stop: &AtomicBool,
    ) -> Result<Vec<Problem>, ArchiveError> {
        match self.pass(&mut Listing { progress, stop }) {
            Ok(contents) => {
                self.contents.get_or_init(|| contents);
                Ok(Vec::new())
            }
            Err(error @ (ArchiveError::Io { .. } | ArchiveError::Interrupted)) => Err(error),
            Err(ArchiveError::CorruptFile { problem }) => Ok(vec![*problem]),
            Err(error) => {
                let offset = match error {
                    ArchiveError::Corrupt { offset, .. } => offset,
                    _ => 0,
                };
                let what = match error {
                    ArchiveError::Corrupt { what, .. } => what,
                    other => other.to_string(),
                };
                Ok(vec![Problem { name: None, chunk: None, offset, what }])
            }
        }
    }

    pub(super) fn extract(
        &self,
        into: &Path,
        how: &mut Extraction<'_>,
    ) -> Result<Extracted, ArchiveError> {
        // The first pass vouches for the whole archive before anything is written.
        let contents = self.listed(how.stop)?;
        let plan = Plan::new(&contents.entries, how)?;
        let mut unpacking = Unpacking {
            plan: &plan,
            contents,
            copies: contents.copies(),
            destination: extract::open(into)?,
            current: Vec::new(),
            written: 0,
            progress: how.progress,
            stop: how.stop,
        };
        self.pass(&mut unpacking)?;
        plan.complete(into)
    }

    /// Reads everything once, strictly, and hands the content to `visitor`.
    fn pass(&self, visitor: &mut dyn Visitor) -> Result<Contents, ArchiveError> {
        let packed = BufReader::with_capacity(128 << 10, Section::new(&self.file, 0, self.bytes));
        let ratio = self.bytes.saturating_mul(self.limits.ratio).max(self.limits.ratio_from);
        let mut stream = Counted { inner: GzDecoder::new(packed), offset: 0, cap: ratio };
        let result = self.walk(&mut stream, visitor);
        let what = "bytes unpacked from a plain archive";
        if stream.offset > ratio {
            return Err(ArchiveError::TooMuch { what, found: stream.offset, limit: ratio });
        }
        let contents = result?;
        let mut packed = stream.inner.into_inner();
        if !packed.fill_buf().map_err(ArchiveError::reading)?.is_empty() {
            let what = "something hides behind the compressed stream";
            return Err(ArchiveError::corrupt(stream.offset, what));
        }
        Ok(contents)
    }

    fn walk(
        &self,
        stream: &mut Counted<impl Read>,
        visitor: &mut dyn Visitor,
    ) -> Result<Contents, ArchiveError> {
        let mut contents = Contents::default();
        let mut files = None;
        let mut names = NameSet::up_to(self.limits.entries);
        let mut total = 0_u64;
        loop {
            let offset = stream.offset;
            let index = contents.entries.len();
            let (mut entry, origin) = match Headers::new(&mut *stream, &self.limits).next() {
                Ok(Item::Entry(entry)) => (entry, index),
                Ok(Item::Same { entry, of }) => {
                    let files = files.get_or_insert_with(|| contents.files());
                    contents.same(entry, &of, files)?
                }
                Ok(Item::EndMarker) => break,
                Ok(Item::EndOfInput) => {
                    return Err(ArchiveError::corrupt(offset, "the tar end marker is missing"));
                }
                Err(bad) => return Err(bad.at(offset)),
            };
            if index >= self.limits.entries {
                let limit = as_u64(self.limits.entries);
                let found = limit.saturating_add(1);
                return Err(ArchiveError::TooMuch { what: "entries", found, limit });
            }
            entry.mode &= 0o777;
            names.insert(&entry.name, entry.is_dir())?;
            if let Node::Symlink { target } = &entry.node {
                names.count(target)?;
            }
            total = total.saturating_add(entry.size());
            // What hard links repeat costs the archive nothing, so it counts like compressed content.
            let limit = self.limits.total_unpacked.map_or(stream.cap, |most| most.min(stream.cap));
            if total > limit {
                return Err(ArchiveError::TooMuch {
                    what: "bytes of content",
                    found: total,
                    limit,
                });
            }
            visitor.entry(index, origin, &entry)?;
            if origin == index {
                content(stream, &entry, visitor)?;
                visitor.end()?;
            }
            if let (Some(files), Node::File { .. }) = (&mut files, &entry.node) {
                files.insert(entry.name.clone(), index);
            }
            contents.entries.push(entry);
            contents.origins.push(origin);
        }
        rest_is_zeros(stream)?;
        Ok(contents)
    }
}

impl Contents {
    /// Where each file is.
    fn files(&self) -> HashMap<EntryName, usize> {
        let files = self.entries.iter().enumerate();
        let files = files.filter(|(_, entry)| matches!(entry.node, Node::File { .. }));
        files.map(|(index, entry)| (entry.name.clone(), index)).collect()
    }

    /// A hard link as the file it stands for, and whose content that is.
    fn same(
        &self,
        mut entry: Entry,
        of: &EntryName,
        files: &HashMap<EntryName, usize>,
    ) -> Result<(Entry, usize), ArchiveError> {
        let origin = files.get(of).and_then(|index| self.origins.get(*index)).copied();
        let found = origin.and_then(|index| Some((index, self.entries.get(index)?)));
        let Some((origin, found)) = found else {
            let name = &entry.name;
            let what = format!("{name} is a hard link to {of}, which is no file before it");
            return Err(ArchiveError::hostile(what));
        };
        entry.node = found.node.clone();
        Ok((entry, origin))
    }

    /// The hard links to each entry that has some.
    fn copies(&self) -> HashMap<usize, Vec<usize>> {
        let mut copies: HashMap<usize, Vec<usize>> = HashMap::new();
        for (index, origin) in self.origins.iter().enumerate() {
            if index != *origin {
                copies.entry(*origin).or_default().push(index);
            }
        }
        copies
    }
}

/// Hands over the content of one entry and passes its padding.
fn content(
    stream: &mut Counted<impl Read>,
    entry: &Entry,
    visitor: &mut dyn Visitor,
) -> Result<(), ArchiveError> {
    let begin = stream.offset;
    let in_file = |error: ArchiveError| match error {
        ArchiveError::Corrupt { offset, what } => {
            let (name, chunk) = (Some(entry.name.clone()), None);
            let problem = Box::new(Problem { name, chunk, offset, what });
            ArchiveError::CorruptFile { problem }
        }
        other => other,
    };
    let mut rest = entry.size();
    let mut buffer = Vec::new();
    while rest > 0 {
        let length = rest.min(BUFFER);
        take(stream, length, &mut buffer).map_err(|error| in_file(stream_error(error, begin)))?;
        visitor.content(&buffer)?;
        rest -= length;
    }
    take(stream, padding(entry.size()), &mut buffer)
        .map_err(|error| in_file(stream_error(error, begin)))?;
    if buffer.iter().any(|byte| *byte != 0) {
        return Err(ArchiveError::hostile(format!("something hides behind {}", entry.name)));
    }
    Ok(())
}

/// Exactly `length` bytes into `buffer`, which grows only as they come.
fn take(stream: &mut impl Read, length: u64, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.clear();
    stream.take(length).read_to_end(buffer)?;
    if as_u64(buffer.len()) == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Reads to the end of the stream, so that its checksum is checked, and finds only zeros.
fn rest_is_zeros(stream: &mut Counted<impl Read>) -> Result<(), ArchiveError> {
    let mut buffer = vec![0; 64 << 10];
    let zeros = buffer.clone();
    loop {
        let offset = stream.offset;
        let read = stream.read(&mut buffer).map_err(|error| stream_error(error, offset))?;
        if read == 0 {
            return Ok(());
        }
        if buffer.get(..read) != zeros.get(..read) {
            return Err(ArchiveError::hostile("something hides behind the end of the tar"));
        }
    }
}

/// A stream that knows where it is and ends with an error beyond `cap` bytes.
struct Counted<R> {
    inner: R,
    offset: u64,
    cap: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.offset += as_u64(read);
        if self.offset > self.cap {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(read)
    }
}

/// A pass that only looks.
struct Listing<'a> {
    progress: &'a mut dyn FnMut(u64),
    stop: &'a AtomicBool,
}

impl Visitor for Listing<'_> {
    fn entry(&mut self, _: usize, _: usize, _: &Entry) -> Result<(), ArchiveError> {
        go_on(self.stop)
    }

    fn content(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        (self.progress)(as_u64(bytes.len()));
        go_on(self.stop)
    }

    fn end(&mut self) -> Result<(), ArchiveError> {
        Ok(())
    }
}

/// A pass that keeps the content of one entry.
struct Taking {
    index: usize,
    here: bool,
    content: Vec<u8>,
}

impl Visitor for Taking {
    fn entry(&mut self, index: usize, _: usize, _: &Entry) -> Result<(), ArchiveError> {
        self.here = index == self.index;
        Ok(())
    }

    fn content(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        if self.here {
            self.content.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), ArchiveError> {
        Ok(())
    }
}

/// A pass that writes what the plan wants.
struct Unpacking<'a> {
    plan: &'a Plan,
    contents: &'a Contents,
    /// The hard links to an entry.
    copies: HashMap<usize, Vec<usize>>,
    destination: super::target::Destination,
    /// The files that get the content of the entry at hand.
    current: Vec<(super::target::NewFile, &'a EntryName, i64)>,
    /// How much of it they have.
    written: u64,
    progress: &'a mut dyn FnMut(u64),
    stop: &'a AtomicBool,
}

impl Visitor for Unpacking<'_> {
    fn entry(&mut self, index: usize, origin: usize, entry: &Entry) -> Result<(), ArchiveError> {
        go_on(self.stop)?;
        let Contents { entries, origins } = self.contents;
        if entries.get(index) != Some(entry) || origins.get(index) != Some(&origin) {
            return Err(ArchiveError::hostile("the archive changed while it was read"));
        }
        if origin != index {
            return Ok(()); // It was written together with its content.
        }
        self.written = 0;
        let copies = self.copies.get(&index).map_or(&[][..], Vec::as_slice);
        for index in std::iter::once(&index).chain(copies) {
            let name = self.plan.file(entries, *index);
            if let (Some(name), Some(entry)) = (name, entries.get(*index)) {
                let file = self.destination.file(name, is_executable(entry));
                let file = file.map_err(|source| extract::writing(name, source))?;
                self.current.push((file, name, entry.modified));
            }
        }
        Ok(())
    }

    fn content(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        go_on(self.stop)?;
        for (file, name, _) in &mut self.current {
            file.write(bytes, self.written).map_err(|source| extract::writing(name, source))?;
            (self.progress)(as_u64(bytes.len()));
        }
        self.written += as_u64(bytes.len());
        Ok(())
    }

    fn end(&mut self) -> Result<(), ArchiveError> {
        self.current.drain(..).try_for_each(|(file, name, modified)| {
            file.finish(self.written, modified).map_err(|source| extract::writing(name, source))
        })
    }
}
