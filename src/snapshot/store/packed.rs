//! How do a sidecar's facts become few bytes that are quickly read back?
//!
//! For what is remembered, never for what is kept: the bytes mean something to the program that
//! wrote them alone, and [`layout`] tells whether that was this one. JSON stays the format of
//! sidecars.

use super::said::{Brief, Digest, Figures, Whose};
use crate::account::{AccountKey, Email, Fingerprint, Login, Refreshed};
use crate::quota::{Source, Validation};
use crate::snapshot::metadata::{AccountFacts, ArchiveFacts, Kind, LoginMember, Metadata, Quota};
use crate::time::Stamp;
use crate::window::Window;

/// What has a packed form.
pub(super) trait Packed: Sized {
    /// Appends it.
    fn pack(&self, out: &mut Vec<u8>);

    /// Takes it off the front; `None` if it does not stand there.
    fn unpack(from: &mut &[u8]) -> Option<Self>;
}

/// Takes so many bytes off the front.
pub(super) fn take<'a>(from: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = from.split_at_checked(length)?;
    *from = rest;
    Some(taken)
}

/// Packs a struct field by field; one that is added later does not compile until it is named here.
macro_rules! fields {
    ($($type:ident { $($field:ident),* $(,)? })*) => {
        $(impl Packed for $type {
            fn pack(&self, out: &mut Vec<u8>) {
                let Self { $($field),* } = self;
                $($field.pack(out);)*
            }

            fn unpack(from: &mut &[u8]) -> Option<Self> {
                Some(Self { $($field: Packed::unpack(from)?),* })
            }
        })*

        /// What is packed in which order: bytes of another layout mean something else. The number
        /// is raised when a type changes under the same name.
        pub(super) fn layout() -> &'static str {
            concat!("1 ", $(stringify!($type), ": ", $(stringify!($field), " ",)*)*)
        }
    };
}

fields! {
    Metadata {
        schema, schema_version, product, email, account, kind, session_start_at, next_available_at,
        reset_at, quota_end_detected_at, inferred_session_duration_seconds, inference_basis,
        legacy_auth_filename, legacy_quota_day_token, validation_status, quota, login,
        source_codex_home, codex_version, captured_files, excluded, archive, label, note, tags,
        pinned, host, created_at, manager_version, more,
    }
    AccountFacts { user_id, account_id, plan, auth_mode }
    Quota { source, observed_at, windows, limit_reached, text }
    Window { minutes, used_percent, resets_at }
    Login { fingerprint, issued_at, expires_at, last_refresh }
    ArchiveFacts { name, bytes, toc_digest, files, content_bytes, compressor, login }
    LoginMember { offset, bytes, digest }
    Whose { key, email }
    Brief {
        kind, created_at, session_start_at, next_available_at, validation, label, bytes, toc_digest,
        figures,
    }
    Figures { source, observed_at, windows, limit_reached }
}

/// Numbers, lowest byte first.
macro_rules! numbers {
    ($($type:ident),*) => {
        $(impl Packed for $type {
            fn pack(&self, out: &mut Vec<u8>) {
                out.extend(self.to_le_bytes());
            }

            fn unpack(from: &mut &[u8]) -> Option<Self> {
                let (bytes, rest) = from.split_first_chunk()?;
                *from = rest;
                Some(Self::from_le_bytes(*bytes))
            }
        })*
    };
}

numbers!(u8, u32, i32, u64, i64, f64);

/// Words of which there are few, as their place in a list.
macro_rules! words {
    ($($type:ident [ $($word:ident),* ])*) => {
        $(impl Packed for $type {
            fn pack(&self, out: &mut Vec<u8>) {
                // A word that is added later does not compile until it is in the list.
                match self {
                    $(Self::$word => {})*
                }
                let words = [$(Self::$word),*];
                let place = words.iter().position(|word| word == self);
                out.push(place.and_then(|place| u8::try_from(place).ok()).unwrap_or(u8::MAX));
            }

            fn unpack(from: &mut &[u8]) -> Option<Self> {
                [$(Self::$word),*].get(usize::from(u8::unpack(from)?)).copied()
            }
        })*
    };
}

words! {
    Kind [Full, Auth, State]
    Validation [Ok, Mismatch]
    Source [AppServer, Rollout, StatusText, Legacy, Manual, Estimate]
}

impl Packed for bool {
    fn pack(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn unpack(from: &mut &[u8]) -> Option<Self> {
        match u8::unpack(from)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl Packed for String {
    fn pack(&self, out: &mut Vec<u8>) {
        pack_length(self.len(), out);
        out.extend(self.as_bytes());
    }

    fn unpack(from: &mut &[u8]) -> Option<Self> {
        let length = usize::try_from(u32::unpack(from)?).ok()?;
        std::str::from_utf8(take(from, length)?).ok().map(str::to_owned)
    }
}

impl<T: Packed> Packed for Option<T> {
    fn pack(&self, out: &mut Vec<u8>) {
        self.is_some().pack(out);
        if let Some(value) = self {
            value.pack(out);
        }
    }

    fn unpack(from: &mut &[u8]) -> Option<Self> {
        match bool::unpack(from)? {
            true => T::unpack(from).map(Some),
            false => Some(None),
        }
    }
}

impl<T: Packed> Packed for Vec<T> {
    fn pack(&self, out: &mut Vec<u8>) {
        pack_length(self.len(), out);
        self.iter().for_each(|value| value.pack(out));
    }

    fn unpack(from: &mut &[u8]) -> Option<Self> {
        let length = usize::try_from(u32::unpack(from)?).ok()?;
        // Each takes a byte at least: a length that lies costs no memory.
        let mut values = Self::with_capacity(length.min(from.len()));
        for _ in 0..length {
            values.push(T::unpack(from)?);
        }
        Some(values)
    }
}

/// Keys of later versions are rare: they stay the JSON that they were.
impl Packed for std::collections::BTreeMap<String, serde_json::Value> {
    fn pack(&self, out: &mut Vec<u8>) {
        match self.is_empty() {
            true => String::new().pack(out),
            // Maps with text keys and plain values cannot fail to serialize.
            false => serde_json::to_string(self).unwrap_or_default().pack(out),
        }
    }

    fn unpack(from: &mut &[u8]) -> Option<Self> {
        let text = String::unpack(from)?;
        if text.is_empty() { Some(Self::new()) } else { serde_json::from_str(&text).ok() }
    }
}

impl Packed for Stamp {
    fn pack(&self, out: &mut Vec<u8>) {
        let (seconds, offset) = self.parts();
        seconds.pack(out);
        offset.pack(out);
    }

    fn unpack(from: &mut &[u8]) -> Option<Self> {
        Self::from_parts(i64::unpack(from)?, i32::unpack(from)?)
    }
}

impl Packed for Refreshed {
    fn pack(&self, out: &mut Vec<u8>) {
        let (seconds, nanoseconds) = self.parts();
        seconds.pack(out);
        nanoseconds.pack(out);
    }

    fn unpack(from: &mut &[u8]) -> Option<Self> {
        Self::from_parts(i64::unpack(from)?, u32::unpack(from)?)
    }
}

impl Packed for Fingerprint {
    fn pack(&self, out: &mut Vec<u8>) {
        out.extend(self.bytes());
    }

    fn unpack(from: &mut &[u8]) -> Option<Self> {
        let (bytes, rest) = from.split_first_chunk()?;
        *from = rest;
        Some(Self::from_bytes(*bytes))
    }
}

impl Packed for Digest {
    fn pack(&self, out: &mut Vec<u8>) {
        out.extend(self.0);
    }

    fn unpack(from: &mut &[u8]) -> Option<Self> {
        let (bytes, rest) = from.split_first_chunk()?;
        *from = rest;
        Some(Self(*bytes))
    }
}

impl Packed for AccountKey {
    fn pack(&self, out: &mut Vec<u8>) {
        match self {
            Self::ChatGpt { user_id, account_id } => {
                out.push(0);
                user_id.pack(out);
                account_id.pack(out);
            }
            Self::ApiKey(fingerprint) => {
                out.push(1);
                fingerprint.pack(out);
            }
            Self::Email(email) => {
                out.push(2);
                email.pack(out);
            }
        }
    }

    fn unpack(from: &mut &[u8]) -> Option<Self> {
        match u8::unpack(from)? {
            0 => {
                let (user_id, account_id) = (String::unpack(from)?, String::unpack(from)?);
                Some(Self::ChatGpt { user_id, account_id })
            }
            1 => String::unpack(from).map(Self::ApiKey),
            2 => Email::unpack(from).map(Self::Email),
            _ => None,
        }
    }
}

impl Packed for Email {
    fn pack(&self, out: &mut Vec<u8>) {
        pack_length(self.as_str().len(), out);
        out.extend(self.as_str().as_bytes());
    }

    fn unpack(from: &mut &[u8]) -> Option<Self> {
        String::unpack(from)?.parse().ok()
    }
}

/// A length of what was in memory, and of a sidecar: far below 4 GiB.
fn pack_length(length: usize, out: &mut Vec<u8>) {
    u32::try_from(length).unwrap_or(u32::MAX).pack(out);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sidecar with something in every place.
    fn full() -> Metadata {
        let stamp: Stamp = "2026-11-21T11:00:00+05:45".parse().unwrap();
        let digest = format!("sha256:{}", "7".repeat(64));
        let week = Window { minutes: 10_080, used_percent: Some(12.9), resets_at: Some(stamp) };
        Metadata {
            email: Some("ada@example.com".parse().unwrap()),
            account: Some(AccountFacts {
                user_id: Some("user-a".to_owned()),
                account_id: None,
                plan: Some("plus".to_owned()),
                auth_mode: Some("chatgpt".to_owned()),
            }),
            session_start_at: Some(stamp),
            inferred_session_duration_seconds: Some(7_200),
            validation_status: Some(Validation::Mismatch),
            quota: Some(Quota {
                source: Source::StatusText,
                observed_at: Some(stamp),
                windows: vec![week, Window { used_percent: None, resets_at: None, ..week }],
                limit_reached: Some(true),
                text: Some("5h limit: ä".to_owned()),
            }),
            login: Some(Login {
                fingerprint: Some(Fingerprint::of(b"made up")),
                issued_at: Some(stamp),
                expires_at: None,
                last_refresh: Some("2026-11-21T10:45:57.719401935Z".parse().unwrap()),
            }),
            captured_files: vec!["auth.json".to_owned(), "sessions/".to_owned()],
            archive: Some(ArchiveFacts {
                name: "a.tar.gz".to_owned(),
                bytes: u64::MAX,
                toc_digest: digest.clone(),
                files: 2,
                content_bytes: 9,
                compressor: Some("codex-manager-2/1".to_owned()),
                login: Some(LoginMember { offset: 7, bytes: 2, digest }),
            }),
            tags: vec!["work".to_owned()],
            pinned: true,
            more: [("mood".to_owned(), serde_json::json!({"deep": [1, null]}))].into(),
            ..Metadata::empty(Kind::Auth)
        }
    }

    #[test]
    fn what_is_packed_comes_back_to_the_byte_of_its_sidecar() {
        for metadata in [full(), Metadata::empty(Kind::State)] {
            let mut packed = Vec::new();
            metadata.pack(&mut packed);
            let mut rest = packed.as_slice();
            let back = Metadata::unpack(&mut rest).unwrap();
            // Stamps of one instant are equal, whatever their offsets: the text tells them apart.
            assert_eq!(back.to_bytes(), metadata.to_bytes());
            assert_eq!((back, rest), (metadata, [].as_slice()));
        }
    }

    #[test]
    fn the_brief_of_a_sidecar_and_whose_it_is_come_back() {
        for metadata in [full(), Metadata::empty(Kind::State)] {
            let brief = Brief::of(&metadata);
            let mut packed = Vec::new();
            brief.pack(&mut packed);
            let mut rest = packed.as_slice();
            assert_eq!((Brief::unpack(&mut rest), rest), (Some(brief), [].as_slice()));
        }
        for key in ["chatgpt:user-a/acct-1", "apikey:00ff", "email:ada@example.com"] {
            let whose = Whose { key: Some(key.parse().unwrap()), email: None };
            let mut packed = Vec::new();
            whose.pack(&mut packed);
            assert_eq!(Whose::unpack(&mut packed.as_slice()), Some(whose));
        }
    }

    #[test]
    fn what_is_cut_or_no_value_is_none_and_costs_no_memory() {
        let mut packed = Vec::new();
        full().pack(&mut packed);
        for length in 0..packed.len() {
            assert_eq!(Metadata::unpack(&mut packed.get(..length).unwrap()), None, "{length}");
        }
        assert_eq!(bool::unpack(&mut [2].as_slice()), None);
        assert_eq!(Kind::unpack(&mut [3].as_slice()), None);
        assert_eq!(String::unpack(&mut [1, 0, 0, 0, 0xff].as_slice()), None);
        assert_eq!(Vec::<String>::unpack(&mut [0xff; 8].as_slice()), None);
        let far = [i64::MAX.to_le_bytes().as_slice(), &[0; 4]].concat();
        assert_eq!(Stamp::unpack(&mut far.as_slice()), None);
        assert_eq!(Refreshed::unpack(&mut far.as_slice()), None);
    }

    #[test]
    fn the_layout_names_every_field() {
        assert!(layout().starts_with("1 Metadata: schema schema_version "), "{}", layout());
        let last = "Figures: source observed_at windows limit_reached ";
        assert!(layout().ends_with(last), "{}", layout());
    }
}
