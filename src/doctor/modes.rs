//! Who else may look into a file?

use std::fs::Metadata;

/// The permission bits, if they let anybody but the owner in. Systems without such bits have
/// nothing to say here.
pub(super) fn open_to_others(facts: &Metadata) -> Option<u32> {
    #[cfg(unix)]
    let mode = std::os::unix::fs::PermissionsExt::mode(&facts.permissions()) & 0o7777;
    #[cfg(not(unix))]
    let mode = {
        let _ = facts;
        0
    };
    is_wide(mode).then_some(mode)
}

/// Whether permission bits let anybody but the owner in.
pub(super) fn is_wide(mode: u32) -> bool {
    cfg!(unix) && mode & 0o077 != 0
}
