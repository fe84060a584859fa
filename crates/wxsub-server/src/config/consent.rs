//! The `[consent]` table: the keys that sign the requests for a consent, and the page that asks for it.

use std::path::Path;

use wxsub_core::consent::SigningKey;
use wxsub_core::secret_file::is_readable_by_others;
use wxsub_proto::BaseUrl;

use super::document::TableReader;
use super::file::{Links, open_regular, unreadable_file};
use super::secret::READABLE_BY_OTHERS;

/// The keys that sign and verify the state of a consent.
#[derive(Debug, Clone)]
pub(crate) struct ConsentConfig {
    pub(crate) current: SigningKey,
    /// Accepted too, during a rotation.
    pub(crate) previous: Option<SigningKey>,
    /// The base URL of the consent page, if it is not Weixin's: that of a sandbox.
    pub(crate) page: Option<BaseUrl>,
}

/// Reads `[consent]`. `None` if it is absent, or has a problem.
pub(super) fn read(top: &mut TableReader<'_>) -> Option<ConsentConfig> {
    let mut section = top.optional_section("consent")?;
    section.check_present("key_file");
    let current = key(&mut section, "key_file");
    let previous = key(&mut section, "previous_key_file");
    let page = section.text("mp_base").and_then(|text| {
        BaseUrl::new(&text).map_err(|invalid| section.problem("mp_base", invalid.rule())).ok()
    });
    section.finish();
    Some(ConsentConfig { current: current?, previous, page })
}

fn key(section: &mut TableReader<'_>, name: &str) -> Option<SigningKey> {
    let path = section.text(name)?;
    let file = open_regular(Path::new(&path), Links::Follow);
    let file = file.map_err(|error| section.problem(name, unreadable_file(&path, &error))).ok()?;
    if is_readable_by_others(&file) {
        section.warning(name, READABLE_BY_OTHERS);
    }
    SigningKey::from_open_file(file, &path).map_err(|error| section.problem(name, error.localized())).ok()
}
