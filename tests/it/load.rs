//! What holds while others are busy: Codex with its files, and we with ours?
//!
//! [`writers`] is a Codex that never rests, and this file what a snapshot of its home must hold;
//! [`crowd`] is many of us at once, [`holder`] one of us that holds the lock. It is always the
//! compiled program that runs, and no time decides anything but that of a watchdog.
//!
//! `CODEX_MANAGER_TEST_LOAD=N cargo test --test it load` plays N times as many rounds.

#![cfg(unix)]

mod crowd;
mod holder;
mod writers;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::Value;

use crate::home::{TestHome, assert_silent};
use writers::{BANKS, Truth, Writers};

/// A process that takes longer than this hangs.
const WATCHDOG: Duration = Duration::from_secs(300);

/// How often a test plays what it plays: `usual` times, or as many times more as asked for.
fn rounds(usual: usize) -> usize {
    let times = std::env::var("CODEX_MANAGER_TEST_LOAD").ok();
    usual * times.map_or(1, |times| times.parse().expect("CODEX_MANAGER_TEST_LOAD is a number"))
}

/// Runs a command to its end, which must be one of its own choosing.
#[track_caller]
fn ended(mut command: Command) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || tell.send(child.wait_with_output()));
    let Ok(output) = told.recv_timeout(WATCHDOG) else {
        let killed = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        panic!("{command:?} hangs ({killed:?})");
    };
    let output = output.unwrap();
    assert_silent(&output.stdout);
    assert_silent(&output.stderr);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code().is_some_and(|code| code != 101), "{command:?}: {output:?}");
    assert!(!said.contains("a mistake in codex-manager"), "{command:?}: {said}");
    output
}

/// Runs the program with `--json`: its exit code and its document.
#[track_caller]
fn document(home: &TestHome, words: &[&str]) -> (i32, Value) {
    heard(home.program(&[words, &["--json"]].concat()))
}

/// Runs a command that prints one document: its exit code and that.
#[track_caller]
fn heard(command: Command) -> (i32, Value) {
    let words = format!("{:?}", command.get_args());
    let output = ended(command);
    let text = String::from_utf8(output.stdout).unwrap();
    let document = serde_json::from_str(&text);
    let document = document.unwrap_or_else(|error| panic!("{words}: {error}: {text}"));
    (output.status.code().unwrap(), document)
}

/// Runs the program, which must do its work; the `data` of its document.
#[track_caller]
fn done(home: &TestHome, words: &[&str]) -> Value {
    let (code, document) = document(home, words);
    assert_eq!(code, 0, "{words:?}: {document}");
    document["data"].clone()
}

#[test]
fn every_snapshot_taken_under_load_is_consistent_and_lacks_nothing_that_was_whole() {
    for _ in 0..rounds(1) {
        take_and_check(3);
    }
}

/// Takes so many snapshots of a home under load and looks into each.
fn take_and_check(snapshots: usize) {
    let home = TestHome::of_ada();
    let writers = Writers::start(&home);
    let mut taken = Vec::new();
    for _ in 0..snapshots {
        let whole = writers.truth().whole();
        let stored = done(&home, &["backup", "--without-status-check"]);
        let mut missed = stored["missed"].as_array().unwrap().iter();
        let comes_and_goes = |path: &Value| path.as_str().unwrap().starts_with("memories/");
        assert!(missed.all(|it| comes_and_goes(&it["path"])), "{}", stored["missed"]);
        taken.push((stored["snapshot"].as_str().unwrap().to_owned(), whole));
    }
    let truth = writers.stop();
    assert_eq!(document(&home, &["verify", "--all"]).0, 0);
    for (name, whole) in &taken {
        // The login that was archived, whatever was refreshed since.
        let flags = ["--to", "copy", "--login", "snapshot", "--accept-stale-login"];
        done(&home, &[&["restore", name][..], &flags].concat());
        check(&home.path("copy"), &home.codex(""), &truth, whole);
        fs::remove_dir_all(home.path("copy")).unwrap();
    }
    // The load was one: it went on while they were taken.
    let (begin, end) = (&taken[0].1, truth.whole());
    assert!(begin["history.jsonl"] < end["history.jsonl"] && begin.len() < end.len(), "{end:?}");
}

/// Holds a restored home against all that was ever written to the one it was taken from, and
/// against what of that was `whole` before it was taken.
#[track_caller]
fn check(copy: &Path, home: &Path, truth: &Truth, whole: &BTreeMap<String, usize>) {
    for bank in BANKS {
        check_bank(&copy.join(bank));
    }
    let threads = check_index(&copy.join("state_5.sqlite"), home, copy);
    assert!(0 < threads, "no session is in the index");

    let written = truth.written();
    for (path, text) in &written {
        let whole = whole.get(path).copied().unwrap_or(0);
        let Ok(found) = fs::read(copy.join(path)) else {
            assert_eq!(whole, 0, "{path} is missing");
            continue;
        };
        assert!(text.starts_with(&found), "{path} holds what was never written");
        assert!(whole <= found.len(), "{path} lacks lines that were whole: {whole} bytes");
        if !found.contains(&b'\n') {
            assert_eq!(whole, 0, "{path}"); // Not even its first line was whole.
            continue;
        }
        assert!(found.ends_with(b"\n"), "{path} ends in half a line");
        for line in found.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let line: Value = serde_json::from_slice(line).unwrap();
            assert!(line.is_object(), "{path}: {line}");
        }
    }
    let login = fs::read(copy.join("auth.json")).unwrap();
    assert!(truth.logins().contains(&login), "auth.json is none that was ever written");
    // A file that comes and goes is there as far as it was written.
    for entry in fs::read_dir(copy.join("memories")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let found = fs::read_to_string(entry.path()).unwrap();
        assert!(writers::memory(&name).starts_with(&found), "{name}: {found}");
    }
}

/// Nothing is lost or made up in a bank: its accounts hold together what they began with, and
/// its books tell of as many transfers as its counter.
#[track_caller]
fn check_bank(path: &Path) {
    let db = Connection::open(path).unwrap();
    let one = |query: &str| db.query_row(query, [], |row| row.get::<_, i64>(0)).unwrap();
    let verdict: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok", "{}", path.display());
    assert_eq!(one("SELECT sum(balance) FROM accounts"), writers::MONEY, "{}", path.display());
    let booked = one("SELECT count(*) FROM transfers");
    assert_eq!(one("SELECT n FROM counter"), booked, "{}", path.display());
    assert!(0 < booked, "{}: the load had not begun", path.display());
}

/// No session of the index lacks its file, and the index is of the new place; how many there are.
#[track_caller]
fn check_index(path: &Path, home: &Path, copy: &Path) -> usize {
    let db = Connection::open(path).unwrap();
    let mut statement = db.prepare("SELECT rollout_path FROM threads").unwrap();
    let rows = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
    let rows: Vec<String> = rows.map(Result::unwrap).collect();
    for row in &rows {
        assert!(Path::new(row).starts_with(copy) && !Path::new(row).starts_with(home), "{row}");
        assert!(Path::new(row).is_file(), "{row} is in the index and not in the snapshot");
    }
    rows.len()
}
