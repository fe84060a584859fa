//! A headless Chromium for each test, and screenshots of its pages.

use std::fs;
use std::ops::Deref;
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tempfile::TempDir;
use wxsub_test_support::{Process, Stream};

use super::window::Window;

/// The folder for tests under `target`.
const SCRATCH: &str = env!("CARGO_TARGET_TMPDIR");

/// The size of the window.
#[derive(Clone, Copy)]
pub(super) enum Size {
    /// The narrowest phone in use.
    Narrow,
    Phone,
    Desktop,
}

/// A browser. Dropping it ends the processes and then deletes the profile.
pub(super) struct Chromium {
    window: Option<Window>,
    _driver: Process,
    profile: TempDir,
}

impl Chromium {
    /// Starts a browser with a new profile.
    pub(super) fn start() -> Self {
        let profile = tempfile::Builder::new().prefix("chromium-").tempdir_in(SCRATCH).unwrap();
        let started = "started successfully on port ";
        let mut driver = Command::new("chromedriver");
        let driver = Process::start(driver.arg("--port=0"), Stream::Stdout, started);
        let port = driver.ready.split(started).nth(1).unwrap().trim_end_matches('.').parse().unwrap();
        let mut chromium = Self { window: None, _driver: driver, profile };
        let flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            &format!("--user-data-dir={}", chromium.profile.path().display()),
        ];
        let capabilities = json!({
            "goog:chromeOptions": {"args": flags},
            "goog:loggingPrefs": {"browser": "ALL"},
        });
        chromium.window = Some(Window::open(port, &capabilities));
        chromium.set_size(Size::Desktop);
        chromium
    }

    pub(super) fn set_size(&self, size: Size) {
        let (width, height, scale) = match size {
            Size::Narrow => (360, 640, 1),
            Size::Phone => (390, 844, 2),
            Size::Desktop => (1280, 900, 1),
        };
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 500});
        self.run_devtools_command("Emulation.setDeviceMetricsOverride", &metrics);
    }

    pub(super) fn set_dark(&self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": value}]});
        self.run_devtools_command("Emulation.setEmulatedMedia", &media);
    }

    /// Forbids scripts on all pages from now on.
    pub(super) fn disable_scripts(&self) {
        self.run_devtools_command("Emulation.setScriptExecutionDisabled", &json!({"value": true}));
    }

    /// Saves screenshots in two sizes, light and dark, as `target/tmp/screenshots/NAME-…`. Fails if the page is wider than the
    /// screen.
    pub(super) fn take_screenshots(&self, name: &str) {
        let folder = Path::new(SCRATCH).join("screenshots");
        fs::create_dir_all(&folder).unwrap();
        self.set_size(Size::Narrow);
        assert_eq!(self.overflow(), 0, "{name} is too wide for 360 px");
        for (size, what) in [(Size::Phone, "phone"), (Size::Desktop, "desktop")] {
            self.set_size(size);
            assert_eq!(self.overflow(), 0, "{name} is too wide for a {what}");
            for (dark, light) in [(true, "dark"), (false, "light")] {
                self.set_dark(dark);
                let screenshot = self.run_devtools_command("Page.captureScreenshot", &json!({}));
                let picture = STANDARD.decode(screenshot["data"].as_str().unwrap()).unwrap();
                fs::write(folder.join(format!("{name}-{what}-{light}.png")), picture).unwrap();
            }
        }
    }
}

impl Deref for Chromium {
    type Target = Window;

    fn deref(&self) -> &Window {
        self.window.as_ref().unwrap()
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Ends the browser. Its other processes end with the driver.
        drop(self.window.take());
    }
}
