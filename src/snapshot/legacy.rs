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

pub use self::find::{Found, Listing, find, find_among};

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
/// everything; of a sidecar without an archive the kind means nothing. Whose login it is stays unknown, since the ids in it may be of whichever login
/// was live: read them out of the archived `auth.json`. A guess of the older tool has the
/// source `estimate` and no percentage, also where it took over an earlier reading of unknown
/// age for it.
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
    /// Each account whose entry cannot be used, and why, for people.
    pub passed_over: Vec<(String, &'static str)>,
}

/// Reads the `cooldown.json` of 23.0.0. Keys beginning with `_` are no accounts, and what the
/// older tool only guessed is no reading.
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
            Ok(reading) => registry.readings.extend(reading),
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

/// One account's entry; `None` if it is a guess.
fn remembered(key: &str, value: &Value, zone: &Zone) -> Result<Option<Remembered>, &'static str> {
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
        return Ok(None);
    }
    let resets_at = said.resets_at.ok_or("its reset is unknown")?;
    Ok(Some(Remembered { email, observed_at, resets_at, left_percent: said.left_percent() }))
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
        let used = used.or_else(|| self.left_percent.map(|left| tidy(100.0 - left)));
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
        let left = weekly(&self.windows()).and_then(Window::left_percent)?;
        Some(tidy(left))
    }
}

/// Without the last digits, which subtracting leaves and nobody wrote.
fn tidy(percent: f64) -> f64 {
    (percent * 1e6).round() / 1e6
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

#[cfg(test)]
mod tests {
    use super::*;

    fn berlin() -> Zone {
        "Europe/Berlin".parse().unwrap()
    }

    fn fixture(path: &str) -> Vec<u8> {
        std::fs::read(format!("{}/testdata/legacy/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    /// Kind, address, start, reset, source, percentage left, time of the reading, time of capture.
    fn shown(metadata: &Metadata) -> String {
        let stamp = |at: Option<Stamp>| at.map_or("-".to_owned(), |at| at.to_string());
        let email = metadata.email.as_ref().map_or("-", Email::as_str);
        let quota = metadata.quota.as_ref();
        let left = quota.and_then(|quota| weekly(&quota.windows)?.left_percent());
        let left = left.map(|left| (left * 10.0).round() / 10.0);
        format!(
            "{} {email} {} {} {} {} {} {}",
            metadata.kind,
            stamp(metadata.session_start_at),
            stamp(metadata.next_available_at),
            quota.map_or("-".to_owned(), |quota| quota.source.to_string()),
            left.map_or("-".to_owned(), |left| left.to_string()),
            stamp(quota.and_then(|quota| quota.observed_at)),
            stamp(metadata.created_at),
        )
    }

    #[test]
    #[rustfmt::skip]
    fn the_sidecars_that_the_older_tool_wrote_are_read() {
        check("1.0.0/backups/2026-11-19-100200-user@example.com-codex.metadata.json",
              "full user@example.com 2026-11-19T10:02:00+01:00 2026-11-26T10:02:00+01:00 status-text 61 2026-11-21T12:45:28+01:00 2026-11-21T12:45:28+01:00");
        // Written as 11:02: the summer's clock was taken for the winter's.
        check("1.0.0/backups/2026-04-23-100200-second@example.com-codex.metadata.json",
              "auth second@example.com 2026-04-23T10:02:00+02:00 2026-04-30T10:02:00+02:00 status-text 10 2026-11-21T12:45:29+01:00 2026-11-21T12:45:29+01:00");
        // Changed by a later reading.
        check("23.0.0/backups/auth/user@example.com/latest.metadata.json",
              "auth user@example.com 2026-11-20T09:15:00+01:00 2026-11-27T09:15:00+01:00 status-text 7 2026-11-21T12:45:35+01:00 2026-11-21T12:45:34+01:00");
        check("23.0.0/backups/auth/second@example.com/latest.metadata.json",
              "auth second@example.com 2026-11-21T12:45:30+01:00 2026-11-28T12:45:30+01:00 estimate - 2026-11-21T12:45:30+01:00 2026-11-21T12:45:30+01:00");
        check("23.0.0/backups/sessions/user@example.com/backup-2026-11-19-100200-codex.metadata.json",
              "state user@example.com 2026-11-19T10:02:00+01:00 2026-11-26T10:02:00+01:00 status-text 61 2026-11-21T12:45:29+01:00 2026-11-21T12:45:29+01:00");
        check("23.0.0/backups/2026-11-24-070500-odd-one@example.com-codex.metadata.json",
              "full odd-one@example.com 2026-11-17T07:05:00+01:00 2026-11-24T07:05:00+01:00 status-text 0 2026-11-21T12:45:30+01:00 2026-11-21T12:45:30+01:00");
    }

    #[track_caller]
    fn check(path: &str, expected: &str) {
        let metadata = metadata(&fixture(path), &berlin()).unwrap();
        assert_eq!(shown(&metadata), expected);
        assert!(metadata.account.is_none() && metadata.login.is_none());
        assert_eq!(metadata.source_codex_home.is_some(), !path.contains("odd-one"));
        assert_eq!(Metadata::parse(&metadata.to_bytes()), Ok(metadata));
    }

    #[test]
    #[rustfmt::skip]
    fn odd_fields_cost_themselves_and_nothing_else() {
        // Only what differs from one good sidecar is named.
        odd(r#"{"email":"\u001b[1m<User@Example.com>,\u001b[0m"}"#, "full user@example.com 2026-11-19T10:02:00+01:00 2026-11-26T10:02:00+01:00 status-text 61");
        odd(r#"{"email":"user@example."}"#,               "full - 2026-11-19T10:02:00+01:00 2026-11-26T10:02:00+01:00 status-text 61");
        odd(r#"{"email":"a/../b@example.com"}"#,          "full - 2026-11-19T10:02:00+01:00 2026-11-26T10:02:00+01:00 status-text 61");
        odd(r#"{"email":null,"backup_mode":7}"#,          "full - 2026-11-19T10:02:00+01:00 2026-11-26T10:02:00+01:00 status-text 61");
        odd(r#"{"reset_at":"2026-11-26T10:02:00.123456"}"#, "full user@example.com 2026-11-19T10:02:00+01:00 2026-11-26T10:02:00+01:00 status-text 61");
        odd(r#"{"reset_at":"unknown"}"#,                  "full user@example.com 2026-11-19T10:02:00+01:00 2026-11-26T10:02:00+01:00 status-text 61"); // next_available_at
        odd(r#"{"reset_at":null,"next_available_at":"None"}"#, "full user@example.com 2026-11-19T10:02:00+01:00 2026-11-26T10:02:00+01:00 status-text 61"); // the text
        odd(r#"{"created_at":"unknown"}"#,                "full user@example.com 2026-11-19T10:02:00+01:00 2026-11-26T10:02:00+01:00 status-text 61");
        odd(r#"{"quota_text":"12.9% left (resets 10:02 on 26 Nov)"}"#, "full user@example.com 2026-11-19T10:02:00+01:00 2026-11-26T10:02:00+01:00 status-text 12.9");
        odd(r#"{"quota_text":"\u001b[31m4\u001b[0m% left (resets 10:02 on 26 Nov)"}"#, "full user@example.com 2026-11-19T10:02:00+01:00 2026-11-26T10:02:00+01:00 status-text 4");
        odd(r#"{"quota_text":"(resets 10:02 on 26 Nov)","quota_percent_left":null}"#, "full user@example.com 2026-11-19T10:02:00+01:00 2026-11-26T10:02:00+01:00 status-text -");
        odd(r#"{"quota_text":null}"#,                     "full user@example.com 2026-11-19T10:02:00+01:00 2026-11-26T10:02:00+01:00 status-text 61");
        odd(r#"{"quota_text":null,"quota_percent_left":101}"#, "full user@example.com 2026-11-19T10:02:00+01:00 2026-11-26T10:02:00+01:00 estimate -");
        odd(r#"{"quota_text":"unknown"}"#,                "full user@example.com 2026-11-19T10:02:00+01:00 2026-11-26T10:02:00+01:00 estimate -");
        odd(r#"{"quota_text":"TOKEN EXPIRED (resets 10:02 on 26 Nov)"}"#, "full user@example.com 2026-11-19T10:02:00+01:00 2026-11-26T10:02:00+01:00 estimate -");
        odd(r#"{"quota_text":"Refresh requested","quota_percent_left":null}"#, "full user@example.com 2026-11-19T10:02:00+01:00 2026-11-26T10:02:00+01:00 estimate -");
    }

    #[test]
    #[rustfmt::skip]
    fn a_reset_is_corrected_only_if_text_capture_and_zone_agree_on_what_happened() {
        // The reset in the text, as it was written down, what was meant.
        let summer = r#","created_at":"2026-03-27T12:00:00+01:00""#; // clocks change on the 29th
        let reset = |written: &str, text: &str| format!(r#"{{"reset_at":"{written}","quota_text":"5% left (resets {text})"{summer}}}"#);
        odd(&reset("2026-04-01T11:02:00+02:00", "10:02 on 1 Apr"), "full user@example.com 2026-03-25T09:02:00+01:00 2026-04-01T10:02:00+02:00 status-text 5");
        odd(&reset("2026-04-01T10:02:00+01:00", "10:02 on 1 Apr"), "full user@example.com 2026-03-25T09:02:00+01:00 2026-04-01T10:02:00+02:00 status-text 5");
        // Right already, or something else: as it is written.
        odd(&reset("2026-04-01T10:02:00+02:00", "10:02 on 1 Apr"), "full user@example.com 2026-03-25T09:02:00+01:00 2026-04-01T10:02:00+02:00 status-text 5");
        odd(&reset("2026-04-01T11:02:00+02:00", "23:02 on 1 Apr"), "full user@example.com 2026-03-25T10:02:00+01:00 2026-04-01T11:02:00+02:00 status-text 5");
        // The clock skips half past two.
        odd(&reset("2026-03-29T02:30:00+01:00", "2:30 on 29 Mar"), "full user@example.com 2026-03-22T02:30:00+01:00 2026-03-29T03:30:00+02:00 status-text 5");
        // Read in London: this zone's clocks say nothing about it.
        odd(r#"{"reset_at":"2026-04-01T11:02:00+01:00","quota_text":"5% left (resets 10:02 on 1 Apr)","created_at":"2026-03-27T11:00:00+00:00"}"#,
            "full user@example.com 2026-03-25T11:02:00+01:00 2026-04-01T11:02:00+01:00 status-text 5");
    }

    #[track_caller]
    fn odd(changes: &str, expected: &str) {
        let good = fixture("1.0.0/backups/2026-11-19-100200-user@example.com-codex.metadata.json");
        let mut object: Map<String, Value> = serde_json::from_slice(&good).unwrap();
        object.extend(serde_json::from_str::<Map<String, Value>>(changes).unwrap());
        let metadata = metadata(&serde_json::to_vec(&object).unwrap(), &berlin()).unwrap();
        let shown = shown(&metadata);
        let shown = shown.rsplitn(3, ' ').last().unwrap();
        assert_eq!(shown, expected, "{changes}");
    }

    #[test]
    #[rustfmt::skip]
    fn what_the_older_tool_did_not_write_is_not_taken_for_a_sidecar_of_its() {
        let ours = Metadata::empty(Kind::Full).to_bytes();
        for (bytes, error) in [
            (&b"{\"product\":\"codex\",\"email"[..],           "is not JSON at line 1, column 25"),
            (b"{}",                                            "is not the sidecar of a snapshot"),
            (b"[\"codex\"]",                                   "is not the sidecar of a snapshot"),
            (b"{\"product\":\"other\",\"archive_name\":\"\"}", "is not the sidecar of a snapshot"),
            (&ours,                                            "is not the sidecar of a snapshot"),
        ] {
            assert_eq!(metadata(bytes, &berlin()).unwrap_err().to_string(), error);
        }
    }

    #[test]
    fn the_registry_gives_its_readings_and_names_what_is_none() {
        let read = registry(&fixture("23.0.0/cooldown.json"), &berlin()).unwrap();
        let rows: Vec<_> = read
            .readings
            .iter()
            .map(|r| format!("{} {} {} {:?}", r.email, r.observed_at, r.resets_at, r.left_percent))
            .collect();
        assert_eq!(
            rows,
            [
                "user@example.com 2026-11-21T12:45:35+01:00 2026-11-27T09:15:00+01:00 Some(7.0)",
                "odd-one@example.com 2026-11-21T12:45:30+01:00 2026-11-24T07:05:00+01:00 Some(0.0)"
            ]
        );
        // The second one's is a guess.
        assert_eq!(read.passed_over, []);
    }

    #[test]
    fn a_stale_percentage_beside_a_text_without_one_is_not_believed() {
        let entry = |text: &str| {
            format!(
                r#"{{"_later":7,"a@example.com":{{"reset_at":"2026-11-26T10:02:00+01:00","updated_at":"2026-11-21T12:00:00+01:00","quota_percent_left":55,"quota_text":"{text}"}},"nobody":{{}},"b@example.com":[]}}"#
            )
        };
        let read = registry(entry("(resets 10:02 on 26 Nov)").as_bytes(), &berlin()).unwrap();
        assert_eq!(read.readings[0].left_percent, None);
        let odd: Vec<_> = read.passed_over.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(odd, ["nobody", "b@example.com"]);
        let read = registry(entry("Weekly limit unknown").as_bytes(), &berlin()).unwrap();
        assert!(read.readings.is_empty());
        assert!(registry(b"[]", &berlin()).is_err());
    }

    #[test]
    #[rustfmt::skip]
    fn a_member_goes_where_it_was_unless_the_state_set_leaves_it_out() {
        for (name, is_folder, expected) in [
            ("auth.json",                          false, Some("auth.json")),
            ("auth.json.bak-20261102-080000",      false, Some("auth.json.bak-20261102-080000")),
            ("sessions/2026/",                     true,  Some("sessions/2026")),
            ("sessions/x.metadata.json",           false, Some("sessions/x.metadata.json")),
            ("state_5.sqlite",                     false, Some("state_5.sqlite")),
            ("state_5.sqlite-wal",                 false, Some("state_5.sqlite-wal")),
            ("state_5.sqlite-shm",                 false, None),
            ("state_5.sqlite-journal",             false, None),
            ("worktrees/a/state.sqlite-wal",       false, None),
            ("shell_snapshots/",                   true,  None),
            ("packages/a",                         false, None),
            ("auth.lock",                          false, None),
            ("latest.metadata.json",               false, None),
            ("backup-2026-11-19-100200-codex.metadata.json", false, None),
            ("2026-04-14-155500-a@example.com-codex.metadata.json", false, None),
            ("",                                   false, None),
            ("/",                                  true,  None),
        ] {
            assert_eq!(place(name, is_folder, 9), expected, "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_the_fields_say_a_sidecar_becomes_one_of_ours(
            fields in proptest::collection::btree_map(
                proptest::sample::select(&[
                    "email", "reset_at", "next_available_at", "session_start_at", "quota_text",
                    "created_at", "updated_at", "source_codex_home", "backup_mode",
                ][..]),
                proptest::prop_oneof![
                    ".*",
                    "(19[67][0-9]|20[0-9]{2}|9999)-(03|10|12)-[23][0-9]T0[0-3]:[0-5]0:00(\\.[0-9]{1,6})?([+-]0[0-3]:00)?",
                    "[0-9]{1,3}(\\.[0-9])?% (left|used) \\(resets [0-9]{1,2}:[0-9]{2}( on [0-9]{1,2} (Mar|Oct))?\\)",
                ],
                0..9,
            ),
            percent in proptest::option::of(proptest::prelude::any::<f64>()),
        ) {
            let mut object = serde_json::json!({"product": "codex", "archive_name": "a"});
            object["quota_percent_left"] = percent.into();
            for (key, text) in fields {
                object[key] = text.into();
            }
            let read = metadata(&serde_json::to_vec(&object).unwrap(), &berlin()).unwrap();
            proptest::prop_assert_eq!(Metadata::parse(&read.to_bytes()), Ok(read));
        }
    }

    #[test]
    fn a_database_unpacked_with_its_log_and_settled_has_the_row_that_was_only_there() {
        use std::io::Read;
        let archive = fixture("1.0.0/backups/2026-11-19-100200-user@example.com-codex.tar.gz");
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&archive[..]));
        let staging = tempfile::tempdir().unwrap();
        for member in archive.entries().unwrap() {
            let mut member = member.unwrap();
            let name = member.path().unwrap().to_str().unwrap().to_owned();
            let kept = place(&name, member.header().entry_type().is_dir(), member.size());
            if let Some(path) = kept.filter(|path| path.contains(".sqlite")) {
                let mut bytes = Vec::new();
                member.read_to_end(&mut bytes).unwrap();
                std::fs::write(staging.path().join(path), bytes).unwrap();
            }
        }
        let database = staging.path().join("state_5.sqlite");
        let settled = crate::disk::database::settle(&database).unwrap();
        assert_eq!(settled, crate::disk::database::Settled::Database);
        assert_eq!(std::fs::read_dir(staging.path()).unwrap().count(), 1);
        let db = rusqlite::Connection::open(&database).unwrap();
        let table = "SELECT name FROM sqlite_schema WHERE type = 'table'";
        let table: String = db.query_row(table, [], |row| row.get(0)).unwrap();
        let rows = format!("SELECT count(*) FROM \"{table}\"");
        assert_eq!(db.query_row(&rows, [], |row| row.get::<_, i64>(0)), Ok(1));
    }
}
