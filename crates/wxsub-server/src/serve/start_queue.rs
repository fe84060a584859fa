//! Accepted connections that are not served yet.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use crate::state::connections::OpenConnection;

/// Accepted connections that are not served yet. The addresses take turns, so a flood from one address waits behind itself.
pub(super) struct StartQueue<T> {
    by_address: HashMap<IpAddr, VecDeque<(OpenConnection, T)>>,
    /// The addresses that have a connection here, in the order of their turns.
    turns: VecDeque<IpAddr>,
}

impl<T> Default for StartQueue<T> {
    fn default() -> Self {
        Self { by_address: HashMap::new(), turns: VecDeque::new() }
    }
}

impl<T> StartQueue<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    pub(super) fn push(&mut self, connection: OpenConnection, value: T) {
        let address = connection.address();
        let group = self.by_address.entry(address).or_default();
        if group.is_empty() {
            self.turns.push_back(address);
        }
        group.push_back((connection, value));
    }

    /// Takes the oldest connection of the address whose turn it is. Then the turn of this address is after those of all others.
    pub(super) fn pop(&mut self) -> Option<(OpenConnection, T)> {
        let address = self.turns.pop_front()?;
        let group = self.by_address.get_mut(&address)?;
        let popped = group.pop_front();
        match group.is_empty() {
            true => drop(self.by_address.remove(&address)),
            false => self.turns.push_back(address),
        }
        popped
    }

    /// Drops the oldest connection of this address, if it has to make room for another one. Of all connections of the address that
    /// are here, it waits longest, so it is the only one that may have to.
    pub(super) fn drop_closing(&mut self, address: IpAddr) {
        let Some(group) = self.by_address.get_mut(&address) else { return };
        if group.front().is_some_and(|(connection, _)| connection.is_closing()) {
            group.pop_front();
        }
        if group.is_empty() {
            self.by_address.remove(&address);
            self.turns.retain(|turn| *turn != address);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::state::connections::Connections;

    /// A queue, and the connections that it counts.
    #[derive(Default)]
    struct Setup {
        connections: Arc<Connections>,
        queue: StartQueue<&'static str>,
    }

    impl Setup {
        fn push(&mut self, address: &str, max: usize, name: &'static str) {
            let address = address.parse().unwrap();
            let (connection, has_closed) = self.connections.open(address, Some(max)).unwrap();
            if has_closed {
                self.queue.drop_closing(connection.address());
            }
            self.queue.push(connection, name);
        }

        fn pop_all(&mut self) -> Vec<&'static str> {
            std::iter::from_fn(|| self.queue.pop()).map(|(_, name)| name).collect()
        }
    }

    #[test]
    fn addresses_take_turns() {
        let mut setup = Setup::default();
        for (address, name) in [
            ("10.0.0.1", "a1"),
            ("10.0.0.1", "a2"),
            ("10.0.0.1", "a3"),
            ("2001:db8::1", "b1"),
            // An IPv6 client usually has a whole /64.
            ("2001:db8::2", "b2"),
        ] {
            setup.push(address, 9, name);
        }
        assert_eq!(setup.queue.pop().unwrap().1, "a1");
        setup.push("10.0.0.3", 9, "c1");
        assert_eq!(setup.pop_all(), ["b1", "a2", "c1", "b2", "a3"]);
        assert!(setup.queue.is_empty() && setup.connections.used() == (0, 0));
    }

    #[test]
    fn connection_that_makes_room_leaves_the_queue_at_once() {
        let mut setup = Setup::default();
        for name in ["a1", "a2", "a3", "a4"] {
            setup.push("10.0.0.1", 2, name);
            assert!(setup.connections.used().0 <= 2);
        }
        setup.push("10.0.0.2", 1, "b1");
        setup.push("10.0.0.2", 1, "b2");
        assert_eq!(setup.pop_all(), ["a3", "b2", "a4"]);
        assert!(setup.queue.is_empty() && setup.connections.used() == (0, 0));
    }
}
