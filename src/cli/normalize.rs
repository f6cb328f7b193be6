//! `normalize`: take over the older tool's `DDmon_EMAIL_auth.json` files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use chrono::TimeDelta;
use serde::Serialize;
use serde_json::json;

use crate::account::{AccountKey, Email, Secret};
use crate::cli::exit::Failure;
use crate::cli::picture::{CARE, FAINT, GOOD, Table, count, plain, styled};
use crate::cli::session::{Places, Session};
use crate::cli::{Exit, Report};
use crate::codex::auth;
use crate::disk::lock::Lock;
use crate::disk::read;
use crate::quota::{Reading, Validation};
use crate::snapshot::backup::{self, Prepared};
use crate::snapshot::inventory::{self, Inventory, InventoryError, Record};
use crate::snapshot::logins;
use crate::snapshot::metadata::{Kind, Metadata};
use crate::snapshot::name::{SnapshotName, Who};
use crate::snapshot::normalize::{self, Plan, Rules, Skipped};
use crate::snapshot::operations::{self, Transaction, transaction};
use crate::snapshot::store::{Store, Stored};

/// Take over the older tool's DDmon_EMAIL_auth.json files
///
/// Reads the files directly in FOLDER, works out when each account may work again, and writes
/// the records into the inventory. The files are never touched.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Where the files lie [default: the Codex home]
    folder: Option<PathBuf>,
    /// How long a session took that used up the week, in hours
    #[arg(long, value_name = "HOURS")]
    session_duration_hours: Option<f64>,
    /// The year of the days in the names, if it is not the nearest one
    #[arg(long, value_name = "YEAR", value_parser = clap::value_parser!(i32).range(1970..=9999))]
    reference_year: Option<i32>,
    /// Also store each login as a snapshot, so that it can be used
    #[arg(long)]
    adopt: bool,
    /// Say what would be written, and stop
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Normalized<'a> {
    records: &'a [Record],
    skipped: &'a [Skipped],
    inventory: PathBuf,
    adopted: Vec<serde_json::Value>,
    changed: bool,
    dry_run: bool,
}

pub(crate) fn run(args: &Args, session: &mut Session) -> Result<Report, Failure> {
    let places = session.places()?;
    let folder = match &args.folder {
        Some(folder) => session.world.absolute(folder),
        None => places.home.root().to_owned(),
    };
    if !folder.is_dir() {
        return Err(Failure::usage(format!("{} is no folder", session.show(&folder)))
            .hint("name the folder that holds the files"));
    }
    let rules = Rules {
        session_duration: duration(args, &places)?,
        zone: places.zone.clone(),
        reference_year: args.reference_year,
    };
    let opened = if args.dry_run { None } else { Some(session.open(&places, "normalize")?) };
    let facts = normalize::observe(&folder)?;
    let known = known(&places, opened.is_some(), session)?;
    let plan = normalize::plan(&facts, &rules, known, session.world.now);
    let inventory = match plan.changed {
        true => Some(inventory::to_write(&places.store.inventory(), &plan.inventory)?),
        false => None,
    };
    let mut adopted = Vec::new();
    let mut prepared = Vec::new();
    let mut refused = false;
    if args.adopt {
        let mut shelf = Shelf {
            snapshots: places.store.scan(&places.zone)?.snapshots,
            adopted: Vec::new(),
            taken: BTreeSet::new(),
        };
        for record in &plan.records {
            match adopt(record, &folder, &mut shelf, &places, session, args.dry_run) {
                Ok((name, new)) => {
                    adopted.push(json!({
                        "file": record.legacy_auth_filename,
                        "snapshot": name,
                        "new": new.is_some() || args.dry_run && shelf.is_new(&name),
                    }));
                    prepared.extend(new);
                }
                Err(failure) => {
                    refused = true;
                    let file = &record.legacy_auth_filename;
                    session.warn(format!("{file} was not adopted: {}", failure.message));
                }
            }
        }
    }
    if let Some(opened) = &opened {
        write_down(inventory.as_deref(), prepared, &folder, &places, &opened.lock, session)?;
    }
    let text = draw(&plan, &adopted, args, session, &places);
    let data = Normalized {
        records: &plan.records,
        skipped: &plan.skipped,
        inventory: places.store.inventory(),
        adopted,
        changed: plan.changed && !args.dry_run,
        dry_run: args.dry_run,
    };
    let report = Report::new(&data, text);
    Ok(report.exit(if refused { Exit::Failed } else { Exit::Done }))
}

/// Writes the inventory and gives the adopted logins their names, as one operation.
fn write_down(
    inventory: Option<&[u8]>,
    prepared: Vec<Prepared>,
    folder: &Path,
    places: &Places,
    lock: &Lock,
    session: &mut Session,
) -> Result<(), Failure> {
    if inventory.is_none() && prepared.is_empty() {
        return Ok(());
    }
    let store = &places.store;
    let what = match prepared.len() {
        0 => format!("took over records from {}", session.show(folder)),
        logins => {
            let logins = count(u64::try_from(logins).unwrap_or(u64::MAX), "login");
            format!("took over records and {logins} from {}", session.show(folder))
        }
    };
    let (mut steps, mut changes) = (Vec::new(), Vec::new());
    for Prepared { made, steps: more, changes: theirs, .. } in prepared {
        steps.extend(more);
        changes.extend(theirs);
        for warning in made.warnings {
            session.warn(warning);
        }
    }
    let begun = session.record(store, &places.zone, "normalize", what).and_then(|mut record| {
        if let Some(content) = inventory {
            let (step, change) = operations::rewrite(store, &record.id, "inventory.json", content)?;
            steps.insert(0, step);
            record.changes.push(change);
        }
        record.changes.append(&mut changes);
        Ok(record)
    });
    let record = begun.inspect_err(|_| transaction::clear(&steps, store.root()))?;
    let work = Transaction { record: Some(record), steps, ..Transaction::default() };
    for warning in work.run(store, lock)? {
        session.warn(warning);
    }
    Ok(())
}

/// The flag, else the setting.
fn duration(args: &Args, places: &Places) -> Result<TimeDelta, Failure> {
    let Some(hours) = args.session_duration_hours else {
        return Ok(places.settings.session_duration);
    };
    let key = crate::config::Key::SessionDurationHours;
    let flags = [(key, hours.to_string())].into_iter().collect();
    let settings = crate::config::Settings::gather(
        &flags,
        &std::collections::BTreeMap::new(),
        &places.config,
    )?;
    Ok(settings.session_duration)
}

/// The records there are. A file that is no inventory is kept under another name, and the records
/// are made anew from the files.
fn known(
    places: &Places,
    is_open: bool,
    session: &mut Session,
) -> Result<Option<Inventory>, Failure> {
    let path = places.store.inventory();
    match inventory::load(&path) {
        Err(error @ InventoryError::Unreadable { .. }) if !error.is_newer() => {
            let kept = match is_open {
                true => format!("it is now {}", session.show(&inventory::set_aside(&path)?)),
                false => "it would be moved aside".to_owned(),
            };
            session.warn(format!("{error}; {kept}, and the records are made anew"));
            Ok(None)
        }
        other => Ok(other?),
    }
}

/// What stood in the store before anything was adopted, and what was since: a dry run gives each
/// name but once too.
struct Shelf {
    snapshots: Vec<Stored>,
    /// Whose login of this run is in the snapshot of which name.
    adopted: Vec<(Email, Secret, String)>,
    taken: BTreeSet<SnapshotName>,
}

impl Shelf {
    /// The snapshot that holds this very login of that account, byte for byte. Neither the name
    /// of the file nor what is made of its time matters: each login is adopted once.
    fn holder(&self, email: &Email, file: &auth::AuthFile) -> Option<String> {
        let now = self.adopted.iter().find(|(of, bytes, _)| of == email && *bytes == file.bytes);
        if let Some((_, _, name)) = now {
            return Some(name.clone());
        }
        let before = self.snapshots.iter().find(|stored| {
            stored.metadata.email.as_ref() == Some(email)
                && logins::is_stored(std::slice::from_ref(stored), file)
        });
        before.map(|stored| stored.title.clone())
    }

    /// Whether a login of this run is in the snapshot of this name.
    fn is_new(&self, name: &str) -> bool {
        self.adopted.iter().any(|(_, _, adopted)| adopted == name)
    }

    fn name(&mut self, wanted: SnapshotName, store: &Store) -> SnapshotName {
        let mut name = store.free_name(wanted);
        while self.taken.contains(&name) {
            name = store.free_name(name.next());
        }
        self.taken.insert(name.clone());
        name
    }
}

/// Writes one legacy login as an `auth` snapshot, but for its name; answers that, and nothing
/// more for a login that was stored before: it is not stored again.
fn adopt(
    record: &Record,
    folder: &Path,
    shelf: &mut Shelf,
    places: &Places,
    session: &mut Session,
    dry_run: bool,
) -> Result<(String, Option<Prepared>), Failure> {
    let path = folder.join(&record.legacy_auth_filename);
    let bytes = read::bounded(&path, auth::MAX_BYTES)?;
    let file = auth::parse(bytes).map_err(|error| Failure::usage(error.to_string()))?;
    if let Some(name) = shelf.holder(&record.email, &file) {
        return Ok((name, None));
    }
    if let Some(mixed) = &file.mixed {
        return Err(Failure::new(
            Exit::Refused,
            format!(
                "it mixes the accounts {} and {}",
                mixed.tokens_account_id, mixed.id_token_account_id
            ),
        ));
    }
    if let Some(email) = file.email.as_ref().filter(|email| **email != record.email) {
        return Err(Failure::new(
            Exit::Conflict,
            format!("its name says {}, its tokens belong to {email}", record.email),
        ));
    }
    let zone = &places.zone;
    let mut metadata = Metadata::empty(Kind::Auth);
    metadata.email = Some(record.email.clone());
    metadata.account = backup::account_facts(&file);
    metadata.login = Some(file.login.clone());
    let key = file.key.clone().unwrap_or_else(|| AccountKey::Email(record.email.clone()));
    let reading = Reading::legacy(
        key,
        record.quota_end_detected_at,
        record.session_start_at,
        Some(record.validation_status),
    );
    backup::describe_quota(&mut metadata, &reading, None, zone);
    metadata.quota_end_detected_at = Some(record.quota_end_detected_at.in_zone(zone));
    metadata.inferred_session_duration_seconds = Some(record.inferred_session_duration_seconds);
    metadata.legacy_auth_filename = Some(record.legacy_auth_filename.clone());
    metadata.legacy_quota_day_token = Some(record.legacy_quota_day_token.clone());
    metadata.validation_status = Some(record.validation_status);
    metadata.source_codex_home = Some(session.show(folder));
    metadata.created_at = Some(zone.stamp(session.world.now));
    metadata.manager_version = Some(env!("CARGO_PKG_VERSION").to_owned());
    let began = zone.wall(record.session_start_at.instant());
    let wanted = SnapshotName::new(began, Who::Email(record.email.clone()));
    let wanted = shelf.name(wanted, &places.store);
    let modified = record.quota_end_detected_at.instant().timestamp();
    let plan = backup::plan_login(&file.bytes, modified, metadata, wanted, &places.store);
    let name = plan.name.to_string();
    let prepared = match dry_run {
        true => None,
        false => {
            let stop = AtomicBool::new(false);
            Some(backup::prepare(plan, &places.store, &mut |_| {}, &stop)?)
        }
    };
    shelf.adopted.push((record.email.clone(), file.bytes, name.clone()));
    Ok((name, prepared))
}

fn draw(
    plan: &Plan,
    adopted: &[serde_json::Value],
    args: &Args,
    session: &Session,
    places: &Places,
) -> String {
    let mut text = String::new();
    if !plan.records.is_empty() {
        let mut table = Table::new(&[
            ("FILE", 1),
            ("ACCOUNT", 0),
            ("BEGAN", 2),
            ("AVAILABLE", 0),
            ("CHECK", 0),
        ]);
        for record in &plan.records {
            let wall = |at: crate::time::Stamp| at.wall().format("%Y-%m-%d %H:%M:%S").to_string();
            let check = record.validation_status;
            table.row([
                record.legacy_auth_filename.clone(),
                record.email.to_string(),
                wall(record.session_start_at),
                wall(record.next_available_at),
                check.to_string(),
            ]);
            let style = if check == Validation::Ok { GOOD } else { CARE };
            table.accent(&format!("  {check}"), style);
        }
        text.push_str(&table.draw(session.world.width));
    }
    let odd = plan.records.iter().filter(|record| record.validation_status != Validation::Ok);
    for record in odd {
        let details = plain(&record.validation_details);
        text.push_str(&format!("{}: {details}\n", plain(&record.legacy_auth_filename)));
    }
    for skipped in &plan.skipped {
        let why = styled(plain(&skipped.reason), FAINT);
        text.push_str(&format!("skipped {}: {why}\n", plain(&skipped.file)));
    }
    for adopted in adopted {
        if let (Some(file), Some(name)) = (adopted["file"].as_str(), adopted["snapshot"].as_str()) {
            let verb = match (adopted["new"] == true, args.dry_run) {
                (false, _) => "stored already:",
                (true, true) => "would adopt",
                (true, false) => "adopted",
            };
            text.push_str(&format!("{verb} {} as {}\n", plain(file), plain(name)));
        }
    }
    let inventory = session.show(&places.store.inventory());
    text.push_str(&match (plan.changed, args.dry_run, plan.records.is_empty()) {
        (_, _, true) => "no file of the older tool lies there\n".to_owned(),
        (true, true, _) => format!("would write {inventory}\n"),
        (true, false, _) => format!("written to {inventory}\n"),
        (false, _, _) => format!("nothing new for {inventory}\n"),
    });
    text
}
