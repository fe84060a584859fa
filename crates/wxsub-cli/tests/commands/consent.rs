//! `wxsub consent`.

use serde_json::json;

use super::wxsub::{Wxsub, wxsub};

/// A consent URL for an app, with these flags.
fn url(more: &[&str]) -> Wxsub {
    wxsub(&["consent", "url", "--appid", "wx1", "--scene", "7", "--template", "T"]).args(more)
}

fn verify(callback: &str, more: &[&str]) -> Wxsub {
    wxsub(&["consent", "verify", callback]).args(more)
}

#[test]
fn consent_url_has_the_documented_format() {
    let ended = wxsub(&["consent", "url", "--appid", "wx1", "--template", "-T", "--scene", "1000"])
        .args(&["--redirect", "https://shop.example/back?order=1", "--reserved", "proof"])
        .run();
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    assert_eq!(
        ended.out,
        "https://mp.weixin.qq.com/mp/subscribemsg?action=get_confirm&appid=wx1&scene=1000&template_id=-T\
         &redirect_url=https%3A%2F%2Fshop.example%2Fback%3Forder%3D1&reserved=proof#wechat_redirect\n"
    );
}

#[test]
fn missing_reserved_gives_a_warning() {
    let ended =
        wxsub(&["consent", "url", "--template", "T", "--scene", "0", "--redirect", "https://a.example"])
            .env("WXSUB_APPID", "wx2")
            .env("WXSUB_MP_BASE", "http://127.0.0.1:8459/")
            .run();
    assert_eq!(ended.code, 0);
    assert!(
        ended.out.starts_with("http://127.0.0.1:8459/mp/subscribemsg?") && !ended.out.contains("reserved")
    );
    assert!(ended.err.starts_with("warning: without --reserved"), "{}", ended.err);
}

/// The values for the SDK are JSON with and without `--json`.
#[test]
fn mobile_and_json_output_have_all_values() {
    let mut expected = json!({"appid": "wx1", "scene": 7, "template_id": "T", "reserved": "proof"});
    let mobile = || url(&["--mobile", "--reserved", "proof"]);
    for ended in [mobile().run(), mobile().args(&["--json"]).run()] {
        assert_eq!((ended.code, ended.json()), (0, vec![expected.clone()]));
    }
    let call = || url(&["--redirect", "https://a.example", "--reserved", "proof"]);
    expected["url"] = json!(call().run().out.trim_end());
    assert_eq!(call().args(&["--json"]).run().json(), [expected]);
}

/// Weixin would add the parameter a second time, and the callback could not be read.
#[test]
fn a_redirect_url_with_a_parameter_of_the_callback_is_refused() {
    for (back, name) in [
        ("https://shop.example/back?scene=order", "scene"),
        ("https://shop.example/back?x=1&%41ction=buy", "action"),
        ("https://shop.example/back?OpenID=o#end", "openid"),
    ] {
        let said =
            format!("error: --redirect: has a parameter {name}, which Weixin adds to the callback itself");
        for format in ["--json", "--reserved=proof"] {
            url(&["--redirect", back, format]).run().assert_wrong(&[&said]);
        }
    }
}

#[test]
fn every_problem_is_named() {
    let wrong = wxsub(&["consent", "url", "--template", "a b", "--scene", "07"]);
    wrong.args(&["--reserved", "a-b", "--redirect", "ftp://x"]).run().assert_wrong(&[
        "--appid: is missing",
        "--template: ",
        "--scene: ",
        "--reserved: ",
        "--redirect: ",
    ]);
    wxsub(&["consent", "url"]).env("WXSUB_APPID", "").run().assert_wrong(&[
        "error: --appid: is missing; give it, or set WXSUB_APPID",
        "error: --template: is missing",
        "error: --scene: is missing",
        "error: --redirect: is missing",
    ]);
    wxsub(&["consent", "url", "--mobile", "--redirect", "https://a.example"])
        .run()
        .assert_wrong(&["cannot be used with"]);
    wxsub(&["consent", "url", "--scene", "-1", "--mobile"])
        .run()
        .assert_wrong(&["--scene: must be a whole number"]);
}

const CONFIRMED: &str =
    "https://shop.example/back?order=1&openid=oUser&template_id=T&action=confirm&scene=1000&reserved=proof";

#[test]
fn every_form_of_a_callback_is_parsed() {
    let forms = [
        CONFIRMED,
        "openid=oUser&template_id=T&action=confirm&scene=1000&reserved=proof",
        r#"{"openid":"oUser","template_id":"T","action":"confirm","scene":"1000","reserved":"proof"}"#,
        "openid:oUser\ntemplate_id:T\naction:confirm\nreserved:proof\nscene:1000",
        "https://shop.example/back?openid=oUser&amp;template_id=T&amp;action=confirm&amp;scene=1000&amp;reserved=proof\
         &amp;from=singlemessage&amp;isappinstalled=0",
        "{openId: oUser, templateID: T, action: confirm, reserved: proof, scene: 1000}",
        "openid=oUser&openId=oUser&template_id=T&action=confirm&scene=1000&reserved=proof",
    ];
    let expected =
        r#"{"action":"confirm","openid":"oUser","template_id":"T","scene":1000,"reserved":"proof"}"#;
    for form in forms {
        let ended = verify(form, &["--expect-reserved", "proof"]).run();
        assert_eq!((ended.code, ended.out.trim_end(), ended.err.as_str()), (0, expected, ""));
        let ended = verify("-", &["--expect-reserved", "proof"]).input(form).run();
        assert_eq!((ended.code, ended.out.trim_end()), (0, expected));
    }
}

#[test]
fn missing_proof_is_shown() {
    let ended = verify(CONFIRMED, &["--expect-scene", "1000", "--expect-template", "T"]).run();
    assert_eq!(ended.code, 0);
    assert_eq!(ended.json()[0]["verified"], false);
    assert!(ended.err.starts_with("warning: without --expect-reserved"));
}

#[test]
fn declined_consent_is_no_grant() {
    let cancelled = "template_id=T&action=cancel&scene=7&reserved=proof";
    let ended = verify(cancelled, &["--expect-reserved", "proof"]).run();
    assert_eq!(ended.code, 3);
    assert_eq!(
        ended.json(),
        [json!({"action": "cancel", "template_id": "T", "scene": 7, "reserved": "proof"})]
    );
    let ended = verify(cancelled, &[]).run();
    assert_eq!((ended.code, &ended.json()[0]["verified"]), (3, &json!(false)));
}

#[test]
fn untrusted_callback_is_not_printed() {
    for (flag, value, field) in [
        ("--expect-reserved", "other", "reserved"),
        ("--expect-scene", "7", "scene"),
        ("--expect-template", "-U", "template_id"),
    ] {
        let said = format!("error: callback rejected: the callback's {field} is not the requested one");
        verify(CONFIRMED, &[flag, value]).run().assert_wrong(&[&said]);
    }
    for (text, said) in [
        ("", "callback rejected: callback: is empty"),
        ("hello", "callback rejected: callback: must be a callback URL"),
        ("action=confirm&template_id=T&scene=7", "callback rejected: openid: is missing"),
        (
            "action=confirm&openid=a&openid=b&template_id=T&scene=7",
            "callback rejected: openid: is given more than once",
        ),
        ("action=maybe&template_id=T&scene=7", "callback rejected: action: must be confirm or cancel"),
    ] {
        verify(text, &[]).run().assert_wrong(&[said]);
        verify("-", &[]).input(text).run().assert_wrong(&[said]);
    }
    verify("-", &[]).input("x".repeat(1 << 20)).run().assert_wrong(&["callback: has"]);
    verify("-", &[]).input(&b"openid=\xff"[..]).run().assert_wrong(&["callback rejected"]);
}

#[test]
fn reserved_null_matches_nothing() {
    let callback = "action=cancel&template_id=T&scene=7&reserved=null";
    for (expected, said) in [
        ("null", "--expect-reserved: must be something else"),
        ("proof", "callback rejected: the callback's reserved"),
    ] {
        verify(callback, &["--expect-reserved", expected]).run().assert_wrong(&[said]);
    }
}

#[test]
fn all_invalid_expectations_are_named() {
    verify(CONFIRMED, &["--expect-reserved", "a b", "--expect-scene", "x", "--expect-template", ""])
        .run()
        .assert_wrong(&["--expect-reserved: ", "--expect-scene: ", "--expect-template: "]);
}
