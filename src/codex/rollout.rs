//! What do Codex's session files say about quota, and whose sessions are they?
//!
//! Every turn appends a `token_count` event with the limits as they were. The newest is found by
//! the times in the events, not by names or modification times: an old session that is resumed
//! is appended to. Nothing in an event says whose it is; [`attribute`] weighs what else is known.
//!
//! Everything is opened read-only, and no link is followed.

mod backwards;
mod line;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};

use self::backwards::Backwards;
use self::line::{Event, Line, meta};
use crate::account::AccountKey;
use crate::time::Stamp;
use crate::window::Window;

/// Longest line that is looked at, in bytes; a longer one is passed over.
const MAX_LINE: usize = 16 << 20;

/// How much is read at a time.
const BLOCK: u64 = 64 << 10;

/// How far a modification time may lag behind the events of its file: copying a home or a wrong
/// clock moves it, but a file this much older than an event cannot well hold a newer one.
const MTIME_SLACK: Duration = Duration::from_secs(2 * 86_400);

/// Deepest folder below `sessions/` that is visited; Codex uses year, month and day.
const MAX_DEPTH: usize = 8;

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
    /// The file it was found in.
    pub file: PathBuf,
}

/// What came of looking for limits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// The newest event, if there is any.
    pub limits: Option<RolloutLimits>,
    /// What could not be looked at, and why, in the order of the paths.
    pub skipped: Vec<(PathBuf, String)>,
}

/// One session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Start {
    /// When it began.
    pub at: Stamp,
    /// Who began it (Codex 0.160.1 and newer).
    pub creator: Option<AccountKey>,
    /// The version of Codex that began it.
    pub cli_version: Option<String>,
    /// Its file.
    pub file: PathBuf,
}

/// What came of looking for sessions.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Starts {
    /// The sessions, oldest first.
    pub sessions: Vec<Start>,
    /// What could not be looked at, and why, in the order of the paths.
    pub skipped: Vec<(PathBuf, String)>,
}

/// To whom an event belongs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Attribution {
    /// Something that is known decides it.
    Certain(AccountKey),
    /// Nothing does: the event counts for nobody.
    Unknown,
}

/// Finds the newest limits in the session files of a Codex home: later than `since` and not
/// later than `until`, where given.
///
/// Each file is read backwards, block by block, until its newest event is found; memory does not
/// grow with the files. Files are visited by modification time, newest first, and those more
/// than two days older than the best event (or `since`) are left alone. A torn last line is passed over, a
/// file that cannot be read or is compressed (`.jsonl.zst`) is named in [`Found::skipped`].
///
/// # Errors
///
/// Only when `codex_home` itself is no folder that can be looked at.
pub fn newest_limits(
    codex_home: &Path,
    since: Option<Stamp>,
    until: Option<DateTime<Utc>>,
) -> io::Result<Found> {
    let Listing { mut files, mut skipped } = list(codex_home)?;
    files.sort_by(|a, b| b.changed.cmp(&a.changed).then_with(|| b.path.cmp(&a.path)));

    let mut best: Option<(Event, PathBuf)> = None;
    for file in files {
        let newest = best.as_ref().map(|(event, _)| event.observed_at).or(since);
        if newest.is_some_and(|newest| is_too_old(file.changed, newest)) {
            break;
        }
        match newest_event(&file.path, newest, until) {
            Ok(Some(event)) => best = Some((event, file.path)),
            Ok(None) => {}
            Err(error) => skipped.push((file.path, error.to_string())),
        }
    }
    skipped.sort();
    let limits = best.map(|(event, file)| RolloutLimits {
        observed_at: event.observed_at,
        windows: event.windows,
        limit_reached: event.limit_reached,
        plan: event.plan,
        creator: first_line(&file).ok().and_then(|line| meta(&line)).and_then(|m| m.creator()),
        file,
    });
    Ok(Found { limits, skipped })
}

/// Reads when each session began and who began it, oldest first.
///
/// The first line of a file decides; its name is in local time of an unknown zone and its
/// modification time changes when a home is copied, so neither is asked. A file whose first
/// line tells nothing is named in [`Starts::skipped`].
///
/// # Errors
///
/// Only when `codex_home` itself is no folder that can be looked at.
pub fn starts(codex_home: &Path) -> io::Result<Starts> {
    let Listing { files, mut skipped } = list(codex_home)?;
    let mut sessions = Vec::new();
    for ListedFile { path, .. } in files {
        match first_line(&path).map(|line| meta(&line)) {
            Ok(Some(meta)) => sessions.push(Start {
                at: meta.at,
                creator: meta.creator(),
                cli_version: meta.cli_version,
                file: path,
            }),
            Ok(None) => skipped.push((path, "its first line is no session start".to_owned())),
            Err(error) => skipped.push((path, error.to_string())),
        }
    }
    sessions.sort_by(|a, b| a.at.cmp(&b.at).then_with(|| a.file.cmp(&b.file)));
    skipped.sort();
    Ok(Starts { sessions, skipped })
}

/// Decides whose an event is.
///
/// The ledger decides, if it knows who was active then; else an event that is not older than
/// the last change of `auth.json` is the live account's; else it is its session's creator's; else
/// nobody knows. Where the ledger names one account and `auth.json` another, somebody signed in
/// beside us. Then the session's creator tells, if it is the one in an `auth.json` that was there
/// before the event; otherwise a running Codex may still have worked as the former: unknown too.
/// An `auth.json` changed after the event, as every refresh does, only weighs against the ledger
/// if the creator agrees with it: unknown.
#[must_use]
pub fn attribute(
    observed_at: Stamp,
    creator: Option<&AccountKey>,
    live: Option<&AccountKey>,
    ledger_active: Option<&AccountKey>,
    auth_changed_at: Option<Stamp>,
) -> Attribution {
    let was_live = auth_changed_at.is_some_and(|changed| changed <= observed_at);
    let owner = match (ledger_active, live) {
        (Some(active), Some(live)) if active != live && was_live => {
            creator.filter(|creator| *creator == live)
        }
        (Some(active), Some(live)) if active != live && creator == Some(live) => None,
        (Some(active), _) => Some(active),
        (None, Some(live)) if was_live => Some(live),
        (None, _) => creator,
    };
    owner.cloned().map_or(Attribution::Unknown, Attribution::Certain)
}

/// The rollouts of a home and what stands in their places.
#[derive(Default)]
struct Listing {
    files: Vec<ListedFile>,
    skipped: Vec<(PathBuf, String)>,
}

struct ListedFile {
    path: PathBuf,
    changed: SystemTime,
}

fn list(codex_home: &Path) -> io::Result<Listing> {
    // The home itself may be a link; what is in it may not.
    if !fs::metadata(codex_home)?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    let mut listing = Listing::default();
    for (name, depth) in [("sessions", MAX_DEPTH), ("archived_sessions", 0)] {
        let folder = codex_home.join(name);
        match fs::symlink_metadata(&folder) {
            Ok(found) if found.is_dir() => listing.visit(folder, depth),
            Ok(_) => listing.skip(folder, "not a folder of this home"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => listing.skip(folder, &error.to_string()),
        }
    }
    Ok(listing)
}

impl Listing {
    fn skip(&mut self, path: PathBuf, reason: &str) {
        self.skipped.push((path, reason.to_owned()));
    }

    fn visit(&mut self, folder: PathBuf, depth: usize) {
        let mut waiting = vec![(folder, depth)];
        while let Some((folder, depth)) = waiting.pop() {
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) => {
                    self.skip(folder, &error.to_string());
                    continue;
                }
            };
            for entry in entries {
                match entry.and_then(|entry| Ok((entry.path(), entry.metadata()?))) {
                    Ok((path, found)) if found.is_dir() => {
                        if let Some(depth) = depth.checked_sub(1) {
                            waiting.push((path, depth));
                        }
                    }
                    Ok((path, found)) => self.take(path, &found),
                    // Codex moves files between the folders at any time.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => self.skip(folder.clone(), &error.to_string()),
                }
            }
        }
    }

    fn take(&mut self, path: PathBuf, found: &fs::Metadata) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_rollout = name.starts_with("rollout-");
        if found.is_symlink() {
            // Also one that leads to a folder: what is behind it is missing from the answer.
            self.skip(path, "a link, not followed");
        } else if is_rollout && name.ends_with(".jsonl.zst") {
            self.skip(path, "compressed, not read");
        } else if is_rollout && name.ends_with(".jsonl") {
            if found.is_file() {
                let changed = found.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                self.files.push(ListedFile { path, changed });
            } else {
                self.skip(path, "not a regular file");
            }
        }
    }
}

fn is_too_old(changed: SystemTime, newest: Stamp) -> bool {
    let newest = SystemTime::from(newest.instant());
    changed.checked_add(MTIME_SLACK).is_some_and(|limit| limit < newest)
}

/// Opens a regular file without following a link or waiting at a pipe.
fn open(path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    let file = {
        use rustix::fs::{Mode, OFlags};
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        File::from(rustix::fs::open(path, flags, Mode::empty())?)
    };
    #[cfg(not(unix))]
    let file = File::open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
    }
}

/// The first line of a file, without its end.
fn first_line(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = open(path)?;
    let mut line = Vec::new();
    while line.len() < MAX_LINE {
        let from = line.len();
        if file.by_ref().take(BLOCK).read_to_end(&mut line)? == 0 {
            return Ok(line);
        }
        let fresh = line.get(from..).unwrap_or_default();
        if let Some(end) = fresh.iter().position(|byte| *byte == b'\n') {
            line.truncate(from + end);
            return Ok(line);
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "its first line is too long"))
}

/// The newest event of a file that is newer than `newer_than` and not after `until`.
fn newest_event(
    path: &Path,
    newer_than: Option<Stamp>,
    until: Option<DateTime<Utc>>,
) -> io::Result<Option<Event>> {
    let mut lines = Backwards::new(open(path)?)?;
    while let Some(line) = lines.next_line()? {
        let Some(line) = Line::parse(&line) else { continue };
        // Lines are appended in the order of time: everything before this one is older still.
        if newer_than.is_some_and(|than| line.timestamp <= than) {
            return Ok(None);
        }
        if until.is_some_and(|until| until < line.timestamp.instant()) {
            continue;
        }
        if let Some(event) = line.event() {
            return Ok(Some(event));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
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
            let found = newest_limits(self.0.path(), None, until).unwrap();
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
        let after = |time| newest_limits(home.0.path(), Some(stamp(time)), None).unwrap().limits;
        assert_eq!(after("10:59:59").map(|limits| limits.observed_at), Some(stamp("11:00:00")));
        assert_eq!(after("11:00:00"), None);

        let found = newest_limits(home.0.path(), None, None).unwrap().limits.unwrap();
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
        assert_eq!(starts(home.0.path()).unwrap(), Starts::default());
        assert!(newest_limits(&home.0.path().join("absent"), None, None).is_err());
    }

    #[test]
    fn a_session_starts_with_its_first_line() {
        let old = line("07:00:00", "session_meta", &json!({"cli_version": "0.118.0"}));
        let home = Home::new()
            .file(&format!("{DAY}/rollout-b.jsonl"), &head("08:00:00", "a"), "11:00:00")
            .file(&format!("{DAY}/rollout-c.jsonl"), &old, "11:00:00")
            .file(&format!("{DAY}/rollout-d.jsonl"), &general("06:00:00", 1.0), "11:00:00")
            .file(&format!("{DAY}/rollout-e.jsonl"), "", "11:00:00");
        let found = starts(home.0.path()).unwrap();
        let sessions: Vec<_> = found
            .sessions
            .iter()
            .map(|start| (start.at, start.creator.clone(), start.cli_version.as_deref()))
            .collect();
        let creator = Some("chatgpt:user-a/acct-a".parse().unwrap());
        assert_eq!(
            sessions,
            [
                (stamp("07:00:00"), None, Some("0.118.0")),
                (stamp("08:00:00"), creator, Some("0.169.0")),
            ]
        );
        let skipped: Vec<_> =
            found.skipped.iter().map(|(path, _)| path.file_name().unwrap()).collect();
        assert_eq!(skipped, ["rollout-d.jsonl", "rollout-e.jsonl"]);
    }

    #[test]
    #[rustfmt::skip]
    fn an_event_belongs_to_whom_the_ledger_the_login_or_the_session_says() {
        // event at 12:00   creator    live       ledger     auth.json changed
        owner(              "a",       "b",       "c",       "",         "c");
        owner(              "a",       "b",       "c",       "12:00:01", "c");
        owner(              "a",       "b",       "b",       "11:00:00", "b");
        owner(              "a",       "b",       "c",       "11:00:00", "?"); // signed in beside us
        owner(              "",        "b",       "c",       "11:00:00", "?");
        owner(              "c",       "b",       "c",       "11:00:00", "?"); // resumed by either
        owner(              "b",       "b",       "c",       "11:00:00", "b"); // and worked
        owner(              "b",       "b",       "c",       "12:00:01", "?"); // and refreshed since
        owner(              "a",       "b",       "",        "12:00:00", "b");
        owner(              "a",       "b",       "",        "12:00:01", "a");
        owner(              "a",       "b",       "",        "",         "a");
        owner(              "",        "b",       "",        "12:00:01", "?");
        owner(              "",        "",        "",        "11:00:00", "?");
    }

    #[track_caller]
    fn owner(creator: &str, live: &str, ledger: &str, changed: &str, expected: &str) {
        let key = |name: &str| -> Option<AccountKey> {
            (!name.is_empty()).then(|| format!("chatgpt:{name}/{name}").parse().unwrap())
        };
        let changed = (!changed.is_empty()).then(|| stamp(changed));
        let (creator, live, ledger) = (key(creator), key(live), key(ledger));
        let found =
            attribute(stamp("12:00:00"), creator.as_ref(), live.as_ref(), ledger.as_ref(), changed);
        let expected = match expected {
            "?" => Attribution::Unknown,
            name => Attribution::Certain(key(name).unwrap()),
        };
        assert_eq!(found, expected);
    }
}
