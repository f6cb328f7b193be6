//! Whom does the backend know, and what does it say about their quota?
//!
//! Plain data and its texts: people, windows, tokens, headers, the usage answer. Which token is
//! still good is `ledger`'s business, which request gets which answer is `route`'s.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// The claim under which ChatGPT's tokens carry user, account and plan.
const AUTH_CLAIM: &str = "https://api.openai.com/auth";

/// Minutes of the short window.
pub(crate) const FIVE_HOURS: i64 = 300;
/// Minutes of the weekly window.
pub(crate) const WEEK: i64 = 10_080;

/// Somebody who may sign in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Person {
    /// The `chatgpt-account-id` of their workspace.
    pub(crate) account: &'static str,
    /// The `chatgpt_user_id` of their tokens.
    pub(crate) user: &'static str,
    /// The address they sign in with.
    pub(crate) email: &'static str,
    /// The plan, as the service spells it.
    pub(crate) plan: &'static str,
}

/// The account every lab starts with.
pub(crate) const ADA: Person =
    Person { account: "acct-ada", user: "user-ada", email: "ada@example.com", plan: "plus" };

/// A second account, of another user.
pub(crate) const BOB: Person =
    Person { account: "acct-bob", user: "user-bob", email: "bob@example.com", plan: "pro" };

/// One window of a quota.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Window {
    /// How much is used, in percent; at 100 the account is exhausted.
    pub(crate) used_percent: f64,
    /// Its length in minutes, which is what tells windows apart.
    pub(crate) minutes: i64,
    /// When it is full again, in seconds since the epoch.
    pub(crate) resets_at: i64,
}

/// What an account has left. Which window is called primary says nothing about its length.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Quota {
    pub(crate) primary: Option<Window>,
    pub(crate) secondary: Option<Window>,
}

impl Quota {
    /// A five-hour window at 12.5 % and a weekly one at 34 %, both running at `now`.
    pub(crate) fn ordinary(now: i64) -> Quota {
        Quota {
            primary: Some(Window {
                used_percent: 12.5,
                minutes: FIVE_HOURS,
                resets_at: now + 2 * 3600,
            }),
            secondary: Some(Window {
                used_percent: 34.0,
                minutes: WEEK,
                resets_at: now + 3 * 86_400,
            }),
        }
    }

    /// The window that keeps the account from working: of several, the one that ends last.
    pub(crate) fn exhausted(&self) -> Option<Window> {
        let both = [self.primary, self.secondary];
        let full = both.into_iter().flatten().filter(|window| window.used_percent >= 100.0);
        full.max_by_key(|window| window.resets_at)
    }

    /// The `x-codex-*` headers that every answer to a turn carries.
    pub(crate) fn headers(&self, plan: &str) -> Vec<(String, String)> {
        let mut headers = vec![("x-codex-plan-type".to_owned(), plan.to_owned())];
        for (slot, window) in [("primary", self.primary), ("secondary", self.secondary)] {
            let Some(window) = window else { continue };
            let mut add = |what: &str, value: String| {
                headers.push((format!("x-codex-{slot}-{what}"), value));
            };
            add("used-percent", window.used_percent.to_string());
            add("window-minutes", window.minutes.to_string());
            add("reset-at", window.resets_at.to_string());
        }
        headers
    }

    /// The answer of the usage endpoint; percentages are whole there, lengths are seconds.
    pub(crate) fn usage(&self, person: &Person, now: i64) -> Value {
        let window = |window: Option<Window>| {
            window.map(|window| {
                json!({
                    "used_percent": format!("{:.0}", window.used_percent).parse::<i64>().unwrap(),
                    "limit_window_seconds": window.minutes * 60,
                    "reset_after_seconds": (window.resets_at - now).max(0),
                    "reset_at": window.resets_at,
                })
            })
        };
        let reached = self.exhausted().is_some();
        json!({
            "user_id": person.user,
            "account_id": person.account,
            "email": person.email,
            "plan_type": person.plan,
            "rate_limit": {
                "allowed": !reached,
                "limit_reached": reached,
                "primary_window": window(self.primary),
                "secondary_window": window(self.secondary),
            },
            "credits": { "has_credits": false, "unlimited": false, "balance": null },
        })
    }
}

/// Three tokens that belong together, as one sign-in or one refresh hands them out.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    pub(crate) id: String,
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl Tokens {
    /// Makes the `serial`-th tokens of the backend; Codex reads their claims and verifies nothing.
    pub(crate) fn mint(person: &Person, serial: u64, now: i64, expires_at: i64) -> Tokens {
        let claims = |audience: &str, expires_at: i64| {
            json!({
                "iss": "https://auth.example.com",
                "aud": [audience],
                "sub": person.user,
                "jti": format!("{}-{serial}", person.account),
                "iat": now,
                "exp": expires_at,
                "email": person.email,
                "email_verified": true,
                AUTH_CLAIM: {
                    "chatgpt_account_id": person.account,
                    "chatgpt_user_id": person.user,
                    "chatgpt_plan_type": person.plan,
                    "user_id": person.user,
                },
            })
        };
        Tokens {
            id: jwt(&claims("lab-client", now + 3600)),
            access: jwt(&claims("https://api.example.com", expires_at)),
            refresh: format!("made-up-refresh-{}-{serial}", person.account),
        }
    }

    /// The text of an `auth.json` that holds these tokens.
    pub(crate) fn auth_json(&self, person: &Person, now: i64) -> String {
        let last_refresh = chrono::DateTime::from_timestamp(now, 0).unwrap();
        let auth = json!({
            "auth_mode": "chatgpt",
            "OPENAI_API_KEY": null,
            "tokens": {
                "id_token": self.id,
                "access_token": self.access,
                "refresh_token": self.refresh,
                "account_id": person.account,
            },
            "last_refresh": last_refresh.to_rfc3339_opts(chrono::SecondsFormat::Nanos, true),
        });
        serde_json::to_string_pretty(&auth).unwrap()
    }
}

/// A token with these claims and a signature that signs nothing.
fn jwt(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = json!({ "alg": "RS256", "typ": "JWT", "kid": "lab" });
    format!("{}.{}.{}", part(&head), part(claims), URL_SAFE_NO_PAD.encode("not a signature"))
}
