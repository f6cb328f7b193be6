//! `status`: what does the quota say?

use serde::Serialize;

use crate::account::{AccountKey, Email};
use crate::cli::evidence::{Evidence, Sources};
use crate::cli::exit::Failure;
use crate::cli::picture::{Facts, or_dash, percent};
use crate::cli::session::{Places, Session};
use crate::cli::{Report, picture};
use crate::overview::{self, Overview};
use crate::quota::{Entry, Ledger, Reading, Source};
use crate::snapshot::backup::BackupError;
use crate::snapshot::logins::Live;
use crate::snapshot::name::{SnapshotName, Who};
use crate::time::{Stamp, Zone, span};
use crate::window::{Window, weekly};

/// Read the quota of the current account
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    sources: Sources,
    /// Do not write the reading into the ledger
    #[arg(long)]
    no_save: bool,
}

/// What `status` answers; every unknown is null.
#[derive(Debug, Serialize)]
struct Status {
    account: Option<AccountKey>,
    email: Option<Email>,
    source: Option<Source>,
    observed_at: Option<Stamp>,
    windows: Vec<Window>,
    session_start_at: Option<Stamp>,
    next_available_at: Option<Stamp>,
    left_percent: Option<f64>,
    limit_reached: Option<bool>,
    plan: Option<String>,
    proposed_archive_name: Option<String>,
}

pub(crate) fn run(args: &Args, session: &mut Session) -> Result<Report, Failure> {
    let places = session.places()?;
    let now = session.world.now;
    let mut known =
        overview::observe(&places.store, &places.home, &places.config, &places.zone, now)?;
    for warning in &known.warnings {
        session.warn(warning.clone());
    }
    let live = std::mem::replace(&mut known.live, Ok(Live::Absent))?;
    if let Live::Orphan { why, .. } = &live {
        session.warn(format!("{} tells no account: {why}", session.show(&places.home.auth())));
    }
    if !args.sources.is_text() && !places.home.root().is_dir() {
        let path = places.home.root().to_owned();
        return Err(BackupError::NoHome { path }.into());
    }
    let evidence = args.sources.read(session, &places, &known, &live)?;
    let (account, email) = owner(evidence.as_ref(), &live, &known);
    let reading = match (&evidence, &account) {
        (Some(evidence), Some(account)) => evidence.reading(account.clone(), email.clone()),
        _ => None,
    };
    if let Some(reading) = reading.clone().filter(|_| !args.no_save) {
        save(reading, &known, &places, session)?;
    }
    let status = describe(account, email, reading.as_ref(), &places.zone, &live);
    let text = draw(&status, session, &places);
    Ok(Report::new(&status, text))
}

/// Writes a reading into the ledger, unless its very words are there.
fn save(
    reading: Reading,
    known: &Overview,
    places: &Places,
    session: &mut Session,
) -> Result<(), Failure> {
    if holds(&known.ledger, &reading) {
        return Ok(());
    }
    let opened = session.open(places, "status")?;
    // Another run may have read the same thing while this one waited for the lock.
    if !holds(&places.store.read_ledger()?, &reading) {
        let entry = Entry::Reading { at: session.world.now.into(), reading };
        places.store.record(&[entry], &opened.lock)?;
    }
    Ok(())
}

fn holds(ledger: &Ledger, wanted: &Reading) -> bool {
    let is_it =
        |entry: &Entry| matches!(entry, Entry::Reading { reading, .. } if reading == wanted);
    ledger.entries.iter().any(is_it)
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

fn describe(
    account: Option<AccountKey>,
    email: Option<Email>,
    reading: Option<&Reading>,
    zone: &Zone,
    live: &Live,
) -> Status {
    let windows: Vec<Window> = reading.map_or_else(Vec::new, |reading| {
        reading.windows.iter().map(|window| window.in_zone(zone)).collect()
    });
    let start = reading.and_then(Reading::session_start_at).map(|at| at.in_zone(zone));
    let who = match (&email, live) {
        (Some(email), _) => Some(Who::Email(email.clone())),
        (None, Live::Login(file)) => Some(crate::snapshot::backup::who(Some(file))),
        (None, _) => None,
    };
    let name =
        start.zip(who).map(|(start, who)| SnapshotName::new(zone.wall(start.instant()), who));
    Status {
        source: reading.map(|reading| reading.source),
        observed_at: reading.map(|reading| reading.observed_at.in_zone(zone)),
        next_available_at: weekly(&windows).and_then(|window| window.resets_at),
        left_percent: windows.iter().filter_map(Window::left_percent).reduce(f64::min),
        limit_reached: reading.and_then(|reading| reading.limit_reached),
        plan: reading.and_then(|reading| reading.plan.clone()).or_else(|| match live {
            // The plan in the token is as old as the token, but better than nothing.
            Live::Login(file) if file.key == account => file.plan.clone(),
            _ => None,
        }),
        session_start_at: start,
        proposed_archive_name: name.map(|name| name.archive()),
        account,
        email,
        windows,
    }
}

fn draw(status: &Status, session: &Session, places: &Places) -> String {
    let now = session.world.now;
    let mut facts = Facts::new();
    let who = status.email.as_ref().map(ToString::to_string);
    let who = who.or_else(|| status.account.as_ref().map(AccountKey::short_id));
    facts.add("account", who.unwrap_or_else(|| "not known".to_owned()));
    let (Some(source), Some(observed)) = (status.source, status.observed_at) else {
        facts.add("quota", "unknown: no session and no text tells it");
        return facts.to_string();
    };
    for window in &status.windows {
        let name = match window.kind() {
            crate::window::Kind::Other => "limit".to_owned(),
            kind => kind.to_string(),
        };
        let reset = window.resets_at.map_or_else(
            || "reset unknown".to_owned(),
            |at| {
                let wall = places.zone.wall(at.instant()).format("%a %d %b %H:%M");
                if now < at.instant() {
                    format!("resets {wall} (in {})", span(at.instant() - now))
                } else {
                    format!("reset {wall}")
                }
            },
        );
        facts.add(&name, format!("{} left, {reset}", percent(window.left_percent())));
    }
    if status.limit_reached == Some(true) {
        facts.add("limit", picture::styled("reached", picture::CARE));
    }
    facts.add("plan", picture::plain(&or_dash(status.plan.as_deref())));
    facts.add("source", format!("{source}, {} old", span(now - observed.instant())));
    facts.to_string()
}
