//! How is an operation taken back?
//!
//! [`plan`] looks whether the world still is as the operation left it, and decides; what changed
//! since is named and stops it. Steps in the manager home are reversed here; a login goes back the
//! way it came ([`switch`]), a home too (`restore::undo`). Taking back is an operation as well,
//! and can be taken back.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::account::AccountKey;
use crate::codex::home::CodexHome;
use crate::disk::DiskError;
use crate::quota::{Entry, Ledger};
use crate::snapshot::logins::{self, Live, LoginError, Shelf, Stale};
use crate::snapshot::name::{ARCHIVE, SnapshotName};
use crate::snapshot::operations::{
    self, Change, Log, OperationError, Pair, Record, SignedIn, SnapshotChange, Step, below,
};
use crate::snapshot::restore;
use crate::snapshot::restore::undo::{HomePlan, UndoHomeError};
use crate::snapshot::store::{Store, Stored};
use crate::snapshot::switch::{self, SwitchError};
use crate::time::Stamp;

/// What taking an operation back will do.
#[derive(Debug)]
pub enum Plan {
    /// These steps in the manager home.
    Steps {
        /// In this order.
        steps: Vec<Step>,
        /// What they change.
        changes: Vec<Change>,
    },
    /// Another login is put in place.
    Login {
        /// How.
        plan: Box<switch::Plan>,
        /// Who will be signed in.
        after: SignedIn,
    },
    /// Homes are exchanged.
    Home(Box<HomePlan>),
}

/// What the decision rests on.
pub struct World<'a> {
    /// The manager home.
    pub store: &'a Store,
    /// The Codex home.
    pub home: &'a CodexHome,
    /// Its login.
    pub live: &'a Live,
    /// What the store knows of logins.
    pub shelf: &'a Shelf<'a>,
    /// What a person set aside.
    pub ledger: &'a Ledger,
    /// The instant of the run.
    pub at: Stamp,
    /// Whether a home may be exchanged although it was used since.
    pub force: bool,
}

/// Why an operation is not taken back. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum UndoError {
    /// No operation has this name, or none is left that could be taken back.
    #[error("{0}")]
    NoneFits(String),
    /// Several operations are meant.
    #[error("{asked} is part of the name of several operations: {}", found.join(", "))]
    Ambiguous {
        /// What was asked for.
        asked: String,
        /// Their names.
        found: Vec<String>,
    },
    /// It was taken back before, and perhaps done again.
    #[error("{id} was taken back before; what was done about it last is {by}")]
    Done {
        /// The operation.
        id: String,
        /// The last of those that took it back, did it again, and so on.
        by: String,
    },
    /// Nothing in it can be taken back, or a later version knows how.
    #[error("{id} cannot be taken back: {why}")]
    Never {
        /// The operation.
        id: String,
        /// Why.
        why: &'static str,
    },
    /// The world is not as it was left.
    #[error("{id} cannot be taken back: {what}")]
    Changed {
        /// The operation.
        id: String,
        /// What changed since.
        what: String,
    },
    /// What was kept for this is not there any more.
    #[error("{id} cannot be taken back: {} is not there any more", path.display())]
    Gone {
        /// The operation.
        id: String,
        /// What was kept.
        path: PathBuf,
    },
    /// A snapshot would go that holds the newest login of an account.
    #[error("{id} cannot be taken back: {title} holds the newest login of {account}")]
    Needed {
        /// The operation.
        id: String,
        /// The snapshot.
        title: String,
        /// Whose login.
        account: String,
    },
    /// The login cannot go back.
    #[error(transparent)]
    Switch(#[from] SwitchError),
    /// The home cannot go back.
    #[error(transparent)]
    Home(#[from] UndoHomeError),
    /// The log of operations, or a file that it is about, cannot be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It could not begin.
    #[error(transparent)]
    Operation(#[from] OperationError),
}

impl UndoError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoneFits(_) | Self::Ambiguous { .. } | Self::Never { .. } => {
                Some("`codex-manager log` lists what can be taken back".to_owned())
            }
            Self::Done { by, .. } => Some(format!("`codex-manager undo {by}` takes that back")),
            Self::Changed { .. } => Some(
                "`codex-manager log` shows what was done since; take that back first".to_owned(),
            ),
            Self::Gone { .. } => Some(
                "what is kept goes when `codex-manager prune` finds it older than undo.keep_days \
                 and trash.keep_days say"
                    .to_owned(),
            ),
            Self::Needed { .. } => Some(
                "store that login once more with `codex-manager adopt`, if it is the live one; `codex-manager \
                 accounts forget ACCOUNT` puts all of an account away, its login too"
                    .to_owned(),
            ),
            Self::Switch(error) => error.hint(),
            Self::Home(error) => error.hint(),
            Self::Disk(error) => error.hint(),
            Self::Operation(error) => error.hint(),
        }
    }
}

/// The operation that is meant: the one of this name or of which it is a unique part, else the
/// newest that changed anything and was not taken back.
///
/// # Errors
///
/// [`UndoError`]: no such operation, several, or one that cannot be taken back.
pub fn choose<'a>(log: &'a Log, asked: Option<&str>) -> Result<&'a Record, UndoError> {
    let record = match asked {
        None => log.latest_reversible().ok_or_else(|| {
            UndoError::NoneFits("there is no operation that can be taken back".to_owned())
        })?,
        Some(asked) => {
            let part = log.records.iter().filter(|record| record.id.contains(asked));
            let found: Vec<&Record> = part.collect();
            match (log.find(asked), found.as_slice()) {
                (Some(record), _) => record,
                (None, [record]) => record,
                _ if asked.is_empty() => {
                    return Err(UndoError::NoneFits("an operation has a name".to_owned()));
                }
                (None, []) => {
                    return Err(UndoError::NoneFits(format!("there is no operation {asked}")));
                }
                (None, several) => {
                    let found = several.iter().map(|record| record.id.clone()).collect();
                    return Err(UndoError::Ambiguous { asked: asked.to_owned(), found });
                }
            }
        }
    };
    let id = record.id.clone();
    if let Some(mut by) = log.undone_by(&id) {
        while let Some(next) = log.undone_by(&by.id) {
            by = next;
        }
        return Err(UndoError::Done { id, by: by.id.clone() });
    }
    if !log.is_intact(&id) {
        let why = "its line in operations.jsonl is not what was written";
        return Err(UndoError::Never { id, why });
    }
    if !record.is_reversible() {
        let has = |fits: fn(&Change) -> bool| record.changes.iter().any(fits);
        let why = if has(|change| matches!(change, Change::Unknown)) {
            "a newer codex-manager did it"
        } else if has(|change| matches!(change, Change::Expired { .. })) {
            "what it deleted is gone"
        } else if has(|change| matches!(change, Change::Login { .. })) {
            "the login before was an older one of the same account"
        } else {
            "it replaced nothing"
        };
        return Err(UndoError::Never { id, why });
    }
    Ok(record)
}

/// Decides how to take `record` back, as the operation `id`.
///
/// # Errors
///
/// [`UndoError`]; nothing has been written.
pub fn plan(record: &Record, id: &str, world: &World<'_>) -> Result<Plan, UndoError> {
    match record.changes.as_slice() {
        [Change::Home(change)] => {
            let (home, live) = (world.home, world.live);
            let kept = world.store.undo().join(&record.id);
            let plan = restore::undo::plan(change, &kept, home, live, world.shelf, world.force)?;
            Ok(Plan::Home(Box::new(plan)))
        }
        [Change::Login { place, before, after }] => {
            if place != world.home.root() {
                return Err(UndoHomeError::OtherPlace { place: place.clone() }.into());
            }
            login(record, before, after, world)
        }
        changes => steps(record, changes, id, world),
    }
}

fn login(
    record: &Record,
    before: &SignedIn,
    after: &SignedIn,
    world: &World<'_>,
) -> Result<Plan, UndoError> {
    let World { home, live, shelf, .. } = world;
    let now = live.signed_in(shelf.snapshots, None);
    let is_the_same = match (&now, after) {
        (SignedIn::Orphan(_), SignedIn::Orphan(_)) => true,
        (now, after) => now == after,
    };
    if !is_the_same {
        let what = match &now {
            SignedIn::Account(key) => format!("{key} is signed in now"),
            SignedIn::Orphan(_) => "auth.json names nobody now".to_owned(),
            SignedIn::Nobody => "nobody is signed in now".to_owned(),
        };
        return Err(UndoError::Changed { id: record.id.clone(), what });
    }
    let plan = match before {
        SignedIn::Account(key) => switch::plan(key, home, live, shelf, Stale::Refuse)?,
        SignedIn::Nobody => switch::plan_bytes(None, None, home, live)?,
        SignedIn::Orphan(title) => {
            let stored = shelf.snapshots.iter().find(|stored| stored.title == *title);
            let bytes = stored
                .and_then(logins::orphan_in)
                .ok_or_else(|| SwitchError::Login(LoginError::None { title: title.clone() }))?;
            switch::plan_bytes(Some(bytes), Some(title.clone()), home, live)?
        }
    };
    if plan.is_done() {
        let why = "that login is live already";
        return Err(UndoError::Never { id: record.id.clone(), why });
    }
    Ok(Plan::Login { plan: Box::new(plan), after: before.clone() })
}

fn steps(
    record: &Record,
    changes: &[Change],
    id: &str,
    world: &World<'_>,
) -> Result<Plan, UndoError> {
    let store = world.store;
    let mut work = Reverse { record, world, freed: BTreeSet::new(), taken: BTreeSet::new() };
    let (mut steps, mut done) = (Vec::new(), Vec::new());
    let mut lines = Vec::new();
    // The last change is the first to go.
    for change in changes.iter().rev() {
        match change {
            Change::File { path, before, after } => {
                let kept = before.as_ref().and_then(|before| before.kept.as_deref());
                work.file_is_as_left(path, after.as_ref().map(|after| after.digest.as_str()))?;
                if let (Some(before), Some(kept)) = (before, kept) {
                    work.is_kept(kept, &before.digest)?;
                }
                let back = operations::give_back(id, path, before.as_ref(), after.as_ref());
                let (step, change) = back.ok_or_else(|| UndoError::Never {
                    id: record.id.clone(),
                    why: "what was there before was not kept",
                })?;
                steps.push(step);
                done.push(change);
            }
            Change::Snapshot(change) => {
                let (moves, change) = work.snapshot(change)?;
                steps.extend(moves);
                done.push(Change::Snapshot(change));
            }
            Change::Cooldown { account, email, before, after } => {
                work.cooldown_is_as_left(account, *after)?;
                let (account, email) = (account.clone(), email.clone());
                lines.push(Change::Cooldown { account, email, before: *after, after: *before });
            }
            Change::Forgotten { account, before, after } => {
                work.is_as_well_known(account, *after)?;
                let account = account.clone();
                lines.push(Change::Forgotten { account, before: *after, after: *before });
            }
            _ => {}
        }
    }
    if !lines.is_empty() {
        steps.push(in_ledger(&lines, world.at, store)?);
        done.extend(lines);
    }
    Ok(Plan::Steps { steps, changes: done })
}

/// The step that writes into the ledger, as of `at`, which of these changes belong there: cooldowns
/// and what is forgotten.
///
/// # Errors
///
/// When the length of the ledger cannot be asked for, or a line has no form.
pub fn in_ledger(changes: &[Change], at: Stamp, store: &Store) -> Result<Step, DiskError> {
    let path = store.ledger();
    let mut lines = String::new();
    for change in changes {
        let entry = match change.clone() {
            Change::Cooldown { account, email, after: Some(until), .. } => {
                Entry::Cooldown { at, account, email, until }
            }
            Change::Cooldown { account, after: None, .. } => Entry::CooldownCleared { at, account },
            Change::Forgotten { account, after: true, .. } => Entry::Forgotten { at, account },
            Change::Forgotten { account, after: false, .. } => Entry::Remembered { at, account },
            _ => continue,
        };
        let failed = |error: serde_json::Error| DiskError {
            action: "append to",
            path: path.clone(),
            source: error.into(),
        };
        lines.push_str(&entry.to_line().map_err(failed)?);
    }
    let at = path.symlink_metadata().map_or(0, |facts| facts.len());
    Ok(Step::Append { path: store.relative(&path), at, lines })
}

/// Finds out whether the world is as it was left, and what leads back.
struct Reverse<'a> {
    record: &'a Record,
    world: &'a World<'a>,
    /// Names that earlier steps give free, and those that they take.
    freed: BTreeSet<PathBuf>,
    taken: BTreeSet<PathBuf>,
}

impl Reverse<'_> {
    fn changed(&self, what: String) -> UndoError {
        UndoError::Changed { id: self.record.id.clone(), what }
    }

    fn file_is_as_left(&self, path: &Path, expected: Option<&str>) -> Result<(), UndoError> {
        let found = operations::found(self.world.store, path)?;
        if found.as_deref() == expected {
            return Ok(());
        }
        Err(self.changed(format!("{} was changed since", path.display())))
    }

    fn is_kept(&self, kept: &Path, digest: &str) -> Result<(), UndoError> {
        let id = self.record.id.clone();
        match operations::found(self.world.store, kept)? {
            Some(found) if found == digest => Ok(()),
            Some(_) => Err(self.changed(format!("{} was changed since", kept.display()))),
            None => Err(UndoError::Gone { id, path: self.world.store.root().join(kept) }),
        }
    }

    fn cooldown_is_as_left(
        &self,
        account: &AccountKey,
        expected: Option<Stamp>,
    ) -> Result<(), UndoError> {
        match self.world.ledger.set_aside_until(account) {
            found if found == expected => Ok(()),
            Some(until) => {
                Err(self.changed(format!("{account} was set aside until {until} since")))
            }
            None => Err(self.changed(format!("the cooldown of {account} was cleared since"))),
        }
    }

    /// Nobody who is signed in is forgotten.
    fn is_as_well_known(&self, account: &AccountKey, expected: bool) -> Result<(), UndoError> {
        let is_forgotten = self.world.ledger.forgotten_at(account).is_some();
        match (is_forgotten, expected) {
            (true, false) => Err(self.changed(format!("{account} was forgotten since"))),
            (false, true) => Err(self.changed(format!("{account} is remembered already"))),
            (false, false) if self.world.live.key() == Some(account) => {
                Err(self.changed(format!("{account} is signed in now")))
            }
            _ => Ok(()),
        }
    }

    /// Moves a snapshot back to where it was, or one that was new to `trash/`.
    fn snapshot(
        &mut self,
        change: &SnapshotChange,
    ) -> Result<(Vec<Step>, SnapshotChange), UndoError> {
        let store = self.world.store;
        let id = || self.record.id.clone();
        let never = || UndoError::Never { id: id(), why: "its record names foreign places" };
        let here = below(store.root(), &change.to.archive).ok_or_else(never)?;
        if here.symlink_metadata().is_err() {
            return Err(UndoError::Gone { id: id(), path: here });
        }
        let sidecar = change.to.sidecar.clone().filter(|path| store.root().join(path).exists());
        let there = match &change.from {
            Some(pair) => pair.clone(),
            None => {
                let name = here.file_name().and_then(|name| name.to_str());
                let name = name.and_then(|name| name.strip_suffix(ARCHIVE));
                let name: Option<SnapshotName> = name.and_then(|name| name.parse().ok());
                store.resting(&name.ok_or_else(never)?)
            }
        };
        let target = below(store.root(), &there.archive).ok_or_else(never)?;
        let is_free = |path: &Path| {
            let is_there = store.root().join(path).symlink_metadata().is_ok();
            (!is_there || self.freed.contains(path)) && !self.taken.contains(path)
        };
        let wanted = [Some(&there.archive), there.sidecar.as_ref().filter(|_| sidecar.is_some())];
        if let Some(taken) = wanted.into_iter().flatten().find(|path| !is_free(path)) {
            return Err(self.changed(format!("{} is there now", taken.display())));
        }
        if here.starts_with(store.backups()) {
            self.is_dispensable(change, &here)?;
        }
        let archive = Step::Move { from: change.to.archive.clone(), to: there.archive.clone() };
        let companion = sidecar.zip(there.sidecar.clone());
        let companion = companion.map(|(from, to)| Step::Move { from, to });
        // A lone archive is complete, a lone sidecar is not.
        let steps: Vec<Step> = if target.starts_with(store.backups()) {
            companion.into_iter().chain([archive]).collect()
        } else {
            [archive].into_iter().chain(companion).collect()
        };
        for step in &steps {
            if let Step::Move { from, to } = step {
                self.freed.insert(from.clone());
                self.taken.insert(to.clone());
            }
        }
        let change = SnapshotChange {
            from: Some(change.to.clone()),
            to: Pair { sidecar: there.sidecar.filter(|_| 1 < steps.len()), archive: there.archive },
            ..change.clone()
        };
        Ok((steps, change))
    }

    /// Refuses if the snapshot is another one than it was, or holds a login that is needed.
    fn is_dispensable(&self, change: &SnapshotChange, archive: &Path) -> Result<(), UndoError> {
        let shelf = self.world.shelf;
        let found = shelf.snapshots.iter().find(|stored| stored.archive == *archive);
        let Some(stored) = found else {
            return Err(self.changed(format!("{} cannot be read any more", change.title)));
        };
        let digest = stored.metadata.archive.as_ref().map(|facts| &facts.toc_digest);
        if change.toc_digest.is_some() && digest != change.toc_digest.as_ref() {
            return Err(self.changed(format!("{} is another snapshot now", change.title)));
        }
        let others = shelf.snapshots.iter().filter(|other| other.archive != *archive);
        let others: Vec<Stored> = others.cloned().collect();
        let live = match self.world.live {
            Live::Login(file) => Some(file),
            Live::Absent | Live::Orphan { .. } => None,
        };
        let forgets = self.record.changes.iter().any(
            |change| matches!(change, Change::Forgotten { account, before: true, .. } if stored.key().as_ref() == Some(account)),
        );
        match logins::needed(stored, &others, live).filter(|_| !forgets) {
            None => Ok(()),
            Some(account) => Err(UndoError::Needed {
                id: self.record.id.clone(),
                title: stored.title.clone(),
                account: account.to_string(),
            }),
        }
    }
}
