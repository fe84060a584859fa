//! The control server: one place that keeps the access tokens of many apps, so that AppSecrets stay in one place, no
//! service ends the token of another, and no herd refreshes at expiry.

#![expect(dead_code, reason = "read and checked here, used by the doors")]

mod client;
mod config;
mod key;
mod network;

pub use config::{Config, ConfigError, Finding};
pub use key::{ClientKey, KeyDigest, NoRandomness};
