//! Large files on several threads, and content that comes from a folder which others use.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime};

use super::*;
use crate::disk::Call;
use crate::disk::faults::{Fault, Weather};

/// A large file of nine mebibytes and a bit, with a hole in it.
fn large() -> Vec<u8> {
    let mut content = noise(9 * MIB + 77, 5);
    content[3 * MIB..4 * MIB + 9].fill(0);
    content
}

/// An archive of `big` whose content cannot be had from it but for the first chunk.
fn spoiled(content: &[u8]) -> Desk {
    let (mut bytes, _) = write(&tree(&[("d/big", content)]), 2);
    let archive = Desk::with(&bytes);
    let chunks = archive.open().unwrap().chunks(&name("d/big")).unwrap().to_vec();
    for chunk in &chunks[1..] {
        bytes[usize::try_from(chunk.offset).unwrap() + 12] ^= 1;
    }
    Desk::with(&bytes)
}

/// Unpacks beside a folder that may have the same, on this thread alone; `progress` hears of each
/// unit when it is done.
fn unpack(
    desk: &Desk,
    like: Option<&Path>,
    jobs: usize,
    progress: &mut dyn FnMut(u64),
) -> Result<PathBuf, ArchiveError> {
    let into = desk.fresh();
    let mut how = Extraction {
        place: &mut |entry| Some(entry.name.clone()),
        like,
        keep_link: &mut |_, _| false,
        progress,
        stop: &AtomicBool::new(false),
    };
    desk.open()?.with_jobs(jobs).extract(&into, &mut how).map(|_| into)
}

/// A folder with `d/big` of that content.
fn home(content: &[u8]) -> TempDir {
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join("d")).unwrap();
    fs::write(dir.path().join("d/big"), content).unwrap();
    dir
}

#[test]
fn one_large_file_is_the_same_from_any_number_of_threads() {
    let content = large();
    let desk = Desk::with(&write(&tree(&[("a", b"1"), ("d/big", &content), ("z", b"2")]), 2).0);
    for jobs in [0, 1, 2, 5] {
        let mut heard = 0;
        let into = unpack(&desk, None, jobs, &mut |bytes| heard += bytes).unwrap();
        assert!(fs::read(into.join("d/big")).unwrap() == content, "{jobs}");
        assert_eq!(heard, size(&content) + 2);
        let about = fs::metadata(into.join("d/big")).unwrap();
        assert!(about.blocks() * 512 < size(&content) - (1 << 19), "the hole stays one");
        assert_eq!(about.mtime(), TIME);
    }
}

#[test]
fn the_first_damage_in_the_archive_is_named_whatever_the_threads() {
    let files: Tree =
        (0..40).map(|n| (format!("f{n:02}"), noise(300_000 + n, size(&[1]) + 7))).collect();
    let (mut bytes, _) = write(&files, 2);
    let desk = Desk::with(&bytes);
    for file in ["f09", "f10", "f31"] {
        let at = desk.open().unwrap().chunks(&name(file)).unwrap()[0].offset;
        bytes[usize::try_from(at).unwrap() + 20] ^= 1;
    }
    let desk = Desk::with(&bytes);
    for jobs in [1, 2, 2, 2, 4, 4, 4, 8] {
        let error = unpack(&desk, None, jobs, &mut |_| {}).unwrap_err().to_string();
        assert!(error.starts_with("f09, chunk 1 of 1"), "{error}");
        let found = verify(&desk.open().unwrap().with_jobs(jobs)).unwrap();
        let named: Vec<_> = found.iter().filter_map(|it| it.name.as_ref()).collect();
        assert_eq!(named, [&name("f09"), &name("f10"), &name("f31")]);
    }
}

#[test]
fn what_is_needed_of_a_file_of_many_units_is_there_or_nothing_of_it() {
    let content = large();
    let (mut bytes, _) = write(&tree(&[("d/big", &content), ("z", b"last")]), 2);
    let chunks = Desk::with(&bytes).open().unwrap().chunks(&name("d/big")).unwrap().to_vec();
    for number in [8, 5] {
        bytes[usize::try_from(chunks[number].offset).unwrap() + 12] ^= 1;
    }
    let desk = Desk::with(&bytes);
    for jobs in [1, 4] {
        let into = desk.fresh();
        let (taken, damaged) = pick(&desk.open().unwrap().with_jobs(jobs), &into, &["d/big", "z"]);
        assert_eq!((taken.files, taken.bytes), (1, 4));
        let numbers: Vec<_> = damaged.iter().map(|it| it.chunk.unwrap().number).collect();
        assert_eq!(numbers, [6], "of a file the first damaged chunk is named");
        assert!(!into.join("d/big").exists());
    }
}

#[test]
fn what_a_folder_has_already_is_not_taken_from_the_archive() {
    let content = large();
    let desk = spoiled(&content);
    assert!(unpack(&desk, None, 2, &mut |_| {}).unwrap_err().is_corrupt());
    // Also if it has grown since.
    for live in [content.clone(), [&content[..], b"and more"].concat()] {
        let like = home(&live);
        let into = unpack(&desk, Some(like.path()), 2, &mut |_| {}).unwrap();
        assert!(fs::read(into.join("d/big")).unwrap() == content);
        assert!(fs::read(like.path().join("d/big")).unwrap() == live);
    }
}

#[test]
fn a_file_of_the_right_size_and_other_content_is_never_believed() {
    let content = large();
    let sound = Desk::with(&write(&tree(&[("d/big", &content)]), 2).0);
    let wrong = |at: usize| {
        let mut live = content.clone();
        live[at] ^= 1;
        live
    };
    let short = content[..2 * MIB + 5].to_vec();
    for live in [wrong(0), wrong(9 * MIB + 76), wrong(5 * MIB), short, noise(content.len(), 9)] {
        let like = home(&live);
        let into = unpack(&sound, Some(like.path()), 2, &mut |_| {}).unwrap();
        assert!(fs::read(into.join("d/big")).unwrap() == content);
    }
    // And what it does not have is not made up.
    let like = home(&wrong(5 * MIB));
    let error = unpack(&spoiled(&content), Some(like.path()), 2, &mut |_| {}).unwrap_err();
    assert!(error.to_string().starts_with("d/big, chunk 6 of 10"), "{error}");
}

#[test]
fn what_begins_as_a_clone_is_read_where_it_is_and_mended_from_the_archive() {
    let content = large();
    let sound = Desk::with(&write(&tree(&[("d/big", &content), ("d/e", &[7; 20_000])]), 2).0);
    let wrong = |at: usize| {
        let mut live = content.clone();
        live[at] ^= 1;
        live
    };
    // Where the file has its hole, the live one has something, and its end is other than it was.
    let filled = [&content[..3 * MIB], &noise(MIB + 9, 3), &content[4 * MIB + 9..]].concat();
    let rows: [(&str, Vec<u8>, usize); 7] = [
        ("the same", content.clone(), 0),
        ("grown", [&content[..], b"and more"].concat(), 0),
        ("another end", wrong(9 * MIB + 76), 1),
        ("no hole", filled, 2),
        ("cut off", content[..2 * MIB + 5].to_vec(), 8),
        ("empty", Vec::new(), 10),
        ("another file", noise(content.len(), 9), 10),
    ];
    for (what, live, written) in rows {
        for (jobs, rests) in [(1, false), (4, false), (1, true), (4, true)] {
            let like = home(&live);
            let cloning = Weather { clones: true, rests, ..Weather::default() };
            let unpack = || unpack(&sound, Some(like.path()), jobs, &mut |_| {});
            let (into, asked) = cloning.over(unpack);
            let into = into.unwrap();
            assert!(fs::read(into.join("d/big")).unwrap() == content, "{what}");
            assert!(fs::read(like.path().join("d/big")).unwrap() == live, "{what}");
            let about = fs::metadata(into.join("d/big")).unwrap();
            assert_eq!((about.mtime(), about.mode() & 0o777, about.nlink()), (TIME, 0o600, 1));
            let count = |call| asked.iter().filter(|(asked, _)| *asked == call).count();
            assert_eq!(count(Call::Clone), 1, "{what}");
            // The small file beside it is written, for the folder has none. Of several threads one
            // may find zeros where they should be, because another one wrote behind them.
            let is_expected = |count| count == written + 1 || jobs > 1 && count == written;
            assert!(is_expected(count(Call::Write)), "{what}: {}", count(Call::Write));
            assert_eq!(count(Call::Truncate), usize::from(what == "grown"), "{what}");
        }
    }
    // And what it does not have is not made up.
    let like = home(&wrong(5 * MIB));
    let cloning = Weather { clones: true, ..Weather::default() };
    let spoiled = spoiled(&content);
    let (done, _) = cloning.over(|| unpack(&spoiled, Some(like.path()), 2, &mut |_| {}));
    let error = done.unwrap_err().to_string();
    assert!(error.starts_with("d/big, chunk 6 of 10"), "{error}");
}

#[test]
fn of_a_file_that_nobody_writes_to_the_clone_is_believed_until_somebody_does() {
    let content = large();
    let desk = Desk::with(&write(&tree(&[("d/big", &content)]), 2).0);
    let change = |path: &Path, at| {
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(b"written meanwhile", at).unwrap();
    };
    let (second, last) = (u64::try_from(5 * MIB).unwrap(), u64::try_from(9 * MIB).unwrap());
    // After the first of three units: somebody writes to the clone, or to what it is one of.
    for (is_clone, rests, is_found) in
        [(true, true, false), (true, false, true), (false, true, true)]
    {
        let like = home(&content);
        // A time to come is no rest, and a later write does not leave it.
        let to_come = SystemTime::now() + Duration::from_secs(3_600);
        let big = File::options().write(true).open(like.path().join("d/big")).unwrap();
        big.set_modified(to_come).unwrap();
        let mut units = 0;
        let mut meanwhile = |_| {
            units += 1;
            let clone = desk.dir.path().join("into/d/big");
            if units == 1 && is_clone {
                change(&clone, second);
            } else if units == 1 {
                // Neither is what was cloned then.
                change(&like.path().join("d/big"), second);
                change(&clone, last);
            }
        };
        let cloning = Weather { clones: true, rests, ..Weather::default() };
        let unpack = || unpack(&desk, Some(like.path()), 1, &mut meanwhile);
        let (into, _) = cloning.over(unpack);
        let found = fs::read(into.unwrap().join("d/big")).unwrap() == content;
        assert_eq!(found, is_found, "{is_clone} {rests}");
        assert_eq!(units, 3);
    }
}

#[test]
fn where_cloning_fails_everything_is_written_and_a_disk_that_never_can_is_asked_once() {
    let files: Tree = (0..9).map(|n| (format!("d/f{n}"), noise(40_000, n + 1))).collect();
    let desk = Desk::with(&write(&files, 2).0);
    let like = TempDir::new().unwrap();
    fs::create_dir(like.path().join("d")).unwrap();
    files.iter().for_each(|(name, bytes)| fs::write(like.path().join(name), bytes).unwrap());
    // EOPNOTSUPP and EXDEV are true of every file, EINVAL and ENOSPC of the first one only.
    for (errno, tries) in [(95, 1), (18, 1), (22, 9), (28, 9)] {
        let fails = Some((0, Fault::Errno(errno)));
        let unable = Weather { fails, only: Some(Call::Clone), clones: true, ..Weather::default() };
        let unpack = || unpack(&desk, Some(like.path()), 1, &mut |_| {});
        let (into, asked) = unable.over(unpack);
        let into = into.unwrap();
        assert!(files.iter().all(|(name, bytes)| fs::read(into.join(name)).unwrap() == *bytes));
        assert_eq!(asked.len(), tries, "{errno}");
    }
}

#[test]
fn a_file_that_changes_while_content_is_taken_from_it_brings_nothing_new() {
    let content = large();
    let desk = Desk::with(&write(&tree(&[("d/big", &content)]), 2).0);
    let like = home(&content);
    let live = fs::OpenOptions::new().write(true).open(like.path().join("d/big")).unwrap();
    let mut units = 0;
    // What was taken already changes, and what is not yet.
    let mut write_over = |_| {
        units += 1;
        for at in 0..10 {
            live.write_all_at(b"written meanwhile", at << 20).unwrap();
        }
    };
    let into = unpack(&desk, Some(like.path()), 1, &mut write_over).unwrap();
    assert_eq!(units, 3);
    assert!(fs::read(into.join("d/big")).unwrap() == content);
}

#[test]
fn what_is_no_regular_file_is_neither_followed_nor_waited_for() {
    let content = large();
    let desk = spoiled(&content);
    let elsewhere = home(&content);
    let trap = |make: &dyn Fn(&Path)| {
        let like = TempDir::new().unwrap();
        make(like.path());
        unpack(&desk, Some(like.path()), 2, &mut |_| {})
    };
    let in_folder = |make: &dyn Fn(&Path)| {
        trap(&|root| {
            fs::create_dir(root.join("d")).unwrap();
            make(&root.join("d/big"));
        })
    };
    assert!(in_folder(&|path| fs::write(path, &content).unwrap()).is_ok());
    assert!(in_folder(&|path| symlink(elsewhere.path().join("d/big"), path).unwrap()).is_err());
    assert!(in_folder(&|path| fs::create_dir(path).unwrap()).is_err());
    let pipe = |path: &Path| {
        let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
        assert!(made.success());
    };
    assert!(in_folder(&pipe).is_err());
    assert!(trap(&|root| symlink(elsewhere.path().join("d"), root.join("d")).unwrap()).is_err());
    assert!(trap(&|_| {}).is_err());
}

#[test]
fn a_small_file_costs_few_calls() {
    let files: Tree = (0..100).map(|n| (format!("d/f{n:02}"), noise(300, n + 1))).collect();
    let files = [files, tree(&[("e", &noise(MIB, 3))])].concat();
    let desk = Desk::with(&write(&files, 2).0);
    let archive = desk.open().unwrap().with_jobs(1);
    let into = desk.fresh();
    let (done, asked) = Weather::default().over(|| extract(&archive, &into));
    done.unwrap();
    let count = |call| asked.iter().filter(|(asked, _)| *asked == call).count();
    let calls = [Call::Create, Call::Write, Call::Date, Call::Truncate, Call::Sync];
    assert_eq!(calls.map(count), [101, 101, 101, 0, 0]);
    #[cfg(target_os = "linux")]
    assert_eq!(count(Call::Begin), 1, "only the large one is worth that");
    assert!(count(Call::Read) <= 8, "what hangs together is read together: {}", count(Call::Read));
    assert!(count(Call::Open) <= 8, "a folder is opened once: {}", count(Call::Open));
}

#[cfg(target_os = "linux")]
#[test]
fn what_fails_on_its_way_to_the_disk_fails_the_whole() {
    let desk = Desk::with(&write(&tree(&[("e", &noise(5 * MIB, 3))]), 2).0);
    let archive = desk.open().unwrap().with_jobs(1);
    // Four chunks are one part of a large file.
    for (at, number, is_fine) in [(0, 5, false), (1, 28, false), (2, 5, true), (0, 22, true)] {
        let fails = Some((at, Fault::Errno(number)));
        let weather = Weather { fails, only: Some(Call::Begin), ..Weather::default() };
        let (done, asked) = weather.over(|| extract(&archive, &desk.fresh()));
        assert_eq!(done.is_ok(), is_fine, "{at} {number}");
        assert_eq!(asked.len(), if is_fine { 2 } else { at + 1 });
    }
}
