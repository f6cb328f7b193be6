//! What does the manager home remember of session files?
//!
//! `rollouts.cache` is what was read of them, `glimpses.cache` what a look found in those that
//! nobody read. Both may be deleted at any time: without them the session files are read anew. So
//! they are in no journal, and whatever is wrong with them is no error.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::Store;
use crate::codex::rollout::{Glimpses, MAX_GLIMPSES, MAX_MEMORY, Memory};
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

    /// What looks at the session files of this home found; nothing, if the file is not there or not
    /// what was written.
    #[must_use]
    pub fn glimpses(&self, codex_home: &Path) -> Glimpses {
        let bytes = read::optional(&self.glimpsed(), MAX_GLIMPSES).ok().flatten();
        bytes.map(|bytes| Glimpses::parse(&bytes, codex_home)).unwrap_or_default()
    }

    /// Keeps what a look at this home found, if that is not what was known, in one step; the caller
    /// holds the lock. `began` is when this run did: what changed shortly before is left out.
    ///
    /// # Errors
    ///
    /// When the disk refuses: then what was known before stays.
    pub fn keep_glimpses(
        &self,
        codex_home: &Path,
        glimpses: &Glimpses,
        began: DateTime<Utc>,
        _lock: &Lock,
    ) -> Result<(), DiskError> {
        if !glimpses.is_news() {
            return Ok(());
        }
        // Another home's may have come to it since.
        let before = read::optional(&self.glimpsed(), MAX_GLIMPSES).ok().flatten();
        match glimpses.to_bytes(&before.unwrap_or_default(), codex_home, began) {
            Some(bytes) => replace::write(&self.glimpsed(), &bytes),
            None => Ok(()),
        }
    }

    fn glimpsed(&self) -> PathBuf {
        self.root().join("glimpses.cache")
    }
}
