//! `undo`: take an operation back.

use serde_json::json;

use crate::account::{AccountKey, Email};
use crate::cli::accounts::{label, labelled};
use crate::cli::cooldown::look;
use crate::cli::exit::Failure;
use crate::cli::holders::{self, Guard};
use crate::cli::picture::{Facts, plain};
use crate::cli::session::{Places, Session};
use crate::cli::switch::{Coming, activation, bank, tell_of_neighbours};
use crate::cli::{Report, prompt, restart};
use crate::codex::process::Holder;
use crate::disk::lock::Lock;
use crate::overview::Overview;
use crate::snapshot::logins::{Live, Shelf};
use crate::snapshot::operations::{self, Change, Log, Record, SignedIn, Transaction};
use crate::snapshot::restore::undo as home;
use crate::snapshot::switch;
use crate::snapshot::undo::{self, Plan, World};

/// Take an operation back: the newest one, or the one that is named
///
/// What is there now is kept in turn, so taking back an `undo` does the operation again.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Name of an operation as `log` shows it, or a unique part of it [default: the newest]
    operation: Option<String>,
    #[command(flatten)]
    wait: holders::Wait,
    #[command(flatten)]
    server: restart::Server,
    /// Bring a home back although the one there was used since, or Codex is running on it
    #[arg(long)]
    force: bool,
    /// Say what would happen, and stop
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(args: &Args, session: &mut Session) -> Result<Report, Failure> {
    holders::run(args.wait, args.server.is_asked(), session, |session| {
        restart::around(args.server, args.dry_run, session, |spares, session| {
            once(args, spares, session)
        })
    })
}

fn once(args: &Args, spares_server: bool, session: &mut Session) -> Result<Report, Failure> {
    let places = session.places()?;
    let agreed = match args.dry_run {
        true => None,
        false => agree(args, spares_server, &places, session)?,
    };
    let opened = if args.dry_run { None } else { Some(session.open(&places, "undo")?) };
    let decided = decide(args, spares_server, &places, session)?;
    let Decided { record, known, live, target, first, again, plan } = decided;
    if agreed.is_some_and(|agreed| agreed != target.id) {
        let what = "nothing was changed: meanwhile it would take back something else than was \
                    agreed to";
        return Err(Failure::new(crate::cli::Exit::Conflict, what)
            .hint("run it again to be asked anew, or with --dry-run"));
    }
    let data = |kept: Option<&std::path::Path>| {
        json!({
            "operation": record.id,
            "undoes": target.id,
            "what": target.what,
            "undo": kept,
            "dry_run": args.dry_run,
        })
    };
    let mut facts = Facts::new();
    let verb = match (again, args.dry_run) {
        (true, false) => "done again",
        (true, true) => "would do again",
        (false, false) => "taken back",
        (false, true) => "would take back",
    };
    let first = crate::cli::picture::at_home(&first, session.world.user_home.as_deref());
    facts.add(verb, plain(&first));
    let Some(opened) = opened else {
        let text = facts.to_string();
        return Ok(Report::new(&data(None), text));
    };
    let guard = Guard::new(&places, args.force, session).restarting(spares_server);
    let holders = || guard.in_the_way();
    let mut kept = None;
    let work = Work { places: &places, known: &known, live: &live, lock: &opened.lock };
    let warnings = match plan {
        Plan::Steps { steps, changes } => {
            let record = Some(Record { changes, ..record.clone() });
            let transaction = Transaction { record, steps, ..Transaction::default() };
            transaction.run(&places.store, &opened.lock)?
        }
        Plan::Login { plan, after } => {
            work.switch(&plan, after, record.clone(), &holders, session)?
        }
        Plan::Home(plan) => {
            let done = work.return_home(&plan, record.clone(), &holders, session)?;
            kept = done.kept;
            done.warnings
        }
    };
    for warning in warnings {
        session.warn(warning);
    }
    if let Some(kept) = &kept {
        facts.add("before", format!("kept in {}", session.show(kept)));
    }
    facts.add("the other way", format!("codex-manager undo {}", plain(&record.id)));
    Ok(Report::new(&data(kept.as_deref()), facts.to_string()))
}

/// What will be taken back, and what that was decided from.
struct Decided {
    /// What the log will say.
    record: Record,
    known: Overview,
    live: Live,
    target: Record,
    /// The operation in the end, in words, and whether it is done again.
    first: String,
    again: bool,
    plan: Plan,
}

/// Looks, chooses and plans; refuses while Codex is running.
fn decide(
    args: &Args,
    spares_server: bool,
    places: &Places,
    session: &mut Session,
) -> Result<Decided, Failure> {
    let known = look(places, session.world.now, session)?;
    let log = operations::log::read(&places.store)?;
    let target = undo::choose(&log, args.operation.as_deref())?.clone();
    let (first, again) = in_the_end(&target, &log);
    let verb = if again { "did again" } else { "took back" };
    let what = format!("{verb} {first}");
    let mut record = session.record(&places.store, &places.zone, "undo", what)?;
    record.undoes = Some(target.id.clone());
    let live = Live::read(&places.home)?;
    let shelf = Shelf::new(&known.snapshots, &known.odd);
    let plan = undo::plan(
        &target,
        &record.id,
        &World {
            store: &places.store,
            home: &places.home,
            live: &live,
            shelf: &shelf,
            ledger: &known.ledger,
            at: places.zone.stamp(session.world.now),
            force: args.force,
        },
    )
    .map_err(|error| {
        let failure = Failure::from(error);
        Failure { message: labelled(&failure.message, &known), ..failure }
    })?;
    let told = match &plan {
        Plan::Steps { .. } => &[][..],
        Plan::Login { plan, .. } => plan.warnings.as_slice(),
        Plan::Home(plan) => plan.warnings.as_slice(),
    };
    for warning in told {
        session.warn(warning.clone());
    }
    let coming = match &plan {
        Plan::Login { plan, after: SignedIn::Account(key) } => Some(key.clone()).zip(plan.login()),
        Plan::Home(plan) => plan.account.clone().map(|(key, _)| key).zip(plan.signs_in.clone()),
        Plan::Login { .. } | Plan::Steps { .. } => None,
    };
    if let Some((key, login)) = coming {
        let label = label(&key, &known);
        tell_of_neighbours(
            Some(Coming { key: &key, label: &label, login }),
            None,
            places,
            session,
        )?;
    }
    let guard = Guard::new(places, args.force, session);
    match &plan {
        Plan::Login { .. } => guard.restarting(spares_server).refuse(places, session)?,
        // The server has the databases of the home open, which would go away under it.
        _ if args.server.is_asked() => {
            let what = "--restart-server is for a login, and this takes none back";
            return Err(Failure::usage(what).hint("leave it out"));
        }
        Plan::Home(_) => guard.refuse(places, session)?,
        Plan::Steps { .. } => {}
    }
    Ok(Decided { record, known, live, target, first, again, plan })
}

/// The operation that this is about in the end, in words, and whether it is done again: taking back
/// what took it back is that.
fn in_the_end(target: &Record, log: &Log) -> (String, bool) {
    let (mut first, mut again) = (target, false);
    while let Some(before) = log.undone_in(first) {
        (first, again) = (before, !again);
    }
    (format!("{}: {}", first.id, first.what), again)
}

/// Asks whether a home may be replaced; no lock is held while a person thinks. Answers which
/// operation was agreed to.
fn agree(
    args: &Args,
    spares_server: bool,
    places: &Places,
    session: &mut Session,
) -> Result<Option<String>, Failure> {
    if session.global.yes {
        return Ok(None);
    }
    let Decided { target, plan, .. } = decide(args, spares_server, places, session)?;
    let Plan::Home(plan) = plan else { return Ok(None) };
    let place = session.show(plan.place());
    let question = match plan.kept() {
        Some(kept) => format!(
            "Replace {place} by the home before, {}? What is there now is kept.",
            session.show(kept)
        ),
        None => format!("Take {place} away? There was none before; what is there now is kept."),
    };
    prompt::confirm(&question, session)?;
    Ok(Some(target.id))
}

/// What goes back the way it came, under the lock.
struct Work<'a> {
    places: &'a Places,
    known: &'a Overview,
    live: &'a Live,
    lock: &'a Lock,
}

impl Work<'_> {
    fn switch(
        &self,
        plan: &switch::Plan,
        after: SignedIn,
        mut record: Record,
        holders: &dyn Fn() -> Vec<Holder>,
        session: &mut Session,
    ) -> Result<Vec<String>, Failure> {
        let banked = self.bank(self.live, session)?;
        let before = self.live.signed_in(&self.known.snapshots, banked.as_deref());
        let signed_in = match &after {
            SignedIn::Account(key) => Some((key.clone(), plan.email.clone())),
            SignedIn::Orphan(_) | SignedIn::Nobody => None,
        };
        let place = self.places.home.root().to_owned();
        record.changes.push(Change::Login { place, before, after });
        let ledger = self.activation(signed_in, session);
        let run = switch::Run { record, ledger: &ledger, lock: self.lock, holders };
        Ok(switch::apply(plan, &self.places.store, &run)?)
    }

    fn return_home(
        &self,
        plan: &home::HomePlan,
        record: Record,
        holders: &dyn Fn() -> Vec<Holder>,
        session: &mut Session,
    ) -> Result<home::Returned, Failure> {
        let record = Record {
            accounts: Some(operations::Accounts {
                before: self.live.key().cloned(),
                after: plan.account.as_ref().map(|(key, _)| key.clone()),
            }),
            ..record
        };
        self.bank(self.live, session)?;
        if let Some(outgoing) = &plan.outgoing {
            self.bank(outgoing, session)?;
        }
        let ledger = self.activation(plan.account.clone(), session);
        let run = home::Run { record, ledger: &ledger, lock: self.lock, holders };
        Ok(home::apply(plan, &self.places.store, &run)?)
    }

    /// Stores a login that is about to be replaced; answers the name of its snapshot if the store
    /// did not have it.
    fn bank(&self, login: &Live, session: &mut Session) -> Result<Option<String>, Failure> {
        let (store, zone) = (&self.places.store, &self.places.zone);
        let outgoing = login.to_bank(&self.known.snapshots, store, zone, session.world.now);
        let Some(outgoing) = outgoing else { return Ok(None) };
        let name = outgoing.name.to_string();
        bank(outgoing, self.places, self.lock, session)?;
        Ok(Some(name))
    }

    fn activation(
        &self,
        signed_in: Option<(AccountKey, Option<Email>)>,
        session: &Session,
    ) -> Vec<crate::quota::Entry> {
        activation(signed_in, self.places, self.known, session.world.now)
    }
}
