#![no_main]

#[path = "../../tests/corpora/reply.rs"]
mod reply;

libfuzzer_sys::fuzz_target!(|input: &[u8]| reply::holds(input));
