//! What is left of a command whose disk fails at any one call?
//!
//! Each command is played once for every call it makes and every way in which that call can
//! fail: alone, with half of a write done, or with every later call failing too, which leaves
//! what a kill at that point leaves. Afterwards the Codex home is the old one or the new one,
//! whole; the next command tidies up; the command, played again, does its work; and every login
//! that was somewhere before still is.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::io::Errno;

use super::home::{Home, Seen};
use super::photo::Photo;
use crate::disk::Call;
use crate::disk::faults::{Asked, Fault, Weather};
use crate::disk::replace::TEMP_PREFIX;

/// For each command, and other tests run beside it: a command rests while it waits for a login to
/// settle.
const THREADS: usize = 2;

const JOURNAL: &str = ".codex-manager/journal.json";
const OPERATIONS: &str = ".codex-manager/operations.jsonl";
const LEDGER: &str = ".codex-manager/ledger.jsonl";

/// What the next command is, whatever the one before did.
const NEXT: &str = "cooldown set bob@example.com --until +1h";

#[test]
fn a_backup_survives_every_failing_call() {
    sweep("backup");
}

#[test]
fn a_backup_that_replaces_another_survives_every_failing_call() {
    sweep("backup --force");
}

#[test]
fn a_restore_in_place_survives_every_failing_call() {
    sweep("restore --yes");
}

#[test]
fn a_restore_survives_every_failing_call_where_names_cannot_be_exchanged() {
    sweep_in(&[], "restore --yes", &without_flags());
}

#[test]
fn a_restore_to_another_place_survives_every_failing_call() {
    sweep("restore --to ~/copy");
}

#[test]
fn a_switch_survives_every_failing_call() {
    sweep("use bob");
}

#[test]
fn a_switch_of_login_and_state_survives_every_failing_call() {
    sweep_in(&["use bob"], "use ada --full --yes", &Weather::default());
}

#[test]
fn a_cooldown_survives_every_failing_call() {
    sweep("cooldown set ada --until +3h");
    sweep("cooldown clear cyd");
}

#[test]
fn a_setting_survives_every_failing_call() {
    sweep("config set color never");
    sweep("config unset aliases.work");
}

#[test]
fn pruning_survives_every_failing_call() {
    sweep("prune --keep-last 1 --yes");
}

#[test]
fn undoing_survives_every_failing_call() {
    sweep("undo --yes");
    // Here the two snapshots of one name change places.
    sweep_in(&["backup --force"], "undo --yes", &Weather::default());
}

#[test]
fn an_adopted_login_survives_every_failing_call() {
    sweep("normalize ~/legacy --adopt");
}

#[test]
fn an_adopted_login_survives_every_failing_call_where_renaming_replaces() {
    sweep_in(&[], "normalize ~/legacy --adopt", &without_flags());
}

#[test]
fn a_reading_survives_every_failing_call() {
    sweep("status --status-file ~/panel.txt");
}

/// On NFS renaming knows no flags: names are exchanged by renames under a journal, and a free
/// name is taken by a link.
fn without_flags() -> Weather {
    Weather { without_flags: true, ..Weather::default() }
}

/// Ada and Bob are stored, Ada's home has changed since, and her login is not the stored one.
fn evening() -> Home {
    let home = Home::new()
        .signed_in("ada")
        .session("ada")
        .file(".codex/config.toml", "model = \"gpt-5\"\n")
        .file(".codex/history.jsonl", "{}\n")
        .file(".codex/skills/mine/SKILL.md", "as it was")
        .legacy("cyd")
        .file(
            "panel.txt",
            "Account: ada@example.com\nWeekly limit: 61% left (resets 10:02 on 26 Nov)\n",
        );
    home.play("backup --label good");
    let home = home.later(24).signed_in("bob");
    home.play("backup --auth-only");
    home.play("cooldown set cyd@example.com --until +5h");
    home.play("config set aliases.work ada@example.com");
    home.signed_in("ada")
        .file(".codex/skills/mine/SKILL.md", "spoilt")
        .file(".codex/worktrees/ab12/repo/file", "unfinished work")
}

#[track_caller]
fn sweep(line: &str) {
    sweep_in(&[], line, &Weather::default());
}

/// Plays `line`, once the lines `before` were played, at every point in that climate.
#[track_caller]
fn sweep_in(before: &[&str], line: &str, climate: &Weather) {
    let next = AtomicUsize::new(0);
    let seen = Mutex::new(BTreeSet::new());
    let wrong = Mutex::new(Vec::new());
    let tried = std::thread::scope(|scope| {
        let work = || {
            let lab = Lab::new(before, line, climate);
            let points = lab.points();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some((at, fault)) = points.get(number) else { return points.len() };
                let outcome = catch_unwind(AssertUnwindSafe(|| lab.try_at(*at, *fault, &seen)));
                if let Err(panic) = outcome {
                    let words = panic.downcast_ref::<String>().map(String::as_str);
                    let words = words.or(panic.downcast_ref::<&str>().copied());
                    let point = format!("{at} {:?} {fault:?}", lab.asked.get(*at));
                    wrong.lock().unwrap().push(format!("{point}: {}", words.unwrap_or("?")));
                }
            }
        };
        let workers: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).max().unwrap()
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{line}: {} of {tried}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(tried >= 30, "{line} was tried at {tried} points only");
}

/// One home to play the command in, and what it is like before and after.
struct Lab<'a> {
    line: &'a str,
    climate: &'a Weather,
    home: Home,
    /// What it asks the disk for where nothing fails.
    asked: Vec<Asked>,
    old: Photo,
    new: Photo,
}

impl<'a> Lab<'a> {
    fn new(before: &[&str], line: &'a str, climate: &'a Weather) -> Self {
        let (home, _) = Weather::default().over(|| {
            let home = evening();
            for line in before {
                assert_eq!(home.play(line).exit, 0, "{line}");
            }
            home
        });
        let old = Photo::of(home.root());
        let (seen, asked) = climate.clone().over(|| home.play(line));
        assert_eq!(seen.exit, 0, "{}", seen.screen);
        let new = Photo::of(home.root());
        Self { line, climate, home, asked, old, new }
    }

    /// Every call with every way in which it can fail. What only looks leaves the disk as it is,
    /// and so does a sync: a kill there leaves what one at the next change leaves.
    fn points(&self) -> Vec<(usize, Fault)> {
        let ways = |call: Call| {
            let (errnos, changes): (&[Errno], bool) = match call {
                Call::Open | Call::List => (&[Errno::MFILE], false),
                Call::Read => (&[Errno::IO], false),
                Call::Begin | Call::Sync => (&[Errno::IO, Errno::INVAL], false),
                Call::Reserve => (&[Errno::NOSPC], false),
                Call::Create => (&[Errno::NOSPC, Errno::MFILE, Errno::PERM], true),
                Call::Write => (&[Errno::NOSPC, Errno::IO], true),
                Call::Clone => (&[Errno::OPNOTSUPP, Errno::IO], true),
                Call::Truncate | Call::Database => (&[Errno::IO], true),
                Call::Narrow | Call::Date => (&[Errno::PERM], true),
                Call::MakeDir | Call::Link => (&[Errno::NOSPC, Errno::PERM], true),
                Call::Rename | Call::Remove => (&[Errno::IO, Errno::PERM], true),
                Call::RenameWith => (&[Errno::IO, Errno::PERM, Errno::INVAL], true),
            };
            let mut ways: Vec<Fault> =
                errnos.iter().map(|errno| Fault::Errno(errno.raw_os_error())).collect();
            if changes {
                ways.push(Fault::Gone);
            }
            if call == Call::Write {
                ways.extend([Fault::Torn(Errno::NOSPC.raw_os_error()), Fault::GoneTorn]);
            }
            ways
        };
        // Without flags nothing is other than with them before the first call that has some.
        let has_flags = |(call, _): &Asked| *call == Call::RenameWith;
        let first = self.asked.iter().position(has_flags).filter(|_| self.climate.without_flags);
        let calls = self.asked.iter().enumerate().skip(first.unwrap_or_default());
        calls
            .flat_map(|(at, (call, _))| ways(*call).into_iter().map(move |way| (at, way)))
            .collect()
    }

    /// Plays the command with a failure at one call, and looks at what is left.
    fn try_at(&self, at: usize, fault: Fault, seen: &Mutex<BTreeSet<u64>>) {
        self.old.put_back();
        let weather = Weather { fails: Some((at, fault)), ..self.climate.clone() };
        let (said, asked) = weather.over(|| self.home.play(self.line));
        assert!(asked.len() > at, "it did not come that far");
        let left = Photo::of(self.home.root());
        // By renames a home is for a moment under another name; the next command brings it back.
        let is_away = self.climate.without_flags && left.below(".codex").is_empty();
        if !is_away {
            self.assert_bearable(&left);
        }
        // Nobody hears what a process says that was killed.
        let is_gone = matches!(fault, Fault::Gone | Fault::GoneTorn);
        if !is_gone {
            self.assert_honest(&left, &said);
        }
        // What is left decides what follows: the same again needs no second look.
        if seen.lock().unwrap().insert(fingerprint(&left)) {
            self.assert_recovers();
        }
    }

    /// Right after the failure: nothing is missing, mixed or open to others.
    fn assert_bearable(&self, left: &Photo) {
        let login = |photo: &Photo| photo.bytes(".codex/auth.json").map(<[u8]>::to_vec);
        let live = login(left);
        assert!(live == login(&self.old) || live == login(&self.new), "the live login is neither");
        for (name, entry) in left.entries() {
            let is_ours =
                name.starts_with(".codex-manager") && !name.starts_with(".codex-manager/undo");
            assert!(!is_ours || entry.mode & 0o077 == 0, "{} is {:o}", name.display(), entry.mode);
        }
    }

    /// Success is claimed only for what was done, and what failed has tidied up.
    fn assert_honest(&self, left: &Photo, said: &Seen) {
        // A journal that could not go stands in the way of the command's second one.
        let stands = said.screen.contains("an interrupted operation that could not be finished");
        // What cannot be looked at has perhaps changed since, so that `undo` asks a person.
        let is_conflict = stands || self.line.starts_with("undo");
        let is_expected = matches!(said.exit, 0 | 1 | 4) || (said.exit == 2 && is_conflict);
        // An archive that cannot be read is taken for one that is not what it should be.
        let is_refused = said.exit == 5
            && left.without(is_swept).differs(&self.old.without(is_swept), true).is_empty();
        assert!(is_expected || is_refused, "exit {}:\n{}", said.exit, said.screen);
        if said.exit == 0 {
            // What moves over from the replaced home does so after the exchange, and may wait for
            // the next command, if that is said.
            let waits = said.screen.contains("the next command moves it");
            let differs = codex(left).differs(&codex(&self.new), false);
            let differs: Vec<String> = differs
                .into_iter()
                .filter(|what| !(waits && what.starts_with("worktrees")))
                .collect();
            assert!(differs.is_empty(), "exit 0, but in the home {differs:?}\n{}", said.screen);
            let differs = left.below(".codex-manager/backups");
            let differs = differs.differs(&self.new.below(".codex-manager/backups"), false);
            assert!(differs.is_empty(), "exit 0, but in the store {differs:?}\n{}", said.screen);
            let is_out = |name: &Path| {
                is_swept(name)
                    || is_cache(name)
                    || name == Path::new(OPERATIONS)
                    || name == Path::new(LEDGER)
            };
            let differs = left.without(is_out).differs(&self.new.without(is_out), false);
            let is_noted =
                operations(left) == operations(&self.new) && ledger(left) == ledger(&self.new);
            let is_told = differs.is_empty() && is_noted || said.screen.contains("warning: ");
            assert!(is_told, "exit 0 without a word, but {differs:?}\n{}", said.screen);
        } else {
            let left = left.without(|name| stands && name == Path::new(JOURNAL));
            assert_tidy(&left);
            assert!(
                ["error: ", "warning: "].iter().any(|word| said.screen.contains(word)),
                "{}",
                said.screen
            );
        }
    }

    /// The next command tidies up, and the one that failed then does its work.
    fn assert_recovers(&self) {
        let next = self.play(NEXT);
        assert_eq!(next.exit, 0, "the next command: {}", next.screen);
        let tidied = Photo::of(self.home.root());
        assert_tidy(&tidied);
        let to_old = codex(&tidied).differs(&codex(&self.old), true);
        let to_new = codex(&tidied).differs(&codex(&self.new), false);
        assert!(
            to_old.is_empty() || to_new.is_empty(),
            "the home is neither old: {to_old:?}\nnor new: {to_new:?}"
        );
        for name in ["copy", "legacy"] {
            let to_old = tidied.below(name).differs(&self.old.below(name), false);
            let to_new = tidied.below(name).differs(&self.new.below(name), false);
            assert!(to_old.is_empty() || to_new.is_empty(), "~/{name}: {to_old:?}, {to_new:?}");
        }
        self.assert_kept(&tidied);
        let verified = self.play("verify --all");
        assert_eq!(verified.exit, 0, "{}", verified.screen);

        let again = self.play(self.line);
        let is_there = self.line.contains("--to") && to_new_exists(&tidied);
        assert!(again.exit == 0 || is_there, "once more: {}", again.screen);
        let done = Photo::of(self.home.root());
        assert_tidy(&done);
        let differs = codex(&done).differs(&codex(&self.new), false);
        assert!(differs.is_empty(), "done again, the home differs: {differs:?}");
    }

    /// Plays a command line on a disk that works.
    fn play(&self, line: &str) -> Seen {
        Weather::default().over(|| self.home.play(line)).0
    }

    /// Nothing that was in the store is lost: snapshots, records, settings, logins.
    fn assert_kept(&self, now: &Photo) {
        let kept = |photo: &Photo| {
            let files = photo.below(".codex-manager");
            files
                .entries()
                .filter_map(|(_, entry)| entry.bytes().map(<[u8]>::to_vec))
                .collect::<Vec<_>>()
        };
        let all = kept(now);
        let backups = self.old.below(".codex-manager/backups");
        for (name, entry) in backups.entries() {
            let is_kept = entry.bytes().is_none_or(|bytes| all.iter().any(|found| found == bytes));
            assert!(is_kept, "{} is lost", name.display());
        }
        for file in ["config.toml", "inventory.json"] {
            let path = format!(".codex-manager/{file}");
            let bytes = now.bytes(&path);
            let is_one = bytes == self.old.bytes(&path) || bytes == self.new.bytes(&path);
            assert!(is_one, "{file} is neither");
        }
        let ledger = now.bytes(LEDGER).unwrap_or_default();
        let before = self.old.bytes(LEDGER).unwrap_or_default();
        assert!(ledger.starts_with(before), "the ledger lost something");
        let noted = now.bytes(OPERATIONS).unwrap_or_default();
        let before = self.old.bytes(OPERATIONS).unwrap_or_default();
        assert!(noted.starts_with(before), "operations.jsonl lost something");
        for line in [ledger, noted].concat().split_inclusive(|byte| *byte == b'\n') {
            serde_json::from_slice::<serde_json::Value>(line).expect("a whole line");
        }
        let logins = now.logins();
        let lost = self.old.logins().difference(&logins).count();
        assert_eq!(lost, 0, "logins are lost");
    }
}

fn to_new_exists(photo: &Photo) -> bool {
    photo.bytes("copy/auth.json").is_some()
}

/// What the next command sees to in any case, and nobody need hear of: names under construction,
/// and the words in the lock file.
fn is_swept(name: &Path) -> bool {
    let leaf = name.file_name().unwrap_or_default().to_string_lossy();
    leaf.starts_with(TEMP_PREFIX) || matches!(&*leaf, "lock" | "journal.json")
}

/// What may be deleted at any time: that of files tells their numbers, which are others in each run.
fn is_cache(name: &Path) -> bool {
    let leaf = name.file_name().unwrap_or_default().to_string_lossy();
    leaf == "glimpses.cache" || leaf.starts_with("files-") && leaf.ends_with(".cache")
}

/// How many operations are noted down. What is noted of one has the numbers of folders in it,
/// which are others in each run.
fn operations(photo: &Photo) -> usize {
    let bytes = photo.bytes(OPERATIONS).unwrap_or_default();
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

/// What the ledger says, but for the place of the home and the time of its login, which are others
/// in each run.
fn ledger(photo: &Photo) -> Vec<serde_json::Value> {
    let bytes = photo.bytes(LEDGER).unwrap_or_default();
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let told = lines.map(|line| {
        let mut told: serde_json::Value = serde_json::from_slice(line).expect("a whole line");
        for name in ["home", "noticed"] {
            told.as_object_mut().expect("an object").remove(name);
        }
        told
    });
    told.collect()
}

/// The Codex home, without the lock file of Codex's own, which stays.
fn codex(photo: &Photo) -> Photo {
    photo.below(".codex").without(|name| name == Path::new("auth.lock"))
}

/// Nothing lies about: no name of a file or folder under construction, no journal.
#[track_caller]
fn assert_tidy(photo: &Photo) {
    let litter: Vec<&Path> = photo
        .entries()
        .map(|(name, _)| name)
        .filter(|name| {
            let leaf = name.file_name().unwrap_or_default().to_string_lossy();
            leaf.starts_with(TEMP_PREFIX) || leaf == "journal.json"
        })
        .collect();
    assert!(litter.is_empty(), "litter: {litter:?}");
}

/// What tells one state of the home from another: all names, kinds and contents. Of the names
/// that nobody can foresee only the ending counts.
fn fingerprint(photo: &Photo) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (name, entry) in photo.entries() {
        for part in name {
            let part = part.to_string_lossy();
            match part.strip_prefix(TEMP_PREFIX) {
                Some(rest) => rest.split_once('.').map(|(_, ending)| ending).hash(&mut hasher),
                None => part.hash(&mut hasher),
            }
        }
        if name != Path::new(OPERATIONS) {
            (entry.mode, entry.bytes()).hash(&mut hasher);
        }
    }
    let noted = photo.bytes(OPERATIONS).unwrap_or_default();
    (operations(photo), noted.ends_with(b"\n")).hash(&mut hasher);
    hasher.finish()
}
