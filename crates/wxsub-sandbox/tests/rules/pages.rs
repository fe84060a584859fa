//! The pages: the sandbox's own ones, and the consent page `/mp/subscribemsg`.
//!
//! Source of the consent page: service/en/Message_Management/One-time_subscription_info. The other pages are not part of Weixin.

use serde_json::json;
use wxsub_proto::{ConsentCallback, ConsentRequest, HttpUrl};
use wxsub_sandbox::{Caller, Fault, Response};

use crate::weixin::{START, TOKEN, Weixin, appid, code, message, request, token_target};

fn home(weixin: &Weixin) -> String {
    page(weixin, "/")
}

fn page(weixin: &Weixin, target: &str) -> String {
    let response = weixin.response("GET", target, "");
    assert_eq!((response.status, response.content_type), (200, "text/html; charset=utf-8"), "{target}");
    String::from_utf8(response.body).unwrap()
}

fn consent_url(request: &ConsentRequest, redirect_url: &str) -> String {
    let redirect_url: HttpUrl = redirect_url.parse().unwrap();
    let url = request.consent_url(&redirect_url).unwrap().to_string();
    url.strip_prefix("https://mp.weixin.qq.com").unwrap().to_owned()
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers.iter().find(|(other, _)| *other == name).map_or("", |(_, value)| value)
}

const FORMS: [(&str, &str); 5] = [
    ("apps", "appid=wx2&secret=s&templates=T"),
    ("tokens/invalidate", "appid=wx0123456789abcdef"),
    ("clock", "seconds=60"),
    ("faults", "path=/cgi-bin/token&fault=hang&times=1"),
    ("faults/clear", ""),
];

#[test]
fn message_is_escaped_on_home_page() {
    let weixin = Weixin::new();
    weixin.grant("oUser", "T", "7");
    let mut message = message();
    message["title"] = json!("<script>1");
    message["data"]["content"] = json!({"value": "<img src=x onerror=alert(1)>\n&amp;", "color": "#07C160"});
    message["url"] = json!("https://a.example/\"><script>");
    assert_eq!(code(&weixin.send(&weixin.token(), &message)), 0);
    let home = home(&weixin);
    assert!(home.contains("<h4>&lt;script&gt;1</h4>"), "{home}");
    assert!(
        home.contains("<font color=\"#07C160\">&lt;img src=x onerror=alert(1)&gt;\n&amp;amp;</font>"),
        "{home}"
    );
    // The only script is the sandbox's own.
    assert_eq!(home.matches("<script").count(), 1);
    assert!(home.contains("<script src=\"/_sandbox/ui/refresh.js\" defer></script>"));
}

/// A tap target is a mini program, a web page, or none. A `javascript:` URL is none.
#[test]
fn home_page_shows_tap_target() {
    let weixin = Weixin::new();
    let program = json!({"appid": "wxmini", "pagepath": "pages/index"});
    for (scene, url, program, shown) in [
        ("1", json!("https://a.example/p"), json!(null), "href=\"https://a.example/p\""),
        ("2", json!("https://a.example/p"), program, "<code>wxmini pages/index</code>"),
        ("3", json!(null), json!(null), "No tap target"),
        ("4", json!("javascript:alert(4)"), json!(null), "No tap target"),
    ] {
        weixin.grant("oUser", "T", scene);
        let mut message = message();
        (message["scene"], message["url"], message["miniprogram"]) = (json!(scene), url, program);
        message.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        weixin.send(&weixin.token(), &message);
        let home = home(&weixin);
        assert!(home.contains(shown) && !home.contains("href=\"javascript"), "{scene}: {home}");
    }
}

#[test]
fn every_page_has_a_content_security_policy() {
    let weixin = Weixin::new();
    let consent = "/mp/subscribemsg?action=get_confirm&appid=wx0123456789abcdef&scene=7&template_id=T&redirect_url=https://a.example";
    for (target, status, more) in [
        ("/", 200, "form-action 'self'; script-src 'self'; connect-src 'self'"),
        (consent, 200, "form-action http: https:"),
        ("/mp/subscribemsg", 400, "form-action 'none'"),
        ("/callback?template_id=T&action=cancel&scene=7", 200, "form-action 'none'"),
        ("/nowhere", 404, "form-action 'none'"),
        ("/_sandbox/ui/clock", 405, "form-action 'none'"),
    ] {
        let response = weixin.response("GET", target, "");
        let policy = format!(
            "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; {more}"
        );
        assert_eq!(
            (response.status, header(&response, "content-security-policy")),
            (status, &*policy),
            "{target}"
        );
        assert_eq!(header(&response, "x-content-type-options"), "nosniff");
        let page = String::from_utf8(response.body).unwrap();
        assert!(!page.contains("style=") && !page.contains("<style"), "{target}");
        for part in ["lang=\"en\"", "name=\"viewport\"", "<title>", "href=\"/_sandbox/ui/style.css\""] {
            assert!(page.contains(part), "{target} has no {part}");
        }
    }
    for (file, kind) in [
        ("/_sandbox/ui/style.css", "text/css; charset=utf-8"),
        ("/_sandbox/ui/refresh.js", "text/javascript; charset=utf-8"),
        ("/favicon.ico", "image/svg+xml"),
    ] {
        let response = weixin.response("GET", file, "");
        assert_eq!((response.status, response.content_type), (200, kind));
    }
}

/// Every form redirects to the home page, which shows the result.
#[test]
fn form_runs_its_control_and_shows_the_result() {
    let weixin = Weixin::new();
    for (name, fields) in FORMS {
        let response = weixin.response("POST", &format!("/_sandbox/ui/{name}"), fields);
        let location = response.location.unwrap();
        let (target, section_id) = location.split_once('#').unwrap();
        assert_eq!((response.status, target), (303, &*format!("/?done={name}")));
        let page = page(&weixin, target);
        let section = page.split(&format!("<section id=\"{section_id}\">")).nth(1).unwrap();
        let section = section.split("</section>").next().unwrap();
        assert!(section.contains("<p class=\"done\" role=\"status\">"), "{name}: {section}");
    }
    let log = weixin.0.event_log();
    let controls: Vec<_> = log.events.iter().map(|event| event.what.as_str()).collect();
    assert_eq!(controls, ["app added", "app added", "tokens invalidated", "clock advanced by 60 s"]);
    assert_eq!(weixin.0.now().as_secs(), START + 60);
    assert!(!home(&weixin).contains("class=\"done\""));
}

#[test]
fn invalid_form_is_rejected_with_the_error_of_its_control() {
    let weixin = Weixin::new();
    for (name, fields, error) in [
        (
            "clock",
            "seconds=-1",
            "seconds: invalid value: integer `-1`, expected a whole number from 0 to 315360000",
        ),
        ("clock", "", "seconds: is missing; it is required"),
        (
            "faults",
            "path=/x&fault=status&number=7",
            "fault.status: invalid value: integer `7`, expected a whole number from 200 to 599",
        ),
        ("tokens/invalidate", "appid=wxunknown", "appid: the sandbox has no such app; add the app first"),
        ("apps", "appid=wx2&templates=T", "secret: is missing; it is required"),
    ] {
        let response = weixin.response("POST", &format!("/_sandbox/ui/{name}"), fields);
        let page = String::from_utf8(response.body).unwrap();
        assert!(response.status == 400 && page.contains(&format!("<p>{error}</p>")), "{page}");
    }
    assert_eq!(weixin.0.event_log().events.len(), 1);
}

/// Pages of other sites may read and may link to the consent page. Decisions and controls are rejected.
#[test]
fn cross_site_writes_are_rejected() {
    let weixin = Weixin::new();
    let consent = "/mp/subscribemsg?action=get_confirm&appid=wx0123456789abcdef&scene=7&template_id=T&redirect_url=https://a.example";
    let status = |method: &str, target: &str, body: &str| {
        let caller = Caller::default().cross_site();
        weixin.0.handle_from(caller, method, target, body.as_bytes()).outcome.unwrap().status
    };
    for (name, fields) in FORMS {
        assert_eq!(status("POST", &format!("/_sandbox/ui/{name}"), fields), 403, "{name}");
    }
    assert_eq!(status("POST", consent, "action=confirm"), 403);
    assert_eq!(status("POST", "/_sandbox/clock/advance", "{\"seconds\":60}"), 403);
    assert_eq!(status("DELETE", "/_sandbox/faults", ""), 403);
    assert_eq!((status("GET", consent, ""), status("GET", "/", "")), (200, 200));
    assert_eq!(weixin.0.now().as_secs(), START);
    assert_eq!(code(&weixin.send(&weixin.token(), &message())), 43101);
}

#[test]
fn home_page_shows_the_state_and_records_no_event() {
    let weixin = Weixin::new();
    weixin.grant("oUser", "T", "7");
    weixin.0.add_fault(TOKEN, 2, Fault::Hang).add_fault_for_app(&appid(), TOKEN, 3, Fault::Hang).unwrap();
    weixin.ask("GET", "/cgi-bin/get_api_domain_ip?access_token=x", "");
    let before = weixin.0.event_log();
    let home = home(&weixin);
    for part in [
        "<code>wx0123456789abcdef</code>",
        "<code>oUser</code><span class=\"quiet\"> · scene 7 · </span><code>T</code>",
        "<a class=\"alert\" href=\"#faults\">Fault pending: hang × 2 on <code>/cgi-bin/token</code>, and 1 more</a>",
        "hang</span> × 3 on <code>/cgi-bin/token</code> of <code>wx0123456789abcdef</code></li>",
        "<option value=\"\">every app</option><option>wx0123456789abcdef</option>",
        "2023-11-14 22:13:20",
        "GET /cgi-bin/get_api_domain_ip",
        ">40014</span>",
        "export WXSUB_API_BASE=http://localhost",
    ] {
        assert!(home.contains(part), "{part} in {home}");
    }
    assert_eq!(weixin.0.event_log(), before);
    weixin.0.clear_faults();
    // The home page never shows a token.
    let token = weixin.ask("GET", &token_target(), "")["access_token"].as_str().unwrap().to_owned();
    assert!(!page(&weixin, "/").contains(&token));
}

#[test]
fn home_page_uses_base_url_of_caller() {
    let caller = Caller::default().with_base_url("http://127.0.0.1:8459".parse().unwrap());
    let home = Weixin::new().0.handle_from(caller, "GET", "/", b"").outcome.unwrap();
    let home = String::from_utf8(home.body).unwrap();
    assert!(home.contains("export WXSUB_API_BASE=http://127.0.0.1:8459"), "{home}");
}

/// Every visible field has a label.
#[test]
fn every_field_has_a_label() {
    let weixin = Weixin::new();
    let home = home(&weixin);
    let fields = home.split(['<']).filter(|tag| tag.starts_with("input ") || tag.starts_with("select "));
    let shown = fields.filter(|tag| !tag.contains("type=\"hidden\"")).count();
    assert_eq!(shown, home.matches("<label").count());
    assert!(shown > 5);
}

#[test]
fn opening_the_consent_page_grants_nothing() {
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

/// The callback is appended in the documented order, with `reserved` unchanged. Only a confirmation has an `openid`, and only
/// it grants a message.
#[test]
fn decision_redirects_with_its_callback() {
    for (action, callback, errcode) in [
        ("confirm", "openid=oUser&template_id=T&action=confirm&scene=7&reserved=proof1", 0),
        ("cancel", "template_id=T&action=cancel&scene=7&reserved=proof1", 43101),
    ] {
        let weixin = Weixin::new();
        let request = request("T", "7").reserved("proof1").unwrap();
        let target = consent_url(&request, "https://shop.example/back?order=1#end");
        let response = weixin.response("POST", &target, &format!("openid=oUser&action={action}"));
        let location = response.location.unwrap();
        assert_eq!(response.status, 302);
        assert_eq!(location, format!("https://shop.example/back?order=1&{callback}#end"));
        let callback: ConsentCallback = location.parse().unwrap();
        let openid = callback.assume_verified().map(|grant| grant.openid().to_string());
        assert_eq!(openid, (action == "confirm").then(|| "oUser".to_owned()));
        assert_eq!(code(&weixin.send(&weixin.token(), &message())), errcode, "{action}");
    }
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
    for (from, to, named, remedy) in [
        ("action=get_confirm&", "", "action", "<code>wxsub consent url</code>"),
        ("get_confirm", "%3Cscript%3E", "action", "<code>wxsub consent url</code>"),
        ("appid=wx0123456789abcdef", "appid=wxunknown", "appid", ": <code>wx0123456789abcdef</code>"),
        ("scene=7", "scene=10001", "scene", "a number from 0 to 10000"),
        ("scene=7&", "", "scene", "a number from 0 to 10000"),
        ("template_id=T", "template_id=X", "template_id", ": <code>T</code>, <code>U</code>"),
        (
            "https%3A%2F%2Fa.example",
            "javascript%3Aalert(1)",
            "redirect_url",
            "starts with http:// or https://",
        ),
        ("redirect_url", "redirect_uri", "redirect_url", "Rename <code>redirect_uri</code> to"),
        ("#", "&reserved=a-b#", "reserved", "letters and digits"),
    ] {
        for method in ["GET", "POST"] {
            let response = weixin.response(method, &good.replace(from, to), "action=confirm");
            let page = String::from_utf8(response.body).unwrap();
            assert_eq!(response.status, 400, "{to}");
            assert!(page.contains(&format!("id=\"error\">{named}: ")), "{named} in {page}");
            assert!(page.contains(&format!("<dt class=\"wrong\">{named}</dt>")), "{named} in {page}");
            assert!(!page.contains("<script") && !page.contains("<form"), "{page}");
            let advice = page.split("<p id=\"remedy\">").nth(1).unwrap().split("</p>").next().unwrap();
            assert!(advice.contains(remedy), "{remedy} in {advice}");
        }
    }
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
