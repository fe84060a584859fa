//! A service whose SDK uses the control server.

use wxsub_core::proto::endpoint::domain_ip::PATH as PROBE;
use wxsub_sandbox::Fault;
use wxsub_tests::{SEND, TOKEN};

use super::service::Sdk::{self, CoWechatApi, Wechatpy};
use super::service::{Route, Service};
use super::setup::{Setup, USER, key};

/// Makes one test per SDK from each scenario.
macro_rules! with_each_sdk {
    ($($scenario:ident),+ $(,)?) => {
        mod wechatpy {
            $(
                #[tokio::test]
                #[ignore = "needs Python, Node and the SDKs: scripts/test runs it"]
                async fn $scenario() { super::$scenario(super::Wechatpy).await }
            )+
        }
        mod co_wechat_api {
            $(
                #[tokio::test]
                #[ignore = "needs Python, Node and the SDKs: scripts/test runs it"]
                async fn $scenario() { super::$scenario(super::CoWechatApi).await }
            )+
        }
    };
}

with_each_sdk!(
    server_refreshes_invalid_token_of_a_send,
    rejected_token_of_the_sdk_is_replaced,
    unknown_key_is_rejected,
    send_with_unknown_outcome_is_not_repeated,
);

async fn server_refreshes_invalid_token_of_a_send(sdk: Sdk) {
    let setup = Setup::start().await;
    let mut service = Service::start(sdk, Route::ThroughServer, &setup, &key());
    setup.consent(USER, 1);
    assert_eq!(service.send(1).await, "0");
    setup.consent(USER, 2);
    setup.invalidate_tokens();
    assert_eq!(service.send(2).await, "0");
    // A refusal by Weixin reaches the service unchanged.
    assert_eq!(service.send(2).await, "43101");
    assert_eq!(
        (setup.received_count(USER), setup.request_count(TOKEN), setup.request_count(PROBE)),
        (2, 2, 0)
    );
}

async fn rejected_token_of_the_sdk_is_replaced(sdk: Sdk) {
    let setup = Setup::start().await;
    let mut service = Service::start(sdk, Route::Directly, &setup, &key());
    setup.consent(USER, 1);
    assert_eq!(service.send(1).await, "0");
    assert_eq!((setup.request_count(TOKEN), setup.request_count(PROBE)), (1, 0));
    setup.consent(USER, 2);
    setup.invalidate_tokens();
    // The SDK gets 40001, fetches a token from the server again, and repeats its call.
    assert_eq!(service.send(2).await, "0");
    assert_eq!((setup.received_count(USER), setup.request_count(SEND)), (2, 3));
    assert_eq!((setup.request_count(TOKEN), setup.request_count(PROBE)), (2, 1));
}

async fn unknown_key_is_rejected(sdk: Sdk) {
    let setup = Setup::start().await;
    for route in [Route::ThroughServer, Route::Directly] {
        let mut service = Service::start(sdk, route, &setup, &key().replace('k', "w"));
        assert_eq!(service.send(1).await, "40125");
    }
    assert_eq!(setup.request_count(SEND), 0);
}

async fn send_with_unknown_outcome_is_not_repeated(sdk: Sdk) {
    let setup = Setup::start().await;
    let mut service = Service::start(sdk, Route::ThroughServer, &setup, &key());
    setup.consent(USER, 1);
    setup.sandbox.add_fault(SEND, 1, Fault::ResetAfterApply);
    assert_eq!(service.send(1).await, "900504");
    assert_eq!((setup.received_count(USER), setup.request_count(SEND)), (1, 1));
}
