//! Does it hold for homes that are not simply one folder?

use std::fs;

use crate::backup::{assert_whole, lived_in, restored_elsewhere};
use crate::lab::Lab;
use crate::manager::envelope;
use crate::restore::{assert_goes_on, assert_rows_lead_into};
use crate::tree::{Tree, differences, tree};

#[cfg(unix)]
#[test]
fn a_home_behind_a_link_is_restored_behind_it() {
    let lab = Lab::new();
    let (link, real) = (lab.home().path().to_owned(), lab.place("real-home"));
    fs::rename(&link, &real).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let (first, second) = lived_in(&lab.home());
    let snapshot = lab.backup();

    let copy = restored_elsewhere(&lab, &snapshot, "copy");
    assert_whole(&copy);
    let old = tree(&real);
    assert_goes_on(&lab, &copy, &first, &second);
    assert_unchanged(&old, &tree(&real));

    fs::remove_dir_all(real.join("sessions")).unwrap();
    lab.ask(&["restore", &snapshot, "--yes"]);
    assert_eq!(fs::read_link(&link).unwrap(), real);
    assert_rows_lead_into(&lab.home());
    assert_goes_on(&lab, &lab.home(), &first, &second);
}

#[test]
fn databases_outside_the_home_come_back_to_their_place() {
    let lab = Lab::new();
    let folder = lab.place("databases");
    lab.home().set_sqlite_home(folder.to_str().unwrap());
    let home = lab.home().with_databases_in(&folder);
    let (first, second) = lived_in(&home);
    assert!(!home.path().join("state_5.sqlite").exists());
    let before = (tree(home.path()), tree(&folder));
    let snapshot = lab.backup();
    assert_unchanged(&before.0, &tree(home.path()));
    assert_unchanged(&before.1, &tree(&folder));
    lab.verify_all();

    fs::remove_dir_all(home.path().join("sessions")).unwrap();
    fs::write(folder.join("state_5.sqlite"), "no database any more").unwrap();
    fs::write(folder.join("state_5.sqlite-wal"), vec![0x37; 8192]).unwrap();
    let data = lab.ask(&["restore", &snapshot, "--yes"]);
    assert_eq!(data["databases"], folder.to_str().unwrap(), "{data}");
    assert!(!folder.join("state_5.sqlite-wal").exists());
    assert!(!home.path().join("state_5.sqlite").exists());
    assert!(!home.path().join(".codex-manager").exists());
    assert_whole(&home);
    assert_rows_lead_into(&home);
    assert_goes_on(&lab, &home, &first, &second);

    // What was there is kept, however broken.
    let undo = std::path::Path::new(data["undo"].as_str().unwrap()).with_file_name("sqlite_home");
    let kept = |name: &str| fs::read(undo.join(name)).unwrap();
    assert_eq!(kept("state_5.sqlite"), b"no database any more");
    assert_eq!(kept("state_5.sqlite-wal"), vec![0x37; 8192]);
}

#[test]
fn a_copy_of_a_home_with_databases_outside_says_what_to_change_and_then_stands_alone() {
    let lab = Lab::new();
    let folder = lab.place("databases");
    lab.home().set_sqlite_home(folder.to_str().unwrap());
    let (first, second) = lived_in(&lab.home());
    let snapshot = lab.backup();
    let copy = lab.home_at("copy");
    let ended = lab.manager(&["restore", &snapshot, "--to", copy.path().to_str().unwrap()]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let warnings = envelope(&ended)["warnings"].to_string();
    assert!(warnings.contains("sqlite_home") && warnings.contains(folder.to_str().unwrap()));

    let config = fs::read_to_string(copy.path().join("config.toml")).unwrap();
    let others: Vec<_> = config.lines().filter(|line| !line.starts_with("sqlite_home")).collect();
    fs::write(copy.path().join("config.toml"), others.join("\n")).unwrap();
    assert_whole(&copy);
    assert_rows_lead_into(&copy);
    let before = (tree(lab.home().path()), tree(&folder));
    assert_goes_on(&lab, &copy, &first, &second);
    assert_unchanged(&before.0, &tree(lab.home().path()));
    assert_unchanged(&before.1, &tree(&folder));
}

#[test]
fn databases_in_a_folder_of_the_home_move_with_it() {
    let lab = Lab::new();
    lab.home().set_sqlite_home("databases");
    let (first, second) = lived_in(&lab.home());
    let snapshot = lab.backup();
    let copy = restored_elsewhere(&lab, &snapshot, "copy").with_databases_in("databases");
    assert_whole(&copy);
    assert_rows_lead_into(&copy);
    let old = tree(lab.home().path());
    assert_goes_on(&lab, &copy, &first, &second);
    assert_unchanged(&old, &tree(lab.home().path()));
}

#[track_caller]
fn assert_unchanged(before: &Tree, after: &Tree) {
    let differences = differences(before, after);
    assert!(differences.is_empty(), "{differences:?}");
}
