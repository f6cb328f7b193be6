//! `cooldown` and `recommend`: who may work, when, and who is next?

use insta::assert_snapshot;

use crate::home::TestHome;

/// Ada has used up her week, bob some of his; carol is only known by a login.
pub(crate) fn three_accounts() -> TestHome {
    let home = TestHome::at("2026-11-21T10:00:00Z").signed_in("carol@example.com");
    home.run("backup --auth-only");
    let home = home.later("+10m").signed_in("ada@example.com");
    home.run("backup --auth-only");
    let home = home.later("+1h").session(
        "ada@example.com",
        (100.0, "+2h"),
        (100.0, "2026-11-24T10:02:00+01:00"),
    );
    home.run("backup");
    let home = home.later("+10m").signed_in("bob@example.com");
    home.run("backup --auth-only");
    let home = home.later("+1h").session(
        "bob@example.com",
        (45.0, "+3h"),
        (20.0, "2026-11-27T08:00:00+01:00"),
    );
    home.run("backup");
    home.later("+1m")
}

#[test]
fn ready_accounts_come_first_then_those_that_are_soon() {
    let home = three_accounts();
    assert_snapshot!(home.run("cooldown"), @"
    $ codex-manager cooldown
       ACCOUNT            STATE     LEFT  AVAILABLE         IN      SOURCE   AGE
    *  bob@example.com    ready     55%   now               –       rollout  1m
       carol@example.com  ready     –     now               –       –        –
       ada@example.com    cooldown  0%    Tue 24 Nov 10:02  2d 20h  rollout  1h 11m
    ");
    let answer = home.json("cooldown");
    assert_snapshot!(format!("{:#}", answer["data"]["accounts"][2]), @r#"
    {
      "account": "chatgpt:user-ada-example-com/acct-ada-example-com",
      "email": "ada@example.com",
      "alias": null,
      "active": false,
      "state": "cooldown",
      "next_available_at": "2026-11-24T10:02:00+01:00",
      "session_start_at": "2026-11-17T10:02:00+01:00",
      "quota_end_detected_at": "2026-11-21T12:10:00+01:00",
      "remaining_seconds": 247260,
      "left_percent": 0.0,
      "windows": [
        {
          "minutes": 300,
          "used_percent": 100.0,
          "resets_at": "2026-11-21T14:10:00+01:00",
          "predicted_full": false,
          "source": "rollout",
          "observed_at": "2026-11-21T12:10:00+01:00"
        },
        {
          "minutes": 10080,
          "used_percent": 100.0,
          "resets_at": "2026-11-24T10:02:00+01:00",
          "predicted_full": false,
          "source": "rollout",
          "observed_at": "2026-11-21T12:10:00+01:00"
        }
      ],
      "source": "rollout",
      "observed_at": "2026-11-21T12:10:00+01:00",
      "validation_status": null,
      "has_login": true,
      "disabled": false
    }
    "#);
}

#[test]
fn another_instant_has_another_answer_and_the_end_is_open() {
    let home = three_accounts();
    let state = |at: &str| {
        let answer = home.json(&format!("cooldown --at '{at}'"));
        let rows = answer["data"]["accounts"].as_array().unwrap().clone();
        let ada = rows.into_iter().find(|row| row["email"] == "ada@example.com").unwrap();
        ada["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(state("2026-11-24 10:01:59"), "cooldown");
    assert_eq!(state("2026-11-24 10:02"), "ready");
    assert_snapshot!(home.run("cooldown --at 2026-11-25"), @"
    $ codex-manager cooldown --at 2026-11-25
       ACCOUNT            STATE  LEFT  AVAILABLE  IN  SOURCE   AGE
       ada@example.com    ready  –     now        –   rollout  3d 11h
    *  bob@example.com    ready  80%   now        –   rollout  3d 10h
       carol@example.com  ready  –     now        –   –        –
    ");
    assert_snapshot!(home.run("cooldown --at whenever"), @r#"
    $ codex-manager cooldown --at whenever
    error: `whenever` is not a time
    hint: write it as 2026-04-21T15:55:00+02:00, "2026-04-21 15:55", 15:55, +3h or +2d
    (exit 4)
    "#);
}

#[test]
fn an_account_is_set_aside_and_taken_back() {
    let home = three_accounts();
    let before = home.tree("");
    assert_snapshot!(home.run("cooldown set bob --until +2d --dry-run"), @"
    $ codex-manager cooldown set bob --until +2d --dry-run
    would: bob@example.com rests until Mon 23 Nov 2026 13:21
    ");
    home.assert_same("", &before);
    assert_snapshot!(home.run("cooldown set bob --until +2d"), @"
    $ codex-manager cooldown set bob --until +2d
    bob@example.com rests until Mon 23 Nov 2026 13:21
    ");
    assert_snapshot!(home.run("cooldown"), @"
    $ codex-manager cooldown
       ACCOUNT            STATE     LEFT  AVAILABLE         IN      SOURCE   AGE
       carol@example.com  ready     –     now               –       –        –
    *  bob@example.com    cooldown  55%   Mon 23 Nov 13:21  2d      manual   0s
       ada@example.com    cooldown  0%    Tue 24 Nov 10:02  2d 20h  rollout  1h 11m
    ");
    assert_snapshot!(home.run("cooldown clear bob"), @"
    $ codex-manager cooldown clear bob
    bob@example.com counts by its quota again
    ");
    assert_snapshot!(home.run("cooldown clear bob"), @"
    $ codex-manager cooldown clear bob
    bob@example.com was not set aside; nothing to clear
    ");
    assert_snapshot!(home.run("cooldown set bob --until 2026-11-20"), @r#"
    $ codex-manager cooldown set bob --until 2026-11-20
    error: "2026-11-20" has passed already
    hint: `codex-manager cooldown clear ACCOUNT` ends a cooldown
    (exit 4)
    "#);
    assert_snapshot!(home.run("cooldown set nobody --until +1d"), @r#"
    $ codex-manager cooldown set nobody --until +1d
    error: no account is called "nobody"
    hint: `codex-manager accounts` lists them
    (exit 4)
    "#);
}

#[test]
fn a_cooldown_that_was_set_on_an_address_is_taken_back_from_the_account_that_has_it() {
    // A later one under the account's own key: both go.
    for also in [false, true] {
        let home = TestHome::at("2026-11-21T10:00:00Z");
        home.run("cooldown set ada@example.com --until +2d");
        let home = home.later("+1m").signed_in("ada@example.com");
        home.run("backup --auth-only");
        if also {
            home.run("cooldown set ada --until +3d");
        }
        let state = || home.json("cooldown")["data"]["accounts"][0]["state"].clone();
        let changed = |words: &str| home.json(words)["data"]["changed"].clone();
        assert_eq!(home.json("cooldown")["data"]["accounts"].as_array().unwrap().len(), 1);
        assert_eq!(state(), "cooldown", "{also}");
        assert_eq!(changed("cooldown clear ada --dry-run"), false, "{also}");
        assert_eq!(changed("cooldown clear ada"), true, "{also}");
        assert_eq!(state(), "ready", "{also}");
        assert_eq!(changed("cooldown clear ada"), false, "{also}");
    }
}

#[test]
fn the_recommendation_says_why_and_what_would_change_it() {
    let home = three_accounts();
    assert_snapshot!(home.run("recommend"), @"
    $ codex-manager recommend
    carol@example.com
    carol@example.com is ready and was used least recently
    ");
    assert_snapshot!(home.run("next --why"), @"
    $ codex-manager next --why
    carol@example.com
    carol@example.com is ready and was used least recently

    the others:
      bob@example.com: 55% left, last used 1h 1m ago, active now
      ada@example.com: week used up until 2026-11-24 10:02 (in 2d 20h)

    what would change this:
      a new status of carol@example.com could show that it is used up
      ada@example.com is ready from 2026-11-24 10:02
    ");
}

#[test]
fn the_least_recently_used_of_the_ready_ones_is_next() {
    let home = three_accounts();
    home.run("use carol");
    let home = home.later("+1m");
    assert_eq!(home.json("recommend")["data"]["selected"]["email"], "bob@example.com");
    // When ada's week is over she has rested longest.
    let answer = home.json("recommend --at '2026-11-24 10:02'");
    assert_eq!(answer["data"]["selected"]["email"], "ada@example.com");
}

#[test]
fn who_is_signed_in_is_used_now_although_nothing_has_written_that_down() {
    let home = TestHome::at("2026-11-21T10:00:00Z").signed_in("carol@example.com");
    home.run("backup --auth-only");
    let home = home.later("+1h").signed_in("ada@example.com");
    let next = |home: &TestHome| home.json("recommend --why")["data"].clone();
    let before = next(&home);
    assert_eq!(before["selected"]["email"], "carol@example.com", "{before}");
    assert_eq!(
        before["alternatives"][0]["reason"],
        "nothing is known of its quota, last used 0s ago, active now"
    );
    home.run("use carol");
    let after = next(&home);
    assert_eq!(after["reason"], "ada@example.com is ready and was used least recently", "{after}");
}

#[test]
fn where_nobody_is_ready_the_first_to_be_is_named_and_scripts_can_tell() {
    let home = three_accounts();
    home.run("cooldown set bob --until +5d");
    home.run("cooldown set carol --until +6d");
    assert_snapshot!(home.run("recommend"), @"
    $ codex-manager recommend
    ada@example.com
    no account is ready; ada@example.com is the first, from 2026-11-24 10:02 (in 2d 20h)
    ");
    assert_snapshot!(home.run("recommend --ready"), @"
    $ codex-manager recommend --ready
    ada@example.com
    no account is ready; ada@example.com is the first, from 2026-11-24 10:02 (in 2d 20h)
    (exit 10)
    ");
    assert_eq!(home.play("recommend --ready --at +4d").exit, 0);
}

#[test]
fn with_no_account_at_all_there_is_nothing_to_recommend() {
    let home = TestHome::at("2026-11-21T10:00:00Z");
    assert_snapshot!(home.run("recommend"), @"
    $ codex-manager recommend
    no account is known
    ");
    assert_snapshot!(home.run("recommend --ready"), @"
    $ codex-manager recommend --ready
    no account is known
    (exit 10)
    ");
    assert_snapshot!(home.run("cooldown"), @"
    $ codex-manager cooldown
    no account is known yet: `codex-manager backup` stores the current one
    ");
}

#[test]
fn damage_in_the_older_tools_cooldowns_is_told() {
    let told = |bytes: &[u8]| {
        let home = TestHome::at("2026-11-21T10:00:00Z").file(".codex-manager/cooldown.json", bytes);
        home.run("cooldown").lines().nth(1).unwrap().to_owned()
    };
    let entry = |reset: &str| {
        let text = "0% left (resets 7:05 on 24 Nov)";
        let reset =
            format!("\"reset_at\":\"{reset}\",\"updated_at\":\"2026-11-20T12:45:30+01:00\"");
        format!("{{\"ada@example.com\":{{{reset},\"quota_text\":\"{text}\"}}}}")
    };
    let sound = entry("2026-11-24T07:05:00+01:00");
    assert!(told(sound.as_bytes()).contains("ACCOUNT"), "{}", told(sound.as_bytes()));
    let no_time = sound.replace("updated_at", "updated");
    assert_snapshot!(told(no_time.as_bytes()), @"warning: ~/.codex-manager/cooldown.json, ada@example.com: the time of its reading is unknown");
    assert_snapshot!(told(&sound.as_bytes()[..40]), @"warning: ~/.codex-manager/cooldown.json is not JSON at line 1, column 40");
    assert_snapshot!(told(b"[]"), @"warning: ~/.codex-manager/cooldown.json is no list of accounts");
    let home = TestHome::at("2026-11-21T10:00:00Z");
    std::fs::create_dir_all(home.manager("cooldown.json")).unwrap();
    assert_snapshot!(home.run("cooldown"), @"
    $ codex-manager cooldown
    warning: cannot read ~/.codex-manager/cooldown.json: it is a folder, not a regular file
    no account is known yet: `codex-manager backup` stores the current one
    ");
}

#[test]
fn an_archive_that_cannot_be_read_makes_nobody_ready() {
    let garbage = ".codex-manager/backups/2026-01-01-000000-eve@example.com-codex.tar.gz";
    let home = TestHome::of_ada().file(garbage, "garbage");
    let advice = home.json("recommend");
    assert_eq!(advice["data"]["selected"]["email"], "ada@example.com", "{advice:#}");
    assert_eq!(advice["data"]["alternatives"].as_array().unwrap().len(), 0, "{advice:#}");
    assert!(advice["warnings"][0].as_str().unwrap().contains("eve@example.com"), "{advice:#}");
}

#[test]
fn a_figure_keeps_its_own_source_and_age_when_a_guess_follows() {
    let text = "Account: ada@example.com (Plus)\nWeekly limit: 60% left (resets 10:02 on 26 Nov)\n";
    let home = TestHome::at("2026-11-21T10:00:00Z").signed_in("ada@example.com").file("s", text);
    home.run("backup --status-file s");
    let home = home.later("+2h");
    home.run("backup --without-status-check");
    let row = home.json("cooldown")["data"]["accounts"][0].clone();
    assert_eq!(row["left_percent"], 60.0);
    assert_eq!(row["source"], "status-text", "{row:#}");
    assert_eq!(row["observed_at"], "2026-11-21T11:00:00+01:00");
}
