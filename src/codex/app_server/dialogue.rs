//! What is said to `codex app-server`, and when is everything answered?
//!
//! Pure: lines come in, lines go out. The questions have the ids 0 to 2; whatever comes in
//! between, out of order or out of place is passed over.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::Refresh;
use super::figures::{self, Account, Answer};

/// The questions, by their ids.
const INITIALIZE: u64 = 0;
const ACCOUNT: u64 = 1;
const LIMITS: u64 = 2;

/// The first version that takes a parameter with the question for the limits: it then leaves out
/// what would cost a request more.
const BRIEF_SINCE: (u64, u64, u64) = (0, 169, 0);

/// How a question is answered whose parameters do not fit: by the book, and by Codex.
const INVALID_PARAMS: i64 = -32602;
const INVALID_REQUEST: &str = "Invalid request";

/// How many questions of Codex are answered at all, and how long the id of one may be, in bytes.
/// Whoever asks may not be listening: what we say has to fit into a pipe that nobody reads, or we
/// would wait for ever.
const DECLINED: usize = 16;
const LONGEST_ID: usize = 64;

/// One conversation.
#[derive(Debug)]
pub struct Dialogue {
    home: PathBuf,
    refresh: Refresh,
    now: DateTime<Utc>,
    phase: Phase,
    account: Option<Account>,
    limits: Option<Value>,
    /// Whether the question for the limits has its parameter.
    is_brief: bool,
    /// How many questions of Codex were answered.
    declined: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// It has not said hello yet.
    Opening,
    /// It is to refresh the login.
    Refreshing,
    /// It is asked.
    Asking,
    /// It is at work in another home.
    Elsewhere,
}

impl Dialogue {
    /// A conversation with a Codex that is to work in `home`, at `now`.
    #[must_use]
    pub fn new(home: &Path, refresh: Refresh, now: DateTime<Utc>) -> Self {
        Self {
            home: home.to_owned(),
            refresh,
            now,
            phase: Phase::Opening,
            account: None,
            limits: None,
            is_brief: false,
            declined: 0,
        }
    }

    /// What is said first.
    #[must_use]
    pub fn opening(&self) -> String {
        let version = env!("CARGO_PKG_VERSION");
        let client =
            json!({ "name": "codex_manager", "title": "codex-manager", "version": version });
        request(INITIALIZE, "initialize", Some(json!({ "clientInfo": client })))
    }

    /// Takes what was heard; what to say then, in order.
    #[must_use]
    pub fn hear(&mut self, line: &[u8]) -> Vec<String> {
        let Ok(message) = serde_json::from_slice::<Value>(line) else { return Vec::new() };
        if message.get("method").is_some() {
            let reply = message.get("id").and_then(decline).filter(|_| self.declined < DECLINED);
            self.declined += usize::from(reply.is_some());
            return reply.into_iter().collect();
        }
        match (self.phase, message.get("id").and_then(Value::as_u64)) {
            (Phase::Opening, Some(INITIALIZE)) => self.greeted(&message),
            (Phase::Refreshing, Some(ACCOUNT)) => {
                self.account = Some(figures::account(&message));
                self.phase = Phase::Asking;
                vec![self.ask_limits()]
            }
            (Phase::Asking, Some(ACCOUNT)) => {
                self.account.get_or_insert_with(|| figures::account(&message));
                Vec::new()
            }
            (Phase::Asking, Some(LIMITS)) if self.is_brief && is_refused(&message) => {
                self.is_brief = false;
                vec![self.ask_limits()]
            }
            (Phase::Asking, Some(LIMITS)) => {
                self.limits.get_or_insert(message);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// It said hello: now it is asked.
    fn greeted(&mut self, message: &Value) -> Vec<String> {
        let result = message.get("result").unwrap_or(&Value::Null);
        let home = result.get("codexHome").and_then(Value::as_str).map(Path::new);
        if home.is_some_and(|home| home != self.home) {
            self.phase = Phase::Elsewhere;
            return Vec::new();
        }
        let agent = result.get("userAgent").and_then(Value::as_str).unwrap_or_default();
        self.is_brief = version(agent).is_some_and(|version| BRIEF_SINCE <= version);
        let ready = json!({ "method": "initialized" }).to_string();
        let refresh = self.refresh == Refresh::First;
        let account = request(ACCOUNT, "account/read", Some(json!({ "refreshToken": refresh })));
        if refresh {
            // What is left is asked of the login that there is afterwards.
            self.phase = Phase::Refreshing;
            return vec![ready, account];
        }
        self.phase = Phase::Asking;
        vec![ready, account, self.ask_limits()]
    }

    fn ask_limits(&self) -> String {
        let params = self.is_brief.then(|| json!({ "excludeResetCreditDetails": true }));
        request(LIMITS, "account/rateLimits/read", params)
    }

    /// Whether it may be about to replace the login right now.
    #[must_use]
    pub fn is_refreshing(&self) -> bool {
        self.phase == Phase::Refreshing
    }

    /// Whether it is at work in another home.
    #[must_use]
    pub fn is_elsewhere(&self) -> bool {
        self.phase == Phase::Elsewhere
    }

    /// Whether everything is answered.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.account.is_some() && self.limits.is_some()
    }

    /// What was answered; `None` as long as something is not.
    #[must_use]
    pub fn answer(self) -> Option<Answer> {
        let is_refreshed = self.refresh == Refresh::First;
        Some(figures::answer(&self.account?, &self.limits?, is_refreshed, self.now))
    }
}

fn request(id: u64, method: &str, params: Option<Value>) -> String {
    let mut message = json!({ "id": id, "method": method });
    if let (Some(params), Some(message)) = (params, message.as_object_mut()) {
        message.insert("params".to_owned(), params);
    }
    message.to_string()
}

/// The answer to a question that we cannot answer; none if its id is no id.
fn decline(id: &Value) -> Option<String> {
    let is_short = |id: &str| id.len() <= LONGEST_ID;
    if !id.is_number() && !id.as_str().is_some_and(is_short) {
        return None;
    }
    let error = json!({ "code": -32601, "message": "that is not offered here" });
    Some(json!({ "id": id, "error": error }).to_string())
}

fn is_refused(message: &Value) -> bool {
    let Some(error) = message.get("error") else { return false };
    let says = error.get("message").and_then(Value::as_str).unwrap_or_default();
    error.get("code").and_then(Value::as_i64) == Some(INVALID_PARAMS)
        || says.starts_with(INVALID_REQUEST)
}

/// The version in `codex_manager/0.169.0 (Debian 12.0.0; x86_64) …`; that of a pre-release too.
fn version(agent: &str) -> Option<(u64, u64, u64)> {
    let version = agent.split_once('/')?.1.split([' ', '-']).next()?;
    let mut parts = version.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??, parts.next()??))
}
