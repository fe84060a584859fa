#![no_main]

#[path = "../../tests/corpora/consent_url.rs"]
mod consent_url;

libfuzzer_sys::fuzz_target!(|input: &[u8]| consent_url::check(input));
