//! Setup of the examples: a sandbox on loopback in place of Weixin, and a control server that uses it.

use std::path::{Path, PathBuf};

use tokio::net::TcpListener;

use wxsub_reqwest::{ApiKey, BaseUrl, ConsentAction, ConsentRequest, OpenId};
use wxsub_sandbox::{Sandbox, http};
use wxsub_server::{ApiKeyDigest, Config, Server, generate_api_key};

/// The AppID of the examples.
pub const APPID: &str = "wx0123456789abcdef";
/// Its AppSecret, valid in the sandbox only.
pub const SECRET: &str = "sandbox-secret";
/// Its template.
pub const TEMPLATE: &str = "TEMPLATE_ID";

/// Writes a new signing key to a file in this folder, as `wxsub consent key --out consent.key` does.
///
/// # Errors
/// If this machine has no random numbers, or the file cannot be written.
pub fn signing_key_file(folder: &Path) -> Result<PathBuf, Box<dyn std::error::Error>> {
    let path = folder.join("consent.key");
    std::fs::write(&path, format!("{}\n", generate_api_key()?.expose_secret()))?;
    Ok(path)
}

/// A sandbox with one app, and its address.
#[derive(Debug)]
pub struct Weixin {
    /// The sandbox, to act as the user and to inject faults.
    pub sandbox: Sandbox,
    /// The base URL of API calls.
    pub base: BaseUrl,
}

impl Weixin {
    /// Starts it on a free loopback port.
    ///
    /// # Errors
    /// If there is no free port.
    ///
    /// # Cancel safety
    /// Dropping it starts nothing.
    pub async fn start() -> Result<Self, Box<dyn std::error::Error>> {
        let sandbox = Sandbox::new();
        sandbox.add_app(APPID.parse()?, SECRET.parse()?, [TEMPLATE.parse()?]);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let base = format!("http://{}", listener.local_addr()?).parse()?;
        tokio::spawn(http::serve(listener, sandbox.clone(), std::future::pending()));
        Ok(Self { sandbox, base })
    }

    /// A user taps "Allow". Returns the callback URL.
    ///
    /// # Errors
    /// If the sandbox does not know the app or the template.
    pub fn user_allows(
        &self,
        openid: &str,
        request: ConsentRequest,
    ) -> Result<String, Box<dyn std::error::Error>> {
        let openid: OpenId = openid.parse()?;
        let callback = self.sandbox.consent(request, ConsentAction::Confirm { openid })?;
        Ok(format!("https://shop.example/back?{}", callback.to_query()))
    }

    /// A control server for the app, and the key of a client that may read and report its token.
    ///
    /// # Errors
    /// If this machine has no random numbers.
    ///
    /// # Cancel safety
    /// Dropping it starts nothing.
    pub async fn control_server(&self) -> Result<(Server, ApiKey), Box<dyn std::error::Error>> {
        let key = generate_api_key()?;
        let text = format!(
            r#"
                audit = "off"

                [[apps]]
                appid = "{APPID}"
                secret_env = "SECRET"
                token_endpoint = "token"
                api_base = "{}"

                [[clients]]
                name = "orders"
                key_sha256 = "{}"
                apps = ["{APPID}"]
                scopes = ["token:read", "token:report"]
            "#,
            self.base,
            ApiKeyDigest::of(&key)
        );
        let (config, _) = Config::read(&text, |_| Some(SECRET.to_owned()))?;
        Ok((Server::builder(config).build().await?, key))
    }
}
