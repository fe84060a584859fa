//! Notifications of newer tokens, as Redis publishes them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use redis::{FromRedisValue, PushInfo, PushKind};
use tokio::sync::watch;
use wxsub_core::token::Generation;

/// The newest generation published on each channel that has had a waiter.
#[derive(Debug, Default)]
pub(crate) struct ChangeNotifications(Mutex<HashMap<String, watch::Sender<Generation>>>);

impl ChangeNotifications {
    /// Waits until a generation newer than `known` has been published on this channel, and returns it.
    pub(crate) async fn wait_for_newer(&self, channel: String, known: Generation) -> Generation {
        let mut newest = {
            let mut channels = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            channels.entry(channel).or_default().subscribe()
        };
        let newer = newest.wait_for(|newest| *newest > known).await.map(|newer| *newer);
        // The sender lives in the map, and channels are never removed, so the wait cannot fail.
        newer.unwrap_or(known)
    }

    /// Handles a push message of Redis. Ignores channels without a waiter and payloads that are no generation.
    pub(crate) fn on_push(&self, push: PushInfo) {
        let PushInfo { kind: PushKind::PMessage, data } = push else { return };
        let Ok([_, channel, generation]) = <[redis::Value; 3]>::try_from(data) else { return };
        let (Ok(channel), Ok(generation)) =
            (String::from_redis_value(channel), u64::from_redis_value(generation))
        else {
            return;
        };
        let channels = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(newest) = channels.get(&channel) {
            let generation = Generation::new(generation);
            newest.send_if_modified(|newest| {
                let newer = generation > *newest;
                *newest = generation.max(*newest);
                newer
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use redis::Value;

    use super::*;

    fn published(channel: &str, text: &str) -> PushInfo {
        let data = ["wxsub:*", channel, text].map(|part| Value::BulkString(part.into())).to_vec();
        PushInfo { kind: PushKind::PMessage, data }
    }

    #[tokio::test]
    async fn waiter_gets_every_newer_generation_and_no_older_one() {
        let notifications = ChangeNotifications::default();
        notifications.on_push(published("one", "5"));
        assert!(notifications.0.lock().unwrap().is_empty(), "there is no waiter yet");
        for (payload, newest) in [("7", 7), ("6", 7), ("soon", 7), ("-1", 7), ("8", 8)] {
            let known = Generation::new(newest - 1);
            let waiter = notifications.wait_for_newer("one".to_owned(), known);
            let push = async { notifications.on_push(published("one", payload)) };
            let (received, ()) = tokio::join!(waiter, push);
            assert_eq!(received.get(), newest);
        }
        notifications.on_push(published("two", "9"));
        notifications.on_push(PushInfo { kind: PushKind::Disconnection, data: Vec::new() });
        assert_eq!(notifications.0.lock().unwrap().len(), 1);
    }
}
