//! What do Codex's session files say about quota?
//!
//! Every turn appends a `token_count` event with the limits as they were. The newest is found by
//! the times in the events, not by names or modification times: an old session that is resumed
//! is appended to. Nothing in an event says whose it is; that is `overview`'s question.
//!
//! [`newest_limits`] looks at as little as it can, from the ends of the newest files, and
//! [`newest_version`] at the beginnings of a few; [`scan()`] reads everything once, and afterwards
//! what was appended. What they need not read again is in [`Glimpses`] and in a [`Memory`].
//!
//! Everything is opened read-only, and no link is followed.

mod backwards;
mod glimpses;
mod line;
mod listing;
mod memory;
mod recent;
mod scan;

use std::fs::File;
use std::io::{self, Read as _};
use std::mem;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use self::backwards::Backwards;
use self::glimpses::Glimpse;
use self::line::{Line, meta};
use self::listing::{Facts, Listed, Listing, list, open};
use self::memory::Newest;
use self::recent::recent;
use self::scan::{Known, begins_so, is_untouched, place};
use crate::account::AccountKey;
use crate::time::Stamp;
use crate::window::Window;

pub use self::glimpses::{Glimpses, MAX_GLIMPSES};
pub use self::line::Event;
pub use self::memory::{MAX_MEMORY, Memory, Session, Start, Stretch};
pub use self::scan::{Scan, scan};

/// Longest line that is looked at, in bytes; a longer one is passed over.
const MAX_LINE: usize = 16 << 20;

/// How much is read at a time, from the end of a file.
const BLOCK: u64 = 64 << 10;

/// How much is read to find the newest limits, in bytes; then what was found has to do.
const GLANCE: u64 = 64 << 20;

/// How much is read of the recent files alone, in bytes; then all are looked at.
const BRIEF_GLANCE: u64 = 8 << 20;

/// How far a modification time may lag behind the events of its file: copying a home or a wrong
/// clock moves it, but a file this much older than an event cannot well hold a newer one. In
/// nanoseconds.
const MTIME_SLACK: i64 = 2 * 86_400 * 1_000_000_000;

/// In so many of the newest files is looked for a version of Codex.
const VERSIONS: usize = 8;

/// The limits as one event told them.
#[derive(Clone, Debug, PartialEq)]
pub struct RolloutLimits {
    /// The time of the event.
    pub observed_at: Stamp,
    /// The windows of the general limit, those of other limits never. A window without a length
    /// has 0 minutes.
    pub windows: Vec<Window>,
    /// `Some(true)` if the backend gave a reason why a limit is reached; otherwise it did not say.
    pub limit_reached: Option<bool>,
    /// The plan, if the event has it; it rarely does.
    pub plan: Option<String>,
    /// Who began the session (Codex 0.160.1 and newer), which need not be who had this turn.
    pub creator: Option<AccountKey>,
    /// When the session began.
    pub begun: Option<Stamp>,
    /// The version of Codex that began it.
    pub cli_version: Option<String>,
    /// The file it was found in.
    pub file: PathBuf,
}

/// Which files are looked at for limits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reach {
    /// All of the home: each is asked for its time, and no more than 64 MiB are read.
    All,
    /// The 100 that were begun last, as their names tell, and up to 64 others that Codex took note
    /// of: by a prompt in `history.jsonl`, a name in `session_index.jsonl`, or a lock. So it costs
    /// the same however many there are. A session older than those that was gone on with without a
    /// note (`codex exec resume`) is missed. No more than 8 MiB are read.
    Recent,
}

/// What came of looking for limits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// The newest event, if there is any.
    pub limits: Option<RolloutLimits>,
    /// What could not be looked at, and why, in the order of the paths.
    pub skipped: Vec<(PathBuf, String)>,
    /// How many bytes were read for it.
    pub read: u64,
    /// How many folders were read for it, and how many entries in them asked about.
    pub asked: usize,
    /// There was too much to read, and nothing remembered of it: a newer event may be in what was
    /// left aside. A [`scan()`] whose sessions are remembered helps.
    pub is_partial: bool,
}

/// Finds the newest limits in the session files of a Codex home: later than `since` and not
/// later than `until`, where given.
///
/// A file that looks as it did is not opened. Any other is read backwards, block by block, until its
/// newest event is found or what is remembered of it begins; memory does not grow with the files. Files are visited by modification
/// time, newest first, and those more than two days older than the best event (or `since`) are left
/// alone. A torn last line is passed over, a file that cannot be read or is compressed
/// (`.jsonl.zst`) is named in [`Found::skipped`].
///
/// # Errors
///
/// Only when `codex_home` itself is no folder that can be looked at.
pub fn newest_limits(
    codex_home: &Path,
    reach: Reach,
    remembered: &[Session],
    glimpses: &mut Glimpses,
    (since, until): (Option<Stamp>, Option<DateTime<Utc>>),
) -> io::Result<Found> {
    let (mut listing, most) = match reach {
        Reach::All => (list(codex_home)?, GLANCE),
        Reach::Recent => (recent(codex_home)?, BRIEF_GLANCE),
    };
    let (mut files, mut skipped) = (mem::take(&mut listing.files), mem::take(&mut listing.skipped));
    files.sort_by(|a, b| {
        let by_place = || listing.place(b).cmp(&listing.place(a));
        b.facts.modified.cmp(&a.facts.modified).then_with(by_place)
    });
    let known = Known::new(remembered);

    let mut glance = Glance { left: most, is_partial: false };
    let mut best: Option<(Event, Listed)> = None;
    for file in files {
        let newest = best.as_ref().map(|(event, _)| event.observed_at).or(since);
        if newest.is_some_and(|newest| is_too_old(&file, newest)) {
            break;
        }
        let path = listing.path(&file);
        let place = place(codex_home, &path);
        let glimpse = glimpses.of(&place, file.look());
        match glance.newest_event((&path, &file), known.of(&place), glimpse, (newest, until)) {
            Ok(Some(event)) => best = Some((event, file)),
            Ok(None) => {}
            Err(error) => skipped.push((path, error.to_string())),
        }
        if glance.is_partial {
            break;
        }
    }
    skipped.sort();
    let Glance { left, is_partial } = glance;
    let mut read = most - left;
    let limits = best.map(|(event, file)| {
        let path = listing.path(&file);
        let start = start_of(codex_home, (&path, &file), glimpses, &mut read);
        RolloutLimits {
            observed_at: event.observed_at,
            windows: event.windows,
            limit_reached: event.limit_reached,
            plan: event.plan,
            creator: start.as_ref().and_then(|start| start.creator.clone()),
            begun: start.as_ref().map(|start| start.at),
            cli_version: start.and_then(|start| start.cli_version),
            file: path,
        }
    });
    Ok(Found { limits, skipped, read, asked: listing.asked, is_partial })
}

/// The version of Codex that began the newest session which tells one, if one of the newest eight
/// does. Their names begin with the time; no more than their first lines is read, and of a file that
/// looks as it did, nothing.
#[must_use]
pub fn newest_version(codex_home: &Path, glimpses: &mut Glimpses) -> Option<String> {
    let mut listing = Listing::default();
    let places = listing.newest_by_name(codex_home, VERSIONS);
    let mut versions = places.into_iter().filter_map(|path| {
        listing.look_at([path.clone()]);
        start_of(codex_home, (&path, &listing.files.pop()?), glimpses, &mut 0)?.cli_version
    });
    versions.next()
}

fn is_too_old(file: &Listed, newest: Stamp) -> bool {
    let newest = newest.instant().timestamp_nanos_opt().unwrap_or(i64::MAX);
    file.facts.modified.saturating_add(MTIME_SLACK) < newest
}

/// How the session of a file began, if that tells; `read` grows by what is read for it, in bytes.
fn start_of(
    codex_home: &Path,
    (path, file): (&Path, &Listed),
    glimpses: &mut Glimpses,
    read: &mut u64,
) -> Option<Start> {
    let glimpse = glimpses.of(&place(codex_home, path), file.look());
    if let Some(known) = glimpse.start() {
        return known;
    }
    let line = first_line(path, read).ok()?;
    let start = line.as_deref().and_then(meta).map(line::Meta::start);
    glimpse.note_start(start.as_ref());
    start
}

/// The first line of a file, without its end; `None` if it is too long to be looked at.
fn first_line(path: &Path, read: &mut u64) -> io::Result<Option<Vec<u8>>> {
    let mut file = open(path)?;
    let mut line = Vec::new();
    while line.len() < MAX_LINE {
        let from = line.len();
        let count = file.by_ref().take(BLOCK).read_to_end(&mut line)?;
        *read = read.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        if count == 0 {
            return Ok(Some(line));
        }
        let fresh = line.get(from..).unwrap_or_default();
        if let Some(end) = memchr::memchr(b'\n', fresh) {
            line.truncate(from + end);
            return Ok(Some(line));
        }
    }
    Ok(None)
}

/// A look that must not take long.
struct Glance {
    /// How many bytes may still be read.
    left: u64,
    is_partial: bool,
}

impl Glance {
    /// The newest event of a file that is newer than the first of the times and not after the other.
    fn newest_event(
        &mut self,
        (path, listed): (&Path, &Listed),
        known: Option<&Session>,
        glimpse: &mut Glimpse,
        (newer_than, until): (Option<Stamp>, Option<DateTime<Utc>>),
    ) -> io::Result<Option<Event>> {
        if let Some(answer) = glimpse.newest(newer_than, until) {
            return Ok(answer);
        }
        let newer = |event: &Event| newer_than.is_none_or(|than| than < event.observed_at);
        let remembered = |known: &Session| match known.newest(until) {
            Newest::Event(event) => Some(Some(event.clone()).filter(newer)),
            Newest::Nothing => Some(None),
            Newest::Unsure => None,
        };
        let told = known.and_then(|known| Some((known, remembered(known)?)));
        if let Some((known, event)) = &told
            && is_untouched(known, &listed.facts)
        {
            // Whoever does not ask the memory, because it is large, need not open the file either.
            glimpse.note_newest(event.as_ref(), newer_than);
            return Ok(event.clone());
        }
        let mut file = open(path)?;
        let size = Facts::of(&file.metadata()?).size;
        let (mut floor, mut below) = (0, None);
        if let Some((known, event)) = told {
            let (is_it, read) = begins_so(known, &mut file, size)?;
            self.left = self.left.saturating_sub(read);
            if is_it {
                (floor, below) = (known.read_to, event);
            }
        }
        let mut passed_over = false;
        let event = self.backwards(file, floor, (newer_than, until), &mut passed_over)?;
        let event = event.unwrap_or(below);
        if !passed_over && !self.is_partial {
            glimpse.note_newest(event.as_ref(), newer_than);
        }
        Ok(event)
    }

    /// Reads a file from its end down to `floor`: the newest event, `Some(None)` if there is none
    /// that is newer, `None` if nothing tells. `passed_over` hears that something was too new.
    fn backwards(
        &mut self,
        file: File,
        floor: u64,
        (newer_than, until): (Option<Stamp>, Option<DateTime<Utc>>),
        passed_over: &mut bool,
    ) -> io::Result<Option<Option<Event>>> {
        let mut lines = Backwards::new(file, floor, self.left)?;
        let mut found = None;
        while let Some(line) = lines.next_line()? {
            let Some(line) = Line::parse(&line) else { continue };
            // Lines are appended in the order of time: everything before this one is older still.
            if newer_than.is_some_and(|than| line.timestamp <= than) {
                found = Some(None);
                break;
            }
            if until.is_some_and(|until| until < line.timestamp.instant()) {
                *passed_over = true;
                continue;
            }
            if let Some(event) = line.event() {
                found = Some(Some(event));
                break;
            }
        }
        self.left = lines.budget();
        self.is_partial |= found.is_none() && lines.is_cut();
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::{Value, json};

    use super::*;

    /// A Codex home of the test's own.
    struct Home(tempfile::TempDir);

    impl Home {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        /// Writes a file as if it had last been changed at `time` of 21 April 2026.
        fn file(self, path: &str, text: &str, time: &str) -> Self {
            self.file_of_day(path, text, "21", time)
        }

        fn file_of_day(self, path: &str, text: &str, day: &str, time: &str) -> Self {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            let changed = format!("2026-04-{day}T{time}Z").parse::<Stamp>().unwrap().instant();
            File::options().write(true).open(path).unwrap().set_modified(changed.into()).unwrap();
            self
        }

        /// The time and the percentages of the newest limits, and what was skipped.
        fn newest(&self) -> (Option<String>, Vec<String>) {
            self.newest_until(None)
        }

        fn newest_until(&self, until: Option<&str>) -> (Option<String>, Vec<String>) {
            let until = until.map(|time| stamp(time).instant());
            let found = newest_limits(
                self.0.path(),
                Reach::All,
                &[],
                &mut Glimpses::default(),
                (None, until),
            )
            .unwrap();
            let limits = found.limits.map(|limits| {
                let used = limits.windows.iter().map(|w| w.used_percent.unwrap().to_string());
                let time = limits.observed_at.wall().format("%H:%M:%S").to_string();
                format!("{time} {}", used.collect::<Vec<_>>().join(" "))
            });
            let skipped = found.skipped.iter().map(|(path, reason)| {
                format!("{}: {reason}", path.strip_prefix(self.0.path()).unwrap().display())
            });
            (limits, skipped.collect())
        }
    }

    fn stamp(time: &str) -> Stamp {
        format!("2026-04-21T{time}Z").parse().unwrap()
    }

    const DAY: &str = "sessions/2026/04/21";

    fn head(time: &str, user: &str) -> String {
        let payload = json!({
            "timestamp": format!("2026-04-21T{time}.146Z"), "cli_version": "0.169.0",
            "creator_user_id": format!("user-{user}"),
            "creator_account_id": format!("acct-{user}"),
        });
        line(time, "session_meta", &payload)
    }

    fn line(time: &str, kind: &str, payload: &Value) -> String {
        let timestamp = format!("2026-04-21T{time}.487Z");
        json!({"timestamp": timestamp, "type": kind, "payload": payload}).to_string() + "\n"
    }

    fn limits(time: &str, limits: &Value) -> String {
        let payload = json!({"type": "token_count", "info": null, "rate_limits": limits});
        line(time, "event_msg", &payload)
    }

    fn week(used: f64) -> Value {
        json!({"used_percent": used, "window_minutes": 10_080, "resets_at": 1_777_000_000})
    }

    fn general(time: &str, used: f64) -> String {
        limits(time, &json!({"limit_id": "codex", "primary": null, "secondary": week(used)}))
    }

    #[test]
    fn the_version_is_that_of_the_newest_session_that_tells_one() {
        let begun = |version: Option<&str>| {
            let payload = json!({"timestamp": "2026-04-21T09:00:00Z", "cli_version": version});
            json!({"timestamp": "2026-04-21T09:00:00Z", "type": "session_meta", "payload": payload})
                .to_string()
                + "\n"
        };
        let version = |home: &Home| newest_version(home.0.path(), &mut Glimpses::default());
        let home = Home::new();
        assert_eq!(version(&home), None);
        let rollout =
            |day: &str| format!("sessions/2026/04/{day}/rollout-2026-04-{day}T09-00-00-a.jsonl");
        // The time of change tells nothing: the older one was resumed last.
        let home = home.file(&rollout("20"), &begun(Some("0.150.0")), "23:00:00");
        assert_eq!(version(&home).as_deref(), Some("0.150.0"));
        let home = home.file(&rollout("21"), &begun(Some("0.169.0")), "10:00:00");
        assert_eq!(version(&home).as_deref(), Some("0.169.0"));
        let home = home.file(&rollout("22"), &begun(None), "10:00:00").file(
            "sessions/2026/04/22/notes.jsonl",
            &begun(Some("1.0.0")),
            "10:00:00",
        );
        assert_eq!(version(&home).as_deref(), Some("0.169.0"));
        let archived = "archived_sessions/rollout-2026-04-21T09-30-00-b.jsonl";
        let home = home.file(archived, &begun(Some("0.170.0")), "09:00:00");
        assert_eq!(version(&home).as_deref(), Some("0.170.0"));
        // What lies eight sessions back is not looked for.
        let home = (1..=8).fold(home, |home, minute| {
            let place = format!("sessions/2026/05/01/rollout-2026-05-01T09-0{minute}-00-c.jsonl");
            home.file(&place, "{}\n", "09:00:00")
        });
        assert_eq!(version(&home), None);
    }

    #[test]
    fn the_newest_event_counts_whatever_its_file_is_called() {
        let resumed =
            head("08:00:00", "a") + &general("08:00:01", 10.0) + &general("11:00:00", 30.5);
        let younger = head("10:00:00", "b") + &general("10:00:01", 20.0);
        let archived = head("09:00:00", "b") + &general("09:30:00", 15.0);
        let home = Home::new()
            .file(&format!("{DAY}/rollout-2026-04-21T08-00-00-x.jsonl"), &resumed, "09:00:00")
            .file(&format!("{DAY}/rollout-2026-04-21T10-00-00-y.jsonl"), &younger, "11:30:00")
            .file("archived_sessions/rollout-2026-04-21T09-00-00-z.jsonl", &archived, "11:40:00")
            .file(&format!("{DAY}/notes.jsonl"), &general("12:00:00", 99.0), "12:00:00");
        assert_eq!(home.newest(), (Some("11:00:00 30.5".to_owned()), vec![]));
        let before = |time| home.newest_until(Some(time)).0;
        assert_eq!(before("10:59:59"), Some("10:00:01 20".to_owned()));
        assert_eq!(before("09:59:59"), Some("09:30:00 15".to_owned()));
        assert_eq!(before("08:00:00"), None);
        let after = |time| {
            newest_limits(
                home.0.path(),
                Reach::All,
                &[],
                &mut Glimpses::default(),
                (Some(stamp(time)), None),
            )
            .unwrap()
            .limits
        };
        assert_eq!(after("10:59:59").map(|limits| limits.observed_at), Some(stamp("11:00:00")));
        assert_eq!(after("11:00:00"), None);

        let found =
            newest_limits(home.0.path(), Reach::All, &[], &mut Glimpses::default(), (None, None))
                .unwrap()
                .limits
                .unwrap();
        assert_eq!(found.creator, Some("chatgpt:user-a/acct-a".parse().unwrap()));
        assert_eq!(found.windows[0].minutes, 10_080);
        assert_eq!(found.windows[0].resets_at, Stamp::from_epoch(1_777_000_000));
        assert_eq!((found.limit_reached, found.plan), (None, None));
    }

    #[test]
    fn a_torn_last_line_and_odd_lines_hide_nothing() {
        let torn = general("11:00:00", 30.0);
        let text = head("08:00:00", "a")
            + &general("10:00:00", 20.0)
            + "not json\n\n[]\n{\"timestamp\":7}\n"
            + torn.get(..torn.len() / 2).unwrap();
        let home = Home::new().file(&format!("{DAY}/rollout-a.jsonl"), &text, "11:00:00");
        assert_eq!(home.newest().0.as_deref(), Some("10:00:00 20"));
    }

    #[test]
    fn a_file_much_older_than_the_best_event_is_left_alone() {
        // Its text claims to be newest; two days and a second say that it cannot be.
        let text = general("11:00:01", 99.0);
        let recent = general("11:00:00", 10.0);
        let home =
            |day, time| {
                Home::new()
                    .file(&format!("{DAY}/rollout-a.jsonl"), &recent, "11:00:00")
                    .file_of_day(&format!("{DAY}/rollout-b.jsonl"), &text, day, time)
            };
        assert_eq!(home("19", "11:00:00").newest().0.as_deref(), Some("11:00:01 99"));
        assert_eq!(home("19", "10:59:59").newest().0.as_deref(), Some("11:00:00 10"));
    }

    #[cfg(unix)]
    #[test]
    fn links_pipes_and_compressed_files_are_named_and_never_opened() {
        let outside = Home::new().file("rollout-x.jsonl", &general("12:00:00", 99.0), "12:00:00");
        let home = Home::new()
            .file(&format!("{DAY}/rollout-a.jsonl"), &general("10:00:00", 10.0), "10:00:00")
            .file(&format!("{DAY}/rollout-b.jsonl.zst"), "x", "10:00:00");
        let link = |from: &Path, name: &str| {
            std::os::unix::fs::symlink(from, home.0.path().join(name)).unwrap();
        };
        link(&outside.0.path().join("rollout-x.jsonl"), &format!("{DAY}/rollout-c.jsonl"));
        link(outside.0.path(), "sessions/2027");
        link(outside.0.path(), "archived_sessions");
        rustix::fs::mkfifoat(
            rustix::fs::CWD,
            home.0.path().join(DAY).join("rollout-d.jsonl"),
            rustix::fs::Mode::RUSR,
        )
        .unwrap();
        let (limits, skipped) = home.newest();
        assert_eq!(limits.as_deref(), Some("10:00:00 10"));
        assert_eq!(
            skipped,
            [
                "archived_sessions: not a folder of this home".to_owned(),
                format!("{DAY}/rollout-b.jsonl.zst: compressed, not read"),
                format!("{DAY}/rollout-c.jsonl: a link, not followed"),
                format!("{DAY}/rollout-d.jsonl: not a regular file"),
                "sessions/2027: a link, not followed".to_owned(),
            ]
        );
    }

    #[test]
    fn an_empty_home_has_nothing_and_no_home_is_an_error() {
        let home = Home::new();
        assert_eq!(home.newest(), (None, vec![]));
        assert!(
            newest_limits(
                &home.0.path().join("absent"),
                Reach::All,
                &[],
                &mut Glimpses::default(),
                (None, None)
            )
            .is_err()
        );
    }
}
