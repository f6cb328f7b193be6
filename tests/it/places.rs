//! Homes that are links: does the link stay, and is what it leads to what was worked on?
//!
//! Homes on mounts of their own are in `tests/survival/places.rs`, for making a mount takes
//! rights that not every machine gives.

use std::fs;
use std::path::PathBuf;

use crate::home::TestHome;

/// Ada's home was stored and has changed since; both homes lie elsewhere, with links to them.
fn linked() -> TestHome {
    let home = TestHome::of_ada()
        .tokens_in("disk/codex")
        .tokens_in("vault/manager/undo")
        .file(".codex/skills/mine/SKILL.md", "as it was");
    for (name, elsewhere) in [(".codex", "disk/codex"), (".codex-manager", "vault/manager")] {
        let (from, to) = (home.path(name), home.path(elsewhere));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        match fs::rename(&from, &to) {
            Ok(()) => {}
            Err(_) => fs::create_dir(&to).unwrap(),
        }
        std::os::unix::fs::symlink(&to, &from).unwrap();
    }
    let seen = home.play("backup --label good");
    assert_eq!(seen.exit, 0, "{}", seen.screen);
    home.later("+1d")
        .file(".codex/skills/mine/SKILL.md", "spoilt")
        .file(".codex/worktrees/a/work", "unfinished")
}

fn skill(home: &TestHome) -> String {
    String::from_utf8(home.read("disk/codex/skills/mine/SKILL.md")).unwrap()
}

/// The links lead where they led, and what they lead to is a folder.
#[track_caller]
fn assert_links_stay(home: &TestHome) {
    for (name, elsewhere) in [(".codex", "disk/codex"), (".codex-manager", "vault/manager")] {
        assert_eq!(fs::read_link(home.path(name)).unwrap(), home.path(elsewhere));
        assert!(fs::symlink_metadata(home.path(elsewhere)).unwrap().is_dir());
    }
    // Neither beside the links nor beside what they lead to is anything else.
    let names = |folder: &str| {
        let names = fs::read_dir(home.path(folder)).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with(".codex-manager-") || name.contains("replaced"))
    };
    let litter: Vec<String> = ["", "disk", "vault"].into_iter().flat_map(names).collect();
    assert!(litter.is_empty(), "{litter:?}");
}

#[test]
fn a_home_behind_a_link_is_restored_where_it_is_and_undone_there() {
    let home = linked();
    let before = home.tree("disk/codex");
    let answer = home.json("restore --yes");
    assert_eq!(answer["ok"], true, "{answer}");
    assert_links_stay(&home);
    assert_eq!(skill(&home), "as it was");
    assert_eq!(home.read("disk/codex/worktrees/a/work"), b"unfinished");
    let kept = PathBuf::from(answer["data"]["undo"].as_str().unwrap());
    assert!(kept.starts_with("~/vault/manager/undo"), "{}", kept.display());

    let seen = home.play("undo --yes");
    assert_eq!(seen.exit, 0, "{}", seen.screen);
    assert_links_stay(&home);
    let mut after = home.tree("disk/codex");
    let mut before = before;
    for tree in [&mut before, &mut after] {
        // Times of folders, and the lock file of Codex's own, which stays.
        tree.retain(|name, _| name != "auth.lock" && !home.path("disk/codex").join(name).is_dir());
    }
    assert_eq!(after, before);
}

#[test]
fn behind_links_every_command_works_on_what_they_lead_to() {
    let home = linked().signed_in("bob@example.com");
    for line in [
        "backup --auth-only",
        "use ada",
        "use bob",
        "cooldown set ada --until +3h",
        "config set color never",
        "status",
        "list",
        "verify --all",
        "doctor",
    ] {
        let seen = home.play(line);
        assert_eq!(seen.exit, 0, "{line}: {}", seen.screen);
        assert_links_stay(&home);
    }
    assert!(home.path("vault/manager/config.toml").is_file());
    let login = home.read("disk/codex/auth.json");
    assert!(String::from_utf8_lossy(&login).contains("rt_bob"), "the login behind the link");
}

#[test]
fn a_link_to_nowhere_is_no_home_and_nothing_is_made_behind_it() {
    let home = TestHome::at("2026-11-21T10:00:00Z").link(".codex", "gone/codex");
    for line in ["backup", "use ada", "status"] {
        let seen = home.play(line);
        assert_ne!(seen.exit, 0, "{line}: {}", seen.screen);
    }
    assert!(!home.path("gone").exists());
    assert_eq!(fs::read_link(home.path(".codex")).unwrap(), PathBuf::from("gone/codex"));
}
