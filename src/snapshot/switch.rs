//! How does another account sign in without anything else changing?
//!
//! One file is exchanged, `auth.json`, with the freshest stored login of the account. The login
//! that was live is stored before, unless the store has it.
//!
//! Until it has its name the new file lies beside `auth.json` with a login in it: `switch.json` in
//! the manager home says where, so that a run that is killed leaves no copy (`finish`).

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::account::{AccountKey, Secret};
use crate::codex::auth::Store as LoginStore;
use crate::codex::home::CodexHome;
use crate::codex::process::{self, Holder};
use crate::disk::replace::{self, NewFile, Overwrite};
use crate::disk::{DiskError, read};
use crate::snapshot::backup::config_text;
use crate::snapshot::logins::{self, HoldError, Live, LoginError, Pick, Shelf, Stale};
use crate::snapshot::store::Store;

/// A larger `switch.json` is not read, in bytes.
const MAX_RECORD: u64 = 1 << 16;

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
            Self::NotStored { .. } => {
                "sign in with `codex login`, then store it with `codex-manager backup --auth-only`"
            }
            Self::Hold(error) => return error.hint(),
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
/// `auth.json` is stays; the file it leads to is replaced. `holders` tells who uses the home and
/// stands in the way, right before the rename. Answers what a person should know.
///
/// Codex 0.166.0 and newer are kept out by their own lock meanwhile. An older one may have
/// written since [`plan`]: then the live login is not the one that was stored, and stays.
///
/// # Errors
///
/// [`SwitchError`]; but for [`SwitchError::Overwritten`] the file is as it was.
pub fn apply(
    plan: &Plan,
    store: &Store,
    holders: &dyn Fn() -> Vec<Holder>,
) -> Result<Vec<String>, SwitchError> {
    let Some(login) = &plan.login else { return Ok(Vec::new()) };
    let path = plan.home.auth();
    let target = match path.symlink_metadata() {
        Ok(facts) if facts.is_symlink() => resolve(&path)?,
        _ => path.clone(),
    };
    let record = store.switch();
    let done = put(plan, login, &target, &record, holders);
    // What fails here, the next command does.
    let _later = finish(&record);
    let mut warnings = done?;
    match logins::is_still(&plan.home, Some(login)) {
        Ok(true) => {}
        Ok(false) => return Err(SwitchError::Overwritten),
        Err(error) => {
            warnings.push(format!("the login is in place, but could not be read back: {error}"));
        }
    }
    Ok(warnings)
}

fn put(
    plan: &Plan,
    login: &Secret,
    target: &Path,
    record: &Path,
    holders: &dyn Fn() -> Vec<Holder>,
) -> Result<Vec<String>, SwitchError> {
    let mut new = NewFile::create_in(target.parent().unwrap_or(target))?;
    Record::write(record, new.path())?;
    let failed = |source| DiskError { action: "write", path: target.to_owned(), source };
    new.write_all(login.bytes()).map_err(failed)?;
    let _held = logins::hold(&plan.home)?;
    let found = holders();
    if !found.is_empty() {
        return Err(SwitchError::Running { found });
    }
    if !logins::is_still(&plan.home, plan.live.as_ref())? {
        return Err(SwitchError::Changed);
    }
    let committed = new.commit(target, Overwrite::Replace);
    named(committed, &plan.home, login)
}

/// The name may have changed although the last step, syncing its folder, failed: what the file
/// holds now decides what happened.
fn named(
    committed: Result<(), DiskError>,
    home: &CodexHome,
    login: &Secret,
) -> Result<Vec<String>, SwitchError> {
    match committed {
        Ok(()) => Ok(Vec::new()),
        Err(error) if matches!(logins::is_still(home, Some(login)), Ok(true)) => {
            Ok(vec![format!("the login is in place, but a power cut could take it back: {error}")])
        }
        Err(error) => Err(error.into()),
    }
}

/// Where the new login lies until it has its name. Format: SPEC, "Logins".
#[derive(Debug, Deserialize, Serialize)]
struct Record {
    schema_version: u32,
    temporary: PathBuf,
}

impl Record {
    fn write(file: &Path, temporary: &Path) -> Result<(), DiskError> {
        let record = Self { schema_version: 1, temporary: temporary.to_owned() };
        match serde_json::to_vec_pretty(&record) {
            Ok(bytes) => replace::write(file, &bytes),
            // Only a path that is not UTF-8 has no JSON form; such a home does without.
            Err(_) => Ok(()),
        }
    }
}

/// Removes what a killed run left of a login beside `auth.json`: exactly the file that the record
/// names, if it is a regular one under a reserved name. The lock is held. Answers what a person
/// should know.
///
/// # Errors
///
/// When the disk refuses; the record stays.
pub(crate) fn finish(file: &Path) -> Result<Vec<String>, DiskError> {
    let Some(bytes) = read::optional(file, MAX_RECORD)? else { return Ok(Vec::new()) };
    let mut told = Vec::new();
    let known = serde_json::from_slice(&bytes).ok();
    match known.filter(|record: &Record| record.schema_version == 1) {
        Some(Record { temporary, .. }) => {
            if replace::is_unfinished(&temporary) && replace::remove_file(&temporary)? {
                told.push("an interrupted `use` was taken back: the login is as it was".to_owned());
            }
        }
        None => told.push(format!(
            "a `use` was interrupted, and {} could not be read: a copy of a login may lie beside \
             auth.json as .codex-manager-….tmp",
            file.display()
        )),
    }
    replace::remove_file(file)?;
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

    use super::*;

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
        assert!(matches!(named(Err(failed()), &home, &login), Err(SwitchError::Disk(_))));
        fs::write(home.auth(), "new").unwrap();
        let warnings = named(Err(failed()), &home, &login).unwrap();
        assert!(warnings[0].contains("is in place, but"), "{warnings:?}");
        assert_eq!(named(Ok(()), &home, &login).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn of_a_killed_switch_exactly_its_own_file_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let (record, ours, other) = (
            at("switch.json"),
            at(".codex-manager-0123456789abcdef.tmp"),
            at(".codex-manager-0123456789abcde0.tmp"),
        );
        for path in [&ours, &other, &at("auth.json"), &at(".codex-manager-notes.tmp")] {
            fs::write(path, "").unwrap();
        }
        fs::create_dir(at(".codex-manager-0123456789abcde1.tmp")).unwrap();
        Record::write(&record, &ours).unwrap();
        assert_eq!(finish(&record).unwrap().len(), 1);
        assert!(!ours.exists() && !record.exists());
        for kept in ["auth.json", ".codex-manager-notes.tmp", ".codex-manager-0123456789abcde1.tmp"]
        {
            Record::write(&record, &at(kept)).unwrap();
            assert_eq!(finish(&record).unwrap(), Vec::<String>::new());
            assert!(at(kept).exists() && !record.exists(), "{kept}");
        }
        fs::write(&record, "{").unwrap();
        assert_eq!(finish(&record).unwrap().len(), 1);
        assert!(!record.exists() && other.exists());
    }
}
