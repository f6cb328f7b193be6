//! Where may a token be, and did one get anywhere else?
//!
//! Every home of these tests is full of made-up tokens: in `auth.json`, in `.env`, in
//! `.credentials.json`. [`TestHome`](crate::home::TestHome) looks for them in all that a command
//! prints, and, when a test is over, in every file that is no Codex home, no archive and not what
//! the test itself named with [`TestHome::tokens_in`](crate::home::TestHome::tokens_in).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use regex::bytes::Regex;

use crate::home::TestHome;

/// What every made-up token holds.
pub(crate) const MADE_UP: &str = "made-up-secret";

// The tokens, so that one which got out says where it came from.
pub(crate) const ACCESS: &str = "made-up-secret-access";
pub(crate) const ID: &str = "made-up-secret-id";
pub(crate) const CLAIM: &str = "made-up-secret-claim";
pub(crate) const REFRESH: &str = "made-up-secret-refresh";
pub(crate) const API_KEY: &str = "sk-made-up-secret-key";
pub(crate) const SERVER: &str = "made-up-secret-server";
pub(crate) const VARIABLE: &str = "made-up-secret-variable";

/// A `.credentials.json`, in which Codex keeps what it signs in to other servers with.
pub(crate) fn credentials() -> String {
    format!("{{\"tracker\":{{\"access_token\":\"{SERVER}\",\"refresh_token\":\"{SERVER}\"}}}}\n")
}

/// A `.env` that a user keeps beside it.
pub(crate) fn variables() -> String {
    format!("TRACKER_TOKEN={VARIABLE}\n")
}

/// A token as it is, the head of any JWT, and a token in base64 or in hexadecimal digits.
static TOKEN: LazyLock<Regex> = LazyLock::new(|| {
    // Behind one or two other bytes base64 looks different, and so do the characters at its ends.
    let in_base64 = |before: usize| {
        let text = URL_SAFE_NO_PAD.encode([&vec![0; before], MADE_UP.as_bytes()].concat());
        let whole = (before + MADE_UP.len()) / 3 * 4;
        text[(before * 8).div_ceil(6)..whole].to_owned()
    };
    let in_hex: String = MADE_UP.bytes().map(|byte| format!("{byte:02x}")).collect();
    let forms = [in_base64(0), in_base64(1), in_base64(2), in_hex];
    Regex::new(&format!("(?:sk-)?{MADE_UP}[a-z-]*|eyJ[A-Za-z0-9_-]{{9}}|{}", forms.join("|")))
        .unwrap()
});

/// The token in these bytes, if there is one.
pub(crate) fn token_in(bytes: &[u8]) -> Option<String> {
    let found = TOKEN.find(bytes)?;
    Some(String::from_utf8_lossy(found.as_bytes()).into_owned())
}

/// Every file, link and name below `root` with a token in it, but for archives and what lies in
/// `allowed` (paths below `root`). What cannot be read cannot be judged.
pub(crate) fn leaks(root: &Path, allowed: &BTreeSet<PathBuf>) -> Vec<String> {
    let mut leaks = Vec::new();
    search(root, Path::new(""), allowed, &mut leaks);
    leaks
}

fn search(root: &Path, below: &Path, allowed: &BTreeSet<PathBuf>, leaks: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(root.join(below)) else { return };
    for entry in entries.flatten() {
        let name = below.join(entry.file_name());
        if allowed.contains(&name) {
            continue;
        }
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            search(root, &name, allowed, leaks);
        }
        let content = if kind.is_file() && !is_archive(&name) {
            fs::read(entry.path()).unwrap_or_default()
        } else if kind.is_symlink() {
            let target = fs::read_link(entry.path()).unwrap_or_default();
            target.as_os_str().as_encoded_bytes().to_vec()
        } else {
            Vec::new()
        };
        let named = token_in(entry.file_name().as_encoded_bytes());
        let found = named.or_else(|| token_in(&content));
        leaks.extend(found.map(|token| format!("{}: {token}", name.display())));
    }
}

/// Archives hold logins, compressed; that is what they are for.
fn is_archive(name: &Path) -> bool {
    name.to_string_lossy().ends_with(".tar.gz")
}

#[test]
#[rustfmt::skip]
fn a_token_is_found_however_it_is_written() {
    let found = |bytes: &str| token_in(bytes.as_bytes());
    for token in [ACCESS, ID, CLAIM, REFRESH, API_KEY, SERVER, VARIABLE] {
        assert_eq!(found(&format!("before \"{token}\" behind")).as_deref(), Some(token));
        for before in ["", "a", "ab", "abc"] {
            let text = URL_SAFE_NO_PAD.encode(format!("{before}{token}, and more"));
            assert!(found(&text).is_some(), "{before} {token}: {text}");
        }
    }
    assert!(found("6d6164652d75702d736563726574").is_some());
    assert!(found("token eyJhbGciOiJub25lIn0 and").is_some());
    for harmless in ["", "made-up", "a secret", "eyJ", "bWFkZS11cA", "sk-", "sha256:3a6d7855"] {
        assert_eq!(found(harmless), None, "{harmless}");
    }
}

#[test]
#[cfg(unix)]
fn a_token_is_found_in_files_links_and_names_where_none_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir_all(root.join("home/deep")).unwrap();
    fs::create_dir_all(root.join("store")).unwrap();
    for file in ["home/deep/auth.json", "store/notes", "store/x.tar.gz", "store/x.json"] {
        fs::write(root.join(file), if file.ends_with('s') { "" } else { REFRESH }).unwrap();
    }
    fs::write(root.join(format!("store/{ACCESS}")), "").unwrap();
    std::os::unix::fs::symlink(format!("/nowhere/{ID}"), root.join("link")).unwrap();
    let allowed = BTreeSet::from([PathBuf::from("home")]);
    let mut found = leaks(root, &allowed);
    found.sort();
    let expected = [
        format!("link: {ID}"),
        format!("store/{ACCESS}: {ACCESS}"),
        format!("store/x.json: {REFRESH}"),
    ];
    assert_eq!(found, expected);
    assert_eq!(leaks(root, &BTreeSet::new()).len(), 4);
}

#[test]
#[should_panic(expected = "was printed")]
fn a_test_fails_whose_command_prints_a_token() {
    TestHome::of_ada().play(&format!("show {REFRESH}"));
}

#[test]
#[should_panic(expected = "tokens got out")]
fn a_test_fails_that_leaves_a_token_where_none_may_be() {
    drop(TestHome::of_ada().file(".codex-manager/ledger.jsonl", ACCESS));
}
