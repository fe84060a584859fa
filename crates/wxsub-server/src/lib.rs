//! The control server: one place that keeps the access tokens of many apps, so that AppSecrets stay in one place, no
//! service ends the token of another, and no herd refreshes at expiry.

#![expect(dead_code, reason = "used by whoever listens")]

mod app;
mod audit;
mod call;
mod client;
mod config;
mod deadline;
mod health;
mod house;
mod key;
mod metrics;
mod native;
mod network;
mod ration;
pub mod result_line;
mod send;
mod server;
mod weixin;

pub use config::{Config, ConfigError, Finding};
pub use key::{ClientKey, KeyDigest, NoRandomness};
pub use server::{Server, ServerBuilder};
