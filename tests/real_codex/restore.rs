//! Does Codex go on where it was, in the home that was restored and in no other?

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::backup::{assert_whole, lived_in, restored_elsewhere};
use crate::lab::{Home, Lab, text};
use crate::manager::envelope;
use crate::tree::{differences, tree};

#[test]
fn a_home_restored_elsewhere_goes_on_there_while_the_old_one_is_still_there() {
    let lab = Lab::new();
    let (first, second) = lived_in(&lab.home());
    let snapshot = lab.backup();
    let copy = restored_elsewhere(&lab, &snapshot, "elsewhere");
    assert_rows_lead_into(&copy);

    let old = tree(lab.home().path());
    assert_goes_on(&lab, &copy, &first, &second);
    assert_eq!(differences(&old, &tree(lab.home().path())), BTreeSet::new());
}

#[test]
fn a_home_restored_elsewhere_goes_on_there_after_the_old_one_is_gone() {
    let lab = Lab::new();
    let (first, second) = lived_in(&lab.home());
    let snapshot = lab.backup();
    fs::remove_dir_all(lab.home().path()).unwrap();
    let copy = restored_elsewhere(&lab, &snapshot, "elsewhere");

    assert_goes_on(&lab, &copy, &first, &second);
    assert!(!lab.home().path().exists());
}

#[test]
fn a_damaged_home_goes_on_after_it_was_restored_in_place() {
    let lab = Lab::new();
    let home = lab.home();
    let (first, second) = lived_in(&home);
    let rollouts = home.rollouts();
    let snapshot = lab.backup();

    fs::remove_dir_all(home.path().join("sessions")).unwrap();
    fs::write(home.path().join("state_5.sqlite"), "no database any more").unwrap();
    // The leftover that destroys a restored database, if it ever meets it.
    fs::write(home.path().join("state_5.sqlite-wal"), vec![0x37; 8192]).unwrap();
    lab.ask(&["restore", &snapshot, "--yes"]);

    assert_eq!(home.rollouts(), rollouts);
    assert_whole(&home);
    assert_rows_lead_into(&home);
    assert_goes_on(&lab, &home, &first, &second);
}

#[test]
fn a_restore_in_place_is_refused_while_codex_has_the_home_open() {
    let lab = Lab::new();
    lived_in(&lab.home());
    let snapshot = lab.backup();
    let server = lab.home().app_server();
    let (rollouts, auth) = (lab.home().rollouts(), auth(lab.home().path()));

    let ended = lab.manager(&["restore", &snapshot, "--yes"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    let envelope = envelope(&ended);
    assert_eq!(envelope["ok"], false, "{envelope}");
    let pid = server.pid().to_string();
    let said = envelope["error"].to_string();
    let numbers: Vec<_> = said.split(|c: char| !c.is_ascii_digit()).collect();
    assert!(numbers.contains(&pid.as_str()), "process {pid} is not named in {said}");
    assert_eq!(lab.home().rollouts(), rollouts);
    assert_eq!(self::auth(lab.home().path()), auth);

    drop(server);
    lab.ask(&["restore", &snapshot, "--yes"]);
}

/// Both sessions remember, by id and as the last one, and whatever is written is written here,
/// behind what was there.
#[track_caller]
pub(crate) fn assert_goes_on(lab: &Lab, home: &Home<'_>, first: &str, second: &str) {
    let before = home.rollouts();
    assert_eq!(home.resume(second, "which number?").session, second);
    assert!(lab.mock.last_turn().texts.contains(&"the number is seven".to_owned()));
    assert_eq!(home.resume(first, "which colour and animal?").session, first);
    let texts = lab.mock.last_turn().texts;
    assert!(texts.contains(&"the colour is teal".to_owned()));
    assert!(texts.contains(&"and the animal is a heron".to_owned()));
    assert_eq!(home.resume_last("which colour again?").session, first);
    assert!(lab.mock.last_turn().texts.contains(&"the colour is teal".to_owned()));

    let after = home.rollouts();
    assert!(after.keys().eq(before.keys()), "{:#?}", after.keys());
    for (path, bytes) in &after {
        let old = &before[path];
        assert!(bytes.starts_with(old) && bytes.len() > old.len(), "{}", path.display());
    }
}

/// The index names the files of this home and not those of the home it was copied from.
#[track_caller]
pub(crate) fn assert_rows_lead_into(home: &Home<'_>) {
    let root = home.path().canonicalize().unwrap();
    let threads = home.threads();
    assert!(!threads.is_empty());
    for row in threads.values() {
        let rollout = text(row, "rollout_path");
        assert!(Path::new(&rollout).starts_with(&root), "{rollout}");
        assert!(Path::new(&rollout).is_file(), "{rollout}");
    }
}

fn auth(home: &Path) -> Vec<u8> {
    fs::read(home.join("auth.json")).unwrap()
}
