//! Ports for processes that listen on a given port.

use std::net::TcpListener;
use std::process;
use std::sync::atomic::{AtomicU16, Ordering};

/// A port at which nothing listens. It is below the ports that the operating system gives to outgoing connections: between this call
/// and the start of the process, no connection of another test takes it.
pub fn free_port() -> u16 {
    /// Where Linux begins by default (`net.ipv4.ip_local_port_range`).
    const FIRST_OUTGOING: u16 = 32_768;
    const FIRST: u16 = 10_000;
    static CALLS: AtomicU16 = AtomicU16::new(0);
    // Test programs that run at the same time begin at different ports.
    let start = process::id().wrapping_mul(101);
    loop {
        let call = u32::from(CALLS.fetch_add(1, Ordering::Relaxed));
        let offset = start.wrapping_add(call) % u32::from(FIRST_OUTGOING - FIRST);
        let port = FIRST + u16::try_from(offset).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

#[test]
fn free_port_is_not_given_to_connections() {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let first: u16 = range.split_whitespace().next().unwrap().parse().unwrap();
    let ports: std::collections::BTreeSet<u16> = (0..100).map(|_| free_port()).collect();
    assert_eq!(ports.len(), 100);
    assert!(ports.iter().all(|port| *port < first));
}
