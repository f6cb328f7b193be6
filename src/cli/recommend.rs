//! `recommend`: which account should work next?

use serde::Serialize;

use crate::cli::accounts::AccountRow;
use crate::cli::cooldown::{look, moment};
use crate::cli::exit::Failure;
use crate::cli::picture::{FAINT, STRONG, plain, styled};
use crate::cli::session::Session;
use crate::cli::{Exit, Report};
use crate::config::Strategy;
use crate::quota::{Candidate, recommend};
use crate::time::Stamp;

/// Name the account to use next
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Explain every account's place, and what would change the answer
    #[arg(long)]
    why: bool,
    /// Evaluate another instant, such as 18:00, +3h or 2026-04-21
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// End with code 10 if no account is ready
    #[arg(long)]
    ready: bool,
}

#[derive(Serialize)]
struct Advice {
    now: Stamp,
    selected: Option<Placed>,
    reason: String,
    alternatives: Vec<Placed>,
    would_change: Vec<String>,
}

#[derive(Serialize)]
struct Placed {
    #[serde(flatten)]
    account: AccountRow,
    reason: String,
}

pub(crate) fn run(args: &Args, session: &mut Session) -> Result<Report, Failure> {
    let places = session.places()?;
    let now = match &args.at {
        Some(text) => moment(text, &places.zone, session.world.now)?,
        None => session.world.now,
    };
    let known = look(&places, now, session)?;
    let candidates: Vec<Candidate> =
        known.accounts.iter().map(|account| account.candidate(now, &places.zone)).collect();
    let advice = recommend(&candidates, Strategy::default(), &places.zone, now);
    let mut placed: Vec<(usize, Placed)> = Vec::new();
    for ranked in &advice.ranked {
        if let (Some(account), Some(candidate)) =
            (known.accounts.get(ranked.index), candidates.get(ranked.index))
        {
            let account = AccountRow::new(account, candidate.availability.clone(), now);
            placed.push((ranked.index, Placed { account, reason: ranked.reason.clone() }));
        }
    }
    let at = placed.iter().position(|(index, _)| Some(*index) == advice.selected);
    let selected = at.map(|at| placed.remove(at).1);
    let data = Advice {
        now: places.zone.stamp(now),
        selected,
        reason: advice.reason,
        alternatives: placed.into_iter().map(|(_, placed)| placed).collect(),
        would_change: advice.would_change,
    };
    let exit = if args.ready && !advice.any_ready { Exit::NothingReady } else { Exit::Done };
    let text = draw(&data, args.why);
    Ok(Report::new(&data, text).exit(exit))
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
