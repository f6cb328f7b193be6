//! What does a snapshot say about itself?
//!
//! The sidecar `NAME.metadata.json`, which also lies inside the archive (without `archive`) as
//! `.codex-manager/metadata.json`. Format: SPEC, "Sidecar".

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;

use crate::account::{AccountKey, Email, Login};
use crate::disk::archive::{Chunk, digest_of, digest_text};
use crate::disk::json;
use crate::time::Stamp;
use crate::window::Window;

/// What the `schema` field of every sidecar says.
pub const SCHEMA: &str = "codex-manager/snapshot";
/// The newest `schema_version` this program understands completely.
pub const VERSION: u32 = 1;
/// A larger sidecar is not read, in bytes.
pub const MAX_BYTES: u64 = 1 << 20;
/// Where the same object lies inside the archive.
pub const MEMBER: &str = ".codex-manager/metadata.json";

/// The last key of a sidecar: the digest of every byte before the comma in front of it.
const SEAL: &str = "checksum";
/// What the older tool adds to every sidecar that it rewrites, ours included (SPEC, "The older tool").
const REWRITTEN: [&str; 2] = ["updated_at", "is_expired"];

/// Which part of a Codex home a snapshot holds.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The state set, login included.
    Full,
    /// The login and what belongs to it.
    Auth,
    /// Everything but the login.
    State,
}

impl Kind {
    /// Whether a login is part of it.
    #[must_use]
    pub fn has_login(self) -> bool {
        self != Self::State
    }

    /// Whether the bulk of the home is part of it.
    #[must_use]
    pub fn has_state(self) -> bool {
        self != Self::Auth
    }

    /// Its name, as in a sidecar.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Auth => "auth",
            Self::State => "state",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Whether the token in a legacy file's name agrees with its mtime.
pub use crate::quota::Validation;

/// The sidecar.
///
/// Field order is the order in the file. Keys this program does not know are kept in `more`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Metadata {
    /// [`SCHEMA`].
    pub schema: String,
    /// At most [`VERSION`] when this program may write it again.
    pub schema_version: u32,
    /// Always `codex`.
    pub product: String,
    /// The account's label.
    pub email: Option<Email>,
    /// Whose login it is, if that is known.
    pub account: Option<AccountFacts>,
    /// Which part of the home it holds.
    pub kind: Kind,
    /// When the weekly window of the reading began.
    pub session_start_at: Option<Stamp>,
    /// When the account may work again as far as the weekly window goes.
    pub next_available_at: Option<Stamp>,
    /// The reset the source reported; equal to `next_available_at` today.
    pub reset_at: Option<Stamp>,
    /// When a legacy record saw its quota end.
    pub quota_end_detected_at: Option<Stamp>,
    /// The session length that `session_start_at` was inferred with.
    pub inferred_session_duration_seconds: Option<u64>,
    /// What `session_start_at` rests on, for people.
    pub inference_basis: Option<String>,
    /// The older tool's file this came from.
    pub legacy_auth_filename: Option<String>,
    /// The day in that file's name, such as `21apr`.
    pub legacy_quota_day_token: Option<String>,
    /// Whether that day and the file's mtime agree.
    pub validation_status: Option<Validation>,
    /// What the quota said.
    pub quota: Option<Quota>,
    /// The login's place in its chain.
    pub login: Option<Login>,
    /// The home it was taken from, with `~` for the user's own.
    pub source_codex_home: Option<String>,
    /// Version of Codex that wrote the newest session.
    pub codex_version: Option<String>,
    /// Top level of what it holds, folders with `/`.
    pub captured_files: Vec<String>,
    /// What of the home it leaves out, folders with `/`.
    pub excluded: Vec<String>,
    /// The archive beside the sidecar; absent in the copy inside the archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<ArchiveFacts>,
    /// A short name a person gave it.
    pub label: Option<String>,
    /// What a person wrote about it.
    pub note: Option<String>,
    /// Words to find it by.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Pruning never takes it.
    #[serde(default)]
    pub pinned: bool,
    /// The name of the machine it was taken on.
    pub host: Option<String>,
    /// When it was taken.
    pub created_at: Option<Stamp>,
    /// The version of this program.
    pub manager_version: Option<String>,
    /// Keys of later versions, kept as they are.
    #[serde(flatten)]
    pub more: BTreeMap<String, Value>,
}

/// Whose login a snapshot holds. The claims were read, never verified.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct AccountFacts {
    /// `chatgpt_user_id`.
    pub user_id: Option<String>,
    /// `chatgpt_account_id`; for an API key its fingerprint.
    pub account_id: Option<String>,
    /// The plan as of the token.
    pub plan: Option<String>,
    /// `chatgpt` or `apikey`.
    pub auth_mode: Option<String>,
}

/// What the quota said when the snapshot was taken.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Quota {
    /// Where the figures come from.
    pub source: crate::quota::Source,
    /// When they were true.
    pub observed_at: Option<Stamp>,
    /// Each window that was reported.
    #[serde(default)]
    pub windows: Vec<Window>,
    /// Whether the source said that the limit was reached.
    pub limit_reached: Option<bool>,
    /// The status text, where one was read.
    pub text: Option<String>,
}

/// The archive a sidecar belongs to.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ArchiveFacts {
    /// Its file name, in the sidecar's folder.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of the uncompressed table of contents: `sha256:` and 64 hex digits.
    #[serde(deserialize_with = "digest")]
    pub toc_digest: String,
    /// How many regular files it holds.
    pub files: u64,
    /// Their total length, uncompressed.
    pub content_bytes: u64,
    /// What compressed it, such as `codex-manager-2/1`: a name, its version, a slash and the level.
    /// The same content, compressed by the same, gives the same bytes. `None` if nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compressor: Option<String>,
    /// Where `auth.json` lies, so that it is read without the table of contents. `None` if there
    /// is none, if it is larger than one chunk, or in what earlier versions wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<LoginMember>,
}

/// The gzip member that holds all of `auth.json` and nothing else.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct LoginMember {
    /// Where it starts in the archive, in bytes.
    pub offset: u64,
    /// Its length, in bytes.
    pub bytes: u64,
    /// SHA-256 of the content of `auth.json`: `sha256:` and 64 hex digits.
    #[serde(deserialize_with = "digest")]
    pub digest: String,
}

impl LoginMember {
    /// What a sidecar says of the only chunk of an `auth.json`.
    #[must_use]
    pub fn of(chunk: &Chunk) -> Self {
        let Chunk { offset, member_size, digest, .. } = *chunk;
        Self { offset, bytes: member_size, digest: digest_text(&digest) }
    }
}

fn digest<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if is_digest(&text) {
        Ok(text)
    } else {
        Err(de::Error::custom("a digest is sha256: and 64 hex digits"))
    }
}

fn is_digest(text: &str) -> bool {
    let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    text.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64 && hex.chars().all(is_hex))
}

/// Why a sidecar cannot be used. No variant repeats what the file says.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MetadataError {
    /// Not JSON, or cut off.
    #[error("is not JSON at line {line}, column {column}")]
    NotJson {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// JSON, but a field has a wrong type or value, or stands there twice.
    #[error("does not fit the format: {0}")]
    Unfit(String),
    /// Another kind of file.
    #[error("is not the sidecar of a snapshot")]
    OtherSchema,
    /// Its bytes are not those that were written.
    #[error("does not match its checksum")]
    Altered,
    /// Written by a later version in a way this one cannot read.
    #[error("comes from a newer codex-manager (format {0})")]
    Newer(u32),
}

impl MetadataError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Newer(_) => "update codex-manager to use this snapshot".to_owned(),
            Self::Altered => "if you edited it, take its last key, `checksum`, out".to_owned(),
            _ => "`codex-manager doctor` lists what is wrong; the archive holds a copy of its own metadata"
                .to_owned(),
        }
    }
}

impl Metadata {
    /// An object with the fixed fields filled in and everything else unknown.
    #[must_use]
    pub fn empty(kind: Kind) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            schema_version: VERSION,
            product: "codex".to_owned(),
            email: None,
            account: None,
            kind,
            session_start_at: None,
            next_available_at: None,
            reset_at: None,
            quota_end_detected_at: None,
            inferred_session_duration_seconds: None,
            inference_basis: None,
            legacy_auth_filename: None,
            legacy_quota_day_token: None,
            validation_status: None,
            quota: None,
            login: None,
            source_codex_home: None,
            codex_version: None,
            captured_files: Vec::new(),
            excluded: Vec::new(),
            archive: None,
            label: None,
            note: None,
            tags: Vec::new(),
            pinned: false,
            host: None,
            created_at: None,
            manager_version: None,
            more: BTreeMap::new(),
        }
    }

    /// Reads a sidecar strictly: UTF-8, one object, no key twice, every field of its type, and no
    /// bit other than it was written.
    ///
    /// A sidecar without `checksum` is read too: a person who edits one takes that line out.
    ///
    /// # Errors
    ///
    /// [`MetadataError`], without a word of the content.
    pub fn parse(bytes: &[u8]) -> Result<Self, MetadataError> {
        let mut value = strict_json(bytes)?;
        if value.get("schema").and_then(Value::as_str) != Some(SCHEMA) {
            return Err(MetadataError::OtherSchema);
        }
        check_seal(&mut value, bytes)?;
        let version = value.get("schema_version").and_then(Value::as_u64);
        let read: Result<Self, _> = serde_json::from_value(value);
        match (read, version) {
            (Ok(metadata), _) => Ok(metadata),
            // A newer one is read if it can be; only then does its version stand in the way.
            (Err(_), Some(newer)) if u64::from(VERSION) < newer => {
                Err(MetadataError::Newer(u32::try_from(newer).unwrap_or(u32::MAX)))
            }
            (Err(error), _) => Err(MetadataError::Unfit(blunt(&error))),
        }
    }

    /// The bytes of the sidecar: two-space indent, a final newline, and `checksum` as its last key.
    ///
    /// The copy inside the archive, which names no archive, has none: the archive's digests cover it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Maps with text keys and plain values cannot fail to serialize.
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        match bytes.strip_suffix(b"\n}") {
            Some(head) if self.archive.is_some() => {
                let seal = seal(&digest_of(head));
                bytes.truncate(head.len());
                bytes.extend(seal.into_bytes());
            }
            _ => bytes.push(b'\n'),
        }
        bytes
    }

    /// Whose snapshot it is: the pair of ids if both are known, else the address.
    #[must_use]
    pub fn key(&self) -> Option<AccountKey> {
        let facts = self.account.as_ref();
        let ids = facts.and_then(|facts| Some((facts.user_id.clone()?, facts.account_id.clone()?)));
        let is_api_key = facts.is_some_and(|facts| facts.auth_mode.as_deref() == Some("apikey"));
        match ids {
            Some((user_id, account_id)) => Some(AccountKey::ChatGpt { user_id, account_id }),
            None if is_api_key => facts?.account_id.clone().map(AccountKey::ApiKey),
            None => self.email.clone().map(AccountKey::Email),
        }
    }
}

/// Whether the older tool has rewritten this sidecar: it brings the quota in it up to date.
#[must_use]
pub fn is_rewritten(metadata: &Metadata) -> bool {
    REWRITTEN.iter().any(|key| metadata.more.contains_key(*key))
}

/// How a sidecar with this digest ends.
fn seal(digest: &str) -> String {
    format!(",\n  \"{SEAL}\": \"{digest}\"\n}}\n")
}

/// Whether a sidecar's bytes are those that were written, as far as it tells; takes the checksum out.
///
/// One that the older tool rewrote keeps a checksum that says nothing any more.
fn check_seal(value: &mut Value, bytes: &[u8]) -> Result<(), MetadataError> {
    let Value::Object(object) = value else { return Ok(()) };
    let is_digest = |value: &Value| value.as_str().is_some_and(is_digest);
    let matches = match object.remove(SEAL) {
        _ if REWRITTEN.iter().any(|key| object.contains_key(*key)) => true,
        Some(Value::String(digest)) => bytes
            .strip_suffix(seal(&digest).as_bytes())
            .is_some_and(|head| digest_of(head) == digest),
        Some(_) => false,
        // A flipped bit in its name would make it a key that nobody knows.
        None => !object.values().any(is_digest),
    };
    if matches { Ok(()) } else { Err(MetadataError::Altered) }
}

/// Reads JSON in which no object has a key twice.
///
/// # Errors
///
/// [`MetadataError::NotJson`] with the place, or [`MetadataError::Unfit`] for a double key.
pub fn strict_json(bytes: &[u8]) -> Result<Value, MetadataError> {
    json::strict(bytes).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => MetadataError::Unfit(blunt(&error)),
        _ => MetadataError::NotJson { line: error.line(), column: error.column() },
    })
}

/// What serde says of a misfit, without the value it quotes.
fn blunt(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let end = ["`", "\""].iter().filter_map(|quote| text.find(quote)).min().unwrap_or(text.len());
    let missing = text.starts_with("missing field") || text.starts_with("a key stands twice");
    let kept = if missing { text.as_str() } else { text.get(..end).unwrap_or("a wrong value") };
    kept.trim_end_matches([' ', ',', ':']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(metadata: &Metadata) -> String {
        String::from_utf8(metadata.to_bytes()).unwrap()
    }

    #[test]
    fn unknown_keys_survive_a_rewrite() {
        let text = text_of(&Metadata::empty(Kind::Full)).replacen(
            '{',
            "{\n  \"mood\": {\"deep\": [1, null]},",
            1,
        );
        let read = Metadata::parse(text.as_bytes()).unwrap();
        assert!(text_of(&read).contains("\"mood\""));
        assert_eq!(Metadata::parse(&read.to_bytes()), Ok(read));
    }

    #[test]
    #[rustfmt::skip]
    fn a_sidecar_that_is_cut_lies_or_is_newer_is_refused_without_quoting_it() {
        let good = text_of(&Metadata::empty(Kind::Full));
        let change = |from: &str, to: &str| {
            assert!(good.contains(from));
            good.replacen(from, to, 1)
        };
        check(good.get(..good.len() / 2).unwrap(),                                  "is not JSON at line");
        check("",                                                       "is not JSON at line 1, column 0");
        check("[]",                                                     "is not the sidecar");
        check("{}",                                                     "is not the sidecar");
        check(&change("codex-manager/snapshot", "codex-manager/other"), "is not the sidecar");
        check(&change("\"product\"", "\"kind\": \"full\", \"product\""), "a key stands twice");
        check(&change("\"email\": null", "\"email\": \"../secret\""),    "does not fit");
        check(&change("\"full\"", "\"secret\""),                        "does not fit");
        check(&change("\"schema_version\": 1", "\"schema_version\": -1"), "does not fit");
        check(&change("\"label\"", "\"archive\": {\"name\": \"x\", \"bytes\": 1, \"toc_digest\": \"sha256:secret\", \"files\": 1, \"content_bytes\": 1}, \"label\""), "does not fit");
        check(&format!("{good} x"),                                     "is not JSON");
        check(&format!("{{\"schema\":\"{SCHEMA}\",\"schema_version\":7}}"), "comes from a newer codex-manager (format 7)");
        check(&"[".repeat(100_000),                                     "is not JSON");
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let error = Metadata::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} should say {expected:?}");
        assert!(!error.contains("secret"), "{error:?} quotes the file");
    }

    /// As it lies beside an archive.
    fn sidecar() -> Metadata {
        Metadata {
            email: Some("ada@example.com".parse().unwrap()),
            archive: Some(ArchiveFacts {
                name: "a.tar.gz".to_owned(),
                bytes: 3,
                toc_digest: digest_of(b"table"),
                files: 2,
                content_bytes: 9,
                compressor: Some("codex-manager-2/1".to_owned()),
                login: Some(LoginMember { offset: 7, bytes: 2, digest: digest_of(b"login") }),
            }),
            label: Some("before the update".to_owned()),
            tags: vec!["work".to_owned()],
            pinned: true,
            ..Metadata::empty(Kind::Full)
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_of_a_sidecar_is_found() {
        let good = sidecar().to_bytes();
        assert_eq!(Metadata::parse(&good), Ok(sidecar()));
        for bit in 0..good.len() * 8 {
            let mut bent = good.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert!(Metadata::parse(&bent).is_err(), "bit {bit}, in {:?}", bent[bit / 8]);
        }
        for length in 0..good.len() {
            assert!(Metadata::parse(&good[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_checksum_counts_unless_a_person_took_it_out_or_the_older_tool_rewrote_the_file() {
        let good = text_of(&sidecar());
        let (head, tail) = good.rsplit_once(",\n  \"checksum\"").unwrap();
        assert_eq!(tail.len(), digest_of(b"").len() + ": \"\"\n}\n".len());
        let edited = head.replace("before the update", "after it");
        let read = |text: &str| Metadata::parse(text.as_bytes()).map(|read| read.label.unwrap());
        let altered = Err(MetadataError::Altered);
        assert_eq!(read(&format!("{edited},\n  \"checksum\"{tail}")), altered);
        assert_eq!(read(&format!("{edited}\n}}\n")), Ok("after it".to_owned()));
        // That tool adds its keys behind ours.
        let tail = tail.trim_end().trim_end_matches('}').trim_end();
        let rewritten = format!("{edited},\n  \"checksum\"{tail},\n  \"updated_at\": \"x\"\n}}");
        assert_eq!(read(&rewritten), Ok("after it".to_owned()));
        let moved = rewritten.replace("updated_at", "mood");
        assert_eq!(read(&moved), altered);
        // Read and written again, it is sound.
        let again = Metadata::parse(rewritten.as_bytes()).unwrap();
        assert_eq!(Metadata::parse(&again.to_bytes()), Ok(again));
    }

    #[test]
    fn an_archive_of_which_less_is_known_is_told_of_with_less() {
        let mut known = sidecar();
        let text = text_of(&known);
        assert!(text.contains("\"compressor\": \"codex-manager-2/1\",\n    \"login\": {\n"));
        let facts = known.archive.as_mut().unwrap();
        (facts.compressor, facts.login) = (None, None);
        let text = text_of(&known);
        assert!(!text.contains("compressor") && !text.contains("offset"), "{text}");
        assert_eq!(Metadata::parse(text.as_bytes()), Ok(known));
    }

    #[test]
    fn a_newer_sidecar_that_can_be_read_is_read() {
        let newer = text_of(&Metadata::empty(Kind::Auth))
            .replace("\"schema_version\": 1", "\"schema_version\": 2");
        assert_eq!(Metadata::parse(newer.as_bytes()).unwrap().schema_version, 2);
    }
}
