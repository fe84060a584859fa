//! The arguments of judge and worker.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::plan::{Fault, Point};

/// One run of the worker.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct WorkerRun {
    /// A file, or the URL of a database.
    pub(super) ledger: PathBuf,
    /// The application's database: a file, or the URL of a database.
    pub(super) inbox: PathBuf,
    /// Where the sandbox is.
    pub(super) address: String,
    pub(super) point: Option<Point>,
    /// How often it passes the point, and is killed the last time.
    pub(super) passes: u32,
    /// The process that is killed there instead of the worker: the application's database.
    pub(super) target: Option<u32>,
    pub(super) fault: Option<Fault>,
    /// The orders that were not acknowledged.
    pub(super) orders: Vec<u32>,
}

/// What the judge does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(super) runs: u32,
    pub(super) seed: u64,
    /// Each kill loses what was not synced.
    pub(super) power_loss: bool,
    /// The ledger is in PostgreSQL, which is killed, too.
    pub(super) postgres: bool,
    /// The application's database is a MariaDB, which is killed, too.
    pub(super) mariadb: bool,
}

pub(crate) enum Role {
    Worker(WorkerRun),
    Judge(Settings),
    /// The judge of control servers.
    Servers(Settings),
    /// A test runner asks for the names of tests.
    Nothing,
}

/// How many kills the automated tests do.
const DEFAULT_RUNS: u32 = 20;

impl Role {
    pub(crate) fn read(arguments: impl Iterator<Item = String>) -> Self {
        let arguments: Vec<_> = arguments.collect();
        let after = |name: &str| {
            let at = arguments.iter().position(|argument| argument == name)?;
            arguments.get(at + 1).map(|value| value.parse::<u64>().unwrap())
        };
        match arguments.first().map(String::as_str) {
            Some("worker") => Self::Worker(serde_json::from_str(&arguments[1]).unwrap()),
            Some("--list") => Self::Nothing,
            _ => {
                let has = |name: &str| arguments.iter().any(|argument| argument == name);
                let has_pair = |pair: [&str; 2]| arguments.windows(2).any(|found| found == pair);
                let settings = Settings {
                    runs: after("--runs").map_or(DEFAULT_RUNS, |runs| u32::try_from(runs).unwrap()),
                    seed: after("--seed").unwrap_or(1),
                    power_loss: has("--power-loss"),
                    postgres: has_pair(["--database", "postgres"]),
                    mariadb: has_pair(["--inbox", "mariadb"]),
                };
                if has("--servers") { Self::Servers(settings) } else { Self::Judge(settings) }
            }
        }
    }
}
