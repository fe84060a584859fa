//! One table of the file, taken apart key by key, so that every problem is found and not only the first.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use toml::{Table, Value};
use wxsub_proto::{ValidationError, ValidationErrorKind};

use super::diagnostic::Diagnostics;

/// A table, and what has not been taken out of it yet.
pub(super) struct TableReader<'a> {
    place: String,
    table: Table,
    findings: &'a Diagnostics,
}

impl<'a> TableReader<'a> {
    pub(super) fn top(table: Table, findings: &'a Diagnostics) -> Self {
        Self { place: String::new(), table, findings }
    }

    /// Where a key of it stands.
    pub(super) fn place(&self, key: &str) -> String {
        if self.place.is_empty() { key.to_owned() } else { format!("{}.{key}", self.place) }
    }

    pub(super) fn problem(&self, key: &str, text: impl Display) {
        self.findings.problem(&self.place(key), text);
    }

    pub(super) fn warning(&self, key: &str, text: impl Display) {
        self.findings.warning(&self.place(key), text);
    }

    /// The text of this key; nothing if it is absent, or is something else, which is a problem then.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        match self.table.remove(key)? {
            Value::String(text) => Some(text),
            _ => {
                self.problem(key, "must be text in quotes");
                None
            }
        }
    }

    /// What the text of this key says; a problem if it breaks its rule.
    pub(super) fn parsed<T: FromStr<Err = ValidationError>>(&mut self, key: &str) -> Option<T> {
        let text = self.text(key)?;
        text.parse().map_err(|invalid: ValidationError| self.problem(key, invalid.rule())).ok()
    }

    /// As [`parsed`](Self::parsed), and a problem if the key is absent.
    pub(super) fn required<T: FromStr<Err = ValidationError>>(&mut self, key: &str) -> Option<T> {
        self.must_have(key);
        self.parsed(key)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    pub(super) fn must_have(&self, key: &str) {
        if !self.has(key) {
            self.problem(key, ValidationErrorKind::Missing);
        }
    }

    /// `true` or `false`; `false` if it is absent.
    pub(super) fn flag(&mut self, key: &str) -> bool {
        match self.table.remove(key) {
            None => false,
            Some(Value::Boolean(flag)) => flag,
            Some(_) => {
                self.problem(key, "must be true or false");
                false
            }
        }
    }

    /// A whole number of this range; the default if it is absent.
    pub(super) fn number(&mut self, key: &str, range: RangeInclusive<u32>, default: u32) -> u32 {
        let Some(value) = self.table.remove(key) else { return default };
        let number = value.as_integer().and_then(|number| u32::try_from(number).ok());
        number.filter(|number| range.contains(number)).unwrap_or_else(|| {
            self.problem(
                key,
                format_args!("must be a whole number from {} to {}", range.start(), range.end()),
            );
            default
        })
    }

    /// A list of texts, read one by one. Those that cannot be read have said why.
    pub(super) fn list<T>(&mut self, key: &str, mut read: impl FnMut(&str) -> Result<T, String>) -> Vec<T> {
        let values = match self.table.remove(key) {
            None => return Vec::new(),
            Some(Value::Array(values)) => values,
            Some(_) => {
                self.problem(key, "must be a list of texts");
                return Vec::new();
            }
        };
        let mut one = |(index, value): (usize, &Value)| {
            let read = value.as_str().ok_or_else(|| "must be text in quotes".to_owned()).and_then(&mut read);
            read.map_err(|text| self.problem(&format!("{key}[{index}]"), text)).ok()
        };
        values.iter().enumerate().filter_map(&mut one).collect()
    }

    /// A text or a list of texts, each with its key. Nothing if it is absent, or is something else, which is a problem then.
    pub(super) fn texts(&mut self, key: &str) -> Option<Vec<(String, String)>> {
        let values = match self.table.remove(key)? {
            Value::String(text) => return Some(vec![(key.to_owned(), text)]),
            Value::Array(values) => values,
            _ => {
                self.problem(key, "must be text in quotes, or a list of such texts");
                return None;
            }
        };
        let texts = values.iter().enumerate().map(|(index, value)| {
            let key = format!("{key}[{index}]");
            match value.as_str() {
                Some(text) => Some((key, text.to_owned())),
                None => {
                    self.problem(&key, "must be text in quotes");
                    None
                }
            }
        });
        texts.collect()
    }

    /// A table within it; an empty one if it is absent.
    pub(super) fn section(&mut self, key: &str) -> TableReader<'a> {
        let table = match self.table.remove(key) {
            None => Table::new(),
            Some(Value::Table(table)) => table,
            Some(_) => {
                self.problem(key, format_args!("must be a table: [{key}]"));
                Table::new()
            }
        };
        TableReader { place: self.place(key), table, findings: self.findings }
    }

    /// A list of tables within it.
    pub(super) fn sections(&mut self, key: &str) -> Vec<TableReader<'a>> {
        let values = match self.table.remove(key) {
            None => Vec::new(),
            Some(Value::Array(values)) => values,
            Some(other) => vec![other],
        };
        let mut sections = Vec::new();
        for (index, value) in values.into_iter().enumerate() {
            let place = self.place(&format!("{key}[{index}]"));
            match value {
                Value::Table(table) => sections.push(TableReader { place, table, findings: self.findings }),
                _ => self.findings.problem(&place, format_args!("must be a table: [[{key}]]")),
            }
        }
        sections
    }

    /// Whatever is left is known to nobody.
    pub(super) fn finish(self) {
        for key in self.table.keys() {
            let shown: String = key.chars().filter(|c| !c.is_control()).take(64).collect();
            self.problem(&shown, "is not a key that is known here; remove it or correct its spelling");
        }
    }
}
