//! `restore`: bring a snapshot back.

use std::path::PathBuf;

use serde_json::json;

use crate::cli::accounts::{label, named, snapshot};
use crate::cli::cooldown::look;
use crate::cli::exit::Failure;
use crate::cli::holders::{self, Guard};
use crate::cli::picture::{Facts, bytes, count, plain};
use crate::cli::progress::Progress;
use crate::cli::session::{Places, Session, speakable};
use crate::cli::switch::{Coming, Insist, activation, tell_of_neighbours};
use crate::cli::{Exit, Report, prompt};
use crate::disk::Jobs;
use crate::disk::read::resolved;
use crate::overview::Overview;
use crate::snapshot::backup;
use crate::snapshot::logins::{Live, Shelf};
use crate::snapshot::operations::Accounts;
use crate::snapshot::restore::only::{self, Ask, Part, Selection};
use crate::snapshot::restore::{self, Destination, LoginFate, Plan, Policy, Restored, Run, Terms};
use crate::snapshot::store::Stored;
use crate::snapshot::verify::MOST_NAMED;

/// Bring a snapshot back, into the Codex home or elsewhere
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Base name, a unique part of it, label or path of an archive [default: the newest]
    snapshot: Option<String>,
    /// The newest of this account [default: the account that is signed in]
    #[arg(long, value_name = "ACCOUNT", conflicts_with = "snapshot")]
    account: Option<String>,
    /// Unpack into a new folder and leave the Codex home alone
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Take only this out, also where the rest is damaged: sessions, config, login, memories, or
    /// the path of a file or folder in the snapshot, or a glob (with --to)
    #[arg(long, value_name = "WHAT", num_args = 1..)]
    only: Vec<Part>,
    /// Which login the home gets
    #[arg(long, value_name = "WHICH", default_value = "freshest")]
    login: Which,
    /// Let an older login take the place of a newer one (with --login snapshot)
    #[arg(long)]
    accept_stale_login: bool,
    #[command(flatten)]
    wait: holders::Wait,
    /// Go on although Codex is running on the home
    #[arg(long)]
    force: bool,
    /// Say what would happen, and stop
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
enum Which {
    /// The freshest one known for the account
    Freshest,
    /// The one that is live now
    Keep,
    /// The archived one
    Snapshot,
}

pub(crate) fn run(args: &Args, session: &mut Session) -> Result<Report, Failure> {
    holders::run(args.wait, false, session, |session| once(args, session))
}

fn once(args: &Args, session: &mut Session) -> Result<Report, Failure> {
    let places = session.places()?;
    if args.accept_stale_login && args.login != Which::Snapshot {
        return Err(Failure::usage("--accept-stale-login means nothing without --login snapshot")
            .hint("pass both, or neither"));
    }
    check_parts(args)?;
    let destination = destination(args, &places, session)?;
    let in_place = matches!(destination, Destination::InPlace(_));
    let agreed = if in_place && !args.dry_run && !session.global.yes {
        Some(agree(args, &places, session)?)
    } else {
        None
    };
    let opened = if args.dry_run { None } else { Some(session.open(&places, "restore")?) };
    let Decided { known, live, plan } = decide(args, destination, &places, session)?;
    if agreed.is_some_and(|agreed| agreed != plan.terms()) {
        let what = "nothing was changed: meanwhile it would do something else than was agreed to";
        return Err(Failure::new(Exit::Conflict, what)
            .hint("run it again to be asked anew, or with --dry-run"));
    }
    let outgoing: Vec<backup::Plan> = live
        .to_bank(&known.snapshots, &places.store, &places.zone, session.world.now)
        .filter(|_| in_place)
        .into_iter()
        .collect();
    let Some(opened) = opened else {
        let text = preview(&plan, !outgoing.is_empty(), session);
        return Ok(Report::new(&data(&plan, true), text));
    };
    let banked = outgoing.first().map(|outgoing| outgoing.name.to_string());
    let title = &plan.stored.title;
    let what = match (in_place, plan.parts()) {
        (true, _) => format!("restored {title}"),
        (false, []) => format!("restored {title} to {}", session.show(plan.destination.path())),
        (false, parts) => {
            let (parts, to) = (joined(parts), session.show(plan.destination.path()));
            format!("restored {parts} of {title} to {to}")
        }
    };
    let mut record = session.record(&places.store, &places.zone, "restore", what)?;
    record.accounts = in_place.then(|| Accounts {
        before: live.key().cloned(),
        after: plan.account.as_ref().map(|(key, _)| key.clone()),
    });
    let signed_in = plan.account.clone().filter(|_| in_place);
    let ledger = activation(signed_in, &places, &known, session.world.now);
    let described = describe(&plan);
    let mut document = data(&plan, false);
    let place = plan.destination.path().to_owned();
    let mut progress = Progress::bytes("restoring", plan.content_bytes, session);
    let stop = std::sync::Arc::clone(&session.world.interrupted);
    let guard = Guard::new(&places, args.force, session);
    let holders = || guard.in_the_way();
    let mut run = Run {
        record,
        ledger: &ledger,
        outgoing,
        lock: &opened.lock,
        advance: &mut |count| progress.advance(count),
        stop: &stop,
        holders: &holders,
    };
    let restored = restore::apply(&plan, &places.store, &mut run)?;
    drop(progress);
    let mut changes_account = false;
    if in_place {
        let (was, is) = (live.key(), Live::read(&places.home));
        changes_account = was.is_some() && is.is_ok_and(|is| is.key() != was);
    }
    for (path, why) in &restored.left_out {
        session.warn(format!("{path} was left out: {why}"));
    }
    for warning in &restored.warnings {
        session.warn(warning.clone());
    }
    if let Some(object) = document.as_object_mut() {
        object.insert("banked".to_owned(), json!(banked));
        object.insert("undo".to_owned(), json!(restored.kept));
        object.insert("databases".to_owned(), json!(restored.databases));
        object.insert("rewritten_paths".to_owned(), json!(restored.rewritten));
        object.insert("damaged".to_owned(), json!(damaged(&restored)));
        if !plan.parts().is_empty() {
            let (files, bytes) = restored.unpacked;
            object.insert("files".to_owned(), json!(files));
            object.insert("content_bytes".to_owned(), json!(bytes));
        }
    }
    let mut facts = described;
    if let Some(banked) = banked {
        facts.add("stored", format!("the login that was live, as {}", plain(&banked)));
    }
    let mut text = draw(facts, &place, &restored, session);
    if changes_account {
        text.push_str("`codex resume ID` goes on with any session, `resume --last` with the newest of this account\n");
    }
    let exit = if restored.damaged.is_empty() { Exit::Done } else { Exit::Refused };
    Ok(Report::new(&document, text).exit(exit))
}

/// Refuses what makes no sense together with `--only`.
fn check_parts(args: &Args) -> Result<(), Failure> {
    if args.only.is_empty() {
        return Ok(());
    }
    if args.to.is_none() {
        return Err(Failure::usage("--only takes parts out into a folder, and none is named")
            .hint(
                "add --to DIR; what you need can be copied from there when Codex is not running",
            ));
    }
    if args.login == Which::Keep {
        return Err(Failure::usage("--login keep means nothing with --only")
            .hint("no login comes along unless it is asked for"));
    }
    Ok(())
}

fn joined(parts: &[Part]) -> String {
    parts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What a restore is about to do, and what it was decided from.
struct Decided {
    known: Overview,
    live: Live,
    plan: Plan,
}

/// Looks, chooses and plans; refuses while Codex is running.
fn decide(
    args: &Args,
    destination: Destination,
    places: &Places,
    session: &mut Session,
) -> Result<Decided, Failure> {
    let in_place = matches!(destination, Destination::InPlace(_));
    let known = look(places, session.world.now, session)?;
    let account = args.account.as_deref().map(|asked| named(asked, &known)).transpose()?;
    // Without a word the account that is signed in is meant; if nobody is, anything newest.
    let live_account = known.accounts.iter().find(|account| account.active);
    let whose = account.or(live_account.filter(|_| args.snapshot.is_none()));
    let fits = |stored: &Stored| {
        (!in_place || stored.metadata.kind.has_state())
            && whose.is_none_or(|account| stored.is_of(&account.account))
    };
    let is_there = known.snapshots.iter().any(|stored| fits(stored) && !stored.is_orphan());
    if args.snapshot.is_none() && !is_there && !known.snapshots.is_empty() && known.odd.is_empty() {
        let kind = if in_place { "full snapshot" } else { "snapshot" };
        let of = whose.map_or_else(String::new, |account| format!(" of {}", account.label));
        return Err(Failure::usage(format!("no {kind}{of} is stored"))
            .hint("`codex-manager list` shows what there is"));
    }
    let stored = snapshot(args.snapshot.as_deref(), fits, &known, &places.zone, &session.world)?;
    let live = match Live::read(&places.home) {
        // A copy elsewhere replaces nothing; that it cannot be read was said already.
        Err(_) if !in_place => Live::Absent,
        live => live?,
    };
    let policy = match args.login {
        Which::Freshest => Policy::Freshest,
        Which::Keep => Policy::Keep,
        Which::Snapshot => Policy::Snapshot { accept_stale: args.accept_stale_login },
    };
    let (shelf, around) = (Shelf::new(&known.snapshots, &known.odd), session.surroundings());
    let plan = if args.only.is_empty() {
        let manager_home = places.store.root();
        restore::plan(&stored, destination, policy, &live, &shelf, around, manager_home)?
    } else {
        let to = destination.path();
        let ask = Ask { stored: &stored, to, policy, live: &live, shelf: &shelf, around };
        only::plan(ask, Selection::new(args.only.clone()))?
    };
    let plan = plan.with_jobs(Jobs::of(places.settings.jobs));
    for warning in &plan.warnings {
        session.warn(warning.clone());
    }
    let coming = plan.account.as_ref().map(|(key, _)| key).zip(plan.login());
    // One that stays where it is takes nobody's place.
    if let Some((key, login)) = coming.filter(|_| in_place && plan.fate == LoginFate::Restored) {
        let way = "`--login keep` leaves the live one, and `--login snapshot --accept-stale-login` \
                   takes the older one";
        let insist = Insist { way, is_on: args.accept_stale_login };
        let label = label(key, &known);
        let coming = Coming { key, label: &label, login };
        tell_of_neighbours(Some(coming), Some(insist), places, session)?;
    }
    if in_place && plan.replaces {
        Guard::new(places, args.force, session).refuse(places, session)?;
    }
    Ok(Decided { known, live, plan })
}

/// Asks whether the home may be replaced, and answers what was agreed to.
///
/// No lock is held while a person thinks, so whatever was decided for the question is decided
/// anew afterwards.
fn agree(args: &Args, places: &Places, session: &mut Session) -> Result<Terms, Failure> {
    let destination = destination(args, places, session)?;
    let Decided { plan, .. } = decide(args, destination, places, session)?;
    if plan.replaces {
        let home = session.show(places.home.root());
        let besides = match &plan.databases {
            Some(folder) => format!(", and databases in {},", session.show(folder)),
            None => String::new(),
        };
        let title = &plan.stored.title;
        let question = format!("Replace {home}{besides} by {title}? What is there now is kept.");
        prompt::confirm(&question, session)?;
    }
    Ok(plan.terms())
}

fn destination(args: &Args, places: &Places, session: &Session) -> Result<Destination, Failure> {
    let Some(to) = &args.to else {
        return Ok(Destination::InPlace(places.home.root().to_owned()));
    };
    let to = session.world.absolute(to);
    // The staging folder lies beside the destination, so the folder above has to be real.
    let to = match (to.parent(), to.file_name()) {
        (Some(parent), Some(leaf)) => resolved(parent).join(leaf),
        _ => resolved(&to),
    };
    let to = speakable(to, "--to")?;
    for (root, name) in [(places.home.root(), "Codex"), (places.store.root(), "manager")] {
        if to.starts_with(root) {
            return Err(Failure::usage(format!(
                "{} lies inside the {name} home",
                session.show(&to)
            ))
            .hint("name a folder elsewhere"));
        }
    }
    Ok(Destination::To(to))
}

fn data(plan: &Plan, dry_run: bool) -> serde_json::Value {
    json!({
        "snapshot": plan.stored.title,
        "destination": plan.destination.path(),
        "login": plan.fate,
        "login_from": plan.login_from,
        "banked": null,
        "undo": null,
        "databases": plan.databases,
        "carried": plan.carried,
        "only": plan.parts().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "damaged": [],
        "files": plan.files,
        "content_bytes": plan.content_bytes,
        "dry_run": dry_run,
    })
}

/// The files that were asked for and are lost, for scripts: the chunk at which each breaks off.
fn damaged(restored: &Restored) -> Vec<serde_json::Value> {
    let told = restored.damaged.iter().filter_map(|problem| {
        let (file, chunk) = (problem.name.as_ref()?.as_str(), problem.chunk.as_ref()?);
        let (number, of, first) = (chunk.number, chunk.of, chunk.first);
        Some(json!({ "file": file, "chunk": number, "chunks": of, "offset": first }))
    });
    told.collect()
}

/// The lines that are known before anything happens.
pub(crate) fn describe(plan: &Plan) -> Facts {
    let mut facts = Facts::new();
    let content = format!("{}, {}", count(plan.files, "file"), bytes(plan.content_bytes));
    facts.add("snapshot", plain(&plan.stored.title));
    if !plan.parts().is_empty() {
        facts.add("only", plain(&joined(plan.parts())));
    }
    facts.add("content", content);
    let in_place = matches!(plan.destination, Destination::InPlace(_));
    let login = match (plan.fate, &plan.login_from) {
        (LoginFate::KeptLive, _) if !in_place => "the same as the live one".to_owned(),
        (LoginFate::KeptLive, _) => "the live one stays".to_owned(),
        (LoginFate::Absent, _) => "none".to_owned(),
        (LoginFate::Restored, None) => "from the snapshot".to_owned(),
        (LoginFate::Restored, Some(other)) => format!("the newer one from {}", plain(other)),
    };
    facts.add("login", login);
    if !plan.carried.is_empty() {
        facts.add("kept", plain(&plan.carried.join(" ")));
    }
    facts
}

fn preview(plan: &Plan, banks: bool, session: &Session) -> String {
    let mut facts = describe(plan);
    let place = session.show(plan.destination.path());
    let verb = if plan.replaces { "would replace" } else { "would create" };
    facts.add(verb, place);
    if let Some(folder) = &plan.databases {
        facts.add("databases", format!("into {}, as sqlite_home says", session.show(folder)));
    }
    if banks {
        facts.add("would store", "the live login, which no snapshot has yet");
    }
    facts.to_string()
}

pub(crate) fn draw(
    described: Facts,
    place: &std::path::Path,
    restored: &Restored,
    session: &Session,
) -> String {
    let mut facts = described;
    let damaged = restored.damaged.iter().take(MOST_NAMED);
    for problem in damaged {
        facts.add("damaged", plain(&problem.to_string()));
    }
    match restored.damaged.len().saturating_sub(MOST_NAMED) {
        0 => {}
        more => facts.add("damaged", format!("{more} more files")),
    }
    if !restored.damaged.is_empty() {
        let (files, content) = restored.unpacked;
        facts.add("came out", format!("{}, {}", count(files, "file"), bytes(content)));
    }
    facts.add("restored to", session.show(place));
    if let Some(kept) = &restored.kept {
        facts.add("before", format!("kept in {}", session.show(kept)));
    }
    if let Some(folder) = &restored.databases {
        facts.add("databases", format!("in {}, as sqlite_home says", session.show(folder)));
    }
    if restored.how == Some(crate::disk::swap::How::TwoRenames) {
        facts.add("exchange", "in two renames: this file system cannot do it in one step");
    }
    facts.to_string()
}
