//! `GET /cgi-bin/get_api_domain_ip`: the addresses of Weixin's API. The cheapest way to check a token.

use serde_json::{Value, json};

use super::call::Call;
use crate::api_error::ApiError;

pub(super) fn decide(call: &mut Call<'_>) -> Result<Value, ApiError> {
    call.authenticate()?;
    Ok(json!({"ip_list": ["127.0.0.1"]}))
}
