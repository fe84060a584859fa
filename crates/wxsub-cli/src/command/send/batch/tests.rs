//! Batches with a sandbox in this process and a clock that skips every wait.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;
use wxsub_core::Client;
use wxsub_core::clock::{ClockReading, UnixMillis};
use wxsub_core::transport::{HttpRequest, TransportError, TransportErrorKind};
use wxsub_proto::codec::RawResponse;
use wxsub_proto::{ConsentAction, ConsentRequest, ErrCode};
use wxsub_sandbox::{Fault, Sandbox};

use super::*;
use crate::command::send::flow::{Block, OnError};

const APPID: &str = "wx0123456789abcdef";
const SEND: &str = "/cgi-bin/message/template/subscribe";
const MINUTE: Duration = Duration::from_secs(60);

/// A clock whose waits end at once and advance the time. It records the waits.
#[derive(Debug, Default)]
struct SkippingClock(Mutex<(MonotonicInstant, Vec<Duration>)>);

#[async_trait]
impl Clock for SkippingClock {
    fn now(&self) -> ClockReading {
        ClockReading::new(self.0.lock().unwrap().0, UnixMillis::default())
    }

    async fn sleep_until(&self, at: MonotonicInstant) {
        let mut state = self.0.lock().unwrap();
        let wait = at.duration_since(state.0);
        state.1.push(wait);
        state.0 = state.0.max(at);
    }
}

fn sandbox(users: u16) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.add_app(APPID.parse().unwrap(), "s".parse().unwrap(), ["T".parse().unwrap()]);
    for scene in 1..=users {
        let request = ConsentRequest::new(APPID, "T", scene).unwrap();
        sandbox.consent(request, ConsentAction::Confirm { openid: "o".parse().unwrap() }).unwrap();
    }
    sandbox
}

/// What the network does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Network {
    Up,
    /// There is no connection.
    Down,
    /// The request arrives, the response is lost.
    LosesResponses,
}

fn sender(sandbox: &Sandbox) -> Sender {
    sender_over(sandbox, |_| Network::Up)
}

/// A sender over a network whose state depends on the number of messages posted so far.
fn sender_over(sandbox: &Sandbox, network: impl Fn(u64) -> Network + Send + Sync + 'static) -> Sender {
    let (sandbox, posts) = (sandbox.clone(), AtomicU64::new(0));
    let transport = move |request: HttpRequest| {
        let posted = match request.path() {
            SEND => posts.fetch_add(1, Ordering::Relaxed),
            _ => posts.load(Ordering::Relaxed),
        };
        let (sandbox, network) = (sandbox.clone(), network(posted));
        async move {
            if network == Network::Down {
                return Err(TransportError::before_sending(TransportErrorKind::Connect, "down"));
            }
            let request = request.into_http();
            let target = request.uri().path_and_query().unwrap().as_str();
            let exchange = sandbox.handle(request.method().as_str(), target, request.body());
            let response = exchange.outcome.unwrap();
            match network {
                Network::LosesResponses => {
                    Err(TransportError::maybe_sent(TransportErrorKind::Broken, "lost"))
                }
                _ => Ok(RawResponse::new(response.status, Bytes::from(response.body))),
            }
        }
    };
    Sender::Direct(Client::builder(APPID, "s", transport).build().unwrap())
}

/// The end of a batch.
struct Finished {
    outcomes: Vec<(u64, String)>,
    waits: Vec<Duration>,
    stopped: Option<StopReason>,
    rest: String,
    untried: Untried,
}

impl Finished {
    /// The lines with this outcome.
    fn lines(&self, outcome: &str) -> Vec<u64> {
        self.outcomes.iter().filter(|(_, found)| found == outcome).map(|(line, _)| *line).collect()
    }
}

/// Runs a batch with one message for each scene from 1 to `lines`.
async fn run(sandbox: &Sandbox, lines: u16, rules: FlowRules) -> Finished {
    run_selected(&sender(sandbox), lines, "1-", rules).await
}

/// Runs the selected lines of a batch with this many lines.
async fn run_selected(sender: &Sender, lines: u16, selection: &str, rules: FlowRules) -> Finished {
    let line = |scene| {
        format!(
            r#"{{"touser":"o","template_id":"T","scene":{scene},"title":"t","data":{{"content":{{"value":"v"}}}}}}"#
        )
    };
    let text = (1..=lines).map(line).collect::<Vec<_>>().join("\n");
    let length = Some(text.len() as u64);
    let input = Input { bytes: Box::new(io::Cursor::new(text)), length };
    let batch = BatchSend::new(input, selection.parse().unwrap(), 4, rules);
    let (clock, mut out) = (SkippingClock::default(), Vec::new());
    let interrupt = Interrupt::listen(None).unwrap();
    let end = batch.run(sender, &interrupt, &clock, ResultWriter::new(&mut out)).await;
    let (stopped, rest, untried) = (end.stopped, end.rest.to_string(), end.summary.untried);
    let read = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap();
        (value["line"].as_u64().unwrap(), value["outcome"].as_str().unwrap().to_owned())
    };
    let outcomes = String::from_utf8(out).unwrap().lines().map(read).collect();
    let waits = clock.0.into_inner().unwrap().1.into_iter().filter(|wait| !wait.is_zero()).collect();
    Finished { outcomes, waits, stopped, rest, untried }
}

fn rules() -> FlowRules {
    FlowRules { on_error: OnError::Stop, limit: None, interval: Duration::ZERO }
}

fn sent(lines: u16) -> Vec<(u64, String)> {
    (1..=lines).map(|line| (line.into(), "sent".to_owned())).collect()
}

#[tokio::test]
async fn batch_waits_for_minute_quota_and_sends_every_line_once() {
    let sandbox = sandbox(20);
    sandbox.add_fault(SEND, 6, Fault::ErrCode(ErrCode::MINUTE_QUOTA));
    let finished = run(&sandbox, 20, rules()).await;
    assert_eq!((finished.outcomes, finished.stopped), (sent(20), None));
    // Up to four lines in flight are limited. After each wait one attempt starts.
    assert!((3..=6).contains(&finished.waits.len()), "{:?}", finished.waits);
    assert!(finished.waits.iter().all(|wait| *wait == MINUTE), "{:?}", finished.waits);
    assert_eq!(sandbox.mailbox(&"o".parse().unwrap()).len(), 20);
}

#[tokio::test]
async fn endless_minute_quota_stops_the_batch() {
    let sandbox = sandbox(9);
    sandbox.add_fault(SEND, u64::MAX, Fault::ErrCode(ErrCode::MINUTE_QUOTA));
    let finished = run(&sandbox, 9, rules()).await;
    let tried = finished.outcomes.len() as u64;
    assert!((1..=4).contains(&tried) && finished.outcomes.iter().all(|(_, outcome)| outcome == "refused"));
    assert_eq!(finished.waits, [MINUTE; 10]);
    assert!(matches!(finished.stopped, Some(StopReason::RateLimited(_))), "{:?}", finished.stopped);
    assert_eq!((finished.rest.as_str(), finished.untried), ("1-", Untried::Known(9 - tried)));
}

#[tokio::test]
async fn daily_quota_stops_at_once_and_lists_the_rest() {
    let sandbox = sandbox(100);
    sandbox.add_fault(SEND, 1, Fault::ErrCode(ErrCode::DAILY_QUOTA));
    let finished = run(&sandbox, 100, FlowRules { on_error: OnError::Continue, ..rules() }).await;
    let (refused, tried) = (finished.lines("refused"), finished.outcomes.len() as u64);
    assert_eq!((refused.len(), finished.lines("sent").len() as u64), (1, tried - 1));
    assert!(tried <= 8 && finished.waits.is_empty(), "{tried}");
    assert_eq!(finished.stopped, Some(StopReason::Blocked(Block::DailyQuota, refused[0])));
    let mut rest = LineSet::from_line(tried + 1);
    rest.insert_range(refused[0], refused[0]);
    assert_eq!((finished.rest, finished.untried), (rest.to_string(), Untried::Known(100 - tried)));
}

#[tokio::test]
async fn rate_is_kept() {
    let sandbox = sandbox(5);
    let finished = run(&sandbox, 5, FlowRules { interval: MINUTE, ..rules() }).await;
    assert_eq!((finished.outcomes, finished.waits), (sent(5), vec![MINUTE; 4]));
}

/// The pauses after failures in a row. There is none after the first.
const NETWORK_WAITS: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(4)];

#[tokio::test]
async fn network_failure_between_messages_leaves_the_rest_untried() {
    let sandbox = sandbox(200);
    let breaking = sender_over(&sandbox, |posted| if posted < 100 { Network::Up } else { Network::Down });
    let stopped = run_selected(&breaking, 200, "1-", rules()).await;
    let unsent = stopped.lines("not_sent");
    assert_eq!((stopped.lines("sent"), stopped.waits.as_slice()), ((1..=100).collect(), &NETWORK_WAITS[..]));
    assert!((1..=4).contains(&unsent.len()) && stopped.outcomes.len() == 100 + unsent.len(), "{unsent:?}");
    assert!(matches!(stopped.stopped, Some(StopReason::NoResponse(_))), "{:?}", stopped.stopped);
    assert_eq!((stopped.rest.as_str(), stopped.untried), ("101-", Untried::Known(100 - unsent.len() as u64)));
    let finished = run_selected(&sender(&sandbox), 200, &stopped.rest, rules()).await;
    assert_eq!((finished.lines("sent"), finished.stopped), ((101..=200).collect(), None));
    assert_eq!(sandbox.mailbox(&"o".parse().unwrap()).len(), 200);
}

#[tokio::test]
async fn message_whose_response_was_lost_is_not_sent_again() {
    let sandbox = sandbox(200);
    let breaking =
        sender_over(&sandbox, |posted| if posted < 100 { Network::Up } else { Network::LosesResponses });
    let stopped = run_selected(&breaking, 200, "1-", rules()).await;
    let unknown = stopped.lines("maybe_sent");
    assert_eq!((stopped.lines("sent").len(), stopped.waits.as_slice()), (100, &NETWORK_WAITS[..]));
    // At most four are in flight at the first failure, and three attempts follow.
    assert!((4..=7).contains(&unknown.len()) && stopped.outcomes.len() == 100 + unknown.len(), "{unknown:?}");
    assert!(matches!(stopped.stopped, Some(StopReason::NoResponse(_))), "{:?}", stopped.stopped);
    let finished = run_selected(&sender(&sandbox), 200, &stopped.rest, rules()).await;
    assert!(unknown.iter().all(|line| !finished.lines("sent").contains(line)), "{unknown:?}");
    assert_eq!(finished.lines("sent").len(), 100 - unknown.len());
    assert_eq!(sandbox.mailbox(&"o".parse().unwrap()).len(), 200);
}

/// A file on a network file system whose server is gone.
#[tokio::test]
async fn second_signal_ends_the_count_of_the_rest() {
    struct Silent(std::sync::mpsc::Receiver<()>);
    impl io::Read for Silent {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(0)
        }
    }
    let (end_of_file, wait) = std::sync::mpsc::channel();
    let input = Input { bytes: Box::new(Silent(wait)), length: Some(1) };
    let batch = BatchSend::new(input, LineSet::from_line(1), 4, rules());
    let (signal, interrupt) = Interrupt::by_hand();
    signal();
    signal();
    let (sender, results) = (sender(&sandbox(1)), ResultWriter::new(Vec::new()));
    let end = batch.run(&sender, &interrupt, &SkippingClock::default(), results).await;
    assert_eq!((end.stopped, end.summary.untried), (Some(StopReason::Interrupted), Untried::Unknown));
    drop(end_of_file);
}

#[tokio::test]
async fn batch_stops_if_no_token_can_be_fetched() {
    let sandbox = sandbox(50);
    let stopped = run_selected(&sender_over(&sandbox, |_| Network::Down), 50, "1-", rules()).await;
    assert_eq!((stopped.lines("not_sent").len(), stopped.outcomes.len()), (4, 4));
    assert!(matches!(stopped.stopped, Some(StopReason::NoResponse(_))), "{:?}", stopped.stopped);
    assert_eq!((stopped.rest.as_str(), stopped.untried), ("1-", Untried::Known(46)));
    let finished = run_selected(&sender(&sandbox), 50, &stopped.rest, rules()).await;
    assert_eq!(finished.outcomes, sent(50));
}
