//! How does a tree of files become one verifiable archive, and come back?
//!
//! [`Writer`] lays out a seekable `tar.gz` (the public eStargz layout), [`Archive`] reads it and the
//! plain `tar.gz` of the older tool, both strictly. What goes in and where it comes out is the caller's
//! decision; this room knows names, bytes and digests only.

mod behind;
mod buffer;
mod check;
mod contents;
mod crew;
mod deflate;
mod entry;
mod error;
mod extract;
mod gzip;
mod known;
mod member;
mod name;
mod open;
mod plain;
mod seekable;
mod spool;
mod tarball;
mod target;
#[cfg(test)]
mod tests;
mod toc;
mod unpack;
mod walk;
mod work;
mod write;

pub(crate) use entry::is_target;
pub use entry::{Entry, Limits, Node};
pub use error::{ArchiveError, Place, Problem};
pub use extract::{Extracted, Extraction};
pub(crate) use gzip::compressor;
pub use known::{Again, Known, Library};
pub use member::Only;
pub use name::{EntryName, Folded, InvalidName, NameSet};
pub(crate) use open::read_table;
pub use open::{Archive, Layout};
pub(crate) use spool::Spool;
pub(crate) use tarball::LARGEST_FILE;
pub use toc::Chunk;
pub(crate) use toc::Take;
pub(crate) use toc::{digest_of, digest_text, parse_digest};
pub use walk::{ReadBack, read_back};
pub(crate) use write::is_reserved;
pub use write::{FileSummary, Writer, Written};
