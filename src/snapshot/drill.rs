//! Would a snapshot come back, if it were needed now?
//!
//! [`choose`] names each account's newest one; [`drill`] restores it into a scratch folder, by
//! the steps of a real restore, and looks at all that came out. The home, the login and the
//! snapshot itself are left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::slice;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;
use serde::de::IgnoredAny;

use crate::account::Account;
use crate::codex::home::{self, CodexHome, Surroundings};
use crate::disk::archive::ArchiveError;
use crate::disk::lock::{Lock, LockError, Mode};
use crate::disk::tree::{self, Kind as NodeKind, Visit};
use crate::disk::{DiskError, Jobs, database, read, replace};
use crate::snapshot::logins::{self, Live, LoginError, Shelf};
use crate::snapshot::operations::{Change, Log};
use crate::snapshot::restore::{self, Destination, Plan, Policy, RestoreError};
use crate::snapshot::store::{Origin, Store, Stored};
use crate::snapshot::verify::{self, MOST_NAMED};
use crate::time::{Stamp, Zone};

/// The longest line of a session file that is looked at, in bytes.
const LONGEST_LINE: u64 = 256 << 20;

/// The file in a scratch folder that is locked while somebody works there.
const IN_USE: &str = "in-use";

/// What came of a drill.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It came back whole, and all that was looked at is sound.
    Proven,
    /// It did not, or something in it is not sound.
    Failed,
    /// It could not be tried, as where there is no room; nothing is known of it.
    Undone,
}

/// A drill that was held, to be remembered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Drilled {
    /// The snapshot.
    pub title: String,
    /// Which content that was; none for an archive of the older tool.
    pub toc_digest: Option<String>,
    /// What came of it.
    pub verdict: Verdict,
}

impl Drilled {
    /// What the record of operations says of it; nothing if it was not tried.
    #[must_use]
    pub fn change(&self) -> Option<Change> {
        let sound = match self.verdict {
            Verdict::Proven => true,
            Verdict::Failed => false,
            Verdict::Undone => return None,
        };
        let (title, toc_digest) = (self.title.clone(), self.toc_digest.clone());
        Some(Change::Proven { title, toc_digest, sound })
    }
}

/// When which content was last proven, by the digest of its table of contents; one that has none,
/// by its title. What failed later is proven no more.
#[must_use]
pub fn proven(log: &Log) -> BTreeMap<String, Stamp> {
    let mut proven = BTreeMap::new();
    for record in &log.records {
        for change in &record.changes {
            let Change::Proven { title, toc_digest, sound } = change else { continue };
            let which = toc_digest.as_ref().unwrap_or(title);
            match sound {
                true => proven.insert(which.clone(), record.at),
                false => proven.remove(which),
            };
        }
    }
    proven
}

/// A snapshot that is worth a drill.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Whose it is; nobody's if it tells no account.
    pub account: Option<Account>,
    /// The snapshot.
    pub stored: Stored,
    /// What is wrong with it already, if it cannot even be opened.
    pub spoiled: Option<String>,
}

/// Names each account's newest snapshot with state, else its newest login; and the newest of
/// those that tell no account. Sorted by title of the account's records: the order of `accounts`.
///
/// One of `spoiled` that is the newest is chosen all the same: nobody who trusts in it may be told
/// of an older one instead.
#[must_use]
pub fn choose(
    accounts: &[Account],
    snapshots: &[Stored],
    spoiled: &[(Stored, String)],
) -> Vec<Choice> {
    let sound = snapshots.iter().map(|stored| (stored, None));
    let spoiled = spoiled.iter().map(|(stored, why)| (stored, Some(why)));
    let all: Vec<_> = sound.chain(spoiled).filter(|(stored, _)| !stored.is_orphan()).collect();
    let newest = |account: Option<&Account>| {
        let fits = |stored: &Stored| match account {
            Some(account) => stored.is_of(account),
            None => stored.key().is_none(),
        };
        let rank = |stored: &Stored| (stored.metadata.kind.has_state(), stored.metadata.created_at);
        let best = all.iter().filter(|(stored, _)| fits(stored));
        let (stored, why) = best.max_by_key(|(stored, _)| rank(stored))?;
        let (account, spoiled) = (account.cloned(), why.cloned());
        Some(Choice { account, stored: (*stored).clone(), spoiled })
    };
    let whose = accounts.iter().map(Some).chain([None]);
    let mut seen = BTreeSet::new();
    // A record of the older tool may belong to any of several accounts of one address.
    whose.filter_map(newest).filter(|found| seen.insert(found.stored.archive.clone())).collect()
}

/// A private folder in `tmp/` of the manager home, gone when this value is dropped.
///
/// What an interrupted run leaves has a reserved name and is no Codex home by itself, so that the
/// next command that takes the store's lock removes it; while it is in use, it does not.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    in_use: Option<Lock>,
}

impl Scratch {
    /// Makes it, and what is missing of the manager home above it.
    ///
    /// # Errors
    ///
    /// When the disk refuses, or has no locks.
    pub fn make(store: &Store) -> Result<Self, LockError> {
        replace::private_dir(&store.tmp())?;
        loop {
            let path = tree::staging_dir(&store.tmp().join("drill"))?;
            let file = path.join(IN_USE);
            let mut scratch = Self { path, in_use: None };
            match Lock::acquire(&file, Mode::Shared, Duration::from_secs(1), "drill") {
                // Somebody swept before it was in use.
                Err(LockError::Disk(error)) if error.kind() == std::io::ErrorKind::NotFound => {}
                taken => {
                    scratch.in_use = Some(taken?);
                    return Ok(scratch);
                }
            }
        }
    }

    /// Where a Codex home is built in it.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.path.join("codex-home")
    }

    /// Removes it.
    ///
    /// # Errors
    ///
    /// When something in it cannot be removed; the next command tries again.
    pub fn remove(self) -> Result<(), DiskError> {
        remove(&self.path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left is litter, which the next command removes.
        let _litter = replace::remove_tree(&self.path);
    }
}

/// Removes a folder under a reserved name, unless somebody works in it.
///
/// # Errors
///
/// When something in it cannot be removed.
pub(crate) fn remove_unless_in_use(folder: &Path) -> Result<(), DiskError> {
    // Held until it is gone: who is about to begin in there waits, and then makes another one.
    let claim = Lock::acquire(&folder.join(IN_USE), Mode::Exclusive, Duration::ZERO, "sweep");
    if matches!(claim, Err(LockError::Held { .. })) {
        return Ok(());
    }
    // Where there are no locks there is no drill either.
    remove(folder)
}

/// Removes a folder that somebody else may be removing as well, who then does the rest.
fn remove(folder: &Path) -> Result<(), DiskError> {
    use std::io::ErrorKind::{DirectoryNotEmpty, NotFound};
    match replace::remove_tree(folder) {
        Err(error) if matches!(error.kind(), NotFound | DirectoryNotEmpty) => Ok(()),
        removed => removed.map(drop),
    }
}

/// What was seen of a snapshot.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Proof {
    /// What is wrong, at most 20 things and how many more there are; none means proven.
    pub problems: Vec<String>,
    /// Regular files that came back.
    pub files: u64,
    /// Bytes of their content.
    pub content_bytes: u64,
    /// Databases among them.
    pub databases: u64,
}

impl Proof {
    /// One thing is wrong, and nothing else is known.
    pub fn failed(problem: impl Into<String>) -> Self {
        Self { problems: vec![problem.into()], ..Self::default() }
    }
}

/// Restores a snapshot into `scratch`, where nothing was before, and looks at what came out:
/// every chunk, the sidecar, the login and whose it is, every database, every line of the session
/// files, every path in the session index.
///
/// # Errors
///
/// What is no fault of the snapshot: the disk, no room, an interruption.
pub fn drill(
    stored: &Stored,
    store: &Store,
    zone: &Zone,
    scratch: &Scratch,
    jobs: Jobs,
    advance: &mut dyn FnMut(u64),
    stop: &AtomicBool,
) -> Result<Proof, RestoreError> {
    let done = plan(stored, store, &scratch.home())
        .map(|plan| plan.with_jobs(jobs))
        .and_then(|plan| Ok((restore::rehearse(&plan, store, advance, stop)?, plan)));
    let (restored, plan) = match done {
        Ok(done) => done,
        // The first fault ends a restore; a check names all of them.
        Err(error) if error.is_refusal() => {
            let found = verify::verify(stored, zone, jobs, &mut |_| (), stop);
            return match found.verdict {
                verify::Verdict::Corrupt => {
                    Ok(Proof { problems: found.problems, ..Proof::default() })
                }
                _ if stop.load(Ordering::Relaxed) => Err(interrupted(stored)),
                _ => Ok(Proof::failed(error.to_string())),
            };
        }
        Err(error) => return Err(error),
    };
    let mut proof =
        Proof { files: plan.files, content_bytes: plan.content_bytes, ..Proof::default() };
    // Links that lead elsewhere are made where they stood, which is not here.
    let lost = restored
        .left_out
        .iter()
        .filter(|(path, why)| !restore::is_no_loss(why) && plan.is_file(path));
    proof.problems.extend(lost.map(|(path, why)| format!("{path} was left out: {why}")));
    // A table of contents takes memory, and so does the list of what is looked at.
    drop(plan);
    look(&scratch.home(), &mut proof, stop)?;
    if stop.load(Ordering::Relaxed) {
        return Err(interrupted(stored));
    }
    let more = proof.problems.len().saturating_sub(MOST_NAMED);
    proof.problems.truncate(MOST_NAMED);
    if more > 0 {
        proof.problems.push(format!("{more} more problems"));
    }
    Ok(proof)
}

fn interrupted(stored: &Stored) -> RestoreError {
    RestoreError::Archive { title: stored.title.clone(), source: ArchiveError::Interrupted }
}

/// The plan of a copy that has the login of the snapshot, whatever else is known of the account.
fn plan(stored: &Stored, store: &Store, home: &Path) -> Result<Plan, RestoreError> {
    let policy = match logins::read_login(stored) {
        Ok(_) => Policy::Snapshot { accept_stale: true },
        Err(LoginError::None { .. }) => Policy::Keep,
        Err(LoginError::NoLogin { .. }) if stored.origin == Origin::Python => Policy::Keep,
        Err(error) => return Err(error.into()),
    };
    let shelf = Shelf { snapshots: slice::from_ref(stored), lost: Vec::new() };
    let to = Destination::To(home.to_owned());
    restore::plan(stored, to, policy, &Live::Absent, &shelf, Surroundings::default(), store.root())
}

/// Looks at a home that was just built, until `stop`.
fn look(root: &Path, proof: &mut Proof, stop: &AtomicBool) -> Result<(), RestoreError> {
    for node in tree::walk(root, &mut |_| Visit::Take)?.nodes {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let path = root.join(&node.path);
        let name = node.path.to_string_lossy().into_owned();
        if node.kind != NodeKind::File {
            continue;
        }
        if database::looks_like_database(&path)? {
            proof.databases += 1;
            let found = database::check(&path)?;
            proof.problems.extend(found.iter().map(|what| format!("{name}: {what}")));
            let is_index = node.path.file_name().and_then(|leaf| leaf.to_str());
            if found.is_empty() && is_index.is_some_and(home::is_thread_index) {
                look_into_index(root, &path, &name, proof)?;
            }
        }
        let is_session = CodexHome::SESSIONS.iter().any(|folder| node.path.starts_with(folder));
        if is_session && home::is_json_lines(&name) {
            proof
                .problems
                .extend(bad_line(&path)?.map(|line| format!("{name}, line {line} is no JSON")));
        }
    }
    Ok(())
}

/// Whether the session files that an index names are there. Codex may pack one.
fn look_into_index(
    root: &Path,
    index: &Path,
    name: &str,
    proof: &mut Proof,
) -> Result<(), RestoreError> {
    let (table, column) = home::THREAD_PATHS;
    database::texts(index, table, column, &mut |said| {
        let Ok(below) = Path::new(said).strip_prefix(root) else { return };
        let is_there = [said.to_owned(), format!("{said}.zst")]
            .iter()
            .any(|path| Path::new(path).symlink_metadata().is_ok_and(|facts| facts.is_file()));
        if !is_there {
            proof.problems.push(format!("{name} names {}, which is not there", below.display()));
        }
    })?;
    Ok(())
}

/// The number of the first line that is no JSON, if there is one. Empty lines and the end of a line
/// that somebody was still writing are none.
fn bad_line(path: &Path) -> Result<Option<u64>, DiskError> {
    let failed = |source| DiskError { action: "read", path: path.to_owned(), source };
    let mut lines = BufReader::with_capacity(128 << 10, read::open_regular(path)?);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        lines.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line).map_err(failed)?;
        let is_whole = line.ends_with(b"\n");
        let is_long = !is_whole && u64::try_from(line.len()) == Ok(LONGEST_LINE);
        if !is_whole && !is_long {
            break;
        }
        let is_empty = line.trim_ascii().is_empty();
        if is_long || !is_empty && serde_json::from_slice::<IgnoredAny>(&line).is_err() {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::snapshot::metadata::{Kind, Metadata};
    use crate::snapshot::operations::{Record, log};

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path().canonicalize().unwrap().join("manager"));
        (dir, store)
    }

    #[test]
    fn what_a_killed_drill_left_is_swept_and_where_one_is_at_work_is_not() {
        let (_dir, store) = store();
        let scratch = Scratch::make(&store).unwrap();
        fs::create_dir(scratch.home()).unwrap();
        fs::write(scratch.home().join("auth.json"), "a login").unwrap();
        let left = tree::staging_dir(&store.tmp().join("drill")).unwrap();
        fs::create_dir(left.join("codex-home")).unwrap();
        fs::write(left.join("codex-home/auth.json"), "a login").unwrap();
        fs::write(left.join(IN_USE), "").unwrap();

        drop(store.open(Duration::ZERO, "test").unwrap());
        assert!(!left.exists(), "nobody works there any more");
        assert!(scratch.home().join("auth.json").exists(), "somebody works here");
        scratch.remove().unwrap();
        assert_eq!(fs::read_dir(store.tmp()).unwrap().count(), 0);
    }

    #[test]
    fn who_begins_while_others_sweep_gets_a_folder_that_stays() {
        let (_dir, store) = store();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    drop(store.open(Duration::from_secs(60), "test").unwrap());
                }
            });
            let begun: Vec<_> = (0..300)
                .map(|_| {
                    let scratch = Scratch::make(&store)?;
                    let made = fs::create_dir(scratch.home());
                    std::thread::yield_now();
                    Ok::<_, LockError>(made.is_ok() && scratch.home().is_dir())
                })
                .collect();
            is_over.store(true, Ordering::Relaxed);
            let lost = begun.iter().filter(|begun| !matches!(begun, Ok(true)));
            assert_eq!(lost.count(), 0, "{begun:?}");
        });
    }

    #[test]
    fn what_was_proven_counts_until_it_fails() {
        let (_dir, store) = store();
        let opened = store.open(Duration::ZERO, "test").unwrap();
        let told = |hour: u32, verdict, toc_digest: Option<&str>| {
            let at = format!("2026-11-21T{hour:02}:00:00Z").parse().unwrap();
            let toc_digest = toc_digest.map(str::to_owned);
            let drilled = Drilled { title: "older".to_owned(), toc_digest, verdict };
            let record = Record::new(format!("drill-{hour}"), at, "drill", String::new());
            let record = Record { changes: drilled.change().into_iter().collect(), ..record };
            log::append(&store, &record, &opened.lock).unwrap();
            let found = proven(&log::read(&store).unwrap());
            let lines = found.iter().map(|(which, at)| format!("{which} {at}"));
            lines.collect::<Vec<_>>().join(", ")
        };
        assert_eq!(told(10, Verdict::Proven, Some("digest")), "digest 2026-11-21T10:00:00+00:00");
        assert_eq!(told(11, Verdict::Undone, Some("digest")), "digest 2026-11-21T10:00:00+00:00");
        assert_eq!(told(12, Verdict::Proven, Some("digest")), "digest 2026-11-21T12:00:00+00:00");
        assert_eq!(told(13, Verdict::Failed, Some("digest")), "");
        assert_eq!(told(14, Verdict::Proven, None), "older 2026-11-21T14:00:00+00:00");
    }

    #[test]
    fn the_newest_with_state_is_chosen_also_if_it_is_spoiled() {
        let stored = |title: &str, kind, hour: u32| {
            let mut metadata = Metadata::empty(kind);
            metadata.email = Some("ada@example.com".parse().unwrap());
            metadata.created_at = Some(format!("2026-11-21T{hour:02}:00:00Z").parse().unwrap());
            let (title, archive) = (title.to_owned(), PathBuf::from(title));
            Stored {
                title,
                archive,
                sidecar: None,
                metadata: metadata.into(),
                origin: Origin::Ours,
            }
        };
        let key = crate::account::AccountKey::Email("ada@example.com".parse().unwrap());
        let email = Some("ada@example.com".parse().unwrap());
        let ada = Account { email, alias: None, key };
        let sound = [
            stored("login", Kind::Auth, 12),
            stored("new", Kind::Full, 11),
            stored("old", Kind::Full, 10),
        ];
        let chosen = |sound: &[Stored], spoiled: &[(Stored, String)]| -> Vec<_> {
            let choices = choose(slice::from_ref(&ada), sound, spoiled);
            choices.into_iter().map(|it| (it.stored.title, it.spoiled)).collect()
        };
        assert_eq!(chosen(&sound, &[]), [("new".to_owned(), None)]);
        assert_eq!(chosen(&sound[..1], &[]), [("login".to_owned(), None)]);
        let spoiled = [(stored("newest", Kind::Full, 13), "torn".to_owned())];
        assert_eq!(chosen(&sound, &spoiled), [("newest".to_owned(), Some("torn".to_owned()))]);
        assert_eq!(chosen(&[], &[]), []);
    }
}
