//! Secrets are printed nowhere, however much is logged.

use wxsub_proto::ErrCode;
use wxsub_sandbox::Fault;

use super::weixin::{CLASSIC_TOKEN, SECRET, SEND, STABLE_TOKEN, Weixin, line};
use super::wxsub::Wxsub;

#[test]
fn secrets_are_printed_nowhere() {
    let weixin = Weixin::start();
    let mut secrets = vec![SECRET.to_owned()];
    let mut printed = String::new();
    let mut watch = |call: Wxsub| {
        let ended = call.env("RUST_LOG", "trace").run();
        printed += &format!("{}{}", ended.out, ended.err);
    };
    for endpoint in ["stable_token", "token"] {
        let on = |call: Wxsub| call.env("WXSUB_TOKEN_ENDPOINT", endpoint);
        for fault in [
            None,
            Some(Fault::ResetAfterApply),
            Some(Fault::Html),
            Some(Fault::ErrCode(ErrCode::INVALID_CREDENTIAL)),
        ] {
            for path in [SEND, STABLE_TOKEN, CLASSIC_TOKEN] {
                weixin.sandbox.clear_faults();
                fault.map(|fault| weixin.fault(path, fault));
                watch(on(weixin.allow("oUser", 7).send("oUser", "7")));
            }
        }
        weixin.sandbox.clear_faults();
        watch(on(weixin.call(["send", "--file", "-"]).input(line("oUser", 8, "Hello"))));
        watch(on(weixin.call(["token", "show", "--fetch"])));
        watch(on(weixin.call(["token", "refresh", "--json"])));
        watch(on(weixin.call(["doctor", "--fetch"])));
        let revealed = on(weixin.call(["token", "show", "--fetch", "--json", "--reveal"])).run();
        secrets.push(revealed.json()[0]["access_token"].as_str().unwrap().to_owned());
    }
    watch(weixin.send("oUser", "7").env("WXSUB_SECRET", &format!("{SECRET}-wrong")));
    watch(weixin.send("oUser", "7").env("WXSUB_SECRET_FILE", "x"));
    watch(weixin.call(["doctor", "--json"]).env("WXSUB_SECRET", &format!("{SECRET}-wrong")));
    assert!(printed.contains("TRACE") && printed.contains("127.0.0.1"), "nothing was logged");
    for secret in secrets {
        let found = printed.lines().find(|line| line.contains(&secret));
        assert_eq!(found, None);
    }
    assert!(!printed.contains("secret=") && !printed.contains("access_token="), "a query was printed");
}
