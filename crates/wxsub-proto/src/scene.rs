//! The subscription scene.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::validation::impl_try_from;
use crate::{ValidationError, ValidationErrorKind};

/// The developer's own number for an occasion to subscribe: 0 to 10000. A second consent of the same user for the same
/// scene and template adds nothing. Two messages need two scenes.
///
/// Written as text (`"1000"`, what the official table says), read as text or as a whole number. As text it has decimal
/// digits only: no sign, no leading zero.
///
/// <https://developers.weixin.qq.com/doc/oplatform/en/Mobile_App/One-time_subscription_info.html>
#[derive(Debug, derive_more::Display, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scene(u16);

impl Scene {
    /// The largest scene.
    pub const MAX: u16 = 10_000;

    /// Makes a scene from a number, 0 to 10000.
    ///
    /// # Errors
    /// [`ValidationErrorKind::OutOfRange`] for a larger one.
    pub fn new(number: u16) -> Result<Self, ValidationError> {
        if number > Self::MAX { Err(out_of_range()) } else { Ok(Self(number)) }
    }

    /// The number.
    pub fn get(self) -> u16 {
        self.0
    }
}

fn out_of_range() -> ValidationError {
    ValidationError::new("scene", ValidationErrorKind::OutOfRange { min: 0, max: u32::from(Scene::MAX) })
}

impl_try_from!(Scene: u16 => Scene::new);
impl_try_from!(Scene: u32, u64, i32, i64 => from_integer);
impl_try_from!(Scene: &str, String, &String => from_text);

fn from_integer(number: impl TryInto<u16>) -> Result<Scene, ValidationError> {
    number.try_into().map_err(|_| out_of_range()).and_then(Scene::new)
}

fn from_text(text: impl AsRef<str>) -> Result<Scene, ValidationError> {
    text.as_ref().parse()
}

impl FromStr for Scene {
    type Err = ValidationError;

    fn from_str(text: &str) -> Result<Self, ValidationError> {
        if text.is_empty() {
            return Err(ValidationError::new("scene", ValidationErrorKind::Empty));
        }
        let canonical = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        if !canonical {
            return Err(out_of_range());
        }
        text.parse().map_err(|_| out_of_range()).and_then(Self::new)
    }
}

impl Serialize for Scene {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Scene {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrNumber;

        impl de::Visitor<'_> for TextOrNumber {
            type Value = Scene;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a scene from 0 to 10000, as text or a whole number")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Scene, E> {
                Scene::try_from(number).map_err(E::custom)
            }

            // TOML and other formats have signed numbers only.
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Scene, E> {
                Scene::try_from(number).map_err(E::custom)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Scene, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(TextOrNumber)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_json_kind_is_rejected_with_the_expected_one() {
        let error = serde_json::from_str::<Scene>("true").unwrap_err().to_string();
        assert!(error.contains("a scene from 0 to 10000, as text or a whole number"), "{error}");
    }

    #[test]
    fn signed_number_is_read() {
        use serde::de::IntoDeserializer;
        use serde::de::value::{Error, I64Deserializer};
        let read = |number: i64| {
            let deserializer: I64Deserializer<Error> = number.into_deserializer();
            Scene::deserialize(deserializer).map_err(|error| error.to_string())
        };
        assert_eq!(read(1000).map(Scene::get), Ok(1000));
        for out_of_range in [-1, 10_001, i64::MIN] {
            assert_eq!(read(out_of_range), Err(super::out_of_range().to_string()));
        }
    }

    #[test]
    fn text_rules() {
        for (text, number) in [("0", 0), ("7", 7), ("1000", 1000), ("10000", 10_000)] {
            assert_eq!(text.parse::<Scene>().unwrap().get(), number);
        }
        for bad in
            ["", "+1", "-1", "01", "00", "10001", "1.0", "1e3", " 1", "1 ", "٣", "99999999999999999999"]
        {
            assert!(bad.parse::<Scene>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn integers_and_texts_convert() {
        let seven = Scene::new(7);
        for scene in
            [Scene::try_from(7_u16), Scene::try_from(7_u32), Scene::try_from(7_u64), Scene::try_from(7_i32)]
        {
            assert_eq!(scene, seven);
        }
        assert_eq!((Scene::try_from("7"), Scene::try_from("7".to_owned())), (seven.clone(), seven));
        for out_of_range in
            [Scene::try_from(10_001), Scene::try_from(-1), Scene::try_from(65_543), Scene::try_from("07")]
        {
            assert_eq!(out_of_range.unwrap_err(), super::out_of_range());
        }
    }

    #[test]
    fn json_reads_text_or_number_and_writes_text() {
        for (json, good) in [
            ("1000", true),
            ("\"1000\"", true),
            ("0", true),
            ("10001", false),
            ("-1", false),
            ("1.5", false),
            ("\"01\"", false),
            ("true", false),
        ] {
            assert_eq!(serde_json::from_str::<Scene>(json).is_ok(), good, "{json}");
        }
        assert_eq!(serde_json::to_string(&Scene::new(1000).unwrap()).unwrap(), "\"1000\"");
    }
}
