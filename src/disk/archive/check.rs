//! Does a stretch of a seekable archive hold what its table of contents says of it?
//!
//! The chunks are where the table says; everything between them are frames, which must hold the tar
//! headers that the table implies and nothing else. So members tile the file, and any tar sees the
//! same tree. Which stretches there are, and who looks at them, is the question of `seekable`, which
//! has the whole table in memory, and of `walk`, which has not.

use std::fs::File;

use super::gzip::{FRAME_PREFIX, Inflater, frame_bytes};
use super::tarball::{Headers, Item};
use super::toc::{CHUNK, as_u64, sha256};
use super::work::Window;
use super::write::FRAME;
use super::{ArchiveError, Chunk, Entry, Limits, Place, Problem};

/// Most bytes a frame unpacks to: what gathers, and the headers of one more entry.
const FRAME_CAP: u64 = 2 * (1 << 20);
const _: () = assert!(FRAME < 2 * (1 << 20) - (64 << 10));

/// What a thread uses again from one member to the next.
pub(super) struct Hands {
    pub(super) window: Window,
    inflater: Inflater,
    /// What was found damaged.
    pub(super) problems: Vec<Problem>,
}

impl Default for Hands {
    fn default() -> Self {
        Self { window: Window::default(), inflater: Inflater::new(), problems: Vec::new() }
    }
}

impl Hands {
    /// Keeps damage of a single place in mind, so that it does not hide that of others.
    pub(super) fn note<T>(
        &mut self,
        found: Result<T, ArchiveError>,
    ) -> Result<Option<T>, ArchiveError> {
        match found {
            Ok(found) => Ok(Some(found)),
            Err(ArchiveError::CorruptFile { problem }) => {
                self.problems.push(*problem);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// A stretch of the file between chunks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gap<'a> {
    pub(super) start: u64,
    pub(super) end: u64,
    /// Zeros that fill the last block of the file before.
    pub(super) padding: u64,
    /// The entries it announces.
    pub(super) entries: &'a [Entry],
}

/// A chunk of a file, counted from 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    pub(super) entry: &'a Entry,
    pub(super) number: usize,
    pub(super) chunk: &'a Chunk,
}

/// Where the member of a chunk ends.
pub(super) fn end_of(chunk: &Chunk) -> u64 {
    chunk.offset.saturating_add(chunk.member_size)
}

/// The verified content of one chunk; on the way nothing beyond `last` is read.
pub(super) fn content<'h>(
    file: &File,
    hands: &'h mut Hands,
    part: Part<'_>,
    last: u64,
) -> Result<&'h [u8], ArchiveError> {
    let member = member(file, &mut hands.window, part, last)?;
    let content =
        hands.inflater.chunk(member, part.chunk.size).map_err(|what| part.damaged(what))?;
    if sha256(content) != part.chunk.digest {
        return Err(part.damaged("its content does not match its digest"));
    }
    Ok(content)
}

/// The verified member of one chunk.
pub(super) fn member<'h>(
    file: &File,
    window: &'h mut Window,
    part: Part<'_>,
    last: u64,
) -> Result<&'h [u8], ArchiveError> {
    let place = (part.chunk.offset, end_of(part.chunk));
    let member = window.bytes(file, place, last).map_err(ArchiveError::reading)?;
    if sha256(member) != part.chunk.member_digest {
        return Err(part.damaged("not what was written"));
    }
    Ok(member)
}

impl Part<'_> {
    fn damaged(&self, what: &str) -> ArchiveError {
        let number = as_u64(self.number);
        let place = Place {
            number: number.saturating_add(1),
            of: self.entry.size().div_ceil(CHUNK),
            // Every chunk but the last is full.
            first: number.saturating_mul(CHUNK),
            bytes: self.chunk.size,
        };
        let (name, chunk, offset) = (Some(self.entry.name.clone()), Some(place), self.chunk.offset);
        let problem = Box::new(Problem { name, chunk, offset, what: what.to_owned() });
        ArchiveError::CorruptFile { problem }
    }
}

/// Whether a gap holds whole frames with the headers of its entries, and nothing else.
pub(super) fn frames(
    file: &File,
    limits: &Limits,
    hands: &mut Hands,
    gap: Gap<'_>,
    last: u64,
) -> Result<(), ArchiveError> {
    let mut expected = gap.entries.iter().peekable();
    let mut zeros = gap.padding;
    let mut at = gap.start;
    while at < gap.end {
        let name = expected.peek().map(|entry| entry.name.clone());
        let damaged = |what: &str| {
            let (name, what) = (name.clone(), format!("a tar header between files: {what}"));
            let problem = Box::new(Problem { name, chunk: None, offset: at, what });
            ArchiveError::CorruptFile { problem }
        };
        let (frame, end) = frame(file, hands, (at, gap.end), last, &damaged)?;
        let (filler, headers) = usize::try_from(zeros)
            .ok()
            .and_then(|zeros| frame.split_at_checked(zeros))
            .ok_or_else(|| damaged("a file's padding is cut off"))?;
        if filler.iter().any(|byte| *byte != 0) {
            return Err(damaged("a file's padding is not zeros"));
        }
        zeros = 0;
        let mut headers = Headers::new(headers, limits);
        loop {
            match headers.next() {
                Ok(Item::Entry(found)) if expected.next() == Some(&found) => {}
                Ok(Item::EndOfInput) => break,
                Ok(_) => return Err(damaged("it does not agree with the table of contents")),
                Err(bad) => return Err(damaged(&bad.at(at).to_string())),
            }
        }
        at = end;
    }
    if zeros > 0 || expected.peek().is_some() {
        let name = expected.peek().map(|entry| entry.name.clone());
        let what = "a tar header between files is missing".to_owned();
        let problem = Box::new(Problem { name, chunk: None, offset: gap.end, what });
        return Err(ArchiveError::CorruptFile { problem });
    }
    Ok(())
}

/// The content of the frame at `at` and where it ends, which is at `end` or before.
fn frame<'a>(
    file: &File,
    hands: &'a mut Hands,
    (at, end): (u64, u64),
    last: u64,
    damaged: &dyn Fn(&str) -> ArchiveError,
) -> Result<(&'a [u8], u64), ArchiveError> {
    let prefix_end = at.saturating_add(as_u64(FRAME_PREFIX));
    if prefix_end > end {
        return Err(damaged("the gzip member is cut off"));
    }
    let Hands { window, inflater, .. } = hands;
    let prefix = window.bytes(file, (at, prefix_end), last).map_err(ArchiveError::reading)?;
    let prefix = prefix.first_chunk().ok_or_else(|| damaged("the gzip member is cut off"))?;
    let length = frame_bytes(prefix).map_err(damaged)?;
    let frame_end = at.saturating_add(length);
    if frame_end > end || length > FRAME_CAP {
        return Err(damaged("the gzip member is longer than its place"));
    }
    let member = window.bytes(file, (at, frame_end), last).map_err(ArchiveError::reading)?;
    let content = inflater.frame(member, FRAME_CAP).map_err(damaged)?;
    if content.is_empty() {
        return Err(damaged("an empty gzip member"));
    }
    Ok((content, frame_end))
}
