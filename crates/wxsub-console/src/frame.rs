//! The frame of every page: head, navigation, and who is logged in.

use maud::{DOCTYPE, Markup, html};
use wxsub_core::clock::UnixMillis;
use wxsub_proto::{AppId, Language};

use crate::text::{bdi, relative, timestamp};

/// The style sheet, at `/style.css`.
pub const STYLE: &str = include_str!("style.css");

/// The icon, at `/icon.svg`.
pub const ICON: &str = include_str!("icon.svg");

/// What is around a page.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// The language of the page.
    pub language: Language,
    /// The path of the console's public URL, without a slash at its end: before every link.
    pub base: &'a str,
    /// The time of the page.
    pub now: UnixMillis,
    /// Who sees it. `None` before the login.
    pub visitor: Option<Visitor<'a>>,
}

/// Who sees a page.
#[derive(Debug, Clone, Copy)]
pub struct Visitor<'a> {
    /// The name of the user.
    pub name: &'a str,
    /// Whether the user may act, or only read.
    pub is_operator: bool,
    /// What each form of the session carries.
    pub form_token: &'a str,
    /// Whether there is a ledger to show.
    pub has_ledger: bool,
}

/// A page of the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Overview,
    Outbox,
    Decisions,
    Grants,
    Webhooks,
    Workers,
    Audit,
    /// A page that the navigation does not list.
    Other,
}

impl Frame<'_> {
    /// This text in the language of the page.
    pub(crate) fn text<'t>(&self, english: &'t str, chinese: &'t str) -> &'t str {
        match self.language {
            Language::Chinese => chinese,
            _ => english,
        }
    }

    /// How long ago a time was, or how long it is until then, and the time.
    pub(crate) fn relative(&self, at: UnixMillis) -> Markup {
        relative(at, self.now, self.language)
    }

    /// What to do about a problem.
    pub(crate) fn remedy(&self, remedy: &str) -> Markup {
        html! { p.do { (self.text("Do: ", "处理：")) (remedy) } }
    }

    /// A table with these columns. A cell has the name of its column, for narrow screens.
    pub(crate) fn table(&self, columns: &[&str], rows: impl Iterator<Item = Vec<Markup>>) -> Markup {
        html! {
            table.stack {
                thead { tr { @for name in columns { th scope="col" { (name) } } } }
                tbody {
                    @for row in rows { tr { @for (name, cell) in columns.iter().zip(row) { td data-label=(name) { (cell) } } } }
                }
            }
        }
    }

    /// A link to a page of the console. `path` begins with a slash.
    pub(crate) fn link(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// A form that does something. `fields` are its fields and its button.
    pub(crate) fn form(&self, path: &str, class: &str, fields: &Markup) -> Markup {
        let token = self.visitor.map(|visitor| visitor.form_token);
        html! {
            form method="post" action=(self.link(path)) class=(class) {
                @if let Some(token) = token { input type="hidden" name="token" value=(token); }
                (fields)
            }
        }
    }

    pub(crate) fn is_operator(&self) -> bool {
        self.visitor.is_some_and(|visitor| visitor.is_operator)
    }

    /// The apps to choose from.
    pub(crate) fn app_select(&self, apps: &[AppId], chosen: &AppId) -> Markup {
        html! {
            div {
                label for="app" { (self.text("App", "应用")) }
                select #app name="app" {
                    @for app in apps { option value=(app.as_str()) selected[app == chosen] { (app.as_str()) } }
                }
            }
        }
    }

    /// Renders a complete page.
    pub(crate) fn page(&self, section: Section, title: &str, body: &Markup) -> String {
        let lang = self.text("en", "zh-CN");
        let page = html! {
            (DOCTYPE)
            html lang=(lang) {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width,initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta name="robots" content="noindex";
                    title { (title) " · wxsub" }
                    link rel="icon" href=(self.link("/icon.svg"));
                    link rel="stylesheet" href=(self.link("/style.css"));
                }
                body {
                    a.skip href="#main" { (self.text("Skip to the content", "跳到内容")) }
                    (self.header(section))
                    main #main { (body) }
                    footer {
                        span { (self.text("Page of ", "页面时间：")) (timestamp(self.now)) }
                        (self.language_form())
                    }
                }
            }
        };
        page.into_string()
    }

    fn header(&self, section: Section) -> Markup {
        html! {
            header {
                a.brand href=(self.link("/")) { "wxsub" }
                @if let Some(visitor) = &self.visitor {
                    (self.navigation(section))
                    div.visitor {
                        span { (bdi(visitor.name)) " · " (self.role(visitor)) }
                        (self.form("/logout", "inline", &html! { button.quiet { (self.text("Log out", "退出")) } }))
                    }
                }
            }
        }
    }

    fn role(&self, visitor: &Visitor<'_>) -> &'static str {
        match visitor.is_operator {
            true => self.text("operator", "操作员"),
            false => self.text("viewer", "只读"),
        }
    }

    fn navigation(&self, section: Section) -> Markup {
        let pages = [
            (Section::Overview, "/", self.text("Overview", "概览")),
            (Section::Outbox, "/outbox", self.text("Outbox", "发件箱")),
            (Section::Decisions, "/decisions", self.text("Decisions", "裁定")),
            (Section::Grants, "/grants", self.text("Grants", "授权")),
            (Section::Webhooks, "/webhooks", self.text("Webhooks", "Webhook")),
            (Section::Workers, "/workers", self.text("Workers and apps", "worker 与应用")),
            (Section::Audit, "/audit", self.text("Audit", "操作记录")),
        ];
        let has_ledger = self.visitor.is_some_and(|visitor| visitor.has_ledger);
        let shown = if has_ledger { pages.len() } else { 1 };
        html! {
            nav aria-label=(self.text("Pages", "页面")) {
                @for (page, path, name) in pages.into_iter().take(shown) {
                    a href=(self.link(path)) aria-current=[(page == section).then_some("page")] { (name) }
                }
            }
        }
    }

    /// The switch to the other language. It is stated in that language.
    fn language_form(&self) -> Markup {
        let (lang, value, name) = match self.language {
            Language::Chinese => ("en", "en", "English"),
            _ => ("zh-CN", "zh", "中文"),
        };
        html! {
            form.inline method="post" action=(self.link("/language")) {
                button.quiet name="language" value=(value) lang=(lang) { (name) }
            }
        }
    }
}
