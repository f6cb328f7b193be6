//! Which command lines change something?
//!
//! One [`Case`] for each: what is so before it, and its words. Whatever a command touches besides
//! the two homes lies in the user's folder too, so that it is looked at like them.

use crate::ground::Ground;
use crate::people::{Login, status_text};

/// A command line, with what is so before.
pub(crate) struct Case {
    /// How it is called in the table.
    pub(crate) name: &'static str,
    /// Its words; `~` is the user's folder.
    pub(crate) words: &'static str,
    /// Makes the ground ready, right after it was laid out.
    pub(crate) prepare: fn(&Ground),
    /// Whether it stores the login that it replaces first. That snapshot may be there already
    /// although nothing else has happened: a login more is no harm.
    pub(crate) banks: bool,
    /// What gets its place only after the home has: `worktrees/` moves over right after the
    /// exchange, and databases outside the home are files of their own. Until the next run each of
    /// these may be the old one, the new one or still where it was before.
    pub(crate) later: &'static [&'static str],
    /// Whether all it leaves is a line in `operations.jsonl` about what it found, which may be less
    /// than it would have been, but never a thing that is not so.
    pub(crate) reports: bool,
    /// Whether it does one thing after the other: then each is done or not, by itself, and its
    /// line in `operations.jsonl` tells which.
    pub(crate) piecewise: bool,
    /// Whether it deletes for good what was kept long enough, logins in it included.
    pub(crate) deletes: bool,
}

impl Case {
    /// The words, the folder filled in.
    pub(crate) fn words(&self, ground: &Ground) -> Vec<String> {
        let place = ground.place().display().to_string();
        self.words.split(' ').map(|word| word.replace('~', &place)).collect()
    }
}

const fn case(name: &'static str, words: &'static str, prepare: fn(&Ground)) -> Case {
    let (banks, reports, piecewise, deletes) = (false, false, false, false);
    Case { name, words, prepare, banks, later: &[], reports, piecewise, deletes }
}

const fn switching(name: &'static str, words: &'static str, prepare: fn(&Ground)) -> Case {
    let later = &[".codex/worktrees", "databases/"];
    Case { banks: true, later, ..case(name, words, prepare) }
}

const fn reporting(name: &'static str, words: &'static str, prepare: fn(&Ground)) -> Case {
    Case { reports: true, ..case(name, words, prepare) }
}

const fn piecewise(name: &'static str, words: &'static str, prepare: fn(&Ground)) -> Case {
    Case { piecewise: true, ..case(name, words, prepare) }
}

const fn deleting(name: &'static str, words: &'static str, prepare: fn(&Ground)) -> Case {
    Case { deletes: true, ..case(name, words, prepare) }
}

/// All of them.
pub(crate) const CASES: &[Case] = &[
    case("backup", "backup", as_it_is),
    case("backup --auth-only", "backup --auth-only", as_it_is),
    case("backup --force", "backup --force", as_it_is),
    case("backup --status-file", "backup --status-file ~/status.txt", with_status),
    switching("restore", "restore adas-week --yes", as_it_is),
    switching("restore (live content)", "restore switched --yes", mostly_the_same),
    switching("restore (databases elsewhere)", "restore elsewhere --yes", databases_elsewhere),
    switching("restore --login keep", "restore --yes --login keep", as_it_is),
    case("restore --only --to", "restore adas-week --only sessions --to ~/copy", as_it_is),
    case("restore --to", "restore adas-week --to ~/copy", as_it_is),
    switching("use (banks the login)", "use ada", as_it_is),
    case("use (login is stored)", "use ada", stored_login),
    switching("use --full", "use ada --full --yes", as_it_is),
    case("cooldown set", "cooldown set bob --until 2097-01-01T00:00:00Z", as_it_is),
    case("cooldown clear", "cooldown clear ada", as_it_is),
    case("config set", "config set undo.keep_days 30", as_it_is),
    case("config unset", "config unset aliases.work", as_it_is),
    case("adopt", "adopt", as_it_is),
    case("accounts alias", "accounts alias bob mine", as_it_is),
    case("accounts forget", "accounts forget ada --yes", as_it_is),
    // Whatever takes the lock next stores the login first.
    case("a login that waits", "accounts note bob --remove", killed_login),
    case("normalize", "normalize ~/old-logins", another_old_login),
    piecewise("normalize --adopt", "normalize ~/old-logins --adopt", another_old_login),
    case("status --status-file", "status --status-file ~/status.txt", with_status),
    case("status --live", "status --live", as_it_is),
    // `status --refresh` is not here: it is Codex who replaces the login, and what is stored of that
    // afterwards goes the way of `backup --auth-only`.
    reporting("history", "history", worth_remembering),
    // `--force`, because to the program every file of a copy was written since.
    switching("undo of restore", "undo --yes --force", restored),
    switching("undo of undo of restore", "undo --yes --force", |ground| {
        restored(ground);
        ground.must(&["undo", "--yes"]);
    }),
    switching("undo of use", "undo --yes", |ground| {
        ground.must(&["use", "ada"]);
    }),
    case("undo of cooldown set", "undo --yes", |ground| {
        ground.must(&["cooldown", "set", "bob", "--until", "2097-01-01T00:00:00Z"]);
    }),
    case("undo of config set", "undo --yes", |ground| {
        ground.must(&["config", "set", "undo.keep_days", "30"]);
    }),
    case("undo of accounts forget", "undo --yes", |ground| {
        ground.must(&["accounts", "forget", "ada", "--yes"]);
    }),
    case("undo of backup --force", "undo --yes", |ground| ground.must(&["backup", "--force"])),
    case("undo of normalize", "undo --yes", |ground| {
        another_old_login(ground);
        ground.must(&["normalize", &ground.path("old-logins").display().to_string()]);
    }),
    case("prune", "prune --keep-last 1 --yes", one_more_of_bobs),
    case("undo of prune", "undo --yes", |ground| {
        one_more_of_bobs(ground);
        ground.must(&["prune", "--keep-last", "1", "--yes"]);
    }),
    deleting("prune (what has expired)", "prune --keep-last 9 --yes", something_expired),
    reporting("drill", "drill", as_it_is),
    piecewise("doctor --fix", "doctor --fix", something_to_mend),
];

fn as_it_is(_ground: &Ground) {}

fn with_status(ground: &Ground) {
    ground.write("status.txt", status_text("bob"));
}

/// A session that takes more than a mebibyte to read.
fn worth_remembering(ground: &Ground) {
    let line = format!("{{\"type\":\"response_item\",\"payload\":\"{}\"}}\n", "x".repeat(3 << 19));
    ground.write(".codex/sessions/2026/11/20/rollout-2026-11-20T10-00-00-x.jsonl", line);
}

/// Ada's snapshot and the live home have sessions in common that are large enough to be taken from the
/// live home, and for the disk to begin with each; one has gone on since, and one says other things in
/// as many bytes at the same time.
fn mostly_the_same(ground: &Ground) {
    let path =
        |name: &str| format!(".codex/sessions/2026/11/19/rollout-2026-11-19T10-00-00-{name}.jsonl");
    let line = |word: &str| format!("{{\"type\":\"event\",\"payload\":\"{word}\"}}\n").repeat(2000);
    for name in ["same", "longer", "other"] {
        ground.write(&path(name), line(name));
    }
    let live = std::fs::read(ground.codex().join("auth.json")).expect("somebody is signed in");
    ground.sign_in(&Login::of("ada", 2 * 3_600));
    ground.must(&["backup", "--label", "switched"]);
    ground.write(".codex/auth.json", live);
    ground.write(&path("longer"), line("longer") + "{}\n");
    let other = ground.path(&path("other"));
    let modified = other.metadata().and_then(|facts| facts.modified()).expect("it has a time");
    std::fs::write(&other, line("OTHER")).expect("a file can be written");
    let file = std::fs::File::options().append(true).open(&other);
    file.and_then(|file| file.set_modified(modified)).expect("a file can be dated");
}

/// The live login is the one that the last snapshot holds.
fn stored_login(ground: &Ground) {
    ground.must(&["backup", "--auth-only"]);
}

/// Codex keeps its databases in a folder of their own, as `config.toml` says, and a snapshot knows.
fn databases_elsewhere(ground: &Ground) {
    let folder = ground.path("databases");
    std::fs::create_dir(&folder).expect("a folder can be made");
    for name in ["state_5.sqlite", "state_5.sqlite-wal", "logs_2.sqlite", "logs_2.sqlite-wal"] {
        std::fs::rename(ground.codex().join(name), folder.join(name)).expect("it can be moved");
        let _shared_memory =
            std::fs::remove_file(ground.codex().join(name.replace("-wal", "-shm")));
    }
    let config = format!("model = \"gpt-5\"\nsqlite_home = \"{}\"\n", folder.display());
    ground.write(".codex/config.toml", config);
    let live = std::fs::read(ground.codex().join("auth.json")).expect("somebody is signed in");
    ground.sign_in(&Login::of("ada", 2 * 3_600));
    ground.must(&["backup", "--label", "elsewhere"]);
    ground.write(".codex/auth.json", live);
    ground.write(".codex/history.jsonl", "{\"text\":\"later\"}\n");
}

/// `login` was killed when Codex had written what it got.
fn killed_login(ground: &Ground) {
    let codex = std::fs::read(ground.path("bin/codex")).expect("there is a codex");
    let script = "#!/bin/sh\ncp \"$HOME/erin.json\" \"$CODEX_HOME/auth.json\"\nkill -9 $PPID\n";
    ground.write("bin/codex", script);
    ground.write("erin.json", Login::of("erin", 600).bytes());
    let (exit, said) = ground.play(&["login"]);
    assert_eq!(exit, None, "{said}");
    ground.write("bin/codex", codex);
    std::fs::remove_file(ground.path("erin.json")).expect("it can be removed");
}

fn another_old_login(ground: &Ground) {
    let bytes = Login::of("dana", 8 * 86_400).bytes();
    ground.write("old-logins/20nov_dana@example.com_auth.json", bytes);
}

/// Rights that are too wide, a sidecar that is gone, and what a run left that was killed.
fn something_to_mend(ground: &Ground) {
    let manager = ground.manager();
    let wide = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(manager.join("ledger.jsonl"), wide).expect("a mode can be set");
    let backups = manager.join("backups");
    let name =
        crate::state::names(&backups).into_iter().find(|name| name.ends_with(".metadata.json"));
    std::fs::remove_file(backups.join(name.expect("there are snapshots")))
        .expect("it can be removed");
    ground.write(".codex-manager/tmp/.codex-manager-0123456789abcdef.tmp", "half");
}

fn restored(ground: &Ground) {
    ground.must(&["restore", "adas-week", "--yes"]);
}

fn one_more_of_bobs(ground: &Ground) {
    ground.must(&["backup"]);
}

/// A snapshot in the trash and a home in `undo/`, neither of which is kept for longer than today.
fn something_expired(ground: &Ground) {
    ground.must(&["backup", "--force"]);
    ground.must(&["restore", "adas-week", "--yes"]);
    ground.must(&["config", "set", "trash.keep_days", "0"]);
    ground.must(&["config", "set", "undo.keep_days", "0"]);
}
