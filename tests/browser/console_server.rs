//! A control server in this process, with a console, a sandbox and a clock that the test moves.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use wxsub_core::clock::Clock;
use wxsub_core::proto::{AppId, ErrCode, Grant, Message};
use wxsub_core::testing::ManualClock;
use wxsub_outbox::grant::Subject;
use wxsub_outbox::id::GrantId;
use wxsub_outbox::id::{MessageId, WorkerId};
use wxsub_outbox::ledger::{Applied, Change, Gone, NewConsent, NewMessage, Recorded};
use wxsub_outbox::message::{Detail, Settlement};
use wxsub_outbox::state::WebhookEvent;
use wxsub_outbox::webhook::{DeliveryOutcome, StoredDelivery, StoredEndpoint};
use wxsub_outbox::{Ledger, MemoryLedger};
use wxsub_sandbox::Sandbox;
use wxsub_sandbox_transport::SandboxTransport;
use wxsub_server::{Config, Server, hash_password};

/// The URL of each endpoint.
const URL_SHA256: [u8; 32] = [7; 32];
/// The endpoint wants no more webhooks.
pub(super) const GONE: DeliveryOutcome = DeliveryOutcome::Gone { url_sha256: URL_SHA256 };
pub(super) const PASSWORD: &str = "correct horse battery";
pub(super) const APPID: &str = "wx0123456789abcdef";
pub(super) const OPENID: &str = "oABCDEFGHIJKLMNOPQRSTUVWXY12";
const SECRET: &str = "play-money";

/// The server. Dropping it ends it.
pub(super) struct ConsoleServer {
    runtime: Runtime,
    pub(super) clock: Arc<ManualClock>,
    sandbox: Sandbox,
    pub(super) ledger: Arc<MemoryLedger>,
    server: Server,
    /// The public URL, without a slash at its end.
    pub(super) base: String,
}

fn password_hash() -> &'static str {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| hash_password(PASSWORD).unwrap())
}

fn id(number: u8) -> [u8; 16] {
    let mut bytes = [0; 16];
    // A UUID of version 7, of a time before every other one.
    (bytes[6], bytes[8], bytes[15]) = (0x70, 0x80, number);
    bytes
}

impl ConsoleServer {
    /// Starts it, at this path of its host.
    pub(super) fn start(path: &str) -> Self {
        Self::start_with(|address| format!("http://{address}{path}"))
    }

    /// Starts it, with the public URL for the address at which it listens.
    pub(super) fn start_with(public_url: impl FnOnce(SocketAddr) -> String) -> Self {
        let runtime = Runtime::new().unwrap();
        let clock = Arc::new(ManualClock::new());
        let wall = Arc::clone(&clock);
        let sandbox = Sandbox::with_clock(Arc::new(move || Duration::from_millis(wall.now().wall.get())));
        sandbox.add_app(APPID.parse().unwrap(), SECRET.parse().unwrap(), ["T".parse().unwrap()]);
        let ledger = Arc::new(MemoryLedger::with_clock(clock.clone()));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let base = public_url(listener.local_addr().unwrap());
        let (port, hash) = (listener.local_addr().unwrap().port(), password_hash());
        let user = |name: &str, role: &str| {
            format!("[[console.users]]\nname = \"{name}\"\npassword_hash = \"{hash}\"\nrole = \"{role}\"\n")
        };
        let text = format!(
            "audit = \"off\"\n[[apps]]\nappid = \"{APPID}\"\nsecret_env = \"S\"\ntoken_endpoint = \"token\"\n\
             api_base = \"http://127.0.0.1:1\"\n[ledger]\nurl = \"sqlite:/unused\"\n\
             [console]\nlisten = \"127.0.0.1:{port}\"\npublic_url = \"{base}\"\n{}{}{}",
            user("ops", "operator"),
            user("ann", "operator"),
            user("eve", "viewer"),
        );
        let (config, warnings) = Config::read(&text, |_| Some(SECRET.to_owned())).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        let transport = Arc::new(SandboxTransport::new(&sandbox).clock(clock.clone()));
        let builder = Server::builder(config).clock(clock.clone()).transport(transport);
        let server = runtime.block_on(builder.ledger(ledger.clone()).build()).unwrap();
        let console = server.clone();
        runtime.spawn(async move { console.serve_console(listener).await });
        Self { runtime, clock, sandbox, ledger, server, base }
    }

    pub(super) fn pass(&self, seconds: u64) {
        self.runtime.block_on(self.clock.advance_and_run(Duration::from_secs(seconds)));
    }

    /// Weixin refuses the server's address.
    pub(super) fn block_address(&self) {
        let appid = APPID.parse().unwrap();
        let mut settings = self.sandbox.settings(&appid).unwrap();
        settings.allowed_ips = Some(vec!["192.0.2.1".parse().unwrap()]);
        self.sandbox.configure(&appid, settings).unwrap();
        self.runtime.block_on(async { self.server.prefetch_tokens() });
        self.runtime.block_on(self.clock.advance_and_run(Duration::from_secs(1)));
    }

    fn commit(&self, change: Change) -> Applied {
        self.runtime.block_on(self.ledger.commit(vec![change])).unwrap().remove(0).unwrap()
    }

    /// Records a consent.
    pub(super) fn consent(&self, number: u8) -> Grant {
        let appid: AppId = APPID.parse().unwrap();
        let grant = Grant::assume_verified(OPENID, "T", u16::from(number)).unwrap();
        let subject = Subject::new(appid, &grant);
        let consent = NewConsent { grant: GrantId::from_bytes(id(number)), subject, nonce: None };
        self.commit(Change::RecordConsent(Box::new(consent)));
        grant
    }

    /// Records a consent and a message that uses it.
    pub(super) fn enqueue(&self, number: u8, title: &str) -> MessageId {
        self.enqueue_with(number, title, "It is here.")
    }

    pub(super) fn enqueue_with(&self, number: u8, title: &str, content: &str) -> MessageId {
        let (appid, grant) = (APPID.parse().unwrap(), self.consent(number));
        let body = Message::builder(grant).title(title).content(content).build().unwrap();
        let id = MessageId::from_bytes(id(number));
        let new = NewMessage { require_grant: true, ..NewMessage::new(id, appid, body) };
        match self.commit(Change::Enqueue(Box::new(new))) {
            Applied::Recorded(Ok(Recorded::New(message))) => message.id,
            other => panic!("{other:?}"),
        }
    }

    /// Endpoints of webhooks with these names.
    pub(super) fn set_endpoints(&self, names: &[&str]) {
        let endpoint = |name: &&str| StoredEndpoint {
            name: (*name).to_owned(),
            url_sha256: URL_SHA256,
            apps: None,
            events: WebhookEvent::ALL.iter().copied().collect(),
            with_openid: true,
            disabled_at: None,
        };
        self.commit(Change::SetEndpoints(names.iter().map(endpoint).collect()));
    }

    /// The first attempts to deliver to this endpoint end so.
    pub(super) fn settle_deliveries(&self, endpoint: &str, outcome: &DeliveryOutcome) {
        let (endpoint, url_sha256) = (endpoint.to_owned(), URL_SHA256);
        let claimed = self.commit(Change::ClaimDeliveries { endpoint, url_sha256, limit: 100 });
        let Applied::Deliveries(claimed) = claimed else { panic!("{claimed:?}") };
        assert!(!claimed.is_empty());
        for StoredDelivery { id, attempt, .. } in claimed {
            self.commit(Change::SettleDelivery { id, attempt, outcome: outcome.clone() });
        }
    }

    /// A message that Weixin refused with this text.
    pub(super) fn refused(&self, number: u8, errmsg: &str) -> MessageId {
        let message = self.enqueue(number, "Parcel");
        let worker = WorkerId::from_bytes(id(99));
        self.commit(Change::Register(worker));
        self.commit(Change::Claim { worker, appid: APPID.parse().unwrap(), limit: 1 });
        let errmsg = Some(errmsg.to_owned());
        let detail = Detail { errcode: Some(ErrCode::USER_REFUSED), errmsg, ..Detail::default() };
        let settlement = Settlement::Refused(detail);
        let settled = Change::Settle { message, worker, attempt: 1, settlement, max_failures: 20 };
        assert!(matches!(self.commit(settled), Applied::Settled { message: Some(_), .. }));
        message
    }

    /// A message whose worker was lost during the attempt.
    pub(super) fn undecided(&self, number: u8) -> MessageId {
        let message = self.enqueue(number, "Parcel");
        let worker = WorkerId::from_bytes(id(number));
        self.commit(Change::Register(worker));
        let claimed = self.commit(Change::Claim { worker, appid: APPID.parse().unwrap(), limit: 1 });
        assert!(matches!(claimed, Applied::Messages(messages) if messages.len() == 1));
        self.commit(Change::MarkGone(Gone::One(worker)));
        self.commit(Change::Reclaim(1));
        message
    }
}
