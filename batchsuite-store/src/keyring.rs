//! Encryption at rest: a [`Keyring`] seals each secret of a row, so that a dump of the database shows none.
//!
//! ```
//! use batchsuite_auth::{CompanyId, Environment, ids::Revision, store::GrantKey};
//! use batchsuite_store::keyring::{Binding, KeySet, Keyring, StaticKeySource};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! // A service says Keyring::load(EnvKeySource::default()) or Keyring::load(FileKeySource::new(path)).
//! let keys = KeySet::parse("2026-11:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")?;
//! let keyring = Keyring::load(StaticKeySource::new(keys)).await?;
//!
//! let key = GrantKey { environment: Environment::Production, company: CompanyId::new("acme")? };
//! let binding = Binding::refresh_token(&key, Revision { epoch: 1, version: 7 });
//! let ciphertext = keyring.seal(&binding, b"a refresh token")?;
//!
//! assert_eq!(keyring.open(&binding, &ciphertext)?.into_text()?, "a refresh token");
//! let elsewhere = Binding::refresh_token(&key, Revision { epoch: 1, version: 8 });
//! assert!(keyring.open(&elsewhere, &ciphertext).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Keys
//! **Make one**: `openssl rand -base64 32`, and name it, say after the month: `2026-11`. A name stands for one key for ever.
//!
//! **Hand it over** as `name:key`, the primary first, in `BATCHSUITE_KEYS` ([`EnvKeySource`], separated by commas), in a file
//! that is closed to others ([`FileKeySource`], one a line), or from a service of your own ([`KeySource`]). The primary
//! encrypts, all decrypt.
//!
//! **Rotate it** in two phases, because processes do not learn of a key at one instant, and one that does not know a key
//! cannot read what another has just written with it:
//! 1. Add the new key **behind** the primary, in every process; restart them, or call [`Keyring::reload`]. Nothing is written
//!    with it yet.
//! 2. When every process has it, move it to the **front**; restart or reload again, in any order.
//! 3. Re-encrypt what is stored: `BatchSuiteAuth::reencrypt`. When nothing under the old key is left, in the
//!    database and in the backups that must stay readable, take the old key out.
//!
//! **Lose it**, and what it encrypted is gone: each such company must authenticate again. Until then its tokens answer
//! [`KeyringError::UnknownKey`], an operator's error and never a verdict on the opt-in, so putting the key back repairs it.
//! Everything else works on. To go on without the key, make a new one under a new name, put it first, and write `lost` in the
//! place of the lost one: `2026-12:<base64>,2026-11:lost`. Without that entry a store that was used with the lost key last
//! refuses the keys at its check, because they might be those of another database.
//! Keep a copy of every key where the database's backups are not: both in one place are the plaintext.
//!
//! **A name stands for one key**: a store keeps, beside the name of each key that it has encrypted with, the key's
//! [check value](Key::check_value), and encrypts nothing under another key of that name.
//!
//! **Let it leak**, and rotation alone does not help against whoever has an old dump: rotate, re-encrypt, and let the
//! companies authenticate again.
//!
//! # A ciphertext, byte by byte
//! | offset | length | what |
//! |---|---|---|
//! | 0 | 1 | format version, `0x01` |
//! | 1 | 1 | *n*, the length of the key's name, 1 to 32 |
//! | 2 | *n* | the key's name, ASCII |
//! | 2 + *n* | 12 | nonce, random |
//! | 14 + *n* | *p* | the secret under AES-256-GCM-SIV (RFC 8452), as long as the secret |
//! | 14 + *n* + *p* | 16 | tag |
//!
//! The associated data are the bytes before the nonce, then, each behind its length in two bytes (big-endian): the
//! environment's name (`production`, `cie`), the company, the field (`access_token`, `refresh_token`, `pkce_verifier`,
//! `host`), and where the field is: for a token the epoch and the version (8 bytes each, big-endian), for a verifier its
//! consent's id (16 bytes, big-endian), for a host's secret its name.
//!
//! GCM-SIV, because its random nonces do not run out: plain GCM's are used up after 2³² messages under one key, and one
//! nonce that repeats there gives the key away, here only that two secrets are equal.

mod binding;
mod ciphertext;
mod error;
mod key;
mod nonce;
mod source;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use secrecy::zeroize::Zeroizing;
use tokio::sync::Mutex;

use self::ciphertext::{Parts, Plaintext};
pub use self::{
    binding::{Binding, HostField},
    error::KeyringError,
    key::{InvalidKeyId, InvalidKeys, KEY_LENGTH, Key, KeyId, KeySet},
    source::{EnvKeySource, FileKeySource, KeySource, KeySourceError, StaticKeySource},
};

/// Encrypts with its primary key, decrypts with all. A clone shares the keys, also those that a reload brings.
#[derive(Clone)]
pub struct Keyring(Arc<Shared>);

struct Shared {
    source: Box<dyn KeySource>,
    keys: RwLock<Arc<KeySet>>,
    /// Held over a reload, so that of two the later reading stays.
    reloading: Mutex<()>,
}

impl Keyring {
    /// Loads the keys from `source`, which the keyring keeps for [`Keyring::reload`].
    ///
    /// # Errors
    /// [`KeySourceError`]
    ///
    /// # Cancellation
    /// Nothing happens.
    pub async fn load(source: impl KeySource) -> Result<Self, KeySourceError> {
        let keys = source.load().await?;
        Ok(Self(Arc::new(Shared {
            source: Box::new(source),
            keys: RwLock::new(Arc::new(keys)),
            reloading: Mutex::new(()),
        })))
    }

    /// Reads the source again; every clone has the new keys when this returns. Calls under way end with the keys that they
    /// began with.
    ///
    /// # Errors
    /// [`KeySourceError`]; the keys stay as they were. [`KeySourceError::Exchanged`] if a name that was there stands for
    /// another key now, which would make unreadable what is stored.
    ///
    /// # Cancellation
    /// The keys stay as they were.
    pub async fn reload(&self) -> Result<(), KeySourceError> {
        let _one_at_a_time = self.0.reloading.lock().await;
        let keys = self.0.source.load().await?;
        if let Some(id) = keys.changed_since(&self.keys()) {
            return Err(KeySourceError::Exchanged { id: id.clone() });
        }
        *self.0.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
        Ok(())
    }

    /// Encrypts `secret` under the primary key, for this place only. Two calls never give the same bytes.
    ///
    /// # Errors
    /// [`KeyringError::Cipher`]
    pub fn seal(&self, binding: &Binding<'_>, secret: &[u8]) -> Result<Vec<u8>, KeyringError> {
        self.keys().seal(binding, secret)
    }

    /// Decrypts what [`Keyring::seal`] made for this very place, under whichever key.
    ///
    /// # Errors
    /// [`KeyringError`]
    pub fn open(&self, binding: &Binding<'_>, ciphertext: &[u8]) -> Result<Opened, KeyringError> {
        let parts = Parts::of(ciphertext)?;
        let keys = self.read();
        match keys.find(parts.key_id) {
            Some(key) => parts.open(key, binding).map(Opened),
            None => Err(match KeyId::from_bytes(parts.key_id) {
                Some(id) if keys.is_lost(&id) => KeyringError::LostKey { id },
                Some(id) => KeyringError::UnknownKey { id },
                None => KeyringError::Malformed,
            }),
        }
    }

    /// Whether a re-encryption must look at it: it is not under the primary key. What is no ciphertext counts too, so that a
    /// re-encryption meets it, and tells.
    #[must_use]
    pub fn needs_reencryption(&self, ciphertext: &[u8]) -> bool {
        Parts::of(ciphertext).map_or(true, |parts| parts.key_id != self.keys().primary().as_str().as_bytes())
    }

    /// What every ciphertext under the primary key begins with, and no other one does: for a query that looks for rows to
    /// re-encrypt.
    #[must_use]
    pub fn primary_header(&self) -> Vec<u8> {
        self.keys().primary_header()
    }

    /// The name of the key that a ciphertext is under, whether or not this keyring has it.
    ///
    /// # Errors
    /// [`KeyringError::UnsupportedFormat`], or [`KeyringError::Malformed`].
    pub fn key_id_of(ciphertext: &[u8]) -> Result<KeyId, KeyringError> {
        KeyId::from_bytes(Parts::of(ciphertext)?.key_id).ok_or(KeyringError::Malformed)
    }

    /// The keys of this moment.
    #[must_use]
    pub fn keys(&self) -> Arc<KeySet> {
        Arc::clone(&self.read())
    }

    /// The same for one call, which a reload waits for: a microsecond.
    fn read(&self) -> RwLockReadGuard<'_, Arc<KeySet>> {
        self.0.keys.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeySet {
    pub(crate) fn primary_header(&self) -> Vec<u8> {
        ciphertext::header(self.primary())
    }

    /// [`Keyring::seal`] under the primary key of this very set.
    pub(crate) fn seal(&self, binding: &Binding<'_>, secret: &[u8]) -> Result<Vec<u8>, KeyringError> {
        let nonce = nonce::random().map_err(|_| KeyringError::Cipher)?;
        ciphertext::seal(self.primary_key(), binding, nonce, secret)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("keys", &self.keys()).finish_non_exhaustive()
    }
}

/// A decrypted secret. It is wiped when it is dropped, and `Debug` does not show it.
#[must_use]
pub struct Opened(Plaintext);

impl Opened {
    /// The secret itself. It must not reach a log, an error or a URL.
    pub fn expose_secret(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Hands the secret over as text, without a copy, to the newtype that guards it from here on:
    /// `RefreshToken::new(opened.into_text()?)`.
    ///
    /// # Errors
    /// [`KeyringError::NotText`]; the secret is wiped.
    pub fn into_text(self) -> Result<String, KeyringError> {
        String::from_utf8(self.0.into_bytes()).map_err(|error| {
            drop(Zeroizing::new(error.into_bytes()));
            KeyringError::NotText
        })
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opened([REDACTED])")
    }
}
