//! What does an earlier archive hold, as far as its content is looked for?
//!
//! Its table of contents may tell of hundreds of thousands of files. What is needed of each waits on
//! the disk, in the folder of the backup that asks; in memory is only where a digest leads.

use std::fmt;
use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::disk::archive::{
    ArchiveError, Chunk, Entry, EntryName, Known, Node, Spool, Take, read_table,
};
use crate::snapshot::metadata::ArchiveFacts;

/// A table of contents, and the archive it belongs to, which stays open: whatever has its name
/// later is another one.
pub(super) struct Table {
    file: Arc<File>,
    digest: String,
    lines: Lines,
}

/// A file that is in an archive.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Held {
    /// Bytes of content.
    pub(super) size: u64,
    /// Last modification, in seconds since 1970.
    pub(super) modified: i64,
    /// Its chunks: how many there are before them, and how many there are.
    pub(super) before: u64,
    pub(super) chunks: u64,
}

/// What is kept of entries and chunks, both in the order of the archive.
#[derive(Default)]
struct Lines {
    /// Of each entry what its name is known by, and how the file is held: lines of [`ENTRY`] bytes.
    entries: Spool,
    /// Lines of [`CHUNK`] bytes.
    chunks: Spool,
    /// Numbers that nobody outside this run can foresee.
    keys: RandomState,
    /// The beginning of each chunk's digest and its number, in the order of the digests.
    index: Vec<(Start, u32)>,
    /// The entry that waits for its chunks.
    last: Option<(u64, Held)>,
    count: u64,
}

/// The first bytes of a digest: enough to find the few chunks of which the whole one is compared.
type Start = [u8; 8];

/// Bytes of a line: five numbers of an entry, or three of a chunk and two digests.
const ENTRY: usize = 5 * 8;
const CHUNK: usize = 3 * 8 + 2 * 32;

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("digest", &self.digest).finish_non_exhaustive()
    }
}

impl Table {
    /// `None` unless the archive is the one that the sidecar describes, and made by the same
    /// compressor. What is too long for memory waits in `folder`.
    pub(super) fn open(
        path: &Path,
        told: &ArchiveFacts,
        compressor: &str,
        folder: &Path,
    ) -> Option<Self> {
        if told.compressor.as_deref() != Some(compressor) {
            return None;
        }
        let mut lines = Lines::default();
        lines.entries.wait_in(folder);
        lines.chunks.wait_in(folder);
        let (mut lines, digest, file) = read_table(path, lines).ok()?;
        lines.close().ok()?;
        (digest == told.toc_digest).then(|| Self { file: Arc::new(file), digest, lines })
    }

    /// `sha256:` and its digest.
    pub(super) fn digest(&self) -> &str {
        &self.digest
    }

    /// The file that is the entry with this number, if it has this name.
    pub(super) fn held(&self, entry: u32, name: &EntryName) -> Option<Held> {
        let mut line = [0; ENTRY];
        let at = u64::from(entry) * u64::try_from(ENTRY).ok()?;
        self.lines.entries.read(at, &mut line).ok()?;
        let (numbers, []) = line.as_chunks::<8>() else { return None };
        let [key, size, modified, before, chunks] = <[[u8; 8]; 5]>::try_from(numbers).ok()?;
        if u64::from_le_bytes(key) != self.lines.key(name) {
            return None;
        }
        let modified = i64::from_le_bytes(modified);
        let [size, before, chunks] = [size, before, chunks].map(u64::from_le_bytes);
        Some(Held { size, modified, before, chunks })
    }

    /// The chunks of a file.
    pub(super) fn chunks(&self, held: &Held) -> Option<Vec<Known>> {
        (held.before..held.before.checked_add(held.chunks)?).map(|at| self.chunk(at)).collect()
    }

    /// A chunk of this content.
    pub(super) fn find(&self, digest: &[u8; 32], size: u64) -> Option<Known> {
        let start = start_of(digest);
        let index = &self.lines.index;
        let first = index.partition_point(|(other, _)| *other < start);
        let alike = index.get(first..)?.iter().take_while(|(other, _)| *other == start);
        let mut alike = alike.filter_map(|(_, number)| self.chunk(u64::from(*number)));
        alike.find(|known| known.digest == *digest && known.size == size)
    }

    fn chunk(&self, number: u64) -> Option<Known> {
        let mut line = [0; CHUNK];
        let at = number.checked_mul(u64::try_from(CHUNK).ok()?)?;
        self.lines.chunks.read(at, &mut line).ok()?;
        let (numbers, digests) = line.split_first_chunk::<24>()?;
        let (numbers, []) = numbers.as_chunks::<8>() else { return None };
        let [offset, member_size, size] = <[[u8; 8]; 3]>::try_from(numbers).ok()?;
        let [offset, member_size, size] = [offset, member_size, size].map(u64::from_le_bytes);
        let (member_digest, digest) = digests.split_first_chunk::<32>()?;
        let (member_digest, digest) = (*member_digest, *digest.first_chunk::<32>()?);
        let archive = Arc::clone(&self.file);
        Some(Known { archive, offset, member_size, member_digest, size, digest })
    }
}

impl Take for Lines {
    fn entry(&mut self, entry: Entry) -> Result<(), ArchiveError> {
        self.settle()?;
        let (size, is_file) = match entry.node {
            Node::File { size } => (size, true),
            Node::Dir | Node::Symlink { .. } => (0, false),
        };
        // What is no file goes by no name.
        let key = if is_file { self.key(&entry.name) } else { 0 };
        let held = Held { size, modified: entry.modified, before: self.count, chunks: 0 };
        self.last = Some((key, held));
        Ok(())
    }

    fn chunk(&mut self, chunk: Chunk) -> Result<(), ArchiveError> {
        let Chunk { offset, member_size, member_digest, size, digest } = chunk;
        for number in [offset, member_size, size] {
            self.chunks.put(&number.to_le_bytes()).map_err(unwritten)?;
        }
        for digest in [member_digest, digest] {
            self.chunks.put(&digest).map_err(unwritten)?;
        }
        // There are not so many chunks in a table that is read.
        if let Ok(number) = u32::try_from(self.count) {
            self.index.push((start_of(&digest), number));
        }
        self.count += 1;
        if let Some((_, held)) = &mut self.last {
            held.chunks += 1;
        }
        Ok(())
    }
}

impl Lines {
    /// What a file of this name is known by; never 0.
    fn key(&self, name: &EntryName) -> u64 {
        self.keys.hash_one(name.as_str()) | 1
    }

    /// Writes the line of an entry that has all its chunks.
    fn settle(&mut self) -> Result<(), ArchiveError> {
        let Some((key, held)) = self.last.take() else { return Ok(()) };
        let Held { size, modified, before, chunks } = held;
        let mut line = Vec::with_capacity(ENTRY);
        line.extend(key.to_le_bytes());
        line.extend(size.to_le_bytes());
        line.extend(modified.to_le_bytes());
        line.extend(before.to_le_bytes());
        line.extend(chunks.to_le_bytes());
        self.entries.put(&line).map_err(unwritten)
    }

    fn close(&mut self) -> Result<(), ArchiveError> {
        self.settle()?;
        self.index.shrink_to_fit();
        self.index.sort_unstable();
        Ok(())
    }
}

fn start_of(digest: &[u8; 32]) -> Start {
    digest.first_chunk().copied().unwrap_or_default()
}

fn unwritten(source: io::Error) -> ArchiveError {
    ArchiveError::Io { doing: "write", source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::archive::Writer;

    fn name(text: &str) -> EntryName {
        text.parse().unwrap()
    }

    #[test]
    fn a_file_is_found_by_its_number_and_name_and_a_chunk_by_its_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tar.gz");
        let mut writer = Writer::new(File::create(&path).unwrap(), 1, 1);
        let large: Vec<u8> =
            (0..(1_usize << 20) + 5).map(|n| (n % 251).try_into().unwrap()).collect();
        writer.dir(&name("d"), 0o700, 7).unwrap();
        for (text, mut content) in [("d/a", large.as_slice()), ("none", b""), ("z", b"other")] {
            let size = content.len().try_into().unwrap();
            writer.file(&name(text), 0o600, 9, size, &mut content).unwrap();
        }
        let written = writer.finish().unwrap().1;
        let told = ArchiveFacts {
            name: "a.tar.gz".to_owned(),
            bytes: written.bytes,
            toc_digest: written.toc_digest,
            files: written.files,
            content_bytes: written.content_bytes,
            compressor: Some("one".to_owned()),
            login: None,
        };
        let open = |told: &ArchiveFacts, by: &str| Table::open(&path, told, by, dir.path());
        let table = open(&told, "one").unwrap();
        assert!(open(&told, "another").is_none());
        let another = ArchiveFacts { toc_digest: "sha256:".to_owned(), ..told.clone() };
        assert!(open(&another, "one").is_none());

        let held = |number, text: &str| table.held(number, &name(text)).map(|held| held.chunks);
        assert_eq!([held(1, "d/a"), held(2, "none"), held(3, "z")], [Some(2), Some(0), Some(1)]);
        assert_eq!([held(1, "z"), held(3, "d/a"), held(0, "d"), held(4, "z")], [None; 4]);

        let chunks = table.chunks(&table.held(1, &name("d/a")).unwrap()).unwrap();
        assert_eq!(chunks.iter().map(|it| it.size).collect::<Vec<_>>(), [1 << 20, 5]);
        for known in &chunks {
            let found = table.find(&known.digest, known.size).unwrap();
            assert_eq!((found.offset, found.member_digest), (known.offset, known.member_digest));
            assert!(table.find(&known.digest, known.size + 1).is_none());
            // The same beginning, and another digest.
            let mut alike = known.digest;
            alike[31] ^= 1;
            assert!(table.find(&alike, known.size).is_none());
        }
    }
}
