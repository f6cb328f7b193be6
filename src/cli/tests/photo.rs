//! What was in a folder at one moment, to look at and to put back?

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::disk::archive::{Archive, EntryName, Limits};

/// One entry of a folder.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Entry {
    pub(super) mode: u32,
    modified: SystemTime,
    what: What,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum What {
    Dir,
    File(Vec<u8>),
    Link(PathBuf),
}

/// All that is below a folder.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Photo {
    root: PathBuf,
    entries: BTreeMap<PathBuf, Entry>,
}

impl Photo {
    pub(super) fn of(root: &Path) -> Self {
        let mut entries = BTreeMap::new();
        let mut waiting = vec![PathBuf::new()];
        while let Some(folder) = waiting.pop() {
            let Ok(listed) = fs::read_dir(root.join(&folder)) else { continue };
            for name in listed.map(|entry| entry.unwrap().file_name()) {
                let name = folder.join(name);
                let path = root.join(&name);
                let facts = fs::symlink_metadata(&path).unwrap();
                let what = if facts.is_dir() {
                    waiting.push(name.clone());
                    What::Dir
                } else if facts.is_symlink() {
                    What::Link(fs::read_link(&path).unwrap())
                } else {
                    What::File(fs::read(&path).unwrap())
                };
                let (mode, modified) = (facts.mode() & 0o7777, facts.modified().unwrap());
                entries.insert(name, Entry { mode, modified, what });
            }
        }
        Self { root: root.to_owned(), entries }
    }

    /// Makes the folder what it was, its times included.
    pub(super) fn put_back(&self) {
        let now = Self::of(&self.root);
        for (name, entry) in now.entries.iter().rev() {
            if self.entries.get(name) != Some(entry) {
                let path = self.root.join(name);
                let is_kept = self.entries.get(name).is_some_and(|old| old.what == What::Dir);
                match entry.what {
                    What::Dir if is_kept => {}
                    What::Dir => fs::remove_dir_all(path).unwrap(),
                    What::File(_) | What::Link(_) => fs::remove_file(path).unwrap(),
                }
            }
        }
        for (name, entry) in &self.entries {
            let path = self.root.join(name);
            if now.entries.get(name) == Some(entry) && path.symlink_metadata().is_ok() {
                continue;
            }
            match &entry.what {
                What::Dir => fs::create_dir_all(&path).unwrap(),
                What::File(bytes) => fs::write(&path, bytes).unwrap(),
                What::Link(target) => {
                    std::os::unix::fs::symlink(target, &path).unwrap();
                    continue;
                }
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(entry.mode)).unwrap();
        }
        // Folders last, and the deepest first: what is made in one changes its time.
        for (name, entry) in self.entries.iter().rev() {
            if !matches!(entry.what, What::Link(_)) {
                File::open(self.root.join(name)).unwrap().set_modified(entry.modified).unwrap();
            }
        }
    }

    /// What is below one folder of it, or nothing.
    pub(super) fn below(&self, folder: &str) -> Self {
        let inside = |name: &PathBuf| name.strip_prefix(folder).ok().map(Path::to_owned);
        let entries = self.entries.iter().filter_map(|(name, entry)| {
            let name = inside(name).filter(|name| !name.as_os_str().is_empty())?;
            Some((name, entry.clone()))
        });
        Self { root: self.root.join(folder), entries: entries.collect() }
    }

    /// Whether nothing is there.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The same without what has one of these names.
    pub(super) fn without(&self, is_out: impl Fn(&Path) -> bool) -> Self {
        let entries = self.entries.iter().filter(|(name, _)| !is_out(name));
        let entries = entries.map(|(name, entry)| (name.clone(), entry.clone())).collect();
        Self { root: self.root.clone(), entries }
    }

    /// In what it differs from another one: names, kinds, modes, content; with `times`, when
    /// files were changed.
    pub(super) fn differs(&self, other: &Self, times: bool) -> Vec<String> {
        let names: BTreeSet<&PathBuf> = self.entries.keys().chain(other.entries.keys()).collect();
        let mut found = Vec::new();
        for name in names {
            let what = match (self.entries.get(name), other.entries.get(name)) {
                (None, _) => "is not there",
                (_, None) => "should not be there",
                (Some(one), Some(two)) if one.what != two.what => "is another one",
                (Some(one), Some(two)) if one.mode != two.mode => "has another mode",
                (Some(one), Some(two))
                    if times && one.what != What::Dir && one.modified != two.modified =>
                {
                    "has another time"
                }
                _ => continue,
            };
            found.push(format!("{} {what}", name.display()));
        }
        found
    }

    /// The names of all entries, each with its own facts.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&Path, &Entry)> {
        self.entries.iter().map(|(name, entry)| (name.as_path(), entry))
    }

    /// What a file holds, if there is one.
    pub(super) fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.entries.get(Path::new(name))?.bytes()
    }

    /// Every login that is in a file or an archive, wherever it is.
    pub(super) fn logins(&self) -> BTreeSet<Vec<u8>> {
        let mut logins = BTreeSet::new();
        for (name, entry) in self.entries() {
            let Some(bytes) = entry.bytes() else { continue };
            let leaf = name.file_name().unwrap_or_default().to_string_lossy();
            if leaf.ends_with(".tar.gz") {
                // One that cannot be read holds no login that anybody gets back.
                let archive = Archive::open(&self.root.join(name), &Limits::default()).ok();
                let auth: EntryName = "auth.json".parse().unwrap();
                logins.extend(archive.and_then(|archive| archive.read(&auth, 1 << 20).ok()?));
            } else if leaf.ends_with("auth.json") {
                logins.insert(bytes.to_vec());
            }
        }
        logins
    }
}

impl Entry {
    pub(super) fn bytes(&self) -> Option<&[u8]> {
        match &self.what {
            What::File(bytes) => Some(bytes),
            What::Dir | What::Link(_) => None,
        }
    }
}
