//! How is the work on an archive shared by threads, so that what is found does not depend on them?
//!
//! An archive is cut into [`Unit`]s of about a mebibyte, in its order: some small files, or some
//! chunks of a large one, so that a single huge file keeps every thread busy too. They are handed out
//! in this order; when one fails, all before it are brought to their end, and the first in the
//! archive's order that failed is the one whose error counts.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;

use super::extract::go_on;
use super::open::Section;
use super::toc::{CHUNK, Toc};
use super::{ArchiveError, Entry};
use crate::disk::sys::Errand;

/// Most threads, whatever is asked for: each takes about two MiB.
pub(super) const MOST_THREADS: usize = 16;

/// Most chunks in a unit.
const CHUNKS: usize = 4;
/// Most files in a unit.
const FILES: usize = 256;
/// How much of an archive is read at once, in bytes, where it is read in its order.
const AHEAD: u64 = 1 << 20;
/// How many units may be done before anybody has heard of them.
const UNHEARD: usize = 64;

/// What one thread does in one go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Unit {
    /// The entries; none in the unit that stands for what follows the last file.
    pub(super) entries: Range<usize>,
    /// Which of their chunks; all, unless it is one file with many.
    pub(super) chunks: Range<usize>,
    /// The entry after the last one before these that has content.
    pub(super) head: usize,
}

/// Cuts what is `wanted` into units.
pub(super) fn units(toc: &Toc, wanted: &dyn Fn(usize) -> bool) -> Vec<Unit> {
    let mut units = Vec::new();
    let mut open: Option<(Unit, u64)> = None;
    let mut head = 0;
    for (index, entry) in toc.entries().iter().enumerate() {
        let count = toc.chunks_of(index).len();
        let is_wanted = wanted(index);
        if !is_wanted || count > CHUNKS {
            units.extend(open.take().map(|(unit, _)| unit));
        }
        if is_wanted && count > CHUNKS {
            let starts = (0..count).step_by(CHUNKS);
            units.extend(starts.map(|start| Unit {
                entries: index..index + 1,
                chunks: start..count.min(start + CHUNKS),
                head,
            }));
        } else if is_wanted {
            let new = || (Unit { entries: index..index, chunks: 0..CHUNKS, head }, 0);
            let (mut unit, content) = open.take().unwrap_or_else(new);
            unit.entries.end = index + 1;
            let content = content + entry.size();
            if content >= CHUNK || unit.entries.len() >= FILES {
                units.push(unit);
            } else {
                open = Some((unit, content));
            }
        }
        if count > 0 {
            head = index + 1;
        }
    }
    units.extend(open.map(|(unit, _)| unit));
    units
}

/// How many units a file of more chunks than fit into one is cut into.
pub(super) fn parts(chunks: usize) -> usize {
    chunks.div_ceil(CHUNKS)
}

/// Whether so much content is worth more threads than this one: each costs about as much as some
/// hundred KiB of work.
pub(super) fn is_worth_threads(entries: &[Entry]) -> bool {
    entries.iter().map(Entry::size).fold(0, u64::saturating_add) >= 1 << 18 || entries.len() > FILES
}

/// How many threads there are unless somebody says so.
pub(super) fn all_jobs() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(8)
}

/// Does units 0 to `count` on `jobs` threads, 1 and 0 being this one. `work` answers the bytes that are
/// done, which `progress` hears of in this thread. Each thread keeps something of its own from one
/// unit to the next; the answer is what they have then.
///
/// # Errors
///
/// Of the first unit, in their order, that failed; [`ArchiveError::Interrupted`].
pub(super) fn run<Own: Default + Send>(
    jobs: usize,
    count: usize,
    progress: &mut dyn FnMut(u64),
    stop: &AtomicBool,
    work: impl Fn(&mut Own, usize) -> Result<u64, ArchiveError> + Sync,
) -> Result<Vec<Own>, ArchiveError> {
    let next = AtomicUsize::new(0);
    let failed = AtomicUsize::new(usize::MAX);
    let take = |say: &dyn Fn(u64)| {
        let mut own = Own::default();
        loop {
            let unit = next.fetch_add(1, Ordering::Relaxed);
            let is_over = unit >= count || unit > failed.load(Ordering::Relaxed);
            if is_over || stop.load(Ordering::Relaxed) {
                return (own, None);
            }
            match work(&mut own, unit) {
                Ok(bytes) => say(bytes),
                Err(error) => {
                    failed.fetch_min(unit, Ordering::Relaxed);
                    return (own, Some((unit, error)));
                }
            }
        }
    };
    let mut done = Vec::new();
    let jobs = jobs.min(count).min(MOST_THREADS);
    let mut hired = 0;
    if jobs > 1 {
        let errand = Errand::of_this_thread();
        let (said, heard) = sync_channel(UNHEARD);
        done = thread::scope(|scope| {
            let mut crew = Vec::new();
            for _ in 0..jobs {
                let (said, errand, take) = (said.clone(), errand.clone(), &take);
                let say = move |bytes| {
                    // Who listens goes on until all of us are through.
                    let _ = said.send(bytes);
                };
                let thread = thread::Builder::new().name("unpack".to_owned());
                // A system that has no more threads to give is no reason to fail.
                let Ok(thread) = thread.spawn_scoped(scope, move || errand.run(|| take(&say)))
                else {
                    break;
                };
                crew.push(thread);
            }
            drop(said);
            hired = crew.len();
            heard.into_iter().for_each(&mut *progress);
            crew.into_iter()
                .map(|thread| {
                    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                })
                .collect()
        });
    }
    if hired == 0 {
        let progress = RefCell::new(progress);
        done.push(take(&|bytes| (progress.borrow_mut())(bytes)));
    }
    let (own, errors): (Vec<Own>, Vec<_>) = done.into_iter().unzip();
    go_on(stop)?;
    match errors.into_iter().flatten().min_by_key(|(unit, _)| *unit) {
        Some((_, error)) => Err(error),
        None => Ok(own),
    }
}

/// What was read of an archive last, so that small members that follow each other are one read. Its
/// memory is used again.
#[derive(Default)]
pub(super) struct Window {
    bytes: Vec<u8>,
    start: u64,
    end: u64,
}

impl Window {
    /// The bytes from `start` to `end`; where they are not there yet, more is read on the way, but
    /// nothing beyond `last`.
    pub(super) fn bytes(
        &mut self,
        file: &File,
        (start, end): (u64, u64),
        last: u64,
    ) -> io::Result<&[u8]> {
        if start < self.start || end > self.end {
            let to = end.max(last.min(start.saturating_add(AHEAD)));
            let length = usize::try_from(to.saturating_sub(start)).map_err(io::Error::other)?;
            (self.start, self.end) = (0, 0);
            if self.bytes.len() < length {
                self.bytes.resize(length, 0);
            }
            let room = self.bytes.get_mut(..length).unwrap_or_default();
            Section::new(file, start, to).read_exact(room)?;
            (self.start, self.end) = (start, to);
        }
        let from = usize::try_from(start - self.start).map_err(io::Error::other)?;
        let length = usize::try_from(end.saturating_sub(start)).map_err(io::Error::other)?;
        Ok(self.bytes.get(from..from.saturating_add(length)).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::archive::{Chunk, Node};

    fn toc(sizes: &[u64]) -> Toc {
        let mut toc = Toc::default();
        for (index, size) in sizes.iter().enumerate() {
            let (name, node) = (format!("f{index}").parse().unwrap(), Node::File { size: *size });
            toc.push_entry(Entry { name, node, mode: 0o600, modified: 0 });
            for _ in 0..size.div_ceil(CHUNK) {
                let (member_digest, digest) = ([0; 32], [0; 32]);
                toc.push_chunk(
                    index,
                    Chunk { offset: 0, member_size: 1, member_digest, size: 1, digest },
                );
            }
        }
        toc
    }

    fn cut(sizes: &[u64], wanted: &dyn Fn(usize) -> bool) -> Vec<String> {
        let units = units(&toc(sizes), wanted);
        units.iter().map(|it| format!("{:?} {:?} {}", it.entries, it.chunks, it.head)).collect()
    }

    #[test]
    fn small_files_go_together_and_a_large_one_is_cut() {
        let sizes = [5, 0, 9 * CHUNK, CHUNK - 1, 1, 7];
        let all = ["0..2 0..4 0", "2..3 0..4 1", "2..3 4..8 1", "2..3 8..9 1", "3..5 0..4 3"];
        assert_eq!(cut(&sizes, &|_| true), [&all[..], &["5..6 0..4 5"]].concat());
        assert_eq!(cut(&sizes, &|n| n != 4), [&all[..4], &["3..4 0..4 3", "5..6 0..4 5"]].concat());
        assert_eq!(cut(&[0; 600], &|_| true).len(), 3);
        assert_eq!(cut(&[], &|_| true).len(), 0);
    }

    #[test]
    fn the_first_error_in_order_counts_on_any_number_of_threads() {
        for jobs in [1, 2, 7] {
            for _ in 0..50 {
                let mut heard = 0;
                let result = run(
                    jobs,
                    100,
                    &mut |bytes| heard += bytes,
                    &AtomicBool::new(false),
                    |own: &mut usize, unit| {
                        *own += 1;
                        match unit {
                            40 | 41 | 47 | 90 => Err(ArchiveError::hostile(unit.to_string())),
                            _ => Ok(1),
                        }
                    },
                );
                assert_eq!(result.unwrap_err().to_string(), "refused: 40");
                assert!(heard >= 40, "{heard}");
            }
            let add = |own: &mut usize, _| {
                *own += 1;
                Ok(1)
            };
            let done = run(jobs, 100, &mut |_| {}, &AtomicBool::new(false), add).unwrap();
            assert_eq!(done.iter().sum::<usize>(), 100);
            let stopped = run(jobs, 100, &mut |_| {}, &AtomicBool::new(true), add);
            assert!(matches!(stopped, Err(ArchiveError::Interrupted)));
        }
    }
}
