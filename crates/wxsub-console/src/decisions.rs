//! The messages that may have been sent: the evidence about each, and what each choice does.

use maud::{Markup, html};
use wxsub_core::clock::UnixMillis;
use wxsub_outbox::evidence::Evidence;
use wxsub_outbox::state::Decision;

use crate::frame::{Frame, Section};
use crate::text::{bdi, masked, without_openid};

/// What the page of decisions shows.
#[derive(Debug, Clone)]
pub struct DecisionsView {
    /// The oldest undecided messages of each app.
    pub messages: Vec<UndecidedView>,
    /// Whether there are more.
    pub has_more: bool,
    /// Whether a decision was made just now.
    pub is_decided: bool,
}

/// One undecided message.
#[derive(Debug, Clone)]
pub struct UndecidedView {
    /// What is known of it.
    pub evidence: Evidence,
    /// When it can be decided, if not yet.
    pub decidable_at: Option<UnixMillis>,
}

/// The page of decisions.
#[must_use]
pub fn decisions(frame: &Frame<'_>, view: &DecisionsView) -> String {
    let title = frame.text("Decisions", "裁定");
    let body = html! {
        h1 { (title) }
        @if view.is_decided { p.note role="status" { (frame.text("The decision is recorded.", "裁定已记录。")) } }
        p { (frame.text(
            "These messages may have been sent. Weixin cannot tell, and wxsub never repeats them by itself. Ask the user to look, if it matters.",
            "这些消息可能已发出。微信无法查询结果，wxsub 也不会自动重发。如果重要，请用户查看“服务通知”。",
        )) }
        @if view.messages.is_empty() {
            section.card { p.good { strong { (frame.text("No message waits for a decision.", "没有待裁定的消息。")) } } }
        }
        @for undecided in &view.messages { (card(frame, undecided)) }
        @if view.has_more {
            p.quiet { (frame.text("There are more: decide these first.", "还有更多消息；请先裁定以上消息。")) }
        }
    };
    frame.page(Section::Decisions, title, &body)
}

fn card(frame: &Frame<'_>, undecided: &UndecidedView) -> Markup {
    let Evidence { message, grant, newer_grant, .. } = &undecided.evidence;
    html! {
        section.card.problem.degraded {
            h2 { a.id href=(frame.link(&format!("/outbox/{}", message.id))) { (message.id) } }
            dl {
                dt { (frame.text("App", "应用")) } dd { code { (message.appid.as_str()) } }
                dt { (frame.text("To", "接收者")) }
                dd {
                    @if let Some(openid) = &message.touser { (masked(openid)) }
                    @if let Some(scene) = message.scene { " · " (frame.text("scene ", "场景值 ")) (scene) }
                }
                dt { (frame.text("Evidence", "依据")) } dd { (cause(frame, &undecided.evidence)) }
                @if let Some(at) = message.attempted_at {
                    dt { (frame.text("Attempt", "尝试")) } dd { (frame.relative(at)) }
                }
                dt { (frame.text("Grant", "授权")) }
                dd {
                    @match grant {
                        Some(grant) => { (frame.grant_state(grant.state)) }
                        None => { (frame.text("none", "没有")) }
                    }
                }
                @if let Some(newer) = newer_grant {
                    dt { (frame.text("Newer consent", "更新的授权")) }
                    dd { (frame.relative(newer.consented_at)) " · " (frame.grant_state(newer.state)) }
                }
            }
            @match undecided.decidable_at {
                Some(at) => {
                    p.note { (frame.text(
                        "It cannot be decided yet: a worker that was stopped may still post it. Possible ",
                        "现在还不能裁定：被挂起的 worker 可能仍会发出。可裁定时间：",
                    )) (frame.relative(at)) }
                }
                None => { @if frame.is_operator() { (choices(frame, undecided)) } @else { (consequences(frame, undecided)) } }
            }
        }
    }
}

fn cause(frame: &Frame<'_>, evidence: &Evidence) -> Markup {
    let message = &evidence.message;
    html! {
        @if let Some(cause) = evidence.cause() { (cause.in_language(frame.language)) (frame.text(".", "。")) }
        @if let Some(stage) = message.stage { (frame.text(" Step: ", "步骤：")) (frame.stage(stage)) (frame.text(".", "。")) }
        @if let Some(errmsg) = &message.errmsg { " " (bdi(&without_openid(errmsg, message.touser.as_ref()))) }
    }
}

/// What a decision does to this message.
fn consequence(frame: &Frame<'_>, decision: Decision, undecided: &UndecidedView) -> &'static str {
    undecided.evidence.consequence(decision).in_language(frame.language)
}

fn name(frame: &Frame<'_>, decision: Decision) -> &'static str {
    match decision {
        Decision::AssumeSent => frame.text("Assume sent", "视为已发出"),
        Decision::GiveUp => frame.text("Give up", "放弃"),
        Decision::SendAgain => frame.text("Send again", "再次发送"),
    }
}

fn consequences(frame: &Frame<'_>, undecided: &UndecidedView) -> Markup {
    html! {
        dl {
            @for decision in Decision::ALL {
                dt { (name(frame, *decision)) } dd { (consequence(frame, *decision, undecided)) }
            }
        }
    }
}

fn choices(frame: &Frame<'_>, undecided: &UndecidedView) -> Markup {
    let id = undecided.evidence.message.id;
    let fields = html! {
        input type="hidden" name="version" value=(undecided.evidence.message.version);
        label for={ "note-" (id) } { (frame.text("Note", "备注")) }
        input id={ "note-" (id) } name="note" maxlength="300" autocomplete="off";
        @for decision in Decision::ALL {
            p.choice {
                button.danger[*decision == Decision::SendAgain] name="decision" value=(decision)
                    aria-describedby={ (decision) "-" (id) } { (name(frame, *decision)) }
                " " span id={ (decision) "-" (id) } { (consequence(frame, *decision, undecided)) }
            }
        }
    };
    frame.form(&format!("/decisions/{id}"), "decide", &fields)
}
