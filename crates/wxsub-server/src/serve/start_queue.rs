//! Connections whose client has sent something, and that are not served yet.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

/// The numbers of the connections that wait for their start. The addresses take turns, so a flood from one address waits behind itself.
#[derive(Default)]
pub(super) struct StartQueue {
    by_address: HashMap<IpAddr, VecDeque<u64>>,
    /// The addresses that have a connection here, in the order of their turns.
    turns: VecDeque<IpAddr>,
}

impl StartQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// Adds a connection. The oldest ones of the address that are closed by now are removed: at the limit of an address, they have made
    /// room.
    pub(super) fn push(&mut self, address: IpAddr, number: u64, is_open: impl Fn(u64) -> bool) {
        let group = self.by_address.entry(address).or_default();
        if group.is_empty() {
            self.turns.push_back(address);
        }
        while group.front().is_some_and(|oldest| !is_open(*oldest)) {
            group.pop_front();
        }
        group.push_back(number);
    }

    /// Removes the oldest connection of the address whose turn it is. Then the turn of this address is after those of all others.
    pub(super) fn pop(&mut self) -> Option<u64> {
        let address = self.turns.pop_front()?;
        let group = self.by_address.get_mut(&address)?;
        let number = group.pop_front();
        match group.is_empty() {
            true => drop(self.by_address.remove(&address)),
            false => self.turns.push_back(address),
        }
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[test]
    fn addresses_take_turns() {
        let mut queue = StartQueue::default();
        for (last, number) in [(1, 11), (1, 12), (1, 13), (2, 21), (2, 22)] {
            queue.push(address(last), number, |_| true);
        }
        assert_eq!(queue.pop(), Some(11));
        queue.push(address(3), 31, |_| true);
        let rest: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(rest, [21, 12, 31, 22, 13]);
        assert!(queue.is_empty() && queue.by_address.is_empty());
    }

    #[test]
    fn closed_connection_takes_no_memory() {
        let mut queue = StartQueue::default();
        for number in 1..=3 {
            queue.push(address(1), number, |open| open == 3);
        }
        assert_eq!(queue.by_address.values().map(VecDeque::len).sum::<usize>(), 1);
        assert_eq!((queue.pop(), queue.pop()), (Some(3), None));
    }
}
