//! What does a snapshot say about itself, beside its archive and inside it?

use std::path::{Path, PathBuf};

use super::{Odd, OddKind, Origin, Stored};
use crate::codex::home::CodexHome;
use crate::disk::archive::{Archive, ArchiveError, Entry, EntryName, Layout, Limits, Node};
use crate::disk::read;
use crate::snapshot::legacy;
use crate::snapshot::metadata::{
    self, ArchiveFacts, Kind, LoginMember, MAX_BYTES, MEMBER, Metadata,
};
use crate::snapshot::name::{ARCHIVE, SIDECAR, SnapshotName, Who};
use crate::time::Zone;

/// An archive outside the store, with its sidecar beside it or the copy inside it.
///
/// # Errors
///
/// What is wrong with it, in words.
pub fn stored_at(archive: &Path, zone: &Zone) -> Result<Stored, String> {
    let title = archive.file_name().unwrap_or_default().to_string_lossy();
    let title = title.strip_suffix(ARCHIVE).unwrap_or(&title).to_owned();
    let sidecar = sidecar_of(archive);
    let found = |sidecar, metadata: Metadata, origin| Stored {
        title: title.clone(),
        archive: archive.to_owned(),
        sidecar,
        metadata: metadata.into(),
        origin,
    };
    if let Ok(metadata) = read_sidecar(&sidecar) {
        return Ok(found(Some(sidecar), metadata, Origin::Ours));
    }
    let opened = Archive::open(archive, &Limits::default()).map_err(|error| error.to_string())?;
    if opened.layout() == Layout::Seekable {
        return told_in(&opened).map(|metadata| found(None, metadata, Origin::Ours));
    }
    let told =
        read::bounded(&sidecar, MAX_BYTES).ok().or_else(|| inside_older(archive).ok().flatten());
    let metadata = told.and_then(|bytes| legacy::metadata(&bytes, zone).ok());
    Ok(found(None, metadata.unwrap_or_else(|| Metadata::empty(Kind::Full)), Origin::Python))
}

/// What a snapshot says about itself, also where that was too much to read for a list: an archive
/// of the older tool without a sidecar is read to its end.
///
/// # Errors
///
/// What is wrong with it, in words.
pub fn look_into(stored: &Stored, zone: &Zone) -> Result<Stored, String> {
    if stored.origin == Origin::Ours || stored.sidecar.is_some() {
        return Ok(stored.clone());
    }
    let mut whole = stored.clone();
    if let Some(bytes) = inside_older(&stored.archive)?
        && let Ok(told) = legacy::metadata(&bytes, zone)
    {
        let email = told.email.clone().or(whole.metadata.email.clone());
        whole.metadata = Metadata { email, kind: told.kind, ..told }.into();
    }
    Ok(whole)
}

/// What is still known of a snapshot whose archive cannot be used: what its sidecar says, else its
/// name and the time its archive was written. `None` for other oddities.
#[must_use]
pub fn remains(odd: &Odd, zone: &Zone) -> Option<Stored> {
    let name = odd.path.file_name()?.to_str()?;
    let title = match odd.kind {
        OddKind::BadArchive => name.strip_suffix(ARCHIVE)?,
        OddKind::BadSidecar => name.strip_suffix(SIDECAR)?,
        OddKind::NoArchive | OddKind::NoSidecar => return None,
    };
    let archive = odd.path.with_file_name(format!("{title}{ARCHIVE}"));
    let sidecar = odd.path.with_file_name(format!("{title}{SIDECAR}"));
    let name: Option<SnapshotName> = title.parse().ok();
    let of_name = || {
        let written = archive.symlink_metadata().ok()?.modified().ok()?;
        let email = name.as_ref().and_then(|name| match name.who() {
            Who::Email(email) => Some(email.clone()),
            Who::Nameless(_) => None,
        });
        let created_at = Some(zone.stamp(written.into()));
        Some(Metadata { email, created_at, ..Metadata::empty(Kind::Full) })
    };
    let older = || legacy::metadata(&read::bounded(&sidecar, MAX_BYTES).ok()?, zone).ok();
    let metadata = read_sidecar(&sidecar).ok().or_else(older).or_else(of_name)?.into();
    let origin = if name.is_some() { Origin::Ours } else { Origin::Python };
    Some(Stored { title: title.to_owned(), archive, sidecar: None, metadata, origin })
}

/// The metadata member of an archive of the older tool, if it has one. All of it is read.
pub(super) fn inside_older(archive: &Path) -> Result<Option<Vec<u8>>, String> {
    let words = |error: ArchiveError| error.to_string();
    let opened = Archive::open(archive, &Limits::default()).map_err(words)?;
    let entries = opened.entries().map_err(words)?;
    let member = entries.iter().rev().find(|entry| legacy::is_metadata_member(entry.name.as_str()));
    match member {
        Some(member) => opened.read(&member.name, MAX_BYTES).map_err(words),
        None => Ok(None),
    }
}

pub(super) fn read_sidecar(path: &Path) -> Result<Metadata, String> {
    let bytes = read::bounded(path, MAX_BYTES).map_err(|error| error.to_string())?;
    Metadata::parse(&bytes).map_err(|error| error.to_string())
}

/// Reads the copy of the metadata inside one of our archives.
///
/// # Errors
///
/// What is wrong with it, in words.
pub fn inside(archive: &Path) -> Result<Metadata, String> {
    told_in(&Archive::open(archive, &Limits::default()).map_err(|error| error.to_string())?)
}

/// The same of one that is open.
///
/// # Errors
///
/// What is wrong with it, in words.
pub fn told_in(opened: &Archive) -> Result<Metadata, String> {
    let member: EntryName =
        MEMBER.parse().map_err(|_| "its metadata has no usable name".to_owned())?;
    let bytes = opened.read(&member, MAX_BYTES).map_err(|error| error.to_string())?;
    let bytes = bytes.ok_or_else(|| "it holds no metadata".to_owned())?;
    Metadata::parse(&bytes).map_err(|error| format!("its metadata {error}"))
}

/// What is wrong with the sidecar beside an archive of ours, where the copy inside it speaks
/// because the sidecar cannot be used; none if there is no sidecar at all.
///
/// The copy is sound, but who has the two of them does not have what was stored.
#[must_use]
pub fn damaged_sidecar(stored: &Stored) -> Option<(PathBuf, String)> {
    if stored.origin != Origin::Ours || stored.sidecar.is_some() {
        return None;
    }
    let path = sidecar_of(&stored.archive);
    path.symlink_metadata().ok()?;
    read_sidecar(&path).err().map(|what| (path, what))
}

fn sidecar_of(archive: &Path) -> PathBuf {
    let title = archive.file_name().unwrap_or_default().to_string_lossy();
    let title = title.strip_suffix(ARCHIVE).unwrap_or(&title);
    archive.with_file_name(format!("{title}{SIDECAR}"))
}

/// Where the content of `auth.json` lies in an archive of ours, if it is one chunk.
#[must_use]
pub fn login_member(archive: &Archive) -> Option<LoginMember> {
    match archive.chunks(&CodexHome::AUTH.parse().ok()?)? {
        [only] => Some(LoginMember::of(only)),
        _ => None,
    }
}

/// What a sidecar of ours says of an archive's amount, or of where its login lies, that is not so.
#[must_use]
pub fn miscount(said: &Metadata, archive: &Archive) -> Option<String> {
    let facts = said.archive.as_ref()?;
    if facts.login.is_some() && facts.login != login_member(archive) {
        return Some("its sidecar says that the login lies elsewhere than it does".to_owned());
    }
    let entries = archive.entries().ok()?;
    let files = entries.iter().filter(|entry| matches!(entry.node, Node::File { .. })).count();
    let bytes = entries.iter().map(Entry::size).fold(0, u64::saturating_add);
    (u64::try_from(files) != Ok(facts.files) || bytes != facts.content_bytes).then(|| {
        let ArchiveFacts { files: said_files, content_bytes: said_bytes, .. } = facts;
        format!(
            "its sidecar says {said_files} files of {said_bytes} bytes, it holds {files} of {bytes}"
        )
    })
}

/// Which fields of a sidecar say of what was captured what the copy inside the archive does not:
/// all of them, if there is no copy that can be read. `archive` is its own.
#[must_use]
pub fn contradictions(stored: &Stored, archive: &Archive) -> Vec<&'static str> {
    if stored.origin != Origin::Ours || stored.sidecar.is_none() {
        return Vec::new();
    }
    match told_in(archive) {
        Ok(inner) => differences(&stored.metadata, &inner),
        Err(_) => vec!["the copy"],
    }
}

/// The fields in which two copies of the metadata tell of another capture.
///
/// What a person may change later is not compared: the e-mail, which is a label, label, note, tags
/// and pin; nor are keys of later versions. What turned out while files were read adds to the
/// sidecar's `excluded`. The older tool brings the quota in a sidecar up to date and marks it.
#[must_use]
pub fn differences(said: &Metadata, inner: &Metadata) -> Vec<&'static str> {
    let rewritten = metadata::is_rewritten(said);
    let quota = |same: bool| rewritten || same;
    let rows = [
        ("kind", said.kind == inner.kind),
        ("account", said.account == inner.account),
        ("login", said.login == inner.login),
        ("created_at", said.created_at == inner.created_at),
        ("product", said.product == inner.product),
        ("session_start_at", quota(said.session_start_at == inner.session_start_at)),
        ("next_available_at", quota(said.next_available_at == inner.next_available_at)),
        ("reset_at", quota(said.reset_at == inner.reset_at)),
        ("quota", quota(said.quota == inner.quota)),
        ("quota_end_detected_at", said.quota_end_detected_at == inner.quota_end_detected_at),
        (
            "inferred_session_duration_seconds",
            said.inferred_session_duration_seconds == inner.inferred_session_duration_seconds,
        ),
        ("inference_basis", said.inference_basis == inner.inference_basis),
        ("legacy_auth_filename", said.legacy_auth_filename == inner.legacy_auth_filename),
        ("legacy_quota_day_token", said.legacy_quota_day_token == inner.legacy_quota_day_token),
        ("validation_status", said.validation_status == inner.validation_status),
        ("source_codex_home", said.source_codex_home == inner.source_codex_home),
        ("codex_version", said.codex_version == inner.codex_version),
        ("captured_files", said.captured_files == inner.captured_files),
        ("excluded", inner.excluded.iter().all(|path| said.excluded.contains(path))),
        ("host", said.host == inner.host),
        ("manager_version", said.manager_version == inner.manager_version),
    ];
    rows.into_iter().filter(|(_, same)| !same).map(|(field, _)| field).collect()
}
