//! Which account does a person mean: the one they name, the one before, or the one to use next?

use serde::Serialize;

use crate::account::{AccountKey, Email};
use crate::cli::accounts::named;
use crate::cli::exit::Failure;
use crate::cli::picture::plain;
use crate::cli::session::{Places, Session};
use crate::cli::switch::Args;
use crate::cli::{Exit, accounts};
use crate::overview::{KnownAccount, Overview};
use crate::quota::{Candidate, recommend};
use crate::snapshot::logins::{self, Live};
use crate::snapshot::{operations, switch};

/// The account that will be signed in, and why this one.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) key: AccountKey,
    /// Its name for people.
    pub(super) label: String,
    /// Why, if this program chose it.
    pub(super) reason: Option<String>,
    /// Ready ones that would have come first and cannot be signed in.
    pub(super) passed_over: Vec<PassedOver>,
}

/// An account that is ready and cannot be signed in.
#[derive(Debug, Serialize)]
pub(super) struct PassedOver {
    account: AccountKey,
    email: Option<Email>,
    reason: String,
    #[serde(skip)]
    label: String,
}

impl Chosen {
    /// What is to be said about the choice, before anything else.
    pub(super) fn told(&self) -> String {
        let over = self.passed_over.iter().map(|other| {
            format!("passed over {}: {}\n", plain(&other.label), plain(&other.reason))
        });
        let next = self
            .reason
            .iter()
            .map(|reason| format!("next is {}: {}\n", plain(&self.label), plain(reason)));
        over.chain(next).collect()
    }
}

/// Tells that the account is one that a person did not want to be recommended. Who names it means
/// it all the same.
pub(super) fn tell_if_disabled(chosen: &Chosen, known: &Overview, session: &mut Session) {
    let account = known.accounts.iter().find(|account| account.account.key == chosen.key);
    if account.is_some_and(|account| account.settings.disabled) {
        let label = &chosen.label;
        session.warn(format!(
            "{label} is disabled: `recommend` passes it over; `codex-manager accounts enable` ends that"
        ));
    }
}

/// Refuses a command line that means nobody.
pub(super) fn refuse_nobody(args: &Args) -> Result<(), Failure> {
    if args.account.is_some() || args.next {
        return Ok(());
    }
    Err(Failure::usage("no account is named").hint(
        "`use ACCOUNT` signs that one in, `use -` the one before, `use --next` the one that \
         `recommend` names",
    ))
}

/// Finds the account that the command line means.
pub(super) fn choose(
    args: &Args,
    live: &Live,
    known: &Overview,
    places: &Places,
    session: &Session,
) -> Result<Chosen, Failure> {
    let simply = |account: &KnownAccount| -> Result<Chosen, Failure> {
        let (key, label) = (resolve(account, live, known)?, account.label.clone());
        Ok(Chosen { key, label, reason: None, passed_over: Vec::new() })
    };
    match args.account.as_deref() {
        None => next(live, known, places, session),
        Some("-") => {
            let key = previous(live, known, places, session)?;
            match known.accounts.iter().find(|account| account.account.key == key) {
                Some(account) => simply(account),
                None => {
                    let whole = key.to_string();
                    let account = match accounts::labelled(&whole, known) {
                        unknown if unknown == whole => key.title(),
                        label => label,
                    };
                    Err(switch::SwitchError::NotStored { account }.into())
                }
            }
        }
        Some(asked) => simply(named(asked, known)?),
    }
}

/// The full key of the account. One of the older tool's records knows only an address: its
/// archived login tells the rest.
fn resolve(account: &KnownAccount, live: &Live, known: &Overview) -> Result<AccountKey, Failure> {
    let AccountKey::Email(email) = &account.account.key else {
        return Ok(account.account.key.clone());
    };
    let not_stored = || switch::SwitchError::NotStored { account: email.to_string() };
    Ok(logins::owner(email, live, &known.snapshots)?.ok_or_else(not_stored)?)
}

/// Who was signed in to this home before.
fn previous(
    live: &Live,
    known: &Overview,
    places: &Places,
    session: &Session,
) -> Result<AccountKey, Failure> {
    let log = operations::log::read(&places.store)?;
    let (root, shown) = (places.home.root(), session.show(places.home.root()));
    logins::previous(root, &shown, live.key(), &log, &known.snapshots).ok_or_else(|| {
        let message = match live.key() {
            Some(key) => {
                let label = accounts::labelled(&key.to_string(), known);
                format!("there is no previous one: nothing tells of an account in {shown} before {label}")
            }
            None => format!("there is no previous one: nothing tells of an account in {shown}"),
        };
        Failure::usage(message).hint("`codex-manager accounts` lists them")
    })
}

/// The first in the order of `recommend` that is ready and can be signed in.
fn next(
    live: &Live,
    known: &Overview,
    places: &Places,
    session: &Session,
) -> Result<Chosen, Failure> {
    let now = session.world.now;
    let candidates: Vec<Candidate> =
        known.accounts.iter().map(|account| account.candidate(now, &places.zone)).collect();
    let advice = recommend(&candidates, places.settings.strategy, &places.zone, now);
    let mut passed_over = Vec::new();
    for ranked in &advice.ranked {
        let both = known.accounts.get(ranked.index).zip(candidates.get(ranked.index));
        let Some((account, candidate)) = both else { continue };
        if !candidate.availability.is_ready() {
            continue;
        }
        let (label, reason) = (account.label.clone(), ranked.reason.clone());
        let disabled = || candidate.disabled.then(|| "disabled".to_owned());
        match candidate.obstacle.clone().or_else(disabled) {
            None => {
                let key = resolve(account, live, known)?;
                return Ok(Chosen { key, label, reason: Some(reason), passed_over });
            }
            Some(obstacle) => passed_over.push(PassedOver {
                account: account.account.key.clone(),
                email: account.account.email.clone(),
                reason: obstacle,
                label,
            }),
        }
    }
    let message = if passed_over.is_empty() {
        advice.reason
    } else {
        let each = passed_over.iter().map(|one| format!("{}: {}", one.label, one.reason));
        let each: Vec<String> = each.collect();
        format!("no account that is ready can be signed in ({})", each.join("; "))
    };
    Err(Failure::new(Exit::NothingReady, message)
        .hint("`codex-manager recommend --why` tells about each account"))
}
