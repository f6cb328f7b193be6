//! What does the made-up home hold, and what befalls it?
//!
//! The one place above `disk` that makes what only Codex makes otherwise: logins, sessions and
//! databases. All of it lies in a private folder of its own, which goes when the [`Stage`] does.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use serde_json::{Value, json};

use crate::cli::exit::{Exit, Failure};
use crate::disk::archive::{Archive, Limits};
use crate::disk::tree::{Kind, Visit};
use crate::disk::{read, replace, tree};
use crate::time::Zone;

/// Longer than anything that is made here, in bytes.
const CAP: u64 = 1 << 20;

/// The prompts that were typed.
const HISTORY: &str = "history.jsonl";

/// The databases, each with its table; both are written as Codex does, log ahead.
const STATE: &str = "state_5.sqlite";
const STATE_TABLE: &str = "CREATE TABLE threads (id TEXT PRIMARY KEY, rollout_path TEXT NOT NULL, \
     created_at INTEGER NOT NULL, title TEXT NOT NULL, creator_user_id TEXT)";
const MEMORIES: &str = "memories_1.sqlite";
const MEMORIES_TABLE: &str = "CREATE TABLE memories (thread_id TEXT PRIMARY KEY, memory TEXT)";

/// A user's home folder with a Codex home in it.
#[derive(Debug)]
pub(super) struct Stage {
    folder: PathBuf,
    zone: Zone,
    keep: bool,
}

/// Somebody with an account, by the first name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Person(pub(super) &'static str);

/// A session: who did what, when, and what the quota said afterwards.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work {
    pub(super) by: Person,
    pub(super) prompt: &'static str,
    pub(super) at: DateTime<Utc>,
    /// How much of the week is used, in percent.
    pub(super) used: f64,
    pub(super) week_resets_at: DateTime<Utc>,
}

/// The user's work as it can be read back.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Holdings {
    /// The session files and what is in them.
    pub(super) sessions: BTreeMap<PathBuf, Vec<u8>>,
    /// The session files that the rows of `threads` name, by thread.
    pub(super) threads: BTreeMap<String, PathBuf>,
    /// The rows of `memories`.
    pub(super) memories: BTreeMap<String, String>,
}

impl Stage {
    /// Makes the folder, below `temp` and the owner's alone, with an empty home in it.
    ///
    /// # Errors
    ///
    /// When `temp` is no folder or cannot be written; nothing is left then.
    pub(super) fn set(temp: &Path, zone: Zone, keep: bool) -> Result<Self, Failure> {
        if !temp.is_dir() {
            let missing =
                format!("{}, the place for temporary files, is no folder", temp.display());
            return Err(Failure::new(Exit::Failed, missing).hint("name another one with TMPDIR"));
        }
        let number = getrandom::u64()
            .map_err(|error| Failure::new(Exit::Failed, format!("no random name: {error}")))?;
        let folder = temp.join(format!("codex-manager-demo-{number:016x}"));
        if !replace::private_dir(&folder)? {
            let taken = format!("{} is there already", folder.display());
            return Err(Failure::new(Exit::Failed, taken));
        }
        let stage = Self { folder, zone, keep };
        replace::private_dir(&stage.codex(""))?;
        let config = b"model = \"gpt-5\"\ncli_auth_credentials_store = \"file\"\n";
        replace::write(&stage.codex("config.toml"), config)?;
        for (name, table) in [(STATE, STATE_TABLE), (MEMORIES, MEMORIES_TABLE)] {
            stage.write_row(name, table, &[])?;
        }
        Ok(stage)
    }

    /// The user's home folder, its links resolved.
    pub(super) fn folder(&self) -> PathBuf {
        self.folder.canonicalize().unwrap_or_else(|_| self.folder.clone())
    }

    /// Removes the folder, unless it is to be kept. Answers whether it is still there.
    ///
    /// # Errors
    ///
    /// When something in it cannot be removed.
    pub(super) fn strike(self) -> Result<bool, Failure> {
        if !self.keep {
            replace::remove_tree(&self.folder)?;
        }
        Ok(self.keep)
    }

    /// Signs somebody in, as `codex login` does.
    pub(super) fn sign_in(&self, person: Person, at: DateTime<Utc>) -> Result<(), Failure> {
        Ok(replace::write(&self.codex("auth.json"), &login(person, at))?)
    }

    /// Puts a file of the older tool into `~/old-logins`: a login whose week was found used up
    /// at `at`, named after the day on which the account may work again.
    pub(super) fn old_login(&self, person: Person, at: DateTime<Utc>) -> Result<(), Failure> {
        let folder = self.folder.join("old-logins");
        replace::private_dir(&folder)?;
        let available = at - TimeDelta::hours(2) + TimeDelta::days(7);
        let day = self.zone.wall(available).format("%d%b").to_string().to_lowercase();
        let file = folder.join(format!("{day}_{}_auth.json", person.email()));
        replace::write(&file, &login(person, at))?;
        Ok(replace::date(&file, SystemTime::from(at))?)
    }

    /// Leaves what a session leaves: its file, its row, a memory of it, and the prompt.
    pub(super) fn work(&self, work: &Work) -> Result<(), Failure> {
        let seconds = work.at.timestamp();
        // The form of the ids that Codex gives, made of what is known.
        let id = format!("{seconds:08x}-0000-7000-8000-{:012x}", work.prompt.len());
        let wall = self.zone.wall(work.at);
        let day = self.codex("sessions").join(wall.format("%Y/%m/%d").to_string());
        replace::private_dir(&day)?;
        let stamp = wall.format("%Y-%m-%dT%H-%M-%S");
        let file = day.join(format!("rollout-{stamp}-{id}.jsonl"));
        replace::write(&file, &rollout(&id, work))?;
        let rows = [id.clone(), file.to_string_lossy().into_owned()];
        let [id, path] = rows.each_ref().map(String::as_str);
        let (begun, user) = (seconds.to_string(), work.by.user_id());
        let row = "INSERT INTO threads VALUES (?1, ?2, ?3, ?4, ?5)";
        self.write_row(STATE, row, &[id, path, &begun, work.prompt, &user])?;
        let memory = format!("how {} was done", work.prompt);
        self.write_row(MEMORIES, "INSERT INTO memories VALUES (?1, ?2)", &[id, &memory])?;
        let typed = json!({ "session_id": id, "ts": seconds, "text": work.prompt });
        Ok(replace::append(&self.codex(HISTORY), typed.to_string().as_bytes())?)
    }

    /// Reads the work back: every session file, and every row through SQLite.
    ///
    /// # Errors
    ///
    /// When something that is there cannot be read; what is not there is no error.
    pub(super) fn holdings(&self) -> Result<Holdings, Failure> {
        let mut holdings = Holdings::default();
        let sessions = self.codex("sessions");
        if sessions.is_dir() {
            let nodes = tree::walk(&sessions, &mut |_| Visit::Take)?.nodes;
            for node in nodes.iter().filter(|node| node.kind == Kind::File) {
                let file = sessions.join(&node.path);
                let bytes = read::bounded(&file, CAP)?;
                holdings.sessions.insert(file, bytes);
            }
        }
        let threads = self.rows(STATE, "SELECT id, rollout_path FROM threads")?;
        holdings.threads = threads.into_iter().map(|(id, path)| (id, path.into())).collect();
        holdings.memories = self.rows(MEMORIES, "SELECT thread_id, memory FROM memories")?;
        Ok(holdings)
    }

    /// Takes the sessions and the databases away.
    pub(super) fn lose_work(&self) -> Result<(), Failure> {
        replace::remove_tree(&self.codex("sessions"))?;
        for name in [STATE, MEMORIES] {
            for end in ["", "-wal", "-shm"] {
                replace::remove_file(&self.codex(&format!("{name}{end}")))?;
            }
        }
        Ok(())
    }

    /// Turns one bit over in a person's archive, where the history of prompts is.
    pub(super) fn flip_a_bit(&self, person: Person) -> Result<(), Failure> {
        let backups = self.folder.join(".codex-manager/backups");
        let ending = format!("-{}-codex.tar.gz", person.email());
        let names = read::names(&backups)?;
        let stored = names.iter().find(|name| name.to_string_lossy().ends_with(&ending));
        let path = backups.join(stored.map_or_else(|| ending.as_ref(), OsString::as_os_str));
        let failed = |error| Failure::new(Exit::Failed, format!("no bit to flip: {error}"));
        let archive = Archive::open(&path, &Limits::default()).map_err(failed)?;
        let history = HISTORY.parse().ok().and_then(|name| archive.chunks(&name)?.first());
        let middle = history.map_or(0, |chunk| chunk.offset + chunk.member_size / 2);
        let mut bytes = read::bounded(&path, CAP)?;
        if let Some(byte) = usize::try_from(middle).ok().and_then(|at| bytes.get_mut(at)) {
            *byte ^= 1;
        }
        Ok(replace::write(&path, &bytes)?)
    }

    /// A path in the Codex home.
    fn codex(&self, name: &str) -> PathBuf {
        self.folder().join(".codex").join(name)
    }

    fn write_row(&self, database: &str, statement: &str, cells: &[&str]) -> Result<(), Failure> {
        let cells = rusqlite::params_from_iter(cells);
        let write = || open(&self.codex(database))?.execute(statement, cells);
        write().map(drop).map_err(|error| sqlite("write", database, &error))
    }

    fn rows(&self, database: &str, query: &str) -> Result<BTreeMap<String, String>, Failure> {
        let path = self.codex(database);
        if !path.exists() {
            return Ok(BTreeMap::new());
        }
        let read = || {
            let connection = open(&path)?;
            let mut statement = connection.prepare(query)?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<rusqlite::Result<_>>()
        };
        read().map_err(|error| sqlite("read", database, &error))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !self.keep {
            // On the way out of a failure, which is the thing to tell.
            drop(replace::remove_tree(&self.folder));
        }
    }
}

impl Person {
    pub(super) fn email(self) -> String {
        format!("{}@example.com", self.0)
    }

    fn user_id(self) -> String {
        format!("user-{}", self.0)
    }

    fn account_id(self) -> String {
        format!("account-{}", self.0)
    }
}

/// A database as Codex has it open and leaves it: rows stay in the log when it is closed.
fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0")?;
    Ok(connection)
}

fn sqlite(verb: &str, database: &str, error: &rusqlite::Error) -> Failure {
    Failure::new(Exit::Failed, format!("cannot {verb} {database}: {error}"))
}

/// An `auth.json` whose tokens are signed by nobody and open nothing.
fn login(person: Person, at: DateTime<Utc>) -> Vec<u8> {
    let issued = at.timestamp();
    let jwt = |hours: i64| {
        let claims = json!({
            "email": person.email(),
            "iat": issued,
            "exp": issued + hours * 3_600,
            "https://api.openai.com/auth": {
                "chatgpt_user_id": person.user_id(),
                "chatgpt_account_id": person.account_id(),
                "chatgpt_plan_type": "plus",
            },
        });
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let head = json!({ "alg": "none", "typ": "JWT" });
        format!("{}.{}.{}", part(&head), part(&claims), URL_SAFE_NO_PAD.encode("made up"))
    };
    let login = json!({
        "auth_mode": "chatgpt",
        "OPENAI_API_KEY": null,
        "tokens": {
            "id_token": jwt(1),
            "access_token": jwt(240),
            "refresh_token": format!("made-up-{}-{issued}", person.0),
            "account_id": person.account_id(),
        },
        "last_refresh": at.to_rfc3339_opts(SecondsFormat::Nanos, true),
    });
    format!("{login:#}").into_bytes()
}

/// A session file: who began it, what was asked, and what the quota said in the end.
fn rollout(id: &str, work: &Work) -> Vec<u8> {
    let at = work.at.to_rfc3339_opts(SecondsFormat::Millis, true);
    let event = |kind: &str, payload: Value| {
        json!({ "timestamp": at, "type": kind, "payload": payload }).to_string() + "\n"
    };
    let five_hours = work.at + TimeDelta::hours(3);
    let lines = [
        event(
            "session_meta",
            json!({
                "id": id,
                "timestamp": at,
                "cwd": "/home/user/project",
                "originator": "codex_cli",
                "cli_version": "0.169.0",
                "creator_user_id": work.by.user_id(),
                "creator_account_id": work.by.account_id(),
            }),
        ),
        event("event_msg", json!({ "type": "user_message", "message": work.prompt })),
        event(
            "event_msg",
            json!({
                "type": "token_count",
                "info": null,
                "rate_limits": {
                    "limit_id": "codex",
                    "primary": {
                        "used_percent": 21.0,
                        "window_minutes": 300,
                        "resets_at": five_hours.timestamp(),
                    },
                    "secondary": {
                        "used_percent": work.used,
                        "window_minutes": 10_080,
                        "resets_at": work.week_resets_at.timestamp(),
                    },
                },
            }),
        ),
    ];
    lines.concat().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(temp: &Path) -> Stage {
        let stage = Stage::set(temp, Zone::UTC, false).unwrap();
        let at = "2026-08-03T12:00:00Z".parse().unwrap();
        let (by, prompt) = (Person("ada"), "a test");
        stage.work(&Work { by, prompt, at, used: 3.0, week_resets_at: at }).unwrap();
        stage
    }

    #[test]
    fn rows_lie_in_the_log_and_not_in_the_database_file() {
        let temp = tempfile::tempdir().unwrap();
        let stage = stage(temp.path());
        assert_eq!(stage.holdings().unwrap().threads.len(), 1);
        for (name, table) in [(STATE, "threads"), (MEMORIES, "memories")] {
            assert!(stage.codex(&format!("{name}-wal")).metadata().unwrap().len() > 0);
            let alone = temp.path().join(name);
            std::fs::copy(stage.codex(name), &alone).unwrap();
            let count = format!("SELECT count(*) FROM {table}");
            let without_log = Connection::open(&alone).unwrap();
            let rows = without_log.query_row(&count, [], |row| row.get::<_, i64>(0));
            assert!(rows.is_err(), "even the table is in the log alone: {rows:?}");
        }
    }

    #[test]
    fn what_is_lost_is_missed() {
        let temp = tempfile::tempdir().unwrap();
        let stage = stage(temp.path());
        stage.lose_work().unwrap();
        assert_eq!(stage.holdings().unwrap(), Holdings::default());
    }

    #[test]
    fn the_folder_is_the_owners_alone_and_goes_with_the_stage() {
        let temp = tempfile::tempdir().unwrap();
        let stage = stage(temp.path());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = stage.folder().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700);
        }
        drop(stage);
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_place_that_is_no_folder_is_not_made() {
        let temp = tempfile::tempdir().unwrap();
        let absent = temp.path().join("absent");
        let failure = Stage::set(&absent, Zone::UTC, false).unwrap_err();
        assert!(failure.message.contains("absent") && failure.hint.is_some());
        assert!(!absent.exists());
    }
}
