//! What does Codex itself say about an account's quota?
//!
//! `codex app-server` is asked over its standard streams, one JSON object a line, as an editor
//! does it: who is signed in, and what is left. Which account may be asked, and what the answer is
//! worth, is decided above; here a child is started and ended, and what it says is taken apart
//! ([`Dialogue`], which is pure). It works in a home of its own (`quiet`) in which it can
//! refresh nothing, or, if that is what is wanted, in the live one.

mod dialogue;
mod figures;
mod quiet;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

pub use self::dialogue::Dialogue;
pub use self::figures::{Answer, Figures, Trouble, Who};
pub use self::quiet::furnish;
use super::program::{Conversation, Heard, RunError, Task};

/// The least time that Codex gets to replace a login: whoever is ended in the middle of that
/// loses it.
const REFRESH_PATIENCE: Duration = Duration::from_secs(30);

/// How long Codex may take to end once it has answered.
const FAREWELL: Duration = Duration::from_secs(2);

/// How it may treat the login it is asked with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refresh {
    /// It cannot change anything: the home is one that [`furnish`] made.
    Never,
    /// It shall refresh the login in its home first.
    First,
}

/// Where and how Codex is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The program.
    pub program: &'a Path,
    /// What the user's programs find around them.
    pub environment: &'a BTreeMap<OsString, OsString>,
    /// The Codex home it works in: absolute, and without links in it.
    pub home: &'a Path,
    /// Whether it may refresh the login.
    pub refresh: Refresh,
    /// How long it may take, the refresh aside.
    pub patience: Duration,
    /// The instant of the run.
    pub now: DateTime<Utc>,
    /// Set when the user stops us.
    pub stop: &'a AtomicBool,
}

/// Why Codex gave no answer at all.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It did not run as it should.
    #[error("`codex app-server` {0}")]
    Run(#[from] RunError),
    /// It ended first.
    #[error("`codex app-server` ended without an answer{}", how(.0))]
    Ended(Option<ExitStatus>),
    /// It is at work somewhere else, so whatever it says is about something else.
    #[error("`codex app-server` works in another home than it was told")]
    OtherHome,
}

impl AskError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Run(RunError::Stopped) => None,
            Self::Run(RunError::Slow(_)) => Some(
                "give it more time: `codex-manager config set status.timeout_seconds 20`"
                    .to_owned(),
            ),
            Self::Run(_) => Some("run `codex --version` to see whether it works".to_owned()),
            Self::Ended(_) => Some(
                "Codex 0.118.0 or newer can do it; `codex --version` tells which this is"
                    .to_owned(),
            ),
            Self::OtherHome => Some(
                "name the program itself and not a script that sets CODEX_HOME: \
                 `codex-manager config set codex_program PATH`"
                    .to_owned(),
            ),
        }
    }
}

/// How it ended, behind the words that say that it did.
fn how(status: &Option<ExitStatus>) -> String {
    status.map_or_else(String::new, |status| format!(" ({status})"))
}

/// Asks it.
///
/// # Errors
///
/// [`AskError`]. What Codex could not find out is no error but in the answer.
pub fn ask(question: &Question<'_>) -> Result<Answer, AskError> {
    let mut dialogue = Dialogue::new(question.home, question.refresh, question.now);
    let mut talk = task(question).converse()?;
    let heard = listen(question, &mut dialogue, &mut talk);
    // It goes by itself when its input ends, and has its home in order then.
    let is_hurried = matches!(heard, Err(AskError::Run(_))) && !dialogue.is_refreshing();
    let farewell = if is_hurried { Duration::ZERO } else { FAREWELL };
    let status = talk.finish(Instant::now() + farewell);
    match heard {
        Err(AskError::Ended(_)) => Err(AskError::Ended(status)),
        Err(error) => Err(error),
        Ok(()) => dialogue.answer().ok_or(AskError::Ended(status)),
    }
}

fn task(question: &Question<'_>) -> Task {
    let environment = match question.refresh {
        Refresh::Never => quiet::environment(question.environment, question.home),
        Refresh::First => quiet::unlocked(question.environment, question.home),
    };
    let task = Task::new(question.program, &environment).words(["app-server"]);
    match question.refresh {
        // A folder whose settings nobody trusts.
        Refresh::Never => task.at(question.home),
        Refresh::First => task,
    }
}

/// Talks until everything that was asked is answered.
fn listen(
    question: &Question<'_>,
    dialogue: &mut Dialogue,
    talk: &mut Conversation,
) -> Result<(), AskError> {
    // While a login is being replaced nobody is hurried; Ctrl-C counts afterwards.
    let undisturbed = AtomicBool::new(false);
    let began = Instant::now();
    let mut refreshed_at = None;
    talk.say(&dialogue.opening());
    while !dialogue.is_over() {
        let is_replacing = dialogue.is_refreshing();
        let (since, patience, stop) = if is_replacing {
            (began, question.patience.max(REFRESH_PATIENCE), &undisturbed)
        } else {
            (*refreshed_at.get_or_insert_with(Instant::now), question.patience, question.stop)
        };
        match talk.hear(since + patience, patience, stop)? {
            Heard::Line(line) => {
                for reply in dialogue.hear(&line) {
                    talk.say(&reply);
                }
            }
            Heard::End => return Err(AskError::Ended(None)),
        }
        if dialogue.is_elsewhere() {
            return Err(AskError::OtherHome);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
