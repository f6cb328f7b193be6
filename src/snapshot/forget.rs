//! What goes when an account is forgotten?
//!
//! [`plan`] finds all that is kept of it: its snapshots, the older tool's records of its address,
//! what the user said about it. [`Plan::carry_out`] puts the snapshots into the trash and takes the
//! rest out; of what the ledger says, a further line tells that it counts no more. All of it
//! comes back with `undo`.

use crate::account::{Account, AccountKey};
use crate::config::{self, Config, ConfigError, Key};
use crate::disk::DiskError;
use crate::quota::Entry;
use crate::snapshot::inventory::{self, Inventory, InventoryError};
use crate::snapshot::operations::{self, Change, Step};
use crate::snapshot::store::{Store, Stored};
use crate::snapshot::trash::put_away;
use crate::time::{Stamp, Zone};

/// What is kept of an account.
#[derive(Debug)]
pub struct Plan {
    /// Its snapshots.
    pub snapshots: Vec<Stored>,
    /// How many of the older tool's records go.
    pub records: usize,
    /// What the user said of it, by name of the setting.
    pub settings: Vec<Key>,
    /// The keys under which the ledger knows it.
    keys: Vec<AccountKey>,
    /// The inventory without those records, if there are any.
    inventory: Option<Inventory>,
    /// The text of `config.toml` without those settings, if there are any.
    config: Option<String>,
}

/// Why an account cannot be forgotten. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum ForgetError {
    /// The older tool's records cannot be read, or not written.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    /// The configuration cannot be changed.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl ForgetError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Inventory(error) => error.hint(),
            Self::Config(error) => error.hint(),
            Self::Disk(error) => error.hint(),
        }
    }
}

/// Finds all that is kept of `account`, one of `all`. `text` is that of `config.toml`.
///
/// What knows only an address belongs to the account only if no other one has that address.
///
/// # Errors
///
/// [`ForgetError`].
pub fn plan(
    account: &Account,
    all: &[Account],
    snapshots: &[Stored],
    (text, config): (&str, &Config),
    store: &Store,
) -> Result<Plan, ForgetError> {
    let email = account.email.clone();
    let owned =
        email.filter(|email| all.iter().filter(|it| it.email.as_ref() == Some(email)).count() == 1);
    let address = owned.as_ref().map(|email| AccountKey::Email(email.clone()));
    let mut keys = vec![account.key.clone()];
    keys.extend(address.filter(|key| *key != account.key));
    let is_theirs = |stored: &&Stored| stored.key().is_some_and(|key| keys.contains(&key));
    let snapshots = snapshots.iter().filter(is_theirs).cloned().collect();

    let mut records = 0;
    let mut inventory = inventory::load(&store.inventory())?;
    if let Some(found) = &mut inventory {
        let before = found.records.len();
        found.records.retain(|record| Some(&record.email) != owned.as_ref());
        records = before - found.records.len();
        if 0 < records && found.is_newer() {
            let (path, version) = (store.inventory(), found.schema_version);
            return Err(InventoryError::Newer { path, version }.into());
        }
    }
    let names = names(account, owned.is_some());
    let is_said = |key: &Key| match key {
        Key::Alias(_) => {
            let meant = config.get(key).and_then(|value| value.as_text());
            meant.is_some_and(|meant| names.is(meant))
        }
        Key::Account(name, _) => names.is(name),
        _ => false,
    };
    let settings: Vec<Key> = config.keys().filter(|key| is_said(key)).cloned().collect();
    let mut shorter = text.to_owned();
    for key in &settings {
        shorter = match key {
            Key::Account(name, _) => config::unset_account(&shorter, name)?,
            key => config::unset(&shorter, key)?,
        };
    }
    Ok(Plan {
        snapshots,
        records,
        keys,
        inventory: inventory.filter(|_| 0 < records),
        config: Some(shorter).filter(|shorter| shorter != text),
        settings,
    })
}

/// How a file may name an account in full.
struct Names {
    address: Option<String>,
    short_id: String,
    key: String,
}

fn names(account: &Account, owns_address: bool) -> Names {
    let email = account.email.as_ref().filter(|_| owns_address);
    Names {
        address: email.map(ToString::to_string),
        short_id: account.key.short_id(),
        key: account.key.to_string(),
    }
}

impl Names {
    fn is(&self, text: &str) -> bool {
        let lower = text.trim().to_lowercase();
        self.address.as_ref() == Some(&lower) || self.short_id == lower || self.key == text.trim()
    }
}

/// What will happen as the operation.
#[derive(Debug)]
pub struct Work {
    /// The steps in the manager home.
    pub steps: Vec<Step>,
    /// What they change.
    pub changes: Vec<Change>,
    /// What the ledger learns.
    pub ledger: Vec<Entry>,
}

impl Plan {
    /// The steps of the operation `id` as of `at`. What is new lies ready in `tmp/` afterwards.
    ///
    /// # Errors
    ///
    /// When the disk refuses; what lies in `tmp/` then, the next command removes.
    pub fn carry_out(
        &self,
        id: &str,
        at: Stamp,
        zone: &Zone,
        store: &Store,
    ) -> Result<Work, DiskError> {
        let (mut steps, mut changes) = put_away(&self.snapshots, store, zone);
        if let Some(inventory) = &self.inventory {
            let inventory = Inventory { generated_at: Some(at), ..inventory.clone() };
            let bytes = inventory.to_bytes();
            let (step, change) = operations::rewrite(store, id, "inventory.json", &bytes)?;
            steps.push(step);
            changes.push(change);
        }
        if let Some(text) = &self.config {
            let (step, change) = operations::rewrite(store, id, "config.toml", text.as_bytes())?;
            steps.push(step);
            changes.push(change);
        }
        let marks = self.keys.iter();
        changes.extend(marks.clone().map(|account| Change::Forgotten {
            account: account.clone(),
            before: false,
            after: true,
        }));
        let ledger = marks.map(|account| Entry::Forgotten { at, account: account.clone() });
        Ok(Work { steps, changes, ledger: ledger.collect() })
    }
}
