//! The layout of a record, version 1: the fields of a Redis hash. Unknown fields are ignored.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

use wxsub_core::clock::UnixMillis;
use wxsub_core::proto::{AccessToken, AppId};
use wxsub_core::store::{StoreError, StoreErrorKind, StoredToken, TokenRecord};
use wxsub_core::token::{ForceRefreshLog, Generation};

use crate::EncryptionKey;

/// Clocks that differ by at most this much count as equal.
const CLOCK_SKEW_TOLERANCE: Duration = Duration::from_secs(2);

/// The fields of the hash, and the Redis time at which they were read.
pub(crate) struct RecordFields {
    pub(crate) now: UnixMillis,
    pub(crate) fields: HashMap<String, String>,
}

impl RecordFields {
    fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, StoreError> {
        let parse = |text: &String| text.parse().map_err(|_| broken(format!("field {name} is not a number")));
        self.fields.get(name).map(parse).transpose()
    }

    fn required<T: FromStr>(&self, name: &str) -> Result<T, StoreError> {
        self.number(name)?.ok_or_else(|| broken(format!("field {name} is missing")))
    }

    /// Parses the record. `now` is the wall clock of this process.
    pub(crate) fn parse(
        &self,
        app: &AppId,
        key: Option<&EncryptionKey>,
        now: UnixMillis,
    ) -> Result<TokenRecord, StoreError> {
        if let Some(version) = self.fields.get("version").filter(|version| *version != "1") {
            let version: String = version.chars().filter(char::is_ascii_graphic).take(16).collect();
            let detail = format!("it has layout {version}, and this version knows layout 1");
            return Err(StoreError::new(StoreErrorKind::NewerLayout, detail));
        }
        let mut record = TokenRecord::default();
        let generation = Generation::new(self.number("generation")?.unwrap_or_default());
        // `Generation::new` maps a number above its maximum to the default. Without a generation a token cannot be compared.
        if generation > Generation::default() {
            record.token = Some(self.token(app, generation, key, now)?);
        }
        record.in_doubt_since = self.number("in_doubt_since_ms")?.map(UnixMillis::new);
        record.forced = parse_force_log(self.fields.get("forced_at_ms").map_or("", String::as_str))?;
        Ok(record)
    }

    fn token(
        &self,
        app: &AppId,
        generation: Generation,
        key: Option<&EncryptionKey>,
        now: UnixMillis,
    ) -> Result<StoredToken, StoreError> {
        let token = match (self.fields.get("token_encrypted"), self.fields.get("token"), key) {
            (Some(sealed), _, Some(key)) => key.open(app, generation, sealed)?,
            (Some(_), _, None) => {
                return Err(StoreError::new(
                    StoreErrorKind::EncryptionKey,
                    "there is no encryption key here",
                ));
            }
            (None, Some(token), _) => {
                AccessToken::new(token.as_str()).map_err(|_| broken("field token is no access token"))?
            }
            (None, None, _) => {
                return Err(broken("field token is missing"));
            }
        };
        Ok(StoredToken::new(
            token,
            generation,
            self.requested_at(now)?,
            Duration::from_millis(self.required("lifetime_ms")?),
        ))
    }

    /// When the token was requested, on the local clock.
    ///
    /// Age uses Redis time, so clock skew between servers does not matter. If the local clock agrees with the writer's, the
    /// result is the stored time. If the stored time lies in the future, the result does too.
    fn requested_at(&self, now: UnixMillis) -> Result<UnixMillis, StoreError> {
        let stored = UnixMillis::new(self.required("requested_at_ms")?);
        let stored_for = i128::from(self.now.get()) - i128::from(self.required::<u64>("stored_at_ms")?);
        let age = stored_for + i128::from(self.required::<i64>("age_ms")?);
        let requested_at = (i128::from(now.get()) - age).max(0);
        let requested_at = UnixMillis::new(u64::try_from(requested_at).unwrap_or(u64::MAX));
        let difference = requested_at.since(stored).max(stored.since(requested_at));
        Ok(if difference <= CLOCK_SKEW_TOLERANCE { stored } else { requested_at })
    }
}

fn broken(detail: impl Into<String>) -> StoreError {
    StoreError::new(StoreErrorKind::BrokenRecord, detail)
}

/// Parses the times of forced refreshes: milliseconds, separated by commas.
pub(crate) fn parse_force_log(text: &str) -> Result<ForceRefreshLog, StoreError> {
    let parse = |text: &str| text.parse().map(UnixMillis::new);
    let used: Result<_, _> = text.split(',').filter(|text| !text.is_empty()).map(parse).collect();
    used.map(ForceRefreshLog::new).map_err(|_| broken("field forced_at_ms is not a list of numbers"))
}

/// Formats the times of forced refreshes for the record.
pub(crate) fn format_force_log(log: &ForceRefreshLog) -> String {
    log.used().iter().map(|used| used.get().to_string()).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> RecordFields {
        let fields = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        RecordFields { now: UnixMillis::new(1_000_000), fields }
    }

    const GOOD: [(&str, &str); 8] = [
        ("version", "1"),
        ("generation", "7"),
        ("token", "TOKEN"),
        ("requested_at_ms", "899000"),
        ("age_ms", "1000"),
        ("stored_at_ms", "900000"),
        ("lifetime_ms", "7200000"),
        ("of_a_later_version", "x"),
    ];

    fn parse(fields: &RecordFields, now: u64) -> Result<TokenRecord, StoreError> {
        fields.parse(&"wx1".parse().unwrap(), None, UnixMillis::new(now))
    }

    #[test]
    fn record_with_unknown_fields_is_parsed() {
        let token = parse(&fields(&GOOD), 1_000_000).unwrap().token.unwrap();
        assert_eq!((token.token.expose_secret(), token.generation.get()), ("TOKEN", 7));
        assert_eq!((token.requested_at.get(), token.lifetime), (899_000, Duration::from_secs(7200)));
    }

    #[test]
    fn token_age_does_not_depend_on_the_local_clock() {
        let ten_minutes = 600_000;
        for now in [1_000_000 + ten_minutes, 1_000_000 - ten_minutes] {
            let requested_at = parse(&fields(&GOOD), now).unwrap().token.unwrap().requested_at;
            assert_eq!(UnixMillis::new(now).since(requested_at).as_secs(), 101);
        }
        assert_eq!(parse(&fields(&GOOD), 1_001_999).unwrap().token.unwrap().requested_at.get(), 899_000);
    }

    #[test]
    fn unreadable_field_is_named_without_its_value() {
        let cases = [
            ("version", "2", "has layout 2, and this version knows layout 1"),
            ("generation", "x", "field generation"),
            ("lifetime_ms", "-1", "field lifetime_ms"),
            ("requested_at_ms", "", "field requested_at_ms"),
            ("token", "", "field token is no access token"),
            ("token_encrypted", "x", "no encryption key here"),
            ("in_doubt_since_ms", "soon", "field in_doubt_since_ms"),
            ("forced_at_ms", "1,x", "field forced_at_ms"),
        ];
        for (name, value, expected) in cases {
            let mut invalid = fields(&GOOD);
            invalid.fields.insert(name.to_owned(), value.to_owned());
            let error = parse(&invalid, 1_000_000).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        for missing in ["token", "lifetime_ms", "requested_at_ms", "stored_at_ms", "age_ms"] {
            let mut invalid = fields(&GOOD);
            invalid.fields.remove(missing);
            assert!(parse(&invalid, 1_000_000).unwrap_err().to_string().contains(missing));
        }
    }

    #[test]
    fn forced_refreshes_round_trip_as_a_list() {
        assert_eq!(format_force_log(&parse_force_log("10,20").unwrap()), "10,20");
        assert_eq!(parse_force_log("").unwrap(), ForceRefreshLog::default());
    }

    /// Case 1: the clock of Redis was set back after the record was written. Case 2: the clock of the writer was wrong.
    #[test]
    fn record_from_the_future_keeps_its_future_time() {
        for (name, value) in [("stored_at_ms", "4600000"), ("age_ms", "-3700000")] {
            let mut invalid = fields(&GOOD);
            invalid.fields.insert(name.to_owned(), value.to_owned());
            let requested_at = parse(&invalid, 1_000_000).unwrap().token.unwrap().requested_at;
            assert!(
                requested_at.since(UnixMillis::new(1_000_000)).as_secs() >= 3_599,
                "{name}: {requested_at:?}"
            );
        }
    }

    #[test]
    fn generation_above_the_maximum_yields_no_token_even_if_encrypted() {
        let mut invalid = fields(&GOOD);
        invalid.fields.insert("generation".to_owned(), u64::MAX.to_string());
        invalid.fields.insert("token_encrypted".to_owned(), "x".to_owned());
        invalid.fields.insert("in_doubt_since_ms".to_owned(), "7".to_owned());
        let record = parse(&invalid, 1_000_000).unwrap();
        assert!(record.token.is_none() && record.generation() == Generation::default());
        assert_eq!(record.in_doubt_since, Some(UnixMillis::new(7)));
    }
}
