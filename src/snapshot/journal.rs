//! What if a command is killed in the middle of a change?
//!
//! `journal.json` in the manager home tells what is about to happen, from before the first step
//! until all is noted down. Whoever opens the store for changes and finds it finishes what was
//! begun, or takes it back, before anything else. Each kind of work knows how: the steps of a
//! transaction, a home that is exchanged, a login that is put in place. There is one journal, for
//! one command at a time holds the lock.

use std::io;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::disk::lock::Lock;
use crate::disk::{DiskError, read, replace};
use crate::snapshot::operations::OperationError;
use crate::snapshot::operations::transaction::Paper;
use crate::snapshot::store::Store;
use crate::snapshot::{restore, switch};

/// A larger one is not read, in bytes.
const MAX_BYTES: u64 = 64 << 20;

/// The format of the file.
const VERSION: u32 = 1;

/// Which work it is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// Steps in the manager home.
    Steps,
    /// A home that is built and takes its place.
    Home,
    /// A login that takes its place.
    Login,
}

#[derive(Deserialize, Serialize)]
struct Page<T> {
    schema_version: u32,
    kind: Kind,
    #[serde(flatten)]
    work: T,
}

/// Writes down, synced, what is about to happen.
///
/// # Errors
///
/// [`OperationError::Unfinished`] while one stands; when the disk refuses.
pub(super) fn begin(
    store: &Store,
    kind: Kind,
    work: &impl Serialize,
) -> Result<(), OperationError> {
    let path = store.journal();
    let Err(error) = replace::write_new(&path, &bytes(&path, kind, work)?) else { return Ok(()) };
    if error.kind() == io::ErrorKind::AlreadyExists {
        return Err(OperationError::Unfinished { path });
    }
    // It may have its name although the last step failed, syncing the folder. Nothing has
    // happened yet, so it may go; one that cannot is finished by the next command.
    let _stays = replace::remove_file(&path);
    Err(error.into())
}

/// Writes down, synced, how far it has come.
///
/// # Errors
///
/// When the disk refuses; what was written down before stays.
pub(super) fn update(path: &Path, kind: Kind, work: &impl Serialize) -> Result<(), DiskError> {
    replace::write(path, &bytes(path, kind, work)?)
}

fn bytes(path: &Path, kind: Kind, work: &impl Serialize) -> Result<Vec<u8>, DiskError> {
    // Only a path that is not UTF-8 has no JSON form.
    serde_json::to_vec_pretty(&Page { schema_version: VERSION, kind, work })
        .map_err(|error| DiskError { action: "write", path: path.to_owned(), source: error.into() })
}

/// Finishes what an interrupted command began, or takes it back; the lock is held. Answers what a
/// person should know. A journal that cannot be read stays as it is.
///
/// # Errors
///
/// When the disk refuses; the journal stays.
pub(super) fn finish(store: &Store, lock: &Lock) -> Result<Vec<String>, DiskError> {
    let path = store.journal();
    let Some(bytes) = read::optional(&path, MAX_BYTES)? else { return Ok(Vec::new()) };
    let page = serde_json::from_slice::<Page<Value>>(&bytes).ok();
    let page = page.filter(|page| page.schema_version == VERSION);
    let done = page.and_then(|Page { kind, work, .. }| match kind {
        Kind::Steps => work_of::<Paper>(work).map(|paper| paper.finish(store, lock)),
        Kind::Home => work_of(work).map(|home| restore::finish(home, store, lock)),
        Kind::Login => work_of(work).map(|login| switch::finish(&login, store, lock)),
    });
    done.unwrap_or_else(|| {
        let what = "an operation was interrupted, and its journal cannot be read: look beside the \
                    Codex home for one that was replaced, and for copies of a login named \
                    .codex-manager-….tmp";
        Ok(vec![format!("{}: {what}", path.display())])
    })
}

fn work_of<T: DeserializeOwned>(work: Value) -> Option<T> {
    serde_json::from_value(work).ok()
}
