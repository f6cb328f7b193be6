//! How does the disk begin with what was written, while more is written?
//!
//! Left to itself the kernel begins once much of its memory waits for the disk; then whoever syncs
//! waits for all of it. `sync_file_range(2)` has no safe wrapper.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use rustix::io::Errno;

use super::{Call, ask};

/// Has the kernel send so many bytes of a file, from one place on, on their way to the disk, and does
/// not wait until they are there. Whether they arrive is only known after a sync.
///
/// # Errors
///
/// When the disk turned out to be full or broken on the way: what could not be sent may be forgotten by the
/// time of the sync. That it cannot begin early, or not now, is fine.
pub(in crate::disk) fn begin(file: &File, from: u64, bytes: u64) -> io::Result<()> {
    let begun = ask(Call::Begin, Path::new("")).and_then(|()| {
        #[cfg(test)]
        if super::is_played() {
            return Ok(());
        }
        sync_file_range(file, from, bytes)
    });
    begun.or_else(|error| if did_not_begin(&error) { Ok(()) } else { Err(error) })
}

/// Whether the answer means that nothing was tried, or that it is tried again with the sync.
fn did_not_begin(error: &io::Error) -> bool {
    const NOT_HERE: [Errno; 6] =
        [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP, Errno::SPIPE, Errno::PERM, Errno::ACCESS];
    const NOT_NOW: [Errno; 3] = [Errno::INTR, Errno::AGAIN, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|it| NOT_HERE.contains(&it) || NOT_NOW.contains(&it))
}

#[allow(unsafe_code)]
fn sync_file_range(file: &File, from: u64, bytes: u64) -> io::Result<()> {
    // No file is that long, and 0 bytes would mean all of it.
    let (Ok(from), Ok(bytes @ 1..)) = (from.try_into(), bytes.try_into()) else { return Ok(()) };
    // SAFETY: the descriptor is open as long as `file` lives; the call takes numbers only.
    let answer = unsafe {
        libc::sync_file_range(file.as_raw_fd(), from, bytes, libc::SYNC_FILE_RANGE_WRITE)
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::disk::faults::{Fault, Weather};

    #[test]
    fn it_begins_with_any_stretch_of_a_file() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 100_000]).unwrap();
        for (from, bytes) in
            [(0, 100_000), (5, 1), (0, 0), (1 << 40, 9), (u64::MAX, 1), (1, u64::MAX)]
        {
            begin(&file, from, bytes).unwrap();
        }
        // Not a file that has a place to begin at: the call was made, and its answer is no failure.
        let (reader, _writer) = io::pipe().unwrap();
        let pipe = File::from(std::os::fd::OwnedFd::from(reader));
        assert_eq!(sync_file_range(&pipe, 0, 1).unwrap_err().raw_os_error(), Some(29));
        begin(&pipe, 0, 1).unwrap();
    }

    #[test]
    fn only_what_says_that_writing_failed_counts() {
        let file = tempfile::tempfile().unwrap();
        let answered = |fault| {
            let weather = Weather::failing(0, fault);
            weather.over(|| begin(&file, 0, 1)).0.is_err()
        };
        // EIO, ENOSPC, EBADMSG, EUCLEAN, EDQUOT; EPERM, ENOMEM, EINVAL, ENOSYS.
        assert!([5, 28, 74, 117, 122].into_iter().all(|number| answered(Fault::Errno(number))));
        assert!(![1, 12, 22, 38].into_iter().any(|number| answered(Fault::Errno(number))));
        assert!(answered(Fault::Gone));
    }
}
