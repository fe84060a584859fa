//! The messages that users received.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::{Map, Value};
use wxsub_proto::{AppId, OpenId};

/// One message in a user's chat. As JSON: the members of the body, and these two beside them.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ReceivedMessage {
    /// The app that sent it.
    pub appid: AppId,
    /// When it arrived, in seconds since the Unix epoch, by the sandbox's clock.
    pub received_at: u64,
    /// The body of the send, as it was written.
    #[serde(flatten)]
    pub body: Map<String, Value>,
}

/// Everybody's messages, oldest first.
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

    /// Every mailbox, the one with the latest message first.
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
