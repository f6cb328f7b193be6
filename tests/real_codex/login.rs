//! Does Codex work as the account that was chosen, and is no login lost on the way?

use std::fs;

use crate::lab::{Lab, TEN_DAYS};
use crate::mock::account::{ADA, BOB};
use crate::mock::reply;

#[test]
fn use_makes_codex_work_as_the_other_account_and_back() {
    let lab = Lab::new();
    let home = lab.home();
    let mine = home.exec("as ada");
    lab.backup();
    home.sign_in(&BOB, TEN_DAYS);
    home.exec("as bob");
    lab.backup();

    for person in [ADA, BOB, ADA] {
        lab.ask(&["use", person.email]);
        assert_eq!(home.exec("who am I?").answer, reply(&person, "who am I?"));
        let seen = lab.mock.last_turn();
        assert_eq!((seen.status, seen.account), (200, Some(person.account)));
    }
    // The work of both stayed where it was.
    home.resume(&mine.session, "what did I say?");
    assert!(lab.mock.last_turn().texts.contains(&"as ada".to_owned()));
    assert_eq!(home.rollouts().len(), 5);
}

#[test]
fn a_login_that_was_never_backed_up_survives_a_switch() {
    let lab = Lab::new();
    lab.backup();
    lab.home().sign_in(&BOB, TEN_DAYS);

    lab.ask(&["use", ADA.email]);
    assert_eq!(lab.home().exec("who am I?").answer, reply(&ADA, "who am I?"));
    lab.ask(&["use", BOB.email]);
    assert_eq!(lab.home().exec("who am I?").answer, reply(&BOB, "who am I?"));
}

#[test]
fn a_switch_away_and_back_returns_the_login_that_codex_refreshed_last() {
    let lab = Lab::new();
    let home = lab.home();
    home.sign_in(&ADA, -60);
    lab.backup();
    // The snapshot's refresh token is used up from here on.
    home.exec("refreshes");
    home.sign_in(&BOB, TEN_DAYS);
    lab.backup();
    home.sign_in(&ADA, TEN_DAYS);
    home.exec("as ada with a newer login");
    let newest = fs::read(home.path().join("auth.json")).unwrap();

    lab.ask(&["use", BOB.email]);
    lab.ask(&["use", ADA.email]);
    assert_eq!(fs::read(home.path().join("auth.json")).unwrap(), newest);
    assert_eq!(home.exec("who am I?").answer, reply(&ADA, "who am I?"));
}

#[test]
fn a_restore_keeps_the_login_that_is_newer_than_the_snapshots() {
    let lab = Lab::new();
    let home = lab.home();
    home.sign_in(&ADA, -60);
    let snapshot = lab.backup();
    home.exec("refreshes, so that the snapshot's login is dead");
    let live = fs::read(home.path().join("auth.json")).unwrap();

    let data = lab.ask(&["restore", &snapshot, "--yes"]);
    assert_eq!(data["login"], "kept-live", "{data}");
    assert_eq!(fs::read(home.path().join("auth.json")).unwrap(), live);
    assert_eq!(home.exec("still signed in?").answer, reply(&ADA, "still signed in?"));
}

#[test]
fn a_further_login_is_stored_and_the_live_one_stays_and_works() {
    let lab = Lab::new();
    let home = lab.home();
    let live = home.path().join("auth.json");
    let before = fs::read(&live).unwrap();

    let key = ["login", "--with-api-key", "--alias", "key"];
    let data = lab.tell("sk-made-up", &key);
    assert_eq!((&data["stored"], &data["alias"]), (&true.into(), &"key".into()), "{data}");
    assert_eq!(fs::read(&live).unwrap(), before);
    assert_eq!(fs::read_dir(lab.place("manager/tmp")).unwrap().count(), 0, "nothing is left");
    assert_eq!(home.exec("still ada").answer, reply(&ADA, "still ada"));
    assert_eq!(lab.tell("sk-made-up", &key)["stored"], false, "it is the same login");

    lab.ask(&["use", "key"]);
    let now: serde_json::Value = serde_json::from_slice(&fs::read(&live).unwrap()).unwrap();
    assert_eq!(now["OPENAI_API_KEY"], "sk-made-up");
    lab.ask(&["use", ADA.email]);
    assert_eq!(home.exec("ada again").answer, reply(&ADA, "ada again"));
}
