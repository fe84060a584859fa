//! What an operator meets: rights, tables, restarts, TLS.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use tempfile::TempDir;
use tokio::net::TcpListener;
use wxsub_core::clock::{Clock, SystemClock, timeout_at};
use wxsub_mysql::{MysqlInbox, MysqlOptions};
use wxsub_outbox::inbox::{Inbox, InboxError};
use wxsub_outbox::testing::inbox_conformance::{InboxTable, numbered_row};
use wxsub_test_support::{Authority, Mariadb, memory_folder};
use wxsub_tls::Roots;

use super::conformance::Table;

async fn refusal(options: MysqlOptions) -> String {
    match MysqlInbox::connect(options).await {
        Err(InboxError::Refused(text)) => text.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
#[ignore = "needs mariadb-server: scripts/test runs it"]
async fn what_is_missing_is_named_at_the_start() {
    let server = Mariadb::start();
    let table = Table::make(&server, "shop").await;
    server
        .run(&["CREATE USER few", "CREATE USER locked IDENTIFIED BY 'right'", "CREATE DATABASE empty"])
        .await;
    let few = MysqlOptions::new(&server.url("few", "shop")).unwrap();
    let on_table = "ON shop.wxsub_inbox TO few";
    for (grant, missing) in [
        (None, "Access denied"),
        (Some("SELECT"), "UPDATE command denied"),
        (Some("UPDATE (error)"), "DELETE command denied"),
    ] {
        if let Some(grant) = grant {
            server.run(&[&format!("GRANT {grant} {on_table}")]).await;
        }
        let text = refusal(few.clone()).await;
        assert!(text.contains(missing) && text.contains("grant the rights"), "{text}");
    }
    server.run(&[&format!("GRANT DELETE {on_table}")]).await;
    MysqlInbox::connect(few).await.unwrap();

    server.run(&["GRANT ALL ON empty.* TO wxsub"]).await;
    let empty = || MysqlOptions::new(&server.url("wxsub", "empty")).unwrap();
    let text = refusal(empty()).await;
    assert!(text.contains("wxsub_inbox' doesn't exist") && text.contains("make the table"), "{text}");
    server.run(&["CREATE TABLE empty.wxsub_inbox ENGINE = MyISAM SELECT * FROM shop.wxsub_inbox"]).await;
    let text = refusal(empty()).await;
    assert!(text.contains("MyISAM") && text.contains("InnoDB"), "{text}");

    let folder = TempDir::new().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "wrong\n").unwrap();
    server.run(&["GRANT ALL ON shop.* TO locked"]).await;
    let locked = MysqlOptions::new(&server.url("locked", "shop")).unwrap().password_file(&password);
    let text = refusal(locked.clone()).await;
    assert!(text.contains("Access denied") && text.contains("password file"), "{text}");
    assert!(!text.contains("wrong"), "{text}");
    std::fs::write(&password, "right\n").unwrap();
    MysqlInbox::connect(locked.clone()).await.unwrap();
    let text = refusal(locked.password_file(folder.path().join("none"))).await;
    assert!(text.contains("none: No such file") && text.contains("readable"), "{text}");

    server.run(&["SET GLOBAL read_only = 1"]).await;
    let text = refusal(table.options()).await;
    assert!(text.contains("read-only") && text.contains("connect to the primary"), "{text}");
}

/// For example a process that is stopped: the kernel accepts connections.
#[tokio::test]
#[ignore = "needs mariadb-server: scripts/test runs it"]
async fn a_server_that_accepts_and_does_not_respond_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("mysql://wxsub@{}/shop", listener.local_addr().unwrap());
    let clock = SystemClock::new();
    let connecting = MysqlInbox::connect(MysqlOptions::new(&url).unwrap());
    let connected = timeout_at(&clock, clock.now().mono + Duration::from_secs(30), connecting).await;
    match connected.expect("the client gives up") {
        Err(InboxError::Unavailable(what)) => assert!(what.contains("10 s"), "{what}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
#[ignore = "needs mariadb-server: scripts/test runs it"]
async fn a_lost_connection_is_made_again() {
    let mut server = Mariadb::start();
    Table::make(&server, "shop").await;
    let table = |server| Table { server, database: "shop".to_owned() };
    table(&server).insert(numbered_row(1)).await;
    let mut inbox = table(&server).inbox().await;
    let end_all = async |server: &Mariadb| {
        let mut root = server.root(None).await;
        let select = "SELECT id FROM information_schema.processlist WHERE user = 'wxsub'";
        for id in root.query::<u64, _>(select).await.unwrap() {
            root.query_drop(format!("KILL CONNECTION {id}")).await.unwrap();
        }
    };
    assert_eq!(inbox.read(9).await.unwrap().len(), 1);
    end_all(&server).await;
    // The ledger has the message by now; the row is deleted after the next read.
    let ended = inbox.finish(vec![numbered_row(1).id], Vec::new()).await;
    assert!(matches!(ended, Err(InboxError::Unavailable(_))), "{ended:?}");
    assert_eq!(inbox.read(9).await.unwrap().len(), 1);
    inbox.finish(vec![numbered_row(1).id], Vec::new()).await.unwrap();
    assert_eq!(table(&server).rows().await, []);

    table(&server).insert(numbered_row(2)).await;
    server.kill();
    for _ in 0..2 {
        let away = inbox.read(9).await;
        assert!(matches!(away, Err(InboxError::Unavailable(_))), "{away:?}");
    }
    let url = server.url("wxsub", "shop");
    let away = MysqlInbox::connect(MysqlOptions::new(&url).unwrap()).await;
    assert!(matches!(&away, Err(InboxError::Unavailable(text)) if text.contains("refused")), "{away:?}");
    server.start_again();
    assert_eq!(inbox.read(9).await.unwrap().len(), 1);
}

fn roots(authority: &Authority) -> Roots {
    Roots::Pem(authority.pem.clone().into_bytes())
}

#[tokio::test]
#[ignore = "needs mariadb-server: scripts/test runs it"]
async fn the_certificate_of_the_server_is_checked() {
    let (authority, folder) = (Authority::new("ours"), memory_folder());
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let [certificate, key] = authority.certify("localhost");
    let certificate = Mariadb::file(folder.path(), "certificate.pem", &certificate);
    let key = Mariadb::file(folder.path(), "key.pem", &key);
    let settings = [format!("--ssl-cert={}", certificate.display()), format!("--ssl-key={}", key.display())];
    let server = Mariadb::with(&settings.each_ref().map(String::as_str));
    Table::make(&server, "shop").await;
    server.run(&["ALTER USER wxsub REQUIRE SSL"]).await;
    let url = server.url("wxsub", "shop").replace("127.0.0.1", "localhost");
    let options = || MysqlOptions::new(&url).unwrap();
    let mut inbox = MysqlInbox::connect(options().always_encrypted().roots(roots(&authority))).await.unwrap();
    assert_eq!(inbox.read(9).await.unwrap(), []);
    let text = refusal(options().always_encrypted().roots(roots(&Authority::new("ours")))).await;
    assert!(text.contains("issuer is not among the trusted"), "{text}");
    let by_address = MysqlOptions::new(&server.url("wxsub", "shop")).unwrap();
    let text = refusal(by_address.always_encrypted().roots(roots(&authority))).await;
    assert!(text.contains("for another host name"), "{text}");
    let text = refusal(options()).await;
    assert!(text.contains("Access denied"), "the user must encrypt: {text}");

    let plain = Mariadb::with(&["--skip-ssl"]);
    Table::make(&plain, "shop").await;
    let url = plain.url("wxsub", "shop").replace("127.0.0.1", "localhost");
    let options = MysqlOptions::new(&url).unwrap().always_encrypted().roots(roots(&authority));
    let text = refusal(options).await;
    assert!(text.contains("has no TLS"), "{text}");
}
