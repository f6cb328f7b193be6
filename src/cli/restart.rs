//! How does Codex's background server come to work as the account that was just signed in?
//!
//! It keeps the account that it was started with, so exchanging the login does nothing to it
//! (SPEC, "Running Codex"). With `--restart-server` it does not stand in the way, and when the
//! login is in its place Codex's own command starts it anew. We end nothing ourselves. No lock is
//! held meanwhile: a turn that is running is given a minute by Codex.

use std::path::PathBuf;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget};
use serde_json::{Value, json};

use crate::account::AccountKey;
use crate::cli::exit::Failure;
use crate::cli::holders::place;
use crate::cli::picture::plain;
use crate::cli::session::{Places, Session};
use crate::cli::{Data, Exit, Report};
use crate::codex::daemon::{self, Answer, PidFile};
use crate::codex::process::{self, Role};
use crate::codex::program::{Complaints, Limits, Output, RunError, Task};
use crate::snapshot::logins::Live;

/// How long Codex may take to say whether its server runs.
const QUESTION: Duration = Duration::from_secs(20);

/// How long it may take to start it anew; a turn that is running is given 60 seconds.
const RESTART: Duration = Duration::from_secs(150);

/// What of an answer is read, in bytes.
const CAP: u64 = 1 << 20;

/// With this code Codex ends when it does not know a command.
const UNKNOWN_COMMAND: i32 = 2;

/// What may be done about the background server.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(crate) struct Server {
    /// Let Codex start its background server anew, so that it works as the new account too
    #[arg(id = "restart_server", long = "restart-server")]
    is_asked: bool,
}

impl Server {
    /// Whether a server that runs is to be started anew.
    pub(crate) fn is_asked(self) -> bool {
        self.is_asked
    }
}

/// Plays a command that exchanges a login. `once` is it, and learns whether the server is to be
/// spared; when it went well, the server that ran is started anew, if that is wanted.
///
/// What is asked of Codex beforehand is whether it knows how to: once the login is exchanged it
/// is too late to find out that it does not.
pub(crate) fn around(
    args: Server,
    dry_run: bool,
    session: &mut Session,
    once: impl FnOnce(bool, &mut Session) -> Result<Report, Failure>,
) -> Result<Report, Failure> {
    let server = if args.is_asked { Running::find(dry_run, session)? } else { None };
    let mut report = once(server.is_some(), session)?;
    let mut told = json!(null);
    if let Some(server) = server {
        let old = server.pid;
        if dry_run {
            let line = format!("would start the background server (pid {old}) anew\n");
            report.text.push_str(&line);
            told = json!({ "before": old, "after": null, "restarted": false });
        } else {
            match server.restart(session) {
                Ok(new) => {
                    let who = plain(&works_as(&server.places));
                    let line = format!("the background server (pid {new}) works as {who} now\n");
                    report.text.push_str(&line);
                    told = json!({ "before": old, "after": new, "restarted": true });
                }
                Err(why) => {
                    session.warn(format!(
                        "the login is in its place, but the background server (pid {old}) was not \
                         started anew and may go on as the account before: {why}"
                    ));
                    report.text.push_str(
                        "run `codex app-server daemon restart`, which may say more, or `… stop`\n",
                    );
                    told = json!({ "before": old, "after": null, "restarted": false });
                    report.exit = Exit::Failed;
                }
            }
        }
    }
    if let Data::Value(Value::Object(data)) = &mut report.data {
        data.insert("server".to_owned(), told);
    }
    Ok(report)
}

/// A background server that runs, and the Codex that can start it anew.
struct Running {
    pid: u32,
    program: PathBuf,
    places: Places,
}

impl Running {
    /// The server of the home, if there is one. A dry run does not start Codex.
    fn find(dry_run: bool, session: &mut Session) -> Result<Option<Self>, Failure> {
        let places = session.places()?;
        let found = process::holders(&place(&places, session)).found;
        let server = found.into_iter().find(|holder| holder.role == Role::Background);
        let Some(pid) = server.map(|server| server.pid) else { return Ok(None) };
        let program = session.codex(&places).map_err(|error| {
            Failure::new(Exit::Failed, format!("nothing was changed: {error}")).hinted(error.hint())
        })?;
        let server = Self { pid, program, places };
        if !dry_run {
            server.refuse_if_it_cannot(session)?;
        }
        Ok(Some(server))
    }

    fn refuse_if_it_cannot(&self, session: &Session) -> Result<(), Failure> {
        let output = self.ask(daemon::VERSION, QUESTION, session);
        let cannot = |why: String| {
            let shown = session.show(&self.program);
            let message = format!("nothing was changed: {shown} {why}");
            Failure::new(Exit::Failed, message).hint(
                "update Codex, or end the server with `codex app-server daemon stop` and try again \
                 without --restart-server",
            )
        };
        match output {
            Ok(output) if output.status.code() == Some(UNKNOWN_COMMAND) => {
                Err(cannot("does not know the command `app-server daemon`".to_owned()))
            }
            // A server that does not answer is one more reason to start it anew.
            Ok(_) | Err(RunError::Slow(_)) => Ok(()),
            Err(RunError::Stopped) => {
                Err(Failure::new(Exit::Interrupted, "nothing was changed: Codex was being asked"))
            }
            Err(error) => Err(cannot(error.to_string())),
        }
    }

    /// Has Codex start it anew; answers the number of the process that is the server now, or what
    /// happened instead.
    fn restart(&self, session: &Session) -> Result<u32, String> {
        let line = Line::new(session);
        let output = self.ask(daemon::RESTART, RESTART, session).map_err(|why| why.to_string())?;
        let said = || last_line(&output.complained);
        if !output.status.success() {
            return Err(format!("Codex failed ({}){}", output.status, said()));
        }
        let answer = Answer::parse(&output.said).filter(|answer| answer.status == "restarted");
        let answer = answer.ok_or_else(|| format!("Codex does not say that it did{}", said()))?;
        let written = || PidFile::read(self.places.home.root()).map(|file| file.pid);
        let new = answer.pid.or_else(written).ok_or("Codex does not say which process it is")?;
        if new == self.pid {
            return Err("it is the same process as before".to_owned());
        }
        let output = self.ask(daemon::VERSION, QUESTION, session).map_err(|why| why.to_string())?;
        drop(line);
        let answer = Answer::parse(&output.said).filter(|_| output.status.success());
        match answer {
            Some(answer) if answer.status == "running" => Ok(new),
            _ => Err(format!("the new one (pid {new}) does not answer")),
        }
    }

    fn ask(
        &self,
        words: [&str; 3],
        patience: Duration,
        session: &Session,
    ) -> Result<Output, RunError> {
        let task = Task::new(&self.program, &session.world.environment)
            .words(words)
            .with("CODEX_HOME", self.places.home.root())
            .complaints(Complaints::Kept);
        task.output(Limits { bytes: CAP, patience, stop: &session.world.interrupted })
    }
}

/// Who is signed in now, for people.
fn works_as(places: &Places) -> String {
    match Live::read(&places.home) {
        Ok(Live::Login(file)) => {
            let email = file.email.as_ref().map(ToString::to_string);
            let email = email.or_else(|| file.key.as_ref().map(AccountKey::short_id));
            email.unwrap_or_else(|| "the login that is there".to_owned())
        }
        _ => "what auth.json says".to_owned(),
    }
}

/// `: ` and the last line that was complained of, for a person.
fn last_line(complained: &[u8]) -> String {
    let text = String::from_utf8_lossy(complained);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty());
    line.map_or_else(String::new, |line| format!(": {line}"))
}

/// The line that says what takes so long; it leaves when it is dropped.
struct Line(Option<ProgressBar>);

impl Line {
    fn new(session: &Session) -> Self {
        let global = &session.global;
        let wanted = session.world.terminals.err && !global.quiet && !global.json;
        Self(wanted.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_message("Codex starts its background server anew; a running turn has a minute");
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        }))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
