//! What is remembered of session files, so that nothing is read twice?
//!
//! A [`Session`] is what one file said up to some byte. [`Memory`] is all of them, of several
//! homes, as bytes of a file that may be deleted at any time: one that is damaged, or of another
//! version, is no memory at all, and everything is read anew.

use std::cmp::Reverse;
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::line::Event;
use super::listing::Facts;
use crate::account::AccountKey;
use crate::time::Stamp;
use crate::window::weekly;

/// A larger memory is neither written nor read, in bytes.
pub const MAX_MEMORY: u64 = 32 << 20;

/// So many sessions are remembered: of a home those that were written to last, and of further homes
/// what there is room for. Who has more of them pays with time for what he rarely asks for, and not
/// with memory for each command.
const MOST_SESSIONS: usize = 20_000;

const SEAL: Seal = Seal { schema: "codex-manager/rollouts", version: 1 };

/// So many homes are remembered, those that were read last.
const HOMES: usize = 8;

/// So many stretches of a file are kept, and so many events of one at which a limit was reached:
/// the newest.
const STRETCHES: usize = 64;
const REACHED: usize = 32;

/// Two resets that differ by no more than this are the same one: the backend rounds.
const SAME_RESET: TimeDelta = TimeDelta::minutes(10);

/// One session file, as far as it was read.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Session {
    /// Its place, relative to the Codex home, with `/`.
    pub path: String,
    /// How the session began, if the first line of the file tells.
    pub start: Option<Start>,
    /// What it said of the general limit, oldest first.
    #[serde(rename = "said")]
    pub stretches: Vec<Stretch>,
    /// Where the first line begins that was not read, in bytes.
    pub(super) read_to: u64,
    /// Digests of the first and last bytes of what was read.
    pub(super) head: String,
    pub(super) tail: String,
    /// How the file looked when it was read.
    #[serde(with = "packed_facts")]
    pub(super) facts: Facts,
}

/// How a session began.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Start {
    /// When.
    pub at: Stamp,
    /// Who began it (Codex 0.160.1 and newer).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creator: Option<AccountKey>,
    /// The version of Codex that began it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cli_version: Option<String>,
}

/// Events of one file, in a row, in which the week ends at the same time. An event in between tells
/// nothing that these do not.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Stretch {
    /// The first of them.
    pub first: Event,
    /// Each at which a limit was found to be reached and had not been before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reached: Vec<Event>,
    /// The last of them, if there is more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<Event>,
}

impl Stretch {
    fn new(event: Event) -> Self {
        let reached = if event.is_used_up() { vec![event.clone()] } else { Vec::new() };
        Self { first: event, reached, last: None }
    }

    /// The last of its events.
    #[must_use]
    pub fn newest(&self) -> &Event {
        self.last.as_ref().unwrap_or(&self.first)
    }

    fn is_of(&self, event: &Event) -> bool {
        let reset = |event: &Event| weekly(&event.windows).and_then(|week| week.resets_at);
        match (reset(self.newest()), reset(event)) {
            (Some(one), Some(other)) => (one.instant() - other.instant()).abs() <= SAME_RESET,
            (None, None) => true,
            _ => false,
        }
    }

    fn push(&mut self, event: Event) {
        if event.is_used_up() && !self.newest().is_used_up() {
            if self.reached.len() == REACHED {
                self.reached.remove(0);
            }
            self.reached.push(event.clone());
        }
        self.last = Some(event);
    }
}

/// The newest event of a file up to some instant, as far as memory tells.
pub(super) enum Newest<'a> {
    Event(&'a Event),
    Nothing,
    /// It is one that was not kept.
    Unsure,
}

impl Session {
    /// Takes in the next event of the file.
    pub(super) fn note(&mut self, event: Event) {
        match self.stretches.last_mut() {
            Some(stretch) if stretch.is_of(&event) => stretch.push(event),
            _ => {
                if self.stretches.len() == STRETCHES {
                    self.stretches.remove(0);
                }
                // Most files have one, and there may be thousands of files.
                self.stretches.reserve_exact(1);
                self.stretches.push(Stretch::new(event));
            }
        }
    }

    pub(super) fn newest(&self, until: Option<DateTime<Utc>>) -> Newest<'_> {
        match self.stretches.last().map(Stretch::newest) {
            None => Newest::Nothing,
            Some(event) if until.is_none_or(|until| event.observed_at.instant() <= until) => {
                Newest::Event(event)
            }
            Some(_) => Newest::Unsure,
        }
    }

    /// The name of its file, which it keeps when Codex archives it.
    pub(super) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// All that is remembered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory(Vec<Home>);

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Home {
    home: String,
    sessions: Vec<Session>,
}

#[derive(Deserialize, Serialize)]
struct Head {
    schema: String,
    schema_version: u32,
    /// SHA-256 of what follows.
    digest: String,
}

/// What a file of this kind begins with, so that whatever is not exactly what was written is none.
pub(super) struct Seal {
    pub(super) schema: &'static str,
    /// The format that is written; any other is not read.
    pub(super) version: u32,
}

impl Seal {
    pub(super) fn open<T: DeserializeOwned>(&self, bytes: &[u8]) -> Option<T> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let (head, rest) = (bytes.get(..end)?, bytes.get(end + 1..)?);
        let head: Head = serde_json::from_slice(head).ok()?;
        let is_ours = head.schema == self.schema && head.schema_version == self.version;
        if !is_ours || head.digest != digest(rest) {
            return None;
        }
        serde_json::from_slice(rest).ok()
    }

    pub(super) fn seal<T: Serialize>(&self, content: &T) -> Option<Vec<u8>> {
        let rest = serde_json::to_vec(content).ok()?;
        let schema = self.schema.to_owned();
        let head = Head { schema, schema_version: self.version, digest: digest(&rest) };
        let mut bytes = serde_json::to_vec(&head).ok()?;
        bytes.push(b'\n');
        bytes.extend(rest);
        Some(bytes)
    }
}

impl Memory {
    /// Reads the bytes of the file; whatever is not exactly what was written is no memory.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        Self(SEAL.open(bytes).unwrap_or_default())
    }

    /// The bytes of the file, at most [`MAX_MEMORY`]: of more than that, the homes that were read
    /// last and the newest sessions of the last one; `None` if not even one fits.
    #[must_use]
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        self.to_bytes_within(MAX_MEMORY)
    }

    fn to_bytes_within(&self, most: u64) -> Option<Vec<u8>> {
        let bytes = SEAL.seal(&self.0)?;
        if u64::try_from(bytes.len()).is_ok_and(|len| len <= most) {
            return Some(bytes);
        }
        drop(bytes);
        let mut smaller = self.clone();
        match &mut smaller.0[..] {
            [only] => {
                let half = only.sessions.len() / 2;
                keep_newest(&mut only.sessions, half);
            }
            _ => drop(smaller.0.pop()?),
        }
        let is_any = smaller.0.iter().any(|home| !home.sessions.is_empty());
        if is_any { smaller.to_bytes_within(most) } else { None }
    }

    /// What is remembered of this home.
    #[must_use]
    pub fn of(&self, codex_home: &Path) -> &[Session] {
        let found = self.0.iter().find(|home| Path::new(&home.home) == codex_home);
        found.map_or(&[], |home| &home.sessions)
    }

    /// Remembers these sessions of a home instead of what was known of it, as far as there are no
    /// more than 20,000. A home whose name is not UTF-8 is not remembered.
    pub fn keep(&mut self, codex_home: &Path, mut sessions: Vec<Session>) {
        self.0.retain(|home| Path::new(&home.home) != codex_home);
        keep_newest(&mut sessions, MOST_SESSIONS);
        if let Some(home) = codex_home.to_str() {
            self.0.insert(0, Home { home: home.to_owned(), sessions });
        }
        self.0.truncate(HOMES);
        let mut room = MOST_SESSIONS;
        self.0.retain(|home| match room.checked_sub(home.sessions.len()) {
            Some(left) => {
                room = left;
                true
            }
            None => false,
        });
    }
}

/// Keeps the sessions that were written to last, in the order of their places.
fn keep_newest(sessions: &mut Vec<Session>, most: usize) {
    if most < sessions.len() {
        sessions.select_nth_unstable_by_key(most, |session| Reverse(session.facts.modified));
        sessions.truncate(most);
        sessions.sort_by(|a, b| a.path.cmp(&b.path));
    }
}

/// Hexadecimal SHA-256.
pub(super) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Four numbers in a row, for there are thousands of them.
mod packed_facts {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Facts;

    pub(super) fn serialize<S: Serializer>(facts: &Facts, to: S) -> Result<S::Ok, S::Error> {
        (facts.device, facts.inode, facts.size, facts.modified).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Facts, D::Error> {
        let (device, inode, size, modified) = Deserialize::deserialize(from)?;
        Ok(Facts { device, inode, size, modified })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_very_many_sessions_those_written_last_are_remembered() {
        let session = |number: usize| Session {
            path: format!("{number:06}"),
            start: None,
            stretches: Vec::new(),
            read_to: 0,
            head: String::new(),
            tail: String::new(),
            facts: Facts { modified: number.try_into().unwrap(), ..Facts::default() },
        };
        let sessions: Vec<_> = (0..=MOST_SESSIONS).map(session).collect();
        let (home, other) = (Path::new("/home"), Path::new("/other"));
        let mut memory = Memory::default();
        memory.keep(other, vec![session(7)]);
        memory.keep(home, sessions.get(..9).unwrap().to_vec());
        assert_eq!((memory.of(home).len(), memory.of(other).len()), (9, 1));
        memory.keep(home, sessions.clone());
        assert_eq!(memory.of(home), sessions.get(1..).unwrap());
        assert_eq!(memory.of(other), [], "there is no room for more");

        // Of what is too long, the newest half, or of that the newest half.
        let all = memory.to_bytes().unwrap();
        let most = u64::try_from(all.len()).unwrap() - 1;
        for (most, kept) in [(most, MOST_SESSIONS / 2), (most / 2, MOST_SESSIONS / 4)] {
            let told = Memory::parse(&memory.to_bytes_within(most).unwrap());
            assert_eq!(told.of(home), sessions.get(sessions.len() - kept..).unwrap());
        }
        memory.keep(other, vec![session(7)]);
        assert_eq!(memory.to_bytes_within(100), None);
    }
}
