//! Which parts of a snapshot are taken out, also if other parts are damaged?
//!
//! A [`Selection`] is what a person asked for; [`plan`] finds it in the snapshot's table of contents.
//! What was not asked for is neither read nor checked, so it cannot stand in the way.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use glob::{MatchOptions, Pattern};

use super::login::{Case, Choice};
use super::{
    Destination, Plan, Policy, RestoreError, check_owner, check_place, check_room, place_of,
};
use crate::codex::auth;
use crate::codex::home::{self, Class, CodexHome, Surroundings};
use crate::disk::archive::{ArchiveError, Entry, EntryName, Layout, Node};
use crate::snapshot::backup::OUTSIDE;
use crate::snapshot::logins::{self, Live, LoginError, Shelf};
use crate::snapshot::store::{self, Origin, Stored};

/// How many names that look alike are offered.
const NEAR: usize = 3;

/// A `*` stays within one folder, `**` does not; a hidden file is a file like any other.
const GLOBBING: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// One thing that was asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Part {
    /// Session files, their histories and their index.
    Sessions,
    /// Settings, instructions, prompts, rules, skills.
    Config,
    /// The login and what belongs to it.
    Login,
    /// What Codex remembers of its user.
    Memories,
    /// A file, or a folder and all in it, by its path in the snapshot or a glob.
    Path {
        /// As it was typed.
        typed: String,
        /// Without what a shell adds; none if it can be no glob, and is a name only.
        glob: Option<Pattern>,
    },
}

impl FromStr for Part {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "sessions" => Self::Sessions,
            "config" => Self::Config,
            "login" => Self::Login,
            "memories" => Self::Memories,
            _ => {
                let glob = Pattern::new(bare(text)).ok();
                Self::Path { typed: text.to_owned(), glob }
            }
        })
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Sessions => "sessions",
            Self::Config => "config",
            Self::Login => "login",
            Self::Memories => "memories",
            Self::Path { typed, .. } => typed,
        })
    }
}

/// A path as it is in a snapshot: `./prompts/` is `prompts`.
fn bare(typed: &str) -> &str {
    typed.strip_prefix("./").unwrap_or(typed).trim_end_matches('/')
}

impl Part {
    /// Whether an entry belongs to it. `name` is its path in the home.
    fn takes(&self, name: &str) -> bool {
        let top = name.split('/').next().unwrap_or(name);
        match self {
            Self::Sessions => {
                CodexHome::SESSIONS.contains(&top)
                    || ["session_index.jsonl", "history.jsonl"].contains(&name)
                    || home::is_thread_index(name)
                    || is_database(name, "thread_history_")
            }
            Self::Config => home::class(name) == Class::Config,
            Self::Login => home::class(name) == Class::Login,
            Self::Memories => top == "memories" || is_database(name, "memories_"),
            Self::Path { typed, glob } => {
                // A folder stands for all in it.
                let folders = name.match_indices('/').filter_map(|(at, _)| name.get(..at));
                folders.chain([name]).any(|name| {
                    let globs = || glob.as_ref().map(|it| it.matches_with(name, GLOBBING));
                    name == bare(typed) || globs() == Some(true)
                })
            }
        }
    }
}

fn is_database(name: &str, prefix: &str) -> bool {
    !name.contains('/') && name.starts_with(prefix) && name.ends_with(".sqlite")
}

/// All that was asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Selection(Vec<Part>);

impl Selection {
    /// The parts; of one that is named twice the first counts.
    #[must_use]
    pub fn new(parts: Vec<Part>) -> Self {
        let mut all = Vec::new();
        for part in parts {
            if !all.contains(&part) {
                all.push(part);
            }
        }
        Self(all)
    }

    /// The parts as a person named them.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.0
    }
}

/// What of a snapshot is taken out.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    /// What was asked for.
    pub(super) parts: Vec<Part>,
    /// Names in the archive, and the folders above them.
    names: BTreeSet<EntryName>,
}

impl Chosen {
    /// Whether this entry is one of them.
    pub(super) fn has(&self, entry: &Entry) -> bool {
        self.names.contains(&entry.name)
    }
}

/// What a partial restore is decided from; see [`super::plan`].
pub struct Ask<'a> {
    /// The snapshot.
    pub stored: &'a Stored,
    /// Where its parts go: a folder that does not exist yet, or is empty.
    pub to: &'a Path,
    /// Which login comes, if the login is asked for.
    pub policy: Policy,
    /// The login of the Codex home.
    pub live: &'a Live,
    /// What the store knows.
    pub shelf: &'a Shelf<'a>,
    /// What outside the home says where its databases are.
    pub around: Surroundings,
}

/// Decides what is taken out of a snapshot and which login comes with it.
///
/// Damage of what was not asked for counts for nothing, and that of what was asked for shows when it
/// is read. The table of contents has to be sound, and the sidecar's own, if there is a sidecar.
///
/// # Errors
///
/// [`RestoreError`]; nothing has been written.
pub fn plan(ask: Ask<'_>, selection: Selection) -> Result<Plan, RestoreError> {
    let Ask { stored, to, policy, live, shelf, around } = ask;
    let title = stored.title.clone();
    let failed = |source| RestoreError::Archive { title: title.clone(), source };
    let mut warnings = Vec::new();
    warnings.extend(
        store::damaged_sidecar(stored).map(|(_, what)| {
            format!("{title}: its sidecar {what}; only the archive speaks for it")
        }),
    );
    let archive = logins::open(stored).map_err(|source| match source {
        ArchiveError::Corrupt { .. } => {
            RestoreError::NoTable { title: title.clone(), archive: stored.archive.clone(), source }
        }
        source => failed(source),
    })?;
    if logins::is_another(&archive, stored) || !store::contradictions(stored, &archive).is_empty() {
        return Err(RestoreError::OtherArchive { title });
    }
    let destination = Destination::To(to.to_owned());
    let replaces = check_place(&destination)?;
    let is_plain = archive.layout() == Layout::Plain;
    let entries = archive.entries().map_err(|source| match source {
        // Without digests nothing in it can be told sound.
        source @ (ArchiveError::Corrupt { .. } | ArchiveError::CorruptFile { .. }) => {
            let archive = stored.archive.clone();
            RestoreError::NoTable { title: title.clone(), archive, source }
        }
        source => failed(source),
    })?;
    let chosen = choose(entries, is_plain, selection, &title, &mut warnings)?;
    let taken = || entries.iter().filter(|entry| chosen.has(entry));
    let content_bytes = taken().map(Entry::size).fold(0, u64::saturating_add);
    let files = taken().filter(|entry| !entry.is_dir()).count();
    check_room(&destination, content_bytes)?;
    let with_login = taken().any(|entry| entry.name.as_str() == CodexHome::AUTH);
    let archived = match with_login.then(|| logins::read_login(stored)).transpose() {
        Ok(file) => file,
        // It is named when it is read again; or the older tool stored something else there.
        Err(LoginError::Archive { source, .. }) if source.is_corrupt() => None,
        Err(LoginError::NoLogin { .. }) if stored.origin == Origin::Python => None,
        Err(error) => return Err(error.into()),
    };
    check_owner(stored, archived.as_ref())?;
    let choice = match archived {
        Some(_) => {
            let case = Case { stored, archived, live, shelf, in_place: false };
            case.choose(policy, &mut warnings)?
        }
        None => Choice::none(),
    };
    let account = choice.bytes.as_ref().and_then(|bytes| auth::parse(bytes.bytes().to_vec()).ok());
    let account = account.filter(|file| file.mixed.is_none());
    Ok(Plan {
        account: account.and_then(|file| Some((file.key?, file.email))),
        stored: stored.clone(),
        destination,
        fate: choice.fate,
        login_from: choice.from,
        login: choice.bytes,
        link: None,
        live: live.bytes().cloned(),
        around,
        content_bytes,
        files: u64::try_from(files).unwrap_or(u64::MAX),
        carried: Vec::new(),
        databases: None,
        warnings,
        replaces,
        only: Some(chosen),
        archive,
    })
}

/// Finds what was asked for. A path that nothing has is a mistake; a snapshot without memories is
/// none, if there is anything else.
fn choose(
    entries: &[Entry],
    is_plain: bool,
    selection: Selection,
    title: &str,
    warnings: &mut Vec<String>,
) -> Result<Chosen, RestoreError> {
    let known: Vec<(&EntryName, String)> = entries
        .iter()
        .filter_map(|entry| Some((&entry.name, in_home(&place_of(entry, is_plain)?))))
        .collect();
    let mut names = BTreeSet::new();
    let mut missing = Vec::new();
    for part in &selection.0 {
        let found = known.iter().filter(|(raw, name)| part.takes(name) || part.takes(raw.as_str()));
        let before = names.len();
        let mut any = false;
        for (raw, _) in found {
            any = true;
            names.insert((*raw).clone());
        }
        match part {
            _ if any || names.len() > before => {}
            Part::Path { typed, .. } => {
                let near = near(typed, known.iter().map(|(_, name)| name.as_str()));
                let (title, asked) = (title.to_owned(), typed.clone());
                return Err(RestoreError::NothingThere { title, asked, near });
            }
            part => missing.push(part.to_string()),
        }
    }
    if names.is_empty() {
        let (title, asked) = (title.to_owned(), missing.join(", "));
        return Err(RestoreError::NothingThere { title, asked, near: Vec::new() });
    }
    warnings.extend(missing.iter().map(|part| format!("{title} has no {part}")));
    let above: BTreeSet<EntryName> = names
        .iter()
        .flat_map(|name| std::iter::successors(name.parent(), EntryName::parent))
        .filter(|name| entries.iter().any(|entry| entry.name == *name && entry.node == Node::Dir))
        .collect();
    names.extend(above);
    Ok(Chosen { parts: selection.0, names })
}

/// Where an entry is in the home that a copy becomes: databases from outside lie at its top.
fn in_home(place: &EntryName) -> String {
    let name = place.as_str();
    let outside = name.strip_prefix(OUTSIDE).and_then(|rest| rest.strip_prefix('/'));
    outside.unwrap_or(name).to_owned()
}

/// Names that may have been meant: those with the last part of what was typed in their own, the
/// shortest first.
fn near<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let fold = |text: &str| text.to_lowercase().replace(['*', '?', '[', ']'], "");
    let leaf = |text: &str| text.rsplit('/').next().unwrap_or(text).to_owned();
    let wanted = fold(&leaf(bare(typed)));
    let stem = wanted.split('.').next().unwrap_or(&wanted).to_owned();
    let mut found: Vec<&str> =
        names.filter(|name| stem.len() > 2 && fold(&leaf(name)).contains(&stem)).collect();
    found.sort_by_key(|name| (name.len(), *name));
    found.into_iter().take(NEAR).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn a_word_is_a_part_and_everything_else_a_path() {
        check("sessions", "sessions/2026/11/21/a.jsonl",       true);
        check("sessions", "archived_sessions/a.jsonl",         true);
        check("sessions", "history.jsonl",                     true);
        check("sessions", "session_index.jsonl",               true);
        check("sessions", "state_5.sqlite",                    true);
        check("sessions", "thread_history_1.sqlite",           true);
        check("sessions", "logs_2.sqlite",                     false);
        check("sessions", "skills/mine/state_5.sqlite",        false);
        check("sessions", "memories/a.md",                     false);
        check("config",   "config.toml",                       true);
        check("config",   "work.config.toml",                  true);
        check("config",   "skills/mine/SKILL.md",              true);
        check("config",   "AGENTS.md",                         true);
        check("config",   "auth.json",                         false);
        check("login",    "auth.json",                         true);
        check("login",    "account-sessions/a",                true);
        check("login",    ".credentials.json",                 false);
        check("memories", "memories/a.md",                     true);
        check("memories", "memories_1.sqlite",                 true);
        check("./memories/", "memories/a.md",                  true);
        check("./memories/", "memories_1.sqlite",              false);
        check("prompts",  "prompts/deep/a.md",                 true);
        check("prompts",  "prompts-old/a.md",                  false);
        check("prompts/*.md", "prompts/a.md",                  true);
        check("prompts/*.md", "prompts/deep/a.md",             false);
        check("prompts/**/*.md", "prompts/deep/a.md",          true);
        check("*.md",     "prompts/a.md",                      false);
        check("skills/*", "skills/mine/SKILL.md",              true); // the folder `skills/mine`
        check("a[b",      "a[b",                               true);
        check("a[b]",     "a[b]",                              true); // a name that looks like a glob
    }

    #[track_caller]
    fn check(part: &str, name: &str, expected: bool) {
        let Ok(part) = part.parse::<Part>();
        assert_eq!(part.takes(name), expected, "{part} {name}");
    }

    #[test]
    fn a_name_that_is_not_there_brings_those_that_look_like_it() {
        let names = ["prompts/review.md", "prompts/Review-long.md", "notes.md", "a"];
        let near = |typed| near(typed, names.into_iter());
        assert_eq!(near("reviews.md"), Vec::<String>::new());
        assert_eq!(near("review"), ["prompts/review.md", "prompts/Review-long.md"]);
        assert_eq!(near("prompts/review.txt"), ["prompts/review.md", "prompts/Review-long.md"]);
        assert_eq!(near("*"), Vec::<String>::new());
    }
}
