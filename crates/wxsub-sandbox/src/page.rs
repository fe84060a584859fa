//! The pages people see. Each is built by `maud`, which lets no text become markup.

mod back;
mod consent;
mod document;
mod home;
mod notice;
mod shell;
mod when;

pub(crate) use back::back;
pub(crate) use consent::consent;
pub(crate) use home::home;
pub(crate) use notice::{captive_portal, intermediary, not_found, refused, wrong_parameters};

use maud::{Markup, html};

/// The same in Chinese, in small print.
fn zh(text: &str) -> Markup {
    html! { " " span.zh lang="zh-CN" { (text) } }
}

/// What the consent links of the home page carry along, so that its commands can ask for it. A real app takes a new,
/// unguessable word for each request.
const RESERVED: &str = "fromTheHomePage";
