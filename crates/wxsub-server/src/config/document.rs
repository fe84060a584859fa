//! Reads a TOML document key by key, and collects every problem and warning with its line.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::hash::Hash;
use std::net::SocketAddr;
use std::ops::{Range, RangeInclusive};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use wxsub_core::clock::UnixMillis;
use wxsub_core::rfc3339;
use wxsub_proto::redact::sanitize_line;
use wxsub_proto::{LocalizedText, ValidationError, ValidationErrorKind, localized_text};

/// Where a key is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Place {
    /// `None` for a text that is in no file.
    file: Option<Arc<Path>>,
    line: Option<usize>,
    path: String,
}

impl Place {
    /// A whole file.
    pub(super) fn of_file(file: &Path) -> Self {
        Self { file: Some(file.into()), ..Self::default() }
    }

    /// File and line: `wxsub.toml:12`, or `line 12`.
    fn localized(&self) -> LocalizedText<String> {
        match (&self.file, self.line) {
            (Some(file), line) => {
                let (file, line) = (file.display(), line.map(|line| format!(":{line}")).unwrap_or_default());
                localized_text!("{file}{line}", "{file}{line}")
            }
            (None, Some(line)) => localized_text!("line {line}", "第 {line} 行"),
            (None, None) => localized_text!("the configuration", "配置"),
        }
    }
}

/// The tables alone.
pub(super) fn without_places<T>(tables: Vec<(Place, T)>) -> Vec<T> {
    tables.into_iter().map(|(_, table)| table).collect()
}

/// A problem or warning about one key of a configuration: what is wrong and what to do. Never contains a secret.
#[derive(Debug, Clone, PartialEq, Eq, derive_more::Display)]
#[display("{}", self.localized())]
pub struct Diagnostic {
    place: Place,
    text: LocalizedText<String>,
}

impl Diagnostic {
    /// A diagnostic of a key that is not about the text of the configuration.
    pub(crate) fn new(path: impl Into<String>, text: impl Into<LocalizedText<String>>) -> Self {
        Self::at(Place { path: path.into(), ..Place::default() }, text)
    }

    fn at(place: Place, text: impl Into<LocalizedText<String>>) -> Self {
        Self { place, text: text.into() }
    }

    /// The file of the key; `None` for a configuration that is in no file.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.place.file.as_deref()
    }

    /// The line of the key, from 1. For an absent key, the line of its table; `None` if that is the whole file.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.place.line
    }

    /// The path of the key in its file, such as `apps[0].secret_file`. Empty if it is about the whole file.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.place.path
    }

    /// The line for people: `wxsub.toml:12: apps[0].secret_file: is missing; …`.
    #[must_use]
    pub fn localized(&self) -> LocalizedText<String> {
        let (place, text) = (self.place.localized(), self.without_line());
        match self.place {
            Place { file: None, line: None, .. } => text,
            _ => localized_text!("{place}: {text}", "{place}：{text}"; place, text),
        }
    }

    /// Path and text, for a configuration that is not in a file.
    #[must_use]
    pub fn without_line(&self) -> LocalizedText<String> {
        let Self { place: Place { path, .. }, text } = self;
        if path.is_empty() {
            text.clone()
        } else {
            localized_text!("{path}: {text}", "{path}：{text}"; text)
        }
    }
}

/// An invalid configuration, with all its problems.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", join(.0))]
pub struct ConfigError(Vec<Diagnostic>);

impl ConfigError {
    /// The problem of a whole file.
    pub(super) fn of_file(file: &Path, text: impl Into<LocalizedText<String>>) -> Self {
        Self(vec![Diagnostic::at(Place::of_file(file), text)])
    }

    /// All problems, by file and line, those of the main file first; never empty.
    pub fn problems(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter()
    }
}

fn join(problems: &[Diagnostic]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// The text of a configuration, and what was found wrong with it while it is read.
#[derive(Debug)]
pub(super) struct Document<'a> {
    text: &'a str,
    file: Option<Arc<Path>>,
    /// Where lines end.
    newlines: Vec<usize>,
    problems: RefCell<Vec<Diagnostic>>,
    warnings: RefCell<Vec<Diagnostic>>,
}

impl<'a> Document<'a> {
    pub(super) fn new(text: &'a str, file: Option<&Path>) -> Self {
        let newlines = text.match_indices('\n').map(|(index, _)| index).collect();
        let (problems, warnings) = Default::default();
        Self { text, file: file.map(Arc::from), newlines, problems, warnings }
    }

    /// Parses the text. Every syntax error is a problem.
    pub(super) fn parse(&self) -> Option<TableReader<'_>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            let line = error.span().map(|span| self.line_of(&span));
            let error = sanitize_line(error.message().chars());
            let text = localized_text!("is not TOML: {error}", "不是 TOML：{error}");
            let place = Place { file: self.file.clone(), line, path: String::new() };
            self.problems.borrow_mut().push(Diagnostic::at(place, text));
        }
        errors.is_empty().then(|| TableReader::new(self, String::new(), None, table.into_inner()))
    }

    /// Returns the configuration and the warnings, or all problems. `None` stands for a configuration with a problem.
    pub(super) fn finish<T>(self, config: Option<T>) -> Result<(T, Vec<Diagnostic>), ConfigError> {
        let mut problems = self.problems.into_inner();
        let mut warnings = self.warnings.into_inner();
        // The main file comes first, then the others by their names. What is about a whole file follows its lines.
        let place = |diagnostic: &Diagnostic| {
            let Place { file, line, .. } = &diagnostic.place;
            (
                file.as_ref().filter(|file| self.file.as_ref() != Some(*file)).cloned(),
                line.unwrap_or(usize::MAX),
            )
        };
        problems.sort_by_cached_key(place);
        warnings.sort_by_cached_key(place);
        match config {
            Some(config) if problems.is_empty() => Ok((config, warnings)),
            _ => Err(ConfigError(problems)),
        }
    }

    fn line_of(&self, span: &Range<usize>) -> usize {
        1 + self.newlines.partition_point(|newline| *newline < span.start)
    }
}

/// A table with the keys that have not been read yet.
pub(super) struct TableReader<'a> {
    document: &'a Document<'a>,
    path: String,
    /// The line of the table's header. `None` for the whole file.
    line: Option<usize>,
    /// The lines of all keys, and of the items of lists that have been read.
    lines: HashMap<String, usize>,
    /// The keys that were looked for and are absent. A key that is left over may be one of them, misspelt.
    absent: RefCell<Vec<String>>,
    table: DeTable<'a>,
}

impl<'a> TableReader<'a> {
    fn new(document: &'a Document<'a>, path: String, line: Option<usize>, table: DeTable<'a>) -> Self {
        let line_of = |key: &Spanned<_>| document.line_of(&key.span());
        let lines = table.keys().map(|key| (key.get_ref().to_string(), line_of(key))).collect();
        Self { document, path, line, lines, absent: RefCell::default(), table }
    }

    /// The path of a key of this table.
    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn place_of(&self, key: &str) -> Place {
        let list = key.split_once('[').map_or(key, |(list, _)| list);
        let line = self.lines.get(key).or_else(|| self.lines.get(list)).copied().or(self.line);
        Place { file: self.document.file.clone(), line, path: self.path_of(key) }
    }

    fn place(&self) -> Place {
        Place { file: self.document.file.clone(), line: self.line, path: self.path.clone() }
    }

    /// The folder of the file. Empty for a text that is in no file.
    pub(super) fn folder(&self) -> &Path {
        self.document.file.as_deref().and_then(Path::parent).unwrap_or(Path::new(""))
    }

    /// Adds a problem with a fixed text: the configuration is invalid.
    pub(super) fn refuse(&self, key: &str, english: &'static str, chinese: &'static str) {
        self.problem(key, LocalizedText::new(english, chinese));
    }

    /// Like [`refuse`](Self::refuse), in place of a value.
    pub(super) fn refused<T>(&self, key: &str, english: &'static str, chinese: &'static str) -> Option<T> {
        self.refuse(key, english, chinese);
        None
    }

    /// Like [`refuse`](Self::refuse), with a text that is made.
    pub(super) fn problem(&self, key: &str, text: impl Into<LocalizedText<String>>) {
        self.problem_at(self.place_of(key), text);
    }

    pub(super) fn problem_at(&self, place: Place, text: impl Into<LocalizedText<String>>) {
        self.document.problems.borrow_mut().push(Diagnostic::at(place, text));
    }

    /// Adds a problem if the table has this key, which has an effect only with another one. `what` is to be removed otherwise.
    pub(super) fn check_needs(&self, key: &str, other: &str, what: LocalizedText) {
        if self.has(key) {
            let text = localized_text!(
                "has an effect only with {other}; add it, or remove {what}",
                "只有配置了 {other} 才起作用；请添加 {other}，或删除{what}";
                what
            );
            self.problem(key, text);
        }
    }

    /// Adds a warning: the configuration is valid, but may not be what the operator wants.
    pub(super) fn warn(&self, key: &str, english: &'static str, chinese: &'static str) {
        self.warning(key, LocalizedText::new(english, chinese));
    }

    /// Like [`warn`](Self::warn), with a text that is made.
    pub(super) fn warning(&self, key: &str, text: impl Into<LocalizedText<String>>) {
        self.warning_at(self.place_of(key), text);
    }

    pub(super) fn warning_at(&self, place: Place, text: impl Into<LocalizedText<String>>) {
        self.document.warnings.borrow_mut().push(Diagnostic::at(place, text));
    }

    /// Adds the problems and warnings of another document.
    pub(super) fn absorb(&self, other: Document<'_>) {
        self.document.problems.borrow_mut().extend(other.problems.into_inner());
        self.document.warnings.borrow_mut().extend(other.warnings.into_inner());
    }

    /// Drops a key that has a problem already.
    pub(super) fn ignore(&mut self, key: &str) {
        self.table.remove(key);
    }

    fn take(&mut self, key: &str) -> Option<DeValue<'a>> {
        self.take_spanned(key).map(Spanned::into_inner)
    }

    fn take_spanned(&mut self, key: &str) -> Option<Spanned<DeValue<'a>>> {
        if !self.has(key) {
            return None;
        }
        self.table.remove(key)
    }

    /// Reads a text. `None` if the key is absent; also if it is no text, which is a problem.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        let value = self.take(key)?;
        self.text_of(key, value)
    }

    fn text_of(&self, key: &str, value: DeValue<'_>) -> Option<String> {
        match value {
            DeValue::String(text) => Some(text.into_owned()),
            _ => self.refused(key, "must be text in quotes", "必须是带引号的文本"),
        }
    }

    /// Reads a text and parses it. If that gives nothing, adds a problem with this text in English and Chinese.
    pub(super) fn text_as<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Option<T>,
        english: &'static str,
        chinese: &'static str,
    ) -> Option<T> {
        let value = parse(&self.text(key)?);
        if value.is_none() {
            self.refuse(key, english, chinese);
        }
        value
    }

    /// Reads the address of a listener.
    pub(super) fn address(&mut self, key: &str) -> Option<SocketAddr> {
        self.text_as(
            key,
            |text| text.parse().ok(),
            "must be an address and a port, like 127.0.0.1:8460",
            "必须是地址和端口，例如 127.0.0.1:8460",
        )
    }

    /// Adds a problem for each value that is used twice. Each comes with the place of its table.
    pub(super) fn check_unique<'p, T: Eq + Hash + fmt::Display>(
        &self,
        key: &str,
        values: impl Iterator<Item = (&'p Place, T)>,
    ) {
        let mut seen = HashMap::new();
        for (place, value) in values {
            match seen.entry(value) {
                Entry::Vacant(entry) => {
                    entry.insert(place);
                }
                Entry::Occupied(entry) => {
                    let (value, first) = (entry.key(), entry.get().localized());
                    let text = localized_text!(
                        "{key} {value} is used twice, first in {first}; make it unique",
                        "{key} {value} 重复，首次出现：{first}；请改为各不相同";
                        first
                    );
                    self.problem_at(place.clone(), text);
                }
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
        let has_key = self.table.contains_key(key);
        if !has_key {
            self.absent.borrow_mut().push(key.to_owned());
        }
        has_key
    }

    /// Whether the key has a list without items.
    pub(super) fn has_empty_list(&self, key: &str) -> bool {
        matches!(self.table.get(key).map(Spanned::get_ref), Some(DeValue::Array(values)) if values.is_empty())
    }

    pub(super) fn check_present(&self, key: &str) {
        if !self.has(key) {
            self.problem(key, &ValidationErrorKind::Missing);
        }
    }

    /// Reads a boolean. The default is `false`.
    pub(super) fn flag(&mut self, key: &str) -> bool {
        match self.take(key) {
            None => false,
            Some(DeValue::Boolean(flag)) => flag,
            Some(_) => self.refused(key, "must be true or false", "必须是 true 或 false").unwrap_or_default(),
        }
    }

    /// Reads the last day (in UTC) or the time until which something is valid.
    pub(super) fn expiry(&mut self, key: &str) -> Option<UnixMillis> {
        let end = match self.take(key)? {
            DeValue::Datetime(end) if end.time.is_none() => rfc3339::parse(&format!("{end}T00:00:00Z"))
                .map(|start| start + Duration::from_secs(24 * 3600)),
            DeValue::Datetime(end) => rfc3339::parse(&end.to_string()),
            _ => Err(String::new()),
        };
        let rule = LocalizedText::new(
            "must be a date like 2027-01-31, the last day in UTC, or a time like 2027-01-31T12:00:00+08:00, without quotes",
            "必须是日期（如 2027-01-31，即 UTC 时间的最后一天）或时间（如 2027-01-31T12:00:00+08:00），不带引号",
        );
        end.map_err(|_| self.problem(key, rule)).ok()
    }

    /// Reads a whole number in this range.
    pub(super) fn number(&mut self, key: &str, range: RangeInclusive<u32>, default: u32) -> u32 {
        let number = match self.take(key) {
            None => return default,
            Some(DeValue::Integer(number)) => u32::from_str_radix(number.as_str(), number.radix()).ok(),
            Some(_) => None,
        };
        number.filter(|number| range.contains(number)).unwrap_or_else(|| {
            let (min, max) = (range.start(), range.end());
            self.problem(
                key,
                localized_text!("must be a whole number from {min} to {max}", "必须是 {min} 到 {max} 的整数"),
            );
            default
        })
    }

    /// Reads a list of texts and parses each. Invalid ones are problems, and are left out.
    pub(super) fn list<T>(
        &mut self,
        key: &str,
        mut read: impl FnMut(&str) -> Result<T, LocalizedText<String>>,
    ) -> Vec<T> {
        let values = match self.take(key) {
            None => return Vec::new(),
            Some(DeValue::Array(values)) => values,
            Some(_) => {
                return self.refused(key, "must be a list of texts", "必须是文本列表").unwrap_or_default();
            }
        };
        let texts: Vec<_> = values
            .into_iter()
            .enumerate()
            .filter_map(|(index, value)| self.item(key, index, value))
            .collect();
        let parse = |(key, text): (String, String)| read(&text).map_err(|text| self.problem(&key, text)).ok();
        texts.into_iter().filter_map(parse).collect()
    }

    /// Reads a text or a list of texts, each with its key. `None` if the key is absent; also if it is invalid, which is a
    /// problem.
    pub(super) fn texts(&mut self, key: &str) -> Option<Vec<(String, String)>> {
        match self.take(key)? {
            DeValue::String(text) => Some(vec![(key.to_owned(), text.into_owned())]),
            DeValue::Array(values) => {
                let items = values.into_iter().enumerate();
                let texts: Vec<_> = items.map(|(index, value)| self.item(key, index, value)).collect();
                texts.into_iter().collect()
            }
            _ => self.refused(
                key,
                "must be text in quotes, or a list of such texts",
                "必须是带引号的文本，或这种文本的列表",
            ),
        }
    }

    /// Reads one text of a list, and returns it with its key.
    fn item(&mut self, key: &str, index: usize, value: Spanned<DeValue<'a>>) -> Option<(String, String)> {
        let key = format!("{key}[{index}]");
        self.lines.insert(key.clone(), self.document.line_of(&value.span()));
        let text = self.text_of(&key, value.into_inner())?;
        Some((key, text))
    }

    /// Reads a nested table. The default is an empty one.
    pub(super) fn section(&mut self, key: &str) -> TableReader<'a> {
        let table = match self.take(key) {
            None => DeTable::new(),
            Some(DeValue::Table(table)) => table,
            Some(_) => {
                self.problem(key, localized_text!("must be a table: [{key}]", "必须是表：[{key}]"));
                DeTable::new()
            }
        };
        TableReader::new(self.document, self.path_of(key), self.lines.get(key).copied(), table)
    }

    /// Reads a nested table, if there is one.
    pub(super) fn optional_section(&mut self, key: &str) -> Option<TableReader<'a>> {
        self.has(key).then(|| self.section(key))
    }

    /// Reads a list of nested tables with `read`. Returns each result with the place of its table.
    pub(super) fn placed_sections<T>(
        &mut self,
        key: &str,
        mut read: impl FnMut(TableReader<'a>) -> Option<T>,
    ) -> Vec<(Place, T)> {
        let sections = self.sections(key).into_iter();
        sections.filter_map(|section| Some((section.place(), read(section)?))).collect()
    }

    /// Reads a list of nested tables.
    pub(super) fn sections(&mut self, key: &str) -> Vec<TableReader<'a>> {
        let Some(value) = self.take_spanned(key) else { return Vec::new() };
        let span = value.span();
        let values: Vec<_> = match value.into_inner() {
            DeValue::Array(values) => values.into_iter().collect(),
            single => vec![Spanned::new(span, single)],
        };
        let mut sections = Vec::new();
        for (index, value) in values.into_iter().enumerate() {
            let key_of_item = format!("{key}[{index}]");
            let line = self.document.line_of(&value.span());
            self.lines.insert(key_of_item.clone(), line);
            match value.into_inner() {
                DeValue::Table(table) => {
                    sections.push(TableReader::new(
                        self.document,
                        self.path_of(&key_of_item),
                        Some(line),
                        table,
                    ));
                }
                _ => self.problem(
                    &key_of_item,
                    localized_text!("must be a table: [[{key}]]", "必须是表：[[{key}]]"),
                ),
            }
        }
        sections
    }

    /// Reports the keys that were not read as unknown.
    pub(super) fn finish(self) {
        self.finish_with(LocalizedText::new(
            "is an unknown key; remove it or correct its spelling",
            "是未知的配置项；请删除，或改正拼写",
        ));
    }

    /// Reports the keys that were not read with this text, and with the key that each is most likely meant to be.
    pub(super) fn finish_with(self, text: LocalizedText) {
        for key in self.table.keys() {
            let name = sanitize_line(key.get_ref().chars().take(64));
            let line = Some(self.document.line_of(&key.span()));
            let text = match self.meant_by(&name) {
                Some(meant) => {
                    // That it is missing follows from this.
                    let path = self.path_of(&meant);
                    self.document.problems.borrow_mut().retain(|problem| problem.place.path != path);
                    localized_text!("{text}; the right name may be {meant}", "{text}；正确的名称可能是 {meant}"; text)
                }
                None => text.into(),
            };
            self.problem_at(Place { line, ..self.place_of(&name) }, text);
        }
    }

    /// The absent key that differs from this name by the fewest edits, at most one for every three letters.
    fn meant_by(&self, name: &str) -> Option<String> {
        let absent = self.absent.borrow();
        let distances = absent.iter().map(|key| (strsim::osa_distance(name, key), key));
        let near = distances.filter(|(distance, key)| *distance <= key.len().div_ceil(3).min(2));
        near.min_by_key(|(distance, _)| *distance).map(|(_, key)| key.clone())
    }
}
