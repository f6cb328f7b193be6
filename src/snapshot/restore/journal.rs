//! What if a restore is killed between the exchange and putting the replaced home away?
//!
//! Before the exchange `journal.json` in the manager home says which folders are about to change
//! names; it goes when the replaced home is put away. Whoever opens the store for changes and
//! finds it finishes what was begun ([`finish`]): folders are known by their inodes, so it does not
//! matter where it stopped.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::disk::swap::{self, Identity};
use crate::disk::{DiskError, read, replace};
use crate::snapshot::restore::place;

/// Larger ones are not read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// What an in-place restore is about to do. Format: SPEC, "Restore".
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Journal {
    schema_version: u32,
    /// Name of the folder in `undo/`.
    operation: String,
    /// Where the new home was built; after the exchange the old one is there.
    staged: PathBuf,
    /// Where the home belongs.
    place: PathBuf,
    /// The new home.
    new: Identity,
    /// The old home.
    old: Identity,
    /// What moves from the old home into the new one.
    carried: Vec<String>,
}

impl Journal {
    /// Writes down, synced, that `staged` and `place` are about to change names; nothing where the
    /// system cannot tell folders apart. A journal that is there already stays, which is an error
    /// of the kind `AlreadyExists`.
    pub(super) fn write(
        file: &Path,
        operation: &str,
        staged: &Path,
        place: &Path,
        carried: &[String],
    ) -> Result<(), DiskError> {
        let (Some(new), Some(old)) = (swap::identity(staged)?, swap::identity(place)?) else {
            return Ok(());
        };
        let journal = Self {
            schema_version: 1,
            operation: operation.to_owned(),
            staged: staged.to_owned(),
            place: place.to_owned(),
            new,
            old,
            carried: carried.to_vec(),
        };
        // Only a path that is not UTF-8 has no JSON form; such a home is restored without.
        let Ok(bytes) = serde_json::to_vec_pretty(&journal) else { return Ok(()) };
        replace::write_new(file, &bytes)
    }

    /// Strikes it out: everything is where it belongs, or where a warning said.
    pub(super) fn close(file: &Path) -> Result<(), DiskError> {
        replace::remove_file(file).map(|_| ())
    }
}

/// Finishes what an interrupted restore began. `file` is the journal, `undo` the folder of that
/// name; the lock is held. Answers what a person should know.
///
/// # Errors
///
/// When the disk refuses; the journal stays, and nothing is removed but a home that was built and
/// never got its place.
pub(crate) fn finish(file: &Path, undo: &Path) -> Result<Vec<String>, DiskError> {
    let Some(bytes) = read::optional(file, MAX_BYTES)? else { return Ok(Vec::new()) };
    let known = serde_json::from_slice(&bytes).ok();
    let Some(journal) = known.filter(|journal: &Journal| journal.schema_version == 1) else {
        let what = "a restore was interrupted, and its journal cannot be read: look beside the Codex home for the one that was replaced";
        return Ok(vec![format!("{}: {what}", file.display())]);
    };
    let Journal { operation, staged, place, new, old, carried, .. } = journal;
    let mut told = Vec::new();
    let at = |path: &Path| swap::identity(path);
    let before = place::find_old(&staged, &place, old)?;
    if at(&place)? == Some(new)
        && let Some(before) = &before
    {
        for path in carried.iter().filter(|path| before.join(path).symlink_metadata().is_ok()) {
            if let Err(error) = place::carry(before, &place, path) {
                told.push(format!("{path} stays in the replaced home: {error}"));
            }
        }
        let kept = place::keep(before, &place, &undo.join(&operation), &operation, &mut told);
        told.push(format!(
            "an interrupted restore was finished: the home before is {}; databases outside the home are as they were",
            kept.display()
        ));
    } else if at(&place)? == Some(old) && at(&staged)? == Some(new) {
        replace::remove_tree(&staged)?;
        told.push("an interrupted restore was taken back: the home is as it was".to_owned());
    } else if at(&place)?.is_none()
        && let Some(waiting) = &before
    {
        replace::rename_new(waiting, &place)?;
        if at(&staged)? == Some(new) {
            replace::remove_tree(&staged)?;
        }
        told.push("an interrupted restore was taken back: the home is as it was".to_owned());
    }
    // Anything else was put away already, or moved by hand.
    Journal::close(file)?;
    Ok(told)
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::fs;

    use super::*;
    use crate::disk::{flags, tree};

    /// A home, the one that shall replace it, and the journal of the exchange.
    struct Lab {
        dir: tempfile::TempDir,
        place: PathBuf,
        staged: PathBuf,
        journal: PathBuf,
    }

    impl Lab {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let place = dir.path().join("codex");
            fs::create_dir_all(place.join("worktrees/x")).unwrap();
            fs::create_dir(dir.path().join("undo")).unwrap();
            fs::write(place.join("auth.json"), "old").unwrap();
            let staged = tree::staging_dir(&place).unwrap();
            fs::write(staged.join("auth.json"), "new").unwrap();
            let journal = dir.path().join("journal.json");
            let carried = ["worktrees".to_owned()];
            Journal::write(&journal, "op", &staged, &place, &carried).unwrap();
            Self { dir, place, staged, journal }
        }

        fn finish(&self) -> Vec<String> {
            let told = finish(&self.journal, &self.dir.path().join("undo")).unwrap();
            assert!(!self.journal.exists());
            assert_eq!(finish(&self.journal, Path::new("none")).unwrap(), Vec::<String>::new());
            told
        }

        fn login(&self, home: &str) -> String {
            fs::read_to_string(self.dir.path().join(home).join("auth.json")).unwrap()
        }

        /// Nothing waits beside the home any more.
        fn assert_tidy(&self) {
            let mut names = read::names(self.dir.path()).unwrap();
            names.sort();
            assert_eq!(names, ["codex", "undo"]);
        }
    }

    #[test]
    fn killed_after_the_exchange_the_old_home_is_put_away() {
        let lab = Lab::new();
        swap::exchange(&lab.staged, &lab.place).unwrap();
        let told = lab.finish();
        assert!(told.iter().any(|told| told.contains("undo/op/codex-home")), "{told:?}");
        assert_eq!(
            (lab.login("codex"), lab.login("undo/op/codex-home")),
            ("new".into(), "old".into())
        );
        assert!(lab.place.join("worktrees/x").is_dir());
        lab.assert_tidy();
    }

    #[test]
    fn killed_before_the_exchange_the_home_is_as_it_was() {
        let lab = Lab::new();
        assert_eq!(lab.finish().len(), 1);
        assert_eq!(lab.login("codex"), "old");
        assert!(lab.place.join("worktrees/x").is_dir());
        lab.assert_tidy();
    }

    #[test]
    fn killed_at_any_rename_of_an_exchange_one_home_is_live_and_none_is_lost() {
        for (renames, live) in [(0, "old"), (1, "old"), (2, "new"), (3, "new")] {
            let lab = Lab::new();
            let done = flags::stopped_after(renames, || swap::exchange(&lab.staged, &lab.place));
            assert_eq!(done.is_ok(), renames == 3);
            assert_eq!(lab.finish().len(), 1, "{renames}");
            assert_eq!(lab.login("codex"), live, "{renames}");
            assert!(lab.place.join("worktrees/x").is_dir(), "{renames}");
            if live == "new" {
                assert_eq!(lab.login("undo/op/codex-home"), "old");
            }
            lab.assert_tidy();
        }
    }

    #[test]
    fn killed_after_the_old_home_was_put_away_nothing_moves() {
        let lab = Lab::new();
        swap::exchange(&lab.staged, &lab.place).unwrap();
        let kept = lab.dir.path().join("undo/home");
        fs::rename(&lab.staged, kept).unwrap();
        assert_eq!(lab.finish(), Vec::<String>::new());
        assert_eq!((lab.login("codex"), lab.login("undo/home")), ("new".into(), "old".into()));
        lab.assert_tidy();
    }

    #[test]
    fn a_journal_is_never_written_over() {
        let lab = Lab::new();
        let before = fs::read(&lab.journal).unwrap();
        let error = Journal::write(&lab.journal, "other", &lab.staged, &lab.place, &[]);
        assert_eq!(error.unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&lab.journal).unwrap(), before);
    }

    #[test]
    fn a_journal_that_cannot_be_read_moves_nothing_and_stays() {
        let lab = Lab::new();
        fs::write(&lab.journal, "{").unwrap();
        assert_eq!(finish(&lab.journal, Path::new("none")).unwrap().len(), 1);
        assert!(lab.journal.exists());
        assert_eq!(lab.login("codex"), "old");
        assert!(lab.staged.exists());
    }
}
