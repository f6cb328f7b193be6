//! What is on the disk after a power cut?
//!
//! A [`Disk`] replays what strace saw and remembers, besides what everybody sees, what was synced:
//! `fsync` of a file makes its bytes last, `fsync` of a folder its names, `syncfs` everything, and
//! nothing else does anything. What was not synced may be there afterwards or not; [`Cut`] names
//! the extremes. A rename is one change, in whichever of its two folders it becomes lasting first:
//! every journalling file system promises as much.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::renumber::renumber;
use crate::syscalls::Event;

/// What the power takes along.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Cut {
    /// Everything that was not synced, names and bytes.
    Everything,
    /// Bytes that were not synced; every name is there, and a file that was never synced is empty.
    Bytes,
    /// The second half of what was written since the last sync; every name is there.
    HalfTheBytes,
}

impl Cut {
    pub(crate) const ALL: [Self; 3] = [Self::Everything, Self::Bytes, Self::HalfTheBytes];
}

type Id = usize;
type Names = BTreeMap<String, Id>;

/// A file, folder or link, as it is seen and as it would last.
#[derive(Clone, Debug)]
struct Inode {
    mode: u32,
    /// Only of what was there before.
    modified: Option<SystemTime>,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    File { seen: Vec<u8>, lasting: Vec<u8> },
    Folder { seen: Names, lasting: Names },
    Link(String),
}

/// An open file: whose it is, where the next byte goes, whether that is always the end.
#[derive(Clone, Copy, Debug)]
struct Open {
    inode: Id,
    at: usize,
    appends: bool,
}

/// A file system below one folder, and the descriptors of one process.
pub(crate) struct Disk {
    place: PathBuf,
    inodes: Vec<Inode>,
    opened: Vec<Open>,
    descriptors: HashMap<i64, usize>,
    /// Renames from one folder to another that neither has synced: name and folder, twice.
    renamed: Vec<[(Id, String); 2]>,
    /// What the journal calls a folder: the number it had when the program ran.
    numbers: HashMap<u64, Id>,
}

const ROOT: Id = 0;

impl Disk {
    /// What lies below `place` now, all of it lasting.
    pub(crate) fn of(place: &Path) -> Self {
        let mut disk = Self {
            place: place.to_owned(),
            inodes: Vec::new(),
            opened: Vec::new(),
            descriptors: HashMap::new(),
            renamed: Vec::new(),
            numbers: HashMap::new(),
        };
        disk.load(place);
        disk
    }

    fn load(&mut self, path: &Path) -> Id {
        let facts = path.symlink_metadata().expect("it is there");
        let id = self.inodes.len();
        self.numbers.insert(facts.ino(), id);
        let kind = if facts.is_symlink() {
            let target = fs::read_link(path).expect("a link can be read");
            Kind::Link(target.to_str().expect("paths are text").to_owned())
        } else if facts.is_dir() {
            Kind::Folder { seen: Names::new(), lasting: Names::new() }
        } else {
            let bytes = fs::read(path).expect("a file can be read");
            Kind::File { seen: bytes.clone(), lasting: bytes }
        };
        let modified = facts.modified().ok();
        self.inodes.push(Inode { mode: facts.mode() & 0o7777, modified, kind });
        if facts.is_dir() {
            for name in crate::state::names(path) {
                let child = self.load(&path.join(&name));
                let Kind::Folder { seen, lasting } = &mut self.inodes[id].kind else {
                    unreachable!()
                };
                seen.insert(name.clone(), child);
                lasting.insert(name, child);
            }
        }
        id
    }

    /// Lets one call happen. Answers whether it changed anything, or made anything last.
    pub(crate) fn apply(&mut self, event: &Event) -> bool {
        match event {
            Event::Open { descriptor, path, creates, truncates, appends, mode } => {
                let mut changed = false;
                let Some(path) = self.below(path) else {
                    self.descriptors.remove(descriptor);
                    return false;
                };
                let inode = self.find(&path).unwrap_or_else(|| {
                    assert!(*creates, "{} is unknown", path.display());
                    changed = true;
                    let kind = Kind::File { seen: Vec::new(), lasting: Vec::new() };
                    self.create(&path, kind, *mode)
                });
                if *truncates {
                    self.bytes(inode).clear();
                    changed = true;
                }
                self.descriptors.insert(*descriptor, self.opened.len());
                self.opened.push(Open { inode, at: 0, appends: *appends });
                return changed;
            }
            Event::Close { descriptor } => {
                self.descriptors.remove(descriptor);
                return false;
            }
            Event::Duplicate { from, to } => {
                match self.descriptors.get(from).copied() {
                    Some(open) => self.descriptors.insert(*to, open),
                    None => self.descriptors.remove(to),
                };
                return false;
            }
            Event::Moved { descriptor, to } => {
                if let Some(open) = self.open_mut(*descriptor) {
                    open.at = *to;
                }
                return false;
            }
            Event::Read { descriptor, count } => {
                if let Some(open) = self.open_mut(*descriptor) {
                    open.at += count;
                }
                return false;
            }
            Event::Number { path, number } => {
                if let Some(id) = self.below(path).and_then(|path| self.find(&path)) {
                    self.numbers.insert(*number, id);
                }
                return false;
            }
            Event::Write { descriptor, at, bytes } => {
                let Some(open) = self.open_mut(*descriptor).map(|open| *open) else { return false };
                let to = match at {
                    Some(at) => *at,
                    None if open.appends => self.bytes(open.inode).len(),
                    None => open.at,
                };
                put(self.bytes(open.inode), to, bytes);
                if at.is_none() {
                    self.open_mut(*descriptor).expect("it is open").at = to + bytes.len();
                }
            }
            Event::Copy { from, from_at, to, to_at, count } => {
                let target = self.open_mut(*to).map(|open| *open);
                let Some(target) = target else { return false };
                let source =
                    *self.open_mut(*from).expect("what is copied lies below the place too");
                let begin = from_at.unwrap_or(source.at);
                let bytes = self.bytes(source.inode)[begin..begin + count].to_vec();
                put(self.bytes(target.inode), to_at.unwrap_or(target.at), &bytes);
                if from_at.is_none() {
                    self.open_mut(*from).expect("it is open").at += count;
                }
                if to_at.is_none() {
                    self.open_mut(*to).expect("it is open").at += count;
                }
            }
            Event::Clone { from, to } => {
                let Some(target) = self.open_mut(*to).map(|open| *open) else { return false };
                let source = *self.open_mut(*from).expect("what is cloned is below the place too");
                let bytes = self.bytes(source.inode).clone();
                *self.bytes(target.inode) = bytes;
            }
            Event::Resize { descriptor, to } => {
                let Some(open) = self.open_mut(*descriptor).map(|open| *open) else { return false };
                self.bytes(open.inode).resize(*to, 0);
            }
            Event::Grow { descriptor, to } => {
                let Some(open) = self.open_mut(*descriptor).map(|open| *open) else { return false };
                let bytes = self.bytes(open.inode);
                bytes.resize(bytes.len().max(*to), 0);
            }
            Event::Folder { path, mode } => {
                let Some(path) = self.below(path) else { return false };
                let kind = Kind::Folder { seen: Names::new(), lasting: Names::new() };
                self.create(&path, kind, *mode);
            }
            Event::Link { path, target } => {
                let Some(path) = self.below(path) else { return false };
                self.create(&path, Kind::Link(target.clone()), 0o777);
            }
            Event::SecondName { from, to } => {
                let (Some(from), Some(to)) = (self.below(from), self.below(to)) else {
                    return false;
                };
                let id = self.find(&from).expect("what gets a second name is there");
                let (folder, name) = self.place_of(&to);
                self.names(folder).insert(name, id);
            }
            Event::Remove { path } => {
                let Some(path) = self.below(path) else { return false };
                let (folder, name) = self.place_of(&path);
                self.names(folder).remove(&name).expect("what is removed is there");
            }
            Event::Rename { from, to, exchange } => {
                let (Some(from), Some(to)) = (self.below(from), self.below(to)) else {
                    return false;
                };
                let (source, target) = (self.place_of(&from), self.place_of(&to));
                let moved = self.names(source.0).remove(&source.1).expect("what moves is there");
                let there = self.names(target.0).insert(target.1.clone(), moved);
                if *exchange {
                    self.names(source.0).insert(source.1.clone(), there.expect("both are there"));
                }
                if source.0 != target.0 {
                    self.renamed.push([source, target]);
                }
            }
            Event::Mode { path, mode } => {
                let Some(path) = self.below(path) else { return false };
                let id = self.find(&path).expect("it is there");
                self.inodes[id].mode = *mode;
            }
            Event::Sync { descriptor } => {
                let Some(open) = self.open_mut(*descriptor).map(|open| *open) else { return false };
                self.sync(open.inode);
            }
            Event::SyncAll => {
                for id in 0..self.inodes.len() {
                    self.sync(id);
                }
            }
        }
        true
    }

    /// What would be left now, as one text to tell whether two points are the same.
    pub(crate) fn left(&self, cut: Cut) -> String {
        let mut text = String::new();
        self.describe(ROOT, "", cut, &mut text);
        text
    }

    /// Puts what would be left now into `place`, which is removed before.
    pub(crate) fn lay_out(&self, cut: Cut) {
        fs::remove_dir_all(&self.place).expect("the last run can be removed");
        let mut made = HashMap::new();
        self.make(ROOT, &self.place, cut, &mut made);
        renumber(&self.place, &|old| {
            let path = made.get(self.numbers.get(&old)?)?;
            Some(path.symlink_metadata().expect("it was made").ino())
        });
    }

    fn sync(&mut self, id: Id) {
        match &mut self.inodes[id].kind {
            Kind::File { seen, lasting } => lasting.clone_from(seen),
            Kind::Link(_) => {}
            Kind::Folder { seen, lasting } => {
                lasting.clone_from(seen);
                let (concerned, others) = std::mem::take(&mut self.renamed)
                    .into_iter()
                    .partition(|ends: &[(Id, String); 2]| ends.iter().any(|end| end.0 == id));
                self.renamed = others;
                for (folder, name) in Vec::<[(Id, String); 2]>::into_iter(concerned).flatten() {
                    let Kind::Folder { seen, lasting } = &mut self.inodes[folder].kind else {
                        unreachable!()
                    };
                    match seen.get(&name) {
                        Some(id) => lasting.insert(name, *id),
                        None => lasting.remove(&name),
                    };
                }
            }
        }
    }

    fn make(&self, id: Id, path: &Path, cut: Cut, made: &mut HashMap<Id, PathBuf>) {
        let inode = &self.inodes[id];
        if let (Some(first), false) = (made.get(&id), matches!(inode.kind, Kind::Folder { .. })) {
            fs::hard_link(first, path).expect("a file can have two names");
            return;
        }
        made.insert(id, path.to_owned());
        match &inode.kind {
            Kind::Link(target) => {
                symlink(target, path).expect("a link can be made");
                return;
            }
            Kind::File { .. } => {
                fs::write(path, self.bytes_left(id, cut)).expect("a file can be written");
                if let Some(modified) = inode.modified {
                    let file = File::options().append(true).open(path);
                    file.and_then(|file| file.set_modified(modified)).expect("it can be dated");
                }
            }
            Kind::Folder { .. } => {
                fs::create_dir(path).expect("a folder can be made");
                for (name, child) in self.names_left(id, cut) {
                    self.make(*child, &path.join(name), cut, made);
                }
            }
        }
        let mode = fs::Permissions::from_mode(inode.mode);
        fs::set_permissions(path, mode).expect("a mode can be set");
    }

    fn describe(&self, id: Id, path: &str, cut: Cut, text: &mut String) {
        let inode = &self.inodes[id];
        match &inode.kind {
            Kind::Link(target) => text.push_str(&format!("{path} -> {target}\n")),
            Kind::File { .. } => {
                let digest = crate::state::digest(&self.bytes_left(id, cut));
                text.push_str(&format!("{path} {:o} {digest}\n", inode.mode));
            }
            Kind::Folder { .. } => {
                text.push_str(&format!("{path}/ {:o}\n", inode.mode));
                for (name, child) in self.names_left(id, cut) {
                    self.describe(*child, &format!("{path}/{name}"), cut, text);
                }
            }
        }
    }

    fn names_left(&self, id: Id, cut: Cut) -> &Names {
        match &self.inodes[id].kind {
            Kind::Folder { lasting, .. } if cut == Cut::Everything => lasting,
            Kind::Folder { seen, .. } => seen,
            _ => unreachable!("only folders have names"),
        }
    }

    fn bytes_left(&self, id: Id, cut: Cut) -> Vec<u8> {
        let Kind::File { seen, lasting } = &self.inodes[id].kind else {
            unreachable!("only files have bytes")
        };
        if cut != Cut::HalfTheBytes || seen == lasting {
            return lasting.clone();
        }
        let same = seen.iter().zip(lasting).take_while(|(a, b)| a == b).count();
        seen[..same + (seen.len() - same) / 2].to_vec()
    }

    fn below(&self, path: &Path) -> Option<PathBuf> {
        path.strip_prefix(&self.place).ok().map(Path::to_owned)
    }

    fn find(&self, path: &Path) -> Option<Id> {
        path.components().try_fold(ROOT, |folder, part| match &self.inodes[folder].kind {
            Kind::Folder { seen, .. } => seen.get(part.as_os_str().to_str()?).copied(),
            _ => None,
        })
    }

    fn place_of(&self, path: &Path) -> (Id, String) {
        let folder = path.parent().and_then(|parent| self.find(parent));
        let folder = folder.unwrap_or_else(|| unreachable!("{} has no folder", path.display()));
        let name = path.file_name().and_then(|name| name.to_str()).expect("it has a name");
        (folder, name.to_owned())
    }

    fn create(&mut self, path: &Path, kind: Kind, mode: u32) -> Id {
        let (folder, name) = self.place_of(path);
        let id = self.inodes.len();
        // The program's mask; whatever it asks for.
        self.inodes.push(Inode { mode: mode & !0o077, modified: None, kind });
        let taken = self.names(folder).insert(name, id);
        assert_eq!(taken, None, "{} is there already", path.display());
        id
    }

    fn names(&mut self, id: Id) -> &mut Names {
        match &mut self.inodes[id].kind {
            Kind::Folder { seen, .. } => seen,
            _ => unreachable!("only folders have names"),
        }
    }

    fn bytes(&mut self, id: Id) -> &mut Vec<u8> {
        match &mut self.inodes[id].kind {
            Kind::File { seen, .. } => seen,
            _ => unreachable!("only files have bytes"),
        }
    }

    fn open_mut(&mut self, descriptor: i64) -> Option<&mut Open> {
        let open = *self.descriptors.get(&descriptor)?;
        self.opened.get_mut(open)
    }
}

fn put(into: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if into.len() < at + bytes.len() {
        into.resize(at + bytes.len(), 0);
    }
    into[at..at + bytes.len()].copy_from_slice(bytes);
}
