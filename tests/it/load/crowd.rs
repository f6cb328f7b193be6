//! Many of us at once, on one manager home and one Codex home.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use serde_json::Value;

use super::{document, done, heard, rounds};
use crate::home::{self, TestHome};

/// So many at once.
const CROWD: usize = 8;

/// What the end must still know of.
#[derive(Debug)]
enum Claim {
    /// A snapshot with this label is in the store, or in `trash/`.
    Snapshot(String),
    /// The ledger has a cooldown until this instant.
    Cooldown(String),
    /// The ledger has a reading with this percentage of the week.
    Reading(f64),
    /// This alias leads to this account.
    Alias(String, String),
    /// The log has an operation of this command, beside those of the same claim.
    Operation(&'static str),
}

/// One of the crowd and its rounds: whoever plays the same part in the same round does the same
/// with words of its own, so that nothing but the order is left to chance.
struct Player {
    user: PathBuf,
    number: usize,
    rounds: usize,
    claims: Vec<Claim>,
}

impl Player {
    fn play(mut self) -> Vec<Claim> {
        for round in 0..self.rounds {
            self.step(round);
        }
        self.claims
    }

    fn step(&mut self, round: usize) {
        let mark = format!("n{}r{round}", self.number);
        // Every minute, and every hundredth, is somebody's own.
        let minute = self.number + CROWD * round;
        let percent = 1.0 + f64::from(u32::try_from(minute).unwrap()) / 100.0;
        let until = format!("2099-01-01T{:02}:{:02}:00+00:00", minute / 60 % 24, minute % 60);
        // In every round every command is played at once with every other.
        match (self.number + round * 3) % 13 {
            0 => {
                self.expect(&["backup", "--without-status-check", "--label", &mark], &[0, 2]);
            }
            1 => {
                let words = ["backup", "--auth-only", "--force", "--without-status-check"];
                self.expect(&[&words[..], &["--label", &mark]].concat(), &[0, 2]);
            }
            2 => {
                let code = self
                    .expect(&["use", if round.is_multiple_of(2) { "bob" } else { "ada" }], &[0]);
                assert_eq!(code, 0);
            }
            3 => {
                self.expect(&["restore", "--account", "ada", "--yes"], &[0]);
                self.claims.push(Claim::Operation("restore"));
            }
            4 => {
                self.expect(&["cooldown", "set", "ada@example.com", "--until", &until], &[0]);
                self.claims.push(Claim::Cooldown(until));
                self.claims.push(Claim::Operation("cooldown set"));
            }
            5 => {
                let (key, value) = (format!("aliases.{mark}"), "bob@example.com");
                self.expect(&["config", "set", &key, value], &[0]);
                self.claims.push(Claim::Alias(mark, value.to_owned()));
                self.claims.push(Claim::Operation("config set"));
            }
            6 => {
                let left = 100.0 - percent;
                let panel = format!(
                    "Account: ada@example.com\nWeekly limit: {left:.2}% left (resets 10:02 on 26 Nov)\n"
                );
                let file = self.user.join(format!("{mark}.txt"));
                fs::write(&file, panel).unwrap();
                self.expect(&["status", "--status-file", file.to_str().unwrap()], &[0]);
                self.claims.push(Claim::Reading(percent));
            }
            7 => {
                self.expect(&["list"], &[0]);
                self.expect(&["cooldown"], &[0]);
            }
            8 => {
                self.expect(&["verify", "--all"], &[0]);
            }
            9 => {
                self.expect(&["normalize", "legacy"], &[0]);
                self.expect(&["recommend", "--why"], &[0]);
            }
            10 => {
                self.expect(&["prune", "--keep-last", "2", "--yes"], &[0]);
            }
            11 => {
                self.expect(&["log", "--verify"], &[0]);
                self.expect(&["drill"], &[0, 1]);
            }
            _ => {
                // A restore that is going on looks to it like one that was interrupted.
                self.expect(&["doctor"], &[0, 1]);
                self.expect(&["show"], &[0]);
            }
        }
    }

    /// Plays a line that must end with one of these codes; which it was.
    #[track_caller]
    fn expect(&mut self, words: &[&str], codes: &[i32]) -> i32 {
        let words = [words, &["--lock-timeout", "600", "--json"]].concat();
        let (code, said) = heard(home::program(&self.user, &words));
        assert!(codes.contains(&code), "{words:?} ended with {code}: {said}");
        if code == 0 && words[0] == "backup" {
            let label = said["data"]["metadata"]["label"].as_str().unwrap();
            self.claims.push(Claim::Snapshot(label.to_owned()));
            self.claims.push(Claim::Operation("backup"));
        }
        code
    }
}

#[test]
fn of_all_that_many_at_once_were_told_was_done_nothing_is_lost() {
    let home = TestHome::of_ada()
        .legacy_auth("21apr_cleo@example.com_auth.json", "2026-04-14T15:55:00Z")
        .file(".codex/history.jsonl", "{\"text\":\"hello\"}\n");
    assert_eq!(home.play("backup --label first").exit, 0);
    let home = home.later("+1m").signed_in("bob@example.com");
    assert_eq!(home.play("backup --auth-only").exit, 0);

    let user = home.path("").canonicalize().unwrap();
    let rounds = rounds(3);
    let player = |number| Player { user: user.clone(), number, rounds, claims: Vec::new() };
    let players: Vec<_> = (0..CROWD).map(player).collect();
    let threads: Vec<_> =
        players.into_iter().map(|player| thread::spawn(|| player.play())).collect();
    let claims: Vec<Claim> =
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    assert!(2 * rounds < claims.len(), "{claims:?}");

    assert_kept(&home, &claims);
    assert_tidy(&home);
    assert_eq!(document(&home, &["verify", "--all"]).0, 0);
    assert_eq!(document(&home, &["log", "--verify"]).0, 0);
    let found = done(&home, &["doctor"]);
    assert_ne!(found["worst"], "error", "{found}");
    for word in ["auth.json", "config.toml", "history.jsonl", "state_5.sqlite"] {
        assert!(home.codex(word).is_file(), "{word} is missing:\n{}", home.codex_files());
    }
}

/// Everything that was claimed is there.
#[track_caller]
fn assert_kept(home: &TestHome, claims: &[Claim]) {
    let ledger = String::from_utf8(home.read(".codex-manager/ledger.jsonl")).unwrap();
    let ledger: Vec<Value> =
        ledger.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let labels: BTreeSet<String> = ["backups", "trash"]
        .iter()
        .flat_map(|folder| fs::read_dir(home.manager(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(".metadata.json"))
        .filter_map(|sidecar| {
            let archive = sidecar.to_string_lossy().replace(".metadata.json", ".tar.gz");
            assert!(Path::new(&archive).is_file(), "{archive} is missing");
            let told: Value = serde_json::from_slice(&fs::read(sidecar).unwrap()).unwrap();
            told["label"].as_str().map(str::to_owned)
        })
        .collect();
    let operations = done(home, &["log"])["operations"].as_array().unwrap().clone();
    let claimed = |command: &str| {
        let same = |claim: &&Claim| matches!(claim, Claim::Operation(it) if *it == command);
        claims.iter().filter(same).count()
    };
    let week = |line: &Value| line["windows"][0]["used_percent"].as_f64();
    for claim in claims {
        let is_there = match claim {
            Claim::Snapshot(label) => labels.contains(label),
            Claim::Cooldown(until) => ledger.iter().any(|line| is_instant(&line["until"], until)),
            Claim::Reading(percent) => ledger
                .iter()
                .any(|line| week(line).is_some_and(|found| (found - percent).abs() < 0.001)),
            Claim::Alias(name, account) => {
                let key = format!("aliases.{name}");
                done(home, &["config", "get", &key])["value"] == account.as_str()
            }
            Claim::Operation(command) => {
                let noted = operations.iter().filter(|it| it["command"] == *command).count();
                claimed(command) <= noted
            }
        };
        assert!(is_there, "{claim:?} is lost; {labels:?}");
    }
}

fn is_instant(told: &Value, expected: &str) -> bool {
    let parsed = |text: &str| chrono::DateTime::parse_from_rfc3339(text).unwrap();
    told.as_str().is_some_and(|told| parsed(told) == parsed(expected))
}

/// Every record can be read, and nobody left anything.
#[track_caller]
fn assert_tidy(home: &TestHome) {
    for (path, node) in home.tree(".codex-manager") {
        assert!(!path.contains(".codex-manager-"), "{path} was left");
        let is_ours = !path.contains("/codex-home/");
        if is_ours && path.ends_with(".json") {
            serde_json::from_slice::<Value>(&node.content)
                .unwrap_or_else(|error| panic!("{path}: {error}"));
        }
        if is_ours && path.ends_with(".jsonl") {
            let text = String::from_utf8(node.content).unwrap();
            assert!(text.ends_with('\n'), "{path} ends in half a line");
            for line in text.lines() {
                serde_json::from_str::<Value>(line)
                    .unwrap_or_else(|error| panic!("{path}: {error}"));
            }
        }
    }
    assert_eq!(fs::read_dir(home.manager("tmp")).unwrap().count(), 0, "{}", home.files());
    assert!(!home.manager("journal.json").exists());
    let beside = fs::read_dir(home.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> =
        beside.filter(|name| name.to_string_lossy().starts_with(".codex-manager-")).collect();
    assert!(left.is_empty(), "{left:?}");
    let waiting = home.tree(".codex");
    assert!(!waiting.keys().any(|path| path.contains(".codex-manager-")), "{:?}", waiting.keys());
}

/// A command line for each number, all of them at once; each must do its work.
fn each(home: &TestHome, line: impl Fn(usize) -> Vec<String>) {
    let user = home.path("").canonicalize().unwrap();
    let commands: Vec<Command> = (0..CROWD)
        .map(|number| {
            let words = line(number);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            home::program(&user, &[&words, &["--lock-timeout", "600", "--json"][..]].concat())
        })
        .collect();
    let threads: Vec<_> =
        commands.into_iter().map(|command| thread::spawn(move || heard(command))).collect();
    for thread in threads {
        let (code, said) = thread.join().unwrap();
        assert_eq!(code, 0, "{said}");
    }
}

#[test]
fn where_the_order_does_not_matter_the_end_is_the_same_whoever_was_first() {
    let mut home = TestHome::at("2026-11-21T10:00:00Z").file(".codex/config.toml", "");
    for number in 0..CROWD {
        let name = format!("21apr_u{number}@example.com_auth.json");
        home = home.legacy_auth(&name, "2026-04-14T15:55:00Z");
    }
    let address = |number: usize| format!("u{number}@example.com");
    let until = |number: usize| format!("2099-01-01T00:0{number}:00+00:00");
    let text = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();

    // All of them find the same files, and the manager home is not there yet.
    each(&home, |_| text(&["normalize", "legacy"]));
    let inventory: Value =
        serde_json::from_slice(&home.read(".codex-manager/inventory.json")).unwrap();
    assert_eq!(inventory["records"].as_array().unwrap().len(), CROWD);
    for _ in 0..rounds(1) {
        each(&home, |number| {
            text(&["cooldown", "set", &address(number), "--until", &until(number)])
        });
        each(&home, |number| {
            text(&["config", "set", &format!("aliases.a{number}"), &address(number)])
        });
    }
    let accounts = done(&home, &["cooldown"])["accounts"].as_array().unwrap().clone();
    assert_eq!(accounts.len(), CROWD);
    for number in 0..CROWD {
        let account = accounts.iter().find(|it| it["email"] == address(number).as_str()).unwrap();
        assert_eq!(account["state"], "cooldown", "{account}");
        assert!(is_instant(&account["next_available_at"], &until(number)), "{account}");
        assert_eq!(account["alias"], format!("a{number}"));
    }
    // The same login is adopted once, however many come for it.
    each(&home, |_| text(&["normalize", "legacy", "--adopt"]));
    let snapshots = done(&home, &["list"])["snapshots"].as_array().unwrap().clone();
    assert_eq!(snapshots.len(), CROWD, "{snapshots:?}");
    // What a status says is one reading, however many have asked.
    let before = home.read(".codex-manager/ledger.jsonl").len();
    let panel = "Account: u0@example.com\nWeekly limit: 61% left (resets 10:02 on 26 Nov)\n";
    let home = home.file("panel.txt", panel);
    each(&home, |_| text(&["status", "--status-file", "panel.txt"]));
    let ledger = home.read(".codex-manager/ledger.jsonl");
    let news = String::from_utf8(ledger[before..].to_vec()).unwrap();
    assert_eq!(news.lines().count(), 1, "{news}");
    assert_tidy(&home);
}
