//! What if a restore is killed?
//!
//! Before anything is built the journal says where, and before two homes change names, which ones;
//! it goes when all is in its place and noted down. Whoever opens the store for changes and finds
//! it finishes what was begun ([`finish`]): folders are known by their inodes, so it does not
//! matter where it stopped, and nothing is removed but what was built and never was live.

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::disk::lock::Lock;
use crate::disk::since::{self, Moment};
use crate::disk::swap::{self, Identity};
use crate::disk::{DiskError, replace};
use crate::snapshot::journal::{self, Kind};
use crate::snapshot::operations::transaction::{Notes, clear};
use crate::snapshot::operations::{Change, Databases, HomeChange, OperationError, Step};
use crate::snapshot::restore::databases::{self, Waiting};
use crate::snapshot::restore::place;
use crate::snapshot::store::Store;

/// What a restore is about to do. Format: SPEC, "Restore".
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Journal {
    #[serde(flatten)]
    notes: Notes,
    /// Name of the folder in `undo/`.
    folder: String,
    phase: Phase,
    /// Where the new home is; after the exchange the old one is there.
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
    #[serde(default)]
    carried: Vec<String>,
    /// What is replaced outside the home.
    #[serde(default)]
    databases: Option<Outside>,
    /// What keeps the login that was live, before the homes change names.
    #[serde(default)]
    banking: Vec<Step>,
    /// The newest change in the home that takes the place, before it does.
    #[serde(default)]
    settled: Option<Moment>,
    /// The journal itself.
    #[serde(skip)]
    file: PathBuf,
}

/// Databases outside the home.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Outside {
    /// Where they are used.
    pub(super) folder: PathBuf,
    /// Those that lie there and get their names once the home is in its place.
    pub(super) files: Vec<Waiting>,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Phase {
    /// What is staged never was live: it is of no use to anybody.
    Building,
    /// Names change, and what is staged may be either home.
    Exchanging,
    /// Names change, and both were live once: nothing is removed.
    Returning,
    /// The home in the place goes to the staged name, and nothing takes its place.
    Leaving,
}

impl Journal {
    /// Writes down, synced, that a home for `place` is built in the folder `staged`, which need
    /// not be made yet, and databases in the folder `databases`. `folder` is the name in `undo/`.
    pub(super) fn begin(
        store: &Store,
        notes: Notes,
        folder: &str,
        staged: &Path,
        place: &Path,
        databases: Option<&Path>,
    ) -> Result<Self, OperationError> {
        let databases =
            databases.map(|folder| Outside { folder: folder.to_owned(), files: Vec::new() });
        let mut journal =
            Self::new(store, notes, folder, Phase::Building, staged, place, databases);
        journal.new = swap::identity(staged)?;
        journal::begin(store, Kind::Home, &journal)?;
        Ok(journal)
    }

    /// Writes down, synced, that a home that was live before comes back to its place: the one in
    /// `staged`, for which the one there goes to `undo/FOLDER/`; or none, and the one there goes to
    /// the second of these paths. The databases of these names are replaced.
    pub(super) fn begin_return(
        store: &Store,
        notes: Notes,
        folder: &str,
        staged: Option<&Path>,
        (place, leaves_to): (&Path, Option<&Path>),
        carried: &[String],
        databases: Option<Outside>,
    ) -> Result<Self, OperationError> {
        let phase = if staged.is_some() { Phase::Returning } else { Phase::Leaving };
        let staged = staged.or(leaves_to).unwrap_or(place);
        let mut journal = Self::new(store, notes, folder, phase, staged, place, databases);
        journal.new = swap::identity(staged)?;
        journal.old = swap::identity(place)?;
        journal.carried = carried.to_vec();
        journal.settled = newest(staged);
        journal::begin(store, Kind::Home, &journal)?;
        Ok(journal)
    }

    fn new(
        store: &Store,
        notes: Notes,
        folder: &str,
        phase: Phase,
        staged: &Path,
        place: &Path,
        databases: Option<Outside>,
    ) -> Self {
        Self {
            notes,
            folder: folder.to_owned(),
            phase,
            staged: staged.to_owned(),
            place: place.to_owned(),
            new: None,
            old: None,
            carried: Vec::new(),
            databases,
            banking: Vec::new(),
            settled: None,
            file: store.journal(),
        }
    }

    /// Writes down, synced, which folder it is, now that it is made. Answers false where the
    /// system cannot tell folders apart.
    pub(super) fn made(&mut self) -> Result<bool, DiskError> {
        self.new = swap::identity(&self.staged)?;
        self.write()?;
        Ok(self.new.is_some())
    }

    /// Gives the login that was live its place in the store, before anything is replaced.
    ///
    /// # Errors
    ///
    /// When the disk refuses; it has none then.
    pub(super) fn bank(&mut self, steps: Vec<Step>, store: &Store) -> Result<(), DiskError> {
        self.banking = steps;
        let done = self
            .write()
            .and_then(|()| self.banking.iter().try_for_each(|step| step.forward(store.root())));
        if let Err(error) = done {
            self.banking.iter().rev().try_for_each(|step| step.back(store.root()))?;
            let given_up = std::mem::take(&mut self.banking);
            self.write()?;
            clear(&given_up, store.root());
            return Err(error);
        }
        Ok(())
    }

    /// Writes down, synced, that the names are about to change: `carried` moves from the home in
    /// the place, if there is one, and the databases of these names are replaced.
    pub(super) fn names_change(
        &mut self,
        carried: &[String],
        databases: Vec<Waiting>,
    ) -> Result<(), DiskError> {
        self.phase = Phase::Exchanging;
        self.settled = newest(&self.staged);
        self.old = swap::identity(&self.place)?;
        self.carried = carried.to_vec();
        if let Some(outside) = &mut self.databases {
            outside.files = databases;
        }
        self.write()
    }

    fn write(&self) -> Result<(), DiskError> {
        journal::update(&self.file, Kind::Home, self)
    }

    /// Notes down that it happened, and strikes it out: everything is where it belongs, or where
    /// a warning said. The home before is `kept`.
    pub(super) fn conclude(
        &mut self,
        kept: Option<&Path>,
        store: &Store,
        lock: &Lock,
    ) -> Result<(), DiskError> {
        if self.phase != Phase::Building
            && let Some(record) = &mut self.notes.operation
            && record.home_mut().is_none()
        {
            record.changes.push(Change::Home(HomeChange {
                place: self.place.clone(),
                kept: kept.map(Path::to_owned),
                new: if self.phase == Phase::Leaving { None } else { self.new },
                old: self.old,
                carried: self.carried.clone(),
                databases: self.databases.as_ref().filter(|it| !it.files.is_empty()).map(|it| {
                    let names = it.files.iter().map(|file| file.name.clone()).collect();
                    Databases { folder: it.folder.clone(), names }
                }),
                settled: self.settled,
            }));
        }
        self.notes.write_down(store, lock)?;
        if self.phase == Phase::Returning
            && let Some(folder) = self.staged.parent()
            && folder.parent() == Some(&store.undo())
        {
            let _is_needed = replace::remove_empty_dir(folder);
        }
        self.close()
    }

    /// Strikes it out.
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
            Phase::Exchanging => here == self.old && is_gone,
            Phase::Returning => here == self.old && staged == self.new,
            Phase::Leaving => here == self.old,
        };
        if is_over { self.close() } else { Ok(()) }
    }
}

/// Finishes what an interrupted restore began; the lock is held. Answers what a person should
/// know.
///
/// # Errors
///
/// When the disk refuses; the journal stays, and nothing is removed but a home that was built and
/// never got its place.
pub(crate) fn finish(
    journal: Journal,
    store: &Store,
    lock: &Lock,
) -> Result<Vec<String>, DiskError> {
    let above = replace::parent(&journal.place);
    let (new, old) = (on(journal.new, above)?, on(journal.old, above)?);
    let mut journal = Journal { file: store.journal(), new, old, ..journal };
    if !journal.is_believable() {
        let what = "it tells of an interrupted restore in places where none ever works: nothing \
                    was touched";
        return Ok(vec![format!("{}: {what}", journal.file.display())]);
    }
    let mut told = Vec::new();
    let record = journal.notes.operation.as_ref();
    let command = record.map_or("restore", |record| record.command.as_str()).to_owned();
    journal.banking.iter().try_for_each(|step| step.forward(store.root()))?;
    let end = match journal.phase {
        Phase::Building => take_back(&journal)?,
        Phase::Exchanging | Phase::Returning => settle(&journal, store, &mut told)?,
        Phase::Leaving => left(&journal)?,
    };
    if let Some(outside) = &journal.databases {
        if let End::Finished(_) = end {
            let kept = store.undo().join(&journal.folder).join(databases::KEPT);
            databases::install(&outside.folder, &outside.files, &kept)?;
        }
        replace::remove_unfinished(&outside.folder)?;
    }
    match end {
        End::Nothing => journal.close()?,
        End::TakenBack => {
            told.push(format!("an interrupted {command} was taken back: the home is as it was"));
            journal.close()?;
        }
        End::Finished(kept) => {
            told.push(match &kept {
                Some(kept) => format!(
                    "an interrupted {command} was finished: the home before is {}",
                    kept.display()
                ),
                None => format!("an interrupted {command} was finished"),
            });
            journal.conclude(kept.as_deref(), store, lock)?;
        }
    }
    Ok(told)
}

/// A home that was written down, as it would be found now. Where even the folder above is gone it is
/// what it was, and is not found.
pub(super) fn on(written: Option<Identity>, above: &Path) -> Result<Option<Identity>, DiskError> {
    match written {
        Some(written) if above.is_dir() => written.on(above).map(Some),
        written => Ok(written),
    }
}

/// The newest change in a home, where that can be told: it only helps to notice later ones.
fn newest(home: &Path) -> Option<Moment> {
    since::newest(home).ok().flatten()
}

/// What became of it.
enum End {
    /// Nobody needs to hear of it.
    Nothing,
    /// The home in the place is the old one, after something was done for that.
    TakenBack,
    /// The new home is in the place, and the one before is here.
    Finished(Option<PathBuf>),
}

/// Removes what was built, if it is where it was built. A copy that has its place already stays.
fn take_back(journal: &Journal) -> Result<End, DiskError> {
    if journal.phase == Phase::Building
        && journal.new.is_some()
        && swap::identity(&journal.place)? == journal.new
    {
        // It took the place of an empty folder, if there was any.
        let _is_theirs = replace::remove_empty_dir(&journal.staged);
        return Ok(End::Finished(None));
    }
    if journal.new.is_none() {
        // Killed before anything was built in it; what holds anything is another folder.
        let _is_theirs = replace::remove_empty_dir(&journal.staged);
        return Ok(End::Nothing);
    }
    let is_it = swap::identity(&journal.staged)? == journal.new;
    let removed = is_it && replace::remove_tree(&journal.staged)?;
    Ok(if removed { End::TakenBack } else { End::Nothing })
}

/// Puts both homes where they belong, by which of them is where.
fn settle(journal: &Journal, store: &Store, told: &mut Vec<String>) -> Result<End, DiskError> {
    let Journal { folder, staged, place, new, old, carried, .. } = journal;
    let at = |path: &Path| swap::identity(path);
    let undo = store.undo().join(folder);
    let before = match old {
        Some(old) => place::find_old(staged, place, *old)?,
        None => None,
    };
    if new.is_some() && at(place)? == *new {
        let Some(before) = &before else {
            return Ok(End::Finished(journal.put_away(store)?));
        };
        for path in carried.iter().filter(|path| before.join(path).symlink_metadata().is_ok()) {
            if let Err(error) = place::carry(before, place, path) {
                told.push(format!("{path} stays in the replaced home: {error}"));
            }
        }
        return Ok(End::Finished(Some(place::keep(before, place, &undo, folder, told))));
    }
    let mut comes_back = false;
    if at(place)?.is_none()
        && let Some(before) = &before
    {
        replace::rename_new(before, place)?;
        comes_back = true;
    }
    if at(place)? != *old {
        // Codex made a home in the moment in which there was none, or a person moved one there.
        if journal.phase == Phase::Exchanging {
            take_back(journal)?;
        }
        let before = before.iter().filter(|before| before.symlink_metadata().is_ok());
        told.extend(before.map(|before| {
            let (here, place) = (before.display(), place.display());
            format!("another home took the place {place} meanwhile: the one before is {here}")
        }));
        return Ok(End::Nothing);
    }
    if journal.phase == Phase::Exchanging && matches!(take_back(journal)?, End::TakenBack) {
        comes_back = true;
    }
    Ok(if comes_back { End::TakenBack } else { End::Nothing })
}

/// Whether the home that was to leave its place has left it.
fn left(journal: &Journal) -> Result<End, DiskError> {
    let has_left = journal.old.is_some() && swap::identity(&journal.staged)? == journal.old;
    Ok(if has_left { End::Finished(Some(journal.staged.clone())) } else { End::Nothing })
}

impl Journal {
    /// Whether it names only what a restore names: a folder under construction, and what lies in
    /// the folders it is about. What somebody else wrote must not get anything else removed or moved.
    fn is_believable(&self) -> bool {
        let is_plain = |path: &str| {
            let mut parts = Path::new(path).components().peekable();
            parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)))
        };
        let is_one = |name: &str| is_plain(name) && Path::new(name).components().count() == 1;
        let staged = self.staged.file_name().and_then(|name| name.to_str());
        let is_built = matches!(self.phase, Phase::Building | Phase::Exchanging);
        // The names of databases are looked at one by one where they are used.
        is_one(&self.folder)
            && (!is_built || staged.is_some_and(replace::is_reserved))
            && self.carried.iter().all(|path| is_plain(path))
    }

    /// Where the home before was put away, if that was done before the run was killed.
    fn put_away(&self, store: &Store) -> Result<Option<PathBuf>, DiskError> {
        if self.old.is_none() {
            return Ok(None);
        }
        let places = place::resting(&self.place, &store.undo().join(&self.folder), &self.folder);
        for path in places {
            if swap::identity(&path)? == self.old {
                return Ok(Some(path));
            }
        }
        // Somebody moved it.
        Ok(None)
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;
    use crate::disk::{faults, read, tree};
    use crate::snapshot::operations::{Record, log};
    use crate::time::Zone;

    /// A home, the one that shall replace it, and the journal of the exchange.
    struct Lab {
        dir: tempfile::TempDir,
        store: Store,
        place: PathBuf,
        staged: PathBuf,
    }

    impl Lab {
        fn new() -> Self {
            let lab = Self::before();
            lab.begin(Some(&lab.dir.path().join("databases")));
            lab
        }

        /// Before anything was written down.
        fn before() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let place = dir.path().join("codex");
            let store = Store::at(dir.path().join("manager"));
            drop(store.open(Duration::ZERO, "test").unwrap());
            fs::create_dir_all(place.join("worktrees/x")).unwrap();
            fs::write(place.join("auth.json"), "old").unwrap();
            let staged = tree::staging_dir(&place).unwrap();
            fs::write(staged.join("auth.json"), "new").unwrap();
            Self { dir, store, place, staged }
        }

        fn begin(&self, databases: Option<&Path>) {
            let mut begun = self.building(&self.staged, databases);
            let waiting = |name: &str| Waiting::of_test(name);
            let waiting = ["a.sqlite", "b.sqlite"].map(waiting);
            begun.names_change(&["worktrees".to_owned()], waiting.into()).unwrap();
        }

        fn building(&self, staged: &Path, databases: Option<&Path>) -> Journal {
            let at = Zone::UTC.stamp("2026-11-21T10:00:00Z".parse().unwrap());
            let record = Record::new("op".to_owned(), at, "restore", "restored it".to_owned());
            let notes = Notes::of(record);
            Journal::begin(&self.store, notes, "op", staged, &self.place, databases).unwrap()
        }

        /// What the next command tells.
        fn finish(&self) -> Vec<String> {
            let told = self.store.open(Duration::ZERO, "test").unwrap().finished;
            assert!(!self.store.journal().exists());
            assert_eq!(
                self.store.open(Duration::ZERO, "test").unwrap().finished,
                Vec::<String>::new()
            );
            told
        }

        /// Where the log of operations says that the home before is.
        fn noted(&self) -> Option<Option<PathBuf>> {
            let mut log = log::read(&self.store).unwrap();
            assert!(log.records.len() < 2 && log.problems.is_empty());
            log.records.pop().map(|mut record| record.home_mut().unwrap().kept.clone())
        }

        fn undo(&self) -> PathBuf {
            self.store.undo().join("op")
        }

        fn login(&self, home: &str) -> String {
            fs::read_to_string(self.dir.path().join(home).join("auth.json")).unwrap()
        }

        /// Nothing waits beside the home any more.
        fn assert_tidy(&self) {
            let mut names = read::names(self.dir.path()).unwrap();
            names.sort();
            assert_eq!(names, ["codex", "manager"]);
        }
    }

    #[test]
    fn killed_after_the_exchange_the_old_home_is_put_away() {
        let lab = Lab::new();
        swap::exchange(&lab.staged, &lab.place).unwrap();
        let told = lab.finish();
        assert!(told.iter().any(|told| told.contains("undo/op/codex-home")), "{told:?}");
        let kept = lab.undo().join("codex-home");
        assert_eq!(
            (lab.login("codex"), lab.login(kept.to_str().unwrap())),
            ("new".into(), "old".into())
        );
        assert_eq!(lab.noted(), Some(Some(kept)));
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
                assert_eq!(lab.login("manager/undo/op/codex-home"), "old");
            }
            assert_eq!(lab.noted().is_some(), live == "new", "{renames}");
            lab.assert_tidy();
        }
    }

    #[test]
    fn killed_after_the_old_home_was_put_away_nothing_moves() {
        let lab = Lab::new();
        swap::exchange(&lab.staged, &lab.place).unwrap();
        fs::create_dir(lab.undo()).unwrap();
        let kept = lab.undo().join("codex-home");
        fs::rename(&lab.staged, &kept).unwrap();
        assert_eq!(lab.finish().len(), 1);
        assert_eq!(
            (lab.login("codex"), lab.login(kept.to_str().unwrap())),
            ("new".into(), "old".into())
        );
        assert_eq!(lab.noted(), Some(Some(kept)));
        lab.assert_tidy();
    }

    #[test]
    fn killed_while_the_home_is_built_nothing_of_it_stays() {
        let lab = Lab::before();
        let folder = lab.dir.path().join("folder");
        fs::create_dir(&folder).unwrap();
        lab.building(&lab.staged, Some(&folder));
        let (temporary, theirs) =
            (folder.join(".codex-manager-0123456789abcdef.tmp"), folder.join("theirs.tmp"));
        fs::write(&temporary, "").unwrap();
        fs::write(&theirs, "").unwrap();
        assert_eq!(lab.finish().len(), 1);
        assert!(!lab.staged.exists() && !temporary.exists() && theirs.exists());

        // Killed right after the folder was made, it goes as long as nothing is in it.
        for content in [None, Some("x")] {
            let staged = tree::staging_name(&lab.place).unwrap();
            lab.building(&staged, None);
            fs::create_dir(&staged).unwrap();
            if let Some(name) = content {
                fs::write(staged.join(name), "").unwrap();
            }
            assert_eq!(lab.finish(), Vec::<String>::new());
            assert_eq!(staged.exists(), content.is_some());
        }

        // Another folder of that name is not the one.
        let staged = tree::staging_dir(&lab.place).unwrap();
        fs::write(staged.join("auth.json"), "new").unwrap();
        lab.building(&staged, None);
        fs::rename(&staged, lab.dir.path().join("moved")).unwrap();
        fs::create_dir(&staged).unwrap();
        assert_eq!(lab.finish(), Vec::<String>::new());
        assert!(staged.exists() && lab.dir.path().join("moved/auth.json").exists());
        assert_eq!((lab.login("codex"), lab.noted()), ("old".to_owned(), None));
    }

    #[test]
    fn killed_when_a_home_took_an_empty_place_it_stays_there() {
        for renamed in [false, true] {
            let lab = Lab::before();
            fs::remove_dir_all(&lab.place).unwrap();
            lab.begin(None);
            if renamed {
                fs::rename(&lab.staged, &lab.place).unwrap();
            }
            lab.finish();
            assert!(!lab.staged.exists() && lab.place.exists() == renamed);
            assert_eq!(lab.noted(), renamed.then_some(None));
        }
    }

    #[test]
    fn killed_at_any_rename_of_a_return_one_home_is_live_and_none_is_lost() {
        for renames in 0..=3 {
            let lab = Lab::before();
            // The one that comes back was live before and lies where it was kept.
            let kept = lab.store.undo().join("before/codex-home");
            fs::create_dir(kept.parent().unwrap()).unwrap();
            fs::rename(&lab.staged, &kept).unwrap();
            let at = Zone::UTC.stamp("2026-11-21T10:00:00Z".parse().unwrap());
            let record = Record::new("op".to_owned(), at, "undo", "took it back".to_owned());
            let notes = Notes::of(record);
            let place = (lab.place.as_path(), None);
            let carried = ["worktrees".to_owned()];
            Journal::begin_return(&lab.store, notes, "op", Some(&kept), place, &carried, None)
                .unwrap();
            let done = faults::stopped_after(renames, || swap::exchange(&kept, &lab.place));
            assert_eq!(done.is_ok(), renames == 3);
            lab.finish();
            let (live, rests) = match renames {
                0 | 1 => ("old", kept),
                _ => ("new", lab.undo().join("codex-home")),
            };
            assert_eq!(lab.login("codex"), live, "{renames}");
            assert_ne!(lab.login(rests.to_str().unwrap()), live, "{renames}");
            assert!(lab.place.join("worktrees/x").is_dir(), "{renames}");
            assert_eq!(lab.noted(), (live == "new").then_some(Some(rests)), "{renames}");
            lab.assert_tidy();
        }
    }

    #[test]
    fn killed_when_a_home_leaves_its_place_it_has_left_or_not() {
        for renamed in [false, true] {
            let lab = Lab::before();
            fs::remove_dir_all(&lab.staged).unwrap();
            let at = Zone::UTC.stamp("2026-11-21T10:00:00Z".parse().unwrap());
            let record = Record::new("op".to_owned(), at, "undo", "took it back".to_owned());
            let notes = Notes::of(record);
            let target = lab.undo().join("codex-home");
            let place = (lab.place.as_path(), Some(target.as_path()));
            Journal::begin_return(&lab.store, notes, "op", None, place, &[], None).unwrap();
            fs::create_dir(lab.undo()).unwrap();
            if renamed {
                fs::rename(&lab.place, &target).unwrap();
            }
            lab.finish();
            assert_eq!((lab.place.exists(), lab.undo().exists()), (!renamed, renamed));
            assert_eq!(lab.noted(), renamed.then_some(Some(target)));
        }
    }

    #[test]
    fn killed_while_databases_outside_are_replaced_none_is_lost_sight_of() {
        let lab = Lab::new();
        swap::exchange(&lab.staged, &lab.place).unwrap();
        let (folder, kept) = (lab.dir.path().join("databases"), lab.undo().join("sqlite_home"));
        fs::create_dir(&folder).unwrap();
        fs::create_dir_all(&kept).unwrap();
        // The first was exchanged, the second only taken away; its log was not yet.
        let b = Waiting::of_test("b.sqlite").temporary;
        for (path, content) in [
            (folder.join("a.sqlite"), "new"),
            (kept.join("a.sqlite"), "old"),
            (kept.join("b.sqlite"), "old"),
            (kept.join("b.sqlite-wal"), "its log"),
            (folder.join("b.sqlite-wal"), "its log"),
            (folder.join(b), "new"),
        ] {
            fs::write(path, content).unwrap();
        }
        lab.finish();
        let read = |path: PathBuf| fs::read_to_string(path).unwrap();
        let mut names = read::names(&folder).unwrap();
        names.sort();
        assert_eq!(names, ["a.sqlite", "b.sqlite"]);
        assert_eq!(
            (read(folder.join("a.sqlite")), read(folder.join("b.sqlite"))),
            ("new".into(), "new".into())
        );
        assert_eq!(
            (read(kept.join("b.sqlite")), read(kept.join("b.sqlite-wal"))),
            ("old".into(), "its log".into())
        );
        assert_eq!(lab.login("codex"), "new");
    }

    #[test]
    fn a_database_that_codex_made_meanwhile_does_not_take_the_place_of_the_copy() {
        let lab = Lab::new();
        swap::exchange(&lab.staged, &lab.place).unwrap();
        let (folder, kept) = (lab.dir.path().join("databases"), lab.undo().join("sqlite_home"));
        fs::create_dir(&folder).unwrap();
        fs::create_dir_all(&kept).unwrap();
        fs::write(kept.join("b.sqlite"), "precious").unwrap();
        fs::write(folder.join("b.sqlite"), "made by Codex since").unwrap();
        fs::write(folder.join(Waiting::of_test("b.sqlite").temporary), "new").unwrap();
        lab.finish();
        let read = |path: PathBuf| fs::read_to_string(path).unwrap();
        assert_eq!(read(folder.join("b.sqlite")), "new");
        assert_eq!(read(kept.join("b.sqlite")), "precious");
        assert_eq!(read(kept.join("b.sqlite.later")), "made by Codex since");
    }

    #[test]
    fn a_home_that_came_into_the_place_meanwhile_hides_no_other() {
        let lab = Lab::new();
        // Killed between the renames of an exchange by renames; then Codex was started.
        let _killed =
            faults::stopped_after(1, || swap::exchange(&lab.staged, &lab.place)).unwrap_err();
        fs::create_dir(&lab.place).unwrap();
        let told = lab.finish().join("\n");
        let waiting = swap::waiting(lab.dir.path()).unwrap();
        let [aside] = waiting.as_slice() else { unreachable!("{waiting:?}") };
        assert!(told.contains(aside.to_str().unwrap()), "{told}");
        assert_eq!(lab.login(aside.to_str().unwrap()), "old");
        assert!(!lab.staged.exists() && lab.place.exists());
        assert_eq!(lab.noted(), None);
    }

    #[test]
    fn killed_before_the_exchange_databases_outside_stay_as_they_are() {
        let lab = Lab::new();
        let folder = lab.dir.path().join("databases");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("b.sqlite"), "old").unwrap();
        fs::write(folder.join(Waiting::of_test("b.sqlite").temporary), "new").unwrap();
        lab.finish();
        assert_eq!(read::names(&folder).unwrap(), ["b.sqlite"]);
        assert_eq!(fs::read_to_string(folder.join("b.sqlite")).unwrap(), "old");
    }

    #[test]
    fn a_journal_is_never_written_over() {
        let lab = Lab::new();
        let before = fs::read(lab.store.journal()).unwrap();
        let (store, place) = (&lab.store, &lab.place);
        let error = Journal::begin(store, Notes::default(), "x", &lab.staged, place, None);
        assert!(matches!(error.unwrap_err(), OperationError::Unfinished { .. }));
        assert_eq!(fs::read(lab.store.journal()).unwrap(), before);
    }

    #[test]
    fn a_journal_that_cannot_be_read_moves_nothing_and_stays() {
        let lab = Lab::new();
        fs::write(lab.store.journal(), "{").unwrap();
        assert_eq!(lab.store.open(Duration::ZERO, "test").unwrap().finished.len(), 1);
        assert!(lab.store.journal().exists());
        assert_eq!(lab.login("codex"), "old");
        assert!(lab.staged.exists());
    }
}
