//! Which one value does a text hold, if it is JSON in which nothing stands twice?
//!
//! Of two equal keys one reader believes the first and another the last. So such a text has no
//! meaning, whatever else is in it.

use std::fmt;

use serde::Deserializer;
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Reads one value that fills the text; `serde_json`'s limit of depth holds.
///
/// # Errors
///
/// As `serde_json`; "a key stands twice" is an error of data.
pub fn strict(bytes: &[u8]) -> serde_json::Result<Value> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict.deserialize(&mut reader)?;
    reader.end().map(|()| value)
}

/// Builds a [`Value`] like serde_json's own, but refuses double keys.
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(Self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value_seed(Self)?;
            if object.insert(key, value).is_some() {
                return Err(de::Error::custom("a key stands twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn a_text_holds_one_value_and_no_key_twice() {
        for same in ["null", " [1, -2, 3.5, \"x\", true] ", r#"{"a":{"b":[]},"b":{}}"#] {
            let theirs: Value = serde_json::from_str(same).unwrap();
            assert_eq!(strict(same.as_bytes()).unwrap(), theirs);
        }
        check("",                                  "EOF");
        check("1 2",                               "trailing");
        check(r#"{"a":1,"a":1}"#,                  "a key stands twice");
        check(r#"{"a":1,"\u0061":1}"#,             "a key stands twice");
        check(r#"[{"x":{"a":1,"b":2,"a":3}}]"#,    "a key stands twice");
        check(&"[".repeat(100_000),                "recursion limit");
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let error = strict(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
