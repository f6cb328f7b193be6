//! How do paths in a database learn that their folder has moved?
//!
//! In a private copy only, in one transaction, and only in a table and a column that are exactly
//! there: what we do not know we do not touch.

use std::collections::BTreeSet;
use std::path::{MAIN_SEPARATOR, MAIN_SEPARATOR_STR, Path};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::error::DatabaseError;
use super::open;
use crate::disk::error::At;
use crate::disk::{replace, sys};

/// What became of the paths.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rewrite {
    /// The column is there; every path below the old prefix now is below the new one.
    Rewritten {
        /// How many rows that changed.
        rows: u64,
    },
    /// There is no such table with such a column: nothing was changed.
    UnknownSchema,
}

/// Replaces a prefix of the paths in one column of the database at `db`, a private copy.
///
/// Whole components count: `/home/a` is a prefix of `/home/a` and `/home/a/b`, not of
/// `/home/ab`. Triggers do not fire. Afterwards the database is one synced file again, without
/// log or journal beside it.
///
/// # Errors
///
/// When SQLite cannot open or change it; the database is as it was then.
pub fn replace_prefix(
    db: &Path,
    table: &str,
    column: &str,
    old_prefix: &str,
    new_prefix: &str,
) -> Result<Rewrite, DatabaseError> {
    let old_prefix = old_prefix.trim_end_matches(MAIN_SEPARATOR);
    replace_before(db, &Column { table, name: column }, &[], old_prefix, new_prefix)
}

/// The same for those paths only in which one of the `markers` follows the prefix and none comes
/// later: prefixes may begin alike. Without markers, any path counts.
fn replace_before(
    db: &Path,
    column: &Column<'_>,
    markers: &[String],
    old_prefix: &str,
    new_prefix: &str,
) -> Result<Rewrite, DatabaseError> {
    let failed = |source| DatabaseError::sqlite("rewrite paths in", db, source);
    let mut connection = open_alone(db).map_err(failed)?;
    let rewrite =
        rewrite(&mut connection, column, markers, old_prefix, new_prefix).map_err(failed)?;
    // Closing works off the log and removes it.
    connection.close().map_err(|(_, source)| failed(source))?;
    let file = sys::open_write(db).at("sync", db)?;
    replace::sync(&file).at("sync", db)?;
    replace::sync_dir(replace::parent(db))?;
    Ok(rewrite)
}

/// Makes the paths in one column lead below `place`: whatever stands before the last of the
/// `markers` (such as `/sessions/`) in a path is the old place.
///
/// # Errors
///
/// As [`replace_prefix`].
pub fn rebase(
    db: &Path,
    table: &str,
    column: &str,
    markers: &[String],
    place: &Path,
) -> Result<Rewrite, DatabaseError> {
    let failed = |source| DatabaseError::sqlite("read paths in", db, source);
    let column = Column { table, name: column };
    let old = {
        let connection = open_alone(db).map_err(failed)?;
        if !column.exists(&connection).map_err(failed)? {
            return Ok(Rewrite::UnknownSchema);
        }
        column.prefixes(&connection, markers).map_err(failed)?
    };
    let place = place.to_string_lossy();
    let mut total = 0;
    for prefix in old.iter().filter(|prefix| **prefix != place) {
        match replace_before(db, &column, markers, prefix, &place)? {
            Rewrite::Rewritten { rows } => total += rows,
            Rewrite::UnknownSchema => return Ok(Rewrite::UnknownSchema),
        }
    }
    Ok(Rewrite::Rewritten { rows: total })
}

struct Column<'a> {
    table: &'a str,
    name: &'a str,
}

impl Column<'_> {
    fn exists(&self, db: &Connection) -> rusqlite::Result<bool> {
        db.query_row(
            "SELECT EXISTS (SELECT 1 FROM sqlite_schema AS s, pragma_table_xinfo(s.name) AS c
             WHERE s.type = 'table' AND s.name = ?1 AND c.name = ?2 AND c.hidden = 0)",
            [self.table, self.name],
            |row| row.get(0),
        )
    }

    /// What stands before the last marker, once each.
    fn prefixes(&self, db: &Connection, markers: &[String]) -> rusqlite::Result<BTreeSet<String>> {
        let mut prefixes = BTreeSet::new();
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let (column, table) = (quoted(self.name), quoted(self.table));
        let question = format!("SELECT {column} FROM {table} WHERE typeof({column}) = 'text'");
        let mut statement = db.prepare(&question)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            // A text that is no UTF-8 is no path of Codex's.
            let Ok(path) = row.get_ref(0)?.as_str() else { continue };
            let found = markers.iter().filter_map(|marker| path.rfind(marker.as_str())).max();
            prefixes.extend(found.and_then(|at| path.get(..at)).map(str::to_owned));
        }
        Ok(prefixes)
    }
}

fn open_alone(path: &Path) -> rusqlite::Result<Connection> {
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
    old_prefix: &str,
    new_prefix: &str,
) -> rusqlite::Result<Rewrite> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if !column.exists(&transaction)? {
        return Ok(Rewrite::UnknownSchema);
    }
    let (table, name) = (quoted(column.table), quoted(column.name));
    // `substr` and `length` both count characters, so that no letter is cut in two.
    let numbers = 4..markers.len().saturating_add(4);
    let follows =
        |marker| format!("substr({name}, 1, length(?1) + length(?{marker})) = ?1 || ?{marker}");
    let is_last = |marker| {
        let rest = format!("substr({name}, length(?1) + length(?{marker}))");
        let none = numbers.clone().map(|later| format!("instr({rest}, ?{later}) = 0"));
        none.collect::<Vec<_>>().join(" AND ")
    };
    let each =
        numbers.clone().map(|marker| format!("({} AND {})", follows(marker), is_last(marker)));
    let belongs = match markers {
        [] => format!("{name} = ?1 OR substr({name}, 1, length(?1) + 1) = ?1 || ?3"),
        _ => each.collect::<Vec<_>>().join(" OR "),
    };
    let given = [old_prefix, new_prefix.trim_end_matches(MAIN_SEPARATOR), MAIN_SEPARATOR_STR];
    let given = given.into_iter().chain(markers.iter().map(String::as_str));
    let mut statement = transaction.prepare(&format!(
        "UPDATE {table} SET {name} = ?2 || substr({name}, length(?1) + 1)
         WHERE typeof({name}) = 'text' AND ?3 = ?3 AND ({belongs})"
    ))?;
    let rows = statement.execute(rusqlite::params_from_iter(given))?;
    drop(statement);
    transaction.commit()?;
    Ok(Rewrite::Rewritten { rows: u64::try_from(rows).unwrap_or(u64::MAX) })
}

/// An identifier that can hold any character and still is one.
fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}
