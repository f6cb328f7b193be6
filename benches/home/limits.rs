//! How fast could each step be on this machine, and how near did it come?
//!
//! Each limit is what one primitive does with session text that is in memory: nothing that a
//! backup or a restore has to do beside it.

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
use crate::lab::{Lab, settle};
use crate::report::{Goal, Report, float, seconds};

/// A chunk of an archive, in bytes.
const CHUNK: usize = 1 << 20;
/// Text that is worked on, in bytes: more than the caches hold.
const SAMPLE: usize = 64 << 20;

/// Measures the primitives, then puts beside them what was measured before in this run.
pub(crate) fn measure(lab: &Lab, size: Size, report: &mut Report) -> io::Result<()> {
    let text = sample(&lab.home(size)?)?;
    let bytes = float(u64::try_from(text.len()).unwrap_or_default());
    let cores = thread::available_parallelism().map_or(1, usize::from);
    report.part(&format!("limits of this machine, {cores} cores"))?;
    let mut rate = |what: &str, work: &mut dyn FnMut() -> io::Result<()>| -> io::Result<f64> {
        let mut best = f64::INFINITY;
        for _ in 0..3 {
            settle();
            let began = Instant::now();
            work()?;
            best = best.min(seconds(began.elapsed()));
        }
        let rate = bytes / best;
        report.figure(what, rate / 1e6, " MB/s", Goal::None)?;
        Ok(rate)
    };

    let mut copy = vec![0; text.len()];
    rate("copy in memory, one core", &mut || {
        copy.copy_from_slice(&text);
        black_box(&copy);
        Ok(())
    })?;
    drop(copy);
    let sha = rate("SHA-256, one core", &mut || {
        black_box(Sha256::digest(&text));
        Ok(())
    })?;
    let mut packed = Vec::new();
    let deflate = rate("deflate, libdeflate level 1, one core", &mut || {
        packed = deflated(&text, 1)?;
        Ok(())
    })?;
    let mut small = Vec::new();
    rate("deflate, libdeflate level 6, one core", &mut || {
        small = deflated(&text, 6)?;
        Ok(())
    })?;
    let length = |chunks: &[Vec<u8>]| {
        float(chunks.iter().map(|chunk| u64::try_from(chunk.len()).unwrap_or(0)).sum())
    };
    let (at_1, at_6) = (length(&packed), length(&small));
    drop(small);
    let inflate = rate("inflate, libdeflate, one core", &mut || {
        let (mut inflater, mut out) = (Decompressor::new(), vec![0; CHUNK]);
        for chunk in &packed {
            inflater.deflate_decompress(chunk, &mut out).map_err(io::Error::other)?;
        }
        Ok(())
    })?;
    rate("inflate, zlib-rs, one core", &mut || {
        let mut out = Vec::with_capacity(CHUNK);
        for chunk in &packed {
            out.clear();
            DeflateDecoder::new(&chunk[..]).read_to_end(&mut out)?;
        }
        Ok(())
    })?;
    let (path, second) = (lab.at("written"), lab.at("copied"));
    let write = rate("write and sync", &mut || {
        let mut file = File::create(&path)?;
        file.write_all(&text)?;
        file.sync_all()
    })?;
    let read = rate("read what is in the page cache", &mut || {
        let (mut file, mut part) = (File::open(&path)?, vec![0; CHUNK]);
        while file.read(&mut part)? != 0 {}
        Ok(())
    })?;
    rate("copy in the kernel, and sync", &mut || {
        // The standard library asks the kernel (copy_file_range) where there is such a call.
        let mut to = File::create(&second)?;
        io::copy(&mut File::open(&path)?, &mut to)?;
        to.sync_all()
    })?;

    report.note(&format!(
        "sizes: level 1 makes {:.2} : 1, level 6 {:.2} : 1, {:.1}% less",
        bytes / at_1,
        bytes / at_6,
        100.0 * (1.0 - at_6 / at_1)
    ))?;

    report.part("distance from the limits")?;
    let cores = float(u64::try_from(cores).unwrap_or(1));
    // Seconds for each byte that no order of the steps can save; writing goes on meanwhile.
    let steps = [
        ("first backup", [1.0 / deflate, 1.0 / sha, 1.0 / read, 1.0 / inflate], 0.3 / write),
        ("full restore", [1.0 / inflate, 1.0 / sha, 0.0, 0.0], 1.0 / write),
        ("verify", [1.0 / inflate, 1.0 / sha, 0.0, 0.0], 0.0),
    ];
    for (step, work, writing) in steps {
        let Some(reached) = report.rate_of(step) else {
            report.note(&format!("{step}: not measured in this run"))?;
            continue;
        };
        let limit = 1.0 / (work.iter().sum::<f64>() / cores).max(writing);
        let share = 100.0 * reached / limit;
        let what = format!("{step}: {:.0} of {:.0} MB/s", reached / 1e6, limit / 1e6);
        report.figure(&what, share, "%", Goal::None)?;
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
