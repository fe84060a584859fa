use crate::validate::{check_charset, check_length, validated_string};

validated_string!(
    /// The value that travels with the request and comes back unchanged: the proof against forged answers. 1 to 128 of
    /// `[a-zA-Z0-9]`. Weixin's mobile SDK checks none of this.
    ///
    /// An unset `reserved` can come back as the text `null`; an [`ConsentCallback`](super::ConsentCallback) reads that as absent. So the
    /// value `null` itself would be lost on the way and is refused.
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
