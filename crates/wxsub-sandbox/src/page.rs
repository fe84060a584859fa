//! The HTML pages. `maud` renders them and escapes all text.

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

/// The path of the callback page.
pub(crate) const CALLBACK_PATH: &str = "/callback";
/// The path of the icon.
pub(crate) const ICON_PATH: &str = "/favicon.ico";
/// The path of the style sheet.
pub(crate) const STYLE_PATH: &str = "/_sandbox/ui/style.css";
/// The path of the script that refreshes the home page.
pub(crate) const SCRIPT_PATH: &str = "/_sandbox/ui/refresh.js";

/// The Chinese text beside an English one, in small print.
fn zh(text: &str) -> Markup {
    html! { " " span.zh lang="zh-CN" { (text) } }
}

/// The `reserved` value in the consent URLs of the home page. Its commands expect this value.
///
/// A real app uses a new, unguessable value for each consent.
const RESERVED: &str = "fromTheHomePage";
