use crate::validate::{identifier, validated_string};

validated_string!(
    /// A user as one app sees them: 1 to 128 of `[A-Za-z0-9_-]`. Present in an answer only when the user confirmed.
    /// Personal: keep it out of logs and metrics.
    ///
    /// <https://developers.weixin.qq.com/doc/oplatform/en/Mobile_App/One-time_subscription_info.html>
    OpenId,
    |text| identifier("openid", text)
);
