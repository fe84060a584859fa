#![no_main]

#[path = "../../tests/corpora/link.rs"]
mod link;

libfuzzer_sys::fuzz_target!(|input: &[u8]| link::holds(input));
