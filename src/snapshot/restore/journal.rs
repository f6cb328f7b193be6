//! What if a restore is killed?
//!
//! Before anything is built `journal.json` in the manager home says where, and before two homes
//! change names, which ones; it goes when all is in its place. Whoever opens the store for changes
//! and finds it finishes what was begun ([`finish`]): folders are known by their inodes, so it does
//! not matter where it stopped, and nothing is removed but what was built and never was live.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::disk::swap::{self, Identity};
use crate::disk::{DiskError, read, replace};
use crate::snapshot::restore::{databases, place};

/// Larger ones are not read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// What a restore is about to do. Format: SPEC, "Restore".
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Journal {
    schema_version: u32,
    /// Name of the folder in `undo/`.
    operation: String,
    #[serde(default)]
    phase: Phase,
    /// Where the new home is built; after the exchange the old one is there.
    staged: PathBuf,
    /// Where the home belongs.
    place: PathBuf,
    /// The new home, as soon as its folder is made.
    #[serde(default)]
    new: Option<Identity>,
    /// The old home, if there is one.
    #[serde(default)]
    old: Option<Identity>,
    /// What moves from the old home into the new one.
    carried: Vec<String>,
    /// What is replaced outside the home.
    #[serde(default)]
    databases: Option<Databases>,
    /// The journal itself.
    #[serde(skip)]
    file: PathBuf,
}

/// How far a restore has come.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Phase {
    /// What is staged never was live: it is of no use to anybody.
    Building,
    /// Names change, and what is staged may be either home.
    #[default]
    Exchanging,
}

/// Databases outside the home.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Databases {
    folder: PathBuf,
    /// Those that are replaced once the home is in its place.
    names: Vec<String>,
}

impl Journal {
    /// Writes down, synced, that a home for `place` is built in the folder `staged`, which need
    /// not be made yet, and databases in the folder `databases`. A journal that is there already
    /// stays, which is an error of the kind `AlreadyExists`.
    pub(super) fn begin(
        file: &Path,
        operation: &str,
        staged: &Path,
        place: &Path,
        databases: Option<&Path>,
    ) -> Result<Option<Self>, DiskError> {
        let new = swap::identity(staged)?;
        let journal = Self {
            schema_version: 1,
            operation: operation.to_owned(),
            phase: Phase::Building,
            staged: staged.to_owned(),
            place: place.to_owned(),
            new,
            old: None,
            carried: Vec::new(),
            databases: databases
                .map(|folder| Databases { folder: folder.to_owned(), names: Vec::new() }),
            file: file.to_owned(),
        };
        // Only a path that is not UTF-8 has no JSON form; such a home is restored without.
        let Ok(bytes) = serde_json::to_vec_pretty(&journal) else { return Ok(None) };
        replace::write_new(file, &bytes)?;
        Ok(Some(journal))
    }

    /// Writes down, synced, which folder it is, now that it is made. Answers false where the
    /// system cannot tell folders apart.
    pub(super) fn made(&mut self) -> Result<bool, DiskError> {
        self.new = swap::identity(&self.staged)?;
        self.write()?;
        Ok(self.new.is_some())
    }

    /// Writes down, synced, that the names are about to change: `carried` moves from the home in
    /// the place, if there is one, and the databases of these names are replaced.
    pub(super) fn names_change(
        &mut self,
        carried: &[String],
        databases: Vec<String>,
    ) -> Result<(), DiskError> {
        self.phase = Phase::Exchanging;
        self.old = swap::identity(&self.place)?;
        self.carried = carried.to_vec();
        if let Some(outside) = &mut self.databases {
            outside.names = databases;
        }
        self.write()
    }

    fn write(&self) -> Result<(), DiskError> {
        let failed = |source: serde_json::Error| DiskError {
            action: "write",
            path: self.file.clone(),
            source: source.into(),
        };
        replace::write(&self.file, &serde_json::to_vec_pretty(self).map_err(failed)?)
    }

    /// Strikes it out: everything is where it belongs, or where a warning said.
    pub(super) fn close(&self) -> Result<(), DiskError> {
        replace::remove_file(&self.file).map(|_| ())
    }

    /// Strikes it out before anything was built, with the empty folder.
    pub(super) fn abandon(&self) -> Result<(), DiskError> {
        replace::remove_empty_dir(&self.staged)?;
        self.close()
    }

    /// Strikes it out after a failure if that left nothing to finish.
    pub(super) fn close_if_over(&self) -> Result<(), DiskError> {
        let here = swap::identity(&self.place)?;
        let staged = swap::identity(&self.staged)?;
        let is_gone = staged.is_none() || staged != self.new;
        let is_over = match self.phase {
            Phase::Building => is_gone,
            Phase::Exchanging => {
                (here.is_some() && here == self.new) || (here == self.old && is_gone)
            }
        };
        if is_over { self.close() } else { Ok(()) }
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
    let mut told = Vec::new();
    let is_taken_back = match journal.phase {
        Phase::Building => take_back(&journal)?,
        Phase::Exchanging => settle(&journal, undo, &mut told)?,
    };
    if is_taken_back {
        told.push("an interrupted restore was taken back: the home is as it was".to_owned());
    }
    if let Some(outside) = &journal.databases {
        replace::remove_unfinished(&outside.folder)?;
        let kept = undo.join(&journal.operation).join(databases::KEPT);
        databases::put_back(&outside.folder, &outside.names, &kept, &mut told)?;
    }
    replace::remove_file(file)?;
    Ok(told)
}

/// Removes what was built, if it is where it was built. Answers whether it was.
fn take_back(journal: &Journal) -> Result<bool, DiskError> {
    let found = swap::identity(&journal.staged)?;
    if journal.new.is_none() {
        // Killed before anything was built in it; what holds anything is another folder.
        let _is_theirs = replace::remove_empty_dir(&journal.staged);
        return Ok(false);
    }
    Ok(found == journal.new && replace::remove_tree(&journal.staged)?)
}

/// Puts both homes where they belong, by which of them is where. Answers whether the old one is
/// live again.
fn settle(journal: &Journal, undo: &Path, told: &mut Vec<String>) -> Result<bool, DiskError> {
    let Journal { operation, staged, place, new, old, carried, .. } = journal;
    let at = |path: &Path| swap::identity(path);
    let before = match old {
        Some(old) => place::find_old(staged, place, *old)?,
        None => None,
    };
    if new.is_some() && at(place)? == *new {
        if let Some(before) = &before {
            for path in carried.iter().filter(|path| before.join(path).symlink_metadata().is_ok()) {
                if let Err(error) = place::carry(before, place, path) {
                    told.push(format!("{path} stays in the replaced home: {error}"));
                }
            }
            let kept = place::keep(before, place, &undo.join(operation), operation, told);
            told.push(format!(
                "an interrupted restore was finished: the home before is {}",
                kept.display()
            ));
        }
        return Ok(false);
    }
    let mut comes_back = false;
    if at(place)?.is_none()
        && let Some(before) = &before
    {
        replace::rename_new(before, place)?;
        comes_back = true;
    }
    // Anything else was put away already, or moved by hand.
    Ok(at(place)? == *old && (take_back(journal)? || comes_back))
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::fs;

    use super::*;
    use crate::disk::{faults, tree};

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
            let folder = dir.path().join("databases");
            let begun = Journal::begin(&journal, "op", &staged, &place, Some(&folder)).unwrap();
            let names = ["a.sqlite", "b.sqlite", "../auth.json"].map(str::to_owned);
            begun.unwrap().names_change(&["worktrees".to_owned()], names.into()).unwrap();
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
        let stops = [
            (0, false, "old"),
            (1, false, "old"),
            (1, true, "old"),
            (2, false, "new"),
            (3, false, "new"),
        ];
        for (renames, failed, live) in stops {
            let lab = Lab::new();
            let done = faults::stopped_after(renames, || swap::exchange(&lab.staged, &lab.place));
            assert_eq!(done.is_ok(), renames == 3);
            if failed {
                // A run that was not killed there removed what it had built.
                fs::remove_dir_all(&lab.staged).unwrap();
            }
            let told = lab.finish();
            assert_eq!(told.len(), 1, "{renames}: {told:?}");
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
    fn killed_while_the_home_is_built_nothing_of_it_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (place, folder) = (dir.path().join("codex"), dir.path().join("folder"));
        let journal = dir.path().join("journal.json");
        fs::create_dir(&folder).unwrap();
        let begin = || {
            let staged = tree::staging_dir(&place).unwrap();
            fs::write(staged.join("auth.json"), "new").unwrap();
            Journal::begin(&journal, "op", &staged, &place, Some(&folder)).unwrap().unwrap();
            staged
        };
        let staged = begin();
        let (temporary, theirs) =
            (folder.join(".codex-manager-0123456789abcdef.tmp"), folder.join("theirs.tmp"));
        fs::write(&temporary, "").unwrap();
        fs::write(&theirs, "").unwrap();
        assert_eq!(finish(&journal, Path::new("none")).unwrap().len(), 1);
        assert!(!staged.exists() && !journal.exists() && !temporary.exists() && theirs.exists());

        // Killed right after the folder was made, it goes as long as nothing is in it.
        for content in [None, Some("x")] {
            let staged = tree::staging_name(&place).unwrap();
            Journal::begin(&journal, "op", &staged, &place, None).unwrap().unwrap();
            fs::create_dir(&staged).unwrap();
            if let Some(name) = content {
                fs::write(staged.join(name), "").unwrap();
            }
            assert_eq!(finish(&journal, Path::new("none")).unwrap(), Vec::<String>::new());
            assert_eq!(staged.exists(), content.is_some());
        }

        // Another folder of that name is not the one.
        let staged = begin();
        fs::rename(&staged, dir.path().join("moved")).unwrap();
        fs::create_dir(&staged).unwrap();
        assert_eq!(finish(&journal, Path::new("none")).unwrap(), Vec::<String>::new());
        assert!(staged.exists() && dir.path().join("moved/auth.json").exists());
        assert!(!journal.exists());
    }

    #[test]
    fn killed_when_a_home_took_an_empty_place_it_stays_there() {
        let dir = tempfile::tempdir().unwrap();
        let (place, journal) = (dir.path().join("codex"), dir.path().join("journal.json"));
        for renamed in [false, true] {
            let staged = tree::staging_dir(&place).unwrap();
            let begun = Journal::begin(&journal, "op", &staged, &place, None).unwrap();
            begun.unwrap().names_change(&[], Vec::new()).unwrap();
            if renamed {
                fs::rename(&staged, &place).unwrap();
            }
            finish(&journal, Path::new("none")).unwrap();
            assert!(!staged.exists() && place.exists() == renamed && !journal.exists());
        }
    }

    #[test]
    fn killed_while_databases_outside_are_replaced_none_is_lost_sight_of() {
        let lab = Lab::new();
        swap::exchange(&lab.staged, &lab.place).unwrap();
        let (folder, kept) =
            (lab.dir.path().join("databases"), lab.dir.path().join("undo/op/sqlite_home"));
        fs::create_dir(&folder).unwrap();
        fs::create_dir_all(&kept).unwrap();
        // The first was exchanged, the second only taken away; its log was not yet.
        for (path, content) in [
            (folder.join("a.sqlite"), "new"),
            (kept.join("a.sqlite"), "old"),
            (kept.join("b.sqlite"), "old"),
            (kept.join("b.sqlite-wal"), "its log"),
            (folder.join("b.sqlite-wal"), "its log"),
            (kept.join("b.sqlite-shm"), "its index"),
            (lab.dir.path().join("undo/op/auth.json"), "not a database of this restore"),
        ] {
            fs::write(path, content).unwrap();
        }
        let told = lab.finish().join("\n");
        let read = |path: PathBuf| fs::read_to_string(path).unwrap();
        assert_eq!(read(folder.join("a.sqlite")), "new");
        assert_eq!(read(folder.join("b.sqlite")), "old");
        assert_eq!(read(folder.join("b.sqlite-wal")), "its log");
        assert_eq!(read(folder.join("b.sqlite-shm")), "its index");
        assert_eq!(read(kept.join("b.sqlite")), "old", "undo still has it");
        assert_eq!(lab.login("codex"), "new");
        assert!(!lab.dir.path().join("auth.json").exists());
        assert!(told.contains("databases/b.sqlite was put back"), "{told}");
        assert!(told.contains("undo/op/sqlite_home/a.sqlite"), "{told}");
    }

    #[test]
    fn a_journal_is_never_written_over() {
        let lab = Lab::new();
        let before = fs::read(&lab.journal).unwrap();
        let error = Journal::begin(&lab.journal, "other", &lab.staged, &lab.place, None);
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
