//! How do two folders change places?
//!
//! In one instant where the system can exchange two names; otherwise by renames that are taken
//! back, last one first, if one of them fails. Who keeps a journal of the renames names the
//! place where the old folder waits meanwhile, so that it can be found again.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::{At, DiskError, Result};
use super::replace::{TEMP_PREFIX, parent, reserved_name, sync_dir};
use super::sys;

/// How the name ends under which a folder waits while two others change names. It is not
/// litter: what has it may be somebody's only copy.
pub const ASIDE_SUFFIX: &str = ".aside";

/// How the two changed places.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum How {
    /// At one instant: nobody saw anything missing.
    Exchanged,
    /// By renames: for a moment there was nothing under the live name.
    TwoRenames,
}

/// Exchanges two names in one folder or two of one file system, and syncs what holds them.
///
/// Afterwards what was staged is live, and what was live has the staged name.
///
/// # Errors
///
/// Both are where they were, as far as taking back is possible: if even that fails, the error
/// names where the folder that was live is (see [`waiting`]). A mount point and another file system are errors.
pub fn exchange(staged: &Path, live: &Path) -> Result<How> {
    let how = match sys::exchange(staged, live) {
        Ok(()) => How::Exchanged,
        Err(error) if sys::is_unsupported(&error) => {
            exchange_by_renames(staged, live, &aside(live)?)?;
            How::TwoRenames
        }
        Err(error) => return Err(DiskError::new("exchange", live, error)),
    };
    sync_dir(parent(live))?;
    if parent(staged) != parent(live) {
        sync_dir(parent(staged))?;
    }
    Ok(how)
}

/// A free name beside `live` for [`exchange_by_renames`].
///
/// # Errors
///
/// When the system has no random numbers.
pub fn aside(live: &Path) -> Result<PathBuf> {
    Ok(parent(live).join(reserved_name(ASIDE_SUFFIX).at("exchange", live)?))
}

/// Exchanges two names by renames: live to `aside`, staged to live, `aside` to staged.
///
/// Between the first and the second there is nothing at `live`: a caller that must survive
/// being killed there writes down the three names before. Nothing is synced here.
///
/// # Errors
///
/// As [`exchange`].
pub fn exchange_by_renames(staged: &Path, live: &Path, aside: &Path) -> Result<()> {
    let steps = [(live, aside), (staged, live), (aside, staged)];
    for (done, (from, to)) in steps.into_iter().enumerate() {
        let Err(error) = sys::rename(from, to) else {
            continue;
        };
        for (from, to) in steps.into_iter().take(done).rev() {
            if let Err(second) = sys::rename(to, from) {
                // What was live went first and comes back last: whichever failed, it waits.
                let what = format!("{error}; what was there is now {}: {second}", aside.display());
                return Err(DiskError::new("exchange", live, io::Error::other(what)));
            }
        }
        return Err(DiskError::new("exchange", live, error));
    }
    Ok(())
}

/// What tells a folder or file from every other one of this machine, whatever its name.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// The same one, written down earlier, on the file system that holds `folder`: the numbers of
    /// devices may be given anew whenever the machine starts.
    ///
    /// # Errors
    ///
    /// When `folder` cannot be looked at.
    pub fn on(self, folder: &Path) -> Result<Self> {
        let meta = std::fs::metadata(folder).at("look at", folder)?;
        Ok(Self { device: sys::facts(&meta).device, ..self })
    }
}

/// The identity of what has this name, a link at its end not followed; `None` if nothing has it,
/// or where the system does not tell.
///
/// # Errors
///
/// When it cannot be looked at.
pub fn identity(path: &Path) -> Result<Option<Identity>> {
    let meta = std::fs::symlink_metadata(path).at("look at", path);
    let facts = super::read::absent_is_none(meta)?.map(|meta| sys::facts(&meta));
    let told = facts.filter(|facts| facts.inode != 0);
    Ok(told.map(|facts| Identity { device: facts.device, inode: facts.inode }))
}

/// Whether a file system begins at this folder, so that it cannot be renamed.
///
/// Bind mounts are seen where the kernel tells (Linux 5.8 and newer).
///
/// # Errors
///
/// When it is not a folder, or cannot be looked at.
pub fn is_mount_point(dir: &Path) -> Result<bool> {
    let file = sys::open_dir(dir).map_err(sys::explain_open).at("look at", dir)?;
    if let Some(known) = sys::mount_begins(&file) {
        return Ok(known);
    }
    let above = dir.join("..");
    let here = sys::facts(&file.metadata().at("look at", dir)?);
    let above = sys::facts(&std::fs::metadata(&above).at("look at", &above)?);
    Ok(here.device != above.device || here.inode == above.inode)
}

/// Folders that wait under a name of [`aside`] in `dir`, sorted: an exchange by renames was
/// interrupted, and one of them may be what was live.
///
/// # Errors
///
/// When `dir` cannot be listed.
pub fn waiting(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in sys::read_dir(dir).at("list", dir)? {
        let entry = entry.at("list", dir)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(TEMP_PREFIX) && name.ends_with(ASIDE_SUFFIX) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::disk::replace::litter;

    fn two() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let (staged, live) = (dir.path().join("staged"), dir.path().join("live"));
        fs::create_dir(&staged).unwrap();
        fs::create_dir(&live).unwrap();
        fs::write(staged.join("f"), "new").unwrap();
        fs::write(live.join("f"), "old").unwrap();
        (dir, staged, live)
    }

    fn content(dir: &Path) -> String {
        fs::read_to_string(dir.join("f")).unwrap()
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn two_folders_change_places_in_one_instant() {
        let (_dir, staged, live) = two();
        assert_eq!(exchange(&staged, &live).unwrap(), How::Exchanged);
        assert_eq!((content(&staged), content(&live)), ("old".into(), "new".into()));
    }

    #[test]
    fn where_renaming_knows_no_flags_folders_change_places_by_renames() {
        let (dir, staged, live) = two();
        assert_eq!(
            sys::faults::without_flags(|| exchange(&staged, &live)).unwrap(),
            How::TwoRenames
        );
        assert_eq!((content(&staged), content(&live)), ("old".into(), "new".into()));
        assert_eq!(waiting(dir.path()).unwrap(), Vec::<PathBuf>::new());
    }

    #[test]
    fn renames_end_where_an_exchange_ends() {
        let (dir, staged, live) = two();
        let aside = aside(&live).unwrap();
        exchange_by_renames(&staged, &live, &aside).unwrap();
        assert_eq!((content(&staged), content(&live)), ("old".into(), "new".into()));
        assert_eq!(waiting(dir.path()).unwrap(), Vec::<PathBuf>::new());
    }

    #[test]
    #[cfg(unix)]
    fn a_folder_is_known_again_under_another_name() {
        let (_dir, staged, live) = two();
        let (one, other) = (identity(&staged).unwrap(), identity(&live).unwrap());
        assert!(one.is_some() && one != other);
        exchange(&staged, &live).unwrap();
        assert_eq!((identity(&live).unwrap(), identity(&staged).unwrap()), (one, other));
        assert_eq!(identity(&live.join("none")).unwrap(), None);
    }

    #[test]
    #[cfg(unix)]
    fn a_folder_is_known_again_after_the_devices_were_numbered_anew() {
        let (dir, staged, _live) = two();
        let found = identity(&staged).unwrap().unwrap();
        let before = Identity { device: found.device + 1, ..found };
        assert_ne!(before, found);
        assert_eq!(before.on(dir.path()).unwrap(), found);
    }

    #[test]
    fn a_rename_that_fails_is_taken_back() {
        let (dir, staged, live) = two();
        let aside = aside(&live).unwrap();
        let error = exchange_by_renames(&dir.path().join("none"), &live, &aside).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!((content(&staged), content(&live)), ("new".into(), "old".into()));
        assert!(!aside.exists());
    }

    #[test]
    fn if_nothing_can_be_taken_back_the_error_names_where_the_live_folder_is() {
        for renames in [1, 2] {
            let (_dir, staged, live) = two();
            let aside = aside(&live).unwrap();
            let error = sys::faults::stopped_after(renames, || {
                exchange_by_renames(&staged, &live, &aside).unwrap_err()
            });
            assert_eq!(content(&aside), "old");
            assert!(error.to_string().contains(aside.to_str().unwrap()), "{renames}: {error}");
        }
    }

    #[test]
    fn a_folder_that_waits_is_not_litter() {
        let (dir, _staged, live) = two();
        let aside = aside(&live).unwrap();
        fs::rename(&live, &aside).unwrap();
        assert_eq!(waiting(dir.path()).unwrap(), [aside]);
        assert_eq!(litter(dir.path()).unwrap(), Vec::<PathBuf>::new());
    }

    #[test]
    fn a_missing_side_leaves_the_other_alone() {
        let (dir, staged, _live) = two();
        assert!(exchange(&staged, &dir.path().join("none")).is_err());
        assert_eq!(content(&staged), "new");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn mount_points_are_told() {
        let (_dir, _staged, live) = two();
        assert!(is_mount_point(Path::new("/proc")).unwrap());
        assert!(is_mount_point(Path::new("/")).unwrap());
        assert!(!is_mount_point(&live).unwrap());
        assert!(is_mount_point(&live.join("f")).is_err());
    }
}
