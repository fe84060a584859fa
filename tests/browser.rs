//! The pages of the sandbox and of the console in a real browser: headless Chromium controlled through ChromeDriver. Ignored
//! by default, because the tests need both programs, and some of them nginx and axe-core. `scripts/test --all` installs them and runs the
//! tests.

#![cfg(test)]

mod browser {
    mod chromium;
    mod consent;
    mod console;
    mod console_pages;
    mod console_server;
    mod cross_site;
    mod exchange;
    mod home;
    mod proxy;
    mod window;
    mod wxsub;
}
