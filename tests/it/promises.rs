//! Does what README promises hold, and does each promise name a test that is there?

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use chrono::Utc;

use crate::canaries::token_in;
use crate::home::TestHome;

fn project(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(below)
}

fn readme() -> String {
    fs::read_to_string(project("README.md")).unwrap()
}

/// The source files below a folder of the project.
fn rust_files(below: &str) -> Vec<PathBuf> {
    let (mut found, mut waiting) = (Vec::new(), vec![project(below)]);
    while let Some(folder) = waiting.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    found
}

/// The name of every function in the program and its tests.
fn functions() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for path in rust_files("src").into_iter().chain(rust_files("tests")) {
        let text = fs::read_to_string(path).unwrap();
        for (at, _) in text.match_indices("fn ") {
            let name: String =
                text[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            names.insert(name);
        }
    }
    names
}

#[test]
fn the_threat_model_names_a_test_for_everything_that_stands_in_the_way() {
    let tests = functions();
    let spec = fs::read_to_string(project("SPEC.md")).unwrap();
    let chapter = spec.split("## 16. Threat model").nth(1).unwrap();
    let table = chapter.split("\n\n").nth(2).unwrap();
    let rows: Vec<&str> = table.lines().skip(2).collect();
    assert!(rows.len() > 10, "{table}");
    for row in rows {
        let names: Vec<&str> =
            row.rsplit('|').nth(1).unwrap().split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "{row}");
        for name in names {
            assert!(tests.contains(name), "there is no test {name}");
        }
    }
}

#[test]
fn readme_names_a_test_for_every_rule() {
    let tests = functions();
    let readme = readme();
    let table = readme.split("## Rules it keeps").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    let numbers: Vec<&str> = rows.iter().map(|row| row[2..].split(' ').next().unwrap()).collect();
    assert_eq!(numbers, ["1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    for row in rows {
        let names: Vec<&str> =
            row.rsplit('|').nth(1).unwrap().split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "{row}");
        for name in names {
            assert!(tests.contains(name), "there is no test {name}");
        }
    }
}

#[test]
fn readme_shows_the_story_that_the_demo_plays() {
    // The demo asks the clock of this run for nothing but its dates.
    let home = TestHome::at(&Utc::now().to_rfc3339()).columns(100);
    let played = home.play("demo");
    assert_eq!(played.exit, 0, "{}", played.screen);
    let readme = readme();
    let shown = readme.split("<!-- demo-output -->\n```text\n").nth(1).unwrap();
    let shown = shown.split("```").next().unwrap();
    let steps = |text: &str| -> Vec<String> {
        let told = |line: &&str| {
            line.starts_with("$ ") || line.starts_with("# ") || line.starts_with("(exit")
        };
        text.lines().filter(told).map(str::to_owned).collect()
    };
    assert_eq!(steps(shown), steps(&played.out));
    assert!(steps(shown).len() > 15);
}

/// Plays what README says under "Without codex-manager", with the system's own tar.
#[test]
#[cfg(unix)]
fn any_tar_brings_a_snapshot_back() {
    let home = TestHome::of_ada().tokens_in(".codex.before");
    home.run("backup");
    let before = home.tree(".codex");
    let readme = readme();
    let chapter = readme.split("## Without codex-manager").nth(1).unwrap();
    let script = chapter.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let name = "2026-11-19-100200-ada@example.com-codex";
    let ran = Command::new("sh")
        .args(["-euc", &script.replace("NAME", name)])
        .env("HOME", home.path(""))
        .output()
        .unwrap();
    assert!(ran.status.success(), "tar is needed: {}", String::from_utf8_lossy(&ran.stderr));
    let after = home.tree(".codex");
    for name in ["auth.json", "config.toml"] {
        assert_eq!(after[name].content, before[name].content, "{name}");
    }
    let sessions = |tree: &std::collections::BTreeMap<String, crate::home::Node>| -> Vec<_> {
        let files = tree.iter().filter(|(path, _)| path.starts_with("sessions"));
        files.map(|(path, node)| (path.clone(), node.content.clone())).collect()
    };
    assert!(!sessions(&before).is_empty());
    assert_eq!(sessions(&after), sessions(&before));
    let db = rusqlite::Connection::open(home.codex("state_5.sqlite")).unwrap();
    let rows: i64 = db.query_row("SELECT count(*) FROM threads", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1, "the row that was only in the log");
    assert!(!after.keys().any(|path| path.contains("stargz") || path.contains("codex-manager")));
}

#[test]
fn no_token_is_anywhere_but_in_logins_and_archives() {
    let home = TestHome::of_ada();
    for line in ["backup", "status", "cooldown set ada --until +1h"] {
        assert_eq!(home.play(line).exit, 0, "{line}");
    }
    let home = home.later("+1h").signed_in("bob@example.com").file("s", "nothing");
    let lines = [
        ("backup", 0),
        ("list", 0),
        ("show", 0),
        ("verify --all", 0),
        ("cooldown", 0),
        ("recommend --why", 0),
        ("doctor", 0),
        ("backup --status-file s", 4),
        ("restore --account ada --yes", 0),
        ("use bob", 0),
        ("use nobody", 4),
        ("config list", 0),
    ];
    for (line, exit) in lines {
        // Whatever is printed is searched by `play` and `json`.
        let seen = home.play(line);
        assert_eq!(seen.exit, exit, "{line}:\n{}", seen.screen);
        assert_eq!(home.json(line)["ok"], exit == 0, "{line}");
    }
    // These commands leave something behind of everything that the store keeps.
    let store = home.files();
    assert!(store.contains("undo/") && store.matches(".tar.gz").count() > 2, "{store}");
    let mut searched = 0;
    for (path, node) in home.tree("") {
        // A home that a restore replaced is kept as it was, in a folder of the owner's alone.
        if path.starts_with(".codex-manager") && !path.contains("/codex-home") {
            assert_eq!(node.mode & 0o077, 0, "{path}");
        }
        if ["auth.json", ".env", ".credentials.json"].iter().any(|file| path.ends_with(file)) {
            assert!(token_in(&node.content).is_some(), "{path} has none to be found");
            continue;
        }
        // Compressed or not: what is too short to shrink stands in an archive as it is.
        if path.ends_with(".tar.gz") {
            continue;
        }
        searched += 1;
        assert_eq!(token_in(&node.content), None, "{path}");
    }
    assert!(searched > 10, "{searched}");
}

#[test]
fn an_old_login_file_is_normalized_without_showing_its_tokens() {
    let home = TestHome::at("2026-11-21T10:00:00Z")
        .legacy_auth("21apr_ada@example.com_auth.json", "2026-04-14T15:55:00Z");
    home.run("normalize legacy");
    home.run("normalize legacy --adopt");
    for (path, node) in home.tree(".codex-manager") {
        assert_eq!(token_in(&node.content), None, "{path}");
    }
}

#[test]
fn nothing_in_the_program_can_open_a_connection() {
    let words = ["std::net", "TcpStream", "UdpSocket", "TcpListener", "UnixStream", "rustix::net"];
    for path in rust_files("src") {
        let text = fs::read_to_string(&path).unwrap();
        for word in words {
            assert!(!text.contains(word), "{} has {word}", path.display());
        }
    }
    // Nor does anything it is built from.
    let tree = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--locked",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .current_dir(project(""))
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).unwrap();
    let crates: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(crates.contains("rusqlite"), "{crates:?}");
    for name in ["hyper", "reqwest", "ureq", "curl", "rustls", "openssl", "tokio", "mio", "socket2"]
    {
        assert!(!crates.contains(name), "{name} is built in");
    }
}
