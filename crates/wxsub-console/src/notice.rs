//! A page with one message: an error, or the result of an action.

use maud::html;
use wxsub_proto::LocalizedText;

use crate::frame::{Frame, Section};
use crate::text::bdi;

/// A page with one message. `back` is the path of the page to go on with.
#[must_use]
pub fn notice(frame: &Frame<'_>, title: &LocalizedText, text: &LocalizedText<String>, back: &str) -> String {
    let title = title.in_language(frame.language);
    let body = html! {
        section.card {
            h1 { (title) }
            p role="alert" { (bdi(&text.in_language(frame.language))) }
            p { a.button href=(frame.link(back)) { (frame.text("Back", "返回")) } }
        }
    };
    frame.page(Section::Other, title, &body)
}
