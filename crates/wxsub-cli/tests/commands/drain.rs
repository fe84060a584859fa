//! A server that shuts down while clients send requests.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::interrupt::signal;
use super::served::{ALL, Served, client, config};
use super::weixin::{APPID, Weixin};

/// A keep-alive connection.
struct Line(BufReader<TcpStream>);

impl Line {
    fn open(address: &str) -> Option<Self> {
        TcpStream::connect(address).ok().map(|stream| Self(BufReader::new(stream)))
    }

    fn ask(&mut self, key: &str) {
        let head = format!(
            "GET /v1/apps/{APPID}/access_token HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {key}\r\n\r\n"
        );
        // The response shows whether it arrived.
        let _ = self.0.get_mut().write_all(head.as_bytes());
    }

    /// The head of a complete response. Nothing if it is incomplete.
    fn answer(&mut self) -> Option<String> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.0.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let length = head.split("content-length: ").nth(1)?.lines().next()?.parse().ok()?;
        self.0.read_exact(&mut vec![0; length]).ok()?;
        Some(head)
    }
}

/// Sends requests until the connection is refused. Returns whether every request got a response.
fn ask_on(address: &str, key: &str, answers: &AtomicUsize) -> bool {
    while let Some(mut line) = Line::open(address) {
        loop {
            line.ask(key);
            let Some(head) = line.answer() else { return false };
            answers.fetch_add(1, Ordering::Relaxed);
            if head.contains("connection: close") {
                break;
            }
        }
    }
    true
}

#[test]
fn shutdown_under_load_loses_no_request() {
    let weixin = Weixin::start();
    let (key, lines) = client("orders", ALL);
    let mut server = Served::start(&config("drain_load.toml", &weixin.base, &lines));
    let (address, answers) = (server.address().to_owned(), AtomicUsize::new(0));
    let all_answered = thread::scope(|scope| {
        let asking: Vec<_> = (0..8).map(|_| scope.spawn(|| ask_on(&address, &key, &answers))).collect();
        while answers.load(Ordering::Relaxed) < 400 {
            thread::yield_now();
        }
        signal(&server.child, "TERM");
        asking.into_iter().all(|one| one.join().unwrap())
    });
    assert!(all_answered, "after {answers:?} answers");
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}

/// A request that reached the machine before the signal gets a response, even if the server has not read it yet.
#[test]
fn request_before_the_signal_is_answered() {
    let weixin = Weixin::start();
    let (key, lines) = client("orders", ALL);
    let mut server = Served::start(&config("drain_stopped.toml", &weixin.base, &lines));
    let open = || Line::open(server.address()).unwrap();
    let mut all: Vec<_> = (0..5).map(|_| open()).collect();
    for line in &mut all {
        line.ask(&key);
        assert!(line.answer().is_some());
    }
    signal(&server.child, "STOP");
    all.extend((0..5).map(|_| open()));
    all.iter_mut().for_each(|line| line.ask(&key));
    signal(&server.child, "TERM");
    signal(&server.child, "CONT");
    for (index, line) in all.iter_mut().enumerate() {
        assert!(line.answer().is_some(), "{index}");
    }
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}
