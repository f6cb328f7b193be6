//! `show`: what is in one snapshot?

use serde::{Serialize, Serializer};

use crate::cli::Report;
use crate::cli::accounts::{named, snapshot};
use crate::cli::cooldown::glance_at_store;
use crate::cli::exit::Failure;
use crate::cli::list::{Proven, Row, length};
use crate::cli::picture::{Facts, bytes, count, or_dash, percent, plain};
use crate::cli::session::Session;
use crate::disk::archive::{Archive, Entry, Node};
use crate::snapshot::logins;
use crate::snapshot::store::{self, Origin, Stored};
use crate::window::Kind;

/// Tell everything about one snapshot
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Base name, a unique part of it, label or path of an archive [default: the newest]
    snapshot: Option<String>,
    /// The newest of this account
    #[arg(long, value_name = "ACCOUNT", conflicts_with = "snapshot")]
    account: Option<String>,
    /// List every file in it
    #[arg(long)]
    files: bool,
}

pub(crate) fn run(args: &Args, session: &mut Session) -> Result<Report, Failure> {
    let places = session.places()?;
    let known = glance_at_store(&places, session)?;
    let account = args.account.as_deref().map(|asked| named(asked, &known)).transpose()?;
    let fits = |stored: &Stored| account.is_none_or(|account| stored.is_of(&account.account));
    let stored = snapshot(args.snapshot.as_deref(), fits, &known, &places.zone, &session.world)?;
    let stored = match store::look_into(&stored, &places.zone) {
        Ok(stored) => stored,
        Err(what) => {
            session.warn(format!("{}: {what}", stored.archive.display()));
            stored
        }
    };
    let proven = Proven::read(&places.store, session);
    let failed = |source| logins::LoginError::Archive { title: stored.title.clone(), source };
    let archive = args.files.then(|| logins::open(&stored)).transpose().map_err(failed)?;
    let entries = archive.as_ref().map(Archive::entries).transpose().map_err(failed)?;
    // There may be hundreds of thousands: only one of the two is made.
    if session.global.json {
        let row = Row::new(&stored, &stored.metadata, &proven);
        return Ok(Report::long(&Shown { row, files: entries.map(Files) }));
    }
    let mut text = draw(&stored, session);
    if let Some(entries) = entries {
        text.push('\n');
        for entry in entries {
            text.push_str(&plain(entry.name.as_str()));
            text.push_str(&match &entry.node {
                Node::Dir => "/".to_owned(),
                Node::File { size } => format!("  {}", bytes(*size)),
                Node::Symlink { target } => plain(&format!(" -> {target}")),
            });
            text.push('\n');
        }
    }
    Ok(Report::new(&(), text))
}

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    row: Row<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<Files<'a>>,
}

/// What an archive holds, one entry after the other.
struct Files<'a>(&'a [Entry]);

impl Serialize for Files<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct File<'a> {
            name: &'a str,
            kind: &'static str,
            size: u64,
        }
        let kind = |entry: &Entry| match entry.node {
            Node::Dir => "folder",
            Node::File { .. } => "file",
            Node::Symlink { .. } => "link",
        };
        serializer.collect_seq(self.0.iter().map(|entry| File {
            name: entry.name.as_str(),
            kind: kind(entry),
            size: entry.size(),
        }))
    }
}

fn draw(stored: &Stored, session: &Session) -> String {
    let metadata = &stored.metadata;
    let wall = |at: crate::time::Stamp| at.wall().format("%Y-%m-%d %H:%M:%S").to_string();
    let mut facts = Facts::new();
    facts.add("name", plain(&stored.title));
    facts.add("account", plain(&or_dash(metadata.email.as_ref())));
    let plan = metadata.account.as_ref().and_then(|account| account.plan.as_deref());
    facts.add("plan", plain(&or_dash(plan)));
    facts.add("kind", metadata.kind.to_string());
    facts.add("created", or_dash(metadata.created_at.map(wall)));
    facts.add("week began", or_dash(metadata.session_start_at.map(wall)));
    facts.add("available", or_dash(metadata.next_available_at.map(wall)));
    if let Some(quota) = &metadata.quota {
        for window in &quota.windows {
            let name = match window.kind() {
                Kind::Other => format!("{} min", window.minutes),
                kind => kind.to_string(),
            };
            let reset = or_dash(window.resets_at.map(wall));
            facts.add(&name, format!("{} left, resets {reset}", percent(window.left_percent())));
        }
        let observed = or_dash(quota.observed_at.map(wall));
        facts.add("quota from", format!("{}, {observed}", quota.source));
    }
    if let Some(login) = &metadata.login {
        let refreshed = login.last_refresh.map(|at| at.to_string());
        facts.add("login", format!("refreshed {}", or_dash(refreshed)));
    }
    if let Some(status) = metadata.validation_status {
        facts.add("legacy check", status.to_string());
    }
    facts.add("codex", plain(&or_dash(metadata.codex_version.as_deref())));
    facts.add("taken from", plain(&or_dash(metadata.source_codex_home.as_deref())));
    if !metadata.captured_files.is_empty() {
        facts.add("holds", plain(&metadata.captured_files.join(" ")));
    }
    if !metadata.excluded.is_empty() {
        facts.add("without", plain(&metadata.excluded.join(" ")));
    }
    if let Some(archive) = &metadata.archive {
        let files = count(archive.files, "file");
        facts.add("content", format!("{files}, {}", bytes(archive.content_bytes)));
    }
    for (name, text) in [("label", &metadata.label), ("note", &metadata.note)] {
        if let Some(text) = text {
            facts.add(name, plain(text));
        }
    }
    if stored.origin == Origin::Python {
        facts.add("written by", "the older Python tool: it has no digests");
    }
    let size = or_dash(length(stored).map(bytes));
    facts.add("archive", format!("{} ({size})", session.show(&stored.archive)));
    facts.to_string()
}
