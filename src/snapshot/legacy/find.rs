//! Which archives of the older tool lie in a store?
//!
//! Flat ones (`*-codex.tar.gz`) lie among ours; those of 23.0.0 have folders of their own,
//! `auth/EMAIL/` and `sessions/EMAIL/`. Links, such as `EMAIL-latest-codex.tar.gz`, are
//! passed over: they only name what is found anyway.

use std::collections::BTreeSet;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::account::Email;
use crate::disk::tree::{self, Kind as NodeKind, Visit};
use crate::disk::{DiskError, read};
use crate::snapshot::metadata::{self, Kind, strict_json};
use crate::snapshot::name::{ARCHIVE, SIDECAR};

/// How the name of a flat archive ends.
const FLAT: &str = "-codex.tar.gz";

/// The folders of 23.0.0.
const FOLDERS: [&str; 2] = ["auth", "sessions"];

/// The footer of a seekable archive: its length, and the word in it.
const FOOTER: (u64, &[u8]) = (51, b"STARGZ");

/// An e-mail address with slashes makes folders in folders, but not more than this.
const MAX_DEPTH: usize = 8;

/// One archive of the older tool.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found {
    /// What a person calls it: its path in the store without the ending, such as
    /// `2026-04-14-155500-ada@example.com-codex` or `auth/ada@example.com/latest`.
    pub title: String,
    /// The archive.
    pub archive: PathBuf,
    /// The file with its metadata; if it is lost, a member of the archive says the same.
    pub sidecar: Option<PathBuf>,
    /// What its place says it holds. Of a flat one only the metadata knows.
    pub kind: Option<Kind>,
    /// What its place or name says about whose it is; the archived login knows better.
    pub email: Option<Email>,
}

/// What a store holds of the older tool.
#[derive(Debug, Default)]
pub struct Listing {
    /// The archives, in bytewise order of their paths.
    pub archives: Vec<Found>,
    /// Sidecars without an archive: 23.0.0 noted a cooldown so, and a crash may leave one.
    pub metadata_only: Vec<PathBuf>,
    /// What could not be looked at, and why.
    pub unreadable: Vec<(PathBuf, String)>,
}

/// Lists what the older tool left in the folder `backups`; nothing if there is no such folder.
///
/// A flat archive is ours if its sidecar has our schema or, where there is no sidecar that can
/// be read, if it ends as a seekable archive does. Only names, sidecars and footers are looked
/// at: whether an archive can be read is found out later.
///
/// # Errors
///
/// When the folder cannot be listed. What fails below it is in [`Listing::unreadable`].
pub fn find(backups: &Path) -> Result<Listing, DiskError> {
    let Some(names) = read::absent_is_none(read::names(backups))? else {
        return Ok(Listing::default());
    };
    find_among(backups, names.iter().filter_map(|name| name.to_str()))
}

/// As [`find`], but only of what has one of these names in `backups`, and below it. Who knows that
/// a pair is ours leaves it out.
///
/// # Errors
///
/// When `backups` is no folder, or a link to one.
pub fn find_among<'a>(
    backups: &Path,
    names: impl Iterator<Item = &'a str>,
) -> Result<Listing, DiskError> {
    let mut listing = Listing::default();
    let Some(()) = read::absent_is_none(tree::is_root(backups))? else { return Ok(listing) };
    let mut files = BTreeSet::new();
    for name in names {
        let (top, path) = (PathBuf::from(name), backups.join(name));
        if FOLDERS.contains(&name) {
            collect(&top, &path, &mut files, &mut listing);
        } else if belongs(NodeKind::File, &top)
            && path.symlink_metadata().is_ok_and(|facts| facts.is_file())
        {
            files.insert(top);
        }
    }
    listing.unreadable.sort();
    for file in &files {
        let looked = if let Some(base) = without(file, ARCHIVE) {
            let sidecar = with(&base, SIDECAR);
            let sidecar = files.contains(&sidecar).then(|| backups.join(sidecar));
            archive(file, &base, backups, sidecar).map(|found| listing.archives.extend(found))
        } else {
            let lone = without(file, SIDECAR).filter(|base| !files.contains(&with(base, ARCHIVE)));
            let path = backups.join(file);
            lone.map_or(Ok(()), |_| {
                is_theirs(&path)
                    .map(|theirs| listing.metadata_only.extend(theirs.then(|| path.clone())))
            })
        };
        if let Err(error) = looked {
            listing.unreadable.push((backups.join(file), error.to_string()));
        }
    }
    Ok(listing)
}

/// Takes what matters in one of the older tool's folders.
fn collect(top: &Path, folder: &Path, files: &mut BTreeSet<PathBuf>, listing: &mut Listing) {
    if !folder.symlink_metadata().is_ok_and(|facts| facts.is_dir()) {
        return;
    }
    let walked = tree::walk(folder, &mut |node| {
        if belongs(node.kind, &top.join(&node.path)) { Visit::Take } else { Visit::Skip }
    });
    match read::absent_is_none(walked) {
        Ok(walk) => {
            let walk = walk.unwrap_or_default();
            let nodes = walk.nodes.into_iter().filter(|node| node.kind == NodeKind::File);
            files.extend(nodes.map(|node| top.join(node.path)));
            let unreadable = walk.unreadable.into_iter();
            listing.unreadable.extend(unreadable.map(|(path, why)| (folder.join(path), why)));
        }
        Err(error) => listing.unreadable.push((folder.to_owned(), error.source.to_string())),
    }
}

/// Whether an entry can matter: it lies where the older tool puts things, and is named so.
fn belongs(kind: NodeKind, path: &Path) -> bool {
    let mut parts = path.iter();
    let top = parts.next().and_then(|part| part.to_str());
    let is_nested = parts.next().is_some();
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let fits = |stem: fn(&str) -> bool| {
        [ARCHIVE, SIDECAR].iter().any(|end| name.strip_suffix(end).is_some_and(stem))
    };
    match (kind, top) {
        (NodeKind::Dir, Some("auth" | "sessions")) => path.iter().count() <= MAX_DEPTH,
        (NodeKind::File, Some("auth")) if is_nested => fits(|stem| stem == "latest"),
        (NodeKind::File, Some("sessions")) if is_nested => fits(|stem| stem.starts_with("backup-")),
        (NodeKind::File, _) if !is_nested => fits(|stem| stem.ends_with("-codex")),
        _ => false,
    }
}

/// The archive at `file`, unless it is one of ours.
fn archive(
    file: &Path,
    base: &Path,
    backups: &Path,
    sidecar: Option<PathBuf>,
) -> Result<Option<Found>, DiskError> {
    let archive = backups.join(file);
    let holder = file.parent().unwrap_or(Path::new(""));
    let (kind, email) = if let Ok(folder) = holder.strip_prefix("auth") {
        (Some(Kind::Auth), folder.to_str().and_then(|folder| folder.parse().ok()))
    } else if let Ok(folder) = holder.strip_prefix("sessions") {
        (Some(Kind::State), folder.to_str().and_then(|folder| folder.parse().ok()))
    } else {
        let said = sidecar.as_deref().and_then(schema_says_ours);
        if said.map_or_else(|| ends_as_ours(&archive), Ok)? {
            return Ok(None);
        }
        (None, file.to_str().and_then(owner))
    };
    let title = base.to_string_lossy().into_owned();
    Ok(Some(Found { title, archive, sidecar, kind, email }))
}

/// The address in the name of a flat archive, after the stamp and without a label.
fn owner(name: &str) -> Option<Email> {
    let (_, rest) = name.strip_suffix(FLAT)?.split_at_checked(18)?;
    let labels = ["-expired", "-blocked", "-error"];
    labels.iter().find_map(|label| rest.strip_suffix(label)).unwrap_or(rest).parse().ok()
}

/// Whether a sidecar has our schema; `None` if it says nothing that can be read.
fn schema_says_ours(sidecar: &Path) -> Option<bool> {
    let bytes = read::bounded(sidecar, metadata::MAX_BYTES).ok()?;
    let value = strict_json(&bytes).ok()?;
    let schema = value.get("schema").and_then(|schema| schema.as_str());
    let ours = schema == Some(metadata::SCHEMA);
    (ours || super::sidecar(&bytes).is_ok()).then_some(ours)
}

/// Whether a file is a sidecar of the older tool.
fn is_theirs(sidecar: &Path) -> Result<bool, DiskError> {
    Ok(super::sidecar(&read::bounded(sidecar, metadata::MAX_BYTES)?).is_ok())
}

/// Whether a file ends in the footer of a seekable archive.
fn ends_as_ours(archive: &Path) -> Result<bool, DiskError> {
    let mut file = read::open_regular(archive)?;
    let failed = |source: io::Error| DiskError { action: "read", path: archive.to_owned(), source };
    let size = file.metadata().map_err(failed)?.len();
    let (length, word) = FOOTER;
    let Some(start) = size.checked_sub(length) else {
        return Ok(false);
    };
    file.seek(SeekFrom::Start(start)).map_err(failed)?;
    let mut footer = Vec::new();
    file.take(length).read_to_end(&mut footer).map_err(failed)?;
    Ok(footer.windows(word.len()).any(|part| part == word))
}

/// A path without an ending of its name; `None` if it does not end so.
fn without(path: &Path, ending: &str) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    Some(path.with_file_name(name.strip_suffix(ending)?))
}

fn with(base: &Path, ending: &str) -> PathBuf {
    let mut path = base.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixtures(version: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/legacy").join(version).join("backups")
    }

    /// Title, kind, address and whether there is a sidecar; lone sidecars by their names.
    fn shown(backups: &Path) -> Vec<String> {
        let listing = find(backups).unwrap();
        let show = |found: &Found| {
            let kind = found.kind.map_or("-".to_owned(), |kind| kind.to_string());
            let email = found.email.as_ref().map_or("-", Email::as_str);
            assert!(found.archive.starts_with(backups));
            let sidecar = if found.sidecar.is_some() { "sidecar" } else { "alone" };
            format!("{} {kind} {email} {sidecar}", found.title)
        };
        let mut lines: Vec<_> = listing.archives.iter().map(show).collect();
        let relative = |path: &Path| path.strip_prefix(backups).unwrap().display().to_string();
        lines.extend(listing.metadata_only.iter().map(|path| format!("only {}", relative(path))));
        let unreadable = listing.unreadable.iter();
        lines.extend(unreadable.map(|(path, why)| format!("{}: {why}", relative(path))));
        lines
    }

    #[test]
    fn both_versions_stores_are_listed_whole() {
        assert_eq!(
            shown(&fixtures("1.0.0")),
            [
                "2026-04-23-100200-second@example.com-codex - second@example.com sidecar",
                "2026-11-17-070500-odd-one@example.com-codex - odd-one@example.com alone",
                "2026-11-19-100200-user@example.com-codex - user@example.com sidecar",
            ]
        );
        assert_eq!(
            shown(&fixtures("23.0.0")),
            [
                "auth/second@example.com/latest auth second@example.com sidecar",
                "auth/user@example.com/latest auth user@example.com sidecar",
                "sessions/user@example.com/backup-2026-11-19-100200-codex state user@example.com sidecar",
                "only 2026-11-24-070500-odd-one@example.com-codex.metadata.json",
            ]
        );
        assert!(shown(Path::new("/nowhere/at/all")).is_empty());
    }

    #[test]
    #[cfg(unix)]
    fn ours_and_links_and_strangers_are_passed_over() {
        use std::fs;

        use crate::snapshot::metadata::Metadata;

        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        };
        let ours = Metadata::empty(Kind::Full).to_bytes();
        let footer = [&[0; 60][..], b"0000000000000000STARGZ", &[0; 13]].concat();
        write("2026-04-14-155500-ours@example.com-codex.tar.gz", b"cut off");
        write("2026-04-14-155500-ours@example.com-codex.metadata.json", &ours);
        write("2026-04-14-155501-ours@example.com-codex.tar.gz", &footer);
        write("2026-04-14-155502-ours@example.com-codex.tar.gz", &footer);
        write("2026-04-14-155502-ours@example.com-codex.metadata.json", b"{\"schema");
        write("2026-04-14-155503-lone@example.com-codex.metadata.json", &ours);
        write("2026-04-14-155504-cut@example.com-codex.metadata.json", b"{");
        write("notes.tar.gz", b"");
        write("auth/latest.tar.gz", b"");
        write("auth/a@example.com/other.tar.gz", b"");
        write("other/a@example.com/latest.tar.gz", b"");
        write("2026-04-14-155505-A@example.com-expired-codex.tar.gz", b"");
        write("2026-04-14-155506-b@example.-codex.tar.gz", b"[]");
        write("2026-04-14-155506-b@example.-codex.metadata.json", b"[]");
        write("sessions/x/y@example.com/backup-1-codex.tar.gz", b"");
        std::os::unix::fs::symlink("auth", dir.path().join("sessions/way")).unwrap();
        std::os::unix::fs::symlink(
            "2026-04-14-155505-A@example.com-expired-codex.tar.gz",
            dir.path().join("A@example.com-latest-codex.tar.gz"),
        )
        .unwrap();
        assert_eq!(
            shown(dir.path()),
            [
                "2026-04-14-155505-A@example.com-expired-codex - a@example.com alone",
                "2026-04-14-155506-b@example.-codex - - sidecar",
                "auth/latest auth - alone",
                "sessions/x/y@example.com/backup-1-codex state - alone",
            ]
        );
    }
}
