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
    let parse = |text: &str| {
        let url: Uri = text.parse().ok()?;
        let origin = format!("{}://{}", url.scheme_str()?, url.authority()?);
        Some((text.to_owned(), url, origin))
    };
    let (text, url, origin) = section.text_as(
        key,
        parse,
        "must be a URL with a host: https://…, or http://… for an address of this machine",
        "必须是带主机名的 URL：https://…；本机地址可以用 http://…",
    )?;
    let origin = BaseUrl::new(&origin);
    let origin = origin.map_err(|invalid| section.problem(key, invalid.rule())).ok()?;
    Some(Target { text, url, origin })
}
