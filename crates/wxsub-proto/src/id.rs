//! The identifiers that Weixin issues.

use std::sync::Arc;

use crate::validation::{identifier, validated_string, validated_text};

validated_text!(
    /// The AppID of a mobile app or Official Account: 1 to 128 of `[A-Za-z0-9_-]`. Not a secret.
    ///
    /// <https://developers.weixin.qq.com/doc/oplatform/en/Mobile_App/One-time_subscription_info.html>
    AppId(Arc<str>),
    |text| identifier("appid", text)
);

impl From<AppId> for String {
    fn from(appid: AppId) -> Self {
        appid.as_str().to_owned()
    }
}

validated_string!(
    /// A user's id for one app: 1 to 128 of `[A-Za-z0-9_-]`. A callback has it only if the user confirmed. It is personal
    /// data: keep it out of logs and metrics.
    ///
    /// <https://developers.weixin.qq.com/doc/oplatform/en/Mobile_App/One-time_subscription_info.html>
    OpenId,
    |text| identifier("openid", text)
);

validated_string!(
    /// The ID of an approved message template: 1 to 128 of `[A-Za-z0-9_-]`.
    ///
    /// <https://developers.weixin.qq.com/doc/oplatform/en/Mobile_App/One-time_subscription_info.html>
    TemplateId,
    |text| identifier("template_id", text)
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_to_128_letters_digits_underscore_hyphen() {
        for good in [
            "a",
            "wx0123456789abcdef",
            "oyAaTjt-xXvP87pubE4eUOF-ttD4",
            "7YuTL__ilzyZB9DXcDt2mHx",
            &"x".repeat(128),
        ] {
            assert!(
                AppId::new(good).is_ok() && OpenId::new(good).is_ok() && TemplateId::new(good).is_ok(),
                "{good}"
            );
        }
        for bad in ["", " ", "a b", "a/b", "o\n", "汉", "a%20", &"x".repeat(129)] {
            assert!(
                AppId::new(bad).is_err() && OpenId::new(bad).is_err() && TemplateId::new(bad).is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn errors_name_the_field_and_never_the_value() {
        let error = OpenId::new("secret person").unwrap_err();
        assert_eq!(
            error.to_string(),
            "openid: has a character that is not allowed at position 7; use only letters, digits, _ and -"
        );
        assert_eq!(AppId::new("").unwrap_err().to_string(), "appid: is empty; give it a value");
    }

    #[test]
    fn serde_applies_the_same_rules() {
        assert!(serde_json::from_str::<TemplateId>(r#""ok""#).is_ok());
        assert!(serde_json::from_str::<TemplateId>(r#""not ok""#).is_err());
    }
}
