//! How does a finished home get its place, and where does the one before it go?
//!
//! Until the exchange, what was built is of no use if anything fails. From the exchange on, the
//! folder under the staged name is the home that was live: nothing here ever removes that.

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::swap::{self, How, Identity};
use crate::disk::{DiskError, replace};

/// A folder that is built beside its place.
#[derive(Debug)]
pub(super) struct Staged {
    path: PathBuf,
    identity: Option<Identity>,
    state: State,
}

/// What has the staged name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// What was built.
    Built,
    /// Either: a change of names was tried and did not say that it went well.
    Tried,
    /// Not what was built.
    Gone,
}

impl Staged {
    /// Makes the empty folder `path`, a name beside its place that nobody has, and what is missing
    /// above it.
    pub(super) fn at(path: PathBuf) -> Result<Self, DiskError> {
        replace::private_dir(&path).map_err(|error| match path.parent() {
            // The folder is named, for the reserved name tells nobody anything.
            Some(above) if error.path == path => {
                DiskError { action: "create a folder in", path: above.to_owned(), ..error }
            }
            _ => error,
        })?;
        let identity = swap::identity(&path)?;
        Ok(Self { path, identity, state: State::Built })
    }

    /// The folder; after an exchange it is the other one, wherever that is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes a place where nothing is.
    pub(super) fn settle(
        &mut self,
        place: &Path,
        warnings: &mut Vec<String>,
    ) -> Result<(), DiskError> {
        self.state = State::Tried;
        let moved = replace::rename_new(&self.path, place);
        self.judge(moved, place, (), warnings)
    }

    /// Changes places with what is at `place`.
    pub(super) fn exchange(
        &mut self,
        place: &Path,
        warnings: &mut Vec<String>,
    ) -> Result<How, DiskError> {
        let old = swap::identity(place)?;
        self.state = State::Tried;
        let exchanged = swap::exchange(&self.path, place);
        let how = self.judge(exchanged, place, How::Exchanged, warnings)?;
        // Of an exchange by renames the last one may be missing.
        if let Some(found) = old.and_then(|old| find_old(&self.path, place, old).ok().flatten()) {
            self.path = found;
        }
        Ok(how)
    }

    /// The names may have changed although the last step, syncing their folder, failed: where
    /// the folder that was built is now decides what happened.
    fn judge<T>(
        &mut self,
        result: Result<T, DiskError>,
        place: &Path,
        happened: T,
        warnings: &mut Vec<String>,
    ) -> Result<T, DiskError> {
        match result {
            Ok(value) => {
                self.state = State::Gone;
                Ok(value)
            }
            Err(error) if self.identity.is_some() && self.is_at(place) => {
                self.state = State::Gone;
                warnings.push(format!("the restore is done, but not all went well: {error}"));
                Ok(happened)
            }
            Err(error) => Err(error),
        }
    }

    fn is_at(&self, path: &Path) -> bool {
        swap::identity(path).is_ok_and(|found| found == self.identity)
    }

    /// Removes what was built, and nothing else: a folder that is not surely it stays.
    pub(super) fn discard(self) {
        let is_it = match self.state {
            State::Built => true,
            State::Tried => self.identity.is_some() && self.is_at(&self.path),
            State::Gone => false,
        };
        if is_it {
            // What cannot be removed is litter, which `doctor` names.
            let _litter = replace::remove_tree(&self.path);
        }
    }
}

/// Where the home that was live is while two homes change places: under the name of the staged
/// one, or beside its place under the name of one that waits.
pub(crate) fn find_old(
    staged: &Path,
    place: &Path,
    old: Identity,
) -> Result<Option<PathBuf>, DiskError> {
    if swap::identity(staged)? == Some(old) {
        return Ok(Some(staged.to_owned()));
    }
    let Some(above) = place.parent() else { return Ok(None) };
    for path in swap::waiting(above)? {
        if swap::identity(&path)? == Some(old) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Removes the empty folder whose place a copy took. One that somebody filled meanwhile stays;
/// answers a warning then.
pub(super) fn remove_empty(folder: &Path) -> Option<String> {
    let error = replace::remove_empty_dir(folder).err()?;
    Some(format!("what was in the way is now {}: {error}", folder.display()))
}

/// Moves something from the old home into the new one, unless the snapshot brought its own.
pub(crate) fn carry(old: &Path, new: &Path, path: &str) -> Result<(), DiskError> {
    let target = new.join(path);
    if let Some(parent) = target.parent() {
        replace::private_dir(parent)?;
    }
    replace::rename_new(&old.join(path), &target)
}

/// Name of the replaced home in `undo/OPERATION/`.
pub(crate) const KEPT: &str = "codex-home";

/// Where a replaced home may be put: in the folder of the operation, or beside its place.
pub(crate) fn resting(place: &Path, undo: &Path, operation: &str) -> [PathBuf; 2] {
    let leaf = place.file_name().unwrap_or_default().to_string_lossy();
    [undo.join(KEPT), place.with_file_name(format!("{leaf}.replaced-{operation}"))]
}

/// Puts the replaced home where `undo` finds it: into the manager home, or, where that fails as on
/// another file system, beside its place under a name that tells what it is. Where even that
/// fails it stays where it is, with a warning. Answers where it lies now.
pub(crate) fn keep(
    old: &Path,
    place: &Path,
    undo: &Path,
    operation: &str,
    warnings: &mut Vec<String>,
) -> PathBuf {
    let [kept, beside] = resting(place, undo, operation);
    let mut wanted = &kept;
    let mut moved = replace::private_dir(undo).and_then(|_| replace::rename_new(old, &kept));
    // One that has moved and was only not synced is gone from here.
    if let Err(error) = &moved
        && old.symlink_metadata().is_ok()
    {
        wanted = &beside;
        let set_down = replace::rename_new(old, &beside);
        if set_down.is_ok() && error.kind() != io::ErrorKind::CrossesDevices {
            let (here, undo) = (beside.display(), undo.display());
            warnings.push(format!(
                "the replaced home is {here}, for it does not go to {undo}: {error}"
            ));
        }
        moved = set_down;
    }
    // A rename that was not synced has happened all the same.
    let is_there = wanted.symlink_metadata().is_ok() && old.symlink_metadata().is_err();
    let now = if is_there { wanted.as_path() } else { old };
    if let Err(error) = moved {
        warnings.push(format!(
            "the restore is done, but the replaced home could not be put away: it is {} ({error})",
            now.display()
        ));
    }
    now.to_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::disk::{faults, tree};

    /// A live home and a folder beside it that holds the new one.
    fn homes() -> (tempfile::TempDir, PathBuf, Staged) {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("codex");
        fs::create_dir(&place).unwrap();
        fs::write(place.join("auth.json"), "old").unwrap();
        let staged = Staged::at(tree::staging_name(&place).unwrap()).unwrap();
        fs::write(staged.path().join("auth.json"), "new").unwrap();
        (dir, place, staged)
    }

    fn login(home: &Path) -> String {
        fs::read_to_string(home.join("auth.json")).unwrap()
    }

    #[test]
    fn what_was_built_goes_if_it_is_not_wanted() {
        let (_dir, place, staged) = homes();
        let path = staged.path().to_owned();
        staged.discard();
        assert!(!path.exists());
        assert_eq!(login(&place), "old");
    }

    #[test]
    fn after_the_exchange_the_old_home_is_never_removed() {
        let (_dir, place, mut staged) = homes();
        let path = staged.path().to_owned();
        staged.exchange(&place, &mut Vec::new()).unwrap();
        staged.discard();
        assert_eq!((login(&place), login(&path)), ("new".to_owned(), "old".to_owned()));
    }

    #[test]
    #[cfg(unix)]
    fn an_exchange_that_happened_and_said_it_failed_keeps_both_homes() {
        let (_dir, place, mut staged) = homes();
        let path = staged.path().to_owned();
        staged.state = State::Tried;
        swap::exchange(&path, &place).unwrap();
        let failed = || DiskError {
            action: "sync",
            path: place.clone(),
            source: io::ErrorKind::StorageFull.into(),
        };
        let mut warnings = Vec::new();
        let how = staged.judge(Err(failed()), &place, How::Exchanged, &mut warnings).unwrap();
        assert_eq!((how, warnings.len()), (How::Exchanged, 1));
        staged.discard();
        assert_eq!((login(&place), login(&path)), ("new".to_owned(), "old".to_owned()));

        // One of which nobody learns that it happened leaves both, too.
        let lost = Staged { path: path.clone(), identity: None, state: State::Tried };
        lost.discard();
        let lost = Staged {
            path: path.clone(),
            identity: swap::identity(&place).unwrap(),
            state: State::Tried,
        };
        lost.discard();
        assert_eq!((login(&place), login(&path)), ("new".to_owned(), "old".to_owned()));
    }

    #[test]
    fn an_exchange_that_did_not_happen_leaves_no_litter() {
        let (_dir, place, mut staged) = homes();
        let path = staged.path().to_owned();
        let none = place.with_file_name("none");
        assert!(staged.exchange(&none, &mut Vec::new()).is_err());
        staged.discard();
        assert!(!path.exists());
        assert_eq!(login(&place), "old");
    }

    #[test]
    fn a_home_that_cannot_be_put_away_stays_and_is_named() {
        let (dir, place, mut staged) = homes();
        let undo = dir.path().join("undo");
        fs::write(&undo, "in the way").unwrap();
        let mut warnings = Vec::new();
        staged.exchange(&place, &mut warnings).unwrap();
        let old = staged.path().to_owned();
        let beside = place.with_file_name("codex.replaced-x");
        fs::write(&beside, "in the way too").unwrap();
        let kept = keep(&old, &place, &undo.join("x"), "x", &mut warnings);
        assert_eq!((kept.as_path(), login(&kept)), (old.as_path(), "old".to_owned()));
        fs::remove_file(&beside).unwrap();
        let kept = keep(&old, &place, &undo.join("x"), "x", &mut warnings);
        assert_eq!((&kept, login(&kept)), (&beside, "old".to_owned()));
        assert!(warnings.iter().any(|told| told.contains(old.to_str().unwrap())), "{warnings:?}");
    }

    #[test]
    fn where_renaming_knows_no_flags_a_home_is_exchanged_and_put_away_too() {
        let (dir, place, mut staged) = homes();
        let mut warnings = Vec::new();
        let kept = faults::without_flags(|| {
            assert_eq!(staged.exchange(&place, &mut warnings).unwrap(), How::TwoRenames);
            keep(staged.path(), &place, &dir.path().join("undo/x"), "x", &mut warnings)
        });
        assert_eq!((login(&place), login(&kept)), ("new".to_owned(), "old".to_owned()));
        assert_eq!((kept, warnings), (dir.path().join("undo/x/codex-home"), Vec::new()));
        let name = tree::staging_name(&dir.path().join("copy")).unwrap();
        let mut copy = Staged::at(name).unwrap();
        faults::without_flags(|| copy.settle(&dir.path().join("copy"), &mut Vec::new())).unwrap();
    }

    #[test]
    #[cfg(unix)]
    fn an_exchange_without_its_last_rename_keeps_the_old_home_and_knows_where() {
        let (dir, place, mut staged) = homes();
        let mut warnings = Vec::new();
        faults::stopped_after(2, || staged.exchange(&place, &mut warnings)).unwrap();
        assert_eq!((login(&place), login(staged.path())), ("new".to_owned(), "old".to_owned()));
        assert!(warnings[0].contains(staged.path().to_str().unwrap()), "{warnings:?}");
        let kept = keep(staged.path(), &place, &dir.path().join("undo/x"), "x", &mut warnings);
        assert_eq!(
            (kept.as_path(), login(&kept)),
            (&*dir.path().join("undo/x/codex-home"), "old".into())
        );
    }

    #[test]
    fn the_folder_that_a_copy_replaces_goes_only_while_it_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("folder");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("file"), "came meanwhile").unwrap();
        assert!(remove_empty(&folder).is_some_and(|told| told.contains("folder")));
        fs::remove_file(folder.join("file")).unwrap();
        assert_eq!(remove_empty(&folder), None);
        assert!(!folder.exists());
    }
}
