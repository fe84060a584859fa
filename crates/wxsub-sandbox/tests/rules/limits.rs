//! The fields of a message and their limits. Source, unless another is named: the tables of
//! Mobile_App/One-time_subscription_info, step 2, and of api_templatesubscribe.

use serde_json::{Value, json};

use crate::weixin::{Weixin, code, errmsg, message};

/// Sends the message with one place changed, against a fresh grant.
fn with(place: &str, value: Value) -> Value {
    let weixin = Weixin::new();
    for scene in ["0", "7", "10000"] {
        weixin.grant("oUser", "T", scene);
    }
    let mut message = message();
    *message.pointer_mut(place).unwrap_or(&mut Value::Null) = value.clone();
    if let (Value::Object(members), Some(name)) = (&mut message, place.strip_prefix('/'))
        && !name.contains('/')
    {
        members.insert(name.to_owned(), value);
    }
    weixin.send(&weixin.token(), &message)
}

#[test]
fn touser_and_template() {
    for bad in [json!(null), json!(""), json!("o user"), json!(7)] {
        assert_eq!(code(&with("/touser", bad)), 40003);
    }
    for bad in [json!(null), json!(""), json!("X"), json!("t t"), json!(7)] {
        assert_eq!(code(&with("/template_id", bad)), 40037);
    }
}

/// The table says text; [INF] a number is accepted too.
#[test]
fn scene_is_text_or_a_number() {
    for good in [json!("7"), json!(7), json!("0"), json!(0), json!("10000"), json!(10000)] {
        assert_eq!(code(&with("/scene", good)), 0);
    }
    for bad in
        [json!(null), json!(""), json!("07"), json!("10001"), json!(10001), json!(-1), json!(7.5), json!([7])]
    {
        assert_eq!(code(&with("/scene", bad.clone())), 40129, "{bad}");
    }
}

/// 15 characters; whether an emoji counts one or two is not established, here it counts one.
#[test]
fn title() {
    for good in ["a", &"汉".repeat(15), &"😀".repeat(15)] {
        assert_eq!(code(&with("/title", json!(good))), 0);
    }
    for bad in [json!(null), json!(""), json!(7), json!("汉".repeat(16))] {
        let answer = with("/title", bad);
        assert_eq!((code(&answer), errmsg(&answer)), (40062, "invalid title size"));
    }
}

/// 200 characters, line breaks included; the code for more is not established, 47003 is made up.
#[test]
fn content() {
    for good in ["a\nb", &"汉".repeat(200)] {
        assert_eq!(code(&with("/data/content/value", json!(good))), 0);
    }
    for bad in [json!(null), json!("")] {
        let answer = with("/data/content/value", bad);
        assert_eq!(
            (code(&answer), errmsg(&answer)),
            (47003, "argument invalid! data.content.value is emtpy")
        );
    }
    assert_eq!(code(&with("/data/content/value", json!("汉".repeat(201)))), 47003);
    assert_eq!(code(&with("/data", json!("text"))), 47003);
}

/// One colour; [CHOSEN] that it is `#` and six hex digits, and the code for others.
#[test]
fn color() {
    for good in [json!("#07C160"), json!("#ff0000"), json!(null), json!("")] {
        assert_eq!(code(&with("/data/content/color", good)), 0);
    }
    for bad in [json!("red"), json!("#07C16"), json!(7)] {
        assert_eq!(code(&with("/data/content/color", bad)), 47003);
    }
}

/// Neither, one of them, or both; an empty text counts as absent, as some SDKs write it. Codes: global return codes.
#[test]
fn where_a_tap_leads() {
    for good in [json!(null), json!(""), json!("https://a.example/x?y=1#z")] {
        assert_eq!(code(&with("/url", good)), 0);
    }
    assert_eq!(code(&with("/url", json!("javascript:alert(1)"))), 40066);
    for (good, expected) in [
        (json!(null), 0),
        (json!({"appid": "wx2", "pagepath": "pages/index?x=1"}), 0),
        (json!({"pagepath": "pages/index"}), 40166),
        (json!({"appid": "wx2"}), 40165),
        (json!("wx2"), 40166),
    ] {
        assert_eq!(code(&with("/miniprogram", good)), expected);
    }
}
