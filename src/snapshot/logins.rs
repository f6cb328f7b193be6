//! Which copy of an account's login is the freshest, and can it be had?
//!
//! Refresh tokens rotate: of all copies only the newest is sure to live (SPEC, "Logins"). So a
//! newer one that is damaged counts, too: it stands in the way of an older one. What is live is
//! `live`'s question.

mod live;
mod neighbours;
mod previous;

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::account::{AccountKey, Email, Login, Order};
use crate::codex::auth::{self, AuthFile, MAX_BYTES};
use crate::codex::home::CodexHome;
use crate::disk::archive::{Archive, ArchiveError, EntryName, Layout, Limits, Only};
use crate::disk::read;
use crate::snapshot::metadata::{self, LoginMember, Metadata};
use crate::snapshot::name::{ARCHIVE, SIDECAR};
use crate::snapshot::store::{Odd, OddKind, Origin, Stored};
use crate::time::Stamp;

pub use live::{HoldError, Live, LiveError, is_stored};
pub(crate) use live::{hold, is_still, orphan_in};
pub use neighbours::{Neighbour, neighbours};
pub use previous::{left_alone, previous};

/// What the store says about logins.
#[derive(Debug)]
pub struct Shelf<'a> {
    /// The snapshots that look sound.
    pub snapshots: &'a [Stored],
    /// Logins that were stored in what is damaged or gone now.
    pub lost: Vec<Lost>,
}

/// A login of which only the sidecar is left: known, and not to be had.
#[derive(Clone, Debug)]
pub struct Lost {
    /// The snapshot it was in.
    title: String,
    /// What is wrong with that.
    why: String,
    key: AccountKey,
    login: Login,
    created_at: Option<Stamp>,
}

impl<'a> Shelf<'a> {
    /// Looks at the sidecars of the snapshots that are damaged.
    #[must_use]
    pub fn new(snapshots: &'a [Stored], odd: &[Odd]) -> Self {
        Self { snapshots, lost: odd.iter().filter_map(lost).collect() }
    }
}

fn lost(odd: &Odd) -> Option<Lost> {
    let name = odd.path.file_name()?.to_str()?;
    let title = match odd.kind {
        OddKind::BadArchive => name.strip_suffix(ARCHIVE)?,
        OddKind::NoArchive => name.strip_suffix(SIDECAR)?,
        OddKind::NoSidecar | OddKind::BadSidecar => return None,
    };
    let sidecar = odd.path.with_file_name(format!("{title}{SIDECAR}"));
    let told = read::bounded(&sidecar, metadata::MAX_BYTES).ok()?;
    let told = Metadata::parse(&told).ok().filter(|told| told.kind.has_login())?;
    Some(Lost {
        title: title.to_owned(),
        why: odd.what.clone(),
        key: told.key()?,
        login: told.login?,
        created_at: told.created_at,
    })
}

/// A copy of an account's login that is in a snapshot.
#[derive(Clone, Debug)]
pub struct Known<'a> {
    /// The snapshot it is in.
    pub stored: &'a Stored,
    /// Its place in the account's chain.
    pub login: Login,
    /// The file, if it was read already.
    pub file: Option<AuthFile>,
}

impl Known<'_> {
    /// The login itself, which must be the account's and the one that the sidecar describes.
    fn read(&self, key: &AccountKey) -> Result<AuthFile, LoginError> {
        let file = match &self.file {
            Some(file) => file.clone(),
            None => read_login(self.stored)?,
        };
        let title = || self.stored.title.clone();
        if file.key.as_ref() != Some(key) {
            let found = file.key.as_ref().map_or_else(|| "nobody".to_owned(), ToString::to_string);
            return Err(LoginError::OtherAccount { title: title(), found, said: key.to_string() });
        }
        if file.login != self.login {
            return Err(LoginError::OtherLogin { title: title() });
        }
        Ok(file)
    }

    fn into_lost(self, key: &AccountKey, error: &LoginError) -> Lost {
        let title = self.stored.title.clone();
        let why = error.to_string();
        Lost {
            why: why.strip_prefix(&format!("{title}: ")).unwrap_or(&why).to_owned(),
            title,
            key: key.clone(),
            login: self.login,
            created_at: self.stored.metadata.created_at,
        }
    }
}

/// Which copy of an account's login is the one to use.
#[derive(Debug)]
pub enum Pick {
    /// The live one: no stored copy is newer.
    Live,
    /// A stored one.
    Stored {
        /// Title of the snapshot.
        title: String,
        /// Its archive.
        archive: PathBuf,
        /// The login.
        file: Box<AuthFile>,
    },
    /// There is none.
    Nothing,
}

/// Whether an older login may be used where the newest is damaged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stale {
    /// It may not.
    Refuse,
    /// Somebody insists.
    Accept,
}

/// Finds the freshest login of an account that can be had. `live` is the account's own live
/// login, which stays unless a stored one is newer; `at_hand` a copy that is read already.
///
/// An archive that cannot be read, or holds another login than its sidecar says, is passed over
/// for one with the same login. What is odd and stands in nobody's way goes to `warnings`.
///
/// # Errors
///
/// [`LoginError`]: no stored copy can be read, or a newer one is known that cannot.
pub fn freshest(
    key: &AccountKey,
    live: Option<&AuthFile>,
    at_hand: Option<Known<'_>>,
    shelf: &Shelf<'_>,
    stale: Stale,
    warnings: &mut Vec<String>,
) -> Result<Pick, LoginError> {
    let (mut copies, odd) = known(shelf.snapshots, key);
    warnings.extend(odd.iter().map(ToString::to_string));
    if let Some(at_hand) = at_hand {
        copies.retain(|copy| copy.stored.archive != at_hand.stored.archive);
        copies.insert(0, at_hand);
    }
    let mut lost: Vec<Lost> = shelf.lost.iter().filter(|lost| lost.key == *key).cloned().collect();
    let mut failed = None;
    while let Some(best) = take_newest(&mut copies) {
        if live.is_some_and(|live| best.login.compare(&live.login) != Order::Newer) {
            break;
        }
        match best.read(key) {
            Ok(file) => return admit(best.stored, file, &lost, stale, warnings),
            Err(error) => {
                lost.push(best.into_lost(key, &error));
                failed.get_or_insert(error);
            }
        }
    }
    match (live, failed, lost.first()) {
        (Some(live), _, _) => {
            let newer = lost.iter().find(|lost| lost.login.compare(&live.login) == Order::Newer);
            warnings.extend(newer.map(|lost| {
                let (title, at, why) = (&lost.title, told(&lost.login), &lost.why);
                format!(
                    "{title} held a newer login than the live one ({at}) and cannot be used: {why}"
                )
            }));
            Ok(Pick::Live)
        }
        (None, Some(error), _) => Err(error),
        (None, None, Some(lost)) => {
            Err(LoginError::Damaged { title: lost.title.clone(), why: lost.why.clone() })
        }
        (None, None, None) => Ok(Pick::Nothing),
    }
}

/// A login may be used unless a newer one of the account is known, which is lost.
fn admit(
    stored: &Stored,
    file: AuthFile,
    lost: &[Lost],
    stale: Stale,
    warnings: &mut Vec<String>,
) -> Result<Pick, LoginError> {
    let created_at = stored.metadata.created_at;
    let newer = lost.iter().find(|lost| match lost.login.compare(&file.login) {
        Order::Newer => true,
        Order::Unknown => created_at < lost.created_at,
        Order::Same | Order::Older => false,
    });
    if let Some(lost) = newer {
        let error = LoginError::Lost {
            title: lost.title.clone(),
            at: told(&lost.login),
            why: lost.why.clone(),
            other: stored.title.clone(),
            other_at: told(&file.login),
        };
        match stale {
            Stale::Refuse => return Err(error),
            Stale::Accept => warnings.push(error.to_string()),
        }
    }
    let (title, archive) = (stored.title.clone(), stored.archive.clone());
    Ok(Pick::Stored { title, archive, file: Box::new(file) })
}

/// When a login was refreshed, in words.
pub(crate) fn told(login: &Login) -> String {
    match (&login.last_refresh, &login.issued_at) {
        (Some(at), _) => format!("refreshed {at}"),
        (None, Some(at)) => format!("issued {at}"),
        (None, None) => "refreshed at an unknown time".to_owned(),
    }
}

/// A copy of the account's login, live or stored or lost, that is newer than `login`: where it
/// is, and its place in the chain.
#[must_use]
pub fn newer_than(
    login: &Login,
    key: &AccountKey,
    live: Option<&AuthFile>,
    shelf: &Shelf<'_>,
) -> Option<(String, Login)> {
    let live = live.map(|file| ("the live one".to_owned(), file.login.clone()));
    let (copies, _) = known(shelf.snapshots, key);
    let copies = copies.into_iter().map(|copy| (copy.stored.title.clone(), copy.login));
    let lost = shelf.lost.iter().filter(|lost| lost.key == *key);
    let lost = lost.map(|lost| (lost.title.clone(), lost.login.clone()));
    let mut all = live.into_iter().chain(copies).chain(lost);
    all.find(|(_, other)| other.compare(login) == Order::Newer)
}

/// Whose login would be lost if this snapshot went: it holds one, and neither another snapshot nor
/// `live` has the same or a newer one of that account. An orphan is nobody's, and always needed.
#[must_use]
pub fn needed(stored: &Stored, others: &[Stored], live: Option<&AuthFile>) -> Option<String> {
    if !stored.metadata.kind.has_login() {
        return None;
    }
    let file = read_login(stored);
    if let Err(LoginError::None { .. }) = file {
        return None;
    }
    let file = file.ok();
    let key = file.as_ref().and_then(|file| file.key.clone()).or_else(|| stored.key());
    // Of a damaged archive its sidecar still tells that there was a login, perhaps the newest.
    let login = file.map(|file| file.login).or_else(|| stored.metadata.login.clone());
    let (Some(key), Some(login)) = (key, login) else { return Some("nobody known".to_owned()) };
    (!has_copy(&key, &login, others, live)).then(|| key.to_string())
}

/// Whether this login can be done without: a snapshot has the same or a newer one of its account; of one that names nobody, a snapshot has the very bytes.
#[must_use]
pub fn is_covered(file: &AuthFile, snapshots: &[Stored]) -> bool {
    let Some(key) = file.key.as_ref().filter(|_| file.mixed.is_none()) else {
        return live::kept_in(snapshots, &file.bytes).is_some();
    };
    has_copy(key, &file.login, snapshots, None)
}

/// Whether a snapshot, or `live`, has this login of the account or a newer one.
fn has_copy(
    key: &AccountKey,
    login: &Login,
    snapshots: &[Stored],
    live: Option<&AuthFile>,
) -> bool {
    let covers = |other: &Login| matches!(other.compare(login), Order::Same | Order::Newer);
    live.is_some_and(|live| live.key.as_ref() == Some(key) && covers(&live.login))
        || known(snapshots, key).0.iter().any(|copy| covers(&copy.login) && copy.read(key).is_ok())
}

/// The one account that has this address, if there is one: a record of the older tool knows no
/// more. Where no sidecar tells, the archived logins are asked.
///
/// # Errors
///
/// [`LoginError::SharedAddress`] if several have it; what was wrong with an archive if that is why
/// nobody is found.
pub fn owner(
    email: &Email,
    live: &Live,
    snapshots: &[Stored],
) -> Result<Option<AccountKey>, LoginError> {
    let mut owners = BTreeSet::new();
    let mut failed = None;
    if let Live::Login(file) = live
        && file.email.as_ref() == Some(email)
    {
        owners.extend(file.key.clone());
    }
    let theirs = snapshots.iter().filter(|stored| {
        stored.metadata.kind.has_login() && stored.metadata.email.as_ref() == Some(email)
    });
    for stored in theirs {
        match stored.key() {
            Some(AccountKey::Email(_)) | None => match read_login(stored) {
                Ok(file) if file.email.as_ref() == Some(email) => owners.extend(file.key),
                Ok(_) | Err(LoginError::None { .. }) => {}
                Err(error) => failed = Some(error),
            },
            Some(key) => {
                owners.insert(key);
            }
        }
    }
    match (owners.len(), failed) {
        (0, Some(error)) => Err(error),
        (0 | 1, _) => Ok(owners.pop_first()),
        _ => {
            let keys: Vec<String> = owners.iter().map(ToString::to_string).collect();
            Err(LoginError::SharedAddress { email: email.to_string(), keys: keys.join(", ") })
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
    /// The login in it is another account's.
    #[error("the auth.json in {title} belongs to {found}, not to {said}")]
    OtherAccount {
        /// The snapshot.
        title: String,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        said: String,
    },
    /// It is not the login that the sidecar describes.
    #[error("the auth.json in {title} is another login than its sidecar describes")]
    OtherLogin {
        /// The snapshot.
        title: String,
    },
    /// The only snapshot with a login of the account is damaged.
    #[error("{title} cannot be used: {why}")]
    Damaged {
        /// The snapshot.
        title: String,
        /// What is wrong with it.
        why: String,
    },
    /// The newest login is in a snapshot that is damaged.
    #[error(
        "the newest login known ({at}) is in {title}, which cannot be used: {why}; the one in {other} is older ({other_at})"
    )]
    Lost {
        /// The damaged snapshot.
        title: String,
        /// When its login was refreshed.
        at: String,
        /// What is wrong with it.
        why: String,
        /// The snapshot that could be used.
        other: String,
        /// When that one's was refreshed.
        other_at: String,
    },
    /// An address alone does not tell which account is meant.
    #[error("{email} is the address of several accounts: {keys}")]
    SharedAddress {
        /// The address.
        email: String,
        /// The accounts.
        keys: String,
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
            Self::Lost { .. } => Some(
                "bring that archive back from a copy, or sign in with `codex login`; \
                 --accept-stale-login takes the older one"
                    .to_owned(),
            ),
            Self::SharedAddress { .. } => Some("name one of them by its key".to_owned()),
            _ => Some("`codex-manager verify --all` tells which snapshots are sound".to_owned()),
        }
    }

    /// Whether the snapshot was refused for safety.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Archive { source, .. } => source.is_hostile() || source.is_corrupt(),
            Self::OtherArchive { .. }
            | Self::OtherAccount { .. }
            | Self::OtherLogin { .. }
            | Self::Damaged { .. }
            | Self::Lost { .. } => true,
            Self::None { .. } | Self::NoLogin { .. } | Self::SharedAddress { .. } => false,
        }
    }
}

/// All stored copies of an account's login, and what could not be looked at.
///
/// Snapshots of the older tool know only an address and may hold another account's login, so
/// their `auth.json` itself is asked whose it is. Orphans are nobody's, which `doctor` tells.
fn known<'a>(snapshots: &'a [Stored], key: &AccountKey) -> (Vec<Known<'a>>, Vec<LoginError>) {
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

/// Takes the newest of some copies; of two whose order nobody knows, the one in the newer
/// snapshot.
fn take_newest<'a>(copies: &mut Vec<Known<'a>>) -> Option<Known<'a>> {
    let best = copies.iter().enumerate().reduce(|best, other| {
        let created_at = |copy: &Known<'_>| copy.stored.metadata.created_at;
        match other.1.login.compare(&best.1.login) {
            Order::Newer => other,
            Order::Unknown if created_at(best.1) < created_at(other.1) => other,
            Order::Older | Order::Same | Order::Unknown => best,
        }
    });
    let place = best?.0;
    Some(copies.remove(place))
}

/// Reads the login out of a snapshot. Where the sidecar says where it lies, nothing else of the
/// archive is touched; else the table of contents is, and what it says must be what the sidecar does.
///
/// # Errors
///
/// [`LoginError`].
pub fn read_login(stored: &Stored) -> Result<AuthFile, LoginError> {
    let title = || stored.title.clone();
    let failed = |source| LoginError::Archive { title: title(), source };
    let no_login =
        |error: auth::NotALogin| LoginError::NoLogin { title: title(), why: error.to_string() };
    if let Some(bytes) = described(stored) {
        return auth::parse(bytes).map_err(no_login);
    }
    let archive = open(stored).map_err(failed)?;
    if is_another(&archive, stored) {
        return Err(LoginError::OtherArchive { title: title() });
    }
    let name: EntryName =
        CodexHome::AUTH.parse().map_err(|error| failed(ArchiveError::Name(error)))?;
    let bytes = archive.read(&name, MAX_BYTES).map_err(failed)?;
    let bytes = bytes.ok_or_else(|| LoginError::None { title: title() })?;
    auth::parse(bytes).map_err(no_login)
}

/// The content of `auth.json`, if it lies where the sidecar says and is what it says.
fn described(stored: &Stored) -> Option<Vec<u8>> {
    let facts = stored.metadata.archive.as_ref()?;
    let LoginMember { offset, bytes, digest } = facts.login.as_ref()?;
    let only = Only { archive: facts.bytes, offset: *offset, bytes: *bytes, digest };
    only.read(&stored.archive)
}

/// Opens a snapshot's archive.
pub(crate) fn open(stored: &Stored) -> Result<Archive, ArchiveError> {
    Archive::open(&stored.archive, &Limits::default())
}

/// Whether an archive is another one than its sidecar describes. The older tool never made one of
/// our layout.
pub(crate) fn is_another(archive: &Archive, stored: &Stored) -> bool {
    if stored.origin == Origin::Python && archive.layout() == Layout::Seekable {
        return true;
    }
    stored.metadata.archive.as_ref().is_some_and(|facts| {
        archive.toc_digest() != Some(facts.toc_digest.as_str()) || archive.bytes() != facts.bytes
    })
}
