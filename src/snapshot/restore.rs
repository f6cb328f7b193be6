//! How does a snapshot become a Codex home again?
//!
//! [`plan`] opens the archive, compares it with its sidecar and decides about the login;
//! [`apply`] builds the complete home beside its place, checks every byte on the way, and then
//! exchanges the two in one step. Until that step the live home is untouched.

mod databases;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use crate::account::{AccountKey, Order, Secret};
use crate::codex::auth::{self, AuthFile};
use crate::codex::home::{self, CodexHome, LeftOut, Surroundings};
use crate::disk::archive::{Archive, ArchiveError, Entry, EntryName, Extraction, Layout};
use crate::disk::database::DatabaseError;
use crate::disk::swap::{self, How};
use crate::disk::{DiskError, read, replace, space, tree};
use crate::snapshot::backup::{OURS, OUTSIDE};
use crate::snapshot::legacy;
use crate::snapshot::logins::{self, Known, Live, LoginError};
use crate::snapshot::metadata::Kind;
use crate::snapshot::store::{self, Origin, Store, Stored};
use databases::Incoming;

/// Which login the restored home gets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Policy {
    /// The freshest one known for the account, wherever it is.
    Freshest,
    /// The one that is live now.
    Keep,
    /// The archived one; refused if a newer one is known, unless that is accepted.
    Snapshot {
        /// Whether an older login may come back over a newer one.
        accept_stale: bool,
    },
}

/// Where the home goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Destination {
    /// Into the place of the live home (its resolved path).
    InPlace(PathBuf),
    /// To a folder that does not exist yet, or is empty.
    To(PathBuf),
}

impl Destination {
    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::InPlace(path) | Self::To(path) => path,
        }
    }
}

/// What became of the login.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoginFate {
    /// The live login stayed.
    KeptLive,
    /// A stored login was put in place.
    Restored,
    /// There is none.
    Absent,
}

/// What a restore will do.
#[derive(Debug)]
pub struct Plan {
    archive: Archive,
    /// The snapshot.
    pub stored: Stored,
    /// Where it goes.
    pub destination: Destination,
    /// What becomes of the login.
    pub fate: LoginFate,
    /// Title of the snapshot that the login comes from, if it is another one.
    pub login_from: Option<String>,
    /// The login the home will have.
    login: Option<Secret>,
    around: Surroundings,
    /// Length of the content.
    pub content_bytes: u64,
    /// Regular files.
    pub files: u64,
    /// What stays of the live home, by relative path: what snapshots leave out and Codex does
    /// not rebuild.
    pub carried: Vec<String>,
    /// What a person should know before.
    pub warnings: Vec<String>,
    /// Whether there is a home in the place now.
    pub replaces: bool,
}

/// What a restore did.
#[derive(Debug)]
pub struct Restored {
    /// Where the replaced home is kept.
    pub kept: Option<PathBuf>,
    /// How the two changed places, if they did.
    pub how: Option<How>,
    /// Links that were not made, and databases that were left out, with the reason.
    pub left_out: Vec<(String, String)>,
    /// Rows of the session index that now name the new place.
    pub rewritten: u64,
    /// Folder outside the home into which databases went, as `sqlite_home` wants it.
    pub databases: Option<PathBuf>,
    /// What went on besides.
    pub warnings: Vec<String>,
}

/// Why a restore did not happen. Whichever it is, the home is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The archive is damaged, hostile or unreadable.
    #[error("{title}: {source}")]
    Archive {
        /// The snapshot.
        title: String,
        /// What is wrong.
        source: ArchiveError,
    },
    /// The archive is another one than the sidecar describes.
    #[error("{title}: the archive is not the one its sidecar describes")]
    OtherArchive {
        /// The snapshot.
        title: String,
    },
    /// The archived login is another account's than the sidecar says.
    #[error("{title}: its auth.json belongs to {found}, its sidecar says {said}")]
    OtherAccount {
        /// The snapshot.
        title: String,
        /// Whose login it is.
        found: String,
        /// Whose it should be.
        said: String,
    },
    /// It holds a login and nothing else.
    #[error("{title} holds only a login")]
    OnlyALogin {
        /// The snapshot.
        title: String,
    },
    /// A newer login is known than the one that is insisted on.
    #[error("{title} holds an older login ({archived}) than {newer} ({known})")]
    StaleLogin {
        /// The snapshot.
        title: String,
        /// When the archived one was refreshed.
        archived: String,
        /// Where the newer one is.
        newer: String,
        /// When that one was refreshed.
        known: String,
    },
    /// The destination is in the way.
    #[error("{} is there already and is no empty folder", path.display())]
    NotEmpty {
        /// The destination.
        path: PathBuf,
    },
    /// The home is a mount point, so it cannot be exchanged.
    #[error("{} is a mount point and cannot be exchanged with another folder", path.display())]
    MountPoint {
        /// The home.
        path: PathBuf,
    },
    /// There is no room.
    #[error("{} has {free} bytes free, {needed} are needed", path.display())]
    NoRoom {
        /// Where.
        path: PathBuf,
        /// What is free.
        free: u64,
        /// What is needed.
        needed: u64,
    },
    /// A stored login cannot be read.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// A database did not survive.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// After the exchange somebody else had written the login.
    #[error("auth.json was written by somebody else meanwhile")]
    LoginOverwritten,
}

impl RestoreError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Archive { source, .. } => return source.hint(),
            Self::OtherArchive { title } | Self::OtherAccount { title, .. } => {
                format!("see `codex-manager verify {title}`, and use another snapshot")
            }
            Self::OnlyALogin { .. } => {
                "sign that account in with `codex-manager use ACCOUNT`, or unpack it with --to DIR"
                    .to_owned()
            }
            Self::StaleLogin { .. } => {
                "leave --login away to install the newest one; --accept-stale-login insists"
                    .to_owned()
            }
            Self::NotEmpty { .. } => "name a folder that does not exist yet".to_owned(),
            Self::MountPoint { .. } => {
                "restore with --to DIR inside that file system, or unmount it".to_owned()
            }
            Self::NoRoom { .. } => "free some space and try again".to_owned(),
            Self::Login(error) => return error.hint(),
            Self::Database(error) => return error.hint(),
            Self::Disk(error) => return error.hint(),
            Self::LoginOverwritten => {
                "quit every Codex and run `codex-manager use` for the account you want".to_owned()
            }
        })
    }

    /// Whether it was refused for safety.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Archive { source, .. } => source.is_hostile() || source.is_corrupt(),
            Self::OtherArchive { .. } | Self::OtherAccount { .. } | Self::StaleLogin { .. } => true,
            Self::Login(error) => error.is_refusal(),
            _ => false,
        }
    }
}

/// Decides how `stored` is restored to `destination`.
///
/// `snapshots` are all that are known, for the freshest login; `live` is the login of the home
/// in place; `around` may put databases outside it.
///
/// # Errors
///
/// [`RestoreError`]; nothing has been written.
pub fn plan(
    stored: &Stored,
    destination: Destination,
    policy: Policy,
    live: &Live,
    snapshots: &[Stored],
    around: Surroundings,
) -> Result<Plan, RestoreError> {
    let title = stored.title.clone();
    let failed = |source| RestoreError::Archive { title: title.clone(), source };
    let in_place = matches!(destination, Destination::InPlace(_));
    if in_place && stored.metadata.kind == Kind::Auth {
        return Err(RestoreError::OnlyALogin { title });
    }
    let archive = logins::open(stored).map_err(failed)?;
    if logins::is_another(&archive, stored) {
        return Err(RestoreError::OtherArchive { title });
    }
    let replaces = check_place(&destination)?;
    let content_bytes = archive.content_bytes().map_err(failed)?;
    let files = archive.entries().map_err(failed)?;
    let files = u64::try_from(files.iter().filter(|entry| !entry.is_dir()).count()).unwrap_or(0);
    check_room(&destination, content_bytes)?;
    let archived = match logins::read_login(stored) {
        Ok(file) => Some(file),
        Err(LoginError::None { .. }) => None,
        // The older tool archived whatever lay there; ours only ever stores logins.
        Err(LoginError::NoLogin { .. }) if stored.origin == Origin::Python => None,
        Err(error) => return Err(error.into()),
    };
    check_owner(stored, archived.as_ref())?;
    if store::contradicts(stored) {
        return Err(RestoreError::OtherArchive { title });
    }
    let mut warnings = Vec::new();
    let choice = choose(stored, archived, policy, live, snapshots, in_place, &mut warnings)?;
    let carried = match &destination {
        Destination::InPlace(root) if replaces => carried(root, stored),
        _ => Vec::new(),
    };
    Ok(Plan {
        archive,
        stored: stored.clone(),
        destination,
        fate: choice.fate,
        login_from: choice.from,
        login: choice.bytes,
        around,
        content_bytes,
        files,
        carried,
        warnings,
        replaces,
    })
}

/// Whether the place holds a home that will be replaced.
fn check_place(destination: &Destination) -> Result<bool, RestoreError> {
    let path = destination.path();
    match (destination, path.symlink_metadata()) {
        (_, Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        (Destination::InPlace(_), Ok(facts)) if facts.is_dir() => {
            if swap::is_mount_point(path)? {
                return Err(RestoreError::MountPoint { path: path.to_owned() });
            }
            Ok(true)
        }
        (Destination::To(_), Ok(facts)) if facts.is_dir() && read::names(path)?.is_empty() => {
            Ok(true)
        }
        _ => Err(RestoreError::NotEmpty { path: path.to_owned() }),
    }
}

/// A tenth of what is free stays free (R26).
fn check_room(destination: &Destination, content_bytes: u64) -> Result<(), RestoreError> {
    let parents = destination.path().ancestors().skip(1);
    let Some(parent) = parents.into_iter().find(|folder| folder.is_dir()) else { return Ok(()) };
    let free = space::available(parent)?;
    let needed = content_bytes.saturating_add(content_bytes / 10).saturating_add(1 << 20);
    if free < needed {
        return Err(RestoreError::NoRoom { path: parent.to_owned(), free, needed });
    }
    Ok(())
}

/// A sidecar that names one account above another account's login lies.
fn check_owner(stored: &Stored, archived: Option<&AuthFile>) -> Result<(), RestoreError> {
    let found = archived.and_then(|file| file.key.clone());
    let said = stored.key();
    let agrees = match (&found, &said) {
        (Some(found), Some(said @ AccountKey::ChatGpt { .. })) => found == said,
        (Some(found), Some(said @ AccountKey::ApiKey(_))) => found == said,
        _ => true,
    };
    match (agrees, found, said) {
        (false, Some(found), Some(said)) => Err(RestoreError::OtherAccount {
            title: stored.title.clone(),
            found: found.to_string(),
            said: said.to_string(),
        }),
        _ => Ok(()),
    }
}

/// The login that was chosen, and why.
struct Choice {
    fate: LoginFate,
    from: Option<String>,
    bytes: Option<Secret>,
}

impl Choice {
    fn live(live: &Live) -> Self {
        let fate = if live.bytes().is_some() { LoginFate::KeptLive } else { LoginFate::Absent };
        Self { fate, from: None, bytes: live.bytes().cloned() }
    }
}

fn choose(
    stored: &Stored,
    archived: Option<AuthFile>,
    policy: Policy,
    live: &Live,
    snapshots: &[Stored],
    in_place: bool,
    warnings: &mut Vec<String>,
) -> Result<Choice, RestoreError> {
    // A copy elsewhere is for looking at, not for working: only an in-place restore brings the
    // freshest login along, or two homes would use up each other's tokens.
    if !in_place && policy == Policy::Freshest {
        let fate = if archived.is_some() { LoginFate::Restored } else { LoginFate::Absent };
        return Ok(Choice { fate, from: None, bytes: archived.map(|file| file.bytes) });
    }
    if policy == Policy::Keep {
        return Ok(Choice::live(live));
    }
    let key = archived.as_ref().and_then(|file| file.key.clone()).or_else(|| stored.key());
    let Some(key) = key else {
        return Ok(match archived {
            Some(file) => Choice { fate: LoginFate::Restored, from: None, bytes: Some(file.bytes) },
            None => Choice::live(live),
        });
    };
    let (copies, odd) = logins::known(snapshots, &key);
    warnings.extend(odd.iter().map(ToString::to_string));
    let best = logins::freshest(copies);
    if let Policy::Snapshot { accept_stale } = policy {
        return insist(stored, archived, live, best, accept_stale);
    }
    if let Live::Login(file) = live
        && file.key.as_ref() == Some(&key)
        && best.as_ref().is_none_or(|best| best.login.compare(&file.login) != Order::Newer)
        && archived.as_ref().is_none_or(|old| old.login.compare(&file.login) != Order::Newer)
    {
        return Ok(Choice::live(live));
    }
    // The archive at hand may lie outside the store.
    let best = match (best, archived) {
        (Some(best), Some(file)) if file.login.compare(&best.login) == Order::Newer => {
            return Ok(Choice { fate: LoginFate::Restored, from: None, bytes: Some(file.bytes) });
        }
        (Some(best), _) => best,
        (None, Some(file)) => {
            return Ok(Choice { fate: LoginFate::Restored, from: None, bytes: Some(file.bytes) });
        }
        (None, None) => {
            warnings.push(format!("no login of {key} is stored; the live one stays"));
            return Ok(Choice::live(live));
        }
    };
    let from = (best.stored.archive != stored.archive).then(|| best.stored.title.clone());
    let file = best.into_file()?;
    Ok(Choice { fate: LoginFate::Restored, from, bytes: Some(file.bytes) })
}

/// The archived login and no other, unless a newer one is known.
fn insist(
    stored: &Stored,
    archived: Option<AuthFile>,
    live: &Live,
    best: Option<Known<'_>>,
    accept_stale: bool,
) -> Result<Choice, RestoreError> {
    let Some(file) = archived else {
        return Err(LoginError::None { title: stored.title.clone() }.into());
    };
    let live = match live {
        Live::Login(live) if live.key == file.key => Some((&live.login, "the live one".to_owned())),
        _ => None,
    };
    let known = best.as_ref().map(|best| (&best.login, best.stored.title.clone()));
    let newer =
        live.into_iter().chain(known).find(|(login, _)| login.compare(&file.login) == Order::Newer);
    if let Some((login, newer)) = newer
        && !accept_stale
    {
        let told = |at: Option<crate::account::Refreshed>| {
            at.map_or_else(
                || "refreshed at an unknown time".to_owned(),
                |at| format!("refreshed {at}"),
            )
        };
        return Err(RestoreError::StaleLogin {
            title: stored.title.clone(),
            archived: told(file.login.last_refresh),
            known: told(login.last_refresh),
            newer,
        });
    }
    Ok(Choice { fate: LoginFate::Restored, from: None, bytes: Some(file.bytes) })
}

/// What of the live home moves over: what is tied to its place, and what the snapshot left out
/// at the user's wish. What Codex rebuilds does not.
fn carried(root: &Path, stored: &Stored) -> Vec<String> {
    // Of a link to a folder, only what it leads to is missing in the snapshot.
    let is_link =
        |path: &&String| path.ends_with('/') && root.join(path.trim_end_matches('/')).is_symlink();
    let excluded = stored.metadata.excluded.iter().filter(|path| !is_link(path));
    let excluded = excluded.map(|path| path.trim_end_matches('/'));
    let mut carried: Vec<String> = ["worktrees"]
        .into_iter()
        .chain(excluded)
        .filter(|path| path.parse::<EntryName>().is_ok())
        .filter(|path| {
            let Ok(facts) = root.join(path).symlink_metadata() else { return false };
            let file_type = facts.file_type();
            if !(file_type.is_file() || file_type.is_dir() || file_type.is_symlink()) {
                return false;
            }
            match home::left_out(path, facts.is_dir(), facts.len()) {
                Some(why) => why == LeftOut::BoundToPlace,
                None => !home::is_dispensable(path) && *path != OURS,
            }
        })
        .map(str::to_owned)
        .collect();
    carried.sort();
    carried.dedup();
    // What lies below something that moves as a whole moves with it.
    let all = carried.clone();
    carried.retain(|path| {
        !all.iter()
            .any(|other| path.strip_prefix(other.as_str()).is_some_and(|r| r.starts_with('/')))
    });
    carried
}

/// Builds the home and puts it in its place. `advance` hears of every byte of content.
///
/// # Errors
///
/// [`RestoreError`]; the place is as it was, but for [`RestoreError::LoginOverwritten`].
pub fn apply(
    plan: Plan,
    store: &Store,
    operation: &str,
    advance: &mut dyn FnMut(u64),
    stop: &AtomicBool,
) -> Result<Restored, RestoreError> {
    let place = plan.destination.path().to_owned();
    if let Some(parent) = place.parent() {
        replace::private_dir(parent)?;
    }
    let staging = tree::staging_dir(&place)?;
    let result = build(&plan, &staging, advance, stop).and_then(|(built, incoming)| {
        put_in_place(&plan, built, incoming, &staging, store, operation)
    });
    if result.is_err() && staging.symlink_metadata().is_ok() {
        // What was built is of no use; a failure here leaves litter the next run removes.
        replace::remove_tree(&staging)?;
    }
    result
}

fn build(
    plan: &Plan,
    staging: &Path,
    advance: &mut dyn FnMut(u64),
    stop: &AtomicBool,
) -> Result<(Restored, Option<Incoming>), RestoreError> {
    let title = &plan.stored.title;
    let failed = |source| RestoreError::Archive { title: title.clone(), source };
    let live_root = plan.replaces.then(|| plan.destination.path());
    let is_plain = plan.archive.layout() == Layout::Plain;
    let extracted = plan
        .archive
        .extract(
            staging,
            &mut Extraction {
                place: &mut |entry| place_of(entry, is_plain),
                // A link that leads outside is made only where the very same one stands now.
                keep_link: &mut |entry, target| {
                    let here = live_root.map(|root| root.join(entry.name.as_str()));
                    here.and_then(|path| std::fs::read_link(path).ok())
                        .is_some_and(|found| found.as_os_str() == target)
                },
                progress: advance,
                stop,
            },
        )
        .map_err(failed)?;
    let mut restored = Restored {
        kept: None,
        how: None,
        left_out: extracted
            .left_out
            .into_iter()
            .map(|(name, why)| (name.to_string(), why))
            .collect(),
        rewritten: 0,
        databases: None,
        warnings: Vec::new(),
    };
    if is_plain {
        databases::settle(staging, &mut restored.left_out)?;
    }
    let incoming = databases::arrange(staging, &plan.destination, &plan.around, &mut restored)?;
    if let Some(bytes) = &plan.login {
        replace::write(&staging.join(CodexHome::AUTH), bytes.bytes())?;
    } else {
        replace::remove_file(&staging.join(CodexHome::AUTH))?;
    }
    if let Destination::InPlace(root) = &plan.destination {
        keep_installation(root, staging)?;
    }
    tree::sync_tree(staging)?;
    Ok((restored, incoming))
}

/// Where an entry of the archive goes; `None` leaves it out.
fn place_of(entry: &Entry, is_plain: bool) -> Option<EntryName> {
    let name = entry.name.as_str();
    if is_plain {
        return legacy::place(name, entry.is_dir(), entry.size())?.parse().ok();
    }
    if name.strip_prefix(OUTSIDE).is_some_and(|rest| rest.starts_with('/')) {
        return Some(entry.name.clone());
    }
    if name == OURS || name.strip_prefix(OURS).is_some_and(|rest| rest.starts_with('/')) {
        return None;
    }
    Some(entry.name.clone())
}

/// The installation keeps its own identity, whatever the snapshot holds.
fn keep_installation(root: &Path, staging: &Path) -> Result<(), RestoreError> {
    let live = CodexHome::at(root.to_owned()).installation_id();
    if let Some(bytes) = read::absent_is_none(read::bounded(&live, 1 << 16))? {
        replace::write(&CodexHome::at(staging.to_owned()).installation_id(), &bytes)?;
    }
    Ok(())
}

fn put_in_place(
    plan: &Plan,
    built: Restored,
    incoming: Option<Incoming>,
    staging: &Path,
    store: &Store,
    operation: &str,
) -> Result<Restored, RestoreError> {
    let mut restored = built;
    let place = plan.destination.path();
    let undo = store.undo().join(operation);
    if !plan.replaces {
        replace::rename_new(staging, place)?;
        install(incoming, &undo, &mut restored);
        return Ok(restored);
    }
    restored.how = Some(swap::exchange(staging, place)?);
    // From here on the new home is live, and `staging` is the old one.
    if let Destination::To(_) = plan.destination {
        replace::remove_tree(staging)?;
        return Ok(restored);
    }
    for path in &plan.carried {
        if let Err(error) = carry(staging, place, path) {
            restored.warnings.push(format!("{path} stays in the replaced home: {error}"));
        }
    }
    install(incoming, &undo, &mut restored);
    restored.kept = Some(keep(staging, place, &undo, operation)?);
    let found = auth::read(&place.join(CodexHome::AUTH)).ok().flatten();
    let expected = plan.login.as_ref().map(Secret::bytes);
    if found.as_ref().map(|file| file.bytes.bytes()) != expected && expected.is_some() {
        let orphan = matches!(plan.fate, LoginFate::KeptLive) && found.is_none();
        if !orphan {
            return Err(RestoreError::LoginOverwritten);
        }
    }
    Ok(restored)
}

/// Databases outside the home follow it.
fn install(incoming: Option<Incoming>, undo: &Path, restored: &mut Restored) {
    if let Some(incoming) = incoming {
        restored.databases = Some(incoming.folder.clone());
        incoming.install(&undo.join("sqlite_home"), &mut restored.warnings);
    }
}

/// Moves something from the old home into the new one, unless the snapshot brought its own.
fn carry(old: &Path, new: &Path, path: &str) -> Result<(), DiskError> {
    let target = new.join(path);
    if let Some(parent) = target.parent() {
        replace::private_dir(parent)?;
    }
    replace::rename_new(&old.join(path), &target)
}

/// Puts the replaced home where `undo` finds it: into the manager home if that is on the same
/// file system, else beside its place under a name that tells what it is.
fn keep(old: &Path, place: &Path, undo: &Path, operation: &str) -> Result<PathBuf, DiskError> {
    replace::private_dir(undo)?;
    let kept = undo.join("codex-home");
    match replace::rename_new(old, &kept) {
        Ok(()) => Ok(kept),
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            let leaf = place.file_name().unwrap_or_default().to_string_lossy();
            let beside = place.with_file_name(format!("{leaf}.replaced-{operation}"));
            replace::rename_new(old, &beside)?;
            Ok(beside)
        }
        Err(error) => Err(error),
    }
}
