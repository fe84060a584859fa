//! The language of texts for people: that of `--lang`, else that of the locale.

use std::sync::OnceLock;

use clap::ValueEnum;
use wxsub_proto::{Language, LocalizedText, Remedy};

use crate::environment;

/// A value of `--lang`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lang {
    /// English
    En,
    /// Simplified Chinese
    Zh,
}

static CURRENT: OnceLock<Language> = OnceLock::new();

/// Sets the language of this process, once.
pub(crate) fn start(flag: Option<Lang>) {
    let language = match flag {
        Some(Lang::En) => Language::English,
        Some(Lang::Zh) => Language::Chinese,
        None => of_locale(environment::value_lossy),
    };
    // Fails only if the language was set before.
    let _ = CURRENT.set(language);
}

/// The language of this process; English before it is set.
pub(crate) fn current() -> Language {
    CURRENT.get().copied().unwrap_or_default()
}

/// A text in the language of this process.
pub(crate) fn shown<T: Clone>(text: &LocalizedText<T>) -> T {
    text.in_language(current())
}

/// What to do, in the language of this process.
pub(crate) fn advice(remedy: Remedy) -> &'static str {
    shown(&remedy.advice())
}

/// The language of the locale. The first variable that is set decides, as in POSIX.
fn of_locale(variable: impl Fn(&str) -> Option<String>) -> Language {
    let locale = environment::LOCALE.into_iter().find_map(variable);
    match locale.is_some_and(|locale| locale.starts_with("zh")) {
        true => Language::Chinese,
        false => Language::English,
    }
}

/// Formats a text in the language of this process: `localized!("{n} apps", "{n} 个应用")`.
macro_rules! localized {
    ($english:literal, $chinese:literal) => {
        match $crate::language::current() {
            wxsub_proto::Language::Chinese => format!($chinese),
            _ => format!($english),
        }
    };
}
pub(crate) use localized;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_variable_of_the_locale_decides() {
        for (variables, expected) in [
            (&[][..], Language::English),
            (&[("LANG", "zh_CN.UTF-8")], Language::Chinese),
            (&[("LANG", "en_US.UTF-8")], Language::English),
            (&[("LANG", "zh_CN.UTF-8"), ("LC_ALL", "C")], Language::English),
            (&[("LANG", "C"), ("LC_MESSAGES", "zh_CN")], Language::Chinese),
            (&[("LC_MESSAGES", "zh_CN"), ("LC_ALL", "en_US")], Language::English),
        ] {
            let read = |name: &str| {
                let found = variables.iter().find(|(variable, _)| *variable == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            assert_eq!(of_locale(read), expected, "{variables:?}");
        }
    }
}
