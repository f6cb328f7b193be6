//! The program as a process: what do its streams, its exit code and Ctrl-C do?
//!
//! Everything else is played in process; here the compiled program itself runs, because pipes,
//! full disks and signals belong to the system.

#![cfg(unix)]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::home::TestHome;

/// A signal or a pipe that takes longer than this is lost.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs with nobody at the other end of the streams that are named.
fn unheard(home: &TestHome, words: &[&str], also_errors: bool) -> i32 {
    let gone = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        writer
    };
    let mut command = home.program(words);
    command.stdout(gone());
    if also_errors {
        command.stderr(gone());
    } else {
        command.stderr(Stdio::null());
    }
    command.status().unwrap().code().unwrap()
}

/// Ada's home with one snapshot, whose content is damaged if so wished.
fn stored(damaged: bool) -> TestHome {
    let home = TestHome::of_ada();
    assert_eq!(home.play("backup").exit, 0);
    if !damaged {
        return home;
    }
    let archive = ".codex-manager/backups/2026-11-19-100200-ada@example.com-codex.tar.gz";
    let mut bytes = home.read(archive);
    bytes[200] ^= 0x10;
    home.file(archive, bytes)
}

#[test]
fn a_reader_that_goes_away_changes_no_exit_code() {
    let (sound, damaged) = (stored(false), stored(true));
    for also_errors in [false, true] {
        for words in [&["list"][..], &["list", "--json"], &["--help"], &["verify"], &["cooldown"]] {
            assert_eq!(unheard(&sound, words, also_errors), 0, "{words:?} {also_errors}");
        }
        for (words, exit) in [
            (&["verify"][..], 5),
            (&["verify", "--json"], 5),
            (&["show", "nothing"], 4),
            (&["show", "nothing", "--json"], 4),
            (&["restore", "nothing", "--yes"], 4),
            (&["no-such-command"], 4),
            (&["list", "--no-such-flag", "--json"], 4),
        ] {
            assert_eq!(unheard(&damaged, words, also_errors), exit, "{words:?} {also_errors}");
        }
    }
}

#[test]
fn a_reader_of_one_line_gets_it() {
    let home = stored(false);
    let mut child = home.program(&["list"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("NAME"), "{line:?}");
    assert_eq!(ended(&mut child), 0);
}

#[test]
fn a_document_in_a_pipe_is_exactly_one() {
    let (sound, damaged) = (stored(false), stored(true));
    for (home, words, exit) in [
        (&sound, &["list"][..], 0),
        (&sound, &["backup"], 0),
        (&sound, &["show", "--files"], 0),
        (&sound, &["cooldown"], 0),
        (&sound, &["recommend"], 0),
        (&sound, &["normalize"], 0),
        (&sound, &["show", "nothing"], 4),
        (&sound, &["no-such-command"], 4),
        (&damaged, &["verify"], 5),
    ] {
        let seen = home.heard(&[words, &["--json"]].concat());
        assert_eq!(seen.status.code(), Some(exit), "{words:?}");
        let text = String::from_utf8(seen.stdout).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        assert!(document["schema"].as_str().unwrap().starts_with("codex-manager"), "{text}");
        assert_eq!((text.lines().count(), text.ends_with('\n')), (1, true), "{text}");
        assert!(seen.stderr.is_empty(), "{}", String::from_utf8_lossy(&seen.stderr));
    }
}

#[test]
#[rustfmt::skip]
fn colour_is_decided_by_flag_then_variable_then_configuration() {
    // In a pipe, so that nothing but a preference can ask for colour.
    let home = stored(false);
    let colorful = |words: &[&str], variable: &str| {
        let mut command = home.program(words);
        command.env("NO_COLOR", "1").env("CODEX_MANAGER_COLOR", variable);
        let seen = command.output().unwrap();
        [seen.stdout, seen.stderr].concat().contains(&0x1b)
    };
    let set = |when| assert_eq!(home.play(&format!("config set color {when}")).exit, 0);
    assert!(!colorful(&["list"], ""));
    assert!(colorful(&["list"], "always"));
    assert!(colorful(&["list", "--color", "always"], "never"));
    set("always");
    assert!(colorful(&["list"], ""));
    assert!(colorful(&["--help"], ""));
    assert!(colorful(&["show", "nothing"], ""));
    assert!(colorful(&["no-such-command"], ""));
    assert!(!colorful(&["no-such-command", "--color", "never"], ""));
    assert!(!colorful(&["list"], "never"));
    assert!(!colorful(&["list", "--color=never"], "always"));
    assert!(!colorful(&["list", "--json"], ""));
    set("never");
    assert!(!colorful(&["list"], ""));
    assert!(colorful(&["list"], "always"));
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_behind_standard_output_is_an_error() {
    let (sound, damaged) = (stored(false), stored(true));
    for (home, words, exit) in [
        (&sound, &["list"][..], 1),
        (&sound, &["list", "--json"], 1),
        (&sound, &["--help"], 1),
        (&sound, &["--version"], 1),
        (&damaged, &["verify"], 5),
        (&damaged, &["verify", "--json"], 5),
        (&sound, &["list", "--no-such-flag", "--json"], 4),
    ] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let seen = home.program(words).stdout(full).output().unwrap();
        assert_eq!(seen.status.code(), Some(exit), "{words:?}");
        let text = String::from_utf8(seen.stderr).unwrap();
        assert!(text.contains("error: cannot write the result: "), "{words:?}: {text}");
    }
}

#[test]
fn standard_error_that_is_full_or_gone_costs_only_what_it_would_have_said() {
    let home = stored(false);
    std::fs::remove_file(
        home.manager("backups/2026-11-19-100200-ada@example.com-codex.metadata.json"),
    )
    .unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let seen = home.program(&["list"]).stdout(Stdio::piped()).stderr(writer).spawn().unwrap();
    let seen = seen.wait_with_output().unwrap();
    assert_eq!(seen.status.code(), Some(0));
    assert!(String::from_utf8(seen.stdout).unwrap().contains("ada@example.com"));
}

#[test]
fn ctrl_c_during_a_backup_ends_it_with_nothing_left_behind() {
    // Noise does not pack, so there is time to stop it.
    let mut noise = vec![0_u8; 96 << 20];
    let mut state = 1_u64;
    for block in noise.chunks_mut(8) {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        block.copy_from_slice(&state.to_le_bytes()[..block.len()]);
    }
    let home = TestHome::of_ada().file(".codex/noise", noise);
    let before = home.tree(".codex");
    let backups = home.manager("backups");
    let mut child =
        home.program(&["backup"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while entries(&backups) == 0 {
        assert!(began.elapsed() < PATIENCE && child.try_wait().unwrap().is_none(), "too late");
        std::thread::sleep(Duration::from_millis(2));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let exit = ended(&mut child);
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
    assert_eq!(exit, 130, "{said}");
    assert!(said.starts_with("error: "), "{said}");
    assert_eq!((entries(&backups), entries(&home.manager("tmp"))), (0, 0), "{}", home.files());
    home.assert_same(".codex", &before);
}

#[test]
fn who_waits_or_watches_is_told_what_and_can_stop() {
    let home = stored(false);
    assert_eq!(home.play("cooldown set ada --until 9999-01-01").exit, 0);
    for (words, said) in [
        (&["ready", "--wait"][..], "waiting: no account is ready"),
        (&["ready", "ada", "--wait"], "waiting: ada@example.com: set aside by hand"),
        (&["cooldown", "--watch"], "   ACCOUNT          STATE"),
    ] {
        let mut child =
            home.program(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        match words[0] {
            "ready" => BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line),
            _ => BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line),
        }
        .unwrap();
        assert!(line.starts_with(said), "{words:?}: {line:?}");
        let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        assert_eq!(ended(&mut child), 130, "{words:?}");
    }
}

#[cfg(target_os = "linux")] // `env` of other systems takes no signals back.
#[test]
fn a_terminal_that_goes_away_leaves_neither_a_login_nor_a_child_behind() {
    use rustix::process::{Pid, Signal};
    let home = TestHome::of_ada()
        .codex_program(
            "echo $$ > \"$HOME/child.new\"; mv \"$HOME/child.new\" \"$HOME/child\"; sleep 90\n",
        )
        .config("status.timeout_seconds", "90");
    let user = home.manager("").parent().unwrap().display().to_string();
    let home = home.config("codex_program", &format!("{user}/bin/codex"));
    let began = Instant::now();
    let asking = |before: &str| {
        let (program, words) = (home.program(&["status"]), ["status"]);
        // A test that was started in the background may have been told to ignore them.
        let mut command = std::process::Command::new("env");
        let shell = format!("{before} exec \"$0\" \"$@\"");
        command.args(["--default-signal=HUP,QUIT", "sh", "-c", &shell]);
        command.current_dir(&user).arg(program.get_program()).args(words);
        command.env_clear().envs(program.get_envs().filter_map(|(k, v)| Some((k, v?))));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let manager = command.spawn().unwrap();
        let named = home.manager("../child");
        while !named.exists() {
            assert!(began.elapsed() < PATIENCE, "Codex was not asked");
            std::thread::sleep(Duration::from_millis(5));
        }
        let child = std::fs::read_to_string(&named).unwrap().trim().parse().unwrap();
        std::fs::remove_file(&named).unwrap();
        assert_ne!(entries(&home.manager("tmp")), 0, "it has a private home");
        (manager, Pid::from_raw(child).unwrap())
    };
    let send = |manager: &Child, signal| {
        rustix::process::kill_process(Pid::from_child(manager), signal).unwrap();
    };
    // The system and the shell both tell of it, one right after the other.
    for signals in [&[Signal::HUP, Signal::HUP][..], &[Signal::QUIT]] {
        let (mut manager, child) = asking("");
        signals.iter().for_each(|signal| send(&manager, *signal));
        assert_eq!(ended(&mut manager), 130, "{signals:?}");
        assert_eq!(entries(&home.manager("tmp")), 0, "{signals:?}: {}", home.files());
        assert!(rustix::process::test_kill_process(child).is_err(), "{signals:?}: it lives on");
    }
    let (mut manager, child) = asking("trap '' HUP;");
    send(&manager, Signal::HUP);
    // It would have ended by the time at which Codex has ended and was waited for.
    rustix::process::kill_process_group(child, Signal::KILL).unwrap();
    assert_eq!(ended(&mut manager), 0, "`nohup` holds");
}

/// How many things lie in a folder; none if it does not exist.
fn entries(folder: &Path) -> usize {
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

/// The exit code, when the program has ended by itself.
fn ended(child: &mut Child) -> i32 {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code().unwrap();
        }
        if PATIENCE < began.elapsed() {
            child.kill().unwrap();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
