//! A sandbox that delays messages until it is opened.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex};

use wxsub_sandbox::{Response, Sandbox};

use super::weixin::{SEND, sandbox};

/// Delays every message with the text "hold" until it is opened.
pub(crate) struct Gate {
    pub(crate) sandbox: Sandbox,
    pub(crate) base: String,
    arrivals: Receiver<()>,
    open: Arc<(Mutex<bool>, Condvar)>,
}

impl Gate {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (arrived, arrivals) = channel();
        let sandbox = sandbox();
        let open = Arc::new((Mutex::new(false), Condvar::new()));
        let gate = Self { sandbox: sandbox.clone(), base, arrivals, open: Arc::clone(&open) };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (sandbox, open, arrived) = (sandbox.clone(), Arc::clone(&open), arrived.clone());
                // The other side notices a broken connection.
                std::thread::spawn(move || {
                    serve(&stream.unwrap(), |method, target, body| {
                        if target.starts_with(SEND) {
                            arrived.send(()).ok()?;
                            let held = String::from_utf8_lossy(body).contains("hold");
                            let closed = open.0.lock().unwrap();
                            drop(open.1.wait_while(closed, |open| held && !*open).unwrap());
                        }
                        Some((sandbox.handle(method, target, body).outcome.unwrap(), true))
                    })
                });
            }
        });
        gate
    }

    /// Waits until this many more messages have arrived.
    pub(crate) fn wait_for(&self, messages: usize) {
        for _ in 0..messages {
            self.arrivals.recv().unwrap();
        }
    }

    /// Opens the gate for all messages.
    pub(crate) fn open(&self) {
        *self.open.0.lock().unwrap() = true;
        self.open.1.notify_all();
    }
}

/// Serves one connection. `answer` gives the reply and whether the connection stays open; nothing closes it at once.
pub(crate) fn serve(
    stream: &TcpStream,
    answer: impl Fn(&str, &str, &[u8]) -> Option<(Response, bool)>,
) -> Option<()> {
    let mut input = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if input.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let mut words = head.split(' ');
        let (method, target) = (words.next()?, words.next()?);
        let length = head
            .to_ascii_lowercase()
            .split("content-length: ")
            .nth(1)
            .map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
        let mut body = vec![0; length];
        input.read_exact(&mut body).ok()?;
        let (reply, stays) = answer(method, target, &body)?;
        let connection = if stays { "keep-alive" } else { "close" };
        let head = format!(
            "HTTP/1.1 {} OK\r\nConnection: {connection}\r\nContent-Length: {}\r\n\r\n",
            reply.status,
            reply.body.len()
        );
        let mut output = stream;
        output.write_all(&[head.as_bytes(), &reply.body].concat()).ok()?;
        if !stays {
            return None;
        }
    }
}
