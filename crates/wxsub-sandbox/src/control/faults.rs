//! `POST /_sandbox/faults` and `DELETE /_sandbox/faults`.

use std::time::Duration;

use serde_json::{Value, json};
use wxsub_proto::ErrCode;

use super::ROOT;
use super::json_reader::{ControlError, JsonReader, integer, must_be};
use crate::fault::Fault;
use crate::request::Request;
use crate::state::SandboxState;

const MAX_DELAY_MS: u64 = 3_600_000;

pub(super) fn add(state: &mut SandboxState, request: &Request<'_>) -> Result<Value, ControlError> {
    let mut reader = JsonReader::parse(request)?;
    let path = match reader.take("path") {
        Some(Value::String(path))
            if path.starts_with('/') && !path.starts_with(ROOT) && !path.contains(['?', '#']) =>
        {
            path
        }
        _ => return Err(must_be("path", "a path of Weixin's, without a query")),
    };
    let times = reader.integer("times", 1..=1_000_000)?.unwrap_or(1);
    let fault = fault(reader.take("fault"))?;
    reader.finish()?;
    state.faults.add(&path, times, fault);
    Ok(json!({}))
}

pub(super) fn clear(state: &mut SandboxState, _: &Request<'_>) -> Result<Value, ControlError> {
    state.faults.clear();
    Ok(json!({}))
}

fn fault(value: Option<Value>) -> Result<Fault, ControlError> {
    let unknown = || {
        must_be(
            "fault",
            "one of {\"errcode\":N}, {\"status\":N}, {\"delay_ms\":N}, \"reset_before_apply\", \
             \"reset_after_apply\", \"truncate\", \"html\", \"hang\"",
        )
    };
    let object = match value {
        Some(Value::String(name)) => return fault_by_name(&name).ok_or_else(unknown),
        Some(Value::Object(object)) if object.len() == 1 => object,
        _ => return Err(unknown()),
    };
    let (name, value) = object.iter().next().ok_or_else(unknown)?;
    match name.as_str() {
        "errcode" => match value.as_i64() {
            Some(code) => Ok(Fault::ErrCode(ErrCode::new(code))),
            None => Err(must_be("fault.errcode", "a whole number")),
        },
        "status" => {
            let status = integer("fault.status", value, 200..=599)?;
            Ok(Fault::Status(status.try_into().unwrap_or(502)))
        }
        "delay_ms" => {
            let delay = integer("fault.delay_ms", value, 0..=MAX_DELAY_MS)?;
            Ok(Fault::Delay(Duration::from_millis(delay)))
        }
        _ => Err(unknown()),
    }
}

fn fault_by_name(name: &str) -> Option<Fault> {
    let plain = [Fault::ResetBeforeApply, Fault::ResetAfterApply, Fault::Truncate, Fault::Html, Fault::Hang];
    plain.into_iter().find(|fault| fault.name() == name)
}
