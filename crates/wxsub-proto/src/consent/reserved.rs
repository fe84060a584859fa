use crate::validate::{check_charset, check_length, validated_string};

validated_string!(
    /// The value of a request that the callback returns unchanged: the protection against forged callbacks. 1 to 128 of
    /// `[a-zA-Z0-9]`. Weixin's mobile SDK does not check it.
    ///
    /// An unset `reserved` can come back as the text `null`; a [`ConsentCallback`](super::ConsentCallback) reads that as
    /// absent. The value `null` itself is therefore refused.
    Reserved,
    |text| {
        check_charset("reserved", text, "letters and digits", |c| c.is_ascii_alphanumeric())?;
        check_length("reserved", text, 128)?;
        match text {
            "null" => {
                let expected = "something else than the text null, which Weixin sends for an unset value";
                Err(crate::ValidationError::new("reserved", crate::ValidationErrorKind::InvalidFormat { expected }))
            }
            _ => Ok(()),
        }
    }
);

#[cfg(test)]
mod tests {
    use super::Reserved;

    #[test]
    fn rules() {
        for good in ["a", "Hello123", &"z".repeat(128)] {
            assert!(Reserved::new(good).is_ok());
        }
        for bad in ["", "a-b", "a_b", "a b", "é", "null", &"z".repeat(129)] {
            assert!(Reserved::new(bad).is_err(), "{bad}");
        }
    }
}
