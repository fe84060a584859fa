//! Whatever comes back from a browser is an answer or a short error; an answer says the same in every form.

use wxsub_proto::{ConsentAction, ConsentCallback, ValidationError};

pub(crate) fn holds(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match text.parse::<ConsentCallback>() {
        Ok(answer) => same_in_every_form(&answer),
        Err(invalid) => quotes_nothing(text, &invalid),
    }
}

fn same_in_every_form(answer: &ConsentCallback) {
    let query = answer.to_query();
    let json = serde_json::to_string(answer).unwrap();
    let lines = query.replace('&', "\n").replace('=', ":");
    for form in [format!("https://a.example/back?x=1&{query}#wechat_redirect"), query, json, lines] {
        assert_eq!(form.parse::<ConsentCallback>().as_ref(), Ok(answer), "{form}");
    }
    assert!(answer.scene().get() <= 10_000);
    assert!(answer.reserved().is_none_or(|reserved| reserved.as_str().len() <= 128));
    if let ConsentAction::Confirm { openid } = answer.action() {
        assert!((1..=128).contains(&openid.as_str().len()));
    }
}

/// The sentence names a field and a rule of ours, so its length does not depend on what was sent.
fn quotes_nothing(text: &str, invalid: &ValidationError) {
    let said = invalid.to_string();
    assert!(said.len() < 200, "{said}");
    assert!(text.len() < 200 || !said.contains(text));
}
