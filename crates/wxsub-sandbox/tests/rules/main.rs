//! Weixin's rules, one by one, each with its source: a page of developers.weixin.qq.com.
//!
//! [INF] marks an inferred rule. [CHOSEN] marks a choice of the sandbox where nothing is known.

#![cfg(test)]

mod control;
mod faults;
mod journal;
#[cfg(feature = "pages")]
mod pages;
mod quota;
mod send;
mod stable_token;
mod token;
mod weixin;
