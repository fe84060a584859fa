//! What is refused when a ledger connects, in words that say what to do.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use wxsub_core::clock::{Clock, SystemClock};
use wxsub_core::testing::ManualClock;
use wxsub_outbox::{Ledger, LedgerError};
use wxsub_postgres::{ConnectError, PostgresLedger, PostgresOptions, ServerProblem};
use wxsub_tls::Roots;

use ServerProblem::{
    ChangedSchema, Login, MissingRight, NewerVersion, NoDatabase, OlderVersion, ReadOnly, TooManyConnections,
    TransactionPooler, Unreachable,
};
use wxsub_test_support::postgres::{self, PASSWORD};
use wxsub_test_support::{Authority, Postgres, Stream, free_port, wait_for};

use super::fixture::Process;

async fn refusal(options: PostgresOptions) -> ConnectError {
    PostgresLedger::connect(options).await.unwrap_err()
}

async fn problem(options: PostgresOptions) -> ServerProblem {
    match refusal(options).await {
        ConnectError::Server { problem, .. } => problem,
        other => panic!("{other}"),
    }
}

macro_rules! assert_problem {
    ($options:expr, $($pattern:tt)+) => {
        let problem = problem($options).await;
        assert!(matches!(&problem, $($pattern)+), "{problem}");
    };
}

fn tcp(postgres: &Postgres, user: &str) -> String {
    format!("postgres://{user}@127.0.0.1:{}/postgres", postgres.port)
}

#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn each_reason_has_its_words() {
    let postgres = Postgres::start();
    let sql = postgres.sql().await;
    let right = postgres.file("right", &format!("{PASSWORD}\n"));
    let wrong = postgres.file("wrong", "open");
    let with = |url: &str| PostgresOptions::new(url);
    let url = tcp(&postgres, "postgres");
    drop(PostgresLedger::connect(with(&url).password_file(&right)).await.unwrap());

    assert_problem!(with(&url).password_file(&wrong), Login(_));
    assert_problem!(with(&url), Login(_));
    let error = refusal(with(&url).password_file("/nowhere")).await;
    assert!(matches!(error, ConnectError::PasswordFile(_)), "{error}");
    assert_problem!(with(&format!("{}?dbname=nothing", postgres.url())), NoDatabase(_));
    let no_server = format!("postgres://postgres@127.0.0.1:{}/postgres", free_port());
    assert_problem!(with(&no_server), Unreachable(_));

    sql.batch_execute("CREATE ROLE few LOGIN CONNECTION LIMIT 1").await.unwrap();
    assert_problem!(with(&postgres.url_as("few")), TooManyConnections(_));

    sql.batch_execute("CREATE SCHEMA empty").await.unwrap();
    assert_problem!(
        with(&postgres.url_in_schema("empty")).migrate(false),
        OlderVersion { found: 0, known: 1 }
    );
    sql.batch_execute("UPDATE wxsub_schema SET checksum = 'x'").await.unwrap();
    assert_problem!(with(&postgres.url()), ChangedSchema(1));
    sql.batch_execute("UPDATE wxsub_schema SET version = 99").await.unwrap();
    assert_problem!(with(&postgres.url()), NewerVersion { found: 99, known: 1 });

    sql.batch_execute("ALTER DATABASE postgres SET default_transaction_read_only = on").await.unwrap();
    assert_problem!(with(&postgres.url()), ReadOnly);
}

/// For example a pooler with too much to do, or a process that is stopped: the kernel accepts connections.
#[tokio::test]
async fn a_server_that_accepts_and_does_not_respond_is_given_up() {
    let (listener, clock) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), Arc::new(ManualClock::new()));
    let url = format!("postgres://postgres@{}/postgres", listener.local_addr().unwrap());
    let options = PostgresOptions::new(url).clock(clock.clone());
    let accept = async {
        let _connection = listener.accept().await.unwrap();
        clock.advance(Duration::from_secs(10));
        let real = SystemClock::new();
        real.sleep_until(real.now().mono + Duration::from_secs(20)).await;
    };
    tokio::select! {
        problem = problem(options) => {
            assert!(matches!(&problem, Unreachable(what) if what.contains("10 s")), "{problem}");
        }
        () = accept => panic!("the client still waits"),
    }
}

/// A replica alone is refused. With both servers in the URL, the process goes on when the replica has become the primary.
#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn a_process_follows_a_failover() {
    let mut primary = Postgres::start();
    let process = Process::start(&primary).await;
    let replica = primary.replica();
    assert_problem!(PostgresOptions::new(replica.url()).migrate(false), ReadOnly);
    for url in [replica.url_with(&primary), primary.url_with(&replica)] {
        let process = Process::connect(&url).await;
        process.enqueue(process.message("o")).await.unwrap();
    }
    let follower = Process::connect(&primary.url_with(&replica)).await;
    let new = process.message("o");
    let id = new.id;
    process.enqueue(new).await.unwrap();
    // The replica has it.
    let sql = replica.sql().await;
    let replayed = "SELECT count(*) FROM wxsub_message WHERE id = $1::text::uuid";
    while sql.query_one(replayed, &[&id.to_string()]).await.unwrap().get::<_, i64>(0) == 0 {
        tokio::task::yield_now().await;
    }
    primary.stop_immediately();
    assert!(matches!(follower.apply(follower.claim(1)).await, Err(LedgerError::Unavailable(_))));
    sql.query_one("SELECT pg_promote()", &[]).await.unwrap();
    assert_eq!(follower.claimed(1).await.len(), 1);
    assert_eq!(follower.ledger.message(id).await.unwrap().unwrap().id, id);
}

#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn a_missing_right_is_named() {
    let postgres = Postgres::start();
    let sql = postgres.sql().await;
    drop(PostgresLedger::connect(PostgresOptions::new(postgres.url())).await.unwrap());
    sql.batch_execute("CREATE ROLE worker LOGIN").await.unwrap();
    let as_worker = || PostgresOptions::new(postgres.url_as("worker"));
    let error = refusal(as_worker()).await;
    assert!(error.to_string().contains("wxsub_schema"), "{error}");
    let rights = super::conformance::rights("public", "worker");
    sql.batch_execute(&rights).await.unwrap();
    drop(PostgresLedger::connect(as_worker()).await.unwrap());
    sql.batch_execute("REVOKE DELETE ON wxsub_event FROM worker; REVOKE INSERT ON wxsub_key FROM worker")
        .await
        .unwrap();
    let missing = "DELETE on wxsub_event, INSERT on wxsub_key".to_owned();
    assert_eq!(problem(as_worker()).await, MissingRight(missing));
    // The owner must make the tables.
    sql.batch_execute("CREATE SCHEMA other; GRANT USAGE ON SCHEMA other TO worker").await.unwrap();
    let other = format!("{}?options=-csearch_path%3Dother", postgres.url_as("worker"));
    assert_problem!(PostgresOptions::new(other), MissingRight(_));
}

#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn the_certificate_of_the_server_is_verified() {
    let mut postgres = Postgres::start();
    let trusted = Authority::new("ours");
    let [certificate, key] = trusted.certify("127.0.0.1");
    let certificate = postgres.file("certificate.pem", &certificate);
    let key = postgres.file("key.pem", &key);
    postgres.stop_immediately();
    postgres.set(&format!("ssl_cert_file={}", certificate.display()));
    postgres.set(&format!("ssl_key_file={}", key.display()));
    postgres.set("ssl=on");
    postgres.start_again();
    let password = postgres.file("right", PASSWORD);
    let options = |host: &str, roots: &str| {
        let url = format!("postgres://postgres@{host}:{}/postgres?sslmode=verify-full", postgres.port);
        PostgresOptions::new(url).password_file(&password).roots(Roots::Pem(roots.as_bytes().to_vec()))
    };
    let encrypted = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE ssl";
    let ledger = PostgresLedger::connect(options("127.0.0.1", &trusted.pem)).await.unwrap();
    let sessions = postgres.sql().await.query_one(encrypted, &[]).await.unwrap().get::<_, i64>(0);
    assert!(sessions >= 2, "{sessions}");
    drop(ledger);
    for (host, roots) in [("127.0.0.1", Authority::new("unknown").pem), ("localhost", trusted.pem)] {
        assert_problem!(options(host, &roots), Unreachable(what) if what.contains("certificate"));
    }
}

/// A PgBouncer in front of a database. The process ends with its value.
struct Pooler {
    url: String,
    _process: wxsub_test_support::Process,
}

impl Pooler {
    fn start(postgres: &Postgres, mode: &str) -> Self {
        let port = free_port();
        let users = postgres.file("users", &format!("\"postgres\" \"{PASSWORD}\"\n"));
        let settings = format!(
            "[databases]\npostgres = host=127.0.0.1 port={} dbname=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = plain\nauth_file = {}\npool_mode = {mode}\n",
            postgres.port,
            users.display(),
        );
        let settings: PathBuf = postgres.file(&format!("{mode}.ini"), &settings);
        let mut program = postgres::command("pgbouncer");
        let process = wxsub_test_support::Process::spawn(program.arg(settings), Stream::Stderr);
        wait_for("PgBouncer", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { url: format!("postgres://postgres@127.0.0.1:{port}/postgres"), _process: process }
    }
}

#[tokio::test]
#[ignore = "needs postgresql: scripts/test runs it"]
async fn a_pooler_works_in_session_mode_and_is_refused_in_transaction_mode() {
    let postgres = Postgres::start();
    let password = postgres.file("right", PASSWORD);
    let modes = ["session", "statement"].into_iter().chain(["transaction"; 10]);
    for mode in modes {
        let pooler = Pooler::start(&postgres, mode);
        let connected =
            PostgresLedger::connect(PostgresOptions::new(&pooler.url).password_file(&password)).await;
        match mode {
            "session" => {
                let other = Process::start(&postgres).await;
                other.enqueue(other.message("o")).await.unwrap();
                connected.unwrap().notified().await;
            }
            "transaction" => {
                let error = connected.expect_err("not refused");
                assert!(matches!(error, ConnectError::Server { problem: TransactionPooler, .. }), "{error}");
            }
            _ => assert!(connected.is_err()),
        }
    }
}
