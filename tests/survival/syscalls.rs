//! What did a system call do, with all its bytes?
//!
//! Reads what `strace` writes with whole strings and descriptors' paths, as [`Event`]s that a
//! [`crate::model::Disk`] can replay. Failed calls are none. A call that changes something and is
//! not known here is an error of the test: a power cut after it could not be told.

use std::path::{Path, PathBuf};

use crate::trace::{CHANGING, Call};

/// What a call did. Descriptors are the process's.
#[derive(Debug)]
pub(crate) enum Event {
    Open {
        descriptor: i64,
        path: PathBuf,
        creates: bool,
        truncates: bool,
        appends: bool,
        mode: u32,
    },
    Close {
        descriptor: i64,
    },
    Duplicate {
        from: i64,
        to: i64,
    },
    /// `lseek`.
    Moved {
        descriptor: i64,
        to: usize,
    },
    Read {
        descriptor: i64,
        count: usize,
    },
    /// Something has this inode number.
    Number {
        path: PathBuf,
        number: u64,
    },
    Write {
        descriptor: i64,
        at: Option<usize>,
        bytes: Vec<u8>,
    },
    Copy {
        from: i64,
        from_at: Option<usize>,
        to: i64,
        to_at: Option<usize>,
        count: usize,
    },
    /// `FICLONE`: the whole content of another file.
    Clone {
        from: i64,
        to: i64,
    },
    Resize {
        descriptor: i64,
        to: usize,
    },
    /// `fallocate`, which never makes shorter.
    Grow {
        descriptor: i64,
        to: usize,
    },
    Folder {
        path: PathBuf,
        mode: u32,
    },
    Link {
        path: PathBuf,
        target: String,
    },
    SecondName {
        from: PathBuf,
        to: PathBuf,
    },
    Remove {
        path: PathBuf,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
        exchange: bool,
    },
    Mode {
        path: PathBuf,
        mode: u32,
    },
    Sync {
        descriptor: i64,
    },
    SyncAll,
}

/// What has to be traced besides [`CHANGING`].
pub(crate) const FOLLOWING: &[&str] = &[
    "close",
    "dup",
    "dup2",
    "dup3",
    "fcntl",
    "fstat",
    "ioctl",
    "lseek",
    "lstat",
    "newfstatat",
    "read",
    "readv",
    "stat",
    "statx",
];

/// What a call did; `None` if it failed, or does not matter.
pub(crate) fn event(call: &Call) -> Option<Event> {
    let arguments = split(&call.arguments);
    let answer: i64 = {
        let digits: String =
            call.answer.chars().take_while(|c| c.is_ascii_digit() || *c == '-').collect();
        digits.parse().ok().filter(|answer| *answer >= 0)?
    };
    let count = usize::try_from(answer).expect("a count is not negative");
    let at = |index: usize| arguments.get(index).map_or("", String::as_str);
    let descriptor = |index: usize| number(at(index));
    let size = |index: usize| usize::try_from(number(at(index))).ok();
    let mode = |index: usize| u32::from_str_radix(at(index), 8).unwrap_or(0);
    let path = |index: usize| text(at(index)).into();
    let beside = |index: usize| relative(at(index), &text(at(index + 1)));
    let pointed = |index: usize| at(index).trim_matches(['[', ']']).parse::<usize>().ok();
    Some(match call.name.as_str() {
        "open" | "creat" => opened(&call.answer, answer, at(1), mode(2)),
        "openat" => opened(&call.answer, answer, at(2), mode(3)),
        "close" => Event::Close { descriptor: descriptor(0) },
        "dup" | "dup2" | "dup3" => Event::Duplicate { from: descriptor(0), to: answer },
        "fcntl" if at(1).starts_with("F_DUPFD") => {
            Event::Duplicate { from: descriptor(0), to: answer }
        }
        "fcntl" => return None,
        "lseek" => Event::Moved { descriptor: descriptor(0), to: count },
        "read" | "readv" => Event::Read { descriptor: descriptor(0), count },
        "statx" => Event::Number { path: beside(0), number: field(&call.arguments, "stx_ino=")? },
        "newfstatat" => {
            Event::Number { path: beside(0), number: field(&call.arguments, "st_ino=")? }
        }
        "stat" | "lstat" => {
            Event::Number { path: path(0), number: field(&call.arguments, "st_ino=")? }
        }
        "fstat" => {
            Event::Number { path: annotated(at(0))?, number: field(&call.arguments, "st_ino=")? }
        }
        "write" => Event::Write { descriptor: descriptor(0), at: None, bytes: bytes(at(1), count) },
        "writev" => {
            Event::Write { descriptor: descriptor(0), at: None, bytes: vector(at(1), count) }
        }
        "pwrite64" => {
            Event::Write { descriptor: descriptor(0), at: size(3), bytes: bytes(at(1), count) }
        }
        "copy_file_range" => Event::Copy {
            from: descriptor(0),
            from_at: pointed(1),
            to: descriptor(2),
            to_at: pointed(3),
            count,
        },
        "sendfile" => Event::Copy {
            from: descriptor(1),
            from_at: pointed(2).map(|end| end - count),
            to: descriptor(0),
            to_at: None,
            count,
        },
        "ioctl" if at(1).contains("FICLONE") && !at(1).contains("RANGE") => {
            Event::Clone { from: descriptor(2), to: descriptor(0) }
        }
        "ioctl" => return None,
        "ftruncate" => Event::Resize { descriptor: descriptor(0), to: size(1)? },
        "fallocate" if at(1).contains("KEEP_SIZE") => return None,
        "fallocate" if at(1) == "0" => {
            Event::Grow { descriptor: descriptor(0), to: size(2)? + size(3)? }
        }
        "mkdir" => Event::Folder { path: path(0), mode: mode(1) },
        "mkdirat" => Event::Folder { path: beside(0), mode: mode(2) },
        "symlink" => Event::Link { path: path(1), target: text(at(0)) },
        "symlinkat" => Event::Link { path: beside(1), target: text(at(0)) },
        "link" => Event::SecondName { from: path(0), to: path(1) },
        "linkat" => Event::SecondName { from: beside(0), to: beside(2) },
        "unlink" | "rmdir" => Event::Remove { path: path(0) },
        "unlinkat" => Event::Remove { path: beside(0) },
        "rename" => Event::Rename { from: path(0), to: path(1), exchange: false },
        "renameat" => Event::Rename { from: beside(0), to: beside(2), exchange: false },
        "renameat2" => Event::Rename {
            from: beside(0),
            to: beside(2),
            exchange: at(4).contains("RENAME_EXCHANGE"),
        },
        "chmod" => Event::Mode { path: path(0), mode: mode(1) },
        "fchmod" => Event::Mode { path: annotated(at(0))?, mode: mode(1) },
        "fchmodat" => Event::Mode { path: beside(0), mode: mode(2) },
        "fsync" | "fdatasync" => Event::Sync { descriptor: descriptor(0) },
        "syncfs" => Event::SyncAll,
        // It begins early and promises nothing.
        "sync_file_range" => return None,
        // Times and owners are not what is compared.
        "utimensat" | "utimes" | "futimesat" | "utime" | "fchown" | "fchownat" | "chown"
        | "lchown" => {
            return None;
        }
        other => {
            assert!(!CHANGING.contains(&other), "what does {other}({}) do?", call.arguments);
            return None;
        }
    })
}

fn opened(answer: &str, descriptor: i64, flags: &str, mode: u32) -> Event {
    Event::Open {
        descriptor,
        path: annotated(answer).unwrap_or_default(),
        creates: flags.contains("O_CREAT"),
        truncates: flags.contains("O_TRUNC"),
        appends: flags.contains("O_APPEND"),
        mode,
    }
}

/// Splits arguments at the commas that are in no string, bracket or path.
fn split(arguments: &str) -> Vec<String> {
    let (mut parts, mut part) = (Vec::new(), String::new());
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for c in arguments.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' | '[' | '{' | '<' => depth += 1,
            ')' | ']' | '}' | '>' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(std::mem::take(&mut part).trim().to_owned());
                continue;
            }
            _ => {}
        }
        part.push(c);
    }
    parts.push(part.trim().to_owned());
    parts
}

/// The number at the beginning of `5</a/path>`.
fn number(argument: &str) -> i64 {
    let digits: String = argument.chars().take_while(|c| c.is_ascii_digit() || *c == '-').collect();
    digits.parse().unwrap_or(-1)
}

/// The path in `5</a/path>`.
fn annotated(argument: &str) -> Option<PathBuf> {
    let (_, rest) = argument.split_once('<')?;
    Some(PathBuf::from(rest.rsplit_once('>')?.0))
}

fn relative(folder: &str, name: &str) -> PathBuf {
    annotated(folder).unwrap_or_default().join(Path::new(name))
}

fn field(arguments: &str, name: &str) -> Option<u64> {
    let (_, rest) = arguments.split_once(name)?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn text(argument: &str) -> String {
    String::from_utf8(string(argument)).expect("paths are text")
}

fn bytes(argument: &str, count: usize) -> Vec<u8> {
    let mut bytes = string(argument);
    assert!(bytes.len() >= count && !argument.ends_with("..."), "strace cut a string short");
    bytes.truncate(count);
    bytes
}

/// All strings of `[{iov_base="…", iov_len=3}, …]`.
fn vector(argument: &str, count: usize) -> Vec<u8> {
    let inner = argument.trim_start_matches('[').trim_end_matches(']');
    let parts = split(inner);
    let pieces = parts.iter().map(|piece| {
        let base = piece.split_once("iov_base=").expect("it is a piece").1;
        string(split(base.trim_end_matches('}')).first().map_or("", String::as_str))
    });
    let mut all: Vec<u8> = pieces.flatten().collect();
    all.truncate(count);
    all
}

/// A string as C writes it, with quotes.
fn string(argument: &str) -> Vec<u8> {
    let inner = argument.trim_end_matches("...");
    let inner = inner.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let mut rest = inner.unwrap_or_default().bytes().peekable();
    let mut found = Vec::new();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            found.push(byte);
            continue;
        }
        match rest.next() {
            Some(b'n') => found.push(b'\n'),
            Some(b't') => found.push(b'\t'),
            Some(b'r') => found.push(b'\r'),
            Some(b'v') => found.push(0x0b),
            Some(b'f') => found.push(0x0c),
            Some(digit @ b'0'..=b'7') => {
                let mut value = u32::from(digit - b'0');
                for _ in 0..2 {
                    let Some(digit) = rest.next_if(|byte| (b'0'..=b'7').contains(byte)) else {
                        break;
                    };
                    value = value * 8 + u32::from(digit - b'0');
                }
                found.push(u8::try_from(value).expect("three octal digits are a byte"));
            }
            Some(other) => found.push(other),
            None => {}
        }
    }
    found
}
