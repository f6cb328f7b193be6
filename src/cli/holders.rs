//! Who stands in the way of a command that replaces something of Codex's?
//!
//! [`run`] plays such a command: it is refused while somebody uses the home (exit 3), with
//! `--wait` tried again once nobody does, and goes on with `--force`. No lock is held while it
//! waits. Nobody is ever ended.

use std::io::Write as _;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use chrono::TimeDelta;

use crate::cli::exit::Failure;
use crate::cli::picture::plain;
use crate::cli::session::{Places, Session};
use crate::cli::{Exit, Report};
use crate::codex::process::{self, Holder, Holders, Place, Role};
use crate::snapshot::backup::config_text;

/// How often is looked whether somebody still uses the home.
const GLANCE: Duration = Duration::from_millis(200);

/// What a command may do about those who use the home, besides giving up.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(crate) struct Wait {
    /// Wait until nobody uses the Codex home any more, or at most so many seconds
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        require_equals = true,
        conflicts_with_all = ["force", "dry_run"],
    )]
    wait: Option<Option<u32>>,
}

/// What is done about those who use the home.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    place: Place,
    /// Goes on regardless.
    force: bool,
    /// The background server does not stand in the way: it will be started anew.
    spares_server: bool,
    /// The command knows `--restart-server`.
    restarts: bool,
}

impl Guard {
    /// Nobody may use the home, unless `force` is set.
    pub(crate) fn new(places: &Places, force: bool, session: &Session) -> Self {
        Self { place: place(places, session), force, spares_server: false, restarts: false }
    }

    /// The command can have the background server started anew, and will if `spares_server`.
    pub(crate) fn restarting(self, spares_server: bool) -> Self {
        Self { spares_server, restarts: true, ..self }
    }

    /// Who stands in the way now.
    pub(crate) fn in_the_way(&self) -> Vec<Holder> {
        if self.force { Vec::new() } else { self.blocking(process::holders(&self.place).found) }
    }

    fn blocking(&self, found: Vec<Holder>) -> Vec<Holder> {
        blocking(found, self.spares_server)
    }

    /// Refuses while somebody uses the home: Codex would overwrite what is put in place, or go on
    /// with what it remembers.
    pub(crate) fn refuse(&self, places: &Places, session: &mut Session) -> Result<(), Failure> {
        let Holders { found, unseen, is_unknown, .. } = process::holders(&self.place);
        if is_unknown {
            session.warn("this system does not tell whether Codex is running; quit it before");
        }
        for unseen in unseen {
            session.warn(format!("{unseen} may use the home; what it has open cannot be seen"));
        }
        let found = self.blocking(found);
        if found.is_empty() {
            return Ok(());
        }
        let home = session.show(places.home.root());
        if self.force {
            let (each, verb) = (process::said(&found), verb(&found));
            session.warn(format!(
                "{each} {verb} using {home} and may overwrite what was put in place"
            ));
            return Ok(());
        }
        Err(refusal(found, &home, self.restarts))
    }
}

fn blocking(mut found: Vec<Holder>, spares_server: bool) -> Vec<Holder> {
    found.retain(|holder| !(spares_server && holder.role == Role::Background));
    found
}

/// Plays a command that replaces something: `once` is it, which refuses by its [`Guard`] or by
/// what it asks right before the rename. With `--wait` it is played again when nobody uses the
/// home any more; what it refused, it has not begun. With `spares_server` nobody waits for the background server.
pub(crate) fn run(
    args: Wait,
    spares_server: bool,
    session: &mut Session,
    mut once: impl FnMut(&mut Session) -> Result<Report, Failure>,
) -> Result<Report, Failure> {
    let limit = args.wait.map(|limit| limit.map(|seconds| Duration::from_secs(seconds.into())));
    let began = Instant::now();
    loop {
        match (once(session), limit) {
            (Err(failure), Some(limit)) if failure.exit == Exit::Running => {
                let left = limit.map(|limit| limit.saturating_sub(began.elapsed()));
                wait(left, spares_server, session)?;
            }
            (outcome, _) => return outcome,
        }
    }
}

/// Waits until nobody uses the home.
///
/// The run's instant moves on with it, or what is written down would be of the past.
fn wait(
    limit: Option<Duration>,
    spares_server: bool,
    session: &mut Session,
) -> Result<(), Failure> {
    let places = session.places()?;
    let place = place(&places, session);
    let began = Instant::now();
    let mut line = Waiting::new(session);
    let mut told = Vec::new();
    let outcome = loop {
        let found = blocking(process::holders(&place).found, spares_server);
        // Before anything else: what ends us may have ended them too, and is no reason to go on.
        if session.world.interrupted.load(Ordering::Relaxed) {
            let when = match found.as_slice() {
                [] => "before anything was done".to_owned(),
                found => format!("while {} was at work", process::said(found)),
            };
            let what = format!("nothing was changed: stopped {when}");
            break Err(Failure::new(Exit::Interrupted, what));
        }
        if found.is_empty() {
            // Whoever comes and goes again and again must not keep us busy.
            std::thread::sleep(GLANCE);
            break Ok(());
        }
        if limit.is_some_and(|limit| limit <= began.elapsed()) {
            break Err(refusal(found, &session.show(places.home.root()), false));
        }
        if told != found {
            line.tell(&found, session);
            told = found;
        }
        line.beat(began.elapsed(), session);
        std::thread::sleep(GLANCE);
    };
    line.clear(session);
    if let Ok(waited) = TimeDelta::from_std(began.elapsed()) {
        session.world.now += waited;
    }
    outcome
}

/// The home of a session, as `process` asks about it.
pub(crate) fn place(places: &Places, session: &Session) -> Place {
    // A configuration that cannot be read moves nothing; who reads it for more says so.
    let config = config_text(&places.home).unwrap_or_default();
    let databases = places.home.sqlite_home(&config, &session.surroundings());
    Place::new(&places.home, databases, std::process::id())
}

/// Names each holder with its remedy. `restarts` says that the background server could be started
/// anew instead of ended.
fn refusal(holders: Vec<Holder>, home: &str, restarts: bool) -> Failure {
    let (each, verb) = (process::said(&holders), verb(&holders));
    let remedies = process::remedies(&holders);
    let or = match restarts && holders.iter().any(|holder| holder.role == Role::Background) {
        true => ", or pass --restart-server to let Codex start its server anew",
        false => "",
    };
    let hint =
        format!("{remedies}, and try again{or}; --wait waits for that, --force goes on regardless");
    let failure = Failure::new(Exit::Running, format!("{each} {verb} using {home}")).hint(hint);
    Failure { holders, ..failure }
}

fn verb(found: &[Holder]) -> &'static str {
    if found.len() == 1 { "is" } else { "are" }
}

/// Says for whom we wait: a line for each change and, on a terminal, a sign of life below it.
struct Waiting {
    is_silent: bool,
    is_terminal: bool,
    beats: usize,
}

impl Waiting {
    /// The columns that a sign of life takes, with a `^C` that the terminal writes behind it. A bar
    /// would fill its line, and that would wrap.
    const COLUMNS: usize = 40;

    fn new(session: &Session) -> Self {
        let is_silent = session.global.quiet || session.global.json;
        Self { is_silent, is_terminal: session.world.terminals.err && !is_silent, beats: 0 }
    }

    fn tell(&self, found: &[Holder], session: &mut Session) {
        let text = format!("waiting for {}: {}", process::said(found), process::remedies(found));
        if !self.is_silent {
            self.clear(session);
            say(&format!("{}\n", plain(&text)), session);
        }
    }

    fn beat(&mut self, waited: Duration, session: &mut Session) {
        const SIGNS: [char; 4] = ['-', '\\', '|', '/'];
        if self.is_terminal {
            let sign = SIGNS.get(self.beats % SIGNS.len()).copied().unwrap_or_default();
            say(&format!("\r{sign} {} s (Ctrl-C ends it) ", waited.as_secs()), session);
            self.beats += 1;
        }
    }

    fn clear(&self, session: &mut Session) {
        if self.is_terminal && 0 < self.beats {
            say(&format!("\r{:width$}\r", "", width = Self::COLUMNS), session);
        }
    }
}

/// If standard error is gone, the exit code has to do.
fn say(text: &str, session: &mut Session) {
    let err = &mut session.world.err;
    drop(err.write_all(text.as_bytes()).and_then(|()| err.flush()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stops_us_stops_us_although_nobody_is_there_to_wait_for() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(".codex")).unwrap();
        let mut session = Session::of_test(dir.path());
        assert!(wait(None, false, &mut session).is_ok());
        session.world.interrupted.store(true, Ordering::Relaxed);
        assert_eq!(wait(None, false, &mut session).unwrap_err().exit, Exit::Interrupted);
    }

    #[test]
    fn a_refusal_names_each_holder_and_what_ends_it() {
        let found = vec![Holder::new(7, Role::Tui), Holder::new(8, Role::Background)];
        let Failure { exit, message, hint, .. } = refusal(found, "~/.codex", true);
        assert_eq!(exit, Exit::Running);
        let named = "codex (pid 7), the background server of codex (pid 8) are using ~/.codex";
        assert_eq!(message, named);
        let hint = hint.unwrap();
        assert!(hint.contains("pid 7: quit it with /quit; pid 8: end it"), "{hint}");
        assert!(hint.contains("--restart-server"), "{hint}");
        let hint = |found, restarts| refusal(found, "~/.codex", restarts).hint.unwrap();
        let (tui, server) = (Holder::new(7, Role::Tui), Holder::new(8, Role::Background));
        assert!(!hint(vec![tui], true).contains("--restart-server"));
        assert!(!hint(vec![server], false).contains("--restart-server"));
    }
}
