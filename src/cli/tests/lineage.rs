//! Is the newest login of an account ever lost, or a used one ever put in place?
//!
//! An [`Issuer`] hands out refresh tokens that work once, as the real one does. People sign in,
//! Codex refreshes, and commands are played on two Codex homes that share one manager home, in an
//! order that a seed decides; some commands are killed at some call. After each step:
//!
//! - of every account the newest login that was live or in a snapshot before a command still is,
//!   and any other one is somewhere a command can bring it back from (`trash/`, `undo/`), unless
//!   it was `prune` that deleted it for good;
//! - a command puts no login in place but the newest of its account that it could know, and that is
//!   the newest of what is stored and of what is live in the very home it works on (for `use`,
//!   `restore` and `undo`: in any home in which a command put a login before); it may be older only
//!   where `--accept-stale-login` was said;
//! - `use X` that says that it worked has signed X in; a command changes no other home;
//! - every `auth.json`, live or archived, is one that was issued (or written by the test as one that
//!   nobody understands), byte for byte, and a sidecar names the account whose login is behind it.
//!
//! What is not our fault, and the model leaves out:
//!
//! - **A person's sign-in** with Codex itself overwrites what is in the home. What was never stored
//!   is gone; the model asks only what a *command* found and left.
//! - **Two homes with copies of one login.** The first to refresh makes the other's a used one. A
//!   command cannot know of a refresh in a home that it has never changed anything in. So whether a
//!   token is still good is asked only where all goes on in one home ([`Scene::homes`] is 1): there
//!   nothing but a command ever moves a login, and *no* used one may come back. In two homes what
//!   is asked is the order.
//! - **An answer that got lost**: the issuer took the old token and Codex never saw the new one.
//!   The newest login that exists is a used one then, and stays the newest.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::home::Home;
use crate::disk::archive::{Archive, EntryName, Limits};
use crate::disk::faults::{Fault, Weather};

/// How many sequences are played, unless `LINEAGE_SEQUENCES` says how many, and of how many steps
/// each.
const SEQUENCES: u64 = 250;
const STEPS: usize = 9;

/// Where the first one begins; any other number is as good.
const SEED: u64 = 0x5eed_0f10_9145_0001;

const THREADS: usize = 2;

const PEOPLE: [&str; 3] = ["ada", "bob", "cyd"];

/// Two Codex homes; the manager home beside them serves both.
const HOMES: [&str; 2] = [".codex", ".codex-two"];

/// Runs after a kill: it takes the lock, so it tidies up, and touches no login.
const NEXT: &str = "cooldown set dan@example.com --until +1h";

#[test]
fn no_newest_login_is_ever_lost_and_no_used_one_comes_back() {
    let sequences = std::env::var("LINEAGE_SEQUENCES").map_or(SEQUENCES, |it| it.parse().unwrap());
    let next = AtomicU64::new(0);
    let wrong = Mutex::new(Vec::new());
    let tally = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if sequences <= number || wrong.lock().unwrap().len() > 2 {
                        return;
                    }
                    let told = Mutex::new(Vec::new());
                    let played =
                        catch_unwind(AssertUnwindSafe(|| Scene::new(number, &told).play()));
                    match played {
                        Ok(counts) => {
                            let mut tally = tally.lock().unwrap();
                            for (what, count) in counts {
                                *tally.entry(what).or_insert(0) += count;
                            }
                        }
                        Err(panic) => {
                            let words = panic.downcast_ref::<String>().cloned();
                            let words =
                                words.or(panic.downcast_ref::<&str>().map(|it| (*it).to_owned()));
                            let told =
                                told.lock().unwrap_or_else(PoisonError::into_inner).join("\n  ");
                            wrong.lock().unwrap().push(format!(
                                "seed {SEED:#x}, sequence {number}:\n  {told}\n{}",
                                words.unwrap_or_default()
                            ));
                        }
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    // A model in which little happens proves little.
    let tally: BTreeMap<&str, usize> = tally.into_inner().unwrap();
    let often = usize::try_from(sequences).unwrap() / 20;
    for what in ["refreshed", "killed", "put in place", "refused", "banked", "came back"] {
        assert!(tally.get(what).copied().unwrap_or(0) > often, "{what}: {tally:?}");
    }
}

/// Numbers that follow from a seed (xorshift64*).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).unwrap() % end
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// One login as it was handed out: of whom, and whether its token still works.
#[derive(Clone, Debug)]
struct Token {
    /// `None` for a file of the test's own that names nobody.
    person: Option<&'static str>,
    works: bool,
    /// The one that it was exchanged for.
    successor: Option<usize>,
}

/// Hands out tokens that work once. A token's number is its age: the higher, the newer.
#[derive(Default)]
struct Issuer {
    tokens: Vec<Token>,
    numbers: HashMap<Vec<u8>, usize>,
}

impl Issuer {
    fn sign_in(&mut self, person: &'static str, at: DateTime<Utc>) -> Vec<u8> {
        let number = self.tokens.len();
        let claims = json!({
            "email": format!("{person}@example.com"), "iat": at.timestamp(),
            "https://api.openai.com/auth": {
                "chatgpt_user_id": format!("user-{person}"),
                "chatgpt_account_id": format!("acct-{person}"), "chatgpt_plan_type": "plus",
            },
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let jwt = format!("{}.{}.made-up", part(&json!({"alg": "none"})), part(&claims));
        let file = json!({
            "tokens": {"id_token": jwt, "access_token": jwt,
                "refresh_token": format!("rt_{number}.made-up"),
                "account_id": format!("acct-{person}")},
            "last_refresh": at.to_rfc3339(),
            "not_known_yet": {"number": number},
        });
        self.note(Some(person), format!("{file:#}").into_bytes())
    }

    /// Exchanges a token, once.
    fn refresh(&mut self, number: usize, at: DateTime<Utc>) -> Option<Vec<u8>> {
        let Token { person, works, .. } = self.tokens[number];
        let person = person.filter(|_| works)?;
        let successor = Some(self.tokens.len());
        self.tokens[number] = Token { person: Some(person), works: false, successor };
        Some(self.sign_in(person, at))
    }

    fn note(&mut self, person: Option<&'static str>, bytes: Vec<u8>) -> Vec<u8> {
        self.numbers.insert(bytes.clone(), self.tokens.len());
        self.tokens.push(Token { person, works: person.is_some(), successor: None });
        bytes
    }
}

/// Where logins are, by number.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Found {
    /// In each home.
    live: [Option<usize>; 2],
    /// In snapshots.
    stored: BTreeSet<usize>,
    /// In `trash/`, in `undo/` and in homes that were put aside.
    kept: BTreeSet<usize>,
}

impl Found {
    /// All that a command finds or a person can bring back with one.
    fn all(&self) -> BTreeSet<usize> {
        let live = self.live.iter().flatten().copied();
        self.stored.iter().chain(&self.kept).copied().chain(live).collect()
    }

    /// What a command finds when it looks for logins, whatever home it works on.
    fn at_hand(&self) -> BTreeSet<usize> {
        self.stored.iter().copied().chain(self.live.iter().flatten().copied()).collect()
    }
}

/// One sequence.
struct Scene<'a> {
    dice: Dice,
    home: Home,
    issuer: Issuer,
    now: DateTime<Utc>,
    /// How many of [`HOMES`] are used.
    homes: usize,
    /// Those in which a command has put a login.
    changed: [bool; 2],
    /// Archives that were looked into, by their bytes.
    archives: HashMap<Vec<u8>, Option<usize>>,
    counts: BTreeMap<&'static str, usize>,
    told: &'a Mutex<Vec<String>>,
}

impl<'a> Scene<'a> {
    fn new(number: u64, told: &'a Mutex<Vec<String>>) -> Self {
        let mut dice = Dice(SEED ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let homes = 1 + dice.below(2);
        Self {
            dice,
            home: Home::new(),
            issuer: Issuer::default(),
            now: "2026-11-21T10:00:00Z".parse().unwrap(),
            homes,
            changed: [false; 2],
            archives: HashMap::new(),
            counts: BTreeMap::new(),
            told,
        }
    }

    fn play(mut self) -> BTreeMap<&'static str, usize> {
        for home in HOMES {
            self.write(&format!("{home}/config.toml"), b"model = \"gpt-5\"\n");
            self.write(&format!("{home}/history.jsonl"), b"{}\n");
        }
        for home in 0..self.homes {
            self.sign_in(home);
            self.play_line(home, "backup");
            self.sign_in(home);
        }
        for _ in 0..STEPS {
            let seconds = self.dice.one(&[0, 0, 1, 60, 3_600, 90_000]);
            self.tick(seconds);
            let home = self.dice.below(self.homes);
            match self.dice.below(20) {
                0 => self.sign_in(home),
                1 => self.scribble(home),
                2..5 => self.refresh(home, true),
                5 => self.refresh(home, false),
                6 => self.work(home),
                _ => self.command(home),
            }
        }
        self.end();
        self.counts
    }

    /// Lets time pass: no two logins are of the same instant.
    fn tick(&mut self, seconds: i64) {
        self.now += TimeDelta::seconds(seconds) + TimeDelta::nanoseconds(1);
        self.home.set_clock(self.now);
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_insert(0) += 1;
    }

    fn tell(&self, what: String) {
        self.told.lock().unwrap().push(what);
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.home.root().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn auth(&self, home: usize) -> String {
        format!("{}/auth.json", HOMES[home])
    }

    /// A person signs in with Codex itself.
    fn sign_in(&mut self, home: usize) {
        let person = self.dice.one(&PEOPLE);
        self.tick(0);
        self.tell(format!("{person} signs in to {}", HOMES[home]));
        let bytes = self.issuer.sign_in(person, self.now);
        self.write(&self.auth(home), &bytes);
    }

    /// Something lands in `auth.json` that names nobody.
    fn scribble(&mut self, home: usize) {
        let number = self.issuer.tokens.len();
        self.tell(format!("{} is scribbled on ({number})", self.auth(home)));
        let bytes = self.issuer.note(None, format!("{{\"tokens\": {number}}}").into_bytes());
        self.write(&self.auth(home), &bytes);
    }

    /// Codex refreshes in that home; the answer may get lost on the way.
    fn refresh(&mut self, home: usize, arrives: bool) {
        let Some(number) = self.look().live[home] else { return };
        let answer = self.issuer.refresh(number, self.now);
        self.tell(format!("{} refreshes {number}: {}", HOMES[home], answer.is_some() && arrives));
        if let Some(bytes) = answer.filter(|_| arrives) {
            self.write(&self.auth(home), &bytes);
            self.count("refreshed");
        }
    }

    /// A person works in that home.
    fn work(&mut self, home: usize) {
        let line = format!("{{\"at\":{}}}\n", self.now.timestamp());
        self.write(&format!("{}/history.jsonl", HOMES[home]), line.as_bytes());
    }

    /// Plays some command, perhaps killed at some call, and judges what it left.
    fn command(&mut self, home: usize) {
        let person = self.dice.one(&PEOPLE);
        let line = match self.dice.below(24) {
            0 | 1 => "backup --auth-only".to_owned(),
            2 | 3 => "backup".to_owned(),
            4 => "backup --force".to_owned(),
            5..9 => format!("use {person}"),
            9 => "use -".to_owned(),
            10 => "use --next".to_owned(),
            11 | 12 => format!("use {person} --full --yes"),
            13 | 14 => format!("restore --account {person} --yes"),
            15 => format!("restore --account {person} --yes --login keep"),
            16 => format!("restore --account {person} --yes --login snapshot"),
            17 => format!("restore --account {person} --yes --login snapshot --accept-stale-login"),
            18..21 => "undo --yes --force".to_owned(),
            21 => "prune --keep-last 1 --yes".to_owned(),
            22 => "doctor --fix".to_owned(),
            _ => {
                let days = self.dice.one(&[0, 7]);
                format!(
                    "config set {} {days}",
                    self.dice.one(&["trash.keep_days", "undo.keep_days"])
                )
            }
        };
        self.play_line(home, &line);
    }

    fn play_line(&mut self, home: usize, line: &str) {
        let line = format!("{line} --codex-home ~/{}", HOMES[home]);
        let before = self.look();
        let weather = match self.dice.below(5) {
            0 => Weather::failing(self.dice.below(90), Fault::Gone),
            _ => Weather::default(),
        };
        let failing = weather.fails;
        let (seen, asked) = weather.over(|| self.home.play(&line));
        let killed = failing.filter(|(at, _)| *at < asked.len());
        let said = seen.screen.lines().last().unwrap_or_default().to_owned();
        match killed {
            Some((at, _)) => {
                self.tell(format!("{line}: killed at {at}"));
                self.count("killed");
                let (next, _) = Weather::default().over(|| self.home.play(NEXT));
                assert_eq!(next.exit, 0, "after a kill: {}", next.screen);
            }
            None => self.tell(format!("{line}: {} {said}", seen.exit)),
        }
        let after = self.look();
        self.tell(format!("  {:?} stored {:?} kept {:?}", after.live, after.stored, after.kept));
        self.judge(home, &line, &before, &after, seen.exit, killed.is_some());
    }

    fn judge(
        &mut self,
        home: usize,
        line: &str,
        before: &Found,
        after: &Found,
        exit: u8,
        killed: bool,
    ) {
        // Nothing is lost.
        if !line.starts_with("prune") {
            let lost: Vec<usize> = before.all().difference(&after.all()).copied().collect();
            assert!(lost.is_empty(), "{line}: {lost:?} are nowhere any more");
        }
        let at_hand = after.at_hand();
        for person in PEOPLE {
            let newest = self.newest(person, before.at_hand());
            assert!(
                newest.is_none_or(|newest| at_hand.contains(&newest)),
                "{line}: the newest of {person}, {newest:?}, is lost"
            );
        }
        // Nobody's files are needed as long as they are: nothing tells which is the newest.
        let nobodys =
            before.at_hand().into_iter().filter(|it| self.issuer.tokens[*it].person.is_none());
        let lost: Vec<usize> = nobodys.filter(|it| !at_hand.contains(it)).collect();
        assert!(lost.is_empty() || line.starts_with("undo"), "{line}: of nobody {lost:?} are lost");
        // Other homes are none of its business.
        for other in (0..HOMES.len()).filter(|other| *other != home) {
            assert_eq!(after.live[other], before.live[other], "{line}: another home has changed");
        }
        if exit == 5 && !killed {
            assert_eq!(after.live, before.live, "{line}: refused, and yet another login is live");
            self.count("refused");
        }
        if after.stored.len() > before.stored.len() && !line.starts_with("backup") {
            self.count("banked");
        }
        // What is put in place is the newest that could be known.
        let (is, was) = (after.live[home], before.live[home]);
        if is != was
            && let Some(is) = is
        {
            self.count("put in place");
            let Token { person, successor, .. } = self.issuer.tokens[is];
            let mut known = before.stored.clone();
            known.extend(was);
            if ["use ", "restore ", "undo "].iter().any(|looks| line.starts_with(looks)) {
                let others = before.live.iter().zip(self.changed).filter(|(_, changed)| *changed);
                known.extend(others.filter_map(|(live, _)| *live));
            }
            self.changed[home] = true;
            let newest = person.and_then(|person| self.newest(person, known));
            let is_newest = newest.is_none_or(|newest| newest <= is);
            assert!(
                is_newest || line.contains("--accept-stale"),
                "{line}: {is} is live, and {newest:?} is newer"
            );
            // One that was used up may come back only where nobody has what it was exchanged for.
            let is_used = successor.is_some_and(|it| before.all().contains(&it));
            assert!(
                self.homes > 1 || !is_used || line.contains("--accept-stale"),
                "{line}: {is} is live, and used"
            );
        }
        // Who was asked for is signed in.
        if let Some(person) = line.strip_prefix("use ").and_then(|it| it.split(' ').next())
            && PEOPLE.contains(&person)
            && exit == 0
            && !killed
        {
            let live = is.and_then(|is| self.issuer.tokens[is].person);
            assert_eq!(live, Some(person), "{line}: somebody else is signed in");
        }
    }

    /// Whoever was there can still be signed in, with their newest login.
    fn end(&mut self) {
        for person in PEOPLE {
            let before = self.look();
            let mut known = before.stored.clone();
            known.extend(before.live[0]);
            let Some(newest) = self.newest(person, known) else { continue };
            let (seen, _) = Weather::default().over(|| self.home.play(&format!("use {person}")));
            let other = before.live[1].filter(|it| self.issuer.tokens[*it].person == Some(person));
            if seen.exit == 5 && other.is_some_and(|other| newest < other) {
                continue;
            }
            assert_eq!(seen.exit, 0, "in the end {person}: {}", seen.screen);
            assert_eq!(self.look().live[0], Some(newest), "in the end {person} has another login");
            self.count("came back");
        }
    }

    fn newest(&self, person: &str, among: BTreeSet<usize>) -> Option<usize> {
        among.into_iter().rev().find(|it| self.issuer.tokens[*it].person == Some(person))
    }

    /// Finds every login there is; each is one that was handed out, byte for byte.
    fn look(&mut self) -> Found {
        let mut found = Found::default();
        let root = self.home.root().to_owned();
        for (number, home) in HOMES.iter().enumerate() {
            let bytes = fs::read(root.join(home).join("auth.json")).ok();
            found.live[number] = bytes.map(|bytes| self.number(&bytes, home));
        }
        let mut waiting = vec![root.clone()];
        while let Some(folder) = waiting.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                let is_live = HOMES.iter().any(|home| path == root.join(home));
                if path.is_dir() {
                    if !is_live {
                        waiting.push(path);
                    }
                } else if name == "auth.json" {
                    let number = self.number(&fs::read(&path).unwrap(), &name);
                    found.kept.insert(number);
                } else if name.ends_with(".tar.gz")
                    && let Some(number) = self.archived(&path)
                {
                    match path.parent() == Some(&root.join(".codex-manager/backups")) {
                        true => found.stored.insert(number),
                        false => found.kept.insert(number),
                    };
                }
            }
        }
        found
    }

    fn number(&self, bytes: &[u8], place: &str) -> usize {
        let number = self.issuer.numbers.get(bytes).copied();
        number.unwrap_or_else(|| {
            unreachable!("{place}: nobody was given {}", String::from_utf8_lossy(bytes))
        })
    }

    /// The login in an archive, which is the one of its sidecar's account.
    fn archived(&mut self, path: &Path) -> Option<usize> {
        let bytes = fs::read(path).unwrap();
        if !self.archives.contains_key(&bytes) {
            let auth: EntryName = "auth.json".parse().unwrap();
            let archive = Archive::open(path, &Limits::default()).unwrap();
            let login = archive.read(&auth, 1 << 20).unwrap();
            let login = login.map(|login| self.number(&login, &path.display().to_string()));
            self.archives.insert(bytes.clone(), login);
            if let Some(login) = login {
                self.assert_told(path, login);
            }
        }
        self.archives[&bytes]
    }

    fn assert_told(&self, archive: &Path, login: usize) {
        let name = archive.to_string_lossy().replace(".tar.gz", ".metadata.json");
        let Ok(sidecar) = fs::read(PathBuf::from(name)) else { return };
        let told: Value = serde_json::from_slice(&sidecar).unwrap();
        let person = self.issuer.tokens[login].person.map(|person| format!("{person}@example.com"));
        assert_eq!(told["email"].as_str(), person.as_deref(), "{}", archive.display());
    }
}
