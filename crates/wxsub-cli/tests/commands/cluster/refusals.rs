//! What Redis refuses is shown until it is corrected, and the correction needs no restart.

use serde_json::{Value, json};
use wxsub_test_support::Redis;

use super::super::served::{KEY, Served, config};
use super::super::weixin::Weixin;
use super::super::wxsub::{file, wxsub};

#[test]
#[ignore = "needs redis-server: scripts/test runs it"]
fn wrong_password_is_shown_until_its_file_is_corrected() {
    let (redis, weixin) = (Redis::with(&["--requirepass", "SESAME"]), Weixin::start());
    let password = file("refused_password", "SWORDFISH");
    let store = format!("[store]\nredis = \"{}\"\nredis_password_file = \"{password}\"\n", redis.address());
    let server = Served::start(&config("refused-shown.toml", &weixin.base, &store));
    let logged = server.wait_until_it_says("token store failed");
    assert!(logged.contains("wrong_credentials") && logged.contains("fix_config"), "{logged}");
    let apps: Value = serde_json::from_str(&server.get("/v1/apps", KEY).1).unwrap();
    let problem = &apps["apps"][0]["store"];
    assert_eq!(
        (&problem["kind"], &problem["remedy"]),
        (&json!("wrong_credentials"), &json!("fix_config")),
        "{apps}"
    );
    let status = wxsub(&["status"]).env("WXSUB_SERVER", &server.base).env("WXSUB_KEY", KEY).run();
    assert!(status.out.contains("the token store refuses the user or the password"), "{status:?}");
    assert!(status.out.contains("correct the password file"), "{status:?}");
    let metrics = server.get("/metrics", KEY).1;
    assert!(metrics.contains("kind=\"wrong_credentials\",remedy=\"fix_config\"} 1"), "{metrics}");
    for text in [&logged, &status.out, &apps.to_string()] {
        assert!(!text.contains("SWORDFISH"), "{text}");
    }
    std::fs::write(&password, "SESAME").unwrap();
    server.wait_until_it_says("token store works again");
    server.token(KEY);
}
