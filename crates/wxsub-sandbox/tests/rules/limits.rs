//! The fields of a message and their limits.
//!
//! Source, unless stated otherwise: the tables of Mobile_App/One-time_subscription_info, step 2, and of
//! api_templatesubscribe.

use serde_json::{Value, json};

use crate::weixin::{Weixin, code, errmsg, message};

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
