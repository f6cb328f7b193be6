//! How does a database that was copied as plain files become one file again?
//!
//! In a private folder only. Its write-ahead log is worked off by SQLite itself. A rollback
//! journal is thrown away unread: it may name another file, which SQLite would then look into
//! and delete, and nobody knows who wrote it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rusqlite::OpenFlags;

use super::error::{self, DatabaseError};
use super::{check, looks_like_database, open};
use crate::disk::error::At;
use crate::disk::{read, replace, sys};

/// What a staged file turned out to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Settled {
    /// A sound database, synced, with nothing beside it.
    Database,
    /// No database, whatever its name says: neither it nor what lies beside it was touched.
    NotADatabase,
}

/// Works the log `PATH-wal` off into the database at `path` and removes `-wal`, `-shm` and
/// `-journal` from beside it.
///
/// `path` lies in a private folder, and nothing else has it open. Without a log this is a check
/// that leaves the database's bytes as they are.
///
/// # Errors
///
/// [`DatabaseError::Damaged`] if the result is not sound, as when the two files were copied at
/// different moments: it is better left out then, Codex builds its index anew. Otherwise when a
/// file is not a regular one or SQLite or the disk fails.
pub fn settle(path: &Path) -> Result<Settled, DatabaseError> {
    if !looks_like_database(path)? {
        return Ok(Settled::NotADatabase);
    }
    // The index is never taken over: it speaks of another file in another place.
    replace::remove_file(&beside(path, "-shm"))?;
    replace::remove_file(&beside(path, "-journal"))?;
    let log = beside(path, "-wal");
    if read::absent_is_none(read::open_regular(&log))?.is_some() {
        work_off(path).map_err(|source| {
            if error::is_damage(&source) || error::is_foreign(&source) {
                let problems = vec![error::message(&source)];
                DatabaseError::Damaged { path: path.to_owned(), problems }
            } else {
                DatabaseError::sqlite("work off the log of", path, source)
            }
        })?;
        // SQLite removes an emptied log when it closes; one it did not take for its own remains.
        replace::remove_file(&log)?;
        replace::remove_file(&beside(path, "-shm"))?;
    }
    let problems = check(path)?;
    if !problems.is_empty() {
        return Err(DatabaseError::Damaged { path: path.to_owned(), problems });
    }
    let file = sys::open_write(path).at("sync", path)?;
    replace::sync(&file).at("sync", path)?;
    replace::sync_dir(replace::parent(path))?;
    Ok(Settled::Database)
}

fn work_off(path: &Path) -> rusqlite::Result<()> {
    let db = open(path, "mode=rw", OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    // Alone in a private folder: the index of the log can stay in memory.
    db.execute_batch("PRAGMA locking_mode = EXCLUSIVE; PRAGMA temp_store = MEMORY")?;
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    db.close().map_err(|(_, source)| source)
}

fn beside(path: &Path, tail: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(tail);
    name.into()
}
