//! How does the disk begin to write a large file before all of it is there?
//!
//! A file is on the disk once it was synced. Left to the end, the disk idles while the file is made,
//! and then everybody waits for the disk: so a thread syncs what there is, again and again. That
//! proves nothing yet, and the last word is a sync of the whole; but what went wrong on the way is
//! told to whoever asked first, and so it is kept.

use std::fs::File;
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use super::sys::{self, Errand};

/// So many bytes are worth a sync.
const WORTH: u64 = 16 << 20;

/// Who syncs a file while it is being written.
#[derive(Debug, Default)]
pub(super) struct Early {
    /// Bytes since the last order.
    waiting: u64,
    helper: Option<Helper>,
}

#[derive(Debug)]
struct Helper {
    orders: SyncSender<()>,
    thread: JoinHandle<io::Result<()>>,
}

impl Early {
    /// Hears that so many bytes more were written to the file.
    pub(super) fn wrote(&mut self, file: &File, bytes: u64) {
        self.waiting = self.waiting.saturating_add(bytes);
        if self.waiting < WORTH {
            return;
        }
        self.waiting = 0;
        if self.helper.is_none() {
            // A system that has no thread to give is no reason to fail.
            self.helper = Helper::hire(file).ok();
        }
        if let Some(helper) = &self.helper {
            // One that is still at the last order takes this one along with the next.
            let _busy = helper.orders.try_send(());
        }
    }

    /// Waits for the thread, if there was one.
    ///
    /// # Errors
    ///
    /// When something that was written did not reach the disk.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        let Some(Helper { orders, thread }) = self.helper.take() else { return Ok(()) };
        drop(orders);
        thread.join().unwrap_or_else(|_| Err(io::Error::other("a syncing thread died")))
    }
}

impl Helper {
    fn hire(file: &File) -> io::Result<Self> {
        let file = file.try_clone()?;
        let (orders, desk) = sync_channel(1);
        let errand = Errand::of_this_thread();
        let work = move || desk.iter().try_for_each(|()| sys::sync(&file));
        let named = thread::Builder::new().name("sync".to_owned());
        let thread = named.spawn(move || errand.run(work))?;
        Ok(Self { orders, thread })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::faults::{Fault, Weather};
    use crate::disk::sys::Call;

    #[test]
    fn what_failed_on_the_way_is_told_in_the_end() {
        let file = tempfile::tempfile().unwrap();
        for (written, expected) in [(WORTH - 1, true), (WORTH, false)] {
            let fails = Some((0, Fault::Errno(5)));
            let broken = Weather { fails, only: Some(Call::Sync), ..Weather::default() };
            let (done, _) = broken.over(|| {
                let mut early = Early::default();
                early.wrote(&file, written);
                early.finish()
            });
            assert_eq!(done.is_ok(), expected, "{written}");
        }
    }

    #[test]
    fn what_is_written_bit_by_bit_is_synced_now_and_then() {
        let file = tempfile::tempfile().unwrap();
        let mut early = Early::default();
        let mut hired = Vec::new();
        for _ in 0..3 {
            early.wrote(&file, WORTH / 2);
            hired.push(early.helper.is_some());
        }
        assert_eq!(hired, [false, true, true]);
        early.finish().unwrap();
        assert!(early.helper.is_none());
    }
}
