//! One request on its way through a door.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, FromRequest, Request};
use axum::http::header::{AUTHORIZATION, HeaderMap};
use axum::http::request::Parts;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use wxsub_core::clock::{Mono, until};
use wxsub_core::token::ClientKey;

use crate::client::{Client, find};
use crate::house::{House, Snapshot};
use crate::key::KeyDigest;

/// A request, and what is configured while it is answered.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) house: Arc<House>,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) head: Parts,
    pub(crate) address: Option<IpAddr>,
    /// When an answer must have been given; counted from the first time that something is waited for.
    deadline: OnceLock<Mono>,
    /// Taken once. Behind a lock only so that a call can be shared while it is answered.
    body: Mutex<Option<Body>>,
}

/// Who is told about in an audit line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller<'a> {
    pub(crate) client: Option<&'a Client>,
    pub(crate) address: Option<IpAddr>,
}

/// Why there is no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoBody {
    TooLarge,
    /// It broke off, or did not come in time.
    Incomplete,
}

impl FromRequest<Arc<House>> for Call {
    type Rejection = Infallible;

    async fn from_request(request: Request, house: &Arc<House>) -> Result<Self, Infallible> {
        let (head, body) = request.into_parts();
        let snapshot = house.snapshot();
        let address = head.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_canonical());
        let (deadline, body) = (OnceLock::new(), Mutex::new(Some(body)));
        Ok(Self { house: Arc::clone(house), snapshot, head, address, deadline, body })
    }
}

impl Call {
    /// The client of this key, if it may come from here.
    pub(crate) fn client(&self, key: Option<&ClientKey>) -> Option<&Client> {
        let client = find(&self.snapshot.clients, &KeyDigest::of(key?))?;
        client.may_come_from(self.address).then_some(client)
    }

    pub(crate) fn caller<'a>(&self, client: Option<&'a Client>) -> Caller<'a> {
        Caller { client, address: self.address }
    }

    /// What is left of the request's time is all that this may take.
    pub(crate) async fn in_time<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        until(&**self.house.clock(), self.deadline(), work).await
    }

    /// When the request's time is over. It begins with the first question for it.
    pub(crate) fn deadline(&self) -> Mono {
        let begin = || self.house.clock().now().mono.after(self.snapshot.limits.request);
        *self.deadline.get_or_init(begin)
    }

    fn take_body(&self) -> Body {
        self.body.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
    }

    /// Reads the body, within the limits.
    pub(crate) async fn body(&self) -> Result<Bytes, NoBody> {
        let body = Limited::new(self.take_body(), self.snapshot.limits.body);
        match self.in_time(body.collect()).await {
            Some(Ok(whole)) => Ok(whole.to_bytes()),
            Some(Err(error)) if error.is::<LengthLimitError>() => Err(NoBody::TooLarge),
            Some(Err(_)) | None => Err(NoBody::Incomplete),
        }
    }
}

/// The key of `Authorization: Bearer KEY`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<ClientKey> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| ClientKey::new(key.trim()).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_behind_the_scheme() {
        let key = "a".repeat(43);
        for (value, found) in [
            (format!("Bearer {key}"), true),
            (format!("bearer {key}"), true),
            (format!("Basic {key}"), false),
            (format!("Bearer{key}"), false),
            (key.clone(), false),
            ("Bearer ".to_owned(), false),
            ("Bearer short".to_owned(), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, value.parse().unwrap());
            assert_eq!(bearer(&headers).is_some(), found, "{value}");
            headers.append(AUTHORIZATION, value.parse().unwrap());
            assert!(bearer(&headers).is_none(), "which of two counts would be a guess");
        }
        assert!(bearer(&HeaderMap::new()).is_none());
    }
}
