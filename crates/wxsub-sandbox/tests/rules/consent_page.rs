//! `/mp/subscribemsg`. Source: service/en/Message_Management/One-time_subscription_info.

use wxsub_proto::{Action, Answer, ConsentRequest, HttpUrl};

use crate::weixin::{Weixin, code, message, request};

fn link(request: &ConsentRequest, back: &str) -> String {
    let back: HttpUrl = back.parse().unwrap();
    let link = request.web_link(&back).to_string();
    link.strip_prefix("https://mp.weixin.qq.com").unwrap().to_owned()
}

fn page(weixin: &Weixin, target: &str) -> String {
    let reply = weixin.reply("GET", target, "");
    assert_eq!((reply.status, reply.content_type), (200, "text/html; charset=utf-8"));
    String::from_utf8(reply.body).unwrap()
}

#[test]
fn the_page_asks_and_grants_nothing_by_itself() {
    let weixin = Weixin::new();
    let page = page(&weixin, &link(&request("T", "7"), "https://shop.example:8443/back?x=1"));
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

/// The answer is appended in the documented order, and `reserved` comes back unchanged.
#[test]
fn allowing_leads_back_with_the_answer_and_grants_one_message() {
    let weixin = Weixin::new();
    let request = request("T", "7").reserved("proof1".parse().unwrap());
    let target = link(&request, "https://shop.example/back?order=1#end");
    let reply = weixin.reply("POST", &target, "openid=oUser&action=confirm");
    let location = reply.location.unwrap();
    assert_eq!(reply.status, 302);
    assert_eq!(
        location,
        "https://shop.example/back?order=1&openid=oUser&template_id=T&action=confirm&scene=7&reserved=proof1#end"
    );
    let answer: Answer = location.parse().unwrap();
    assert!(matches!(answer.action(), Action::Confirm { openid } if openid.as_str() == "oUser"));
    assert_eq!(code(&weixin.send(&weixin.token(), &message())), 0);
}

/// `openid` is there only on confirm.
#[test]
fn cancelling_leads_back_without_openid_and_grants_nothing() {
    let weixin = Weixin::new();
    let target = link(&request("T", "7"), "https://shop.example/back");
    let reply = weixin.reply("POST", &target, "openid=oUser&action=cancel");
    assert_eq!(
        (reply.status, reply.location.as_deref()),
        (302, Some("https://shop.example/back?template_id=T&action=cancel&scene=7"))
    );
    assert_eq!(code(&weixin.send(&weixin.token(), &message())), 43101);
}

/// Not Weixin's: the form, then the link, may say who the user is; otherwise it is always the same one.
#[test]
fn the_user_is_who_the_form_or_the_link_says() {
    let weixin = Weixin::new();
    let plain = link(&request("T", "7"), "https://a.example");
    let named = plain.replace("#wechat_redirect", "&openid=oLink#wechat_redirect");
    for (target, form, openid) in [
        (&plain, "action=confirm", "oSandbox-wx0123456789abcdef"),
        (&named, "action=confirm", "oLink"),
        (&named, "action=confirm&openid=oForm", "oForm"),
    ] {
        let location = weixin.reply("POST", target, form).location.unwrap();
        assert!(location.contains(&format!("?openid={openid}&")), "{location}");
    }
    assert!(page(&weixin, &named).contains("value=\"oLink\""));
}

/// An unset `reserved` travels as the text `null` in the links that Weixin's own clients open.
#[test]
fn an_unset_reserved_is_absent_from_the_answer() {
    let weixin = Weixin::new();
    let target = link(&request("T", "7"), "https://a.example");
    for unset in ["", "&reserved=", "&reserved=null"] {
        let target = target.replace("#wechat_redirect", unset);
        let location = weixin.reply("POST", &target, "action=cancel").location.unwrap();
        assert_eq!(location, "https://a.example?template_id=T&action=cancel&scene=7");
    }
}

#[test]
fn a_wrong_link_shows_an_error_page_that_names_the_parameter() {
    let weixin = Weixin::new();
    let good = link(&request("T", "7"), "https://a.example");
    for (from, to, named) in [
        ("action=get_confirm&", "", "action"),
        ("get_confirm", "confirm", "action"),
        ("appid=wx0123456789abcdef", "appid=wxstranger", "appid"),
        ("scene=7", "scene=10001", "scene"),
        ("scene=7&", "", "scene"),
        ("template_id=T", "template_id=X", "template_id"),
        ("https%3A%2F%2Fa.example", "javascript%3Aalert(1)", "redirect_url"),
        ("redirect_url", "redirect_uri", "redirect_url"),
        ("#", "&reserved=a-b#", "reserved"),
    ] {
        for method in ["GET", "POST"] {
            let reply = weixin.reply(method, &good.replace(from, to), "action=confirm");
            let page = String::from_utf8(reply.body).unwrap();
            assert_eq!(reply.status, 400, "{to}");
            assert!(page.contains(&format!("id=\"error\">{named}: ")), "{named} in {page}");
        }
    }
    for form in ["", "action=maybe", "action=confirm&openid=o%20o"] {
        assert_eq!(weixin.reply("POST", &good, form).status, 400, "{form}");
    }
}

#[test]
fn nothing_from_outside_becomes_markup() {
    let weixin = Weixin::new();
    let target = link(&request("T", "7"), "https://<b>'\"&.example/");
    let target = target.replace("#", "&openid=%22%3E%3Cscript%3E#");
    let page = page(&weixin, &target);
    assert!(page.contains("https://&lt;b&gt;'&quot;&amp;.example"), "{page}");
    assert!(page.contains("&quot;&gt;&lt;script&gt;") && !page.contains("<script"));
}
