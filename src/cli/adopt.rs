//! `adopt`: store the login that is live.

use std::sync::atomic::AtomicBool;

use serde_json::json;

use crate::cli::cooldown::look;
use crate::cli::exit::Failure;
use crate::cli::picture::plain;
use crate::cli::session::Session;
use crate::cli::{Exit, Report};
use crate::snapshot::adopt;
use crate::snapshot::backup::{self, BackupError};
use crate::snapshot::metadata::Kind;

/// Store the login that is live
///
/// Nothing is asked and nothing is read but the login, so this is quick and works offline. A login
/// that is stored already is not stored again: that is the difference to `backup --auth-only`,
/// which makes a snapshot each time and notes the quota in it.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Say what would be stored, and stop
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(args: &Args, session: &mut Session) -> Result<Report, Failure> {
    let places = session.places()?;
    // Who is not signed in hears it before anything is made.
    backup::login(&places.home, Kind::Auth).map_err(refused)?;
    let opened = if args.dry_run {
        places.store.refuse_foreign()?;
        None
    } else {
        Some(session.open(&places, "adopt")?)
    };
    let now = session.world.now;
    let known = look(&places, now, session)?;
    let login = backup::login(&places.home, Kind::Auth).map_err(refused)?;
    let Some((file, key)) = login.and_then(|file| Some((file.clone(), file.key?))) else {
        return Err(Failure::new(Exit::Conflict, "the login changed while it was looked at")
            .hint("run it again"));
    };
    let account = known.accounts.iter().find(|account| account.account.key == key);
    let label = account.map_or_else(|| key.short_id(), |account| account.label.clone());
    let email = file.email.clone();
    // Nobody is signed in anew: what is found is noted down.
    let ledger = known.news(places.zone.stamp(now));
    let there = adopt::stored_as(&file, &known.snapshots).map(|stored| stored.title.clone());
    let home = session.show(places.home.root());
    let note = || ("stored with `codex-manager adopt`", Some(home.clone()));
    let (at, zone) = (places.zone.stamp(now), &places.zone);
    let (title, text) = match (&there, &opened) {
        (Some(title), opened) => {
            if let Some(opened) = opened.as_ref().filter(|_| !ledger.is_empty()) {
                places.store.record(&ledger, &opened.lock)?;
            }
            (title.clone(), format!("the login of {label} is already stored as {title}\n"))
        }
        (None, None) => {
            let title = adopt::plan(&file, note(), at, zone, &places.store).name.to_string();
            (title.clone(), format!("would store the login of {label} as {title}\n"))
        }
        (None, Some(opened)) => {
            let plan = adopt::plan(&file, note(), at, zone, &places.store);
            let title = plan.name.to_string();
            let done = format!("stored the login of {label} as {title}");
            let record = session.record(&places.store, zone, "adopt", done.clone())?;
            let (said, stop) = ((Some(record), ledger), AtomicBool::new(false));
            let made = backup::apply(plan, &places.store, &opened.lock, said, &mut |_| {}, &stop)?;
            for warning in made.warnings {
                session.warn(warning);
            }
            (title, format!("{done}\n"))
        }
    };
    let data = json!({
        "account": key,
        "email": email,
        "snapshot": title,
        "stored": there.is_none() && !args.dry_run,
        "dry_run": args.dry_run,
    });
    Ok(Report::new(&data, format!("{}\n", plain(text.trim_end()))))
}

/// Why there is nothing to store. Of a home the rest could be stored, of a login there is none.
fn refused(error: BackupError) -> Failure {
    let hint = match &error {
        BackupError::NoLogin { .. } | BackupError::Nobody(_) | BackupError::Mixed { .. } => {
            "sign in with `codex login`"
        }
        BackupError::LoginElsewhere { .. } => {
            "set cli_auth_credentials_store = \"file\" in Codex's config.toml and sign in again"
        }
        _ => return error.into(),
    };
    Failure::from(error).hint(hint)
}
