//! What does the manager home remember of the files of each Codex home?
//!
//! One `files-HEX.cache` for each home, which may be deleted at any time: without it the next
//! backup reads more. So it is in no journal, and whatever is wrong with it is no error.

use std::path::{Path, PathBuf};

use super::Store;
use crate::disk::lock::Lock;
use crate::disk::{DiskError, read, replace};
use crate::snapshot::backup::cache::{self, Cache, MAX_CACHE};

/// So many homes are remembered, those that were stored last.
const HOMES: usize = 8;

/// More of a cache is not read to learn whose it is, in bytes.
const HEAD: usize = 16 << 10;

impl Store {
    /// Where it is remembered how the files of this Codex home looked.
    #[must_use]
    pub fn files_of(&self, codex_home: &Path) -> PathBuf {
        self.root().join(cache::file_name(codex_home))
    }

    /// How the files of this Codex home looked when it was stored last; `None` if there is no
    /// file, or it is not what was written.
    #[must_use]
    pub fn known_files(&self, codex_home: &Path) -> Option<Cache> {
        let bytes = read::optional(&self.files_of(codex_home), MAX_CACHE).ok().flatten()?;
        Cache::parse(bytes, codex_home)
    }

    /// Remembers this in one step; the caller holds the lock. Of a home that is gone, and of more
    /// than eight, nothing is remembered any longer.
    ///
    /// # Errors
    ///
    /// When the disk refuses: then what was remembered before stays.
    pub fn know_files(
        &self,
        codex_home: &Path,
        cache: &Cache,
        _lock: &Lock,
    ) -> Result<(), DiskError> {
        let path = self.files_of(codex_home);
        match cache.to_bytes(codex_home) {
            Some(bytes) => replace::write(&path, &bytes)?,
            // What is there is of an older state, and would never be of use again.
            None => drop(replace::remove_file(&path)?),
        }
        self.forget_files(&path)
    }

    /// Removes the caches of homes that are gone, and the oldest but for some.
    fn forget_files(&self, newest: &Path) -> Result<(), DiskError> {
        let names = read::names(self.root())?;
        let names = names.iter().filter_map(|name| name.to_str());
        let mut kept = Vec::new();
        for path in names.filter(|name| cache::is_file_name(name)).map(|it| self.root().join(it)) {
            let home = read::beginning(&path, HEAD).ok().and_then(|it| cache::home_of(&it));
            if path == newest {
                continue;
            }
            match path.metadata().and_then(|facts| facts.modified()) {
                Ok(at) if home.is_some_and(|home| Path::new(&home).is_dir()) => {
                    kept.push((at, path));
                }
                _ => drop(replace::remove_file(&path)?),
            }
        }
        kept.sort();
        let spare = kept.len().saturating_sub(HOMES - 1);
        kept.iter().take(spare).try_for_each(|(_, path)| replace::remove_file(path).map(drop))
    }
}
