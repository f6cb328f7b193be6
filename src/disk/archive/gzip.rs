//! How is one gzip member written and read so that no bit of it may change unnoticed?
//!
//! A gzip trailer covers what comes out of a member; a few bits of what goes in have no effect on it.
//! A *chunk* member is covered by the digest of its bytes in the table of contents. Every other member
//! (a *frame*) carries length and CRC-32 of its own compressed bytes in its extra field.

use std::io;

use flate2::{Compress, Compression, Crc, Decompress, FlushCompress, FlushDecompress, Status};

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

/// Compresses `content` into a member that holds nothing else. Pure: same input, same bytes.
///
/// # Errors
///
/// Only if the compressor fails, which it has no reason to.
pub(super) fn chunk_member(content: &[u8], level: u32) -> io::Result<Vec<u8>> {
    let mut member = CHUNK_HEADER.to_vec();
    deflate(content, level, &mut member)?;
    Ok(member)
}

/// Compresses `content` into a member that knows length and CRC-32 of its own compressed bytes.
///
/// # Errors
///
/// If the compressed bytes exceed 4 GiB.
pub(super) fn frame_member(content: &[u8], level: u32) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    deflate(content, level, &mut body)?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let mut member = FRAME_HEADER.to_vec();
    member.extend(length.to_le_bytes());
    member.extend(crc(&body).to_le_bytes());
    member.append(&mut body);
    Ok(member)
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

/// Unpacks a whole frame into at most `cap` bytes.
///
/// # Errors
///
/// What does not fit.
pub(super) fn open_frame(member: &[u8], cap: u64) -> Result<Vec<u8>, &'static str> {
    let Some((prefix, body)) = member.split_first_chunk::<FRAME_PREFIX>() else {
        return Err("the gzip member is cut off");
    };
    if frame_bytes(prefix)? != u64::try_from(member.len()).unwrap_or(u64::MAX) {
        return Err("the gzip member has another length than it says");
    }
    let [.., a, b, c, d] = *prefix;
    if crc(body) != u32::from_le_bytes([a, b, c, d]) {
        return Err("the compressed bytes do not match their checksum");
    }
    inflate(body, cap)
}

/// Unpacks a whole chunk member that must hold exactly `size` bytes.
///
/// # Errors
///
/// What does not fit.
pub(super) fn open_chunk(member: &[u8], size: u64) -> Result<Vec<u8>, &'static str> {
    let body = member.strip_prefix(&CHUNK_HEADER).ok_or("no gzip header of ours")?;
    let content = inflate(body, size)?;
    if u64::try_from(content.len()) != Ok(size) {
        return Err("it holds fewer bytes than the table of contents says");
    }
    Ok(content)
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

fn deflate(content: &[u8], level: u32, out: &mut Vec<u8>) -> io::Result<()> {
    let mut encoder = Compress::new(Compression::new(level.min(9)), false);
    // One call with all input and ample room, so that the bytes depend on nothing but the input.
    out.reserve(content.len() + content.len() / 8 + 1024);
    let mut rest = content;
    loop {
        let before = encoder.total_in();
        let status = encoder.compress_vec(rest, out, FlushCompress::Finish);
        let taken = usize::try_from(encoder.total_in() - before).unwrap_or(usize::MAX);
        rest = rest.get(taken..).unwrap_or_default();
        match status.map_err(io::Error::other)? {
            Status::StreamEnd => break,
            _ => out.reserve(64 << 10),
        }
    }
    out.extend(crc(content).to_le_bytes());
    // Members stay far below 4 GiB; the format counts modulo 2^32 anyway.
    let [a, b, c, d, ..] = content.len().to_le_bytes();
    out.extend([a, b, c, d]);
    Ok(())
}

/// Unpacks deflate data and its trailer; both must fill `body` exactly.
fn inflate(body: &[u8], cap: u64) -> Result<Vec<u8>, &'static str> {
    let Some((data, trailer)) = body.split_last_chunk::<TRAILER>() else {
        return Err("the gzip member is cut off");
    };
    let [c0, c1, c2, c3, l0, l1, l2, l3] = *trailer;
    let length = u32::from_le_bytes([l0, l1, l2, l3]);
    if u64::from(length) > cap {
        return Err("it holds more bytes than expected");
    }
    let length = usize::try_from(length).map_err(|_| "it holds more bytes than fit in memory")?;

    let mut decoder = Decompress::new(false);
    let mut content = Vec::new();
    // The trailer may lie: room is added as content comes, one byte more than announced at the end.
    while content.len() <= length {
        let step = (length + 1 - content.len()).min((4 * data.len()).clamp(4 << 10, 4 << 20));
        content.reserve_exact(step);
        let taken = usize::try_from(decoder.total_in()).unwrap_or(usize::MAX);
        let rest = data.get(taken..).unwrap_or_default();
        let before = (content.len(), taken);
        match decoder.decompress_vec(rest, &mut content, FlushDecompress::None) {
            Ok(Status::StreamEnd) => break,
            Ok(_) => {}
            Err(_) => return Err("the compressed data is damaged"),
        }
        let taken = usize::try_from(decoder.total_in()).unwrap_or(usize::MAX);
        if (content.len(), taken) == before {
            return Err("the compressed data is cut off");
        }
    }
    if content.len() != length {
        return Err("the compressed data has another length than it says");
    }
    if u64::try_from(data.len()) != Ok(decoder.total_in()) {
        return Err("there are bytes behind the compressed data");
    }
    if crc(&content) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Err("the content does not match its checksum");
    }
    Ok(content)
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_member_is_read_by_any_gzip_and_no_bit_of_a_frame_may_change() {
        for content in [&b""[..], b"a", &[7; 5000], &noise(70_000)] {
            let frame = frame_member(content, 6).unwrap();
            assert_eq!(open_frame(&frame, 1 << 20).unwrap(), content);
            let mut theirs = Vec::new();
            flate2::read::GzDecoder::new(&frame[..]).read_to_end(&mut theirs).unwrap();
            assert_eq!(theirs, content);
            let chunk = chunk_member(content, 6).unwrap();
            let size = u64::try_from(content.len()).unwrap();
            assert_eq!(open_chunk(&chunk, size).unwrap(), content);
            assert!(open_chunk(&chunk, size + 1).is_err());
            assert!(size == 0 || open_chunk(&chunk, size - 1).is_err());
            assert!(u64::try_from(chunk.len()).unwrap() <= largest_member(size));
        }
        let frame = frame_member(b"ustar and so on, ustar and so on", 6).unwrap();
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
        let frame = frame_member(&[0; 100_000], 9).unwrap();
        assert!(open_frame(&frame, 99_999).is_err());
        assert!(open_frame(&frame, 100_000).is_ok());
    }

    #[test]
    fn a_trailer_that_lies_about_the_length_costs_no_memory_and_is_refused() {
        let mut chunk = chunk_member(&[0; 100], 6).unwrap();
        let end = chunk.len();
        chunk[end - 4..].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(open_chunk(&chunk, u64::from(u32::MAX)).is_err());
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
