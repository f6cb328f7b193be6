//! Where does each entry of an archive go, and what was left out?

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
    /// A folder that may have the same content under the same names, while others use it: what turns
    /// out to be what is needed comes from there.
    pub like: Option<&'a Path>,
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
    /// For each entry of the archive, where it goes.
    places: Vec<Option<EntryName>>,
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
        plan.places.reserve_exact(entries.len());
        for entry in entries {
            let placed = (how.place)(entry);
            match (&entry.node, &placed) {
                (Node::File { size }, Some(_)) => {
                    plan.extracted.files += 1;
                    plan.extracted.bytes += size;
                }
                (Node::Dir, Some(name)) => plan.dirs.push((name.clone(), entry.modified)),
                (Node::Symlink { target }, Some(name)) => {
                    if stays_inside(name, target) || (how.keep_link)(entry, target) {
                        plan.links.push((name.clone(), target.clone(), entry.modified));
                    } else {
                        let reason = "it points outside".to_owned();
                        plan.extracted.left_out.push((entry.name.clone(), reason));
                    }
                }
                (_, None) => {}
            }
            plan.places.push(placed);
        }
        // Names that stay what they are do not meet: the archive was read.
        let placed = || entries.iter().zip(&plan.places);
        if placed().any(|(entry, place)| place.as_ref().is_some_and(|name| *name != entry.name)) {
            let mut names = NameSet::default();
            for (entry, place) in placed() {
                if let Some(name) = place {
                    names.insert(name, entry.is_dir())?;
                }
            }
        }
        Ok(plan)
    }

    /// Where the file with this index goes; none for what is no file, or was not asked for.
    pub(super) fn file(&self, entries: &[Entry], index: usize) -> Option<&EntryName> {
        let is_file = matches!(entries.get(index)?.node, Node::File { .. });
        self.places.get(index)?.as_ref().filter(|_| is_file)
    }

    /// Makes the directories, links and times that frame the files.
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
        Ok(self.extracted)
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
