//! Who are the people in these tests, and what does Codex write about them?
//!
//! All is made up; every token holds the canary. Times are seconds before now, because the program
//! runs by the system's clock: far enough that nothing changes its meaning during a sweep.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::ground::CANARY;

/// An `auth.json`.
pub(crate) struct Login {
    who: String,
    at: DateTime<Utc>,
}

impl Login {
    /// Somebody's login that was refreshed so many seconds ago.
    pub(crate) fn of(who: &str, ago: i64) -> Self {
        Self { who: who.to_owned(), at: before_now(ago) }
    }

    /// As Codex writes it.
    pub(crate) fn bytes(&self) -> String {
        let (who, at) = (&self.who, self.at.timestamp());
        let auth = json!({
            "chatgpt_user_id": format!("user-{who}"),
            "chatgpt_account_id": format!("acct-{who}"),
            "chatgpt_plan_type": "plus",
        });
        let id = json!({
            "email": format!("{who}@example.com"), "iat": at, "exp": at + 3_600,
            "https://api.openai.com/auth": auth,
        });
        let access = json!({
            "iat": at, "exp": at + 864_000, "https://api.openai.com/auth": auth,
        });
        let file = json!({
            "auth_mode": "chatgpt",
            "OPENAI_API_KEY": null,
            "tokens": {
                "id_token": jwt(&id),
                "access_token": jwt(&access),
                "refresh_token": format!("rt_{who}_{at}.{CANARY}"),
                "account_id": format!("acct-{who}"),
            },
            "last_refresh": self.at.to_rfc3339(),
        });
        format!("{file:#}")
    }
}

/// A session file of somebody's that ended so many seconds ago: its path below `sessions/`, and
/// its lines. The week resets three days from now.
pub(crate) fn rollout(who: &str, number: u32, ago: i64) -> (String, String) {
    let (began, ended) = (before_now(ago + 600), before_now(ago));
    let id = format!("019aa000-0000-7000-8000-{number:012x}");
    let stamp = |at: DateTime<Utc>| at.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
    let resets = |seconds: i64| ended.timestamp() + seconds;
    let lines = [
        json!({"timestamp": stamp(began), "type": "session_meta", "payload": {
            "id": id, "timestamp": stamp(began), "cwd": "/home/user/project",
            "originator": "codex_cli_rs", "cli_version": "0.169.0",
            "creator_user_id": format!("user-{who}"), "creator_account_id": format!("acct-{who}"),
        }}),
        json!({"timestamp": stamp(ended), "type": "event_msg", "payload": {
            "type": "token_count", "info": null, "rate_limits": {
                "limit_id": "codex",
                "primary": {"used_percent": 12.0, "window_minutes": 300, "resets_at": resets(36_000)},
                "secondary": {"used_percent": 40.0, "window_minutes": 10_080, "resets_at": resets(259_200)},
                "plan_type": "plus",
            },
        }}),
    ];
    let name = began.format("%Y/%m/%d/rollout-%Y-%m-%dT%H-%M-%S");
    (format!("{name}-{id}.jsonl"), lines.iter().map(|line| format!("{line}\n")).collect())
}

/// The text of `/status`, with a week that resets in three days.
pub(crate) fn status_text(who: &str) -> String {
    let resets = before_now(-259_200).format("%H:%M on %-d %b");
    format!(
        "  Account: {who}@example.com (Plus)\n  Weekly limit: [####] 61% left (resets {resets})\n"
    )
}

/// An instant so many seconds ago.
pub(crate) fn seconds(ago: i64) -> SystemTime {
    let seconds = u64::try_from(before_now(ago).timestamp()).expect("it is after 1970");
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn before_now(ago: i64) -> DateTime<Utc> {
    let now = Utc::now().timestamp();
    DateTime::from_timestamp(now - ago, 0).expect("it is a time")
}

fn jwt(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{CANARY}", part(&json!({"alg": "none"})), part(claims))
}
