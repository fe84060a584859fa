//! Any text is a callback or a short error. A callback has the same content in every format.

use wxsub_proto::{ConsentAction, ConsentCallback, ValidationError};

/// The text of a callback.
pub(crate) fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match text.parse::<ConsentCallback>() {
        Ok(callback) => check_formats(&callback),
        Err(error) => check_error(text, &error),
    }
}

fn check_formats(callback: &ConsentCallback) {
    let query = callback.to_query();
    let json = serde_json::to_string(callback).unwrap();
    let lines = query.replace('&', "\n").replace('=', ":");
    for form in [format!("https://a.example/back?x=1&{query}#wechat_redirect"), query, json, lines] {
        assert_eq!(form.parse::<ConsentCallback>().as_ref(), Ok(callback), "{form}");
    }
    assert!(callback.scene.get() <= 10_000);
    assert!(callback.reserved.as_ref().is_none_or(|reserved| reserved.as_str().len() <= 128));
    if let ConsentAction::Confirm { openid } = &callback.action {
        assert!((1..=128).contains(&openid.as_str().len()));
    }
}

/// An error names a field and a rule, so its length does not depend on the input.
fn check_error(text: &str, error: &ValidationError) {
    let message = error.to_string();
    assert!(message.len() < 200, "{message}");
    assert!(text.len() < 200 || !message.contains(text));
}
