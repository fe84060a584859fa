//! Retired words stay out of code and documents.

use std::borrow::Cow;
use std::collections::BTreeSet;

use regex::Regex;

use super::tree::text_files;

const LIST: &str = "tests/repo_lints/retired-words.txt";

/// Finds the entries of a list in a text. One with a capital letter or an underscore matches as it is. Others match in upper and lower
/// case, also as a part of a name, and all words with this beginning if they end with `*`.
struct Retired {
    entries: Regex,
    /// Where a word of a name ends, and the next one begins.
    next_word: Regex,
}

impl Retired {
    fn read(list: &str) -> Self {
        let pattern = |entry: &str| match entry.strip_suffix('*') {
            _ if entry.contains(|character: char| character.is_uppercase() || character == '_') => {
                entry.to_owned()
            }
            Some(beginning) => format!(r"(?i:{beginning}\w*)"),
            None => format!("(?i:{entry})"),
        };
        let entries = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let entries = entries.map(pattern).collect::<Vec<_>>().join("|");
        let regex = |pattern: &str| Regex::new(pattern).unwrap();
        Self { entries: regex(&format!(r"\b(?:{entries})\b")), next_word: regex("_|([a-z0-9])([A-Z])") }
    }

    /// What is retired in this text.
    fn find(&self, text: &str) -> BTreeSet<String> {
        let words = self.next_word.replace_all(text, "$1 $2");
        let found = |text: &Cow<'_, str>| -> Vec<String> {
            self.entries.find_iter(text).map(|found| found.as_str().to_owned()).collect()
        };
        [Cow::Borrowed(text), words].iter().flat_map(found).collect()
    }
}

#[test]
fn retired_words_are_not_used() {
    let files = text_files();
    let (_, list) = files.iter().find(|(path, _)| path == LIST).unwrap();
    let retired = Retired::read(list);
    let mut found = Vec::new();
    for (path, text) in files.iter().filter(|(path, _)| path != LIST && !path.ends_with(".lock")) {
        for (number, line) in text.lines().enumerate() {
            let words = retired.find(line).into_iter();
            found.extend(words.map(|word| format!("{path}:{}: {word}", number + 1)));
        }
    }
    assert!(
        found.is_empty(),
        "words that {LIST} lists as retired; the glossary in CONTRIBUTING.md has the words to use:\n{}",
        found.join("\n")
    );
}

#[test]
fn retired_words_match_as_whole_words_and_in_names() {
    let retired = Retired::read("# comment\n\nold\nover*\nNewName\nnew_name\n");
    for text in ["The Old, way", "Overdone", "the_old_way", "TheOldWay", "new(NewName)", "x.new_name"] {
        assert!(!retired.find(text).is_empty(), "{text}");
    }
    for text in ["older bold", "moreover", "newname NewNames new_names", "comment"] {
        assert!(retired.find(text).is_empty(), "{text}");
    }
}
