//! Where do the databases of a restored home go, and what do they say?
//!
//! Codex finds its session files through an index, and the index where `sqlite_home` says. So
//! [`arrange`] makes every index name the new place and puts the databases where the restored
//! home will look for them; what lies outside the home is held as [`Incoming`] until the home is
//! in its place.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::codex::home::{self, CodexHome, Surroundings};
use crate::disk::database::{self, Rewrite};
use crate::disk::replace::{self, NewFile, Overwrite};
use crate::disk::tree::{self, Kind as NodeKind, Visit};
use crate::disk::{DiskError, read};
use crate::snapshot::backup::{OURS, OUTSIDE, config_text};
use crate::snapshot::restore::{Destination, RestoreError, Restored};

/// The folder in `undo/OPERATION/` that holds what was replaced outside the home.
pub(super) const KEPT: &str = "sqlite_home";

/// Why a sound index is left out: it is no loss.
pub(super) const REBUILT: &str =
    "its schema is unknown; Codex rebuilds its index from the sessions";

/// Databases that belong into a folder outside the home: written and synced there, but for
/// their names. Dropped, they are gone.
#[derive(Debug)]
pub(super) struct Incoming {
    /// Where they belong.
    pub(super) folder: PathBuf,
    files: Vec<Waiting>,
}

/// A database that lies in its folder and has no name yet.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Waiting {
    /// The name it will have.
    pub(super) name: String,
    /// The reserved name it has.
    pub(super) temporary: String,
}

#[cfg(test)]
impl Waiting {
    /// One of this name, under a reserved name of its own.
    pub(super) fn of_test(name: &str) -> Self {
        let temporary =
            format!(".codex-manager-{:0>16x}.tmp", name.len() + usize::from(name.as_bytes()[0]));
        Self { name: name.to_owned(), temporary }
    }
}

/// The folder outside `home` into which databases go when a home with this configuration takes
/// its place: the one it names, if the live configuration or the environment keeps databases
/// there today. A folder that only an archive names is not written into, whatever is in it.
pub(super) fn outside(
    home: &CodexHome,
    restored_config: &str,
    around: &Surroundings,
    manager_home: &Path,
) -> Option<PathBuf> {
    let wanted = home.sqlite_home(restored_config, around)?;
    if wanted.starts_with(home.root()) || wanted.starts_with(manager_home) {
        return None;
    }
    // A configuration that cannot be read vouches for nothing; a restore may be what mends it.
    let live = config_text(home).unwrap_or_default();
    let vouched = [home.sqlite_home(&live, around), home.sqlite_home("", around)];
    vouched.contains(&Some(wanted.clone())).then_some(wanted)
}

/// Brings the databases in `staging` into the order in which the home at `destination` will be
/// used; what Codex could not use is left out. Answers what belongs outside the home.
///
/// A copy elsewhere gets all of them: the folder outside is still the old home's. In place, the
/// folder outside is `allowed` or none (see [`outside`]). Where a database lies both in the snapshot's home and outside, Codex used the one outside.
pub(super) fn arrange(
    staging: &Path,
    destination: &Destination,
    around: &Surroundings,
    manager_home: &Path,
    allowed: Option<&Path>,
    restored: &mut Restored,
) -> Result<Option<Incoming>, RestoreError> {
    let place = destination.path();
    let config = config_text(&CodexHome::at(staging.to_owned()))?;
    let looked_in = CodexHome::at(place.to_owned()).sqlite_home(&config, around);
    let below = |folder: &PathBuf| folder.strip_prefix(place).map(Path::to_owned).ok();
    let inside = looked_in.as_ref().and_then(below);
    let outside = looked_in.filter(|_| inside.is_none());
    let (outside, forbidden) = match outside {
        Some(folder) if folder.starts_with(manager_home) => (None, Some(folder)),
        outside => (outside, None),
    };
    restored.warnings.extend(forbidden.map(|folder| never_in_ours(&folder)));
    let inside = inside.filter(|folder| is_free(staging, folder));
    let (stored, top) = (staging.join(OUTSIDE), staging.join(inside.unwrap_or_default()));
    let folders: BTreeSet<&Path> = [staging, &stored, &top].into_iter().collect();
    for folder in folders {
        rebase(folder, place, restored)?;
    }
    let names = take_databases(&stored, restored)?;
    let outside = match (outside, destination) {
        (Some(folder), Destination::InPlace(_)) if allowed != Some(folder.as_path()) => {
            if !names.is_empty() {
                restored.warnings.push(not_yours(&folder));
            }
            None
        }
        (outside, _) => outside,
    };
    let mut incoming = None;
    match (outside, destination) {
        (Some(_), Destination::InPlace(_)) if names.is_empty() => {}
        (Some(folder), Destination::InPlace(_)) => {
            incoming = Some(Incoming::prepare(folder, &stored, &names)?);
        }
        (outside, _) => {
            restored.warnings.extend(outside.map(|folder| still_the_old(&folder)));
            for name in names {
                replace::private_dir(&top)?;
                let target = top.join(&name);
                // What lay there all the same was not in use.
                for path in with_companions(&target) {
                    replace::remove_tree(&path)?;
                }
                replace::rename_new(&stored.join(&name), &target)?;
            }
        }
    }
    replace::remove_tree(&staging.join(OURS))?;
    Ok(incoming)
}

/// What a person has to know about a copy whose configuration still names the old databases.
fn still_the_old(folder: &Path) -> String {
    format!(
        "the databases are in the copy, but sqlite_home of its config.toml (or CODEX_SQLITE_HOME) \
         names {}, which is the old home's: take that line out before Codex uses the copy, or it \
         writes into the old home",
        folder.display()
    )
}

/// What a person has to know about a configuration that puts databases among our own files.
fn never_in_ours(folder: &Path) -> String {
    format!(
        "the databases are in the restored home and not where sqlite_home of its config.toml (or \
         CODEX_SQLITE_HOME) wants them: {} is part of the manager home",
        folder.display()
    )
}

/// What a person has to know about a configuration that names a folder which nobody but the
/// snapshot speaks for.
fn not_yours(folder: &Path) -> String {
    format!(
        "the databases are in the restored home and not where sqlite_home of its config.toml wants \
         them: neither the configuration before nor CODEX_SQLITE_HOME names {}; look at that line \
         before Codex follows it",
        folder.display()
    )
}

/// The names in the folder of databases from outside the home. What is no database by its name
/// and its first bytes is removed and named: Codex keeps nothing else there.
fn take_databases(stored: &Path, restored: &mut Restored) -> Result<Vec<String>, DiskError> {
    let mut names = Vec::new();
    let mut found = read::absent_is_none(read::names(stored))?.unwrap_or_default();
    found.sort();
    for name in found {
        let path = stored.join(&name);
        let is_file = path.symlink_metadata().is_ok_and(|facts| facts.is_file());
        match name.to_str().filter(|name| name.ends_with(".sqlite")) {
            Some(name) if is_file && database::looks_like_database(&path)? => {
                names.push(name.to_owned());
            }
            _ => {
                replace::remove_tree(&path)?;
                let name = format!("{OUTSIDE}/{}", name.to_string_lossy());
                restored.left_out.push((name, "it is no SQLite database".to_owned()));
            }
        }
    }
    Ok(names)
}

/// Whether a folder can be made in the new home without leaving it: a link on the way could lead
/// anywhere, and a file is none.
fn is_free(staging: &Path, folder: &Path) -> bool {
    let mut path = staging.to_owned();
    folder.components().all(|part| {
        path.push(part);
        path.symlink_metadata().map_or(true, |facts| facts.is_dir())
    })
}

impl Incoming {
    /// Writes the databases in `from` into `folder`, so that a disk without room shows before
    /// anything was replaced.
    pub(super) fn prepare(
        folder: PathBuf,
        from: &Path,
        names: &[String],
    ) -> Result<Self, DiskError> {
        replace::private_dir(&folder)?;
        // What an interrupted restore left here; the lock is held.
        replace::remove_unfinished(&folder)?;
        let mut incoming = Self { folder, files: Vec::new() };
        for name in names {
            let copy = copied(&from.join(name), &incoming.folder)?.keep()?;
            let temporary = copy.file_name().unwrap_or_default().to_string_lossy().into_owned();
            incoming.files.push(Waiting { name: name.clone(), temporary });
        }
        Ok(incoming)
    }

    /// What waits for its name.
    pub(super) fn files(&self) -> Vec<Waiting> {
        self.files.clone()
    }

    /// Puts them in place of those that are there, which go to `undo` first. Databases that the
    /// snapshot does not have stay. One that cannot be exchanged waits on for the next command, as
    /// do those after it.
    ///
    /// # Errors
    ///
    /// When the disk refuses.
    pub(super) fn install(mut self, undo: &Path) -> Result<(), DiskError> {
        let files = std::mem::take(&mut self.files);
        install(&self.folder, &files, undo)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        for file in &self.files {
            // What stays, the next command removes.
            let _litter = replace::remove_file(&self.folder.join(&file.temporary));
        }
    }
}

/// Puts databases in their places, all that are not there already.
///
/// # Errors
///
/// When the disk refuses; what waits may be tried again.
pub(super) fn install(folder: &Path, files: &[Waiting], undo: &Path) -> Result<(), DiskError> {
    // A name with a path in it is none of ours.
    let ours = |file: &&Waiting| Path::new(&file.name).file_name() == Some(file.name.as_ref());
    files.iter().filter(ours).try_for_each(|file| {
        let new = folder.join(Path::new(&file.temporary).file_name().unwrap_or_default());
        if replace::is_unfinished(&new) {
            exchange(&new, &folder.join(&file.name), undo)
        } else {
            Ok(())
        }
    })
}

/// The old database goes first, then what belongs to it, then the new one comes: a new database
/// must not meet an old log even for a moment, and a log without its database is nothing to
/// SQLite. Stopped in between, Codex makes a database anew, which goes to `undo` in its turn.
fn exchange(new: &Path, live: &Path, undo: &Path) -> Result<(), DiskError> {
    let is_there = |path: &Path| path.symlink_metadata().is_ok();
    // Without the database its copies are complete, for it goes only when they are.
    if is_there(live) {
        replace::private_dir(undo)?;
        let mut kept = undo.join(live.file_name().unwrap_or_default());
        // The database itself is copied last, so what is there is whole, and may be the only copy:
        // the one in its place may be one that Codex has made since.
        let is_kept = is_there(&kept) && read::are_alike(live, &kept)?;
        if is_there(&kept) && !is_kept {
            kept = replace::free_beside(&kept, "later");
        }
        let pairs: Vec<_> = with_companions(live).zip(with_companions(&kept)).collect();
        for (path, copy) in pairs.iter().rev().filter(|(path, _)| !is_kept && is_there(path)) {
            copied(path, undo)?.commit(copy, Overwrite::Replace)?;
        }
    }
    for path in with_companions(live) {
        replace::remove_file(&path)?;
    }
    replace::rename_new(new, live)
}

/// A database and what SQLite keeps beside it, in the order in which they may be removed.
fn with_companions(database: &Path) -> impl Iterator<Item = PathBuf> {
    ["", "-wal", "-shm", "-journal"].into_iter().map(|tail| {
        let mut path = database.as_os_str().to_owned();
        path.push(tail);
        path.into()
    })
}

/// A copy of a file in `folder` that has no name yet.
fn copied(from: &Path, folder: &Path) -> Result<NewFile, DiskError> {
    let failed = |source| DiskError { action: "copy", path: from.to_owned(), source };
    let mut source = read::open_regular(from)?;
    let mut copy = NewFile::create_in(folder)?;
    copy.preallocate(source.metadata().map_err(failed)?.len())?;
    io::copy(&mut source, &mut copy).map_err(failed)?;
    Ok(copy)
}

/// Makes single files of the databases that the older tool copied with their logs. One that was
/// torn in the copying is left out: Codex builds its index anew, a damaged one misleads it.
pub(super) fn settle(
    staging: &Path,
    left_out: &mut Vec<(String, String)>,
) -> Result<(), RestoreError> {
    for node in tree::walk(staging, &mut |_| Visit::Take)?.nodes {
        let path = staging.join(&node.path);
        // A log that was seen may be gone with its database.
        if node.kind != NodeKind::File
            || path.symlink_metadata().is_err()
            || !database::looks_like_database(&path)?
        {
            continue;
        }
        match database::settle(&path) {
            Ok(_) => {}
            Err(error) if !error.is_about_the_file() => return Err(error.into()),
            Err(error) => {
                for path in with_companions(&path) {
                    replace::remove_file(&path)?;
                }
                left_out.push((node.path.to_string_lossy().into_owned(), error.to_string()));
            }
        }
    }
    Ok(())
}

/// Makes the session index name the session files where they will be. Left as it is, Codex
/// 0.150.1 and newer would find no session, or write into the old home.
fn rebase(folder: &Path, place: &Path, restored: &mut Restored) -> Result<(), RestoreError> {
    let (table, column) = home::THREAD_PATHS;
    for name in read::absent_is_none(read::names(folder))?.unwrap_or_default() {
        let Some(name) = name.to_str().filter(|name| home::is_thread_index(name)) else { continue };
        let database = folder.join(name);
        let is_file = database.symlink_metadata().is_ok_and(|facts| facts.is_file());
        if !is_file || !database::looks_like_database(&database)? {
            continue;
        }
        let markers = CodexHome::SESSIONS.map(|folder| format!("/{folder}/"));
        match database::rebase(&database, table, column, &markers, place) {
            Ok(Rewrite::Rewritten { rows }) => {
                restored.rewritten = restored.rewritten.saturating_add(rows);
            }
            // Codex builds the index again from the session files; a wrong one misleads it.
            Ok(Rewrite::UnknownSchema) => {
                replace::remove_file(&database)?;
                restored.left_out.push((name.to_owned(), REBUILT.to_owned()));
            }
            Err(error) if !error.is_about_the_file() => return Err(error.into()),
            Err(error) => {
                replace::remove_file(&database)?;
                restored.left_out.push((name.to_owned(), error.to_string()));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rusqlite::Connection;

    use super::*;

    /// A staged home with an index in the folder `index`, whose session lies in `/old`.
    fn staged(index: &str, config: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let staging = dir.path().canonicalize().unwrap().join("staging");
        fs::create_dir_all(staging.join(index)).unwrap();
        fs::write(staging.join("config.toml"), config).unwrap();
        database(&staging.join(index).join("state_5.sqlite"), "/old/sessions/a.jsonl");
        (dir, staging)
    }

    fn database(path: &Path, rollout: &str) -> Connection {
        let db = Connection::open(path).unwrap();
        db.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE threads (rollout_path TEXT)")
            .unwrap();
        db.execute("INSERT INTO threads VALUES (?1)", [rollout]).unwrap();
        db
    }

    fn rollout(path: &Path) -> String {
        let db = Connection::open(path).unwrap();
        db.query_row("SELECT rollout_path FROM threads", [], |row| row.get(0)).unwrap()
    }

    fn restored() -> Restored {
        Restored {
            kept: None,
            how: None,
            left_out: Vec::new(),
            damaged: Vec::new(),
            unpacked: (0, 0),
            rewritten: 0,
            databases: None,
            warnings: Vec::new(),
            stood_still: true,
            is_over: true,
        }
    }

    #[test]
    #[rustfmt::skip]
    fn databases_lie_where_the_restored_home_looks_for_them() {
        //    archived in  config.toml              environment     found in        warned
        check("",          "",                      None,           "",             false);
        check(OUTSIDE,     "",                      None,           "",             false);
        check(OUTSIDE,     "sqlite_home = \"db\"",  None,           "db",           false);
        check("db",        "sqlite_home = \"db\"",  None,           "db",           false);
        check(OUTSIDE,     "sqlite_home = \"/o\"",  None,           "",             true);
        check(OUTSIDE,     "",                      Some("/o"),     "",             true);
        check(OUTSIDE,     "sqlite_home = \"db\"",  Some("/o"),     "db",           false);
        // Judged by where it leads, not by how it is written.
        check(OUTSIDE,     "sqlite_home = \"../o\"", None,          "",             true);
        check(OUTSIDE,     "sqlite_home = \"x/../db\"", None,       "db",           false);
        check(OUTSIDE,     "sqlite_home = \"../copy/db\"", None,    "db",           false);
        check(OUTSIDE,     "sqlite_home = \"../copy\"", None,       "",             false);
        check(OUTSIDE,     "sqlite_home = \"/m/db\"", None,         "",             true);
        // A file is no folder for databases.
        check(OUTSIDE,     "sqlite_home = \"config.toml\"", None,   "",             false);
    }

    #[test]
    fn a_database_that_lies_in_the_home_too_gives_way_to_the_one_in_use() {
        for in_the_way in ["a database", "a folder"] {
            let (dir, staging) = staged(OUTSIDE, "");
            let target = staging.join("state_5.sqlite");
            if in_the_way == "a folder" {
                fs::create_dir_all(target.join("x")).unwrap();
            } else {
                database(&target, "/other/sessions/b.jsonl");
            }
            fs::write(staging.join("state_5.sqlite-wal"), "not its log").unwrap();
            let to = Destination::To(dir.path().canonicalize().unwrap().join("copy"));
            let around = Surroundings::default();
            arrange(&staging, &to, &around, Path::new("/m"), None, &mut restored()).unwrap();
            assert!(rollout(&target).ends_with("/copy/sessions/a.jsonl"), "{in_the_way}");
            assert!(!staging.join("state_5.sqlite-wal").exists());
        }
    }

    #[track_caller]
    fn check(index: &str, config: &str, variable: Option<&str>, found: &str, warned: bool) {
        let (dir, staging) = staged(index, config);
        let place = dir.path().canonicalize().unwrap().join("copy");
        let to = Destination::To(place.clone());
        let around = Surroundings { sqlite_home: variable.map(PathBuf::from), user_home: None };
        let mut restored = restored();
        let incoming = arrange(&staging, &to, &around, Path::new("/m"), None, &mut restored);
        assert!(incoming.unwrap().is_none());
        let rollout = rollout(&staging.join(found).join("state_5.sqlite"));
        assert_eq!(Path::new(&rollout), place.join("sessions/a.jsonl"));
        assert_eq!(restored.rewritten, 1);
        assert_eq!(!restored.warnings.is_empty(), warned, "{:?}", restored.warnings);
        assert!(!staging.join(OURS).exists());
    }

    #[test]
    #[rustfmt::skip]
    fn a_folder_outside_is_written_into_only_if_the_live_home_keeps_databases_there() {
        //    restored                   live                     environment   into
        check("sqlite_home = \"~/.ssh\"",  "",                       None,         None);
        check("sqlite_home = \"/etc\"",    "",                       Some("/o"),   None);
        check("sqlite_home = \"../db\"",   "sqlite_home = \"/o\"",   None,         None);
        check("sqlite_home = \"/o\"",      "sqlite_home = \"/o\"",   None,         Some("/o"));
        check("sqlite_home = \"/o\"",      "",                       Some("/o"),   Some("/o"));
        check("",                        "",                       Some("/o"),   Some("/o"));
        check("",                        "sqlite_home = \"/p\"",   Some("/o"),   Some("/o"));
        check("",                        "sqlite_home = \"/p\"",   None,         None);
        check("sqlite_home = \"/m/x\"",    "sqlite_home = \"/m/x\"", None,         None);
        check("sqlite_home = \"db\"",      "sqlite_home = \"db\"",   None,         None);

        #[track_caller]
        fn check(restored: &str, live: &str, variable: Option<&str>, into: Option<&str>) {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path().canonicalize().unwrap();
            fs::write(root.join("config.toml"), live).unwrap();
            let around = Surroundings {
                sqlite_home: variable.map(PathBuf::from),
                user_home: Some("/home/user".into()),
            };
            let found = outside(&CodexHome::at(root), restored, &around, Path::new("/m"));
            assert_eq!(found.as_deref(), into.map(Path::new));
        }
    }

    #[test]
    fn what_is_no_database_goes_nowhere() {
        let (dir, staging) = staged(OUTSIDE, "");
        let root = dir.path().canonicalize().unwrap();
        let (stored, folder) = (staging.join(OUTSIDE), root.join("folder"));
        for name in ["authorized_keys", "auth.json", "text.sqlite"] {
            fs::write(stored.join(name), "ssh-ed25519 hostile").unwrap();
        }
        fs::create_dir(stored.join("folder.sqlite")).unwrap();
        fs::copy(stored.join("state_5.sqlite"), stored.join("named-otherwise")).unwrap();
        let around = Surroundings { sqlite_home: Some(folder.clone()), user_home: None };
        let (to, mut told) = (Destination::InPlace(root.join("live")), restored());
        let incoming = arrange(&staging, &to, &around, Path::new("/m"), Some(&folder), &mut told);
        incoming.unwrap().unwrap().install(&root.join("undo")).unwrap();
        assert_eq!(read::names(&folder).unwrap(), ["state_5.sqlite"]);
        assert_eq!((told.left_out.len(), told.warnings.len()), (5, 0), "{told:?}");
        assert!(!staging.join("auth.json").exists());
    }

    #[test]
    fn a_database_outside_the_home_never_meets_the_log_of_the_one_before() {
        let (dir, staging) = staged(OUTSIDE, "");
        let root = dir.path().canonicalize().unwrap();
        let (live, folder, undo) = (root.join("live"), root.join("folder"), root.join("undo"));
        fs::create_dir(&folder).unwrap();
        // Held open, so that all it knows is in its log.
        let open = database(&folder.join("state_5.sqlite"), "/before/sessions/b.jsonl");
        fs::write(folder.join("queue_1.sqlite"), "not in the snapshot").unwrap();
        let litter = folder.join(".codex-manager-0123456789abcdef.tmp");
        fs::write(&litter, "of an interrupted run").unwrap();
        // The folder may be the one above the home, where the new one is built.
        let built = folder.join(".codex-manager-0123456789abcdef.staging");
        fs::create_dir(&built).unwrap();

        let to = Destination::InPlace(live);
        let around = Surroundings { sqlite_home: Some(folder.clone()), user_home: None };
        let allowed = outside(&CodexHome::at(root.join("live")), "", &around, Path::new("/m"));
        let allowed = allowed.as_deref();
        let incoming = arrange(&staging, &to, &around, Path::new("/m"), allowed, &mut restored());
        let incoming = incoming.unwrap().unwrap();
        assert_eq!(rollout(&folder.join("state_5.sqlite")), "/before/sessions/b.jsonl");
        incoming.install(&undo).unwrap();
        drop(open);

        let place = root.join("live/sessions/a.jsonl");
        assert_eq!(Path::new(&rollout(&folder.join("state_5.sqlite"))), place);
        assert_eq!(rollout(&undo.join("state_5.sqlite")), "/before/sessions/b.jsonl");
        assert!(folder.join("queue_1.sqlite").exists() && !litter.exists() && built.exists());
    }
}
