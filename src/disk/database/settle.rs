//! How does a database that was copied as plain files become one file again?
//!
//! In a private folder only. Its write-ahead log is worked off by SQLite itself. A rollback
//! journal is thrown away unread: it may name another file, which SQLite would then look into
//! and delete, and nobody knows who wrote it.

use std::path::Path;

use rusqlite::OpenFlags;

use super::error::{self, DatabaseError};
use super::{beside, changing, check, looks_like_database, open};
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
    sys::sync(&file).at("sync", path)?;
    replace::sync_dir(replace::parent(path))?;
    Ok(Settled::Database)
}

fn work_off(path: &Path) -> rusqlite::Result<()> {
    changing(path)?;
    let db = open(path, "mode=rw", OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    // Alone in a private folder: the index of the log can stay in memory.
    db.execute_batch("PRAGMA locking_mode = EXCLUSIVE; PRAGMA temp_store = MEMORY")?;
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    db.close().map_err(|(_, source)| source)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use rusqlite::Connection;

    use super::*;

    /// A database whose only row is in its log, copied as plain files while it was open.
    fn torn_off(dir: &Path) -> PathBuf {
        let live = dir.join("live.sqlite");
        let db = Connection::open(&live).unwrap();
        db.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;
             CREATE TABLE t (a TEXT); INSERT INTO t VALUES ('in the log')",
        )
        .unwrap();
        let copy = dir.join("copy.sqlite");
        for tail in ["", "-wal", "-shm"] {
            fs::copy(beside(&live, tail), beside(&copy, tail)).unwrap();
        }
        copy
    }

    fn names(dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string());
        let mut names: Vec<_> =
            names.map(Result::unwrap).filter(|n| n.starts_with("copy")).collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_only_in_the_log_is_in_the_one_file_that_remains() {
        let dir = tempfile::tempdir().unwrap();
        let copy = torn_off(dir.path());
        assert_eq!(settle(&copy).unwrap(), Settled::Database);
        assert_eq!(names(dir.path()), ["copy.sqlite"]);
        let alone = dir.path().join("alone.sqlite");
        fs::copy(&copy, &alone).unwrap();
        let row = Connection::open(&alone).unwrap().query_row("SELECT a FROM t", [], |r| r.get(0));
        assert_eq!(row, Ok("in the log".to_owned()));

        let bytes = fs::read(&copy).unwrap();
        assert_eq!(settle(&copy).unwrap(), Settled::Database);
        assert_eq!(fs::read(&copy).unwrap(), bytes);
    }

    #[test]
    fn a_journal_is_thrown_away_unread_with_the_file_it_names_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let copy = torn_off(dir.path());
        let victim = dir.path().join("victim");
        fs::write(&victim, "mine").unwrap();
        fs::write(beside(&copy, "-journal"), victim.as_os_str().as_encoded_bytes()).unwrap();
        assert_eq!(settle(&copy).unwrap(), Settled::Database);
        assert_eq!(names(dir.path()), ["copy.sqlite"]);
        assert_eq!(fs::read(&victim).unwrap(), b"mine");
    }

    #[test]
    fn a_broken_page_is_told_with_and_without_a_log() {
        let dir = tempfile::tempdir().unwrap();
        let copy = torn_off(dir.path());
        settle(&copy).unwrap();
        let mut bytes = fs::read(&copy).unwrap();
        bytes[4096..4200].fill(0xff);
        fs::write(&copy, &bytes).unwrap();
        let error = settle(&copy).unwrap_err();
        assert!(matches!(&error, DatabaseError::Damaged { path, .. } if *path == copy), "{error}");

        bytes[100..4096].fill(0xff);
        fs::write(&copy, &bytes).unwrap();
        fs::write(beside(&copy, "-wal"), "no log at all").unwrap();
        assert!(matches!(settle(&copy), Err(DatabaseError::Damaged { .. })));
    }

    #[test]
    fn what_is_no_database_is_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let copy = dir.path().join("copy.sqlite");
        fs::write(&copy, "words").unwrap();
        fs::write(beside(&copy, "-wal"), "words").unwrap();
        assert_eq!(settle(&copy).unwrap(), Settled::NotADatabase);
        assert_eq!(names(dir.path()), ["copy.sqlite", "copy.sqlite-wal"]);
    }

    #[test]
    #[cfg(unix)]
    fn a_log_that_is_a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let copy = torn_off(dir.path());
        let elsewhere = dir.path().join("elsewhere");
        fs::rename(beside(&copy, "-wal"), &elsewhere).unwrap();
        let bytes = fs::read(&elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, beside(&copy, "-wal")).unwrap();
        assert!(matches!(settle(&copy), Err(DatabaseError::Disk(_))));
        assert_eq!(fs::read(&elsewhere).unwrap(), bytes);
    }
}
