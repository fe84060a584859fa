//! One file per endpoint of Weixin's server API: its request and its reply, for the side that calls and for the side
//! that is called.

pub mod domain_ip;
pub mod quota;
pub mod stable_token;
pub mod subscribe;
pub mod token;
