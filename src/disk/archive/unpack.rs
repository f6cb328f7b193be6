//! How does a seekable archive become files, on all threads?
//!
//! Each thread takes a unit, reads it in one go and writes each file, or its part of a large one, at
//! its place. What is asked for may lie in another folder too, as when a home is restored onto itself:
//! then a chunk is taken from there, if what was read has the digest that is asked for. It is those
//! bytes that are written, whatever happens to that file meanwhile, and the archive's own member of such
//! a chunk is not looked at.
//!
//! Where the file system can give a new file the content of another one without writing it, it does that
//! first, with the whole file. What is read then is the other one, which is in memory more likely, if it
//! looks before and afterwards as something that nobody writes to; else the new one, which nobody else has.
//! What of it is not what is asked for is written over from the archive.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::check::Hands;
use super::extract::{self, Plan, go_on, is_executable};
use super::open::Section;
use super::seekable::Seekable;
use super::target::{Destination, Likeness, NewFile};
use super::toc::{CHUNK, sha256};
use super::work::{self, Unit};
use super::{ArchiveError, Chunk, Entry, EntryName, Extracted, Extraction, Problem};
use crate::disk::replace;

/// Below this many bytes a file is unpacked sooner than another one is opened.
const WORTH_LOOKING: u64 = 16 << 10;
/// How many chunks of a file may be others than in the archive before the rest of a unit is taken
/// from there unseen.
const PATIENCE: usize = 2;

/// What one thread has.
#[derive(Default)]
struct Own {
    hands: Hands,
    /// Opened with its first file.
    destination: Option<Destination>,
    like: Option<Likeness>,
    /// Whether the file system was asked to let a file have another one's content, and cannot.
    cannot_clone: bool,
    /// A chunk of a file elsewhere.
    copy: Vec<u8>,
}

/// A file that several units make.
struct Shared {
    file: NewFile,
    /// How many units of it are not done.
    left: AtomicUsize,
    is_damaged: AtomicBool,
}

/// What all threads work at.
struct Job<'a> {
    archive: &'a Seekable,
    plan: &'a Plan,
    into: &'a Path,
    like: Option<&'a Path>,
    stop: &'a AtomicBool,
    /// Whether one damaged file does not keep the others back; the frames between them are not
    /// looked at then.
    is_pick: bool,
    shared: Mutex<HashMap<usize, Arc<Shared>>>,
}

impl Seekable {
    /// Unpacks everything that was asked for, or answers the first fault in the archive's order.
    pub(super) fn extract(
        &self,
        into: &Path,
        how: &mut Extraction<'_>,
    ) -> Result<Extracted, ArchiveError> {
        let plan = Plan::new(self.entries(), how)?;
        let units = work::units(&self.toc, &|_| true);
        self.unpack(&plan, &units, false, into, how)?;
        self.check_end(&mut Hands::default())?;
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
        let mut plan = Plan::new(self.entries(), how)?;
        let units = work::units(&self.toc, &|index| plan.file(self.entries(), index).is_some());
        let done = self.unpack(&plan, &units, true, into, how)?;
        // Of each file the first damaged chunk counts.
        let mut problems = BTreeMap::new();
        for problem in done.into_iter().flat_map(|own| own.hands.problems) {
            let index = problem.name.as_ref().and_then(|name| self.index(name));
            let first = problems.entry(index).or_insert_with(|| problem.clone());
            if problem.offset < first.offset {
                *first = problem;
            }
        }
        for index in problems.keys() {
            let entry = index.and_then(|index| self.entries().get(index));
            let Extracted { files, bytes, .. } = &mut plan.extracted;
            *files = files.saturating_sub(1);
            *bytes = bytes.saturating_sub(entry.map_or(0, Entry::size));
        }
        Ok((plan.complete(into)?, problems.into_values().collect()))
    }

    fn unpack(
        &self,
        plan: &Plan,
        units: &[Unit],
        is_pick: bool,
        into: &Path,
        how: &mut Extraction<'_>,
    ) -> Result<Vec<Own>, ArchiveError> {
        let shared = Mutex::new(HashMap::new());
        let (like, stop) = (how.like, how.stop);
        let job = Job { archive: self, plan, into, like, stop, is_pick, shared };
        self.on_all_threads(units, how.progress, stop, |own, unit| job.unit(own, unit))
    }
}

impl Job<'_> {
    fn unit(&self, own: &mut Own, unit: &Unit) -> Result<u64, ArchiveError> {
        let mut done = 0;
        let mut head = unit.head;
        for index in unit.entries.clone() {
            go_on(self.stop)?;
            let Some(entry) = self.archive.entries().get(index) else { continue };
            let chunks = self.archive.toc.chunks_of(index);
            if !self.is_pick {
                self.archive.check_before(&mut own.hands, index, head, unit)?;
            }
            if !chunks.is_empty() {
                head = index + 1;
            }
            if let Some(name) = self.plan.file(self.archive.entries(), index) {
                let is_whole = chunks.len() <= unit.chunks.len() && unit.chunks.start == 0;
                done += match is_whole {
                    true => self.whole(own, (index, entry, name), unit)?,
                    false => self.part(own, (index, entry, name), unit)?,
                };
            }
        }
        Ok(done)
    }

    /// A file that no other unit has a part of.
    fn whole(
        &self,
        own: &mut Own,
        (index, entry, name): (usize, &Entry, &EntryName),
        unit: &Unit,
    ) -> Result<u64, ArchiveError> {
        let writing = |source| extract::writing(name, source);
        let destination = opened(&mut own.destination, self.into)?;
        let file = destination.file(name, is_executable(entry)).map_err(writing)?;
        let like = self.alike(own, entry, name);
        own.begin(&file, like.as_ref());
        match self.fill(own, (&file, like.as_ref()), (index, entry, name), unit) {
            Ok(bytes) => file.finish(entry.size(), entry.modified).map(|()| bytes).map_err(writing),
            Err(ArchiveError::CorruptFile { problem }) if self.is_pick => {
                own.hands.problems.push(*problem);
                drop(file);
                self.remove(name)
            }
            Err(error) => Err(error),
        }
    }

    /// Some chunks of a large file. Whoever is through last finishes it.
    fn part(
        &self,
        own: &mut Own,
        (index, entry, name): (usize, &Entry, &EntryName),
        unit: &Unit,
    ) -> Result<u64, ArchiveError> {
        let writing = |source| extract::writing(name, source);
        let like = self.alike(own, entry, name);
        let shared = self.shared(own, like.as_ref(), (index, entry, name))?;
        let file = (&shared.file, like.as_ref());
        let bytes = match self.fill(own, file, (index, entry, name), unit) {
            Ok(bytes) => bytes,
            Err(ArchiveError::CorruptFile { problem }) if self.is_pick => {
                own.hands.problems.push(*problem);
                shared.is_damaged.store(true, Ordering::Relaxed);
                0
            }
            Err(error) => return Err(error),
        };
        // The others' writes come before what the last one does.
        if shared.left.fetch_sub(1, Ordering::AcqRel) > 1 {
            return Ok(bytes);
        }
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).remove(&index);
        if shared.is_damaged.load(Ordering::Relaxed) {
            drop(shared);
            return self.remove(name);
        }
        shared.file.finish(entry.size(), entry.modified).map(|()| bytes).map_err(writing)
    }

    /// The file that several units make; the first of them creates it.
    fn shared(
        &self,
        own: &mut Own,
        like: Option<&File>,
        (index, entry, name): (usize, &Entry, &EntryName),
    ) -> Result<Arc<Shared>, ArchiveError> {
        let mut all = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = all.get(&index) {
            return Ok(Arc::clone(shared));
        }
        let file = opened(&mut own.destination, self.into)?
            .file(name, is_executable(entry))
            .map_err(|source| extract::writing(name, source))?;
        // Before anybody else sees it: what is written first would be written over.
        own.begin(&file, like);
        let left = AtomicUsize::new(work::parts(self.archive.toc.chunks_of(index).len()));
        let shared = Arc::new(Shared { file, left, is_damaged: AtomicBool::new(false) });
        all.insert(index, Arc::clone(&shared));
        Ok(shared)
    }

    /// The file elsewhere that may be the one that is needed.
    fn alike(&self, own: &mut Own, entry: &Entry, name: &EntryName) -> Option<File> {
        match self.like {
            Some(folder) if entry.size() >= WORTH_LOOKING => own.look_in(folder, name),
            _ => None,
        }
    }

    /// Writes the chunks of a file that are in the unit and are not in it yet.
    fn fill(
        &self,
        own: &mut Own,
        (file, like): (&NewFile, Option<&File>),
        which: (usize, &Entry, &EntryName),
        unit: &Unit,
    ) -> Result<u64, ArchiveError> {
        let Some(clone) = file.cloned() else {
            return self.chunks(own, (file, like), which, unit);
        };
        // What it was cloned from is in memory more likely.
        if let Some(like) = like.filter(|_| file.has_original()) {
            let filled = self.chunks(own, (file, Some(like)), which, unit);
            // One that was written to meanwhile may lack what the clone has, and the archive too.
            if file.is_like(like) {
                return filled;
            }
        }
        self.chunks(own, (file, Some(clone)), which, unit)
    }

    /// Writes those chunks of a file in the unit that `like` does not have; those that it has only if
    /// the file did not begin with its content.
    fn chunks(
        &self,
        own: &mut Own,
        (file, like): (&NewFile, Option<&File>),
        (index, _, name): (usize, &Entry, &EntryName),
        unit: &Unit,
    ) -> Result<u64, ArchiveError> {
        let writing = |source| extract::writing(name, source);
        let last = self.archive.last_of(unit);
        let is_clone = file.cloned().is_some();
        let (mut bytes, mut written, mut others) = (0, 0, 0);
        let chunks = self.archive.toc.chunks_of(index).iter().enumerate();
        for (number, chunk) in chunks.take(unit.chunks.end).skip(unit.chunks.start) {
            go_on(self.stop)?;
            let at = u64::try_from(number).unwrap_or(u64::MAX).saturating_mul(CHUNK);
            let like = like.filter(|_| others < PATIENCE);
            let content = match like.and_then(|like| same(&mut own.copy, like, at, chunk)) {
                // It is where it has to be.
                Some(_) if is_clone => None,
                Some(content) => Some(content),
                None => {
                    others += 1;
                    Some(self.archive.chunk(&mut own.hands, (index, number, chunk), last)?)
                }
            };
            if let Some(content) = content {
                file.write(content, at).map_err(writing)?;
                written += chunk.size;
            }
            bytes += chunk.size;
        }
        // The disk is busy with it while the rest is unpacked.
        if written > 0 {
            let start = u64::try_from(unit.chunks.start).unwrap_or(u64::MAX).saturating_mul(CHUNK);
            file.begin(start, bytes).map_err(writing)?;
        }
        Ok(bytes)
    }

    fn remove(&self, name: &EntryName) -> Result<u64, ArchiveError> {
        replace::remove_file(&self.into.join(name.as_str()))
            .map(|_| 0)
            .map_err(|error| extract::writing(name, error.source))
    }
}

impl Own {
    /// The file of this name in a folder that others use.
    fn look_in(&mut self, folder: &Path, name: &EntryName) -> Option<File> {
        if self.like.is_none() {
            self.like = Likeness::open(folder).ok();
        }
        self.like.as_mut()?.file(name)
    }

    /// Lets a new file have the content of another one, if that costs nothing.
    fn begin(&mut self, file: &NewFile, like: Option<&File>) {
        use std::io::ErrorKind::{CrossesDevices, Unsupported};
        let Some(like) = like.filter(|_| !self.cannot_clone) else { return };
        // Whatever the reason is, what should be in it can be written.
        if let Err(error) = file.clone_from(like) {
            self.cannot_clone = matches!(error.kind(), CrossesDevices | Unsupported);
        }
    }
}

/// What another file has in the place of a chunk, if that is its content.
fn same<'a>(copy: &'a mut Vec<u8>, like: &File, at: u64, chunk: &Chunk) -> Option<&'a [u8]> {
    let length = usize::try_from(chunk.size).ok()?;
    if copy.len() < length {
        copy.resize(length, 0);
    }
    let room = copy.get_mut(..length)?;
    Section::new(like, at, at.checked_add(chunk.size)?).read_exact(room).ok()?;
    (sha256(room) == chunk.digest).then_some(room)
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
