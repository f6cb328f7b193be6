//! How does a plan become an archive and its sidecar?

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::assemble::{Build, Whole};
use super::cache::Cache;
use super::place::Placing;
use super::reuse::{Shelves, Whose};
use super::{BackupError, Content, Item, ItemName, Made, OURS, Plan, describe, place};
use crate::account::Secret;
use crate::codex::auth;
use crate::codex::home::CodexHome;
use crate::disk::archive::{self, ArchiveError, Written};
use crate::disk::lock::Lock;
use crate::disk::replace;
use crate::disk::tree;
use crate::quota::Entry;
use crate::snapshot::metadata::{ArchiveFacts, LoginMember, MEMBER, Metadata};
use crate::snapshot::operations::{Change, Record, Step, Transaction};
use crate::snapshot::store::Store;

/// A snapshot that is written, checked and synced, but for its names.
#[derive(Debug)]
pub struct Prepared {
    /// What it will be.
    pub made: Made,
    /// The steps that give it its names.
    pub steps: Vec<Step>,
    /// What they change.
    pub changes: Vec<Change>,
    /// How the files looked that are in it, and in which home: worth remembering once it has its
    /// name.
    pub known: Option<(PathBuf, Cache)>,
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
    let Prepared { mut made, steps, changes, known } = prepare(plan, store, advance, stop)?;
    let record = record.map(|record| Record { changes, ..record });
    let transaction = Transaction { record, ledger, steps, discards: Vec::new() };
    made.warnings.extend(transaction.run(store, lock)?);
    if let Some((home, cache)) = known
        && let Err(error) = store.know_files(&home, &cache, lock)
    {
        made.warnings.push(error.to_string());
    }
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
    let Plan { name, mut items, mut metadata, login, replaces, past, level, .. } = plan;
    let compressor = archive::compressor(level);
    let past = past.and_then(|past| past.prove(&compressor, staging));
    // A login alone is compressed sooner than an earlier one is found.
    let shelves = (plan.source.is_some() && metadata.kind.has_state())
        .then(|| Shelves::lend(store, past.as_ref(), Whose::of(&metadata), (&compressor, staging)));
    let mut build = Build {
        staging,
        copies: 0,
        skip_unreadable: plan.skip_unreadable,
        force_damaged: plan.force_damaged,
        level,
        source: plan.source,
        past,
        shelves,
        now: plan.now,
        skipped: Vec::new(),
        warnings: plan.warnings,
        advance,
        stop,
        jobs: plan.jobs,
    };
    if let Some(path) = &login {
        refresh_login(path, &mut items, &mut metadata)?;
    }
    build.settle(&mut items, &mut metadata)?;
    let whole = build.archive(&mut items, &mut metadata, store)?;
    let Whole { file, written, vanished, mut known } = whole;
    let has_login_first = items.first().is_some_and(|item| item.name.as_str() == CodexHome::AUTH);
    let stored_login = login_bytes(&mut items).cloned();
    build.stopped()?;
    if login.is_some_and(|path| !is_still(&path, stored_login.as_ref())) {
        build.warnings.push(
            "auth.json was written while the backup ran, the snapshot holds it as it was before: \
             `codex-manager backup --auth-only` stores the new one"
                .to_owned(),
        );
    }
    metadata.archive = Some(ArchiveFacts {
        name: name.archive(),
        bytes: written.bytes,
        toc_digest: written.toc_digest.clone(),
        files: written.files,
        content_bytes: written.content_bytes,
        compressor: Some(compressor),
        login: written.first.as_ref().filter(|_| has_login_first).map(LoginMember::of),
    });
    let Build { skipped: late, warnings, source, .. } = build;
    metadata.excluded.extend(late.iter().map(|(path, _)| path.clone()));
    metadata.excluded.sort();
    let placing = place::prepare(store, &name, file, &metadata, replaces.is_some())?;
    let (archive, sidecar) = (store.archive(&name), store.sidecar(&name));
    let skipped = plan.unreadable.into_iter().chain(late).collect();
    (known.snapshot, known.toc_digest) = (name.to_string(), written.toc_digest);
    let known = source.filter(|_| metadata.kind.has_state()).map(|(root, _)| (root, known));
    let Written { reused_bytes, compressed_bytes, .. } = written;
    let made = Made {
        name,
        archive,
        sidecar,
        metadata,
        vanished,
        skipped,
        warnings,
        reused_bytes,
        compressed_bytes,
    };
    let Placing { steps, changes } = placing;
    Ok(Prepared { made, steps, changes, known })
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
fn is_still(path: &Path, stored: Option<&Secret>) -> bool {
    let found = auth::read(path).ok().flatten();
    found.as_ref().map(|file| &file.bytes) == stored
}

fn login_bytes(items: &mut [Item]) -> Option<&mut Secret> {
    let login = items.iter_mut().find(|item| item.name.as_str() == CodexHome::AUTH)?;
    if let Content::Bytes(bytes) = &mut login.content { Some(bytes) } else { None }
}

/// Our folder and the metadata in it.
pub(super) fn own_items(metadata: &Metadata) -> Result<Vec<Item>, BackupError> {
    let name = |text: &str| -> Result<ItemName, ArchiveError> { Ok(ItemName::of(&text.parse()?)) };
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
