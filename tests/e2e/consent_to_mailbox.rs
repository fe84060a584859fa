//! The whole job, once.

use wxsub_core::ConsentGuard;
use wxsub_core::consent_guard::{GuardKey, Verified};
use wxsub_core::proto::{Action, Answer, ErrCode, HttpUrl, Jump, Remedy, Scene};
use wxsub_tests::{Route, SEND, Stage, TOKEN, app, template};

stories!(from_link_to_mailbox, a_cancelled_consent_sends_nothing, scenes_are_grants_of_their_own);

async fn from_link_to_mailbox(route: Route) {
    let stage = Stage::new(route).await;
    let guard =
        ConsentGuard::new(app(), GuardKey::new(b"sixteen random bytes").unwrap()).clock(stage.clock.clone());

    // The link, and the answer that comes back through the browser.
    let request = guard.issue(template(), Scene::new(1000).unwrap(), "session").unwrap();
    let back: HttpUrl = "https://shop.example/back".parse().unwrap();
    assert!(request.web_link(&back).to_string().ends_with("#wechat_redirect"));
    let answer =
        stage.sandbox.consent(request, Action::Confirm { openid: "oUser".parse().unwrap() }).unwrap();
    let answer: Answer = format!("{back}?{}", answer.to_query()).parse().unwrap();

    // A forged answer, and the genuine one.
    let forged: Answer =
        "openid=oVictim&template_id=TEMPLATE&action=confirm&scene=1000&reserved=guess".parse().unwrap();
    guard.verify(&forged, "session").unwrap_err();
    let Verified::Granted { grant, .. } = guard.verify(&answer, "session").unwrap() else {
        panic!("cancelled")
    };

    // The message, and the mailbox.
    let message = grant
        .message("包裹到了".parse().unwrap(), "It is here.\n取件码 \"42\"".parse().unwrap())
        .color("#07C160".parse().unwrap())
        .jump(Jump::Url("https://shop.example/parcel?id=1".parse().unwrap()));
    stage.client.send(&message).await.unwrap();
    let mailbox = stage.sandbox.mailbox(&"oUser".parse().unwrap());
    assert_eq!(mailbox.len(), 1);
    let body = &mailbox[0].body;
    assert_eq!(body["title"], "包裹到了");
    assert_eq!(body["data"]["content"]["value"], "It is here.\n取件码 \"42\"");
    assert_eq!((&body["data"]["content"]["color"], &body["scene"]), (&"#07C160".into(), &"1000".into()));
    assert_eq!(body["url"], "https://shop.example/parcel?id=1");

    // The grant is spent.
    let error = stage.client.send(&message).await.unwrap_err();
    assert_eq!((error.errcode(), error.remedy()), (Some(ErrCode::USER_REFUSED), Remedy::Stop));
    assert!(error.trace_id().is_some());
    assert_eq!((stage.seen(TOKEN), stage.seen(SEND), stage.received("oUser")), (1, 2, 1));
}

async fn a_cancelled_consent_sends_nothing(route: Route) {
    let stage = Stage::new(route).await;
    let message = stage.message("oUser", 7);
    let other = stage.message("oOther", 7);
    // Another user cancels; that touches nobody's grant.
    let request = wxsub_core::proto::ConsentRequest::new(app(), template(), Scene::new(9).unwrap());
    stage.sandbox.consent(request, Action::Cancel).unwrap();
    stage.client.send(&message).await.unwrap();
    stage.client.send(&other).await.unwrap();
    assert_eq!((stage.received("oUser"), stage.received("oOther")), (1, 1));
}

async fn scenes_are_grants_of_their_own(route: Route) {
    let stage = Stage::new(route).await;
    // A second consent for the same scene adds nothing.
    let (first, second) = (stage.message("oUser", 1), stage.message("oUser", 1));
    let elsewhere = stage.message("oUser", 2);
    stage.client.send(&first).await.unwrap();
    assert_eq!(stage.client.send(&second).await.unwrap_err().errcode(), Some(ErrCode::USER_REFUSED));
    stage.client.send(&elsewhere).await.unwrap();
    assert_eq!(stage.received("oUser"), 2);
}
