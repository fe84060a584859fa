//! From the consent URL to the message in the mailbox.

use wxsub_core::ConsentVerifier;
use wxsub_core::consent::{SigningKey, VerifiedConsent};
use wxsub_core::proto::{ConsentAction, ConsentCallback, ErrCode, HttpUrl, Message, Remedy, Scene};
use wxsub_tests::{Harness, Route, SEND, TOKEN, app, template};

on_every_route!(consent_leads_to_one_message);

async fn consent_leads_to_one_message(route: Route) {
    let harness = Harness::new(route).await;
    let guard = ConsentVerifier::new(app(), SigningKey::new(&[7; 32]).unwrap()).clock(harness.clock.clone());

    // The consent URL, and the callback that comes back through the browser.
    let request = guard.issue(template(), Scene::new(1000).unwrap(), "session").unwrap();
    let back: HttpUrl = "https://shop.example/back".parse().unwrap();
    assert!(request.consent_url(&back).unwrap().to_string().ends_with("#wechat_redirect"));
    let answer = harness
        .sandbox
        .consent(request, ConsentAction::Confirm { openid: "oUser".parse().unwrap() })
        .unwrap();
    let answer: ConsentCallback = format!("{back}?{}", answer.to_query()).parse().unwrap();

    // A forged callback, and the genuine one.
    let forged: ConsentCallback =
        "openid=oVictim&template_id=TEMPLATE&action=confirm&scene=1000&reserved=guess".parse().unwrap();
    guard.verify(&forged, "session").unwrap_err();
    let VerifiedConsent::Granted { grant, .. } = guard.verify(&answer, "session").unwrap() else {
        panic!("declined")
    };

    // The message arrives in the mailbox.
    let message = Message::builder(grant)
        .title("包裹到了")
        .content("It is here.\n取件码 \"42\"")
        .color("#07C160")
        .on_tap_url("https://shop.example/parcel?id=1")
        .build()
        .unwrap();
    harness.client.send(&message).await.unwrap();
    let mailbox = harness.sandbox.mailbox(&"oUser".parse().unwrap());
    assert_eq!(mailbox.len(), 1);
    let body = &mailbox[0].body;
    assert_eq!(body["title"], "包裹到了");
    assert_eq!(body["data"]["content"]["value"], "It is here.\n取件码 \"42\"");
    assert_eq!((&body["data"]["content"]["color"], &body["scene"]), (&"#07C160".into(), &"1000".into()));
    assert_eq!(body["url"], "https://shop.example/parcel?id=1");

    // The grant is spent.
    let error = harness.client.send(&message).await.unwrap_err();
    assert_eq!((error.errcode(), error.remedy()), (Some(ErrCode::USER_REFUSED), Remedy::Stop));
    assert!(error.trace_id().is_some());
    assert_eq!(
        (harness.request_count(TOKEN), harness.request_count(SEND), harness.received_count("oUser")),
        (1, 2, 1)
    );
}
