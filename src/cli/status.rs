//! `status`: what does the quota say?

use serde::Serialize;

use crate::account::{AccountKey, Email};
use crate::cli::accounts::{named, typed};
use crate::cli::evidence::{Evidence, Sources};
use crate::cli::exit::Failure;
use crate::cli::live::{self, Problem, Subject, Wish};
use crate::cli::picture::{Facts, or_dash, percent};
use crate::cli::session::{Places, Session};
use crate::cli::{Exit, Report, picture};
use crate::codex::auth::Mode;
use crate::overview::{self, KnownAccount, Overview};
use crate::quota::{Reading, Source};
use crate::snapshot::backup::BackupError;
use crate::snapshot::logins::{self, Live, Pick, Shelf, Stale};
use crate::snapshot::name::{SnapshotName, Who};
use crate::time::{Stamp, Zone, span};
use crate::window::{Credits, Kind, OtherLimit, Window, weekly};

/// Read the quota of the current account
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Another account than the current one: alias, e-mail, a unique part of either, or short id
    #[arg(conflicts_with = "evidence")]
    account: Option<String>,
    #[command(flatten)]
    sources: Sources,
    /// Have Codex refresh the live login first, and store what it makes of it
    #[arg(long, conflicts_with_all = ["evidence", "offline"], help_heading = "Quota")]
    refresh: bool,
    /// Do not write the reading into the ledger
    #[arg(long)]
    no_save: bool,
}

/// What `status` answers; every unknown is null.
#[derive(Debug, Serialize)]
struct Status {
    account: Option<AccountKey>,
    /// What to call it in front of a person.
    #[serde(skip)]
    label: Option<String>,
    email: Option<Email>,
    source: Option<Source>,
    /// Whether nothing told it now, but earlier.
    #[serde(skip)]
    is_remembered: bool,
    observed_at: Option<Stamp>,
    windows: Vec<Window>,
    session_start_at: Option<Stamp>,
    next_available_at: Option<Stamp>,
    left_percent: Option<f64>,
    limit_reached: Option<bool>,
    credits: Option<Credits>,
    limits: Vec<OtherLimit>,
    plan: Option<String>,
    proposed_archive_name: Option<String>,
    /// Why Codex itself did not say it, if it was to be asked.
    problem: Option<Problem>,
    /// Whether Codex has put a fresher login in place, if it was to.
    refreshed: Option<bool>,
    /// The snapshot that keeps that login.
    banked: Option<String>,
}

pub(crate) fn run(args: &Args, session: &mut Session) -> Result<Report, Failure> {
    let places = session.places()?;
    let now = session.world.now;
    // Another account's login, and one that may be replaced, are not taken on trust.
    let only_looks = args.account.is_none() && !args.refresh;
    let Places { store, home, config, zone, .. } = &places;
    let mut known = if only_looks {
        overview::glance(store, home, config, zone, now, now)?
    } else {
        overview::observe(store, home, config, zone, now)?
    };
    // What cannot be read is an error here, and then no warning.
    let live = std::mem::replace(&mut known.live, Ok(Live::Absent))?;
    for warning in &known.warnings {
        session.warn(warning.clone());
    }
    if !args.sources.is_text() && !places.home.root().is_dir() {
        let path = places.home.root().to_owned();
        return Err(BackupError::NoHome { path }.into());
    }
    let other = match &args.account {
        Some(asked) => Some(named(asked, &known)?).filter(|account| !account.active),
        None => None,
    };
    let told = match other {
        Some(account) if args.refresh => return Err(refuse_refresh(account)),
        Some(account) => of_other(account, args, &places, &known, &live, session)?,
        None if args.refresh => of_refreshed(&places, &known, &live, session)?,
        None => of_live(args, &places, &known, &live, session)?,
    };
    if !args.no_save {
        let reading = told.reading.clone().filter(|_| told.is_new);
        save(reading, &known, &places, session)?;
    }
    let exit = if told.refreshed == Some(false) { Exit::Failed } else { Exit::Done };
    let status = describe(told, &places.zone, &live, &known);
    let text = draw(&status, known.elsewhere, session, &places);
    Ok(Report::new(&status, text).exit(exit))
}

/// What is to be told, and of whom.
struct Told {
    account: Option<AccountKey>,
    email: Option<Email>,
    /// Where it comes from, also where that told nothing.
    source: Option<Source>,
    reading: Option<Reading>,
    /// Whether the ledger may not have it yet.
    is_new: bool,
    problem: Option<Problem>,
    refreshed: Option<bool>,
    banked: Option<String>,
}

impl Told {
    fn new(evidence: Option<&Evidence>, live: &Live, known: &Overview) -> Self {
        let (account, email) = owner(evidence, live, known);
        let reading = match (evidence, &account) {
            (Some(evidence), Some(account)) => evidence.reading(account.clone(), email.clone()),
            _ => None,
        };
        Self {
            account,
            email,
            source: evidence.map(|evidence| evidence.source),
            reading,
            is_new: true,
            problem: None,
            refreshed: None,
            banked: None,
        }
    }

    /// With what was measured last of its account, where nothing tells it now.
    fn recalled(self, known: &Overview) -> Self {
        let account =
            known.accounts.iter().find(|it| Some(&it.account.key) == self.account.as_ref());
        let measured = account.into_iter().flat_map(|account| &account.readings);
        let reading = measured
            .filter(|reading| reading.source.measures())
            .max_by_key(|reading| (reading.observed_at, std::cmp::Reverse(reading.source.rank())));
        Self {
            source: reading.map(|reading| reading.source),
            reading: reading.cloned(),
            is_new: false,
            ..self
        }
    }

    /// What is gone by where that is an earlier reading.
    fn instead(&self) -> Option<&'static str> {
        (!self.is_new && self.reading.is_some()).then_some("these were read before")
    }
}

/// The account that is signed in, or the one that a text names.
fn of_live(
    args: &Args,
    places: &Places,
    known: &Overview,
    live: &Live,
    session: &mut Session,
) -> Result<Told, Failure> {
    let wish = args.sources.wish(&places.settings);
    let found = args.sources.read(wish, session, places, known, live)?;
    let told = Told::new(found.evidence.as_ref(), live, known);
    let told = if found.evidence.is_none() { told.recalled(known) } else { told };
    if let Some(problem) = found.problem.as_ref().filter(|problem| problem.is_news()) {
        session.warn(problem.told(told.instead().unwrap_or(found.instead())));
    }
    Ok(Told { problem: found.problem, ..told })
}

/// The account that is signed in, after Codex has refreshed its login.
fn of_refreshed(
    places: &Places,
    known: &Overview,
    live: &Live,
    session: &mut Session,
) -> Result<Told, Failure> {
    let subject = live::subject(live, places).map_err(Problem::into_failure)?;
    let asked = live::refresh(subject, places, session);
    // Whatever it said, and whether or not the user stopped it: a fresher login is kept.
    let (refreshed, banked) = live::keep_refreshed(subject.file, places, known, session)?;
    let evidence = match (asked, &banked) {
        (Ok(Ok(evidence)), _) => evidence,
        (failed, banked) => {
            if let Some(banked) = banked {
                session.warn(format!("Codex has refreshed the login; it is stored as {banked}"));
            }
            failed?.map_err(Problem::into_failure)?
        }
    };
    // Versions before 0.169.0 name an address and no workspace, which two accounts may have.
    if Live::read(&places.home)?.key() != Some(subject.key) {
        let message =
            "another account was signed in while Codex was asked; the answer was not used";
        return Err(Problem::new("other-account", message).into_failure());
    }
    if !refreshed {
        session.warn("Codex answered, but did not refresh the login");
    }
    let told = Told::new(Some(&evidence), live, known);
    Ok(Told { refreshed: Some(refreshed), banked, ..told })
}

fn refuse_refresh(account: &KnownAccount) -> Failure {
    let (label, name) = (&account.label, typed(&account.label, &account.account.key));
    Failure::usage(format!("{label} is not signed in, and only the live login is refreshed"))
        .hint(format!("`codex-manager use {name}`, then `codex-manager status --refresh`"))
}

/// An account that is not signed in: Codex is asked with its freshest stored login, else what is
/// known of it is told.
fn of_other(
    account: &KnownAccount,
    args: &Args,
    places: &Places,
    known: &Overview,
    live: &Live,
    session: &mut Session,
) -> Result<Told, Failure> {
    let told = Told {
        account: Some(account.account.key.clone()),
        email: account.account.email.clone(),
        ..Told::new(None, &Live::Absent, known)
    };
    let wish = args.sources.wish(&places.settings);
    let asked = match wish {
        Wish::No => None,
        Wish::IfPossible | Wish::Insist => Some(ask_of(account, places, known, live, session)?),
    };
    let problem = match asked {
        Some(Ok(evidence)) => {
            let key = evidence.owner.clone();
            let key = key.unwrap_or_else(|| account.account.key.clone());
            let reading = evidence.reading(key.clone(), told.email.clone());
            return Ok(Told { account: Some(key), source: Some(evidence.source), reading, ..told });
        }
        Some(Err(problem)) if wish == Wish::Insist => return Err(problem.into_failure()),
        asked => asked.and_then(Result::err),
    };
    let told = told.recalled(known);
    if let Some(problem) = problem.as_ref().filter(|problem| problem.is_news()) {
        session.warn(problem.told(told.instead().unwrap_or("nothing else tells them")));
    }
    Ok(Told { problem, ..told })
}

/// Asks Codex with the freshest stored login of an account.
fn ask_of(
    account: &KnownAccount,
    places: &Places,
    known: &Overview,
    live: &Live,
    session: &mut Session,
) -> Result<Result<Evidence, Problem>, Failure> {
    let not_stored = || Problem::new("not-stored", "no login of this account is stored");
    let key = match &account.account.key {
        AccountKey::Email(email) => logins::owner(email, live, &known.snapshots)?,
        key => Some(key.clone()),
    };
    let Some(key) = key else { return Ok(Err(not_stored())) };
    let shelf = Shelf::new(&known.snapshots, &known.odd);
    let mut warnings = Vec::new();
    let pick = logins::freshest(&key, None, None, &shelf, Stale::Refuse, &mut warnings);
    for warning in warnings {
        session.warn(warning);
    }
    let file = match pick {
        Ok(Pick::Stored { file, .. }) => file,
        Ok(Pick::Live | Pick::Nothing) => return Ok(Err(not_stored())),
        Err(error) => return Ok(Err(Problem::new("not-stored", error.to_string()))),
    };
    if file.mode == Mode::ApiKey {
        let message = "it signs in with an API key, which has no quota windows";
        return Ok(Err(Problem::new("api-key", message)));
    }
    live::ask(Subject { file: &file, key: &key, is_live: false }, places, session)
}

/// Writes what was found into the ledger, unless it is there: a reading, who is signed in, and the
/// newest limits of the sessions.
fn save(
    reading: Option<Reading>,
    known: &Overview,
    places: &Places,
    session: &mut Session,
) -> Result<(), Failure> {
    let at = places.zone.stamp(session.world.now);
    let mut entries = known.learned(reading.map(|reading| reading.in_zone(&places.zone)), at);
    if entries.is_empty() {
        return Ok(());
    }
    let opened = session.open(places, "status")?;
    // Another run may have found the same while this one waited for the lock.
    let ledger = places.store.read_ledger()?;
    entries.retain(|entry| !ledger.knows(entry));
    places.store.record(&entries, &opened.lock)?;
    Ok(())
}

/// Whose the evidence is: the source's own word, else the account that has the address in the
/// text, else the live one.
fn owner(
    evidence: Option<&Evidence>,
    live: &Live,
    known: &Overview,
) -> (Option<AccountKey>, Option<Email>) {
    let live = match live {
        Live::Login(file) => (file.key.clone(), file.email.clone()),
        Live::Absent | Live::Orphan { .. } => (None, None),
    };
    let Some(evidence) = evidence else { return live };
    let email_of = |key: &AccountKey| {
        let account = known.accounts.iter().find(|account| account.account.key == *key);
        account.and_then(|account| account.account.email.clone())
    };
    match (&evidence.owner, &evidence.email) {
        (Some(owner), _) => (Some(owner.clone()), email_of(owner)),
        (None, Some(email)) if live.1.as_ref() == Some(email) => live,
        (None, Some(email)) => {
            let mut owners = known
                .accounts
                .iter()
                .filter(|account| account.account.email.as_ref() == Some(email))
                .map(|account| account.account.key.clone());
            let key = match (owners.next(), owners.next()) {
                (Some(only), None) => only,
                _ => AccountKey::Email(email.clone()),
            };
            (Some(key), Some(email.clone()))
        }
        (None, None) => live,
    }
}

fn describe(told: Told, zone: &Zone, live: &Live, known: &Overview) -> Status {
    let label = label(&told, known);
    let is_remembered = told.instead().is_some();
    let Told { account, email, source, reading, problem, refreshed, banked, .. } = told;
    let reading = reading.map(|reading| reading.in_zone(zone));
    let reading = reading.as_ref();
    let windows = reading.map_or_else(Vec::new, |reading| reading.windows.clone());
    let limits = reading.map_or_else(Vec::new, |reading| reading.limits.clone());
    let start = reading.and_then(Reading::session_start_at).map(|at| at.in_zone(zone));
    let is_live = matches!(live, Live::Login(file) if file.key == account);
    let who = match (&email, live) {
        (Some(email), _) => Some(Who::Email(email.clone())),
        (None, Live::Login(file)) if is_live => Some(crate::snapshot::backup::who(Some(file))),
        (None, _) => None,
    };
    let name =
        start.zip(who).map(|(start, who)| SnapshotName::new(zone.wall(start.instant()), who));
    Status {
        source: reading.map(|reading| reading.source).or(source),
        observed_at: reading.map(|reading| reading.observed_at),
        next_available_at: weekly(&windows).and_then(|window| window.resets_at),
        left_percent: windows.iter().filter_map(Window::left_percent).reduce(f64::min),
        limit_reached: reading.and_then(|reading| reading.limit_reached),
        credits: reading.and_then(|reading| reading.credits.clone()),
        limits,
        plan: reading.and_then(|reading| reading.plan.clone()).or_else(|| match live {
            // The plan in the token is as old as the token, but better than nothing.
            Live::Login(file) if is_live => file.plan.clone(),
            _ => None,
        }),
        session_start_at: start,
        proposed_archive_name: name.map(|name| name.archive()),
        problem,
        refreshed,
        banked,
        account,
        label,
        email,
        is_remembered,
        windows,
    }
}

/// The address; with what tells them apart where several accounts have it, and for an account
/// without one its title.
fn label(told: &Told, known: &Overview) -> Option<String> {
    let has_it = |it: &&KnownAccount| it.account.email == told.email;
    let is_shared = 1 < known.accounts.iter().filter(has_it).count();
    let account = known.accounts.iter().find(|it| Some(&it.account.key) == told.account.as_ref());
    match (&told.email, account) {
        (Some(_), Some(account)) if is_shared => Some(account.label.clone()),
        (Some(email), _) => Some(email.to_string()),
        (None, _) => told.account.as_ref().map(AccountKey::title),
    }
}

fn draw(status: &Status, elsewhere: Option<&str>, session: &Session, places: &Places) -> String {
    let now = session.world.now;
    let mut facts = Facts::new();
    let unknown = || match elsewhere {
        Some(place) => format!("not known: Codex keeps its login in {place}"),
        None => "not known".to_owned(),
    };
    facts.add("account", status.label.clone().unwrap_or_else(unknown));
    let (Some(source), Some(observed)) = (status.source, status.observed_at) else {
        facts.add(
            "quota",
            match (status.source, &status.account) {
                (_, Some(AccountKey::ApiKey(_))) => "none: an API key has no windows".to_owned(),
                (Some(source), _) => format!("unknown: {source} tells no limits"),
                (None, _) => "unknown: no session and no text tells it".to_owned(),
            },
        );
        return facts.to_string();
    };
    let left = |window: &Window| {
        let reset = window.resets_at.map_or_else(
            || match window.used_percent {
                Some(0.0) => "begins with the next session".to_owned(),
                _ => "reset unknown".to_owned(),
            },
            |at| {
                let wall = places.zone.wall(at.instant()).format("%a %d %b %H:%M");
                if now < at.instant() {
                    format!("resets {wall} (in {})", span(at.instant() - now))
                } else {
                    format!("reset {wall}")
                }
            },
        );
        format!("{} left, {reset}", percent(window.left_percent()))
    };
    let name = |window: &Window| match window.kind() {
        Kind::Other => "limit".to_owned(),
        kind => kind.to_string(),
    };
    for window in &status.windows {
        facts.add(&name(window), left(window));
    }
    if status.limit_reached == Some(true) {
        facts.add("limit", picture::styled("reached", picture::CARE));
    }
    if let Some(credits) = &status.credits {
        facts.add("credits", picture::plain(&credits.to_string()));
    }
    for limit in &status.limits {
        for window in &limit.windows {
            let what = match window.kind() {
                Kind::Other => limit.title().to_owned(),
                kind => format!("{}, {kind}", limit.title()),
            };
            facts.add("also", format!("{}: {}", picture::plain(&what), left(window)));
        }
        if limit.limit_reached == Some(true) {
            let what = picture::plain(limit.title());
            facts.add("also", format!("{what}: {}", picture::styled("reached", picture::CARE)));
        }
    }
    if status.refreshed == Some(true) {
        let stored = status.banked.as_ref().map(|name| format!(", stored as {name}"));
        facts.add("login", format!("refreshed{}", stored.unwrap_or_default()));
    }
    facts.add("plan", picture::plain(&or_dash(status.plan.as_deref())));
    let before = if status.is_remembered { ", read before" } else { "" };
    facts.add("source", format!("{source}, {} old{before}", span(now - observed.instant())));
    facts.to_string()
}
