//! `POST /_sandbox/apps`: adds an app, or replaces secret, templates and settings of an existing one.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};
use wxsub_proto::endpoint::token::MAX_LIFETIME;
use wxsub_proto::{AccessToken, TemplateId};

use super::json_reader::{ControlError, JsonReader};
use crate::app::AppSettings;
use crate::request::Request;
use crate::state::SandboxState;

/// The maximum value of a limit: the largest integer that every JSON parser represents exactly.
const MAX_LIMIT: u64 = 1 << 53;

pub(super) fn add(state: &mut SandboxState, request: &Request<'_>) -> Result<Value, ControlError> {
    let mut reader = JsonReader::parse(request)?;
    let appid = reader.required("appid", JsonReader::text)?;
    let secret = reader.required("secret", JsonReader::text)?;
    let templates = reader.list("templates", str::parse::<TemplateId>)?;
    let settings = settings(&mut reader)?;
    reader.finish()?;
    let templates = templates.into_iter().flatten().collect();
    state.add_app(request.now, appid, secret, templates, settings);
    Ok(json!({}))
}

fn settings(reader: &mut JsonReader) -> Result<AppSettings, ControlError> {
    let default = AppSettings::default();
    let allowed_ips = reader
        .list("allowed_ips", |text| text.parse::<IpAddr>().map_err(|_| "must be a list of IP addresses"))?;
    let mut integer = |name, bounds| reader.integer(name, bounds);
    let token_lifetime = integer("token_lifetime_s", 1..=MAX_LIFETIME.as_secs())?.map(Duration::from_secs);
    let overlap = integer("overlap_s", 0..=MAX_LIFETIME.as_secs())?.map(Duration::from_secs);
    let length = integer("token_length", 32..=AccessToken::MAX_LENGTH as u64)?;
    let token_quota = integer("token_quota", 0..=MAX_LIMIT)?;
    let send_quota = integer("send_quota", 0..=MAX_LIMIT)?;
    let minute_limit = integer("minute_limit", 0..=MAX_LIMIT)?;
    Ok(AppSettings {
        token_lifetime: token_lifetime.unwrap_or(default.token_lifetime),
        overlap: overlap.unwrap_or(default.overlap),
        token_length: length.and_then(|length| length.try_into().ok()).unwrap_or(default.token_length),
        allowed_ips,
        frozen: reader.boolean("frozen")?.unwrap_or(default.frozen),
        token_quota: token_quota.unwrap_or(default.token_quota),
        send_quota: send_quota.unwrap_or(default.send_quota),
        minute_limit,
    })
}
