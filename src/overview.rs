//! What do we know right now?
//!
//! Brings together what the ledger, the snapshots, the legacy records and the live home say of
//! each account. Deciding what follows from it is [`quota`]'s work.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::account::{self, Account, AccountKey, Email, NotNamed};
use crate::codex::home::CodexHome;
use crate::codex::rollout::{self, Attribution, RolloutLimits};
use crate::config::{AccountSettings, Config};
use crate::disk::read;
use crate::quota::{self, Availability, Candidate, Ledger, Reading, Source};
use crate::snapshot::inventory::{self, InventoryError};
use crate::snapshot::legacy;
use crate::snapshot::logins::{Live, LiveError};
use crate::snapshot::metadata::MetadataError;
use crate::snapshot::store::{MAX_RECORDS, Odd, Scan, Store, StoreError, Stored};
use crate::time::{Stamp, Zone};

/// All that is known at one instant.
#[derive(Debug)]
pub struct Overview {
    /// The accounts, by key.
    pub accounts: Vec<KnownAccount>,
    /// The snapshots, newest first.
    pub snapshots: Vec<Stored>,
    /// What in the store cannot be used.
    pub odd: Vec<Odd>,
    /// The login that is live, as it was at this look: whoever replaces it looks anew. An error
    /// is among the warnings too.
    pub live: Result<Live, LiveError>,
    /// The newest limits in the session files, whosever they are.
    pub limits: Option<RolloutLimits>,
    /// The ledger.
    pub ledger: Ledger,
    /// What could not be read and hides nothing else.
    pub warnings: Vec<String>,
}

/// What stands for a live login that cannot be read.
static ABSENT: Live = Live::Absent;

impl Overview {
    /// The login that is live; one that cannot be read counts as none.
    #[must_use]
    pub fn live(&self) -> &Live {
        self.live.as_ref().unwrap_or(&ABSENT)
    }
}

/// One account and all that was ever said about it.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownAccount {
    /// Who.
    pub account: Account,
    /// Its name for people.
    pub label: String,
    /// Whether its login is the live one.
    pub active: bool,
    /// Every reading, in no order.
    pub readings: Vec<Reading>,
    /// Its last activation, if there ever was one.
    pub last_activation: Option<Stamp>,
    /// Whether a login of it is stored.
    pub has_login: bool,
    /// What the user said about it.
    pub settings: AccountSettings,
}

impl KnownAccount {
    /// What the quota says about it at `now`.
    #[must_use]
    pub fn availability(&self, now: DateTime<Utc>, zone: &Zone) -> Availability {
        quota::availability(&self.readings, now).in_zone(zone)
    }

    /// The account as something to recommend.
    #[must_use]
    pub fn candidate(&self, now: DateTime<Utc>, zone: &Zone) -> Candidate {
        let availability = self.availability(now, zone);
        let begun = availability.session_start_at.filter(|start| start.instant() <= now);
        Candidate {
            account: self.account.clone(),
            active: self.active,
            last_used: self.last_activation.max(begun),
            obstacle: (!self.has_login && !self.active)
                .then(|| "no login of it is stored".to_owned()),
            availability,
            disabled: self.settings.disabled,
            reserve: self.settings.reserve,
            priority: self.settings.priority,
        }
    }
}

/// Looks at everything.
///
/// # Errors
///
/// When the store is there and cannot be listed. Single files that cannot be read are warnings.
pub fn observe(
    store: &Store,
    home: &CodexHome,
    config: &Config,
    zone: &Zone,
    now: DateTime<Utc>,
) -> Result<Overview, StoreError> {
    let scan = store.scan(zone)?;
    let ledger = store.read_ledger()?;
    let mut warnings: Vec<String> =
        scan.problems.iter().map(|odd| format!("{}: {}", odd.path.display(), odd.what)).collect();
    for (line, what) in &ledger.problems {
        warnings.push(format!("{}, line {line}: {what}", store.ledger().display()));
    }
    let live = Live::read(home);
    match &live {
        Ok(Live::Orphan { why, .. }) => {
            warnings.push(format!("auth.json names no account: {why}"));
        }
        Ok(Live::Absent | Live::Login(_)) => {}
        Err(error) => warnings.push(error.to_string()),
    }
    let known_live = live.as_ref().unwrap_or(&ABSENT);
    let mut gathered = Gathered::default();
    gathered.ledger(&ledger, now);
    gathered.snapshots(&scan.snapshots);
    gathered.records(store, zone, &ledger, &mut warnings);
    gathered.live(known_live);
    let limits = newest_limits(home, now);
    if let Some(limits) = &limits {
        let owner = owner(limits, known_live, &ledger, home);
        let reading = owner.map(|key| reading_of(limits, key));
        if let Some(reading) = reading.filter(|reading| !is_forgotten(reading, &ledger)) {
            gathered.reading(reading);
        }
    }
    let mut accounts = gathered.accounts(&scan.snapshots, &ledger, known_live.key(), config, now);
    settle(&mut accounts, config, &mut warnings);
    let Scan { snapshots, problems: odd } = scan;
    Ok(Overview { accounts, snapshots, odd, live, limits, ledger, warnings })
}

/// Tells each account what the user said about it. What a key or short id says wins over what is
/// said of an address, which may be the address of another account tomorrow.
fn settle(accounts: &mut [KnownAccount], config: &Config, warnings: &mut Vec<String>) {
    let all: Vec<Account> = accounts.iter().map(|known| known.account.clone()).collect();
    let by_address = |(name, _): &(&str, _)| name.contains('@') && !name.contains(':');
    let (general, special): (Vec<_>, Vec<_>) = config.account_settings().partition(by_address);
    for (name, settings) in general.into_iter().chain(special) {
        match account::whole_name(name, &all) {
            Ok(found) => {
                let key = &found.key;
                let meant = accounts.iter_mut().find(|known| known.account.key == *key);
                meant.into_iter().for_each(|known| known.settings = settings.clone());
            }
            // The account may be known on another day, or on another machine.
            Err(NotNamed::Nobody { .. }) => {}
            Err(error) => warnings.push(format!(
                "what config.toml says of accounts.{name} holds for none of them: {error}"
            )),
        }
    }
    for (alias, meant) in config.aliases() {
        if let Err(error @ NotNamed::Several { .. }) = account::whole_name(meant, &all) {
            warnings.push(format!("aliases.{alias} in config.toml names nobody: {error}"));
        }
    }
}

/// Whether a person wanted to forget the account after this was seen.
fn is_forgotten(reading: &Reading, ledger: &Ledger) -> bool {
    let mark = ledger.forgotten_at(&reading.account);
    mark.is_some_and(|at| reading.observed_at <= at)
}

/// The newest limits in the session files at or before `now`; a home that cannot be looked at
/// has none.
fn newest_limits(home: &CodexHome, now: DateTime<Utc>) -> Option<RolloutLimits> {
    rollout::newest_limits(home.root(), None, Some(now)).ok()?.limits
}

/// Whose the newest limits are, if anything decides it.
#[must_use]
pub fn owner(
    limits: &RolloutLimits,
    live: &Live,
    ledger: &Ledger,
    home: &CodexHome,
) -> Option<AccountKey> {
    let active = ledger.active_at(limits.observed_at.instant());
    let attribution = rollout::attribute(
        limits.observed_at,
        limits.creator.as_ref(),
        live.key(),
        active.as_ref(),
        changed_at(home),
    );
    match attribution {
        Attribution::Certain(key) => Some(key),
        Attribution::Unknown => None,
    }
}

/// The newest limits as a reading of their owner.
#[must_use]
pub fn reading_of(limits: &RolloutLimits, account: AccountKey) -> Reading {
    Reading {
        limit_reached: limits.limit_reached,
        plan: limits.plan.clone(),
        ..Reading::new(account, Source::Rollout, limits.observed_at, limits.windows.clone())
    }
}

/// When `auth.json` was last put in place or written. The time of change is asked, which no
/// copying tool can set; where there is none, the time of modification.
fn changed_at(home: &CodexHome) -> Option<Stamp> {
    let facts = std::fs::metadata(home.auth()).ok()?;
    #[cfg(unix)]
    let seconds = std::os::unix::fs::MetadataExt::ctime(&facts);
    #[cfg(not(unix))]
    let seconds = {
        let since = facts.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
        i64::try_from(since.as_secs()).ok()?
    };
    Stamp::from_epoch(seconds)
}

/// What the older tool's `cooldown.json` says. An account whose entry cannot be used would show
/// as ready, so each is warned of.
fn remembered(store: &Store, zone: &Zone, warnings: &mut Vec<String>) -> legacy::Registry {
    let path = store.legacy_cooldowns();
    let bytes = match read::optional(&path, MAX_RECORDS) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return legacy::Registry::default(),
        Err(error) => {
            warnings.push(error.to_string());
            return legacy::Registry::default();
        }
    };
    match legacy::registry(&bytes, zone) {
        Ok(registry) => {
            let odd = registry.passed_over.iter();
            warnings
                .extend(odd.map(|(account, why)| format!("{}, {account}: {why}", path.display())));
            registry
        }
        Err(MetadataError::OtherSchema) => {
            warnings.push(format!("{} is no list of accounts", path.display()));
            legacy::Registry::default()
        }
        Err(error) => {
            warnings.push(format!("{} {error}", path.display()));
            legacy::Registry::default()
        }
    }
}

/// What was said so far, by whom it is about.
#[derive(Default)]
struct Gathered {
    readings: BTreeMap<AccountKey, Vec<Reading>>,
    emails: BTreeMap<AccountKey, Email>,
}

impl Gathered {
    fn reading(&mut self, reading: Reading) {
        if let Some(email) = &reading.email {
            self.emails.entry(reading.account.clone()).or_insert_with(|| email.clone());
        }
        self.readings.entry(reading.account.clone()).or_default().push(reading);
    }

    fn know(&mut self, key: &AccountKey, email: Option<&Email>) {
        self.readings.entry(key.clone()).or_default();
        if let Some(email) = email {
            self.emails.entry(key.clone()).or_insert_with(|| email.clone());
        }
    }

    fn ledger(&mut self, ledger: &Ledger, now: DateTime<Utc>) {
        for key in ledger.accounts() {
            self.know(&key, ledger.email(&key).as_ref());
            for reading in ledger.readings(&key, now) {
                self.reading(reading);
            }
        }
    }

    /// A sidecar carries the reading it was named after.
    fn snapshots(&mut self, snapshots: &[Stored]) {
        for stored in snapshots {
            let metadata = &stored.metadata;
            let Some(key) = stored.key() else { continue };
            self.know(&key, metadata.email.as_ref());
            let Some(quota) = &metadata.quota else { continue };
            let Some(observed_at) = quota.observed_at.or(metadata.created_at) else { continue };
            self.reading(Reading {
                email: metadata.email.clone(),
                limit_reached: quota.limit_reached,
                validation: metadata.validation_status,
                known_start: metadata.session_start_at,
                ..Reading::new(key, quota.source, observed_at, quota.windows.clone())
            });
        }
    }

    /// The older tool's records, normalized or not.
    fn records(&mut self, store: &Store, zone: &Zone, ledger: &Ledger, warnings: &mut Vec<String>) {
        match inventory::load(&store.inventory()) {
            Ok(Some(inventory)) => {
                for odd in &inventory.odd {
                    let (place, why) = (odd.position, &odd.reason);
                    warnings.push(format!("inventory.json, record {place}: {why}"));
                }
                for record in inventory.records {
                    self.reading(Reading {
                        email: Some(record.email.clone()),
                        ..Reading::legacy(
                            AccountKey::Email(record.email),
                            record.quota_end_detected_at,
                            record.session_start_at,
                            Some(record.validation_status),
                        )
                    });
                }
            }
            Ok(None) => {}
            Err(error) => warnings.push(InventoryError::to_string(&error)),
        }
        for told in remembered(store, zone, warnings).readings {
            let window = crate::window::Window {
                minutes: 10_080,
                used_percent: told.left_percent.map(|left| 100.0 - left),
                resets_at: Some(told.resets_at),
            };
            let key = AccountKey::Email(told.email.clone());
            let reading = Reading::new(key, Source::StatusText, told.observed_at, vec![window]);
            // That file is the older tool's, so what is forgotten stays in it.
            if !is_forgotten(&reading, ledger) {
                self.reading(Reading { email: Some(told.email), ..reading });
            }
        }
    }

    fn live(&mut self, live: &Live) {
        if let Live::Login(file) = live
            && let Some(key) = &file.key
        {
            self.know(key, file.email.as_ref());
        }
    }

    /// Joins the records that know only an address with the one account that has it.
    fn adopt(&mut self) {
        let nameless: Vec<Email> = self
            .readings
            .keys()
            .filter_map(
                |key| if let AccountKey::Email(email) = key { Some(email.clone()) } else { None },
            )
            .collect();
        for email in nameless {
            let owners: Vec<AccountKey> = self
                .readings
                .keys()
                .filter(|key| !matches!(key, AccountKey::Email(_)))
                .filter(|key| self.emails.get(key) == Some(&email))
                .cloned()
                .collect();
            if let [owner] = owners.as_slice() {
                let moved = self.readings.remove(&AccountKey::Email(email)).unwrap_or_default();
                let renamed =
                    moved.into_iter().map(|reading| Reading { account: owner.clone(), ..reading });
                self.readings.entry(owner.clone()).or_default().extend(renamed);
            }
        }
    }

    fn accounts(
        mut self,
        snapshots: &[Stored],
        ledger: &Ledger,
        live: Option<&AccountKey>,
        config: &Config,
        now: DateTime<Utc>,
    ) -> Vec<KnownAccount> {
        self.adopt();
        let with_login: BTreeSet<Email> = snapshots
            .iter()
            .filter(|stored| stored.metadata.kind.has_login())
            .filter(|stored| matches!(stored.key(), Some(AccountKey::Email(_))))
            .filter_map(|stored| stored.metadata.email.clone())
            .collect();
        let keys: BTreeSet<AccountKey> = snapshots
            .iter()
            .filter(|stored| stored.metadata.kind.has_login())
            .filter_map(Stored::key)
            .collect();
        let Self { readings, emails } = self;
        let mut accounts: Vec<KnownAccount> = readings
            .into_iter()
            .map(|(key, readings)| {
                let email = emails.get(&key).cloned();
                KnownAccount {
                    active: live == Some(&key),
                    last_activation: ledger.last_activation(&key, now),
                    has_login: keys.contains(&key)
                        || email.as_ref().is_some_and(|email| with_login.contains(email)),
                    account: Account { email, alias: None, key },
                    settings: AccountSettings::default(),
                    label: String::new(),
                    readings,
                }
            })
            .collect();
        for (alias, meant) in config.aliases() {
            let known: Vec<Account> =
                accounts.iter().map(|account| account.account.clone()).collect();
            let Ok(found) = account::whole_name(meant, &known) else { continue };
            let key = found.key.clone();
            if let Some(account) = accounts.iter_mut().find(|account| account.account.key == key) {
                account.account.alias = Some(alias.to_owned());
            }
        }
        let all: Vec<Account> = accounts.iter().map(|account| account.account.clone()).collect();
        for account in &mut accounts {
            account.label = account::label(&account.account, &all);
        }
        accounts
    }
}
