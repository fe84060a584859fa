//! A new configuration while requests come.

use super::setup::{ALL, TOKEN, World, client, config, key, usual};

#[tokio::test]
async fn a_reload_keeps_tokens_and_revokes_keys() {
    let world = World::new(&(usual() + &client('b', "\"wx1\"", ALL))).await;
    let token = world.token().await.access_token();
    world.server.reload(&config(&client('b', "\"wx1\"", ALL)));
    assert_eq!(world.token().await.status, 401);
    let same = world.get("/v1/apps/wx1/access_token", &key('b')).await;
    assert_eq!(same.access_token(), token);
    world.pass(1).await;
    // Both apps have got their token ahead of time.
    assert_eq!(world.seen(TOKEN), 2);
}

#[tokio::test]
async fn an_app_that_is_changed_goes_on_with_its_token() {
    let world = World::new(&usual()).await;
    let before = world.token().await;
    let changed = "[[apps]]\nappid = \"wx1\"\nsecret_env = \"OTHER\"\napi_base = \"http://127.0.0.1:1\"\n";
    let text = format!("audit = \"off\"\n{changed}{}", usual());
    let (changed, _) = wxsub_server::Config::read(&text, |_| Some("another-secret".to_owned())).unwrap();
    world.server.reload(&changed);
    let after = world.token().await;
    assert_eq!(after.access_token(), before.access_token());
    assert_eq!(after.json()["generation"], before.json()["generation"]);
    assert_eq!(world.seen(TOKEN), 1);
    assert_eq!(world.get("/v1/apps/wx2/access_token", &key('a')).await.status, 403);
}
