//! Which session files does a Codex home have?

use std::ffi::OsStr;
use std::fs::{self, DirEntry, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Deepest folder below `sessions/` that is visited; Codex uses year, month and day.
const MAX_DEPTH: usize = 8;

/// The folders of a home in which session files lie, and how deep.
const PLACES: [(&str, usize); 2] = [("sessions", MAX_DEPTH), ("archived_sessions", 0)];

/// The rollouts of a home and what stands in their places.
///
/// There may be hundreds of thousands: their names lie one behind the other, and folders once.
#[derive(Default)]
pub(super) struct Listing {
    pub(super) files: Vec<Listed>,
    folders: Vec<PathBuf>,
    names: String,
    pub(super) skipped: Vec<(PathBuf, String)>,
    /// How many folders were read, and entries asked about.
    pub(super) asked: usize,
}

/// A rollout as its folder tells of it; where it lies, its [`Listing`] tells.
pub(super) struct Listed {
    folder: u32,
    /// Where its name starts, and how long that is.
    name: (u32, u32),
    pub(super) facts: Facts,
    /// Nanoseconds since 1970 at the last change of content, name or mode, by the file system's own
    /// clock; that of the content where the system does not tell.
    state: i64,
}

impl Listed {
    /// All that tells one state of it from the next.
    pub(super) fn look(&self) -> (Facts, i64) {
        (self.facts, self.state)
    }
}

/// What changes when a file is written to, or is another one.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Facts {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) size: u64,
    /// Nanoseconds since 1970; 0 where the system does not tell.
    pub(super) modified: i64,
}

impl Facts {
    pub(super) fn of(found: &fs::Metadata) -> Self {
        let nanos = |time: io::Result<SystemTime>| {
            let since = time.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            since.map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
        };
        #[cfg(unix)]
        let (device, inode) = {
            use std::os::unix::fs::MetadataExt as _;
            (found.dev(), found.ino())
        };
        // No number there that the standard library tells: the time of birth comes nearest.
        #[cfg(not(unix))]
        let (device, inode) = (0, u64::try_from(nanos(found.created())).unwrap_or(0));
        Self { device, inode, size: found.len(), modified: nanos(found.modified()) }
    }
}

/// Lists the rollouts of a home, in no order.
pub(super) fn list(codex_home: &Path) -> io::Result<Listing> {
    check(codex_home)?;
    let mut listing = Listing::default();
    for (name, depth) in PLACES {
        let folder = codex_home.join(name);
        listing.asked += 1;
        match fs::symlink_metadata(&folder) {
            Ok(found) if found.is_dir() => listing.visit(folder, depth),
            Ok(_) => listing.skip(folder, "not a folder of this home"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => listing.skip(folder, &error.to_string()),
        }
    }
    Ok(listing)
}

/// Refuses what is no home. It may be a link; what is in it may not.
pub(super) fn check(codex_home: &Path) -> io::Result<()> {
    let is_folder = fs::metadata(codex_home)?.is_dir();
    if is_folder { Ok(()) } else { Err(io::ErrorKind::NotADirectory.into()) }
}

impl Listing {
    /// Where a file of it lies.
    pub(super) fn path(&self, file: &Listed) -> PathBuf {
        let (folder, name) = self.place(file);
        folder.join(name)
    }

    /// The folder of a file of it, and its name there.
    pub(super) fn place(&self, file: &Listed) -> (&Path, &str) {
        let index = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let folder = self.folders.get(index(file.folder)).map_or(Path::new(""), PathBuf::as_path);
        let (start, length) = (index(file.name.0), index(file.name.1));
        let name = self.names.get(start..start.saturating_add(length)).unwrap_or_default();
        (folder, name)
    }

    /// Up to `most` rollouts that were begun last, as their names tell, newest first. Nothing but
    /// folders is read: what cannot be is left out, and a name may be that of anything.
    pub(super) fn newest_by_name(&mut self, codex_home: &Path, most: usize) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for (name, depth) in PLACES {
            let mut of_place = Vec::new();
            // The home itself may be a link; what is in it may not.
            let folder = codex_home.join(name);
            if self.is_folder(&folder) {
                self.descend(&folder, depth, most, &mut of_place);
            }
            found.append(&mut of_place);
        }
        found.sort_by(|a: &PathBuf, b| b.file_name().cmp(&a.file_name()));
        found.truncate(most);
        found
    }

    /// Folders are named by year, month and day; what lies beside them is older than they are.
    fn descend(&mut self, folder: &Path, depth: usize, most: usize, found: &mut Vec<PathBuf>) {
        let (mut folders, mut files) = (Vec::new(), Vec::new());
        for entry in self.entries(folder) {
            let name = entry.file_name();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(name);
            } else if is_rollout(&name) {
                files.push(name);
            }
        }
        if let Some(depth) = depth.checked_sub(1) {
            folders.sort_unstable_by(|a, b| b.cmp(a));
            for name in folders {
                if most <= found.len() {
                    return;
                }
                self.descend(&folder.join(name), depth, most, found);
            }
        }
        let room = most.saturating_sub(found.len());
        if room < files.len() {
            // There may be a hundred thousand in one folder: only those that count are put in order.
            files.select_nth_unstable_by(room, |a, b| b.cmp(a));
            files.truncate(room);
        }
        files.sort_unstable_by(|a, b| b.cmp(a));
        found.extend(files.into_iter().map(|name| folder.join(name)));
    }

    /// Asks about files in these places, as their folders would tell of them.
    pub(super) fn look_at(&mut self, places: impl IntoIterator<Item = PathBuf>) {
        for path in places {
            self.asked += 1;
            match fs::symlink_metadata(&path) {
                Ok(found) => self.take(path, &found),
                // Codex moves files between the folders at any time.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => self.skip(path, &error.to_string()),
            }
        }
    }

    /// Takes what is in this place if it is a file; answers whether it is one.
    pub(super) fn take_file(&mut self, path: PathBuf) -> bool {
        self.asked += 1;
        let found = fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file);
        let Some(found) = found else { return false };
        self.take(path, &found);
        true
    }

    /// What is in a folder; nothing, if it cannot be read.
    pub(super) fn entries(&mut self, folder: &Path) -> impl Iterator<Item = DirEntry> + use<> {
        self.asked += 1;
        fs::read_dir(folder).into_iter().flatten().flatten()
    }

    /// Whether something is a folder, and no link to one.
    pub(super) fn is_folder(&mut self, path: &Path) -> bool {
        self.asked += 1;
        fs::symlink_metadata(path).is_ok_and(|facts| facts.is_dir())
    }

    fn skip(&mut self, path: PathBuf, reason: &str) {
        self.skipped.push((path, reason.to_owned()));
    }

    fn visit(&mut self, folder: PathBuf, depth: usize) {
        let mut waiting = vec![(folder, depth)];
        while let Some((folder, depth)) = waiting.pop() {
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) => {
                    self.skip(folder, &error.to_string());
                    continue;
                }
            };
            for entry in entries {
                self.asked += 1;
                match entry.and_then(|entry| Ok((entry.path(), entry.metadata()?))) {
                    Ok((path, found)) if found.is_dir() => {
                        if let Some(depth) = depth.checked_sub(1) {
                            waiting.push((path, depth));
                        }
                    }
                    Ok((path, found)) => self.take(path, &found),
                    // Codex moves files between the folders at any time.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => self.skip(folder.clone(), &error.to_string()),
                }
            }
        }
    }

    fn take(&mut self, path: PathBuf, found: &fs::Metadata) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_rollout = name.starts_with("rollout-");
        if found.is_symlink() {
            // Also one that leads to a folder: what is behind it is missing from the answer.
            self.skip(path, "a link, not followed");
        } else if is_rollout && name.ends_with(".jsonl.zst") {
            self.skip(path, "compressed, not read");
        } else if is_rollout && name.ends_with(".jsonl") {
            if found.is_file() {
                let facts = Facts::of(found);
                #[cfg(unix)]
                let state = {
                    use std::os::unix::fs::MetadataExt as _;
                    found.ctime().saturating_mul(1_000_000_000).saturating_add(found.ctime_nsec())
                };
                #[cfg(not(unix))]
                let state = facts.modified;
                self.add(&path, facts, state);
            } else {
                self.skip(path, "not a regular file");
            }
        }
    }

    fn add(&mut self, path: &Path, facts: Facts, state: i64) {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let folder = path.parent().unwrap_or(Path::new(""));
        if self.folders.last().is_none_or(|last| last != folder) {
            self.folders.push(folder.to_owned());
        }
        let places = [self.folders.len() - 1, self.names.len(), name.len()].map(u32::try_from);
        // Nobody has four GiB of names.
        if let [Ok(folder), Ok(start), Ok(length)] = places {
            self.names.push_str(name);
            self.files.push(Listed { folder, name: (start, length), facts, state });
        }
    }
}

/// Whether a name is that of a rollout which can be read.
pub(super) fn is_rollout(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.starts_with(b"rollout-") && name.ends_with(b".jsonl")
}

/// Opens a regular file without following a link or waiting at a pipe.
pub(super) fn open(path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    let file = {
        use rustix::fs::{Mode, OFlags};
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        File::from(rustix::fs::open(path, flags, Mode::empty())?)
    };
    #[cfg(not(unix))]
    let file = File::open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
    }
}
