//! Files beside the archives: sidecars, inventories, ledgers, configurations, journals, screens.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use serde_json::{Value, json};

use super::forge::{self, HONEST, Lies, Part, sealed};
use super::{
    ADA, Fate, NAME, assert_same, base, everything, older_sidecar, ours_with, run, sidecar_for,
    stage,
};
use crate::home::TestHome;

/// A sound archive under this sidecar: `verify` and `restore` refuse, `use` goes by the copy inside.
#[track_caller]
fn sidecar(how: &str, change: &dyn Fn(Value) -> Vec<u8>, exit: i32, says: &str) {
    let forged = forge::seekable(&base(), &HONEST);
    let home = stage(&forged.bytes, &change(sidecar_for(&forged)));
    for line in ["verify NAME", "restore NAME --to copy", "restore NAME --yes"] {
        let before = everything(&home);
        let (code, text) = run(&home, &line.replace("NAME", NAME));
        assert_eq!(code, exit, "{how}: {line}\n{text}");
        if exit != 0 {
            assert!(text.contains(says), "{how}: {line}: {says:?} is not in\n{text}");
            assert_same(&format!("{how}: {line}"), &before, &everything(&home));
        }
    }
    for line in ["list", "cooldown"] {
        let (code, text) = run(&home, line);
        assert_eq!(code, 0, "{how}: {line}\n{text}");
    }
    // Where it tells of another archive, there is none that could be shown or used.
    let is_another = ["length lies", "digest lies"].contains(&how);
    for line in ["show NAME", "use ada@example.com"] {
        let (code, text) = run(&home, &line.replace("NAME", NAME));
        assert!(code == 0 || matches!(code, 4 | 5) && is_another, "{how}: {line}\n{text}");
    }
}

fn set(pointer: &'static str, value: Value) -> impl Fn(Value) -> Vec<u8> {
    move |mut sidecar| {
        *sidecar.pointer_mut(pointer).unwrap() = value.clone();
        sealed(&sidecar)
    }
}

/// The text with something else in one place, sealed anew.
fn text(from: &'static str, to: &'static str) -> impl Fn(Value) -> Vec<u8> {
    move |sidecar| {
        let bytes = sealed(&sidecar);
        let whole = String::from_utf8(bytes).unwrap();
        let (head, _) = whole.rsplit_once(",\n  \"checksum\"").unwrap();
        assert!(head.contains(from), "{from}");
        let head = head.replacen(from, to, 1);
        let digest = forge::sha256(head.as_bytes());
        format!("{head},\n  \"checksum\": \"{digest}\"\n}}\n").into_bytes()
    }
}

#[test]
#[rustfmt::skip]
fn a_sidecar_is_read_strictly_whoever_sealed_it() {
    let of_length = |length: usize| move |sidecar: Value| {
        let bytes = sealed(&sidecar);
        let mut sidecar = sidecar;
        sidecar["note"] = "n".repeat(length - bytes.len() + "null".len() - 2).into();
        let bytes = sealed(&sidecar);
        assert_eq!(bytes.len(), length);
        bytes
    };
    sidecar("honest",             &|it| sealed(&it),                                   0, "");
    sidecar("1 MiB",              &of_length(1 << 20),                                 0, "");
    sidecar("1 MiB and a byte",   &of_length((1 << 20) + 1),                           5, "larger than 1048576 bytes");
    sidecar("key twice",          &text("\"kind\":", "\"kind\": \"auth\",\n  \"kind\":"), 5, "a key stands twice");
    sidecar("key twice below",    &text("\"files\":", "\"files\": 0, \"files\":"),     5, "a key stands twice");
    sidecar("key twice, escaped", &text("\"kind\":", "\"\\u006bind\": \"auth\", \"kind\":"), 5, "a key stands twice");
    sidecar("deep",               &|_| "[".repeat(500_000).into_bytes(),               5, "is not JSON");
    sidecar("deep in a key",      &text("\"label\": null", "\"label\": null, \"x\": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["), 5, "is not JSON");
    sidecar("not UTF-8",          &|it| [&sealed(&it)[..], b"\xff"].concat(),          5, "is not JSON");
    sidecar("byte order mark",    &|it| [b"\xef\xbb\xbf", &sealed(&it)[..]].concat(),  5, "is not JSON");
    sidecar("half a surrogate",   &text("\"label\": null", "\"label\": \"\\ud800\""),  5, "is not JSON");
    sidecar("no seal that fits",  &|it| String::from_utf8(sealed(&it)).unwrap().replace("\"desk\"", "\"deck\"").into_bytes(), 5, "does not match its checksum");
    sidecar("address leads up",   &set("/email", json!("../../x@example.com")),        5, "does not fit");
    sidecar("address speaks",     &set("/email", json!("a\u{1b}[2J@example.com")),     5, "does not fit");
    sidecar("address with a mark", &set("/email", json!("a\u{202e}@example.com")),     5, "does not fit");
    sidecar("address in two lines", &set("/email", json!("a@example.com\nerror: x")),  5, "does not fit");
    sidecar("address of a path",  &set("/email", json!("/etc/passwd@example.com")),    5, "does not fit");
    sidecar("length negative",    &set("/archive/bytes", json!(-1)),                   5, "does not fit");
    sidecar("length a fraction",  &set("/archive/bytes", json!(1.5)),                  5, "does not fit");
    sidecar("length a text",      &set("/archive/bytes", json!("1")),                  5, "does not fit");
    sidecar("length beyond all",  &text("\"files\": 4", "\"files\": 18446744073709551616"), 5, "does not fit");
    sidecar("number without end", &text("\"files\": 4", "\"files\": 1e999"),           5, "is not JSON");
    sidecar("length lies",        &set("/archive/bytes", json!(7)),                    5, "");
    sidecar("files lie",          &set("/archive/files", json!(7)),                    5, "");
    sidecar("content lies",       &set("/archive/content_bytes", json!(1_u64 << 60)),  5, "");
    sidecar("digest lies",        &set("/archive/toc_digest", json!(forge::sha256(b""))), 5, "");
    sidecar("year 10000",         &set("/created_at", json!("10000-01-01T00:00:00Z")), 5, "");
    sidecar("no time",            &set("/created_at", json!("yesterday")),             5, "");
    sidecar("kind unknown",       &set("/kind", json!("everything")),                  5, "does not fit");
    sidecar("list for a text",    &set("/label", json!(["x"])),                        5, "does not fit");
    sidecar("text for a list",    &set("/captured_files", json!("x")),                 5, "does not fit");
    sidecar("windows lie",        &set("/quota/windows/0/minutes", json!(-5)),         5, "does not fit");
    // What it says of the archive's place and what a person may write is only ever shown, escaped.
    sidecar("archive elsewhere",  &set("/archive/name", json!("../../outside/kept.txt")), 0, "");
    sidecar("archive absolute",   &set("/archive/name", json!("/etc/passwd")),         0, "");
    sidecar("label speaks",       &set("/label", json!("\u{1b}[2J\u{1b}]0;x\u{7}\u{9b}\u{202e}\r\nerror: x")), 0, "");
    sidecar("note speaks",        &set("/note", json!("\u{1b}[31m\u{8}\u{2066}")),     0, "");
    sidecar("tags speak",         &set("/tags", json!(["\u{1b}c"])),                   0, "");
}

#[test]
fn what_the_older_tool_rewrites_in_our_sidecars_is_no_damage() {
    let rewritten = |mut sidecar: Value| {
        sidecar["checksum"] = forge::sha256(b"as it was once").into();
        sidecar["updated_at"] = "2026-11-22T09:00:00+01:00".into();
        sidecar["is_expired"] = false.into();
        for key in ["reset_at", "next_available_at"] {
            sidecar[key] = "2026-11-27T10:02:00+01:00".into();
        }
        serde_json::to_vec_pretty(&sidecar).unwrap()
    };
    sidecar("rewritten", &rewritten, 0, "");
    let more = |sidecar: Value| {
        let mut sidecar: Value = serde_json::from_slice(&rewritten(sidecar)).unwrap();
        sidecar["login"]["last_refresh"] = "2030-01-01T00:00:00Z".into();
        serde_json::to_vec_pretty(&sidecar).unwrap()
    };
    let forged = forge::seekable(&base(), &HONEST);
    let home = stage(&forged.bytes, &more(sidecar_for(&forged)));
    let (code, text) = run(&home, &format!("verify {NAME}"));
    assert_eq!(code, 5, "{text}");
    assert!(text.contains("contradicts the copy inside the archive: login"), "{text}");
}

#[test]
fn a_copy_inside_that_is_none_vouches_for_nothing() {
    for inner in ["{}", "", "{\"kind\":\"full\",\"kind\":\"full\"}", "\u{feff}{}"] {
        let mut parts = base();
        parts[2] = Part::file(".codex-manager/metadata.json", inner);
        let forged = forge::seekable(&parts, &HONEST);
        let home = stage(&forged.bytes, &sealed(&sidecar_for(&forged)));
        for line in ["verify NAME", "restore NAME --to copy", "restore NAME --yes"] {
            let before = everything(&home);
            let (code, text) = run(&home, &line.replace("NAME", NAME));
            assert_eq!(code, 5, "{inner:?}: {line}\n{text}");
            assert_same(&format!("{inner:?}: {line}"), &before, &everything(&home));
        }
    }
    // What else lies in our folder there is nobody's business: it never comes back.
    let ours = [
        Part::file(".codex-manager/config.toml", "x"),
        Part::file(".codex-manager/journal.json", "{}"),
    ];
    ours_with("files in our folder", &ours, &Lies { ..HONEST }, Fate::Accepted, "");
    let forged = forge::seekable(&super::base_and(&ours), &HONEST);
    let home = stage(&forged.bytes, &sealed(&sidecar_for(&forged)));
    assert_eq!(run(&home, &format!("restore {NAME} --to copy")).0, 0);
    assert!(!home.path("copy/.codex-manager").exists());
}

/// A home with this file in the manager home, and what a command says of it.
#[track_caller]
fn record(path: &str, bytes: &[u8], line: &str, exit: i32, says: &str) {
    let home = TestHome::of_ada()
        .file(".codex-manager/lock", "")
        .file(&format!(".codex-manager/{path}"), bytes);
    let before = everything(&home);
    let (code, text) = run(&home, line);
    let how =
        format!("{path} {:?}: {line}", String::from_utf8_lossy(&bytes[..bytes.len().min(60)]));
    assert_eq!(code, exit, "{how}\n{text}");
    assert!(text.contains(says), "{how}: {says:?} is not in\n{text}");
    assert!(!text.contains("secret"), "{how}: the file is quoted\n{text}");
    if exit != 0 {
        assert!(
            text.lines().filter(|line| line.starts_with("error: ")).count() == 1,
            "{how}\n{text}"
        );
        assert_same(&how, &before, &everything(&home));
    }
}

#[test]
#[rustfmt::skip]
fn a_configuration_is_read_strictly_and_never_quoted() {
    let config = |text: &str, says: &str| record("config.toml", text.as_bytes(), "list", 4, says);
    config("secret = [secret",                                   "line 1, column");
    config("timezone = \"secret\"",                              "does not fit `timezone`");
    config("lean = \"secret\"",                                  "does not fit `lean`");
    config("lock_timeout = -1",                                  "does not fit `lock_timeout`");
    config("lock_timeout = 99999999999999999999",                "line 1");
    config("lean = true\nlean = false",                          "line 2");
    config("undo = \"secret\"",                                  "`undo` in config.toml is not a table");
    config(&format!("x = {}1{}", "[".repeat(5_000), "]".repeat(5_000)), "line 1");
    config("\u{1b}[2Jsecret",                                    "line 1");
    config("aliases.x = \"\u{7}\"",                              "line 1");
    record("config.toml", b"\xff\xfesecret", "list",             4, "config.toml");
    record("config.toml", &[b'#'; (1 << 20) + 1], "list",        1, "larger than");
    record("config.toml", b"more = \"secret\"", "list",          0, "");
}

#[test]
#[rustfmt::skip]
fn ledgers_inventories_and_registries_that_are_damaged_hide_nothing() {
    let line = br#"{"schema_version":1,"at":"2026-11-21T10:00:00Z","event":"activation","account":"email:ada@example.com","email":"ada@example.com"}"#;
    let ledger = |bytes: &[u8], says: &str| {
        record("ledger.jsonl", &[bytes, b"\n", line, b"\n"].concat(), "cooldown", 0, says);
    };
    ledger(b"secret",                                            "ledger.jsonl, line 1");
    // An event of a later version.
    ledger(b"{\"schema_version\":1,\"event\":\"secret\"}",       "");
    ledger(b"\x1b[2J\xff\0",                                     "ledger.jsonl, line 1");
    ledger(&b"[".repeat(100_000),                                "ledger.jsonl, line 1");
    ledger(&[&line[..line.len() - 1], br#","account":"email:eve@example.com"}"#].concat(), "ledger.jsonl, line 1");
    ledger(br#"{"schema_version":1,"at":"2026-11-21T10:00:00Z","event":"cooldown","account":"email:../../x","email":"../../x","until":"2030-01-01T00:00:00Z"}"#, "ledger.jsonl, line 1");
    ledger(br#"{"schema_version":1,"at":"2026-11-21T10:00:00Z","event":"cooldown","account":"email:ada@example.com","until":"99999-01-01T00:00:00Z"}"#, "ledger.jsonl, line 1");
    ledger(br#"{"schema_version":1,"at":"2026-11-21T10:00:00Z","event":"reading","account":"chatgpt:u/a","email":null,"observed_at":"2026-11-21T09:00:00Z","source":"rollout","windows":[{"minutes":-5,"used_percent":1e999}]}"#, "ledger.jsonl, line 1");
    ledger(br#"{"schema_version":1,"at":"2026-11-21T10:00:00Z","event":"activation","account":"chatgpt:u\u001b[2J/a","email":null}"#, "");
    let inventory = |bytes: &[u8], says: &str| record("inventory.json", bytes, "cooldown", 0, says);
    inventory(b"secret",                                         "inventory.json");
    inventory(b"{\"records\":{}}",                               "inventory.json");
    inventory(b"{\"records\":[],\"records\":[]}",                "inventory.json");
    inventory(&b"[".repeat(100_000),                             "inventory.json");
    inventory(br#"{"records":[{"email":"../../secret"}]}"#,      "inventory.json");
    let registry = |bytes: &[u8], says: &str| record("cooldown.json", bytes, "cooldown", 0, says);
    registry(b"secret",                                          "cooldown.json");
    registry(b"[]",                                              "cooldown.json");
    registry(br#"{"../../x\u001b[2J":{"quota_text":"secret"}}"#, "cooldown.json");
    registry(&b"{\"a\":".repeat(100_000),                        "cooldown.json");
    let log = |bytes: &[u8], line: &str, exit: i32, says: &str| record("operations.jsonl", bytes, line, exit, says);
    log(b"secret\n",                                             "log", 0, "operations.jsonl");
    log(&b"[".repeat(100_000),                                   "log", 0, "operations.jsonl");
    log(b"\x1b[2J\xff\n",                                        "log", 0, "operations.jsonl");
    log(br#"{"schema_version":1,"id":"../../x","at":"2026-11-21T10:00:00Z","command":"\u001b[2J","what":"\u202e","previous":null}"#, "log", 0, "operations.jsonl");
}

#[test]
#[rustfmt::skip]
fn a_screen_that_speaks_to_the_terminal_is_text_like_any_other() {
    let screen = |text: &[u8], exit: i32| {
        let home = TestHome::of_ada().file("status.txt", text);
        let before = everything(&home);
        let (code, said) = run(&home, "status --status-file status.txt --no-save");
        assert_eq!(code, exit, "{text:?}\n{said}");
        assert_same("status", &before, &everything(&home));
    };
    screen(b"\x1b[2J\x1b]0;x\x07Account: ada@example.com (Plus)\nWeekly limit: [###] 40% left (resets 10:02 on 26 Nov)\n", 0);
    screen("Account: ../../x@example.com (Plus)\nWeekly limit: 40% left".as_bytes(), 4);
    screen("Account: a\u{202e}@example.com (Plus)\nWeekly limit: 40% left".as_bytes(), 0);
    screen(b"\xff\xfe\0\0", 4);
    screen(&[b'9'; 100_000], 4);
    screen(&b"Weekly limit: ".repeat(50_000), 4);
    screen(&vec![b'a'; (4 << 20) + 1], 4);
}

#[test]
fn a_journal_that_somebody_else_wrote_gets_nothing_removed_or_moved() {
    let forged = forge::seekable(&base(), &HONEST);
    let fresh = || stage(&forged.bytes, &sealed(&sidecar_for(&forged)));
    let journals: [(&str, fn(&TestHome) -> Value); 9] = [
        ("a folder of others, built", |home| home_journal(home, "building", "outside", json!([]))),
        ("a folder of others, exchanged", |home| {
            home_journal(home, "exchanging", "outside", json!([]))
        }),
        ("what is carried leads out", |home| {
            home_journal(
                home,
                "exchanging",
                ".codex-manager-0123456789abcdef.staging",
                json!(["../outside"]),
            )
        }),
        (
            "a login of others",
            |home| json!({"schema_version": 1, "kind": "login", "temporary": home.path("outside/kept.txt"), "target": home.codex("auth.json"), "identity": null, "operation": null}),
        ),
        ("steps outside", |_| {
            steps(json!([{"move": {"from": "../outside/kept.txt", "to": "trash/x"}}]))
        }),
        ("steps by an absolute way", |home| {
            steps(json!([{"move": {"from": home.path("outside/kept.txt"), "to": "trash/x"}}]))
        }),
        ("steps through a folder up", |_| {
            steps(json!([{"move": {"from": "backups/../../outside/kept.txt", "to": "trash/x"}}]))
        }),
        (
            "discards outside",
            |_| json!({"schema_version": 1, "kind": "steps", "operation": null, "steps": [], "discards": ["../outside", "/", "backups/../../outside"]}),
        ),
        ("nothing that is a journal", |_| json!({"staged": "/", "schema_version": 1})),
    ];
    for (how, journal) in journals {
        let home = fresh();
        let journal = journal(&home);
        let home = home.file(".codex-manager/journal.json", journal.to_string());
        let before = everything(&home);
        let (_, text) = run(&home, "config set lean true");
        let mut after = everything(&home);
        for path in [
            ".codex-manager/config.toml",
            ".codex-manager/operations.jsonl",
            ".codex-manager/journal.json",
        ] {
            after.remove(path);
        }
        let mut before = before;
        before.remove(".codex-manager/journal.json");
        assert_same(&format!("{how}\n{text}"), &before, &after);
    }
}

fn steps(steps: Value) -> Value {
    json!({"schema_version": 1, "kind": "steps", "operation": null, "steps": steps})
}

/// The journal of a restore that says it built this folder, whose inode it knows.
fn home_journal(home: &TestHome, phase: &str, staged: &str, carried: Value) -> Value {
    let staged = home.path(staged);
    fs::create_dir_all(&staged).unwrap();
    let identity = |path| {
        let facts = fs::metadata(path).unwrap();
        json!({"device": facts.dev(), "inode": facts.ino()})
    };
    json!({
        "schema_version": 1, "kind": "home", "operation": null, "folder": "2026-11-22-110000-restore",
        "phase": phase, "staged": staged, "place": home.codex(""), "carried": carried,
        "new": identity(staged.clone()), "old": identity(home.codex("")),
    })
}

#[test]
fn an_older_sidecar_is_read_as_strictly() {
    let plain = forge::plain(&base());
    let home = stage(&plain, &older_sidecar());
    assert_eq!(run(&home, &format!("verify {NAME}")).0, 0);
    let lies: Value = serde_json::from_slice(&older_sidecar()).unwrap();
    for (key, value) in [
        ("email", json!("../../x@example.com")),
        ("archive_path", json!("/etc/passwd")),
        ("session_start_at", json!("\u{1b}[2J")),
        ("quota_text", json!("\u{202e}\u{1b}[2J")),
        ("backup_mode", json!(7)),
    ] {
        let mut sidecar = lies.clone();
        sidecar[key] = value;
        let home = stage(&plain, &serde_json::to_vec(&sidecar).unwrap());
        for line in ["list", "show NAME", "verify --all", "restore NAME --to copy"] {
            let before = everything(&home);
            let (code, text) = run(&home, &line.replace("NAME", NAME));
            assert!(matches!(code, 0 | 5), "{key}: {line}\n{text}");
            if code != 0 {
                assert_same(&format!("{key}: {line}"), &before, &everything(&home));
            }
        }
    }
    let _ = &*ADA;
}
