//! The open connections. One that waits for its client makes room for a new one.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, Semaphore};
use tokio::task::yield_now;

use crate::state::locked;

/// All open connections of a listener, by the address of the client.
pub(crate) struct Connections {
    /// Without those that are closing to make room.
    by_address: Mutex<HashMap<IpAddr, Group>>,
    /// The number of open connections, with those that are closing.
    count: AtomicUsize,
    /// Notifies when a connection closes.
    closed: Notify,
    /// Increases with each connection that begins to wait for its client.
    sequence: AtomicU64,
    /// The right to write a piece of a large response.
    pieces: Semaphore,
}

impl Default for Connections {
    fn default() -> Self {
        let (by_address, count, closed, sequence) = Default::default();
        Self { by_address, count, closed, sequence, pieces: Semaphore::new(1) }
    }
}

/// The connections of one address.
#[derive(Default)]
struct Group {
    /// Those that are closed first, by their ranks: they never had a request, or their response has to wait. The first one waits
    /// longest, so a flood of connections costs no search.
    waiting: BTreeMap<u64, Arc<Activity>>,
    /// The others, by their numbers.
    used: BTreeMap<u64, Arc<Activity>>,
}

/// What a connection does.
struct Activity {
    address: IpAddr,
    /// Its first rank. No other connection has it.
    number: u64,
    /// [`BUSY`], or since when the connection waits for its client: a number of the sequence, plus [`USED`] if it had
    /// a request. The connection with the smallest number is closed first.
    rank: AtomicU64,
    close: Notify,
}

const USED: u64 = 1 << 62;
const BUSY: u64 = u64::MAX;

/// An open connection. Dropping it removes it.
pub(crate) struct OpenConnection {
    connections: Arc<Connections>,
    activity: Arc<Activity>,
}

/// A request under way on a connection. Dropping it ends the request: the connection waits for its client then.
pub(crate) struct OpenRequest {
    connections: Arc<Connections>,
    activity: Arc<Activity>,
}

/// A connection was refused, because all others of its address are busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused;

/// Addresses that count as one: an IPv6 client usually has a whole /64.
pub(crate) fn group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl Connections {
    /// Adds a connection. At the limit of its address, one that waits for its client is closed. Returns the connection, and
    /// the number of the one that was closed for it.
    ///
    /// # Errors
    /// [`Refused`] if the address is at its limit, and all its connections are busy.
    pub(crate) fn open(
        self: &Arc<Self>,
        address: IpAddr,
        max_per_address: Option<usize>,
    ) -> Result<(OpenConnection, Option<u64>), Refused> {
        let address = group(address);
        let mut by_address = locked(&self.by_address);
        let group = by_address.entry(address).or_default();
        let mut closed = None;
        if max_per_address.is_some_and(|max| group.len() >= max) {
            let (_, longest) = group.longest_waiting().ok_or(Refused)?;
            closed = Some(group.close(&longest));
        }
        let number = self.next();
        let (rank, close) = (AtomicU64::new(number), Notify::new());
        let activity = Arc::new(Activity { address, number, rank, close });
        group.waiting.insert(number, Arc::clone(&activity));
        drop(by_address);
        self.count.fetch_add(1, Ordering::Relaxed);
        Ok((OpenConnection { connections: Arc::clone(self), activity }, closed))
    }

    /// Closes a connection that waits for its client: of the address with the most connections, the one that waits longest. Returns
    /// its number.
    pub(crate) fn close_longest_waiting(&self) -> Option<u64> {
        let mut by_address = locked(&self.by_address);
        let groups = by_address.values_mut().filter_map(|group| Some((group.longest_waiting()?, group)));
        let most = groups.max_by_key(|((rank, _), group)| (group.len(), Reverse(*rank)));
        most.map(|((_, longest), group)| group.close(&longest))
    }

    /// Waits until all connections are closed.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn wait_idle(&self) {
        self.wait_below(1).await;
    }

    /// Waits until fewer connections than this are open.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn wait_below(&self, max: usize) {
        loop {
            let closed = self.closed.notified();
            if self.count() < max {
                return;
            }
            closed.await;
        }
    }

    /// The number of open connections.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// The number of open connections, and the largest number of one address.
    pub(crate) fn used(&self) -> (usize, usize) {
        let most = locked(&self.by_address).values().map(Group::len).max().unwrap_or_default();
        (self.count(), most)
    }

    /// Gives a connection another rank.
    fn rank(&self, activity: &Activity, rank: u64) {
        let before = activity.rank.load(Ordering::Relaxed);
        if before.min(rank) >= USED {
            return activity.rank.store(rank, Ordering::Relaxed);
        }
        // The rank and the place in the group change together.
        let mut by_address = locked(&self.by_address);
        let group = by_address.get_mut(&activity.address);
        let moved = group.and_then(|group| Some((group.remove(activity)?, group)));
        activity.rank.store(rank, Ordering::Relaxed);
        if let Some((activity, group)) = moved {
            match rank < USED {
                true => group.waiting.insert(rank, activity),
                false => group.used.insert(activity.number, activity),
            };
        }
    }

    fn next(&self) -> u64 {
        self.sequence.fetch_add(1, Ordering::Relaxed)
    }
}

impl Group {
    fn len(&self) -> usize {
        self.waiting.len() + self.used.len()
    }

    /// The connection that waits longest for its client, with its rank.
    fn longest_waiting(&self) -> Option<(u64, Arc<Activity>)> {
        let waiting = self.waiting.first_key_value().map(|(rank, activity)| (*rank, activity));
        let used = || self.used.values().map(|used| (used.rank.load(Ordering::Relaxed), used));
        let longest =
            waiting.or_else(|| used().filter(|(rank, _)| *rank < BUSY).min_by_key(|(rank, _)| *rank));
        longest.map(|(rank, activity)| (rank, Arc::clone(activity)))
    }

    fn remove(&mut self, activity: &Activity) -> Option<Arc<Activity>> {
        let rank = activity.rank.load(Ordering::Relaxed);
        self.waiting.remove(&rank).or_else(|| self.used.remove(&activity.number))
    }

    /// Closes a connection. If a request has just begun on it, it closes after the response. Returns its number.
    fn close(&mut self, activity: &Activity) -> u64 {
        self.remove(activity);
        activity.close.notify_one();
        activity.number
    }
}

impl OpenConnection {
    /// The address of the client; of an IPv6 client that of its network.
    pub(crate) fn address(&self) -> IpAddr {
        self.activity.address
    }

    /// No other connection has this number. Later ones have higher numbers.
    pub(crate) fn number(&self) -> u64 {
        self.activity.number
    }

    /// The client has sent something, or the connection was started. Those that have waited longer are closed first.
    pub(crate) fn wait_anew(&self) {
        self.connections.rank(&self.activity, self.connections.next());
    }

    /// A request begins. Until its end, the connection does not wait for its client.
    pub(crate) fn begin_request(&self) -> OpenRequest {
        self.connections.rank(&self.activity, BUSY);
        OpenRequest { connections: Arc::clone(&self.connections), activity: Arc::clone(&self.activity) }
    }

    /// Whether a request is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.activity.rank.load(Ordering::Relaxed) == BUSY
    }

    /// Waits until the connection has to make room for another one.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn must_close(&self) {
        self.activity.close.notified().await;
    }
}

impl OpenRequest {
    /// The response is ready, and has to wait. Meanwhile the connection is closed before those that had a request.
    pub(crate) fn begin_pause(&self) {
        self.connections.rank(&self.activity, self.connections.next());
    }

    /// Waits for the right to write a piece of a large response. Between two pieces, the other tasks of the server run.
    ///
    /// # Cancel safety
    /// The next one gets the right.
    pub(crate) async fn turn_of_piece(&self) {
        // An error would mean that the semaphore is closed, which it never is.
        let turn = self.connections.pieces.acquire().await;
        yield_now().await;
        drop(turn);
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.connections.rank(&self.activity, USED | self.connections.next());
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        let mut by_address = locked(&self.connections.by_address);
        if let Some(group) = by_address.get_mut(&self.activity.address) {
            group.remove(&self.activity);
            if group.len() == 0 {
                by_address.remove(&self.activity.address);
            }
        }
        drop(by_address);
        self.connections.count.fetch_sub(1, Ordering::Relaxed);
        self.connections.closed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    impl OpenConnection {
        /// Whether the connection has to make room for another one. Returns `true` once.
        fn is_closing(&self) -> bool {
            self.must_close().now_or_never().is_some()
        }
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn connection_that_waits_longest_is_closed_first_and_a_busy_one_never() {
        let connections = Arc::<Connections>::default();
        let open = |text: &str| connections.open(address(text), Some(3));
        let (used, busy, silent) =
            (open("10.0.0.1").unwrap().0, open("10.0.0.1").unwrap().0, open("10.0.0.1").unwrap().0);
        drop(used.begin_request());
        let _busy = busy.begin_request();
        let (next, closed) = open("::ffff:10.0.0.1").unwrap();
        assert!(closed.is_some() && silent.is_closing() && !used.is_closing());
        let _next = next.begin_request();
        let (last, closed) = open("10.0.0.1").unwrap();
        assert!(closed.is_some() && used.is_closing());
        let _last = last.begin_request();
        assert_eq!(open("10.0.0.1").err(), Some(Refused));
        let (_other, closed) = open("10.0.0.2").unwrap();
        assert_eq!(closed, None);
        assert_eq!(connections.used(), (6, 3));
        drop((used, silent, busy));
        assert_eq!(connections.used(), (3, 2));
        assert!(open("10.0.0.1").is_ok());
    }

    #[test]
    fn silent_connection_is_closed_before_one_whose_client_sent_something_later() {
        let connections = Arc::<Connections>::default();
        let open = || connections.open(address("10.0.0.1"), Some(2)).unwrap().0;
        let (older, younger) = (open(), open());
        older.wait_anew();
        let _ = open();
        assert!(younger.is_closing() && !older.is_closing());
    }

    #[test]
    fn paused_connection_is_closed_before_a_used_one() {
        let connections = Arc::<Connections>::default();
        let open = || connections.open(address("10.0.0.1"), None).unwrap().0;
        let (used, paused) = (open(), open());
        for connection in [&used, &paused] {
            drop(connection.begin_request());
        }
        let request = paused.begin_request();
        request.begin_pause();
        assert!(connections.close_longest_waiting().is_some() && paused.is_closing() && !used.is_closing());
    }

    #[test]
    fn paused_connection_is_closed_before_a_younger_one() {
        let connections = Arc::<Connections>::default();
        let open = |max| connections.open(address("10.0.0.1"), Some(max)).unwrap().0;
        let (paused, resumed) = (open(9), open(9));
        let requests = [&paused, &resumed].map(OpenConnection::begin_request);
        for request in &requests {
            request.begin_pause();
        }
        let [_request, ended] = requests;
        drop(ended);
        let younger = open(9);
        let _ = open(3);
        assert!(paused.is_closing() && !younger.is_closing() && !resumed.is_closing());
        let _ = open(2);
        assert!(younger.is_closing() && !resumed.is_closing());
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one() {
        let connections = Arc::<Connections>::default();
        let open = |text: &str| connections.open(address(text), Some(1)).unwrap();
        let (first, _) = open("2001:db8::1");
        assert!(open("2001:db8::2").1.is_some() && first.is_closing());
        assert_eq!(open("2001:db8:0:1::1").1, None);
    }

    #[test]
    fn total_limit_closes_the_longest_waiting_of_the_address_with_most_connections() {
        let connections = Arc::<Connections>::default();
        let open = |text: &str| connections.open(address(text), None).unwrap().0;
        let (first, second, third) = (open("10.0.0.1"), open("10.0.0.2"), open("10.0.0.2"));
        assert!(connections.close_longest_waiting().is_some() && second.is_closing());
        assert!(connections.close_longest_waiting().is_some() && first.is_closing());
        let _request = third.begin_request();
        assert_eq!(connections.close_longest_waiting(), None);
    }
}
