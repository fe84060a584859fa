//! The attacks. Each opens connections and holds them.

use std::net::IpAddr;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use wxsub_sandbox::Fault;

use super::served::Served;

/// Connections with the same bytes on each.
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    /// The address of the attacker. Honest requests come from 127.0.0.1.
    from: &'static str,
    connections: usize,
    /// What is sent on each connection. Gets the attacker's key.
    bytes: fn(&str) -> String,
}

pub(crate) const ATTACKS: [Attack; 7] = [
    Attack {
        name: "5000 idle connections from one address",
        from: "127.0.0.2",
        connections: 5000,
        bytes: |_| String::new(),
    },
    Attack {
        name: "5000 idle connections from the address of the honest client",
        from: "127.0.0.1",
        connections: 5000,
        bytes: |_| String::new(),
    },
    Attack {
        name: "5000 half-sent heads",
        from: "127.0.0.2",
        connections: 5000,
        bytes: |_| "GET / HTTP/1.1\r\nX: ".to_owned(),
    },
    Attack {
        name: "1030 half-sent bodies with one key",
        from: "127.0.0.2",
        connections: 1030,
        bytes: |key| post("/v1/apps/wx1/messages", key, 60_000, &"x".repeat(30_000)),
    },
    Attack {
        name: "3500 slow bodies without a key",
        from: "127.0.0.2",
        connections: 3500,
        bytes: |_| post("/cgi-bin/stable_token", "none", 60_000, &"x".repeat(30_000)),
    },
    Attack {
        name: "3500 small slow bodies without a key",
        from: "127.0.0.2",
        connections: 3500,
        bytes: |_| post("/cgi-bin/stable_token", "none", 4000, "{"),
    },
    Attack {
        name: "1030 messages with one key to a silent Weixin",
        from: "127.0.0.2",
        connections: 1030,
        bytes: |key| post("/v1/apps/wx1/messages", key, MESSAGE.len(), MESSAGE),
    },
];

const MESSAGE: &str = r#"{"touser":"oUser","template_id":"T","scene":"1","title":"Parcel","data":{"content":{"value":"It is here."}}}"#;

fn post(path: &str, key: &str, length: usize, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {key}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

impl Attack {
    /// Opens the connections and holds them. The server may close them meanwhile.
    pub(crate) async fn run(&self, served: &Served, held: &mut Vec<TcpStream>) {
        served.sandbox.add_fault("/cgi-bin/message/template/subscribe", 5000, Fault::Hang);
        let from: IpAddr = self.from.parse().unwrap();
        let bytes = (self.bytes)(&served.keys[1]);
        for _ in 0..self.connections {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind((from, 0).into()).unwrap();
            if let Ok(mut stream) = socket.connect(served.address).await {
                let _ = stream.write_all(bytes.as_bytes()).await;
                held.push(stream);
            }
        }
    }
}
