//! What is on the disk now?
//!
//! A [`State`] is all that both homes hold, as text that can be compared: bytes by their digest,
//! databases by their rows (log included), archives by what an independent tar reader finds in
//! them. What belongs to the instant of a run, and only that, is masked: times, names made of
//! times, and digests that were not there before the run. Whatever was there before is compared
//! byte for byte.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::LazyLock;

use flate2::read::MultiGzDecoder;
use regex::Regex;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use sha2::{Digest as _, Sha256};

use crate::ground::Ground;

/// Names and contents, sorted; equal names may occur twice once their times are masked.
pub(crate) type Entries = Vec<(String, String)>;

/// Both homes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct State {
    /// The Codex home and what else of the user's a command may write (`--to`, a folder of
    /// databases).
    pub(crate) codex: Entries,
    /// The manager home, without its lock file and without empty folders at its top.
    pub(crate) manager: Entries,
}

/// What was there before a run: none of it is masked.
pub(crate) struct Known {
    times: BTreeSet<String>,
    digests: BTreeSet<String>,
    files: BTreeSet<String>,
}

static TIME: LazyLock<Regex> = LazyLock::new(|| {
    let time = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?";
    Regex::new(&format!(r"{time}|\d{{4}}-\d\d-\d\d-\d{{6}}")).expect("it is an expression")
});
/// What every copy has a number of its own for, and what therefore hashes otherwise.
static PLACE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"("inode": ?|"(?:previous|hash)":"sha256:)(?:[0-9a-f]+|<digest>)"#)
        .expect("it is an expression")
});
/// When a home had its last change, by the clock of its file system.
static SETTLED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#""settled":\{"seconds":\d+,"nanoseconds":\d+\}"#).expect("it is an expression")
});
/// Where a replaced home lies that `undo/` could not take.
static BESIDE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\.codex\.replaced-(<now>-[a-z]+)").expect("it is an expression"));
/// What two names of the same second are told apart by.
static SECOND: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(<now>-[a-z-]+[a-z]|<now>-[^\s/~\x22]+)(?:-\d+|~\d+)\b")
        .expect("it is an expression")
});
static DIGEST: LazyLock<Regex> = LazyLock::new(|| {
    // How long a packed tar header is depends on the time in it, and so does what comes after it.
    Regex::new(r"[0-9a-f]{64}|(\x22(?:bytes|content_bytes|offset)\x22: ?)\d+")
        .expect("it is an expression")
});

impl Known {
    /// Learns what is there.
    pub(crate) fn learn(ground: &Ground) -> Self {
        let mut known =
            Self { times: BTreeSet::new(), digests: BTreeSet::new(), files: BTreeSet::new() };
        walk(&ground.place(), "", &mut |name, path, facts| {
            known.note(name);
            if facts.is_file() {
                let bytes = fs::read(path).expect("a file can be read");
                known.files.insert(digest(&bytes));
                known.note(&String::from_utf8_lossy(&bytes));
            }
        });
        known
    }

    fn note(&mut self, text: &str) {
        self.times.extend(TIME.find_iter(text).map(|found| found.as_str().to_owned()));
        self.digests.extend(DIGEST.find_iter(text).map(|found| found.as_str().to_owned()));
    }

    fn mask(&self, text: &str) -> String {
        let text = TIME.replace_all(text, |found: &regex::Captures<'_>| {
            if self.times.contains(&found[0]) { found[0].to_owned() } else { "<now>".to_owned() }
        });
        let text = DIGEST.replace_all(&text, |found: &regex::Captures<'_>| match found.get(1) {
            // One that was there before may have the same length by chance.
            Some(key) => format!("{}<size>", key.as_str()),
            None if self.digests.contains(&found[0]) => found[0].to_owned(),
            None => "<digest>".to_owned(),
        });
        let text = SECOND.replace_all(&text, "$1");
        let text = PLACE.replace_all(&text, "$1<this>");
        let text = SETTLED.replace_all(&text, "\"settled\":<moment>");
        BESIDE.replace_all(&text, ".codex-manager/undo/$1/codex-home").into_owned()
    }
}

impl State {
    /// Looks at the disk.
    pub(crate) fn read(ground: &Ground, known: &Known) -> Self {
        let mut codex = Vec::new();
        for below in [".codex", "copy", "databases"] {
            if ground.path(below).symlink_metadata().is_ok() {
                home(&ground.path(below), below, &mut codex);
            }
        }
        codex.sort();
        Self { codex, manager: manager(ground, known) }
    }
}

/// What is in one of two lists and not in the other, for people: `-` is gone, `+` came.
pub(crate) fn difference(expected: &Entries, found: &Entries) -> String {
    let (mut expected, mut found) = (expected.clone(), found.clone());
    expected.retain(|entry| match found.iter().position(|other| other == entry) {
        Some(at) => {
            found.remove(at);
            false
        }
        None => true,
    });
    let line = |mark: &str, (name, what): &(String, String)| {
        let what: String = what.chars().take(300).collect();
        format!("    {mark} {name}: {what}\n")
    };
    expected
        .iter()
        .map(|entry| line("-", entry))
        .chain(found.iter().map(|entry| line("+", entry)))
        .collect()
}

/// A Codex home: bytes and modes, links, rows. Codex's own lock file holds nothing.
fn home(root: &Path, below: &str, entries: &mut Entries) {
    walk(root, "", &mut |name, path, facts| {
        let is_log = name.ends_with("-wal") || name.ends_with("-shm");
        let database = name.strip_suffix("-wal").or_else(|| name.strip_suffix("-shm"));
        let belongs = is_log && database.is_some_and(|name| root.join(name).is_file());
        if belongs || name == "auth.lock" {
            return;
        }
        let what = if facts.is_symlink() {
            format!("link to {}", fs::read_link(path).expect("a link can be read").display())
        } else if facts.is_dir() {
            "folder".to_owned()
        } else {
            let bytes = fs::read(path).expect("a file can be read");
            let content = match bytes.starts_with(b"SQLite format 3\0") {
                true => rows(path),
                false => digest(&bytes),
            };
            format!("file {:o} {content}", facts.mode() & 0o777)
        };
        entries.push((format!("{below}/{name}"), what));
    });
}

fn manager(ground: &Ground, known: &Known) -> Entries {
    let mut entries = Vec::new();
    let root = ground.manager();
    walk(&root, "", &mut |name, path, facts| {
        if name.is_empty() || name == "lock" || name.contains("/codex-home") {
            return;
        }
        // It tells the numbers of files, and may be gone or old at any time.
        if name == "glimpses.cache" || name.starts_with("files-") && name.ends_with(".cache") {
            return;
        }
        if name.ends_with(".jsonl") || name.contains(".jsonl.torn") {
            // A line is an entry, so that a difference tells the line.
            let bytes = fs::read(path).expect("a file can be read");
            for (number, line) in String::from_utf8_lossy(&bytes).split('\n').enumerate() {
                entries.push((format!("{name} {number}"), known.mask(line)));
            }
            return;
        }
        let what = if facts.is_symlink() {
            format!("link to {}", fs::read_link(path).expect("a link can be read").display())
        } else if facts.is_dir() {
            // A folder is as good as absent as long as nothing is in it; litter is looked for
            // elsewhere.
            return;
        } else {
            let bytes = fs::read(path).expect("a file can be read");
            let digest = digest(&bytes);
            if name == "rollouts.cache" {
                memory(&bytes)
            } else if known.files.contains(&digest) {
                format!("as before: {digest}")
            } else if name.ends_with(".tar.gz") {
                archive(&bytes, known)
            } else if bytes.starts_with(b"SQLite format 3\0") {
                rows(path)
            } else {
                known.mask(&String::from_utf8_lossy(&bytes))
            }
        };
        entries.push((known.mask(name), what));
    });
    // Homes that were replaced.
    for operation in names(&root.join("undo")) {
        let kept = root.join("undo").join(&operation).join("codex-home");
        if kept.symlink_metadata().is_ok() {
            home(&kept, &format!("undo/{}/codex-home", known.mask(&operation)), &mut entries);
        }
    }
    for name in names(&ground.place()) {
        if let Some(operation) = name.strip_prefix(".codex.replaced-") {
            let below = format!("undo/{}/codex-home", known.mask(operation));
            home(&ground.path(&name), &below, &mut entries);
        }
    }
    entries.sort();
    entries
}

/// What is remembered of session files may be anything that is whole: without it they are read anew.
fn memory(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let is_whole = text.split_once('\n').is_some_and(|(head, rest)| {
        head.contains(&format!("\"digest\":\"{}\"", digest(rest.as_bytes())))
    });
    if is_whole { "a memory".to_owned() } else { "a damaged memory".to_owned() }
}

/// What an archive holds, read by a reader that is not ours. Its index repeats it with offsets.
fn archive(bytes: &[u8], known: &Known) -> String {
    let mut tarball = tar::Archive::new(MultiGzDecoder::new(bytes));
    let mut lines = Vec::new();
    let Ok(entries) = tarball.entries() else { return "no archive".to_owned() };
    for entry in entries {
        let Ok(mut entry) = entry else { return "a damaged archive".to_owned() };
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mut content = Vec::new();
        if entry.read_to_end(&mut content).is_err() {
            return "a damaged archive".to_owned();
        }
        let content = match name.as_str() {
            "stargz.index.json" => continue,
            ".codex-manager/metadata.json" => known.mask(&String::from_utf8_lossy(&content)),
            _ => digest(&content),
        };
        let header = entry.header();
        let link = header.link_name_bytes().map(|link| String::from_utf8_lossy(&link).into_owned());
        lines.push(format!("{name} {:o} {link:?} {content}", header.mode().unwrap_or(0)));
    }
    lines.join("\n")
}

/// Every row of every table, its log included. The database is copied first, so that looking
/// changes nothing.
fn rows(path: &Path) -> String {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let copy = folder.path().join("db");
    fs::copy(path, &copy).expect("a database can be copied");
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    if Path::new(&log).is_file() {
        fs::copy(&log, folder.path().join("db-wal")).expect("a log can be copied");
    }
    read_rows(&copy).unwrap_or_else(|error| format!("a damaged database: {error}"))
}

fn read_rows(path: &Path) -> rusqlite::Result<String> {
    let db = Connection::open(path)?;
    let healthy: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    let mut text = format!("integrity {healthy}; ");
    let mut tables =
        db.prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")?;
    let tables: rusqlite::Result<Vec<String>> = tables.query_map([], |row| row.get(0))?.collect();
    for table in tables? {
        let mut statement = db.prepare(&format!("SELECT * FROM \"{table}\" ORDER BY 1"))?;
        let columns = statement.column_count();
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            text.push_str(&format!("{table}("));
            for column in 0..columns {
                match row.get_ref(column)? {
                    ValueRef::Text(bytes) => text.push_str(&String::from_utf8_lossy(bytes)),
                    other => text.push_str(&format!("{other:?}")),
                }
                text.push(',');
            }
            text.push_str(") ");
        }
    }
    Ok(text)
}

/// Visits everything below a folder, the folder itself included, without following links.
pub(crate) fn walk(root: &Path, name: &str, visit: &mut dyn FnMut(&str, &Path, &fs::Metadata)) {
    let path = if name.is_empty() { root.to_owned() } else { root.join(name) };
    let Ok(facts) = path.symlink_metadata() else { return };
    visit(name, &path, &facts);
    if facts.is_dir() {
        for entry in names(&path) {
            let below = if name.is_empty() { entry } else { format!("{name}/{entry}") };
            walk(root, &below, visit);
        }
    }
}

/// The names in a folder, sorted; none if there is no folder.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
