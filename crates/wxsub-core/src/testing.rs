//! Test support, also for your tests: a manual clock, a mock transport, and conformance suites for transports and
//! stores.

pub mod faulty_server;
mod manual_clock;
mod mock_transport;
pub mod store_conformance;
pub mod transport_conformance;

pub use manual_clock::ManualClock;
pub use mock_transport::{MockResponse, MockTransport, RecordedRequest};
