//! Is every mistake of the older Python tool one that this program does not make?
//!
//! One test for each, named by what holds here.

use serde_json::Value;

use crate::home::TestHome;

fn panel(account: &str, weekly: &str) -> String {
    format!("│  Account:        {account}  │\n│  Weekly limit:   [████░░] {weekly}  │\n")
}

/// What `status` reads from a text that was captured at `seen` in Berlin.
#[track_caller]
fn status(seen: &str, now: &str, text: &str) -> Value {
    let home = TestHome::at(seen).signed_in("ada@example.com").file("status.txt", text).now(now);
    home.json("status --status-file status.txt")["data"].clone()
}

fn account<'a>(answer: &'a Value, email: &str) -> &'a Value {
    let rows = answer["data"]["accounts"].as_array().unwrap();
    rows.iter().find(|row| row["email"] == email).unwrap_or_else(|| panic!("no {email}: {rows:#?}"))
}

#[test]
#[rustfmt::skip]
fn the_year_of_a_date_is_the_one_that_fits_the_day_it_was_seen() {
    //     seen                    now                     text      resets at
    check("2026-11-18T10:00:00Z", "2026-11-18T10:00:00Z", "19 Nov", "2026-11-19T10:02:00+01:00");
    check("2026-11-18T10:00:00Z", "2026-11-21T10:00:00Z", "19 Nov", "2026-11-19T10:02:00+01:00");
    check("2026-11-21T10:00:00Z", "2026-11-21T10:00:00Z", "19 Nov", "2026-11-19T10:02:00+01:00");
    check("2026-12-30T10:00:00Z", "2026-12-30T10:00:00Z", "3 Jan",  "2027-01-03T10:02:00+01:00");
    check("2027-01-02T10:00:00Z", "2027-01-02T10:00:00Z", "31 Dec", "2026-12-31T10:02:00+01:00");
    check("2031-05-01T10:00:00Z", "2031-05-01T10:00:00Z", "4 May",  "2031-05-04T10:02:00+02:00");
    check("2028-02-27T10:00:00Z", "2028-02-27T10:00:00Z", "29 Feb", "2028-02-29T10:02:00+01:00");

    #[track_caller]
    fn check(seen: &str, now: &str, day: &str, expected: &str) {
        let text = panel("ada@example.com (Plus)", &format!("52% left (resets 10:02 on {day})"));
        assert_eq!(status(seen, now, &text)["windows"][0]["resets_at"], expected);
    }
}

#[test]
#[rustfmt::skip]
fn a_reset_keeps_its_wall_clock_over_the_end_and_the_begin_of_summer_time() {
    check("Europe/Berlin",    "2026-10-22T10:00:00Z", "26 Oct", "2026-10-26T10:02:00+01:00");
    check("Europe/Berlin",    "2026-03-26T10:00:00Z", "30 Mar", "2026-03-30T10:02:00+02:00");
    check("America/New_York", "2026-10-30T10:00:00Z", "3 Nov",  "2026-11-03T10:02:00-05:00");
    check("Asia/Kolkata",     "2026-10-22T10:00:00Z", "26 Oct", "2026-10-26T10:02:00+05:30");

    #[track_caller]
    fn check(zone: &str, seen: &str, day: &str, expected: &str) {
        let text = panel("ada@example.com (Plus)", &format!("0% left (resets 10:02 on {day})"));
        let home = TestHome::at(seen).zone(zone).signed_in("ada@example.com").file("s.txt", text);
        home.run("backup --status-file s.txt");
        let row = home.json("cooldown")["data"]["accounts"][0].clone();
        assert_eq!((&row["state"], &row["next_available_at"]), (&"cooldown".into(), &expected.into()));
        // Seven days are 604,800 seconds, so a week over a change begins at another wall clock.
        let (from, to) = (&row["session_start_at"], &row["next_available_at"]);
        let instant = |at: &Value| chrono::DateTime::parse_from_rfc3339(at.as_str().unwrap()).unwrap();
        assert_eq!((instant(to) - instant(from)).num_seconds(), 604_800);
    }
}

#[test]
fn a_day_that_no_calendar_has_stops_nothing() {
    let home = TestHome::at("2026-11-21T10:00:00Z")
        .legacy_auth("31feb_eve@example.com_auth.json", "2026-02-24T11:00:00Z")
        .legacy_auth("29feb_mallory@example.com_auth.json", "2026-02-22T11:00:00Z")
        .legacy_auth("21apr_ada@example.com_auth.json", "2026-04-14T15:55:00Z");
    let seen = home.play("normalize legacy");
    assert_eq!(seen.exit, 0, "{}", seen.screen);
    let inventory: Value =
        serde_json::from_slice(&home.read(".codex-manager/inventory.json")).unwrap();
    let records = inventory["records"].as_array().unwrap();
    let told = |email: &str| {
        let record = records.iter().find(|record| record["email"] == email).unwrap();
        record["validation_status"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        ["eve@example.com", "mallory@example.com", "ada@example.com"].map(told),
        ["mismatch", "mismatch", "ok"]
    );
}

#[test]
fn two_records_of_one_address_never_make_it_ready_while_the_newer_says_cooldown() {
    // A week that began on 14 November was used up by the 18th; one of April is long over.
    let home = TestHome::at("2026-11-18T10:00:00Z")
        .legacy_auth("21apr_ada@example.com_auth.json", "2026-04-14T15:55:00Z")
        .legacy_auth("24nov_ada@example.com_auth.json", "2026-11-17T12:00:00Z");
    let seen = home.play("normalize legacy --adopt");
    assert_eq!(seen.exit, 0, "{}", seen.screen);
    let answer = home.json("cooldown");
    assert_eq!(answer["data"]["accounts"].as_array().unwrap().len(), 1, "{answer:#}");
    assert_eq!(account(&answer, "ada@example.com")["state"], "cooldown");
    assert_eq!(home.play("recommend --ready").exit, 10);
    // The same home a week later, with nothing else changed.
    let home = home.later("+10d");
    assert_eq!(home.json("recommend --ready")["data"]["selected"]["email"], "ada@example.com");
}

#[test]
fn an_account_with_half_of_its_week_left_may_work() {
    let text = panel("ada@example.com (Plus)", "55% left (resets 10:02 on 26 Nov)");
    let home = TestHome::at("2026-11-21T10:00:00Z").signed_in("ada@example.com").file("s", text);
    home.run("backup --status-file s");
    let answer = home.json("cooldown");
    let row = account(&answer, "ada@example.com");
    assert_eq!((&row["state"], &row["left_percent"]), (&"ready".into(), &55.0.into()));
    assert_eq!(home.json("recommend")["data"]["selected"]["email"], "ada@example.com");
}

#[test]
fn an_address_names_itself_and_never_one_that_ends_like_it() {
    let home = TestHome::at("2026-11-21T10:00:00Z").signed_in("b@x.example.com");
    home.run("backup");
    let home = home.later("+1h").signed_in("a-b@x.example.com");
    home.run("backup");
    let seen = home.play("use b@x.example.com");
    assert_eq!(seen.exit, 0, "{}", seen.screen);
    let live = String::from_utf8(home.read(".codex/auth.json")).unwrap();
    assert!(live.contains("rt_b-x-example-com"), "the login that was asked for is live");

    let only = TestHome::at("2026-11-21T10:00:00Z").signed_in("a-b@x.example.com");
    only.run("backup");
    let before = only.tree(".codex");
    let seen = only.play("use b@x.example.com");
    assert_eq!(seen.exit, 4, "{}", seen.screen);
    only.assert_same(".codex", &before);
}

#[test]
fn what_a_backup_learned_is_what_cooldown_tells() {
    let text = panel("ada@example.com (Plus)", "0% left (resets 10:02 on 26 Nov)");
    let home = TestHome::at("2026-11-21T10:00:00Z").signed_in("ada@example.com").file("s", text);
    home.run("backup --status-file s");
    let answer = home.json("cooldown");
    let row = account(&answer, "ada@example.com");
    assert_eq!(row["state"], "cooldown");
    assert_eq!(row["next_available_at"], "2026-11-26T10:02:00+01:00");
    assert_eq!(home.play("recommend --ready").exit, 10, "nobody is ready");
}

#[test]
fn a_text_that_says_nothing_never_means_ready() {
    let used_up = panel("ada@example.com (Plus)", "0% left (resets 10:02 on 26 Nov)");
    let home = TestHome::at("2026-11-21T10:00:00Z")
        .signed_in("ada@example.com")
        .file("used-up", used_up)
        .file("refreshing", panel("ada@example.com (Plus)", "Refresh requested; run /status again"))
        .file("cut", "│  Account: ada@example.com │\n│  Weekly limit: [██")
        .file("noise", "a line\nand another");
    home.run("status --status-file used-up");
    // A panel without figures is no error, and no reading.
    for (name, exit) in [("refreshing", 0), ("cut", 4), ("noise", 4)] {
        for command in ["status", "backup --force"] {
            let seen = home.play(&format!("{command} --status-file {name}"));
            assert_eq!(seen.exit, exit, "{command} {name}\n{}", seen.screen);
        }
        let answer = home.json("cooldown");
        assert_eq!(account(&answer, "ada@example.com")["state"], "cooldown", "{name}");
    }
}

#[test]
fn json_is_one_document_however_narrow_the_terminal_and_odd_the_names() {
    let home = TestHome::of_ada().columns(20);
    let long = "a label that is longer than a narrow terminal, with \\ and \" and ü and 🦀 in it";
    let seen = home.play(&format!("backup --label '{long}'"));
    assert_eq!(seen.exit, 0, "{}", seen.screen);
    for line in ["list", "show", "cooldown", "recommend", "verify --all", "doctor", "config list"] {
        let answer = home.json(line);
        assert_eq!(answer["error"], Value::Null, "{line}");
    }
    assert_eq!(home.json("list")["data"]["snapshots"][0]["label"], long);
}

#[test]
#[rustfmt::skip]
fn a_percentage_is_read_with_its_fraction_and_colours() {
    check("12.9% left (resets 10:02 on 26 Nov)",                        12.9);
    check("9% left (resets 10:02 on 26 Nov)",                           9.0);
    check("100% left (resets 10:02 on 26 Nov)",                         100.0);
    check("\u{1b}[33m12.9\u{1b}[0m% left (resets 10:02 on 26 Nov)",     12.9);

    #[track_caller]
    fn check(weekly: &str, left: f64) {
        let at = "2026-11-21T10:00:00Z";
        let found = status(at, at, &panel("ada@example.com (Plus)", weekly));
        assert_eq!(found["left_percent"], left, "{weekly:?}");
    }
}

#[test]
fn of_two_panels_the_later_one_counts() {
    let at = "2026-11-21T10:00:00Z";
    let older = panel("bob@example.com (Plus)", "90% left (resets 10:02 on 22 Nov)");
    let newer = panel("ada@example.com (Plus)", "7% left (resets 10:02 on 26 Nov)");
    let found = status(at, at, &format!("{older}\nmore work\n\n{newer}"));
    assert_eq!(
        (&found["email"], &found["left_percent"], &found["windows"][0]["resets_at"]),
        (&"ada@example.com".into(), &7.0.into(), &"2026-11-26T10:02:00+01:00".into())
    );
}

#[test]
#[rustfmt::skip]
fn colours_and_borders_are_no_part_of_an_address() {
    check("ada@example.com|");
    check("ada@example.com │");
    check("\u{1b}[1;32mada@example.com\u{1b}[0m");
    check("\u{1b}[1;32mada@example.com\u{1b}[0m|");
    check("<ada@example.com>,");
    check("ada@example.com(Plus)");

    #[track_caller]
    fn check(account: &str) {
        // Nobody is signed in, so the address can only be the one of the text.
        let home = TestHome::at("2026-11-21T10:00:00Z")
            .file(".codex/config.toml", "")
            .file("s", panel(account, "52% left (resets 10:02 on 26 Nov)"));
        let found = home.json("status --status-file s");
        assert_eq!(found["data"]["email"], "ada@example.com", "{account:?}");
    }
}
