//! Does an archive hold what was written to it, as far as it is there?
//!
//! An archive has no name before every member of it was read back. To begin with that once all is
//! written would leave the processors idle while the disk is busy, and the disk idle while they
//! are: so members are read back some way behind the end of what is written. What is not found as
//! it was made is only noted; [`read_back`](super::read_back) says of
//! what file it is.

use std::fs::File;

use super::buffer::Buffer;
use super::open::Section;
use super::toc::sha256;
use crate::disk::read::fill;

/// So many bytes of an archive are worth reading back.
pub(super) const WORTH: u64 = 512 << 10;
/// So many bytes between two members are not worth reading along.
const GAP: u64 = 64 << 10;

/// A member as it was made.
#[derive(Clone, Copy, Debug)]
struct Member {
    offset: u64,
    size: u64,
    digest: [u8; 32],
}

/// Members that follow each other, with what may be between them.
#[derive(Debug, Default)]
pub(super) struct Stretch {
    members: Vec<Member>,
}

impl Stretch {
    /// Adds a member behind those that it has.
    pub(super) fn add(&mut self, offset: u64, size: u64, digest: [u8; 32]) {
        self.members.push(Member { offset, size, digest });
    }

    /// How many members it has.
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// Bytes from the first member to the end of the last.
    pub(super) fn bytes(&self) -> u64 {
        let (start, end) = self.place();
        end.saturating_sub(start)
    }

    /// Whether a member at `offset` belongs to another stretch.
    pub(super) fn ends_before(&self, offset: u64) -> bool {
        let (_, end) = self.place();
        !self.members.is_empty() && GAP < offset.saturating_sub(end)
    }

    fn place(&self) -> (u64, u64) {
        let start = self.members.first().map_or(0, |member| member.offset);
        let end = self.members.last();
        (start, end.map_or(start, |member| member.offset.saturating_add(member.size)))
    }

    /// Where the members start that are not in the file as they were made, or cannot be read.
    pub(super) fn doubtful(&self, file: &File, room: &mut Buffer) -> Vec<u64> {
        let (start, end) = self.place();
        room.clear();
        let length = usize::try_from(end.saturating_sub(start)).unwrap_or(0);
        let count = fill(Section::new(file, start, end), room.room(length)).unwrap_or(0);
        room.grow(count);
        let is_there = |member: &&Member| {
            let from = usize::try_from(member.offset.checked_sub(start)?).ok()?;
            let to = from.checked_add(usize::try_from(member.size).ok()?)?;
            Some(sha256(room.filled().get(from..to)?) == member.digest)
        };
        let members = self.members.iter().filter(|member| is_there(member) != Some(true));
        members.map(|member| member.offset).collect()
    }
}
