//! `doctor`: look for what is wrong, and mend what can be mended without asking.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::cli::exit::Failure;
use crate::cli::holders;
use crate::cli::picture::{BAD, CARE, FAINT, GOOD, STRONG, count, plain, styled};
use crate::cli::session::{Places, Session};
use crate::cli::{Exit, Report};
use crate::codex::process::{self, Holder, Holders, Unseen};
use crate::codex::program::{Limits, Output, ProgramError, Task};
use crate::disk::lock::Lock;
use crate::doctor::mend::{self, Fault, Mend, Mended};
use crate::doctor::{self, Facts, Finding, Level, Program};
use crate::snapshot::operations::{self, Change, Record};

/// How long Codex may take to tell its version.
const PATIENCE: Duration = Duration::from_secs(5);

/// What of that is read, in bytes.
const VERSION_CAP: u64 = 4_096;

/// What of that is shown, in characters.
const VERSION_SHOWN: usize = 60;

/// Look for what is wrong
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Mend what nobody would miss: rights of others, missing sidecars, what interrupted runs left
    #[arg(long)]
    fix: bool,
    /// With --fix, say what would happen, and stop
    #[arg(long, requires = "fix")]
    dry_run: bool,
}

#[derive(Serialize)]
struct Found {
    findings: Vec<Finding>,
    worst: Level,
    fixed: Vec<Mend>,
    left: Vec<Mend>,
    dry_run: bool,
    /// Who uses the Codex home, and what of that could not be seen.
    holders: Vec<Holder>,
    bystanders: Vec<Holder>,
    unseen: Vec<Unseen>,
}

pub(crate) fn run(args: &Args, session: &mut Session) -> Result<Report, Failure> {
    let (places, faults) = session.places_despite_faults()?;
    let (Mended { fixed, left, .. }, is_noted) =
        if args.fix { fix(&places, args.dry_run, session)? } else { (Mended::default(), true) };
    let faults: Vec<_> = faults.into_iter().map(|fault| (fault.message, fault.hint)).collect();
    let holders = process::holders(&holders::place(&places, session));
    let findings = doctor::examine(&Facts {
        store: &places.store,
        home: &places.home,
        surroundings: session.surroundings(),
        config: &places.config,
        faults: &faults,
        program: &program(&places, session),
        holders: &holders,
        zone: &places.zone,
        show: &|path| session.show(path),
    });
    let text = draw_mended(args, &fixed, &left, session) + &draw(&findings);
    let worst = doctor::worst(&findings);
    // What was to be mended and was not is work done in part, and so is what the log does not tell.
    let is_done = worst != Level::Error && left.is_empty() && is_noted;
    let exit = if is_done { Exit::Done } else { Exit::Failed };
    let Holders { found: holders, bystanders, unseen, .. } = holders;
    let dry_run = args.dry_run;
    let found = Found { findings, worst, fixed, left, dry_run, holders, bystanders, unseen };
    Ok(Report::new(&found, text).exit(exit))
}

/// Mends what can be mended, under the lock; where there is nothing to do, or it is only to be
/// told, nothing is written. Answers whether the log tells of it, too.
fn fix(places: &Places, dry_run: bool, session: &mut Session) -> Result<(Mended, bool), Failure> {
    session.home_beside(&places.store, &places.settings)?;
    places.store.refuse_foreign()?;
    let survey = || mend::survey(&places.store, &places.home, &places.zone);
    let before = survey();
    if dry_run || before.is_empty() {
        let fixed = before.iter().map(Fault::announced).collect();
        return Ok((Mended { fixed, ..Mended::default() }, true));
    }
    // Opening finishes and sweeps; what is still there afterwards is ours to mend.
    let opened = session.open(places, "doctor --fix")?;
    let mended = mend::apply(&before, &survey(), &session.world.interrupted);
    let mut is_noted = true;
    if 0 < mended.narrowed + mended.sidecars
        && let Err(failure) = note(&mended, places, &opened.lock, session)
    {
        session.warn(format!("it is done, but was not noted down: {}", failure.message));
        is_noted = false;
    }
    Ok((mended, is_noted))
}

/// Writes down what was mended. What opening the store did by itself is no operation of anybody.
fn note(mended: &Mended, places: &Places, lock: &Lock, session: &Session) -> Result<(), Failure> {
    let done = [
        (mended.narrowed, "took the rights of others from", "file or folder", "files and folders"),
        (mended.sidecars, "wrote", "missing sidecar", "missing sidecars"),
    ];
    let done = done.iter().filter(|(number, ..)| 0 < *number);
    let said = done.map(|(number, verb, one, more)| {
        format!("{verb} {number} {}", if *number == 1 { one } else { more })
    });
    let what = said.collect::<Vec<_>>().join(" and ");
    let record = session.record(&places.store, &places.zone, "doctor --fix", what)?;
    let files = mended.narrowed;
    let changes = (0 < files).then_some(Change::Narrowed { files }).into_iter().collect();
    operations::log::append(&places.store, &Record { changes, ..record }, lock)?;
    Ok(())
}

fn draw_mended(args: &Args, fixed: &[Mend], left: &[Mend], session: &Session) -> String {
    if !args.fix {
        return String::new();
    }
    let mut text = format!("{}\n", styled("Mending", STRONG));
    let done = if args.dry_run { "would  " } else { "done   " };
    for (mark, style, mends) in [(done, GOOD, fixed), ("left   ", CARE, left)] {
        for mend in mends {
            let line = format!("{} {}", session.show(&mend.path), mend.what);
            text.push_str(&format!("  {}  {}\n", styled(mark, style), plain(&line)));
        }
    }
    if fixed.is_empty() && left.is_empty() {
        text.push_str("  there is nothing to mend\n");
    }
    text
}

fn draw(findings: &[Finding]) -> String {
    let mut text = String::new();
    let mut group = None;
    for finding in findings {
        if group.replace(finding.check.group()) != Some(finding.check.group()) {
            text.push_str(&format!("{}\n", styled(finding.check.group(), STRONG)));
        }
        let (mark, style) = match finding.level {
            Level::Ok => ("ok     ", GOOD),
            Level::Note => ("note   ", FAINT),
            Level::Warning => ("warning", CARE),
            Level::Error => ("error  ", BAD),
        };
        text.push_str(&format!("  {}  {}\n", styled(mark, style), plain(&finding.what)));
        if let Some(remedy) = &finding.remedy {
            text.push_str(&format!("           {}\n", styled(plain(remedy), FAINT)));
        }
    }
    text.push_str(&summary(findings));
    text
}

fn summary(findings: &[Finding]) -> String {
    let of = |level| findings.iter().filter(|finding| finding.level == level).count();
    match (of(Level::Error), of(Level::Warning)) {
        (0, 0) => "nothing is wrong\n".to_owned(),
        (0, warnings) => format!("{}\n", count(warnings, "warning")),
        (errors, 0) => format!("{}\n", count(errors, "error")),
        (errors, warnings) => {
            format!("{}, {}\n", count(errors, "error"), count(warnings, "warning"))
        }
    }
}

/// Asks the Codex that would be started for its version.
fn program(places: &Places, session: &Session) -> Program {
    match session.codex(places) {
        Err(ProgramError::NotOnPath { name }) => Program::Absent { name },
        Err(ProgramError::NoProgram { path }) => {
            Program::Silent { path, why: "is no program".to_owned() }
        }
        Ok(path) => match version(&path, session, PATIENCE) {
            Ok(version) => Program::Says(version),
            Err(why) => Program::Silent { path, why: format!("--version {why}") },
        },
    }
}

/// The first line of `codex --version`, or what happened instead.
///
/// Whatever it is asked, Codex makes folders in its home when it starts. It is told of a home
/// that cannot be one, and makes none.
fn version(program: &Path, session: &Session, patience: Duration) -> Result<String, String> {
    let stop = &session.world.interrupted;
    let said = Task::new(program, &session.world.environment)
        .words(["--version"])
        .with("CODEX_HOME", program)
        .output(Limits { bytes: VERSION_CAP, patience, stop })
        .and_then(Output::of_success)
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&said);
    let line = text.lines().next().unwrap_or_default().trim();
    let line: String = line.chars().take(VERSION_SHOWN).collect();
    if line.is_empty() { Err("says nothing".to_owned()) } else { Ok(line) }
}

// Modes, scripts and paths as other systems do not have them.
#[cfg(test)]
#[cfg(unix)]
mod tests;
