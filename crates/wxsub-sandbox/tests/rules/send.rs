//! `POST /cgi-bin/message/template/subscribe`: grants, delivery, and the limits of the fields.

use serde_json::{Value, json};
use wxsub_proto::ConsentAction;

use crate::weixin::{SEND, START, Weixin, appid, code, errmsg, message, request};

/// Source: Mobile_App/One-time_subscription_info, step 2.
#[test]
fn granted_message_arrives_unchanged() {
    let weixin = Weixin::new();
    weixin.grant("oUser", "T", "7");
    let mut message = message();
    message["unknown"] = json!({"kept": [1]});
    message["appid"] = json!("overwritten");
    message["received_at"] = json!(0);
    weixin.advance(5);
    assert_eq!(weixin.send(&weixin.token(), &message), json!({"errcode": 0, "errmsg": "ok"}));
    message["appid"] = json!(appid());
    message["received_at"] = json!(START + 5);
    assert_eq!(weixin.mailbox("oUser"), [message]);
    assert!(weixin.mailbox("oOther").is_empty());
}

/// Source: Mobile_App/One-time_subscription_info: each authorization allows one message.
#[test]
fn grant_allows_one_message() {
    let weixin = Weixin::new();
    let token = weixin.token();
    weixin.grant("oUser", "T", "7");
    assert_eq!(code(&weixin.send(&token, &message())), 0);
    let rejected = weixin.send(&token, &message());
    assert_eq!((code(&rejected), errmsg(&rejected)), (43101, "user refuse to accept the msg"));
    assert_eq!(weixin.mailbox("oUser").len(), 1);
}

/// Source: subscription/guide/product/message/One-time_subscription_info: consents for one scene do not add up; consents
/// for different scenes do.
#[test]
fn consents_add_up_across_scenes_only() {
    let weixin = Weixin::new();
    let token = weixin.token();
    for scene in ["7", "7", "8"] {
        weixin.grant("oUser", "T", scene);
    }
    let send = |scene: &str| {
        let mut message = message();
        message["scene"] = json!(scene);
        code(&weixin.send(&token, &message))
    };
    assert_eq!(["7", "8", "7", "8"].map(send), [0, 0, 43101, 43101]);
}

/// Source: the same page and the 43101 threads: no consent, declined, or another user, template, scene or app.
#[test]
fn send_without_matching_grant_is_rejected() {
    let weixin = Weixin::new();
    let token = weixin.token();
    assert_eq!(code(&weixin.send(&token, &message())), 43101);
    let cancelled = weixin.0.consent(request("T", "7"), ConsentAction::Cancel).unwrap();
    assert_eq!(cancelled.action, ConsentAction::Cancel);
    assert_eq!(code(&weixin.send(&token, &message())), 43101);
    weixin.grant("oOther", "T", "7");
    weixin.grant("oUser", "U", "7");
    weixin.grant("oUser", "T", "8");
    assert_eq!(code(&weixin.send(&token, &message())), 43101);
    assert!(weixin.mailbox("oUser").is_empty());
}

/// Source: [INF] a cancel declines one request and does not withdraw an earlier consent.
#[test]
fn cancel_keeps_earlier_grant() {
    let weixin = Weixin::new();
    weixin.grant("oUser", "T", "7");
    weixin.0.consent(request("T", "7"), ConsentAction::Cancel).unwrap();
    assert_eq!(code(&weixin.send(&weixin.token(), &message())), 0);
}

/// Source: [INF] only a successful send uses up the grant.
#[test]
fn rejected_send_keeps_grant() {
    let weixin = Weixin::new();
    weixin.grant("oUser", "T", "7");
    let token = weixin.token();
    let mut wrong = message();
    wrong["title"] = json!("x".repeat(16));
    assert_eq!(code(&weixin.send(&token, &wrong)), 40062);
    assert_eq!(code(&weixin.send("made-up", &message())), 40014);
    assert_eq!(code(&weixin.send(&token, &message())), 0);
}

/// Source: the bodies of the SDKs in PHP and Go, which cannot omit a member.
#[test]
fn an_empty_optional_member_counts_as_absent() {
    let weixin = Weixin::new();
    let token = weixin.token();
    let values = [json!(""), json!(null), json!([]), json!({}), json!({"appid": "", "pagepath": ""})];
    for empty in values {
        weixin.grant("oUser", "T", "7");
        let mut message = message();
        message["url"] = empty.clone();
        message["miniprogram"] = empty.clone();
        message["data"]["content"]["color"] = empty.clone();
        assert_eq!(code(&weixin.send(&token, &message)), 0, "{empty}");
    }
}

/// Source: API_Call_Limits: a daily limit, unpublished for this endpoint. [CHOSEN] Every request with a valid token counts.
#[test]
fn daily_send_quota_applies() {
    let weixin = Weixin::with(|settings| settings.send_quota = 1);
    let token = weixin.token();
    assert_eq!(code(&weixin.send(&token, &message())), 43101);
    let rejected = weixin.send(&token, &message());
    assert_eq!((code(&rejected), errmsg(&rejected)), (45009, "reach max api daily quota limit"));
    weixin.advance(24 * 3600);
    let token = weixin.token();
    assert_eq!(code(&weixin.send(&token, &message())), 43101);
}

/// Source: the tables of 40001, 40014, 41001, 42001; 43002 and 44002 in the global return codes.
#[test]
fn send_request_is_validated() {
    let weixin = Weixin::new();
    let token = weixin.token();
    let with_token = format!("{SEND}?access_token={token}");
    let body = message().to_string();
    assert_eq!(code(&weixin.ask("GET", &with_token, &body)), 43002);
    assert_eq!(code(&weixin.ask("POST", SEND, &body)), 41001);
    assert_eq!(code(&weixin.ask("POST", SEND, "")), 41001);
    assert_eq!(code(&weixin.ask("POST", &with_token, "")), 44002);
    for bad in ["{", "[]", "7", "{}x", "\u{feff}{}"] {
        assert_eq!(code(&weixin.ask("POST", &with_token, bad)), 47001, "{bad}");
    }
    weixin.0.invalidate_tokens(&appid()).unwrap();
    let stale = weixin.ask("POST", &with_token, &body);
    assert_eq!(code(&stale), 40001);
    assert!(errmsg(&stale).starts_with("invalid credential, access_token is invalid or not latest"));
    let too_long = Value::String("x".repeat(64 * 1024));
    assert_eq!(code(&weixin.send(&weixin.token(), &too_long)), 47001);
}

/// Source: an unknown path returns 40066 (Weixin's developer community), with status 200 like every response.
#[test]
fn unknown_api_path_is_rejected() {
    let weixin = Weixin::new();
    for path in ["/cgi-bin/message/template/send", "/cgi-bin/token/", "/cgi-bin/"] {
        let response = weixin.ask("POST", path, "{}");
        assert_eq!((code(&response), errmsg(&response)), (40066, "invalid url"));
    }
    assert_eq!(weixin.response("GET", "/elsewhere", "").status, 404);
}

// The fields of a message and their limits. Source, unless stated otherwise: the tables of
// Mobile_App/One-time_subscription_info, step 2, and of api_templatesubscribe.

/// Sends the message with one changed value. Grants exist for three scenes.
fn send_with(pointer: &str, value: Value) -> Value {
    let weixin = Weixin::new();
    for scene in ["0", "7", "10000"] {
        weixin.grant("oUser", "T", scene);
    }
    let mut message = message();
    *message.pointer_mut(pointer).unwrap_or(&mut Value::Null) = value.clone();
    if let (Value::Object(members), Some(name)) = (&mut message, pointer.strip_prefix('/'))
        && !name.contains('/')
    {
        members.insert(name.to_owned(), value);
    }
    weixin.send(&weixin.token(), &message)
}

#[test]
fn invalid_touser_or_template_is_rejected() {
    for bad in [json!(null), json!(""), json!("o user"), json!(7)] {
        assert_eq!(code(&send_with("/touser", bad)), 40003);
    }
    for bad in [json!(null), json!(""), json!("X"), json!("t t"), json!(7)] {
        assert_eq!(code(&send_with("/template_id", bad)), 40037);
    }
}

/// The table says text. [INF] A number is accepted too.
#[test]
fn scene_may_be_text_or_number() {
    for good in [json!("7"), json!(7), json!("0"), json!(0), json!("10000"), json!(10000)] {
        assert_eq!(code(&send_with("/scene", good)), 0);
    }
    for bad in
        [json!(null), json!(""), json!("07"), json!("10001"), json!(10001), json!(-1), json!(7.5), json!([7])]
    {
        assert_eq!(code(&send_with("/scene", bad.clone())), 40129, "{bad}");
    }
}

/// At most 15 characters. [CHOSEN] An emoji counts as one.
#[test]
fn title_has_1_to_15_characters() {
    for good in ["a", &"汉".repeat(15), &"😀".repeat(15)] {
        assert_eq!(code(&send_with("/title", json!(good))), 0);
    }
    for bad in [json!(null), json!(""), json!(7), json!("汉".repeat(16))] {
        let response = send_with("/title", bad);
        assert_eq!((code(&response), errmsg(&response)), (40062, "invalid title size"));
    }
}

/// At most 200 characters, including line breaks. [CHOSEN] The error is 47003.
#[test]
fn content_has_1_to_200_characters() {
    for good in ["a\nb", &"汉".repeat(200)] {
        assert_eq!(code(&send_with("/data/content/value", json!(good))), 0);
    }
    for bad in [json!(null), json!("")] {
        let response = send_with("/data/content/value", bad);
        assert_eq!(
            (code(&response), errmsg(&response)),
            (47003, "argument invalid! data.content.value is emtpy")
        );
    }
    assert_eq!(code(&send_with("/data/content/value", json!("汉".repeat(201)))), 47003);
    assert_eq!(code(&send_with("/data", json!("text"))), 47003);
}

/// One color. [CHOSEN] The format is `#` and six hex digits; the error is 47003.
#[test]
fn color_is_hash_and_six_hex_digits() {
    for good in [json!("#07C160"), json!("#ff0000"), json!(null), json!("")] {
        assert_eq!(code(&send_with("/data/content/color", good)), 0);
    }
    for bad in [json!("red"), json!("#07C16"), json!(7)] {
        assert_eq!(code(&send_with("/data/content/color", bad)), 47003);
    }
}

/// A URL, a mini program, both, or neither. An empty text counts as absent, because some SDKs send one.
///
/// Source of the codes: global return codes.
#[test]
fn tap_target_is_validated() {
    for good in [json!(null), json!(""), json!("https://a.example/x?y=1#z")] {
        assert_eq!(code(&send_with("/url", good)), 0);
    }
    assert_eq!(code(&send_with("/url", json!("javascript:alert(1)"))), 40066);
    for (good, expected) in [
        (json!(null), 0),
        (json!({"appid": "wx2", "pagepath": "pages/index?x=1"}), 0),
        (json!({"pagepath": "pages/index"}), 40166),
        (json!({"appid": "wx2"}), 40165),
        (json!("wx2"), 40166),
    ] {
        assert_eq!(code(&send_with("/miniprogram", good)), expected);
    }
}
