//! Whatever a consent link is made of, the page reads the same from it; what it cannot be made of is refused.

use std::collections::HashMap;

use wxsub_proto::codec::decode_query;
use wxsub_proto::redact::redact_url;
use wxsub_proto::{BaseUrl, ConsentRequest, HttpUrl, Reserved, ValidationError};

/// Lines: AppID, template_id, scene, `reserved` (empty for none), the page to come back to, the base.
pub(crate) fn holds(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let lines: Vec<&str> = text.splitn(6, '\n').collect();
    let [appid, template_id, scene, reserved, back, base] = lines[..] else { return };
    let shown = redact_url(back);
    assert!(!shown.chars().any(char::is_control), "{shown:?}");
    let Ok(request) = request(appid, template_id, scene, reserved) else { return };
    let (Ok(back), Ok(base)) = (back.parse::<HttpUrl>(), BaseUrl::insecure(base)) else { return };
    assert!(!format!("{base:?} {base}").contains('@'), "user info in a base");

    let Ok(link) = request.web_link(&back) else { return };
    let link = link.with_base_url(&base).to_string();
    let (place, query) = link.split_once('?').unwrap();
    assert_eq!(place, format!("{}/mp/subscribemsg", base.as_str()));
    let query = query.strip_suffix("#wechat_redirect").unwrap();
    assert!(query.bytes().all(|b| b.is_ascii_graphic()), "{query}");
    let pairs = decode_query(query).unwrap();
    let read: HashMap<&str, &str> = pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(read.len(), pairs.len(), "{query}");
    assert_eq!((read["action"], read["appid"], read["template_id"]), ("get_confirm", appid, template_id));
    assert_eq!((read["scene"], read["redirect_url"]), (scene, back.as_str()));
    assert_eq!(read.get("reserved").copied().unwrap_or_default(), reserved);
}

fn request(
    appid: &str,
    template_id: &str,
    scene: &str,
    reserved: &str,
) -> Result<ConsentRequest, ValidationError> {
    let request = ConsentRequest::new(appid.parse()?, template_id.parse()?, scene.parse()?);
    match reserved {
        "" => Ok(request),
        text => Ok(request.reserved(Reserved::new(text)?)),
    }
}
