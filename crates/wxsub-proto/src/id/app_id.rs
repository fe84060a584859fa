use crate::validate::{identifier, validated_string};

validated_string!(
    /// The AppID of a mobile app or Official Account: 1 to 128 of `[A-Za-z0-9_-]`. Not a secret.
    ///
    /// <https://developers.weixin.qq.com/doc/oplatform/en/Mobile_App/One-time_subscription_info.html>
    AppId,
    |text| identifier("appid", text)
);
