//! What do all session files say, if only what is new of them is read?
//!
//! Session files are appended to, moved to `archived_sessions/`, and carried from home to home. A
//! file that looks as it did is not opened. One that grew, or turned up in another place, is read
//! on from where it was read to, if its first bytes and the last ones that were read are the same;
//! any other is read from its beginning. Half a line at the end is left for the next time.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use memchr::{memchr, memmem, memrchr};

use super::MAX_LINE;
use super::line::{Line, Meta, meta};
use super::listing::{Facts, Listed, list, open};
use super::memory::{Session, digest};
use crate::disk::Jobs;
use crate::disk::read::fill;

/// How much is read at a time.
const BLOCK: usize = 256 << 10;

/// How much of both ends of what was read is compared, in bytes.
const ENDS: u64 = 4 << 10;

/// Every line that may matter has this in it.
const MARK: &[u8] = b"\"token_count\"";

/// What the session files of one home say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scan {
    /// The sessions, by their places.
    pub sessions: Vec<Session>,
    /// What could not be looked at, and why, in the order of the paths.
    pub skipped: Vec<(PathBuf, String)>,
    /// How many bytes were read for it.
    pub read: u64,
}

/// So much to read is worth a thread, in bytes.
const WORTH_A_THREAD: u64 = 8 << 20;

/// Each thread may have a line of [`MAX_LINE`] in its hands.
const MOST_HELPERS: usize = 3;

/// Reads all session files of a home, but for what is remembered of them. `advance` hears how many
/// bytes were read, and of how many; memory does not grow with the files.
///
/// # Errors
///
/// When `codex_home` itself is no folder that can be looked at, and
/// [`io::ErrorKind::Interrupted`] once `stop` is set.
pub fn scan(
    codex_home: &Path,
    remembered: &[Session],
    jobs: Jobs,
    advance: &mut dyn FnMut(u64, u64),
    stop: &AtomicBool,
) -> io::Result<Scan> {
    scan_by(codex_home, remembered, (jobs, WORTH_A_THREAD), advance, stop)
}

fn scan_by(
    codex_home: &Path,
    remembered: &[Session],
    (jobs, worth): (Jobs, u64),
    advance: &mut dyn FnMut(u64, u64),
    stop: &AtomicBool,
) -> io::Result<Scan> {
    let mut listing = list(codex_home)?;
    let (files, skipped) = (mem::take(&mut listing.files), mem::take(&mut listing.skipped));
    let known = Known::new(remembered);
    let new = |listed: &Listed| match known.of(&place(codex_home, &listing.path(listed))) {
        Some(known) if is_untouched(known, &listed.facts) => 0,
        Some(known) if known.read_to <= listed.facts.size => listed.facts.size - known.read_to,
        _ => listed.facts.size,
    };
    let total = files.iter().map(new).fold(0, u64::saturating_add);

    // Files are independent of each other: whoever is free takes the next one.
    let (next, read) = (AtomicUsize::new(0), AtomicU64::new(0));
    let found = Mutex::new((Vec::with_capacity(files.len()), skipped));
    let look = |tell: &mut dyn FnMut()| {
        let mut reader = Reader { block: vec![0; BLOCK], read: &read, tell, stop };
        while let Some(listed) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            // A name that is not UTF-8 cannot be remembered; Codex makes none.
            let path = listing.path(listed);
            let place = place(codex_home, &path);
            let looked = reader.look((&path, listed), &place, known.of(&place));
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            match looked {
                Ok(session) => found.0.push(session),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
                Err(error) => found.1.push((path, error.to_string())),
            }
        }
        Ok(())
    };
    let worth = usize::try_from(total / worth).unwrap_or(usize::MAX);
    let helpers = jobs.count().saturating_sub(1).min(worth).min(MOST_HELPERS);
    let mut told = 0;
    let mut tell = || {
        let read = read.load(Ordering::Relaxed);
        advance(read - told, total);
        told = read;
    };
    thread::scope(|scope| {
        // A system that has no thread to give is no reason to fail.
        let helping: Vec<_> = (0..helpers)
            .map_while(|_| thread::Builder::new().spawn_scoped(scope, || look(&mut || {})).ok())
            .collect();
        let own = look(&mut tell);
        let joined = |helper: thread::ScopedJoinHandle<'_, _>| {
            helper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        helping.into_iter().map(joined).fold(own, Result::and)
    })?;
    tell();
    let (mut sessions, mut skipped) = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    sessions.sort_by(|a, b| a.path.cmp(&b.path));
    skipped.sort();
    Ok(Scan { sessions, skipped, read: read.into_inner() })
}

/// Where a file is, relative to the home, with `/`.
pub(super) fn place(codex_home: &Path, path: &Path) -> String {
    let below = path.strip_prefix(codex_home).unwrap_or(path);
    let parts: Vec<_> = below.iter().map(|part| part.to_string_lossy()).collect();
    parts.join("/")
}

/// What is remembered, by place and by name.
pub(super) struct Known<'a> {
    places: BTreeMap<&'a str, &'a Session>,
    names: BTreeMap<&'a str, &'a Session>,
}

impl<'a> Known<'a> {
    pub(super) fn new(remembered: &'a [Session]) -> Self {
        Self {
            places: remembered.iter().map(|known| (known.path.as_str(), known)).collect(),
            names: remembered.iter().map(|known| (known.name(), known)).collect(),
        }
    }

    /// What may be remembered of the file in this place: the one that was there, else one of its
    /// name that was elsewhere.
    pub(super) fn of(&self, place: &str) -> Option<&'a Session> {
        let name = place.rsplit('/').next().unwrap_or(place);
        self.places.get(place).or_else(|| self.names.get(name)).copied()
    }
}

/// Whether a file looks exactly as it did when it was read.
pub(super) fn is_untouched(known: &Session, facts: &Facts) -> bool {
    known.facts == *facts
}

/// Whether what is remembered is how this file begins. Answers how many bytes were read, too.
pub(super) fn begins_so(known: &Session, file: &mut File, size: u64) -> io::Result<(bool, u64)> {
    if size < known.read_to {
        return Ok((false, 0));
    }
    let (head, tail) = ends(file, known.read_to)?;
    let read = known.read_to.min(ENDS) * 2;
    Ok((head == known.head && tail == known.tail, read))
}

/// Digests of the first and the last bytes before `read_to`.
fn ends(file: &mut File, read_to: u64) -> io::Result<(String, String)> {
    let len = read_to.min(ENDS);
    let mut at = |from| {
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        let count = fill(&*file, &mut bytes)?;
        Ok::<_, io::Error>(digest(bytes.get(..count).unwrap_or_default()))
    };
    Ok((at(0)?, at(read_to - len)?))
}

struct Reader<'a> {
    block: Vec<u8>,
    /// Bytes that were read by all.
    read: &'a AtomicU64,
    /// Hears that they became more.
    tell: &'a mut dyn FnMut(),
    stop: &'a AtomicBool,
}

impl Reader<'_> {
    fn look(
        &mut self,
        (path, listed): (&Path, &Listed),
        place: &str,
        known: Option<&Session>,
    ) -> io::Result<Session> {
        if let Some(known) = known.filter(|known| is_untouched(known, &listed.facts)) {
            return Ok(Session { path: place.to_owned(), ..known.clone() });
        }
        let mut file = open(path)?;
        let facts = Facts::of(&file.metadata()?);
        let mut session = Session {
            path: place.to_owned(),
            start: None,
            stretches: Vec::new(),
            read_to: 0,
            head: String::new(),
            tail: String::new(),
            facts,
        };
        if let Some(known) = known {
            let (is_it, read) = begins_so(known, &mut file, facts.size)?;
            self.count(read);
            if is_it {
                session = Session { path: session.path, facts, ..known.clone() };
            }
        }
        self.read_on(&mut file, &mut session)?;
        (session.head, session.tail) = ends(&mut file, session.read_to)?;
        self.count(session.read_to.min(ENDS) * 2);
        Ok(session)
    }

    fn count(&mut self, bytes: u64) {
        self.read.fetch_add(bytes, Ordering::Relaxed);
        (self.tell)();
    }

    /// Takes in the whole lines that were not read yet.
    fn read_on(&mut self, file: &mut File, session: &mut Session) -> io::Result<()> {
        file.seek(SeekFrom::Start(session.read_to))?;
        // What is appended from now on is for the next time.
        let mut left = session.facts.size.saturating_sub(session.read_to);
        let mut lines = Lines { pending: Vec::new(), passed: 0 };
        while 0 < left {
            if self.stop.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(self.block.len());
            let count = file.read(self.block.get_mut(..wanted).unwrap_or_default())?;
            if count == 0 {
                break;
            }
            let bytes = u64::try_from(count).unwrap_or(u64::MAX);
            left = left.saturating_sub(bytes);
            self.count(bytes);
            lines.take(self.block.get(..count).unwrap_or_default(), session);
        }
        Ok(())
    }
}

/// The lines of a file, which come in blocks.
struct Lines {
    /// What was read of a line whose end was not.
    pending: Vec<u8>,
    /// How much of that line is not in `pending`, because it is too long to be looked at.
    passed: u64,
}

impl Lines {
    fn take(&mut self, block: &[u8], session: &mut Session) {
        let Some(last) = memrchr(b'\n', block) else { return self.keep(block) };
        let (mut whole, rest) = block.split_at(last + 1);
        if !self.pending.is_empty() || 0 < self.passed {
            let end = memchr(b'\n', whole).map_or(whole.len(), |end| end + 1);
            let (line, others) = whole.split_at(end);
            self.keep(line);
            let line = mem::take(&mut self.pending);
            take_in(&line, mem::take(&mut self.passed), session);
            whole = others;
        }
        take_in(whole, 0, session);
        self.keep(rest);
    }

    fn keep(&mut self, bytes: &[u8]) {
        if 0 < self.passed || MAX_LINE < self.pending.len() + bytes.len() {
            let dropped = self.pending.len() + bytes.len();
            self.passed += u64::try_from(dropped).unwrap_or(u64::MAX);
            self.pending.clear();
        } else {
            self.pending.extend_from_slice(bytes);
        }
    }
}

/// Takes in whole lines; `passed` bytes before them belong to them and were not kept.
fn take_in(lines: &[u8], passed: u64, session: &mut Session) {
    let is_first = session.read_to == 0 && passed == 0;
    let len = u64::try_from(lines.len()).unwrap_or(u64::MAX);
    session.read_to = session.read_to.saturating_add(passed).saturating_add(len);
    if is_first {
        let end = memchr(b'\n', lines).unwrap_or(lines.len());
        session.start = lines.get(..end).and_then(meta).map(Meta::start);
    }
    let mut from = 0;
    while let Some(found) = lines.get(from..).and_then(|rest| memmem::find(rest, MARK)) {
        let at = from + found;
        let begin = lines.get(..at).and_then(|before| memrchr(b'\n', before)).map_or(0, |n| n + 1);
        let end =
            lines.get(at..).and_then(|rest| memchr(b'\n', rest)).map_or(lines.len(), |n| at + n);
        let line = lines.get(begin..end).and_then(Line::parse);
        if let Some(event) = line.and_then(Line::event) {
            session.note(event);
        }
        from = end;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::codex::rollout::{Glimpses, Memory, Reach, newest_limits};
    use crate::time::Stamp;

    /// A Codex home of the test's own.
    struct Home(tempfile::TempDir);

    impl Home {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self, path: &str) -> PathBuf {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            path
        }

        fn write(&self, path: &str, text: impl AsRef<[u8]>) -> &Self {
            fs::write(self.path(path), text).unwrap();
            self
        }

        fn append(&self, path: &str, text: &str) -> &Self {
            use std::io::Write as _;
            let mut file = fs::OpenOptions::new().append(true).open(self.path(path)).unwrap();
            file.write_all(text.as_bytes()).unwrap();
            self
        }

        #[track_caller]
        fn scan(&self, remembered: &[Session]) -> Scan {
            let (mut heard, mut of) = (0, 0);
            let advance = &mut |count, total| {
                heard += count;
                of = total;
            };
            // Every byte is worth a thread here.
            let (by, stop) = ((Jobs::of(4), 1), AtomicBool::new(false));
            let scan = scan_by(self.0.path(), remembered, by, advance, &stop).unwrap();
            assert_eq!(scan.read, heard);
            assert!(of <= scan.read, "{of} of {}", scan.read);
            scan
        }
    }

    const A: &str = "sessions/2026/04/21/rollout-a.jsonl";

    fn head(hour: u32, user: &str) -> String {
        let payload = json!({
            "timestamp": time(hour), "cli_version": "0.169.0",
            "creator_user_id": format!("user-{user}"), "creator_account_id": format!("acct-{user}"),
        });
        line(hour, "session_meta", &payload)
    }

    fn time(hour: u32) -> String {
        format!("2026-04-21T{hour:02}:00:00.146Z")
    }

    fn line(hour: u32, kind: &str, payload: &Value) -> String {
        json!({"timestamp": time(hour), "type": kind, "payload": payload}).to_string() + "\n"
    }

    fn event_of(hour: u32, limits: &Value) -> String {
        let payload = json!({"type": "token_count", "info": null, "rate_limits": limits});
        line(hour, "event_msg", &payload)
    }

    fn week(hour: u32, used: f64, resets_at: i64) -> String {
        let week = json!({"used_percent": used, "window_minutes": 10_080, "resets_at": resets_at});
        event_of(hour, &json!({"limit_id": "codex", "primary": week}))
    }

    const RESET: i64 = 1_777_000_000;

    fn chat(len: usize) -> String {
        line(9, "response_item", &json!({ "text": "x".repeat(len) }))
    }

    fn told(session: &Session) -> Vec<String> {
        let event = |event: &super::super::Event| {
            let used = event.windows.first().and_then(|window| window.used_percent).unwrap();
            format!("{}h {used}", event.observed_at.wall().format("%-H"))
        };
        let stretches = session.stretches.iter().map(|stretch| {
            let reached: Vec<String> = stretch.reached.iter().map(event).collect();
            let ends = format!("{} to {}", event(&stretch.first), event(stretch.newest()));
            if reached.is_empty() { ends } else { format!("{ends}, full {}", reached.join(" ")) }
        });
        stretches.collect()
    }

    #[test]
    fn a_file_is_kept_as_its_start_and_the_ends_of_its_weeks() {
        let other = json!({"limit_id": "codex_other", "primary": {"used_percent": 99.0}});
        let old = json!({"primary": {"used_percent": 7.0, "window_minutes": 300, "resets_in_seconds": 60}});
        let text = head(8, "a")
            + &week(9, 10.0, RESET)
            + &chat(300_000)
            + &event_of(10, &other)
            + &event_of(10, &Value::Null)
            + &week(10, 50.0, RESET + 60)
            + &week(11, 100.0, RESET)
            + &week(12, 100.0, RESET)
            + &week(13, 1.0, RESET + 604_800)
            + "{\"type\":\"token_count\"} not JSON\n\n"
            + &event_of(14, &old)
            + &line(15, "response_item", &json!({"text": "it says \"token_count\""}));
        let home = Home::new();
        home.write(A, &text);
        let scan = home.scan(&[]);
        let session = scan.sessions.first().unwrap();
        assert_eq!(
            told(session),
            ["9h 10 to 12h 100, full 11h 100", "13h 1 to 13h 1", "14h 7 to 14h 7"]
        );
        let start = session.start.as_ref().unwrap();
        assert_eq!(start.creator, Some("chatgpt:user-a/acct-a".parse().unwrap()));
        assert_eq!(
            (start.at, start.cli_version.as_deref()),
            (time(8).parse::<Stamp>().unwrap(), Some("0.169.0"))
        );
        assert_eq!((scan.sessions.len(), scan.skipped), (1, vec![]));
        assert_eq!(session.path, A);
    }

    #[test]
    fn what_is_remembered_is_not_read_again_and_of_the_rest_only_what_is_new() {
        let home = Home::new();
        home.write(A, head(8, "a") + &chat(1_000_000) + &week(9, 10.0, RESET));
        home.write("sessions/rollout-b.jsonl", head(8, "b") + &chat(500_000));
        let full = home.scan(&[]);
        assert!((1_500_000..1_540_000).contains(&full.read), "{}", full.read);
        let again = home.scan(&full.sessions);
        assert_eq!((again.read, &again.sessions), (0, &full.sessions));

        let new = week(10, 20.0, RESET);
        home.append(A, &new);
        let grown = home.scan(&full.sessions);
        // Both ends of what was read are compared, and taken anew.
        assert_eq!(grown.read, u64::try_from(new.len()).unwrap() + 4 * ENDS);
        assert_eq!(told(grown.sessions.first().unwrap()), ["9h 10 to 10h 20"]);
        assert_eq!(grown.sessions, home.scan(&[]).sessions);
    }

    #[test]
    fn a_file_that_moved_is_known_again() {
        let home = Home::new();
        home.write(A, head(8, "a") + &chat(100_000) + &week(9, 10.0, RESET));
        let full = home.scan(&[]);
        fs::rename(home.path(A), home.path("archived_sessions/rollout-a.jsonl")).unwrap();
        let moved = home.scan(&full.sessions);
        assert_eq!((moved.read, moved.sessions.len()), (0, 1));
        let session = moved.sessions.first().unwrap();
        assert_eq!(
            (session.path.as_str(), told(session)),
            ("archived_sessions/rollout-a.jsonl", vec!["9h 10 to 9h 10".to_owned()])
        );
        // Also if it is a copy, as in a home that was restored.
        fs::copy(home.path("archived_sessions/rollout-a.jsonl"), home.path(A)).unwrap();
        fs::remove_file(home.path("archived_sessions/rollout-a.jsonl")).unwrap();
        assert_eq!(home.scan(&moved.sessions).read, 4 * ENDS);
    }

    #[test]
    fn a_file_that_was_cut_or_replaced_is_read_from_its_beginning() {
        let home = Home::new();
        let long = head(8, "a") + &week(9, 10.0, RESET) + &week(10, 20.0, RESET);
        home.write(A, &long);
        let full = home.scan(&[]);
        home.write(A, head(8, "a") + &week(9, 10.0, RESET));
        assert_eq!(home.scan(&full.sessions).sessions, home.scan(&[]).sessions);
        home.write(
            A,
            head(8, "b") + &week(9, 77.0, RESET) + &week(10, 78.0, RESET) + &week(11, 79.0, RESET),
        );
        let replaced = home.scan(&full.sessions);
        assert_eq!(replaced.sessions, home.scan(&[]).sessions);
        assert_eq!(told(replaced.sessions.first().unwrap()), ["9h 77 to 11h 79"]);
        fs::remove_file(home.path(A)).unwrap();
        assert_eq!(home.scan(&full.sessions).sessions, []);
    }

    #[test]
    fn half_a_line_and_one_that_is_too_long_hide_nothing() {
        let home = Home::new();
        let event = week(9, 10.0, RESET);
        let (half, rest) = event.split_at(event.len() / 2);
        home.write(A, head(8, "a") + half);
        let torn = home.scan(&[]);
        assert_eq!(told(torn.sessions.first().unwrap()), [""; 0]);
        home.append(A, rest);
        assert_eq!(told(home.scan(&torn.sessions).sessions.first().unwrap()), ["9h 10 to 9h 10"]);

        let mut long = head(8, "a").into_bytes();
        let of_it = long.len();
        long.resize(of_it + MAX_LINE + 10, b'x');
        long.extend(b"\"token_count\"\n");
        long.extend(event.as_bytes());
        home.write(A, &long);
        let scan = home.scan(&[]);
        let session = scan.sessions.first().unwrap();
        assert_eq!(told(session), ["9h 10 to 9h 10"]);
        assert_eq!(session.read_to, u64::try_from(long.len()).unwrap());
    }

    #[test]
    fn a_scan_stops_when_it_is_told_to() {
        let home = Home::new();
        home.write(A, head(8, "a"));
        let stopped = scan(home.0.path(), &[], Jobs::ONE, &mut |_, _| {}, &AtomicBool::new(true));
        assert_eq!(stopped.unwrap_err().kind(), io::ErrorKind::Interrupted);
    }

    /// One thing that happens to the session files of a home.
    #[derive(Clone, Debug)]
    enum Step {
        Append(usize, Vec<u8>),
        Cut(usize, usize),
        Replace(usize, Vec<u8>),
        Archive(usize),
        Remove(usize),
        Scan,
    }

    /// Bytes of which some are whole lines, some halves of them and some odd.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            4 => (0..24_u32, 0..110_u32, 0..3_i64)
                .prop_map(|(hour, used, n)| week(hour, used.into(), RESET + n * 604_800)),
            1 => (0..24_u32).prop_map(|hour| head(hour, "a")),
            1 => (0..24_u32).prop_map(|hour| event_of(hour, &json!({"limit_id": "codex_other"}))),
            1 => Just("\n".to_owned()),
            1 => Just("\"token_count\"".to_owned()),
            1 => (0..9_000_usize).prop_map(chat),
        ];
        let cut = (piece, prop_oneof![3 => Just(usize::MAX), 1 => 0..400_usize]);
        proptest::collection::vec(cut, 0..6).prop_map(|pieces| {
            let mut bytes = Vec::new();
            for (piece, len) in pieces {
                bytes.extend(piece.into_bytes().into_iter().take(len));
            }
            bytes
        })
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..3_usize, bytes()).prop_map(|(file, bytes)| Step::Append(file, bytes)),
            1 => (0..3_usize, 0..9_000_usize).prop_map(|(file, len)| Step::Cut(file, len)),
            1 => (0..3_usize, bytes()).prop_map(|(file, bytes)| Step::Replace(file, bytes)),
            1 => (0..3_usize).prop_map(Step::Archive),
            1 => (0..3_usize).prop_map(Step::Remove),
            4 => Just(Step::Scan),
        ]
    }

    proptest! {
        // Each writes and reads many files.
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn whatever_happens_reading_on_finds_what_reading_anew_finds(
            steps in proptest::collection::vec(step(), 1..24),
        ) {
            let home = Home::new();
            fs::create_dir_all(home.0.path().join("archived_sessions")).unwrap();
            let live = |file| home.path(&format!("sessions/rollout-{file}.jsonl"));
            let archived = |file| home.path(&format!("archived_sessions/rollout-{file}.jsonl"));
            let place = |file| if archived(file).exists() { archived(file) } else { live(file) };
            let mut remembered = Vec::new();
            for step in steps.into_iter().chain([Step::Scan]) {
                match step {
                    Step::Append(file, bytes) => {
                        let mut whole = fs::read(place(file)).unwrap_or_default();
                        // In place, so that it stays the same file.
                        whole.extend(bytes);
                        fs::write(place(file), whole).unwrap();
                    }
                    Step::Cut(file, len) => {
                        if let Ok(mut whole) = fs::read(place(file)) {
                            whole.truncate(len);
                            fs::write(place(file), whole).unwrap();
                        }
                    }
                    Step::Replace(file, bytes) => {
                        fs::remove_file(place(file)).ok();
                        fs::write(place(file), bytes).unwrap();
                    }
                    Step::Archive(file) => {
                        fs::rename(live(file), archived(file)).ok();
                    }
                    Step::Remove(file) => {
                        fs::remove_file(place(file)).ok();
                    }
                    Step::Scan => {
                        let on = home.scan(&remembered);
                        let anew = home.scan(&[]);
                        prop_assert_eq!(&on.sessions, &anew.sessions);
                        let mut memory = Memory::default();
                        memory.keep(home.0.path(), on.sessions.clone());
                        let kept = Memory::parse(&memory.to_bytes().unwrap());
                        prop_assert_eq!(&kept, &memory);
                        remembered = kept.of(home.0.path()).to_vec();
                    }
                }
            }
        }

        #[test]
        fn a_glance_sees_the_same_with_and_without_memory(
            turns in proptest::collection::vec((0..3_usize, any::<bool>(), 0..9_000_usize), 1..20),
            until in proptest::option::of(0..20_u32),
        ) {
            let home = Home::new();
            let mut remembered = Vec::new();
            for (hour, (file, scans, len)) in (0..).zip(turns) {
                let place = format!("sessions/rollout-{file}.jsonl");
                let mut whole = fs::read(home.path(&place)).unwrap_or_default();
                whole.extend(week(hour, f64::from(hour), RESET).into_bytes());
                whole.extend(line(hour, "response_item", &json!("x".repeat(len))).into_bytes());
                home.write(&place, whole);
                if scans {
                    remembered = home.scan(&remembered).sessions;
                }
                let until = until.map(|hour| time(hour).parse::<Stamp>().unwrap().instant());
                let look = |remembered, glimpses: &mut Glimpses| {
                    newest_limits(home.0.path(), Reach::All, remembered, glimpses, (None, until))
                };
                let with = look(&remembered, &mut Glimpses::default()).unwrap();
                let without = look(&[], &mut Glimpses::default()).unwrap();
                prop_assert_eq!(with.limits, without.limits);
            }
        }
    }
}
