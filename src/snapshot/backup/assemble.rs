//! How do the files of a home come together in one archive while others write them?
//!
//! What somebody else writes meanwhile is stored as it was at one look: a large file that got
//! shorter under the reader is copied aside and the archive begun anew. What is proven to be as it
//! was in an earlier snapshot is not looked into at all.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};

use super::cache::{Cache, Look};
use super::gather::{Gathered, of_file};
use super::reuse::{Lent, Past, Proves, Shelves, Whose};
use super::source::{IN_MEMORY, Source, Watched};
use super::write::own_items;
use super::{BackupError, Content, Item, ItemName, Listed, Place, Request, length};
use crate::codex::home::CodexHome;
use crate::disk::archive::{self, Again, ArchiveError, EntryName, Known, Problem, Writer, Written};
use crate::disk::database::{self, DatabaseError};
use crate::disk::replace::{NewFile, Overwrite};
use crate::disk::{DiskError, Jobs, read};
use crate::snapshot::metadata::Metadata;
use crate::snapshot::store::Store;

/// How often an archive is begun anew because a file changed or could not be read to its end.
const RESTARTS: usize = 8;

/// An archive in the making, with all that is known for it.
pub(super) struct Build<'a> {
    /// A private folder for copies.
    pub(super) staging: &'a Path,
    pub(super) copies: usize,
    pub(super) skip_unreadable: bool,
    pub(super) force_damaged: bool,
    /// Deflate level.
    pub(super) level: u32,
    pub(super) jobs: Jobs,
    /// The home and what was wanted of it.
    pub(super) source: Option<(PathBuf, Request)>,
    /// What is known of its files from the snapshot before.
    pub(super) past: Option<Proves>,
    /// Where content is looked for before it is compressed.
    pub(super) shelves: Option<Lent>,
    pub(super) now: DateTime<Utc>,
    /// What could not be read after all.
    pub(super) skipped: Listed,
    pub(super) warnings: Vec<String>,
    pub(super) advance: &'a mut dyn FnMut(u64),
    pub(super) stop: &'a AtomicBool,
}

/// What stands in the way of an archive that was begun.
enum Obstacle {
    /// A file got shorter under the reader.
    Shrank,
    /// A file cannot be read.
    Unreadable(String),
    /// What was not going to be opened has to be, and copied by SQLite first.
    Unproven,
}

/// An archive that was begun: complete, or stopped by the item of this name.
enum Pass {
    Done(Box<Whole>),
    Stopped(EntryName, Obstacle),
}

/// A complete archive without a name.
pub(super) struct Whole {
    pub(super) file: NewFile,
    pub(super) written: Written,
    /// What went away before it could be read.
    pub(super) vanished: Listed,
    /// How the files looked that are in it.
    pub(super) known: Cache,
}

/// An archive that is being written.
struct Underway {
    writer: Writer<io::BufWriter<NewFile>>,
    /// Entries so far.
    entries: usize,
    vanished: Listed,
    known: Cache,
    /// What a small file is read into, used again for the next.
    room: Vec<u8>,
}

impl Build<'_> {
    pub(super) fn stopped(&self) -> Result<(), BackupError> {
        if self.stop.load(Ordering::Relaxed) { Err(BackupError::Interrupted) } else { Ok(()) }
    }

    /// Puts private copies in the place of the databases that may have changed, and takes the
    /// sessions along that began meanwhile: the index that was copied may name them.
    pub(super) fn settle(
        &mut self,
        items: &mut Vec<Item>,
        metadata: &mut Metadata,
    ) -> Result<(), BackupError> {
        let mut has_index = false;
        let mut gone = Vec::new();
        for (number, item) in items.iter_mut().enumerate() {
            if let Content::Kept { path, entry, is_database: true } = &item.content {
                let look = Look::at(&self.path(path, &item.name), true).ok().flatten();
                let (path, entry, name) = (path.clone(), *entry, item.name.entry()?);
                item.content = match look.filter(|it| self.proven((entry, &name), it).is_some()) {
                    Some(look) => Content::Proven { path, held: Box::new((entry, look)) },
                    None => Content::Database { path, bytes: 0 },
                };
            }
            if let Content::Database { path, .. } = &item.content {
                self.stopped()?;
                has_index = true;
                let path = self.path(path, &item.name);
                match self.copied(&path, &item.name) {
                    Ok(content) => item.content = content,
                    Err(BackupError::Database(DatabaseError::Disk(error)))
                        if error.path == path =>
                    {
                        self.skip(item.name.as_str(), error.source.to_string())?;
                        gone.push(number);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        for number in gone.into_iter().rev() {
            items.remove(number);
        }
        if let Some((root, request)) = self.source.as_ref().filter(|_| has_index) {
            let gathered = Gathered::with_newcomers(std::mem::take(items), root, request)?;
            metadata.captured_files.extend(gathered.captured);
            metadata.captured_files.sort();
            metadata.captured_files.dedup();
            *items = gathered.items;
        }
        Ok(())
    }

    /// Writes the archive; begins anew without what cannot be read, and with a private copy of
    /// what does not hold still.
    pub(super) fn archive(
        &mut self,
        items: &mut Vec<Item>,
        metadata: &mut Metadata,
        store: &Store,
    ) -> Result<Whole, BackupError> {
        let mut restarts = 0;
        while restarts < RESTARTS {
            let (name, obstacle) = match self.pass(items, metadata, store)? {
                Pass::Done(whole) => {
                    // What is known of earlier ones has served, and takes memory.
                    let past = self.past.take();
                    let past =
                        past.map(|past| (past.snapshot().to_owned(), past.toc_digest().to_owned()));
                    let had_shelves = self.shelves.take().is_some();
                    let problems = self.problems(&whole)?;
                    if problems.is_empty() {
                        return Ok(*whole);
                    }
                    // Its room is needed.
                    drop(whole);
                    let damaged = was_copied(problems, items)?;
                    if let Some((snapshot, _)) = &past {
                        self.warnings.push(format!(
                            "{snapshot} is damaged, so files were read again that it should hold: \
                             `codex-manager verify {snapshot}` names them"
                        ));
                    }
                    let compressor = archive::compressor(self.level);
                    // Only that one: the items have their places in it.
                    let again = Past::open(store, self.root(), &compressor).map(Arc::new);
                    let again = again.and_then(|past| past.prove(&compressor, self.staging));
                    let is_it = |again: &Proves| {
                        past.as_ref().is_some_and(|(_, digest)| digest == again.toc_digest())
                    };
                    self.past = again.filter(is_it);
                    self.shelves = had_shelves.then(|| {
                        let (past, whose) = (self.past.as_ref(), Whose::of(metadata));
                        Shelves::lend(store, past, whose, (&compressor, self.staging))
                    });
                    self.open_after_all(items, &damaged, metadata)?;
                    restarts += 1;
                    continue;
                }
                Pass::Stopped(name, obstacle) => (name, obstacle),
            };
            let is_it = |item: &Item| item.name.as_str() == name.as_str();
            let Some(number) = items.iter().position(is_it) else { break };
            let Some(item) = items.get(number) else { break };
            match (&item.content, obstacle) {
                (Content::Kept { .. } | Content::Proven { .. }, _) | (_, Obstacle::Unproven) => {
                    self.open_after_all(items, &[ItemName::of(&name)].into(), metadata)?;
                    restarts += 1;
                }
                // It will not be in the way again, however many there are.
                (_, Obstacle::Unreadable(why)) => {
                    let item = items.remove(number);
                    self.skip(item.name.as_str(), why)?;
                }
                (_, Obstacle::Shrank) => {
                    let copy = self.next_copy();
                    let root = self.root().to_owned();
                    if let Some(item) = items.get_mut(number) {
                        item.copy_aside(&root, copy)?;
                    }
                    restarts += 1;
                }
            }
        }
        Err(BackupError::Restless)
    }

    /// Reads a finished archive as any later run would, before it may have a name: the table of
    /// contents, every tar header, and every member that was not read back while it was written. What a
    /// member holds was compared where it was made, so that it is enough that its bytes are the ones
    /// that were made.
    fn problems(&self, whole: &Whole) -> Result<Vec<Problem>, BackupError> {
        let Whole { file, written, .. } = whole;
        let jobs = self.jobs.count();
        let found = archive::read_back(file.path(), written.doubtful.as_ref(), jobs, self.stop)?;
        if found.toc_digest != written.toc_digest {
            return Err(reads_back_wrong(&"its table of contents is not the one that was written"));
        }
        Ok(found.problems)
    }

    fn next_copy(&mut self) -> PathBuf {
        self.copies += 1;
        self.staging.join(self.copies.to_string())
    }

    fn copied(&mut self, path: &Path, name: &ItemName) -> Result<Content, BackupError> {
        let copy = self.next_copy();
        let as_it_is = Content::Copy { path: Place::at(path.to_owned()), look: None };
        // What changes from here on shows in the next look.
        let look = Look::at(path, true).ok().flatten();
        match database::copy(path, &copy) {
            Ok(database::Copied::Database { .. }) => {
                Ok(Content::Copy { path: Place::at(copy), look: look.map(Box::new) })
            }
            Ok(database::Copied::NotADatabase) => {
                let name = name.as_str();
                self.warnings.push(format!("{name} only looks like a database; stored as it is"));
                Ok(as_it_is)
            }
            Err(DatabaseError::Damaged { .. }) if self.force_damaged => {
                let name = name.as_str();
                self.warnings.push(format!("{name} is damaged; stored as it is"));
                Ok(as_it_is)
            }
            // It is asked for again when it is its turn.
            Err(DatabaseError::Disk(error)) if error.kind() == io::ErrorKind::NotFound => {
                Ok(as_it_is)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The members that hold a file which looks like this, if it surely is what the entry of this
    /// number and name holds.
    fn proven(&self, entry: (u32, &EntryName), look: &Look) -> Option<Vec<Known>> {
        self.past.as_ref()?.proven(entry, look, self.now)
    }

    /// The home.
    fn root(&self) -> &Path {
        self.source.as_ref().map_or(Path::new(""), |(root, _)| root)
    }

    fn path(&self, place: &Place, name: &ItemName) -> PathBuf {
        place.path(self.root(), name)
    }

    /// Goes on without something that cannot be read, if that is wanted.
    fn skip(&mut self, name: &str, why: String) -> Result<(), BackupError> {
        if !self.skip_unreadable {
            return Err(BackupError::Unreadable { list: vec![(name.to_owned(), why)] });
        }
        self.skipped.push((name.to_owned(), why));
        Ok(())
    }

    /// Takes items for what they are when they are opened, and copies the databases that were not:
    /// they would know nothing of what happened meanwhile.
    fn open_after_all(
        &mut self,
        items: &mut Vec<Item>,
        names: &BTreeSet<ItemName>,
        metadata: &mut Metadata,
    ) -> Result<(), BackupError> {
        let root = self.root().to_owned();
        for item in items.iter_mut() {
            self.stopped()?;
            match &item.content {
                Content::Proven { path, .. } => {
                    item.content = Content::Database { path: path.clone(), bytes: 0 };
                }
                Content::Kept { path, .. } if names.contains(&item.name) => {
                    // What cannot be opened now is told when it is its turn.
                    let place = path.clone();
                    let name = &item.name;
                    item.content = of_file(name.as_str(), &path.path(&root, name), path.clone())
                        .unwrap_or(Content::File { path: place });
                }
                _ => {}
            }
        }
        self.settle(items, metadata)
    }

    fn pass(
        &mut self,
        items: &[Item],
        metadata: &Metadata,
        store: &Store,
    ) -> Result<Pass, BackupError> {
        let file = NewFile::create_in(&store.backups())?.synced_early();
        let behind = read::open_regular(file.path())?;
        // Batches of members go straight to the file; what is small shares a call.
        let file = io::BufWriter::with_capacity(64 << 10, file);
        let mut writer = Writer::new(file, self.level, self.jobs.count()).with_folder(self.staging);
        writer = writer.with_read_back(behind).with_room_for(items.len());
        if let Some(shelves) = &self.shelves {
            writer = writer.with_library(Arc::<Shelves>::clone(shelves));
        }
        let mut known = Cache::new(String::new(), String::new());
        known.reserve(items.len());
        let mut underway =
            Underway { writer, entries: 0, vanished: Vec::new(), known, room: Vec::new() };
        let mut ours = Some(own_items(metadata)?);
        for item in items {
            if item.name.as_str() != CodexHome::AUTH {
                for item in ours.take().into_iter().flatten() {
                    self.write(&mut underway, &item)?;
                }
            }
            if let Some((name, obstacle)) = self.write(&mut underway, item)? {
                return Ok(Pass::Stopped(name, obstacle));
            }
        }
        for item in ours.into_iter().flatten() {
            self.write(&mut underway, &item)?;
        }
        let Underway { writer, vanished, known, .. } = underway;
        let (file, written) = match writer.finish() {
            Ok(finished) => finished,
            Err(error) => {
                let (name, obstacle) = in_the_way(error)?;
                return Ok(Pass::Stopped(name, obstacle));
            }
        };
        let writing = |source| ArchiveError::Io { doing: "write", source };
        let file = file.into_inner().map_err(|error| writing(error.into_error()))?;
        Ok(Pass::Done(Box::new(Whole { file, written, vanished, known })))
    }

    /// Writes one item. What stands in the way may be in that of one before, for its members are
    /// made meanwhile.
    fn write(
        &mut self,
        underway: &mut Underway,
        item: &Item,
    ) -> Result<Option<(EntryName, Obstacle)>, BackupError> {
        self.stopped()?;
        let Item { mode, modified, content, .. } = item;
        let (mode, modified) = (*mode, *modified);
        let name = &item.name.entry()?;
        let writer = &mut underway.writer;
        match content {
            Content::Folder => {
                let done = writer.dir(name, mode, modified);
                underway.done(done, None, self.now)
            }
            Content::Link(target) => {
                let done = writer.symlink(name, target, modified);
                underway.done(done, None, self.now)
            }
            Content::Bytes(bytes) => {
                let mut bytes = bytes.bytes();
                let done = writer.file(name, mode, modified, length(bytes), &mut bytes);
                underway.done(done, None, self.now)
            }
            Content::Proven { held, .. } => match self.proven((held.0, name), &held.1) {
                // Only SQLite could read it again, and would have to before everything else.
                Some(known) => {
                    let again: Again = Arc::new(|| Ok(None));
                    self.take_over(underway, (name, item), known, held.1, &again)
                }
                None => Ok(Some((name.clone(), Obstacle::Unproven))),
            },
            Content::Kept { path: place, entry, .. } => {
                let path = self.path(place, &item.name);
                let look = Look::at(&path, false).ok().flatten();
                if let Some(look) = look
                    && let Some(known) = self.proven((*entry, name), &look)
                {
                    let again: Again = Arc::new(move || {
                        let opened = read::absent_is_none(read::open_regular(&path));
                        opened.map_err(|error| error.source)
                    });
                    return self.take_over(underway, (name, item), known, look, &again);
                }
                match of_file(name.as_str(), &path, place.clone()) {
                    Ok(Content::Database { .. }) => Ok(Some((name.clone(), Obstacle::Unproven))),
                    Ok(content) => self.read(underway, (name, item), &path, &content),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        underway.vanished(name);
                        Ok(None)
                    }
                    Err(error) => Ok(unreadable(name, &error)),
                }
            }
            Content::Lines { path }
            | Content::File { path }
            | Content::Copy { path, .. }
            | Content::Database { path, .. } => {
                self.read(underway, (name, item), &self.path(path, &item.name), content)
            }
        }
    }

    /// Adds a file with what an earlier archive holds of it.
    fn take_over(
        &mut self,
        underway: &mut Underway,
        (name, item): (&EntryName, &Item),
        known: Vec<Known>,
        look: Look,
        again: &Again,
    ) -> Result<Option<(EntryName, Obstacle)>, BackupError> {
        let Item { mode, modified, .. } = item;
        let size = known.iter().map(|chunk| chunk.size).sum();
        let (advance, stop) = (&mut *self.advance, self.stop);
        let known = known.into_iter().take_while(|_| !stop.load(Ordering::Relaxed));
        let known = known.inspect(|chunk| advance(chunk.size));
        let done = underway.writer.unchanged(name, *mode, *modified, size, known, again);
        self.stopped()?;
        underway.done(done, Some(look), self.now)
    }

    /// Adds a file with what is read from `path`.
    fn read(
        &mut self,
        underway: &mut Underway,
        (name, item): (&EntryName, &Item),
        path: &Path,
        content: &Content,
    ) -> Result<Option<(EntryName, Obstacle)>, BackupError> {
        let Item { mode, modified, .. } = item;
        let (mode, modified) = (*mode, *modified);
        let mut source = match Source::open(path, content) {
            Ok(Some(source)) => source,
            Ok(None) => {
                underway.vanished(name);
                return Ok(None);
            }
            Err(error) => return Ok(unreadable(name, &error)),
        };
        // Only of what is there as a whole, and bears the time that the table of contents tells.
        let look_of = |source: &Source, stored: u64| match content {
            Content::Copy { look, .. } => look.as_deref().copied(),
            _ => {
                let is_whole = stored == source.facts.size && source.facts.modified.0 == modified;
                is_whole.then_some(Look { file: source.facts, beside: None })
            }
        };
        if source.bytes <= IN_MEMORY {
            match source.read_again_if_short(path, content, &mut underway.room) {
                Ok(Some(mut bytes)) => {
                    let size = length(bytes);
                    let look = look_of(&source, size);
                    let done = underway.writer.file(name, mode, modified, size, &mut bytes);
                    (self.advance)(size);
                    return underway.done(done, look, self.now);
                }
                Ok(None) => underway.vanished(name),
                Err(error) => return Ok(unreadable(name, &error)),
            }
            return Ok(None);
        }
        let (advance, stop) = (&mut *self.advance, self.stop);
        let bytes = source.bytes;
        let look = look_of(&source, bytes);
        let mut content = Watched { file: source.file, rest: bytes, advance, stop };
        let done = underway.writer.file(name, mode, modified, bytes, &mut content);
        self.stopped()?;
        underway.done(done, look, self.now)
    }
}

impl Underway {
    /// Counts an entry that was handed in, and notes how its file looked; answers what stands in
    /// the way.
    fn done<T>(
        &mut self,
        done: Result<T, ArchiveError>,
        look: Option<Look>,
        now: DateTime<Utc>,
    ) -> Result<Option<(EntryName, Obstacle)>, BackupError> {
        match done {
            Ok(_) => {}
            Err(error) => return in_the_way(error).map(Some),
        }
        if let Some(look) = look {
            self.known.note(self.entries, &look, now);
        }
        self.entries += 1;
        Ok(None)
    }

    fn vanished(&mut self, name: &EntryName) {
        let why = "it went away while the home was read".to_owned();
        self.vanished.push((name.to_string(), why));
    }
}

fn unreadable(name: &EntryName, error: &DiskError) -> Option<(EntryName, Obstacle)> {
    Some((name.clone(), Obstacle::Unreadable(error.source.to_string())))
}

/// The files of which an earlier archive has damaged members, that were copied unread.
fn was_copied(problems: Vec<Problem>, items: &[Item]) -> Result<BTreeSet<ItemName>, BackupError> {
    let is_copied =
        |item: &&Item| matches!(item.content, Content::Kept { .. } | Content::Proven { .. });
    let copied: BTreeSet<_> = items.iter().filter(is_copied).map(|item| &item.name).collect();
    let mut damaged = BTreeSet::new();
    for problem in problems {
        let name = problem.name.as_ref().filter(|_| problem.chunk.is_some()).map(ItemName::of);
        match name.filter(|name| copied.contains(name)) {
            Some(name) => damaged.insert(name),
            None => return Err(reads_back_wrong(&problem)),
        };
    }
    Ok(damaged)
}

fn reads_back_wrong(what: &dyn Display) -> BackupError {
    let source = io::Error::other(format!("the new archive reads back wrong: {what}"));
    ArchiveError::Io { doing: "write", source }.into()
}

/// What an error of the writer says about a file; any other ends the backup.
fn in_the_way(error: ArchiveError) -> Result<(EntryName, Obstacle), BackupError> {
    match error {
        ArchiveError::ContentChanged { name, .. } => Ok((name, Obstacle::Shrank)),
        ArchiveError::Source { name, source } => {
            Ok((name, Obstacle::Unreadable(source.to_string())))
        }
        error => Err(error.into()),
    }
}

impl Item {
    /// Puts a private copy of a file in its place: all of it that there is at one look. A file
    /// that went away is asked for again when it is its turn.
    fn copy_aside(&mut self, root: &Path, to: PathBuf) -> Result<(), BackupError> {
        let (Content::Lines { path: place }
        | Content::File { path: place }
        | Content::Copy { path: place, .. }
        | Content::Database { path: place, .. }) = &mut self.content
        else {
            return Ok(());
        };
        let path = &place.path(root, &self.name);
        let opened = read::open_regular(path);
        let Some(mut from) = read::absent_is_none(opened)? else { return Ok(()) };
        let failed = |source| DiskError { action: "copy", path: path.clone(), source };
        let mut copy = NewFile::create_in(to.parent().unwrap_or(&to))?;
        io::copy(&mut from, &mut copy).and_then(|_| copy.flush()).map_err(failed)?;
        copy.commit(&to, Overwrite::Never)?;
        *place = Place::at(to);
        Ok(())
    }
}
