//! The sandbox's pages in a real browser: the binary `wxsub sandbox`, and headless Chromium controlled through ChromeDriver. Ignored
//! by default, because the tests need both programs. `scripts/test --all` installs them and runs the tests.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests may panic"
)]

mod browser {
    mod chromium;
    mod consent;
    mod cross_site;
    mod exchange;
    mod home;
    mod invalid_urls;
    mod window;
    mod wxsub;
}
