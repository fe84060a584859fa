//! The JSON that controls take. Whatever is wrong with it, the error begins with the name of the member.

use std::ops::RangeInclusive;
use std::str::FromStr;

use serde_json::{Map, Value};
use wxsub_proto::Invalid;

use crate::Unknown;
use crate::call::Call;

/// Why a control did nothing.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) status: u16,
    pub(crate) error: String,
}

impl Wrong {
    pub(super) fn new(status: u16, error: impl Into<String>) -> Self {
        let error = error.into();
        Self { status, error }
    }

    pub(super) fn bad(error: impl Into<String>) -> Self {
        Self::new(400, error)
    }
}

impl From<Invalid> for Wrong {
    fn from(invalid: Invalid) -> Self {
        Self::bad(invalid.to_string())
    }
}

impl From<Unknown> for Wrong {
    fn from(unknown: Unknown) -> Self {
        Self::bad(unknown.to_string())
    }
}

/// The members of one JSON object, taken out one by one; `null` counts as absent.
pub(super) struct Input(Map<String, Value>);

impl Input {
    pub(super) fn read(call: &Call<'_>) -> Result<Self, Wrong> {
        let body = call.body.ok_or_else(|| Wrong::new(413, "body: is longer than 64 KiB"))?;
        let object = serde_json::from_slice(body);
        object.map(Self).map_err(|_| Wrong::bad("body: must be one JSON object"))
    }

    /// Whatever the member is.
    pub(super) fn value(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    /// A member that has to be there.
    pub(super) fn required<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Self, &'static str) -> Result<Option<T>, Wrong>,
    ) -> Result<T, Wrong> {
        let missing = || Wrong::bad(format!("{name}: is missing; it is required"));
        read(self, name)?.ok_or_else(missing)
    }

    /// Text that keeps the rules of its type.
    pub(super) fn text<T: FromStr<Err = Invalid>>(&mut self, name: &'static str) -> Result<Option<T>, Wrong> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(parsed(name, &text)?)),
            Some(_) => Err(must(name, "text")),
        }
    }

    /// Text or a number, that keeps the rules of its type.
    pub(super) fn text_or_number<T: FromStr<Err = Invalid>>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<T>, Wrong> {
        match self.value(name) {
            Some(Value::Number(number)) => Ok(Some(parsed(name, &number.to_string())?)),
            None => Ok(None),
            Some(other) => {
                self.0.insert(name.to_owned(), other);
                self.text(name)
            }
        }
    }

    /// A list of texts, read one by one.
    pub(super) fn list<T, E: ToString>(
        &mut self,
        name: &'static str,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<Vec<T>>, Wrong> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        let one = |item: &Value| match item.as_str().map(&read) {
            Some(Ok(item)) => Ok(item),
            Some(Err(wrong)) => Err(Wrong::bad(format!("{name}: {}", wrong.to_string()))),
            None => Err(must(name, "a list of texts")),
        };
        let items = value.as_array().ok_or_else(|| must(name, "a list of texts"))?;
        items.iter().map(one).collect::<Result<_, _>>().map(Some)
    }

    /// A whole number within bounds.
    pub(super) fn whole(
        &mut self,
        name: &'static str,
        bounds: RangeInclusive<u64>,
    ) -> Result<Option<u64>, Wrong> {
        self.value(name).map(|value| whole(name, &value, bounds)).transpose()
    }

    /// True or false.
    pub(super) fn flag(&mut self, name: &'static str) -> Result<Option<bool>, Wrong> {
        let flag = |value: Value| value.as_bool().ok_or_else(|| must(name, "true or false"));
        self.value(name).map(flag).transpose()
    }

    /// Refuses what nobody took: most likely a misspelt name.
    pub(super) fn end(self) -> Result<(), Wrong> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => {
                Err(Wrong::bad(format!("{}: is not a member that this control knows", name.escape_default())))
            }
        }
    }
}

/// Reads one value as a whole number within bounds.
pub(super) fn whole(name: &'static str, value: &Value, bounds: RangeInclusive<u64>) -> Result<u64, Wrong> {
    let (min, max) = (*bounds.start(), *bounds.end());
    let number = value.as_u64().filter(|number| bounds.contains(number));
    number.ok_or_else(|| must(name, &format!("a whole number from {min} to {max}")))
}

pub(super) fn must(name: &str, be: &str) -> Wrong {
    Wrong::bad(format!("{name}: must be {be}"))
}

fn parsed<T: FromStr<Err = Invalid>>(name: &'static str, text: &str) -> Result<T, Wrong> {
    text.parse().map_err(|invalid: Invalid| invalid.in_field(name).into())
}
