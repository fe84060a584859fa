//! An attempt to get a token from a control server, which keeps it for everybody and knows the AppSecret.

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

/// How much of a server's explanation is kept, in characters.
const MAX_DETAIL: usize = 300;

/// What the server hands out.
#[derive(Deserialize)]
struct TokenResponse {
    access_token: String,
    expires_in: u64,
    generation: u64,
}

/// Why it hands out nothing.
#[derive(Deserialize)]
struct ProblemDetails {
    detail: Option<String>,
    remedy: Option<Remedy>,
}

impl TokenFetcher {
    /// Asks the server; names the token that Weixin has rejected, if the newest known is that one.
    pub(super) async fn ask_server(&self, order: &FetchRequest, key: &ApiKey) -> FetchOutcome {
        if order.mode == RefreshMode::Forced {
            // It has just been told, and hands out the same token: it knows better, or cannot do better.
            return FetchOutcome::Failed(TokenErrorKind::RejectedTokenReissued);
        }
        let rejected = order.rejected.as_ref().filter(|rejected| rejected.generation() == order.known);
        let asked = self.clock.now();
        let deadline = asked.mono.after(order.timeout);
        let exchange = async {
            let request = self
                .request(key, rejected.map(|issued| issued.token()))
                .map_err(TokenErrorKind::Transport)?;
            self.transport.execute(request).await.map_err(TokenErrorKind::Transport)
        };
        let raw = timeout_at(&*self.clock, deadline, exchange).await.unwrap_or(Err(TokenErrorKind::TimedOut));
        match raw.and_then(|raw| read(&raw)) {
            Ok((token, life, generation)) => {
                FetchOutcome::Issued(Arc::new(CachedToken::new(token, generation, asked, life)))
            }
            Err(failure) => FetchOutcome::Failed(failure),
        }
    }

    fn request(&self, key: &ApiKey, rejected: Option<&AccessToken>) -> Result<HttpRequest, TransportError> {
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

fn read(raw: &RawResponse<Bytes>) -> Result<(AccessToken, Duration, Generation), TokenErrorKind> {
    let unreadable =
        || upstream_error("the control server's reply cannot be read; is it one?", Remedy::FixConfig);
    if raw.status != 200 {
        return Err(refused(raw));
    }
    let TokenResponse { access_token, expires_in, generation } =
        serde_json::from_slice(&raw.body).map_err(|_| unreadable())?;
    let token = AccessToken::new(access_token).map_err(|_| unreadable())?;
    Ok((token, Duration::from_secs(expires_in), Generation::new(generation)))
}

/// The server says why, in words that hold no secret; what it does not say, the status does.
fn refused(raw: &RawResponse<Bytes>) -> TokenErrorKind {
    let problem: Option<ProblemDetails> = serde_json::from_slice(&raw.body).ok();
    let (said, remedy) = problem.map_or((None, None), |problem| (problem.detail, problem.remedy));
    let said: String =
        said.unwrap_or_default().chars().filter(|c| !c.is_control()).take(MAX_DETAIL).collect();
    let by_status = match raw.status {
        401 | 403 | 404 => Remedy::FixConfig,
        429 => Remedy::SlowDown,
        _ => Remedy::RetryLater,
    };
    upstream_error(
        &format!("the control server answered {}: {said}", raw.status),
        remedy.unwrap_or(by_status),
    )
}

fn upstream_error(text: &str, remedy: Remedy) -> TokenErrorKind {
    TokenErrorKind::Upstream { text: text.trim_end_matches([':', ' ']).to_owned(), remedy }
}
