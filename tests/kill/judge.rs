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

use super::arguments::{Life, Sitting};
use super::database::{self, Database, DeletionLock};
use super::disk::Disk;
use super::orders::{allow, is_row, start_weixin};
use super::plan::{Fault, Point};
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
    database: Option<Database>,
    address: String,
    sandbox: Sandbox,
    acknowledged: BTreeSet<u32>,
    next_order: u32,
    kills: BTreeMap<Blow, u32>,
    survived: u32,
}

/// What ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Victim {
    Worker,
    Database,
}

/// What ends, and at which point of the worker's life; without a point, at a random time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Blow {
    victim: Victim,
    point: Option<Point>,
}

/// How many kills of a database at random follow those of the worker.
const DATABASE_KILLS: usize = 3;

/// Kills the worker so many times; then plants each fault and checks that it is found.
pub(crate) async fn run(sitting: Sitting) {
    let Sitting { runs, seed, power_loss, mariadb, .. } = sitting;
    let (mut court, mut rng) = (Court::open(sitting).await, Rng::with_seed(seed));
    let turns = court.turns();
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
        let is_planted = match fault {
            Fault::IgnoreSyncs => power_loss,
            Fault::DeleteFirst => !power_loss,
            // They have nothing to do with the application's database.
            _ => !power_loss && !mariadb,
        };
        if !is_planted {
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
        let blow = Blow { victim: Victim::Worker, point: Some(point) };
        court.live(blow, 1, Some(fault), &mut Rng::with_seed(1)).await;
    }
    court.close(Some(fault)).await
}

impl Court {
    async fn open(sitting: Sitting) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (sandbox, address) = start_weixin(&folder.path().join("journal")).await;
        let database = match sitting {
            Sitting { postgres: true, .. } => Some(Database::start_postgres().await),
            Sitting { mariadb: true, .. } => Some(Database::start_mariadb().await),
            _ => None,
        };
        Self {
            folder,
            disk: sitting.power_loss.then(Disk::mount),
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
    fn turns(&self) -> Vec<Blow> {
        let has_point = |point: &Point| match self.database {
            None => !point.is_of_own_inbox() && *point != Point::MidDelete,
            Some(Database::Postgres(_)) => true,
            Some(Database::Mariadb(_)) => point.is_of_copier(),
        };
        let points = || Point::ALL.iter().copied().filter(has_point).map(Some);
        let at = |victim| move |point| Blow { victim, point };
        let mut turns: Vec<_> = points().chain([None; AT_RANDOM]).map(at(Victim::Worker)).collect();
        // A worker can kill a MariaDB.
        if self.database.as_ref().and_then(Database::victim).is_some() {
            turns.extend(points().map(at(Victim::Database)));
        }
        if self.database.is_some() {
            turns.extend([None; DATABASE_KILLS].map(at(Victim::Database)));
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
        let most = if matches!(self.database, Some(Database::Postgres(_))) { 2 * ORDERS } else { ORDERS };
        while orders.len() < most as usize {
            allow(&self.sandbox, self.next_order);
            orders.push(self.next_order);
            self.next_order += 1;
        }
        orders
    }

    /// A life that is not ended.
    fn life(&mut self, fault: Option<Fault>) -> Life {
        let (orders, address) = (self.orders(), self.address.clone());
        Life { ledger: self.ledger(), inbox: self.inbox(), address, fault, orders, ..Life::default() }
    }

    /// One life of the worker.
    async fn live(&mut self, blow: Blow, passes: u32, fault: Option<Fault>, rng: &mut Rng) {
        let Blow { victim, point } = blow;
        let database = self.database.as_ref().filter(|_| victim == Victim::Database);
        let victim = database.and_then(Database::victim).filter(|_| point.is_some());
        let life = Life { point, passes, victim, ..self.life(fault) };
        let after = Duration::from_millis(rng.u64(0..MAX_LIFE_MILLIS));
        if self.run(&life, Some((blow, after))).await {
            *self.kills.entry(blow).or_default() += 1;
        } else {
            self.survived += 1;
        }
    }

    /// Runs the worker, and returns whether what was to end was killed.
    async fn run(&mut self, life: &Life, kill: Option<(Blow, Duration)>) -> bool {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["worker", &serde_json::to_string(life).unwrap()])
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        if life.fault == Some(Fault::IgnoreSyncs) {
            command.env("LD_PRELOAD", "libeatmydata.so");
        }
        let lock = match life.point {
            Some(Point::MidMove) => Some(DeletionLock::take(&life.ledger).await),
            Some(Point::MidDelete) => Some(DeletionLock::take(&life.inbox).await),
            _ => None,
        };
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let clock = SystemClock::new();
        let victim = kill.map(|(blow, _)| blow.victim);
        let after = kill.filter(|(blow, _)| blow.point.is_none()).map(|(_, after)| after);
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
                () = async { self.database.as_mut().unwrap().killed().await }, if life.victim.is_some() && !killed => true,
            };
            if is_time {
                killed = true;
                match (victim, &mut self.database) {
                    (Some(Victim::Database), Some(database)) => database.kill(),
                    _ => child.start_kill().unwrap(),
                }
            }
        }
        use std::os::unix::process::ExitStatusExt;
        let status = child.wait().await.unwrap();
        assert!(status.success() || status.signal() == Some(9), "the worker failed: {status}");
        if status.success() {
            return killed && victim == Some(Victim::Database);
        }
        if let Some(disk) = &mut self.disk {
            disk.lose_power();
        }
        database::end_leases(&life.ledger).await;
        true
    }

    /// One more life that is not killed, and the verdict.
    async fn close(&mut self, fault: Option<Fault>) -> Verdict {
        let life = self.life(fault);
        assert!(!self.run(&life, None).await, "the last life was killed");
        let journal = std::fs::read(self.folder.path().join("journal")).unwrap();
        Verdict::find(&self.ledger(), &journal, &self.acknowledged, is_row).await
    }

    fn print(&self) {
        println!("{:>6}  killed", "kills");
        let turns: BTreeSet<_> = self.turns().into_iter().collect();
        for blow in turns {
            let victim = if blow.victim == Victim::Database { "the database, " } else { "" };
            let point = blow.point.map_or("at random", Point::as_str);
            println!("{:>6}  {victim}{point}", self.kills.get(&blow).copied().unwrap_or(0));
        }
        println!("{:>6}  not killed: the point did not come", self.survived);
    }
}
