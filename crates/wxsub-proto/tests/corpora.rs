//! The inputs that fuzzing found worth keeping, replayed against the properties the fuzz targets check.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]

#[path = "corpora/answer.rs"]
mod answer;
#[path = "corpora/link.rs"]
mod link;
#[path = "corpora/reply.rs"]
mod reply;
#[path = "corpora/token_reply.rs"]
mod token_reply;

use std::fs;
use std::path::Path;

/// A line is one input: a JSON string whose characters are its bytes.
fn replay(target: &str, holds: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fuzz/corpus/{target}.jsonl"));
    let corpus = fs::read_to_string(corpus).unwrap();
    assert!(corpus.lines().count() > 100, "{target}");
    for line in corpus.lines() {
        let text: String = serde_json::from_str(line).unwrap();
        holds(&text.chars().map(|byte| u8::try_from(u32::from(byte)).unwrap()).collect::<Vec<_>>());
    }
}

#[test]
fn answers() {
    replay("answer", answer::holds);
}

#[test]
fn links() {
    replay("link", link::holds);
}

#[test]
fn replies() {
    replay("reply", reply::holds);
}

#[test]
fn token_replies() {
    replay("token_reply", token_reply::holds);
}
