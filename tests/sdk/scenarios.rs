//! What becomes of a service whose SDK has been moved over.

use wxsub_sandbox::Fault;
use wxsub_tests::{SEND, TOKEN};

use super::service::Sdk::{self, CoWechatApi, Wechatpy};
use super::service::{Sends, Service};
use super::setup::{Stage, key};

const PROBE: &str = "/cgi-bin/get_api_domain_ip";

/// Tells each story with each SDK, as a test of its own.
macro_rules! with_each_sdk {
    ($($story:ident),+ $(,)?) => {
        mod wechatpy {
            $(
                #[tokio::test]
                #[ignore = "needs Python, Node and the SDKs: scripts/test runs it"]
                async fn $story() { super::$story(super::Wechatpy).await }
            )+
        }
        mod co_wechat_api {
            $(
                #[tokio::test]
                #[ignore = "needs Python, Node and the SDKs: scripts/test runs it"]
                async fn $story() { super::$story(super::CoWechatApi).await }
            )+
        }
    };
}

with_each_sdk!(
    the_server_heals_what_it_sends,
    what_weixin_answers_brings_another_token,
    a_wrong_key_is_named,
    what_may_have_arrived_is_not_repeated,
);

async fn the_server_heals_what_it_sends(sdk: Sdk) {
    let stage = Stage::open().await;
    let mut service = Service::start(sdk, Sends::ThroughServer, &stage, &key());
    stage.user_allows(1);
    assert_eq!(service.send(1).await, "0");
    stage.user_allows(2);
    stage.stranger_kills_the_token();
    assert_eq!(service.send(2).await, "0");
    // A refusal of Weixin's reaches the service as it is.
    assert_eq!(service.send(2).await, "43101");
    assert_eq!((stage.received(), stage.seen(TOKEN), stage.seen(PROBE)), (2, 2, 0));
}

async fn what_weixin_answers_brings_another_token(sdk: Sdk) {
    let stage = Stage::open().await;
    let mut service = Service::start(sdk, Sends::Directly, &stage, &key());
    stage.user_allows(1);
    assert_eq!(service.send(1).await, "0");
    assert_eq!((stage.seen(TOKEN), stage.seen(PROBE)), (1, 0));
    stage.user_allows(2);
    stage.stranger_kills_the_token();
    // The SDK sees 40001, asks the server again, and repeats its call.
    assert_eq!(service.send(2).await, "0");
    assert_eq!((stage.received(), stage.seen(SEND)), (2, 3));
    assert_eq!((stage.seen(TOKEN), stage.seen(PROBE)), (2, 1));
}

async fn a_wrong_key_is_named(sdk: Sdk) {
    let stage = Stage::open().await;
    for sends in [Sends::ThroughServer, Sends::Directly] {
        let mut service = Service::start(sdk, sends, &stage, &key().replace('k', "w"));
        assert_eq!(service.send(1).await, "40125");
    }
    assert_eq!(stage.seen(SEND), 0);
}

async fn what_may_have_arrived_is_not_repeated(sdk: Sdk) {
    let stage = Stage::open().await;
    let mut service = Service::start(sdk, Sends::ThroughServer, &stage, &key());
    stage.user_allows(1);
    stage.sandbox.add_fault(SEND, 1, Fault::ResetAfterApply);
    assert_eq!(service.send(1).await, "900504");
    assert_eq!((stage.received(), stage.seen(SEND)), (1, 1));
}
