//! How does a home come back that a restore replaced?
//!
//! The kept home and the live one change places again, under the journal, and what belongs to the
//! place moves back. The live one is kept in turn. The login is the account's freshest then, as
//! ever: what Codex refreshed since is newer than what was kept.

use std::path::{Path, PathBuf};

use crate::account::{AccountKey, Email, Login, Order, Secret};
use crate::codex::auth::{self, AuthFile};
use crate::codex::home::CodexHome;
use crate::codex::process::{self, Holder};
use crate::disk::database::{self, DatabaseError};
use crate::disk::lock::Lock;
use crate::disk::{DiskError, replace, since, swap, tree};
use crate::quota::Entry;
use crate::snapshot::backup::config_text;
use crate::snapshot::logins::{self, HoldError, Live, LoginError, Pick, Shelf, Stale};
use crate::snapshot::operations::transaction::Notes;
use crate::snapshot::operations::{Databases, HomeChange, OperationError, Record};
use crate::snapshot::restore::databases::{self, Incoming};
use crate::snapshot::restore::journal::{self, Journal, Outside};
use crate::snapshot::restore::place;
use crate::snapshot::store::Store;
use crate::snapshot::switch;

/// How many changed files a message names.
const NAMED: usize = 5;

/// What taking a restore back will do.
#[derive(Debug)]
pub struct HomePlan {
    change: HomeChange,
    /// Where the databases are kept that were outside the home before.
    databases: PathBuf,
    /// The login that the kept home gets before it comes back, if it needs a fresher one.
    login: Option<Secret>,
    /// The login in the kept home, if it gives way and no snapshot has it.
    pub outgoing: Option<Live>,
    /// What was live when this was decided.
    live: Option<Secret>,
    /// Who is signed in afterwards.
    pub account: Option<(AccountKey, Option<Email>)>,
    /// That one's login then, as far as it may be told.
    pub signs_in: Option<Login>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

impl HomePlan {
    /// The kept home that comes back, if one does.
    #[must_use]
    pub fn kept(&self) -> Option<&Path> {
        self.change.kept.as_deref()
    }

    /// Where it goes.
    #[must_use]
    pub fn place(&self) -> &Path {
        &self.change.place
    }
}

/// Why a home does not come back. Both are as they were.
#[derive(Debug, thiserror::Error)]
pub enum UndoHomeError {
    /// It was another home.
    #[error("that was done to {}", place.display())]
    OtherPlace {
        /// Which.
        place: PathBuf,
    },
    /// Another home has taken the place since.
    #[error("{} is another home now", place.display())]
    Replaced {
        /// The place.
        place: PathBuf,
    },
    /// The home is not kept any more.
    #[error("{} is not there any more, or is another folder", kept.display())]
    Gone {
        /// Where it was.
        kept: PathBuf,
    },
    /// The home was used since.
    #[error("{} was used since: {}", place.display(), named(changed))]
    Used {
        /// The place.
        place: PathBuf,
        /// What changed, relative to it.
        changed: Vec<PathBuf>,
    },
    /// `auth.json` in the kept home is a link, and another login would have to come.
    #[error("auth.json in {} is a link, and its account has a newer login now", kept.display())]
    LinkedLogin {
        /// The kept home.
        kept: PathBuf,
    },
    /// Codex would not look at the login.
    #[error("Codex keeps its logins in {store}: the login in the home before is not the newest")]
    LoginElsewhere {
        /// `the keyring` or `memory`.
        store: &'static str,
    },
    /// A login cannot be read.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// Codex holds its own lock on the login.
    #[error(transparent)]
    Hold(#[from] HoldError),
    /// Somebody uses the home.
    #[error("{} came to use the home meanwhile", process::said(found))]
    Running {
        /// Who.
        found: Vec<Holder>,
    },
    /// Another login is live than the one that was stored a moment ago.
    #[error("auth.json was written by somebody else meanwhile; it is as they wrote it")]
    LoginChanged,
    /// A database that was kept cannot come back.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// It could not begin.
    #[error(transparent)]
    Operation(#[from] OperationError),
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl UndoHomeError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::OtherPlace { place } => format!("name it with --codex-home {}", place.display()),
            Self::Replaced { .. } => {
                "`codex-manager log` shows what was done since; take that back first".to_owned()
            }
            Self::Gone { .. } => {
                "what is kept goes when `codex-manager prune` finds it older than \
                                  undo.keep_days says"
                    .to_owned()
            }
            Self::Used { .. } => {
                "--force takes it back all the same: the home as it is now is kept".to_owned()
            }
            Self::LinkedLogin { .. } | Self::LoginElsewhere { .. } => {
                "bring the sessions over by hand, or restore a snapshot".to_owned()
            }
            Self::Running { found } => {
                let remedies = process::remedies(found);
                format!("{remedies}, and try again; --force goes on regardless")
            }
            Self::LoginChanged => "quit every Codex and try again".to_owned(),
            Self::Login(error) => return error.hint(),
            Self::Hold(error) => return error.hint(),
            Self::Database(error) => return error.hint(),
            Self::Operation(error) => return error.hint(),
            Self::Disk(error) => return error.hint(),
        })
    }
}

fn named(changed: &[PathBuf]) -> String {
    let shown: Vec<String> =
        changed.iter().take(NAMED).map(|path| path.display().to_string()).collect();
    let more = match changed.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", shown.join(", "))
}

/// Decides how the home before `change` comes back to `home`, whose login is `live`; `folder` is the
/// operation's in `undo/`. With `force` also if it was used since.
///
/// # Errors
///
/// [`UndoHomeError`]; nothing has been written.
pub(crate) fn plan(
    change: &HomeChange,
    folder: &Path,
    home: &CodexHome,
    live: &Live,
    shelf: &Shelf<'_>,
    force: bool,
) -> Result<HomePlan, UndoHomeError> {
    let place = change.place.clone();
    if place != home.root() {
        return Err(UndoHomeError::OtherPlace { place });
    }
    let above = replace::parent(&place);
    let (new, old) = (journal::on(change.new, above)?, journal::on(change.old, above)?);
    let change = &HomeChange { new, old, ..change.clone() };
    let here = swap::identity(&place)?;
    // A system that does not tell homes apart has recorded none.
    if change.new.is_some() && here != change.new || change.new.is_none() && here.is_some() {
        return Err(UndoHomeError::Replaced { place });
    }
    if let Some(kept) = &change.kept
        && (swap::identity(kept)?.is_none() || swap::identity(kept)? != change.old)
    {
        return Err(UndoHomeError::Gone { kept: kept.clone() });
    }
    if change.kept.is_none() && change.old.is_some() {
        return Err(UndoHomeError::Gone { kept: place });
    }
    if let (Some(settled), true, false) = (change.settled, here.is_some(), force) {
        let mut changed = since::changed(&place, settled)?;
        changed.retain(|path| !is_ours(path, &change.carried));
        if !changed.is_empty() {
            return Err(UndoHomeError::Used { place, changed });
        }
    }
    let mut plan = HomePlan {
        change: change.clone(),
        databases: folder.join(databases::KEPT),
        login: None,
        outgoing: None,
        live: live.bytes().cloned(),
        account: None,
        signs_in: None,
        warnings: Vec::new(),
    };
    if let Some(kept) = &change.kept {
        plan.choose_login(&CodexHome::at(kept.clone()), live, shelf)?;
    }
    Ok(plan)
}

impl HomePlan {
    fn choose_login(
        &mut self,
        kept: &CodexHome,
        live: &Live,
        shelf: &Shelf<'_>,
    ) -> Result<(), UndoHomeError> {
        let is_somebody = |file: &AuthFile| file.key.is_some() && file.mixed.is_none();
        // What names nobody stays what it is.
        let found = auth::read(&kept.auth()).ok().flatten().filter(is_somebody);
        let Some((file, key)) = found.and_then(|file| Some((file.clone(), file.key?))) else {
            return Ok(());
        };
        let pick =
            logins::freshest(&key, Some(&file), None, shelf, Stale::Refuse, &mut self.warnings)?;
        let mut best = match pick {
            Pick::Stored { file, .. } => *file,
            Pick::Live | Pick::Nothing => file.clone(),
        };
        if let Live::Login(live) = live
            && live.key.as_ref() == Some(&key)
            && live.login.compare(&best.login) == Order::Newer
        {
            best = live.clone();
        }
        self.account = Some((key, best.email.clone()));
        self.signs_in = Some(best.login.clone());
        if best.bytes == file.bytes {
            return Ok(());
        }
        if kept.auth().is_symlink() {
            return Err(UndoHomeError::LinkedLogin { kept: kept.root().to_owned() });
        }
        if let Some(store) = switch::elsewhere(&config_text(kept)?, &Live::Login(file.clone())) {
            return Err(UndoHomeError::LoginElsewhere { store });
        }
        self.login = Some(best.bytes);
        self.outgoing = Some(Live::Login(file));
        Ok(())
    }
}

/// Whether a path changes by what we do ourselves: the login, which is stored whatever it is, the
/// lock that guards it, and what moved over from the home before.
fn is_ours(path: &Path, carried: &[String]) -> bool {
    let ours = [CodexHome::AUTH, "auth.lock"];
    ours.iter().any(|ours| path == Path::new(ours))
        || carried.iter().any(|carried| Path::new(carried).starts_with(path))
}

/// What one return is run with.
pub(crate) struct Run<'a> {
    /// What `operations.jsonl` says of it; its name is that of the folder in `undo/`.
    pub(crate) record: Record,
    /// What the ledger learns.
    pub(crate) ledger: &'a [Entry],
    /// Held since everything was read.
    pub(crate) lock: &'a Lock,
    /// Who uses the home now and stands in the way; asked right before the exchange.
    pub(crate) holders: &'a dyn Fn() -> Vec<Holder>,
}

/// What a return did.
#[derive(Debug)]
pub(crate) struct Returned {
    /// Where the home is kept that was live before.
    pub(crate) kept: Option<PathBuf>,
    /// What a person should know.
    pub(crate) warnings: Vec<String>,
}

/// Puts the kept home back.
///
/// # Errors
///
/// [`UndoHomeError`]; both homes are as they were, but for a fresher login in the kept one.
pub(crate) fn apply(
    plan: &HomePlan,
    store: &Store,
    run: &Run<'_>,
) -> Result<Returned, UndoHomeError> {
    let mut warnings = Vec::new();
    // What it tells of may wait in the very folders that are written to.
    let path = store.journal();
    if path.symlink_metadata().is_ok() {
        return Err(OperationError::Unfinished { path }.into());
    }
    let folder = &run.record.id;
    let notes = Notes::new(store, Some(run.record.clone()), run.ledger)?;
    let undo = store.undo().join(folder);
    let outside = plan.change.databases.as_ref();
    let incoming = outside
        .map(|outside| incoming(outside, &plan.databases, store, &mut warnings))
        .transpose()?;
    let outside = incoming
        .as_ref()
        .map(|incoming| Outside { folder: incoming.folder.clone(), files: incoming.files() });
    let (mut journal, old) = match &plan.change.kept {
        None => leave(plan, store, (notes, outside), run, &mut warnings)?,
        Some(kept) => come_back(plan, kept, store, (notes, outside), run, &mut warnings)?,
    };
    let place = &plan.change.place;
    let mut later = Vec::new();
    if let (Some(old), Some(_)) = (&old, &plan.change.kept) {
        // A Codex that knows no lock may have written a login meanwhile.
        if !matches!(logins::is_still(&CodexHome::at(old.clone()), plan.live.as_ref()), Ok(true)) {
            warnings.push(format!(
                "auth.json was written by somebody else during the exchange: their login is in the \
                 home that was live, {}",
                old.display()
            ));
        }
        let carried = plan.change.carried.iter();
        for path in carried.filter(|path| old.join(path).symlink_metadata().is_ok()) {
            if let Err(error) = place::carry(old, place, path) {
                later.push(format!("{path} stays in the replaced home: {error}"));
            }
        }
    }
    let installed = match incoming {
        Some(incoming) => incoming.install(&undo.join(databases::KEPT)),
        None => Ok(()),
    };
    later.extend(installed.err().map(|error| format!("not all databases are back: {error}")));
    if !later.is_empty() {
        let told = later.into_iter();
        warnings.extend(told.map(|told| format!("the next command goes on: {told}")));
        return Ok(Returned { kept: old, warnings });
    }
    let kept = match (old, &plan.change.kept) {
        (Some(old), Some(_)) => Some(place::keep(&old, place, &undo, folder, &mut warnings)),
        (old, _) => old,
    };
    let noted = journal.conclude(kept.as_deref(), store, run.lock);
    warnings.extend(
        noted.err().map(|error| format!("it is done, and the next command notes it down: {error}")),
    );
    Ok(Returned { kept, warnings })
}

/// Puts the kept home in its place. Answers where the one is that was there.
fn come_back(
    plan: &HomePlan,
    kept: &Path,
    store: &Store,
    (notes, outside): (Notes, Option<Outside>),
    run: &Run<'_>,
    warnings: &mut Vec<String>,
) -> Result<(Journal, Option<PathBuf>), UndoHomeError> {
    let HomeChange { place, new, carried, .. } = &plan.change;
    let is_there = new.is_some() || place.symlink_metadata().is_ok();
    if let Some(login) = &plan.login {
        replace::write(&CodexHome::at(kept.to_owned()).auth(), login.bytes())?;
    }
    let (folder, staged) = (&run.record.id, Some(kept));
    let places = (place.as_path(), None);
    let journal = Journal::begin_return(store, notes, folder, staged, places, carried, outside)?;
    let exchanged = match is_there {
        true => quiet(plan, run).and_then(|_held| Ok(swap::exchange(kept, place).map(drop)?)),
        false => replace::rename_new(kept, place).map_err(UndoHomeError::from),
    };
    if let Err(error) = exchanged {
        if !happened(&plan.change) {
            // What cannot be struck out, the next command does.
            let _stays = journal.close_if_over();
            return Err(error);
        }
        warnings.push(format!("the home is back, but not all went well: {error}"));
    }
    let old = new.and_then(|new| place::find_old(kept, place, new).ok().flatten());
    Ok((journal, is_there.then(|| old.unwrap_or_else(|| kept.to_owned()))))
}

/// Whether the kept home is in the place.
fn happened(change: &HomeChange) -> bool {
    let here = swap::identity(&change.place).ok().flatten();
    here.is_some() && here == change.old
}

/// Takes the home away that came to a place where none was.
fn leave(
    plan: &HomePlan,
    store: &Store,
    (notes, outside): (Notes, Option<Outside>),
    run: &Run<'_>,
    warnings: &mut Vec<String>,
) -> Result<(Journal, Option<PathBuf>), UndoHomeError> {
    let (folder, place) = (&run.record.id, plan.change.place.as_path());
    let undo = store.undo().join(folder);
    let mut refused = None;
    for target in place::resting(place, &undo, folder) {
        let (notes, outside) = (notes.clone(), outside.clone());
        let places = (place, Some(target.as_path()));
        let journal = Journal::begin_return(store, notes, folder, None, places, &[], outside)?;
        let moved = quiet(plan, run).and_then(|_held| {
            if let Some(above) = target.parent() {
                replace::private_dir(above)?;
            }
            Ok(replace::rename_new(place, &target)?)
        });
        let has_left = swap::identity(&target)?.is_some() && place.symlink_metadata().is_err();
        match moved {
            Ok(()) => return Ok((journal, Some(target))),
            Err(error) if has_left => {
                warnings.push(format!("the home was put away, but not all went well: {error}"));
                return Ok((journal, Some(target)));
            }
            Err(error) => {
                // What cannot be struck out, the next command does.
                let _stays = journal.close_if_over();
                let _is_needed = replace::remove_empty_dir(&undo);
                let elsewhere = matches!(&error, UndoHomeError::Disk(error)
                    if error.kind() == std::io::ErrorKind::CrossesDevices);
                if !elsewhere {
                    return Err(error);
                }
                refused = Some(error);
            }
        }
    }
    Err(refused.unwrap_or(UndoHomeError::LoginChanged))
}

/// Keeps Codex out, and refuses if the home is not as it was when this was decided.
fn quiet(plan: &HomePlan, run: &Run<'_>) -> Result<Option<Lock>, UndoHomeError> {
    let home = CodexHome::at(plan.change.place.clone());
    let held = logins::hold(&home)?;
    let found = (run.holders)();
    if !found.is_empty() {
        return Err(UndoHomeError::Running { found });
    }
    if !logins::is_still(&home, plan.live.as_ref())? {
        return Err(UndoHomeError::LoginChanged);
    }
    Ok(held)
}

/// The kept databases as single files in the folder where they are used, but for their names.
fn incoming(
    outside: &Databases,
    kept: &Path,
    store: &Store,
    warnings: &mut Vec<String>,
) -> Result<Incoming, UndoHomeError> {
    let staging = tree::staging_dir(&store.tmp().join("database"))?;
    let mut names = Vec::new();
    // A name with a path in it is none of ours.
    let ours = |name: &&String| Path::new(name).file_name() == Some(name.as_ref());
    let copied = outside.names.iter().filter(ours).try_for_each(|name| {
        let from = kept.join(name);
        if from.symlink_metadata().is_err() {
            let live = outside.folder.join(name);
            warnings.push(format!("{} stays: none was there before", live.display()));
            return Ok(());
        }
        database::copy(&from, &staging.join(name))?;
        names.push(name.clone());
        Ok::<_, UndoHomeError>(())
    });
    let prepared =
        copied.and_then(|()| Ok(Incoming::prepare(outside.folder.clone(), &staging, &names)?));
    replace::remove_tree(&staging)?;
    prepared
}
