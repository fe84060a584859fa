//! Weixin's rules, one by one, each with its source: a page of developers.weixin.qq.com.
//!
//! [INF] marks an inferred rule. [CHOSEN] marks a choice of the sandbox where nothing is known.

#[cfg(test)]
mod control;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod journal;
#[cfg(test)]
#[cfg(feature = "pages")]
mod pages;
#[cfg(test)]
mod quota;
#[cfg(test)]
mod send;
#[cfg(test)]
mod stable_token;
#[cfg(test)]
mod token;
#[cfg(test)]
mod weixin;
