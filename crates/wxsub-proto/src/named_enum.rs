//! Enums whose values have names.

/// Makes an enum whose values have a name, which is a contract: the same in JSON, `as_str` and `Display`.
#[doc(hidden)]
#[macro_export]
macro_rules! named_enum {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $text:tt,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ::serde::Serialize, ::serde::Deserialize)]
        $vis enum $name {
            $($(#[$variant_meta])* #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// All values.
            $vis const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in JSON, logs and metrics.
            $vis const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use crate::Remedy;

    #[test]
    fn name_is_the_same_in_text_and_json() {
        for remedy in Remedy::ALL {
            let name = remedy.as_str();
            assert_eq!(
                (remedy.to_string().as_str(), serde_json::to_value(remedy).unwrap()),
                (name, name.into())
            );
            assert_eq!(&serde_json::from_value::<Remedy>(name.into()).unwrap(), remedy);
        }
        assert_eq!(Remedy::AllowIp.as_str(), "allow_ip");
    }
}
