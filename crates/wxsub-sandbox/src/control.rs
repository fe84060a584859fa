//! The control API: a thin layer of JSON over the controls of [`Sandbox`](crate::Sandbox).

mod apps;
mod consents;
mod faults;
mod input;

use std::time::Duration;

use serde_json::{Value, json};
use wxsub_proto::OpenId;

use crate::call::Call;
use crate::handled::Reply;
use crate::query::Query;
use crate::world::World;
use input::Input;
pub(crate) use input::Wrong;

/// Everything of the control API is below this; nothing of Weixin's is.
const ROOT: &str = "/_sandbox";

/// The furthest one jump of the clock goes: ten years.
const FURTHEST_JUMP_S: u64 = 315_360_000;

type Control = fn(&mut World, &Call<'_>) -> Result<Value, Wrong>;

const CONTROLS: [(&str, &str, Control); 8] = [
    ("POST", "/apps", apps::add),
    ("POST", "/consents", consents::decide),
    ("GET", "/mailbox", mailbox),
    ("POST", "/clock/advance", advance),
    ("POST", "/tokens/invalidate", invalidate),
    ("POST", "/faults", faults::add),
    ("DELETE", "/faults", faults::clear),
    ("GET", "/journal", journal),
];

/// Answers a request to the control API; none if it is not one.
pub(crate) fn answer(world: &mut World, call: &Call<'_>) -> Option<Reply> {
    let path = call.path.strip_prefix(ROOT)?;
    if !(path.is_empty() || path.starts_with('/')) {
        return None;
    }
    Some(match carry_out(world, path, call) {
        Ok(value) => Reply::json(200, &value),
        Err(Wrong { status, error }) => Reply::json(status, &json!({"error": error})),
    })
}

/// Does what the control of this path, below the root, does.
pub(crate) fn carry_out(world: &mut World, path: &str, call: &Call<'_>) -> Result<Value, Wrong> {
    find(call.method, path).and_then(|control| control(world, call))
}

fn find(method: &str, path: &str) -> Result<Control, Wrong> {
    let mut here = CONTROLS.iter().filter(|(_, other, _)| *other == path).peekable();
    if here.peek().is_none() {
        return Err(Wrong::new(404, "path: the sandbox has no such control"));
    }
    match here.find(|(other, ..)| *other == method) {
        Some((_, _, control)) => Ok(*control),
        None => Err(Wrong::new(405, "method: this control takes another one")),
    }
}

fn mailbox(world: &mut World, call: &Call<'_>) -> Result<Value, Wrong> {
    let query = Query::read(call.query);
    let openid = query.get("openid").ok_or_else(|| Wrong::bad("openid: is missing; it is required"))?;
    let openid: OpenId = openid.parse()?;
    Ok(json!(world.mail.of(&openid)))
}

fn advance(world: &mut World, call: &Call<'_>) -> Result<Value, Wrong> {
    let mut input = Input::read(call)?;
    let seconds = input.required("seconds", |input, name| input.whole(name, 0..=FURTHEST_JUMP_S))?;
    input.end()?;
    world.advance(call.now, Duration::from_secs(seconds));
    Ok(json!({}))
}

fn invalidate(world: &mut World, call: &Call<'_>) -> Result<Value, Wrong> {
    let mut input = Input::read(call)?;
    let appid = input.required("appid", Input::text)?;
    input.end()?;
    world.invalidate_tokens(call.now, &appid)?;
    Ok(json!({}))
}

fn journal(world: &mut World, _: &Call<'_>) -> Result<Value, Wrong> {
    Ok(json!(world.journal))
}
