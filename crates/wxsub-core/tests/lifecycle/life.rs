//! A lifecycle, told one event after the other.

use std::sync::Arc;
use std::time::Duration;

use wxsub_core::clock::{Moment, Mono, UnixMillis};
use wxsub_core::token::{
    Command, Event, Evidence, Failure, Generation, Issued, Lifecycle, Notice, Order, Outcome, Status,
    TokenEndpoint,
};
use wxsub_core::transport::{TransportError, TransportFault};

pub fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub fn not_sent() -> Outcome {
    Outcome::Failed(Failure::Transport(TransportError::before_sending(TransportFault::Connect, "")))
}

pub fn lost() -> Outcome {
    Outcome::Failed(Failure::TimedOut)
}

pub struct Life {
    pub lifecycle: Lifecycle,
    pub now: Moment,
}

impl Life {
    pub fn new(endpoint: TokenEndpoint) -> Self {
        let now = Moment::new(Mono::from_origin(seconds(5_000)), UnixMillis::new(1_780_000_000_000));
        Self { lifecycle: Lifecycle::new(endpoint, 7), now }
    }

    pub fn holding() -> Self {
        Self::holding_of(TokenEndpoint::Token)
    }

    /// Holding a token of two hours, fetched just now.
    pub fn holding_of(endpoint: TokenEndpoint) -> Self {
        let mut life = Self::new(endpoint);
        let order = life.wanted();
        let issued = life.token("A", &order);
        life.finish(&order, Outcome::Issued(issued));
        life
    }

    pub fn token(&self, text: &str, order: &Order) -> Arc<Issued> {
        let generation = order.known.next(self.now.wall);
        Arc::new(Issued::new(text.parse().unwrap(), generation, self.now, seconds(7200)))
    }

    pub fn tell(&mut self, event: Event) -> Vec<Command> {
        self.lifecycle.handle(self.now, event)
    }

    pub fn wanted(&mut self) -> Order {
        fetch(self.tell(Event::Wanted))
    }

    pub fn finish(&mut self, order: &Order, outcome: Outcome) -> Vec<Command> {
        self.tell(Event::Finished { attempt: order.attempt, outcome })
    }

    /// Somebody reports a token of long ago.
    pub fn report_old(&mut self) -> Vec<Command> {
        self.tell(Event::Reported { generation: Generation::new(1), evidence: Evidence::Seen })
    }

    pub fn report(&mut self, evidence: Evidence) -> Vec<Command> {
        self.tell(Event::Reported { generation: self.held().generation(), evidence })
    }

    /// The store tells of the token held.
    pub fn read(&mut self, lost_since: Option<UnixMillis>) {
        self.tell(Event::Loaded { issued: self.held(), lost_since });
    }

    pub fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
    }

    pub fn status(&self) -> Status {
        self.lifecycle.status()
    }

    pub fn held(&self) -> Arc<Issued> {
        self.status().held.unwrap()
    }

    pub fn due_in(&self) -> Duration {
        self.status().due.unwrap().left(self.now)
    }
}

pub fn fetch(commands: Vec<Command>) -> Order {
    let mut orders = commands.into_iter().filter_map(|command| match command {
        Command::Fetch(order) => Some(order),
        Command::Answer(_) | Command::Tell(_) => None,
    });
    orders.next().unwrap()
}

pub fn notices(commands: Vec<Command>) -> Vec<Notice> {
    let told = commands.into_iter().filter_map(|command| match command {
        Command::Tell(notice) => Some(notice),
        Command::Answer(_) | Command::Fetch(_) => None,
    });
    told.collect()
}

/// A token of another process, by how much its generation is ahead.
pub fn stored(life: &Life, ahead: u64) -> Issued {
    let generation = Generation::new(life.held().generation().get() + ahead);
    Issued::new("STORED".parse().unwrap(), generation, life.now, seconds(7200))
}
