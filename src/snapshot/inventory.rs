//! Which of the older tool's login files are known, and what was inferred from each?
//!
//! `inventory.json` keeps what [`normalize`](super::normalize) found out. The list that the
//! older tool itself wrote is read as it is. Format: SPEC, "Inventory".

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::account::Email;
use crate::disk::{DiskError, read, replace};
use crate::quota::Validation;
use crate::snapshot::metadata::{MetadataError, strict_json};
use crate::time::Stamp;

/// What the `schema` field says; the older tool's list has none.
pub const SCHEMA: &str = "codex-manager/inventory";
/// The newest `schema_version` this program understands completely.
pub const VERSION: u32 = 1;
/// A larger inventory is not read, in bytes; one record takes less than a thousand.
pub const MAX_BYTES: u64 = 64 << 20;

/// What one legacy login file says about its account's week.
///
/// Field order is the order in the file, which is the older tool's.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Record {
    /// The address in the file's name, in lower case.
    pub email: Email,
    /// The file's name, as it is.
    pub legacy_auth_filename: String,
    /// The day in that name, such as `21apr`.
    pub legacy_quota_day_token: String,
    /// When the quota was found to be at its end: the file's mtime.
    pub quota_end_detected_at: Stamp,
    /// When the weekly session began, as inferred.
    pub session_start_at: Stamp,
    /// Seven days after that.
    pub next_available_at: Stamp,
    /// The length of a session that was assumed.
    pub inferred_session_duration_seconds: u64,
    /// File name of the archive that a snapshot of it would get.
    pub proposed_archive_name: String,
    /// Whether the day in the name agrees with `next_available_at`.
    pub validation_status: Validation,
    /// The same for people, with both days.
    pub validation_details: String,
    /// Where the file was, absolute; relative in what the older tool wrote.
    pub source_path: String,
    /// Keys this program does not know, kept as they are.
    #[serde(flatten)]
    pub more: BTreeMap<String, Value>,
}

impl Record {
    /// Whether both tell of one file: equal names and addresses, and besides the same place
    /// (it was looked at again) or the same mtime (it was moved, or the older tool wrote the
    /// place down in another way).
    #[must_use]
    pub fn is_about_the_same_file(&self, other: &Self) -> bool {
        self.legacy_auth_filename == other.legacy_auth_filename
            && self.email == other.email
            && (self.source_path == other.source_path
                || self.quota_end_detected_at == other.quota_end_detected_at)
    }
}

/// An entry of the list that is no record as we know them; it is kept and written back.
#[derive(Clone, Debug, PartialEq)]
pub struct Odd {
    /// Its place in the list it was read from, counted from 1.
    pub position: usize,
    /// What does not fit, without a word of the content.
    pub reason: String,
    /// The entry itself.
    pub raw: Value,
}

/// All records, also those whose files are gone.
#[derive(Clone, Debug, PartialEq)]
pub struct Inventory {
    /// 0 for the older tool's list, which carries no version.
    pub schema_version: u32,
    /// When the records last changed.
    pub generated_at: Option<Stamp>,
    /// In the order of the file: oldest knowledge first.
    pub records: Vec<Record>,
    /// What could not be understood; written after the records.
    pub odd: Vec<Odd>,
    /// Keys this program does not know, kept as they are.
    pub more: Map<String, Value>,
}

/// Why an inventory cannot be used. No variant repeats what the file says.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// It could not be read or written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It is no list of records.
    #[error("{} {reason}", path.display())]
    Unreadable {
        /// The inventory.
        path: PathBuf,
        /// What is wrong with it.
        reason: Unreadable,
    },
    /// A later version wrote it: read, but never written over.
    #[error("{} comes from a newer codex-manager (format {version})", path.display())]
    Newer {
        /// The inventory.
        path: PathBuf,
        /// Its `schema_version`.
        version: u32,
    },
}

impl InventoryError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Disk(error) => error.hint(),
            _ if self.is_newer() => {
                Some("update codex-manager to change this inventory".to_owned())
            }
            Self::Unreadable { .. } => Some(
                "move it aside and run `codex-manager normalize` again: it is rebuilt from the files"
                    .to_owned(),
            ),
            Self::Newer { .. } => None,
        }
    }

    /// Whether it is sound and only too new for this version.
    #[must_use]
    pub fn is_newer(&self) -> bool {
        matches!(self, Self::Newer { .. } | Self::Unreadable { reason: Unreadable::Newer(_), .. })
    }
}

/// What keeps bytes from being an inventory.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unreadable {
    /// Not JSON, or a key stands twice.
    #[error(transparent)]
    Json(#[from] MetadataError),
    /// JSON of another kind.
    #[error("is not an inventory")]
    OtherSchema,
    /// `records` is missing or no list.
    #[error("has no list of records")]
    NoRecords,
    /// Written by a later version in a way this one cannot read.
    #[error("comes from a newer codex-manager (format {0}) and cannot be read")]
    Newer(u32),
}

impl Inventory {
    /// One without records, as a first run finds it.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            schema_version: VERSION,
            generated_at: None,
            records: Vec::new(),
            odd: Vec::new(),
            more: Map::new(),
        }
    }

    /// Reads an inventory of ours or of codex-manager 1.0.0 (Python).
    ///
    /// A record that does not fit never hides the others: it is in [`Inventory::odd`].
    ///
    /// # Errors
    ///
    /// [`Unreadable`] if there is no list of records.
    pub fn parse(bytes: &[u8]) -> Result<Self, Unreadable> {
        let Value::Object(mut object) = strict_json(bytes)? else {
            return Err(Unreadable::OtherSchema);
        };
        let schema_version = match (object.remove("schema"), object.remove("schema_version")) {
            (Some(Value::String(schema)), Some(version)) if schema == SCHEMA => {
                version.as_u64().and_then(|version| u32::try_from(version).ok())
            }
            (None, None) => Some(0),
            _ => None,
        }
        .ok_or(Unreadable::OtherSchema)?;
        let entries = match object.remove("records") {
            Some(Value::Array(entries)) => entries,
            _ if VERSION < schema_version => return Err(Unreadable::Newer(schema_version)),
            _ => return Err(Unreadable::NoRecords),
        };
        // A count that is written down can be wrong; the list knows it by itself.
        object.remove("record_count");
        let generated_at = object.remove("generated_at");

        let mut records = Vec::new();
        let mut odd = Vec::new();
        for (position, raw) in (1..).zip(entries) {
            match Record::deserialize(&raw) {
                Ok(record) => records.push(record),
                Err(error) => odd.push(Odd { position, reason: blunt(&raw, &error), raw }),
            }
        }
        let generated_at = generated_at.and_then(|at| at.as_str()?.parse().ok());
        Ok(Self { schema_version, generated_at, records, odd, more: object })
    }

    /// The bytes of the file: two-space indent and a final newline.
    ///
    /// The older tool's list becomes one of ours; its entries stay.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let entries = self.records.iter().map(serde_json::to_value);
        // Plain values under text keys cannot fail to serialize.
        let mut entries: Vec<Value> = entries.map(Result::unwrap_or_default).collect();
        entries.extend(self.odd.iter().map(|odd| odd.raw.clone()));

        let mut object = Map::new();
        object.insert("schema".to_owned(), SCHEMA.into());
        object.insert("schema_version".to_owned(), self.schema_version.max(VERSION).into());
        let generated_at = self.generated_at.map(|at| at.to_string());
        object.insert("generated_at".to_owned(), generated_at.into());
        object.insert("records".to_owned(), entries.into());
        object.extend(self.more.clone());
        let mut bytes = serde_json::to_vec_pretty(&object).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Whether a later version wrote it, so that this one may not.
    #[must_use]
    pub fn is_newer(&self) -> bool {
        VERSION < self.schema_version
    }
}

/// Brings what was found into what is known.
///
/// A record about a file that is known takes its place, with the unknown keys of the old one;
/// every other is added at the end. Nothing is dropped: two records of one address are for
/// `quota` to judge. `generated_at` becomes `now` only if a record changed, so merging the same
/// records again changes nothing.
#[must_use]
pub fn merge(old: Inventory, new: Vec<Record>, now: Stamp) -> Inventory {
    let mut merged = old;
    let mut changed = false;
    for mut record in new {
        let known = &merged.records;
        let place = known
            .iter()
            .position(|known| {
                record.is_about_the_same_file(known) && record.source_path == known.source_path
            })
            .or_else(|| known.iter().position(|known| record.is_about_the_same_file(known)));
        match place.and_then(|at| merged.records.get_mut(at)) {
            Some(known) => {
                for (key, value) in &known.more {
                    record.more.entry(key.clone()).or_insert_with(|| value.clone());
                }
                changed |= *known != record;
                *known = record;
            }
            None => {
                changed = true;
                merged.records.push(record);
            }
        }
    }
    if changed {
        merged.generated_at = Some(now);
        merged.schema_version = merged.schema_version.max(VERSION);
    }
    merged
}

/// Reads the inventory at `path`; `None` if there is none.
///
/// # Errors
///
/// When it cannot be read or is no inventory.
pub fn load(path: &Path) -> Result<Option<Inventory>, InventoryError> {
    let Some(bytes) = read::optional(path, MAX_BYTES)? else {
        return Ok(None);
    };
    Inventory::parse(&bytes)
        .map(Some)
        .map_err(|reason| InventoryError::Unreadable { path: path.to_owned(), reason })
}

/// Moves an inventory that is none out of the way, to `inventory.json.broken` or a further number;
/// answers where. The caller holds the lock.
///
/// # Errors
///
/// When the disk refuses.
pub fn set_aside(path: &Path) -> Result<PathBuf, InventoryError> {
    let aside = replace::free_beside(path, "broken");
    replace::rename_new(path, &aside)?;
    Ok(aside)
}

/// The bytes that may be written to `path`.
///
/// # Errors
///
/// [`InventoryError::Newer`] for one that a later version wrote.
pub fn to_write(path: &Path, inventory: &Inventory) -> Result<Vec<u8>, InventoryError> {
    if inventory.is_newer() {
        let version = inventory.schema_version;
        return Err(InventoryError::Newer { path: path.to_owned(), version });
    }
    Ok(inventory.to_bytes())
}

/// What is wrong with an entry, by the name of its first field that does not fit.
fn blunt(raw: &Value, error: &serde_json::Error) -> String {
    let Some(object) = raw.as_object() else {
        return "it is not an object".to_owned();
    };
    let text = error.to_string();
    if text.starts_with("missing field") {
        return text;
    }
    // Left alone with one field of the entry, the reader misses others unless that one is wrong.
    let wrong = object.iter().find(|(key, value)| {
        let alone = Value::Object(Map::from_iter([((*key).clone(), (*value).clone())]));
        Record::deserialize(&alone)
            .is_err_and(|error| !error.to_string().starts_with("missing field"))
    });
    match wrong {
        Some((key, _)) => format!("`{key}` has a value that does not fit"),
        None => "a value does not fit".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OLD_LIST: &[u8] = include_bytes!("../../testdata/legacy/1.0.0/inventory.json");

    fn record(email: &str, file: &str, path: &str, minute: u32) -> Record {
        let at = |hour: u32| format!("2026-04-14T{hour:02}:{minute:02}:00+02:00").parse().unwrap();
        Record {
            email: email.parse().unwrap(),
            legacy_auth_filename: file.to_owned(),
            legacy_quota_day_token: "21apr".to_owned(),
            quota_end_detected_at: at(17),
            session_start_at: at(15),
            next_available_at: at(16),
            inferred_session_duration_seconds: 7_200,
            proposed_archive_name: "2026-04-14-155500-ada@example.com-codex.tar.gz".to_owned(),
            validation_status: Validation::Ok,
            validation_details: String::new(),
            source_path: path.to_owned(),
            more: BTreeMap::new(),
        }
    }

    fn now() -> Stamp {
        "2026-11-21T10:00:00Z".parse().unwrap()
    }

    #[test]
    fn the_older_tools_list_is_read_and_becomes_one_of_ours() {
        let list = Inventory::parse(OLD_LIST).unwrap();
        assert_eq!((list.schema_version, list.records.len(), list.odd.len()), (0, 4, 0));
        assert_eq!(list.generated_at.unwrap().to_string(), "2026-11-21T12:45:31+01:00");
        let emails: Vec<_> = list.records.iter().map(|record| record.email.as_str()).collect();
        assert_eq!(
            emails,
            [
                "second@example.com",
                "user@example.com",
                "user@example.com",
                "third_person@mail.example.com"
            ]
        );
        assert_eq!(list.records[3].validation_status, Validation::Mismatch);

        let text = String::from_utf8(list.to_bytes()).unwrap();
        let start = "{\n  \"schema\": \"codex-manager/inventory\",\n  \"schema_version\": 1,\n  \"generated_at\": \"2026-11-21T12:45:31+01:00\",\n  \"records\": [\n    {\n      \"email\": \"second@example.com\",\n      \"legacy_auth_filename\": ";
        assert!(text.starts_with(start), "{text}");
        assert!(!text.contains("record_count"));
        let again = Inventory::parse(text.as_bytes()).unwrap();
        assert_eq!(again.records, list.records);
        assert_eq!(again.to_bytes(), text.into_bytes());
    }

    #[test]
    fn one_bad_record_hides_no_good_one_and_is_written_back() {
        let good = serde_json::to_string(&record("ada@example.com", "a", "/a", 0)).unwrap();
        let bad = good.replace("ada@example.com", "../secret");
        let short = good.replace("\"email\":\"ada@example.com\",", "");
        let text = format!(
            r#"{{"schema":"codex-manager/inventory","schema_version":1,"mood":"deep","generated_at":"sometime","records":[{bad},{good},"secret",{short}]}}"#
        );
        let list = Inventory::parse(text.as_bytes()).unwrap();
        assert_eq!(list.records.len(), 1);
        let odd: Vec<_> = list.odd.iter().map(|odd| (odd.position, odd.reason.as_str())).collect();
        assert_eq!(
            odd,
            [
                (1, "`email` has a value that does not fit"),
                (3, "it is not an object"),
                (4, "missing field `email`")
            ]
        );
        let written = merge(list, Vec::new(), now()).to_bytes();
        let again = Inventory::parse(&written).unwrap();
        assert_eq!((again.records.len(), again.odd.len()), (1, 3));
        assert_eq!(again.odd[1].raw, "secret");
        assert_eq!(again.more["mood"], "deep");
        assert_eq!(again.to_bytes(), written);
    }

    #[test]
    #[rustfmt::skip]
    fn what_is_no_inventory_is_told_without_quoting_it() {
        check("",                                                  "is not JSON at line 1, column 0");
        check("[]",                                                "is not an inventory");
        check(r#"{"records":7}"#,                                  "has no list of records");
        check("{}",                                                "has no list of records");
        check(r#"{"records":[],"records":["secret"]}"#,            "a key stands twice");
        check(r#"{"schema":"secret","schema_version":1,"records":[]}"#, "is not an inventory");
        check(r#"{"schema":"codex-manager/inventory","records":[]}"#, "is not an inventory");
        check(r#"{"schema":"codex-manager/inventory","schema_version":7,"records":{}}"#, "comes from a newer codex-manager (format 7)");
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let error = Inventory::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains("secret"), "{error}");
    }

    #[test]
    fn a_newer_inventory_is_read_but_never_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("inventory.json");
        let newer = String::from_utf8(Inventory::parse(OLD_LIST).unwrap().to_bytes()).unwrap();
        let newer = newer.replace("\"schema_version\": 1", "\"schema_version\": 2");
        std::fs::write(&path, &newer).unwrap();

        let list = load(&path).unwrap().unwrap();
        assert_eq!(list.records.len(), 4);
        let merged = merge(list, vec![record("ada@example.com", "a", "/a", 0)], now());
        let error = to_write(&path, &merged).unwrap_err();
        assert!(error.to_string().ends_with("comes from a newer codex-manager (format 2)"));
        assert!(error.hint().unwrap().contains("update"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), newer);
    }

    #[test]
    #[rustfmt::skip]
    fn a_file_is_known_again_by_its_place_or_its_mtime_and_others_stay() {
        // name, path and minute of the mtime of what is known; of what was found; how many then
        merged(("a", "/x/a", 1), ("a", "/x/a", 1), 1); // the same
        merged(("a", "/x/a", 1), ("a", "/x/a", 2), 1); // touched
        merged(("a", "x/a",  1), ("a", "/x/a", 1), 1); // the older tool wrote the place
        merged(("a", "/y/a", 1), ("a", "/x/a", 2), 2); // another file of that name
        merged(("b", "/x/b", 1), ("a", "/x/a", 1), 2);
    }

    #[track_caller]
    fn merged(known: (&str, &str, u32), found: (&str, &str, u32), expected: usize) {
        let make = |(file, path, minute)| record("ada@example.com", file, path, minute);
        let mut old = Inventory::empty();
        old.records.push(make(known));
        old.records[0].more.insert("mood".to_owned(), "deep".into());
        let new = make(found);
        let merged = merge(old.clone(), vec![new.clone()], now());
        assert_eq!(merged.records.len(), expected, "{known:?} {found:?}");
        assert_eq!(merged.generated_at.is_some(), known != found);
        let last = merged.records.last().unwrap();
        assert_eq!(
            (&last.source_path, last.session_start_at),
            (&new.source_path, new.session_start_at)
        );
        assert_eq!(merged.records[0].more, old.records[0].more);

        let other = record("bob@example.com", found.0, found.1, found.2);
        assert_eq!(merge(merged.clone(), vec![other], now()).records.len(), expected + 1);
    }

    fn any_record() -> impl Strategy<Value = Record> {
        let email = prop_oneof![Just("ada@example.com"), Just("bob@example.com")];
        (email, "[ab]", "[xy]", 0_u32..3)
            .prop_map(|(email, file, path, minute)| record(email, &file, &path, minute))
    }

    proptest! {
        #[test]
        fn merging_never_drops_a_file_and_merging_again_changes_nothing(
            old in proptest::collection::vec(any_record(), 0..6),
            new in proptest::collection::btree_map("[ab]", any_record(), 0..3),
        ) {
            // One look at one folder finds each name once, all in that folder.
            let new: Vec<Record> = new.into_iter().map(|(name, record)| Record {
                legacy_auth_filename: name, source_path: "x".to_owned(), ..record
            }).collect();
            let inventory = Inventory { records: old.clone(), ..Inventory::empty() };
            let merged = merge(inventory, new.clone(), now());
            prop_assert!(merged.records.len() >= old.len());
            for (before, after) in old.iter().zip(&merged.records) {
                prop_assert!(before == after || after.is_about_the_same_file(before));
            }
            for record in &new {
                prop_assert!(merged.records.contains(record));
            }
            let later = "2027-01-01T00:00:00Z".parse().unwrap();
            prop_assert_eq!(merge(merged.clone(), new, later), merged);
        }
    }
}
