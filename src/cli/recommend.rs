//! `recommend`: which account should work next?

use std::mem::ManuallyDrop;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::cli::accounts::AccountRow;
use crate::cli::cooldown::{glance, moment};
use crate::cli::exit::Failure;
use crate::cli::picture::{FAINT, STRONG, plain, styled};
use crate::cli::session::{Places, Session};
use crate::cli::{Exit, Report};
use crate::config::{Strategy, UnknownStrategy};
use crate::overview::Overview;
use crate::quota::{Candidate, recommend};
use crate::time::Stamp;

/// Name the account to use next
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Explain every account's place, and what would change the answer
    #[arg(long)]
    why: bool,
    #[command(flatten)]
    preference: Preference,
    /// Evaluate another instant, such as 18:00, +3h or 2026-04-21
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// End with code 10 if no account is ready
    #[arg(long)]
    ready: bool,
}

/// How to choose between several.
#[derive(clap::Args, Debug)]
pub(crate) struct Preference {
    /// What decides between ready accounts: lru (least recently used), soonest-reset, most-left [default: setting `strategy`]
    #[arg(long, value_name = "STRATEGY")]
    strategy: Option<String>,
}

impl Preference {
    pub(crate) fn strategy(&self, places: &Places) -> Result<Strategy, Failure> {
        let Some(asked) = &self.strategy else { return Ok(places.settings.strategy) };
        asked.parse().map_err(|error: UnknownStrategy| {
            Failure::usage(format!("{asked:?}: {error}"))
                .hint("`codex-manager config set strategy NAME` sets the one to use by default")
        })
    }
}

/// What is recommended, as it is told.
#[derive(Serialize)]
pub(crate) struct Advice {
    now: Stamp,
    strategy: Strategy,
    pub(crate) selected: Option<Placed>,
    pub(crate) reason: String,
    pub(crate) alternatives: Vec<Placed>,
    would_change: Vec<String>,
    #[serde(skip)]
    pub(crate) any_ready: bool,
}

/// An account in its place.
#[derive(Serialize)]
pub(crate) struct Placed {
    #[serde(flatten)]
    pub(crate) account: AccountRow,
    reason: String,
}

pub(crate) fn run(args: &Args, session: &mut Session) -> Result<Report, Failure> {
    let places = session.places()?;
    let now = match &args.at {
        Some(text) => moment(text, &places.zone, session.world.now)?,
        None => session.world.now,
    };
    // The program ends: to hand back what was learned of thousands, one by one, takes a while.
    let known = ManuallyDrop::new(glance(&places, now, session)?);
    let advice = advice(&args.preference, &known, &places, now)?;
    let exit = if args.ready && !advice.any_ready { Exit::NothingReady } else { Exit::Done };
    let text = draw(&advice, args.why);
    Ok(Report::new(&advice, text).exit(exit))
}

/// Weighs all accounts at an instant.
pub(crate) fn advice(
    preference: &Preference,
    known: &Overview,
    places: &Places,
    now: DateTime<Utc>,
) -> Result<Advice, Failure> {
    let strategy = preference.strategy(places)?;
    let candidates: Vec<Candidate> =
        known.accounts.iter().map(|account| account.candidate(now, &places.zone)).collect();
    let found = recommend(&candidates, strategy, &places.zone, now);
    let mut placed: Vec<(usize, Placed)> = Vec::new();
    for ranked in found.ranked {
        if let (Some(account), Some(candidate)) =
            (known.accounts.get(ranked.index), candidates.get(ranked.index))
        {
            let account = AccountRow::new(account, candidate.availability.clone(), now);
            placed.push((ranked.index, Placed { account, reason: ranked.reason }));
        }
    }
    let at = placed.iter().position(|(index, _)| Some(*index) == found.selected);
    let selected = at.map(|at| placed.remove(at).1);
    Ok(Advice {
        now: places.zone.stamp(now),
        strategy,
        selected,
        reason: found.reason,
        alternatives: placed.into_iter().map(|(_, placed)| placed).collect(),
        would_change: found.would_change,
        any_ready: found.any_ready,
    })
}

fn draw(advice: &Advice, why: bool) -> String {
    let Some(selected) = &advice.selected else {
        return format!("{}\n", plain(&advice.reason));
    };
    let mut text = format!("{}\n", styled(plain(&selected.account.label), STRONG));
    text.push_str(&format!("{}\n", plain(&advice.reason)));
    if why {
        for (title, lines) in [
            (
                "the others:",
                advice
                    .alternatives
                    .iter()
                    .map(|other| format!("{}: {}", other.account.label, other.reason))
                    .collect::<Vec<_>>(),
            ),
            ("what would change this:", advice.would_change.clone()),
        ] {
            if !lines.is_empty() {
                text.push_str(&format!("\n{}\n", styled(title, FAINT)));
            }
            for line in lines {
                text.push_str(&format!("  {}\n", plain(&line)));
            }
        }
    }
    text
}
