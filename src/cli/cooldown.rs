//! `cooldown`: when may each account work again?

use std::io::{self, Write as _};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::json;

use crate::account::{AccountKey, Email};
use crate::cli::accounts::{AccountRow, named};
use crate::cli::exit::Failure;
use crate::cli::picture::{CARE, GOOD, Table, or_dash, percent};
use crate::cli::session::{Places, Session};
use crate::cli::{Exit, Report};
use crate::overview::{self, Overview};
use crate::quota::{Source, State};
use crate::snapshot::operations::{self, Record, Transaction};
use crate::snapshot::undo;
use crate::time::{Stamp, Zone, parse_moment, span};

/// Show when each account may work again
#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    /// Evaluate another instant, such as 18:00, +3h or 2026-04-21
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Stay, and show it anew whenever it changes; Ctrl-C ends it
    #[arg(long, conflicts_with = "at")]
    watch: bool,
    #[command(subcommand)]
    change: Option<Change>,
}

#[derive(clap::Subcommand, Debug)]
enum Change {
    /// Set an account aside until some time, whatever its quota says
    Set(Set),
    /// Take back what `cooldown set` did
    Clear(Clear),
}

#[derive(clap::Args, Debug)]
struct Set {
    /// Alias, e-mail, a unique part of either, or short id
    account: String,
    /// Until when, such as "2026-04-21 15:55", 18:00 or +3d
    #[arg(long, value_name = "TIME")]
    until: String,
    /// Say what would happen, and stop
    #[arg(long)]
    dry_run: bool,
}

#[derive(clap::Args, Debug)]
struct Clear {
    /// Alias, e-mail, a unique part of either, or short id
    account: String,
    /// Say what would happen, and stop
    #[arg(long)]
    dry_run: bool,
}

/// How often a watched table is looked at anew.
const PACE: TimeDelta = TimeDelta::seconds(2);

#[derive(Serialize)]
struct Cooldowns {
    now: Stamp,
    accounts: Vec<AccountRow>,
}

pub(crate) fn run(args: &Args, session: &mut Session) -> Result<Report, Failure> {
    let places = session.places()?;
    match &args.change {
        None if args.watch => watch(&places, session),
        None => show(args.at.as_deref(), &places, session),
        Some(Change::Set(set)) => {
            let until = moment(&set.until, &places.zone, session.world.now)?;
            if until <= session.world.now {
                return Err(Failure::usage(format!("{:?} has passed already", set.until))
                    .hint("`codex-manager cooldown clear ACCOUNT` ends a cooldown"));
            }
            change(&set.account, Some(until), set.dry_run, &places, session)
        }
        Some(Change::Clear(clear)) => change(&clear.account, None, clear.dry_run, &places, session),
    }
}

/// Reads `--at` and `--until`.
pub(crate) fn moment(
    text: &str,
    zone: &Zone,
    now: DateTime<Utc>,
) -> Result<DateTime<Utc>, Failure> {
    parse_moment(text, zone, now)
        .map_err(|error| Failure::usage(error.to_string()).hint(error.hint()))
}

fn show(at: Option<&str>, places: &Places, session: &mut Session) -> Result<Report, Failure> {
    let now = match at {
        Some(text) => moment(text, &places.zone, session.world.now)?,
        None => session.world.now,
    };
    let rows = rows(places, now, session)?;
    let text = draw(&rows, now, &places.zone, session);
    Ok(Report::new(&Cooldowns { now: places.zone.stamp(now), accounts: rows }, text))
}

/// The accounts at an instant, in their order.
fn rows(
    places: &Places,
    now: DateTime<Utc>,
    session: &mut Session,
) -> Result<Vec<AccountRow>, Failure> {
    let known = glance(places, now, session)?;
    let mut rows: Vec<AccountRow> = known
        .accounts
        .iter()
        .map(|account| AccountRow::new(account, account.availability(now, &places.zone), now))
        .collect();
    // Ready first, then by the end of the wait (unknown last), then by address.
    rows.sort_by_key(|row| {
        let end = row.next_available_at.map_or((1, None), |at| (0, Some(at)));
        (row.state, end, row.email.clone(), row.account.clone())
    });
    Ok(rows)
}

/// Shows the table until the user has seen enough: on a terminal in one place, elsewhere anew each
/// time an account's state changes.
fn watch(places: &Places, session: &mut Session) -> Result<Report, Failure> {
    if session.global.json {
        return Err(Failure::usage("--watch never ends, and --json is one document")
            .hint("run `codex-manager cooldown --json` as often as you like, or `ready --wait`"));
    }
    let in_place = session.world.terminals.out;
    let mut shown = None;
    let mut size = (None, None);
    loop {
        let now = session.world.now;
        let lines = if in_place { session.world.measure() } else { None };
        if size != (session.world.width, lines) {
            // A terminal that was resized has broken the lines of the last one.
            size = (session.world.width, lines);
            shown = None;
        }
        let rows = rows(places, now, session)?;
        let text = draw(&rows, now, &places.zone, session);
        let told = match in_place {
            true => text.clone(),
            false => format!(
                "{:?}",
                rows.iter().map(|row| (&row.account, row.state, row.disabled)).collect::<Vec<_>>()
            ),
        };
        if shown.as_ref() != Some(&told) {
            let text = session.dressed(&text);
            let text = if in_place { repaint(&text, lines, shown.is_none()) } else { text };
            let out = &mut session.world.out;
            let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            match written {
                Ok(()) => shown = Some(told),
                // Who listened has gone.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    return Ok(Report::new(&(), ""));
                }
                Err(error) => {
                    let what = format!("cannot write the result: {error}");
                    return Err(Failure::new(Exit::Failed, what));
                }
            }
        }
        if !session.world.wait_until(now + PACE, &|| false) {
            if in_place {
                // Behind the `^C` that the terminal shows; one that has gone needs none.
                drop(session.world.out.write_all(b"\n"));
            }
            return Ok(Report::new(&(), "").exit(Exit::Interrupted));
        }
    }
}

/// The text in place of what the terminal shows: from its top, without flicker. Of a text that is
/// too long for its lines what fits is shown, for a terminal that scrolls is not painted over, and
/// no line runs on into the next.
fn repaint(text: &str, height: Option<usize>, first: bool) -> String {
    let mut painted = String::from(if first { "\u{1b}[2J\u{1b}[H" } else { "\u{1b}[H" });
    painted.push_str("\u{1b}[?7l");
    let all = text.lines().count();
    // The last line of the terminal is where the cursor stays.
    let room = height.map_or(all, |height| height.saturating_sub(1));
    let told = if room < all { room.saturating_sub(1) } else { all };
    for line in text.lines().take(told) {
        painted.push_str(line);
        painted.push_str("\u{1b}[K\n");
    }
    if told < all && 0 < room {
        painted.push_str(&format!("… {} more\u{1b}[K\n", all - told));
    }
    painted.push_str("\u{1b}[J\u{1b}[?7h");
    painted
}

/// Looks at everything, and warns of what could not be read.
pub(crate) fn look(
    places: &Places,
    now: DateTime<Utc>,
    session: &mut Session,
) -> Result<Overview, Failure> {
    let known = overview::observe(&places.store, &places.home, &places.config, &places.zone, now)?;
    Ok(warned(known, session))
}

/// The same, but of the session files only at the recent ones: for commands that note down the
/// newest limits and decide nothing by them.
pub(crate) fn look_at_recent(places: &Places, session: &mut Session) -> Result<Overview, Failure> {
    let now = session.world.now;
    let Places { store, home, config, zone, .. } = places;
    let known = overview::observe_recent(store, home, config, zone, now)?;
    Ok(warned(known, session))
}

/// The same, by what is remembered of sidecars: for commands that only look.
pub(crate) fn glance(
    places: &Places,
    now: DateTime<Utc>,
    session: &mut Session,
) -> Result<Overview, Failure> {
    let Places { store, home, config, zone, .. } = places;
    let known = overview::glance(store, home, config, zone, now, session.world.now)?;
    Ok(warned(known, session))
}

/// Looks at everything but the session files, for commands that have no use for quotas.
pub(crate) fn look_at_store(places: &Places, session: &mut Session) -> Result<Overview, Failure> {
    let now = session.world.now;
    let Places { store, home, config, zone, .. } = places;
    let known = overview::observe_store(store, home, config, zone, now)?;
    Ok(warned(known, session))
}

/// The same, by what is remembered of sidecars: for commands that only look.
pub(crate) fn glance_at_store(places: &Places, session: &mut Session) -> Result<Overview, Failure> {
    let now = session.world.now;
    let Places { store, home, config, zone, .. } = places;
    let known = overview::glance_store(store, home, config, zone, now, now)?;
    Ok(warned(known, session))
}

/// Warns of what could not be read.
fn warned(known: Overview, session: &mut Session) -> Overview {
    for warning in &known.warnings {
        session.warn(warning.clone());
    }
    known
}

fn draw(rows: &[AccountRow], now: DateTime<Utc>, zone: &Zone, session: &Session) -> String {
    if rows.is_empty() {
        return "no account is known yet: `codex-manager backup` stores the current one\n"
            .to_owned();
    }
    let mut table = Table::new(&[
        ("", 0),
        ("ACCOUNT", 0),
        ("STATE", 0),
        ("LEFT", 2),
        ("AVAILABLE", 0),
        ("IN", 1),
        ("SOURCE", 3),
        ("AGE", 4),
    ]);
    table.cut("ACCOUNT", 8);
    for row in rows {
        let waits = row.state == State::Cooldown;
        let available = match row.next_available_at {
            _ if !waits => "now".to_owned(),
            Some(at) => zone.wall(at.instant()).format("%a %d %b %H:%M").to_string(),
            None => "unknown".to_owned(),
        };
        let remaining = row.next_available_at.filter(|_| waits);
        let mark = if row.active { "*" } else { "" };
        let state = match row.disabled {
            true => format!("{}, disabled", row.state),
            false => row.state.to_string(),
        };
        let style = if waits || row.disabled { CARE } else { GOOD };
        table.row([
            mark.to_owned(),
            row.label.clone(),
            state.clone(),
            percent(row.left_percent),
            available,
            or_dash(remaining.map(|at| span(at.instant() - now))),
            or_dash(row.source),
            or_dash(row.observed_at.map(|at| span(now - at.instant()))),
        ]);
        table.accent(&format!("  {state}"), style);
    }
    table.draw(session.world.width)
}

fn change(
    asked: &str,
    until: Option<DateTime<Utc>>,
    dry_run: bool,
    places: &Places,
    session: &mut Session,
) -> Result<Report, Failure> {
    let now = session.world.now;
    // A dry run takes no lock and creates nothing.
    let opened = if dry_run { None } else { Some(session.open(places, "cooldown")?) };
    let known = look(places, now, session)?;
    let (account, email, label) = subject(asked, &known)?;
    let at = places.zone.stamp(now);
    let (keys, until, done) = match until {
        Some(until) => {
            let wall = places.zone.wall(until).format("%a %d %b %Y %H:%M");
            let done = format!("{label} rests until {wall}");
            (vec![account.clone()], Some(places.zone.stamp(until)), done)
        }
        None => {
            let keys = set_aside(&account, email.as_ref(), &known, now);
            let done = match keys.is_empty() {
                true => format!("{label} was not set aside; nothing to clear"),
                false => format!("{label} counts by its quota again"),
            };
            (keys, None, done)
        }
    };
    let changes: Vec<operations::Change> = keys
        .into_iter()
        .map(|account| operations::Change::Cooldown {
            before: known.ledger.set_aside_until(&account),
            after: until,
            email: email.clone(),
            account,
        })
        .collect();
    if let Some(opened) = opened.as_ref().filter(|_| !changes.is_empty()) {
        let command = if until.is_some() { "cooldown set" } else { "cooldown clear" };
        let record = session.record(&places.store, &places.zone, command, done.clone())?;
        let transaction = Transaction {
            steps: vec![undo::in_ledger(&changes, at, &places.store)?],
            record: Some(Record { changes: changes.clone(), ..record }),
            ..Transaction::default()
        };
        for warning in transaction.run(&places.store, &opened.lock)? {
            session.warn(warning);
        }
    }
    let data = json!({
        "account": account,
        "email": email,
        "until": until,
        "changed": !changes.is_empty() && !dry_run,
        "dry_run": dry_run,
    });
    let text = if dry_run { format!("would: {done}\n") } else { format!("{done}\n") };
    Ok(Report::new(&data, text))
}

/// The keys under which a cooldown of this account was set that still holds: its own, and its
/// address alone, if it was set before anybody knew whose address that is.
fn set_aside(
    account: &AccountKey,
    email: Option<&Email>,
    known: &Overview,
    now: DateTime<Utc>,
) -> Vec<AccountKey> {
    let address = email.map(|email| AccountKey::Email(email.clone()));
    // An address that is an account by itself is somebody else, or several.
    let is_its_own = |key: &AccountKey| known.accounts.iter().any(|it| it.account.key == *key);
    let address = address.filter(|key| key != account && !is_its_own(key));
    let holds = |key: &AccountKey| {
        known.ledger.readings(key, now).iter().any(|reading| {
            reading.source == Source::Manual
                && reading
                    .windows
                    .iter()
                    .any(|window| window.resets_at.is_some_and(|reset| now < reset.instant()))
        })
    };
    std::iter::once(account.clone()).chain(address).filter(holds).collect()
}

/// The account that is meant; a whole address may be that of an account nobody has seen yet.
fn subject(asked: &str, known: &Overview) -> Result<(AccountKey, Option<Email>, String), Failure> {
    match (named(asked, known), asked.parse::<Email>()) {
        (Ok(found), _) => {
            Ok((found.account.key.clone(), found.account.email.clone(), found.label.clone()))
        }
        (Err(failure), Ok(email)) if failure.exit == Exit::Usage => {
            Ok((AccountKey::Email(email.clone()), Some(email.clone()), email.to_string()))
        }
        (Err(failure), _) => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_painted_over_the_one_before_and_leaves_nothing_of_it() {
        let painted =
            |text: &str, height, first| repaint(text, height, first).replace('\u{1b}', "^");
        assert_eq!(painted("a\nb\n", None, true), "^[2J^[H^[?7la^[K\nb^[K\n^[J^[?7h");
        assert_eq!(painted("a\n", None, false), "^[H^[?7la^[K\n^[J^[?7h");
    }

    #[test]
    #[rustfmt::skip]
    fn a_table_that_is_higher_than_the_terminal_does_not_scroll_it() {
        let lines = |height| {
            let painted = repaint("a\nb\nc\nd\n", Some(height), false).replace("\u{1b}[K", "");
            let painted = painted.strip_prefix("\u{1b}[H\u{1b}[?7l").unwrap().to_owned();
            painted.strip_suffix("\u{1b}[J\u{1b}[?7h").unwrap().replace('\n', "/")
        };
        assert_eq!(lines(6), "a/b/c/d/");
        assert_eq!(lines(5), "a/b/c/d/");
        assert_eq!(lines(4), "a/b/… 2 more/");
        assert_eq!(lines(3), "a/… 3 more/");
        assert_eq!(lines(2), "… 4 more/");
        assert_eq!(lines(1), "");
        assert_eq!(lines(0), "");
    }
}
