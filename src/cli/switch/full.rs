//! `use --full`: the login and the state of another account, as one operation.
//!
//! The account's newest snapshot takes the place of the home, with the freshest login, as `restore`
//! does it. What is there now is stored before as a snapshot of its own account, unless its newest
//! one holds all of it already: so whoever goes back and forth finds everything as they left it.

use serde_json::json;

use super::{Args, Coming, activation, sign_in, tell_of_neighbours, which};
use crate::account::AccountKey;
use crate::cli::accounts::snapshot;
use crate::cli::backup::newest_version;
use crate::cli::cooldown::look;
use crate::cli::exit::Failure;
use crate::cli::holders::Guard;
use crate::cli::picture::{Facts, plain};
use crate::cli::progress::Progress;
use crate::cli::session::{Places, Session};
use crate::cli::{Exit, Report, prompt, restore as command};
use crate::disk::Jobs;
use crate::overview::Overview;
use crate::quota::{Reading, Source};
use crate::snapshot::backup::{self, Circumstances, Request};
use crate::snapshot::logins::{self, Live, Shelf};
use crate::snapshot::metadata::Kind;
use crate::snapshot::operations::{self, Accounts};
use crate::snapshot::restore::{self, Destination, Plan, Policy, Run, Terms};
use crate::snapshot::store::Stored;
use crate::snapshot::switch::SwitchError;

/// What it will do, and what that was decided from.
struct Decided {
    known: Overview,
    live: Live,
    chosen: which::Chosen,
    /// `None` if the account is signed in already.
    work: Option<Work>,
}

struct Work {
    plan: Plan,
    outgoing: Outgoing,
}

/// What becomes of the home that is there now, before it gives way.
#[derive(Default)]
struct Outgoing {
    plans: Vec<backup::Plan>,
    /// The snapshot that will hold it.
    stored: Option<String>,
    /// The snapshot that holds all of it already.
    held: Option<String>,
    /// The snapshot that will hold the login alone.
    banked: Option<String>,
}

/// What somebody agrees to.
#[derive(Debug, Eq, PartialEq)]
struct Agreed {
    account: AccountKey,
    terms: Option<Terms>,
    stores: bool,
}

impl Decided {
    fn agreed(&self) -> Agreed {
        Agreed {
            account: self.chosen.key.clone(),
            terms: self.work.as_ref().map(|work| work.plan.terms()),
            stores: self.work.as_ref().is_some_and(|work| work.outgoing.stored.is_some()),
        }
    }
}

pub(super) fn run(args: &Args, session: &mut Session) -> Result<Report, Failure> {
    let places = session.places()?;
    let ask = !args.dry_run && !session.global.yes;
    let agreed = if ask { Some(agree(args, &places, session)?) } else { None };
    let opened = if args.dry_run { None } else { Some(session.open(&places, "use")?) };
    let decided = decide(args, &places, session)?;
    if agreed.is_some_and(|agreed| agreed != decided.agreed()) {
        let what = "nothing was changed: meanwhile it would do something else than was agreed to";
        return Err(Failure::new(Exit::Conflict, what)
            .hint("run it again to be asked anew, or with --dry-run"));
    }
    let Decided { known, live, chosen, work } = decided;
    let Some(Work { plan, outgoing }) = work else {
        drop(opened);
        return Ok(stays(sign_in(args, false, session)?, &chosen.label));
    };
    let Outgoing { plans, stored, held, banked } = outgoing;
    let data = |undo: Option<&std::path::Path>| {
        json!({
            "account": chosen.key,
            "snapshot": plan.login_from.as_ref().unwrap_or(&plan.stored.title),
            "destination": plan.destination.path(),
            "login": "restored",
            "banked": banked,
            "undo": undo,
            "dry_run": args.dry_run,
            "reason": chosen.reason,
            "passed_over": chosen.passed_over,
            "state": plan.stored.title,
            "stored": stored,
        })
    };
    let mut facts = Facts::new();
    let done = |done: &'static str, will: &'static str| if args.dry_run { will } else { done };
    facts.add(done("signed in", "would sign in"), plain(&chosen.label));
    let mut text = chosen.told();
    if let Some(stored) = &stored {
        let what = format!("the home that was live, as {}", plain(stored));
        facts.add(done("stored", "would store"), what);
    }
    if let Some(held) = &held {
        facts.add("unchanged", format!("the home that was live, since {}", plain(held)));
    }
    if let Some(banked) = &banked {
        let what = format!("the login that was live, as {}", plain(banked));
        facts.add(done("stored", "would store"), what);
    }
    facts.append(command::describe(&plan));
    let Some(opened) = opened else {
        facts.add("would replace", session.show(plan.destination.path()));
        text.push_str(&facts.to_string());
        return Ok(Report::new(&data(None), text));
    };
    let what = format!("signed in {} and restored {}", chosen.label, plan.stored.title);
    let mut record = session.record(&places.store, &places.zone, "use", what)?;
    record.accounts = Some(Accounts {
        before: live.key().cloned(),
        after: plan.account.as_ref().map(|(key, _)| key.clone()),
    });
    let ledger = activation(plan.account.clone(), &places, &known, session.world.now);
    let outgoing_bytes: u64 = plans.iter().map(backup::Plan::content_bytes).sum();
    let all = plan.content_bytes.saturating_add(outgoing_bytes);
    let mut progress = Progress::bytes("switching", all, session);
    let stop = std::sync::Arc::clone(&session.world.interrupted);
    let guard = Guard::new(&places, args.force, session);
    let holders = || guard.in_the_way();
    let mut run = Run {
        record,
        ledger: &ledger,
        outgoing: plans,
        lock: &opened.lock,
        advance: &mut |count| progress.advance(count),
        stop: &stop,
        holders: &holders,
    };
    let restored = restore::apply(&plan, &places.store, &mut run)?;
    drop(progress);
    for (path, why) in &restored.left_out {
        session.warn(format!("{path} was left out: {why}"));
    }
    for warning in &restored.warnings {
        session.warn(warning.clone());
    }
    let document = data(restored.kept.as_deref());
    text.push_str(&command::draw(facts, plan.destination.path(), &restored, session));
    Ok(Report::new(&document, text))
}

/// Who is signed in works in that home already: it is the newest state of theirs.
fn stays(report: Report, label: &str) -> Report {
    let text = format!(
        "{}the home stays as it is, for {} is signed in to it; `codex-manager restore` brings back a snapshot\n",
        report.text,
        plain(label)
    );
    Report { text, ..report }
}

/// Looks, chooses and plans; refuses while Codex is running.
fn decide(args: &Args, places: &Places, session: &mut Session) -> Result<Decided, Failure> {
    let known = look(places, session.world.now, session)?;
    let live = Live::read(&places.home)?;
    let chosen = which::choose(args, &live, &known, places, session)?;
    which::tell_if_disabled(&chosen, &known, session);
    if live.key() == Some(&chosen.key) {
        return Ok(Decided { known, live, chosen, work: None });
    }
    let theirs = state_of(&chosen, &known, places, session)?;
    let plan = restore::plan(
        &theirs,
        Destination::InPlace(places.home.root().to_owned()),
        Policy::Freshest,
        &live,
        &Shelf::new(&known.snapshots, &known.odd),
        session.surroundings(),
        places.store.root(),
    )?
    .with_jobs(Jobs::of(places.settings.jobs));
    if plan.account.as_ref().map(|(key, _)| key) != Some(&chosen.key) {
        return Err(SwitchError::NotStored { account: chosen.label.clone() }.into());
    }
    for warning in &plan.warnings {
        session.warn(warning.clone());
    }
    let (key, label) = (&chosen.key, &chosen.label);
    let coming = plan.login().map(|login| Coming { key, label, login });
    tell_of_neighbours(coming, None, places, session)?;
    let log = operations::log::read(&places.store)?;
    let left = logins::left_alone(places.home.root(), &chosen.key, &log);
    if let Some(left) = left.filter(|left| theirs.metadata.created_at < Some(*left)) {
        let (label, title, at) = (&chosen.label, &theirs.title, left.wall().format("%d %b %H:%M"));
        session.warn(format!(
            "until {at} {label} worked in the home that is live now: what came after {title} is in \
             that home, and not in the state that comes back"
        ));
    }
    let outgoing = match plan.replaces {
        true => outgoing(&chosen, &live, &known, places, session)?,
        false => Outgoing::default(),
    };
    if plan.replaces {
        Guard::new(places, args.force, session).refuse(places, session)?;
    }
    Ok(Decided { known, live, chosen, work: Some(Work { plan, outgoing }) })
}

/// The newest snapshot of the account that holds more than a login.
fn state_of(
    chosen: &which::Chosen,
    known: &Overview,
    places: &Places,
    session: &Session,
) -> Result<Stored, Failure> {
    let theirs = known.accounts.iter().find(|account| account.account.key == chosen.key);
    let fits = |stored: &Stored| {
        stored.metadata.kind.has_state()
            && (stored.key().as_ref() == Some(&chosen.key)
                || theirs.is_some_and(|account| stored.is_of(&account.account)))
    };
    if !known.snapshots.iter().any(fits) && known.odd.is_empty() {
        let label = &chosen.label;
        return Err(Failure::usage(format!("no full snapshot of {label} is stored")).hint(format!(
            "`codex-manager use {}` signs in alone; `codex-manager backup` then stores a full one",
            crate::cli::accounts::typed(label, &chosen.key)
        )));
    }
    snapshot(None, fits, known, &places.zone, &session.world)
}

/// Decides how the home that is live is stored.
fn outgoing(
    chosen: &which::Chosen,
    live: &Live,
    known: &Overview,
    places: &Places,
    session: &mut Session,
) -> Result<Outgoing, Failure> {
    let login = match live {
        Live::Login(file) => Some(file),
        Live::Absent | Live::Orphan { .. } => None,
    };
    let kind = if login.is_some() { Kind::Full } else { Kind::State };
    let request = Request {
        kind,
        lean: places.settings.lean,
        exclude: places.settings.exclude.clone(),
        skip_unreadable: false,
        force_damaged: false,
        replace: false,
        label: None,
        note: Some(format!("stored before the state of {} took its place", chosen.label)),
        level: places.settings.compression_level,
        jobs: Jobs::of(places.settings.jobs),
    };
    let circumstances = Circumstances {
        now: session.world.now,
        zone: &places.zone,
        reading: live.key().and_then(|key| newest_reading(key, known)),
        status_text: None,
        home_for_people: session.show(places.home.root()),
        around: session.surroundings(),
        codex_version: newest_version(&places.home, known, &mut known.glimpses.clone()),
        host: session.world.host.clone(),
    };
    let plan = backup::plan(&places.home, &places.store, &request, login, &circumstances)?;
    // The newest snapshot with a state decides: an older one is not what a later switch brings back.
    let newest = known
        .snapshots
        .iter()
        .find(|stored| stored.metadata.kind.has_state() && stored.key().as_ref() == live.key());
    let held = newest.filter(|stored| stored.metadata.kind == kind && plan.is_held_by(stored));
    let bank = live.to_bank(&known.snapshots, &places.store, &places.zone, session.world.now);
    let mut outgoing = Outgoing::default();
    match held {
        Some(held) => outgoing.held = Some(held.title.clone()),
        None => {
            outgoing.stored = Some(plan.name.to_string());
            outgoing.plans.push(plan);
        }
    }
    // A full snapshot holds the login too.
    if let Some(bank) = bank.filter(|_| held.is_some() || kind == Kind::State) {
        outgoing.banked = Some(bank.name.to_string());
        outgoing.plans.push(bank);
    }
    Ok(outgoing)
}

/// What was measured last of an account: its snapshot is named after that.
fn newest_reading(key: &AccountKey, known: &Overview) -> Option<Reading> {
    let account = known.accounts.iter().find(|account| account.account.key == *key)?;
    let measured = account.readings.iter().filter(|reading| {
        matches!(reading.source, Source::AppServer | Source::Rollout | Source::StatusText)
    });
    measured.max_by_key(|reading| reading.observed_at.instant()).cloned()
}

/// Asks whether the home may be replaced, and answers what was agreed to. No lock is held while a
/// person thinks.
fn agree(args: &Args, places: &Places, session: &mut Session) -> Result<Agreed, Failure> {
    let decided = decide(args, places, session)?;
    let Some(Work { plan, outgoing }) = decided.work.as_ref().filter(|work| work.plan.replaces)
    else {
        return Ok(decided.agreed());
    };
    let home = session.show(places.home.root());
    let besides = match &plan.databases {
        Some(folder) => format!(", and databases in {},", session.show(folder)),
        None => String::new(),
    };
    let before = match (&outgoing.stored, &outgoing.held) {
        (Some(stored), _) => format!("What is there now is stored before, as {stored}."),
        (None, Some(held)) => format!("What is there now is what {held} holds."),
        (None, None) => "What is there now is kept.".to_owned(),
    };
    let title = &plan.stored.title;
    let question = format!(
        "Replace {home}{besides} by {title}, and sign in {}? {before}",
        decided.chosen.label
    );
    prompt::confirm(&question, session)?;
    Ok(decided.agreed())
}
