//! Who else may look into a file, and whose is it?

use std::fs::Metadata;

use crate::codex::home::CodexHome;
use crate::disk::tree::{Node, Visit};
use crate::snapshot::store::Store;

/// What in a Codex home lets whoever reads it in somewhere: the login, the logins at other
/// servers, and the variables that a user keeps there.
pub(super) const SECRET_FILES: [&str; 3] = [CodexHome::AUTH, ".credentials.json", ".env"];

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

/// What of the manager home is looked at. Homes kept for `undo` have the modes that Codex gave
/// them, so only the folder that holds each is.
pub(super) fn visit(store: &Store, node: &Node) -> Visit {
    let undo = store.undo();
    let kept = undo.strip_prefix(store.root()).unwrap_or(&undo);
    let below = node.path.strip_prefix(kept).map_or(0, |rest| rest.components().count());
    if below <= 1 { Visit::Take } else { Visit::Skip }
}

/// The number of the user a file belongs to, where the system has such numbers.
#[cfg(unix)]
pub(super) fn owner(facts: &Metadata) -> Option<u32> {
    Some(std::os::unix::fs::MetadataExt::uid(facts))
}

/// The number of the user a file belongs to, where the system has such numbers.
#[cfg(not(unix))]
pub(super) fn owner(_facts: &Metadata) -> Option<u32> {
    None
}

/// The number of the user this process runs as, where the system has such numbers.
#[cfg(unix)]
pub(super) fn own_user() -> Option<u32> {
    Some(rustix::process::geteuid().as_raw())
}

/// The number of the user this process runs as, where the system has such numbers.
#[cfg(not(unix))]
pub(super) fn own_user() -> Option<u32> {
    None
}
