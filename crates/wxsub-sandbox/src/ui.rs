//! The sandbox's own pages: home, its forms, and a place where answers can come back to. Nothing here is Weixin's, no
//! fault strikes here, and the journal does not mention it.

mod form;

pub(crate) use form::Done;

use wxsub_proto::consent::WebLink;

use crate::call::Call;
use crate::handled::Reply;
use crate::page;
use crate::world::World;

/// Where an answer can come back to.
pub(crate) const BACK: &str = "/back";
/// The sign of the sandbox.
pub(crate) const ICON: &str = "/favicon.ico";
/// How the pages look.
pub(crate) const STYLE: &str = "/_sandbox/ui/style.css";
/// What keeps the home page fresh.
pub(crate) const SCRIPT: &str = "/_sandbox/ui/live.js";

/// Answers a request for one of the pages or what belongs to them; none if it is not one.
pub(crate) fn answer(world: &mut World, call: &Call<'_>) -> Option<Reply> {
    if is_pushed(call) {
        return Some(page::refused(403, "This was sent by a page of another site."));
    }
    let show: fn(&World, &Call<'_>) -> Reply = match call.path {
        "/" => page::home,
        BACK => page::back,
        ICON => |_, _| Reply::new(200, "image/svg+xml", include_str!("page/icon.svg")),
        STYLE => |_, _| Reply::new(200, "text/css; charset=utf-8", include_str!("page/style.css")),
        SCRIPT => |_, _| Reply::new(200, "text/javascript; charset=utf-8", include_str!("page/live.js")),
        _ => return form::answer(world, call),
    };
    Some(match call.method {
        "GET" | "HEAD" => show(world, call),
        _ => page::refused(405, "This page can only be looked at."),
    })
}

/// Whether a page of another site wants to change something here, or to decide in the user's place.
fn is_pushed(call: &Call<'_>) -> bool {
    let reads = matches!(call.method, "GET" | "HEAD" | "OPTIONS");
    call.foreign && !reads && (call.path.starts_with("/_sandbox") || call.path == WebLink::PATH)
}
