//! Can anything that others may have written do harm?
//!
//! Every case is built from the public formats (`forge`), put where a person would have it, and given to the
//! program itself: `verify`, `show`, `restore` beside and in place, `use`. What is refused is refused with
//! its exit code, one error and its words; nothing has changed then, in either home or around them.

#![cfg(unix)]

mod archives;
mod bounds;
pub(crate) mod forge;
mod layout;
mod records;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Value, json};

use self::forge::{Forged, Part};
use crate::home::{Node, TestHome};

/// The snapshot that somebody brought.
const NAME: &str = "2026-11-19-100200-ada@example.com-codex";

/// Ada's login, and what a sidecar says of a snapshot of it.
static ADA: LazyLock<(Vec<u8>, Value)> = LazyLock::new(|| {
    let home = TestHome::of_ada();
    assert_eq!(home.play("backup").exit, 0);
    let sidecar = home.read(&format!(".codex-manager/backups/{NAME}.metadata.json"));
    let mut sidecar: Value = serde_json::from_slice(&sidecar).unwrap();
    let object = sidecar.as_object_mut().unwrap();
    object.shift_remove("archive");
    object.shift_remove("checksum");
    object["captured_files"] = json!(["auth.json", "config.toml", "history.jsonl"]);
    (home.read(".codex/auth.json"), sidecar)
});

/// What every archive here holds besides what is wrong with it.
fn base() -> Vec<Part> {
    let (login, inner) = &*ADA;
    vec![
        Part::file("auth.json", login),
        Part::dir(".codex-manager"),
        Part::file(".codex-manager/metadata.json", serde_json::to_vec(inner).unwrap()),
        Part::file("config.toml", "model = \"gpt-5\"\n"),
        Part::file("history.jsonl", "{\"text\":\"hello\"}\n"),
    ]
}

fn base_and(parts: &[Part]) -> Vec<Part> {
    [&base(), parts].concat()
}

/// The sidecar that a thorough forger writes beside an archive of ours.
fn sidecar_for(forged: &Forged) -> Value {
    let mut sidecar = ADA.1.clone();
    sidecar["archive"] = json!({
        "name": format!("{NAME}.tar.gz"),
        "bytes": forged.bytes.len(),
        "toc_digest": forged.toc_digest,
        "files": forged.files,
        "content_bytes": forged.content_bytes,
    });
    sidecar
}

/// The one that stands beside a plain archive.
fn older_sidecar() -> Vec<u8> {
    let sidecar = json!({
        "product": "codex", "email": "ada@example.com",
        "session_start_at": "2026-11-19T10:02:00+01:00",
        "next_available_at": "2026-11-26T10:02:00+01:00",
        "reset_at": "2026-11-26T10:02:00+01:00",
        "archive_name": format!("{NAME}.tar.gz"),
        "source_codex_home": "/home/user/.codex",
        "created_at": "2026-11-21T11:00:00+01:00",
        "backup_mode": "full",
    });
    serde_json::to_vec_pretty(&sidecar).unwrap()
}

/// Where Bob is signed in and somebody brought a snapshot of Ada's.
fn stage(archive: &[u8], sidecar: &[u8]) -> TestHome {
    TestHome::at("2026-11-22T10:00:00Z")
        .signed_in("bob@example.com")
        .file(".codex/config.toml", "model = \"mine\"\n")
        .file(".codex/sessions/kept.txt", "Bob's")
        .file("outside/kept.txt", "nobody's business")
        .file(&format!(".codex-manager/backups/{NAME}.tar.gz"), archive)
        .file(&format!(".codex-manager/backups/{NAME}.metadata.json"), sidecar)
        // A manager home has it as soon as anything was changed.
        .file(".codex-manager/lock", "")
        .tokens_in("copy")
}

/// What the five commands do with a case.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    /// All of them refuse it.
    Refused,
    /// What is wrong lies where `show` and `use` do not look: they go by the table of contents and by
    /// one file, which is verified. The others refuse it.
    Elsewhere,
    /// There is nothing wrong with it.
    Accepted,
}

const COMMANDS: [&str; 5] = ["verify", "show --files", "restore --to copy", "restore --yes", "use"];

/// Plays the five commands on a stage; `says` is in the answer of `verify` and of `restore`.
#[track_caller]
fn play(how: &str, home: &TestHome, fate: Fate, says: &str) {
    for command in COMMANDS {
        let exit = match (fate, command) {
            (Fate::Accepted, _) | (Fate::Elsewhere, "show --files" | "use") => 0,
            _ => 5,
        };
        let before = everything(home);
        let line = match command.split_once(' ') {
            Some((verb, flags)) => format!("{verb} {NAME} {flags}"),
            None if command == "use" => "use ada@example.com".to_owned(),
            None => format!("{command} {NAME}"),
        };
        let (code, text) = run(home, &line);
        assert_eq!(code, exit, "{how}: {line}\n{text}");
        if exit == 0 {
            assert!(!text.contains("error: "), "{how}: {line}\n{text}");
            assert_harmless(&format!("{how}: {line}"), &before, &everything(home));
            continue;
        }
        let errors = text.lines().filter(|line| line.starts_with("error: ")).count();
        let is_report = command == "verify" && text.contains("corrupt");
        assert_eq!(errors, usize::from(!is_report), "{how}: {line}\n{text}");
        if !matches!(command, "use" | "show --files") {
            assert!(text.contains(says), "{how}: {line}: {says:?} is not in\n{text}");
        }
        let mut after = everything(home);
        if fate == Fate::Elsewhere && command == "restore --yes" {
            // The live login was stored before the home would have been replaced.
            after.retain(|path, _| !path.contains("-bob@example.com-codex."));
            let backups = ".codex-manager/backups";
            after.insert(backups.to_owned(), before[backups].clone());
        }
        assert_same(&format!("{how}: {line}"), &before, &after);
    }
}

/// Nothing has changed but what a command is there to change, and nothing in that leads out of it or
/// has other rights than its owner's.
#[track_caller]
fn assert_harmless(how: &str, before: &BTreeMap<String, Node>, after: &BTreeMap<String, Node>) {
    let is_theirs = |path: &str| [".codex", "copy"].contains(&path.split('/').next().unwrap());
    let outside = |tree: &BTreeMap<String, Node>| -> BTreeMap<String, Node> {
        let kept =
            tree.iter().filter(|(path, _)| !is_theirs(path) && !path.starts_with(".codex-manager"));
        kept.map(|(path, node)| (path.clone(), node.clone())).collect()
    };
    assert_same(how, &outside(before), &outside(after));
    for (path, node) in after.iter().filter(|(path, _)| is_theirs(path)) {
        let is_new = before.get(path).is_none_or(|before| before.mode != node.mode);
        let modes = [0o40_700, 0o100_600, 0o100_700, 0o120_777];
        assert!(!is_new || modes.contains(&node.mode), "{how}: {path} has mode {:o}", node.mode);
        if node.mode == 0o120_777 {
            let target = String::from_utf8_lossy(&node.content);
            assert!(
                !target.contains("..") && !target.starts_with('/'),
                "{how}: {path} -> {target}"
            );
        }
    }
}

/// Runs the program; its exit code and both streams, which hold no panic and no raw control.
#[track_caller]
fn run(home: &TestHome, line: &str) -> (i32, String) {
    let words: Vec<&str> = line.split(' ').collect();
    let output = home.heard(&words);
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).expect("output is UTF-8");
    assert!(!text.contains("panicked") && !text.contains("RUST_BACKTRACE"), "{line}\n{text}");
    let raw = |c: char| c.is_control() && c != '\n' || ('\u{202a}'..='\u{202e}').contains(&c);
    assert!(!text.contains(raw), "{line}\n{text:?}");
    assert!(!text.contains("made-up-secret"), "{line}: a token was printed\n{text}");
    (output.status.code().expect("it ends by itself"), text)
}

/// All there is in and around both homes. What is made and removed beside a home leaves the time of
/// the folder that holds it, and the lock names who had it last.
fn everything(home: &TestHome) -> BTreeMap<String, Node> {
    let mut tree = home.tree("");
    tree.remove("");
    tree.retain(|path, _| {
        let ours = [".codex-manager", ".codex-manager/lock"].contains(&path.as_str());
        // The folders of the store appear with the first command that takes the lock.
        let folder = ["undo", "trash", "tmp"].map(|name| format!(".codex-manager/{name}"));
        !ours && !folder.contains(path)
    });
    tree
}

#[track_caller]
fn assert_same(how: &str, before: &BTreeMap<String, Node>, after: &BTreeMap<String, Node>) {
    let names = before.keys().chain(after.keys());
    let changed: Vec<&String> =
        names.filter(|name| before.get(*name) != after.get(*name)).collect();
    assert!(changed.is_empty(), "{how}: these are not as they were: {changed:?}");
}

/// An archive of ours with these parts besides the honest ones, under a sidecar that fits it.
#[track_caller]
fn ours(how: &str, parts: &[Part], fate: Fate, says: &str) {
    ours_with(how, parts, &forge::HONEST, fate, says);
}

#[track_caller]
fn ours_with(how: &str, parts: &[Part], lies: &forge::Lies<'_>, fate: Fate, says: &str) {
    let forged = forge::seekable(&base_and(parts), lies);
    let sidecar = forge::sealed(&sidecar_for(&forged));
    play(&format!("ours, {how}"), &stage(&forged.bytes, &sidecar), fate, says);
}

/// The same in the layout of the older tool.
#[track_caller]
fn theirs(how: &str, parts: &[Part], fate: Fate, says: &str) {
    theirs_of(how, &forge::plain(&base_and(parts)), fate, says);
}

#[track_caller]
fn theirs_of(how: &str, archive: &[u8], fate: Fate, says: &str) {
    play(&format!("plain, {how}"), &stage(archive, &older_sidecar()), fate, says);
}

/// Refused in either layout, with the same words.
#[track_caller]
fn both(how: &str, parts: &[Part], says: &str) {
    ours(how, parts, Fate::Refused, says);
    theirs(how, parts, Fate::Refused, says);
}
