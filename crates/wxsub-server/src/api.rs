//! The two APIs: our own under `/v1`, and one that looks like Weixin.

pub(crate) mod v1;
pub(crate) mod weixin_compat;
