#![no_main]

#[path = "../../tests/corpora/answer.rs"]
mod answer;

libfuzzer_sys::fuzz_target!(|input: &[u8]| answer::holds(input));
