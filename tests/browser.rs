//! The sandbox's pages in a real browser: the binary `wxsub sandbox`, and headless Chromium controlled through ChromeDriver. Ignored
//! by default, because the tests need both programs. `scripts/test --all` installs them and runs the tests.

#![cfg(test)]

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
