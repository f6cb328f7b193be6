//! What does one line of a session file say?

use chrono::{DateTime, TimeDelta};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::memory::Start;
use crate::account::AccountKey;
use crate::time::Stamp;
use crate::window::Window;

/// What the first line of a rollout says.
pub(super) struct Meta {
    at: Stamp,
    user_id: Option<String>,
    account_id: Option<String>,
    cli_version: Option<String>,
}

impl Meta {
    fn creator(&self) -> Option<AccountKey> {
        // The key's own parser decides which ids can be one.
        let (user, account) = (self.user_id.as_deref()?, self.account_id.as_deref()?);
        format!("chatgpt:{user}/{account}").parse().ok()
    }

    pub(super) fn start(self) -> Start {
        Start { at: self.at, creator: self.creator(), cli_version: self.cli_version }
    }
}

pub(super) fn meta(line: &[u8]) -> Option<Meta> {
    let line: Value = serde_json::from_slice(line).ok()?;
    if line.get("type")?.as_str()? != "session_meta" {
        return None;
    }
    let payload = line.get("payload")?;
    let text = |name: &str| payload.get(name).and_then(Value::as_str).map(str::to_owned);
    let stamp = |value: &Value| value.as_str()?.parse().ok();
    Some(Meta {
        at: payload
            .get("timestamp")
            .and_then(stamp)
            .or_else(|| line.get("timestamp").and_then(stamp))?,
        user_id: text("creator_user_id"),
        account_id: text("creator_account_id"),
        cli_version: text("cli_version"),
    })
}

/// The limits as one `token_count` event about the general limit told them.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(from = "Packed", into = "Packed")]
pub struct Event {
    /// The time of the event.
    pub observed_at: Stamp,
    /// The windows of the general limit, those of other limits never. A window without a length
    /// has 0 minutes.
    pub windows: Vec<Window>,
    /// `Some(true)` if the backend gave a reason why a limit is reached; otherwise it did not say.
    pub limit_reached: Option<bool>,
    /// The plan, if the event has it; it rarely does.
    pub plan: Option<String>,
}

impl Event {
    /// Whether a limit is reached.
    #[must_use]
    pub fn is_used_up(&self) -> bool {
        self.limit_reached == Some(true) || self.windows.iter().any(Window::is_used_up)
    }
}

/// An event in memory, where there are thousands: times in seconds since 1970.
#[derive(Deserialize, Serialize)]
struct Packed(i64, Vec<(u32, Option<f64>, Option<i64>)>, Option<bool>, Option<String>);

impl From<Event> for Packed {
    fn from(event: Event) -> Self {
        let seconds = |at: Stamp| at.instant().timestamp();
        let windows = event.windows.iter();
        let windows = windows.map(|w| (w.minutes, w.used_percent, w.resets_at.map(seconds)));
        Self(seconds(event.observed_at), windows.collect(), event.limit_reached, event.plan)
    }
}

impl From<Packed> for Event {
    fn from(Packed(at, windows, limit_reached, plan): Packed) -> Self {
        let windows = windows.into_iter().map(|(minutes, used_percent, resets_at)| Window {
            minutes,
            used_percent,
            resets_at: resets_at.and_then(Stamp::from_epoch),
        });
        // Only what `Stamp` once held was written.
        let observed_at = Stamp::from_epoch(at).unwrap_or_else(|| DateTime::UNIX_EPOCH.into());
        Self { observed_at, windows: windows.collect(), limit_reached, plan }
    }
}

/// The parts of a line that matter here; serde passes over the rest without keeping it.
#[derive(Deserialize)]
pub(super) struct Line {
    pub(super) timestamp: Stamp,
    #[serde(default)]
    payload: Option<Payload>,
}

#[derive(Deserialize)]
struct Payload {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    rate_limits: Option<Value>,
}

impl Line {
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    pub(super) fn event(self) -> Option<Event> {
        let payload = self.payload.filter(|p| p.kind.as_deref() == Some("token_count"))?;
        let limits = payload.rate_limits?;
        let text = |name: &str| limits.get(name).and_then(Value::as_str);
        // Other limits (of a special model) have ids of their own and their own figures.
        let is_general = match limits.get("limit_id") {
            None | Some(Value::Null) => true,
            Some(id) => id.as_str() == Some("codex"),
        };
        let windows: Vec<Window> = ["primary", "secondary"]
            .iter()
            .filter_map(|slot| window(limits.get(slot)?, self.timestamp))
            .collect();
        let limit_reached = text("rate_limit_reached_type").map(|_| true);
        let says_something = !windows.is_empty() || limit_reached.is_some();
        (is_general && says_something).then(|| Event {
            observed_at: self.timestamp,
            windows,
            limit_reached,
            plan: text("plan_type").map(str::to_owned),
        })
    }
}

fn window(slot: &Value, at: Stamp) -> Option<Window> {
    let used_percent = slot.get("used_percent").and_then(Value::as_f64);
    let resets_at = slot.get("resets_at").and_then(Value::as_i64).and_then(Stamp::from_epoch);
    // Very old rollouts tell the distance from the event instead.
    let resets_at = resets_at.or_else(|| {
        let distance = slot.get("resets_in_seconds")?.as_i64()?;
        let reset = at.instant().checked_add_signed(TimeDelta::try_seconds(distance)?)?;
        Stamp::from_epoch(reset.timestamp())
    });
    if used_percent.is_none() && resets_at.is_none() {
        return None;
    }
    let minutes = slot.get("window_minutes").and_then(Value::as_u64);
    let minutes = minutes.and_then(|minutes| u32::try_from(minutes).ok()).unwrap_or(0);
    Some(Window { minutes, used_percent, resets_at })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn limits(limits: &Value) -> String {
        let payload = json!({"type": "token_count", "info": null, "rate_limits": limits});
        let timestamp = "2026-04-21T12:00:00.487Z";
        json!({"timestamp": timestamp, "type": "event_msg", "payload": payload}).to_string()
    }

    fn week(used: f64) -> Value {
        json!({"used_percent": used, "window_minutes": 10_080, "resets_at": 1_777_000_000})
    }

    #[test]
    #[rustfmt::skip]
    fn only_the_general_limit_is_taken_and_windows_are_told_by_length() {
        event(&json!(null),                                                     None);
        event(&json!({}),                                                       None);
        event(&json!({"primary": null, "secondary": null}),                     None);
        event(&json!({"limit_id": "codex_other", "primary": week(9.0)}),        None);
        event(&json!({"limit_id": 7, "primary": week(9.0)}),                    None);
        event(&json!({"limit_id": null, "primary": week(9.0)}),                 Some("10080:9:2026-04-24T03:06:40+00:00"));
        event(&json!({"primary": week(9.25)}),                                  Some("10080:9.25:2026-04-24T03:06:40+00:00"));
        event(&json!({"primary": {"used_percent": 100, "window_minutes": 300, "resets_in_seconds": 60}}), Some("300:100:2026-04-21T12:01:00+00:00"));
        event(&json!({"primary": {"used_percent": 1.0, "window_minutes": null, "resets_at": null}}),      Some("0:1:-"));
        event(&json!({"primary": {"used_percent": "1", "resets_at": -5}}),      None);
        event(&json!({"primary": {"used_percent": 1.0, "window_minutes": -300, "resets_at": 9e300, "resets_in_seconds": i64::MAX}}), Some("0:1:-"));
        event(&json!({"rate_limit_reached_type": "rate_limit_reached"}),        Some("reached"));
        event(&json!({"rate_limit_reached_type": null, "primary": week(9.0), "plan_type": "plus"}), Some("10080:9:2026-04-24T03:06:40+00:00 plus"));
    }

    #[track_caller]
    fn event(rate_limits: &Value, expected: Option<&str>) {
        let found = Line::parse(limits(rate_limits).as_bytes()).unwrap().event();
        let found = found.map(|event| {
            let windows = event.windows.iter().map(|w| {
                let reset = w.resets_at.map_or("-".to_owned(), |at| at.to_string());
                format!("{}:{}:{reset}", w.minutes, w.used_percent.unwrap())
            });
            let reached = event.limit_reached.map(|_| "reached".to_owned());
            windows.chain(reached).chain(event.plan).collect::<Vec<_>>().join(" ")
        });
        assert_eq!(found.as_deref(), expected, "{rate_limits}");
    }

    proptest! {
        #[test]
        fn an_odd_line_is_no_event_and_no_panic(text in "\\PC{0,80}", value in any::<f64>()) {
            prop_assert!(Line::parse(text.as_bytes()).is_none());
            prop_assert!(meta(text.as_bytes()).is_none());
            let odd = json!({"used_percent": value, "resets_in_seconds": value, "window_minutes": value});
            window(&odd, Stamp::from_epoch(1_777_000_000).unwrap());
        }
    }
}
