#![no_main]

#[path = "../../tests/corpora/response.rs"]
mod response;

libfuzzer_sys::fuzz_target!(|input: &[u8]| response::check(input));
