//! What do the login files that the older tool was fed with say about their accounts?
//!
//! [`observe`] lists a folder, [`plan`] infers (pure: facts, rules, what is known and `now` come
//! in) what the inventory will say. The login files are never touched, never even opened: name and mtime say all that is asked here (SPEC, "Legacy files").

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use serde::Serialize;

use crate::account::LegacyName;
use crate::disk::DiskError;
use crate::disk::tree::{self, Kind, Visit};
use crate::quota::Validation;
use crate::snapshot::inventory::{self, Inventory, Record};
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
    /// Those among such names that could not be looked at.
    pub unreadable: Vec<Skipped>,
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
#[derive(Clone, Debug)]
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
/// When it does not exist or cannot be listed; one entry that cannot be looked at is in
/// [`Facts::unreadable`].
pub fn observe(folder: &Path) -> Result<Facts, DiskError> {
    let place = |source: io::Error| DiskError { action: "list", path: folder.to_owned(), source };
    let real = std::fs::canonicalize(folder).map_err(place)?;
    let walk = tree::walk(&real, &mut |node| {
        let ours = node.kind != Kind::Dir && is_login_name(node.path.as_os_str());
        if ours { Visit::Take } else { Visit::Skip }
    })?;
    let unreadable = walk.unreadable.iter().filter(|(name, _)| is_login_name(name.as_os_str()));
    let unreadable = unreadable.map(|(name, why)| Skipped {
        file: name.to_string_lossy().into_owned(),
        reason: format!("it cannot be looked at: {why}"),
    });
    let unreadable = unreadable.collect();
    let entries = walk.nodes.into_iter().map(|node| Entry {
        name: node.path.into_os_string(),
        kind: node.kind,
        modified: node.modified,
    });
    let folder = std::path::absolute(folder).map_err(place)?;
    Ok(Facts { folder, entries: entries.collect(), unreadable })
}

/// Infers a record from each file and merges them into what is known.
///
/// A day in a name that no calendar has makes a record too, marked "mismatch" with the reason.
/// The same facts, rules and knowledge give the same plan; planned again upon its own inventory
/// it changes nothing. `now` becomes the inventory's `generated_at` if a record changed.
#[must_use]
pub fn plan(facts: &Facts, rules: &Rules, known: Option<Inventory>, now: DateTime<Utc>) -> Plan {
    let mut records = Vec::new();
    let mut skipped = facts.unreadable.clone();
    let mut proposed = BTreeSet::new();
    for entry in &facts.entries {
        match infer(entry, &facts.folder, rules, &mut proposed) {
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

/// What one entry says; `None` if it is not one of the older tool's, the reason if it ought to be.
/// The name it would get is added to those that are `proposed`.
fn infer(
    entry: &Entry,
    folder: &Path,
    rules: &Rules,
    proposed: &mut BTreeSet<SnapshotName>,
) -> Result<Option<Record>, String> {
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
    let mut snapshot = SnapshotName::new(rules.zone.wall(start), Who::Email(legacy.email.clone()));
    while !proposed.insert(snapshot.clone()) {
        snapshot = snapshot.next();
    }
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

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    fn rules(zone: &str) -> Rules {
        Rules {
            session_duration: TimeDelta::hours(2),
            zone: zone.parse().unwrap(),
            reference_year: None,
        }
    }

    /// A folder with one regular file, whose mtime is a wall clock of the rules' zone.
    fn facts(name: impl Into<OsString>, mtime: &str, rules: &Rules) -> Facts {
        let wall = chrono::NaiveDateTime::parse_from_str(mtime, "%Y-%m-%d %H:%M:%S").unwrap();
        let modified = rules.zone.instant(wall).timestamp();
        let entry = Entry { name: name.into(), kind: Kind::File, modified };
        Facts { folder: PathBuf::from("/old"), entries: vec![entry], unreadable: Vec::new() }
    }

    fn now() -> DateTime<Utc> {
        "2026-11-21T10:00:00Z".parse().unwrap()
    }

    #[test]
    #[rustfmt::skip]
    fn a_week_begins_a_session_before_the_mtime_and_its_end_should_be_the_day_in_the_name() {
        check("21apr", "2026-04-14 17:55:00", "2026-04-14T15:55:00+02:00 2026-04-21T15:55:00+02:00 ok 2026-04-14-155500",
              "`21apr` is the day of next_available_at, 2026-04-21");
        check("22APR", "2026-04-14 17:55:00", "2026-04-14T15:55:00+02:00 2026-04-21T15:55:00+02:00 mismatch 2026-04-14-155500",
              "`22apr` means 2026-04-22, but next_available_at is on 2026-04-21");
        check("31feb", "2026-02-24 12:00:00", "2026-02-24T10:00:00+01:00 2026-03-03T10:00:00+01:00 mismatch 2026-02-24-100000",
              "`31feb` does not exist in 2026; next_available_at is on 2026-03-03");
        check("29feb", "2026-02-22 12:00:00", "2026-02-22T10:00:00+01:00 2026-03-01T10:00:00+01:00 mismatch 2026-02-22-100000",
              "`29feb` does not exist in 2026; next_available_at is on 2026-03-01");
        check("00apr", "2026-03-25 12:00:00", "2026-03-25T10:00:00+01:00 2026-04-01T11:00:00+02:00 mismatch 2026-03-25-100000",
              "`00apr` does not exist in 2026; next_available_at is on 2026-04-01");
        check("21xyz", "2026-04-14 17:55:00", "2026-04-14T15:55:00+02:00 2026-04-21T15:55:00+02:00 mismatch 2026-04-14-155500",
              "`21xyz` names no month; next_available_at is on 2026-04-21");
        // Seven days are 604,800 seconds: over the end of summer time the clock is an hour back.
        check("01nov", "2026-10-25 03:10:00", "2026-10-25T02:10:00+02:00 2026-11-01T01:10:00+01:00 ok 2026-10-25-021000",
              "`01nov` is the day of next_available_at, 2026-11-01");
        check("28mar", "2026-03-22 01:30:00", "2026-03-21T23:30:00+01:00 2026-03-28T23:30:00+01:00 ok 2026-03-21-233000",
              "`28mar` is the day of next_available_at, 2026-03-28");
        check("1jan",  "2026-12-25 12:00:00", "2026-12-25T10:00:00+01:00 2027-01-01T10:00:00+01:00 ok 2026-12-25-100000",
              "`01jan` is the day of next_available_at, 2027-01-01");
        check("21apr", "2026-04-15 01:59:59", "2026-04-14T23:59:59+02:00 2026-04-21T23:59:59+02:00 ok 2026-04-14-235959",
              "`21apr` is the day of next_available_at, 2026-04-21");
        check("21apr", "2026-04-15 02:00:00", "2026-04-15T00:00:00+02:00 2026-04-22T00:00:00+02:00 mismatch 2026-04-15-000000",
              "`21apr` means 2026-04-21, but next_available_at is on 2026-04-22");
    }

    #[track_caller]
    fn check(token: &str, mtime: &str, expected: &str, details: &str) {
        let rules = rules("Europe/Berlin");
        let name = format!("{token}_Ada@example.com_auth.json");
        let plan = plan(&facts(name.as_str(), mtime, &rules), &rules, None, now());
        let [record] = &plan.records[..] else { panic!("{:?}", plan.skipped) };
        let Record { session_start_at, next_available_at, validation_status, .. } = record;
        let began = record.proposed_archive_name.strip_suffix("-ada@example.com-codex.tar.gz");
        let began = began.unwrap();
        assert_eq!(
            format!("{session_start_at} {next_available_at} {validation_status} {began}"),
            expected,
            "{token}"
        );
        assert_eq!(record.validation_details, details);
        assert_eq!(record.legacy_auth_filename, name);
        assert_eq!(record.source_path, format!("/old/{name}"));
        assert_eq!(record.inferred_session_duration_seconds, 7_200);
        assert_eq!(record.legacy_quota_day_token, format!("{:0>5}", token.to_lowercase()));
    }

    #[test]
    fn a_day_belongs_to_the_calendar_of_the_zone_and_to_the_year_that_was_given() {
        let status = |rules: &Rules, mtime: &str| {
            let facts = facts("21apr_ada@example.com_auth.json", mtime, rules);
            plan(&facts, rules, None, now()).records[0].validation_details.clone()
        };
        let berlin = rules("Europe/Berlin");
        let mut kiritimati =
            facts("21apr_ada@example.com_auth.json", "2026-04-14 17:55:00", &berlin);
        let there = plan(&kiritimati, &rules("Pacific/Kiritimati"), None, now());
        assert!(there.records[0].validation_details.ends_with("is on 2026-04-22"));

        let year = Rules { reference_year: Some(2025), ..berlin.clone() };
        assert!(status(&year, "2026-04-14 17:55:00").starts_with("`21apr` means 2025-04-21, but"));
        let longer = Rules { session_duration: TimeDelta::hours(18), ..berlin.clone() };
        assert!(status(&longer, "2026-04-14 17:55:00").ends_with("is on 2026-04-20"));
        let nonsense = Rules { session_duration: TimeDelta::hours(-5), ..berlin.clone() };
        let record = plan(&kiritimati, &nonsense, None, now()).records.remove(0);
        assert_eq!(record.session_start_at, record.quota_end_detected_at);

        kiritimati.entries[0].modified = 0;
        let before_1970 = plan(&kiritimati, &berlin, None, now());
        assert_eq!(before_1970.skipped[0].reason, "its mtime is not within the years 1970 to 9999");
    }

    #[test]
    #[rustfmt::skip]
    fn what_ends_like_a_login_file_and_is_none_is_listed_with_the_reason() {
        skipped("auth.json",                          Kind::File,          None);
        skipped("notes.txt",                          Kind::File,          None);
        skipped("21apr_ada@example.com_auth.json.bak", Kind::File,         None);
        skipped("21apr_ada@example.com_auth.json",    Kind::Dir,           None);
        skipped("21apr_ada@example.com_auth.json",    Kind::Symlink,       Some("it is a symbolic link, not a regular file"));
        skipped("21apr_ada@example.com_auth.json",    Kind::Other("fifo"), Some("it is a fifo, not a regular file"));
        skipped("ada@example.com_AUTH.json",          Kind::File,          Some("the name does not begin with a day such as `21apr_`"));
        skipped("21apr_ada_auth.json",                Kind::File,          Some("the name holds no e-mail address that can be used in a file name"));
        skipped("_auth.json",                         Kind::File,          Some("the name does not begin with a day such as `21apr_`"));
    }

    #[track_caller]
    fn skipped(name: &str, kind: Kind, reason: Option<&str>) {
        let entry = Entry { name: name.into(), kind, modified: 1_776_000_000 };
        let facts =
            Facts { folder: PathBuf::from("/old"), entries: vec![entry], unreadable: Vec::new() };
        let plan = plan(&facts, &rules("UTC"), None, now());
        let found: Vec<_> =
            plan.skipped.iter().map(|s| (s.file.as_str(), s.reason.as_str())).collect();
        assert_eq!(found, reason.map(|reason| (name, reason)).into_iter().collect::<Vec<_>>());
        assert!(plan.records.is_empty() && !plan.changed);
    }

    #[test]
    #[cfg(unix)]
    fn a_folder_is_looked_at_without_opening_a_pipe_or_following_a_link() {
        use rustix::fs::{FileType, Mode};
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("old");
        let name = |who: &str| folder.join(format!("21apr_{who}@example.com_auth.json"));
        fs::create_dir_all(name("folder")).unwrap();
        fs::write(name("ada"), "secret").unwrap();
        fs::write(folder.join("auth.json"), "secret").unwrap();
        fs::write(name("folder").join("21apr_in@example.com_auth.json"), "").unwrap();
        std::os::unix::fs::symlink(name("ada"), name("link")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, name("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        let file = fs::File::options().write(true).open(name("ada")).unwrap();
        let mtime = std::time::UNIX_EPOCH + std::time::Duration::from_millis(1_776_182_100_900);
        file.set_modified(mtime).unwrap();
        std::os::unix::fs::symlink("old", dir.path().join("way")).unwrap();

        let facts = observe(&dir.path().join("way")).unwrap();
        assert_eq!(facts.folder, dir.path().join("way"));
        let plan = plan(&facts, &rules("Europe/Berlin"), None, now());
        let [ada] = &plan.records[..] else { panic!("{plan:?}") };
        assert_eq!(ada.quota_end_detected_at.to_string(), "2026-04-14T17:55:00+02:00");
        let skipped: Vec<_> = plan.skipped.iter().map(|skipped| skipped.file.as_str()).collect();
        assert_eq!(
            skipped,
            ["21apr_link@example.com_auth.json", "21apr_pipe@example.com_auth.json"]
        );
        assert!(
            observe(&dir.path().join("none")).unwrap_err().to_string().starts_with("cannot list")
        );
    }

    #[test]
    fn an_entry_that_cannot_be_looked_at_hides_no_other() {
        let rules = rules("UTC");
        let mut facts = facts("21apr_ada@example.com_auth.json", "2026-04-14 17:55:00", &rules);
        let hidden = Skipped { file: "22apr_b_auth.json".to_owned(), reason: "no".to_owned() };
        facts.unreadable.push(hidden.clone());
        let plan = plan(&facts, &rules, None, now());
        assert_eq!((plan.records.len(), plan.skipped), (1, vec![hidden]));
    }

    #[test]
    fn normalizing_twice_changes_nothing() {
        let rules = rules("Europe/Berlin");
        let mut facts = facts("21apr_ada@example.com_auth.json", "2026-04-14 17:55:00", &rules);
        let first = plan(&facts, &rules, None, now());
        assert!(first.changed);
        let known = || Some(Inventory::parse(&first.inventory.to_bytes()).unwrap());
        assert!(!plan(&facts, &rules, known(), now() + WEEK).changed);

        // The file is gone: its record is not.
        let entry = facts.entries.remove(0);
        let gone = plan(&facts, &rules, known(), now() + WEEK);
        assert!(!gone.changed && gone.inventory == first.inventory);
        facts.entries.push(Entry { modified: entry.modified + 60, ..entry });
        let third = plan(&facts, &rules, known(), now() + WEEK);
        assert!(third.changed && third.inventory.records.len() == 1, "{third:?}");
        assert_eq!(third.inventory.generated_at.unwrap().instant(), now() + WEEK);
    }

    #[test]
    fn nothing_found_and_nothing_known_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let facts = observe(dir.path()).unwrap();
        assert!(!plan(&facts, &rules("UTC"), None, now()).changed);
    }

    #[test]
    fn the_older_tools_list_is_recognized_as_knowledge_of_the_same_files() {
        let known = include_bytes!("../../testdata/legacy/1.0.0/inventory.json");
        let known = Inventory::parse(known).unwrap();
        let rules = rules("Europe/Berlin");
        let facts = facts("21apr_user@example.com_auth.json", "2026-04-14 17:55:00", &rules);
        let plan = plan(&facts, &rules, Some(known.clone()), now());
        assert!(plan.changed);
        assert_eq!(plan.inventory.records.len(), known.records.len());
        let (old, new) = (&known.records[1], &plan.records[0]);
        assert_eq!(plan.inventory.records[1], *new);
        assert_eq!(
            (&old.email, old.session_start_at, old.next_available_at, &old.proposed_archive_name),
            (&new.email, new.session_start_at, new.next_available_at, &new.proposed_archive_name),
        );
    }

    proptest! {
        #[test]
        fn any_folder_can_be_planned_for_and_a_second_time_changes_nothing(
            files in proptest::collection::vec(
                (
                    prop_oneof![
                        ".*",
                        ".*_auth.json",
                        "[0-9]{1,2}(jan|feb|APR|Dec|xyz)_[a-c]@example.com_auth.json",
                    ],
                    prop_oneof![any::<i64>(), 0_i64..4_000_000_000],
                ),
                0..8,
            ),
            hours in prop_oneof![Just(i64::MAX / 4_000_000), 0_i64..100],
            year in proptest::option::of(any::<i32>()),
        ) {
            let rules = Rules {
                session_duration: TimeDelta::hours(hours),
                reference_year: year,
                ..rules("Europe/Berlin")
            };
            // A folder has each name once.
            let files: std::collections::BTreeMap<_, _> = files.into_iter().collect();
            let entries = files.into_iter().map(|(name, modified)| Entry {
                name: name.into(),
                kind: Kind::File,
                modified,
            });
            let facts = Facts { folder: PathBuf::from("/old"), entries: entries.collect(), unreadable: Vec::new() };
            let first = plan(&facts, &rules, None, now());
            prop_assert_eq!(first.changed, !first.records.is_empty());
            let written = first.inventory.to_bytes();
            let known = Inventory::parse(&written).unwrap();
            let second = plan(&facts, &rules, Some(known), now() + WEEK);
            prop_assert!(!second.changed);
            prop_assert_eq!(second.inventory.to_bytes(), written);
        }
    }
}
