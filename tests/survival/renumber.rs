//! How does a copy of a home know its folders?
//!
//! The program tells folders apart by their inode numbers and writes those down: in its journal,
//! and in the operations that `undo` reads. A copy has other numbers. Here they are translated,
//! and the chain of the operations is closed again; `log --verify` holds that it was done well.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use crate::state::digest;

/// What stands before a line's own hash, which comes last.
const SEAL: &str = ",\"hash\":\"";

static INODE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"("inode": ?)(\d+)"#).expect("it is an expression"));

/// Writes the numbers of this copy into the manager home in `place`. What has none any more gets
/// one that nothing has.
pub(crate) fn renumber(place: &Path, number: &dyn Fn(u64) -> Option<u64>) {
    let translate = |text: &str| {
        let new = |found: &Captures<'_>| {
            let old = found[2].parse().expect("an inode is a number");
            format!("{}{}", &found[1], number(old).unwrap_or(u64::MAX))
        };
        INODE.replace_all(text, new).into_owned()
    };
    change(&place.join(".codex-manager/journal.json"), &translate);
    change(&place.join(".codex-manager/operations.jsonl"), &|text| {
        // The hash of the line before, as it was and as it is now.
        let mut before = (String::new(), String::new());
        let mut lines = String::new();
        for line in text.split_inclusive('\n') {
            let Some((content, seal)) = line.rsplit_once(SEAL) else {
                lines.push_str(line);
                continue;
            };
            let (hash, end) = seal.split_once('"').unwrap_or((seal, ""));
            let link = |hash: &str| format!("\"previous\":\"{hash}\"");
            let content = translate(content).replace(&link(&before.0), &link(&before.1));
            let new = format!("sha256:{}", digest(content.as_bytes()));
            lines.push_str(&format!("{content}{SEAL}{new}\"{end}"));
            before = (hash.to_owned(), new);
        }
        lines
    });
}

/// Changes a file that may be there, and nothing else about it.
fn change(path: &Path, new: &dyn Fn(&str) -> String) {
    if let Ok(text) = fs::read_to_string(path) {
        fs::write(path, new(&text)).expect("a file can be written");
    }
}
