//! Who calls, as far as the headers of a request tell.

use std::net::IpAddr;

use axum::http::{HeaderMap, header};
use wxsub_proto::BaseUrl;

use crate::Caller;

/// The caller behind these headers.
pub(super) fn caller(address: IpAddr, headers: &HeaderMap) -> Caller {
    let caller = Caller::from(address);
    let base =
        text(headers, header::HOST.as_str()).map(|host| BaseUrl::allowing_http(&format!("http://{host}")));
    let caller = match base {
        Some(Ok(base)) => caller.reached(base),
        _ => caller,
    };
    if is_foreign(headers) { caller.foreign() } else { caller }
}

/// Whether a browser says that a page of another site is behind the request. What is no browser says nothing.
fn is_foreign(headers: &HeaderMap) -> bool {
    if let Some(site) = text(headers, "sec-fetch-site") {
        return !["same-origin", "none"].contains(&site);
    }
    // Browsers leave that one out where they reach the sandbox over plain HTTP and not on loopback.
    let Some(origin) = text(headers, header::ORIGIN.as_str()) else {
        return false;
    };
    let site = origin.split_once("://").map(|(_, host)| host);
    site.is_none() || site != text(headers, header::HOST.as_str())
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&'static str, &'static str)]) -> Caller {
        let headers = pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        caller([127, 0, 0, 1].into(), &headers.collect())
    }

    #[test]
    fn browsers_tell_where_a_request_comes_from() {
        let host = ("host", "10.0.0.1:8459");
        for (header, foreign) in [
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
            assert_eq!(read(&[host, header]).foreign, foreign, "{header:?}");
        }
        // The plainer word counts.
        assert!(read(&[host, ("origin", "http://10.0.0.1:8459"), ("sec-fetch-site", "cross-site")]).foreign);
        assert!(read(&[("origin", "https://evil.example")]).foreign);
    }

    #[test]
    fn the_host_is_where_links_lead_unless_it_is_none() {
        let base = |host| read(&[("host", host)]).base.map(|base| base.as_str().to_owned());
        assert_eq!(base("localhost:1").as_deref(), Some("http://localhost:1"));
        for bad in ["a b", "u@h", "a?b", ""] {
            assert_eq!(base(bad), None, "{bad}");
        }
    }
}
