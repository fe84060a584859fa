//! `GET /cgi-bin/token`.

use crate::weixin::{TOKEN, Weixin, appid, code, errmsg, life, text, token_target};

/// Source: Mobile_App/One-time_subscription_info, appendix: two hours; room for at least 512 characters.
#[test]
fn a_token_lives_two_hours_and_is_visible_ascii() {
    let weixin = Weixin::new();
    let answer = weixin.fetch();
    assert_eq!((life(&answer), text(&answer).len()), (7200, 136));
    assert!(text(&answer).bytes().all(|b| b.is_ascii_graphic()));
    weixin.advance(7199);
    assert_eq!(weixin.worth(&text(&answer)), 0);
    weixin.advance(1);
    assert_eq!(weixin.worth(&text(&answer)), 42001);
    let long = Weixin::with(|settings| settings.token_length = 512);
    assert_eq!(long.token().len(), 512);
    assert_eq!(long.worth(&long.token()), 0);
}

/// Source: oplatform/developers/dev/AccessToken: old and new are both good for five minutes.
#[test]
fn fetching_again_ends_the_token_before_after_five_minutes() {
    let weixin = Weixin::new();
    let (old, new) = (weixin.token(), weixin.token());
    assert_ne!(old, new);
    assert_eq!((weixin.worth(&old), weixin.worth(&new)), (0, 0));
    weixin.advance(299);
    assert_eq!(weixin.worth(&old), 0);
    weixin.advance(1);
    assert_eq!((weixin.worth(&old), weixin.worth(&new)), (40001, 0));
}

/// Source: [INF] from "old and new": at most the last two are good.
#[test]
fn a_third_fetch_ends_the_first_at_once() {
    let weixin = Weixin::new();
    let tokens = [weixin.token(), weixin.token(), weixin.token()];
    assert_eq!(tokens.map(|token| weixin.worth(&token)), [40001, 0, 0]);
}

/// Source: global return codes: 42001 is about the life, 40001 about not being the latest. [CHOSEN] what came first counts.
#[test]
fn expired_and_replaced_are_told_apart() {
    let weixin = Weixin::new();
    let (replaced, latest) = (weixin.token(), weixin.token());
    weixin.advance(7200);
    assert_eq!((weixin.worth(&replaced), weixin.worth(&latest)), (40001, 42001));
    let weixin = Weixin::new();
    let expired = weixin.token();
    weixin.advance(7100);
    weixin.token();
    weixin.advance(100);
    assert_eq!(weixin.worth(&expired), 42001);
}

/// Source: service/Message_Management/API_Call_Limits: 2000 a day. Beijing midnight is assumed.
#[test]
fn a_day_has_2000_fetches_and_ends_at_midnight_in_beijing() {
    let weixin = Weixin::new();
    for _ in 0..2000 {
        assert_eq!(code(&weixin.fetch()), 0);
    }
    let answer = weixin.fetch();
    assert_eq!(code(&answer), 45009);
    assert!(
        errmsg(&answer)
            .starts_with("reach max api daily quota limit, could get access_token by getStableAccessToken")
    );
    // 06:13:20 in Beijing; midnight is 17:46:40 away.
    weixin.advance(63_999);
    assert_eq!(code(&weixin.fetch()), 45009);
    weixin.advance(1);
    assert_eq!(code(&weixin.fetch()), 0);
}

/// Source: [CHOSEN] a refused fetch costs nothing.
#[test]
fn a_refused_fetch_is_not_counted() {
    let weixin = Weixin::with(|settings| settings.token_quota = 1);
    assert_eq!(code(&weixin.ask("GET", &token_target().replace("play", "x"), "")), 40125);
    assert_eq!(code(&weixin.fetch()), 0);
    assert_eq!(code(&weixin.fetch()), 45009);
}

/// Source: global return codes, 45011: a limit a minute; [CHOSEN] minutes of the clock.
#[test]
fn a_minute_may_have_its_limit() {
    let weixin = Weixin::with(|settings| settings.minute_limit = Some(2));
    let codes = [(); 3].map(|()| code(&weixin.fetch()));
    assert_eq!(codes, [0, 0, 45011]);
    weixin.advance(60);
    assert_eq!(code(&weixin.fetch()), 0);
}

/// Source: global return codes, 43001: GET is required; [CHOSEN] that this endpoint insists.
#[test]
fn only_a_get_fetches() {
    let weixin = Weixin::new();
    assert_eq!(code(&weixin.ask("POST", &token_target(), "")), 43001);
    let body = token_target().split_once('?').unwrap().1.to_owned();
    assert_eq!(code(&weixin.ask("POST", TOKEN, &body)), 43001);
}

/// Source: oplatform/developers/dev/AccessToken, on several servers fetching for one app.
#[test]
fn a_stranger_ends_every_token_at_once() {
    let weixin = Weixin::new();
    let (classic, stable) = (weixin.token(), text(&weixin.stable(false)));
    weixin.0.invalidate_tokens(&appid()).unwrap();
    assert_eq!((weixin.worth(&classic), weixin.worth(&stable)), (40001, 40001));
    assert_ne!(text(&weixin.stable(false)), stable);
    assert_eq!(weixin.worth(&weixin.token()), 0);
}

/// Source: global return codes: 41001 missing, 40014 not a token.
#[test]
fn missing_and_made_up_tokens() {
    let weixin = Weixin::new();
    let made_up = "x".repeat(136);
    for (target, expected) in [
        ("/cgi-bin/get_api_domain_ip".to_owned(), 41001),
        ("/cgi-bin/get_api_domain_ip?access_token=".to_owned(), 41001),
        (format!("/cgi-bin/get_api_domain_ip?access_token={made_up}"), 40014),
        ("/cgi-bin/get_api_domain_ip?access_token=%ff%20".to_owned(), 40014),
    ] {
        assert_eq!(code(&weixin.ask("GET", &target, "")), expected, "{target}");
    }
}
