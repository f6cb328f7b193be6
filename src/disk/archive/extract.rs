//! Where does each entry of an archive go, and what was left out?

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::target::{Destination, stays_inside};
use super::{ArchiveError, Entry, EntryName, NameSet, Node};

/// How a caller wants an archive unpacked.
pub struct Extraction<'a> {
    /// Where an entry goes, relative to the destination; none leaves it out without a word.
    pub place: &'a mut dyn FnMut(&Entry) -> Option<EntryName>,
    /// Whether a link that does not surely stay inside is made all the same; gets the entry and its target.
    pub keep_link: &'a mut dyn FnMut(&Entry, &str) -> bool,
    /// Gets the bytes of content as they are unpacked.
    pub progress: &'a mut dyn FnMut(u64),
    /// Set from elsewhere to stop soon.
    pub stop: &'a AtomicBool,
}

/// What was unpacked.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Extracted {
    /// Regular files.
    pub files: u64,
    /// Bytes of their content.
    pub bytes: u64,
    /// Links that were not made, under their name in the archive, and why.
    pub left_out: Vec<(EntryName, String)>,
}

/// Everything that will be made, decided before the first byte is written.
#[derive(Default)]
pub(super) struct Plan {
    /// For each entry of the archive, where a file goes.
    pub(super) files: Vec<Option<EntryName>>,
    dirs: Vec<(EntryName, i64)>,
    links: Vec<(EntryName, String, i64)>,
    pub(super) extracted: Extracted,
}

impl Plan {
    /// Asks the caller about every entry.
    ///
    /// # Errors
    ///
    /// Those of [`NameSet::insert`] if two entries would meet.
    pub(super) fn new(entries: &[Entry], how: &mut Extraction<'_>) -> Result<Self, ArchiveError> {
        let mut plan = Self::default();
        let mut names = NameSet::default();
        for entry in entries {
            let placed = (how.place)(entry);
            if let Some(name) = &placed {
                names.insert(name, entry.is_dir())?;
            }
            let file = match (&entry.node, placed) {
                (Node::File { size }, Some(name)) => {
                    plan.extracted.files += 1;
                    plan.extracted.bytes += size;
                    Some(name)
                }
                (Node::Dir, Some(name)) => {
                    plan.dirs.push((name, entry.modified));
                    None
                }
                (Node::Symlink { target }, Some(name)) => {
                    if stays_inside(&name, target) || (how.keep_link)(entry, target) {
                        plan.links.push((name, target.clone(), entry.modified));
                    } else {
                        let reason = "it points outside".to_owned();
                        plan.extracted.left_out.push((entry.name.clone(), reason));
                    }
                    None
                }
                (_, None) => None,
            };
            plan.files.push(file);
        }
        Ok(plan)
    }

    /// Makes the directories, links and times that frame the files, and brings all of it onto the disk.
    pub(super) fn complete(mut self, into: &Path) -> Result<Extracted, ArchiveError> {
        let mut destination = open(into)?;
        for (name, _) in &self.dirs {
            destination.dir(name).map_err(|source| writing(name, source))?;
        }
        for (name, target, modified) in &self.links {
            match destination.symlink(name, target, *modified) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    let reason = "this system has no symbolic links".to_owned();
                    self.extracted.left_out.push((name.clone(), reason));
                }
                Err(source) => return Err(writing(name, source)),
            }
        }
        // What is made in a directory changes its time, so the deepest come first.
        self.dirs.sort_by_key(|(name, _)| std::cmp::Reverse(name.depth()));
        for (name, modified) in &self.dirs {
            destination.date_dir(name, *modified).map_err(|source| writing(name, source))?;
        }
        destination
            .sync(&self.every_dir())
            .map_err(|source| ArchiveError::Destination { name: String::new(), source })?;
        Ok(self.extracted)
    }

    /// Every directory there is, also those that only follow from a file's name; deepest first.
    fn every_dir(&self) -> Vec<EntryName> {
        let mut known = HashSet::new();
        let dirs = self.dirs.iter().map(|(name, _)| Some(name.clone()));
        let links = self.links.iter().map(|(name, _, _)| name.parent());
        let files = self.files.iter().flatten().map(EntryName::parent);
        for nearest in dirs.chain(links).chain(files) {
            // Who knows a directory knows those above it.
            let above = std::iter::successors(nearest, EntryName::parent);
            let _ = above.take_while(|dir| known.insert(dir.clone())).count();
        }
        let mut dirs: Vec<EntryName> = known.into_iter().collect();
        dirs.sort_by(|a, b| b.depth().cmp(&a.depth()).then_with(|| a.cmp(b)));
        dirs
    }
}

/// Opens the directory that is unpacked into.
pub(super) fn open(into: &Path) -> Result<Destination, ArchiveError> {
    Destination::open(into)
        .map_err(|source| ArchiveError::Destination { name: String::new(), source })
}

/// An error of the destination with the name it happened at.
pub(super) fn writing(name: &EntryName, source: io::Error) -> ArchiveError {
    ArchiveError::Destination { name: name.to_string(), source }
}

/// Whether a file's owner may execute it.
pub(super) fn is_executable(entry: &Entry) -> bool {
    entry.mode & 0o100 != 0
}

/// The error of a caller that wants to stop, if it does.
pub(super) fn go_on(stop: &AtomicBool) -> Result<(), ArchiveError> {
    if stop.load(Ordering::Relaxed) { Err(ArchiveError::Interrupted) } else { Ok(()) }
}
