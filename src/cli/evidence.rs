//! What says the quota, and whose is it?

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::account::{AccountKey, Email};
use crate::cli::exit::{Exit, Failure};
use crate::cli::session::{Places, Session};
use crate::codex::status::{self, MAX_BYTES, StatusText};
use crate::disk::read;
use crate::overview::{self, Overview};
use crate::quota::{Reading, Source};
use crate::snapshot::logins::Live;
use crate::window::Window;

/// How long a status command may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long its output may stay open when it has ended.
const AFTERWARDS: Duration = Duration::from_secs(2);

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
}

/// What a source said.
#[derive(Clone, Debug)]
pub(crate) struct Evidence {
    pub(crate) windows: Vec<Window>,
    pub(crate) limit_reached: Option<bool>,
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
        if self.windows.is_empty() && self.limit_reached.is_none() {
            return None;
        }
        Some(Reading {
            email,
            limit_reached: self.limit_reached,
            plan: self.plan.clone(),
            ..Reading::new(account, self.source, self.observed_at.into(), self.windows.clone())
        })
    }
}

/// A text, and when it was seen.
type Seen = (Vec<u8>, DateTime<Utc>);

impl Sources {
    /// Whether a text was named.
    pub(crate) fn is_text(&self) -> bool {
        self.status_file.is_some() || self.status_command.is_some()
    }

    /// Asks the source that was named, else the newest session file; `None` if that says nothing
    /// that is surely about one account.
    pub(crate) fn read(
        &self,
        session: &mut Session,
        places: &Places,
        known: &Overview,
        live: &Live,
    ) -> Result<Option<Evidence>, Failure> {
        if let Some((bytes, seen_at)) = self.text(session)? {
            let text = status::parse(&bytes, &places.zone, seen_at, self.reference_year)?;
            return Ok(Some(of_text(text, seen_at)));
        }
        let Some(limits) = &known.limits else { return Ok(None) };
        let owner = overview::owner(limits, live, &known.ledger, &places.home);
        if owner.is_none() {
            session.warn(
                "the newest session does not tell whose quota it shows; it was not used. \
                 `codex-manager status --status-file FILE` reads what /status shows",
            );
        }
        Ok(owner.map(|owner| Evidence {
            windows: limits.windows.clone(),
            limit_reached: limits.limit_reached,
            plan: limits.plan.clone(),
            source: Source::Rollout,
            observed_at: limits.observed_at.instant(),
            email: None,
            owner: Some(owner),
            text: None,
        }))
    }

    /// The text and when it was seen: a file when it was written, anything else now.
    fn text(&self, session: &mut Session) -> Result<Option<Seen>, Failure> {
        let now = session.world.now;
        let cap = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
        if let Some(command) = &self.status_command {
            let stop = std::sync::Arc::clone(&session.world.interrupted);
            return Ok(Some((run(command, cap, PATIENCE, &stop)?, now)));
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
        plan: text.plan,
        source: Source::StatusText,
        observed_at: seen_at,
        email: text.email,
        owner: None,
        text: Some(text.text),
    }
}

/// What a shell command prints. It gets no input, and its errors go where ours go.
///
/// It runs in a process group of its own, so that all of it ends when its time is up or the user
/// stops us. What it leaves running in the background when it ends by itself is left alone, and
/// not waited for.
fn run(command: &str, cap: u64, patience: Duration, stop: &AtomicBool) -> Result<Vec<u8>, Failure> {
    let failed = |what: String| {
        Failure::usage(format!("the status command {what}"))
            .hint("run it by itself to see what it says, or pass --status-file FILE")
    };
    let mut child = shell(command)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(format!("cannot be started: {error}")))?;
    let output = child.stdout.take();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = output.map(|output| output.take(cap.saturating_add(1)).read_to_end(&mut bytes));
        // Who gave up waiting does not listen any more.
        let _unheard = tell.send(read.transpose().map(|_| bytes));
    });
    let began = Instant::now();
    let status = loop {
        let is_stopped = stop.load(Ordering::Relaxed);
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if !is_stopped && began.elapsed() < patience => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Ok(None) => {
                end(&mut child);
                return Err(if is_stopped {
                    Failure::new(Exit::Interrupted, "stopped while the status command ran")
                } else {
                    failed(format!("took longer than {} s", patience.as_secs()))
                });
            }
            Err(error) => return Err(failed(format!("was lost: {error}"))),
        }
    };
    // Something it left in the background may hold its output open for ever.
    let said = told.recv_timeout(AFTERWARDS);
    let is_too_long = |bytes: &Vec<u8>| cap < u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    match said {
        Ok(Ok(bytes)) if is_too_long(&bytes) => {
            Err(failed(format!("prints more than {cap} bytes")))
        }
        _ if !status.success() => Err(failed(format!("failed ({status})"))),
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => Err(failed(format!("cannot be read: {error}"))),
        Err(_) => Err(failed("ended, but something it started keeps its output open".to_owned())),
    }
}

#[cfg(unix)]
fn shell(command: &str) -> Command {
    use std::os::unix::process::CommandExt as _;
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).process_group(0);
    shell
}

#[cfg(not(unix))]
fn shell(command: &str) -> Command {
    let mut shell = Command::new("cmd");
    shell.args(["/C", command]);
    shell
}

/// Ends a command that is still running, with what it started.
fn end(child: &mut Child) {
    // Until it is waited for, its number is nobody else's, and so is its group's.
    #[cfg(unix)]
    let killed = {
        let group = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
        let kill = rustix::process::kill_process_group;
        group.is_some_and(|group| kill(group, rustix::process::Signal::KILL).is_ok())
    };
    #[cfg(not(unix))]
    let killed = false;
    let done = if killed { Ok(()) } else { child.kill() };
    drop(done.and_then(|()| child.wait())); // It is given up either way.
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    const CAP: u64 = 64;
    const BRIEF: Duration = Duration::from_millis(300);

    fn ran(command: &str) -> (String, u8, Duration) {
        let began = Instant::now();
        let answer = run(command, CAP, BRIEF, &AtomicBool::new(false));
        let (text, code) = match answer {
            Ok(bytes) => (String::from_utf8(bytes).unwrap(), 0),
            Err(failure) => (failure.message, failure.exit.code()),
        };
        (text, code, began.elapsed())
    }

    #[test]
    #[rustfmt::skip]
    fn a_command_says_something_or_why_not() {
        check("echo hello",                    0, "hello\n");
        check("exit 3",                        4, "failed (exit status: 3)");
        check("kill -9 $$",                    4, "failed (signal: 9");
        check("yes",                           4, "prints more than 64 bytes");
        check("sleep 60",                      4, "took longer than 0 s");
        check("sleep 60 | cat; echo late",     4, "took longer than 0 s");
        check("sleep 4 & echo early",          4, "keeps its output open");
    }

    #[track_caller]
    fn check(command: &str, code: u8, says: &str) {
        let (text, found, took) = ran(command);
        assert_eq!(found, code, "{command}: {text}");
        assert!(text.contains(says), "{command}: {text}");
        assert!(took < Duration::from_secs(20), "{command}: {took:?}");
    }

    #[test]
    fn when_its_time_is_up_all_that_it_started_ends() {
        let folder = tempfile::tempdir().unwrap();
        let number = folder.path().join("pid");
        let line = format!("sleep 60 & echo $! > {}; wait", number.display());
        assert_eq!(ran(&line).1, 4);
        let text = std::fs::read_to_string(&number).unwrap();
        let pid = rustix::process::Pid::from_raw(text.trim().parse().unwrap()).unwrap();
        let began = Instant::now();
        // Whoever inherits the orphan waits for it a moment later; until then it is a zombie.
        let ended = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", text.trim()));
            rustix::process::test_kill_process(pid).is_err()
                || stat.is_ok_and(|stat| stat.contains(") Z "))
        };
        while !ended() {
            assert!(began.elapsed() < Duration::from_secs(10), "{pid:?} is still there");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn who_stops_us_stops_the_command() {
        let stopped = run("sleep 60", CAP, PATIENCE, &AtomicBool::new(true)).unwrap_err();
        assert_eq!(stopped.exit.code(), 130);
    }
}
