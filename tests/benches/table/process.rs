//! Starts this program again in another role.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use crate::measured::Measured;

/// A running server. It ends when this is dropped.
pub(crate) struct Server {
    process: Child,
    /// Its address.
    pub(crate) address: String,
}

impl Server {
    /// Starts it.
    pub(crate) fn start() -> Self {
        let mut process = again(&["server"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut address = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { process, address: address.trim().to_owned() }
    }

    /// Runs a contender against it. Returns the measurement.
    pub(crate) fn measure(&self, contender: &str, in_flight: usize, amount: usize) -> Measured {
        let (in_flight, amount) = (in_flight.to_string(), amount.to_string());
        let mut command = again(&["contender", contender, &self.address, &in_flight, &amount]);
        let mut running = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        running.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(running.wait().unwrap().success(), "{contender} failed");
        Measured::read(&said)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may not exist any more.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn again(words: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(words);
    command
}
