//! Is the lab a place where Codex works as it does outside?
//!
//! No line here runs `codex-manager`: if one of these fails, no other file's failure means much.

use std::fs;

use crate::lab::{Lab, TEN_DAYS};
use crate::mock::account::{ADA, BOB};
use crate::mock::{Seen, reply};

#[test]
fn a_turn_is_answered_and_arrives_with_the_accounts_own_token() {
    let lab = Lab::new();
    assert_eq!(lab.home().exec("first words").answer, reply(&ADA, "first words"));
    let seen = lab.mock.last_turn();
    assert_eq!((seen.status, seen.account), (200, Some(ADA.account)));

    lab.home().sign_in(&BOB, TEN_DAYS);
    assert_eq!(lab.home().exec("other words").answer, reply(&BOB, "other words"));
    assert_eq!(lab.mock.last_turn().account, Some(BOB.account));
}

#[test]
fn a_resumed_session_sends_its_old_words_again() {
    let lab = Lab::new();
    let home = lab.home();
    let first = home.exec("the colour is teal");
    assert_eq!(home.resume_last("which colour?").session, first.session);
    assert!(lab.mock.last_turn().texts.contains(&"the colour is teal".to_owned()));

    let other = home.exec("the number is seven");
    assert_ne!(other.session, first.session);
    assert!(!lab.mock.last_turn().texts.contains(&"the colour is teal".to_owned()));

    assert_eq!(home.resume(&first.session, "which colour again?").session, first.session);
    let texts = lab.mock.last_turn().texts;
    assert!(texts.contains(&"the colour is teal".to_owned()));
    assert!(texts.contains(&reply(&ADA, "the colour is teal")));
    assert!(!texts.contains(&"the number is seven".to_owned()));
}

#[test]
fn an_app_server_sees_the_sessions_of_its_home() {
    let lab = Lab::new();
    let turn = lab.home().exec("hello");
    let mut server = lab.home().app_server();
    assert_eq!(server.threads(), [turn.session]);
}

#[cfg(target_os = "linux")]
#[test]
fn an_app_server_keeps_the_databases_open() {
    let lab = Lab::new();
    lab.home().exec("hello");
    let server = lab.home().app_server();
    let state = lab.home().path().join("state_5.sqlite").canonicalize().unwrap();
    let descriptors = fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap();
    let open: Vec<_> =
        descriptors.flatten().filter_map(|entry| fs::read_link(entry.path()).ok()).collect();
    assert!(open.contains(&state), "{open:#?}");
}

#[test]
fn a_refresh_token_works_once() {
    let lab = Lab::new();
    let auth = lab.home().path().join("auth.json");
    lab.home().sign_in(&ADA, -60);
    let old_login = fs::read(&auth).unwrap();
    lab.home().exec("refreshes first");
    assert_ne!(fs::read(&auth).unwrap(), old_login, "Codex stored the new tokens");
    lab.home().exec("needs no refresh");
    assert_eq!(lab.mock.seen().iter().filter(|seen| seen.is_refresh()).count(), 1);

    fs::write(&auth, old_login).unwrap();
    let ended = lab.home().start_exec(&["with a token that was used up"]).wait();
    assert_ne!(ended.code, Some(0), "{}", ended.stdout);
    let refused = lab.mock.seen().into_iter().rfind(Seen::is_refresh).unwrap();
    assert_eq!(refused.status, 401);
}

#[test]
fn a_turn_stays_in_flight_while_it_is_held() {
    let lab = Lab::new();
    let held = lab.mock.hold_turns();
    let running = lab.home().start_exec(&["take your time"]);
    lab.mock.wait_for_turns(1);
    let session = lab.home().rollouts();
    let content: Vec<_> = session.values().map(|bytes| String::from_utf8_lossy(bytes)).collect();
    assert_eq!(content.len(), 1);
    assert!(content[0].contains("take your time") && !content[0].contains("task_complete"));

    drop(held);
    assert_eq!(crate::lab::turn_of(&running.wait()).answer, reply(&ADA, "take your time"));
}
