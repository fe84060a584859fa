//! Why an app waits.

use wxsub_core::quota::next_daily_reset;
use wxsub_proto::AppId;

use super::fixture::{Fixture, HOUR, MINUTE, not_accepted, not_sent, refused, unknown};
use crate::ledger::{Change, NewMessage, NotRecorded};
use crate::message::{NotAccepted, Settlement, StoredMessage};
use crate::state::{Decision, GrantState, MessageState, Priority, WaitingFor};

impl Fixture {
    async fn waiting_for(&self) -> Option<WaitingFor> {
        let (app, now) = (self.app().await, self.now());
        let all = self.all().await;
        all.iter().find_map(|message| app.waiting_for(message, now))
    }

    /// Several messages wait, and one of them meets this.
    async fn meet(&self, why: NotAccepted) -> StoredMessage {
        for user in ["a", "b", "c"] {
            self.enqueue(user).await;
        }
        let claimed = self.claim_some(self.worker, &self.appid, 1).await.remove(0);
        self.settle(&claimed, not_accepted(why)).await.unwrap()
    }
}

pub(super) async fn an_operator_pauses_and_resumes(fixture: &Fixture) {
    fixture.enqueue("a").await;
    fixture.pause(&fixture.appid).await;
    fixture.pass(24 * HOUR).await;
    assert!(fixture.claim(fixture.worker).await.is_empty());
    assert_eq!(fixture.waiting_for().await, Some(WaitingFor::Paused));
    assert_eq!(fixture.begin(fixture.new_message("b")).await, Err(NotRecorded::Paused));
    assert!(fixture.record(fixture.new_message("b")).await.is_ok(), "the queue takes messages all the same");
    fixture.apply(Change::Resume(fixture.appid.clone())).await;
    assert_eq!(fixture.claim(fixture.worker).await.len(), 2);
}

pub(super) async fn the_limit_per_minute_pauses_for_a_minute(fixture: &Fixture) {
    let settled = fixture.meet(NotAccepted::MinuteQuota).await;
    assert_eq!((settled.state, settled.failures), (MessageState::Queued, 0));
    assert_eq!(fixture.waiting_for().await, Some(WaitingFor::Rate));
    fixture.pass(MINUTE - MINUTE / 60).await;
    assert!(fixture.claim(fixture.worker).await.is_empty());
    fixture.pass(MINUTE / 60).await;
    assert_eq!(fixture.claim(fixture.worker).await.len(), 3);
}

pub(super) async fn the_limit_per_day_pauses_until_midnight_in_beijing(fixture: &Fixture) {
    let midnight = next_daily_reset(fixture.now());
    fixture.clock.advance(midnight.since(fixture.now()) - 90 * MINUTE);
    fixture.apply(Change::Heartbeat(fixture.worker)).await;
    fixture.meet(NotAccepted::DailyQuota).await;
    assert_eq!(fixture.app().await.pauses.daily_quota.unwrap().until, midnight);
    assert_eq!(fixture.waiting_for().await, Some(WaitingFor::Quota));
    fixture.pass(59 * MINUTE).await;
    assert!(fixture.claim(fixture.worker).await.is_empty());
    // One probe an hour; and one at midnight.
    fixture.pass(MINUTE).await;
    let probe = fixture.claim(fixture.worker).await;
    assert_eq!(probe.len(), 1);
    assert!(fixture.claim(fixture.worker).await.is_empty(), "one probe at a time");
    fixture.settle(&probe[0], not_accepted(NotAccepted::DailyQuota)).await.unwrap();
    fixture.pass(29 * MINUTE).await;
    assert!(fixture.claim(fixture.worker).await.is_empty());
    fixture.pass(MINUTE).await;
    assert_eq!(fixture.now(), midnight);
    assert_eq!(fixture.claim(fixture.worker).await.len(), 1);
}

pub(super) async fn a_probe_without_an_end_does_not_hold_up_the_one_at_midnight(fixture: &Fixture) {
    let midnight = next_daily_reset(fixture.now());
    fixture.clock.advance(midnight.since(fixture.now()) - 90 * MINUTE);
    fixture.apply(Change::Heartbeat(fixture.worker)).await;
    fixture.meet(NotAccepted::DailyQuota).await;
    for (minutes, expected) in [(60, 1), (29, 0), (1, 1), (59, 0), (1, 1)] {
        fixture.pass(minutes * MINUTE).await;
        assert_eq!(fixture.claim(fixture.worker).await.len(), expected, "at {:?}", fixture.now());
    }
}

pub(super) async fn a_probe_lifts_the_daily_pause(fixture: &Fixture) {
    fixture.meet(NotAccepted::DailyQuota).await;
    fixture.pass(HOUR).await;
    // A probe without a response says nothing. The next one follows soon.
    for settlement in [unknown(), not_sent()] {
        let probe = fixture.claim(fixture.worker).await;
        assert_eq!(probe.len(), 1, "{settlement:?}");
        fixture.settle(&probe[0], settlement).await.unwrap();
        assert!(fixture.claim(fixture.worker).await.is_empty());
        fixture.pass(MINUTE).await;
    }
    // Any response but 45009 does.
    let probe = fixture.claim(fixture.worker).await;
    fixture.settle(&probe[0], refused(43101)).await.unwrap();
    assert_eq!(fixture.app().await.pauses.daily_quota, None);
    assert_eq!(fixture.claim(fixture.worker).await.len(), 1);
}

pub(super) async fn want_of_a_token_pauses_and_counts_no_failure(fixture: &Fixture) {
    let appid = || fixture.appid.clone();
    for (why, lift) in [
        (NotAccepted::NoToken, Change::Resume(appid())),
        (NotAccepted::StaleToken, Change::LiftTokenPause(appid())),
    ] {
        let settled = fixture.meet(why).await;
        assert_eq!((settled.state, settled.failures), (MessageState::Queued, 0));
        assert_eq!(fixture.waiting_for().await, Some(WaitingFor::Token));
        assert!(fixture.claim(fixture.worker).await.is_empty());
        fixture.apply(lift).await;
        for claimed in fixture.claim(fixture.worker).await {
            fixture.settle(&claimed, Settlement::Sent).await.unwrap();
        }
    }
    let settled = fixture.meet(NotAccepted::NoToken).await;
    assert_eq!((settled.failures, fixture.app().await.pauses.token.unwrap().failures), (0, 1));
    fixture.pass(MINUTE).await;
    fixture.enqueue("d").await;
    let claimed = fixture.claim(fixture.worker).await;
    fixture.settle(&claimed[0], Settlement::Sent).await.unwrap();
    assert_eq!(fixture.app().await.pauses.token, None, "an answer shows that the token works");
}

pub(super) async fn apps_that_can_claim_are_named(fixture: &Fixture) {
    let app = |name: &str| name.parse::<AppId>().unwrap();
    let claimable = async || {
        let mut apps = fixture.ledger.claimable_apps().await.unwrap();
        apps.sort();
        apps.iter().map(|appid| appid.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(claimable().await, [""; 0]);
    let of = |name: &str, priority| NewMessage { priority, ..fixture.new_message_of(&app(name), "o") };
    for (name, priority) in [("wx2", Priority::Low), ("wx3", Priority::High), ("wx5", Priority::Normal)] {
        fixture.record(of(name, priority)).await.unwrap();
    }
    let (later, expires_at) = (Some(fixture.now() + MINUTE), Some(fixture.now() + 2 * MINUTE));
    let scheduled = NewMessage { send_at: later, expires_at, ..of("wx4", Priority::High) };
    fixture.record(scheduled).await.unwrap();
    assert_eq!(claimable().await, ["wx2", "wx3", "wx5"]);
    fixture.pause(&app("wx3")).await;
    let claimed = fixture.claim_some(fixture.worker, &app("wx2"), 9).await.remove(0);
    assert_eq!(claimable().await, ["wx5"]);
    // A failure is retried, a paused app is not.
    fixture.settle(&claimed, not_sent()).await.unwrap();
    fixture.pass(MINUTE).await;
    assert_eq!(claimable().await, ["wx2", "wx4", "wx5"]);
    fixture.apply(Change::Resume(app("wx3"))).await;
    fixture.pass(MINUTE).await;
    assert_eq!(claimable().await, ["wx2", "wx3", "wx5"], "an expired message is not claimed");
    let claimed = fixture.claim_some(fixture.worker, &app("wx2"), 9).await.remove(0);
    fixture.settle(&claimed, not_accepted(NotAccepted::MinuteQuota)).await.unwrap();
    assert_eq!(claimable().await, ["wx3", "wx5"]);
    fixture.pass(MINUTE).await;
    assert_eq!(claimable().await, ["wx2", "wx3", "wx5"]);
}

pub(super) async fn the_first_due_message_is_found(fixture: &Fixture) {
    let first = async || fixture.ledger.first_due_at(&fixture.appid).await.unwrap();
    assert_eq!(first().await, None);
    let start = fixture.now();
    let at = |minutes: u32| Some(start + MINUTE * minutes);
    for (priority, minutes) in [(Priority::Low, 9), (Priority::High, 5), (Priority::Normal, 7)] {
        let new = NewMessage { send_at: at(minutes), priority, ..fixture.new_message("o") };
        fixture.record(new).await.unwrap();
    }
    let other = fixture.new_message_of(&"wx2".parse().unwrap(), "o");
    fixture.record(other).await.unwrap();
    assert_eq!(first().await, at(5));
    fixture.pass(6 * MINUTE).await;
    assert_eq!(first().await, at(5), "also when it is due");
    let claimed = fixture.claim(fixture.worker).await.remove(0);
    assert_eq!(first().await, at(7), "a claimed message is not queued");
    fixture.settle(&claimed, not_sent()).await.unwrap();
    assert_eq!(first().await, Some(fixture.get(claimed.id).await.due_at), "a retry is due after its pause");
}

pub(super) async fn apps_that_have_something_to_decide_are_named(fixture: &Fixture) {
    let other: AppId = "wx2".parse().unwrap();
    let of_other = fixture.record(fixture.new_message_of(&other, "o")).await.unwrap().message().clone();
    assert_eq!(fixture.ledger.undecided_apps().await, Ok(Vec::new()));
    let undecided = [fixture.maybe_sent("a").await, fixture.maybe_sent("b").await];
    assert_eq!(fixture.ledger.apps().await, Ok(vec![fixture.appid.clone(), other.clone()]));
    let claimed = fixture.claim_some(fixture.worker, &other, 9).await.remove(0);
    assert_eq!(claimed.id, of_other.id);
    fixture.settle(&claimed, unknown()).await.unwrap();
    let mut apps = fixture.ledger.undecided_apps().await.unwrap();
    apps.sort();
    assert_eq!(apps, [fixture.appid.clone(), other.clone()]);
    fixture.pass(HOUR).await;
    for message in undecided {
        fixture.decide(fixture.new_decision(message.id, Decision::AssumeSent)).await.unwrap();
    }
    assert_eq!(fixture.ledger.undecided_apps().await, Ok(vec![other]));
}

pub(super) async fn apps_do_not_disturb_each_other(fixture: &Fixture) {
    let other: AppId = "wx2".parse().unwrap();
    fixture.consent("o").await;
    let message = fixture.new_message_of(&other, "o");
    let recorded = fixture.record(fixture.with_key("k", message)).await.unwrap();
    assert_eq!(recorded.message().grant, None, "the consent was given to another app");
    let mine = fixture.record(fixture.with_key("k", fixture.new_message("o"))).await.unwrap();
    assert!(mine.message().grant.is_some() && mine.message().id != recorded.message().id);
    fixture.pause(&other).await;
    assert_eq!(fixture.claim_some(fixture.worker, &other, 9).await, []);
    fixture.claim_one(mine.message().id).await;
}

pub(super) async fn a_synchronous_send_waits_for_nothing(fixture: &Fixture) {
    fixture.consent("o").await;
    let begun = fixture.begin(fixture.new_message("o")).await.unwrap().message().clone();
    assert_eq!((begun.state, begun.attempt), (MessageState::Attempting, 1));
    assert_eq!(fixture.grants("o").await, [GrantState::Attempting]);
    let settled = fixture.settle(&begun, not_accepted(NotAccepted::MinuteQuota)).await.unwrap();
    assert_eq!(settled.state, MessageState::Refused, "it is never queued");
    assert_eq!(fixture.grants("o").await, [GrantState::Open]);
    assert_eq!(
        fixture.begin(fixture.new_message("o")).await,
        Err(NotRecorded::Paused),
        "the app waits all the same"
    );
    fixture.apply(Change::MarkGone(crate::ledger::Gone::One(fixture.worker))).await;
    assert_eq!(fixture.begin(fixture.new_message("o")).await, Err(NotRecorded::WorkerGone));
}
