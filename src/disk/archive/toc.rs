//! What does the table of contents say, and does it describe one file that holds nothing else?
//!
//! The JSON follows the public eStargz layout, with `memberSize` and `memberDigest` of ours. Reading it
//! checks that the chunks it names could tile the archive; whether they do is `seekable`'s question.

use std::fmt;

use chrono::{DateTime, SecondsFormat};
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};

use super::entry::is_target;
use super::gzip::largest_member;
use super::{ArchiveError, Entry, EntryName, Limits, NameSet, Node};

/// Name of the entry that holds the table of contents.
pub(super) const TOC_NAME: &str = "stargz.index.json";
/// Bytes of content in every chunk of a file but its last.
pub(super) const CHUNK: u64 = 1 << 20;

/// A piece of a file's content: up to 1 MiB in a gzip member of its own.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Chunk {
    /// Where its member starts in the archive.
    pub offset: u64,
    /// Bytes of its member.
    pub member_size: u64,
    /// SHA-256 of its member.
    pub member_digest: [u8; 32],
    /// Bytes of content.
    pub size: u64,
    /// SHA-256 of its content.
    pub digest: [u8; 32],
}

/// The table of contents: every entry in the archive's order, and the chunks of each.
#[derive(Debug, Default)]
pub(super) struct Toc {
    pub(super) entries: Vec<Entry>,
    /// As many as there are entries; empty for what has no content.
    pub(super) chunks: Vec<Vec<Chunk>>,
}

#[derive(Serialize)]
struct Document {
    version: u32,
    entries: Vec<Line>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Line {
    name: String,
    r#type: Kind,
    #[serde(default, skip_serializing_if = "is_zero")]
    size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    modtime: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    link_name: Option<String>,
    mode: u32,
    uid: u32,
    gid: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(default, skip_serializing_if = "is_zero")]
    chunk_offset: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    chunk_size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chunk_digest: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(default, skip_serializing_if = "is_zero")]
    member_size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    member_digest: Option<String>,
}

#[derive(Clone, Copy, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Dir,
    Reg,
    Symlink,
    Chunk,
}

// serde's `skip_serializing_if` hands over a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// SHA-256 of some bytes.
pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// A digest as the table of contents writes it: `sha256:` and 64 lower-case hex digits.
pub(crate) fn digest_text(digest: &[u8; 32]) -> String {
    let mut text = String::with_capacity(71);
    text.push_str("sha256:");
    for byte in digest {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(nibble.into(), 16).unwrap_or('0'));
        }
    }
    text
}

/// The digest of some bytes, written so.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    digest_text(&sha256(bytes))
}

fn parse_digest(text: &str) -> Option<[u8; 32]> {
    let digits = text.strip_prefix("sha256:")?.as_bytes();
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let bytes: Option<Vec<u8>> =
        pairs.iter().map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?)).collect();
    bytes?.try_into().ok()
}

impl Toc {
    /// The JSON text.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Io`] if it cannot be serialised, which it has no reason not to be.
    pub(super) fn to_json(&self) -> Result<Vec<u8>, ArchiveError> {
        let lines =
            self.entries.iter().zip(&self.chunks).flat_map(|(entry, chunks)| lines(entry, chunks));
        let document = Document { version: 1, entries: lines.collect() };
        serde_json::to_vec(&document).map_err(|error| ArchiveError::writing(error.into()))
    }

    /// Reads the JSON text of an archive whose table of contents starts at `end`.
    ///
    /// # Errors
    ///
    /// Whatever does not fit: [`ArchiveError::Corrupt`] at `end` for JSON and places, the error of the
    /// name or limit for those.
    pub(super) fn parse(json: &[u8], end: u64, limits: &Limits) -> Result<Self, ArchiveError> {
        let mut reading = Reading::up_to(limits);
        let mut reader = serde_json::Deserializer::from_slice(json);
        let read = Lines { reading: &mut reading, limits }.deserialize(&mut reader);
        match reading.bad.take() {
            Some(Bad::Refused(error)) => return Err(error),
            Some(Bad::Place(what)) => {
                return Err(ArchiveError::corrupt(end, format!("its table of contents: {what}")));
            }
            None => {}
        }
        let version = read.and_then(|version| reader.end().map(|()| version)).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let what = format!("its table of contents breaks off at {line}:{column}");
            ArchiveError::corrupt(end, what)
        })?;
        if version != 1 {
            return Err(ArchiveError::hostile("a table of contents of another version than 1"));
        }
        reading.whole().map_err(|what| ArchiveError::corrupt(end, what))?;
        if reading.end > end {
            return Err(ArchiveError::corrupt(end, "a chunk lies beyond the table of contents"));
        }
        Ok(reading.toc)
    }
}

fn lines(entry: &Entry, chunks: &[Chunk]) -> Vec<Line> {
    let (kind, name, link_name) = match &entry.node {
        Node::Dir => (Kind::Dir, format!("{}/", entry.name), None),
        Node::File { .. } => (Kind::Reg, entry.name.to_string(), None),
        Node::Symlink { target } => (Kind::Symlink, entry.name.to_string(), Some(target.clone())),
    };
    let modtime = DateTime::from_timestamp(entry.modified, 0)
        .map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true));
    let (size, mode) = (entry.size(), entry.mode);
    let mut lines =
        vec![Line { name, r#type: kind, size, modtime, link_name, mode, ..Line::bare() }];
    let mut start = 0;
    for (index, chunk) in chunks.iter().enumerate() {
        if index > 0 {
            let name = entry.name.to_string();
            lines.push(Line { name, ..Line::bare() });
        }
        let last = index + 1 == chunks.len();
        if let Some(line) = lines.last_mut() {
            line.offset = Some(chunk.offset);
            line.chunk_offset = start;
            line.chunk_size = if last { 0 } else { chunk.size };
            line.chunk_digest = Some(digest_text(&chunk.digest));
            line.digest = (chunks.len() == 1).then(|| digest_text(&chunk.digest));
            line.member_size = chunk.member_size;
            line.member_digest = Some(digest_text(&chunk.member_digest));
        }
        start += chunk.size;
    }
    lines
}

impl Line {
    fn bare() -> Self {
        Self {
            name: String::new(),
            r#type: Kind::Chunk,
            size: 0,
            modtime: None,
            link_name: None,
            mode: 0,
            uid: 0,
            gid: 0,
            offset: None,
            chunk_offset: 0,
            chunk_size: 0,
            chunk_digest: None,
            digest: None,
            member_size: 0,
            member_digest: None,
        }
    }
}

enum Bad {
    Place(&'static str),
    Refused(ArchiveError),
}

impl From<&'static str> for Bad {
    fn from(what: &'static str) -> Self {
        Self::Place(what)
    }
}

/// Reads the document and hands on line by line, so that they are never all there at once. The
/// answer is its version.
struct Lines<'a> {
    reading: &'a mut Reading,
    limits: &'a Limits,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Part {
    Version,
    Entries,
}

impl<'de> DeserializeSeed<'de> for Lines<'_> {
    type Value = u32;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u32, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Lines<'_> {
    type Value = u32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of contents")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<u32, A::Error> {
        let (mut version, mut read) = (None, false);
        while let Some(part) = map.next_key::<Part>()? {
            match part {
                Part::Version if version.is_none() => version = Some(map.next_value()?),
                Part::Entries if !read => {
                    read = true;
                    let (reading, limits) = (&mut *self.reading, self.limits);
                    map.next_value_seed(Entries { reading, limits })?;
                }
                _ => return Err(de::Error::custom("a key stands twice")),
            }
        }
        version.filter(|_| read).ok_or_else(|| de::Error::custom("a key is missing"))
    }
}

struct Entries<'a> {
    reading: &'a mut Reading,
    limits: &'a Limits,
}

impl<'de> DeserializeSeed<'de> for Entries<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the lines of a table of contents")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(line) = seq.next_element::<Line>()? {
            if let Err(bad) = self.reading.line(&line, self.limits) {
                self.reading.bad = Some(bad);
                return Err(de::Error::custom("a line is refused"));
            }
        }
        Ok(())
    }
}

/// The table of contents as far as it has been read.
struct Reading {
    toc: Toc,
    names: NameSet,
    /// Where the last chunk's member ends.
    end: u64,
    /// Bytes of content so far.
    total: u64,
    /// What ended the reading.
    bad: Option<Bad>,
}

impl Reading {
    fn up_to(limits: &Limits) -> Self {
        let names = NameSet::up_to(limits.entries);
        Self { toc: Toc::default(), names, end: 0, total: 0, bad: None }
    }

    fn line(&mut self, line: &Line, limits: &Limits) -> Result<(), Bad> {
        if line.uid != 0 || line.gid != 0 {
            return Err("an owner".into());
        }
        if line.r#type == Kind::Chunk {
            return self.further_chunk(line);
        }
        self.whole()?;
        self.entry(line, limits)
    }

    fn entry(&mut self, line: &Line, limits: &Limits) -> Result<(), Bad> {
        let refused = |error: ArchiveError| Bad::Refused(error);
        if self.toc.entries.len() >= limits.entries {
            let (found, limit) = (as_u64(limits.entries).saturating_add(1), as_u64(limits.entries));
            return Err(refused(ArchiveError::TooMuch { what: "entries", found, limit }));
        }
        let text = if line.r#type == Kind::Dir {
            line.name.strip_suffix('/').ok_or("a directory's name without a slash")?.to_owned()
        } else {
            line.name.clone()
        };
        let name = EntryName::try_from(text).map_err(|error| refused(error.into()))?;
        if name.folded() == TOC_NAME {
            return Err(refused(ArchiveError::Reserved { name }));
        }
        self.names.insert(&name, line.r#type == Kind::Dir).map_err(refused)?;
        let node = match (line.r#type, &line.link_name) {
            (Kind::Symlink, Some(target)) if is_target(target) => {
                self.names.count(target).map_err(refused)?;
                Node::Symlink { target: target.clone() }
            }
            (Kind::Symlink, _) => return Err(refused(ArchiveError::InvalidTarget { name })),
            (_, Some(_)) => return Err("a target of what is no link".into()),
            (Kind::Reg, None) => Node::File { size: line.size },
            (_, None) => Node::Dir,
        };
        let modified = line.modtime.as_deref().and_then(seconds).ok_or("a time that cannot be")?;
        if line.mode > 0o777 {
            return Err("a mode beyond permissions".into());
        }
        let entry = Entry { name, node, mode: line.mode, modified };
        let mut chunks = Vec::new();
        if entry.size() > 0 {
            self.total = self.total.saturating_add(entry.size());
            if let Some(limit) = limits.total_unpacked.filter(|limit| self.total > *limit) {
                let what = "bytes of content";
                return Err(refused(ArchiveError::TooMuch { what, found: self.total, limit }));
            }
            let chunk = self.chunk(line, entry.size(), 0)?;
            let single = chunk.size == entry.size();
            let expected = single.then(|| digest_text(&chunk.digest));
            if line.digest != expected {
                return Err("a file's digest is not its chunk's".into());
            }
            chunks.push(chunk);
        } else if line.size != 0 || has_chunk(line) {
            return Err("content of what has none".into());
        }
        self.toc.entries.push(entry);
        self.toc.chunks.push(chunks);
        Ok(())
    }

    fn further_chunk(&mut self, line: &Line) -> Result<(), Bad> {
        let plain = line.size == 0 && line.mode == 0 && line.modtime.is_none();
        if !plain || line.link_name.is_some() || line.digest.is_some() {
            return Err("a chunk that claims to be a file".into());
        }
        let Some(entry) = self.toc.entries.last() else {
            return Err("a chunk before its file".into());
        };
        if entry.name.as_str() != line.name {
            return Err("a chunk of another file".into());
        }
        let size = entry.size();
        // All chunks before this one were full, or the file would be whole already.
        let at =
            self.toc.chunks.last().map_or(0, |chunks| as_u64(chunks.len()).saturating_mul(CHUNK));
        if at == 0 || at >= size {
            return Err("a chunk too many".into());
        }
        let before = self.end;
        let chunk = self.chunk(line, size, at)?;
        if chunk.offset != before {
            return Err("something lies between two chunks of a file".into());
        }
        if let Some(chunks) = self.toc.chunks.last_mut() {
            chunks.push(chunk);
        }
        Ok(())
    }

    /// The chunk of a line, `at` bytes into a file of `size`.
    fn chunk(&mut self, line: &Line, size: u64, at: u64) -> Result<Chunk, Bad> {
        let rest = size - at;
        let (length, stated) = if rest > CHUNK { (CHUNK, CHUNK) } else { (rest, 0) };
        if line.chunk_offset != at || line.chunk_size != stated {
            return Err("a chunk of another size than one MiB".into());
        }
        let digest = |text: &Option<String>| text.as_deref().and_then(parse_digest);
        let (Some(offset), Some(content), Some(member)) =
            (line.offset, digest(&line.chunk_digest), digest(&line.member_digest))
        else {
            return Err("a chunk without place or digest".into());
        };
        if line.member_size == 0 || line.member_size > largest_member(length) {
            return Err("a gzip member of an impossible size".into());
        }
        if offset < self.end {
            return Err("two chunks overlap".into());
        }
        // A file's first chunk never touches what is before it: a tar header lies between.
        if at == 0 && offset == self.end {
            return Err("no room for a tar header".into());
        }
        self.end = offset.checked_add(line.member_size).ok_or("a chunk at an impossible place")?;
        Ok(Chunk {
            offset,
            member_size: line.member_size,
            member_digest: member,
            size: length,
            digest: content,
        })
    }

    /// Whether the last file has all its chunks.
    fn whole(&self) -> Result<(), &'static str> {
        let size = self.toc.entries.last().map_or(0, Entry::size);
        let chunks = self.toc.chunks.last().map_or(0, |chunks| chunks.iter().map(|c| c.size).sum());
        if size == chunks { Ok(()) } else { Err("a file lacks a chunk") }
    }
}

fn has_chunk(line: &Line) -> bool {
    line.offset.is_some()
        || line.chunk_offset != 0
        || line.chunk_size != 0
        || line.member_size != 0
        || line.chunk_digest.is_some()
        || line.digest.is_some()
        || line.member_digest.is_some()
}

/// Seconds of an RFC 3339 instant exactly as [`lines`] writes it, 1970 to 9999.
fn seconds(text: &str) -> Option<i64> {
    let at = DateTime::parse_from_rfc3339(text).ok()?.to_utc();
    let seconds = at.timestamp();
    let same = at.to_rfc3339_opts(SecondsFormat::Secs, true) == text;
    (same && super::entry::clamp_time(seconds) == seconds).then_some(seconds)
}

pub(super) fn as_u64(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
