//! JSON, read one level at a time.
//!
//! RFC 8259 allows values that not every parser can represent: a number beyond `f64`, an unpaired surrogate, unlimited
//! nesting. In a field that nobody needs, such a value must not cost the answer.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

/// The fields of an object in their order, each name and each value as it was sent.
pub(super) struct Object<'a>(pub(super) Vec<(&'a str, &'a RawValue)>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
        let mut fields = Vec::new();
        while let Some((name, value)) = map.next_entry::<&RawValue, &RawValue>()? {
            fields.push((name.get(), value));
        }
        Ok(Object(fields))
    }
}

/// A string's text, if it has no escapes.
pub(super) fn plain(raw: &str) -> Option<&str> {
    raw.strip_prefix('"')?.strip_suffix('"').filter(|text| !text.contains('\\'))
}

/// A string's text, with replacement characters for unpaired surrogates: it equals no text that has none. `None`: it is
/// not a string.
pub(super) fn text(raw: &str) -> Option<Zeroizing<String>> {
    #[derive(Deserialize)]
    struct Bytes<'a>(#[serde(borrow)] Cow<'a, [u8]>);

    if let Some(text) = plain(raw) {
        return Some(Zeroizing::new(text.to_owned()));
    }
    let Bytes(bytes) = serde_json::from_str(raw).ok()?;
    let bytes = Zeroizing::new(bytes.into_owned());
    Some(Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned()))
}
