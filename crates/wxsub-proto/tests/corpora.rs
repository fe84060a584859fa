//! Replays the inputs that fuzzing kept, and checks the properties of the fuzz targets.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]

#[path = "corpora/callback.rs"]
mod callback;
#[path = "corpora/consent_url.rs"]
mod consent_url;
#[path = "corpora/response.rs"]
mod response;
#[path = "corpora/token_response.rs"]
mod token_response;

use std::fs;
use std::path::Path;

/// A line is one input: a JSON string whose characters are its bytes.
fn replay(target: &str, check: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fuzz/corpus/{target}.jsonl"));
    let corpus = fs::read_to_string(corpus).unwrap();
    assert!(corpus.lines().count() > 100, "{target}");
    for line in corpus.lines() {
        let text: String = serde_json::from_str(line).unwrap();
        check(&text.chars().map(|byte| u8::try_from(u32::from(byte)).unwrap()).collect::<Vec<_>>());
    }
}

#[test]
fn callbacks() {
    replay("callback", callback::check);
}

#[test]
fn consent_urls() {
    replay("consent_url", consent_url::check);
}

#[test]
fn responses() {
    replay("response", response::check);
}

#[test]
fn token_responses() {
    replay("token_response", token_response::check);
}
