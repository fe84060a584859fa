//! Determines the caller from the headers of a request.

use std::net::IpAddr;

use axum::http::{HeaderMap, header};
use wxsub_proto::BaseUrl;

use crate::caller::Caller;

/// The caller with this address and these headers.
pub(super) fn from_headers(address: IpAddr, headers: &HeaderMap) -> Caller {
    let caller = Caller::from(address);
    let base =
        header_text(headers, header::HOST.as_str()).map(|host| BaseUrl::insecure(&format!("http://{host}")));
    let caller = match base {
        Some(Ok(base)) => caller.with_base_url(base),
        _ => caller,
    };
    if is_cross_site(headers) { caller.cross_site() } else { caller }
}

/// Whether a browser reports that a page of another site sent the request. Clients that are no browsers report nothing.
fn is_cross_site(headers: &HeaderMap) -> bool {
    if let Some(site) = header_text(headers, "sec-fetch-site") {
        return !["same-origin", "none"].contains(&site);
    }
    // Browsers omit Sec-Fetch-Site over plain HTTP unless the host is loopback.
    let Some(origin) = header_text(headers, header::ORIGIN.as_str()) else {
        return false;
    };
    let site = origin.split_once("://").map(|(_, host)| host);
    site.is_none() || site != header_text(headers, header::HOST.as_str())
}

fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller_with(pairs: &[(&'static str, &'static str)]) -> Caller {
        let headers = pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        from_headers([127, 0, 0, 1].into(), &headers.collect())
    }

    #[test]
    fn cross_site_requests_are_detected_by_headers() {
        let host = ("host", "10.0.0.1:8459");
        for (header, is_cross_site) in [
            (("sec-fetch-site", "same-origin"), false),
            (("sec-fetch-site", "none"), false),
            (("sec-fetch-site", "same-site"), true),
            (("sec-fetch-site", "cross-site"), true),
            (("origin", "http://10.0.0.1:8459"), false),
            (("origin", "https://10.0.0.1:8459"), false),
            (("origin", "http://10.0.0.1"), true),
            (("origin", "https://evil.example"), true),
            (("origin", "null"), true),
            (("user-agent", "curl"), false),
        ] {
            assert_eq!(caller_with(&[host, header]).is_cross_site, is_cross_site, "{header:?}");
        }
        // Sec-Fetch-Site takes precedence over Origin.
        assert!(
            caller_with(&[host, ("origin", "http://10.0.0.1:8459"), ("sec-fetch-site", "cross-site")])
                .is_cross_site
        );
        assert!(caller_with(&[("origin", "https://evil.example")]).is_cross_site);
    }

    #[test]
    fn base_url_comes_from_valid_host_header() {
        let base = |host| caller_with(&[("host", host)]).base_url.map(|base| base.as_str().to_owned());
        assert_eq!(base("localhost:1").as_deref(), Some("http://localhost:1"));
        for bad in ["a b", "u@h", "a?b", ""] {
            assert_eq!(base(bad), None, "{bad}");
        }
    }
}
