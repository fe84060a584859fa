//! What is around every page of ours, and what its browser may do with it.

use maud::{DOCTYPE, Markup, html};

use super::{ICON_PATH, SCRIPT_PATH, STYLE_PATH};
use crate::exchange::Response;

/// What a page may do beyond being looked at. Nothing comes from elsewhere, and nothing stands in the page itself: styles
/// and scripts are files of ours, so that a text that became markup could not act.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    /// Nothing.
    Static,
    /// Has a form, and no script. A browser holds every step of the way after a form against this, and where an app sends
    /// its user on to is not ours to know; so it says no more than "the web".
    ExternalForm,
    /// Has forms that lead to our own pages, and our script, which may ask us for more.
    Interactive,
}

impl Policy {
    /// As the header has it.
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

/// A whole page.
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
    // The Origin of our own forms must survive, so the referrer is not left out altogether.
    Response::html(status, page.into_string())
        .with("content-security-policy", policy.header())
        .with("referrer-policy", "same-origin")
        .with("x-content-type-options", "nosniff")
}
