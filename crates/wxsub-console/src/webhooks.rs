//! The endpoints of webhooks: what each gets, and what it has not taken.

use std::time::Duration;

use maud::{Markup, html};
use wxsub_core::clock::UnixMillis;
use wxsub_outbox::webhook::{EndpointStatus, MAX_COUNTED_DELIVERIES, StoredDelivery};

use crate::frame::{Frame, Section};
use crate::text::bdi;

/// How long a message or a webhook may be due before that is a problem. The alert `WxsubOutboxLag` has the same.
pub(crate) const MAX_LAG: Duration = Duration::from_secs(5 * 60);

/// What the page of webhooks shows.
#[derive(Debug, Clone)]
pub struct WebhooksView {
    /// The endpoints.
    pub endpoints: Vec<EndpointView>,
    /// Whether the failed webhooks of an endpoint were made due just now.
    pub is_redelivered: bool,
}

/// One endpoint.
#[derive(Debug, Clone)]
pub struct EndpointView {
    /// The endpoint, and the numbers of its deliveries.
    pub status: EndpointStatus,
    /// Deliveries whose last attempt failed, oldest first: some of them, or the first one.
    pub failed: Vec<StoredDelivery>,
}

/// How an endpoint is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Health {
    Ok,
    /// Its last attempts failed.
    Failing,
    /// It has dead letters.
    Dead,
    /// No server attempts to deliver its webhooks.
    Overdue,
    /// It responded with 410.
    Disabled,
}

impl EndpointView {
    fn health(&self, now: UnixMillis) -> Health {
        let is_overdue = |due_since| now.since(due_since) > MAX_LAG;
        match &self.status {
            status if status.endpoint.disabled_at.is_some() => Health::Disabled,
            status if status.due_since.is_some_and(is_overdue) => Health::Overdue,
            status if status.dead > 0 => Health::Dead,
            _ if !self.failed.is_empty() => Health::Failing,
            _ => Health::Ok,
        }
    }

    fn has_problem(&self, now: UnixMillis) -> bool {
        self.health(now) != Health::Ok
    }
}

/// The page of webhooks.
#[must_use]
pub fn webhooks(frame: &Frame<'_>, view: &WebhooksView) -> String {
    let title = frame.text("Webhooks", "Webhook");
    let body = html! {
        h1 { (title) }
        @if view.is_redelivered {
            p.note role="status" { (frame.text(
                "The failed webhooks are due now. What fails again is listed here.",
                "失败的 webhook 已重新进入投递；再次失败的会列在这里。",
            )) }
        }
        @if view.endpoints.is_empty() {
            p.quiet { (frame.text(
                "There is no endpoint. [[webhooks]] in the server's configuration adds one.",
                "没有 endpoint。在服务器配置中用 [[webhooks]] 添加。",
            )) }
        }
        @for endpoint in &view.endpoints { (card(frame, endpoint)) }
    };
    frame.page(Section::Webhooks, title, &body)
}

fn card(frame: &Frame<'_>, view: &EndpointView) -> Markup {
    let (endpoint, has_problem) = (&view.status.endpoint, view.has_problem(frame.now));
    html! {
        section.card.problem[has_problem].degraded[has_problem] id=(anchor(&endpoint.name)) {
            h2 { (bdi(&endpoint.name)) " " (badge(frame, view)) }
            (cause(frame, view))
            dl {
                dt { (frame.text("Apps", "应用")) }
                dd {
                    @match &endpoint.apps {
                        None => { (frame.text("all", "全部")) }
                        Some(apps) => { @for app in apps { code { (app.as_str()) } " " } }
                    }
                }
                dt { (frame.text("Events", "事件")) }
                dd { @for event in &endpoint.events { code { (event) } " " } }
                dt { (frame.text("To be delivered", "待投递")) } dd { (counted(view.status.pending)) }
                dt { (frame.text("Dead letters", "死信")) } dd { (counted(view.status.dead)) }
            }
            @if has_problem && frame.is_operator() { (redeliver_form(frame, &endpoint.name)) }
            @if !view.failed.is_empty() { (failed_table(frame, &view.failed)) }
        }
    }
}

/// The overview's card of an endpoint with a problem.
pub(crate) fn endpoint_problem(frame: &Frame<'_>, view: &EndpointView) -> Markup {
    html! {
        @if view.has_problem(frame.now) {
            section.card.problem.degraded {
                h2 { (frame.text("Webhooks to ", "Webhook endpoint：")) (bdi(&view.status.endpoint.name)) " " (badge(frame, view)) }
                (cause(frame, view))
                @if let Some(delivery) = view.failed.first() {
                    p { (frame.text("Oldest: ", "最早一条：")) (frame.relative(delivery.created_at)) " · "
                        (bdi(delivery.error.as_deref().unwrap_or_default())) }
                }
                p { a.button href=(frame.link(&page_of(&view.status.endpoint.name))) { (frame.text("Show", "去查看")) } }
            }
        }
    }
}

fn anchor(endpoint: &str) -> String {
    format!("endpoint-{endpoint}")
}

/// The path of the page of an endpoint.
pub(crate) fn page_of(endpoint: &str) -> String {
    format!("/webhooks#{}", anchor(endpoint))
}

fn badge(frame: &Frame<'_>, view: &EndpointView) -> Markup {
    let (class, text) = match view.health(frame.now) {
        Health::Disabled => ("badge bad", frame.text("disabled", "已停用")),
        Health::Overdue => ("badge bad", frame.text("not attempted", "无人投递")),
        Health::Dead => ("badge bad", frame.text("dead letters", "有死信")),
        Health::Failing => ("badge warn", frame.text("failing", "投递失败")),
        Health::Ok => ("badge good", frame.text("ok", "正常")),
    };
    html! { span class=(class) { (text) } }
}

/// What is wrong with an endpoint, and what to do.
fn cause(frame: &Frame<'_>, view: &EndpointView) -> Markup {
    let (cause, remedy) = match view.health(frame.now) {
        Health::Disabled => (
            frame.text("It responded with 410, so it gets no webhooks. They wait.", "它返回了 410，因此已停止投递，webhook 会保留。"),
            frame.text(
                "if it is back, deliver again; else remove it from [[webhooks]] or correct its url.",
                "如果 endpoint 已恢复，请重新投递；否则请从 [[webhooks]] 中删除，或更正 url。",
            ),
        ),
        Health::Overdue => (
            frame.text(
                "Its webhooks are due, and no server attempts to deliver them.",
                "它的 webhook 已到投递时间，但没有服务器投递。",
            ),
            frame.text(
                "make sure that a server runs whose [[webhooks]] have this endpoint with the same url. If one does, the endpoint responds too slowly for all its webhooks.",
                "请确认有服务器在运行，且其 [[webhooks]] 中有该 endpoint 且 url 相同；如果有，则是该 endpoint 响应太慢，来不及接收所有 webhook。",
            ),
        ),
        Health::Dead => (
            frame.text(
                "Dead letters failed for three days, and are not tried again by themselves. They are deleted 30 days after their event.",
                "死信是三天内一直投递失败的 webhook，不再自动重试；事件发生 30 天后会被删除。",
            ),
            frame.text("correct the endpoint by the errors listed, then deliver again.", "请按列出的错误修复 endpoint，然后重新投递。"),
        ),
        Health::Failing => (
            frame.text(
                "Its last attempts failed. They are tried again by themselves for three days.",
                "最近的投递失败，三天内会自动重试。",
            ),
            frame.text(
                "look at the endpoint and its log; when it works again, deliver again, so that nothing waits for its next attempt.",
                "请检查 endpoint 及其日志；恢复后可点重新投递，不必等待下次重试。",
            ),
        ),
        Health::Ok => return html! {},
    };
    html! {
        p { (cause) }
        @let since = view.status.endpoint.disabled_at.or(view.status.due_since.filter(|_| view.health(frame.now) == Health::Overdue));
        @if let Some(at) = since {
            p { (frame.text("Since: ", "开始于：")) (frame.relative(at)) }
        }
        (frame.remedy(remedy))
    }
}

/// A number that is counted up to a limit.
fn counted(number: u64) -> Markup {
    html! { (number) @if number >= MAX_COUNTED_DELIVERIES { "+" } }
}

fn redeliver_form(frame: &Frame<'_>, endpoint: &str) -> Markup {
    let fields = html! {
        input type="hidden" name="endpoint" value=(endpoint);
        button { (frame.text("Deliver again", "重新投递")) }
    };
    frame.form("/webhooks/redeliver", "row", &fields)
}

fn failed_table(frame: &Frame<'_>, failed: &[StoredDelivery]) -> Markup {
    let columns = [
        frame.text("Event", "事件"),
        frame.text("Message", "消息"),
        frame.text("Attempts", "尝试次数"),
        frame.text("Last error", "最近错误"),
        frame.text("Next attempt", "下次尝试"),
    ];
    let row = |delivery: &StoredDelivery| {
        let message = delivery.id.message;
        vec![
            html! { code { (delivery.event) } " " (frame.relative(delivery.created_at)) },
            html! { a.id href=(frame.link(&format!("/outbox/{message}"))) { (message) } },
            html! { (delivery.attempt) },
            bdi(delivery.error.as_deref().unwrap_or_default()),
            match delivery.due_at {
                Some(at) if at > frame.now => frame.relative(at),
                Some(_) => html! { (frame.text("waits", "等待中")) },
                None => html! { span.badge.bad { (frame.text("dead letter", "死信")) } },
            },
        ]
    };
    html! {
        h3 { (frame.text("Not delivered, oldest first", "未投递成功（最早的在前）")) }
        (frame.table(&columns, failed.iter().map(row)))
    }
}

#[cfg(test)]
mod tests {
    use wxsub_outbox::id::MessageId;
    use wxsub_outbox::state::WebhookEvent;
    use wxsub_outbox::webhook::{DeliveryId, StoredEndpoint};
    use wxsub_proto::Language;

    use super::*;
    use crate::frame::Visitor;

    fn view(dead: u64, failed: Vec<StoredDelivery>) -> EndpointView {
        let endpoint = StoredEndpoint {
            name: "shop".to_owned(),
            url_sha256: [7; 32],
            apps: None,
            events: [WebhookEvent::Sent].into(),
            with_openid: false,
            disabled_at: None,
        };
        EndpointView { status: EndpointStatus { endpoint, due_since: None, pending: 0, dead }, failed }
    }

    fn page(endpoint: EndpointView, is_operator: bool) -> String {
        let visitor = Visitor { name: "ops", is_operator, form_token: "t", has_ledger: true };
        let now = UnixMillis::new(90_000_000);
        let frame = Frame { language: Language::English, base: "/base", now, visitor: Some(visitor) };
        webhooks(&frame, &WebhooksView { endpoints: vec![endpoint], is_redelivered: false })
    }

    #[test]
    fn dead_letter_is_listed_with_its_error_and_delivered_again_by_operators() {
        let message = MessageId::from_bytes([1; 16]);
        let letter = StoredDelivery {
            id: DeliveryId { endpoint: "shop".to_owned(), message, sequence: 3 },
            event: WebhookEvent::Sent.to_string(),
            body: "{\"openid\":\"oSecret\"}".to_owned(),
            created_at: UnixMillis::new(0),
            attempt: 10,
            due_at: None,
            error: Some("status 500 <b>".to_owned()),
        };
        let endpoint = view(MAX_COUNTED_DELIVERIES, vec![letter]);
        let shown = page(endpoint.clone(), true);
        for text in [
            "badge bad\">dead letter<",
            "1000+",
            "status 500 &lt;b&gt;",
            "message.sent",
            "Deliver again",
            "/base/outbox/",
        ] {
            assert!(shown.contains(text), "{text}: {shown}");
        }
        assert!(!shown.contains("oSecret"), "{shown}");
        assert!(!page(endpoint, false).contains("Deliver again"));
        let mut unattended = view(0, Vec::new());
        unattended.status.due_since = Some(UnixMillis::new(90_000_000 - 301_000));
        let shown = page(unattended, true);
        assert!(shown.contains("badge bad\">not attempted<") && shown.contains("Since: "), "{shown}");
        let well = page(view(0, Vec::new()), true);
        assert!(well.contains("badge good") && !well.contains("Deliver again"), "{well}");
    }
}
