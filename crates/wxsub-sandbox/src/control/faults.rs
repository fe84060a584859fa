//! `POST /_sandbox/faults` and `DELETE /_sandbox/faults`.

use std::time::Duration;

use serde_json::{Value, json};
use wxsub_proto::ErrCode;

use super::ROOT;
use super::input::{Input, Wrong, must, whole};
use crate::Fault;
use crate::call::Call;
use crate::world::World;

const LONGEST_DELAY_MS: u64 = 3_600_000;

pub(super) fn add(world: &mut World, call: &Call<'_>) -> Result<Value, Wrong> {
    let mut input = Input::read(call)?;
    let path = match input.value("path") {
        Some(Value::String(path))
            if path.starts_with('/') && !path.starts_with(ROOT) && !path.contains(['?', '#']) =>
        {
            path
        }
        _ => return Err(must("path", "a path of Weixin's, without a query")),
    };
    let times = input.whole("times", 1..=1_000_000)?.unwrap_or(1);
    let fault = fault(input.value("fault"))?;
    input.end()?;
    world.faults.add(&path, times, fault);
    Ok(json!({}))
}

pub(super) fn clear(world: &mut World, _: &Call<'_>) -> Result<Value, Wrong> {
    world.faults.clear();
    Ok(json!({}))
}

fn fault(value: Option<Value>) -> Result<Fault, Wrong> {
    let unknown = || {
        must(
            "fault",
            "one of {\"errcode\":N}, {\"status\":N}, {\"delay_ms\":N}, \"reset_before_apply\", \
             \"reset_after_apply\", \"truncate\", \"html\", \"hang\"",
        )
    };
    let object = match value {
        Some(Value::String(name)) => return named(&name).ok_or_else(unknown),
        Some(Value::Object(object)) if object.len() == 1 => object,
        _ => return Err(unknown()),
    };
    let (name, value) = object.iter().next().ok_or_else(unknown)?;
    match name.as_str() {
        "errcode" => match value.as_i64() {
            Some(code) => Ok(Fault::ErrCode(ErrCode::new(code))),
            None => Err(must("fault.errcode", "a whole number")),
        },
        "status" => {
            let status = whole("fault.status", value, 200..=599)?;
            Ok(Fault::Status(status.try_into().unwrap_or(502)))
        }
        "delay_ms" => {
            let delay = whole("fault.delay_ms", value, 0..=LONGEST_DELAY_MS)?;
            Ok(Fault::Delay(Duration::from_millis(delay)))
        }
        _ => Err(unknown()),
    }
}

fn named(name: &str) -> Option<Fault> {
    let plain = [Fault::ResetBeforeApply, Fault::ResetAfterApply, Fault::Truncate, Fault::Html, Fault::Hang];
    plain.into_iter().find(|fault| fault.name() == name)
}
