//! The orders: each is one message to one user, who consents once.

use wxsub_core::proto::{AppId, Grant, Message};
use wxsub_outbox::id::GrantId;
use wxsub_outbox::idempotency::IdempotencyKey;

pub(super) const APP: &str = "wx0123456789abcdef";
pub(super) const SECRET: &str = "kill-test-secret";
pub(super) const TEMPLATE: &str = "TEMPLATE";
pub(super) const SCENE: u16 = 7;

pub(super) fn appid() -> AppId {
    APP.parse().unwrap()
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
