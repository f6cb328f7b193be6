//! `list`: which snapshots are there?

use std::collections::BTreeMap;

use chrono::{Datelike, NaiveDateTime, Timelike};
use serde_json::{Value, json};

use crate::cli::Report;
use crate::cli::accounts::named;
use crate::cli::cooldown::glance_at_store;
use crate::cli::exit::Failure;
use crate::cli::picture::{Table, bytes, or_dash};
use crate::cli::session::Session;
use crate::snapshot::store::{Origin, Store, Stored};
use crate::snapshot::{drill, operations};
use crate::time::{Stamp, span};

/// List the snapshots, newest first
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Only those of one account: alias, e-mail, a unique part of either, or short id
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
}

pub(crate) fn run(args: &Args, session: &mut Session) -> Result<Report, Failure> {
    let places = session.places()?;
    let known = glance_at_store(&places, session)?;
    let account = args.account.as_deref().map(|asked| named(asked, &known)).transpose()?;
    let shown: Vec<&Stored> = known
        .snapshots
        .iter()
        .filter(|stored| account.is_none_or(|account| stored.is_of(&account.account)))
        .collect();
    let proven = Proven::read(&places.store, session);
    // There may be thousands: only one of the two is made.
    if session.global.json {
        let rows: Vec<Value> = shown.iter().map(|stored| row(stored, &proven)).collect();
        return Ok(Report::new(&json!({ "snapshots": rows }), ""));
    }
    Ok(Report::new(&(), draw(&shown, &proven, session)))
}

/// When a drill last brought which content back whole.
#[derive(Debug, Default)]
pub(crate) struct Proven(BTreeMap<String, Stamp>);

impl Proven {
    /// What the record of operations says; if it cannot be read, nothing and a warning.
    pub(crate) fn read(store: &Store, session: &mut Session) -> Self {
        match operations::log::read(store) {
            Ok(log) => Self(drill::proven(&log)),
            Err(error) => {
                session.warn(error.to_string());
                Self::default()
            }
        }
    }

    /// When that was for a snapshot; none if never.
    fn at(&self, stored: &Stored) -> Option<Stamp> {
        let archive = stored.metadata.archive.as_ref();
        let which = archive.map_or(&stored.title, |archive| &archive.toc_digest);
        self.0.get(which).copied()
    }
}

/// A snapshot as `list` and `show` tell it: the sidecar, where it lies, what it is called, and
/// when it was proven.
pub(crate) fn row(stored: &Stored, proven: &Proven) -> Value {
    let mut row = serde_json::to_value(&stored.metadata).unwrap_or_default();
    if let Some(object) = row.as_object_mut() {
        let mut named = serde_json::Map::new();
        named.insert("name".to_owned(), stored.title.clone().into());
        named.insert("path".to_owned(), stored.archive.display().to_string().into());
        let origin = match stored.origin {
            Origin::Ours => "codex-manager",
            Origin::Python => "codex-manager (Python)",
        };
        named.insert("origin".to_owned(), origin.into());
        named.insert("proven_at".to_owned(), json!(proven.at(stored)));
        named.append(object);
        *object = named;
    }
    row
}

/// Bytes of the archive as it lies there.
pub(crate) fn length(stored: &Stored) -> Option<u64> {
    // A sidecar is believed only if that is what it says.
    let said = stored.metadata.archive.as_ref().filter(|_| stored.sidecar.is_some());
    let found = || stored.archive.metadata().ok().map(|facts| facts.len());
    said.map(|facts| facts.bytes).or_else(found)
}

fn draw(shown: &[&Stored], proven: &Proven, session: &Session) -> String {
    if shown.is_empty() {
        return "no snapshot is stored yet: `codex-manager backup` makes one\n".to_owned();
    }
    let mut table = Table::new(&[
        ("NAME", 0),
        ("KIND", 1),
        ("SIZE", 2),
        ("CREATED", 3),
        ("AVAILABLE", 4),
        ("LABEL", 5),
        ("PROVEN", 6),
    ]);
    for stored in shown {
        let metadata = &stored.metadata;
        let wall = |at: Stamp| minute(at.wall());
        table.row([
            stored.title.clone(),
            metadata.kind.to_string(),
            or_dash(length(stored).map(bytes)),
            or_dash(metadata.created_at.map(wall)),
            or_dash(metadata.next_available_at.map(wall)),
            or_dash(metadata.label.as_deref()),
            or_dash(proven.at(stored).map(|at| span(session.world.now - at.instant()))),
        ]);
    }
    table.draw(session.world.width)
}

/// `2026-11-21 10:00`; a general formatter would be half of what a row costs.
fn minute(wall: NaiveDateTime) -> String {
    let (day, time) = (wall.date(), wall.time());
    let (year, month, day) = (day.year(), day.month(), day.day());
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}", time.hour(), time.minute())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::metadata::{ArchiveFacts, Kind, Metadata};

    #[test]
    fn how_long_ago_a_snapshot_was_proven_is_told_and_is_the_first_to_give_way() {
        let folder = tempfile::tempdir().unwrap();
        let mut session = Session::of_test(folder.path());
        let digest = format!("sha256:{}", "0".repeat(64));
        let mut metadata = Metadata::empty(Kind::Full);
        let (name, toc_digest) = ("x".to_owned(), digest.clone());
        metadata.archive = Some(ArchiveFacts {
            name,
            bytes: 5,
            toc_digest,
            files: 1,
            content_bytes: 1,
            compressor: None,
            login: None,
        });
        let stored = Stored {
            title: "ada".to_owned(),
            archive: folder.path().join("none"),
            sidecar: None,
            metadata,
            origin: Origin::Ours,
        };
        let at: Stamp = "2026-11-19T09:00:00Z".parse().unwrap();
        assert_eq!(minute(at.wall()), at.wall().format("%Y-%m-%d %H:%M").to_string());
        let proven = Proven(BTreeMap::from([(digest, at)]));
        let mut drawn = |proven: &Proven, width| {
            session.world.width = width;
            anstream::adapter::strip_str(&draw(&[&stored], proven, &session)).to_string()
        };
        let wide = "NAME  KIND  SIZE  CREATED  AVAILABLE  LABEL  PROVEN\n";
        assert_eq!(
            drawn(&proven, None),
            format!("{wide}ada   full  –     –        –          –      2d 1h\n")
        );
        assert_eq!(
            drawn(&Proven::default(), None),
            format!("{wide}ada   full  –     –        –          –      –\n")
        );
        assert!(
            drawn(&proven, Some(50)).starts_with("NAME  KIND  SIZE  CREATED  AVAILABLE  LABEL\n")
        );
        assert_eq!(row(&stored, &proven)["proven_at"], at.to_string());
        assert_eq!(row(&stored, &Proven::default())["proven_at"], Value::Null);
    }
}
