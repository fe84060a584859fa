//! The HTTP transports of apps, webhooks and token services: their proxy and trust roots.

use std::collections::HashMap;
use std::sync::Arc;

use wxsub_core::transport::Transport;
use wxsub_hyper::{HyperTransport, Roots};
use wxsub_proto::{BaseUrl, BaseUrls, localized_text};

use super::document::TableReader;
use super::file::pem;

/// Proxy and trust roots of an app. The URL of the proxy may contain a password.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct TransportSettings {
    proxy: Option<String>,
    roots: Roots,
}

/// Transports by their settings. Apps with equal settings share connections.
#[derive(Default)]
pub(super) struct TransportCache(HashMap<TransportSettings, Arc<dyn Transport>>);

impl TransportSettings {
    /// Reads `proxy` and `ca_file`, for these hosts. `None` without hosts, or if there is a problem.
    pub(super) fn read(
        section: &mut TableReader<'_>,
        bases: Option<&BaseUrls>,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Option<Self> {
        let proxy = section.text("proxy");
        if proxy.is_none()
            && let Some((base, name)) = bases.and_then(|bases| {
                bases.iter().find_map(|base| Some((base, ignored_proxy(base, environment)?)))
            })
        {
            let host = base.host();
            section.warning(
            "proxy",
            localized_text!(
                "is absent, and the server does not use the proxy that {name} names; set proxy to go through it, or add \
                 {host} to NO_PROXY",
                "没有设置，服务器不会使用 {name} 指定的代理；要经过该代理请设置 proxy，否则请把 {host} 加入 NO_PROXY"
            ),
        );
        }
        let is_plain =
            bases.is_some_and(|bases| bases.iter().all(|base| base.as_str().starts_with("http://")));
        let roots = read_roots(section, "ca_file", is_plain && proxy.is_none());
        bases?;
        Some(Self { proxy, roots: roots? })
    }

    /// Without a proxy.
    pub(super) fn direct(section: &mut TableReader<'_>, ca_file: &str, is_plain: bool) -> Option<Self> {
        Some(Self { proxy: None, roots: read_roots(section, ca_file, is_plain)? })
    }
}

/// Reads the file of this key. `is_plain`: no connection uses TLS, so the system need not have certificate authorities.
/// `None` if there is a problem.
pub(super) fn read_roots(section: &mut TableReader<'_>, key: &str, is_plain: bool) -> Option<Roots> {
    if !section.has(key) {
        return Some(if is_plain { Roots::Bundled } else { Roots::System });
    }
    pem(section, key).map(Roots::Pem)
}

impl TransportCache {
    pub(super) fn get_or_build(
        &mut self,
        settings: &TransportSettings,
        section: &TableReader<'_>,
        ca_file: &str,
    ) -> Option<Arc<dyn Transport>> {
        if let Some(transport) = self.0.get(settings) {
            return Some(Arc::clone(transport));
        }
        let mut builder = HyperTransport::builder().roots(settings.roots.clone());
        if let Some(url) = &settings.proxy {
            builder = builder.proxy(url).map_err(|error| section.problem("proxy", error.localized())).ok()?;
        }
        let built = builder.build().map_err(|error| section.problem(ca_file, error.localized()));
        let transport: Arc<dyn Transport> = Arc::new(built.ok()?);
        self.0.insert(settings.clone(), Arc::clone(&transport));
        Some(transport)
    }
}

/// The environment variable that sets a proxy for this address, by the convention of curl.
///
/// wxsub uses only a proxy of its own configuration, so callers warn about the variable. Returns `None` for a loopback
/// address, and for hosts that `NO_PROXY` lists.
pub fn ignored_proxy(base: &BaseUrl, environment: impl Fn(&str) -> Option<String>) -> Option<&'static str> {
    let is_set = |name: &str| environment(name).filter(|value| !value.is_empty());
    let exempt = |list: String| list.split(',').any(|entry| covers(entry.trim(), base.host()));
    if base.is_loopback() || ["NO_PROXY", "no_proxy"].into_iter().filter_map(is_set).any(exempt) {
        return None;
    }
    let names = match base.as_str().starts_with("https://") {
        true => ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"],
        false => ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"],
    };
    names.into_iter().find(|name| is_set(name).is_some())
}

/// Whether an entry of `NO_PROXY` covers a host: the host itself, a domain above it, or `*`.
fn covers(entry: &str, host: &str) -> bool {
    let domain = entry.trim_start_matches('.');
    let above = || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    entry == "*" || (!domain.is_empty() && (host == domain || above()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(base: &str, set: &[(&str, &str)]) -> Option<&'static str> {
        let base = BaseUrl::insecure(base).unwrap();
        ignored_proxy(&base, |name| {
            set.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn variable_matches_the_scheme_of_the_address() {
        let proxy = "http://192.0.2.1:3128";
        for (base, name, expected) in [
            (BaseUrl::API, "HTTPS_PROXY", Some("HTTPS_PROXY")),
            (BaseUrl::API, "https_proxy", Some("https_proxy")),
            (BaseUrl::API, "ALL_PROXY", Some("ALL_PROXY")),
            (BaseUrl::API, "HTTP_PROXY", None),
            ("http://192.0.2.9", "HTTP_PROXY", Some("HTTP_PROXY")),
            ("http://192.0.2.9", "HTTPS_PROXY", None),
            ("http://127.0.0.1:8460", "HTTP_PROXY", None),
            ("https://localhost", "HTTPS_PROXY", None),
        ] {
            assert_eq!(found(base, &[(name, proxy)]), expected, "{base} {name}");
        }
        assert_eq!(found(BaseUrl::API, &[("HTTPS_PROXY", "")]), None);
    }

    #[test]
    fn no_proxy_exempts_hosts_and_domains() {
        for (list, expected) in [
            ("*", None),
            ("api.weixin.qq.com", None),
            ("10.0.0.0/8, .qq.com", None),
            ("weixin.qq.com", None),
            ("in.qq.com", Some("HTTPS_PROXY")),
            ("localhost,", Some("HTTPS_PROXY")),
        ] {
            let set = [("HTTPS_PROXY", "http://192.0.2.1:3128"), ("no_proxy", list)];
            assert_eq!(found(BaseUrl::API, &set), expected, "{list}");
        }
    }
}
