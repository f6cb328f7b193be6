//! What do we know right now?
//!
//! Brings together what the ledger, the snapshots, the legacy records and the live home say of
//! each account. Deciding what follows from it is [`quota`]'s work; whose the figures in the session
//! files are is [`attribution`]'s, what came before [`history`]'s.

pub mod attribution;
pub mod history;
pub mod sessions;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use chrono::{DateTime, Utc};

use crate::account::{self, Account, AccountKey, Alias, Email, NotNamed};
use crate::codex::home::CodexHome;
use crate::codex::rollout::{self, Glimpses, Reach, RolloutLimits};
use crate::config::{AccountSettings, Config};
use crate::disk::read;
use crate::quota::ledger::Ambiguous;
use crate::quota::{self, Availability, Candidate, Entry, Ledger, Reading, Source};
use crate::snapshot::backup;
use crate::snapshot::inventory::{self, InventoryError};
use crate::snapshot::legacy;
use crate::snapshot::logins::{Live, LiveError};
use crate::snapshot::metadata::MetadataError;
use crate::snapshot::store::{MAX_RECORDS, Odd, Scan, Store, StoreError, Stored};
use crate::snapshot::switch;
use crate::time::{Stamp, Zone};

use self::attribution::attribute;

pub use self::attribution::{Attribution, Origin};
pub use self::sessions::Sessions;

/// All that is known at one instant.
#[derive(Debug)]
pub struct Overview {
    /// The accounts, by key.
    pub accounts: Vec<KnownAccount>,
    /// The names that the user gave, also those of nobody who is known.
    pub aliases: Vec<Alias>,
    /// The snapshots, newest first.
    pub snapshots: Vec<Stored>,
    /// What in the store cannot be used.
    pub odd: Vec<Odd>,
    /// The login that is live, as it was at this look: whoever replaces it looks anew. An error
    /// is among the warnings too. Nobody's, if Codex keeps its login [`elsewhere`](Self::elsewhere).
    pub live: Result<Live, LiveError>,
    /// Where Codex keeps its login, if that is not `auth.json`: `the keyring` or `memory`. Who is
    /// signed in is not known then.
    pub elsewhere: Option<&'static str>,
    /// The newest limits in the session files, whosever they are. [`observe_store`] does not look.
    pub limits: Option<RolloutLimits>,
    /// There are so many session files that not all were looked at: [`Sessions`], once they are
    /// remembered, help.
    pub is_partial: bool,
    /// What was found in single session files: worth keeping for whoever may write.
    pub glimpses: Glimpses,
    /// The ledger.
    pub ledger: Ledger,
    /// What the ledger does not know yet: who signed in beside this program.
    noticed: Option<Entry>,
    /// Every activation, and what was noticed.
    activations: Ledger,
    /// Whose the limits are, and what they are a reading of then.
    attribution: Option<Attribution>,
    reading: Option<Reading>,
    /// The Codex home that was looked at.
    root: PathBuf,
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

    /// Whose the newest limits in the session files are, if anything decides it.
    #[must_use]
    pub fn owner(&self) -> Option<&AccountKey> {
        self.attribution.as_ref().and_then(Attribution::account)
    }

    /// Who is found to have signed in beside this program, if the ledger does not know yet.
    #[must_use]
    pub fn noticed(&self) -> Option<&Entry> {
        self.noticed.as_ref()
    }

    /// Whose a turn of a session in this home was.
    #[must_use]
    pub fn whose(&self, origin: Origin<'_>, at: Stamp) -> Attribution {
        attribute(origin, &self.activations.tenant(&self.root, at.instant()))
    }

    /// The newest limits in the session files as a reading, if anything decides whose they are.
    #[must_use]
    pub fn rollout_reading(&self) -> Option<&Reading> {
        self.reading.as_ref()
    }

    /// What this look found that the ledger does not know and should: a sign-in beside this
    /// program, and the newest limits in the session files, whosever they are. `at` is now.
    #[must_use]
    pub fn news(&self, at: Stamp) -> Vec<Entry> {
        let reading = self.reading.clone();
        let reading = reading.map(|reading| Entry::Reading { at, reading });
        let reading = reading.or_else(|| {
            let (limits, Attribution::Ambiguous { candidates, basis }) =
                (self.limits.as_ref()?, self.attribution.as_ref()?)
            else {
                return None;
            };
            let reading = Ambiguous {
                candidates: candidates.clone(),
                basis: *basis,
                observed_at: limits.observed_at,
                source: Source::Rollout,
                home: Some(self.root.clone()),
                windows: limits.windows.clone(),
                limit_reached: limits.limit_reached,
            };
            Some(Entry::AmbiguousReading { at, reading })
        });
        let reading = reading.filter(|entry| !self.ledger.knows(entry));
        self.noticed.clone().into_iter().chain(reading).collect()
    }

    /// What the ledger learns of a look: this reading, and the news. `at` is now.
    #[must_use]
    pub fn learned(&self, reading: Option<Reading>, at: Stamp) -> Vec<Entry> {
        let mut entries = self.news(at);
        // Codex itself answers for whoever is signed in.
        let signed_in = self.activations.active_in(&self.root, at.instant());
        let reading = reading.map(|reading| {
            let is_seen =
                reading.source == Source::AppServer && signed_in == Some(&reading.account);
            let home = is_seen.then(|| self.root.clone()).or(reading.home.clone());
            Entry::Reading { at, reading: Reading { home, ..reading } }
        });
        // The newest limits are among the news, with what decided whose they are.
        let news = Ledger { entries: entries.clone(), ..Ledger::default() };
        entries.extend(reading.filter(|entry| !news.knows(entry) && !self.ledger.knows(entry)));
        entries
    }

    /// What the ledger learns when a login of this account is put in place by this program: what was
    /// found before that, and the activation, unless it is the one that is live and known to be.
    #[must_use]
    pub fn activated(&self, account: AccountKey, email: Option<Email>, at: Stamp) -> Vec<Entry> {
        let mut entries = self.news(at);
        // What was just noticed is news already.
        let active = self.activations.active_in(&self.root, at.instant());
        if self.live().key() != Some(&account) || active != Some(&account) {
            let home = Some(self.root.clone());
            entries.push(Entry::Activation { at, account, email, home, noticed: None });
        }
        entries
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
    /// Its last activation, if there ever was one; now, if it was just found to be signed in.
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

/// Looks at everything. Of the session files no more is read than the newest limits need.
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
    let looked = Looked::at_all(store, home, now);
    gather(store, home, config, zone, now, (looked, store.scan(zone)?))
}

/// Looks at everything as [`observe`] does, but of the session files only at the recent ones, at a
/// cost that does not grow with them: for who names an account and asks no quota. The newest limits
/// are not those of a session that Codex took no note of going on with, as [`Reach::Recent`] tells.
///
/// # Errors
///
/// As [`observe`].
pub fn observe_recent(
    store: &Store,
    home: &CodexHome,
    config: &Config,
    zone: &Zone,
    now: DateTime<Utc>,
) -> Result<Overview, StoreError> {
    let looked = Looked::at_recent(store, home, now);
    gather(store, home, config, zone, now, (looked, store.scan(zone)?))
}

/// Looks at everything as [`observe`] does, but believes what is remembered of sidecars that look
/// as they did: for those who change nothing. `began` is when this run did, by the machine's clock.
///
/// # Errors
///
/// As [`observe`].
pub fn glance(
    store: &Store,
    home: &CodexHome,
    config: &Config,
    zone: &Zone,
    now: DateTime<Utc>,
    began: DateTime<Utc>,
) -> Result<Overview, StoreError> {
    let looked = Looked::at_all(store, home, now);
    gather(store, home, config, zone, now, (looked, store.recall(zone, began)?))
}

/// Looks at everything but the session files.
///
/// # Errors
///
/// When the store is there and cannot be listed. Single files that cannot be read are warnings.
pub fn observe_store(
    store: &Store,
    home: &CodexHome,
    config: &Config,
    zone: &Zone,
    now: DateTime<Utc>,
) -> Result<Overview, StoreError> {
    gather(store, home, config, zone, now, (Looked::default(), store.scan(zone)?))
}

/// Looks at everything but the session files, as [`glance`] does.
///
/// # Errors
///
/// As [`observe`].
pub fn glance_store(
    store: &Store,
    home: &CodexHome,
    config: &Config,
    zone: &Zone,
    now: DateTime<Utc>,
    began: DateTime<Utc>,
) -> Result<Overview, StoreError> {
    gather(store, home, config, zone, now, (Looked::default(), store.recall(zone, began)?))
}

/// A look at the session files.
#[derive(Default)]
struct Looked {
    found: rollout::Found,
    glimpses: Glimpses,
}

impl Looked {
    fn at_all(store: &Store, home: &CodexHome, now: DateTime<Utc>) -> Self {
        let mut glimpses = store.glimpses(home.root());
        let memory = store.remembered();
        let (reach, remembered) = (Reach::All, memory.of(home.root()));
        let times = (None, Some(now));
        let found = rollout::newest_limits(home.root(), reach, remembered, &mut glimpses, times);
        // A home that cannot be looked at has none.
        Self { found: found.unwrap_or_default(), glimpses }
    }

    /// At the recent ones, and at all only if these were too much.
    fn at_recent(store: &Store, home: &CodexHome, now: DateTime<Utc>) -> Self {
        let mut glimpses = store.glimpses(home.root());
        let times = (None, Some(now));
        // What is remembered of many sessions takes longer to read than the ends of these.
        let found = rollout::newest_limits(home.root(), Reach::Recent, &[], &mut glimpses, times);
        match found.unwrap_or_default() {
            found if found.is_partial => Self::at_all(store, home, now),
            found => Self { found, glimpses },
        }
    }
}

fn gather(
    store: &Store,
    home: &CodexHome,
    config: &Config,
    zone: &Zone,
    now: DateTime<Utc>,
    (Looked { found, glimpses }, scan): (Looked, Scan),
) -> Result<Overview, StoreError> {
    let ledger = store.read_ledger()?;
    let mut warnings: Vec<String> =
        scan.problems.iter().map(|odd| format!("{}: {}", odd.path.display(), odd.what)).collect();
    for (line, what) in &ledger.problems {
        warnings.push(format!("{}, line {line}: {what}", store.ledger().display()));
    }
    if found.is_partial {
        warnings.push(
            "there are too many session files to look through them all; \
             `codex-manager history` reads them once and remembers"
                .to_owned(),
        );
    }
    let live = Live::read(home);
    let elsewhere = live.as_ref().ok().and_then(|live| {
        let config = backup::config_text(home).unwrap_or_default();
        switch::elsewhere(&config, live)
    });
    let live = match (elsewhere, live) {
        (Some(place), Ok(left @ (Live::Login(_) | Live::Orphan { .. }))) => {
            let email = match &left {
                Live::Login(file) => file.email.as_ref(),
                Live::Absent | Live::Orphan { .. } => None,
            };
            let whose = email.map_or_else(String::new, |email| format!(" of {email}"));
            warnings.push(format!(
                "who is signed in is not known: Codex keeps its login in {place} and does not use \
                 the one{whose} in auth.json"
            ));
            Ok(Live::Absent)
        }
        (_, live) => live,
    };
    match &live {
        Ok(Live::Orphan { why, .. }) => {
            warnings.push(format!("auth.json names no account: {why}"));
        }
        Ok(Live::Absent | Live::Login(_)) => {}
        Err(error) => warnings.push(error.to_string()),
    }
    let known_live = live.as_ref().unwrap_or(&ABSENT);
    let noticed = notice(&ledger, known_live, home, zone.stamp(now));
    let activations = ledger.activations().chain(&noticed).cloned().collect();
    let activations = Ledger { entries: activations, ..Ledger::default() };
    let attributed = found.limits.map(|limits| {
        let origin = Origin { creator: limits.creator.as_ref(), begun: limits.begun };
        let tenant = activations.tenant(home.root(), limits.observed_at.instant());
        let attribution = attribute(origin, &tenant);
        (limits, attribution)
    });
    let mut gathered = Gathered::default();
    gathered.ledger(&ledger, now);
    gathered.snapshots(&scan.snapshots);
    gathered.records(store, zone, &ledger, &mut warnings);
    gathered.live(known_live);
    let (limits, attribution) = attributed.unzip();
    let reading = limits.as_ref().zip(attribution.as_ref());
    let reading = reading.and_then(|(limits, whose)| reading_of(limits, whose, known_live, home));
    if let Some(reading) = reading.clone().filter(|reading| !is_forgotten(reading, &ledger)) {
        gathered.reading(reading);
    }
    let Scan { snapshots, problems: odd } = scan;
    let mut overview = Overview {
        accounts: Vec::new(),
        aliases: config
            .aliases()
            .map(|(name, meant)| Alias { name: name.to_owned(), meant: meant.to_owned() })
            .collect(),
        snapshots,
        odd,
        live,
        elsewhere,
        limits,
        is_partial: found.is_partial,
        glimpses,
        ledger,
        noticed,
        activations,
        attribution,
        reading,
        root: home.root().to_owned(),
        warnings,
    };
    let mut accounts = gathered.accounts(&overview, config, now);
    settle(&mut accounts, config, &mut overview.warnings);
    overview.accounts = accounts;
    Ok(overview)
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

/// The newest limits in the session files as a reading of their owner, if anybody knows who it is.
fn reading_of(
    limits: &RolloutLimits,
    whose: &Attribution,
    live: &Live,
    home: &CodexHome,
) -> Option<Reading> {
    let Attribution::Known { account, confidence, basis } = whose else { return None };
    let signed_in = match live {
        Live::Login(file) if file.key.as_ref() == Some(account) => Some(file),
        _ => None,
    };
    let windows = limits.windows.clone();
    Some(Reading {
        email: signed_in.and_then(|file| file.email.clone()),
        home: signed_in.map(|_| home.root().to_owned()),
        confidence: *confidence,
        basis: Some(*basis),
        limit_reached: limits.limit_reached,
        plan: limits.plan.clone(),
        ..Reading::new(account.clone(), Source::Rollout, limits.observed_at, windows)
    })
}

/// Who signed in beside this program, if the live login is not the one that the ledger takes for it.
fn notice(ledger: &Ledger, live: &Live, home: &CodexHome, at: Stamp) -> Option<Entry> {
    let Live::Login(file) = live else { return None };
    let account = file.key.clone()?;
    let noticed = ledger.notice(home.root(), &account, changed_at(home), at)?;
    let (email, home) = (file.email.clone(), Some(home.root().to_owned()));
    Some(Entry::Activation { at, account, email, home, noticed: Some(noticed) })
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
        self.call(&reading.account, reading.email.as_ref());
        // Thousands are of few accounts: a key is copied only for one that is new.
        match self.readings.get_mut(&reading.account) {
            Some(readings) => readings.push(reading),
            None => drop(self.readings.insert(reading.account.clone(), vec![reading])),
        }
    }

    fn know(&mut self, key: &AccountKey, email: Option<&Email>) {
        self.call(key, email);
        if !self.readings.contains_key(key) {
            self.readings.insert(key.clone(), Vec::new());
        }
    }

    /// Remembers the first address that is told of an account.
    fn call(&mut self, key: &AccountKey, email: Option<&Email>) {
        if let Some(email) = email
            && !self.emails.contains_key(key)
        {
            self.emails.insert(key.clone(), email.clone());
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
            let (whose, brief) = (stored.metadata.whose(), stored.metadata.brief());
            let Some(key) = &whose.key else { continue };
            self.know(key, whose.email.as_ref());
            let Some(figures) = &brief.figures else { continue };
            let Some(observed_at) = figures.observed_at.or(brief.created_at) else { continue };
            self.reading(Reading {
                email: whose.email.clone(),
                limit_reached: figures.limit_reached,
                validation: brief.validation,
                known_start: brief.session_start_at,
                ..Reading::new(key.clone(), figures.source, observed_at, figures.windows.clone())
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
        overview: &Overview,
        config: &Config,
        now: DateTime<Utc>,
    ) -> Vec<KnownAccount> {
        self.adopt();
        let Overview { snapshots, ledger, .. } = overview;
        let live = overview.live().key();
        let found = |key: &AccountKey| {
            overview.noticed().filter(|entry| entry.account() == Some(key)).map(Entry::at)
        };
        // One by one: to collect thousands would sort them.
        let (mut with_login, mut keys) = (BTreeSet::new(), BTreeSet::new());
        for stored in snapshots.iter().filter(|stored| stored.metadata.brief().kind.has_login()) {
            let whose = stored.metadata.whose();
            keys.extend(&whose.key);
            if matches!(whose.key, Some(AccountKey::Email(_))) {
                with_login.extend(&whose.email);
            }
        }
        let Self { readings, emails } = self;
        let mut accounts: Vec<KnownAccount> = readings
            .into_iter()
            .map(|(key, readings)| {
                let email = emails.get(&key).cloned();
                KnownAccount {
                    active: live == Some(&key),
                    last_activation: ledger.last_activation(&key, now).max(found(&key)),
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
