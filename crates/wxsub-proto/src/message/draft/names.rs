//! The names of a message's members, and common misspellings.

/// The known members of each object. The OpenAPI document lists them too: a test compares `schema.rs` of `wxsub-api`.
pub(super) const KNOWN: [(&str, &[&str]); 4] = [
    ("message", &["touser", "template_id", "url", "miniprogram", "scene", "title", "data"]),
    ("miniprogram", &["appid", "pagepath"]),
    ("data", &["content"]),
    ("data.content", &["value", "color"]),
];

/// The number of known members.
pub(super) const KNOWN_COUNT: usize = {
    let [(_, message), (_, miniprogram), (_, data), (_, content)] = KNOWN;
    message.len() + miniprogram.len() + data.len() + content.len()
};

/// All known members: object and name. A member's place in this list is its index.
fn members() -> impl Iterator<Item = (&'static str, &'static str)> {
    KNOWN.into_iter().flat_map(|(object, names)| names.iter().map(move |name| (object, *name)))
}

/// The known members of an object, with their indexes.
pub(super) fn known(object: &str) -> impl Iterator<Item = (&'static str, usize)> {
    members()
        .enumerate()
        .filter(move |(_, (owner, _))| *owner == object)
        .map(|(index, (_, name))| (name, index))
}

/// The index of a member, if it is known.
pub(super) fn index(object: &str, name: &str) -> Option<usize> {
    members().position(|(owner, known)| known == name && owner == object)
}

/// The index of a known field, for example `data.content.value`.
pub(super) fn index_of_field(field: &str) -> Option<usize> {
    let (object, name) = field.rsplit_once('.').unwrap_or(("message", field));
    index(object, name)
}

/// The object that a known member must be, if it is one.
pub(super) fn child(object: &str, name: &str) -> Option<&'static str> {
    match (object, name) {
        ("message", "miniprogram") => Some("miniprogram"),
        ("message", "data") => Some("data"),
        ("data", "content") => Some("data.content"),
        _ => None,
    }
}

/// The enclosing object, the name as [`folded`], and the intended name. Most come from Weixin's other message types.
const OTHER_NAMES: [(&str, &str, &str); 21] = [
    ("message", "openid", "touser"),
    ("message", "to", "touser"),
    ("message", "template", "template_id"),
    ("message", "tmplid", "template_id"),
    ("message", "link", "url"),
    ("message", "redirecturl", "url"),
    ("message", "page", "miniprogram.pagepath"),
    ("message", "path", "miniprogram.pagepath"),
    ("message", "pagepath", "miniprogram.pagepath"),
    ("message", "appid", "miniprogram.appid"),
    ("message", "content", "data.content.value"),
    ("message", "value", "data.content.value"),
    ("message", "color", "data.content.color"),
    ("message", "topcolor", "data.content.color"),
    ("miniprogram", "path", "pagepath"),
    ("miniprogram", "page", "pagepath"),
    ("miniprogram", "url", "pagepath"),
    ("data", "value", "data.content.value"),
    ("data", "color", "data.content.color"),
    ("data.content", "text", "value"),
    ("data.content", "content", "value"),
];

/// The known name that is most similar to an unknown one.
pub(super) fn suggest(place: &str, name: &str) -> Option<&'static str> {
    let name = folded(name);
    let known = KNOWN.into_iter().find(|(other, _)| *other == place)?.1;
    let other = || OTHER_NAMES.into_iter().find(|(at, other, _)| *at == place && *other == name);
    known
        .iter()
        .copied()
        .find(|known| folded(known) == name)
        .or_else(|| other().map(|(_, _, meant)| meant))
        .or_else(|| known.iter().copied().find(|known| is_typo(&name, &folded(known))))
}

/// Removes case and separators: `toUser`, `to-user` and `to_user` become `touser`.
fn folded(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// Whether the names differ by at most one edit for every three letters.
fn is_typo(name: &str, known: &str) -> bool {
    strsim::osa_distance(name, known) <= known.len().div_ceil(3).min(2)
}

#[cfg(test)]
mod tests {
    use super::{KNOWN, OTHER_NAMES, folded, suggest};

    #[test]
    fn near_misses_are_recognized() {
        for (place, name, expected) in [
            ("message", "toUser", "touser"),
            ("message", "to_user", "touser"),
            ("message", "templateId", "template_id"),
            ("message", "miniProgram", "miniprogram"),
            ("message", "mini_program", "miniprogram"),
            ("message", "sence", "scene"),
            ("message", "tilte", "title"),
            ("message", "page", "miniprogram.pagepath"),
            ("message", "color", "data.content.color"),
            ("miniprogram", "path", "pagepath"),
            ("miniprogram", "page", "pagepath"),
            ("miniprogram", "pagePath", "pagepath"),
            ("miniprogram", "app_id", "appid"),
            ("data", "contents", "content"),
            ("data", "color", "data.content.color"),
            ("data.content", "colour", "color"),
            ("data.content", "text", "value"),
        ] {
            assert_eq!(suggest(place, name), Some(expected), "{place} {name}");
        }
        for (place, name) in [("message", "client_msg_id"), ("data", "keyword1"), ("miniprogram", "使用")] {
            assert_eq!(suggest(place, name), None, "{place} {name}");
        }
    }

    #[test]
    fn other_names_can_be_found_and_lead_to_known_ones() {
        let places: Vec<_> = KNOWN.iter().map(|(place, _)| *place).collect();
        for (place, name, meant) in OTHER_NAMES {
            assert!(places.contains(&place) && folded(name) == name, "{place} {name}");
            let (object, member) = match meant.rsplit_once('.') {
                Some((object, member)) => (object, member),
                None => (place, meant),
            };
            let known = KNOWN.iter().find(|(other, _)| *other == object).unwrap().1;
            assert!(known.contains(&member), "{place} {name}");
        }
    }
}
