//! Notifies callers that wait for messages to become final.

use tokio::sync::broadcast;
use wxsub_proto::LocalizedText;

use crate::ledger::{Applied, Recorded};
use crate::message::StoredMessage;

/// How many outcomes a reader may fall behind.
const CAPACITY: usize = 1024;

/// Sends final messages to their readers.
#[derive(Debug, Clone)]
pub(crate) struct Finals(broadcast::Sender<StoredMessage>);

/// Final messages, one after the other.
#[derive(Debug)]
pub struct Outcomes(broadcast::Receiver<StoredMessage>);

/// So many outcomes were missed, because their reader was slow: read them from the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} outcomes were missed; read them from the ledger")]
pub struct MissedOutcomes(pub u64);

impl MissedOutcomes {
    /// Returns the text in every language.
    #[must_use]
    pub fn localized(&self) -> LocalizedText<String> {
        LocalizedText::new(self.to_string(), format!("漏掉了 {} 个结果；请从消息库中读取", self.0))
    }
}

impl Outcomes {
    /// The next message that becomes final. Waits for ever when the outbox is gone.
    ///
    /// # Errors
    /// [`MissedOutcomes`] if the reader was too slow. The next call gives the oldest that is left.
    ///
    /// # Cancel safety
    /// No outcome is lost.
    pub async fn next(&mut self) -> Result<StoredMessage, MissedOutcomes> {
        match self.0.recv().await {
            Ok(message) => Ok(message),
            Err(broadcast::error::RecvError::Lagged(missed)) => Err(MissedOutcomes(missed)),
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

impl Finals {
    pub(crate) fn new() -> Self {
        Self(broadcast::Sender::new(CAPACITY))
    }

    pub(crate) fn subscribe(&self) -> Outcomes {
        Outcomes(self.0.subscribe())
    }

    /// What a commit changed.
    pub(super) fn publish(&self, applied: &Applied) {
        match applied {
            Applied::Recorded(Ok(Recorded::New(message))) | Applied::Cancelled(Ok(message)) => {
                self.one(message);
            }
            Applied::Settled { message: Some(message), .. } => self.one(message),
            Applied::Moved(rows) => rows.new.iter().for_each(|message| self.one(message)),
            Applied::Messages(messages) => messages.iter().for_each(|message| self.one(message)),
            _ => {}
        }
    }

    fn one(&self, message: &StoredMessage) {
        if message.state.is_final() && self.0.receiver_count() > 0 {
            // A reader that has gone meanwhile needs no outcome.
            let _ = self.0.send(message.clone());
        }
    }
}
