//! The control server: one place that keeps the access tokens of many apps, so that AppSecrets stay in one place, no
//! service ends the token of another, and no herd refreshes at expiry.

mod app;
mod audit;
mod call;
mod client;
mod config;
mod deadline;
mod health;
mod house;
mod key;
mod listen;
mod metrics;
mod native;
mod network;
mod ration;
pub mod result_line;
mod send;
mod server;
mod state;
mod tls;
mod weixin;

pub use config::{Config, ConfigError, Finding, is_client_name};
pub use key::{ClientKey, KeyDigest, NoRandomness};
pub use server::{Server, ServerBuilder, StartError};
pub use state::{FileStore, StateError};
