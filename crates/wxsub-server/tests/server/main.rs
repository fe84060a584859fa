//! The server in process: its routes, with the sandbox as Weixin and a manual clock.

#![cfg(test)]

mod audit;
mod authorization;
mod browser;
mod connections;
mod console;
mod console_ledger;
mod console_webhooks;
mod databases;
mod hostile;
mod idempotency;
mod inboxes;
mod invalid_requests;
mod ledger;
mod ledger_outcomes;
mod operating;
mod outage;
mod outbox;
mod reload;
mod routes;
mod setup;
mod test_ledger;
mod tls;
mod token_service;
mod typed_client;
mod v1;
mod webhook_receivers;
mod webhooks;
mod weixin;
