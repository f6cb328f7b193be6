//! How do paths in a database learn that their folder has moved?
//!
//! In a private copy only, in one transaction, and only in a table and a column that are exactly
//! there: what we do not know we do not touch.

use std::path::{MAIN_SEPARATOR, Path};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior, ffi};

use super::error::DatabaseError;
use super::{changing, open};
use crate::disk::error::At;
use crate::disk::{replace, sys};

/// So many rows are looked at before the first of them changes.
const AT_ONCE: usize = 1000;

/// What became of the paths.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rewrite {
    /// The column is there; every path with a marker now leads below the new place.
    Rewritten {
        /// How many rows that changed.
        rows: u64,
    },
    /// There is no such table with such a column: nothing was changed.
    UnknownSchema,
}

/// Makes the paths in one column of the database at `db`, a private copy, lead below `place`:
/// whatever stands before the last of the `markers` (such as `/sessions/`) in a path is the old
/// place. A path without a marker stays as it is.
///
/// Triggers do not fire. Afterwards the database is one synced file again, without log or journal
/// beside it.
///
/// # Errors
///
/// When SQLite cannot open or change it; the database is as it was then.
pub fn rebase(
    db: &Path,
    table: &str,
    column: &str,
    markers: &[String],
    place: &Path,
) -> Result<Rewrite, DatabaseError> {
    let failed = |source| DatabaseError::sqlite("rewrite paths in", db, source);
    let mut connection = open_alone(db).map_err(failed)?;
    let column = Column { table, name: column };
    let rewrite =
        rewrite(&mut connection, &column, markers, &place.to_string_lossy()).map_err(failed)?;
    // Closing works off the log and removes it.
    changing(db).map_err(failed)?;
    connection.close().map_err(|(_, source)| failed(source))?;
    let file = sys::open_write(db).at("sync", db)?;
    sys::sync(&file).at("sync", db)?;
    replace::sync_dir(replace::parent(db))?;
    Ok(rewrite)
}

/// A column that may be in a database.
pub(super) struct Column<'a> {
    pub(super) table: &'a str,
    pub(super) name: &'a str,
}

/// Some of the rows whose path leads elsewhere.
#[derive(Default)]
struct Astray {
    /// Each with where it has to lead.
    rows: Vec<(i64, String)>,
    /// The last that was looked at; none if there was none.
    last: Option<i64>,
}

impl Column<'_> {
    /// Whether it is there, in a table whose rows have numbers and no column is called as these are.
    pub(super) fn exists(&self, db: &Connection) -> rusqlite::Result<bool> {
        db.query_row(
            "SELECT EXISTS (SELECT 1 FROM pragma_table_list AS t, pragma_table_xinfo(t.name) AS c
             WHERE t.schema = 'main' AND t.type = 'table' AND t.wr = 0
             AND t.name = ?1 AND c.name = ?2 AND c.hidden = 0
             AND NOT EXISTS (SELECT 1 FROM pragma_table_xinfo(t.name) AS other
             WHERE other.name = 'rowid' COLLATE NOCASE))",
            [self.table, self.name],
            |row| row.get(0),
        )
    }

    /// The rows from `first` on whose path leads elsewhere. There may be hundreds of thousands, so these
    /// are only so many.
    ///
    /// SQLite takes the order in which rows lie for that of their numbers: where it is not, a damaged or
    /// hostile database, the next rows could be the same ones for ever.
    fn astray(
        &self,
        db: &Connection,
        markers: &[String],
        place: &str,
        first: i64,
    ) -> rusqlite::Result<Astray> {
        let (column, table) = (quoted(self.name), quoted(self.table));
        let question = format!(
            "SELECT rowid, iif(typeof({column}) = 'text', {column}, NULL) FROM {table}
             WHERE rowid >= ?1 ORDER BY rowid LIMIT {AT_ONCE}"
        );
        let mut statement = db.prepare_cached(&question)?;
        let mut rows = statement.query([first])?;
        let mut astray = Astray::default();
        while let Some(row) = rows.next()? {
            let number = row.get(0)?;
            if number < first || astray.last.is_some_and(|last| number <= last) {
                return Err(rusqlite::Error::SqliteFailure(
                    ffi::Error::new(ffi::SQLITE_CORRUPT),
                    Some("its rows are out of order".to_owned()),
                ));
            }
            astray.last = Some(number);
            // What is no text, or no UTF-8, is no path of Codex's.
            let Ok(path) = row.get_ref(1)?.as_str() else { continue };
            let at = markers.iter().filter_map(|marker| path.rfind(marker.as_str())).max();
            let Some(rest) = at.and_then(|at| path.get(at..)) else { continue };
            if path.strip_suffix(rest) != Some(place) {
                astray.rows.push((number, format!("{place}{rest}")));
            }
        }
        Ok(astray)
    }
}

fn open_alone(path: &Path) -> rusqlite::Result<Connection> {
    changing(path)?;
    let db = open(path, "mode=rw", OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    // Alone in a private folder: the index of the log can stay in memory.
    db.execute_batch("PRAGMA locking_mode = EXCLUSIVE; PRAGMA temp_store = MEMORY")?;
    Ok(db)
}

fn rewrite(
    db: &mut Connection,
    column: &Column<'_>,
    markers: &[String],
    place: &str,
) -> rusqlite::Result<Rewrite> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if !column.exists(&transaction)? {
        return Ok(Rewrite::UnknownSchema);
    }
    let place = place.trim_end_matches(MAIN_SEPARATOR);
    let (table, name) = (quoted(column.table), quoted(column.name));
    let mut statement =
        transaction.prepare(&format!("UPDATE {table} SET {name} = ?2 WHERE rowid = ?1"))?;
    let (mut first, mut rows) = (Some(i64::MIN), 0);
    while let Some(from) = first {
        let astray = column.astray(&transaction, markers, place, from)?;
        for (row, path) in &astray.rows {
            statement.execute((row, path))?;
            rows += 1;
        }
        first = astray.last.and_then(|last| last.checked_add(1));
    }
    drop(statement);
    changing(Path::new(""))?;
    transaction.commit()?;
    Ok(Rewrite::Rewritten { rows })
}

/// An identifier that can hold any character and still is one.
pub(super) fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}
