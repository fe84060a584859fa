//! Reads a draft. Texts without escapes stay parts of the input.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::{Member, MessageDraft, names};
use crate::Message;
use crate::codec::{DUPLICATE_NAME, ValueVisitor, visit_scalars};

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        MessageDraft::deserialize(deserializer)?.validate().map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for MessageDraft<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut draft = Self::default();
        deserializer.deserialize_map(MembersVisitor { draft: &mut draft, object: "message" })?;
        Ok(draft)
    }
}

/// Reads the members of one object into a draft.
struct MembersVisitor<'d, 'de> {
    draft: &'d mut MessageDraft<'de>,
    object: &'static str,
}

impl<'de> Visitor<'de> for MembersVisitor<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let Self { draft, object } = self;
        while let Some(Name(name)) = members.next_key()? {
            let is_new = match names::index(object, &name) {
                Some(index) if draft.known.get(index).is_some_and(Option::is_none) => {
                    let seed = MemberVisitor { draft, object: names::child(object, &name) };
                    let member = members.next_value_seed(seed)?;
                    draft.known.get_mut(index).is_some_and(|slot| slot.replace(member).is_none())
                }
                Some(_) => {
                    members.next_value_seed(ValueVisitor)?;
                    false
                }
                None => {
                    draft.unknown.insert((object, name), members.next_value_seed(ValueVisitor)?).is_none()
                }
            };
            if !is_new {
                return Err(Error::custom(DUPLICATE_NAME));
            }
        }
        Ok(())
    }
}

/// Reads the value of a known member: of `object`, if it is to be an object.
struct MemberVisitor<'d, 'de> {
    draft: &'d mut MessageDraft<'de>,
    object: Option<&'static str>,
}

impl<'de> DeserializeSeed<'de> for MemberVisitor<'_, 'de> {
    type Value = Member<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for MemberVisitor<'_, 'de> {
    type Value = Member<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Member::Text(text.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Member::Text(text.to_owned().into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Self::Value, A::Error> {
        match self.object {
            Some(object) => MembersVisitor { draft: self.draft, object }
                .visit_map(members)
                .map(|()| Member::Object(object)),
            None => ValueVisitor.visit_map(members).map(Member::Other),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        ValueVisitor.visit_seq(items).map(Member::Other)
    }

    visit_scalars!(Member::Other);
}

/// A name. It is a part of the input, unless it has escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
