//! `restore --only`: is what is sound taken out, and nothing else?

use insta::assert_snapshot;

use crate::home::{TestHome, rotten_member, table_of_contents};
use crate::verify::{ARCHIVE, ROLLOUT, SIDECAR, noise, rotten_chunk};

const TITLE: &str = "2026-11-19-100200-ada@example.com-codex";

/// Ada's home with something of every part, stored.
fn ada() -> TestHome {
    let home = TestHome::of_ada()
        .file(".codex/history.jsonl", "{}\n")
        .file(".codex/prompts/review.md", "look twice\n")
        .file(".codex/prompts/deep/plan.md", "think first\n")
        .file(".codex/memories/raw.md", "likes short answers\n")
        .file(".codex/notes/big.bin", noise((2 << 20) + 5));
    home.run("backup");
    home
}

/// The files below a folder of the user's, but for what every test home holds to be looked for.
fn came_out(home: &TestHome, folder: &str) -> Vec<String> {
    let tree = home.tree(folder);
    let is_file = |name: &&String| home.path(folder).join(name).is_file();
    tree.keys().filter(is_file).cloned().collect()
}

#[test]
fn a_part_comes_out_as_a_copy_and_nothing_else_does() {
    let home = ada();
    let (codex, backups) = (home.tree(".codex"), home.tree(".codex-manager/backups"));
    assert_snapshot!(home.run("restore --only sessions --to out --dry-run"), @"
    $ codex-manager restore --only sessions --to out --dry-run
    snapshot      2026-11-19-100200-ada@example.com-codex
    only          sessions
    content       3 files, 12 KiB
    login         none
    would create  ~/out
    ");
    assert!(!home.path("out").exists());
    assert_snapshot!(home.run("restore --only sessions --to out"), @"
    $ codex-manager restore --only sessions --to out
    snapshot     2026-11-19-100200-ada@example.com-codex
    only         sessions
    content      3 files, 12 KiB
    login        none
    restored to  ~/out
    ");
    assert_eq!(came_out(&home, "out"), ["history.jsonl", ROLLOUT, "state_5.sqlite"]);
    assert_eq!(home.threads("out/state_5.sqlite"), format!("~/out/{ROLLOUT}\n"));
    assert_eq!(home.read(&format!("out/{ROLLOUT}")), home.read(&format!(".codex/{ROLLOUT}")));
    #[cfg(unix)]
    for (name, node) in home.tree("out") {
        assert_eq!(node.mode & 0o077, 0, "{name} is open to others");
    }
    home.assert_same(".codex", &codex);
    home.assert_same(".codex-manager/backups", &backups);
    let files = home.files();
    assert!(!files.contains("journal") && !files.contains("switch"), "{files}");
    assert_snapshot!(home.run("log").lines().nth(2).unwrap(), @"2026-11-21-110000-restore  restored sessions of 2026-11-19-100200-ada@example.com-codex to ~/out  no");
}

#[test]
fn parts_paths_and_globs_may_be_mixed() {
    let rows: [(&str, &[&str]); 5] = [
        ("--only memories", &["memories/raw.md"]),
        ("--only prompts/*.md --only memories/", &["memories/raw.md", "prompts/review.md"]),
        (
            "--only prompts memories",
            &["memories/raw.md", "prompts/deep/plan.md", "prompts/review.md"],
        ),
        (
            "--only './prompts/**/*.md' history.jsonl",
            &["history.jsonl", "prompts/deep/plan.md", "prompts/review.md"],
        ),
        ("--only login", &["auth.json"]),
    ];
    let home = ada();
    for (number, (asked, expected)) in rows.into_iter().enumerate() {
        let to = format!("out-{number}");
        let seen = home.play(&format!("restore {TITLE} {asked} --to {to}"));
        assert_eq!(seen.exit, 0, "{asked}\n{}", seen.screen);
        assert_eq!(came_out(&home, &to), expected, "{asked}");
    }
    assert_eq!(home.read("out-4/auth.json"), home.read(".codex/auth.json"));
}

#[test]
fn of_a_damaged_snapshot_the_sound_files_come_out_and_the_others_are_named() {
    let home = ada();
    let sound = home.read(ARCHIVE);
    let rotten = rotten_chunk(&sound, "notes/big.bin", 3);
    let home = home.file(ARCHIVE, rotten_member(&rotten, "prompts/review.md"));
    assert_snapshot!(home.run("restore --to all"), @"
    $ codex-manager restore --to all
    error: 2026-11-19-100200-ada@example.com-codex: notes/big.bin, chunk 3 of 3 (bytes 2097152-2097156): not what was written, at byte # of the archive
    hint: use another snapshot; `codex-manager verify` names everything that is damaged, and `restore --only WHAT --to DIR` takes out what is sound
    (exit 5)
    ");
    assert!(!home.path("all").exists());
    assert_snapshot!(home.run("restore --only notes prompts config.toml --to out"), @"
    $ codex-manager restore --only notes prompts config.toml --to out
    snapshot     2026-11-19-100200-ada@example.com-codex
    only         notes, prompts, config.toml
    content      4 files, 2.0 MiB
    login        none
    damaged      notes/big.bin, chunk 3 of 3 (bytes 2097152-2097156): not what was written, at byte # of the archive
    damaged      prompts/review.md, chunk 1 of 1 (bytes 0-10): not what was written, at byte # of the archive
    came out     2 files, 28 B
    restored to  ~/out
    (exit 5)
    ");
    assert_eq!(came_out(&home, "out"), ["config.toml", "prompts/deep/plan.md"]);
    let data = home.json("restore --only notes prompts --to again")["data"].clone();
    assert_snapshot!(data["damaged"], @r#"
    [{"file":"notes/big.bin","chunk":3,"chunks":3,"offset":2097152},{"file":"prompts/review.md","chunk":1,"chunks":1,"offset":0}]
    "#);
    assert_eq!((&data["files"], &data["content_bytes"]), (&1.into(), &12.into()));
    // What is damaged and not asked for does not count.
    let seen = home.play("restore --only sessions --to sessions");
    assert_eq!(seen.exit, 0, "{}", seen.screen);
    assert_eq!(came_out(&home, "sessions").len(), 3);
}

#[test]
fn where_nothing_is_sound_nothing_is_written() {
    let home = ada();
    let rotten = rotten_chunk(&home.read(ARCHIVE), "notes/big.bin", 1);
    let home = home.file(ARCHIVE, rotten_member(&rotten, "prompts/review.md"));
    let before = home.tree("");
    assert_snapshot!(home.run("restore --only notes --to out"), @"
    $ codex-manager restore --only notes --to out
    error: 2026-11-19-100200-ada@example.com-codex: notes/big.bin, chunk 1 of 3 (bytes 0-1048575): not what was written, at byte # of the archive
    hint: use another snapshot; `codex-manager verify` names everything that is damaged
    (exit 5)
    ");
    assert_snapshot!(home.run("restore --only notes prompts/review.md --to out"), @"
    $ codex-manager restore --only notes prompts/review.md --to out
    error: 2026-11-19-100200-ada@example.com-codex: all 2 files that were asked for are damaged: notes/big.bin, chunk 1 of 3 (bytes 0-1048575): not what was written, at byte # of the archive
    hint: use another snapshot; `codex-manager verify` names everything that is damaged
    (exit 5)
    ");
    for (path, node) in home.tree("") {
        assert_eq!(before.get(&path).map(|node| &node.content), Some(&node.content), "{path}");
    }
    assert!(!home.path("out").exists());
}

#[test]
fn a_name_that_is_not_there_is_a_mistake_and_a_part_that_is_empty_is_told() {
    let home = ada();
    assert_snapshot!(home.run("restore --only reviews/review.txt --to out"), @r#"
    $ codex-manager restore --only reviews/review.txt --to out
    error: 2026-11-19-100200-ada@example.com-codex has nothing called "reviews/review.txt"
    hint: did you mean prompts/review.md?
    (exit 4)
    "#);
    assert_snapshot!(home.run(&format!("restore --only sessions {TITLE} --to out")), @r#"
    $ codex-manager restore --only sessions 2026-11-19-100200-ada@example.com-codex --to out
    error: 2026-11-19-100200-ada@example.com-codex has nothing called "2026-11-19-100200-ada@example.com-codex"
    hint: `codex-manager show SNAPSHOT --files` lists what is in it; SNAPSHOT itself goes before --only
    (exit 4)
    "#);
    assert!(!home.path("out").exists());
    let home = TestHome::of_ada();
    home.run("backup --auth-only");
    assert_snapshot!(home.run("restore --only memories --to out"), @r#"
    $ codex-manager restore --only memories --to out
    error: 2026-11-19-100200-ada@example.com-codex has nothing called "memories"
    hint: `codex-manager show SNAPSHOT --files` lists what is in it; SNAPSHOT itself goes before --only
    (exit 4)
    "#);
    let seen = home.play("restore --only memories login --to out");
    assert_eq!((seen.exit, came_out(&home, "out")), (0, vec!["auth.json".to_owned()]));
    assert!(
        seen.screen.contains(&format!("warning: {TITLE} has no memories\n")),
        "{}",
        seen.screen
    );
}

#[test]
fn without_a_folder_and_with_a_login_to_keep_it_is_refused() {
    let home = ada();
    let before = home.tree("");
    assert_snapshot!(home.run("restore --only sessions --yes"), @"
    $ codex-manager restore --only sessions --yes
    error: --only takes parts out into a folder, and none is named
    hint: add --to DIR; what you need can be copied from there when Codex is not running
    (exit 4)
    ");
    assert_eq!(home.play("restore --only login --login keep --to out").exit, 4);
    assert_eq!(home.play("restore --only --to out").exit, 4);
    home.assert_same("", &before);
}

#[test]
fn frames_and_the_sidecar_do_not_stand_in_the_way_and_a_table_of_contents_does() {
    let home = ada();
    let sound = home.read(ARCHIVE);
    let table = table_of_contents(&sound);
    let entries = table["entries"].as_array().unwrap();
    let config = entries.iter().find(|it| it["name"] == "config.toml").unwrap();
    let offset = usize::try_from(config["offset"].as_u64().unwrap()).unwrap();
    let flipped = |place: usize| {
        let mut rotten = sound.clone();
        rotten[place] ^= 0x10;
        rotten
    };
    let home = home.file(ARCHIVE, flipped(offset - 20));
    assert_eq!(home.play("restore --to all").exit, 5);
    assert_eq!(home.play("restore --only config --to framed").exit, 0);
    let config =
        [".credentials.json", ".env", "config.toml", "prompts/deep/plan.md", "prompts/review.md"];
    assert_eq!(came_out(&home, "framed"), config);

    let mut sidecar = home.read(SIDECAR);
    sidecar[0] ^= 0x10;
    let home = home.file(SIDECAR, sidecar).file(ARCHIVE, &sound);
    let seen = home.play("restore --only config --to alone");
    assert_eq!(seen.exit, 0, "{}", seen.screen);
    assert!(seen.screen.contains("only the archive speaks for it"), "{}", seen.screen);
    assert_eq!(came_out(&home, "alone"), came_out(&home, "framed"));

    for from_the_end in [200, 10] {
        let home = ada();
        let mut rotten = home.read(ARCHIVE);
        let place = rotten.len() - from_the_end;
        rotten[place] ^= 0x10;
        let home = home.file(ARCHIVE, rotten);
        let seen = home.play("restore --only config --to out");
        assert_eq!(seen.exit, 5, "{}", seen.screen);
        assert!(seen.screen.contains("hint: plain tar still reads"), "{}", seen.screen);
        assert!(!home.path("out").exists());
    }
}

#[test]
fn a_login_comes_out_by_the_rule_of_every_restore() {
    let home = ada().later("+2h");
    let (user, workspace) = crate::home::ids("ada@example.com");
    let home =
        home.signed_in_as("ada@example.com", &user, &workspace, "rt_newer", "2026-11-21T12:00:00Z");
    let live = home.read(".codex/auth.json");
    assert_eq!(home.play(&format!("restore {TITLE} --only login --to fresh")).exit, 0);
    assert_eq!(home.read("fresh/auth.json"), live, "the archived one is used up");
    assert_snapshot!(home.run(&format!("restore {TITLE} --only login --login snapshot --to old")), @"
    $ codex-manager restore 2026-11-19-100200-ada@example.com-codex --only login --login snapshot --to old
    error: 2026-11-19-100200-ada@example.com-codex holds an older login (refreshed 2026-11-21T10:00:00Z) than the live one (refreshed 2026-11-21T12:00:00Z)
    hint: leave --login away to install the newest one; --accept-stale-login insists
    (exit 5)
    ");
    assert!(!home.path("old").exists());
    let line =
        format!("restore {TITLE} --only login --login snapshot --accept-stale-login --to old");
    assert_eq!(home.play(&line).exit, 0);
    assert_ne!(home.read("old/auth.json"), live);
    // A damaged login is named, and the rest comes out without one.
    let rotten = rotten_member(&home.read(ARCHIVE), "auth.json");
    let home = home.file(ARCHIVE, rotten);
    let seen = home.play(&format!("restore {TITLE} --only login config --to out"));
    assert_eq!(seen.exit, 5, "{}", seen.screen);
    assert!(seen.screen.contains("damaged      auth.json, chunk 1 of 1"), "{}", seen.screen);
    let files = came_out(&home, "out");
    assert!(files.contains(&"config.toml".to_owned()), "{files:?}");
    assert!(!files.contains(&"auth.json".to_owned()), "{files:?}");
}

#[test]
fn what_the_older_tool_stored_comes_out_in_parts_too() {
    let home = TestHome::at("2026-11-21T12:00:00Z").legacy_store("1.0.0");
    let title = "2026-11-19-100200-user@example.com-codex";
    let seen = home.play(&format!("restore {title} --only config login --to out"));
    assert_eq!(seen.exit, 0, "{}", seen.screen);
    assert!(
        came_out(&home, "out").contains(&"auth.json".to_owned()),
        "{:?}",
        came_out(&home, "out")
    );
    assert!(!home.path("out/sessions").exists());
    // One stream without digests: damaged anywhere, nothing vouches for any of it.
    let path = format!(".codex-manager/backups/{title}.tar.gz");
    let mut bytes = home.read(&path);
    let half = bytes.len() / 2;
    bytes[half] ^= 0x10;
    let home = home.file(&path, bytes);
    let seen = home.play(&format!("restore {title} --only config --to broken"));
    assert_eq!(seen.exit, 5, "{}", seen.screen);
    assert!(!home.path("broken").exists());
}
