//! `POST /cgi-bin/message/template/subscribe`: sent on from here. The token is the right to do so, as it is with Weixin.

use std::sync::Arc;

use axum::response::Response;
use wxsub_proto::endpoint::subscribe::decode_query_token;
use wxsub_proto::message::Draft;
use wxsub_proto::{ErrCode, Message, Rule};

use super::answer::Answer;
use crate::app::App;
use crate::audit::{Action, Door};
use crate::call::Call;
use crate::house::Told;
use crate::send::{Sending, send};

pub(super) async fn send_one(call: Call) -> Response {
    let (message, app) = match ready(&call).await {
        Ok(ready) => ready,
        Err(answer) => {
            let told = Told { outcome: "denied", errcode: Some(answer.errcode), ..Told::default() };
            call.house.tell(Door::Weixin, Action::Send, &call.caller(None), &told);
            return answer.written();
        }
    };
    let sending = Sending { house: &call.house, app: &app, caller: call.caller(None), door: Door::Weixin };
    let sent = call.in_time(send(&sending, message)).await;
    match sent {
        Some(sent) if sent.is_lost() => Answer::maybe_sent().written(),
        Some(sent) => Answer::sent(sent.error.as_ref()).written(),
        None => Answer::maybe_sent().written(),
    }
}

async fn ready(call: &Call) -> Result<(Message, Arc<App>), Answer> {
    let app = app(call)?;
    let body = call.body().await.map_err(Answer::no_body)?;
    Ok((message(&body)?, app))
}

/// The app whose token this is: the current one or one of the two before it.
fn app(call: &Call) -> Result<Arc<App>, Answer> {
    let token =
        decode_query_token(call.head.uri.query().unwrap_or_default()).map_err(|invalid| {
            match invalid.rule() {
                Rule::Missing | Rule::Empty => {
                    Answer::new(ErrCode::MISSING_ACCESS_TOKEN, "access_token missing")
                }
                _ => unknown_token(),
            }
        })?;
    let found = call.snapshot.apps.values().find(|app| app.generation_of(&token).is_some());
    found.cloned().ok_or_else(unknown_token)
}

fn unknown_token() -> Answer {
    Answer::new(ErrCode::INVALID_CREDENTIAL, "invalid credential, access_token is invalid or not latest")
}

fn message(body: &[u8]) -> Result<Message, Answer> {
    if body.is_empty() {
        return Err(Answer::new(ErrCode::EMPTY_POST_DATA, "empty post data"));
    }
    let draft = Draft::from_json(body)
        .map_err(|invalid| Answer::new(ErrCode::DATA_FORMAT, format!("data format error: {invalid}")))?;
    draft
        .check()
        .map_err(|problems| Answer::new(ErrCode::ARGUMENT_INVALID, format!("argument invalid! {problems}")))
}
