//! Weixin's server API, one file per endpoint: request and response, for the client and for the server.

pub mod domain_ip;
pub mod quota;
pub mod stable_token;
pub mod subscribe;
pub mod token;
