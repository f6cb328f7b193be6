//! `history`: what happened to each account?

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::{Value, json};

use crate::account::{self, Account, AccountKey, Email};
use crate::cli::accounts::unnamed;
use crate::cli::cooldown::{glance, moment};
use crate::cli::exit::Failure;
use crate::cli::picture::{CARE, Table, count, or_dash, percent, styled};
use crate::cli::progress::Progress;
use crate::cli::session::{Places, Session};
use crate::cli::{Exit, Report};
use crate::disk::Jobs;
use crate::overview::history::{Event, History, Range, Week, What, history};
use crate::overview::{Overview, Sessions};
use crate::quota::Confidence;
use crate::time::{Stamp, Zone};
use crate::window;

/// How far back it goes if nobody says.
const SPAN: TimeDelta = TimeDelta::weeks(4);

/// Show the weeks, sessions, resets and switches of each account
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Only one account: alias, e-mail, a unique part of either, or short id
    account: Option<String>,
    /// From when on, such as 2026-04-21 or -2w [default: four weeks ago]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<String>,
    /// Up to when [default: now]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    until: Option<String>,
    /// Show only the newest so many events
    #[arg(long, value_name = "NUMBER")]
    limit: Option<usize>,
}

/// One account as `history` tells it.
#[derive(Serialize)]
struct Row<'a> {
    account: &'a AccountKey,
    email: Option<&'a Email>,
    alias: Option<&'a str>,
    active: bool,
    sessions: u64,
    days: Vec<Value>,
    weeks: &'a [Week],
}

pub(crate) fn run(args: &Args, session: &mut Session) -> Result<Report, Failure> {
    let places = session.places()?;
    let range = range(args, &places.zone, session.world.now)?;
    let sessions = read_sessions(&places, session)?;
    if let Some(sessions) = &sessions {
        remember(sessions, &places, session);
    }
    let known = glance(&places, session.world.now, session)?;
    let read: &[_] = sessions.as_ref().map_or(&[], |read| &read.scan.sessions);
    let mut told = history(&known, read, range, &places.zone);
    let names = Names::new(&known, &told);
    if let Some(asked) = &args.account {
        let key = account::name(asked, &names.all, &known.aliases);
        let key = key.map_err(|error| unnamed(&error))?.key.clone();
        told.accounts.retain(|account, _| *account == key);
        let is_its =
            |event: &Event| event.account.as_ref() == Some(&key) || event.candidates.contains(&key);
        told.events.retain(is_its);
    }
    let left_out = told.events.len().saturating_sub(args.limit.unwrap_or(usize::MAX));
    told.events.truncate(args.limit.unwrap_or(usize::MAX));
    let data = json!({
        "since": places.zone.stamp(range.since),
        "until": places.zone.stamp(range.until),
        "accounts": rows(&told, &names, &known),
        "ambiguous_sessions": told.ambiguous_sessions,
        "events": told.events,
    });
    let text = draw(&told, left_out, &names, &places.zone, session);
    Ok(Report::new(&data, text))
}

fn range(args: &Args, zone: &Zone, now: DateTime<Utc>) -> Result<Range, Failure> {
    let at =
        |text: &Option<String>| text.as_deref().map(|text| moment(text, zone, now)).transpose();
    let until = at(&args.until)?.unwrap_or(now);
    let since = at(&args.since)?.unwrap_or(until - SPAN);
    if until < since {
        return Err(Failure::usage("that range ends before it begins")
            .hint("`--since -2w --until -1w` is the week before the last one"));
    }
    Ok(Range { since, until })
}

/// Reads all session files of the home, but for what is remembered. `None` if there is no home
/// that could be looked at; files in it that cannot be read are warned of.
fn read_sessions(places: &Places, session: &mut Session) -> Result<Option<Sessions>, Failure> {
    let stop = Arc::clone(&session.world.interrupted);
    let mut progress = Progress::bytes("reading sessions", 0, session);
    let advance = &mut |count, total| progress.advance_of(count, total);
    let jobs = Jobs::of(places.settings.jobs);
    let read = Sessions::read(&places.store, &places.home, jobs, advance, &stop);
    drop(progress);
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            Err(Failure::new(Exit::Interrupted, "stopped while the sessions were read"))
        }
        Err(_) => Ok(None),
    }
}

/// Remembers what was read, if it was much. That fails only in being of use the next time.
fn remember(sessions: &Sessions, places: &Places, session: &mut Session) {
    for (path, why) in sessions.scan.skipped.iter().take(3) {
        let path = session.show(path);
        session.warn(format!("{path} was not read: {why}"));
    }
    if let Some(more @ 1..) = sessions.scan.skipped.len().checked_sub(3) {
        session.warn(format!("{} more were not read", count(more, "session file")));
    }
    if !sessions.is_worth_remembering() {
        return;
    }
    let kept = session
        .open(places, "history")
        .and_then(|opened| Ok(sessions.remember(&places.store, &opened.lock)?));
    if let Err(failure) = kept {
        session.warn(format!("what was read is not remembered: {}", failure.message));
    }
}

/// What the accounts are called.
struct Names {
    all: Vec<Account>,
    labels: BTreeMap<AccountKey, String>,
}

impl Names {
    /// Those that are known, and those that only a session tells of.
    fn new(known: &Overview, told: &History) -> Self {
        let mut all: Vec<Account> =
            known.accounts.iter().map(|account| account.account.clone()).collect();
        let candidates = told.events.iter().flat_map(|event| &event.candidates);
        for key in told.accounts.keys().chain(candidates) {
            if !all.iter().any(|account| account.key == *key) {
                all.push(Account { key: key.clone(), email: None, alias: None });
            }
        }
        let label = |account: &Account| (account.key.clone(), account::label(account, &all));
        let labels = all.iter().map(label).collect();
        Self { all, labels }
    }

    fn of(&self, key: &AccountKey) -> String {
        self.labels.get(key).cloned().unwrap_or_else(|| key.short_id())
    }

    /// Whom an event happened to, or may have happened to.
    fn whom(&self, event: &Event) -> String {
        match (&event.account, event.candidates.as_slice()) {
            (Some(key), _) => self.of(key),
            (None, []) => "?".to_owned(),
            (None, several) => {
                let names: Vec<String> = several.iter().map(|key| self.of(key)).collect();
                format!("{}?", names.join(" or "))
            }
        }
    }
}

fn rows<'a>(told: &'a History, names: &'a Names, known: &Overview) -> Vec<Row<'a>> {
    let rows = told.accounts.iter().map(|(key, past)| {
        let account = names.all.iter().find(|account| account.key == *key);
        Row {
            account: key,
            email: account.and_then(|account| account.email.as_ref()),
            alias: account.and_then(|account| account.alias.as_deref()),
            active: known.live().key() == Some(key),
            sessions: past.sessions(),
            days: past.days.iter().map(|(day, n)| json!({ "day": day, "sessions": n })).collect(),
            weeks: &past.weeks,
        }
    });
    rows.collect()
}

fn draw(told: &History, left_out: usize, names: &Names, zone: &Zone, session: &Session) -> String {
    let width = session.world.width;
    let now = session.world.now;
    let wall = |at: Stamp| zone.wall(at.instant()).format("%a %d %b %H:%M").to_string();
    let mut text = String::new();
    let mut weeks = Table::new(&[
        ("ACCOUNT", 0),
        ("WEEK BEGAN", 2),
        ("RESET", 0),
        ("USED", 0),
        ("USED UP", 3),
        ("SESSIONS", 1),
        ("SOURCE", 4),
    ]);
    let mut is_empty = true;
    for (key, past) in &told.accounts {
        for week in &past.weeks {
            is_empty = false;
            let mark = if now < week.resets_at.instant() { "" } else { "was " };
            weeks.row([
                names.of(key),
                wall(week.began_at),
                format!("{mark}{}", wall(week.resets_at)),
                percent(week.used_percent),
                or_dash(week.used_up_at.map(wall)),
                week.sessions.to_string(),
                told_by(&week.source, week.confidence),
            ]);
            if week.used_up_at.is_some() {
                weeks.accent(&percent(week.used_percent), CARE);
            }
        }
    }
    if !is_empty {
        text.push_str(&weeks.draw(width));
    }
    let mut events =
        Table::new(&[("WHEN", 0), ("ACCOUNT", 0), ("WHAT", 0), ("UNTIL", 1), ("SOURCE", 2)]);
    for event in &told.events {
        events.row([
            wall(event.at),
            names.whom(event),
            words(&event.what),
            until(&event.what).map(wall).unwrap_or_default(),
            told_by(&event.source, event.confidence),
        ]);
    }
    if !told.events.is_empty() {
        if !is_empty {
            text.push('\n');
        }
        text.push_str(&events.draw(width));
    }
    if 0 < left_out {
        text.push_str(&format!("{} before that: raise --limit\n", count(left_out, "event")));
    }
    if 0 < told.ambiguous_sessions {
        let sessions = count(told.ambiguous_sessions, "session");
        let what = format!("{sessions} counted for no account: nobody can tell whose");
        text.push_str(&format!("{}\n", styled(&what, CARE)));
    }
    if text.is_empty() {
        text.push_str("nothing is known of that time\n");
    }
    text
}

/// The source, and how sure it is, unless it is certain.
fn told_by(source: &impl std::fmt::Display, confidence: Confidence) -> String {
    match confidence {
        Confidence::Certain => source.to_string(),
        Confidence::Likely | Confidence::Ambiguous => format!("{source}, {confidence}"),
    }
}

fn words(what: &What) -> String {
    match what {
        What::Activated => "signed in by codex-manager".to_owned(),
        What::Noticed { between } => match &between.after {
            Some(_) => "signed in by hand".to_owned(),
            None => "found to be signed in".to_owned(),
        },
        What::SetAside { .. } => "set aside".to_owned(),
        What::Cleared => "counts by its quota again".to_owned(),
        What::LimitReached { minutes, .. } => match window::Kind::of(*minutes) {
            window::Kind::Other => "limit reached".to_owned(),
            kind => format!("{kind} used up"),
        },
        What::Reset => "week reset".to_owned(),
        What::Sessions { sessions } => format!("{} begun", count(*sessions, "session")),
    }
}

/// How long that lasts.
fn until(what: &What) -> Option<Stamp> {
    match what {
        What::SetAside { until } => Some(*until),
        What::LimitReached { resets_at, .. } => *resets_at,
        _ => None,
    }
}
