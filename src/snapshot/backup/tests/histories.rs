//! Does every backup hold exactly what the home holds, whatever happened before it?
//!
//! Sequences of edits to a home, losses of its cache and blows to its earlier archives, drawn from a
//! seed. `HISTORY_SEQUENCES` says how many are played.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, SystemTime};

use super::reuse::{BLOWS, noise, overwrite_unnoticed, set_time};
use super::*;

/// So many sequences are played if the environment does not say how many, and so many backups of
/// each.
const SEQUENCES: u64 = 6;
const BACKUPS: usize = 5;

/// Numbers from a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % sides
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        self.0 = self.0.wrapping_add(1);
        noise(self.0, length)
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        if of.is_empty() { None } else { of.get(self.roll(of.len())) }
    }
}

/// One history of one home.
struct History {
    bench: Bench,
    dice: Dice,
    made: Vec<Made>,
    /// Snapshots that were struck, and are not sound any more.
    struck: Vec<usize>,
    /// What the cache held after each backup.
    caches: Vec<Vec<u8>>,
    /// Names given so far.
    names: usize,
    told: Vec<String>,
}

#[test]
fn every_backup_holds_what_the_home_holds_whatever_happened_before() {
    let sequences = std::env::var("HISTORY_SEQUENCES").map_or(SEQUENCES, |it| it.parse().unwrap());
    for seed in 1..=sequences {
        let bench = Bench { now: "2100-01-01T00:00:00Z".parse().unwrap(), ..Bench::new() };
        let mut history = History {
            bench,
            dice: Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            made: Vec::new(),
            struck: Vec::new(),
            caches: Vec::new(),
            names: 0,
            told: Vec::new(),
        };
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| history.play()));
        if let Err(panic) = played {
            eprintln!("seed {seed}: {}", history.told.join(", "));
            std::panic::resume_unwind(panic);
        }
    }
}

impl History {
    fn play(&mut self) {
        self.bench.sql("CREATE TABLE threads (id INTEGER PRIMARY KEY, body BLOB)");
        for _ in 0..6 {
            self.add();
        }
        for _ in 0..BACKUPS {
            self.bench.tick();
            for _ in 0..self.dice.roll(4) {
                self.edit();
            }
            self.mishap();
            let made = self.bench.backup(Kind::Full);
            for struck in self.struck.drain(..) {
                self.bench.forget(&self.made[struck]);
            }
            self.bench.holds_the_home(&made);
            self.caches.push(fs::read(self.bench.cache()).unwrap());
            self.made.push(made);
        }
    }

    /// The regular files of the home that may be changed, and its folders.
    fn paths(&self) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let root = self.bench.home.root();
        let walk = crate::disk::tree::walk(root, &mut |_| crate::disk::tree::Visit::Take).unwrap();
        let of = |kind| {
            let nodes = walk.nodes.iter().filter(move |node| node.kind == kind);
            let is_ours = |path: &PathBuf| path.extension().is_none_or(|it| it == "bin");
            nodes.map(|node| node.path.clone()).filter(is_ours).map(|path| root.join(path))
        };
        let mut folders: Vec<PathBuf> = of(crate::disk::tree::Kind::Dir).collect();
        folders.push(root.to_owned());
        (of(crate::disk::tree::Kind::File).collect(), folders)
    }

    fn name(&mut self, ending: &str) -> PathBuf {
        let (_, folders) = self.paths();
        self.names += 1;
        self.dice.one(&folders).unwrap().join(format!("{}{ending}", self.names))
    }

    fn add(&mut self) {
        let path = self.name(".bin");
        let length = *self.dice.one(&[0, 1, 700, 70_000, (1 << 20) + 1]).unwrap();
        fs::write(path, self.dice.bytes(length)).unwrap();
    }

    fn edit(&mut self) {
        let (files, folders) = self.paths();
        let number = self.dice.roll(14);
        self.told.push(format!("edit {number}"));
        let Some(path) = self.dice.one(&files).cloned() else { return self.add() };
        let other = self.dice.one(&files).unwrap().clone();
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        match number {
            0 => self.add(),
            1 => {
                let bytes = [fs::read(&path).unwrap(), self.dice.bytes(900)].concat();
                fs::write(&path, bytes).unwrap();
            }
            2 => overwrite_unnoticed(&path, self.dice.0),
            3 => {
                let half = fs::metadata(&path).unwrap().len() / 2;
                fs::File::options().write(true).open(&path).unwrap().set_len(half).unwrap();
            }
            4 => {
                let to = self.name(".bin");
                fs::rename(&path, to).unwrap();
            }
            5 => set_time(&path, SystemTime::UNIX_EPOCH + Duration::from_secs(86_400)),
            6 => fs::remove_file(&path).unwrap(),
            7 => {
                // Two files change places; each keeps its time.
                let aside = self.bench.store.root().with_file_name("aside");
                fs::rename(&path, &aside).unwrap();
                if path != other {
                    fs::rename(&other, &path).unwrap();
                }
                fs::rename(&aside, &other).unwrap();
            }
            8 => {
                let mode = if self.dice.roll(2) == 0 { 0o700 } else { 0o600 };
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            }
            9 => fs::create_dir(self.name("")).unwrap(),
            10 => symlink("1.bin", self.name(".link")).unwrap(),
            11 => {
                // Another file of the same length and time comes in its place.
                let length = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
                let new = path.with_extension("new");
                fs::write(&new, self.dice.bytes(length)).unwrap();
                set_time(&new, time);
                fs::rename(&new, &path).unwrap();
            }
            12 => {
                let batch = [
                    "INSERT INTO threads (body) VALUES (randomblob(5000))",
                    "INSERT INTO threads (body) VALUES (zeroblob(1500000))",
                    "UPDATE threads SET body = randomblob(length(body))",
                    "DELETE FROM threads WHERE id = (SELECT min(id) FROM threads)",
                    "PRAGMA journal_mode = WAL",
                    "VACUUM",
                ];
                self.bench.sql(self.dice.one(&batch).unwrap());
            }
            _ => {
                let folder = self.dice.one(&folders).unwrap();
                if folder != self.bench.home.root() {
                    fs::remove_dir_all(folder).unwrap();
                }
            }
        }
    }

    /// Something that befalls the cache, or an earlier archive.
    fn mishap(&mut self) {
        let number = self.dice.roll(12);
        self.told.push(format!("mishap {number}"));
        let cache = self.bench.cache();
        let Some(now) = self.caches.last().cloned() else { return };
        match number {
            0 => fs::remove_file(&cache).unwrap(),
            1 => fs::write(&cache, &now[..self.dice.roll(now.len())]).unwrap(),
            2 => {
                let mut flipped = now;
                let at = self.dice.roll(flipped.len());
                flipped[at] ^= 1 << self.dice.roll(8);
                fs::write(&cache, flipped).unwrap();
            }
            3 => {
                let older = self.dice.one(&self.caches).unwrap();
                fs::write(&cache, older).unwrap();
            }
            4 => {
                let known = self.bench.store.known_files(self.bench.home.root());
                let elsewhere = known.unwrap().to_bytes(Path::new("/elsewhere"));
                fs::write(&cache, elsewhere.unwrap()).unwrap();
            }
            5 | 6 => {
                let last = self.made.len() - 1;
                let (_, blow) = self.dice.one(&BLOWS).unwrap();
                blow(&self.made[last].archive);
                self.struck.push(last);
            }
            7 => {
                let gone = self.dice.roll(self.made.len());
                self.bench.forget(&self.made[gone]);
            }
            _ => {}
        }
    }
}
