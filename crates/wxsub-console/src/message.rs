//! One message: what it is, what it waits for, its grant, its request and its history.

use maud::{Markup, html};
use wxsub_outbox::state::{MessageState, Stage};
use wxsub_outbox::view::{GrantView, MessageView};
use wxsub_proto::{OpenId, Operation};

use crate::frame::{Frame, Section};
use crate::outbox::cause_of;
use crate::text::{bdi, masked, timestamp, without_openid};

/// What the page of a message shows.
#[derive(Debug, Clone)]
pub struct MessagePageView {
    /// The message with its history.
    pub message: MessageView,
    /// The grant that it uses.
    pub grant: Option<GrantView>,
    /// What is posted, as lines of JSON. `None` when nothing more can happen to the message.
    pub request: Option<String>,
    /// Whether the openid is shown, wherever it is: that is in the audit.
    pub is_revealed: bool,
}

/// The page of a message.
#[must_use]
pub fn message(frame: &Frame<'_>, view: &MessagePageView) -> String {
    let MessagePageView { message, grant, request, is_revealed } = view;
    let title = frame.text("Message", "消息");
    let path = format!("/outbox/{}", message.id);
    let hidden = message.touser.as_ref().filter(|_| !is_revealed);
    let body = html! {
        h1 { (title) " " span.id { (message.id) } }
        section.card {
            p { (frame.state_badge(message.state)) " " (cause_of(frame, message)) }
            (advice(frame, message))
            dl {
                dt { (frame.text("App", "应用")) } dd { code { (message.appid.as_str()) } }
                dt { (frame.text("To", "接收者")) }
                dd {
                    @match &message.touser {
                        Some(openid) if *is_revealed => { code.address { (openid.as_str()) } }
                        Some(openid) => {
                            (masked(openid)) " "
                            @if frame.is_operator() {
                                (frame.form(&format!("{path}/reveal"), "inline", &html! {
                                    button.quiet { (frame.text("Reveal (recorded in the audit)", "显示完整 openid（会记录）")) }
                                }))
                            }
                        }
                        None => { "–" }
                    }
                }
                (details(frame, message, hidden))
                @if let Some(grant) = grant {
                    dt { (frame.text("Grant", "授权")) }
                    dd { (frame.grant_state(grant.state)) " · " (frame.relative(grant.consented_at)) }
                }
            }
            @if message.state == MessageState::Queued && frame.is_operator() {
                (frame.form(&format!("{path}/cancel"), "row", &html! {
                    button.danger { (frame.text("Withdraw this message", "取消这条消息")) }
                }))
            }
            @if message.state == MessageState::MaybeSent && message.decision.is_none() {
                p { a.button href=(frame.link("/decisions")) { (frame.text("Decide", "去裁定")) } }
            }
        }
        (history(frame, message, hidden))
        @if let Some(request) = request {
            h2 { (frame.text("Request", "请求")) }
            pre.card tabindex="0" { (without_openid(request, hidden)) }
        }
    };
    frame.page(Section::Outbox, title, &body)
}

/// The words of `wxsub explain` about the code.
fn advice(frame: &Frame<'_>, message: &MessageView) -> Markup {
    let operation = match message.stage {
        Some(Stage::Token) => Operation::FetchToken,
        _ => Operation::Send,
    };
    html! {
        @if let Some(errcode) = message.errcode {
            p { (errcode.meaning(operation).in_language(frame.language)) }
        }
        @if let Some(remedy) = message.remedy {
            (frame.remedy(remedy.advice().in_language(frame.language)))
        }
    }
}

/// `hidden` is an openid that is not shown.
fn details(frame: &Frame<'_>, message: &MessageView, hidden: Option<&OpenId>) -> Markup {
    let at = |at| frame.relative(at);
    html! {
        @if let Some(template) = &message.template_id {
            dt { (frame.text("Template", "模板")) } dd { code { (template.as_str()) } }
        }
        @if let Some(scene) = message.scene { dt { (frame.text("Scene", "场景值")) } dd { (scene) } }
        dt { (frame.text("Recorded", "登记时间")) } dd { (at(message.created_at)) }
        dt { (frame.text("Send at", "发送时间")) } dd { (at(message.send_at)) }
        dt { (frame.text("Expires", "截止时间")) } dd { (at(message.expires_at)) }
        dt { (frame.text("Attempts", "尝试次数")) } dd { (message.attempt) }
        @if let Some(stage) = message.stage {
            dt { (frame.text("Ended at the step", "结束时的步骤")) } dd { (frame.stage(stage)) }
        }
        @if let Some(rid) = &message.rid { dt { "rid" } dd { code { (bdi(&without_openid(rid, hidden))) } } }
        @if let Some(key) = &message.idempotency_key {
            dt { (frame.text("Idempotency key", "幂等键")) } dd { (bdi(&without_openid(key.as_str(), hidden))) }
        }
        @if let Some(decision) = message.decision {
            dt { (frame.text("Decision", "裁定")) }
            dd { code { (decision) } @if let Some(by) = &message.decided_by { " · " (bdi(by)) } }
        }
        @if let Some(parent) = message.parent_id {
            dt { (frame.text("In place of", "替代的消息")) }
            dd { a.id href=(frame.link(&format!("/outbox/{parent}"))) { (parent) } }
        }
    }
}

/// `hidden` is an openid that is not shown.
fn history(frame: &Frame<'_>, message: &MessageView, hidden: Option<&OpenId>) -> Markup {
    html! {
        h2 { (frame.text("History", "历史")) }
        ol.card.history {
            @for event in message.events.iter().flatten() {
                li {
                    (timestamp(event.at)) " · " strong { (frame.event(event.event)) }
                    @if let Some(actor) = &event.actor { " · " (bdi(&without_openid(actor, hidden))) }
                    @if let Some(detail) = &event.detail { " · " (bdi(&without_openid(detail, hidden))) }
                }
            }
        }
    }
}
