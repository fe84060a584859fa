//! Reads the JSON bodies of controls. Every error starts with the path of the invalid member.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{DeserializeOwned, Error, IgnoredAny, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use wxsub_proto::ValidationError;

use crate::fault::Fault;
use crate::request::Request;
use crate::state::NotFoundError;

/// Why a control was rejected, with the HTTP status.
#[derive(Debug)]
pub(crate) struct ControlError {
    pub(crate) status: u16,
    pub(crate) error: String,
}

impl ControlError {
    pub(super) fn new(status: u16, error: impl Into<String>) -> Self {
        let error = error.into();
        Self { status, error }
    }

    pub(super) fn bad_request(error: impl Into<String>) -> Self {
        Self::new(400, error)
    }
}

impl From<ValidationError> for ControlError {
    fn from(invalid: ValidationError) -> Self {
        Self::bad_request(invalid.to_string())
    }
}

impl From<NotFoundError> for ControlError {
    fn from(unknown: NotFoundError) -> Self {
        Self::bad_request(unknown.to_string())
    }
}

/// Reads the body of a control. Members of type `Option` may be absent or `null`.
pub(super) fn parse<T: DeserializeOwned>(request: &Request<'_>) -> Result<T, ControlError> {
    let body = request
        .body
        .ok_or_else(|| ControlError::new(413, "body: is longer than 64 KiB; send a shorter one"))?;
    let object: Map<String, Value> = serde_json::from_slice(body)
        .map_err(|_| ControlError::bad_request("body: must be one JSON object"))?;
    serde_path_to_error::deserialize(Value::Object(object)).map_err(|error| {
        let (path, cause) = (format!("{}: ", error.path()), error.inner().to_string());
        // Errors of validated types already begin with the name of the member.
        ControlError::bad_request(if cause.starts_with(&path) { cause } else { path + &cause })
    })
}

/// The value of a required member.
pub(super) fn required<T>(name: &str, value: Option<T>) -> Result<T, ControlError> {
    value.ok_or_else(|| ControlError::bad_request(format!("{name}: is missing; it is required")))
}

/// Reads an optional text of a type that does not implement `Deserialize`.
pub(super) fn text<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err = ValidationError>,
{
    let text: Option<String> = Option::deserialize(deserializer)?;
    text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
}

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy)]
pub(super) struct WholeNumber<const MIN: u64, const MAX: u64>(pub(super) u64);

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for WholeNumber<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberVisitor<const MIN: u64, const MAX: u64>;

        impl<const MIN: u64, const MAX: u64> Visitor<'_> for NumberVisitor<MIN, MAX> {
            type Value = WholeNumber<MIN, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a whole number from {MIN} to {MAX}")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
                Err(E::invalid_value(Unexpected::Signed(number), &self))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
                match (MIN..=MAX).contains(&number) {
                    true => Ok(WholeNumber(number)),
                    false => Err(E::invalid_value(Unexpected::Unsigned(number), &self)),
                }
            }
        }

        deserializer.deserialize_u64(NumberVisitor::<MIN, MAX>)
    }
}

/// The maximum delay of a response, in milliseconds: one hour.
const MAX_DELAY_MS: u64 = 3_600_000;

/// A fault: `"hang"`, or an object with one member such as `{"status":502}`.
pub(super) struct FaultInput(pub(super) Fault);

impl<'de> Deserialize<'de> for FaultInput {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FaultVisitor).map(Self)
    }
}

struct FaultVisitor;

impl<'de> Visitor<'de> for FaultVisitor {
    type Value = Fault;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "one of {\"errcode\":N}, {\"status\":N}, {\"delay_ms\":N}, \"reset_before_apply\", \
             \"reset_after_apply\", \"truncate\", \"html\", \"hang\"",
        )
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Fault, E> {
        let plain =
            [Fault::ResetBeforeApply, Fault::ResetAfterApply, Fault::Truncate, Fault::Html, Fault::Hang];
        let named = plain.into_iter().find(|fault| fault.name() == name);
        named.ok_or_else(|| E::invalid_value(Unexpected::Str(name), &self))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fault, A::Error> {
        let name: Option<String> = map.next_key()?;
        let fault = match name.as_deref() {
            Some("errcode") => Fault::ErrCode(map.next_value()?),
            Some("status") => {
                let WholeNumber(status) = map.next_value::<WholeNumber<200, 599>>()?;
                Fault::Status(status.try_into().map_err(A::Error::custom)?)
            }
            Some("delay_ms") => {
                let WholeNumber(delay) = map.next_value::<WholeNumber<0, MAX_DELAY_MS>>()?;
                Fault::Delay(Duration::from_millis(delay))
            }
            name => return Err(A::Error::invalid_value(Unexpected::Str(name.unwrap_or_default()), &self)),
        };
        match map.next_key::<IgnoredAny>()? {
            None => Ok(fault),
            Some(_) => Err(A::Error::invalid_length(2, &self)),
        }
    }
}
