//! Does a seekable archive hold exactly what its table of contents says, and what is in it?
//!
//! The chunks are where the table says; everything between them are frames, which must hold the tar
//! headers that the table implies and nothing else. So members tile the file, and any tar sees the
//! same tree.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use super::extract::{self, Plan, go_on, is_executable};
use super::gzip::{FRAME_PREFIX, frame_bytes, open_chunk, open_frame};
use super::open::bytes_of;
use super::tarball::{Headers, Item, padding};
use super::target::Destination;
use super::toc::{TOC_NAME, Toc, as_u64, digest_text, sha256};
use super::write::FRAME;
use super::{
    ArchiveError, Chunk, Entry, EntryName, Extracted, Extraction, Limits, Node, Place, Problem,
};
use crate::disk::replace;
use crate::disk::sys::Errand;

/// Most bytes a frame unpacks to: what gathers, and the headers of one more entry.
const FRAME_CAP: u64 = 2 * (1 << 20);
const _: () = assert!(FRAME < 2 * (1 << 20) - (64 << 10));

/// An open seekable archive.
#[derive(Debug)]
pub(super) struct Seekable {
    file: File,
    toc: Toc,
    by_name: HashMap<EntryName, usize>,
    toc_offset: u64,
    toc_digest: String,
    limits: Limits,
}

/// A stretch of the file between chunks.
#[derive(Clone, Copy, Debug)]
struct Gap {
    start: u64,
    end: u64,
    /// Zeros that fill the last block of the file before.
    padding: u64,
    /// The entries it announces.
    first: usize,
    count: usize,
}

impl Seekable {
    /// Reads the table of contents that lies between `toc_offset` and the footer at `footer_at`.
    pub(super) fn open(
        file: File,
        toc_offset: u64,
        footer_at: u64,
        limits: &Limits,
    ) -> Result<Self, ArchiveError> {
        if toc_offset >= footer_at {
            return Err(ArchiveError::corrupt(footer_at, "the footer points behind itself"));
        }
        let packed = footer_at - toc_offset;
        let too_much = |found| {
            let what = "bytes of a table of contents";
            Err(ArchiveError::TooMuch { what, found, limit: limits.toc })
        };
        if packed > limits.toc {
            return too_much(packed);
        }
        let member = bytes_of(&file, toc_offset, footer_at).map_err(ArchiveError::reading)?;
        // A small file must not cost much memory. A table with the digests of files shrinks to a
        // fifth; one of folders to less, but they fit into the least that is granted.
        let cap = packed.saturating_mul(8).max(16 << 20).min(limits.toc);
        let damaged =
            |what| ArchiveError::corrupt(toc_offset, format!("its table of contents: {what}"));
        let tail = open_frame(&member, cap).map_err(damaged)?;
        drop(member);

        let mut headers = Headers::new(tail.as_slice(), limits);
        let size = match headers.next().map_err(|bad| bad.at(toc_offset))? {
            Item::Entry(Entry { name, node: Node::File { size }, .. })
                if name.as_str() == TOC_NAME =>
            {
                size
            }
            _ => return Err(damaged("it has another name")),
        };
        let split =
            usize::try_from(size).ok().and_then(|size| headers.input.split_at_checked(size));
        let (json, rest) = split.ok_or_else(|| damaged("it is cut off"))?;
        if as_u64(rest.len()) != padding(size) + 1024 || rest.iter().any(|byte| *byte != 0) {
            return Err(damaged("something hides behind it"));
        }
        let toc = Toc::parse(json, toc_offset, limits)?;
        let toc_digest = digest_text(&sha256(json));
        let names = toc.entries.iter().map(|entry| entry.name.clone());
        let by_name = names.enumerate().map(|(index, name)| (name, index)).collect();
        Ok(Self { file, toc, by_name, toc_offset, toc_digest, limits: limits.clone() })
    }

    pub(super) fn toc_digest(&self) -> &str {
        &self.toc_digest
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.toc.entries
    }

    pub(super) fn chunks(&self, name: &EntryName) -> Option<&[Chunk]> {
        let index = self.index(name)?;
        self.toc.chunks.get(index).map(Vec::as_slice)
    }

    /// Which entry the file of this name is.
    fn index(&self, name: &EntryName) -> Option<usize> {
        let index = *self.by_name.get(name)?;
        let is_file = |entry: &Entry| matches!(entry.node, Node::File { .. });
        self.toc.entries.get(index).is_some_and(is_file).then_some(index)
    }

    /// The content of the file with this index, verified.
    pub(super) fn read(&self, index: usize) -> Result<Vec<u8>, ArchiveError> {
        let mut content = Vec::new();
        for (number, chunk) in self.toc.chunks.get(index).into_iter().flatten().enumerate() {
            content.extend(self.chunk(index, number, chunk)?);
        }
        Ok(content)
    }

    pub(super) fn verify(
        &self,
        progress: &mut dyn FnMut(u64),
        stop: &AtomicBool,
    ) -> Result<Vec<Problem>, ArchiveError> {
        let mut problems = Vec::new();
        let mut note = |found: Result<(), ArchiveError>| match found {
            Err(ArchiveError::CorruptFile { problem }) => {
                problems.push(*problem);
                Ok(())
            }
            other => other,
        };
        for gap in self.gaps() {
            go_on(stop)?;
            note(self.check_gap(gap))?;
        }
        self.on_all_threads(progress, stop, &mut note, |(), index, said| {
            for (number, chunk) in self.toc.chunks.get(index).into_iter().flatten().enumerate() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let _ = said.send(self.chunk(index, number, chunk).map(|_| chunk.size));
            }
        })?;
        problems.sort_by_key(|problem| problem.offset);
        Ok(problems)
    }

    pub(super) fn extract(
        &self,
        into: &Path,
        how: &mut Extraction<'_>,
    ) -> Result<Extracted, ArchiveError> {
        for gap in self.gaps() {
            go_on(how.stop)?;
            self.check_gap(gap)?;
        }
        let plan = Plan::new(&self.toc.entries, how)?;
        let failed = AtomicBool::new(false);
        let stop = how.stop;
        // The first error counts and ends the others' work.
        self.on_all_threads(
            how.progress,
            stop,
            &mut |result| result,
            |destination, index, said| {
                let Some((entry, name)) =
                    self.toc.entries.get(index).zip(plan.files.get(index).and_then(Option::as_ref))
                else {
                    return;
                };
                if failed.load(Ordering::Relaxed) {
                    return;
                }
                let done = opened(destination, into)
                    .and_then(|opened| self.extract_file(opened, index, entry, name, stop));
                failed.fetch_or(done.is_err(), Ordering::Relaxed);
                let _ = said.send(done.map(|()| entry.size()));
            },
        )?;
        plan.complete(into)
    }

    /// Unpacks what was asked for and is sound, and answers what is not: of a damaged file nothing
    /// stays. The frames between the files do not count, for the table of contents tells all
    /// that is in them.
    pub(super) fn pick(
        &self,
        into: &Path,
        how: &mut Extraction<'_>,
    ) -> Result<(Extracted, Vec<Problem>), ArchiveError> {
        let mut plan = Plan::new(&self.toc.entries, how)?;
        let mut problems = Vec::new();
        let mut lost = Extracted::default();
        let stop = how.stop;
        let mut judge = |result| match result {
            Err(ArchiveError::CorruptFile { problem }) => {
                let index = problem.name.as_ref().and_then(|name| self.index(name));
                let entry = index.and_then(|index| self.toc.entries.get(index));
                lost.files += 1;
                lost.bytes += entry.map_or(0, Entry::size);
                problems.push(*problem);
                Ok(())
            }
            other => other,
        };
        self.on_all_threads(how.progress, stop, &mut judge, |destination, index, said| {
            let Some((entry, name)) =
                self.toc.entries.get(index).zip(plan.files.get(index).and_then(Option::as_ref))
            else {
                return;
            };
            let done = opened(destination, into).and_then(|opened| {
                let done = self.extract_file(opened, index, entry, name, stop);
                if let Err(ArchiveError::CorruptFile { .. }) = done {
                    replace::remove_file(&into.join(name.as_str()))
                        .map_err(|error| extract::writing(name, error.source))?;
                }
                done
            });
            let _ = said.send(done.map(|()| entry.size()));
        })?;
        plan.extracted.files = plan.extracted.files.saturating_sub(lost.files);
        plan.extracted.bytes = plan.extracted.bytes.saturating_sub(lost.bytes);
        problems.sort_by_key(|problem| problem.offset);
        Ok((plan.complete(into)?, problems))
    }

    fn extract_file(
        &self,
        destination: &mut Destination,
        index: usize,
        entry: &Entry,
        name: &EntryName,
        stop: &AtomicBool,
    ) -> Result<(), ArchiveError> {
        let writing = |source| extract::writing(name, source);
        let mut file = destination.file(name, is_executable(entry)).map_err(writing)?;
        for (number, chunk) in self.toc.chunks.get(index).into_iter().flatten().enumerate() {
            go_on(stop)?;
            file.write(&self.chunk(index, number, chunk)?).map_err(writing)?;
        }
        file.finish(entry.modified).map_err(writing)
    }

    /// Runs `work` once for every entry's index, on as many threads as there are processors, and hears
    /// in this one what they said: bytes done, or an error for `judge`.
    /// Each thread keeps something of its own from one index to the next.
    fn on_all_threads<Own: Default>(
        &self,
        progress: &mut dyn FnMut(u64),
        stop: &AtomicBool,
        judge: &mut dyn FnMut(Result<(), ArchiveError>) -> Result<(), ArchiveError>,
        work: impl Fn(&mut Own, usize, &Sender<Result<u64, ArchiveError>>) + Sync,
    ) -> Result<(), ArchiveError> {
        let count = self.toc.entries.len();
        let processors = thread::available_parallelism().map_or(1, usize::from).min(8);
        // A thread costs about as much as some hundred KiB of work.
        let content = self.toc.entries.iter().map(Entry::size).fold(0, u64::saturating_add);
        let worth = usize::try_from(content >> 18).unwrap_or(usize::MAX).saturating_add(1);
        let threads = processors.min(worth).min(count);
        let next = AtomicUsize::new(0);
        let take = |said: &Sender<_>| {
            let mut own = Own::default();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= count || stop.load(Ordering::Relaxed) {
                    break;
                }
                work(&mut own, index, said);
            }
        };
        let (said, heard) = channel();
        let errand = Errand::of_this_thread();
        thread::scope(|scope| {
            if worth == 1 {
                // Done here before a thread would have begun; nobody looks at a bar this short.
                take(&said);
            } else {
                for _ in 0..threads {
                    let (said, errand) = (said.clone(), errand.clone());
                    let take = &take;
                    scope.spawn(move || errand.run(|| take(&said)));
                }
            }
            drop(said);
            let mut result = Ok(());
            for done in heard {
                match done {
                    Ok(bytes) => progress(bytes),
                    Err(error) if result.is_ok() => result = judge(Err(error)),
                    Err(_) => {}
                }
            }
            result
        })?;
        go_on(stop)
    }

    /// The verified content of one chunk.
    fn chunk(&self, index: usize, number: usize, chunk: &Chunk) -> Result<Vec<u8>, ArchiveError> {
        let member = self.packed(index, number, chunk)?;
        let damaged = |what: &str| self.damaged(index, number, chunk, what);
        let content = open_chunk(&member, chunk.size).map_err(damaged)?;
        if sha256(&content) != chunk.digest {
            return Err(damaged("its content does not match its digest"));
        }
        Ok(content)
    }

    /// The verified member of one chunk.
    fn packed(&self, index: usize, number: usize, chunk: &Chunk) -> Result<Vec<u8>, ArchiveError> {
        let end = chunk.offset.saturating_add(chunk.member_size);
        let member = bytes_of(&self.file, chunk.offset, end).map_err(ArchiveError::reading)?;
        if sha256(&member) != chunk.member_digest {
            let what = "not what was written";
            return Err(self.damaged(index, number, chunk, what));
        }
        Ok(member)
    }

    fn damaged(&self, index: usize, number: usize, chunk: &Chunk, what: &str) -> ArchiveError {
        let name = self.toc.entries.get(index).map(|entry| entry.name.clone());
        let chunks = self.toc.chunks.get(index).map(Vec::as_slice).unwrap_or_default();
        let before = chunks.iter().take(number).map(|chunk| chunk.size);
        let place = Place {
            number: as_u64(number).saturating_add(1),
            of: as_u64(chunks.len()),
            first: before.fold(0, u64::saturating_add),
            bytes: chunk.size,
        };
        let (chunk, offset) = (Some(place), chunk.offset);
        let problem = Box::new(Problem { name, chunk, offset, what: what.to_owned() });
        ArchiveError::CorruptFile { problem }
    }

    /// The stretches between chunks, from the first byte to the table of contents.
    fn gaps(&self) -> Vec<Gap> {
        let mut gaps = Vec::new();
        let mut gap = Gap { start: 0, end: 0, padding: 0, first: 0, count: 0 };
        for (entry, chunks) in self.toc.entries.iter().zip(&self.toc.chunks) {
            gap.count += 1;
            if let (Some(head), Some(last)) = (chunks.first(), chunks.last()) {
                gaps.push(Gap { end: head.offset, ..gap });
                gap.start = last.offset.saturating_add(last.member_size);
                gap.padding = padding(entry.size());
                gap.first += gap.count;
                gap.count = 0;
            }
        }
        gaps.push(Gap { end: self.toc_offset, ..gap });
        gaps
    }

    /// Whether a gap holds whole frames with the headers of its entries, and nothing else.
    fn check_gap(&self, gap: Gap) -> Result<(), ArchiveError> {
        let entries = self.toc.entries.iter().skip(gap.first).take(gap.count);
        let mut expected = entries.peekable();
        let mut zeros = gap.padding;
        let mut at = gap.start;
        while at < gap.end {
            let name = expected.peek().map(|entry| entry.name.clone());
            let damaged = |what: &str| {
                let (name, what) = (name.clone(), format!("a tar header between files: {what}"));
                let problem = Box::new(Problem { name, chunk: None, offset: at, what });
                ArchiveError::CorruptFile { problem }
            };
            let (frame, end) = self.frame(at, gap.end, &damaged)?;
            let (filler, headers) = usize::try_from(zeros)
                .ok()
                .and_then(|zeros| frame.split_at_checked(zeros))
                .ok_or_else(|| damaged("a file's padding is cut off"))?;
            if filler.iter().any(|byte| *byte != 0) {
                return Err(damaged("a file's padding is not zeros"));
            }
            zeros = 0;
            let mut headers = Headers::new(headers, &self.limits);
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
    fn frame(
        &self,
        at: u64,
        end: u64,
        damaged: &dyn Fn(&str) -> ArchiveError,
    ) -> Result<(Vec<u8>, u64), ArchiveError> {
        let prefix_end = at.saturating_add(as_u64(FRAME_PREFIX));
        if prefix_end > end {
            return Err(damaged("the gzip member is cut off"));
        }
        let prefix = bytes_of(&self.file, at, prefix_end).map_err(ArchiveError::reading)?;
        let prefix = prefix.first_chunk().ok_or_else(|| damaged("the gzip member is cut off"))?;
        let length = frame_bytes(prefix).map_err(damaged)?;
        let frame_end = at.saturating_add(length);
        if frame_end > end || length > FRAME_CAP {
            return Err(damaged("the gzip member is longer than its place"));
        }
        let member = bytes_of(&self.file, at, frame_end).map_err(ArchiveError::reading)?;
        let content = open_frame(&member, FRAME_CAP).map_err(damaged)?;
        if content.is_empty() {
            return Err(damaged("an empty gzip member"));
        }
        Ok((content, frame_end))
    }
}

/// What a thread unpacks into, opened when it has its first file.
fn opened<'a>(
    own: &'a mut Option<Destination>,
    into: &Path,
) -> Result<&'a mut Destination, ArchiveError> {
    match own {
        Some(destination) => Ok(destination),
        None => Ok(own.insert(extract::open(into)?)),
    }
}
