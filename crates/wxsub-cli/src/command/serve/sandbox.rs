//! `--sandbox`: a sandbox, an app, a template, a key, and commands to try.

use std::future::pending;
use std::net::SocketAddr;

use tokio::net::TcpListener;
use wxsub_core::token::ApiKey;
use wxsub_proto::{AppId, AppSecret, TemplateId};
use wxsub_sandbox::{Sandbox, http};
use wxsub_server::{ApiKeyDigest, Config, generate_api_key};

use crate::console;
use crate::environment::{APPID as APP, KEY, MP_BASE, SERVER};
use crate::error::CliError;

const APPID: &str = "wx0123456789abcdef";
const SECRET: &str = "play-money-0123456789abcdef";
const TEMPLATE: &str = "sandbox-template-1";
const COMMANDS: &str = include_str!("try.sh");

/// A running sandbox and the configuration of a control server for it.
pub(super) struct SandboxSetup {
    config: Config,
    key: ApiKey,
    sandbox_url: String,
}

impl SandboxSetup {
    /// Starts a sandbox and creates a configuration that uses it.
    ///
    /// # Errors
    ///
    /// If no port is free, or if `listen` is not allowed.
    pub(super) async fn start(listen: SocketAddr) -> Result<Self, CliError> {
        let key = generate_api_key().map_err(CliError::unexpected)?;
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(CliError::unexpected)?;
        let sandbox_url = format!("http://{}", listener.local_addr().map_err(CliError::unexpected)?);
        let sandbox = Sandbox::new();
        let (appid, secret, template) =
            (APPID.parse::<AppId>(), SECRET.parse::<AppSecret>(), TEMPLATE.parse::<TemplateId>());
        sandbox.add_app(
            appid.map_err(CliError::unexpected)?,
            secret.map_err(CliError::unexpected)?,
            [template.map_err(CliError::unexpected)?],
        );
        tokio::spawn(http::serve(listener, sandbox, pending()));
        let text = format!(
            "listen = \"{listen}\"\n\
             [[apps]]\nappid = \"{APPID}\"\nsecret_env = \"PLAY_MONEY\"\napi_base = \"{sandbox_url}\"\n\
             [[clients]]\nname = \"you\"\nkey_sha256 = \"{}\"\napps = [\"*\"]\n\
             scopes = [\"token:read\", \"token:report\", \"message:send\", \"admin\"]\n",
            ApiKeyDigest::of(&key)
        );
        let result = Config::read(&text, |_| Some(SECRET.to_owned()));
        let (config, _) = result.map_err(|error| {
            // Only `listen` comes from the user.
            CliError::usage(error.problems().map(|problem| format!("--{problem}")).collect())
        })?;
        Ok(Self { config, key, sandbox_url })
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// Prints the variables and the commands to try. The README has the same commands.
    pub(super) fn print_commands(&self, base: &str) {
        let (key, sandbox_url) = (self.key.expose_secret(), &self.sandbox_url);
        console::note(
            "# The control server runs with a built-in sandbox; messages stay in it. Ctrl-C stops it. To try it:",
        );
        console::note(format_args!(
            "export {SERVER}={base} {APP}={APPID} {KEY}={key} {MP_BASE}={sandbox_url}"
        ));
        COMMANDS.lines().for_each(console::note);
    }
}
