use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::world::{Terminals, World};

/// A stream that can be read afterwards.
#[derive(Clone, Default)]
struct Tape(Rc<RefCell<Vec<u8>>>);

impl Write for Tape {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A user's folder with a Codex home, and `bin/` as the only place to find programs.
struct Desk {
    _folder: tempfile::TempDir,
    user: PathBuf,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let user = folder.path().canonicalize().unwrap();
        for dir in [".codex", "bin"] {
            fs::create_dir(user.join(dir)).unwrap();
            fs::set_permissions(user.join(dir), PermissionsExt::from_mode(0o700)).unwrap();
        }
        let desk = Self { _folder: folder, user };
        desk.file(".codex/auth.json", include_str!("../../../testdata/auth/chatgpt.json"), 0o600)
    }

    fn file(self, path: &str, content: &str, mode: u32) -> Self {
        let path = self.user.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        self
    }

    fn program(self, script: &str) -> Self {
        self.program_at("bin/codex", script)
    }

    fn program_at(self, path: &str, script: &str) -> Self {
        fs::create_dir_all(self.user.join(path).parent().unwrap()).unwrap();
        // Another process writes it: a file that a fork of ours still holds open cannot be run.
        let written = Command::new("/bin/sh")
            .args([
                "-c",
                "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$2\" && chmod 755 \"$2\"",
                "sh",
                script,
            ])
            .arg(self.user.join(path))
            .status();
        assert!(written.unwrap().success());
        self
    }

    fn world(&self, variables: &[(&str, &str)], out: Tape) -> World {
        let path = format!("relative:{}", self.user.join("bin").display());
        let mut environment: BTreeMap<OsString, OsString> =
            [("PATH".into(), path.into()), ("HOME".into(), self.user.clone().into())].into();
        environment.extend(variables.iter().map(|(name, value)| (name.into(), value.into())));
        World {
            now: "2026-11-21T10:00:00Z".parse().unwrap(),
            environment,
            user_home: Some(self.user.clone()),
            folder: self.user.clone(),
            system_zone: None,
            input: Box::new(io::empty()),
            out: Box::new(out),
            err: Box::new(io::sink()),
            terminals: Terminals::default(),
            width: None,
            host: None,
            interrupted: Arc::new(AtomicBool::new(false)),
            clock: crate::world::patient_clock(),
        }
    }

    fn run(&self, line: &str, variables: &[(&str, &str)]) -> (Exit, String) {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let tape = Tape::default();
        let exit = crate::cli::run(&words, self.world(variables, tape.clone()));
        let said = String::from_utf8(tape.0.take()).unwrap();
        (exit, said)
    }

    /// Every entry with all that a change would change.
    fn tree(&self) -> Vec<(PathBuf, u32, i64, i64, u64)> {
        let mut pending = vec![self.user.clone()];
        let mut found = Vec::new();
        while let Some(path) = pending.pop() {
            let facts = path.symlink_metadata().unwrap();
            if facts.is_dir() {
                pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
            found.push((path, facts.mode(), facts.ctime(), facts.ctime_nsec(), facts.len()));
        }
        found.sort();
        found
    }
}

#[test]
fn a_look_changes_nothing_and_creates_no_manager_home() {
    let desk = Desk::new()
        .program("/bin/mkdir -p \"${CODEX_HOME:-$HOME/.codex}/tmp\" 2>&-; echo codex-cli 1.2.3");
    let before = desk.tree();
    let (exit, said) = desk.run("codex-manager doctor", &[]);
    assert_eq!(exit, Exit::Done, "{said}");
    assert!(said.starts_with("Codex\n  ok       codex-cli 1.2.3 is installed\n"), "{said}");
    assert!(
        said.ends_with(
            "Snapshots\n  note     there are no snapshots yet\n           codex-manager backup\n  \
         note     the live login is not stored\n           codex-manager backup --auth-only\n\
         nothing is wrong\n"
        ),
        "{said}"
    );
    assert_eq!(desk.tree(), before);

    desk.run("codex-manager backup --auth-only --without-status-check", &[]);
    let before = desk.tree();
    let (exit, said) = desk.run("codex-manager doctor", &[]);
    assert_eq!(exit, Exit::Done, "{said}");
    assert!(said.contains("  ok       the live login is stored\n"), "{said}");
    assert_eq!(desk.tree(), before);
}

#[test]
fn a_configuration_that_stops_every_other_command_is_a_finding_here() {
    let desk = Desk::new().file(".codex-manager/config.toml", "color = \"loud\"\n", 0o600);
    assert_eq!(desk.run("codex-manager list", &[]).0, Exit::Usage);
    let (exit, said) = desk.run("codex-manager doctor --json", &[]);
    assert_eq!(exit, Exit::Failed);
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["ok"], true);
    assert_eq!(said["data"]["worst"], "error");
    let findings = said["data"]["findings"].as_array().unwrap();
    let fault = findings.iter().find(|found| found["check"] == "configuration").unwrap();
    assert_eq!(fault["level"], "error");
    assert!(fault["what"].as_str().unwrap().contains("line 1, column 9"), "{fault}");
    assert!(findings.iter().any(|found| found["check"] == "login" && found["level"] == "ok"));
}

#[test]
fn an_odd_variable_is_a_finding_and_an_odd_flag_is_refused() {
    let desk = Desk::new();
    let (exit, said) = desk.run("codex-manager doctor", &[("CODEX_MANAGER_COLOR", "loud")]);
    assert_eq!(exit, Exit::Failed);
    assert!(said.contains("  error    the value of CODEX_MANAGER_COLOR does not fit"), "{said}");
    assert_eq!(desk.run("codex-manager doctor --tz Nowhere/Land", &[]).0, Exit::Usage);
}

#[test]
#[rustfmt::skip]
fn the_program_is_asked_for_its_version_and_may_not_take_long() {
    let told = |desk: Desk, patience| {
        let mut session = Session::new(Default::default(), desk.world(&[], Tape::default()));
        let places = session.places().unwrap();
        session.codex(&places).map(|path| version(&path, &session, Duration::from_millis(patience)))
    };
    let said = |script| told(Desk::new().program(script), 60_000).unwrap();
    assert_eq!(said("echo codex-cli 0.169.0; echo more"), Ok("codex-cli 0.169.0".to_owned()));
    assert_eq!(said("/bin/cat; test -d \"$CODEX_HOME\" || echo no home"), Ok("no home".to_owned()));
    assert_eq!(said("true"), Err("says nothing".to_owned()));
    assert_eq!(said("exit 3"), Err("failed (exit status: 3)".to_owned()));
    let slow = told(Desk::new().program("exec /bin/sleep 60"), 200).unwrap();
    assert_eq!(slow, Err("took longer than 0 s".to_owned()));
    assert!(told(Desk::new(), 0).is_err());
}

#[test]
fn the_program_that_was_set_is_asked_and_not_the_one_on_path() {
    let desk = Desk::new().program("echo codex-cli 1.0.0").file(
        "other/codex",
        "#!/bin/sh\necho codex-cli 2.0.0\n",
        0o755,
    );
    let ask =
        |named: &str| desk.run("codex-manager doctor", &[("CODEX_MANAGER_CODEX_PROGRAM", named)]).1;
    assert!(ask("").contains("ok       codex-cli 1.0.0 is installed\n"));
    assert!(ask("other/codex").contains("ok       codex-cli 2.0.0 is installed\n"));
    assert!(ask("~/other/codex").contains("ok       codex-cli 2.0.0 is installed\n"));
    assert!(ask("codex").contains("ok       codex-cli 1.0.0 is installed\n"));
    assert!(ask("codex-beta").contains("note     codex-beta is not on PATH\n"));
    assert!(ask("./bin").contains("warning  ~/bin is no program\n"));
}

#[test]
fn a_name_that_moves_the_cursor_is_shown_harmless() {
    let desk = Desk::new().file(".codex/a\u{1b}[2J.sqlite", "x", 0o600);
    let (_, said) = desk.run("codex-manager doctor", &[]);
    assert!(said.contains("~/.codex/a\\u{1b}[2J.sqlite is no SQLite database\n"), "{said}");
    assert!(said.ends_with("1 warning\n"), "{said}");
}
