//! What does a new snapshot say about itself, and what is it called?

use super::{Circumstances, Request};
use crate::account::AccountKey;
use crate::codex::auth::{AuthFile, Mode};
use crate::quota::{Reading, Source as Evidence};
use crate::snapshot::metadata::{AccountFacts, Metadata, Quota};
use crate::snapshot::name::{SnapshotName, Who};
use crate::time::Zone;
use crate::window::weekly;

/// The sidecar as far as it is known before the archive is.
pub(super) fn describe(
    request: &Request,
    login: Option<&AuthFile>,
    circumstances: &Circumstances<'_>,
) -> Metadata {
    let zone = circumstances.zone;
    let mut metadata = Metadata::empty(request.kind);
    if let Some(login) = login {
        describe_login(&mut metadata, login);
    }
    if let Some(reading) = &circumstances.reading {
        describe_quota(&mut metadata, reading, circumstances.status_text.clone(), zone);
    }
    metadata.source_codex_home = Some(circumstances.home_for_people.clone());
    metadata.codex_version = circumstances.codex_version.clone();
    metadata.host = circumstances.host.clone();
    metadata.label = request.label.clone();
    metadata.note = request.note.clone();
    metadata.created_at = Some(zone.stamp(circumstances.now));
    metadata.manager_version = Some(env!("CARGO_PKG_VERSION").to_owned());
    metadata
}

/// Writes whose login it is into a sidecar, and, where the snapshot holds it, which one.
pub(super) fn describe_login(metadata: &mut Metadata, login: &AuthFile) {
    metadata.email = login.email.clone();
    metadata.account = account_facts(login);
    metadata.login = metadata.kind.has_login().then(|| login.login.clone());
}

/// Writes what a reading says into a sidecar.
pub(crate) fn describe_quota(
    metadata: &mut Metadata,
    reading: &Reading,
    text: Option<String>,
    zone: &Zone,
) {
    let reset = weekly(&reading.windows).and_then(|window| window.resets_at);
    metadata.session_start_at = reading.session_start_at().map(|at| at.in_zone(zone));
    metadata.next_available_at = reset.map(|at| at.in_zone(zone));
    metadata.reset_at = metadata.next_available_at;
    metadata.inference_basis = metadata.session_start_at.map(|_| {
        match reading.source {
            Evidence::Estimate => "time of capture, taken for the start of the week",
            Evidence::Legacy => "end of the quota, less the session duration",
            Evidence::Manual => "what a person said",
            _ => "weekly reset less seven days",
        }
        .to_owned()
    });
    metadata.quota = Some(Quota {
        source: reading.source,
        observed_at: Some(reading.observed_at.in_zone(zone)),
        windows: reading.windows.iter().map(|window| window.in_zone(zone)).collect(),
        limit_reached: reading.limit_reached,
        text,
    });
}

/// Whose login it is, as a sidecar tells it.
#[must_use]
pub fn account_facts(login: &AuthFile) -> Option<AccountFacts> {
    let (user_id, account_id) = match login.key.clone()? {
        AccountKey::ChatGpt { user_id, account_id } => (Some(user_id), Some(account_id)),
        AccountKey::ApiKey(fingerprint) => (None, Some(fingerprint)),
        AccountKey::Email(_) => (None, None),
    };
    let auth_mode = match &login.mode {
        Mode::ChatGpt => "chatgpt".to_owned(),
        Mode::ApiKey => "apikey".to_owned(),
        Mode::Other(name) => name.clone(),
    };
    Some(AccountFacts { user_id, account_id, plan: login.plan.clone(), auth_mode: Some(auth_mode) })
}

/// The name from the start of the week, or, where that is unknown, from the time of capture.
pub(super) fn wanted_name(
    metadata: &Metadata,
    login: Option<&AuthFile>,
    circumstances: &Circumstances<'_>,
) -> SnapshotName {
    let began = metadata.session_start_at.map_or(circumstances.now, |start| start.instant());
    SnapshotName::new(circumstances.zone.wall(began), who(login))
}

/// Whose name a snapshot of this login carries.
#[must_use]
pub fn who(login: Option<&AuthFile>) -> Who {
    let Some(login) = login else { return Who::nameless("unknown") };
    match (&login.email, &login.key) {
        (Some(email), _) => Who::Email(email.clone()),
        (None, Some(key @ AccountKey::ApiKey(_))) => {
            Who::nameless(&format!("apikey-{}", key.short_id()))
        }
        (None, Some(key)) => Who::nameless(&format!("account-{}", key.short_id())),
        (None, None) => Who::nameless("unknown"),
    }
}
