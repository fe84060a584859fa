//! How a ledger writes down its SQL.

use crate::idempotency::Fingerprint;

/// A step of a ledger's schema. A step that was released never changes.
#[derive(Debug, Clone, Copy)]
pub struct SchemaStep {
    /// The version that the schema has with it.
    pub version: u32,
    /// Its name.
    pub name: &'static str,
    /// Its statements.
    pub sql: &'static str,
}

impl SchemaStep {
    /// The SHA-256 of its statements, as 64 hexadecimal digits.
    #[must_use]
    pub fn checksum(&self) -> String {
        Fingerprint::of_bytes(self.sql.as_bytes()).to_string()
    }
}

/// All statements of a ledger, each from parts that are put together, and a list of them for its tests.
#[doc(hidden)]
#[macro_export]
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = [$($part:expr),+];)+) => {
        $($(#[$doc])* pub(crate) const $name: &str = concat!($($part),+);)+

        /// All of them, with their names.
        #[cfg(test)]
        pub(crate) const ALL: &[(&str, &str)] = &[$((stringify!($name), $name)),+];
    };
}

/// Texts that several statements have, as macros, because `concat!` takes no constants.
#[doc(hidden)]
#[macro_export]
macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident = $text:expr;)+) => { $(
        macro_rules! $name {
            () => {
                $text
            };
        }
    )+ };
}
