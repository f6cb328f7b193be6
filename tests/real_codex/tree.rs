//! What does a folder hold, to the nanosecond and to the byte?

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use sha2::{Digest, Sha256};

/// Everything a listing could tell about one entry, and what is in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Entry {
    size: u64,
    modified: SystemTime,
    read_only: bool,
    /// Of a file its digest, of a link its target, of anything else nothing.
    content: Vec<u8>,
}

/// The entries of a folder by their path below it; the folder itself is the empty path.
pub(crate) type Tree = BTreeMap<String, Entry>;

/// Looks at a folder without following a link.
pub(crate) fn tree(folder: &Path) -> Tree {
    let mut tree = Tree::new();
    visit(folder, "", &mut tree);
    tree
}

/// The paths that are not the same in both.
pub(crate) fn differences(before: &Tree, after: &Tree) -> BTreeSet<String> {
    let paths = before.keys().chain(after.keys());
    paths.filter(|path| before.get(*path) != after.get(*path)).cloned().collect()
}

fn visit(path: &Path, name: &str, tree: &mut Tree) {
    // Codex may remove a file of its own between the listing and the look.
    let Ok(metadata) = fs::symlink_metadata(path) else { return };
    let content = if metadata.is_file() {
        fs::read(path).map(|bytes| Sha256::digest(bytes).to_vec()).unwrap_or_default()
    } else if metadata.is_symlink() {
        let target = fs::read_link(path).unwrap_or_default();
        target.to_string_lossy().into_owned().into_bytes()
    } else {
        Vec::new()
    };
    let entry = Entry {
        // The size a folder claims is the file system's affair.
        size: if metadata.is_dir() { 0 } else { metadata.len() },
        modified: metadata.modified().unwrap(),
        read_only: metadata.permissions().readonly(),
        content,
    };
    tree.insert(name.to_owned(), entry);
    if metadata.is_dir() {
        for child in fs::read_dir(path).into_iter().flatten().flatten() {
            let file_name = child.file_name().to_string_lossy().into_owned();
            let name = if name.is_empty() { file_name } else { format!("{name}/{file_name}") };
            visit(&child.path(), &name, tree);
        }
    }
}
