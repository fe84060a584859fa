//! A gate decides when attempts begin, and hears how they end.

use std::sync::{Arc, Mutex};

use wxsub_core::clock::MonotonicInstant;
use wxsub_outbox::Gate;
use wxsub_outbox::message::StoredMessage;
use wxsub_outbox::state::MessageState;

use super::harness::{Harness, MINUTE, SEND};

/// Lets so many attempts begin, and notes what it hears.
#[derive(Debug, Default)]
struct Permits(Mutex<(usize, Vec<MessageState>)>);

impl Permits {
    fn heard(&self) -> Vec<MessageState> {
        self.0.lock().unwrap().1.clone()
    }
}

impl Gate for Permits {
    fn take(&self, most: usize, _: MonotonicInstant) -> usize {
        let mut permits = self.0.lock().unwrap();
        let taken = most.min(permits.0);
        permits.0 -= taken;
        taken
    }

    fn give_back(&self, unused: usize) {
        self.0.lock().unwrap().0 += unused;
    }

    fn end_attempt(&self, settled: Option<&StoredMessage>, _: MonotonicInstant) {
        self.0.lock().unwrap().1.extend(settled.map(|message| message.state));
    }

    fn next_at(&self) -> Option<MonotonicInstant> {
        None
    }
}

#[tokio::test]
async fn attempts_begin_only_with_permits_of_the_gate() {
    let gate = Arc::new(Permits::default());
    let harness = Harness::with(|app| app.gate(gate.clone()));
    for user in ["a", "b", "c"] {
        harness.enqueue(user).await;
    }
    let _worker = harness.run();
    harness.clock.advance_and_run(MINUTE).await;
    assert_eq!(harness.weixin.count(SEND), 0);
    gate.0.lock().unwrap().0 = 1;
    harness.clock.advance_and_run(MINUTE).await;
    assert_eq!((harness.weixin.count(SEND), gate.heard()), (1, vec![MessageState::Sent]));
    gate.0.lock().unwrap().0 = 100;
    harness.clock.advance_and_run(MINUTE).await;
    assert_eq!((harness.weixin.count(SEND), gate.heard()), (3, vec![MessageState::Sent; 3]));
    assert_eq!(gate.0.lock().unwrap().0, 98, "unused permits are given back");
}
