//! The doubles we test with, for your tests too: a clock you move by hand, a transport that follows a script, and the
//! contracts every transport and every store must keep.

mod manual_clock;
pub mod raw_server;
mod scripted_transport;
pub mod store_contract;
pub mod transport_contract;

pub use manual_clock::ManualClock;
pub use scripted_transport::{ScriptedTransport, Seen, Step};
