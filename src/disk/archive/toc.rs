//! What does the table of contents say, and does it describe one file that holds nothing else?
//!
//! The JSON follows the public eStargz layout, with `memberSize` and `memberDigest` of ours. Reading it
//! checks that the chunks it names could tile the archive; whether they do is `seekable`'s question.

use std::borrow::Cow;
use std::fmt;
use std::io;

use chrono::{DateTime, NaiveDate, SecondsFormat};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
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
///
/// A home can have hundreds of thousands of files, so what is kept of each is what is needed of it: the
/// chunks of all lie in one place.
#[derive(Debug, Default)]
pub(super) struct Toc {
    entries: Vec<Entry>,
    chunks: Vec<Chunk>,
    /// Where the chunks of each entry end; as far as they are known.
    ends: Vec<u32>,
}

/// Takes in what a table of contents says while it is read: each entry, then its chunks. All but the
/// table's last line was found to be sound by then.
pub(crate) trait Take {
    /// Whether it keeps all entries, so that their names can be told at any time.
    const KEEPS_ENTRIES: bool = false;

    /// Makes room for so many entries, roughly; before the first.
    fn reserve(&mut self, _entries: usize) {}

    /// The next entry.
    ///
    /// # Errors
    ///
    /// Whatever it has against going on.
    fn entry(&mut self, entry: Entry) -> Result<(), ArchiveError>;

    /// The next chunk of the last entry.
    ///
    /// # Errors
    ///
    /// Whatever it has against going on.
    fn chunk(&mut self, chunk: Chunk) -> Result<(), ArchiveError>;
}

impl Take for Toc {
    const KEEPS_ENTRIES: bool = true;

    fn reserve(&mut self, entries: usize) {
        self.entries.reserve(entries);
        self.chunks.reserve(entries);
        self.ends.reserve(entries);
    }

    fn entry(&mut self, entry: Entry) -> Result<(), ArchiveError> {
        self.push_entry(entry);
        Ok(())
    }

    fn chunk(&mut self, chunk: Chunk) -> Result<(), ArchiveError> {
        self.push_chunk(self.entries.len().saturating_sub(1), chunk);
        Ok(())
    }
}

/// What opens and closes the JSON around its lines.
pub(super) const OPENING: &[u8] = b"{\"version\":1,\"entries\":[";
pub(super) const CLOSING: &[u8] = b"]}";
/// What a line that tells of a session takes at least, in bytes.
const SESSION_LINE: u64 = 440;
/// Longer than any line whose name and target can be stored, in bytes.
const LONGEST_LINE: usize = 64 << 10;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Line<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    r#type: Kind,
    #[serde(default, skip_serializing_if = "is_zero")]
    size: u64,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    modtime: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    link_name: Option<Cow<'a, str>>,
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
    chunk_digest: Option<Sum>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<Sum>,
    #[serde(default, skip_serializing_if = "is_zero")]
    member_size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    member_digest: Option<Sum>,
}

#[derive(Clone, Copy, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Dir,
    Reg,
    Symlink,
    Chunk,
}

/// A digest as it stands in a line; none for a text that is no digest.
#[derive(Clone, Copy, Eq, PartialEq)]
struct Sum(Option<[u8; 32]>);

impl Serialize for Sum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&digest_text(&self.0.unwrap_or_default()))
    }
}

impl<'de> Deserialize<'de> for Sum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Sum;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a digest")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Sum, E> {
                Ok(Sum(parse_digest(text)))
            }
        }
        deserializer.deserialize_str(Text)
    }
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

/// The bytes of `sha256:` and 64 lower-case hex digits.
pub(crate) fn parse_digest(text: &str) -> Option<[u8; 32]> {
    let digits = text.strip_prefix("sha256:")?.as_bytes();
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let pairs: &[[u8; 2]; 32] = pairs.try_into().ok()?;
    let mut digest = [0; 32];
    let mut worst = 0;
    for (byte, [high, low]) in digest.iter_mut().zip(pairs) {
        let (high, low) = (nibble(*high), nibble(*low));
        worst |= high | low;
        *byte = high << 4 | low & 15;
    }
    (worst < 16).then_some(digest)
}

/// What a lower-case hex digit stands for; more than 15 for anything else.
fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => 0xff,
    }
}

impl Toc {
    /// Every entry.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The chunks of the entry with this index; empty for what has no content.
    pub(super) fn chunks_of(&self, index: usize) -> &[Chunk] {
        let known = |index: usize| usize::try_from(*self.ends.get(index)?).ok();
        let end = |index: usize| known(index).unwrap_or(self.chunks.len());
        let start = index.checked_sub(1).map_or(0, end);
        self.chunks.get(start..end(index)).unwrap_or_default()
    }

    /// Adds an entry, whose chunks may follow later.
    pub(super) fn push_entry(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// Adds a chunk to the entry with this index: the last that got one, or a later one.
    pub(super) fn push_chunk(&mut self, entry: usize, chunk: Chunk) {
        // A table of so many chunks would be larger than any that is read.
        let end = |chunks: usize| u32::try_from(chunks).unwrap_or(u32::MAX);
        while self.ends.len() <= entry {
            self.ends.push(end(self.chunks.len()));
        }
        self.chunks.push(chunk);
        if let Some(last) = self.ends.last_mut() {
            *last = end(self.chunks.len());
        }
    }
}

/// Hands over the lines of an entry.
pub(super) fn lines(
    entry: &Entry,
    chunks: &[Chunk],
    say: &mut dyn FnMut(Line<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let name = entry.name.as_str();
    let (kind, name, link_name) = match &entry.node {
        Node::Dir => (Kind::Dir, Cow::Owned(format!("{name}/")), None),
        Node::File { .. } => (Kind::Reg, Cow::Borrowed(name), None),
        Node::Symlink { target } => {
            (Kind::Symlink, Cow::Borrowed(name), Some(Cow::Borrowed(target.as_str())))
        }
    };
    let modtime = DateTime::from_timestamp(entry.modified, 0)
        .map(|at| Cow::Owned(at.to_rfc3339_opts(SecondsFormat::Secs, true)));
    let (size, mode) = (entry.size(), entry.mode);
    let mut line = Line { name, r#type: kind, size, modtime, link_name, mode, ..Line::bare() };
    let mut start = 0;
    for (number, chunk) in chunks.iter().enumerate() {
        let last = number + 1 == chunks.len();
        line.offset = Some(chunk.offset);
        line.chunk_offset = start;
        line.chunk_size = if last { 0 } else { chunk.size };
        line.chunk_digest = Some(Sum(Some(chunk.digest)));
        line.digest = (chunks.len() == 1).then_some(Sum(Some(chunk.digest)));
        line.member_size = chunk.member_size;
        line.member_digest = Some(Sum(Some(chunk.member_digest)));
        say(line)?;
        if last {
            return Ok(());
        }
        line = Line { name: Cow::Borrowed(entry.name.as_str()), ..Line::bare() };
        start += chunk.size;
    }
    say(line)
}

impl Line<'_> {
    fn bare() -> Self {
        Self {
            name: Cow::Borrowed(""),
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

/// Reads the JSON text of a table of contents piece by piece, so that it is never all there at once.
///
/// It has to be as `contents` lays it out: no blank stands around the lines, and nothing
/// follows them.
pub(super) struct Reader<'a, T> {
    reading: Reading<T>,
    limits: &'a Limits,
    /// Where the table of contents starts in the archive.
    end: u64,
    /// What begins a line, or the document, and does not end yet.
    rest: Vec<u8>,
    /// Bytes of the text before `rest`.
    passed: usize,
    next: Next,
}

/// What has to follow.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Next {
    Opening,
    /// A line, or the end if there was none.
    First,
    Line,
    Comma,
    Nothing,
}

impl<'a, T: Take> Reader<'a, T> {
    /// A reader of the text, so many bytes, of an archive whose table of contents starts at `end`.
    pub(super) fn new((end, size): (u64, u64), limits: &'a Limits, into: T) -> Self {
        let (rest, next) = (Vec::new(), Next::Opening);
        let entries = usize::try_from(size / SESSION_LINE).unwrap_or(0).min(limits.entries);
        let reading = Reading::new(limits, (end, entries), into);
        Self { reading, limits, end, rest, passed: 0, next }
    }

    /// Reads what follows.
    ///
    /// # Errors
    ///
    /// Whatever does not fit: [`ArchiveError::Corrupt`] for JSON and places, the error of the name or
    /// limit for those.
    pub(super) fn read(&mut self, piece: &[u8]) -> Result<(), ArchiveError> {
        if self.rest.is_empty() {
            let taken = self.take(piece)?;
            self.rest.extend_from_slice(piece.get(taken..).unwrap_or_default());
            return Ok(());
        }
        let mut text = std::mem::take(&mut self.rest);
        text.extend_from_slice(piece);
        let taken = self.take(&text)?;
        text.drain(..taken);
        self.rest = text;
        Ok(())
    }

    /// What has taken it in, if that was all of it.
    ///
    /// # Errors
    ///
    /// As [`Reader::read`].
    pub(super) fn finish(self) -> Result<T, ArchiveError> {
        if self.next != Next::Nothing || !self.rest.is_empty() {
            return Err(self.breaks_off(self.rest.len()));
        }
        let Self { reading, end, .. } = self;
        reading.whole().map_err(|what| ArchiveError::corrupt(end, what))?;
        Ok(reading.into)
    }

    /// Reads as far as there are whole lines; answers how far that is.
    fn take(&mut self, text: &[u8]) -> Result<usize, ArchiveError> {
        let mut at = 0;
        loop {
            let rest = text.get(at..).unwrap_or_default();
            let Some(first) = rest.first() else { break };
            let length = match self.next {
                Next::Opening if rest.starts_with(OPENING) => Some(OPENING.len()),
                Next::Opening if OPENING.starts_with(rest) => None,
                Next::Opening => return Err(self.not_opened(rest)),
                Next::First | Next::Comma if *first == b']' => match rest.get(..CLOSING.len()) {
                    Some(CLOSING) => Some(CLOSING.len()),
                    Some(_) => return Err(self.breaks_off(at)),
                    None => None,
                },
                Next::Comma if *first == b',' => Some(1),
                Next::Comma | Next::Nothing => return Err(self.breaks_off(at)),
                Next::First | Next::Line => self.line(rest, at)?,
            };
            let Some(length) = length else { break };
            self.next = match self.next {
                Next::Opening => Next::First,
                Next::First | Next::Comma if *first == b']' => Next::Nothing,
                Next::First | Next::Line => Next::Comma,
                Next::Comma | Next::Nothing => Next::Line,
            };
            at += length;
        }
        self.passed += at;
        Ok(at)
    }

    /// Reads one line and answers how long it is; none if its end is not there yet.
    fn line(&mut self, rest: &[u8], at: usize) -> Result<Option<usize>, ArchiveError> {
        let rest = rest.get(..LONGEST_LINE).unwrap_or(rest);
        let mut lines = serde_json::Deserializer::from_slice(rest).into_iter::<Line<'_>>();
        match lines.next() {
            Some(Ok(line)) => match self.reading.line(&line, self.limits) {
                Ok(()) => Ok(Some(lines.byte_offset())),
                Err(Bad::Refused(error)) => Err(error),
                Err(Bad::Place(what)) => {
                    let what = format!("its table of contents: {what}");
                    Err(ArchiveError::corrupt(self.end, what))
                }
            },
            Some(Err(error)) if error.is_eof() && rest.len() < LONGEST_LINE => Ok(None),
            Some(Err(error)) => Err(self.breaks_off(at + error.column())),
            None => Err(self.breaks_off(at)),
        }
    }

    fn not_opened(&self, rest: &[u8]) -> ArchiveError {
        let version = OPENING.get(..11).unwrap_or_default();
        let number = rest.strip_prefix(version).unwrap_or_default();
        let is_number = |part: &[u8]| part.first().is_some_and(u8::is_ascii_digit);
        match number.split(|byte| !byte.is_ascii_digit()).next() {
            Some(found) if is_number(found) && found != b"1" => {
                ArchiveError::hostile("a table of contents of another version than 1")
            }
            _ => self.breaks_off(0),
        }
    }

    fn breaks_off(&self, at: usize) -> ArchiveError {
        let at = self.passed + at;
        let what = format!("its table of contents breaks off at byte {at} of its text");
        ArchiveError::corrupt(self.end, what)
    }
}

/// The table of contents as far as it has been read.
struct Reading<T> {
    into: T,
    names: NameSet,
    /// How many entries.
    entries: usize,
    last: Option<Last>,
    /// Where the last chunk's member ends, and where the last may end.
    end: u64,
    most: u64,
    /// Bytes of content so far.
    total: u64,
}

/// The last entry, for the chunks that follow it.
struct Last {
    name: EntryName,
    size: u64,
    chunks: u64,
}

impl<T: Take> Reading<T> {
    fn new(limits: &Limits, (most, entries): (u64, usize), mut into: T) -> Self {
        // Tables that grow leave holes behind where memory is short.
        into.reserve(entries);
        let names = NameSet::up_to(limits.entries);
        let names =
            if T::KEEPS_ENTRIES { names } else { names.without_names() }.with_room_for(entries);
        Self { into, names, entries: 0, last: None, end: 0, most, total: 0 }
    }

    fn line(&mut self, line: &Line<'_>, limits: &Limits) -> Result<(), Bad> {
        if line.uid != 0 || line.gid != 0 {
            return Err("an owner".into());
        }
        if line.r#type == Kind::Chunk {
            return self.further_chunk(line);
        }
        self.whole()?;
        self.entry(line, limits)
    }

    fn entry(&mut self, line: &Line<'_>, limits: &Limits) -> Result<(), Bad> {
        let refused = |error: ArchiveError| Bad::Refused(error);
        if self.entries >= limits.entries {
            let (found, limit) = (as_u64(limits.entries).saturating_add(1), as_u64(limits.entries));
            return Err(refused(ArchiveError::TooMuch { what: "entries", found, limit }));
        }
        let text = if line.r#type == Kind::Dir {
            line.name.strip_suffix('/').ok_or("a directory's name without a slash")?
        } else {
            &line.name
        };
        let name = text.parse::<EntryName>().map_err(|error| refused(error.into()))?;
        if name.folds_to(TOC_NAME) {
            return Err(refused(ArchiveError::Reserved { name }));
        }
        self.names.insert(&name, line.r#type == Kind::Dir).map_err(refused)?;
        let node = match (line.r#type, &line.link_name) {
            (Kind::Symlink, Some(target)) if is_target(target) => {
                self.names.count(target).map_err(refused)?;
                Node::Symlink { target: target.clone().into_owned() }
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
        let mut first = None;
        if entry.size() > 0 {
            self.total = self.total.saturating_add(entry.size());
            if let Some(limit) = limits.total_unpacked.filter(|limit| self.total > *limit) {
                let what = "bytes of content";
                return Err(refused(ArchiveError::TooMuch { what, found: self.total, limit }));
            }
            let chunk = self.chunk(line, entry.size(), 0)?;
            let single = chunk.size == entry.size();
            if line.digest != single.then_some(Sum(Some(chunk.digest))) {
                return Err("a file's digest is not its chunk's".into());
            }
            first = Some(chunk);
        } else if line.size != 0 || has_chunk(line) {
            return Err("content of what has none".into());
        }
        let chunks = u64::from(first.is_some());
        self.last = Some(Last { name: entry.name.clone(), size: entry.size(), chunks });
        self.entries += 1;
        self.into.entry(entry).map_err(refused)?;
        first.map_or(Ok(()), |chunk| self.into.chunk(chunk).map_err(refused))
    }

    fn further_chunk(&mut self, line: &Line<'_>) -> Result<(), Bad> {
        let plain = line.size == 0 && line.mode == 0 && line.modtime.is_none();
        if !plain || line.link_name.is_some() || line.digest.is_some() {
            return Err("a chunk that claims to be a file".into());
        }
        let Some(last) = &mut self.last else {
            return Err("a chunk before its file".into());
        };
        if last.name.as_str() != line.name {
            return Err("a chunk of another file".into());
        }
        let size = last.size;
        // All chunks before this one were full, or the file would be whole already.
        let at = last.chunks.saturating_mul(CHUNK);
        last.chunks = last.chunks.saturating_add(1);
        if at == 0 || at >= size {
            return Err("a chunk too many".into());
        }
        let before = self.end;
        let chunk = self.chunk(line, size, at)?;
        if chunk.offset != before {
            return Err("something lies between two chunks of a file".into());
        }
        self.into.chunk(chunk).map_err(Bad::Refused)
    }

    /// The chunk of a line, `at` bytes into a file of `size`.
    fn chunk(&mut self, line: &Line<'_>, size: u64, at: u64) -> Result<Chunk, Bad> {
        let rest = size - at;
        let (length, stated) = if rest > CHUNK { (CHUNK, CHUNK) } else { (rest, 0) };
        if line.chunk_offset != at || line.chunk_size != stated {
            return Err("a chunk of another size than one MiB".into());
        }
        let digest = |sum: Option<Sum>| sum.and_then(|sum| sum.0);
        let (Some(offset), Some(content), Some(member)) =
            (line.offset, digest(line.chunk_digest), digest(line.member_digest))
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
        if self.end > self.most {
            let what = "a chunk lies beyond the table of contents";
            return Err(Bad::Refused(ArchiveError::corrupt(self.most, what)));
        }
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
        let is_whole =
            self.last.as_ref().is_none_or(|last| last.size.div_ceil(CHUNK) == last.chunks);
        if is_whole { Ok(()) } else { Err("a file lacks a chunk") }
    }
}

fn has_chunk(line: &Line<'_>) -> bool {
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
    let number = |from: usize, to: usize| {
        let digits = text.get(from..to)?;
        let is_plain = digits.bytes().all(|digit| digit.is_ascii_digit());
        digits.parse::<u32>().ok().filter(|_| is_plain)
    };
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'Z')];
    if text.len() != 20 || marks.iter().any(|(at, mark)| text.as_bytes().get(*at) != Some(mark)) {
        return None;
    }
    let year = number(0, 4)?.try_into().ok()?;
    let day = NaiveDate::from_ymd_opt(year, number(5, 7)?, number(8, 10)?)?;
    let at = day.and_hms_opt(number(11, 13)?, number(14, 16)?, number(17, 19)?)?;
    let seconds = at.and_utc().timestamp();
    (super::entry::clamp_time(seconds) == seconds).then_some(seconds)
}

pub(super) fn as_u64(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
