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
mod hostile;
mod inbox;
mod interrupt;
mod language;
mod ledger;
mod manual;
mod outcomes;
mod sandbox;
mod secrets;
mod send_file;
mod send_one;
mod serve;
mod served;
mod served_outbox;
mod served_sandbox;
mod settings;
mod shops;
mod status;
mod token;
mod webhook;
mod weixin;
mod wxsub;
