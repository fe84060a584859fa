//! `wxsub token`: shows or refreshes the access token.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;
use wxsub_core::clock::{Clock, ClockReading, SystemClock};
use wxsub_core::token::{CachedToken, Generation, TokenCache, TokenEndpoint, TokenSource};
use wxsub_core::transport::{HttpRequest, RequestState, TransportError};
use wxsub_proto::codec::RawResponse;
use wxsub_proto::endpoint::stable_token::StableTokenRequest;
use wxsub_proto::endpoint::token::{TokenRequest, TokenResponse};
use wxsub_proto::{AppId, BaseUrl, Operation};

use crate::backend::{Backend, DirectConfig, ServerConfig};
use crate::console;
use crate::describe::{describe_refusal, describe_token_error, no_fetch_with_server, server_error};
use crate::environment::TOKEN_ENDPOINT;
use crate::error::{CliError, ExitStatus, UsageErrors};
use crate::language::{localized, shown};
use crate::output::print;

/// Show or refresh the access token.
#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    Show(Show),
    Refresh(Refresh),
}

/// Options of the output.
#[derive(Debug, Args)]
struct ShowOptions {
    /// AppID [default: WXSUB_APPID]
    #[arg(long, value_name = "APPID")]
    appid: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Print the access token too
    #[arg(long)]
    reveal: bool,
}

/// The output.
#[serde_with::skip_serializing_none]
#[derive(Serialize)]
struct TokenOutput<'a> {
    appid: &'a AppId,
    endpoint: &'static str,
    fingerprint: String,
    expires_in: u64,
    generation: u64,
    access_token: Option<&'a str>,
}

impl Token {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<ExitStatus, CliError> {
        match self {
            Self::Show(show) => show.run().await,
            Self::Refresh(refresh) => refresh.run().await,
        }
    }
}

impl ShowOptions {
    /// Prints the token.
    fn print(
        &self,
        appid: &AppId,
        endpoint: &'static str,
        token: &CachedToken,
        now: ClockReading,
    ) -> ExitStatus {
        let remaining = token.remaining(now);
        let values = TokenOutput {
            appid,
            endpoint,
            fingerprint: token.fingerprint().to_string(),
            expires_in: remaining.as_secs(),
            generation: token.generation().get(),
            access_token: self.reveal.then(|| token.token().expose_secret()),
        };
        print(self.json, &values, |output| {
            output.line(format_args!("appid         {appid}"));
            output.line(format_args!("endpoint      {}", values.endpoint));
            output.line(format_args!("fingerprint   {}", values.fingerprint));
            output.line(format_args!("expires in    {}", minutes(remaining)));
            output.line(format_args!("generation    {}", values.generation));
            if let Some(access_token) = values.access_token {
                output.line(format_args!("access token  {access_token}"));
            }
        })
    }
}

/// Formats a duration in seconds and in minutes.
fn minutes(duration: Duration) -> String {
    let seconds = duration.as_secs();
    format!("{seconds} s ({} min {} s)", seconds / 60, seconds % 60)
}

/// Show the remaining lifetime and the fingerprint of the access token.
///
/// With WXSUB_SERVER the token comes from the control server. With stable_token it comes from Weixin, and the current token stays
/// valid. A fetch from /cgi-bin/token invalidates the token that other processes use, so it needs --fetch.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Fetch from /cgi-bin/token, which invalidates the token that other processes use
    #[arg(long)]
    fetch: bool,
    #[command(flatten)]
    options: ShowOptions,
}

impl Show {
    /// Runs the command.
    async fn run(self) -> Result<ExitStatus, CliError> {
        let mut usage = UsageErrors::default();
        let backend = Backend::read(self.options.appid.as_deref(), &mut usage);
        let is_classic =
            matches!(&backend, Some(Backend::Direct(app)) if app.endpoint == TokenEndpoint::Token);
        if matches!(backend, Some(Backend::ControlServer(_))) && self.fetch {
            usage.add("--fetch", no_fetch_with_server());
        }
        if is_classic && !self.fetch {
            usage.add(
                TOKEN_ENDPOINT,
                localized!(
                    "is token, where a fetch invalidates the access token that other processes use; \
                     add --fetch to fetch anyway, or use stable_token",
                    "是 token，获取会使其他进程正在使用的 access_token 失效；仍要获取请加上 --fetch，或改用 stable_token"
                ),
            );
        }
        let app = match usage.finish(backend)? {
            Backend::Direct(app) => app,
            Backend::ControlServer(config) => {
                let clock = SystemClock::new();
                let token = read_token(&config).await?;
                return Ok(self.options.print(&config.appid, ENDPOINT, &token, clock.now()));
            }
        };
        app.warn_before_fetch();
        let DirectConfig { appid, secret, endpoint, bases, transport } = app;
        let cache = TokenCache::builder(appid.clone(), secret, transport).api_bases(bases).endpoint(endpoint);
        let cache = cache.build().map_err(CliError::unexpected)?;
        let token = cache.token().await.map_err(|error| {
            let exit = if error.api_error().is_some() { ExitStatus::Refused } else { ExitStatus::NotSent };
            CliError::new(exit, describe_token_error(&error))
        })?;
        Ok(self.options.print(&appid, endpoint.as_str(), &token, cache.now()))
    }
}

/// Replace the access token. The current one becomes invalid for all processes.
///
/// wxsub calls Weixin once. With stable_token this is a forced refresh, of which Weixin allows 20 a day. With WXSUB_SERVER, wxsub
/// reports to the control server that the current token does not work, and shows its replacement.
#[derive(Debug, Args)]
pub(crate) struct Refresh {
    #[command(flatten)]
    options: ShowOptions,
}

impl Refresh {
    /// Runs the command.
    async fn run(self) -> Result<ExitStatus, CliError> {
        let appid = self.options.appid.as_deref();
        let app = match UsageErrors::check(|usage| Backend::read(appid, usage))? {
            Backend::Direct(app) => app,
            Backend::ControlServer(config) => {
                let clock = SystemClock::new();
                let current = read_token(&config).await?;
                let replaced = config.server.report_token(&config.appid, current.token()).await;
                let token = replaced.map_err(|error| server_error(&error, ExitStatus::MaybeSent))?;
                return Ok(self.options.print(&config.appid, ENDPOINT, &token, clock.now()));
            }
        };
        app.warn_before_fetch();
        if app.endpoint == TokenEndpoint::StableToken {
            console::warning(localized!(
                "a forced refresh invalidates the access token that other processes use; Weixin allows 20 a day",
                "强制刷新会使其他进程正在使用的 access_token 失效；微信每天最多允许 20 次"
            ));
        }
        let clock = SystemClock::new();
        let requested_at = clock.now();
        let response = fetch(&app).await?;
        let generation = Generation::default().next(requested_at.wall);
        let token = CachedToken::new(response.access_token, generation, requested_at, response.expires_in);
        Ok(self.options.print(&app.appid, app.endpoint.as_str(), &token, clock.now()))
    }
}

/// Fetches a token with one request. Calls the next host only if certainly nothing was sent.
async fn fetch(app: &DirectConfig) -> Result<TokenResponse, CliError> {
    let mut result = fetch_from(app, app.bases.first()).await;
    for base in app.bases.iter().skip(1) {
        match &result {
            Err(error) if error.request_state() == RequestState::NotSent => {
                result = fetch_from(app, base).await;
            }
            _ => break,
        }
    }
    let raw = result.map_err(|error| {
        let text = shown(&error.localized());
        match error.request_state() {
            RequestState::NotSent => {
                let text = localized!("{text}; it is safe to try again", "{text}；可以放心重试");
                CliError::new(ExitStatus::NotSent, text)
            }
            RequestState::MaybeSent => maybe_replaced(text),
        }
    })?;
    let parsed = TokenResponse::parse(raw.status, raw.body.as_ref()).map_err(|error| {
        let error = shown(&error.localized());
        maybe_replaced(localized!("invalid response: {error}", "响应无效：{error}"))
    });
    match parsed? {
        Ok(response) => Ok(response),
        Err(refusal) => {
            let refusal = refusal.redact(app.secret.expose_secret());
            Err(CliError::new(ExitStatus::Refused, describe_refusal(&refusal, Operation::FetchToken)))
        }
    }
}

async fn fetch_from(
    app: &DirectConfig,
    base: &BaseUrl,
) -> Result<RawResponse<impl AsRef<[u8]> + use<>>, TransportError> {
    let (appid, secret) = (app.appid.clone(), app.secret.clone());
    let request = match app.endpoint {
        TokenEndpoint::Token => HttpRequest::new(base, TokenRequest::new(appid, secret).encode()),
        TokenEndpoint::StableToken => {
            HttpRequest::new(base, StableTokenRequest::new(appid, secret).force_refresh().encode())
        }
    };
    app.transport.execute(request?).await
}

fn maybe_replaced(cause: impl std::fmt::Display) -> CliError {
    let line = localized!(
        "{cause}; a new token may have been issued; check the current token before you repeat this",
        "{cause}；微信可能已签发新的 access_token；重试之前请先检查当前的 access_token"
    );
    CliError::new(ExitStatus::MaybeSent, line)
}

/// Endpoint in the output.
const ENDPOINT: &str = "control_server";

async fn read_token(config: &ServerConfig) -> Result<CachedToken, CliError> {
    // A read has no effect, so a lost response is not in doubt.
    config.server.token(&config.appid).await.map_err(|error| server_error(&error, ExitStatus::NotSent))
}
