//! A Codex that never rests: it commits, appends, creates, deletes and refreshes its login.
//!
//! Whatever it writes it notes before, and what is whole on the disk it notes afterwards, so that
//! a copy can be held against both ([`Truth`]).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, Transaction};
use serde_json::json;

use crate::home::{TestHome, ids, login};

/// The databases with accounts, transfers and a counter of them.
pub(super) const BANKS: [&str; 2] = ["state_5.sqlite", "goals_1.sqlite"];

/// What all accounts of a bank hold together.
pub(super) const MONEY: i64 = ACCOUNTS * 1_000;

const ACCOUNTS: i64 = 50;

/// After so many transfers a bank closes, so that its log comes and goes.
const OFFICE_HOURS: u32 = 40;

/// So many rounds a session has.
const SESSION: u32 = 2;

/// All that was ever written where lines, logins and sessions are.
#[derive(Clone, Default)]
pub(super) struct Truth(Arc<Mutex<Written>>);

#[derive(Default)]
struct Written {
    /// Of each file of lines, what it holds or is about to hold, and how much of that is whole
    /// lines on the disk.
    lines: BTreeMap<String, (Vec<u8>, usize)>,
    logins: Vec<Vec<u8>>,
}

impl Truth {
    /// How many bytes of each file are whole lines at this instant.
    pub(super) fn whole(&self) -> BTreeMap<String, usize> {
        let written = self.0.lock().unwrap();
        written.lines.iter().map(|(path, (_, whole))| (path.clone(), *whole)).collect()
    }

    /// Everything that was written to each file of lines.
    pub(super) fn written(&self) -> BTreeMap<String, Vec<u8>> {
        let written = self.0.lock().unwrap();
        written.lines.iter().map(|(path, (text, _))| (path.clone(), text.clone())).collect()
    }

    /// Every content that `auth.json` ever had.
    pub(super) fn logins(&self) -> Vec<Vec<u8>> {
        self.0.lock().unwrap().logins.clone()
    }

    /// Appends a line in two writes, so that at times there is half of it.
    fn append(&self, home: &Path, path: &str, line: &str) {
        let place = home.join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        let mut file = File::options().append(true).create(true).open(place).unwrap();
        let line = format!("{line}\n");
        let (first, second) = line.as_bytes().split_at(line.len() / 2);
        for (part, rest) in [(first, 1_000), (second, 0)] {
            let mut written = self.0.lock().unwrap();
            written.lines.entry(path.to_owned()).or_default().0.extend_from_slice(part);
            drop(written);
            file.write_all(part).unwrap();
            // Whenever somebody looks, some line is half.
            std::thread::sleep(Duration::from_micros(rest));
        }
        let mut written = self.0.lock().unwrap();
        let (text, whole) = written.lines.get_mut(path).unwrap();
        *whole = text.len();
    }
}

/// The threads at work.
pub(super) struct Writers {
    truth: Truth,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Writers {
    /// Begins, and returns when every one of them has done something.
    pub(super) fn start(home: &TestHome) -> Self {
        let (truth, stop) = (Truth::default(), Arc::new(AtomicBool::new(false)));
        truth.0.lock().unwrap().logins.push(home.read(".codex/auth.json"));
        let root = home.codex("");
        for bank in BANKS {
            found(&root.join(bank));
        }
        let works: [fn(&Path, &Truth, u32); 5] = [
            |home, _, round| trade(home, BANKS[0], round),
            |home, _, round| trade(home, BANKS[1], round),
            converse,
            remember,
            refresh,
        ];
        let (began, begun) = std::sync::mpsc::channel();
        let threads = works.map(|work| {
            let (root, truth, stop) = (root.clone(), truth.clone(), Arc::clone(&stop));
            let began = began.clone();
            std::thread::spawn(move || {
                for round in 0.. {
                    work(&root, &truth, round);
                    if round == 0 {
                        began.send(()).unwrap();
                    }
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                }
            })
        });
        for _ in 0..threads.len() {
            begun.recv_timeout(super::WATCHDOG).unwrap();
        }
        Self { truth, stop, threads: threads.into() }
    }

    pub(super) fn truth(&self) -> &Truth {
        &self.truth
    }

    /// Ends all of them, whose work must have gone well; what they wrote.
    pub(super) fn stop(mut self) -> Truth {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
        self.truth.clone()
    }
}

impl Drop for Writers {
    /// A test that fails in between does not leave them at work in a folder that goes.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

fn open(path: &Path) -> Connection {
    let mut db = Connection::open(path).unwrap();
    // SQLite's own pauses grow until they miss every gap that a steady writer leaves.
    db.busy_handler(Some(rested)).unwrap();
    db
}

fn rested(_times: i32) -> bool {
    std::thread::sleep(Duration::from_micros(200));
    true
}

/// Makes a bank, in a database that may have other tables.
fn found(path: &Path) {
    let db = open(path);
    db.execute_batch(
        "PRAGMA journal_mode = WAL;
         CREATE TABLE IF NOT EXISTS threads (id TEXT PRIMARY KEY, rollout_path TEXT NOT NULL, title TEXT);
         CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);
         CREATE TABLE transfers (id INTEGER PRIMARY KEY, source INTEGER, target INTEGER, words BLOB);
         CREATE TABLE counter (n INTEGER NOT NULL);
         INSERT INTO counter VALUES (0);",
    )
    .unwrap();
    for id in 0..ACCOUNTS {
        db.execute("INSERT INTO accounts VALUES (?1, 1000)", [id]).unwrap();
    }
}

/// Opens a bank, moves money about, and closes it: of its files all come and go.
fn trade(home: &Path, bank: &str, round: u32) {
    let mut db = open(&home.join(bank));
    // Pages move from the log into the database all the time.
    db.pragma_update(None, "wal_autocheckpoint", 8).unwrap();
    for number in 0..OFFICE_HOURS {
        let step = i64::from(round) * i64::from(OFFICE_HOURS) + i64::from(number);
        transfer(&db.transaction().unwrap(), step);
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn transfer(deal: &Transaction<'_>, step: i64) {
    let (source, target) = (step % ACCOUNTS, (step * 7 + 1) % ACCOUNTS);
    let amount = step % 13;
    let run = |line: &str, values: (i64, i64)| deal.execute(line, values).unwrap();
    run("UPDATE accounts SET balance = balance - ?1 WHERE id = ?2", (amount, source));
    run(
        "INSERT INTO transfers (source, target, words) VALUES (?1, ?2, randomblob(600))",
        (source, target),
    );
    run("UPDATE accounts SET balance = balance + ?1 WHERE id = ?2", (amount, target));
    deal.execute("UPDATE counter SET n = n + 1", []).unwrap();
    deal.execute_batch("COMMIT").unwrap();
}

/// Goes on with the sessions there are, begins one, and only then writes it into the index.
fn converse(home: &Path, truth: &Truth, round: u32) {
    let rollout = |number: u32| {
        format!(
            "sessions/2026/11/21/rollout-2026-11-21T10-00-{number:02}-019aa000-0000-7000-9000-{number:012}.jsonl"
        )
    };
    let number = round / SESSION;
    let words = json!({"type": "event_msg", "payload": {"round": round, "words": "what is left to do? ".repeat(20)}});
    truth.append(home, &rollout(number), &words.to_string());
    truth.append(home, &rollout(0), &words.to_string());
    truth.append(home, "history.jsonl", &words.to_string());
    if round.is_multiple_of(SESSION) {
        let path = home.join(rollout(number)).display().to_string();
        let row = (format!("busy-{number}"), path);
        open(&home.join(BANKS[0]))
            .execute("INSERT INTO threads VALUES (?1, ?2, 'busy')", row)
            .unwrap();
    }
}

/// What a file that comes and goes holds.
pub(super) fn memory(name: &str) -> String {
    format!("{name}\n").repeat(400)
}

/// Writes something down and forgets something else.
fn remember(home: &Path, _truth: &Truth, round: u32) {
    let folder = home.join("memories");
    fs::create_dir_all(&folder).unwrap();
    let name = |round: u32| format!("memory-{round}.md");
    let text = memory(&name(round));
    let (first, second) = text.split_at(text.len() / 2);
    let mut file = File::create(folder.join(name(round))).unwrap();
    file.write_all(first.as_bytes()).unwrap();
    file.write_all(second.as_bytes()).unwrap();
    if let Some(old) = round.checked_sub(20) {
        fs::remove_file(folder.join(name(old))).unwrap();
    }
    std::thread::sleep(Duration::from_millis(1));
}

/// Refreshes the login as Codex does: cuts the file and writes it anew.
fn refresh(home: &Path, truth: &Truth, round: u32) {
    let (user, workspace) = ids("ada@example.com");
    let at = format!("2026-11-21T10:{:02}:{:02}Z", round / 60 % 60, round % 60);
    let text = login("ada@example.com", &user, &workspace, &format!("rt_{round}"), &at);
    truth.0.lock().unwrap().logins.push(text.clone().into_bytes());
    let path: PathBuf = home.join("auth.json");
    let (first, second) = text.split_at(text.len() / 2);
    let mut file = File::options().write(true).truncate(true).open(path).unwrap();
    file.write_all(first.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(2));
    file.write_all(second.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(150));
}
