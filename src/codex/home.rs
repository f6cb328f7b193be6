//! What does Codex keep in its home, and what of it is worth keeping?
//!
//! Paths are relative to the home, with `/`. The table follows Codex 0.118.0 to 0.169.0
//! (SPEC, "The state set"); what it does not know is the user's and therefore kept.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::disk::read::resolved;

/// The files and folders of a Codex home that the program names itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CodexHome {
    root: PathBuf,
}

impl CodexHome {
    /// The login file, relative to the home.
    pub const AUTH: &str = "auth.json";
    /// The configuration, relative to the home.
    pub const CONFIG: &str = "config.toml";
    /// The identity of the installation; it stays where it is.
    pub const INSTALLATION_ID: &str = "installation_id";
    /// Folder of what belongs to the login and is not in its file, relative to the home.
    pub const LOGIN_SESSIONS: &str = "account-sessions";
    /// Folders that hold session files.
    pub const SESSIONS: [&str; 2] = ["sessions", "archived_sessions"];

    /// The home at `root`, which is its resolved path.
    #[must_use]
    pub fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `auth.json`.
    #[must_use]
    pub fn auth(&self) -> PathBuf {
        self.root.join(Self::AUTH)
    }

    /// The file that Codex 0.166.0 and newer lock while they write `auth.json`.
    #[must_use]
    pub fn auth_lock(&self) -> PathBuf {
        self.root.join("auth.lock")
    }

    /// `config.toml`.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.root.join(Self::CONFIG)
    }

    /// `installation_id`.
    #[must_use]
    pub fn installation_id(&self) -> PathBuf {
        self.root.join(Self::INSTALLATION_ID)
    }

    /// The folder that Codex keeps its databases in when they are not at the top of the home:
    /// `sqlite_home` of `config.toml`, relative to the home, else what the environment says.
    /// Links and `..` are resolved as far as the folder exists, so that the answer lies where it
    /// seems to lie.
    ///
    /// A configuration that is no TOML moves nothing; Codex would not start with it.
    #[must_use]
    pub fn sqlite_home(&self, config_toml: &str, around: &Surroundings) -> Option<PathBuf> {
        let config = config_toml.parse::<toml_edit::DocumentMut>().ok();
        let named = config.as_ref().and_then(|table| table.get("sqlite_home")?.as_str());
        let folder = match (named.map(Path::new), &around.user_home) {
            (Some(named), Some(user)) if named.starts_with("~") => {
                user.join(named.strip_prefix("~").unwrap_or(named))
            }
            (Some(named), _) => self.root.join(named),
            (None, _) => around.sqlite_home.clone()?,
        };
        let folder = resolved(&folder);
        (folder != self.root).then_some(folder)
    }
}

/// Whether a folder may be somebody's Codex home, or part of one: it holds a login or sessions.
#[must_use]
pub fn may_be_one(folder: &Path) -> bool {
    let telling = [CodexHome::AUTH].into_iter().chain(CodexHome::SESSIONS);
    telling.into_iter().any(|name| folder.join(name).symlink_metadata().is_ok())
}

/// What outside a home says where Codex keeps its databases.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Surroundings {
    /// `CODEX_SQLITE_HOME`, absolute. Codex 0.169.0 asks it only where `config.toml` is silent.
    pub sqlite_home: Option<PathBuf>,
    /// What `~` stands for.
    pub user_home: Option<PathBuf>,
}

/// What an entry of the home is to its user.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// The login and what belongs to it.
    Login,
    /// Settings, instructions, skills.
    Config,
    /// Sessions and histories.
    Sessions,
    /// SQLite databases.
    Databases,
    /// Rebuilt or fetched again by Codex.
    Caches,
    /// Anything this table does not know.
    Other,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Login => "login",
            Self::Config => "config",
            Self::Sessions => "sessions",
            Self::Databases => "databases",
            Self::Caches => "caches",
            Self::Other => "other",
        })
    }
}

/// Why an entry is not part of the state set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LeftOut {
    /// Codex makes it anew.
    Rebuilt,
    /// It means something only on this machine and while Codex runs.
    HereAndNow,
    /// It is tied to its place and stays in the home.
    BoundToPlace,
    /// Named like a companion file of a database, whose copy would contain it. Who can look at
    /// the file it is named after decides by that.
    PartOfDatabase,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Rebuilt => "Codex rebuilds it",
            Self::HereAndNow => "valid only here and now",
            Self::BoundToPlace => "tied to its place",
            Self::PartOfDatabase => "part of its database",
        })
    }
}

/// Whether an entry stays out of every snapshot, and why. `path` is relative; `bytes` is the
/// length of a regular file.
#[must_use]
pub fn left_out(path: &str, is_folder: bool, bytes: u64) -> Option<LeftOut> {
    let (top, nested) = match path.split_once('/') {
        Some((top, _)) => (top, true),
        None => (path, false),
    };
    match top {
        "packages" if nested || is_folder => return Some(LeftOut::Rebuilt),
        "worktrees" if nested || is_folder => return Some(LeftOut::BoundToPlace),
        "app-server-control" | "app-server-daemon" | "tmp" | ".tmp" | "shell_snapshots"
            if nested || is_folder =>
        {
            return Some(LeftOut::HereAndNow);
        }
        _ if top.ends_with("-locks") && (nested || is_folder) => return Some(LeftOut::HereAndNow),
        _ => {}
    }
    if path == "skills/.system" || path.starts_with("skills/.system/") {
        return Some(LeftOut::Rebuilt);
    }
    if is_folder {
        return None;
    }
    if is_companion(path) {
        return Some(LeftOut::PartOfDatabase);
    }
    // A skill may carry a Cargo.lock: below the top level only an empty one is a mere lock.
    let is_lock = path.ends_with(".lock") && (!nested || bytes == 0);
    is_lock.then_some(LeftOut::HereAndNow)
}

/// Whether a file is named like the `-wal`, `-shm` or `-journal` of a database named `*.sqlite`,
/// `*.sqlite3` or `*.db`.
fn is_companion(path: &str) -> bool {
    let endings = [".sqlite", ".sqlite3", ".db"];
    named_after(path).is_some_and(|base| endings.iter().any(|ending| base.ends_with(ending)))
}

/// The file that a `-wal`, `-shm` or `-journal` would belong to, if that is a database.
#[must_use]
pub fn named_after(path: &str) -> Option<&str> {
    ["-wal", "-shm", "-journal"].iter().find_map(|tail| path.strip_suffix(tail))
}

/// Sorts an entry of the state set into its class, by its relative path.
#[must_use]
pub fn class(path: &str) -> Class {
    let top = path.split('/').next().unwrap_or(path);
    match top {
        CodexHome::AUTH | CodexHome::LOGIN_SESSIONS => Class::Login,
        "sessions"
        | "archived_sessions"
        | "session_index.jsonl"
        | "history.jsonl"
        | "memories"
        | "attachments"
        | "generated_images" => Class::Sessions,
        "hooks.json" | "AGENTS.md" | "prompts" | "rules" | "skills" | "agents" | "themes"
        | ".env" | ".credentials.json" | "secrets" => Class::Config,
        "models_cache.json" | "version.json" | "log" | "plugins" => Class::Caches,
        _ if top.ends_with(".config.toml") || top == CodexHome::CONFIG => Class::Config,
        _ if top.starts_with("cloud-") && top.ends_with("-cache.json") => Class::Caches,
        _ if is_database_name(top) && is_cache_database(top) => Class::Caches,
        _ if is_database_name(top) => Class::Databases,
        _ => Class::Other,
    }
}

/// Whether `--lean` leaves an entry of the state set out: what Codex writes anew by itself.
#[must_use]
pub fn is_dispensable(path: &str) -> bool {
    class(path) == Class::Caches
}

fn is_database_name(name: &str) -> bool {
    name.ends_with(".sqlite")
}

/// The log and the index of session texts; both are derived.
fn is_cache_database(name: &str) -> bool {
    name.starts_with("logs_") || name.starts_with("thread_history_")
}

/// Whether a file holds one JSON document per line and is only ever appended to.
#[must_use]
pub fn is_json_lines(path: &str) -> bool {
    path.ends_with(".jsonl")
}

/// The database that stores absolute paths of session files, by its relative path.
#[must_use]
pub fn is_thread_index(path: &str) -> bool {
    !path.contains('/') && path.starts_with("state_") && is_database_name(path)
}

/// Where the thread index keeps those paths: table and column.
pub const THREAD_PATHS: (&str, &str) = ("threads", "rollout_path");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn what_holds_only_here_and_now_stays_out() {
        // path, folder?, bytes, reason
        check("packages",                         true,  0,   Some(LeftOut::Rebuilt));
        check("packages/x/current",               false, 9,   Some(LeftOut::Rebuilt));
        check("packages",                         false, 9,   None); // a file of that name is somebody's
        check("app-server-control/x.sock",        false, 0,   Some(LeftOut::HereAndNow));
        check("app-server-daemon",                true,  0,   Some(LeftOut::HereAndNow));
        check("tmp/arg0/x",                       false, 1,   Some(LeftOut::HereAndNow));
        check(".tmp",                             true,  0,   Some(LeftOut::HereAndNow));
        check("shell_snapshots",                  true,  0,   Some(LeftOut::HereAndNow));
        check("worktrees/ab12/repo/file",         false, 1,   Some(LeftOut::BoundToPlace));
        check("skills/.system",                   true,  0,   Some(LeftOut::Rebuilt));
        check("skills/mine/SKILL.md",             false, 1,   None);
        check("skills/mine/Cargo.lock",           false, 1,   None);
        check("skills/mine/.lock",                false, 0,   Some(LeftOut::HereAndNow));
        check("auth.lock",                        false, 0,   Some(LeftOut::HereAndNow));
        check(".sqlite-maintenance.lock",         false, 3,   Some(LeftOut::HereAndNow));
        check("session_index.jsonl.lock",         false, 0,   Some(LeftOut::HereAndNow));
        check("thread-writer-locks",              true,  0,   Some(LeftOut::HereAndNow));
        check("thread-writer-locks/a.lock",       false, 0,   Some(LeftOut::HereAndNow));
        check("state_5.sqlite-wal",               false, 9,   Some(LeftOut::PartOfDatabase));
        check("state_5.sqlite-shm",               false, 9,   Some(LeftOut::PartOfDatabase));
        check("notes-wal",                        false, 9,   None);
        check("state_5.sqlite",                   false, 9,   None);
        check("sessions",                         true,  0,   None);
        check("never-seen-before/x",              false, 1,   None);
    }

    #[test]
    #[rustfmt::skip]
    fn a_companion_is_named_after_its_database() {
        for (path, expected) in [
            ("state_5.sqlite-wal", Some("state_5.sqlite")), ("a/b-shm", Some("a/b")),
            ("x-journal", Some("x")), ("state_5.sqlite", None), ("wal", None),
        ] {
            assert_eq!(named_after(path), expected, "{path}");
        }
    }

    #[track_caller]
    fn check(path: &str, is_folder: bool, bytes: u64, expected: Option<LeftOut>) {
        assert_eq!(left_out(path, is_folder, bytes), expected, "{path}");
    }

    #[test]
    #[rustfmt::skip]
    fn every_entry_of_a_real_home_has_its_class() {
        for (path, expected) in [
            ("auth.json", Class::Login), ("config.toml", Class::Config), ("work.config.toml", Class::Config),
            ("sessions/2026/11/21/rollout-x.jsonl", Class::Sessions), ("history.jsonl", Class::Sessions),
            ("state_5.sqlite", Class::Databases), ("memories_1.sqlite", Class::Databases),
            ("logs_2.sqlite", Class::Caches), ("thread_history_1.sqlite", Class::Caches),
            ("models_cache.json", Class::Caches), ("cloud-config-bundle-cache.json", Class::Caches),
            ("installation_id", Class::Other), ("what-is-this", Class::Other),
            ("skills/mine/x.sqlite", Class::Config),
        ] {
            assert_eq!(class(path), expected, "{path}");
        }
    }

    #[test]
    fn the_databases_may_live_elsewhere() {
        let home = CodexHome::at("/h/.codex".into());
        let around = Surroundings { sqlite_home: None, user_home: Some("/h".into()) };
        let at = |toml: &str| home.sqlite_home(toml, &around);
        assert_eq!(at("sqlite_home = \"/data/db\""), Some("/data/db".into()));
        assert_eq!(at("sqlite_home = \"db\""), Some("/h/.codex/db".into()));
        assert_eq!(at("sqlite_home = \"~/db\""), Some("/h/db".into()));
        assert_eq!(at("sqlite_home = \"/h/.codex\""), None);
        assert_eq!(at("sqlite_home = \"../db\""), Some("/h/db".into()));
        assert_eq!(at("sqlite_home = \"../.codex/db\""), Some("/h/.codex/db".into()));
        assert_eq!(at("sqlite_home = \"x/..\""), None);
        assert_eq!(at("model = \"x\""), None);
        assert_eq!(at("= broken"), None);

        // As Codex does it: the configuration stands above the environment.
        let around = Surroundings { sqlite_home: Some("/env/db".into()), ..around };
        let at = |toml: &str| home.sqlite_home(toml, &around);
        assert_eq!(at("model = \"x\""), Some("/env/db".into()));
        assert_eq!(at("sqlite_home = \"/data/db\""), Some("/data/db".into()));
    }
}
