//! Who has this Codex home open?
//!
//! There is no lock on a home as a whole, so running processes are asked for: what they have
//! open, and which home their environment names (SPEC, "Running Codex").

#[cfg(any(target_os = "linux", test))]
mod command_line;
#[cfg(target_os = "linux")]
mod proc;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

/// A process that uses a Codex home, or would.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// What it is.
    pub role: Role,
}

/// What a holder is to Codex; each ends in another way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// The terminal program or `codex exec`.
    Session,
    /// `codex app-server`, started by an editor or a script.
    AppServer,
    /// The server that the terminal program leaves behind (0.160.1 and newer).
    Background,
    /// Another program that writes below the home.
    Other,
}

impl Role {
    /// How a person ends it.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Session => "quit it with /quit, or let it finish",
            Self::AppServer => "close the editor or the script that started it",
            Self::Background => "end it with `codex app-server daemon stop`",
            Self::Other => "close it",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Session => "codex",
            Self::AppServer => "codex app-server",
            Self::Background => "the background server of codex",
            Self::Other => "a program that writes there",
        })
    }
}

/// What could be found out about the users of a home.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Holders {
    /// The processes, by number.
    pub found: Vec<Holder>,
    /// Set where the system does not tell (anywhere but on Linux so far).
    pub unknown: bool,
}

/// The processes, for people: what each is, and its number.
#[must_use]
pub fn said(found: &[Holder]) -> String {
    let each = found.iter().map(|holder| format!("{} (pid {})", holder.role, holder.pid));
    each.collect::<Vec<_>>().join(", ")
}

/// What ends them, each remedy once.
#[must_use]
pub fn remedies(found: &[Holder]) -> String {
    let each: BTreeSet<&str> = found.iter().map(|holder| holder.role.remedy()).collect();
    each.into_iter().collect::<Vec<_>>().join("; ")
}

/// Finds who uses the home at `root`, its resolved path. The process `own` does not count.
///
/// A process counts if it is Codex and has something below the home open or names the home in
/// its environment, or if it has a file below the home open for writing, whatever it is.
/// Processes that end while we look do not count; what another user runs cannot be seen. Nor does
/// the updater of the background server, which `codex app-server daemon stop` leaves running: it
/// has neither login nor sessions, and only writes what is valid here and now.
#[must_use]
pub fn holders(root: &Path, own: u32) -> Holders {
    #[cfg(target_os = "linux")]
    return proc::holders(root, own);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (root, own);
        Holders { found: Vec::new(), unknown: true }
    }
}
