//! Which names may an archive hold?
//!
//! Archives come from other machines too, so a name is parsed once into [`EntryName`], which cannot
//! leave its root, cannot break a terminal and means the same on every file system. [`NameSet`] holds
//! names against each other: two that only look different are one.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;
use unicode_normalization::UnicodeNormalization;

use super::ArchiveError;

/// Longest component of a name, in bytes of UTF-8.
const PART_BYTES: usize = 255;
/// Longest whole name, in bytes of UTF-8.
const NAME_BYTES: usize = 1024;
/// Most components a name may have.
const DEPTH: usize = 64;
/// How long names and targets may be on average where their number is limited, in bytes.
const TEXT_BYTES: usize = 256;

/// The relative path of an entry: UTF-8, components joined by `/`, no slash at either end.
///
/// No component is empty, `.` or `..`, ends in a dot or a space, or is longer than 255 bytes; there is
/// no backslash, drive letter, control or text-direction character; 1,024 bytes and 64 components at most.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct EntryName(Arc<str>);

/// Why a text cannot name an entry.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("\"{}\" cannot name an entry: {reason}", name.escape_debug())]
pub struct InvalidName {
    /// The text as it came, invalid UTF-8 replaced.
    pub name: String,
    /// The rule it breaks.
    pub reason: &'static str,
}

impl EntryName {
    /// The name of a path relative to the tree's root, with `/` between components on every platform.
    ///
    /// # Errors
    ///
    /// [`InvalidName`], also for a path that is not UTF-8.
    pub fn from_path(relative: &Path) -> Result<Self, InvalidName> {
        let Some(text) = relative.to_str() else {
            let name = relative.to_string_lossy().into_owned();
            return Err(InvalidName { name, reason: "it is not UTF-8" });
        };
        if cfg!(windows) { text.replace('\\', "/").parse() } else { text.parse() }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The components, outermost first; there is always at least one.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// The last component.
    pub fn leaf(&self) -> &str {
        self.0.rsplit_once('/').map_or(self.as_str(), |(_, leaf)| leaf)
    }

    /// The name of the directory it lies in; none for an entry at the root.
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once('/').map(|(parent, _)| Self(parent.into()))
    }

    /// How many components it has.
    pub fn depth(&self) -> usize {
        self.components().count()
    }

    /// Whether it is `other` or lies below it.
    pub fn is_within(&self, other: &Self) -> bool {
        let rest = self.as_str().strip_prefix(other.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// What the name is compared by: NFKC, full case folding and no invisible characters, as the most
    /// forgiving file system would.
    pub fn folded(&self) -> String {
        fold(&self.0).into_owned()
    }

    /// Whether it is the same name as some text that folds to itself.
    pub(super) fn folds_to(&self, text: &str) -> bool {
        if self.0.is_ascii() { self.0.eq_ignore_ascii_case(text) } else { self.folded() == text }
    }
}

impl FromStr for EntryName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        match objection(text) {
            None => Ok(Self(text.into())),
            Some(reason) => Err(InvalidName { name: text.to_owned(), reason }),
        }
    }
}

impl TryFrom<String> for EntryName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        match objection(&text) {
            None => Ok(Self(text.into())),
            Some(reason) => Err(InvalidName { name: text, reason }),
        }
    }
}

impl From<EntryName> for String {
    fn from(name: EntryName) -> Self {
        name.as_str().to_owned()
    }
}

impl AsRef<str> for EntryName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What names are known by: two numbers of 64 bits that nobody outside this run can foresee, so that
/// names which only look alike to them are as unlikely as anything.
#[derive(Debug, Default)]
struct Keys([RandomState; 2]);

impl Keys {
    fn of(&self, folded: &str) -> [u64; 2] {
        self.0.each_ref().map(|key| key.hash_one(folded))
    }
}

/// Names of which no two are the same to the most forgiving file system. Of each there is only what it
/// is known by, for there may be hundreds of thousands.
#[derive(Debug, Default)]
pub struct Folded {
    known: HashSet<[u64; 2]>,
    keys: Keys,
}

impl Folded {
    /// Makes room for so many more names.
    pub(crate) fn reserve(&mut self, names: usize) {
        self.known.reserve(names);
    }

    /// Adds a name; answers whether none that was added before is the same.
    pub fn insert(&mut self, name: &EntryName) -> bool {
        let key = self.keys.of(&fold(&name.0));
        self.known.insert(key)
    }

    /// Whether a name that was added is the same.
    pub fn has(&self, name: &EntryName) -> bool {
        self.known.contains(&self.keys.of(&fold(&name.0)))
    }
}

/// Names that live in one tree and do not contradict each other.
///
/// A hostile archive can imply a folder with every few bytes, so of each only a digest is kept, with keys of
/// its own in every run, and how to spell it again.
#[derive(Debug)]
pub struct NameSet {
    known: HashMap<[u64; 2], Known>,
    /// Those that were added, in their order; only the last of them if they are not kept.
    names: Vec<EntryName>,
    keeps_names: bool,
    keys: Keys,
    limit: usize,
    /// Bytes of names and targets so far.
    text: usize,
    /// Whether the last name's folders are all known.
    is_passed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    /// Which of the names begins with it; where they are not kept, a number that another spelling of
    /// it hardly has.
    name: u32,
    /// How many bytes of that name it is.
    length: u16,
    what: What,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum What {
    /// A directory that only follows from a name below it.
    Implied,
    Dir,
    Leaf,
}

impl Default for NameSet {
    /// A set for as many names as there may be.
    fn default() -> Self {
        Self {
            known: HashMap::new(),
            names: Vec::new(),
            keeps_names: true,
            keys: Keys::default(),
            limit: usize::MAX,
            text: 0,
            is_passed: false,
        }
    }
}

impl NameSet {
    /// A set for at most `limit` names, directories that only follow from others included.
    pub(super) fn up_to(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    /// The same set, but keeping no name: for when nobody else keeps them either. Of two that are
    /// the same, an error then tells only one.
    pub(super) fn without_names(self) -> Self {
        Self { keeps_names: false, ..self }
    }

    /// The same set with room for so many names.
    pub(super) fn with_room_for(mut self, names: usize) -> Self {
        self.known.reserve(names);
        if self.keeps_names {
            self.names.reserve(names);
        }
        self
    }

    /// Adds an entry's name; `is_dir` tells whether others may lie below it.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::SameName`] if the name, or a directory on the way to it, equals another after NFKC
    /// and case folding; [`ArchiveError::BelowFile`] if a file or link lies where a directory is needed;
    /// [`ArchiveError::TooMuch`] if there are too many.
    pub fn insert(&mut self, name: &EntryName, is_dir: bool) -> Result<(), ArchiveError> {
        self.count(name.as_str())?;
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        let folder = name.0.rsplit_once('/').map(|(folder, _)| folder);
        let before = self.names.last().and_then(|name| name.0.rsplit_once('/'));
        // Who comes from the same folder as the one before has passed all above it.
        let is_known = self.is_passed && before.map(|(folder, _)| folder) == folder;
        self.is_passed = false;
        if !self.keeps_names {
            self.names.clear();
        }
        self.names.push(name.clone());
        let folded = fold(&name.0);
        let above = if is_known { "" } else { &*folded };
        for ((end, _), (spelled_end, _)) in above.match_indices('/').zip(name.0.match_indices('/'))
        {
            let (key, spelled) = (folded.get(..end), name.0.get(..spelled_end));
            if let (Some(key), Some(spelled)) = (key, spelled) {
                self.pass_through(key, spelled, number, name)?;
            }
        }
        self.is_passed = true;
        let what = if is_dir { What::Dir } else { What::Leaf };
        let key = self.keys.of(&folded);
        match self.known.get(&key).copied() {
            None => self.add(key, name.as_str(), number, what),
            Some(known)
                if known.what == What::Implied
                    && is_dir
                    && self.is_spelled(known, name.as_str()) =>
            {
                self.known.insert(key, Known { what: What::Dir, ..known });
                Ok(())
            }
            Some(known) => Err(ArchiveError::SameName {
                name: name.to_string(),
                other: self.spelled(known, name.as_str()),
            }),
        }
    }

    /// Counts a text that is kept: a name, or the target of a link.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::TooMuch`] if all of them together are too long.
    pub(super) fn count(&mut self, text: &str) -> Result<(), ArchiveError> {
        self.text = self.text.saturating_add(text.len());
        let limit = self.limit.saturating_mul(TEXT_BYTES);
        if self.text <= limit {
            return Ok(());
        }
        let as_u64 = |bytes| u64::try_from(bytes).unwrap_or(u64::MAX);
        let (found, limit) = (as_u64(self.text), as_u64(limit));
        Err(ArchiveError::TooMuch { what: "bytes of names", found, limit })
    }

    fn pass_through(
        &mut self,
        folded: &str,
        spelled: &str,
        number: u32,
        name: &EntryName,
    ) -> Result<(), ArchiveError> {
        let key = self.keys.of(folded);
        match self.known.get(&key).copied() {
            None => self.add(key, spelled, number, What::Implied),
            Some(known) if known.what == What::Leaf => Err(ArchiveError::BelowFile {
                name: name.to_string(),
                file: self.spelled(known, spelled),
            }),
            Some(known) if !self.is_spelled(known, spelled) => Err(ArchiveError::SameName {
                name: spelled.to_owned(),
                other: self.spelled(known, spelled),
            }),
            Some(_) => Ok(()),
        }
    }

    fn add(
        &mut self,
        key: [u64; 2],
        spelled: &str,
        name: u32,
        what: What,
    ) -> Result<(), ArchiveError> {
        if self.known.len() >= self.limit {
            let limit = u64::try_from(self.limit).unwrap_or(u64::MAX);
            let found = limit.saturating_add(1);
            return Err(ArchiveError::TooMuch { what: "files and folders", found, limit });
        }
        // No name is longer than 1,024 bytes.
        let length = u16::try_from(spelled.len()).unwrap_or(u16::MAX);
        let name = if self.keeps_names { name } else { self.trace(spelled) };
        self.known.insert(key, Known { name, length, what });
        Ok(())
    }

    /// How a name is spelled that is the same as `like`; if no names are kept and it is spelled
    /// otherwise, that there is one.
    fn spelled(&self, known: Known, like: &str) -> String {
        match self.kept(known) {
            Some(kept) => kept.to_owned(),
            None if self.is_spelled(known, like) => like.to_owned(),
            None => "another name".to_owned(),
        }
    }

    fn is_spelled(&self, known: Known, text: &str) -> bool {
        match self.kept(known) {
            Some(kept) => kept == text,
            None => usize::from(known.length) == text.len() && known.name == self.trace(text),
        }
    }

    fn kept(&self, known: Known) -> Option<&str> {
        let number = usize::try_from(known.name).ok().filter(|_| self.keeps_names)?;
        self.names.get(number)?.as_str().get(..known.length.into())
    }

    /// What a spelling is known by where no names are kept.
    fn trace(&self, spelled: &str) -> u32 {
        let [key, _] = self.keys.of(spelled);
        u32::try_from(key & u64::from(u32::MAX)).unwrap_or(0)
    }
}

/// Whether a character can change how a line is shown instead of showing itself.
pub(super) fn is_deceptive(c: char) -> bool {
    let bidi = matches!(c,
        '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    c.is_control() || bidi
}

fn objection(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("it is empty");
    }
    if text.len() > NAME_BYTES {
        return Some("it is longer than 1,024 bytes");
    }
    if text.starts_with('/') {
        return Some("it is absolute");
    }
    if text.contains('\\') {
        return Some("it has a backslash");
    }
    let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if !is_plain && text.contains(is_deceptive) {
        return Some("it has a control or text-direction character");
    }
    let mut bytes = text.bytes();
    if bytes.next().is_some_and(|b| b.is_ascii_alphabetic()) && bytes.next() == Some(b':') {
        return Some("it starts with a drive letter");
    }
    if text.split('/').count() > DEPTH {
        return Some("it is deeper than 64 levels");
    }
    text.split('/').find_map(|part| match part {
        "" => Some("it has an empty component"),
        "." | ".." => Some("it has a `.` or `..` component"),
        _ if part.ends_with(['.', ' ']) => Some("a component ends in a dot or a space"),
        _ if part.len() > PART_BYTES => Some("a component is longer than 255 bytes"),
        _ => None,
    })
}

/// Whether some file system takes a name with this character for the one without it: joiners and
/// marks that show nothing.
fn is_passed_over(c: char) -> bool {
    matches!(c, '\u{200B}'..='\u{200D}' | '\u{2060}' | '\u{206A}'..='\u{206F}' | '\u{FEFF}')
}

fn fold(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        let is_folded = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        return if is_folded { text.into() } else { text.to_ascii_lowercase().into() };
    }
    // Upper before lower makes one of letters that have several lower forms (ß and ss, σ and ς).
    let seen = text.chars().filter(|c| !is_passed_over(*c));
    let upper: String = seen.nfkc().flat_map(char::to_uppercase).collect();
    upper.chars().flat_map(char::to_lowercase).nfkc().collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn a_name_stays_inside_its_root_and_shows_what_it_is() {
        name("auth.json",            None);
        name(".codex-manager/x.json",None);
        name("sessions/2026/é ü.x",  None);
        name("a:b",                  Some("it starts with a drive letter"));
        name("ab:c",                 None);
        name("...x",                 None);
        name("",                     Some("it is empty"));
        name("/etc/passwd",          Some("it is absolute"));
        name("../x",                 Some("it has a `.` or `..` component"));
        name("a/../x",               Some("it has a `.` or `..` component"));
        name("./a",                  Some("it has a `.` or `..` component"));
        name("a//b",                 Some("it has an empty component"));
        name("a/",                   Some("it has an empty component"));
        name("a\\b",                 Some("it has a backslash"));
        name("C:/x",                 Some("it starts with a drive letter"));
        name("a\0b",                 Some("it has a control or text-direction character"));
        name("a\nb",                 Some("it has a control or text-direction character"));
        name("a\u{9b}b",             Some("it has a control or text-direction character"));
        name("a\u{202e}txt.exe",     Some("it has a control or text-direction character"));
        name("a\u{2066}b",           Some("it has a control or text-direction character"));
        name("a\u{200f}b",           Some("it has a control or text-direction character"));
        name("a.",                   Some("a component ends in a dot or a space"));
        name("a /b",                 Some("a component ends in a dot or a space"));
        name("...",                  Some("a component ends in a dot or a space"));
        name(&"x".repeat(255),       None);
        name(&"x".repeat(256),       Some("a component is longer than 255 bytes"));
        name(&"é".repeat(128),       Some("a component is longer than 255 bytes"));
        name(&["x"; 64].join("/"),   None);
        name(&["x"; 65].join("/"),   Some("it is deeper than 64 levels"));
        name(&[&*"x".repeat(204); 5].join("/"), None);                                 // 1,024 bytes
        name(&format!("{}y", [&*"x".repeat(204); 5].join("/")), Some("it is longer than 1,024 bytes"));
    }

    #[track_caller]
    fn name(text: &str, expected: Option<&str>) {
        let parsed = text.parse::<EntryName>();
        assert_eq!(parsed.as_ref().err().map(|e| e.reason), expected, "{text:?}");
        if let Ok(parsed) = parsed {
            assert_eq!(parsed.to_string(), text);
            assert_eq!(EntryName::try_from(text.to_owned()), Ok(parsed));
        }
    }

    #[test]
    #[rustfmt::skip]
    fn names_that_only_look_different_are_one() {
        set(&["a", "b/c", "b/"],          "");
        set(&["b/", "b/c", "b/d/e"],      "");
        set(&["b/c", "b/"],               "");                     // a directory may come after its content
        set(&["a", "a"],                  "same name as a");
        set(&["b/", "b/"],                "same name as b");
        set(&["a", "A"],                  "same name as a");
        set(&["B/x", "b/y"],              "same name as B");
        set(&["straße", "STRASSE"],       "same name as straße");
        set(&["ὀδυσσεύς", "ὈΔΥΣΣΕΎΣ"],    "same name as ὀδυσσεύς");
        set(&["é", "e\u{301}"],           "same name as é");
        set(&["ﬁle", "file"],             "same name as ﬁle");      // a ligature
        set(&["a\u{200c}b", "ab"],        "same name as a\u{200c}b");
        set(&["\u{feff}a/x", "a/y"],      "same name as \u{feff}a");
        set(&["a", "a/b"],                "lies below a");
        set(&["a", "A/b"],                "lies below a");
        set(&["a/b", "a"],                "same name as a");
    }

    #[track_caller]
    fn set(names: &[&str], expected: &str) {
        assert_eq!(found(names, NameSet::default()), expected, "{names:?}");
        // The same is found where no names are kept, but not always how the other is spelled.
        let brief = found(names, NameSet::default().without_names());
        let (kind, other) = expected.rsplit_once(' ').unwrap_or_default();
        let added = names.last().unwrap().trim_end_matches('/');
        assert!(brief.starts_with(kind) && brief.is_empty() == expected.is_empty(), "{brief:?}");
        let told = brief.strip_prefix(kind).unwrap().trim_start();
        assert!([other, "another name"].contains(&told) || added.starts_with(told), "{brief:?}");
    }

    fn found(names: &[&str], mut set: NameSet) -> String {
        let added = names.iter().try_for_each(|text| {
            let name = text.trim_end_matches('/').parse().unwrap();
            set.insert(&name, text.ends_with('/'))
        });
        match added {
            Ok(()) => String::new(),
            Err(ArchiveError::SameName { other, .. }) => format!("same name as {other}"),
            Err(ArchiveError::BelowFile { file, .. }) => format!("lies below {file}"),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn what_names_cost_is_limited_whatever_they_imply() {
        let insert = |set: &mut NameSet, text: &str| set.insert(&text.parse().unwrap(), false);
        let mut set = NameSet::up_to(3);
        insert(&mut set, "a/b/c").unwrap();
        let error = insert(&mut set, "d").unwrap_err();
        assert!(matches!(error, ArchiveError::TooMuch { limit: 3, .. }), "{error}");
        let mut set = NameSet::up_to(64);
        insert(&mut set, "a").unwrap();
        for _ in 0..4 {
            set.count(&"t".repeat(4095)).unwrap();
        }
        let error = insert(&mut set, "abcd").unwrap_err();
        assert!(matches!(error, ArchiveError::TooMuch { found: 16_385, limit: 16_384, .. }));
    }

    #[test]
    fn a_name_knows_its_place() {
        let name: EntryName = "a/b/c".parse().unwrap();
        assert_eq!(name.leaf(), "c");
        assert_eq!(name.parent().unwrap().as_str(), "a/b");
        assert_eq!("a".parse::<EntryName>().unwrap().parent(), None);
        assert_eq!(name.depth(), 3);
        assert!(name.is_within(&"a/b".parse().unwrap()) && name.is_within(&name));
        assert!(!"ab".parse::<EntryName>().unwrap().is_within(&"a".parse().unwrap()));
        assert_eq!(EntryName::from_path(Path::new("a/b/c")).unwrap(), name);
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_not_utf8_is_an_error_not_a_guess() {
        use std::os::unix::ffi::OsStrExt;
        let path = Path::new(std::ffi::OsStr::from_bytes(b"a\xff"));
        assert_eq!(EntryName::from_path(path).unwrap_err().reason, "it is not UTF-8");
    }
}
