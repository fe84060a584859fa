//! The login page.

use maud::html;

use crate::frame::{Frame, Section};

/// What the login page shows.
#[derive(Debug, Clone, Copy)]
pub struct LoginView<'a> {
    /// What the form carries.
    pub form_token: &'a str,
    /// The page to show after the login.
    pub next: &'a str,
    /// Why the visitor has to log in, or why the last attempt failed.
    pub message: Option<&'a str>,
    /// Whether the last attempt failed.
    pub is_failed: bool,
}

/// The login page.
#[must_use]
pub fn login(frame: &Frame<'_>, view: &LoginView<'_>) -> String {
    let title = frame.text("Log in", "登录");
    let body = html! {
        form.card.login method="post" action=(frame.link("/login")) {
            h1 { (title) }
            @if let Some(message) = view.message {
                p role=(if view.is_failed { "alert" } else { "status" }) class=(if view.is_failed { "bad" } else { "note" }) { (message) }
            }
            input type="hidden" name="token" value=(view.form_token);
            input type="hidden" name="next" value=(view.next);
            label for="name" { (frame.text("Name", "用户名")) }
            input #name name="name" autocomplete="username" autocapitalize="none" spellcheck="false" maxlength="64" required autofocus;
            label for="password" { (frame.text("Password", "密码")) }
            input #password name="password" type="password" autocomplete="current-password" maxlength="1024" required;
            button { (title) }
        }
    };
    frame.page(Section::Other, title, &body)
}
