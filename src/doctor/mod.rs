//! What is wrong, and what mends it?
//!
//! Each check looks at one thing and answers with [`Finding`]s: the Codex home (`codex_home`),
//! the manager home (`manager_home`), what is stored in it (`snapshots`), and the room that both
//! have (`room`). Looking is all that is done: nothing is created,
//! locked, mended or asked of a network. What the environment says comes in as [`Facts`].
//! What can be mended without asking anybody, [`mend`] does.

mod codex_home;
mod finding;
mod manager_home;
pub mod mend;
mod modes;
mod room;
mod snapshots;

use std::path::{Path, PathBuf};

use crate::codex::auth;
use crate::codex::home::{CodexHome, Surroundings};
use crate::codex::process::Holders;
use crate::config::Config;
use crate::snapshot::store::{Scan, Store};
use crate::time::Zone;

pub use self::finding::{Check, Finding, Level, worst};

/// The command that mends.
const FIX: &str = "codex-manager doctor --fix";

/// What the checks need to know and cannot find out on the disk.
pub struct Facts<'a> {
    /// The manager home.
    pub store: &'a Store,
    /// The Codex home.
    pub home: &'a CodexHome,
    /// What the environment says about the folder of the databases.
    pub surroundings: Surroundings,
    /// The configuration as far as it could be read.
    pub config: &'a Config,
    /// What in the configuration could not be read: the fact, and what to do about it.
    pub faults: &'a [(String, Option<String>)],
    /// The Codex that would be started.
    pub program: &'a Program,
    /// Who uses the home.
    pub holders: &'a Holders,
    /// The zone of times in records of the older tool.
    pub zone: &'a Zone,
    /// How people write a path: with `~`, odd characters escaped.
    pub show: &'a dyn Fn(&Path) -> String,
}

/// What is started where Codex itself is asked: the setting `codex_program`, else `codex` on PATH.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Program {
    /// Nothing on PATH has that name.
    Absent {
        /// The name.
        name: String,
    },
    /// It does not tell its version.
    Silent {
        /// The program.
        path: PathBuf,
        /// What happened instead.
        why: String,
    },
    /// It says this of itself.
    Says(String),
}

/// Looks at everything, in the order in which people think of it.
#[must_use]
pub fn examine(facts: &Facts<'_>) -> Vec<Finding> {
    let live = auth::read(&facts.home.auth());
    let mut findings = vec![codex_home::program(facts)];
    findings.extend(codex_home::check(facts, &live));
    findings.extend(manager_home::check(facts));
    let scan = facts.store.scan(facts.zone);
    findings.extend(snapshots::check(facts, &scan, &live));
    let last = scan.as_ref().ok().and_then(last_content);
    findings.extend(room::check(facts, last));
    // Stable, so that each check's findings keep their order.
    findings.sort_by_key(|finding| finding.check);
    findings
}

/// How much the newest snapshot holds, uncompressed, in bytes.
fn last_content(scan: &Scan) -> Option<u64> {
    let stored = scan.snapshots.first()?;
    stored.metadata.archive.as_ref().map(|archive| archive.content_bytes)
}

/// A path as a word of a shell command.
fn word(facts: &Facts<'_>, path: &Path) -> String {
    let shown = (facts.show)(path);
    let harmless = |c: char| c.is_ascii_alphanumeric() || "/._-+@,".contains(c);
    let rest = shown.strip_prefix("~/").unwrap_or(&shown);
    if !rest.is_empty() && rest.chars().all(harmless) {
        return shown;
    }
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}

/// `1 line`, `2 lines`.
fn count(number: usize, one: &str, more: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { more })
}

// Modes, scripts and paths as other systems do not have them.
#[cfg(test)]
#[cfg(unix)]
mod tests;
