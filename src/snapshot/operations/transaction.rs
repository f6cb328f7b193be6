//! How do several changes of the manager home become one?
//!
//! All that is new lies ready, synced, under temporary names before anything begins. Then
//! `journal.json` says what will happen; then it happens, step by step; then the ledger and
//! `operations.jsonl` tell that it did; then the journal goes. Killed before the journal was there,
//! nothing has happened. Killed afterwards, the next command goes on where it stopped. A step that
//! fails takes back the ones before it.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Record, Step, below, log};
use crate::disk::lock::Lock;
use crate::disk::{DiskError, replace};
use crate::quota::Entry;
use crate::snapshot::journal::{self, Kind};
use crate::snapshot::operations::step::note_lines;
use crate::snapshot::store::Store;

/// What will happen as one. Paths are relative to the manager home.
#[derive(Debug, Default)]
pub struct Transaction {
    /// What is said about it afterwards.
    pub record: Option<Record>,
    /// What the ledger learns.
    pub ledger: Vec<Entry>,
    /// What happens, in this order.
    pub steps: Vec<Step>,
    /// What is deleted at last: nothing brings that back.
    pub discards: Vec<PathBuf>,
}

/// Why nothing happened.
#[derive(Debug, thiserror::Error)]
pub enum OperationError {
    /// An operation before this one was interrupted and could not be finished.
    #[error(
        "{} tells of an interrupted operation that could not be finished: nothing is changed while it is there",
        path.display()
    )]
    Unfinished {
        /// The journal.
        path: PathBuf,
    },
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl OperationError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unfinished { .. } => Some(
                "the warning says why; mend that and try again. When nothing is missing, move that \
                 file aside"
                    .to_owned(),
            ),
            Self::Disk(error) => error.hint(),
        }
    }
}

impl Transaction {
    /// Does it all. Answers what a person should know: it happened, and something afterwards did
    /// not go well.
    ///
    /// # Errors
    ///
    /// Nothing has happened, unless the error says that the next command finishes it.
    pub fn run(self, store: &Store, lock: &Lock) -> Result<Vec<String>, OperationError> {
        let paper = match self.written(store) {
            Ok(paper) => paper,
            Err(error) => {
                let is_ours = !matches!(error, OperationError::Unfinished { .. });
                if is_ours && store.journal().symlink_metadata().is_ok() {
                    return Err(to_be_finished(store, &error, "the journal could not be removed"));
                }
                self.tidy(store.root());
                return Err(error);
            }
        };
        if let Err((number, error)) = paper.forward(store.root()) {
            let done = paper.back(store.root(), number).and_then(|()| strike_out(store));
            if let Err(second) = done {
                return Err(to_be_finished(store, &error, second));
            }
            self.tidy(store.root());
            return Err(error.into());
        }
        Ok(match paper.conclude(store, lock) {
            Ok(left) => left,
            Err(error) => vec![format!("it is done, and the next command notes it down: {error}")],
        })
    }

    /// The journal, written and synced.
    fn written(&self, store: &Store) -> Result<Paper, OperationError> {
        for step in &self.steps {
            if let Some(folder) = step.folders(store.root())? {
                replace::private_dir(&folder)?;
            }
        }
        let paper = Paper {
            notes: Notes::new(store, self.record.clone(), &self.ledger)?,
            steps: self.steps.clone(),
            discards: self.discards.clone(),
        };
        journal::begin(store, Kind::Steps, &paper)?;
        Ok(paper)
    }

    /// Removes the files that lay ready and are not needed now.
    fn tidy(&self, root: &Path) {
        clear(&self.steps, root);
        for folder in self.steps.iter().filter_map(|step| step.folders(root).ok().flatten()) {
            if folder.parent().is_some_and(|above| above == root.join("undo")) {
                let _other_things_are_in_it = replace::remove_empty_dir(&folder);
            }
        }
    }
}

/// Removes the files under construction that lay ready for steps that nobody will do.
pub(crate) fn clear(steps: &[Step], root: &Path) {
    for path in steps.iter().filter_map(|step| step.source(root)) {
        // What stays, the next command removes.
        let _litter = replace::remove_file(&path);
    }
}

/// What the journal of a transaction says.
#[derive(Debug, Deserialize, Serialize)]
pub(in crate::snapshot) struct Paper {
    #[serde(flatten)]
    notes: Notes,
    steps: Vec<Step>,
    #[serde(default)]
    discards: Vec<PathBuf>,
}

impl Paper {
    fn forward(&self, root: &Path) -> Result<(), (usize, DiskError)> {
        for (number, step) in self.steps.iter().enumerate() {
            step.forward(root).map_err(|error| (number, error))?;
        }
        Ok(())
    }

    /// How many steps are surely done: those up to the last one whose file is no more where it
    /// came from and is where it went. The ones before it cannot be asked, for where names change
    /// owners, a file that came later stands where theirs was.
    fn done(&self, root: &Path) -> usize {
        let last = self.steps.iter().enumerate().rposition(|(number, step)| {
            let before = self.steps.get(..number).unwrap_or_default();
            step.has_moved(root) && !before.iter().any(|other| other.brings(step))
        });
        last.map_or(0, |number| number + 1)
    }

    /// Takes back the steps up to and including this one.
    fn back(&self, root: &Path, number: usize) -> Result<(), DiskError> {
        let done = self.steps.get(..=number).unwrap_or_default();
        done.iter().rev().try_for_each(|step| step.back(root))
    }

    /// Notes it down, takes what is to be deleted out of its place, strikes it out, and deletes.
    /// Answers what could not be deleted: that is no reason to keep everybody waiting, and every
    /// later command tries again.
    fn conclude(&self, store: &Store, lock: &Lock) -> Result<Vec<String>, DiskError> {
        self.notes.write_down(store, lock)?;
        // What a step took out of `undo/` may have been the last thing there.
        for folder in self.steps.iter().filter_map(|step| step.leaves(store.root())) {
            let _is_needed = replace::remove_empty_dir(&folder);
        }
        let discards = self.discards.iter().filter(|path| may_go(path));
        let discards = discards.filter_map(|path| below(store.root(), path));
        let buried: Vec<_> = discards.map(|path| replace::bury(&path, &store.tmp())).collect();
        strike_out(store)?;
        let deleted = buried.into_iter().map(|buried| match buried? {
            Some(grave) => replace::remove_tree(&grave).map(drop),
            None => Ok(()),
        });
        let left = deleted.filter_map(Result::err);
        Ok(left.map(|error| format!("not all of it could be deleted: {error}")).collect())
    }

    /// Goes on with what an interrupted run began. Answers what a person should know.
    ///
    /// # Errors
    ///
    /// When the disk refuses; the journal stays.
    pub(in crate::snapshot) fn finish(
        self,
        store: &Store,
        lock: &Lock,
    ) -> Result<Vec<String>, DiskError> {
        let done = self.done(store.root());
        for step in self.steps.iter().skip(done) {
            step.forward(store.root())?;
        }
        let left = self.conclude(store, lock)?;
        Ok(self.notes.told().into_iter().chain(left).collect())
    }
}

/// Whether it is something single that was put away: nothing else is ever deleted.
fn may_go(path: &Path) -> bool {
    let is_put_away = path.starts_with("trash") || path.starts_with("undo");
    is_put_away && path.components().count() == 2
}

/// What is told when it could neither be done nor taken back.
fn to_be_finished(
    store: &Store,
    error: impl std::fmt::Display,
    why: impl std::fmt::Display,
) -> OperationError {
    let source = io::Error::other(format!("{error}; the next command finishes it, for {why}"));
    DiskError { action: "go on with", path: store.journal(), source }.into()
}

fn strike_out(store: &Store) -> Result<(), DiskError> {
    replace::remove_file(&store.journal()).map(drop)
}

/// What is written down when something has happened.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(in crate::snapshot) struct Notes {
    /// For `operations.jsonl`.
    pub(in crate::snapshot) operation: Option<Record>,
    /// For the ledger: whole lines.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    ledger: String,
    /// How long the ledger was before, in bytes.
    #[serde(default)]
    ledger_at: u64,
}

impl Notes {
    pub(in crate::snapshot) fn new(
        store: &Store,
        operation: Option<Record>,
        entries: &[Entry],
    ) -> Result<Self, DiskError> {
        let path = store.ledger();
        let ledger: serde_json::Result<String> = entries.iter().map(Entry::to_line).collect();
        let ledger = ledger.map_err(|error| DiskError {
            action: "append to",
            path: path.clone(),
            source: error.into(),
        })?;
        let ledger_at = path.symlink_metadata().map_or(0, |facts| facts.len());
        Ok(Self { operation, ledger, ledger_at })
    }

    /// Of this record alone.
    #[cfg(test)]
    pub(in crate::snapshot) fn of(record: Record) -> Self {
        Self { operation: Some(record), ..Self::default() }
    }

    /// Writes it down; what was written down before is not written again.
    ///
    /// # Errors
    ///
    /// When the disk refuses.
    pub(in crate::snapshot) fn write_down(
        &self,
        store: &Store,
        lock: &Lock,
    ) -> Result<(), DiskError> {
        if !self.ledger.is_empty() {
            note_lines(&store.ledger(), self.ledger_at, self.ledger.as_bytes())?;
        }
        if let Some(record) = &self.operation {
            log::append(store, record, lock)?;
        }
        Ok(())
    }

    /// What a person is told whose interrupted command is done now.
    pub(in crate::snapshot) fn told(&self) -> Option<String> {
        let record = self.operation.as_ref()?;
        Some(format!("an interrupted `{}` was finished: {}", record.command, record.what))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;
    use crate::time::Zone;

    struct Lab {
        _dir: tempfile::TempDir,
        store: Store,
        lock: Option<Lock>,
    }

    impl Lab {
        /// A manager home with a setting, a snapshot's two files, and a ledger.
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let store = Store::at(dir.path().join("manager"));
            let lock = Some(store.open(Duration::ZERO, "test").unwrap().lock);
            for (path, content) in [
                ("config.toml", "old"),
                ("tmp/.codex-manager-0123456789abcdef.tmp", "new"),
                ("backups/a.tar.gz", "archive"),
                ("ledger.jsonl", "{}\n"),
            ] {
                fs::write(store.root().join(path), content).unwrap();
            }
            Self { _dir: dir, store, lock }
        }

        fn transaction(&self) -> Transaction {
            let at = Zone::UTC.stamp("2026-11-21T10:00:00Z".parse().unwrap());
            let what = "did several things".to_owned();
            Transaction {
                record: Some(Record::new("op".to_owned(), at, "test", what)),
                ledger: Vec::new(),
                steps: vec![
                    Step::Replace {
                        path: "config.toml".into(),
                        with: "tmp/.codex-manager-0123456789abcdef.tmp".into(),
                        keep: "undo/op/config.toml".into(),
                    },
                    Step::Move { from: "backups/a.tar.gz".into(), to: "trash/a.tar.gz".into() },
                    Step::Append { path: "ledger.jsonl".into(), at: 3, lines: "[1]\n[2]\n".into() },
                ],
                discards: Vec::new(),
            }
        }

        /// Every file below the manager home but for the lock.
        fn files(&self) -> Vec<(String, String)> {
            let root = self.store.root();
            let walk =
                crate::disk::tree::walk(root, &mut |_| crate::disk::tree::Visit::Take).unwrap();
            let files = walk.nodes.iter().filter(|node| root.join(&node.path).is_file());
            files
                .map(|node| node.path.to_str().unwrap().to_owned())
                .filter(|path| path != "lock" && path != "operations.jsonl")
                .map(|path| (path.clone(), fs::read_to_string(root.join(path)).unwrap()))
                .collect()
        }

        /// Lets go of the lock, as a run does that ends, and begins the next one.
        fn next_run(&mut self) -> Vec<String> {
            self.lock = None;
            let opened = self.store.open(Duration::ZERO, "test").unwrap();
            self.lock = Some(opened.lock);
            opened.finished
        }

        fn records(&self) -> usize {
            let log = log::read(&self.store).unwrap();
            assert_eq!(log.problems, []);
            log.records.len()
        }
    }

    fn text(files: &[(String, String)]) -> Vec<String> {
        files.iter().map(|(path, content)| format!("{path}: {content}")).collect()
    }

    const DONE: [&str; 4] = [
        "config.toml: new",
        "ledger.jsonl: {}\n[1]\n[2]\n",
        "trash/a.tar.gz: archive",
        "undo/op/config.toml: old",
    ];

    #[test]
    fn several_changes_happen_and_are_noted_once() {
        let mut lab = Lab::new();
        let warnings = lab.transaction().run(&lab.store, lab.lock.as_ref().unwrap()).unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!(text(&lab.files()), DONE);
        assert_eq!((lab.next_run(), lab.records()), (Vec::new(), 1));
    }

    #[test]
    fn killed_between_any_two_steps_the_next_command_finishes_it() {
        for done in 0..=3 {
            let mut lab = Lab::new();
            let transaction = lab.transaction();
            let paper = transaction.written(&lab.store).unwrap();
            for step in &paper.steps[..done] {
                step.forward(lab.store.root()).unwrap();
            }
            let told = lab.next_run();
            assert_eq!(told.len(), 1, "{told:?}");
            assert_eq!(text(&lab.files()), DONE, "after {done}");
            assert_eq!((lab.next_run(), lab.records()), (Vec::new(), 1));
        }
    }

    #[test]
    fn killed_where_names_changed_owners_nothing_moves_twice() {
        for done in 0..=3 {
            let mut lab = Lab::new();
            let moving = |from: &str, to: &str| Step::Move { from: from.into(), to: to.into() };
            let work = Transaction {
                steps: vec![
                    moving("config.toml", "trash/config.toml"),
                    moving("backups/a.tar.gz", "trash/a.tar.gz"),
                    moving("tmp/.codex-manager-0123456789abcdef.tmp", "config.toml"),
                ],
                ..lab.transaction()
            };
            let paper = work.written(&lab.store).unwrap();
            for step in &paper.steps[..done] {
                step.forward(lab.store.root()).unwrap();
            }
            assert_eq!(lab.next_run().len(), 1);
            let expected = [
                "config.toml: new",
                "ledger.jsonl: {}\n",
                "trash/a.tar.gz: archive",
                "trash/config.toml: old",
            ];
            assert_eq!(text(&lab.files()), expected, "after {done}");
        }
    }

    #[test]
    fn killed_while_it_was_noted_it_is_not_noted_twice() {
        let mut lab = Lab::new();
        let paper = lab.transaction().written(&lab.store).unwrap();
        paper.forward(lab.store.root()).unwrap();
        paper.notes.write_down(&lab.store, lab.lock.as_ref().unwrap()).unwrap();
        lab.next_run();
        assert_eq!((text(&lab.files()), lab.records()), (DONE.map(str::to_owned).to_vec(), 1));
    }

    #[test]
    fn killed_in_the_middle_of_a_line_the_line_is_written_whole() {
        let mut lab = Lab::new();
        lab.transaction().written(&lab.store).unwrap();
        fs::write(lab.store.ledger(), "{}\n[1]\n[").unwrap();
        lab.next_run();
        assert_eq!(text(&lab.files()), DONE);
    }

    #[test]
    fn a_step_that_fails_takes_back_the_ones_before_it() {
        let mut lab = Lab::new();
        let before: Vec<_> =
            text(&lab.files()).into_iter().filter(|it| !it.contains("tmp/")).collect();
        fs::create_dir(lab.store.trash().join("a.tar.gz")).unwrap();
        lab.transaction().run(&lab.store, lab.lock.as_ref().unwrap()).unwrap_err();
        assert_eq!(text(&lab.files()), before);
        assert!(!lab.store.undo().join("op").exists());
        assert_eq!((lab.next_run(), lab.records()), (Vec::new(), 0));
    }

    #[test]
    fn each_step_goes_back_from_wherever_it_stopped() {
        for (number, step) in Lab::new().transaction().steps.into_iter().enumerate() {
            let lab = Lab::new();
            let root = lab.store.root();
            fs::create_dir(lab.store.undo().join("op")).unwrap();
            let before = lab.files();
            step.back(root).unwrap();
            assert_eq!(lab.files(), before, "{number}: nothing was done");
            step.forward(root).unwrap();
            step.forward(root).unwrap();
            assert_ne!(lab.files(), before, "{number}");
            step.back(root).unwrap();
            assert_eq!(lab.files(), before, "{number}");
            if let Step::Replace { path, keep, .. } = &step {
                replace::keep_as(&root.join(path), &root.join(keep)).unwrap();
                step.back(root).unwrap();
                assert_eq!(lab.files(), before, "only kept");
            }
            if let Step::Move { from, to } = &step {
                fs::hard_link(root.join(from), root.join(to)).unwrap();
                step.back(root).unwrap();
                assert_eq!(lab.files(), before, "two names");
            }
        }
    }

    #[test]
    fn nothing_begins_while_a_journal_stands_that_nobody_can_read() {
        let mut lab = Lab::new();
        fs::write(lab.store.journal(), "{").unwrap();
        let told = lab.next_run();
        assert!(told[0].contains("journal.json"), "{told:?}");
        let error = lab.transaction().run(&lab.store, lab.lock.as_ref().unwrap()).unwrap_err();
        assert!(matches!(error, OperationError::Unfinished { .. }), "{error}");
        assert_eq!(fs::read_to_string(lab.store.config()).unwrap(), "old");
    }

    #[test]
    fn a_journal_deletes_what_was_put_away_and_nothing_else() {
        let mut lab = Lab::new();
        fs::create_dir_all(lab.store.undo().join("op/codex-home")).unwrap();
        fs::write(lab.store.trash().join("b.tar.gz"), "expired").unwrap();
        let before: Vec<_> = lab.files().into_iter().filter(|it| !it.0.contains("b.tar")).collect();
        let discards =
            ["backups", "backups/a.tar.gz", "undo", "undo/op", "trash/b.tar.gz", "trash", "tmp"];
        let discards = discards.map(PathBuf::from).to_vec();
        let paper = Paper { notes: Notes::default(), steps: Vec::new(), discards };
        journal::begin(&lab.store, Kind::Steps, &paper).unwrap();
        // What was under construction there is litter to any command.
        let kept: Vec<_> = before.into_iter().filter(|it| !it.0.starts_with("tmp/")).collect();
        lab.next_run();
        assert_eq!(lab.files(), kept);
        assert!(!lab.store.undo().join("op").exists() && lab.store.trash().is_dir());
    }

    #[test]
    fn a_journal_moves_nothing_outside_the_manager_home() {
        let mut lab = Lab::new();
        let outside = lab.store.root().with_file_name("auth.json");
        fs::write(&outside, "theirs").unwrap();
        for step in [
            Step::Move { from: "../auth.json".into(), to: "trash/x".into() },
            Step::Move { from: "backups/a.tar.gz".into(), to: outside.with_extension("new") },
            Step::Append { path: outside.clone(), at: 6, lines: "x\n".into() },
        ] {
            let transaction = Transaction { steps: vec![step], ..Transaction::default() };
            let paper = Paper {
                notes: Notes::default(),
                steps: transaction.steps,
                discards: vec!["..".into()],
            };
            journal::begin(&lab.store, Kind::Steps, &paper).unwrap();
            assert_eq!(lab.next_run().len(), 1);
            assert_eq!(fs::read_to_string(&outside).unwrap(), "theirs");
            assert!(lab.store.backups().join("a.tar.gz").exists());
            fs::remove_file(lab.store.journal()).unwrap();
        }
    }
}
