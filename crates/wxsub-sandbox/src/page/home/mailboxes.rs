//! The mailboxes, as the users see them.

use maud::{Markup, html};
use serde_json::Value;
use wxsub_proto::{Color, HttpUrl};

use super::super::format_time::timestamp;
use super::super::zh;
use crate::mailbox::ReceivedMessage;
use crate::state::SandboxState;

/// The number of mailboxes shown, and of messages shown in each.
const MAX_SHOWN: usize = 20;

pub(super) fn section(state: &SandboxState) -> Markup {
    html! {
        section #mailboxes {
            h2 { "Mailboxes" (zh("服务通知")) }
            div #mailboxes-now data-live aria-live="polite" {
                (mailboxes(state))
                (pending(state))
            }
        }
    }
}

/// The open grants.
fn pending(state: &SandboxState) -> Markup {
    let mut grants: Vec<_> = state.grants.iter().collect();
    grants.sort_by_key(|(appid, grant)| (appid, grant.openid(), grant.template_id(), grant.scene()));
    html! {
        @if !grants.is_empty() {
            div.grants {
                div.card {
                    h3 { "Open grants, one message each" (zh("待使用的授权")) }
                    ul.plain {
                        @for (_, grant) in grants.iter().take(MAX_SHOWN) {
                            li { code { (grant.openid()) } span.quiet { " · scene " (grant.scene()) " · " }
                                code { (grant.template_id()) } }
                        }
                        @if grants.len() > MAX_SHOWN { li.quiet { "and " (grants.len() - MAX_SHOWN) " more" } }
                    }
                }
            }
        }
    }
}

fn mailboxes(state: &SandboxState) -> Markup {
    let all = state.mailboxes.sorted();
    html! {
        @if all.is_empty() {
            p.empty { "No messages. Open a consent page, click Allow, then send a message." }
        }
        @for (openid, received) in all.iter().take(MAX_SHOWN) {
            article.chat {
                h3 { code { (openid) } }
                @if received.len() > MAX_SHOWN { p.day { (received.len() - MAX_SHOWN) " earlier messages" } }
                @for one in received.iter().skip(received.len().saturating_sub(MAX_SHOWN)) { (message(one)) }
            }
        }
        @if all.len() > MAX_SHOWN { p.quiet { "and " (all.len() - MAX_SHOWN) " more mailboxes" } }
    }
}

fn message(received: &ReceivedMessage) -> Markup {
    let text = |place: &str| {
        let mut names = place.split('.');
        let first = received.body.get(names.next()?);
        names.fold(first, |value, name| value?.get(name)).and_then(Value::as_str)
    };
    let content = text("data.content.value").unwrap_or_default();
    let color: Option<Color> = text("data.content.color").and_then(|text| text.parse().ok());
    let scene =
        received.body.get("scene").map(|scene| scene.as_str().map_or(scene.to_string(), str::to_owned));
    html! {
        p.day { (timestamp(received.received_at)) }
        div.message {
            h4 { (text("title").unwrap_or_default()) }
            // The content security policy forbids inline styles. The `font` element needs none.
            p.content { @match &color { Some(color) => font color=(color.as_str()) { (content) }, None => (content) } }
            (tap(text("url"), text("miniprogram.appid").zip(text("miniprogram.pagepath"))))
        }
        p.from { "from " code { (received.appid) } @if let Some(scene) = scene { ", scene " (scene) } }
    }
}

/// The tap target. A mini program takes precedence over a URL.
fn tap(url: Option<&str>, mini_program: Option<(&str, &str)>) -> Markup {
    let url = url.and_then(|url| HttpUrl::new(url).ok());
    html! {
        @match (mini_program, url) {
            (Some((appid, page)), _) => p.tap { span { "Mini program" (zh("小程序")) } code { (appid) " " (page) } },
            (None, Some(url)) => a.tap href=(url) rel="noreferrer noopener" target="_blank" {
                span { "Details" (zh("详情")) } code { (url) }
            },
            (None, None) => p.tap.quiet { span { "No tap target" } },
        }
    }
}
