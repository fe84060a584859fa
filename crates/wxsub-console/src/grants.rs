//! The grants of one user.

use maud::{Markup, html};
use wxsub_outbox::state::GrantState;
use wxsub_outbox::view::GrantView;
use wxsub_proto::AppId;

use crate::frame::{Frame, Section};
use crate::text::plain;

/// What the page of grants shows.
#[derive(Debug, Clone)]
pub struct GrantsView {
    /// All apps.
    pub apps: Vec<AppId>,
    /// The chosen app.
    pub app: AppId,
    /// The openid that was asked for.
    pub openid: String,
    /// The grants of this user; `None` if no valid openid was asked for.
    pub grants: Option<Vec<GrantView>>,
}

/// The page of grants.
#[must_use]
pub fn grants(frame: &Frame<'_>, view: &GrantsView) -> String {
    let title = frame.text("Grants", "授权");
    let body = html! {
        h1 { (title) }
        section.card {
            form.filter method="get" action=(frame.link("/grants")) {
                (frame.app_select(&view.apps, &view.app))
                div {
                    label for="openid" { "openid" }
                    input #openid name="openid" value=(plain(&view.openid)) maxlength="128" autocomplete="off" required;
                }
                button { (frame.text("List", "查询")) }
            }
        }
        @match &view.grants {
            None => { p.quiet { (frame.text("Enter the openid of a user.", "请输入用户的 openid。")) } }
            Some(grants) if grants.is_empty() => { p.quiet { (frame.text("This user has no grants.", "该用户没有授权。")) } }
            Some(grants) => { (table(frame, view, grants)) }
        }
    };
    frame.page(Section::Grants, title, &body)
}

fn table(frame: &Frame<'_>, view: &GrantsView, grants: &[GrantView]) -> Markup {
    let columns = [
        frame.text("Recorded", "登记时间"),
        frame.text("State", "状态"),
        frame.text("Template and scene", "模板与场景值"),
        frame.text("Grant", "授权"),
    ];
    let row = |grant: &GrantView| {
        let can_be_voided = matches!(grant.state, GrantState::Open | GrantState::InDoubt);
        vec![
            frame.relative(grant.consented_at),
            html! { (frame.grant_state(grant.state)) },
            html! { code { (grant.template_id.as_str()) } " · " (grant.scene) },
            html! {
                span.id { (grant.id) } " "
                @if frame.is_operator() && can_be_voided { (void_form(frame, view, grant)) }
            },
        ]
    };
    frame.table(&columns, grants.iter().map(row))
}

fn void_form(frame: &Frame<'_>, view: &GrantsView, grant: &GrantView) -> Markup {
    let fields = html! {
        input type="hidden" name="app" value=(view.app.as_str());
        input type="hidden" name="openid" value=(plain(&view.openid));
        button.danger { (frame.text("Void", "作废")) }
    };
    frame.form(&format!("/grants/{}/void", grant.id), "inline", &fields)
}
