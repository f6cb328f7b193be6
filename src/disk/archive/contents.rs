//! How does a table of contents grow with the archive, and wait for its end without taking memory?
//!
//! Entries come first and their chunks later, when they were compressed, both in the order of the
//! archive. As soon as an entry has all of them its lines are final: they are put into the text, of
//! which only the end is in memory if there is a folder for the rest.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::spool::Spool;
use super::toc::{CHUNK, CLOSING, OPENING, as_u64, digest_text, lines};
use super::{Chunk, Entry};

/// How much of the text is read again at once, in bytes.
const PIECE: usize = 64 << 10;

/// The table of contents of an archive that is being written.
pub(super) struct Contents {
    /// The entries that lack chunks, and those behind them.
    waiting: VecDeque<(Entry, Vec<Chunk>)>,
    /// How many entries are in the text.
    told: usize,
    /// All content of the first entry, if that is a file of one chunk.
    first: Option<Chunk>,
    text: Spool,
    sha256: Sha256,
    /// What an entry adds to the text.
    lines: Vec<u8>,
}

impl Default for Contents {
    fn default() -> Self {
        let (waiting, lines, text) = (VecDeque::new(), Vec::new(), Spool::default());
        Self { waiting, told: 0, first: None, text, sha256: Sha256::new(), lines }
    }
}

impl Contents {
    /// Lets text wait in a file of this folder, under a reserved name.
    pub(super) fn wait_in(&mut self, folder: &Path) {
        self.text.wait_in(folder);
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
            self.put(OPENING)?;
        }
        self.put(CLOSING)?;
        let digest = std::mem::take(&mut self.sha256).finalize().into();
        Ok((self.text.bytes(), digest_text(&digest)))
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
        let mut piece = vec![0; PIECE];
        let mut at = 0;
        while at < self.text.bytes() {
            let length = usize::try_from(self.text.bytes() - at).unwrap_or(usize::MAX);
            let piece = piece.get_mut(..length.min(PIECE)).unwrap_or_default();
            self.text.read(at, piece)?;
            out.write_all(piece)?;
            at += as_u64(piece.len());
        }
        Ok(())
    }

    /// Puts what is complete into the text.
    fn settle(&mut self) -> io::Result<()> {
        while let Some((entry, chunks)) = self.waiting.front()
            && as_u64(chunks.len()) >= entry.size().div_ceil(CHUNK)
        {
            if let (0, [only]) = (self.told, chunks.as_slice()) {
                self.first = Some(only.clone());
            }
            self.lines.clear();
            self.lines.extend_from_slice(if self.told == 0 { OPENING } else { b"," });
            let (mut is_further, text) = (false, &mut self.lines);
            lines(entry, chunks, &mut |line| {
                if std::mem::replace(&mut is_further, true) {
                    text.push(b',');
                }
                serde_json::to_writer(&mut *text, &line).map_err(io::Error::other)
            })?;
            self.told += 1;
            self.waiting.pop_front();
            self.sha256.update(&self.lines);
            self.text.put(&self.lines)?;
        }
        Ok(())
    }

    fn put(&mut self, text: &[u8]) -> io::Result<()> {
        self.sha256.update(text);
        self.text.put(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::archive::Node;
    use crate::disk::archive::spool::IN_MEMORY;

    /// The text of so many files with a chunk each, which come long after their entries.
    fn text(files: usize, folder: Option<&Path>) -> Vec<u8> {
        let mut contents = Contents::default();
        if let Some(folder) = folder {
            contents.wait_in(folder);
        }
        let mut behind = VecDeque::new();
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
        }
        let (bytes, digest) = contents.close().unwrap();
        let mut text = Vec::new();
        contents.write(&mut text).unwrap();
        assert_eq!(as_u64(text.len()), bytes);
        assert_eq!(digest, super::super::digest_of(&text));
        text
    }

    #[test]
    fn a_long_text_waits_in_a_file_and_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        for files in [0, 1, 3_000] {
            let in_memory = text(files, None);
            assert_eq!(text(files, Some(folder.path())), in_memory);
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
