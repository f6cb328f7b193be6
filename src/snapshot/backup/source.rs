//! How is a file read that somebody else may be writing?

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Content;
use crate::disk::{DiskError, Facts, read};

/// Files up to this length are read before they are written, so that one that shrinks under the
/// reader can be read again; in bytes.
pub(super) const IN_MEMORY: u64 = 8 << 20;

/// An open file, and how much of it belongs into the snapshot.
pub(super) struct Source {
    pub(super) file: File,
    pub(super) bytes: u64,
    /// How it looked when it was opened, before anything of it was read.
    pub(super) facts: Facts,
}

impl Source {
    /// `None` if it went away. What grows later is stored as long as it is now.
    pub(super) fn open(path: &Path, content: &Content) -> Result<Option<Self>, DiskError> {
        if !matches!(content, Content::Lines { .. }) {
            let file = read::absent_is_none(read::open_regular(path))?;
            let Some(file) = file else { return Ok(None) };
            let facts = Facts::of(&file, path)?;
            return Ok(Some(Self { file, bytes: facts.size, facts }));
        }
        let Some(lines) = read::absent_is_none(read::open_lines(path))? else { return Ok(None) };
        let whole = lines.len.saturating_add(lines.torn);
        let mut source = Self { file: lines.file, bytes: lines.len, facts: lines.facts };
        // A last line without its newline is whole if it is JSON; half of one is left out.
        if 0 < lines.torn && (lines.len == 0 || source.ends_in_json(path, lines.torn)?) {
            source.bytes = whole;
        }
        Ok(Some(source))
    }

    fn ends_in_json(&mut self, path: &Path, torn: u64) -> Result<bool, DiskError> {
        if IN_MEMORY < torn {
            return Ok(false);
        }
        let mut tail = Vec::new();
        let read = self
            .file
            .seek(SeekFrom::Start(self.bytes))
            .and_then(|_| (&self.file).take(torn).read_to_end(&mut tail))
            .and_then(|_| self.file.rewind());
        read.map_err(|source| DiskError { action: "read", path: path.to_owned(), source })?;
        Ok(serde_json::from_slice::<serde::de::IgnoredAny>(&tail).is_ok())
    }

    /// The bytes, as many as there were when the file was opened. One that shrank meanwhile is
    /// opened again, twice at most; then what there is counts. They are put into `room`, which grows
    /// if need be and can be used again.
    pub(super) fn read_again_if_short<'a>(
        &mut self,
        path: &Path,
        content: &Content,
        room: &'a mut Vec<u8>,
    ) -> Result<Option<&'a [u8]>, DiskError> {
        let mut count = 0;
        for _ in 0..3 {
            let length = usize::try_from(self.bytes).unwrap_or(usize::MAX);
            if room.len() < length {
                room.resize(length, 0);
            }
            count = read::fill(&self.file, room.get_mut(..length).unwrap_or_default())
                .map_err(|source| DiskError { action: "read", path: path.to_owned(), source })?;
            if count == length {
                break;
            }
            match Self::open(path, content)? {
                Some(again) => *self = again,
                None => return Ok(None),
            }
        }
        Ok(room.get(..count))
    }
}

/// Passes a large file through, counts it, and ends it when the user says so.
pub(super) struct Watched<'a> {
    pub(super) file: File,
    /// Bytes that still belong into the snapshot.
    pub(super) rest: u64,
    pub(super) advance: &'a mut dyn FnMut(u64),
    pub(super) stop: &'a AtomicBool,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Ok(0);
        }
        let count = (&self.file).take(self.rest).read(buffer)?;
        let read = u64::try_from(count).unwrap_or(u64::MAX);
        self.rest = self.rest.saturating_sub(read);
        (self.advance)(read);
        Ok(count)
    }
}
