//! Who else could see a token, or read what the program writes?
//!
//! What is printed and what is left in files every test looks at ([`crate::canaries`]). Here the
//! program runs as a process: what do its children learn, whom do its files belong to whatever
//! the mask, and what remains of its memory when it dies?

#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::canaries::token_in;
use crate::home::TestHome;

/// A panel of `/status` that fits Ada.
const PANEL: &str = "Account: ada@example.com\nWeekly limit: 61% left (resets 10:02 on 26 Nov)\n";

/// Ada's home with a login of Bob in the store and another one among the older tool's files.
fn busy() -> TestHome {
    let home = TestHome::of_ada()
        .legacy_auth("21apr_cleo@example.com_auth.json", "2026-04-14T15:55:00Z")
        .file("panel.txt", PANEL)
        .signed_in("bob@example.com");
    assert_eq!(home.play("backup --auth-only").exit, 0);
    home.signed_in("ada@example.com")
}

/// A program of the user's own in `~/bin`.
fn script(home: TestHome, name: &str, lines: &str) -> TestHome {
    let path = format!("bin/{name}");
    let home = home.file(&path, format!("#!/bin/sh\n{lines}\n"));
    fs::set_permissions(home.path(&path), fs::Permissions::from_mode(0o755)).unwrap();
    home
}

/// The program with `~/bin` in front of all other programs.
fn with_scripts(home: &TestHome, words: &[&str]) -> Command {
    let mut command = home.program(words);
    command.env("PATH", format!("{}:/usr/bin:/bin", home.path("bin").display()));
    command
}

/// Writes down all that a child is told: its words, its environment, those of the program that
/// started it, and what it finds open.
const LISTEN: &str = r#"{
    printf '%s\n' "$0" "$@"
    env
    cat /proc/$PPID/cmdline /proc/$PPID/environ 2>/dev/null
    ls -l /proc/self/fd 2>/dev/null
} >> "$HOME/heard""#;

#[test]
fn what_the_program_starts_is_told_no_token_and_finds_no_login_open() {
    let home = script(busy(), "codex", &format!("{LISTEN}\necho codex-cli 0.169.0"));
    let home = script(home, "asked", &format!("{LISTEN}\ncat \"$HOME/panel.txt\""));
    let mut heard = 0;
    for words in [
        &["doctor"][..],
        &["doctor", "--json"],
        &["status", "--status-command", "asked"],
        &["backup", "--status-command", "asked two 'words here'"],
        &["backup", "--force", "--status-command", "asked", "--label", "x"],
    ] {
        let seen = with_scripts(&home, words).output().unwrap();
        let said = String::from_utf8([seen.stdout, seen.stderr].concat()).unwrap();
        assert_eq!((seen.status.code(), token_in(said.as_bytes())), (Some(0), None), "{said}");
        let told = home.read("heard");
        assert!(heard < told.len(), "{words:?} started nothing");
        heard = told.len();
        let told = String::from_utf8_lossy(&told);
        assert_eq!(token_in(told.as_bytes()), None, "{words:?}: {told}");
        assert!(!told.contains("auth.json") && !told.contains(".tar.gz"), "{words:?}: {told}");
    }
}

#[test]
fn what_is_written_is_the_owners_alone_whatever_the_mask() {
    for mask in ["000", "077", "777"] {
        let home = busy();
        let run = |words: &[&str]| {
            let masked = home.masked(mask, words);
            assert!(masked.status.success(), "{mask} {words:?}: {masked:?}");
        };
        // The first of them makes the folder, for `busy` had it made under another mask.
        fs::remove_dir_all(home.manager("")).unwrap();
        run(&["config", "set", "timezone", "UTC"]);
        run(&["backup"]);
        run(&["backup", "--force", "--label", "good"]);
        run(&["status", "--status-file", "panel.txt"]);
        run(&["cooldown", "set", "ada", "--until", "+1h"]);
        run(&["normalize", "legacy", "--adopt"]);
        run(&["restore", "good", "--yes"]);
        run(&["restore", "good", "--to", "copy"]);
        let home = home.signed_in("bob@example.com");
        let run = |words: &[&str]| assert!(home.masked(mask, words).status.success(), "{words:?}");
        run(&["use", "ada"]);

        let mut looked_at = 0;
        let trees = [".codex-manager", "copy"].map(|below| home.tree(below));
        for (path, node) in trees.iter().flatten() {
            // A home that a restore replaced is kept as it was, in a folder of the owner's alone.
            if path.contains("/codex-home") {
                continue;
            }
            looked_at += 1;
            let expected = if node.mode & 0o170_000 == 0o040_000 { 0o700 } else { 0o600 };
            assert_eq!(node.mode & 0o7777, expected, "mask {mask}: {path}");
        }
        assert!(20 < looked_at, "{looked_at}");
        let login = fs::metadata(home.codex("auth.json")).unwrap();
        assert_eq!(login.permissions().mode() & 0o777, 0o600);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn memory_does_not_end_up_in_a_core_file() {
    let home = busy();
    let line = "grep 'core file' /proc/$PPID/limits > limits; kill -ABRT $PPID";
    let mut command = Command::new("sh");
    let program = home.program(&["status", "--status-command", line]);
    // As generous as the system allows: what is tested is that the program takes it back.
    command.args(["-c", "ulimit -c unlimited 2>/dev/null; exec \"$0\" \"$@\""]);
    command.arg(program.get_program()).args(program.get_args());
    let seen = command.env("HOME", home.path("")).current_dir(home.path("")).output().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&seen.status), Some(6), "{seen:?}");
    assert!(!std::os::unix::process::ExitStatusExt::core_dumped(&seen.status), "{seen:?}");
    let limits = String::from_utf8(home.read("limits")).unwrap();
    let fields: Vec<&str> = limits.split_whitespace().collect();
    // Whoever started us may have left us nothing to take back.
    assert!(fields[4] == fields[5] && ["0", "1"].contains(&fields[4]), "{limits}");
    let names = home.tree("");
    assert!(!names.keys().any(|name| name.starts_with("core")), "{:?}", names.keys());
}
