//! Authorization: every key × app × route.

use serde_json::json;

use super::setup::{SEND, STABLE, Setup, TOKEN, client, key, message};

/// A route and the scope it needs.
const ROUTES: [(&str, &str, &str); 6] = [
    ("GET", "/v1/apps", "admin"),
    ("GET", "/v1/apps/{}/access_token", "token:read"),
    ("POST", "/v1/apps/{}/access_token/report", "token:report"),
    ("POST", "/v1/apps/{}/messages", "message:send"),
    ("GET", TOKEN, "token:read"),
    ("POST", STABLE, "token:read"),
];

const SCOPES: [&str; 4] = ["token:read", "token:report", "message:send", "admin"];
const LISTS: [&str; 3] = ["\"wx1\"", "\"*\"", ""];

/// The expected status of the v1 API, or the expected errcode of the Weixin-compatible API.
fn expected(route: &str, needed: &str, scope: &str, list: &str, appid: &str) -> i64 {
    let (listed, exists) = (list == "\"*\"" || list.contains(appid), appid != "wx9");
    if !route.starts_with("/v1") {
        return match () {
            () if !listed || !exists => 40013,
            () if scope != needed => 48001,
            () => 0,
        };
    }
    match () {
        () if scope != needed => 403,
        () if needed == "admin" => 200,
        () if !listed => 403,
        () if !exists => 404,
        // There is no consent.
        () if needed == "message:send" => 422,
        () => 200,
    }
}

#[tokio::test]
async fn each_key_has_its_rights_on_each_route_and_app() {
    let mut keys = Vec::new();
    for list in LISTS {
        for scope in SCOPES {
            let letter = char::from(b'a' + u8::try_from(keys.len()).unwrap());
            keys.push((letter, list, scope));
        }
    }
    let clients: String =
        keys.iter().map(|(letter, list, scope)| client(*letter, list, &format!("{scope:?}"))).collect();
    let setup = Setup::new(&clients).await;
    for (letter, list, scope) in &keys {
        for (method, route, needed) in ROUTES {
            for appid in ["wx1", "wx2", "wx9"] {
                let got = ask(&setup, method, route, appid, &key(*letter)).await;
                let wanted = expected(route, needed, scope, list, appid);
                assert_eq!(got, wanted, "{scope} for [{list}] on {method} {route} of {appid}");
            }
        }
    }
}

async fn ask(setup: &Setup, method: &str, route: &str, appid: &str, key: &str) -> i64 {
    let native = route.starts_with("/v1");
    let (mut target, mut body) = (route.replace("{}", appid), String::new());
    if route == TOKEN {
        target = format!("{TOKEN}?grant_type=client_credential&appid={appid}&secret={key}");
    } else if route == STABLE {
        body = json!({"grant_type": "client_credential", "appid": appid, "secret": key}).to_string();
    } else if route.ends_with("report") {
        body = json!({"access_token": "old"}).to_string();
    } else if route.ends_with("messages") {
        body = message("oUser", 1);
    }
    let response = setup.ask(method, &target, native.then_some(key), body).await;
    if native {
        return response.status.into();
    }
    response.json().get("errcode").map_or(0, |errcode| errcode.as_i64().unwrap())
}

#[tokio::test]
async fn unknown_key_gets_nothing() {
    let setup = Setup::new(&client('a', "\"*\"", "\"token:read\", \"admin\"")).await;
    let unknown = setup.get("/v1/apps/wx1/access_token", &key('z')).await;
    for (method, route, _) in &ROUTES[..4] {
        for app in ["wx1", "wx9", "..%2f..", "%ff", "a%00b"] {
            for bearer in [None, Some(key('z')), Some("short".to_owned())] {
                let response = setup.ask(method, &route.replace("{}", app), bearer.as_deref(), "").await;
                assert_eq!((response.status, response.kind().as_str()), (401, "unauthorized"));
                assert_eq!(response.json()["detail"], unknown.json()["detail"]);
                assert_eq!(response.headers["www-authenticate"], "Bearer");
            }
        }
    }
    for (target, status) in [("/livez", 200), ("/readyz", 503), ("/metrics", 200), ("/openapi.json", 200)] {
        assert_eq!(setup.ask("GET", target, None, "").await.status, status, "{target}");
    }
    assert_eq!(setup.seen(TOKEN) + setup.seen(STABLE) + setup.seen(SEND), 0);
}

#[tokio::test]
async fn key_works_only_from_its_networks() {
    let from =
        |range: &str| client('a', "\"*\"", "\"token:read\"") + &format!("allowed_networks = [\"{range}\"]\n");
    for (range, status, errcode) in [("10.0.0.0/8", 200, None), ("192.168.0.0/16", 401, Some(40125))] {
        let setup = Setup::new(&from(range)).await;
        assert_eq!(setup.token().await.status, status);
        let response = setup.classic(&key('a')).await;
        assert_eq!(response.json().get("errcode").and_then(serde_json::Value::as_i64), errcode);
    }
}

#[tokio::test]
async fn app_list_has_the_apps_of_the_key_and_no_secret() {
    let keys =
        [client('a', "\"wx1\"", "\"admin\", \"token:read\""), client('b', "\"*\"", "\"admin\"")].concat();
    let setup = Setup::new(&keys).await;
    let token = setup.token().await.access_token();
    let own = setup.get("/v1/apps", &key('a')).await;
    let shown = &own.json()["apps"];
    assert_eq!((shown.as_array().unwrap().len(), &shown[0]["appid"]), (1, &json!("wx1")));
    assert_eq!((&shown[0]["state"], &shown[0]["expires_in"]), (&json!("ok"), &json!(7200)));
    assert_eq!((&shown[0]["in_doubt"], &shown[0]["token_endpoint"]), (&json!(false), &json!("token")));
    let all = setup.get("/v1/apps", &key('b')).await;
    assert_eq!(all.json()["apps"].as_array().unwrap().len(), 2);
    assert_eq!(all.json()["apps"][1]["state"], "starting");
    assert!(!all.text.contains(&token));
}

#[tokio::test]
async fn openapi_document_describes_every_v1_route() {
    let setup = Setup::new(&client('a', "\"*\"", "\"token:read\"")).await;
    let document = setup.ask("GET", "/openapi.json", None, "").await.json();
    assert!(
        document["openapi"].as_str().unwrap().starts_with("3.") && document["info"]["version"].is_string()
    );
    let mut described = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            described.push((method.to_uppercase(), path.replace("{appid}", "{}")));
            assert_eq!(operation["security"], json!([{"key": []}]));
            let response = setup.ask(&method.to_uppercase(), &path.replace("{appid}", "wx1"), None, "").await;
            assert_eq!(response.status, 401, "{method} {path}");
            assert!(operation["responses"]["401"].is_object());
        }
    }
    let mut routes: Vec<_> =
        ROUTES[..4].iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();
    described.sort();
    routes.sort();
    assert_eq!(described, routes);
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let outcomes = &schemas["SendStatus"]["enum"];
    assert_eq!(outcomes, &json!(["sent", "refused", "invalid", "not_sent", "maybe_sent"]));
    assert!(schemas["Token"]["properties"]["generation"].is_object());
    // Every reference has a target.
    let text = document.to_string();
    for name in text.split("#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(schemas.contains_key(name), "{name}");
    }
}
