//! Ports for processes that listen on a given port.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// The last port that Linux gives to outgoing connections by default (`net.ipv4.ip_local_port_range`).
const LAST_OUTGOING: u16 = 60_999;

/// How far a port is from the one that reserves it.
const DISTANCE: u16 = 51_000;

/// A port at which nothing listens. It is no port of outgoing connections, and until this process ends, no other test program of
/// this machine gets it: so it stays free until the process that needs it has started, and while that starts again.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(LAST_OUTGOING + 1 - DISTANCE);
    loop {
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(port < u16::MAX - DISTANCE, "all ports are reserved");
        let Ok(reservation) = TcpListener::bind(("127.0.0.1", port + DISTANCE)) else { continue };
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            // Until the end of the process.
            std::mem::forget(reservation);
            return port;
        }
    }
}

#[test]
fn free_port_is_not_given_to_connections_and_stays_reserved() {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let range: Vec<u16> = range.split_whitespace().map(|port| port.parse().unwrap()).collect();
    let ports: std::collections::BTreeSet<u16> = (0..100).map(|_| free_port()).collect();
    assert_eq!(ports.len(), 100);
    for port in ports {
        assert!(port < range[0] && port + DISTANCE > range[1], "{port} {range:?}");
        assert!(TcpListener::bind(("127.0.0.1", port + DISTANCE)).is_err(), "{port} is not reserved");
    }
}
