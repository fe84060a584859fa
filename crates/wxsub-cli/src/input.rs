//! Files and standard input, read as a whole or line by line, with bounded memory.

use std::fs::File;
use std::io::{self, BufRead, Read, Seek, stdin};
use std::path::Path;

use serde::de::IgnoredAny;
use serde_json::{Deserializer, Map, Value};
use wxsub_proto::message::MessageDraft;
use wxsub_proto::{LocalizedText, ValidationError, ValidationErrorKind};

use crate::error::CliError;
use crate::language::{localized, shown};

/// An open input.
pub(crate) struct Input {
    /// Its bytes.
    pub(crate) bytes: Box<dyn Read + Send>,
    /// Length in bytes; `None` if it is not a regular file.
    pub(crate) length: Option<u64>,
}

impl Input {
    /// Opens a file, or standard input if the path is `-`.
    pub(crate) fn open(path: &Path) -> Result<Self, CliError> {
        if path == Path::new("-") {
            return Ok(Self { bytes: Box::new(stdin()), length: None });
        }
        let file = File::open(path).map_err(|error| unreadable(path, &error))?;
        let length = file.metadata().ok().filter(|data| data.is_file()).map(|data| data.len());
        Ok(Self { bytes: Box::new(file), length })
    }

    /// Reads an input of at most `max` bytes.
    pub(crate) fn read(path: &Path, max: u64) -> Result<Vec<u8>, CliError> {
        read_at_most(Self::open(path)?.bytes, max).map_err(|error| unreadable(path, &error))
    }

    /// Reads the first `max` bytes.
    pub(crate) fn read_beginning(path: &Path, max: u64) -> Result<Vec<u8>, CliError> {
        let beginning = Self::open(path)?.bytes.take(max);
        read_at_most(beginning, max).map_err(|error| unreadable(path, &error))
    }
}

/// Opens a file that can be read twice: a copy, if the input is no regular file.
pub(crate) fn open_rewindable(path: &Path) -> Result<File, CliError> {
    let mut input = Input::open(path)?;
    if input.length.is_some() {
        return File::open(path).map_err(|error| unreadable(path, &error));
    }
    let mut copy = tempfile::tempfile().map_err(CliError::unexpected)?;
    let copied = io::copy(&mut input.bytes, &mut copy).and_then(|_| copy.rewind());
    copied.map_err(|error| unreadable(path, &error))?;
    Ok(copy)
}

/// Reads to the end, which comes after at most `max` bytes.
pub(crate) fn read_at_most(input: impl Read, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        let text = localized!("it has more than {max} bytes", "超过 {max} 字节");
        return Err(io::Error::other(text));
    }
    Ok(bytes)
}

/// The text of an error of a file. What to do follows an error of the system; ours say it themselves.
pub(crate) fn with_advice(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(_) => localized!("{error}; check the path and its permissions", "{error}；请检查路径和权限"),
        None => error.to_string(),
    }
}

/// The error for an input that cannot be read.
pub(crate) fn unreadable(path: &Path, error: &io::Error) -> CliError {
    let (path, error) = (path.display(), with_advice(error));
    CliError::usage(localized!("{path} cannot be read: {error}", "{path} 无法读取：{error}"))
}

/// Maximum length of a line, in bytes. No valid message is longer.
pub(crate) const MAX_LINE_BYTES: usize = 65_536;

const LINE_TOO_LONG: ValidationErrorKind = ValidationErrorKind::InvalidFormat {
    expected: LocalizedText::new("a line of at most 65536 bytes", "是不超过 65536 字节的一行"),
};

/// A line that is not blank.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Number of the line in the file, from 1. Blank lines count.
    pub(crate) number: u64,
    /// Bytes without the newline; `None` if the line is longer than [`MAX_LINE_BYTES`].
    pub(crate) text: Option<Vec<u8>>,
    /// Bytes read from the file so far, this line included.
    pub(crate) read: u64,
}

impl Line {
    /// The text, without the byte order mark that concatenated files have in the middle.
    ///
    /// # Errors
    ///
    /// If the line is too long.
    pub(crate) fn json(&self) -> Result<&[u8], ValidationError> {
        let text = self.text.as_deref().ok_or_else(|| ValidationError::new("message", LINE_TOO_LONG))?;
        Ok(text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text))
    }

    /// Parses the message without validation.
    pub(crate) fn draft(&self) -> Result<MessageDraft<'_>, ValidationError> {
        MessageDraft::from_json(self.json()?)
    }
}

/// Iterates over the lines of `input` that are not blank. Ends after the first error.
pub(crate) struct LineReader<R> {
    input: R,
    number: u64,
    read: u64,
    /// Whether a line that is not blank was read.
    is_started: bool,
    failed: bool,
}

impl<R: BufRead> LineReader<R> {
    /// Creates a reader at the first line.
    pub(crate) fn new(input: R) -> Self {
        Self { input, number: 0, read: 0, is_started: false, failed: false }
    }

    /// Number of lines read, blank ones included.
    pub(crate) fn lines_read(&self) -> u64 {
        self.number
    }

    /// Reads the next line, blank or not; `None` at the end.
    fn next_raw(&mut self) -> io::Result<Option<Line>> {
        let mut text = Vec::new();
        let max = MAX_LINE_BYTES as u64 + 1;
        let length = self.input.by_ref().take(max).read_until(b'\n', &mut text)?;
        if length == 0 {
            return Ok(None);
        }
        self.read += length as u64;
        self.number += 1;
        let is_complete = match text.pop_if(|last| *last == b'\n') {
            Some(_) => true,
            None => text.len() <= MAX_LINE_BYTES,
        };
        if !is_complete {
            self.skip_rest()?;
        }
        if self.number == 1 && text.starts_with(BYTE_ORDER_MARK) {
            text.drain(..BYTE_ORDER_MARK.len());
        }
        Ok(Some(Line { number: self.number, text: is_complete.then_some(text), read: self.read }))
    }

    /// Returns the line. Returns an error if it is the first line and the file is not JSON Lines.
    fn check_format(&mut self, line: Line) -> io::Result<Line> {
        let is_first = !std::mem::replace(&mut self.is_started, true);
        let Some(text) = line.text.as_deref().filter(|_| is_first) else { return Ok(line) };
        match format_problem(text, || self.input.fill_buf().unwrap_or_default()) {
            None => Ok(line),
            Some(problem) => {
                self.failed = true;
                Err(io::Error::new(io::ErrorKind::InvalidData, shown(&problem)))
            }
        }
    }

    fn skip_rest(&mut self) -> io::Result<()> {
        loop {
            let buffer = self.input.fill_buf()?;
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let skipped = end.map_or(buffer.len(), |end| end + 1);
            self.input.consume(skipped);
            self.read += skipped as u64;
            if end.is_some() || skipped == 0 {
                return Ok(());
            }
        }
    }
}

/// Counts the lines, blank ones included.
pub(crate) fn count_lines(mut input: impl BufRead) -> io::Result<u64> {
    let mut lines = 0;
    while input.skip_until(b'\n')? > 0 {
        lines += 1;
    }
    Ok(lines)
}

/// Byte order mark, which some editors write at the beginning of a file.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

impl<R: BufRead> Iterator for LineReader<R> {
    type Item = io::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.failed {
            match self.next_raw() {
                Ok(Some(line)) if line.text.as_ref().is_some_and(|text| text.trim_ascii().is_empty()) => {}
                Ok(Some(line)) => return Some(self.check_format(line)),
                Ok(None) => return None,
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

/// Returns why the file is not JSON Lines and what to do.
///
/// Returns `None` if the first line is a JSON object, or if the cause is not certain. `ahead` returns the text after the first
/// line. It is called only if the first line is not enough.
fn format_problem<'a>(first_line: &[u8], ahead: impl FnOnce() -> &'a [u8]) -> Option<LocalizedText> {
    if first_line.starts_with(b"\xff\xfe") || first_line.starts_with(b"\xfe\xff") || is_half_nul(first_line) {
        return Some(UTF_16);
    }
    let Ok(line) = std::str::from_utf8(first_line) else { return Some(NOT_UTF_8) };
    let line = line.trim();
    if serde_json::from_str::<Map<String, Value>>(line).is_ok() {
        return None;
    }
    if line.strip_suffix(',').is_some_and(|line| serde_json::from_str::<Map<String, Value>>(line).is_ok()) {
        return Some(COMMAS);
    }
    if line.strip_prefix('[').is_some_and(|items| items.trim_start().starts_with('{')) {
        return Some(ARRAY);
    }
    if !serde_json::from_str::<IgnoredAny>(line).is_err_and(|error| error.is_eof()) {
        return None;
    }
    let ahead = ahead();
    if line == "[" {
        return ahead.trim_ascii_start().starts_with(b"{").then_some(ARRAY);
    }
    let text = [first_line, ahead].join(&b'\n');
    let first = Deserializer::from_slice(&text).into_iter::<Map<String, Value>>().next();
    matches!(first, Some(Ok(_))).then_some(SEVERAL_LINES)
}

const UTF_16: LocalizedText =
    LocalizedText::new("it is UTF-16 text; save it as UTF-8", "这是 UTF-16 文本；请另存为 UTF-8");
const NOT_UTF_8: LocalizedText = LocalizedText::new(
    "it is not UTF-8 text, most likely GBK; save it as UTF-8",
    "这不是 UTF-8 文本，很可能是 GBK；请另存为 UTF-8",
);
const COMMAS: LocalizedText =
    LocalizedText::new("its lines end with a comma; remove the commas", "行尾有逗号；请删除这些逗号");
const ARRAY: LocalizedText = LocalizedText::new(
    "it is a JSON array; write one object per line, for example with jq -c '.[]'",
    "这是 JSON 数组；请每行写一个对象，例如用 jq -c '.[]'",
);
const SEVERAL_LINES: LocalizedText = LocalizedText::new(
    "its objects span several lines; write each on one line, for example with jq -c .",
    "其中的对象跨多行；请把每个对象写在一行内，例如用 jq -c .",
);

/// Whether the text begins like ASCII in UTF-16. JSON has no NUL byte.
fn is_half_nul(text: &[u8]) -> bool {
    matches!(text, [0, second, ..] if *second != 0) || matches!(text, [first, 0, ..] if *first != 0)
}

#[cfg(test)]
mod tests {
    use wxsub_proto::Language;

    use super::*;

    fn lines(text: &str) -> Vec<(u64, Option<String>)> {
        let lines = LineReader::new(text.as_bytes()).map(Result::unwrap);
        lines.map(|line| (line.number, line.text.map(|text| String::from_utf8(text).unwrap()))).collect()
    }

    #[test]
    fn blank_lines_are_counted_and_skipped() {
        let line = |number, text: &str| (number, Some(text.to_owned()));
        assert_eq!(lines("a\n\n \t\r\nb\r\nc"), [line(1, "a"), line(4, "b\r"), line(5, "c")]);
        assert_eq!(lines(""), []);
        assert_eq!(lines("\n\n"), []);
        assert_eq!(lines("\u{feff}a\n\u{feff}b"), [line(1, "a"), line(2, "\u{feff}b")]);
        assert_eq!(lines("\u{feff}\na"), [line(2, "a")]);
    }

    #[test]
    fn too_long_line_has_no_text() {
        let (fits, long) = ("x".repeat(MAX_LINE_BYTES), "y".repeat(MAX_LINE_BYTES * 3 + 1));
        let read = lines(&format!("{fits}\n{long}\n{fits}z\nb\n{long}"));
        let lengths: Vec<_> =
            read.iter().map(|(number, text)| (*number, text.as_ref().map(String::len))).collect();
        assert_eq!(lengths, [(1, Some(MAX_LINE_BYTES)), (2, None), (3, None), (4, Some(1)), (5, None)]);
    }

    #[test]
    fn all_lines_are_counted() {
        for text in ["", "a", "a\n", "a\n\n", "\n\nb"] {
            let mut reader = LineReader::new(text.as_bytes());
            reader.by_ref().for_each(|line| assert!(line.is_ok()));
            let expected = text.lines().count() as u64;
            assert_eq!((count_lines(text.as_bytes()).unwrap(), reader.lines_read()), (expected, expected));
        }
    }

    #[test]
    fn every_byte_is_counted() {
        let text = format!("a\n\n{}\nb", "y".repeat(MAX_LINE_BYTES * 2));
        let read: Vec<_> = LineReader::new(text.as_bytes()).map(|line| line.unwrap().read).collect();
        assert_eq!(read, [2, MAX_LINE_BYTES as u64 * 2 + 4, text.len() as u64]);
    }

    #[test]
    fn reader_ends_after_an_error() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::IsADirectory.into())
            }
        }
        let mut lines = LineReader::new(io::BufReader::new(Broken));
        assert!(lines.next().unwrap().is_err());
        assert!(lines.next().is_none());
    }

    fn problem_of(file: &[u8]) -> Option<LocalizedText> {
        let end = file.iter().position(|byte| *byte == b'\n').unwrap_or(file.len());
        let (line, rest) = file.split_at(end);
        format_problem(line, || rest.get(1..).unwrap_or_default())
    }

    #[test]
    fn common_format_errors_are_named() {
        let utf16 = |mark: &str| format!("{mark}{{\"title\":\"x\"}}\n").encode_utf16().collect::<Vec<_>>();
        let little = |mark| utf16(mark).into_iter().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
        let big = |mark| utf16(mark).into_iter().flat_map(u16::to_be_bytes).collect::<Vec<_>>();
        for (file, expected) in [
            (little("\u{feff}"), "UTF-16"),
            (big("\u{feff}"), "UTF-16"),
            (little(""), "UTF-16"),
            (big(""), "UTF-16"),
            (b"{\"title\":\"\xc4\xe3\xba\xc3\"}\n{}".to_vec(), "GBK"),
            (b"[{\"a\":1},{\"a\":2}]".to_vec(), "array"),
            (b"[\n  {\n    \"a\": 1\n  }\n]\n".to_vec(), "array"),
            (b"[\r\n{\"a\":1},\r\n{\"a\":2}\r\n]".to_vec(), "array"),
            (b"{\"a\":1},\n{\"a\":2},\n".to_vec(), "comma"),
            (b"{\n  \"a\": {\n    \"b\": 1\n  }\n}\n{\n  \"a\": 2\n}\n".to_vec(), "span several lines"),
            (b"{\n  \"a\": 1\n},\n{\n  \"a\": 2\n}\n".to_vec(), "span several lines"),
        ] {
            let found = problem_of(&file).map(|found| found.in_language(Language::English));
            assert!(found.is_some_and(|found| found.contains(expected)), "{expected}: {found:?}");
        }
    }

    #[test]
    fn one_invalid_line_is_no_problem_of_the_file() {
        for file in [
            &b"{\"a\":1}\n[{\"b\":1}]\n"[..],
            b"{\"a\":1}\n{\"b\":\"\xff\"}\n",
            b"nonsense\n{}",
            b"{\"a\":\n{\"a\":1}\n",
            b"{\"a\":1\n{\"a\":1}\n",
            b"[]\n{}",
            b"[1]\n",
            b"7\n",
            b"{\"a\":1,}\n{\"a\":1}\n",
            b"",
        ] {
            assert_eq!(problem_of(file), None, "{}", String::from_utf8_lossy(file));
        }
    }
}
