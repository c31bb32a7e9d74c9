//! Errors of encryption and decryption.

use batchsuite_auth::store::{StoreError, StoreErrorKind};

use super::key::KeyId;

/// A secret cannot be encrypted, or a ciphertext cannot be read. An operator must look; no opt-in is lost by this
/// error.
///
/// The error shows neither a secret nor a ciphertext. A key's name is not secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// The ciphertext's key is not in the keyring.
    #[error("there is no key named {id}; add it to the keys of this process")]
    UnknownKey {
        /// The key's name.
        id: KeyId,
    },
    /// The ciphertext's key was [declared lost](super::KeySet::with_lost).
    #[error("its key, named {id}, is declared lost; authenticate again, or enter the encrypted value again")]
    LostKey {
        /// The key's name.
        id: KeyId,
    },
    /// The ciphertext has a format that this release does not know.
    #[error("the ciphertext has format version {version}; this version of the program reads version 1")]
    UnsupportedFormat {
        /// The unknown version.
        version: u8,
    },
    /// The value is too short for a ciphertext, or its key's name is invalid.
    #[error("the stored value is not a ciphertext, or is truncated; restore it from a backup")]
    Malformed,
    /// The ciphertext was altered, belongs elsewhere, or was made with a different key of the same name.
    #[error("the ciphertext was altered, moved from elsewhere, or made with another key of that name")]
    NotAuthentic,
    /// The decrypted value is not UTF-8.
    #[error("the decrypted value is not UTF-8")]
    NotText,
    /// The cryptographic library failed.
    #[error("the cryptographic library failed")]
    Cipher,
}

impl From<KeyringError> for StoreError {
    /// [`StoreErrorKind::Corrupt`], or [`StoreErrorKind::Misconfigured`] if the cryptographic library failed.
    fn from(error: KeyringError) -> Self {
        let kind = match error {
            KeyringError::Cipher => StoreErrorKind::Misconfigured,
            _ => StoreErrorKind::Corrupt,
        };
        Self::new(kind).with_source(error)
    }
}
