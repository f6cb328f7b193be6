//! Which request gets which answer?
//!
//! A function from what the backend knows to an [`Answer`]. What is not listed here is answered 404,
//! which Codex takes well: plugins, connectors and analytics stay away, and a turn works.

use serde_json::{Value, json};

use super::account::{Person, Quota};
use super::ledger::Ledger;
use super::wire::{Answer, Body, Request};

/// An answer, and the account it was given to.
pub(crate) struct Routed {
    pub(crate) answer: Answer,
    pub(crate) account: Option<&'static str>,
}

/// Answers `request` at `now`; `origin` is where the backend tells Codex to find it.
pub(crate) fn route(request: &Request, ledger: &mut Ledger, origin: &str, now: i64) -> Routed {
    match (request.method.as_str(), last_parts(&request.path).as_slice()) {
        ("POST", ["oauth", "token"]) => token(request, ledger, now),
        ("POST", ["oauth", "revoke"]) => {
            ledger.revoke(request.json()["token"].as_str().unwrap_or_default());
            Routed { answer: Answer::json(200, json!({})), account: None }
        }
        // The WebSocket is declined; Codex goes on over plain requests.
        ("GET", [_, "responses"]) => {
            Routed { answer: Answer::error(426, "upgrade_declined"), account: None }
        }
        ("POST", [_, "responses"])
        | ("GET", [_, "models" | "usage" | "rate-limit-reset-credits"])
        | ("GET", ["accounts", "check"] | ["config", "bundle" | "requirements"]) => {
            signed_in(request, ledger, origin, now)
        }
        _ => Routed { answer: Answer::error(404, "not_found"), account: None },
    }
}

/// The last two parts of a path, which say what is asked whatever the base is.
fn last_parts(path: &str) -> Vec<&str> {
    let mut parts: Vec<_> = path.rsplit('/').take(2).collect();
    parts.reverse();
    parts
}

/// Exchanges a refresh token, once.
fn token(request: &Request, ledger: &mut Ledger, now: i64) -> Routed {
    let body = request.json();
    match ledger.refresh(body["refresh_token"].as_str().unwrap_or_default(), now) {
        Ok((person, tokens)) => {
            let body = json!({
                "id_token": tokens.id,
                "access_token": tokens.access,
                "refresh_token": tokens.refresh,
                "token_type": "Bearer",
                "expires_in": 10 * 86_400,
            });
            Routed { answer: Answer::json(200, body), account: Some(person.account) }
        }
        Err(refusal) => Routed { answer: Answer::error(401, refusal.code()), account: None },
    }
}

/// What only somebody with a good token is told. The workspace header has to fit the token: a
/// login mixed from two accounts is nobody's.
fn signed_in(request: &Request, ledger: &mut Ledger, origin: &str, now: i64) -> Routed {
    let person = request.bearer().and_then(|token| ledger.bearer(token, now));
    let workspace = request.header("chatgpt-account-id");
    let person = match person {
        Some(person) if workspace.is_none_or(|account| account == person.account) => person,
        _ => return Routed { answer: Answer::error(401, "token_expired"), account: None },
    };
    let quota = ledger.quota(&person, now);
    let answer = match last_parts(&request.path).as_slice() {
        [_, "responses"] => turn(request, &person, &quota, now),
        [_, "models"] => Answer::json(200, json!({ "models": [model()] })),
        [_, "check"] => Answer::json(200, workspaces(&person, origin)),
        [_, "usage"] => Answer::json(200, quota.usage(&person, now)),
        [_, "rate-limit-reset-credits"] => {
            Answer::json(200, json!({ "credits": [], "available_count": 0 }))
        }
        // What a workspace demands of its members: nothing.
        [_, "bundle"] => Answer::json(200, json!({})),
        _ => Answer::json(200, json!({ "contents": null })),
    };
    Routed { answer, account: Some(person.account) }
}

/// One turn: a short message and the headers of the quota, or 429 where nothing is left.
fn turn(request: &Request, person: &Person, quota: &Quota, now: i64) -> Answer {
    let headers = quota.headers(person.plan);
    if let Some(window) = quota.exhausted() {
        let error = json!({
            "type": "usage_limit_reached",
            "message": "nothing left, says the mock",
            "plan_type": person.plan,
            "resets_at": window.resets_at,
            "resets_in_seconds": (window.resets_at - now).max(0),
        });
        return Answer { status: 429, headers, body: Body::Json(json!({ "error": error })) };
    }
    let text = reply(person, request.texts().last().map_or("", String::as_str));
    let message = |content: Value| json!({ "type": "message", "role": "assistant", "id": "msg_lab", "content": content });
    let whole = message(json!([{ "type": "output_text", "text": text }]));
    let usage = json!({
        "input_tokens": 100,
        "input_tokens_details": { "cached_tokens": 0 },
        "output_tokens": 10,
        "output_tokens_details": { "reasoning_tokens": 0 },
        "total_tokens": 110,
    });
    let events = vec![
        json!({ "type": "response.created", "response": { "id": "resp_lab" } }),
        json!({ "type": "response.output_item.added", "output_index": 0,
                "item": message(json!([])) }),
        json!({ "type": "response.output_text.delta", "item_id": "msg_lab",
                "output_index": 0, "content_index": 0, "delta": text }),
        json!({ "type": "response.output_item.done", "output_index": 0, "item": whole }),
        json!({ "type": "response.completed", "response": { "id": "resp_lab", "usage": usage } }),
    ];
    Answer { status: 200, headers, body: Body::Events(events) }
}

/// What the model answers: it names the account and repeats the question, so that both are seen.
pub(crate) fn reply(person: &Person, prompt: &str) -> String {
    format!("{} hears: {prompt}", person.email)
}

/// The one workspace of an account; Codex asks where it lives before it takes a turn.
fn workspaces(person: &Person, origin: &str) -> Value {
    json!({
        "accounts": [{
            "id": person.account,
            "account_id": person.account,
            "plan_type": person.plan,
            "name": null,
            "profile_picture_url": null,
            "structure": "personal",
            "workspace_backend_origin": origin,
            "account_routing_override": "NO_CONSTRAINT",
        }],
        "account_ordering": [person.account],
        "default_account_id": person.account,
    })
}

/// A model that takes text and gives text.
fn model() -> Value {
    json!({
        "slug": "lab-model",
        "display_name": "Lab model",
        "description": "Repeats what it hears.",
        "visibility": "list",
        "supported_in_api": true,
        "priority": 1,
        "default_reasoning_level": "low",
        "supported_reasoning_levels": [{ "effort": "low", "description": "Hardly any" }],
        "supports_reasoning_summaries": false,
        "default_reasoning_summary": "none",
        "support_verbosity": false,
        "default_verbosity": null,
        "shell_type": "shell_command",
        "apply_patch_tool_type": null,
        "web_search_tool_type": "text",
        "experimental_supported_tools": [],
        "supports_parallel_tool_calls": false,
        "supports_search_tool": false,
        "supports_image_detail_original": false,
        "input_modalities": ["text"],
        "base_instructions": "Repeat what you hear.",
        "model_messages": null,
        "include_skills_usage_instructions": false,
        "context_window": 100_000,
        "max_context_window": 100_000,
        "auto_compact_token_limit": null,
        "effective_context_window_percent": 90,
        "truncation_policy": { "mode": "bytes", "limit": 10_000 },
        "minimal_client_version": "0.0.1",
        "prefer_websockets": false,
        "additional_speed_tiers": [],
        "service_tiers": [],
        "availability_nux": null,
        "upgrade": null,
    })
}
