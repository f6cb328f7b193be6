//! `history`: what happened to each account?

use insta::assert_snapshot;
use serde_json::json;

use crate::home::TestHome;

/// Two accounts over a week: Ada's is used up, Bob takes over, Ada rests.
fn a_week() -> TestHome {
    let home = TestHome::at("2026-11-12T08:00:00Z").signed_in("ada@example.com").session(
        "ada@example.com",
        (5.0, "+2h"),
        (3.0, "2026-11-19T09:00:00+01:00"),
    );
    home.run("backup");
    let home = home
        .now("2026-11-14T15:30:00Z")
        .session("ada@example.com", (60.0, "+2h"), (100.0, "2026-11-19T09:00:00+01:00"))
        .later("+5m");
    home.run("status --offline");
    home.run("cooldown set ada --until '2026-11-20 09:00'");
    let home = home.signed_in("bob@example.com");
    home.run("backup --auth-only");
    let home = home
        .later("+1h")
        .session("bob@example.com", (100.0, "+2h"), (40.0, "2026-11-21T17:00:00+01:00"))
        .later("+1h")
        .session("bob@example.com", (9.0, "+4h"), (41.0, "2026-11-21T17:00:00+01:00"));
    home.run("use ada");
    home.now("2026-11-20T10:00:00Z")
}

#[test]
fn the_weeks_sessions_and_switches_of_every_account_are_told_newest_first() {
    let home = a_week();
    assert_snapshot!(home.run("history"), @"
    $ codex-manager history
    ACCOUNT          WEEK BEGAN        RESET                 USED  USED UP           SESSIONS  SOURCE
    ada@example.com  Thu 12 Nov 09:00  was Thu 19 Nov 09:00  100%  Sat 14 Nov 16:30  1         rollout
    bob@example.com  Sat 14 Nov 17:00  Sat 21 Nov 17:00      41%   –                 2         rollout

    WHEN              ACCOUNT          WHAT                        UNTIL             SOURCE
    Thu 19 Nov 09:00  ada@example.com  week reset                                    rollout
    Sat 14 Nov 18:35  ada@example.com  signed in by codex-manager                    ledger
    Sat 14 Nov 18:25  bob@example.com  2 sessions begun                              rollout
    Sat 14 Nov 17:35  bob@example.com  5 h used up                 Sat 14 Nov 19:35  rollout
    Sat 14 Nov 16:35  bob@example.com  signed in by hand                             ledger
    Sat 14 Nov 16:35  ada@example.com  set aside                   Fri 20 Nov 09:00  ledger
    Sat 14 Nov 16:30  ada@example.com  week used up                Thu 19 Nov 09:00  rollout
    Sat 14 Nov 16:20  ada@example.com  1 session begun                               rollout
    Thu 12 Nov 09:00  ada@example.com  found to be signed in                         ledger
    Thu 12 Nov 08:50  ada@example.com  1 session begun                               rollout
    ");
    assert_snapshot!(home.run("history bob --limit 2"), @"
    $ codex-manager history bob --limit 2
    ACCOUNT          WEEK BEGAN        RESET             USED  USED UP  SESSIONS  SOURCE
    bob@example.com  Sat 14 Nov 17:00  Sat 21 Nov 17:00  41%   –        2         rollout

    WHEN              ACCOUNT          WHAT              UNTIL             SOURCE
    Sat 14 Nov 18:25  bob@example.com  2 sessions begun                    rollout
    Sat 14 Nov 17:35  bob@example.com  5 h used up       Sat 14 Nov 19:35  rollout
    1 event before that: raise --limit
    ");
    assert_snapshot!(home.run("history --since 2026-11-13 --until 2026-11-14"), @"
    $ codex-manager history --since 2026-11-13 --until 2026-11-14
    ACCOUNT          WEEK BEGAN        RESET                 USED  USED UP           SESSIONS  SOURCE
    ada@example.com  Thu 12 Nov 09:00  was Thu 19 Nov 09:00  100%  Sat 14 Nov 16:30  0         rollout
    ");
}

#[test]
fn a_narrow_terminal_keeps_who_what_and_when() {
    let home = a_week().columns(60);
    assert_snapshot!(home.run("history"), @"
    $ codex-manager history
    ACCOUNT          RESET                 USED  SESSIONS
    ada@example.com  was Thu 19 Nov 09:00  100%  1
    bob@example.com  Sat 21 Nov 17:00      41%   2

    WHEN              ACCOUNT          WHAT
    Thu 19 Nov 09:00  ada@example.com  week reset
    Sat 14 Nov 18:35  ada@example.com  signed in by codex-manager
    Sat 14 Nov 18:25  bob@example.com  2 sessions begun
    Sat 14 Nov 17:35  bob@example.com  5 h used up
    Sat 14 Nov 16:35  bob@example.com  signed in by hand
    Sat 14 Nov 16:35  ada@example.com  set aside
    Sat 14 Nov 16:30  ada@example.com  week used up
    Sat 14 Nov 16:20  ada@example.com  1 session begun
    Thu 12 Nov 09:00  ada@example.com  found to be signed in
    Thu 12 Nov 08:50  ada@example.com  1 session begun
    ");
}

#[test]
fn the_document_has_every_figure_with_its_source() {
    let home = a_week();
    let answer = home.json("history ada --since 2026-11-01");
    assert_snapshot!(answer["data"], @r#"
    {"since":"2026-11-01T00:00:00+01:00","until":"2026-11-20T11:00:00+01:00","accounts":[{"account":"chatgpt:user-ada-example-com/acct-ada-example-com","email":"ada@example.com","alias":null,"active":true,"sessions":2,"days":[{"day":"2026-11-12","sessions":1},{"day":"2026-11-14","sessions":1}],"weeks":[{"began_at":"2026-11-12T09:00:00+01:00","resets_at":"2026-11-19T09:00:00+01:00","used_percent":100.0,"used_up_at":"2026-11-14T16:30:00+01:00","sessions":1,"source":"rollout","observed_at":"2026-11-14T16:30:00+01:00","confidence":"certain"}]}],"ambiguous_sessions":0,"events":[{"at":"2026-11-19T09:00:00+01:00","account":"chatgpt:user-ada-example-com/acct-ada-example-com","event":"reset","source":"rollout","confidence":"certain"},{"at":"2026-11-14T18:35:00+01:00","account":"chatgpt:user-ada-example-com/acct-ada-example-com","event":"activated","source":"ledger","confidence":"certain"},{"at":"2026-11-14T16:35:00+01:00","account":"chatgpt:user-ada-example-com/acct-ada-example-com","event":"set-aside","until":"2026-11-20T09:00:00+01:00","source":"ledger","confidence":"certain"},{"at":"2026-11-14T16:30:00+01:00","account":"chatgpt:user-ada-example-com/acct-ada-example-com","event":"limit-reached","minutes":10080,"resets_at":"2026-11-19T09:00:00+01:00","source":"rollout","confidence":"certain"},{"at":"2026-11-14T16:20:00+01:00","account":"chatgpt:user-ada-example-com/acct-ada-example-com","event":"sessions","sessions":1,"source":"rollout","confidence":"certain"},{"at":"2026-11-12T09:00:00+01:00","account":"chatgpt:user-ada-example-com/acct-ada-example-com","event":"noticed","before":"2026-11-12T09:00:00+01:00","source":"ledger","confidence":"certain"},{"at":"2026-11-12T08:50:00+01:00","account":"chatgpt:user-ada-example-com/acct-ada-example-com","event":"sessions","sessions":1,"source":"rollout","confidence":"certain"}]}
    "#);
}

#[test]
fn what_nobody_can_attribute_is_told_as_such_and_sets_nobody_aside() {
    // Codex before 0.160.1 does not say who began a session.
    let home = TestHome::at("2026-11-20T10:00:00Z").signed_in("ada@example.com");
    home.run("backup --auth-only");
    let nameless = |home: TestHome, hour: u32, used: f64| {
        let lines = [
            json!({"timestamp": format!("2026-11-20T{hour:02}:00:00Z"), "type": "session_meta",
                "payload": {"timestamp": format!("2026-11-20T{hour:02}:00:00Z")}}),
            json!({"timestamp": format!("2026-11-20T{hour:02}:10:00Z"), "type": "event_msg",
                "payload": {"type": "token_count", "rate_limits": {"limit_id": "codex", "primary":
                    {"used_percent": used, "window_minutes": 10_080, "resets_at": 1_795_700_000}}}}),
        ];
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        home.file(&format!(".codex/sessions/2026/11/20/rollout-{hour}.jsonl"), text)
    };
    let home = home.now("2026-11-20T11:00:00Z").signed_in("bob@example.com");
    let home = nameless(home.now("2026-11-20T13:00:00Z"), 12, 100.0);
    assert_snapshot!(home.run("status --offline"), @"
    $ codex-manager status --offline
    warning: the newest session does not tell whose quota it shows; it was not used. `codex-manager status --status-file FILE` reads what /status shows
    account  bob@example.com
    quota    unknown: no session and no text tells it
    ");
    assert_snapshot!(home.run("cooldown"), @"
    $ codex-manager cooldown
       ACCOUNT          STATE  LEFT  AVAILABLE  IN  SOURCE  AGE
       ada@example.com  ready  –     now        –   –       –
    *  bob@example.com  ready  –     now        –   –       –
    ");
    assert_snapshot!(home.run("history"), @"
    $ codex-manager history
    WHEN              ACCOUNT                              WHAT                   UNTIL             SOURCE
    Fri 20 Nov 14:00  bob@example.com                      signed in by hand                        ledger
    Fri 20 Nov 13:10  ada@example.com or bob@example.com?  week used up           Thu 26 Nov 14:33  rollout, ambiguous
    Fri 20 Nov 13:00  ada@example.com or bob@example.com?  1 session begun                          rollout, ambiguous
    Fri 20 Nov 11:00  ada@example.com                      found to be signed in                    ledger
    1 session counted for no account: nobody can tell whose
    ");
    let ledger = String::from_utf8(home.read(".codex-manager/ledger.jsonl")).unwrap();
    assert_eq!(ledger.matches("\"event\":\"ambiguous-reading\"").count(), 1, "{ledger}");
    assert_eq!(ledger.matches("\"noticed\":{\"after\":").count(), 1, "{ledger}");
    home.run("status --offline");
    assert_eq!(home.read(".codex-manager/ledger.jsonl"), ledger.as_bytes(), "it is noted once");
}

#[test]
fn an_account_set_aside_by_its_own_limit_stays_so_after_a_switch() {
    // Nobody asked for the status before the switch: the switch itself notes it down.
    let home = TestHome::at("2026-11-20T10:00:00Z").signed_in("bob@example.com").session(
        "bob@example.com",
        (1.0, "+2h"),
        (2.0, "+6d"),
    );
    home.run("backup");
    let home = home.later("+1h").signed_in("ada@example.com");
    home.run("backup");
    let home = home
        .later("+1h")
        .session("ada@example.com", (80.0, "+2h"), (100.0, "2026-11-24T09:00:00+01:00"))
        .later("+5m");
    home.run("use bob");
    let home = home.later("+1h").session("bob@example.com", (1.0, "+2h"), (3.0, "+5d"));
    assert_snapshot!(home.run("cooldown"), @"
    $ codex-manager cooldown
       ACCOUNT          STATE     LEFT  AVAILABLE         IN      SOURCE   AGE
    *  bob@example.com  ready     97%   now               –       rollout  0s
       ada@example.com  cooldown  0%    Tue 24 Nov 09:00  3d 18h  rollout  1h 5m
    ");
}

#[test]
fn odd_ranges_and_names_are_refused() {
    let home = a_week();
    assert_snapshot!(home.run("history --since 2026-11-14 --until 2026-11-13"), @"
    $ codex-manager history --since 2026-11-14 --until 2026-11-13
    error: that range ends before it begins
    hint: `--since -2w --until -1w` is the week before the last one
    (exit 4)
    ");
    assert_snapshot!(home.run("history nobody"), @r#"
    $ codex-manager history nobody
    error: no account is called "nobody"
    hint: `codex-manager accounts` lists them
    (exit 4)
    "#);
    assert_snapshot!(TestHome::at("2026-11-21T10:00:00Z").run("history"), @"
    $ codex-manager history
    nothing is known of that time
    ");
}
