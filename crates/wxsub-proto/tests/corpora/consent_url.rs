//! The consent page reads from a consent URL exactly the values that it was made of.

use std::collections::HashMap;

use wxsub_proto::codec::decode_query;
use wxsub_proto::{BaseUrl, ConsentRequest, HttpUrl, Reserved};

/// Lines: AppID, template_id, scene, `reserved` (empty for none), redirect URL, base URL.
pub(crate) fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let lines: Vec<&str> = text.splitn(6, '\n').collect();
    let [appid, template_id, scene, reserved, redirect_url, base] = lines[..] else { return };
    let Ok(mut request) = ConsentRequest::new(appid, template_id, scene) else { return };
    if !reserved.is_empty() {
        let Ok(reserved) = Reserved::new(reserved) else { return };
        request.reserved = Some(reserved);
    }
    let (Ok(redirect_url), Ok(base)) = (redirect_url.parse::<HttpUrl>(), BaseUrl::insecure(base)) else {
        return;
    };
    assert!(!format!("{base:?} {base}").contains('@'), "user info in a base URL");

    let Ok(url) = request.consent_url(&redirect_url) else { return };
    let url = url.with_base_url(&base).to_string();
    let (place, query) = url.split_once('?').unwrap();
    assert_eq!(place, format!("{}/mp/subscribemsg", base.as_str()));
    let query = query.strip_suffix("#wechat_redirect").unwrap();
    assert!(query.bytes().all(|b| b.is_ascii_graphic()), "{query}");
    let pairs = decode_query(query).unwrap();
    let read: HashMap<&str, &str> = pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(read.len(), pairs.len(), "{query}");
    assert_eq!((read["action"], read["appid"], read["template_id"]), ("get_confirm", appid, template_id));
    assert_eq!((read["scene"], read["redirect_url"]), (scene, redirect_url.as_str()));
    assert_eq!(read.get("reserved").copied().unwrap_or_default(), reserved);
}
