//! Proxies that the environment sets and wxsub does not use.

use wxsub_proto::BaseUrl;

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
