//! `restore`: does the home come back, and is nothing lost on the way?

use std::collections::BTreeMap;

use insta::assert_snapshot;

use crate::home::{Node, TestHome, ids, login};

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
    content      7 files, 15 KiB
    login        the live one stays
    kept         worktrees
    restored to  ~/.codex
    before       kept in ~/.codex-manager/undo/2026-11-22-110000-restore/codex-home
    ");
    assert_snapshot!(home.codex_files(), @"
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
    tmp/
    trash/
    undo/2026-11-22-110000-restore/codex-home/auth.json
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
    content        7 files, 15 KiB
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
    let wait = std::time::Duration::ZERO;
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
    content      7 files, 15 KiB
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
    content      7 files, 15 KiB
    login        from the snapshot
    restored to  ~/elsewhere/copy
    ");
    home.assert_same(".codex", &before); // the Codex home is left alone
    assert_snapshot!(home.threads("elsewhere/copy/state_5.sqlite"), @"~/elsewhere/copy/sessions/2026/11/21/rollout-2026-11-21T09-50-00-019aa000-0000-7000-8000-000000000001.jsonl");
    assert_snapshot!(home.run("restore --to elsewhere/copy"), @"
    $ codex-manager restore --to elsewhere/copy
    error: ~/elsewhere/copy is not empty
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
    content      7 files, 15 KiB
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
    content      7 files, 15 KiB
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
    content      7 files, 15 KiB
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
    content      8 files, 15 KiB
    login        from the snapshot
    restored to  ~/copy
    ");
    assert_eq!(
        std::fs::read_link(home.path("copy/skills/alias")).unwrap(),
        "mine".as_ref() as &std::path::Path
    );
    assert!(home.path("copy/prompts").symlink_metadata().is_err());
    // The live home has the very same link: whoever made it trusts it.
    assert_snapshot!(home.run("restore --yes"), @"
    $ codex-manager restore --yes
    snapshot     2026-11-19-100200-ada@example.com-codex
    content      8 files, 15 KiB
    login        the live one stays
    restored to  ~/.codex
    before       kept in ~/.codex-manager/undo/2026-11-21-110000-restore/codex-home
    ");
    assert_eq!(
        std::fs::read_link(home.codex("prompts")).unwrap(),
        "../outside".as_ref() as &std::path::Path
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
    hint: quit it with /quit, or let it finish, and try again; --force goes on regardless
    (exit 3)
    ");
    assert_snapshot!(seen("restore --dry-run"), @"
    $ codex-manager restore --dry-run
    error: codex (pid PID) is using ~/.codex
    hint: quit it with /quit, or let it finish, and try again; --force goes on regardless
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
    error: there is no such snapshot
    hint: `codex-manager list` shows what there is
    (exit 4)
    ");
    home.assert_same(".codex", &before);
    assert_snapshot!(home.run(&format!("restore {NAME} --to copy")), @"
    $ codex-manager restore 2026-11-19-100200-ada@example.com-codex --to copy
    snapshot     2026-11-19-100200-ada@example.com-codex
    content      2 files, 2.5 KiB
    login        from the snapshot
    restored to  ~/copy
    ");
}

#[test]
fn the_document_tells_what_happened() {
    let home = changed();
    let mut answer = home.json("restore --yes");
    answer["data"].sort_all_objects();
    assert_snapshot!(format!("{:#}", answer["data"]), @r#"
    {
      "banked": null,
      "carried": [
        "worktrees"
      ],
      "content_bytes": 15849,
      "destination": "~/.codex",
      "dry_run": false,
      "files": 7,
      "login": "kept-live",
      "login_from": null,
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
    let told = text(&home, &sidecar).replace("user-ada-example-com", "user-eve-example-com");
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
