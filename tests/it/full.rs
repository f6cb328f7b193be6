//! `use --full`: does the state come along with the login, and is nothing lost on the way?

use insta::assert_snapshot;

use crate::home::TestHome;

/// Ada and bob have a full snapshot each, made by hand; bob is signed in, to his own state.
fn two_states() -> TestHome {
    let home = TestHome::of_ada().file(".codex/skills/hers/SKILL.md", "hers").later("+1h");
    home.run("backup");
    for hers in ["skills", "sessions"] {
        std::fs::remove_dir_all(home.codex(hers)).unwrap();
    }
    let home = home.later("+1d").signed_in("bob@example.com");
    let home = home.file(".codex/skills/his/SKILL.md", "his").later("+1h");
    home.run("backup");
    home.later("+1h")
}

/// Whether this file is in the home.
fn has(home: &TestHome, file: &str) -> bool {
    home.codex(file).exists()
}

#[test]
fn the_state_comes_along_and_what_was_there_is_stored_before() {
    let home = two_states().file(".codex/skills/his/SKILL.md", "his, and better");
    let before = home.tree("");
    assert_snapshot!(home.run("use ada --full --dry-run"), @"
    $ codex-manager use ada --full --dry-run
    would sign in  ada@example.com
    would store    the home that was live, as 2026-11-22-140000-bob@example.com-codex
    snapshot       2026-11-19-100200-ada@example.com-codex
    content        8 files, 15 KiB
    login          from the snapshot
    would replace  ~/.codex
    ");
    home.assert_same("", &before);
    assert_snapshot!(home.run("use ada --full"), @"
    $ codex-manager use ada --full
    error: Replace ~/.codex by 2026-11-19-100200-ada@example.com-codex, and sign in ada@example.com? What is there now is stored before, as 2026-11-22-140000-bob@example.com-codex. Nobody is there to answer.
    hint: pass --yes to do it without asking, or --dry-run to see what would happen
    (exit 4)
    ");
    home.assert_same("", &before);
    assert_snapshot!(home.run("use ada --full --yes"), @"
    $ codex-manager use ada --full --yes
    signed in    ada@example.com
    stored       the home that was live, as 2026-11-22-140000-bob@example.com-codex
    snapshot     2026-11-19-100200-ada@example.com-codex
    content      8 files, 15 KiB
    login        from the snapshot
    restored to  ~/.codex
    before       kept in ~/.codex-manager/undo/2026-11-22-140000-use/codex-home
    ");
    assert!(has(&home, "skills/hers/SKILL.md") && !has(&home, "skills/his/SKILL.md"));
    assert!(String::from_utf8(home.read(".codex/auth.json")).unwrap().contains("acct-ada"));
    let home = home.later("+1h").file(".codex/skills/hers/SKILL.md", "hers, and better");
    assert_eq!(home.play("use - --full --yes").exit, 0);
    assert_eq!(home.read(".codex/skills/his/SKILL.md"), b"his, and better");
    assert!(!has(&home, "skills/hers/SKILL.md"));
    let home = home.later("+1h");
    assert_eq!(home.play("use - --full --yes").exit, 0);
    assert_eq!(home.read(".codex/skills/hers/SKILL.md"), b"hers, and better");
    assert_snapshot!(home.run("log"), @"
    $ codex-manager log
    OPERATION                 WHAT                                                                              UNDO
    2026-11-22-160000-use     signed in ada@example.com and restored 2026-11-19-100200-ada@example.com~2-codex  yes
    2026-11-22-150000-use     signed in bob@example.com and restored 2026-11-22-140000-bob@example.com-codex    yes
    2026-11-22-140000-use     signed in ada@example.com and restored 2026-11-19-100200-ada@example.com-codex    yes
    2026-11-22-130000-backup  stored 2026-11-22-130000-bob@example.com-codex                                    yes
    2026-11-21-120000-backup  stored 2026-11-19-100200-ada@example.com-codex                                    yes
    ");
    assert_snapshot!(home.run("list"), @"
    $ codex-manager list
    NAME                                       KIND  SIZE     CREATED           AVAILABLE         LABEL  PROVEN
    2026-11-22-160000-bob@example.com-codex    full  #.# KiB  2026-11-22 16:00  –                 –      –
    2026-11-19-100200-ada@example.com~2-codex  full  #.# KiB  2026-11-22 15:00  2026-11-26 10:02  –      –
    2026-11-22-140000-bob@example.com-codex    full  #.# KiB  2026-11-22 14:00  –                 –      –
    2026-11-22-130000-bob@example.com-codex    full  #.# KiB  2026-11-22 13:00  –                 –      –
    2026-11-19-100200-ada@example.com-codex    full  #.# KiB  2026-11-21 12:00  2026-11-26 10:02  –      –
    ");
}

#[test]
fn what_a_snapshot_holds_already_is_not_stored_again() {
    let home = two_states();
    assert_snapshot!(home.run("use ada --full --yes"), @"
    $ codex-manager use ada --full --yes
    signed in    ada@example.com
    unchanged    the home that was live, since 2026-11-22-130000-bob@example.com-codex
    snapshot     2026-11-19-100200-ada@example.com-codex
    content      8 files, 15 KiB
    login        from the snapshot
    restored to  ~/.codex
    before       kept in ~/.codex-manager/undo/2026-11-22-140000-use/codex-home
    ");
    let count = || home.files().matches(".tar.gz").count();
    let snapshots = count();
    let home = home.later("+1h");
    for _ in 0..3 {
        let data = home.json("use - --full --yes")["data"].clone();
        assert!(data["stored"].is_null() && data["undo"].is_string(), "{data}");
    }
    assert_eq!(home.files().matches(".tar.gz").count(), snapshots);
    // A row that is in the log of a database alone is a change too.
    let home = home.later("+1h").row("state_5.sqlite").later("+1h");
    let data = home.json("use - --full --yes")["data"].clone();
    assert!(data["stored"].is_string(), "{data}");
}

#[test]
fn it_is_one_operation_and_one_undo() {
    let home = two_states();
    let before = home.codex_files();
    assert_eq!(home.play("use ada --full --yes").exit, 0);
    assert_snapshot!(home.run("undo --yes"), @"
    $ codex-manager undo --yes
    taken back     2026-11-22-140000-use: signed in ada@example.com and restored 2026-11-19-100200-ada@example.com-codex
    before         kept in ~/.codex-manager/undo/2026-11-22-140000-undo/codex-home
    the other way  codex-manager undo 2026-11-22-140000-undo
    ");
    assert_eq!(home.codex_files().replace("auth.lock\n", ""), before);
    assert!(String::from_utf8(home.read(".codex/auth.json")).unwrap().contains("acct-bob"));
    assert_snapshot!(home.run("undo --yes"), @"
    $ codex-manager undo --yes
    done again     2026-11-22-140000-use: signed in ada@example.com and restored 2026-11-19-100200-ada@example.com-codex
    before         kept in ~/.codex-manager/undo/2026-11-22-140000-undo-2/codex-home
    the other way  codex-manager undo 2026-11-22-140000-undo-2
    ");
    assert!(has(&home, "skills/hers/SKILL.md"));
}

#[test]
fn without_a_full_snapshot_or_a_change_of_account_the_home_stays() {
    let home = TestHome::of_ada();
    home.run("backup");
    let home = home.later("+1d").signed_in("bob@example.com");
    home.run("backup --auth-only");
    assert_eq!(home.play("use ada").exit, 0);
    let before = home.tree(".codex");
    assert_snapshot!(home.run("use bob --full --yes"), @"
    $ codex-manager use bob --full --yes
    error: no full snapshot of bob@example.com is stored
    hint: `codex-manager use bob@example.com` signs in alone; `codex-manager backup` then stores a full one
    (exit 4)
    ");
    assert_snapshot!(home.run("use ada --full --yes"), @"
    $ codex-manager use ada --full --yes
    ada@example.com is signed in already, with its newest login
    the home stays as it is, for ada@example.com is signed in to it; `codex-manager restore` brings back a snapshot
    ");
    assert_snapshot!(home.run("use ada --full --accept-stale-login"), @"
    $ codex-manager use ada --full --accept-stale-login
    error: the argument '--full' cannot be used with '--accept-stale-login'

    Usage: codex-manager use --full <ACCOUNT>

    For more information, try '--help'.
    (exit 4)
    ");
    home.assert_same(".codex", &before);
}

#[test]
fn who_shared_the_home_before_hears_that_their_work_is_in_it() {
    let home = two_states();
    assert_eq!(home.play("use ada").exit, 0);
    let home = home.later("+1h").file(".codex/skills/his/SKILL.md", "by ada");
    assert_eq!(home.play("use bob").exit, 0);
    let home = home.later("+1h");
    assert_snapshot!(home.run("use ada --full --yes"), @"
    $ codex-manager use ada --full --yes
    warning: until 22 Nov 15:00 ada@example.com worked in the home that is live now: what came after 2026-11-19-100200-ada@example.com-codex is in that home, and not in the state that comes back
    signed in    ada@example.com
    stored       the home that was live, as 2026-11-22-160000-bob@example.com-codex
    snapshot     2026-11-19-100200-ada@example.com-codex
    content      8 files, 15 KiB
    login        from the snapshot
    restored to  ~/.codex
    before       kept in ~/.codex-manager/undo/2026-11-22-160000-use/codex-home
    ");
    // Now each has a home of their own.
    let home = home.later("+1h");
    for _ in 0..2 {
        let seen = home.play("use - --full --yes");
        assert_eq!((seen.exit, seen.screen.contains("warning")), (0, false), "{}", seen.screen);
    }
}

#[test]
fn a_login_that_was_refreshed_since_comes_with_the_state() {
    let (user, workspace) = crate::home::ids("ada@example.com");
    let home = two_states().signed_in_as(
        "ada@example.com",
        &user,
        &workspace,
        "rt_refreshed",
        "2026-11-22T12:30:00Z",
    );
    let refreshed = home.read(".codex/auth.json");
    home.run("backup --auth-only");
    assert_eq!(home.play("use bob").exit, 0);
    assert_eq!(home.json("use ada --full --yes")["data"]["login"], "restored");
    assert_eq!(home.read(".codex/auth.json"), refreshed);
    assert!(has(&home, "skills/hers/SKILL.md"));
}

#[test]
fn whoever_is_signed_in_as_nobody_has_their_home_stored_as_nobodys() {
    let home = two_states().file(".codex/auth.json", "{\"tokens\": 7}");
    assert_snapshot!(home.run("use ada --full --yes"), @"
    $ codex-manager use ada --full --yes
    warning: auth.json names no account: it holds no tokens
    signed in    ada@example.com
    stored       the home that was live, as 2026-11-22-140000-unknown-codex
    stored       the login that was live, as 2026-11-22-140000-orphan-codex
    snapshot     2026-11-19-100200-ada@example.com-codex
    content      8 files, 15 KiB
    login        from the snapshot
    restored to  ~/.codex
    before       kept in ~/.codex-manager/undo/2026-11-22-140000-use/codex-home
    ");
    assert!(has(&home, "skills/hers/SKILL.md"));
    assert_snapshot!(home.files(), @"
    backups/2026-11-19-100200-ada@example.com-codex.metadata.json
    backups/2026-11-19-100200-ada@example.com-codex.tar.gz
    backups/2026-11-22-130000-bob@example.com-codex.metadata.json
    backups/2026-11-22-130000-bob@example.com-codex.tar.gz
    backups/2026-11-22-140000-orphan-codex.metadata.json
    backups/2026-11-22-140000-orphan-codex.tar.gz
    backups/2026-11-22-140000-unknown-codex.metadata.json
    backups/2026-11-22-140000-unknown-codex.tar.gz
    ledger.jsonl
    lock
    operations.jsonl
    tmp/
    trash/
    undo/2026-11-22-140000-use/codex-home/.credentials.json
    undo/2026-11-22-140000-use/codex-home/.env
    undo/2026-11-22-140000-use/codex-home/auth.json
    undo/2026-11-22-140000-use/codex-home/auth.lock
    undo/2026-11-22-140000-use/codex-home/config.toml
    undo/2026-11-22-140000-use/codex-home/skills/his/SKILL.md
    undo/2026-11-22-140000-use/codex-home/state_5.sqlite
    undo/2026-11-22-140000-use/codex-home/state_5.sqlite-shm
    undo/2026-11-22-140000-use/codex-home/state_5.sqlite-wal
    ");
}
