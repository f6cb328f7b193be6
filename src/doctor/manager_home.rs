//! Is the manager home as it should be, snapshots left aside?

use std::path::Path;

use super::mend;
use super::modes::{self, is_wide, open_to_others};
use super::{Check, FIX, Facts, Finding, Level, count};
use crate::disk::read;
use crate::disk::tree::{self, Kind};
use crate::snapshot::{inventory, operations};

/// So many are named one by one; the rest is counted.
const NAMED: usize = 3;

/// Everything about the manager home but its snapshots.
pub(super) fn check(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = configuration(facts);
    let folder = folder(facts);
    findings.extend(folder.findings);
    if folder.is_there {
        findings.extend(modes(facts));
        findings.extend(ledger(facts));
        findings.extend(operations(facts));
        findings.extend(records(facts));
        findings.extend(leftovers(facts));
    }
    findings
}

fn configuration(facts: &Facts<'_>) -> Vec<Finding> {
    let found = |level, what: String| Finding::new(Check::Configuration, level, what);
    let faults = facts.faults.iter();
    let mut findings: Vec<Finding> = faults
        .map(|(what, hint)| found(Level::Error, what.clone()).remedied(hint.clone()))
        .collect();
    findings.extend(facts.config.unknown.iter().map(|unknown| {
        found(Level::Warning, format!("config.toml: {unknown}")).remedied(unknown.hint())
    }));
    if findings.is_empty() && facts.store.config().is_file() {
        findings.push(found(Level::Ok, "config.toml is in order".to_owned()));
    }
    findings
}

struct Folder {
    is_there: bool,
    findings: Vec<Finding>,
}

fn folder(facts: &Facts<'_>) -> Folder {
    let root = facts.store.root();
    let shown = (facts.show)(root);
    let found = |level, what: String| Finding::new(Check::ManagerHome, level, what);
    let mut findings = Vec::new();
    if root.starts_with(facts.home.root()) {
        findings.push(
            found(Level::Error, format!("{shown} lies inside the Codex home"))
                .remedy("name another folder with --home DIR or CODEX_MANAGER_HOME"),
        );
    }
    let is_there = match std::fs::metadata(root) {
        Ok(metadata) if metadata.is_dir() => {
            findings.push(match (open_to_others(&metadata), read::names(root)) {
                (_, Err(error)) => found(Level::Error, error.to_string()).remedied(error.hint()),
                (Some(mode), Ok(_)) => {
                    found(Level::Warning, format!("{shown} is open to others (mode {mode:04o})"))
                        .remedy(FIX)
                }
                (None, Ok(_)) => found(Level::Ok, format!("{shown} is there")),
            });
            true
        }
        Ok(_) => {
            findings.push(found(Level::Error, format!("{shown} is not a folder")));
            false
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let what = format!("there is no {shown} yet; the first backup makes it");
            findings.push(found(Level::Note, what));
            false
        }
        Err(error) => {
            findings.push(found(Level::Error, format!("cannot look at {shown}: {error}")));
            false
        }
    };
    Folder { is_there, findings }
}

/// What lies in the manager home belongs to its owner alone.
fn modes(facts: &Facts<'_>) -> Vec<Finding> {
    let found = |level, what: String| Finding::new(Check::Modes, level, what);
    let root = facts.store.root();
    let walk = tree::walk(root, &mut |node| modes::visit(facts.store, node));
    // A folder that cannot be listed has been told of already.
    let Ok(walk) = walk else { return Vec::new() };
    let mut findings: Vec<Finding> = walk
        .unreadable
        .iter()
        .map(|(path, why)| {
            let shown = (facts.show)(&root.join(path));
            found(Level::Error, format!("cannot look into {shown}: {why}"))
        })
        .collect();
    // What an interrupted run left is told of by itself, and goes as a whole.
    let left = mend::leftovers(facts.store);
    let is_below = |path: &Path| {
        let whole = root.join(path);
        left.iter().any(|left| whole.starts_with(left) && whole != *left)
    };
    let wide: Vec<String> = walk
        .nodes
        .iter()
        .filter(|node| matches!(node.kind, Kind::Dir | Kind::File) && is_wide(node.mode))
        .filter(|node| !is_below(&node.path))
        .map(|node| format!("{} ({:04o})", (facts.show)(&node.path), node.mode))
        .collect();
    if !wide.is_empty() {
        let what = format!("open to others: {}", first_few(&wide));
        findings.push(found(Level::Warning, what).remedy(FIX));
    }
    findings
}

fn ledger(facts: &Facts<'_>) -> Vec<Finding> {
    let found = |level, what: String| Finding::new(Check::Records, level, what);
    let path = facts.store.ledger();
    let shown = (facts.show)(&path);
    let ledger = match facts.store.read_ledger() {
        Ok(ledger) => ledger,
        Err(error) => return vec![found(Level::Error, error.to_string()).remedied(error.hint())],
    };
    let mut findings = Vec::new();
    let torn = usize::from(ledger.torn_from.is_some());
    let damaged = ledger.problems.len().saturating_sub(torn);
    if 0 < damaged {
        let told: Vec<String> = ledger
            .problems
            .iter()
            .take(damaged)
            .map(|(line, why)| format!("line {line}: {why}"))
            .collect();
        findings.push(
            found(Level::Warning, format!("{shown}: {}", first_few(&told)))
                .remedy("every other line counts; delete such a line with an editor"),
        );
    }
    if 0 < torn {
        findings.push(
            found(Level::Note, format!("{shown} ends in half a line")).remedy(format!(
                "the next command that changes something moves it aside, or: {FIX}"
            )),
        );
    }
    if !ledger.newer.is_empty() {
        let lines = count(ledger.newer.len(), "line", "lines");
        let what = format!("{shown} has {lines} of a newer codex-manager");
        findings.push(found(Level::Note, what).remedy("update codex-manager"));
    }
    if findings.is_empty() && !ledger.entries.is_empty() {
        let entries = count(ledger.entries.len(), "entry", "entries");
        findings.push(found(Level::Ok, format!("{entries} in the ledger")));
    }
    findings
}

/// The record of what was done. Half a line at its end is told with what is left over.
fn operations(facts: &Facts<'_>) -> Vec<Finding> {
    let found = |level, what: String| Finding::new(Check::Records, level, what);
    let path = facts.store.operations();
    let log = match operations::log::read(facts.store) {
        Ok(log) => log,
        Err(error) => return vec![found(Level::Error, error.to_string()).remedied(error.hint())],
    };
    let told: Vec<String> =
        log.problems.iter().map(|(line, why)| format!("line {line}: {why}")).collect();
    match (told.is_empty(), log.records.is_empty()) {
        (true, true) => Vec::new(),
        (true, false) => {
            let done = count(log.records.len(), "operation", "operations");
            vec![found(Level::Ok, format!("{done} in the log"))]
        }
        (false, _) => {
            let what = format!("{}: {}", (facts.show)(&path), first_few(&told));
            vec![found(Level::Warning, what).remedy("codex-manager log --verify")]
        }
    }
}

fn records(facts: &Facts<'_>) -> Vec<Finding> {
    let found = |level, what: String| Finding::new(Check::Records, level, what);
    let path = facts.store.inventory();
    let shown = (facts.show)(&path);
    let inventory = match inventory::load(&path) {
        Ok(Some(inventory)) => inventory,
        Ok(None) => return Vec::new(),
        Err(error) => return vec![found(Level::Error, error.to_string()).remedied(error.hint())],
    };
    let mut findings = Vec::new();
    let odd: Vec<String> = inventory
        .odd
        .iter()
        .map(|odd| format!("record {} cannot be read: {}", odd.position, odd.reason))
        .collect();
    if !odd.is_empty() {
        findings.push(found(Level::Warning, format!("{shown}: {}", first_few(&odd))).remedy(
            "every other record counts; `codex-manager normalize DIR` reads the files again",
        ));
    }
    if inventory.is_newer() {
        let what = format!(
            "{shown} comes from a newer codex-manager (format {})",
            inventory.schema_version
        );
        findings.push(found(Level::Note, what).remedy("update codex-manager to change it"));
    }
    if findings.is_empty() {
        let records = count(inventory.records.len(), "record", "records");
        findings.push(found(Level::Ok, format!("{records} in the inventory")));
    }
    findings
}

fn leftovers(facts: &Facts<'_>) -> Vec<Finding> {
    let store = facts.store;
    let journal = Some(store.journal()).filter(|path| path.symlink_metadata().is_ok());
    let left: Vec<String> = journal
        .into_iter()
        .chain(mend::leftovers(store))
        .map(|path| (facts.show)(path.strip_prefix(store.root()).unwrap_or(Path::new(&path))))
        .collect();
    if left.is_empty() {
        return Vec::new();
    }
    let what = format!("left by an interrupted run, or in use: {}", first_few(&left));
    let remedy = format!("the next command that changes something tidies up, or: {FIX}");
    vec![Finding::new(Check::Leftovers, Level::Note, what).remedy(remedy)]
}

/// The first names, and how many more there are.
fn first_few(names: &[String]) -> String {
    let named = names.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}
