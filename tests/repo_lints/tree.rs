//! The repository as a list of files.

use std::fs;
use std::path::{Path, PathBuf};

/// The top folder of the repository.
pub(super) fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Every file below `crates`, `tests` and `examples` whose name ends with `ending`: its path from the top folder, and its text.
pub(super) fn files(ending: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for folder in ["crates", "tests", "examples"] {
        walk(&top().join(folder), ending, &mut found);
    }
    found.sort();
    assert!(!found.is_empty(), "no {ending} found");
    found
}

/// Every text file of the repository: its path from the top folder, and its text.
pub(super) fn text_files() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(top()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_file() {
            add(&path, &mut found);
        } else if ![".git", "target"].contains(&name.as_str()) {
            walk(&path, "", &mut found);
        }
    }
    found.sort();
    found
}

fn walk(folder: &Path, ending: &str, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                walk(&path, ending, found);
            }
        } else if path.to_string_lossy().ends_with(ending) {
            add(&path, found);
        }
    }
}

/// Adds a file, unless it is no text.
fn add(path: &Path, found: &mut Vec<(String, String)>) {
    if let Ok(text) = String::from_utf8(fs::read(path).unwrap()) {
        found.push((path.strip_prefix(top()).unwrap().to_string_lossy().into_owned(), text));
    }
}
