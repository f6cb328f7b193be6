//! What does the user prefer?
//!
//! The settings by name, with type, default and help; the text of `config.toml` read into them
//! and changed without losing its comments; and which of flag, environment, file and default
//! decides. Text and maps come in; the file and the environment are opened elsewhere.

mod key;
mod strategy;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use chrono::TimeDelta;
use serde::Serialize;
use toml_edit::{Document, DocumentMut, Item, TomlError};

pub use self::key::{Color, Key, UnknownColor, UnknownKey, Value};
pub use self::strategy::{Strategy, UnknownStrategy};
use crate::time::Zone;

/// The tables that settings stand in.
const GROUPS: [&str; 3] = ["undo", "trash", "aliases"];

/// Who decided a value.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The command line.
    Flag,
    /// A `CODEX_MANAGER_*` variable.
    Env,
    /// `config.toml`.
    File,
    /// Nobody.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Flag => "flag",
            Self::Env => "env",
            Self::File => "file",
            Self::Default => "default",
        })
    }
}

/// A setting as it is in force.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Setting {
    /// Which.
    pub key: Key,
    /// Its value; `None` if nothing sets it and it has no default.
    pub value: Option<Value>,
    /// Who decided.
    pub origin: Origin,
    /// What it is for.
    pub help: &'static str,
}

/// Where a value was written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// On the command line.
    Argument,
    /// In this environment variable.
    Variable(String),
    /// At a line and column of `config.toml`, both counted from 1.
    File {
        /// The line.
        line: usize,
        /// The column, in characters.
        column: usize,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument => f.pad("the value given"),
            Self::Variable(name) => write!(f, "the value of {name}"),
            Self::File { line, column } => {
                write!(f, "the value at line {line}, column {column} of config.toml")
            }
        }
    }
}

/// Why the settings cannot be read or changed. What stands in the file is never repeated.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// The text is no TOML.
    #[error("config.toml cannot be read: line {line}, column {column} is not valid TOML")]
    Syntax {
        /// The line, counted from 1.
        line: usize,
        /// The column in characters, counted from 1.
        column: usize,
    },
    /// A value does not fit its setting.
    #[error("{place} does not fit `{key}`: {expected} is expected")]
    Value {
        /// The setting.
        key: String,
        /// Where the value was written.
        place: Place,
        /// What it has to look like.
        expected: &'static str,
    },
    /// The file uses the name of a group, as `undo`, for something else.
    #[error("`{group}` in config.toml is not a table")]
    NotATable {
        /// The group.
        group: &'static str,
    },
    /// There is no such setting.
    #[error(transparent)]
    Unknown(#[from] UnknownKey),
}

impl ConfigError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Syntax { .. } | Self::NotATable { .. } => Some(
                "correct it with an editor; `codex-manager config path` tells where".to_owned(),
            ),
            Self::Value { key, place: Place::File { .. }, .. } => {
                Some(format!("run `codex-manager config set {key} VALUE`, or `config unset {key}`"))
            }
            Self::Value { .. } => Some(
                "`codex-manager config list` shows every setting and what it is for".to_owned(),
            ),
            Self::Unknown(unknown) => unknown.hint(),
        }
    }

    fn value(key: &Key, place: Place) -> Self {
        Self::Value { key: key.to_string(), place, expected: key.expected() }
    }
}

/// The preferences that `config.toml` holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    values: BTreeMap<Key, Value>,
    /// Names in the file that no setting has; they are left alone.
    pub unknown: Vec<UnknownKey>,
}

impl Config {
    /// Reads the text of `config.toml`; an empty one has no preferences.
    ///
    /// A name that no setting has is kept in [`Config::unknown`]: a newer version may know it.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Syntax`], [`ConfigError::NotATable`], and [`ConfigError::Value`] for the
    /// first value that does not fit its setting.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let document = Document::parse(text).map_err(|error| syntax(text, &error))?;
        let mut config = Self::default();
        for (name, item) in document.iter() {
            match GROUPS.iter().find(|group| **group == name) {
                Some(group) => {
                    let table = item.as_table_like();
                    let table = table.ok_or(ConfigError::NotATable { group })?;
                    for (member, item) in table.iter() {
                        config.take(text, &format!("{group}.{member}"), item)?;
                    }
                }
                // A dot within quotes is part of a name, not a way into a group.
                None if name.contains('.') => {
                    config.unknown.push(UnknownKey { asked: name.to_owned(), nearest: None });
                }
                None => config.take(text, name, item)?,
            }
        }
        Ok(config)
    }

    /// What the file says about a setting.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Value> {
        self.values.get(key)
    }

    /// The names the user gave to accounts: name and e-mail or account key, by name.
    pub fn aliases(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().filter_map(|(key, value)| match key {
            Key::Alias(name) => Some((name.as_str(), value.as_text()?)),
            _ => None,
        })
    }

    fn take(&mut self, text: &str, name: &str, item: &Item) -> Result<(), ConfigError> {
        match name.parse::<Key>() {
            Ok(key) => {
                let value = key.read_item(item).ok_or_else(|| {
                    let (line, column) = position(text, item.span());
                    ConfigError::value(&key, Place::File { line, column })
                })?;
                self.values.insert(key, value);
            }
            Err(unknown) => self.unknown.push(unknown),
        }
        Ok(())
    }
}

/// The text with one setting changed or added; comments, order and all else stay.
///
/// # Errors
///
/// [`ConfigError::Value`] if `value` does not fit; [`ConfigError::Syntax`] or
/// [`ConfigError::NotATable`] if the text cannot be changed safely.
pub fn set(text: &str, key: &Key, value: &str) -> Result<String, ConfigError> {
    let value = key.read(value).ok_or_else(|| ConfigError::value(key, Place::Argument))?;
    let mut fresh = toml_edit::Value::from(&value);
    let mut document: DocumentMut = text.parse().map_err(|error| syntax(text, &error))?;
    let (group, name) = key.path();
    let table = match group {
        None => document.as_table_mut(),
        Some(group) => document
            .entry(group)
            .or_insert_with(toml_edit::table)
            .as_table_like_mut()
            .ok_or(ConfigError::NotATable { group })?,
    };
    match table.get_mut(&name) {
        Some(Item::Value(old)) => {
            // The comment behind the old value belongs to the setting.
            *fresh.decor_mut() = old.decor().clone();
            *old = fresh;
        }
        Some(other) => *other = Item::Value(fresh),
        None => drop(table.insert(&name, Item::Value(fresh))),
    }
    Ok(document.to_string())
}

/// The text without one setting; the comments above it and all else stay.
///
/// # Errors
///
/// [`ConfigError::Syntax`] or [`ConfigError::NotATable`] if the text cannot be changed safely.
pub fn unset(text: &str, key: &Key) -> Result<String, ConfigError> {
    let document = Document::parse(text).map_err(|error| syntax(text, &error))?;
    let (group, name) = key.path();
    let holder = match group {
        None => document.as_item(),
        Some(group) => match document.get(group) {
            Some(item) if item.is_table_like() => item,
            Some(_) => return Err(ConfigError::NotATable { group }),
            None => return Ok(text.to_owned()),
        },
    };
    // In a table a setting has its lines to itself: without them, the rest is untouched.
    let lines = holder
        .as_table()
        .and_then(|table| table.get_key_value(&name))
        .filter(|(_, item)| item.is_value())
        .and_then(|(key, item)| lines_of(text, key.span()?.start, item.span()?.end));
    if let Some((before, after)) = lines {
        let shorter = format!("{before}{after}");
        if shorter.parse::<DocumentMut>().is_ok() {
            return Ok(shorter);
        }
    }
    let mut document = document.into_mut();
    let table = match group {
        None => Some(document.as_item_mut()),
        Some(group) => document.get_mut(group),
    };
    if let Some(table) = table.and_then(Item::as_table_like_mut) {
        table.remove(&name);
    }
    Ok(document.to_string())
}

/// The value in force: of the flag, else of the variable, else of the file, else the default.
///
/// An empty variable counts as unset.
///
/// # Errors
///
/// [`ConfigError::Value`] if what decides does not fit the setting.
pub fn resolve(
    key: &Key,
    flag: Option<&str>,
    env: &BTreeMap<String, String>,
    config: &Config,
) -> Result<(Option<Value>, Origin), ConfigError> {
    let read = |text: &str, place| key.read(text).ok_or_else(|| ConfigError::value(key, place));
    let name = key.variable();
    if let Some(text) = flag {
        return Ok((Some(read(text, Place::Argument)?), Origin::Flag));
    }
    if let Some(text) = env.get(&name).filter(|text| !text.is_empty()) {
        return Ok((Some(read(text, Place::Variable(name))?), Origin::Env));
    }
    Ok(match config.get(key) {
        Some(value) => (Some(value.clone()), Origin::File),
        None => (key.default_value(), Origin::Default),
    })
}

/// Every setting as it is in force, the aliases of the file last.
///
/// # Errors
///
/// As [`resolve`].
pub fn list(
    flags: &BTreeMap<Key, String>,
    env: &BTreeMap<String, String>,
    config: &Config,
) -> Result<Vec<Setting>, ConfigError> {
    let aliases = config.aliases().map(|(name, _)| Key::Alias(name.to_owned()));
    Key::FIXED
        .into_iter()
        .chain(aliases)
        .map(|key| {
            let flag = flags.get(&key).map(String::as_str);
            let (value, origin) = resolve(&key, flag, env, config)?;
            Ok(Setting { help: key.help(), key, value, origin })
        })
        .collect()
}

/// The settings with a fixed name, typed.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The Codex home, as it was written: a leading `~` is not yet replaced.
    pub codex_home: Option<String>,
    /// The zone of times.
    pub timezone: Option<Zone>,
    /// When output is coloured.
    pub color: Color,
    /// How long to wait for another run.
    pub lock_timeout: Duration,
    /// For how long `undo` keeps what was replaced.
    pub undo_keep: TimeDelta,
    /// For how long snapshots that were put away stay.
    pub trash_keep: TimeDelta,
    /// Length of a session, for legacy files.
    pub session_duration: TimeDelta,
    /// What snapshots leave out.
    pub exclude: Vec<glob::Pattern>,
    /// Whether snapshots leave out logs and caches.
    pub lean: bool,
}

impl Settings {
    /// Resolves every setting with a fixed name.
    ///
    /// # Errors
    ///
    /// As [`resolve`].
    pub fn gather(
        flags: &BTreeMap<Key, String>,
        env: &BTreeMap<String, String>,
        config: &Config,
    ) -> Result<Self, ConfigError> {
        let mut settings = Self {
            codex_home: None,
            timezone: None,
            color: Color::Auto,
            lock_timeout: Duration::ZERO,
            undo_keep: TimeDelta::zero(),
            trash_keep: TimeDelta::zero(),
            session_duration: TimeDelta::zero(),
            exclude: Vec::new(),
            lean: false,
        };
        // Every value has been checked against its key, so each pair below is the only one.
        for Setting { key, value, .. } in list(flags, env, config)? {
            match (key, value) {
                (Key::CodexHome, Some(Value::Text(path))) => settings.codex_home = Some(path),
                (Key::Timezone, Some(Value::Text(name))) => settings.timezone = name.parse().ok(),
                (Key::Color, Some(Value::Text(when))) => {
                    settings.color = when.parse().unwrap_or_default();
                }
                (Key::LockTimeout, Some(Value::Whole(seconds))) => {
                    settings.lock_timeout = Duration::from_secs(seconds.into());
                }
                (Key::UndoKeepDays, Some(Value::Whole(days))) => {
                    settings.undo_keep = TimeDelta::days(days.into());
                }
                (Key::TrashKeepDays, Some(Value::Whole(days))) => {
                    settings.trash_keep = TimeDelta::days(days.into());
                }
                (Key::SessionDurationHours, Some(Value::Decimal(hours))) => {
                    settings.session_duration = key::session(hours).unwrap_or_default();
                }
                (Key::Exclude, Some(Value::List(globs))) => {
                    settings.exclude = globs.iter().filter_map(|text| pattern(text)).collect();
                }
                (Key::Lean, Some(Value::Switch(lean))) => settings.lean = lean,
                _ => {}
            }
        }
        Ok(settings)
    }
}

fn syntax(text: &str, error: &TomlError) -> ConfigError {
    let (line, column) = position(text, error.span());
    ConfigError::Syntax { line, column }
}

/// Line and column of the start of a stretch of text, both counted from 1.
fn position(text: &str, span: Option<Range<usize>>) -> (usize, usize) {
    // What is missing at the end of the text is missing behind its last word, not on empty lines.
    let start = span.map_or(0, |span| span.start).min(text.trim_end().len());
    let before = text.get(..start).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

/// What stands before and after the whole lines that hold the bytes from `start` to `end`.
fn lines_of(text: &str, start: usize, end: usize) -> Option<(&str, &str)> {
    let before = text.get(..start)?;
    let before = before.get(..before.rfind('\n').map_or(0, |newline| newline + 1))?;
    let after = text.get(end..)?;
    let after = after.find('\n').and_then(|newline| after.get(newline + 1..)).unwrap_or_default();
    Some((before, after))
}

/// A glob pattern for paths in the Codex home, as people write one: `./log`, `/log` and `log/` are
/// `log`. `None` if it is empty or no pattern.
#[must_use]
pub fn pattern(text: &str) -> Option<glob::Pattern> {
    let text = text.strip_prefix("./").unwrap_or(text).trim_matches('/');
    if text.is_empty() { None } else { glob::Pattern::new(text).ok() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILE: &str = "\
# Mine.

# Slow disk.
lock_timeout = 30 # seconds
color = \"never\"

[undo]
# A month.
keep_days = 30

[aliases]
work = \"ada@example.com\"
old = \"email:bob@example.com\"
";

    fn key(name: &str) -> Key {
        name.parse().unwrap()
    }

    #[test]
    #[rustfmt::skip]
    fn a_folder_is_the_same_pattern_however_it_is_written() {
        for text in ["big", "big/", "./big", "/big", "./big/"] {
            assert_eq!(pattern(text).unwrap().as_str(), "big", "{text:?}");
        }
        assert_eq!(pattern("a/**/b/").unwrap().as_str(), "a/**/b");
        for text in ["", "/", "./", "[a", "a***"] {
            assert_eq!(pattern(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_file_is_read_into_settings() {
        let config = Config::parse(FILE).unwrap();
        assert_eq!(config.get(&Key::LockTimeout), Some(&Value::Whole(30)));
        assert_eq!(config.get(&Key::UndoKeepDays), Some(&Value::Whole(30)));
        assert_eq!(config.get(&Key::Lean), None);
        assert_eq!(
            config.aliases().collect::<Vec<_>>(),
            [("old", "email:bob@example.com"), ("work", "ada@example.com")]
        );
        assert_eq!(Config::parse(""), Ok(Config::default()));
    }

    #[test]
    fn an_unknown_name_is_a_warning() {
        let config =
            Config::parse("colour = 1\n\"undo.keep_days\" = 3\n[undo]\nkeepdays = 1\n").unwrap();
        let unknown: Vec<_> =
            config.unknown.iter().map(|it| (it.asked.as_str(), it.nearest.as_deref())).collect();
        assert_eq!(
            unknown,
            [
                ("colour", Some("color")),
                ("undo.keep_days", None),
                ("undo.keepdays", Some("undo.keep_days")),
            ]
        );
        assert_eq!(config.get(&Key::UndoKeepDays), None);
    }

    #[test]
    #[rustfmt::skip]
    fn an_error_names_the_place_and_never_the_content() {
        error("color = \"secret\"",           "the value at line 1, column 9 of config.toml does not fit `color`: auto, always or never is expected");
        error("\n  lock_timeout = \"secret\"", "the value at line 2, column 18 of config.toml does not fit `lock_timeout`: a whole number of seconds between 0 and 86400 is expected");
        error("lean = true\nsecret",          "config.toml cannot be read: line 2, column 7 is not valid TOML");
        error("lean = true\nlean = false",    "config.toml cannot be read: line 2, column 1 is not valid TOML");
        error("undo = \"secret\"",            "`undo` in config.toml is not a table");
        error("exclude = [\"a\", 3]",         "the value at line 1, column 11 of config.toml does not fit `exclude`: a list of glob patterns is expected");
    }

    #[track_caller]
    fn error(text: &str, expected: &str) {
        let error = Config::parse(text).unwrap_err();
        assert_eq!(error.to_string(), expected);
        let hint = error.hint().unwrap();
        assert!(!hint.contains("secret"), "{hint}");
    }

    #[test]
    #[rustfmt::skip]
    fn a_change_keeps_comments_and_order() {
        change("lock_timeout", "5",   FILE.replace("= 30 # seconds", "= 5 # seconds"));
        change("undo.keep_days", "9", FILE.replace("keep_days = 30", "keep_days = 9"));
        change("aliases.new", "c@example.com", FILE.to_owned() + "new = \"c@example.com\"\n");
        change("lean", "on",          FILE.replace("\"never\"\n", "\"never\"\nlean = true\n"));
    }

    #[track_caller]
    fn change(name: &str, value: &str, expected: String) {
        assert_eq!(set(FILE, &key(name), value), Ok(expected));
    }

    #[test]
    fn a_group_is_made_where_it_is_missing() {
        assert_eq!(set("", &Key::UndoKeepDays, "3"), Ok("[undo]\nkeep_days = 3\n".to_owned()));
        assert_eq!(
            set("undo = { keep_days = 1 }\n", &Key::UndoKeepDays, "3"),
            Ok("undo = { keep_days = 3 }\n".to_owned())
        );
        assert!(set("undo = 1", &Key::UndoKeepDays, "3").is_err());
        assert!(set("not toml", &Key::UndoKeepDays, "3").is_err());
        assert!(set("", &Key::UndoKeepDays, "soon").is_err());
    }

    #[test]
    #[rustfmt::skip]
    fn a_removal_takes_its_own_lines_and_nothing_else() {
        removal("lock_timeout",   FILE, &FILE.replace("lock_timeout = 30 # seconds\n", ""));
        removal("undo.keep_days", FILE, &FILE.replace("keep_days = 30\n", ""));
        removal("aliases.old",    FILE, &FILE.replace("old = \"email:bob@example.com\"\n", ""));
        removal("lean",           FILE, FILE);
        removal("exclude",        "exclude = [\n  \"a\",\n]\nlean = true\n", "lean = true\n");
        removal("undo.keep_days", "undo.keep_days = 3", "");
        removal("undo.keep_days", "undo = { keep_days = 3, other = 1 }\n", "undo = { other = 1 }\n");
        removal("undo.keep_days", "lean = true", "lean = true");
    }

    #[track_caller]
    fn removal(name: &str, text: &str, expected: &str) {
        assert_eq!(unset(text, &key(name)).as_deref(), Ok(expected));
    }

    #[test]
    #[rustfmt::skip]
    fn the_nearest_to_the_person_decides() {
        let file = Config::parse("lock_timeout = 3").unwrap();
        decided(Some("1"), "2", &file,              Ok(("1", Origin::Flag)));
        decided(None,      "2", &file,              Ok(("2", Origin::Env)));
        decided(None,      "",  &file,              Ok(("3", Origin::File)));
        decided(None,      "",  &Config::default(), Ok(("10", Origin::Default)));
        decided(Some("x"), "2", &file,              Err("the value given"));
        decided(None,      "x", &file,              Err("the value of CODEX_MANAGER_LOCK_TIMEOUT"));
    }

    #[track_caller]
    fn decided(
        flag: Option<&str>,
        variable: &str,
        config: &Config,
        expected: Result<(&str, Origin), &str>,
    ) {
        let env = BTreeMap::from([(Key::LockTimeout.variable(), variable.to_owned())]);
        match (resolve(&Key::LockTimeout, flag, &env, config), expected) {
            (Ok((value, origin)), Ok((text, whose))) => {
                assert_eq!((value.unwrap().to_string().as_str(), origin), (text, whose));
            }
            (Err(error), Err(place)) => assert!(error.to_string().starts_with(place), "{error}"),
            (found, _) => panic!("{found:?}"),
        }
    }

    #[test]
    fn the_settings_in_force_are_typed() {
        let none = BTreeMap::new();
        let settings = Settings::gather(&BTreeMap::new(), &none, &Config::default()).unwrap();
        assert_eq!(settings.lock_timeout, Duration::from_secs(10));
        assert_eq!(settings.undo_keep, TimeDelta::days(7));
        assert_eq!(settings.session_duration, TimeDelta::hours(2));
        assert_eq!((settings.timezone, settings.color, settings.lean), (None, Color::Auto, false));

        let flags = BTreeMap::from([
            (Key::Timezone, "Europe/Berlin".to_owned()),
            (Key::SessionDurationHours, "1.5".to_owned()),
            (Key::Exclude, "*.tmp,logs/**".to_owned()),
            (Key::CodexHome, "~/c".to_owned()),
            (Key::Lean, "true".to_owned()),
        ]);
        let config = Config::parse(FILE).unwrap();
        let settings = Settings::gather(&flags, &none, &config).unwrap();
        assert_eq!(settings.timezone.unwrap().to_string(), "Europe/Berlin");
        assert_eq!(settings.session_duration, TimeDelta::minutes(90));
        assert_eq!(settings.exclude.len(), 2);
        assert_eq!(settings.codex_home.as_deref(), Some("~/c"));
        assert_eq!((settings.color, settings.lean), (Color::Never, true));

        let listed = list(&flags, &none, &config).unwrap();
        let names: Vec<_> = listed.iter().map(|setting| setting.key.to_string()).collect();
        assert_eq!(names.len(), Key::FIXED.len() + 2);
        assert_eq!(names.last().unwrap(), "aliases.work");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(\\PC|[\n\"'=.\\[\\]{}#]|undo|lean|exclude){0,30}") {
            if let Err(error) = Config::parse(&text) {
                prop_assert!(!error.to_string().is_empty());
            }
            if let Ok(shorter) = unset(&text, &Key::UndoKeepDays) {
                prop_assert!(shorter.parse::<DocumentMut>().is_ok());
            }
        }

        #[test]
        fn what_is_set_is_what_is_read(
            which in 0_usize..7,
            number in 1_u32..=168,
            word in "[a-z]{1,8}",
            is_on in any::<bool>(),
            twice in any::<bool>(),
        ) {
            let (key, value) = match which {
                0 => (Key::CodexHome, format!("~/\"{word}' #")),
                1 => (Key::LockTimeout, number.to_string()),
                2 => (Key::UndoKeepDays, number.to_string()),
                3 => (Key::SessionDurationHours, (f64::from(number) / 8.0).to_string()),
                4 => (Key::Exclude, format!("{word},*.{word}")),
                5 => (Key::Lean, is_on.to_string()),
                _ => (Key::Alias(word.clone()), format!("{word}@example.com")),
            };
            let text = if twice { FILE } else { "" };
            let text = set(text, &key, &value).unwrap();
            let config = Config::parse(&text).unwrap();
            prop_assert_eq!(config.get(&key).map(ToString::to_string), Some(value.clone()));
            prop_assert_eq!(set(&text, &key, &value), Ok(text.clone()), "setting twice is once");
            let without = Config::parse(&unset(&text, &key).unwrap()).unwrap();
            prop_assert_eq!(without.get(&key), None);
        }
    }
}
