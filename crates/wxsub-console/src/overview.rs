//! The overview: what is wrong, since when and what to do; then every app.

use maud::{Markup, html};
use wxsub_api::{AppError, AppHealth, AppStatus, ServerProblem};
use wxsub_core::clock::UnixMillis;
use wxsub_core::rfc3339;
use wxsub_outbox::state::{MessageState, WaitingFor};
use wxsub_outbox::view::AppView;
use wxsub_proto::Operation;

use crate::day::{DayView, plots};
use crate::frame::{Frame, Section};
use crate::text::{bdi, duration};
use crate::webhooks::{EndpointView, MAX_LAG, endpoint_problem};

/// What the overview shows.
#[derive(Debug, Clone)]
pub struct OverviewView {
    /// What is wrong with the server itself.
    pub problems: Vec<ServerProblem>,
    /// The apps.
    pub apps: Vec<AppOverview>,
    /// The ledger. `None` without one.
    pub ledger: Option<LedgerState>,
    /// What the server has counted.
    pub day: DayView,
}

/// Whether the ledger can be used.
#[derive(Debug, Clone)]
pub enum LedgerState {
    /// Commits fail.
    Unavailable(ServerProblem),
    /// It was not read in time. What the page shows of it is not complete.
    Silent,
    /// All of it was read.
    Read(LedgerOverview),
}

/// What the ledger has that belongs to no app.
#[derive(Debug, Clone, Default)]
pub struct LedgerOverview {
    /// How many workers are alive.
    pub live_workers: usize,
    /// The endpoints of webhooks, with the oldest delivery of each that failed.
    pub endpoints: Vec<EndpointView>,
}

/// One app.
#[derive(Debug, Clone)]
pub struct AppOverview {
    /// Its health.
    pub status: AppStatus,
    /// When its token was requested.
    pub requested_at: Option<UnixMillis>,
    /// When the next attempt to get a token starts.
    pub next_attempt_at: Option<UnixMillis>,
    /// When its first queued message is due. `None` if none is queued.
    pub first_due_at: Option<UnixMillis>,
    /// Its messages. `None` without a ledger, and if the ledger does not tell now.
    pub outbox: Option<AppView>,
}

impl AppOverview {
    /// Apps with a problem come first, the worst of them at the top.
    fn urgency(&self) -> u8 {
        match self.status.state {
            AppHealth::Down => 0,
            AppHealth::Degraded => 1,
            _ if self.status.state_file_broken => 2,
            AppHealth::Ok => 4,
            _ => 3,
        }
    }

    fn undecided(&self) -> u64 {
        self.outbox.as_ref().map_or(0, |outbox| outbox.undecided)
    }

    /// Why its messages wait, if an operator can change it.
    fn waiting_for(&self) -> Option<WaitingFor> {
        self.outbox.as_ref().and_then(|outbox| outbox.waiting_for)
    }

    /// Since when a message is due that is not sent, although nothing forbids it.
    fn overdue_since(&self, now: UnixMillis) -> Option<UnixMillis> {
        let due_at = self.first_due_at.filter(|_| self.waiting_for().is_none())?;
        (now.since(due_at) > MAX_LAG).then_some(due_at)
    }
}

/// The overview.
#[must_use]
pub fn overview(frame: &Frame<'_>, view: &OverviewView) -> String {
    let mut apps: Vec<_> = view.apps.iter().collect();
    apps.sort_by_key(|app| app.urgency());
    let title = frame.text("Overview", "概览");
    let rejected: u64 = view.day.hours.iter().map(|hour| hour.inbox_rejected).sum();
    let undecided: u64 = apps.iter().map(|app| app.undecided()).sum();
    let problems = html! {
        @match &view.ledger {
            Some(LedgerState::Unavailable(problem)) => { (server_problem(frame, problem)) }
            Some(LedgerState::Silent) => { (silent_problem(frame)) }
            Some(LedgerState::Read(_)) | None => {}
        }
        @for app in &apps { (app_problem(frame, app)) }
        @for problem in &view.problems { (server_problem(frame, problem)) }
        @if undecided > 0 { (undecided_problem(frame, undecided)) }
        @if let Some(LedgerState::Read(ledger)) = &view.ledger {
            @if ledger.live_workers == 0 { (worker_problem(frame)) }
            @for endpoint in &ledger.endpoints { (endpoint_problem(frame, endpoint)) }
        }
        @for app in &apps { (pause_problem(frame, app)) }
        @if rejected > 0 { (inbox_problem(frame, rejected)) }
    };
    let body = html! {
        h1.visually-hidden { (title) }
        @if problems.0.is_empty() {
            section.card { p.good { strong { (frame.text("No problem is known.", "没有发现问题。")) } } }
        }
        (problems)
        (app_table(frame, &apps, view.ledger.is_some()))
        @if let Some(LedgerState::Read(ledger)) = &view.ledger { (ledger_line(frame, ledger, undecided)) }
        (plots(frame, &view.day))
    };
    frame.page(Section::Overview, title, &body)
}

fn silent_problem(frame: &Frame<'_>) -> Markup {
    let title = html! { (frame.text("The ledger did not respond within 2 s", "消息库 2 秒内没有响应")) };
    let effect = frame.text(
        "Its messages, workers and webhooks are not all shown. They may have problems that this page does not know.",
        "消息、worker 和 webhook 没有全部显示；它们可能有本页不知道的问题。",
    );
    let remedy = frame.text(
        "load the page again; if that does not help, look at the load and the log of the database.",
        "请刷新页面；如果仍然如此，请查看数据库的负载和日志。",
    );
    problem_card(frame, "card problem", &title, effect, remedy)
}

/// A problem: what it is, its effect, and what to do.
fn problem_card(frame: &Frame<'_>, class: &str, title: &Markup, effect: &str, remedy: &str) -> Markup {
    html! {
        section class=(class) {
            h2 { (title) }
            p { (effect) }
            (frame.remedy(remedy))
        }
    }
}

fn server_problem(frame: &Frame<'_>, problem: &ServerProblem) -> Markup {
    html! {
        section.card.problem.degraded[problem.kind != "ledger"] {
            h2 { (frame.text("Server", "服务器")) " · " code { (problem.kind) } }
            p { (bdi(frame.text(&problem.text, &problem.text_zh))) }
        }
    }
}

/// The card of an app with a problem of its tokens.
fn app_problem(frame: &Frame<'_>, app: &AppOverview) -> Markup {
    let status = &app.status;
    let is_unwell = matches!(status.state, AppHealth::Down | AppHealth::Degraded);
    let has_problem = is_unwell
        || status.error.is_some()
        || status.store.is_some()
        || status.in_doubt
        || status.state_file_broken;
    let class = if status.state == AppHealth::Down { "card problem" } else { "card problem degraded" };
    html! {
        @if has_problem {
            section class=(class) {
                h2 { code { (status.appid.as_str()) } " " (health(frame, status)) }
                @if let Some(error) = &status.error { (token_error(frame, error)) }
                @if let Some(store) = &status.store {
                    p { strong { (frame.text("Token store: ", "access_token 存储：")) } (bdi(&store.text)) }
                    (frame.remedy(store.remedy.advice().in_language(frame.language)))
                    (since(frame, &store.since))
                }
                @if status.in_doubt {
                    p { (frame.text(
                        "The token is in doubt: the response to a fetch was lost, so Weixin may have invalidated it. The server tries again.",
                        "access_token 存疑：上次获取的响应丢失，微信可能已使旧的 access_token 失效。服务器会自动重试。",
                    )) }
                }
                @if status.state_file_broken {
                    p { (frame.text(
                        "The state file could not be read at the start, and was renamed to *.broken.",
                        "启动时无法读取状态文件，已改名为 *.broken。",
                    )) }
                }
            }
        }
    }
}

/// Why fetching fails: the words of `wxsub explain`.
fn token_error(frame: &Frame<'_>, error: &AppError) -> Markup {
    let text = frame.text(&error.text, &error.text_zh);
    html! {
        @match error.errcode {
            Some(errcode) => {
                p { strong.bad { (errcode) } " "
                    (errcode.meaning(Operation::FetchToken).in_language(frame.language)) }
                (frame.remedy(errcode.advice(Operation::FetchToken).in_language(frame.language)))
            }
            None => {
                p { (bdi(text)) }
                (frame.remedy(error.remedy.advice().in_language(frame.language)))
            }
        }
        @if let Some(ip) = error.ip {
            p { (frame.text("Address to allow: ", "需要加入白名单的 IP：")) code.address { (ip) } }
        }
        @if let Some(at) = &error.since { (since(frame, at)) }
        @if error.errcode.is_some() {
            p.quiet { (bdi(text)) }
        }
    }
}

fn since(frame: &Frame<'_>, text: &str) -> Markup {
    html! {
        @if let Ok(at) = rfc3339::parse(text) {
            p { (frame.text("Since: ", "开始于：")) (frame.relative(at)) }
        }
    }
}

fn undecided_problem(frame: &Frame<'_>, undecided: u64) -> Markup {
    html! {
        section.card.problem.degraded {
            h2 { (frame.text("Undecided messages: ", "待裁定的消息：")) (undecided) }
            p { (frame.text(
                "They may have been sent, and wxsub does not repeat them by itself.",
                "这些消息可能已发出，wxsub 不会自动重发。",
            )) }
            p { a.button href=(frame.link("/decisions")) { (frame.text("Decide", "去裁定")) } }
        }
    }
}

fn pause_problem(frame: &Frame<'_>, app: &AppOverview) -> Markup {
    let appid = app.status.appid.as_str();
    html! {
        @if let Some((outbox, waiting_for)) = app.outbox.as_ref().zip(app.waiting_for()) {
            section.card.problem.degraded {
                h2 { code { (appid) } " · " (frame.waiting_for(waiting_for)) }
                @if let Some(by) = &outbox.paused_by {
                    p { (frame.text("Paused by ", "暂停者：")) (bdi(by))
                        @if let Some(note) = &outbox.note { (frame.text(": ", "：")) (bdi(note)) } }
                }
                p { a.button href=(frame.link("/workers")) { (frame.text("Show", "去查看")) } }
            }
        }
        @if let Some(at) = app.overdue_since(frame.now) {
            section.card.problem.degraded {
                h2 { code { (appid) } " · " (frame.text("messages are overdue", "消息逾期未发")) }
                p { (frame.text("Due: ", "应发时间：")) (frame.relative(at)) }
                (frame.remedy(frame.text(
                    "raise rate_per_s or concurrency of the app if its messages are many; else look at the server's log.",
                    "如果消息很多，请调大该应用的 rate_per_s 或 concurrency；否则请查看服务器日志。",
                )))
            }
        }
    }
}

fn worker_problem(frame: &Frame<'_>) -> Markup {
    let title = html! { (frame.text("No worker is alive", "没有存活的 worker")) };
    let remedy = frame.text(
        "look at the server's log for why its worker ended, and restart the server.",
        "请查看服务器日志中 worker 结束的原因，然后重启服务器。",
    );
    let effect = frame.text("Queued messages wait.", "排队的消息不会发送。");
    problem_card(frame, "card problem", &title, effect, remedy)
}

fn inbox_problem(frame: &Frame<'_>, rejected: u64) -> Markup {
    let title =
        frame.text("Rejected rows of inboxes in the last 24 hours: ", "最近 24 小时 inbox 中被拒绝的行：");
    let effect = frame.text(
        "They stay in their table and are not sent. Their column error says why; so does the server's log.",
        "这些行留在表中，不会发送。原因见 error 列和服务器日志。",
    );
    let remedy = frame.text(
        "list them with SELECT id, appid, error FROM wxsub_inbox WHERE error IS NOT NULL. Correct each row and set error to NULL, or delete it.",
        "用 SELECT id, appid, error FROM wxsub_inbox WHERE error IS NOT NULL 列出；更正后把 error 设为 NULL，或删除该行。",
    );
    problem_card(frame, "card problem degraded", &html! { (title) (rejected) }, effect, remedy)
}

/// What the ledger has to do, in one line.
fn ledger_line(frame: &Frame<'_>, ledger: &LedgerOverview, undecided: u64) -> Markup {
    let pending: u64 = ledger.endpoints.iter().map(|endpoint| endpoint.status.pending).sum();
    html! {
        p {
            a href=(frame.link("/decisions")) { (frame.text("Undecided", "待裁定")) } " " (undecided) " · "
            a href=(frame.link("/workers")) { (frame.text("Live workers", "存活的 worker")) } " " (ledger.live_workers) " · "
            a href=(frame.link("/webhooks")) { (frame.text("Webhooks to be delivered", "待投递的 webhook")) } " " (pending)
        }
    }
}

fn health(frame: &Frame<'_>, status: &AppStatus) -> Markup {
    let (class, text) = match status.state {
        AppHealth::Ok => ("badge good", frame.text("ok", "正常")),
        AppHealth::Degraded => ("badge warn", frame.text("degraded", "降级")),
        AppHealth::Down => ("badge bad", frame.text("down", "不可用")),
        _ => ("badge quiet", frame.text("starting", "启动中")),
    };
    html! { span class=(class) { (text) } }
}

fn app_table(frame: &Frame<'_>, apps: &[&AppOverview], has_ledger: bool) -> Markup {
    let columns = [
        frame.text("App", "应用"),
        frame.text("Token", "access_token"),
        frame.text("Next fetch", "下次获取"),
        frame.text("Queued", "排队"),
        frame.text("Undecided", "待裁定"),
    ];
    let shown = if has_ledger { &columns[..] } else { columns.get(..3).unwrap_or(&columns) };
    let number = |count: Option<u64>| html! { @match count { Some(count) => { (count) } None => { "–" } } };
    let row = |app: &&AppOverview| {
        let outbox = app.outbox.as_ref();
        let queued = |outbox: &AppView| outbox.counts.get(&MessageState::Queued).copied().unwrap_or_default();
        vec![
            html! { code { (app.status.appid.as_str()) } " " (health(frame, &app.status)) },
            token(frame, app),
            app.next_attempt_at.map_or_else(|| number(None), |at| frame.relative(at)),
            html! {
                (number(outbox.map(queued)))
                @if let Some(at) = app.first_due_at {
                    " · " (frame.text("first due ", "最早应发送：")) (frame.relative(at))
                }
            },
            number(outbox.map(|outbox| outbox.undecided)),
        ]
    };
    html! {
        h2 { (frame.text("Apps", "应用")) }
        (frame.table(shown, apps.iter().map(row)))
    }
}

fn token(frame: &Frame<'_>, app: &AppOverview) -> Markup {
    let age = app.requested_at.map(|at| frame.now.since(at).as_secs());
    html! {
        @match (age, app.status.expires_in) {
            (Some(age), Some(expires_in)) => {
                (frame.text("age ", "已用 ")) (duration(age, frame.language))
                (frame.text(", valid for ", "，剩余 ")) (duration(expires_in, frame.language))
            }
            _ => { span.bad { (frame.text("none", "没有")) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use wxsub_proto::Language;

    use super::*;

    #[test]
    fn card_of_a_problem_says_its_effect_and_then_what_to_do() {
        let now = UnixMillis::default();
        let frame = Frame { language: Language::English, base: "", now, visitor: None };
        for (card, effect, remedy) in [
            (silent_problem(&frame), "Its messages,", "load the page"),
            (worker_problem(&frame), "Queued messages wait.", "look at"),
            (inbox_problem(&frame, 3), "They stay in their table", "list them"),
        ] {
            let card = card.into_string();
            let [effect, remedy] = [format!("</h2><p>{effect}"), format!("Do: {remedy}")];
            assert!(card.contains(&effect) && card.contains(&remedy), "{card}");
        }
    }
}
