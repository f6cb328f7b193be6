//! Which processes does Linux list that use the home, and what have they open?

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::command_line::{codex_role, codex_words};
use super::{Holder, Holders, Role};

pub(super) fn holders(root: &Path, own: u32) -> Holders {
    let Ok(entries) = std::fs::read_dir("/proc") else {
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

/// What the process at `/proc/PID` is to the home; `None` if it is nothing to it.
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
fn words(cmdline: &[u8]) -> Vec<OsString> {
    let words = cmdline.split(|&byte| byte == 0).filter(|word| !word.is_empty());
    words.map(|word| OsStr::from_bytes(word).to_owned()).collect()
}

/// Whether a process has anything below `root` open, and whether it may write to it.
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
