//! `list`: which snapshots are there?

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::mem::ManuallyDrop;

use chrono::{Datelike, NaiveDateTime, Timelike};
use serde::ser::SerializeSeq as _;
use serde::{Serialize, Serializer};

use crate::cli::Report;
use crate::cli::accounts::named;
use crate::cli::cooldown::glance_at_store;
use crate::cli::exit::Failure;
use crate::cli::picture::{Table, UNKNOWN, bytes};
use crate::cli::session::Session;
use crate::disk::archive::digest_text;
use crate::snapshot::metadata::Metadata;
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
    // The program ends: to hand back what was learned of thousands, one by one, takes a while.
    let known = ManuallyDrop::new(glance_at_store(&places, session)?);
    let account = args.account.as_deref().map(|asked| named(asked, &known)).transpose()?;
    let shown: Vec<&Stored> = known
        .snapshots
        .iter()
        .filter(|stored| account.is_none_or(|account| stored.is_of(&account.account)))
        .collect();
    let proven = Proven::read(&places.store, session);
    // There may be thousands: only one of the two is made.
    if session.global.json {
        return Ok(Report::long(&Rows { snapshots: Each { shown: &shown, proven: &proven } }));
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
        if self.0.is_empty() {
            return None;
        }
        match &stored.metadata.brief().toc_digest {
            Some(digest) => self.0.get(&digest_text(&digest.0)).copied(),
            None => self.0.get(&stored.title).copied(),
        }
    }
}

/// All snapshots, one after the other: no more than one is held as JSON.
#[derive(Serialize)]
struct Rows<'a> {
    snapshots: Each<'a>,
}

struct Each<'a> {
    shown: &'a [&'a Stored],
    proven: &'a Proven,
}

impl Serialize for Each<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rows = serializer.serialize_seq(Some(self.shown.len()))?;
        for stored in self.shown {
            rows.serialize_element(&Row::new(stored, &stored.metadata.whole(), self.proven))?;
        }
        rows.end()
    }
}

/// A snapshot as `list` and `show` tell it: the sidecar, where it lies, what it is called, and
/// when it was proven.
#[derive(Serialize)]
pub(crate) struct Row<'a> {
    name: &'a str,
    path: String,
    origin: &'static str,
    proven_at: Option<Stamp>,
    #[serde(flatten)]
    metadata: Cow<'a, Metadata>,
}

impl<'a> Row<'a> {
    /// The keys that it adds to those of a sidecar.
    const OWN: [&'static str; 5] = ["name", "path", "origin", "proven_at", "files"];

    pub(crate) fn new(stored: &'a Stored, metadata: &'a Metadata, proven: &Proven) -> Self {
        // A later version may have such a key too; no key stands twice.
        let is_taken = Self::OWN.iter().any(|key| metadata.more.contains_key(*key));
        let mut metadata = Cow::Borrowed(metadata);
        if is_taken {
            metadata.to_mut().more.retain(|key, _| !Self::OWN.contains(&key.as_str()));
        }
        let origin = match stored.origin {
            Origin::Ours => "codex-manager",
            Origin::Python => "codex-manager (Python)",
        };
        let path = stored.archive.display().to_string();
        Self { name: &stored.title, path, origin, proven_at: proven.at(stored), metadata }
    }
}

/// Bytes of the archive as it lies there.
pub(crate) fn length(stored: &Stored) -> Option<u64> {
    // A sidecar is believed only if that is what it says.
    let said = stored.metadata.brief().bytes.filter(|_| stored.sidecar.is_some());
    let found = || stored.archive.metadata().ok().map(|facts| facts.len());
    said.or_else(found)
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
        let brief = stored.metadata.brief();
        table.cell(|text| text.push_str(&stored.title));
        table.cell(|text| text.push_str(brief.kind.name()));
        table.cell(|text| match length(stored) {
            Some(length) => text.push_str(&bytes(length)),
            None => text.push_str(UNKNOWN),
        });
        for at in [brief.created_at, brief.next_available_at] {
            table.cell(|text| match at {
                Some(at) => minute(at.wall(), text),
                None => text.push_str(UNKNOWN),
            });
        }
        table.cell(|text| text.push_str(brief.label.as_deref().unwrap_or(UNKNOWN)));
        table.cell(|text| match proven.at(stored) {
            Some(at) => text.push_str(&span(session.world.now - at.instant())),
            None => text.push_str(UNKNOWN),
        });
    }
    table.draw(session.world.width)
}

/// Appends `2026-11-21 10:00`; a general formatter would be half of what a row costs.
fn minute(wall: NaiveDateTime, text: &mut String) {
    let year = wall.year().unsigned_abs();
    let parts = [
        ("", year / 100),
        ("", year % 100),
        ("-", wall.month()),
        ("-", wall.day()),
        (" ", wall.hour()),
        (":", wall.minute()),
    ];
    for (sign, number) in parts {
        text.push_str(sign);
        for digit in [number / 10, number % 10] {
            text.push(char::from_digit(digit, 10).unwrap_or('?'));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::snapshot::metadata::{ArchiveFacts, Kind, strict_json};

    #[test]
    fn a_row_is_the_sidecar_behind_what_is_known_of_its_place_and_no_key_stands_twice() {
        let mut metadata = Metadata::empty(Kind::Auth);
        metadata.label = Some("x".to_owned());
        for key in ["name", "files", "mood"] {
            metadata.more.insert(key.to_owned(), "odd".into());
        }
        let stored = Stored {
            title: "ada".to_owned(),
            archive: "/a/ada.tar.gz".into(),
            sidecar: None,
            metadata: metadata.into(),
            origin: Origin::Ours,
        };
        let proven = Proven::default();
        let rows = Rows { snapshots: Each { shown: &[&stored, &stored], proven: &proven } };
        let text = serde_json::to_string(&rows).unwrap();
        let begins = r#"{"snapshots":[{"name":"ada","path":"/a/ada.tar.gz","origin":"codex-manager","proven_at":null,"schema":"#;
        assert!(text.starts_with(begins), "{text}");
        let read = strict_json(text.as_bytes()).unwrap();
        let row = &read["snapshots"][1];
        assert_eq!(
            (&row["label"], &row["mood"], &row["name"]),
            (&"x".into(), &"odd".into(), &"ada".into())
        );
        assert_eq!(row["files"], Value::Null);
    }

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
            metadata: metadata.into(),
            origin: Origin::Ours,
        };
        let at: Stamp = "2026-11-19T09:00:00Z".parse().unwrap();
        let mut text = String::new();
        minute(at.wall(), &mut text);
        assert_eq!(text, at.wall().format("%Y-%m-%d %H:%M").to_string());
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
        let row =
            |proven| serde_json::to_value(Row::new(&stored, &stored.metadata, proven)).unwrap();
        assert_eq!(row(&proven)["proven_at"], at.to_string());
        assert_eq!(row(&Proven::default())["proven_at"], Value::Null);
    }
}
