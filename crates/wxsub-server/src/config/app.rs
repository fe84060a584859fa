//! One app of the configuration.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use wxsub_core::token::TokenEndpoint;
use wxsub_core::transport::Transport;
use wxsub_hyper::{HyperTransport, Roots};
use wxsub_proto::{AppId, AppSecret, BaseUrl, BaseUrls, ValidationErrorKind};

use super::secret;
use super::table_reader::TableReader;
use crate::ignored_proxy::ignored_proxy;

/// An app whose token is kept.
#[derive(Clone)]
pub(crate) struct AppConfig {
    pub(crate) appid: AppId,
    pub(crate) secret: AppSecret,
    pub(crate) endpoint: TokenEndpoint,
    pub(crate) bases: BaseUrls,
    way: TransportSettings,
    pub(crate) transport: Arc<dyn Transport>,
}

impl AppConfig {
    /// Whether it is to be treated exactly as the other.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        self.appid == other.appid
            && self.secret.ct_eq(&other.secret)
            && self.endpoint == other.endpoint
            && self.bases == other.bases
            && self.way == other.way
    }
}

impl fmt::Debug for AppConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { appid, endpoint, bases, .. } = self;
        f.debug_struct("AppConfig")
            .field("appid", appid)
            .field("endpoint", endpoint)
            .field("bases", bases)
            .finish()
    }
}

/// How its requests leave this machine. The proxy's URL can hold a password.
#[derive(Clone, PartialEq, Eq, Hash)]
struct TransportSettings {
    proxy: Option<String>,
    authorities: TrustRoots,
}

/// Whose certificates are believed.
#[derive(Clone, PartialEq, Eq, Hash)]
enum TrustRoots {
    System,
    /// Nobody is asked for a certificate, so a machine without authorities will do.
    None,
    Pem(Vec<u8>),
}

/// Apps that go the same way share their connections.
#[derive(Default)]
pub(super) struct TransportCache(HashMap<TransportSettings, Arc<dyn Transport>>);

/// Reads one `[[apps]]`.
pub(super) fn read(
    mut section: TableReader<'_>,
    environment: &dyn Fn(&str) -> Option<String>,
    ways: &mut TransportCache,
) -> Option<AppConfig> {
    let appid = section.required("appid");
    let secret = secret::read(&mut section, environment);
    let endpoint = endpoint(&mut section);
    let bases = bases(&mut section);
    let route = way(&mut section, bases.as_ref(), environment)
        .and_then(|way| Some((ways.open(&way, &section)?, way)));
    section.finish();
    let (transport, way) = route?;
    Some(AppConfig { appid: appid?, secret: secret?, endpoint: endpoint?, bases: bases?, way, transport })
}

fn endpoint(section: &mut TableReader<'_>) -> Option<TokenEndpoint> {
    let Some(wanted) = section.text("token_endpoint") else { return Some(TokenEndpoint::default()) };
    let all = [TokenEndpoint::Token, TokenEndpoint::StableToken];
    let found = all.into_iter().find(|endpoint| endpoint.as_str() == wanted);
    if found.is_none() {
        section.problem("token_endpoint", "must be \"token\" or \"stable_token\"");
    }
    found
}

fn bases(section: &mut TableReader<'_>) -> Option<BaseUrls> {
    let (given, insists) = (section.has("api_base"), section.flag("allow_http"));
    let Some(texts) = section.texts("api_base") else { return (!given).then(BaseUrls::default) };
    let read: Vec<_> = texts.iter().map(|(key, text)| base(section, key, text, insists)).collect();
    let read: Option<Vec<_>> = read.into_iter().collect();
    BaseUrls::new(read?).map_err(|invalid| section.problem("api_base", invalid.rule())).ok()
}

fn base(section: &TableReader<'_>, key: &str, text: &str, insists: bool) -> Option<BaseUrl> {
    let read = match BaseUrl::new(text) {
        Err(invalid) if invalid.rule() == &ValidationErrorKind::InsecureScheme && insists => {
            section.warning(key, "is plain http:// to another machine: secrets travel in the open");
            BaseUrl::insecure(text)
        }
        read => read,
    };
    read.map_err(|invalid| section.problem(key, invalid.rule())).ok()
}

fn way(
    section: &mut TableReader<'_>,
    bases: Option<&BaseUrls>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Option<TransportSettings> {
    let (proxy, ca_file) = (section.text("proxy"), section.text("ca_file"));
    if proxy.is_none()
        && let Some((base, name)) = bases
            .and_then(|bases| bases.iter().find_map(|base| Some((base, ignored_proxy(base, environment)?))))
    {
        section.warning(
            "proxy",
            format_args!(
                "is absent, and the server does not use the proxy that {name} names; set proxy to go through it, or add \
                 {} to NO_PROXY",
                base.host()
            ),
        );
    }
    let plain = bases.is_some_and(|bases| bases.iter().all(|base| base.as_str().starts_with("http://")));
    let authorities = match ca_file {
        Some(path) => match std::fs::read(path) {
            Ok(pem) => TrustRoots::Pem(pem),
            Err(error) => {
                section.problem("ca_file", format_args!("names a file that cannot be read: {error}"));
                return None;
            }
        },
        None if plain && proxy.is_none() => TrustRoots::None,
        None => TrustRoots::System,
    };
    Some(TransportSettings { proxy, authorities })
}

impl TransportCache {
    fn open(&mut self, way: &TransportSettings, section: &TableReader<'_>) -> Option<Arc<dyn Transport>> {
        if let Some(transport) = self.0.get(way) {
            return Some(Arc::clone(transport));
        }
        let roots = match &way.authorities {
            TrustRoots::System => Roots::System,
            TrustRoots::None => Roots::Bundled,
            TrustRoots::Pem(pem) => Roots::Pem(pem.clone()),
        };
        let mut builder = HyperTransport::builder().roots(roots);
        if let Some(url) = &way.proxy {
            builder = builder.proxy(url).map_err(|error| section.problem("proxy", error)).ok()?;
        }
        let built = builder.build().map_err(|error| section.problem("ca_file", error));
        let transport: Arc<dyn Transport> = Arc::new(built.ok()?);
        self.0.insert(way.clone(), Arc::clone(&transport));
        Some(transport)
    }
}
