//! Are the figures those that the service sent, to the second?

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::lab::{Lab, TEN_DAYS};
use crate::mock::account::{ADA, BOB, FIVE_HOURS, Quota, WEEK, Window};
use crate::mock::now;

#[test]
fn a_snapshot_carries_the_quota_of_the_last_turn() {
    let lab = Lab::new();
    let weekly = Window { used_percent: 41.0, minutes: WEEK, resets_at: now() + 250_001 };
    let short = Window { used_percent: 12.5, minutes: FIVE_HOURS, resets_at: now() + 7_777 };
    lab.mock.set_quota(&ADA, Quota { primary: Some(short), secondary: Some(weekly) });
    lab.home().exec("use some");

    lab.ask(&["backup"]);
    let snapshot = lab.newest_snapshot(&ADA);
    assert_eq!(snapshot["quota"]["source"], "rollout");
    assert_windows(&snapshot["quota"]["windows"], &[short, weekly]);
    assert_week(&snapshot, weekly);
}

#[test]
fn the_weekly_window_is_known_by_its_length_and_not_by_its_slot() {
    let lab = Lab::new();
    let weekly = Window { used_percent: 73.0, minutes: WEEK, resets_at: now() + 400_003 };
    lab.mock.set_quota(&ADA, Quota { primary: Some(weekly), secondary: None });
    lab.home().exec("use some");

    lab.ask(&["backup"]);
    let snapshot = lab.newest_snapshot(&ADA);
    assert_windows(&snapshot["quota"]["windows"], &[weekly]);
    assert_week(&snapshot, weekly);
}

#[test]
fn an_exhausted_account_cools_down_until_the_instant_the_service_named() {
    let lab = Lab::new();
    let weekly = Window { used_percent: 100.0, minutes: WEEK, resets_at: now() + 90_061 };
    lab.mock.set_quota(&ADA, Quota { primary: None, secondary: Some(weekly) });
    let ended = lab.home().start_exec(&["one too many"]).wait();
    assert_eq!(ended.code, Some(1), "{}", ended.stdout);
    assert_eq!(lab.mock.last_turn().status, 429);

    lab.ask(&["backup"]);
    let selected = &lab.ask(&["recommend"])["selected"];
    assert_eq!(selected["email"], ADA.email, "{selected}");
    assert_eq!(selected["state"], "cooldown", "{selected}");
    assert_eq!(instant(&selected["next_available_at"]), at(weekly.resets_at));
}

#[test]
fn an_account_with_something_left_is_recommended_before_an_exhausted_one() {
    let lab = Lab::new();
    lab.home().exec("as ada");
    lab.ask(&["backup"]);

    lab.home().sign_in(&BOB, TEN_DAYS);
    let weekly = Window { used_percent: 100.0, minutes: WEEK, resets_at: now() + 90_061 };
    lab.mock.set_quota(&BOB, Quota { primary: None, secondary: Some(weekly) });
    assert_eq!(lab.home().start_exec(&["as bob, one too many"]).wait().code, Some(1));
    lab.ask(&["backup"]);
    // Nobody told us that Bob had signed in; his session did.
    let snapshots = lab.ask(&["list"])["snapshots"].clone();
    let mut snapshots = snapshots.as_array().unwrap().iter();
    let bobs = snapshots.find(|snapshot| snapshot["email"] == BOB.email).unwrap();
    assert_eq!(bobs["quota"]["source"], "rollout", "{bobs}");

    let recommended = lab.ask(&["recommend"]);
    assert_eq!(recommended["selected"]["email"], ADA.email, "{recommended}");
    assert_eq!(recommended["selected"]["state"], "ready", "{recommended}");
    let alternative = &recommended["alternatives"][0];
    assert_eq!(alternative["email"], BOB.email, "{recommended}");
    assert_eq!(instant(&alternative["next_available_at"]), at(weekly.resets_at));
}

#[test]
fn status_tells_the_figures_of_the_last_turn_and_spends_no_login() {
    let lab = Lab::new();
    let weekly = Window { used_percent: 41.0, minutes: WEEK, resets_at: now() + 250_001 };
    let short = Window { used_percent: 12.5, minutes: FIVE_HOURS, resets_at: now() + 7_777 };
    lab.mock.set_quota(&ADA, Quota { primary: Some(short), secondary: Some(weekly) });
    lab.home().exec("use some");
    let auth = lab.home().path().join("auth.json");
    let before = (std::fs::read(&auth).unwrap(), lab.mock.seen().len());

    let status = lab.ask(&["status"]);
    assert_eq!(status["source"], "rollout", "{status}");
    assert_eq!(status["email"], ADA.email, "{status}");
    assert_windows(&status["windows"], &[short, weekly]);
    assert_eq!(instant(&status["next_available_at"]), at(weekly.resets_at));
    // Nobody was asked for anything.
    assert_eq!((std::fs::read(&auth).unwrap(), lab.mock.seen().len()), before);
}

/// The windows are these, in any order.
#[track_caller]
fn assert_windows(windows: &Value, expected: &[Window]) {
    let windows = windows.as_array().unwrap_or_else(|| panic!("no windows but {windows}"));
    assert_eq!(windows.len(), expected.len(), "{windows:?}");
    for window in expected {
        let found = windows.iter().find(|found| found["minutes"] == window.minutes);
        let found = found.unwrap_or_else(|| panic!("no {} minutes in {windows:?}", window.minutes));
        assert_eq!(found["used_percent"].as_f64(), Some(window.used_percent), "{found}");
        assert_eq!(instant(&found["resets_at"]), at(window.resets_at));
    }
}

/// The week of a snapshot begins seven days before the reset, and the name says when.
#[track_caller]
fn assert_week(snapshot: &Value, weekly: Window) {
    let start = at(weekly.resets_at) - TimeDelta::days(7);
    assert_eq!(instant(&snapshot["next_available_at"]), at(weekly.resets_at));
    assert_eq!(instant(&snapshot["session_start_at"]), start);
    let name = format!("{}-{}-codex.tar.gz", start.format("%Y-%m-%d-%H%M%S"), ADA.email);
    assert_eq!(snapshot["archive"]["name"], name.as_str());
}

#[track_caller]
fn instant(value: &Value) -> DateTime<Utc> {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is no instant"));
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}
