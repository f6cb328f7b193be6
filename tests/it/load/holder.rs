//! One of us holds the lock, and the others want it.
//!
//! The holder is a backup that is stopped (SIGSTOP) as soon as it says in the lock file who it
//! is: it holds the lock for as long as a test likes, and no time decides anything.

use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{WATCHDOG, document, done, ended};
use crate::home::TestHome;

/// A backup that was stopped while it holds the lock; it dies with this value.
struct Holder(Child);

impl Holder {
    fn of(home: &TestHome) -> Self {
        let mut command = home.program(&["backup", "--without-status-check"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut holder = Self(child);
        let words = format!("pid {}: backup", holder.0.id());
        let began = Instant::now();
        while fs::read(home.manager("lock")).unwrap_or_default() != words.as_bytes() {
            let ended = holder.0.try_wait().unwrap();
            assert!(ended.is_none() && began.elapsed() < WATCHDOG, "it never held the lock");
            std::thread::sleep(Duration::from_micros(200));
        }
        holder.send(Signal::STOP);
        holder
    }

    fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        if self.0.try_wait().unwrap().is_none() {
            self.send(Signal::KILL);
            self.0.wait().unwrap();
        }
    }
}

/// A home whose backup takes long enough to be stopped in the middle: noise does not pack.
fn large() -> TestHome {
    let mut noise = vec![0_u8; 32 << 20];
    let mut state = 1_u64;
    for block in noise.chunks_mut(8) {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        block.copy_from_slice(&state.to_le_bytes()[..block.len()]);
    }
    let home = TestHome::of_ada();
    assert_eq!(home.play("backup --auth-only").exit, 0);
    home.file(".codex/noise", noise)
}

#[test]
fn who_has_to_wait_is_told_for_whom_and_who_only_looks_need_not() {
    let home = large();
    let holder = Holder::of(&home);
    let expected = format!("~/.codex-manager/lock is held by pid {}: backup", holder.0.id());
    let root = home.path("").to_str().unwrap().trim_end_matches('/').to_owned();
    for words in [
        &["backup", "--auth-only"][..],
        &["restore", "--yes"],
        &["use", "ada"],
        &["cooldown", "set", "ada", "--until", "+1h"],
        &["cooldown", "clear", "ada"],
        &["config", "set", "timezone", "UTC"],
        &["normalize"],
    ] {
        for timeout in ["0", "1"] {
            let words = [words, &["--lock-timeout", timeout]].concat();
            let (code, said) = document(&home, &words);
            let message = said["error"]["message"].as_str().unwrap().replace(&root, "~");
            assert_eq!((code, message.as_str()), (8, expected.as_str()), "{words:?}");
            assert_eq!(said["error"]["kind"], "locked");
        }
    }
    for words in [
        &["list"][..],
        &["show"],
        &["verify", "--all"],
        &["cooldown"],
        &["recommend"],
        &["config", "list"],
        &["status", "--no-save"],
        &["doctor"],
        &["doctor", "--fix", "--dry-run"],
        &["backup", "--dry-run"],
        &["restore", "--to", "copy", "--dry-run"],
    ] {
        let (code, said) = document(&home, &[words, &["--lock-timeout", "0"]].concat());
        assert_eq!((code, said["ok"].as_bool()), (0, Some(true)), "{words:?}: {said}");
    }
}

#[test]
fn who_waits_long_enough_gets_the_lock() {
    let home = large();
    let mut holder = Holder::of(&home);
    let words = ["cooldown", "set", "ada", "--until", "+1h", "--lock-timeout", "600"];
    let waiting = home.program(&words);
    let waiting = std::thread::spawn(|| ended(waiting));
    holder.send(Signal::CONT);
    assert!(holder.0.wait().unwrap().success(), "the backup goes on where it was");
    assert!(waiting.join().unwrap().status.success());
    assert_eq!(done(&home, &["list"])["snapshots"].as_array().unwrap().len(), 2);
}

#[test]
fn who_was_killed_holds_nothing_and_what_it_left_goes() {
    let home = large();
    for words in [
        &["cooldown", "set", "ada", "--until", "+1h"][..],
        &["backup", "--auth-only"],
        &["doctor", "--fix"],
    ] {
        drop(Holder::of(&home));
        done(&home, &[words, &["--lock-timeout", "0"]].concat());
        assert!(!home.files().contains(".codex-manager-"), "{words:?}: {}", home.files());
        assert_eq!(fs::read_dir(home.manager("tmp")).unwrap().count(), 0, "{words:?}");
    }
    assert_eq!(document(&home, &["verify", "--all"]).0, 0);
}
