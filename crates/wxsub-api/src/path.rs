//! The paths of the server: templates for its router, and functions for its clients.

use wxsub_proto::AppId;
use wxsub_proto::codec::percent_encode;

/// `GET`: the apps of the key and their health. The response is an [`AppList`](crate::AppList).
pub const APPS: &str = "/v1/apps";

/// `GET`: the current token of an app. The response is a [`TokenResponse`](crate::TokenResponse).
pub const ACCESS_TOKEN: &str = "/v1/apps/{appid}/access_token";

/// `POST` of a [`ReportRequest`](crate::ReportRequest). The response is a [`TokenResponse`](crate::TokenResponse) with
/// another token.
pub const REPORT: &str = "/v1/apps/{appid}/access_token/report";

/// `POST` of a message in Weixin's field names. The response is a [`SendResult`](crate::SendResult).
pub const MESSAGES: &str = "/v1/apps/{appid}/messages";

/// `POST` of a [`NewConsent`](crate::NewConsent). The response is an [`IssuedConsent`](crate::IssuedConsent).
pub const CONSENTS: &str = "/v1/apps/{appid}/consents";

/// `POST` of a [`NewGrant`](crate::NewGrant); `GET`: the grants of one user.
pub const GRANTS: &str = "/v1/apps/{appid}/grants";

/// `DELETE`: voids an open grant.
pub const GRANT: &str = "/v1/apps/{appid}/grants/{id}";

/// `GET`: the apps that have messages. The response is an [`OutboxApps`](crate::OutboxApps).
pub const OUTBOX_APPS: &str = "/v1/outbox";

/// `POST`: records messages in the queue; `GET`: lists messages.
pub const OUTBOX: &str = "/v1/apps/{appid}/outbox";

/// `GET`: one message with its history; `DELETE`: withdraws it.
pub const OUTBOX_MESSAGE: &str = "/v1/apps/{appid}/outbox/{id}";

/// `POST` of a [`DecisionRequest`](crate::DecisionRequest): decides a message that may have been sent.
pub const DECISION: &str = "/v1/apps/{appid}/outbox/{id}/decision";

/// `POST`, optionally of a [`PauseRequest`](crate::PauseRequest): messages of the app wait.
pub const PAUSE: &str = "/v1/apps/{appid}/outbox/pause";

/// `POST`: lifts every pause of the app.
pub const RESUME: &str = "/v1/apps/{appid}/outbox/resume";

/// `GET`: the endpoints of webhooks. The response is a [`WebhookList`](crate::WebhookList).
pub const WEBHOOKS: &str = "/v1/webhooks";

/// `POST`: enables an endpoint, and tries its failed webhooks again. The response is a [`Redelivery`](crate::Redelivery).
pub const REDELIVER: &str = "/v1/webhooks/{name}/redeliver";

/// `GET`, without a key: whether the process responds.
pub const LIVEZ: &str = "/livez";

/// `GET`, without a key: whether the server can serve tokens. The response is a [`Readiness`](crate::Readiness).
pub const READYZ: &str = "/readyz";

/// `GET`, without a key: metrics in the OpenMetrics text format.
pub const METRICS: &str = "/metrics";

/// `GET`, without a key: the OpenAPI document of the API under `/v1`.
pub const OPENAPI: &str = "/openapi.json";

/// Returns the path of an app's token.
pub fn access_token(appid: &AppId) -> String {
    format!("/v1/apps/{appid}/access_token")
}

/// Returns the path to which an app's rejected token is reported.
pub fn report(appid: &AppId) -> String {
    format!("/v1/apps/{appid}/access_token/report")
}

/// Returns the path to which an app's messages are posted.
pub fn messages(appid: &AppId) -> String {
    format!("/v1/apps/{appid}/messages")
}

/// Returns the path at which an endpoint's webhooks are tried again.
pub fn redeliver(endpoint: &str) -> String {
    REDELIVER.replace("{name}", &percent_encode(endpoint).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_of_an_endpoint_stays_one_segment_of_its_path() {
        assert_eq!(redeliver("shop-1"), "/v1/webhooks/shop-1/redeliver");
        assert_eq!(redeliver("a/../b c?d"), "/v1/webhooks/a%2F..%2Fb%20c%3Fd/redeliver");
    }

    #[test]
    fn functions_fill_in_the_templates() {
        let appid: AppId = "wx1".parse().unwrap();
        for (path, template) in
            [(access_token(&appid), ACCESS_TOKEN), (report(&appid), REPORT), (messages(&appid), MESSAGES)]
        {
            assert_eq!(path, template.replace("{appid}", "wx1"));
        }
    }
}
