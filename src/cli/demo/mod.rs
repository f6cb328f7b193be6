//! `demo`: does it work here, and what is a day with it like?
//!
//! A throw-away home folder is made, the story is played in it by the very commands a person
//! would type, and the folder is removed again. Nothing of the user's own is read or written.

mod stage;
mod story;

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use serde_json::json;

use self::stage::Stage;
use self::story::Player;
use crate::cli::exit::Failure;
use crate::cli::picture::{FAINT, plain, styled};
use crate::cli::session::Session;
use crate::cli::{Exit, Report};
use crate::time::Zone;

/// Play the whole story in a throw-away folder
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Leave the folder there to look at, and say where it is
    #[arg(long)]
    keep: bool,
}

pub(crate) fn run(args: &Args, session: &mut Session) -> Result<Report, Failure> {
    let homes = [("--home", &session.global.home), ("--codex-home", &session.global.codex_home)];
    if let Some((flag, _)) = homes.into_iter().find(|(_, given)| given.is_some()) {
        return Err(Failure::usage(format!(
            "{flag} means nothing to the demo, which makes its own"
        )));
    }
    let zone = zone(session)?;
    let stage = Stage::set(&temporary(session), zone.clone(), args.keep)?;
    let folder = stage.folder();
    let mut player = Player::new(folder.clone(), zone, &session.world);
    let told = story::play(&stage, &mut player);
    let is_interrupted = session.world.interrupted.load(Ordering::Relaxed);
    let kept = stage.strike()?;
    if is_interrupted {
        let place = if kept { folder.display().to_string() } else { "gone again".to_owned() };
        let stopped = format!("the demo was stopped; its folder is {place}");
        return Err(Failure::new(Exit::Interrupted, stopped));
    }
    let exit = match told {
        Ok(()) => Exit::Done,
        // Before the first command there is nothing to show but the reason.
        Err(failure) if player.steps().is_empty() => return Err(failure),
        Err(failure) => {
            session.warn(format!("the story did not go as told: {}", failure.message));
            Exit::Failed
        }
    };
    let place = plain(&folder.to_string_lossy());
    let end = match (kept, exit) {
        (true, _) => format!("# The folder is kept: HOME={place}"),
        (false, Exit::Done) => "# That is all; the folder is gone again.".to_owned(),
        (false, _) => "# The story broke off here; the folder is gone again.".to_owned(),
    };
    let text = format!("{}\n{}\n", player.text(), styled(end, FAINT));
    let data = json!({ "steps": player.steps(), "folder": folder, "kept": kept });
    Ok(Report::new(&data, text).exit(exit))
}

/// `--tz`, else `TZ`, else the system's, else UTC. The configuration is the user's own.
fn zone(session: &Session) -> Result<Zone, Failure> {
    if let Some(name) = &session.global.tz {
        return name.parse().map_err(|error: crate::time::UnknownZone| {
            Failure::usage(error.to_string()).hint("name one such as Europe/Berlin")
        });
    }
    let variable = session.world.variable("TZ").and_then(|name| name.to_str());
    let named = variable.or(session.world.system_zone.as_deref());
    Ok(named.and_then(|name| name.parse().ok()).unwrap_or(Zone::UTC))
}

/// Where temporary files go.
fn temporary(session: &Session) -> PathBuf {
    let named = ["TMPDIR", "TEMP", "TMP"].iter().find_map(|name| session.world.variable(name));
    session.world.absolute(named.unwrap_or("/tmp".as_ref()).as_ref())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::ffi::OsString;
    use std::fs;
    use std::io::{self, Write};
    use std::path::Path;
    use std::rc::Rc;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use chrono::Utc;
    use serde_json::Value;

    use super::*;
    use crate::world::{Terminals, World};

    /// A user with homes of their own and an empty folder for temporary files.
    struct User {
        folder: tempfile::TempDir,
        interrupted: bool,
    }

    #[derive(Clone, Default)]
    struct Sink(Rc<RefCell<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Sink {
        fn text(&self) -> String {
            String::from_utf8(self.0.borrow().clone()).unwrap()
        }
    }

    impl User {
        fn new() -> Self {
            let user = Self { folder: tempfile::tempdir().unwrap(), interrupted: false };
            for folder in ["temp", "home/.codex/sessions", "home/.codex-manager"] {
                fs::create_dir_all(user.path(folder)).unwrap();
            }
            fs::write(user.path("home/.codex/auth.json"), "{}").unwrap();
            // Whoever reads this fails.
            fs::write(user.path("home/.codex-manager/config.toml"), "= nonsense").unwrap();
            user
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        /// Exit, standard output, standard error.
        fn run(&self, line: &str) -> (Exit, String, String) {
            let (out, err) = (Sink::default(), Sink::default());
            let world = World {
                now: Utc::now(),
                environment: BTreeMap::from([
                    ("TMPDIR".into(), self.path("temp").into()),
                    // Nobody of whom a Codex could tell anything is signed in here.
                    ("CODEX_MANAGER_STATUS_LIVE".into(), "false".into()),
                    ("CODEX_HOME".into(), self.path("home/.codex").into()),
                    ("CODEX_MANAGER_HOME".into(), self.path("home/.codex-manager").into()),
                ]),
                user_home: Some(self.path("home")),
                folder: self.path("home"),
                system_zone: Some("Europe/Berlin".to_owned()),
                input: Box::new(io::empty()),
                out: Box::new(out.clone()),
                err: Box::new(err.clone()),
                terminals: Terminals::default(),
                width: None,
                host: None,
                interrupted: Arc::new(AtomicBool::new(self.interrupted)),
                clock: crate::world::patient_clock(),
            };
            let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
            let exit = crate::cli::run(&words, world);
            (exit, out.text(), err.text())
        }
    }

    /// Every path below a folder, with what is in the files and when it changed.
    fn tree(folder: &Path) -> Vec<String> {
        let walk = crate::disk::tree::walk(folder, &mut |_| crate::disk::tree::Visit::Take);
        let nodes = walk.unwrap().nodes;
        nodes.iter().map(|node| format!("{node:?}")).collect()
    }

    #[test]
    fn the_story_goes_as_told_and_leaves_nothing_behind() {
        let user = User::new();
        let before = tree(&user.path("home"));
        let (exit, out, err) = user.run("codex-manager demo");
        assert_eq!((exit, err.as_str()), (Exit::Done, ""), "{out}");
        for told in [
            "$ codex-manager recommend --why\ncleo@example.com\n",
            "3 snapshots: 2 ok, 1 corrupt, ",
            "(exit 5)\n",
            "# checked: 3 session files and 6 database rows are back, each as it was\n",
            "the folder is gone again",
        ] {
            assert!(out.contains(told), "{told:?} is missing in\n{out}");
        }
        assert!(!out.contains('\u{1b}'), "colour without a terminal");
        assert!(out.lines().all(|line| line.chars().count() <= 100), "{out}");
        assert_eq!(tree(&user.path("temp")), [""; 0]);
        assert_eq!(tree(&user.path("home")), before);
    }

    #[test]
    fn json_tells_every_command_with_its_exit() {
        let user = User::new();
        let (exit, out, _) = user.run("codex-manager demo --json --tz Asia/Kathmandu");
        assert_eq!(exit, Exit::Done, "{out}");
        let document: Value = serde_json::from_str(&out).unwrap();
        let steps = document["data"]["steps"].as_array().unwrap();
        let told: Vec<String> = steps
            .iter()
            .map(|step| format!("{} {}", step["command"].as_str().unwrap(), step["exit"]))
            .collect();
        assert_eq!(
            told,
            [
                "codex-manager normalize ~/old-logins --adopt 0",
                "codex-manager backup 0",
                "codex-manager backup 0",
                "codex-manager list 0",
                "codex-manager cooldown 0",
                "codex-manager recommend --why 0",
                "codex-manager use cleo 0",
                "codex-manager verify --all 5",
                "codex-manager restore --account bob --yes 0",
                "codex-manager verify --account bob 0",
            ]
        );
        assert!(steps.iter().all(|step| step["stderr"] == ""), "{out}");
        assert!(!Path::new(document["data"]["folder"].as_str().unwrap()).exists());
    }

    #[test]
    fn a_kept_folder_holds_the_restored_home() {
        let user = User::new();
        let (exit, out, _) = user.run("codex-manager demo --keep");
        assert_eq!(exit, Exit::Done, "{out}");
        let folder = out.lines().last().unwrap().split_once("HOME=").unwrap().1;
        let folder = Path::new(folder);
        assert!(folder.starts_with(user.path("temp").canonicalize().unwrap()));
        assert!(folder.join(".codex/sessions").is_dir());
        assert!(folder.join(".codex-manager/backups").is_dir());
    }

    #[test]
    fn an_interrupted_demo_leaves_nothing_behind() {
        let user = User { interrupted: true, ..User::new() };
        let (exit, out, err) = user.run("codex-manager demo");
        assert_eq!((exit, out.as_str()), (Exit::Interrupted, ""), "{err}");
        assert_eq!(tree(&user.path("temp")), [""; 0]);
    }

    #[test]
    #[rustfmt::skip]
    fn what_the_demo_cannot_use_is_said() {
        let user = User::new();
        check(&user, "--home /tmp",       Exit::Usage,  "--home means nothing");
        check(&user, "--codex-home /tmp", Exit::Usage,  "--codex-home means nothing");
        check(&user, "--tz Mars/Base",    Exit::Usage,  "Mars/Base");
        fs::remove_dir(user.path("temp")).unwrap();
        check(&user, "",                  Exit::Failed, "hint: name another one with TMPDIR");
        assert!(!user.path("temp").exists());
    }

    #[track_caller]
    fn check(user: &User, flags: &str, expected: Exit, told: &str) {
        let (exit, _, err) = user.run(&format!("codex-manager demo {flags}"));
        assert_eq!(exit, expected, "{err}");
        assert!(err.contains(told), "{err}");
    }
}
