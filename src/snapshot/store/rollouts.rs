//! What does the manager home remember of session files?
//!
//! `rollouts.cache` may be deleted at any time: without it the session files are read anew. So it
//! is in no journal, and whatever is wrong with it is no error.

use std::path::PathBuf;

use super::Store;
use crate::codex::rollout::{MAX_MEMORY, Memory};
use crate::disk::lock::Lock;
use crate::disk::{DiskError, read, replace};

impl Store {
    /// `rollouts.cache`, what is remembered of session files.
    #[must_use]
    pub fn rollouts(&self) -> PathBuf {
        self.root().join("rollouts.cache")
    }

    /// What is remembered; nothing, if the file is not there or not what was written.
    #[must_use]
    pub fn remembered(&self) -> Memory {
        let bytes = read::optional(&self.rollouts(), MAX_MEMORY).ok().flatten();
        bytes.map(|bytes| Memory::parse(&bytes)).unwrap_or_default()
    }

    /// Remembers this in one step; the caller holds the lock.
    ///
    /// # Errors
    ///
    /// When the disk refuses: then what was remembered before stays.
    pub fn remember(&self, memory: &Memory, _lock: &Lock) -> Result<(), DiskError> {
        match memory.to_bytes() {
            Some(bytes) => replace::write(&self.rollouts(), &bytes),
            None => Ok(()),
        }
    }
}
