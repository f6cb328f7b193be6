//! Who has this Codex home open?
//!
//! There is no lock on a home as a whole, so running processes are asked for: what they have
//! open, which home their environment names, which of Codex's own locks they hold, and whom
//! Codex itself wrote down as its background server (SPEC, "Running Codex"). Each system tells
//! as much as it does: `proc` on Linux, `lsof` on macOS, `restart_manager` on Windows. Looking
//! takes no lock and writes nothing; nobody is ever ended.

mod binary;
#[cfg(any(target_os = "linux", target_os = "macos", test))]
mod command_line;
mod holder;
#[cfg(any(target_os = "linux", test))]
mod locks;
#[cfg(any(target_os = "macos", test))]
mod lsof;
#[cfg(target_os = "linux")]
mod proc;
#[cfg(windows)]
mod restart_manager;

use std::path::{Path, PathBuf};

use crate::codex::home::CodexHome;
use crate::disk::read::is_played;

pub use self::holder::{Evidence, Holder, Holders, Role, Unseen, remedies, said};

/// The home that is asked about.
#[derive(Clone, Debug)]
pub struct Place {
    /// The home, its resolved path.
    root: PathBuf,
    /// The folder of its databases, if that lies elsewhere; resolved too.
    databases: Option<PathBuf>,
    /// The process that asks, which is no user of the home.
    own: u32,
}

impl Place {
    /// A home and the folder of its databases, if that lies elsewhere; the process `own` asks.
    #[must_use]
    pub fn new(home: &CodexHome, databases: Option<PathBuf>, own: u32) -> Self {
        Self { root: home.root().to_owned(), databases, own }
    }

    /// The folders whose files are asked about.
    fn folders(&self) -> impl Iterator<Item = &Path> {
        [Some(self.root.as_path()), self.databases.as_deref()].into_iter().flatten()
    }

    /// The files that every Codex of this home has open, or some of them: what lies at the top of
    /// the folders, and Codex's lock files. Sessions are not listed, there may be thousands.
    #[cfg(any(target_os = "macos", windows))]
    fn telling_files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for folder in self.folders() {
            files.extend(files_in(folder));
        }
        for folder in self.lock_folders() {
            files.extend(files_in(&folder));
        }
        files
    }

    /// The folders in which Codex locks files of its own while it runs.
    fn lock_folders(&self) -> Vec<PathBuf> {
        let mut folders = vec![self.root.join("thread-writer-locks")];
        for name in ["tmp/arg0", "tmp/arg0-linux"] {
            let started = std::fs::read_dir(self.root.join(name)).into_iter().flatten().flatten();
            folders.extend(started.map(|entry| entry.path()));
        }
        folders
    }
}

/// The regular files right in a folder.
#[cfg(any(target_os = "macos", windows))]
fn files_in(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    files.map(|entry| entry.path())
}

/// Finds who uses the home.
///
/// A process counts if it is Codex and has something below the home or in the folder of its
/// databases open, holds one of Codex's locks there, or names the home in its environment; if it
/// is the background server that `daemon.pid` names; or if it has a file there open for writing,
/// whatever it is. Processes that end while we look do not count. What could not be looked at is
/// in [`Holders::unseen`].
///
/// The updater of the background server, which `codex app-server daemon stop` leaves running,
/// stands in nobody's way: it has neither login nor sessions. It is in [`Holders::bystanders`].
#[must_use]
pub fn holders(place: &Place) -> Holders {
    // To ask all processes thousands of times is most of what those tests would do.
    if is_played() {
        return Holders::default();
    }
    #[cfg(target_os = "linux")]
    return proc::holders(place);
    #[cfg(target_os = "macos")]
    return lsof::holders(place);
    #[cfg(windows)]
    return restart_manager::holders(place);
    #[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
    {
        let _ = place;
        Holders { is_unknown: true, ..Holders::default() }
    }
}

/// Whether users other than the owner can get at what is in a folder at all.
#[cfg(unix)]
fn may_others_enter(folder: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;

    let is_open = |folder: &Path| folder.metadata().is_ok_and(|facts| facts.mode() & 0o011 != 0);
    folder.ancestors().all(is_open)
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_folder_that_one_other_folder_closes_is_closed_to_others() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        for path in [dir.path(), &dir.path().join("a"), &inner] {
            set(path, 0o755);
        }
        assert!(may_others_enter(&inner));
        set(&dir.path().join("a"), 0o700);
        assert!(!may_others_enter(&inner));
    }
}
