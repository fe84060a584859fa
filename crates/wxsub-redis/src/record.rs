//! The layout of a record, version 1: the fields of a Redis hash. Unknown fields are left alone.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

use wxsub_core::clock::UnixMillis;
use wxsub_core::proto::{AccessToken, AppId};
use wxsub_core::store::{StoreError, StoredToken, TokenRecord};
use wxsub_core::token::{ForceRefreshLog, Generation};

use crate::EncryptionKey;

/// Clocks that are this close agree.
const CLOCK_SKEW_TOLERANCE: Duration = Duration::from_secs(2);

/// The fields of the hash, and the time of Redis when they were read.
pub(crate) struct RecordFields {
    pub(crate) now: UnixMillis,
    pub(crate) fields: HashMap<String, String>,
}

impl RecordFields {
    fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, StoreError> {
        let read = |text: &String| {
            text.parse()
                .map_err(|_| StoreError::new(format!("the field {name} of the record is not a number")))
        };
        self.fields.get(name).map(read).transpose()
    }

    fn required<T: FromStr>(&self, name: &str) -> Result<T, StoreError> {
        self.number(name)?.ok_or_else(|| StoreError::new(format!("the record has no field {name}")))
    }

    /// The record. `now`: this process's wall clock.
    pub(crate) fn read(
        &self,
        app: &AppId,
        key: Option<&EncryptionKey>,
        now: UnixMillis,
    ) -> Result<TokenRecord, StoreError> {
        if let Some(version) = self.fields.get("version").filter(|version| *version != "1") {
            let version: String = version.chars().filter(char::is_ascii_graphic).take(16).collect();
            return Err(StoreError::new(format!(
                "the record has layout {version}, and this version knows layout 1; update it"
            )));
        }
        let mut record = TokenRecord::default();
        let generation = Generation::new(self.number("generation")?.unwrap_or_default());
        // A number beyond the bound is no generation, and a token without one cannot be compared.
        if generation > Generation::default() {
            record.token = Some(self.token(app, generation, key, now)?);
        }
        record.in_doubt_since = self.number("in_doubt_since_ms")?.map(UnixMillis::new);
        record.forced = forced(self.fields.get("forced_at_ms").map_or("", String::as_str))?;
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
                return Err(StoreError::new("the token is encrypted, and there is no encryption key here"));
            }
            (None, Some(token), _) => AccessToken::new(token.as_str())
                .map_err(|_| StoreError::new("the stored token cannot be one"))?,
            (None, None, _) => return Err(StoreError::new("the record has no token")),
        };
        Ok(StoredToken::new(
            token,
            generation,
            self.asked(now)?,
            Duration::from_millis(self.required("lifetime_ms")?),
        ))
    }

    /// When the token was asked for, by the clock here. How old it is says the clock of Redis, so that servers whose clocks
    /// differ agree on its end; where they do not, the time is kept as it was written. A record from the future stays one.
    fn asked(&self, now: UnixMillis) -> Result<UnixMillis, StoreError> {
        let written = UnixMillis::new(self.required("requested_at_ms")?);
        let stored_for = i128::from(self.now.get()) - i128::from(self.required::<u64>("stored_at_ms")?);
        let age = stored_for + i128::from(self.required::<i64>("age_ms")?);
        let asked = (i128::from(now.get()) - age).max(0);
        let asked = UnixMillis::new(u64::try_from(asked).unwrap_or(u64::MAX));
        let apart = asked.since(written).max(written.since(asked));
        Ok(if apart <= CLOCK_SKEW_TOLERANCE { written } else { asked })
    }
}

/// The times of forced refreshes.
pub(crate) fn forced(text: &str) -> Result<ForceRefreshLog, StoreError> {
    let read = |text: &str| text.parse().map(UnixMillis::new);
    let used: Result<_, _> = text.split(',').filter(|text| !text.is_empty()).map(read).collect();
    used.map(ForceRefreshLog::new)
        .map_err(|_| StoreError::new("the field forced_at_ms of the record is not a list of numbers"))
}

/// The same as text.
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

    fn read(fields: &RecordFields, now: u64) -> Result<TokenRecord, StoreError> {
        fields.read(&"wx1".parse().unwrap(), None, UnixMillis::new(now))
    }

    #[test]
    fn a_record_is_read_and_unknown_fields_are_left_alone() {
        let token = read(&fields(&GOOD), 1_000_000).unwrap().token.unwrap();
        assert_eq!((token.token.expose_secret(), token.generation.get()), ("TOKEN", 7));
        assert_eq!((token.requested_at.get(), token.lifetime), (899_000, Duration::from_secs(7200)));
    }

    #[test]
    fn the_age_of_a_token_does_not_depend_on_whose_clock_is_wrong() {
        let ten_minutes = 600_000;
        for now in [1_000_000 + ten_minutes, 1_000_000 - ten_minutes] {
            let asked = read(&fields(&GOOD), now).unwrap().token.unwrap().requested_at;
            assert_eq!(UnixMillis::new(now).since(asked).as_secs(), 101);
        }
        assert_eq!(read(&fields(&GOOD), 1_001_999).unwrap().token.unwrap().requested_at.get(), 899_000);
    }

    #[test]
    fn what_cannot_be_read_is_named_and_not_shown() {
        let cases = [
            ("version", "2", "has layout 2, and this version knows layout 1"),
            ("generation", "x", "field generation"),
            ("lifetime_ms", "-1", "field lifetime_ms"),
            ("requested_at_ms", "", "field requested_at_ms"),
            ("token", "", "cannot be one"),
            ("token_encrypted", "x", "no encryption key here"),
            ("in_doubt_since_ms", "soon", "field in_doubt_since_ms"),
            ("forced_at_ms", "1,x", "field forced_at_ms"),
        ];
        for (name, value, says) in cases {
            let mut odd = fields(&GOOD);
            odd.fields.insert(name.to_owned(), value.to_owned());
            let error = read(&odd, 1_000_000).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        for missing in ["token", "lifetime_ms", "requested_at_ms", "stored_at_ms", "age_ms"] {
            let mut odd = fields(&GOOD);
            odd.fields.remove(missing);
            assert!(read(&odd, 1_000_000).unwrap_err().to_string().contains(missing));
        }
    }

    #[test]
    fn forced_refreshes_are_a_list() {
        assert_eq!(format_force_log(&forced("10,20").unwrap()), "10,20");
        assert_eq!(forced("").unwrap(), ForceRefreshLog::default());
    }

    /// Written when a clock was wrong: that of Redis, which has been set back since, or that of the server that stored it.
    #[test]
    fn record_from_the_future_stays_one() {
        for (name, value) in [("stored_at_ms", "4600000"), ("age_ms", "-3700000")] {
            let mut odd = fields(&GOOD);
            odd.fields.insert(name.to_owned(), value.to_owned());
            let asked = read(&odd, 1_000_000).unwrap().token.unwrap().requested_at;
            assert!(asked.since(UnixMillis::new(1_000_000)).as_secs() >= 3_599, "{name}: {asked:?}");
        }
    }

    #[test]
    fn generation_beyond_the_bound_is_no_token_even_if_sealed() {
        let mut odd = fields(&GOOD);
        odd.fields.insert("generation".to_owned(), u64::MAX.to_string());
        odd.fields.insert("token_encrypted".to_owned(), "x".to_owned());
        odd.fields.insert("in_doubt_since_ms".to_owned(), "7".to_owned());
        let record = read(&odd, 1_000_000).unwrap();
        assert!(record.token.is_none() && record.generation() == Generation::default());
        assert_eq!(record.in_doubt_since, Some(UnixMillis::new(7)));
    }
}
