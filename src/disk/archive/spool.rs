//! How does what is too long for memory wait until somebody needs it?

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::open::Section;
use super::toc::as_u64;
use crate::disk::replace::NewFile;

/// How much is kept in memory, in bytes.
pub(super) const IN_MEMORY: usize = 1 << 20;

/// Bytes that are put one behind the other and can be read again, of which only the last are in memory
/// if there is a folder for the others.
#[derive(Debug, Default)]
pub(crate) struct Spool {
    /// What follows what is in the file.
    rest: Vec<u8>,
    file: Option<NewFile>,
    /// Bytes in the file.
    filed: u64,
    /// Where the file is made once there is too much for memory.
    folder: Option<PathBuf>,
}

impl Spool {
    /// Lets bytes wait in a file of this folder, under a reserved name and gone with the spool.
    pub(crate) fn wait_in(&mut self, folder: &Path) {
        self.folder = Some(folder.to_owned());
    }

    /// How many bytes there are.
    pub(crate) fn bytes(&self) -> u64 {
        self.filed + as_u64(self.rest.len())
    }

    /// Appends some bytes.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.rest.extend_from_slice(bytes);
        let Some(folder) = self.folder.as_ref().filter(|_| self.rest.len() >= IN_MEMORY) else {
            return Ok(());
        };
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(NewFile::create_in(folder).map_err(|error| error.source)?),
        };
        file.write_all(&self.rest)?;
        self.filed += as_u64(self.rest.len());
        self.rest.clear();
        Ok(())
    }

    /// Reads as many bytes as `into` has, from byte `at` on.
    ///
    /// # Errors
    ///
    /// Those of the file; if there are not so many.
    pub(crate) fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let filed = usize::try_from(self.filed.saturating_sub(at)).unwrap_or(usize::MAX);
        let (from_file, from_rest) = into.split_at_mut(filed.min(into.len()));
        if let Some(file) = self.file.as_ref().filter(|_| !from_file.is_empty()) {
            Section::new(file.file(), at, self.filed).read_exact(from_file)?;
        }
        let start = usize::try_from(at.saturating_sub(self.filed)).unwrap_or(usize::MAX);
        let rest = self.rest.get(start..).and_then(|rest| rest.get(..from_rest.len()));
        from_rest.copy_from_slice(rest.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_read_again_wherever_it_waits() {
        let folder = tempfile::tempdir().unwrap();
        let all: Vec<u8> =
            (0..3 * IN_MEMORY + 77).map(|n| (n / 7 % 251).try_into().unwrap()).collect();
        for is_on_disk in [false, true] {
            let mut spool = Spool::default();
            if is_on_disk {
                spool.wait_in(folder.path());
            }
            let mut most = 0;
            for piece in all.chunks(1_000) {
                spool.put(piece).unwrap();
                most = most.max(spool.rest.len());
            }
            assert_eq!(spool.bytes(), as_u64(all.len()));
            assert_eq!(most < IN_MEMORY, is_on_disk);
            let edge = usize::try_from(spool.filed).unwrap();
            let places = [0, 1, 999, edge.saturating_sub(5), edge, edge + 1, all.len() - 10];
            for (at, length) in places.into_iter().flat_map(|at| [(at, 0), (at, 1), (at, 10)]) {
                let mut read = vec![0; length];
                spool.read(as_u64(at), &mut read).unwrap();
                assert_eq!(read, all[at..at + length], "{at}");
            }
            for (at, length) in [(all.len(), 1), (all.len() - 3, 4), (usize::MAX, 1)] {
                assert!(spool.read(as_u64(at), &mut vec![0; length]).is_err(), "{at}");
            }
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left over");
    }
}
