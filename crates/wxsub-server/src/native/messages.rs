//! `POST …/messages`: sends one message. The body of every answer has the members of the result object.

use axum::response::{IntoResponse, Response};
use wxsub_proto::Message;
use wxsub_proto::message::Draft;

use super::problem::{Kind, Problem};
use super::{Named, app, json, no_body};
use crate::audit::{Action, Door};
use crate::call::Call;
use crate::client::Scope;
use crate::house::Told;
use crate::result_line::{Outcome, ResultLine};
use crate::send::{Sending, send};

pub(super) async fn send_one(named: Named, call: Call) -> Response {
    let (client, app) = match app(&call, &named, Scope::MessageSend) {
        Ok(found) => found,
        Err((client, problem)) => return not_tried(&call, call.caller(client), problem),
    };
    let caller = call.caller(Some(client));
    let message = match call.body().await.map_err(no_body).and_then(|body| message(&body)) {
        Ok(message) => message,
        Err(problem) => return not_tried(&call, caller, problem),
    };
    let sending = Sending { house: &call.house, app, caller, door: Door::Native };
    let sent = call.in_time(send(&sending, message.clone())).await;
    answer(sent.map_or_else(|| ResultLine::given_up(&message), |sent| sent.result))
}

fn message(body: &[u8]) -> Result<Message, Problem> {
    let not_json = |problems: wxsub_proto::Problems| {
        Problem::new(Kind::NotJson, problems.to_string())
            .with_result(ResultLine::invalid(&Draft::default(), &problems))
    };
    let draft = Draft::from_json(body).map_err(|invalid| not_json(invalid.into()))?;
    draft.check().map_err(|problems| {
        let result = ResultLine::invalid(&draft, &problems);
        Problem::new(Kind::Invalid, "the message breaks rules, listed in problems; correct it")
            .with_result(result)
    })
}

fn answer(result: ResultLine) -> Response {
    let (kind, detail) = match result.outcome {
        Outcome::Sent => return json(&result),
        Outcome::Refused => (Kind::Refused, "Weixin refused it, with errcode; see remedy"),
        Outcome::Invalid => (Kind::Invalid, "the message breaks rules, listed in problems; correct it"),
        Outcome::NotSent => (Kind::NotSent, "the message was certainly not sent; it can be tried again"),
        Outcome::MaybeSent => (Kind::MaybeSent, "the message may have been sent; do not blindly repeat it"),
    };
    let problem = Problem::new(kind, detail).with_result(result);
    match kind {
        Kind::NotSent => problem.after(std::time::Duration::from_secs(5)).into_response(),
        _ => problem.into_response(),
    }
}

fn not_tried(call: &Call, caller: crate::call::Caller<'_>, problem: Problem) -> Response {
    call.house.tell(Door::Native, Action::Send, &caller, &Told { outcome: "denied", ..Told::default() });
    let remedy = problem.kind.remedy();
    if problem.has_result() {
        return problem.into_response();
    }
    problem.with_result(ResultLine::not_tried(remedy)).into_response()
}
