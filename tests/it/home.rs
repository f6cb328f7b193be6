//! Where does an evening at the keyboard take place?
//!
//! A [`TestHome`] is the user's folder of one test: a Codex home in `~/.codex`, a manager home in
//! `~/.codex-manager`, a fixed instant, no environment. Each word of the builder adds one fact;
//! [`TestHome::run`] plays a command line and answers with what a person would have seen.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Cursor, Write};
use std::path::{Path, PathBuf};
#[cfg(unix)]
use std::process::{Command, Output, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use codex_manager::cli;
use codex_manager::world::{Terminals, World};
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::canaries::{self, token_in};

/// A user's folder of the test's own.
///
/// When the test is over, no made-up token is anywhere but in Codex homes, archives, what was
/// replaced and is kept for `undo`, and where the test itself put one.
pub(crate) struct TestHome {
    /// Removes the folder when the test is over.
    _folder: TempDir,
    root: PathBuf,
    now: Cell<DateTime<Utc>>,
    environment: RefCell<BTreeMap<OsString, OsString>>,
    input: RefCell<Vec<u8>>,
    width: Cell<Option<usize>>,
    sessions: Cell<u32>,
    /// Where tokens may be, below `root`.
    token_places: RefCell<BTreeSet<PathBuf>>,
}

/// What one command line left behind.
pub(crate) struct Seen {
    /// Standard output.
    pub(crate) out: String,
    /// Both streams as a person sees them.
    pub(crate) screen: String,
    /// The exit code.
    pub(crate) exit: u8,
}

impl TestHome {
    /// An empty folder at an instant in RFC 3339, in Berlin.
    pub(crate) fn at(now: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("home-").tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let now = Cell::new(instant(now));
        let home = Self {
            _folder: folder,
            root,
            now,
            environment: RefCell::default(),
            input: RefCell::default(),
            width: Cell::new(None),
            sessions: Cell::new(0),
            token_places: RefCell::default(),
        };
        let home = home.tokens_in(".codex").tokens_in(".codex-manager/undo");
        home.variable("TZ", "Europe/Berlin")
    }

    /// Ada on a Saturday at eleven in Berlin: signed in, 60% of the week left, a database, a
    /// configuration.
    pub(crate) fn of_ada() -> Self {
        Self::at("2026-11-21T10:00:00Z")
            .signed_in("ada@example.com")
            .session("ada@example.com", (12.0, "+2h"), (40.0, "2026-11-26T10:02:00+01:00"))
            .database("state_5.sqlite")
            .file(".codex/config.toml", "model = \"gpt-5\"\n")
    }

    // What is so before a command line is played.

    /// Sets an environment variable.
    pub(crate) fn variable(self, name: &str, value: &str) -> Self {
        self.environment.borrow_mut().insert(name.into(), value.into());
        self
    }

    /// The system's zone.
    pub(crate) fn zone(self, name: &str) -> Self {
        self.variable("TZ", name)
    }

    /// Columns of the terminal; without this word there is none, as in a pipe.
    pub(crate) fn columns(self, count: usize) -> Self {
        self.width.set(Some(count));
        self
    }

    /// What the next command line finds on its standard input.
    pub(crate) fn typed(self, text: impl AsRef<[u8]>) -> Self {
        *self.input.borrow_mut() = text.as_ref().to_vec();
        self
    }

    /// Puts the clock to an instant in RFC 3339.
    pub(crate) fn now(self, at: &str) -> Self {
        self.now.set(instant(at));
        self
    }

    /// Lets time pass: `+90s`, `+5m`, `+3h`, `+2d`.
    pub(crate) fn later(self, span: &str) -> Self {
        self.now.set(self.moment(span));
        self
    }

    /// A ChatGPT account with a Plus plan has just signed in. Its ids follow from the address.
    pub(crate) fn signed_in(self, email: &str) -> Self {
        let (user, workspace) = ids(email);
        let at = self.now.get().to_rfc3339();
        self.signed_in_as(email, &user, &workspace, &format!("rt_{}", slug(email)), &at)
    }

    /// Signs in with all that tells one login from another. `last_refresh` is RFC 3339; the tokens
    /// are of that instant.
    pub(crate) fn signed_in_as(
        self,
        email: &str,
        user: &str,
        workspace: &str,
        refresh_token: &str,
        last_refresh: &str,
    ) -> Self {
        let bytes = login(email, user, workspace, refresh_token, last_refresh);
        let home = self.file(".codex/auth.json", bytes);
        if home.codex(".env").exists() {
            return home;
        }
        home.file(".codex/.env", canaries::variables())
            .file(".codex/.credentials.json", canaries::credentials())
    }

    /// Tokens may be in this file or folder below the user's: the test puts them there, or lets a
    /// command do so. Where `--to` and `--codex-home` lead they may be without this word.
    pub(crate) fn tokens_in(self, path: &str) -> Self {
        self.token_places.borrow_mut().insert(Path::new(path).components().collect());
        self
    }

    /// A session of that account, which ended just now: how much of each window it had used by
    /// then, in percent, and when each resets (RFC 3339, or `+2h` from now).
    pub(crate) fn session(
        self,
        email: &str,
        (used_5h, resets_5h): (f64, &str),
        (used_week, resets_week): (f64, &str),
    ) -> Self {
        let (user, workspace) = ids(email);
        let now = self.now.get();
        let number = self.sessions.get() + 1;
        self.sessions.set(number);
        let id = format!("019aa000-0000-7000-8000-{number:012x}");
        let began = now - TimeDelta::minutes(10);
        let stamp = |at: DateTime<Utc>| at.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
        let reset = |text: &str| self.moment(text).timestamp();
        let lines = [
            json!({"timestamp": stamp(began), "type": "session_meta", "payload": {
                "id": id, "timestamp": stamp(began), "cwd": "/home/user/project",
                "originator": "codex_cli_rs", "cli_version": "0.169.0",
                "creator_user_id": user, "creator_account_id": workspace,
            }}),
            json!({"timestamp": stamp(began), "type": "event_msg", "payload": {
                "type": "user_message", "message": "what is left to do?",
            }}),
            json!({"timestamp": stamp(now), "type": "event_msg", "payload": {
                "type": "token_count", "info": null, "rate_limits": {
                    "limit_id": "codex",
                    "primary": {"used_percent": used_5h, "window_minutes": 300, "resets_at": reset(resets_5h)},
                    "secondary": {"used_percent": used_week, "window_minutes": 10_080, "resets_at": reset(resets_week)},
                    "plan_type": "plus",
                },
            }}),
        ];
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let day = began.format("%Y/%m/%d");
        let name = began.format("rollout-%Y-%m-%dT%H-%M-%S");
        self.file(&format!(".codex/sessions/{day}/{name}-{id}.jsonl"), text)
    }

    /// A real database of Codex in WAL mode, whose last row is only in the `-wal`: one row for
    /// each session so far, as in `state_5.sqlite`.
    pub(crate) fn database(self, name: &str) -> Self {
        let path = self.codex(name);
        create_dir(path.parent().unwrap());
        let db = Connection::open(&path).unwrap();
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
        db.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;
             CREATE TABLE threads (id TEXT PRIMARY KEY, rollout_path TEXT NOT NULL, title TEXT);
             PRAGMA wal_checkpoint(TRUNCATE);",
        )
        .unwrap();
        let mut rollouts: Vec<String> =
            self.codex_files().lines().filter(|name| is_rollout(name)).map(str::to_owned).collect();
        rollouts.sort();
        for (number, rollout) in rollouts.iter().enumerate() {
            let rollout = self.codex(rollout).display().to_string();
            db.execute(
                "INSERT INTO threads VALUES (?1, ?2, 'what is left to do?')",
                (format!("thread-{number}"), rollout),
            )
            .unwrap();
        }
        db.close().unwrap();
        assert!(rollouts.is_empty() || 0 < size(&beside(&path, "-wal")), "the log holds the rows");
        for path in [path.clone(), beside(&path, "-wal"), beside(&path, "-shm")] {
            set_mtime(&path, self.now.get());
        }
        self
    }

    /// One more row in a database of Codex, which is in its `-wal` only.
    pub(crate) fn row(self, name: &str) -> Self {
        let path = self.codex(name);
        let written = fs::metadata(&path).unwrap().modified().unwrap();
        let db = Connection::open(&path).unwrap();
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
        db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;").unwrap();
        let rollout = self.codex("sessions/none.jsonl").display().to_string();
        db.execute("INSERT INTO threads VALUES ('one more', ?1, 'and now?')", [rollout]).unwrap();
        db.close().unwrap();
        File::options().append(true).open(&path).unwrap().set_modified(written).unwrap();
        for tail in ["-wal", "-shm"] {
            set_mtime(&beside(&path, tail), self.now.get());
        }
        self
    }

    /// A file below the user's folder, the folders in front of it included, written just now.
    pub(crate) fn file(self, path: &str, bytes: impl AsRef<[u8]>) -> Self {
        let path = self.path(path);
        create_dir(path.parent().unwrap());
        fs::write(&path, bytes).unwrap();
        set_mtime(&path, self.now.get());
        self
    }

    /// A link below the user's folder.
    #[cfg(unix)]
    pub(crate) fn link(self, path: &str, target: &str) -> Self {
        let path = self.path(path);
        create_dir(path.parent().unwrap());
        std::os::unix::fs::symlink(target, path).unwrap();
        self
    }

    /// A login file of the older tool in `~/legacy`, such as `21apr_x@example.com_auth.json`,
    /// last changed at an instant in RFC 3339. What it holds belongs to the address in its name.
    pub(crate) fn legacy_auth(self, name: &str, mtime: &str) -> Self {
        let email = name.split_once('_').and_then(|(_, rest)| rest.strip_suffix("_auth.json"));
        let bytes = match email {
            Some(email) => {
                let (user, workspace) = ids(email);
                login(email, &user, &workspace, &format!("rt_{}", slug(email)), mtime)
            }
            None => "{}".to_owned(),
        };
        let path = format!("legacy/{name}");
        let home = self.file(&path, bytes).tokens_in(&path);
        set_mtime(&home.path(&path), instant(mtime));
        home
    }

    /// A Codex on PATH: a shell script of these lines. It is written by another process, since a
    /// file that a fork of ours still holds open cannot be run.
    #[cfg(unix)]
    pub(crate) fn codex_program(self, lines: &str) -> Self {
        create_dir(&self.path("bin"));
        let script = "printf '#!/bin/sh\\n%s\\n' \"$1\" > bin/codex && chmod 755 bin/codex";
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", script, "sh", lines]).current_dir(&self.root);
        assert!(shell.status().unwrap().success());
        let home = self.root.display().to_string();
        let path = format!("{home}/bin:/usr/bin:/bin");
        self.variable("PATH", &path).variable("HOME", &home)
    }

    /// A setting, made with the command a person would use.
    #[track_caller]
    pub(crate) fn config(self, key: &str, value: &str) -> Self {
        let seen = self.play(&format!("config set '{key}' '{value}'"));
        assert_eq!(seen.exit, 0, "{}", seen.screen);
        self
    }

    /// A store that codex-manager 1.0.0 or 23.0.0 left behind, as the manager home.
    pub(crate) fn legacy_store(self, version: &str) -> Self {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/legacy").join(version);
        copy_dir(&from, &self.manager(""));
        self
    }

    // Playing.

    /// Plays a command line, without the program's name; what a person would have seen, this
    /// folder's path written as `~`. Words are split as a shell does, with quotes.
    #[track_caller]
    pub(crate) fn run(&self, line: &str) -> String {
        let seen = self.play(line);
        let code = if seen.exit == 0 { String::new() } else { format!("(exit {})\n", seen.exit) };
        format!("$ codex-manager {line}\n{}{code}", seen.screen)
    }

    /// Plays a command line with `--json`; the one document it prints, whether it went well or
    /// not.
    #[track_caller]
    pub(crate) fn json(&self, line: &str) -> Value {
        let seen = self.play(&format!("{line} --json"));
        let value: Value = serde_json::from_str(&seen.out)
            .unwrap_or_else(|error| panic!("{error}: not one JSON document:\n{}", seen.screen));
        assert_eq!(seen.screen, seen.out, "nothing but the document is said");
        assert_eq!(value["ok"].as_bool(), Some(value["error"].is_null()));
        value
    }

    /// Plays a command line and keeps everything apart.
    #[track_caller]
    pub(crate) fn play(&self, line: &str) -> Seen {
        let mut words = vec![OsString::from("codex-manager")];
        words.extend(split(line).into_iter().map(OsString::from));
        self.expect_tokens(&words);
        let screen = Screen::default();
        let stream = |is_result| Box::new(Stream { screen: screen.clone(), is_result });
        let world = World {
            now: self.now.get(),
            environment: self.environment.borrow().clone(),
            user_home: Some(self.root.clone()),
            folder: self.root.clone(),
            host: Some("desk".to_owned()),
            system_zone: None,
            input: Box::new(Cursor::new(self.input.take())),
            out: stream(true),
            err: stream(false),
            terminals: Terminals::default(),
            width: self.width.get(),
            interrupted: Arc::new(AtomicBool::new(false)),
            clock: codex_manager::world::patient_clock(),
        };
        let exit = cli::run(&words, world).code();
        let said = screen.0.lock().unwrap();
        assert_silent(&said.iter().flat_map(|(_, bytes)| bytes.clone()).collect::<Vec<u8>>());
        let all = self.tilde(said.iter().map(|(_, bytes)| bytes.as_slice()));
        let out = self.tilde(said.iter().filter(|(out, _)| *out).map(|(_, b)| b.as_slice()));
        assert!(!all.contains("\u{1b}"), "colour without a terminal:\n{all}");
        Seen { out, screen: all, exit }
    }

    /// The program as a process of its own, with nothing of this process's environment. What it
    /// prints is for [`Self::heard`] to search.
    #[cfg(unix)]
    pub(crate) fn program(&self, words: &[&str]) -> Command {
        self.expect_tokens(&words.iter().map(OsString::from).collect::<Vec<_>>());
        program(&self.root, words)
    }

    /// Runs the program as a process of its own to its end; no token is in what it printed.
    #[cfg(unix)]
    #[track_caller]
    pub(crate) fn heard(&self, words: &[&str]) -> Output {
        let output = self.program(words).output().unwrap();
        assert_silent(&output.stdout);
        assert_silent(&output.stderr);
        output
    }

    /// Like [`Self::heard`], under a mask that takes these modes (octal) away from new files.
    #[cfg(unix)]
    #[track_caller]
    pub(crate) fn masked(&self, mask: &str, words: &[&str]) -> Output {
        let program = self.program(words);
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("umask {mask}; exec \"$0\" \"$@\"")]);
        shell.arg(program.get_program()).args(program.get_args());
        shell.env_clear().envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = shell.current_dir(&self.root).stdin(Stdio::null()).output().unwrap();
        assert_silent(&output.stdout);
        assert_silent(&output.stderr);
        output
    }

    /// Where a command line says that a Codex home is or shall be, tokens may be.
    fn expect_tokens(&self, words: &[OsString]) {
        let places = words.windows(2).filter(|pair| pair[0] == "--to" || pair[0] == "--codex-home");
        for pair in places {
            let place = match Path::new(&pair[1]).strip_prefix("~") {
                Ok(rest) => rest.to_owned(),
                Err(_) => PathBuf::from(&pair[1]),
            };
            let place = place.strip_prefix(&self.root).unwrap_or(&place);
            let place: PathBuf = place.strip_prefix(".").unwrap_or(place).components().collect();
            self.token_places.borrow_mut().insert(place);
        }
    }

    fn tilde<'a>(&self, said: impl Iterator<Item = &'a [u8]>) -> String {
        let bytes: Vec<u8> = said.flatten().copied().collect();
        let text = String::from_utf8(bytes).expect("output is UTF-8");
        vague_sizes(&text.replace(self.root.to_str().unwrap(), "~"))
    }

    // Looking.

    /// A path below the user's folder.
    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    /// A path below the Codex home.
    pub(crate) fn codex(&self, below: &str) -> PathBuf {
        self.root.join(".codex").join(below)
    }

    /// A path below the manager home.
    pub(crate) fn manager(&self, below: &str) -> PathBuf {
        self.root.join(".codex-manager").join(below)
    }

    /// What a file below the user's folder holds.
    #[track_caller]
    pub(crate) fn read(&self, below: &str) -> Vec<u8> {
        let path = self.path(below);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The files of the manager home, one a line; folders only where they are empty. What is
    /// remembered of a Codex home is left out: it is called after where that lies, which is elsewhere
    /// in every run, and it may be gone at any time.
    pub(crate) fn files(&self) -> String {
        let is_cache = |line: &str| {
            line == "glimpses.cache" || line.starts_with("files-") && line.ends_with(".cache")
        };
        listing(&self.manager(""))
            .split_inclusive('\n')
            .filter(|it| !is_cache(it.trim_end()))
            .collect()
    }

    /// The files of the Codex home, one a line; folders only where they are empty.
    pub(crate) fn codex_files(&self) -> String {
        listing(&self.codex(""))
    }

    /// Everything about a folder below the user's: names, kinds, modes, mtimes and bytes, to be
    /// compared with another look.
    pub(crate) fn tree(&self, below: &str) -> BTreeMap<String, Node> {
        let mut tree = BTreeMap::new();
        look(&self.path(below), Path::new(""), &mut tree);
        tree.into_iter().map(|(name, node)| (slashes(&name), node)).collect()
    }

    /// Nothing about a folder below the user's is other than it was.
    #[track_caller]
    pub(crate) fn assert_same(&self, below: &str, before: &BTreeMap<String, Node>) {
        let after = self.tree(below);
        let names = before.keys().chain(after.keys());
        let mut changed: Vec<&String> =
            names.filter(|name| before.get(*name) != after.get(*name)).collect();
        changed.sort();
        changed.dedup();
        assert!(changed.is_empty(), "these are not as they were: {changed:?}");
    }

    /// The rollout paths in a database below the user's folder, each with its title.
    pub(crate) fn threads(&self, below: &str) -> String {
        let db = Connection::open(self.path(below)).unwrap();
        let mut statement = db.prepare("SELECT rollout_path FROM threads ORDER BY id").unwrap();
        let rows = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
        let text: String = rows.map(|row| format!("{}\n", row.unwrap())).collect();
        text.replace(self.root.to_str().unwrap(), "~")
    }

    /// A process that the system lists as `codex` on this Codex home, until it is told to quit.
    #[cfg(target_os = "linux")]
    pub(crate) fn running_codex(&self) -> RunningCodex {
        use std::os::unix::process::CommandExt as _;
        let child = Command::new("sh")
            .arg0("codex")
            .args(["-c", "read line"])
            .env("CODEX_HOME", self.codex(""))
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        RunningCodex(child)
    }

    fn moment(&self, text: &str) -> DateTime<Utc> {
        let Some(span) = text.strip_prefix('+') else { return instant(text) };
        let (number, unit) = span.split_at(span.len() - 1);
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => panic!("{text:?} is no span"),
        };
        self.now.get() + TimeDelta::seconds(seconds * number.parse::<i64>().unwrap())
    }
}

impl Drop for TestHome {
    fn drop(&mut self) {
        // A test that failed has said enough; a second panic would end all of them.
        if !std::thread::panicking() {
            let leaks = canaries::leaks(&self.root, &self.token_places.borrow());
            assert!(leaks.is_empty(), "tokens got out:\n{}", leaks.join("\n"));
        }
    }
}

/// The program as a process of its own in a user's folder; see [`TestHome::program`].
#[cfg(unix)]
pub(crate) fn program(user: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_codex-manager"));
    command
        .args(words)
        .env_clear()
        .env("HOME", user)
        .env("TZ", "Europe/Berlin")
        .current_dir(user)
        .stdin(Stdio::null());
    command
}

/// No token is in what was printed.
#[track_caller]
pub(crate) fn assert_silent(printed: &[u8]) {
    let token = token_in(printed);
    assert!(token.is_none(), "{token:?} was printed:\n{}", String::from_utf8_lossy(printed));
}

/// Something that looks like Codex; it ends with the test at the latest.
#[cfg(target_os = "linux")]
pub(crate) struct RunningCodex(std::process::Child);

#[cfg(target_os = "linux")]
impl RunningCodex {
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn quit(self) {}
}

#[cfg(target_os = "linux")]
impl Drop for RunningCodex {
    fn drop(&mut self) {
        drop(self.0.stdin.take()); // It waits for a line that never comes.
        self.0.wait().unwrap();
    }
}

/// All that can be seen of one entry of a folder.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Node {
    pub(crate) modified: SystemTime,
    pub(crate) mode: u32,
    pub(crate) content: Vec<u8>,
}

/// An `auth.json` as Codex writes it.
pub(crate) fn login(
    email: &str,
    user: &str,
    workspace: &str,
    refresh_token: &str,
    last_refresh: &str,
) -> String {
    let issued = instant(last_refresh).timestamp();
    let auth = json!({
        "chatgpt_user_id": user, "user_id": user,
        "chatgpt_account_id": workspace, "chatgpt_plan_type": "plus",
    });
    let id = json!({
        "iss": "https://auth.example.com", "email": email, "iat": issued, "exp": issued + 3_600,
        "sid": canaries::CLAIM,
        "https://api.openai.com/auth": auth,
    });
    let access = json!({
        "iss": "https://auth.example.com", "iat": issued, "exp": issued + 864_000,
        "https://api.openai.com/auth": auth,
    });
    let file = json!({
        "auth_mode": "chatgpt",
        "OPENAI_API_KEY": canaries::API_KEY,
        "tokens": {
            "id_token": jwt(&id, canaries::ID),
            "access_token": jwt(&access, canaries::ACCESS),
            "refresh_token": format!("{refresh_token}.{}", canaries::REFRESH),
            "account_id": workspace,
        },
        "last_refresh": last_refresh,
    });
    format!("{file:#}")
}

/// The table of contents of an archive of ours, found as its public format says: the footer's
/// extra field tells where its member begins.
pub(crate) fn table_of_contents(archive: &[u8]) -> Value {
    let digits = &archive[archive.len() - 51 + 16..][..16];
    let offset = usize::from_str_radix(str::from_utf8(digits).unwrap(), 16).unwrap();
    let member = flate2::read::GzDecoder::new(&archive[offset..]);
    let mut tarball = tar::Archive::new(member);
    let table = tarball.entries().unwrap().next().unwrap().unwrap();
    serde_json::from_reader(table).unwrap()
}

/// The archive with one byte changed within the compressed content of a member, which the table
/// of contents at its end tells.
pub(crate) fn rotten_member(archive: &[u8], name: &str) -> Vec<u8> {
    let table = table_of_contents(archive);
    let entry = table["entries"].as_array().unwrap().iter().find(|entry| entry["name"] == name);
    let offset = usize::try_from(entry.unwrap()["offset"].as_u64().unwrap()).unwrap();
    let size = usize::try_from(entry.unwrap()["memberSize"].as_u64().unwrap()).unwrap();
    let mut rotten = archive.to_vec();
    rotten[offset + size / 2] ^= 0x10;
    rotten
}

/// A sidecar without its last key, as a person leaves it who edits the rest.
pub(crate) fn without_checksum(sidecar: &[u8]) -> String {
    let text = str::from_utf8(sidecar).unwrap();
    let (head, _) = text.rsplit_once(",\n  \"checksum\": ").expect("a checksum ends it");
    format!("{head}\n}}\n")
}

fn jwt(claims: &Value, signature: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", part(&json!({"alg": "none", "typ": "JWT"})), part(claims))
}

/// The user and the workspace that belong to an address in these tests.
pub(crate) fn ids(email: &str) -> (String, String) {
    let slug = slug(email);
    (format!("user-{slug}"), format!("acct-{slug}"))
}

fn slug(email: &str) -> String {
    email.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}

#[track_caller]
fn instant(text: &str) -> DateTime<Utc> {
    let parsed = DateTime::parse_from_rfc3339(text);
    parsed.unwrap_or_else(|error| panic!("{text:?}: {error}")).to_utc()
}

/// An archive's length and the places in it become `#`: paths of this folder are in the databases,
/// so its random name decides how well they pack. An empty archive stays one.
fn vague_sizes(text: &str) -> String {
    let length =
        r"(packed into |\.tar\.gz \(|-codex(?:~\d+)? +(?:full|auth|state) +)([\d.]+ [KM]?i?B)";
    let length = regex::Regex::new(length).unwrap();
    let vague = length.replace_all(text, |found: &regex::Captures<'_>| {
        let digits = regex::Regex::new(r"\d").unwrap();
        format!("{}{}", &found[1], digits.replace_all(&found[2], "#"))
    });
    let place = r"(\bhas |its sidecar says |\bbyte )[1-9]\d*\b";
    regex::Regex::new(place).unwrap().replace_all(&vague, "${1}#").into_owned()
}

/// Splits as a shell does: blanks separate, quotes of either kind keep together.
fn split(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match quote {
            Some(mark) if c == mark => quote = None,
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    assert_eq!(quote, None, "a quote stays open in {line:?}");
    words.extend(word);
    words
}

/// What was written, in the order it was, each piece with whether it is a result.
#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<Piece>>>);

/// Whether it is part of the result, and the bytes.
type Piece = (bool, Vec<u8>);

struct Stream {
    screen: Screen,
    is_result: bool,
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.screen.0.lock().unwrap().push((self.is_result, bytes.to_vec()));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn create_dir(path: &Path) {
    fs::create_dir_all(path).unwrap();
}

fn set_mtime(path: &Path, at: DateTime<Utc>) {
    let seconds = u64::try_from(at.timestamp()).unwrap();
    let file = File::options().append(true).open(path).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |facts| facts.len())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn is_rollout(name: &str) -> bool {
    Path::new(name).extension() == Some(OsStr::new("jsonl")) && name.starts_with("sessions/")
}

fn copy_dir(from: &Path, to: &Path) {
    create_dir(to);
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn listing(folder: &Path) -> String {
    let mut tree = BTreeMap::new();
    look(folder, Path::new(""), &mut tree);
    let names: Vec<&PathBuf> = tree.keys().collect();
    let holds = |name: &Path| names.iter().any(|other| other.parent() == Some(name));
    let is_dir = |name: &Path| {
        folder.join(name).symlink_metadata().is_ok_and(|facts| facts.file_type().is_dir())
    };
    let shown = names.iter().filter(|name| !name.as_os_str().is_empty() && !holds(name));
    let lines = shown.map(|name| {
        let slash = if is_dir(name) { "/" } else { "" };
        format!("{}{slash}\n", slashes(name))
    });
    lines.collect()
}

/// A relative path in one spelling on every system.
fn slashes(name: &Path) -> String {
    name.to_string_lossy().replace('\\', "/")
}

/// Looks at an entry and what is below it, without following a link.
fn look(folder: &Path, name: &Path, tree: &mut BTreeMap<PathBuf, Node>) {
    let path = if name.as_os_str().is_empty() { folder.to_owned() } else { folder.join(name) };
    let Ok(facts) = fs::symlink_metadata(&path) else { return };
    let content = if facts.is_file() {
        fs::read(&path).unwrap()
    } else if facts.is_symlink() {
        fs::read_link(&path).unwrap().to_string_lossy().into_owned().into_bytes()
    } else {
        Vec::new()
    };
    tree.insert(
        name.to_owned(),
        Node { modified: facts.modified().unwrap(), mode: mode(&facts), content },
    );
    if facts.is_dir() {
        for entry in fs::read_dir(&path).unwrap() {
            look(folder, &name.join(entry.unwrap().file_name()), tree);
        }
    }
}

#[cfg(unix)]
fn mode(facts: &fs::Metadata) -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    facts.mode()
}

#[cfg(not(unix))]
fn mode(facts: &fs::Metadata) -> u32 {
    facts.permissions().readonly().into()
}
