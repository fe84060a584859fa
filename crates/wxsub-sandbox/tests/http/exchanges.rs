//! Requests without faults.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use tokio::io::AsyncWriteExt;

use crate::client::{FETCH, Server, appid};

#[tokio::test]
async fn full_flow_works_over_one_connection() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let consent =
        r#"{"appid":"wx1","openid":"oUser","template_id":"T","scene":"7","reserved":"p","action":"confirm"}"#;
    let response = client.ask("POST", "/_sandbox/consents", consent).await;
    assert!(response.head.starts_with("http/1.1 200"));
    assert!(response.head.contains("content-type: application/json"));
    let token = client.ask("GET", FETCH, "").await;
    assert!(token.head.contains("application/json; encoding=utf-8"));
    let token: serde_json::Value = serde_json::from_str(&token.body).unwrap();
    let target = format!(
        "/cgi-bin/message/template/subscribe?access_token={}",
        token["access_token"].as_str().unwrap()
    );
    let message = r#"{"touser":"oUser","template_id":"T","scene":"7","title":"t","data":{"content":{"value":"汉\n字"}}}"#;
    let sent = client.ask("POST", &target, message).await;
    assert_eq!(sent.body, r#"{"errcode":0,"errmsg":"ok"}"#);
    let mailbox = client.ask("GET", "/_sandbox/mailbox?openid=oUser", "").await;
    assert!(mailbox.body.starts_with('[') && mailbox.body.contains(r"汉\n字"), "{}", mailbox.body);
    server.stop().await;
}

#[tokio::test]
async fn date_header_follows_sandbox_clock() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let mut date = async || {
        let head = client.ask("GET", "/_sandbox/events", "").await.head;
        let dates: Vec<_> = head.lines().filter_map(|line| line.strip_prefix("date: ")).map(parsed).collect();
        assert_eq!(dates.len(), 1, "{head}");
        dates[0]
    };
    let before = date().await;
    server.sandbox.advance(Duration::from_secs(86_400 * 365));
    let ahead = date().await.duration_since(before).unwrap().as_secs();
    assert!((86_400 * 365..86_400 * 366).contains(&ahead), "{ahead}");
    for _ in 0..2 {
        server.sandbox.advance(Duration::MAX);
        assert_eq!(date().await, parsed("Fri, 31 Dec 9999 23:59:59 GMT"));
    }
    server.stop().await;
}

/// Parses a date in lower case. The client converts heads to lower case.
fn parsed(date: &str) -> SystemTime {
    let words = date.split(' ').map(|word| match word {
        "gmt" => "GMT".to_owned(),
        word => word.chars().take(1).map(|c| c.to_ascii_uppercase()).chain(word.chars().skip(1)).collect(),
    });
    httpdate::parse_http_date(&words.collect::<Vec<_>>().join(" ")).unwrap()
}

#[tokio::test]
async fn consent_page_and_redirect_work_over_http() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let target = "/mp/subscribemsg?action=get_confirm&appid=wx1&scene=7&template_id=T&redirect_url=https%3A%2F%2Fa.example%2F%E8%B7%AF";
    let page = client.ask("GET", target, "").await;
    assert!(page.head.contains("content-type: text/html; charset=utf-8") && page.body.contains("<form"));
    let redirect = client.ask("POST", target, "action=cancel").await;
    assert!(redirect.head.starts_with("http/1.1 302"));
    let location = "location: https://a.example/%e8%b7%af?template_id=t&action=cancel&scene=7";
    assert!(redirect.head.contains(location), "{}", redirect.head);
    server.stop().await;
}

#[tokio::test]
async fn allow_list_sees_client_address() {
    let server = Server::start().await;
    let mut settings = server.sandbox.settings(&appid()).unwrap();
    settings.allowed_ips = Some(vec![IpAddr::V4(Ipv4Addr::new(1, 2, 3, 4))]);
    server.sandbox.configure(&appid(), settings).unwrap();
    let response = server.connect().await.ask("GET", FETCH, "").await;
    assert!(response.body.contains("invalid ip 127.0.0.1 ipv6 ::ffff:127.0.0.1, not in whitelist rid: "));
    server.stop().await;
}

#[tokio::test]
async fn too_long_body_gets_response_and_keeps_connection() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let long = "x".repeat(3_000_000);
    let response = client.ask("POST", "/_sandbox/apps", &long).await;
    assert!(response.head.starts_with("http/1.1 413") && response.body.starts_with(r#"{"error":"#));
    let response = client.ask("POST", "/cgi-bin/stable_token", &"x".repeat(65_537)).await;
    assert!(response.head.starts_with("http/1.1 200") && response.body.contains("47001"));
    server.stop().await;
}

#[tokio::test]
async fn incomplete_request_does_not_delay_shutdown() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let head =
        b"POST /_sandbox/apps HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n";
    client.0.write_all(head).await.unwrap();
    client.0.readable().await.unwrap();
    server.stop().await;
}
