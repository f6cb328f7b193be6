//! `verify`: are snapshots what they were?

use std::sync::atomic::Ordering;

use serde::Serialize;

use crate::cli::accounts::{named, snapshot};
use crate::cli::cooldown::look;
use crate::cli::exit::Failure;
use anstyle::Style;

use crate::cli::picture::{BAD, CARE, GOOD, count, plain, styled};
use crate::cli::progress::Progress;
use crate::cli::session::Session;
use crate::cli::{Exit, Report};
use crate::overview;
use crate::snapshot::store::{self, Odd, OddKind, Stored};
use crate::snapshot::verify::{self, Verdict};

/// Check snapshots against their digests
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Base name, a unique part of it, label or path of an archive [default: the newest]
    snapshot: Option<String>,
    /// Every snapshot there is
    #[arg(long, conflicts_with_all = ["snapshot", "account"])]
    all: bool,
    /// The newest of this account
    #[arg(long, value_name = "ACCOUNT", conflicts_with = "snapshot")]
    account: Option<String>,
}

#[derive(Serialize)]
struct Verdicts {
    snapshots: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    name: String,
    verdict: Verdict,
    problems: Vec<String>,
}

pub(crate) fn run(args: &Args, session: &mut Session) -> Result<Report, Failure> {
    let places = session.places()?;
    let now = session.world.now;
    let (mut rows, mut unlisted) = (Vec::new(), 0_usize);
    let chosen: Vec<Stored> = if args.all {
        // Told as rows, not as warnings.
        let (store, home) = (&places.store, &places.home);
        let known = overview::observe(store, home, &places.config, &places.zone, now)?;
        // What cannot even be listed is corrupt too; half of a pair that is missing is no damage.
        let missing = [OddKind::NoSidecar, OddKind::NoArchive];
        // A sidecar that cannot be read is a problem of its snapshot, which is checked by itself.
        let is_of = |stored: &Stored, odd: &Odd| {
            stored.archive == odd.path
                || store::damaged_sidecar(stored).is_some_and(|(path, _)| path == odd.path)
        };
        let listed = |odd: &Odd| known.snapshots.iter().any(|stored| is_of(stored, odd));
        for odd in known.odd.iter().filter(|odd| !missing.contains(&odd.kind) && !listed(odd)) {
            unlisted += 1;
            rows.push(Row {
                name: odd.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                verdict: Verdict::Corrupt,
                problems: vec![odd.what.clone()],
            });
        }
        known.snapshots
    } else {
        let known = look(&places, now, session)?;
        let account = args.account.as_deref().map(|asked| named(asked, &known)).transpose()?;
        let fits = |stored: &Stored| account.is_none_or(|account| stored.is_of(&account.account));
        vec![snapshot(args.snapshot.as_deref(), fits, &known, &places.zone, &session.world)?]
    };
    let total = chosen.iter().filter_map(|stored| stored.metadata.archive.as_ref());
    let total = total.map(|archive| archive.content_bytes).sum();
    let mut progress = Progress::bytes("verifying", total, session);
    let stop = std::sync::Arc::clone(&session.world.interrupted);
    for stored in &chosen {
        let (verdict, problems) =
            verify::verify(stored, &mut |count| progress.advance(count), &stop);
        if stop.load(Ordering::Relaxed) {
            return Err(Failure::new(Exit::Interrupted, "the check was stopped"));
        }
        rows.push(Row { name: stored.title.clone(), verdict, problems });
    }
    drop(progress);
    let text = draw(&rows, chosen.len() + unlisted);
    let corrupt = rows.iter().any(|row| row.verdict == Verdict::Corrupt);
    let report = Report::new(&Verdicts { snapshots: rows }, text);
    Ok(report.exit(if corrupt { Exit::Refused } else { Exit::Done }))
}

fn told(verdict: Verdict) -> (&'static str, Style) {
    match verdict {
        Verdict::Ok => ("ok", GOOD),
        Verdict::Corrupt => ("corrupt", BAD),
        Verdict::Unverifiable => ("unverifiable", CARE),
    }
}

fn draw(rows: &[Row], checked: usize) -> String {
    let mut text = String::new();
    let widest = rows.iter().map(|row| told(row.verdict).0.len()).max().unwrap_or(0);
    for row in rows {
        let (word, style) = told(row.verdict);
        let space = " ".repeat(widest.saturating_sub(word.len()));
        text.push_str(&format!("{}{space}  {}\n", styled(word, style), plain(&row.name)));
        for problem in &row.problems {
            text.push_str(&format!("    {}\n", plain(problem)));
        }
    }
    let corrupt = rows.iter().filter(|row| row.verdict == Verdict::Corrupt).count();
    let checked = count(u64::try_from(checked).unwrap_or(u64::MAX), "snapshot");
    text.push_str(&match corrupt {
        0 => format!("{checked} checked, nothing is wrong\n"),
        bad => format!("{checked} checked, {bad} corrupt\n"),
    });
    text
}
