use crate::validate::{identifier, validated_string};

validated_string!(
    /// A user's id for one app: 1 to 128 of `[A-Za-z0-9_-]`. A callback has it only if the user confirmed. It is personal
    /// data: keep it out of logs and metrics.
    ///
    /// <https://developers.weixin.qq.com/doc/oplatform/en/Mobile_App/One-time_subscription_info.html>
    OpenId,
    |text| identifier("openid", text)
);
