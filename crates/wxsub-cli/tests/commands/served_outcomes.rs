//! What happens to a message that `wxsub send` gives to a control server with a ledger, and its exit status: each event of the
//! table in `crates/wxsub-server/tests/server/ledger_outcomes.rs`, which has the columns of both APIs.

use std::thread;

use rusqlite::Connection;
use wxsub_proto::ErrCode;
use wxsub_sandbox::{Fault, Sandbox};
use wxsub_test_support::wait_for;

use super::durable::Setup;
use super::served::{Served, client, config};
use super::weixin::{CLASSIC_TOKEN, Gate, SEND, allow};
use super::wxsub::{Ended, Wxsub, append, ended};

const SCOPES: &str = r#""message:send", "outbox:write", "outbox:decide", "consent""#;

/// What happens before or to the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Sent,
    Refused,
    Invalid,
    TokenRefused,
    OtherInFlight,
    ClientAtItsLimit,
    Paused,
    QuotaOver,
    TooFast,
    GrantInUse,
    NoGrant,
    LedgerDownBefore,
    LedgerDownAfter,
    Unknown,
}

/// The events with exit status and outcome.
const TABLE: [(Event, i32, &str); 14] = [
    (Event::Sent, 0, "sent"),
    (Event::Refused, 3, "refused"),
    (Event::Invalid, 2, "invalid"),
    (Event::TokenRefused, 4, "not_sent"),
    (Event::OtherInFlight, 4, "not_sent"),
    (Event::ClientAtItsLimit, 4, "not_sent"),
    (Event::Paused, 4, "not_sent"),
    (Event::QuotaOver, 4, "not_sent"),
    (Event::TooFast, 4, "not_sent"),
    (Event::GrantInUse, 3, "not_sent"),
    (Event::NoGrant, 3, "not_sent"),
    (Event::LedgerDownBefore, 4, "not_sent"),
    (Event::LedgerDownAfter, 5, "maybe_sent"),
    (Event::Unknown, 5, "maybe_sent"),
];

/// A server with a ledger, and its client.
struct App {
    gate: Gate,
    served: Served,
    setup: Setup,
    key: String,
}

impl App {
    fn start(event: Event) -> Self {
        let (gate, setup, (key, clients)) = (Gate::start(), Setup::new(), client("outcomes", SCOPES));
        if event == Event::TokenRefused {
            gate.sandbox.add_fault(CLASSIC_TOKEN, 10_000, Fault::ErrCode(ErrCode::IP_NOT_ALLOWED));
        }
        let ledger = match event {
            // No database is there.
            Event::LedgerDownBefore => "postgres://wxsub@127.0.0.1:1/shop".to_owned(),
            _ => format!("sqlite:{}", setup.path("served.db")),
        };
        let limits = match event {
            Event::OtherInFlight => "[limits]\nin_flight = 1\n",
            Event::ClientAtItsLimit => "[limits]\nin_flight_per_key = 1\n",
            // The settlement waits for the ledger until then.
            Event::LedgerDownAfter => "[limits]\nrequest_timeout_s = 10\n",
            _ => "",
        };
        let settings = match event {
            Event::NoGrant => "require_grant = true\n",
            Event::TooFast => "rate_per_s = 1\n",
            _ => "",
        };
        let more = format!("{clients}[ledger]\nurl = \"{ledger}\"\n{limits}");
        let path = config(&format!("outcome-{}.toml", key.get(..8).unwrap()), &gate.base, &more);
        // The app is the last table.
        append(&path, settings);
        Self { gate, served: Served::start(&path), setup, key }
    }

    fn sandbox(&self) -> &Sandbox {
        &self.gate.sandbox
    }

    fn command(&self, words: &[&str]) -> Wxsub {
        self.served.call(&self.key, words)
    }

    /// A message with this content. The gate holds "hold".
    fn send(&self, content: &str) -> Wxsub {
        self.command(&["send", "--json"]).message("oUser", content)
    }

    /// Sends the message after what happens before it, or with what happens to it.
    fn send_when(&self, event: Event) -> Ended {
        let sandbox = self.sandbox();
        match event {
            Event::Sent => allow(sandbox, "oUser", 7),
            Event::Invalid => return self.send(&"x".repeat(201)).run(),
            Event::Paused => assert_eq!(self.command(&["outbox", "pause"]).run().code, 0),
            Event::QuotaOver => {
                sandbox.add_fault(SEND, 1, Fault::ErrCode(ErrCode::DAILY_QUOTA));
                let used_up = self.send("first").run();
                assert_eq!(used_up.json()[0]["errcode"], 45009, "{used_up:?}");
            }
            Event::GrantInUse => {
                assert_eq!(self.command(&["grant", "record"]).consent("oUser").run().code, 0);
                let later = self.command(&["outbox", "add", "--send-at", "2030-01-01T00:00:00Z"]);
                assert_eq!(later.message("oUser", "later").run().code, 0);
            }
            Event::Unknown => {
                sandbox.add_fault(SEND, 1, Fault::ResetAfterApply);
            }
            Event::OtherInFlight | Event::ClientAtItsLimit => {
                let other = self.send("hold").start();
                self.gate.wait_for(1);
                let refused = self.send("It is here.").run();
                self.gate.open();
                assert_eq!(ended(other).code, 3);
                return refused;
            }
            Event::TooFast => {
                // Each attempt that is not the first within a second is too fast.
                return loop {
                    let both = [self.send("It is here.").start(), self.send("It is here.").start()];
                    let both = both.map(ended);
                    assert!(both.iter().any(|posted| posted.code == 3), "{both:?}");
                    if let Some(refused) = both.into_iter().find(|posted| posted.code != 3) {
                        break refused;
                    }
                };
            }
            Event::LedgerDownAfter => {
                allow(sandbox, "oUser", 7);
                let sending = self.send("hold").start();
                self.gate.wait_for(1);
                let file = Connection::open(self.setup.path("served.db")).unwrap();
                file.execute_batch("BEGIN IMMEDIATE").unwrap();
                self.gate.open();
                let unknown = ended(sending);
                wait_for("the message", || !sandbox.mailbox(&"oUser".parse().unwrap()).is_empty());
                return unknown;
            }
            Event::Refused | Event::TokenRefused | Event::NoGrant | Event::LedgerDownBefore => {}
        }
        self.send("It is here.").run()
    }
}

#[test]
fn each_event_has_its_exit_status() {
    let check = |(event, code, outcome): (Event, i32, &str)| {
        let app = App::start(event);
        let ended = app.send_when(event);
        let result = &ended.json()[0];
        assert_eq!((ended.code, &result["outcome"]), (code, &outcome.into()), "{event:?}: {ended:?}");
        let posted = app.sandbox().event_log().request_count(SEND);
        let earlier = match event {
            Event::OtherInFlight | Event::ClientAtItsLimit | Event::QuotaOver => Some(1),
            Event::TooFast => None,
            _ => Some(0),
        };
        let own = u64::from(matches!(
            event,
            Event::Sent | Event::Refused | Event::LedgerDownAfter | Event::Unknown
        ));
        assert!(earlier.is_none_or(|earlier| posted == earlier + own), "{event:?}: {posted}");
    };
    thread::scope(|scope| {
        for row in TABLE {
            scope.spawn(move || check(row));
        }
    });
}
