//! The Weixin-compatible API, as an SDK uses it.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use wxsub_core::proto::ErrCode;
use wxsub_sandbox::Fault;

use super::outbox::with;
use super::setup::{PROBE, SEND, STABLE, Setup, TOKEN, client, key, message, subscribe, usual};

#[tokio::test]
async fn token_response_has_the_format_of_weixin() {
    let setup = Setup::new(&usual()).await;
    let response = setup.classic(&key('a')).await;
    assert_eq!(
        (response.status, &response.headers["content-type"]),
        (200, &"application/json".parse().unwrap())
    );
    let body = response.json();
    let names: BTreeSet<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["access_token", "expires_in"].into());
    assert_eq!(setup.stable(&key('a'), false).await.access_token(), response.access_token());
    assert_eq!(setup.token().await.access_token(), response.access_token());
    assert_eq!(setup.seen(TOKEN), 1);
}

#[tokio::test]
async fn second_fetch_probes_weixin_and_replaces_invalid_token() {
    let setup = Setup::new(&usual()).await;
    let first = setup.classic(&key('a')).await.access_token();
    assert_eq!(setup.seen(PROBE), 0);
    setup.invalidate_tokens();
    // The SDK has called Weixin directly, got 40001, and fetches again.
    let second = setup.classic(&key('a')).await.access_token();
    assert_ne!(first, second);
    assert_eq!((setup.seen(PROBE), setup.seen(TOKEN)), (1, 2));
    // Repeated fetches cost one probe in ten seconds, and no token.
    let responses = join_all((0..50).map(|_| async { setup.classic(&key('a')).await.access_token() })).await;
    assert!(responses.iter().all(|token| *token == second));
    assert_eq!((setup.seen(PROBE), setup.seen(TOKEN)), (1, 2));
    setup.pass(10).await;
    assert_eq!(setup.classic(&key('a')).await.access_token(), second);
    assert_eq!((setup.seen(PROBE), setup.seen(TOKEN)), (2, 2));
}

#[tokio::test]
async fn concurrent_second_fetches_get_the_same_new_token() {
    let setup = Setup::new(&usual()).await;
    let first = setup.classic(&key('a')).await.access_token();
    setup.invalidate_tokens();
    let responses = join_all((0..50).map(|_| async { setup.classic(&key('a')).await.access_token() })).await;
    assert!(responses.iter().all(|token| *token == responses[0] && *token != first), "{responses:?}");
    assert_eq!((setup.seen(PROBE), setup.seen(TOKEN)), (1, 2));
}

#[tokio::test]
async fn probe_takes_at_most_two_seconds() {
    let setup = Setup::new(&usual()).await;
    let first = setup.classic(&key('a')).await.access_token();
    setup.sandbox.add_fault(PROBE, 1, Fault::Hang);
    let began = setup.sandbox.now();
    let again = setup.meanwhile(setup.classic(&key('a'))).await;
    assert_eq!(again.access_token(), first);
    assert!((setup.sandbox.now() - began).as_secs() <= 2);
}

#[tokio::test]
async fn message_is_authorized_by_its_token() {
    let setup = Setup::new(&usual()).await;
    let token = setup.classic(&key('a')).await.access_token();
    setup.allow("oUser", 1);
    let sent = subscribe(&setup, &token, message("oUser", 1)).await;
    assert_eq!((sent.status, sent.text.as_str()), (200, r#"{"errcode":0,"errmsg":"ok"}"#));
    assert_eq!(subscribe(&setup, &token, message("oUser", 1)).await.errcode(), 43101);
    // After an external invalidation the send succeeds, and the two previous generations are still accepted.
    for scene in 2..=4 {
        setup.allow("oUser", scene);
        setup.invalidate_tokens();
        assert_eq!(subscribe(&setup, &token, message("oUser", scene)).await.errcode(), 0);
        assert_eq!(setup.seen(TOKEN), u64::from(scene), "one token request for each");
    }
    let posted = setup.seen(SEND);
    assert_eq!(subscribe(&setup, &token, message("oUser", 9)).await.errcode(), 40001);
    assert_eq!(subscribe(&setup, "never-heard-of", message("oUser", 9)).await.errcode(), 40001);
    assert_eq!(setup.seen(SEND), posted, "nothing went upstream");
    assert_eq!(setup.received("oUser"), 4);
}

/// A token that a peer served while this server had no requests.
#[tokio::test]
async fn token_served_by_a_peer_is_known() {
    let one = Setup::new(&usual()).await;
    let other = one.beside(&usual()).await;
    let first = one.token().await.access_token();
    assert_eq!(other.token().await.access_token(), first);
    let second = one.report(&first).await.access_token();
    one.pass(5).await;
    let third = one.report(&second).await.access_token();
    one.pass(5).await;
    for token in [third, second, first] {
        assert_eq!(subscribe(&other, &token, message("oUser", 1)).await.errcode(), 43101);
    }
}

#[tokio::test]
async fn errcode_depends_on_whether_the_message_may_have_arrived() {
    let setup = Setup::new(&usual()).await;
    let token = setup.classic(&key('a')).await.access_token();
    for (fault, errcode) in [
        (Fault::ResetAfterApply, 900_504),
        (Fault::Status(502), 900_504),
        (Fault::Html, 900_504),
        (Fault::Hang, 900_504),
        (Fault::ErrCode(ErrCode::SYSTEM_BUSY), -1),
        (Fault::ErrCode(ErrCode::DAILY_QUOTA), 45009),
        (Fault::ErrCode(ErrCode::new(987_654)), 987_654),
    ] {
        setup.sandbox.add_fault(SEND, 1, fault);
        let response = setup.meanwhile(subscribe(&setup, &token, message("oUser", 1))).await;
        assert_eq!(response.errcode(), errcode);
    }
}

#[tokio::test]
async fn own_errcodes_have_their_meaning() {
    let (sender, reader) =
        (client('r', "\"wx1\"", "\"message:send\""), client('o', "\"wx1\"", "\"token:read\""));
    let keys = usual() + &sender + &reader;
    let setup = Setup::new(&keys).await;
    let classic = |query: &str| format!("{TOKEN}?{query}");
    let grant = "grant_type=client_credential";
    let a = key('a');
    for (method, target, body, errcode) in [
        ("GET", classic(&format!("{grant}&appid=wx1&secret={}", key('z'))), "", 40125),
        ("GET", classic(&format!("{grant}&appid=wx1&secret=short")), "", 40125),
        ("GET", classic(&format!("{grant}&appid=wx2&secret={a}")), "", 40013),
        ("GET", classic(&format!("{grant}&appid=wx9&secret={a}")), "", 40013),
        ("GET", classic(&format!("{grant}&appid=w%20x&secret={a}")), "", 40013),
        ("GET", classic(&format!("{grant}&appid=wx1&secret={}", key('r'))), "", 48001),
        ("GET", classic(&format!("appid=wx1&secret={a}")), "", 40002),
        ("GET", classic(&format!("{grant}&secret={a}")), "", 41002),
        ("GET", classic(&format!("{grant}&appid=wx1")), "", 41004),
        ("POST", classic(""), "", 43001),
        ("GET", STABLE.to_owned(), "", 43002),
        ("POST", STABLE.to_owned(), "[]", 47001),
        ("POST", STABLE.to_owned(), "{}", 41002),
        ("GET", SEND.to_owned(), "", 43002),
        ("POST", SEND.to_owned(), "{}", 41001),
        ("GET", "/cgi-bin/ticket/getticket".to_owned(), "", 40066),
        ("GET", "/".to_owned(), "", 40066),
        ("DELETE", "/cgi-bin/token/../x".to_owned(), "", 40066),
    ] {
        let response = setup.ask(method, &target, None, body.to_owned()).await;
        assert_eq!(response.errcode(), errcode, "{method} {target}");
        assert!(!response.text.contains(&a), "{response:?}");
    }
    assert_eq!(setup.stable(&key('o'), true).await.errcode(), 48001);
    assert_eq!(setup.seen(TOKEN), 0);
    let token = setup.classic(&a).await.access_token();
    for (body, errcode) in [("", 44002), ("[", 47001), ("{}", 47003)] {
        assert_eq!(subscribe(&setup, &token, body.to_owned()).await.errcode(), errcode);
    }
    assert_eq!(setup.seen(SEND), 0);
}

#[tokio::test]
async fn force_refresh_is_a_rate_limited_report() {
    let setup = Setup::new(&usual()).await;
    let mut token = setup.stable(&key('a'), true).await.access_token();
    assert_eq!(setup.seen(TOKEN), 1, "a first token is no report");
    for _ in 0..3 {
        let response = setup.stable(&key('a'), true).await;
        assert_ne!(response.access_token(), token);
        token = response.access_token();
    }
    assert_eq!(setup.stable(&key('a'), true).await.errcode(), 45011);
    // Reports through the v1 API count too.
    assert_eq!(setup.report(&token).await.status, 429);
    assert_eq!(setup.seen(TOKEN), 4);
}

#[tokio::test]
async fn refused_token_call_is_passed_on() {
    for (refused, handed_on) in [(40001, 40125), (40164, 40164), (45009, 45009), (40243, 40243)] {
        let setup = Setup::new(&usual()).await;
        setup.sandbox.add_fault(TOKEN, 9, Fault::ErrCode(ErrCode::new(refused)));
        assert_eq!(setup.classic(&key('a')).await.errcode(), handed_on);
    }
    let setup = Setup::new(&usual()).await;
    setup.sandbox.add_fault(TOKEN, 99, Fault::Status(502));
    assert_eq!(setup.meanwhile(setup.classic(&key('a'))).await.errcode(), -1);
}

/// A code of the token call would read as a refusal of the message, and an SDK would not try again.
#[tokio::test]
async fn a_refused_token_call_before_a_message_is_minus_one() {
    for (refused, remedy) in [(40001, "fix_config"), (40164, "allow_ip"), (45009, "slow_down")] {
        let setup = Setup::new(&usual()).await;
        let token = setup.classic(&key('a')).await.access_token();
        setup.invalidate_tokens();
        setup.sandbox.add_fault(TOKEN, 9, Fault::ErrCode(ErrCode::new(refused)));
        let response = subscribe(&setup, &token, message("oUser", 1)).await;
        assert_eq!(response.errcode(), -1);
        for text in ["not sent", &format!("errcode {refused}"), remedy] {
            assert!(response.text.contains(text), "{text:?} is not in {}", response.text);
        }
    }
}

/// Bodies that SDKs post and that Weixin takes: they cannot omit a member, or add one of another kind of message.
#[tokio::test]
async fn empty_members_count_as_absent_and_unknown_ones_are_ignored() {
    let setup = Setup::new(&usual()).await;
    let token = setup.classic(&key('a')).await.access_token();
    for more in [
        r#""miniprogram":"","url":"""#,
        r#""miniprogram":null,"url":null"#,
        r#""miniprogram":[],"url":"""#,
        r#""miniprogram":{},"url":"""#,
        r#""miniprogram":{"appid":"","pagepath":""},"url":"""#,
        r#""page":"pages/index","client_msg_id":"7","lang":"zh_CN""#,
    ] {
        setup.allow("oUser", 1);
        let response = subscribe(&setup, &token, with(&message("oUser", 1), more)).await;
        assert_eq!(response.errcode(), 0, "{more}: {response:?}");
    }
    // An empty member that is required is still missing.
    let body = message("oUser", 1).replace("Parcel", "");
    assert_eq!(subscribe(&setup, &token, body).await.errcode(), 47003);
}
