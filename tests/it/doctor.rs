//! Evenings with `doctor --fix`: what is mended, what is left, and when is nothing written?

#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::home::{TestHome, without_checksum};

const NAME: &str = "2026-11-19-100200-ada@example.com-codex";

fn mode(home: &TestHome, below: &str, mode: u32) {
    fs::set_permissions(home.path(below), fs::Permissions::from_mode(mode)).unwrap();
}

fn is(home: &TestHome, below: &str) -> u32 {
    fs::metadata(home.path(below)).unwrap().permissions().mode() & 0o7777
}

/// Ada's home as it should be: one snapshot, and nobody else can look into anything of hers.
fn sound() -> TestHome {
    let home = TestHome::of_ada();
    assert_eq!(home.play("backup").exit, 0);
    for secret in ["auth.json", ".env", ".credentials.json"] {
        mode(&home, &format!(".codex/{secret}"), 0o600);
    }
    home
}

/// What `doctor --fix` says it did, and what it said it left.
fn mended(home: &TestHome, line: &str) -> (Value, Value) {
    let answer = home.json(line);
    assert_eq!(answer["ok"], true, "{answer}");
    (answer["data"]["fixed"].clone(), answer["data"]["left"].clone())
}

/// What the log says that `doctor --fix` did, newest first.
fn noted(home: &TestHome) -> Vec<String> {
    assert_eq!(home.play("log --verify").exit, 0);
    let operations = home.json("log")["data"]["operations"].as_array().unwrap().clone();
    let ours = operations.iter().filter(|it| it["command"] == "doctor --fix");
    ours.map(|it| it["what"].as_str().unwrap().to_owned()).collect()
}

/// The first part of what is said for people: what was mended.
fn told(home: &TestHome, line: &str) -> String {
    let said = home.run(line);
    let (head, _) = said.split_once("\nCodex\n").unwrap();
    head.to_owned()
}

#[test]
fn where_all_is_in_order_nothing_is_written() {
    let home = sound();
    let before = home.tree("");
    for line in ["doctor --fix", "doctor --fix --dry-run"] {
        assert_eq!(mended(&home, line), (json!([]), json!([])), "{line}");
        assert!(told(&home, line).ends_with("Mending\n  there is nothing to mend"));
    }
    home.assert_same("", &before);
    let nobody = TestHome::at("2026-11-21T10:00:00Z").file(".codex/config.toml", "");
    assert_eq!(mended(&nobody, "doctor --fix").0, json!([]));
    assert!(!nobody.manager("").exists(), "there was nothing to do");
}

#[test]
fn what_others_may_read_is_theirs_no_more_and_links_are_left_alone() {
    let home = sound()
        .file(".codex-manager/ledger.jsonl", "")
        .file(".codex-manager/undo/1/codex-home/notes", "as Codex made it")
        .file("elsewhere", "somebody else's")
        .link(".codex-manager/link", "../elsewhere");
    let archive = format!(".codex-manager/backups/{NAME}.tar.gz");
    for (path, wide) in [
        (".codex-manager", 0o755),
        (".codex-manager/backups", 0o777),
        (archive.as_str(), 0o664),
        (".codex-manager/ledger.jsonl", 0o644),
        (".codex-manager/undo/1", 0o750),
        (".codex-manager/undo/1/codex-home", 0o755),
        (".codex-manager/undo/1/codex-home/notes", 0o644),
        (".codex/auth.json", 0o640),
        (".codex/.env", 0o604),
        ("elsewhere", 0o666),
    ] {
        mode(&home, path, wide);
    }
    let before = home.tree("");
    assert_snapshot!(told(&home, "doctor --fix --dry-run"), @"
    $ codex-manager doctor --fix --dry-run
    Mending
      would    ~/.codex-manager is open to others (mode 0755) and becomes 0700
      would    ~/.codex-manager/backups is open to others (mode 0777) and becomes 0700
      would    ~/.codex-manager/backups/2026-11-19-100200-ada@example.com-codex.tar.gz is open to others (mode 0664) and becomes 0600
      would    ~/.codex-manager/ledger.jsonl is open to others (mode 0644) and becomes 0600
      would    ~/.codex-manager/undo/1 is open to others (mode 0750) and becomes 0700
      would    ~/.codex/auth.json is open to others (mode 0640) and becomes 0600
      would    ~/.codex/.env is open to others (mode 0604) and becomes 0600
    ");
    home.assert_same("", &before);
    assert_snapshot!(told(&home, "doctor --fix"), @"
    $ codex-manager doctor --fix
    warning: ~/.codex-manager was open to others (mode 0755); it is 0700 now
    Mending
      done     ~/.codex-manager was open to others (mode 0755), is 0700 now
      done     ~/.codex-manager/backups was open to others (mode 0777), is 0700 now
      done     ~/.codex-manager/backups/2026-11-19-100200-ada@example.com-codex.tar.gz was open to others (mode 0664), is 0600 now
      done     ~/.codex-manager/ledger.jsonl was open to others (mode 0644), is 0600 now
      done     ~/.codex-manager/undo/1 was open to others (mode 0750), is 0700 now
      done     ~/.codex/auth.json was open to others (mode 0640), is 0600 now
      done     ~/.codex/.env was open to others (mode 0604), is 0600 now
    ");
    for (path, narrow) in [
        (".codex-manager", 0o700),
        (".codex-manager/backups", 0o700),
        (archive.as_str(), 0o600),
        (".codex-manager/ledger.jsonl", 0o600),
        (".codex-manager/undo/1", 0o700),
        (".codex-manager/undo/1/codex-home", 0o755),
        (".codex-manager/undo/1/codex-home/notes", 0o644),
        (".codex/auth.json", 0o600),
        (".codex/.env", 0o600),
        ("elsewhere", 0o666),
    ] {
        assert_eq!(is(&home, path), narrow, "{path}");
    }
    assert_eq!(mended(&home, "doctor --fix"), (json!([]), json!([])));
    assert_eq!(noted(&home), ["took the rights of others from 7 files and folders"]);
}

#[test]
fn a_login_that_is_a_link_is_told_of_and_its_target_is_left_alone() {
    let home = sound().tokens_in("elsewhere.json");
    fs::rename(home.codex("auth.json"), home.path("elsewhere.json")).unwrap();
    let home = home.link(".codex/auth.json", "../elsewhere.json");
    mode(&home, "elsewhere.json", 0o644);
    assert_eq!(mended(&home, "doctor --fix"), (json!([]), json!([])));
    assert_eq!(is(&home, "elsewhere.json"), 0o644);
    let said = home.run("doctor --fix");
    assert!(said.contains("~/.codex/auth.json is open to others (mode 0644)"), "{said}");
    assert!(said.contains("chmod 600 ~/.codex/auth.json"), "{said}");
}

#[test]
fn a_missing_sidecar_is_written_as_it_was() {
    let home = sound();
    let sidecar = format!(".codex-manager/backups/{NAME}.metadata.json");
    let before = home.tree(".codex-manager");
    fs::remove_file(home.path(&sidecar)).unwrap();
    assert_eq!(home.json("list")["data"]["snapshots"][0]["name"], NAME);
    assert_snapshot!(told(&home, "doctor --fix"), @"
    $ codex-manager doctor --fix
    Mending
      done     ~/.codex-manager/backups/2026-11-19-100200-ada@example.com-codex.metadata.json was missing, was written from the archive
    ");
    let after = home.tree(".codex-manager");
    let path = format!("backups/{NAME}.metadata.json");
    // But for what the archive does not say of itself: how it was compressed.
    let told = |bytes: &[u8]| {
        let lines = without_checksum(bytes);
        lines.lines().filter(|line| !line.contains("\"compressor\"")).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(told(&after[&path].content), told(&before[&path].content));
    assert_eq!(after[&path].mode, before[&path].mode);
    assert_eq!(home.play("verify --all").exit, 0);
    assert_eq!(noted(&home), ["wrote 1 missing sidecar"]);
    let findings = home.json("doctor")["data"]["findings"].as_array().unwrap().clone();
    assert!(findings.iter().all(|it| it["check"] != "snapshots" || it["level"] == "ok"));
}

#[test]
fn no_sidecar_is_written_for_an_archive_that_is_damaged() {
    let home = sound();
    let archive = format!(".codex-manager/backups/{NAME}.tar.gz");
    let rotten = crate::home::rotten_member(&home.read(&archive), "config.toml");
    let home = home.file(&archive, rotten);
    mode(&home, &archive, 0o600);
    let sidecar = home.manager(&format!("backups/{NAME}.metadata.json"));
    fs::remove_file(&sidecar).unwrap();
    let (fixed, left) = mended(&home, "doctor --fix");
    assert_eq!(fixed, json!([]));
    assert_eq!(
        left[0]["path"],
        sidecar.to_str().unwrap().replace(home.path("").to_str().unwrap(), "~/")
    );
    let why = left[0]["what"].as_str().unwrap();
    assert!(
        why.starts_with("cannot be written: in the archive config.toml, chunk 1 of 1 "),
        "{why}"
    );
    assert!(!sidecar.exists());
}

#[test]
fn what_an_interrupted_run_left_goes_and_a_torn_line_moves_aside() {
    let home = sound();
    let ledger = String::from_utf8(home.read(".codex-manager/ledger.jsonl")).unwrap();
    let home = home
        .file(".codex-manager/ledger.jsonl", format!("{ledger}{{\"half"))
        .file(".codex-manager/backups/.codex-manager-0123456789abcdef.tmp", "half")
        .file(".codex-manager/tmp/.codex-manager-0123456789abcdef.staging/x", "half");
    for path in [
        "ledger.jsonl",
        "backups/.codex-manager-0123456789abcdef.tmp",
        "tmp/.codex-manager-0123456789abcdef.staging",
        "tmp/.codex-manager-0123456789abcdef.staging/x",
    ] {
        let wide = if path.ends_with("staging") { 0o700 } else { 0o600 };
        mode(&home, &format!(".codex-manager/{path}"), wide);
    }
    let before = home.tree("");
    let (announced, _) = mended(&home, "doctor --fix --dry-run");
    home.assert_same("", &before);
    assert_snapshot!(told(&home, "doctor --fix"), @"
    $ codex-manager doctor --fix
    warning: ~/.codex-manager/ledger.jsonl ended in half a line, which was moved to ~/.codex-manager/ledger.jsonl.torn
    Mending
      done     ~/.codex-manager/backups/.codex-manager-0123456789abcdef.tmp was left by an interrupted run, is gone
      done     ~/.codex-manager/tmp/.codex-manager-0123456789abcdef.staging was left by an interrupted run, is gone
      done     ~/.codex-manager/ledger.jsonl ended in the middle of a line, ends in a whole one now
    ");
    assert_eq!(announced.as_array().unwrap().len(), 3, "{announced}");
    assert_eq!(home.read(".codex-manager/ledger.jsonl"), ledger.as_bytes());
    assert_eq!(home.read(".codex-manager/ledger.jsonl.torn"), b"{\"half");
    assert!(!home.files().contains(".codex-manager-"), "{}", home.files());
}

#[test]
fn a_folder_that_is_no_manager_home_is_not_mended() {
    let home = TestHome::of_ada().file("photos/beach.jpg", "sand");
    mode(&home, "photos/beach.jpg", 0o644);
    let before = home.tree("photos");
    for line in ["doctor --fix --home photos", "doctor --fix --dry-run --home photos"] {
        assert_eq!(home.play(line).exit, 4, "{line}");
    }
    assert_eq!(home.play("doctor --fix --home .codex/inside").exit, 4);
    assert_eq!(home.play("doctor --dry-run").exit, 4, "there is nothing to run dry");
    home.assert_same("photos", &before);
}

#[test]
fn a_broken_configuration_does_not_stop_the_mending() {
    let home = sound().file(".codex-manager/config.toml", "color = \"loud\"\n");
    mode(&home, ".codex-manager/config.toml", 0o644);
    let (fixed, left) = mended(&home, "doctor --fix");
    assert_eq!((fixed.as_array().unwrap().len(), left), (1, json!([])));
    assert_eq!(is(&home, ".codex-manager/config.toml"), 0o600);
    assert_eq!(home.play("doctor --fix").exit, 1, "the configuration is still broken");
}
