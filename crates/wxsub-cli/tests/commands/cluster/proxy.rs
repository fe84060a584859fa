//! A proxy between one server and Redis that can be cut, stalled and slowed down.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::spawn;
use std::time::Duration;

use super::pause;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    Good,
    /// All data is delayed by this.
    Slow(Duration),
    /// Connections stay open, and no data passes until the fault is over.
    Stalled,
    /// All connections break, new ones too.
    Cut,
}

pub(super) struct Proxy {
    pub(super) port: u16,
    inner: Arc<Inner>,
}

struct Inner {
    to: u16,
    wire: Mutex<Wire>,
    changed: Condvar,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
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
        // Without Redis, new connections are closed.
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

    /// Waits as long as the fault requires. Returns whether data may pass.
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
