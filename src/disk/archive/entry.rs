//! What is one entry of an archive, and how much of them is too much?

use super::EntryName;

/// Latest instant an archive can hold: the last second of the year 9999.
const LAST_SECOND: i64 = 253_402_300_799;

/// One file, directory or symbolic link.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Where it lies.
    pub name: EntryName,
    /// What it is.
    pub node: Node,
    /// Permission bits only (`0o777` at most); on extraction only the owner's execute bit of a file counts.
    pub mode: u32,
    /// Last modification, whole seconds since 1970 (UTC); kept within 1970..=9999.
    pub modified: i64,
}

/// What an entry is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Node {
    /// A directory.
    Dir,
    /// A regular file.
    File {
        /// Bytes of content.
        size: u64,
    },
    /// A symbolic link.
    Symlink {
        /// What it points to, as stored.
        target: String,
    },
}

/// What a reader accepts before it refuses; everything is checked before memory is taken for it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Most entries in one archive, and most names, folders that only follow from others included.
    pub entries: usize,
    /// Up to this many of them cost nothing; of more, each takes [`Self::bytes_per_entry`].
    pub entries_from: usize,
    /// How long an archive has to be, in bytes, for each entry beyond [`Self::entries_from`].
    pub bytes_per_entry: u64,
    /// Largest PAX header, in bytes.
    pub pax_header: u64,
    /// Largest table of contents, in bytes of JSON.
    pub toc: u64,
    /// Most bytes of content in one archive; none = as many as it holds.
    pub total_unpacked: Option<u64>,
    /// Plain archives only: how many bytes may come out for one that went in, beyond [`Self::ratio_from`].
    pub ratio: u64,
    /// Plain archives only: from how many bytes on [`Self::ratio`] counts.
    pub ratio_from: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 1_000_000,
            entries_from: 100_000,
            bytes_per_entry: 64,
            pax_header: 64 << 10,
            toc: 512 << 20,
            total_unpacked: None,
            ratio: 100,
            ratio_from: 256 << 20,
        }
    }
}

impl Limits {
    /// The same for an archive of `bytes`: what is small must not cost much memory. An honest file
    /// takes about 150 bytes of an archive, its header and its digests alone.
    pub(super) fn of(&self, bytes: u64) -> Self {
        let paid = usize::try_from(bytes / self.bytes_per_entry.max(1)).unwrap_or(usize::MAX);
        Self { entries: self.entries.min(self.entries_from.max(paid)), ..self.clone() }
    }
}

impl Entry {
    /// Bytes of content; 0 for what has none.
    pub fn size(&self) -> u64 {
        match self.node {
            Node::File { size } => size,
            Node::Dir | Node::Symlink { .. } => 0,
        }
    }

    /// Whether others may lie below it.
    pub fn is_dir(&self) -> bool {
        self.node == Node::Dir
    }
}

/// The nearest instant an archive can hold.
pub(super) fn clamp_time(seconds: i64) -> i64 {
    seconds.clamp(0, LAST_SECOND)
}

/// Whether a link's target can be stored: some text of at most 4,096 bytes that shows what it is.
pub(crate) fn is_target(target: &str) -> bool {
    !target.is_empty() && target.len() <= 4096 && !target.contains(super::name::is_deceptive)
}
