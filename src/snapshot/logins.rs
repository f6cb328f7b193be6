//! Which stored copy of an account's login is the freshest, and is the live one stored?
//!
//! Refresh tokens rotate: of all copies only the newest is sure to live (SPEC, "Logins").

use chrono::{DateTime, Utc};

use crate::account::{AccountKey, Login, Order, Secret};
use crate::codex::auth::{self, AuthError, AuthFile, MAX_BYTES};
use crate::codex::home::CodexHome;
use crate::disk::archive::{Archive, ArchiveError, EntryName, Limits};
use crate::disk::{DiskError, read};
use crate::snapshot::backup::{self, Plan};
use crate::snapshot::metadata::{Kind, Metadata};
use crate::snapshot::name::{SnapshotName, Who};
use crate::snapshot::store::{Store, Stored};
use crate::time::Zone;

/// A copy of an account's login that is in the store.
#[derive(Clone, Debug)]
pub struct Known<'a> {
    /// The snapshot it is in.
    pub stored: &'a Stored,
    /// Its place in the account's chain.
    pub login: Login,
    /// The file, if it had to be read to learn that.
    file: Option<AuthFile>,
}

impl Known<'_> {
    /// The login itself.
    ///
    /// # Errors
    ///
    /// When the archive is damaged, hostile or holds no login.
    pub fn into_file(self) -> Result<AuthFile, LoginError> {
        match self.file {
            Some(file) => Ok(file),
            None => read_login(self.stored),
        }
    }
}

/// Why a stored login cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The archive is not what it should be.
    #[error("{title}: {source}")]
    Archive {
        /// The snapshot.
        title: String,
        /// What is wrong with it.
        source: ArchiveError,
    },
    /// The archive is not the one its sidecar describes.
    #[error("{title}: its table of contents is not the one its sidecar names")]
    OtherArchive {
        /// The snapshot.
        title: String,
    },
    /// There is no login in it.
    #[error("{title} holds no auth.json")]
    None {
        /// The snapshot.
        title: String,
    },
    /// What it holds is no login.
    #[error("the auth.json in {title} is no login: {why}")]
    NoLogin {
        /// The snapshot.
        title: String,
        /// What it is instead.
        why: String,
    },
}

impl LoginError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Archive { source, .. } => source.hint(),
            _ => Some("`codex-manager verify --all` tells which snapshots are sound".to_owned()),
        }
    }

    /// Whether the snapshot was refused for safety.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Archive { source, .. } => source.is_hostile() || source.is_corrupt(),
            Self::OtherArchive { .. } => true,
            Self::None { .. } | Self::NoLogin { .. } => false,
        }
    }
}

/// All stored copies of an account's login, and what could not be looked at.
///
/// Snapshots of the older tool know only an address and may hold another account's login, so
/// their `auth.json` itself is asked whose it is. Orphans are nobody's, which `doctor` tells.
#[must_use]
pub fn known<'a>(snapshots: &'a [Stored], key: &AccountKey) -> (Vec<Known<'a>>, Vec<LoginError>) {
    let mut copies = Vec::new();
    let mut odd = Vec::new();
    let with_login =
        snapshots.iter().filter(|stored| stored.metadata.kind.has_login() && !stored.is_orphan());
    for stored in with_login {
        let login = stored.metadata.login.clone().filter(|_| stored.key().as_ref() == Some(key));
        match (login, stored.key()) {
            (Some(login), _) => copies.push(Known { stored, login, file: None }),
            (None, Some(AccountKey::ChatGpt { .. } | AccountKey::ApiKey(_))) => {}
            (None, Some(AccountKey::Email(_)) | None) => match read_login(stored) {
                Ok(file) if file.key.as_ref() == Some(key) => {
                    copies.push(Known { stored, login: file.login.clone(), file: Some(file) });
                }
                Ok(_) => {}
                Err(error) => odd.push(error),
            },
        }
    }
    (copies, odd)
}

/// The freshest of some copies; of two whose order nobody knows, the one in the newer snapshot.
#[must_use]
pub fn freshest<'a>(copies: Vec<Known<'a>>) -> Option<Known<'a>> {
    copies.into_iter().reduce(|best, other| match other.login.compare(&best.login) {
        Order::Newer => other,
        Order::Unknown if best.stored.metadata.created_at < other.stored.metadata.created_at => {
            other
        }
        Order::Older | Order::Same | Order::Unknown => best,
    })
}

/// Reads the login out of a snapshot; of a large archive only a few kilobytes are touched.
///
/// # Errors
///
/// [`LoginError`].
pub fn read_login(stored: &Stored) -> Result<AuthFile, LoginError> {
    let title = || stored.title.clone();
    let failed = |source| LoginError::Archive { title: title(), source };
    let archive = open(stored).map_err(failed)?;
    if is_another(&archive, stored) {
        return Err(LoginError::OtherArchive { title: title() });
    }
    let name: EntryName =
        CodexHome::AUTH.parse().map_err(|error| failed(ArchiveError::Name(error)))?;
    let bytes = archive.read(&name, MAX_BYTES).map_err(failed)?;
    let bytes = bytes.ok_or_else(|| LoginError::None { title: title() })?;
    auth::parse(bytes)
        .map_err(|error| LoginError::NoLogin { title: title(), why: error.to_string() })
}

/// Opens a snapshot's archive.
pub(crate) fn open(stored: &Stored) -> Result<Archive, ArchiveError> {
    Archive::open(&stored.archive, &Limits::default())
}

/// Whether an archive is another one than its sidecar describes.
pub(crate) fn is_another(archive: &Archive, stored: &Stored) -> bool {
    stored.metadata.archive.as_ref().is_some_and(|facts| {
        archive.toc_digest() != Some(facts.toc_digest.as_str()) || archive.bytes() != facts.bytes
    })
}

/// The login that is live in a home, whatever state it is in.
#[derive(Debug)]
pub enum Live {
    /// Nobody is signed in.
    Absent,
    /// An account's login.
    Login(AuthFile),
    /// A file that names no single account; it is kept byte for byte all the same.
    Orphan {
        /// The file.
        bytes: Secret,
        /// What is wrong with it.
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
            Err(error @ (AuthError::NotALogin { .. } | AuthError::Unsettled { .. })) => {
                let bytes = read::bounded_following(&home.auth(), MAX_BYTES)?;
                Ok(Self::Orphan { bytes: bytes.into(), why: error.to_string() })
            }
            Err(error) => Err(error.into()),
        }
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
                if is_kept(snapshots, bytes) {
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

/// Whether the store has this very login: the same fingerprint, and the same tokens around it.
#[must_use]
pub fn is_stored(snapshots: &[Stored], file: &AuthFile) -> bool {
    snapshots.iter().any(|stored| {
        stored.metadata.kind.has_login()
            && stored.metadata.login.as_ref().is_some_and(|login| {
                login.fingerprint.is_some()
                    && *login == file.login
                    && stored.key() == file.key
                    && stored.archive.is_file()
            })
    })
}

/// Whether the store has this very orphan, byte for byte.
fn is_kept(snapshots: &[Stored], bytes: &Secret) -> bool {
    let name: Option<EntryName> = CodexHome::AUTH.parse().ok();
    snapshots.iter().filter(|stored| stored.is_orphan()).any(|stored| {
        let archive = open(stored).ok().filter(|archive| !is_another(archive, stored));
        let found = archive.zip(name.as_ref()).and_then(|(archive, name)| {
            archive.read(name, MAX_BYTES).ok().flatten().map(Secret::from)
        });
        found.is_some_and(|found| found.bytes() == bytes.bytes())
    })
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
