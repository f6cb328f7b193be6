//! Does Codex tell what is left when it is asked, and does it keep its hands off everything else?
//!
//! The newest version and one of spring 2026. Each starts one home and is asked many times, since
//! every question starts a Codex.

use std::fs;

use serde_json::Value;

use crate::lab::{Lab, TEN_DAYS};
use crate::manager::{data, envelope};
use crate::mock::account::{ADA, BOB, FIVE_HOURS, Quota, WEEK, Window};
use crate::mock::{Seen, Usage, now};
use crate::tree::{differences, tree};

/// More than a Codex on a busy machine needs.
const SECONDS: u32 = 60;

const MONTH: i64 = 43_200;

#[test]
fn the_newest_codex_tells_what_is_left_and_changes_nothing() {
    everything(&Lab::new());
}

#[test]
fn the_codex_of_spring_2026_tells_what_is_left_and_changes_nothing() {
    everything(&Lab::of_spring());
}

/// One after the other, in one home.
fn everything(lab: &Lab) {
    let home = lab.home().path().to_owned();
    let before = tree(&home);
    figures(lab);
    troubles(lab);
    assert_eq!(refreshes(lab), 0, "nothing was spent");
    assert!(differences(&before, &tree(&home)).is_empty(), "the live home is as it was");
    soon_expired(lab);
    assert_eq!(refreshes(lab), 0, "nothing was spent");
    another_account(lab);
    refreshed(lab);
    let left = fs::read_dir(lab.place("manager/tmp")).unwrap().count();
    assert_eq!(left, 0, "every private home is gone");
}

fn refreshes(lab: &Lab) -> usize {
    lab.mock.seen().iter().filter(|seen| seen.is_refresh()).count()
}

/// What `status --live` tells, which has to come from Codex itself.
#[track_caller]
fn told(lab: &Lab, args: &[&str]) -> Value {
    let status = data(&lab.manager_with_codex(SECONDS, &[&["status", "--live"], args].concat()));
    assert_eq!(status["source"], "app-server", "{status}");
    status
}

#[track_caller]
fn trouble(lab: &Lab, seconds: u32) -> Value {
    let ledger = || fs::read(lab.place("manager").join("ledger.jsonl")).unwrap();
    let before = ledger();
    let status = data(&lab.manager_with_codex(seconds, &["status"]));
    // What was read before is told again, and not taken for something new.
    assert_eq!(status["source"], "app-server", "{status}");
    assert!(ledger() == before, "{status}");
    status["problem"]["kind"].clone()
}

fn window(used_percent: f64, minutes: i64, resets_at: i64) -> Window {
    Window { used_percent, minutes, resets_at }
}

/// Windows are those that the service sent, by length and to the second.
fn figures(lab: &Lab) {
    let now = now();
    let week = |used| window(used, WEEK, now + 250_001);
    let short = |used| window(used, FIVE_HOURS, now + 7_777);
    // Of a window that nobody has used, no reset is told.
    let untouched = window(0.0, WEEK, now + WEEK * 60);
    for (primary, secondary, left, reached) in [
        (Some(short(12.0)), Some(week(50.0)), 50.0, false),
        (Some(short(1.0)), Some(week(100.0)), 0.0, true),
        (Some(short(100.0)), Some(week(3.0)), 0.0, true),
        (None, Some(week(41.0)), 59.0, false),
        (Some(week(41.0)), None, 59.0, false),
        (Some(window(20.0, MONTH, now + 999_999)), None, 80.0, false),
        (Some(short(7.0)), Some(untouched), 93.0, false),
    ] {
        lab.mock.set_quota(&ADA, Quota { primary, secondary });
        let status = told(lab, &[]);
        assert_eq!(status["email"], ADA.email);
        assert_eq!(status["left_percent"], left, "{status}");
        let sent: Vec<Window> = [primary, secondary].into_iter().flatten().collect();
        let found = status["windows"].as_array().unwrap();
        assert_eq!(found.len(), sent.len(), "{status}");
        for sent in sent {
            let found = found.iter().find(|found| found["minutes"] == sent.minutes).unwrap();
            assert_eq!(found["used_percent"], sent.used_percent, "{status}");
            let reset = found["resets_at"]
                .as_str()
                .map(|at| chrono::DateTime::parse_from_rfc3339(at).unwrap().timestamp());
            assert_eq!(reset, (sent != untouched).then_some(sent.resets_at), "{status}");
        }
        // Older versions do not say it in as many words.
        if !status["limit_reached"].is_null() {
            assert_eq!(status["limit_reached"], reached, "{status}");
        }
    }
    lab.mock.set_quota(&ADA, Quota { primary: None, secondary: None });
    assert_eq!(told(lab, &[])["windows"], Value::Array(Vec::new()));
}

/// Each failure is known for what it is.
fn troubles(lab: &Lab) {
    for (usage, seconds, kind) in [
        (Usage::Broken, SECONDS, "service-error"),
        (Usage::Refused, SECONDS, "token-refused"),
        (Usage::Late, 3, "too-slow"),
    ] {
        lab.mock.set_usage(usage);
        assert_eq!(trouble(lab, seconds), kind);
    }
    lab.mock.set_usage(Usage::Well);
    let ended = lab.manager_with_codex(SECONDS, &["status", "--live", "--codex-home", "nowhere"]);
    assert_eq!(ended.code, Some(4), "{}", ended.stdout);

    // Nobody is there at all.
    let config = lab.home().path().join("config.toml");
    let text = fs::read_to_string(&config).unwrap();
    let modified = fs::metadata(&config).unwrap().modified().unwrap();
    fs::write(&config, text.replace(lab.mock.origin(), "https://127.0.0.1:9")).unwrap();
    assert_eq!(trouble(lab, SECONDS), "unreachable");
    fs::write(&config, text).unwrap();
    fs::File::options().write(true).open(&config).unwrap().set_modified(modified).unwrap();
}

/// Newer versions would refresh a token that ends within minutes; here they cannot, and go on.
fn soon_expired(lab: &Lab) {
    lab.mock.set_quota(&ADA, Quota::ordinary(now()));
    lab.home().sign_in(&ADA, 200);
    let status = told(lab, &[]);
    assert_eq!(status["left_percent"], 66.0, "{status}");
}

/// One that is named is asked with its stored login; the live one is not looked at.
fn another_account(lab: &Lab) {
    lab.home().sign_in(&BOB, TEN_DAYS);
    lab.backup();
    lab.home().sign_in(&ADA, TEN_DAYS);
    let weekly = window(73.0, WEEK, now() + 400_003);
    lab.mock.set_quota(&BOB, Quota { primary: None, secondary: Some(weekly) });
    let status = told(lab, &["bob@example.com"]);
    assert_eq!((&status["email"], &status["left_percent"]), (&BOB.email.into(), &27.0.into()));
    assert_eq!(refreshes(lab), 0, "nothing was spent");
}

/// Only when it is told to does Codex refresh the login, and that is stored.
fn refreshed(lab: &Lab) {
    let auth = lab.home().path().join("auth.json");
    lab.home().sign_in(&ADA, -60);
    let old = fs::read(&auth).unwrap();
    assert_eq!(trouble(lab, SECONDS), "token-expired");
    assert_eq!((refreshes(lab), fs::read(&auth).unwrap()), (0, old.clone()));

    let status = data(&lab.manager_with_codex(SECONDS, &["status", "--refresh"]));
    assert_eq!((&status["refreshed"], &status["left_percent"]), (&true.into(), &66.0.into()));
    // One that has expired Codex refreshes by itself, and then once more because it is told to.
    let spent = refreshes(lab);
    assert!((1..=2).contains(&spent), "{spent}");
    assert_ne!(fs::read(&auth).unwrap(), old);
    assert!(lab.mock.seen().iter().filter(|seen| seen.is_refresh()).all(is_well));
    let newest = lab.newest_snapshot(&ADA);
    assert_eq!((&newest["email"], &newest["kind"]), (&ADA.email.into(), &"auth".into()));
    let archived = lab.place("manager/backups").join(newest["archive"]["name"].as_str().unwrap());
    assert!(archived.exists());

    // What was stored is the login that works: Codex itself does not refresh it again.
    lab.home().exec("still signed in");
    assert_eq!(refreshes(lab), spent);

    // One that was spent elsewhere is told for what it is.
    fs::write(&auth, old).unwrap();
    let ended = lab.manager_with_codex(SECONDS, &["status", "--refresh"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stdout);
    let error = envelope(&ended)["error"]["message"].clone();
    assert_eq!(error, "no live figures: the login could not be refreshed");
}

fn is_well(seen: &Seen) -> bool {
    seen.status == 200
}
