//! What does a token claim?
//!
//! Claims are read, never verified, and an odd one is an absent one.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::account::Email;
use crate::time::Stamp;

const OPENAI: &str = "https://api.openai.com/auth";
const PROFILE: &str = "https://api.openai.com/profile";

/// The payload of a JWT. Its signature is not looked at.
pub(super) struct Claims(Map<String, Value>);

impl Claims {
    /// The claims of a token; `None` if it is no JWT.
    pub(super) fn of(token: &str) -> Option<Self> {
        let mut parts = token.split('.');
        let (Some(_), Some(payload), Some(_), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        let json = Zeroizing::new(URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?);
        serde_json::from_slice(&json).ok().map(Self)
    }

    /// A text among OpenAI's own claims.
    pub(super) fn openai(&self, name: &str) -> Option<&str> {
        text(self.0.get(OPENAI).and_then(Value::as_object), name)
    }

    /// The first usable address.
    pub(super) fn email(&self) -> Option<Email> {
        let profile = self.0.get(PROFILE).and_then(Value::as_object);
        [text(Some(&self.0), "email"), text(profile, "email")]
            .into_iter()
            .flatten()
            .find_map(|address| address.parse().ok())
    }

    /// A claim in whole seconds since 1970; anything odd is absent.
    pub(super) fn time(&self, name: &str) -> Option<Stamp> {
        Stamp::from_epoch(self.0.get(name)?.as_i64()?)
    }
}

/// A member that is a text and not empty.
pub(super) fn text<'a>(object: Option<&'a Map<String, Value>>, name: &str) -> Option<&'a str> {
    object?.get(name)?.as_str().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    #[rustfmt::skip]
    fn only_three_parts_with_an_object_in_the_middle_are_a_jwt() {
        let payload = URL_SAFE_NO_PAD.encode(r#"{"iat":1}"#);
        let list = URL_SAFE_NO_PAD.encode("[1]");
        for (token, expected) in [
            (format!("h.{payload}.s"),    true),
            (format!("h.{payload}==.s"),  true), // padded by somebody
            (format!(".{payload}."),      true),
            (format!("h.{payload}"),      false),
            (format!("h.{payload}.s.x"),  false),
            (format!("h.{list}.s"),       false),
            ("h..s".to_owned(),           false),
            ("h.{}.s".to_owned(),         false),
            ("opaque".to_owned(),         false),
            (String::new(),               false),
        ] {
            assert_eq!(Claims::of(&token).is_some(), expected, "{token}");
        }
    }

    #[test]
    #[rustfmt::skip]
    fn a_time_is_whole_seconds_in_plausible_years() {
        for (json, expected) in [
            (r#"{"exp":1795257957}"#,      Some("2026-11-21T10:45:57+00:00")),
            (r#"{"exp":0}"#,               Some("1970-01-01T00:00:00+00:00")),
            (r#"{"exp":-1}"#,              None),
            (r#"{"exp":253402300800}"#,    None), // the year 10000
            (r#"{"exp":1e300}"#,           None),
            (r#"{"exp":99999999999999999999}"#, None),
            (r#"{"exp":"1795257957"}"#,    None),
            (r#"{"exp":null}"#,            None),
            ("{}",                         None),
        ] {
            let claims = Claims(serde_json::from_str(json).unwrap());
            assert_eq!(claims.time("exp").map(|at| at.to_string()).as_deref(), expected, "{json}");
        }
    }

    proptest! {
        #[test]
        fn no_token_breaks_the_reader(token in "\\PC{0,40}", bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Claims::of(&token);
            let _ = Claims::of(&format!("h.{}.s", URL_SAFE_NO_PAD.encode(bytes)));
        }
    }
}
