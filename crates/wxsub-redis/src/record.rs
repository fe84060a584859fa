//! The layout of a record, version 1: the fields of a Redis hash. Unknown fields are ignored.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

use wxsub_core::clock::{MAX_CLOCK_SKEW, UnixMillis};
use wxsub_core::proto::endpoint::token::MAX_LIFETIME;
use wxsub_core::proto::{AccessToken, AppId};
use wxsub_core::store::{StoreError, StoreErrorKind, StoredToken, TokenRecord, UpstreamId};
use wxsub_core::token::{ForceRefreshLog, Generation};

use crate::encryption::{EncryptionKeys, OpenError};

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
        keys: Option<&EncryptionKeys>,
        now: UnixMillis,
    ) -> Result<TokenRecord, StoreError> {
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if let Some(version) =
            self.fields.get("version").filter(|version| *version != "1" && is_digits(version))
        {
            let version: String = version.chars().take(16).collect();
            let detail = format!("it has layout {version}, and this version knows layout 1");
            return Err(StoreError::new(StoreErrorKind::NewerLayout, detail));
        }
        let mut record = TokenRecord::default();
        let generation = self.fields.get("generation").filter(|text| is_digits(text));
        // `Generation::new` maps a number above its maximum to the default, and the scripts do the same.
        let generation =
            generation.and_then(|text| text.parse().ok()).map_or_else(Generation::default, Generation::new);
        match self.token(app, generation, keys, now) {
            Ok(token) => record.token = token,
            Err(error) if error.kind() == StoreErrorKind::BrokenRecord => {
                record.unusable_generation = generation;
                record.broken = Some(error);
            }
            // A peer that had the other key would have replaced a token that has expired.
            Err(_) if self.is_expired(now) => record.unusable_generation = generation,
            Err(error) => return Err(error),
        }
        record.in_doubt_since = self.number("in_doubt_since_ms").ok().flatten().map(UnixMillis::new);
        record.forced = parse_force_log(self.fields.get("forced_at_ms").map_or("", String::as_str));
        Ok(record)
    }

    /// `None` if no token was stored yet.
    fn token(
        &self,
        app: &AppId,
        generation: Generation,
        keys: Option<&EncryptionKeys>,
        now: UnixMillis,
    ) -> Result<Option<StoredToken>, StoreError> {
        let field = |name| self.fields.get(name).map(String::as_str);
        let (sealed, plain) = (field("token_encrypted"), field("token"));
        if field("generation").is_none() && sealed.is_none() && plain.is_none() {
            return Ok(None);
        }
        if generation == Generation::default() {
            return Err(broken("field generation is no generation"));
        }
        let (requested_at, lifetime) =
            (self.requested_at(now)?, Duration::from_millis(self.required("lifetime_ms")?));
        let other_key = |detail| StoreError::new(StoreErrorKind::EncryptionKey, detail);
        let token = match (sealed, plain, keys) {
            (Some(sealed), _, Some(keys)) => {
                keys.open(app, generation, sealed, field("key_id")).map_err(|error| match error {
                    OpenError::Broken => broken("field token_encrypted cannot be decrypted"),
                    OpenError::OtherKey => other_key("cannot decrypt the token"),
                })?
            }
            (Some(_), _, None) => return Err(other_key("there is no encryption key here")),
            (None, Some(token), _) => {
                AccessToken::new(token).map_err(|_| broken("field token is no access token"))?
            }
            (None, None, _) => return Err(broken("field token is missing")),
        };
        let upstream = field("upstream").and_then(UpstreamId::parse);
        Ok(Some(StoredToken::new(token, generation, requested_at, lifetime).with_upstream(upstream)))
    }

    /// Whether the token has expired, on the clock of this process.
    fn is_expired(&self, now: UnixMillis) -> bool {
        let lifetime = self.required("lifetime_ms").map(Duration::from_millis);
        let times = self.requested_at(now).and_then(|requested_at| Ok((requested_at, lifetime?)));
        times.is_ok_and(|(requested_at, lifetime)| now.since(requested_at) >= lifetime.min(MAX_LIFETIME))
    }

    /// When the token was requested, on the local clock.
    ///
    /// Age uses Redis time, so clock skew between servers does not matter. If the local clock agrees with the writer's, the
    /// result is the stored time. If the time of the request or of the write lies in the future, the result does too.
    fn requested_at(&self, now: UnixMillis) -> Result<UnixMillis, StoreError> {
        let stored = UnixMillis::new(self.required("requested_at_ms")?);
        let stored_at = UnixMillis::new(self.required("stored_at_ms")?);
        let ahead = stored_at.since(self.now);
        if ahead > MAX_CLOCK_SKEW {
            // The clock of Redis was set back, so the age is unknown.
            return Ok(now + ahead);
        }
        let stored_for = i128::from(self.now.get()) - i128::from(stored_at.get());
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

/// Parses the times of forced refreshes: milliseconds, separated by commas. Ignores what is no time.
pub(crate) fn parse_force_log(text: &str) -> ForceRefreshLog {
    ForceRefreshLog::new(text.split(',').filter_map(|text| text.parse().ok()).map(UnixMillis::new).collect())
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

    fn with(changes: &[(&str, &str)]) -> RecordFields {
        let mut changed = fields(&GOOD);
        for (name, value) in changes {
            changed.fields.insert((*name).to_owned(), (*value).to_owned());
        }
        changed
    }

    #[test]
    fn broken_record_has_no_token_and_names_the_field() {
        let cases = [
            ("generation", "x", 0, "field generation"),
            ("generation", "+7", 0, "field generation"),
            ("generation", "18446744073709551615", 0, "field generation"),
            ("lifetime_ms", "-1", 7, "field lifetime_ms"),
            ("requested_at_ms", "", 7, "field requested_at_ms"),
            ("token", "", 7, "field token is no access token"),
        ];
        for (name, value, generation, expected) in cases {
            let record = parse(&with(&[(name, value)]), 1_000_000).unwrap();
            let error = record.broken.as_ref().unwrap().to_string();
            assert!(record.token.is_none() && error.contains(expected), "{error}");
            assert_eq!(record.generation().get(), generation, "{name}");
        }
        for missing in ["token", "generation", "lifetime_ms", "requested_at_ms", "stored_at_ms", "age_ms"] {
            let mut incomplete = fields(&GOOD);
            incomplete.fields.remove(missing);
            let error = parse(&incomplete, 1_000_000).unwrap().broken.unwrap().to_string();
            assert!(error.contains(missing), "{error}");
        }
    }

    #[test]
    fn wrong_marker_and_forced_refreshes_do_not_hide_the_token() {
        let record =
            parse(&with(&[("in_doubt_since_ms", "soon"), ("forced_at_ms", "1,x")]), 1_000_000).unwrap();
        assert!(record.token.is_some() && record.in_doubt_since.is_none());
        assert_eq!(record.forced, parse_force_log("1"));
    }

    #[test]
    fn record_of_others_is_an_error_until_its_token_has_expired() {
        let newer = parse(&with(&[("version", "2")]), 1_000_000).unwrap_err();
        assert_eq!(newer.kind(), StoreErrorKind::NewerLayout);
        let sealed = with(&[("token_encrypted", "x")]);
        assert_eq!(parse(&sealed, 1_000_000).unwrap_err().kind(), StoreErrorKind::EncryptionKey);
        let expired = RecordFields { now: UnixMillis::new(8_099_000), ..sealed };
        let record = parse(&expired, 8_099_000).unwrap();
        assert!(record.token.is_none() && record.broken.is_none());
        assert_eq!(record.generation().get(), 7);
    }

    #[test]
    fn forced_refreshes_round_trip_as_a_list() {
        assert_eq!(format_force_log(&parse_force_log("10,20")), "10,20");
        assert_eq!(parse_force_log(""), ForceRefreshLog::default());
    }

    /// Cases 1 and 2: the clock of Redis was set back after the record was written, in case 2 by as much as the token was
    /// old. Case 3: the clock of the writer was wrong.
    #[test]
    fn record_from_the_future_keeps_its_future_time() {
        for (stored_at, age) in [("4600000", "1000"), ("4600000", "3600000"), ("900000", "-3700000")] {
            let record = parse(&with(&[("stored_at_ms", stored_at), ("age_ms", age)]), 1_000_000).unwrap();
            let requested_at = record.token.unwrap().requested_at;
            assert!(requested_at.since(UnixMillis::new(1_000_000)).as_secs() >= 3_599, "{requested_at:?}");
        }
    }
}
