//! How does another account sign in without anything else changing?
//!
//! One file is exchanged, `auth.json`, with the freshest stored login of the account. The login
//! that was live is stored before, unless the store has it.
//!
//! Until it has its name the new file lies beside `auth.json` with a login in it: the journal says
//! where, so that a run that is killed leaves no copy (`finish`).

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::account::{AccountKey, Email, Login, Secret};
use crate::codex::auth::{self, Store as LoginStore};
use crate::codex::home::CodexHome;
use crate::codex::process::{self, Holder};
use crate::disk::DiskError;
use crate::disk::lock::Lock;
use crate::disk::replace::{self, NewFile, Overwrite};
use crate::disk::swap::{self, Identity};
use crate::quota::Entry;
use crate::snapshot::backup::config_text;
use crate::snapshot::journal::{self, Kind};
use crate::snapshot::logins::{self, HoldError, Live, LoginError, Pick, Shelf, Stale};
use crate::snapshot::operations::transaction::Notes;
use crate::snapshot::operations::{OperationError, Record};
use crate::snapshot::store::Store;

/// What a switch will do.
#[derive(Debug)]
pub struct Plan {
    /// Title of the snapshot that the login comes from; `None` if it is live already.
    pub from: Option<String>,
    /// The account's label.
    pub email: Option<Email>,
    goal: Goal,
    /// What was live when this was decided.
    live: Option<Secret>,
    home: CodexHome,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// What `auth.json` will be.
#[derive(Debug)]
enum Goal {
    /// What it is.
    Stays,
    /// This login.
    Login(Secret),
    /// Not there.
    Nothing,
}

impl Plan {
    /// Whether the right login is live already.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.goal, Goal::Stays)
    }

    /// The login that will be put in place, if it is one.
    #[must_use]
    pub fn login(&self) -> Option<Login> {
        match &self.goal {
            Goal::Login(bytes) => Some(auth::parse(bytes.bytes().to_vec()).ok()?.login),
            Goal::Stays | Goal::Nothing => None,
        }
    }
}

/// Why a switch did not happen. The login is as it was, but for [`SwitchError::Overwritten`].
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// There is no such home.
    #[error("there is no Codex home at {}", path.display())]
    NoHome {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Codex would not look at the file.
    #[error("Codex keeps its logins in {store}: exchanging auth.json would do nothing")]
    LoginElsewhere {
        /// `the keyring` or `memory`.
        store: &'static str,
    },
    /// No login of the account is stored.
    #[error("no login of {account} is stored")]
    NotStored {
        /// The account.
        account: String,
    },
    /// The stored login cannot be used.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// Codex holds its own lock on the login.
    #[error(transparent)]
    Hold(#[from] HoldError),
    /// It could not be written down what is about to happen.
    #[error(transparent)]
    Operation(#[from] OperationError),
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Somebody began to use the home since the account was chosen.
    #[error("{} came to use the home meanwhile", process::said(found))]
    Running {
        /// Who.
        found: Vec<Holder>,
    },
    /// Another login is live than the one that was stored a moment ago; it was not touched.
    #[error("auth.json was written by somebody else meanwhile; it is as they wrote it")]
    Changed,
    /// Somebody else wrote the file right after we did.
    #[error("auth.json was written by somebody else right after it was exchanged")]
    Overwritten,
}

impl SwitchError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::NoHome { .. } => "start `codex` once, or name the home with --codex-home DIR",
            Self::LoginElsewhere { .. } => {
                "set cli_auth_credentials_store = \"file\" in Codex's config.toml and sign in again"
            }
            Self::NotStored { .. } => "`codex-manager login` signs in and stores the login",
            Self::Hold(error) => return error.hint(),
            Self::Operation(error) => return error.hint(),
            Self::Running { found } => {
                let remedies = process::remedies(found);
                return Some(format!("{remedies}, and try again; --force goes on regardless"));
            }
            Self::Changed | Self::Overwritten => "quit every Codex and try again",
            Self::Login(error) => return error.hint(),
            Self::Disk(error) => return error.hint(),
        };
        Some(text.to_owned())
    }
}

/// Decides which login to put in place for `account`. `shelf` is what the store knows; with
/// `stale` an older login may be taken where the newest is damaged.
///
/// # Errors
///
/// When no usable login of the account is stored, or Codex would not look at the file.
pub fn plan(
    account: &AccountKey,
    home: &CodexHome,
    live: &Live,
    shelf: &Shelf<'_>,
    stale: Stale,
) -> Result<Plan, SwitchError> {
    refuse_in_vain(home, live)?;
    let mut warnings = Vec::new();
    let theirs = match live {
        Live::Login(file) if file.key.as_ref() == Some(account) => Some(file),
        _ => None,
    };
    let pick = logins::freshest(account, theirs, None, shelf, stale, &mut warnings)?;
    let (from, email, goal) = match pick {
        Pick::Live => (None, theirs.and_then(|file| file.email.clone()), Goal::Stays),
        Pick::Stored { title, file, .. } => (Some(title), file.email, Goal::Login(file.bytes)),
        Pick::Nothing => return Err(SwitchError::NotStored { account: account.to_string() }),
    };
    let live = live.bytes().cloned();
    Ok(Plan { from, email, goal, live, home: home.clone(), warnings })
}

/// Decides how to put these very bytes in place, which name nobody: what was live before a
/// switch. `None` signs out.
///
/// # Errors
///
/// When Codex would not look at the file.
pub fn plan_bytes(
    bytes: Option<Secret>,
    from: Option<String>,
    home: &CodexHome,
    live: &Live,
) -> Result<Plan, SwitchError> {
    refuse_in_vain(home, live)?;
    let goal = bytes.map_or(Goal::Nothing, Goal::Login);
    let live = live.bytes().cloned();
    Ok(Plan { from, email: None, goal, live, home: home.clone(), warnings: Vec::new() })
}

/// Refuses where there is no home, or Codex would not look at the file.
fn refuse_in_vain(home: &CodexHome, live: &Live) -> Result<(), SwitchError> {
    if !home.root().is_dir() {
        return Err(SwitchError::NoHome { path: home.root().to_owned() });
    }
    match elsewhere(&config_text(home)?, live) {
        Some(store) => Err(SwitchError::LoginElsewhere { store }),
        None => Ok(()),
    }
}

/// Where Codex keeps its login, if it is not in `auth.json`: `the keyring` or `memory`. A
/// configuration that does not tell is Codex's own business.
pub(crate) fn elsewhere(config_toml: &str, live: &Live) -> Option<&'static str> {
    match LoginStore::of_config(config_toml) {
        Ok(LoginStore::Keyring) => Some("the keyring"),
        Ok(LoginStore::Ephemeral) => Some("memory"),
        Ok(LoginStore::Auto) if matches!(live, Live::Absent) => Some("the keyring"),
        Ok(LoginStore::File | LoginStore::Auto) | Err(_) => None,
    }
}

/// What one switch is run with.
pub struct Run<'a> {
    /// What `operations.jsonl` says of it.
    pub record: Record,
    /// What the ledger learns of it.
    pub ledger: &'a [Entry],
    /// Held since everything was read.
    pub lock: &'a Lock,
    /// Who uses the home now and stands in the way; asked right before the rename.
    pub holders: &'a dyn Fn() -> Vec<Holder>,
}

/// Puts the login in place: beside `auth.json`, synced, renamed, and read back. A link that
/// `auth.json` is stays; the file it leads to is replaced. Answers what a person should know.
///
/// Codex 0.166.0 and newer are kept out by their own lock meanwhile. An older one may have
/// written since [`plan`]: then the live login is not the one that was stored, and stays.
///
/// # Errors
///
/// [`SwitchError`]; but for [`SwitchError::Overwritten`] the file is as it was.
pub fn apply(plan: &Plan, store: &Store, run: &Run<'_>) -> Result<Vec<String>, SwitchError> {
    let path = plan.home.auth();
    let target = match path.symlink_metadata() {
        Ok(facts) if facts.is_symlink() => resolve(&path)?,
        _ => path.clone(),
    };
    let notes = Notes::new(store, Some(run.record.clone()), run.ledger)?;
    let (wanted, done) = match &plan.goal {
        Goal::Stays => return Ok(Vec::new()),
        Goal::Login(login) => (Some(login), put(plan, login, &target, &notes, store, run.holders)),
        Goal::Nothing => (None, take_away(plan, &target, &notes, store, run.holders)),
    };
    let mut warnings = done?;
    match logins::is_still(&plan.home, wanted) {
        Ok(true) => {}
        Ok(false) => {
            let _later = replace::remove_file(&store.journal());
            return Err(SwitchError::Overwritten);
        }
        Err(error) => {
            warnings.push(format!("the login is in place, but could not be read back: {error}"));
        }
    }
    let noted = notes.write_down(store, run.lock);
    let noted = noted.and_then(|()| replace::remove_file(&store.journal()));
    warnings.extend(
        noted.err().map(|error| format!("it is done, and the next command notes it down: {error}")),
    );
    Ok(warnings)
}

fn put(
    plan: &Plan,
    login: &Secret,
    target: &Path,
    notes: &Notes,
    store: &Store,
    holders: &dyn Fn() -> Vec<Holder>,
) -> Result<Vec<String>, SwitchError> {
    let temporary = NewFile::name_in(replace::parent(target))?;
    let mut journal = Journal {
        notes: notes.clone(),
        temporary: Some(temporary.clone()),
        target: target.to_owned(),
        identity: None,
    };
    // There is a copy of the login from here on.
    journal::begin(store, Kind::Login, &journal)?;
    let put = || -> Result<Vec<String>, SwitchError> {
        let mut new = NewFile::create_as(temporary)?;
        journal.identity = swap::identity(new.path())?;
        journal::update(&store.journal(), Kind::Login, &journal)?;
        let failed = |source| DiskError { action: "write", path: target.to_owned(), source };
        new.write_all(login.bytes()).map_err(failed)?;
        let _held = refuse_if_moved(plan, holders)?;
        let committed = new.commit(target, Overwrite::Replace);
        named(committed, &plan.home, Some(login))
    };
    or_strike_out(put(), store)
}

fn take_away(
    plan: &Plan,
    target: &Path,
    notes: &Notes,
    store: &Store,
    holders: &dyn Fn() -> Vec<Holder>,
) -> Result<Vec<String>, SwitchError> {
    let identity = swap::identity(target)?;
    let notes = notes.clone();
    let journal = Journal { notes, temporary: None, target: target.to_owned(), identity };
    journal::begin(store, Kind::Login, &journal)?;
    let gone = || -> Result<Vec<String>, SwitchError> {
        let _held = refuse_if_moved(plan, holders)?;
        named(replace::remove_file(target).map(drop), &plan.home, None)
    };
    or_strike_out(gone(), store)
}

/// What failed needs no journal any more.
fn or_strike_out<T>(done: Result<T, SwitchError>, store: &Store) -> Result<T, SwitchError> {
    done.inspect_err(|_| {
        // What fails here, the next command does.
        let _later = replace::remove_file(&store.journal());
    })
}

/// Keeps Codex out, and refuses if the home is not as it was when it was decided.
fn refuse_if_moved(
    plan: &Plan,
    holders: &dyn Fn() -> Vec<Holder>,
) -> Result<Option<Lock>, SwitchError> {
    let held = logins::hold(&plan.home)?;
    let found = holders();
    if !found.is_empty() {
        return Err(SwitchError::Running { found });
    }
    if !logins::is_still(&plan.home, plan.live.as_ref())? {
        return Err(SwitchError::Changed);
    }
    Ok(held)
}

/// The name may have changed although the last step, syncing its folder, failed: what the file
/// holds now decides what happened.
fn named(
    done: Result<(), DiskError>,
    home: &CodexHome,
    login: Option<&Secret>,
) -> Result<Vec<String>, SwitchError> {
    match done {
        Ok(()) => Ok(Vec::new()),
        Err(error) if matches!(logins::is_still(home, login), Ok(true)) => {
            Ok(vec![format!("the login is in place, but a power cut could take it back: {error}")])
        }
        Err(error) => Err(error.into()),
    }
}

/// What is about to happen to `auth.json`. Format: SPEC, "Logins".
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Journal {
    #[serde(flatten)]
    notes: Notes,
    /// Where the new login lies until it has its name; `None` if there will be none.
    temporary: Option<PathBuf>,
    /// What it will replace.
    target: PathBuf,
    /// Which file it is: the new login, once it is made, or the one that goes.
    identity: Option<Identity>,
}

/// Ends what an interrupted run began: a login that has no name yet is removed, exactly the file
/// that the journal names, if it is a regular one under a reserved name; of one that has it, it is
/// noted down. The lock is held. Answers what a person should know.
///
/// # Errors
///
/// When the disk refuses; the journal stays.
pub(super) fn finish(
    journal: &Journal,
    store: &Store,
    lock: &Lock,
) -> Result<Vec<String>, DiskError> {
    let mut told = Vec::new();
    let happened = match &journal.temporary {
        Some(temporary) if replace::is_unfinished(temporary) => {
            replace::remove_file(temporary)?;
            told.push("an interrupted `use` was taken back: the login is as it was".to_owned());
            false
        }
        Some(_) => {
            let found = swap::identity(&journal.target)?;
            let above = replace::parent(&journal.target);
            // Without its folder it is not there either.
            let new = journal.identity.and_then(|new| new.on(above).ok());
            found.is_some() && found == new
        }
        None => journal.target.symlink_metadata().is_err(),
    };
    if happened {
        journal.notes.write_down(store, lock)?;
        told.extend(journal.notes.told());
    }
    replace::remove_file(&store.journal())?;
    Ok(told)
}

/// Where a link leads; a dangling one leads to the file that will be there.
fn resolve(link: &Path) -> Result<PathBuf, DiskError> {
    match link.canonicalize() {
        Ok(target) => Ok(target),
        Err(_) => {
            let failed = |source| DiskError { action: "read", path: link.to_owned(), source };
            let target = std::fs::read_link(link).map_err(failed)?;
            Ok(link.parent().unwrap_or(link).join(target))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;
    use crate::snapshot::operations;
    use crate::time::Zone;

    #[test]
    fn what_is_in_place_is_not_said_to_have_failed() {
        let dir = tempfile::tempdir().unwrap();
        let home = CodexHome::at(dir.path().to_owned());
        let failed = || DiskError {
            action: "sync",
            path: home.root().to_owned(),
            source: std::io::ErrorKind::StorageFull.into(),
        };
        let login = Secret::from(b"new".to_vec());
        fs::write(home.auth(), "old").unwrap();
        assert!(matches!(named(Err(failed()), &home, Some(&login)), Err(SwitchError::Disk(_))));
        fs::write(home.auth(), "new").unwrap();
        let warnings = named(Err(failed()), &home, Some(&login)).unwrap();
        assert!(warnings[0].contains("is in place, but"), "{warnings:?}");
        assert_eq!(named(Ok(()), &home, Some(&login)).unwrap(), Vec::<String>::new());
    }

    /// A home with a login, and the manager home beside it.
    fn lab() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path().join("manager"));
        drop(store.open(Duration::ZERO, "test").unwrap());
        fs::write(dir.path().join("auth.json"), "old").unwrap();
        (dir, store)
    }

    fn journal(target: &Path, temporary: Option<&Path>, identity: Option<&Path>) -> Journal {
        let at = Zone::UTC.stamp("2026-11-21T10:00:00Z".parse().unwrap());
        let record = Record::new("op".to_owned(), at, "use", "signed in ada".to_owned());
        let notes = Notes::of(record);
        let identity = identity.and_then(|path| swap::identity(path).unwrap());
        let temporary = temporary.map(Path::to_owned);
        Journal { notes, temporary, target: target.to_owned(), identity }
    }

    fn next_run(store: &Store) -> (Vec<String>, usize) {
        let told = store.open(Duration::ZERO, "test").unwrap().finished;
        assert!(!store.journal().exists());
        (told, operations::log::read(store).unwrap().records.len())
    }

    #[test]
    #[cfg(unix)]
    fn killed_before_or_after_the_rename_the_switch_was_not_or_was() {
        let (dir, store) = lab();
        let (auth, new) =
            (dir.path().join("auth.json"), dir.path().join(".codex-manager-0123456789abcdef.tmp"));
        fs::write(&new, "new").unwrap();
        journal::begin(&store, Kind::Login, &journal(&auth, Some(&new), Some(&new))).unwrap();
        assert_eq!(next_run(&store).1, 0);
        assert!(!new.exists());
        assert_eq!(fs::read_to_string(&auth).unwrap(), "old");

        fs::write(&new, "new").unwrap();
        journal::begin(&store, Kind::Login, &journal(&auth, Some(&new), Some(&new))).unwrap();
        fs::rename(&new, &auth).unwrap();
        let (told, noted) = next_run(&store);
        assert_eq!((told.len(), noted), (1, 1), "{told:?}");
        assert_eq!(fs::read_to_string(&auth).unwrap(), "new");

        journal::begin(&store, Kind::Login, &journal(&auth, None, Some(&auth))).unwrap();
        assert_eq!(next_run(&store).1, 1, "nobody was signed out");
    }

    #[test]
    fn of_a_killed_switch_exactly_its_own_file_is_removed() {
        let (dir, store) = lab();
        let at = |name: &str| dir.path().join(name);
        let (ours, other) =
            (at(".codex-manager-0123456789abcdef.tmp"), at(".codex-manager-0123456789abcde0.tmp"));
        for path in [&ours, &other, &at(".codex-manager-notes.tmp")] {
            fs::write(path, "").unwrap();
        }
        fs::create_dir(at(".codex-manager-0123456789abcde1.tmp")).unwrap();
        let auth = at("auth.json");
        journal::begin(&store, Kind::Login, &journal(&auth, Some(&ours), Some(&ours))).unwrap();
        assert_eq!(next_run(&store).0.len(), 1);
        assert!(!ours.exists() && other.exists());
        for kept in ["auth.json", ".codex-manager-notes.tmp", ".codex-manager-0123456789abcde1.tmp"]
        {
            journal::begin(
                &store,
                Kind::Login,
                &journal(&at("none"), Some(&at(kept)), Some(&other)),
            )
            .unwrap();
            assert_eq!(next_run(&store), (Vec::new(), 0));
            assert!(at(kept).exists(), "{kept}");
        }
    }
}
