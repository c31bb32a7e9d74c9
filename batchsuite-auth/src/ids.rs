//! The identifiers that every layer uses.

use std::{
    borrow::Borrow,
    cmp::Ordering,
    fmt,
    hash::{BuildHasher, Hash, Hasher},
    ops::Deref,
    str::FromStr,
    sync::{Arc, LazyLock},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use uuid::Uuid;

use crate::random::random;

/// An identifier from the host is invalid: it must have 1 to 128 bytes and no control characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an identifier must have 1 to 128 bytes and no control characters; choose another one")]
#[non_exhaustive]
pub struct InvalidId;

macro_rules! host_id {
    ($(#[$doc:meta])* $name:ident($text:ty)) => {
        $(#[$doc])*
        ///
        /// The host's own text: 1 to 128 bytes without control characters. Cloning copies no text.
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name($text);

        impl $name {
            /// Takes the host's text.
            ///
            /// # Errors
            /// [`InvalidId`] if it is empty, longer than 128 bytes, or contains a control character.
            pub fn new(text: impl Into<Arc<str>>) -> Result<Self, InvalidId> {
                let text: Arc<str> = text.into();
                let valid = (1..=128).contains(&text.len()) && !text.chars().any(char::is_control);
                valid.then(|| Self(text.into())).ok_or(InvalidId)
            }

            /// The host's text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(Arc::<str>::from(id.to_string()).into())
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = InvalidId;

            fn try_from(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(String::deserialize(deserializer)?).map_err(D::Error::custom)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }
    };
}

host_id! {
    /// A company (tenant) that opts in.
    CompanyId(HashedText)
}

host_id! {
    /// A person in the host application who acts for a company.
    ActorId(Arc<str>)
}

impl CompanyId {
    /// The id as one segment of a path, percent-encoded (RFC 3986 §2.1): an id may hold any character but control characters.
    /// No encoding helps the ids `.` and `..`, which browsers take for steps in the path (WHATWG URL).
    ///
    /// ```
    /// let company = batchsuite_auth::CompanyId::new("Müller & Söhne/2")?;
    /// assert_eq!(format!("/companies/{}", company.path_segment()), "/companies/M%C3%BCller%20%26%20S%C3%B6hne%2F2");
    /// # Ok::<(), batchsuite_auth::InvalidId>(())
    /// ```
    pub fn path_segment(&self) -> String {
        const UNRESERVED: &[u8] = b"-._~";
        self.as_str().bytes().fold(String::new(), |segment, byte| {
            let is_unreserved = byte.is_ascii_alphanumeric() || UNRESERVED.contains(&byte);
            if is_unreserved {
                segment + char::from(byte).encode_utf8(&mut [0; 4])
            } else {
                format!("{segment}%{byte:02X}")
            }
        })
    }

    /// A precomputed hash of the text. It differs between processes.
    #[inline]
    pub(crate) fn known_hash(&self) -> u64 {
        self.0.hash
    }

    /// This company, as if the hash of its text were that of the other's.
    #[cfg(test)]
    pub(crate) fn colliding_with(mut self, other: &Self) -> Self {
        self.0.hash = other.0.hash;
        self
    }
}

/// A text with a precomputed hash, so that a look-up can find its slot in a map without reading the text.
///
/// [`Hash`] still hashes the text, as `Borrow<str>` requires.
#[derive(Clone)]
struct HashedText {
    hash: u64,
    text: Arc<str>,
}

/// Random for each process, so that nobody can prepare colliding texts.
static SEED: LazyLock<foldhash::fast::RandomState> = LazyLock::new(Default::default);

impl From<Arc<str>> for HashedText {
    fn from(text: Arc<str>) -> Self {
        Self { hash: SEED.hash_one(&*text), text }
    }
}

impl Deref for HashedText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl PartialEq for HashedText {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for HashedText {}

impl Hash for HashedText {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl PartialOrd for HashedText {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for HashedText {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// 128 random bits, shown as 32 hexadecimal digits. Not a secret.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(u128);

        impl $name {
            /// A new random id.
            pub fn random() -> Self {
                Self(random())
            }

            /// The id with these bits, as a store kept them.
            pub fn from_bits(bits: u128) -> Self {
                Self(bits)
            }

            /// The bits, for a store to keep.
            pub fn to_bits(self) -> u128 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let digits = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                u128::from_str_radix(&digits, 16).map(Self).map_err(D::Error::custom)
            }
        }
    };
}

random_id! {
    /// One attempt to refresh: one claim and at most one request.
    AttemptId
}

random_id! {
    /// One trip of a browser to UPS.com and back, or one import. It stands for the opt-in that comes of it.
    ConsentId
}

/// The first half of the id of a connect link. Of a trip's random id it is this with a chance of 2⁻⁶⁴.
const CONNECT_LINK: u64 = u64::from_be_bytes(*b"ups-link");

impl ConsentId {
    /// A new one of a connect link. A store keeps a link as it keeps a consent; the id alone tells them apart.
    pub(crate) fn of_connect_link() -> Self {
        Self(u128::from(CONNECT_LINK) << 64 | u128::from(random::<u64>()))
    }

    pub(crate) fn is_of_connect_link(self) -> bool {
        self.0 >> 64 == u128::from(CONNECT_LINK)
    }
}

/// The number of a company's opt-in, and of its rotation.
///
/// `epoch` goes up when an opt-in is stored or the authorization is removed, `version` with every new token pair within
/// an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Revision {
    /// The opt-in.
    pub epoch: u64,
    /// The rotation within the opt-in.
    pub version: u64,
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_1_to_128_bytes_and_no_control_characters() {
        for valid in ["a", "Acme & Söhne", &"x".repeat(128)] {
            assert_eq!(CompanyId::new(valid).unwrap().as_str(), valid);
        }
        for invalid in ["", "a\nb", "a\0", &"x".repeat(129), &"ö".repeat(65)] {
            assert_eq!(CompanyId::new(invalid), Err(InvalidId), "{invalid:?}");
        }
    }

    #[test]
    fn an_id_is_made_of_any_text_and_read_as_text() {
        let acme = CompanyId::new("acme").unwrap();
        for same in ["acme".parse(), CompanyId::try_from("acme"), CompanyId::try_from("acme".to_owned())] {
            assert_eq!(same, Ok(acme.clone()));
        }
        assert_eq!(AsRef::<str>::as_ref(&acme), "acme");
        assert_eq!(ActorId::try_from(""), Err(InvalidId));
        assert_eq!(ActorId::try_from("a\nb".to_owned()), Err(InvalidId));
    }

    #[test]
    fn the_known_hash_belongs_to_the_text() {
        let company = CompanyId::new("acme").unwrap();

        assert_eq!(company.known_hash(), CompanyId::new("acme").unwrap().known_hash());
        assert_ne!(company.known_hash(), CompanyId::new("acmf").unwrap().known_hash());
    }

    /// As `Borrow<str>` requires.
    #[test]
    fn a_company_is_found_by_its_text_in_a_map_of_the_hosts() {
        let companies = std::collections::HashMap::from([(CompanyId::new("acme").unwrap(), 1)]);

        assert_eq!(companies.get("acme"), Some(&1));
    }

    #[test]
    fn a_uuid_is_an_id() {
        assert_eq!(ActorId::from(Uuid::nil()).as_str(), "00000000-0000-0000-0000-000000000000");
    }
}
