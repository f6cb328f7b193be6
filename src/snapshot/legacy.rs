//! What did the older tool (codex-manager 1.0.0 and 23.0.0, in Python) keep, in our words?
//!
//! [`metadata`] reads its sidecars, [`registry`] its `cooldown.json`, [`find`] lists its
//! archives, and [`place`] tells which of their members belong into a home. Nothing of it is
//! ever written. What those files look like: SPEC, "Snapshots of the older tool".
//!
//! A restore unpacks what [`place`] names into a staging folder and then gives every database
//! there to [`settle`](crate::disk::database::settle), before anything else opens it: the older
//! tool copied databases as plain files, and what was written last is in the `-wal` beside
//! each. One that is not sound is left out with a warning; Codex builds its index anew.

mod find;

use chrono::{Datelike, NaiveDateTime, TimeDelta};
use serde_json::{Map, Value};

use crate::account::Email;
use crate::codex::home::{self, LeftOut};
use crate::codex::status;
use crate::quota::Source;
use crate::snapshot::metadata::{Kind, Metadata, MetadataError, Quota, strict_json};
use crate::time::{Stamp, Zone};
use crate::window::{WEEK, Window, weekly};

pub use self::find::{Found, Listing, find};

/// A larger `cooldown.json` is not read, in bytes.
pub const MAX_REGISTRY_BYTES: u64 = 16 << 20;

const WEEK_MINUTES: u32 = 10_080;

/// How the older tool's texts begin where it had no reading and guessed.
const GUESSES: [&str; 5] = [
    "Status capture bypassed",
    "Status check failed",
    "TOKEN EXPIRED",
    "Status refreshing or token expired",
    "unknown",
];

/// Reads a sidecar of the older tool, or the member of an archive that holds the same object.
///
/// An odd field costs itself, not the sidecar. Where nothing says what was archived, it was
/// everything. Whose login it is stays unknown, since the ids in it may be of whichever login
/// was live: read them out of the archived `auth.json`. A guess of the older tool has the
/// source `estimate` and no percentage.
///
/// Times without an offset are on the clocks of `zone`. The older tool read the reset in its
/// status text with the offset in force at the *capture*, which is an hour off if the clocks
/// change in between; where text, capture and zone show that this is what happened, the reset
/// is taken from the clocks of `zone`, otherwise as it is written.
///
/// # Errors
///
/// [`MetadataError::OtherSchema`] for what is no sidecar of the older tool, ours included, and
/// for what is no JSON.
pub fn metadata(bytes: &[u8], zone: &Zone) -> Result<Metadata, MetadataError> {
    let object = sidecar(bytes)?;
    let kind = match text(&object, "backup_mode") {
        Some("auth-only") => Kind::Auth,
        Some("session-only") => Kind::State,
        _ => Kind::Full,
    };
    let created_at = moment(&object, "created_at", zone);
    let observed_at = created_at.max(moment(&object, "updated_at", zone));
    let facts = Facts {
        text: quota_text(&object),
        reset_at: moment(&object, "reset_at", zone)
            .or_else(|| moment(&object, "next_available_at", zone)),
        left_percent: percent(&object),
    };
    let said = facts.read(observed_at, zone);
    let start = said.resets_at.map(|reset| (reset.instant() - WEEK).timestamp());
    let start = start.and_then(Stamp::from_epoch).map(|start| start.in_zone(zone));

    let says_something =
        said.resets_at.is_some() || said.used_percent.is_some() || facts.text.is_some();
    Ok(Metadata {
        email: text(&object, "email").and_then(|raw| address(raw, zone)),
        session_start_at: start.or_else(|| moment(&object, "session_start_at", zone)),
        next_available_at: said.resets_at,
        reset_at: said.resets_at,
        inference_basis: said.resets_at.is_some().then(|| {
            match said.source {
                Source::Estimate => "estimate of the older tool",
                _ => "weekly reset in the older tool's status text",
            }
            .to_owned()
        }),
        quota: says_something.then(|| Quota {
            source: said.source,
            observed_at,
            windows: said.windows(),
            limit_reached: None,
            text: facts.text.map(ToOwned::to_owned),
        }),
        source_codex_home: text(&object, "source_codex_home").map(ToOwned::to_owned),
        created_at,
        ..Metadata::empty(kind)
    })
}

/// What 23.0.0 remembered of one account's week, from a status text that it read.
#[derive(Clone, Debug, PartialEq)]
pub struct Remembered {
    /// Whom it is about.
    pub email: Email,
    /// When it was read.
    pub observed_at: Stamp,
    /// When the week ends.
    pub resets_at: Stamp,
    /// How much was left of it, in percent.
    pub left_percent: Option<f64>,
}

/// What `cooldown.json` holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Registry {
    /// The readings, in the order of the file.
    pub readings: Vec<Remembered>,
    /// Each account that is not among them, and why, for people.
    pub passed_over: Vec<(String, &'static str)>,
}

/// Reads the `cooldown.json` of 23.0.0. Keys beginning with `_` are no accounts.
///
/// Percentages come from the status texts: the numbers beside them may be of an earlier
/// reading. Times as in [`metadata`].
///
/// # Errors
///
/// [`MetadataError`] if it is not JSON, or no object.
pub fn registry(bytes: &[u8], zone: &Zone) -> Result<Registry, MetadataError> {
    let Value::Object(accounts) = strict_json(bytes)? else {
        return Err(MetadataError::OtherSchema);
    };
    let mut registry = Registry::default();
    for (key, value) in accounts.iter().filter(|(key, _)| !key.starts_with('_')) {
        match remembered(key, value, zone) {
            Ok(reading) => registry.readings.push(reading),
            Err(reason) => registry.passed_over.push((key.clone(), reason)),
        }
    }
    Ok(registry)
}

/// Where in a home a member of the older tool's archive belongs, relative and with `/`; `None`
/// if it stays in the archive.
///
/// That is what [`left_out`](home::left_out) names, with one exception: a `-wal` comes along,
/// for the database is not whole without it. A `-journal` does not: it would have SQLite look
/// for a file that it names. The tool's own metadata stays too. Folders may end in `/`; `bytes`
/// is the length of a regular file. Whether a name is safe is the archive reader's business.
#[must_use]
pub fn place(name: &str, is_folder: bool, bytes: u64) -> Option<&str> {
    let path = name.strip_suffix('/').unwrap_or(name);
    if path.is_empty() || (!is_folder && is_metadata_member(path)) {
        return None;
    }
    match home::left_out(path, is_folder, bytes) {
        None => Some(path),
        Some(LeftOut::PartOfDatabase) if path.ends_with("-wal") => Some(path),
        Some(_) => None,
    }
}

/// Whether a member of an archive is the copy of its sidecar: at the top, named as those are.
#[must_use]
pub fn is_metadata_member(name: &str) -> bool {
    name == "latest.metadata.json"
        || (!name.contains('/') && name.ends_with("-codex.metadata.json"))
}

/// The object in a sidecar of the older tool.
fn sidecar(bytes: &[u8]) -> Result<Map<String, Value>, MetadataError> {
    match strict_json(bytes)? {
        Value::Object(object)
            if object.get("product").and_then(Value::as_str) == Some("codex")
                && object.contains_key("archive_name")
                && !object.contains_key("schema") =>
        {
            Ok(object)
        }
        _ => Err(MetadataError::OtherSchema),
    }
}

fn remembered(key: &str, value: &Value, zone: &Zone) -> Result<Remembered, &'static str> {
    let object = value.as_object().ok_or("it is not an object")?;
    let email = address(key, zone).ok_or("it is not an e-mail address")?;
    let observed_at =
        moment(object, "updated_at", zone).ok_or("the time of its reading is unknown")?;
    let facts = Facts {
        text: quota_text(object),
        reset_at: moment(object, "reset_at", zone),
        left_percent: None,
    };
    let said = facts.read(Some(observed_at), zone);
    if said.source == Source::Estimate {
        return Err("it is an estimate, not a reading");
    }
    let resets_at = said.resets_at.ok_or("its reset is unknown")?;
    Ok(Remembered { email, observed_at, resets_at, left_percent: said.left_percent() })
}

/// What the older tool wrote down about the quota.
struct Facts<'a> {
    text: Option<&'a str>,
    reset_at: Option<Stamp>,
    left_percent: Option<f64>,
}

/// What that means.
struct Said {
    source: Source,
    used_percent: Option<f64>,
    resets_at: Option<Stamp>,
}

impl Facts<'_> {
    fn read(&self, seen_at: Option<Stamp>, zone: &Zone) -> Said {
        let written = self.reset_at.zip(seen_at).and_then(|(reset, seen)| clock(reset, seen, zone));
        let year = written.map(|wall| wall.year());
        let week = self.text.zip(seen_at).and_then(|(text, seen)| week(text, seen, year, zone));

        let used = week.and_then(|week| week.used_percent);
        let used = used.or_else(|| self.left_percent.map(|left| 100.0 - left));
        let names_reset = self.text.is_some_and(|text| text.contains("resets"));
        let guessed =
            self.text.is_some_and(|text| GUESSES.iter().any(|guess| text.starts_with(guess)));
        if guessed || (used.is_none() && !names_reset) {
            let resets_at = self.reset_at;
            return Said { source: Source::Estimate, used_percent: None, resets_at };
        }

        let shown = week.and_then(|week| week.resets_at);
        // The text and the capture confirm each other, so the clocks of the zone may speak.
        let meant = written.map(|wall| zone.stamp(zone.instant(wall)));
        let resets_at = meant.filter(|meant| shown == Some(*meant)).or(self.reset_at).or(shown);
        Said { source: Source::StatusText, used_percent: used, resets_at }
    }
}

impl Said {
    fn windows(&self) -> Vec<Window> {
        let (used_percent, resets_at) = (self.used_percent, self.resets_at);
        let known = used_percent.is_some() || resets_at.is_some();
        let week = known.then_some(Window { minutes: WEEK_MINUTES, used_percent, resets_at });
        week.into_iter().collect()
    }

    fn left_percent(&self) -> Option<f64> {
        weekly(&self.windows()).and_then(Window::left_percent)
    }
}

/// The clock that a reset was read from, if `seen_at` was written on the clocks of `zone`: the
/// older tool took every reset to have the offset of the moment it was read at.
fn clock(reset: Stamp, seen_at: Stamp, zone: &Zone) -> Option<NaiveDateTime> {
    let offset: TimeDelta = seen_at.wall() - seen_at.instant().naive_utc();
    let here = zone.wall(seen_at.instant()) == seen_at.wall();
    here.then(|| reset.instant().naive_utc().checked_add_signed(offset)).flatten()
}

/// What the rest of a status line says about the week.
fn week(text: &str, seen_at: Stamp, year: Option<i32>, zone: &Zone) -> Option<Window> {
    let line = format!("Email : nobody@example.com\nQuota : {}", one_line(text));
    let status = status::parse(line.as_bytes(), zone, seen_at.instant(), year).ok()?;
    weekly(&status.windows).copied()
}

/// An address as it stood in a status text, colours, brackets and all.
fn address(raw: &str, zone: &Zone) -> Option<Email> {
    let line = format!("Email : {}\nQuota : 0% left", one_line(raw));
    let seen_at = Stamp::from_epoch(0)?.instant(); // There is no time in it.
    status::parse(line.as_bytes(), zone, seen_at, None).ok()?.email
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r', '\0'], " ")
}

/// The text under a key, unless it says that nobody knows.
fn text<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    let text = object.get(key)?.as_str()?.trim();
    (!matches!(text, "" | "unknown" | "None" | "null")).then_some(text)
}

/// What stands where the status text ought to be, also if it says that nobody knows.
fn quota_text(object: &Map<String, Value>) -> Option<&str> {
    object.get("quota_text")?.as_str().map(str::trim).filter(|text| !text.is_empty())
}

/// How much is left, in percent, if it can be.
fn percent(object: &Map<String, Value>) -> Option<f64> {
    object.get("quota_percent_left")?.as_f64().filter(|left| (0.0..=100.0).contains(left))
}

fn moment(object: &Map<String, Value>, key: &str, zone: &Zone) -> Option<Stamp> {
    let text = text(object, key)?;
    text.parse().ok().or_else(|| {
        let wall = text.replacen(' ', "T", 1);
        let wall = NaiveDateTime::parse_from_str(&wall, "%Y-%m-%dT%H:%M:%S%.f").ok()?;
        (1971..=9998).contains(&wall.year()).then(|| zone.stamp(zone.instant(wall)))
    })
}
