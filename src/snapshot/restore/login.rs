//! Which login does a restored home get?
//!
//! In place the freshest one of the account, unless somebody insists. A copy elsewhere never has
//! an older login than is known, either: Codex, started there, would use up a token that is used
//! up already, and the whole chain might end.

use std::path::PathBuf;

use crate::account::{AccountKey, Secret};
use crate::codex::auth::AuthFile;
use crate::codex::home::CodexHome;
use crate::snapshot::logins::{self, Known, Live, LoginError, Pick, Shelf, Stale};
use crate::snapshot::restore::{LoginFate, Policy, RestoreError};
use crate::snapshot::store::Stored;

/// The login that was chosen, and why.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) fate: LoginFate,
    /// Title of the snapshot that it comes from, if it is another one.
    pub(super) from: Option<String>,
    pub(super) bytes: Option<Secret>,
}

impl Choice {
    fn live(live: &Live) -> Self {
        let fate = if live.bytes().is_some() { LoginFate::KeptLive } else { LoginFate::Absent };
        Self { fate, from: None, bytes: live.bytes().cloned() }
    }

    fn archived(file: AuthFile) -> Self {
        Self { fate: LoginFate::Restored, from: None, bytes: Some(file.bytes) }
    }

    pub(super) fn none() -> Self {
        Self { fate: LoginFate::Absent, from: None, bytes: None }
    }
}

/// What the choice rests on.
pub(super) struct Case<'a> {
    pub(super) stored: &'a Stored,
    pub(super) archived: Option<AuthFile>,
    /// The login of the Codex home, wherever the snapshot goes.
    pub(super) live: &'a Live,
    pub(super) shelf: &'a Shelf<'a>,
    pub(super) in_place: bool,
}

impl Case<'_> {
    /// Chooses. What is odd and stands in nobody's way goes to `warnings`.
    pub(super) fn choose(
        self,
        policy: Policy,
        warnings: &mut Vec<String>,
    ) -> Result<Choice, RestoreError> {
        match policy {
            Policy::Keep if self.in_place => Ok(Choice::live(self.live)),
            // Where nothing is, nothing is kept.
            Policy::Keep => Ok(Choice::none()),
            Policy::Snapshot { accept_stale } => self.insist(accept_stale),
            // Whoever stored it left the login out.
            Policy::Freshest if !self.in_place && self.archived.is_none() => Ok(Choice::none()),
            Policy::Freshest => self.freshest(warnings),
        }
    }

    fn freshest(self, warnings: &mut Vec<String>) -> Result<Choice, RestoreError> {
        let Some(key) = self.whose(warnings) else { return Ok(self.nobodys(warnings)) };
        let live = self.live_of(&key);
        let at_hand = self.archived.clone().filter(|file| file.key.as_ref() == Some(&key));
        let at_hand = at_hand.map(|file| Known {
            stored: self.stored,
            login: file.login.clone(),
            file: Some(file),
        });
        match logins::freshest(&key, live, at_hand, self.shelf, Stale::Refuse, warnings)? {
            Pick::Live => Ok(match self.archived {
                Some(file) if !self.in_place && is_same(live, &file) => Choice::archived(file),
                _ => Choice::live(self.live),
            }),
            Pick::Stored { title, archive, file } => {
                let from = (archive != self.stored.archive).then_some(title);
                Ok(Choice { from, ..Choice::archived(*file) })
            }
            Pick::Nothing => {
                warnings.push(format!("no login of {key} is stored; the live one stays"));
                Ok(Choice::live(self.live))
            }
        }
    }

    /// Whose login the home should have.
    fn whose(&self, warnings: &mut Vec<String>) -> Option<AccountKey> {
        if let Some(key) = self.archived.as_ref().and_then(|file| file.key.clone()) {
            return Some(key);
        }
        match self.stored.key()? {
            AccountKey::Email(email) => {
                match logins::owner(&email, self.live, self.shelf.snapshots) {
                    Ok(owner) => Some(owner.unwrap_or(AccountKey::Email(email))),
                    Err(error) => {
                        warnings.push(error.to_string());
                        None
                    }
                }
            }
            key => Some(key),
        }
    }

    /// A login that names nobody takes nobody's place.
    fn nobodys(self, warnings: &mut Vec<String>) -> Choice {
        match self.archived {
            Some(file) if !self.in_place || self.live.bytes().is_none() => Choice::archived(file),
            _ => {
                warnings.push(format!(
                    "{} does not tell whose login it needs; the live one stays",
                    self.stored.title
                ));
                Choice::live(self.live)
            }
        }
    }

    /// The archived login and no other, unless a newer one is known.
    fn insist(self, accept_stale: bool) -> Result<Choice, RestoreError> {
        let Some(file) = self.archived.clone() else {
            return Err(LoginError::None { title: self.stored.title.clone() }.into());
        };
        let newer = file
            .key
            .as_ref()
            .and_then(|key| logins::newer_than(&file.login, key, self.live_of(key), self.shelf));
        match newer {
            Some((newer, login)) if !accept_stale => Err(RestoreError::StaleLogin {
                title: self.stored.title.clone(),
                archived: logins::told(&file.login),
                known: logins::told(&login),
                newer,
            }),
            _ => Ok(Choice::archived(file)),
        }
    }

    fn live_of(&self, key: &AccountKey) -> Option<&AuthFile> {
        match self.live {
            Live::Login(file) if file.key.as_ref() == Some(key) => Some(file),
            _ => None,
        }
    }
}

fn is_same(live: Option<&AuthFile>, file: &AuthFile) -> bool {
    live.is_some_and(|live| live.login.compare(&file.login) == crate::account::Order::Same)
}

/// The link that the live `auth.json` is and the restored one will be.
///
/// One that leads out of the home stays as long as the file behind it does: that file is not
/// part of the exchange, so a login that has to change cannot change together with the home. One
/// that leads to a place in the home becomes a file, for that place is exchanged.
pub(super) fn link(
    home: &CodexHome,
    choice: &Choice,
    warnings: &mut Vec<String>,
) -> Result<Option<PathBuf>, RestoreError> {
    let Ok(target) = std::fs::read_link(home.auth()) else { return Ok(None) };
    let leads_to = home.root().join(&target);
    let leads_to = leads_to.canonicalize().unwrap_or(leads_to);
    if leads_to.starts_with(home.root()) && leads_to.exists() {
        warnings.push(format!(
            "auth.json is a link to {} in the home; in the restored home it is a file",
            target.display()
        ));
        return Ok(None);
    }
    if choice.fate == LoginFate::Restored {
        return Err(RestoreError::LinkedLogin { target: leads_to });
    }
    Ok(Some(target))
}
