//! How does a Codex home become a snapshot?
//!
//! [`plan`] looks and decides: every file the snapshot will hold, what stays out and why, and
//! under which name. [`apply`] does that and nothing else. The home is only read.

mod assemble;
pub mod cache;
mod describe;
mod error;
mod gather;
mod login;
mod place;
mod reuse;
mod source;
mod table;
#[cfg(test)]
mod tests;
mod unchanged;
mod write;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use glob::Pattern;

use crate::account::{Order, Secret};
use crate::codex::auth::AuthFile;
use crate::codex::home::{Class, CodexHome, Surroundings};
use crate::disk::Jobs;
use crate::disk::archive::{self, ArchiveError, EntryName};
use crate::disk::space;
use crate::quota::Reading;
use crate::snapshot::logins;
use crate::snapshot::metadata::{Kind, Metadata};
use crate::snapshot::name::SnapshotName;
use crate::snapshot::store::Store;
use crate::time::Zone;
use cache::Look;
use describe::{describe, wanted_name};
use gather::Gathered;
use reuse::Past;

pub(crate) use describe::describe_quota;
pub use describe::{account_facts, who};
pub use error::BackupError;
pub(crate) use login::config_text;
pub use login::login;
pub use write::{Prepared, apply, prepare};

/// Deflate level of an archive that nobody chose a level for (SPEC, "Archive").
pub const LEVEL: u32 = 1;

/// Folder inside an archive that is ours; one of that name in a home is not archived.
pub const OURS: &str = ".codex-manager";

/// Folder inside an archive for databases that `sqlite_home` keeps outside the home.
pub const OUTSIDE: &str = ".codex-manager/sqlite_home";

/// What somebody wants to have stored.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which part of the home.
    pub kind: Kind,
    /// Leave out what Codex writes anew by itself.
    pub lean: bool,
    /// Further paths to leave out, relative to the home.
    pub exclude: Vec<Pattern>,
    /// Store what can be read instead of stopping at what cannot.
    pub skip_unreadable: bool,
    /// Store a database that SQLite calls damaged as the bytes it is.
    pub force_damaged: bool,
    /// Replace the snapshot of the same account, kind and start; it goes to `trash/`.
    pub replace: bool,
    /// A short name for it.
    pub label: Option<String>,
    /// A remark about it.
    pub note: Option<String>,
    /// How hard it is compressed, 1 to 12.
    pub level: u32,
    /// How many threads do that.
    pub jobs: Jobs,
}

/// The circumstances of a backup that are not in the home.
#[derive(Clone, Debug)]
pub struct Circumstances<'a> {
    /// The instant of the run.
    pub now: DateTime<Utc>,
    /// The zone of names and times.
    pub zone: &'a Zone,
    /// What the quota said, if anything did.
    pub reading: Option<Reading>,
    /// The status text the reading came from.
    pub status_text: Option<String>,
    /// How people know the home: with `~`.
    pub home_for_people: String,
    /// What outside the home says where its databases are.
    pub around: Surroundings,
    /// Version of the Codex that wrote the newest session.
    pub codex_version: Option<String>,
    /// The machine's name.
    pub host: Option<String>,
}

/// What a backup will do.
#[derive(Debug)]
pub struct Plan {
    /// The name it will have.
    pub name: SnapshotName,
    /// The files, in the order of the archive.
    items: Vec<Item>,
    /// The sidecar but for the facts about the archive.
    pub metadata: Metadata,
    /// What the home holds and the snapshot will not, with the reason.
    pub left_out: Listed,
    /// What should be in it and cannot be read or named, with the reason.
    pub unreadable: Listed,
    /// Length of the content by class.
    pub sizes: BTreeMap<Class, Size>,
    /// What is odd about the home and does not stand in the way.
    pub warnings: Vec<String>,
    /// The snapshot that gives way, if `--force` replaces one.
    pub replaces: Option<SnapshotName>,
    /// Where the login was read, if the snapshot holds the live one.
    login: Option<PathBuf>,
    /// The home and what was wanted of it, to look for newer sessions when the index is copied.
    source: Option<(PathBuf, Request)>,
    /// What is known of its files from the snapshot before.
    past: Option<Arc<Past>>,
    /// The instant of the run.
    now: DateTime<Utc>,
    /// Deflate level.
    level: u32,
    skip_unreadable: bool,
    force_damaged: bool,
    jobs: Jobs,
}

/// Paths, folders with `/` at the end, each with what is to be said about it.
pub type Listed = Vec<(String, String)>;

/// How much of one class there is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Serialize)]
pub struct Size {
    /// Regular files.
    pub files: u64,
    /// Their length together.
    pub bytes: u64,
}

impl Plan {
    /// The home; nothing is looked for there if the plan is of a login alone.
    fn root(&self) -> &Path {
        self.source.as_ref().map_or(Path::new(""), |(root, _)| root)
    }

    /// Length of the content to come.
    #[must_use]
    pub fn content_bytes(&self) -> u64 {
        self.sizes.values().map(|size| size.bytes).sum()
    }
}

#[derive(Debug)]
struct Item {
    name: ItemName,
    mode: u32,
    modified: i64,
    content: Content,
}

/// There is one for each file of the home, so what few have is in a box.
const _: () = assert!(size_of::<Item>() <= 56);

/// What an item is called in the archive: checked as an [`EntryName`] is, and kept as its text alone,
/// in a piece of memory of the size that its path had.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct ItemName(Box<str>);

impl ItemName {
    fn of(name: &EntryName) -> Self {
        Self(name.as_str().into())
    }

    fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as an archive takes it.
    fn entry(&self) -> Result<EntryName, ArchiveError> {
        Ok(self.0.parse()?)
    }
}

/// Where a file lies.
#[derive(Clone, Debug, Default)]
struct Place(Option<Box<PathBuf>>);

impl Place {
    /// In the home, under its name in the archive.
    const OWN: Self = Self(None);

    /// Somewhere else.
    fn at(path: PathBuf) -> Self {
        Self(Some(Box::new(path)))
    }

    /// Its path, if the item has this name in the snapshot of the home at `root`.
    fn path(&self, root: &Path, name: &ItemName) -> PathBuf {
        match &self.0 {
            Some(path) => path.as_path().to_owned(),
            None => root.join(name.as_str()),
        }
    }
}

#[derive(Debug)]
enum Content {
    Folder,
    Link(Box<str>),
    /// Bytes that were read already: the login, and our metadata.
    Bytes(Secret),
    File {
        path: Place,
    },
    /// Only whole lines.
    Lines {
        path: Place,
    },
    Database {
        path: Place,
        bytes: u64,
    },
    /// At a glance what this entry of the snapshot before holds, so that it was not opened.
    Kept {
        path: Place,
        entry: u32,
        is_database: bool,
    },
    /// A database that surely is what this entry holds: it looked like this when it was its turn.
    Proven {
        path: Place,
        held: Box<(u32, Look)>,
    },
    /// To be stored from here as it is: a private copy, or what only looks like a database. It is
    /// remembered under the look of what was copied, if there is one.
    Copy {
        path: Place,
        look: Option<Box<Look>>,
    },
}

/// A finished snapshot.
#[derive(Debug)]
pub struct Made {
    /// Its name.
    pub name: SnapshotName,
    /// Its archive.
    pub archive: PathBuf,
    /// Its sidecar.
    pub sidecar: PathBuf,
    /// What the sidecar says.
    pub metadata: Metadata,
    /// What went away before it could be read, with that as the reason.
    pub vanished: Listed,
    /// What should be in it and could not be stored, with the reason.
    pub skipped: Listed,
    /// What was odd on the way.
    pub warnings: Vec<String>,
    /// Compressed bytes that were copied from earlier archives.
    pub reused_bytes: u64,
    /// Bytes that were compressed anew, as long as they are then.
    pub compressed_bytes: u64,
}

/// Decides what a snapshot of `home` will hold.
///
/// # Errors
///
/// When something that belongs into it cannot be read or named, and the request does not say to
/// go on without; when there is no room.
pub fn plan(
    home: &CodexHome,
    store: &Store,
    request: &Request,
    login: Option<&AuthFile>,
    circumstances: &Circumstances<'_>,
) -> Result<Plan, BackupError> {
    let compressor = archive::compressor(request.level);
    let past = if request.kind.has_state() {
        Past::open(store, home.root(), &compressor).map(Arc::new)
    } else {
        None
    };
    let mut gathered = Gathered::knowing(past.clone());
    gathered.login(home, request, login);
    gathered.walk(home.root(), request)?;
    let config = config_text(home)?;
    let outside = home.sqlite_home(&config, &circumstances.around);
    if let Some(folder) = outside.filter(|folder| !folder.starts_with(home.root()))
        && request.kind.has_state()
    {
        gathered.databases_of(&folder, request)?;
    }
    if !gathered.unreadable.is_empty() && !request.skip_unreadable {
        return Err(BackupError::Unreadable { list: gathered.unreadable });
    }
    let mut metadata = describe(request, login, circumstances);
    metadata.captured_files = gathered.captured.iter().cloned().collect();
    let missing = gathered.left_out.iter().chain(&gathered.unreadable);
    metadata.excluded = missing.map(|(path, _)| path.clone()).collect();
    metadata.excluded.sort();
    metadata.excluded.dedup();
    let wanted = wanted_name(&metadata, login, circumstances);
    let replaces = match request.replace {
        true => alike(store, &wanted, &metadata, circumstances.zone)?,
        false => None,
    };
    let name = replaces.clone().unwrap_or_else(|| store.free_name(wanted));
    gathered.sort();
    let plan = Plan {
        name,
        items: gathered.items,
        metadata,
        left_out: gathered.left_out,
        unreadable: gathered.unreadable,
        sizes: gathered.sizes,
        warnings: gathered.warnings,
        replaces,
        login: login.filter(|_| request.kind.has_login()).map(|_| home.auth()),
        source: Some((home.root().to_owned(), request.clone())),
        past,
        now: circumstances.now,
        level: request.level,
        skip_unreadable: request.skip_unreadable,
        force_damaged: request.force_damaged,
        jobs: request.jobs,
    };
    let needed = room_needed(&plan);
    let free = space::available(nearest_folder(store.root()))?;
    if free < needed {
        return Err(BackupError::NoRoom { path: store.root().to_owned(), free, needed });
    }
    Ok(plan)
}

/// Decides how a single login is stored: as an `auth` snapshot with these exact bytes.
///
/// `metadata` is what is known beside the login; a login that names nobody is an orphan, kept
/// byte for byte all the same.
#[must_use]
pub fn plan_login(
    bytes: &Secret,
    modified: i64,
    metadata: Metadata,
    wanted: SnapshotName,
    store: &Store,
) -> Plan {
    let mut gathered = Gathered::default();
    gathered.login_bytes(bytes, modified);
    let mut metadata = metadata;
    metadata.captured_files = vec![CodexHome::AUTH.to_owned()];
    Plan {
        name: store.free_name(wanted),
        items: gathered.items,
        metadata,
        left_out: Vec::new(),
        unreadable: Vec::new(),
        sizes: gathered.sizes,
        warnings: Vec::new(),
        replaces: None,
        login: None,
        source: None,
        past: None,
        now: DateTime::UNIX_EPOCH,
        level: LEVEL,
        skip_unreadable: false,
        force_damaged: false,
        jobs: Jobs::ONE,
    }
}

/// The first snapshot of this name, or of the numbers after it, that may give way: it is of the
/// same account and kind, for one of another kind holds what the new one does not, is not pinned,
/// and its login is not needed any more.
fn alike(
    store: &Store,
    wanted: &SnapshotName,
    new: &Metadata,
    zone: &Zone,
) -> Result<Option<SnapshotName>, BackupError> {
    let Some(key) = new.key() else { return Ok(None) };
    let mut name = wanted.clone();
    while store.has(&name) {
        let is_alike = |old: &Metadata| {
            old.kind == new.kind && old.key().as_ref() == Some(&key) && !old.pinned
        };
        if let Some(old) = store.told(&name).filter(is_alike)
            && has_spare_login(store, &name, &old, new, zone)?
        {
            return Ok(Some(name));
        }
        name = name.next();
    }
    Ok(None)
}

/// Whether the login in the snapshot of this name can be done without: it holds none, the new
/// one's is the same or a newer one, or another snapshot has it too. No command looks for logins
/// in `trash/`, so the freshest one must not get there.
fn has_spare_login(
    store: &Store,
    name: &SnapshotName,
    old: &Metadata,
    new: &Metadata,
    zone: &Zone,
) -> Result<bool, BackupError> {
    let (true, Some(login)) = (old.kind.has_login(), &new.login) else { return Ok(true) };
    let scan = store.scan(zone).map_err(Box::new)?;
    let archive = store.archive(name);
    let (held, others): (Vec<_>, Vec<_>) =
        scan.snapshots.into_iter().partition(|stored| stored.archive == archive);
    let file = held.first().and_then(|stored| logins::read_login(stored).ok());
    // Of a damaged archive its sidecar still tells that there was a login, perhaps the newest.
    let told = file.as_ref().map(|file| &file.login).or(old.login.as_ref());
    let is_older =
        told.is_none_or(|told| matches!(told.compare(login), Order::Same | Order::Older));
    Ok(is_older || file.is_some_and(|file| logins::is_stored(&others, &file)))
}

/// Private copies of the databases, and the archive at a quarter of the content: text shrinks
/// to less, and what does not shrink is rare in a Codex home. An estimate that is too low shows
/// while writing, and then nothing was stored either.
fn room_needed(plan: &Plan) -> u64 {
    let databases: u64 = plan
        .items
        .iter()
        .map(|item| match &item.content {
            Content::Database { bytes, .. } => *bytes,
            // Its log may have grown, and then it is copied after all.
            Content::Kept { path, is_database: true, .. } => {
                path.path(plan.root(), &item.name).metadata().map_or(0, |facts| facts.len())
            }
            _ => 0,
        })
        .sum();
    databases.saturating_add(plan.content_bytes() / 4).saturating_add(1 << 20)
}

/// The folder itself, or the nearest one above it that exists.
fn nearest_folder(path: &Path) -> &Path {
    path.ancestors().find(|folder| folder.is_dir()).unwrap_or(path)
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
