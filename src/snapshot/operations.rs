//! What was done, and what would take it back?
//!
//! Every command that changes something leaves one [`Record`] in `operations.jsonl`: what a
//! person did, and as [`Change`]s what became different, precisely enough to find out whether the
//! world still is as it was left. [`log`] reads and writes the file, [`transaction`] makes several
//! changes one, `undo` takes them back.

mod file;
pub mod log;
mod step;
pub mod transaction;

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::account::{AccountKey, Email};
use crate::disk::since::Moment;
use crate::disk::swap::Identity;
use crate::time::Stamp;

pub(crate) use file::{found, give_back, rewrite};
pub use log::Log;
pub use step::Step;
pub use transaction::{OperationError, Transaction};

/// The newest `schema_version` of a line that this program understands completely.
pub const VERSION: u32 = 1;

/// One thing that was done. Format: SPEC, "Operations".
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Record {
    /// At most [`VERSION`] when this program may undo it.
    pub schema_version: u32,
    /// Its name: wall clock and command, such as `2026-11-21-132400-restore`.
    pub id: String,
    /// When the command began.
    pub at: Stamp,
    /// The command, as it is typed: `config set`.
    pub command: String,
    /// What it did, in one line for people.
    pub what: String,
    /// The operation that this one took back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<String>,
    /// Whose login the home had before and has now, if a home was exchanged: that change itself
    /// does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accounts: Option<Accounts>,
    /// What became different, in the order in which it did.
    #[serde(default)]
    pub changes: Vec<Change>,
}

impl Record {
    /// A record without changes yet.
    #[must_use]
    pub fn new(id: String, at: Stamp, command: &str, what: String) -> Self {
        let (command, changes) = (command.to_owned(), Vec::new());
        let (undoes, accounts) = (None, None);
        Self { schema_version: VERSION, id, at, command, what, undoes, accounts, changes }
    }

    /// Whether there is anything in it that could be taken back, and nothing that could not.
    #[must_use]
    pub fn is_reversible(&self) -> bool {
        self.schema_version <= VERSION
            && self.changes.iter().any(Change::is_reversible)
            && !self.changes.contains(&Change::Unknown)
    }

    /// The home that was exchanged, if one was.
    pub(crate) fn home_mut(&mut self) -> Option<&mut HomeChange> {
        self.changes.iter_mut().find_map(|change| match change {
            Change::Home(home) => Some(home),
            _ => None,
        })
    }
}

/// Whose login a home had before it was exchanged and has since; `None` is nobody who has a name.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Accounts {
    /// Who was signed in.
    pub before: Option<AccountKey>,
    /// Who is.
    pub after: Option<AccountKey>,
}

/// One thing that became different.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Change {
    /// A Codex home was exchanged for another one.
    Home(HomeChange),
    /// Another login was put in place, and nothing else.
    Login {
        /// In which home.
        place: PathBuf,
        /// Who was signed in.
        before: SignedIn,
        /// Who is.
        after: SignedIn,
    },
    /// A file of the manager home has another content.
    File {
        /// Which, relative to the manager home.
        path: PathBuf,
        /// What it held; `None` if it was not there.
        before: Option<Version>,
        /// What it holds; `None` if it is gone.
        after: Option<Version>,
    },
    /// A snapshot came, went, or moved.
    Snapshot(SnapshotChange),
    /// A person's cooldown of an account is another one.
    Cooldown {
        /// Which account.
        account: AccountKey,
        /// Its label.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        email: Option<Email>,
        /// Until when it was set aside.
        before: Option<Stamp>,
        /// Until when it is.
        after: Option<Stamp>,
    },
    /// What the ledger says of an account counts no more, or again.
    Forgotten {
        /// Which account.
        account: AccountKey,
        /// Whether it was forgotten.
        before: bool,
        /// Whether it is.
        after: bool,
    },
    /// Something that was kept had expired and was deleted.
    Expired {
        /// What, relative to the manager home.
        path: PathBuf,
        /// How much room that gave, in bytes.
        bytes: u64,
    },
    /// A snapshot was restored into a scratch folder and everything in it was checked.
    Proven {
        /// What it is called.
        title: String,
        /// Which one it is, whatever it is called later.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        toc_digest: Option<String>,
        /// Whether all was well.
        sound: bool,
    },
    /// The rights of group and others were taken away.
    Narrowed {
        /// From how many files and folders.
        files: u64,
    },
    /// Something that only a later version knows.
    #[serde(other)]
    Unknown,
}

impl Change {
    fn is_reversible(&self) -> bool {
        match self {
            // A fresher login of the same account: to go back would be to go back in its chain.
            Self::Login { before, after, .. } => before != after,
            Self::Home(_)
            | Self::File { .. }
            | Self::Snapshot(_)
            | Self::Cooldown { .. }
            | Self::Forgotten { .. } => true,
            Self::Expired { .. } | Self::Proven { .. } | Self::Narrowed { .. } | Self::Unknown => {
                false
            }
        }
    }
}

/// How a Codex home was exchanged.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct HomeChange {
    /// Where it belongs.
    pub place: PathBuf,
    /// Where the one before is kept; `None` if there was none.
    pub kept: Option<PathBuf>,
    /// The home that took the place.
    pub new: Option<Identity>,
    /// The home before.
    pub old: Option<Identity>,
    /// What moved over from the one to the other, relative to both.
    #[serde(default)]
    pub carried: Vec<String>,
    /// Databases outside the home that were exchanged with it.
    #[serde(default)]
    pub databases: Option<Databases>,
    /// When the place had its last change by us, by the clock of its file system.
    #[serde(default)]
    pub settled: Option<Moment>,
}

/// Databases outside the home.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Databases {
    /// Where they are used.
    pub folder: PathBuf,
    /// Their file names.
    pub names: Vec<String>,
}

/// Who is signed in.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignedIn {
    /// An account.
    Account(AccountKey),
    /// A login that names nobody, which the snapshot of this title holds.
    Orphan(String),
    /// Nobody.
    Nobody,
}

/// A content that a file had or has.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Version {
    /// SHA-256 of the bytes: `sha256:` and 64 hex digits.
    pub digest: String,
    /// Where it is kept, relative to the manager home, if it is not in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<PathBuf>,
}

/// How a snapshot came, went, or moved.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct SnapshotChange {
    /// What it is called.
    pub title: String,
    /// Which one it is: the digest of its table of contents, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toc_digest: Option<String>,
    /// Where it was; `None` if it is new.
    pub from: Option<Pair>,
    /// Where it is.
    pub to: Pair,
}

/// The files of a snapshot, relative to the manager home.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Pair {
    /// The archive.
    pub archive: PathBuf,
    /// The sidecar, if it has one.
    pub sidecar: Option<PathBuf>,
}

/// A path of a record below the manager home; `None` for one that would lead out of it, or to
/// something that no operation moves.
pub(crate) fn below(root: &Path, relative: &Path) -> Option<PathBuf> {
    let mut parts = relative.components();
    let is_ours = match parts.next() {
        Some(Component::Normal(first)) => {
            ["backups", "trash", "undo", "tmp", "config.toml", "inventory.json", "ledger.jsonl"]
                .iter()
                .any(|name| first == *name)
        }
        _ => false,
    };
    (is_ours && parts.all(|part| matches!(part, Component::Normal(_)))).then(|| root.join(relative))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn a_path_of_a_record_stays_in_the_manager_home() {
        check("backups/a.tar.gz",      true);
        check("undo/op/config.toml",   true);
        check("config.toml",           true);
        check("lock",                  false);
        check("operations.jsonl",      false);
        check("../backups/a",          false);
        check("backups/../../a",       false);
        check("/backups/a",            false);
        check("",                      false);
    }

    #[track_caller]
    fn check(path: &str, expected: bool) {
        assert_eq!(below(Path::new("/manager"), Path::new(path)).is_some(), expected, "{path}");
    }

    #[test]
    fn what_only_a_later_version_knows_is_read_and_never_undone() {
        let text = r#"{"schema_version":1,"id":"x","at":"2026-11-21T13:24:00+01:00","command":"warp",
            "what":"warped","changes":[{"kind":"warp","speed":9}]}"#;
        let record: Record = serde_json::from_str(text).unwrap();
        assert_eq!(record.changes, [Change::Unknown]);
        assert!(!record.is_reversible());
    }
}
