//! A new configuration during requests.

use super::setup::{ALL, Setup, TOKEN, client, config, key, usual};

#[tokio::test]
async fn reload_keeps_tokens_and_revokes_keys() {
    let setup = Setup::new(&(usual() + &client('b', "\"wx1\"", ALL))).await;
    let token = setup.token().await.access_token();
    setup.server.reload(&config(&client('b', "\"wx1\"", ALL)));
    assert_eq!(setup.token().await.status, 401);
    let same = setup.get("/v1/apps/wx1/access_token", &key('b')).await;
    assert_eq!(same.access_token(), token);
    setup.pass(1).await;
    // Both apps have fetched their token at the start.
    assert_eq!(setup.seen(TOKEN), 2);
}

#[tokio::test]
async fn changed_app_keeps_its_token() {
    let setup = Setup::new(&usual()).await;
    let before = setup.token().await;
    let changed = "[[apps]]\nappid = \"wx1\"\nsecret_env = \"OTHER\"\napi_base = \"http://127.0.0.1:1\"\n";
    let text = format!("audit = \"off\"\n{changed}{}", usual());
    let (changed, _) = wxsub_server::Config::read(&text, |_| Some("another-secret".to_owned())).unwrap();
    setup.server.reload(&changed);
    let after = setup.token().await;
    assert_eq!(after.access_token(), before.access_token());
    assert_eq!(after.json()["generation"], before.json()["generation"]);
    assert_eq!(setup.seen(TOKEN), 1);
    assert_eq!(setup.get("/v1/apps/wx2/access_token", &key('a')).await.status, 403);
}
