//! The orders: each is one message to one user, who consents once. Weixin, to which they go.

use std::path::Path;
use std::time::Duration;

use wxsub_core::clock::{Clock, SystemClock};
use wxsub_core::proto::{AppId, ConsentAction, ConsentRequest, Grant, Message};
use wxsub_outbox::id::GrantId;
use wxsub_outbox::idempotency::IdempotencyKey;
use wxsub_sandbox::{Journal, Sandbox};

pub(super) const APP: &str = "wx0123456789abcdef";
pub(super) const SECRET: &str = "kill-test-secret";
pub(super) const TEMPLATE: &str = "TEMPLATE";
pub(super) const SCENE: u16 = 7;

pub(super) fn appid() -> AppId {
    APP.parse().unwrap()
}

/// Starts Weixin: a sandbox that notes all requests in this journal. Returns its address, too.
pub(super) async fn start_weixin(journal: &Path) -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    sandbox.add_app(appid(), SECRET.parse().unwrap(), [TEMPLATE.parse().unwrap()]);
    sandbox.set_journal(Journal::open(journal).unwrap());
    let address = wxsub_tests::serve(&sandbox).await.to_string();
    (sandbox, address)
}

/// The user consents to the message of this order.
pub(super) fn allow(sandbox: &Sandbox, order: u32) {
    let request = ConsentRequest::new(appid(), TEMPLATE, SCENE).unwrap();
    sandbox.consent(request, ConsentAction::Confirm { openid: user(order).parse().unwrap() }).unwrap();
}

pub(super) async fn pause(millis: u64) {
    let clock = SystemClock::new();
    clock.sleep_until(clock.now().mono + Duration::from_millis(millis)).await;
}

pub(super) fn user(order: u32) -> String {
    format!("oUser{order}")
}

/// The order of a user.
pub(super) fn order_of(user: &str) -> Option<u32> {
    user.strip_prefix("oUser")?.parse().ok()
}

pub(super) fn weixin_grant(order: u32) -> Grant {
    Grant::assume_verified(user(order), TEMPLATE, SCENE).unwrap()
}

/// The same each time, so that recording a consent again records nothing.
pub(super) fn grant_id(order: u32) -> GrantId {
    GrantId::from_bytes(u128::from(order).to_be_bytes())
}

pub(super) fn message(order: u32) -> Message {
    Message::builder(weixin_grant(order)).title("Order").content(order.to_string()).build().unwrap()
}

pub(super) fn key(order: u32) -> IdempotencyKey {
    format!("order-{order}").parse().unwrap()
}

/// Orders from here on are in transactions that are rolled back.
pub(super) const ROLLED_BACK: u32 = 1_000_000_000;

/// Every third order is sent at once.
pub(super) fn is_synchronous(order: u32) -> bool {
    order.is_multiple_of(3)
}

/// Every third order is a row of the inbox. The others are queued.
pub(super) fn is_row(order: u32) -> bool {
    order % 3 == 1
}

/// With a ledger in PostgreSQL, every second row is in its own database.
pub(super) fn is_own_row(order: u32) -> bool {
    order % 6 == 1
}
