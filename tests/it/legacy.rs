//! What becomes of the stores of the Python tool (`testdata/legacy`)?

use insta::assert_snapshot;
use rusqlite::Connection;

use crate::home::TestHome;

fn store(version: &str) -> TestHome {
    TestHome::at("2026-11-21T12:00:00Z").legacy_store(version)
}

#[test]
fn a_store_of_1_0_0_is_listed_and_shown() {
    let home = store("1.0.0");
    let before = home.tree(".codex-manager");
    assert_snapshot!(home.run("list"), @"
    $ codex-manager list
    warning: ~/.codex-manager/backups/2026-11-17-070500-odd-one@example.com-codex.tar.gz: refused: a.fifo is a named pipe
    NAME                                        KIND  SIZE     CREATED           AVAILABLE         LABEL  PROVEN
    2026-04-23-100200-second@example.com-codex  auth  #.# KiB  2026-11-21 12:45  2026-04-30 10:02  –      –
    2026-11-19-100200-user@example.com-codex    full  #.# KiB  2026-11-21 12:45  2026-11-26 10:02  –      –
    ");
    assert_snapshot!(home.run("show user@example.com --files"), @"
    $ codex-manager show user@example.com --files
    warning: ~/.codex-manager/backups/2026-11-17-070500-odd-one@example.com-codex.tar.gz: refused: a.fifo is a named pipe
    name        2026-11-19-100200-user@example.com-codex
    account     user@example.com
    plan        –
    kind        full
    created     2026-11-21 12:45:28
    week began  2026-11-19 10:02:00
    available   2026-11-26 10:02:00
    week        61% left, resets 2026-11-26 10:02:00
    quota from  status-text, 2026-11-21 12:45:28
    codex       –
    taken from  /home/user/.codex
    written by  the older Python tool: it has no digests
    archive     ~/.codex-manager/backups/2026-11-19-100200-user@example.com-codex.tar.gz (#.# KiB)

    .personality_migration  3 B
    archived_sessions/
    auth.json  1.5 KiB
    auth.json.bak-20261102-080000  1.4 KiB
    config.toml  74 B
    history-second-name.jsonl  85 B
    history.jsonl  85 B
    installation_id  36 B
    link-inside -> rules/default.rules
    log/
    log/codex-tui.log  8 B
    memories/
    memories/raw.md  8 B
    rules/
    rules/default.rules  46 B
    session_index.jsonl  104 B
    sessions/
    sessions/2026/
    sessions/2026/11/
    sessions/2026/11/09/
    sessions/2026/11/09/rollout-2026-11-09T11-01-40-01a1fd8a-0000-7000-8000-000000000001.jsonl  143 B
    shell_snapshots/
    skills/
    skills/.system/
    skills/.system/readme.md  8 B
    state_5.sqlite  1.0 KiB
    state_5.sqlite-shm  32 KiB
    state_5.sqlite-wal  5.1 KiB
    version.json  95 B
    2026-11-19-100200-user@example.com-codex.metadata.json  766 B
    ");
    assert_snapshot!(home.run("verify --all"), @"
    $ codex-manager verify --all
    corrupt       2026-11-17-070500-odd-one@example.com-codex.tar.gz
        refused: a.fifo is a named pipe
    unverifiable  2026-04-23-100200-second@example.com-codex
        it was written without digests; its checksums are right
    unverifiable  2026-11-19-100200-user@example.com-codex
        it was written without digests; its checksums are right
    3 snapshots: 0 ok, 1 corrupt, 2 unverifiable, 44 KiB read
    (exit 5)
    ");
    assert_snapshot!(home.run("cooldown"), @"
    $ codex-manager cooldown
    warning: ~/.codex-manager/backups/2026-11-17-070500-odd-one@example.com-codex.tar.gz: refused: a.fifo is a named pipe
       ACCOUNT                        STATE  LEFT  AVAILABLE  IN  SOURCE       AGE
       third_person@mail.example.com  ready  –     now        –   legacy       220d 5h
       second@example.com             ready  –     now        –   status-text  14m 31s
       user@example.com               ready  61%   now        –   status-text  14m 32s
    ");
    home.assert_same(".codex-manager", &before);
}

#[test]
fn a_store_of_23_0_0_is_listed_and_shown() {
    let home = store("23.0.0");
    let before = home.tree(".codex-manager");
    assert_snapshot!(home.run("list"), @"
    $ codex-manager list
    NAME                                                      KIND   SIZE     CREATED           AVAILABLE         LABEL  PROVEN
    auth/user@example.com/latest                              auth   1.9 KiB  2026-11-21 12:45  2026-11-27 09:15  –      –
    auth/second@example.com/latest                            auth   1.9 KiB  2026-11-21 12:45  2026-11-28 12:45  –      –
    sessions/user@example.com/backup-2026-11-19-100200-codex  state  #.# KiB  2026-11-21 12:45  2026-11-26 10:02  –      –
    ");
    assert_snapshot!(home.run("verify --all"), @"
    $ codex-manager verify --all
    unverifiable  auth/user@example.com/latest
        it was written without digests; its checksums are right
    unverifiable  auth/second@example.com/latest
        it was written without digests; its checksums are right
    unverifiable  sessions/user@example.com/backup-2026-11-19-100200-codex
        it was written without digests; its checksums are right
    3 snapshots: 0 ok, 3 unverifiable, 48 KiB read
    ");
    assert_snapshot!(home.run("cooldown"), @"
    $ codex-manager cooldown
       ACCOUNT              STATE     LEFT  AVAILABLE         IN      SOURCE       AGE
       user@example.com     ready     7%    now               –       status-text  14m 25s
       odd-one@example.com  cooldown  0%    Tue 24 Nov 07:05  2d 18h  status-text  14m 30s
       second@example.com   cooldown  –     Sat 28 Nov 12:45  6d 23h  estimate     14m 30s
    ");
    home.assert_same(".codex-manager", &before);
}

#[test]
fn a_login_of_either_is_used() {
    for version in ["1.0.0", "23.0.0"] {
        let home = store(version).signed_in("ada@example.com");
        let ada = home.read(".codex/auth.json");
        let seen = home.run("use second@example.com");
        assert!(seen.contains("signed in second@example.com"), "{version}: {seen}");
        let auth: serde_json::Value =
            serde_json::from_slice(&home.read(".codex/auth.json")).unwrap();
        assert!(auth["tokens"]["refresh_token"].is_string());
        home.run("use ada");
        assert_eq!(home.read(".codex/auth.json"), ada);
    }
}

#[test]
fn a_snapshot_of_1_0_0_is_restored_with_the_row_that_was_only_in_the_log() {
    let home = store("1.0.0");
    assert_snapshot!(home.run("restore 2026-11-19-100200-user@example.com-codex --to copy"), @"
    $ codex-manager restore 2026-11-19-100200-user@example.com-codex --to copy
    warning: ~/.codex-manager was open to others (mode 0755); it is 0700 now
    warning: ~/.codex-manager/backups/2026-11-17-070500-odd-one@example.com-codex.tar.gz: refused: a.fifo is a named pipe
    snapshot     2026-11-19-100200-user@example.com-codex
    content      19 files, 42 KiB
    login        from the snapshot
    restored to  ~/copy
    ");
    let restored: Vec<String> =
        home.tree("copy").into_keys().filter(|name| name.contains("sqlite")).collect();
    assert_snapshot!(restored.join(" "), @"state_5.sqlite");
    let db = Connection::open(home.path("copy").join(&restored[0])).unwrap();
    let tables: Vec<(String, i64)> = {
        let mut names = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").unwrap();
        let names: Vec<String> =
            names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        let rows = |name: &String| {
            db.query_row(&format!("SELECT count(*) FROM \"{name}\""), [], |row| row.get(0)).unwrap()
        };
        names.iter().map(|name| (name.clone(), rows(name))).collect()
    };
    assert!(tables.iter().all(|(_, rows)| *rows == 1), "{tables:?}");
}

#[test]
fn a_snapshot_of_23_0_0_is_restored_in_place() {
    let home = store("23.0.0").signed_in("ada@example.com");
    assert_snapshot!(home.run("restore backup-2026-11-19-100200-codex --yes"), @"
    $ codex-manager restore backup-2026-11-19-100200-codex --yes
    warning: ~/.codex-manager was open to others (mode 0755); it is 0700 now
    snapshot     sessions/user@example.com/backup-2026-11-19-100200-codex
    content      13 files, 41 KiB
    login        the newer one from auth/user@example.com/latest
    stored       the login that was live, as 2026-11-21-130000-ada@example.com-codex
    restored to  ~/.codex
    before       kept in ~/.codex-manager/undo/2026-11-21-130000-restore/codex-home
    `codex resume ID` goes on with any session, `resume --last` with the newest of this account
    ");
    assert_snapshot!(home.codex_files(), @"
    archived_sessions/
    auth.json
    auth.json.bak-20261102-080000
    history-second-name.jsonl
    history.jsonl
    link-inside
    log/codex-tui.log
    memories/raw.md
    session_index.jsonl
    sessions/2026/11/09/rollout-2026-11-09T11-01-40-01a1fd8a-0000-7000-8000-000000000001.jsonl
    skills/
    state_5.sqlite
    ");
}
