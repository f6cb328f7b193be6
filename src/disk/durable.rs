//! When does a tree that was just built survive a power cut?
//!
//! Where the file system is a local one that brings all it was given onto the disk in one call, and
//! the kernel says when that fails, it is this call: one per file costs more than writing small files
//! does. Everywhere else, every file and every folder is brought there by itself.

use std::path::{Path, PathBuf};

#[cfg(any(target_os = "linux", target_os = "android"))]
use crate::disk::error::At as _;
use crate::disk::{Result, tree};

/// A tree that is being built.
#[derive(Debug)]
pub struct Durable {
    root: PathBuf,
    /// Open since before the first byte was written, so that no failure is missed.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    disk: Option<std::fs::File>,
}

impl Durable {
    /// To be called before anything is written below `root`, a folder.
    ///
    /// # Errors
    ///
    /// When it cannot be opened.
    pub fn begin(root: &Path) -> Result<Self> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let disk = {
            let disk = super::sys::open_dir(root).at("open", root)?;
            linux::is_synced_at_once(&disk).then_some(disk)
        };
        Ok(Self {
            root: root.to_owned(),
            #[cfg(any(target_os = "linux", target_os = "android"))]
            disk,
        })
    }

    /// Brings all of it onto the disk.
    ///
    /// # Errors
    ///
    /// When that failed; then nobody knows what is there.
    pub fn finish(self) -> Result<()> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Some(disk) = &self.disk {
            use super::sys;
            let synced = sys::sync_file_system(disk).and_then(|()| sys::sync(disk));
            return synced.at("sync", &self.root);
        }
        tree::sync_tree(&self.root)
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux {
    use std::fs::File;

    /// ext2 to ext4, XFS, Btrfs, F2FS, bcachefs, tmpfs.
    const LOCAL: [u32; 6] =
        [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0xca45_1a4e, 0x0102_1994];

    /// Whether one call brings all onto the disk, and says so when it could not.
    pub(super) fn is_synced_at_once(dir: &File) -> bool {
        let Ok(facts) = rustix::fs::fstatfs(dir) else { return false };
        let kernel = rustix::system::uname();
        u32::try_from(facts.f_type).is_ok_and(|kind| LOCAL.contains(&kind))
            && kernel.release().to_str().is_ok_and(tells_of_failures)
    }

    /// Whether a kernel of this release answers that call with the failures since the folder was
    /// opened: from 5.8 on.
    fn tells_of_failures(release: &str) -> bool {
        let number = |text: &str| text.parse::<u32>().ok();
        let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(number);
        let (major, minor) = (parts.next().flatten(), parts.next().flatten());
        major.zip(minor).is_some_and(|version| version >= (5, 8))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_kernel_that_keeps_failures_to_itself_is_not_believed() {
            let told = ["5.8.0", "5.10.0-rc1", "6.1.0-18-amd64", "10.0"];
            assert!(told.iter().all(|release| tells_of_failures(release)));
            let silent = ["5.7.19", "4.19.0", "5", "x", "", "5.x"];
            assert!(!silent.iter().any(|release| tells_of_failures(release)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::disk::faults::{Fault, Weather};
    use crate::disk::sys::Call;

    #[test]
    fn a_disk_that_fails_is_never_taken_for_one_that_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let durable = Durable::begin(dir.path()).unwrap();
        fs::write(dir.path().join("file"), "content").unwrap();
        durable.finish().unwrap();
        for at in 0..2 {
            let fails = Some((at, Fault::Errno(5)));
            let broken = Weather { fails, only: Some(Call::Sync), ..Weather::default() };
            let (done, _) = broken.over(|| Durable::begin(dir.path())?.finish());
            assert_eq!(done.unwrap_err().action, "sync");
        }
    }
}
