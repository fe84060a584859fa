//! `POST /_sandbox/consents`: the user decides, the answer is what a phone would hand over.

use serde_json::{Value, json};
use wxsub_proto::{Action, ConsentRequest};

use super::input::{Input, Wrong, must};
use crate::call::Call;
use crate::world::World;

pub(super) fn decide(world: &mut World, call: &Call<'_>) -> Result<Value, Wrong> {
    let mut input = Input::read(call)?;
    let appid = input.required("appid", Input::text)?;
    let openid = input.text("openid")?;
    let template_id = input.required("template_id", Input::text)?;
    let scene = input.required("scene", Input::text_or_number)?;
    let mut request = ConsentRequest::new(appid, template_id, scene);
    if let Some(reserved) = input.text("reserved")? {
        request = request.reserved(reserved);
    }
    let action = match input.value("action").as_ref().and_then(Value::as_str) {
        Some("confirm") => {
            let openid = openid.ok_or_else(|| Wrong::bad("openid: is missing; a confirmation needs it"))?;
            Action::Confirm { openid }
        }
        Some("cancel") => Action::Cancel,
        _ => return Err(must("action", "confirm or cancel")),
    };
    input.end()?;
    Ok(json!(world.consent(call.now, request, action)?))
}
