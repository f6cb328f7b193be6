//! Why was a database not copied, checked or mended?

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use crate::disk::error::DiskError;

/// What can go wrong with a database. The source is as it was, whichever it is.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// It is a database, and broken.
    #[error("the database {} is damaged: {}", path.display(), problems.join("; "))]
    Damaged {
        /// The database as the caller named it.
        path: PathBuf,
        /// What SQLite found wrong, at most 20 things: pages and names of tables, no content.
        problems: Vec<String>,
    },
    /// Others changed it faster than it could be copied, or kept it locked.
    #[error("the database {} is busy: it changed during every try to copy it", path.display())]
    Busy {
        /// The database as the caller named it.
        path: PathBuf,
    },
    /// The disk did not do something.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// SQLite did not do something.
    #[error("cannot {action} the database {}: {}", path.display(), message(source))]
    Sqlite {
        /// What was tried, as a verb that fits after "cannot".
        action: &'static str,
        /// What it was tried on.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
}

impl DatabaseError {
    pub(super) fn sqlite(action: &'static str, path: &Path, source: rusqlite::Error) -> Self {
        Self::Sqlite { action, path: path.to_owned(), source }
    }

    /// Whether the file itself is what is wrong: it is damaged, or none that SQLite can work with.
    /// Otherwise the disk, or somebody else, stood in the way, and another time it may go well.
    #[must_use]
    pub fn is_about_the_file(&self) -> bool {
        match self {
            Self::Damaged { .. } => true,
            Self::Busy { .. } | Self::Disk(_) => false,
            Self::Sqlite { source, .. } => !matches!(
                source.sqlite_error_code(),
                Some(
                    ErrorCode::SystemIoFailure
                        | ErrorCode::DiskFull
                        | ErrorCode::CannotOpen
                        | ErrorCode::PermissionDenied
                        | ErrorCode::ReadOnly
                        | ErrorCode::OutOfMemory
                        | ErrorCode::OperationInterrupted
                        | ErrorCode::DatabaseBusy
                        | ErrorCode::DatabaseLocked
                        | ErrorCode::NoLargeFileSupport
                        | ErrorCode::FileLockingProtocolFailed
                )
            ),
        }
    }

    /// What a person can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Damaged { .. } => Some("`sqlite3 FILE .recover` may save its content".to_owned()),
            Self::Busy { .. } => {
                Some("quit the program that writes to it and try again".to_owned())
            }
            Self::Disk(error) => error.hint(),
            Self::Sqlite { source, .. } => match source.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => Some("free some space and try again".to_owned()),
                _ => None,
            },
        }
    }
}

/// Whether SQLite found the file broken.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt)
}

/// Whether SQLite does not take the file for a database at all.
pub(super) fn is_foreign(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::NotADatabase)
}

/// Whether somebody else's lock was in the way.
pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Whether reading alone cannot do it: the files beside the database would have to be created
/// or worked off first.
pub(super) fn needs_writing(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
}

/// What SQLite says, without the statement that the library's own text may quote.
pub(super) fn message(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(code, _) => code.to_string(),
        rusqlite::Error::SqlInputError { error, .. } => error.to_string(),
        _ => "an unexpected answer".to_owned(),
    }
}
