//! The HTML pages. `maud` renders them and escapes all text.

mod callback;
mod commands;
mod consent;
mod document;
mod home;

pub(crate) use callback::callback;
pub(crate) use consent::decide_consent;
pub(crate) use document::{CALLBACK_PATH, ICON_PATH, SCRIPT_PATH, STYLE_PATH, error_page};
pub(crate) use home::{FormResult, home};
