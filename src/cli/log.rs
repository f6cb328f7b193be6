//! `log`: what was done?

use serde_json::{Value, json};

use crate::cli::exit::Failure;
use crate::cli::picture::{BAD, Table, count, plain, styled};
use crate::cli::session::Session;
use crate::cli::{Exit, Report};
use crate::snapshot::operations::{self, Change, Log, Record};
use crate::snapshot::store::Store;

/// Show what was done, newest first
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Show only the newest so many
    #[arg(short = 'n', long, value_name = "NUMBER")]
    limit: Option<usize>,
    /// Check that no line of the log was changed, taken out or put in (exit code 5 if one was)
    #[arg(long)]
    verify: bool,
}

pub(crate) fn run(args: &Args, session: &mut Session) -> Result<Report, Failure> {
    let store = session.store()?;
    let log = operations::log::read(&store)?;
    let shown: Vec<&Record> =
        log.records.iter().rev().take(args.limit.unwrap_or(usize::MAX)).collect();
    let is_whole = log.problems.is_empty();
    let problems: Vec<Value> =
        log.problems.iter().map(|(line, what)| json!({ "line": line, "what": what })).collect();
    let data = json!({
        "operations": shown.iter().map(|record| row(record, &log, &store)).collect::<Vec<_>>(),
        "verified": args.verify.then_some(is_whole),
        "problems": problems,
    });
    if args.verify {
        let exit = if is_whole { Exit::Done } else { Exit::Refused };
        return Ok(Report::new(&data, verdict(&log)).exit(exit));
    }
    let path = session.show(&store.operations());
    for (line, what) in &log.problems {
        session.warn(format!("{path}, line {line}: {what}"));
    }
    if log.is_unfinished {
        session.warn(format!("{path} ends in half a line: another run writes it, or was killed"));
    }
    Ok(Report::new(&data, draw(&shown, &log, &store, session)))
}

/// A record, and what has become of it.
fn row(record: &Record, log: &Log, store: &Store) -> Value {
    let mut row = serde_json::to_value(record).unwrap_or_default();
    if let Some(object) = row.as_object_mut() {
        let undone_by = log.undone_by(&record.id).map(|by| by.id.clone());
        object.insert("undone_by".to_owned(), json!(undone_by));
        object.insert("undo".to_owned(), json!(state(record, log, store)));
    }
    row
}

/// Whether it can be taken back: `yes`, `undone`, `expired`, or `no`.
fn state(record: &Record, log: &Log, store: &Store) -> &'static str {
    if log.undone_by(&record.id).is_some() {
        return "undone";
    }
    if !record.is_reversible() || !log.is_intact(&record.id) {
        return "no";
    }
    let is_there = |path: &std::path::Path| store.root().join(path).symlink_metadata().is_ok();
    let has_all = record.changes.iter().all(|change| match change {
        Change::Home(home) => home.kept.as_deref().is_none_or(is_there),
        Change::File { before, .. } => {
            before.as_ref().and_then(|before| before.kept.as_deref()).is_none_or(is_there)
        }
        Change::Snapshot(change) => is_there(&change.to.archive),
        _ => true,
    });
    if has_all { "yes" } else { "expired" }
}

fn verdict(log: &Log) -> String {
    let mut text = String::new();
    for (line, what) in &log.problems {
        text.push_str(&format!("{} line {line}: {what}\n", styled("broken", BAD)));
    }
    if log.is_unfinished {
        text.push_str("the last line is not finished: another run writes it, or was killed\n");
    }
    let lines = count(log.lines, "operation");
    text.push_str(&match log.problems.len() {
        0 => format!("{lines}, each as it was written\n"),
        broken => format!("{lines}, {broken} not as they were written\n"),
    });
    text
}

fn draw(shown: &[&Record], log: &Log, store: &Store, session: &Session) -> String {
    if log.records.is_empty() {
        return "nothing was done yet\n".to_owned();
    }
    let mut table = Table::new(&[("OPERATION", 0), ("WHAT", 1), ("UNDO", 2)]);
    table.cut("WHAT", 8);
    let user_home = session.world.user_home.as_deref();
    for record in shown {
        let what = crate::cli::picture::at_home(&record.what, user_home);
        table.row([record.id.clone(), plain(&what), state(record, log, store).to_owned()]);
    }
    table.draw(session.world.width)
}
