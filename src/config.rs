//! What does the user prefer?
//!
//! The settings by name, with type, default and help; the text of `config.toml` read into them
//! and changed without losing its comments; and which of flag, environment, file and default
//! decides. Text and maps come in; the file and the environment are opened elsewhere.

mod account;
mod edit;
mod key;
mod strategy;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use chrono::TimeDelta;
use serde::Serialize;
use toml_edit::{Document, Item, TableLike, TomlError};

pub use self::account::{AccountSettings, Field, is_note};
pub use self::edit::{set, unset, unset_account};
pub use self::key::{Color, Key, UnknownColor, UnknownKey, Value, is_alias};
pub use self::strategy::{Strategy, UnknownStrategy};
use crate::time::Zone;

/// The tables that settings stand in.
const GROUPS: [&str; 5] = ["undo", "trash", "status", "aliases", ACCOUNTS];

/// The group that has a table for each account.
const ACCOUNTS: &str = "accounts";

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
        group: String,
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
    accounts: BTreeMap<String, AccountSettings>,
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
                    for (member, item) in table(item, group)?.iter() {
                        let name = format!("{group}.{member}");
                        if *group == ACCOUNTS && account::is_account(member) {
                            for (field, item) in table(item, &name)?.iter() {
                                config.take(text, &format!("{name}.{field}"), item)?;
                            }
                        } else {
                            config.take(text, &name, item)?;
                        }
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

    /// The settings that the file has.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.values.keys()
    }

    /// The names the user gave to accounts: name and e-mail or account key, by name.
    pub fn aliases(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().filter_map(|(key, value)| match key {
            Key::Alias(name) => Some((name.as_str(), value.as_text()?)),
            _ => None,
        })
    }

    /// What the user said about accounts: e-mail, key or short id, and that, by name.
    pub fn account_settings(&self) -> impl Iterator<Item = (&str, &AccountSettings)> {
        self.accounts.iter().map(|(name, settings)| (name.as_str(), settings))
    }

    fn take(&mut self, text: &str, name: &str, item: &Item) -> Result<(), ConfigError> {
        match name.parse::<Key>() {
            Ok(key) => {
                let value = key.read_item(item).ok_or_else(|| {
                    let (line, column) = position(text, item.span());
                    ConfigError::value(&key, Place::File { line, column })
                })?;
                if let Key::Account(name, field) = &key {
                    self.accounts.entry(name.clone()).or_default().take(*field, &value);
                }
                self.values.insert(key, value);
            }
            Err(unknown) => self.unknown.push(unknown),
        }
        Ok(())
    }
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
    if let Some(text) = flag {
        return Ok((Some(read(text, Place::Argument)?), Origin::Flag));
    }
    let variable = key.variable();
    let found = variable.and_then(|name| Some((env.get(&name)?, name)));
    if let Some((text, name)) = found.filter(|(text, _)| !text.is_empty()) {
        return Ok((Some(read(text, Place::Variable(name))?), Origin::Env));
    }
    Ok(match config.get(key) {
        Some(value) => (Some(value.clone()), Origin::File),
        None => (key.default_value(), Origin::Default),
    })
}

/// Every setting as it is in force; last the aliases and what is said of accounts in the file.
///
/// # Errors
///
/// As [`resolve`].
pub fn list(
    flags: &BTreeMap<Key, String>,
    env: &BTreeMap<String, String>,
    config: &Config,
) -> Result<Vec<Setting>, ConfigError> {
    let is_named = |key: &&Key| matches!(key, Key::Alias(_) | Key::Account(..));
    let named = config.values.keys().filter(is_named).cloned();
    Key::FIXED
        .into_iter()
        .chain(named)
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
    /// The program of Codex as it was written: a path, or a name on PATH.
    pub codex_program: Option<String>,
    /// The zone of times.
    pub timezone: Option<Zone>,
    /// When output is coloured.
    pub color: Color,
    /// How long to wait for another run.
    pub lock_timeout: Duration,
    /// How many threads bulk work uses; 0 = as many as there are cores.
    pub jobs: u32,
    /// What decides between ready accounts.
    pub strategy: Strategy,
    /// For how long `undo` keeps what was replaced.
    pub undo_keep: TimeDelta,
    /// For how long snapshots that were put away stay.
    pub trash_keep: TimeDelta,
    /// Whether Codex itself is asked for the quota.
    pub status_live: bool,
    /// How long it may take to answer.
    pub status_timeout: Duration,
    /// Length of a session, for legacy files.
    pub session_duration: TimeDelta,
    /// What snapshots leave out.
    pub exclude: Vec<glob::Pattern>,
    /// Whether snapshots leave out logs and caches.
    pub lean: bool,
    /// How hard snapshots are compressed, 1 to 12.
    pub compression_level: u32,
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
            codex_program: None,
            timezone: None,
            color: Color::Auto,
            lock_timeout: Duration::ZERO,
            jobs: 0,
            strategy: Strategy::default(),
            undo_keep: TimeDelta::zero(),
            trash_keep: TimeDelta::zero(),
            status_live: true,
            status_timeout: Duration::ZERO,
            session_duration: TimeDelta::zero(),
            exclude: Vec::new(),
            lean: false,
            compression_level: 1,
        };
        // Every value has been checked against its key, so each pair below is the only one.
        for Setting { key, value, .. } in list(flags, env, config)? {
            match (key, value) {
                (Key::CodexHome, Some(Value::Text(path))) => settings.codex_home = Some(path),
                (Key::CodexProgram, Some(Value::Text(path))) => settings.codex_program = Some(path),
                (Key::Timezone, Some(Value::Text(name))) => settings.timezone = name.parse().ok(),
                (Key::Color, Some(Value::Text(when))) => {
                    settings.color = when.parse().unwrap_or_default();
                }
                (Key::LockTimeout, Some(Value::Whole(seconds))) => {
                    settings.lock_timeout = Duration::from_secs(seconds.into());
                }
                (Key::Jobs, Some(Value::Whole(threads))) => settings.jobs = threads,
                (Key::Strategy, Some(Value::Text(name))) => {
                    settings.strategy = name.parse().unwrap_or_default();
                }
                (Key::UndoKeepDays, Some(Value::Whole(days))) => {
                    settings.undo_keep = TimeDelta::days(days.into());
                }
                (Key::TrashKeepDays, Some(Value::Whole(days))) => {
                    settings.trash_keep = TimeDelta::days(days.into());
                }
                (Key::StatusLive, Some(Value::Switch(live))) => settings.status_live = live,
                (Key::StatusTimeoutSeconds, Some(Value::Whole(seconds))) => {
                    settings.status_timeout = Duration::from_secs(seconds.into());
                }
                (Key::SessionDurationHours, Some(Value::Decimal(hours))) => {
                    settings.session_duration = key::session(hours).unwrap_or_default();
                }
                (Key::Exclude, Some(Value::List(globs))) => {
                    settings.exclude = globs.iter().filter_map(|text| pattern(text)).collect();
                }
                (Key::Lean, Some(Value::Switch(lean))) => settings.lean = lean,
                (Key::CompressionLevel, Some(Value::Whole(level))) => {
                    settings.compression_level = level;
                }
                _ => {}
            }
        }
        Ok(settings)
    }
}

/// What has to be a table.
fn table<'a>(item: &'a Item, name: &str) -> Result<&'a dyn TableLike, ConfigError> {
    item.as_table_like().ok_or_else(|| ConfigError::NotATable { group: name.to_owned() })
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
    use toml_edit::DocumentMut;

    use super::*;

    pub(super) const FILE: &str = "\
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
        let name = Key::LockTimeout.variable().unwrap();
        let env = BTreeMap::from([(name, variable.to_owned())]);
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
        fn any_text_is_read_or_refused(text in "(\\PC|[\n\"'=.\\[\\]{}#]|undo|lean|exclude|accounts|a@b){0,30}") {
            if let Err(error) = Config::parse(&text) {
                prop_assert!(!error.to_string().is_empty());
            }
            let note = Key::Account("a@b".to_owned(), Field::Note);
            for key in [Key::UndoKeepDays, note] {
                if let Ok(shorter) = unset(&text, &key) {
                    prop_assert!(shorter.parse::<DocumentMut>().is_ok());
                }
            }
        }

        #[test]
        fn what_is_set_is_what_is_read(
            which in 0_usize..9,
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
                6 => (Key::Account(format!("{word}@x.org"), Field::Priority), format!("-{number}")),
                7 => (Key::Account(format!("apikey:{word}"), Field::Note), format!("{word}'s \"key\"")),
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
