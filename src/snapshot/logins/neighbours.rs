//! Is this account signed in to another home too?
//!
//! A refresh token works once, so of two homes with copies of one login the first to refresh signs
//! the other out. The log knows in which homes this program ever changed something; others it does
//! not know of.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::Live;
use crate::account::{AccountKey, Login};
use crate::codex::home::CodexHome;
use crate::snapshot::operations::{Change, Log};

/// Another home in which an account is signed in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Neighbour {
    /// The home.
    pub root: PathBuf,
    /// Its login's place in the account's chain.
    pub login: Login,
}

/// The homes besides `root` that the log knows and in which `account` is signed in now. One that
/// cannot be read is none.
#[must_use]
pub fn neighbours(root: &Path, account: &AccountKey, log: &Log) -> Vec<Neighbour> {
    let changes = log.records.iter().flat_map(|record| &record.changes);
    let places: BTreeSet<&Path> = changes
        .filter_map(|change| match change {
            Change::Login { place, .. } => Some(place.as_path()),
            Change::Home(home) => Some(home.place.as_path()),
            _ => None,
        })
        .filter(|place| *place != root)
        .collect();
    let signed_in = places.into_iter().filter_map(|place| {
        let live = Live::read(&CodexHome::at(place.to_owned())).ok()?;
        match live {
            Live::Login(file) if file.key.as_ref() == Some(account) => {
                Some(Neighbour { root: place.to_owned(), login: file.login })
            }
            _ => None,
        }
    });
    signed_in.collect()
}
