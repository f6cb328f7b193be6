//! What did looks at session files find, so that a file that nobody touched is not opened again?
//!
//! Who looks for the newest limits reads the ends of the newest files, and for the version of Codex
//! the beginnings of some. A [`Glimpse`] is what that told of one file, as it looked then. It is no
//! [`Session`](super::Session): nobody read the file as a whole, and [`scan()`](super::scan()), which
//! does, never hears of it.
//!
//! [`Glimpses`] are those of one home; as bytes they are in a file that may be deleted at any time.
//! One that is damaged, or of another version, tells nothing, and files are opened.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::line::Event;
use super::listing::Facts;
use super::memory::{Seal, Start};
use crate::time::Stamp;

/// A larger file is neither written nor read, in bytes.
pub const MAX_GLIMPSES: u64 = 8 << 20;

const SEAL: Seal = Seal { schema: "codex-manager/glimpses", version: 1 };

/// So many homes are kept, those that were looked at last.
const HOMES: usize = 8;

/// So many files of a home are kept, those that were looked at first.
const FILES: usize = 4_000;

/// A file that changed less than this before it was looked at may change again and look the same.
const AT_REST: TimeDelta = TimeDelta::seconds(2);

/// What is known of one session file without having read it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct Glimpse {
    look: Look,
    /// How it begins; `None` if nobody looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    begin: Option<Begin>,
    /// What is near its end; `None` if nobody looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<End>,
}

/// What changes when anything is done to a file, in a row, for there may be many: device, inode,
/// size, last change of its content, and of its state, which nobody can set, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
struct Look(u64, u64, u64, i64, i64);

/// The beginning of a file.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Begin {
    /// It tells nothing.
    Nothing,
    Session(Start),
}

/// The end of a file.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum End {
    /// Its newest event.
    Newest(Event),
    /// There is no event later than this, or none at all. There may be one up to then.
    NothingAfter(Option<Stamp>),
}

impl Glimpse {
    /// The newest event that is newer than `newer_than` and not after `until`; `None` if that is not
    /// known.
    pub(super) fn newest(
        &self,
        newer_than: Option<Stamp>,
        until: Option<DateTime<Utc>>,
    ) -> Option<Option<Event>> {
        match self.end.as_ref()? {
            End::Newest(event) => {
                let is_past = until.is_none_or(|until| event.observed_at.instant() <= until);
                let is_newer = newer_than.is_none_or(|than| than < event.observed_at);
                is_past.then(|| is_newer.then(|| event.clone()))
            }
            End::NothingAfter(None) => Some(None),
            End::NothingAfter(Some(at)) => {
                newer_than.is_some_and(|than| *at <= than).then_some(None)
            }
        }
    }

    /// Notes an answer that holds whenever it is asked for: nothing was left out of it.
    pub(super) fn note_newest(&mut self, event: Option<&Event>, newer_than: Option<Stamp>) {
        self.end = Some(match event {
            Some(event) => End::Newest(event.clone()),
            None => End::NothingAfter(newer_than),
        });
    }

    /// How the session began, if its file tells; `None` if nobody looked.
    pub(super) fn start(&self) -> Option<Option<Start>> {
        match self.begin.as_ref()? {
            Begin::Nothing => Some(None),
            Begin::Session(start) => Some(Some(start.clone())),
        }
    }

    pub(super) fn note_start(&mut self, start: Option<&Start>) {
        self.begin = Some(start.cloned().map_or(Begin::Nothing, Begin::Session));
    }

    fn tells(&self) -> bool {
        self.begin.is_some() || self.end.is_some()
    }

    /// Whether the file had been at rest at `began`, so that how it looked tells what it was.
    fn is_at_rest(&self, began: DateTime<Utc>) -> bool {
        let latest = (began - AT_REST).timestamp_nanos_opt().unwrap_or(i64::MIN);
        let Look(.., modified, state) = self.look;
        modified.max(state) <= latest
    }
}

/// What is known of the files of one home.
#[derive(Clone, Debug, Default)]
pub struct Glimpses {
    /// By their places: what was found before.
    known: BTreeMap<String, Glimpse>,
    /// What was believed or found this time.
    seen: BTreeMap<String, Glimpse>,
    /// What is believed or found of a file for which there is no room any more.
    spare: Glimpse,
}

impl Glimpses {
    /// What is known of the file in this place, which looks like this now: to be asked, and to be
    /// told what is found.
    pub(super) fn of(&mut self, place: &str, (facts, state): (Facts, i64)) -> &mut Glimpse {
        let Facts { device, inode, size, modified } = facts;
        let look = Look(device, inode, size, modified, state);
        // They come newest first: of very many the others are looked at each time.
        let is_full = FILES <= self.seen.len() && !self.seen.contains_key(place);
        let seen = match is_full {
            true => &mut self.spare,
            false => self.seen.entry(place.to_owned()).or_default(),
        };
        if is_full || seen.look != look {
            let known = self.known.get(place).filter(|known| known.look == look);
            *seen = known.cloned().unwrap_or(Glimpse { look, ..Glimpse::default() });
        }
        seen
    }

    /// Whether something was found that was not known before, or is not so any more.
    #[must_use]
    pub fn is_news(&self) -> bool {
        let told = self.seen.iter().filter(|(_, glimpse)| glimpse.tells());
        !told.eq(&self.known)
    }

    /// What is to be kept of it: of files that were looked at this time and had been at rest.
    fn kept(&self, began: DateTime<Utc>) -> BTreeMap<String, Glimpse> {
        let worth = self.seen.iter();
        let worth = worth.filter(|(_, glimpse)| glimpse.tells() && glimpse.is_at_rest(began));
        worth.map(|(place, glimpse)| (place.clone(), glimpse.clone())).collect()
    }

    /// What the bytes of the file tell of this home; nothing, if they are not what was written.
    #[must_use]
    pub fn parse(bytes: &[u8], codex_home: &Path) -> Self {
        let home = homes(bytes).into_iter().find(|home| Path::new(&home.home) == codex_home);
        Self { known: home.map(|home| home.files).unwrap_or_default(), ..Self::default() }
    }

    /// The bytes of the file from now on, given those until now: what this look found takes the
    /// place of what was known of this home, and of other homes there is what there is room for.
    /// `None` if nothing can be kept. `began` is when this run did: a file that changed shortly
    /// before, or since, is left out.
    #[must_use]
    pub fn to_bytes(
        &self,
        before: &[u8],
        codex_home: &Path,
        began: DateTime<Utc>,
    ) -> Option<Vec<u8>> {
        let own = Home { home: codex_home.to_str()?.to_owned(), files: self.kept(began) };
        let mut all = homes(before);
        all.retain(|home| home.home != own.home);
        all.insert(0, own);
        all.truncate(HOMES);
        while !all.is_empty() {
            let bytes = SEAL.seal(&all)?;
            if u64::try_from(bytes.len()).is_ok_and(|len| len <= MAX_GLIMPSES) {
                return Some(bytes);
            }
            all.pop();
        }
        None
    }
}

#[derive(Deserialize, Serialize)]
struct Home {
    home: String,
    files: BTreeMap<String, Glimpse>,
}

fn homes(bytes: &[u8]) -> Vec<Home> {
    SEAL.open(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::codex::rollout::listing::list;
    use crate::codex::rollout::{Found, Reach, newest_limits, newest_version};

    /// A Codex home of the test's own, and what is kept of looks at it.
    struct Home {
        dir: tempfile::TempDir,
        kept: Vec<u8>,
    }

    /// An instant at which everything is long at rest.
    fn late() -> DateTime<Utc> {
        "2200-01-01T00:00:00Z".parse().unwrap()
    }

    fn found(home: &Path, glimpses: &mut Glimpses, until: Option<DateTime<Utc>>) -> Found {
        newest_limits(home, Reach::All, &[], glimpses, (None, until)).unwrap()
    }

    impl Home {
        fn new() -> Self {
            Self { dir: tempfile::tempdir().unwrap(), kept: Vec::new() }
        }

        fn root(&self) -> &Path {
            self.dir.path()
        }

        fn write(&self, place: &str, text: impl AsRef<[u8]>) -> PathBuf {
            let path = self.root().join(place);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path
        }

        fn append(&self, place: &str, text: &str) {
            let mut whole = fs::read(self.root().join(place)).unwrap_or_default();
            whole.extend(text.bytes());
            self.write(place, whole);
        }

        fn glimpses(&self) -> Glimpses {
            Glimpses::parse(&self.kept, self.root())
        }

        /// Looks as a backup does: finds, and keeps what is new.
        fn look(&mut self, until: Option<DateTime<Utc>>) -> (Found, Option<String>) {
            let mut glimpses = self.glimpses();
            let found = found(self.root(), &mut glimpses, until);
            let version = newest_version(self.root(), &mut glimpses);
            if glimpses.is_news() {
                self.kept = glimpses.to_bytes(&self.kept, self.root(), late()).unwrap();
            }
            (found, version)
        }

        /// What a look tells, and what one tells that knows nothing.
        #[track_caller]
        fn check(&mut self, until: Option<DateTime<Utc>>) -> u64 {
            let (with, version) = self.look(until);
            let mut nothing = Glimpses::default();
            let without = found(self.root(), &mut nothing, until);
            assert_eq!(with.limits, without.limits);
            assert_eq!(version, newest_version(self.root(), &mut nothing));
            with.read
        }
    }

    fn time(hour: u32) -> String {
        format!("2026-04-21T{hour:02}:00:00.146Z")
    }

    fn line(hour: u32, kind: &str, payload: &serde_json::Value) -> String {
        json!({"timestamp": time(hour), "type": kind, "payload": payload}).to_string() + "\n"
    }

    fn head(version: &str) -> String {
        head_at(8, version)
    }

    fn head_at(hour: u32, version: &str) -> String {
        let payload = json!({
            "timestamp": time(hour), "cli_version": version,
            "creator_user_id": "user-a", "creator_account_id": "acct-a",
        });
        line(hour, "session_meta", &payload)
    }

    fn event(hour: u32, used: u32) -> String {
        let week = json!({"used_percent": used, "window_minutes": 10_080});
        let limits = json!({"limit_id": "codex", "primary": week});
        line(hour, "event_msg", &json!({"type": "token_count", "rate_limits": limits}))
    }

    fn chat(hour: u32, len: usize) -> String {
        line(hour, "response_item", &json!("x".repeat(len)))
    }

    const A: &str = "sessions/2026/04/21/rollout-a.jsonl";
    const B: &str = "sessions/2026/04/21/rollout-b.jsonl";

    /// Of every kind one: the newest event, an older one, none at all, no beginning, nothing.
    fn several() -> Home {
        let home = Home::new();
        home.write(A, head("0.169.0") + &chat(9, 20_000) + &event(12, 30) + &chat(13, 9_000));
        home.write(B, head("0.150.0") + &event(10, 20));
        home.write("sessions/2026/04/21/rollout-c.jsonl", head("0.150.0") + &chat(14, 100_000));
        home.write("sessions/2026/04/21/rollout-d.jsonl", "not JSON\n");
        home.write("archived_sessions/rollout-e.jsonl", "");
        home
    }

    #[test]
    fn nothing_is_read_of_files_that_nobody_touched() {
        let mut home = several();
        assert!(100_000 < home.check(None));
        let kept = home.kept.clone();
        assert_eq!((home.check(None), &home.kept), (0, &kept), "nor is anything written");
        // Of one that goes on, what is needed of it, and of the others nothing.
        home.append(A, &event(15, 40));
        let size = fs::metadata(home.root().join(A)).unwrap().len();
        let read = home.check(None);
        assert!((1..=4_096 + size).contains(&read), "{read} of {size}");
        assert_eq!(home.check(None), 0);
        // In its new place a file is another one.
        fs::rename(home.root().join(A), home.root().join("archived_sessions/rollout-a.jsonl"))
            .unwrap();
        assert!(0 < home.check(None));
        assert_eq!(home.check(None), 0);
    }

    #[test]
    fn what_is_known_of_a_file_is_believed_without_a_look_into_it() {
        let mut home = several();
        home.look(None);
        let mut glimpses = home.glimpses();
        for glimpse in glimpses.known.values_mut() {
            let start = glimpse.start().flatten();
            glimpse
                .note_start(start.map(|it| Start { cli_version: Some("9".into()), ..it }).as_ref());
        }
        let limits = found(home.root(), &mut glimpses, None).limits.unwrap();
        assert_eq!(limits.cli_version.as_deref(), Some("9"));
        assert_eq!(newest_version(home.root(), &mut glimpses).as_deref(), Some("9"));
    }

    #[test]
    fn what_a_memory_tells_is_known_to_who_does_not_ask_it() {
        use std::sync::atomic::AtomicBool;

        let home = several();
        let jobs = crate::disk::Jobs::ONE;
        let all = crate::codex::rollout::scan(
            home.root(),
            &[],
            jobs,
            &mut |_, _| {},
            &AtomicBool::new(false),
        );
        let sessions = all.unwrap().sessions;
        let mut glimpses = Glimpses::default();
        let look = |sessions: &[_], glimpses: &mut Glimpses| {
            newest_limits(home.root(), Reach::All, sessions, glimpses, (None, None)).unwrap()
        };
        // Nothing but the beginning of one is read.
        let with = look(&sessions, &mut glimpses);
        assert!(with.read < 40_000, "{}", with.read);
        let bytes = glimpses.to_bytes(&[], home.root(), late()).unwrap();
        let mut glimpses = Glimpses::parse(&bytes, home.root());
        let without = look(&[], &mut glimpses);
        assert_eq!((without.read, without.limits), (0, with.limits));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_looks_otherwise_is_read() {
        let times = |path: &Path| {
            use std::os::unix::fs::MetadataExt as _;
            let facts = fs::metadata(path).unwrap();
            (facts.modified().unwrap(), (facts.ctime(), facts.ctime_nsec()))
        };
        let set = |path: &Path, at| {
            fs::File::options().write(true).open(path).unwrap().set_modified(at).unwrap();
        };
        let text = |used| head("0.169.0") + &event(12, used);
        type Change = fn(&Path, &str);
        let changes: [(&str, Change); 3] = [
            ("written over", |path, text| fs::write(path, text).unwrap()),
            ("replaced", |path, text| {
                let other = path.with_extension("new");
                fs::write(&other, text).unwrap();
                fs::rename(other, path).unwrap();
            }),
            ("longer", |path, text| fs::write(path, text.to_owned() + "\n").unwrap()),
        ];
        for (what, change) in changes {
            let mut home = Home::new();
            let path = home.write(A, text(30));
            home.check(None);
            let (modified, state) = times(&path);
            // Even if it bears the same time; the file system's clock ticks coarsely.
            while times(&path).1 == state {
                change(&path, &text(77));
                set(&path, modified);
            }
            assert!(0 < home.check(None), "{what}");
            let event = found(home.root(), &mut home.glimpses(), None).limits.unwrap();
            assert_eq!(event.windows[0].used_percent, Some(77.0), "{what}");
        }
    }

    #[test]
    #[rustfmt::skip]
    fn an_end_answers_what_it_is_sure_of() {
        let newest = || End::Newest(event_at(12));
        answers(newest(),                                None,     None,     "12");
        answers(newest(),                                Some(11), None,     "12");
        answers(newest(),                                Some(12), None,     "none");
        answers(newest(),                                None,     Some(12), "12");
        answers(newest(),                                None,     Some(11), "unsure");  // which came before?
        answers(newest(),                                Some(12), Some(11), "unsure");
        answers(End::NothingAfter(None),                 None,     None,     "none");
        answers(End::NothingAfter(None),                 Some(1),  Some(2),  "none");
        answers(End::NothingAfter(Some(stamp(12))),      Some(12), None,     "none");
        answers(End::NothingAfter(Some(stamp(12))),      Some(13), Some(20), "none");
        answers(End::NothingAfter(Some(stamp(12))),      Some(11), None,     "unsure");
        answers(End::NothingAfter(Some(stamp(12))),      None,     None,     "unsure");
    }

    #[track_caller]
    fn answers(end: End, newer_than: Option<u32>, until: Option<u32>, expected: &str) {
        let glimpse = Glimpse { end: Some(end), ..Glimpse::default() };
        let until = until.map(|hour| stamp(hour).instant());
        let told = match glimpse.newest(newer_than.map(stamp), until) {
            Some(Some(event)) => event.observed_at.wall().format("%-H").to_string(),
            Some(None) => "none".to_owned(),
            None => "unsure".to_owned(),
        };
        assert_eq!(told, expected);
    }

    fn stamp(hour: u32) -> Stamp {
        time(hour).parse().unwrap()
    }

    fn event_at(hour: u32) -> Event {
        Event { observed_at: stamp(hour), windows: Vec::new(), limit_reached: None, plan: None }
    }

    #[test]
    #[rustfmt::skip]
    fn only_what_was_at_rest_for_two_seconds_is_kept() {
        let second = 1_000_000_000;
        kept((998 * second, 998 * second),         true);
        kept((998 * second + 1, 998 * second),     false);
        kept((0, 998 * second + 1),                false);
        kept((0, 999 * second),                    false);
        kept((2_000 * second, 0),                  false);  // a clock that was set back
    }

    #[track_caller]
    fn kept((modified, state): (i64, i64), expected: bool) {
        let facts = Facts { modified, ..Facts::default() };
        let mut glimpses = Glimpses::default();
        glimpses.of(A, (facts, state)).note_start(None);
        let began = DateTime::from_timestamp(1_000, 0).unwrap();
        assert!(glimpses.is_news());
        let bytes = glimpses.to_bytes(&[], Path::new("/home"), began).unwrap();
        let mut again = Glimpses::parse(&bytes, Path::new("/home"));
        assert_eq!(again.known.len(), usize::from(expected));
        // One that could not be looked into is no news.
        again.of(B, (facts, state));
        again.of(A, (facts, state));
        assert!(!again.is_news());
    }

    #[test]
    fn a_damaged_file_tells_nothing_and_is_no_error() {
        let mut home = several();
        home.look(None);
        let good = home.kept.clone();
        assert_eq!(home.glimpses().known.len(), 5);
        let mut damaged = vec![Vec::new(), b"{}\n".to_vec(), b"[]".to_vec()];
        for at in (0..good.len()).step_by(17) {
            damaged.push(good.get(..at).unwrap().to_vec());
            let mut flipped = good.clone();
            *flipped.get_mut(at).unwrap() ^= 1;
            damaged.push(flipped);
        }
        let other = String::from_utf8(good.clone()).unwrap();
        damaged.push(other.replacen("\"schema_version\":1", "\"schema_version\":2", 1).into());
        for bytes in damaged {
            assert!(Glimpses::parse(&bytes, home.root()).known.is_empty());
        }
        assert!(Glimpses::parse(&good, Path::new("/other")).known.is_empty());
        home.kept = b"{}\n".to_vec();
        assert!(0 < home.check(None));
        assert_eq!(home.kept, good, "it is written anew");
    }

    #[test]
    fn there_is_room_for_some_homes_and_for_the_first_files_of_each() {
        let look = |inode| (Facts { inode, ..Facts::default() }, 0);
        let mut bytes = Vec::new();
        let mut glimpses = Glimpses::default();
        for number in 0..=FILES {
            let place = format!("{:05}", FILES - number);
            glimpses.of(&place, look(1)).note_start(None);
        }
        for number in 0..=HOMES {
            let home = PathBuf::from(format!("/home/{number}"));
            bytes = glimpses.to_bytes(&bytes, &home, late()).unwrap();
        }
        let known =
            |number| Glimpses::parse(&bytes, &PathBuf::from(format!("/home/{number}"))).known;
        assert_eq!((known(0).len(), known(1).len(), known(HOMES).len()), (0, FILES, FILES));
        assert!(!known(1).contains_key("00000"), "the first come first");
        // There is no room for another, but for another answer.
        let mut again = Glimpses { known: known(1), ..Glimpses::default() };
        again.known.insert("x".to_owned(), again.known.values().next().unwrap().clone());
        for number in 0..FILES {
            again.of(&format!("{number:05}"), look(2)).note_start(None);
        }
        assert_eq!(again.of("x", look(1)).start(), Some(None));
        assert_eq!(again.of("y", look(1)).start(), None);
        assert_eq!(again.seen.len(), FILES);
    }

    proptest! {
        // Each writes and reads many files.
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn a_look_finds_the_same_whatever_was_found_before(
            turns in proptest::collection::vec(
                (0..4_usize, 0..6_u8, 0..9_000_usize, proptest::option::of(0..24_u32)),
                1..20,
            ),
        ) {
            let mut home = Home::new();
            fs::create_dir_all(home.root().join("archived_sessions")).unwrap();
            for (hour, (file, what, len, until)) in (0..).zip(turns) {
                let [live, archived] = ["sessions", "archived_sessions"]
                    .map(|folder| format!("{folder}/rollout-{file}.jsonl"));
                let place = if home.root().join(&archived).exists() { &archived } else { &live };
                match what {
                    0 => home.append(place, &head_at(hour, &format!("0.{hour}.0"))),
                    1 | 2 => home.append(place, &(event(hour, hour) + &chat(hour, len))),
                    3 => home.append(place, &chat(hour, len)),
                    4 => home.append(place, event(hour, hour).get(..60).unwrap()),
                    _ => drop(fs::rename(home.root().join(&live), home.root().join(&archived))),
                }
                home.check(until.map(|hour| stamp(hour).instant()));
            }
            // Whoever looked last knows all of it.
            home.check(None);
            prop_assert_eq!(home.check(None), 0);
            let all = list(home.root()).unwrap().files.len();
            prop_assert!(home.glimpses().known.len() <= all);
        }
    }
}
