//! How does a further account sign in without the one that is live being touched?
//!
//! In a [`Scratch`], a Codex home of its own in `tmp/` of the manager home. `codex login` in the
//! home of somebody else would end that one's login; here there is none. What Codex wrote there is
//! stored as an `auth` snapshot. If nobody comes to that, because the run was killed, the next
//! command that takes the lock does it (`finish_interrupted`): a login that was just issued is
//! neither lost nor left lying about.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::account::AccountKey;
use crate::codex::auth::{self, AuthError, AuthFile, Problem};
use crate::codex::home::CodexHome;
use crate::codex::process::{self, Place};
use crate::disk::lock::{Lock, LockError, Mode};
use crate::disk::{DiskError, read, replace, tree};
use crate::snapshot::adopt;
use crate::snapshot::backup::{self, BackupError, Prepared};
use crate::snapshot::operations::{self, Change, Record, Transaction, log};
use crate::snapshot::store::{Store, StoreError};
use crate::time::{Stamp, Zone};

/// The file in a scratch that tells what it is.
const SLIP: &str = "login.json";

/// The file whose lock says that somebody is at work here.
const IN_USE: &str = "in-use";

/// The largest slip that is read, in bytes.
const MAX_SLIP: u64 = 1 << 16;

/// What is said of a login that was issued here.
const NOTE: &str = "signed in with `codex-manager login`";

/// The keys of Codex's `config.toml` that decide about signing in. What else is in there belongs
/// to the live home: it may lead to its databases and logs.
const KEYS: [&str; 3] = ["chatgpt_base_url", "forced_login_method", "forced_chatgpt_workspace_id"];

/// The variables of Codex's `.env` that decide how the network is reached.
const VARIABLES: [&str; 6] =
    ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"];

/// A private Codex home for one sign-in.
#[derive(Debug)]
pub struct Scratch {
    folder: PathBuf,
    in_use: Option<Lock>,
}

/// What a scratch says about itself, for a run that finds it.
#[derive(Debug, Deserialize, Serialize)]
struct Slip {
    schema_version: u32,
    /// When the sign-in began.
    at: Stamp,
    /// The zone of names.
    zone: String,
}

/// Why a sign-in did not come to a stored login.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// There is no place for it, or nobody knows whether it is free.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The file that Codex wrote cannot be read.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The login cannot be stored.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The store cannot be looked at.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SignInError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Lock(error) => error.hint(),
            Self::Disk(error) => error.hint(),
            Self::Auth(error) => error.hint(),
            Self::Backup(error) => error.hint(),
            Self::Store(error) => error.hint(),
        }
    }
}

/// What a person said of the home that is live, as far as a sign-in needs it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Live<'a> {
    /// Its `config.toml`.
    pub config: &'a str,
    /// Its `.env`.
    pub variables: &'a str,
}

/// What became of the login in a scratch.
#[derive(Debug)]
pub struct Stored {
    /// The login.
    pub file: AuthFile,
    /// The snapshot that holds it.
    pub title: String,
    /// Whether that was there before.
    pub was_there: bool,
    /// What a person should know.
    pub warnings: Vec<String>,
}

impl Scratch {
    /// Makes one, as of `at`; the caller holds the store's lock and lets go of it while a person
    /// signs in.
    ///
    /// # Errors
    ///
    /// When the disk refuses, or has no locks.
    pub fn make(
        store: &Store,
        live: Live<'_>,
        at: Stamp,
        zone: &Zone,
    ) -> Result<Self, SignInError> {
        let folder = tree::staging_dir(&store.tmp().join("login"))?;
        let mut scratch = Self { folder, in_use: None };
        let made = scratch.furnish(live, at, zone);
        if made.is_err() {
            // What stays, the next command removes.
            let _litter = replace::remove_tree(&scratch.folder);
        }
        made.map(|()| scratch)
    }

    fn furnish(&mut self, live: Live<'_>, at: Stamp, zone: &Zone) -> Result<(), SignInError> {
        let in_use = self.folder.join(IN_USE);
        self.in_use = Some(Lock::acquire(&in_use, Mode::Exclusive, Duration::ZERO, "login")?);
        let home = self.home();
        replace::private_dir(home.root())?;
        replace::write_new(&home.config(), configuration(live.config).as_bytes())?;
        let variables = network(live.variables);
        if !variables.is_empty() {
            replace::write_new(&home.root().join(".env"), variables.as_bytes())?;
        }
        let slip = Slip { schema_version: 1, at, zone: zone.to_string() };
        // Plain text under text keys has a JSON form.
        let slip = serde_json::to_vec(&slip).unwrap_or_default();
        Ok(replace::write_new(&self.folder.join(SLIP), &slip)?)
    }

    /// The Codex home in it.
    #[must_use]
    pub fn home(&self) -> CodexHome {
        CodexHome::at(self.folder.join("codex-home"))
    }

    /// Whether Codex, or something that it started, still has something open here: it may outlive
    /// us, and then writes its login in its own time.
    #[must_use]
    pub fn is_at_work(&self) -> bool {
        let place = Place::new(&self.home(), None, std::process::id());
        !process::holders(&place).found.is_empty()
    }

    /// The login that Codex wrote, if it wrote one.
    ///
    /// # Errors
    ///
    /// When there is a file that cannot be read, or is no login.
    pub fn login(&self) -> Result<Option<AuthFile>, AuthError> {
        auth::read(&self.home().auth())
    }

    /// Stores the login as the operation `record`, unless it is stored already. The lock is held.
    /// `alias` is the text that `config.toml` gets in the same step, if it gets another one.
    ///
    /// # Errors
    ///
    /// [`SignInError`]; the login stays where it is, and the next command stores it.
    pub fn keep(
        &self,
        file: AuthFile,
        (record, zone): (Record, &Zone),
        alias: Option<&str>,
        (store, lock): (&Store, &Lock),
    ) -> Result<Stored, SignInError> {
        let snapshots = store.scan(zone)?.snapshots;
        let there = adopt::stored_as(&file, &snapshots).map(|stored| stored.title.clone());
        let (mut steps, mut changes, mut warnings) = (Vec::new(), Vec::new(), Vec::new());
        let was_there = there.is_some();
        let title = match there {
            Some(title) => title,
            None => {
                let plan = adopt::plan(&file, (NOTE, None), record.at, zone, store);
                let stop = AtomicBool::new(false);
                let Prepared { made, steps: naming, changes: named, .. } =
                    backup::prepare(plan, store, &mut |_| {}, &stop)?;
                steps.extend(naming);
                changes.extend(named);
                warnings.extend(made.warnings);
                made.name.to_string()
            }
        };
        if let Some(text) = alias {
            let (step, change): (_, Change) =
                operations::rewrite(store, &record.id, "config.toml", text.as_bytes())?;
            steps.push(step);
            changes.push(change);
        }
        if !steps.is_empty() {
            let record = Some(Record { changes, ..record });
            let transaction = Transaction { record, steps, ..Transaction::default() };
            warnings.extend(transaction.run(store, lock).map_err(StoreError::Operation)?);
        }
        Ok(Stored { file, title, was_there, warnings })
    }

    /// Removes it, with all that Codex left in it.
    ///
    /// # Errors
    ///
    /// When something in it cannot be removed; the next command tries again.
    pub fn remove(self) -> Result<(), DiskError> {
        replace::remove_tree(&self.folder).map(drop)
    }
}

/// Whether a folder in `tmp/` is a scratch of this room, whatever state it is in.
#[must_use]
pub fn is_scratch(folder: &Path) -> bool {
    folder.join(SLIP).symlink_metadata().is_ok()
}

/// Stores the logins of sign-ins that were killed, and removes what they left; those at which
/// somebody still sits stay. Answers what a person should know.
pub(super) fn finish_interrupted(store: &Store, lock: &Lock) -> Vec<String> {
    let found = match replace::litter(&store.tmp()) {
        Ok(found) => found,
        Err(error) => return vec![error.to_string()],
    };
    let mut told = Vec::new();
    for folder in found.into_iter().filter(|path| is_scratch(path)) {
        let place = folder.display().to_string();
        told.extend(finish_one(folder, store, lock).unwrap_or_else(|error| {
            let what = "an interrupted `login` could not be finished";
            vec![format!("{what}: {error}; it stays in {place}")]
        }));
    }
    told
}

fn finish_one(folder: PathBuf, store: &Store, lock: &Lock) -> Result<Vec<String>, SignInError> {
    let claim = Lock::acquire(&folder.join(IN_USE), Mode::Exclusive, Duration::ZERO, "login");
    let in_use = match claim {
        Err(LockError::Held { .. }) => return Ok(Vec::new()),
        claim => Some(claim?),
    };
    let slip = read::bounded(&folder.join(SLIP), MAX_SLIP)?;
    let slip: Option<Slip> = serde_json::from_slice(&slip).ok();
    let scratch = Scratch { folder, in_use };
    if scratch.is_at_work() {
        return Ok(Vec::new());
    }
    let login = match scratch.login() {
        Ok(login) => login.filter(is_worth_keeping),
        // Half a login is none.
        Err(AuthError::NotALogin { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let (Some(file), Some(slip)) = (login, slip) else {
        scratch.remove()?;
        return Ok(Vec::new());
    };
    let zone: Zone = slip.zone.parse().unwrap_or(Zone::UTC);
    let wall = zone.wall(slip.at.instant()).format("%Y-%m-%d-%H%M%S");
    let id = log::read(store)?.free_id(&format!("{wall}-login"), &store.undo());
    let record = Record::new(id, slip.at, "login", done(&file));
    let kept = scratch.keep(file, (record, &zone), None, (store, lock))?;
    let Stored { file, title, was_there, warnings } = kept;
    let what = done(&file);
    let told = format!("an interrupted `login` was finished: {what}, stored as {title}");
    let told = (!was_there).then_some(told).into_iter().chain(warnings);
    let left = scratch.remove().err().map(|error| error.to_string());
    Ok(told.chain(left).collect())
}

/// Whether a file that Codex wrote is a login: an account's, or one of a kind that is not
/// understood yet.
#[must_use]
pub fn is_worth_keeping(file: &AuthFile) -> bool {
    match (&file.mode, file.problem) {
        (_, None) | (auth::Mode::Other(_), _) => true,
        (_, Some(problem)) => !matches!(problem, Problem::NoTokens | Problem::NoApiKey),
    }
}

/// What the log says of it.
#[must_use]
pub fn done(file: &AuthFile) -> String {
    if file.key.is_none() {
        return "kept a login that names no account".to_owned();
    }
    let short_id = || file.key.as_ref().map(AccountKey::short_id).unwrap_or_default();
    let who = file.email.as_ref().map_or_else(short_id, ToString::to_string);
    format!("signed {who} in for later use")
}

/// What of the live home's `config.toml` a sign-in needs.
fn configuration(live: &str) -> String {
    let live: toml_edit::DocumentMut = live.parse().unwrap_or_default();
    let mut scratch = toml_edit::DocumentMut::new();
    for key in KEYS {
        if let Some(value) = live.get(key).and_then(|item| item.as_value()) {
            scratch.insert(key, toml_edit::Item::Value(value.clone().decorated(" ", "")));
        }
    }
    scratch.to_string()
}

/// What of the live home's `.env` a sign-in needs: how the network is reached, and no secret.
fn network(live: &str) -> String {
    let wanted = live.lines().filter(|line| {
        let line = line.trim_start();
        let name = line.strip_prefix("export ").unwrap_or(line).split('=').next();
        name.is_some_and(|name| VARIABLES.contains(&name.trim().to_uppercase().as_str()))
    });
    wanted.map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_live_configuration_only_what_decides_about_signing_in_comes_along() {
        let live = "# mine\nsqlite_home = \"/elsewhere\"\nlog_dir = \"/logs\"\n\
                    chatgpt_base_url = \"https://chat.example.com\" # ours\n\
                    cli_auth_credentials_store = \"keyring\"\nforced_login_method = 'chatgpt'\n\
                    forced_chatgpt_workspace_id = [\"a\", \"b\"]\n[model_providers.x]\nname = \"x\"\n";
        assert_eq!(
            configuration(live),
            "chatgpt_base_url = \"https://chat.example.com\"\nforced_login_method = 'chatgpt'\n\
             forced_chatgpt_workspace_id = [\"a\", \"b\"]\n"
        );
        assert_eq!(configuration("not toml"), "");
    }

    #[test]
    fn of_the_live_variables_only_the_way_to_the_network_comes_along() {
        let live = "OPENAI_API_KEY=sk-secret\nHTTPS_PROXY=http://proxy.example.com:3128\n\
                    # HTTP_PROXY=x\n export no_proxy = localhost\nMY_HTTPS_PROXY=y\n";
        assert_eq!(
            network(live),
            "HTTPS_PROXY=http://proxy.example.com:3128\n export no_proxy = localhost\n"
        );
    }
}
