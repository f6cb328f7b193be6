//! What login is live, is it stored, and does it stand still?
//!
//! Whatever lies in `auth.json` is kept byte for byte before another login takes its place, and
//! just before that it is looked at once more: Codex may have refreshed it meanwhile.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::account::{AccountKey, Secret};
use crate::codex::auth::{self, AuthError, AuthFile, MAX_BYTES};
use crate::codex::home::CodexHome;
use crate::disk::archive::EntryName;
use crate::disk::lock::{Lock, LockError, Mode};
use crate::disk::{DiskError, read};
use crate::snapshot::backup::{self, Plan};
use crate::snapshot::metadata::{Kind, Metadata};
use crate::snapshot::name::{SnapshotName, Who};
use crate::snapshot::operations::SignedIn;
use crate::snapshot::store::{Store, Stored};
use crate::time::Zone;

use super::read_login;

/// How long Codex may take to write its login.
const PATIENCE: Duration = Duration::from_secs(5);

/// The login that is live in a home, whatever state it is in.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one run holds one of these")]
pub enum Live {
    /// Nobody is signed in.
    Absent,
    /// An account's login.
    Login(AuthFile),
    /// A file that names no single account; it is kept byte for byte all the same.
    Orphan {
        /// The file.
        bytes: Secret,
        /// What is wrong with it, in words that name no path: they go into the snapshot.
        why: String,
    },
}

impl Live {
    /// Looks at the home's `auth.json`.
    ///
    /// # Errors
    ///
    /// When there is a file that cannot even be read.
    pub fn read(home: &CodexHome) -> Result<Self, LiveError> {
        match auth::read(&home.auth()) {
            Ok(None) => Ok(Self::Absent),
            Ok(Some(file)) if file.key.is_some() && file.mixed.is_none() => Ok(Self::Login(file)),
            Ok(Some(file)) => {
                let why = file.problem.as_ref().map_or_else(String::new, ToString::to_string);
                Ok(Self::Orphan { bytes: file.bytes, why })
            }
            Err(AuthError::NotALogin { source, .. }) => {
                Self::orphan(home, format!("it is {source}"))
            }
            Err(AuthError::Unsettled { .. }) => {
                Self::orphan(home, "it kept changing while it was read".to_owned())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn orphan(home: &CodexHome, why: String) -> Result<Self, LiveError> {
        let bytes = read::bounded_following(&home.auth(), MAX_BYTES)?;
        Ok(Self::Orphan { bytes: bytes.into(), why })
    }

    /// The account that is signed in.
    #[must_use]
    pub fn key(&self) -> Option<&AccountKey> {
        match self {
            Self::Login(file) => file.key.as_ref(),
            Self::Absent | Self::Orphan { .. } => None,
        }
    }

    /// The exact bytes.
    #[must_use]
    pub fn bytes(&self) -> Option<&Secret> {
        match self {
            Self::Absent => None,
            Self::Login(file) => Some(&file.bytes),
            Self::Orphan { bytes, .. } => Some(bytes),
        }
    }

    /// Who is signed in, as a record of an operation says it; `banked` is the title of the snapshot
    /// that [`Live::to_bank`] is for.
    #[must_use]
    pub fn signed_in(&self, snapshots: &[Stored], banked: Option<&str>) -> SignedIn {
        match self {
            Self::Absent => SignedIn::Nobody,
            Self::Login(AuthFile { key: Some(key), .. }) => SignedIn::Account(key.clone()),
            Self::Login(AuthFile { bytes, .. }) | Self::Orphan { bytes, .. } => {
                let kept = || kept_in(snapshots, bytes).map(|stored| stored.title.clone());
                let title = banked.map(str::to_owned).or_else(kept);
                SignedIn::Orphan(title.unwrap_or_default())
            }
        }
    }

    /// The snapshot that keeps this login before it is replaced; `None` if there is nothing to
    /// keep or the store has it already.
    #[must_use]
    pub fn to_bank(
        &self,
        snapshots: &[Stored],
        store: &Store,
        zone: &Zone,
        now: DateTime<Utc>,
    ) -> Option<Plan> {
        let bytes = self.bytes()?;
        let mut metadata = Metadata::empty(Kind::Auth);
        metadata.created_at = Some(zone.stamp(now));
        metadata.manager_version = Some(env!("CARGO_PKG_VERSION").to_owned());
        let who = match self {
            Self::Login(file) => {
                if is_stored(snapshots, file) {
                    return None;
                }
                metadata.email = file.email.clone();
                metadata.account = backup::account_facts(file);
                metadata.login = Some(file.login.clone());
                metadata.note = Some("stored before another login took its place".to_owned());
                backup::who(Some(file))
            }
            Self::Orphan { bytes, why } => {
                if kept_in(snapshots, bytes).is_some() {
                    return None;
                }
                metadata.note = Some(format!("an orphan, stored before it was replaced: {why}"));
                Who::nameless("orphan")
            }
            Self::Absent => return None,
        };
        let wanted = SnapshotName::new(zone.wall(now), who);
        Some(backup::plan_login(bytes, now.timestamp(), metadata, wanted, store))
    }
}

/// The snapshot that holds this very orphan, byte for byte.
pub(super) fn kept_in<'a>(snapshots: &'a [Stored], bytes: &Secret) -> Option<&'a Stored> {
    let mut orphans = snapshots.iter().filter(|stored| stored.is_orphan());
    orphans.find(|stored| orphan_in(stored).is_some_and(|found| found == *bytes))
}

/// The bytes of an orphan, out of its snapshot.
pub(crate) fn orphan_in(stored: &Stored) -> Option<Secret> {
    let name: EntryName = CodexHome::AUTH.parse().ok()?;
    let archive = super::open(stored).ok().filter(|archive| !super::is_another(archive, stored))?;
    archive.read(&name, MAX_BYTES).ok().flatten().map(Secret::from)
}

/// Whether the store has this very login: a snapshot from which the same bytes were just read.
///
/// What a sidecar says is only a reason to look: its archive may be damaged, or another one. Of
/// logins without a refresh token none has a fingerprint, so each of those is looked at.
#[must_use]
pub fn is_stored(snapshots: &[Stored], file: &AuthFile) -> bool {
    snapshots.iter().any(|stored| {
        let told = stored.metadata.login.as_ref();
        stored.metadata.kind.has_login()
            && told.is_some_and(|told| told.fingerprint == file.login.fingerprint)
            && read_login(stored).is_ok_and(|found| found.bytes == file.bytes)
    })
}

/// Takes Codex's own lock on its login: 0.166.0 and newer wait for it before they write the
/// file. A shared one keeps them out as well, and leaves the lock file as empty as Codex made
/// it. `None` where the file system has no locks.
///
/// # Errors
///
/// [`HoldError`].
pub(crate) fn hold(home: &CodexHome) -> Result<Option<Lock>, HoldError> {
    hold_for(home, PATIENCE)
}

fn hold_for(home: &CodexHome, patience: Duration) -> Result<Option<Lock>, HoldError> {
    match Lock::acquire(&home.auth_lock(), Mode::Shared, patience, "") {
        Ok(held) => Ok(Some(held)),
        Err(LockError::Held { .. }) => Err(HoldError::BeingWritten),
        Err(LockError::Unsupported { .. }) => Ok(None),
        Err(LockError::Disk(error)) => Err(error.into()),
    }
}

/// Whether `auth.json` holds exactly these bytes, or is not there if there are none. Half a file
/// of a Codex that is writing is another one.
///
/// # Errors
///
/// When it is there and cannot be read.
pub(crate) fn is_still(home: &CodexHome, expected: Option<&Secret>) -> Result<bool, DiskError> {
    let found = read::absent_is_none(read::bounded_following(&home.auth(), MAX_BYTES))?;
    let found = found.map(Secret::from);
    Ok(found.as_ref() == expected)
}

/// Why Codex cannot be kept from writing its login.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// Codex holds its own lock on the login.
    #[error("Codex is writing auth.json right now")]
    BeingWritten,
    /// The lock file cannot be opened.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl HoldError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::BeingWritten => Some("try again in a moment".to_owned()),
            Self::Disk(error) => error.hint(),
        }
    }
}

/// Why the live login cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// It is there, and unreadable.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl LiveError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Auth(error) => error.hint(),
            Self::Disk(error) => error.hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_codex_that_is_writing_its_login_is_waited_for_and_then_named() {
        let dir = tempfile::tempdir().unwrap();
        let home = CodexHome::at(dir.path().to_owned());
        let codex = Lock::acquire(&home.auth_lock(), Mode::Exclusive, Duration::ZERO, "").unwrap();
        let error = hold_for(&home, Duration::ZERO).unwrap_err();
        assert!(matches!(error, HoldError::BeingWritten), "{error}");
        drop(codex);
        let held = hold_for(&home, Duration::ZERO).unwrap();
        assert!(held.is_some());
        assert!(Lock::acquire(&home.auth_lock(), Mode::Exclusive, Duration::ZERO, "").is_err());
    }

    #[test]
    fn a_login_stands_still_as_long_as_every_byte_does() {
        let dir = tempfile::tempdir().unwrap();
        let home = CodexHome::at(dir.path().to_owned());
        let one = Secret::from("{\"a\": 1}".to_owned());
        assert!(is_still(&home, None).unwrap());
        assert!(!is_still(&home, Some(&one)).unwrap());
        fs::write(home.auth(), one.bytes()).unwrap();
        assert!(is_still(&home, Some(&one)).unwrap());
        assert!(!is_still(&home, None).unwrap());
        fs::write(home.auth(), "{\"a\"").unwrap();
        assert!(!is_still(&home, Some(&one)).unwrap());
    }
}
