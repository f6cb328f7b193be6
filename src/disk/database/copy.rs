//! How is a database copied while others write to it, without a trace at the source?
//!
//! Three situations, told apart by what lies beside the file:
//!
//! * The write-ahead log and its index are there: somebody has it open. SQLite reads through the
//!   existing index (`readonly_shm`), which needs no new file. While we look, a record lock keeps
//!   the last writer from clearing both away, for SQLite would then create them anew.
//! * Nothing but the file itself: its bytes are all there is, and are read as they lie
//!   (`immutable`). Size, number and times before and after tell whether that was true.
//! * A log or journal nobody has open, left by a process that died: replaying it means writing,
//!   so that is done to a private copy, taken under the same before and after.
//!
//! Whatever the way, SQLite's backup interface writes the result page by page.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rusqlite::OpenFlags;
use rusqlite::backup::{Backup, StepResult};

use super::error::{self, DatabaseError};
use super::{Header, beside, changing, check, header, open};
use crate::disk::error::{At, DiskError};
use crate::disk::facts::Facts;
use crate::disk::sys::{self, Output};
use crate::disk::{read, replace, tree};

/// How long to keep trying when others are quicker.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long SQLite waits for a lock within one try, and how long it rests in between: SQLite's
/// own pauses grow to a tenth of a second, and miss the gaps that a steady writer leaves.
const BUSY: Duration = Duration::from_secs(5);
const REST: Duration = Duration::from_millis(1);

/// Pages that are copied in one step; a page has 64 KiB at most.
const STEP: i32 = 1024;

/// A file changed so shortly ago could change again without its time showing it.
const RACY: Duration = Duration::from_millis(20);

/// What became of a file that begins like a database.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Copied {
    /// The copy is complete and sound.
    Database {
        /// How many pages it has.
        pages: u64,
    },
    /// It is none, whatever its first bytes say: there is no copy.
    NotADatabase,
}

/// Copies the database `source`, as it was at one instant, to the new file `dest` (0600).
///
/// `dest` lies in a private folder, which may hold a second copy for a while. Nothing is
/// created, changed or removed beside `source`, nor in it. The same content gives the same
/// bytes. The copy is one file that has been checked; no log or journal belongs to it. It is not
/// synced: whoever wants it to survive a power cut stores its bytes elsewhere. Memory does not
/// grow with the database. (Run by root, SQLite gives a log or journal that it opens
/// to the database's owner, which touches that file's time of change and nothing else.)
///
/// # Errors
///
/// [`DatabaseError::Damaged`] if it is broken, [`DatabaseError::Busy`] if others did not let it
/// be read for ten seconds. There is no `dest` then.
pub fn copy(source: &Path, dest: &Path) -> Result<Copied, DatabaseError> {
    let began = Instant::now();
    drop(sys::create_new(dest).at("write", dest)?);
    let result = attempts(source, dest, began).and_then(|copied| {
        if let Copied::Database { .. } = copied {
            let problems = check(dest)?;
            if !problems.is_empty() {
                return Err(DatabaseError::Damaged { path: source.to_owned(), problems });
            }
        }
        Ok(copied)
    });
    if !matches!(result, Ok(Copied::Database { .. })) {
        replace::remove_file(dest)?;
    }
    result
}

/// What one try came to.
enum Outcome {
    Done(Copied),
    /// Somebody was quicker; look again and start over.
    Again,
}

fn attempts(source: &Path, dest: &Path, began: Instant) -> Result<Copied, DatabaseError> {
    let mut pause = Duration::from_millis(5);
    loop {
        let Some(header) = header(source)? else {
            return Ok(Copied::NotADatabase);
        };
        match attempt(source, dest, header)? {
            Outcome::Done(copied) => return Ok(copied),
            Outcome::Again if PATIENCE <= began.elapsed() => {
                return Err(DatabaseError::Busy { path: source.to_owned() });
            }
            Outcome::Again => std::thread::sleep(pause),
        }
        pause = (pause * 2).min(RACY * 4);
        sys::open_write(dest).and_then(|file| sys::set_len(&file, 0)).at("write", dest)?;
    }
}

fn attempt(source: &Path, dest: &Path, header: Header) -> Result<Outcome, DatabaseError> {
    match shared(source, dest, header)? {
        Some(outcome) => Ok(outcome),
        None => at_rest(source, dest),
    }
}

/// Copies through SQLite's own locks; `None` if that would create files at the source.
fn shared(source: &Path, dest: &Path, header: Header) -> Result<Option<Outcome>, DatabaseError> {
    let logged = header.wal || beside(source, "-wal").exists();
    // Held open until the copy is done: closing it would drop SQLite's locks along with ours.
    let guard = if logged { Some(read::open_regular(source)?) } else { None };
    if let Some(file) = &guard {
        match sys::record_lock_shared(file) {
            Ok(()) => {}
            Err(error) if is_contention(&error) => return Ok(Some(Outcome::Again)),
            Err(error) => return Err(DiskError::new("lock", source, error).into()),
        }
        if !beside(source, "-wal").exists() || !beside(source, "-shm").exists() {
            return Ok(None);
        }
    }
    match backup(source, "mode=ro&readonly_shm=1", dest) {
        Ok(pages) => Ok(Some(Outcome::Done(Copied::Database { pages }))),
        Err(error) if error::needs_writing(&error) => Ok(None),
        Err(error) if error::is_busy(&error) => Ok(Some(Outcome::Again)),
        Err(error) => failed(source, error).map(Some),
    }
}

/// Copies what nobody is writing to, and finds out afterwards whether that was so.
fn at_rest(source: &Path, dest: &Path) -> Result<Outcome, DatabaseError> {
    let before = Surroundings::of(source)?;
    if before.is_racy() {
        return Ok(Outcome::Again);
    }
    let result = if before.has_leftovers() {
        replayed(source, dest, &before)
    } else {
        Ok(backup(source, "mode=ro&immutable=1", dest))
    };
    // What was read while it changed may look broken: that is not an answer yet.
    if Surroundings::of(source)? != before {
        return Ok(Outcome::Again);
    }
    match result? {
        Ok(pages) => Ok(Outcome::Done(Copied::Database { pages })),
        Err(error) => failed(source, error),
    }
}

/// Lets SQLite work off a log or journal in a private copy, and copies that.
fn replayed(
    source: &Path,
    dest: &Path,
    found: &Surroundings,
) -> Result<rusqlite::Result<u64>, DatabaseError> {
    let private = Scratch(tree::staging_dir(dest)?);
    let twin = private.0.join("db");
    let parts = [
        ("", found.database),
        ("-wal", found.log.filter(|log| log.size > 0)),
        ("-journal", found.journal.filter(|journal| journal.size > 0)),
    ];
    for (suffix, facts) in parts {
        if let Some(facts) = facts {
            match copy_bytes(&beside(source, suffix), &beside(&twin, suffix), facts.size) {
                // It vanished: what is compared afterwards tells.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
    }
    Ok(backup(&twin, "mode=rw", dest))
}

/// Copies all pages of one instant to the empty file `dest`, answering how many there are.
fn backup(source: &Path, parameters: &str, dest: &Path) -> rusqlite::Result<u64> {
    let access = if parameters.starts_with("mode=rw") {
        OpenFlags::SQLITE_OPEN_READ_WRITE
    } else {
        OpenFlags::SQLITE_OPEN_READ_ONLY
    };
    let mut from = open(source, parameters, access)?;
    from.busy_handler(Some(wait))?;
    // One transaction around all steps: every page comes from the same instant.
    from.execute_batch("BEGIN; PRAGMA schema_version")?;

    let mut to = open(dest, "mode=rw", OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    // Nobody else knows the new file and it is synced as a whole: no journal, no locks.
    to.execute_batch(
        "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF",
    )?;
    let backup = Backup::new(&from, &mut to)?;
    let began = Instant::now();
    loop {
        changing(dest)?;
        match backup.step(STEP)? {
            StepResult::Done => break,
            StepResult::More => {}
            // Only the first step can meet a lock; SQLite has waited for it already.
            _ if began.elapsed() < BUSY => std::thread::sleep(RACY),
            _ => return Err(busy()),
        }
    }
    Ok(u64::try_from(backup.progress().pagecount).unwrap_or_default())
}

/// What SQLite does when a lock is taken: rest, and try again until the time is up.
fn wait(tries: i32) -> bool {
    let tries = u32::try_from(tries).unwrap_or(u32::MAX);
    std::thread::sleep(REST);
    REST.saturating_mul(tries) < BUSY
}

fn busy() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY), None)
}

/// Sorts an error of the backup: damage, no database at all, or neither.
fn failed(source: &Path, error: rusqlite::Error) -> Result<Outcome, DatabaseError> {
    if error::is_foreign(&error) {
        return Ok(Outcome::Done(Copied::NotADatabase));
    }
    if error::is_damage(&error) {
        let problems = vec![error::message(&error)];
        return Err(DatabaseError::Damaged { path: source.to_owned(), problems });
    }
    Err(DatabaseError::sqlite("copy", source, error))
}

/// A database and what lies beside it, at one look.
#[derive(Debug, Eq, PartialEq)]
struct Surroundings {
    database: Option<Facts>,
    log: Option<Facts>,
    journal: Option<Facts>,
    index: Option<Facts>,
}

impl Surroundings {
    fn of(source: &Path) -> Result<Self, DatabaseError> {
        let look = |suffix| {
            let path = beside(source, suffix);
            let meta = std::fs::symlink_metadata(&path).at("look at", &path);
            Ok::<_, DiskError>(read::absent_is_none(meta)?.map(|meta| sys::facts(&meta)))
        };
        Ok(Self {
            database: look("")?,
            log: look("-wal")?,
            journal: look("-journal")?,
            index: look("-shm")?,
        })
    }

    fn has_leftovers(&self) -> bool {
        [self.log, self.journal].into_iter().flatten().any(|facts| facts.size > 0)
    }

    /// Whether something changed so shortly ago that its time may not tell the next change.
    fn is_racy(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        [self.database, self.log, self.journal].into_iter().flatten().any(|facts| {
            let (seconds, nanos) = facts.modified;
            let at = u64::try_from(seconds).ok().zip(u32::try_from(nanos).ok());
            let at = at.map_or(Duration::ZERO, |(s, ns)| Duration::new(s, ns));
            now.abs_diff(at) < RACY
        })
    }
}

/// A private folder that goes when its work is done.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // If this fails, its name says to everybody that it is litter.
        let _left_behind = replace::remove_tree(&self.0);
    }
}

/// Copies `size` bytes, or as many as there are, in pieces.
fn copy_bytes(from: &Path, to: &Path, size: u64) -> crate::disk::Result<()> {
    let mut source: std::io::Take<File> = read::open_regular(from)?.take(size);
    let copy = sys::create_new(to).at("write", to)?;
    std::io::copy(&mut source, &mut Output(&copy)).at("copy", from)?;
    Ok(())
}

fn is_contention(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{PermissionDenied, WouldBlock};
    matches!(error.kind(), WouldBlock | PermissionDenied)
}
