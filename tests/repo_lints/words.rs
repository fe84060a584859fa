//! Retired words stay out of code and documents.

use std::collections::HashSet;

use super::tree::text_files;

const LIST: &str = "tests/repo_lints/retired-words.txt";

/// The list: one entry a line.
#[derive(Default)]
struct Retired<'a> {
    /// Entries with a capital letter or an underscore match as they are.
    names: HashSet<&'a str>,
    /// Other entries match in upper and lower case.
    words: HashSet<&'a str>,
    /// Entries that end with `*` match all words with this beginning.
    beginnings: Vec<&'a str>,
}

impl<'a> Retired<'a> {
    fn new(list: &'a str) -> Self {
        let mut retired = Self::default();
        for entry in list.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if entry.contains(|character: char| character.is_uppercase() || character == '_') {
                retired.names.insert(entry);
            } else if let Some(beginning) = entry.strip_suffix('*') {
                retired.beginnings.push(beginning);
            } else {
                retired.words.insert(entry);
            }
        }
        retired
    }

    fn is_name(&self, word: &str) -> bool {
        self.names.contains(word)
    }

    fn is_word(&self, word: &str) -> bool {
        let word = word.to_lowercase();
        self.words.contains(word.as_str())
            || self.beginnings.iter().any(|beginning| word.starts_with(beginning))
    }
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|character: char| !character.is_alphanumeric() && character != '_')
}

#[test]
fn retired_words_are_not_used() {
    let files = text_files();
    let (_, list) = files.iter().find(|(path, _)| path == LIST).unwrap();
    let retired = Retired::new(list);
    let mut found = Vec::new();
    for (path, text) in files.iter().filter(|(path, _)| path != LIST && !path.ends_with(".lock")) {
        for (number, line) in text.lines().enumerate() {
            for word in words(line) {
                if retired.is_name(word) || retired.is_word(word) {
                    found.push(format!("{path}:{}: {word}", number + 1));
                }
            }
        }
    }
    assert!(
        found.is_empty(),
        "words that {LIST} lists as retired; the glossary in CONTRIBUTING.md has the words to use:\n{}",
        found.join("\n")
    );
}

#[test]
fn retired_words_match_as_whole_words() {
    let retired = Retired::new("# comment\n\nold\nover*\nOldName\nold_name\n");
    let matches = |text| words(text).any(|word| retired.is_name(word) || retired.is_word(word));
    for text in ["The Old, way", "Overdone", "new(OldName)", "x.old_name"] {
        assert!(matches(text), "{text}");
    }
    for text in ["older bold old_way", "moreover", "oldname OldNames", "comment"] {
        assert!(!matches(text), "{text}");
    }
}
