//! The pages people see. Each is built by `maud`, which lets no text become markup.

mod callback;
mod consent;
mod document;
mod error_pages;
mod format_time;
mod home;
mod shell_quote;

pub(crate) use callback::callback;
pub(crate) use consent::consent;
pub(crate) use error_pages::{captive_portal, form_error, intermediary, invalid_consent_url, not_found};
pub(crate) use home::{FormResult, home};

use maud::{Markup, html};

/// Where an answer can come back to.
pub(crate) const CALLBACK_PATH: &str = "/callback";
/// The sign of the sandbox.
pub(crate) const ICON_PATH: &str = "/favicon.ico";
/// How the pages look.
pub(crate) const STYLE_PATH: &str = "/_sandbox/ui/style.css";
/// What keeps the home page fresh.
pub(crate) const SCRIPT_PATH: &str = "/_sandbox/ui/refresh.js";

/// The same in Chinese, in small print.
fn zh(text: &str) -> Markup {
    html! { " " span.zh lang="zh-CN" { (text) } }
}

/// What the consent links of the home page carry along, so that its commands can ask for it. A real app takes a new,
/// unguessable word for each request.
const RESERVED: &str = "fromTheHomePage";
