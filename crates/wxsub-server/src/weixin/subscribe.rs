//! `POST /cgi-bin/message/template/subscribe`: sent on from here. The token is the right to do so, as it is with Weixin.

use std::sync::Arc;

use axum::response::Response;
use wxsub_core::token::Generation;
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
    let (app, shown) = match app(&call) {
        Ok(found) => found,
        Err(answer) => return denied(&call, &answer, &Told::default()),
    };
    let message = match call.body().await.map_err(Answer::no_body).and_then(|body| message(&body)) {
        Ok(message) => message,
        Err(answer) => {
            let generation = Some(shown.get());
            let told = Told { appid: Some(app.appid()), generation, ..Told::default() };
            return denied(&call, &answer, &told);
        }
    };
    let sending = Sending { call: &call, app: &app, client: None, api: Door::Weixin, shown: Some(shown) };
    Answer::sent(&send(&sending, message).await).written()
}

fn denied(call: &Call, answer: &Answer, told: &Told<'_>) -> Response {
    let told = Told { outcome: "denied", errcode: Some(answer.errcode), ..told.clone() };
    call.house.tell(Door::Weixin, Action::Send, &call.caller(None), &told);
    answer.written()
}

/// The app whose token this is, the current one or one of the two before it; and which of them.
fn app(call: &Call) -> Result<(Arc<App>, Generation), Answer> {
    let token =
        decode_query_token(call.head.uri.query().unwrap_or_default()).map_err(|invalid| {
            match invalid.rule() {
                Rule::Missing | Rule::Empty => {
                    Answer::new(ErrCode::MISSING_ACCESS_TOKEN, "access_token missing")
                }
                _ => unknown_token(),
            }
        })?;
    let known = |app: &Arc<App>| Some((Arc::clone(app), app.generation_of(&token)?));
    call.snapshot.apps.values().find_map(known).ok_or_else(unknown_token)
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
        .check_ignoring_unknown()
        .map_err(|problems| Answer::new(ErrCode::ARGUMENT_INVALID, format!("argument invalid! {problems}")))
}
