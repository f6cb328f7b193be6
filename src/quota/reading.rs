//! What did some source say about an account's quota, and when?
//!
//! A [`Reading`] is kept as it was made; what it means at another instant is
//! [`cooldown`](super::cooldown)'s question.

use std::fmt;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use super::{Basis, Confidence};
use crate::account::{AccountKey, Email};
use crate::time::{Stamp, Zone};
use crate::window::{Credits, OtherLimit, WEEK, Window, weekly};

/// Length of the weekly window in minutes.
const WEEK_MINUTES: u32 = 10_080;

/// What one source said about one account at one instant.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Reading {
    /// Whom it is about.
    pub account: AccountKey,
    /// The account's label, if the source knew it.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub email: Option<Email>,
    /// When the figures held. For a legacy file, when the quota was found to be at its end.
    pub observed_at: Stamp,
    /// Where it comes from.
    pub source: Source,
    /// How sure it is that it is about this account. Never ambiguous: such a reading is none.
    #[serde(default, deserialize_with = "sure")]
    pub confidence: Confidence,
    /// What decided that it is about this account, where the source does not name one.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub basis: Option<Basis>,
    /// The Codex home in which this account was signed in, if that was so when it was made.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub home: Option<PathBuf>,
    /// The windows it names, in any order; a window it does not name is unknown to it.
    #[serde(default)]
    pub windows: Vec<Window>,
    /// Whether the backend said that a limit is reached; `None` if it did not say.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub limit_reached: Option<bool>,
    /// What may be used when the windows are used up, if there is any.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub credits: Option<Credits>,
    /// Limits beside the general one. They say nothing of whether the account may work: another
    /// model still does.
    #[serde(default, deserialize_with = "lenient_list", skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<OtherLimit>,
    /// The plan as the backend calls it.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// Whether its own evidence agrees with itself; `None` where there is nothing to compare.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation>,
    /// When the weekly session began, where the source knows better than the reset tells.
    #[serde(
        default,
        rename = "session_start_at",
        deserialize_with = "lenient",
        skip_serializing_if = "Option::is_none"
    )]
    pub known_start: Option<Stamp>,
}

impl Reading {
    /// A reading of a source that measured: the app server, a rollout or a status text.
    #[must_use]
    pub fn new(
        account: AccountKey,
        source: Source,
        observed_at: Stamp,
        windows: Vec<Window>,
    ) -> Self {
        Self {
            account,
            email: None,
            observed_at,
            source,
            confidence: Confidence::Certain,
            basis: None,
            home: None,
            windows,
            limit_reached: None,
            credits: None,
            limits: Vec::new(),
            plan: None,
            validation: None,
            known_start: None,
        }
    }

    /// The same reading with its times written in `zone`.
    #[must_use]
    pub fn in_zone(self, zone: &Zone) -> Self {
        let local = |windows: Vec<Window>| -> Vec<Window> {
            windows.into_iter().map(|window| window.in_zone(zone)).collect()
        };
        let limit = |limit: OtherLimit| OtherLimit { windows: local(limit.windows), ..limit };
        Self {
            observed_at: self.observed_at.in_zone(zone),
            windows: local(self.windows),
            limits: self.limits.into_iter().map(limit).collect(),
            known_start: self.known_start.map(|at| at.in_zone(zone)),
            ..self
        }
    }

    /// What a normalized file of the older tool says: its week began at `session_start_at`
    /// and its quota was found to be at its end at `quota_end_detected_at`.
    #[must_use]
    pub fn legacy(
        account: AccountKey,
        quota_end_detected_at: Stamp,
        session_start_at: Stamp,
        validation: Option<Validation>,
    ) -> Self {
        Self {
            validation,
            known_start: Some(session_start_at),
            ..Self::new(
                account,
                Source::Legacy,
                quota_end_detected_at,
                vec![week_until(session_start_at.instant() + WEEK)],
            )
        }
    }

    /// A cooldown that a person set at `set_at`, until `until`.
    #[must_use]
    pub fn manual(account: AccountKey, set_at: Stamp, until: Stamp) -> Self {
        Self::new(account, Source::Manual, set_at, vec![week_until(until.instant())])
    }

    /// The guess for an account of which only the time of a capture is known: its week began
    /// then and is used up.
    #[must_use]
    pub fn estimate(account: AccountKey, captured_at: Stamp) -> Self {
        Self {
            known_start: Some(captured_at),
            ..Self::new(
                account,
                Source::Estimate,
                captured_at,
                vec![week_until(captured_at.instant() + WEEK)],
            )
        }
    }

    /// Whether another reading says the same of the same account, whatever decided whose it is.
    #[must_use]
    pub fn says_what(&self, other: &Self) -> bool {
        let Self { confidence, basis, home, email, .. } = other.clone();
        Self { confidence, basis, home, email, ..self.clone() } == *other
    }

    /// When the weekly session began: seven days (604,800 s) before the weekly reset, counted
    /// in instants, so that a change of the clocks in between moves nothing.
    ///
    /// `None` if no weekly reset is known.
    #[must_use]
    pub fn session_start_at(&self) -> Option<Stamp> {
        self.known_start.or_else(|| week_before(weekly(&self.windows)?.resets_at?))
    }
}

/// Where a reading comes from.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Codex itself, asked over JSON-RPC.
    AppServer,
    /// The newest `token_count` event of the session files.
    Rollout,
    /// The text of `/status`.
    StatusText,
    /// A normalized file of the older tool.
    Legacy,
    /// A person.
    Manual,
    /// The time of a capture plus seven days.
    Estimate,
}

impl Source {
    /// How far down the list of sources it stands; 0 is the best.
    ///
    /// It decides only between readings of the same second.
    #[must_use]
    pub fn rank(self) -> u8 {
        match self {
            Self::AppServer => 0,
            Self::Rollout => 1,
            Self::StatusText => 2,
            Self::Legacy => 3,
            Self::Manual => 4,
            Self::Estimate => 5,
        }
    }

    /// Whether its windows come with percentages, so that a missing one is unknown rather
    /// than a sign of a used-up window.
    #[must_use]
    pub fn measures(self) -> bool {
        matches!(self, Self::AppServer | Self::Rollout | Self::StatusText)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::AppServer => "app-server",
            Self::Rollout => "rollout",
            Self::StatusText => "status-text",
            Self::Legacy => "legacy",
            Self::Manual => "manual",
            Self::Estimate => "estimate",
        })
    }
}

/// Whether the pieces of evidence for a time agree.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Validation {
    /// They do.
    Ok,
    /// They do not: the time is kept, but trusted less.
    Mismatch,
}

impl fmt::Display for Validation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Mismatch => "mismatch",
        })
    }
}

/// Seven days before a weekly reset; `None` before 1970.
pub(super) fn week_before(reset: Stamp) -> Option<Stamp> {
    Stamp::from_epoch((reset.instant() - WEEK).timestamp())
}

fn week_until(reset: DateTime<Utc>) -> Window {
    Window { minutes: WEEK_MINUTES, used_percent: None, resets_at: Some(Stamp::from(reset)) }
}

/// An ambiguous reading says so by being of another kind; one that claims both is none.
fn sure<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Confidence, D::Error> {
    match Confidence::deserialize(deserializer)? {
        Confidence::Ambiguous => Err(serde::de::Error::custom("ambiguous, and of one account")),
        sure => Ok(sure),
    }
}

/// Reads a fact that may be absent: an odd one costs itself, not the whole reading.
fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok())
}

/// Reads a list that may be absent: an odd item costs itself.
fn lenient_list<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let items: Option<Vec<serde_json::Value>> = lenient(deserializer)?;
    let items = items.unwrap_or_default().into_iter();
    Ok(items.filter_map(|item| serde_json::from_value(item).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> AccountKey {
        "email:ada@example.com".parse().unwrap()
    }

    fn stamp(text: &str) -> Stamp {
        text.parse().unwrap()
    }

    #[test]
    #[rustfmt::skip]
    fn a_session_began_604_800_seconds_before_its_reset_whatever_the_clocks_did() {
        start("2026-04-21T15:55:00+02:00", "2026-04-14T15:55:00+02:00");
        start("2026-04-01T10:00:00+02:00", "2026-03-25T09:00:00+01:00"); // spring in Berlin
        start("2026-10-28T10:00:00+01:00", "2026-10-21T11:00:00+02:00"); // autumn in Berlin
    }

    #[track_caller]
    fn start(reset: &str, expected: &str) {
        let reading = Reading::manual(key(), stamp("2026-03-01T00:00:00Z"), stamp(reset));
        assert_eq!(reading.session_start_at(), Some(stamp(expected)));
    }

    #[test]
    fn a_start_is_unknown_where_no_weekly_reset_is() {
        let five_hours = Window {
            minutes: 300,
            used_percent: Some(1.0),
            resets_at: Some(stamp("2026-04-21T15:55:00Z")),
        };
        let no_reset = Window { minutes: WEEK_MINUTES, resets_at: None, ..five_hours };
        for windows in [vec![], vec![five_hours], vec![no_reset]] {
            let at = stamp("2026-04-21T15:00:00Z");
            assert_eq!(Reading::new(key(), Source::Rollout, at, windows).session_start_at(), None);
        }
        let epoch =
            Reading::manual(key(), stamp("1970-01-01T00:00:00Z"), stamp("1970-01-02T00:00:00Z"));
        assert_eq!(epoch.session_start_at(), None, "before 1970");
    }

    #[test]
    fn a_legacy_reading_lasts_seven_days_from_its_start() {
        let reading = Reading::legacy(
            key(),
            stamp("2026-04-14T17:55:00+02:00"),
            stamp("2026-04-14T15:55:00+02:00"),
            Some(Validation::Ok),
        );
        assert_eq!(reading.observed_at, stamp("2026-04-14T17:55:00+02:00"));
        assert_eq!(reading.session_start_at(), Some(stamp("2026-04-14T15:55:00+02:00")));
        assert_eq!(
            weekly(&reading.windows).unwrap().resets_at,
            Some(stamp("2026-04-21T15:55:00+02:00"))
        );
    }

    #[test]
    fn an_odd_label_costs_itself_and_an_odd_time_the_reading() {
        let mut value =
            serde_json::to_value(Reading::estimate(key(), stamp("2026-04-14T17:55:00+02:00")))
                .unwrap();
        value["email"] = "not an address".into();
        value["plan"] = 7.into();
        value["limit_reached"] = serde_json::Value::Null;
        let reading: Reading = serde_json::from_value(value.clone()).unwrap();
        assert_eq!((reading.email, reading.plan, reading.limit_reached), (None, None, None));
        value["observed_at"] = "yesterday".into();
        assert!(serde_json::from_value::<Reading>(value).is_err());
    }

    #[test]
    fn what_is_known_beside_the_windows_is_kept_and_an_odd_part_of_it_costs_itself() {
        let at = stamp("2026-04-14T17:55:00+02:00");
        let plain = Reading::new(key(), Source::AppServer, at, Vec::new());
        let model = OtherLimit {
            id: "codex_x".to_owned(),
            name: Some("X".to_owned()),
            windows: vec![week_until(at.instant())],
            limit_reached: None,
        };
        let credits = Credits { unlimited: false, balance: Some("12.50".to_owned()) };
        let rich = Reading { credits: Some(credits), limits: vec![model], ..plain.clone() };
        let mut value = serde_json::to_value(&rich).unwrap();
        assert_eq!(serde_json::from_value::<Reading>(value.clone()).unwrap(), rich);
        value["limits"].as_array_mut().unwrap().push(serde_json::json!({"name": "without an id"}));
        assert_eq!(serde_json::from_value::<Reading>(value.clone()).unwrap(), rich);
        value["limits"] = "many".into();
        value["credits"] = "some".into();
        assert_eq!(serde_json::from_value::<Reading>(value).unwrap(), plain);
        let line = serde_json::to_string(&plain).unwrap();
        assert!(!line.contains("credits") && !line.contains("limits"), "{line}");
    }

    #[test]
    fn a_source_has_one_spelling_and_a_rank_of_its_own() {
        let all = [
            Source::AppServer,
            Source::Rollout,
            Source::StatusText,
            Source::Legacy,
            Source::Manual,
            Source::Estimate,
        ];
        for (rank, source) in (0..).zip(all) {
            assert_eq!(serde_json::to_value(source).unwrap(), source.to_string());
            assert_eq!(source.rank(), rank);
        }
    }
}
