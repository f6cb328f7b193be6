//! How does a snapshot become a Codex home again?
//!
//! [`plan`] opens the archive, compares it with its sidecar and decides about the login;
//! [`apply`] builds the complete home beside its place, checks every byte on the way, and then
//! exchanges the two in one step. Until that step the live home is untouched.

mod databases;
mod error;
mod journal;
mod login;
pub mod only;
mod place;
pub(crate) mod undo;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use crate::account::{AccountKey, Email, Login, Secret};
use crate::codex::auth::{self, AuthFile};
use crate::codex::home::{self, CodexHome, LeftOut, Surroundings};
use crate::codex::process::Holder;
use crate::disk::archive::{
    Archive, ArchiveError, Entry, EntryName, Extraction, Layout, Node, Problem,
};
use crate::disk::durable::Durable;
use crate::disk::lock::Lock;
use crate::disk::swap::{self, How};
use crate::disk::{Jobs, read, replace, space, tree};
use crate::quota::Entry as Note;
use crate::snapshot::backup::{self, OURS, OUTSIDE, config_text};
use crate::snapshot::legacy;
use crate::snapshot::logins::{self, Live, LoginError, Shelf};
use crate::snapshot::metadata::Kind;
use crate::snapshot::operations::transaction::{Notes, clear};
use crate::snapshot::operations::{OperationError, Record, Transaction};
use crate::snapshot::store::{self, Origin, Store, Stored};
use crate::snapshot::switch;
use databases::Incoming;
pub use error::RestoreError;
use journal::Journal;
pub(crate) use journal::finish;
use login::Case;
use only::{Chosen, Part};
pub(crate) use place::KEPT;
use place::Staged;

/// Which login the restored home gets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Policy {
    /// The freshest one known for the account, wherever it is.
    Freshest,
    /// The one that is live now; a copy elsewhere, where none is, gets none.
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
    /// The live login stayed; a copy elsewhere has the same.
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
    /// The link that `auth.json` is and stays.
    link: Option<PathBuf>,
    /// What was live when this was decided.
    live: Option<Secret>,
    around: Surroundings,
    /// Whose login it is, with the label, if it names somebody.
    pub account: Option<(AccountKey, Option<Email>)>,
    /// Length of the content.
    pub content_bytes: u64,
    /// Regular files.
    pub files: u64,
    /// What stays of the live home, by relative path: what snapshots leave out and Codex does
    /// not rebuild.
    pub carried: Vec<String>,
    /// Folder outside the home into which databases go: the one where the live home has its own.
    pub databases: Option<PathBuf>,
    /// What a person should know before.
    pub warnings: Vec<String>,
    /// Whether there is a home in the place now.
    pub replaces: bool,
    /// What is taken out, if not all.
    only: Option<Chosen>,
}

/// What somebody agrees to who says yes to a plan.
#[derive(Debug, Eq, PartialEq)]
pub struct Terms {
    /// The snapshot and its content.
    snapshot: (String, PathBuf, Option<String>, u64),
    replaces: bool,
    login: (LoginFate, Option<String>, Option<PathBuf>),
    carried: Vec<String>,
    databases: Option<PathBuf>,
}

impl Plan {
    /// Lets so many threads unpack.
    #[must_use]
    pub fn with_jobs(mut self, jobs: Jobs) -> Self {
        self.archive = self.archive.with_jobs(jobs.count());
        self
    }

    /// The login that the home will have, if it is one.
    #[must_use]
    pub fn login(&self) -> Option<Login> {
        Some(auth::parse(self.login.as_ref()?.bytes().to_vec()).ok()?.login)
    }

    /// What was asked for, if not all.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        self.only.as_ref().map(|chosen| chosen.parts.as_slice()).unwrap_or_default()
    }

    /// Whether the snapshot has a regular file of that name.
    pub(crate) fn is_file(&self, name: &str) -> bool {
        let entries = self.archive.entries().unwrap_or_default();
        let is_it = |entry: &&Entry| entry.name.as_str() == name;
        entries.iter().find(is_it).is_some_and(|entry| matches!(entry.node, Node::File { .. }))
    }

    /// What it would do, to be compared with a later plan of the same question.
    #[must_use]
    pub fn terms(&self) -> Terms {
        let archive = self.stored.metadata.archive.as_ref();
        let digest = archive.map(|archive| archive.toc_digest.clone());
        let Stored { title, archive, .. } = &self.stored;
        Terms {
            snapshot: (title.clone(), archive.clone(), digest, self.content_bytes),
            replaces: self.replaces,
            login: (self.fate, self.login_from.clone(), self.link.clone()),
            carried: self.carried.clone(),
            databases: self.databases.clone(),
        }
    }
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
    /// What was asked for and is damaged, in the order of the archive; nothing of it came out.
    pub damaged: Vec<Problem>,
    /// Regular files that were unpacked, and bytes of their content.
    pub unpacked: (u64, u64),
    /// Rows of the session index that now name the new place.
    pub rewritten: u64,
    /// Folder outside the home into which databases went, as `sqlite_home` wants it.
    pub databases: Option<PathBuf>,
    /// What went on besides.
    pub warnings: Vec<String>,
    /// Whether nobody else wrote a login meanwhile.
    stood_still: bool,
    /// Whether nothing is left for the next command.
    is_over: bool,
}

/// Decides how `stored` is restored to `destination`.
///
/// `shelf` is what the store knows, for the freshest login; `live` is the login of the Codex
/// home, wherever the snapshot goes; `around` may put databases outside it, but never into
/// `manager_home`.
///
/// # Errors
///
/// [`RestoreError`]; nothing has been written.
pub fn plan(
    stored: &Stored,
    destination: Destination,
    policy: Policy,
    live: &Live,
    shelf: &Shelf<'_>,
    around: Surroundings,
    manager_home: &Path,
) -> Result<Plan, RestoreError> {
    let title = stored.title.clone();
    let failed = |source| RestoreError::Archive { title: title.clone(), source };
    if let Some((path, what)) = store::damaged_sidecar(stored) {
        return Err(RestoreError::Sidecar { title, path, what });
    }
    let in_place = matches!(destination, Destination::InPlace(_));
    if in_place && stored.metadata.kind == Kind::Auth {
        return Err(RestoreError::OnlyALogin { title });
    }
    let archive = logins::open(stored).map_err(failed)?;
    if logins::is_another(&archive, stored) || store::miscount(&stored.metadata, &archive).is_some()
    {
        return Err(RestoreError::OtherArchive { title });
    }
    let replaces = check_place(&destination)?;
    let content_bytes = archive.content_bytes().map_err(failed)?;
    let entries = archive.entries().map_err(failed)?;
    let files = u64::try_from(entries.iter().filter(|entry| !entry.is_dir()).count()).unwrap_or(0);
    let is_outside = |entry: &Entry| {
        let name = entry.name.as_str();
        is_below(name, OUTSIDE) && name.ends_with(".sqlite")
    };
    let has_outside = archive.layout() != Layout::Plain && entries.iter().any(is_outside);
    check_room(&destination, content_bytes)?;
    let archived = match logins::read_login(stored) {
        Ok(file) => Some(file),
        Err(LoginError::None { .. }) => None,
        // The older tool archived whatever lay there; ours only ever stores logins.
        Err(LoginError::NoLogin { .. }) if stored.origin == Origin::Python => None,
        Err(error) => return Err(error.into()),
    };
    check_owner(stored, archived.as_ref())?;
    if !store::contradictions(stored, &archive).is_empty() {
        return Err(RestoreError::OtherArchive { title });
    }
    let mut warnings = Vec::new();
    let case = Case { stored, archived, live, shelf, in_place };
    let choice = case.choose(policy, &mut warnings)?;
    let home = CodexHome::at(destination.path().to_owned());
    let theirs = if in_place { config_in(&archive).map_err(failed)? } else { String::new() };
    let databases = (in_place && has_outside)
        .then(|| databases::outside(&home, &theirs, &around, manager_home))
        .flatten();
    if in_place && choice.fate == LoginFate::Restored {
        for config in [theirs, config_text(&home)?] {
            if let Some(store) = switch::elsewhere(&config, live) {
                return Err(RestoreError::LoginElsewhere { store });
            }
        }
    }
    let link = if in_place { login::link(&home, &choice, &mut warnings)? } else { None };
    let carried = match &destination {
        Destination::InPlace(root) if replaces => carried(root, stored),
        _ => Vec::new(),
    };
    let account = choice.bytes.as_ref().and_then(|bytes| auth::parse(bytes.bytes().to_vec()).ok());
    let account = account.filter(|file| file.mixed.is_none());
    let account = account.and_then(|file| Some((file.key?, file.email)));
    Ok(Plan {
        archive,
        account,
        stored: stored.clone(),
        destination,
        fate: choice.fate,
        login_from: choice.from,
        login: choice.bytes,
        link,
        live: live.bytes().cloned(),
        around,
        content_bytes,
        files,
        carried,
        databases,
        warnings,
        replaces,
        only: None,
    })
}

/// The `config.toml` of the home in an archive; empty if there is none.
fn config_in(archive: &Archive) -> Result<String, ArchiveError> {
    let name: EntryName = CodexHome::CONFIG.parse().map_err(ArchiveError::Name)?;
    let bytes = match archive.read(&name, 16 << 20) {
        // A folder or a link of that name configures nothing.
        Err(ArchiveError::NotAFile { .. }) => None,
        other => other?,
    };
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default())
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
        (Destination::To(_), Ok(facts)) if facts.is_dir() => {
            if swap::is_mount_point(path)? {
                return Err(RestoreError::MountPoint { path: path.to_owned() });
            }
            if !read::names(path)?.is_empty() {
                return Err(RestoreError::NotEmpty { path: path.to_owned() });
            }
            Ok(true)
        }
        _ => Err(RestoreError::NotEmpty { path: path.to_owned() }),
    }
}

/// The content, a tenth of it for what the file system adds, and a little have to fit.
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
    let described = stored.metadata.login.as_ref().zip(archived.map(|file| &file.login));
    if agrees && described.is_some_and(|(said, found)| said != found) {
        return Err(LoginError::OtherLogin { title: stored.title.clone() }.into());
    }
    match (agrees, found, said) {
        (false, Some(found), Some(said)) => Err(RestoreError::OtherAccount {
            title: stored.title.clone(),
            found: found.to_string(),
            said: said.to_string(),
        }),
        _ => Ok(()),
    }
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

/// What one restore is run with.
pub struct Run<'a> {
    /// What `operations.jsonl` says of it, but for the exchange; its name is that of the folder in
    /// `undo/`.
    pub record: Record,
    /// What the ledger learns of it.
    pub ledger: &'a [Note],
    /// Keep what is about to be replaced, as far as the store does not have it: the login that is
    /// live, or the whole home.
    pub outgoing: Vec<backup::Plan>,
    /// Held since everything was read.
    pub lock: &'a Lock,
    /// Hears of every byte of content.
    pub advance: &'a mut dyn FnMut(u64),
    /// Set when it should stop.
    pub stop: &'a AtomicBool,
    /// Who uses the home now and stands in the way; asked right before the exchange.
    pub holders: &'a dyn Fn() -> Vec<Holder>,
}

/// Builds the home and puts it in its place.
///
/// # Errors
///
/// [`RestoreError`]; the place is as it was, but for [`RestoreError::LoginOverwritten`].
pub fn apply(plan: &Plan, store: &Store, run: &mut Run<'_>) -> Result<Restored, RestoreError> {
    let place = plan.destination.path();
    let name = tree::staging_name(place)?;
    let folder = run.record.id.clone();
    let notes = Notes::new(store, Some(run.record.clone()), run.ledger)?;
    let databases = plan.databases.as_deref();
    let in_place = matches!(plan.destination, Destination::InPlace(_));
    let begun = Journal::begin(store, notes.clone(), &folder, &name, place, databases);
    let mut journal = match begun {
        // A copy elsewhere replaces nothing and can do without.
        Err(OperationError::Unfinished { .. }) if !in_place => None,
        begun => Some(begun?),
    };
    let made = Staged::at(name).and_then(|staged| match &mut journal {
        Some(journal) => Ok((staged, journal.made()?)),
        None => Ok((staged, false)),
    });
    let (mut staged, is_known) = match (made, &journal) {
        (Err(error), Some(journal)) => {
            // Nothing is in the folder, if there is one.
            let _later = journal.abandon();
            return Err(error.into());
        }
        (made, _) => made?,
    };
    if let Some(untold) = journal.take_if(|_| !is_known) {
        untold.close()?;
    }
    let built = Durable::begin(staged.path()).map_err(RestoreError::from).and_then(|durable| {
        let built = build(plan, staged.path(), store, &mut *run.advance, run.stop)?;
        durable.finish()?;
        Ok(built)
    });
    let done = built.and_then(|(built, incoming)| {
        // Only now: what is refused up to here changes nothing.
        let banked = bank(store, journal.as_mut(), run)?;
        let mut done =
            put_in_place(plan, built, incoming, &mut staged, journal.as_mut(), store, run)?;
        done.warnings.extend(banked);
        Ok(done)
    });
    let mut restored = match done {
        Ok(restored) => restored,
        Err(error) => {
            staged.discard();
            // What cannot be struck out, the next command finishes.
            let _stays = journal.map(|journal| journal.close_if_over());
            return Err(error);
        }
    };
    let noted = match &mut journal {
        Some(_) if !restored.is_over => Ok(()),
        Some(journal) => journal.conclude(restored.kept.as_deref(), store, run.lock),
        None => notes.write_down(store, run.lock),
    };
    restored.warnings.extend(
        noted.err().map(|error| format!("it is done, and the next command notes it down: {error}")),
    );
    match (restored.stood_still, restored.kept) {
        (false, Some(kept)) => Err(RestoreError::LoginOverwritten { kept }),
        (_, kept) => Ok(Restored { kept, ..restored }),
    }
}

/// Keeps what is about to be replaced. Answers what a person should know.
fn bank(
    store: &Store,
    journal: Option<&mut Journal>,
    run: &mut Run<'_>,
) -> Result<Vec<String>, RestoreError> {
    let (mut steps, mut told) = (Vec::new(), Vec::new());
    for outgoing in std::mem::take(&mut run.outgoing) {
        let prepared = match backup::prepare(outgoing, store, &mut *run.advance, run.stop) {
            Ok(prepared) => prepared,
            Err(error) => {
                clear(&steps, store.root());
                return Err(Box::new(error).into());
            }
        };
        let backup::Made { name, warnings, vanished, skipped, .. } = prepared.made;
        told.extend(warnings);
        let missed = vanished.iter().chain(&skipped);
        told.extend(missed.map(|(path, why)| format!("{path} is not in {name}: {why}")));
        steps.extend(prepared.steps);
    }
    match journal {
        _ if steps.is_empty() => {}
        Some(journal) => journal.bank(steps, store)?,
        None => {
            told.extend(Transaction { steps, ..Transaction::default() }.run(store, run.lock)?);
        }
    }
    Ok(told)
}

/// Builds the home that a plan for a copy describes right where it would be, an empty folder of the
/// caller's, and leaves it there: nothing changes names, no journal is kept, and nothing need
/// survive a power cut.
///
/// # Errors
///
/// [`RestoreError`]; what was built by then stays, for the caller to remove.
pub(crate) fn rehearse(
    plan: &Plan,
    store: &Store,
    advance: &mut dyn FnMut(u64),
    stop: &AtomicBool,
) -> Result<Restored, RestoreError> {
    let place = plan.destination.path();
    replace::private_dir(place)?;
    Ok(build(plan, place, store, advance, stop)?.0)
}

/// Whether what was left out is no loss, for Codex makes it anew from what is there.
pub(crate) fn is_no_loss(reason: &str) -> bool {
    reason == databases::REBUILT
}

fn build(
    plan: &Plan,
    staging: &Path,
    store: &Store,
    advance: &mut dyn FnMut(u64),
    stop: &AtomicBool,
) -> Result<(Restored, Option<Incoming>), RestoreError> {
    let title = &plan.stored.title;
    let failed = |source| RestoreError::Archive { title: title.clone(), source };
    let live_root = plan.replaces.then(|| plan.destination.path());
    let is_plain = plan.archive.layout() == Layout::Plain;
    let is_wanted = |entry: &&Entry| plan.only.as_ref().is_none_or(|only| only.has(entry));
    let mut how = Extraction {
        place: &mut |entry| place_of(Some(entry).filter(is_wanted)?, is_plain),
        // A link that leads outside is made only where the very same one stands now.
        keep_link: &mut |entry, target| {
            let here = live_root.map(|root| root.join(entry.name.as_str()));
            here.and_then(|path| std::fs::read_link(path).ok())
                .is_some_and(|found| found.as_os_str() == target)
        },
        like: live_root,
        progress: advance,
        stop,
    };
    let unpacked = match &plan.only {
        Some(_) => plan.archive.pick(staging, &mut how),
        None => plan.archive.extract(staging, &mut how).map(|extracted| (extracted, Vec::new())),
    };
    let (extracted, damaged) = unpacked.map_err(failed)?;
    if let (0, [first, ..]) = (extracted.files, damaged.as_slice()) {
        let (title, count, first) = (title.clone(), damaged.len(), first.to_string());
        return Err(RestoreError::NothingSound { title, count, first });
    }
    let mut restored = Restored {
        kept: None,
        how: None,
        left_out: extracted
            .left_out
            .into_iter()
            .map(|(name, why)| (name.to_string(), why))
            .collect(),
        damaged,
        unpacked: (extracted.files, extracted.bytes),
        rewritten: 0,
        databases: None,
        warnings: Vec::new(),
        stood_still: true,
        is_over: true,
    };
    if is_plain {
        databases::settle(staging, &mut restored.left_out)?;
    }
    let allowed = plan.databases.as_deref();
    let (to, around) = (&plan.destination, &plan.around);
    let incoming = databases::arrange(staging, to, around, store.root(), allowed, &mut restored)?;
    let auth = staging.join(CodexHome::AUTH);
    match (&plan.link, &plan.login) {
        (Some(target), _) => {
            replace::remove_file(&auth)?;
            replace::link(target, &auth)?;
        }
        (None, Some(bytes)) => replace::write(&auth, bytes.bytes())?,
        (None, None) => {
            replace::remove_file(&auth)?;
        }
    }
    if let Destination::InPlace(root) = &plan.destination {
        keep_installation(root, staging)?;
    }
    Ok((restored, incoming))
}

/// Where an entry of the archive goes; `None` leaves it out.
fn place_of(entry: &Entry, is_plain: bool) -> Option<EntryName> {
    let name = entry.name.as_str();
    // The older tool knew no databases outside the home: what a plain archive has there is not
    // of its making.
    if !is_plain && is_below(name, OUTSIDE) {
        return Some(entry.name.clone());
    }
    if name == OURS || is_below(name, OURS) {
        return None;
    }
    if is_plain {
        return legacy::place(name, entry.is_dir(), entry.size())?.parse().ok();
    }
    Some(entry.name.clone())
}

fn is_below(name: &str, folder: &str) -> bool {
    name.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
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
    staged: &mut Staged,
    mut journal: Option<&mut Journal>,
    store: &Store,
    run: &Run<'_>,
) -> Result<Restored, RestoreError> {
    let mut restored = built;
    let place = plan.destination.path();
    let undo = store.undo().join(&run.record.id);
    if !logins::is_still(&CodexHome::at(staged.path().to_owned()), plan.login.as_ref())? {
        return Err(RestoreError::LoginNotBuilt);
    }
    let is_written_down = journal.is_some();
    let mut names_change = || match &mut journal {
        Some(journal) => journal.names_change(
            &plan.carried,
            incoming.as_ref().map(Incoming::files).unwrap_or_default(),
        ),
        None => Ok(()),
    };
    if !plan.replaces {
        if let Destination::InPlace(_) = plan.destination {
            names_change()?;
        }
        staged.settle(place, &mut restored.warnings)?;
        install(incoming, &undo, &mut restored);
        return Ok(restored);
    }
    if let Destination::To(_) = plan.destination {
        restored.how = Some(staged.exchange(place, &mut restored.warnings)?);
        restored.warnings.extend(place::remove_empty(staged.path()));
        return Ok(restored);
    }
    let home = CodexHome::at(place.to_owned());
    let _held = logins::hold(&home)?;
    let found = (run.holders)();
    if !found.is_empty() {
        return Err(RestoreError::Running { found });
    }
    if !logins::is_still(&home, plan.live.as_ref())? {
        return Err(RestoreError::LoginChanged);
    }
    names_change()?;
    restored.how = Some(staged.exchange(place, &mut restored.warnings)?);
    // From here on the new home is live, and what has the staged name is the old one. A Codex
    // that knows no lock may have written into either.
    let old = CodexHome::at(staged.path().to_owned());
    restored.stood_still = matches!(logins::is_still(&old, plan.live.as_ref()), Ok(true))
        && matches!(logins::is_still(&home, plan.login.as_ref()), Ok(true));
    let mut is_whole = true;
    for path in &plan.carried {
        if let Err(error) = place::carry(staged.path(), place, path) {
            is_whole = false;
            let later = if is_written_down { "; the next command moves it" } else { "" };
            let told = format!("{path} stays in the replaced home{later}: {error}");
            restored.warnings.push(told);
        }
    }
    install(incoming, &undo, &mut restored);
    if !is_whole && is_written_down {
        restored.is_over = false;
        restored.kept = Some(staged.path().to_owned());
        return Ok(restored);
    }
    let kept = place::keep(staged.path(), place, &undo, &run.record.id, &mut restored.warnings);
    restored.kept = Some(kept);
    Ok(restored)
}

/// Databases outside the home follow it.
fn install(incoming: Option<Incoming>, undo: &Path, restored: &mut Restored) {
    let Some(incoming) = incoming else { return };
    restored.databases = Some(incoming.folder.clone());
    if let Err(error) = incoming.install(&undo.join(databases::KEPT)) {
        restored.is_over = false;
        restored.warnings.push(format!(
            "the home is restored, and not all databases outside it yet: the next command goes on \
             ({error})"
        ));
    }
}
