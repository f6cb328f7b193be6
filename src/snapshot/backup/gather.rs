//! What of a home belongs into its snapshot, and what can be stored?

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::reuse::Past;
use super::{BackupError, Content, Item, ItemName, OURS, OUTSIDE, Place, Request, Size};
use crate::account::Secret;
use crate::codex::auth::AuthFile;
use crate::codex::home::{self, Class, CodexHome, LeftOut};
use crate::disk::archive::{self, EntryName, Folded, InvalidName};
use crate::disk::tree::{self, Kind as NodeKind, Node, Visit};
use crate::disk::{DiskError, Facts, database, read, replace};
use crate::snapshot::metadata::Kind;

/// Why something that belongs into the snapshot cannot be stored.
type Objection = String;

/// What was found in the home so far.
#[derive(Default)]
pub(super) struct Gathered {
    /// What is known of the files without opening them.
    past: Option<Arc<Past>>,
    pub(super) items: Vec<Item>,
    /// Every name so far, as the most forgiving file system would compare it.
    folded: Folded,
    pub(super) captured: BTreeSet<String>,
    pub(super) left_out: Vec<(String, String)>,
    pub(super) unreadable: Vec<(String, String)>,
    pub(super) sizes: BTreeMap<Class, Size>,
    pub(super) warnings: Vec<String>,
}

impl Gathered {
    /// Nothing yet, and what is known of the files without opening them.
    pub(super) fn knowing(past: Option<Arc<Past>>) -> Self {
        Self { past, ..Self::default() }
    }

    /// The login's bytes were read when they stood still; they are stored as they were then.
    pub(super) fn login(&mut self, home: &CodexHome, request: &Request, login: Option<&AuthFile>) {
        let Some(login) = login.filter(|_| request.kind.has_login()) else { return };
        let modified = std::fs::metadata(home.auth())
            .and_then(|facts| facts.modified())
            .ok()
            .and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok())
            .and_then(|since| i64::try_from(since.as_secs()).ok())
            .unwrap_or(0);
        self.login_bytes(&login.bytes, modified);
    }

    /// Adds these bytes as the login.
    pub(super) fn login_bytes(&mut self, bytes: &Secret, modified: i64) {
        let content = Content::Bytes(bytes.clone());
        if self.add(CodexHome::AUTH, 0o600, modified, content).is_ok() {
            self.captured(CodexHome::AUTH, false);
            self.count(Class::Login, super::length(bytes.bytes()));
        }
    }

    /// Takes what the request wants of everything below `root`.
    pub(super) fn walk(&mut self, root: &Path, request: &Request) -> Result<(), BackupError> {
        let mut left_out = Vec::new();
        let mut odd = Vec::new();
        let mut walk = tree::walk(root, &mut |node| {
            let path = shown(&node.path);
            match why_not(root, &path, node, request) {
                Ok(None) => {}
                Ok(Some(why)) => {
                    left_out.extend(why.map(|why| (marked(&path, node), why)));
                    return Visit::Skip;
                }
                Err(objection) => {
                    odd.push((marked(&path, node), objection));
                    return Visit::Skip;
                }
            }
            // What is in a folder that has no name in an archive has none either.
            if let Err(error) = EntryName::from_path(&node.path)
                && !matches!(node.kind, NodeKind::Other(_))
            {
                odd.push((marked(&path, node), objection(&error)));
                return Visit::Skip;
            }
            Visit::Take
        })?;
        self.left_out.append(&mut left_out);
        self.unreadable.append(&mut odd);
        let mut rejected = BTreeSet::new();
        for (path, why) in walk.unreadable.iter().filter(|(path, _)| is_part(path, request.kind)) {
            let node = walk.nodes.iter().find(|node| node.path == *path);
            let text = shown(path);
            self.unreadable
                .push((node.map_or(text.clone(), |node| marked(&text, node)), why.clone()));
            rejected.insert(path.clone());
        }
        // To grow bit by bit would leave as much memory behind as they take.
        self.items.reserve_exact(walk.nodes.len());
        self.folded.reserve(walk.nodes.len());
        // Of two names that some file systems take for one, that of Codex stays.
        for is_turn_of_codex in [true, false] {
            for node in &mut walk.nodes {
                let is_of_codex = home::class(&shown(&node.path)) != Class::Other;
                if node.path.as_os_str().is_empty() || is_of_codex != is_turn_of_codex {
                    continue;
                }
                // What became an item needs no second name.
                let path = std::mem::take(&mut node.path);
                if !rejected.is_empty() && path.ancestors().any(|above| rejected.contains(above)) {
                    continue;
                }
                let text = shown(&path);
                if let Err(why) = self.node(root, &text, node) {
                    self.unreadable.push((marked(&text, node), why));
                    rejected.insert(path);
                }
            }
        }
        self.left_out.sort();
        self.left_out.dedup();
        self.unreadable.sort();
        Ok(())
    }

    /// Takes the session files that appeared since `items` were gathered, and puts all in order.
    ///
    /// An index of sessions that is copied later than the home was looked through has rows of
    /// sessions that began meanwhile: their files have to come along. One that cannot be stored is
    /// left for the next backup; nobody has missed it yet.
    pub(super) fn with_newcomers(
        items: Vec<Item>,
        root: &Path,
        request: &Request,
    ) -> Result<Self, BackupError> {
        let mut folded = Folded::default();
        for item in &items {
            folded.insert(&item.name.entry()?);
        }
        // They are in the order of the archive.
        let is_known = |path: &str| {
            let place = place_of(path);
            items.binary_search_by(|item| place_of(item.name.as_str()).cmp(&place)).is_ok()
        };
        let walk = tree::walk(root, &mut |node| {
            let path = shown(&node.path);
            let is_session = CodexHome::SESSIONS.iter().any(|folder| node.path.starts_with(folder));
            let can_be_named = EntryName::from_path(&node.path).is_ok();
            let is_old = node.kind != NodeKind::Dir && is_known(&path);
            if is_session
                && can_be_named
                && !is_old
                && why_not(root, &path, node, request) == Ok(None)
            {
                Visit::Take
            } else {
                Visit::Skip
            }
        })?;
        let new: Vec<_> =
            walk.nodes.into_iter().filter(|node| !is_known(&shown(&node.path))).collect();
        let mut gathered = Self { items, folded, ..Self::default() };
        for node in &new {
            drop(gathered.node(root, &shown(&node.path), node));
        }
        gathered.sort();
        Ok(gathered)
    }

    fn node(&mut self, root: &Path, path: &str, node: &Node) -> Result<(), Objection> {
        let absolute = || root.join(path);
        match node.kind {
            // The login was read already.
            _ if path == CodexHome::AUTH => Ok(()),
            NodeKind::Dir => {
                self.add(path, 0o700, node.modified, Content::Folder)?;
                self.captured(path, true);
                Ok(())
            }
            NodeKind::File => self.file(path, &absolute(), node),
            // Codex reads its configuration through a link, so the snapshot holds what it reads.
            NodeKind::Symlink if path == CodexHome::CONFIG => {
                let target =
                    std::fs::canonicalize(absolute()).map_err(|error| error.to_string())?;
                let facts = std::fs::metadata(&target).map_err(|error| error.to_string())?;
                if !facts.is_file() {
                    return Err("the link leads to no file".to_owned());
                }
                self.add(path, 0o600, node.modified, Content::File { path: Place::at(target) })?;
                self.captured(path, false);
                self.count(home::class(path), facts.len());
                Ok(())
            }
            NodeKind::Symlink => self.link(root, path, &absolute(), node),
            NodeKind::Other(what) => {
                self.left_out.push((path.to_owned(), format!("a {what} cannot be archived")));
                Ok(())
            }
        }
    }

    fn link(
        &mut self,
        root: &Path,
        path: &str,
        absolute: &Path,
        node: &Node,
    ) -> Result<(), Objection> {
        let target = std::fs::read_link(absolute).map_err(|error| error.to_string())?;
        let target = target.to_str().ok_or("its target is not UTF-8")?;
        if !archive::is_target(target) {
            return Err("its target is too long or has a control character".to_owned());
        }
        self.add(path, 0o777, node.modified, Content::Link(target.into()))?;
        self.captured(path, false);
        let leads_to = std::fs::canonicalize(absolute).ok().filter(|to| to.is_dir());
        if leads_to.is_some_and(|to| !to.starts_with(root)) {
            self.warnings.push(format!(
                "{path} is a link to {target}: the link is stored, what is in that folder is not"
            ));
            let why = format!("only the link is stored, not what is in {target}");
            self.left_out.push((format!("{path}/"), why));
        }
        Ok(())
    }

    fn file(&mut self, path: &str, absolute: &Path, node: &Node) -> Result<(), Objection> {
        if archive::LARGEST_FILE < node.size {
            return Err("it has 64 GiB or more".to_owned());
        }
        let content = match self.kept(absolute, Place::OWN) {
            Some(content) => Ok(content),
            None => of_file(path, absolute, Place::OWN),
        };
        let content = match content {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error.source.to_string()),
        };
        self.add(path, 0o600 | (node.mode & 0o100), node.modified, content)?;
        self.captured(path, false);
        self.count(home::class(path), node.size);
        Ok(())
    }

    /// The databases that `sqlite_home` keeps outside the home.
    pub(super) fn databases_of(
        &mut self,
        folder: &Path,
        request: &Request,
    ) -> Result<(), BackupError> {
        let Some(names) = read::absent_is_none(read::names(folder))? else { return Ok(()) };
        let mut names: Vec<String> =
            names.into_iter().filter_map(|name| name.into_string().ok()).collect();
        names.sort();
        for name in names.iter().filter(|name| name.ends_with(".sqlite")) {
            let path = folder.join(name);
            let inside = format!("{OUTSIDE}/{name}");
            let Ok(Some(facts)) = Facts::at(&path) else { continue };
            if let Some(why) = not_wanted(name, request) {
                self.left_out.push((inside, why.to_owned()));
                continue;
            }
            if let Err(why) = self.outside(name, &inside, &path, &facts) {
                self.unreadable.push((inside, why));
                continue;
            }
            if name.parse().is_ok_and(|name| self.folded.has(&name)) {
                self.warnings.push(format!(
                    "{name} lies in the home and in {}: Codex uses the latter; both are stored",
                    folder.display()
                ));
            }
        }
        if self.items.iter().any(|item| item.name.as_str().starts_with(OUTSIDE))
            && let Err(why) = self.add(OUTSIDE, 0o700, 0, Content::Folder)
        {
            self.unreadable.push((OUTSIDE.to_owned(), why));
        }
        Ok(())
    }

    fn outside(
        &mut self,
        name: &str,
        inside: &str,
        path: &Path,
        facts: &Facts,
    ) -> Result<(), Objection> {
        let (bytes, modified) = (facts.size, facts.modified.0);
        let place = Place::at(path.to_owned());
        let content = match self.kept(path, place.clone()) {
            Some(content) => content,
            None => of_magic(path, place).map_err(|error| error.source.to_string())?,
        };
        self.add(inside, 0o600, modified, content)?;
        self.count(home::class(name), bytes);
        Ok(())
    }

    /// The file as what it was stored as before, if at a glance it did not change since.
    fn kept(&self, path: &Path, place: Place) -> Option<Content> {
        let (entry, is_database) = self.past.as_ref()?.glance(path)?;
        Some(Content::Kept { path: place, entry, is_database })
    }

    fn captured(&mut self, path: &str, is_folder: bool) {
        if !path.contains('/') {
            self.captured.insert(if is_folder { format!("{path}/") } else { path.to_owned() });
        }
    }

    fn count(&mut self, class: Class, bytes: u64) {
        let size = self.sizes.entry(class).or_default();
        size.files += 1;
        size.bytes = size.bytes.saturating_add(bytes);
    }

    /// Adds an item unless no archive could name it.
    fn add(
        &mut self,
        path: &str,
        mode: u32,
        modified: i64,
        content: Content,
    ) -> Result<(), Objection> {
        let name: EntryName = path.parse().map_err(|error: InvalidName| objection(&error))?;
        if archive::is_reserved(&name) {
            return Err("an archive needs that name for its own table of contents".to_owned());
        }
        if !self.folded.insert(&name) {
            return Err(
                "another name differs from it only in case or in the way it is encoded".to_owned()
            );
        }
        self.items.push(Item { name: ItemName::of(&name), mode, modified, content });
        Ok(())
    }

    /// The order of the archive: the login, our metadata, then by name; a folder comes before
    /// what it holds.
    pub(super) fn sort(&mut self) {
        self.items.sort_by(|a, b| place_of(a.name.as_str()).cmp(&place_of(b.name.as_str())));
    }
}

/// What the order of the archive goes by.
fn place_of(name: &str) -> (u8, &str) {
    let group = match name {
        CodexHome::AUTH => 0,
        name if name == OURS || name.starts_with(".codex-manager/") => 1,
        _ => 2,
    };
    (group, name)
}

/// What is wrong with a name.
fn objection(error: &InvalidName) -> Objection {
    error
        .reason
        .strip_prefix("it ")
        .map_or_else(|| error.reason.to_owned(), |rest| format!("its name {rest}"))
}

/// How a file of this name is to be stored.
pub(super) fn of_file(name: &str, path: &Path, place: Place) -> Result<Content, DiskError> {
    if home::is_json_lines(name) {
        return read::open_regular(path).map(|_| Content::Lines { path: place });
    }
    of_magic(path, place)
}

/// A file that is copied by SQLite if it begins like a database, else byte by byte.
fn of_magic(path: &Path, place: Place) -> Result<Content, DiskError> {
    if !database::looks_like_database(path)? {
        return Ok(Content::File { path: place });
    }
    let bytes = path.metadata().map_or(0, |facts| facts.len());
    Ok(Content::Database { path: place, bytes })
}

/// Whether a path, whatever its encoding, is of the part that a kind stores.
fn is_part(path: &Path, kind: Kind) -> bool {
    let is_login = path.starts_with(CodexHome::AUTH) || path.starts_with(CodexHome::LOGIN_SESSIONS);
    match kind {
        Kind::Full => true,
        Kind::Auth => is_login,
        Kind::State => !is_login,
    }
}

/// Whether an entry stays out of this snapshot; inside, the reason, unless nothing is lost by
/// it: a database's log is part of its copy, and a login alone leaves out everything else.
fn why_not(
    root: &Path,
    path: &str,
    node: &Node,
    request: &Request,
) -> Result<Option<Option<String>>, Objection> {
    if !is_part(&node.path, request.kind) {
        let is_worth_a_word = request.kind == Kind::State && path == CodexHome::LOGIN_SESSIONS;
        return Ok(Some(is_worth_a_word.then(|| "belongs to the login".to_owned())));
    }
    let is_folder = node.kind == NodeKind::Dir;
    if path == OURS || is_ours_for_now(path) {
        return Ok(Some(Some("belongs to codex-manager".to_owned())));
    }
    if node.kind == NodeKind::File && is_part_of_database(root, path)? {
        return Ok(Some(None));
    }
    match home::left_out(path, is_folder, node.size) {
        // By its name; whether it is one was just asked.
        Some(LeftOut::PartOfDatabase) | None => {}
        Some(why) => return Ok(Some(Some(why.to_string()))),
    }
    if path == CodexHome::AUTH {
        return Ok(None);
    }
    Ok(not_wanted(path, request).map(|why| Some(why.to_owned())))
}

/// Why the user does not want it.
fn not_wanted(path: &str, request: &Request) -> Option<&'static str> {
    if request.lean && home::is_dispensable(path) {
        return Some("left out by --lean");
    }
    let is_excluded = request.exclude.iter().any(|glob| glob.matches(path));
    is_excluded.then_some("excluded by the configuration or --exclude")
}

/// Whether a file is what SQLite keeps beside a database: the file it is named after begins like
/// one, or is a database that was never written to. A name alone proves nothing, and while that
/// file cannot be read nobody knows: a log that was stored as a file would meet the copy of its
/// database one day, and spoil it.
fn is_part_of_database(root: &Path, path: &str) -> Result<bool, Objection> {
    let Some(base) = home::named_after(path) else { return Ok(false) };
    let beside = root.join(base);
    let Some(facts) = beside.symlink_metadata().ok().filter(std::fs::Metadata::is_file) else {
        return Ok(false);
    };
    match database::looks_like_database(&beside) {
        Ok(is_database) => {
            let is_by_name = home::left_out(path, false, 1) == Some(LeftOut::PartOfDatabase);
            Ok(is_database || (is_by_name && facts.len() == 0))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(format!("whether it belongs to {base} is not known: {}", error.source)),
    }
}

/// Whether a top-level name is one of our own temporary ones.
fn is_ours_for_now(path: &str) -> bool {
    !path.contains('/')
        && path.starts_with(replace::TEMP_PREFIX)
        && [replace::TEMP_SUFFIX, replace::STAGING_SUFFIX].iter().any(|end| path.ends_with(end))
}

/// A relative path as text, with `/` between its parts; what is not UTF-8 is replaced.
fn shown(path: &Path) -> String {
    let text = path.to_string_lossy();
    if cfg!(windows) { text.replace('\\', "/") } else { text.into_owned() }
}

/// A path as lists tell it: folders end in `/`.
fn marked(path: &str, node: &Node) -> String {
    if node.kind == NodeKind::Dir { format!("{path}/") } else { path.to_owned() }
}
