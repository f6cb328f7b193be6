//! Which of two copies of one login is the newer?
//!
//! Refresh tokens rotate and work once, so of all copies of an account's login only the newest
//! is sure to live. A [`Login`] is what may be told about a copy without telling a secret: it
//! goes into sidecars and inventories. Reading it out of `auth.json` is `codex::auth`'s work.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::time::Stamp;

/// Bytes that are wiped when they are dropped and that no output shows.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// The bytes themselves, for the file they belong into.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Secret {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// What a refresh token or an API key is known by: a SHA-256 that cannot be turned back.
///
/// The salt is fixed and public, `codex-manager/login/1` and a zero byte before the secret, so
/// that fingerprints made on two machines agree. The secrets are long and random; the salt
/// keeps the digest from being one that somebody else may have computed already. Its text
/// form is `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    const SALT: &[u8] = b"codex-manager/login/1\0";
    const PREFIX: &str = "sha256:";

    /// The fingerprint of a secret.
    #[must_use]
    pub fn of(secret: &[u8]) -> Self {
        Self(Sha256::new().chain_update(Self::SALT).chain_update(secret).finalize().into())
    }

    /// The digest itself.
    pub(crate) fn bytes(&self) -> [u8; 32] {
        self.0
    }

    /// The fingerprint with this digest.
    pub(crate) fn from_bytes(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// The 64 hexadecimal digits alone, as an account key holds them.
    #[must_use]
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}{}", Self::PREFIX, self.hex()))
    }
}

impl FromStr for Fingerprint {
    type Err = InvalidFingerprint;

    fn from_str(text: &str) -> Result<Self, InvalidFingerprint> {
        let hex = text.strip_prefix(Self::PREFIX).ok_or(InvalidFingerprint)?;
        let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let bytes: Option<Vec<u8>> =
            pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
        let bytes = bytes.filter(|_| rest.is_empty()).ok_or(InvalidFingerprint)?;
        bytes.try_into().map(Self).map_err(|_| InvalidFingerprint)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Text that is no fingerprint. The text itself is not repeated: it comes from a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a fingerprint of the form sha256:HEX")]
pub struct InvalidFingerprint;

/// When Codex last refreshed a login, to the nanosecond.
///
/// Unlike a [`Stamp`] it keeps the fraction of the second, because two refreshes within one
/// second do happen and only the fraction tells them apart.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Refreshed(DateTime<Utc>);

impl Refreshed {
    /// Seconds since 1970, and nanoseconds after that.
    pub(crate) fn parts(&self) -> (i64, u32) {
        (self.0.timestamp(), self.0.timestamp_subsec_nanos())
    }

    /// The time with these [`parts`](Self::parts); `None` outside the years of this program.
    pub(crate) fn from_parts(seconds: i64, nanoseconds: u32) -> Option<Self> {
        let at = DateTime::from_timestamp(seconds, nanoseconds)?;
        (1970..=9999).contains(&at.year()).then_some(Self(at))
    }

    /// The instant itself.
    #[must_use]
    pub fn instant(&self) -> DateTime<Utc> {
        self.0
    }
}

impl fmt::Display for Refreshed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

impl FromStr for Refreshed {
    type Err = InvalidRefreshed;

    /// Reads RFC 3339 of any precision; years outside 1970..=9999 are refused.
    fn from_str(text: &str) -> Result<Self, InvalidRefreshed> {
        DateTime::parse_from_rfc3339(text)
            .map(|at| at.to_utc())
            .ok()
            .filter(|at| (1970..=9999).contains(&at.year()))
            .map(Self)
            .ok_or(InvalidRefreshed)
    }
}

impl Serialize for Refreshed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Refreshed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Text that is no time of a refresh. The text itself is not repeated: it comes from a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not an RFC 3339 time")]
pub struct InvalidRefreshed;

/// What may be told about one copy of a login; the sidecar's `login` object.
///
/// Whatever is unknown is `None` and written as `null`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Login {
    /// Of its refresh token, or of its API key.
    pub fingerprint: Option<Fingerprint>,
    /// When its tokens were issued (`iat`), the later of the two.
    pub issued_at: Option<Stamp>,
    /// When its access token ends (`exp`).
    pub expires_at: Option<Stamp>,
    /// When Codex last refreshed it.
    pub last_refresh: Option<Refreshed>,
}

/// What one copy of a login is to another of the same account.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Order {
    /// They hold the same secret.
    Same,
    /// It comes later in the account's chain.
    Newer,
    /// It comes earlier.
    Older,
    /// What is known of the two does not tell.
    Unknown,
}

impl Login {
    /// What this copy is to `other`, a copy of the same account's login.
    ///
    /// Equal fingerprints are one login, whatever else is said. Otherwise the time of the
    /// last refresh decides, then the time of issue; a fact that either lacks decides nothing,
    /// so what is unknown is never newer.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Order {
        if self.fingerprint.is_some() && self.fingerprint == other.fingerprint {
            return Order::Same;
        }
        let refreshed = self.last_refresh.zip(other.last_refresh).map(|(a, b)| a.cmp(&b));
        let issued = self.issued_at.zip(other.issued_at).map(|(a, b)| a.cmp(&b));
        match [refreshed, issued].into_iter().flatten().find(|order| order.is_ne()) {
            Some(order) if order.is_gt() => Order::Newer,
            Some(_) => Order::Older,
            None => Order::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A login in the notation of the tables: fingerprint, last refresh, time of issue.
    fn login(text: &str) -> Login {
        let [secret, refreshed, issued] = text.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{text}")
        };
        let known = |part: &str| (part != "-").then(|| part.to_owned());
        Login {
            fingerprint: known(secret).map(|secret| Fingerprint::of(secret.as_bytes())),
            issued_at: known(issued).map(|s| format!("2026-11-21T{s}Z").parse().unwrap()),
            expires_at: None,
            last_refresh: known(refreshed).map(|s| format!("2026-11-21T{s}Z").parse().unwrap()),
        }
    }

    #[test]
    #[rustfmt::skip]
    fn the_last_refresh_decides_then_the_time_of_issue_and_nothing_unknown() {
        check("a 10:00:00 09:00:00", "b 10:00:01 08:00:00", Order::Older);
        check("a 10:00:00 09:00:00", "b 09:59:59 11:00:00", Order::Newer);
        check("a 10:00:00.000000002 -", "b 10:00:00.000000001 -", Order::Newer); // within one second
        check("a 10:00:00 09:00:00", "b 10:00:00 09:00:01", Order::Older);
        check("a 10:00:00 09:00:00", "b 10:00:00 09:00:00", Order::Unknown);
        check("a 10:00:00 -",        "b 10:00:00 09:00:00", Order::Unknown);
        check("a 10:00:00 -",        "b - 09:00:00",        Order::Unknown);
        check("a 10:00:00 08:00:00", "b - 09:00:00",        Order::Older);
        check("a - -",               "b 10:00:00 09:00:00", Order::Unknown);
        check("- - -",               "- - -",               Order::Unknown); // no fingerprint is not the same one
        check("- 10:00:00 -",        "- 10:00:00 -",        Order::Unknown);
        check("- 10:00:00 -",        "b 09:00:00 -",        Order::Newer);
        check("a 10:00:00 -",        "a 11:00:00 -",        Order::Same);
    }

    #[track_caller]
    fn check(a: &str, b: &str, expected: Order) {
        let mirrored = match expected {
            Order::Newer => Order::Older,
            Order::Older => Order::Newer,
            other => other,
        };
        assert_eq!(login(a).compare(&login(b)), expected, "{a} to {b}");
        assert_eq!(login(b).compare(&login(a)), mirrored, "{b} to {a}");
    }

    #[test]
    fn a_login_is_written_in_the_order_of_the_sidecar_and_read_back() {
        let mut some = login("rt_made_up 10:45:57.719401935 10:45:57");
        some.expires_at = Stamp::from_epoch(1_796_121_957);
        let text = serde_json::to_string(&some).unwrap();
        assert_eq!(
            text,
            "{\"fingerprint\":\"sha256:\
             0bc1b02b3a707903b368d8ac64a9eb7ece4a89c609e55fe7894ba6f9fd1a74e8\",\"issued_at\":\"2026-11-21T10:45:57+00:00\",\
             \"expires_at\":\"2026-12-01T10:45:57+00:00\",\
             \"last_refresh\":\"2026-11-21T10:45:57.719401935Z\"}"
        );
        assert_eq!(serde_json::from_str::<Login>(&text).unwrap(), some);
        assert_eq!(serde_json::from_str::<Login>("{}").unwrap(), Login::default());
        assert_eq!(
            serde_json::to_string(&Login::default()).unwrap(),
            r#"{"fingerprint":null,"issued_at":null,"expires_at":null,"last_refresh":null}"#
        );
    }

    #[test]
    fn a_fingerprint_is_salted_and_read_back_from_its_text_only() {
        let fingerprint = Fingerprint::of(b"rt_made_up");
        let plain = Sha256::digest(b"rt_made_up");
        assert_ne!(fingerprint.0.as_slice(), plain.as_slice());
        assert_eq!(
            fingerprint.0.as_slice(),
            Sha256::digest(b"codex-manager/login/1\0rt_made_up").as_slice()
        );
        assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        assert_eq!(fingerprint.to_string(), format!("sha256:{}", fingerprint.hex()));
        let hex = fingerprint.hex();
        for odd in [
            String::new(),
            hex.clone(),
            format!("sha256:{}", hex.to_uppercase()),
            format!("sha256:{hex}0"),
            format!("sha256:{hex}00"),
            format!("sha256:{}", hex.split_at(2).1),
            format!("sha256:{}é", hex.split_at(2).1),
        ] {
            assert_eq!(odd.parse::<Fingerprint>(), Err(InvalidFingerprint), "{odd}");
        }
    }

    #[test]
    fn a_refresh_outside_the_years_of_this_program_is_refused() {
        for odd in ["", "now", "2026-11-21", "1969-12-31T23:59:59.999Z", "0001-01-01T00:00:00Z"] {
            assert_eq!(odd.parse::<Refreshed>(), Err(InvalidRefreshed), "{odd}");
        }
        let berlin: Refreshed = "2026-11-21T11:45:57.5+01:00".parse().unwrap();
        assert_eq!(berlin.to_string(), "2026-11-21T10:45:57.500Z");
    }

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret::from("rt_made_up".to_owned());
        assert_eq!(format!("{secret:?} {:#?}", Some(&secret)), "… Some(\n    …,\n)");
        assert_eq!(secret.bytes(), b"rt_made_up");
    }
}
