//! The judge: starts the worker, kills it, and compares the ledger with the witness.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use fastrand::Rng;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use wxsub_core::clock::{Clock, SystemClock};
use wxsub_sandbox::Sandbox;

use super::arguments::{Settings, WorkerRun};
use super::database::{self, Database, DeletionLock};
use super::disk::Disk;
use super::orders::{allow, is_row, start_weixin};
use super::plan::{Fault, Point};
use super::verdict::Verdict;

/// How many orders each run gets: as many of each kind as a point is passed at most.
const ORDERS: u32 = 3 * MAX_PASSES;

/// How often a process passes its point at most; the last time, it is killed.
const MAX_PASSES: u32 = 3;

/// How many kills at random follow one kill at each point.
const AT_RANDOM: usize = 5;

/// The longest time until a kill at random.
const MAX_RUN_MILLIS: u64 = 200;

/// A ledger, a witness, and what became of the runs of the worker.
struct KillTest {
    folder: TempDir,
    /// Where the ledger is, if the power fails with each kill. The journal is elsewhere.
    disk: Option<Disk>,
    database: Option<Database>,
    address: String,
    sandbox: Sandbox,
    acknowledged: BTreeSet<u32>,
    next_order: u32,
    kills: BTreeMap<Kill, u32>,
    survived: u32,
}

/// What ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Worker,
    Database,
}

/// What ends, and at which point of the worker's run; without a point, at a random time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Kill {
    target: Target,
    point: Option<Point>,
}

/// How many kills of a database at random follow those of the worker.
const DATABASE_KILLS: usize = 3;

/// Kills worker and database in turn, `runs` times. Then plants each fault, and checks that it is found.
pub(crate) async fn run(settings: Settings) {
    let Settings { runs, seed, power_loss, mariadb, .. } = settings;
    let (mut test, mut rng) = (KillTest::open(settings).await, Rng::with_seed(seed));
    let turns = test.turns();
    for (run, kill) in (0..runs).zip(turns.iter().cycle()) {
        test.run_and_kill(*kill, rng.u32(1..=MAX_PASSES), None, &mut rng).await;
        if (run + 1).is_multiple_of(100) {
            println!("{} of {runs} runs", run + 1);
        }
    }
    let verdict = test.close(None).await;
    test.print();
    println!("{verdict}");
    assert!(verdict.is_clean(), "seed {seed}");
    for fault in Fault::ALL {
        let is_planted = match fault {
            Fault::IgnoreSyncs => power_loss,
            Fault::DeleteFirst => !power_loss,
            // They have nothing to do with the application's database.
            _ => !power_loss && !mariadb,
        };
        if !is_planted {
            continue;
        }
        let verdict = plant(*fault, settings).await;
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

/// A few runs with a fault, killed where it does harm.
async fn plant(fault: Fault, settings: Settings) -> Verdict {
    let mut test = KillTest::open(settings).await;
    let point = match fault {
        Fault::Requeue => Point::AfterRequest,
        Fault::AssumeSent => Point::BeforeConnect,
        Fault::EarlyReply => Point::BeforeEnqueue,
        Fault::DeleteFirst => Point::BeforeCopy,
        Fault::IgnoreSyncs => Point::AfterSettle,
        Fault::ForgetSettlements => return test.close(Some(fault)).await,
    };
    for _ in 0..3 {
        let kill = Kill { target: Target::Worker, point: Some(point) };
        test.run_and_kill(kill, 1, Some(fault), &mut Rng::with_seed(1)).await;
    }
    test.close(Some(fault)).await
}

impl KillTest {
    async fn open(settings: Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (sandbox, address) = start_weixin(&folder.path().join("journal")).await;
        let database = match settings {
            Settings { postgres: true, .. } => Some(Database::start_postgres().await),
            Settings { mariadb: true, .. } => Some(Database::start_mariadb().await),
            _ => None,
        };
        Self {
            folder,
            disk: settings.power_loss.then(Disk::mount),
            database,
            address,
            sandbox,
            acknowledged: BTreeSet::new(),
            next_order: 0,
            kills: BTreeMap::new(),
            survived: 0,
        }
    }

    /// The file, or the URL of the database.
    fn ledger(&self) -> PathBuf {
        let url = self.database.as_ref().and_then(Database::ledger);
        url.unwrap_or_else(|| self.data().join("ledger.db"))
    }

    /// The application's database: a file, or the URL of a database.
    fn inbox(&self) -> PathBuf {
        self.database.as_ref().map_or_else(|| self.data().join("inbox.db"), Database::inbox)
    }

    /// The kills, which are repeated in this order.
    fn turns(&self) -> Vec<Kill> {
        let has_point = |point: &Point| match self.database {
            None => !point.is_of_own_inbox() && *point != Point::MidDelete,
            Some(Database::Postgres(_)) => true,
            Some(Database::Mariadb(_)) => point.is_of_copier(),
        };
        let points = || Point::ALL.iter().copied().filter(has_point).map(Some);
        let at = |target| move |point| Kill { target, point };
        let mut turns: Vec<_> = points().chain([None; AT_RANDOM]).map(at(Target::Worker)).collect();
        // A worker can kill a MariaDB.
        if self.database.as_ref().and_then(Database::target).is_some() {
            turns.extend(points().map(at(Target::Database)));
        }
        if self.database.is_some() {
            turns.extend([None; DATABASE_KILLS].map(at(Target::Database)));
        }
        turns
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
        let max = if matches!(self.database, Some(Database::Postgres(_))) { 2 * ORDERS } else { ORDERS };
        while orders.len() < max as usize {
            allow(&self.sandbox, self.next_order);
            orders.push(self.next_order);
            self.next_order += 1;
        }
        orders
    }

    /// A run that nothing kills.
    fn new_run(&mut self, fault: Option<Fault>) -> WorkerRun {
        let (orders, address) = (self.orders(), self.address.clone());
        WorkerRun {
            ledger: self.ledger(),
            inbox: self.inbox(),
            address,
            fault,
            orders,
            ..WorkerRun::default()
        }
    }

    /// Runs the worker once, and kills it or the database.
    async fn run_and_kill(&mut self, kill: Kill, passes: u32, fault: Option<Fault>, rng: &mut Rng) {
        let Kill { target, point } = kill;
        let database = self.database.as_ref().filter(|_| target == Target::Database);
        let target = database.and_then(Database::target).filter(|_| point.is_some());
        let run = WorkerRun { point, passes, target, ..self.new_run(fault) };
        let after = Duration::from_millis(rng.u64(0..MAX_RUN_MILLIS));
        if self.run(&run, Some((kill, after))).await {
            *self.kills.entry(kill).or_default() += 1;
        } else {
            self.survived += 1;
        }
    }

    /// Runs the worker, and returns whether what was to end was killed.
    async fn run(&mut self, run: &WorkerRun, kill: Option<(Kill, Duration)>) -> bool {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["worker", &serde_json::to_string(run).unwrap()])
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        if run.fault == Some(Fault::IgnoreSyncs) {
            command.env("LD_PRELOAD", "libeatmydata.so");
        }
        let lock = match run.point {
            Some(Point::MidMove) => Some(DeletionLock::take(&run.ledger).await),
            Some(Point::MidDelete) => Some(DeletionLock::take(&run.inbox).await),
            _ => None,
        };
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let clock = SystemClock::new();
        let target = kill.map(|(kill, _)| kill.target);
        let after = kill.filter(|(kill, _)| kill.point.is_none()).map(|(_, after)| after);
        let end = clock.now().mono + after.unwrap_or(Duration::MAX / 2);
        let mut killed = false;
        loop {
            let is_time = tokio::select! {
                line = lines.next_line() => match line.unwrap() {
                    Some(line) => {
                        self.acknowledged.insert(line.parse().unwrap());
                        false
                    }
                    None => break,
                },
                () = async { lock.as_ref().unwrap().awaited().await }, if lock.is_some() && !killed => true,
                () = clock.sleep_until(end), if after.is_some() && !killed => true,
                () = async { self.database.as_mut().unwrap().killed().await }, if run.target.is_some() && !killed => true,
            };
            if is_time {
                killed = true;
                match (target, &mut self.database) {
                    (Some(Target::Database), Some(database)) => database.kill(),
                    _ => child.start_kill().unwrap(),
                }
            }
        }
        use std::os::unix::process::ExitStatusExt;
        let status = child.wait().await.unwrap();
        assert!(status.success() || status.signal() == Some(9), "the worker failed: {status}");
        if status.success() {
            return killed && target == Some(Target::Database);
        }
        if let Some(disk) = &mut self.disk {
            disk.lose_power();
        }
        database::end_leases(&run.ledger).await;
        true
    }

    /// One more run that is not killed, and the verdict.
    async fn close(&mut self, fault: Option<Fault>) -> Verdict {
        let run = self.new_run(fault);
        assert!(!self.run(&run, None).await, "the last run was killed");
        let journal = std::fs::read(self.folder.path().join("journal")).unwrap();
        Verdict::find(&self.ledger(), &journal, &self.acknowledged, is_row).await
    }

    fn print(&self) {
        println!("{:>6}  killed", "kills");
        let turns: BTreeSet<_> = self.turns().into_iter().collect();
        for kill in turns {
            let target = if kill.target == Target::Database { "the database, " } else { "" };
            let point = kill.point.map_or("at random", Point::as_str);
            println!("{:>6}  {target}{point}", self.kills.get(&kill).copied().unwrap_or(0));
        }
        println!("{:>6}  not killed: the point did not come", self.survived);
    }
}
