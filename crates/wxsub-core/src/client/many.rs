//! Sends many messages, a bounded number at a time.

use std::num::NonZeroUsize;

use futures_util::{Stream, StreamExt};
use wxsub_proto::Message;

use super::Client;
use crate::error::SendError;

impl Client {
    /// Sends messages as they come, at most `in_flight` at a time, and returns each with its outcome, in their
    /// order.
    ///
    /// The stream reads no message ahead, so memory does not grow with their number. It does nothing unless it is
    /// polled.
    ///
    /// # Cancel safety
    /// As [`send`](Self::send): if the stream is dropped, it is unknown whether the messages in flight were sent.
    pub fn send_all<S>(
        &self,
        messages: S,
        in_flight: NonZeroUsize,
    ) -> impl Stream<Item = (Message, Result<(), SendError>)> + use<S>
    where
        S: Stream<Item = Message>,
    {
        let client = self.clone();
        messages
            .map(move |message| {
                let client = client.clone();
                async move {
                    let outcome = client.send(&message).await;
                    (message, outcome)
                }
            })
            .buffered(in_flight.get())
    }
}
