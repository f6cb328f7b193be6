//! What of a home belongs into its snapshot, and what can be stored?

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use super::{BackupError, Content, Item, OURS, OUTSIDE, Request, Size};
use crate::codex::auth::AuthFile;
use crate::codex::home::{self, Class, CodexHome, LeftOut};
use crate::disk::archive::EntryName;
use crate::disk::tree::{self, Kind as NodeKind, Node, Visit};
use crate::disk::{database, read, replace};
use crate::snapshot::metadata::Kind;

/// What was found in the home so far.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) items: Vec<Item>,
    names: BTreeSet<String>,
    folded: BTreeSet<String>,
    pub(super) captured: BTreeSet<String>,
    pub(super) left_out: Vec<(String, String)>,
    pub(super) unreadable: Vec<(String, String)>,
    pub(super) sizes: BTreeMap<Class, Size>,
    pub(super) warnings: Vec<String>,
}

impl Gathered {
    /// The login's bytes were read when they stood still; they are stored as they were then.
    pub(super) fn login(&mut self, home: &CodexHome, request: &Request, login: Option<&AuthFile>) {
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

    pub(super) fn walk(&mut self, root: &Path, request: &Request) -> Result<(), BackupError> {
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
    pub(super) fn databases_of(
        &mut self,
        folder: &Path,
        request: &Request,
    ) -> Result<(), BackupError> {
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
    pub(super) fn add(&mut self, path: &str, mode: u32, modified: i64, content: Content) -> bool {
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
    pub(super) fn sort(&mut self) {
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
