//! One line of the audit log.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use wxsub_core::clock::UnixMillis;
use wxsub_proto::{AppId, ErrCode, TraceId, named_enum};

use crate::config::ApiClient;
use crate::state::denial::Denial;

/// One audit line. It contains no secret and no openid.
///
/// It begins as a denied request, and is completed while the request is handled.
#[serde_with::skip_serializing_none]
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Entry {
    /// When the line was queued.
    #[serde(serialize_with = "wxsub_core::rfc3339::serialize")]
    pub(super) at: UnixMillis,
    pub(crate) api: ApiSurface,
    pub(crate) action: Action,
    /// The client, by its name. Absent if the key is unknown, or an access token authorized the request.
    #[serde(serialize_with = "client_name")]
    pub(crate) client: Option<Arc<ApiClient>>,
    pub(super) address: Option<IpAddr>,
    pub(crate) appid: Option<AppId>,
    pub(crate) outcome: &'static str,
    /// Why the client was denied.
    pub(crate) reason: Option<Denial>,
    pub(crate) generation: Option<u64>,
    pub(crate) errcode: Option<ErrCode>,
    pub(crate) rid: Option<TraceId>,
    /// The id of the message in the ledger.
    pub(crate) message: Option<String>,
    /// The id of the grant in the ledger.
    pub(crate) grant: Option<String>,
}

fn client_name<S: Serializer>(client: &Option<Arc<ApiClient>>, serializer: S) -> Result<S::Ok, S::Error> {
    client.as_ref().map(|client| &client.name).serialize(serializer)
}

impl Entry {
    /// The outcome unless another one is set.
    pub(super) const FIRST_OUTCOME: &'static str = "denied";

    pub(super) fn new(api: ApiSurface, action: Action, address: Option<IpAddr>) -> Self {
        let (at, outcome) = (UnixMillis::default(), Self::FIRST_OUTCOME);
        let (client, appid, reason, generation, errcode, rid, message, grant) = Default::default();
        Self {
            at,
            api,
            action,
            client,
            address,
            appid,
            outcome,
            reason,
            generation,
            errcode,
            rid,
            message,
            grant,
        }
    }

    /// Whether a client's key or an access token came with the request.
    pub(super) fn has_known_caller(&self) -> bool {
        self.client.is_some() || self.generation.is_some()
    }

    /// Whether the server refused the request: the caller may not do this, or is over a limit. Its response gives the caller
    /// nothing.
    pub(crate) fn is_refused(&self) -> bool {
        matches!(self.outcome, "denied" | "rate_limited" | "overloaded")
    }
}

named_enum! {
    /// The API of a request.
    pub(crate) enum ApiSurface {
        V1 = "v1",
        Weixin = "weixin",
    }
}

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Action {
    Read,
    Report,
    Send,
    /// Lists the apps.
    List,
    /// Signs a request for consent.
    IssueConsent,
    /// Records a consent.
    RecordGrant,
    /// Lists the grants of a user.
    ListGrants,
    /// Voids a grant.
    VoidGrant,
    /// Records messages in the queue.
    Enqueue,
    /// Lists messages, or shows one.
    ReadOutbox,
    /// Withdraws a message.
    Cancel,
    /// Decides a message that may have been sent.
    Decide,
    /// Pauses an app.
    Pause,
    /// Resumes an app.
    Resume,
    /// Lists the endpoints of webhooks.
    ListWebhooks,
    /// Tries the failed webhooks of an endpoint again.
    Redeliver,
}

impl Action {
    /// Whether it changes something. A send has a task of its own.
    pub(crate) fn is_change(self) -> bool {
        match self {
            Self::Read | Self::Send | Self::List | Self::ListGrants => false,
            Self::ReadOutbox | Self::ListWebhooks => false,
            Self::Report | Self::IssueConsent | Self::RecordGrant | Self::VoidGrant | Self::Enqueue => true,
            Self::Cancel | Self::Decide | Self::Pause | Self::Resume | Self::Redeliver => true,
        }
    }
}
