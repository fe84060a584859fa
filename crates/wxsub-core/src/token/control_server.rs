//! Fetches tokens from a control server, which has the AppSecret.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;
use wxsub_proto::codec::RawResponse;
use wxsub_proto::{AccessToken, AppId, BaseUrl, Remedy};

use super::{
    ApiKey, FetchedToken, Generation, TokenCache, TokenCacheBuilder, TokenErrorKind, TokenUpstream,
    UpstreamBehavior, UpstreamRequest,
};
use crate::transport::{HttpRequest, Transport, TransportError};

/// Maximum length of the server's error text, in characters.
const MAX_DETAIL_CHARS: usize = 300;

/// The server's response with a token.
#[derive(Deserialize)]
struct TokenResponse {
    access_token: String,
    expires_in: u64,
    generation: u64,
}

/// The server's error response (RFC 9457).
#[derive(Deserialize)]
struct ProblemDetails {
    detail: Option<String>,
    remedy: Option<Remedy>,
}

/// A control server as the upstream of a token cache.
struct ControlServerUpstream {
    appid: AppId,
    key: ApiKey,
    base: BaseUrl,
    transport: Arc<dyn Transport>,
}

impl TokenCache {
    /// Starts building a token cache that gets its tokens from a control server (`wxsub serve`) at this base URL.
    ///
    /// It needs no AppSecret. It serves a token for the ttl that the server gave, and requests the next one ahead
    /// of time. It reports a token that Weixin rejected. It survives a restart of the server.
    #[must_use]
    pub fn from_control_server(
        appid: AppId,
        key: ApiKey,
        base: BaseUrl,
        transport: Arc<dyn Transport>,
    ) -> TokenCacheBuilder<Arc<dyn TokenUpstream>> {
        Self::from_upstream(Arc::new(ControlServerUpstream { appid, key, base, transport }))
    }
}

#[async_trait]
impl TokenUpstream for ControlServerUpstream {
    fn appid(&self) -> &AppId {
        &self.appid
    }

    fn behavior(&self) -> UpstreamBehavior {
        UpstreamBehavior::token_service()
    }

    async fn fetch(&self, request: UpstreamRequest<'_>) -> Result<FetchedToken, TokenErrorKind> {
        let http_request = self.http_request(request.rejected).map_err(TokenErrorKind::Transport)?;
        let response = self.transport.execute(http_request).await.map_err(TokenErrorKind::Transport)?;
        parse_token_response(&response)
    }
}

impl ControlServerUpstream {
    fn http_request(&self, rejected: Option<&AccessToken>) -> Result<HttpRequest, TransportError> {
        let path = format!("/v1/apps/{}/access_token", self.appid);
        match rejected {
            None => HttpRequest::to_control_server(&self.base, &self.key, &path, None),
            Some(token) => {
                let body = serde_json::json!({ "access_token": token.expose_secret() }).to_string();
                HttpRequest::to_control_server(&self.base, &self.key, &(path + "/report"), Some(body.into()))
            }
        }
    }
}

impl fmt::Debug for ControlServerUpstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { appid, base, .. } = self;
        f.debug_struct("ControlServerUpstream").field("appid", appid).field("base", base).finish()
    }
}

fn parse_token_response(response: &RawResponse<Bytes>) -> Result<FetchedToken, TokenErrorKind> {
    let invalid_response = || {
        upstream_error(
            "the control server's response is invalid; check that the URL is the one of a control server",
            Remedy::FixConfig,
        )
    };
    if response.status != 200 {
        return Err(parse_problem(response));
    }
    let TokenResponse { access_token, expires_in, generation } =
        serde_json::from_slice(&response.body).map_err(|_| invalid_response())?;
    let token = AccessToken::new(access_token).map_err(|_| invalid_response())?;
    let fetched = FetchedToken::new(token, Duration::from_secs(expires_in));
    Ok(fetched.with_generation(Generation::new(generation)))
}

/// Reads the server's error text, which holds no secret. Without a remedy in it, the status decides.
fn parse_problem(response: &RawResponse<Bytes>) -> TokenErrorKind {
    let problem: Option<ProblemDetails> = serde_json::from_slice(&response.body).ok();
    let (detail, remedy) = problem.map_or((None, None), |problem| (problem.detail, problem.remedy));
    let detail: String =
        detail.unwrap_or_default().chars().filter(|c| !c.is_control()).take(MAX_DETAIL_CHARS).collect();
    let by_status = match response.status {
        401 | 403 | 404 => Remedy::FixConfig,
        429 => Remedy::SlowDown,
        _ => Remedy::RetryLater,
    };
    upstream_error(
        &format!("the control server responded with {}: {detail}", response.status),
        remedy.unwrap_or(by_status),
    )
}

fn upstream_error(text: &str, remedy: Remedy) -> TokenErrorKind {
    TokenErrorKind::Upstream { text: text.trim_end_matches([':', ' ']).to_owned(), remedy }
}
