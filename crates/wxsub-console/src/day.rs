//! What the server has counted in the last 24 hours, as plots: bars of SVG, with the numbers in a table beside them.

use maud::{Markup, html};
use wxsub_core::clock::UnixMillis;
use wxsub_core::rfc3339;
use wxsub_outbox::state::MessageState;

use crate::frame::Frame;

/// What the server has counted in the last 24 hours.
#[derive(Debug, Clone)]
pub struct DayView {
    /// When the server began to count.
    pub since: UnixMillis,
    /// The hours, oldest first. The last one goes on.
    pub hours: Vec<HourView>,
}

/// One hour.
#[derive(Debug, Clone, Copy, Default)]
pub struct HourView {
    /// When it begins.
    pub begins_at: UnixMillis,
    /// Messages that Weixin accepted.
    pub sent: u64,
    /// Messages that may have been sent.
    pub maybe_sent: u64,
    /// Messages that Weixin refused.
    pub refused: u64,
    /// Messages that were certainly not sent.
    pub not_sent: u64,
    /// Tokens that were fetched.
    pub fetched: u64,
    /// Attempts to fetch a token that failed.
    pub fetch_failed: u64,
    /// Rows of inboxes that were rejected.
    pub inbox_rejected: u64,
}

/// A kind of events: its name, the class of its bars, and its number in an hour.
type Series = (&'static str, &'static str, fn(&HourView) -> u64);

/// The size of a plot in its own units: an hour is so wide, a bar somewhat less, and the highest bar so high.
const HOUR_WIDTH: u64 = 14;
const BAR_WIDTH: u64 = 12;
const BAR_HEIGHT: u64 = 84;

/// Where the bars stand.
const BASE_LINE: u64 = 100;

/// Every so many hours there is a time below the bars.
const HOURS_PER_LABEL: u64 = 6;

/// The plots of the day.
pub(crate) fn plots(frame: &Frame<'_>, day: &DayView) -> Markup {
    let sends: &[Series] = &[
        (frame.state(MessageState::Sent), "sent", |hour| hour.sent),
        (frame.state(MessageState::MaybeSent), "maybe", |hour| hour.maybe_sent),
        (frame.state(MessageState::Refused), "refused", |hour| hour.refused),
        (frame.state(MessageState::NotSent), "failed", |hour| hour.not_sent),
    ];
    let fetches: &[Series] = &[
        (frame.text("fetched", "成功"), "fetched", |hour| hour.fetched),
        (frame.text("failed", "失败"), "failed", |hour| hour.fetch_failed),
    ];
    html! {
        h2 { (frame.text("Last 24 hours", "最近 24 小时")) }
        p.quiet {
            (frame.text(
                "Counted by this server in memory: other servers count their own, and a restart begins again. A message with a late response counts twice. Started: ",
                "由本服务器在内存中统计：其他服务器各自统计，重启后清零；收到迟到响应的消息会计两次。启动于：",
            ))
            (frame.relative(day.since))
        }
        div.grid {
            (plot(frame, "sends", frame.text("Messages by outcome", "消息结果"), &day.hours, sends))
            (plot(frame, "fetches", frame.text("Fetches of access tokens", "获取 access_token"), &day.hours, fetches))
        }
    }
}

fn plot(frame: &Frame<'_>, id: &str, title: &str, hours: &[HourView], series: &[Series]) -> Markup {
    let total = |hour: &HourView| series.iter().map(|(.., count)| count(hour)).sum::<u64>();
    let highest = hours.iter().map(total).max().unwrap_or_default();
    let totals =
        series.iter().map(|(name, _, count)| format!("{name} {}", hours.iter().map(count).sum::<u64>()));
    let totals = totals.collect::<Vec<_>>().join(" · ");
    let width = HOUR_WIDTH * u64::try_from(hours.len()).unwrap_or_default();
    html! {
        figure.card {
            figcaption { strong { (title) } }
            svg.plot role="img" viewBox={ "0 0 " (width) " 116" } aria-labelledby={ (id) "-title " (id) "-desc" } {
                title id={ (id) "-title" } { (title) }
                desc id={ (id) "-desc" } { (totals) }
                @for (index, hour) in (0_u64..).zip(hours) {
                    (bars(hour, index * HOUR_WIDTH, highest, series))
                    @if index % HOURS_PER_LABEL == 0 { text x=(index * HOUR_WIDTH) y="112" { (clock_time(hour.begins_at)) } }
                }
                line x1="0" x2=(width) y1=(BASE_LINE) y2=(BASE_LINE) {}
                text x="0" y="11" { (frame.text("most in an hour: ", "单小时最高：")) (highest) }
            }
            p { (totals) }
            @if highest > 0 { details { summary { (frame.text("Numbers", "数据")) } (table(frame, hours, series)) } }
        }
    }
}

/// The bars of an hour, one upon the other.
fn bars(hour: &HourView, x: u64, highest: u64, series: &[Series]) -> Markup {
    let mut top = BASE_LINE;
    let bars = series.iter().filter_map(|(_, class, count)| {
        // A count above 0 has a bar.
        let height = (count(hour) * BAR_HEIGHT).checked_div(highest)?.max(count(hour).min(1));
        top = top.saturating_sub(height);
        (height > 0).then_some((class, top, height))
    });
    html! {
        @for (class, y, height) in bars { rect class=(class) x=(x) y=(y) width=(BAR_WIDTH) height=(height) {} }
    }
}

fn table(frame: &Frame<'_>, hours: &[HourView], series: &[Series]) -> Markup {
    let time = frame.text("Hour (UTC)", "时段（UTC）");
    let eventful = |hour: &&HourView| series.iter().any(|(.., count)| count(hour) > 0);
    html! {
        table.stack {
            thead { tr { th scope="col" { (time) } @for (name, ..) in series { th.number scope="col" { (name) } } } }
            tbody {
                @for hour in hours.iter().filter(eventful) {
                    tr {
                        td data-label=(time) { (clock_time(hour.begins_at)) }
                        @for (name, _, count) in series { td.number data-label=(name) { (count(hour)) } }
                    }
                }
            }
        }
    }
}

/// Hour and minute in UTC.
fn clock_time(at: UnixMillis) -> String {
    rfc3339::format(at).get(11..16).unwrap_or_default().to_owned()
}
