//! What all pages share: the frame with its security headers, error pages, and the format of times.

use jiff::Timestamp;
use maud::{DOCTYPE, Markup, html};

use crate::exchange::Response;

/// The path of the callback page.
pub(crate) const CALLBACK_PATH: &str = "/callback";
/// The path of the icon.
pub(crate) const ICON_PATH: &str = "/favicon.ico";
/// The path of the style sheet.
pub(crate) const STYLE_PATH: &str = "/_sandbox/ui/style.css";
/// The path of the script that refreshes the home page.
pub(crate) const SCRIPT_PATH: &str = "/_sandbox/ui/refresh.js";

/// The content security policy of a page.
///
/// Every policy forbids other origins and inline styles and scripts. Text that became markup could not do anything.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    /// No forms and no scripts.
    Static,
    /// One form, no scripts. The form may lead to any web address.
    ///
    /// Browsers check `form-action` against every redirect after a submit, and the app may redirect anywhere.
    ExternalForm,
    /// Forms, scripts and requests to the sandbox itself.
    Interactive,
}

impl Policy {
    /// The value of the `content-security-policy` header.
    fn header(self) -> String {
        let extra = match self {
            Self::Static => "form-action 'none'",
            Self::ExternalForm => "form-action http: https:",
            Self::Interactive => "form-action 'self'; script-src 'self'; connect-src 'self'",
        };
        format!(
            "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; {extra}"
        )
    }
}

/// Renders a complete page.
pub(super) fn page(status: u16, class: &str, title: &str, policy: Policy, body: &Markup) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width,initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="icon" href=(ICON_PATH);
                link rel="stylesheet" href=(STYLE_PATH);
                @if policy == Policy::Interactive { script src=(SCRIPT_PATH) defer {} }
            }
            body class=(class) { (body) }
        }
    };
    // With `no-referrer`, browsers would send `Origin: null` for the sandbox's own forms.
    Response::html(status, page.into_string())
        .with("content-security-policy", policy.header())
        .with("referrer-policy", "same-origin")
        .with("x-content-type-options", "nosniff")
}

/// Renders an error page.
pub(crate) fn error_page(status: u16, error: &str) -> Response {
    let (title, chinese, back) = match status {
        404 => ("Not found", "页面不存在", "Home page"),
        _ => ("Request rejected", "操作未执行", "Back to the home page"),
    };
    let body = html! {
        main {
            h1 { (title) (zh(chinese)) }
            p { (error) }
            p { a.button href="/" { (back) } }
            footer { "This is a sandbox, not Weixin." }
        }
    };
    page(status, "sheet", title, Policy::Static, &body)
}

/// The Chinese text beside an English one, in small print.
pub(super) fn zh(text: &str) -> Markup {
    html! { " " span.zh lang="zh-CN" { (text) } }
}

/// Date and time in UTC, from seconds since the Unix epoch.
pub(super) fn timestamp(seconds: u64) -> Markup {
    let (date, time) = date_and_time(seconds);
    html! { time datetime={ (date) "T" (time) "Z" } title="UTC" { (date) " " (time) } }
}

/// The time of day in UTC. The date is in the tooltip.
pub(super) fn time_of_day(seconds: u64) -> Markup {
    let (date, time) = date_and_time(seconds);
    html! { time datetime={ (date) "T" (time) "Z" } title={ (date) " " (time) " UTC" } { (time) } }
}

/// Date and time of day in UTC. The clock of the sandbox can be moved beyond the last date that can be shown.
fn date_and_time(seconds: u64) -> (String, String) {
    let at = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    let at = at.unwrap_or(Timestamp::MAX);
    (at.strftime("%F").to_string(), at.strftime("%T").to_string())
}

/// A duration in seconds, as its two largest units.
pub(super) fn format_duration(seconds: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)];
    let Some(at) = UNITS.iter().position(|(_, size)| seconds >= *size) else {
        return "0 s".to_owned();
    };
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (name, size) in UNITS.into_iter().skip(at).take(2) {
        if rest >= size {
            parts.push(format!("{} {name}", rest / size));
        }
        rest %= size;
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_formatted_in_utc() {
        for (seconds, expected) in [
            (0, "1970-01-01 00:00:00"),
            (1_700_000_000, "2023-11-14 22:13:20"),
            (u64::MAX, "9999-12-30 22:00:00"),
        ] {
            assert!(timestamp(seconds).into_string().ends_with(&format!(">{expected}</time>")), "{expected}");
        }
        assert!(time_of_day(1_700_000_000).into_string().ends_with(">22:13:20</time>"));
    }

    #[test]
    fn durations_show_two_largest_units() {
        for (seconds, expected) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (7200, "2 h"),
            (7261, "2 h 1 min"),
            (86_400, "1 d"),
            (90_061, "1 d 1 h"),
            (86_460, "1 d"),
        ] {
            assert_eq!(format_duration(seconds), expected);
        }
    }
}
