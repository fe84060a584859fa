//! The judge: starts the worker, kills it, and compares the ledger with the witness.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use fastrand::Rng;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;
use wxsub_core::clock::{Clock, SystemClock};
use wxsub_core::proto::{AppSecret, ConsentAction, ConsentRequest};
use wxsub_sandbox::{Journal, Sandbox};

use super::arguments::{Life, Sitting};
use super::database::{self, DeletionLock};
use super::disk::Disk;
use super::orders::{SCENE, SECRET, TEMPLATE, appid, is_row, user};
use super::plan::{Fault, Point};
use super::server::Postgres;
use super::verdict::Verdict;

/// How many orders each life gets: as many of each kind as a point is passed at most.
const ORDERS: u32 = 3 * MAX_PASSES;

/// How often a process passes its point at most; the last time, it is killed.
const MAX_PASSES: u32 = 3;

/// How many kills at random follow one kill at each point.
const AT_RANDOM: usize = 5;

/// The longest time until a kill at random.
const MAX_LIFE_MILLIS: u64 = 200;

/// A ledger, a witness, and what became of the lives of the worker.
struct Court {
    folder: TempDir,
    /// Where the ledger is, if the power fails with each kill. The journal is elsewhere.
    disk: Option<Disk>,
    /// Where the ledger is, if it is in a database.
    postgres: Option<Postgres>,
    address: String,
    sandbox: Sandbox,
    acknowledged: BTreeSet<u32>,
    next_order: u32,
    /// Kills, by their point; `None` for those at random.
    kills: BTreeMap<Option<Point>, u32>,
    survived: u32,
    /// How often the database was killed.
    database_kills: u32,
}

/// What ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    /// The worker, at a point.
    At(Point),
    /// The worker, at a random time.
    AtRandom,
    /// The database, at a random time.
    Database,
}

/// How many kills of the database follow those of the worker.
const DATABASE_KILLS: usize = 3;

/// Kills the worker so many times; then plants each fault and checks that it is found.
pub(super) async fn run(sitting: Sitting) {
    let Sitting { runs, seed, power_loss, postgres } = sitting;
    let (mut court, mut rng) = (Court::open(sitting).await, Rng::with_seed(seed));
    let points = court.points().map(Blow::At);
    let database = [Blow::Database; DATABASE_KILLS].into_iter().filter(|_| postgres);
    let turns: Vec<_> = points.chain([Blow::AtRandom; AT_RANDOM]).chain(database).collect();
    for (run, blow) in (0..runs).zip(turns.iter().cycle()) {
        court.live(*blow, rng.u32(1..=MAX_PASSES), None, &mut rng).await;
        if (run + 1).is_multiple_of(100) {
            println!("{} of {runs} runs", run + 1);
        }
    }
    let verdict = court.close(None).await;
    court.print();
    println!("{verdict}");
    assert!(verdict.is_clean(), "seed {seed}");
    for fault in Fault::ALL {
        if (*fault == Fault::IgnoreSyncs) != power_loss {
            continue;
        }
        let verdict = plant(*fault, sitting).await;
        let found = match fault {
            Fault::Requeue | Fault::IgnoreSyncs => &verdict.duplicated,
            Fault::AssumeSent => &verdict.mislabelled,
            Fault::EarlyReply | Fault::DeleteFirst => &verdict.lost,
            Fault::ForgetSettlements => &verdict.stuck,
        };
        assert!(!found.is_empty(), "the fault {} was not found: {verdict}", fault.as_str());
        println!("planted fault found: {}", fault.as_str());
    }
}

/// A few lives with a fault, killed where it does harm.
async fn plant(fault: Fault, sitting: Sitting) -> Verdict {
    let mut court = Court::open(sitting).await;
    let point = match fault {
        Fault::Requeue => Point::AfterRequest,
        Fault::AssumeSent => Point::BeforeConnect,
        Fault::EarlyReply => Point::BeforeEnqueue,
        Fault::DeleteFirst => Point::BeforeCopy,
        Fault::IgnoreSyncs => Point::AfterSettle,
        Fault::ForgetSettlements => return court.close(Some(fault)).await,
    };
    for _ in 0..3 {
        court.live(Blow::At(point), 1, Some(fault), &mut Rng::with_seed(1)).await;
    }
    court.close(Some(fault)).await
}

impl Court {
    async fn open(sitting: Sitting) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sandbox = Sandbox::new();
        sandbox.add_app(appid(), AppSecret::new(SECRET).unwrap(), [TEMPLATE.parse().unwrap()]);
        sandbox.set_journal(Journal::open(&folder.path().join("journal")).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(wxsub_sandbox::http::serve(listener, sandbox.clone(), pending()));
        let postgres = sitting.postgres.then(Postgres::start);
        if let Some(postgres) = &postgres {
            database::make_tables(postgres).await;
        }
        Self {
            folder,
            disk: sitting.power_loss.then(Disk::mount),
            postgres,
            address,
            sandbox,
            acknowledged: BTreeSet::new(),
            next_order: 0,
            kills: BTreeMap::new(),
            survived: 0,
            database_kills: 0,
        }
    }

    /// The file, or the URL of the database.
    fn ledger(&self) -> PathBuf {
        if let Some(postgres) = &self.postgres {
            return PathBuf::from(postgres.url());
        }
        self.data().join("ledger.db")
    }

    /// The application's database: a file, or the URL of a database.
    fn inbox(&self) -> PathBuf {
        self.postgres
            .as_ref()
            .map_or(self.data().join("inbox.db"), |postgres| database::other(postgres).into())
    }

    /// The points that a worker can come to.
    fn points(&self) -> impl Iterator<Item = Point> + use<> {
        let has_postgres = self.postgres.is_some();
        Point::ALL.iter().copied().filter(move |point| has_postgres || !point.needs_postgres())
    }

    /// Where the files of the worker are.
    fn data(&self) -> PathBuf {
        self.disk.as_ref().map_or(self.folder.path().to_owned(), Disk::mounted)
    }

    /// The orders that were not acknowledged; and new ones, whose users consent. A process acknowledges two or three before it is
    /// killed. If each got as many new ones, the last would get thousands.
    fn orders(&mut self) -> Vec<u32> {
        let waiting = (0..self.next_order).filter(|order| !self.acknowledged.contains(order));
        let mut orders: Vec<_> = waiting.collect();
        // With PostgreSQL, there are two kinds of rows.
        let most = if self.postgres.is_some() { 2 * ORDERS } else { ORDERS };
        while orders.len() < most as usize {
            let request = ConsentRequest::new(appid(), TEMPLATE, SCENE).unwrap();
            let openid = user(self.next_order).parse().unwrap();
            self.sandbox.consent(request, ConsentAction::Confirm { openid }).unwrap();
            orders.push(self.next_order);
            self.next_order += 1;
        }
        orders
    }

    /// One life of the worker.
    async fn live(&mut self, blow: Blow, passes: u32, fault: Option<Fault>, rng: &mut Rng) {
        let orders = self.orders();
        let (ledger, inbox) = (self.ledger(), self.inbox());
        let address = self.address.clone();
        let point = match blow {
            Blow::At(point) => Some(point),
            Blow::AtRandom | Blow::Database => None,
        };
        let life = Life { ledger, inbox, address, point, passes, fault, orders };
        let after = point.is_none().then(|| (Duration::from_millis(rng.u64(0..MAX_LIFE_MILLIS)), blow));
        if self.run(&life, after).await {
            *self.kills.entry(point).or_default() += 1;
        } else if blow != Blow::Database {
            self.survived += 1;
        }
    }

    /// Runs the worker, and returns whether it was killed.
    async fn run(&mut self, life: &Life, kill_after: Option<(Duration, Blow)>) -> bool {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(life.arguments()).stdout(Stdio::piped()).kill_on_drop(true);
        if life.fault == Some(Fault::IgnoreSyncs) {
            command.env("LD_PRELOAD", "libeatmydata.so");
        }
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let clock = SystemClock::new();
        let end = clock.now().mono + kill_after.map_or(Duration::MAX / 2, |(after, _)| after);
        let mut killed = false;
        let lock = match (life.point, &self.postgres) {
            (Some(Point::MidMove), Some(postgres)) => Some(DeletionLock::take(postgres).await),
            _ => None,
        };
        loop {
            tokio::select! {
                line = lines.next_line() => match line.unwrap() {
                    Some(line) => drop(self.acknowledged.insert(line.parse().unwrap())),
                    None => break,
                },
                () = async { lock.as_ref().unwrap().awaited().await }, if lock.is_some() && !killed => {
                    killed = true;
                    child.start_kill().unwrap();
                }
                () = clock.sleep_until(end), if kill_after.is_some() && !killed => {
                    killed = true;
                    match (kill_after, &mut self.postgres) {
                        (Some((_, Blow::Database)), Some(postgres)) => {
                            postgres.stop_immediately();
                            postgres.start_again();
                            self.database_kills += 1;
                        }
                        _ => child.start_kill().unwrap(),
                    }
                }
            }
        }
        use std::os::unix::process::ExitStatusExt;
        let status = child.wait().await.unwrap();
        assert!(status.success() || status.signal() == Some(9), "the worker failed: {status}");
        let killed = status.signal() == Some(9);
        if let Some(disk) = self.disk.as_mut().filter(|_| killed) {
            disk.lose_power();
        }
        if killed {
            database::end_leases(&life.ledger).await;
        }
        killed
    }

    /// One more life that is not killed, and the verdict.
    async fn close(&mut self, fault: Option<Fault>) -> Verdict {
        let orders = self.orders();
        let (ledger, inbox) = (self.ledger(), self.inbox());
        let address = self.address.clone();
        let life = Life { ledger, inbox, address, point: None, passes: 0, fault, orders };
        assert!(!self.run(&life, None).await, "the last life was killed");
        let journal = std::fs::read(self.folder.path().join("journal")).unwrap();
        Verdict::find(&self.ledger(), &journal, &self.acknowledged, is_row).await
    }

    fn print(&self) {
        println!("{:>6}  killed", "kills");
        for point in self.points() {
            println!("{:>6}  {}", self.kills.get(&Some(point)).copied().unwrap_or(0), point.as_str());
        }
        println!("{:>6}  at random", self.kills.get(&None).copied().unwrap_or(0));
        if self.postgres.is_some() {
            println!("{:>6}  the database, at random", self.database_kills);
        }
        println!("{:>6}  not killed: the point did not come", self.survived);
    }
}
