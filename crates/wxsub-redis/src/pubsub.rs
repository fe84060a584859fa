//! Hints that a newer token is stored, as Redis publishes them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use redis::{FromRedisValue, PushInfo, PushKind};
use tokio::sync::watch;
use wxsub_core::token::Generation;

/// The newest generation published on each channel that somebody listens to.
#[derive(Debug, Default)]
pub(crate) struct ChangeNotifications(Mutex<HashMap<String, watch::Sender<Generation>>>);

impl ChangeNotifications {
    /// Waits until a generation newer than `known` has been published on this channel.
    pub(crate) async fn newer_than(&self, channel: String, known: Generation) -> Generation {
        let mut newest = {
            let mut channels = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            channels.entry(channel).or_default().subscribe()
        };
        let newer = newest.wait_for(|newest| *newest > known).await.map(|newer| *newer);
        // Whoever tells lives as long as this.
        newer.unwrap_or(known)
    }

    /// Takes what Redis has pushed. Channels that nobody listens to are passed over, and so is what is no generation.
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
    async fn who_listens_hears_of_newer_ones_only_and_misses_none() {
        let hints = ChangeNotifications::default();
        hints.on_push(published("one", "5"));
        assert!(hints.0.lock().unwrap().is_empty(), "nobody listens yet");
        for (told, newest) in [("7", 7), ("6", 7), ("soon", 7), ("-1", 7), ("8", 8)] {
            let known = Generation::new(newest - 1);
            let waits = hints.newer_than("one".to_owned(), known);
            let tells = async { hints.on_push(published("one", told)) };
            let (heard, ()) = tokio::join!(waits, tells);
            assert_eq!(heard.get(), newest);
        }
        hints.on_push(published("two", "9"));
        hints.on_push(PushInfo { kind: PushKind::Disconnection, data: Vec::new() });
        assert_eq!(hints.0.lock().unwrap().len(), 1);
    }
}
