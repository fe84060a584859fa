//! Times as text of RFC 3339, such as `2026-06-01T04:00:00.25Z`: for `#[serde(with = …)]`.

use std::borrow::Cow;

use crate::clock::UnixMillis;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serializer};

/// The text of a time; of the last time that has one, if it is later.
#[must_use]
pub fn format(at: UnixMillis) -> String {
    let millis = i64::try_from(at.get()).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX).to_string()
}

/// Reads a time, in any time zone. Parts of milliseconds are dropped, and a time before 1970 is 1970.
///
/// # Errors
/// A text without secrets that says what is wrong.
pub fn parse(text: &str) -> Result<UnixMillis, String> {
    let time: Timestamp = text.parse().map_err(|_| "must be a time such as 2026-06-01T12:00:00+08:00")?;
    Ok(UnixMillis::new(u64::try_from(time.as_millisecond()).unwrap_or(0)))
}

/// Writes a time.
///
/// # Errors
/// That of the serializer.
pub fn serialize<S: Serializer>(at: &UnixMillis, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(*at))
}

/// Reads a time.
///
/// # Errors
/// If the text is not a time.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<UnixMillis, D::Error> {
    let text = Cow::<'de, str>::deserialize(deserializer)?;
    parse(&text).map_err(serde::de::Error::custom)
}

/// The same for a member that may be absent.
pub mod option {
    use super::{Deserializer, Serializer, UnixMillis};

    /// Writes a time, or null.
    ///
    /// # Errors
    /// That of the serializer.
    pub fn serialize<S: Serializer>(at: &Option<UnixMillis>, serializer: S) -> Result<S::Ok, S::Error> {
        match at {
            Some(at) => super::serialize(at, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads a time that is there.
    ///
    /// # Errors
    /// If the text is not a time.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<UnixMillis>, D::Error> {
        super::deserialize(deserializer).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_back() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_780_286_400_000, "2026-06-01T04:00:00Z"),
            (1_780_286_400_250, "2026-06-01T04:00:00.25Z"),
        ] {
            assert_eq!(format(UnixMillis::new(millis)), text);
            assert_eq!(parse(text), Ok(UnixMillis::new(millis)));
        }
        assert_eq!(parse("2026-06-01T12:00:00+08:00"), Ok(UnixMillis::new(1_780_286_400_000)));
        assert_eq!(parse("1969-01-01T00:00:00Z"), Ok(UnixMillis::new(0)));
        for bad in ["", "2026-06-01", "1780286400000", "2026-06-01 04:00:00"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(format(UnixMillis::new(u64::MAX)).starts_with("9999-12-"));
    }
}
