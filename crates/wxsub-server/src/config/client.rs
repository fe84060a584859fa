//! One client of the configuration.

use wxsub_proto::{AppId, ValidationError};

use super::table_reader::TableReader;
use crate::cidr::Cidr;
use crate::client::{ApiClient, AppAccess, Scope};
use crate::key::ApiKeyDigest;

/// Maximum length of a client's name, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// Reads one `[[clients]]`.
pub(super) fn read(mut section: TableReader<'_>) -> Option<ApiClient> {
    for key in ["name", "key_sha256", "apps", "scopes"] {
        section.check_present(key);
    }
    let name = name(&mut section);
    let key = section.text("key_sha256").and_then(|text| {
        let digest = ApiKeyDigest::parse(&text);
        if digest.is_none() {
            section.problem(
                "key_sha256",
                "must be 64 lower-case hexadecimal digits, as `wxsub key new` prints them",
            );
        }
        digest
    });
    let apps = apps(&mut section);
    let scopes = section.list("scopes", |text| {
        let all = Scope::ALL.map(Scope::as_str).join(", ");
        let found = Scope::ALL.into_iter().find(|scope| scope.as_str() == text);
        found.ok_or_else(|| format!("must be one of {all}"))
    });
    let has_allowed_networks = section.has("allowed_networks");
    let allowed_networks = section.list("allowed_networks", |text| {
        Cidr::parse(text).ok_or_else(|| "must be an address or a range like 10.0.0.0/8".to_owned())
    });
    if has_allowed_networks && allowed_networks.is_empty() {
        section.problem(
            "allowed_networks",
            "is empty; list the networks from which the key may be used, or remove it",
        );
    }
    section.finish();
    Some(ApiClient { name: name?, key: key?, apps, scopes, allowed_networks })
}

fn name(section: &mut TableReader<'_>) -> Option<String> {
    let name = section.text("name")?;
    let is_valid = is_client_name(&name);
    if !is_valid {
        section.problem("name", "must be 1 to 64 letters, digits, dots, hyphens or underscores");
    }
    is_valid.then_some(name)
}

/// Whether a client's name is valid: 1 to 64 letters, digits, dots, hyphens or underscores.
#[must_use]
pub fn is_client_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

fn apps(section: &mut TableReader<'_>) -> AppAccess {
    let mut all = false;
    let appids = section.list("apps", |text| match text {
        "*" => {
            all = true;
            Ok(None)
        }
        text => {
            text.parse::<AppId>().map(Some).map_err(|invalid: ValidationError| invalid.rule().to_string())
        }
    });
    let appids: Vec<_> = appids.into_iter().flatten().collect();
    match all {
        true if !appids.is_empty() => {
            section.problem("apps", "has \"*\" and AppIDs; keep one or the other");
            AppAccess::Only(appids)
        }
        true => AppAccess::All,
        false => AppAccess::Only(appids),
    }
}
