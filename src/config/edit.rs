//! How does a person's `config.toml` change without losing what is theirs in it?
//!
//! Text comes in and goes out: comments, order and spelling of all that is not meant stay.

use toml_edit::{Document, DocumentMut, Item, Table};

use super::{ACCOUNTS, ConfigError, Key, Place, syntax};

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
    let (groups, name) = key.path();
    let mut holder = document.as_item_mut();
    for (depth, group) in (1..).zip(&groups) {
        let new = table_within(holder, depth < groups.len());
        holder = match holder.as_table_like_mut() {
            Some(table) => table.entry(group).or_insert(new),
            None => return Err(not_a_table(&groups, depth - 1)),
        };
    }
    let table = holder.as_table_like_mut();
    let table = table.ok_or_else(|| not_a_table(&groups, groups.len()))?;
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
    let (groups, name) = key.path();
    let mut holder = document.as_item();
    for (depth, group) in (1..).zip(&groups) {
        holder = match holder.get(group) {
            Some(item) if item.is_table_like() => item,
            Some(_) => return Err(not_a_table(&groups, depth)),
            None => return Ok(text.to_owned()),
        };
    }
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
    remove(document.as_item_mut(), &groups, &name);
    Ok(document.to_string())
}

/// The text without the table of one account, with whatever a person wrote into and right above
/// it; all else stays.
///
/// # Errors
///
/// [`ConfigError::Syntax`] if the text cannot be changed safely.
pub fn unset_account(text: &str, name: &str) -> Result<String, ConfigError> {
    let mut document: DocumentMut = text.parse().map_err(|error| syntax(text, &error))?;
    remove(document.as_item_mut(), &[ACCOUNTS], name);
    Ok(document.to_string())
}

/// Takes something out of the table that these names lead to.
fn remove(root: &mut Item, groups: &[&str], name: &str) {
    let holder = groups.iter().try_fold(root, |holder, group| holder.get_mut(group));
    if let Some(table) = holder.and_then(Item::as_table_like_mut) {
        table.remove(name);
    }
}

/// A new table in the style of the one that it will stand in. One that only holds further tables
/// needs no line of its own.
fn table_within(holder: &Item, is_outer: bool) -> Item {
    if holder.is_inline_table() {
        return Item::Value(toml_edit::InlineTable::new().into());
    }
    let mut table = Table::new();
    table.set_implicit(is_outer);
    table.set_dotted(holder.as_table().is_some_and(Table::is_dotted));
    Item::Table(table)
}

/// The first `depth` of these names lead to something else.
fn not_a_table(groups: &[&str], depth: usize) -> ConfigError {
    ConfigError::NotATable { group: groups.get(..depth).unwrap_or(groups).join(".") }
}

/// What stands before and after the whole lines that hold the bytes from `start` to `end`.
fn lines_of(text: &str, start: usize, end: usize) -> Option<(&str, &str)> {
    let before = text.get(..start)?;
    let before = before.get(..before.rfind('\n').map_or(0, |newline| newline + 1))?;
    let after = text.get(end..)?;
    let after = after.find('\n').and_then(|newline| after.get(newline + 1..)).unwrap_or_default();
    Some((before, after))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::FILE;
    use super::super::{Config, Field};
    use super::*;

    fn key(name: &str) -> Key {
        name.parse().unwrap()
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

    const ADA: &str = "ada@example.com";

    #[test]
    fn an_account_has_a_table_of_its_own_in_whichever_style_there_is() {
        let note = key("accounts.ada@example.com.note");
        let table = "[accounts.\"ada@example.com\"]\nnote = \"mine\"\n";
        for (text, expected) in [
            ("", table.to_owned()),
            ("lean = true\n", format!("lean = true\n\n{table}")),
            ("# one\n[accounts] # two\n", format!("# one\n[accounts] # two\n\n{table}")),
            (
                "[accounts.\"ada@example.com\"] # her\n# so\ndisabled = true # yes\n[undo]\n",
                "[accounts.\"ada@example.com\"] # her\n# so\ndisabled = true # yes\nnote = \"mine\"\n[undo]\n"
                    .to_owned(),
            ),
            (
                "accounts = { 0a1b2c3d = { priority = -1 } }\n",
                "accounts = { 0a1b2c3d = { priority = -1 } , \"ada@example.com\" = { note = \"mine\" } }\n"
                    .to_owned(),
            ),
            (
                "accounts.0a1b2c3d.priority = -1\nlean = true\n",
                "accounts.0a1b2c3d.priority = -1\naccounts.\"ada@example.com\".note = \"mine\"\nlean = true\n"
                    .to_owned(),
            ),
        ] {
            let changed = set(text, &note, "mine").unwrap();
            assert_eq!(changed, expected, "{text}");
            let config = Config::parse(&changed).unwrap();
            let found = config.account_settings().find(|(name, _)| *name == ADA);
            assert_eq!(found.unwrap().1.note.as_deref(), Some("mine"), "{text}");
            assert_eq!(config.unknown, []);
            let back = Config::parse(&unset(&changed, &note).unwrap()).unwrap();
            assert_eq!(back, Config::parse(text).unwrap(), "{text}");
            let gone = Config::parse(&unset_account(&changed, ADA).unwrap()).unwrap();
            assert!(gone.account_settings().all(|(name, _)| name != ADA), "{text}");
        }
        for odd in ["accounts = 1", "accounts = [1]", "accounts.\"ada@example.com\" = 1"] {
            let group = if odd.contains("ada") { "accounts.ada@example.com" } else { "accounts" };
            let expected = ConfigError::NotATable { group: group.to_owned() };
            assert_eq!(set(odd, &note, "mine"), Err(expected.clone()), "{odd}");
            assert_eq!(unset(odd, &note), Err(expected.clone()), "{odd}");
            assert_eq!(Config::parse(odd), Err(expected), "{odd}");
        }
    }

    #[test]
    fn what_else_is_said_in_or_about_a_table_stays_and_goes_with_it() {
        let text = "# mine\n\n[accounts.\"bob@example.com\"] # b\nnote = \"his\"\n\n\
                    [accounts.\"ada@example.com\"] # a\ncolour = 1 # later\nnote = \"hers\"\n\n\
                    [undo] # u\nkeep_days = 3\n";
        let note = key("accounts.ada@example.com.note");
        assert_eq!(unset(text, &note).unwrap(), text.replace("note = \"hers\"\n", ""));
        assert_eq!(set(text, &note, "new").unwrap(), text.replace("hers", "new"));
        let gone = unset_account(text, ADA).unwrap();
        let (before, rest) = text.split_once("\n[accounts.\"ada").unwrap();
        assert_eq!(gone, before.to_owned() + "\n[undo]" + rest.split_once("[undo]").unwrap().1);
        assert_eq!(unset_account(&gone, ADA).unwrap(), gone);
        let config = Config::parse(text).unwrap();
        let unknown: Vec<_> = config.unknown.iter().map(|it| it.asked.as_str()).collect();
        assert_eq!(unknown, ["accounts.ada@example.com.colour"]);
    }

    /// Files as people write them: comments, tables in any order and every style.
    fn files() -> impl Strategy<Value = String> {
        let comment = || prop_oneof![Just(""), Just(" # why")];
        let name = prop_oneof![
            Just("\"ada@example.com\""),
            Just("\"chatgpt:u/a\""),
            Just("0a1b2c3d"),
            Just("'bob@example.com'"),
        ];
        let line = prop_oneof![
            Just("note = \"x # y\""),
            Just("disabled = true"),
            Just("reserve = 7"),
            Just("priority = -3"),
            Just("later = [1, 2]"),
        ];
        let table = (name, comment(), prop::collection::vec((line, comment()), 0..4)).prop_map(
            |(name, comment, lines)| {
                let mut seen = std::collections::BTreeSet::new();
                let lines = lines.iter().filter(|(line, _)| seen.insert(*line));
                let lines: String =
                    lines.map(|(line, comment)| format!("# up\n{line}{comment}\n")).collect();
                (name, format!("[accounts.{name}]{comment}\n{lines}"))
            },
        );
        (prop::collection::vec(table, 0..4), any::<bool>()).prop_map(|(tables, is_last)| {
            let mut seen = std::collections::BTreeSet::new();
            let tables = tables.iter().filter(|(name, _)| seen.insert(*name));
            let tables: String = tables.map(|(_, table)| format!("\n# about\n{table}")).collect();
            let other = "\n[undo] # u\nkeep_days = 3\n";
            let (first, last) = if is_last { ("", other) } else { (other, "") };
            format!("# mine\nlean = true\n{first}{tables}{last}")
        })
    }

    proptest! {
        #[test]
        fn what_is_said_of_an_account_is_kept_beside_all_that_was_there(
            text in files(),
            who in prop_oneof![Just(ADA), Just("chatgpt:u/a"), Just("new@example.com")],
            what in prop_oneof![
                Just((Field::Note, "a \"b\" # c")),
                Just((Field::Disabled, "false")),
                Just((Field::Reserve, "100")),
                Just((Field::Priority, "-1000")),
            ],
        ) {
            let before = Config::parse(&text).unwrap();
            let key = Key::Account(who.to_owned(), what.0);
            let changed = set(&text, &key, what.1).unwrap();
            let after = Config::parse(&changed).unwrap();
            prop_assert_eq!(after.get(&key).unwrap().to_string(), what.1);
            prop_assert_eq!(&after.unknown, &before.unknown);
            let is_other = |it: &&Key| **it != key;
            let keys = |config: &Config| -> Vec<Key> {
                config.values.keys().filter(is_other).cloned().collect()
            };
            prop_assert_eq!(keys(&before), keys(&after));
            for other in keys(&before) {
                prop_assert_eq!(before.get(&other), after.get(&other));
            }
            prop_assert_eq!(set(&changed, &key, what.1), Ok(changed.clone()));
            // Every line but the one that is meant is where it was.
            let mut rest = changed.lines();
            let of_key = |line: &str| line.starts_with(&format!("{} = ", what.0));
            for line in text.lines().filter(|line| !of_key(line)) {
                prop_assert!(rest.any(|other| other == line), "{} is gone from\n{}", line, changed);
            }
            // The comment behind the value went with its line, and nothing else did.
            let without = unset(&changed, &key).unwrap();
            let unset_config = Config::parse(&without).unwrap();
            prop_assert_eq!(unset_config.get(&key), None);
            let mut rest = without.lines();
            for line in text.lines().filter(|line| !of_key(line)) {
                prop_assert!(rest.any(|other| other == line), "{} is gone from\n{}", line, without);
            }
            let gone = Config::parse(&unset_account(&changed, who).unwrap()).unwrap();
            prop_assert!(gone.account_settings().all(|(name, _)| name != who));
            for other in keys(&before).iter().filter(|it| !matches!(it, Key::Account(name, _) if name == who)) {
                prop_assert_eq!(before.get(other), gone.get(other));
            }
        }
    }
}
