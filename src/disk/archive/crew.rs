//! How does content become members on all threads, each checked before it counts?
//!
//! Content gathers in batches: a chunk of a large file is one, many small files share one. A batch goes
//! to whichever thread is free and comes back with its members, in the order it was handed in. What is
//! on its way is bounded in bytes and in batches, and its memory is used again. Making a member is a pure function of
//! its content, so the bytes do not depend on how many threads there are. The same threads read back
//! what was written.

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::io;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

use super::behind::Stretch;
use super::buffer::Buffer;
use super::gzip::{Deflater, Inflater, trailer};
use super::known::{Again, Copyist, Known, Library};
use super::open::Section;
use super::toc::{as_u64, sha256};
use crate::disk::read::fill;
use crate::disk::sys::Errand;

/// Most bytes of content in a batch: a chunk and a few tar headers.
pub(super) const LARGEST_BATCH: usize = (1 << 20) + (64 << 10);
/// A batch goes off once it has this many bytes: some milliseconds of work.
pub(super) const FULL_BATCH: usize = 256 << 10;
/// Most batches underway for each thread: many small ones take more memory than they weigh.
const MOST_BATCHES: usize = 4;
/// Most threads, whatever is asked for: each takes about six MiB.
const MOST_WORKERS: usize = 16;

/// One member to be made, in the order of the archive.
pub(super) enum Piece {
    /// Tar headers, so many bytes of the batch's content.
    Frame { bytes: usize },
    /// A chunk of the entry with this index, so many bytes of the batch's content.
    Chunk { entry: usize, bytes: usize },
    /// A chunk that another archive has, `at` bytes into the file.
    Known { entry: usize, at: u64, known: Known, again: Again },
}

/// What became of a piece.
#[derive(Default)]
pub(super) struct Made {
    pub(super) member_size: u64,
    /// SHA-256 of member and content; zeros for a frame.
    pub(super) member_digest: [u8; 32],
    pub(super) digest: [u8; 32],
    /// Bytes of content.
    pub(super) size: u64,
    /// Whether another archive had it.
    pub(super) copied: bool,
}

/// Pieces, the content they are made of, and the members they become.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) content: Buffer,
    pub(super) pieces: Vec<Piece>,
    pub(super) members: Buffer,
    pub(super) made: Vec<Made>,
    /// Bytes that go in, roughly.
    weight: usize,
}

/// Why a batch did not become members.
pub(super) enum Fault {
    /// The machine's fault.
    Io(io::Error),
    /// The content of this entry had to be read again and cannot be.
    Source { entry: usize, source: io::Error },
    /// The content of this entry is not what it was said to be.
    Changed { entry: usize },
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Batch {
    /// Adds a piece that weighs so many bytes, whose content, if any, is there already.
    pub(super) fn add(&mut self, piece: Piece, bytes: usize) {
        self.pieces.push(piece);
        // Even a piece of nothing takes its place in the lists.
        self.weight += bytes + size_of::<Piece>() + size_of::<Made>();
    }

    /// Whether it has no room for so many bytes more.
    pub(super) fn is_full_for(&self, bytes: usize) -> bool {
        self.weight > 0 && LARGEST_BATCH < self.weight.saturating_add(bytes)
    }

    /// Whether it is worth a thread's time.
    pub(super) fn is_worth_sending(&self) -> bool {
        FULL_BATCH <= self.weight
    }

    fn clear(&mut self) {
        self.content.clear();
        self.pieces.clear();
        self.members.clear();
        self.made.clear();
        self.weight = 0;
    }
}

type Packed = (Batch, Result<(), Fault>);

/// What a thread is asked for.
enum Order {
    /// To make members.
    Pack(Batch, SyncSender<Packed>),
    /// To read members back.
    ReadBack(Stretch),
}

/// A batch that was handed in.
enum Underway {
    Done(Packed),
    Waiting(Receiver<Packed>),
}

/// The threads; each is started when there is work for it and ends with the crew.
pub(super) struct Crew {
    level: u32,
    library: Option<Arc<dyn Library>>,
    /// The archive, to be read back.
    archive: Option<Arc<File>>,
    workers: usize,
    started: usize,
    /// For what is done by the caller's thread.
    own: Option<Bench>,
    orders: Sender<Order>,
    desk: Arc<Mutex<Receiver<Order>>>,
    /// How many members were read back, and where those start that are in doubt.
    doubts: Sender<(usize, Vec<u64>)>,
    heard: Receiver<(usize, Vec<u64>)>,
    /// What was handed in and not taken back, oldest first, with its weight.
    underway: VecDeque<(usize, Underway)>,
    weight: usize,
    /// Batches to be used again.
    idle: Vec<Batch>,
}

impl Crew {
    /// A crew of `workers` threads (0 and 1: none but the caller's) at a deflate level of 1 to 12.
    pub(super) fn new(level: u32, workers: usize) -> Self {
        let (orders, desk) = channel();
        let (doubts, heard) = channel();
        Self {
            level,
            library: None,
            archive: None,
            workers: if workers < 2 { 0 } else { workers.min(MOST_WORKERS) },
            started: 0,
            own: None,
            orders,
            desk: Arc::new(Mutex::new(desk)),
            doubts,
            heard,
            underway: VecDeque::new(),
            weight: 0,
            idle: Vec::new(),
        }
    }

    /// Where chunks are looked for from now on; before the first batch.
    pub(super) fn look_into(&mut self, library: Arc<dyn Library>) {
        self.library = Some(library);
    }

    /// Where what was written is read back; before the first batch.
    pub(super) fn read_back_from(&mut self, archive: File) {
        self.archive = Some(Arc::new(archive));
    }

    /// Whether what was written is read back.
    pub(super) fn reads_back(&self) -> bool {
        self.archive.is_some()
    }

    /// An empty batch.
    pub(super) fn batch(&mut self) -> Batch {
        self.idle.pop().unwrap_or_default()
    }

    /// Takes a batch whose members are not needed any more.
    pub(super) fn put_back(&mut self, mut batch: Batch) {
        batch.clear();
        self.idle.push(batch);
    }

    /// Has the members of a batch made.
    pub(super) fn hand_in(&mut self, mut batch: Batch) {
        // The last batch of a small archive is done before a thread would have begun.
        if self.started < self.workers && batch.is_worth_sending() && self.hire() {
            self.started += 1;
        }
        let weight = batch.weight;
        self.weight += weight;
        let underway = if self.started == 0 {
            let result = self.own().pack(&mut batch);
            Underway::Done((batch, result))
        } else {
            let (reply, answer) = sync_channel(1);
            // The desk is ours, so it is taken; a thread that dies takes its own batch with it, and
            // that one is asked for first.
            let _ = self.orders.send(Order::Pack(batch, reply));
            Underway::Waiting(answer)
        };
        self.underway.push_back((weight, underway));
    }

    /// Has members read back that are in the file. There are never many waiting, since each stretch is
    /// done before the batches that come after it.
    pub(super) fn read_back(&mut self, stretch: Stretch) {
        if self.started == 0 {
            let doubtful = self.own().read_back(&stretch);
            // Who hears it is ours.
            let _ = self.doubts.send((stretch.len(), doubtful));
        } else {
            let _ = self.orders.send(Order::ReadBack(stretch));
        }
    }

    /// Where the members start that did not read back as they were made; none unless as many were
    /// read back as there are. Ends the crew.
    pub(super) fn doubtful(self, members: usize) -> Option<BTreeSet<u64>> {
        let Self { archive, orders, doubts, heard, .. } = self;
        archive?;
        // The threads do what waits and end, and what they tell ends with the last.
        drop((orders, doubts));
        let (counts, doubtful): (Vec<usize>, Vec<_>) = heard.iter().unzip();
        let is_complete = counts.iter().sum::<usize>() == members;
        is_complete.then(|| doubtful.into_iter().flatten().collect())
    }

    fn own(&mut self) -> &mut Bench {
        let Self { level, library, archive, .. } = self;
        self.own.get_or_insert_with(|| Bench::new(*level, library.clone(), archive.clone()))
    }

    /// The oldest batch, if it is done; waits for it if more is underway than there may be.
    pub(super) fn take_due(&mut self) -> Option<Packed> {
        let bound = (self.workers + 2).saturating_mul(LARGEST_BATCH);
        self.take(bound < self.weight || MOST_BATCHES * self.workers < self.underway.len())
    }

    /// The oldest batch; none if all were taken.
    pub(super) fn take_next(&mut self) -> Option<Packed> {
        self.take(true)
    }

    fn take(&mut self, wait: bool) -> Option<Packed> {
        let (weight, oldest) = self.underway.pop_front()?;
        let died =
            |_| (Batch::default(), Err(io::Error::other("a compressing thread died").into()));
        let packed = match oldest {
            Underway::Done(packed) => packed,
            Underway::Waiting(answer) if wait => answer.recv().unwrap_or_else(died),
            Underway::Waiting(answer) => match answer.try_recv() {
                Err(TryRecvError::Empty) => {
                    self.underway.push_front((weight, Underway::Waiting(answer)));
                    return None;
                }
                other => {
                    other.map_err(|_| ()).unwrap_or_else(|()| died(std::sync::mpsc::RecvError))
                }
            },
        };
        self.weight -= weight;
        Some(packed)
    }

    /// Starts one more thread; a system that has none to give is no reason to fail.
    fn hire(&self) -> bool {
        let (desk, doubts) = (Arc::clone(&self.desk), self.doubts.clone());
        let (level, library, archive) = (self.level, self.library.clone(), self.archive.clone());
        let errand = Errand::of_this_thread();
        let work = move || {
            let mut bench = Bench::new(level, library, archive);
            loop {
                let order = desk.lock().map(|desk| desk.recv());
                // Nobody waits for an answer any more when the writer was dropped after an error.
                match order {
                    Ok(Ok(Order::Pack(mut batch, reply))) => {
                        let result = bench.pack(&mut batch);
                        let _ = reply.send((batch, result));
                    }
                    Ok(Ok(Order::ReadBack(stretch))) => {
                        let doubtful = bench.read_back(&stretch);
                        let _ = doubts.send((stretch.len(), doubtful));
                    }
                    _ => break,
                }
            }
        };
        let named = thread::Builder::new().name("compress".to_owned());
        named.spawn(move || errand.run(work)).is_ok()
    }
}

/// What one thread needs to make members, and to read them back.
struct Bench {
    deflater: Deflater,
    inflater: Inflater,
    copyist: Copyist,
    library: Option<Arc<dyn Library>>,
    archive: Option<Arc<File>>,
    /// Content that had to be read again.
    reread: Buffer,
    /// What was read back.
    behind: Buffer,
}

impl Bench {
    fn new(level: u32, library: Option<Arc<dyn Library>>, archive: Option<Arc<File>>) -> Self {
        Self {
            deflater: Deflater::new(level),
            inflater: Inflater::new(),
            copyist: Copyist::default(),
            library,
            archive,
            reread: Buffer::default(),
            behind: Buffer::default(),
        }
    }

    fn read_back(&mut self, stretch: &Stretch) -> Vec<u64> {
        let Self { archive, behind, .. } = self;
        archive.as_ref().map_or_else(Vec::new, |archive| stretch.doubtful(archive, behind))
    }

    fn pack(&mut self, batch: &mut Batch) -> Result<(), Fault> {
        let mut rest = batch.content.filled();
        let mut next = |bytes: usize| {
            let (content, more) = rest.split_at_checked(bytes)?;
            rest = more;
            Some(content)
        };
        let lacking = || io::Error::other("a batch lacks content");
        for piece in &batch.pieces {
            let start = batch.members.len();
            let made = match piece {
                Piece::Frame { bytes } => {
                    let content = next(*bytes).ok_or_else(lacking)?;
                    self.frame(content, &mut batch.members)?;
                    Made::default()
                }
                Piece::Chunk { bytes, .. } => {
                    let content = next(*bytes).ok_or_else(lacking)?;
                    self.chunk(content, &mut batch.members)?
                }
                Piece::Known { entry, at, known, again } => {
                    self.known(*entry, *at, known, again, &mut batch.members)?
                }
            };
            let member_size = as_u64(batch.members.len() - start);
            batch.made.push(Made { member_size, ..made });
        }
        Ok(())
    }

    fn frame(&mut self, content: &[u8], members: &mut Buffer) -> io::Result<()> {
        let start = members.len();
        self.deflater.frame(content, members)?;
        let opened = self.inflater.frame(members.filled_from(start), as_u64(content.len()));
        agrees(opened, content)
    }

    /// Copies the member of a chunk, or makes it; what is made is opened again and compared.
    fn chunk(&mut self, content: &[u8], members: &mut Buffer) -> io::Result<Made> {
        let size = as_u64(content.len());
        let digest = sha256(content);
        let found = self.library.as_ref().and_then(|library| library.find(&digest, size));
        if let Some(known) = found.filter(|known| known.digest == digest && known.size == size)
            && let Some(member) = self.copyist.member(&known)
            && member.ends_with(&trailer(content))
        {
            members.put(member);
            return Ok(copied(&known));
        }
        let start = members.len();
        self.deflater.chunk(content, members)?;
        let member = members.filled_from(start);
        agrees(self.inflater.chunk(member, size), content)?;
        let member_digest = sha256(member);
        Ok(Made { member_digest, digest, size, ..Made::default() })
    }

    /// Copies a member as it lies there; where that cannot be, reads the content after all.
    fn known(
        &mut self,
        entry: usize,
        at: u64,
        known: &Known,
        again: &Again,
        members: &mut Buffer,
    ) -> Result<Made, Fault> {
        if self.copyist.copy(known, members).is_some() {
            return Ok(copied(known));
        }
        let failed = |source| Fault::Source { entry, source };
        let file =
            again().map_err(failed)?.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        let mut content = std::mem::take(&mut self.reread);
        content.clear();
        let room = content.room(usize::try_from(known.size).map_err(io::Error::other)?);
        let count = fill(Section::new(&file, at, at.saturating_add(known.size)), room);
        content.grow(count.map_err(failed)?);
        // Not what the other chunks of the file were taken for: it must not become half of each.
        if sha256(content.filled()) != known.digest {
            return Err(Fault::Changed { entry });
        }
        let made = self.chunk(content.filled(), members);
        self.reread = content;
        Ok(made?)
    }
}

fn copied(known: &Known) -> Made {
    let Known { member_digest, digest, size, .. } = *known;
    Made { member_digest, digest, size, copied: true, ..Made::default() }
}

/// Whether a member that was just made holds its content.
fn agrees(opened: Result<&[u8], &'static str>, content: &[u8]) -> io::Result<()> {
    match opened {
        Ok(opened) if opened == content => Ok(()),
        _ => Err(io::Error::other("what was compressed does not unpack to what it was")),
    }
}
