//! The two `wxsub serve` processes, and their database.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio_postgres::Client;
use wxsub_core::clock::{Clock, SystemClock};
use wxsub_server::{ApiKeyDigest, generate_api_key};
use wxsub_test_support::{Postgres, WAIT_TIMEOUT, free_port};

use super::super::database;
use super::super::orders::{APP, SECRET, pause};
use super::super::plan::Fault;
use super::receiver::Receiver;

/// How long the servers may take for what is left when no more is asked of them: longer than a lease.
const END_TIMEOUT: Duration = Duration::from_secs(100);

/// The same with a fault, which may keep them from it.
const FAULTY_END_TIMEOUT: Duration = Duration::from_secs(4);

/// As if the last heartbeat of all other workers were longer ago than a lease.
const END_LEASES: &str =
    "UPDATE wxsub_worker SET beat_ms = beat_ms - 61000 WHERE gone_ms IS NULL AND id::text <> ALL($1)";

/// As if all webhooks were tried longer ago than their lease, and than the delay after a failure.
const END_DELIVERY_LEASES: &str =
    "UPDATE wxsub_webhook_delivery SET due_ms = 0 WHERE attempt > 0 AND due_ms IS NOT NULL";

/// As if the keys of the last messages were recorded after them, in a transaction of their own.
const FORGET_KEYS: &str = "DELETE FROM wxsub_key WHERE message_id IN
    (SELECT id FROM wxsub_message WHERE created_ms > extract(epoch FROM clock_timestamp()) * 1000 - 1000)";

/// Each attempt of a webhook gets an id of its own.
const NEW_WEBHOOK_IDS: &str = "CREATE FUNCTION new_id() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN NEW.sequence = NEW.sequence + 1000; RETURN NEW; END $$;
    CREATE TRIGGER new_id BEFORE UPDATE ON wxsub_webhook_delivery FOR EACH ROW EXECUTE FUNCTION new_id()";

const WORKERS: &str = "SELECT id::text FROM wxsub_worker
    WHERE gone_ms IS NULL AND beat_ms > extract(epoch FROM clock_timestamp()) * 1000 - 50000";

const UNFINISHED: &str = "SELECT (SELECT count(*) FROM wxsub_message WHERE state IN ('queued', 'attempting'))
    + (SELECT count(*) FROM wxsub_webhook_delivery)";

/// A fault that the judge must find. Statements change the database, as a server with this fault would have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServerFault {
    /// Attempts are queued again at each kill: what job queues do.
    Requeue,
    /// The keys of the last messages are lost at each kill: they were not recorded together with them.
    ForgetKeys,
    /// Each attempt of a webhook has an id of its own.
    NewWebhookIds,
}

/// What ends: servers, or their database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kill {
    One(usize),
    Both,
    Database,
}

pub(super) struct Servers {
    postgres: Postgres,
    sql: Client,
    folder: TempDir,
    binary: PathBuf,
    fault: Option<ServerFault>,
    pub(super) addresses: [String; 2],
    /// What the clients present.
    pub(super) key: String,
    children: Vec<Child>,
    /// Under which id each works on the ledger, as soon as that is known.
    workers: [Option<String>; 2],
    kills: BTreeMap<Kill, u32>,
}

impl Servers {
    pub(super) async fn start(
        folder: TempDir,
        weixin: &str,
        receiver: &Receiver,
        fault: Option<ServerFault>,
    ) -> Self {
        let postgres = Postgres::start();
        let key = generate_api_key().unwrap();
        let secret = folder.path().join("hook");
        fs::write(&secret, &receiver.secret).unwrap();
        let addresses = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
        for address in &addresses {
            let text = format!(
                "listen = \"{address}\"\naudit = \"off\"\n\
                 [[apps]]\nappid = \"{APP}\"\nsecret_env = \"APP_SECRET\"\ntoken_endpoint = \"stable_token\"\n\
                 api_base = \"http://{weixin}\"\nrequire_grant = true\nrequire_idempotency_key = true\n\
                 [[clients]]\nname = \"shop\"\nkey_sha256 = \"{}\"\napps = [\"*\"]\n\
                 scopes = [\"message:send\", \"outbox:write\", \"consent\"]\n\
                 [ledger]\nurl = \"{}\"\n\
                 [[webhooks]]\nurl = \"{}\"\nsecret_files = [{secret:?}]\napps = [\"*\"]\n",
                ApiKeyDigest::of(&key),
                postgres.url(),
                receiver.url,
            );
            fs::write(configuration(folder.path(), address), text).unwrap();
        }
        // Cargo puts it beside the folder of the tests.
        let binary = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("wxsub");
        assert!(binary.exists(), "{} is missing: run scripts/kill-test", binary.display());
        let (sql, key) = (postgres.sql().await, key.expose_secret().to_owned());
        let (children, workers, kills) = (Vec::new(), [None, None], BTreeMap::new());
        let mut servers =
            Self { postgres, sql, folder, binary, fault, addresses, key, children, workers, kills };
        for server in [0, 1] {
            let child = servers.spawn(server);
            servers.children.push(child);
            servers.find_worker(server).await;
        }
        if fault == Some(ServerFault::NewWebhookIds) {
            servers.sql.batch_execute(NEW_WEBHOOK_IDS).await.unwrap();
        }
        servers
    }

    /// The URL of the database.
    pub(super) fn ledger(&self) -> PathBuf {
        PathBuf::from(self.postgres.url())
    }

    fn spawn(&self, server: usize) -> Child {
        let address = &self.addresses[server];
        let log = File::options().create(true).append(true).open(self.log(server)).unwrap();
        let mut command = Command::new(&self.binary);
        command.args(["serve", "--config"]).arg(configuration(self.folder.path(), address));
        command.env("APP_SECRET", SECRET).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        command.spawn().unwrap()
    }

    fn log(&self, server: usize) -> PathBuf {
        self.folder.path().join(format!("{server}.log"))
    }

    /// Ends servers or their database without a warning, and starts them again. What servers left behind is soon older than its
    /// lease.
    pub(super) async fn kill(&mut self, kill: Kill) {
        *self.kills.entry(kill).or_default() += 1;
        let killed = match kill {
            Kill::One(server) => vec![server],
            Kill::Both => vec![0, 1],
            Kill::Database => {
                self.postgres.stop_immediately();
                self.postgres.start_again();
                self.sql = self.postgres.sql().await;
                return;
            }
        };
        for server in [0, 1] {
            self.assert_alive(server);
            // Else it would not be known which workers have ended.
            if !killed.contains(&server) {
                self.find_worker(server).await;
            }
        }
        for server in &killed {
            self.children[*server].kill().await.unwrap();
            self.workers[*server] = None;
        }
        let alive: Vec<_> = self.workers.iter().flatten().collect();
        self.sql.execute(END_LEASES, &[&alive]).await.unwrap();
        self.sql.execute(END_DELIVERY_LEASES, &[]).await.unwrap();
        match self.fault {
            Some(ServerFault::Requeue) => database::falsify(&self.ledger(), Fault::Requeue).await,
            Some(ServerFault::ForgetKeys) => self.sql.batch_execute(FORGET_KEYS).await.unwrap(),
            Some(ServerFault::NewWebhookIds) | None => {}
        }
        for server in &killed {
            self.children[*server] = self.spawn(*server);
        }
    }

    /// # Panics
    /// If a server ended by itself.
    fn assert_alive(&mut self, server: usize) {
        if let Some(status) = self.children[server].try_wait().unwrap() {
            let log = fs::read_to_string(self.log(server)).unwrap();
            panic!("a server ended by itself: {status}\n{log}");
        }
    }

    /// Waits until the server has registered its worker.
    async fn find_worker(&mut self, server: usize) {
        let clock = SystemClock::new();
        let end = clock.now().mono + WAIT_TIMEOUT;
        while self.workers[server].is_none() {
            self.assert_alive(server);
            assert!(clock.now().mono < end, "a server does not register its worker");
            let rows = self.sql.query(WORKERS, &[]).await.unwrap_or_default();
            let mut ids = rows.iter().map(|row| row.get::<_, String>(0));
            self.workers[server] = ids.find(|id| !self.workers.iter().flatten().any(|known| known == id));
            pause(20).await;
        }
    }

    /// Waits until all messages are final and all webhooks are delivered; gives up if that takes too long.
    pub(super) async fn wait_until_idle(&mut self) {
        let clock = SystemClock::new();
        self.sql.execute(END_DELIVERY_LEASES, &[]).await.unwrap();
        let end = clock.now().mono + if self.fault.is_some() { FAULTY_END_TIMEOUT } else { END_TIMEOUT };
        while self.sql.query_one(UNFINISHED, &[]).await.unwrap().get::<_, i64>(0) > 0
            && clock.now().mono < end
        {
            pause(50).await;
        }
        [0, 1].into_iter().for_each(|server| self.assert_alive(server));
    }

    /// How many webhooks were not delivered.
    pub(super) async fn undelivered(&self) -> i64 {
        let count = "SELECT count(*) FROM wxsub_webhook_delivery";
        self.sql.query_one(count, &[]).await.unwrap().get(0)
    }
}

fn configuration(folder: &Path, address: &str) -> PathBuf {
    folder.join(format!("{address}.toml"))
}

impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kills = [Kill::One(0), Kill::One(1), Kill::Both, Kill::Database];
        let [first, second, both, database] =
            kills.map(|kill| self.kills.get(&kill).copied().unwrap_or_default());
        write!(
            f,
            "kills: {first} of the first server, {second} of the second, {both} of both, {database} of the database"
        )
    }
}
