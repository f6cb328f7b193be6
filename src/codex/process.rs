//! Who has this Codex home open?
//!
//! There is no lock on a home as a whole, so running processes are asked for: what they have
//! open, and which home their environment names (SPEC, "Running Codex").

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

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
    holders_below(Path::new("/proc"), root, own)
}

#[cfg(target_os = "linux")]
fn holders_below(proc: &Path, root: &Path, own: u32) -> Holders {
    let Ok(entries) = std::fs::read_dir(proc) else {
        return Holders { found: Vec::new(), unknown: true };
    };
    let mut found: Vec<Holder> = entries
        .flatten()
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let role = role_of(&entry.path(), root).filter(|_| pid != own)?;
            Some(Holder { pid, role })
        })
        .collect();
    found.sort_by_key(|holder| holder.pid);
    Holders { found, unknown: false }
}

#[cfg(not(target_os = "linux"))]
fn holders_below(_proc: &Path, _root: &Path, _own: u32) -> Holders {
    Holders { found: Vec::new(), unknown: true }
}

/// What the process at `/proc/PID` is to the home; `None` if it is nothing to it.
#[cfg(target_os = "linux")]
fn role_of(process: &Path, root: &Path) -> Option<Role> {
    let words = words(&std::fs::read(process.join("cmdline")).ok()?);
    let (open, written) = open_below(process, root);
    match codex_words(&words) {
        Some(codex) if open || names_home(process, root) => codex_role(codex),
        None if written => Some(Role::Other),
        _ => None,
    }
}

/// The arguments of a process, which end in zero bytes.
#[cfg(target_os = "linux")]
fn words(cmdline: &[u8]) -> Vec<OsString> {
    use std::os::unix::ffi::OsStrExt as _;
    let words = cmdline.split(|&byte| byte == 0).filter(|word| !word.is_empty());
    words.map(|word| OsStr::from_bytes(word).to_owned()).collect()
}

/// A command line from the program on, if that is Codex; from the script on, if a JavaScript engine
/// runs it.
fn codex_words(words: &[OsString]) -> Option<&[OsString]> {
    let (program, rest) = words.split_first()?;
    let program = leaf(program)?;
    if is_codex(program) {
        return Some(words);
    }
    if !["node", "nodejs", "bun", "deno"].contains(&program) {
        return None;
    }
    // What stands before the script is for the engine, such as `run` or `--no-warnings`.
    let script = rest.iter().position(|word| {
        let word = word.to_str().unwrap_or_default();
        !word.starts_with('-') && word != "run"
    })?;
    let rest = rest.get(script..)?;
    ["codex", "codex.js"].contains(&leaf(rest.first()?)?).then_some(rest)
}

/// The last part of a program's path, without the ending it has on Windows.
fn leaf(word: &OsString) -> Option<&str> {
    let leaf = Path::new(word).file_name()?.to_str()?;
    Some(leaf.strip_suffix(".exe").unwrap_or(leaf))
}

/// Whether a program of this name is Codex: `codex`, one of the programs that were split off it,
/// or either with the platform it was built for, as in a download. This program is not.
fn is_codex(leaf: &str) -> bool {
    let Some(rest) = leaf.strip_prefix("codex") else { return false };
    let rest = ["-app-server", "-exec", "-tui", "-cli"]
        .iter()
        .find_map(|part| rest.strip_prefix(part))
        .unwrap_or(rest);
    rest.is_empty() || ["-x86_64-", "-aarch64-"].iter().any(|arch| rest.starts_with(arch))
}

/// What a Codex that was started with these words is to a home; `None` for the updater.
fn codex_role(words: &[OsString]) -> Option<Role> {
    let has = |word: &str| words.iter().any(|other| other == word);
    let program = words.first().and_then(leaf).unwrap_or_default();
    let serves = has("app-server") || program.starts_with("codex-app-server");
    if has("pid-update-loop") {
        return None;
    }
    Some(match (serves, has("--managed-daemon")) {
        (true, true) => Role::Background,
        (true, false) => Role::AppServer,
        _ => Role::Session,
    })
}

/// Whether a process has anything below `root` open, and whether it may write to it.
#[cfg(target_os = "linux")]
fn open_below(process: &Path, root: &Path) -> (bool, bool) {
    let Ok(descriptors) = std::fs::read_dir(process.join("fd")) else { return (false, false) };
    let mut open = false;
    for descriptor in descriptors.flatten() {
        let Ok(target) = std::fs::read_link(descriptor.path()) else { continue };
        if !target.starts_with(root) {
            continue;
        }
        open = true;
        let info = process.join("fdinfo").join(descriptor.file_name());
        let info = std::fs::read_to_string(info).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|text| u32::from_str_radix(text.trim(), 8).ok());
        // The two lowest bits are the access mode; 0 is reading only.
        if flags.is_some_and(|flags| flags & 0o3 != 0) {
            return (true, true);
        }
    }
    (open, false)
}

/// Whether a process's environment names the home: `CODEX_HOME`, else `HOME` and `.codex`.
#[cfg(target_os = "linux")]
fn names_home(process: &Path, root: &Path) -> bool {
    let Ok(environment) = std::fs::read(process.join("environ")) else { return false };
    let variables: BTreeMap<String, String> = words(&environment)
        .iter()
        .filter_map(|word| word.to_str()?.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let set = |name: &str| variables.get(name).filter(|value| !value.is_empty());
    let home = match (set("CODEX_HOME"), set("HOME")) {
        (Some(home), _) => PathBuf::from(home),
        (None, Some(home)) => Path::new(home).join(".codex"),
        (None, None) => return false,
    };
    home.canonicalize().is_ok_and(|home| home == root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn codex_is_known_by_its_program_and_its_words() {
        check("codex",                                               Some(Some(Role::Session)));
        check("/usr/lib/x/bin/codex exec --json hi",                 Some(Some(Role::Session)));
        check("node /usr/bin/codex resume",                          Some(Some(Role::Session)));
        check("codex app-server --analytics-default-enabled",        Some(Some(Role::AppServer)));
        check("/h/bin/codex app-server --listen unix:// --managed-daemon", Some(Some(Role::Background)));
        // It stays when the server is stopped, and has nothing that a switch could spoil.
        check("/h/bin/codex app-server daemon pid-update-loop",      Some(None));
        check("/opt/codex-x86_64-unknown-linux-musl resume",         Some(Some(Role::Session)));
        check("codex-aarch64-apple-darwin",                          Some(Some(Role::Session)));
        check("codex-exec --json hi",                                Some(Some(Role::Session)));
        check("codex-exec-x86_64-unknown-linux-gnu hi",              Some(Some(Role::Session)));
        check("codex-app-server --listen stdio://",                  Some(Some(Role::AppServer)));
        check("C:/bin/codex-x86_64-pc-windows-msvc.exe app-server",  Some(Some(Role::AppServer)));
        check("node --no-warnings /x/node_modules/@openai/codex/bin/codex.js exec hi", Some(Some(Role::Session)));
        check("bun run /x/@openai/codex/bin/codex.js app-server",    Some(Some(Role::AppServer)));
        check("/usr/bin/nodejs /usr/bin/codex",                      Some(Some(Role::Session)));
        check("codex-manager backup",                                None);
        check("/x/target/release/codex-manager use ada",             None);
        check("codex-manager-x86_64-unknown-linux-musl list",        None);
        check("node /usr/bin/codex-manager list",                    None);
        check("codex-execute",                                       None);
        check("codexes",                                             None);
        check("my-codex",                                            None);
        check("vim codex",                                           None);
        check("sh -c codex",                                         None);
        check("node server.js codex",                                None);
        check("node",                                                None);
        check("",                                                    None);
    }

    #[track_caller]
    fn check(line: &str, expected: Option<Option<Role>>) {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        assert_eq!(codex_words(&words).map(codex_role), expected, "{line:?}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_writer_below_the_home_is_found_and_a_reader_elsewhere_is_not() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().canonicalize().unwrap();
        let file = std::fs::File::create(root.join("held")).unwrap();
        let own = std::process::id();
        let found = |except| holders(&root, except).found;
        assert_eq!(found(own + 1), [Holder { pid: own, role: Role::Other }]);
        assert_eq!(found(own), []);
        drop(file);
        let reader = std::fs::File::open(root.join("held")).unwrap();
        assert_eq!(found(own + 1), []);
        drop(reader);
    }
}
