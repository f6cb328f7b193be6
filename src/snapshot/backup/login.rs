//! Whose login is in the home, and may it be stored?

use super::BackupError;
use crate::codex::auth::{self, AuthFile, Store as LoginStore};
use crate::codex::home::CodexHome;
use crate::disk::{DiskError, read};
use crate::snapshot::metadata::Kind;

/// Reads the login of a home for a backup of `kind`; `None` where the kind needs none and there
/// is none that tells anything.
///
/// # Errors
///
/// When the kind needs a login and there is none that is one account's.
pub fn login(home: &CodexHome, kind: Kind) -> Result<Option<AuthFile>, BackupError> {
    if !home.root().is_dir() {
        return Err(BackupError::NoHome { path: home.root().to_owned() });
    }
    let found = match auth::read(&home.auth()) {
        Err(_) if !kind.has_login() => return Ok(None),
        other => other?,
    };
    if !kind.has_login() {
        return Ok(found.filter(|login| login.mixed.is_none()));
    }
    match LoginStore::of_config(&config_text(home)?) {
        Ok(LoginStore::Keyring) => {
            return Err(BackupError::LoginElsewhere { store: "the keyring" });
        }
        Ok(LoginStore::Ephemeral) => {
            return Err(BackupError::LoginElsewhere { store: "memory" });
        }
        Ok(LoginStore::Auto) if found.is_none() => {
            return Err(BackupError::LoginElsewhere { store: "the keyring" });
        }
        // A configuration that Codex itself could not read decides nothing.
        Ok(LoginStore::File | LoginStore::Auto) | Err(_) => {}
    }
    let login = found.ok_or_else(|| BackupError::NoLogin { path: home.auth() })?;
    if let Some(mixed) = &login.mixed {
        return Err(BackupError::Mixed {
            workspace: mixed.tokens_account_id.clone(),
            tokens: mixed.id_token_account_id.clone(),
        });
    }
    if login.key.is_none() {
        let why = login.problem.as_ref().map_or_else(String::new, ToString::to_string);
        return Err(BackupError::Nobody(why));
    }
    Ok(Some(login))
}

/// The text of the home's `config.toml`; none is an empty one.
pub(crate) fn config_text(home: &CodexHome) -> Result<String, DiskError> {
    let bytes = read::absent_is_none(read::bounded_following(&home.config(), 16 << 20))?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default())
}
