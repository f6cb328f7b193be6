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
    NAME                                         KIND  SIZE     CREATED           AVAILABLE         LABEL
    2026-04-23-100200-second@example.com-codex   auth  #.# KiB  2026-11-21 12:45  2026-04-30 10:02  –
    2026-11-19-100200-user@example.com-codex     full  #.# KiB  2026-11-21 12:45  2026-11-26 10:02  –
    2026-11-17-070500-odd-one@example.com-codex  full  #.# KiB  –                 –                 –
    ");
    assert_snapshot!(home.run("show user@example.com --files"), @"
    $ codex-manager show user@example.com --files
    warning: ~/.codex-manager/backups/2026-11-17-070500-odd-one@example.com-codex.tar.gz: refused: a.fifo is a named pipe
    error: 2026-11-19-100200-user@example.com-codex: refused: history.jsonl is a hard link
    (exit 5)
    ");
    assert_snapshot!(home.run("verify --all"), @"
    $ codex-manager verify --all
    corrupt  2026-11-17-070500-odd-one@example.com-codex.tar.gz
        refused: a.fifo is a named pipe
    unverifiable  2026-04-23-100200-second@example.com-codex
        it was written without digests; its checksums are right
    corrupt  2026-11-19-100200-user@example.com-codex
        byte 0: refused: history.jsonl is a hard link
    corrupt  2026-11-17-070500-odd-one@example.com-codex
        byte 0: refused: a.fifo is a named pipe
    4 snapshots checked, 3 corrupt
    (exit 5)
    ");
    assert_snapshot!(home.run("cooldown"), @"
    $ codex-manager cooldown
    warning: ~/.codex-manager/backups/2026-11-17-070500-odd-one@example.com-codex.tar.gz: refused: a.fifo is a named pipe
       ACCOUNT                        STATE  LEFT  AVAILABLE  IN  SOURCE       AGE
       third_person@mail.example.com  ready  –     now        –   legacy       220d 5h
       second@example.com             ready  –     now        –   status-text  14m 31s
       user@example.com               ready  61%   now        –   status-text  14m 32s
       odd-one@example.com            ready  –     now        –   –            –
    ");
    home.assert_same(".codex-manager", &before);
}

#[test]
fn a_store_of_23_0_0_is_listed_and_shown() {
    let home = store("23.0.0");
    let before = home.tree(".codex-manager");
    assert_snapshot!(home.run("list"), @"
    $ codex-manager list
    NAME                                                      KIND   SIZE     CREATED           AVAILABLE         LABEL
    auth/user@example.com/latest                              auth   1.9 KiB  2026-11-21 12:45  2026-11-27 09:15  –
    auth/second@example.com/latest                            auth   1.9 KiB  2026-11-21 12:45  2026-11-28 12:45  –
    sessions/user@example.com/backup-2026-11-19-100200-codex  state  #.# KiB  2026-11-21 12:45  2026-11-26 10:02  –
    ");
    assert_snapshot!(home.run("verify --all"), @"
    $ codex-manager verify --all
    unverifiable  auth/user@example.com/latest
        it was written without digests; its checksums are right
    unverifiable  auth/second@example.com/latest
        it was written without digests; its checksums are right
    corrupt  sessions/user@example.com/backup-2026-11-19-100200-codex
        byte 0: refused: history.jsonl is a hard link
    3 snapshots checked, 1 corrupt
    (exit 5)
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
    error: 2026-11-19-100200-user@example.com-codex: refused: history.jsonl is a hard link
    (exit 5)
    ");
    let restored: Vec<String> =
        home.tree("copy").into_keys().filter(|name| name.contains("sqlite")).collect();
    assert_snapshot!(restored.join(" "), @"");
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
    error: sessions/user@example.com/backup-2026-11-19-100200-codex: refused: history.jsonl is a hard link
    (exit 5)
    ");
    assert_snapshot!(home.codex_files(), @"auth.json");
}
