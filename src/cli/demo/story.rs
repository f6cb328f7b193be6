//! Which commands are played, and how has each to end?
//!
//! The commands run in this process, each in a [`World`] of its own: its home is the stage, its
//! streams are kept, and a minute passes from one to the next. Nothing of the user's
//! environment reaches them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::stage::{Holdings, Person, Stage, Work};
use crate::cli::exit::{Exit, Failure};
use crate::cli::picture::{FAINT, GOOD, STRONG, count, styled};
use crate::time::Zone;
use crate::world::{Terminals, World};

/// The story stays readable where nobody says how wide it may be.
const WIDTH: usize = 100;

const ADA: Person = Person("ada");
const BOB: Person = Person("bob");
const CLEO: Person = Person("cleo");

/// What one command did.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Step {
    command: String,
    exit: u8,
    stdout: String,
    stderr: String,
}

/// Plays commands and remembers what was seen.
pub(super) struct Player {
    home: PathBuf,
    zone: Zone,
    width: usize,
    now: DateTime<Utc>,
    interrupted: Arc<AtomicBool>,
    text: String,
    steps: Vec<Step>,
}

/// Plays everything, from the older tool's files to a restored home.
///
/// # Errors
///
/// When a command does not end as the story tells, when what comes back is not what was there,
/// or when the stage cannot be changed.
pub(super) fn play(stage: &Stage, player: &mut Player) -> Result<(), Failure> {
    let began = player.now;
    let ago = |days, hours| began - TimeDelta::days(days) - TimeDelta::hours(hours);
    let resets = began + TimeDelta::days(3) + TimeDelta::hours(4);
    let by_ada = |prompt, at, used| Work { by: ADA, prompt, at, used, week_resets_at: resets };
    stage.old_login(CLEO, ago(9, 0))?;
    stage.sign_in(ADA, ago(3, 0))?;
    stage.work(&by_ada("the parser", ago(1, 2), 64.0))?;
    stage.work(&by_ada("the tests of the parser", ago(0, 2), 100.0))?;

    player.remark("All of this happens in a throw-away folder: ~ is not your home.");
    player.heading("The older tool left a login of Cleo's; take it over");
    player.run("codex-manager normalize ~/old-logins --adopt", Exit::Done)?;

    player.heading("Ada is signed in, and her week is used up; store everything");
    player.run("codex-manager backup", Exit::Done)?;

    player.heading("Bob signs in with `codex login` and works; store that too");
    stage.sign_in(BOB, player.now)?;
    let week_resets_at = player.now + TimeDelta::days(6);
    let (by, prompt, at) = (BOB, "the manual", player.now);
    stage.work(&Work { by, prompt, at, used: 12.0, week_resets_at })?;
    let before = stage.holdings()?;
    player.run("codex-manager backup", Exit::Done)?;
    player.run("codex-manager list", Exit::Done)?;

    player.heading("Who may work, who is next, and why?");
    player.run("codex-manager cooldown", Exit::Done)?;
    player.run("codex-manager recommend --why", Exit::Done)?;
    player.run("codex-manager use cleo", Exit::Done)?;

    player.heading(
        "Damage: one bit of Ada's archive flips, and ~/.codex loses sessions and databases",
    );
    stage.flip_a_bit(ADA)?;
    stage.lose_work()?;
    player.check("nothing is left of the work", stage.holdings()? == Holdings::default())?;
    player.run("codex-manager verify --all", Exit::Refused)?;
    player.run("codex-manager restore --account bob --yes", Exit::Done)?;
    player.check(&told(&before), stage.holdings()? == before && is_whole(&before))?;
    player.run("codex-manager verify --account bob", Exit::Done)
}

/// Both accounts' work is there, and every row names a file that is.
fn is_whole(holdings: &Holdings) -> bool {
    let sessions = &holdings.sessions;
    sessions.len() == 3
        && holdings.threads.len() == 3
        && holdings.threads.values().all(|file| sessions.contains_key(file))
        && holdings.memories.len() == 3
}

fn told(holdings: &Holdings) -> String {
    let sessions = count(u64::try_from(holdings.sessions.len()).unwrap_or(0), "session file");
    let rows = holdings.threads.len() + holdings.memories.len();
    let rows = count(u64::try_from(rows).unwrap_or(0), "database row");
    format!("{sessions} and {rows} are back, each as it was")
}

impl Player {
    /// Begins at the instant of the outer run; what that one shall stop, stops these too.
    pub(super) fn new(home: PathBuf, zone: Zone, outer: &World) -> Self {
        Self {
            home,
            zone,
            width: outer.width.unwrap_or(WIDTH).min(WIDTH),
            now: outer.now,
            interrupted: Arc::clone(&outer.interrupted),
            text: String::new(),
            steps: Vec::new(),
        }
    }

    /// All that was seen so far, with styles.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    fn heading(&mut self, text: &str) {
        self.text.push_str(&format!("\n{}\n", styled(format!("# {text}"), STRONG)));
    }

    fn remark(&mut self, text: &str) {
        self.text.push_str(&format!("{}\n", styled(format!("# {text}"), FAINT)));
    }

    /// Says that something holds, once it was looked at.
    fn check(&mut self, claim: &str, holds: bool) -> Result<(), Failure> {
        if !holds {
            return Err(Failure::new(Exit::Failed, format!("it is not so that {claim}")));
        }
        self.text.push_str(&format!("{}\n", styled(format!("# checked: {claim}"), GOOD)));
        Ok(())
    }

    /// Runs a command line as if a person had typed it.
    fn run(&mut self, command: &str, expected: Exit) -> Result<(), Failure> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Failure::new(Exit::Interrupted, "the demo was stopped"));
        }
        let screen = Screen::default();
        let words: Vec<OsString> = command.split_whitespace().map(OsString::from).collect();
        let exit = crate::cli::run(&words, self.world(&screen));
        self.now += TimeDelta::minutes(1);

        self.text.push_str(&format!("$ {command}\n{}", screen.text(None)));
        if exit != Exit::Done {
            self.text.push_str(&format!("{}\n", styled(format!("(exit {})", exit.code()), FAINT)));
        }
        let bare = |stream| anstream::adapter::strip_str(&screen.text(Some(stream))).to_string();
        self.steps.push(Step {
            command: command.to_owned(),
            exit: exit.code(),
            stdout: bare(Stream::Out),
            stderr: bare(Stream::Err),
        });
        if exit == expected {
            return Ok(());
        }
        let (found, expected) = (exit.code(), expected.code());
        Err(Failure::new(Exit::Failed, format!("`{command}` ended with {found}, not {expected}")))
    }

    fn world(&self, screen: &Screen) -> World {
        World {
            now: self.now,
            environment: BTreeMap::from([("TZ".into(), self.zone.to_string().into())]),
            user_home: Some(self.home.clone()),
            folder: self.home.clone(),
            system_zone: None,
            input: Box::new(io::empty()),
            out: Box::new(screen.stream(Stream::Out)),
            err: Box::new(screen.stream(Stream::Err)),
            // Styles are written, and taken out again where the outer run wants none.
            terminals: Terminals { input: false, out: true, err: false },
            width: Some(self.width),
            host: None,
            interrupted: Arc::clone(&self.interrupted),
            clock: crate::world::patient_clock(),
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stream {
    Out,
    Err,
}

/// What one call wrote.
type Piece = (Stream, Vec<u8>);

/// What both streams of a command wrote, in the order in which they did.
#[derive(Clone, Debug, Default)]
struct Screen(Rc<RefCell<Vec<Piece>>>);

/// One stream's way to the screen.
struct Writer {
    screen: Screen,
    stream: Stream,
}

impl Screen {
    fn stream(&self, stream: Stream) -> Writer {
        Writer { screen: self.clone(), stream }
    }

    /// What one stream wrote, or both.
    fn text(&self, only: Option<Stream>) -> String {
        let pieces = self.0.borrow();
        let wanted = pieces.iter().filter(|(stream, _)| only.is_none_or(|only| only == *stream));
        let bytes: Vec<u8> = wanted.flat_map(|(_, bytes)| bytes).copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.screen.0.borrow_mut().push((self.stream, bytes.to_vec()));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_ends_otherwise_than_told_breaks_the_story_and_stays_in_sight() {
        let home = tempfile::tempdir().unwrap();
        let mut player = Player {
            home: home.path().to_owned(),
            zone: Zone::UTC,
            width: WIDTH,
            now: Utc::now(),
            interrupted: Arc::default(),
            text: String::new(),
            steps: Vec::new(),
        };
        let failure = player.run("codex-manager backup", Exit::Done).unwrap_err();
        assert_eq!(failure.message, "`codex-manager backup` ended with 4, not 0");
        let [step] = player.steps() else { panic!("one step") };
        assert_eq!((step.exit, step.stdout.as_str()), (4, ""));
        assert!(step.stderr.starts_with("error: "), "{}", step.stderr);
        assert!(player.text().starts_with("$ codex-manager backup\n"));
        assert!(player.text().ends_with("(exit 4)\u{1b}[0m\n"), "{:?}", player.text());
        assert!(player.check("there is more", false).is_err());
    }
}
