//! What do all session files say, and what of it is worth remembering?

use std::io;
use std::sync::atomic::AtomicBool;

use crate::codex::home::CodexHome;
use crate::codex::rollout::{self, Memory, Scan};
use crate::disk::lock::Lock;
use crate::disk::{DiskError, Jobs};
use crate::snapshot::store::Store;

/// What took fewer bytes to read than this is read again the next time rather than written down.
const WORTH: u64 = 1 << 20;

/// All session files of a home.
#[derive(Debug)]
pub struct Sessions {
    /// What they say.
    pub scan: Scan,
    memory: Memory,
}

impl Sessions {
    /// Reads all of them, but for what is remembered. `advance` hears how many bytes were read, and
    /// of how many.
    ///
    /// # Errors
    ///
    /// When the home is no folder that can be looked at; [`io::ErrorKind::Interrupted`] once `stop`
    /// is set.
    pub fn read(
        store: &Store,
        home: &CodexHome,
        jobs: Jobs,
        advance: &mut dyn FnMut(u64, u64),
        stop: &AtomicBool,
    ) -> io::Result<Self> {
        let mut memory = store.remembered();
        let scan = rollout::scan(home.root(), memory.of(home.root()), jobs, advance, stop)?;
        if WORTH <= scan.read {
            memory.keep(home.root(), scan.sessions.clone());
        }
        Ok(Self { scan, memory })
    }

    /// Whether reading them was so much that it should not be done again.
    #[must_use]
    pub fn is_worth_remembering(&self) -> bool {
        WORTH <= self.scan.read
    }

    /// Remembers them, if that is worth it; the lock is held.
    ///
    /// # Errors
    ///
    /// When the disk refuses. Nothing is lost by it but time.
    pub fn remember(&self, store: &Store, lock: &Lock) -> Result<(), DiskError> {
        if self.is_worth_remembering() { store.remember(&self.memory, lock) } else { Ok(()) }
    }
}
