//! `use`: sign another account in.

mod full;
mod which;

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::account::{AccountKey, Email, Login, Order};
use crate::cli::cooldown::{look, look_at_recent};
use crate::cli::exit::Failure;
use crate::cli::holders::{self, Guard};
use crate::cli::session::{Places, Session};
use crate::cli::{Exit, Report, restart};
use crate::disk::lock::Lock;
use crate::overview::Overview;
use crate::quota::Entry;
use crate::snapshot::backup;
use crate::snapshot::logins::{self, Live, Shelf, Stale};
use crate::snapshot::operations::{self, Change, SignedIn};
use crate::snapshot::switch;

/// Sign another account in: swap the login and nothing else
///
/// With --full the state comes along: sessions, configuration, all that the newest snapshot of the
/// account holds.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Alias, e-mail, a unique part of either, or short id; - is the one that was signed in before
    account: Option<String>,
    /// The account that `recommend` names, if it is ready (exit code 10 if none is)
    #[arg(long, conflicts_with = "account")]
    next: bool,
    /// Bring the account's newest snapshot back too; what is there now is stored before
    #[arg(long, conflicts_with = "restart_server")]
    full: bool,
    /// Take an older login where the newest is in a damaged snapshot, or live in another home
    #[arg(long, conflicts_with = "full")]
    accept_stale_login: bool,
    #[command(flatten)]
    wait: holders::Wait,
    #[command(flatten)]
    server: restart::Server,
    /// Go on although Codex is running on the home
    #[arg(long)]
    force: bool,
    /// Say what would happen, and stop
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(args: &Args, session: &mut Session) -> Result<Report, Failure> {
    which::refuse_nobody(args)?;
    holders::run(args.wait, args.server.is_asked(), session, |session| match args.full {
        true => full::run(args, session),
        false => restart::around(args.server, args.dry_run, session, |spares, session| {
            sign_in(args, spares, session)
        }),
    })
}

/// Exchanges the login alone. With `spares_server` the background server is started anew then.
fn sign_in(args: &Args, spares_server: bool, session: &mut Session) -> Result<Report, Failure> {
    let places = session.places()?;
    let opened = if args.dry_run { None } else { Some(session.open(&places, "use")?) };
    // Who is next is told by quota, as the newest session of all tells it.
    let known = match args.next {
        true => look(&places, session.world.now, session)?,
        false => look_at_recent(&places, session)?,
    };
    let live = Live::read(&places.home)?;
    let chosen = which::choose(args, &live, &known, &places, session)?;
    which::tell_if_disabled(&chosen, &known, session);
    let (key, label) = (&chosen.key, &chosen.label);
    let shelf = Shelf::new(&known.snapshots, &known.odd);
    let stale = if args.accept_stale_login { Stale::Accept } else { Stale::Refuse };
    let plan = switch::plan(key, &places.home, &live, &shelf, stale)
        .map_err(|error| which_is_not_stored(error, label))?;
    for warning in &plan.warnings {
        session.warn(warning.clone());
    }
    let insist =
        Insist { way: "--accept-stale-login takes the older one", is_on: args.accept_stale_login };
    let coming = plan.login().map(|login| Coming { key, label, login });
    tell_of_neighbours(coming, Some(insist), &places, session)?;
    let is_done = plan.is_done();
    let guard = Guard::new(&places, args.force, session).restarting(spares_server);
    if !is_done {
        guard.refuse(&places, session)?;
    }
    let outgoing = (!is_done)
        .then(|| live.to_bank(&known.snapshots, &places.store, &places.zone, session.world.now))
        .flatten();
    let from = plan.from.clone();
    let banked = outgoing.as_ref().map(|outgoing| outgoing.name.to_string());
    if let Some(opened) = opened.as_ref().filter(|_| !is_done) {
        let before = live.signed_in(&known.snapshots, banked.as_deref());
        let what = format!("signed in {label}");
        let mut record = session.record(&places.store, &places.zone, "use", what)?;
        record.changes.push(Change::Login {
            place: places.home.root().to_owned(),
            before,
            after: SignedIn::Account(key.clone()),
        });
        if let Some(outgoing) = outgoing {
            bank(outgoing, &places, &opened.lock, session)?;
        }
        let signed_in = Some((key.clone(), plan.email.clone()));
        let ledger = activation(signed_in, &places, &known, session.world.now);
        let holders = || guard.in_the_way();
        let run = switch::Run { record, ledger: &ledger, lock: &opened.lock, holders: &holders };
        let warnings = switch::apply(&plan, &places.store, &run)
            .map_err(|error| overwritten(error, banked.as_deref()))?;
        for warning in warnings {
            session.warn(warning);
        }
    }
    let data = json!({
        "account": key,
        "snapshot": from,
        "destination": places.home.auth(),
        "login": if is_done { "kept-live" } else { "restored" },
        "banked": banked,
        "undo": null,
        "dry_run": args.dry_run,
        "reason": chosen.reason,
        "passed_over": chosen.passed_over,
        "state": null,
        "stored": null,
    });
    let mut text = chosen.told();
    let would =
        |done: &str, will: &str| if args.dry_run { will.to_owned() } else { done.to_owned() };
    if is_done {
        text.push_str(&format!("{label} is signed in already, with its newest login\n"));
        return Ok(Report::new(&data, text));
    }
    if let Some(banked) = &banked {
        let verb = would("stored", "would store");
        text.push_str(&format!("{verb} the login that was live as {banked}\n"));
    }
    let verb = would("signed in", "would sign in");
    text.push_str(&format!("{verb} {label}, with the login from {}\n", from.unwrap_or_default()));
    text.push_str(
        "sessions stay: `codex resume ID` goes on with any, `resume --last` with the newest of this account\n",
    );
    Ok(Report::new(&data, text))
}

/// Whoever has to sort out two logins needs to know where the one before is.
fn overwritten(error: switch::SwitchError, banked: Option<&str>) -> Failure {
    let is_it = matches!(error, switch::SwitchError::Overwritten);
    let failure = Failure::from(error);
    match banked {
        Some(banked) if is_it => failure.hint(format!(
            "the login that was live is stored as {banked}; quit every Codex and try again"
        )),
        _ => failure,
    }
}

/// A login that is about to be put in place.
pub(crate) struct Coming<'a> {
    pub(crate) key: &'a AccountKey,
    /// The account's name for people.
    pub(crate) label: &'a str,
    pub(crate) login: Login,
}

/// How a command is told to take an older login all the same.
pub(crate) struct Insist {
    pub(crate) way: &'static str,
    /// Whether it was.
    pub(crate) is_on: bool,
}

/// Tells where else the account is signed in. With a newer login there the one that would be put in
/// place is used up, and the first who tries it may sign out everybody: that is refused, unless
/// somebody insists.
pub(crate) fn tell_of_neighbours(
    coming: Option<Coming<'_>>,
    insist: Option<Insist>,
    places: &Places,
    session: &mut Session,
) -> Result<(), Failure> {
    let Some(Coming { key, label, login }) = coming else { return Ok(()) };
    let log = operations::log::read(&places.store)?;
    for other in logins::neighbours(places.home.root(), key, &log) {
        let home = session.show(&other.root);
        let (newer, known) = (logins::told(&other.login), logins::told(&login));
        if other.login.compare(&login) != Order::Newer {
            session.warn(format!(
                "{label} is signed in to {home} too: of the two the first to refresh its login \
                 signs the other out"
            ));
            continue;
        }
        let what = format!(
            "the newest login of {label} ({newer}) is live in {home}; the one here is older ({known})"
        );
        if !insist.as_ref().is_some_and(|insist| insist.is_on) {
            let way = insist.map_or_else(String::new, |insist| format!("; {}", insist.way));
            return Err(Failure::new(Exit::Refused, what).hint(format!(
                "`codex-manager backup --auth-only --codex-home {home}` stores that one, to be used here \
                 from then on{way}"
            )));
        }
        session.warn(what);
    }
    Ok(())
}

/// Names the account as people do.
fn which_is_not_stored(error: switch::SwitchError, label: &str) -> switch::SwitchError {
    match error {
        switch::SwitchError::NotStored { .. } => {
            switch::SwitchError::NotStored { account: label.to_owned() }
        }
        other => other,
    }
}

/// Stores the login that is about to be replaced.
pub(crate) fn bank(
    outgoing: backup::Plan,
    places: &Places,
    lock: &Lock,
    session: &mut Session,
) -> Result<(), Failure> {
    let stop = std::sync::atomic::AtomicBool::new(false);
    // It belongs to the operation that replaces it.
    let said = (None, Vec::new());
    let made = backup::apply(outgoing, &places.store, lock, said, &mut |_| {}, &stop)?;
    for warning in made.warnings {
        session.warn(warning);
    }
    Ok(())
}

/// What the ledger learns when this account is signed in, if it is.
pub(crate) fn activation(
    signed_in: Option<(AccountKey, Option<Email>)>,
    places: &Places,
    known: &Overview,
    now: DateTime<Utc>,
) -> Vec<Entry> {
    let Some((account, email)) = signed_in else { return Vec::new() };
    known.activated(account, email, places.zone.stamp(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_overwrites_a_login_learns_where_the_one_before_is() {
        let hint = |error, banked| overwritten(error, banked).hint.unwrap();
        assert!(hint(switch::SwitchError::Overwritten, Some("a-codex")).contains("a-codex"));
        assert!(!hint(switch::SwitchError::Changed, Some("a-codex")).contains("a-codex"));
        assert_eq!(hint(switch::SwitchError::Overwritten, None), "quit every Codex and try again");
    }
}
