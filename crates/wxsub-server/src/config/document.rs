//! Reads a TOML document key by key, and collects every problem and warning.

use std::cell::RefCell;
use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::str::FromStr;

use toml::{Table, Value};
use wxsub_proto::{ValidationError, ValidationErrorKind};

/// A problem or warning about one key of a configuration: what is wrong and what to do. Never contains a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    path: String,
    text: String,
}

impl Diagnostic {
    /// The path of the key, such as `apps[0].secret_file`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.text)
    }
}

/// An invalid configuration, with all its problems.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", join(.0))]
pub struct ConfigError(Vec<Diagnostic>);

impl ConfigError {
    /// All problems, in the order in which they were found; never empty.
    pub fn problems(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter()
    }
}

fn join(problems: &[Diagnostic]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Collects problems and warnings while a configuration is read.
#[derive(Debug, Default)]
pub(super) struct Diagnostics {
    problems: RefCell<Vec<Diagnostic>>,
    warnings: RefCell<Vec<Diagnostic>>,
}

impl Diagnostics {
    /// Adds a problem: the configuration is invalid.
    pub(super) fn problem(&self, path: &str, text: impl Display) {
        self.problems.borrow_mut().push(diagnostic(path, text));
    }

    /// Adds a warning: the configuration is valid, but may not be what the operator wants.
    pub(super) fn warning(&self, path: &str, text: impl Display) {
        self.warnings.borrow_mut().push(diagnostic(path, text));
    }

    /// Returns the configuration and the warnings, or all problems. `None` stands for a configuration with a problem.
    pub(super) fn finish<T>(self, config: Option<T>) -> Result<(T, Vec<Diagnostic>), ConfigError> {
        let problems = self.problems.into_inner();
        match config {
            Some(config) if problems.is_empty() => Ok((config, self.warnings.into_inner())),
            _ => Err(ConfigError(problems)),
        }
    }
}

fn diagnostic(path: &str, text: impl Display) -> Diagnostic {
    Diagnostic { path: path.to_owned(), text: text.to_string() }
}

/// A table with the keys that have not been read yet.
pub(super) struct TableReader<'a> {
    path: String,
    table: Table,
    diagnostics: &'a Diagnostics,
}

impl<'a> TableReader<'a> {
    pub(super) fn top(table: Table, diagnostics: &'a Diagnostics) -> Self {
        Self { path: String::new(), table, diagnostics }
    }

    /// The path of a key of this table.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub(super) fn problem(&self, key: &str, text: impl Display) {
        self.diagnostics.problem(&self.path_of(key), text);
    }

    pub(super) fn warning(&self, key: &str, text: impl Display) {
        self.diagnostics.warning(&self.path_of(key), text);
    }

    /// Reads a text. `None` if the key is absent; also if it is no text, which is a problem.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        match self.table.remove(key)? {
            Value::String(text) => Some(text),
            _ => {
                self.problem(key, "must be text in quotes");
                None
            }
        }
    }

    /// Reads a text and parses it. An invalid text is a problem.
    pub(super) fn parsed<T: FromStr<Err = ValidationError>>(&mut self, key: &str) -> Option<T> {
        let text = self.text(key)?;
        text.parse().map_err(|invalid: ValidationError| self.problem(key, invalid.rule())).ok()
    }

    /// Like [`parsed`](Self::parsed), but an absent key is a problem.
    pub(super) fn required<T: FromStr<Err = ValidationError>>(&mut self, key: &str) -> Option<T> {
        self.check_present(key);
        self.parsed(key)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    pub(super) fn check_present(&self, key: &str) {
        if !self.has(key) {
            self.problem(key, ValidationErrorKind::Missing);
        }
    }

    /// Reads a boolean. The default is `false`.
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

    /// Reads a whole number in this range.
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

    /// Reads a list of texts and parses each. Invalid ones are problems, and are left out.
    pub(super) fn list<T>(&mut self, key: &str, mut read: impl FnMut(&str) -> Result<T, String>) -> Vec<T> {
        let values = match self.table.remove(key) {
            None => return Vec::new(),
            Some(Value::Array(values)) => values,
            Some(_) => {
                self.problem(key, "must be a list of texts");
                return Vec::new();
            }
        };
        let mut parse = |(index, value): (usize, &Value)| {
            let value = value.as_str().ok_or_else(|| "must be text in quotes".to_owned()).and_then(&mut read);
            value.map_err(|text| self.problem(&format!("{key}[{index}]"), text)).ok()
        };
        values.iter().enumerate().filter_map(&mut parse).collect()
    }

    /// Reads a text or a list of texts, each with its key. `None` if the key is absent; also if it is invalid, which is a
    /// problem.
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

    /// Reads a nested table. The default is an empty one.
    pub(super) fn section(&mut self, key: &str) -> TableReader<'a> {
        let table = match self.table.remove(key) {
            None => Table::new(),
            Some(Value::Table(table)) => table,
            Some(_) => {
                self.problem(key, format_args!("must be a table: [{key}]"));
                Table::new()
            }
        };
        TableReader { path: self.path_of(key), table, diagnostics: self.diagnostics }
    }

    /// Reads a list of nested tables.
    pub(super) fn sections(&mut self, key: &str) -> Vec<TableReader<'a>> {
        let values = match self.table.remove(key) {
            None => Vec::new(),
            Some(Value::Array(values)) => values,
            Some(other) => vec![other],
        };
        let mut sections = Vec::new();
        for (index, value) in values.into_iter().enumerate() {
            let path = self.path_of(&format!("{key}[{index}]"));
            match value {
                Value::Table(table) => {
                    sections.push(TableReader { path, table, diagnostics: self.diagnostics });
                }
                _ => self.diagnostics.problem(&path, format_args!("must be a table: [[{key}]]")),
            }
        }
        sections
    }

    /// Reports the keys that were not read as unknown.
    pub(super) fn finish(self) {
        for key in self.table.keys() {
            let name: String = key.chars().filter(|c| !c.is_control()).take(64).collect();
            self.problem(&name, "is an unknown key; remove it or correct its spelling");
        }
    }
}
