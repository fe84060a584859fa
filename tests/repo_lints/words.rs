//! Retired words stay out of code and documents.

use regex::Regex;

use super::tree::text_files;

const LIST: &str = "tests/repo_lints/retired-words.txt";

/// Finds the entries of a list. One with a capital letter or an underscore matches as it is. Others match in upper and lower case,
/// and all words with this beginning if they end with `*`.
fn retired(list: &str) -> Regex {
    let pattern = |entry: &str| match entry.strip_suffix('*') {
        _ if entry.contains(|character: char| character.is_uppercase() || character == '_') => {
            entry.to_owned()
        }
        Some(beginning) => format!(r"(?i:{beginning}\w*)"),
        None => format!("(?i:{entry})"),
    };
    let entries = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    Regex::new(&format!(r"\b(?:{})\b", entries.map(pattern).collect::<Vec<_>>().join("|"))).unwrap()
}

#[test]
fn retired_words_are_not_used() {
    let files = text_files();
    let (_, list) = files.iter().find(|(path, _)| path == LIST).unwrap();
    let retired = retired(list);
    let mut found = Vec::new();
    for (path, text) in files.iter().filter(|(path, _)| path != LIST && !path.ends_with(".lock")) {
        for (number, line) in text.lines().enumerate() {
            let words = retired.find_iter(line).map(|word| word.as_str());
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
fn retired_words_match_as_whole_words() {
    let retired = retired("# comment\n\nold\nover*\nOldName\nold_name\n");
    for text in ["The Old, way", "Overdone", "new(OldName)", "x.old_name"] {
        assert!(retired.is_match(text), "{text}");
    }
    for text in ["older bold old_way", "moreover", "oldname OldNames", "comment"] {
        assert!(!retired.is_match(text), "{text}");
    }
}
