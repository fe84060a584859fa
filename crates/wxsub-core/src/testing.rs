//! The doubles we test with, for your tests too: a clock you move by hand, a transport that follows a script, and the
//! contracts every transport and every store must keep.

pub mod faulty_server;
mod manual_clock;
mod mock_transport;
pub mod store_conformance;
pub mod transport_conformance;

pub use manual_clock::ManualClock;
pub use mock_transport::{MockResponse, MockTransport, RecordedRequest};
