//! The doubles we test with, for your tests too: a clock you move by hand, a transport that follows a script, and the
//! contracts every transport and every store must keep.

mod manual_clock;
mod scripted_transport;
pub mod store_contract;

pub use manual_clock::ManualClock;
pub use scripted_transport::{ScriptedTransport, Seen, Step};
