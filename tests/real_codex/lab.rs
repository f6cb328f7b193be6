//! Where does the real Codex run, and what can be asked of it?
//!
//! A [`Lab`] is a folder with a person's home, a project and a mock backend. A [`Home`] is one
//! Codex home in it: the live one, or a copy somewhere else. Codex gets an environment of its own,
//! so that it finds neither the tester's login nor a way out of the machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rusqlite::types::Value as Cell;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use tempfile::TempDir;

use crate::app_server::AppServer;
use crate::mock::Mock;
use crate::mock::account::{ADA, Person};
use crate::process::{Ended, Running};

/// How long one turn may take; alone it takes a few seconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// Seconds an access token is good for: beyond any test.
pub(crate) const TEN_DAYS: i64 = 10 * 86_400;

/// Where `npm install --prefix target/codex` puts Codex.
const INSTALLED: &str = "target/codex/node_modules/.bin/codex";

/// Where the one of spring 2026 is put.
const OF_SPRING: &str = "target/codex-spring/node_modules/.bin/codex";

/// A folder of the test's own with everything Codex needs.
pub(crate) struct Lab {
    // Before the folder, so that nothing writes into it while it is removed.
    pub(crate) mock: Mock,
    codex: PathBuf,
    folder: TempDir,
}

impl Lab {
    /// A project, a mock, and a live home in which Ada is signed in.
    #[track_caller]
    pub(crate) fn new() -> Lab {
        Lab::with(find_codex("CODEX_BIN", INSTALLED, "target/codex @openai/codex@0.169.0"))
    }

    /// The same with the Codex of spring 2026.
    #[track_caller]
    pub(crate) fn of_spring() -> Lab {
        let package = "target/codex-spring @openai/codex@0.118.0";
        Lab::with(find_codex("CODEX_SPRING_BIN", OF_SPRING, package))
    }

    #[track_caller]
    fn with(codex: PathBuf) -> Lab {
        // Not in the system's temporary folder, where Codex behaves differently.
        let folder = TempDir::with_prefix_in("lab-", env!("CARGO_TARGET_TMPDIR")).unwrap();
        let lab = Lab { mock: Mock::start(), codex, folder };
        for place in ["user", "tmp", "project"] {
            fs::create_dir(lab.place(place)).unwrap();
        }
        fs::write(lab.place("authority.pem"), lab.mock.authority()).unwrap();
        let mut git = Command::new("git");
        git.args(["init", "--quiet"]).current_dir(lab.project());
        assert_eq!(Running::start(&mut git, PATIENCE).wait().code, Some(0), "git init");

        let home = lab.home();
        fs::create_dir(home.path()).unwrap();
        fs::write(home.path().join("config.toml"), lab.config()).unwrap();
        home.sign_in(&ADA, TEN_DAYS);
        lab
    }

    /// The live home, `~/.codex`.
    pub(crate) fn home(&self) -> Home<'_> {
        self.home_in(self.user().join(".codex"))
    }

    /// A home at another place, whether it exists yet or not.
    pub(crate) fn home_at(&self, name: &str) -> Home<'_> {
        self.home_in(self.place(name))
    }

    fn home_in(&self, path: PathBuf) -> Home<'_> {
        Home { lab: self, database_folder: path.clone(), path }
    }

    /// The person's home directory.
    pub(crate) fn user(&self) -> PathBuf {
        self.place("user")
    }

    /// Where Codex works.
    pub(crate) fn project(&self) -> PathBuf {
        self.place("project")
    }

    /// A path in the lab.
    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program of Codex.
    pub(crate) fn codex(&self) -> &Path {
        &self.codex
    }

    /// Gives `command` the environment that everything in the lab runs in.
    pub(crate) fn clean<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        let token = self.mock.token_origin();
        command.env_clear();
        command.env("HOME", self.user()).env("TMPDIR", self.place("tmp"));
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin");
        command.env("TERM", "xterm-256color").env("LANG", "C.UTF-8").env("TZ", "UTC");
        command.env("CODEX_CA_CERTIFICATE", self.place("authority.pem"));
        command.env("CODEX_REFRESH_TOKEN_URL_OVERRIDE", format!("{token}/oauth/token"));
        command.env("CODEX_REVOKE_TOKEN_URL_OVERRIDE", format!("{token}/oauth/revoke"));
        // Whatever else Codex would like to ask somebody ends at a closed port of this machine.
        command.env("HTTPS_PROXY", "http://127.0.0.1:9").env("HTTP_PROXY", "http://127.0.0.1:9");
        command.env("NO_PROXY", "127.0.0.1");
        command.current_dir(self.project())
    }

    /// A configuration that leads to the mock, asks no question and starts no background server.
    fn config(&self) -> String {
        let (origin, project) = (self.mock.origin(), self.project());
        format!(
            "chatgpt_base_url = \"{origin}/backend-api\"\n\
             openai_base_url = \"{origin}/backend-api/codex\"\n\
             cli_auth_credentials_store = \"file\"\n\
             check_for_update_on_startup = false\n\n\
             [features]\n\
             daemon_auto_start = false\n\
             enable_request_compression = false\n\n\
             [projects.\"{}\"]\n\
             trust_level = \"trusted\"\n",
            project.display()
        )
    }
}

/// A Codex home, and the Codex that runs on it.
pub(crate) struct Home<'lab> {
    lab: &'lab Lab,
    path: PathBuf,
    database_folder: PathBuf,
}

/// The rows of `threads` by their id: column and value, in the order of the table.
pub(crate) type Threads = BTreeMap<String, Vec<(String, Cell)>>;

/// One turn of `codex exec`.
#[derive(Debug)]
pub(crate) struct Turn {
    /// The session it belongs to.
    pub(crate) session: String,
    /// What the model answered.
    pub(crate) answer: String,
}

impl<'lab> Home<'lab> {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The same home, in the knowledge that its databases lie below `folder`, absolute or
    /// relative to it.
    pub(crate) fn with_databases_in(self, folder: impl AsRef<Path>) -> Home<'lab> {
        Home { database_folder: self.path.join(folder), ..self }
    }

    /// Has Codex keep its databases in `folder`, as it is written there.
    pub(crate) fn set_sqlite_home(&self, folder: &str) {
        let config = self.path.join("config.toml");
        let others = fs::read_to_string(&config).unwrap();
        let others = others.lines().filter(|line| !line.starts_with("sqlite_home"));
        let mut lines = vec![format!("sqlite_home = \"{folder}\"")];
        lines.extend(others.map(str::to_owned));
        fs::write(config, lines.join("\n")).unwrap();
    }

    /// Puts the login of a new sign-in in place, good for `seconds`.
    pub(crate) fn sign_in(&self, person: &Person, seconds: i64) {
        let auth = self.path.join("auth.json");
        fs::write(&auth, self.lab.mock.sign_in(person, seconds)).unwrap();
        // As Codex itself leaves it.
        #[cfg(unix)]
        fs::set_permissions(auth, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }

    /// Starts a session.
    #[track_caller]
    pub(crate) fn exec(&self, prompt: &str) -> Turn {
        turn_of(&self.start_exec(&[prompt]).wait())
    }

    /// Goes on in the newest session.
    #[track_caller]
    pub(crate) fn resume_last(&self, prompt: &str) -> Turn {
        turn_of(&self.start_exec(&["resume", "--last", prompt]).wait())
    }

    /// Goes on in the session `id`.
    #[track_caller]
    pub(crate) fn resume(&self, id: &str, prompt: &str) -> Turn {
        turn_of(&self.start_exec(&["resume", id, prompt]).wait())
    }

    /// Begins a turn and does not wait for it.
    #[track_caller]
    pub(crate) fn start_exec(&self, args: &[&str]) -> Running {
        let mut command = self.codex();
        command.args(["exec", "--json"]).args(args);
        Running::start(&mut command, PATIENCE)
    }

    /// Opens the home for as long as the answer lives.
    #[track_caller]
    pub(crate) fn app_server(&self) -> AppServer {
        AppServer::start(&mut self.codex())
    }

    /// The session files and what is in them, by their path below the home.
    pub(crate) fn rollouts(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut rollouts = BTreeMap::new();
        for folder in ["sessions", "archived_sessions"] {
            collect_files(&self.path.join(folder), &self.path, &mut rollouts);
        }
        rollouts
    }

    /// The databases, by their names.
    pub(crate) fn databases(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.database_folder).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
        let mut names: Vec<_> = names.filter(|name| name.ends_with(".sqlite")).collect();
        names.sort();
        names
    }

    /// What `integrity_check` says about a database.
    #[track_caller]
    pub(crate) fn integrity(&self, database: &str) -> String {
        let database = self.open(database, &["", "-wal"]);
        database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap()
    }

    /// The index of sessions.
    #[track_caller]
    pub(crate) fn threads(&self) -> Threads {
        threads(&self.open("state_5.sqlite", &["", "-wal"]))
    }

    /// What a copy of the database file alone would have of them.
    #[track_caller]
    pub(crate) fn threads_without_wal(&self) -> Threads {
        threads(&self.open("state_5.sqlite", &[""]))
    }

    /// A database, opened as a copy of its own files (by suffix): those who use it hear nothing of
    /// it, and looking at a home does not change it. While nobody writes, the copy is a true one.
    #[track_caller]
    fn open(&self, database: &str, files: &[&str]) -> Connection {
        let original = self.database_folder.join(database);
        let looks = TempDir::new_in(self.lab.place("tmp")).unwrap();
        let copy = looks.keep().join(database);
        for suffix in files {
            let from = with_suffix(&original, suffix);
            if from.exists() {
                fs::copy(from, with_suffix(&copy, suffix)).unwrap();
            }
        }
        Connection::open_with_flags(copy, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap()
    }

    /// Codex on this home with these words, to be started.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = self.codex();
        command.args(words);
        command
    }

    fn codex(&self) -> Command {
        let mut command = Command::new(&self.lab.codex);
        self.lab.clean(&mut command).env("CODEX_HOME", &self.path);
        command
    }
}

/// Reads the table of sessions.
#[track_caller]
fn threads(database: &Connection) -> Threads {
    let mut statement = database.prepare("SELECT * FROM threads").unwrap();
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let rows = statement.query_map([], |row| {
        let cells = columns.iter().enumerate();
        cells.map(|(i, column)| Ok((column.clone(), row.get::<_, Cell>(i)?))).collect()
    });
    let rows = rows.unwrap().map(|row: rusqlite::Result<Vec<(String, Cell)>>| {
        let row = row.unwrap();
        (text(&row, "id"), row)
    });
    rows.collect()
}

/// A cell of a row as text.
#[track_caller]
pub(crate) fn text(row: &[(String, Cell)], column: &str) -> String {
    let cell = row.iter().find(|(name, _)| name == column).map(|(_, cell)| cell);
    match cell {
        Some(Cell::Text(text)) => text.clone(),
        other => panic!("`{column}` is {other:?}"),
    }
}

/// Reads what `codex exec --json` printed about a turn that went well.
#[track_caller]
pub(crate) fn turn_of(ended: &Ended) -> Turn {
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.stdout, ended.stderr);
    let events: Vec<Value> =
        ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let find = |kind: &str| events.iter().rfind(|event| event["type"] == kind);
    let started = find("thread.started").expect("a session began");
    let item = events.iter().rfind(|event| event["item"]["type"] == "agent_message");
    assert!(find("turn.completed").is_some(), "{}", ended.stdout);
    Turn {
        session: started["thread_id"].as_str().unwrap().to_owned(),
        answer: item.expect("the model answered")["item"]["text"].as_str().unwrap().to_owned(),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn collect_files(folder: &Path, root: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect_files(&path, root, found);
        } else {
            let content = fs::read(&path).unwrap();
            found.insert(path.strip_prefix(root).unwrap().to_owned(), content);
        }
    }
}

/// The program itself: what `variable` names, else what npm installed.
///
/// npm's command is a script that starts the program as its child. The tests want the child's
/// process id, so of a package they take the program inside.
#[track_caller]
fn find_codex(variable: &str, installed: &str, package: &str) -> PathBuf {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join(installed);
    let command = std::env::var_os(variable).map_or(installed, PathBuf::from);
    let Ok(command) = command.canonicalize() else {
        panic!("there is no Codex at {}\nhint: npm install --prefix {package}", command.display());
    };
    // …/node_modules/@openai/codex/bin/codex.js
    let packages = command.ancestors().find(|folder| folder.ends_with("@openai"));
    let inside = packages.and_then(|packages| {
        let programs = packages.join("codex-*/vendor/*/bin/codex");
        glob::glob(programs.to_str()?).ok()?.find_map(Result::ok)
    });
    inside.unwrap_or(command)
}
