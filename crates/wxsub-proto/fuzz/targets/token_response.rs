#![no_main]

#[path = "../../tests/corpora/token_response.rs"]
mod token_response;

libfuzzer_sys::fuzz_target!(|input: &[u8]| token_response::check(input));
