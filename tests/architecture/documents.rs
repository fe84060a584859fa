//! What the documents say is so.

use std::fs;

use super::tree::{files, top};

fn document(name: &str) -> String {
    fs::read_to_string(top().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn the_crate_map_is_complete() {
    let (readme, architecture) = (document("README.md"), document("ARCHITECTURE.md"));
    for (name, _) in files("Cargo.toml").iter().filter(|(name, _)| name.starts_with("crates/")) {
        let crate_name = name.split('/').nth(1).unwrap();
        assert!(readme.contains(crate_name), "README.md does not mention {crate_name}");
        assert!(architecture.contains(crate_name), "ARCHITECTURE.md does not mention {crate_name}");
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    for name in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"] {
        let text = document(name);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap();
            if !path.is_empty() && !target.contains("://") {
                assert!(top().join(path).exists(), "{name} links to {target}");
            }
        }
    }
}

#[test]
fn every_example_is_listed() {
    let readme = document("examples/README.md");
    for (name, text) in files(".rs").iter().filter(|(name, _)| name.starts_with("examples/")) {
        let stem = name.rsplit('/').next().unwrap().trim_end_matches(".rs");
        if text.contains("fn main(") {
            assert!(readme.contains(&format!("`{stem}`")), "examples/README.md does not list {stem}");
        }
    }
}

/// Endpoint files open with verb and path, and give the official page.
#[test]
fn endpoints_cite_their_source() {
    for (name, text) in
        files(".rs").iter().filter(|(name, _)| name.starts_with("crates/wxsub-proto/src/endpoint/"))
    {
        let first = text.lines().next().unwrap();
        assert!(first.starts_with("//! `GET /") || first.starts_with("//! `POST /"), "{name}: {first}");
        assert!(text.contains("//! <https://developers.weixin.qq.com/"), "{name} cites no page");
    }
}

#[test]
fn nothing_names_the_machine_it_was_made_on() {
    let mut all = files(".rs");
    all.extend(files(".md"));
    all.extend(files("Cargo.toml"));
    for name in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "Cargo.toml", ".ci/run"] {
        all.push((name.to_owned(), document(name)));
    }
    for (name, text) in all.iter().filter(|(name, _)| !name.ends_with("architecture/documents.rs")) {
        for word in ["/work/", "/root/", "artifactory", "index.crates.io"] {
            assert!(!text.contains(word), "{name} says {word}");
        }
    }
}
