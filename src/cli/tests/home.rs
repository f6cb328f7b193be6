//! A user's folder in which command lines are played, with little in it.
//!
//! What `tests/it` plays its evenings in knows many more words; this one is made anew thousands
//! of times, in a build in which the disk can fail.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cli;
use crate::world::{Terminals, World};

/// A folder with a Codex home in `.codex` and a manager home in `.codex-manager`.
pub(super) struct Home {
    folder: TempDir,
    now: DateTime<Utc>,
}

/// What one command line left behind.
pub(super) struct Seen {
    /// The exit code.
    pub(super) exit: u8,
    /// Both streams; this folder is `~` in it.
    pub(super) screen: String,
}

impl Home {
    /// An empty folder on a Saturday at ten.
    pub(super) fn new() -> Self {
        let mut builder = tempfile::Builder::new();
        builder.prefix("home-");
        // In memory, if the system has such a place: what is looked at is order, not speed.
        let folder = builder.tempdir_in("/dev/shm").or_else(|_| builder.tempdir()).unwrap();
        Self { folder, now: "2026-11-21T10:00:00Z".parse().unwrap() }
    }

    pub(super) fn root(&self) -> &Path {
        self.folder.path()
    }

    /// Lets hours pass.
    pub(super) fn later(self, hours: i64) -> Self {
        Self { now: self.now + TimeDelta::hours(hours), ..self }
    }

    /// Puts the clock to an instant.
    pub(super) fn set_clock(&mut self, now: DateTime<Utc>) {
        self.now = now;
    }

    /// A file, the folders in front of it included, written just now.
    pub(super) fn file(self, path: &str, bytes: impl AsRef<[u8]>) -> Self {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        self.date(&path);
        self
    }

    /// That account has just signed in.
    pub(super) fn signed_in(self, name: &str) -> Self {
        let login = login(name, self.now);
        self.file(".codex/auth.json", login)
    }

    /// A session of that account, and the database that names it, whose row is in the log only.
    pub(super) fn session(self, name: &str) -> Self {
        let stamp = self.now.to_rfc3339();
        let lines = [
            json!({"timestamp": stamp, "type": "session_meta", "payload": {
                "id": "019aa000-0000-7000-8000-000000000001", "timestamp": stamp,
                "cwd": "/home/user", "cli_version": "0.169.0",
                "creator_user_id": format!("user-{name}"),
                "creator_account_id": format!("acct-{name}"),
            }}),
            json!({"timestamp": stamp, "type": "event_msg", "payload": {
                "type": "token_count", "info": null, "rate_limits": {
                    "limit_id": "codex", "plan_type": "plus",
                    "secondary": {"used_percent": 40.0, "window_minutes": 10_080,
                        "resets_at": (self.now + TimeDelta::days(5)).timestamp()},
                },
            }}),
        ];
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let rollout = ".codex/sessions/2026/11/21/rollout-2026-11-21T10-00-00-019aa000-0000-7000-8000-000000000001.jsonl";
        let home = self.file(rollout, text);
        let database = home.root().join(".codex/state_5.sqlite");
        let db = Connection::open(&database).unwrap();
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
        db.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;
             CREATE TABLE threads (id TEXT PRIMARY KEY, rollout_path TEXT NOT NULL);
             PRAGMA wal_checkpoint(TRUNCATE);",
        )
        .unwrap();
        let path = home.root().join(rollout).display().to_string();
        db.execute("INSERT INTO threads VALUES ('one', ?1)", [path]).unwrap();
        db.close().unwrap();
        for tail in ["", "-wal", "-shm"] {
            home.date(&home.root().join(format!(".codex/state_5.sqlite{tail}")));
        }
        home
    }

    /// A login file of the older tool in `legacy`, last changed a week before it names a day.
    pub(super) fn legacy(self, name: &str) -> Self {
        let at = "2026-04-14T17:55:00Z".parse().unwrap();
        let path = format!("legacy/21apr_{name}@example.com_auth.json");
        let before = self.now;
        let home = Self { now: at, ..self }.file(&path, login(name, at));
        Self { now: before, ..home }
    }

    /// Plays a command line, without the program's name; `~/` is this folder.
    pub(super) fn play(&self, line: &str) -> Seen {
        let root = self.root().to_str().unwrap();
        let words = line.split(' ').map(|word| word.replace("~/", &format!("{root}/")));
        let words: Vec<OsString> =
            ["codex-manager".to_owned()].into_iter().chain(words).map(OsString::from).collect();
        let screen = Screen::default();
        let world = World {
            now: self.now,
            environment: BTreeMap::new(),
            user_home: Some(self.root().to_owned()),
            folder: self.root().to_owned(),
            host: Some("desk".to_owned()),
            system_zone: None,
            input: Box::new(io::empty()),
            out: Box::new(screen.clone()),
            err: Box::new(screen.clone()),
            terminals: Terminals::default(),
            width: None,
            interrupted: Arc::new(AtomicBool::new(false)),
            clock: crate::world::patient_clock(),
        };
        let exit = cli::run(&words, world).code();
        let said = String::from_utf8(screen.0.lock().unwrap().clone()).unwrap();
        Seen { exit, screen: said.replace(root, "~") }
    }

    fn date(&self, path: &Path) {
        let seconds = u64::try_from(self.now.timestamp()).unwrap();
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        File::options().append(true).open(path).unwrap().set_modified(at).unwrap();
    }
}

/// An `auth.json` as Codex writes it.
fn login(name: &str, at: DateTime<Utc>) -> String {
    let claims = json!({
        "email": format!("{name}@example.com"), "iat": at.timestamp(),
        "exp": at.timestamp() + 864_000,
        "https://api.openai.com/auth": {
            "chatgpt_user_id": format!("user-{name}"),
            "chatgpt_account_id": format!("acct-{name}"), "chatgpt_plan_type": "plus",
        },
    });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let token = format!("{}.{}.made-up", part(&json!({"alg": "none"})), part(&claims));
    let file = json!({
        "auth_mode": "chatgpt",
        "OPENAI_API_KEY": null,
        "tokens": {
            "id_token": token, "access_token": token,
            "refresh_token": format!("rt_{name}_{}.made-up", at.timestamp()),
            "account_id": format!("acct-{name}"),
        },
        "last_refresh": at.to_rfc3339(),
    });
    format!("{file:#}")
}

/// What was written, to either stream.
#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
