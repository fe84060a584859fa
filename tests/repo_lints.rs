//! The rules of the repository, checked.

#![cfg(test)]

mod repo_lints {
    mod cycles;
    mod dependencies;
    mod documents;
    mod files;
    mod manifests;
    mod named_code;
    mod tree;
    mod words;
}
