//! An attempt to get a token from a control server, which keeps it for everybody and knows the AppSecret.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use wxsub_proto::codec::RawReply;
use wxsub_proto::{AccessToken, Remedy};

use super::round::Rounds;
use crate::clock::until;
use crate::token::{ClientKey, Failure, Generation, Issued, Mode, Order, Outcome};
use crate::transport::{Outgoing, TransportError};

/// How much of a server's explanation is kept, in characters.
const MAX_DETAIL: usize = 300;

/// What the server hands out.
#[derive(Deserialize)]
struct HandedOut {
    access_token: String,
    expires_in: u64,
    generation: u64,
}

/// Why it hands out nothing.
#[derive(Deserialize)]
struct Problem {
    detail: Option<String>,
    remedy: Option<Remedy>,
}

impl Rounds {
    /// Asks the server; names the token that Weixin has rejected, if the newest known is that one.
    pub(super) async fn ask_server(&self, order: &Order, key: &ClientKey) -> Outcome {
        if order.mode == Mode::Forced {
            // It has just been told, and hands out the same token: it knows better, or cannot do better.
            return Outcome::Failed(Failure::StillRejected);
        }
        let rejected = order.rejected.as_ref().filter(|rejected| rejected.generation() == order.known);
        let asked = self.clock.now();
        let deadline = asked.mono.after(order.timeout);
        let exchange = async {
            let request =
                self.request(key, rejected.map(|issued| issued.token())).map_err(Failure::Transport)?;
            self.transport.exchange(request).await.map_err(Failure::Transport)
        };
        let raw = until(&*self.clock, deadline, exchange).await.unwrap_or(Err(Failure::TimedOut));
        match raw.and_then(|raw| read(&raw)) {
            Ok((token, life, generation)) => {
                Outcome::Issued(Arc::new(Issued::new(token, generation, asked, life)))
            }
            Err(failure) => Outcome::Failed(failure),
        }
    }

    fn request(&self, key: &ClientKey, rejected: Option<&AccessToken>) -> Result<Outgoing, TransportError> {
        let path = format!("/v1/apps/{}/access_token", self.appid);
        match rejected {
            None => Outgoing::to_control_server(&self.base, key, &path, None),
            Some(token) => {
                let body = serde_json::json!({ "access_token": token.expose() }).to_string();
                Outgoing::to_control_server(&self.base, key, &(path + "/report"), Some(body.into()))
            }
        }
    }
}

fn read(raw: &RawReply<Bytes>) -> Result<(AccessToken, Duration, Generation), Failure> {
    let unreadable = || elsewhere("the control server's reply cannot be read; is it one?", Remedy::FixConfig);
    if raw.status != 200 {
        return Err(refused(raw));
    }
    let HandedOut { access_token, expires_in, generation } =
        serde_json::from_slice(&raw.body).map_err(|_| unreadable())?;
    let token = AccessToken::new(access_token).map_err(|_| unreadable())?;
    Ok((token, Duration::from_secs(expires_in), Generation::new(generation)))
}

/// The server says why, in words that hold no secret; what it does not say, the status does.
fn refused(raw: &RawReply<Bytes>) -> Failure {
    let problem: Option<Problem> = serde_json::from_slice(&raw.body).ok();
    let (said, remedy) = problem.map_or((None, None), |problem| (problem.detail, problem.remedy));
    let said: String =
        said.unwrap_or_default().chars().filter(|c| !c.is_control()).take(MAX_DETAIL).collect();
    let by_status = match raw.status {
        401 | 403 | 404 => Remedy::FixConfig,
        429 => Remedy::SlowDown,
        _ => Remedy::RetryLater,
    };
    elsewhere(&format!("the control server answered {}: {said}", raw.status), remedy.unwrap_or(by_status))
}

fn elsewhere(text: &str, remedy: Remedy) -> Failure {
    Failure::Elsewhere { text: text.trim_end_matches([':', ' ']).to_owned(), remedy }
}
