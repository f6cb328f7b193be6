//! `drill`: would every account's newest snapshot come back?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anstyle::Style;
use serde::Serialize;

use crate::account::{Account, AccountKey, Email};
use crate::cli::accounts::named;
use crate::cli::cooldown::look_at_store;
use crate::cli::exit::Failure;
use crate::cli::picture::{BAD, CARE, FAINT, GOOD, bytes, count, plain, styled};
use crate::cli::progress::Progress;
use crate::cli::session::{Places, Session};
use crate::cli::{Exit, Report};
use crate::disk::Jobs;
use crate::overview::Overview;
use crate::snapshot::drill::{self, Choice, Drilled, Proof, Scratch, Verdict};
use crate::snapshot::operations::{self, Change, Record};
use crate::snapshot::store::{self, Stored};

/// Restore each account's newest snapshot into a scratch folder, and check all that comes out
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Only the newest of this account
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// Say what would be tried, and stop
    #[arg(long)]
    dry_run: bool,
}

/// The document.
#[derive(Serialize)]
struct Drills {
    drills: Vec<Row>,
    summary: Summary,
    dry_run: bool,
}

#[derive(Serialize)]
struct Row {
    account: Option<AccountKey>,
    email: Option<Email>,
    snapshot: String,
    toc_digest: Option<String>,
    /// None if it was only announced.
    verdict: Option<Verdict>,
    problems: Vec<String>,
    files: Option<u64>,
    content_bytes: Option<u64>,
    databases: Option<u64>,
}

/// How many of each, for a job that looks at one line.
#[derive(Default, Serialize)]
struct Summary {
    drills: u64,
    proven: u64,
    failed: u64,
    undone: u64,
    /// Bytes of content that came back.
    bytes: u64,
}

pub(crate) fn run(args: &Args, session: &mut Session) -> Result<Report, Failure> {
    let places = session.places()?;
    let choices = choose(args, &places, session)?;
    let drills = if args.dry_run {
        choices.iter().map(Row::announced).collect()
    } else {
        let (drills, drilled) = hold(&choices, &places, session)?;
        remember(&drilled, &places, session);
        if session.world.interrupted.load(Ordering::Relaxed) {
            return Err(Failure::new(Exit::Interrupted, "the drill was stopped"));
        }
        drills
    };
    let summary = Summary::of(&drills);
    let exit = match (summary.failed, summary.undone) {
        (0, 0) => Exit::Done,
        (0, _) => Exit::Failed,
        _ => Exit::Refused,
    };
    let drills = Drills { drills, summary, dry_run: args.dry_run };
    let text = draw(&drills, session.global.quiet);
    Ok(Report::new(&drills, text).exit(exit))
}

fn choose(args: &Args, places: &Places, session: &mut Session) -> Result<Vec<Choice>, Failure> {
    let known: Overview = look_at_store(places, session)?;
    let only = args.account.as_deref().map(|asked| named(asked, &known)).transpose()?;
    let accounts: Vec<Account> = match only {
        Some(only) => vec![only.account.clone()],
        None => known.accounts.iter().map(|known| known.account.clone()).collect(),
    };
    let is_listed = |odd: &Stored| known.snapshots.iter().any(|it| it.archive == odd.archive);
    let spoiled: Vec<_> = known
        .odd
        .iter()
        .filter_map(|odd| Some((store::remains(odd, &places.zone)?, odd.what.clone())))
        .filter(|(stored, _)| !is_listed(stored))
        .collect();
    let mut choices = drill::choose(&accounts, &known.snapshots, &spoiled);
    if let Some(only) = only {
        choices.retain(|choice| choice.account.is_some());
        if choices.is_empty() {
            return Err(Failure::usage(format!("no snapshot of {} is stored", only.label))
                .hint("`codex-manager list` shows what there is"));
        }
    }
    Ok(choices)
}

/// Drills one after the other, so that there has to be room for one only, until it is stopped.
fn hold(
    choices: &[Choice],
    places: &Places,
    session: &Session,
) -> Result<(Vec<Row>, Vec<Drilled>), Failure> {
    if !choices.is_empty() {
        places.store.refuse_foreign()?;
    }
    let total = choices.iter().filter_map(|choice| choice.stored.metadata.archive.as_ref());
    let total = total.map(|archive| archive.content_bytes).sum();
    let mut progress = Progress::bytes("drilling", total, session);
    let stop = Arc::clone(&session.world.interrupted);
    let (mut rows, mut held) = (Vec::new(), Vec::new());
    for choice in choices {
        let mut advance = |count: u64| progress.advance(count);
        let (verdict, proof) = match &choice.spoiled {
            Some(why) => (Verdict::Failed, Proof::failed(why.as_str())),
            None => one(choice, places, &mut advance, &stop),
        };
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let archive = choice.stored.metadata.archive.as_ref();
        let drilled = Drilled {
            title: choice.stored.title.clone(),
            toc_digest: archive.map(|archive| archive.toc_digest.clone()),
            verdict,
        };
        rows.push(Row::held(choice, &drilled, proof));
        held.push(drilled);
    }
    Ok((rows, held))
}

/// Notes down what was proven and what was not. The lock is taken for this alone: a drill takes
/// minutes and changes nothing that others use.
fn remember(drilled: &[Drilled], places: &Places, session: &mut Session) {
    let changes: Vec<Change> = drilled.iter().filter_map(Drilled::change).collect();
    if changes.is_empty() {
        return;
    }
    if let Err(failure) = note(changes, places, session) {
        let why = failure.message;
        session.warn(format!("what the drill found could not be noted down: {why}"));
    }
}

fn note(changes: Vec<Change>, places: &Places, session: &mut Session) -> Result<(), Failure> {
    let opened = session.open(places, "drill")?;
    let sound = changes.iter().filter(|it| matches!(it, Change::Proven { sound: true, .. }));
    let what = format!("proved {} of {}", sound.count(), count(changes.len(), "snapshot"));
    let record = session.record(&places.store, &places.zone, "drill", what)?;
    operations::log::append(&places.store, &Record { changes, ..record }, &opened.lock)?;
    Ok(())
}

fn one(
    choice: &Choice,
    places: &Places,
    advance: &mut dyn FnMut(u64),
    stop: &AtomicBool,
) -> (Verdict, Proof) {
    let undone = |why: &dyn ToString| (Verdict::Undone, Proof::failed(why.to_string()));
    let scratch = match Scratch::make(&places.store) {
        Ok(scratch) => scratch,
        Err(error) => return undone(&error),
    };
    let stored = &choice.stored;
    let jobs = Jobs::of(places.settings.jobs);
    let proof = drill::drill(stored, &places.store, &places.zone, &scratch, jobs, advance, stop);
    match (scratch.remove(), proof) {
        (Ok(()), Ok(proof)) if proof.problems.is_empty() => (Verdict::Proven, proof),
        (Ok(()), Ok(proof)) => (Verdict::Failed, proof),
        (_, Err(_)) if stored.archive.symlink_metadata().is_err() => {
            undone(&"another process took it away meanwhile")
        }
        (_, Err(error)) => undone(&error),
        (Err(error), _) => undone(&error),
    }
}

impl Row {
    fn held(choice: &Choice, drilled: &Drilled, proof: Proof) -> Self {
        // Every snapshot has a file, so none means that nothing came back.
        let known = (proof.files > 0).then_some(());
        Self {
            verdict: Some(drilled.verdict),
            problems: proof.problems,
            files: known.map(|()| proof.files),
            content_bytes: known.map(|()| proof.content_bytes),
            databases: known.map(|()| proof.databases),
            ..Self::announced(choice)
        }
    }

    fn announced(choice: &Choice) -> Self {
        let metadata = &choice.stored.metadata;
        let archive = metadata.archive.as_ref();
        let account = choice.account.as_ref();
        Self {
            account: account.map(|account| account.key.clone()),
            email: account.and_then(|account| account.email.clone()).or(metadata.email.clone()),
            snapshot: choice.stored.title.clone(),
            toc_digest: archive.map(|archive| archive.toc_digest.clone()),
            verdict: None,
            problems: choice.spoiled.iter().cloned().collect(),
            files: archive.map(|archive| archive.files),
            content_bytes: archive.map(|archive| archive.content_bytes),
            databases: None,
        }
    }

    /// The word for it, and how it looks.
    fn told(&self) -> (&'static str, Style) {
        match self.verdict {
            None => ("would drill", FAINT),
            Some(Verdict::Proven) => ("proven", GOOD),
            Some(Verdict::Failed) => ("failed", BAD),
            Some(Verdict::Undone) => ("undone", CARE),
        }
    }

    /// How much came back, as far as that is known.
    fn amount(&self) -> String {
        let files = self.files.map(|files| count(files, "file"));
        let content = self.content_bytes.map(bytes);
        let databases = self.databases.map(|databases| count(databases, "database"));
        let known: Vec<String> = [files, content, databases].into_iter().flatten().collect();
        if known.is_empty() { String::new() } else { format!("  {}", known.join(", ")) }
    }
}

impl Summary {
    fn of(rows: &[Row]) -> Self {
        let mut summary = Self::default();
        for row in rows {
            summary.drills += 1;
            match row.verdict {
                None => {}
                Some(Verdict::Proven) => summary.proven += 1,
                Some(Verdict::Failed) => summary.failed += 1,
                Some(Verdict::Undone) => summary.undone += 1,
            }
            summary.bytes = summary.bytes.saturating_add(row.content_bytes.unwrap_or(0));
        }
        summary
    }

    fn line(&self, dry_run: bool) -> String {
        let snapshots = count(self.drills, "snapshot");
        if dry_run {
            return format!("{snapshots}, {} to restore and check\n", bytes(self.bytes));
        }
        let mut line = format!("{snapshots}: {} proven", self.proven);
        for (number, word) in [(self.failed, "failed"), (self.undone, "undone")] {
            if number > 0 {
                line.push_str(&format!(", {number} {word}"));
            }
        }
        line.push_str(&format!(", {} restored and checked\n", bytes(self.bytes)));
        line
    }
}

fn draw(drills: &Drills, quiet: bool) -> String {
    let Drills { drills: rows, summary, dry_run } = drills;
    if rows.is_empty() {
        let empty = "no snapshot is stored yet: `codex-manager backup` makes one\n";
        return if quiet { String::new() } else { empty.to_owned() };
    }
    let shown = || rows.iter().filter(|row| !quiet || row.verdict != Some(Verdict::Proven));
    let mut text = String::new();
    let widest = shown().map(|row| row.told().0.len()).max().unwrap_or(0);
    for row in shown() {
        let (word, style) = row.told();
        let space = " ".repeat(widest.saturating_sub(word.len()));
        let (word, name) = (styled(word, style), plain(&row.snapshot));
        text.push_str(&format!("{word}{space}  {name}{}\n", row.amount()));
        for problem in &row.problems {
            text.push_str(&format!("    {}\n", plain(problem)));
        }
    }
    if !quiet {
        text.push_str(&summary.line(*dry_run));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::fs;

    use super::*;

    #[test]
    fn a_drill_that_is_stopped_leaves_nothing_behind_and_proves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().canonicalize().unwrap();
        fs::create_dir(home.join(".codex")).unwrap();
        fs::write(home.join(".codex/config.toml"), "model = \"gpt-5\"\n").unwrap();
        let run = |line: &str, stopped: bool| {
            let mut world = Session::of_test(&home).world;
            world.interrupted = Arc::new(AtomicBool::new(stopped));
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            crate::cli::run(&words, world)
        };
        let manager = home.join(".codex-manager");
        let log = || fs::read_to_string(manager.join("operations.jsonl")).unwrap();
        assert_eq!(run("codex-manager backup --no-login", false), Exit::Done);
        let before = log();

        assert_eq!(run("codex-manager drill", true), Exit::Interrupted);
        assert_eq!(fs::read_dir(manager.join("tmp")).unwrap().count(), 0);
        assert_eq!(log(), before);

        assert_eq!(run("codex-manager drill", false), Exit::Done);
        assert_eq!(fs::read_dir(manager.join("tmp")).unwrap().count(), 0);
        assert!(log().contains("\"kind\":\"proven\""), "{}", log());
    }
}
