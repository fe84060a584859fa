//! `GET /openapi.json`: the v1 API, described by its own code.

use std::sync::LazyLock;

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{apps, messages, token};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "wxsub control server",
        description = "Access tokens and one-time subscription messages of Weixin. The Weixin-compatible API is described by \
                       Weixin's own documentation."
    ),
    paths(apps::list, token::read, token::report, messages::send_one),
    modifiers(&Key)
)]
struct Document;

/// Adds the security scheme of client keys.
struct Key;

impl Modify for Key {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme =
            HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("A client key")).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("key", SecurityScheme::Http(scheme));
    }
}

/// The OpenAPI document as JSON.
pub(crate) fn document() -> &'static [u8] {
    // Built once: the route needs no key, so requests can be frequent.
    static TEXT: LazyLock<Vec<u8>> =
        LazyLock::new(|| serde_json::to_vec(&Document::openapi()).unwrap_or_default());
    &TEXT
}
