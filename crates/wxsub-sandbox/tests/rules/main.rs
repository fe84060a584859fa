//! What Weixin documents, rule by rule, each with its source: a page of developers.weixin.qq.com, or [INF] where it is
//! inferred and [CHOSEN] where nothing is known and the sandbox had to choose.

#[cfg(test)]
mod consent_page;
#[cfg(test)]
mod control;
#[cfg(test)]
mod credentials;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod limits;
#[cfg(test)]
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
