//! What does a column of a database say?

use std::path::Path;

use rusqlite::OpenFlags;

use super::error::DatabaseError;
use super::open;
use super::rewrite::{Column, quoted};

/// Hands every text in one column of the database at `path`, which is at rest, to `each`; what is
/// no UTF-8 is passed over. Answers whether there is such a table with such a column. Nothing is
/// written, and no file appears beside it.
///
/// # Errors
///
/// When SQLite cannot open or read it.
pub fn texts(
    path: &Path,
    table: &str,
    column: &str,
    each: &mut dyn FnMut(&str),
) -> Result<bool, DatabaseError> {
    let mut read = || {
        let db = open(path, "mode=ro&immutable=1", OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let column = Column { table, name: column };
        if !column.exists(&db)? {
            return Ok(false);
        }
        let (name, table) = (quoted(column.name), quoted(column.table));
        let question = format!("SELECT {name} FROM {table} WHERE typeof({name}) = 'text'");
        let mut statement = db.prepare(&question)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            if let Ok(text) = row.get_ref(0)?.as_str() {
                each(text);
            }
        }
        Ok(true)
    };
    read().map_err(|source| DatabaseError::sqlite("read", path, source))
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn the_texts_of_a_column_are_told_and_a_column_that_is_not_there_is_said_to_be_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sqlite");
        let db = Connection::open(&path).unwrap();
        db.execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES ('x'), (NULL), (7), ('y')")
            .unwrap();
        drop(db);
        let mut said = Vec::new();
        assert!(texts(&path, "t", "a", &mut |text| said.push(text.to_owned())).unwrap());
        assert_eq!(said, ["x", "y"]);
        assert!(!texts(&path, "t", "b", &mut |_| ()).unwrap());
        assert!(texts(&dir.path().join("none"), "t", "a", &mut |_| ()).is_err());
    }
}
