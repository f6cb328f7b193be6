//! What does Codex itself say of one account, and may it be asked?
//!
//! It is asked for one account at a time and only because a person typed a command: for the one
//! that is signed in, or for the one that was named. Read-only it works in a private home with a
//! copy of the login; only `status --refresh` lets it work with the login itself.

use serde::Serialize;

use crate::account::AccountKey;
use crate::cli::evidence::Evidence;
use crate::cli::exit::{Exit, Failure};
use crate::cli::progress::Waiting;
use crate::cli::session::{Places, Session};
use crate::codex::app_server::{self, Answer, AskError, Question, Refresh, Trouble};
use crate::codex::auth::{AuthFile, Mode};
use crate::codex::program::{ProgramError, RunError};
use crate::overview::Overview;
use crate::quota::Source;
use crate::snapshot::backup;
use crate::snapshot::drill::Scratch;
use crate::snapshot::logins::Live;
use crate::snapshot::switch::elsewhere;

/// Whether Codex is to be asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Wish {
    /// It is not.
    No,
    /// If that can be done; otherwise something else will do.
    IfPossible,
    /// Nothing else will do.
    Insist,
}

/// A login that Codex is asked with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) file: &'a AuthFile,
    pub(crate) key: &'a AccountKey,
    /// Whether it is the one in the Codex home.
    pub(crate) is_live: bool,
}

impl Subject<'_> {
    fn label(&self) -> String {
        self.file.email.as_ref().map_or_else(|| self.key.short_id(), ToString::to_string)
    }
}

/// Why there are no live figures.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Problem {
    /// The word for it.
    kind: &'static str,
    /// What happened.
    message: String,
    /// What to do about it.
    hint: Option<String>,
    /// Whether there was nobody to ask about, which other words say already.
    #[serde(skip)]
    is_idle: bool,
}

impl Problem {
    pub(crate) fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, is_idle: false }
    }

    fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    fn idle(self) -> Self {
        Self { is_idle: true, ..self }
    }

    /// Whether a person would want to hear of it who did not insist.
    pub(crate) fn is_news(&self) -> bool {
        !self.is_idle
    }

    /// Whether there is no Codex on this machine, as far as anybody said.
    pub(crate) fn is_no_program(&self) -> bool {
        self.kind == "no-program"
    }

    /// The same for somebody who goes on with `instead`.
    pub(crate) fn told(&self, instead: &str) -> String {
        let hint = self.hint.as_ref().map_or_else(String::new, |hint| format!(" ({hint})"));
        format!("no live figures: {}; {instead}{hint}", self.message)
    }

    /// The same for somebody who insisted.
    pub(crate) fn into_failure(self) -> Failure {
        let message = format!("no live figures: {}", self.message);
        Failure::new(Exit::Failed, message).hinted(self.hint)
    }
}

/// The login in the Codex home, if Codex can be asked with it.
pub(crate) fn subject<'a>(live: &'a Live, places: &Places) -> Result<Subject<'a>, Problem> {
    let config = backup::config_text(&places.home).unwrap_or_default();
    if let Some(place) = elsewhere(&config, live) {
        let message = format!("Codex keeps its login in {place}, where it cannot be copied from");
        return Err(Problem::new("login-elsewhere", message)
            .hint("`codex-manager status --status-file FILE` reads what /status shows"));
    }
    match live {
        Live::Login(AuthFile { mode: Mode::ApiKey, .. }) => {
            let message = "an API key is signed in, which has no quota windows";
            Err(Problem::new("api-key", message).idle())
        }
        Live::Login(file) => match &file.key {
            Some(key) => Ok(Subject { file, key, is_live: true }),
            None => Err(nobody()),
        },
        Live::Absent | Live::Orphan { .. } => Err(nobody()),
    }
}

fn nobody() -> Problem {
    Problem::new("signed-out", "nobody is signed in").hint("sign in with `codex login`").idle()
}

/// Asks Codex what is left to an account, in a private home in which it can change nothing.
///
/// The inner error is what stood in the way; the outer one ends the command: the user stopped it.
pub(crate) fn ask(
    subject: Subject<'_>,
    places: &Places,
    session: &mut Session,
) -> Result<Result<Evidence, Problem>, Failure> {
    let now = session.world.now;
    if subject.file.login.expires_at.is_some_and(|at| at.instant() <= now) {
        let problem = Problem::new("token-expired", "the access token has expired");
        return Ok(Err(problem.hint(renewal(subject))));
    }
    let program = match session.codex(places) {
        Ok(program) => program,
        Err(error) => return Ok(Err(no_program(&error))),
    };
    places.store.refuse_foreign()?;
    let broken = |error: &dyn std::fmt::Display| Problem::new("disk", error.to_string());
    let scratch = match Scratch::make(&places.store) {
        Ok(scratch) => scratch,
        Err(error) => return Ok(Err(broken(&error))),
    };
    let config = match backup::config_text(&places.home) {
        Ok(config) => config,
        Err(error) => return Ok(Err(broken(&error))),
    };
    let home = scratch.home();
    if let Err(error) = app_server::furnish(&home, &subject.file.for_reading(), &config) {
        return Ok(Err(broken(&error)));
    }
    let question = Question {
        program: &program,
        environment: &session.world.environment,
        home: &home,
        refresh: Refresh::Never,
        patience: places.settings.status_timeout,
        now,
        stop: &session.world.interrupted,
    };
    let waiting = Waiting::on("asking Codex", session);
    let answer = app_server::ask(&question);
    drop(waiting);
    if let Err(error) = scratch.remove() {
        session.warn(format!("a private copy is still there: {error}"));
    }
    judge(answer, subject, session)
}

/// Has Codex refresh the live login where it lies, and asks it what is left.
pub(crate) fn refresh(
    subject: Subject<'_>,
    places: &Places,
    session: &mut Session,
) -> Result<Result<Evidence, Problem>, Failure> {
    refuse_to_lose(places, session)?;
    let program = match session.codex(places) {
        Ok(program) => program,
        Err(error) => return Ok(Err(no_program(&error))),
    };
    let question = Question {
        program: &program,
        environment: &session.world.environment,
        home: places.home.root(),
        refresh: Refresh::First,
        patience: places.settings.status_timeout,
        now: session.world.now,
        stop: &session.world.interrupted,
    };
    let waiting = Waiting::on("Codex refreshes its login", session);
    let answer = app_server::ask(&question);
    drop(waiting);
    judge(answer, subject, session)
}

/// Codex 0.169.0 does not write a login that has a second name or must not be written to, and says
/// nothing: the new tokens would be gone and the old ones spent.
fn refuse_to_lose(places: &Places, session: &Session) -> Result<(), Failure> {
    let path = places.home.auth();
    let Ok(facts) = std::fs::metadata(&path) else { return Ok(()) };
    let shown = session.show(&path);
    #[cfg(unix)]
    if 1 < std::os::unix::fs::MetadataExt::nlink(&facts) {
        return Err(Failure::new(
            Exit::Refused,
            format!("{shown} has a second name (hard link): Codex would lose the refreshed login"),
        )
        .hint(format!(
            "make it a file of its own: cp -p {shown} {shown}.own && mv {shown}.own {shown}"
        )));
    }
    if facts.permissions().readonly() {
        return Err(Failure::new(
            Exit::Refused,
            format!("{shown} is read-only: Codex would lose the refreshed login"),
        )
        .hint(format!("chmod u+w {shown}")));
    }
    Ok(())
}

/// What an answer is worth: it has to be about the account that was meant.
fn judge(
    answer: Result<Answer, AskError>,
    subject: Subject<'_>,
    session: &Session,
) -> Result<Result<Evidence, Problem>, Failure> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(AskError::Run(RunError::Stopped)) => {
            return Err(Failure::new(Exit::Interrupted, "stopped while Codex was asked"));
        }
        Err(error) => {
            let kind = match error {
                AskError::Run(RunError::Slow(_)) => "too-slow",
                AskError::OtherHome => "other-home",
                AskError::Run(_) | AskError::Ended(_) => "no-answer",
            };
            let problem = Problem::new(kind, error.to_string());
            return Ok(Err(Problem { hint: error.hint(), ..problem }));
        }
    };
    let is_meant = answer.who.is(subject.key, subject.file.email.as_ref());
    Ok(match (answer.figures, is_meant) {
        (_, Some(false)) => {
            let other = answer.who.email.map_or_else(
                || "another account".to_owned(),
                |email| match subject.file.email.as_ref() == Some(&email) {
                    true => format!("another account of {email}"),
                    false => email.to_string(),
                },
            );
            let label = subject.label();
            let message =
                format!("Codex answered for {other}, not for {label}; the answer was not used");
            Err(Problem::new("other-account", message))
        }
        (Err(trouble), _) => Err(trouble_of(&trouble, subject)),
        (Ok(_), None) => {
            let message = "Codex did not say whose figures these are; they were not used";
            Err(Problem::new("other-account", message))
        }
        (Ok(figures), Some(true)) => Ok(Evidence {
            windows: figures.windows,
            limit_reached: figures.limit_reached,
            credits: figures.credits,
            limits: figures.others,
            plan: figures.plan,
            source: Source::AppServer,
            observed_at: session.world.now,
            email: None,
            owner: Some(subject.key.clone()),
            text: None,
        }),
    })
}

fn trouble_of(trouble: &Trouble, subject: Subject<'_>) -> Problem {
    let problem = Problem::new(trouble.word(), trouble.to_string());
    match trouble {
        Trouble::TokenRefused | Trouble::SignedOut => problem.hint(renewal(subject)),
        Trouble::NotRefreshed => problem.hint("sign in again with `codex login`"),
        Trouble::NotOffered => problem.hint("a newer Codex does"),
        Trouble::ApiKey | Trouble::Unreachable | Trouble::Service(_) | Trouble::Other(_) => problem,
    }
}

/// How a login gets an access token that is good again.
fn renewal(subject: Subject<'_>) -> String {
    let renew = "`codex-manager status --refresh` has Codex renew the login";
    if subject.is_live {
        return renew.to_owned();
    }
    format!("after `codex-manager use {}`, {renew}", subject.label())
}

fn no_program(error: &ProgramError) -> Problem {
    let kind = match error {
        ProgramError::NotOnPath { .. } => "no-program",
        ProgramError::NoProgram { .. } => "bad-program",
    };
    Problem { hint: error.hint(), ..Problem::new(kind, error.to_string()) }
}

/// Stores the live login if it is another one than `before`, the same account's: the name of the
/// snapshot, and whether it is another one.
pub(crate) fn keep_refreshed(
    before: &AuthFile,
    places: &Places,
    known: &Overview,
    session: &mut Session,
) -> Result<(bool, Option<String>), Failure> {
    let live = Live::read(&places.home)?;
    let Live::Login(after) = &live else { return Ok((false, None)) };
    if after.bytes == before.bytes || after.key != before.key {
        return Ok((false, None));
    }
    let opened = session.open(places, "status --refresh")?;
    let now = session.world.now;
    let Some(mut plan) = live.to_bank(&known.snapshots, &places.store, &places.zone, now) else {
        return Ok((true, None));
    };
    plan.metadata.note = Some("stored after Codex had refreshed it".to_owned());
    let name = plan.name.to_string();
    let what = format!("stored the login that Codex refreshed as {name}");
    let record = session.record(&places.store, &places.zone, "status --refresh", what)?;
    // A user who has had enough still wants to keep it.
    let stop = std::sync::atomic::AtomicBool::new(false);
    let said = (Some(record), Vec::new());
    let made = backup::apply(plan, &places.store, &opened.lock, said, &mut |_| {}, &stop)?;
    for warning in made.warnings {
        session.warn(warning);
    }
    Ok((true, Some(name)))
}
