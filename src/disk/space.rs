//! How much room is left?

use std::path::Path;

use super::error::{At, Result};
use super::sys;

/// Bytes that an unprivileged process may still write to the file system that holds `dir`.
///
/// # Errors
///
/// When `dir` does not exist or its file system does not answer.
pub fn available(dir: &Path) -> Result<u64> {
    sys::available(dir).at("ask for the free space of", dir)
}

/// A length in the unit that gives it two to four digits: `512 B`, `1.5 KiB`, `20 MiB`.
#[must_use]
pub fn human(count: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut scale = 0;
    let mut unit = "B";
    for (power, name) in units.iter().enumerate() {
        if count >> (10 * power) == 0 {
            break;
        }
        (scale, unit) = (power, name);
    }
    if scale == 0 {
        return format!("{count} {unit}");
    }
    // Tenths in integers: a u64 does not fit a double exactly.
    let tenths = (u128::from(count) * 10) >> (10 * scale);
    let (whole, tenth) = (tenths / 10, tenths % 10);
    if whole < 10 { format!("{whole}.{tenth} {unit}") } else { format!("{whole} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_read_well() {
        for (count, expected) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (1_536, "1.5 KiB"),
            (10_240, "10 KiB"),
            (1_048_576, "1.0 MiB"),
            (5_368_709_120, "5.0 GiB"),
            (u64::MAX, "15 EiB"),
        ] {
            assert_eq!(human(count), expected);
        }
    }

    #[test]
    fn a_file_system_that_can_be_written_has_room() {
        assert!(available(&std::env::temp_dir()).unwrap() > 0);
    }

    #[test]
    #[cfg(unix)]
    fn a_folder_that_is_not_there_is_an_error_that_names_it() {
        let error = available(Path::new("/nowhere/at/all")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot ask for the free space of /nowhere/at/all: No such file or directory"
        );
    }
}
