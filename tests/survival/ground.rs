//! Where does it all happen?
//!
//! A [`Ground`] is a user's folder of one worker: made up once, kept aside, and laid out anew for
//! every run at the same path, so that every run begins from the same bytes. Each worker has one
//! processor to itself.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::people::{Login, rollout, seconds};
use crate::renumber::renumber;
use crate::state::names;

/// A Codex that tells its version, and to whom it is asked by what is left to Bob. It refreshes
/// his login if there is another one in `fresh.json`, and signs in whose is in `erin.json`.
const CODEX: &str = r#"#!/bin/sh
case $* in
app-server*) ;;
*login*) exec cp "$HOME/erin.json" "$CODEX_HOME/auth.json" ;;
*) echo codex-cli 0.169.0; exit ;;
esac
while read -r line; do
    case $line in
    *'"method":"initialize"'*) echo '{"id":0,"result":{}}' ;;
    *'"method":"account/read"'*)
        case $line in *true*) cat "$HOME/fresh.json" > "$CODEX_HOME/auth.json" ;; esac
        echo '{"id":1,"result":{"account":{"type":"chatgpt","email":"bob@example.com"}}}' ;;
    *'"method":"account/rateLimits/read"'*)
        echo '{"id":2,"result":{"rateLimits":{"primary":{"usedPercent":12,"windowDurationMins":300}}}}' ;;
    esac
done
"#;

/// What every made-up token holds, and nothing else in the world.
pub(crate) const CANARY: &str = "canary-7f3a";

/// A folder of one worker's own.
pub(crate) struct Ground {
    folder: TempDir,
    processor: usize,
}

impl Ground {
    /// Makes up two accounts and a third, with three snapshots that the program took itself.
    pub(crate) fn new(processor: usize) -> Self {
        // In memory, if the system has such a place: what is tested is order, not speed.
        let memory = Path::new("/dev/shm");
        let mut builder = tempfile::Builder::new();
        builder.prefix("survival-");
        let folder = if fs::metadata(memory).is_ok_and(|facts| facts.is_dir()) {
            builder.tempdir_in(memory)
        } else {
            builder.tempdir()
        };
        let folder = folder.expect("a folder can be made");
        let ground = Self { folder, processor };
        ground.furnish();
        copy(&ground.place(), &ground.folder().join("saved"));
        ground
    }

    /// Begins a case: lays everything out as it was made up, and changes it.
    pub(crate) fn prepare(&self, change: fn(&Self)) {
        self.lay_out("saved");
        change(self);
        // What a run writes down as now must not be the second in which something was made up.
        let made = seconds(0);
        while seconds(0) == made {
            std::thread::sleep(Duration::from_millis(10));
        }
        let prepared = self.folder().join("prepared");
        if prepared.exists() {
            fs::remove_dir_all(&prepared).expect("the last case can be removed");
        }
        copy(&self.place(), &prepared);
    }

    /// Lays the case out anew.
    pub(crate) fn reset(&self) {
        self.lay_out("prepared");
    }

    fn lay_out(&self, from: &str) {
        fs::remove_dir_all(self.place()).expect("the last run can be removed");
        copy(&self.folder().join(from), &self.place());
    }

    /// The worker's folder; the user's is in it.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The processor that runs happen on.
    pub(crate) fn processor(&self) -> usize {
        self.processor
    }

    /// The user's folder: nothing outside of it may be changed.
    pub(crate) fn place(&self) -> PathBuf {
        self.folder().join("user")
    }

    /// A path in the user's folder.
    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.place().join(below)
    }

    /// The Codex home.
    pub(crate) fn codex(&self) -> PathBuf {
        self.path(".codex")
    }

    /// The manager home.
    pub(crate) fn manager(&self) -> PathBuf {
        self.path(".codex-manager")
    }

    /// Gives a command the environment that everything here runs in.
    pub(crate) fn clean<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", self.path("bin").display());
        command.env_clear().env("HOME", self.place()).env("PATH", path);
        command.env("TZ", "Europe/Berlin").env("LANG", "C.UTF-8").current_dir("/");
        // Codex is asked where a line says so, and not with every backup.
        command.env("CODEX_MANAGER_STATUS_LIVE", "false")
    }

    /// Runs the program without strace: exit code and what it said.
    pub(crate) fn play(&self, words: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(program());
        let output = self.clean(command.args(words)).stdin(Stdio::null()).output();
        let output = output.expect("the program can be started");
        let said =
            [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
        (output.status.code(), said.concat())
    }

    /// Writes a file, the folders in front of it included.
    pub(crate) fn write(&self, below: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(below);
        fs::create_dir_all(path.parent().expect("it lies in a folder"))
            .expect("a folder can be made");
        fs::write(&path, bytes).expect("a file can be written");
    }

    /// Signs somebody in, as Codex does.
    pub(crate) fn sign_in(&self, login: &Login) {
        self.write(".codex/auth.json", login.bytes());
        private(&self.path(".codex/auth.json"), 0o600);
    }

    #[track_caller]
    pub(crate) fn must(&self, words: &[&str]) {
        let (exit, said) = self.play(words);
        assert_eq!(exit, Some(0), "{words:?}:\n{said}");
    }

    fn furnish(&self) {
        fs::create_dir_all(self.codex()).expect("a folder can be made");
        private(&self.place(), 0o700);
        private(&self.codex(), 0o700);
        self.write("bin/codex", CODEX);
        private(&self.path("bin/codex"), 0o755);
        self.write(".codex/config.toml", "model = \"gpt-5\"\n\n[features]\nweb = true\n");
        self.write(".codex/history.jsonl", "{\"text\":\"first\"}\n{\"text\":\"second\"}\n");
        self.write(".codex/installation_id", "11111111-2222-4333-8444-555555555555");
        self.write(".codex/worktrees/a/.git", "gitdir: elsewhere\n");
        self.write(".codex/worktrees/a/work.txt", "unfinished\n");
        self.write(".codex/skills/mine/run.sh", "#!/bin/sh\nexit 0\n");
        private(&self.path(".codex/skills/mine/run.sh"), 0o700);
        self.write(".codex/AGENTS.md", "Be brief.\n");
        symlink("AGENTS.md", self.path(".codex/latest.md")).expect("a link can be made");
        self.database(
            ".codex/state_5.sqlite",
            "threads (id TEXT PRIMARY KEY, rollout_path TEXT NOT NULL, title TEXT)",
        );
        self.database(".codex/logs_2.sqlite", "logs (at INTEGER, line TEXT)");
        self.change(".codex/logs_2.sqlite", "INSERT INTO logs VALUES (1, 'it began')");

        // Ada's week is stored; then Bob signs in and works, and is stored; then Codex refreshes
        // his login, which is stored nowhere.
        self.sign_in(&Login::of("ada", 3 * 3_600));
        self.session("ada", 1, 3 * 3_600);
        self.must(&["backup", "--label", "adas-week"]);
        self.sign_in(&Login::of("bob", 2 * 3_600));
        self.session("bob", 2, 2 * 3_600);
        self.write(
            ".codex/history.jsonl",
            "{\"text\":\"first\"}\n{\"text\":\"second\"}\n{\"text\":\"third\"}\n",
        );
        self.write(".codex/prompts/new.md", "What changed?\n");
        self.must(&["backup"]);
        // Cleo's is a login of the older tool.
        let old = Login::of("cleo", 9 * 86_400);
        self.write("old-logins/19nov_cleo@example.com_auth.json", old.bytes());
        let file = File::options()
            .append(true)
            .open(self.path("old-logins/19nov_cleo@example.com_auth.json"));
        let at = seconds(9 * 86_400);
        file.and_then(|file| file.set_modified(at)).expect("a file can be dated");
        self.must(&["normalize", &self.path("old-logins").display().to_string(), "--adopt"]);
        self.must(&["cooldown", "set", "ada", "--until", "2098-01-01T00:00:00Z"]);
        self.must(&["config", "set", "aliases.work", "ada@example.com"]);
        self.sign_in(&Login::of("bob", 3_600));
    }

    /// A session of somebody's that ended so many seconds ago, which the database knows.
    fn session(&self, who: &str, number: u32, ago: i64) {
        let (name, text) = rollout(who, number, ago);
        let name = format!(".codex/sessions/{name}");
        self.write(&name, text);
        let path = self.path(&name);
        let row =
            format!("INSERT INTO threads VALUES ('{who}', '{}', 'what is left?')", path.display());
        self.change(".codex/state_5.sqlite", &row);
    }

    /// A database in WAL mode with an empty table; what changes later is only in the log.
    fn database(&self, below: &str, table: &str) {
        let begin = format!(
            "PRAGMA journal_mode = WAL; CREATE TABLE {table}; PRAGMA wal_checkpoint(TRUNCATE);"
        );
        self.change(below, &begin);
    }

    fn change(&self, below: &str, sql: &str) {
        let path = self.path(below);
        let db = open(&path);
        db.execute_batch("PRAGMA wal_autocheckpoint = 0;").expect("a database can be told");
        db.execute_batch(sql).expect("a database can be changed");
    }
}

/// Opens a database so that closing it leaves the log where it is.
fn open(path: &Path) -> rusqlite::Connection {
    let db = rusqlite::Connection::open(path).expect("a database can be opened");
    db.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .expect("a database can be told");
    db
}

fn private(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode can be set");
}

/// Copies a user's folder, so that the program takes the copy for the same one.
pub(crate) fn copy(from: &Path, to: &Path) {
    let mut numbers = HashMap::new();
    copy_entry(from, to, &mut numbers);
    renumber(to, &|old| numbers.get(&old).copied());
}

/// Copies with modes, times and links as they are; notes which inode became which.
fn copy_entry(from: &Path, to: &Path, numbers: &mut HashMap<u64, u64>) {
    let facts = fs::symlink_metadata(from).expect("it is there");
    if facts.is_symlink() {
        let target = fs::read_link(from).expect("a link can be read");
        symlink(target, to).expect("a link can be made");
    } else if facts.is_file() {
        fs::copy(from, to).expect("a file can be copied");
        let modified = facts.modified().expect("a file has a time");
        let file = File::open(to).and_then(|file| file.set_modified(modified));
        file.expect("a file can be dated");
    } else {
        fs::create_dir(to).expect("a folder can be made");
        for name in names(from) {
            copy_entry(&from.join(&name), &to.join(&name), numbers);
        }
        fs::set_permissions(to, facts.permissions()).expect("a mode can be set");
    }
    numbers.insert(facts.ino(), fs::symlink_metadata(to).expect("it was made").ino());
}

/// The program: `SURVIVAL_PROGRAM` names another build of it, such as the one to be released.
pub(crate) fn program() -> OsString {
    let named = std::env::var_os("SURVIVAL_PROGRAM");
    named.unwrap_or_else(|| env!("CARGO_BIN_EXE_codex-manager").into())
}

/// The processors that this process may use.
pub(crate) fn processors() -> Vec<usize> {
    let status = fs::read_to_string("/proc/self/status").expect("this is Linux");
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let parts = list.expect("Linux tells the processors").trim().split(',');
    let number = |text: &str| text.parse::<usize>().expect("a processor is a number");
    parts
        .flat_map(|part| match part.split_once('-') {
            Some((first, last)) => number(first)..=number(last),
            None => number(part)..=number(part),
        })
        .collect()
}
