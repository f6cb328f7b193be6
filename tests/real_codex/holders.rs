//! Is every real Codex that has the home open found as what it is, and does its background server
//! change accounts?

#![cfg(target_os = "linux")]

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::lab::{Home, Lab, TEN_DAYS};
use crate::manager::envelope;
use crate::mock::account::{ADA, BOB};
use crate::process::Running;
use crate::terminal::Terminal;

/// How long a Codex may take to open a home, or to leave it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who uses the live home by number: role and evidence.
fn listed(lab: &Lab) -> Vec<(u64, String, Vec<String>)> {
    let ended = lab.manager(&["doctor"]);
    let holders = envelope(&ended)["data"]["holders"].clone();
    let one = |holder: &Value| {
        let evidence = holder["evidence"].as_array().unwrap().iter();
        let evidence = evidence.map(|word| word.as_str().unwrap().to_owned());
        let role = holder["role"].as_str().unwrap().to_owned();
        (holder["pid"].as_u64().unwrap(), role, evidence.collect())
    };
    holders.as_array().unwrap().iter().map(one).collect()
}

/// Waits until exactly these roles use the live home, each with files of it open, and with SQLite's
/// lock on one, which a Codex that has only begun does not hold yet.
#[track_caller]
fn wait_for_roles(lab: &Lab, expected: &[&str]) -> Vec<(u64, String, Vec<String>)> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = listed(lab);
        let mut roles: Vec<&str> = found.iter().map(|(_, role, _)| role.as_str()).collect();
        roles.sort_unstable();
        let has_begun = |(_, _, evidence): &(u64, String, Vec<String>)| {
            ["open-file", "lock"].iter().all(|word| evidence.iter().any(|found| found == word))
        };
        if roles == expected && found.iter().all(has_begun) {
            return found;
        }
        assert!(Instant::now() < deadline, "{found:?} instead of {expected:?}");
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn every_open_codex_is_found_as_what_it_is_and_none_of_another_home() {
    let lab = Lab::new();
    let home = lab.home();
    lab.backup();
    home.sign_in(&BOB, TEN_DAYS);
    lab.backup();

    let elsewhere = lab.home_at("elsewhere");
    fs::create_dir(elsewhere.path()).unwrap();
    for name in ["auth.json", "config.toml"] {
        fs::copy(home.path().join(name), elsewhere.path().join(name)).unwrap();
    }
    let other = elsewhere.app_server();
    assert_eq!(listed(&lab), []);

    let held = lab.mock.hold_turns();
    let exec = home.start_exec(&["takes long"]);
    let server = home.app_server();
    let terminal = Terminal::start(&home.command(&[]));
    lab.mock.wait_for_turns(1);
    let found = wait_for_roles(&lab, &["app-server", "exec", "tui"]);
    let pid = found.iter().find_map(|(pid, role, _)| (role == "app-server").then_some(*pid));
    assert_eq!(pid, Some(server.pid().into()));

    let before = fs::read(home.path().join("auth.json")).unwrap();
    let refused = lab.manager(&["use", ADA.email]);
    assert_eq!(refused.code, Some(3), "{}", refused.stdout);
    let error = envelope(&refused)["error"].clone();
    assert_eq!(error["holders"].as_array().unwrap().len(), 3, "{error}");
    assert_eq!(fs::read(home.path().join("auth.json")).unwrap(), before);

    // It waits for them, and goes on by itself.
    let waiting = lab.start_manager(&["use", ADA.email, "--wait"]);
    drop((terminal, server, held));
    assert_eq!(exec.wait().code, Some(0));
    let ended = waiting.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stdout);
    assert_eq!(listed(&lab), []);
    drop(other);
}

/// The background server of a home; it and what keeps it up to date end with this.
struct Background<'h, 'lab>(&'h Home<'lab>);

impl<'h, 'lab> Background<'h, 'lab> {
    fn start(home: &'h Home<'lab>) -> Self {
        let background = Self(home);
        let ended = background.tell("start");
        assert_eq!(ended.code, Some(0), "{}\n{}", ended.stdout, ended.stderr);
        background
    }

    fn tell(&self, word: &str) -> crate::process::Ended {
        let mut command = self.0.command(&["app-server", "daemon", word]);
        Running::start(&mut command, PATIENCE).wait()
    }
}

impl Drop for Background<'_, '_> {
    fn drop(&mut self) {
        self.tell("stop");
        let file = self.0.path().join("app-server-daemon/daemon-updater.pid");
        let Ok(text) = fs::read(file) else { return };
        let file: Value = serde_json::from_slice(&text).unwrap();
        let pid = file["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
            // It may be gone already.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
    }
}

#[test]
fn the_background_server_stands_in_the_way_until_codex_starts_it_anew_for_the_new_account() {
    let lab = Lab::new();
    let home = lab.home();
    lab.backup();
    home.sign_in(&BOB, TEN_DAYS);
    lab.backup();
    // A new terminal session goes through the server, as it does by default.
    let config = fs::read_to_string(home.path().join("config.toml")).unwrap();
    let config = config.replace("daemon_auto_start = false", "daemon_auto_start = true");
    fs::write(home.path().join("config.toml"), config).unwrap();

    let background = Background::start(&home);
    let before = wait_for_roles(&lab, &["background-server"]);
    assert!(before[0].2.contains(&"pid-file".to_owned()), "{before:?}");
    let asks = || {
        // The server may ask for more by itself, such as a title.
        let before = lab.mock.seen().iter().filter(|seen| seen.is_turn()).count();
        let terminal = Terminal::start(&home.command(&["who am I?"]));
        lab.mock.wait_for_turns(before + 1);
        drop(terminal);
        wait_for_roles(&lab, &["background-server"]);
        lab.mock.last_turn().account
    };
    assert_eq!(asks(), Some(BOB.account));

    assert_eq!(lab.manager(&["use", ADA.email]).code, Some(3));
    let program = lab.codex().to_str().unwrap();
    lab.ask(&["config", "set", "codex_program", program]);
    let data = lab.ask(&["use", ADA.email, "--restart-server"]);
    assert_eq!(data["server"]["before"], before[0].0, "{data}");
    let after = wait_for_roles(&lab, &["background-server"]);
    assert_eq!(data["server"]["after"], after[0].0, "{data}");
    assert_ne!(after[0].0, before[0].0);
    assert_eq!(asks(), Some(ADA.account));
    drop(background);
}
