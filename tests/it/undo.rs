//! `undo` and `log`: does everything come back, and is what changed since left alone?

use std::collections::BTreeMap;

use insta::assert_snapshot;

use crate::home::{Node, TestHome, ids};

const NAME: &str = "2026-11-19-100200-ada@example.com-codex";

/// What the manager home holds, but for what every run writes and what was put away: content by
/// path.
fn held(home: &TestHome) -> Vec<(String, Vec<u8>)> {
    let files = home.files();
    let files = files.lines().filter(|path| !path.ends_with('/'));
    let kept = |path: &&str| {
        !["lock", "operations.jsonl", "ledger.jsonl"].contains(path)
            && !path.starts_with("undo/")
            && !path.starts_with("trash/")
    };
    files
        .filter(kept)
        .map(|path| (path.to_owned(), home.read(&format!(".codex-manager/{path}"))))
        .collect()
}

/// Does it, takes it back, does it again and takes that back: the manager home is what it was,
/// and what it had become.
#[track_caller]
fn there_and_back(home: &TestHome, line: &str) {
    let before = held(home);
    assert_eq!(home.play(line).exit, 0, "{line}");
    let after = held(home);
    assert!(before != after, "{line} changes nothing");
    for (round, expected) in [&before, &after, &before, &after].into_iter().enumerate() {
        let seen = home.play("undo");
        assert_eq!(seen.exit, 0, "{line}: {}", seen.screen);
        assert!(held(home) == *expected, "{line}, {round} times back");
    }
    assert_eq!(home.play("undo").exit, 0);
    assert!(held(home) == before, "{line}");
    assert_eq!(home.play("log --verify").exit, 0);
    assert_eq!(home.play("verify --all").exit, 0);
}

#[test]
fn whatever_changes_the_manager_home_goes_there_and_back_again() {
    let home =
        TestHome::of_ada().legacy_auth("21apr_ada@example.com_auth.json", "2026-04-14T15:55:00Z");
    there_and_back(&home, "config set lean true");
    home.run("config set timezone UTC");
    there_and_back(&home, "config set timezone Asia/Tokyo");
    there_and_back(&home, "config unset timezone");
    there_and_back(&home, "normalize legacy");
    there_and_back(&home, "normalize legacy --adopt");
    there_and_back(&home, "backup");
    home.run("backup");
    let home = home.file(".codex/later.md", "more");
    there_and_back(&home, "backup --force");
    let home = home.later("+1h");
    home.run("backup");
    there_and_back(&home, "prune --keep-last 1 --yes");
}

#[test]
fn a_cooldown_is_what_it_was_before() {
    let home = TestHome::of_ada();
    home.run("backup");
    let until =
        |home: &TestHome| home.json("cooldown")["data"]["accounts"][0]["next_available_at"].clone();
    let ready = until(&home);
    home.run("cooldown set ada --until +9d");
    let nine = until(&home);
    let home = home.later("+1m");
    home.run("cooldown set ada --until +12d");
    let twelve = until(&home);
    assert!(ready != nine && nine != twelve);
    home.run("undo");
    assert_eq!(until(&home), nine);
    home.run("undo");
    assert_eq!(until(&home), twelve);
    home.run("undo");
    home.run("undo cooldown-set-2");
    assert_snapshot!(home.run("undo 2026-11-21-110000-cooldown-set"), @"
    $ codex-manager undo 2026-11-21-110000-cooldown-set
    taken back     2026-11-21-110000-cooldown-set: ada@example.com rests until Mon 30 Nov 2026 11:00
    the other way  codex-manager undo 2026-11-21-110100-undo-4
    ");
    assert_eq!(until(&home), ready);
    home.run("cooldown set ada --until +9d");
    home.run("cooldown clear ada");
    home.run("undo");
    assert_ne!(until(&home), ready);
}

#[test]
fn a_login_goes_back_to_who_was_signed_in_with_their_newest_login() {
    let home = TestHome::of_ada();
    home.run("backup --auth-only");
    let home = home.later("+1d").signed_in("bob@example.com");
    let bob = home.read(".codex/auth.json");
    home.run("use ada");
    let ada = home.read(".codex/auth.json");
    assert_snapshot!(home.run("undo"), @"
    $ codex-manager undo
    taken back     2026-11-22-110000-use: signed in ada@example.com
    the other way  codex-manager undo 2026-11-22-110000-undo
    ");
    assert_eq!(home.read(".codex/auth.json"), bob);
    home.run("undo");
    assert_eq!(home.read(".codex/auth.json"), ada);
    // Codex refreshes it: the spent one never comes back.
    let (user, workspace) = ids("ada@example.com");
    let at = "2026-11-23T11:30:00Z";
    let home = home.later("+1d").signed_in_as("ada@example.com", &user, &workspace, "rt_new", at);
    let refreshed = home.read(".codex/auth.json");
    home.run("undo");
    assert_eq!(home.read(".codex/auth.json"), bob);
    home.run("undo");
    assert_eq!(home.read(".codex/auth.json"), refreshed);
    // Somebody else is signed in: that is not undone.
    let home = home.signed_in("eve@example.com");
    let eve = home.read(".codex/auth.json");
    assert_snapshot!(home.run("undo"), @"
    $ codex-manager undo
    error: 2026-11-23-110000-undo-2 cannot be taken back: eve@example.com is signed in now
    hint: `codex-manager log` shows what was done since; take that back first
    (exit 2)
    ");
    assert_eq!(home.read(".codex/auth.json"), eve);
}

#[test]
fn nobody_and_a_login_that_names_nobody_come_back_too() {
    let home = TestHome::of_ada();
    home.run("backup --auth-only");
    std::fs::remove_file(home.codex("auth.json")).unwrap();
    home.run("use ada");
    let ada = home.read(".codex/auth.json");
    home.run("undo");
    assert!(!home.codex("auth.json").exists());
    home.run("undo");
    assert_eq!(home.read(".codex/auth.json"), ada);
    let home = home.file(".codex/auth.json", "{\"a\": 1}");
    home.run("use ada");
    home.run("undo");
    assert_eq!(home.read(".codex/auth.json"), b"{\"a\": 1}");
    home.run("undo");
    assert_eq!(home.read(".codex/auth.json"), ada);
}

#[test]
fn a_home_that_was_replaced_comes_back_as_it_was_with_what_is_tied_to_its_place() {
    let home = TestHome::of_ada();
    home.run("backup");
    let home = home
        .later("+1d")
        .file(".codex/new.md", "came later")
        .file(".codex/worktrees/ab12/repo/file", "unfinished work");
    let before = home.tree(".codex");
    assert_eq!(home.play("restore --yes").exit, 0);
    let restored = home.tree(".codex");
    assert!(!home.codex("new.md").exists());
    assert_snapshot!(home.run("undo --yes"), @"
    $ codex-manager undo --yes
    taken back     2026-11-22-110000-restore: restored 2026-11-19-100200-ada@example.com-codex
    before         kept in ~/.codex-manager/undo/2026-11-22-110000-undo/codex-home
    the other way  codex-manager undo 2026-11-22-110000-undo
    ");
    assert!(same_but_for_folders(&home.tree(".codex"), &before));
    home.run("undo --yes");
    assert!(same_but_for_folders(&home.tree(".codex"), &restored));
    assert!(home.codex("worktrees/ab12/repo/file").exists());
    home.run("undo --yes");
    assert!(same_but_for_folders(&home.tree(".codex"), &before));
    assert_eq!(home.play("log --verify").exit, 0);
    assert_eq!(home.play("doctor").exit, 0);
}

/// Whether two homes hold the same, but for the lock that guards the login. The times of folders do
/// not count: names came and went there.
fn same_but_for_folders(one: &BTreeMap<String, Node>, other: &BTreeMap<String, Node>) -> bool {
    let told = |tree: &BTreeMap<String, Node>| -> Vec<_> {
        let told = tree.iter().filter(|(path, _)| *path != "auth.lock");
        told.map(|(path, node)| (path.clone(), node.mode, node.content.clone())).collect()
    };
    told(one) == told(other)
}

#[test]
fn a_home_that_was_used_since_is_not_taken_away_unless_somebody_insists() {
    let home = TestHome::of_ada();
    home.run("backup");
    home.run("restore --yes");
    // The clock of a file system ticks every few milliseconds.
    std::thread::sleep(std::time::Duration::from_millis(50));
    let home = home.file(".codex/sessions/2026/11/22/today.jsonl", "{}\n");
    let before = home.tree(".codex");
    assert_snapshot!(home.run("undo --yes"), @"
    $ codex-manager undo --yes
    error: ~/.codex was used since: sessions/2026/11, sessions/2026/11/22, sessions/2026/11/22/today.jsonl
    hint: --force takes it back all the same: the home as it is now is kept
    (exit 2)
    ");
    home.assert_same(".codex", &before);
    home.run("undo --yes --force");
    assert!(!home.codex("sessions/2026/11/22/today.jsonl").exists());
    home.run("undo --yes");
    assert!(home.codex("sessions/2026/11/22/today.jsonl").exists());
}

#[test]
fn the_home_that_comes_back_gets_the_newest_login_of_its_account() {
    let home = TestHome::of_ada();
    home.run("backup");
    home.run("restore --yes");
    let (user, workspace) = ids("ada@example.com");
    let at = "2026-11-22T11:30:00Z";
    let home = home.later("+1d").signed_in_as("ada@example.com", &user, &workspace, "rt_new", at);
    let refreshed = home.read(".codex/auth.json");
    home.run("undo --yes --force");
    assert_eq!(home.read(".codex/auth.json"), refreshed);
}

#[test]
fn a_home_where_none_was_leaves_again_and_comes_again() {
    let home = TestHome::of_ada();
    home.run("backup");
    std::fs::remove_dir_all(home.codex("")).unwrap();
    assert_eq!(home.play("restore --yes").exit, 0);
    let restored = home.tree(".codex");
    assert_snapshot!(home.run("undo --yes"), @"
    $ codex-manager undo --yes
    taken back     2026-11-21-110000-restore: restored 2026-11-19-100200-ada@example.com-codex
    before         kept in ~/.codex-manager/undo/2026-11-21-110000-undo/codex-home
    the other way  codex-manager undo 2026-11-21-110000-undo
    ");
    assert!(!home.codex("").exists());
    home.run("undo --yes");
    assert!(same_but_for_folders(&home.tree(".codex"), &restored));
}

/// Writes a text into a database that lies outside the home.
fn memorize(home: &TestHome, text: &str) {
    std::fs::create_dir_all(home.path("db")).unwrap();
    let db = rusqlite::Connection::open(home.path("db/memories_1.sqlite")).unwrap();
    let sql = "PRAGMA journal_mode = WAL; CREATE TABLE IF NOT EXISTS t (x); DELETE FROM t;";
    db.execute_batch(sql).unwrap();
    db.execute("INSERT INTO t VALUES (?1)", [text]).unwrap();
}

/// What that database says.
fn memory(home: &TestHome) -> String {
    let db = rusqlite::Connection::open(home.path("db/memories_1.sqlite")).unwrap();
    db.query_row("SELECT x FROM t", [], |row| row.get(0)).unwrap()
}

#[test]
fn databases_outside_the_home_come_back_with_it() {
    let home = TestHome::of_ada().variable("CODEX_SQLITE_HOME", "db");
    let (write, says) = (|text: &str| memorize(&home, text), || memory(&home));
    write("then");
    home.run("backup");
    write("now");
    home.run("restore --yes");
    assert_eq!(says(), "then");
    let seen = home.play("undo --yes --force");
    assert_eq!((seen.exit, says().as_str()), (0, "now"), "{}", seen.screen);
    let seen = home.play("undo --yes --force");
    assert_eq!((seen.exit, says().as_str()), (0, "then"), "{}", seen.screen);
}

#[test]
fn what_changed_since_is_named_and_nothing_is_undone() {
    let home = TestHome::of_ada();
    home.run("backup");
    home.run("config set lean true");
    let home = home.file(".codex-manager/config.toml", "lean = false\n");
    home.run("cooldown set ada --until +9d");
    home.run("cooldown set ada --until +12d");
    let home = home.later("+1h");
    home.run("prune --keep-last 1 --yes");
    let before = held(&home);
    assert_snapshot!(home.run("undo config-set"), @"
    $ codex-manager undo config-set
    error: 2026-11-21-110000-config-set cannot be taken back: config.toml was changed since
    hint: `codex-manager log` shows what was done since; take that back first
    (exit 2)
    ");
    assert_snapshot!(home.run("undo 2026-11-21-110000-cooldown-set"), @"
    $ codex-manager undo 2026-11-21-110000-cooldown-set
    error: 2026-11-21-110000-cooldown-set cannot be taken back: ada@example.com was set aside until 2026-12-03T11:00:00+01:00 since
    hint: `codex-manager log` shows what was done since; take that back first
    (exit 2)
    ");
    assert_snapshot!(home.run("undo nothing-like-it"), @"
    $ codex-manager undo nothing-like-it
    error: there is no operation nothing-like-it
    hint: `codex-manager log` lists what can be taken back
    (exit 4)
    ");
    assert_snapshot!(home.run("undo cooldown"), @"
    $ codex-manager undo cooldown
    error: cooldown is part of the name of several operations: 2026-11-21-110000-cooldown-set, 2026-11-21-110000-cooldown-set-2
    hint: `codex-manager log` lists what can be taken back
    (exit 2)
    ");
    assert!(held(&home) == before);
    home.run("undo cooldown-set-2");
    assert_snapshot!(home.run("undo cooldown-set-2"), @"
    $ codex-manager undo cooldown-set-2
    error: 2026-11-21-110000-cooldown-set-2 was taken back before; what was done about it last is 2026-11-21-120000-undo
    hint: `codex-manager undo 2026-11-21-120000-undo` takes that back
    (exit 2)
    ");
    assert_snapshot!(home.run("undo --dry-run"), @"
    $ codex-manager undo --dry-run
    would do again  2026-11-21-110000-cooldown-set-2: ada@example.com rests until Thu 03 Dec 2026 11:00
    ");
}

#[test]
fn the_only_copy_of_a_login_is_not_undone() {
    let home = TestHome::of_ada();
    home.run("backup --auth-only");
    let home = home.signed_in("bob@example.com");
    let before = held(&home);
    assert_snapshot!(home.run("undo"), @"
    $ codex-manager undo
    error: 2026-11-21-110000-backup cannot be taken back: 2026-11-19-100200-ada@example.com-codex holds the newest login of ada@example.com
    hint: store that login once more with `codex-manager adopt`, if it is the live one; `codex-manager accounts forget ACCOUNT` puts all of an account away, its login too
    (exit 5)
    ");
    assert!(held(&home) == before);
}

#[test]
fn the_log_tells_what_was_done_and_what_can_be_undone() {
    let home = TestHome::of_ada();
    assert_snapshot!(home.run("log"), @"
    $ codex-manager log
    nothing was done yet
    ");
    assert_snapshot!(home.run("undo"), @"
    $ codex-manager undo
    error: there is no operation that can be taken back
    hint: `codex-manager log` lists what can be taken back
    (exit 4)
    ");
    home.run("backup");
    let home = home.later("+1h");
    home.run("config set lean true");
    home.run("undo");
    home.run("drill");
    assert_snapshot!(home.run("log"), @"
    $ codex-manager log
    OPERATION                     WHAT                                                     UNDO
    2026-11-21-120000-drill       proved 1 of 1 snapshot                                   no
    2026-11-21-120000-undo        took back 2026-11-21-120000-config-set: set lean = true  yes
    2026-11-21-120000-config-set  set lean = true                                          undone
    2026-11-21-110000-backup      stored 2026-11-19-100200-ada@example.com-codex           yes
    ");
    assert_snapshot!(home.run("log -n 1"), @"
    $ codex-manager log -n 1
    OPERATION                WHAT                    UNDO
    2026-11-21-120000-drill  proved 1 of 1 snapshot  no
    ");
    let first = home.json("log")["data"]["operations"][3].clone();
    assert_eq!(first["command"], "backup");
    assert_eq!(first["changes"][0]["to"]["archive"], format!("backups/{NAME}.tar.gz"));
}

#[test]
fn a_log_that_somebody_touched_is_found_out_and_goes_on() {
    let home = TestHome::of_ada();
    home.run("config set lean true");
    home.run("config set lean false");
    let log = String::from_utf8(home.read(".codex-manager/operations.jsonl")).unwrap();
    let home = home.file(".codex-manager/operations.jsonl", log.replacen("true", "maybe", 1));
    assert_snapshot!(home.run("log --verify"), @"
    $ codex-manager log --verify
    broken line 1: its content is not what was written
    broken line 2: it does not follow the line before it: one was changed, taken out or put in
    2 operations, 2 not as they were written
    (exit 5)
    ");
    home.run("config unset lean");
    assert_snapshot!(home.run("log"), @"
    $ codex-manager log
    warning: ~/.codex-manager/operations.jsonl, line 1: its content is not what was written
    warning: ~/.codex-manager/operations.jsonl, line 2: it does not follow the line before it: one was changed, taken out or put in
    OPERATION                       WHAT              UNDO
    2026-11-21-110000-config-unset  unset lean        yes
    2026-11-21-110000-config-set-2  set lean = false  yes
    2026-11-21-110000-config-set    set lean = maybe  no
    ");
    let data = home.json("log --verify")["data"].clone();
    assert_eq!((&data["verified"], &data["problems"][0]["line"]), (&false.into(), &1.into()));
}

#[test]
fn a_login_is_taken_back_in_the_home_where_it_was_exchanged_and_in_no_other() {
    let home = TestHome::of_ada();
    home.run("backup --auth-only");
    let home = home.signed_in("bob@example.com");
    home.run("backup --auth-only");
    std::fs::create_dir(home.path("other")).unwrap();
    std::fs::copy(home.codex("auth.json"), home.path("other/auth.json")).unwrap();
    let home = home.tokens_in("other/auth.json");
    home.run("use ada --codex-home other");
    let (bob, ada) = (home.read(".codex/auth.json"), home.read("other/auth.json"));
    assert_ne!(bob, ada);
    assert_snapshot!(home.run("undo"), @"
    $ codex-manager undo
    error: that was done to ~/other
    hint: name it with --codex-home ~/other
    (exit 4)
    ");
    assert_eq!((home.read(".codex/auth.json"), home.read("other/auth.json")), (bob.clone(), ada));
    home.run("undo --codex-home other");
    assert_eq!(home.read("other/auth.json"), bob);
}

#[test]
fn a_fresher_login_of_the_same_account_is_not_taken_back() {
    let home = TestHome::of_ada();
    let spent = home.read(".codex/auth.json");
    let (user, workspace) = ids("ada@example.com");
    let at = "2026-11-22T11:30:00Z";
    let home = home.later("+1d").signed_in_as("ada@example.com", &user, &workspace, "rt_new", at);
    home.run("backup --auth-only");
    let home = home.file(".codex/auth.json", spent);
    home.run("use ada");
    let fresh = home.read(".codex/auth.json");
    assert_snapshot!(home.run("undo use"), @"
    $ codex-manager undo use
    error: 2026-11-22-110000-use cannot be taken back: the login before was an older one of the same account
    hint: `codex-manager log` lists what can be taken back
    (exit 4)
    ");
    assert_eq!(home.read(".codex/auth.json"), fresh);
    // What was done before that is not out of reach.
    let home = home.signed_in("bob@example.com");
    assert_eq!(home.play("undo --dry-run").exit, 5, "the backup is needed, and it is its turn");
}

#[test]
fn what_we_did_to_the_login_ourselves_does_not_count_as_use() {
    let home = TestHome::of_ada();
    home.run("backup");
    let home = home.signed_in("bob@example.com");
    home.run("backup --auth-only");
    home.run("restore --account ada --yes");
    home.run("use bob");
    home.run("undo");
    let seen = home.play("undo restore --yes");
    assert_eq!(seen.exit, 0, "{}", seen.screen);
}

#[test]
fn databases_that_came_with_a_home_where_none_was_go_with_it() {
    let home = TestHome::of_ada().variable("CODEX_SQLITE_HOME", "db");
    let (write, says) = (|text: &str| memorize(&home, text), || memory(&home));
    write("then");
    home.run("backup");
    write("now");
    std::fs::remove_dir_all(home.codex("")).unwrap();
    home.run("restore --yes");
    assert_eq!(says(), "then");
    home.run("undo --yes");
    assert_eq!((home.codex("").exists(), says().as_str()), (false, "now"));
}

#[test]
#[cfg(unix)]
fn a_path_that_no_document_can_name_is_refused_before_anything() {
    use std::os::unix::ffi::OsStrExt as _;
    let home = TestHome::of_ada();
    home.run("backup");
    let odd = home.path("").join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    std::fs::create_dir(&odd).unwrap();
    for flag in ["--codex-home", "--home", "--to"] {
        let mut program = home.program(&["restore", "--yes", "--json"]);
        let seen = program.arg(flag).arg(&odd).output().unwrap();
        assert_eq!(seen.status.code(), Some(4), "{flag}: {seen:?}");
        assert!(String::from_utf8(seen.stdout).unwrap().contains("is not UTF-8"), "{flag}");
    }
    assert_eq!(std::fs::read_dir(&odd).unwrap().count(), 0);
}
