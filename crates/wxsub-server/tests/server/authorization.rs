//! Authorization: every key × app × route.

use std::time::Duration;

use serde_json::json;

use super::setup::{
    SEND, STABLE, Setup, TOKEN, TestResponse, client, config_with_audit, digest, has, key, message,
    stable_body,
};

/// The routes of both APIs that need a key.
const ROUTES: [(&str, &str); 6] = [
    ("GET", "/v1/apps"),
    ("GET", "/v1/apps/{}/access_token"),
    ("POST", "/v1/apps/{}/access_token/report"),
    ("POST", "/v1/apps/{}/messages"),
    ("GET", TOKEN),
    ("POST", STABLE),
];

const SCOPES: [&str; 4] = ["token:read", "token:report", "message:send", "admin"];

/// The status of the v1 API, or the errcode of the Weixin-compatible API, for a client with all scopes and these apps.
fn expected(route: &str, list: &str, appid: &str) -> i64 {
    let (listed, exists) = (list == "\"*\"" || list.contains(appid), appid != "wx9");
    match () {
        () if !route.starts_with("/v1") => i64::from(!(listed && exists)) * 40013,
        () if route == "/v1/apps" => 200,
        () if !listed => 403,
        () if !exists => 404,
        // There is no consent.
        () if route.ends_with("messages") => 422,
        () => 200,
    }
}

#[tokio::test]
async fn each_client_has_its_apps_on_each_route() {
    const LISTS: [(char, &str); 3] = [('a', "\"wx1\""), ('b', "\"*\""), ('c', "")];
    let scopes = SCOPES.map(|scope| format!("{scope:?}")).join(",");
    let clients = LISTS.map(|(letter, list)| client(letter, list, &scopes)).concat();
    let setup = Setup::new(&clients).await;
    for (letter, list) in LISTS {
        for (method, route) in ROUTES {
            for appid in ["wx1", "wx2", "wx9"] {
                let got = ask(&setup, method, route, appid, &key(letter)).await;
                assert_eq!(got, expected(route, list, appid), "[{list}] on {method} {route} of {appid}");
            }
        }
    }
}

/// The errcode of the Weixin-compatible API.
fn code(response: &TestResponse) -> i64 {
    let errcode = response.json()["errcode"].as_i64();
    assert!(errcode.is_none() || !response.text.contains("access_token\":"), "{response:?}");
    errcode.unwrap_or_default()
}

async fn ask(setup: &Setup, method: &str, route: &str, appid: &str, key: &str) -> i64 {
    let native = route.starts_with("/v1");
    let (mut target, mut body) = (route.replace("{}", appid), String::new());
    if route == TOKEN {
        target = format!("{TOKEN}?grant_type=client_credential&appid={appid}&secret={key}");
    } else if route == STABLE {
        body = stable_body(appid, key, false);
    } else if route.ends_with("report") {
        body = json!({"access_token": "old"}).to_string();
    } else if route.ends_with("messages") {
        body = message("oUser", 1);
    }
    let response = setup.ask(method, &target, native.then_some(key), body).await;
    assert!(response.status == 200 || !response.text.contains("access_token\":"), "{response:?}");
    if native { response.status.into() } else { code(&response) }
}

const DOCUMENTS: [&str; 2] = [
    include_str!("../../../../docs/control-server.md"),
    include_str!("../../../../docs/zh-CN/control-server.md"),
];

/// The documented requests, each with the scopes it needs.
fn documented_rights(document: &str) -> Vec<(String, Vec<&'static str>)> {
    let columns = "| `token:read` | `token:report` | `message:send` | `admin` |";
    let table = document.lines().skip_while(|line| !line.ends_with(columns)).skip(2);
    let row = |line: &str| {
        let mut cells = line.split('|').skip(1).map(str::trim);
        let request = cells.next().unwrap().replace('`', "");
        let needed = SCOPES.into_iter().zip(cells).filter(|(_, cell)| !cell.is_empty());
        (request, needed.map(|(scope, _)| scope).collect())
    };
    table.take_while(|line| line.starts_with('|')).map(row).collect()
}

/// Asks with this key for the app `wx1`. Whether the key has the right.
async fn has_right(setup: &Setup, request: &str, key: &str, token: &str) -> bool {
    let (request, forced) =
        request.strip_suffix(", force_refresh").map_or((request, false), |request| (request, true));
    let (method, route) = request.split_once(' ').unwrap();
    let code = match route {
        SEND => {
            let target = format!("{SEND}?access_token={token}");
            code(&setup.ask(method, &target, None, message("oUser", 1)).await)
        }
        STABLE if forced => code(&setup.stable(key, true).await),
        route => ask(setup, method, &route.replace("{appid}", "{}"), "wx1", key).await,
    };
    ![403, 48001].contains(&code)
}

/// Every set of scopes on every route of both APIs has the documented rights.
#[tokio::test]
async fn each_set_of_scopes_has_the_documented_rights() {
    let [rights, chinese] = DOCUMENTS.map(documented_rights);
    assert_eq!(rights, chinese);
    assert_eq!(rights.len(), 8, "{rights:?}");
    let letter = |set: u8| char::from(b'a' + set);
    let scopes_of =
        |set: u8| (0_u8..4).filter(move |bit| set & (1 << bit) != 0).map(|bit| SCOPES[usize::from(bit)]);
    let quoted = |set| scopes_of(set).map(|scope| format!("{scope:?}")).collect::<Vec<_>>().join(",");
    let clients: String = (0..16).map(|set| client(letter(set), "\"wx1\"", &quoted(set))).collect();
    let setup = Setup::new(&clients).await;
    let token = setup.get("/v1/apps/wx1/access_token", &key(letter(1))).await.access_token();
    for (request, needed) in &rights {
        for set in 0..16 {
            let expected = needed.iter().all(|scope| scopes_of(set).any(|held| held == *scope));
            let got = has_right(&setup, request, &key(letter(set)), &token).await;
            assert_eq!(got, expected, "{:?} on {request}", scopes_of(set).collect::<Vec<_>>());
        }
    }
}

/// The documented requests about grants, the outbox and webhooks, each with the scopes of which it needs one.
fn documented_ledger_rights(document: &str) -> Vec<(String, Vec<String>)> {
    let table = document.lines().skip_while(|line| !line.ends_with(" | scope |")).skip(2);
    let row = |line: &str| {
        let mut cells =
            line.split('|').skip(1).map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned));
        (cells.next().unwrap().collect(), cells.next().unwrap().collect())
    };
    table.take_while(|line| line.starts_with('|')).map(row).collect()
}

/// Each scope alone, on each request about grants and the outbox.
#[tokio::test]
async fn each_ledger_request_needs_its_documented_scope() {
    let [rights, chinese] = DOCUMENTS.map(|document| {
        documented_ledger_rights(&document.replace("| 请求 | scope |", "| request | scope |"))
    });
    assert_eq!((&rights, rights.len()), (&chinese, 14));
    let scopes = SCOPES.iter().copied().chain(["outbox:write", "outbox:read", "outbox:decide", "consent"]);
    let scopes: Vec<_> = scopes.zip('a'..).collect();
    let clients: String =
        scopes.iter().map(|(scope, letter)| client(*letter, "\"wx1\"", &format!("{scope:?}"))).collect();
    let (setup, _ledger) = Setup::with_ledger(&clients).await;
    for (request, needed) in &rights {
        let (method, path) = request.split_once(' ').unwrap();
        let path = path.replace("{appid}", "wx1").replace("{id}", "01010101-0101-0101-0101-010101010101");
        let path = path.replace("{name}", "shop");
        for (scope, letter) in &scopes {
            let response = setup.ask(method, &path, Some(&key(*letter)), "{}").await;
            assert_eq!(
                response.status != 403,
                needed.iter().any(|one| one == scope),
                "{scope} on {request}: {response:?}"
            );
            if !path.contains("wx1") {
                continue;
            }
            let foreign = setup.ask(method, &path.replace("wx1", "wx2"), Some(&key(*letter)), "{}").await;
            assert_eq!(foreign.status, 403, "{scope} on {request} of another app");
        }
        assert_eq!(setup.ask(method, &path, None, "{}").await.status, 401, "{request}");
    }
}

#[tokio::test]
async fn unknown_key_gets_nothing() {
    let setup = Setup::new(&client('a', "\"*\"", "\"token:read\", \"admin\"")).await;
    let unknown = setup.get("/v1/apps/wx1/access_token", &key('z')).await;
    for (method, route) in &ROUTES[..4] {
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

/// The header counts only if a trusted proxy sent it.
#[tokio::test]
async fn address_behind_a_trusted_proxy_counts() {
    let keys = client('a', "\"wx1\"", "\"token:read\"") + "allowed_networks = [\"203.0.113.0/24\"]\n";
    for (proxies, forwarded, status) in [
        ("", &["203.0.113.9"][..], 401),
        ("trusted_proxies = [\"192.0.2.1\"]\n", &["203.0.113.9"], 401),
        ("trusted_proxies = [\"10.0.0.0/8\"]\n", &["203.0.113.9"], 200),
        ("trusted_proxies = [\"10.0.0.0/8\"]\n", &[], 401),
        // The client wrote the first address, the proxy the last one.
        ("trusted_proxies = [\"10.0.0.0/8\"]\n", &["203.0.113.9, 198.51.100.7"], 401),
        ("trusted_proxies = [\"10.0.0.0/8\"]\n", &["203.0.113.9", "198.51.100.7"], 401),
        ("trusted_proxies = [\"10.0.0.0/8\"]\n", &["198.51.100.7", "203.0.113.9, 10.0.0.7"], 200),
    ] {
        let setup = Setup::with_config(config_with_audit(&format!("\"off\"\n{proxies}"), &keys)).await;
        let mut headers = vec![("authorization", format!("Bearer {}", key('a')))];
        headers.extend(forwarded.iter().map(|value| ("x-forwarded-for", (*value).to_owned())));
        let response = setup.ask_with("GET", "/v1/apps/wx1/access_token", &headers, "").await;
        assert_eq!(response.status, status, "{proxies} {forwarded:?}");
    }
}

/// A key is replaced without a gap: both work, until the last day of the old one ends. The clock starts on 2026-05-28.
#[tokio::test]
async fn each_key_of_a_client_works_until_it_expires() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let keys = format!(
        "[[clients]]\nname = \"a\"\napps = [\"wx1\"]\nscopes = [\"admin\"]\n\
         keys = [{{ sha256 = \"{}\", expires = 2026-05-29 }}, {{ sha256 = \"{}\" }}]\n",
        digest('a'),
        digest('b')
    );
    let setup = Setup::new(&keys).await;
    let status = async |letter| setup.get("/v1/apps", &key(letter)).await.status;
    assert_eq!((status('a').await, status('b').await), (200, 200));
    setup.clock.advance(DAY);
    assert_eq!((status('a').await, status('b').await), (200, 200));
    setup.clock.advance(DAY);
    assert_eq!((status('a').await, status('b').await), (401, 200));
    assert_eq!(setup.classic(&key('a')).await.errcode(), 40125);
}

#[tokio::test]
async fn app_list_has_the_apps_of_the_key_and_no_secret() {
    let keys =
        [client('a', "\"wx1\"", "\"admin\", \"token:read\""), client('b', "\"*\"", "\"admin\"")].concat();
    let setup = Setup::new(&keys).await;
    let token = setup.token().await.json();
    let own = setup.get("/v1/apps", &key('a')).await;
    assert_eq!(own.json()["apps"].as_array().unwrap().len(), 1);
    let shown = json!({"appid": "wx1", "state": "ok", "expires_in": token["expires_in"], "in_doubt": false, "token_endpoint": "token"});
    has(&own.json()["apps"][0], &shown);
    let all = setup.get("/v1/apps", &key('b')).await;
    assert_eq!(all.json()["apps"].as_array().unwrap().len(), 2);
    assert_eq!(all.json()["apps"][1]["state"], "starting");
    assert!(!all.text.contains(token["access_token"].as_str().unwrap()));
}
