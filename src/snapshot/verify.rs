//! Is a snapshot what it was when it was made?

use std::sync::atomic::AtomicBool;

use serde::Serialize;

use crate::account::AccountKey;
use crate::codex::auth;
use crate::codex::home::CodexHome;
use crate::disk::archive::{Archive, EntryName, Layout};
use crate::snapshot::logins;
use crate::snapshot::store::{self, Stored};

/// What came of checking a snapshot.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Every byte is what its digest says.
    Ok,
    /// Something is not.
    Corrupt,
    /// It reads well, but was written without digests.
    Unverifiable,
}

/// Checks one snapshot: the archive against the table in it, the table against the sidecar, the
/// copy of the metadata and the owner of the login against the sidecar.
///
/// `advance` hears of every byte of content; nothing is written.
#[must_use]
pub fn verify(
    stored: &Stored,
    advance: &mut dyn FnMut(u64),
    stop: &AtomicBool,
) -> (Verdict, Vec<String>) {
    let archive = match logins::open(stored) {
        Ok(archive) => archive,
        Err(error) => return (Verdict::Corrupt, vec![error.to_string()]),
    };
    let mut problems = Vec::new();
    if logins::is_another(&archive, stored) {
        problems.push("its table of contents is not the one the sidecar names".to_owned());
    }
    if let Some((_, what)) = store::damaged_sidecar(stored) {
        problems.push(format!("its sidecar {what}"));
    }
    match archive.verify(advance, stop) {
        Ok(found) => problems.extend(found.iter().map(ToString::to_string)),
        Err(error) => problems.push(error.to_string()),
    }
    if problems.is_empty() {
        problems.extend(contradiction(stored, &archive));
    }
    let verdict = match (problems.is_empty(), archive.layout()) {
        (false, _) => Verdict::Corrupt,
        (true, Layout::Seekable) => Verdict::Ok,
        (true, Layout::Plain) => Verdict::Unverifiable,
    };
    if verdict == Verdict::Unverifiable {
        problems.push("it was written without digests; its checksums are right".to_owned());
    }
    (verdict, problems)
}

/// What the sidecar says of the content that is not so.
fn contradiction(stored: &Stored, archive: &Archive) -> Option<String> {
    let metadata = &stored.metadata;
    if let Some(what) = store::miscount(metadata, archive) {
        return Some(what);
    }
    if archive.layout() == Layout::Seekable && stored.sidecar.is_some() {
        let inner = match store::inside(&stored.archive) {
            Ok(inner) => inner,
            Err(what) => return Some(what),
        };
        let fields = store::differences(metadata, &inner);
        if !fields.is_empty() {
            let fields = fields.join(", ");
            return Some(format!("its sidecar contradicts the copy inside the archive: {fields}"));
        }
    }
    let name: EntryName = CodexHome::AUTH.parse().ok()?;
    let bytes = match archive.read(&name, auth::MAX_BYTES) {
        Ok(bytes) => bytes,
        Err(error) => return Some(error.to_string()),
    };
    let login = bytes.and_then(|bytes| auth::parse(bytes).ok());
    match (login, stored.key()) {
        (Some(login), Some(said)) if !matches!(said, AccountKey::Email(_)) => (login.key.as_ref()
            != Some(&said))
        .then(|| "its auth.json belongs to another account than its sidecar says".to_owned()),
        (Some(login), Some(AccountKey::Email(said))) => login
            .email
            .filter(|email| *email != said)
            .map(|email| format!("its auth.json belongs to {email}, its metadata says {said}")),
        _ => None,
    }
}
