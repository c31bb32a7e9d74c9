//! What can go wrong between a secret and its ciphertext.

use batchsuite_auth::store::{StoreError, StoreErrorKind};

use super::key::KeyId;

/// A secret cannot be encrypted, or a ciphertext not be read. An operator must look; no opt-in is lost by it.
///
/// It shows neither a secret nor a ciphertext. The name of a key is no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// The ciphertext's key is not in the keyring.
    #[error("there is no key named {id}; add it to the keys of this process")]
    UnknownKey {
        /// Its name.
        id: KeyId,
    },
    /// The ciphertext's key was [declared lost](super::KeySet::with_lost).
    #[error("its key, named {id}, is declared lost; authenticate or enter anew what it encrypted")]
    LostKey {
        /// Its name.
        id: KeyId,
    },
    /// The ciphertext is of a format that this version does not know.
    #[error("the ciphertext has format version {version}; this version of the program reads version 1")]
    UnsupportedFormat {
        /// Which.
        version: u8,
    },
    /// It is too short for a ciphertext, or its key has no valid name.
    #[error("what is stored is no ciphertext, or was cut; restore it from a backup")]
    Malformed,
    /// It was altered, belongs elsewhere, or its key is another than the one of that name.
    #[error("the ciphertext was altered, moved from elsewhere, or made with another key of that name")]
    NotAuthentic,
    /// What was encrypted is no text.
    #[error("the decrypted value is not UTF-8")]
    NotText,
    /// The cryptographic library refused.
    #[error("the cryptographic library failed")]
    Cipher,
}

impl From<KeyringError> for StoreError {
    /// [`StoreErrorKind::Corrupt`], but [`StoreErrorKind::Misconfigured`] where the library failed.
    fn from(error: KeyringError) -> Self {
        let kind = match error {
            KeyringError::Cipher => StoreErrorKind::Misconfigured,
            _ => StoreErrorKind::Corrupt,
        };
        Self::new(kind).with_source(error)
    }
}
