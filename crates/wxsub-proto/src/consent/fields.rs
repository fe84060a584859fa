//! Parsing of a callback: every input format becomes the same list of names and values.

use serde::de::IgnoredAny;
use serde_json::Value;

use crate::codec::{decode_query, parse_object_without_duplicates};
use crate::{ValidationError, ValidationErrorKind};

/// The maximum size of a callback in bytes. Real ones have a few hundred.
const MAX_BYTES: usize = 16 * 1024;

pub(super) const FIELDS: [&str; 5] = ["openid", "template_id", "action", "scene", "reserved"];

/// The five documented fields of a callback. Unknown names are ignored. A duplicate name is an error.
#[derive(Default)]
pub(super) struct CallbackFields([Option<String>; 5]);

impl CallbackFields {
    /// Parses a callback URL, a query string, JSON, a printed map, or `key:value` lines. The text decides which.
    pub(super) fn read(text: &str) -> Result<Self, ValidationError> {
        if text.len() > MAX_BYTES {
            return Err(ValidationError::new(
                "callback",
                ValidationErrorKind::TooLong { max: MAX_BYTES, actual: text.len() },
            ));
        }
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
        if text.is_empty() {
            return Err(ValidationError::new("callback", ValidationErrorKind::Empty));
        }
        if let Some(members) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
            return match serde_json::from_str::<IgnoredAny>(text) {
                Ok(_) => Self::from_json(text),
                Err(_) => Self::from_printed_map(members),
            };
        }
        match text.find(['=', ':']).map(|at| text.split_at(at)) {
            Some((_, rest)) if rest.starts_with("://") => {
                Self::from_query(text.split_once('?').map_or("", |(_, query)| query))
            }
            Some((_, rest)) if rest.starts_with(':') => Self::from_lines(text),
            Some((before, _)) if before.contains('?') => {
                Self::from_query(text.split_once('?').map_or("", |(_, query)| query))
            }
            Some(_) => Self::from_query(text),
            None => {
                let expected =
                    "a callback URL, a query string, a JSON object, a printed map or key:value lines";
                Err(ValidationError::new("callback", ValidationErrorKind::InvalidFormat { expected }))
            }
        }
    }

    /// Takes the value of one field out.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let index = FIELDS.iter().position(|field| *field == name)?;
        self.0.get_mut(index)?.take()
    }

    fn put(&mut self, name: &str, value: String) -> Result<(), ValidationError> {
        // The mobile SDKs spell two of the names in their own way.
        let name = match name {
            "openId" => "openid",
            "templateId" | "templateID" => "template_id",
            name => name,
        };
        let Some((index, field)) = FIELDS.iter().enumerate().find(|(_, field)| **field == name) else {
            return Ok(());
        };
        match self.0.get_mut(index) {
            Some(slot @ None) => *slot = Some(value),
            // Some bridges for phones hand over an openid under both spellings.
            Some(Some(first)) if *field == "openid" && *first == value => {}
            _ => return Err(ValidationError::new(field, ValidationErrorKind::Duplicate)),
        }
        Ok(())
    }

    fn from_query(query: &str) -> Result<Self, ValidationError> {
        // A URL that was copied out of HTML has `&amp;` where `&` was.
        let query = query.split('#').next().unwrap_or_default().replace("&amp;", "&");
        let mut fields = Self::default();
        for (name, value) in decode_query(&query).map_err(|_| not_utf8())? {
            fields.put(&name, value)?;
        }
        Ok(fields)
    }

    fn from_json(text: &str) -> Result<Self, ValidationError> {
        let object = parse_object_without_duplicates(text.as_bytes()).map_err(|_| {
            let expected = "one JSON object in which no name stands twice";
            ValidationError::new("callback", ValidationErrorKind::InvalidFormat { expected })
        })?;
        let mut fields = Self::default();
        for (name, value) in object {
            match value {
                Value::Null => {}
                Value::String(text) => fields.put(&name, text)?,
                other => fields.put(&name, other.to_string())?,
            }
        }
        Ok(fields)
    }

    /// A map as Dart, JavaScript, Java, Swift or Python print it: `{openId: o, scene: 1000}`, `{openId=o, scene=1000}`,
    /// `{ openId = o; scene = 1000; }`, with or without quotes.
    fn from_printed_map(members: &str) -> Result<Self, ValidationError> {
        let mut fields = Self::default();
        let members = members.split([',', ';', '\n']).map(str::trim).filter(|member| !member.is_empty());
        for member in members {
            let Some((name, value)) = member.split_once([':', '=']) else {
                let expected = "one JSON object, or a map printed as {name: value, …}";
                return Err(ValidationError::new(
                    "callback",
                    ValidationErrorKind::InvalidFormat { expected },
                ));
            };
            let [name, value] = [name, value].map(|text| text.trim().trim_matches(['"', '\'']));
            if !["null", "undefined", "None", "nil", "<null>"].contains(&value) {
                fields.put(name, value.to_owned())?;
            }
        }
        Ok(fields)
    }

    fn from_lines(text: &str) -> Result<Self, ValidationError> {
        let mut fields = Self::default();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let Some((name, value)) = line.split_once(':') else {
                return Err(ValidationError::new(
                    "callback",
                    ValidationErrorKind::InvalidFormat { expected: "lines of the form key:value" },
                ));
            };
            fields.put(name.trim(), value.trim().to_owned())?;
        }
        Ok(fields)
    }
}

fn not_utf8() -> ValidationError {
    ValidationError::new("callback", ValidationErrorKind::InvalidFormat { expected: "percent-encoded UTF-8" })
}
