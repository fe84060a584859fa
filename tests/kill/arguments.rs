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

const USAGE: &str = "scripts/kill-test [--runs N] [--seed N] [--power-loss | --database postgres | --inbox mariadb | --servers]";

impl Role {
    /// # Panics
    /// If an argument of the script is unknown, or has no valid value.
    pub(crate) fn read(arguments: impl Iterator<Item = String>) -> Self {
        let arguments: Vec<_> = arguments.collect();
        match arguments.first().map(String::as_str) {
            Some("worker") => return Self::Worker(serde_json::from_str(&arguments[1]).unwrap()),
            Some("--list") => return Self::Nothing,
            _ => {}
        }
        // The script gives a number of runs. A test runner has arguments of its own.
        let is_script = arguments.iter().any(|argument| argument == "--runs");
        let mut settings =
            Settings { runs: DEFAULT_RUNS, seed: 1, power_loss: false, postgres: false, mariadb: false };
        let (mut has_servers, mut words) = (false, arguments.iter().map(String::as_str));
        while let Some(word) = words.next() {
            let mut value = || words.next().unwrap_or_else(|| panic!("{word} needs a value: {USAGE}"));
            match word {
                "--runs" => settings.runs = value().parse().expect(USAGE),
                "--seed" => settings.seed = value().parse().expect(USAGE),
                "--power-loss" => settings.power_loss = true,
                "--servers" => has_servers = true,
                "--database" if value() == "postgres" => settings.postgres = true,
                "--inbox" if value() == "mariadb" => settings.mariadb = true,
                _ => assert!(!is_script, "{word} is unknown, or has an unknown value: {USAGE}"),
            }
        }
        if has_servers { Self::Servers(settings) } else { Self::Judge(settings) }
    }
}
