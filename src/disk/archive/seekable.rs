//! Does a seekable archive hold exactly what its table of contents says, and what is in it?
//!
//! The chunks are where the table says; everything between them are frames, which must hold the tar
//! headers that the table implies and nothing else. So members tile the file, and any tar sees the
//! same tree.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use sha2::{Digest, Sha256};

use super::extract::go_on;
use super::gzip::{FRAME_PREFIX, Inflater, frame_bytes};
use super::open::{Section, bytes_of};
use super::tarball::{BLOCK, Headers, Item, padding};
use super::toc::{Reader, TOC_NAME, Toc, as_u64, digest_text, sha256};
use super::work::{self, Unit, Window};
use super::write::FRAME;
use super::{ArchiveError, Chunk, Entry, EntryName, Limits, Node, Place, Problem};

/// Most bytes a frame unpacks to: what gathers, and the headers of one more entry.
const FRAME_CAP: u64 = 2 * (1 << 20);
const _: () = assert!(FRAME < 2 * (1 << 20) - (64 << 10));
/// How much of a table of contents is read at once, in bytes.
const PIECE: usize = 1 << 20;

/// How far it is not worth another call to pass over what need not be read, in bytes.
const NEAR: u64 = 8 << 10;

/// How many names are looked for one by one.
const FEW: usize = 8;

/// An open seekable archive.
#[derive(Debug)]
pub(super) struct Seekable {
    pub(super) file: File,
    pub(super) toc: Toc,
    /// The entries in the order of their names, once so many were asked for that it is worth it.
    by_name: OnceLock<Vec<u32>>,
    asked: AtomicUsize,
    toc_offset: u64,
    toc_digest: String,
    limits: Limits,
    /// How many threads check and unpack.
    pub(super) jobs: usize,
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

/// What a thread uses again from one member to the next.
pub(super) struct Hands {
    window: Window,
    inflater: Inflater,
    /// What was found damaged.
    pub(super) problems: Vec<Problem>,
}

impl Default for Hands {
    fn default() -> Self {
        Self { window: Window::default(), inflater: Inflater::new(), problems: Vec::new() }
    }
}

/// How closely chunks are looked at.
#[derive(Clone, Copy, Debug)]
enum Depth<'a> {
    /// The members, as they are, that start at one of these places; without a list all.
    Members(Option<&'a BTreeSet<u64>>),
    /// All of them, and what is in them.
    Content,
}

impl Depth<'_> {
    fn asks_for(self, chunk: &Chunk) -> bool {
        match self {
            Self::Members(Some(doubtful)) => doubtful.contains(&chunk.offset),
            Self::Members(None) | Self::Content => true,
        }
    }
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
        if packed > limits.toc {
            let what = "bytes of a table of contents";
            return Err(ArchiveError::TooMuch { what, found: packed, limit: limits.toc });
        }
        let (toc, toc_digest) = read_toc(&file, (toc_offset, footer_at), limits)?;
        let (by_name, asked) = (OnceLock::new(), AtomicUsize::new(0));
        let (limits, jobs) = (limits.clone(), work::all_jobs());
        Ok(Self { file, toc, by_name, asked, toc_offset, toc_digest, limits, jobs })
    }

    pub(super) fn toc_digest(&self) -> &str {
        &self.toc_digest
    }

    pub(super) fn entries(&self) -> &[Entry] {
        self.toc.entries()
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Which entry the file of this name is.
    pub(super) fn index(&self, name: &EntryName) -> Option<usize> {
        let entries = self.entries();
        let is_file = |index: &usize| {
            entries.get(*index).is_some_and(|entry| matches!(entry.node, Node::File { .. }))
        };
        // Whoever asks for one or two is answered sooner than an index is made.
        if self.by_name.get().is_none() && self.asked.fetch_add(1, Ordering::Relaxed) < FEW {
            return entries.iter().position(|entry| entry.name == *name).filter(is_file);
        }
        let name_of = |index: &u32| Some(&entries.get(usize::try_from(*index).ok()?)?.name);
        let sorted = self.by_name.get_or_init(|| {
            let mut order: Vec<u32> =
                (0..entries.len()).filter_map(|index| index.try_into().ok()).collect();
            // They are nearly in order already, which this kind of sorting makes use of.
            order.sort_by(|a, b| name_of(a).cmp(&name_of(b)));
            order
        });
        let found = sorted.binary_search_by(|index| name_of(index).cmp(&Some(name))).ok()?;
        usize::try_from(*sorted.get(found)?).ok().filter(is_file)
    }

    /// The content of the file with this index, verified.
    pub(super) fn read(&self, index: usize) -> Result<Vec<u8>, ArchiveError> {
        let mut hands = Hands::default();
        let mut content = Vec::new();
        let chunks = self.toc.chunks_of(index);
        let last = chunks.last().map_or(0, end_of);
        for (number, chunk) in chunks.iter().enumerate() {
            content.extend_from_slice(self.chunk(&mut hands, (index, number, chunk), last)?);
        }
        Ok(content)
    }

    /// Checks everything.
    pub(super) fn verify(
        &self,
        progress: &mut dyn FnMut(u64),
        stop: &AtomicBool,
    ) -> Result<Vec<Problem>, ArchiveError> {
        self.look(Depth::Content, progress, stop)
    }

    /// Checks that every byte is the one that was written, but does not look into the members of
    /// chunks.
    pub(super) fn verify_members(
        &self,
        doubtful: Option<&BTreeSet<u64>>,
        progress: &mut dyn FnMut(u64),
        stop: &AtomicBool,
    ) -> Result<Vec<Problem>, ArchiveError> {
        self.look(Depth::Members(doubtful), progress, stop)
    }

    fn look(
        &self,
        depth: Depth<'_>,
        progress: &mut dyn FnMut(u64),
        stop: &AtomicBool,
    ) -> Result<Vec<Problem>, ArchiveError> {
        let units = work::units(&self.toc, &|_| true);
        let done = self.on_all_threads(&units, progress, stop, |hands: &mut Hands, unit| {
            let mut sound = 0;
            for (index, gap) in self.files(unit) {
                let last = match depth {
                    // What lies between is not going to be looked at.
                    Depth::Members(Some(_)) => gap.map_or(0, |gap| gap.end.saturating_add(NEAR)),
                    Depth::Members(None) | Depth::Content => u64::MAX,
                };
                let last = last.min(self.last_of(unit));
                let checked = gap.map_or(Ok(()), |gap| self.check_frames(hands, gap, last));
                hands.note(checked)?;
                let chunks = self.toc.chunks_of(index).iter().enumerate();
                let part = chunks.take(unit.chunks.end).skip(unit.chunks.start);
                for (number, chunk) in part {
                    go_on(stop)?;
                    if !depth.asks_for(chunk) {
                        sound += chunk.size;
                        continue;
                    }
                    let which = (index, number, chunk);
                    let checked = match depth {
                        Depth::Members(_) => {
                            self.packed(&mut hands.window, which, last).map(|_| chunk.size)
                        }
                        Depth::Content => self.chunk(hands, which, last).map(|_| chunk.size),
                    };
                    sound += hands.note(checked)?.unwrap_or(0);
                }
            }
            Ok(sound)
        })?;
        let mut end = Hands::default();
        let checked = self.check_end(&mut end);
        end.note(checked)?;
        let found = done.into_iter().chain([end]).flat_map(|hands| hands.problems);
        let mut problems: Vec<Problem> = found.collect();
        problems.sort_by_key(|problem| problem.offset);
        Ok(problems)
    }

    /// The files with content that a unit begins or goes on with, and the gap before those that it
    /// begins with.
    fn files<'a>(&'a self, unit: &'a Unit) -> impl Iterator<Item = (usize, Option<Gap>)> + 'a {
        let mut head = unit.head;
        unit.entries.clone().filter_map(move |index| {
            let first = self.toc.chunks_of(index).first()?;
            let gap = (unit.chunks.start == 0).then(|| self.gap(head, index + 1, first.offset));
            head = index + 1;
            Some((index, gap))
        })
    }

    /// What lies before `end` and announces the entries from `first` on; the one before them is the
    /// last file that has content.
    fn gap(&self, first: usize, next: usize, end: u64) -> Gap {
        let before = first.checked_sub(1).and_then(|index| {
            let last = self.toc.chunks_of(index).last()?;
            Some((end_of(last), padding(self.entries().get(index)?.size())))
        });
        let (start, padding) = before.unwrap_or((0, 0));
        Gap { start, end, padding, first, count: next - first }
    }

    /// Checks what follows the last file with content.
    pub(super) fn check_end(&self, hands: &mut Hands) -> Result<(), ArchiveError> {
        let entries = self.entries().len();
        let has_content = |index: &usize| !self.toc.chunks_of(*index).is_empty();
        let first = (0..entries).rev().find(has_content).map_or(0, |index| index + 1);
        let gap = self.gap(first, entries, self.toc_offset);
        self.check_frames(hands, gap, self.toc_offset)
    }

    /// Checks what lies before the file with this index, if the unit begins it.
    pub(super) fn check_before(
        &self,
        hands: &mut Hands,
        index: usize,
        head: usize,
        unit: &Unit,
    ) -> Result<(), ArchiveError> {
        match self.toc.chunks_of(index).first() {
            Some(first) if unit.chunks.start == 0 => {
                let gap = self.gap(head, index + 1, first.offset);
                self.check_gap(hands, gap, unit)
            }
            _ => Ok(()),
        }
    }

    /// Where the last member of a unit ends.
    pub(super) fn last_of(&self, unit: &Unit) -> u64 {
        let chunks = unit.entries.clone().rev().map(|index| self.toc.chunks_of(index));
        let last = chunks.map(|chunks| chunks.get(..unit.chunks.end).unwrap_or(chunks).last());
        last.flatten().next().map_or(0, end_of)
    }

    /// Does units on as many threads as there should be.
    pub(super) fn on_all_threads<Own: Default + Send>(
        &self,
        units: &[Unit],
        progress: &mut dyn FnMut(u64),
        stop: &AtomicBool,
        act: impl Fn(&mut Own, &Unit) -> Result<u64, ArchiveError> + Sync,
    ) -> Result<Vec<Own>, ArchiveError> {
        let jobs = if work::is_worth_threads(self.entries()) { self.jobs } else { 1 };
        let act = |own: &mut Own, number: usize| match units.get(number) {
            Some(unit) => act(own, unit),
            None => Ok(0),
        };
        work::run(jobs, units.len(), progress, stop, act)
    }

    /// The verified content of one chunk; on the way nothing beyond `last` is read.
    pub(super) fn chunk<'a>(
        &self,
        hands: &'a mut Hands,
        (index, number, chunk): (usize, usize, &Chunk),
        last: u64,
    ) -> Result<&'a [u8], ArchiveError> {
        let member = self.packed(&mut hands.window, (index, number, chunk), last)?;
        let damaged = |what: &str| self.damaged(index, number, chunk, what);
        let content = hands.inflater.chunk(member, chunk.size).map_err(damaged)?;
        if sha256(content) != chunk.digest {
            return Err(damaged("its content does not match its digest"));
        }
        Ok(content)
    }

    /// The verified member of one chunk.
    fn packed<'a>(
        &self,
        window: &'a mut Window,
        (index, number, chunk): (usize, usize, &Chunk),
        last: u64,
    ) -> Result<&'a [u8], ArchiveError> {
        let place = (chunk.offset, end_of(chunk));
        let member = window.bytes(&self.file, place, last).map_err(ArchiveError::reading)?;
        if sha256(member) != chunk.member_digest {
            let what = "not what was written";
            return Err(self.damaged(index, number, chunk, what));
        }
        Ok(member)
    }

    fn damaged(&self, index: usize, number: usize, chunk: &Chunk, what: &str) -> ArchiveError {
        let name = self.entries().get(index).map(|entry| entry.name.clone());
        let chunks = self.toc.chunks_of(index);
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

    fn check_gap(&self, hands: &mut Hands, gap: Gap, unit: &Unit) -> Result<(), ArchiveError> {
        self.check_frames(hands, gap, self.last_of(unit))
    }

    /// Whether a gap holds whole frames with the headers of its entries, and nothing else.
    fn check_frames(&self, hands: &mut Hands, gap: Gap, last: u64) -> Result<(), ArchiveError> {
        let entries = self.entries().iter().skip(gap.first).take(gap.count);
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
            let (frame, end) = self.frame(hands, (at, gap.end), last, &damaged)?;
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
    fn frame<'a>(
        &self,
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
        let prefix =
            window.bytes(&self.file, (at, prefix_end), last).map_err(ArchiveError::reading)?;
        let prefix = prefix.first_chunk().ok_or_else(|| damaged("the gzip member is cut off"))?;
        let length = frame_bytes(prefix).map_err(damaged)?;
        let frame_end = at.saturating_add(length);
        if frame_end > end || length > FRAME_CAP {
            return Err(damaged("the gzip member is longer than its place"));
        }
        let member =
            window.bytes(&self.file, (at, frame_end), last).map_err(ArchiveError::reading)?;
        let content = inflater.frame(member, FRAME_CAP).map_err(damaged)?;
        if content.is_empty() {
            return Err(damaged("an empty gzip member"));
        }
        Ok((content, frame_end))
    }
}

impl Hands {
    /// Keeps damage of a single place in mind, so that it does not hide that of others.
    fn note<T>(&mut self, found: Result<T, ArchiveError>) -> Result<Option<T>, ArchiveError> {
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

fn end_of(chunk: &Chunk) -> u64 {
    chunk.offset.saturating_add(chunk.member_size)
}

/// Reads the table of contents, frame by frame, and its digest.
fn read_toc(
    file: &File,
    (toc_offset, footer_at): (u64, u64),
    limits: &Limits,
) -> Result<(Toc, String), ArchiveError> {
    let damaged =
        |what: &str| ArchiveError::corrupt(toc_offset, format!("its table of contents: {what}"));
    // A small file must not cost much memory. A table with the digests of files shrinks to a
    // fifth; one of folders to less, but they fit into the least that is granted.
    let cap = (footer_at - toc_offset).saturating_mul(8).max(16 << 20).min(limits.toc);
    let (mut at, mut unpacked) = (toc_offset, 0);
    let mut inflater = Inflater::new();
    let mut member = Vec::new();
    let mut table: Option<Table<'_>> = None;
    while at < footer_at {
        member.clear();
        let prefix_end = at.saturating_add(as_u64(FRAME_PREFIX)).min(footer_at);
        let prefix = bytes_of(file, at, prefix_end).map_err(ArchiveError::reading)?;
        let prefix = prefix.first_chunk().ok_or_else(|| damaged("the gzip member is cut off"))?;
        let length = frame_bytes(prefix).map_err(damaged)?;
        if length > footer_at - at {
            return Err(damaged("the gzip member is longer than its place"));
        }
        Section::new(file, at, at + length)
            .read_to_end(&mut member)
            .map_err(ArchiveError::reading)?;
        at += length;
        let content = inflater.frame(&member, cap - unpacked).map_err(damaged)?;
        if content.is_empty() {
            return Err(damaged("an empty gzip member"));
        }
        unpacked += as_u64(content.len());
        let mut rest = content;
        let table = match &mut table {
            Some(table) => table,
            None => table.insert(Table::begin(&mut rest, toc_offset, limits)?),
        };
        for piece in rest.chunks(PIECE) {
            table.read(piece)?;
        }
    }
    table.ok_or_else(|| damaged("it is cut off"))?.finish()
}

/// A table of contents that is being read.
struct Table<'a> {
    reader: Reader<'a>,
    digest: Sha256,
    /// Bytes of JSON, and of zeros behind them, that have to follow.
    json: u64,
    zeros: u64,
    toc_offset: u64,
}

impl<'a> Table<'a> {
    /// Reads its tar header from the first frame.
    fn begin(
        content: &mut &[u8],
        toc_offset: u64,
        limits: &'a Limits,
    ) -> Result<Self, ArchiveError> {
        let mut headers = Headers::new(*content, limits);
        let damaged = |what| ArchiveError::corrupt(toc_offset, what);
        let size = match headers.next().map_err(|bad| bad.at(toc_offset))? {
            Item::Entry(Entry { name, node: Node::File { size }, .. })
                if name.as_str() == TOC_NAME =>
            {
                size
            }
            _ => return Err(damaged("its table of contents: it has another name")),
        };
        *content = headers.input;
        let reader = Reader::new(toc_offset, limits);
        let zeros = padding(size) + 2 * as_u64(BLOCK);
        Ok(Self { reader, digest: Sha256::new(), json: size, zeros, toc_offset })
    }

    fn read(&mut self, piece: &[u8]) -> Result<(), ArchiveError> {
        let length = usize::try_from(self.json).unwrap_or(usize::MAX).min(piece.len());
        let (json, zeros) = piece.split_at_checked(length).unwrap_or((piece, &[]));
        self.json -= as_u64(json.len());
        self.digest.update(json);
        if !json.is_empty() {
            self.reader.read(json)?;
        }
        let left = self.zeros.checked_sub(as_u64(zeros.len()));
        match left.filter(|_| zeros.iter().all(|byte| *byte == 0)) {
            Some(left) => self.zeros = left,
            None => return Err(self.damaged("something hides behind it")),
        }
        Ok(())
    }

    fn finish(self) -> Result<(Toc, String), ArchiveError> {
        if self.json > 0 || self.zeros > 0 {
            return Err(self.damaged("it is cut off"));
        }
        Ok((self.reader.finish()?, digest_text(&self.digest.finalize().into())))
    }

    fn damaged(&self, what: &str) -> ArchiveError {
        ArchiveError::corrupt(self.toc_offset, format!("its table of contents: {what}"))
    }
}
