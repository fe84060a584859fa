//! Sandboxes in place of Weixin.

use wxsub_sandbox::{Fault, Sandbox};

use super::served::SILENT_APP;

/// Starts a sandbox with these apps. Returns its base URL.
pub(crate) async fn start_weixin(sandbox: &Sandbox, apps: &[String]) -> String {
    for app in apps {
        sandbox.add_app(app.parse().unwrap(), "secret".parse().unwrap(), ["T".parse().unwrap()]);
    }
    format!("http://{}", wxsub_tests::serve(sandbox).await)
}

/// Starts a sandbox that gives tokens to [`SILENT_APP`] and no response to messages. Returns its base URL.
pub(crate) async fn start_silent_weixin() -> String {
    let sandbox = Sandbox::new();
    sandbox.add_fault(wxsub_tests::SEND, 1 << 20, Fault::Hang);
    start_weixin(&sandbox, &[SILENT_APP.to_owned()]).await
}
