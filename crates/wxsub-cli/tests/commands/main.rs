//! The binary against a sandbox over HTTP.

#![cfg(test)]

mod audit;
mod batch;
mod check;
mod cluster;
mod consent;
mod control_server;
mod database;
mod disk;
mod doctor;
mod durable;
mod explain;
mod flags;
#[path = "../../../../tests/free_port.rs"]
mod free_port;
mod hostile;
mod inbox;
mod interrupt;
mod language;
mod ledger;
mod manual;
#[path = "../../../wxsub-mysql/tests/mysql/server.rs"]
mod mariadb;
mod outcomes;
mod sandbox;
mod secrets;
mod send_file;
mod send_one;
mod serve;
mod served;
mod served_outbox;
mod served_outcomes;
mod served_sandbox;
mod settings;
mod shops;
mod status;
mod token;
mod webhook;
mod weixin;
mod wxsub;
