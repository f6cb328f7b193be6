//! Does a seekable archive hold exactly what its table of contents says, and what is in it?
//!
//! The whole table is in memory, so that any file can be asked for; what is looked at in each stretch
//! is `check`'s question.

use std::fs::File;
use std::io::Read as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use sha2::{Digest, Sha256};

use super::check::{self, Gap, Hands, Part, end_of};
use super::extract::go_on;
use super::gzip::{FRAME_PREFIX, Inflater, frame_bytes};
use super::open::{Section, bytes_of};
use super::tarball::{BLOCK, Headers, Item, padding};
use super::toc::{Reader, TOC_NAME, Take, Toc, as_u64, digest_text};
use super::work::{self, Unit};
use super::{ArchiveError, Chunk, Entry, EntryName, Limits, Node, Problem};

/// How much of a table of contents is read at once, in bytes.
const PIECE: usize = 1 << 20;

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

impl Seekable {
    /// Reads the table of contents that lies between `toc_offset` and the footer at `footer_at`.
    pub(super) fn open(
        file: File,
        (toc_offset, footer_at): (u64, u64),
        limits: &Limits,
    ) -> Result<Self, ArchiveError> {
        let (toc, toc_digest) = read_toc(&file, (toc_offset, footer_at), limits, Toc::default())?;
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
        let units = work::units(&self.toc, &|_| true);
        let done = self.on_all_threads(&units, progress, stop, |hands: &mut Hands, unit| {
            let mut sound = 0;
            for (index, gap) in self.files(unit) {
                let checked = gap.map_or(Ok(()), |gap| self.check_gap(hands, gap, unit));
                hands.note(checked)?;
                let last = self.last_of(unit);
                let chunks = self.toc.chunks_of(index).iter().enumerate();
                let part = chunks.take(unit.chunks.end).skip(unit.chunks.start);
                for (number, chunk) in part {
                    go_on(stop)?;
                    let checked = self.chunk(hands, (index, number, chunk), last);
                    let checked = checked.map(|_| chunk.size);
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
    fn files<'a>(&'a self, unit: &'a Unit) -> impl Iterator<Item = (usize, Option<Gap<'a>>)> + 'a {
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
    fn gap(&self, first: usize, next: usize, end: u64) -> Gap<'_> {
        let before = first.checked_sub(1).and_then(|index| {
            let last = self.toc.chunks_of(index).last()?;
            Some((end_of(last), padding(self.entries().get(index)?.size())))
        });
        let (start, padding) = before.unwrap_or((0, 0));
        let entries = self.entries().get(first..next).unwrap_or_default();
        Gap { start, end, padding, entries }
    }

    /// Checks what follows the last file with content.
    pub(super) fn check_end(&self, hands: &mut Hands) -> Result<(), ArchiveError> {
        let entries = self.entries().len();
        let has_content = |index: &usize| !self.toc.chunks_of(*index).is_empty();
        let first = (0..entries).rev().find(has_content).map_or(0, |index| index + 1);
        let gap = self.gap(first, entries, self.toc_offset);
        check::frames(&self.file, &self.limits, hands, gap, self.toc_offset)
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
        let lost = || ArchiveError::corrupt(chunk.offset, "a chunk of no file");
        let entry = self.entries().get(index).ok_or_else(lost)?;
        check::content(&self.file, hands, Part { entry, number, chunk }, last)
    }

    fn check_gap(&self, hands: &mut Hands, gap: Gap<'_>, unit: &Unit) -> Result<(), ArchiveError> {
        check::frames(&self.file, &self.limits, hands, gap, self.last_of(unit))
    }
}

/// Reads the table of contents, frame by frame, and its digest.
///
/// # Errors
///
/// Whatever is wrong with it, and what `into` has against it.
pub(super) fn read_toc<T: Take>(
    file: &File,
    (toc_offset, footer_at): (u64, u64),
    limits: &Limits,
    into: T,
) -> Result<(T, String), ArchiveError> {
    if toc_offset >= footer_at {
        return Err(ArchiveError::corrupt(footer_at, "the footer points behind itself"));
    }
    let packed = footer_at - toc_offset;
    if packed > limits.toc {
        let what = "bytes of a table of contents";
        return Err(ArchiveError::TooMuch { what, found: packed, limit: limits.toc });
    }
    let damaged =
        |what: &str| ArchiveError::corrupt(toc_offset, format!("its table of contents: {what}"));
    // A small file must not cost much memory. A table with the digests of files shrinks to a
    // fifth; one of folders to less, but they fit into the least that is granted.
    let cap = packed.saturating_mul(8).max(16 << 20).min(limits.toc);
    let (mut at, mut unpacked) = (toc_offset, 0);
    let mut inflater = Inflater::new();
    let mut member = Vec::new();
    let mut begun: Option<Table<'_, T>> = None;
    let mut into = Some(into);
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
        let mut table = match (begun.take(), into.take()) {
            (Some(table), _) => table,
            (None, Some(into)) => Table::begin(&mut rest, (toc_offset, cap), limits, into)?,
            (None, None) => break,
        };
        for piece in rest.chunks(PIECE) {
            table.read(piece)?;
        }
        begun = Some(table);
    }
    begun.ok_or_else(|| damaged("it is cut off"))?.finish()
}

/// A table of contents that is being read.
struct Table<'a, T> {
    reader: Reader<'a, T>,
    digest: Sha256,
    /// Bytes of JSON, and of zeros behind them, that have to follow.
    json: u64,
    zeros: u64,
    toc_offset: u64,
}

impl<'a, T: Take> Table<'a, T> {
    /// Reads its tar header from the first frame; all of it unpacks to `cap` bytes at most.
    fn begin(
        content: &mut &[u8],
        (toc_offset, cap): (u64, u64),
        limits: &'a Limits,
        into: T,
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
        let reader = Reader::new((toc_offset, size.min(cap)), limits, into);
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

    fn finish(self) -> Result<(T, String), ArchiveError> {
        if self.json > 0 || self.zeros > 0 {
            return Err(self.damaged("it is cut off"));
        }
        Ok((self.reader.finish()?, digest_text(&self.digest.finalize().into())))
    }

    fn damaged(&self, what: &str) -> ArchiveError {
        ArchiveError::corrupt(self.toc_offset, format!("its table of contents: {what}"))
    }
}
