//! `status`: is the quota read, whatever tells it?

use insta::assert_snapshot;

use crate::home::TestHome;

const PANEL: &str = "\
Account:       ada@example.com
Weekly limit:  [############........] 61% left (resets 10:02 on 26 Nov)
";

#[test]
fn the_newest_session_tells_it_by_itself() {
    let home = TestHome::of_ada();
    assert_snapshot!(home.run("status"), @"
    $ codex-manager status
    warning: no live figures: there is no program `codex` on PATH; these are from the newest session (say where Codex is: `codex-manager config set codex_program PATH`)
    account  ada@example.com
    5 h      88% left, resets Sat 21 Nov 13:00 (in 2h)
    week     60% left, resets Thu 26 Nov 10:02 (in 4d 23h)
    plan     plus
    source   rollout, 0s old
    ");
    assert_snapshot!(home.json("status")["data"], @r#"
    {"account":"chatgpt:user-ada-example-com/acct-ada-example-com","email":"ada@example.com","source":"rollout","observed_at":"2026-11-21T11:00:00+01:00","windows":[{"minutes":300,"used_percent":12.0,"resets_at":"2026-11-21T13:00:00+01:00"},{"minutes":10080,"used_percent":40.0,"resets_at":"2026-11-26T10:02:00+01:00"}],"session_start_at":"2026-11-19T10:02:00+01:00","next_available_at":"2026-11-26T10:02:00+01:00","left_percent":60.0,"limit_reached":null,"credits":null,"limits":[],"plan":"plus","proposed_archive_name":"2026-11-19-100200-ada@example.com-codex.tar.gz","problem":{"kind":"no-program","message":"there is no program `codex` on PATH","hint":"say where Codex is: `codex-manager config set codex_program PATH`"},"refreshed":null,"banked":null}
    "#);
}

#[test]
fn a_file_standard_input_and_a_command_are_read_alike() {
    let home =
        TestHome::at("2026-11-21T10:00:00Z").signed_in("ada@example.com").file("panel.txt", PANEL);
    let from_file = home.run("status --no-save --status-file panel.txt");
    assert_snapshot!(from_file, @"
    $ codex-manager status --no-save --status-file panel.txt
    account  ada@example.com
    week     61% left, resets Thu 26 Nov 10:02 (in 4d 23h)
    plan     plus
    source   status-text, 0s old
    ");
    let told = |text: &str| text.split_once('\n').unwrap().1.to_owned();
    let home = home.typed(PANEL);
    assert_eq!(told(&home.run("status --no-save --status-file -")), told(&from_file));
    let command =
        format!("status --no-save --status-command 'cat {}'", home.path("panel.txt").display());
    assert_eq!(told(&home.run(&command)), told(&from_file));
}

#[test]
fn every_version_of_the_panel_names_the_account_and_the_week() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/status");
    let home = TestHome::at("2026-11-21T12:45:00Z").signed_in("ada@example.com");
    let mut lines = String::new();
    for name in [
        "0.118.0.normal.w80.txt",
        "0.118.0.weekly-limit-reached.w120.txt",
        "0.169.0.normal.w120.txt",
        "0.169.0.weekly-only.w120.txt",
    ] {
        let answer = home.json(&format!("status --no-save --status-file {folder}/{name}"));
        let data = &answer["data"];
        let (left, next) = (&data["left_percent"], &data["next_available_at"]);
        lines += &format!("{name}: {left} {next} {}\n", answer["error"]);
    }
    assert_snapshot!(lines, @r#"
    0.118.0.normal.w80.txt: 66.0 "2026-11-24T10:00:00+01:00" null
    0.118.0.weekly-limit-reached.w120.txt: 0.0 "2026-11-23T17:36:00+01:00" null
    0.169.0.normal.w120.txt: 66.0 "2026-11-24T09:57:00+01:00" null
    0.169.0.weekly-only.w120.txt: 50.0 "2026-11-23T17:31:00+01:00" null
    "#);
}

#[test]
fn what_was_read_is_remembered_once_and_not_at_all_with_no_save() {
    let home = TestHome::of_ada();
    home.run("status --no-save");
    assert_eq!(home.files(), "");
    home.run("status");
    let first = home.read(".codex-manager/ledger.jsonl");
    home.run("status");
    assert_eq!(home.read(".codex-manager/ledger.jsonl"), first);
    let lines = first.iter().filter(|&&byte| byte == b'\n').count();
    assert_eq!(lines, 2, "who is signed in, and the reading");
}

#[test]
fn a_parked_accounts_reading_stays_until_its_reset() {
    let home = TestHome::of_ada();
    home.run("backup");
    let home = home.later("+1h").signed_in("bob@example.com");
    home.run("backup --auth-only");
    let home = home.later("+1h").file("panel.txt", PANEL.replace("ada", "bob").replace("61", "0"));
    home.run("status --status-file panel.txt");
    assert_snapshot!(home.run("cooldown"), @"
    $ codex-manager cooldown
       ACCOUNT          STATE     LEFT  AVAILABLE         IN      SOURCE       AGE
       ada@example.com  ready     60%   now               –       rollout      2h
    *  bob@example.com  cooldown  0%    Thu 26 Nov 10:02  4d 21h  status-text  0s
    ");
}

#[test]
fn a_command_that_fails_or_says_nothing_is_an_error() {
    let home = TestHome::at("2026-11-21T10:00:00Z").signed_in("ada@example.com");
    assert_snapshot!(home.run("status --status-command 'exit 7'"), @"
    $ codex-manager status --status-command 'exit 7'
    error: the status command failed (exit status: 7)
    hint: run it by itself to see what it says, or pass --status-file FILE
    (exit 4)
    ");
    assert_snapshot!(home.run("status --status-command true"), @"
    $ codex-manager status --status-command true
    error: the status text is empty
    hint: run /status in Codex and copy what it shows
    (exit 4)
    ");
    assert_snapshot!(home.run("status --status-file nowhere.txt"), @"
    $ codex-manager status --status-file nowhere.txt
    error: cannot read ~/nowhere.txt: No such file or directory
    hint: name a file that holds what /status shows, or - for standard input
    (exit 4)
    ");
    assert_snapshot!(home.run("status --reference-year 2026"), @"
    $ codex-manager status --reference-year 2026
    error: the following required arguments were not provided:
      <--status-file <FILE>|--status-command <COMMAND>>

    Usage: codex-manager status --reference-year <YEAR> <--status-file <FILE>|--status-command <COMMAND>> [ACCOUNT]

    For more information, try '--help'.
    (exit 4)
    ");
    assert_eq!(home.files(), "");
}

#[test]
fn nobody_signed_in_is_said() {
    let home = TestHome::at("2026-11-21T10:00:00Z").file(".codex/config.toml", "");
    assert_snapshot!(home.run("status"), @"
    $ codex-manager status
    account  not known
    quota    unknown: no session and no text tells it
    ");
}

#[test]
fn without_a_home_there_is_no_status_and_a_broken_login_is_told() {
    let home = TestHome::at("2026-11-21T10:00:00Z");
    let seen = home.play("status");
    assert_eq!(seen.exit, 4, "{}", seen.screen);
    assert!(seen.screen.contains("there is no Codex home at ~/.codex"), "{}", seen.screen);
    let home = home.file(".codex/auth.json", "{");
    let seen = home.play("status");
    assert_eq!(seen.screen.matches("warning").count(), 1, "{}", seen.screen);
    assert!(seen.screen.contains("auth.json names no account"), "{}", seen.screen);
    std::fs::remove_file(home.codex("auth.json")).unwrap();
    let home = home.file(".codex/auth.json/x", "");
    assert_snapshot!(home.run("status"), @"
    $ codex-manager status
    error: ~/.codex/auth.json is not a regular file
    hint: move it aside and sign in again with `codex login`
    (exit 4)
    ");
}
