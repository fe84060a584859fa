//! The sandbox's pages in a real browser: the binary `wxsub sandbox`, and headless Chromium told what to do through
//! ChromeDriver. Ignored unless asked for, because both programs have to be there; `scripts/test` installs them and asks.

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
