//! The two APIs: the v1 API under `/v1`, and the Weixin-compatible API.

pub(crate) mod v1;
pub(crate) mod weixin_compat;
