//! The `wxsub` commands on the pages, ready to copy into a POSIX shell.

use std::borrow::Cow;
use std::fmt::Display;

use wxsub_proto::{BaseUrl, TemplateId};

use super::document::CALLBACK_PATH;
use crate::state::SandboxState;

/// The `reserved` value in the consent URLs of the home page. Its commands expect this value.
///
/// A real app uses a new, unguessable value for each consent.
pub(super) const RESERVED: &str = "fromTheHomePage";

/// Sets the variables that point `wxsub` to the sandbox at `base`.
pub(super) fn variables(state: &SandboxState, base: &str) -> String {
    let mut lines = vec![
        format!("export WXSUB_API_BASE={}", quote(base)),
        format!("export WXSUB_MP_BASE={}", quote(base)),
    ];
    // `wxsub` accepts plain HTTP to another machine only with this variable.
    if BaseUrl::new(base).is_err() {
        lines.push("export WXSUB_ALLOW_HTTP=1".to_owned());
    }
    for (index, (appid, app)) in state.sorted_apps().into_iter().enumerate() {
        // The variables select one app. The others are comments.
        let beside = if index == 0 { "" } else { "# or: " };
        let (appid, secret) = (quote(appid.as_str()), quote(app.secret.expose_secret()).into_owned());
        lines.push(format!("{beside}export WXSUB_APPID={appid} WXSUB_SECRET={secret}"));
    }
    lines.join("\n")
}

/// The command that makes a consent URL for this template.
pub(super) fn consent_url_command(template: &TemplateId, scene: impl Display, base: &str) -> String {
    format!(
        "wxsub consent url --template={} --scene {scene} \\\n  --redirect {} \\\n  --reserved {RESERVED}",
        quote(template.as_str()),
        quote(&format!("{base}{CALLBACK_PATH}"))
    )
}

/// The command that verifies a callback URL, which is given as one shell word.
pub(super) fn verify_command(callback_url: &str) -> String {
    format!("wxsub consent verify {callback_url} \\\n  --expect-reserved {RESERVED}")
}

/// The command that sends a message.
pub(super) fn send_command(openid: &str, template: &TemplateId, scene: impl Display) -> String {
    format!(
        "wxsub send --to={} \\\n  --template={} --scene {scene} \\\n  --title Parcel --content 'It is here.' \\\n  --color '#07C160'",
        quote(openid),
        quote(template.as_str())
    )
}

/// The text as one shell word, quoted if necessary.
pub(super) fn quote(text: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.into(),
        false => format!("'{}'", text.replace('\'', r"'\''")).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn quoted_text_is_one_shell_word() {
        for (text, expected) in [
            ("http://a:1/b_c-d.e", "http://a:1/b_c-d.e"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's $x", r"'it'\''s $x'"),
            ("#07C160", "'#07C160'"),
            ("/back?a=1&b", "'/back?a=1&b'"),
        ] {
            assert_eq!(quote(text), expected);
        }
    }
}
