//! Is Codex itself asked for the quota, and can it do no harm with what it is asked with?
//!
//! The Codex of these homes is a script that answers as a real one did (`testdata/app-server`) and
//! writes down all that it finds.

use std::fs;
use std::time::{Duration, Instant};

use chrono::Utc;
use insta::assert_snapshot;
use serde_json::Value;

use crate::canaries::{self, token_in};
use crate::home::{TestHome, login};

/// What every script does first: it writes down what it is told and what it finds.
const LOOK: &str = r#"
look() {
    printf 'words: %s\n' "$*"
    printf 'in: %s\n' "$(pwd)"
    env | sort
    cat /proc/$PPID/cmdline /proc/$PPID/environ 2>/dev/null; echo
    ls -ld "$CODEX_HOME" "$CODEX_HOME"/*
    cat "$CODEX_HOME/config.toml"
} >> "$HOME/heard" 2>&1
look "$@"
cp "$CODEX_HOME/auth.json" "$HOME/auth-it-saw"
"#;

/// The script that answers as in a transcript, and says in `asked` what it was asked.
fn replay(name: &str) -> String {
    let path = format!("{}/testdata/app-server/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let mut lines = LOOK.to_owned();
    for line in fs::read_to_string(path).unwrap().lines().skip(1) {
        let line: Value = serde_json::from_str(line).unwrap();
        if line["from"] == "client" {
            lines += "read -r line || exit 0\nprintf '%s\\n' \"$line\" >> \"$HOME/asked\"\n";
        } else {
            let says = line["msg"].to_string().replace("/home/user/.codex", "'\"$CODEX_HOME\"'");
            lines += &format!("printf '%s\\n' '{says}'\n");
        }
    }
    lines + "cat > /dev/null\n"
}

/// The home of the account that the transcripts are of, with a Codex that runs these lines.
fn home_with(script: &str) -> TestHome {
    TestHome::at("2026-11-21T10:00:00Z")
        .tokens_in("auth-it-saw")
        .tokens_in(".codex/auth.json")
        .file(".codex/config.toml", "model = \"gpt-5\"\nsqlite_home = \"elsewhere\"\n")
        .signed_in_as(
            "user@example.com",
            "user-aaaa",
            "acct-aaaa-0001",
            "rt_user",
            "2026-11-20T10:00:00Z",
        )
        .codex_program(script)
}

fn home_of(transcript: &str) -> TestHome {
    home_with(&replay(transcript))
}

/// No private home is left, and nothing else in `tmp/`.
#[track_caller]
fn assert_tidy(home: &TestHome) {
    let left: Vec<String> = home.tree(".codex-manager/tmp").into_keys().collect();
    assert!(left.len() <= 1, "{left:?}");
}

#[test]
fn codex_is_asked_and_its_answer_kept() {
    let home = home_of("0.169.0/additional-limits-and-credits").signed_in_as(
        "second@example.com",
        "user-bbbb",
        "acct-bbbb-0002",
        "rt_second",
        "2026-11-20T10:00:00Z",
    );
    assert_snapshot!(home.run("status"), @"
    $ codex-manager status
    account  second@example.com
    5 h      45% left, resets Sat 21 Nov 12:16 (in 1h 16m)
    week     22% left, resets Thu 26 Nov 11:16 (in 5d)
    credits  12.50
    also     GPT-5.3-Codex-Spark, 5 h: 97% left, resets Sat 21 Nov 13:46 (in 2h 46m)
    also     GPT-5.3-Codex-Spark, week: 91% left, resets Fri 27 Nov 06:10 (in 5d 19h)
    plan     pro
    source   app-server, 0s old
    ");
    assert_snapshot!(home.json("status")["data"], @r#"
    {"account":"chatgpt:user-bbbb/acct-bbbb-0002","email":"second@example.com","source":"app-server","observed_at":"2026-11-21T11:00:00+01:00","windows":[{"minutes":300,"used_percent":55.0,"resets_at":"2026-11-21T12:16:45+01:00"},{"minutes":10080,"used_percent":78.0,"resets_at":"2026-11-26T11:16:45+01:00"}],"session_start_at":"2026-11-19T11:16:45+01:00","next_available_at":"2026-11-26T11:16:45+01:00","left_percent":22.0,"limit_reached":false,"credits":{"unlimited":false,"balance":"12.50"},"limits":[{"id":"codex_bengalfox","name":"GPT-5.3-Codex-Spark","windows":[{"minutes":300,"used_percent":3.0,"resets_at":"2026-11-21T13:46:45+01:00"},{"minutes":10080,"used_percent":9.0,"resets_at":"2026-11-27T06:10:05+01:00"}],"limit_reached":null}],"plan":"pro","proposed_archive_name":"2026-11-19-111645-second@example.com-codex.tar.gz","problem":null,"refreshed":null,"banked":null}
    "#);
    let ledger = String::from_utf8(home.read(".codex-manager/ledger.jsonl")).unwrap();
    // The first line is about who is signed in.
    let line: Value = serde_json::from_str(ledger.lines().nth(1).unwrap()).unwrap();
    assert_eq!(line["source"], "app-server");
    assert_eq!(line["credits"]["balance"], "12.50");
    assert_eq!(line["limits"][0]["name"], "GPT-5.3-Codex-Spark");
    assert_snapshot!(home.run("cooldown"), @"
    $ codex-manager cooldown
       ACCOUNT             STATE  LEFT  AVAILABLE  IN  SOURCE      AGE
    *  second@example.com  ready  22%   now        –   app-server  0s
    ");
    assert_tidy(&home);
}

#[test]
fn a_backup_asks_as_well_and_takes_its_week_from_the_answer() {
    let home = home_of("0.169.0/ok");
    assert_snapshot!(home.run("backup"), @"
    $ codex-manager backup
    stored   2026-11-17-111641-user@example.com-codex
    content  5 files, 2.7 KiB packed into #.# KiB
    quota    66% left, week resets Tue 24 Nov 11:16 (app-server)
    archive  ~/.codex-manager/backups/2026-11-17-111641-user@example.com-codex.tar.gz
    ");
    let sidecar = &home.json("list")["data"]["snapshots"][0];
    assert_eq!(sidecar["quota"]["source"], "app-server");
    assert_tidy(&home);

    let asked = home.read("asked");
    for line in
        ["backup --offline --force", "backup --without-status-check --force", "backup --dry-run"]
    {
        home.run(line);
        assert_eq!(home.read("asked"), asked, "{line} asks nobody");
    }
    assert!(home.run("backup --dry-run").contains("--live asks it"));
    home.run("backup --dry-run --live");
    assert_ne!(home.read("asked"), asked);
    let home = home.config("status.live", "false");
    let asked = home.read("asked");
    home.run("backup --force");
    home.run("status");
    assert_eq!(home.read("asked"), asked, "nobody is asked where that is switched off");
    home.run("status --live");
    assert_ne!(home.read("asked"), asked);
}

#[test]
fn what_codex_gets_is_private_and_cannot_be_spent() {
    let home = home_of("0.169.0/ok")
        .variable("CODEX_API_KEY", canaries::API_KEY)
        .variable("OPENAI_API_KEY", canaries::API_KEY)
        .variable("CODEX_SQLITE_HOME", "/nowhere")
        .variable("CODEX_HOME", "");
    let before = home.tree(".codex");
    let seen = home.play("status");
    assert!(seen.out.contains("app-server"), "{}", seen.screen);
    assert_eq!(home.tree(".codex"), before, "not a byte of the live home changed");
    assert_tidy(&home);

    let heard = String::from_utf8(home.read("heard")).unwrap();
    // Of this test's own process no child can know.
    assert_eq!(token_in(heard.as_bytes()), None, "{heard}");
    let has = |line: &str| heard.lines().any(|heard| heard.starts_with(line));
    assert!(has("words: app-server"), "{heard}");
    assert!(has("CODEX_REFRESH_TOKEN_URL_OVERRIDE=https://127.0.0.1:9/"), "{heard}");
    assert!(has("CODEX_REVOKE_TOKEN_URL_OVERRIDE=https://127.0.0.1:9/"), "{heard}");
    assert!(!has("CODEX_API_KEY") && !has("CODEX_SQLITE_HOME"), "{heard}");
    let place = heard.lines().find_map(|line| line.strip_prefix("CODEX_HOME=")).unwrap();
    assert!(place.starts_with(home.manager("tmp").to_str().unwrap()), "{place}");
    assert!(has(&format!("in: {place}")), "{heard}");
    assert!(has(&format!("sqlite_home = \"{place}\"")), "{heard}");
    assert!(!heard.contains("elsewhere"), "{heard}");
    let modes: Vec<&str> =
        heard.lines().filter(|line| line.contains("/tmp/.codex-manager-")).collect();
    let modes: Vec<&str> =
        modes.iter().filter(|line| line.starts_with(['d', '-'])).map(|line| &line[..10]).collect();
    assert_eq!(modes, ["drwx------", "-rw-------", "-rw-------"], "{heard}");

    let saw: Value = serde_json::from_slice(&home.read("auth-it-saw")).unwrap();
    let live: Value = serde_json::from_slice(&home.read(".codex/auth.json")).unwrap();
    assert_eq!(saw["tokens"]["access_token"], live["tokens"]["access_token"]);
    assert_eq!(saw["tokens"]["refresh_token"], "withheld");
}

#[test]
fn where_codex_does_not_tell_the_newest_session_does() {
    let home = home_of("0.169.0/offline").signed_in("user@example.com").session(
        "user@example.com",
        (12.0, "+2h"),
        (40.0, "2026-11-26T10:02:00+01:00"),
    );
    let home = home.later("+1h");
    assert_snapshot!(home.run("status"), @"
    $ codex-manager status
    warning: no live figures: the service could not be reached; these are from the newest session
    account  user@example.com
    5 h      88% left, resets Sat 21 Nov 13:00 (in 1h)
    week     60% left, resets Thu 26 Nov 10:02 (in 4d 22h)
    plan     plus
    source   rollout, 1h old
    ");
    let data = home.json("status")["data"].clone();
    assert_eq!(
        (&data["source"], &data["problem"]["kind"]),
        (&"rollout".into(), &"unreachable".into())
    );
    assert_snapshot!(home.run("status --live"), @"
    $ codex-manager status --live
    error: no live figures: the service could not be reached
    (exit 1)
    ");
    assert_snapshot!(home.run("status --offline"), @"
    $ codex-manager status --offline
    account  user@example.com
    5 h      88% left, resets Sat 21 Nov 13:00 (in 1h)
    week     60% left, resets Thu 26 Nov 10:02 (in 4d 22h)
    plan     plus
    source   rollout, 1h old
    ");
    let seen = home.play("backup");
    assert_eq!(seen.exit, 0, "{}", seen.screen);
    assert!(
        seen.screen.contains("no live figures: the service could not be reached"),
        "{}",
        seen.screen
    );
    assert_tidy(&home);
}

/// What `status --live` says with this Codex, without what stands in every line.
#[track_caller]
fn refusal(home: &TestHome) -> String {
    let seen = home.play("status --live");
    assert_eq!((seen.exit, seen.out.as_str()), (1, ""), "{}", seen.screen);
    assert_tidy(home);
    seen.screen.replace("error: no live figures: ", "")
}

#[test]
fn every_way_to_fail_is_told() {
    let mut told = String::new();
    for name in [
        "0.118.0/access-token-valid-but-backend-401",
        "0.118.0/no-auth",
        "0.169.0/no-auth",
        "0.118.0/offline",
        "0.169.0/offline",
        "0.169.0/refresh-endpoint-down",
        "0.169.0/refresh-token-revoked",
        "0.169.0/refresh-token-revoked-access-unexpired",
        "0.118.0/usage-endpoint-404",
        "0.169.0/usage-endpoint-500",
        "0.169.0/api-key",
    ] {
        told += &format!("{name}\n{}\n", refusal(&home_of(name)));
    }
    assert_snapshot!(told, @"
    0.118.0/access-token-valid-but-backend-401
    the service refused the access token (401)
    hint: `codex-manager status --refresh` has Codex renew the login

    0.118.0/no-auth
    Codex takes this for no login
    hint: `codex-manager status --refresh` has Codex renew the login

    0.169.0/no-auth
    Codex takes this for no login
    hint: `codex-manager status --refresh` has Codex renew the login

    0.118.0/offline
    the service could not be reached

    0.169.0/offline
    the service could not be reached

    0.169.0/refresh-endpoint-down
    the service refused the access token (401)
    hint: `codex-manager status --refresh` has Codex renew the login

    0.169.0/refresh-token-revoked
    the service refused the access token (401)
    hint: `codex-manager status --refresh` has Codex renew the login

    0.169.0/refresh-token-revoked-access-unexpired
    the service refused the access token (401)
    hint: `codex-manager status --refresh` has Codex renew the login

    0.118.0/usage-endpoint-404
    the service answered 404

    0.169.0/usage-endpoint-500
    the service answered 500

    0.169.0/api-key
    an API key has no quota windows
    ");
}

#[test]
fn a_codex_that_does_not_answer_is_not_waited_for() {
    let hello = r#"echo '{"id":0,"result":{}}'"#;
    let scripts = [
        ("it ends", "exit 3".to_owned()),
        (
            "it does not know the word",
            "echo 'error: unrecognized subcommand' >&2; exit 2".to_owned(),
        ),
        // Few long lines, so that the cap is met long before the time is up.
        (
            "it talks nonsense",
            "yes \"{\\\"id\\\":0,$(printf %065000d 0)\" | head -c 20000000".to_owned(),
        ),
        ("one line never ends", "head -c 20000000 /dev/zero".to_owned()),
        (
            "it ends in the middle",
            format!(
                "{hello}; read -r l; read -r l; echo '{{\"id\":1,\"result\":{{}}}}'; printf '{{\"id\":2,'"
            ),
        ),
        (
            "it is in another home",
            "echo '{\"id\":0,\"result\":{\"codexHome\":\"/elsewhere\"}}'; cat > /dev/null"
                .to_owned(),
        ),
        (
            "it says not whose",
            format!(
                "{hello}; echo '{{\"id\":1,\"result\":{{}}}}'; echo '{{\"id\":2,\"result\":{{\"rateLimits\":{{}}}}}}'; cat > /dev/null"
            ),
        ),
    ];
    let mut told = String::new();
    for (name, script) in scripts {
        told += &format!("{name}\n{}\n", refusal(&home_with(&script)));
    }
    let silent =
        home_with("sleep 60 & echo $! > \"$HOME/pid\"; wait").config("status.timeout_seconds", "1");
    let began = Instant::now();
    told += &format!("it is silent\n{}\n", refusal(&silent));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_ended(&silent);
    let absent = home_with("exit 0").variable("PATH", "/nowhere");
    told += &format!("it is not there\n{}\n", refusal(&absent));
    let named = home_with("exit 0").variable("CODEX_MANAGER_CODEX_PROGRAM", "~/bin/codx");
    told += &format!("it is not where it was said to be\n{}", refusal(&named));
    // What becomes of a pipe that nobody reads any more is the shell's business.
    for how in [" (exit status: 141)", " (signal: 13 (SIGPIPE))"] {
        told = told.replace(how, "");
    }
    assert_snapshot!(told, @"
    it ends
    `codex app-server` ended without an answer (exit status: 3)
    hint: Codex 0.118.0 or newer can do it; `codex --version` tells which this is

    it does not know the word
    `codex app-server` ended without an answer (exit status: 2)
    hint: Codex 0.118.0 or newer can do it; `codex --version` tells which this is

    it talks nonsense
    `codex app-server` ended without an answer
    hint: Codex 0.118.0 or newer can do it; `codex --version` tells which this is

    one line never ends
    `codex app-server` ended without an answer
    hint: Codex 0.118.0 or newer can do it; `codex --version` tells which this is

    it ends in the middle
    `codex app-server` ended without an answer (exit status: 0)
    hint: Codex 0.118.0 or newer can do it; `codex --version` tells which this is

    it is in another home
    `codex app-server` works in another home than it was told
    hint: name the program itself and not a script that sets CODEX_HOME: `codex-manager config set codex_program PATH`

    it says not whose
    Codex did not say whose figures these are; they were not used

    it is silent
    `codex app-server` took longer than 1 s
    hint: give it more time: `codex-manager config set status.timeout_seconds 20`

    it is not there
    there is no program `codex` on PATH
    hint: say where Codex is: `codex-manager config set codex_program PATH`

    it is not where it was said to be
    ~/bin/codx is no program (setting `codex_program`)
    hint: say where Codex is: `codex-manager config set codex_program PATH`
    ");
}

/// What the script left running has ended.
#[track_caller]
fn assert_ended(home: &TestHome) {
    let pid = String::from_utf8(home.read("pid")).unwrap();
    let began = Instant::now();
    let is_there = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    };
    while is_there() {
        assert!(began.elapsed() < Duration::from_secs(10), "{pid} is still there");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn an_answer_about_another_account_is_not_used() {
    let home = home_of("0.169.0/ok").signed_in_as(
        "user@example.com",
        "user-aaaa",
        "acct-of-the-team",
        "rt_team",
        "2026-11-20T10:00:00Z",
    );
    assert_snapshot!(refusal(&home), @"Codex answered for another account of user@example.com, not for user@example.com; the answer was not used");
    // Versions that name no workspace name an address.
    let home = home_of("0.118.0/ok").signed_in("ada@example.com");
    assert_snapshot!(refusal(&home), @"Codex answered for user@example.com, not for ada@example.com; the answer was not used");
    assert_eq!(home.json("status")["data"]["problem"]["kind"], "other-account");
    let ledger = fs::read_to_string(home.manager("ledger.jsonl")).unwrap();
    assert!(!ledger.contains("reading"), "{ledger}");
}

#[test]
fn a_login_that_nobody_can_ask_with_is_said() {
    let old = home_of("0.169.0/ok").signed_in_as(
        "user@example.com",
        "user-aaaa",
        "acct-aaaa-0001",
        "rt_user",
        "2026-11-01T10:00:00Z",
    );
    assert_snapshot!(refusal(&old), @"
    the access token has expired
    hint: `codex-manager status --refresh` has Codex renew the login
    ");
    assert!(!old.path("asked").exists(), "Codex would only be told no");
    let keyring = home_of("0.169.0/ok")
        .file(".codex/config.toml", "cli_auth_credentials_store = \"keyring\"\n");
    assert_snapshot!(refusal(&keyring), @"
    warning: who is signed in is not known: Codex keeps its login in the keyring and does not use the one of user@example.com in auth.json
    Codex keeps its login in the keyring, where it cannot be copied from
    hint: `codex-manager status --status-file FILE` reads what /status shows
    ");
    let key = home_of("0.169.0/ok")
        .file(".codex/auth.json", r#"{"auth_mode":"apikey","OPENAI_API_KEY":"sk-made-up"}"#);
    assert_snapshot!(refusal(&key), @"an API key is signed in, which has no quota windows");
    assert_eq!(
        key.play("status").screen.matches("warning").count(),
        0,
        "there is nothing to ask for"
    );
    let nobody = home_of("0.169.0/ok");
    fs::remove_file(nobody.codex("auth.json")).unwrap();
    assert_snapshot!(refusal(&nobody), @"
    nobody is signed in
    hint: sign in with `codex login`
    ");
}

#[test]
fn another_account_that_is_named_is_asked_with_its_stored_login() {
    let home = home_of("0.169.0/ok");
    home.run("backup --auth-only --offline");
    let home = home.later("+1h").signed_in("ada@example.com");
    let before = home.tree(".codex");
    assert_snapshot!(home.run("status user"), @"
    $ codex-manager status user
    account  user@example.com
    5 h      88% left, resets Sat 21 Nov 13:16 (in 1h 16m)
    week     66% left, resets Tue 24 Nov 11:16 (in 2d 23h)
    plan     plus
    source   app-server, 0s old
    ");
    assert_eq!(home.tree(".codex"), before);
    assert_eq!(home.json("status user")["data"]["account"], "chatgpt:user-aaaa/acct-aaaa-0001");
    let saw: Value = serde_json::from_slice(&home.read("auth-it-saw")).unwrap();
    assert_eq!(saw["tokens"]["account_id"], "acct-aaaa-0001");
    assert_snapshot!(home.run("status user --refresh"), @"
    $ codex-manager status user --refresh
    error: user@example.com is not signed in, and only the live login is refreshed
    hint: `codex-manager use user@example.com`, then `codex-manager status --refresh`
    (exit 4)
    ");
    assert_snapshot!(home.run("status nobody"), @r#"
    $ codex-manager status nobody
    error: no account is called "nobody"
    hint: `codex-manager accounts` lists them
    (exit 4)
    "#);
    // Without an answer it is what was read before.
    let home = home.later("+2h");
    assert_snapshot!(home.run("status user --offline"), @"
    $ codex-manager status user --offline
    account  user@example.com
    5 h      88% left, reset Sat 21 Nov 13:16
    week     66% left, resets Tue 24 Nov 11:16 (in 2d 21h)
    plan     plus
    source   app-server, 2h old, read before
    ");
    let home = home.later("+240h");
    assert_snapshot!(home.run("status user"), @"
    $ codex-manager status user
    warning: no live figures: the access token has expired; these were read before (after `codex-manager use user@example.com`, `codex-manager status --refresh` has Codex renew the login)
    account  user@example.com
    5 h      88% left, reset Sat 21 Nov 13:16
    week     66% left, reset Tue 24 Nov 11:16
    plan     plus
    source   app-server, 10d 2h old, read before
    ");
    assert_tidy(&home);
}

/// A Codex that puts another login in place of the one it finds when it is told to refresh.
fn refreshing(home: &TestHome, transcript: &str) -> String {
    let fresh = login(
        "user@example.com",
        "user-aaaa",
        "acct-aaaa-0001",
        "rt_fresher",
        "2026-11-21T10:00:00Z",
    );
    fs::write(home.path("fresh"), fresh).unwrap();
    replay(transcript).replace(
        "printf '%s\\n' \"$line\" >> \"$HOME/asked\"",
        "printf '%s\\n' \"$line\" >> \"$HOME/asked\"; case $line in *refreshToken*true*) cp \"$HOME/fresh\" \"$CODEX_HOME/auth.json\";; esac",
    )
}

#[test]
fn a_login_that_codex_refreshed_is_stored() {
    let home = home_of("0.169.0/force-refresh").tokens_in("fresh");
    home.run("backup --auth-only --offline");
    let home = home.later("+1m");
    let script = refreshing(&home, "0.169.0/force-refresh");
    let home = home.codex_program(&script);
    assert_snapshot!(home.run("status --refresh"), @"
    $ codex-manager status --refresh
    account  user@example.com
    5 h      88% left, resets Sat 21 Nov 13:16 (in 2h 15m)
    week     66% left, resets Tue 24 Nov 11:16 (in 3d)
    login    refreshed, stored as 2026-11-21-110100-user@example.com-codex
    plan     plus
    source   app-server, 0s old
    ");
    let heard = String::from_utf8(home.read("heard")).unwrap();
    assert!(
        heard.contains(&format!("CODEX_HOME={}\n", home.codex("").display()).replace("/\n", "\n")),
        "{heard}"
    );
    assert!(!heard.contains("OVERRIDE"), "it may refresh: {heard}");
    assert_eq!(home.read(".codex/auth.json"), home.read("fresh"));
    assert_snapshot!(home.run("log"), @"
    $ codex-manager log
    OPERATION                         WHAT                                                                               UNDO
    2026-11-21-110100-status-refresh  stored the login that Codex refreshed as 2026-11-21-110100-user@example.com-codex  yes
    2026-11-21-110000-backup          stored 2026-11-21-110000-user@example.com-codex                                    yes
    ");
    let data = home.json("list")["data"].clone();
    assert_eq!(data["snapshots"].as_array().unwrap().len(), 2);
    assert_eq!(data["snapshots"][0]["note"], "stored after Codex had refreshed it");
    assert!(home.run("doctor").contains("the live login is stored"));
    let home = home.later("+1m");
    // Nothing new: that is told, and nothing is stored twice.
    let data = home.json("status --refresh")["data"].clone();
    assert_eq!((&data["refreshed"], &data["banked"]), (&false.into(), &Value::Null));
    assert_eq!(home.play("status --refresh").exit, 1);
    assert_eq!(home.json("list")["data"]["snapshots"].as_array().unwrap().len(), 2);
}

#[test]
fn figures_are_not_those_of_an_account_that_was_put_in_place_meanwhile() {
    // Versions before 0.169.0 name no workspace, and both have the same address.
    let home = home_of("0.118.0/force-refresh").tokens_in("fresh");
    let script = refreshing(&home, "0.118.0/force-refresh");
    let at = "2026-11-21T10:00:00Z";
    let team = login("user@example.com", "user-aaaa", "acct-of-the-team", "rt_team", at);
    fs::write(home.path("fresh"), team).unwrap();
    let home = home.codex_program(&script);
    assert_snapshot!(home.run("status --refresh"), @"
    $ codex-manager status --refresh
    error: no live figures: another account was signed in while Codex was asked; the answer was not used
    (exit 1)
    ");
    assert!(!home.manager("ledger.jsonl").exists());
}

#[test]
fn a_refreshed_login_is_stored_also_where_the_figures_are_missing() {
    let home = home_of("0.169.0/force-refresh").tokens_in("fresh");
    let script = refreshing(&home, "0.169.0/force-refresh");
    // The service tells nothing afterwards.
    let cut = script.find("\"ordinaryUsageAllowed\"").unwrap();
    let cut = script[..cut].rfind("printf").unwrap();
    let home = home.codex_program(&format!("{}\nexit 1\n", &script[..cut]));
    let seen = home.play("status --refresh");
    assert_eq!(seen.exit, 1, "{}", seen.screen);
    assert!(seen.screen.contains("it is stored as"), "{}", seen.screen);
    assert_eq!(home.json("list")["data"]["snapshots"].as_array().unwrap().len(), 1);
}

#[test]
fn a_login_that_codex_could_not_write_is_not_refreshed() {
    let home = home_of("0.169.0/force-refresh");
    fs::hard_link(home.codex("auth.json"), home.codex("copy.json")).unwrap();
    let home = home.tokens_in(".codex/copy.json");
    assert_snapshot!(home.run("status --refresh"), @"
    $ codex-manager status --refresh
    error: ~/.codex/auth.json has a second name (hard link): Codex would lose the refreshed login
    hint: make it a file of its own: cp -p ~/.codex/auth.json ~/.codex/auth.json.own && mv ~/.codex/auth.json.own ~/.codex/auth.json
    (exit 5)
    ");
    fs::remove_file(home.codex("copy.json")).unwrap();
    let mut modes = fs::metadata(home.codex("auth.json")).unwrap().permissions();
    modes.set_readonly(true);
    fs::set_permissions(home.codex("auth.json"), modes).unwrap();
    assert_snapshot!(home.run("status --refresh"), @"
    $ codex-manager status --refresh
    error: ~/.codex/auth.json is read-only: Codex would lose the refreshed login
    hint: chmod u+w ~/.codex/auth.json
    (exit 5)
    ");
    assert!(!home.path("asked").exists());
}

#[test]
fn what_a_killed_run_left_goes_with_the_next_command() {
    let home = home_with("kill -9 $PPID; sleep 1");
    let home = home.now(&Utc::now().to_rfc3339()).signed_in("user@example.com");
    let mut program = home.program(&["status"]);
    program.env("PATH", format!("{}:/usr/bin:/bin", home.path("bin").display()));
    let ended = program.output().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended.status), Some(9));
    let left = home.tree(".codex-manager/tmp");
    assert!(left.keys().any(|name| name.ends_with("auth.json")), "{:?}", left.keys());
    home.run("cooldown set user --until +1h");
    assert_tidy(&home);
}

#[test]
fn who_presses_ctrl_c_is_not_kept_waiting() {
    let home = home_with("echo $$ > \"$HOME/pid\"; kill -INT $PPID; exec sleep 60");
    let home = home.now(&Utc::now().to_rfc3339()).signed_in("user@example.com");
    let mut program = home.program(&["status"]);
    program.env("PATH", format!("{}:/usr/bin:/bin", home.path("bin").display()));
    let began = Instant::now();
    let ended = program.output().unwrap();
    assert_eq!(ended.status.code(), Some(130), "{ended:?}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_ended(&home);
    assert_tidy(&home);
}

#[test]
fn where_nothing_tells_it_now_what_was_read_before_does_and_is_not_read_again() {
    let home = home_of("0.169.0/ok");
    assert_eq!(home.play("status").exit, 0);
    let home = home.codex_program(&replay("0.169.0/offline")).later("+3h");
    let ledger = home.read(".codex-manager/ledger.jsonl");
    let text = String::from_utf8(ledger.clone()).unwrap();
    let reading: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    for at in ["at", "observed_at"] {
        assert_eq!(reading[at], "2026-11-21T11:00:00+01:00", "in the zone of the user");
    }
    assert!(reading["windows"][0]["resets_at"].as_str().unwrap().ends_with("+01:00"), "{reading}");
    assert_snapshot!(home.run("status"), @"
    $ codex-manager status
    warning: no live figures: the service could not be reached; these were read before
    account  user@example.com
    5 h      88% left, reset Sat 21 Nov 13:16
    week     66% left, resets Tue 24 Nov 11:16 (in 2d 21h)
    plan     plus
    source   app-server, 3h old, read before
    ");
    assert_snapshot!(home.run("status --offline"), @"
    $ codex-manager status --offline
    account  user@example.com
    5 h      88% left, reset Sat 21 Nov 13:16
    week     66% left, resets Tue 24 Nov 11:16 (in 2d 21h)
    plan     plus
    source   app-server, 3h old, read before
    ");
    assert_eq!(home.json("status")["data"]["problem"]["kind"], "unreachable");
    assert_eq!(home.read(".codex-manager/ledger.jsonl"), ledger);
}

#[test]
fn an_account_is_told_apart_from_another_of_its_address() {
    let home = home_of("0.169.0/offline").signed_in_as(
        "user@example.com",
        "user-aaaa",
        "acct-aaaa-0002",
        "rt_team",
        "2026-11-20T10:00:00Z",
    );
    assert_eq!(home.play("backup --auth-only --offline").exit, 0);
    let home = home.signed_in_as(
        "user@example.com",
        "user-aaaa",
        "acct-aaaa-0001",
        "rt_user",
        "2026-11-20T10:00:00Z",
    );
    assert_snapshot!(home.run("status --offline"), @"
    $ codex-manager status --offline
    account  user@example.com (9935e185)
    quota    unknown: no session and no text tells it
    ");
    let screen = home.play("accounts").screen;
    assert!(screen.contains("*  user@example.com (9935e185)"), "{screen}");
}

#[test]
fn an_api_key_has_no_windows_and_its_status_says_so() {
    let home = home_of("0.169.0/ok")
        .file(".codex/auth.json", r#"{"auth_mode":"apikey","OPENAI_API_KEY":"sk-made-up"}"#);
    assert_snapshot!(home.run("status"), @"
    $ codex-manager status
    account  API key ef726ad4
    quota    none: an API key has no windows
    ");
}
