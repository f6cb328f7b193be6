//! `config`: read and change the settings.

use serde_json::json;

use crate::account::{AccountKey, Email};
use crate::cli::Report;
use crate::cli::exit::Failure;
use crate::cli::picture::{Table, or_dash, plain};
use crate::cli::session::Session;
use crate::config::{self, Config, Key, Origin, Setting, Settings};
use crate::disk::lock::Lock;
use crate::disk::read;
use crate::snapshot::operations::{self, Transaction};
use crate::snapshot::store::{MAX_CONFIG, Store};
use crate::time::Zone;

/// Read and change the configuration
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    /// Print one setting
    Get {
        /// Its name, such as timezone, aliases.work or accounts.ada@example.com.note
        key: String,
    },
    /// Change one setting
    Set {
        /// Its name
        key: String,
        /// Its new value; several globs are separated by commas
        #[arg(allow_hyphen_values = true)]
        value: String,
        /// Say what would be written, and stop
        #[arg(long)]
        dry_run: bool,
    },
    /// Take one setting back to its default
    Unset {
        /// Its name
        key: String,
        /// Say what would be written, and stop
        #[arg(long)]
        dry_run: bool,
    },
    /// Print every setting that is in force
    List {
        /// Tell where each comes from
        #[arg(long)]
        show_origin: bool,
    },
    /// Print where the file is
    Path,
}

pub(crate) fn run(args: &Args, session: &mut Session) -> Result<Report, Failure> {
    match &args.what {
        What::Get { key } => get(&parse(key)?, session),
        What::Set { key, value, dry_run } => change(&parse(key)?, Some(value), *dry_run, session),
        What::Unset { key, dry_run } => change(&parse(key)?, None, *dry_run, session),
        What::List { show_origin } => list(*show_origin, session),
        What::Path => {
            let path = session.store()?.config();
            let text = format!("{}\n", plain(&path.to_string_lossy()));
            Ok(Report::new(&json!({ "path": path, "exists": path.is_file() }), text))
        }
    }
}

fn parse(key: &str) -> Result<Key, Failure> {
    key.parse().map_err(|error: config::UnknownKey| {
        let hint =
            error.hint().unwrap_or_else(|| "`codex-manager config list` names all".to_owned());
        Failure::usage(error.to_string()).hint(hint)
    })
}

fn settings(session: &mut Session) -> Result<Vec<Setting>, Failure> {
    let store = session.store()?;
    let config = session.config(&store)?;
    let (flags, variables) = session.overrides();
    Ok(config::list(&flags, &variables, &config)?)
}

fn get(key: &Key, session: &mut Session) -> Result<Report, Failure> {
    let settings = settings(session)?;
    let listed = settings.into_iter().find(|setting| setting.key == *key);
    // What nobody said of an account is not listed, and has a value all the same.
    let found = match listed {
        Some(setting) => setting.value.map(|value| (value, setting.origin)),
        None => key.default_value().map(|value| (value, Origin::Default)),
    };
    let Some((value, origin)) = found else {
        return Err(Failure::new(crate::cli::Exit::Failed, format!("`{key}` is not set"))
            .hint(format!("`codex-manager config set {key} VALUE` sets it")));
    };
    let data = json!({ "key": key.to_string(), "value": value, "origin": origin.to_string() });
    Ok(Report::new(&data, format!("{}\n", plain(&value.to_string()))))
}

fn list(show_origin: bool, session: &mut Session) -> Result<Report, Failure> {
    let settings = settings(session)?;
    let mut table = if show_origin {
        Table::new(&[("SETTING", 0), ("VALUE", 0), ("ORIGIN", 0), ("FOR", 1)])
    } else {
        Table::new(&[("SETTING", 0), ("VALUE", 0), ("FOR", 1)])
    };
    let mut data = Vec::new();
    for setting in &settings {
        let value = or_dash(setting.value.as_ref());
        let (name, origin) = (setting.key.to_string(), setting.origin.to_string());
        data.push(json!({
            "key": name,
            "value": setting.value,
            "origin": origin,
            "help": setting.help,
        }));
        if show_origin {
            table.row([name, value, origin, setting.help.to_owned()]);
        } else {
            table.row([name, value, setting.help.to_owned()]);
        }
    }
    Ok(Report::new(&json!({ "settings": data }), table.draw(session.world.width)))
}

fn change(
    key: &Key,
    value: Option<&str>,
    dry_run: bool,
    session: &mut Session,
) -> Result<Report, Failure> {
    let named = match key {
        Key::Alias(_) => value.map(|account| (account, "the value given")),
        // What stands there already may be taken out, whatever it is.
        Key::Account(name, _) => value.map(|_| (name.as_str(), "the account named")),
        _ => None,
    };
    if let Some((account, what)) = named.filter(|(account, _)| !is_account(account)) {
        let expected = "an e-mail address, an account key or a short id is expected";
        return Err(Failure::usage(format!("{what} does not fit `{key}`: {expected}"))
            .hint(format!("`codex-manager accounts` lists them; {account:?} is none")));
    }
    let store = session.store()?;
    let edit = |session: &Session| -> Result<(String, String), Failure> {
        let old = text(&store, session)?;
        let new = match value {
            Some(value) => config::set(&old, key, value)?,
            None => config::unset(&old, key)?,
        };
        Ok((old, new))
    };
    // Looked at as it will be: the setting may be the one that keeps the two homes apart. What
    // else is wrong with the file is not this command's business.
    let (_, new) = edit(session)?;
    let (flags, variables) = session.overrides();
    if let Ok(settings) =
        Config::parse(&new).and_then(|config| Settings::gather(&flags, &variables, &config))
    {
        session.home_beside(&store, &settings)?;
    }
    // The file may be what is wrong, so the lock's own setting is not asked for here.
    let wait = std::time::Duration::from_secs(session.global.lock_timeout.unwrap_or(10));
    let opened = if dry_run { None } else { Some(session.open_store(&store, wait, "config")?) };
    let (old, new) = edit(session)?;
    let changed = old != new;
    if let Some(opened) = opened.filter(|_| changed) {
        let done = match value {
            Some(value) => ("config set", format!("set {key} = {value}")),
            None => ("config unset", format!("unset {key}")),
        };
        write(done, &new, &store, &opened.lock, session)?;
    }
    let would = if dry_run { "would be " } else { "" };
    let shown = match (value, changed) {
        (_, false) => format!("`{key}` is that already; nothing changed\n"),
        (Some(value), true) => format!("{would}set: {key} = {}\n", plain(value)),
        (None, true) => format!("{would}unset: {key}\n"),
    };
    let data = json!({
        "key": key.to_string(),
        "value": value,
        "changed": changed,
        "path": store.config(),
        "dry_run": dry_run,
    });
    Ok(Report::new(&data, shown))
}

/// The text of `config.toml`; none is an empty one.
pub(crate) fn text(store: &Store, session: &Session) -> Result<String, Failure> {
    let bytes = read::optional(&store.config(), MAX_CONFIG)?.unwrap_or_default();
    String::from_utf8(bytes).map_err(|_| session.not_text(store))
}

/// Whether this can be an account's whole name.
fn is_account(name: &str) -> bool {
    let is_spelled = name.contains(['@', ':']);
    !is_spelled || name.parse::<Email>().is_ok() || name.parse::<AccountKey>().is_ok()
}

/// Gives `config.toml` another text, as an operation of this command, which did `what`.
pub(crate) fn write(
    (command, what): (&str, String),
    new: &str,
    store: &Store,
    lock: &Lock,
    session: &mut Session,
) -> Result<(), Failure> {
    // The file may be what is wrong; the zone only dresses the operation.
    let zone = session.places_despite_faults().map_or(Zone::UTC, |(places, _)| places.zone);
    let mut record = session.record(store, &zone, command, what)?;
    let (step, change) = operations::rewrite(store, &record.id, "config.toml", new.as_bytes())?;
    record.changes.push(change);
    let transaction =
        Transaction { record: Some(record), steps: vec![step], ..Transaction::default() };
    for warning in transaction.run(store, lock)? {
        session.warn(warning);
    }
    Ok(())
}
