//! How a ledger writes down its SQL.

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
