//! How does a person run `codex-manager` in a lab?
//!
//! The binary itself, with the lab's homes and `--json`, and its envelope taken apart.

use std::ffi::OsStr;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::lab::Lab;
use crate::mock::account::Person;
use crate::process::{Ended, Running};

/// How long one command may take; a home of a few sessions is small.
const PATIENCE: Duration = Duration::from_secs(120);

impl Lab {
    /// Runs a command on the live home without a Codex on the path, and returns how it ended.
    #[track_caller]
    pub(crate) fn manager(&self, args: &[impl AsRef<OsStr>]) -> Ended {
        self.start_manager(args).wait()
    }

    /// Begins a command and does not wait for it.
    #[track_caller]
    pub(crate) fn start_manager(&self, args: &[impl AsRef<OsStr>]) -> Running {
        Running::start(&mut self.command(args), PATIENCE)
    }

    /// The same with the lab's Codex to ask, which may take as many seconds as it is given.
    #[track_caller]
    pub(crate) fn manager_with_codex(&self, seconds: u32, args: &[impl AsRef<OsStr>]) -> Ended {
        let mut command = self.command(args);
        command.env("CODEX_MANAGER_CODEX_PROGRAM", self.codex());
        command.env("CODEX_MANAGER_STATUS_TIMEOUT_SECONDS", seconds.to_string());
        Running::start(&mut command, PATIENCE).wait()
    }

    /// The same with a line on its standard input, and the lab's Codex to ask.
    #[track_caller]
    pub(crate) fn tell(&self, line: &str, args: &[&str]) -> Value {
        let told = self.command(args);
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("echo {line} | \"$0\" \"$@\"")]);
        shell.arg(told.get_program()).args(told.get_args());
        self.clean(&mut shell).env("PATH", "/usr/bin:/bin");
        shell.env("CODEX_MANAGER_CODEX_PROGRAM", self.codex());
        data(&Running::start(&mut shell, PATIENCE).wait())
    }

    fn command(&self, args: &[impl AsRef<OsStr>]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_codex-manager"));
        self.clean(&mut command).env("PATH", "/usr/bin:/bin");
        command.arg("--home").arg(self.place("manager"));
        command.arg("--codex-home").arg(self.home().path());
        command.args(args).arg("--json");
        command
    }

    /// The `data` of a command that has to succeed.
    #[track_caller]
    pub(crate) fn ask(&self, args: &[impl AsRef<OsStr>]) -> Value {
        data(&self.manager(args))
    }

    /// Makes a snapshot, asking nobody for the quota, and returns its name.
    #[track_caller]
    pub(crate) fn backup(&self) -> String {
        let data = self.ask(&["backup", "--without-status-check"]);
        data["snapshot"].as_str().unwrap_or_else(|| panic!("no name in {data}")).to_owned()
    }

    /// The sidecar of their newest snapshot. Those of several people may be of the same
    /// second, for Codex answers that fast.
    #[track_caller]
    pub(crate) fn newest_snapshot(&self, person: &Person) -> Value {
        let listed = self.ask(&["list"]);
        let snapshots = listed["snapshots"].as_array().expect("a list of snapshots");
        let found = snapshots.iter().find(|snapshot| snapshot["email"] == person.email);
        found.unwrap_or_else(|| panic!("none of {} in {listed}", person.email)).clone()
    }

    /// Every snapshot is whole, says `verify`.
    #[track_caller]
    pub(crate) fn verify_all(&self) {
        let data = self.ask(&["verify", "--all"]);
        let snapshots = data["snapshots"].as_array().expect("a list of snapshots");
        assert!(!snapshots.is_empty(), "{data}");
        for snapshot in snapshots {
            assert_eq!(snapshot["verdict"], "ok", "{snapshot}");
        }
    }
}

/// The one document on standard output.
#[track_caller]
pub(crate) fn envelope(ended: &Ended) -> Value {
    let parsed = serde_json::from_str(&ended.stdout);
    parsed.unwrap_or_else(|error| panic!("{error} in {ended:?}"))
}

#[track_caller]
pub(crate) fn data(ended: &Ended) -> Value {
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.stdout, ended.stderr);
    let envelope = envelope(ended);
    assert_eq!(envelope["ok"], true, "{envelope}");
    envelope["data"].clone()
}
