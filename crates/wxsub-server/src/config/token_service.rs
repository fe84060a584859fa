//! The `token_url` of an app: a token service that a company already has.

use std::sync::Arc;

use axum::http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use axum::http::{HeaderName, HeaderValue, Uri};
use subtle::ConstantTimeEq;
use wxsub_core::transport::Transport;
use wxsub_proto::LocalizedText;

use super::document::TableReader;
use super::transport::{TransportCache, TransportSettings};
use super::{secret, target};

/// The keys of an app that need `token_url`.
const KEYS: [&str; 5] =
    ["token_url_header_file", "token_pointer", "expires_in_pointer", "report_url", "token_ca_file"];

/// A service that gives the tokens of an app.
#[derive(Clone, derive_more::Debug)]
#[debug("TokenServiceConfig({token_pointer}, {expires_in_pointer})")]
pub(crate) struct TokenServiceConfig {
    /// It can hold a secret.
    pub(crate) url: Uri,
    /// The name and the secret value of a header of each request.
    pub(crate) header: Option<(HeaderName, HeaderValue)>,
    /// Where the token is in the response: a JSON pointer.
    pub(crate) token_pointer: String,
    /// Where the lifetime is in the response: a JSON pointer.
    pub(crate) expires_in_pointer: String,
    /// Where a rejected token is reported.
    pub(crate) report_url: Option<Uri>,
    settings: TransportSettings,
    pub(crate) transport: Arc<dyn Transport>,
}

impl TokenServiceConfig {
    /// Whether all settings are the same as the other's. Compares the headers in constant time.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let has_same_header = match (&self.header, &other.header) {
            (None, None) => true,
            (Some((name, value)), Some((other_name, other_value))) => {
                name == other_name && value.as_bytes().ct_eq(other_value.as_bytes()).into()
            }
            _ => false,
        };
        has_same_header
            && self.url == other.url
            && self.token_pointer == other.token_pointer
            && self.expires_in_pointer == other.expires_in_pointer
            && self.report_url == other.report_url
            && self.settings == other.settings
    }
}

/// Reads `token_url` and its keys. `None` if it is absent, or has a problem.
pub(super) fn read(
    section: &mut TableReader<'_>,
    transports: &mut TransportCache,
) -> Option<TokenServiceConfig> {
    if !section.has("token_url") {
        for key in KEYS {
            section.check_needs(key, "token_url", LocalizedText::new("this key", "这一项"));
            section.ignore(key);
        }
        return None;
    }
    for key in ["secret_file", "secret_env", "token_endpoint"].into_iter().filter(|key| section.has(key)) {
        section.refuse(
            key,
            "is set together with token_url, which replaces it; remove one of them",
            "与 token_url 同时设置，而 token_url 会取代它；请删除其中一项",
        );
    }
    let header = header(section);
    let token_pointer = pointer(section, "token_pointer", "/access_token");
    let expires_in_pointer = pointer(section, "expires_in_pointer", "/expires_in");
    let has_report_url = section.has("report_url");
    let (service, report) = (target::read(section, "token_url"), target::read(section, "report_url"));
    let are_all_plain =
        service.iter().chain(&report).all(|target| target.origin.as_str().starts_with("http://"));
    let settings = TransportSettings::direct(section, "token_ca_file", are_all_plain)?;
    let transport = transports.get_or_build(&settings, section, "token_ca_file");
    if has_report_url && report.is_none() {
        return None;
    }
    Some(TokenServiceConfig {
        url: service?.url,
        header: header?,
        token_pointer: token_pointer?,
        expires_in_pointer: expires_in_pointer?,
        report_url: report.map(|report| report.url),
        settings,
        transport: transport?,
    })
}

/// A JSON pointer of RFC 6901 to a member.
fn pointer(section: &mut TableReader<'_>, key: &str, default: &str) -> Option<String> {
    if !section.has(key) {
        return Some(default.to_owned());
    }
    section.text_as(
        key,
        |text| text.starts_with('/').then(|| text.to_owned()),
        "must be a JSON pointer, which begins with a slash, like /data/access_token",
        "必须是以斜杠开头的 JSON pointer，例如 /data/access_token",
    )
}

/// The header of the file, if there is one. The outer `None` stands for a problem.
fn header(section: &mut TableReader<'_>) -> Option<Option<(HeaderName, HeaderValue)>> {
    let key = "token_url_header_file";
    if !section.has(key) {
        return Some(None);
    }
    let line = secret::line(section, key)?;
    let header = line.split_once(':').and_then(|(name, value)| {
        let name: HeaderName = name.trim().parse().ok()?;
        let mut value = HeaderValue::from_str(value.trim()).ok()?;
        value.set_sensitive(true);
        let is_allowed =
            ![HOST, CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION].contains(&name) && !value.is_empty();
        is_allowed.then_some((name, value))
    });
    if header.is_none() {
        section.refuse(
            key,
            "names a file that must have one line with a header, like Authorization: Bearer SECRET",
            "指定的文件必须只有一行请求头，例如 Authorization: Bearer SECRET",
        );
    }
    header.map(Some)
}
