//! Sending for somebody. What has begun is brought to its end, audited and counted, whether or not they wait for it.

use std::sync::Arc;

use wxsub_core::SendError;
use wxsub_proto::Message;

use crate::app::App;
use crate::audit::{Action, Door};
use crate::call::Caller;
use crate::house::{House, Told};
use crate::result_line::{Outcome, ResultLine};

/// Who sends through which door.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sending<'a> {
    pub(crate) house: &'a Arc<House>,
    pub(crate) app: &'a Arc<App>,
    pub(crate) caller: Caller<'a>,
    pub(crate) door: Door,
}

/// What became of it.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) result: ResultLine,
    pub(crate) error: Option<SendError>,
}

impl Sent {
    /// Whether it ended without telling how.
    pub(crate) fn is_lost(&self) -> bool {
        self.error.is_none() && self.result.outcome != Outcome::Sent
    }
}

/// Sends. Whoever stops waiting stops nothing.
pub(crate) async fn send(sending: &Sending<'_>, message: Message) -> Sent {
    let (house, app) = (Arc::clone(sending.house), Arc::clone(sending.app));
    let (door, address) = (sending.door, sending.caller.address);
    let client = sending.caller.client.cloned();
    let given_up = ResultLine::given_up(&message);
    let under_way = tokio::spawn(async move {
        let error = app.client.send(&message).await.err();
        let result = match &error {
            None => ResultLine::sent(&message),
            Some(error) => ResultLine::failed(&message, error),
        };
        let caller = Caller { client: client.as_ref(), address };
        tell(&house, &app, door, &caller, &result, error.as_ref());
        Sent { result, error }
    });
    // It can only be lost with the runtime.
    under_way.await.unwrap_or(Sent { result: given_up, error: None })
}

fn tell(
    house: &House,
    app: &App,
    door: Door,
    caller: &Caller<'_>,
    result: &ResultLine,
    error: Option<&SendError>,
) {
    let outcome = result.outcome.as_str();
    house.metrics().sent(app.appid(), outcome);
    if let Some(errcode) = error.and_then(SendError::errcode) {
        house.metrics().refused(errcode);
    }
    let told = Told {
        appid: Some(app.appid()),
        outcome,
        generation: app.current().map(|current| current.issued.generation().get()),
        errcode: error.and_then(SendError::errcode),
        rid: error.and_then(SendError::trace_id),
    };
    house.tell(door, Action::Send, caller, &told);
}
