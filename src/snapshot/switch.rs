//! How does another account sign in without anything else changing?
//!
//! One file is exchanged, `auth.json`, with the freshest stored login of the account. The login
//! that was live is stored before, unless the store has it.

use std::path::{Path, PathBuf};

use crate::account::{AccountKey, Secret};
use crate::codex::auth::{self, AuthError, Store as LoginStore};
use crate::codex::home::CodexHome;
use crate::disk::{DiskError, replace};
use crate::snapshot::backup::config_text;
use crate::snapshot::logins::{self, HoldError, Live, LoginError, Pick, Shelf, Stale};

/// What a switch will do.
#[derive(Debug)]
pub struct Plan {
    /// The account that will be signed in.
    pub account: AccountKey,
    /// Title of the snapshot its login comes from; `None` if it is live already.
    pub from: Option<String>,
    /// The login, unless the live one stays.
    login: Option<Secret>,
    /// What was live when this was decided.
    live: Option<Secret>,
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
    #[error(transparent)]
    Hold(#[from] HoldError),
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The login cannot be read back.
    #[error(transparent)]
    Auth(#[from] AuthError),
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
            Self::NotStored { .. } => {
                "sign in with `codex login`, then store it with `codex-manager backup --auth-only`"
            }
            Self::Hold(error) => return error.hint(),
            Self::Changed | Self::Overwritten => "quit every Codex and try again",
            Self::Login(error) => return error.hint(),
            Self::Disk(error) => return error.hint(),
            Self::Auth(error) => return error.hint(),
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
    if !home.root().is_dir() {
        return Err(SwitchError::NoHome { path: home.root().to_owned() });
    }
    if let Some(store) = elsewhere(&config_text(home)?, live) {
        return Err(SwitchError::LoginElsewhere { store });
    }
    let mut warnings = Vec::new();
    let theirs = match live {
        Live::Login(file) if file.key.as_ref() == Some(account) => Some(file),
        _ => None,
    };
    let (from, login) = match logins::freshest(account, theirs, None, shelf, stale, &mut warnings)?
    {
        Pick::Live => (None, None),
        Pick::Stored { title, file, .. } => (Some(title), Some(file.bytes)),
        Pick::Nothing => return Err(SwitchError::NotStored { account: account.to_string() }),
    };
    let live = live.bytes().cloned();
    Ok(Plan { account: account.clone(), from, login, live, home: home.clone(), warnings })
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

/// Puts the login in place: beside `auth.json`, synced, renamed, and read back. A link that
/// `auth.json` is stays; the file it leads to is replaced.
///
/// Codex 0.166.0 and newer are kept out by their own lock meanwhile. An older one may have
/// written since [`plan`]: then the live login is not the one that was stored, and stays.
///
/// # Errors
///
/// [`SwitchError`]; but for [`SwitchError::Overwritten`] the file is as it was.
pub fn apply(plan: &Plan) -> Result<(), SwitchError> {
    let Some(login) = &plan.login else { return Ok(()) };
    let path = plan.home.auth();
    let target = match path.symlink_metadata() {
        Ok(facts) if facts.is_symlink() => resolve(&path)?,
        _ => path.clone(),
    };
    let _held = logins::hold(&plan.home)?;
    if !logins::is_still(&plan.home, plan.live.as_ref())? {
        return Err(SwitchError::Changed);
    }
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
