//! How is one gzip member written and read so that no bit of it may change unnoticed?
//!
//! A gzip trailer covers what comes out of a member; a few bits of what goes in have no effect on it.
//! A *chunk* member is covered by the digest of its bytes in the table of contents. Every other member
//! (a *frame*) carries length and CRC-32 of its own compressed bytes in its extra field.

use std::io;

use libdeflater::{CompressionLvl, Compressor, DecompressionError, Decompressor, crc32};
use memchr::memmem;

use super::buffer::Buffer;
use super::deflate::{self, Encoder};

/// Header of a chunk member: deflate, no flags, no time, unknown system.
const CHUNK_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// Start of a frame: the same with an extra field of 12 bytes, subfield `CM` of 8.
const FRAME_HEADER: [u8; 16] = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 12, 0, b'C', b'M', 8, 0];
/// Start of the footer: an extra field of 26 bytes, subfield `SG` of 22.
const FOOTER_HEADER: [u8; 16] = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 26, 0, b'S', b'G', 22, 0];
/// What ends the footer: the magic, one empty stored block, CRC and length of nothing.
const FOOTER_TAIL: [u8; 19] =
    [b'S', b'T', b'A', b'R', b'G', b'Z', 1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0];

/// Bytes of the footer.
pub(super) const FOOTER_BYTES: u64 = 51;
/// Bytes of a frame before its compressed data.
pub(super) const FRAME_PREFIX: usize = 24;
/// Bytes of CRC-32 and length that end a member.
const TRAILER: usize = 8;
/// Content below this length is compressed whatever it looks like.
const LEAST_NOISE: usize = 16 << 10;
/// In how many places content is looked at, and how many bytes there.
const SAMPLES: usize = 64;
const SAMPLE: usize = 64;
/// Most pairs of equal bytes, each with itself too, among 4,096 that chance has spread.
const EVEN: u32 = (4096 + 4096 * 4095 / 256) / 8 * 9;
/// Most bytes in a stored block.
const MOST_STORED: usize = 0xffff;
/// Most bytes that one byte of deflate data can become.
const MOST_FROM_ONE: u64 = 1032;

/// Who makes the members at this level: the same name makes the same bytes of the same content. So it
/// changes whenever they do, be it by another libdeflate, by another encoder or by another idea of what
/// is noise.
pub(crate) fn compressor(level: u32) -> String {
    if deflate::LEVELS.contains(&level) {
        format!("codex-manager-2/{level}")
    } else {
        format!("libdeflate-1.26/{level}")
    }
}

/// Makes members, one at a time; its memory is used again for each. What comes out is a function of
/// the content and the level alone.
pub(super) struct Deflater {
    packer: Packer,
}

/// Who makes the deflate stream.
enum Packer {
    /// We do.
    Own(Box<Encoder>),
    /// Where each bit matters, whatever it takes.
    Libdeflate(Compressor),
}

impl Deflater {
    /// One for a level of 1 to 12; beyond that, the nearest.
    pub(super) fn new(level: u32) -> Self {
        let level = level.clamp(1, 12);
        let packer = if deflate::LEVELS.contains(&level) {
            Packer::Own(Box::new(Encoder::new(level)))
        } else {
            let level = i32::try_from(level).ok().map(CompressionLvl::new);
            let level = level.and_then(Result::ok).unwrap_or_default();
            Packer::Libdeflate(Compressor::new(level))
        };
        Self { packer }
    }

    /// Appends a member that holds `content` and nothing else.
    ///
    /// # Errors
    ///
    /// Only if the compressor fails, which it has no reason to.
    pub(super) fn chunk(&mut self, content: &[u8], out: &mut Buffer) -> io::Result<()> {
        out.put(&CHUNK_HEADER);
        self.deflate(content, out)
    }

    /// Appends a member that knows length and CRC-32 of its own compressed bytes.
    ///
    /// # Errors
    ///
    /// If the compressed bytes exceed 4 GiB.
    pub(super) fn frame(&mut self, content: &[u8], out: &mut Buffer) -> io::Result<()> {
        let start = out.len();
        out.put(&FRAME_HEADER);
        out.put(&[0; FRAME_PREFIX - FRAME_HEADER.len()]);
        self.deflate(content, out)?;
        let body = out.filled_from(start + FRAME_PREFIX);
        let length = u32::try_from(body.len()).map_err(io::Error::other)?;
        let [a, b, c, d] = length.to_le_bytes();
        let [e, f, g, h] = crc32(body).to_le_bytes();
        if let Some(field) = out.filled_from_mut(start + FRAME_HEADER.len()).first_chunk_mut::<8>()
        {
            *field = [a, b, c, d, e, f, g, h];
        }
        Ok(())
    }

    fn deflate(&mut self, content: &[u8], out: &mut Buffer) -> io::Result<()> {
        if is_noise(content) {
            store(content, out);
            out.put(&trailer(content));
            return Ok(());
        }
        let length = match &mut self.packer {
            Packer::Own(encoder) => {
                let room = out.room(Encoder::bound(content.len()));
                let length = encoder.deflate(content, room);
                length.ok_or_else(|| io::Error::other("a deflate stream grew beyond its bound"))?
            }
            Packer::Libdeflate(compressor) => {
                let room = out.room(compressor.deflate_compress_bound(content.len()));
                compressor.deflate_compress(content, room).map_err(io::Error::other)?
            }
        };
        out.grow(length);
        out.put(&trailer(content));
        Ok(())
    }
}

/// Whether content looks like what is compressed or encrypted already: its bytes are spread as
/// evenly as chance would have it, also where it is looked at closely. Text in base64 is not.
fn is_noise(content: &[u8]) -> bool {
    if content.len() < LEAST_NOISE {
        return false;
    }
    let step = content.len() / SAMPLES;
    let samples = content.chunks_exact(step).filter_map(|part| part.first_chunk::<SAMPLE>());
    let mut counts = [0_u32; 256];
    for byte in samples.flatten() {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
    // Chance makes n + n(n-1)/256 of n bytes; an eighth more is a byte of 7.9 bits at least.
    let pairs: u32 = counts.iter().map(|count| count * count).sum();
    pairs <= EVEN
}

/// Appends content as it is, in the form that deflate has for that.
fn store(content: &[u8], out: &mut Buffer) {
    let mut parts = content.chunks(MOST_STORED).peekable();
    while let Some(part) = parts.next() {
        let last = u8::from(parts.peek().is_none());
        let [a, b, ..] = part.len().to_le_bytes();
        out.put(&[last, a, b, !a, !b]);
        out.put(part);
    }
}

/// CRC-32 and length of the content, as they end a member.
pub(super) fn trailer(content: &[u8]) -> [u8; TRAILER] {
    let [a, b, c, d] = crc32(content).to_le_bytes();
    // Members stay far below 4 GiB; the format counts modulo 2^32 anyway.
    let [e, f, g, h, ..] = content.len().to_le_bytes();
    [a, b, c, d, e, f, g, h]
}

/// Whether a file that starts like this was laid out by us.
pub(super) fn is_frame(start: &[u8]) -> bool {
    start.starts_with(&FRAME_HEADER)
}

/// How many bytes the frame with this prefix has in all.
///
/// # Errors
///
/// What does not fit, if it is not a frame.
pub(super) fn frame_bytes(prefix: &[u8; FRAME_PREFIX]) -> Result<u64, &'static str> {
    let rest = prefix.strip_prefix(&FRAME_HEADER).ok_or("no gzip header of ours")?;
    let length = rest.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    Ok(u64::from(length) + 24)
}

/// Opens members, one at a time; its memory is used again for each.
pub(super) struct Inflater {
    decompressor: Decompressor,
    content: Buffer,
}

impl Inflater {
    pub(super) fn new() -> Self {
        Self { decompressor: Decompressor::new(), content: Buffer::default() }
    }

    /// Unpacks a whole frame into at most `cap` bytes.
    ///
    /// # Errors
    ///
    /// What does not fit.
    pub(super) fn frame(&mut self, member: &[u8], cap: u64) -> Result<&[u8], &'static str> {
        let Some((prefix, body)) = member.split_first_chunk::<FRAME_PREFIX>() else {
            return Err("the gzip member is cut off");
        };
        if frame_bytes(prefix)? != u64::try_from(member.len()).unwrap_or(u64::MAX) {
            return Err("the gzip member has another length than it says");
        }
        let [.., a, b, c, d] = *prefix;
        if crc32(body) != u32::from_le_bytes([a, b, c, d]) {
            return Err("the compressed bytes do not match their checksum");
        }
        self.inflate(member, body, cap)
    }

    /// Unpacks a whole chunk member that must hold exactly `size` bytes.
    ///
    /// # Errors
    ///
    /// What does not fit.
    pub(super) fn chunk(&mut self, member: &[u8], size: u64) -> Result<&[u8], &'static str> {
        let body = member.strip_prefix(&CHUNK_HEADER).ok_or("no gzip header of ours")?;
        let content = self.inflate(member, body, size)?;
        if u64::try_from(content.len()) != Ok(size) {
            return Err("it holds fewer bytes than the table of contents says");
        }
        Ok(content)
    }

    /// Unpacks a member whose deflate data and trailer must fill `body`, its end, exactly.
    fn inflate(&mut self, member: &[u8], body: &[u8], cap: u64) -> Result<&[u8], &'static str> {
        let Some((data, trailer)) = body.split_last_chunk::<TRAILER>() else {
            return Err("the gzip member is cut off");
        };
        let [.., l0, l1, l2, l3] = *trailer;
        let length = u64::from(u32::from_le_bytes([l0, l1, l2, l3]));
        if length > cap {
            return Err("it holds more bytes than expected");
        }
        // The trailer may lie: no memory is taken for more than the data can become.
        if length > u64::try_from(data.len()).unwrap_or(u64::MAX).saturating_mul(MOST_FROM_ONE) {
            return Err("the compressed data has another length than it says");
        }
        let length =
            usize::try_from(length).map_err(|_| "it holds more bytes than fit in memory")?;
        let content = self.content.room(length);
        // Checksum and length stand right behind the data, wherever that ends. If they stand nowhere
        // but at the end, it ends where it should; elsewhere too, and it must not do with less.
        if memmem::find(body, trailer) != Some(data.len())
            && let Some((_, less)) = data.split_last()
            && self.decompressor.deflate_decompress(less, content).is_ok()
        {
            return Err("there are bytes behind the compressed data");
        }
        match self.decompressor.gzip_decompress(member, content) {
            Ok(count) if count == length => {}
            Ok(_) | Err(DecompressionError::InsufficientSpace) => {
                return Err("the compressed data has another length than it says");
            }
            Err(DecompressionError::BadData) => {
                return Err("the compressed data is damaged or does not match its checksum");
            }
        }
        Ok(content)
    }
}

/// Most bytes a chunk member of `size` bytes can have; a longer one is not ours.
pub(super) fn largest_member(size: u64) -> u64 {
    size.saturating_add(size / 8).saturating_add(1024)
}

/// The footer that points to the table of contents.
pub(super) fn footer(toc_offset: u64) -> Vec<u8> {
    let mut footer = FOOTER_HEADER.to_vec();
    footer.extend(format!("{toc_offset:016x}").bytes());
    footer.extend(FOOTER_TAIL);
    footer
}

/// The offset a footer points to; none unless every byte of it is as [`footer`] writes it.
pub(super) fn read_footer(bytes: &[u8]) -> Option<u64> {
    let digits = bytes.strip_prefix(&FOOTER_HEADER)?.strip_suffix(&FOOTER_TAIL)?;
    let offset = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    // Upper-case digits and signs parse too, but nobody wrote them.
    (footer(offset) == bytes).then_some(offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};
    use std::io::Read;

    fn open_frame(member: &[u8], cap: u64) -> Result<Vec<u8>, &'static str> {
        Inflater::new().frame(member, cap).map(<[u8]>::to_vec)
    }

    fn open_chunk(member: &[u8], size: u64) -> Result<Vec<u8>, &'static str> {
        Inflater::new().chunk(member, size).map(<[u8]>::to_vec)
    }

    fn chunk_member(content: &[u8], level: u32) -> Vec<u8> {
        let mut member = Buffer::default();
        Deflater::new(level).chunk(content, &mut member).unwrap();
        member.filled().to_vec()
    }

    fn frame_member(content: &[u8], level: u32) -> Vec<u8> {
        let mut member = Buffer::default();
        Deflater::new(level).frame(content, &mut member).unwrap();
        member.filled().to_vec()
    }

    #[test]
    fn the_compressor_is_called_by_its_version() {
        let lock = include_str!("../../../Cargo.lock");
        let package = lock.split("\n\n").find(|it| it.contains("name = \"libdeflate-sys\""));
        let version = package.unwrap().split("version = \"").nth(1).unwrap();
        let version: Vec<&str> = version.split(['.', '"']).take(2).collect();
        assert_eq!(compressor(12), format!("libdeflate-{}/12", version.join(".")));
    }

    #[test]
    fn a_member_is_read_by_any_gzip_and_no_bit_of_a_frame_may_change() {
        for content in [&b""[..], b"a", &[7; 5000], &noise(70_000)] {
            let frame = frame_member(content, 6);
            assert_eq!(open_frame(&frame, 1 << 20).unwrap(), content);
            let mut theirs = Vec::new();
            flate2::read::GzDecoder::new(&frame[..]).read_to_end(&mut theirs).unwrap();
            assert_eq!(theirs, content);
            let chunk = chunk_member(content, 6);
            let size = u64::try_from(content.len()).unwrap();
            assert_eq!(open_chunk(&chunk, size).unwrap(), content);
            assert!(open_chunk(&chunk, size + 1).is_err());
            assert!(size == 0 || open_chunk(&chunk, size - 1).is_err());
            assert!(u64::try_from(chunk.len()).unwrap() <= largest_member(size));
        }
        let frame = frame_member(b"ustar and so on, ustar and so on", 6);
        for bit in 0..frame.len() * 8 {
            let mut bent = frame.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert!(open_frame(&bent, 1 << 20).is_err(), "bit {bit}");
        }
        for cut in 0..frame.len() {
            assert!(open_frame(&frame[..cut], 1 << 20).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_frame_that_unpacks_to_more_than_the_cap_is_refused() {
        let frame = frame_member(&[0; 100_000], 9);
        assert!(open_frame(&frame, 99_999).is_err());
        assert!(open_frame(&frame, 100_000).is_ok());
    }

    #[test]
    fn a_trailer_that_lies_about_the_length_costs_no_memory_and_is_refused() {
        let mut chunk = chunk_member(&[0; 100], 6);
        let end = chunk.len();
        chunk[end - 4..].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(open_chunk(&chunk, u64::from(u32::MAX)).is_err());
    }

    #[test]
    fn what_is_behind_the_compressed_data_is_found_also_if_it_looks_like_its_end() {
        for content in [&b""[..], b"one line\n", &noise(3000)] {
            let good = chunk_member(content, 1);
            let size = u64::try_from(content.len()).unwrap();
            let (_, trailer) = good.split_last_chunk::<TRAILER>().unwrap();
            let more = |behind: &[u8]| {
                let (data, _) = good.split_last_chunk::<TRAILER>().unwrap();
                open_chunk(&[data, behind, trailer].concat(), size).map(|_| ())
            };
            more(b"").unwrap();
            more(b"x").unwrap_err();
            more(trailer).unwrap_err();
            more(&trailer[..4]).unwrap_err();
            more(&[&trailer[..], &good].concat()).unwrap_err();
        }
        // Content that holds its own checksum and length is no reason to refuse it.
        let mut content = noise(300);
        forge(&mut content);
        let stored = chunk_member(&content, 1);
        let (body, trailer) = stored.split_last_chunk::<TRAILER>().unwrap();
        assert!(memmem::find(body, trailer).is_some());
        assert_eq!(open_chunk(&stored, 308).unwrap(), content);
    }

    /// Appends the eight bytes that end the member of a stored content which ends with them.
    fn forge(content: &mut Vec<u8>) {
        let length = u32::try_from(content.len() + 8).unwrap();
        content.extend([0; 4]);
        content.extend(length.to_le_bytes());
        let at = content.len() - 8;
        // A checksum is linear: each bit of the four bytes changes it in a way of its own.
        let crc = |bytes: &[u8; 4], content: &mut Vec<u8>| {
            content[at..at + 4].copy_from_slice(bytes);
            crc32(content) ^ u32::from_le_bytes(*bytes)
        };
        let wrong = crc(&[0; 4], content);
        let mut rows: Vec<(u32, u32)> = (0..32)
            .map(|bit| (crc(&(1_u32 << bit).to_le_bytes(), content) ^ wrong, 1 << bit))
            .collect();
        let (mut rest, mut answer) = (wrong, 0);
        for bit in (0..32).rev() {
            let Some(at) = rows.iter().position(|(effect, _)| effect >> bit & 1 == 1) else {
                continue;
            };
            let (effect, bits) = rows.swap_remove(at);
            for row in rows.iter_mut().filter(|row| row.0 >> bit & 1 == 1) {
                *row = (row.0 ^ effect, row.1 ^ bits);
            }
            if rest >> bit & 1 == 1 {
                (rest, answer) = (rest ^ effect, answer ^ bits);
            }
        }
        assert_eq!(rest, 0);
        crc(&answer.to_le_bytes(), content);
        assert_eq!(crc32(content), answer);
    }

    #[test]
    fn what_the_compressor_is_called_stands_for_the_bytes_it_makes() {
        let text: Vec<u8> =
            (0..9000_u32).flat_map(|n| format!("{{\"n\":{n}}}\n").into_bytes()).collect();
        let secret = STANDARD.encode(noise(3000)).into_bytes();
        let other = URL_SAFE.encode(noise(4000)).into_bytes();
        let mixed = [&text[..], &secret, b"and once more", &secret, &text[..900], &other].concat();
        // As many digits as make a run at one level or the other, and one less.
        let digits = [383, 384, 447, 448, 511, 512, 895, 896].into_iter();
        let runs = digits.flat_map(|count| {
            [&text[..3000], &secret[3000..3000 + count], b"~", &other[..count]].concat()
        });
        let runs = runs.collect();
        let long = text.repeat(12);
        assert!(long.len() > 1 << 20);
        let contents = [
            text,
            noise(LEAST_NOISE - 1),
            noise(70_000),
            mixed,
            runs,
            long,
            b"a".to_vec(),
            Vec::new(),
        ];
        let made = |levels: &[u32]| {
            let members = levels.iter().flat_map(|level| {
                contents.iter().flat_map(|content| chunk_member(content, *level))
            });
            crc32(&members.collect::<Vec<_>>())
        };
        // If this fails because of another encoder or a new libdeflate: `compressor` has to name that one.
        assert_eq!(compressor(9), "codex-manager-2/9");
        assert_eq!(made(&[1, 2, 3, 4, 5, 6, 7, 8, 9]), 2_921_030_429);
        assert_eq!(compressor(10), "libdeflate-1.26/10");
        assert_eq!(made(&[10, 11, 12]), 2_920_318_166);
    }

    #[test]
    #[rustfmt::skip]
    fn noise_is_stored_and_everything_else_is_compressed() {
        let base64 = |bytes: &[u8]| -> Vec<u8> { bytes.iter().map(|byte| b' ' + byte % 64).collect() };
        let mixed = [noise(200_000), vec![b'a'; 100_000]].concat();
        stored("noise",              &noise(300_000),                true);
        stored("a little noise",     &noise(LEAST_NOISE),            true);
        stored("too little to tell", &noise(LEAST_NOISE - 1),        false);
        stored("base64",             &base64(&noise(300_000)),       false);
        stored("text",               &b"{\"a\":1}\n".repeat(9000),   false);
        stored("zeros",              &[0; 70_000],                   false);
        stored("noise and text",     &mixed,                         false);
    }

    #[track_caller]
    fn stored(what: &str, content: &[u8], expected: bool) {
        assert_eq!(is_noise(content), expected, "{what}");
        let member = chunk_member(content, 1);
        let more = content.len() / MOST_STORED * 5 + 5 + CHUNK_HEADER.len() + TRAILER;
        assert!(!expected || member.len() == content.len() + more, "{what}");
        let size = u64::try_from(content.len()).unwrap();
        assert_eq!(open_chunk(&member, size).unwrap(), content);
        let mut theirs = Vec::new();
        flate2::read::GzDecoder::new(&member[..]).read_to_end(&mut theirs).unwrap();
        assert_eq!(theirs, content);
    }

    #[test]
    #[rustfmt::skip]
    fn a_footer_is_fifty_one_bytes_and_each_of_them_counts() {
        let good = footer(0xabc);
        assert_eq!(good.len(), 51);
        assert_eq!(read_footer(&good), Some(0xabc));
        for bit in 0..51 * 8 {
            let mut bent = good.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(read_footer(&bent), Some(0xabc), "bit {bit}");
        }
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&good[..]).read_to_end(&mut unpacked).unwrap();
        assert!(unpacked.is_empty());
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        };
        (0..length).map(|_| next()).collect()
    }
}
