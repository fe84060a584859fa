//! The messages that users received.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::{Map, Value};
use wxsub_proto::{AppId, OpenId};

/// A message that a user received. In JSON, `appid` and `received_at` stand beside the members of the body.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ReceivedMessage {
    /// The app that sent the message.
    pub appid: AppId,
    /// The time of arrival in seconds since the Unix epoch, by the sandbox's clock.
    pub received_at: u64,
    /// The body of the send request, unchanged.
    #[serde(flatten)]
    pub body: Map<String, Value>,
}

/// The messages of all users, oldest first.
#[derive(Default)]
pub(crate) struct Mailboxes(HashMap<OpenId, Vec<ReceivedMessage>>);

impl Mailboxes {
    pub(crate) fn deliver(
        &mut self,
        to: OpenId,
        appid: AppId,
        received_at: u64,
        mut body: Map<String, Value>,
    ) {
        body.retain(|name, _| name != "appid" && name != "received_at");
        let received = ReceivedMessage { appid, received_at, body };
        self.0.entry(to).or_default().push(received);
    }

    /// All mailboxes. The one with the latest message comes first.
    pub(crate) fn sorted(&self) -> Vec<(&OpenId, &[ReceivedMessage])> {
        let mut all: Vec<_> = self.0.iter().map(|(openid, received)| (openid, received.as_slice())).collect();
        let latest = |received: &[ReceivedMessage]| received.last().map(|received| received.received_at);
        all.sort_by(|(one, ones), (other, others)| {
            latest(others).cmp(&latest(ones)).then_with(|| one.cmp(other))
        });
        all
    }

    pub(crate) fn messages(&self, openid: &OpenId) -> &[ReceivedMessage] {
        self.0.get(openid).map(Vec::as_slice).unwrap_or_default()
    }
}
