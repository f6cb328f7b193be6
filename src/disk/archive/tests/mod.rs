//! Whole archives: what is written comes back, and what was not written by us is refused.

// They look at modes, links and holes; other systems share everything but `target`.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use proptest::prelude::*;
use tempfile::TempDir;

use self::plain::plain;
use super::*;

mod behind;
mod lies;
mod like;
mod plain;
mod reuse;
mod walk;

const MIB: usize = 1 << 20;
const TIME: i64 = 1_775_000_000;

/// A tree in the order it is archived: a name that ends in `/` is a directory, `name -> target` a link,
/// `name*` an executable file.
type Tree = Vec<(String, Vec<u8>)>;

fn tree(items: &[(&str, &[u8])]) -> Tree {
    items.iter().map(|(name, content)| ((*name).to_owned(), content.to_vec())).collect()
}

fn small() -> Tree {
    tree(&[
        ("auth.json", b"{\"made\":\"up\"}"),
        ("config.toml", b""),
        ("sessions/", b""),
        ("sessions/a.jsonl", b"one line and another, one line and another\n"),
        ("sessions/latest -> a.jsonl", b""),
        ("skills/run.sh*", b"#!/bin/sh\n"),
    ])
}

fn name(text: &str) -> EntryName {
    text.parse().unwrap()
}

fn size(content: &[u8]) -> u64 {
    u64::try_from(content.len()).unwrap()
}

fn write(tree: &Tree, workers: usize) -> (Vec<u8>, Written) {
    let mut writer = Writer::new(Vec::new(), 6, workers);
    for (text, mut content) in tree.iter().map(|(text, content)| (text, content.as_slice())) {
        if let Some(dir) = text.strip_suffix('/') {
            writer.dir(&name(dir), 0o700, TIME).unwrap();
        } else if let Some((link, target)) = text.split_once(" -> ") {
            writer.symlink(&name(link), target, TIME).unwrap();
        } else {
            let (file, mode) =
                text.strip_suffix('*').map_or((&**text, 0o600), |file| (file, 0o700));
            writer.file(&name(file), mode, TIME, size(content), &mut content).unwrap();
        }
    }
    writer.finish().unwrap()
}

/// A place for one archive and for what is unpacked from it.
struct Desk {
    dir: TempDir,
    path: PathBuf,
}

impl Desk {
    fn with(bytes: &[u8]) -> Self {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("a.tar.gz");
        fs::write(&path, bytes).unwrap();
        Self { dir, path }
    }

    fn open(&self) -> Result<Archive, ArchiveError> {
        Archive::open(&self.path, &Limits::default())
    }

    /// An empty directory, made anew.
    fn fresh(&self) -> PathBuf {
        let into = self.dir.path().join("into");
        let _ = fs::remove_dir_all(&into);
        fs::create_dir(&into).unwrap();
        into
    }

    /// What is wrong with it, however it is found; empty if nothing is.
    fn faults(&self) -> Vec<String> {
        walk::agrees(self, 1);
        match self.open().and_then(|archive| verify(&archive)) {
            Ok(problems) => problems.iter().map(ToString::to_string).collect(),
            Err(error) => vec![error.to_string()],
        }
    }

    fn unpack(&self) -> Result<Extracted, ArchiveError> {
        let into = self.fresh();
        extract(&self.open()?, &into)
    }
}

fn verify(archive: &Archive) -> Result<Vec<Problem>, ArchiveError> {
    archive.verify(&mut |_| {}, &AtomicBool::new(false))
}

fn extract(archive: &Archive, into: &Path) -> Result<Extracted, ArchiveError> {
    extract_as(archive, into, &mut |entry| Some(entry.name.clone()))
}

fn extract_as(
    archive: &Archive,
    into: &Path,
    place: &mut dyn FnMut(&Entry) -> Option<EntryName>,
) -> Result<Extracted, ArchiveError> {
    let stop = AtomicBool::new(false);
    let mut how = Extraction {
        place,
        like: None,
        keep_link: &mut |_, _| false,
        progress: &mut |_| {},
        stop: &stop,
    };
    archive.extract(into, &mut how)
}

/// A directory as a [`Tree`], sorted by name; directories that hold something are not listed.
fn on_disk(root: &Path) -> Tree {
    let mut found = Tree::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(dir) = waiting.pop() {
        for path in fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()) {
            let about = fs::symlink_metadata(&path).unwrap();
            let text = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if about.is_dir() {
                assert_eq!(about.permissions().mode() & 0o7777, 0o700, "{text}");
                found.push((format!("{text}/"), Vec::new()));
                waiting.push(path);
            } else if about.is_symlink() {
                let target = fs::read_link(&path).unwrap();
                found.push((format!("{text} -> {}", target.display()), Vec::new()));
            } else {
                assert_eq!(about.mtime(), TIME, "{text}");
                let star = match about.permissions().mode() & 0o7777 {
                    0o600 => "",
                    0o700 => "*",
                    other => panic!("{text} has mode {other:o}"),
                };
                found.push((format!("{text}{star}"), fs::read(&path).unwrap()));
            }
        }
    }
    sorted(found)
}

/// Sorted by name, with the directories that follow from names.
fn sorted(tree: Tree) -> Tree {
    let mut all: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for (text, content) in tree {
        let path = text.split_once(" -> ").map_or(&*text, |(link, _)| link);
        for (slash, _) in path.match_indices('/') {
            all.insert(path.split_at(slash + 1).0.to_owned(), Vec::new());
        }
        all.insert(text, content);
    }
    all.into_iter().collect()
}

fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[track_caller]
fn comes_back(tree: &Tree) {
    let (bytes, written) = write(tree, 2);
    let desk = Desk::with(&bytes);
    let archive = desk.open().unwrap();
    assert_eq!(archive.layout(), Layout::Seekable);
    assert_eq!(archive.toc_digest(), Some(&*written.toc_digest));
    assert_eq!((archive.bytes(), size(&bytes)), (written.bytes, written.bytes));
    assert_eq!(archive.content_bytes().unwrap(), written.content_bytes);
    assert_eq!(verify(&archive).unwrap(), []);

    let into = desk.fresh();
    let extracted = extract(&archive, &into).unwrap();
    assert_eq!((extracted.files, extracted.bytes), (written.files, written.content_bytes));
    assert_eq!(extracted.left_out, []);
    assert_eq!(on_disk(&into), sorted(tree.clone()));
    assert_eq!(through_the_tar_crate(&bytes), sorted_flat(tree.clone()));
}

/// What a reader that is not ours sees, the table of contents left out.
fn through_the_tar_crate(bytes: &[u8]) -> Tree {
    let mut theirs = tar::Archive::new(flate2::read::MultiGzDecoder::new(bytes));
    let mut found = Tree::new();
    for entry in theirs.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        if path == "stargz.index.json" {
            continue;
        }
        let header = entry.header();
        assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
        assert_eq!(header.mtime().unwrap(), u64::try_from(TIME).unwrap());
        let text = match header.entry_type() {
            tar::EntryType::Directory => path,
            tar::EntryType::Symlink => {
                let target = String::from_utf8(entry.link_name_bytes().unwrap().into_owned());
                format!("{path} -> {}", target.unwrap())
            }
            tar::EntryType::Regular if header.mode().unwrap() == 0o700 => format!("{path}*"),
            other => {
                assert_eq!(other, tar::EntryType::Regular);
                path
            }
        };
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        found.push((text, content));
    }
    sorted_flat(found)
}

fn sorted_flat(mut tree: Tree) -> Tree {
    tree.sort();
    tree
}

#[test]
fn what_is_written_comes_back_whatever_its_size() {
    comes_back(&Tree::new());
    comes_back(&small());
    let sizes = [0, 1, 511, 512, 513, MIB - 1, MIB, MIB + 1, 2 * MIB, 3 * MIB + 7];
    comes_back(&sizes.iter().map(|n| (format!("f{n}"), noise(*n, size(&[0; 9])))).collect());
}

#[test]
fn long_and_foreign_names_come_back() {
    let deep = ["x".repeat(90), "ü".repeat(60), "f".repeat(100)].join("/");
    comes_back(&tree(&[
        (&deep, b"deep"),
        (&"n".repeat(100), b"fits"),
        (&"m".repeat(101), b"does not"),
        ("é.txt", b"accent"),
        (&format!("link -> {}", "t".repeat(150)), b""),
        ("émile -> ziel/é", b""),
        (&format!("{}/", "d".repeat(100)), b""),
    ]));
}

#[test]
fn headers_beyond_one_frame_are_cut_into_several() {
    comes_back(&(0..3000).map(|n| (format!("d{n}/"), Vec::new())).collect());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn any_tree_comes_back(
        items in prop::collection::btree_map(
            "[a-cé]{1,3}(/[x-z]{1,2}){0,3}",
            (0..5_u8, prop::sample::select(vec![0, 1, 511, 512, 513, 5000, MIB - 1, MIB, MIB + 1, 3 * MIB]), any::<u64>()),
            0..12,
        )
    ) {
        let mut names = NameSet::default();
        let mut tree = Tree::new();
        for (text, (kind, length, seed)) in items {
            if names.insert(&name(&text), kind == 0).is_err() {
                continue;
            }
            tree.push(match kind {
                0 => (format!("{text}/"), Vec::new()),
                1 => (format!("{text} -> sub/{seed}"), Vec::new()),
                2 => (format!("{text}*"), noise(length, seed)),
                3 => (text, vec![0; length]),
                _ => (text, noise(length, seed)),
            });
        }
        comes_back(&tree);
    }
}

#[test]
fn the_same_entries_give_the_same_bytes_on_any_number_of_threads() {
    let mut tree = small();
    tree.extend((0..9).map(|n| (format!("n{n}"), noise(MIB * usize::from(n % 3 == 0) * 2 + 9, n))));
    let (once, written) = write(&tree, 1);
    for workers in [0, 2, 7] {
        assert!(write(&tree, workers) == (once.clone(), written.clone()), "{workers}");
    }
}

/// Counts what is written to it.
struct Scale(Arc<AtomicU64>);

impl Write for Scale {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.fetch_add(size(bytes), Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Noise that never ends, and the most of it that was read and not written yet.
struct Spring {
    noise: Vec<u8>,
    read: u64,
    written: Arc<AtomicU64>,
    most: u64,
}

impl Read for Spring {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = buffer.len().min(self.noise.len());
        buffer[..count].copy_from_slice(&self.noise[..count]);
        self.read += u64::try_from(count).unwrap();
        let held = self.read.saturating_sub(self.written.load(Ordering::Relaxed));
        self.most = self.most.max(held);
        Ok(count)
    }
}

#[test]
fn what_is_read_and_not_yet_written_is_bounded_in_bytes() {
    const LENGTH: u64 = 24 << 20;
    for (workers, most) in [(1, 2), (2, 6), (4, 8)] {
        let written = Arc::new(AtomicU64::new(0));
        let mut writer = Writer::new(Scale(Arc::clone(&written)), 1, workers);
        // Noise is stored as it is, so what was not written is held.
        let mut spring = Spring { noise: noise(MIB, 3), read: 0, written, most: 0 };
        writer.file(&name("a"), 0o600, TIME, LENGTH, &mut (&mut spring).take(LENGTH)).unwrap();
        writer.finish().unwrap();
        assert!(spring.most <= (most * 17) << 16, "{workers}: {}", spring.most);
    }
}

#[test]
fn every_flipped_bit_is_found_and_never_unpacked() {
    let (bytes, _) = write(&small(), 1);
    let desk = Desk::with(&bytes);
    assert_eq!(desk.faults(), Vec::<String>::new());
    let file = fs::OpenOptions::new().write(true).open(&desk.path).unwrap();
    for bit in 0..bytes.len() * 8 {
        let (at, byte) = (u64::try_from(bit / 8).unwrap(), bytes[bit / 8]);
        file.write_all_at(&[byte ^ 1 << (bit % 8)], at).unwrap();
        assert!(!desk.faults().is_empty(), "bit {bit} of {}", bytes.len() * 8);
        let refused = desk.unpack().unwrap_err();
        assert!(refused.is_corrupt() || refused.is_hostile(), "bit {bit}: {refused}");
        file.write_all_at(&[byte], at).unwrap();
    }
}

#[test]
fn every_cut_and_every_addition_is_found() {
    let (bytes, _) = write(&small(), 1);
    for length in 0..bytes.len() {
        let desk = Desk::with(&bytes[..length]);
        assert!(!desk.faults().is_empty(), "{length}");
        assert!(desk.unpack().is_err(), "{length}");
    }
    for garbage in [&b"\0"[..], b"x", &bytes, &[0; 512]] {
        assert!(!Desk::with(&[&bytes, garbage].concat()).faults().is_empty());
        assert!(!Desk::with(&[garbage, &bytes].concat()).faults().is_empty());
    }
}

#[test]
fn damage_is_named_by_file_and_chunk_and_hides_nothing_else() {
    let big = noise(3 * MIB, 3);
    let (mut bytes, _) = write(&tree(&[("a", b"first"), ("big", &big), ("z", b"last")]), 2);
    let desk = Desk::with(&bytes);
    let archive = desk.open().unwrap();
    let at = |file: &str, chunk: usize| {
        usize::try_from(archive.chunks(&name(file)).unwrap()[chunk].offset).unwrap()
    };
    for place in [at("a", 0) + 12, at("big", 1) + 500, at("big", 2) + 9] {
        bytes[place] ^= 4;
    }
    fs::write(&desk.path, &bytes).unwrap();
    let archive = desk.open().unwrap();
    let problems = verify(&archive).unwrap();
    let named: Vec<_> =
        problems.iter().map(|p| (p.name.as_ref().unwrap().as_str(), p.chunk.unwrap())).collect();
    let place = |number, of, first, bytes| Place { number, of, first, bytes };
    let mib = u64::try_from(MIB).unwrap();
    let expected = [
        ("a", place(1, 1, 0, 5)),
        ("big", place(2, 3, mib, mib)),
        ("big", place(3, 3, 2 * mib, mib)),
    ];
    assert_eq!(named, expected);
    let said = problems[1].to_string();
    assert!(
        said.starts_with("big, chunk 2 of 3 (bytes 1048576-2097151): not what was written"),
        "{said}"
    );

    assert_eq!(archive.read(&name("z"), 10).unwrap().unwrap(), b"last");
    assert!(archive.read(&name("a"), 10).unwrap_err().is_corrupt());

    let into = desk.fresh();
    let (taken, damaged) = pick(&archive, &into, &["a", "big", "z"]);
    assert_eq!((taken.files, taken.bytes), (1, 4));
    let lost: Vec<_> = damaged.iter().map(|p| p.name.as_ref().unwrap().as_str()).collect();
    assert_eq!(lost, ["a", "big"]);
    assert_eq!(on_disk(&into), tree(&[("z", b"last")]));
}

/// Unpacks these names and no other.
fn pick(archive: &Archive, into: &Path, names: &[&str]) -> (Extracted, Vec<Problem>) {
    let mut how = Extraction {
        place: &mut |entry| names.contains(&entry.name.as_str()).then(|| entry.name.clone()),
        like: None,
        keep_link: &mut |_, _| false,
        progress: &mut |_| {},
        stop: &AtomicBool::new(false),
    };
    archive.pick(into, &mut how).unwrap()
}

#[test]
fn what_is_not_asked_for_does_not_stand_in_the_way() {
    let (mut bytes, _) = write(&tree(&[("a", b"first"), ("m", b"middle"), ("z", b"last")]), 1);
    let desk = Desk::with(&bytes);
    let at = usize::try_from(desk.open().unwrap().chunks(&name("m")).unwrap()[0].offset).unwrap();
    // The chunk of `m`, and the frame before it.
    for place in [at + 12, at - 20] {
        bytes[place] ^= 4;
    }
    fs::write(&desk.path, &bytes).unwrap();
    let archive = desk.open().unwrap();
    assert!(extract(&archive, &desk.fresh()).is_err());
    let into = desk.fresh();
    let (taken, damaged) = pick(&archive, &into, &["a", "z"]);
    assert_eq!((taken.files, damaged.len()), (2, 0));
    assert_eq!(on_disk(&into), tree(&[("a", b"first"), ("z", b"last")]));
}

#[test]
fn one_file_is_read_without_the_rest() {
    let (bytes, _) = write(&small(), 1);
    let archive = Desk::with(&bytes).open().unwrap();
    assert_eq!(archive.read(&name("auth.json"), 13).unwrap().unwrap(), b"{\"made\":\"up\"}");
    assert_eq!(archive.read(&name("config.toml"), 0).unwrap().unwrap(), b"");
    assert_eq!(archive.read(&name("nothing"), 9).unwrap(), None);
    let too_much = archive.read(&name("auth.json"), 12).unwrap_err();
    assert!(matches!(too_much, ArchiveError::TooMuch { found: 13, limit: 12, .. }));
    assert!(matches!(archive.read(&name("sessions"), 9), Err(ArchiveError::NotAFile { .. })));
}

#[test]
#[rustfmt::skip]
fn the_writer_refuses_what_a_reader_would() {
    refused("a",                  "a",    "a and a are the same name");
    refused("A",                  "a",    "are the same name");
    refused("e\u{301}",           "é",    "are the same name");
    refused("a/b",                "a",    "a/b lies below a");
    refused("l/b",                "l -> x", "l/b lies below l");
    refused("STARGZ.index.json",  "a",    "reserved");
    refused("stargz.index.json",  "a",    "reserved");
}

#[track_caller]
fn refused(text: &str, before: &str, expected: &str) {
    let mut writer = Writer::new(Vec::new(), 6, 1);
    match before.split_once(" -> ") {
        Some((link, target)) => writer.symlink(&name(link), target, TIME).unwrap(),
        None => {
            writer.file(&name(before), 0o600, TIME, 1, &mut &b"x"[..]).unwrap();
        }
    }
    let error = writer.file(&name(text), 0o600, TIME, 1, &mut &b"y"[..]).unwrap_err();
    assert!(error.to_string().contains(expected), "{error}");
    // Nothing of it was written: the archive goes on.
    writer.dir(&name("other"), 0o700, TIME).unwrap();
    let desk = Desk::with(&writer.finish().unwrap().0);
    assert_eq!(desk.faults(), Vec::<String>::new());
    assert_eq!(desk.open().unwrap().entries().unwrap().len(), 2);
}

#[test]
fn content_of_another_size_spoils_the_archive() {
    for content in [&b"12"[..], b"1234"] {
        let mut writer = Writer::new(Vec::new(), 6, 2);
        let error = writer.file(&name("a"), 0o600, TIME, 3, &mut { content }).unwrap_err();
        assert!(matches!(error, ArchiveError::ContentChanged { expected: 3, .. }));
        assert!(writer.finish().is_err());
    }
}

#[test]
fn a_file_that_no_tar_header_can_size_is_refused_before_it_is_read() {
    let mut writer = Writer::new(Vec::new(), 6, 1);
    let error = writer.file(&name("a"), 0o600, TIME, 64 << 30, &mut io::empty()).unwrap_err();
    assert!(matches!(error, ArchiveError::TooLarge { .. }));
}

#[test]
fn limits_are_checked_before_anything_is_unpacked() {
    let (bytes, _) = write(&small(), 1);
    let plain = plain(&small());
    for bytes in [bytes, plain] {
        let desk = Desk::with(&bytes);
        let entries = Limits { entries: 5, ..Limits::default() };
        let content = Limits { total_unpacked: Some(60), ..Limits::default() };
        for limits in [entries, content] {
            let opened = Archive::open(&desk.path, &limits);
            let error = opened.and_then(|archive| archive.entries().map(<[_]>::len)).unwrap_err();
            assert!(matches!(error, ArchiveError::TooMuch { .. }), "{error}");
        }
    }
}

#[test]
fn only_a_regular_file_is_opened() {
    let (bytes, _) = write(&small(), 1);
    let desk = Desk::with(&bytes);
    let link = desk.dir.path().join("link");
    symlink(&desk.path, &link).unwrap();
    let pipe = desk.dir.path().join("pipe");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    for path in [&link, &pipe, desk.dir.path()] {
        let opened = Archive::open(path, &Limits::default());
        assert!(matches!(opened, Err(ArchiveError::NotRegular { .. })), "{}", path.display());
    }
}

#[test]
fn entries_go_where_the_caller_says() {
    let (bytes, _) = write(&small(), 1);
    for bytes in [bytes, plain(&small())] {
        let desk = Desk::with(&bytes);
        let archive = desk.open().unwrap();
        let into = desk.fresh();
        let mut place = |entry: &Entry| {
            let kept = entry.name.as_str().starts_with("sessions/");
            kept.then(|| name(&format!("new/{}", entry.name.leaf())))
        };
        let extracted = extract_as(&archive, &into, &mut place).unwrap();
        assert_eq!(extracted.files, 1);
        let expected = tree(&[
            ("new/a.jsonl", b"one line and another, one line and another\n"),
            ("new/latest -> a.jsonl", b""),
        ]);
        assert_eq!(on_disk(&into), sorted(expected));

        let into = desk.fresh();
        let met = extract_as(&archive, &into, &mut |_| Some(name("one"))).unwrap_err();
        assert!(matches!(met, ArchiveError::SameName { .. }));
        assert_eq!(on_disk(&into), Tree::new());
    }
}

#[test]
fn links_that_lead_outside_are_left_out_and_named() {
    let links = tree(&[
        ("a -> /etc/passwd", b""),
        ("b -> ../x", b""),
        ("d/c -> ../e", b""),
        ("d/d -> x/../../..", b""),
    ]);
    for bytes in [write(&links, 1).0, plain(&links)] {
        let desk = Desk::with(&bytes);
        let archive = desk.open().unwrap();
        let into = desk.fresh();
        let extracted = extract(&archive, &into).unwrap();
        let left: Vec<_> = extracted.left_out.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(left, ["a", "b", "d/d"]);
        assert_eq!(on_disk(&into), sorted(tree(&[("d/c -> ../e", b"")])));

        let into = desk.fresh();
        let stop = AtomicBool::new(false);
        let mut how = Extraction {
            place: &mut |entry| Some(entry.name.clone()),
            like: None,
            keep_link: &mut |_, target| target == "/etc/passwd",
            progress: &mut |_| {},
            stop: &stop,
        };
        assert_eq!(archive.extract(&into, &mut how).unwrap().left_out.len(), 2);
        assert!(fs::symlink_metadata(into.join("a")).unwrap().is_symlink());
    }
}

#[test]
fn what_lies_in_the_destination_is_neither_followed_nor_overwritten() {
    let desk = Desk::with(&write(&small(), 1).0);
    let outside = desk.dir.path().join("outside");
    for trap in ["sessions", "sessions/a.jsonl", "auth.json"] {
        fs::create_dir(&outside).unwrap();
        let into = desk.fresh();
        if trap.contains('/') {
            fs::create_dir(into.join("sessions")).unwrap();
        }
        symlink(&outside, into.join(trap)).unwrap();
        let error = extract(&desk.open().unwrap(), &into).unwrap_err();
        assert!(matches!(error, ArchiveError::Destination { .. }), "{trap}: {error}");
        fs::remove_dir(&outside).expect("nothing was written outside");
    }
    let into = desk.fresh();
    fs::write(into.join("auth.json"), "mine").unwrap();
    assert!(extract(&desk.open().unwrap(), &into).is_err());
    assert_eq!(fs::read(into.join("auth.json")).unwrap(), b"mine");
}

#[test]
fn long_zeros_come_back_as_holes() {
    let mut content = vec![0; 8 * MIB];
    content[0] = 1;
    content[5 * MIB] = 1;
    let sparse = tree(&[("db", &content)]);
    for bytes in [write(&sparse, 1).0, plain(&sparse)] {
        let desk = Desk::with(&bytes);
        desk.unpack().unwrap();
        let db = desk.dir.path().join("into/db");
        assert!(fs::metadata(&db).unwrap().blocks() * 512 <= 256 << 10);
        assert!(fs::read(&db).unwrap() == content);
    }
}

#[test]
fn a_caller_can_stop() {
    for bytes in [write(&small(), 1).0, plain(&small())] {
        let desk = Desk::with(&bytes);
        let archive = desk.open().unwrap();
        let stop = AtomicBool::new(true);
        let verified = archive.verify(&mut |_| {}, &stop);
        assert!(matches!(verified, Err(ArchiveError::Interrupted)));
        let mut how = Extraction {
            place: &mut |entry| Some(entry.name.clone()),
            like: None,
            keep_link: &mut |_, _| false,
            progress: &mut |_| {},
            stop: &stop,
        };
        assert!(matches!(archive.extract(&desk.fresh(), &mut how), Err(ArchiveError::Interrupted)));
    }
}

#[test]
fn directories_keep_their_time() {
    for bytes in [write(&small(), 1).0, plain(&small())] {
        let desk = Desk::with(&bytes);
        desk.unpack().unwrap();
        let at = |path| fs::symlink_metadata(desk.dir.path().join(path)).unwrap().mtime();
        assert_eq!(at("into/sessions"), TIME);
        assert_eq!(at("into/sessions/latest"), TIME);
    }
}

#[test]
fn progress_adds_up_to_the_content() {
    for bytes in [write(&small(), 1).0, plain(&small())] {
        let archive = Desk::with(&bytes).open().unwrap();
        let mut sum = 0;
        archive.verify(&mut |bytes| sum += bytes, &AtomicBool::new(false)).unwrap();
        assert_eq!(sum, archive.content_bytes().unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]
    #[test]
    fn a_mangled_archive_is_refused_or_the_same(
        seekable in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = if seekable { write(&small(), 1).0 } else { plain(&small()) };
        let good = bytes.clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let desk = Desk::with(&bytes);
        match desk.unpack() {
            Ok(_) => {
                prop_assert!(!seekable || bytes == good);
                prop_assert_eq!(on_disk(&desk.dir.path().join("into")), sorted(small()));
            }
            Err(error) => prop_assert!(error.is_corrupt() || error.is_hostile(), "{}", error),
        }
    }
}
