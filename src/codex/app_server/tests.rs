use std::fs;

use serde_json::{Value, json};

use super::*;
use crate::account::AccountKey;
use crate::window::{Kind, Window};

/// A real conversation: what was said by whom, one after the other.
struct Transcript(Vec<(String, Value)>);

impl Transcript {
    fn read(name: &str) -> Self {
        let path = format!("{}/testdata/app-server/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
        let text = fs::read_to_string(path).unwrap();
        let lines = text.lines().skip(1).map(|line| serde_json::from_str::<Value>(line).unwrap());
        Self(
            lines
                .map(|line| (line["from"].as_str().unwrap().to_owned(), line["msg"].clone()))
                .collect(),
        )
    }

    /// What the client of the transcript said, but for what is our own choice.
    fn asked(&self) -> Vec<Value> {
        let said = self.0.iter().filter(|(from, _)| from == "client").map(|(_, msg)| msg.clone());
        said.map(plain).collect()
    }

    /// Has the conversation once more: what we say, and the answer.
    fn replay(&self, refresh: Refresh) -> (Vec<Value>, Option<Answer>) {
        let mut dialogue = dialogue(refresh);
        let mut said = vec![dialogue.opening()];
        for (_, message) in self.0.iter().filter(|(from, _)| from == "server") {
            said.extend(dialogue.hear(message.to_string().as_bytes()));
        }
        let said = said.iter().map(|line| plain(serde_json::from_str(line).unwrap())).collect();
        (said, dialogue.answer())
    }
}

/// A message without the version of its client and the parameter that only newer versions take.
fn plain(mut message: Value) -> Value {
    if message["method"] == "initialize" {
        message["params"]["clientInfo"]["version"] = Value::Null;
    }
    if message["method"] == "account/rateLimits/read" {
        message.as_object_mut().unwrap().remove("params");
    }
    message
}

fn dialogue(refresh: Refresh) -> Dialogue {
    let now = "2026-11-21T09:00:00Z".parse().unwrap();
    Dialogue::new(Path::new("/home/user/.codex"), refresh, now)
}

/// An answer in one line: whom it is about, then what is left or why nobody knows.
fn told(answer: &Answer) -> String {
    let who = &answer.who;
    let parts = [
        who.email.as_ref().map(ToString::to_string),
        who.user_id.clone(),
        who.account_id.clone().or(who.counted_id.clone()),
    ];
    let who = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
    let figures = match &answer.figures {
        Err(trouble) => return format!("{who}: {trouble}"),
        Ok(figures) => figures,
    };
    let windows = |windows: &[Window]| -> Vec<String> {
        let one = |window: &Window| {
            let name = match window.kind() {
                Kind::Other => window.minutes.to_string(),
                kind => kind.to_string(),
            };
            let used = window.used_percent.map_or("?".to_owned(), |used| used.to_string());
            let reset =
                window.resets_at.map_or("?".to_owned(), |at| at.instant().timestamp().to_string());
            format!("{name} {used} until {reset}")
        };
        windows.iter().map(one).collect()
    };
    let mut parts = windows(&figures.windows);
    parts.extend(
        figures.limit_reached.map(|reached| if reached { "reached" } else { "open" }.to_owned()),
    );
    parts.extend(figures.credits.as_ref().map(|credits| format!("credits {credits}")));
    for other in &figures.others {
        parts.push(format!("[{}: {}]", other.title(), windows(&other.windows).join(", ")));
    }
    parts.extend(figures.plan.clone());
    format!("{who}: {}", parts.join(", "))
}

#[test]
#[rustfmt::skip]
fn every_transcript_of_codex_says_what_it_says() {
    let old = "user@example.com";
    let new = "user@example.com user-aaaa acct-aaaa-0001";
    // Codex refreshes by itself if it can; here it could.
    check("0.118.0/access-token-expired-refresh-ok",       &format!("{old}: 5 h 12 until 1795263421, week 34 until 1795515421, plus"));
    check("0.169.0/access-token-expired-refresh-ok",       &format!("{new}: 5 h 12 until 1795263406, week 34 until 1795515406, open, plus"));
    check("0.118.0/access-token-valid-but-backend-401",    &format!("{old}: the service refused the access token (401)"));
    check("0.169.0/access-token-valid-but-backend-401",    &format!("{new}: 5 h 12 until 1795263407, week 34 until 1795515407, open, plus"));
    check("0.118.0/additional-limits-and-credits",         "second@example.com: 5 h 55 until 1795259820, week 78 until 1795688220, credits 12.50, [GPT-5.3-Codex-Spark: 5 h 3 until 1795265220, week 9 until 1795756220], pro");
    check("0.169.0/additional-limits-and-credits",         "second@example.com user-bbbb acct-bbbb-0002: 5 h 55 until 1795259805, week 78 until 1795688205, open, credits 12.50, [GPT-5.3-Codex-Spark: 5 h 3 until 1795265205, week 9 until 1795756205], pro");
    check("0.118.0/api-key",                               ": an API key has no quota windows");
    check("0.169.0/api-key",                               ": an API key has no quota windows");
    check("0.118.0/auth-json-replaced-while-running",      &format!("{old}: 5 h 12 until 1795263429, week 34 until 1795515429, plus"));
    check("0.169.0/auth-json-replaced-while-running",      &format!("{new}: 5 h 12 until 1795263415, week 34 until 1795515415, open, plus"));
    check("0.118.0/id-token-expired",                      &format!("{old}: 5 h 12 until 1795263421, week 34 until 1795515421, plus"));
    check("0.169.0/id-token-expired",                      &format!("{new}: 5 h 12 until 1795263406, week 34 until 1795515406, open, plus"));
    check("0.118.0/limit-reached-5h",                      &format!("{old}: 5 h 100 until 1795259218, week 70 until 1795456218, plus"));
    check("0.169.0/limit-reached-5h",                      &format!("{new}: 5 h 100 until 1795259202, week 70 until 1795456202, reached, plus"));
    check("0.118.0/limit-reached-weekly",                  &format!("{old}: 5 h 40 until 1795263417, week 100 until 1795456217, plus"));
    check("0.169.0/limit-reached-weekly",                  &format!("{new}: 5 h 40 until 1795263402, week 100 until 1795456202, reached, plus"));
    check("0.118.0/no-auth",                               ": Codex takes this for no login");
    check("0.169.0/no-auth",                               ": Codex takes this for no login");
    check("0.118.0/no-windows",                            &format!("{old}: plus"));
    check("0.169.0/no-windows",                            &format!("{new}: open, plus"));
    check("0.118.0/offline",                               &format!("{old}: the service could not be reached"));
    check("0.169.0/offline",                               ": the service could not be reached");
    check("0.118.0/ok",                                    &format!("{old}: 5 h 12 until 1795263416, week 34 until 1795515416, plus"));
    check("0.169.0/ok",                                    &format!("{new}: 5 h 12 until 1795263401, week 34 until 1795515401, open, plus"));
    check("0.118.0/refresh-endpoint-down",                 &format!("{old}: the service refused the access token (401)"));
    check("0.169.0/refresh-endpoint-down",                 ": the service refused the access token (401)");
    check("0.118.0/refresh-token-revoked",                 &format!("{old}: the service refused the access token (401)"));
    check("0.169.0/refresh-token-revoked",                 ": the service refused the access token (401)");
    check("0.118.0/refresh-token-revoked-access-unexpired", &format!("{old}: the service refused the access token (401)"));
    check("0.169.0/refresh-token-revoked-access-unexpired", ": the service refused the access token (401)");
    check("0.118.0/usage-endpoint-404",                    &format!("{old}: the service answered 404"));
    check("0.169.0/usage-endpoint-404",                    &format!("{new}: the service answered 404"));
    check("0.118.0/usage-endpoint-500",                    &format!("{old}: the service answered 500"));
    check("0.169.0/usage-endpoint-500",                    &format!("{new}: the service answered 500"));
    check("0.118.0/weekly-window-in-primary",              &format!("{old}: week 61 until 1795456219, plus"));
    check("0.169.0/weekly-window-in-primary",              &format!("{new}: week 61 until 1795456204, open, plus"));
    check("0.118.0/weekly-window-only",                    &format!("{old}: week 50 until 1795456218, plus"));
    check("0.169.0/weekly-window-only",                    &format!("{new}: week 50 until 1795456203, open, plus"));
    check("0.118.0/workspace-not-listed",                  &format!("{old}: 5 h 12 until 1795263428, week 34 until 1795515428, plus"));
    check("0.169.0/workspace-not-listed",                  "acct-aaaa-0001: 5 h 12 until 1795263414, week 34 until 1795515414, open, plus");
}

#[track_caller]
fn check(name: &str, expected: &str) {
    let transcript = Transcript::read(name);
    let (said, answer) = transcript.replay(Refresh::Never);
    assert_eq!(told(&answer.unwrap()), expected, "{name}");
    assert_eq!(said.as_slice(), &transcript.asked()[..said.len()], "{name}");
    assert_eq!(said.len(), 4, "{name}");
}

#[test]
fn a_refresh_is_asked_for_before_what_is_left() {
    for version in ["0.118.0", "0.169.0"] {
        let transcript = Transcript::read(&format!("{version}/force-refresh"));
        let (said, answer) = transcript.replay(Refresh::First);
        assert_eq!(said, transcript.asked());
        assert!(told(&answer.unwrap()).contains("5 h 12 until 17952634"));

        let mut dialogue = dialogue(Refresh::First);
        let mut steps = Vec::new();
        for (_, message) in transcript.0.iter().filter(|(from, _)| from == "server") {
            steps.push((dialogue.is_refreshing(), dialogue.is_over()));
            let _said = dialogue.hear(message.to_string().as_bytes());
        }
        assert_eq!(steps.first(), Some(&(false, false)));
        assert!(steps.contains(&(true, false)), "{steps:?}");
        assert!(!dialogue.is_refreshing() && dialogue.is_over());
        // A login that works no more is not just an old one.
        let (_, answer) =
            Transcript::read(&format!("{version}/refresh-token-revoked")).replay(Refresh::First);
        assert_eq!(answer.unwrap().figures, Err(Trouble::NotRefreshed));
    }
}

#[test]
fn every_transcript_that_is_kept_is_looked_at() {
    let mut names = Vec::new();
    for version in ["0.118.0", "0.169.0"] {
        let folder = format!("{}/testdata/app-server/{version}", env!("CARGO_MANIFEST_DIR"));
        names.extend(fs::read_dir(folder).unwrap().map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            format!("{version}/{}", name.strip_suffix(".jsonl").unwrap())
        }));
    }
    let here = include_str!("tests.rs");
    let looked_at = |name: &String| {
        here.contains(&format!("check(\"{name}\",")) || name.ends_with("/force-refresh")
    };
    let missed: Vec<_> = names.iter().filter(|name| !looked_at(name)).collect();
    assert!(missed.is_empty(), "{missed:?}");
    assert_eq!(names.len(), 42);
}

/// Answers a dialogue in the order and form of `lines`; what it says in return to each.
fn hear(dialogue: &mut Dialogue, lines: &[&[u8]]) -> Vec<Vec<String>> {
    lines.iter().map(|line| dialogue.hear(line)).collect()
}

const HELLO: &[u8] = br#"{"id":0,"result":{"userAgent":"codex_manager/0.169.0 (x)","codexHome":"/home/user/.codex"}}"#;
const NOBODY: &[u8] = br#"{"id":1,"result":{"account":null}}"#;
const NOTHING: &[u8] = br#"{"id":2,"result":{}}"#;

#[test]
fn what_comes_in_between_out_of_order_or_out_of_place_is_passed_over() {
    let mut dialogue = dialogue(Refresh::Never);
    let said = hear(
        &mut dialogue,
        &[
            b"WARNING: not a message",
            b"",
            b"[1, 2]",
            b"\xff\xfe",
            NOTHING, // before the hello it answers nothing
            HELLO,
            HELLO,
            br#"{"method":"account/updated","params":{"planType":"pro"}}"#,
            br#"{"id":2,"result":{"rateLimits":{"planType":"plus"},"some":"field"}}"#,
            br#"{"id":77,"result":{}}"#,
            br#"{"id":"1","result":{"account":{"email":"other@example.com"}}}"#,
            NOBODY,
            br#"{"id":1,"result":{"account":{"type":"chatgpt","email":"late@example.com"}}}"#,
        ],
    );
    let counts: Vec<usize> = said.iter().map(Vec::len).collect();
    assert_eq!(counts, [0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
    let answer = dialogue.answer().unwrap();
    assert_eq!(answer.who, Who::default(), "the first answer to a question counts");
    assert_eq!(answer.figures.unwrap().plan.as_deref(), Some("plus"));
}

#[test]
fn what_codex_asks_of_us_is_declined() {
    let mut dialogue = dialogue(Refresh::Never);
    let said = dialogue.hear(br#"{"id":"q1","method":"item/tool/call","params":{}}"#);
    let said: Value = serde_json::from_str(&said[0]).unwrap();
    assert_eq!(said["id"], "q1");
    assert_eq!(said["error"]["code"], -32601);
}

#[test]
fn a_codex_in_another_home_is_asked_nothing() {
    let mut dialogue = dialogue(Refresh::First);
    let said = dialogue.hear(br#"{"id":0,"result":{"codexHome":"/home/other/.codex"}}"#);
    assert!(said.is_empty() && dialogue.is_elsewhere() && !dialogue.is_over());
}

#[test]
#[rustfmt::skip]
fn a_parameter_is_given_to_versions_that_take_it_and_taken_back_where_it_is_refused() {
    for (agent, is_brief) in [
        ("codex_manager/0.169.0 (Debian)", true), ("codex_manager/1.0.0 (x)", true),
        ("codex_manager/0.170.0-alpha.3 (x)", true), ("codex_manager/0.168.9 (x)", false),
        ("codex_manager/0.118.0 (x)", false), ("codex", false), ("", false), ("a/b.c.d", false),
    ] {
        let hello = json!({"id": 0, "result": {"userAgent": agent}}).to_string();
        let said = dialogue(Refresh::Never).hear(hello.as_bytes());
        assert_eq!(said[2].contains("excludeResetCreditDetails"), is_brief, "{agent}");
    }
    for refused in [
        &br#"{"id":2,"error":{"code":-32602,"message":"no parameters, please"}}"#[..],
        br#"{"id":2,"error":{"code":-32600,"message":"Invalid request: unknown field"}}"#,
    ] {
        let mut talk = dialogue(Refresh::Never);
        let said = hear(&mut talk, &[HELLO, refused, NOBODY]);
        assert_eq!(said[1], [r#"{"id":2,"method":"account/rateLimits/read"}"#]);
        assert!(!talk.is_over());
        assert!(hear(&mut talk, &[refused])[0].is_empty(), "once is enough");
        assert!(talk.is_over());
    }
}

#[test]
#[rustfmt::skip]
fn an_error_is_known_by_its_call_and_its_code() {
    let ada = r#"{"id":1,"result":{"account":{"type":"chatgpt","email":"ada@example.com"}}}"#;
    let nobody = r#"{"id":1,"result":{"account":null}}"#;
    let failed = r#"{"id":1,"error":{"code":-32603,"message":"workspace routing discovery failed"}}"#;
    for (account, code, message, expected) in [
        (ada,    -32601, "method not found",                                Trouble::NotOffered),
        (ada,    -32600, "Invalid request: unknown variant",                Trouble::NotOffered),
        (nobody, -32600, "codex account authentication required",           Trouble::SignedOut),
        (nobody, -32603, "x: GET https://a failed: 401 Unauthorized; b",    Trouble::TokenRefused),
        (failed, -32603, "x: GET https://a failed: 429 Too Many; b",        Trouble::Service(429)),
        (failed, -32603, "x: error sending request for url (https://a)",    Trouble::Unreachable),
        (ada,    -32603, "Decode error: unknown variant `prolite`",         Trouble::Other(-32603)),
        (ada,    -32603, "x failed: badly",                                 Trouble::Other(-32603)),
        (ada,    0,      "",                                                Trouble::Other(0)),
    ] {
        // An old version has no parameter to take back.
        let hello = br#"{"id":0,"result":{}}"#;
        let limits = json!({"id": 2, "error": {"code": code, "message": message}}).to_string();
        let mut dialogue = dialogue(Refresh::Never);
        hear(&mut dialogue, &[hello, account.as_bytes(), limits.as_bytes()]);
        assert_eq!(dialogue.answer().unwrap().figures, Err(expected), "{message}");
    }
}

#[track_caller]
fn figures_of(result: &Value) -> Figures {
    let mut dialogue = dialogue(Refresh::Never);
    let limits = json!({"id": 2, "result": result}).to_string();
    hear(&mut dialogue, &[HELLO, NOBODY, limits.as_bytes()]);
    dialogue.answer().unwrap().figures.unwrap()
}

fn tell(result: &Value) -> String {
    let answer = Answer { who: Who::default(), figures: Ok(figures_of(result)) };
    told(&answer).trim_start_matches(": ").to_owned()
}

#[test]
#[rustfmt::skip]
fn a_limit_is_read_by_what_it_is_and_an_odd_figure_costs_itself() {
    let now = 1_795_251_600; // 2026-11-21T09:00:00Z
    let slot = |used: f64, minutes: i64, reset: i64| json!({"usedPercent": used, "windowDurationMins": minutes, "resetsAt": reset});
    let general = |primary: Value, secondary: Value| json!({"rateLimits": {"limitId": "codex", "primary": primary, "secondary": secondary}});
    for (result, expected) in [
        // A month, a day, and a window of no known length.
        (general(slot(20.0, 43_200, now + 9), Value::Null),                    "month 20 until 1795251609"),
        (general(slot(20.5, 1_440, now + 9), slot(1.0, 0, now + 9)),           "day 20.5 until 1795251609, 0 1 until 1795251609"),
        (general(json!({"usedPercent": 3}), Value::Null),                      "0 3 until ?"),
        // Nobody has used it: its reset moves with every look.
        (general(slot(0.0, 300, now + 18_000), slot(0.0, 10_080, now + 604_800 + 90)), "5 h 0 until ?, week 0 until ?"),
        (general(slot(0.0, 300, now + 17_000), slot(1.0, 10_080, now + 604_800)),      "5 h 0 until 1795268600, week 1 until 1795856400"),
        // Odd ones.
        (general(slot(-1.0, -5, -9), json!("full")),                           "0 ? until ?"),
        (general(slot(1e9, 1 << 40, i64::MAX), json!([])),                     "0 ? until ?"),
        (json!({"rateLimits": []}),                                            ""),
        (json!({"rateLimits": {"primary": slot(5.0, 300, now + 9)}}),          "5 h 5 until 1795251609"), // no id: the general one
        // Only a further limit: it says nothing of the general one.
        (json!({"rateLimits": {"limitId": "codex_x", "primary": slot(5.0, 300, now + 9)}}), "[codex_x: 5 h 5 until 1795251609]"),
        // Reached, without a percentage.
        (json!({"rateLimits": {"limitId": "codex", "rateLimitReachedType": "workspace_owner_credits_depleted"}}), "reached"),
        (json!({"rateLimits": {"limitId": "codex", "spendControlReached": true}, "ordinaryUsageAllowed": true}),  "reached"),
        (json!({"rateLimits": {"limitId": "codex", "spendControlReached": false}, "ordinaryUsageAllowed": false}), "reached"),
        (json!({"rateLimits": {"limitId": "codex", "individualLimit": {"limit": "100", "used": "80", "remainingPercent": 20, "resetsAt": now + 9}}}), "[your own share: 0 80 until 1795251609]"),
        (json!({"rateLimits": {"limitId": "codex", "planType": "unknown"}}),   ""),
        // Credits.
        (json!({"rateLimits": {"limitId": "codex", "credits": {"hasCredits": true, "unlimited": true, "balance": null}}}),   "credits unlimited"),
        (json!({"rateLimits": {"limitId": "codex", "credits": {"hasCredits": true, "balance": "\u{1b}[2J"}}}),               "credits some"),
        (json!({"rateLimits": {"limitId": "codex", "credits": {"hasCredits": false, "unlimited": false, "balance": "0"}}}),  ""),
    ] {
        assert_eq!(tell(&result), expected, "{result}");
    }
}

#[test]
fn of_many_limits_with_long_names_not_everything_is_kept() {
    let limit = json!({"limitName": "x".repeat(5_000)});
    let all: serde_json::Map<String, Value> =
        (0..500).map(|n| (format!("limit-{n}"), limit.clone())).collect();
    let figures = figures_of(&json!({"rateLimits": {}, "rateLimitsByLimitId": all}));
    assert_eq!(figures.others.len(), 32);
    assert!(figures.others.iter().all(|other| other.title().len() == 120));
}

#[test]
#[rustfmt::skip]
fn an_answer_is_an_accounts_if_nothing_in_it_says_otherwise() {
    let ada: AccountKey = "chatgpt:user-ada/acct-1".parse().unwrap();
    let email = "ada@example.com".parse().ok();
    let who = |user: Option<&str>, account: Option<&str>, email: Option<&str>| Who {
        email: email.map(|email| email.parse().unwrap()),
        user_id: user.map(str::to_owned),
        account_id: account.map(str::to_owned),
        counted_id: None,
    };
    let counted = |account: &str, who: Who| Who { counted_id: Some(account.to_owned()), ..who };
    for (who, expected) in [
        (who(Some("user-ada"), Some("acct-1"), Some("ada@example.com")), Some(true)),
        (who(Some("user-ada"), Some("acct-1"), Some("new@example.com")), Some(true)), // the address is a label
        (who(None,             Some("acct-1"), None),                    Some(true)),
        (who(None,             None,           Some("Ada@Example.com")), Some(true)),
        (who(Some("user-bob"), Some("acct-1"), Some("ada@example.com")), Some(false)),
        (who(Some("user-ada"), Some("acct-2"), Some("ada@example.com")), Some(false)),
        (who(None,             None,           Some("bob@example.com")), Some(false)),
        (who(None,             None,           None),                    None),
        (counted("acct-1", who(Some("user-ada"), Some("acct-1"), None)), Some(true)),
        (counted("acct-2", who(Some("user-ada"), Some("acct-1"), None)), Some(false)), // figures of another workspace
        (counted("acct-1", who(None, None, Some("new@example.com"))),    Some(true)),
        (counted("acct-2", who(None, None, Some("ada@example.com"))),    Some(false)),
    ] {
        assert_eq!(who.is(&ada, email.as_ref()), expected, "{who:?}");
    }
    assert_eq!(who(None, None, Some("ada@example.com")).is(&ada, None), None);
}

#[test]
fn whatever_codex_asks_our_answers_fit_into_a_pipe_that_nobody_reads() {
    let mut dialogue = dialogue(Refresh::Never);
    let mut said = 0;
    for number in 0..1_000 {
        for id in
            [json!(number), json!("x".repeat(64)), json!("x".repeat(65)), json!({}), json!(null)]
        {
            let line = json!({ "id": id, "method": "m".repeat(1_000) }).to_string();
            let replies = dialogue.hear(line.as_bytes());
            said += replies.iter().map(|reply| reply.len() + 1).sum::<usize>();
            // The first of them are answered.
            assert_eq!(
                replies.len(),
                usize::from(number < 8 && (id.is_number() || id == "x".repeat(64)))
            );
        }
    }
    assert!(said < 4_096, "{said}");
}
