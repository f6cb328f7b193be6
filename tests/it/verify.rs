//! `verify`: is rot found, and named?

use insta::assert_snapshot;

use crate::home::{TestHome, without_checksum};

const ARCHIVE: &str = ".codex-manager/backups/2026-11-19-100200-ada@example.com-codex.tar.gz";
const ROLLOUT: &str =
    "sessions/2026/11/21/rollout-2026-11-21T09-50-00-019aa000-0000-7000-8000-000000000001.jsonl";
const SIDECAR: &str =
    ".codex-manager/backups/2026-11-19-100200-ada@example.com-codex.metadata.json";

#[test]
fn sound_snapshots_are_said_to_be_so() {
    let home = TestHome::of_ada();
    home.run("backup");
    home.run("backup --auth-only");
    assert_snapshot!(home.run("verify"), @"
    $ codex-manager verify
    ok  2026-11-19-100200-ada@example.com~2-codex
    1 snapshot checked, nothing is wrong
    ");
    assert_snapshot!(home.run("verify --all"), @"
    $ codex-manager verify --all
    ok  2026-11-19-100200-ada@example.com~2-codex
    ok  2026-11-19-100200-ada@example.com-codex
    2 snapshots checked, nothing is wrong
    ");
    assert_snapshot!(home.json("verify --all"), @r#"
    {"schema":"codex-manager.verify/1","ok":true,"data":{"snapshots":[{"name":"2026-11-19-100200-ada@example.com~2-codex","verdict":"ok","problems":[]},{"name":"2026-11-19-100200-ada@example.com-codex","verdict":"ok","problems":[]}]},"warnings":[],"error":null}
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
        notes.md: chunk 0, byte #: its compressed bytes do not match their digest
    1 snapshot checked, 1 corrupt
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
    1 snapshot checked, nothing is wrong
    ");
    assert_snapshot!(home.run("list"), @"
    $ codex-manager list
    warning: ~/.codex-manager/backups/2026-11-19-100200-ada@example.com-codex.tar.gz: has no sidecar; the copy inside it is used
    NAME                                     KIND  SIZE     CREATED           AVAILABLE         LABEL
    2026-11-19-100200-ada@example.com-codex  full  #.# KiB  2026-11-21 11:00  2026-11-26 10:02  –
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
