//! Are the snapshots whole as far as a glance tells, and is the live login among them?

use super::codex_home::LiveFile;
use super::{Check, FIX, Facts, Finding, Level, count, word};
use crate::snapshot::logins;
use crate::snapshot::name::SIDECAR;
use crate::snapshot::store::{Odd, OddKind, Origin, Scan, StoreError, Stored};

/// What the store holds. Contents are `verify`'s work.
pub(super) fn check(
    facts: &Facts<'_>,
    scan: &Result<Scan, StoreError>,
    live: &LiveFile,
) -> Vec<Finding> {
    let scan = match scan {
        Ok(scan) => scan,
        Err(error) => {
            return vec![
                Finding::new(Check::Snapshots, Level::Error, error.to_string())
                    .remedied(error.hint()),
            ];
        }
    };
    let odd = scan.problems.iter().map(|odd| of_odd(facts, odd, &scan.snapshots));
    let mut findings: Vec<Finding> = odd.collect();
    let found = |level, what: String| Finding::new(Check::Snapshots, level, what);
    findings.push(match scan.snapshots.len() {
        0 => found(Level::Note, "there are no snapshots yet".to_owned())
            .remedy("codex-manager backup"),
        usable => {
            let usable = count(usable, "snapshot", "snapshots");
            found(Level::Ok, format!("{usable} can be used"))
        }
    });
    let orphans: Vec<&str> = scan
        .snapshots
        .iter()
        .filter(|stored| stored.is_orphan())
        .map(|stored| stored.title.as_str())
        .collect();
    if !orphans.is_empty() {
        let logins = count(orphans.len(), "stored login names", "stored logins name");
        let what = format!("{logins} no account: {}", orphans.join(", "));
        findings.push(found(Level::Note, what).remedy("codex-manager restore NAME --to DIR"));
    }
    findings.extend(live_login(live, &scan.snapshots));
    findings
}

fn of_odd(facts: &Facts<'_>, odd: &Odd, snapshots: &[Stored]) -> Finding {
    let what = format!("{}: {}", (facts.show)(&odd.path), odd.what);
    let found = |level| Finding::new(Check::Snapshots, level, what.clone());
    match odd.kind {
        OddKind::NoArchive => found(Level::Warning)
            .remedy(format!("bring its archive back, or: rm {}", word(facts, &odd.path))),
        OddKind::NoSidecar => {
            let nothing = "nothing is lost: the archive alone can be restored";
            let is_ours =
                snapshots.iter().any(|it| it.archive == odd.path && it.origin == Origin::Ours);
            found(Level::Warning).remedy(if is_ours {
                format!("{nothing}; to write it again: {FIX}")
            } else {
                nothing.to_owned()
            })
        }
        OddKind::BadSidecar if is_usable(odd, snapshots) => {
            found(Level::Warning).remedy("nothing is lost: what the archive says of itself is used")
        }
        OddKind::BadSidecar | OddKind::BadArchive => {
            found(Level::Error).remedy("do not count on it; take another: codex-manager backup")
        }
    }
}

/// Whether the archive beside a sidecar can be used without it.
fn is_usable(odd: &Odd, snapshots: &[Stored]) -> bool {
    let name = odd.path.file_name().unwrap_or_default().to_string_lossy();
    snapshots.iter().any(|stored| {
        stored.archive == odd.path
            || stored.sidecar.as_ref() == Some(&odd.path)
            || name.strip_suffix(SIDECAR).is_some_and(|title| title == stored.title)
    })
}

/// One that names no account has been told of already.
fn live_login(live: &LiveFile, snapshots: &[Stored]) -> Option<Finding> {
    let file = live.as_ref().ok()?.as_ref().filter(|file| file.key.is_some())?;
    Some(if logins::is_stored(snapshots, file) {
        Finding::new(Check::StoredLogin, Level::Ok, "the live login is stored")
    } else {
        Finding::new(Check::StoredLogin, Level::Note, "the live login is not stored")
            .remedy("codex-manager backup --auth-only")
    })
}
