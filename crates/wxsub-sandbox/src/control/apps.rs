//! `POST /_sandbox/apps`: adds an app, or changes one.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};
use wxsub_proto::endpoint::token::MAX_LIFE;
use wxsub_proto::{AccessToken, TemplateId};

use super::input::{Input, Wrong};
use crate::AppSettings;
use crate::call::Call;
use crate::world::World;

/// Larger limits than this are no limits.
const MOST: u64 = 1 << 53;

pub(super) fn add(world: &mut World, call: &Call<'_>) -> Result<Value, Wrong> {
    let mut input = Input::read(call)?;
    let appid = input.required("appid", Input::text)?;
    let secret = input.required("secret", Input::text)?;
    let templates = input.list("templates", str::parse::<TemplateId>)?;
    let settings = settings(&mut input)?;
    input.end()?;
    let templates = templates.into_iter().flatten().collect();
    world.add_app(call.now, appid, secret, templates, settings);
    Ok(json!({}))
}

fn settings(input: &mut Input) -> Result<AppSettings, Wrong> {
    let default = AppSettings::default();
    let allowed_ips = input
        .list("allowed_ips", |text| text.parse::<IpAddr>().map_err(|_| "must be a list of IP addresses"))?;
    let mut whole = |name, bounds| input.whole(name, bounds);
    let token_life = whole("token_life_s", 1..=MAX_LIFE.as_secs())?.map(Duration::from_secs);
    let overlap = whole("overlap_s", 0..=MAX_LIFE.as_secs())?.map(Duration::from_secs);
    let length = whole("token_length", 32..=AccessToken::MAX_LENGTH as u64)?;
    let token_quota = whole("token_quota", 0..=MOST)?;
    let send_quota = whole("send_quota", 0..=MOST)?;
    let minute_limit = whole("minute_limit", 0..=MOST)?;
    Ok(AppSettings {
        token_life: token_life.unwrap_or(default.token_life),
        overlap: overlap.unwrap_or(default.overlap),
        token_length: length.and_then(|length| length.try_into().ok()).unwrap_or(default.token_length),
        allowed_ips,
        frozen: input.flag("frozen")?.unwrap_or(default.frozen),
        token_quota: token_quota.unwrap_or(default.token_quota),
        send_quota: send_quota.unwrap_or(default.send_quota),
        minute_limit,
    })
}
