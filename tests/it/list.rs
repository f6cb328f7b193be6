//! `list` and `show`: what is told of the snapshots there are?

use insta::assert_snapshot;

use crate::home::TestHome;

fn two_accounts() -> TestHome {
    let home = TestHome::of_ada();
    home.run("backup --label monday");
    let home = home.later("+1d").signed_in("bob@example.com");
    home.run("backup --auth-only --note 'a remark'");
    home
}

#[test]
fn nothing_stored_yet_is_said_with_the_next_step() {
    let home = TestHome::at("2026-11-21T10:00:00Z");
    assert_snapshot!(home.run("list"), @"
    $ codex-manager list
    no snapshot is stored yet: `codex-manager backup` makes one
    ");
    assert_snapshot!(home.json("list"), @r#"
    {"schema":"codex-manager.list/1","ok":true,"data":{"snapshots":[]},"warnings":[],"error":null}
    "#);
}

#[test]
fn the_newest_comes_first_and_an_account_narrows_it() {
    let home = two_accounts();
    assert_snapshot!(home.run("list"), @"
    $ codex-manager list
    NAME                                     KIND  SIZE     CREATED           AVAILABLE         LABEL   PROVEN
    2026-11-22-110000-bob@example.com-codex  auth  #.# KiB  2026-11-22 11:00  –                 –       –
    2026-11-19-100200-ada@example.com-codex  full  #.# KiB  2026-11-21 11:00  2026-11-26 10:02  monday  –
    ");
    assert_snapshot!(home.run("ls --account ada"), @"
    $ codex-manager ls --account ada
    NAME                                     KIND  SIZE     CREATED           AVAILABLE         LABEL   PROVEN
    2026-11-19-100200-ada@example.com-codex  full  #.# KiB  2026-11-21 11:00  2026-11-26 10:02  monday  –
    ");
    assert_snapshot!(home.run("list-backups --account carol"), @r#"
    $ codex-manager list-backups --account carol
    error: no account is called "carol"
    hint: `codex-manager accounts` lists them
    (exit 4)
    "#);
}

#[test]
fn a_narrow_terminal_drops_columns_and_wraps_nothing() {
    let home = two_accounts().columns(70);
    assert_snapshot!(home.run("list"), @"
    $ codex-manager list
    NAME                                     KIND  SIZE
    2026-11-22-110000-bob@example.com-codex  auth  #.# KiB
    2026-11-19-100200-ada@example.com-codex  full  #.# KiB
    ");
}

#[test]
fn show_tells_everything_about_one() {
    let home = two_accounts();
    assert_snapshot!(home.run("show"), @"
    $ codex-manager show
    name        2026-11-22-110000-bob@example.com-codex
    account     bob@example.com
    plan        plus
    kind        auth
    created     2026-11-22 11:00:00
    week began  –
    available   –
    login       refreshed 2026-11-22T10:00:00Z
    codex       0.169.0
    taken from  ~/.codex
    holds       auth.json
    content     2 files, 2.1 KiB
    note        a remark
    archive     ~/.codex-manager/backups/2026-11-22-110000-bob@example.com-codex.tar.gz (#.# KiB)
    ");
    assert_snapshot!(home.run("show --account ada@example.com --files"), @"
    $ codex-manager show --account ada@example.com --files
    name        2026-11-19-100200-ada@example.com-codex
    account     ada@example.com
    plan        plus
    kind        full
    created     2026-11-21 11:00:00
    week began  2026-11-19 10:02:00
    available   2026-11-26 10:02:00
    5 h         88% left, resets 2026-11-21 13:00:00
    week        60% left, resets 2026-11-26 10:02:00
    quota from  rollout, 2026-11-21 11:00:00
    login       refreshed 2026-11-21T10:00:00Z
    codex       0.169.0
    taken from  ~/.codex
    holds       .credentials.json .env auth.json config.toml sessions/ state_5.sqlite
    content     7 files, 15 KiB
    label       monday
    archive     ~/.codex-manager/backups/2026-11-19-100200-ada@example.com-codex.tar.gz (#.# KiB)

    auth.json  1.1 KiB
    .codex-manager/
    .codex-manager/metadata.json  1.6 KiB
    .credentials.json  93 B
    .env  38 B
    config.toml  16 B
    sessions/
    sessions/2026/
    sessions/2026/11/
    sessions/2026/11/21/
    sessions/2026/11/21/rollout-2026-11-21T09-50-00-019aa000-0000-7000-8000-000000000001.jsonl  763 B
    state_5.sqlite  12 KiB
    ");
    assert_snapshot!(home.run("show monday"), @"
    $ codex-manager show monday
    name        2026-11-19-100200-ada@example.com-codex
    account     ada@example.com
    plan        plus
    kind        full
    created     2026-11-21 11:00:00
    week began  2026-11-19 10:02:00
    available   2026-11-26 10:02:00
    5 h         88% left, resets 2026-11-21 13:00:00
    week        60% left, resets 2026-11-26 10:02:00
    quota from  rollout, 2026-11-21 11:00:00
    login       refreshed 2026-11-21T10:00:00Z
    codex       0.169.0
    taken from  ~/.codex
    holds       .credentials.json .env auth.json config.toml sessions/ state_5.sqlite
    content     7 files, 15 KiB
    label       monday
    archive     ~/.codex-manager/backups/2026-11-19-100200-ada@example.com-codex.tar.gz (#.# KiB)
    ");
}

#[test]
fn a_name_that_fits_none_or_several_is_refused() {
    let home = two_accounts();
    assert_snapshot!(home.run("show nothing"), @r#"
    $ codex-manager show nothing
    error: no snapshot is called "nothing"
    hint: `codex-manager list` shows what there is
    (exit 4)
    "#);
    assert_snapshot!(home.run("show example.com"), @r#"
    $ codex-manager show example.com
    error: "example.com" fits 2 snapshots: 2026-11-22-110000-bob@example.com-codex, 2026-11-19-100200-ada@example.com-codex
    hint: name one of them in full
    (exit 2)
    "#);
    assert_snapshot!(home.json("show example.com")["error"]["code"], @"2");
}

#[test]
fn one_bad_snapshot_does_not_hide_the_others() {
    let home = two_accounts()
        .file(
            ".codex-manager/backups/2026-11-01-080000-eve@example.com-codex.metadata.json",
            "{\"schema\"",
        )
        .file(
            ".codex-manager/backups/2026-11-01-080000-eve@example.com-codex.tar.gz",
            "no archive",
        );
    assert_snapshot!(home.run("list"), @"
    $ codex-manager list
    warning: ~/.codex-manager/backups/2026-11-01-080000-eve@example.com-codex.tar.gz: the archive is damaged at byte 0: the compressed data is damaged
    NAME                                     KIND  SIZE     CREATED           AVAILABLE         LABEL   PROVEN
    2026-11-22-110000-bob@example.com-codex  auth  #.# KiB  2026-11-22 11:00  –                 –       –
    2026-11-19-100200-ada@example.com-codex  full  #.# KiB  2026-11-21 11:00  2026-11-26 10:02  monday  –
    ");
}

#[test]
fn a_login_that_was_broken_long_ago_is_told_without_a_wait() {
    let home = TestHome::of_ada().file(".codex/auth.json", "{\"tokens\"");
    let began = std::time::Instant::now();
    let seen = home.play("list");
    assert!(seen.screen.contains("auth.json names no account: it is not JSON"), "{}", seen.screen);
    assert!(began.elapsed() < std::time::Duration::from_millis(1_500), "{:?}", began.elapsed());
}

#[test]
fn a_large_archive_without_sidecar_is_listed_by_its_name_and_shown_by_what_it_holds() {
    let sidecar = include_bytes!(
        "../../testdata/legacy/1.0.0/backups/2026-11-19-100200-user@example.com-codex.metadata.json"
    );
    let mut noise = vec![0_u8; 2 << 20];
    getrandom::fill(&mut noise).unwrap();
    let name = "2026-11-19-100200-user@example.com-codex";
    let packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut archive = tar::Builder::new(packed);
    for (member, bytes) in
        [("noise", noise.as_slice()), (&format!("{name}.metadata.json"), sidecar.as_slice())]
    {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len().try_into().unwrap());
        header.set_mode(0o600);
        header.set_uid(0);
        header.set_gid(0);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_device_major(0).unwrap();
        header.set_device_minor(0).unwrap();
        header.set_mtime(1_795_000_000);
        archive.append_data(&mut header, member, bytes).unwrap();
    }
    let bytes = archive.into_inner().unwrap().finish().unwrap();
    let path = format!(".codex-manager/backups/{name}.tar.gz");
    let home = TestHome::at("2026-11-21T10:00:00Z").file(&path, bytes);
    assert_snapshot!(home.run("list"), @"
    $ codex-manager list
    warning: ~/.codex-manager/backups/2026-11-19-100200-user@example.com-codex.tar.gz: has no sidecar and was not looked into; `show` reads all of it
    NAME                                      KIND  SIZE     CREATED  AVAILABLE  LABEL  PROVEN
    2026-11-19-100200-user@example.com-codex  full  #.# MiB  –        –          –      –
    ");
    let shown = home.json(&format!("show {name}"))["data"].clone();
    assert_eq!(shown["next_available_at"], "2026-11-26T10:02:00+01:00", "{}", home.run("show"));
    assert_eq!(shown["created_at"], "2026-11-21T12:45:28+01:00");
}

#[test]
fn every_document_names_an_archive_by_the_same_path() {
    let home = TestHome::of_ada();
    let announced = home.json("backup --dry-run")["data"]["archive"].clone();
    let stored = home.json("backup")["data"]["archive"].clone();
    let listed = home.json("list")["data"]["snapshots"][0]["path"].clone();
    let path = "~/.codex-manager/backups/2026-11-19-100200-ada@example.com-codex.tar.gz";
    assert_eq!([announced, stored, listed], [path, path, path]);
}

#[test]
fn a_verdict_is_in_the_exit_code_and_the_work_is_done_all_the_same() {
    let home = TestHome::of_ada();
    assert_eq!(home.play("backup").exit, 0);
    let archive = ".codex-manager/backups/2026-11-19-100200-ada@example.com-codex.tar.gz";
    let mut bytes = home.read(archive);
    bytes[200] ^= 0x10;
    let home = home.file(archive, bytes);
    home.play("cooldown set ada@example.com --until +1d");
    for (line, exit) in [("verify", 5), ("recommend --ready", 10)] {
        assert_eq!(home.play(line).exit, exit, "{line}");
        let said = home.json(line);
        assert_eq!((&said["ok"], &said["error"]), (&true.into(), &serde_json::Value::Null));
        assert!(said["data"].is_object(), "{said}");
    }
    assert_eq!(home.json("show nothing")["ok"], false);
}
