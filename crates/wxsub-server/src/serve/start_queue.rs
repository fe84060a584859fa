//! Connections whose client has sent something, and that are not served yet.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;

/// A connection that waits: the address of its client, and what its turn completes.
type Waiting = (IpAddr, oneshot::Sender<()>);

/// Gives connections their turns. Clones ask the same queue.
#[derive(Clone)]
pub(super) struct Turns {
    waiting: mpsc::UnboundedSender<Waiting>,
}

/// The connections that wait for their turn. The addresses take turns, so a flood from one address waits behind itself.
#[derive(Default)]
struct StartQueue {
    by_address: HashMap<IpAddr, VecDeque<oneshot::Sender<()>>>,
    /// The addresses that have a connection here, in the order of their turns.
    turns: VecDeque<IpAddr>,
}

impl Turns {
    /// Starts the task that gives turns. It ends with the last clone.
    pub(super) fn start() -> Self {
        let (waiting, asked) = mpsc::unbounded_channel();
        tokio::spawn(give_turns(asked));
        Self { waiting }
    }

    /// Waits until a connection of this address may be served.
    ///
    /// # Cancel safety
    /// The connection gives up its turn.
    pub(super) async fn wait(&self, address: IpAddr) {
        let (sender, turn) = oneshot::channel();
        // Errors mean that the runtime ends.
        let _ = self.waiting.send((address, sender));
        let _ = turn.await;
    }
}

async fn give_turns(mut asked: mpsc::UnboundedReceiver<Waiting>) {
    let mut queue = StartQueue::default();
    loop {
        if queue.turns.is_empty() {
            let Some(waiting) = asked.recv().await else { return };
            queue.push(waiting);
        }
        while let Ok(waiting) = asked.try_recv() {
            queue.push(waiting);
        }
        queue.start_next();
        // Requests on open connections come first. New ones would delay them.
        yield_now().await;
    }
}

impl StartQueue {
    fn push(&mut self, (address, turn): Waiting) {
        let group = self.by_address.entry(address).or_default();
        if group.is_empty() {
            self.turns.push_back(address);
        }
        group.push_back(turn);
        // At the limit of the address, the oldest ones have made room.
        while group.front().is_some_and(oneshot::Sender::is_closed) {
            group.pop_front();
        }
    }

    /// Starts the oldest connection of the address whose turn it is. Then the turn of this address is after those of all others.
    /// Returns whether there was one.
    fn start_next(&mut self) -> bool {
        while let Some(address) = self.turns.pop_front() {
            let group = self.by_address.entry(address).or_default();
            let is_started = std::iter::from_fn(|| group.pop_front()).any(|turn| turn.send(()).is_ok());
            match group.is_empty() {
                true => drop(self.by_address.remove(&address)),
                false => self.turns.push_back(address),
            }
            if is_started {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue, and the connections that wait in it.
    #[derive(Default)]
    struct Setup {
        queue: StartQueue,
        waiting: Vec<(&'static str, oneshot::Receiver<()>)>,
    }

    impl Setup {
        fn push(&mut self, address: &str, name: &'static str) {
            let (sender, turn) = oneshot::channel();
            self.queue.push((address.parse().unwrap(), sender));
            self.waiting.push((name, turn));
        }

        /// The name of the one that is started next.
        fn start_next(&mut self) -> Option<&'static str> {
            self.queue.start_next().then(|| {
                let started = self.waiting.iter_mut().position(|(_, turn)| turn.try_recv().is_ok());
                self.waiting.remove(started.unwrap()).0
            })
        }
    }

    #[test]
    fn addresses_take_turns() {
        let mut setup = Setup::default();
        for (address, name) in [
            ("10.0.0.1", "a1"),
            ("10.0.0.1", "a2"),
            ("10.0.0.1", "a3"),
            ("10.0.0.2", "b1"),
            ("10.0.0.2", "b2"),
        ] {
            setup.push(address, name);
        }
        assert_eq!(setup.start_next(), Some("a1"));
        setup.push("10.0.0.3", "c1");
        let rest: Vec<_> = std::iter::from_fn(|| setup.start_next()).collect();
        assert_eq!(rest, ["b1", "a2", "c1", "b2", "a3"]);
        assert!(setup.queue.by_address.is_empty());
    }

    #[test]
    fn connection_that_made_room_takes_no_turn_and_no_memory() {
        let mut setup = Setup::default();
        for name in ["a1", "a2", "a3"] {
            setup.push("10.0.0.1", name);
            setup.waiting.retain(|(name, _)| *name == "a3");
        }
        assert_eq!(setup.queue.by_address.values().map(VecDeque::len).sum::<usize>(), 1);
        setup.push("10.0.0.2", "b1");
        setup.waiting.retain(|(name, _)| *name != "b1");
        assert_eq!((setup.start_next(), setup.start_next()), (Some("a3"), None));
        assert!(setup.queue.by_address.is_empty() && setup.queue.turns.is_empty());
    }
}
