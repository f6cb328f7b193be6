//! What do the login files that the older tool was fed with say about their accounts?
//!
//! [`observe`] lists a folder, [`plan`] infers (pure: facts, rules, what is known and `now` come
//! in), [`apply`] writes the inventory and nothing else. The login files are never touched,
//! never even opened: name and mtime say all that is asked here (SPEC, "Legacy files").

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use serde::Serialize;

use crate::account::LegacyName;
use crate::disk::DiskError;
use crate::disk::tree::{self, Kind, Visit};
use crate::quota::Validation;
use crate::snapshot::inventory::{self, Inventory, InventoryError, Record};
use crate::snapshot::name::{SnapshotName, Who};
use crate::time::Zone;
use crate::window::WEEK;

/// How the name of a file ends that is looked at; case does not matter.
const SUFFIX: &[u8] = b"_auth.json";

/// What a folder holds, as far as it matters here.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Facts {
    /// The folder, absolute, as it was named.
    pub folder: PathBuf,
    /// Its entries whose names end in `_auth.json`, in bytewise order.
    pub entries: Vec<Entry>,
}

/// One entry of the folder.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Its name.
    pub name: OsString,
    /// What it is; only a regular file says anything.
    pub kind: Kind,
    /// Its mtime in whole seconds since 1970, which fractions are cut off from.
    pub modified: i64,
}

/// How to read the facts.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How long before a file's mtime the session is taken to have begun; below zero is zero.
    pub session_duration: TimeDelta,
    /// Whose calendar the days in the names belong to.
    pub zone: Zone,
    /// The year of those days; without one, the year that puts each nearest to what was
    /// inferred.
    pub reference_year: Option<i32>,
}

/// A file that was passed over.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Skipped {
    /// Its name; bytes that are not UTF-8 are replaced.
    pub file: String,
    /// Why, for people.
    pub reason: String,
}

/// What would be told and written.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What the folder's files say, in the order of their names.
    pub records: Vec<Record>,
    /// What does not say anything, and why.
    pub skipped: Vec<Skipped>,
    /// All that is known from now on.
    pub inventory: Inventory,
    /// Whether that is more than was known.
    pub changed: bool,
}

/// Lists a folder's entries that end in `_auth.json`, without opening any of them.
///
/// `folder` itself may be a link; links in it are not followed.
///
/// # Errors
///
/// When it does not exist or cannot be listed.
pub fn observe(folder: &Path) -> Result<Facts, DiskError> {
    let place = |source: io::Error| DiskError { action: "list", path: folder.to_owned(), source };
    let real = std::fs::canonicalize(folder).map_err(place)?;
    let walk = tree::walk(&real, &mut |node| {
        let ours = node.kind != Kind::Dir && is_login_name(node.path.as_os_str());
        if ours { Visit::Take } else { Visit::Skip }
    })?;
    if let Some((name, why)) = walk.unreadable.into_iter().next() {
        return Err(DiskError {
            action: "look at",
            path: folder.join(name),
            source: io::Error::other(why),
        });
    }
    let entries = walk.nodes.into_iter().map(|node| Entry {
        name: node.path.into_os_string(),
        kind: node.kind,
        modified: node.modified,
    });
    let folder = std::path::absolute(folder).map_err(place)?;
    Ok(Facts { folder, entries: entries.collect() })
}

/// Infers a record from each file and merges them into what is known.
///
/// A day in a name that no calendar has makes a record too, marked "mismatch" with the reason.
/// The same facts, rules and knowledge give the same plan; planned again upon its own inventory
/// it changes nothing. `now` becomes the inventory's `generated_at` if a record changed.
#[must_use]
pub fn plan(facts: &Facts, rules: &Rules, known: Option<Inventory>, now: DateTime<Utc>) -> Plan {
    let mut records = Vec::new();
    let mut skipped = Vec::new();
    for entry in &facts.entries {
        match infer(entry, &facts.folder, rules) {
            Ok(Some(record)) => records.push(record),
            Ok(None) => {}
            Err(reason) => {
                let file = entry.name.to_string_lossy().into_owned();
                skipped.push(Skipped { file, reason });
            }
        }
    }
    let known = known.unwrap_or_else(Inventory::empty);
    let inventory = inventory::merge(known.clone(), records.clone(), rules.zone.stamp(now));
    let changed = inventory != known;
    Plan { records, skipped, inventory, changed }
}

/// Writes the planned inventory to `path`, if it changed; answers whether it did.
///
/// The caller holds the lock since it read what was known.
///
/// # Errors
///
/// As [`inventory::store`]; the file is as it was then.
pub fn apply(plan: &Plan, path: &Path) -> Result<bool, InventoryError> {
    if plan.changed {
        inventory::store(path, &plan.inventory)?;
    }
    Ok(plan.changed)
}

/// What one entry says; `None` if it is not one of the older tool's, the reason if it ought to be.
fn infer(entry: &Entry, folder: &Path, rules: &Rules) -> Result<Option<Record>, String> {
    if !is_login_name(&entry.name) {
        return Ok(None);
    }
    match entry.kind {
        Kind::File => {}
        Kind::Dir => return Ok(None),
        Kind::Symlink => return Err("it is a symbolic link, not a regular file".to_owned()),
        Kind::Other(what) => return Err(format!("it is a {what}, not a regular file")),
    }
    let name = entry.name.to_str().ok_or("the name is not UTF-8")?;
    let Some(legacy) = LegacyName::parse(name).map_err(|reason| reason.to_string())? else {
        return Ok(None);
    };

    let duration = rules.session_duration.max(TimeDelta::zero());
    let odd_time = || "its mtime is not within the years 1970 to 9999".to_owned();
    let detected = DateTime::from_timestamp(entry.modified, 0).ok_or_else(odd_time)?;
    let start = detected.checked_sub_signed(duration).ok_or_else(odd_time)?;
    let next = start.checked_add_signed(WEEK).ok_or_else(odd_time)?;
    // A day's margin on both ends keeps every wall clock of these instants within the years too.
    if [detected, start, next].iter().any(|at| !(1970..=9998).contains(&at.year())) {
        return Err(odd_time());
    }

    let day = rules.zone.wall(next).date();
    let (validation_status, validation_details) = match legacy.date_near(day, rules.reference_year)
    {
        Ok(meant) if meant == day => (
            Validation::Ok,
            format!("`{}` is the day of next_available_at, {day}", legacy.day_token),
        ),
        Ok(meant) => (
            Validation::Mismatch,
            format!("`{}` means {meant}, but next_available_at is on {day}", legacy.day_token),
        ),
        Err(reason) => (Validation::Mismatch, format!("{reason}; next_available_at is on {day}")),
    };
    let stamp = |at| rules.zone.stamp(at);
    let snapshot = SnapshotName::new(rules.zone.wall(start), Who::Email(legacy.email.clone()));
    Ok(Some(Record {
        email: legacy.email,
        legacy_auth_filename: name.to_owned(),
        legacy_quota_day_token: legacy.day_token,
        quota_end_detected_at: stamp(detected),
        session_start_at: stamp(start),
        next_available_at: stamp(next),
        inferred_session_duration_seconds: u64::try_from(duration.num_seconds()).unwrap_or(0),
        proposed_archive_name: snapshot.archive(),
        validation_status,
        validation_details,
        source_path: folder.join(name).to_string_lossy().into_owned(),
        more: std::collections::BTreeMap::new(),
    }))
}

fn is_login_name(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes();
    let tail = bytes.len().checked_sub(SUFFIX.len()).and_then(|at| bytes.get(at..));
    tail.is_some_and(|tail| tail.eq_ignore_ascii_case(SUFFIX))
}
