//! `login`: sign a further account in.
//!
//! A person sits at `codex login` in a scratch home; no lock of the store is held meanwhile.

use std::io::Write as _;
use std::sync::atomic::Ordering;

use serde_json::json;

use crate::account::{Account, AccountKey};
use crate::cli::account_change::{aliases, refuse_shadow};
use crate::cli::config as config_file;
use crate::cli::cooldown::look;
use crate::cli::exit::Failure;
use crate::cli::picture::plain;
use crate::cli::session::{Places, Session};
use crate::cli::{Exit, Report};
use crate::codex::auth::{self, AuthError, AuthFile};
use crate::codex::program::{RunError, Task};
use crate::config::{self, Key};
use crate::disk::read;
use crate::overview::Overview;
use crate::snapshot::backup::config_text;
use crate::snapshot::logins::Live as LiveLogin;
use crate::snapshot::sign_in::{self, Live, Scratch, Stored};
use crate::world::World;

/// The largest `.env` of Codex that is read, in bytes.
const MAX_VARIABLES: u64 = 1 << 20;

/// What must not reach Codex: tokens that would stand in for the login, and where the databases
/// of the live home are.
const KEPT_BACK: [&str; 4] =
    ["CODEX_API_KEY", "CODEX_ACCESS_TOKEN", "OPENAI_API_KEY", "CODEX_SQLITE_HOME"];

/// Sign a further account in; who is signed in now stays so
///
/// `codex login` runs in a private home of its own, and the login it gets is stored: the one that
/// is live is neither revoked nor replaced. `codex-manager use` then switches to it.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Show a code to be typed into a browser, on this machine or another one
    #[arg(long, conflicts_with = "with_api_key")]
    device_auth: bool,
    /// Read an API key from standard input
    #[arg(long)]
    with_api_key: bool,
    /// A name of your own for the account
    #[arg(long, value_name = "NAME")]
    alias: Option<String>,
}

pub(crate) fn run(args: &Args, session: &mut Session) -> Result<Report, Failure> {
    if let Some(name) = args.alias.as_deref().filter(|name| !config::is_alias(name)) {
        return Err(Failure::usage(format!("{name:?} cannot be a name for an account"))
            .hint("a name has letters, digits, `-` and `_`, 64 at most, and begins with no `-`"));
    }
    let places = session.places()?;
    let program = session.codex(&places)?;
    let scratch = {
        let _opened = session.open(&places, "login")?;
        let config = config_text(&places.home).unwrap_or_default();
        let variables = places.home.root().join(".env");
        let variables = read::optional(&variables, MAX_VARIABLES).ok().flatten();
        let variables = String::from_utf8(variables.unwrap_or_default()).unwrap_or_default();
        let live = Live { config: &config, variables: &variables };
        let at = places.zone.stamp(session.world.now);
        Scratch::make(&places.store, live, at, &places.zone)?
    };
    let home = scratch.home();
    introduce(session);
    let mut words = vec!["-c", "cli_auth_credentials_store=\"file\"", "login"];
    words.extend(args.device_auth.then_some("--device-auth"));
    words.extend(args.with_api_key.then_some("--with-api-key"));
    let task = Task::new(&program, &session.world.environment).words(words);
    let task = KEPT_BACK.iter().fold(task, |task, name| task.without(name));
    let ended = task
        .with("CODEX_HOME", home.root())
        .attended(World::beside_results(), &session.world.interrupted);
    // Ctrl-C reaches Codex too, which may be the first to end.
    let ended = match session.world.interrupted.load(Ordering::Relaxed) {
        true => Err(RunError::Stopped),
        false => ended,
    };
    // Whatever became of Codex: a login that it wrote was issued, and is kept.
    let written = scratch.login();
    let file = match written {
        Ok(Some(file)) if file.key.is_some() => file,
        written => {
            let problem = written.as_ref().ok().and_then(|file| file.as_ref()?.problem);
            let failure = nothing_came(args, ended, problem, session);
            return Err(settled(scratch, written, failure, session));
        }
    };
    match keep(args, &scratch, file, session) {
        Ok((report, problem)) => {
            removed(scratch, session);
            match (problem, ended) {
                (Some(problem), _) => Err(problem),
                (None, Err(RunError::Stopped)) => {
                    let what = plain(report.text.lines().next().unwrap_or_default());
                    Err(Failure::new(Exit::Interrupted, format!("stopped; {what}")))
                }
                (None, _) => Ok(report),
            }
        }
        Err(failure) => {
            let hint = "the next command that changes something stores the login; until then it \
                        waits in the manager home's tmp/";
            let hint = failure.hint.as_ref().map_or(hint.to_owned(), |it| format!("{it}; {hint}"));
            Err(failure.hint(hint))
        }
    }
}

/// Why there is no login now.
fn nothing_came(
    args: &Args,
    ended: Result<std::process::ExitStatus, RunError>,
    problem: Option<auth::Problem>,
    session: &Session,
) -> Failure {
    let untouched = "nothing was stored, and who is signed in stays so";
    let failure = match ended {
        Err(RunError::Stopped) => Failure::new(Exit::Interrupted, "stopped; nobody was signed in"),
        Err(error) => Failure::new(Exit::Failed, format!("`codex login` {error}")),
        Ok(status) if !status.success() => {
            Failure::new(Exit::Failed, format!("`codex login` failed ({status})"))
        }
        Ok(_) => {
            let why = problem.map_or_else(String::new, |problem| format!(": {problem}"));
            Failure::new(Exit::Failed, format!("`codex login` left no login of an account{why}"))
        }
    };
    // Who tried one of the two has to know no more of them.
    let is_alone = session.world.terminals.input || args.device_auth || args.with_api_key;
    match is_alone {
        false if failure.exit == Exit::Failed => failure.hint(format!(
            "{untouched}; without a terminal, --device-auth and --with-api-key work"
        )),
        _ => failure.hint(untouched),
    }
}

/// Codex speaks of its own command, which would sign the live home over.
fn introduce(session: &mut Session) {
    if session.global.quiet || session.global.json {
        return;
    }
    let told = writeln!(
        session.world.err,
        "Codex signs a further account in; who is signed in stays so. Where it says `codex login`, \
         type `codex-manager login`."
    );
    // Who cannot be told signs in all the same.
    drop(told);
}

/// What becomes of a scratch in which no account's login is. What may be a login all the same, or
/// become one, is not thrown away.
fn settled(
    scratch: Scratch,
    written: Result<Option<AuthFile>, AuthError>,
    failure: Failure,
    session: &mut Session,
) -> Failure {
    let waits = "the next command that changes something looks again";
    if scratch.is_at_work() {
        return failure
            .hint(format!("something that `codex login` started is still at work there; {waits}"));
    }
    match written {
        Ok(Some(file)) if sign_in::is_worth_keeping(&file) => {
            match keep_orphan(&scratch, file, session) {
                Ok(title) => {
                    removed(scratch, session);
                    failure.hint(format!("what it left is kept byte for byte, as {title}"))
                }
                Err(error) => {
                    failure.hint(format!("it could not be stored: {}; {waits}", error.message))
                }
            }
        }
        Ok(_) | Err(AuthError::NotALogin { .. }) => {
            removed(scratch, session);
            failure
        }
        Err(error) => failure.hint(format!("{error}; {waits}")),
    }
}

/// Stores a login that names no account.
fn keep_orphan(
    scratch: &Scratch,
    file: AuthFile,
    session: &mut Session,
) -> Result<String, Failure> {
    let places = session.places()?;
    let opened = session.open(&places, "login")?;
    let (store, zone) = (&places.store, &places.zone);
    let record = session.record(store, zone, "login", sign_in::done(&file))?;
    let stored = scratch.keep(file, (record, zone), None, (store, &opened.lock))?;
    for warning in stored.warnings {
        session.warn(warning);
    }
    Ok(stored.title)
}

/// Stores the login. What goes wrong with its name is told beside the report: the login is stored.
fn keep(
    args: &Args,
    scratch: &Scratch,
    file: AuthFile,
    session: &mut Session,
) -> Result<(Report, Option<Failure>), Failure> {
    let places = session.places()?;
    let opened = session.open(&places, "login")?;
    // Under the lock it is looked at anew: a person may have taken long.
    let places = session.places()?;
    let known = look(&places, session.world.now, session)?;
    let (alias, problem) =
        match args.alias.as_deref().map(|name| named(name, &file, &known, &places, session)) {
            None => (None, None),
            Some(Ok(text)) => (Some(text), None),
            Some(Err(problem)) => (None, Some(problem)),
        };
    let record = session.record(&places.store, &places.zone, "login", sign_in::done(&file))?;
    let is_new =
        |text: &String| config_file::text(&places.store, session).ok().as_ref() != Some(text);
    let alias = alias.filter(is_new);
    let here = (&places.store, &opened.lock);
    let Stored { file, title, was_there, warnings } =
        scratch.keep(file, (record, &places.zone), alias.as_deref(), here)?;
    for warning in warnings {
        session.warn(warning);
    }
    let name = args.alias.as_deref().filter(|_| problem.is_none());
    let key = file.key.clone();
    let short_id = || key.as_ref().map(AccountKey::short_id).unwrap_or_default();
    let who = file.email.as_ref().map_or_else(short_id, ToString::to_string);
    let mut text = match was_there {
        true => format!("that login of {who} is already stored as {title}\n"),
        false => format!("signed {who} in, and stored the login as {title}\n"),
    };
    let (same, others): (Vec<_>, Vec<_>) =
        known.accounts.iter().partition(|it| Some(&it.account.key) == key.as_ref());
    let known_as = same.first().and_then(|it| it.account.alias.clone());
    // An address may be that of several accounts; an id never is.
    let is_shared = others.iter().any(|it| it.account.email == file.email);
    let spelled = || if is_shared { short_id() } else { who.clone() };
    let next = name.map(str::to_owned).or(known_as).unwrap_or_else(spelled);
    let live = match (known.live(), known.live().key()) {
        (_, Some(live)) if Some(live) == key.as_ref() => {
            "an older login of the same account is live".to_owned()
        }
        (_, Some(live)) => {
            let label = known.accounts.iter().find(|it| it.account.key == *live);
            format!(
                "{} is still signed in",
                label.map_or_else(|| live.short_id(), |it| it.label.clone())
            )
        }
        (LiveLogin::Absent, None) if known.elsewhere.is_some() => {
            "who is signed in is not known".to_owned()
        }
        (LiveLogin::Absent, None) => "nobody is signed in".to_owned(),
        (_, None) => "auth.json names nobody".to_owned(),
    };
    text.push_str(&format!("{live}: `codex-manager use {next}` switches to it\n"));
    let data = json!({
        "account": key,
        "email": file.email,
        "alias": name,
        "snapshot": title,
        "stored": !was_there,
        "live": known.live().key(),
        "next": format!("codex-manager use {next}"),
    });
    let text: String = text.lines().map(|line| plain(line) + "\n").collect();
    let problem = problem.map(|problem: Failure| Failure {
        message: format!("the login of {who} is stored as {title}, but {}", problem.message),
        ..problem
    });
    Ok((Report::new(&data, text), problem))
}

/// The text of `config.toml` that gives the account of this login a name.
fn named(
    name: &str,
    file: &AuthFile,
    known: &Overview,
    places: &Places,
    session: &Session,
) -> Result<String, Failure> {
    let text = config_file::text(&places.store, session)?;
    let Some(key) = file.key.clone() else { return Ok(text) };
    let others: Vec<Account> = known
        .accounts
        .iter()
        .map(|it| it.account.clone())
        .filter(|account| account.key != key)
        .collect();
    refuse_shadow(name, &others, &known.aliases)?;
    // One account, one name: another one would only be in the way.
    let account = known.accounts.iter().find(|it| it.account.key == key);
    let old = account.map(|it| aliases(it, known, &places.config)).unwrap_or_default();
    let mut text = text;
    for old in old.into_iter().filter(|old| old != name) {
        text = config::unset(&text, &Key::Alias(old))?;
    }
    let is_shared = others.iter().any(|other| other.email == file.email);
    let address = file.email.as_ref().filter(|_| !is_shared).map(ToString::to_string);
    let whole = address.unwrap_or_else(|| key.to_string());
    Ok(config::set(&text, &Key::Alias(name.to_owned()), &whole)?)
}

/// Removes the scratch; what cannot be removed, the next command tries again.
fn removed(scratch: Scratch, session: &mut Session) {
    if let Err(error) = scratch.remove() {
        session.warn(format!("{error}; the next command tries again"));
    }
}
