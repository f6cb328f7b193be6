//! How is an SQLite database copied, checked and mended?
//!
//! It knows SQLite and nothing of who uses it. [`copy()`] takes a consistent copy while others
//! write and leaves the source as it was; [`check`] asks a copy whether it is sound;
//! [`rebase`] rewrites paths in a copy of ours; [`settle()`] makes one file of a database
//! and its log.
//!
//! SQLite's locks on a file belong to the process and fall when *any* descriptor of that file
//! is closed: no database that this process has open elsewhere may be given to this room.

mod column;
mod copy;
mod error;
mod rewrite;
mod settle;
#[cfg(test)]
#[cfg(unix)]
mod tests;
mod uri;

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

pub use column::texts;
pub use copy::{Copied, copy};
pub use error::DatabaseError;
pub use rewrite::{Rewrite, rebase};
pub use settle::{Settled, settle};

use super::error::At;
use super::read;
use super::sys::{self, Call};

/// What every SQLite 3 database begins with.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Above this size only the quick check is made, in bytes: the full one compares every index
/// with its table and takes minutes on a large database.
const FULL_CHECK_CAP: u64 = 256 << 20;

/// More problems than this are not listed.
const PROBLEM_CAP: usize = 20;

/// Whether a file begins like an SQLite database. An empty file does not, though SQLite would
/// take it for one.
///
/// # Errors
///
/// When it is not a regular file, or cannot be read.
pub fn looks_like_database(path: &Path) -> super::Result<bool> {
    Ok(header(path)?.is_some())
}

/// Asks a database at rest, such as a copy of ours, whether it is sound.
///
/// Answers what is wrong, at most 20 things: none means sound. Nothing is written, and no file
/// appears beside it. Up to 256 MiB the check is complete, above that it is SQLite's quick one.
///
/// # Errors
///
/// When the file cannot be opened, or SQLite gives up on it for a reason other than damage.
pub fn check(path: &Path) -> Result<Vec<String>, DatabaseError> {
    let size = std::fs::metadata(path).at("check", path)?.len();
    let pragma = if size <= FULL_CHECK_CAP { "integrity_check" } else { "quick_check" };
    match problems(path, pragma) {
        Ok(problems) => Ok(problems),
        Err(error) if error::is_damage(&error) || error::is_foreign(&error) => {
            Ok(vec![error::message(&error)])
        }
        Err(source) => Err(DatabaseError::sqlite("check", path, source)),
    }
}

fn problems(path: &Path, pragma: &str) -> rusqlite::Result<Vec<String>> {
    let db = open(path, "mode=ro&immutable=1", OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    db.execute_batch("PRAGMA temp_store = MEMORY")?;
    let mut statement = db.prepare(&format!("PRAGMA {pragma}({PROBLEM_CAP})"))?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
    let mut said = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    said.retain(|line| line != "ok");
    Ok(said)
}

/// What the first bytes of a database say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Header {
    /// Whether changes are kept in a write-ahead log.
    wal: bool,
}

/// Reads the header, `None` if there is none. The file is closed again on return.
fn header(path: &Path) -> super::Result<Option<Header>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let file = read::open_regular(path)?;
    sys::ask(Call::Read, path).at("read", path)?;
    file.take(20).read_to_end(&mut bytes).at("read", path)?;
    let wal = bytes.get(18).zip(bytes.get(19)).is_some_and(|(w, r)| *w == 2 || *r == 2);
    Ok(bytes.starts_with(MAGIC).then_some(Header { wal }))
}

/// Asks before SQLite changes the file at `path`: its own calls go by nobody.
fn changing(path: &Path) -> rusqlite::Result<()> {
    let refused = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR);
    sys::ask(Call::Database, path).map_err(|_| rusqlite::Error::SqliteFailure(refused, None))
}

/// Opens `path` with the parameters of an SQLite URI. Nothing is touched before the first query.
fn open(path: &Path, parameters: &str, access: OpenFlags) -> rusqlite::Result<Connection> {
    let flags = access | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(uri::of(path, parameters), flags)?;
    // A schema may come from anywhere: it must not call functions that do things.
    db.execute_batch("PRAGMA trusted_schema = OFF")?;
    Ok(db)
}

/// The files beside a database in which part of its content may be: the write-ahead log, and the
/// rollback journal.
#[must_use]
pub fn companions(path: &Path) -> [PathBuf; 2] {
    ["-wal", "-journal"].map(|suffix| beside(path, suffix))
}

/// The name of a file that SQLite keeps beside a database.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
