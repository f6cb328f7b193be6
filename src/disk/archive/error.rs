//! What can go wrong with an archive, and whose fault is it?

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::{EntryName, InvalidName};

/// Why an archive was not written, read or unpacked.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// The archive itself could not be read or written.
    #[error("cannot {doing} the archive: {source}")]
    Io {
        /// The verb: `read`, `write`, `open`.
        doing: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// What should be stored could not be read.
    #[error("cannot read {name}: {source}")]
    Source {
        /// The entry.
        name: EntryName,
        /// The system's answer.
        source: io::Error,
    },
    /// What was unpacked could not be written.
    #[error("cannot write {name}: {source}")]
    Destination {
        /// The name below the destination, empty for the destination itself.
        name: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The path leads to a link, directory, device or pipe.
    #[error("{} is not a regular file", path.display())]
    NotRegular {
        /// The path as given.
        path: PathBuf,
    },
    /// A name breaks the rules.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// Two entries have one name after normalization and case folding.
    #[error("{name} and {other} are the same name on some file systems")]
    SameName {
        /// The later one.
        name: String,
        /// The earlier one.
        other: String,
    },
    /// An entry would lie below a file or a link.
    #[error("{name} lies below {file}, which is not a directory")]
    BelowFile {
        /// The entry.
        name: String,
        /// The file or link.
        file: String,
    },
    /// An entry has the name of the table of contents.
    #[error("{name} is reserved for the archive's own table of contents")]
    Reserved {
        /// The entry.
        name: EntryName,
    },
    /// A link's target is empty, too long or has control characters.
    #[error("the target of the link {name} cannot be stored")]
    InvalidTarget {
        /// The link.
        name: EntryName,
    },
    /// A file did not deliver the size that was announced.
    #[error("{name} changed while it was read: {expected} bytes were announced")]
    ContentChanged {
        /// The file.
        name: EntryName,
        /// Bytes announced.
        expected: u64,
    },
    /// The content of a directory or link was asked for.
    #[error("{name} is not a regular file of the archive")]
    NotAFile {
        /// The entry.
        name: EntryName,
    },
    /// A file whose size no tar header of ours can state.
    #[error("{name} has {size} bytes; an archive holds files of less than 64 GiB")]
    TooLarge {
        /// The file.
        name: EntryName,
        /// Its size in bytes.
        size: u64,
    },
    /// More than a limit allows.
    #[error("{what}: {found}, the limit is {limit}")]
    TooMuch {
        /// What there is too much of, with its unit.
        what: &'static str,
        /// How much there is, at least.
        found: u64,
        /// How much is allowed.
        limit: u64,
    },
    /// Bytes that are damaged or were cut off.
    #[error("the archive is damaged at byte {offset}: {what}")]
    Corrupt {
        /// Where: a byte of the file, or of the unpacked stream for plain archives.
        offset: u64,
        /// What does not fit.
        what: String,
    },
    /// A file's content does not match its digest or its place.
    #[error("{problem}")]
    CorruptFile {
        /// Which file, where and what.
        problem: Box<Problem>,
    },
    /// Something no honest writer of these archives produces.
    #[error("refused: {what}")]
    Hostile {
        /// What it is.
        what: String,
    },
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl ArchiveError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Corrupt { .. } | Self::CorruptFile { .. } => {
                "use another snapshot; `codex-manager verify` names everything that is damaged"
                    .to_owned()
            }
            Self::TooLarge { .. } => "leave it out with config `exclude`".to_owned(),
            Self::ContentChanged { .. } => "try again when nothing writes to it".to_owned(),
            Self::Io { source, .. } | Self::Destination { source, .. }
                if source.kind() == io::ErrorKind::StorageFull =>
            {
                "make room on that disk and try again".to_owned()
            }
            _ if self.is_hostile() => {
                "nothing was unpacked; if you trust it, unpack it with tar in an empty folder"
                    .to_owned()
            }
            _ => return None,
        })
    }

    /// Whether the archive holds what no honest writer produces (refused for safety).
    pub fn is_hostile(&self) -> bool {
        matches!(
            self,
            Self::Name(_)
                | Self::SameName { .. }
                | Self::BelowFile { .. }
                | Self::Reserved { .. }
                | Self::InvalidTarget { .. }
                | Self::TooMuch { .. }
                | Self::Hostile { .. }
        )
    }

    /// Whether the archive's bytes are not those that were written.
    pub fn is_corrupt(&self) -> bool {
        matches!(self, Self::Corrupt { .. } | Self::CorruptFile { .. })
    }

    pub(super) fn corrupt(offset: u64, what: impl Into<String>) -> Self {
        Self::Corrupt { offset, what: what.into() }
    }

    pub(super) fn hostile(what: impl Into<String>) -> Self {
        Self::Hostile { what: what.into() }
    }

    pub(super) fn reading(source: io::Error) -> Self {
        Self::Io { doing: "read", source }
    }

    pub(super) fn writing(source: io::Error) -> Self {
        Self::Io { doing: "write", source }
    }
}

/// One thing that is wrong with an archive.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// The entry it concerns, where it is known.
    pub name: Option<EntryName>,
    /// Which chunk of the file; none if it is not about content, or the layout has no chunks.
    pub chunk: Option<Place>,
    /// Where: a byte of the archive, or of the unpacked stream for plain archives.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
}

/// Where a chunk lies in its file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Place {
    /// Its number, from 1 on.
    pub number: u64,
    /// How many chunks the file has.
    pub of: u64,
    /// The first byte of the file that is in it, from 0 on.
    pub first: u64,
    /// Bytes of content, at least one.
    pub bytes: u64,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { number, of, first, bytes } = self;
        let last = first.saturating_add(*bytes).saturating_sub(1);
        write!(f, "chunk {number} of {of} (bytes {first}-{last})")
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { offset, what, .. } = self;
        match (&self.name, &self.chunk) {
            (Some(name), Some(chunk)) => {
                write!(f, "{name}, {chunk}: {what}, at byte {offset} of the archive")
            }
            (Some(name), None) => write!(f, "{name}: byte {offset}: {what}"),
            (None, _) => write!(f, "byte {offset}: {what}"),
        }
    }
}
