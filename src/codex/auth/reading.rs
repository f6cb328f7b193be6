//! What of a login does a program need that shall only read with it?

use serde_json::Value;

use super::{AuthFile, Document};
use crate::account::Secret;

/// What stands for the refresh token in a copy that must not be refreshed.
const WITHHELD: &str = "withheld";

impl AuthFile {
    /// A copy that can be read with and never be refreshed: its refresh token is withheld, all
    /// else is there. It is no login to be kept.
    #[must_use]
    pub fn for_reading(&self) -> Secret {
        // It was parsed once, so this is one object; if not, nothing is told at all.
        let Ok(mut document) = Document::parse(self.bytes.bytes()) else {
            return Secret::from(Vec::new());
        };
        if let Some(token) = document.0.pointer_mut("/tokens/refresh_token")
            && !token.is_null()
        {
            super::wipe(token);
            *token = Value::String(WITHHELD.to_owned());
        }
        // Room for all of it from the start: a buffer that grows leaves copies of tokens behind.
        let mut bytes = Vec::with_capacity(self.bytes.bytes().len().saturating_mul(2));
        let written = serde_json::to_writer(&mut bytes, &document.0);
        drop(written); // Every value has a JSON form, and a vector takes all of it.
        Secret::from(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    #[test]
    fn a_copy_for_reading_is_whole_but_for_its_refresh_token() {
        let text = include_str!("../../../testdata/auth/chatgpt.json");
        let file = parse(text.into()).unwrap();
        let copy = parse(file.for_reading().bytes().to_vec()).unwrap();
        let tell = |file: &super::AuthFile| -> serde_json::Value {
            serde_json::from_slice(file.bytes.bytes()).unwrap()
        };
        let (mut expected, told) = (tell(&file), tell(&copy));
        let withheld = expected["tokens"]["refresh_token"].as_str().unwrap().to_owned();
        assert!(withheld.starts_with("rt"), "a token that can be told from others");
        expected["tokens"]["refresh_token"] = super::WITHHELD.into();
        assert_eq!(told, expected);
        assert!(!String::from_utf8(copy.bytes.bytes().to_vec()).unwrap().contains(&withheld));
        assert_eq!((copy.key, copy.email), (file.key, file.email));

        let key = parse(include_str!("../../../testdata/auth/api-key.json").into()).unwrap();
        assert_eq!(tell(&parse(key.for_reading().bytes().to_vec()).unwrap()), tell(&key));
    }
}
