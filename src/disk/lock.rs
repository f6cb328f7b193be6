//! Who may write now?
//!
//! One file that is locked, never deleted: the kernel lets go of it when its holder dies, so no
//! lock is ever broken by its age. What stands in the file only helps to name the holder.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::error::{At, DiskError};
use super::sys::Output;
use super::{read, sys};

/// How long to rest between two tries.
const POLL: Duration = Duration::from_millis(50);

/// More of a holder's words than this is neither written nor read, in bytes.
const HOLDER_CAP: usize = 200;

/// Alone, or together with others that only look.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// For a stable view: any number of these, and no [`Mode::Exclusive`].
    Shared,
    /// For changes: nobody else at all.
    Exclusive,
}

/// A lock that is held until this value is dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
    mode: Mode,
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else held it the whole time.
    #[error("{} is held by {}", path.display(), holder.as_deref().unwrap_or("another process"))]
    Held {
        /// The lock file.
        path: PathBuf,
        /// What the holder wrote about itself (`pid 4242: restore`), if it still lives.
        holder: Option<String>,
    },
    /// This file system has no locks: look if you must, but do not write.
    #[error("the file system of {} does not support locks", path.display())]
    Unsupported {
        /// The lock file.
        path: PathBuf,
    },
    /// The lock file itself could not be opened or created.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl LockError {
    /// What a person can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Held { .. } => Some("wait until it is done, then try again".to_owned()),
            Self::Unsupported { .. } => {
                Some("keep this folder on a local file system, then try again".to_owned())
            }
            Self::Disk(error) => error.hint(),
        }
    }
}

impl Lock {
    /// Takes the lock at `path`, creating the file (0600) if need be; waits up to `timeout`.
    ///
    /// At least one try is made, whatever the time limit. `holder` says what the process is
    /// about to do; an exclusive holder's words, with its process id, are what others see.
    ///
    /// # Errors
    ///
    /// [`LockError::Held`] when the time is up, [`LockError::Unsupported`] where there are no
    /// locks, [`LockError::Disk`] when the file cannot be opened.
    pub fn acquire(
        path: &Path,
        mode: Mode,
        timeout: Duration,
        holder: &str,
    ) -> Result<Self, LockError> {
        let began = Instant::now();
        loop {
            match attempt(path, mode)? {
                Some(file) => {
                    let mut lock = Self { file, mode };
                    lock.introduce(holder);
                    return Ok(lock);
                }
                None if timeout <= began.elapsed() => {
                    return Err(LockError::Held { path: path.to_owned(), holder: holder_of(path) });
                }
                None => std::thread::sleep(POLL.min(timeout.saturating_sub(began.elapsed()))),
            }
        }
    }

    /// Writes who holds the lock. That is a courtesy: a full disk must not stop the one who
    /// may be about to make room on it.
    fn introduce(&mut self, holder: &str) {
        if self.mode == Mode::Exclusive {
            let words = one_line(&format!("pid {}: {holder}", std::process::id()));
            let _courtesy = sys::set_len(&self.file, 0)
                .and_then(|()| Output(&self.file).write_all(words.as_bytes()));
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.mode == Mode::Exclusive {
            let _courtesy = sys::set_len(&self.file, 0);
        }
        // Closing the file lets go of the lock.
    }
}

/// One try: the locked file, or `None` if somebody holds it.
fn attempt(path: &Path, mode: Mode) -> Result<Option<File>, LockError> {
    loop {
        let file = open(path, mode)?;
        let tried = match mode {
            Mode::Shared => file.try_lock_shared(),
            Mode::Exclusive => file.try_lock(),
        };
        match tried {
            Ok(()) if is_at(&file, path)? => return Ok(Some(file)),
            // The file lost its name between opening and locking: lock the one that has it.
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
            Err(std::fs::TryLockError::Error(error)) if sys::lock_is_unsupported(&error) => {
                return Err(LockError::Unsupported { path: path.to_owned() });
            }
            Err(std::fs::TryLockError::Error(error)) => {
                return Err(DiskError::new("lock", path, error).into());
            }
        }
    }
}

fn open(path: &Path, mode: Mode) -> Result<File, LockError> {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    let opened = match sys::open_or_create(path) {
        // Who only looks may do so in a store that cannot be written.
        Err(error)
            if mode == Mode::Shared
                && matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem) =>
        {
            sys::open_read(path)
        }
        other => other,
    };
    Ok(read::regular(opened).at("lock", path)?)
}

/// Whether the open file is still what `path` names.
fn is_at(file: &File, path: &Path) -> Result<bool, LockError> {
    let held = file.metadata().at("lock", path)?;
    match std::fs::symlink_metadata(path) {
        Ok(named) => {
            let (held, named) = (sys::facts(&held), sys::facts(&named));
            Ok((held.device, held.inode) == (named.device, named.inode))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(DiskError::new("lock", path, error).into()),
    }
}

/// What the holder says about itself; nothing if that process is gone, for then somebody else
/// holds the lock who left no words (a reader).
fn holder_of(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    let cap = u64::try_from(HOLDER_CAP).ok()?;
    sys::open_read(path).ok()?.take(cap).read_to_end(&mut bytes).ok()?;
    let words = one_line(&String::from_utf8_lossy(&bytes));
    let pid = words.strip_prefix("pid ")?.split(':').next()?.parse().ok()?;
    sys::is_alive(pid).then_some(words)
}

/// The first line of some words, cut to size, with nothing in it that a terminal would obey.
fn one_line(words: &str) -> String {
    let mut line = String::new();
    for c in words.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()) {
        if line.len() + c.len_utf8() > HOLDER_CAP {
            break;
        }
        line.push(c);
    }
    line
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const SHORT: Duration = Duration::from_millis(120);

    fn place() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        (dir, path)
    }

    #[test]
    #[rustfmt::skip]
    fn readers_share_and_a_writer_is_alone() {
        check(Mode::Shared,    Mode::Shared,    true);
        check(Mode::Shared,    Mode::Exclusive, false);
        check(Mode::Exclusive, Mode::Shared,    false);
        check(Mode::Exclusive, Mode::Exclusive, false);
    }

    #[track_caller]
    fn check(first: Mode, second: Mode, together: bool) {
        let (_dir, path) = place();
        let held = Lock::acquire(&path, first, SHORT, "restore").unwrap();
        let began = Instant::now();
        let tried = Lock::acquire(&path, second, SHORT, "prune");
        assert_eq!(tried.is_ok(), together);
        if !together {
            assert!(SHORT <= began.elapsed(), "gave up after {:?}", began.elapsed());
            let expected = match first {
                Mode::Exclusive => format!("pid {}: restore", std::process::id()),
                Mode::Shared => "another process".to_owned(),
            };
            let said = tried.unwrap_err().to_string();
            assert_eq!(said, format!("{} is held by {expected}", path.display()));
        }
        drop(held);
        Lock::acquire(&path, second, Duration::ZERO, "prune").unwrap();
    }

    #[test]
    fn who_waits_gets_it_when_the_holder_lets_go() {
        let (_dir, path) = place();
        let held = Lock::acquire(&path, Mode::Exclusive, SHORT, "first").unwrap();
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                Lock::acquire(&path, Mode::Exclusive, Duration::from_secs(20), "second").map(drop)
            });
            std::thread::sleep(SHORT);
            assert!(!other.is_finished());
            drop(held);
            other.join().unwrap().unwrap();
        });
    }

    #[test]
    fn the_words_of_a_dead_holder_are_not_repeated() {
        let (_dir, path) = place();
        // No process has this id: it is above what any system gives out.
        fs::write(&path, "pid 2147483000: restore").unwrap();
        let _reader = Lock::acquire(&path, Mode::Shared, SHORT, "list").unwrap();
        let error = Lock::acquire(&path, Mode::Exclusive, Duration::ZERO, "prune").unwrap_err();
        assert!(matches!(error, LockError::Held { holder: None, .. }), "{error:?}");
    }

    #[test]
    fn the_words_of_a_holder_are_one_line_that_does_nothing() {
        assert_eq!(one_line("pid 1: a\u{1b}[31m\u{9b}b\nc"), "pid 1: a[31mb");
        assert_eq!(one_line(&"ä".repeat(500)).len(), HOLDER_CAP);
        assert_eq!(one_line(""), "");
    }

    #[test]
    fn a_lock_that_is_let_go_leaves_an_empty_file() {
        let (_dir, path) = place();
        drop(Lock::acquire(&path, Mode::Exclusive, SHORT, "restore").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"");
    }

    #[test]
    #[cfg(unix)]
    fn a_file_that_lost_its_name_is_not_the_lock() {
        let (_dir, path) = place();
        let held = Lock::acquire(&path, Mode::Exclusive, SHORT, "first").unwrap();
        assert!(is_at(&held.file, &path).unwrap());
        fs::remove_file(&path).unwrap();
        assert!(!is_at(&held.file, &path).unwrap());
        fs::write(&path, "").unwrap();
        assert!(!is_at(&held.file, &path).unwrap());
        let other = Lock::acquire(&path, Mode::Exclusive, SHORT, "second").unwrap();
        assert!(is_at(&other.file, &path).unwrap());
    }

    #[test]
    #[cfg(unix)]
    fn a_link_or_a_folder_is_not_locked() {
        let (dir, path) = place();
        std::os::unix::fs::symlink("elsewhere", &path).unwrap();
        let error = Lock::acquire(&path, Mode::Exclusive, SHORT, "x").unwrap_err();
        assert!(error.to_string().ends_with("it is a symbolic link"), "{error}");
        assert!(!dir.path().join("elsewhere").exists());
        assert!(Lock::acquire(dir.path(), Mode::Exclusive, SHORT, "x").is_err());
    }

    #[test]
    fn a_holder_that_is_killed_holds_nothing() {
        const PLACE: &str = "DISK_LOCK_TEST_PLACE";
        let name = "disk::lock::tests::a_holder_that_is_killed_holds_nothing";
        if let Some(path) = std::env::var_os(PLACE).map(PathBuf::from) {
            let _held = Lock::acquire(&path, Mode::Exclusive, SHORT, "other").unwrap();
            std::thread::sleep(Duration::from_secs(60));
            return;
        }
        let (_dir, path) = place();
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env(PLACE, &path)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let words = format!("pid {}: other", child.id());
        let began = Instant::now();
        while fs::read(&path).unwrap_or_default() != words.as_bytes() {
            assert!(began.elapsed() < Duration::from_secs(30), "it never took the lock");
            std::thread::sleep(Duration::from_millis(5));
        }
        let error = Lock::acquire(&path, Mode::Exclusive, Duration::ZERO, "us").unwrap_err();
        assert!(matches!(error, LockError::Held { holder: Some(h), .. } if h == words));
        child.kill().unwrap();
        child.wait().unwrap();
        Lock::acquire(&path, Mode::Exclusive, Duration::ZERO, "us").unwrap();
    }
}
