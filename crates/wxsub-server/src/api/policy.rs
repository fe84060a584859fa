//! The rights of keys: one policy for both APIs.

use std::sync::Arc;

use wxsub_api::ApiKey;
use wxsub_proto::AppId;

use super::request::RequestContext;
use crate::apps::ManagedApp;
use crate::config::{ApiClient, ApiKeyDigest, AppAccess, Scope, find_by_key};
use crate::state::audit::Action;
use crate::state::denial::Denial;

/// Maximum number of apps that an error text names.
const MAX_NAMED_APPS: usize = 20;

/// The sets of scopes that allow an action: the client needs all scopes of one set. docs/control-server.md has the table of the requests.
fn allowing_scopes(action: Action) -> &'static [&'static [Scope]] {
    match action {
        Action::Read => &[&[Scope::TokenRead]],
        // The response to a report has the current token.
        Action::Report => &[&[Scope::TokenRead, Scope::TokenReport]],
        Action::Send => &[&[Scope::MessageSend]],
        Action::List | Action::ListWebhooks | Action::Redeliver => &[&[Scope::Admin]],
        Action::IssueConsent | Action::RecordGrant | Action::VoidGrant => &[&[Scope::Consent]],
        // An operator who decides a message sees its grant, and records none.
        Action::ListGrants => &[&[Scope::Consent], &[Scope::OutboxRead]],
        Action::Enqueue | Action::Cancel => &[&[Scope::OutboxWrite]],
        Action::ReadOutbox => &[&[Scope::OutboxRead]],
        Action::Decide | Action::Pause | Action::Resume => &[&[Scope::OutboxDecide]],
    }
}

/// The names of these scopes, for an error text.
pub(super) fn scope_names(action: Action) -> String {
    let names = |set: &&[Scope]| set.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" and ");
    allowing_scopes(action).iter().map(names).collect::<Vec<_>>().join(" or ")
}

/// The client of this key, if it may do this.
pub(super) fn authorize(
    context: &RequestContext,
    key: Result<ApiKey, Denial>,
    action: Action,
) -> Result<Arc<ApiClient>, Denial> {
    let client = identify(context, key).map_err(|denial| context.denied(denial))?;
    let has_all = |set: &&[Scope]| set.iter().all(|scope| client.has_scope(*scope));
    if allowing_scopes(action).iter().any(has_all) {
        return Ok(client);
    }
    Err(context.denied(Denial::MissingScope))
}

/// The client of this key and the app, if the client may do this with the app.
///
/// Only a client with all apps learns that an app is not configured.
pub(super) fn authorize_for_app(
    context: &RequestContext,
    key: Result<ApiKey, Denial>,
    action: Action,
    appid: Option<&AppId>,
) -> Result<(Arc<ApiClient>, Arc<ManagedApp>), Denial> {
    let client = authorize(context, key, action)?;
    let may_access = client.apps == AppAccess(None) || appid.is_some_and(|appid| client.can_access(appid));
    if !may_access {
        return Err(context.denied(Denial::AppNotAllowed));
    }
    match appid.and_then(|appid| context.snapshot().apps.get(appid)) {
        Some(app) => Ok((client, Arc::clone(app))),
        None => Err(context.denied(Denial::UnknownApp)),
    }
}

/// The apps that the client of this request may use, for an error text.
pub(super) fn usable_apps(context: &RequestContext) -> String {
    let apps = context.client().into_iter().flat_map(|client| {
        context.snapshot().apps.keys().filter(|appid| client.can_access(appid)).map(AppId::as_str)
    });
    let apps: Vec<_> = apps.collect();
    match (apps.get(..MAX_NAMED_APPS), apps.len()) {
        (_, 0) => "no app".to_owned(),
        (Some(first), all) if all > MAX_NAMED_APPS => {
            format!("{} and {} more", first.join(", "), all - MAX_NAMED_APPS)
        }
        _ => apps.join(", "),
    }
}

/// The client of this key. A client whose key is denied is in the audit line too.
fn identify(context: &RequestContext, key: Result<ApiKey, Denial>) -> Result<Arc<ApiClient>, Denial> {
    let digest = ApiKeyDigest::of(&key?);
    let (client, key) = find_by_key(&context.snapshot().clients, &digest).ok_or(Denial::UnknownKey)?;
    let (load, client) = (&client.load, &client.config);
    context.set_caller(&client.name, load);
    context.audit(|entry| entry.client = Some(Arc::clone(client)));
    if key.expires_at.is_some_and(|end| context.state().clock().now().wall >= end) {
        return Err(Denial::KeyExpired);
    }
    if !client.allows_address(context.address()) {
        return Err(Denial::AddressNotAllowed);
    }
    Ok(Arc::clone(client))
}
