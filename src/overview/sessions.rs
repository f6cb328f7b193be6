//! What do all session files say, and what of it is worth remembering?

use std::io;
use std::sync::atomic::AtomicBool;

use crate::codex::home::CodexHome;
use crate::codex::rollout::{self, Extent, Scan};
use crate::disk::lock::Lock;
use crate::disk::{DiskError, Jobs};
use crate::snapshot::store::Store;

/// What took fewer bytes to read than this is read again the next time rather than written down.
const WORTH: u64 = 1 << 20;

/// The session files of a home.
#[derive(Debug)]
pub struct Sessions {
    /// What they say.
    pub scan: Scan,
    note: Option<Note>,
}

/// What is worth remembering of session files, as it will be written down.
#[derive(Debug)]
pub struct Note(Vec<u8>);

impl Note {
    /// Remembers it; the lock is held.
    ///
    /// # Errors
    ///
    /// When the disk refuses. Nothing is lost by it but time.
    pub fn remember(&self, store: &Store, lock: &Lock) -> Result<(), DiskError> {
        store.remember(&self.0, lock)
    }
}

impl Sessions {
    /// Reads them, but for what is remembered. `advance` hears how many bytes were read, and
    /// of how many.
    ///
    /// # Errors
    ///
    /// When the home is no folder that can be looked at; [`io::ErrorKind::Interrupted`] once `stop`
    /// is set.
    pub fn read(
        store: &Store,
        home: &CodexHome,
        extent: Extent,
        jobs: Jobs,
        advance: &mut dyn FnMut(u64, u64),
        stop: &AtomicBool,
    ) -> io::Result<Self> {
        let mut memory = store.remembered();
        let remembered = memory.of(home.root());
        let scan = rollout::scan(home.root(), remembered, extent, jobs, advance, stop)?;
        let mut note = None;
        if WORTH <= scan.read {
            memory.keep(home.root(), scan.sessions.clone());
            note = memory.to_bytes().map(Note);
        }
        Ok(Self { scan, note })
    }

    /// What to remember of them, if reading them was so much that it should not be done again.
    #[must_use]
    pub fn note(&self) -> Option<&Note> {
        self.note.as_ref()
    }

    /// The same, and nothing else of them stays in memory.
    #[must_use]
    pub fn into_note(self) -> Option<Note> {
        self.note
    }
}
