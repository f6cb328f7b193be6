//! Is there room for what comes next?

use std::path::{Path, PathBuf};

use super::{Check, Facts, Finding, Level};
use crate::disk::space;

/// Below this much free space, in bytes, a backup or a restore may not fit.
const LEAST: u64 = 1 << 30;

/// Looks at the file systems of both homes. `last` is how much the newest snapshot holds, in
/// bytes.
pub(super) fn check(facts: &Facts<'_>, last: Option<u64>) -> Vec<Finding> {
    let places = [(Check::CodexRoom, facts.home.root()), (Check::Room, facts.store.root())];
    places
        .into_iter()
        .filter_map(|(check, place)| {
            let folder = existing(place)?;
            Some(match space::available(&folder) {
                Ok(free) => verdict(check, free, last),
                Err(error) => Finding::new(check, Level::Note, error.to_string()),
            })
        })
        .collect()
}

fn verdict(check: Check, free: u64, last: Option<u64>) -> Finding {
    let needed = last.unwrap_or(0).max(LEAST);
    if needed <= free {
        return Finding::new(check, Level::Ok, format!("{} are free", size(free)));
    }
    let what = format!("only {} are free", size(free));
    let what = match last {
        Some(last) if LEAST < last => {
            format!("{what}; the newest snapshot holds {}", size(last))
        }
        _ => what,
    };
    Finding::new(check, Level::Warning, what).remedy("free some space on that file system")
}

fn size(bytes: u64) -> String {
    let gib = bytes >> 30;
    if gib < 10 { format!("{} MiB", bytes >> 20) } else { format!("{gib} GiB") }
}

/// The folder itself, or the nearest one above it that exists.
fn existing(place: &Path) -> Option<PathBuf> {
    place.ancestors().find(|folder| folder.is_dir()).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn there_is_room_for_a_gigabyte_and_for_another_snapshot_as_large_as_the_last() {
        let gib = 1 << 30;
        for (free, last, expected) in [
            (gib,     None,            "1024 MiB are free"),
            (gib - 1, None,            "only 1023 MiB are free"),
            (0,       Some(1),         "only 0 MiB are free"),
            (gib,     Some(gib),       "1024 MiB are free"),
            (gib,     Some(gib + 1),   "only 1024 MiB are free; the newest snapshot holds 1024 MiB"),
            (9 * gib, Some(10 * gib),  "only 9216 MiB are free; the newest snapshot holds 10 GiB"),
            (2 * gib, Some(3 * gib),   "only 2048 MiB are free; the newest snapshot holds 3072 MiB"),
        ] {
            let found = verdict(Check::Room, free, last);
            assert_eq!(found.what, expected);
            let level = if expected.starts_with("only") { Level::Warning } else { Level::Ok };
            assert_eq!(found.level, level, "{expected}");
        }
    }

    #[test]
    fn the_room_of_a_folder_that_is_not_there_is_that_of_the_one_above() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(existing(&home.path().join("a/b")), Some(home.path().to_owned()));
    }
}
