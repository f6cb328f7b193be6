//! `list`: which snapshots are there?

use serde_json::{Value, json};

use crate::cli::Report;
use crate::cli::accounts::named;
use crate::cli::cooldown::look;
use crate::cli::exit::Failure;
use crate::cli::picture::{Table, bytes, or_dash};
use crate::cli::session::Session;
use crate::snapshot::store::{Origin, Stored};

/// List the snapshots, newest first
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Only those of one account: alias, e-mail, a unique part of either, or short id
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
}

pub(crate) fn run(args: &Args, session: &mut Session) -> Result<Report, Failure> {
    let places = session.places()?;
    let known = look(&places, session.world.now, session)?;
    let account = args.account.as_deref().map(|asked| named(asked, &known)).transpose()?;
    let shown: Vec<&Stored> = known
        .snapshots
        .iter()
        .filter(|stored| account.is_none_or(|account| stored.is_of(&account.account)))
        .collect();
    let data = json!({ "snapshots": shown.iter().map(|stored| row(stored)).collect::<Vec<_>>() });
    Ok(Report::new(&data, draw(&shown, session)))
}

/// A snapshot as `list` and `show` tell it: the sidecar, where it lies, and what it is called.
pub(crate) fn row(stored: &Stored) -> Value {
    let mut row = serde_json::to_value(&stored.metadata).unwrap_or_default();
    if let Some(object) = row.as_object_mut() {
        let mut named = serde_json::Map::new();
        named.insert("name".to_owned(), stored.title.clone().into());
        named.insert("path".to_owned(), stored.archive.display().to_string().into());
        let origin = match stored.origin {
            Origin::Ours => "codex-manager",
            Origin::Python => "codex-manager (Python)",
        };
        named.insert("origin".to_owned(), origin.into());
        named.append(object);
        *object = named;
    }
    row
}

/// Bytes of the archive as it lies there.
pub(crate) fn length(stored: &Stored) -> Option<u64> {
    stored.archive.metadata().ok().map(|facts| facts.len())
}

fn draw(shown: &[&Stored], session: &Session) -> String {
    if shown.is_empty() {
        return "no snapshot is stored yet: `codex-manager backup` makes one\n".to_owned();
    }
    let mut table = Table::new(&[
        ("NAME", 0),
        ("KIND", 1),
        ("SIZE", 2),
        ("CREATED", 3),
        ("AVAILABLE", 4),
        ("LABEL", 5),
    ]);
    for stored in shown {
        let metadata = &stored.metadata;
        let wall = |at: crate::time::Stamp| at.wall().format("%Y-%m-%d %H:%M").to_string();
        table.row([
            stored.title.clone(),
            metadata.kind.to_string(),
            or_dash(length(stored).map(bytes)),
            or_dash(metadata.created_at.map(wall)),
            or_dash(metadata.next_available_at.map(wall)),
            or_dash(metadata.label.as_deref()),
        ]);
    }
    table.draw(session.world.width)
}
