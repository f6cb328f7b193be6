//! How is an archive forged?
//!
//! Built by hand from the public formats, field by field, so that what no library writes can be
//! written: tar headers with any byte in them, both layouts around them, tables of contents and
//! footers that say what one likes. An honest archive that passes through here is accepted, so
//! what is refused is refused for its lie.

// The fuzz targets, which include this file too, use only some of it.
#![allow(dead_code, reason = "each of the programs that include this file uses a part of it")]

use std::io::Write as _;

use flate2::write::{DeflateEncoder, GzEncoder};
use flate2::{Compression, Crc};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// When everything was last changed, in seconds since 1970.
const TIME: u64 = 1_775_000_000;
/// Bytes of content in every chunk but the last.
const CHUNK: usize = 1 << 20;
/// What ends a tar.
pub(crate) const END: [u8; 1024] = [0; 1024];

/// One tar entry, field by field.
#[derive(Clone)]
pub(crate) struct Part {
    name: Vec<u8>,
    kind: u8,
    mode: u32,
    link: Vec<u8>,
    content: Vec<u8>,
    /// What the header says of the content's length, if that is a lie.
    size: Option<String>,
    /// Blocks in front of the header.
    before: Vec<u8>,
    /// Bytes put into the header before its checksum is made.
    patches: Vec<(usize, Vec<u8>)>,
    /// Bytes put into the header after it.
    late: Vec<(usize, Vec<u8>)>,
    /// What the table of contents calls it, if that is another name.
    called: Option<String>,
}

impl Part {
    pub(crate) fn file(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        Self { content: content.as_ref().to_vec(), ..Self::of_kind(b'0', name) }
    }

    pub(crate) fn dir(name: impl AsRef<[u8]>) -> Self {
        let name = [name.as_ref(), b"/"].concat();
        Self { mode: 0o700, ..Self::of_kind(b'5', name) }
    }

    pub(crate) fn link(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self { link: target.as_ref().to_vec(), ..Self::of_kind(b'2', name) }
    }

    pub(crate) fn of_kind(kind: u8, name: impl AsRef<[u8]>) -> Self {
        Self {
            name: name.as_ref().to_vec(),
            kind,
            mode: 0o600,
            link: Vec::new(),
            content: Vec::new(),
            size: None,
            before: Vec::new(),
            patches: Vec::new(),
            late: Vec::new(),
            called: None,
        }
    }

    pub(crate) fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    pub(crate) fn to(self, target: &str) -> Self {
        Self { link: target.as_bytes().to_vec(), ..self }
    }

    pub(crate) fn holding(self, content: impl AsRef<[u8]>) -> Self {
        Self { content: content.as_ref().to_vec(), ..self }
    }

    /// The twelve bytes of the size field.
    pub(crate) fn sized(self, field: impl AsRef<str>) -> Self {
        Self { size: Some(field.as_ref().to_owned()), ..self }
    }

    pub(crate) fn with(mut self, at: usize, bytes: &[u8]) -> Self {
        self.patches.push((at, bytes.to_vec()));
        self
    }

    pub(crate) fn spoiled(mut self, at: usize, bytes: &[u8]) -> Self {
        self.late.push((at, bytes.to_vec()));
        self
    }

    pub(crate) fn called(self, name: &str) -> Self {
        Self { called: Some(name.to_owned()), ..self }
    }

    /// Puts blocks in front of the header.
    pub(crate) fn after(mut self, blocks: &[u8]) -> Self {
        self.before.extend(blocks);
        self
    }

    /// Puts a PAX header with these records in front.
    pub(crate) fn pax(self, records: &[(&str, &str)]) -> Self {
        let records: String = records.iter().map(|(key, value)| record(key, value)).collect();
        self.raw_pax(records.as_bytes())
    }

    /// Puts a PAX header with these bytes as its records in front.
    pub(crate) fn raw_pax(self, records: &[u8]) -> Self {
        let header = Self::of_kind(b'x', "././@PaxHeader").holding(records);
        self.after(&header.blocks())
    }

    /// All blocks, those of the content included.
    pub(crate) fn blocks(&self) -> Vec<u8> {
        let mut bytes = self.header();
        bytes.extend(&self.content);
        pad(&mut bytes);
        bytes
    }

    /// The blocks before the content.
    fn header(&self) -> Vec<u8> {
        let mut block = vec![0; 512];
        let mut put = |at: usize, bytes: &[u8], width: usize| {
            let length = bytes.len().min(width);
            block[at..at + length].copy_from_slice(&bytes[..length]);
        };
        let size = self.size.clone().unwrap_or_else(|| format!("{:011o}\0", self.content.len()));
        put(0, &self.name, 100);
        put(100, format!("{:07o}\0", self.mode).as_bytes(), 8);
        put(108, b"0000000\x000000000\0", 16);
        put(124, size.as_bytes(), 12);
        put(136, format!("{TIME:011o}\0").as_bytes(), 12);
        put(156, &[self.kind], 1);
        put(157, &self.link, 100);
        put(257, b"ustar\x0000", 8);
        put(329, b"0000000\x000000000\0", 16);
        for (at, bytes) in &self.patches {
            put(*at, bytes, 512);
        }
        let rest = block.iter().enumerate().filter(|(at, _)| !(148..156).contains(at));
        let sum: u32 = rest.map(|(_, byte)| u32::from(*byte)).sum::<u32>() + 8 * 32;
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        for (at, bytes) in &self.late {
            block[*at..*at + bytes.len()].copy_from_slice(bytes);
        }
        [&self.before[..], &block].concat()
    }

    /// Its first line in the table of contents.
    fn line(&self) -> Value {
        let name = String::from_utf8_lossy(&self.name).into_owned();
        let name = self.called.clone().unwrap_or(name);
        let kind = match self.kind {
            b'5' => "dir",
            b'2' => "symlink",
            b'1' => "hardlink",
            _ => "reg",
        };
        let modified = "2026-03-31T23:33:20Z";
        let mode = self.mode & 0o777;
        let mut line = json!({
            "name": name, "type": kind, "modtime": modified, "mode": mode, "uid": 0, "gid": 0,
        });
        if !self.content.is_empty() {
            line["size"] = self.content.len().into();
        }
        if !self.link.is_empty() {
            line["linkName"] = String::from_utf8_lossy(&self.link).into();
        }
        line
    }
}

/// One PAX record with its length.
pub(crate) fn record(key: &str, value: &str) -> String {
    let rest = key.len() + value.len() + 3;
    let length = (rest..).find(|length| length.to_string().len() + rest == *length);
    format!("{} {key}={value}\n", length.unwrap())
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(512), 0);
}

/// The tar of these parts, end marker included.
pub(crate) fn tar(parts: &[Part]) -> Vec<u8> {
    let mut bytes: Vec<u8> = parts.iter().flat_map(Part::blocks).collect();
    bytes.extend(END);
    bytes
}

/// A plain archive: one gzip member.
pub(crate) fn plain(parts: &[Part]) -> Vec<u8> {
    gzip(&tar(parts))
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Deflate data with its trailer.
fn deflated(content: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(content).unwrap();
    let mut bytes = encoder.finish().unwrap();
    bytes.extend(crc(content).to_le_bytes());
    bytes.extend(u32::try_from(content.len() & 0xffff_ffff).unwrap().to_le_bytes());
    bytes
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// A gzip member that holds a chunk.
pub(crate) fn chunk(content: &[u8]) -> Vec<u8> {
    [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff][..], &deflated(content)].concat()
}

/// A gzip member that knows length and checksum of its own compressed bytes.
pub(crate) fn frame(content: &[u8]) -> Vec<u8> {
    let body = deflated(content);
    let mut member = vec![0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 12, 0, b'C', b'M', 8, 0];
    member.extend(u32::try_from(body.len()).unwrap().to_le_bytes());
    member.extend(crc(&body).to_le_bytes());
    member.extend(body);
    member
}

/// The 51 bytes at the end that point to the table of contents.
pub(crate) fn footer(offset: u64) -> Vec<u8> {
    let head = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 26, 0, b'S', b'G', 22, 0];
    let tail = [1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0];
    [&head[..], format!("{offset:016x}STARGZ").as_bytes(), &tail].concat()
}

/// What an archive of ours says that is not so.
pub(crate) struct Lies<'a> {
    /// Bytes put behind the member with this number, counted from 0.
    pub(crate) between: Option<(usize, &'a [u8])>,
    /// What is changed in the table of contents.
    pub(crate) table: &'a dyn Fn(&mut Value),
    /// What is changed in its text.
    pub(crate) json: &'a dyn Fn(Vec<u8>) -> Vec<u8>,
    /// What follows its text, padded already.
    pub(crate) behind: &'a [u8],
    /// The footer, from where the table of contents lies.
    pub(crate) footer: &'a dyn Fn(u64) -> Vec<u8>,
}

/// One that tells no lies.
pub(crate) const HONEST: Lies<'static> =
    Lies { between: None, table: &|_| {}, json: &|json| json, behind: &END, footer: &footer };

/// An archive and what a sidecar has to say of it.
pub(crate) struct Forged {
    pub(crate) bytes: Vec<u8>,
    pub(crate) toc_digest: String,
    pub(crate) files: usize,
    pub(crate) content_bytes: usize,
}

/// An archive in the layout of ours.
pub(crate) fn seekable(parts: &[Part], lies: &Lies<'_>) -> Forged {
    let mut bytes = Vec::new();
    let mut members = 0;
    let mut push = |bytes: &mut Vec<u8>, member: &[u8]| {
        bytes.extend(member);
        if let Some((number, garbage)) = lies.between
            && number == members
        {
            bytes.extend(garbage);
        }
        members += 1;
    };
    let mut waiting = Vec::new();
    let mut lines = Vec::new();
    for part in parts {
        waiting.extend(part.header());
        let mut line = part.line();
        if !part.content.is_empty() {
            push(&mut bytes, &frame(&std::mem::take(&mut waiting)));
            let pieces: Vec<&[u8]> = part.content.chunks(CHUNK).collect();
            for (number, piece) in pieces.iter().enumerate() {
                if number > 0 {
                    let name = line["name"].clone();
                    lines.push(std::mem::replace(&mut line, json!({})));
                    line = json!({"name": name, "type": "chunk", "mode": 0, "uid": 0, "gid": 0});
                    line["chunkOffset"] = (number * CHUNK).into();
                }
                let member = chunk(piece);
                line["offset"] = bytes.len().into();
                if number + 1 < pieces.len() {
                    line["chunkSize"] = piece.len().into();
                }
                line["chunkDigest"] = sha256(piece).into();
                if pieces.len() == 1 {
                    line["digest"] = sha256(piece).into();
                }
                line["memberSize"] = member.len().into();
                line["memberDigest"] = sha256(&member).into();
                push(&mut bytes, &member);
            }
            waiting.resize((512 - part.content.len() % 512) % 512, 0);
        }
        lines.push(line);
    }
    if !waiting.is_empty() {
        push(&mut bytes, &frame(&waiting));
    }
    let mut table = json!({"version": 1, "entries": lines});
    (lies.table)(&mut table);
    let entries = table["entries"].as_array().map(Vec::as_slice).unwrap_or_default();
    let files = entries.iter().filter(|entry| entry["type"] == "reg").count();
    let json = (lies.json)(serde_json::to_vec(&table).unwrap());
    let offset = u64::try_from(bytes.len()).unwrap();
    let mut tail = Part::file("stargz.index.json", &json).blocks();
    tail.extend(lies.behind);
    bytes.extend(frame(&tail));
    bytes.extend((lies.footer)(offset));
    Forged {
        bytes,
        toc_digest: sha256(&json),
        files,
        content_bytes: parts.iter().map(|part| part.content.len()).sum(),
    }
}

/// A sidecar's bytes: the object and its checksum.
pub(crate) fn sealed(sidecar: &Value) -> Vec<u8> {
    let text = serde_json::to_string_pretty(sidecar).unwrap();
    let head = text.strip_suffix("\n}").unwrap();
    let digest = sha256(head.as_bytes());
    format!("{head},\n  \"checksum\": \"{digest}\"\n}}\n").into_bytes()
}
