//! `--sandbox`: an app, a template, a key and a Weixin, and what to try with them.

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
const TRY: &str = include_str!("trial.sh");

/// Everything there is to try.
pub(super) struct SandboxSetup {
    config: Config,
    key: ApiKey,
    weixin: String,
}

impl SandboxSetup {
    /// Starts a sandbox, and makes a configuration that uses it.
    pub(super) async fn start(listen: SocketAddr) -> Result<Self, CliError> {
        let key = generate_api_key().map_err(CliError::unexpected)?;
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(CliError::unexpected)?;
        let weixin = format!("http://{}", listener.local_addr().map_err(CliError::unexpected)?);
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
             [[apps]]\nappid = \"{APPID}\"\nsecret_env = \"PLAY_MONEY\"\napi_base = \"{weixin}\"\n\
             [[clients]]\nname = \"you\"\nkey_sha256 = \"{}\"\napps = [\"*\"]\n\
             scopes = [\"token:read\", \"token:report\", \"message:send\", \"admin\"]\n",
            ApiKeyDigest::of(&key)
        );
        let read = Config::read(&text, |_| Some(SECRET.to_owned()));
        let (config, _) = read.map_err(|error| {
            // Only where to listen comes from outside.
            CliError::usage(error.problems().map(|problem| format!("--{problem}")).collect())
        })?;
        Ok(Self { config, key, weixin })
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// What to try, as lines for a shell: the README's.
    pub(super) fn tell(&self, base: &str) {
        let (key, weixin) = (self.key.expose_secret(), &self.weixin);
        console::note(
            "# A control server with a Weixin of its own; no message leaves it. Ctrl-C ends it. To try it:",
        );
        console::note(format_args!("export {SERVER}={base} {APP}={APPID} {KEY}={key} {MP_BASE}={weixin}"));
        TRY.lines().for_each(console::note);
    }
}
