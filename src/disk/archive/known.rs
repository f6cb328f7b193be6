//! What of an earlier archive can be copied instead of made anew?
//!
//! A member whose content is at hand is copied only if its bytes have their digest. Where the content
//! is not to be read, whatever lies in its place is copied, and the digest is looked at where it came
//! to lie, once, by [`read_back`](super::read_back). One that is gone is
//! made from the content instead.

use std::fmt;
use std::fs::File;
use std::io;
use std::sync::Arc;

use super::buffer::Buffer;
use super::gzip::largest_member;
use super::open::Section;
use super::toc::{CHUNK, sha256};
use crate::disk::read::fill;

/// How much is read at once where small members lie side by side.
const WINDOW: u64 = 128 << 10;

/// A chunk whose member lies in another archive.
#[derive(Clone, Debug)]
pub struct Known {
    /// The archive, open for reading.
    pub archive: Arc<File>,
    /// Where the member starts in it.
    pub offset: u64,
    /// Bytes of the member.
    pub member_size: u64,
    /// SHA-256 of the member.
    pub member_digest: [u8; 32],
    /// Bytes of content.
    pub size: u64,
    /// SHA-256 of the content.
    pub digest: [u8; 32],
}

/// Where chunks are looked for by their content.
///
/// Asked from several threads at once, for every chunk that was read, before it is compressed. What it
/// answers need not be true: a member is checked against its digest before it is copied, and its
/// checksum and length against the content.
pub trait Library: Send + Sync {
    /// A member that holds the content of this digest and size; none = it has to be made.
    fn find(&self, digest: &[u8; 32], size: u64) -> Option<Known>;
}

/// Opens the content of a file that was said to be unchanged, for the part of it whose member turns
/// out to be gone; none = the file went away. May be called from another thread, some time after the
/// file was handed in, and more than once.
pub type Again = Arc<dyn Fn() -> io::Result<Option<File>> + Send + Sync>;

impl Known {
    /// Whether there can be such a member at all.
    pub(super) fn is_possible(&self) -> bool {
        (1..=CHUNK).contains(&self.size)
            && (1..=largest_member(self.size)).contains(&self.member_size)
    }
}

/// Reads members of other archives; those that lie side by side with one call.
#[derive(Default)]
pub(super) struct Copyist {
    archive: Option<Arc<File>>,
    /// Where the bytes begin in that archive.
    start: u64,
    bytes: Buffer,
}

impl fmt::Debug for Copyist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Copyist").field("start", &self.start).finish_non_exhaustive()
    }
}

impl Copyist {
    /// The bytes of a member, if they are what was written once.
    pub(super) fn member(&mut self, known: &Known) -> Option<&[u8]> {
        let member = self.bytes(known, known.member_size)?;
        (sha256(member) == known.member_digest).then_some(member)
    }

    /// Appends what lies where a member should, unchecked. Up to [`WINDOW`] bytes behind a small one
    /// are read along, for the next; a large one goes straight to its place.
    pub(super) fn copy(&mut self, known: &Known, to: &mut Buffer) -> Option<()> {
        if known.is_possible() && WINDOW <= known.member_size && !self.has(known) {
            let length = usize::try_from(known.member_size).ok()?;
            let end = known.offset.checked_add(known.member_size)?;
            let count = fill(Section::new(&known.archive, known.offset, end), to.room(length));
            count.ok().filter(|count| *count == length)?;
            to.grow(length);
        } else {
            to.put(self.bytes(known, WINDOW)?);
        }
        Some(())
    }

    fn bytes(&mut self, known: &Known, window: u64) -> Option<&[u8]> {
        if !known.is_possible() {
            return None;
        }
        if !self.has(known) {
            self.read(known, known.member_size.max(window))?;
        }
        let from = usize::try_from(known.offset.checked_sub(self.start)?).ok()?;
        let length = usize::try_from(known.member_size).ok()?;
        self.bytes.filled().get(from..from.checked_add(length)?)
    }

    fn has(&self, known: &Known) -> bool {
        let end = self.start.saturating_add(u64::try_from(self.bytes.len()).unwrap_or(0));
        self.archive.as_ref().is_some_and(|archive| Arc::ptr_eq(archive, &known.archive))
            && self.start <= known.offset
            && known.offset.saturating_add(known.member_size) <= end
    }

    fn read(&mut self, known: &Known, length: u64) -> Option<()> {
        self.archive = Some(Arc::clone(&known.archive));
        self.start = known.offset;
        self.bytes.clear();
        let room = self.bytes.room(usize::try_from(length).ok()?);
        let section = Section::new(&known.archive, known.offset, known.offset.checked_add(length)?);
        // The archive may end within the window, or be shorter than it was.
        let count = fill(section, room).ok()?;
        self.bytes.grow(count);
        Some(())
    }
}
