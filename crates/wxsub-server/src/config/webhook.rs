//! The `[[webhooks]]`: endpoints that are notified of how messages ended.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use axum::http::Uri;
use sha2::{Digest, Sha256};
use wxsub_core::transport::Transport;
use wxsub_core::webhook::WebhookSecret;
use wxsub_outbox::state::WebhookEvent;
use wxsub_outbox::webhook::StoredEndpoint;
use wxsub_proto::{BaseUrl, BaseUrls, LocalizedText, localized_text};

use super::client::{self, AppAccess};
use super::document::TableReader;
use super::file::unreadable_file;
use super::secret::{READABLE_BY_OTHERS, read_file};
use super::target::{self, Target};
use super::transport::{TransportCache, TransportSettings};

/// How many secrets an endpoint has: the current one, and during a rotation another.
const MAX_SECRETS: usize = 2;

/// An endpoint.
#[derive(Clone, derive_more::Debug)]
#[debug("WebhookConfig({endpoint:?})")]
pub(crate) struct WebhookConfig {
    /// What the ledger knows of it.
    pub(crate) endpoint: StoredEndpoint,
    /// It can hold a secret.
    pub(crate) url: Uri,
    /// At least one. Each webhook is signed with all of them.
    pub(crate) secrets: Vec<WebhookSecret>,
    pub(crate) transport: Arc<dyn Transport>,
}

/// Reads one `[[webhooks]]`.
pub(super) fn read(
    mut section: TableReader<'_>,
    environment: &dyn Fn(&str) -> Option<String>,
    transports: &mut TransportCache,
    has_ledger: bool,
) -> Option<WebhookConfig> {
    for key in ["url", "secret_files", "apps"] {
        section.check_present(key);
    }
    if !has_ledger {
        section.check_needs("url", "[ledger]", LocalizedText::new("this endpoint", "这个 endpoint"));
    }
    let target = target::read(&mut section, "url");
    let origin = target.as_ref().map(|target| BaseUrls::from(target.origin.clone()));
    let transport = TransportSettings::read(&mut section, origin.as_ref(), environment)
        .and_then(|settings| transports.get_or_build(&settings, &section, "ca_file"));
    let name = name(&mut section, target.as_ref().map(|target| &target.origin));
    let secrets = secrets(&mut section);
    let effect = LocalizedText::new("the endpoint gets nothing", "不会通知任何事件");
    let AppAccess(apps) = AppAccess::read(&mut section, effect);
    let events = events(&mut section);
    let with_openid = section.flag("include_openid");
    section.finish();
    let Target { text, url, .. } = target?;
    let url_sha256 = Sha256::digest(text.as_bytes()).into();
    let endpoint = StoredEndpoint { name: name?, url_sha256, apps, events, with_openid, disabled_at: None };
    Some(WebhookConfig { endpoint, url, secrets: secrets?, transport: transport? })
}

/// The name, or the host if there is none.
fn name(section: &mut TableReader<'_>, origin: Option<&BaseUrl>) -> Option<String> {
    if !section.has("name") {
        return origin.map(|origin| origin.host().to_owned());
    }
    client::name(section)
}

fn secrets(section: &mut TableReader<'_>) -> Option<Vec<WebhookSecret>> {
    let has_secrets = section.has("secret_files");
    let mut readable = false;
    let secrets = section.list("secret_files", |path| {
        let file = read_file(Path::new(path)).map_err(|error| unreadable_file(path, &error))?;
        readable |= file.is_readable_by_others;
        let invalid = |error: wxsub_core::webhook::InvalidWebhookSecret| {
            let rule = error.localized();
            localized_text!("names a secret that {rule}", "指定的密钥{rule}"; rule)
        };
        file.text.parse().map_err(invalid)
    });
    if readable {
        section.warning("secret_files", READABLE_BY_OTHERS);
    }
    match secrets.len() {
        1..=MAX_SECRETS => Some(secrets),
        0 if !has_secrets => None,
        _ => section.refused(
            "secret_files",
            "must be a list of one file, or of two during a rotation",
            "必须是一个文件的列表；轮换密钥期间可以是两个",
        ),
    }
}

/// The events, all unless given.
fn events(section: &mut TableReader<'_>) -> BTreeSet<WebhookEvent> {
    if !section.has("events") {
        return WebhookEvent::ALL.iter().copied().collect();
    }
    if section.has_empty_list("events") {
        section.warn(
            "events",
            "is empty, so the endpoint gets nothing; add events, or remove it for all",
            "为空，不会通知任何事件；请添加事件，或删除这一项以通知全部事件",
        );
    }
    let events = section.list("events", |text| {
        let all = WebhookEvent::ALL.iter().map(|event| event.as_str()).collect::<Vec<_>>().join(", ");
        text.parse().map_err(|_| localized_text!("must be one of {all}", "必须是以下之一：{all}"))
    });
    events.into_iter().collect()
}
