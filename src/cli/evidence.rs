//! What says the quota, and whose is it?

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::account::{AccountKey, Email};
use crate::cli::exit::{Exit, Failure};
use crate::cli::live::{self, Problem, Wish};
use crate::cli::session::{Places, Session};
use crate::codex::program::{self, Complaints, Limits, Output, RunError, Task};
use crate::codex::status::{self, MAX_BYTES, StatusText};
use crate::config::Settings;
use crate::disk::read;
use crate::overview::Overview;
use crate::quota::{Reading, Source};
use crate::snapshot::logins::Live;
use crate::window::{Credits, OtherLimit, Window};

/// How long a status command may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The environment of a run.
type Environment = BTreeMap<OsString, OsString>;

/// Where the quota is read from.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct Sources {
    /// Read the text of /status from a file, or from standard input (-)
    #[arg(long, value_name = "FILE", group = "evidence", help_heading = "Quota")]
    status_file: Option<PathBuf>,
    /// Read the text of /status from what a shell command prints
    #[arg(long, value_name = "COMMAND", group = "evidence", help_heading = "Quota")]
    status_command: Option<String>,
    /// The year of dates in the text, if it is not the nearest one
    #[arg(long, value_name = "YEAR", requires = "evidence", help_heading = "Quota")]
    #[arg(value_parser = clap::value_parser!(i32).range(1970..=9999))]
    reference_year: Option<i32>,
    /// Ask Codex itself, and fail if that does not work
    #[arg(long, conflicts_with_all = ["evidence", "offline"], help_heading = "Quota")]
    live: bool,
    /// Do not ask Codex; read what its newest session tells
    #[arg(long, help_heading = "Quota")]
    offline: bool,
}

/// What a source said.
#[derive(Clone, Debug)]
pub(crate) struct Evidence {
    pub(crate) windows: Vec<Window>,
    pub(crate) limit_reached: Option<bool>,
    pub(crate) credits: Option<Credits>,
    pub(crate) limits: Vec<OtherLimit>,
    pub(crate) plan: Option<String>,
    pub(crate) source: Source,
    pub(crate) observed_at: DateTime<Utc>,
    /// The account the text names.
    pub(crate) email: Option<Email>,
    /// Whose it is, where the source tells.
    pub(crate) owner: Option<AccountKey>,
    /// The text.
    pub(crate) text: Option<String>,
}

impl Evidence {
    /// The figures as a reading of `account`; `None` if the source had none.
    pub(crate) fn reading(&self, account: AccountKey, email: Option<Email>) -> Option<Reading> {
        let is_silent = self.windows.is_empty() && self.limits.is_empty();
        if is_silent && self.limit_reached.is_none() && self.credits.is_none() {
            return None;
        }
        Some(Reading {
            email,
            limit_reached: self.limit_reached,
            credits: self.credits.clone(),
            limits: self.limits.clone(),
            plan: self.plan.clone(),
            ..Reading::new(account, self.source, self.observed_at.into(), self.windows.clone())
        })
    }
}

/// What was found, and why Codex itself did not say it.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) evidence: Option<Evidence>,
    pub(crate) problem: Option<Problem>,
}

impl Found {
    /// What is gone by where Codex itself does not tell.
    pub(crate) fn instead(&self) -> &'static str {
        match &self.evidence {
            Some(_) => "these are from the newest session",
            None => "nothing else tells them",
        }
    }
}

/// A text, and when it was seen.
type Seen = (Vec<u8>, DateTime<Utc>);

impl Sources {
    /// Whether a text was named.
    pub(crate) fn is_text(&self) -> bool {
        self.status_file.is_some() || self.status_command.is_some()
    }

    /// Whether Codex itself is to be asked.
    pub(crate) fn wish(&self, settings: &Settings) -> Wish {
        match (self.live, self.is_text() || self.offline || !settings.status_live) {
            (true, _) => Wish::Insist,
            (false, true) => Wish::No,
            (false, false) => Wish::IfPossible,
        }
    }

    /// Asks the source that was named, else Codex itself about the live account if that is the
    /// wish, else the newest session file.
    pub(crate) fn read(
        &self,
        wish: Wish,
        session: &mut Session,
        places: &Places,
        known: &Overview,
        live: &Live,
    ) -> Result<Found, Failure> {
        if let Some((bytes, seen_at)) = self.text(session)? {
            let text = status::parse(&bytes, &places.zone, seen_at, self.reference_year)?;
            return Ok(Found { evidence: Some(of_text(text, seen_at)), problem: None });
        }
        let asked = match (wish, live::subject(live, places)) {
            (Wish::No, _) => None,
            (_, Ok(subject)) => Some(live::ask(subject, places, session)?),
            (_, Err(problem)) => Some(Err(problem)),
        };
        match asked {
            Some(Ok(evidence)) => Ok(Found { evidence: Some(evidence), problem: None }),
            Some(Err(problem)) if wish == Wish::Insist => Err(problem.into_failure()),
            asked => {
                let problem = asked.and_then(Result::err);
                let evidence = newest_session(session, known);
                Ok(Found { evidence, problem })
            }
        }
    }
    /// The text and when it was seen: a file when it was written, anything else now.
    fn text(&self, session: &mut Session) -> Result<Option<Seen>, Failure> {
        let now = session.world.now;
        let cap = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
        if let Some(command) = &self.status_command {
            let stop = &session.world.interrupted;
            let limits = Limits { bytes: cap, patience: PATIENCE, stop };
            return Ok(Some((run(command, &session.world.environment, limits)?, now)));
        }
        let Some(file) = &self.status_file else { return Ok(None) };
        if file == Path::new("-") {
            let mut bytes = Vec::new();
            let input = session.world.input.as_mut().take(cap + 1);
            { input }
                .read_to_end(&mut bytes)
                .map_err(|error| Failure::usage(format!("cannot read standard input: {error}")))?;
            return Ok(Some((bytes, now)));
        }
        let path = session.world.absolute(file);
        let bytes = read::bounded_following(&path, cap).map_err(|error| {
            Failure::usage(error.to_string())
                .hint("name a file that holds what /status shows, or - for standard input")
                .hinted(error.hint())
        })?;
        let written = std::fs::metadata(&path).and_then(|facts| facts.modified()).ok();
        // A clock that is ahead does not make a text of the future.
        let seen_at = written.map_or(now, |at| DateTime::<Utc>::from(at).min(now));
        Ok(Some((bytes, seen_at)))
    }
}

/// What the newest session file says; `None` if that is not surely about one account.
fn newest_session(session: &mut Session, known: &Overview) -> Option<Evidence> {
    let limits = known.limits.as_ref()?;
    let owner = known.owner().cloned();
    if owner.is_none() {
        session.warn(
            "the newest session does not tell whose quota it shows; it was not used. \
             `codex-manager status --status-file FILE` reads what /status shows",
        );
    }
    Some(Evidence {
        windows: limits.windows.clone(),
        limit_reached: limits.limit_reached,
        credits: None,
        limits: Vec::new(),
        plan: limits.plan.clone(),
        source: Source::Rollout,
        observed_at: limits.observed_at.instant(),
        email: None,
        owner: Some(owner?),
        text: None,
    })
}

fn of_text(text: StatusText, seen_at: DateTime<Utc>) -> Evidence {
    let mut windows = text.windows;
    // "Try again at" names no window; it counts as one of unknown length unless it is known.
    if let Some(reset) = text.limit_resets_at
        && !windows.iter().any(Window::is_used_up)
    {
        windows.push(Window { minutes: 0, used_percent: Some(100.0), resets_at: Some(reset) });
    }
    Evidence {
        windows,
        limit_reached: text.limit_reached,
        credits: None,
        limits: Vec::new(),
        plan: text.plan,
        source: Source::StatusText,
        observed_at: seen_at,
        email: text.email,
        owner: None,
        text: Some(text.text),
    }
}

/// What a shell command prints. It gets no input, and its errors go where ours go.
fn run(command: &str, environment: &Environment, limits: Limits<'_>) -> Result<Vec<u8>, Failure> {
    let (name, word) = if cfg!(windows) { ("cmd.exe", "/C") } else { ("sh", "-c") };
    let path = environment.get(OsStr::new("PATH")).map(OsString::as_os_str);
    // Where nobody says what PATH is, the system knows.
    let shell = program::find(Some(Path::new(name)), path).unwrap_or_else(|_| match name {
        "sh" => "/bin/sh".into(),
        name => name.into(),
    });
    Task::new(&shell, environment)
        .words([word, command])
        .complaints(Complaints::Shown)
        .output(limits)
        .and_then(Output::of_success)
        .map_err(|error| match error {
            RunError::Stopped => {
                Failure::new(Exit::Interrupted, "stopped while the status command ran")
            }
            error => Failure::usage(format!("the status command {error}"))
                .hint("run it by itself to see what it says, or pass --status-file FILE"),
        })
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    #[rustfmt::skip]
    fn a_command_says_something_or_why_not() {
        check("echo hello", false, 0,   "hello\n");
        check("echo $WORD", false, 0,   "said\n");
        check("exit 3",     false, 4,   "the status command failed (exit status: 3)");
        check("yes",        false, 4,   "the status command prints more than 64 bytes");
        check("sleep 60",   true,  130, "stopped while the status command ran");
    }

    #[track_caller]
    fn check(command: &str, is_stopped: bool, code: u8, says: &str) {
        let stop = AtomicBool::new(is_stopped);
        let limits = Limits { bytes: 64, patience: PATIENCE, stop: &stop };
        let environment = [("WORD".into(), "said".into())].into();
        let (text, found) = match run(command, &environment, limits) {
            Ok(bytes) => (String::from_utf8(bytes).unwrap(), 0),
            Err(failure) => (failure.message, failure.exit.code()),
        };
        assert_eq!((text.as_str(), found), (says, code), "{command}");
    }
}
