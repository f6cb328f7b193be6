//! `verify`: are snapshots what they were?

use std::sync::Arc;
use std::sync::atomic::Ordering;

use anstyle::Style;
use serde::Serialize;

use crate::cli::accounts::{named, snapshot};
use crate::cli::cooldown::look_at_store;
use crate::cli::exit::Failure;
use crate::cli::picture::{BAD, CARE, FAINT, GOOD, bytes, count, plain, styled};
use crate::cli::progress::Progress;
use crate::cli::session::{Places, Session};
use crate::cli::{Exit, Report};
use crate::disk::Jobs;
use crate::overview::{self, Overview};
use crate::snapshot::store::{Odd, OddKind, Stored};
use crate::snapshot::verify::{self, Damaged, Found, Verdict};

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

/// The document.
#[derive(Serialize)]
struct Verdicts {
    snapshots: Vec<Row>,
    summary: Summary,
}

#[derive(Serialize)]
struct Row {
    name: String,
    verdict: Verdict,
    problems: Vec<String>,
    damaged: Vec<Damaged>,
    damaged_files: usize,
}

impl Row {
    fn new(name: String, found: Found) -> Self {
        let Found { verdict, problems, damaged, damaged_files } = found;
        Self { name, verdict, problems, damaged, damaged_files }
    }
}

/// How many of each, for a job that looks at one line.
#[derive(Default, Serialize)]
struct Summary {
    snapshots: u64,
    ok: u64,
    corrupt: u64,
    unverifiable: u64,
    gone: u64,
    /// Bytes of content that are right.
    bytes: u64,
}

pub(crate) fn run(args: &Args, session: &mut Session) -> Result<Report, Failure> {
    let places = session.places()?;
    let Chosen { mut rows, snapshots } = choose(args, &places, session)?;
    let mut summary = Summary::default();
    let total = snapshots.iter().filter_map(|stored| stored.metadata.archive.as_ref());
    let total = total.map(|archive| archive.content_bytes).sum();
    let mut progress = Progress::bytes("verifying", total, session);
    let stop = Arc::clone(&session.world.interrupted);
    let jobs = Jobs::of(places.settings.jobs);
    for stored in &snapshots {
        let mut advance = |count: u64| {
            summary.bytes = summary.bytes.saturating_add(count);
            progress.advance(count);
        };
        let found = verify::verify(stored, &places.zone, jobs, &mut advance, &stop);
        if stop.load(Ordering::Relaxed) {
            return Err(Failure::new(Exit::Interrupted, "the check was stopped"));
        }
        rows.push(Row::new(stored.title.clone(), found));
    }
    drop(progress);
    for row in &rows {
        summary.snapshots += 1;
        *match row.verdict {
            Verdict::Ok => &mut summary.ok,
            Verdict::Corrupt => &mut summary.corrupt,
            Verdict::Unverifiable => &mut summary.unverifiable,
            Verdict::Gone => &mut summary.gone,
        } += 1;
    }
    let exit = if summary.corrupt == 0 { Exit::Done } else { Exit::Refused };
    let text = draw(&rows, &summary, session.global.quiet);
    Ok(Report::new(&Verdicts { snapshots: rows, summary }, text).exit(exit))
}

/// What is to be checked, and what needs no check to be told.
struct Chosen {
    rows: Vec<Row>,
    snapshots: Vec<Stored>,
}

fn choose(args: &Args, places: &Places, session: &mut Session) -> Result<Chosen, Failure> {
    let now = session.world.now;
    if args.all {
        // Told as rows, not as warnings.
        let (store, home) = (&places.store, &places.home);
        let known = overview::observe_store(store, home, &places.config, &places.zone, now)?;
        return Ok(Chosen { rows: odd_ones(&known), snapshots: known.snapshots });
    }
    let known = look_at_store(places, session)?;
    let nothing_is_meant = args.snapshot.is_none() && args.account.is_none();
    if nothing_is_meant && known.snapshots.is_empty() && known.odd.is_empty() {
        return Ok(Chosen { rows: Vec::new(), snapshots: Vec::new() });
    }
    let account = args.account.as_deref().map(|asked| named(asked, &known)).transpose()?;
    let fits = |stored: &Stored| account.is_none_or(|account| stored.is_of(&account.account));
    let asked = args.snapshot.as_deref();
    let stored = snapshot(asked, fits, &known, &places.zone, &session.world)?;
    Ok(Chosen { rows: Vec::new(), snapshots: vec![stored] })
}

/// What cannot even be listed is corrupt too; half of a pair that is missing is no damage. A
/// sidecar that cannot be used is told with its snapshot, unless the archive cannot be either.
fn odd_ones(known: &Overview) -> Vec<Row> {
    let missing = [OddKind::NoSidecar, OddKind::NoArchive];
    let listed = |odd: &Odd| {
        let is_it = |stored: &Stored| {
            stored.archive == odd.path || verify::sidecar_of(stored).as_ref() == Some(&odd.path)
        };
        known.snapshots.iter().any(is_it)
    };
    let told = known.odd.iter().filter(|odd| !missing.contains(&odd.kind) && !listed(odd));
    let row = |odd: &Odd| {
        let name = odd.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_gone = odd
            .path
            .symlink_metadata()
            .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
        let found = if is_gone { Found::gone() } else { Found::corrupt(odd.what.clone()) };
        Row::new(name, found)
    };
    told.map(row).collect()
}

fn told(verdict: Verdict) -> (&'static str, Style) {
    match verdict {
        Verdict::Ok => ("ok", GOOD),
        Verdict::Corrupt => ("corrupt", BAD),
        Verdict::Unverifiable => ("unverifiable", CARE),
        Verdict::Gone => ("gone", FAINT),
    }
}

fn draw(rows: &[Row], summary: &Summary, quiet: bool) -> String {
    if rows.is_empty() {
        let empty = "no snapshot is stored yet: `codex-manager backup` makes one\n";
        return if quiet { String::new() } else { empty.to_owned() };
    }
    let shown = || rows.iter().filter(|row| !quiet || row.verdict != Verdict::Ok);
    let mut text = String::new();
    let widest = shown().map(|row| told(row.verdict).0.len()).max().unwrap_or(0);
    for row in shown() {
        let (word, style) = told(row.verdict);
        let space = " ".repeat(widest.saturating_sub(word.len()));
        text.push_str(&format!("{}{space}  {}\n", styled(word, style), plain(&row.name)));
        for problem in &row.problems {
            text.push_str(&format!("    {}\n", plain(problem)));
        }
    }
    if !quiet {
        text.push_str(&summary.line());
    }
    text
}

impl Summary {
    /// What there is none of is not told, but for the sound ones.
    fn line(&self) -> String {
        let mut line = format!("{}: {} ok", count(self.snapshots, "snapshot"), self.ok);
        let others =
            [(self.corrupt, "corrupt"), (self.unverifiable, "unverifiable"), (self.gone, "gone")];
        for (number, word) in others.into_iter().filter(|(number, _)| *number > 0) {
            line.push_str(&format!(", {number} {word}"));
        }
        line.push_str(&format!(", {} read\n", bytes(self.bytes)));
        line
    }
}
