//! Does any command talk to anybody, or give a secret to a child?
//!
//! Every command that `--help` names runs under strace, which writes down each network call and
//! each program that is started, with its arguments and its whole environment.

use std::collections::BTreeSet;
use std::fs;

use crate::ground::{CANARY, Ground, processors};
use crate::oracle::is_clean;
use crate::people::{Login, status_text};
use crate::trace::{self, Trace};

/// At least one line for each command, one after the other in one folder; `~` is the user's. Words
/// are split at blanks, but for `|`, which stands for one.
pub(crate) const LINES: &[&str] = &[
    "backup --label first",
    "backup --force --status-command cat|~/status.txt",
    "status --status-file ~/status.txt",
    "status --status-command cat|~/status.txt",
    "status --live",
    "status --refresh",
    "list",
    "show --files",
    "verify --all",
    "history",
    "cooldown",
    "cooldown set ada --until 2097-01-01T00:00:00Z",
    "cooldown clear ada",
    "recommend --why",
    "ready bob",
    "login --alias new",
    "adopt",
    "accounts",
    "accounts note new signed|in|by|hand",
    "accounts forget new --yes",
    "normalize ~/old-logins --adopt",
    "config list --show-origin",
    "config set undo.keep_days 30",
    "use ada",
    "restore --account bob --yes",
    "restore adas-week --to ~/copy",
    "undo --yes",
    "prune --keep-last 1 --yes",
    "log",
    "log --verify",
    "drill",
    "doctor",
    "doctor --fix",
    "demo",
    "completions bash",
];

/// What may be started: ourselves, a shell for `--status-command` with what it was told, and the
/// Codex of the user, which is a script here: the real one would ask its service what is left.
const CHILDREN: &[&str] = &["taskset", "codex-manager", "sh", "cat", "cp", "codex"];

/// What the lines need.
pub(crate) fn furnish(ground: &Ground) {
    ground.write("status.txt", status_text("bob"));
    ground.write("fresh.json", Login::of("bob", 60).bytes());
    ground.write("erin.json", Login::of("erin", 600).bytes());
}

#[test]
fn no_command_makes_a_network_call_or_shows_a_token_to_a_child() {
    trace::strace_is_there();
    let processor = *processors().first().expect("there is a processor");
    let ground = Ground::new(processor);
    furnish(&ground);
    let mut children = BTreeSet::new();
    for line in LINES {
        let log = ground.folder().join("trace");
        let place = ground.place().display().to_string();
        let word = |word: &str| word.replace('~', &place).replace('|', " ");
        let words: Vec<String> = line.split(' ').map(word).collect();
        let options = [
            "--follow-forks",
            "--seccomp-bpf",
            "--quiet=attach,personality",
            "--no-abbrev",
            "--string-limit=1048576",
            "--signal=none",
            "--trace=%network,execve,execveat",
        ];
        let output = trace::under_strace(&ground, &options.map(str::to_owned), &log, &words);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(output.status.success(), "{line}:\n{said}");
        is_clean(&said).unwrap_or_else(|what| unreachable!("{line}: {what}"));
        let trace = Trace::parse(&fs::read_to_string(&log).expect("strace writes text"));
        assert!(!trace.calls.is_empty(), "{line}: strace saw it start");
        for call in trace.calls {
            let (name, arguments) = (call.name, call.arguments);
            assert!(name.starts_with("exec"), "{line} talks to somebody: {name}({arguments})");
            assert!(!arguments.contains(CANARY), "{line} shows a token: {arguments}");
            let program = arguments.split('"').nth(1).expect("a program has a path");
            let program = program.rsplit('/').next().unwrap_or_default();
            assert!(CHILDREN.contains(&program), "{line} starts {program}");
            children.insert(program.to_owned());
        }
    }
    assert_eq!(children, CHILDREN.iter().map(|&name| name.to_owned()).collect());
    every_command_has_a_line(&ground);
}

#[track_caller]
fn every_command_has_a_line(ground: &Ground) {
    let (_, help) = ground.play(&["--help"]);
    let commands = help.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next());
    let mut known = 0;
    for line in commands.expect("help lists the commands").lines() {
        // A description that goes on in a second line stands further in.
        let Some(name) = line.strip_prefix("  ").and_then(|line| line.split(' ').next()) else {
            continue;
        };
        if name.is_empty() {
            continue;
        }
        known += 1;
        let is_played = LINES.iter().any(|line| line.split(' ').next() == Some(name));
        assert!(is_played, "no line here plays `{name}`");
    }
    assert!(known > 10, "{help}");
}
