//! Is an archive that was just written what any later run will take it for?
//!
//! Everything [`Archive::open`](super::Archive::open) and the first half of
//! [`Archive::verify`](super::Archive::verify) would look at is looked at, in the memory that a few
//! [`Stretch`]es take: the table of contents is read from front to back, and the archive in step with
//! it. Whether the members hold what their digests say is left to who made them.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Scope, ScopedJoinHandle};

use super::check::{self, Gap, Hands, Part, end_of};
use super::extract::go_on;
use super::open::{Found, find};
use super::seekable::read_toc;
use super::tarball::padding;
use super::toc::{CHUNK, Take};
use super::work::MOST_THREADS;
use super::{ArchiveError, Chunk, Entry, Limits, Problem};
use crate::disk::sys::Errand;

/// A stretch is worth a thread's time once it has so many bytes of members, or so many chunks.
const FULL: u64 = CHUNK;
const CHUNKS: usize = 256;
/// How far it is not worth another call to pass over what need not be read, in bytes.
const NEAR: u64 = 8 << 10;
/// How many stretches may wait for a thread.
const UNREAD: usize = 8;

/// What an archive turned out to be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReadBack {
    /// `sha256:` and the digest of its table of contents.
    pub toc_digest: String,
    /// What is wrong beyond that table, in the order of the archive.
    pub problems: Vec<Problem>,
}

/// Reads a seekable archive back: its footer, its table of contents, every tar header, and the members
/// of all chunks, whether each is the one that the table names. Where most of them were read back
/// already, only those that are in `doubt` ([`Written::doubtful`](super::Written::doubtful)), by where
/// they start. That is done on `jobs` threads besides this one (0 and 1: on this one).
///
/// The memory it takes grows with the number of names by a few bytes each, and with the files that
/// have no content where many of them follow each other.
///
/// # Errors
///
/// Those of [`Archive::open`](super::Archive::open), also for a plain archive; if the file cannot be
/// read; [`ArchiveError::Interrupted`]. Other damage is in the answer.
pub fn read_back(
    path: &Path,
    doubt: Option<&BTreeSet<u64>>,
    jobs: usize,
    stop: &AtomicBool,
) -> Result<ReadBack, ArchiveError> {
    let Found { file, bytes, toc } = find(path)?;
    let toc = toc.ok_or_else(|| ArchiveError::corrupt(bytes, "it has no footer"))?;
    let limits = &Limits::default().of(bytes);
    let look = Look { file: &file, limits, doubt, stop };
    thread::scope(|scope| {
        let (walk, toc_digest) = read_toc(&file, toc, limits, Walk::new(look, scope, jobs))?;
        Ok(ReadBack { toc_digest, problems: walk.finish(toc.0)? })
    })
}

/// What is looked at, and how.
#[derive(Clone, Copy)]
struct Look<'a> {
    file: &'a File,
    limits: &'a Limits,
    doubt: Option<&'a BTreeSet<u64>>,
    stop: &'a AtomicBool,
}

/// Some entries in a row, with chunks of theirs that follow each other.
#[derive(Default)]
struct Stretch {
    /// Where the last member before it ends, and the zeros that fill up the last block there.
    start: u64,
    padding: u64,
    entries: Vec<Entry>,
    /// How many of the entries were announced by a stretch before: one that goes on here, or none.
    announced: usize,
    /// Each with its entry's place among these, and its number in its file.
    chunks: Vec<(usize, usize, Chunk)>,
    /// Bytes of their members.
    weight: u64,
}

impl Stretch {
    fn is_full(&self) -> bool {
        self.weight >= FULL || self.chunks.len() >= CHUNKS
    }

    /// An empty one that goes on where the last chunk of this one ends.
    fn next(&self) -> Self {
        let start = self.chunks.last().map_or(self.start, |(_, _, chunk)| end_of(chunk));
        let entries: Vec<Entry> = self.entries.last().cloned().into_iter().collect();
        let padding = entries.last().map_or(0, |entry| padding(entry.size()));
        Self { start, padding, announced: entries.len(), entries, ..Self::default() }
    }
}

impl Look<'_> {
    /// Looks at a stretch; answers what of it is not announced by its chunks, and where that begins.
    fn at<'s>(
        self,
        hands: &mut Hands,
        stretch: &'s Stretch,
    ) -> Result<(u64, u64, &'s [Entry]), ArchiveError> {
        let end = stretch.chunks.last().map_or(0, |(_, _, chunk)| end_of(chunk));
        let (mut start, mut zeros, mut head) = (stretch.start, stretch.padding, stretch.announced);
        for (place, number, chunk) in &stretch.chunks {
            go_on(self.stop)?;
            let Some(entry) = stretch.entries.get(*place) else { continue };
            if *number == 0 {
                let entries = stretch.entries.get(head..=*place).unwrap_or_default();
                let gap = Gap { start, end: chunk.offset, padding: zeros, entries };
                let last = match self.doubt {
                    // What lies behind is hardly going to be looked at.
                    Some(_) => end.min(chunk.offset.saturating_add(NEAR)),
                    None => end,
                };
                let checked = check::frames(self.file, self.limits, hands, gap, last);
                hands.note(checked)?;
                head = place + 1;
            }
            if self.doubt.is_none_or(|doubt| doubt.contains(&chunk.offset)) {
                let part = Part { entry, number: *number, chunk };
                let checked = check::member(self.file, &mut hands.window, part, end).map(drop);
                hands.note(checked)?;
            }
            (start, zeros) = (end_of(chunk), padding(entry.size()));
        }
        Ok((start, zeros, stretch.entries.get(head..).unwrap_or_default()))
    }
}

/// A table of contents that is read, and what of the archive it has come by.
struct Walk<'scope, 'env> {
    look: Look<'env>,
    scope: &'scope Scope<'scope, 'env>,
    jobs: usize,
    /// Once there is work for more than this thread.
    crew: Option<Crew<'scope>>,
    own: Hands,
    stretch: Stretch,
    /// How many chunks of the last entry were read.
    number: usize,
}

/// Threads that take stretches in.
struct Crew<'scope> {
    sender: SyncSender<Stretch>,
    threads: Vec<ScopedJoinHandle<'scope, Result<Hands, ArchiveError>>>,
}

impl Take for Walk<'_, '_> {
    fn entry(&mut self, entry: Entry) -> Result<(), ArchiveError> {
        self.stretch.entries.push(entry);
        self.number = 0;
        Ok(())
    }

    fn chunk(&mut self, chunk: Chunk) -> Result<(), ArchiveError> {
        let place = self.stretch.entries.len().saturating_sub(1);
        self.stretch.weight = self.stretch.weight.saturating_add(chunk.member_size);
        self.stretch.chunks.push((place, self.number, chunk));
        self.number += 1;
        if self.stretch.is_full() { self.hand_in() } else { Ok(()) }
    }
}

impl<'scope, 'env> Walk<'scope, 'env> {
    fn new(look: Look<'env>, scope: &'scope Scope<'scope, 'env>, jobs: usize) -> Self {
        let (own, stretch) = (Hands::default(), Stretch::default());
        Self { look, scope, jobs, crew: None, own, stretch, number: 0 }
    }

    /// Has a stretch looked at whose last entry has come as far as its last chunk.
    fn hand_in(&mut self) -> Result<(), ArchiveError> {
        go_on(self.look.stop)?;
        let next = self.stretch.next();
        let stretch = std::mem::replace(&mut self.stretch, next);
        if self.crew.is_none() && self.jobs > 1 {
            self.crew = Some(Crew::hire(self.look, self.scope, self.jobs));
        }
        let refused = match &self.crew {
            Some(crew) => crew.sender.send(stretch).err().map(|unsent| unsent.0),
            None => Some(stretch),
        };
        // A system that has no threads to give is no reason to fail.
        refused.map_or(Ok(()), |stretch| self.look.at(&mut self.own, &stretch).map(drop))
    }

    /// Looks at what is left, which ends at the table of contents; answers what is wrong anywhere.
    fn finish(self, toc_offset: u64) -> Result<Vec<Problem>, ArchiveError> {
        let Self { look, crew, mut own, stretch, .. } = self;
        let (start, padding, entries) = look.at(&mut own, &stretch)?;
        let gap = Gap { start, end: toc_offset, padding, entries };
        let checked = check::frames(look.file, look.limits, &mut own, gap, toc_offset);
        own.note(checked)?;
        let mut problems = own.problems;
        for hands in crew.map_or_else(Vec::new, Crew::end) {
            problems.extend(hands?.problems);
        }
        go_on(look.stop)?;
        problems.sort_by_key(|problem| problem.offset);
        Ok(problems)
    }
}

impl<'scope> Crew<'scope> {
    fn hire<'env>(look: Look<'env>, scope: &'scope Scope<'scope, 'env>, jobs: usize) -> Self {
        let (sender, desk) = sync_channel(UNREAD);
        let desk = Arc::new(Mutex::new(desk));
        let errand = Errand::of_this_thread();
        let hire = |_| {
            let (desk, errand) = (Arc::clone(&desk), errand.clone());
            let named = thread::Builder::new().name("read back".to_owned());
            named.spawn_scoped(scope, move || errand.run(|| take_in(look, &desk))).ok()
        };
        let threads = (0..jobs.min(MOST_THREADS)).map_while(hire).collect();
        Self { sender, threads }
    }

    /// What each thread has found.
    fn end(self) -> Vec<Result<Hands, ArchiveError>> {
        drop(self.sender);
        let ended = self
            .threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        ended.collect()
    }
}

/// Looks at what lies on the desk until there will be no more.
fn take_in(look: Look<'_>, desk: &Mutex<Receiver<Stretch>>) -> Result<Hands, ArchiveError> {
    let mut hands = Hands::default();
    loop {
        let next = desk.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(stretch) = next else { return Ok(hands) };
        look.at(&mut hands, &stretch)?;
    }
}
