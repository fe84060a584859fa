use crate::validate::validated_string;
use crate::{ValidationError, ValidationErrorKind};

validated_string!(
    /// The one colour of a text: `#` and six hexadecimal digits of either case.
    Color,
    |text| match text.strip_prefix('#') {
        Some(digits) if digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_hexdigit()) => Ok(()),
        _ => Err(ValidationError::new("color", ValidationErrorKind::InvalidFormat { expected: "# and six hexadecimal digits, such as #07C160" })),
    }
);

#[cfg(test)]
mod tests {
    use super::Color;

    #[test]
    fn rules() {
        for good in ["#000000", "#07C160", "#abcdef", "#AbCdEf"] {
            assert!(Color::new(good).is_ok(), "{good}");
        }
        for bad in ["", "#", "000000", "#00000", "#0000000", "#00000g", "red", "##00000", "#汉汉"] {
            assert!(Color::new(bad).is_err(), "{bad}");
        }
    }
}
