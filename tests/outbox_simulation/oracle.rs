//! An independent observer: what reached Weixin, and what the processes were assured of.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wxsub_outbox::id::MessageId;
use wxsub_outbox::state::MessageState;

use super::node_clock::NodeClock;

/// What became of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) violations: Vec<String>,
    /// How many messages ended in each state.
    pub(crate) states: BTreeMap<MessageState, usize>,
    pub(crate) sent_again: usize,
    pub(crate) late_responses: usize,
    pub(crate) reclaimed: usize,
    pub(crate) posts: usize,
    pub(crate) crashes: usize,
    pub(crate) lost_replies: usize,
    /// Rows of the inbox whose deletion was asked for.
    pub(crate) copied: usize,
    /// Commits of processes that were cut off.
    pub(crate) cut_off: usize,
}

impl Summary {
    pub(crate) fn add(&mut self, other: &Self) {
        for (state, count) in &other.states {
            *self.states.entry(*state).or_default() += count;
        }
        self.sent_again += other.sent_again;
        self.late_responses += other.late_responses;
        self.reclaimed += other.reclaimed;
        self.posts += other.posts;
        self.crashes += other.crashes;
        self.lost_replies += other.lost_replies;
        self.copied += other.copied;
        self.cut_off += other.cut_off;
    }
}

/// One POST of a message that left a process.
#[derive(Debug, Clone)]
pub(super) struct Post {
    /// The number in the message's text.
    pub(super) number: u32,
    pub(super) at: Duration,
    /// Weixin took it, or refused it; none if it never arrived.
    pub(super) handled: Option<i64>,
    /// The sender got Weixin's response.
    pub(super) has_response: bool,
}

impl Post {
    /// The sender can show that the message was not sent.
    pub(super) fn is_proven_not_sent(&self) -> bool {
        self.has_response && self.handled.is_some_and(|code| code != 0)
    }
}

pub(super) struct Oracle {
    clock: Arc<NodeClock>,
    trace: bool,
    noted: Mutex<Noted>,
}

#[derive(Default)]
pub(super) struct Noted {
    pub(super) posts: Vec<Post>,
    /// Per number: the id that its sender was given.
    pub(super) acknowledged: BTreeMap<u32, MessageId>,
    pub(super) summary: Summary,
}

impl Oracle {
    pub(super) fn new(clock: Arc<NodeClock>, trace: bool) -> Self {
        Self { clock, trace, noted: Mutex::default() }
    }

    pub(super) fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn trace(&self, text: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{:>12.3} {}", self.clock.elapsed().as_secs_f64(), text());
        }
    }

    pub(super) fn violation(&self, text: &str) {
        self.trace(|| format!("WRONG: {text}"));
        let violation = format!("{:.3} {text}", self.clock.elapsed().as_secs_f64());
        self.noted().summary.violations.push(violation);
    }

    /// Records a request that a process posts. Returns the number of the POST.
    pub(super) fn record_post(&self, number: u32) -> usize {
        let mut noted = self.noted();
        noted.posts.push(Post { number, at: self.clock.elapsed(), handled: None, has_response: false });
        noted.posts.len() - 1
    }

    pub(super) fn handled(&self, post: usize, code: i64) {
        self.trace(|| format!("Weixin handles post {post}: {code}"));
        self.noted().posts[post].handled = Some(code);
    }

    /// A sender was assured that its message is recorded.
    pub(super) fn acknowledged(&self, number: u32, id: MessageId) {
        self.trace(|| format!("message {number} is acknowledged as {id}"));
        let before = self.noted().acknowledged.insert(number, id);
        if before.is_some_and(|before| before != id) {
            self.violation(&format!("the key of message {number} stands for two messages"));
        }
    }

    pub(super) fn crashed(&self, process: usize) {
        self.trace(|| format!("process {process} is killed"));
        self.noted().summary.crashes += 1;
    }
}
