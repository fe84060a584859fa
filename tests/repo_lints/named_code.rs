//! The files and functions that ARCHITECTURE.md and CONTRIBUTING.md name exist.

use std::collections::BTreeSet;
use std::fs;

use super::tree::{files, text_files, top};

/// Names of libraries that look like ours.
const EXTERNAL: [&str; 2] = ["ArcSwapOption::load", "tower::limit"];

/// How many files a reader opens at most who follows a message or a token.
const MAX_FILES_OF_A_WAY: usize = 7;

/// Code of a document in the middle of text, each with its line.
fn code_spans(document: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(top().join(document)).unwrap();
    let outside = text.split("```").step_by(2).flat_map(str::lines);
    let spans = |line: &str| -> Vec<_> {
        line.split('`').skip(1).step_by(2).map(|span| (span.to_owned(), line.to_owned())).collect()
    };
    outside.flat_map(spans).collect()
}

fn all_spans() -> Vec<(String, String)> {
    ["ARCHITECTURE.md", "CONTRIBUTING.md"].into_iter().flat_map(code_spans).collect()
}

fn is_word(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|character| character.is_alphanumeric() || character == '_')
}

fn has_word(text: &str, word: &str) -> bool {
    text.split(|character: char| !character.is_alphanumeric() && character != '_').any(|one| one == word)
}

/// Whether a source text defines this: a function or module, or a type or variant, which begins with a capital letter.
fn defines(text: &str, name: &str) -> bool {
    match name.starts_with(char::is_uppercase) {
        true => has_word(text, name),
        false => ["fn", "mod"]
            .iter()
            .any(|kind| text.split(&format!("{kind} {name}")).skip(1).any(|rest| !is_word(&rest[..1]))),
    }
}

#[test]
fn named_files_exist() {
    let names: Vec<_> = text_files().into_iter().map(|(name, _)| format!("/{name}")).collect();
    let folders = ["crates/", "tests/", "docs/", "scripts/", "benches/", "examples/"];
    let mut checked = 0;
    for (span, line) in all_spans() {
        let path = span.split(' ').next().unwrap().trim_end_matches('/');
        let is_path = path.ends_with(".rs") || folders.iter().any(|folder| span.starts_with(folder));
        if !is_path || path.contains('<') {
            continue;
        }
        let (file, folder) = (format!("/{path}"), format!("/{path}/"));
        let exists = |name: &String| name.ends_with(&file) || name.contains(&folder);
        assert!(names.iter().any(exists), "there is no {path}: {line}");
        checked += 1;
    }
    assert!(checked > 100, "{checked}");
}

#[test]
fn named_functions_exist() {
    let sources: Vec<_> = files(".rs").into_iter().filter(|(name, _)| name.contains("/src/")).collect();
    let mut checked = 0;
    for (span, line) in all_spans() {
        let Some((owner, name)) =
            span.split_once("::").filter(|(owner, name)| is_word(owner) && is_word(name))
        else {
            continue;
        };
        if EXTERNAL.contains(&span.as_str()) {
            continue;
        }
        let found = sources.iter().any(|(path, text)| {
            (has_word(text, owner) || has_word(&path.replace('-', "_"), owner)) && defines(text, name)
        });
        assert!(found, "there is no {span}: {line}");
        checked += 1;
    }
    assert!(checked > 60, "{checked}");
}

/// In the tables of functions, each row has the file of its function.
#[test]
fn functions_are_in_the_files_of_their_rows() {
    let sources = files(".rs");
    let mut checked = 0;
    for (function, line) in
        all_spans().into_iter().filter(|(span, line)| line.starts_with(&format!("| `{span}` |")))
    {
        let cell = line.split(" | ").nth(1).unwrap();
        let (Some(file), name) = (cell.split('`').nth(1), function.rsplit("::").next().unwrap()) else {
            continue;
        };
        if !file.ends_with(".rs") || !is_word(name) {
            continue;
        }
        let crate_name =
            cell.split("` in ").nth(1).map_or(String::new(), |name| format!("crates/wxsub-{name}/"));
        let has_it = |(path, text): &(String, String)| {
            path.starts_with(&crate_name) && path.ends_with(&format!("/{file}")) && defines(text, name)
        };
        assert!(sources.iter().any(has_it), "{line}");
        checked += 1;
    }
    assert!(checked > 25, "{checked}");
}

#[test]
fn the_ways_of_a_message_and_of_a_token_read_have_few_files() {
    let text = fs::read_to_string(top().join("ARCHITECTURE.md")).unwrap();
    for chapter in ["## One message, end to end\n", "## One token read\n"] {
        let way = text.split(chapter).nth(1).unwrap().split("\n## ").next().unwrap();
        let rows = way.lines().filter(|line| line.starts_with("| `"));
        let spans = rows.flat_map(|row| row.split('`').skip(1).step_by(2));
        let files: BTreeSet<_> = spans.filter(|span| span.ends_with(".rs")).collect();
        assert!((3..=MAX_FILES_OF_A_WAY).contains(&files.len()), "{chapter}{files:?}");
    }
}
