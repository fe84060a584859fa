//! The Weixin-shaped door: what an SDK sees.

use futures_util::future::join_all;
use serde_json::json;
use wxsub_core::proto::ErrCode;
use wxsub_sandbox::Fault;

use super::setup::{ALL, Answer, PROBE, SEND, STABLE, TOKEN, World, client, key, message, usual};

async fn subscribe(world: &World, token: &str, body: String) -> Answer {
    world.ask("POST", &format!("{SEND}?access_token={token}"), None, body).await
}

async fn stable(world: &World, key: &str, force: bool) -> Answer {
    let body =
        json!({"grant_type": "client_credential", "appid": "wx1", "secret": key, "force_refresh": force});
    world.ask("POST", STABLE, None, body.to_string()).await
}

#[tokio::test]
async fn a_token_looks_as_from_weixin() {
    let world = World::new(&usual()).await;
    let answer = world.classic(&key('a')).await;
    assert_eq!((answer.status, &answer.headers["content-type"]), (200, &"application/json".parse().unwrap()));
    let body = answer.json();
    let mut names: Vec<_> = body.as_object().unwrap().keys().cloned().collect();
    names.sort();
    assert_eq!(names, ["access_token", "expires_in"]);
    assert_eq!(stable(&world, &key('a'), false).await.access_token(), answer.access_token());
    assert_eq!(world.token().await.access_token(), answer.access_token());
    assert_eq!(world.seen(TOKEN), 1);
}

#[tokio::test]
async fn asking_again_has_weixin_asked_and_a_dead_token_replaced() {
    let world = World::new(&usual()).await;
    let first = world.classic(&key('a')).await.access_token();
    assert_eq!(world.seen(PROBE), 0);
    world.steal();
    // The SDK has called Weixin directly, seen 40001 and comes back.
    let second = world.classic(&key('a')).await.access_token();
    assert_ne!(first, second);
    assert_eq!((world.seen(PROBE), world.seen(TOKEN)), (1, 2));
    // Asking on and on costs Weixin one question in ten seconds, and no token.
    let answers = join_all((0..50).map(|_| async { world.classic(&key('a')).await.access_token() })).await;
    assert!(answers.iter().all(|token| *token == second));
    assert_eq!((world.seen(PROBE), world.seen(TOKEN)), (1, 2));
    world.pass(10).await;
    assert_eq!(world.classic(&key('a')).await.access_token(), second);
    assert_eq!((world.seen(PROBE), world.seen(TOKEN)), (2, 2));
}

#[tokio::test]
async fn fifty_that_come_back_at_once_get_the_same_new_token() {
    let world = World::new(&usual()).await;
    let first = world.classic(&key('a')).await.access_token();
    world.steal();
    let answers = join_all((0..50).map(|_| async { world.classic(&key('a')).await.access_token() })).await;
    assert!(answers.iter().all(|token| *token == answers[0] && *token != first), "{answers:?}");
    assert_eq!((world.seen(PROBE), world.seen(TOKEN)), (1, 2));
}

#[tokio::test]
async fn nobody_waits_longer_than_two_seconds_for_weixins_word() {
    let world = World::new(&usual()).await;
    let first = world.classic(&key('a')).await.access_token();
    world.sandbox.add_fault(PROBE, 1, Fault::Hang);
    let began = world.sandbox.now();
    let again = world.meanwhile(world.classic(&key('a'))).await;
    assert_eq!(again.access_token(), first);
    assert!((world.sandbox.now() - began).as_secs() <= 2);
}

#[tokio::test]
async fn a_message_is_sent_on_by_the_right_of_its_token() {
    let world = World::new(&usual()).await;
    let token = world.classic(&key('a')).await.access_token();
    world.allow("oUser", 1);
    let sent = subscribe(&world, &token, message("oUser", 1)).await;
    assert_eq!((sent.status, sent.text.as_str()), (200, r#"{"errcode":0,"errmsg":"ok"}"#));
    assert_eq!(subscribe(&world, &token, message("oUser", 1)).await.errcode(), 43101);
    // A stranger ended it: healed on the way, and an older one still opens the door, two generations long.
    let mut newer = Vec::new();
    for scene in 2..=4 {
        world.allow("oUser", scene);
        world.steal();
        let tried = subscribe(&world, &token, message("oUser", scene)).await;
        newer.push((tried.errcode(), world.classic(&key('a')).await.access_token()));
    }
    assert_eq!(newer.iter().map(|(errcode, _)| *errcode).collect::<Vec<_>>(), [0, 0, 0]);
    let posted = world.seen(SEND);
    assert_eq!(subscribe(&world, &token, message("oUser", 9)).await.errcode(), 40001);
    assert_eq!(subscribe(&world, "never-heard-of", message("oUser", 9)).await.errcode(), 40001);
    assert_eq!(world.seen(SEND), posted, "nothing went upstream");
    assert_eq!(world.received("oUser"), 4);
}

/// A token that another server handed out while nobody asked this one.
#[tokio::test]
async fn the_tokens_of_a_server_beside_it_are_known() {
    let one = World::new(&usual()).await;
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
async fn what_may_have_arrived_is_not_repeated_and_what_has_not_may_be() {
    let world = World::new(&usual()).await;
    let token = world.classic(&key('a')).await.access_token();
    for (fault, errcode) in [
        (Fault::ResetAfterApply, 900_504),
        (Fault::Status(502), 900_504),
        (Fault::Html, 900_504),
        (Fault::Hang, 900_504),
        (Fault::ErrCode(ErrCode::SYSTEM_BUSY), -1),
        (Fault::ErrCode(ErrCode::DAILY_QUOTA), 45009),
        (Fault::ErrCode(ErrCode::new(987_654)), 987_654),
    ] {
        world.sandbox.add_fault(SEND, 1, fault);
        let answer = world.meanwhile(subscribe(&world, &token, message("oUser", 1))).await;
        assert_eq!(answer.errcode(), errcode);
    }
}

#[tokio::test]
async fn our_own_codes() {
    let keys =
        [usual(), client('r', "\"wx1\"", "\"message:send\""), client('o', "\"wx1\"", "\"token:read\"")]
            .concat();
    let world = World::new(&keys).await;
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
        let answer = world.ask(method, &target, None, body.to_owned()).await;
        assert_eq!(answer.errcode(), errcode, "{method} {target}");
        assert!(!answer.text.contains(&a), "{answer:?}");
    }
    assert_eq!(stable(&world, &key('o'), true).await.errcode(), 48001);
    assert_eq!(world.seen(TOKEN), 0);
    let token = world.classic(&a).await.access_token();
    for (body, errcode) in [("", 44002), ("[", 47001), ("{}", 47003)] {
        assert_eq!(subscribe(&world, &token, body.to_owned()).await.errcode(), errcode);
    }
    assert_eq!(world.seen(SEND), 0);
}

#[tokio::test]
async fn force_refresh_is_a_report_and_rationed() {
    let world = World::new(&usual()).await;
    let mut token = stable(&world, &key('a'), true).await.access_token();
    assert_eq!(world.seen(TOKEN), 1, "a first token is no report");
    for _ in 0..3 {
        let answer = stable(&world, &key('a'), true).await;
        assert_ne!(answer.access_token(), token);
        token = answer.access_token();
    }
    assert_eq!(stable(&world, &key('a'), true).await.errcode(), 45011);
    assert_eq!(world.seen(TOKEN), 4);
}

#[tokio::test]
async fn weixins_refusal_of_our_token_call_is_handed_on() {
    for (refused, handed_on) in [(40001, 40125), (40164, 40164), (45009, 45009), (40243, 40243)] {
        let world = World::new(&usual()).await;
        world.sandbox.add_fault(TOKEN, 9, Fault::ErrCode(ErrCode::new(refused)));
        assert_eq!(world.classic(&key('a')).await.errcode(), handed_on);
    }
    let world = World::new(&usual()).await;
    world.sandbox.add_fault(TOKEN, 99, Fault::Status(502));
    assert_eq!(world.meanwhile(world.classic(&key('a'))).await.errcode(), -1);
}

/// A code of the token call would read as a refusal of the message, and an SDK would not try again.
#[tokio::test]
async fn a_refused_token_call_before_a_message_is_minus_one() {
    for (refused, remedy) in [(40001, "fix_config"), (40164, "allow_ip"), (45009, "slow_down")] {
        let world = World::new(&usual()).await;
        let token = world.classic(&key('a')).await.access_token();
        world.steal();
        world.sandbox.add_fault(TOKEN, 9, Fault::ErrCode(ErrCode::new(refused)));
        let answer = subscribe(&world, &token, message("oUser", 1)).await;
        assert_eq!(answer.errcode(), -1);
        for text in ["not sent", &format!("errcode {refused}"), remedy] {
            assert!(answer.text.contains(text), "{text:?} is not in {}", answer.text);
        }
    }
}

/// An SDK as it comes: fetch, send; the token killed; send again. Two token requests in all.
#[tokio::test]
async fn an_sdk_is_healed_with_two_token_requests() {
    let world = World::new(&client('a', "\"*\"", ALL)).await;
    let token = world.classic(&key('a')).await.access_token();
    world.allow("oUser", 1);
    assert_eq!(subscribe(&world, &token, message("oUser", 1)).await.errcode(), 0);
    world.steal();
    world.allow("oUser", 2);
    assert_eq!(subscribe(&world, &token, message("oUser", 2)).await.errcode(), 0);
    assert_eq!((world.seen(TOKEN), world.received("oUser")), (2, 2));
}

/// Bodies that SDKs post and that Weixin takes: they cannot omit a member, or add one of another kind of message.
#[tokio::test]
async fn empty_members_count_as_absent_and_unknown_ones_are_ignored() {
    let world = World::new(&usual()).await;
    let token = world.classic(&key('a')).await.access_token();
    for more in [
        r#""miniprogram":"","url":"""#,
        r#""miniprogram":null,"url":null"#,
        r#""miniprogram":[],"url":"""#,
        r#""miniprogram":{},"url":"""#,
        r#""miniprogram":{"appid":"","pagepath":""},"url":"""#,
        r#""page":"pages/index","client_msg_id":"7","lang":"zh_CN""#,
    ] {
        world.allow("oUser", 1);
        let body = message("oUser", 1).replacen('{', &format!("{{{more},"), 1);
        let answer = subscribe(&world, &token, body).await;
        assert_eq!(answer.errcode(), 0, "{more}: {answer:?}");
    }
    // An empty member that is required is still missing.
    let body = message("oUser", 1).replace("Parcel", "");
    assert_eq!(subscribe(&world, &token, body).await.errcode(), 47003);
}
