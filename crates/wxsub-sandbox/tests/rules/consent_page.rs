//! `/mp/subscribemsg`. Source: service/en/Message_Management/One-time_subscription_info.

use wxsub_proto::{ConsentAction, ConsentCallback, ConsentRequest, HttpUrl};

use crate::weixin::{Weixin, code, message, request};

fn consent_url(request: &ConsentRequest, redirect_url: &str) -> String {
    let redirect_url: HttpUrl = redirect_url.parse().unwrap();
    let url = request.consent_url(&redirect_url).unwrap().to_string();
    url.strip_prefix("https://mp.weixin.qq.com").unwrap().to_owned()
}

fn page(weixin: &Weixin, target: &str) -> String {
    let response = weixin.response("GET", target, "");
    assert_eq!((response.status, response.content_type), (200, "text/html; charset=utf-8"));
    String::from_utf8(response.body).unwrap()
}

#[test]
fn opening_the_page_grants_nothing() {
    let weixin = Weixin::new();
    let page = page(&weixin, &consent_url(&request("T", "7"), "https://shop.example:8443/back?x=1"));
    for part in [
        "name=\"viewport\"",
        "<form method=\"post\" action=\"?action=get_confirm&amp;appid=",
        "name=\"action\" value=\"confirm\"",
        "name=\"action\" value=\"cancel\"",
        "<code>wx0123456789abcdef</code>",
        "<dd>https://shop.example:8443</dd>",
        "value=\"oSandbox-wx0123456789abcdef\"",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    assert!(!page.contains("<script"));
    assert_eq!(code(&weixin.send(&weixin.token(), &message())), 43101);
}

/// The callback is appended in the documented order, with `reserved` unchanged.
#[test]
fn confirm_redirects_with_callback_and_grants_one_message() {
    let weixin = Weixin::new();
    let request = request("T", "7").reserved("proof1".parse().unwrap());
    let target = consent_url(&request, "https://shop.example/back?order=1#end");
    let response = weixin.response("POST", &target, "openid=oUser&action=confirm");
    let location = response.location.unwrap();
    assert_eq!(response.status, 302);
    assert_eq!(
        location,
        "https://shop.example/back?order=1&openid=oUser&template_id=T&action=confirm&scene=7&reserved=proof1#end"
    );
    let callback: ConsentCallback = location.parse().unwrap();
    assert!(matches!(callback.action(), ConsentAction::Confirm { openid } if openid.as_str() == "oUser"));
    assert_eq!(code(&weixin.send(&weixin.token(), &message())), 0);
}

/// Only a confirmation has an `openid`.
#[test]
fn cancel_redirects_without_openid_and_grants_nothing() {
    let weixin = Weixin::new();
    let target = consent_url(&request("T", "7"), "https://shop.example/back");
    let response = weixin.response("POST", &target, "openid=oUser&action=cancel");
    assert_eq!(
        (response.status, response.location.as_deref()),
        (302, Some("https://shop.example/back?template_id=T&action=cancel&scene=7"))
    );
    assert_eq!(code(&weixin.send(&weixin.token(), &message())), 43101);
}

/// Not part of Weixin: the form or the consent URL may set the openid. The default is the same for each app.
#[test]
fn openid_comes_from_form_then_url_then_default() {
    let weixin = Weixin::new();
    let plain = consent_url(&request("T", "7"), "https://a.example");
    let named = plain.replace("#wechat_redirect", "&openid=oLink#wechat_redirect");
    for (target, form, openid) in [
        (&plain, "action=confirm", "oSandbox-wx0123456789abcdef"),
        (&named, "action=confirm", "oLink"),
        (&named, "action=confirm&openid=oForm", "oForm"),
    ] {
        let location = weixin.response("POST", target, form).location.unwrap();
        assert!(location.contains(&format!("?openid={openid}&")), "{location}");
    }
    assert!(page(&weixin, &named).contains("value=\"oLink\""));
}

/// Weixin's own clients send the text `null` for an unset `reserved`.
#[test]
fn unset_reserved_is_absent_from_callback() {
    let weixin = Weixin::new();
    let target = consent_url(&request("T", "7"), "https://a.example");
    for unset in ["", "&reserved=", "&reserved=null"] {
        let target = target.replace("#wechat_redirect", unset);
        let location = weixin.response("POST", &target, "action=cancel").location.unwrap();
        assert_eq!(location, "https://a.example?template_id=T&action=cancel&scene=7");
    }
}

#[test]
fn invalid_consent_url_shows_page_naming_the_parameter() {
    let weixin = Weixin::new();
    let good = consent_url(&request("T", "7"), "https://a.example");
    for (from, to, named) in [
        ("action=get_confirm&", "", "action"),
        ("get_confirm", "confirm", "action"),
        ("appid=wx0123456789abcdef", "appid=wxunknown", "appid"),
        ("scene=7", "scene=10001", "scene"),
        ("scene=7&", "", "scene"),
        ("template_id=T", "template_id=X", "template_id"),
        ("https%3A%2F%2Fa.example", "javascript%3Aalert(1)", "redirect_url"),
        ("redirect_url", "redirect_uri", "redirect_url"),
        ("#", "&reserved=a-b#", "reserved"),
    ] {
        for method in ["GET", "POST"] {
            let response = weixin.response(method, &good.replace(from, to), "action=confirm");
            let page = String::from_utf8(response.body).unwrap();
            assert_eq!(response.status, 400, "{to}");
            assert!(page.contains(&format!("id=\"error\">{named}: ")), "{named} in {page}");
        }
    }
    let page = weixin.response("GET", &good.replace("redirect_url", "redirect_uri"), "").body;
    let page = String::from_utf8(page).unwrap();
    assert!(page.contains("Rename <code>redirect_uri</code> to <code>redirect_url</code>"), "{page}");
    for form in ["", "action=maybe", "action=confirm&openid=o%20o"] {
        assert_eq!(weixin.response("POST", &good, form).status, 400, "{form}");
    }
}

#[test]
fn consent_page_escapes_url_parameters() {
    let weixin = Weixin::new();
    let target = consent_url(&request("T", "7"), "https://<b>'\"&.example/");
    let target = target.replace("#", "&openid=%22%3E%3Cscript%3E#");
    let page = page(&weixin, &target);
    assert!(page.contains("https://&lt;b&gt;'&quot;&amp;.example"), "{page}");
    assert!(page.contains("&quot;&gt;&lt;script&gt;") && !page.contains("<script"));
}
