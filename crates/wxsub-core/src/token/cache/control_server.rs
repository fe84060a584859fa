//! Carries out an attempt to get a token from a control server, which holds the AppSecret.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use wxsub_proto::codec::RawResponse;
use wxsub_proto::{AccessToken, Remedy};

use super::fetch::TokenFetcher;
use crate::clock::timeout_at;
use crate::token::{
    ApiKey, CachedToken, FetchOutcome, FetchRequest, Generation, RefreshMode, TokenErrorKind,
};
use crate::transport::{HttpRequest, TransportError};

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

impl TokenFetcher {
    /// Requests a token. Reports the rejected token if it is the newest known one.
    pub(super) async fn fetch_from_control_server(
        &self,
        fetch_request: &FetchRequest,
        key: &ApiKey,
    ) -> FetchOutcome {
        if fetch_request.mode == RefreshMode::Forced {
            // The server got the report and returned the same token. Asking again does not help.
            return FetchOutcome::Failed(TokenErrorKind::RejectedTokenReissued);
        }
        let rejected =
            fetch_request.rejected.as_ref().filter(|rejected| rejected.generation() == fetch_request.known);
        let started_at = self.clock.now();
        let deadline = started_at.mono + fetch_request.timeout;
        let http_exchange = async {
            let http_request = self
                .http_request(key, rejected.map(|token| token.token()))
                .map_err(TokenErrorKind::Transport)?;
            self.transport.execute(http_request).await.map_err(TokenErrorKind::Transport)
        };
        let response =
            timeout_at(&*self.clock, deadline, http_exchange).await.unwrap_or(Err(TokenErrorKind::TimedOut));
        match response.and_then(|response| parse_token_response(&response)) {
            Ok((token, lifetime, generation)) => {
                FetchOutcome::Issued(Arc::new(CachedToken::new(token, generation, started_at, lifetime)))
            }
            Err(failure) => FetchOutcome::Failed(failure),
        }
    }

    fn http_request(
        &self,
        key: &ApiKey,
        rejected: Option<&AccessToken>,
    ) -> Result<HttpRequest, TransportError> {
        let (base, path) = (self.hosts.bases().first(), format!("/v1/apps/{}/access_token", self.appid));
        match rejected {
            None => HttpRequest::to_control_server(base, key, &path, None),
            Some(token) => {
                let body = serde_json::json!({ "access_token": token.expose_secret() }).to_string();
                HttpRequest::to_control_server(base, key, &(path + "/report"), Some(body.into()))
            }
        }
    }
}

fn parse_token_response(
    response: &RawResponse<Bytes>,
) -> Result<(AccessToken, Duration, Generation), TokenErrorKind> {
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
    Ok((token, Duration::from_secs(expires_in), Generation::new(generation)))
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
