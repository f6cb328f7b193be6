//! How does a home come back that a restore replaced?
//!
//! The kept home and the live one change places again, under the journal, and what belongs to the
//! place moves back. The live one is kept in turn. The login is the account's freshest then, as
//! ever: what Codex refreshed since is newer than what was kept.

use std::path::{Path, PathBuf};

use crate::account::{AccountKey, Email, Order, Secret};
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
    /// The login that the kept home gets before it comes back, if it needs a fresher one.
    login: Option<Secret>,
    /// The login in the kept home, if it gives way and no snapshot has it.
    pub outgoing: Option<Live>,
    /// What was live when this was decided.
    live: Option<Secret>,
    /// Who is signed in afterwards.
    pub account: Option<(AccountKey, Option<Email>)>,
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

/// Decides how the home before `change` comes back to `home`, whose login is `live`. With `force`
/// also if it was used since.
///
/// # Errors
///
/// [`UndoHomeError`]; nothing has been written.
pub(crate) fn plan(
    change: &HomeChange,
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
        let changed = since::changed(&place, settled)?;
        if !changed.is_empty() {
            return Err(UndoHomeError::Used { place, changed });
        }
    }
    let mut plan = HomePlan {
        change: change.clone(),
        login: None,
        outgoing: None,
        live: live.bytes().cloned(),
        account: None,
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
    let folder = &run.record.id;
    let notes = Notes::new(store, Some(run.record.clone()), run.ledger)?;
    let HomeChange { place, kept: staged, new, carried, databases: outside, .. } = &plan.change;
    let is_there = new.is_some() || place.symlink_metadata().is_ok();
    let undo = store.undo().join(folder);
    let (mut written, kept) = match staged {
        None => leave(place, plan, store, notes, run, &mut warnings)?,
        Some(staged) => {
            if let Some(login) = &plan.login {
                replace::write(&CodexHome::at(staged.clone()).auth(), login.bytes())?;
            }
            let incoming = outside.as_ref().map(|outside| {
                let before = staged.parent().unwrap_or(staged).join(databases::KEPT);
                incoming(outside, &before, store, &mut warnings)
            });
            let incoming = incoming.transpose()?;
            let outside = incoming.as_ref().map(|incoming| Outside {
                folder: incoming.folder.clone(),
                files: incoming.files(),
            });
            let begun = Journal::begin_return(
                store,
                notes,
                folder,
                Some(staged),
                (place, None),
                carried,
                outside,
            )?;
            let exchanged = match is_there {
                true => quiet(plan, run).and_then(|held| {
                    let done = swap::exchange(staged, place).map(drop);
                    drop(held);
                    Ok(done?)
                }),
                false => Ok(replace::rename_new(staged, place)?),
            };
            if let Err(error) = exchanged {
                if !happened(&plan.change) {
                    // What cannot be struck out, the next command does.
                    let _stays = begun.close_if_over();
                    return Err(error);
                }
                warnings.push(format!("the home is back, but not all went well: {error}"));
            }
            let mut kept = None;
            if is_there {
                let old = new.and_then(|new| place::find_old(staged, place, new).ok().flatten());
                let old = old.unwrap_or_else(|| staged.clone());
                let mut later = Vec::new();
                for path in carried.iter().filter(|path| old.join(path).symlink_metadata().is_ok())
                {
                    if let Err(error) = place::carry(&old, place, path) {
                        later.push(format!("{path} stays in the replaced home: {error}"));
                    }
                }
                let installed = match incoming {
                    Some(incoming) => incoming.install(&undo.join(databases::KEPT)),
                    None => Ok(()),
                };
                later.extend(
                    installed.err().map(|error| format!("not all databases are back: {error}")),
                );
                if !later.is_empty() {
                    let told = later.into_iter();
                    warnings.extend(told.map(|told| format!("the next command goes on: {told}")));
                    return Ok(Returned { kept: Some(old), warnings });
                }
                kept = Some(place::keep(&old, place, &undo, folder, &mut warnings));
            }
            (begun, kept)
        }
    };
    let noted = written.conclude(kept.as_deref(), store, run.lock);
    warnings.extend(
        noted.err().map(|error| format!("it is done, and the next command notes it down: {error}")),
    );
    Ok(Returned { kept, warnings })
}

/// Whether the kept home is in the place.
fn happened(change: &HomeChange) -> bool {
    let here = swap::identity(&change.place).ok().flatten();
    here.is_some() && here == change.old
}

/// Takes the home away that came to a place where none was.
fn leave(
    place: &Path,
    plan: &HomePlan,
    store: &Store,
    notes: Notes,
    run: &Run<'_>,
    warnings: &mut Vec<String>,
) -> Result<(Journal, Option<PathBuf>), UndoHomeError> {
    let folder = &run.record.id;
    let undo = store.undo().join(folder);
    let mut refused = None;
    for target in place::resting(place, &undo, folder) {
        let (notes, place) = (notes.clone(), (place, Some(target.as_path())));
        let journal = Journal::begin_return(store, notes, folder, None, place, &[], None)?;
        let moved = quiet(plan, run).and_then(|_held| {
            if let Some(above) = target.parent() {
                replace::private_dir(above)?;
            }
            Ok(replace::rename_new(&plan.change.place, &target)?)
        });
        let has_left =
            swap::identity(&target)?.is_some() && plan.change.place.symlink_metadata().is_err();
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
