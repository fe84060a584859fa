//! The wire between one server and Redis, which can be cut, stalled and made slow.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::spawn;
use std::time::Duration;

use super::pause;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    Good,
    /// Everything that passes takes this much longer.
    Slow(Duration),
    /// Connections are made and stay, and nothing passes until it is good again.
    Stalled,
    /// Connections break, and new ones too.
    Cut,
}

pub(super) struct Relay {
    pub(super) port: u16,
    inner: Arc<Inner>,
}

struct Inner {
    to: u16,
    wire: Mutex<Wire>,
    changed: Condvar,
    open: Mutex<Vec<TcpStream>>,
}

impl Relay {
    pub(super) fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (wire, changed, open) = (Mutex::new(Wire::Good), Condvar::new(), Mutex::default());
        let inner = Arc::new(Inner { to: port, wire, changed, open });
        let relay = Self { port: listener.local_addr().unwrap().port(), inner: Arc::clone(&inner) };
        spawn(move || listener.incoming().for_each(|stream| inner.connect(stream.unwrap())));
        relay
    }

    pub(super) fn set(&self, wire: Wire) {
        *self.inner.wire.lock().unwrap() = wire;
        self.inner.changed.notify_all();
        if wire == Wire::Cut {
            self.inner.break_all();
        }
    }
}

impl Inner {
    fn connect(self: &Arc<Self>, near: TcpStream) {
        if *self.wire.lock().unwrap() == Wire::Cut {
            return;
        }
        // While Redis is away, whoever connects finds the connection closed.
        let Ok(far) = TcpStream::connect(("127.0.0.1", self.to)) else { return };
        self.open.lock().unwrap().extend([near.try_clone().unwrap(), far.try_clone().unwrap()]);
        for (from, to) in [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)] {
            let inner = Arc::clone(self);
            spawn(move || inner.pass_on(from, to));
        }
    }

    fn pass_on(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut piece = [0; 16_384];
        while let Ok(read @ 1..) = from.read(&mut piece) {
            if !self.lets_pass() || to.write_all(&piece[..read]).is_err() {
                break;
            }
        }
        for stream in [from, to] {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Waits as long as the wire makes whatever is on it wait.
    fn lets_pass(&self) -> bool {
        let wire = self.wire.lock().unwrap();
        let wire = *self.changed.wait_while(wire, |wire| *wire == Wire::Stalled).unwrap();
        if let Wire::Slow(by) = wire {
            pause(by);
        }
        wire != Wire::Cut
    }

    fn break_all(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
