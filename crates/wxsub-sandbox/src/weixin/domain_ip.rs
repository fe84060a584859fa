//! `GET /cgi-bin/get_api_domain_ip`: where Weixin's API is. The cheapest way to ask whether a token still works.

use serde_json::{Value, json};

use super::bearer;
use crate::call::Call;
use crate::journal::Trace;
use crate::refused::Refused;
use crate::world::World;

pub(super) fn answer(world: &mut World, call: &Call<'_>, trace: &mut Trace) -> Result<Value, Refused> {
    bearer::check(world, call, trace)?;
    Ok(json!({"ip_list": ["127.0.0.1"]}))
}
