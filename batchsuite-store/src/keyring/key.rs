//! Keys, their names, and their text format.

use std::{fmt, str::FromStr, sync::Arc};

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::{Engine, engine::general_purpose::STANDARD};
use secrecy::zeroize::Zeroizing;

/// The length of a key in bytes (256 bits).
pub const KEY_LENGTH: usize = 32;

/// The name of a key: 1 to 32 characters of `A–Z a–z 0–9 . _ -`, e.g. `2026-11`. It is part of every ciphertext and not
/// secret.
///
/// A key in base64 or hexadecimal is longer than any name, so a key written in the wrong place is never accepted or
/// shown as a name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(Arc<str>);

impl KeyId {
    /// The maximum length of a name, in bytes.
    pub const MAX_LENGTH: usize = 32;

    /// Validates a name.
    ///
    /// # Errors
    /// [`InvalidKeyId`] if the name is empty, longer than 32 bytes, or has other characters.
    pub fn new(name: impl AsRef<str>) -> Result<Self, InvalidKeyId> {
        Self::from_bytes(name.as_ref().as_bytes()).ok_or(InvalidKeyId)
    }

    pub(super) fn from_bytes(name: &[u8]) -> Option<Self> {
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
        let valid = (1..=Self::MAX_LENGTH).contains(&name.len()) && name.iter().all(allowed);
        valid.then(|| std::str::from_utf8(name).ok())?.map(|name| Self(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyId {
    type Err = InvalidKeyId;

    fn from_str(name: &str) -> Result<Self, InvalidKeyId> {
        Self::new(name)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Not a valid key name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name of a key has 1 to 32 of the characters A-Z a-z 0-9 . _ -")]
#[non_exhaustive]
pub struct InvalidKeyId;

/// A named key, ready for use. Cloning does not copy the key.
///
/// Only aws-lc holds the key's bytes, and it wipes the memory it frees.
#[derive(Clone)]
pub struct Key {
    id: KeyId,
    aead: Arc<LessSafeKey>,
    fingerprint: [u8; 16],
}

impl Key {
    /// Prepares a key. The caller wipes `secret`.
    ///
    /// # Errors
    /// [`InvalidKeys::Length`] if `secret` is not 32 bytes long.
    pub fn new(id: KeyId, secret: &[u8]) -> Result<Self, InvalidKeys> {
        let wrong = || InvalidKeys::Length { id: id.clone(), bytes: secret.len() };
        let aead = LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, secret).map_err(|_| wrong())?);
        // The tag of an empty message under a nonce of zeros: it identifies a key and reveals nothing about it. GCM-SIV
        // tolerates a repeated nonce (RFC 8452 §1), so the key's other uses stay safe.
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let tag = aead
            .seal_in_place_separate_tag(nonce, Aad::from("batchsuite key fingerprint"), &mut [])
            .map_err(|_| wrong())?;
        let fingerprint = tag.as_ref().try_into().map_err(|_| wrong())?;
        Ok(Self { id, aead: Arc::new(aead), fingerprint })
    }

    /// The key's name.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    pub(super) fn aead(&self) -> &LessSafeKey {
        &self.aead
    }

    /// Identifies the key without revealing it, so that a database can keep the value beside the key's name.
    pub fn check_value(&self) -> &[u8; 16] {
        &self.fingerprint
    }

    /// Whether both are the same key, whatever their names.
    pub(super) fn is_same_secret(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A non-empty set of keys. The primary encrypts; all decrypt. The set also holds the names of lost keys.
#[derive(Clone)]
pub struct KeySet {
    /// The primary is first.
    keys: Vec<Key>,
    lost: Vec<KeyId>,
}

/// Written instead of a lost key's value. It cannot be mistaken for a key, which has 44 characters.
const LOST: &str = "lost";

impl KeySet {
    /// A set of one key.
    #[must_use]
    pub fn new(primary: Key) -> Self {
        Self { keys: vec![primary], lost: Vec::new() }
    }

    /// Declares the key of this name lost: data encrypted under it is given up, and a store that would otherwise
    /// require the key accepts the set.
    ///
    /// # Errors
    /// [`InvalidKeys::RepeatedId`]
    pub fn with_lost(mut self, id: KeyId) -> Result<Self, InvalidKeys> {
        if self.ids().chain(&self.lost).any(|known| *known == id) {
            return Err(InvalidKeys::RepeatedId { id });
        }
        self.lost.push(id);
        Ok(self)
    }

    /// Whether the key of this name was declared lost.
    pub fn is_lost(&self, id: &KeyId) -> bool {
        self.lost.contains(id)
    }

    /// Adds a key that only decrypts.
    ///
    /// # Errors
    /// [`InvalidKeys::RepeatedId`] or [`InvalidKeys::RepeatedKey`].
    pub fn with_secondary(mut self, key: Key) -> Result<Self, InvalidKeys> {
        if self.lost.contains(&key.id) {
            return Err(InvalidKeys::RepeatedId { id: key.id });
        }
        for known in &self.keys {
            if known.id == key.id {
                return Err(InvalidKeys::RepeatedId { id: key.id });
            }
            if known.is_same_secret(&key) {
                return Err(InvalidKeys::RepeatedKey { first: known.id.clone(), second: key.id });
            }
        }
        self.keys.push(key);
        Ok(self)
    }

    /// Parses `name:base64` entries, separated by commas or line breaks, **the primary first**. Blank entries and lines
    /// that begin with `#` are skipped. `name:lost` declares a key [lost](Self::with_lost). The caller wipes `text`.
    ///
    /// # Errors
    /// [`InvalidKeys`]; it names an entry by its number, counted from 1, and never shows its text.
    pub fn parse(text: &str) -> Result<Self, InvalidKeys> {
        let entries = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.starts_with('#'))
            .flat_map(|line| line.split(','))
            .map(str::trim)
            .filter(|entry| !entry.is_empty());
        let (mut keys, mut lost) = (None::<Self>, Vec::new());
        for (index, text) in entries.enumerate() {
            let key = match parse_entry(index + 1, text)? {
                Entry::Lost(id) => {
                    lost.push(id);
                    continue;
                }
                Entry::Key(key) => key,
            };
            keys = Some(match keys {
                None => Self::new(key),
                Some(keys) => keys.with_secondary(key)?,
            });
        }
        lost.into_iter().try_fold(keys.ok_or(InvalidKeys::Empty)?, Self::with_lost)
    }

    /// The name of the primary key.
    pub fn primary(&self) -> &KeyId {
        self.keys[0].id()
    }

    /// The names of all keys, the primary's first.
    pub fn ids(&self) -> impl Iterator<Item = &KeyId> {
        self.keys.iter().map(Key::id)
    }

    /// The check value of the key of this name, for stores that compare keys.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) fn check_value(&self, name: &str) -> Option<&[u8; 16]> {
        self.find(name.as_bytes()).map(Key::check_value)
    }

    pub(super) fn primary_key(&self) -> &Key {
        &self.keys[0]
    }

    pub(super) fn find(&self, id: &[u8]) -> Option<&Key> {
        self.keys.iter().find(|key| key.id.0.as_bytes() == id)
    }

    /// A name that stood for a different key before.
    pub(super) fn changed_since(&self, before: &Self) -> Option<&KeyId> {
        let changed = |key: &&Key| before.keys.iter().any(|known| known.id == key.id && !known.is_same_secret(key));
        self.keys.iter().find(changed).map(Key::id)
    }
}

enum Entry {
    Key(Key),
    Lost(KeyId),
}

fn parse_entry(entry: usize, text: &str) -> Result<Entry, InvalidKeys> {
    let (name, encoded) = text.split_once(':').ok_or(InvalidKeys::Malformed { entry })?;
    let id = KeyId::new(name.trim()).map_err(|InvalidKeyId| InvalidKeys::Id { entry })?;
    if encoded.trim() == LOST {
        return Ok(Entry::Lost(id));
    }
    // Full capacity from the start: a buffer that grows leaves copies behind.
    let mut secret = Zeroizing::new(Vec::with_capacity(encoded.len() + 3));
    // The decoder's own error would show a character of the key.
    STANDARD.decode_vec(encoded.trim(), &mut secret).map_err(|_| InvalidKeys::Encoding { entry })?;
    Key::new(id, &secret).map(Entry::Key)
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut set = f.debug_struct("KeySet");
        set.field("primary", self.primary()).field("ids", &self.ids().collect::<Vec<_>>());
        if !self.lost.is_empty() {
            set.field("lost", &self.lost);
        }
        set.finish()
    }
}

/// The configured keys cannot be used. An operator must look.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKeys {
    /// There is no key.
    #[error("there is no key; make one with `openssl rand -base64 32` and write it as name:key")]
    Empty,
    /// An entry has no colon.
    #[error("key entry {entry} is not of the form name:key")]
    Malformed {
        /// The entry's number, counted from 1.
        entry: usize,
    },
    /// An entry's name is invalid.
    #[error("key entry {entry} has no valid name; use 1 to 32 of the characters A-Z a-z 0-9 . _ -")]
    Id {
        /// The entry's number, counted from 1.
        entry: usize,
    },
    /// An entry's key is not base64.
    #[error("key entry {entry} is not base64 with padding (RFC 4648 §4)")]
    Encoding {
        /// The entry's number, counted from 1.
        entry: usize,
    },
    /// A key is not 32 bytes long.
    #[error("key {id} has {bytes} bytes instead of 32; make one with `openssl rand -base64 32`")]
    Length {
        /// The key's name.
        id: KeyId,
        /// The key's length.
        bytes: usize,
    },
    /// Two keys have the same name.
    #[error("there are two keys named {id}; give each its own name")]
    RepeatedId {
        /// The repeated name.
        id: KeyId,
    },
    /// One key has two names.
    #[error("{first} and {second} are the same key; make a new one with `openssl rand -base64 32`")]
    RepeatedKey {
        /// One of the names.
        first: KeyId,
        /// The other name.
        second: KeyId,
    },
}
