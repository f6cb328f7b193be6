//! How does a table of contents grow with the archive, and wait for its end without taking memory?
//!
//! Entries come first and their chunks later, when they were compressed, both in the order of the
//! archive. As soon as an entry has all of them its lines are final: they are put into the text, of
//! which only the end is in memory if there is a folder for the rest.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::open::Section;
use super::toc::{CHUNK, CLOSING, OPENING, as_u64, digest_text, lines};
use super::{Chunk, Entry};
use crate::disk::replace::NewFile;

/// How much of the text is kept in memory, in bytes.
const IN_MEMORY: usize = 1 << 20;

/// The table of contents of an archive that is being written.
pub(super) struct Contents {
    /// The entries that lack chunks, and those behind them.
    waiting: VecDeque<(Entry, Vec<Chunk>)>,
    /// How many entries are in the text.
    told: usize,
    /// All content of the first entry, if that is a file of one chunk.
    first: Option<Chunk>,
    text: Text,
}

/// The JSON of a table of contents.
struct Text {
    /// What follows what is in the file.
    rest: Vec<u8>,
    file: Option<NewFile>,
    /// Where the file is made once there is too much for memory.
    folder: Option<PathBuf>,
    bytes: u64,
    sha256: Sha256,
}

impl Default for Contents {
    fn default() -> Self {
        let text =
            Text { rest: Vec::new(), file: None, folder: None, bytes: 0, sha256: Sha256::new() };
        Self { waiting: VecDeque::new(), told: 0, first: None, text }
    }
}

impl Contents {
    /// Lets text wait in a file of this folder, under a reserved name.
    pub(super) fn wait_in(&mut self, folder: &Path) {
        self.text.folder = Some(folder.to_owned());
    }

    /// Adds an entry; answers its number.
    ///
    /// # Errors
    ///
    /// Those of the file in which the text waits.
    pub(super) fn push_entry(&mut self, entry: Entry) -> io::Result<usize> {
        self.waiting.push_back((entry, Vec::new()));
        let number = self.told + self.waiting.len() - 1;
        self.settle()?;
        Ok(number)
    }

    /// Adds a chunk to the entry with this number: the last that got one, or a later one.
    ///
    /// # Errors
    ///
    /// Those of the file in which the text waits.
    pub(super) fn push_chunk(&mut self, entry: usize, chunk: Chunk) -> io::Result<()> {
        let waiting = entry.checked_sub(self.told).and_then(|place| self.waiting.get_mut(place));
        let (_, chunks) = waiting.ok_or_else(|| io::Error::other("a chunk of no file"))?;
        chunks.push(chunk);
        self.settle()
    }

    /// The entry with this number, as long as it lacks chunks.
    pub(super) fn waiting(&self, entry: usize) -> Option<&Entry> {
        let (entry, _) = self.waiting.get(entry.checked_sub(self.told)?)?;
        Some(entry)
    }

    /// Ends the text; answers its length in bytes and its digest.
    ///
    /// # Errors
    ///
    /// If an entry lacks chunks, and as [`Contents::push_entry`].
    pub(super) fn close(&mut self) -> io::Result<(u64, String)> {
        if !self.waiting.is_empty() {
            return Err(io::Error::other("a file lacks chunks"));
        }
        if self.told == 0 {
            self.text.put(OPENING)?;
        }
        self.text.put(CLOSING)?;
        let digest = std::mem::take(&mut self.text.sha256).finalize().into();
        Ok((self.text.bytes, digest_text(&digest)))
    }

    /// All content of the first entry, if that is a file of one chunk.
    pub(super) fn first(&self) -> Option<&Chunk> {
        self.first.as_ref()
    }

    /// Writes the text.
    ///
    /// # Errors
    ///
    /// Those of `out`, and of the file in which the text waits.
    pub(super) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        if let Some(file) = &self.text.file {
            let mut left = self.text.bytes.saturating_sub(as_u64(self.text.rest.len()));
            let mut waiting = Section::new(file.file(), 0, left);
            let mut piece = vec![0; 64 << 10];
            while left > 0 {
                let count = waiting.read(&mut piece)?;
                if count == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                out.write_all(piece.get(..count).unwrap_or_default())?;
                left -= as_u64(count);
            }
        }
        out.write_all(&self.text.rest)
    }

    /// Puts what is complete into the text.
    fn settle(&mut self) -> io::Result<()> {
        while let Some((entry, chunks)) = self.waiting.front()
            && as_u64(chunks.len()) >= entry.size().div_ceil(CHUNK)
        {
            if let (0, [only]) = (self.told, chunks.as_slice()) {
                self.first = Some(only.clone());
            }
            let opening: &[u8] = if self.told == 0 { OPENING } else { b"," };
            self.text.put(opening)?;
            let mut is_further = false;
            let start = self.text.rest.len();
            let rest = &mut self.text.rest;
            lines(entry, chunks, &mut |line| {
                if std::mem::replace(&mut is_further, true) {
                    rest.push(b',');
                }
                serde_json::to_writer(&mut *rest, &line).map_err(io::Error::other)
            })?;
            self.text.count(start);
            self.told += 1;
            self.waiting.pop_front();
            self.text.make_room()?;
        }
        Ok(())
    }
}

impl Text {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        let start = self.rest.len();
        self.rest.extend_from_slice(bytes);
        self.count(start);
        self.make_room()
    }

    /// Takes in what was appended to the rest from `start` on.
    fn count(&mut self, start: usize) {
        let new = self.rest.get(start..).unwrap_or_default();
        self.sha256.update(new);
        self.bytes += as_u64(new.len());
    }

    fn make_room(&mut self) -> io::Result<()> {
        let Some(folder) = self.folder.as_ref().filter(|_| self.rest.len() >= IN_MEMORY) else {
            return Ok(());
        };
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(NewFile::create_in(folder).map_err(|error| error.source)?),
        };
        file.write_all(&self.rest)?;
        self.rest.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::archive::Node;

    /// The text of so many files with a chunk each, which come long after their entries, and how
    /// much of it was in memory at most.
    fn text(files: usize, folder: Option<&Path>) -> (Vec<u8>, usize) {
        let mut contents = Contents::default();
        if let Some(folder) = folder {
            contents.wait_in(folder);
        }
        let (mut behind, mut most) = (VecDeque::new(), 0);
        for number in 0..files {
            let name = format!("sessions/2026/01/02/rollout-{number:07}.jsonl").parse().unwrap();
            let (node, digest) = (Node::File { size: 1 }, [7; 32]);
            let entry = Entry { name, node, mode: 0o600, modified: 1 };
            behind.push_back(contents.push_entry(entry).unwrap());
            let chunk = Chunk { offset: 1, member_size: 1, member_digest: digest, size: 1, digest };
            if behind.len() > 100 || number + 1 == files {
                for entry in behind.drain(..) {
                    assert!(contents.waiting(entry).is_some());
                    contents.push_chunk(entry, chunk.clone()).unwrap();
                    assert!(contents.waiting(entry).is_none());
                }
            }
            most = most.max(contents.text.rest.capacity());
        }
        let (bytes, digest) = contents.close().unwrap();
        let mut text = Vec::new();
        contents.write(&mut text).unwrap();
        assert_eq!(as_u64(text.len()), bytes);
        assert_eq!(digest, super::super::digest_of(&text));
        (text, most)
    }

    #[test]
    fn a_long_text_waits_in_a_file_and_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        for files in [0, 1, 3_000] {
            let (in_memory, _) = text(files, None);
            let (on_disk, most) = text(files, Some(folder.path()));
            assert_eq!(on_disk, in_memory);
            assert!(most <= 2 * IN_MEMORY + (4 << 10), "{most}");
            assert_eq!(in_memory.len() > IN_MEMORY, files == 3_000);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left over");
    }

    #[test]
    fn a_table_that_lacks_a_chunk_is_not_closed() {
        let mut contents = Contents::default();
        let (name, node) = ("a".parse().unwrap(), Node::File { size: CHUNK + 1 });
        let entry = contents.push_entry(Entry { name, node, mode: 0o600, modified: 1 }).unwrap();
        let (member_digest, digest) = ([0; 32], [0; 32]);
        let chunk = Chunk { offset: 0, member_size: 1, member_digest, size: CHUNK, digest };
        contents.push_chunk(entry, chunk).unwrap();
        assert!(contents.close().is_err());
    }
}
