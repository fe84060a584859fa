#![no_main]

#[path = "../../tests/corpora/token_reply.rs"]
mod token_reply;

libfuzzer_sys::fuzz_target!(|input: &[u8]| token_reply::holds(input));
