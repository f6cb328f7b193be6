//! Does every promise hold for inputs that nobody thought of?
//!
//! The same targets as `cargo fuzz` runs for hours (`tests/fuzz`), for a moment and the same way each time:
//! all that was ever found, then mutations of the seeds. `FUZZ_ROUNDS` says how many of each target.

#![cfg(unix)]

#[path = "../fuzz/targets.rs"]
#[allow(dead_code, reason = "what only the long run needs")]
mod targets;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use targets::{TARGETS, Target};

/// Mutations of each target, unless `FUZZ_ROUNDS` says otherwise.
const ROUNDS: u64 = 300;
/// No mutation is longer, in bytes.
const LONGEST: usize = 64 << 10;
/// What parsers like to stumble over.
const WORDS: [&[u8]; 24] = [
    b"\0",
    b"\xff",
    b"\n",
    b"\r\n",
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b"null",
    b"-1",
    b"0",
    b"1e999",
    b"18446744073709551616",
    b"9999-12-31T23:59:59Z",
    b"../",
    b"/",
    b"\xe2\x80\xae",
    b"\x1b[2J",
    b"ustar\x0000",
    b"x",
    b"size",
    b"\\ud800",
];

#[test]
fn every_promise_holds_for_what_was_found_and_for_mutations() {
    let rounds = std::env::var("FUZZ_ROUNDS").ok().map_or(ROUNDS, |text| text.parse().unwrap());
    std::thread::scope(|scope| {
        for target in &TARGETS {
            scope.spawn(move || {
                for (name, found) in fixtures(target) {
                    check(target, &found, &name);
                }
                let seeds = (target.seeds)();
                assert!(!seeds.is_empty(), "{} begins with something", target.name);
                for seed in &seeds {
                    check(target, seed, "a seed");
                }
                for round in 0..rounds {
                    let mut chance = Chance(round.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
                    check(target, &mutated(&seeds, &mut chance), &format!("round {round}"));
                }
            });
        }
    });
}

/// What prints each archive of a folder as a line of JSON: its name, and what Python sees in it.
const PYTHON: &str = r#"
import hashlib, json, os, sys, tarfile
for name in sorted(os.listdir(sys.argv[1])):
    held = []
    with tarfile.open(os.path.join(sys.argv[1], name), "r:gz") as archive:
        for entry in archive:
            if entry.name == "stargz.index.json":
                continue
            if entry.isdir():
                held.append([entry.name.rstrip("/") + "/", ""])
            elif entry.issym():
                held.append([entry.name + " -> " + entry.linkname, ""])
            else:
                held.append([entry.name, hashlib.sha256(archive.extractfile(entry).read()).hexdigest()])
    print(json.dumps([name, held]))
"#;

/// Of mutated archives, those that are accepted look the same to Python's tarfile, where `PYTHON` names
/// one; to the `tar` crate they do in any case, for that is what the targets ask.
#[test]
fn what_is_accepted_is_what_other_readers_see() {
    let targets: Vec<&Target> =
        TARGETS.iter().filter(|target| ["archive", "tar"].contains(&target.name)).collect();
    let rounds =
        std::env::var("FUZZ_ROUNDS").ok().map_or(10 * ROUNDS, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let (mut accepted, mut expected) = (0, std::collections::BTreeMap::new());
    for target in targets {
        let seeds = (target.seeds)();
        for round in 0..rounds {
            let mut chance = Chance(round.wrapping_mul(0x2545_f491_4f6c_dd1d) | 1);
            let archive = if target.name == "tar" {
                targets::packed(&touched(&seeds[..2], &mut chance))
            } else {
                mutated(&seeds, &mut chance)
            };
            targets::archive(&archive);
            let Ok((_, held)) = targets::held(&archive) else { continue };
            accepted += 1;
            let name = format!("{}-{round:08}", target.name);
            fs::write(folder.path().join(&name), &archive).unwrap();
            expected.insert(name, held);
        }
    }
    assert!(rounds < 100 || accepted > rounds / 20, "{accepted} of {rounds} were accepted");
    let Some(python) = std::env::var_os("PYTHON") else { return };
    let output =
        std::process::Command::new(python).args(["-c", PYTHON]).arg(folder.path()).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut seen = 0;
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let (name, theirs): (String, Vec<(String, String)>) = serde_json::from_str(line).unwrap();
        let ours = expected[&name].iter().map(|(name, content)| {
            let is_file = !name.ends_with('/') && !name.contains(" -> ");
            let digest = if is_file { targets::forge::sha256(content) } else { String::new() };
            (name.clone(), digest.trim_start_matches("sha256:").to_owned())
        });
        assert_eq!(ours.collect::<Vec<_>>(), theirs, "{name}");
        seen += 1;
    }
    assert_eq!(seen, expected.len());
}

/// What `cargo fuzz` or a round ever found for a target.
fn fixtures(target: &Target) -> Vec<(String, Vec<u8>)> {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/fixtures").join(target.name);
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.map(|path| (path.display().to_string(), fs::read(&path).unwrap())).collect()
}

/// Runs a target; where it panics, the input is kept and named.
fn check(target: &Target, input: &[u8], name: &str) {
    if catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_err() {
        let kept = std::env::temp_dir().join(format!("codex-manager-fuzz-{}", target.name));
        fs::write(&kept, input).unwrap();
        panic!("{}, {name}: the input is kept as {}", target.name, kept.display());
    }
}

/// Numbers that follow from the first one alone.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % limit.max(1)
    }
}

/// One of the seeds with other characters in one or two places, which keeps its blocks in line.
fn touched(seeds: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let mut bytes = seeds[chance.below(seeds.len())].clone();
    for _ in 0..=chance.below(2) {
        let at = chance.below(bytes.len());
        let characters = b"01257/\0ax.-_ \n=\xff";
        bytes[at] = characters[chance.below(characters.len())];
    }
    bytes
}

/// One of the seeds, changed in a few places.
fn mutated(seeds: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let mut bytes = seeds[chance.below(seeds.len())].clone();
    for _ in 0..=chance.below(4) {
        let at = chance.below(bytes.len() + 1);
        let end = (at + chance.below(40)).min(bytes.len());
        match chance.below(8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << chance.below(8),
            1 if at < bytes.len() => bytes[at] = chance.below(256).try_into().unwrap(),
            2 => drop(bytes.drain(at..end)),
            3 => bytes.truncate(at),
            4 => {
                let piece = bytes[at..end].to_vec();
                let to = chance.below(bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
            5 => {
                let other = &seeds[chance.below(seeds.len())];
                let from = chance.below(other.len());
                bytes.splice(at..end, other[from..].iter().copied().take(400));
            }
            6 => {
                let word = WORDS[chance.below(WORDS.len())];
                bytes.splice(at..at, word.iter().copied());
            }
            _ => {
                let word = WORDS[chance.below(WORDS.len())];
                bytes.splice(at..end, word.iter().copied());
            }
        }
        bytes.truncate(LONGEST);
    }
    bytes
}
