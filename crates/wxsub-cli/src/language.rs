//! The language of texts for people: that of `--lang`, else that of the locale.
//!
//! Sentences are translated. Names are not: column headings, states, outcomes and checks stand in JSON, flags and documents, too.

use std::sync::OnceLock;

use clap::ValueEnum;
use wxsub_proto::{Language, LocalizedText, Remedy};

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
pub(crate) fn start(flag: Option<Lang>, locale: Option<&str>) {
    let language = match flag {
        Some(Lang::En) => Language::English,
        Some(Lang::Zh) => Language::Chinese,
        None if locale.is_some_and(|locale| locale.starts_with("zh")) => Language::Chinese,
        None => Language::English,
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

/// Formats a text in the language of this process: `localized!("{n} apps", "{n} 个应用", n = apps.len())`.
macro_rules! localized {
    ($english:literal, $chinese:literal $(, $name:ident = $value:expr)* $(,)?) => {
        match $crate::language::current() {
            wxsub_proto::Language::Chinese => format!($chinese $(, $name = $value)*),
            _ => format!($english $(, $name = $value)*),
        }
    };
}
pub(crate) use localized;
