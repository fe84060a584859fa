//! Starts this program again in another role, and reads what it measured.

use serde::{Deserialize, Serialize};
use wxsub_benches::{again, output, start};
use wxsub_test_support::Process;

/// CPU time, elapsed time and memory.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Nanoseconds of CPU time per piece of work.
    pub(crate) cpu: f64,
    /// Pieces of work per second of elapsed time.
    pub(crate) rate: f64,
    /// Resident memory at the end, in KiB.
    pub(crate) resident: f64,
    /// Peak resident memory, in KiB.
    pub(crate) peak: f64,
    /// Another count.
    pub(crate) count: f64,
}

/// The server that all contenders call.
pub(crate) struct Server(Process);

impl Server {
    /// Starts it.
    pub(crate) fn start() -> Self {
        Self(start(&mut again(&["server"])))
    }

    /// Its address.
    pub(crate) fn address(&self) -> &str {
        &self.0.ready
    }

    /// Runs a contender against it. Returns the measurement.
    pub(crate) fn measure(&self, contender: &str, in_flight: usize, amount: usize) -> Measured {
        let (in_flight, amount) = (in_flight.to_string(), amount.to_string());
        let mut command = again(&["contender", contender, self.address(), &in_flight, &amount]);
        serde_json::from_str(&output(&mut command)).unwrap()
    }
}
