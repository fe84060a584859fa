use crate::validate::{identifier, validated_string};

validated_string!(
    /// The ID of an approved message template: 1 to 128 of `[A-Za-z0-9_-]`.
    ///
    /// <https://developers.weixin.qq.com/doc/oplatform/en/Mobile_App/One-time_subscription_info.html>
    TemplateId,
    |text| identifier("template_id", text)
);
