//! A headless Chromium of its own for each story, and photographs of what it shows.

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::window::Window;

/// A folder below `target` that is made for tests.
const SCRATCH: &str = env!("CARGO_TARGET_TMPDIR");

/// How large the window is.
#[derive(Clone, Copy)]
pub(super) enum Size {
    /// The narrowest phone that is still in use.
    Narrow,
    Phone,
    Desktop,
}

/// A browser; it and all it wrote are gone when this is dropped.
pub(super) struct Chromium {
    window: Option<Window>,
    driver: Child,
    /// Held open, because the driver goes on writing.
    _said: Lines<BufReader<ChildStdout>>,
    profile: PathBuf,
}

impl Chromium {
    /// Starts one for the story of this name, on a profile that is new.
    pub(super) fn start(story: &str) -> Self {
        let profile = Path::new(SCRATCH).join(format!("chromium-{}-{story}", std::process::id()));
        fs::create_dir_all(&profile).unwrap();
        let mut driver = Command::new("chromedriver");
        let mut driver = driver
            .arg("--port=0")
            .stdout(Stdio::piped())
            .spawn()
            .expect("chromedriver cannot be started: scripts/test installs it, and Chromium");
        let mut said = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = said.find_map(|line| {
            let line = line.unwrap();
            line.split("started successfully on port ").nth(1)?.trim_end_matches('.').parse().ok()
        });
        let mut chromium = Self { window: None, driver, _said: said, profile };
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
            &format!("--user-data-dir={}", chromium.profile.display()),
        ];
        let capabilities = json!({
            "goog:chromeOptions": {"args": flags},
            "goog:loggingPrefs": {"browser": "ALL"},
        });
        chromium.window = Some(Window::open(port.unwrap(), &capabilities));
        chromium.size(Size::Desktop);
        chromium
    }

    pub(super) fn window(&self) -> &Window {
        self.window.as_ref().unwrap()
    }

    pub(super) fn size(&self, size: Size) {
        let (width, height, scale) = match size {
            Size::Narrow => (360, 640, 1),
            Size::Phone => (390, 844, 2),
            Size::Desktop => (1280, 900, 1),
        };
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 500});
        self.window().chromium("Emulation.setDeviceMetricsOverride", &metrics);
    }

    pub(super) fn dark(&self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": value}]});
        self.window().chromium("Emulation.setEmulatedMedia", &media);
    }

    /// No page may run a script from now on.
    pub(super) fn without_scripts(&self) {
        self.window().chromium("Emulation.setScriptExecutionDisabled", &json!({"value": true}));
    }

    /// Fails if the page, at any width, is wider than the screen; keeps pictures of it, as `target/tmp/screenshots/NAME-…`,
    /// in two sizes and in both lights.
    pub(super) fn photograph(&self, name: &str) {
        let folder = Path::new(SCRATCH).join("screenshots");
        fs::create_dir_all(&folder).unwrap();
        self.size(Size::Narrow);
        assert_eq!(self.window().overflow(), 0, "{name} is too wide for 360 px");
        for (size, what) in [(Size::Phone, "phone"), (Size::Desktop, "desktop")] {
            self.size(size);
            assert_eq!(self.window().overflow(), 0, "{name} is too wide for a {what}");
            for (dark, light) in [(true, "dark"), (false, "light")] {
                self.dark(dark);
                let taken = self.window().chromium("Page.captureScreenshot", &json!({}));
                let picture = STANDARD.decode(taken["data"].as_str().unwrap()).unwrap();
                fs::write(folder.join(format!("{name}-{what}-{light}.png")), picture).unwrap();
            }
        }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Ends the browser; what is left of it dies with its driver.
        drop(self.window.take());
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        let _ = fs::remove_dir_all(&self.profile);
    }
}
