//! What does a snapshot say about itself, beside its archive and inside it?

use std::path::Path;

use super::{Odd, OddKind, Origin, Stored};
use crate::disk::archive::{Archive, ArchiveError, EntryName, Layout, Limits};
use crate::disk::read;
use crate::snapshot::legacy;
use crate::snapshot::metadata::{Kind, MAX_BYTES, MEMBER, Metadata};
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
    let sidecar = archive.with_file_name(format!("{title}{SIDECAR}"));
    let found = |sidecar, metadata, origin| Stored {
        title: title.clone(),
        archive: archive.to_owned(),
        sidecar,
        metadata,
        origin,
    };
    if let Ok(metadata) = read_sidecar(&sidecar) {
        return Ok(found(Some(sidecar), metadata, Origin::Ours));
    }
    let opened = Archive::open(archive, &Limits::default()).map_err(|error| error.to_string())?;
    if opened.layout() == Layout::Seekable {
        return inside(archive).map(|metadata| found(None, metadata, Origin::Ours));
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
        let email = told.email.clone().or(whole.metadata.email);
        whole.metadata = Metadata { email, kind: told.kind, ..told };
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
    let metadata = read_sidecar(&sidecar).ok().or_else(older).or_else(of_name)?;
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
    let opened = Archive::open(archive, &Limits::default()).map_err(|error| error.to_string())?;
    let member: EntryName =
        MEMBER.parse().map_err(|_| "its metadata has no usable name".to_owned())?;
    let bytes = opened.read(&member, MAX_BYTES).map_err(|error| error.to_string())?;
    let bytes = bytes.ok_or_else(|| "it holds no metadata".to_owned())?;
    Metadata::parse(&bytes).map_err(|error| format!("its metadata {error}"))
}

/// Whether a sidecar says of what was captured what the copy inside the archive does not; a copy
/// that cannot be read says nothing.
#[must_use]
pub fn contradicts(stored: &Stored) -> bool {
    stored.origin == Origin::Ours
        && stored.sidecar.is_some()
        && inside(&stored.archive).is_ok_and(|inner| differs(&stored.metadata, &inner))
}

/// Whether two copies of the metadata tell of another capture. The e-mail is a label, and like
/// notes and pins it may change later; which part, whose, which login and when may not.
#[must_use]
pub fn differs(said: &Metadata, inner: &Metadata) -> bool {
    inner.kind != said.kind
        || inner.account != said.account
        || inner.login != said.login
        || inner.created_at != said.created_at
}
