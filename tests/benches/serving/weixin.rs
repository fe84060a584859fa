//! The sandbox in place of Weixin, on the core of the callers.

use std::future::pending;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use wxsub_core::proto::AppId;
use wxsub_sandbox::{AppSettings, Sandbox, http};

use crate::subject;

/// The lifetime of a token.
pub(crate) const TWO_HOURS: Duration = Duration::from_secs(7200);

/// The path of tokens.
pub(crate) const TOKEN: &str = "/cgi-bin/token";

/// A running sandbox. It ends when this is dropped.
pub(crate) struct Weixin {
    pub(crate) sandbox: Sandbox,
    pub(crate) base: String,
    _runtime: Runtime,
}

/// The AppID of this number.
pub(crate) fn appid(number: usize) -> AppId {
    format!("wx{number:016x}").parse().unwrap()
}

impl Weixin {
    /// Starts a sandbox with this many apps and this token lifetime.
    pub(crate) fn with(apps: usize, life: Duration) -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let sandbox = Sandbox::new();
        for app in (0..apps).map(appid) {
            sandbox.add_app(app.clone(), subject::secret(), []);
            let mut settings = AppSettings::default();
            settings.token_lifetime = life;
            sandbox.configure(&app, settings).unwrap();
        }
        runtime.spawn(http::serve(listener, sandbox.clone(), pending()));
        Self { sandbox, base, _runtime: runtime }
    }

    /// How many token requests have arrived.
    pub(crate) fn fetches(&self) -> u64 {
        self.sandbox.event_log().request_count(TOKEN)
    }
}
