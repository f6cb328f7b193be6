//! `prune`: does nothing go but what may, and can it come back?

use insta::assert_snapshot;

use crate::home::TestHome;

/// A snapshot of ada's a day, for four days.
fn four_days() -> TestHome {
    let mut home = TestHome::of_ada();
    for _ in 0..4 {
        home = home.later("+1d");
        assert_eq!(home.play("backup").exit, 0);
    }
    home
}

fn names(home: &TestHome) -> Vec<String> {
    let listed = home.json("list")["data"]["snapshots"].clone();
    let names = listed.as_array().unwrap().iter();
    names.map(|it| it["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_no_rule_keeps_goes_to_the_trash_and_can_come_back() {
    let home = four_days();
    let all = names(&home);
    assert_snapshot!(home.run("prune --keep-daily 2 --dry-run"), @"
    $ codex-manager prune --keep-daily 2 --dry-run
    SNAPSHOT                                          WHY
    2026-11-19-100200-ada@example.com~4-codex  keep   newest full of its account, day 2026-11-25
    2026-11-19-100200-ada@example.com~3-codex  keep   day 2026-11-24
    2026-11-19-100200-ada@example.com~2-codex  trash  no rule keeps it
    2026-11-19-100200-ada@example.com-codex    trash  no rule keeps it
    would move 2 snapshots to the trash
    ");
    assert_eq!(names(&home), all);
    assert_snapshot!(home.run("prune --keep-daily 2"), @"
    $ codex-manager prune --keep-daily 2
    error: Move 2 snapshots to the trash? Nobody is there to answer.
    hint: pass --yes to do it without asking, or --dry-run to see what would happen
    (exit 4)
    ");
    assert_eq!(names(&home), all);
    assert_snapshot!(home.run("prune --keep-daily 2 --yes"), @"
    $ codex-manager prune --keep-daily 2 --yes
    SNAPSHOT                                          WHY
    2026-11-19-100200-ada@example.com~4-codex  keep   newest full of its account, day 2026-11-25
    2026-11-19-100200-ada@example.com~3-codex  keep   day 2026-11-24
    2026-11-19-100200-ada@example.com~2-codex  trash  no rule keeps it
    2026-11-19-100200-ada@example.com-codex    trash  no rule keeps it
    moved 2 snapshots to the trash
    ");
    assert_eq!(names(&home), all[..2]);
    assert_snapshot!(home.run("prune --keep-daily 2 --yes"), @"
    $ codex-manager prune --keep-daily 2 --yes
    nothing to put away
    ");
    assert_eq!(home.play("undo").exit, 0);
    assert_eq!(names(&home), all);
    assert_eq!(home.play("prune-backups --keep-within 36h --yes").exit, 0);
    assert_eq!(names(&home), all[..2]);
}

#[test]
fn the_only_snapshot_with_the_newest_login_of_an_account_stays() {
    let home = TestHome::of_ada();
    home.run("backup");
    let home = home.later("+1d");
    // Newer, and without a login: of its kind it is the newest.
    home.run("backup --no-login");
    let home = home.later("+1d");
    home.run("backup --no-login");
    let seen = home.json("prune --keep-last 1 --yes")["data"]["snapshots"].clone();
    let kept = seen.as_array().unwrap().iter().filter(|it| it["action"] == "keep").count();
    assert_eq!((kept, names(&home).len()), (2, 2), "{seen}");
}

#[test]
fn what_was_kept_for_long_enough_is_deleted_and_nothing_else_is() {
    let home = four_days();
    home.run("prune --keep-last 2 --yes");
    home.run("restore --yes");
    let home = home.later("+8d");
    assert_snapshot!(home.run("prune --yes"), @"
    $ codex-manager prune --yes
    expired: ~/.codex-manager/undo/2026-11-25-110000-restore (74 KiB)
    deleted 1 expired item for good (74 KiB)
    ");
    let files = home.files();
    assert!(!files.contains("undo/2026") && files.contains("trash/2026"), "{files}");
    assert_snapshot!(home.run("undo restore"), @"
    $ codex-manager undo restore
    error: ~/.codex-manager/undo/2026-11-25-110000-restore/codex-home is not there any more, or is another folder
    hint: what is kept goes when `codex-manager prune` finds it older than undo.keep_days says
    (exit 1)
    ");
    let home = home.later("+23d");
    assert_snapshot!(home.run("prune --dry-run"), @"
    $ codex-manager prune --dry-run
    expired: ~/.codex-manager/trash/2026-11-19-100200-ada@example.com~2-codex.tar.gz (#.# KiB)
    expired: ~/.codex-manager/trash/2026-11-19-100200-ada@example.com-codex.tar.gz (#.# KiB)
    would delete 2 expired items for good (12 KiB)
    ");
    assert_eq!(home.play("prune --yes").exit, 0);
    assert!(!home.files().contains("trash/2026"));
    assert_eq!(names(&home).len(), 2);
    assert_eq!(home.play("log --verify").exit, 0);
}

#[test]
fn a_login_that_is_nowhere_else_never_expires() {
    let home = TestHome::of_ada();
    home.run("backup --auth-only");
    let home = home.later("+1h");
    home.run("undo"); // The live login is a copy, so this may go to the trash.
    let home = home.signed_in("bob@example.com").later("+99d");
    assert_snapshot!(home.run("prune --yes"), @"
    $ codex-manager prune --yes
    expired, but stays: ~/.codex-manager/trash/2026-11-19-100200-ada@example.com-codex.tar.gz (it holds the newest login of ada@example.com)
    nothing to put away
    ");
    assert!(home.files().contains("trash/2026"));
}

#[test]
fn who_was_forgotten_and_signed_in_again_loses_no_login_to_that() {
    let home = TestHome::of_ada();
    home.run("backup --auth-only");
    let home = home.signed_in("bob@example.com").later("+1h");
    assert_eq!(home.play("accounts forget ada --yes").exit, 0);
    let home = home.later("+1h").signed_in("ada@example.com");
    assert_eq!(home.play("backup --auth-only --offline").exit, 0);
    let home = home.later("+1h");
    assert_eq!(home.play("undo").exit, 0);
    let home = home.signed_in("bob@example.com").later("+99d");
    let seen = home.play("prune --yes");
    let says = |what: &str| seen.screen.contains(what);
    assert!(says("stays") && says("holds the newest login of ada@example.com"), "{}", seen.screen);
    assert!(
        says("deleted 1 expired item"),
        "what she wanted to be forgotten goes: {}",
        seen.screen
    );
    let left = home.files();
    assert_eq!(
        left.lines().filter(|name| name.starts_with("trash/") && name.ends_with(".gz")).count(),
        1,
        "{left}"
    );
}

#[test]
fn an_age_is_a_number_and_a_unit() {
    let home = TestHome::of_ada();
    for (age, exit) in [
        ("36h", 0),
        ("0m", 0),
        ("10d", 0),
        ("4w", 0),
        ("4", 4),
        ("w", 4),
        ("-3d", 4),
        ("9999999999999w", 4),
        ("3ä", 4),
    ] {
        assert_eq!(home.play(&format!("prune --keep-within={age}")).exit, exit, "{age}");
    }
}

#[test]
#[cfg(unix)]
fn what_cannot_be_deleted_is_told_and_holds_nobody_up() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = TestHome::of_ada();
    home.run("backup");
    home.run("restore --yes");
    // A file manager was here; and a folder whose name is in use cannot go.
    let home = home.file(".codex-manager/undo/.DS_Store", "").later("+99d");
    let locked = home.manager("undo/2026-11-21-110000-restore/codex-home/skills");
    std::fs::create_dir_all(&locked).unwrap();
    std::fs::write(locked.join("SKILL.md"), "x").unwrap();
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o500)).unwrap();
    let seen = home.play("prune --yes");
    let is_gone = !home.files().contains("codex-home");
    assert_eq!(seen.exit, u8::from(!is_gone), "{}", seen.screen);
    assert_eq!(home.play("config set lean true").exit, 0, "nobody waits for that");
    assert!(home.files().contains("undo/.DS_Store"));
    drop(std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o700)));
}

#[test]
fn the_name_of_what_was_put_away_is_not_given_again() {
    let home = TestHome::of_ada();
    home.run("backup");
    let home = home.later("+1h");
    home.run("backup");
    home.run("prune --keep-last 1 --yes");
    let home = home.later("+1h");
    home.run("backup --label third");
    home.run("undo prune");
    assert_eq!(names(&home).len(), 3);
}

#[test]
fn one_account_s_rules_are_nobody_else_s() {
    let home = TestHome::of_ada();
    home.run("backup");
    let home = home.signed_in("bob@example.com");
    for _ in 0..2 {
        home.run("backup --auth-only");
    }
    home.run("prune --keep-last 1 --yes");
    home.run("restore --account ada --yes");
    let home = home.later("+99d");
    let data = home.json("prune --account ada --dry-run")["data"].clone();
    assert_eq!(
        (data["expired"].as_array().unwrap().len(), data["snapshots"].as_array().unwrap().len()),
        (0, 1),
        "{data}"
    );
    let all = home.json("prune --dry-run")["data"]["expired"].clone();
    assert_eq!(all.as_array().unwrap().len(), 2, "{all}");
}
