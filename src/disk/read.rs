//! What does a file say, without waiting for a pipe or swallowing a disk?
//!
//! Everything is opened without following a link and without blocking, found to be a regular
//! file after it is open, and read up to a limit. What the bytes mean is the caller's business.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::error::{At, DiskError, NotRegular, Result};
use super::facts::Facts;
use super::sys::{self, Call};

/// How much is looked at in one go while searching for a line's end.
const STEP: u64 = 64 * 1024;

/// No more room than this is made for a file before it is read.
const AT_ONCE: usize = 16 << 20;

/// A file of lines, as far as its lines were whole when it was opened.
#[derive(Debug)]
pub struct Lines {
    /// The open file, at its start.
    pub file: File,
    /// Bytes up to and including the last newline.
    pub len: u64,
    /// Bytes after it: the beginning of a line that somebody may still be writing.
    pub torn: u64,
    /// How it looked when it was opened, before anything of it was read.
    pub facts: Facts,
}

/// Reads a whole file of at most `cap` bytes. The last part of `path` must not be a link.
///
/// # Errors
///
/// When it cannot be opened or read, is not a regular file, or is larger than `cap`; of a file
/// that is too large, not more than `cap` bytes and one are read.
pub fn bounded(path: &Path, cap: u64) -> Result<Vec<u8>> {
    read_up_to(&open_regular(path)?, path, cap)
}

/// Like [`bounded`], but a symbolic link is followed to the regular file it names.
///
/// # Errors
///
/// As [`bounded`].
pub fn bounded_following(path: &Path, cap: u64) -> Result<Vec<u8>> {
    read_up_to(&regular(sys::open_read_following(path)).at("read", path)?, path, cap)
}

/// Like [`bounded`], with `None` for a file that does not exist.
///
/// # Errors
///
/// As [`bounded`], except for what is not there.
pub fn optional(path: &Path, cap: u64) -> Result<Option<Vec<u8>>> {
    absent_is_none(bounded(path, cap))
}

/// What a file holds from byte `from` on; nothing if it is not that long.
///
/// # Errors
///
/// As [`bounded`]: `cap` holds for what is read here.
pub fn bounded_from(path: &Path, from: u64, cap: usize) -> Result<Vec<u8>> {
    let mut file = open_regular(path)?;
    file.seek(SeekFrom::Start(from)).at("read", path)?;
    read_up_to(&file, path, u64::try_from(cap).unwrap_or(u64::MAX))
}

/// The first `length` bytes of a regular file, or as many as there are.
///
/// # Errors
///
/// When it cannot be opened or read, or is not a regular file.
pub fn beginning(path: &Path, length: usize) -> Result<Vec<u8>> {
    let file = open_regular(path)?;
    sys::ask(Call::Read, path).at("read", path)?;
    let mut bytes = Vec::new();
    let length = u64::try_from(length).unwrap_or(u64::MAX);
    file.take(length).read_to_end(&mut bytes).at("read", path)?;
    Ok(bytes)
}

/// Whether two regular files hold the same bytes.
///
/// # Errors
///
/// When one of them cannot be read.
pub fn are_alike(one: &Path, other: &Path) -> Result<bool> {
    let (mut one_file, mut other_file) = (open_regular(one)?, open_regular(other)?);
    loop {
        let (mut here, mut there) = (Vec::new(), Vec::new());
        one_file.by_ref().take(STEP).read_to_end(&mut here).at("read", one)?;
        other_file.by_ref().take(STEP).read_to_end(&mut there).at("read", other)?;
        if here != there || here.is_empty() {
            return Ok(here == there);
        }
    }
}

/// Opens a regular file for reading; a link, pipe, socket or device is an error.
///
/// # Errors
///
/// When it cannot be opened, or is not a regular file.
pub fn open_regular(path: &Path) -> Result<File> {
    regular(sys::open_read(path)).at("read", path)
}

/// Opens a file of lines and finds where its last whole line ends at this moment.
///
/// A writer may append while we read: what is before [`Lines::len`] stays as it is. A file
/// without any newline has no whole line. The caller decides what a torn end is worth.
///
/// # Errors
///
/// As [`open_regular`], and when it cannot be read.
pub fn open_lines(path: &Path) -> Result<Lines> {
    let mut file = open_regular(path)?;
    let facts = Facts::of(&file, path)?;
    let size = facts.size;
    let len = after_last_newline(&mut file, size).at("read", path)?;
    file.rewind().at("read", path)?;
    Ok(Lines { file, len, torn: size.saturating_sub(len), facts })
}

/// The names in a folder, in no order.
///
/// # Errors
///
/// When it is no folder, or cannot be listed.
pub fn names(dir: &Path) -> Result<Vec<OsString>> {
    let entries = sys::read_dir(dir).at("list", dir)?;
    entries.map(|entry| Ok(entry.at("list", dir)?.file_name())).collect()
}

/// Turns "not found" into `None` and leaves every other error.
///
/// # Errors
///
/// Whatever else `result` holds.
pub fn absent_is_none<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads until there is no room or nothing more comes; answers how much came.
///
/// # Errors
///
/// Those of `from`, but for being interrupted.
pub(crate) fn fill(mut from: impl Read, mut room: &mut [u8]) -> io::Result<usize> {
    let mut all = 0;
    while !room.is_empty() {
        match from.read(room) {
            Ok(0) => break,
            Ok(count) => {
                all += count;
                room = room.get_mut(count..).unwrap_or_default();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// Where the last line that ends within the first `size` bytes ends: 0 if none does.
pub(super) fn after_last_newline(file: &mut File, size: u64) -> io::Result<u64> {
    let mut end = size;
    while end > 0 {
        let start = end.saturating_sub(STEP);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.by_ref().take(end - start).read_to_end(&mut bytes)?;
        if let Some(at) = bytes.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + u64::try_from(at).unwrap_or(u64::MAX) + 1);
        }
        end = start;
    }
    Ok(0)
}

fn read_up_to(file: &File, path: &Path, cap: u64) -> Result<Vec<u8>> {
    sys::ask(Call::Read, path).at("read", path)?;
    // With room for what is there and one byte more, it is read in one go.
    let likely = file.metadata().at("read", path)?.len().min(cap).saturating_add(1);
    let mut bytes = Vec::with_capacity(usize::try_from(likely).unwrap_or(0).min(AT_ONCE));
    file.take(cap.saturating_add(1)).read_to_end(&mut bytes).at("read", path)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > cap {
        let what = format!("it is larger than {cap} bytes");
        let source = io::Error::new(io::ErrorKind::FileTooLarge, what);
        return Err(DiskError::new("read", path, source));
    }
    Ok(bytes)
}

/// Passes a regular file on; of anything else only its kind is told.
pub(super) fn regular(opened: io::Result<File>) -> io::Result<File> {
    let file = opened.map_err(sys::explain_open)?;
    let meta = file.metadata()?;
    if meta.is_file() {
        return Ok(file);
    }
    Err(NotRegular::error(sys::kind_of(&meta)))
}

/// The path with its links resolved as far as it exists, so that a link in front of a home is
/// never mistaken for the home. What does not exist yet is no link, so a `..` behind it goes
/// back to where it was.
#[must_use]
pub fn resolved(path: &Path) -> PathBuf {
    let mut found = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir {
            found.pop();
            continue;
        }
        found.push(part);
        if let Ok(real) = found.canonicalize() {
            found = real;
        }
    }
    found
}

/// Whether the file's time is at least `rest` away from the clock's: nobody writes it just now. A
/// time to come is no sign of a writer either. False where that cannot be told.
#[must_use]
pub fn is_settled(path: &Path, rest: Duration) -> bool {
    let written = path.metadata().and_then(|facts| facts.modified());
    written.is_ok_and(|written| {
        let now = SystemTime::now();
        let since = now.duration_since(written).or_else(|_| written.duration_since(now));
        since.is_ok_and(|since| rest < since)
    })
}

/// Whether a file that looked like this had not changed for at least `rest`, by the clock. False of
/// a time to come, and where the system does not tell.
#[must_use]
pub fn is_at_rest(facts: &Facts, rest: Duration) -> bool {
    #[cfg(test)]
    if sys::faults::is_resting() {
        return true;
    }
    let now = SystemTime::now();
    [facts.modified, facts.changed].into_iter().all(|(seconds, nanos)| {
        let since_1970 = u64::try_from(seconds).map(Duration::from_secs);
        let at = since_1970.ok().and_then(|since| UNIX_EPOCH.checked_add(since));
        // The second that was begun counts whole.
        let rest = rest.saturating_add(Duration::from_secs(u64::from(0 < nanos)));
        at.is_some_and(|at| now.duration_since(at).is_ok_and(|since| rest <= since))
    })
}

/// Whether a test plays commands in a weather of its own, where nobody else is: never outside of
/// a test.
pub(crate) fn is_played() -> bool {
    sys::is_played()
}

/// Waits before the next look at a file that somebody may be writing.
pub fn rest(pause: Duration) {
    if !is_played() {
        std::thread::sleep(pause);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_at_rest_if_neither_of_its_times_is_young_or_to_come() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let now = i64::try_from(now).unwrap();
        let (old, young, later) = (now - 60, now - 1, now + 60);
        for (modified, changed, expected) in [
            (old, old, true),
            (0, old, true),
            (young, old, false),
            (old, young, false),
            (later, old, false),
            (old, later, false),
            (-1, old, false),
            (i64::MAX, old, false),
        ] {
            let (modified, changed) = ((modified, 999_999_999), (changed, 0));
            let facts = Facts { device: 1, inode: 1, size: 1, modified, changed };
            assert_eq!(is_at_rest(&facts, Duration::from_secs(2)), expected, "{facts:?}");
        }
    }

    #[test]
    fn a_file_is_read_up_to_its_limit_and_not_a_byte_beyond() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "12345").unwrap();
        assert_eq!(bounded(&path, 5).unwrap(), b"12345");
        assert_eq!(bounded(&path, 6).unwrap(), b"12345");

        let error = bounded(&path, 4).unwrap_err();
        assert!(error.to_string().ends_with("it is larger than 4 bytes"), "{error}");
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn the_beginning_of_a_file_is_all_of_a_short_one() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "12345").unwrap();
        for (length, expected) in [(0, ""), (4, "1234"), (5, "12345"), (9, "12345")] {
            let found = beginning(&dir.path().join("a"), length).unwrap();
            assert_eq!(found, expected.as_bytes());
        }
        assert!(beginning(dir.path(), 9).is_err());
    }

    #[test]
    fn files_are_alike_by_every_byte() {
        let dir = tempfile::tempdir().unwrap();
        let long = "x".repeat(STEP_TWICE);
        for (one, other, expected) in [
            ("", "", true),
            ("a", "", false),
            (long.as_str(), long.as_str(), true),
            (long.as_str(), &format!("{long}y"), false),
            (&format!("{long}z"), &format!("{long}y"), false),
        ] {
            let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
            fs::write(&a, one).unwrap();
            fs::write(&b, other).unwrap();
            assert_eq!(are_alike(&a, &b).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_not_there_is_none_and_what_cannot_be_read_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(optional(&dir.path().join("a"), 9).unwrap(), None);
        assert!(optional(dir.path(), 9).unwrap_err().to_string().contains("it is a folder"));
    }

    #[test]
    #[cfg(unix)]
    fn links_pipes_and_sockets_are_named_and_never_waited_for() {
        use rustix::fs::{FileType, Mode};
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "x").unwrap();
        std::os::unix::fs::symlink("file", at("link")).unwrap();
        std::os::unix::fs::symlink("loop", at("loop")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();

        let said = |name: &str| bounded(&at(name), 9).unwrap_err().to_string();
        assert!(said("link").ends_with("it is a symbolic link"));
        assert!(said("pipe").ends_with("it is a named pipe, not a regular file"));
        assert!(said("socket").ends_with("it is a socket, not a regular file"));
        assert_eq!(bounded_following(&at("link"), 9).unwrap(), b"x");
        assert!(bounded_following(&at("loop"), 9).is_err());
        assert!(bounded_following(&at("pipe"), 9).is_err());
    }

    #[test]
    #[rustfmt::skip]
    fn lines_end_at_the_last_newline() {
        check_lines("",                0,          0);
        check_lines("{}",              0,          2);
        check_lines("{}\n",            3,          0);
        check_lines("{}\n{\"a\":",     3,          5);
        check_lines("\n",              1,          0);
        check_lines(&"x".repeat(STEP_TWICE),                        0,  200_000);
        check_lines(&format!("a\n{}", "x".repeat(STEP_TWICE)),      2,  200_000);
        check_lines(&format!("{}\n", "x".repeat(65_536)),      65_537,  0);
        check_lines(&format!("{}\nx", "x".repeat(65_535)),     65_536,  1);
    }

    const STEP_TWICE: usize = 200_000;

    #[track_caller]
    fn check_lines(content: &str, len: u64, torn: u64) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        fs::write(&path, content).unwrap();
        let mut lines = open_lines(&path).unwrap();
        assert_eq!((lines.len, lines.torn), (len, torn));
        assert_eq!(lines.file.stream_position().unwrap(), 0);
    }

    #[test]
    fn a_file_is_settled_a_while_after_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let (hour, rest) = (Duration::from_secs(3_600), Duration::from_secs(60));
        assert!(!is_settled(&path, rest));
        for (at, expected) in [
            (SystemTime::now() - hour, true),
            (SystemTime::now() + hour, true),
            (SystemTime::now(), false),
        ] {
            File::create(&path).unwrap().set_modified(at).unwrap();
            assert_eq!(is_settled(&path, rest), expected);
        }
    }
}
