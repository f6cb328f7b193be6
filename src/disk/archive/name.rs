//! Which names may an archive hold?
//!
//! Archives come from other machines too, so a name is parsed once into [`EntryName`], which cannot
//! leave its root, cannot break a terminal and means the same on every file system. [`NameSet`] holds
//! names against each other: two that only look different are one.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use thiserror::Error;
use unicode_normalization::UnicodeNormalization;

use super::ArchiveError;

/// Longest component of a name, in bytes of UTF-8.
const PART_BYTES: usize = 255;
/// Longest whole name, in bytes of UTF-8.
const NAME_BYTES: usize = 1024;
/// Most components a name may have.
const DEPTH: usize = 64;

/// The relative path of an entry: UTF-8, components joined by `/`, no slash at either end.
///
/// No component is empty, `.` or `..`, ends in a dot or a space, or is longer than 255 bytes; there is
/// no backslash, drive letter, control or text-direction character; 1,024 bytes and 64 components at most.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct EntryName(String);

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
        self.0.rsplit_once('/').map(|(parent, _)| Self(parent.to_owned()))
    }

    /// How many components it has.
    pub fn depth(&self) -> usize {
        self.components().count()
    }

    /// Whether it is `other` or lies below it.
    pub fn is_within(&self, other: &Self) -> bool {
        let rest = self.0.strip_prefix(other.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// What the name is compared by: NFKC, full case folding and no invisible characters, as the most
    /// forgiving file system would.
    pub fn folded(&self) -> String {
        fold(&self.0)
    }
}

impl FromStr for EntryName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        match objection(text) {
            None => Ok(Self(text.to_owned())),
            Some(reason) => Err(InvalidName { name: text.to_owned(), reason }),
        }
    }
}

impl TryFrom<String> for EntryName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        match objection(&text) {
            None => Ok(Self(text)),
            Some(reason) => Err(InvalidName { name: text, reason }),
        }
    }
}

impl From<EntryName> for String {
    fn from(name: EntryName) -> Self {
        name.0
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

/// Names that live in one tree and do not contradict each other.
#[derive(Debug, Default)]
pub struct NameSet {
    known: HashMap<String, Known>,
}

#[derive(Debug)]
struct Known {
    spelled: String,
    what: What,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum What {
    /// A directory that only follows from a name below it.
    Implied,
    Dir,
    Leaf,
}

impl NameSet {
    /// Adds an entry's name; `is_dir` tells whether others may lie below it.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::SameName`] if the name, or a directory on the way to it, equals another after NFKC
    /// and case folding; [`ArchiveError::BelowFile`] if a file or link lies where a directory is needed.
    pub fn insert(&mut self, name: &EntryName, is_dir: bool) -> Result<(), ArchiveError> {
        let folded = name.folded();
        for ((end, _), (spelled_end, _)) in folded.match_indices('/').zip(name.0.match_indices('/'))
        {
            let (key, spelled) = (folded.get(..end), name.0.get(..spelled_end));
            if let (Some(key), Some(spelled)) = (key, spelled) {
                self.pass_through(key, spelled, name)?;
            }
        }
        let what = if is_dir { What::Dir } else { What::Leaf };
        match self.known.get_mut(&folded) {
            None => {
                self.known.insert(folded, Known { spelled: name.0.clone(), what });
                Ok(())
            }
            Some(known) if known.what == What::Implied && is_dir && known.spelled == name.0 => {
                known.what = What::Dir;
                Ok(())
            }
            Some(known) => {
                Err(ArchiveError::SameName { name: name.0.clone(), other: known.spelled.clone() })
            }
        }
    }

    fn pass_through(
        &mut self,
        key: &str,
        spelled: &str,
        name: &EntryName,
    ) -> Result<(), ArchiveError> {
        match self.known.get(key) {
            None => {
                let known = Known { spelled: spelled.to_owned(), what: What::Implied };
                self.known.insert(key.to_owned(), known);
                Ok(())
            }
            Some(known) if known.what == What::Leaf => {
                Err(ArchiveError::BelowFile { name: name.0.clone(), file: known.spelled.clone() })
            }
            Some(known) if known.spelled != spelled => Err(ArchiveError::SameName {
                name: spelled.to_owned(),
                other: known.spelled.clone(),
            }),
            Some(_) => Ok(()),
        }
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
    if text.contains(is_deceptive) {
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

fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    // Upper before lower makes one of letters that have several lower forms (ß and ss, σ and ς).
    let seen = text.chars().filter(|c| !is_passed_over(*c));
    let upper: String = seen.nfkc().flat_map(char::to_uppercase).collect();
    upper.chars().flat_map(char::to_lowercase).nfkc().collect()
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
        let mut set = NameSet::default();
        let added = names.iter().try_for_each(|text| {
            let name = text.trim_end_matches('/').parse().unwrap();
            set.insert(&name, text.ends_with('/'))
        });
        let found = match added {
            Ok(()) => String::new(),
            Err(ArchiveError::SameName { other, .. }) => format!("same name as {other}"),
            Err(ArchiveError::BelowFile { file, .. }) => format!("lies below {file}"),
            Err(other) => panic!("{other}"),
        };
        assert_eq!(found, expected, "{names:?}");
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
