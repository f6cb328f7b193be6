//! Is a snapshot what it was when it was made, and if not, what in it is lost?

use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use serde::Serialize;

use crate::account::AccountKey;
use crate::codex::auth;
use crate::codex::home::CodexHome;
use crate::disk::archive::{Archive, ArchiveError, EntryName, Layout, Place, Problem};
use crate::disk::{Jobs, read};
use crate::snapshot::legacy;
use crate::snapshot::logins;
use crate::snapshot::metadata::MAX_BYTES;
use crate::snapshot::name::{ARCHIVE, SIDECAR};
use crate::snapshot::store::{self, Origin, Stored};
use crate::time::Zone;

/// More damaged places than this are counted and not named.
pub const MOST_NAMED: usize = 20;

/// How often a snapshot is looked at anew that was replaced while it was read.
const TRIES: u32 = 3;

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
    /// Another process took it away between the listing and the reading.
    Gone,
}

/// A file in a snapshot of which something is lost.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Damaged {
    /// Its path in the snapshot.
    pub file: String,
    /// Its first damaged chunk, from 1 on.
    pub chunk: u64,
    /// How many chunks it has.
    pub chunks: u64,
    /// Where that chunk begins in the file, in bytes.
    pub offset: u64,
    /// How many of its chunks are damaged.
    pub damaged_chunks: u64,
}

/// What was found in a snapshot.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found {
    /// In one word.
    pub verdict: Verdict,
    /// In sentences: at most [`MOST_NAMED`] damaged places, and how many more there are.
    pub problems: Vec<String>,
    /// The damaged files, at most [`MOST_NAMED`].
    pub damaged: Vec<Damaged>,
    /// How many files are damaged, as far as that can be told.
    pub damaged_files: usize,
}

impl Found {
    /// A snapshot of which one thing is known: what is wrong with it.
    #[must_use]
    pub fn corrupt(problem: String) -> Self {
        let (damaged, damaged_files) = (Vec::new(), 0);
        Self { verdict: Verdict::Corrupt, problems: vec![problem], damaged, damaged_files }
    }

    /// A snapshot that was there a moment ago.
    #[must_use]
    pub fn gone() -> Self {
        let problem = "another process took it away meanwhile".to_owned();
        Self { verdict: Verdict::Gone, ..Self::corrupt(problem) }
    }
}

/// Checks one snapshot: the archive against the table in it, the table against the sidecar, the
/// copy of the metadata and the owner of the login against the sidecar.
///
/// `advance` hears of every byte of content that is right; nothing is written and no lock is
/// taken. One that another process replaces meanwhile is looked at anew.
#[must_use]
pub fn verify(
    stored: &Stored,
    zone: &Zone,
    jobs: Jobs,
    advance: &mut dyn FnMut(u64),
    stop: &AtomicBool,
) -> Found {
    let mut stored = stored.clone();
    let mut found = check(&stored, zone, jobs, advance, stop);
    for _ in 1..TRIES {
        if found.verdict != Verdict::Corrupt || stored.origin != Origin::Ours {
            break;
        }
        match store::stored_at(&stored.archive, zone) {
            Ok(now) if now.metadata != stored.metadata => stored = now,
            _ => break,
        }
        found = check(&stored, zone, jobs, advance, stop);
    }
    let is_gone = || {
        let looked = stored.archive.symlink_metadata();
        looked.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    };
    if found.verdict == Verdict::Corrupt && is_gone() { Found::gone() } else { found }
}

/// Where the sidecar of a snapshot lies, or would.
#[must_use]
pub fn sidecar_of(stored: &Stored) -> Option<PathBuf> {
    let beside = || {
        let title = stored.archive.file_name()?.to_str()?.strip_suffix(ARCHIVE)?;
        Some(stored.archive.with_file_name(format!("{title}{SIDECAR}")))
    };
    stored.sidecar.clone().or_else(beside)
}

fn check(
    stored: &Stored,
    zone: &Zone,
    jobs: Jobs,
    advance: &mut dyn FnMut(u64),
    stop: &AtomicBool,
) -> Found {
    let archive = match logins::open(stored) {
        Ok(archive) => archive.with_jobs(jobs.count()),
        // Only of ours the table of contents and the footer are read at once.
        Err(error @ ArchiveError::Corrupt { .. }) => {
            return Found::corrupt(format!("{error}; which files are sound cannot be told"));
        }
        Err(error) => return Found::corrupt(error.to_string()),
    };
    let mut problems: Vec<String> = bad_sidecar(stored, zone).into_iter().collect();
    if logins::is_another(&archive, stored) {
        problems.push("its table of contents is not the one the sidecar names".to_owned());
    }
    let (mut damaged, mut lines) = (Vec::new(), Vec::new());
    match archive.verify(advance, stop) {
        Ok(found) => (damaged, lines) = told(&found),
        Err(error) => problems.push(error.to_string()),
    }
    let damaged_files = damaged.len();
    let more = lines.len().saturating_sub(MOST_NAMED);
    damaged.truncate(MOST_NAMED);
    lines.truncate(MOST_NAMED);
    problems.append(&mut lines);
    if more > 0 {
        problems.push(format!("{more} more damaged places, {damaged_files} damaged files in all"));
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
    Found { verdict, problems, damaged, damaged_files }
}

/// What is wrong with the sidecar as such; nothing if there is none, for an archive alone is
/// complete.
fn bad_sidecar(stored: &Stored, zone: &Zone) -> Option<String> {
    let what = match stored.origin {
        Origin::Ours => store::damaged_sidecar(stored)?.1,
        Origin::Python => {
            let bytes = read::absent_is_none(read::bounded(&sidecar_of(stored)?, MAX_BYTES));
            match bytes {
                Ok(bytes) => legacy::metadata(&bytes?, zone).err()?.to_string(),
                Err(error) => error.to_string(),
            }
        }
    };
    Some(format!("its sidecar {what}"))
}

/// The damaged files, and a line for each of them and for each place that is in none. Of a file
/// the first damaged chunk is named and the others are counted.
fn told(found: &[Problem]) -> (Vec<Damaged>, Vec<String>) {
    let (mut damaged, mut lines) = (Vec::<Damaged>::new(), Vec::new());
    let mut rest = found.iter().peekable();
    while let Some(problem) = rest.next() {
        let Some((name, Place { number, of, first, .. })) =
            problem.name.as_ref().zip(problem.chunk)
        else {
            lines.push(problem.to_string());
            continue;
        };
        // The chunks of a file follow each other in the archive, with nothing in between.
        let mut damaged_chunks = 1_u64;
        while rest
            .next_if(|next| next.name.as_ref() == Some(name) && next.chunk.is_some())
            .is_some()
        {
            damaged_chunks += 1;
        }
        lines.push(match damaged_chunks {
            1 => problem.to_string(),
            all => format!("{problem}; {all} of its chunks are damaged"),
        });
        let (file, chunk, chunks, offset) = (name.to_string(), number, of, first);
        damaged.push(Damaged { file, chunk, chunks, offset, damaged_chunks });
    }
    (damaged, lines)
}

/// What the sidecar says of the content that is not so.
fn contradiction(stored: &Stored, archive: &Archive) -> Option<String> {
    let metadata = &stored.metadata;
    if let Some(what) = store::miscount(metadata, archive) {
        return Some(what);
    }
    if archive.layout() == Layout::Seekable && stored.sidecar.is_some() {
        let inner = match store::told_in(archive) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::metadata::{Kind, Metadata};

    fn problem(name: &str, chunk: Option<(u64, u64)>) -> Problem {
        let place = |(number, of)| Place { number, of, first: (number - 1) << 20, bytes: 7 };
        let name = Some(name.parse().unwrap());
        Problem { name, chunk: chunk.map(place), offset: 9, what: "bad".to_owned() }
    }

    #[test]
    fn the_chunks_of_a_file_are_one_line_and_a_frame_is_no_file() {
        let found = [
            problem("a", Some((1, 1))),
            problem("a", None),
            problem("b", Some((3, 7))),
            problem("b", Some((4, 7))),
            problem("c", Some((1, 2))),
        ];
        let (damaged, lines) = told(&found);
        assert_eq!(
            lines,
            [
                "a, chunk 1 of 1 (bytes 0-6): bad, at byte 9 of the archive",
                "a: byte 9: bad",
                "b, chunk 3 of 7 (bytes 2097152-2097158): bad, at byte 9 of the archive; 2 of its chunks are damaged",
                "c, chunk 1 of 2 (bytes 0-6): bad, at byte 9 of the archive",
            ]
        );
        let brief: Vec<_> = damaged.iter().map(|it| (&*it.file, it.chunk, it.chunks)).collect();
        assert_eq!(brief, [("a", 1, 1), ("b", 3, 7), ("c", 1, 2)]);
        assert_eq!((damaged[1].offset, damaged[1].damaged_chunks), (2 << 20, 2));
    }

    #[test]
    fn what_another_process_took_away_is_gone_and_what_it_spoiled_is_corrupt() {
        let dir = tempfile::tempdir().unwrap();
        let name = "2026-04-14-155500-ada@example.com-codex";
        let stored = Stored {
            title: name.to_owned(),
            archive: dir.path().join(format!("{name}{ARCHIVE}")),
            sidecar: Some(dir.path().join(format!("{name}{SIDECAR}"))),
            metadata: Metadata::empty(Kind::Full).into(),
            origin: Origin::Ours,
        };
        let verify =
            || verify(&stored, &Zone::UTC, Jobs::ONE, &mut |_| (), &AtomicBool::new(false)).verdict;
        assert_eq!(verify(), Verdict::Gone);
        std::fs::write(&stored.archive, "no archive").unwrap();
        assert_eq!(verify(), Verdict::Corrupt);
    }
}
