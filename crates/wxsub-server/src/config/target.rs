//! URLs of other services: of webhooks, and of token services.

use axum::http::Uri;
use wxsub_proto::BaseUrl;

use super::document::TableReader;

/// A URL of another service. It can hold a secret.
pub(super) struct Target {
    pub(super) text: String,
    pub(super) url: Uri,
    /// The scheme and the host.
    pub(super) origin: BaseUrl,
}

/// Reads the URL of this key: https, or http for a loopback address. `None` if it is absent, or has a problem.
pub(super) fn read(section: &mut TableReader<'_>, key: &str) -> Option<Target> {
    let text = section.text(key)?;
    let parts = |uri: &Uri| Some((uri.scheme_str()?.to_owned(), uri.authority()?.clone()));
    let Some((url, (scheme, authority))) =
        text.parse::<Uri>().ok().and_then(|uri| Some((uri.clone(), parts(&uri)?)))
    else {
        section.refuse(
            key,
            "must be a URL with a host: https://…, or http://… for an address of this machine",
            "必须是带主机名的 URL：https://…；本机地址可以用 http://…",
        );
        return None;
    };
    let origin = BaseUrl::new(&format!("{scheme}://{authority}"));
    let origin = origin.map_err(|invalid| section.problem(key, invalid.rule())).ok()?;
    Some(Target { text, url, origin })
}
