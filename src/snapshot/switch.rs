//! How does another account sign in without anything else changing?
//!
//! One file is exchanged, `auth.json`, with the freshest stored login of the account. The login
//! that was live is stored before, unless the store has it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::account::{AccountKey, Order, Secret};
use crate::codex::auth::{self, AuthError, Store as LoginStore};
use crate::codex::home::CodexHome;
use crate::disk::lock::{Lock, LockError, Mode};
use crate::disk::{DiskError, replace};
use crate::snapshot::backup::config_text;
use crate::snapshot::logins::{self, Live, LoginError};
use crate::snapshot::store::Stored;

/// What a switch will do.
#[derive(Debug)]
pub struct Plan {
    /// The account that will be signed in.
    pub account: AccountKey,
    /// Title of the snapshot its login comes from; `None` if it is live already.
    pub from: Option<String>,
    /// The login, unless the live one stays.
    login: Option<Secret>,
    home: CodexHome,
    /// What a person should know.
    pub warnings: Vec<String>,
}

impl Plan {
    /// Whether the right login is live already.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.login.is_none()
    }
}

/// Why a switch did not happen; the login is as it was.
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
    #[error("Codex is writing auth.json right now")]
    BeingWritten,
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The login cannot be read back.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// Somebody else wrote the file at the same moment.
    #[error("auth.json was written by somebody else meanwhile")]
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
            Self::NotStored { .. } => {
                "sign in with `codex login`, then store it with `codex-manager backup --auth-only`"
            }
            Self::BeingWritten => "try again in a moment",
            Self::Overwritten => "quit every Codex and try again",
            Self::Login(error) => return error.hint(),
            Self::Disk(error) => return error.hint(),
            Self::Auth(error) => return error.hint(),
        };
        Some(text.to_owned())
    }
}

/// Decides which login to put in place for `account`.
///
/// # Errors
///
/// When no usable login of the account is stored, or Codex would not look at the file.
pub fn plan(
    account: &AccountKey,
    home: &CodexHome,
    live: &Live,
    snapshots: &[Stored],
) -> Result<Plan, SwitchError> {
    if !home.root().is_dir() {
        return Err(SwitchError::NoHome { path: home.root().to_owned() });
    }
    match LoginStore::of_config(&config_text(home)?) {
        Ok(LoginStore::Keyring) => {
            return Err(SwitchError::LoginElsewhere { store: "the keyring" });
        }
        Ok(LoginStore::Ephemeral) => return Err(SwitchError::LoginElsewhere { store: "memory" }),
        Ok(LoginStore::Auto) if matches!(live, Live::Absent) => {
            return Err(SwitchError::LoginElsewhere { store: "the keyring" });
        }
        Ok(LoginStore::File | LoginStore::Auto) | Err(_) => {}
    }
    let (copies, odd) = logins::known(snapshots, account);
    let warnings = odd.iter().map(ToString::to_string).collect();
    let best = logins::freshest(copies);
    let stays =
        Plan { account: account.clone(), from: None, login: None, home: home.clone(), warnings };
    let live = match live {
        Live::Login(file) if file.key.as_ref() == Some(account) => Some(file),
        _ => None,
    };
    match (live, best) {
        // The live copy is the newest: an older one never replaces it.
        (Some(live), Some(best)) if best.login.compare(&live.login) != Order::Newer => Ok(stays),
        (Some(_), None) => Ok(stays),
        (None, None) => Err(SwitchError::NotStored { account: account.to_string() }),
        (_, Some(best)) => {
            let from = Some(best.stored.title.clone());
            let login = Some(best.into_file()?.bytes);
            Ok(Plan { from, login, ..stays })
        }
    }
}

/// Puts the login in place: beside `auth.json`, synced, renamed, and read back. A link that
/// `auth.json` is stays; the file it leads to is replaced.
///
/// # Errors
///
/// [`SwitchError`].
pub fn apply(plan: &Plan) -> Result<(), SwitchError> {
    let Some(login) = &plan.login else { return Ok(()) };
    let path = plan.home.auth();
    let target = match path.symlink_metadata() {
        Ok(facts) if facts.is_symlink() => resolve(&path)?,
        _ => path.clone(),
    };
    // Codex 0.166.0 and newer wait for this lock before they write the file themselves.
    let _held = hold(&plan.home.auth_lock())?;
    replace::write(&target, login.bytes())?;
    let found = auth::read(&path)?;
    if found.is_some_and(|file| file.bytes == *login) {
        Ok(())
    } else {
        Err(SwitchError::Overwritten)
    }
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

/// Takes Codex's own lock on the login. A shared one keeps Codex out as well, and leaves the
/// file as empty as Codex made it.
fn hold(lock: &Path) -> Result<Option<Lock>, SwitchError> {
    match Lock::acquire(lock, Mode::Shared, Duration::from_secs(5), "") {
        Ok(held) => Ok(Some(held)),
        Err(LockError::Held { .. }) => Err(SwitchError::BeingWritten),
        Err(LockError::Unsupported { .. }) => Ok(None),
        Err(LockError::Disk(error)) => Err(error.into()),
    }
}
