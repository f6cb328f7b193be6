//! Which account, which snapshot does a person mean, and how is one shown?

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::account::{self, Account, AccountKey, Email, NotNamed};
use crate::cli::Exit;
use crate::cli::exit::Failure;
use crate::disk::archive::{Archive, ArchiveError, Limits};
use crate::disk::read;
use crate::overview::{KnownAccount, Overview};
use crate::quota::{Availability, Entry, Source, State, Validation, WindowNow};
use crate::snapshot::name::ARCHIVE;
use crate::snapshot::store::{self, OddKind, Stored};
use crate::time::{Stamp, Zone};
use crate::world::World;

/// How every archive begins.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// An account as `cooldown` and `recommend` tell it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct AccountRow {
    pub(crate) account: AccountKey,
    pub(crate) email: Option<Email>,
    pub(crate) alias: Option<String>,
    /// The account's name for people.
    #[serde(skip)]
    pub(crate) label: String,
    pub(crate) active: bool,
    pub(crate) state: State,
    pub(crate) next_available_at: Option<Stamp>,
    pub(crate) session_start_at: Option<Stamp>,
    pub(crate) quota_end_detected_at: Option<Stamp>,
    pub(crate) remaining_seconds: Option<i64>,
    pub(crate) left_percent: Option<f64>,
    pub(crate) windows: Vec<WindowNow>,
    pub(crate) source: Option<Source>,
    pub(crate) observed_at: Option<Stamp>,
    pub(crate) validation_status: Option<Validation>,
    /// Whether a login of it is stored or live.
    pub(crate) has_login: bool,
    /// Whether a person wants it passed over.
    pub(crate) disabled: bool,
}

impl AccountRow {
    pub(crate) fn new(
        known: &KnownAccount,
        availability: Availability,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            account: known.account.key.clone(),
            email: known.account.email.clone(),
            alias: known.account.alias.clone(),
            label: known.label.clone(),
            active: known.active,
            remaining_seconds: availability.remaining(now).map(|left| left.num_seconds()),
            state: availability.state,
            next_available_at: availability.next_available_at,
            session_start_at: availability.session_start_at,
            quota_end_detected_at: availability.quota_end_detected_at,
            left_percent: availability.left_percent,
            windows: availability.windows,
            source: availability.source,
            observed_at: availability.observed_at,
            validation_status: availability.validation,
            has_login: known.has_login || known.active,
            disabled: known.settings.disabled,
        }
    }
}

/// Finds the account that is meant.
pub(crate) fn named<'a>(asked: &str, known: &'a Overview) -> Result<&'a KnownAccount, Failure> {
    let all: Vec<Account> = known.accounts.iter().map(|account| account.account.clone()).collect();
    let key =
        account::name(asked, &all, &known.aliases).map_err(|error| unnamed(&error))?.key.clone();
    known
        .accounts
        .iter()
        .find(|account| account.account.key == key)
        .ok_or_else(|| Failure::usage(format!("no account is called {asked:?}")))
}

/// An account's name for people as it can be typed: a label of several words cannot.
pub(crate) fn typed(label: &str, key: &AccountKey) -> String {
    if label.contains(' ') { key.short_id() } else { label.to_owned() }
}

/// Why nobody is meant, as a failure.
pub(crate) fn unnamed(error: &NotNamed) -> Failure {
    let (exit, hint) = match error {
        NotNamed::Nobody { .. } => (Exit::Usage, "`codex-manager accounts` lists them".to_owned()),
        NotNamed::Several { .. } => (Exit::Conflict, "name one of them in full".to_owned()),
        NotNamed::Astray { alias, .. } => (
            Exit::Usage,
            format!(
                "`codex-manager accounts alias ACCOUNT {alias}` gives that name to one that is \
                 known, `codex-manager config unset aliases.{alias}` takes it away"
            ),
        ),
    };
    Failure::new(exit, error.to_string()).hint(hint)
}

/// Finds the snapshot that is meant by its base name, a path, a label or a unique part of its
/// name; without any of these the newest one that fits.
///
/// One that is damaged counts: nobody who means it gets another one instead.
pub(crate) fn snapshot(
    asked: Option<&str>,
    fits: impl Fn(&Stored) -> bool,
    known: &Overview,
    zone: &Zone,
    world: &World,
) -> Result<Stored, Failure> {
    let is_listed = |odd: &Stored| known.snapshots.iter().any(|it| it.archive == odd.archive);
    let damaged: Vec<(Stored, &str)> = known
        .odd
        .iter()
        .filter_map(|odd| Some((store::remains(odd, zone)?, odd.what.as_str())))
        .filter(|(odd, _)| !is_listed(odd))
        .collect();
    let Some(asked) = asked else { return newest(fits, &damaged, known) };
    let path = world.absolute(asked.as_ref());
    if (asked.contains('/') || asked.ends_with(ARCHIVE)) && path.is_file() {
        return at_path(asked, &path, zone);
    }
    let base = asked.strip_suffix(ARCHIVE).unwrap_or(asked);
    let tests: [&dyn Fn(&Stored) -> bool; 3] = [
        &|stored| stored.title == base,
        &|stored| stored.metadata.label.as_deref() == Some(asked),
        &|stored| !base.is_empty() && stored.title.contains(base),
    ];
    for test in tests {
        let sound: Vec<&Stored> = known.snapshots.iter().filter(|stored| test(stored)).collect();
        let spoiled: Vec<_> = damaged.iter().filter(|(odd, _)| test(odd)).collect();
        match (sound.as_slice(), spoiled.as_slice()) {
            ([], []) => {}
            ([one], []) => return Ok((*one).clone()),
            ([], [(odd, what)]) => {
                return Err(Failure::new(
                    Exit::Refused,
                    format!("{} cannot be used: {what}", odd.archive.display()),
                )
                .hint("`codex-manager doctor` tells what is wrong; use another snapshot"));
            }
            (sound, spoiled) => {
                let spoiled = spoiled.iter().map(|(odd, _)| format!("{} (damaged)", odd.title));
                let names: Vec<String> =
                    sound.iter().map(|stored| stored.title.clone()).chain(spoiled).collect();
                return Err(Failure::new(
                    Exit::Conflict,
                    format!("{asked:?} fits {} snapshots: {}", names.len(), names.join(", ")),
                )
                .hint("name one of them in full"));
            }
        }
    }
    if let Some(odd) = known.odd.iter().find(|odd| odd.path.to_string_lossy().contains(base)) {
        return Err(Failure::new(
            Exit::Refused,
            format!("{} cannot be used: {}", odd.path.display(), odd.what),
        )
        .hint("`codex-manager doctor` tells what is wrong; use another snapshot"));
    }
    Err(Failure::usage(format!("no snapshot is called {asked:?}"))
        .hint("`codex-manager list` shows what there is"))
}

/// The newest snapshot that fits, unless one that is damaged is newer.
fn newest(
    fits: impl Fn(&Stored) -> bool,
    damaged: &[(Stored, &str)],
    known: &Overview,
) -> Result<Stored, Failure> {
    // An orphan is nobody's newest snapshot; it is shown to who names it.
    let newest = known.snapshots.iter().find(|stored| fits(stored) && !stored.is_orphan());
    let spoiled = damaged
        .iter()
        .filter(|(odd, _)| fits(odd) && !odd.is_orphan())
        .max_by_key(|(odd, _)| odd.metadata.created_at);
    match (newest, spoiled) {
        (Some(newest), Some((odd, what)))
            if newest.metadata.created_at < odd.metadata.created_at =>
        {
            let (title, older) = (&odd.title, &newest.title);
            Err(Failure::new(
                Exit::Refused,
                format!("the newest snapshot, {title}, cannot be used: {what}"),
            )
            .hint(format!("bring it back from a copy, or name the one before it: {older}")))
        }
        (Some(newest), _) => Ok(newest.clone()),
        (None, _) if known.odd.iter().any(|odd| odd.kind == OddKind::BadArchive) => {
            Err(Failure::new(Exit::Refused, "there is no such snapshot that is sound")
                .hint("`codex-manager verify --all` tells what is wrong with each"))
        }
        (None, _) if known.snapshots.is_empty() => {
            Err(Failure::usage("no snapshot is stored yet")
                .hint("`codex-manager backup` makes one"))
        }
        (None, _) => Err(Failure::usage("there is no such snapshot")
            .hint("`codex-manager list` shows what there is")),
    }
}

/// The snapshot in a file that a person named: an archive of either layout that reads to its end.
fn at_path(asked: &str, path: &Path, zone: &Zone) -> Result<Stored, Failure> {
    let refused = |what: String| {
        Failure::new(Exit::Refused, format!("{}: {what}", path.display()))
            .hint("use another snapshot, or another copy of this one")
    };
    let opened = Archive::open(path, &Limits::default());
    let readable = opened.and_then(|archive| archive.entries().map(drop));
    match readable {
        Ok(()) => store::stored_at(path, zone).map_err(refused),
        Err(error @ ArchiveError::Io { .. }) => {
            Err(Failure::new(Exit::Failed, format!("{}: {error}", path.display()))
                .hinted(error.hint()))
        }
        Err(error) if matches!(error, ArchiveError::NotRegular { .. }) || begins_as_gzip(path) => {
            Err(refused(error.to_string()))
        }
        Err(_) => {
            let what = format!("no snapshot is called {asked:?}, and that file is no archive");
            Err(Failure::usage(what).hint("`codex-manager list` shows what there is"))
        }
    }
}

/// Whether a file was once an archive, damaged as it may be now.
fn begins_as_gzip(path: &Path) -> bool {
    let mut start = Vec::new();
    read::open_regular(path)
        .is_ok_and(|file| file.take(2).read_to_end(&mut start).is_ok() && start == GZIP_MAGIC)
}

/// What an account is called, known or not.
pub(crate) fn label(key: &AccountKey, known: &Overview) -> String {
    let account = known.accounts.iter().find(|account| account.account.key == *key);
    account.map_or_else(|| key.short_id(), |account| account.label.clone())
}

/// A sentence for people: accounts by what they are called, where that is one account's alone.
pub(crate) fn labelled(text: &str, known: &Overview) -> String {
    let listed = known.accounts.iter().map(|it| (it.account.key.to_string(), it.label.clone()));
    let mut names: BTreeMap<String, String> = listed.collect();
    // Who was forgotten has no other name left than the one of back then.
    for entry in known.ledger.activations() {
        if let Entry::Activation { account, email: Some(email), .. } = entry {
            names.entry(account.to_string()).or_insert_with(|| email.to_string());
        }
    }
    let is_unique = |label: &str| names.values().filter(|other| *other == label).count() == 1;
    let mut named: Vec<_> = names.iter().filter(|(_, label)| is_unique(label)).collect();
    // One key may be how another one begins.
    named.sort_by_key(|(key, _)| std::cmp::Reverse(key.len()));
    named.into_iter().fold(text.to_owned(), |text, (key, label)| text.replace(key, label))
}
