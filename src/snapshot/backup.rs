//! How does a Codex home become a snapshot?
//!
//! [`plan`] looks and decides: every file the snapshot will hold, what stays out and why, and
//! under which name. [`apply`] does that and nothing else. The home is only read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};
use glob::Pattern;

use crate::account::{AccountKey, Secret};
use crate::codex::auth::{self, AuthError, AuthFile, Mode, Store as LoginStore};
use crate::codex::home::{self, Class, CodexHome, LeftOut, Surroundings};
use crate::disk::archive::{Archive, ArchiveError, EntryName, Limits, Writer, Written};
use crate::disk::database::{self, DatabaseError};
use crate::disk::replace::{self, NewFile, Overwrite};
use crate::disk::tree::{self, Kind as NodeKind, Node, Visit};
use crate::disk::{DiskError, read, space};
use crate::quota::{Reading, Source as Evidence};
use crate::snapshot::metadata::{AccountFacts, ArchiveFacts, Kind, MEMBER, Metadata, Quota};
use crate::snapshot::name::{SnapshotName, Who};
use crate::snapshot::store::Store;
use crate::time::Zone;
use crate::window::weekly;

/// Deflate level of archives (SPEC, "Archive").
pub const LEVEL: u32 = 6;

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
    /// Replace the snapshot that has the wanted name; it goes to `trash/`.
    pub replace: bool,
    /// A short name for it.
    pub label: Option<String>,
    /// A remark about it.
    pub note: Option<String>,
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
    pub left_out: Vec<(String, String)>,
    /// What should be in it and cannot be read or named, with the reason.
    pub unreadable: Vec<(String, String)>,
    /// Length of the content by class.
    pub sizes: BTreeMap<Class, Size>,
    /// What is odd about the home and does not stand in the way.
    pub warnings: Vec<String>,
    /// The snapshot that gives way, if `--force` replaces one.
    pub replaces: Option<SnapshotName>,
    force_damaged: bool,
}

/// How much of one class there is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Serialize)]
pub struct Size {
    /// Regular files.
    pub files: u64,
    /// Their length together.
    pub bytes: u64,
}

impl Plan {
    /// Length of the content to come.
    #[must_use]
    pub fn content_bytes(&self) -> u64 {
        self.sizes.values().map(|size| size.bytes).sum()
    }
}

#[derive(Debug)]
struct Item {
    name: EntryName,
    mode: u32,
    modified: i64,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Folder,
    Link(String),
    /// Bytes that were read already: the login, and our metadata.
    Bytes(Vec<u8>),
    File {
        path: PathBuf,
    },
    /// Only whole lines.
    Lines {
        path: PathBuf,
    },
    Database {
        path: PathBuf,
        bytes: u64,
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
    /// What could not be stored after all, with the reason.
    pub missed: Vec<(String, String)>,
    /// What was odd on the way.
    pub warnings: Vec<String>,
}

/// Why there is no snapshot. Whichever it is, the home is as it was and the store too.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is no such home.
    #[error("there is no Codex home at {}", path.display())]
    NoHome {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Nobody is signed in.
    #[error("{} does not exist: nobody is signed in", path.display())]
    NoLogin {
        /// The login file.
        path: PathBuf,
    },
    /// Codex keeps the login where a snapshot cannot reach it.
    #[error("Codex keeps this login in {store}, not in auth.json")]
    LoginElsewhere {
        /// `the keyring` or `memory`.
        store: &'static str,
    },
    /// `auth.json` cannot be read.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// `auth.json` can be read and names nobody.
    #[error("auth.json names no account: {0}")]
    Nobody(String),
    /// `auth.json` mixes two accounts.
    #[error(
        "auth.json mixes two accounts: its workspace is {workspace}, its tokens belong to {tokens}"
    )]
    Mixed {
        /// `tokens.account_id`.
        workspace: String,
        /// `chatgpt_account_id` of the id token.
        tokens: String,
    },
    /// The reading is somebody else's.
    #[error("the status text is about {text}, but {live} is signed in")]
    OtherAccount {
        /// Whom the text is about.
        text: String,
        /// Who is signed in.
        live: String,
    },
    /// Some of the home cannot be stored.
    #[error("{} cannot be stored: {}", count(list), told(list))]
    Unreadable {
        /// Each path with its reason.
        list: Vec<(String, String)>,
    },
    /// There is no room for it.
    #[error("{} has {free} bytes free, about {needed} are needed", path.display())]
    NoRoom {
        /// The folder.
        path: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that will be needed.
        needed: u64,
    },
    /// A database is damaged or busy.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The archive could not be written or did not check.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The user stopped it.
    #[error("the backup was stopped; nothing was stored")]
    Interrupted,
}

impl BackupError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::NoHome { .. } => "start `codex` once, or name the home with --codex-home DIR",
            Self::NoLogin { .. } | Self::Nobody(_) => {
                "sign in with `codex login`, or store the rest with `codex-manager backup --no-login`"
            }
            Self::LoginElsewhere { .. } => {
                "set cli_auth_credentials_store = \"file\" in Codex's config.toml and sign in again, \
                 or store the rest with --no-login"
            }
            Self::Mixed { .. } => {
                "sign in anew with `codex login`; --no-login stores everything else meanwhile"
            }
            Self::OtherAccount { .. } => "read the status of the account that is signed in",
            Self::Unreadable { .. } => {
                "mend what is wrong, or pass --skip-unreadable to store the rest"
            }
            Self::NoRoom { .. } => "free some space, or leave caches out with --lean",
            Self::Database(DatabaseError::Damaged { .. }) => {
                "pass --force-damaged to store the file as it is"
            }
            Self::Auth(error) => return error.hint(),
            Self::Database(error) => return error.hint(),
            Self::Archive(error) => return error.hint(),
            Self::Disk(error) => return error.hint(),
            Self::Interrupted => return None,
        };
        Some(text.to_owned())
    }
}

fn count(list: &[(String, String)]) -> String {
    if list.len() == 1 { "1 file".to_owned() } else { format!("{} files", list.len()) }
}

fn told(list: &[(String, String)]) -> String {
    let each: Vec<String> = list.iter().map(|(path, why)| format!("{path} ({why})")).collect();
    each.join(", ")
}

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
    let mut gathered = Gathered::default();
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
    // What a database's log holds is in the snapshot: only the file of its own is not.
    let part = LeftOut::PartOfDatabase.to_string();
    let excluded = gathered.left_out.iter().filter(|(_, why)| *why != part);
    metadata.excluded = excluded.map(|(path, _)| path.clone()).collect();
    let wanted = wanted_name(&metadata, login, circumstances);
    let is_taken = store.archive(&wanted).symlink_metadata().is_ok();
    let replaces = (request.replace && is_taken).then(|| wanted.clone());
    let name = if replaces.is_some() { wanted } else { store.free_name(wanted) };
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
        force_damaged: request.force_damaged,
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
    let content = Content::Bytes(bytes.bytes().to_vec());
    gathered.add(CodexHome::AUTH, 0o600, modified, content);
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
        force_damaged: false,
    }
}

/// Private copies of the databases, and the archive at a quarter of the content: text shrinks
/// to less, and what does not shrink is rare in a Codex home. An estimate that is too low shows
/// while writing, and then nothing was stored either.
fn room_needed(plan: &Plan) -> u64 {
    let databases: u64 = plan
        .items
        .iter()
        .map(|item| if let Content::Database { bytes, .. } = item.content { bytes } else { 0 })
        .sum();
    databases.saturating_add(plan.content_bytes() / 4).saturating_add(1 << 20)
}

/// The folder itself, or the nearest one above it that exists.
fn nearest_folder(path: &Path) -> &Path {
    path.ancestors().find(|folder| folder.is_dir()).unwrap_or(path)
}

/// The sidecar as far as it is known before the archive is.
fn describe(
    request: &Request,
    login: Option<&AuthFile>,
    circumstances: &Circumstances<'_>,
) -> Metadata {
    let zone = circumstances.zone;
    let mut metadata = Metadata::empty(request.kind);
    metadata.email = login.and_then(|login| login.email.clone());
    metadata.account = login.and_then(account_facts);
    metadata.login = login.filter(|_| request.kind.has_login()).map(|login| login.login.clone());
    if let Some(reading) = &circumstances.reading {
        describe_quota(&mut metadata, reading, circumstances.status_text.clone(), zone);
    }
    metadata.source_codex_home = Some(circumstances.home_for_people.clone());
    metadata.codex_version = circumstances.codex_version.clone();
    metadata.host = circumstances.host.clone();
    metadata.label = request.label.clone();
    metadata.note = request.note.clone();
    metadata.created_at = Some(zone.stamp(circumstances.now));
    metadata.manager_version = Some(env!("CARGO_PKG_VERSION").to_owned());
    metadata
}

/// Writes what a reading says into a sidecar.
pub(crate) fn describe_quota(
    metadata: &mut Metadata,
    reading: &Reading,
    text: Option<String>,
    zone: &Zone,
) {
    let reset = weekly(&reading.windows).and_then(|window| window.resets_at);
    metadata.session_start_at = reading.session_start_at().map(|at| at.in_zone(zone));
    metadata.next_available_at = reset.map(|at| at.in_zone(zone));
    metadata.reset_at = metadata.next_available_at;
    metadata.inference_basis = metadata.session_start_at.map(|_| {
        match reading.source {
            Evidence::Estimate => "time of capture, taken for the start of the week",
            Evidence::Legacy => "end of the quota, less the session duration",
            Evidence::Manual => "what a person said",
            _ => "weekly reset less seven days",
        }
        .to_owned()
    });
    metadata.quota = Some(Quota {
        source: reading.source,
        observed_at: Some(reading.observed_at.in_zone(zone)),
        windows: reading.windows.iter().map(|window| window.in_zone(zone)).collect(),
        limit_reached: reading.limit_reached,
        text,
    });
}

/// Whose login it is, as a sidecar tells it.
#[must_use]
pub fn account_facts(login: &AuthFile) -> Option<AccountFacts> {
    let (user_id, account_id) = match login.key.clone()? {
        AccountKey::ChatGpt { user_id, account_id } => (Some(user_id), Some(account_id)),
        AccountKey::ApiKey(fingerprint) => (None, Some(fingerprint)),
        AccountKey::Email(_) => (None, None),
    };
    let auth_mode = match &login.mode {
        Mode::ChatGpt => "chatgpt".to_owned(),
        Mode::ApiKey => "apikey".to_owned(),
        Mode::Other(name) => name.clone(),
    };
    Some(AccountFacts { user_id, account_id, plan: login.plan.clone(), auth_mode: Some(auth_mode) })
}

/// The name from the start of the week, or, where that is unknown, from the time of capture.
fn wanted_name(
    metadata: &Metadata,
    login: Option<&AuthFile>,
    circumstances: &Circumstances<'_>,
) -> SnapshotName {
    let began = metadata.session_start_at.map_or(circumstances.now, |start| start.instant());
    SnapshotName::new(circumstances.zone.wall(began), who(login))
}

/// Whose name a snapshot of this login carries.
#[must_use]
pub fn who(login: Option<&AuthFile>) -> Who {
    let Some(login) = login else { return Who::nameless("unknown") };
    match (&login.email, &login.key) {
        (Some(email), _) => Who::Email(email.clone()),
        (None, Some(key @ AccountKey::ApiKey(_))) => {
            Who::nameless(&format!("apikey-{}", key.short_id()))
        }
        (None, Some(key)) => Who::nameless(&format!("account-{}", key.short_id())),
        (None, None) => Who::nameless("unknown"),
    }
}

/// What was found in the home so far.
#[derive(Default)]
struct Gathered {
    items: Vec<Item>,
    names: BTreeSet<String>,
    folded: BTreeSet<String>,
    captured: BTreeSet<String>,
    left_out: Vec<(String, String)>,
    unreadable: Vec<(String, String)>,
    sizes: BTreeMap<Class, Size>,
    warnings: Vec<String>,
}

impl Gathered {
    /// The login's bytes were read when they stood still; they are stored as they were then.
    fn login(&mut self, home: &CodexHome, request: &Request, login: Option<&AuthFile>) {
        let Some(login) = login.filter(|_| request.kind.has_login()) else { return };
        let modified = std::fs::metadata(home.auth())
            .and_then(|facts| facts.modified())
            .ok()
            .and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok())
            .and_then(|since| i64::try_from(since.as_secs()).ok())
            .unwrap_or(0);
        let content = Content::Bytes(login.bytes.bytes().to_vec());
        self.add(CodexHome::AUTH, 0o600, modified, content);
    }

    fn walk(&mut self, root: &Path, request: &Request) -> Result<(), BackupError> {
        let mut left_out = Vec::new();
        let walk = tree::walk(root, &mut |node| {
            let Some(path) = node.path.to_str() else { return Visit::Take };
            let path = portable(path);
            match why_not(&path, node, request) {
                Some(why) => {
                    let slash = if node.kind == NodeKind::Dir { "/" } else { "" };
                    left_out.extend(why.map(|why| (format!("{path}{slash}"), why)));
                    Visit::Skip
                }
                None => Visit::Take,
            }
        })?;
        self.left_out.append(&mut left_out);
        for (path, why) in &walk.unreadable {
            self.unreadable.push((path.to_string_lossy().into_owned(), why.clone()));
        }
        for node in &walk.nodes {
            self.node(root, node, request);
        }
        self.left_out.sort();
        self.left_out.dedup();
        Ok(())
    }

    fn node(&mut self, root: &Path, node: &Node, request: &Request) {
        let Some(path) = node.path.to_str().map(portable) else {
            let why = "its name is not UTF-8".to_owned();
            self.unreadable.push((node.path.to_string_lossy().into_owned(), why));
            return;
        };
        let absolute = root.join(&node.path);
        let is_login = home::class(&path) == Class::Login;
        if path == CodexHome::AUTH || (request.kind == Kind::State && is_login) {
            return;
        }
        match node.kind {
            NodeKind::Dir => {
                self.add(&path, 0o700, node.modified, Content::Folder);
                self.captured(&path, true);
            }
            NodeKind::File => self.file(&path, absolute, node),
            // Codex reads its configuration through a link, so the snapshot holds what it reads.
            NodeKind::Symlink if path == CodexHome::CONFIG => match std::fs::metadata(&absolute) {
                Ok(facts) if facts.is_file() => match std::fs::canonicalize(&absolute) {
                    Ok(target) => {
                        self.add(&path, 0o600, node.modified, Content::File { path: target });
                        self.captured(&path, false);
                    }
                    Err(error) => self.unreadable.push((path, error.to_string())),
                },
                _ => self.unreadable.push((path, "the link leads to no file".to_owned())),
            },
            NodeKind::Symlink => match std::fs::read_link(&absolute) {
                Ok(target) => match target.to_str() {
                    Some(target) => {
                        let link = Content::Link(target.to_owned());
                        self.add(&path, 0o777, node.modified, link);
                        self.captured(&path, false);
                    }
                    None => self.unreadable.push((path, "its target is not UTF-8".to_owned())),
                },
                Err(error) => self.unreadable.push((path, error.to_string())),
            },
            NodeKind::Other(what) => {
                self.left_out.push((path, format!("a {what} cannot be archived")));
            }
        }
    }

    fn file(&mut self, path: &str, absolute: PathBuf, node: &Node) {
        let mode = 0o600 | (node.mode & 0o100);
        let content = if home::is_json_lines(path) {
            Content::Lines { path: absolute }
        } else {
            match database::looks_like_database(&absolute) {
                Ok(true) => Content::Database { path: absolute, bytes: node.size },
                Ok(false) => Content::File { path: absolute },
                Err(error) if error.kind() == io::ErrorKind::NotFound => return,
                Err(error) => {
                    self.unreadable.push((path.to_owned(), error.source.to_string()));
                    return;
                }
            }
        };
        if matches!(content, Content::Lines { .. })
            && let Err(error) = read::open_regular(match &content {
                Content::Lines { path } => path,
                _ => return,
            })
            && error.kind() != io::ErrorKind::NotFound
        {
            self.unreadable.push((path.to_owned(), error.source.to_string()));
            return;
        }
        if self.add(path, mode, node.modified, content) {
            let size = self.sizes.entry(home::class(path)).or_default();
            size.files += 1;
            size.bytes = size.bytes.saturating_add(node.size);
            self.captured(path, false);
        }
    }

    /// The databases that `sqlite_home` keeps outside the home.
    fn databases_of(&mut self, folder: &Path, request: &Request) -> Result<(), BackupError> {
        let Some(names) = read::absent_is_none(read::names(folder))? else { return Ok(()) };
        let mut names: Vec<String> =
            names.into_iter().filter_map(|name| name.into_string().ok()).collect();
        names.sort();
        let mut any = false;
        for name in names.iter().filter(|name| name.ends_with(".sqlite")) {
            let path = folder.join(name);
            let Ok(facts) = path.symlink_metadata() else { continue };
            if !facts.is_file() || (request.lean && home::is_dispensable(name)) {
                continue;
            }
            let content = Content::Database { path, bytes: facts.len() };
            if self.add(&format!("{OUTSIDE}/{name}"), 0o600, 0, content) {
                any = true;
                let size = self.sizes.entry(home::class(name)).or_default();
                size.files += 1;
                size.bytes = size.bytes.saturating_add(facts.len());
            }
        }
        if any {
            self.add(OUTSIDE, 0o700, 0, Content::Folder);
        }
        Ok(())
    }

    fn captured(&mut self, path: &str, is_folder: bool) {
        if !path.contains('/') {
            self.captured.insert(if is_folder { format!("{path}/") } else { path.to_owned() });
        }
    }

    /// Adds an item unless no archive could name it.
    fn add(&mut self, path: &str, mode: u32, modified: i64, content: Content) -> bool {
        let name: EntryName = match path.parse() {
            Ok(name) => name,
            Err(error) => {
                let error: crate::disk::archive::InvalidName = error;
                self.unreadable.push((path.to_owned(), error.reason.to_string()));
                return false;
            }
        };
        if !self.folded.insert(name.folded()) && !self.names.contains(path) {
            let why = "another name differs from it only in case or in the way it is encoded";
            self.unreadable.push((path.to_owned(), why.to_owned()));
            return false;
        }
        if path == CodexHome::AUTH {
            self.captured(path, false);
            let size = self.sizes.entry(Class::Login).or_default();
            size.files += 1;
            if let Content::Bytes(bytes) = &content {
                size.bytes =
                    size.bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            }
        }
        self.names.insert(path.to_owned());
        self.items.push(Item { name, mode, modified, content });
        true
    }

    /// The order of the archive: the login, our metadata, then by name; a folder comes before
    /// what it holds.
    fn sort(&mut self) {
        self.items.sort_by(|a, b| {
            let place = |item: &Item| match item.name.as_str() {
                CodexHome::AUTH => 0,
                name if name == OURS || name.starts_with(".codex-manager/") => 1,
                _ => 2,
            };
            (place(a), a.name.as_str()).cmp(&(place(b), b.name.as_str()))
        });
    }
}

/// Whether an entry stays out of this snapshot; inside, the reason, unless nothing is lost by
/// it: a database's log is part of its copy, and a login alone leaves out everything else.
fn why_not(path: &str, node: &Node, request: &Request) -> Option<Option<String>> {
    if request.kind == Kind::Auth {
        return (home::class(path) != Class::Login).then_some(None);
    }
    let is_folder = node.kind == NodeKind::Dir;
    if path == OURS || is_reserved(path) {
        return Some(Some("belongs to codex-manager".to_owned()));
    }
    match home::left_out(path, is_folder, node.size) {
        Some(LeftOut::PartOfDatabase) => return Some(None),
        Some(why) => return Some(Some(why.to_string())),
        None => {}
    }
    if request.lean && home::is_dispensable(path) {
        return Some(Some("left out by --lean".to_owned()));
    }
    let excluded = path != CodexHome::AUTH && request.exclude.iter().any(|glob| glob.matches(path));
    excluded.then(|| Some("excluded by the configuration or --exclude".to_owned()))
}

/// Whether a top-level name is one of our own temporary ones.
fn is_reserved(path: &str) -> bool {
    !path.contains('/')
        && path.starts_with(replace::TEMP_PREFIX)
        && [replace::TEMP_SUFFIX, replace::STAGING_SUFFIX].iter().any(|end| path.ends_with(end))
}

/// A relative path with `/` between its parts.
fn portable(path: &str) -> String {
    if cfg!(windows) { path.replace('\\', "/") } else { path.to_owned() }
}

/// Writes the snapshot. `advance` hears of every byte of content that is done.
///
/// The databases are copied first, then everything is read in the order of the archive, so that
/// no row of an index lacks its session file. The archive is read back and checked before it
/// gets its name; its name appears last.
///
/// # Errors
///
/// [`BackupError`]; nothing has appeared in the store then.
pub fn apply(
    plan: Plan,
    store: &Store,
    advance: &mut dyn FnMut(u64),
    stop: &AtomicBool,
) -> Result<Made, BackupError> {
    let staging = tree::staging_dir(&store.tmp().join("database"))?;
    let made = build(plan, store, &staging, advance, stop);
    let removed = replace::remove_tree(&staging);
    let made = made?;
    removed?;
    Ok(made)
}

fn build(
    plan: Plan,
    store: &Store,
    staging: &Path,
    advance: &mut dyn FnMut(u64),
    stop: &AtomicBool,
) -> Result<Made, BackupError> {
    let Plan { name, mut items, metadata, warnings, replaces, force_damaged, .. } = plan;
    let mut build = Build { missed: Vec::new(), warnings, advance, stop };
    for (number, item) in items.iter_mut().enumerate() {
        build.settle(item, &staging.join(number.to_string()), force_damaged)?;
    }
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let file = NewFile::create_in(&store.backups())?;
    let mut writer = Writer::new(io::BufWriter::with_capacity(1 << 20, file), LEVEL, workers);
    let mut ours = Some(own_items(&metadata)?);
    for item in items {
        if item.name.as_str() != CodexHome::AUTH
            && let Some(ours) = ours.take()
        {
            for item in ours {
                build.write(&mut writer, item)?;
            }
        }
        build.write(&mut writer, item)?;
    }
    for item in ours.into_iter().flatten() {
        build.write(&mut writer, item)?;
    }
    let (file, written) = writer.finish()?;
    let file = file.into_inner().map_err(|error| writing(error.into_error()))?;
    check(file.path(), &written, stop)?;
    build.stopped()?;
    let mut metadata = metadata;
    metadata.archive = Some(ArchiveFacts {
        name: name.archive(),
        bytes: written.bytes,
        toc_digest: written.toc_digest,
        files: written.files,
        content_bytes: written.content_bytes,
    });
    if let Some(old) = replaces {
        retire(store, &old)?;
    }
    let (archive, sidecar) = (store.archive(&name), store.sidecar(&name));
    replace::write_new(&sidecar, &metadata.to_bytes())?;
    if let Err(error) = file.commit(&archive, Overwrite::Never) {
        replace::remove_file(&sidecar)?;
        return Err(error.into());
    }
    Ok(Made { name, archive, sidecar, metadata, missed: build.missed, warnings: build.warnings })
}

/// Our folder and the metadata in it.
fn own_items(metadata: &Metadata) -> Result<Vec<Item>, BackupError> {
    let name = |text: &str| -> Result<EntryName, ArchiveError> { Ok(text.parse()?) };
    let modified = metadata.created_at.map_or(0, |at| at.instant().timestamp());
    Ok(vec![
        Item { name: name(OURS)?, mode: 0o700, modified, content: Content::Folder },
        Item {
            name: name(MEMBER)?,
            mode: 0o600,
            modified,
            content: Content::Bytes(metadata.to_bytes()),
        },
    ])
}

/// Reads a finished archive as any later run would, before it may have a name.
fn check(path: &Path, written: &Written, stop: &AtomicBool) -> Result<(), BackupError> {
    let archive = Archive::open(path, &Limits::default())?;
    let agrees = archive.toc_digest() == Some(written.toc_digest.as_str());
    let mut problems = archive.verify(&mut |_| {}, stop)?;
    match (agrees, problems.pop()) {
        (true, None) => Ok(()),
        (_, problem) => {
            let what = problem.map_or_else(
                || "its table of contents is not the one that was written".to_owned(),
                |problem| problem.to_string(),
            );
            let error = io::Error::other(format!("the new archive reads back wrong: {what}"));
            Err(writing(error).into())
        }
    }
}

fn writing(source: io::Error) -> ArchiveError {
    ArchiveError::Io { doing: "write", source }
}

/// Moves a snapshot to `trash/`: its archive first, which is what makes it one.
fn retire(store: &Store, name: &SnapshotName) -> Result<(), DiskError> {
    let mut resting = name.clone();
    while store.trash().join(resting.archive()).symlink_metadata().is_ok() {
        resting = resting.next();
    }
    replace::rename_new(&store.archive(name), &store.trash().join(resting.archive()))?;
    if store.sidecar(name).symlink_metadata().is_ok() {
        let rest = store.trash().join(resting.sidecar());
        replace::remove_file(&rest)?;
        replace::rename_new(&store.sidecar(name), &rest)?;
    }
    Ok(())
}

struct Build<'a> {
    missed: Vec<(String, String)>,
    warnings: Vec<String>,
    advance: &'a mut dyn FnMut(u64),
    stop: &'a AtomicBool,
}

impl Build<'_> {
    fn stopped(&self) -> Result<(), BackupError> {
        if self.stop.load(Ordering::Relaxed) { Err(BackupError::Interrupted) } else { Ok(()) }
    }

    /// Puts a private copy in the place of a database.
    fn settle(&mut self, item: &mut Item, copy: &Path, force: bool) -> Result<(), BackupError> {
        let Content::Database { path, .. } = &item.content else { return Ok(()) };
        self.stopped()?;
        let as_it_is = Content::File { path: path.clone() };
        item.content = match database::copy(path, copy) {
            Ok(database::Copied::Database { .. }) => Content::File { path: copy.to_owned() },
            Ok(database::Copied::NotADatabase) => {
                let name = &item.name;
                self.warnings.push(format!("{name} only looks like a database; stored as it is"));
                as_it_is
            }
            Err(DatabaseError::Damaged { .. }) if force => {
                self.warnings.push(format!("{} is damaged; stored as it is", item.name));
                as_it_is
            }
            Err(DatabaseError::Disk(error)) if error.kind() == io::ErrorKind::NotFound => as_it_is,
            Err(error) => return Err(error.into()),
        };
        Ok(())
    }

    fn write<W: io::Write>(
        &mut self,
        writer: &mut Writer<W>,
        item: Item,
    ) -> Result<(), BackupError> {
        self.stopped()?;
        let Item { name, mode, modified, content } = item;
        let path = match &content {
            Content::Folder => return Ok(writer.dir(&name, mode, modified)?),
            Content::Link(target) => return Ok(writer.symlink(&name, target, modified)?),
            Content::Bytes(bytes) => {
                writer.file(&name, mode, modified, length(bytes), &mut bytes.as_slice())?;
                return Ok(());
            }
            Content::Lines { path } | Content::File { path } | Content::Database { path, .. } => {
                path
            }
        };
        let Some(mut source) = Source::open(path, &content)? else { return self.vanished(&name) };
        if source.bytes <= IN_MEMORY {
            let bytes = match source.read_again_if_short(path, &content)? {
                Some(bytes) => bytes,
                None => return self.vanished(&name),
            };
            writer.file(&name, mode, modified, length(&bytes), &mut bytes.as_slice())?;
            (self.advance)(length(&bytes));
        } else {
            let (advance, stop) = (&mut *self.advance, self.stop);
            let mut content = Watched { file: source.file.take(source.bytes), advance, stop };
            let written = writer.file(&name, mode, modified, source.bytes, &mut content);
            self.stopped()?;
            written?;
        }
        Ok(())
    }

    fn vanished(&mut self, name: &EntryName) -> Result<(), BackupError> {
        let why = "it went away while the home was read".to_owned();
        self.missed.push((name.to_string(), why));
        Ok(())
    }
}

/// Files up to this length are read before they are written, so that one that shrinks under the
/// reader can be read again; in bytes.
const IN_MEMORY: u64 = 8 << 20;

/// An open file, and how much of it belongs into the snapshot.
struct Source {
    file: File,
    bytes: u64,
}

impl Source {
    /// `None` if it went away. What grows later is stored as long as it is now.
    fn open(path: &Path, content: &Content) -> Result<Option<Self>, DiskError> {
        if !matches!(content, Content::Lines { .. }) {
            let file = read::absent_is_none(read::open_regular(path))?;
            return Ok(file.map(|file| {
                let bytes = file.metadata().map_or(0, |facts| facts.len());
                Self { file, bytes }
            }));
        }
        let Some(lines) = read::absent_is_none(read::open_lines(path))? else { return Ok(None) };
        let whole = lines.len.saturating_add(lines.torn);
        let mut source = Self { file: lines.file, bytes: lines.len };
        // A last line without its newline is whole if it is JSON; half of one is left out.
        if 0 < lines.torn && (lines.len == 0 || source.ends_in_json(path, lines.torn)?) {
            source.bytes = whole;
        }
        Ok(Some(source))
    }

    fn ends_in_json(&mut self, path: &Path, torn: u64) -> Result<bool, DiskError> {
        if IN_MEMORY < torn {
            return Ok(false);
        }
        let mut tail = Vec::new();
        let read = self
            .file
            .seek(SeekFrom::Start(self.bytes))
            .and_then(|_| (&self.file).take(torn).read_to_end(&mut tail))
            .and_then(|_| self.file.rewind());
        read.map_err(|source| DiskError { action: "read", path: path.to_owned(), source })?;
        Ok(serde_json::from_slice::<serde::de::IgnoredAny>(&tail).is_ok())
    }

    /// The bytes, as many as there were when the file was opened. One that shrank meanwhile is
    /// opened again, twice at most; then what there is counts.
    fn read_again_if_short(
        &mut self,
        path: &Path,
        content: &Content,
    ) -> Result<Option<Vec<u8>>, DiskError> {
        let mut bytes = Vec::new();
        for _ in 0..3 {
            bytes.clear();
            (&self.file).take(self.bytes).read_to_end(&mut bytes).map_err(|source| DiskError {
                action: "read",
                path: path.to_owned(),
                source,
            })?;
            if length(&bytes) == self.bytes {
                break;
            }
            match Self::open(path, content)? {
                Some(again) => *self = again,
                None => return Ok(None),
            }
        }
        Ok(Some(bytes))
    }
}

/// Passes a large file through, counts it, and ends it when the user says so.
struct Watched<'a> {
    file: io::Take<File>,
    advance: &'a mut dyn FnMut(u64),
    stop: &'a AtomicBool,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Ok(0);
        }
        let count = self.file.read(buffer)?;
        (self.advance)(u64::try_from(count).unwrap_or(u64::MAX));
        Ok(count)
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
