//! The frame of every page, and its security headers.

use maud::{DOCTYPE, Markup, html};

use super::{ICON_PATH, SCRIPT_PATH, STYLE_PATH};
use crate::exchange::Response;

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
