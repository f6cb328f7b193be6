//! What must hold of every input, whatever its bytes?
//!
//! Each target is a function of bytes that panics where a promise is broken. `cargo fuzz` finds inputs
//! by coverage; the test of the same name in `tests/it` goes through the fixtures, which are all that was
//! ever found, and through mutations of the seeds that are the same in every run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a promise that is broken is told by panicking"
)]

use std::cell::OnceCell;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use chrono::{DateTime, Utc};
use codex_manager::account::{AccountKey, Email, LegacyName};
use codex_manager::codex::rollout::{self, Glimpses, Reach};
use codex_manager::codex::{auth, status};
use codex_manager::config::{self, Config};
use codex_manager::disk::Jobs;
use codex_manager::disk::archive::{Archive, ArchiveError, EntryName, Layout, Limits, Node};
use codex_manager::quota::{availability, ledger};
use codex_manager::snapshot::inventory::Inventory;
use codex_manager::snapshot::metadata::Metadata;
use codex_manager::snapshot::name::SnapshotName;
use codex_manager::snapshot::{legacy, operations};
use codex_manager::time::{Zone, parse_moment};
use tempfile::TempDir;

// Both programs that include this file have it beside this module.
use super::forge::{self, HONEST, Lies, Part};

/// A target: its name, what it is given to begin with, and itself.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) seeds: fn() -> Vec<Vec<u8>>,
    pub(crate) run: fn(&[u8]),
}

pub(crate) const TARGETS: [Target; 11] = [
    Target { name: "archive", seeds: archives, run: archive },
    Target { name: "tar", seeds: tars, run: tar },
    Target { name: "toc", seeds: tables, run: toc },
    Target { name: "sidecar", seeds: sidecars, run: sidecar },
    Target { name: "status", seeds: || testdata(&["status", "status-legacy"]), run: status },
    Target { name: "auth", seeds: || testdata(&["auth"]), run: auth },
    Target { name: "rollout", seeds: rollouts, run: rollout },
    Target { name: "ledger", seeds: ledgers, run: ledger },
    Target { name: "operations", seeds: operation_logs, run: operations },
    Target { name: "names", seeds: names, run: names_of },
    Target { name: "config", seeds: configs, run: config },
];

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_255_200, 0).unwrap()
}

fn zone() -> Zone {
    "Europe/Berlin".parse().unwrap()
}

/// A folder in memory, where there is one.
fn scratch() -> PathBuf {
    thread_local! {
        static FOLDER: OnceCell<TempDir> = const { OnceCell::new() };
    }
    FOLDER.with(|folder| {
        let made = folder.get_or_init(|| {
            let memory = Path::new("/dev/shm");
            if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }
                .unwrap()
        });
        made.path().to_owned()
    })
}

// Archives.

/// What an archive holds: names with what they are, and content.
pub(crate) type Held = Vec<(String, Vec<u8>)>;

/// The content of an archive that is sound, as our reader sees it.
pub(crate) fn held(bytes: &[u8]) -> Result<(Layout, Held), ArchiveError> {
    let path = scratch().join("archive.tar.gz");
    fs::write(&path, bytes).unwrap();
    let limits =
        Limits { ratio_from: 8 << 20, total_unpacked: Some(64 << 20), ..Limits::default() };
    let archive = Archive::open(&path, &limits)?;
    let problems = archive.verify(&mut |_| {}, &AtomicBool::new(false))?;
    if let Some(problem) = problems.first() {
        return Err(ArchiveError::CorruptFile { problem: Box::new(problem.clone()) });
    }
    let mut held = Held::new();
    for entry in archive.entries()? {
        let name = entry.name.as_str();
        assert!(name.parse::<EntryName>().is_ok() && entry.mode <= 0o777, "{name}");
        held.push(match &entry.node {
            Node::Dir => (format!("{name}/"), Vec::new()),
            Node::Symlink { target } => (format!("{name} -> {target}"), Vec::new()),
            Node::File { size } => {
                let content = archive.read(&entry.name, *size)?.unwrap();
                assert_eq!(u64::try_from(content.len()).unwrap(), *size);
                (name.to_owned(), content)
            }
        });
    }
    Ok((archive.layout(), held))
}

/// What a reader that is not ours sees; none where it gives up.
fn held_by_tar(bytes: &[u8]) -> Option<Held> {
    let mut reader = tar::Archive::new(flate2::read::MultiGzDecoder::new(bytes));
    let mut held = Held::new();
    for entry in reader.entries().ok()? {
        let mut entry = entry.ok()?;
        let name = String::from_utf8(entry.path_bytes().into_owned()).ok()?;
        let link = entry.link_name_bytes().map(|link| String::from_utf8_lossy(&link).into_owned());
        let mut content = Vec::new();
        entry.read_to_end(&mut content).ok()?;
        match entry.header().entry_type() {
            tar::EntryType::Regular if name == "stargz.index.json" => {}
            tar::EntryType::Regular => held.push((name, content)),
            tar::EntryType::Directory => {
                held.push((format!("{}/", name.trim_end_matches('/')), content));
            }
            tar::EntryType::Symlink => held.push((format!("{name} -> {}", link?), content)),
            // A second name is a file of its own for us.
            tar::EntryType::Link => {
                let link = link?;
                let (_, content) = held.iter().find(|(name, _)| *name == link)?.clone();
                held.push((name, content));
            }
            _ => return None,
        }
    }
    Some(held)
}

/// Any file: it is refused with an error, or another reader sees the very same in it.
pub(crate) fn archive(data: &[u8]) {
    match held(data) {
        Ok((_, held)) => assert_eq!(Some(held), held_by_tar(data), "two readers disagree"),
        Err(error) => {
            let told = error.is_corrupt() || error.is_hostile();
            assert!(told, "an error of the disk: {error}");
            assert!(!error.to_string().contains(char::is_control), "{error:?}");
        }
    }
}

/// Any tar: its checksums are made right and it is packed before it is read, so that more of it counts.
pub(crate) fn tar(data: &[u8]) {
    archive(&packed(data));
}

/// A plain archive of such a tar.
pub(crate) fn packed(data: &[u8]) -> Vec<u8> {
    let mut tar = data.to_vec();
    for block in tar.chunks_exact_mut(512) {
        if block[257..].starts_with(b"ustar") {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    forge::gzip(&tar)
}

fn parts() -> Vec<Part> {
    vec![
        Part::file("auth.json", "{\"made\":\"up\"}"),
        Part::file("config.toml", ""),
        Part::dir("sessions"),
        Part::file("sessions/a.jsonl", "one line and another, one line and another\n"),
        Part::link("sessions/latest", "a.jsonl"),
        Part::file("skills/run.sh", "#!/bin/sh\n").mode(0o700),
    ]
}

/// Any table of contents above a sound archive: only the true one is accepted.
pub(crate) fn toc(data: &[u8]) {
    let forged = forge::seekable(&parts(), &Lies { json: &|_| data.to_vec(), ..HONEST });
    match held(&forged.bytes) {
        Ok((_, found)) => {
            let honest = forge::seekable(&parts(), &HONEST);
            assert_eq!(found, held(&honest.bytes).unwrap().1, "a table that lies is believed");
        }
        Err(error) => assert!(error.is_corrupt() || error.is_hostile(), "{error}"),
    }
}

fn more_parts() -> Vec<Part> {
    let named = [("mtime", "1775000000.25"), ("uname", "y"), ("uid", "1000")];
    let mut parts = parts();
    parts.push(Part::file("x", "hostile").pax(&named));
    parts.push(Part::of_kind(b'1', "hard").to("sessions/a.jsonl"));
    parts.push(Part::file("short", "").pax(&[("path", "long/name")]));
    parts
}

fn archives() -> Vec<Vec<u8>> {
    let ours = forge::seekable(&parts(), &HONEST).bytes;
    vec![ours, forge::plain(&parts()), forge::plain(&more_parts()), forge::footer(0)]
}

fn tars() -> Vec<Vec<u8>> {
    let one = |part: Part| forge::tar(&[part]);
    vec![
        forge::tar(&parts()),
        forge::tar(&more_parts()),
        one(Part::file("x", "y").pax(&[("size", "1")])),
        one(Part::of_kind(b'g', "g").holding("10 path=x\n")),
        one(Part::of_kind(b'L', "././@LongLink").holding("name\0")),
    ]
}

fn tables() -> Vec<Vec<u8>> {
    let kept = std::cell::RefCell::new(Vec::new());
    let keep = |json: Vec<u8>| {
        kept.borrow_mut().push(json.clone());
        json
    };
    forge::seekable(&parts(), &Lies { json: &keep, ..HONEST });
    kept.into_inner()
}

// Records.

/// Any sidecar, of ours, of the older tool, and any inventory or registry: what is read is written so
/// that it is read again.
pub(crate) fn sidecar(data: &[u8]) {
    for read in [Metadata::parse(data), legacy::metadata(data, &zone())].into_iter().flatten() {
        assert_eq!(Metadata::parse(&read.to_bytes()).as_ref(), Ok(&read));
        let _ = read.key();
    }
    if let Ok(inventory) = Inventory::parse(data) {
        let written = inventory.to_bytes();
        let again = Inventory::parse(&written).unwrap();
        assert_eq!(again.to_bytes(), written);
    }
    let _ = legacy::registry(data, &zone());
}

fn sidecars() -> Vec<Vec<u8>> {
    let mut seeds =
        testdata(&["legacy/1.0.0/backups", "legacy/23.0.0/backups/auth/user@example.com"]);
    seeds.retain(|seed| seed.starts_with(b"{"));
    seeds.extend(testdata(&["legacy/1.0.0", "legacy/23.0.0"]));
    let inner = serde_json::json!({
        "schema": "codex-manager/snapshot", "schema_version": 1, "product": "codex",
        "email": "ada@example.com", "account": {"user_id": "u", "account_id": "a", "plan": "plus", "auth_mode": "chatgpt"},
        "kind": "full", "session_start_at": "2026-11-17T13:24:00+01:00", "quota": {
            "source": "rollout", "observed_at": "2026-11-21T13:23:00+01:00",
            "windows": [{"minutes": 300, "used_percent": 12.0, "resets_at": "2026-11-21T14:24:00+01:00"}],
            "limit_reached": null, "text": null,
        },
        "login": {"fingerprint": forge::sha256(b"x"), "issued_at": "2026-11-20T10:00:00+00:00", "expires_at": null, "last_refresh": "2026-11-20T10:00:00.123456789Z"},
        "captured_files": ["auth.json"], "excluded": [], "label": "x", "tags": ["y"], "pinned": true,
        "archive": {"name": "x.tar.gz", "bytes": 1, "toc_digest": forge::sha256(b"y"), "files": 1, "content_bytes": 2},
    });
    seeds.push(forge::sealed(&inner));
    seeds.push(serde_json::to_vec(&inner).unwrap());
    seeds
}

/// Any text of a screen.
pub(crate) fn status(data: &[u8]) {
    let parsed = status::parse(data, &zone(), now(), None);
    if let Ok(text) = &parsed {
        for window in &text.windows {
            let used = window.used_percent.unwrap_or_default();
            assert!(used.is_finite() && (0.0..=100.0).contains(&used), "{used}");
        }
        if let Some(email) = &text.email {
            assert_eq!(email.as_str().parse().as_ref(), Ok(email));
        }
    }
    let _ = status::parse(data, &zone(), now(), Some(9999));
    let _ = parsed.map_err(|error| error.to_string());
}

/// Any `auth.json`.
pub(crate) fn auth(data: &[u8]) {
    match auth::parse(data.to_vec()) {
        Ok(file) => {
            let text = file.key.as_ref().map(ToString::to_string).unwrap_or_default();
            assert!(
                text.is_empty() || text.parse().as_ref() == Ok(file.key.as_ref().unwrap()),
                "{text}"
            );
            assert_eq!(file.bytes.bytes(), data, "the bytes are kept");
        }
        Err(error) => drop(error.to_string()),
    }
}

/// Any session file.
pub(crate) fn rollout(data: &[u8]) {
    let home = scratch().join("home");
    let folder = home.join("sessions/2026/11/21");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("rollout-2026-11-21T09-50-00-x.jsonl"), data).unwrap();
    fs::write(home.join("history.jsonl"), data).unwrap();
    let newest = |reach, until| {
        let mut glimpses = Glimpses::default();
        rollout::newest_limits(&home, reach, &[], &mut glimpses, (None, until)).unwrap()
    };
    let found = newest(Reach::All, None);
    assert_eq!(newest(Reach::Recent, None).limits, found.limits);
    let until = newest(Reach::All, Some(now()));
    for limits in [found.limits, until.limits].into_iter().flatten() {
        assert!(limits.windows.iter().all(|window| window.used_percent.is_none_or(f64::is_finite)));
    }
    let stop = AtomicBool::new(false);
    let scan = rollout::scan(&home, &[], Jobs::of(2), &mut |_, _| {}, &stop).unwrap();
    assert!(scan.sessions.len() <= 1);
    let mut memory = rollout::Memory::default();
    memory.keep(&home, scan.sessions);
    assert_eq!(rollout::Memory::parse(&memory.to_bytes().unwrap()), memory);
}

fn rollouts() -> Vec<Vec<u8>> {
    vec![concat!(
        r#"{"timestamp":"2026-11-21T08:50:00.000Z","type":"session_meta","payload":{"id":"x","timestamp":"2026-11-21T08:50:00.000Z","cwd":"/","originator":"codex_cli_rs","cli_version":"0.169.0","creator_user_id":"u","creator_account_id":"a"}}"#, "\n",
        r#"{"timestamp":"2026-11-21T08:59:00.000Z","type":"event_msg","payload":{"type":"user_message","message":"token_count"}}"#, "\n",
        r#"{"timestamp":"2026-11-21T09:00:00.000Z","type":"event_msg","payload":{"type":"token_count","info":null,"rate_limits":{"limit_id":"codex","primary":{"used_percent":12.0,"window_minutes":300,"resets_at":1795260000},"secondary":{"used_percent":40,"window_minutes":10080,"resets_in_seconds":3600},"plan_type":"plus"}}}"#, "\n",
    ).as_bytes().to_vec()]
}

/// Any ledger: a line that is read is written so that it is read again, and every account can be judged.
pub(crate) fn ledger(data: &[u8]) {
    let read = ledger::parse(data);
    for entry in &read.entries {
        let line = entry.to_line().unwrap();
        assert_eq!(&ledger::parse(line.as_bytes()).entries, std::slice::from_ref(entry));
    }
    if let Some(from) = read.torn_from {
        assert!(from < data.len() && !data[from..].contains(&b'\n'));
    }
    for account in read.accounts() {
        let _ = availability(&read.readings(&account, now()), now());
        let _ = (read.email(&account), read.last_activation(&account, now()));
    }
    let _ = read.tenant(Path::new("/home/ada/.codex"), now());
}

fn ledgers() -> Vec<Vec<u8>> {
    vec![concat!(
        r#"{"schema_version":1,"at":"2026-11-21T13:24:00+01:00","event":"reading","account":"chatgpt:user-a/acct-1","email":"ada@example.com","observed_at":"2026-11-21T12:23:00+00:00","source":"rollout","windows":[{"minutes":300,"used_percent":12.0,"resets_at":"2026-11-21T13:24:00+00:00"},{"minutes":10080,"used_percent":100.0,"resets_at":"2026-11-24T12:24:00+00:00"}]}"#, "\n",
        r#"{"schema_version":1,"at":"2026-11-21T13:24:00+01:00","event":"activation","account":"chatgpt:user-a/acct-1","email":"ada@example.com"}"#, "\n",
        r#"{"schema_version":1,"at":"2026-11-21T13:30:00+01:00","event":"cooldown","account":"email:ada@example.com","email":"ada@example.com","until":"2026-11-23T09:00:00+01:00"}"#, "\n",
        r#"{"schema_version":1,"at":"2026-11-21T13:31:00+01:00","event":"cooldown-cleared","account":"apikey:0123456789abcdef"}"#, "\n",
    ).as_bytes().to_vec()]
}

/// Any log of operations.
pub(crate) fn operations(data: &[u8]) {
    let log = operations::log::parse(data);
    assert!(log.records.len() <= data.len());
    let _ = log.latest_reversible();
    for record in &log.records {
        let _ = (record.is_reversible(), log.undone_by(&record.id));
    }
}

fn operation_logs() -> Vec<Vec<u8>> {
    let mut text = String::new();
    let mut previous = serde_json::Value::Null;
    for id in ["2026-11-22-110000-restore", "2026-11-22-120000-undo"] {
        let line = serde_json::json!({
            "schema_version": 1, "id": id, "at": "2026-11-22T11:00:00+01:00", "command": "restore",
            "what": "x", "steps": [], "previous": previous,
        });
        previous = forge::sha256(line.to_string().as_bytes()).into();
        text.push_str(&format!("{line}\n"));
    }
    vec![text.into_bytes()]
}

/// Any name: of a legacy file, a snapshot, an entry, an account, an address, an instant.
pub(crate) fn names_of(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(Some(name)) = LegacyName::parse(text) {
        for year in [None, Some(1970), Some(2024), Some(9999)] {
            let _ = name.date_near(now().date_naive(), year).map_err(|reason| reason.to_string());
        }
    }
    if let Ok(name) = text.parse::<SnapshotName>() {
        let archive = name.next().archive();
        assert!(
            !archive.contains('/')
                && archive.strip_suffix(".tar.gz").unwrap().parse::<SnapshotName>().is_ok()
        );
        assert_eq!(name.to_string().parse(), Ok(name));
    }
    if let Ok(name) = text.parse::<EntryName>() {
        assert_eq!(name.as_str(), text);
        assert!(!text.starts_with('/') && name.components().all(|part| part != ".."));
        let _ = (name.folded(), name.parent(), name.depth());
    }
    if let Ok(email) = text.parse::<Email>() {
        let path = Path::new(email.as_str());
        assert_eq!(path.components().count(), 1, "{email}");
        assert_eq!(email.as_str().parse(), Ok(email));
    }
    if let Ok(key) = text.parse::<AccountKey>() {
        assert_eq!(key.to_string().parse(), Ok(key));
    }
    let _ = parse_moment(text, &zone(), now()).map_err(|error| error.to_string());
    let _ = text.parse::<Zone>();
}

fn names() -> Vec<Vec<u8>> {
    [
        "21apr_ada@example.com_auth.json",
        "29FEB_a+b@x.example_auth.json",
        "9apr_x@y.example_auth.json",
        "2026-11-19-100200-ada@example.com~2-codex",
        "2026-11-19-100200-apikey-0123abcd-codex",
        "sessions/2026/11/21/rollout.jsonl",
        "chatgpt:user-a/acct-1",
        "apikey:0123456789abcdef",
        "email:ada@example.com",
        "2026-04-21 15:55",
        "2026-04-21T15:55:00+02:00",
        "15:55",
        "+90m",
        "-2d",
        "Europe/Berlin",
        "stra\u{df}e/\u{fb01}le",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}

/// Any configuration: a setting that is made can be read, whatever stands around it, and no error
/// repeats what the file says.
pub(crate) fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(error) = Config::parse(text) {
        let said = error.to_string();
        let secret = text.split_whitespace().filter(|word| word.len() > 24);
        assert!(secret.filter(|word| said.contains(word)).count() == 0, "{said}");
    }
    let key = "timezone".parse().unwrap();
    if let Ok(changed) = config::set(text, &key, "Europe/Paris") {
        if let Ok(read) = Config::parse(&changed) {
            assert!(read.get(&key).is_some(), "{changed:?}");
        }
        let _ = config::unset(&changed, &key);
    }
    let _ = config::unset(text, &key);
}

fn configs() -> Vec<Vec<u8>> {
    [
        "# mine\ntimezone = \"Europe/Berlin\" # home\nlock_timeout = 10\nexclude = [\"log/\", \"*.bak\"]\n[undo]\nkeep_days = 7\n[aliases]\nwork = \"ada@example.com\"\n",
        "undo.keep_days = 3\naliases = { a = \"b@example.com\" }\nlean = true\ncolor = \"never\"",
    ].map(|text| text.as_bytes().to_vec()).into()
}

/// The files of some folders below `testdata`.
fn testdata(folders: &[&str]) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // The fuzz crate lies two levels below.
    let root = [root, &root.join("../..")]
        .into_iter()
        .map(|root| root.join("testdata"))
        .find(|path| path.is_dir());
    let mut found = Vec::new();
    for folder in folders {
        let mut paths: Vec<PathBuf> = fs::read_dir(root.as_ref().unwrap().join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        found
            .extend(paths.iter().filter(|path| path.is_file()).map(|path| fs::read(path).unwrap()));
    }
    found
}
