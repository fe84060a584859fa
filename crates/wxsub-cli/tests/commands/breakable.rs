//! A Weixin whose network goes away after a number of messages, and comes back at the same address.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread::{self, JoinHandle};

use wxsub_sandbox::Sandbox;

use super::gate::serve;
use super::weixin::{SEND, sandbox};

/// How the network goes away.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Break {
    /// Each reply arrives, and its connection closes behind it.
    BetweenMessages,
    /// Every connection breaks at its next request.
    Everywhere,
}

pub(crate) struct Breakable {
    pub(crate) sandbox: Sandbox,
    pub(crate) base: String,
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Breakable {
    /// Takes this many messages.
    pub(crate) fn start(messages: i64, how: Break) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, sandbox) = (listener.local_addr().unwrap(), sandbox());
        let accepting = accept(listener, sandbox.clone(), messages, how);
        Self { sandbox, base: format!("http://{address}"), address, accepting }
    }

    /// Waits until the network is gone, and brings it back for good.
    pub(crate) fn come_back(self) -> Sandbox {
        self.accepting.join().unwrap();
        let listener = TcpListener::bind(self.address).unwrap();
        accept(listener, self.sandbox.clone(), i64::MAX, Break::Everywhere);
        self.sandbox
    }
}

/// Ends, and closes the address, when the last message was taken.
fn accept(listener: TcpListener, sandbox: Sandbox, messages: i64, how: Break) -> JoinHandle<()> {
    let (left, address) = (Arc::new(AtomicI64::new(messages)), listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            if left.load(Ordering::SeqCst) <= 0 {
                return;
            }
            let (sandbox, left) = (sandbox.clone(), Arc::clone(&left));
            thread::spawn(move || {
                serve(&stream.unwrap(), |method, target, body| {
                    let before = match target.starts_with(SEND) {
                        true => left.fetch_sub(1, Ordering::SeqCst),
                        false => left.load(Ordering::SeqCst),
                    };
                    if before <= 0 {
                        return None;
                    }
                    let reply = sandbox.handle(method, target, body).outcome.unwrap();
                    let last = before == 1 && target.starts_with(SEND);
                    if last {
                        // Wakes the thread that accepts, and waits until its end has closed the address.
                        while TcpStream::connect(address).is_ok() {}
                    }
                    Some((reply, how == Break::Everywhere))
                })
            });
        }
    })
}
