//! The identifiers that Weixin issues.

mod app_id;
mod open_id;
mod template_id;

pub use app_id::AppId;
pub use open_id::OpenId;
pub use template_id::TemplateId;

#[cfg(test)]
mod tests {
    use super::{AppId, OpenId, TemplateId};

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
    fn serde_goes_through_the_same_gate() {
        assert!(serde_json::from_str::<TemplateId>(r#""ok""#).is_ok());
        assert!(serde_json::from_str::<TemplateId>(r#""not ok""#).is_err());
    }
}
