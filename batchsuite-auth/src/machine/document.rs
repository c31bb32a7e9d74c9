//! The JSON document of a grant, as stores keep it.

use serde::{Deserialize as _, de::Error as _};
use serde_json::{Deserializer, Error, Map, Value};

use super::grant::Grant;
use crate::ids::Revision;

impl Grant {
    /// Parses a grant's document; `revision` is stored next to it. Keeps fields that this release does not know.
    ///
    /// # Errors
    /// The document is not that of a grant.
    pub fn of_document(json: &str, revision: Revision) -> Result<Self, Error> {
        if !json.trim_start().starts_with('{') {
            // serde would accept an array for a struct whose fields all have defaults.
            return Err(Error::custom("it is no object"));
        }
        let mut names = Vec::new();
        let mut deserializer = Deserializer::from_str(json);
        // Keep only unknown top-level fields; unknown parts of a known field are dropped.
        let mut ignored = |path: serde_ignored::Path<'_>| {
            if let serde_ignored::Path::Map { parent: serde_ignored::Path::Root, key } = path {
                names.push(key);
            }
        };
        let mut grant = Self::deserialize(serde_ignored::Deserializer::new(&mut deserializer, &mut ignored))?;
        deserializer.end()?;
        if !names.is_empty() {
            let mut all: Map<String, Value> = serde_json::from_str(json)?;
            grant.unknown = names.into_iter().filter_map(|name| all.remove_entry(&name)).collect();
        }
        grant.revision = revision;
        Ok(grant)
    }

    /// The grant as JSON.
    ///
    /// # Errors
    /// A time that JSON cannot represent; no clock yields one.
    pub fn document(&self) -> Result<String, Error> {
        if self.unknown.is_empty() {
            return serde_json::to_string(self);
        }
        let Value::Object(mut all) = serde_json::to_value(self)? else { return serde_json::to_string(self) };
        for (name, value) in &self.unknown {
            all.entry(name.clone()).or_insert_with(|| value.clone());
        }
        serde_json::to_string(&all)
    }

    /// Stands in for a grant whose document cannot be read: only its revision is known. A later opt-in continues from
    /// it.
    pub fn damaged(revision: Revision) -> Self {
        Self { revision, removals: revision.epoch, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REVISION: Revision = Revision { epoch: 3, version: 7 };

    #[test]
    fn of_a_damaged_row_the_revision_is_known_and_each_earlier_consent_is_too_old() {
        let damaged = Grant::damaged(REVISION);

        assert_eq!((damaged.revision, damaged.removals), (REVISION, REVISION.epoch));
        assert_eq!(damaged.standing, Grant::default().standing);
    }

    #[test]
    fn fields_of_a_newer_release_survive() {
        let json = r#"{"standing":"authenticated","failures":2,"later":{"a":[1,null]},"much_later":"x"}"#;

        let grant = Grant::of_document(json, REVISION).unwrap();
        let written: Value = serde_json::from_str(&grant.document().unwrap()).unwrap();

        assert_eq!((grant.revision, grant.failures), (REVISION, 2));
        assert_eq!(written, serde_json::from_str::<Value>(json).unwrap());
    }

    #[test]
    fn what_is_no_grant_is_an_error() {
        for json in ["", "[]", "7", "{\"standing\":\"dancing\"}", "{\"failures\":-1}", "{} x"] {
            assert!(Grant::of_document(json, REVISION).is_err(), "{json}");
        }
    }

    #[test]
    fn a_number_of_a_newer_release_survives_to_its_last_digit() {
        for number in ["1.2345478901234567e28", "8.210266876799999e33", "-0.30000000000000004"] {
            let grant = Grant::of_document(&format!("{{\"later\":{number}}}"), REVISION).unwrap();
            let written = grant.document().unwrap();

            let again = Grant::of_document(&written, REVISION).unwrap();
            assert_eq!((grant.unknown["later"].as_f64(), &again), (number.parse().ok(), &grant), "{written}");
        }
    }

    #[test]
    fn an_empty_document_is_a_grant_that_was_never_saved() {
        assert_eq!(Grant::of_document("{}", Revision::default()).unwrap(), Grant::default());
    }
}
