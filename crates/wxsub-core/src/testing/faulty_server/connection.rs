use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{RawRequest, ScriptStep, Seen};
use crate::clock::{Clock, SystemClock};

/// Delay between two trickled bytes.
const TRICKLE_INTERVAL: Duration = Duration::from_millis(20);

/// Accepts connections. Dropping the future closes them.
pub(super) async fn accept(
    listener: TcpListener,
    scripts: Vec<Vec<ScriptStep>>,
    seen: Arc<watch::Sender<Seen>>,
) {
    let mut open = JoinSet::new();
    let mut scripts = scripts.into_iter();
    let mut script = Vec::new();
    while let Ok((stream, _)) = listener.accept().await {
        script = scripts.next().unwrap_or(script);
        let connection = Connection { stream, unread: BytesMut::new(), seen: Arc::clone(&seen) };
        seen.send_modify(|seen| seen.connections += 1);
        open.spawn(connection.follow(script.clone()));
    }
}

/// A connection, with the bytes that are received but not read yet.
struct Connection {
    stream: TcpStream,
    unread: BytesMut,
    seen: Arc<watch::Sender<Seen>>,
}

/// The peer closed the connection, or the server must.
struct End;

impl From<std::io::Error> for End {
    fn from(_: std::io::Error) -> Self {
        Self
    }
}

impl Connection {
    async fn follow(mut self, script: Vec<ScriptStep>) {
        let mut next = 0;
        let mut body = Bytes::new();
        let seen = Arc::clone(&self.seen);
        while let Some(step) = script.get(next) {
            next = if matches!(step, ScriptStep::Again) { 0 } else { next + 1 };
            if self.run_step(step, &mut body).await.is_err() {
                drop(self);
                seen.send_modify(|seen| seen.ended += 1);
                return;
            }
        }
        // Closes the connection for writing only. A drop with unread bytes would reset it.
        let closed = self.stream.shutdown().await;
        seen.send_modify(|seen| seen.ended += 1);
        if closed.is_ok() {
            let _gone = self.run_step(&ScriptStep::Hang, &mut body).await;
        }
    }

    async fn run_step(&mut self, step: &ScriptStep, body: &mut Bytes) -> Result<(), End> {
        match step {
            ScriptStep::Read => *body = self.read().await?,
            ScriptStep::Write(bytes) => self.stream.write_all(bytes).await?,
            ScriptStep::Echo => {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                self.stream.write_all(head.as_bytes()).await?;
                self.stream.write_all(body).await?;
            }
            ScriptStep::Trickle(bytes) => self.trickle(bytes).await?,
            ScriptStep::Flood(bytes) => loop {
                self.stream.write_all(bytes).await?;
            },
            ScriptStep::Hang => while self.stream.read_buf(&mut self.unread).await? > 0 {},
            ScriptStep::Reset => {
                self.stream.set_zero_linger()?;
                return Err(End);
            }
            ScriptStep::Again => {}
        }
        Ok(())
    }

    async fn trickle(&mut self, bytes: &[u8]) -> Result<(), End> {
        let clock = SystemClock::new();
        loop {
            for byte in bytes {
                self.stream.write_all(std::slice::from_ref(byte)).await?;
                clock.sleep_until(clock.now().mono + TRICKLE_INTERVAL).await;
            }
        }
    }

    /// Reads a head, and the body that its `content-length` announces.
    async fn read(&mut self) -> Result<Bytes, End> {
        let end_of_head = loop {
            match self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(at) => break at,
                None => self.more().await?,
            }
        };
        let head = self.unread.split_to(end_of_head);
        self.unread.advance(4);
        let mut request =
            RawRequest { head: String::from_utf8_lossy(&head).into_owned(), body: Bytes::new() };
        let length = request.header("content-length");
        let length: usize = length.first().and_then(|text| text.parse().ok()).unwrap_or(0);
        while self.unread.len() < length {
            self.more().await?;
        }
        request.body = self.unread.split_to(length).freeze();
        let body = request.body.clone();
        self.seen.send_modify(|seen| seen.requests.push(request));
        Ok(body)
    }

    async fn more(&mut self) -> Result<(), End> {
        match self.stream.read_buf(&mut self.unread).await? {
            0 => Err(End),
            _ => Ok(()),
        }
    }
}
