//! The list of messages: filters, counts and one page.

use maud::{Markup, html};
use wxsub_outbox::state::MessageState;
use wxsub_outbox::view::{AppView, MessageView};
use wxsub_proto::AppId;

use crate::frame::{Frame, Section};
use crate::text::{bdi, masked, without_openid};

/// What the list shows.
#[derive(Debug, Clone)]
pub struct OutboxView {
    /// All apps.
    pub apps: Vec<AppId>,
    /// Which messages are listed.
    pub filter: OutboxFilter,
    /// The counts of the app.
    pub app: AppView,
    /// One page of messages.
    pub messages: Vec<MessageView>,
    /// The path of the next page.
    pub next: Option<String>,
    /// The path of the first page in the other order.
    pub reversed: String,
}

/// Which messages are listed.
#[derive(Debug, Clone)]
pub struct OutboxFilter {
    /// Of this app.
    pub app: AppId,
    /// In this state.
    pub state: Option<MessageState>,
    /// To this user.
    pub openid: String,
    /// Recorded since this time in UTC, as `2027-01-31T12:00`.
    pub from: String,
    /// The oldest first; else the newest.
    pub oldest_first: bool,
}

/// The list of messages.
#[must_use]
pub fn outbox(frame: &Frame<'_>, view: &OutboxView) -> String {
    let title = frame.text("Outbox", "发件箱");
    let [order, other] = match view.filter.oldest_first {
        true => [
            frame.text("Oldest first.", "最早的在前。"),
            frame.text("Show the newest first", "改为最新的在前"),
        ],
        false => [
            frame.text("Newest first.", "最新的在前。"),
            frame.text("Show the oldest first", "改为最早的在前"),
        ],
    };
    let body = html! {
        h1 { (title) }
        section.card {
            (filter_form(frame, view))
            form.filter method="get" action=(frame.link("/outbox/find")) {
                div {
                    label for="id" { (frame.text("Message id", "消息 id")) }
                    input #id name="id" size="36" maxlength="64" required;
                }
                button { (frame.text("Show", "查看")) }
            }
        }
        p { (counts(frame, &view.app)) }
        p.quiet { (order) " " a href=(frame.link(&view.reversed)) { (other) } }
        @if view.messages.is_empty() {
            p.quiet { (frame.text("No message meets these conditions.", "没有符合条件的消息。")) }
        } @else {
            (message_table(frame, &view.messages))
        }
        @if let Some(next) = &view.next {
            p { a.button href=(frame.link(next)) { (frame.text("Next page", "下一页")) } }
        }
    };
    frame.page(Section::Outbox, title, &body)
}

fn filter_form(frame: &Frame<'_>, view: &OutboxView) -> Markup {
    let filter = &view.filter;
    html! {
        form.filter method="get" action=(frame.link("/outbox")) {
            (frame.app_select(&view.apps, &filter.app))
            div {
                label for="state" { (frame.text("State", "状态")) }
                select #state name="state" {
                    option value="" { (frame.text("all", "全部")) }
                    @for state in MessageState::ALL {
                        option value=(state) selected[filter.state == Some(*state)] { (frame.state(*state)) }
                    }
                }
            }
            div {
                label for="openid" { "openid" }
                input #openid name="openid" value=(filter.openid) maxlength="128" autocomplete="off";
            }
            div {
                label for="from" { (frame.text("Recorded since (UTC)", "登记时间不早于（UTC）")) }
                input #from name="from" type="datetime-local" value=(filter.from);
            }
            @if filter.oldest_first { input type="hidden" name="order" value="oldest"; }
            button { (frame.text("List", "查询")) }
        }
    }
}

/// How many messages the app has in each state.
pub(crate) fn counts(frame: &Frame<'_>, app: &AppView) -> Markup {
    html! {
        @for state in MessageState::ALL {
            @if let Some(count) = app.counts.get(state) { span.count { (frame.state_badge(*state)) " " (count) } " " }
        }
        @if app.undecided > 0 {
            span.count { span.badge.warn { (frame.text("undecided", "待裁定")) } " " (app.undecided) }
        }
        @if app.counts.is_empty() { span.quiet { (frame.text("no messages", "没有消息")) } }
    }
}

fn message_table(frame: &Frame<'_>, messages: &[MessageView]) -> Markup {
    let columns = [
        frame.text("Recorded", "登记时间"),
        frame.text("State", "状态"),
        frame.text("To", "接收者"),
        frame.text("Cause", "原因"),
        frame.text("Message", "消息"),
    ];
    let row = |message: &MessageView| {
        vec![
            frame.relative(message.created_at),
            frame.state_badge(message.state),
            html! {
                @match &message.touser { Some(openid) => { (masked(openid)) } None => { "–" } }
                @if let Some(scene) = message.scene { span.quiet { " · " (scene) } }
            },
            cause_of(frame, message),
            html! { a.id href=(frame.link(&format!("/outbox/{}", message.id))) { (message.id) } },
        ]
    };
    frame.table(&columns, messages.iter().map(row))
}

/// Why a message is as it is, in a few words.
pub(crate) fn cause_of(frame: &Frame<'_>, message: &MessageView) -> Markup {
    let errmsg = message.errmsg.as_ref().map(|errmsg| without_openid(errmsg, message.touser.as_ref()));
    let parts = [
        message.waiting_for.map(|waiting_for| html! { (frame.waiting_for(waiting_for)) }),
        message.reason.map(|reason| html! { (frame.reason(reason)) }),
        message.errcode.map(|errcode| html! { strong { (errcode) } }),
        errmsg.map(|errmsg| bdi(&errmsg)),
    ];
    html! {
        @for (index, part) in parts.into_iter().flatten().enumerate() {
            @if index > 0 { " · " }
            (part)
        }
    }
}
