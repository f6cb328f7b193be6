//! Does a backup that reuses what an earlier one stored ever store anything else than the home?

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::time::SystemTime;

use rusqlite::Connection;

use super::*;
use crate::disk::Call;
use crate::disk::archive::{self, Node};
use crate::disk::faults::{Fault, Weather};
use crate::disk::tree::Visit;
use crate::snapshot::backup::cache::{Cache, Look};
use crate::snapshot::name::SnapshotName;

/// Content that does not shrink and is the same for the same seed.
pub(super) fn noise(seed: u64, length: usize) -> Vec<u8> {
    // Deflate does not look back so far that it would see the same block again.
    const BLOCK: usize = 40_000;
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let block = length.min(BLOCK);
    let bytes: Vec<u8> = std::iter::repeat_with(&mut next).flatten().take(block).collect();
    let mut bytes = bytes.repeat(length.div_ceil(BLOCK));
    bytes.truncate(length);
    bytes
}

const SESSION: &str = "sessions/2026/11/20/rollout-a.jsonl";

impl Bench {
    /// A home with something of everything, at an instant when all of it is long at rest.
    pub(super) fn at_rest() -> Self {
        let bench = Self { now: "2100-01-01T00:00:00Z".parse().unwrap(), ..Self::new() };
        fs::create_dir_all(bench.at("sessions/2026/11/20")).unwrap();
        bench.file(SESSION, "{\"line\":1}\n".repeat(3_000));
        bench.file("history.jsonl", "{}\n");
        bench.file("empty.txt", "");
        bench.file("notes.md", "notes");
        bench.file("big.bin", noise(1, (1 << 20) + 90_000));
        bench.file("run.sh", "#!/bin/sh\n");
        fs::set_permissions(bench.at("run.sh"), fs::Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::symlink("notes.md", bench.at("link")).unwrap();
        bench.sql("CREATE TABLE threads (id INTEGER PRIMARY KEY, body BLOB)");
        bench.sql("INSERT INTO threads (body) VALUES (randomblob(90000)), (zeroblob(1500000))");
        bench.tick();
        bench
    }

    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.home.root().join(path)
    }

    pub(super) fn sql(&self, batch: &str) {
        let db = Connection::open(self.at("state_5.sqlite")).unwrap();
        db.execute_batch(batch).unwrap();
        db.close().unwrap();
    }

    /// A backup, and the files of the home that it opened.
    fn watched(&self) -> (Made, Vec<String>) {
        let (made, asked) = Weather::default().over(|| self.backup(Kind::Full));
        self.tick();
        let root = self.home.root();
        let opened = asked.iter().filter(|(call, _)| matches!(call, Call::Open | Call::Read));
        let mut opened: Vec<String> = opened
            .filter(|(_, path)| path.is_file())
            .filter_map(|(_, path)| Some(path.strip_prefix(root).ok()?.to_str()?.to_owned()))
            .filter(|path| path != CodexHome::AUTH && path != CodexHome::CONFIG)
            .collect();
        opened.sort();
        opened.dedup();
        (made, opened)
    }

    /// Whether the snapshot holds exactly what the home does.
    #[track_caller]
    pub(super) fn holds_the_home(&self, made: &Made) {
        let archive = Archive::open(&made.archive, &Limits::default()).unwrap();
        let walk = crate::disk::tree::walk(self.home.root(), &mut |_| Visit::Take).unwrap();
        let mut found = Vec::new();
        for entry in archive.entries().unwrap() {
            let name = entry.name.as_str();
            if name == OURS || name.starts_with(".codex-manager/") {
                continue;
            }
            found.push(PathBuf::from(name));
            let path = self.at(name);
            match &entry.node {
                Node::Dir => assert!(path.is_dir(), "{name}"),
                Node::Symlink { target } => {
                    assert_eq!(fs::read_link(&path).unwrap(), Path::new(target), "{name}");
                }
                Node::File { .. } => {
                    let mode = fs::metadata(&path).unwrap().permissions().mode();
                    assert_eq!(entry.mode & 0o100, mode & 0o100, "{name}");
                    let held = self.held(made, name).unwrap();
                    if name.ends_with(".sqlite") {
                        assert_eq!(rows_of(&held), rows(&path), "{name}");
                    } else {
                        assert!(held == fs::read(&path).unwrap(), "{name} differs");
                    }
                }
            }
        }
        let is_stored = |path: &Path| {
            let name = path.to_string_lossy();
            !name.ends_with("-wal") && !name.ends_with("-shm") && !name.ends_with("-journal")
        };
        let mut expected: Vec<PathBuf> =
            walk.nodes.into_iter().map(|node| node.path).filter(|path| is_stored(path)).collect();
        expected.sort();
        found.sort();
        assert_eq!(found, expected);
        self.sound();
    }

    /// Removes what is left of a snapshot.
    pub(super) fn forget(&self, made: &Made) {
        for path in [&made.archive, &made.sidecar] {
            crate::disk::replace::remove_file(path).unwrap();
        }
    }

    pub(super) fn cache(&self) -> PathBuf {
        self.store.files_of(self.home.root())
    }

    /// Waits until the file system's clock has gone on: what is written within one tick of it
    /// bears one time, and the rule of the two seconds is out of force here.
    pub(super) fn tick(&self) {
        let probe = self.store.root().with_file_name("tick");
        let time = || {
            fs::write(&probe, "").unwrap();
            crate::disk::Facts::at(&probe).unwrap().unwrap().changed
        };
        let before = time();
        while time() == before {}
    }
}

fn rows(path: &Path) -> Vec<(i64, Vec<u8>)> {
    let db = Connection::open(path).unwrap();
    let mut all = db.prepare("SELECT id, body FROM threads ORDER BY id").unwrap();
    let rows = all.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

fn rows_of(bytes: &[u8]) -> Vec<(i64, Vec<u8>)> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    fs::write(&path, bytes).unwrap();
    rows(&path)
}

/// Gives a file other bytes of the same length and puts its time back.
pub(super) fn overwrite_unnoticed(path: &Path, seed: u64) {
    let facts = fs::metadata(path).unwrap();
    fs::write(path, noise(seed, usize::try_from(facts.len()).unwrap())).unwrap();
    set_time(path, facts.modified().unwrap());
}

pub(super) fn set_time(path: &Path, at: SystemTime) {
    fs::File::options().write(true).open(path).unwrap().set_modified(at).unwrap();
}

#[test]
fn of_a_home_in_which_nothing_changed_no_file_is_opened_and_all_is_reused() {
    let bench = Bench::at_rest();
    let (first, opened) = bench.watched();
    assert_eq!(opened.len(), 7, "{opened:?}");
    assert_eq!(first.reused_bytes, 0);

    let (second, opened) = bench.watched();
    assert_eq!(opened, Vec::<String>::new());
    assert!(99 * second.compressed_bytes < second.reused_bytes, "{second:?}");
    bench.holds_the_home(&second);
    // What one copied, the next one copies again.
    let (third, opened) = bench.watched();
    assert_eq!(opened, Vec::<String>::new());
    bench.holds_the_home(&third);

    // The same bytes come out, whether they were copied, found by their digest, or made.
    fs::remove_file(bench.cache()).unwrap();
    let (fourth, opened) = bench.watched();
    assert_eq!(opened.len(), 7, "{opened:?}");
    assert!(99 * fourth.compressed_bytes < fourth.reused_bytes, "{fourth:?}");
    let bytes = |made: &Made| fs::read(&made.archive).unwrap();
    assert!([&second, &third, &fourth].iter().all(|made| bytes(made) == bytes(&first)));
}

#[test]
fn what_changed_is_read_and_only_its_new_chunks_are_compressed() {
    let bench = Bench::at_rest();
    bench.backup(Kind::Full);
    let mut session = fs::File::options().append(true).open(bench.at(SESSION)).unwrap();
    std::io::Write::write_all(&mut session, b"{\"line\":2}\n").unwrap();
    bench.sql("UPDATE threads SET body = zeroblob(1000) WHERE id = 1");
    overwrite_unnoticed(&bench.at("notes.md"), 7);
    fs::rename(bench.at("big.bin"), bench.at("renamed.bin")).unwrap();
    let (made, opened) = bench.watched();
    assert_eq!(opened, ["notes.md", "renamed.bin", SESSION, "state_5.sqlite"]);
    // Of the large file nothing is new, whatever its name.
    assert!((1 << 20) < made.reused_bytes && made.compressed_bytes < 200_000, "{made:?}");
    bench.holds_the_home(&made);
}

#[test]
fn a_file_that_was_written_just_now_is_read_again_next_time() {
    let now: DateTime<Utc> = SystemTime::now().into();
    for (now, is_read) in [(now, true), (now + chrono::TimeDelta::days(1), false)] {
        let bench = Bench { now, ..Bench::new() };
        bench.file("notes.md", "notes");
        bench.backup(Kind::Full);
        assert_eq!(bench.watched().1, if is_read { vec!["notes.md"] } else { Vec::new() });
    }
}

#[test]
fn what_changes_between_the_plan_and_its_turn_is_stored_as_it_is_then() {
    for (path, change) in [
        ("notes.md", "other"),
        ("state_5.sqlite", "UPDATE threads SET body = x'07' WHERE id = 2"),
        ("history.jsonl", "[]\n"),
        ("notes.md", "SQLite"),
        ("big.bin", ""),
    ] {
        let bench = Bench::at_rest();
        bench.backup(Kind::Full);
        let plan = bench.plan(Kind::Full, false);
        match (path, change) {
            ("state_5.sqlite", _) => bench.sql(change),
            // It is a database from now on.
            (_, "SQLite") => drop(fs::copy(bench.at("state_5.sqlite"), bench.at(path)).unwrap()),
            (_, "") => overwrite_unnoticed(&bench.at(path), 9),
            _ => bench.file(path, change),
        }
        let made = bench.apply(plan, &mut |_| ()).unwrap();
        if change == "SQLite" {
            assert_eq!(rows_of(&bench.held(&made, path).unwrap()), rows(&bench.at(path)));
        } else {
            bench.holds_the_home(&made);
        }
    }
}

#[test]
fn a_file_that_goes_between_the_plan_and_its_turn_is_told_as_vanished() {
    let bench = Bench::at_rest();
    bench.backup(Kind::Full);
    let plan = bench.plan(Kind::Full, false);
    fs::remove_file(bench.at("notes.md")).unwrap();
    let made = bench.apply(plan, &mut |_| ()).unwrap();
    assert_eq!(made.vanished[0].0, "notes.md");
    bench.holds_the_home(&made);
}

/// Something that happens to the earlier archive.
pub(super) type Blow = fn(&Path);

pub(super) const BLOWS: [(&str, Blow); 6] = [
    ("removed", |path| fs::remove_file(path).unwrap()),
    ("moved away", |path| fs::rename(path, path.with_extension("away")).unwrap()),
    ("emptied", |path| open(path).set_len(0).unwrap()),
    ("cut", |path| open(path).set_len(path.metadata().unwrap().len() / 2).unwrap()),
    ("overwritten", |path| {
        let mut bytes = fs::read(path).unwrap();
        bytes.iter_mut().for_each(|byte| *byte ^= 0x55);
        std::io::Write::write_all(&mut open(path), &bytes).unwrap();
    }),
    ("replaced", |path| {
        fs::write(path.with_extension("new"), noise(3, 900_000)).unwrap();
        fs::rename(path.with_extension("new"), path).unwrap();
    }),
];

fn open(path: &Path) -> fs::File {
    fs::File::options().write(true).open(path).unwrap()
}

/// When it happens: before anything looks into it, after the plan, or while it is copied from.
const MOMENTS: [&str; 3] = ["before", "planned", "meanwhile"];

#[test]
fn whatever_happens_to_the_earlier_archive_the_next_one_is_whole() {
    for (what, blow) in BLOWS {
        for moment in MOMENTS {
            let bench = Bench::at_rest();
            let first = bench.backup(Kind::Full);
            let strike = |now| {
                if now == moment {
                    blow(&first.archive);
                }
            };
            strike("before");
            let plan = bench.plan(Kind::Full, false);
            strike("planned");
            let mut calls = 0;
            let made = bench.apply(plan, &mut |_| {
                calls += 1;
                if calls == 2 {
                    strike("meanwhile");
                }
            });
            let made = made.map_err(|error| format!("{what}, {moment}: {error}")).unwrap();
            bench.forget(&first);
            bench.holds_the_home(&made);
        }
    }
}

#[test]
fn a_damaged_member_costs_its_file_and_the_databases_a_reading() {
    let bench = Bench::at_rest();
    for name in ["big.bin", "state_5.sqlite", SESSION] {
        let made = bench.backup(Kind::Full);
        let archive = Archive::open(&made.archive, &Limits::default()).unwrap();
        let chunk = archive.chunks(&name.parse().unwrap()).unwrap().last().unwrap().clone();
        let mut bytes = fs::read(&made.archive).unwrap();
        bytes[usize::try_from(chunk.offset + chunk.member_size / 2).unwrap()] ^= 1;
        fs::write(&made.archive, bytes).unwrap();
        let (again, opened) = bench.watched();
        // A database must not be older than what its rows tell of.
        let expected: BTreeSet<_> = [name, "state_5.sqlite"].into();
        assert_eq!(opened, Vec::from_iter(expected));
        bench.forget(&made);
        bench.holds_the_home(&again);
    }
}

#[test]
fn however_much_of_the_last_snapshot_is_damaged_the_archive_is_begun_anew_once() {
    let bench = Bench::at_rest();
    let names: Vec<String> = (0..300).map(|number| format!("notes/{number:03}.md")).collect();
    fs::create_dir(bench.at("notes")).unwrap();
    names.iter().for_each(|name| bench.file(name, format!("what {name} holds")));
    let made = bench.backup(Kind::Full);
    let archive = Archive::open(&made.archive, &Limits::default()).unwrap();
    let mut bytes = fs::read(&made.archive).unwrap();
    for name in &names {
        let chunk = &archive.chunks(&name.parse().unwrap()).unwrap()[0];
        bytes[usize::try_from(chunk.offset + chunk.member_size / 2).unwrap()] ^= 1;
    }
    fs::write(&made.archive, bytes).unwrap();
    let (again, asked) = Weather::default().over(|| bench.backup(Kind::Full));
    // Each file once to see what it is, and once to read it.
    let notes = bench.at("notes");
    let of_notes = |it: &&(Call, PathBuf)| it.0 == Call::Open && it.1.starts_with(&notes);
    assert_eq!(asked.iter().filter(of_notes).count(), 2 * names.len());
    let told = format!("{} is damaged", made.name);
    assert_eq!(again.warnings.iter().filter(|it| it.starts_with(&told)).count(), 1);
    bench.forget(&made);
    bench.holds_the_home(&again);
}

/// What a cache might say, sealed as it should be.
fn forge(bench: &Bench, change: impl FnOnce(&mut Cache)) {
    let root = bench.home.root();
    let mut cache = bench.store.known_files(root).unwrap();
    change(&mut cache);
    fs::write(bench.cache(), cache.to_bytes(root).unwrap()).unwrap();
}

/// The cache with what `rows` makes of each look.
fn with_looks(cache: &Cache, now: DateTime<Utc>, rows: impl Fn(usize) -> Option<Look>) -> Cache {
    let mut forged = Cache::new(cache.snapshot.clone(), cache.toc_digest.clone());
    for entry in 0..40 {
        if let Some(look) = rows(entry) {
            forged.note(entry, &look, now);
        }
    }
    forged
}

#[test]
fn a_cache_that_lies_makes_no_wrong_snapshot() {
    // Each lie is told when the home has changed, so that to believe it would show.
    type Lie = fn(&Bench, &SnapshotName);
    let lies: [(&str, Lie); 6] = [
        ("looks of the home as it is now", |bench, _| {
            let now = bench.now;
            let archive = bench.store.known_files(bench.home.root()).unwrap().snapshot.parse();
            let archive = bench.store.archive(&archive.unwrap());
            let archive = Archive::open(&archive, &Limits::default()).unwrap();
            let look = |entry: usize| {
                let name = archive.entries().unwrap().get(entry)?.name.clone();
                let is_database = name.as_str().ends_with("sqlite");
                Look::at(&bench.at(name.as_str()), is_database).ok()?
            };
            forge(bench, |cache| *cache = with_looks(cache, now, look));
        }),
        ("looks of the files after them", |bench, _| {
            forge(bench, |cache| *cache = cache.shifted());
        }),
        ("another snapshot", |bench, other| {
            forge(bench, |cache| cache.snapshot = other.to_string());
        }),
        ("a snapshot that never was", |bench, _| {
            forge(bench, |cache| cache.snapshot = "../../etc/passwd".to_owned());
        }),
        ("another table", |bench, _| {
            forge(bench, |cache| cache.toc_digest = format!("sha256:{}", "0".repeat(64)));
        }),
        ("the cache of another home", |bench, _| {
            let bytes = bench.store.known_files(bench.home.root()).unwrap();
            fs::write(bench.cache(), bytes.to_bytes(Path::new("/elsewhere")).unwrap()).unwrap();
        }),
    ];
    for (what, lie) in lies {
        eprintln!("{what}");
        let bench = Bench::at_rest();
        let old = bench.backup(Kind::Full);
        bench.file("big.bin", noise(5, (1 << 20) + 90_000));
        bench.backup(Kind::Full);
        // The length or the second of the change tells; what has neither is what the rule of the
        // two seconds and the time of change are for, and a forger would not be held by them.
        bench.file("big.bin", noise(6, 1 << 20));
        bench.file("notes.md", "longer notes");
        set_time(&bench.at(SESSION), SystemTime::UNIX_EPOCH);
        bench.sql("DELETE FROM threads WHERE id = 1");
        set_time(&bench.at("state_5.sqlite"), SystemTime::UNIX_EPOCH);
        lie(&bench, &old.name);
        let made = bench.backup(Kind::Full);
        bench.holds_the_home(&made);
    }
}

#[test]
fn a_cache_that_cannot_be_kept_is_a_word_and_no_error() {
    let bench = Bench::at_rest();
    fs::create_dir(bench.cache()).unwrap();
    let made = bench.backup(Kind::Full);
    assert_eq!(made.warnings.len(), 1, "{:?}", made.warnings);
    bench.holds_the_home(&made);
}

#[test]
fn a_login_alone_leaves_what_is_known_of_the_home_as_it_is() {
    let bench = Bench::at_rest();
    bench.backup(Kind::Full);
    let before = fs::read(bench.cache()).unwrap();
    bench.backup(Kind::Auth);
    assert_eq!(fs::read(bench.cache()).unwrap(), before);
    assert_eq!(fs::metadata(bench.cache()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn what_another_home_or_account_has_is_found_by_its_digest() {
    let bench = Bench::at_rest();
    bench.file("big.bin", noise(1, 8 << 20));
    bench.backup(Kind::Full);
    // Another account signs in, in another home that happens to have the same files.
    let other = CodexHome::at(bench.store.root().with_file_name("other"));
    fs::create_dir(other.root()).unwrap();
    fs::copy(bench.at("big.bin"), other.root().join("same.bin")).unwrap();
    fs::write(other.auth(), LOGIN.replace("made-up", "another")).unwrap();
    fs::write(other.root().join("filler.bin"), noise(2, 4 << 20)).unwrap();
    let other = Bench { home: other, ..bench };
    let made = other.backup(Kind::Full);
    assert!((3 << 20) < made.reused_bytes, "{made:?}");
    other.holds_the_home(&made);
}

#[test]
fn archives_of_another_level_are_not_copied_from() {
    let bench = Bench::at_rest();
    let first = bench.backup(Kind::Full);
    let other = |text: String| -> String {
        text.replace(&archive::compressor(LEVEL), &archive::compressor(9))
    };
    let mut metadata = first.metadata.clone();
    let facts = metadata.archive.as_mut().unwrap();
    facts.compressor = facts.compressor.take().map(other);
    fs::write(&first.sidecar, metadata.to_bytes()).unwrap();
    let (second, opened) = bench.watched();
    assert_eq!((second.reused_bytes, opened.len()), (0, 7));
    bench.holds_the_home(&second);
}

#[test]
fn a_disk_that_fails_at_any_call_of_a_second_backup_costs_nothing_but_that_backup() {
    let bench = Bench::at_rest();
    for path in ["big.bin", SESSION] {
        bench.file(path, "short\n");
    }
    bench.sql("DELETE FROM threads; VACUUM");
    bench.tick();
    let (kept, calls) = Weather::default().over(|| bench.backup(Kind::Full));
    // Killed, or out of room, at every fourth call: each time at others.
    for at in (0..calls.len()).step_by(4) {
        let (at, fault) =
            (at + at / 4 % 4, if at % 8 == 0 { Fault::Gone } else { Fault::Errno(28) });
        bench.file("notes.md", noise(u64::try_from(at).unwrap(), 300));
        let plan = bench.plan(Kind::Full, false);
        let lock = bench.open().lock;
        let (made, _) = Weather::failing(at, fault).over(|| {
            let never = AtomicBool::new(false);
            apply(plan, &bench.store, &lock, (None, Vec::new()), &mut |_| (), &never)
        });
        drop(lock);
        if let Ok(made) = made {
            bench.holds_the_home(&made);
        }
        bench.tick();
        // Like every command, the next one ends what was begun before it looks.
        drop(bench.open());
        let next = bench.backup(Kind::Full);
        bench.holds_the_home(&next);
        for stored in bench.scan().snapshots.iter().filter(|it| it.title != kept.name.to_string()) {
            fs::remove_file(&stored.archive).unwrap();
            fs::remove_file(stored.sidecar.as_ref().unwrap()).unwrap();
        }
    }
}

#[test]
fn whoever_stops_it_while_a_large_file_is_copied_from_the_last_snapshot_is_heard_at_once() {
    let bench = Bench::at_rest();
    bench.backup(Kind::Full);
    bench.tick();
    let plan = bench.plan(Kind::Full, false);
    let stop = AtomicBool::new(false);
    let mut copied = Vec::new();
    let mut advance = |bytes| {
        copied.push(bytes);
        stop.store(bytes == 1 << 20, Ordering::Relaxed);
    };
    let error = prepare(plan, &bench.store, &mut advance, &stop).unwrap_err();
    assert!(matches!(error, BackupError::Interrupted), "{error}");
    assert_eq!(copied.last(), Some(&(1 << 20)), "{copied:?}");
}

#[test]
fn a_file_of_another_mode_is_looked_into_when_the_plan_is_made() {
    let bench = Bench::at_rest();
    bench.backup(Kind::Full);
    bench.tick();
    let is_kept = |plan: &Plan| {
        let mut items = plan.items.iter();
        items.any(|it| it.name.as_str() == "notes.md" && matches!(it.content, Content::Kept { .. }))
    };
    assert!(is_kept(&bench.plan(Kind::Full, false)));
    fs::set_permissions(bench.at("notes.md"), fs::Permissions::from_mode(0o000)).unwrap();
    assert!(!is_kept(&bench.plan(Kind::Full, false)));
}
