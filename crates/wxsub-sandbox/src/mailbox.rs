//! The messages that users received.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

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

/// Maximum number of messages in all mailboxes. The oldest are deleted.
const MAX_MESSAGES: usize = 100_000;

/// The messages of all users, oldest first.
#[derive(Default)]
pub(crate) struct Mailboxes {
    by_user: HashMap<OpenId, VecDeque<ReceivedMessage>>,
    /// The user of each message, in the order of their arrival.
    users: VecDeque<OpenId>,
}

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
        self.by_user.entry(to.clone()).or_default().push_back(received);
        self.users.push_back(to);
        if self.users.len() > MAX_MESSAGES {
            self.delete_oldest();
        }
    }

    fn delete_oldest(&mut self) {
        let Some(user) = self.users.pop_front() else { return };
        if let Entry::Occupied(mut mailbox) = self.by_user.entry(user) {
            mailbox.get_mut().pop_front();
            if mailbox.get().is_empty() {
                mailbox.remove();
            }
        }
    }

    /// All mailboxes. The one with the latest message comes first.
    pub(crate) fn sorted(&self) -> Vec<(&OpenId, &VecDeque<ReceivedMessage>)> {
        let mut all: Vec<_> = self.by_user.iter().collect();
        let latest = |received: &VecDeque<ReceivedMessage>| received.back().map(|last| last.received_at);
        all.sort_by(|(one, ones), (other, others)| {
            latest(others).cmp(&latest(ones)).then_with(|| one.cmp(other))
        });
        all
    }

    pub(crate) fn messages(&self, openid: &OpenId) -> Vec<ReceivedMessage> {
        self.by_user.get(openid).into_iter().flatten().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oldest_message_is_deleted_when_there_are_too_many() {
        let mut mailboxes = Mailboxes::default();
        let [first, second]: [OpenId; 2] = ["first", "second"].map(|openid| openid.parse().unwrap());
        let appid: AppId = "wx1".parse().unwrap();
        mailboxes.deliver(first.clone(), appid.clone(), 0, Map::new());
        for at in 1..=MAX_MESSAGES as u64 {
            mailboxes.deliver(second.clone(), appid.clone(), at, Map::new());
        }
        assert_eq!((mailboxes.messages(&first).len(), mailboxes.sorted().len()), (0, 1));
        mailboxes.deliver(first.clone(), appid, 0, Map::new());
        let seconds = mailboxes.messages(&second);
        assert_eq!((mailboxes.messages(&first).len(), seconds.len()), (1, MAX_MESSAGES - 1));
        assert_eq!(seconds[0].received_at, 2);
    }
}
