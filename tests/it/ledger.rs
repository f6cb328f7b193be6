//! What is written down of quotas and sign-ins, and what is remembered of session files?

use std::fs;

use insta::assert_snapshot;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::home::TestHome;

const CACHE: &str = ".codex-manager/rollouts.cache";

/// A home with sessions that are worth remembering: a chat of a mebibyte each.
fn large() -> TestHome {
    let home = TestHome::of_ada();
    (0..3).fold(home, |home, number| {
        let name = format!(".codex/sessions/2026/11/20/rollout-{number}.jsonl");
        home.file(&name, session(number, 1 << 20))
    })
}

fn session(hour: u32, len: usize) -> String {
    let at = format!("2026-11-20T{hour:02}:00:00Z");
    let lines = [
        json!({"timestamp": at, "type": "session_meta", "payload": {"timestamp": at,
            "cli_version": "0.169.0", "creator_user_id": "user-ada-example-com",
            "creator_account_id": "acct-ada-example-com"}}),
        json!({"timestamp": at, "type": "response_item", "payload": "x".repeat(len)}),
        json!({"timestamp": at, "type": "event_msg", "payload": {"type": "token_count",
            "rate_limits": {"limit_id": "codex", "primary": {"used_percent": hour,
            "window_minutes": 10_080, "resets_at": 1_795_683_720}}}}),
    ];
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn entries(home: &TestHome) -> Vec<Value> {
    let text = String::from_utf8(home.read(".codex-manager/ledger.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_line_says_where_it_comes_from_and_how_sure_it_is() {
    let home = TestHome::of_ada();
    home.run("status");
    let told: Vec<String> = entries(&home)
        .iter()
        .map(|entry| {
            let word = |name: &str| entry[name].as_str().unwrap_or("–").to_owned();
            let names = ["event", "source", "confidence", "basis", "home"];
            names.map(word).join(" ").replace(home.path("").to_str().unwrap(), "~/")
        })
        .collect();
    assert_snapshot!(told.join("\n"), @"
    activation – – – ~/.codex
    reading rollout certain login ~/.codex
    ");
}

#[test]
fn what_was_read_is_remembered_and_only_what_is_new_is_read_again() {
    let home = large();
    let before = home.run("history");
    let first = home.read(CACHE);
    assert!(first.starts_with(b"{\"schema\":\"codex-manager/rollouts\",\"schema_version\":1,"));
    // Bytes that nobody reads again may be anything of the same look: that is how one sees it.
    let path = home.path(".codex/sessions/2026/11/20/rollout-1.jsonl");
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let mut gone = fs::read(&path).unwrap();
    gone.fill(b' ');
    fs::write(&path, gone).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    assert_eq!(home.run("history"), before);
    assert_eq!(home.read(CACHE), first, "nothing was read, so nothing is written");
}

#[test]
fn a_memory_that_is_damaged_or_of_another_version_is_none() {
    let home = large();
    let before = home.run("history");
    let good = home.read(CACHE);
    let other = String::from_utf8(good.clone()).unwrap().replacen(
        "\"schema_version\":1",
        "\"schema_version\":2",
        1,
    );
    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for damage in [
        b"".to_vec(),
        b"{}\n".to_vec(),
        good[..good.len() - 1].to_vec(),
        flipped,
        other.into_bytes(),
    ] {
        fs::write(home.path(CACHE), &damage).unwrap();
        assert_eq!(home.run("history"), before);
        assert_eq!(home.read(CACHE), good, "it is written anew");
        assert_eq!(home.run("doctor").matches("rollouts").count(), 0);
    }
}

#[test]
fn who_only_looks_remembers_nothing_and_a_small_home_is_not_worth_it() {
    let home = large();
    for line in ["cooldown", "recommend", "list", "history --help", "backup --dry-run"] {
        home.run(line);
    }
    assert_eq!(home.files(), "");
    home.run("backup");
    assert!(!home.files().contains("rollouts.cache"), "{}", home.files());
    home.run("history");
    assert!(home.files().contains("rollouts.cache"), "{}", home.files());
    let small = TestHome::of_ada();
    small.run("history");
    assert_eq!(small.files(), "");
}

#[test]
fn looking_sees_the_same_with_and_without_what_is_remembered() {
    let home = large();
    let without = [home.run("cooldown"), home.run("recommend"), home.run("status --no-save")];
    home.run("history");
    let with = [home.run("cooldown"), home.run("recommend"), home.run("status --no-save")];
    assert_eq!(with, without);
}

#[test]
fn a_backup_remembers_what_it_saw_of_sessions_and_says_the_same_without() {
    const GLIMPSES: &str = ".codex-manager/glimpses.cache";
    let backup = |home: &TestHome| {
        let data = &home.json("backup")["data"];
        let told = ["/metadata/codex_version", "/metadata/quota"];
        told.map(|name| data.pointer(name).unwrap().to_string()).join(" ")
    };
    // Long after everything came to rest, whatever the clock of this machine says.
    let home = TestHome::of_ada().now("2099-01-01T10:00:00+01:00");
    let said = backup(&home);
    let good = home.read(GLIMPSES);
    assert!(good.starts_with(b"{\"schema\":\"codex-manager/glimpses\",\"schema_version\":1,"));
    let home = home.later("+1m");
    assert_eq!((backup(&home), home.read(GLIMPSES)), (said.clone(), good.clone()));

    // It is believed, so nobody looked into the file.
    let rest = good.split(|byte| *byte == b'\n').next_back().unwrap();
    let rest = String::from_utf8(rest.to_vec()).unwrap().replace("0.169.0", "0.169.9");
    let digest: String = Sha256::digest(&rest).iter().map(|byte| format!("{byte:02x}")).collect();
    let head = json!({"schema": "codex-manager/glimpses", "schema_version": 1, "digest": digest});
    fs::write(home.path(GLIMPSES), format!("{head}\n{rest}")).unwrap();
    let home = home.later("+1m");
    assert!(backup(&home).contains("0.169.9"));

    let cut = good[..good.len() - 1].to_vec();
    let home = [b"".to_vec(), b"{}\n".to_vec(), cut].into_iter().fold(home, |home, damage| {
        fs::write(home.path(GLIMPSES), damage).unwrap();
        assert_eq!((backup(&home), home.read(GLIMPSES)), (said.clone(), good.clone()));
        home.later("+1m")
    });
    let home = home.session("ada@example.com", (1.0, "+2h"), (2.0, "+3d")).later("+1m");
    let now = backup(&home);
    assert!(now.contains("\"used_percent\":2.0"), "{now}");
    assert_eq!(backup(&home.later("+1m")), now);
}
