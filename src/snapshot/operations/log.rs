//! What does `operations.jsonl` say, and can it be believed?
//!
//! One JSON object a line, append-only. `previous` is the hash of the line before, `hash` (always
//! the last key) is SHA-256 over the line up to it: whoever changes, inserts or takes out a line
//! breaks the chain there. Lines that are cut off at the end show only by what they would have
//! told.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::Record;
use crate::disk::lock::Lock;
use crate::disk::{DiskError, read, replace};
use crate::snapshot::store::{MAX_RECORDS, Store};

/// How the last key of a line begins.
const SEAL: &str = ",\"hash\":\"";

/// The file as far as it could be read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Log {
    /// What was done, oldest first.
    pub records: Vec<Record>,
    /// Lines (counted from 1) that are not as they were written, and what is wrong with them,
    /// never their content.
    pub problems: Vec<(usize, String)>,
    /// How many lines there are.
    pub lines: usize,
    /// Whether half a line follows them: somebody is writing it, or was killed while they did.
    pub is_unfinished: bool,
    /// The operations whose lines are not as they were written.
    broken: BTreeSet<String>,
    /// What the next line names as the hash of the one before.
    last: Option<String>,
}

impl Log {
    /// The record of this name.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&Record> {
        self.records.iter().find(|record| record.id == id)
    }

    /// The operation that took this one back. Only a later one can have, so that no log leads
    /// anybody in a circle.
    #[must_use]
    pub fn undone_by(&self, id: &str) -> Option<&Record> {
        let later = self.records.iter().skip_while(|record| record.id != id).skip(1);
        later.into_iter().find(|record| record.undoes.as_deref() == Some(id))
    }

    /// The operation that this one took back, which must be an earlier one.
    #[must_use]
    pub fn undone_in(&self, record: &Record) -> Option<&Record> {
        let undone = record.undoes.as_deref()?;
        let earlier = self.records.iter().take_while(|other| other.id != record.id);
        earlier.into_iter().find(|other| other.id == undone)
    }

    /// Whether the line of this operation is what was written.
    #[must_use]
    pub fn is_intact(&self, id: &str) -> bool {
        !self.broken.contains(id)
    }

    /// The newest operation that changed anything that can be taken back and was not.
    #[must_use]
    pub fn latest_reversible(&self) -> Option<&Record> {
        let mut newest_first = self.records.iter().rev();
        newest_first.find(|record| {
            record.is_reversible()
                && self.is_intact(&record.id)
                && self.undone_by(&record.id).is_none()
        })
    }

    /// A name that no operation has, and no folder in `undo/`: `wanted`, `wanted-2` and so on.
    #[must_use]
    pub fn free_id(&self, wanted: &str, undo: &Path) -> String {
        let taken: BTreeSet<&str> = self.records.iter().map(|record| record.id.as_str()).collect();
        let is_free =
            |id: &String| !taken.contains(id.as_str()) && undo.join(id).symlink_metadata().is_err();
        let further = (2_u32..).map(|number| format!("{wanted}-{number}"));
        // The names never end, so one is free.
        std::iter::once(wanted.to_owned()).chain(further).find(is_free).unwrap_or_default()
    }
}

/// Reads the log of a store; an absent one is empty.
///
/// # Errors
///
/// When the file is there and cannot be read at all.
pub fn read(store: &Store) -> Result<Log, DiskError> {
    let bytes = read::optional(&store.operations(), MAX_RECORDS)?;
    Ok(parse(&bytes.unwrap_or_default()))
}

/// Reads the bytes of a log. A damaged line costs itself only, and is named.
#[must_use]
pub fn parse(bytes: &[u8]) -> Log {
    let mut log = Log::default();
    let whole = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    if whole.is_empty() {
        return log;
    }
    let count = whole.split(|byte| *byte == b'\n').count();
    for (number, line) in (1..).zip(whole.split(|byte| *byte == b'\n')) {
        let seal = seal(line);
        if seal.is_none() && whole.len() == bytes.len() && number == count {
            log.is_unfinished = true;
            break;
        }
        log.lines = number;
        match (&seal, serde_json::from_slice::<Sealed>(line)) {
            (Some(_), Ok(found)) => {
                if found.previous != log.last {
                    let what = "it does not follow the line before it: one was changed, taken out \
                                or put in";
                    log.problems.push((number, what.to_owned()));
                }
                log.records.push(found.record);
            }
            (None, Ok(found)) => {
                log.problems.push((number, "its content is not what was written".to_owned()));
                log.broken.insert(found.record.id.clone());
                log.records.push(found.record);
            }
            (_, Err(_)) => log.problems.push((number, "it is no operation".to_owned())),
        }
        // What follows a damaged line refers to its bytes as they were found.
        log.last = Some(seal.unwrap_or_else(|| digest(line)));
    }
    log
}

/// Appends a record, unless it is there; the caller holds the lock. Answers whether it did.
///
/// # Errors
///
/// When the disk refuses; what was appended before stays.
pub fn append(store: &Store, record: &Record, _lock: &Lock) -> Result<bool, DiskError> {
    let path = store.operations();
    let (log, tail, whole) = so_far(&path)?;
    if log.find(&record.id).is_some() {
        return Ok(false);
    }
    let failed = |error: serde_json::Error| DiskError {
        action: "append to",
        path: path.clone(),
        source: error.into(),
    };
    let mut line = sealed(record, log.last.as_deref()).map_err(failed)?;
    // Half of this very line is what a run left that was killed while it wrote it.
    if !tail.is_empty() && line.as_bytes().starts_with(&tail) {
        replace::cut(&path, whole)?;
    } else if !tail.is_empty() {
        mend(&path)?;
        let (log, ..) = so_far(&path)?;
        line = sealed(record, log.last.as_deref()).map_err(failed)?;
    }
    replace::append(&path, line.as_bytes())?;
    Ok(true)
}

/// The whole lines, their length, and what follows them.
fn so_far(path: &Path) -> Result<(Log, Vec<u8>, u64), DiskError> {
    let bytes = read::optional(path, MAX_RECORDS)?.unwrap_or_default();
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let (lines, tail) = bytes.split_at(whole);
    Ok((parse(lines), tail.to_vec(), u64::try_from(whole).unwrap_or(u64::MAX)))
}

/// Sees to it that the file ends in a whole line; the caller holds the lock. A line that lacks
/// only its newline gets it. Half a line moves aside: answers where.
///
/// # Errors
///
/// When the disk refuses.
pub(in crate::snapshot) fn mend(path: &Path) -> Result<Option<PathBuf>, DiskError> {
    let Some(lines) = read::absent_is_none(read::open_lines(path))? else { return Ok(None) };
    if lines.torn == 0 {
        return Ok(None);
    }
    let mut bytes = read::bounded(path, MAX_RECORDS)?;
    let tail = bytes.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    if seal(tail).is_some() {
        bytes.push(b'\n');
        replace::write(path, &bytes)?;
        return Ok(None);
    }
    let aside = replace::free_beside(path, "torn");
    replace::write_new(&aside, tail)?;
    replace::truncate_torn_tail(path)?;
    Ok(Some(aside))
}

/// A line of the file.
#[derive(serde::Deserialize, serde::Serialize)]
struct Sealed {
    #[serde(flatten)]
    record: Record,
    previous: Option<String>,
}

/// The line of a record, without its newline.
fn sealed(record: &Record, previous: Option<&str>) -> serde_json::Result<String> {
    let line = Sealed { record: record.clone(), previous: previous.map(str::to_owned) };
    let mut text = serde_json::to_string(&line)?;
    text.pop(); // The brace at the end.
    let hash = digest(text.as_bytes());
    text.push_str(SEAL);
    text.push_str(&hash);
    text.push_str("\"}");
    Ok(text)
}

/// The hash of a line that is as it was written.
fn seal(line: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(line).ok()?;
    let (content, hash) = text.rsplit_once(SEAL)?;
    let hash = hash.strip_suffix("\"}")?;
    (digest(content.as_bytes()) == hash).then(|| hash.to_owned())
}

pub(super) fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::Zone;

    fn record(id: &str, undoes: Option<&str>) -> Record {
        let at = Zone::UTC.stamp("2026-11-21T10:00:00Z".parse().unwrap());
        let change = super::super::Change::File {
            path: "config.toml".into(),
            before: None,
            after: Some(super::super::Version { digest: digest(b"x"), kept: None }),
        };
        let record = Record::new(id.to_owned(), at, "config set", "set lean".to_owned());
        Record { changes: vec![change], undoes: undoes.map(str::to_owned), ..record }
    }

    fn file(records: &[Record]) -> String {
        let mut last = None;
        let mut text = String::new();
        for record in records {
            let line = sealed(record, last.as_deref()).unwrap();
            last = seal(line.as_bytes());
            text.push_str(&line);
            text.push('\n');
        }
        text
    }

    #[test]
    fn a_log_reads_as_it_was_written() {
        let records = [record("a", None), record("b", None), record("c", Some("b"))];
        let log = parse(file(&records).as_bytes());
        assert_eq!((log.records.as_slice(), log.problems.len(), log.lines), (&records[..], 0, 3));
        assert_eq!(parse(b""), Log::default());
    }

    #[test]
    fn whatever_is_changed_taken_out_or_put_in_is_named_by_its_line() {
        let text = file(&[record("a", None), record("b", None), record("c", None)]);
        let lines: Vec<&str> = text.lines().collect();
        let check = |lines: &[&str], expected: &[usize]| {
            let found = parse((lines.join("\n") + "\n").as_bytes());
            let found: Vec<usize> = found.problems.iter().map(|(line, _)| *line).collect();
            assert_eq!(found, expected, "{lines:?}");
        };
        check(&lines, &[]);
        check(&[lines[0], lines[2]], &[2]);
        check(&[lines[1], lines[2]], &[1]);
        check(&[lines[1], lines[0], lines[2]], &[1, 2, 3]);
        check(&[lines[0], "{}", lines[1], lines[2]], &[2, 3]);
        let edited = lines[1].replace("lean", "leaf");
        check(&[lines[0], &edited, lines[2]], &[2, 3]);
    }

    #[test]
    fn a_line_after_a_damaged_one_follows_it_again() {
        let mut text = file(&[record("a", None)]).replace("lean", "leaf");
        let last = parse(text.as_bytes()).last;
        text.push_str(&sealed(&record("b", None), last.as_deref()).unwrap());
        let problems = parse(text.as_bytes()).problems;
        assert_eq!(problems.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn an_operation_is_taken_back_once_and_that_can_be_taken_back_again() {
        let latest = |records: &[Record]| {
            parse(file(records).as_bytes()).latest_reversible().map(|record| record.id.clone())
        };
        let (a, b, undo) = (record("a", None), record("b", None), record("c", Some("b")));
        let drill = Record { changes: Vec::new(), ..record("d", None) };
        assert_eq!(latest(&[]), None);
        assert_eq!(latest(&[a.clone(), b.clone()]), Some("b".to_owned()));
        assert_eq!(latest(&[a.clone(), b.clone(), undo.clone()]), Some("c".to_owned()));
        assert_eq!(latest(&[a.clone(), b.clone(), drill]), Some("b".to_owned()));
        let redo = record("e", Some("c"));
        assert_eq!(latest(&[a, b, undo, redo]), Some("e".to_owned()));
    }

    #[test]
    fn a_log_that_goes_in_a_circle_leads_nobody_round() {
        let (a, b) = (record("a", Some("b")), record("b", Some("a")));
        let log = parse(file(&[a.clone(), b.clone()]).as_bytes());
        assert_eq!(log.undone_by("a"), Some(&b));
        assert_eq!((log.undone_by("b"), log.undone_in(&a)), (None, None));
        assert_eq!(log.undone_in(&b), Some(&a));
    }

    #[test]
    fn half_a_line_moves_aside_and_one_that_lacks_its_newline_gets_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("operations.jsonl");
        let text = file(&[record("a", None), record("b", None)]);
        std::fs::write(&path, text.trim_end()).unwrap();
        assert_eq!(mend(&path).unwrap(), None);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        let half = text.split_at(text.len() - 9).0;
        std::fs::write(&path, half).unwrap();
        let aside = mend(&path).unwrap().unwrap();
        let left = std::fs::read_to_string(&path).unwrap();
        assert_eq!(format!("{left}{}", std::fs::read_to_string(aside).unwrap()), half);
        assert_eq!(parse(left.as_bytes()).problems, []);
    }

    #[test]
    fn a_line_that_was_half_written_is_written_whole_and_nothing_stays_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path().join("manager"));
        let lock = store.open(std::time::Duration::ZERO, "test").unwrap().lock;
        append(&store, &record("a", None), &lock).unwrap();
        let first = std::fs::read(store.operations()).unwrap();
        append(&store, &record("b", None), &lock).unwrap();
        let both = std::fs::read(store.operations()).unwrap();
        for end in first.len()..both.len() {
            std::fs::write(store.operations(), &both[..end]).unwrap();
            assert!(append(&store, &record("b", None), &lock).unwrap(), "{end}");
            assert!(std::fs::read(store.operations()).unwrap() == both, "{end}");
        }
        std::fs::write(store.operations(), [&first[..], b"theirs"].concat()).unwrap();
        append(&store, &record("b", None), &lock).unwrap();
        assert!(std::fs::read(store.operations()).unwrap() == both);
        assert!(store.root().join("operations.jsonl.torn").exists());
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let log = parse(&bytes);
            prop_assert!(log.records.len() + log.problems.len() >= log.lines);
            prop_assert!(log.lines > 0 || log.is_unfinished || bytes.is_empty() || bytes == b"\n");
        }

        #[test]
        fn any_flipped_bit_is_noticed(at in 0_usize..400, bit in 0_u8..8) {
            let text = file(&[record("a", None), record("b", None)]);
            let mut bytes = text.into_bytes();
            let at = at % (bytes.len() - 1);
            bytes[at] ^= 1 << bit;
            prop_assert!(!parse(&bytes).problems.is_empty());
        }
    }
}
