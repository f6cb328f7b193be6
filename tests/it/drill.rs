//! `drill`: does it come back, and is that really tried?

use insta::assert_snapshot;

use crate::home::TestHome;
use crate::verify::{ARCHIVE, ROLLOUT, noise, rotten_chunk};

/// Ada's full snapshot and an older one of hers, Bob's login.
fn three() -> TestHome {
    let home = TestHome::of_ada();
    home.run("backup --auth-only");
    let home = home.later("+1h");
    home.run("backup");
    let home = home.later("+1h").signed_in("bob@example.com");
    home.run("backup --auth-only");
    home
}

#[test]
fn each_account_s_newest_state_is_tried_and_nothing_stays_behind() {
    let home = three();
    let (codex, manager) = (home.tree(".codex"), home.tree(".codex-manager/backups"));
    let files = home.files();
    assert_snapshot!(home.run("drill --dry-run"), @"
    $ codex-manager drill --dry-run
    would drill  2026-11-19-100200-ada@example.com~2-codex  7 files, 15 KiB
    would drill  2026-11-21-130000-bob@example.com-codex  2 files, 2.1 KiB
    2 snapshots, 17 KiB to restore and check
    ");
    assert_snapshot!(home.run("drill"), @"
    $ codex-manager drill
    proven  2026-11-19-100200-ada@example.com~2-codex  7 files, 15 KiB, 1 database
    proven  2026-11-21-130000-bob@example.com-codex  2 files, 2.1 KiB, 0 databases
    2 snapshots: 2 proven, 17 KiB restored and checked
    ");
    let mut data = home.json("drill --account ada")["data"].clone();
    let digest = data["drills"][0]["toc_digest"].take();
    let listed = home.json("list --account ada")["data"]["snapshots"][0].clone();
    assert_eq!(digest, listed["archive"]["toc_digest"]);
    assert_eq!(listed["proven_at"], "2026-11-21T13:00:00+01:00");
    assert_snapshot!(data, @r#"
    {"drills":[{"account":"chatgpt:user-ada-example-com/acct-ada-example-com","email":"ada@example.com","snapshot":"2026-11-19-100200-ada@example.com~2-codex","toc_digest":null,"verdict":"proven","problems":[],"files":7,"content_bytes":16009,"databases":1}],"summary":{"drills":1,"proven":1,"failed":0,"undone":0,"bytes":16009},"dry_run":false}
    "#);
    home.assert_same(".codex", &codex);
    home.assert_same(".codex-manager/backups", &manager);
    assert_eq!(home.files(), files, "the scratch folder is gone");
    let home = home.later("+3h");
    assert_snapshot!(home.run("list"), @"
    $ codex-manager list
    NAME                                       KIND  SIZE     CREATED           AVAILABLE         LABEL  PROVEN
    2026-11-21-130000-bob@example.com-codex    auth  #.# KiB  2026-11-21 13:00  –                 –      3h
    2026-11-19-100200-ada@example.com~2-codex  full  #.# KiB  2026-11-21 12:00  2026-11-26 10:02  –      3h
    2026-11-19-100200-ada@example.com-codex    auth  #.# KiB  2026-11-21 11:00  2026-11-26 10:02  –      –
    ");
    assert_snapshot!(home.run("log"), @"
    $ codex-manager log
    OPERATION                  WHAT                                              UNDO
    2026-11-21-130000-drill-2  proved 1 of 1 snapshot                            no
    2026-11-21-130000-drill    proved 2 of 2 snapshots                           no
    2026-11-21-130000-backup   stored 2026-11-21-130000-bob@example.com-codex    yes
    2026-11-21-120000-backup   stored 2026-11-19-100200-ada@example.com~2-codex  yes
    2026-11-21-110000-backup   stored 2026-11-19-100200-ada@example.com-codex    yes
    ");
    assert_snapshot!(home.run("drill --quiet"), @"$ codex-manager drill --quiet");
    assert_eq!(home.play("drill --account carol").exit, 4);
}

#[test]
fn an_announced_drill_creates_nothing_and_an_empty_store_is_no_fault() {
    let home = TestHome::at("2026-11-21T10:00:00Z");
    let seen = home.play("drill");
    let says = "no snapshot is stored yet: `codex-manager backup` makes one\n";
    assert_eq!((seen.exit, seen.screen.as_str()), (0, says));
    assert_eq!(home.files(), "");
    let home = three();
    std::fs::remove_dir(home.manager("tmp")).unwrap();
    let before = home.tree("");
    assert_eq!(home.play("drill --dry-run").exit, 0);
    home.assert_same("", &before);
}

#[test]
fn a_damaged_snapshot_fails_with_all_that_is_damaged_and_the_others_are_tried() {
    let home = TestHome::of_ada().file(".codex/big.bin", noise((2 << 20) + 5));
    home.run("backup");
    let home = home.later("+1h").signed_in("bob@example.com");
    home.run("backup --auth-only");
    let rotten = rotten_chunk(&home.read(ARCHIVE), "big.bin", 2);
    let home = home.file(ARCHIVE, rotten_chunk(&rotten, ROLLOUT, 1));
    assert_snapshot!(home.run("drill"), @"
    $ codex-manager drill
    failed  2026-11-19-100200-ada@example.com-codex
        big.bin, chunk 2 of 3 (bytes 1048576-2097151): not what was written, at byte # of the archive
        sessions/2026/11/21/rollout-2026-11-21T09-50-00-019aa000-0000-7000-8000-000000000001.jsonl, chunk 1 of 1 (bytes 0-762): not what was written, at byte # of the archive
    proven  2026-11-21-120000-bob@example.com-codex  2 files, 2.1 KiB, 0 databases
    2 snapshots: 1 proven, 1 failed, 2.1 KiB restored and checked
    (exit 5)
    ");
    let files = home.files();
    assert!(files.contains("\ntmp/\n"), "{files}");
}

#[test]
fn nobody_is_told_of_an_older_snapshot_when_the_newest_cannot_be_opened() {
    let home = TestHome::of_ada();
    home.run("backup");
    let home = home.later("+1h");
    home.run("backup");
    let newest = ARCHIVE.replace("-codex", "~2-codex");
    let mut bytes = home.read(&newest);
    bytes.truncate(bytes.len() / 2);
    let home = home.file(&newest, bytes);
    assert_snapshot!(home.run("drill"), @"
    $ codex-manager drill
    warning: ~/.codex-manager/backups/2026-11-19-100200-ada@example.com~2-codex.tar.gz: has # bytes, its sidecar says #
    failed  2026-11-19-100200-ada@example.com~2-codex
        has # bytes, its sidecar says #
    1 snapshot: 0 proven, 1 failed, 0 B restored and checked
    (exit 5)
    ");
}

#[test]
fn a_session_line_that_is_no_json_and_a_row_without_its_file_are_found() {
    let home = TestHome::of_ada();
    let whole = String::from_utf8(home.read(&format!(".codex/{ROLLOUT}"))).unwrap();
    let torn = whole.replacen("\"type\":\"event_msg\"", "\"type\":\"event", 1);
    assert_ne!(torn, whole);
    let home = home.file(&format!(".codex/{ROLLOUT}"), torn);
    home.run("backup");
    assert_snapshot!(home.run("drill"), @"
    $ codex-manager drill
    failed  2026-11-19-100200-ada@example.com-codex  7 files, 15 KiB, 1 database
        sessions/2026/11/21/rollout-2026-11-21T09-50-00-019aa000-0000-7000-8000-000000000001.jsonl, line 2 is no JSON
    1 snapshot: 0 proven, 1 failed, 15 KiB restored and checked
    (exit 5)
    ");

    let home = TestHome::of_ada();
    std::fs::remove_file(home.codex(ROLLOUT)).unwrap();
    home.run("backup");
    assert_snapshot!(home.run("drill"), @"
    $ codex-manager drill
    failed  2026-11-21-110000-ada@example.com-codex  6 files, 14 KiB, 1 database
        state_5.sqlite names sessions/2026/11/21/rollout-2026-11-21T09-50-00-019aa000-0000-7000-8000-000000000001.jsonl, which is not there
    1 snapshot: 0 proven, 1 failed, 14 KiB restored and checked
    (exit 5)
    ");

    // An empty line and the line that Codex is about to write are none.
    let home = TestHome::of_ada();
    let home = home.file(&format!(".codex/{ROLLOUT}"), format!("{whole}\n{{\"type\":\"ev"));
    home.run("backup");
    assert_eq!(home.play("drill").exit, 0);
}

#[test]
fn where_it_cannot_be_tried_nothing_is_said_to_be_proven_or_damaged() {
    let home = three();
    std::fs::remove_dir(home.manager("tmp")).unwrap();
    let home = home.file(".codex-manager/tmp", "in the way");
    let seen = home.play("drill --account ada");
    assert_eq!(seen.exit, 1, "{}", seen.screen);
    assert!(
        seen.screen.starts_with("undone  2026-11-19-100200-ada@example.com~2-codex\n"),
        "{}",
        seen.screen
    );
    assert!(
        seen.screen.ends_with("1 snapshot: 0 proven, 1 undone, 0 B restored and checked\n"),
        "{}",
        seen.screen
    );
}

#[test]
fn what_the_older_tool_stored_is_tried_too() {
    for version in ["1.0.0", "23.0.0"] {
        let home = TestHome::at("2026-11-21T12:00:00Z").legacy_store(version);
        let before = home.tree(".codex-manager/backups");
        let data = home.json("drill")["data"].clone();
        let drills = data["drills"].as_array().unwrap();
        assert!(drills.len() > 1, "{data}");
        for drill in drills {
            let is_odd = drill["snapshot"].as_str().unwrap().contains("odd-one");
            assert_eq!(drill["verdict"], if is_odd { "failed" } else { "proven" }, "{drill}");
        }
        home.assert_same(".codex-manager/backups", &before);
    }
}
