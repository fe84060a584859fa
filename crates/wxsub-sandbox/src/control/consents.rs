//! `POST /_sandbox/consents`: records a user's decision and returns the callback.

use serde_json::{Value, json};
use wxsub_proto::{ConsentAction, ConsentRequest};

use super::json_reader::{ControlError, JsonReader, must_be};
use crate::request::Request;
use crate::state::SandboxState;

pub(super) fn add(state: &mut SandboxState, request: &Request<'_>) -> Result<Value, ControlError> {
    let mut reader = JsonReader::parse(request)?;
    let appid = reader.required("appid", JsonReader::text)?;
    let openid = reader.text("openid")?;
    let template_id = reader.required("template_id", JsonReader::text)?;
    let scene = reader.required("scene", JsonReader::text_or_number)?;
    let mut consent = ConsentRequest::new(appid, template_id, scene);
    if let Some(reserved) = reader.text("reserved")? {
        consent = consent.reserved(reserved);
    }
    let action = match reader.take("action").as_ref().and_then(Value::as_str) {
        Some("confirm") => {
            let openid = openid.ok_or_else(|| {
                ControlError::bad_request("openid: is missing; it is required when action is confirm")
            })?;
            ConsentAction::Confirm { openid }
        }
        Some("cancel") => ConsentAction::Cancel,
        _ => return Err(must_be("action", "confirm or cancel")),
    };
    reader.finish()?;
    Ok(json!(state.consent(request.now, consent, action)?))
}
