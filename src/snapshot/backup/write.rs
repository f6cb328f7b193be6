//! How does a plan become an archive and its sidecar?
//!
//! What somebody else writes meanwhile is stored as it was at one look: a large file that got
//! shorter under the reader is copied aside and the archive begun anew.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::gather::Gathered;
use super::place::Placing;
use super::source::{IN_MEMORY, Source, Watched};
use super::{BackupError, Content, Item, Listed, Made, OURS, Plan, describe, length, place};
use crate::account::Secret;
use crate::codex::auth;
use crate::codex::home::CodexHome;
use crate::disk::archive::{self, Archive, ArchiveError, EntryName, Limits, Writer, Written};
use crate::disk::database::{self, DatabaseError};
use crate::disk::lock::Lock;
use crate::disk::replace::{self, NewFile, Overwrite};
use crate::disk::{DiskError, Jobs, tree};
use crate::quota::Entry;
use crate::snapshot::metadata::{ArchiveFacts, LoginMember, MEMBER, Metadata};
use crate::snapshot::operations::{Change, Record, Step, Transaction};
use crate::snapshot::store::Store;

/// How often an archive is begun anew because a file changed or could not be read to its end.
const RESTARTS: usize = 8;

/// A snapshot that is written, checked and synced, but for its names.
#[derive(Debug)]
pub struct Prepared {
    /// What it will be.
    pub made: Made,
    /// The steps that give it its names.
    pub steps: Vec<Step>,
    /// What they change.
    pub changes: Vec<Change>,
}

/// Writes the snapshot as the operation `record`, if there is one. `advance` hears of every byte
/// of content that is done.
///
/// # Errors
///
/// [`BackupError`]; nothing has appeared in the store then, and nothing has gone.
pub fn apply(
    plan: Plan,
    store: &Store,
    lock: &Lock,
    (record, ledger): (Option<Record>, Vec<Entry>),
    advance: &mut dyn FnMut(u64),
    stop: &AtomicBool,
) -> Result<Made, BackupError> {
    let Prepared { mut made, steps, changes } = prepare(plan, store, advance, stop)?;
    let record = record.map(|record| Record { changes, ..record });
    let transaction = Transaction { record, ledger, steps, discards: Vec::new() };
    made.warnings.extend(transaction.run(store, lock)?);
    Ok(made)
}

/// Writes the snapshot, but for its names.
///
/// The databases are copied first, then sessions that began meanwhile are looked for, then
/// everything is read in the order of the archive, so that no row of an index lacks its file. The
/// archive is read back and checked.
///
/// # Errors
///
/// [`BackupError`]; nothing has appeared in the store then.
pub fn prepare(
    plan: Plan,
    store: &Store,
    advance: &mut dyn FnMut(u64),
    stop: &AtomicBool,
) -> Result<Prepared, BackupError> {
    let staging = tree::staging_dir(&store.tmp().join("database"))?;
    let prepared = build(plan, store, &staging, advance, stop);
    let removed = replace::remove_tree(&staging);
    let mut prepared = prepared?;
    if let Err(error) = removed {
        // The snapshot is there; what is left over goes when the store is opened next.
        prepared.made.warnings.push(error.to_string());
    }
    Ok(prepared)
}

fn build(
    plan: Plan,
    store: &Store,
    staging: &Path,
    advance: &mut dyn FnMut(u64),
    stop: &AtomicBool,
) -> Result<Prepared, BackupError> {
    let Plan { name, mut items, mut metadata, login, source, replaces, force_damaged, .. } = plan;
    let mut build = Build {
        staging,
        copies: 0,
        skip_unreadable: plan.skip_unreadable,
        skipped: Vec::new(),
        warnings: plan.warnings,
        advance,
        stop,
        level: plan.level,
        jobs: plan.jobs,
    };
    if let Some(path) = &login {
        refresh_login(path, &mut items, &mut metadata)?;
    }
    let has_index = items.iter().any(|item| matches!(item.content, Content::Database { .. }));
    build.settle(&mut items, force_damaged)?;
    if let Some((root, request)) = source.filter(|_| has_index) {
        let gathered = Gathered::with_newcomers(items, &root, &request)?;
        metadata.captured_files.extend(gathered.captured);
        metadata.captured_files.sort();
        metadata.captured_files.dedup();
        items = gathered.items;
    }
    let (file, written, vanished) = build.archive(&mut items, &metadata, store)?;
    check(file.path(), &written, plan.jobs, stop)?;
    build.stopped()?;
    let has_login_first = items.first().is_some_and(|item| item.name.as_str() == CodexHome::AUTH);
    if login.is_some_and(|path| !is_still(&path, &items)) {
        build.warnings.push(
            "auth.json was written while the backup ran, the snapshot holds it as it was before: \
             `codex-manager backup --auth-only` stores the new one"
                .to_owned(),
        );
    }
    metadata.archive = Some(ArchiveFacts {
        name: name.archive(),
        bytes: written.bytes,
        toc_digest: written.toc_digest,
        files: written.files,
        content_bytes: written.content_bytes,
        compressor: Some(archive::compressor(plan.level)),
        login: written.first.as_ref().filter(|_| has_login_first).map(LoginMember::of),
    });
    let Build { skipped: late, warnings, .. } = build;
    metadata.excluded.extend(late.iter().map(|(path, _)| path.clone()));
    metadata.excluded.sort();
    let placing = place::prepare(store, &name, file, &metadata, replaces.is_some())?;
    let (archive, sidecar) = (store.archive(&name), store.sidecar(&name));
    let skipped = plan.unreadable.into_iter().chain(late).collect();
    let made = Made { name, archive, sidecar, metadata, vanished, skipped, warnings };
    let Placing { steps, changes } = placing;
    Ok(Prepared { made, steps, changes })
}

/// Reads the login once more, for Codex may have refreshed it since the plan was made. What is
/// stored and what the sidecar says of it then come from this one reading.
fn refresh_login(
    path: &Path,
    items: &mut [Item],
    metadata: &mut Metadata,
) -> Result<(), BackupError> {
    let Some(bytes) = login_bytes(items) else { return Ok(()) };
    let changed = || BackupError::LoginChanged { path: path.to_owned() };
    let found = auth::read(path)?.ok_or_else(changed)?;
    if found.bytes == *bytes {
        return Ok(());
    }
    if found.key.is_none() || found.mixed.is_some() || found.key != metadata.key() {
        return Err(changed());
    }
    describe::describe_login(metadata, &found);
    *bytes = found.bytes;
    Ok(())
}

/// Whether the file at `path` holds the login that was stored.
fn is_still(path: &Path, items: &[Item]) -> bool {
    let stored = items.iter().find_map(|item| match &item.content {
        Content::Bytes(bytes) if item.name.as_str() == CodexHome::AUTH => Some(bytes),
        _ => None,
    });
    let found = auth::read(path).ok().flatten();
    found.as_ref().map(|file| &file.bytes) == stored
}

fn login_bytes(items: &mut [Item]) -> Option<&mut Secret> {
    let login = items.iter_mut().find(|item| item.name.as_str() == CodexHome::AUTH)?;
    if let Content::Bytes(bytes) = &mut login.content { Some(bytes) } else { None }
}

/// Our folder and the metadata in it.
fn own_items(metadata: &Metadata) -> Result<Vec<Item>, BackupError> {
    let name = |text: &str| -> Result<EntryName, ArchiveError> { Ok(text.parse()?) };
    let modified = metadata.created_at.map_or(0, |at| at.instant().timestamp());
    Ok(vec![
        Item { name: name(OURS)?, mode: 0o700, modified, content: Content::Folder },
        Item {
            name: name(MEMBER)?,
            mode: 0o600,
            modified,
            content: Content::Bytes(metadata.to_bytes().into()),
        },
    ])
}

/// Reads a finished archive as any later run would, before it may have a name: the table of contents,
/// every tar header, and every member. What a member holds was compared where it was made, so
/// that it is enough that its bytes are the ones that were made.
fn check(path: &Path, written: &Written, jobs: Jobs, stop: &AtomicBool) -> Result<(), BackupError> {
    let archive = Archive::open(path, &Limits::default())?.with_jobs(jobs.count());
    let agrees = archive.toc_digest() == Some(written.toc_digest.as_str());
    let mut problems = archive.verify_members(&mut |_| {}, stop)?;
    match (agrees, problems.pop()) {
        (true, None) => Ok(()),
        (_, problem) => {
            let what = problem.map_or_else(
                || "its table of contents is not the one that was written".to_owned(),
                |problem| problem.to_string(),
            );
            let error = io::Error::other(format!("the new archive reads back wrong: {what}"));
            Err(writing(error).into())
        }
    }
}

fn writing(source: io::Error) -> ArchiveError {
    ArchiveError::Io { doing: "write", source }
}

struct Build<'a> {
    /// A private folder for copies.
    staging: &'a Path,
    copies: usize,
    skip_unreadable: bool,
    /// What could not be read after all.
    skipped: Listed,
    warnings: Vec<String>,
    advance: &'a mut dyn FnMut(u64),
    stop: &'a AtomicBool,
    level: u32,
    jobs: Jobs,
}

/// What stands in the way of an archive that was begun.
enum Obstacle {
    /// A file got shorter under the reader.
    Shrank,
    /// A file cannot be read.
    Unreadable(String),
}

/// An archive that was begun: complete, or stopped by the item of this number.
enum Pass {
    Done(NewFile, Written, Listed),
    Stopped(usize, Obstacle),
}

impl Build<'_> {
    fn stopped(&self) -> Result<(), BackupError> {
        if self.stop.load(Ordering::Relaxed) { Err(BackupError::Interrupted) } else { Ok(()) }
    }

    fn next_copy(&mut self) -> PathBuf {
        self.copies += 1;
        self.staging.join(self.copies.to_string())
    }

    /// Puts private copies in the place of the databases.
    fn settle(&mut self, items: &mut Vec<Item>, force: bool) -> Result<(), BackupError> {
        let mut settled = Vec::with_capacity(items.len());
        for mut item in items.drain(..) {
            if let Content::Database { path, .. } = &item.content {
                self.stopped()?;
                match self.copied(path, &item.name, force) {
                    Ok(content) => item.content = content,
                    Err(BackupError::Database(DatabaseError::Disk(error)))
                        if error.path == *path =>
                    {
                        self.skip(item.name.as_str(), error.source.to_string())?;
                        continue;
                    }
                    Err(error) => return Err(error),
                }
            }
            settled.push(item);
        }
        *items = settled;
        Ok(())
    }

    fn copied(
        &mut self,
        path: &Path,
        name: &EntryName,
        force: bool,
    ) -> Result<Content, BackupError> {
        let copy = self.next_copy();
        let as_it_is = Content::File { path: path.to_owned() };
        match database::copy(path, &copy) {
            Ok(database::Copied::Database { .. }) => Ok(Content::File { path: copy }),
            Ok(database::Copied::NotADatabase) => {
                self.warnings.push(format!("{name} only looks like a database; stored as it is"));
                Ok(as_it_is)
            }
            Err(DatabaseError::Damaged { .. }) if force => {
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

    /// Goes on without something that cannot be read, if that is wanted.
    fn skip(&mut self, name: &str, why: String) -> Result<(), BackupError> {
        if !self.skip_unreadable {
            return Err(BackupError::Unreadable { list: vec![(name.to_owned(), why)] });
        }
        self.skipped.push((name.to_owned(), why));
        Ok(())
    }

    /// Writes the archive; begins anew without what cannot be read, and with a private copy of
    /// what does not hold still.
    fn archive(
        &mut self,
        items: &mut Vec<Item>,
        metadata: &Metadata,
        store: &Store,
    ) -> Result<(NewFile, Written, Listed), BackupError> {
        for _ in 0..RESTARTS {
            let (number, obstacle) = match self.pass(items, metadata, store)? {
                Pass::Done(file, written, vanished) => return Ok((file, written, vanished)),
                Pass::Stopped(number, obstacle) => (number, obstacle),
            };
            match obstacle {
                Obstacle::Unreadable(why) => {
                    let item = items.remove(number);
                    self.skip(item.name.as_str(), why)?;
                }
                Obstacle::Shrank => {
                    let copy = self.next_copy();
                    if let Some(item) = items.get_mut(number) {
                        item.content.copy_aside(copy)?;
                    }
                }
            }
        }
        Err(BackupError::Restless)
    }

    fn pass(
        &mut self,
        items: &[Item],
        metadata: &Metadata,
        store: &Store,
    ) -> Result<Pass, BackupError> {
        let file = NewFile::create_in(&store.backups())?;
        // Batches of members go straight to the file; what is small shares a call.
        let out = io::BufWriter::with_capacity(64 << 10, file);
        let mut writer = Writer::new(out, self.level, self.jobs.count());
        let mut vanished = Vec::new();
        let mut ours = Some(own_items(metadata)?);
        for (number, item) in items.iter().enumerate() {
            if item.name.as_str() != CodexHome::AUTH {
                for item in ours.take().into_iter().flatten() {
                    self.write(&mut writer, &item, &mut vanished)?;
                }
            }
            if let Some(obstacle) = self.write(&mut writer, item, &mut vanished)? {
                return Ok(Pass::Stopped(number, obstacle));
            }
        }
        for item in ours.into_iter().flatten() {
            self.write(&mut writer, &item, &mut vanished)?;
        }
        let (file, written) = writer.finish()?;
        let file = file.into_inner().map_err(|error| writing(error.into_error()))?;
        Ok(Pass::Done(file, written, vanished))
    }

    fn write<W: io::Write>(
        &mut self,
        writer: &mut Writer<W>,
        item: &Item,
        vanished: &mut Listed,
    ) -> Result<Option<Obstacle>, BackupError> {
        self.stopped()?;
        let Item { name, mode, modified, content } = item;
        let (mode, modified) = (*mode, *modified);
        let path = match content {
            Content::Folder => {
                writer.dir(name, mode, modified)?;
                return Ok(None);
            }
            Content::Link(target) => {
                writer.symlink(name, target, modified)?;
                return Ok(None);
            }
            Content::Bytes(bytes) => {
                let mut bytes = bytes.bytes();
                writer.file(name, mode, modified, length(bytes), &mut bytes)?;
                return Ok(None);
            }
            Content::Lines { path } | Content::File { path } | Content::Database { path, .. } => {
                path
            }
        };
        let gone = (name.to_string(), "it went away while the home was read".to_owned());
        let mut source = match Source::open(path, content) {
            Ok(Some(source)) => source,
            Ok(None) => {
                vanished.push(gone);
                return Ok(None);
            }
            Err(error) => return Ok(Some(Obstacle::Unreadable(error.source.to_string()))),
        };
        if source.bytes <= IN_MEMORY {
            match source.read_again_if_short(path, content) {
                Ok(Some(bytes)) => {
                    writer.file(name, mode, modified, length(&bytes), &mut bytes.as_slice())?;
                    (self.advance)(length(&bytes));
                }
                Ok(None) => vanished.push(gone),
                Err(error) => return Ok(Some(Obstacle::Unreadable(error.source.to_string()))),
            }
            return Ok(None);
        }
        let (advance, stop) = (&mut *self.advance, self.stop);
        let bytes = source.bytes;
        let mut content = Watched { file: source.file, rest: bytes, advance, stop };
        let written = writer.file(name, mode, modified, bytes, &mut content);
        self.stopped()?;
        match written {
            Ok(_) => Ok(None),
            Err(ArchiveError::ContentChanged { .. }) => Ok(Some(Obstacle::Shrank)),
            Err(ArchiveError::Source { source, .. }) => {
                Ok(Some(Obstacle::Unreadable(source.to_string())))
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Content {
    /// Puts a private copy of a file in its place: all of it that there is at one look. A file
    /// that went away is asked for again when it is its turn.
    fn copy_aside(&mut self, to: PathBuf) -> Result<(), BackupError> {
        let (Self::Lines { path } | Self::File { path } | Self::Database { path, .. }) = self
        else {
            return Ok(());
        };
        let opened = crate::disk::read::open_regular(path);
        let Some(mut from) = crate::disk::read::absent_is_none(opened)? else { return Ok(()) };
        let failed = |source| DiskError { action: "copy", path: path.clone(), source };
        let mut copy = NewFile::create_in(to.parent().unwrap_or(&to))?;
        io::copy(&mut from, &mut copy).and_then(|_| copy.flush()).map_err(failed)?;
        copy.commit(&to, Overwrite::Never)?;
        *path = to;
        Ok(())
    }
}
