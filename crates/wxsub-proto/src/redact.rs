//! URLs without their secrets, and text from outside on one line.

use crate::codec::percent_encode;

/// The query names whose values may be shown. All other values are hidden.
const PUBLIC_QUERY_KEYS: [&str; 6] = ["action", "appid", "grant_type", "lang", "scene", "template_id"];

/// Makes a URL safe for logs and errors. It drops user info, replaces query values by `***` unless their name is public,
/// and keeps no fragment but `#wechat_redirect`.
///
/// ```
/// use wxsub_proto::redact::redact_url;
///
/// assert_eq!(
///     redact_url("https://api.weixin.qq.com/cgi-bin/token?grant_type=client_credential&appid=wx1&secret=S3CRET"),
///     "https://api.weixin.qq.com/cgi-bin/token?grant_type=client_credential&appid=wx1&secret=***"
/// );
/// ```
pub fn redact_url(url: &str) -> String {
    let (before_fragment, fragment) = url.split_once('#').unwrap_or((url, ""));
    let (place, query) = match before_fragment.split_once('?') {
        Some((place, query)) => (place, Some(query)),
        None => (before_fragment, None),
    };
    let mut shown = without_user_info(place);
    if let Some(query) = query {
        for (index, pair) in query.split('&').enumerate() {
            shown.push(if index == 0 { '?' } else { '&' });
            shown.push_str(&redact_pair(pair));
        }
    }
    if fragment == "wechat_redirect" {
        shown.push_str("#wechat_redirect");
    }
    sanitize_line(shown.chars())
}

/// Makes text from outside safe for a log, an error or a terminal: each control character, line separator and mark that
/// changes the direction of text becomes a space.
///
/// ```
/// use wxsub_proto::redact::sanitize_line;
///
/// assert_eq!(sanitize_line("a\r\nb\u{1b}[31mc\u{2028}d\u{202e}e".chars()), "a  b [31mc d e");
/// // At most 3 characters.
/// assert_eq!(sanitize_line("a\nbcd".chars().take(3)), "a b");
/// ```
pub fn sanitize_line(text: impl IntoIterator<Item = char>) -> String {
    text.into_iter().map(|c| if is_unsafe(c) { ' ' } else { c }).collect()
}

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2066}'..='\u{2069}')
}

fn redact_pair(pair: &str) -> String {
    match pair.split_once('=') {
        Some((name, value)) if PUBLIC_QUERY_KEYS.contains(&name) => format!("{name}={value}"),
        // The name tells which parameter it was.
        Some((name, _)) => format!("{}=***", percent_encode(name)),
        None => "***".to_owned(),
    }
}

fn without_user_info(place: &str) -> String {
    let Some((scheme, rest)) = place.split_once("://") else {
        return place.to_owned();
    };
    let end = rest.find(['/', '\\']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::redact_url;

    #[test]
    fn only_public_values_are_shown() {
        for (url, shown) in [
            ("https://a/b", "https://a/b"),
            ("/p?access_token=PLANTED", "/p?access_token=***"),
            ("https://u:PLANTED@a/p?x=PLANTED&PLANTED#PLANTED", "https://a/p?x=***&***"),
            ("https://u:PLA@NTED@a", "https://a"),
            ("/p?appid=wx1&Secret=PLANTED&=PLANTED", "/p?appid=wx1&Secret=***&=***"),
            ("/p?scene=1#wechat_redirect", "/p?scene=1#wechat_redirect"),
            ("/p\n?x", "/p ?***"),
            ("/p\u{2028}\u{202e}\u{2066}?x", "/p   ?***"),
            ("/p?a <b=PLANTED", "/p?a%20%3Cb=***"),
        ] {
            assert_eq!(redact_url(url), shown);
        }
    }

    proptest::proptest! {
        #[test]
        fn secret_value_is_never_shown(before in "[a-z/?&=#.]{0,20}", after in "[a-z/?&=#.]{0,20}") {
            for name in ["secret", "access_token", "key", "openid"] {
                let shown = redact_url(&format!("https://h/p?{before}&{name}=PLANTED{after}"));
                assert!(!shown.contains("PLANTED"), "{shown}");
            }
        }
    }
}
