//! `ready`: may an account work now, and if not, when?

use std::io::Write as _;
use std::path::PathBuf;
use std::time::SystemTime;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::cli::accounts::{AccountRow, named};
use crate::cli::cooldown::{glance, moment};
use crate::cli::exit::Failure;
use crate::cli::picture::{FAINT, plain, styled};
use crate::cli::recommend::{Preference, advice};
use crate::cli::session::{Places, Session};
use crate::cli::{Exit, Report};
use crate::overview::Overview;
use crate::time::Stamp;

/// How long a wait goes on at most before everything is looked at anew: a session may have told
/// something. What is changed in the manager home or the login is noticed at once.
const LOOK_AGAIN: TimeDelta = TimeDelta::minutes(15);

/// Tell whether an account may work now, for scripts: code 0 if so, 10 if not
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Only this one: alias, e-mail, a unique part of either, or short id [default: any that is not disabled]
    account: Option<String>,
    #[command(flatten)]
    preference: Preference,
    /// Wait until it may
    #[arg(long)]
    wait: bool,
    /// Give up waiting then, such as 18:00 or +2h
    #[arg(long, value_name = "TIME", requires = "wait")]
    until: Option<String>,
}

#[derive(Serialize)]
struct Readiness {
    now: Stamp,
    ready: bool,
    /// The account that is meant, or else would be recommended.
    account: Option<AccountRow>,
    reason: String,
    waited_seconds: i64,
}

/// What one look tells.
struct Look {
    account: Option<AccountRow>,
    ready: bool,
    reason: String,
    /// When the answer changes by itself; `None` if nothing tells.
    changes_at: Option<DateTime<Utc>>,
    /// Whether waiting could help.
    in_vain: bool,
}

pub(crate) fn run(args: &Args, session: &mut Session) -> Result<Report, Failure> {
    let places = session.places()?;
    let began = session.world.now;
    let until = match &args.until {
        Some(text) => Some(moment(text, &places.zone, began)?),
        None => None,
    };
    let mut waiting = false;
    let found = loop {
        let now = session.world.now;
        let known = glance(&places, now, session)?;
        let found = judge(args, &known, &places, now)?;
        let given_up = until.is_some_and(|until| until <= now);
        if found.ready || !args.wait || found.in_vain || given_up {
            break found;
        }
        if !waiting {
            tell(&found.reason, session);
            waiting = true;
        }
        let next = now + LOOK_AGAIN;
        let next =
            found.changes_at.map_or(next, |at| at.min(next)).max(now + TimeDelta::seconds(1));
        let next = until.map_or(next, |until| until.min(next));
        let seen = footprint(&places);
        if !session.world.wait_until(next, &|| footprint(&places) != seen) {
            return Err(Failure::new(Exit::Interrupted, "stopped while waiting"));
        }
    };
    let now = session.world.now;
    let exit = if found.ready { Exit::Done } else { Exit::NothingReady };
    let text = format!("{}\n", plain(&found.reason));
    let data = Readiness {
        now: places.zone.stamp(now),
        ready: found.ready,
        account: found.account,
        reason: found.reason,
        waited_seconds: (now - began).num_seconds(),
    };
    Ok(Report::new(&data, text).exit(exit))
}

fn judge(
    args: &Args,
    known: &Overview,
    places: &Places,
    now: DateTime<Utc>,
) -> Result<Look, Failure> {
    if let Some(asked) = &args.account {
        let account = named(asked, known)?;
        let availability = account.availability(now, &places.zone);
        let reason = format!("{}: {}", account.label, availability.reason(&places.zone, now));
        let ready = availability.is_ready();
        let changes_at = availability.next_available_at.map(|at| at.instant());
        let account = Some(AccountRow::new(account, availability, now));
        return Ok(Look { account, ready, reason, changes_at, in_vain: false });
    }
    let advice = advice(&args.preference, known, places, now)?;
    let account = advice.selected;
    let changes_at = account.as_ref().and_then(|it| it.account.next_available_at);
    Ok(Look {
        ready: advice.any_ready,
        changes_at: changes_at.map(|at| at.instant()),
        // With nobody to wait for, nobody ever comes.
        in_vain: account.is_none() && advice.alternatives.iter().all(|it| it.account.disabled),
        account: account.map(|placed| placed.account),
        reason: advice.reason,
    })
}

/// What tells that somebody changed a setting, a cooldown, a snapshot or the login.
fn footprint(places: &Places) -> Vec<Option<(SystemTime, u64)>> {
    let store = &places.store;
    let watched =
        [store.ledger(), store.config(), store.inventory(), store.backups(), places.home.auth()];
    let look = |path: &PathBuf| {
        let facts = std::fs::metadata(path).ok()?;
        Some((facts.modified().ok()?, facts.len()))
    };
    watched.iter().map(look).collect()
}

/// Says once, where a person looks, what is waited for.
fn tell(reason: &str, session: &mut Session) {
    if session.global.quiet || session.global.json {
        return;
    }
    let line = format!("{} {}\n", styled("waiting:", FAINT), plain(reason));
    let line = session.dressed(&line);
    // Who cannot be told waits all the same.
    let _unheard = session.world.err.write_all(line.as_bytes());
}
