//! How fast could each step be on this machine, and how near did it come?
//!
//! Each limit is what one primitive does with session text that is in memory: nothing that a
//! backup or a restore has to do beside it. Work is counted in CPU time, which another program
//! on the machine hardly changes; writing by the clock.

use std::fs::File;
use std::hint::black_box;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::thread;
use std::time::Instant;

use flate2::read::DeflateDecoder;
use libdeflater::{CompressionLvl, Compressor, Decompressor};
use sha2::{Digest as _, Sha256};

use crate::codex_home::{self, Size};
use crate::lab::Lab;
use crate::measure;
use crate::report::{Goal, Least, Report, float, seconds};

/// Which time tells how fast something is.
#[derive(Clone, Copy, Debug)]
enum Clock {
    Cpu,
    Wall,
}

/// A chunk of an archive, in bytes.
const CHUNK: usize = 1 << 20;
/// Text that is worked on, in bytes: more than the caches hold.
const SAMPLE: usize = 64 << 20;
/// libdeflate's levels that are nearest to our default and to the one that is called small.
const LEVELS: [i32; 2] = [1, 6];

/// Measures the primitives, then puts beside them what was measured before in this run.
pub(crate) fn all(lab: &Lab, size: Size, report: &mut Report) -> io::Result<()> {
    let text = sample(&lab.home(size)?)?;
    let bytes = float(u64::try_from(text.len()).unwrap_or_default());
    let cores = thread::available_parallelism().map_or(1, usize::from);
    report.part(&format!("limits of this machine, {cores} cores"))?;
    let mut rate = |what: &str, clock: Clock, work: &mut dyn FnMut() -> io::Result<()>| {
        let mut best = f64::INFINITY;
        for _ in 0..3 {
            lab.settle()?;
            let (began, before) = (Instant::now(), measure::own()?);
            work()?;
            let took = match clock {
                Clock::Cpu => measure::own()?.saturating_sub(before),
                Clock::Wall => began.elapsed(),
            };
            best = best.min(seconds(took));
        }
        let rate = bytes / best;
        report.figure(what, rate / 1e6, " MB/s", Goal::None)?;
        io::Result::Ok(rate)
    };

    let mut copy = vec![0; text.len()];
    let copying = rate("copy in memory, one core", Clock::Cpu, &mut || {
        copy.copy_from_slice(&text);
        black_box(&copy);
        Ok(())
    })?;
    drop(copy);
    let sha = rate("SHA-256, one core", Clock::Cpu, &mut || {
        black_box(Sha256::digest(&text));
        Ok(())
    })?;
    let (mut packing, mut sizes, mut packed) = (0.0, Vec::new(), Vec::new());
    for level in LEVELS {
        let mut chunks = Vec::new();
        let what = format!("deflate, libdeflate level {level}, one core");
        let speed = rate(&what, Clock::Cpu, &mut || {
            chunks = deflated(&text, level)?;
            Ok(())
        })?;
        sizes.push((level, chunks.iter().map(Vec::len).sum::<usize>()));
        if level == 1 {
            (packing, packed) = (1.0 / speed, chunks);
        }
    }
    let inflate = rate("inflate, libdeflate, one core", Clock::Cpu, &mut || {
        let (mut inflater, mut out) = (Decompressor::new(), vec![0; CHUNK]);
        for chunk in &packed {
            inflater.deflate_decompress(chunk, &mut out).map_err(io::Error::other)?;
        }
        Ok(())
    })?;
    rate("inflate, zlib-rs, one core", Clock::Cpu, &mut || {
        let mut out = Vec::with_capacity(CHUNK);
        for chunk in &packed {
            out.clear();
            DeflateDecoder::new(&chunk[..]).read_to_end(&mut out)?;
        }
        Ok(())
    })?;
    // Each time a new file: to take the room of an old one away takes time, too.
    let mut count = 0;
    let mut fresh = || {
        count += 1;
        lab.at(&format!("written-{count}"))
    };
    let mut path = fresh();
    let write = rate("write and sync", Clock::Wall, &mut || {
        path = fresh();
        let mut file = File::create(&path)?;
        file.write_all(&text)?;
        file.sync_all()
    })?;
    let mut direct = 0.0;
    // Not every system and file system has such a way.
    let aligned = Aligned::new(&text);
    if write_past_the_cache(&fresh(), aligned.bytes()).is_ok() {
        direct = rate("write past the page cache, and sync", Clock::Wall, &mut || {
            write_past_the_cache(&fresh(), aligned.bytes())
        })?;
    }
    drop(aligned);
    let read = rate("read what is in the page cache", Clock::Cpu, &mut || {
        let (mut file, mut part) = (File::open(&path)?, vec![0; CHUNK]);
        while file.read(&mut part)? != 0 {}
        Ok(())
    })?;
    let kernel = rate("copy in the kernel, and sync", Clock::Wall, &mut || {
        // The standard library asks the kernel (copy_file_range) where there is such a call.
        let mut to = File::create(fresh())?;
        io::copy(&mut File::open(&path)?, &mut to)?;
        to.sync_all()
    })?;

    for (level, size) in sizes {
        let size = bytes / float(u64::try_from(size).unwrap_or_default());
        report.note(&format!("libdeflate level {level} makes {size:.2} : 1"))?;
    }

    report.part("distance from the limits")?;
    // What each step cannot do without, for each byte of content: a backup digests and packs it and
    // unpacks it again to be sure; the others unpack and digest it, and a restore writes it.
    let (sha, inflate, copying) = (1.0 / sha, 1.0 / inflate, 1.0 / copying);
    let steps = [
        ("first backup", 1.0 / read + sha + packing + inflate),
        ("full restore", inflate + sha + copying),
        ("verify", inflate + sha),
    ];
    for (step, least) in steps {
        let Some(spent) = report.spent_by(step) else {
            report.note(&format!("{step}: not measured in this run"))?;
            continue;
        };
        let (least, spent) = (least * 1e9, spent * 1e9);
        let what = format!("{step}: {least:.2} of {spent:.2} CPU seconds for 1 GB are these");
        report.figure(&what, 100.0 * least / spent, "%", Goal::None)?;
    }

    report.part("of the time that a goal allows, one of these alone takes")?;
    if report.allowed().is_empty() {
        report.note("no such goal was measured in this run")?;
    }
    for allowance in report.allowed().to_vec() {
        let (what, least) = match allowance.least {
            Least::Write { bytes } => {
                ("writing and syncing".to_owned(), float(bytes) / write.max(direct))
            }
            Least::Copy { bytes } => {
                ("copying and syncing".to_owned(), float(bytes) / kernel.max(direct))
            }
        };
        report.note(&allowance.goal)?;
        let what = format!("  {what}, of {:.0} ms", allowance.seconds * 1e3);
        report.figure(&what, 100.0 * least / allowance.seconds, "%", Goal::None)?;
    }
    lab.tidy()
}

/// The text of some sessions, one after the other.
fn sample(home: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(SAMPLE);
    for (path, _) in codex_home::sessions(home)?.into_iter().rev() {
        let room = SAMPLE.saturating_sub(text.len());
        File::open(path)?.take(u64::try_from(room).unwrap_or(0)).read_to_end(&mut text)?;
        if room == 0 {
            break;
        }
    }
    Ok(text)
}

/// Bytes that start where a disk can take them from memory.
struct Aligned {
    room: Vec<u8>,
    start: usize,
    length: usize,
}

impl Aligned {
    /// What a disk takes at once, in bytes.
    const BLOCK: usize = 4096;

    /// Of a text as much as fills blocks.
    fn new(text: &[u8]) -> Self {
        let length = text.len() / Self::BLOCK * Self::BLOCK;
        let mut room = vec![0; length + Self::BLOCK];
        let start = room.as_ptr().align_offset(Self::BLOCK).min(Self::BLOCK);
        for (to, from) in room.iter_mut().skip(start).zip(text) {
            *to = *from;
        }
        Self { room, start, length }
    }

    fn bytes(&self) -> &[u8] {
        self.room.get(self.start..self.start + self.length).unwrap_or_default()
    }
}

/// Writes a file that the system keeps nothing of in memory.
#[cfg(target_os = "linux")]
fn write_past_the_cache(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;

    let direct = rustix::fs::OFlags::DIRECT.bits().try_into().map_err(io::Error::other)?;
    let mut options = File::options();
    options.write(true).create(true).truncate(true).custom_flags(direct);
    let mut file = options.open(path)?;
    bytes.chunks(8 * CHUNK).try_for_each(|part| file.write_all(part))?;
    file.sync_all()
}

#[cfg(not(target_os = "linux"))]
fn write_past_the_cache(_path: &Path, _bytes: &[u8]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

fn deflated(text: &[u8], level: i32) -> io::Result<Vec<Vec<u8>>> {
    let level = CompressionLvl::new(level).map_err(|_| io::Error::other("no such level"))?;
    let mut deflater = Compressor::new(level);
    let mut chunks = Vec::new();
    for chunk in text.chunks(CHUNK) {
        let mut packed = vec![0; deflater.deflate_compress_bound(chunk.len())];
        let length = deflater.deflate_compress(chunk, &mut packed).map_err(io::Error::other)?;
        packed.truncate(length);
        chunks.push(packed);
    }
    Ok(chunks)
}
