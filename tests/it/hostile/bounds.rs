//! What does an archive cost that was made to cost much?
//!
//! Each runs with as much memory as the program may ever take, and is refused all the same, or read: more
//! would end it. What it may read before it refuses is limited by bytes, so there is no clock here.

use std::io::Write as _;
use std::process::{Command, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::forge::{self, END, HONEST, Lies, Part, gzip, sealed};
use super::{NAME, assert_same, base, everything, older_sidecar, sidecar_for, stage};
use crate::home::TestHome;

/// What the program may take for its data, in KiB: 64 MiB.
const DATA: u32 = 64 << 10;

/// Runs the program with at most `kib` of memory for its data; the exit code, if it ends by itself.
fn run_within(home: &TestHome, kib: u32, line: &str) -> (Option<i32>, String) {
    let output = Command::new("sh")
        .args(["-c", &format!("ulimit -d {kib} && exec \"$0\" \"$@\"")])
        .arg(env!("CARGO_BIN_EXE_codex-manager"))
        .args(line.split(' '))
        .env_clear()
        .env("HOME", home.path(""))
        .env("TZ", "Europe/Berlin")
        .current_dir(home.path(""))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn a_limit_of_memory_is_one() {
    let home = TestHome::of_ada();
    assert_eq!(run_within(&home, DATA, "list").0, Some(0));
    assert_ne!(run_within(&home, 256, "list").0, Some(0), "256 KiB are too little");
}

#[track_caller]
fn bomb(how: &str, home: &TestHome, says: &str) {
    for line in ["verify NAME", "restore NAME --yes"] {
        let before = everything(home);
        let (code, text) = run_within(home, DATA, &line.replace("NAME", NAME));
        assert_eq!(code, Some(5), "{how}: {line}\n{text}");
        assert!(text.contains(says), "{how}: {line}: {says:?} is not in\n{text}");
        assert_same(&format!("{how}: {line}"), &before, &everything(home));
    }
}

#[track_caller]
fn plain_bomb(how: &str, archive: &[u8], says: &str) {
    assert!(archive.len() < 4 << 20, "{how} is small: {}", archive.len());
    bomb(how, &stage(archive, &older_sidecar()), says);
}

#[track_caller]
fn our_bomb(how: &str, json: &[u8], says: &str) {
    let forged = forge::seekable(&base(), &Lies { json: &|_| json.to_vec(), ..HONEST });
    assert!(forged.bytes.len() < 4 << 20, "{how} is small: {}", forged.bytes.len());
    bomb(how, &stage(&forged.bytes, &sealed(&sidecar_for(&forged))), says);
}

/// A gzip file that begins so and goes on with as many mebibytes of zeros.
fn zeros(begin: &[u8], mebibytes: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(1));
    encoder.write_all(begin).unwrap();
    let block = vec![0; 1 << 20];
    for _ in 0..mebibytes {
        encoder.write_all(&block).unwrap();
    }
    encoder.write_all(&END).unwrap();
    encoder.finish().unwrap()
}

fn many(count: usize, part: impl Fn(usize) -> Part) -> Vec<u8> {
    let mut tar: Vec<u8> = base().iter().flat_map(Part::blocks).collect();
    tar.extend((0..count).flat_map(|number| part(number).blocks()));
    tar.extend(END);
    gzip(&tar)
}

#[test]
fn a_small_file_that_unpacks_to_very_much_is_refused_within_64_mib() {
    let sized = |bytes: u64| Part::of_kind(b'0', "zeros").sized(format!("{bytes:011o}\0")).blocks();
    plain_bomb("one of 8 GiB minus one", &zeros(&sized((8 << 30) - 1), 1), "bytes of content: ");
    plain_bomb("one of 300 MiB", &zeros(&sized(300 << 20), 300), "bytes of content: ");
    plain_bomb("zeros behind the end", &zeros(&END, 300), "bytes unpacked from a plain archive: ");
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(1));
    for number in 0..300 {
        let mut part = Part::file(format!("{number}"), "").sized("00004000000\0").blocks();
        part.resize(512 + (1 << 20), 0);
        encoder.write_all(&part).unwrap();
    }
    plain_bomb("300 of 1 MiB", &encoder.finish().unwrap(), "");
}

#[test]
fn a_small_file_with_very_many_names_is_refused_within_64_mib() {
    plain_bomb(
        "entries",
        &many(110_000, |n| Part::file(format!("f{n}"), "")),
        "entries: 100001, the limit is 100000",
    );
    let deep = |n: usize| format!("{n}/{}", ["x"; 60].join("/"));
    plain_bomb(
        "folders that follow",
        &many(2_000, |n| Part::file("x", "").pax(&[("path", &deep(n))])),
        "files and folders: 100001",
    );
    let long = |n: usize| {
        format!(
            "{}/{}/{}/{}{n}",
            "a".repeat(240),
            "b".repeat(240),
            "c".repeat(240),
            "d".repeat(240)
        )
    };
    plain_bomb(
        "long names",
        &many(28_000, |n| Part::file("x", "").pax(&[("path", &long(n))])),
        "bytes of names: ",
    );
    let target = "t".repeat(4_000);
    plain_bomb(
        "long targets",
        &many(7_000, |n| Part::link(format!("l{n}"), "").pax(&[("linkpath", &target)])),
        "bytes of names: ",
    );
}

#[test]
fn a_small_table_of_contents_that_unpacks_to_very_much_is_refused_within_64_mib() {
    let dir = |name: &str| json!({"name": format!("{name}/"), "type": "dir", "modtime": "2026-03-31T23:33:20Z", "mode": 448, "uid": 0, "gid": 0});
    let table =
        |lines: Vec<Value>| serde_json::to_vec(&json!({"version": 1, "entries": lines})).unwrap();
    our_bomb(
        "folders",
        &table((0..101_000).map(|n| dir(&n.to_string())).collect()),
        "entries: 100001, the limit is 100000",
    );
    our_bomb(
        "folders that follow",
        &table((0..2_000).map(|n| dir(&format!("{n}/{}", ["x"; 60].join("/")))).collect()),
        "files and folders: 100001",
    );
    let long =
        |n: usize| dir(&format!("{n}/{}/{}/{}", "a".repeat(240), "b".repeat(240), "c".repeat(240)));
    our_bomb(
        "long names",
        &table((0..30_000).map(long).collect()),
        "it holds more bytes than expected",
    );
    our_bomb(
        "blanks",
        &[b"{\"version\":1,\"entries\":[".as_slice(), &[b' '; 24 << 20], b"]}"].concat(),
        "it holds more bytes than expected",
    );
    our_bomb("brackets", &[b'['; 15 << 20], "breaks off");
    our_bomb(
        "a long text",
        &[b"{\"version\":1,\"entries\":[{\"name\":\"".as_slice(), &[b'x'; 15 << 20], b"\"}]}"]
            .concat(),
        "breaks off",
    );
}

/// Bytes that no compressor makes smaller.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[test]
fn a_large_home_is_stored_checked_and_restored_within_64_mib() {
    let noise = noise(24 << 20);
    let lines: String =
        (0..20_000).map(|n| format!("{{\"line\":{n},\"text\":\"hello\"}}\n")).collect();
    let mut home = TestHome::of_ada().tokens_in("copy").file(".codex/sessions/big.bin", &noise);
    for number in 0..60 {
        home = home.file(&format!(".codex/sessions/{number}.jsonl"), &lines);
    }
    for line in ["backup", "verify", "restore --to copy", "restore --yes"] {
        let (code, text) = run_within(&home, DATA, line);
        assert_eq!(code, Some(0), "{line}\n{text}");
    }
    assert!(home.read("copy/sessions/big.bin") == noise);
    let parts = [base(), vec![Part::file("big", &noise), Part::file("lines", &lines)]].concat();
    let home = stage(&forge::plain(&parts), &older_sidecar());
    for line in ["verify NAME", "restore NAME --to copy", "restore NAME --yes"] {
        let (code, text) = run_within(&home, DATA, &line.replace("NAME", NAME));
        assert_eq!(code, Some(0), "{line}\n{text}");
    }
}
