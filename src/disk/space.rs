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

#[cfg(test)]
mod tests {
    use super::*;

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
