//! `accounts`: which accounts are there, and what is known of each?

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::account::{AccountKey, Email, Login, Order};
use crate::cli::Report;
use crate::cli::account_change::{self, Alias, Note, Whom};
use crate::cli::cooldown::glance;
use crate::cli::exit::Failure;
use crate::cli::picture::{CARE, GOOD, Table, or_dash};
use crate::cli::session::Session;
use crate::config::AccountSettings;
use crate::overview::{KnownAccount, Overview};
use crate::quota::State;
use crate::snapshot::logins::Live;
use crate::snapshot::store::Stored;
use crate::time::{Stamp, Zone, span};

/// List the accounts, and say what you think of them
///
/// A name of your own is one command away: `codex-manager accounts alias ada@example.com work`,
/// and `codex-manager use work` from then on.
#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    change: Option<Change>,
}

#[derive(clap::Subcommand, Debug)]
enum Change {
    /// Give an account a name of your own
    Alias(Alias),
    /// Write down a remark about an account
    Note(Note),
    /// Pass an account over when one is recommended
    Disable(Whom),
    /// Take `disable` back
    Enable(Whom),
    /// Put away all that is kept of an account
    ///
    /// Its snapshots go to the trash with the login in them, its settings go, and what was read of
    /// its quota counts no more. `undo` brings all of it back. The login itself stays valid: to end
    /// it, sign in with it and run `codex logout`.
    Forget(Whom),
}

/// An account as `accounts` tells it.
#[derive(Serialize)]
struct Row {
    account: AccountKey,
    short_id: String,
    email: Option<Email>,
    alias: Option<String>,
    #[serde(skip)]
    label: String,
    plan: Option<String>,
    active: bool,
    login: Option<LoginNow>,
    snapshots: Snapshots,
    state: State,
    next_available_at: Option<Stamp>,
    #[serde(flatten)]
    settings: AccountSettings,
}

/// The freshest copy of a login.
#[derive(Serialize)]
struct LoginNow {
    /// `None` if it is live.
    snapshot: Option<String>,
    #[serde(flatten)]
    login: Login,
    /// Whether its access token has ended, so that the next use refreshes it; `None` if unknown.
    expired: Option<bool>,
}

#[derive(Serialize)]
struct Snapshots {
    count: usize,
    newest: Option<String>,
    newest_created_at: Option<Stamp>,
}

#[derive(Serialize)]
struct Accounts {
    now: Stamp,
    accounts: Vec<Row>,
}

pub(crate) fn run(args: &Args, session: &mut Session) -> Result<Report, Failure> {
    match &args.change {
        None => show(session),
        Some(Change::Alias(args)) => account_change::alias(args, session),
        Some(Change::Note(args)) => account_change::note(args, session),
        Some(Change::Disable(whom)) => account_change::disable(whom, session),
        Some(Change::Enable(whom)) => account_change::enable(whom, session),
        Some(Change::Forget(whom)) => account_change::forget(whom, session),
    }
}

fn show(session: &mut Session) -> Result<Report, Failure> {
    let places = session.places()?;
    let now = session.world.now;
    let known = glance(&places, now, session)?;
    let mut accounts: Vec<Row> =
        known.accounts.iter().map(|account| row(account, &known, &places.zone, now)).collect();
    accounts.sort_by_key(|row| (row.email.is_none(), row.email.clone(), row.account.clone()));
    let text = draw(&accounts, now, &places.zone, session);
    Ok(Report::new(&Accounts { now: places.zone.stamp(now), accounts }, text))
}

fn row(account: &KnownAccount, known: &Overview, zone: &Zone, now: DateTime<Utc>) -> Row {
    let availability = account.availability(now, zone);
    let theirs: Vec<&Stored> =
        known.snapshots.iter().filter(|stored| stored.is_of(&account.account)).collect();
    let newest = theirs.first();
    let waits = availability.state == State::Cooldown;
    Row {
        account: account.account.key.clone(),
        short_id: account.account.key.short_id(),
        email: account.account.email.clone(),
        alias: account.account.alias.clone(),
        label: account.label.clone(),
        plan: plan(account, &theirs, known),
        active: account.active,
        login: login(account, &theirs, known, now),
        snapshots: Snapshots {
            count: theirs.len(),
            newest: newest.map(|stored| stored.title.clone()),
            newest_created_at: newest.and_then(|stored| stored.metadata.created_at),
        },
        state: availability.state,
        next_available_at: availability.next_available_at.filter(|_| waits),
        settings: account.settings.clone(),
    }
}

/// The plan that was told last: with a quota, else in the live login, else in the newest snapshot.
fn plan(account: &KnownAccount, theirs: &[&Stored], known: &Overview) -> Option<String> {
    let told = account.readings.iter().filter(|reading| reading.plan.is_some());
    let told = told.max_by_key(|reading| reading.observed_at);
    let live = match known.live() {
        Live::Login(file) if account.active => file.plan.clone(),
        _ => None,
    };
    let stored = || theirs.iter().find_map(|stored| stored.metadata.account.as_ref()?.plan.clone());
    told.and_then(|reading| reading.plan.clone()).or(live).or_else(stored)
}

/// The freshest copy of the account's login, as far as the sidecars tell.
fn login(
    account: &KnownAccount,
    theirs: &[&Stored],
    known: &Overview,
    now: DateTime<Utc>,
) -> Option<LoginNow> {
    let live = match known.live() {
        Live::Login(file) if account.active => Some((None, file.login.clone())),
        _ => None,
    };
    let stored = theirs.iter().filter(|stored| stored.metadata.kind.has_login()).map(|stored| {
        (Some(stored.title.clone()), stored.metadata.login.clone().unwrap_or_default())
    });
    // The live one comes first, and stays unless another one is newer.
    let freshest = live
        .into_iter()
        .chain(stored)
        .reduce(|best, other| if other.1.compare(&best.1) == Order::Newer { other } else { best });
    freshest.map(|(snapshot, login)| LoginNow {
        snapshot,
        expired: login.expires_at.map(|at| at.instant() <= now),
        login,
    })
}

fn draw(rows: &[Row], now: DateTime<Utc>, zone: &Zone, session: &Session) -> String {
    if rows.is_empty() {
        return "no account is known yet: `codex-manager adopt` stores the login that is live, \
                `codex-manager login` signs one in\n"
            .to_owned();
    }
    let mut table = Table::new(&[
        ("", 0),
        ("ACCOUNT", 0),
        ("E-MAIL", 7),
        ("PLAN", 5),
        ("ID", 6),
        ("STATE", 0),
        ("LOGIN", 1),
        ("SNAPSHOTS", 4),
        ("NEWEST", 8),
        ("NOTE", 3),
    ]);
    table.cut("NOTE", 12);
    table.cut("ACCOUNT", 8);
    for row in rows {
        let until = |at: Stamp| zone.wall(at.instant()).format("%a %d %b %H:%M").to_string();
        let state = match (row.settings.disabled, row.state, row.next_available_at) {
            (true, ..) => "disabled".to_owned(),
            (false, State::Cooldown, Some(at)) => format!("until {}", until(at)),
            (false, state, _) => state.to_string(),
        };
        let newest = row.snapshots.newest_created_at;
        table.row([
            if row.active { "*" } else { "" }.to_owned(),
            row.label.clone(),
            or_dash(row.email.as_ref()),
            or_dash(row.plan.as_deref()),
            row.short_id.clone(),
            state.clone(),
            described(row.login.as_ref(), now),
            row.snapshots.count.to_string(),
            or_dash(newest.map(|at| span(now - at.instant()))),
            row.settings.note.clone().unwrap_or_default(),
        ]);
        let is_well = row.state == State::Ready && !row.settings.disabled;
        table.accent(&format!("  {state}"), if is_well { GOOD } else { CARE });
    }
    // Where nobody has another name, this would say the same again.
    if rows.iter().all(|row| row.alias.is_none()) {
        table.omit("E-MAIL");
    }
    if rows.iter().all(|row| row.settings.note.is_none()) {
        table.omit("NOTE");
    }
    table.draw(session.world.width)
}

/// `live, 2h old`, `stored, 3d 4h old`, or `none`. That an access token has ended is no news: the
/// next use renews it.
fn described(login: Option<&LoginNow>, now: DateTime<Utc>) -> String {
    let Some(found) = login else { return "none".to_owned() };
    let mut text = if found.snapshot.is_none() { "live" } else { "stored" }.to_owned();
    if let Some(at) = found.login.last_refresh {
        text.push_str(&format!(", {} old", span(now - at.instant())));
    }
    text
}
