//! The server in process: its routes, with the sandbox as Weixin and a manual clock.

#[cfg(test)]
mod audit;
#[cfg(test)]
mod authorization;
#[cfg(test)]
mod browser;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod console;
#[cfg(test)]
mod console_ledger;
#[cfg(test)]
mod console_webhooks;
#[cfg(test)]
mod databases;
#[cfg(test)]
#[path = "../../../../tests/free_port.rs"]
mod free_port;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod idempotency;
#[cfg(test)]
mod inboxes;
#[cfg(test)]
mod invalid_requests;
#[cfg(test)]
mod ledger;
#[cfg(test)]
mod ledger_outcomes;
#[cfg(test)]
#[path = "../../../wxsub-mysql/tests/mysql/server.rs"]
mod mariadb_server;
#[cfg(test)]
mod operating;
#[cfg(test)]
mod outage;
#[cfg(test)]
mod outbox;
#[cfg(test)]
#[path = "../../../wxsub-postgres/tests/postgres/server.rs"]
mod postgres_server;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod routes;
#[cfg(test)]
mod setup;
#[cfg(test)]
mod test_ledger;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod token_service;
#[cfg(test)]
mod typed_client;
#[cfg(test)]
mod v1;
#[cfg(test)]
mod webhook_receivers;
#[cfg(test)]
mod webhooks;
#[cfg(test)]
mod weixin;
