//! Reads the JSON bodies of controls. Every error starts with the name of the member.

use std::ops::RangeInclusive;
use std::str::FromStr;

use serde_json::{Map, Value};
use wxsub_proto::ValidationError;

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

/// Removes the members of a JSON object one by one. `null` counts as absent.
pub(super) struct JsonReader(Map<String, Value>);

impl JsonReader {
    pub(super) fn parse(request: &Request<'_>) -> Result<Self, ControlError> {
        let body = request
            .body
            .ok_or_else(|| ControlError::new(413, "body: is longer than 64 KiB; send a shorter one"))?;
        let object = serde_json::from_slice(body);
        object.map(Self).map_err(|_| ControlError::bad_request("body: must be one JSON object"))
    }

    /// Removes a member of any type.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    /// Reads a required member.
    pub(super) fn required<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Self, &'static str) -> Result<Option<T>, ControlError>,
    ) -> Result<T, ControlError> {
        let missing = || ControlError::bad_request(format!("{name}: is missing; it is required"));
        read(self, name)?.ok_or_else(missing)
    }

    /// Reads a text and validates it.
    pub(super) fn text<T: FromStr<Err = ValidationError>>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<T>, ControlError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(parse_field(name, &text)?)),
            Some(_) => Err(must_be(name, "text")),
        }
    }

    /// Reads a text or a number and validates it.
    pub(super) fn text_or_number<T: FromStr<Err = ValidationError>>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<T>, ControlError> {
        match self.take(name) {
            Some(Value::Number(number)) => Ok(Some(parse_field(name, &number.to_string())?)),
            None => Ok(None),
            Some(other) => {
                self.0.insert(name.to_owned(), other);
                self.text(name)
            }
        }
    }

    /// Reads a list of texts and parses each one.
    pub(super) fn list<T, E: ToString>(
        &mut self,
        name: &'static str,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<Vec<T>>, ControlError> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let one = |item: &Value| match item.as_str().map(&read) {
            Some(Ok(item)) => Ok(item),
            Some(Err(error)) => Err(ControlError::bad_request(format!("{name}: {}", error.to_string()))),
            None => Err(must_be(name, "a list of texts")),
        };
        let items = value.as_array().ok_or_else(|| must_be(name, "a list of texts"))?;
        items.iter().map(one).collect::<Result<_, _>>().map(Some)
    }

    /// Reads an integer within `bounds`.
    pub(super) fn integer(
        &mut self,
        name: &'static str,
        bounds: RangeInclusive<u64>,
    ) -> Result<Option<u64>, ControlError> {
        self.take(name).map(|value| integer(name, &value, bounds)).transpose()
    }

    /// Reads a boolean.
    pub(super) fn boolean(&mut self, name: &'static str) -> Result<Option<bool>, ControlError> {
        let flag = |value: Value| value.as_bool().ok_or_else(|| must_be(name, "true or false"));
        self.take(name).map(flag).transpose()
    }

    /// Rejects members that were not read. Their names are probably misspelt.
    pub(super) fn finish(self) -> Result<(), ControlError> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(ControlError::bad_request(format!(
                "{}: is not a member of this control; check the spelling",
                name.escape_default()
            ))),
        }
    }
}

/// Converts a value to an integer within `bounds`.
pub(super) fn integer(
    name: &'static str,
    value: &Value,
    bounds: RangeInclusive<u64>,
) -> Result<u64, ControlError> {
    let (min, max) = (*bounds.start(), *bounds.end());
    let number = value.as_u64().filter(|number| bounds.contains(number));
    number.ok_or_else(|| must_be(name, &format!("a whole number from {min} to {max}")))
}

pub(super) fn must_be(name: &str, be: &str) -> ControlError {
    ControlError::bad_request(format!("{name}: must be {be}"))
}

fn parse_field<T: FromStr<Err = ValidationError>>(name: &'static str, text: &str) -> Result<T, ControlError> {
    text.parse().map_err(|invalid: ValidationError| invalid.with_field(name).into())
}
