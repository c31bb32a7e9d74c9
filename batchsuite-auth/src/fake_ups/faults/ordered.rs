//! A JSON object that keeps the order of its fields, so that an altered answer differs from the original only in the
//! altered fields.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};
use serde_json::Value;

pub(super) struct OrderedFields(pub(super) Vec<(String, Value)>);

impl OrderedFields {
    /// Sets a field in place, or appends it.
    pub(super) fn set(&mut self, name: &str, value: &Value) {
        match self.0.iter_mut().find(|(field, _)| field == name) {
            Some((_, old)) => *old = value.clone(),
            None => self.0.push((name.to_owned(), value.clone())),
        }
    }
}

impl Serialize for OrderedFields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de> Deserialize<'de> for OrderedFields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = OrderedFields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<OrderedFields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(OrderedFields(fields))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}
