//! The rules of the repository, checked.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

mod repo_lints {
    mod cycles;
    mod dependencies;
    mod documents;
    mod files;
    mod manifests;
    mod tree;
    mod words;
}
