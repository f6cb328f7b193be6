//! Does every room use only the floors below it, and does only `disk` write?

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The map of `src/lib.rs`, lowest floor first.
const FLOORS: [&[&str]; 7] = [
    &["disk", "time"],
    &["account", "config", "window"],
    &["codex", "quota"],
    &["snapshot"],
    &["overview", "world"],
    &["doctor"],
    &["cli"],
];

/// What writes to a disk, as it stands in code.
const WRITERS: [&str; 25] = [
    "fs::write",
    "fs::copy",
    "fs::rename",
    "fs::remove_",
    "fs::create_dir",
    "fs::hard_link",
    "fs::soft_link",
    "fs::set_permissions",
    "unix::fs::symlink",
    "unix::fs::chown",
    "fs::File::create",
    "File::options(",
    "OpenOptions",
    "DirBuilder",
    "renameat",
    "unlinkat",
    "mkdirat",
    "symlinkat",
    "utimensat",
    "syncfs",
    "sync_file_range",
    "fallocate",
    ".set_len(",
    ".set_modified(",
    ".sync_",
];

/// What opens or lists something on a disk, as it stands in code.
const OPENERS: [&str; 5] =
    ["fs::read_dir", "fs::read(", "fs::read_to_string", "File::open", "rustix::fs::open"];

/// What asks for the clock or the environment, or prints.
const OUTSIDE: [&str; 12] = [
    "Utc::now",
    "Local::now",
    "SystemTime::now",
    "env::var",
    "env::vars",
    "env::current_dir",
    "env::home_dir",
    "env::args",
    "print!(",
    "println!(",
    "io::stdout",
    "io::stderr",
];

/// A file of the program without its tests and comments.
struct Source {
    room: String,
    path: PathBuf,
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut found, mut waiting) = (Vec::new(), vec![root.clone()]);
    while let Some(folder) = waiting.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let below = path.strip_prefix(&root).unwrap();
            let is_test = below.iter().any(|part| part == "tests" || part == "tests.rs");
            if path.is_dir() {
                waiting.push(path);
            } else if !is_test && below.to_str() != Some("lib.rs") {
                let room = below.iter().next().unwrap().to_str().unwrap();
                let room = room.trim_end_matches(".rs").to_owned();
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("\nmod tests {").next().unwrap().lines();
                let code = code.filter(|line| !line.trim_start().starts_with("//"));
                found.push(Source { room, path, code: code.collect::<Vec<_>>().join("\n") });
            }
        }
    }
    found
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// The rooms that a text of code names, also in `use crate::{a, b}`.
fn named(code: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for (_, rest) in code.match_indices("crate::").map(|(at, word)| (at, &code[at + word.len()..]))
    {
        let word = |text: &str| -> String {
            text.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect()
        };
        match rest.strip_prefix('{') {
            Some(list) => {
                let mut depth = 0;
                let mut at_start = true;
                for (at, c) in list.char_indices() {
                    match c {
                        '}' if depth == 0 => break,
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' if depth == 0 => at_start = true,
                        c if c.is_whitespace() => {}
                        _ if at_start => {
                            rooms.insert(word(&list[at..]));
                            at_start = false;
                        }
                        _ => {}
                    }
                }
            }
            None => {
                rooms.insert(word(rest));
            }
        }
    }
    rooms.remove("");
    rooms
}

#[test]
fn the_rooms_of_a_text_are_found_in_every_form_of_use() {
    let code = "use crate::disk::read;\nuse crate::{time::{Stamp, Zone}, account::Email,\n codex};\ncrate::quota::x()";
    let found: Vec<String> = named(code).into_iter().collect();
    assert_eq!(found, ["account", "codex", "disk", "quota", "time"]);
}

#[test]
fn a_room_uses_only_the_floors_below_it() {
    let mut broken = Vec::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for Source { room, path, code } in sources().iter().filter(|source| source.room != "main") {
        let own = floor(room).unwrap_or_else(|| panic!("{room} is on no floor"));
        *seen.entry(room.clone()).or_default() += 1;
        for other in named(code).iter().filter(|other| *other != room) {
            let below = floor(other).is_some_and(|other| other < own);
            if !below {
                broken.push(format!("{} uses {other}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    let rooms: BTreeSet<&str> = FLOORS.iter().copied().flatten().copied().collect();
    assert_eq!(seen.keys().map(String::as_str).collect::<BTreeSet<_>>(), rooms);
}

#[test]
fn only_disk_writes_files_and_in_it_only_what_a_test_can_make_fail() {
    assert_found_only_in(&WRITERS, is_sys);
}

#[test]
fn disk_opens_and_lists_only_where_a_test_can_make_it_fail() {
    let here = |source: &Source| source.room != "disk" || is_sys(source);
    assert_found_only_in(&OPENERS, here);
}

/// Whether this is the layer of `disk` that speaks with the system.
fn is_sys(source: &Source) -> bool {
    source.room == "disk"
        && source
            .path
            .components()
            .any(|part| part.as_os_str() == "sys" || part.as_os_str() == "sys.rs")
}

#[test]
fn below_cli_only_world_knows_the_clock_and_the_environment_and_nothing_prints() {
    // `disk` compares the time of a change with the clock, to tell whether somebody writes.
    assert_found_only_in(&OUTSIDE, |Source { room, path, .. }| {
        matches!(room.as_str(), "world" | "main")
            || path.ends_with("disk/database/copy.rs")
            || path.ends_with("disk/read.rs")
    });
}

#[test]
fn the_map_in_lib_rs_shows_these_floors() {
    let map = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    for (index, rooms) in FLOORS.iter().enumerate() {
        let start = format!("//! | {} | ", index + 1);
        let line = map.lines().find_map(|line| line.strip_prefix(&start)).unwrap();
        let cell = line.split('|').next().unwrap();
        let listed: Vec<&str> =
            cell.split(", ").map(|room| room.trim_matches(['[', ']', '`', ' '])).collect();
        assert_eq!(listed, *rooms);
    }
}

#[track_caller]
fn assert_found_only_in(words: &[&str], allowed: impl Fn(&Source) -> bool) {
    let sources = sources();
    let (inside, outside): (Vec<&Source>, Vec<&Source>) =
        sources.iter().partition(|source| allowed(source));
    let mut broken = Vec::new();
    for source in outside {
        for word in words.iter().filter(|word| source.code.contains(**word)) {
            broken.push(format!("{} has {word}", source.path.display()));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    // Words that are found nowhere would prove nothing.
    let found = |word: &&&str| inside.iter().any(|source| source.code.contains(**word));
    assert!(words.iter().filter(found).count() >= 4, "{words:?}");
}
