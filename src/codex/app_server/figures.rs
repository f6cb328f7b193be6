//! What do the answers of `codex app-server` say?
//!
//! Read leniently: fields are added with every version, and an odd one costs itself. Error texts
//! are for people and change; which call failed and whether it was a 401 does not.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::account::{AccountKey, Email};
use crate::time::Stamp;
use crate::window::{Credits, OtherLimit, Window};

/// The limit that everything counts towards.
const GENERAL: &str = "codex";

/// How many limits beside the general one are kept.
const MANY: usize = 32;

/// A name of a limit, a plan or an id is cut there, in characters.
const LONG: usize = 120;

/// How far a reset may be from one window length after now, for a window that nobody has used:
/// its backend counts from the moment it is asked, and clocks differ.
const FRESH: TimeDelta = TimeDelta::minutes(2);

/// What Codex answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Who is signed in.
    pub who: Who,
    /// What is left.
    pub figures: Result<Figures, Trouble>,
}

/// Whom an answer is about, as far as it says.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Who {
    /// The address.
    pub email: Option<Email>,
    /// The user; said since 0.169.0.
    pub user_id: Option<String>,
    /// The workspace; said since 0.169.0.
    pub account_id: Option<String>,
    /// The workspace that the figures are of; said since 0.169.0.
    pub counted_id: Option<String>,
}

impl Who {
    /// Whether this is the account `key`, whose address is `email`; `None` if it does not say
    /// enough to tell.
    #[must_use]
    pub fn is(&self, key: &AccountKey, email: Option<&Email>) -> Option<bool> {
        let (user_id, account_id) = match key {
            AccountKey::ChatGpt { user_id, account_id } => (Some(user_id), Some(account_id)),
            AccountKey::ApiKey(_) | AccountKey::Email(_) => (None, None),
        };
        let names_workspace = self.account_id.is_some() || self.counted_id.is_some();
        let pairs = [
            same(self.user_id.as_ref(), user_id),
            same(self.account_id.as_ref(), account_id),
            same(self.counted_id.as_ref(), account_id),
            // The address of an account may have been changed since it signed in.
            same(self.email.as_ref(), email).filter(|_| !names_workspace),
        ];
        pairs.into_iter().flatten().reduce(|all, one| all && one)
    }
}

fn same<T: PartialEq>(one: Option<&T>, other: Option<&T>) -> Option<bool> {
    Some(one? == other?)
}

/// What is left to an account.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// The windows of the general limit.
    pub windows: Vec<Window>,
    /// Whether the backend says that it is reached; `None` if it does not say.
    pub limit_reached: Option<bool>,
    /// What may be used beyond it.
    pub credits: Option<Credits>,
    /// Other limits, by their ids.
    pub others: Vec<OtherLimit>,
    /// The plan as the backend calls it.
    pub plan: Option<String>,
}

/// Why Codex could not say what is left.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Trouble {
    /// Nobody is signed in there.
    #[error("Codex takes this for no login")]
    SignedOut,
    /// With an API key there are no windows.
    #[error("an API key has no quota windows")]
    ApiKey,
    /// The service does not take the access token.
    #[error("the service refused the access token (401)")]
    TokenRefused,
    /// The login could not be refreshed, because its refresh token works no more.
    #[error("the login could not be refreshed")]
    NotRefreshed,
    /// Nobody answered.
    #[error("the service could not be reached")]
    Unreachable,
    /// The service answered with this HTTP status.
    #[error("the service answered {0}")]
    Service(u16),
    /// This Codex knows no such question.
    #[error("this version of Codex does not tell its limits")]
    NotOffered,
    /// Something else, by the code of its error.
    #[error("Codex answered with error {0}")]
    Other(i64),
}

impl Trouble {
    /// The word for it in `--json`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::SignedOut => "signed-out",
            Self::ApiKey => "api-key",
            Self::TokenRefused => "token-refused",
            Self::NotRefreshed => "not-refreshed",
            Self::Unreachable => "unreachable",
            Self::Service(_) => "service-error",
            Self::NotOffered => "not-offered",
            Self::Other(_) => "other",
        }
    }
}

/// What `account/read` came to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Account {
    /// A ChatGPT account.
    ChatGpt { who: Who, plan: Option<String> },
    /// An API key.
    ApiKey,
    /// Nobody.
    Nobody,
    /// Newer versions need the network to tell, and it failed.
    Untold,
}

/// Reads the answer to `account/read`.
pub(super) fn account(message: &Value) -> Account {
    let Some(result) = message.get("result") else { return Account::Untold };
    let Some(account) = result.get("account") else { return Account::Untold };
    if account.is_null() {
        return Account::Nobody;
    }
    if account.get("type").and_then(Value::as_str) == Some("apiKey") {
        return Account::ApiKey;
    }
    let email = text(account, "email").and_then(|email| email.parse().ok());
    let routing = result.get("workspaceRouting").unwrap_or(&Value::Null);
    let who = Who {
        email,
        user_id: text(result, "userId"),
        account_id: text(routing, "chatgptAccountId"),
        counted_id: None,
    };
    Account::ChatGpt { who, plan: plan(account) }
}

/// Brings both answers together: that to `account/read` and that to `account/rateLimits/read`.
pub(super) fn answer(
    account: &Account,
    limits: &Value,
    is_refreshed: bool,
    now: DateTime<Utc>,
) -> Answer {
    let (mut who, plan) = match account {
        Account::ChatGpt { who, plan } => (who.clone(), plan.clone()),
        Account::ApiKey | Account::Nobody | Account::Untold => (Who::default(), None),
    };
    match limits.get("result") {
        Some(result) => {
            who.counted_id = text(result, "accountId");
            let told = figures(result, now);
            let figures = Figures { plan: told.plan.clone().or(plan), ..told };
            Answer { who, figures: Ok(figures) }
        }
        None => Answer { who, figures: Err(trouble(account, limits, is_refreshed)) },
    }
}

/// What went wrong, by what each of the two calls came to.
fn trouble(account: &Account, limits: &Value, is_refreshed: bool) -> Trouble {
    let error = limits.get("error").unwrap_or(&Value::Null);
    let code = error.get("code").and_then(Value::as_i64).unwrap_or_default();
    let says = error.get("message").and_then(Value::as_str).unwrap_or_default();
    let status = says
        .split_once(" failed: ")
        .and_then(|(_, rest)| rest.split(' ').next())
        .and_then(|status| status.parse::<u16>().ok());
    match (account, status, code) {
        (Account::ApiKey, _, _) => Trouble::ApiKey,
        (_, Some(401), _) if is_refreshed => Trouble::NotRefreshed,
        (_, Some(401), _) => Trouble::TokenRefused,
        (_, Some(status), _) => Trouble::Service(status),
        (_, None, -32601) => Trouble::NotOffered,
        (Account::Nobody, None, _) => Trouble::SignedOut,
        (_, None, -32600) => Trouble::NotOffered,
        _ if says.contains("error sending request") => Trouble::Unreachable,
        _ => Trouble::Other(code),
    }
}

/// Reads the result of `account/rateLimits/read`.
fn figures(result: &Value, now: DateTime<Utc>) -> Figures {
    let unnamed = result.get("rateLimits").filter(|limit| limit.is_object());
    let id_of = |limit: &Value| text(limit, "limitId").unwrap_or_else(|| GENERAL.to_owned());
    let mut all: BTreeMap<String, &Value> = BTreeMap::new();
    all.extend(unnamed.map(|limit| (id_of(limit), limit)));
    let named = result.get("rateLimitsByLimitId").and_then(Value::as_object);
    for (id, limit) in named.into_iter().flatten().filter(|(_, limit)| limit.is_object()) {
        all.insert(cut(id), limit);
    }
    let general = all.remove(GENERAL);
    let mut others: Vec<OtherLimit> =
        all.into_iter().take(MANY).map(|(id, limit)| other(id, limit, now)).collect();
    let Some(general) = general else { return Figures { others, ..Figures::default() } };
    others.extend(individual(general));
    let allowed = result.get("ordinaryUsageAllowed").and_then(Value::as_bool);
    Figures {
        windows: windows(general, now),
        limit_reached: match (reached(general), allowed) {
            (Some(reached), _) => Some(reached),
            (None, allowed) => allowed.map(|allowed| !allowed),
        },
        credits: credits(general),
        others,
        plan: plan(general),
    }
}

fn other(id: String, limit: &Value, now: DateTime<Utc>) -> OtherLimit {
    OtherLimit {
        id,
        name: text(limit, "limitName"),
        windows: windows(limit, now),
        limit_reached: reached(limit),
    }
}

/// What a member of a workspace may spend, which is a limit without a length.
fn individual(limit: &Value) -> Option<OtherLimit> {
    let limit = limit.get("individualLimit").filter(|limit| limit.is_object())?;
    let left = limit.get("remainingPercent").and_then(Value::as_f64);
    let used_percent = left.filter(|left| (0.0..=100.0).contains(left)).map(|left| 100.0 - left);
    Some(OtherLimit {
        id: "individual".to_owned(),
        name: Some("your own share".to_owned()),
        windows: vec![Window { minutes: 0, used_percent, resets_at: reset(limit) }],
        limit_reached: None,
    })
}

/// Whether a limit is reached, where the backend says so in as many words.
fn reached(limit: &Value) -> Option<bool> {
    let kind = text(limit, "rateLimitReachedType");
    let spent = limit.get("spendControlReached").and_then(Value::as_bool);
    (kind.is_some() || spent == Some(true)).then_some(true)
}

fn windows(limit: &Value, now: DateTime<Utc>) -> Vec<Window> {
    let slots = ["primary", "secondary"].into_iter().filter_map(|slot| limit.get(slot));
    slots.filter(|slot| slot.is_object()).map(|slot| window(slot, now)).collect()
}

fn window(slot: &Value, now: DateTime<Utc>) -> Window {
    let minutes = slot.get("windowDurationMins").and_then(Value::as_u64);
    let minutes = minutes.and_then(|minutes| u32::try_from(minutes).ok()).unwrap_or_default();
    let used = slot.get("usedPercent").and_then(Value::as_f64);
    let used_percent = used.filter(|used| (0.0..=10_000.0).contains(used));
    // A window that nobody has used begins with its first use: its reset is as far away at every
    // look, so it is none.
    let begins_now = now + TimeDelta::minutes(minutes.into());
    let is_unused = |at: &Stamp| {
        used_percent == Some(0.0) && minutes != 0 && (at.instant() - begins_now).abs() <= FRESH
    };
    Window { minutes, used_percent, resets_at: reset(slot).filter(|at| !is_unused(at)) }
}

fn reset(slot: &Value) -> Option<Stamp> {
    slot.get("resetsAt").and_then(Value::as_i64).filter(|at| 0 < *at).and_then(Stamp::from_epoch)
}

fn credits(limit: &Value) -> Option<Credits> {
    let credits = limit.get("credits")?;
    let is = |name: &str| credits.get(name).and_then(Value::as_bool).unwrap_or_default();
    let is_decimal = |text: &String| {
        text.chars().all(|c| c.is_ascii_digit() || c == '.') && text.parse::<f64>().is_ok()
    };
    let found = Credits {
        unlimited: is("unlimited"),
        balance: text(credits, "balance").filter(is_decimal),
    };
    (found.unlimited || is("hasCredits")).then_some(found)
}

/// The plan; "unknown" is what Codex says for one it has not heard of.
fn plan(of: &Value) -> Option<String> {
    text(of, "planType").filter(|plan| plan != "unknown")
}

/// A text that is not empty, cut where it gets long.
fn text(of: &Value, name: &str) -> Option<String> {
    of.get(name)?.as_str().filter(|text| !text.is_empty()).map(cut)
}

fn cut(text: impl AsRef<str>) -> String {
    text.as_ref().chars().take(LONG).collect()
}
