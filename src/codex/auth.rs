//! Whose login does an `auth.json` hold, and how old is it?
//!
//! The bytes are kept exactly as they are and never written anew: unknown keys must survive,
//! and only Codex knows them. Claims are read, never verified. Which of two logins is the
//! newer is decided in `account::login`; who may replace the file, in the rooms above.

mod claims;
mod reading;
mod store;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use zeroize::{Zeroize, Zeroizing};

pub use self::store::{Store, StoreError};

use self::claims::{Claims, text};
use crate::account::{AccountKey, Email, Fingerprint, Login, Secret};
use crate::disk::Facts;
use crate::disk::read::{is_at_rest, is_settled, rest};

/// The largest `auth.json` that is read, in bytes.
pub const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// How long to wait between two reads of a file that Codex may be writing.
const PAUSE: Duration = Duration::from_millis(20);

/// How often to wait before giving up: two seconds in all.
const PAUSES: u32 = 100;

/// What an `auth.json` says, beside its exact bytes.
///
/// Only the bytes are secret. An odd fact is an absent one: a token that does not decode costs
/// the account's name, never the login itself.
#[derive(Clone, Debug)]
pub struct AuthFile {
    /// The file, byte for byte.
    pub bytes: Secret,
    /// How it signs in.
    pub mode: Mode,
    /// Whose it is; `None` if that cannot be told, see [`AuthFile::problem`].
    pub key: Option<AccountKey>,
    /// The address in its tokens.
    pub email: Option<Email>,
    /// The plan in its tokens (`plus`), as old as they are.
    pub plan: Option<String>,
    /// What tells it from other copies of the same login.
    pub login: Login,
    /// Set when two accounts met in this file; then it is nobody's.
    pub mixed: Option<Mixed>,
    /// Why `key` is unknown; `None` exactly when it is known.
    pub problem: Option<Problem>,
}

/// How a login signs in (`auth_mode`).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Mode {
    /// With the tokens of a ChatGPT account.
    ChatGpt,
    /// With an API key, which has no quota windows.
    ApiKey,
    /// In a way this version has not heard of.
    Other(String),
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::ChatGpt => "chatgpt",
            Self::ApiKey => "apikey",
            Self::Other(name) => name,
        })
    }
}

/// The two workspaces of a file in which an exchange met a token refresh of an older Codex.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mixed {
    /// `tokens.account_id`, of the account that was swapped in.
    pub tokens_account_id: String,
    /// `chatgpt_account_id` of the id token, of the account whose tokens these are.
    pub id_token_account_id: String,
}

/// Why a file that can be read names no account.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Problem {
    /// There are no tokens where this mode needs them.
    #[error("it holds no tokens")]
    NoTokens,
    /// The mode is an API key, but there is none.
    #[error("it holds no API key")]
    NoApiKey,
    /// The id token does not decode; Codex takes such a file for "not logged in".
    #[error("its id token cannot be decoded")]
    OddIdToken,
    /// The id token lacks the user or the workspace, or they hold unusable characters.
    #[error("its id token names no user and workspace")]
    NoAccount,
    /// See [`AuthFile::mixed`].
    #[error("it mixes the logins of two accounts")]
    Mixed,
}

/// Why bytes are no `auth.json`. Names the place, never the content.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotALogin {
    /// They are no JSON.
    #[error("not JSON (line {line}, column {column})")]
    NotJson {
        /// Line of the first fault, from 1; 0 for the empty file.
        line: usize,
        /// Column of the first fault.
        column: usize,
    },
    /// They are JSON, but not an object.
    #[error("not a JSON object")]
    NotAnObject,
}

/// Why an `auth.json` could not be read. That there is none is no error.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// It is a folder, a pipe, a socket or a device; it was not opened.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// It is larger than [`MAX_BYTES`].
    #[error("{} is larger than {} MiB", path.display(), MAX_BYTES / 1024 / 1024)]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It stood still and yet is no login.
    #[error("{} is {source}", path.display())]
    NotALogin {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        source: NotALogin,
    },
    /// No two reads agreed for two seconds: somebody writes to it all the time.
    #[error("{} kept changing while it was read", path.display())]
    Unsettled {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl AuthError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotALogin { .. } => Some("sign in again with `codex login`".to_owned()),
            Self::Unsettled { .. } => Some("quit Codex and try again".to_owned()),
            Self::NotAFile { .. } | Self::TooLarge { .. } => {
                Some("move it aside and sign in again with `codex login`".to_owned())
            }
            Self::Io { .. } => None,
        }
    }
}

/// Reads the `auth.json` at `path`, through a symlink if it is one; `None` if there is none.
///
/// Older versions of Codex truncate the file and write it in place, so it is read until two
/// reads 20 ms apart agree on a JSON object, for up to two seconds. A file that is no login
/// therefore takes as long to be refused. One that had not been written for two seconds when it
/// was read, and was not meanwhile, is read once.
///
/// # Errors
///
/// [`AuthError`]; nothing but regular files of up to [`MAX_BYTES`] is read, and a pipe does
/// not block.
pub fn read(path: &Path) -> Result<Option<AuthFile>, AuthError> {
    settle(
        path,
        || read_once(path),
        || rest(PAUSE),
        || is_settled(path, PAUSE.saturating_mul(PAUSES)),
    )
}

/// Takes the bytes of an `auth.json` apart.
///
/// # Errors
///
/// [`NotALogin`] unless they are one JSON object.
pub fn parse(bytes: Vec<u8>) -> Result<AuthFile, NotALogin> {
    parse_secret(bytes.into())
}

fn parse_secret(bytes: Secret) -> Result<AuthFile, NotALogin> {
    let document = Document::parse(bytes.bytes())?;
    let tokens = document.0.get("tokens").and_then(Value::as_object);
    let token = |name: &str| text(tokens, name);
    let api_key = text(document.0.as_object(), "OPENAI_API_KEY");
    let mode = match text(document.0.as_object(), "auth_mode") {
        Some("chatgpt") => Mode::ChatGpt,
        Some("apikey") => Mode::ApiKey,
        Some(other) => Mode::Other(other.to_owned()),
        None if api_key.is_some() => Mode::ApiKey,
        None => Mode::ChatGpt,
    };
    let last_refresh = text(document.0.as_object(), "last_refresh").and_then(|at| at.parse().ok());

    if mode == Mode::ApiKey {
        let fingerprint = api_key.map(|key| Fingerprint::of(key.as_bytes()));
        return Ok(AuthFile {
            mode,
            key: fingerprint.map(|fingerprint| AccountKey::ApiKey(fingerprint.hex())),
            email: None,
            plan: None,
            login: Login { fingerprint, last_refresh, ..Login::default() },
            mixed: None,
            problem: fingerprint.is_none().then_some(Problem::NoApiKey),
            bytes,
        });
    }

    let id = token("id_token").and_then(Claims::of);
    let access = token("access_token").and_then(Claims::of);
    let both = || [&id, &access].into_iter().flatten();
    let login = Login {
        fingerprint: token("refresh_token").map(|secret| Fingerprint::of(secret.as_bytes())),
        issued_at: both().filter_map(|claims| claims.time("iat")).max(),
        expires_at: access.as_ref().and_then(|claims| claims.time("exp")),
        last_refresh,
    };
    let mixed = mixed(token("account_id"), id.as_ref());
    let named = match &id {
        _ if tokens.is_none() => Err(Problem::NoTokens),
        _ if mixed.is_some() => Err(Problem::Mixed),
        None => Err(Problem::OddIdToken),
        Some(id) => account(id, token("account_id")).ok_or(Problem::NoAccount),
    };
    Ok(AuthFile {
        mode,
        email: both().find_map(Claims::email),
        plan: both().find_map(|claims| claims.openai("chatgpt_plan_type")).map(str::to_owned),
        login,
        mixed,
        problem: named.as_ref().err().copied(),
        key: named.ok(),
        bytes,
    })
}

/// The account an id token names; the workspace may stand beside the token instead of in it.
fn account(id: &Claims, account_id: Option<&str>) -> Option<AccountKey> {
    let user = id.openai("chatgpt_user_id").or_else(|| id.openai("user_id"))?;
    let workspace = id.openai("chatgpt_account_id").or(account_id)?;
    // The key's own text form refuses whatever could not be written into it.
    format!("chatgpt:{user}/{workspace}").parse().ok()
}

fn mixed(beside: Option<&str>, id: Option<&Claims>) -> Option<Mixed> {
    let beside = beside?;
    let inside = id?.openai("chatgpt_account_id")?;
    (beside != inside).then(|| Mixed {
        tokens_account_id: beside.to_owned(),
        id_token_account_id: inside.to_owned(),
    })
}

/// A parsed `auth.json`, whose texts are wiped when it is dropped.
struct Document(Value);

impl Document {
    fn parse(bytes: &[u8]) -> Result<Self, NotALogin> {
        let document: Value = serde_json::from_slice(bytes)
            .map_err(|error| NotALogin::NotJson { line: error.line(), column: error.column() })?;
        let document = Self(document);
        if document.0.is_object() { Ok(document) } else { Err(NotALogin::NotAnObject) }
    }
}

impl Drop for Document {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(members) => members.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The bytes of a file, and whether its times prove that nobody was writing them.
type Seen = (Secret, bool);

/// Reads until a login is at rest or two reads agree on one, or agree on what makes none and is
/// left alone.
fn settle(
    path: &Path,
    mut read: impl FnMut() -> Result<Option<Seen>, AuthError>,
    mut pause: impl FnMut(),
    is_left_alone: impl Fn() -> bool,
) -> Result<Option<AuthFile>, AuthError> {
    let Some((mut last, is_at_rest)) = read()? else { return Ok(None) };
    if is_at_rest && let Ok(login) = parse_secret(last.clone()) {
        return Ok(Some(login));
    }
    let mut steady = None;
    for _ in 0..PAUSES {
        pause();
        let Some((next, _)) = read()? else { return Ok(None) };
        steady = if next == last {
            match parse_secret(next.clone()) {
                Ok(login) => return Ok(Some(login)),
                Err(source) if is_left_alone() => {
                    return Err(AuthError::NotALogin { path: path.to_owned(), source });
                }
                Err(source) => Some(source),
            }
        } else {
            None
        };
        last = next;
    }
    let path = path.to_owned();
    Err(match steady {
        Some(source) => AuthError::NotALogin { path, source },
        None => AuthError::Unsettled { path },
    })
}

fn read_once(path: &Path) -> Result<Option<Seen>, AuthError> {
    let refused = |source| AuthError::Io { path: path.to_owned(), source };
    let looks = |file: &File| Facts::of(file, path).map_err(|error| refused(error.source));
    let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;

    // Asked before opening, because opening a pipe or a device can have effects of its own ...
    match path.metadata() {
        Ok(found) if found.is_file() => {}
        Ok(_) => return Err(AuthError::NotAFile { path: path.to_owned() }),
        Err(error) if gone(&error) => return Ok(None),
        Err(error) => return Err(refused(error)),
    }
    let file = match open(path) {
        Ok(file) => file,
        Err(error) if gone(&error) => return Ok(None),
        Err(error) => return Err(refused(error)),
    };
    // ... and afterwards, because the name may stand for something else by now.
    let metadata = file.metadata().map_err(refused)?;
    if !metadata.is_file() {
        return Err(AuthError::NotAFile { path: path.to_owned() });
    }

    let too_large = || AuthError::TooLarge { path: path.to_owned() };
    let expected = usize::try_from(metadata.len()).map_err(|_| too_large())?;
    if MAX_BYTES < metadata.len() {
        return Err(too_large());
    }
    // Room for all of it from the start: a buffer that grows leaves copies of tokens behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(expected.saturating_add(1)));
    let before = looks(&file)?;
    let mut reader = (&file).take(MAX_BYTES + 1);
    reader.read_to_end(&mut bytes).map_err(refused)?;
    if reader.limit() == 0 {
        return Err(too_large());
    }
    let is_at_rest = looks(&file)? == before && is_at_rest(&before, PAUSE.saturating_mul(PAUSES));
    Ok(Some((std::mem::take(&mut *bytes).into(), is_at_rest)))
}

#[cfg(unix)]
fn open(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};

    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

#[cfg(not(unix))]
fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    #[rustfmt::skip]
    fn a_file_tells_whose_login_it_is_and_an_odd_fact_costs_only_itself() {
        check("chatgpt",                    "chatgpt chatgpt:user-ada/acct-1 ada@example.com plus");
        check("chatgpt-team-seat",          "chatgpt chatgpt:user-ada/acct-2 ada@example.com team");
        check("chatgpt-old-form",           "chatgpt chatgpt:user-ada/acct-1 ada@example.com plus");
        check("workspace-beside-the-token", "chatgpt chatgpt:user-ada/acct-1 ada@example.com plus");
        check("unheard-of-mode",            "agentIdentity chatgpt:user-ada/acct-1 ada@example.com plus");
        check("odd-facts",                  "chatgpt chatgpt:user-ada/acct-1 - plus");
        check("api-key",                    &format!("apikey apikey:{} - -", Fingerprint::of(b"sk-made-up-0000").hex()));
        check("api-key-old-form",           &format!("apikey apikey:{} - -", Fingerprint::of(b"sk-made-up-0000").hex()));
        check("mixed",                      "chatgpt (it mixes the logins of two accounts) ada@example.com plus");
        check("id-token-is-no-jwt",         "chatgpt (its id token cannot be decoded) ada@example.com plus");
        check("hostile-claims",             "chatgpt (its id token names no user and workspace) ada@example.com plus");
        check("logged-out",                 "chatgpt (it holds no tokens) - -");
    }

    #[track_caller]
    fn check(file: &str, expected: &str) {
        let AuthFile { mode, key, email, plan, problem, .. } = fixture(file);
        let whose = match (key, problem) {
            (Some(key), None) => key.to_string(),
            (None, Some(problem)) => format!("({problem})"),
            both => panic!("{file}: {both:?}"),
        };
        let email = email.map_or("-".to_owned(), |email| email.to_string());
        assert_eq!(format!("{mode} {whose} {email} {}", plan.as_deref().unwrap_or("-")), expected);
    }

    fn bytes(file: &str) -> Vec<u8> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/auth");
        fs::read(folder.join(format!("{file}.json"))).unwrap()
    }

    fn fixture(file: &str) -> AuthFile {
        parse(bytes(file)).unwrap()
    }

    #[test]
    fn the_facts_of_a_login_are_kept_to_the_nanosecond_and_the_bytes_to_the_byte() {
        let found = fixture("chatgpt");
        assert_eq!(found.bytes.bytes(), bytes("chatgpt"));
        assert_eq!(
            serde_json::to_value(&found.login).unwrap(),
            serde_json::json!({
                "fingerprint": Fingerprint::of(b"rt_made_up_1").to_string(),
                "issued_at": "2026-11-21T10:45:58+00:00",
                "expires_at": "2026-12-01T10:45:58+00:00",
                "last_refresh": "2026-11-21T10:45:57.719401935Z",
            })
        );
        assert_eq!(fixture("odd-facts").login, Login::default());
    }

    #[test]
    fn a_mixed_file_names_both_workspaces_and_belongs_to_neither() {
        let found = fixture("mixed");
        let mixed = found.mixed.unwrap();
        assert_eq!(mixed.tokens_account_id, "acct-2");
        assert_eq!(mixed.id_token_account_id, "acct-1");
        assert_eq!(found.key, None);
        assert_eq!(fixture("chatgpt").mixed, None);
    }

    #[test]
    #[rustfmt::skip]
    fn bytes_that_are_no_object_are_refused_by_place_and_not_by_content() {
        for (bytes, expected) in [
            ("",                             "not JSON (line 1, column 0)"),
            ("{\n  \"tokens\": rt_secret",   "not JSON (line 2, column 13)"),
            ("{} rt_secret",                 "not JSON (line 1, column 4)"),
            ("[\"rt_secret\"]",              "not a JSON object"),
            ("\"rt_secret\"",                "not a JSON object"),
            ("null",                         "not a JSON object"),
        ] {
            let error = parse(bytes.as_bytes().to_vec()).unwrap_err();
            assert_eq!(error.to_string(), expected, "{bytes:?}");
        }
        assert!(parse(vec![b'['; 100_000]).is_err());
        assert!(parse(vec![0xff, 0xfe]).is_err());
    }

    #[test]
    fn no_output_shows_a_token() {
        for file in ["chatgpt", "mixed", "api-key", "odd-facts"] {
            let shown = format!("{:#?}", fixture(file));
            assert!(!shown.contains("made"), "{shown}");
            assert!(!shown.contains("eyJ"), "{shown}");
        }
    }

    /// What `settle` makes of a file that reads like this, one after the other, and the last
    /// for ever; and how often it waited.
    fn settled(reads: &[Option<&str>], is_left_alone: bool) -> (String, usize) {
        settled_by(reads, false, is_left_alone)
    }

    fn settled_by(
        reads: &[Option<&str>],
        is_at_rest: bool,
        is_left_alone: bool,
    ) -> (String, usize) {
        let mut reads = reads.iter();
        let mut last = None;
        let mut pauses = 0;
        let read = || {
            last = reads.next().copied().or(last);
            Ok(last.flatten().map(|text| (Secret::from(text.to_owned()), is_at_rest)))
        };
        let found = settle(Path::new("auth.json"), read, || pauses += 1, || is_left_alone);
        let told = match found {
            Ok(Some(login)) => String::from_utf8(login.bytes.bytes().to_vec()).unwrap(),
            Ok(None) => "absent".to_owned(),
            Err(error) => error.to_string(),
        };
        (told, pauses)
    }

    #[test]
    #[rustfmt::skip]
    fn a_file_is_taken_once_two_reads_agree_on_an_object() {
        let (a, b) = (Some("{\"a\":1}"), Some("{\"b\":2}"));
        for (reads, expected, pauses) in [
            (vec![a],                            "{\"a\":1}",                                1),
            (vec![a, b],                         "{\"b\":2}",                                2),
            (vec![Some(""), Some(""), b],        "{\"b\":2}",                                3), // truncated first
            (vec![Some("{\"a\""), a],            "{\"a\":1}",                                2),
            (vec![None],                         "absent",                                   0),
            (vec![a, None],                      "absent",                                   1),
            (vec![Some("")],                     "auth.json is not JSON (line 1, column 0)", 100),
            (vec![Some("[]")],                   "auth.json is not a JSON object",           100),
            ([a, b].repeat(60),                  "auth.json kept changing while it was read", 100),
        ] {
            assert_eq!(settled(&reads, false), (expected.to_owned(), pauses), "{reads:?}");
        }
    }

    #[test]
    fn a_broken_file_that_nobody_writes_is_told_at_once() {
        let broken = "auth.json is not JSON (line 1, column 0)".to_owned();
        assert_eq!(settled(&[Some("")], true), (broken, 1));
        // Two reads that differ are a writer's work whatever the time of the file says.
        assert_eq!(settled(&[Some(""), Some("{}")], true), ("{}".to_owned(), 2));
    }

    #[test]
    fn a_login_that_nobody_writes_is_read_once() {
        let (a, broken) = (Some("{\"a\":1}"), Some("{\"a\""));
        assert_eq!(settled_by(&[a], true, true), ("{\"a\":1}".to_owned(), 0));
        assert_eq!(settled_by(&[broken, a], true, true).1, 2, "half of one is none");

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("auth.json");
        fs::write(&path, bytes("chatgpt")).unwrap();
        assert!(!read_once(&path).unwrap().unwrap().1, "written just now");
        // The time of the content can be set, the time of the change cannot.
        let old = std::time::SystemTime::now() - Duration::from_secs(60);
        File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        assert_eq!(read_once(&path).unwrap().unwrap().1, cfg!(not(unix)));
    }

    #[test]
    fn only_regular_files_are_read_and_a_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        assert!(read(&at("auth.json")).unwrap().is_none());
        assert!(matches!(read(folder.path()), Err(AuthError::NotAFile { .. })));

        fs::write(at("auth.json"), bytes("chatgpt")).unwrap();
        let key = read(&at("auth.json")).unwrap().unwrap().key.unwrap();
        assert_eq!(key.to_string(), "chatgpt:user-ada/acct-1");

        let large = File::create(at("large")).unwrap();
        large.set_len(MAX_BYTES + 1).unwrap();
        assert!(matches!(read(&at("large")), Err(AuthError::TooLarge { .. })));

        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("auth.json", at("link")).unwrap();
            assert_eq!(read(&at("link")).unwrap().unwrap().key, Some(key));
            std::os::unix::fs::symlink("nowhere", at("dangling")).unwrap();
            assert!(read(&at("dangling")).unwrap().is_none());
            let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
            assert!(matches!(read(&at("socket")), Err(AuthError::NotAFile { .. })));
        }
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{CWD, FileType, Mode, mknodat};
            mknodat(CWD, at("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
            assert!(matches!(read(&at("pipe")), Err(AuthError::NotAFile { .. })));
        }
    }
}
