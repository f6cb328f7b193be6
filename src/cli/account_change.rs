//! `accounts alias`, `note`, `disable`, `enable` and `forget`: what does a person say of an account?
//!
//! All but the last only change `config.toml`, as `config set` does, and find out by themselves
//! which name the account has there.

use serde_json::json;

use crate::account::{self, Account, AccountKey, Alias as Name};
use crate::cli::accounts::named;
use crate::cli::config as config_file;
use crate::cli::cooldown::look;
use crate::cli::exit::Failure;
use crate::cli::picture::{capitalized, count, plain};
use crate::cli::session::{Places, Session};
use crate::cli::{Exit, Report, prompt};
use crate::config::{self, Config, Field, Key};
use crate::overview::{KnownAccount, Overview};
use crate::snapshot::forget::{self, Plan};
use crate::snapshot::operations::{Record, Transaction};

/// Which account, and how.
#[derive(clap::Args, Debug)]
pub(crate) struct Whom {
    /// Alias, e-mail, a unique part of either, or short id
    account: String,
    /// Say what would happen, and stop
    #[arg(long)]
    dry_run: bool,
}

#[derive(clap::Args, Debug)]
pub(crate) struct Alias {
    #[command(flatten)]
    whom: Whom,
    /// The name: letters, digits, `-` and `_`
    #[arg(required_unless_present = "remove", conflicts_with = "remove")]
    name: Option<String>,
    /// Take its name away
    #[arg(long)]
    remove: bool,
}

#[derive(clap::Args, Debug)]
pub(crate) struct Note {
    #[command(flatten)]
    whom: Whom,
    /// One line
    #[arg(
        required_unless_present = "remove",
        conflicts_with = "remove",
        allow_hyphen_values = true
    )]
    text: Option<String>,
    /// Take the note away
    #[arg(long)]
    remove: bool,
}

/// What becomes different in `config.toml`.
struct Edit<'a> {
    /// As it is typed, without `accounts`.
    command: &'a str,
    /// What was done, and that there was nothing to do.
    done: String,
    idle: String,
    /// What is to be known about it besides.
    warning: Option<String>,
    /// The settings with their new values, or without any.
    changes: Vec<(Key, Option<String>)>,
}

pub(crate) fn alias(args: &Alias, session: &mut Session) -> Result<Report, Failure> {
    if let Some(name) = args.name.as_deref().filter(|name| !config::is_alias(name)) {
        return Err(Failure::usage(format!("{name:?} cannot be a name for an account"))
            .hint("a name has letters, digits, `-` and `_`, 64 at most, and begins with no `-`"));
    }
    edit(&args.whom, session, |known, account, config| {
        let (label, current) = (address(account), account.account.alias.as_deref());
        let is_its = |name: &str| current == Some(name);
        if let Some(name) = &args.name {
            let others = known.accounts.iter().map(|it| it.account.clone());
            let others = others.filter(|other| other.key != account.account.key);
            refuse_shadow(name, &others.collect::<Vec<_>>(), &known.aliases)?;
        }
        // One account, one name: the old one would only be in the way.
        let old = aliases(account, known, config).into_iter();
        let old = old.filter(|old| args.name.as_ref() != Some(old));
        let mut changes: Vec<_> = old.map(|old| (Key::Alias(old), None)).collect();
        let mut warning = None;
        let (done, idle) = match &args.name {
            Some(name) => {
                if !is_its(name) {
                    warning = named(name, known)
                        .ok()
                        .filter(|other| other.account.key != account.account.key)
                        .map(|other| format!("{name} meant {} until now", address(other)));
                    let whole = whole_name(account, known);
                    changes.push((Key::Alias(name.clone()), Some(whole)));
                }
                let idle = format!("{label} is called {name} already");
                (format!("{label} is called {name} now"), idle)
            }
            None => {
                let done = format!("{label} is called {} no more", current.unwrap_or_default());
                (done, format!("{label} has no other name"))
            }
        };
        Ok(Edit { command: "alias", done, idle, warning, changes })
    })
}

pub(crate) fn note(args: &Note, session: &mut Session) -> Result<Report, Failure> {
    if let Some(text) = args.text.as_deref().map(str::trim)
        && !config::is_note(text)
    {
        return Err(Failure::usage("a note is one line of 1 to 500 bytes")
            .hint("`codex-manager accounts note ACCOUNT --remove` takes the note away"));
    }
    edit(&args.whom, session, |known, account, config| {
        let label = &account.label;
        let key = Key::Account(table(account, known, config), Field::Note);
        let is_as_wanted =
            account.settings.note == args.text.as_deref().map(|it| it.trim().to_owned());
        let changes = if is_as_wanted { Vec::new() } else { vec![(key, args.text.clone())] };
        let (done, idle) = match &args.text {
            Some(text) => {
                let done = format!("noted of {label}: {}", text.trim());
                (done, format!("that is noted of {label} already"))
            }
            None => (format!("{label} has no note any more"), format!("{label} has no note")),
        };
        Ok(Edit { command: "note", done, idle, warning: None, changes })
    })
}

pub(crate) fn disable(whom: &Whom, session: &mut Session) -> Result<Report, Failure> {
    edit(whom, session, |known, account, config| {
        let key = Key::Account(table(account, known, config), Field::Disabled);
        let is_so = account.settings.disabled;
        let changes = if is_so { Vec::new() } else { vec![(key, Some("true".to_owned()))] };
        let label = &account.label;
        let done = format!("{label} is disabled: `recommend` passes it over");
        let idle = format!("{label} is disabled already");
        Ok(Edit { command: "disable", done, idle, warning: None, changes })
    })
}

pub(crate) fn enable(whom: &Whom, session: &mut Session) -> Result<Report, Failure> {
    edit(whom, session, |known, account, config| {
        let key = Key::Account(table(account, known, config), Field::Disabled);
        let is_so = !account.settings.disabled;
        let changes = if is_so { Vec::new() } else { vec![(key, None)] };
        let label = &account.label;
        let done = format!("{label} is enabled: `recommend` counts it again");
        let idle = format!("{label} is enabled already");
        Ok(Edit { command: "enable", done, idle, warning: None, changes })
    })
}

/// Changes `config.toml` as `decide` says.
fn edit<'a>(
    whom: &Whom,
    session: &mut Session,
    decide: impl Fn(&Overview, &KnownAccount, &Config) -> Result<Edit<'a>, Failure>,
) -> Result<Report, Failure> {
    let before = session.places()?;
    let opened = if whom.dry_run { None } else { Some(session.open(&before, "accounts")?) };
    // Under the lock it is looked at anew: it may have been what somebody else just changed.
    let places = session.places()?;
    let known = look(&places, session.world.now, session)?;
    let account = named(&whom.account, &known)?;
    let Edit { command, done, idle, warning, changes } = decide(&known, account, &places.config)?;
    let old = config_file::text(&places.store, session)?;
    let mut new = old.clone();
    for (key, value) in &changes {
        new = match value {
            Some(value) => config::set(&new, key, value)?,
            None => config::unset(&new, key)?,
        };
    }
    let changed = old != new;
    if let Some(warning) = warning.filter(|_| changed) {
        session.warn(warning);
    }
    if let Some(opened) = opened.filter(|_| changed) {
        let done = (&*format!("accounts {command}"), done.clone());
        config_file::write(done, &new, &places.store, &opened.lock, session)?;
    }
    let data = json!({
        "account": account.account.key,
        "email": account.account.email,
        "settings": changes.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect::<Vec<_>>(),
        "changed": changed && !whom.dry_run,
        "dry_run": whom.dry_run,
    });
    let text = match (changed, whom.dry_run) {
        (false, _) => format!("{}\n", plain(&idle)),
        (true, false) => format!("{}\n", plain(&done)),
        (true, true) => format!("would: {}\n", plain(&done)),
    };
    Ok(Report::new(&data, text))
}

/// What an account is called whatever a person calls it.
fn address(account: &KnownAccount) -> String {
    let email = account.account.email.as_ref();
    email.map_or_else(|| account.account.key.title(), ToString::to_string)
}

/// Refuses a name by which one of the other accounts is called already, in full.
pub(crate) fn refuse_shadow(
    wanted: &str,
    others: &[Account],
    aliases: &[Name],
) -> Result<(), Failure> {
    let lower = wanted.to_lowercase();
    let theirs = aliases.iter().filter(|alias| alias.name.to_lowercase() == lower);
    let named = theirs.filter_map(|alias| account::whole_name(&alias.meant, others).ok()).next();
    match named.or_else(|| others.iter().find(|other| other.key.short_id() == lower)) {
        None => Ok(()),
        Some(other) => {
            let email = other.email.as_ref().map(ToString::to_string);
            let whom = email.unwrap_or_else(|| other.key.short_id());
            Err(Failure::new(Exit::Conflict, format!("{wanted} already means {whom}"))
                .hint("take another name, or give that account another one first"))
        }
    }
}

/// The names that `config.toml` has for an account.
pub(crate) fn aliases(account: &KnownAccount, known: &Overview, config: &Config) -> Vec<String> {
    let theirs = config.aliases().filter(|(_, meant)| means(meant, account, known));
    theirs.map(|(alias, _)| alias.to_owned()).collect()
}

/// Whether a whole name in `config.toml` means this account.
fn means(name: &str, account: &KnownAccount, known: &Overview) -> bool {
    let all: Vec<Account> = known.accounts.iter().map(|it| it.account.clone()).collect();
    account::whole_name(name, &all).is_ok_and(|found| found.key == account.account.key)
}

/// The name of the account's table in `config.toml`: of those that are there the one that is in
/// force, else its whole name.
fn table(account: &KnownAccount, known: &Overview, config: &Config) -> String {
    let named = config.account_settings().filter(|(name, _)| means(name, account, known));
    let in_force = named.max_by_key(|(name, _)| !name.contains('@') || name.contains(':'));
    in_force.map_or_else(|| whole_name(account, known), |(name, _)| name.to_owned())
}

/// How a file names an account: by its address if no other one has that, else by its key.
fn whole_name(account: &KnownAccount, known: &Overview) -> String {
    let address = account.account.email.as_ref().map(ToString::to_string);
    let address = address.filter(|address| means(address, account, known));
    address.unwrap_or_else(|| account.account.key.to_string())
}

pub(crate) fn forget(whom: &Whom, session: &mut Session) -> Result<Report, Failure> {
    let places = session.places()?;
    let agreed = match whom.dry_run || session.global.yes {
        true => None,
        false => {
            let decided = decide(whom, &places, session)?;
            prompt::confirm(&question(&decided, &places), session)?;
            Some(decided.key)
        }
    };
    let opened = if whom.dry_run { None } else { Some(session.open(&places, "accounts")?) };
    // Under the lock it is looked at anew.
    let places = session.places()?;
    let decided = decide(whom, &places, session)?;
    let Decided { key, label, plan } = &decided;
    if agreed.is_some_and(|agreed| agreed != *key) {
        let what =
            "nothing was changed: meanwhile it would forget somebody else than was agreed to";
        return Err(Failure::new(Exit::Conflict, what).hint("run it again to be asked anew"));
    }
    let done = format!("forgot {label}: {}", gone(plan));
    let planned = format!("would forget {label}: {}", gone(plan));
    let mut id = None;
    if let Some(opened) = opened {
        let zone = &places.zone;
        let record = session.record(&places.store, zone, "accounts forget", done.clone())?;
        let at = zone.stamp(session.world.now);
        let work = plan.carry_out(&record.id, at, zone, &places.store)?;
        id = Some(record.id.clone());
        let transaction = Transaction {
            record: Some(Record { changes: work.changes, ..record }),
            ledger: work.ledger,
            steps: work.steps,
            ..Transaction::default()
        };
        for warning in transaction.run(&places.store, &opened.lock)? {
            session.warn(warning);
        }
    }
    let titles: Vec<&str> = plan.snapshots.iter().map(|stored| stored.title.as_str()).collect();
    let days = places.settings.trash_keep.num_days();
    let data = json!({
        "account": key,
        "snapshots": titles,
        "settings": plan.settings,
        "records": plan.records,
        "trash_keep_days": days,
        "operation": id,
        "dry_run": whom.dry_run,
    });
    let mut text = format!("{}\n", if whom.dry_run { planned } else { done });
    if !plan.snapshots.is_empty() {
        text.push_str(&format!("{}\n", kept(plan, days)));
    }
    Ok(Report::new(&data, plain_lines(&text)))
}

/// Who is forgotten, and what of them.
struct Decided {
    key: AccountKey,
    label: String,
    plan: Plan,
}

fn decide(whom: &Whom, places: &Places, session: &mut Session) -> Result<Decided, Failure> {
    let known = look(places, session.world.now, session)?;
    let account = named(&whom.account, &known)?;
    let label = account.label.clone();
    if account.active {
        return Err(Failure::new(Exit::Conflict, format!("{label} is signed in")).hint(
            "sign another account in with `codex-manager use ACCOUNT`, or sign out with `codex \
             logout`, and try again",
        ));
    }
    let all: Vec<Account> = known.accounts.iter().map(|it| it.account.clone()).collect();
    let text = config_file::text(&places.store, session)?;
    let config = (text.as_str(), &places.config);
    let plan = forget::plan(&account.account, &all, &known.snapshots, config, &places.store)?;
    let odd = known.odd.iter().filter_map(|odd| crate::snapshot::store::remains(odd, &places.zone));
    for odd in odd.filter(|odd| odd.is_of(&account.account)) {
        if plan.snapshots.iter().all(|stored| stored.archive != odd.archive) {
            session.warn(format!("{} is damaged and stays where it is", odd.title));
        }
    }
    Ok(Decided { key: account.account.key.clone(), label, plan })
}

fn question(decided: &Decided, places: &Places) -> String {
    let Decided { label, plan, .. } = decided;
    let kept = match plan.snapshots.is_empty() {
        true => String::new(),
        false => format!(" {}.", capitalized(&kept(plan, places.settings.trash_keep.num_days()))),
    };
    format!("Forget {label}: {}?{kept}", gone(plan))
}

/// `3 snapshots, 2 settings and what was read of its quota`.
fn gone(plan: &Plan) -> String {
    let told = |number: usize, one: &str, many: &str| match number {
        0 => None,
        1 => Some(format!("1 {one}")),
        _ => Some(format!("{number} {many}")),
    };
    let parts: Vec<String> = [
        told(plan.snapshots.len(), "snapshot", "snapshots"),
        told(plan.records, "record of the older tool", "records of the older tool"),
        told(plan.settings.len(), "setting", "settings"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let last = "what was read of its quota";
    if parts.is_empty() { last.to_owned() } else { format!("{} and {last}", parts.join(", ")) }
}

/// Where the logins are, and for how long.
fn kept(plan: &Plan, days: i64) -> String {
    let has_login = plan.snapshots.iter().any(|stored| stored.metadata.kind.has_login());
    let what = if has_login { "the snapshots, with the login in them," } else { "the snapshots" };
    let until = match days {
        0 => "until the next `codex-manager prune`".to_owned(),
        days => format!("for {}", count(u64::try_from(days).unwrap_or_default(), "day")),
    };
    format!("{what} stay in the trash {until}; `codex-manager undo` brings all of it back")
}

fn plain_lines(text: &str) -> String {
    text.lines().map(|line| plain(line) + "\n").collect()
}
