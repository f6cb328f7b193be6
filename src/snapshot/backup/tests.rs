//! What happens to a backup while the home and the user do something else?

#[cfg(unix)]
mod histories;
#[cfg(unix)]
mod reuse;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::*;
use crate::disk::Jobs;
use crate::disk::archive::{Archive, Limits};
use crate::snapshot::store::{Opened, Scan, Stored};
use crate::snapshot::verify;

const LOGIN: &str = "{\"auth_mode\":\"apikey\",\"OPENAI_API_KEY\":\"made-up\"}";
const BIG: usize = 9 << 20;

/// A home with a login, and an open store.
pub(super) struct Bench {
    _folder: tempfile::TempDir,
    pub(super) home: CodexHome,
    pub(super) store: Store,
    /// The instant of its runs.
    now: DateTime<Utc>,
}

impl Bench {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let home = CodexHome::at(root.join("codex"));
        let store = Store::at(root.join("manager"));
        fs::create_dir(home.root()).unwrap();
        let now = "2026-11-21T10:00:00Z".parse().unwrap();
        let bench = Self { _folder: folder, home, store, now };
        drop(bench.open());
        bench.file(CodexHome::AUTH, LOGIN);
        bench
    }

    pub(super) fn open(&self) -> Opened {
        self.store.open(Duration::ZERO, "test").unwrap()
    }

    pub(super) fn file(&self, path: &str, content: impl AsRef<[u8]>) {
        fs::write(self.home.root().join(path), content).unwrap();
    }

    fn plan(&self, kind: Kind, skip_unreadable: bool) -> Plan {
        let request = Request {
            kind,
            lean: false,
            exclude: Vec::new(),
            skip_unreadable,
            force_damaged: false,
            replace: false,
            label: None,
            note: None,
            level: LEVEL,
            jobs: Jobs::default(),
        };
        let circumstances = Circumstances {
            now: self.now,
            zone: &Zone::UTC,
            reading: None,
            status_text: None,
            home_for_people: "~/.codex".to_owned(),
            around: Surroundings::default(),
            codex_version: None,
            host: None,
        };
        let login = login(&self.home, kind).unwrap();
        plan(&self.home, &self.store, &request, login.as_ref(), &circumstances).unwrap()
    }

    fn apply(&self, plan: Plan, advance: &mut dyn FnMut(u64)) -> Result<Made, BackupError> {
        let lock = self.open().lock;
        apply(plan, &self.store, &lock, (None, Vec::new()), advance, &AtomicBool::new(false))
    }

    pub(super) fn backup(&self, kind: Kind) -> Made {
        self.apply(self.plan(kind, false), &mut |_| ()).unwrap()
    }

    pub(super) fn scan(&self) -> Scan {
        self.store.scan(&Zone::UTC).unwrap()
    }

    pub(super) fn digest(&self, archive: &Path) -> String {
        let archive = Archive::open(archive, &Limits::default()).unwrap();
        archive.toc_digest().unwrap().to_owned()
    }

    /// What is wrong with a snapshot.
    pub(super) fn verdict(&self, stored: &Stored) -> Vec<String> {
        verify::verify(stored, &Zone::UTC, Jobs::default(), &mut |_| (), &AtomicBool::new(false))
            .problems
    }

    /// The files in the store but for the lock, relative to it.
    fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        for folder in ["backups", "tmp", "trash", "undo"] {
            for entry in fs::read_dir(self.store.root().join(folder)).unwrap() {
                found.push(format!("{folder}/{}", entry.unwrap().file_name().display()));
            }
        }
        found
    }

    fn held(&self, made: &Made, name: &str) -> Option<Vec<u8>> {
        let archive = Archive::open(&made.archive, &Limits::default()).unwrap();
        let name: EntryName = name.parse().unwrap();
        let entries = archive.entries().unwrap();
        let is_there = entries.iter().any(|entry| entry.name == name);
        is_there.then(|| archive.read(&name, 64 << 20).unwrap().unwrap())
    }

    fn sound(&self) {
        for stored in &self.scan().snapshots {
            assert_eq!(self.verdict(stored), Vec::<String>::new(), "{}", stored.title);
        }
    }
}

#[test]
fn a_large_file_that_shrinks_under_the_reader_is_stored_as_it_is_then() {
    for name in ["big.bin", "big.jsonl"] {
        let bench = Bench::new();
        bench.file(name, "line\n".repeat(BIG / 5));
        let path = bench.home.root().join(name);
        let made = bench.apply(bench.plan(Kind::State, false), &mut |_| {
            fs::File::options().write(true).open(&path).unwrap().set_len(5_000).unwrap();
        });
        let made = made.unwrap();
        assert_eq!(bench.held(&made, name).map(|bytes| bytes.len()), Some(5_000));
        assert!(made.skipped.is_empty() && made.vanished.is_empty());
        assert_eq!(fs::read_dir(bench.store.tmp()).unwrap().count(), 0);
        bench.sound();
    }
}

#[test]
fn what_cannot_be_read_only_when_it_is_opened_is_skipped_if_that_is_wanted() {
    for name in ["notes.md", "history.jsonl", "state_5.sqlite"] {
        let bench = Bench::new();
        bench.file(name, if name.ends_with("sqlite") { "SQLite format 3\0" } else { "{}\n" });
        bench.file("other.md", "x");
        let path = bench.home.root().join(name);
        let spoil = |plan: Plan| {
            fs::remove_file(&path).unwrap();
            fs::create_dir(&path).unwrap();
            plan
        };
        let plan = spoil(bench.plan(Kind::Full, false));
        let error = bench.apply(plan, &mut |_| ()).unwrap_err();
        assert!(matches!(error, BackupError::Unreadable { .. }), "{name}: {error}");
        assert_eq!(bench.files(), Vec::<String>::new(), "{name}");

        fs::remove_dir(&path).unwrap();
        bench.file(name, if name.ends_with("sqlite") { "SQLite format 3\0" } else { "{}\n" });
        let plan = spoil(bench.plan(Kind::Full, true));
        let made = bench.apply(plan, &mut |_| ()).unwrap();
        assert_eq!(made.skipped.len(), 1, "{name}: {:?}", made.skipped);
        assert_eq!(made.metadata.excluded, [name]);
        assert_eq!(bench.held(&made, name), None);
        assert_eq!(bench.held(&made, "other.md").as_deref(), Some(b"x".as_slice()));
        bench.sound();
    }
}

#[test]
fn whenever_the_user_stops_it_nothing_is_left() {
    for (name, size) in [("zz.md", 1), ("zz.bin", BIG)] {
        let bench = Bench::new();
        bench.file(name, vec![b'x'; size]);
        let stop = AtomicBool::new(false);
        let plan = bench.plan(Kind::Full, false);
        // The last file is written, what comes then is the check of the whole.
        let error =
            prepare(plan, &bench.store, &mut |_| stop.store(true, Ordering::Relaxed), &stop);
        let error = error.unwrap_err();
        assert!(matches!(error, BackupError::Interrupted), "{name}: {error}");
        assert_eq!(bench.files(), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn a_login_that_was_refreshed_after_the_plan_is_stored_as_it_is_now() {
    let bench = Bench::new();
    let plan = bench.plan(Kind::Full, false);
    let at = "2026-11-21T09:00:00Z";
    let newer = LOGIN.replace('{', &format!("{{\"last_refresh\":\"{at}\","));
    bench.file(CodexHome::AUTH, &newer);
    let made = bench.apply(plan, &mut |_| ()).unwrap();
    assert_eq!(bench.held(&made, CodexHome::AUTH).as_deref(), Some(newer.as_bytes()));
    let refreshed = made.metadata.login.and_then(|login| login.last_refresh);
    assert_eq!(refreshed.map(|at| at.to_string()).as_deref(), Some(at));
    assert_eq!(made.warnings, Vec::<String>::new());
    bench.sound();
}

#[test]
fn another_account_that_signed_in_after_the_plan_is_a_conflict() {
    for login in [None, Some(LOGIN.replace("made-up", "another")), Some("{}".to_owned())] {
        let bench = Bench::new();
        let plan = bench.plan(Kind::Full, false);
        match &login {
            Some(text) => bench.file(CodexHome::AUTH, text),
            None => fs::remove_file(bench.home.auth()).unwrap(),
        }
        let error = bench.apply(plan, &mut |_| ()).unwrap_err();
        assert!(matches!(error, BackupError::LoginChanged { .. }), "{login:?}: {error}");
        assert_eq!(bench.files(), Vec::<String>::new());
    }
}

#[test]
fn a_login_that_is_refreshed_while_the_rest_is_read_is_told() {
    let bench = Bench::new();
    bench.file("notes.md", "x");
    let auth = bench.home.auth();
    let made = bench.apply(bench.plan(Kind::Full, false), &mut |_| {
        fs::write(&auth, LOGIN.replace('{', "{ ")).unwrap();
    });
    let made = made.unwrap();
    assert_eq!(bench.held(&made, CodexHome::AUTH).as_deref(), Some(LOGIN.as_bytes()));
    assert!(made.warnings[0].contains("was written while the backup ran"), "{:?}", made.warnings);
}

#[test]
fn a_plan_that_is_printed_shows_no_login() {
    let bench = Bench::new();
    let plan = bench.plan(Kind::Full, false);
    let bytes = Secret::from(LOGIN.to_owned());
    let name = "2026-11-21-100000-orphan-codex".parse().unwrap();
    let alone = plan_login(&bytes, 0, Metadata::empty(Kind::Auth), name, &bench.store);
    for plan in [plan, alone] {
        let shown = format!("{plan:?}");
        assert!(shown.contains("Bytes(…)"), "{shown}");
        // As text, and as the numbers of a list of bytes.
        assert!(!shown.contains("made-up") && !shown.contains("109, 97, 100, 101"), "{shown}");
    }
}

#[test]
fn a_session_that_begins_after_the_plan_comes_along_with_the_index_that_names_it() {
    let bench = Bench::new();
    let index = rusqlite::Connection::open(bench.home.root().join("state_5.sqlite")).unwrap();
    index.execute_batch("CREATE TABLE threads (rollout_path TEXT)").unwrap();
    let plan = bench.plan(Kind::State, false);
    let folder = bench.home.root().join("sessions/2026/11/21");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("rollout-a.jsonl"), "{}\n").unwrap();
    bench.file("notes.txt", "newer than the plan, and named by no index");
    index.execute("INSERT INTO threads VALUES ('rollout-a.jsonl')", []).unwrap();
    let made = bench.apply(plan, &mut |_| ()).unwrap();
    let held = bench.held(&made, "sessions/2026/11/21/rollout-a.jsonl");
    assert_eq!(held.as_deref(), Some(&b"{}\n"[..]));
    assert_eq!(bench.held(&made, "notes.txt"), None);
    assert!(made.metadata.captured_files.contains(&"sessions/".to_owned()));
    bench.sound();
}
