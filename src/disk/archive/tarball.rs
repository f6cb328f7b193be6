//! What does one tar header say, and is it one that an honest writer produces?
//!
//! Strict on purpose: two tar parsers that read one archive differently are how content turns into
//! files. One dialect (ustar with local PAX records), every field checked, nothing guessed.

use std::io::{self, Read};

use super::entry::{clamp_time, is_target};
use super::{ArchiveError, Entry, EntryName, Limits, Node};

/// Everything in a tar is a multiple of this.
pub(super) const BLOCK: usize = 512;
/// Largest value of an octal field of eleven digits: times beyond need PAX.
pub(super) const OCTAL_11: u64 = 0o777_7777_7777;
/// Largest size: the field's twelfth digit, where POSIX has a terminator, is read by GNU tar, bsdtar and
/// Python as it is meant, and a file of 8 GiB need not be left out.
pub(crate) const LARGEST_FILE: u64 = 0o7777_7777_7777;

/// The bytes that announce an entry: a PAX header where ustar's fields are too small, then the header.
pub(super) fn header(entry: &Entry) -> Vec<u8> {
    let (kind, mut path, link) = match &entry.node {
        Node::Dir => (b'5', format!("{}/", entry.name), ""),
        Node::File { .. } => (b'0', entry.name.to_string(), ""),
        Node::Symlink { target } => (b'2', entry.name.to_string(), target.as_str()),
    };
    let modified = u64::try_from(clamp_time(entry.modified)).unwrap_or(0);

    let mut records = Vec::new();
    if path.len() > 100 || !path.is_ascii() {
        record(&mut records, "path", &path);
        path = path.chars().map(|c| if c.is_ascii() { c } else { '?' }).take(100).collect();
    }
    if link.len() > 100 || !link.is_ascii() {
        record(&mut records, "linkpath", link);
    }
    if modified > OCTAL_11 {
        record(&mut records, "mtime", &modified.to_string());
    }

    let mut bytes = Vec::with_capacity(BLOCK);
    if !records.is_empty() {
        let size = u64::try_from(records.len()).unwrap_or(u64::MAX);
        bytes.extend(ustar("././@PaxHeader", 0o600, size, 0, b'x', ""));
        bytes.append(&mut records);
        pad(&mut bytes);
    }
    let link: String = link.chars().map(|c| if c.is_ascii() { c } else { '?' }).take(100).collect();
    bytes.extend(ustar(&path, entry.mode, entry.size(), modified.min(OCTAL_11), kind, &link));
    bytes
}

/// Fills the last block with zeros.
pub(super) fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
}

/// How many zeros follow content of `size` bytes.
pub(super) fn padding(size: u64) -> u64 {
    (512 - size % 512) % 512
}

fn record(records: &mut Vec<u8>, key: &str, value: &str) {
    // The length counts its own digits.
    let rest = key.len() + value.len() + 3;
    let mut length = rest + rest.to_string().len();
    if length.to_string().len() > rest.to_string().len() {
        length += 1;
    }
    records.extend(format!("{length} {key}={value}\n").bytes());
}

fn ustar(path: &str, mode: u32, size: u64, modified: u64, kind: u8, link: &str) -> Vec<u8> {
    let mut block = Vec::with_capacity(BLOCK);
    let mut text = |text: &str, width: usize| {
        let end = block.len() + width;
        block.extend(text.bytes().take(width));
        block.resize(end, 0);
    };
    text(path, 100);
    text(&format!("{:07o}", mode & 0o777), 8);
    text("0000000", 8);
    text("0000000", 8);
    text(&format!("{size:011o}"), 12);
    text(&format!("{modified:011o}"), 12);
    text("        ", 8);
    block.push(kind);
    let mut text = |text: &str, width: usize| {
        let end = block.len() + width;
        block.extend(text.bytes().take(width));
        block.resize(end, 0);
    };
    text(link, 100);
    text("ustar\x0000", 8);
    text("", 64);
    text("0000000", 8);
    text("0000000", 8);
    text("", 167);
    let sum: u32 = block.iter().copied().map(u32::from).sum();
    let digits = format!("{sum:06o}\0 ");
    block.splice(148..156, digits.bytes());
    block
}

/// What comes next in a tar stream.
#[derive(Debug)]
pub(super) enum Item {
    /// An entry; its content, if any, follows in the stream.
    Entry(Entry),
    /// A hard link: a file, sized as nothing here, with the content of an entry before it.
    Same {
        /// The file.
        entry: Entry,
        /// What it is another name of.
        of: EntryName,
    },
    /// The two zero blocks that end a tar.
    EndMarker,
    /// The input ended at the boundary of an entry.
    EndOfInput,
}

/// Reads headers from a stream; whoever uses it takes the content from [`Headers::input`] in between.
pub(super) struct Headers<'a, R> {
    /// The stream.
    pub(super) input: R,
    limits: &'a Limits,
}

/// Why a header was not accepted; the caller knows the offset.
#[derive(Debug)]
pub(super) enum BadHeader {
    /// The stream failed or ended early.
    Io(io::Error),
    /// Damaged, by its own checksum or shape.
    Damaged(&'static str),
    /// Well-formed but refused.
    Refused(ArchiveError),
}

impl From<io::Error> for BadHeader {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl BadHeader {
    /// The error as the rest of the room knows it; an early end is damage at `offset`.
    pub(super) fn at(self, offset: u64) -> ArchiveError {
        match self {
            Self::Io(error) => stream_error(error, offset),
            Self::Damaged(what) => ArchiveError::corrupt(offset, what),
            Self::Refused(error) => error,
        }
    }
}

/// Tells damage of a stream from trouble with the disk.
pub(super) fn stream_error(error: io::Error, offset: u64) -> ArchiveError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => ArchiveError::corrupt(offset, "it ends too early"),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            ArchiveError::corrupt(offset, "the compressed data is damaged")
        }
        _ => ArchiveError::reading(error),
    }
}

fn refuse(what: impl Into<String>) -> BadHeader {
    BadHeader::Refused(ArchiveError::hostile(what))
}

impl<'a, R: Read> Headers<'a, R> {
    pub(super) fn new(input: R, limits: &'a Limits) -> Self {
        Self { input, limits }
    }

    /// The next entry with its PAX records applied.
    pub(super) fn next(&mut self) -> Result<Item, BadHeader> {
        let Some(mut block) = self.block()? else { return Ok(Item::EndOfInput) };
        if block.iter().all(|b| *b == 0) {
            return match self.block()? {
                Some(second) if second.iter().all(|b| *b == 0) => Ok(Item::EndMarker),
                Some(_) => Err(refuse("a tar entry follows a zero block")),
                None => Err(BadHeader::Damaged("half a tar end marker")),
            };
        }
        let mut header = Header::parse(&block)?;
        let mut records = Records::default();
        if header.kind == b'x' {
            records = self.records(header.size)?;
            block = self.block()?.ok_or(BadHeader::Damaged("a PAX header without an entry"))?;
            if block.iter().all(|b| *b == 0) {
                return Err(refuse("a PAX header without an entry"));
            }
            header = Header::parse(&block)?;
        }
        item(header, records)
    }

    fn records(&mut self, size: u64) -> Result<Records, BadHeader> {
        if size > self.limits.pax_header {
            let limit = self.limits.pax_header;
            let what = "bytes of a PAX header";
            return Err(BadHeader::Refused(ArchiveError::TooMuch { what, found: size, limit }));
        }
        let mut bytes = Vec::new();
        let whole = size.saturating_add(padding(size));
        (&mut self.input).take(whole).read_to_end(&mut bytes)?;
        if u64::try_from(bytes.len()) != Ok(whole) {
            return Err(BadHeader::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let rest = bytes.split_off(size.min(bytes.len()));
        if rest.iter().any(|b| *b != 0) {
            return Err(refuse("something hides behind a PAX header"));
        }
        Records::parse(&bytes).map_err(refuse)
    }

    /// One block; none if the stream ended before its first byte.
    fn block(&mut self) -> io::Result<Option<[u8; BLOCK]>> {
        let mut bytes = Vec::with_capacity(BLOCK);
        (&mut self.input).take(512).read_to_end(&mut bytes)?;
        match <[u8; BLOCK]>::try_from(bytes) {
            Ok(block) => Ok(Some(block)),
            Err(bytes) if bytes.is_empty() => Ok(None),
            Err(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

#[derive(Debug)]
struct Header {
    path: Vec<u8>,
    mode: u64,
    size: u64,
    modified: u64,
    kind: u8,
    link: Vec<u8>,
}

impl Header {
    fn parse(block: &[u8; BLOCK]) -> Result<Self, BadHeader> {
        let field =
            |start: usize, width: usize| block.get(start..start + width).unwrap_or_default();
        let sum =
            octal(field(148, 8)).ok_or(BadHeader::Damaged("a tar checksum is not a number"))?;
        let unsigned: u64 = block.iter().copied().map(u64::from).sum();
        let own: u64 = field(148, 8).iter().copied().map(u64::from).sum();
        if unsigned - own + 8 * 32 != sum {
            return Err(BadHeader::Damaged("a tar header does not match its checksum"));
        }
        if field(257, 8) != b"ustar\x0000" {
            return Err(refuse("a tar header of another dialect than ustar"));
        }
        let number = |start, width, what: &str| {
            octal(field(start, width))
                .ok_or_else(|| refuse(format!("{what} is not an octal number")))
        };
        let string = |start, width| {
            text(field(start, width)).ok_or_else(|| refuse("bytes hide behind a name"))
        };
        for (start, width) in [(108, 8), (116, 8)] {
            number(start, width, "an owner")?;
        }
        for start in [329, 337] {
            if field(start, 8).iter().any(|b| *b != 0) {
                number(start, 8, "a device")?;
            }
        }
        string(265, 32)?;
        string(297, 32)?;
        if field(500, 12).iter().any(|b| *b != 0) {
            return Err(refuse("bytes hide behind a tar header"));
        }
        let mut path = string(345, 155)?;
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend(string(0, 100)?);
        let link = string(157, 100)?;
        let [.., kind, _] = *block.first_chunk::<158>().ok_or(BadHeader::Damaged("short"))?;
        Ok(Self {
            path,
            mode: number(100, 8, "a mode")?,
            size: number(124, 12, "a size")?,
            modified: number(136, 12, "a time")?,
            kind,
            link,
        })
    }
}

/// Digits, then only NULs and spaces; at least one digit.
fn octal(field: &[u8]) -> Option<u64> {
    let end = field.iter().position(|b| !(b'0'..=b'7').contains(b)).unwrap_or(field.len());
    let (digits, rest) = field.split_at_checked(end)?;
    if digits.is_empty() || rest.iter().any(|b| !matches!(b, 0 | b' ')) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

/// Text up to the first NUL, with nothing but NULs behind it.
fn text(field: &[u8]) -> Option<Vec<u8>> {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    let (text, rest) = field.split_at_checked(end)?;
    rest.iter().all(|b| *b == 0).then(|| text.to_vec())
}

/// What a PAX header overrides.
#[derive(Debug, Default)]
struct Records {
    path: Option<String>,
    linkpath: Option<String>,
    modified: Option<i64>,
    size: Option<u64>,
}

impl Records {
    fn parse(mut bytes: &[u8]) -> Result<Self, String> {
        let mut records = Self::default();
        let mut seen: Vec<&str> = Vec::new();
        if bytes.is_empty() {
            return Err("an empty PAX header".to_owned());
        }
        while !bytes.is_empty() {
            let (key, value, rest) =
                one_record(bytes).ok_or("a PAX record is not `LENGTH KEY=VALUE`")?;
            if seen.contains(&key) {
                return Err(format!("the PAX record {key} is there twice"));
            }
            let fits = match key {
                "path" => {
                    records.path = Some(value.to_owned());
                    true
                }
                "linkpath" => {
                    records.linkpath = Some(value.to_owned());
                    true
                }
                "mtime" => {
                    records.modified = whole_seconds(value);
                    records.modified.is_some()
                }
                "size" => {
                    records.size = decimal(value);
                    records.size.is_some()
                }
                "atime" | "ctime" => whole_seconds(value).is_some(),
                "uid" | "gid" => decimal(value).is_some(),
                "uname" | "gname" => true,
                // The key may be anything, so it is not repeated.
                _ => return Err("a PAX record of a kind that is not accepted".to_owned()),
            };
            if !fits {
                return Err(format!("the PAX record {key} is not a number"));
            }
            seen.push(key);
            bytes = rest;
        }
        Ok(records)
    }
}

fn one_record(bytes: &[u8]) -> Option<(&str, &str, &[u8])> {
    let space = bytes.iter().take(8).position(|b| *b == b' ')?;
    let length = usize::try_from(decimal(std::str::from_utf8(bytes.get(..space)?).ok()?)?).ok()?;
    let (record, rest) = bytes.split_at_checked(length)?;
    let pair = std::str::from_utf8(record.get(space + 1..)?).ok()?.strip_suffix('\n')?;
    let (key, value) = pair.split_once('=')?;
    (!value.contains('\0')).then_some((key, value, rest))
}

/// Decimal digits without sign or leading zero.
fn decimal(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

/// Seconds, possibly negative and with a fraction, rounded towards the past and kept within 1970..=9999.
fn whole_seconds(text: &str) -> Option<i64> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    Some(clamp_time(sign * whole.parse::<i64>().ok()?))
}

/// What an entry of this type is, unless it is a file, a hard link, a link or a directory.
fn unwanted(kind: u8) -> Option<&'static str> {
    Some(match kind {
        b'0' | b'1' | b'2' | b'5' => return None,
        b'3' | b'4' => "a device",
        b'6' => "a named pipe",
        b'g' => "a global PAX header",
        b'x' => "a PAX header after a PAX header",
        b'L' | b'K' => "a GNU long name",
        b'S' => "a GNU sparse file",
        _ => "a tar entry of an unknown type",
    })
}

fn item(header: Header, records: Records) -> Result<Item, BadHeader> {
    if records.size.is_some_and(|size| size != header.size) {
        return Err(refuse("a PAX size and a tar header disagree"));
    }
    let utf8 = |bytes| String::from_utf8(bytes).map_err(|_| refuse("a name is not UTF-8"));
    let mut path = match records.path {
        Some(path) => path,
        None => utf8(header.path)?,
    };
    let link = match records.linkpath {
        Some(link) => link,
        None => utf8(header.link)?,
    };
    if header.kind == b'5' && path.ends_with('/') {
        path.pop();
    }
    let name = EntryName::try_from(path);
    if let Some(what) = unwanted(header.kind) {
        // What is an extension of another program has a name that is none.
        return Err(refuse(match name {
            Ok(name) => format!("{name} is {what}"),
            Err(_) => what.to_owned(),
        }));
    }
    let name = name.map_err(|error| BadHeader::Refused(error.into()))?;
    let node = match header.kind {
        b'5' => Node::Dir,
        b'2' if is_target(&link) => Node::Symlink { target: link.clone() },
        b'2' => return Err(BadHeader::Refused(ArchiveError::InvalidTarget { name })),
        _ => Node::File { size: header.size },
    };
    if header.size != 0 && header.kind != b'0' {
        return Err(refuse(format!("{name} has a size but is no file")));
    }
    if !link.is_empty() && !matches!(header.kind, b'1' | b'2') {
        return Err(refuse(format!("{name} has a target but is no link")));
    }
    let modified = match records.modified {
        Some(modified) => modified,
        None => clamp_time(i64::try_from(header.modified).unwrap_or(i64::MAX)),
    };
    // Only a folder may have more: the bit that makes what is in it the group's is inherited.
    let most = if header.kind == b'5' { 0o7777 } else { 0o777 };
    let mode = u32::try_from(header.mode).ok().filter(|mode| *mode <= most);
    let mode = mode.ok_or_else(|| refuse(format!("{name} has a mode beyond permissions")))?;
    let entry = Entry { name, node, mode, modified };
    if header.kind != b'1' {
        return Ok(Item::Entry(entry));
    }
    let of = EntryName::try_from(link).map_err(|error| BadHeader::Refused(error.into()))?;
    Ok(Item::Same { entry, of })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_many_gigabytes_is_sized_as_other_tars_read_it() {
        for size in [0, OCTAL_11, OCTAL_11 + 1, 11 << 30, LARGEST_FILE] {
            let name: EntryName = "logs_2.sqlite".parse().unwrap();
            let entry = Entry { name, node: Node::File { size }, mode: 0o600, modified: 0 };
            let bytes = header(&entry);
            let limits = Limits::default();
            match Headers::new(bytes.as_slice(), &limits).next() {
                Ok(Item::Entry(read)) => assert_eq!(read, entry),
                other => panic!("{other:?}"),
            }
            let foreign = tar::Header::from_byte_slice(&bytes);
            assert_eq!(foreign.entry_size().unwrap(), size);
        }
    }
}
