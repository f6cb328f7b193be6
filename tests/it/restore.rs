//! `restore`: does the home come back, and is nothing lost on the way?

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use codex_manager::account::AccountKey;
use codex_manager::codex::home::{CodexHome, Surroundings};
use codex_manager::codex::process::{Holder, Role};
use codex_manager::snapshot::logins::{self, Live, Shelf};
use codex_manager::snapshot::operations::Record;
use codex_manager::snapshot::restore::{self, Destination, Policy, RestoreError, Run};
use codex_manager::snapshot::store::Store;
use codex_manager::time::Zone;
use insta::assert_snapshot;
use rusqlite::Connection;

use crate::home::{Node, TestHome, ids, login, rotten_member, table_of_contents, without_checksum};

const NAME: &str = "2026-11-19-100200-ada@example.com-codex";

/// Ada's home was stored; a day later it has changed.
fn changed() -> TestHome {
    let home = TestHome::of_ada()
        .file(".codex/installation_id", "11111111-1111-4111-8111-111111111111")
        .file(".codex/skills/mine/SKILL.md", "as it was");
    home.run("backup --label good");
    home.later("+1d")
        .file(".codex/skills/mine/SKILL.md", "spoilt")
        .file(".codex/installation_id", "22222222-2222-4222-8222-222222222222")
        .file(".codex/worktrees/ab12/repo/file", "unfinished work")
        .file(".codex/new.md", "came later")
}

fn text(home: &TestHome, path: &str) -> String {
    String::from_utf8(home.read(path)).unwrap()
}

/// Where the replaced home is kept.
fn kept(home: &TestHome) -> String {
    let files = home.files();
    let first = files.lines().find(|name| name.starts_with("undo/")).unwrap();
    let operation = first.split('/').nth(1).unwrap();
    format!(".codex-manager/undo/{operation}/codex-home")
}

#[test]
fn in_place_the_home_is_exchanged_and_the_replaced_one_is_kept() {
    let home = changed();
    let before = home.tree(".codex");
    assert_snapshot!(home.run("restore --yes"), @"
    $ codex-manager restore --yes
    snapshot     2026-11-19-100200-ada@example.com-codex
    content      9 files, 15 KiB
    login        the live one stays
    kept         worktrees
    restored to  ~/.codex
    before       kept in ~/.codex-manager/undo/2026-11-22-110000-restore/codex-home
    ");
    assert_snapshot!(home.codex_files(), @"
    .credentials.json
    .env
    auth.json
    config.toml
    installation_id
    sessions/2026/11/21/rollout-2026-11-21T09-50-00-019aa000-0000-7000-8000-000000000001.jsonl
    skills/mine/SKILL.md
    state_5.sqlite
    worktrees/ab12/repo/file
    ");
    assert_snapshot!(home.files(), @"
    backups/2026-11-19-100200-ada@example.com-codex.metadata.json
    backups/2026-11-19-100200-ada@example.com-codex.tar.gz
    ledger.jsonl
    lock
    operations.jsonl
    tmp/
    trash/
    undo/2026-11-22-110000-restore/codex-home/.credentials.json
    undo/2026-11-22-110000-restore/codex-home/.env
    undo/2026-11-22-110000-restore/codex-home/auth.json
    undo/2026-11-22-110000-restore/codex-home/auth.lock
    undo/2026-11-22-110000-restore/codex-home/config.toml
    undo/2026-11-22-110000-restore/codex-home/installation_id
    undo/2026-11-22-110000-restore/codex-home/new.md
    undo/2026-11-22-110000-restore/codex-home/sessions/2026/11/21/rollout-2026-11-21T09-50-00-019aa000-0000-7000-8000-000000000001.jsonl
    undo/2026-11-22-110000-restore/codex-home/skills/mine/SKILL.md
    undo/2026-11-22-110000-restore/codex-home/state_5.sqlite
    undo/2026-11-22-110000-restore/codex-home/state_5.sqlite-shm
    undo/2026-11-22-110000-restore/codex-home/state_5.sqlite-wal
    ");
    assert_eq!(text(&home, ".codex/skills/mine/SKILL.md"), "as it was");
    let modified = |tree: &BTreeMap<String, Node>| tree["config.toml"].modified;
    assert_eq!(modified(&home.tree(".codex")), modified(&before));
    // What is this machine's stays; what is tied to its place moves over.
    assert_eq!(text(&home, ".codex/installation_id"), "22222222-2222-4222-8222-222222222222");
    assert_eq!(text(&home, ".codex/worktrees/ab12/repo/file"), "unfinished work");
    // All the rest of the old home is where it can be brought back from, as it was.
    let kept = home.tree(&kept(&home));
    for (name, node) in &before {
        let moved = name.is_empty() || name.starts_with("worktrees");
        assert!(moved || kept.get(name).is_some_and(|kept| kept == node), "{name}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_home_that_cannot_be_put_away_stays_beside_the_new_one() {
    let home = changed();
    let before = home.tree(".codex");
    // Nobody can make a folder in there.
    std::fs::remove_dir(home.manager("undo")).unwrap();
    let home = home.link(".codex-manager/undo", "/proc");
    let answer = home.json("restore --yes");
    assert_eq!(answer["ok"], true, "{answer}");
    assert_eq!(text(&home, ".codex/skills/mine/SKILL.md"), "as it was");
    let kept = answer["data"]["undo"].as_str().unwrap().strip_prefix("~/").unwrap().to_owned();
    let warnings = answer["warnings"].to_string();
    assert!(warnings.contains(&kept), "{warnings}");
    let home = home.tokens_in(&kept);
    let kept = home.tree(&kept);
    for (name, node) in &before {
        let moved = name.is_empty() || name.starts_with("worktrees");
        assert!(moved || kept.get(name) == Some(node), "{name}");
    }
}

#[test]
fn every_way_to_name_a_snapshot_finds_it() {
    let home = changed();
    home.run("backup --without-status-check");
    let archive = format!("~/.codex-manager/backups/{NAME}.tar.gz");
    for name in [NAME, "good", "10020", &archive, "--account ada", "--account ADA@example.com"] {
        let answer = home.json(&format!("restore {name} --dry-run"));
        let found = answer["data"]["snapshot"].as_str().unwrap_or_default();
        let newest = name.starts_with("--account");
        assert_eq!(found == NAME, !newest, "{name}: {answer}");
    }
    let answer = home.json("restore --dry-run");
    assert_ne!(answer["data"]["snapshot"], NAME, "without a name it is the newest");
}

#[test]
fn a_dry_run_tells_the_plan_and_changes_nothing() {
    let home = changed();
    let before = home.tree("");
    assert_snapshot!(home.run("restore --dry-run"), @"
    $ codex-manager restore --dry-run
    snapshot       2026-11-19-100200-ada@example.com-codex
    content        9 files, 15 KiB
    login          the live one stays
    kept           worktrees
    would replace  ~/.codex
    ");
    home.assert_same("", &before);
}

#[test]
fn nobody_waits_for_a_person_who_is_asked() {
    use codex_manager::disk::lock::{Lock, Mode};
    let home = TestHome::of_ada();
    assert_eq!(home.play("backup").exit, 0);
    let wait = Duration::ZERO;
    let lock = Lock::acquire(&home.manager("lock"), Mode::Exclusive, wait, "a test").unwrap();
    assert_eq!(home.play("restore --lock-timeout 0").exit, 4, "the question comes before the lock");
    assert_eq!(home.play("restore --lock-timeout 0 --yes").exit, 8);
    drop(lock);
    assert_eq!(home.play("restore --lock-timeout 0 --yes").exit, 0);
}

#[test]
fn without_a_yes_and_without_a_terminal_nothing_happens() {
    let home = changed();
    let before = home.tree(".codex");
    assert_snapshot!(home.run("restore"), @"
    $ codex-manager restore
    error: Replace ~/.codex by 2026-11-19-100200-ada@example.com-codex? What is there now is kept. Nobody is there to answer.
    hint: pass --yes to do it without asking, or --dry-run to see what would happen
    (exit 4)
    ");
    home.assert_same(".codex", &before);
}

#[test]
fn a_home_that_is_gone_comes_back() {
    let home = changed();
    std::fs::remove_dir_all(home.codex("")).unwrap();
    assert_snapshot!(home.run("restore"), @"
    $ codex-manager restore
    snapshot     2026-11-19-100200-ada@example.com-codex
    content      9 files, 15 KiB
    login        from the snapshot
    restored to  ~/.codex
    ");
    assert_eq!(text(&home, ".codex/skills/mine/SKILL.md"), "as it was");
}

#[test]
fn elsewhere_the_index_of_threads_names_the_new_place() {
    let home = changed();
    let before = home.tree(".codex");
    assert_snapshot!(home.run("restore --to elsewhere/copy"), @"
    $ codex-manager restore --to elsewhere/copy
    snapshot     2026-11-19-100200-ada@example.com-codex
    content      9 files, 15 KiB
    login        from the snapshot
    restored to  ~/elsewhere/copy
    ");
    home.assert_same(".codex", &before); // the Codex home is left alone
    assert_snapshot!(home.threads("elsewhere/copy/state_5.sqlite"), @"~/elsewhere/copy/sessions/2026/11/21/rollout-2026-11-21T09-50-00-019aa000-0000-7000-8000-000000000001.jsonl");
    assert_snapshot!(home.run("restore --to elsewhere/copy"), @"
    $ codex-manager restore --to elsewhere/copy
    error: ~/elsewhere/copy is there already and is no empty folder
    hint: name a folder that does not exist yet
    (exit 4)
    ");
}

#[test]
fn in_place_the_index_of_threads_stays() {
    let home = changed();
    let before = home.threads(".codex/state_5.sqlite");
    assert!(!before.is_empty());
    assert_eq!(home.play("restore --yes").exit, 0);
    assert_eq!(home.threads(".codex/state_5.sqlite"), before);
}

#[test]
fn the_log_of_the_replaced_database_never_meets_the_restored_one() {
    let home = changed().file(".codex/state_5.sqlite-wal", [0x37; 8192]);
    assert_eq!(home.play("restore --yes").exit, 0);
    let files = home.codex_files();
    assert!(!files.contains("-wal") && !files.contains("-shm"), "{files}");
}

#[test]
fn what_the_configuration_excludes_is_carried_over() {
    let home =
        TestHome::of_ada().file(".codex/skills/big/blob", "large").config("exclude", "skills/big");
    home.run("backup");
    let home = home.file(".codex/skills/big/blob", "larger");
    assert_eq!(home.play("restore --yes").exit, 0);
    assert_eq!(text(&home, ".codex/skills/big/blob"), "larger");
}

#[test]
fn the_freshest_login_of_the_account_is_installed() {
    // The snapshot's login is old; Codex has refreshed the live one since.
    let (user, workspace) = ids("ada@example.com");
    let home = changed().signed_in_as(
        "ada@example.com",
        &user,
        &workspace,
        "rt_second",
        "2026-11-22T08:00:00Z",
    );
    let live = home.read(".codex/auth.json");
    let answer = home.json("restore --yes");
    assert_eq!(answer["data"]["login"], "kept-live");
    assert_eq!(home.read(".codex/auth.json"), live);
}

#[test]
fn an_older_login_is_refused_unless_that_is_accepted() {
    let (user, workspace) = ids("ada@example.com");
    let home = changed();
    let archived = home.read(".codex/auth.json");
    let home = home.signed_in_as(
        "ada@example.com",
        &user,
        &workspace,
        "rt_second",
        "2026-11-22T08:00:00Z",
    );
    let before = home.tree(".codex");
    assert_snapshot!(home.run("restore --login snapshot --yes"), @"
    $ codex-manager restore --login snapshot --yes
    error: 2026-11-19-100200-ada@example.com-codex holds an older login (refreshed 2026-11-21T10:00:00Z) than the live one (refreshed 2026-11-22T08:00:00Z)
    hint: leave --login away to install the newest one; --accept-stale-login insists
    (exit 5)
    ");
    home.assert_same(".codex", &before);
    let newer = home.read(".codex/auth.json");
    assert_snapshot!(home.run("restore --login snapshot --accept-stale-login --yes"), @"
    $ codex-manager restore --login snapshot --accept-stale-login --yes
    snapshot     2026-11-19-100200-ada@example.com-codex
    content      9 files, 15 KiB
    login        from the snapshot
    kept         worktrees
    stored       the login that was live, as 2026-11-22-110000-ada@example.com-codex
    restored to  ~/.codex
    before       kept in ~/.codex-manager/undo/2026-11-22-110000-restore/codex-home
    ");
    assert_eq!(home.read(".codex/auth.json"), archived);
    // The newer one was banked, and `use` brings it back.
    assert_eq!(home.play("use ada").exit, 0);
    assert_eq!(home.read(".codex/auth.json"), newer);
}

#[test]
fn the_login_of_another_account_may_stay() {
    let home = changed().signed_in("bob@example.com");
    let bob = home.read(".codex/auth.json");
    assert_snapshot!(home.run("restore good --login keep --yes"), @"
    $ codex-manager restore good --login keep --yes
    snapshot     2026-11-19-100200-ada@example.com-codex
    content      9 files, 15 KiB
    login        the live one stays
    kept         worktrees
    stored       the login that was live, as 2026-11-22-110000-bob@example.com-codex
    restored to  ~/.codex
    before       kept in ~/.codex-manager/undo/2026-11-22-110000-restore/codex-home
    ");
    assert_eq!(home.read(".codex/auth.json"), bob);
}

#[test]
fn the_login_that_is_replaced_is_banked_first() {
    let home = changed().signed_in("bob@example.com");
    let bob = home.read(".codex/auth.json");
    assert_snapshot!(home.run("restore good --yes"), @"
    $ codex-manager restore good --yes
    snapshot     2026-11-19-100200-ada@example.com-codex
    content      9 files, 15 KiB
    login        from the snapshot
    kept         worktrees
    stored       the login that was live, as 2026-11-22-110000-bob@example.com-codex
    restored to  ~/.codex
    before       kept in ~/.codex-manager/undo/2026-11-22-110000-restore/codex-home
    `codex resume ID` goes on with any session, `resume --last` with the newest of this account
    ");
    assert_ne!(home.read(".codex/auth.json"), bob);
    assert_eq!(home.play("use bob").exit, 0);
    assert_eq!(home.read(".codex/auth.json"), bob);
}

#[cfg(unix)]
#[test]
fn links_inside_stay_and_links_outside_are_left_out_and_named() {
    let home = TestHome::of_ada()
        .file("outside/secret", "not yours")
        .file(".codex/skills/mine/SKILL.md", "words")
        .link(".codex/skills/alias", "mine")
        .link(".codex/prompts", "../outside");
    home.run("backup");
    assert_snapshot!(home.run("restore --to copy"), @"
    $ codex-manager restore --to copy
    warning: prompts was left out: it points outside
    snapshot     2026-11-19-100200-ada@example.com-codex
    content      10 files, 15 KiB
    login        from the snapshot
    restored to  ~/copy
    ");
    assert_eq!(
        std::fs::read_link(home.path("copy/skills/alias")).unwrap(),
        std::path::Path::new("mine")
    );
    assert!(home.path("copy/prompts").symlink_metadata().is_err());
    // The live home has the very same link: whoever made it trusts it.
    assert_snapshot!(home.run("restore --yes"), @"
    $ codex-manager restore --yes
    snapshot     2026-11-19-100200-ada@example.com-codex
    content      10 files, 15 KiB
    login        the live one stays
    restored to  ~/.codex
    before       kept in ~/.codex-manager/undo/2026-11-21-110000-restore-2/codex-home
    ");
    assert_eq!(
        std::fs::read_link(home.codex("prompts")).unwrap(),
        std::path::Path::new("../outside")
    );
    assert_eq!(text(&home, "outside/secret"), "not yours");
}

#[cfg(target_os = "linux")]
#[test]
fn under_a_running_codex_nothing_is_replaced() {
    let home = changed();
    let codex = home.running_codex();
    let before = home.tree(".codex");
    let id = codex.id().to_string();
    let seen = |line: &str| home.run(line).replace(&id, "PID");
    assert_snapshot!(seen("restore --yes"), @"
    $ codex-manager restore --yes
    error: codex (pid PID) is using ~/.codex
    hint: quit it with /quit, and try again; --wait waits for that, --force goes on regardless
    (exit 3)
    ");
    assert_snapshot!(seen("restore --dry-run"), @"
    $ codex-manager restore --dry-run
    error: codex (pid PID) is using ~/.codex
    hint: quit it with /quit, and try again; --wait waits for that, --force goes on regardless
    (exit 3)
    ");
    home.assert_same(".codex", &before);
    // A copy elsewhere and a backup disturb nobody.
    assert_eq!(home.play("restore --to copy").exit, 0);
    assert_eq!(home.play("backup").exit, 0);
    codex.quit();
    assert_eq!(home.play("restore --yes").exit, 0);
}

#[test]
fn an_auth_snapshot_is_no_home() {
    let home = TestHome::of_ada();
    home.run("backup --auth-only");
    let before = home.tree(".codex");
    assert_snapshot!(home.run(&format!("restore {NAME} --yes")), @"
    $ codex-manager restore 2026-11-19-100200-ada@example.com-codex --yes
    error: 2026-11-19-100200-ada@example.com-codex holds only a login
    hint: sign that account in with `codex-manager use ACCOUNT`, or unpack it with --to DIR
    (exit 4)
    ");
    assert_snapshot!(home.run("restore --yes"), @"
    $ codex-manager restore --yes
    error: no full snapshot of ada@example.com is stored
    hint: `codex-manager list` shows what there is
    (exit 4)
    ");
    home.assert_same(".codex", &before);
    assert_snapshot!(home.run(&format!("restore {NAME} --to copy")), @"
    $ codex-manager restore 2026-11-19-100200-ada@example.com-codex --to copy
    snapshot     2026-11-19-100200-ada@example.com-codex
    content      2 files, 2.6 KiB
    login        from the snapshot
    restored to  ~/copy
    ");
}

#[test]
fn the_document_tells_what_happened() {
    let home = changed();
    let mut answer = home.json("restore --yes");
    answer["data"].sort_all_objects();
    // Paths of this folder are in the database, so its name decides the length.
    assert!(answer["data"]["content_bytes"].as_u64().is_some_and(|count| 8192 < count));
    answer["data"]["content_bytes"] = "some".into();
    assert_snapshot!(format!("{:#}", answer["data"]), @r#"
    {
      "banked": null,
      "carried": [
        "worktrees"
      ],
      "content_bytes": "some",
      "damaged": [],
      "databases": null,
      "destination": "~/.codex",
      "dry_run": false,
      "files": 9,
      "login": "kept-live",
      "login_from": null,
      "only": [],
      "rewritten_paths": 0,
      "snapshot": "2026-11-19-100200-ada@example.com-codex",
      "undo": "~/.codex-manager/undo/2026-11-22-110000-restore/codex-home"
    }
    "#);
}

#[test]
fn a_login_made_up_for_another_account_is_no_match_for_its_sidecar() {
    let home = TestHome::of_ada();
    home.run("backup");
    let sidecar = format!(".codex-manager/backups/{NAME}.metadata.json");
    let told = without_checksum(&home.read(&sidecar));
    let told = told.replace("user-ada-example-com", "user-eve-example-com");
    let (user, workspace) = ids("ada@example.com");
    let home = home.file(&sidecar, told).file(
        ".codex/auth.json",
        login("ada@example.com", &user, &workspace, "rt_x", "2026-11-21T10:00:00Z"),
    );
    let before = home.tree(".codex");
    assert_snapshot!(home.run(&format!("restore {NAME} --yes")), @"
    $ codex-manager restore 2026-11-19-100200-ada@example.com-codex --yes
    error: 2026-11-19-100200-ada@example.com-codex: its auth.json belongs to chatgpt:user-ada-example-com/acct-ada-example-com, its sidecar says chatgpt:user-eve-example-com/acct-ada-example-com
    hint: see `codex-manager verify 2026-11-19-100200-ada@example.com-codex`, and use another snapshot
    (exit 5)
    ");
    home.assert_same(".codex", &before);
}

/// Restores the only snapshot in place; `holders` is asked right before the exchange.
fn restored_while(home: &TestHome, holders: &dyn Fn() -> Vec<Holder>) -> RestoreError {
    let store = Store::at(home.path(".codex-manager"));
    let root = home.codex("").canonicalize().unwrap();
    let scan = store.scan(&Zone::UTC).unwrap();
    let shelf = Shelf::new(&scan.snapshots, &scan.problems);
    let live = Live::read(&CodexHome::at(root.clone())).unwrap();
    let to = Destination::InPlace(root);
    let around = Surroundings::default();
    let plan = restore::plan(
        &scan.snapshots[0],
        to,
        Policy::Freshest,
        &live,
        &shelf,
        around,
        store.root(),
    )
    .unwrap();
    let stop = AtomicBool::new(false);
    let lock = store.open(Duration::ZERO, "test").unwrap().lock;
    let at = Zone::UTC.stamp("2026-11-21T10:00:00Z".parse().unwrap());
    let record = Record::new("test".to_owned(), at, "restore", "restored it".to_owned());
    let (ledger, advance, outgoing) = (&[], &mut |_| {}, Vec::new());
    let mut run = Run { record, ledger, outgoing, lock: &lock, advance, stop: &stop, holders };
    let error = restore::apply(&plan, &store, &mut run).unwrap_err();
    assert!(!store.journal().exists(), "nothing is left to finish");
    error
}

#[cfg(unix)]
#[test]
fn whoever_agreed_to_a_restore_agreed_to_no_other() {
    let home = TestHome::of_ada().variable("CODEX_SQLITE_HOME", "db");
    std::fs::create_dir(home.path("db")).unwrap();
    let db = Connection::open(home.path("db/memories_1.sqlite")).unwrap();
    db.execute_batch("CREATE TABLE said (word TEXT)").unwrap();
    db.close().unwrap();
    home.run("backup");
    let terms = |home: &TestHome| {
        let store = Store::at(home.path(".codex-manager"));
        let root = home.codex("").canonicalize().unwrap();
        let scan = store.scan(&Zone::UTC).unwrap();
        let shelf = Shelf::new(&scan.snapshots, &scan.problems);
        let live = Live::read(&CodexHome::at(root.clone())).unwrap();
        let to = Destination::InPlace(root);
        let around = Surroundings { sqlite_home: Some(home.path("db")), user_home: None };
        let policy = Policy::Freshest;
        restore::plan(&scan.snapshots[0], to, policy, &live, &shelf, around, store.root())
            .unwrap()
            .terms()
    };
    let mut before = terms(&home);
    assert_eq!(before, terms(&home));
    let home = home.file(".codex/new.md", "came later");
    assert_eq!(before, terms(&home), "what changes nothing of the plan");
    let mut differs = |home: TestHome, what: &str| {
        let now = terms(&home);
        assert_ne!(before, now, "{what}");
        before = now;
        home
    };
    let home = differs(home.file(".codex/worktrees/a/file", "x"), "what is carried over");
    let bob = login("bob@example.com", "user-bob", "acct-bob", "rt_bob", "2026-11-22T08:00:00Z");
    let home = differs(home.file(".codex/auth.json", &bob), "another login");
    std::fs::create_dir(home.path("moved")).unwrap();
    std::fs::remove_dir_all(home.path("db")).unwrap();
    let home = differs(home.link("db", "moved"), "another folder of databases");
    home.run("backup --label newer --force");
    differs(home, "another snapshot");
}

/// What lies beside the Codex home.
fn beside(home: &TestHome) -> Vec<String> {
    let names = std::fs::read_dir(home.path("")).unwrap();
    let mut names: Vec<String> =
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_login_that_is_refreshed_while_the_home_is_built_is_not_replaced() {
    let home = changed();
    let newer = home.read(".codex/auth.json").repeat(1);
    let newer = String::from_utf8(newer).unwrap().replace("rt_ada", "rt_second");
    let auth = home.codex("auth.json");
    let error = restored_while(&home, &|| {
        std::fs::write(&auth, &newer).unwrap();
        Vec::new()
    });
    assert!(matches!(error, RestoreError::LoginChanged), "{error}");
    assert_eq!(text(&home, ".codex/auth.json"), newer);
    assert_eq!(text(&home, ".codex/skills/mine/SKILL.md"), "spoilt");
    assert_eq!(beside(&home), [".codex", ".codex-manager"]);
}

#[test]
fn a_codex_that_starts_while_the_home_is_built_keeps_it() {
    let home = changed();
    let error = restored_while(&home, &|| vec![Holder::new(4242, Role::Tui)]);
    assert_snapshot!(error, @"codex (pid 4242) came to use the home meanwhile");
    assert_eq!(text(&home, ".codex/skills/mine/SKILL.md"), "spoilt");
    assert_eq!(beside(&home), [".codex", ".codex-manager"]);
}

#[test]
fn a_damaged_newer_login_is_told_before_an_older_one_is_restored() {
    let (user, workspace) = ids("ada@example.com");
    let at = "2026-11-22T08:00:00Z";
    let home = changed().signed_in_as("ada@example.com", &user, &workspace, "rt_second", at);
    home.run("backup --auth-only");
    let newer = ".codex-manager/backups/2026-11-19-100200-ada@example.com~2-codex.tar.gz";
    let rotten = rotten_member(&home.read(newer), "auth.json");
    let home = home.file(newer, rotten).signed_in("bob@example.com");
    let before = home.tree(".codex");
    assert_snapshot!(home.run("restore good --yes"), @"
    $ codex-manager restore good --yes
    error: the newest login known (refreshed 2026-11-22T08:00:00Z) is in 2026-11-19-100200-ada@example.com~2-codex, which cannot be used: auth.json, chunk 1 of 1 (bytes 0-1114): not what was written, at byte # of the archive; the one in 2026-11-19-100200-ada@example.com-codex is older (refreshed 2026-11-21T10:00:00Z)
    hint: `--login keep` leaves the login as it is; `--login snapshot --accept-stale-login` takes the one in this snapshot
    (exit 5)
    ");
    home.assert_same(".codex", &before);
    let seen = home.play("restore good --login snapshot --accept-stale-login --yes");
    assert_eq!(seen.exit, 0, "{}", seen.screen);
}

#[test]
fn a_copy_elsewhere_never_gets_an_older_login_than_is_known() {
    let (user, workspace) = ids("ada@example.com");
    let at = "2026-11-22T08:00:00Z";
    let home = changed().signed_in_as("ada@example.com", &user, &workspace, "rt_second", at);
    let live = home.read(".codex/auth.json");
    assert_snapshot!(home.run("restore good --to freshest"), @"
    $ codex-manager restore good --to freshest
    snapshot     2026-11-19-100200-ada@example.com-codex
    content      9 files, 15 KiB
    login        the same as the live one
    restored to  ~/freshest
    ");
    assert_eq!(home.read("freshest/auth.json"), live);
    assert_snapshot!(home.run("restore good --to keep --login keep"), @"
    $ codex-manager restore good --to keep --login keep
    snapshot     2026-11-19-100200-ada@example.com-codex
    content      9 files, 15 KiB
    login        none
    restored to  ~/keep
    ");
    assert!(!home.path("keep/auth.json").exists());
    assert_snapshot!(home.run("restore good --to archived --login snapshot"), @"
    $ codex-manager restore good --to archived --login snapshot
    error: 2026-11-19-100200-ada@example.com-codex holds an older login (refreshed 2026-11-21T10:00:00Z) than the live one (refreshed 2026-11-22T08:00:00Z)
    hint: leave --login away to install the newest one; --accept-stale-login insists
    (exit 5)
    ");
    assert!(!home.path("archived").exists());
    let insisting = "restore good --to archived --login snapshot --accept-stale-login";
    assert_eq!(home.play(insisting).exit, 0);
    assert!(!text(&home, "archived/auth.json").contains("rt_second"));
    // Another account's login is none of its business.
    let home = home.signed_in("bob@example.com");
    assert_eq!(home.play("restore good --to beside-bob").exit, 0);
    assert!(text(&home, "beside-bob/auth.json").contains("acct-ada-example-com"));
}

#[test]
fn a_login_that_codex_would_not_look_at_is_not_restored() {
    let home = changed().signed_in("bob@example.com");
    let keyring = "cli_auth_credentials_store = \"keyring\"\n";
    let home = home.file(".codex/config.toml", keyring);
    let before = home.tree(".codex");
    assert_snapshot!(home.run("restore good --yes"), @r#"
    $ codex-manager restore good --yes
    warning: who is signed in is not known: Codex keeps its login in the keyring and does not use the one of bob@example.com in auth.json
    error: Codex keeps its logins in the keyring: the restored auth.json would do nothing
    hint: `--login keep` restores everything else; cli_auth_credentials_store = "file" in config.toml brings the login back into auth.json
    (exit 5)
    "#);
    home.assert_same(".codex", &before);
    let seen = home.play("restore good --login keep --yes");
    assert_eq!(seen.exit, 0, "{}", seen.screen);

    // The snapshot's own configuration counts as well: it is the one that comes.
    let home = TestHome::of_ada().file(".codex/config.toml", keyring);
    home.run("backup --no-login --label lean");
    let home = home.file(".codex/config.toml", "").later("+1h");
    home.run("backup --auth-only");
    let home = home.signed_in("bob@example.com");
    let before = home.tree(".codex");
    let seen = home.play("restore lean --yes");
    assert_eq!(seen.exit, 5, "{}", seen.screen);
    home.assert_same(".codex", &before);
}

#[cfg(unix)]
#[test]
fn a_linked_login_stays_linked_while_it_stays_and_is_never_exchanged() {
    let home = changed();
    std::fs::rename(home.codex("auth.json"), home.path("elsewhere.json")).unwrap();
    let ada = home.read("elsewhere.json");
    let home = home.tokens_in("elsewhere.json").link(".codex/auth.json", "../elsewhere.json");
    assert_eq!(home.play("restore good --yes").exit, 0);
    let link = std::fs::read_link(home.codex("auth.json")).unwrap();
    assert_eq!(link.to_str(), Some("../elsewhere.json"));
    assert_eq!(home.read(".codex/auth.json"), ada);
    assert_eq!(text(&home, ".codex/skills/mine/SKILL.md"), "as it was");

    let bob = login("bob@example.com", "user-bob", "acct-bob", "rt_bob", "2026-11-22T08:00:00Z");
    let home = home.file("elsewhere.json", &bob);
    let before = home.tree("");
    assert_snapshot!(home.run("restore good --dry-run"), @"
    $ codex-manager restore good --dry-run
    error: auth.json is a link to ~/elsewhere.json, which is not exchanged with the home
    hint: restore with `--login keep`; then `codex-manager use ACCOUNT` writes that file
    (exit 5)
    ");
    home.assert_same("", &before);

    // A place in the home is exchanged with the home.
    let home = changed();
    std::fs::rename(home.codex("auth.json"), home.codex("ada.json")).unwrap();
    let home = home.link(".codex/auth.json", "ada.json");
    assert_eq!(home.play("restore good --yes").exit, 0);
    assert!(!home.codex("auth.json").is_symlink());
    assert_eq!(home.read(".codex/auth.json"), ada);
}

#[test]
fn a_copy_takes_the_place_of_an_empty_folder_and_of_nothing_else() {
    let home = changed();
    std::fs::create_dir(home.path("empty")).unwrap();
    assert_eq!(home.play("restore good --to empty").exit, 0);
    assert_eq!(text(&home, "empty/skills/mine/SKILL.md"), "as it was");
    assert_eq!(beside(&home), [".codex", ".codex-manager", "empty"]);
    let before = home.tree("empty");
    assert_eq!(home.play("restore good --to empty").exit, 4);
    home.assert_same("empty", &before);
}

#[cfg(target_os = "linux")]
#[test]
fn a_mount_point_is_named_as_what_it_is() {
    let home = changed();
    assert_snapshot!(home.run("restore good --to /proc"), @"
    $ codex-manager restore good --to /proc
    error: /proc is a mount point and cannot be exchanged with another folder
    hint: restore with --to DIR inside that file system, or unmount it
    (exit 4)
    ");
}

#[test]
fn an_address_that_two_accounts_share_decides_nothing() {
    let home = TestHome::at("2026-11-21T10:00:00Z").signed_in("ada@example.com");
    home.run("backup --auth-only --without-status-check");
    let at = "2026-11-21T10:00:00Z";
    let home = home.signed_in_as("ada@example.com", "user-ada", "acct-team", "rt_team", at);
    let store = Store::at(home.path(".codex-manager"));
    let scan = store.scan(&Zone::UTC).unwrap();
    let codex = CodexHome::at(home.path(".codex"));
    let address = "ada@example.com".parse().unwrap();
    let owner = |live: &Live| logins::owner(&address, live, &scan.snapshots);
    let (user_id, account_id) = ids("ada@example.com");
    let stored = AccountKey::ChatGpt { user_id, account_id };
    assert_eq!(owner(&Live::Absent).unwrap(), Some(stored));
    assert_snapshot!(owner(&Live::read(&codex).unwrap()).unwrap_err(), @"ada@example.com is the address of several accounts: chatgpt:user-ada/acct-team, chatgpt:user-ada-example-com/acct-ada-example-com");
    let nobody = "eve@example.com".parse().unwrap();
    assert_eq!(logins::owner(&nobody, &Live::Absent, &scan.snapshots).unwrap(), None);
}

#[test]
fn databases_outside_come_back_although_the_home_has_some_of_that_name() {
    let home = TestHome::of_ada().variable("CODEX_SQLITE_HOME", "db").file("db/notes.md", "mine");
    let say = |path: &str, word: &str| {
        let db = Connection::open(home.path(path)).unwrap();
        db.execute_batch("CREATE TABLE IF NOT EXISTS said (word TEXT); DELETE FROM said").unwrap();
        db.execute("INSERT INTO said VALUES (?1)", [word]).unwrap();
    };
    let said = |path: &str| -> String {
        assert!(home.path(path).exists(), "{path}");
        let db = Connection::open(home.path(path)).unwrap();
        db.query_row("SELECT word FROM said", [], |row| row.get(0)).unwrap()
    };
    say("db/memories_1.sqlite", "outside");
    say(".codex/goals_1.sqlite", "inside");
    say("db/goals_1.sqlite", "outside");
    let made = home.run("backup --label good");
    assert!(made.contains("good") || made.contains("stored"), "{made}");
    say("db/goals_1.sqlite", "changed");
    say(".codex/goals_1.sqlite", "changed");
    let seen = home.play("restore good --yes");
    assert_eq!(seen.exit, 0, "{}", seen.screen);
    assert_eq!(said("db/goals_1.sqlite"), "outside");
    assert_eq!(said(".codex/goals_1.sqlite"), "inside");
    assert_eq!(text(&home, "db/notes.md"), "mine");
    // A copy has one folder for all: what Codex used is in it.
    let seen = home.play("restore good --to copy");
    assert_eq!(seen.exit, 0, "{}", seen.screen);
    assert_eq!(said("copy/goals_1.sqlite"), "outside");
    assert_eq!(said("copy/memories_1.sqlite"), "outside");
}

/// What is named by an archive alone is not written into, in place.
#[test]
fn no_archive_chooses_a_folder_outside_the_home() {
    let archives = ".codex-manager/backups/sessions/ada@example.com";
    let evil = format!("{archives}/backup-2026-11-19-100200-codex.tar.gz");
    let config = "sqlite_home = \"~/.ssh\"\n";
    let home = TestHome::of_ada().file(".ssh/authorized_keys", "mine").file(
        &evil,
        plain_archive(&[
            (".codex-manager/sqlite_home/authorized_keys", "hostile"),
            ("config.toml", config),
        ]),
    );
    let seen = home.play("restore backup-2026-11-19-100200-codex --yes");
    assert_eq!(seen.exit, 0, "{}", seen.screen);
    assert_eq!(text(&home, ".codex/config.toml"), config);
    assert_eq!(text(&home, ".ssh/authorized_keys"), "mine");

    // One of ours, made where that was the folder, and restored where it is not.
    let home =
        TestHome::of_ada().file(".ssh/authorized_keys", "mine").file(".codex/config.toml", config);
    let db = Connection::open(home.path(".ssh/memories_1.sqlite")).unwrap();
    db.execute_batch("CREATE TABLE said (word TEXT)").unwrap();
    db.close().unwrap();
    assert_eq!(home.play("backup --label good").exit, 0);
    std::fs::remove_file(home.path(".ssh/memories_1.sqlite")).unwrap();
    let home = home.later("+1h").file(".codex/config.toml", "");
    let (before, home) = (home.tree(".ssh"), home);
    let answer = home.json("restore good --dry-run");
    assert_eq!(answer["data"]["databases"], serde_json::Value::Null);
    let answer = home.json("restore good --yes");
    assert_eq!(answer["data"]["databases"], serde_json::Value::Null);
    let warnings = answer["warnings"].to_string();
    assert!(warnings.contains("~/.ssh; look at that line"), "{warnings}");
    home.assert_same(".ssh", &before);
    assert!(home.codex("memories_1.sqlite").exists());
}

#[test]
fn databases_that_will_be_replaced_outside_are_told_before() {
    let home = TestHome::of_ada().variable("CODEX_SQLITE_HOME", "db");
    std::fs::create_dir(home.path("db")).unwrap();
    let db = Connection::open(home.path("db/memories_1.sqlite")).unwrap();
    db.execute_batch("CREATE TABLE said (word TEXT)").unwrap();
    db.close().unwrap();
    home.run("backup --label good");
    assert_eq!(home.json("restore good --dry-run")["data"]["databases"], "~/db");
    let seen = home.play("restore good --dry-run");
    assert!(seen.screen.contains("into ~/db, as sqlite_home says"), "{}", seen.screen);
    let asked = home.play("restore good");
    assert!(
        asked.screen.contains("Replace ~/.codex, and databases in ~/db, by"),
        "{}",
        asked.screen
    );
}

/// An archive as the older tool wrote them.
fn plain_archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut tarball =
        tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(u64::try_from(content.len()).unwrap());
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o600);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        tarball.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    tarball.into_inner().unwrap().finish().unwrap()
}

#[test]
fn sessions_of_the_older_tool_come_back_with_the_login_of_their_account() {
    let sessions =
        ".codex-manager/backups/sessions/user@example.com/backup-2026-11-19-100200-codex.tar.gz";
    let home = TestHome::at("2026-11-21T12:00:00Z")
        .legacy_store("23.0.0")
        .file(sessions, plain_archive(&[("notes.md", "theirs")]))
        .signed_in("ada@example.com");
    let ada = home.read(".codex/auth.json");
    let seen = home.play("restore backup-2026-11-19-100200-codex --yes");
    assert_eq!(seen.exit, 0, "{}", seen.screen);
    assert_eq!(text(&home, ".codex/notes.md"), "theirs");
    let live = home.json("cooldown");
    let active: Vec<&str> = live["data"]["accounts"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|account| account["active"] == true)
        .filter_map(|account| account["email"].as_str())
        .collect();
    assert_eq!(active, ["user@example.com"], "{}", seen.screen);
    home.run("use ada");
    assert_eq!(home.read(".codex/auth.json"), ada);
}

#[test]
fn a_home_that_an_interrupted_restore_left_is_no_litter() {
    let home = TestHome::of_ada();
    home.run("backup");
    let left = ".codex-manager/.codex-manager-0123456789abcdef.staging";
    let home = home
        .file(&format!("{left}/auth.json"), "somebody's login")
        .file(".codex-manager/tmp/.codex-manager-0123456789abcdef.staging/sessions/a", "a session")
        .file(".codex-manager/.codex-manager-0123456789abcdee.staging/x", "litter");
    home.run("cooldown set ada --until +1d");
    let files = home.files();
    assert_eq!(text(&home, &format!("{left}/auth.json")), "somebody's login");
    assert!(files.contains("staging/sessions/a") && !files.contains("staging/x"), "{files}");
}

#[cfg(unix)]
#[test]
fn a_restore_that_was_killed_after_its_exchange_is_finished_by_the_next_command() {
    use std::os::unix::fs::MetadataExt as _;
    let home = changed();
    let old = home.read(".codex/auth.json");
    // What lies there when it is killed: the new home in its place, the old one beside it.
    let staged = ".codex-manager-0123456789abcdef.staging";
    std::fs::rename(home.codex(""), home.path(staged)).unwrap();
    let home = home.file(".codex/auth.json", &old).file(".codex/new-home", "");
    let identity = |path: &str| {
        let facts = std::fs::metadata(home.path(path)).unwrap();
        serde_json::json!({"device": facts.dev(), "inode": facts.ino()})
    };
    let journal = serde_json::json!({
        "schema_version": 1, "kind": "home", "operation": null, "folder": "killed",
        "phase": "exchanging", "staged": home.path(staged), "place": home.path(".codex"),
        "new": identity(".codex"), "old": identity(staged), "carried": ["worktrees"],
    });
    std::fs::write(home.manager("journal.json"), journal.to_string()).unwrap();
    assert_snapshot!(home.run("cooldown set ada --until +1d"), @"
    $ codex-manager cooldown set ada --until +1d
    warning: an interrupted restore was finished: the home before is ~/.codex-manager/undo/killed/codex-home
    ada@example.com rests until Mon 23 Nov 2026 11:00
    ");
    assert!(!home.path(staged).exists() && !home.manager("journal.json").exists());
    assert!(home.codex("new-home").exists());
    assert_eq!(text(&home, ".codex/worktrees/ab12/repo/file"), "unfinished work");
    let kept = ".codex-manager/undo/killed/codex-home";
    assert_eq!(text(&home, &format!("{kept}/new.md")), "came later");
    assert_eq!(home.play("cooldown clear ada --json").exit, 0);
}

#[cfg(unix)]
#[test]
fn what_a_killed_restore_built_goes_with_the_next_command() {
    use std::os::unix::fs::MetadataExt as _;
    let (staged, other) =
        (".codex-manager-0123456789abcdef.staging", ".codex-manager-0123456789abcde0.staging");
    let home = changed()
        .file(&format!("{staged}/auth.json"), "a login")
        .file(&format!("{other}/auth.json"), "somebody else's")
        .file(".codex-manager/undo/x/sqlite_home/.codex-manager-0123456789abcdef.tmp", "half")
        .file(".codex-manager/undo/x/sqlite_home/state_5.sqlite", "a copy");
    let facts = std::fs::metadata(home.path(staged)).unwrap();
    let journal = serde_json::json!({
        "schema_version": 1, "kind": "home", "operation": null, "folder": "killed",
        "phase": "building",
        "staged": home.path(staged), "place": home.path(".codex"),
        "new": {"device": facts.dev(), "inode": facts.ino()}, "old": null, "carried": [],
        "databases": null,
    });
    std::fs::write(home.manager("journal.json"), journal.to_string()).unwrap();
    let before = home.tree(".codex");
    assert_snapshot!(home.run("cooldown set ada --until +1d"), @"
    $ codex-manager cooldown set ada --until +1d
    warning: an interrupted restore was taken back: the home is as it was
    ada@example.com rests until Mon 23 Nov 2026 11:00
    ");
    assert_eq!(beside(&home), [".codex", ".codex-manager", other]);
    home.assert_same(".codex", &before);
    let files = home.files();
    assert!(!files.contains("journal.json") && !files.contains(".tmp"), "{files}");
    assert!(files.contains("undo/x/sqlite_home/state_5.sqlite"), "{files}");
}

#[test]
fn while_a_journal_cannot_be_finished_no_home_is_replaced() {
    let newer = "{\"schema_version\": 99, \"operation\": \"x\"}";
    for journal in ["{", newer] {
        let home = changed().file(".codex-manager/journal.json", journal);
        let before = home.tree(".codex");
        let seen = home.play("restore --yes");
        assert_eq!(seen.exit, 2, "{}", seen.screen);
        assert!(seen.screen.contains("journal.json tells of an interrupted"), "{}", seen.screen);
        assert_eq!(text(&home, ".codex-manager/journal.json"), journal);
        home.assert_same(".codex", &before);
        assert_eq!(beside(&home), [".codex", ".codex-manager"]);
        // A copy elsewhere replaces nothing.
        assert_eq!(home.play("restore --to copy").exit, 0);
        assert_eq!(text(&home, ".codex-manager/journal.json"), journal);
    }
    let home = changed().file(".codex-manager/journal.json/in-the-way", "");
    let seen = home.play("restore --yes");
    assert_eq!(seen.exit, 2, "{}", seen.screen);
    assert_eq!(text(&home, ".codex/new.md"), "came later");
}

#[test]
#[cfg(unix)]
fn what_codex_appends_after_a_restore_is_not_in_the_home_that_is_kept() {
    use std::os::unix::fs::MetadataExt as _;

    let line = "{\"line\":\"of a session that is long enough to be looked for\"}\n".repeat(800);
    let home = TestHome::of_ada().file(".codex/sessions/long.jsonl", &line);
    home.run("backup");
    let facts = |path: &str| std::fs::metadata(home.path(path)).unwrap();
    let before = facts(".codex/sessions/long.jsonl");
    assert_eq!(home.play("restore --yes").exit, 0);
    let kept = format!("{}/sessions/long.jsonl", kept(&home));
    let (live, old) = (facts(".codex/sessions/long.jsonl"), facts(&kept));
    let same = |facts: &std::fs::Metadata| {
        (facts.ino(), facts.mode(), facts.mtime(), facts.mtime_nsec(), facts.nlink())
    };
    assert_eq!(same(&old), same(&before));
    assert_eq!((live.nlink(), live.mode() & 0o777), (1, 0o600));
    assert_ne!(live.ino(), old.ino());
    // Codex goes on with a session in the file that is there.
    let file = std::fs::File::options().append(true).open(home.path(".codex/sessions/long.jsonl"));
    std::io::Write::write_all(&mut file.unwrap(), b"{}\n").unwrap();
    assert_eq!(home.read(&kept), line.as_bytes());
}

#[test]
fn what_the_live_home_still_has_is_taken_from_there_also_if_it_is_damaged_in_the_archive() {
    let line = "{\"line\":\"of a session that is long enough to be looked for\"}\n".repeat(800);
    let home = TestHome::of_ada().file(".codex/sessions/long.jsonl", &line);
    home.run("backup");
    let path = ".codex-manager/backups/2026-11-19-100200-ada@example.com-codex.tar.gz";
    let mut bytes = home.read(path);
    let table = table_of_contents(&bytes);
    let entries = table["entries"].as_array().unwrap();
    let long = entries.iter().find(|it| it["name"] == "sessions/long.jsonl").unwrap();
    bytes[usize::try_from(long["offset"].as_u64().unwrap()).unwrap() + 20] ^= 1;
    let appended = format!("{line}{{\"line\":\"since\"}}\n");
    let home = home.file(path, &bytes);
    assert_eq!(home.play("restore --yes").exit, 0);
    assert_eq!(home.read(".codex/sessions/long.jsonl"), line.as_bytes());
    // It is one chunk, and with another line it is another one.
    let home = home.file(".codex/sessions/long.jsonl", &appended);
    assert_eq!(home.play("restore --yes").exit, 0, "its beginning is the chunk");
    assert_eq!(home.read(".codex/sessions/long.jsonl"), line.as_bytes());
    let home = home.file(".codex/sessions/long.jsonl", line.replacen("session", "Session", 1));
    let refused = home.play("restore --yes");
    assert_eq!(refused.exit, 5, "{}", refused.screen);
    assert!(refused.screen.contains("sessions/long.jsonl, chunk 1 of 1"), "{}", refused.screen);
    assert_eq!(
        home.play("restore --to copy").exit,
        5,
        "a copy elsewhere has nothing to take it from"
    );
}
