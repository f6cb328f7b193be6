//! `verify`: is rot found, and named?

use insta::assert_snapshot;

use crate::home::{TestHome, without_checksum};

pub(crate) const ARCHIVE: &str =
    ".codex-manager/backups/2026-11-19-100200-ada@example.com-codex.tar.gz";
pub(crate) const ROLLOUT: &str =
    "sessions/2026/11/21/rollout-2026-11-21T09-50-00-019aa000-0000-7000-8000-000000000001.jsonl";
pub(crate) const SIDECAR: &str =
    ".codex-manager/backups/2026-11-19-100200-ada@example.com-codex.metadata.json";

#[test]
fn sound_snapshots_are_said_to_be_so() {
    let home = TestHome::of_ada();
    home.run("backup");
    home.run("backup --auth-only");
    assert_snapshot!(home.run("verify"), @"
    $ codex-manager verify
    ok  2026-11-19-100200-ada@example.com~2-codex
    1 snapshot: 1 ok, 2.6 KiB read
    ");
    assert_snapshot!(home.run("verify --all"), @"
    $ codex-manager verify --all
    ok  2026-11-19-100200-ada@example.com~2-codex
    ok  2026-11-19-100200-ada@example.com-codex
    2 snapshots: 2 ok, 18 KiB read
    ");
    assert_snapshot!(home.json("verify --all"), @r#"
    {"schema":"codex-manager.verify/1","ok":true,"data":{"snapshots":[{"name":"2026-11-19-100200-ada@example.com~2-codex","verdict":"ok","problems":[],"damaged":[],"damaged_files":0},{"name":"2026-11-19-100200-ada@example.com-codex","verdict":"ok","problems":[],"damaged":[],"damaged_files":0}],"summary":{"snapshots":2,"ok":2,"corrupt":0,"unverifiable":0,"gone":0,"bytes":18725}},"warnings":[],"error":null}
    "#);
}

#[test]
fn one_flipped_bit_anywhere_is_found_and_refused() {
    let home = TestHome::of_ada();
    home.run("backup");
    let sound = home.read(ARCHIVE);
    // A prime step meets members, headers, table of contents and footer without a pattern.
    let last_51 = sound.len() - 51..sound.len();
    let mut home = home;
    for place in (0..sound.len()).step_by(97).chain(last_51.step_by(7)) {
        let mut rotten = sound.clone();
        rotten[place] ^= 1 << (place % 8);
        home = home.file(ARCHIVE, &rotten);
        let seen = home.play("verify");
        assert_eq!(seen.exit, 5, "byte {place}:\n{}", seen.screen);
        // What a restore does not need, such as an archived login older than the live one, may
        // be rotten; what it brings is sound, or it brings nothing.
        let to = format!("restored-{place}");
        let seen = home.play(&format!("restore --login keep --to {to}"));
        assert_eq!(seen.exit, if home.path(&to).exists() { 0 } else { 5 }, "{}", seen.screen);
        for file in ["config.toml", ROLLOUT] {
            let restored = std::fs::read(home.path(&to).join(file));
            let same = restored.is_ok_and(|bytes| bytes == home.read(&format!(".codex/{file}")));
            assert_eq!(same, seen.exit == 0, "byte {place}: {file}");
        }
    }
}

#[test]
fn the_file_that_rots_is_named() {
    let home = TestHome::of_ada().file(".codex/notes.md", "0123456789".repeat(3_000));
    home.run("backup");
    let sound = home.read(ARCHIVE);
    let shown = home.json("show --files");
    assert!(
        shown["data"]["files"].as_array().unwrap().iter().any(|file| file["name"] == "notes.md")
    );
    let home = home.file(ARCHIVE, crate::home::rotten_member(&sound, "notes.md"));
    assert_snapshot!(home.run("verify"), @"
    $ codex-manager verify
    corrupt  2026-11-19-100200-ada@example.com-codex
        notes.md, chunk 1 of 1 (bytes 0-29999): not what was written, at byte # of the archive
    1 snapshot: 0 ok, 1 corrupt, 15 KiB read
    (exit 5)
    ");
}

#[test]
fn an_archive_cut_short_or_grown_is_corrupt() {
    let home = TestHome::of_ada();
    home.run("backup");
    let sound = home.read(ARCHIVE);
    let home = home.file(ARCHIVE, &sound[..sound.len() - 1]);
    assert_snapshot!(home.run("verify"), @"
    $ codex-manager verify
    warning: ~/.codex-manager/backups/2026-11-19-100200-ada@example.com-codex.tar.gz: has # bytes, its sidecar says #
    error: there is no such snapshot that is sound
    hint: `codex-manager verify --all` tells what is wrong with each
    (exit 5)
    ");
    let home = home.file(ARCHIVE, [sound.as_slice(), b"\0"].concat());
    assert_snapshot!(home.run("verify"), @"
    $ codex-manager verify
    warning: ~/.codex-manager/backups/2026-11-19-100200-ada@example.com-codex.tar.gz: has # bytes, its sidecar says #
    error: there is no such snapshot that is sound
    hint: `codex-manager verify --all` tells what is wrong with each
    (exit 5)
    ");
    let home = home.file(ARCHIVE, "");
    assert_snapshot!(home.run("verify"), @"
    $ codex-manager verify
    warning: ~/.codex-manager/backups/2026-11-19-100200-ada@example.com-codex.tar.gz: has 0 bytes, its sidecar says #
    error: there is no such snapshot that is sound
    hint: `codex-manager verify --all` tells what is wrong with each
    (exit 5)
    ");
}

#[test]
fn an_archive_under_another_ones_sidecar_is_corrupt() {
    let home = TestHome::of_ada();
    home.run("backup");
    let sidecar = home.read(SIDECAR);
    let home = home.file(".codex/notes.md", "more");
    home.run("backup --force");
    let home = home.file(SIDECAR, sidecar);
    assert_snapshot!(home.run("verify"), @"
    $ codex-manager verify
    warning: ~/.codex-manager/backups/2026-11-19-100200-ada@example.com-codex.tar.gz: has # bytes, its sidecar says #
    error: there is no such snapshot that is sound
    hint: `codex-manager verify --all` tells what is wrong with each
    (exit 5)
    ");
    assert_snapshot!(home.run("restore --yes"), @"
    $ codex-manager restore --yes
    warning: ~/.codex-manager/backups/2026-11-19-100200-ada@example.com-codex.tar.gz: has # bytes, its sidecar says #
    error: there is no such snapshot that is sound
    hint: `codex-manager verify --all` tells what is wrong with each
    (exit 5)
    ");
}

#[test]
fn what_a_sidecar_may_say_otherwise_verify_and_restore_agree_on() {
    // What is edited, and the exit of both.
    let rows = [
        ("\"email\": \"ada@example.com\"", "\"email\": \"ada@new.example.com\"", 0),
        ("\"note\": null", "\"note\": \"before the update\"", 0),
        ("\"last_refresh\": \"2026-11-21T10", "\"last_refresh\": \"2026-11-21T11", 5),
        ("\"issued_at\": \"2026-11-21T10", "\"issued_at\": \"2026-11-21T12", 5),
        ("\"kind\": \"full\"", "\"kind\": \"state\"", 5),
        ("\"account_id\": \"acct-ada", "\"account_id\": \"acct-bob", 5),
    ];
    for (from, to, exit) in rows {
        let home = TestHome::of_ada();
        home.run("backup");
        let sidecar = without_checksum(&home.read(SIDECAR));
        assert!(sidecar.contains(from), "{from}: {sidecar}");
        let home = home.file(SIDECAR, sidecar.replacen(from, to, 1));
        let seen = home.play("verify");
        assert_eq!(seen.exit, exit, "{to}:\n{}", seen.screen);
        let seen = home.play("restore 2026 --to elsewhere");
        assert_eq!(seen.exit, exit, "{to}:\n{}", seen.screen);
    }
}

#[test]
fn an_archive_alone_is_complete() {
    let home = TestHome::of_ada();
    home.run("backup");
    std::fs::remove_file(home.path(SIDECAR)).unwrap();
    assert_snapshot!(home.run("verify"), @"
    $ codex-manager verify
    warning: ~/.codex-manager/backups/2026-11-19-100200-ada@example.com-codex.tar.gz: has no sidecar; the copy inside it is used
    ok  2026-11-19-100200-ada@example.com-codex
    1 snapshot: 1 ok, 15 KiB read
    ");
    assert_snapshot!(home.run("list"), @"
    $ codex-manager list
    warning: ~/.codex-manager/backups/2026-11-19-100200-ada@example.com-codex.tar.gz: has no sidecar; the copy inside it is used
    NAME                                     KIND  SIZE     CREATED           AVAILABLE         LABEL  PROVEN
    2026-11-19-100200-ada@example.com-codex  full  #.# KiB  2026-11-21 11:00  2026-11-26 10:02  –      –
    ");
    assert_eq!(home.play("restore --yes").exit, 0);
}

#[test]
fn nobody_gets_an_older_snapshot_for_a_newest_one_that_is_damaged() {
    let newest = ARCHIVE.replace("-codex", "~2-codex");
    for keep_sidecar in [true, false] {
        let home = TestHome::of_ada();
        home.run("backup");
        let home = home.later("+1h");
        home.run("backup --label evening");
        let mut bytes = home.read(&newest);
        let half = bytes.len() / 2;
        bytes.truncate(half);
        let home = home.file(&newest, bytes);
        if !keep_sidecar {
            let sidecar = newest.replace(".tar.gz", ".metadata.json");
            std::fs::remove_file(home.path(&sidecar)).unwrap();
        }
        let before = home.tree("");
        for line in ["restore --yes", "restore --yes --account ada", "show", "verify"] {
            let answer = home.json(line);
            assert_eq!(answer["error"]["code"], 5, "{line}: {answer}");
            let told = answer["error"]["message"].as_str().unwrap();
            assert!(told.contains("2026-11-19-100200-ada@example.com~2-codex"), "{told}");
            let hint = answer["error"]["hint"].as_str().unwrap();
            assert!(hint.ends_with(": 2026-11-19-100200-ada@example.com-codex"), "{hint}");
        }
        // A part that fits both, and the name of either.
        assert_eq!(home.play("verify 2026-11-19").exit, 2);
        assert_eq!(home.play("verify ada@example.com~2").exit, 5);
        assert_eq!(home.play("verify evening").exit, if keep_sidecar { 5 } else { 4 });
        for (path, node) in home.tree("") {
            assert_eq!(before.get(&path).map(|node| &node.content), Some(&node.content), "{path}");
        }
        assert_eq!(home.play("verify 2026-11-19-100200-ada@example.com-codex").exit, 0);
        let named = "restore --yes 2026-11-19-100200-ada@example.com-codex";
        assert_eq!(home.play(named).exit, 0);
        // One that is newer than the damaged one is the newest.
        let home = home.later("+1h");
        home.run("backup");
        assert_eq!(home.play("restore --yes").exit, 0);
    }
}

/// The archive with one byte changed in the middle of one of a file's chunks, counted from 1.
pub(crate) fn rotten_chunk(archive: &[u8], name: &str, number: usize) -> Vec<u8> {
    let table = crate::home::table_of_contents(archive);
    let entries = table["entries"].as_array().unwrap();
    let mut chunks = entries.iter().filter(|entry| entry["name"] == name);
    let chunk = chunks.nth(number - 1).unwrap();
    let at = |key: &str| usize::try_from(chunk[key].as_u64().unwrap()).unwrap();
    let mut rotten = archive.to_vec();
    rotten[at("offset") + at("memberSize") / 2] ^= 0x10;
    rotten
}

/// Bytes that no packing makes smaller.
pub(crate) fn noise(count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

#[test]
fn every_damaged_file_is_named_with_its_chunk_and_the_sound_ones_are_not() {
    let home = TestHome::of_ada()
        .file(".codex/big.bin", noise((3 << 20) + 5))
        .file(".codex/notes.md", "0123456789");
    home.run("backup");
    let rotten = rotten_chunk(&home.read(ARCHIVE), "big.bin", 3);
    let rotten = rotten_chunk(&rotten, "big.bin", 2);
    let home = home.file(ARCHIVE, rotten_chunk(&rotten, "notes.md", 1));
    let before = home.tree("");
    assert_snapshot!(home.run("verify --all"), @"
    $ codex-manager verify --all
    corrupt  2026-11-19-100200-ada@example.com-codex
        big.bin, chunk 2 of 4 (bytes 1048576-2097151): not what was written, at byte # of the archive; 2 of its chunks are damaged
        notes.md, chunk 1 of 1 (bytes 0-9): not what was written, at byte # of the archive
    1 snapshot: 0 ok, 1 corrupt, 1.0 MiB read
    (exit 5)
    ");
    let data = home.json("verify")["data"].clone();
    assert_snapshot!(data["snapshots"][0]["damaged"], @r#"
    [{"file":"big.bin","chunk":2,"chunks":4,"offset":1048576,"damaged_chunks":2},{"file":"notes.md","chunk":1,"chunks":1,"offset":0,"damaged_chunks":1}]
    "#);
    assert_eq!(data["snapshots"][0]["problems"].as_array().unwrap().len(), 2);
    assert_snapshot!(data["summary"], @r#"
    {"snapshots":1,"ok":0,"corrupt":1,"unverifiable":0,"gone":0,"bytes":1064621}
    "#);
    home.assert_same("", &before);
}

#[test]
fn twenty_damaged_places_are_named_and_the_others_counted() {
    let mut home = TestHome::of_ada();
    for number in 0..30 {
        home = home.file(&format!(".codex/prompts/{number:02}.md"), noise(64));
    }
    home.run("backup");
    let mut rotten = home.read(ARCHIVE);
    for number in 0..30 {
        rotten = rotten_chunk(&rotten, &format!("prompts/{number:02}.md"), 1);
    }
    let home = home.file(ARCHIVE, rotten);
    let found = home.json("verify")["data"]["snapshots"][0].clone();
    let problems = found["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 21);
    assert_eq!(problems[20], "10 more damaged places, 30 damaged files in all");
    assert_eq!(found["damaged"].as_array().unwrap().len(), 20);
    assert_eq!(
        (&found["damaged"][19]["file"], &found["damaged_files"]),
        (&"prompts/19.md".into(), &30.into())
    );
}

#[test]
fn damage_that_is_in_no_file_is_said_to_be_so() {
    let home = TestHome::of_ada();
    home.run("backup");
    let sound = home.read(ARCHIVE);
    let table = crate::home::table_of_contents(&sound);
    let second = table["entries"].as_array().unwrap().iter().find(|it| it["name"] == "config.toml");
    let config = usize::try_from(second.unwrap()["offset"].as_u64().unwrap()).unwrap();
    let rows = [
        (config - 20, "config.toml: byte #: a tar header between files: "),
        (sound.len() - 200, "which files are sound cannot be told"),
        (
            sound.len() - 10,
            "the footer is damaged or cut off; which files are sound cannot be told",
        ),
    ];
    let mut home = home;
    for (place, says) in rows {
        let mut rotten = sound.clone();
        rotten[place] ^= 0x10;
        home = home.file(ARCHIVE, rotten);
        let seen = home.play("verify 2026-11-19-100200-ada@example.com-codex");
        assert_eq!(seen.exit, 5, "{}", seen.screen);
        assert!(seen.screen.contains(says), "{says:?} is not in\n{}", seen.screen);
        let all = home.json("verify --all")["data"]["snapshots"].clone();
        assert_eq!(all[0]["damaged_files"], 0, "{all}");
    }
}

#[test]
fn a_sidecar_that_cannot_be_read_is_damage_of_its_snapshot_and_counts_once() {
    let home = TestHome::of_ada();
    home.run("backup");
    let mut sidecar = home.read(SIDECAR);
    sidecar[0] ^= 0x10;
    let home = home.file(SIDECAR, sidecar);
    assert_snapshot!(home.run("verify --all"), @"
    $ codex-manager verify --all
    corrupt  2026-11-19-100200-ada@example.com-codex
        its sidecar is not JSON at line 1, column 1
    1 snapshot: 0 ok, 1 corrupt, 15 KiB read
    (exit 5)
    ");
    assert_snapshot!(home.run("verify"), @"
    $ codex-manager verify
    warning: ~/.codex-manager/backups/2026-11-19-100200-ada@example.com-codex.metadata.json: is not JSON at line 1, column 1
    corrupt  2026-11-19-100200-ada@example.com-codex
        its sidecar is not JSON at line 1, column 1
    1 snapshot: 0 ok, 1 corrupt, 15 KiB read
    (exit 5)
    ");
}

#[test]
fn a_job_that_wants_silence_hears_only_what_is_not_ok() {
    let home = TestHome::of_ada();
    home.run("backup");
    home.run("backup --auth-only");
    assert_snapshot!(home.run("verify --all --quiet"), @"$ codex-manager verify --all --quiet");
    let rotten = crate::home::rotten_member(&home.read(ARCHIVE), "config.toml");
    let home = home.file(ARCHIVE, rotten);
    assert_snapshot!(home.run("verify --all --quiet"), @"
    $ codex-manager verify --all --quiet
    corrupt  2026-11-19-100200-ada@example.com-codex
        config.toml, chunk 1 of 1 (bytes 0-15): not what was written, at byte # of the archive
    (exit 5)
    ");
}

#[test]
fn a_store_without_snapshots_is_no_fault() {
    let home = TestHome::at("2026-11-21T10:00:00Z");
    for line in ["verify", "verify --all"] {
        let seen = home.play(line);
        let says = "no snapshot is stored yet: `codex-manager backup` makes one\n";
        assert_eq!((seen.exit, seen.screen.as_str()), (0, says), "{line}");
        assert_eq!(home.play(&format!("{line} --quiet")).screen, "", "{line}");
    }
    assert_eq!(home.json("verify --all")["data"]["summary"]["snapshots"], 0);
    assert_eq!(home.files(), "", "a look creates nothing");
    // Who names one is told that it is not there.
    assert_eq!(home.play("verify ada").exit, 4);
}
