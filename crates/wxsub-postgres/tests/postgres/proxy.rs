//! A proxy in front of PostgreSQL that cuts one connection at a chosen message of the client, or all of them for a while.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use wxsub_test_support::Postgres;

/// Where the connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// Before the database has the message.
    BeforeMessage,
    /// When the database has answered it, before the client has the answer.
    BeforeReply,
    /// As before the reply, but the connection stays open, and nothing passes any more.
    Silence,
    /// Before the database has the message; and from then on the proxy refuses connections.
    ForGood,
}

/// Messages that the database answers: Sync, and simple queries.
const ANSWERED: [u8; 2] = [b'S', b'Q'];

/// A state that only claims write.
const CLAIMED: &[u8] = b"attempting";

pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    plan: Arc<Plan>,
    is_down: watch::Sender<bool>,
}

#[derive(Default)]
struct Plan {
    /// How many answered messages are left until the cut; negative if there is none.
    left: AtomicI64,
    after: AtomicBool,
    silence: AtomicBool,
    for_good: AtomicBool,
    /// How many connections were refused.
    refused: AtomicUsize,
    /// Whether the message at the cut was a commit.
    was_commit: AtomicBool,
    /// The next commit of a claim is the cut.
    at_claim: AtomicBool,
    /// LISTEN becomes a statement that the database refuses.
    refuses_listen: AtomicBool,
    /// New connections get no response.
    is_silent: AtomicBool,
    /// How many got none.
    unanswered: AtomicUsize,
}

impl Plan {
    fn has_cut(&self) -> bool {
        self.left.load(Ordering::SeqCst) < 0
    }
}

impl Proxy {
    /// The database trusts the proxy, which connects to its unix socket.
    pub(super) async fn start(postgres: &Postgres) -> Self {
        let socket = postgres.socket_folder().join(format!(".s.PGSQL.{}", postgres.port));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let plan = Arc::new(Plan { left: AtomicI64::new(-1), ..Plan::default() });
        let accepting = Arc::clone(&plan);
        let is_down = watch::Sender::new(false);
        let down = is_down.subscribe();
        tokio::spawn(async move {
            let mut unanswered = Vec::new();
            while let Ok((client, _)) = listener.accept().await {
                if *down.borrow() || accepting.for_good.load(Ordering::SeqCst) && accepting.has_cut() {
                    accepting.refused.fetch_add(1, Ordering::SeqCst);
                    continue;
                }
                if accepting.is_silent.load(Ordering::SeqCst) {
                    accepting.unanswered.fetch_add(1, Ordering::SeqCst);
                    unanswered.push(client);
                    continue;
                }
                let server = UnixStream::connect(&socket).await.unwrap();
                client.set_nodelay(true).unwrap();
                let (plan, mut down) = (Arc::clone(&accepting), down.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = forward(client, server, plan) => {}
                        _ = down.wait_for(|is_down| *is_down) => {}
                    }
                });
            }
        });
        Self { address, plan, is_down }
    }

    /// The URL of the database, for the superuser.
    pub(super) fn url(&self) -> String {
        format!("postgres://postgres@{}/postgres", self.address)
    }

    /// Cuts all connections, and refuses new ones until they are let through again.
    pub(super) fn set_down(&self, is_down: bool) {
        self.is_down.send_replace(is_down);
    }

    /// Accepts new connections from now on, and does not respond.
    pub(super) fn fall_silent(&self) {
        self.plan.is_silent.store(true, Ordering::SeqCst);
    }

    /// How many connections got no response.
    pub(super) fn unanswered(&self) -> usize {
        self.plan.unanswered.load(Ordering::SeqCst)
    }

    /// Cuts once, at the commit of a transaction that claims messages, before the client has the answer.
    pub(super) fn lose_reply_to_claim(&self) {
        self.plan.at_claim.store(true, Ordering::SeqCst);
    }

    /// Whether the reply to a claim was lost since then.
    pub(super) fn has_lost_reply(&self) -> bool {
        !self.plan.at_claim.load(Ordering::SeqCst)
    }

    /// Refuses LISTEN, as some poolers do.
    pub(super) fn refuse_listen(&self) {
        self.plan.refuses_listen.store(true, Ordering::SeqCst);
    }

    /// Cuts at the message after so many.
    pub(super) fn cut_after(&self, messages: i64, cut: Cut) {
        self.plan.was_commit.store(false, Ordering::SeqCst);
        self.plan.after.store(matches!(cut, Cut::BeforeReply | Cut::Silence), Ordering::SeqCst);
        self.plan.silence.store(cut == Cut::Silence, Ordering::SeqCst);
        self.plan.for_good.store(cut == Cut::ForGood, Ordering::SeqCst);
        self.plan.left.store(messages, Ordering::SeqCst);
    }

    /// Whether the cut has come.
    pub(super) fn has_cut(&self) -> bool {
        self.plan.has_cut()
    }

    /// How many connections were refused.
    pub(super) fn refused(&self) -> usize {
        self.plan.refused.load(Ordering::SeqCst)
    }

    /// Stops the plan. Says whether a connection was cut, and whether that was at a commit.
    pub(super) fn disarm(&self) -> (bool, bool) {
        let left = self.plan.left.swap(-1, Ordering::SeqCst);
        (left < 0, self.plan.was_commit.load(Ordering::SeqCst))
    }
}

/// Forwards until one side ends, or the plan cuts.
async fn forward(client: TcpStream, server: UnixStream, plan: Arc<Plan>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    // They end with this.
    let mut replies = JoinSet::new();
    let (silence, mut silent) = watch::channel(false);
    replies.spawn(async move {
        tokio::select! {
            biased;
            _ = silent.changed() => {}
            _ = tokio::io::copy(&mut from_server, &mut to_client) => return,
        }
        pending::<()>().await;
    });
    // The first message has no type.
    let mut started = false;
    let mut claims = false;
    loop {
        let mut head = [0; 5];
        let head = if started { &mut head[..] } else { &mut head[1..] };
        if from_client.read_exact(head).await.is_err() {
            break;
        }
        let (kind, length) = head.split_at(head.len() - 4);
        let length = u32::from_be_bytes(length.try_into().unwrap());
        let mut body = vec![0; usize::try_from(length).unwrap() - 4];
        if from_client.read_exact(&mut body).await.is_err() {
            break;
        }
        started = true;
        if body.starts_with(b"LISTEN") && plan.refuses_listen.load(Ordering::SeqCst) {
            body[..6].copy_from_slice(b"REFUSE");
        }
        let answered = kind.first().is_some_and(|kind| ANSWERED.contains(kind));
        let is_commit = body.starts_with(b"COMMIT");
        claims |= kind == b"B" && body.windows(CLAIMED.len()).any(|part| part == CLAIMED);
        let loses_reply = is_commit && claims && plan.at_claim.swap(false, Ordering::SeqCst);
        claims &= !is_commit;
        let cut = loses_reply || answered && plan.left.fetch_sub(1, Ordering::SeqCst) == 0;
        if cut {
            plan.was_commit.store(is_commit, Ordering::SeqCst);
            // What was sent before is answered first. Then the client gets nothing more.
            match plan.silence.load(Ordering::SeqCst) {
                true => drop(silence.send_replace(true)),
                false => replies.abort_all(),
            }
        }
        if !cut || loses_reply || plan.after.load(Ordering::SeqCst) {
            let message = [head, &body[..]].concat();
            if to_server.write_all(&message).await.is_err() {
                break;
            }
        }
        if cut {
            if *silence.borrow() {
                // Until the client gives up.
                let _ = tokio::io::copy(&mut from_client, &mut tokio::io::sink()).await;
            }
            // The database ends the session when it has read all.
            break;
        }
    }
}
