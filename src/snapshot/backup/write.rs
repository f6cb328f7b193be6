//! How does a plan become an archive, a sidecar and a name?

use std::io::{self, Read as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::source::{IN_MEMORY, Source, Watched, length};
use super::{BackupError, Content, Item, LEVEL, Made, OURS, Plan};
use crate::codex::home::CodexHome;
use crate::disk::archive::{Archive, ArchiveError, EntryName, Limits, Writer, Written};
use crate::disk::database::{self, DatabaseError};
use crate::disk::replace::{self, NewFile, Overwrite};
use crate::disk::{DiskError, tree};
use crate::snapshot::metadata::{ArchiveFacts, MEMBER, Metadata};
use crate::snapshot::name::SnapshotName;
use crate::snapshot::store::Store;

/// Writes the snapshot. `advance` hears of every byte of content that is done.
///
/// The databases are copied first, then everything is read in the order of the archive, so that
/// no row of an index lacks its session file. The archive is read back and checked before it
/// gets its name; its name appears last.
///
/// # Errors
///
/// [`BackupError`]; nothing has appeared in the store then.
pub fn apply(
    plan: Plan,
    store: &Store,
    advance: &mut dyn FnMut(u64),
    stop: &AtomicBool,
) -> Result<Made, BackupError> {
    let staging = tree::staging_dir(&store.tmp().join("database"))?;
    let made = build(plan, store, &staging, advance, stop);
    let removed = replace::remove_tree(&staging);
    let made = made?;
    removed?;
    Ok(made)
}

fn build(
    plan: Plan,
    store: &Store,
    staging: &Path,
    advance: &mut dyn FnMut(u64),
    stop: &AtomicBool,
) -> Result<Made, BackupError> {
    let Plan { name, mut items, metadata, warnings, replaces, force_damaged, .. } = plan;
    let mut build = Build { missed: Vec::new(), warnings, advance, stop };
    for (number, item) in items.iter_mut().enumerate() {
        build.settle(item, &staging.join(number.to_string()), force_damaged)?;
    }
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let file = NewFile::create_in(&store.backups())?;
    let mut writer = Writer::new(io::BufWriter::with_capacity(1 << 20, file), LEVEL, workers);
    let mut ours = Some(own_items(&metadata)?);
    for item in items {
        if item.name.as_str() != CodexHome::AUTH
            && let Some(ours) = ours.take()
        {
            for item in ours {
                build.write(&mut writer, item)?;
            }
        }
        build.write(&mut writer, item)?;
    }
    for item in ours.into_iter().flatten() {
        build.write(&mut writer, item)?;
    }
    let (file, written) = writer.finish()?;
    let file = file.into_inner().map_err(|error| writing(error.into_error()))?;
    check(file.path(), &written, stop)?;
    build.stopped()?;
    let mut metadata = metadata;
    metadata.archive = Some(ArchiveFacts {
        name: name.archive(),
        bytes: written.bytes,
        toc_digest: written.toc_digest,
        files: written.files,
        content_bytes: written.content_bytes,
    });
    if let Some(old) = replaces {
        retire(store, &old)?;
    }
    let (archive, sidecar) = (store.archive(&name), store.sidecar(&name));
    replace::write_new(&sidecar, &metadata.to_bytes())?;
    if let Err(error) = file.commit(&archive, Overwrite::Never) {
        replace::remove_file(&sidecar)?;
        return Err(error.into());
    }
    Ok(Made { name, archive, sidecar, metadata, missed: build.missed, warnings: build.warnings })
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
            content: Content::Bytes(metadata.to_bytes()),
        },
    ])
}

/// Reads a finished archive as any later run would, before it may have a name.
fn check(path: &Path, written: &Written, stop: &AtomicBool) -> Result<(), BackupError> {
    let archive = Archive::open(path, &Limits::default())?;
    let agrees = archive.toc_digest() == Some(written.toc_digest.as_str());
    let mut problems = archive.verify(&mut |_| {}, stop)?;
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

/// Moves a snapshot to `trash/`: its archive first, which is what makes it one.
fn retire(store: &Store, name: &SnapshotName) -> Result<(), DiskError> {
    let mut resting = name.clone();
    while store.trash().join(resting.archive()).symlink_metadata().is_ok() {
        resting = resting.next();
    }
    replace::rename_new(&store.archive(name), &store.trash().join(resting.archive()))?;
    if store.sidecar(name).symlink_metadata().is_ok() {
        let rest = store.trash().join(resting.sidecar());
        replace::remove_file(&rest)?;
        replace::rename_new(&store.sidecar(name), &rest)?;
    }
    Ok(())
}

struct Build<'a> {
    missed: Vec<(String, String)>,
    warnings: Vec<String>,
    advance: &'a mut dyn FnMut(u64),
    stop: &'a AtomicBool,
}

impl Build<'_> {
    fn stopped(&self) -> Result<(), BackupError> {
        if self.stop.load(Ordering::Relaxed) { Err(BackupError::Interrupted) } else { Ok(()) }
    }

    /// Puts a private copy in the place of a database.
    fn settle(&mut self, item: &mut Item, copy: &Path, force: bool) -> Result<(), BackupError> {
        let Content::Database { path, .. } = &item.content else { return Ok(()) };
        self.stopped()?;
        let as_it_is = Content::File { path: path.clone() };
        item.content = match database::copy(path, copy) {
            Ok(database::Copied::Database { .. }) => Content::File { path: copy.to_owned() },
            Ok(database::Copied::NotADatabase) => {
                let name = &item.name;
                self.warnings.push(format!("{name} only looks like a database; stored as it is"));
                as_it_is
            }
            Err(DatabaseError::Damaged { .. }) if force => {
                self.warnings.push(format!("{} is damaged; stored as it is", item.name));
                as_it_is
            }
            Err(DatabaseError::Disk(error)) if error.kind() == io::ErrorKind::NotFound => as_it_is,
            Err(error) => return Err(error.into()),
        };
        Ok(())
    }

    fn write<W: io::Write>(
        &mut self,
        writer: &mut Writer<W>,
        item: Item,
    ) -> Result<(), BackupError> {
        self.stopped()?;
        let Item { name, mode, modified, content } = item;
        let path = match &content {
            Content::Folder => return Ok(writer.dir(&name, mode, modified)?),
            Content::Link(target) => return Ok(writer.symlink(&name, target, modified)?),
            Content::Bytes(bytes) => {
                writer.file(&name, mode, modified, length(bytes), &mut bytes.as_slice())?;
                return Ok(());
            }
            Content::Lines { path } | Content::File { path } | Content::Database { path, .. } => {
                path
            }
        };
        let Some(mut source) = Source::open(path, &content)? else { return self.vanished(&name) };
        if source.bytes <= IN_MEMORY {
            let bytes = match source.read_again_if_short(path, &content)? {
                Some(bytes) => bytes,
                None => return self.vanished(&name),
            };
            writer.file(&name, mode, modified, length(&bytes), &mut bytes.as_slice())?;
            (self.advance)(length(&bytes));
        } else {
            let (advance, stop) = (&mut *self.advance, self.stop);
            let mut content = Watched { file: source.file.take(source.bytes), advance, stop };
            let written = writer.file(&name, mode, modified, source.bytes, &mut content);
            self.stopped()?;
            written?;
        }
        Ok(())
    }

    fn vanished(&mut self, name: &EntryName) -> Result<(), BackupError> {
        let why = "it went away while the home was read".to_owned();
        self.missed.push((name.to_string(), why));
        Ok(())
    }
}
