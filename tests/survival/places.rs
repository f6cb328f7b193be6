//! What if a home lies in an odd place: on a mount of its own, read-only, or on a full disk?
//!
//! Each test makes the place in a mount namespace of its own, which ends with it; that needs root,
//! or a system that lets users have namespaces, and fails where neither is so. Homes behind links
//! need none of that: `tests/it/places.rs`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::ground::{Ground, copy, processors};
use crate::people::status_text;
use crate::state::{digest, names, walk};

/// Set in the process of a test that has its own mounts.
const INSIDE: &str = "SURVIVAL_OWN_MOUNTS";

/// How to come by mounts of one's own, in the order in which it is tried.
const WAYS: &[&[&str]] = &[
    &["unshare", "--mount"],
    &["unshare", "--user", "--map-root-user", "--mount"],
    &["sudo", "--non-interactive", "env", "SURVIVAL_OWN_MOUNTS=1", "unshare", "--mount"],
];

/// Lines that change something, each whole on a fresh ground.
const CHANGING: &[&str] = &[
    "backup",
    "backup --force",
    "use ada",
    "restore adas-week --yes",
    "cooldown set bob --until 2097-01-01T00:00:00Z",
    "cooldown clear ada",
    "config set undo.keep_days 30",
    "normalize ~/new-logins --adopt",
    "prune --keep-last 1 --yes",
    "undo --yes",
];

/// Lines that only look.
const LOOKING: &[&str] = &[
    "list",
    "show adas-week --files",
    "verify --all",
    "cooldown",
    "recommend --why",
    "status --no-save",
    "config list --show-origin",
    "log",
    "backup --dry-run",
    "restore adas-week --dry-run",
    "use ada --dry-run",
    "prune --keep-last 1 --dry-run",
];

#[test]
fn a_home_on_another_file_system_is_exchanged_and_undone_there() {
    with_own_mounts("a_home_on_another_file_system_is_exchanged_and_undone_there", |ground| {
        let disk = ground.path("disk");
        mount_memory(&disk, "16m");
        let home = disk.join("codex");
        copy(&ground.codex(), &home);
        let line = |line: &str| play(ground, &format!("{line} --codex-home {}", home.display()));
        let before = photo(&home);
        let (exit, said) = line("restore adas-week --yes");
        assert_eq!(exit, Some(0), "{said}");
        let there = names(&disk);
        assert!(
            there.len() == 2 && there.iter().any(|name| name.starts_with("codex.replaced-")),
            "the replaced home stays beside the new one: {there:?}\n{said}"
        );
        assert_ne!(photo(&home), before);
        let (exit, said) = line("undo --yes");
        assert_eq!(exit, Some(0), "{said}");
        assert_eq!(photo(&home), before);
        for changing in ["backup", "use ada", "use bob", "restore --account bob --yes"] {
            let (exit, said) = line(changing);
            assert_eq!(exit, Some(0), "{changing}: {said}");
        }
        assert_tidy(ground);
    });
}

#[test]
fn a_mount_point_is_not_restored_in_place_and_everything_else_works() {
    with_own_mounts("a_mount_point_is_not_restored_in_place_and_everything_else_works", |ground| {
        mount(&["--bind"], &ground.codex(), &ground.codex());
        let before = photo(&ground.place());
        let (exit, said) = play(ground, "restore adas-week --yes");
        assert_eq!(exit, Some(4), "{said}");
        assert!(said.contains("is a mount point") && said.contains("hint: "), "{said}");
        let mut after = photo(&ground.place());
        // The lock was taken, which makes its file and the folders of a manager home.
        after.retain(|name, what| before.contains_key(name) || what != "folder");
        assert_eq!(after, before, "nothing was written");
        unmount(&ground.codex());
        for line in CHANGING.iter().filter(|line| !line.starts_with("restore")) {
            ground.reset();
            mount(&["--bind"], &ground.codex(), &ground.codex());
            let (exit, said) = play(ground, line);
            assert_eq!(exit, Some(0), "{line}: {said}");
            let copy = format!("restore adas-week --to {}", ground.path("copy").display());
            let (exit, said) = play(ground, &copy);
            assert_eq!(exit, Some(0), "{line}, then {copy}: {said}");
            unmount(&ground.codex());
            assert_tidy(ground);
        }
    });
}

#[test]
fn a_home_that_cannot_be_written_is_stored_and_stays_as_it_is() {
    with_own_mounts("a_home_that_cannot_be_written_is_stored_and_stays_as_it_is", |ground| {
        let disk = ground.path("disk");
        mount_memory(&disk, "16m");
        let home = disk.join("codex");
        copy(&ground.codex(), &home);
        mount(&["-o", "remount,ro"], Path::new("none"), &disk);
        let before = photo(&disk);
        for (line, expected) in [
            ("backup", 0),
            ("backup --force", 0),
            ("backup --auth-only", 0),
            ("status", 0),
            ("use ada", 1),
            ("restore adas-week --yes", 1),
        ] {
            let (exit, said) = play(ground, &format!("{line} --codex-home {}", home.display()));
            assert_eq!(exit, Some(expected), "{line}: {said}");
            assert!(exit == Some(0) || said.contains("ead-only"), "{line}: {said}");
            assert_eq!(photo(&disk), before, "{line}");
            assert_tidy(ground);
        }
    });
}

#[test]
fn a_manager_home_that_cannot_be_written_is_read_and_stays_as_it_is() {
    with_own_mounts("a_manager_home_that_cannot_be_written_is_read_and_stays_as_it_is", |ground| {
        let manager = ground.manager();
        mount(&["--bind"], &manager, &manager);
        mount(&["-o", "remount,bind,ro"], Path::new("none"), &manager);
        let before = photo(&ground.place());
        for line in LOOKING {
            let (exit, said) = play(ground, line);
            assert_eq!(exit, Some(0), "{line}: {said}");
        }
        for line in CHANGING {
            let (exit, said) = play(ground, line);
            assert_eq!(exit, Some(1), "{line}: {said}");
            assert!(said.contains("ead-only"), "{line}: {said}");
            assert_eq!(photo(&ground.place()), before, "{line}");
        }
    });
}

#[test]
fn on_a_full_manager_home_a_command_works_or_says_so() {
    with_own_mounts("on_a_full_manager_home_a_command_works_or_says_so", |ground| {
        fill_up(ground, &ground.manager(), CHANGING);
    });
}

#[test]
fn beside_a_full_codex_home_a_command_works_or_says_so() {
    with_own_mounts("beside_a_full_codex_home_a_command_works_or_says_so", |ground| {
        let lines: Vec<&str> = CHANGING
            .iter()
            .copied()
            .filter(|line| {
                ["backup", "use", "restore"].contains(&line.split(' ').next().unwrap_or_default())
            })
            .collect();
        fill_up(ground, &ground.codex(), &lines);
    });
}

#[test]
fn nothing_is_staged_in_a_shared_folder_for_temporary_files() {
    with_own_mounts("nothing_is_staged_in_a_shared_folder_for_temporary_files", |ground| {
        let program = Path::new(env!("CARGO_BIN_EXE_codex-manager"));
        let mut closed = 0;
        for shared in ["/tmp", "/var/tmp", "/dev/shm", "/run"].map(Path::new) {
            // Where the program itself lies cannot be hidden from it.
            let is_needed = [ground.folder(), program].iter().any(|path| path.starts_with(shared));
            if shared.is_dir() && !is_needed {
                mount(&["-t", "tmpfs", "-o", "ro"], Path::new("none"), shared);
                closed += 1;
            }
        }
        assert!(closed > 0, "there is a shared folder here");
        for line in CHANGING.iter().chain(&["doctor --fix", "restore --to ~/copy"]) {
            ground.reset();
            let (exit, said) = play(ground, line);
            assert_eq!(exit, Some(0), "{line}: {said}");
            assert_tidy(ground);
        }
    });
}

#[test]
fn a_home_whose_folder_cannot_be_written_is_not_exchanged_and_the_error_names_the_folder() {
    let ground = new_ground();
    let closed = ground.path("closed");
    fs::create_dir(&closed).expect("a folder can be made");
    let home = closed.join("codex");
    copy(&ground.codex(), &home);
    let before = photo(&home);
    set_mode(&closed, 0o500);
    let line = |line: &str| {
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        words.extend(["--codex-home".to_owned(), home.display().to_string()]);
        // Root may write anywhere, so it gives that right away.
        let setpriv = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];
        let program = env!("CARGO_BIN_EXE_codex-manager");
        let mut command = if is_root() { Command::new(setpriv[0]) } else { Command::new(program) };
        if is_root() {
            command.args(&setpriv[1..]).arg(program);
        }
        said_by(ground.clean(command.args(words)))
    };
    let (exit, said) = line("restore adas-week --yes");
    assert_eq!(exit, Some(1), "{said}");
    let expected = format!("cannot create a folder in {}", "~/closed");
    assert!(said.contains(&expected) && said.contains("hint: "), "{said}");
    assert_eq!(photo(&home), before);
    for changing in ["backup", "use ada", "undo --yes"] {
        let (exit, said) = line(changing);
        assert_eq!(exit, Some(0), "{changing}: {said}");
    }
    assert_eq!(names(&closed), ["codex"]);
    set_mode(&closed, 0o700);
    assert_tidy(&ground);
}

/// Plays each line with less and less room on the file system that holds `home`, down to none.
fn fill_up(ground: &Ground, home: &Path, lines: &[&str]) {
    let disk = ground.path("disk");
    let moved = disk.join("home");
    let (mut failed, mut done) = (0, 0);
    for line in lines {
        for room in [0, 8, 32, 128, 1024] {
            ground.reset();
            mount_memory(&disk, "4m");
            copy(home, &moved);
            fs::remove_dir_all(home).expect("it can be removed");
            std::os::unix::fs::symlink(&moved, home).expect("a link can be made");
            let codex = photo_of_codex(ground);
            let filler = fill(&disk, room << 10);

            let (exit, said) = play(ground, line);
            let here = format!("{line} with {room} KiB");
            assert!(matches!(exit, Some(0 | 1)), "{here}: {said}");
            if exit == Some(1) {
                failed += 1;
                let words = ["No space left", " free, ", "free some space"];
                assert!(words.iter().any(|word| said.contains(word)), "{here}: {said}");
                assert_eq!(photo_of_codex(ground), codex, "{here}: {said}");
                assert_no_litter(ground, &here);
            } else {
                done += 1;
            }
            fs::remove_file(filler).expect("it can be removed");
            assert_tidy(ground);
            let (exit, said) = play(ground, line);
            assert_eq!(exit, Some(0), "{here}, once more with room: {said}");
            fs::remove_file(home).expect("it can be removed");
            unmount(&disk);
        }
    }
    assert!(failed >= lines.len() / 2 && done >= lines.len(), "{failed} failed, {done} were done");
}

/// Writes a file that leaves so many bytes of a file system free.
fn fill(disk: &Path, room: u64) -> PathBuf {
    let path = disk.join("filler");
    let mut file = File::create(&path).expect("a file can be made");
    let block = [b'x'; 4096];
    while file.write_all(&block).is_ok() {}
    let full = file.metadata().expect("it is there").len();
    file.set_len(full.saturating_sub(room)).expect("it can be shorter");
    path
}

/// The next command works, nothing lies about, and every snapshot is sound.
#[track_caller]
fn assert_tidy(ground: &Ground) {
    let (exit, said) = play(ground, "cooldown set bob --until 2096-01-01T00:00:00Z");
    assert_eq!(exit, Some(0), "{said}");
    assert_no_litter(ground, "afterwards");
    let (exit, said) = play(ground, "verify --all");
    assert_eq!(exit, Some(0), "{said}");
}

#[track_caller]
fn assert_no_litter(ground: &Ground, here: &str) {
    let mut litter = Vec::new();
    walk(&ground.place(), "", &mut |name, _, _| {
        let leaf = name.rsplit('/').next().unwrap_or_default();
        if leaf.starts_with(".codex-manager-") || leaf == "journal.json" {
            litter.push(name.to_owned());
        }
    });
    assert!(litter.is_empty(), "{here}: {litter:?}");
}

/// All names below a folder, each with its kind, and a file with its bytes. The lock file of
/// Codex's own stays where it was made.
fn photo(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    walk(folder, "", &mut |name, path, facts| {
        let what = if facts.is_file() {
            digest(&fs::read(path).expect("a file can be read"))
        } else if facts.is_symlink() {
            fs::read_link(path).expect("a link can be read").display().to_string()
        } else {
            "folder".to_owned()
        };
        if !name.ends_with("auth.lock") && name != ".codex-manager/lock" {
            found.insert(name.to_owned(), what);
        }
    });
    found
}

fn photo_of_codex(ground: &Ground) -> BTreeMap<String, String> {
    let home = fs::canonicalize(ground.codex()).expect("the home is there");
    photo(&home)
}

/// Plays a line; `~` is the user's folder in its words, and in what is said.
fn play(ground: &Ground, line: &str) -> (Option<i32>, String) {
    let place = ground.place().display().to_string();
    let words: Vec<String> = line.split(' ').map(|word| word.replace('~', &place)).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    ground.play(&words)
}

fn said_by(command: &mut Command) -> (Option<i32>, String) {
    let output = command.stdin(Stdio::null()).output().expect("the program can be started");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

fn new_ground() -> Ground {
    let ground = Ground::new(*processors().first().expect("there is a processor"));
    ground.prepare(|ground| {
        let old = names(&ground.path("old-logins"));
        let old = old.first().expect("there is an old login");
        let bytes = fs::read(ground.path("old-logins").join(old)).expect("it can be read");
        ground.write("new-logins/20nov_cleo@example.com_auth.json", bytes);
        ground.write("status.txt", status_text("bob"));
    });
    ground
}

/// Does something on a ground of its own, in a process that may mount what it likes and disturbs
/// nobody: this very test, started anew.
#[track_caller]
fn with_own_mounts(name: &str, act: impl FnOnce(&Ground)) {
    if std::env::var_os(INSIDE).is_some() {
        act(&new_ground());
        return;
    }
    let probe = ["sh", "-c", "mount -t tmpfs none /mnt"];
    let works = |way: &&&[&str]| {
        let [first, rest @ ..] = **way else { return false };
        let tried = Command::new(first).args(rest).args(probe).stdin(Stdio::null()).output();
        tried.is_ok_and(|output| output.status.success())
    };
    let way = WAYS.iter().find(works);
    let way = way.expect("these tests need root, or a system that lets users have namespaces");
    let test = std::env::current_exe().expect("a test knows itself");
    let mut command = Command::new(way[0]);
    command.args(&way[1..]).arg(test).args(["--exact", "--nocapture"]);
    let (exit, said) = said_by(command.arg(format!("places::{name}")).env(INSIDE, "1"));
    assert_eq!(exit, Some(0), "{said}");
    assert!(said.contains("1 passed"), "there is a test of this name: {said}");
}

fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").expect("this is Linux");
    status.lines().any(|line| line.starts_with("Uid:\t0\t"))
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode can be set");
}

/// A file system of that size, in a new folder.
#[track_caller]
fn mount_memory(at: &Path, size: &str) {
    fs::create_dir(at).expect("a folder can be made");
    let options = format!("size={size},mode=0700");
    mount(&["-t", "tmpfs", "-o", &options], Path::new("none"), at);
}

#[track_caller]
fn mount(options: &[&str], what: &Path, at: &Path) {
    let mut command = Command::new("mount");
    let (exit, said) = said_by(command.args(options).arg(what).arg(at));
    assert_eq!(exit, Some(0), "mount {options:?}: {said}");
}

#[track_caller]
fn unmount(at: &Path) {
    let (exit, said) = said_by(Command::new("umount").arg(at));
    assert_eq!(exit, Some(0), "umount: {said}");
}
