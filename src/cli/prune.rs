//! `prune`: put away what is no longer wanted.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::cli::accounts::{labelled, named};
use crate::cli::cooldown::look_at_store;
use crate::cli::exit::Failure;
use crate::cli::picture::{CARE, FAINT, Table, bytes, capitalized, count, plain, styled};
use crate::cli::session::{Places, Session};
use crate::cli::{Report, prompt};
use crate::snapshot::operations::{self, Record, Transaction};
use crate::snapshot::prune::{self, Expired, Keeping, Plan, Policy, World};
use crate::snapshot::store::Stored;

/// Put away snapshots that no rule keeps, and delete what was kept for long enough
///
/// Snapshots go to the trash, from where `undo` brings them back. What lies in undo/ and trash/
/// for longer than undo.keep_days and trash.keep_days say is deleted. Never put away: the newest of
/// an account, the only one with its newest login, and what is pinned.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Keep the newest so many of each account and kind
    #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
    keep_last: usize,
    /// Keep the newest of each of the last so many hours that have one
    #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
    keep_hourly: usize,
    /// The same for days
    #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
    keep_daily: usize,
    /// The same for weeks, from Monday on
    #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
    keep_weekly: usize,
    /// The same for months
    #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
    keep_monthly: usize,
    /// Keep what is younger than this, such as 36h, 10d or 4w
    #[arg(long, value_name = "AGE", value_parser = age)]
    keep_within: Option<TimeDelta>,
    /// Only snapshots of this account, in the trash too: alias, e-mail, a unique part of either, or short id
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// Say what would happen, and stop
    #[arg(long)]
    dry_run: bool,
}

/// `90m`, `36h`, `10d` or `4w`.
fn age(text: &str) -> Result<TimeDelta, String> {
    let odd = || format!("{text:?} is no age; one looks like 36h, 10d or 4w");
    let unit = text.chars().next_back().filter(char::is_ascii).ok_or_else(odd)?;
    let number: i64 = text.strip_suffix(unit).and_then(|rest| rest.parse().ok()).ok_or_else(odd)?;
    let age = match unit {
        'm' => TimeDelta::try_minutes(number),
        'h' => TimeDelta::try_hours(number),
        'd' => TimeDelta::try_days(number),
        'w' => TimeDelta::try_weeks(number),
        _ => None,
    };
    age.filter(|age| (TimeDelta::zero()..TimeDelta::days(366_000)).contains(age)).ok_or_else(odd)
}

pub(crate) fn run(args: &Args, session: &mut Session) -> Result<Report, Failure> {
    let places = session.places()?;
    let policy = Policy {
        last: args.keep_last,
        hourly: args.keep_hourly,
        daily: args.keep_daily,
        weekly: args.keep_weekly,
        monthly: args.keep_monthly,
        within: args.keep_within,
    };
    let agreed = match args.dry_run || session.global.yes {
        true => None,
        false => Some(agree(args, &policy, &places, session)?),
    };
    let opened = if args.dry_run { None } else { Some(session.open(&places, "prune")?) };
    let plan = decide(args, &policy, &places, session)?;
    if agreed.is_some_and(|agreed| agreed != terms(&plan)) {
        let what = "nothing was changed: meanwhile it would do something else than was agreed to";
        return Err(Failure::new(crate::cli::Exit::Conflict, what)
            .hint("run it again to be asked anew, or with --dry-run"));
    }
    let report = Report::new(&data(&plan, args.dry_run), draw(&plan, args.dry_run, session));
    if let Some(opened) = opened.filter(|_| !plan.is_idle()) {
        let record = session.record(&places.store, &places.zone, "prune", what(&plan))?;
        let (steps, changes, discards) = plan.steps(&places.store, &places.zone);
        let record = Some(Record { changes, ..record });
        let transaction = Transaction { record, steps, discards, ..Transaction::default() };
        for warning in transaction.run(&places.store, &opened.lock)? {
            session.warn(warning);
        }
        let mut deleted = plan.deleted().flat_map(|expired| &expired.paths);
        if deleted.any(|path| path.symlink_metadata().is_ok()) {
            return Ok(report.exit(crate::cli::Exit::Failed));
        }
    }
    Ok(report)
}

fn decide(
    args: &Args,
    policy: &Policy,
    places: &Places,
    session: &mut Session,
) -> Result<Plan, Failure> {
    let known = look_at_store(places, session)?;
    let account = args.account.as_deref().map(|asked| named(asked, &known)).transpose()?;
    let log = operations::log::read(&places.store)?;
    let forgotten = known.ledger.all_forgotten();
    let world = World {
        forgotten: &forgotten,
        store: &places.store,
        snapshots: &known.snapshots,
        log: &log,
        home: places.home.root(),
        zone: &places.zone,
        now: session.world.now,
    };
    let keeping = Keeping { undo: places.settings.undo_keep, trash: places.settings.trash_keep };
    let concerns = |stored: &Stored| account.is_none_or(|account| stored.is_of(&account.account));
    let mut plan = prune::plan(&world, policy, keeping, (account.is_none(), &concerns))?;
    for (_, reasons) in &mut plan.verdicts {
        for reason in reasons {
            *reason = labelled(reason, &known);
        }
    }
    for expired in &mut plan.expired {
        expired.stays = expired.stays.take().map(|why| labelled(&why, &known));
    }
    Ok(plan)
}

/// What somebody agrees to who says yes.
fn terms(plan: &Plan) -> Vec<String> {
    let going = plan.going().map(|stored| stored.archive.display().to_string());
    let deleted = plan.deleted().flat_map(|expired| &expired.paths);
    going.chain(deleted.map(|path| path.display().to_string())).collect()
}

fn agree(
    args: &Args,
    policy: &Policy,
    places: &Places,
    session: &mut Session,
) -> Result<Vec<String>, Failure> {
    let plan = decide(args, policy, places, session)?;
    if !plan.is_idle() {
        prompt::confirm(&format!("{}?", capitalized(&intent(&plan))), session)?;
    }
    Ok(terms(&plan))
}

/// `move 2 snapshots to the trash and delete 3 things for good (1.2 GiB)`.
fn intent(plan: &Plan) -> String {
    let (going, deleted) = (plan.going().count(), plan.deleted().count());
    let freed = bytes(plan.deleted().map(|expired| expired.bytes).sum());
    let moves = format!("move {} to the trash", count(going, "snapshot"));
    let deletes = format!("delete {} for good ({freed})", count(deleted, "expired item"));
    match (going, deleted) {
        (0, _) => deletes,
        (_, 0) => moves,
        _ => format!("{moves} and {deletes}"),
    }
}

/// What the log says.
fn what(plan: &Plan) -> String {
    intent(plan).replacen("move ", "moved ", 1).replacen("delete ", "deleted ", 1)
}

fn data(plan: &Plan, dry_run: bool) -> Value {
    let snapshots: Vec<Value> = plan
        .verdicts
        .iter()
        .map(|(stored, reasons)| {
            let action = if reasons.is_empty() { "trash" } else { "keep" };
            json!({ "name": stored.title, "action": action, "reasons": reasons })
        })
        .collect();
    let expired: Vec<Value> = plan
        .expired
        .iter()
        .map(|Expired { paths, bytes, since, stays }| {
            let action = if stays.is_none() { "delete" } else { "keep" };
            json!({
                "paths": paths,
                "bytes": bytes,
                "since": since.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
                "action": action,
                "reason": stays,
            })
        })
        .collect();
    let freed: u64 = plan.deleted().map(|expired| expired.bytes).sum();
    json!({
        "snapshots": snapshots,
        "expired": expired,
        "freed_bytes": freed,
        "changed": !plan.is_idle() && !dry_run,
        "dry_run": dry_run,
    })
}

fn draw(plan: &Plan, dry_run: bool, session: &Session) -> String {
    let mut text = String::new();
    let rules_matter = plan.going().next().is_some();
    if rules_matter {
        let mut table = Table::new(&[("SNAPSHOT", 0), ("", 0), ("WHY", 1)]);
        for (stored, reasons) in &plan.verdicts {
            let (word, why) = match reasons.is_empty() {
                true => ("trash", "no rule keeps it".to_owned()),
                false => ("keep", reasons.join(", ")),
            };
            table.row([stored.title.clone(), word.to_owned(), why]);
            if reasons.is_empty() {
                table.accent("  trash", CARE);
            }
        }
        text.push_str(&table.draw(session.world.width));
    }
    for expired in &plan.expired {
        let Some(path) = expired.paths.first() else { continue };
        let path = session.show(path);
        match &expired.stays {
            Some(why) => {
                let why = styled(plain(why), FAINT);
                text.push_str(&format!("expired, but stays: {path} ({why})\n"));
            }
            None => text.push_str(&format!("expired: {path} ({})\n", bytes(expired.bytes))),
        }
    }
    text.push_str(&match (plan.is_idle(), dry_run) {
        (true, _) => "nothing to put away\n".to_owned(),
        (false, true) => format!("would {}\n", intent(plan)),
        (false, false) => format!("{}\n", what(plan)),
    });
    text
}
