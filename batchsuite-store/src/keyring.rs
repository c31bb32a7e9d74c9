//! Encryption at rest: a [`Keyring`] seals every secret of a row, so a database dump shows none.
//!
//! ```
//! use batchsuite_auth::{CompanyId, Environment, ids::Revision, store::GrantKey};
//! use batchsuite_store::keyring::{Binding, KeySet, Keyring, StaticKeySource};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! // A service calls Keyring::load(EnvKeySource::default()) or Keyring::load(FileKeySource::new(path)).
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
//! **Make a key**: `openssl rand -base64 32`. Name it, for example after the month: `2026-11`. A name always stands for
//! the same key.
//!
//! **Provide the keys** as `name:key`, the primary first: in `BATCHSUITE_KEYS` ([`EnvKeySource`], separated by commas),
//! in a file that only its owner can read ([`FileKeySource`], one per line), or from a service of your own
//! ([`KeySource`]). The primary key encrypts; all keys decrypt.
//!
//! **Rotate a key** in two phases, because processes do not all learn of a key at the same moment, and a process
//! without the key cannot read what another process has just encrypted with it:
//! 1. Add the new key **after** the primary in every process; restart them or call [`Keyring::reload`]. Nothing is
//!    encrypted with the new key yet.
//! 2. Once every process has it, move the new key to the **front**; restart or reload again, in any order.
//! 3. Re-encrypt the stored data with `BatchSuiteAuth::reencrypt`. Remove the old key once nothing is encrypted under
//!    it, neither in the database nor in the backups that must stay readable.
//!
//! **If a key is lost**, everything encrypted under it is lost: each affected company must authenticate again. Until
//! then its tokens are reported as [`KeyringError::UnknownKey`]. That is an error for an operator and never a verdict
//! on the opt-in, so restoring the key repairs it. Everything else keeps working. To continue without the key, make a
//! new key under a new name, put it first, and replace the lost key's value by `lost`: `2026-12:<base64>,2026-11:lost`.
//! Without that entry, a store whose latest encryption key was the lost one fails its key check, because the configured
//! keys might belong to another database. Keep a copy of every key away from the database's backups: a backup together
//! with its key is as good as plaintext.
//!
//! **A name stands for one key**: a store keeps the name and the [check value](Key::check_value) of each key it has
//! encrypted with, and does not encrypt under a different key of the same name.
//!
//! **If a key leaks**, rotation alone does not protect against an attacker who has an old dump: rotate, re-encrypt, and
//! have the companies authenticate again.
//!
//! # Ciphertext format
//! | offset | length | content |
//! |---|---|---|
//! | 0 | 1 | format version, `0x01` |
//! | 1 | 1 | *n*, the length of the key's name, 1 to 32 |
//! | 2 | *n* | the key's name, ASCII |
//! | 2 + *n* | 12 | nonce, random |
//! | 14 + *n* | *p* | the secret under AES-256-GCM-SIV (RFC 8452), as long as the secret |
//! | 14 + *n* + *p* | 16 | tag |
//!
//! The associated data are the bytes before the nonce, followed by these parts, each prefixed with its length in two
//! bytes (big-endian): the environment's name (`production`, `cie`), the company, the field (`access_token`,
//! `refresh_token`, `pkce_verifier`, `host`), and the field's position: for a token its epoch and version (8 bytes
//! each, big-endian), for a verifier its consent's id (16 bytes, big-endian), for a host's secret its name.
//!
//! Why GCM-SIV: plain GCM with random nonces is limited to 2³² messages per key, and a repeated nonce reveals its
//! authentication key. With GCM-SIV a repeated nonce reveals only that two secrets are equal.

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

/// Encrypts with the primary key and decrypts with any key. Clones share the keys, including those of a later reload.
#[derive(Clone)]
pub struct Keyring(Arc<Shared>);

struct Shared {
    source: Box<dyn KeySource>,
    keys: RwLock<Arc<KeySet>>,
    /// Held during a reload, so that of two concurrent reloads the later read wins.
    reloading: Mutex<()>,
}

impl Keyring {
    /// Loads the keys from `source` and keeps the source for [`Keyring::reload`].
    ///
    /// # Errors
    /// [`KeySourceError`]
    ///
    /// # Cancellation
    /// Cancel-safe.
    pub async fn load(source: impl KeySource) -> Result<Self, KeySourceError> {
        let keys = source.load().await?;
        Ok(Self(Arc::new(Shared {
            source: Box::new(source),
            keys: RwLock::new(Arc::new(keys)),
            reloading: Mutex::new(()),
        })))
    }

    /// Reads the source again. Every clone has the new keys when this returns. Calls in progress finish with the keys
    /// they started with.
    ///
    /// # Errors
    /// [`KeySourceError`]; the keys stay as they were. [`KeySourceError::Exchanged`] if a known name now stands for
    /// another key, which would make stored secrets unreadable.
    ///
    /// # Cancellation
    /// Cancel-safe: the keys stay as they were.
    pub async fn reload(&self) -> Result<(), KeySourceError> {
        let _one_at_a_time = self.0.reloading.lock().await;
        let keys = self.0.source.load().await?;
        if let Some(id) = keys.changed_since(&self.keys()) {
            return Err(KeySourceError::Exchanged { id: id.clone() });
        }
        *self.0.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
        Ok(())
    }

    /// Encrypts `secret` under the primary key, bound to `binding`. Two calls never return the same bytes.
    ///
    /// # Errors
    /// [`KeyringError::Cipher`]
    pub fn seal(&self, binding: &Binding<'_>, secret: &[u8]) -> Result<Vec<u8>, KeyringError> {
        self.keys().seal(binding, secret)
    }

    /// Decrypts a ciphertext that [`Keyring::seal`] made for the same binding, under any key of the keyring.
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

    /// Whether re-encryption must process this value: it is not encrypted under the primary key. A value that is not a
    /// ciphertext counts too, so that re-encryption meets and reports it.
    #[must_use]
    pub fn needs_reencryption(&self, ciphertext: &[u8]) -> bool {
        Parts::of(ciphertext).map_or(true, |parts| parts.key_id != self.keys().primary().as_str().as_bytes())
    }

    /// The prefix that all ciphertexts under the primary key, and no others, begin with: for a query that finds rows to
    /// re-encrypt.
    #[must_use]
    pub fn primary_header(&self) -> Vec<u8> {
        self.keys().primary_header()
    }

    /// The name of the key that a ciphertext is encrypted under, whether or not this keyring has that key.
    ///
    /// # Errors
    /// [`KeyringError::UnsupportedFormat`], or [`KeyringError::Malformed`].
    pub fn key_id_of(ciphertext: &[u8]) -> Result<KeyId, KeyringError> {
        KeyId::from_bytes(Parts::of(ciphertext)?.key_id).ok_or(KeyringError::Malformed)
    }

    /// The current keys.
    #[must_use]
    pub fn keys(&self) -> Arc<KeySet> {
        Arc::clone(&self.read())
    }

    /// The current keys, borrowed. A reload waits while the guard is held, about a microsecond.
    fn read(&self) -> RwLockReadGuard<'_, Arc<KeySet>> {
        self.0.keys.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeySet {
    pub(crate) fn primary_header(&self) -> Vec<u8> {
        ciphertext::header(self.primary())
    }

    /// [`Keyring::seal`] under the primary key of this set.
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

/// A decrypted secret. Wiped on drop; `Debug` does not show it.
#[must_use]
pub struct Opened(Plaintext);

impl Opened {
    /// The secret. It must not reach a log, an error or a URL.
    pub fn expose_secret(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Moves the secret out as text, without a copy. Pass it straight to the newtype that protects it:
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
