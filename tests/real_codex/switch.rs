//! Does each account's login live on, however it is switched, and whoever refreshes meanwhile?

use std::fs;

use serde_json::{Value, json};

use crate::lab::{Lab, TEN_DAYS};
use crate::manager::envelope;
use crate::mock::account::{ADA, BOB};
use crate::mock::reply;

#[test]
fn away_and_back_an_account_goes_on_with_the_login_that_the_backend_gave_it_last() {
    let lab = Lab::new();
    let home = lab.home();
    home.sign_in(&BOB, TEN_DAYS);
    lab.backup();
    home.sign_in(&ADA, -60);
    lab.backup();
    // Uses up the token that is stored: what lives from here on is in auth.json alone.
    home.exec("refreshes");
    let refreshed = fs::read(home.path().join("auth.json")).unwrap();

    lab.ask(&["use", BOB.email]);
    assert_eq!(home.exec("who am I?").answer, reply(&BOB, "who am I?"));
    assert_eq!(lab.mock.last_turn().account, Some(BOB.account));
    lab.ask(&["use", "-"]);
    assert_eq!(fs::read(home.path().join("auth.json")).unwrap(), refreshed);
    // It is not only accepted now: its next refresh works too, and the one after that.
    for _ in 0..2 {
        let mut server = home.app_server();
        let account = server.ask("account/read", &json!({ "refreshToken": true }));
        assert_eq!(account["account"]["email"], ADA.email, "{account}");
        drop(server);
        lab.ask(&["use", "-"]);
        lab.ask(&["use", "-"]);
    }
    assert_eq!(home.exec("and now?").answer, reply(&ADA, "and now?"));
    assert_eq!(lab.mock.last_turn().account, Some(ADA.account));
    let refreshes = lab.mock.refreshes();
    assert_eq!(refreshes, [(Some(ADA.account), 200); 3], "no used token was tried");
}

#[test]
fn each_account_finds_its_own_sessions_after_a_switch_of_login_and_state() {
    let lab = Lab::new();
    let home = lab.home();
    home.exec("the word of ada is heron");
    lab.backup();
    fs::remove_dir_all(home.path().join("sessions")).unwrap();
    fs::remove_file(home.path().join("state_5.sqlite")).unwrap();
    home.sign_in(&BOB, TEN_DAYS);
    home.exec("the word of bob is teal");
    // His state is stored on the way out.
    lab.ask(&["use", ADA.email, "--full", "--yes"]);
    for (person, word) in [(ADA, "the word of ada is heron"), (BOB, "the word of bob is teal")] {
        assert_eq!(home.resume_last("which word?").answer, reply(&person, "which word?"));
        let turn = lab.mock.last_turn();
        assert_eq!(turn.account, Some(person.account));
        assert!(turn.texts.contains(&word.to_owned()), "{:?}", turn.texts);
        assert_eq!(home.rollouts().len(), 1);
        lab.ask(&["use", "-", "--full", "--yes"]);
    }
}

#[test]
fn a_switch_during_a_refresh_waits_for_codex_to_quit_and_a_mixed_login_is_nobodys() {
    let lab = Lab::new();
    let home = lab.home();
    let auth = home.path().join("auth.json");
    home.sign_in(&BOB, TEN_DAYS);
    lab.backup();
    let bob = fs::read(&auth).unwrap();
    home.sign_in(&ADA, TEN_DAYS);
    let before = fs::read(&auth).unwrap();

    let held = lab.mock.hold_refreshes();
    let mut server = home.app_server();
    server.begin_refresh();
    lab.mock.wait_for_refreshes(1);
    let refused = lab.manager(&["use", BOB.email]);
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert_eq!(fs::read(&auth).unwrap(), before);
    // Whoever insists: before 0.164.0 Codex then puts her new tokens into his file.
    lab.ask(&["use", BOB.email, "--force"]);
    drop(held);
    server.answer();
    drop(server);
    assert_eq!(lab.mock.refreshes(), [(Some(ADA.account), 200)]);
    let left = fs::read(&auth).unwrap();
    let mixed = if left == bob { mix(&bob, &before) } else { left };
    fs::write(&auth, &mixed).unwrap();

    let refused = lab.manager(&["backup", "--auth-only"]);
    assert_eq!(refused.code, Some(5), "{refused:?}");
    let said = envelope(&refused)["error"].to_string();
    assert!(said.contains(ADA.account) && said.contains(BOB.account), "{said}");
    let data = lab.ask(&["use", BOB.email]);
    assert!(data["banked"].as_str().is_some_and(|name| name.contains("orphan")), "{data}");
    assert_eq!(fs::read(&auth).unwrap(), bob);
    assert_eq!(home.exec("who am I?").answer, reply(&BOB, "who am I?"));
    // Nothing is thrown away, not even that.
    lab.ask(&["undo"]);
    assert_eq!(fs::read(&auth).unwrap(), mixed);
}

/// His file with her tokens in it, as Codex 0.118.0 leaves it when a switch meets its refresh.
fn mix(his: &[u8], hers: &[u8]) -> Vec<u8> {
    let parsed = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
    let (mut mixed, hers) = (parsed(his), parsed(hers));
    for token in ["id_token", "access_token", "refresh_token"] {
        mixed["tokens"][token] = hers["tokens"][token].clone();
    }
    serde_json::to_vec_pretty(&mixed).unwrap()
}
