//! JSON objects without duplicate names, at any depth. Which of two values counts would be a guess.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::{LocalizedText, ValidationError};

/// Parses one JSON object in which no name stands twice, at any depth.
///
/// # Errors
/// [`ValidationError`] of `body` names the likely cause.
pub fn parse_object(bytes: &[u8]) -> Result<Map<String, Value>, ValidationError> {
    parse_object_without_duplicates(bytes)
        .map_err(|error| ValidationError::invalid_format("body", expected_form(bytes, &error)))
}

/// Parses one JSON object. Anything else, trailing text and a duplicate name are errors.
pub(crate) fn parse_object_without_duplicates(bytes: &[u8]) -> Result<Map<String, Value>, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let object = reader.deserialize_map(ObjectVisitor)?;
    reader.end()?;
    Ok(object)
}

/// The likely cause why bytes are not one JSON object.
pub(crate) fn expected_form(bytes: &[u8], error: &serde_json::Error) -> LocalizedText {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return LocalizedText::new(
            "UTF-8 text; save it as UTF-8, not as GBK or UTF-16",
            "是 UTF-8 文本；请保存为 UTF-8，而不是 GBK 或 UTF-16",
        );
    };
    let text = text.trim();
    if text.starts_with('[') {
        return LocalizedText::new(
            "one JSON object, not a list; send each object by itself",
            "是一个 JSON 对象，而不是数组；请逐个发送对象",
        );
    }
    if error.is_eof() {
        return LocalizedText::new(
            "one whole JSON object; this one ends too early",
            "是一个完整的 JSON 对象；这个对象不完整",
        );
    }
    if error.to_string().starts_with("trailing comma") {
        return LocalizedText::new(
            "JSON without a comma before } or ]; remove it",
            "是 } 或 ] 之前没有逗号的 JSON；请删除该逗号",
        );
    }
    match text.strip_suffix(',').map(str::as_bytes).map(parse_object_without_duplicates) {
        Some(Ok(_)) => LocalizedText::new(
            "one JSON object without a comma behind it; remove the comma",
            "是一个 JSON 对象，后面不带逗号；请删除该逗号",
        ),
        _ if error.to_string().starts_with(DUPLICATE_NAME) => LocalizedText::new(
            "one JSON object in which no name stands twice",
            "是一个没有重名成员的 JSON 对象",
        ),
        _ => LocalizedText::new(
            "one valid JSON object; check its quotes, commas and braces",
            "是一个有效的 JSON 对象；请检查引号、逗号和括号",
        ),
    }
}

/// The error of a duplicate name.
pub(crate) const DUPLICATE_NAME: &str = "a name stands twice";

/// Parses one object and nothing else.
struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(ValueVisitor)?;
            if object.insert(name, value).is_some() {
                return Err(de::Error::custom(DUPLICATE_NAME));
            }
        }
        Ok(object)
    }
}

/// Visits `null`, booleans and numbers, and makes something of each value.
macro_rules! visit_scalars {
    ($make:expr) => {
        $crate::codec::visit_scalars! { $make; visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64 }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok($make(Value::Null))
        }
    };
    ($make:expr; $($visit:ident: $kind:ty),+) => {
        $(fn $visit<E>(self, value: $kind) -> Result<Self::Value, E> {
            Ok($make(value.into()))
        })+
    };
}
pub(crate) use visit_scalars;

/// Parses any value.
pub(crate) struct ValueVisitor;

impl<'de> DeserializeSeed<'de> for ValueVisitor {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    visit_scalars!(|value| value);

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Self)? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Value, A::Error> {
        ObjectVisitor.visit_map(members).map(Value::Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Other formats have kinds of values that JSON lacks.
    #[test]
    fn kind_that_json_lacks_is_rejected() {
        let error = ValueVisitor.visit_bytes::<de::value::Error>(b"x").unwrap_err().to_string();
        assert!(error.ends_with("expected JSON"), "{error}");
    }

    #[test]
    fn only_one_object_with_every_name_once() {
        let good = r#" {"a":[1,-2,3.5,null,true,"x"],"b":{"a":{}}} "#;
        assert_eq!(
            Value::Object(parse_object_without_duplicates(good.as_bytes()).unwrap()),
            serde_json::from_str::<Value>(good).unwrap()
        );
        for bad in [
            "",
            "1",
            "[]",
            "null",
            "{} {}",
            "{",
            "NaN",
            r#"{"a":NaN}"#,
            r#"{"a":1,"a":1}"#,
            r#"{"x":{"a":1,"a":2}}"#,
            r#"{"x":[{"a":1,"\u0061":2}]}"#,
            "\u{feff}{}",
        ] {
            assert!(parse_object_without_duplicates(bad.as_bytes()).is_err(), "{bad}");
        }
        let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
        assert!(parse_object_without_duplicates(deep.as_bytes()).is_err());
        assert!(parse_object_without_duplicates(b"{\"a\":\"\xff\"}").is_err());
        let utf16: Vec<u8> = "{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(parse_object_without_duplicates(&utf16).is_err());
    }
}
