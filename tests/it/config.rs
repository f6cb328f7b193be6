//! `config` and `completions`: are settings kept, and do shells learn our words?

use insta::assert_snapshot;

use crate::home::TestHome;

#[test]
fn a_setting_is_set_shown_and_taken_back() {
    let home = TestHome::at("2026-11-21T10:00:00Z");
    assert_snapshot!(home.run("config path"), @"
    $ codex-manager config path
    ~/.codex-manager/config.toml
    ");
    assert_snapshot!(home.run("config get timezone"), @"
    $ codex-manager config get timezone
    error: `timezone` is not set
    hint: `codex-manager config set timezone VALUE` sets it
    (exit 1)
    ");
    assert_snapshot!(home.run("config set timezone Asia/Tokyo --dry-run"), @"
    $ codex-manager config set timezone Asia/Tokyo --dry-run
    would be set: timezone = Asia/Tokyo
    ");
    assert_eq!(home.files(), "");
    assert_snapshot!(home.run("config set timezone Asia/Tokyo"), @"
    $ codex-manager config set timezone Asia/Tokyo
    set: timezone = Asia/Tokyo
    ");
    assert_snapshot!(home.run("config get timezone"), @"
    $ codex-manager config get timezone
    Asia/Tokyo
    ");
    assert_snapshot!(home.run("config set timezone Asia/Tokyo"), @"
    $ codex-manager config set timezone Asia/Tokyo
    `timezone` is that already; nothing changed
    ");
    assert_snapshot!(home.run("config unset timezone"), @"
    $ codex-manager config unset timezone
    unset: timezone
    ");
    assert_eq!(home.read(".codex-manager/config.toml"), b"");
}

#[test]
fn a_list_tells_where_each_value_comes_from() {
    let home = TestHome::at("2026-11-21T10:00:00Z")
        .variable("CODEX_MANAGER_LOCK_TIMEOUT", "3")
        .config("lean", "true")
        .config("aliases.work", "ada@example.com");
    assert_snapshot!(home.run("config list --show-origin --tz UTC"), @"
    $ codex-manager config list --show-origin --tz UTC
    SETTING                 VALUE            ORIGIN   FOR
    codex_home              –                default  the Codex home, if it is not ~/.codex
    codex_program           –                default  the program of Codex, if it is not `codex` on PATH
    timezone                UTC              flag     IANA name of the zone that times are shown and read in
    color                   auto             default  when output is coloured: auto, always or never
    lock_timeout            3                env      seconds to wait for another run to finish
    jobs                    0                default  threads for backup, restore and verify; 0: as many as there are cores
    strategy                lru              default  what decides between ready accounts: lru, soonest-reset, most-left
    undo.keep_days          7                default  days for which `undo` can bring back what was replaced
    trash.keep_days         30               default  days for which snapshots that were put away stay in trash/
    status.live             true             default  whether `status` and `backup` ask Codex itself for the quota
    status.timeout_seconds  5                default  seconds that Codex may take to answer
    session_duration_hours  2                default  length of a session in hours, for files of older tools
    exclude                                  default  glob patterns that snapshots leave out
    lean                    true             file     whether snapshots leave out logs and caches unless told otherwise
    compression_level       1                default  how hard snapshots are compressed: 1 fast, 6 small, 12 slow
    aliases.work            ada@example.com  file     a name of your own for an account (e-mail, key or short id)
    ");
}

#[test]
fn a_setting_is_in_force() {
    let home = TestHome::at("2026-11-21T10:00:00Z").signed_in("ada@example.com");
    let name = |home: &TestHome, words: &str| {
        home.json(&format!("backup --dry-run {words}"))["data"]["snapshot"].to_string()
    };
    assert_snapshot!(name(&home, ""), @r#"
    "2026-11-21-110000-ada@example.com-codex"
    "#);
    let home = home.config("timezone", "Asia/Tokyo");
    assert_snapshot!(name(&home, ""), @r#"
    "2026-11-21-190000-ada@example.com-codex"
    "#);
    let home = home.variable("CODEX_MANAGER_TIMEZONE", "America/New_York");
    assert_snapshot!(name(&home, ""), @r#"
    "2026-11-21-050000-ada@example.com-codex"
    "#);
    assert_snapshot!(name(&home, "--tz UTC"), @r#"
    "2026-11-21-100000-ada@example.com-codex"
    "#);
}

#[test]
fn what_is_no_setting_or_no_value_is_refused() {
    let home = TestHome::at("2026-11-21T10:00:00Z");
    assert_snapshot!(home.run("config set time_zone UTC"), @r#"
    $ codex-manager config set time_zone UTC
    error: there is no setting "time_zone"
    hint: did you mean `timezone`?
    (exit 4)
    "#);
    assert_snapshot!(home.run("config set timezone Mars/Olympus"), @"
    $ codex-manager config set timezone Mars/Olympus
    error: the value given does not fit `timezone`: an IANA time zone name, as Europe/Berlin is expected
    hint: `codex-manager config list` shows every setting and what it is for
    (exit 4)
    ");
    assert_snapshot!(home.run("config set lean perhaps"), @"
    $ codex-manager config set lean perhaps
    error: the value given does not fit `lean`: true or false is expected
    hint: `codex-manager config list` shows every setting and what it is for
    (exit 4)
    ");
    assert_eq!(home.play("config list").exit, 0);
}

#[test]
fn the_comments_of_a_person_survive() {
    let home = TestHome::at("2026-11-21T10:00:00Z")
        .file(".codex-manager/config.toml", "# mine\ntimezone = \"UTC\" # home\n");
    home.run("config set lean true");
    let text = String::from_utf8(home.read(".codex-manager/config.toml")).unwrap();
    assert_snapshot!(text, @r#"
    # mine
    timezone = "UTC" # home
    lean = true
    "#);
}

#[test]
fn what_is_said_of_an_account_is_a_setting_too() {
    let home = TestHome::at("2026-11-21T10:00:00Z").signed_in("ada@example.com").file(
        ".codex-manager/config.toml",
        "# mine\n[accounts.\"ada@example.com\"] # hers\nnote = \"team\" # really\nshade = 1\n",
    );
    assert_snapshot!(home.run("config set accounts.ada@example.com.reserve 15"), @"
    $ codex-manager config set accounts.ada@example.com.reserve 15
    warning: ~/.codex-manager was open to others (mode 0755); it is 0700 now
    set: accounts.ada@example.com.reserve = 15
    ");
    assert_snapshot!(home.run("config set accounts.ada@example.com.priority -2 --quiet"), @"
    $ codex-manager config set accounts.ada@example.com.priority -2 --quiet
    set: accounts.ada@example.com.priority = -2
    ");
    let text = String::from_utf8(home.read(".codex-manager/config.toml")).unwrap();
    assert_snapshot!(text, @r#"
    # mine
    [accounts."ada@example.com"] # hers
    note = "team" # really
    shade = 1
    reserve = 15
    priority = -2
    "#);
    assert_snapshot!(home.run("config get accounts.ada@example.com.disabled --quiet"), @"
    $ codex-manager config get accounts.ada@example.com.disabled --quiet
    false
    ");
    assert_snapshot!(home.run("config get accounts.bob@example.com.note --quiet"), @"
    $ codex-manager config get accounts.bob@example.com.note --quiet
    error: `accounts.bob@example.com.note` is not set
    hint: `codex-manager config set accounts.bob@example.com.note VALUE` sets it
    (exit 1)
    ");
    assert_snapshot!(home.run("config set accounts.ada@example.com.reserve 101 --quiet"), @"
    $ codex-manager config set accounts.ada@example.com.reserve 101 --quiet
    error: the value given does not fit `accounts.ada@example.com.reserve`: a whole percentage between 0 and 100 is expected
    hint: `codex-manager config list` shows every setting and what it is for
    (exit 4)
    ");
    assert_snapshot!(home.run("config set accounts.ada@example..com.note x --quiet"), @r#"
    $ codex-manager config set accounts.ada@example..com.note x --quiet
    error: the account named does not fit `accounts.ada@example..com.note`: an e-mail address, an account key or a short id is expected
    hint: `codex-manager accounts` lists them; "ada@example..com" is none
    (exit 4)
    "#);
    assert_snapshot!(home.run("config set accounts.work.note x --quiet"), @r#"
    $ codex-manager config set accounts.work.note x --quiet
    error: there is no setting "accounts.work.note"
    hint: `accounts.NAME.FIELD` has an e-mail, a key or a short id as its NAME; `codex-manager accounts` shows them
    (exit 4)
    "#);
    assert_snapshot!(home.run("config set accounts.ada@example.com.nots x --quiet"), @r#"
    $ codex-manager config set accounts.ada@example.com.nots x --quiet
    error: there is no setting "accounts.ada@example.com.nots"
    hint: did you mean `accounts.ada@example.com.note`?
    (exit 4)
    "#);
    let list = home.run("config list --show-origin --quiet");
    let ours: Vec<&str> = list.lines().filter(|line| line.starts_with("accounts.")).collect();
    assert_snapshot!(ours.join("\n"), @"
    accounts.ada@example.com.note      team   file     a remark about this account
    accounts.ada@example.com.reserve   15     file     percent of this account's quota to keep back
    accounts.ada@example.com.priority  -2     file     accounts with more of it are recommended first
    ");
    // A variable would have to spell the address, so there is none.
    let home = home.variable("CODEX_MANAGER_ACCOUNTS_ADA@EXAMPLE_COM_RESERVE", "99");
    assert_snapshot!(home.run("config get accounts.ada@example.com.reserve --quiet"), @"
    $ codex-manager config get accounts.ada@example.com.reserve --quiet
    15
    ");
}

#[test]
fn every_shell_gets_a_script_that_knows_the_commands() {
    let home = TestHome::at("2026-11-21T10:00:00Z");
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let seen = home.play(&format!("completions {shell}"));
        assert_eq!(seen.exit, 0);
        for word in ["backup", "restore", "recommend", "--status-file"] {
            let bare = word.trim_start_matches('-');
            assert!(seen.out.contains(bare), "{shell} does not know {word}");
        }
    }
    assert_eq!(home.play("completions cobol").exit, 4);
}
