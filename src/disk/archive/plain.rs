//! What is in a plain `tar.gz`, and is it one gzip stream with one tar and nothing else?
//!
//! Nothing in it can be found without reading from the start, so every question is one pass from the
//! first byte to the last, which checks the stream's checksum and the zeros behind the tar as well.

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
use super::{ArchiveError, Entry, Extracted, Extraction, Limits, NameSet, Problem};

/// How much content is held at once.
const BUFFER: u64 = 1 << 20;

/// An open plain archive.
#[derive(Debug)]
pub(super) struct Plain {
    file: File,
    bytes: u64,
    limits: Limits,
    entries: OnceLock<Vec<Entry>>,
}

/// What a pass does with the content of each entry, piece by piece.
trait Visitor {
    /// An entry begins.
    fn entry(&mut self, index: usize, entry: &Entry) -> Result<(), ArchiveError>;
    /// Some of its content.
    fn content(&mut self, bytes: &[u8]) -> Result<(), ArchiveError>;
    /// All of its content was there.
    fn end(&mut self) -> Result<(), ArchiveError>;
}

impl Plain {
    pub(super) fn new(file: File, bytes: u64, limits: Limits) -> Self {
        Self { file, bytes, limits, entries: OnceLock::new() }
    }

    pub(super) fn entries(&self) -> Result<&[Entry], ArchiveError> {
        self.listed(&AtomicBool::new(false))
    }

    /// The entries, from a pass that can be stopped if there was none yet.
    fn listed(&self, stop: &AtomicBool) -> Result<&[Entry], ArchiveError> {
        if let Some(entries) = self.entries.get() {
            return Ok(entries);
        }
        let found = self.pass(&mut Listing { progress: &mut |_| {}, stop })?;
        Ok(self.entries.get_or_init(|| found))
    }

    pub(super) fn read(&self, index: usize) -> Result<Vec<u8>, ArchiveError> {
        let mut taking = Taking { index, here: false, content: Vec::new() };
        self.pass(&mut taking)?;
        Ok(taking.content)
    }

    pub(super) fn verify(
        &self,
        progress: &mut dyn FnMut(u64),
        stop: &AtomicBool,
    ) -> Result<Vec<Problem>, ArchiveError> {
        match self.pass(&mut Listing { progress, stop }) {
            Ok(entries) => {
                self.entries.get_or_init(|| entries);
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
        let entries = self.listed(how.stop)?;
        let plan = Plan::new(entries, how)?;
        let mut unpacking = Unpacking {
            plan: &plan,
            entries,
            destination: extract::open(into)?,
            current: None,
            progress: how.progress,
            stop: how.stop,
        };
        self.pass(&mut unpacking)?;
        plan.complete(into)
    }

    /// Reads everything once, strictly, and hands the content to `visitor`.
    fn pass(&self, visitor: &mut dyn Visitor) -> Result<Vec<Entry>, ArchiveError> {
        let packed = BufReader::with_capacity(128 << 10, Section::new(&self.file, 0, self.bytes));
        let ratio = self.bytes.saturating_mul(self.limits.ratio).max(self.limits.ratio_from);
        let mut stream = Counted { inner: GzDecoder::new(packed), offset: 0, cap: ratio };
        let result = self.walk(&mut stream, visitor);
        if stream.offset > ratio {
            let what = "bytes unpacked from a plain archive";
            return Err(ArchiveError::TooMuch { what, found: stream.offset, limit: ratio });
        }
        let entries = result?;
        let mut packed = stream.inner.into_inner();
        if !packed.fill_buf().map_err(ArchiveError::reading)?.is_empty() {
            let what = "something hides behind the compressed stream";
            return Err(ArchiveError::corrupt(stream.offset, what));
        }
        Ok(entries)
    }

    fn walk(
        &self,
        stream: &mut Counted<impl Read>,
        visitor: &mut dyn Visitor,
    ) -> Result<Vec<Entry>, ArchiveError> {
        let mut entries = Vec::new();
        let mut names = NameSet::default();
        let mut total = 0_u64;
        loop {
            let offset = stream.offset;
            let entry = match Headers::new(&mut *stream, &self.limits).next() {
                Ok(Item::Entry(entry)) => entry,
                Ok(Item::EndMarker) => break,
                Ok(Item::EndOfInput) => {
                    return Err(ArchiveError::corrupt(offset, "the tar end marker is missing"));
                }
                Err(bad) => return Err(bad.at(offset)),
            };
            if entries.len() >= self.limits.entries {
                let limit = as_u64(self.limits.entries);
                let found = limit.saturating_add(1);
                return Err(ArchiveError::TooMuch { what: "entries", found, limit });
            }
            names.insert(&entry.name, entry.is_dir())?;
            total = total.saturating_add(entry.size());
            if let Some(limit) = self.limits.total_unpacked.filter(|limit| total > *limit) {
                return Err(ArchiveError::TooMuch {
                    what: "bytes of content",
                    found: total,
                    limit,
                });
            }
            visitor.entry(entries.len(), &entry)?;
            content(stream, &entry, visitor)?;
            visitor.end()?;
            entries.push(entry);
        }
        rest_is_zeros(stream)?;
        Ok(entries)
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
    loop {
        let offset = stream.offset;
        let read = stream.read(&mut buffer).map_err(|error| stream_error(error, offset))?;
        if read == 0 {
            return Ok(());
        }
        if buffer.iter().take(read).any(|byte| *byte != 0) {
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
    fn entry(&mut self, _: usize, _: &Entry) -> Result<(), ArchiveError> {
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
    fn entry(&mut self, index: usize, _: &Entry) -> Result<(), ArchiveError> {
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
    entries: &'a [Entry],
    destination: super::target::Destination,
    current: Option<(super::target::NewFile, &'a super::EntryName, i64)>,
    progress: &'a mut dyn FnMut(u64),
    stop: &'a AtomicBool,
}

impl Visitor for Unpacking<'_> {
    fn entry(&mut self, index: usize, entry: &Entry) -> Result<(), ArchiveError> {
        go_on(self.stop)?;
        if self.entries.get(index) != Some(entry) {
            return Err(ArchiveError::hostile("the archive changed while it was read"));
        }
        if let Some(name) = self.plan.files.get(index).and_then(Option::as_ref) {
            let file = self.destination.file(name, is_executable(entry));
            let file = file.map_err(|source| extract::writing(name, source))?;
            self.current = Some((file, name, entry.modified));
        }
        Ok(())
    }

    fn content(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        go_on(self.stop)?;
        if let Some((file, name, _)) = &mut self.current {
            file.write(bytes).map_err(|source| extract::writing(name, source))?;
            (self.progress)(as_u64(bytes.len()));
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), ArchiveError> {
        match self.current.take() {
            Some((file, name, modified)) => {
                file.finish(modified).map_err(|source| extract::writing(name, source))
            }
            None => Ok(()),
        }
    }
}
