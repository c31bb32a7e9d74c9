//! Secrets on their way to the database and back: the only file of the store that sees both a secret and its ciphertext.

use batchsuite_auth::{
    ids::{ConsentId, Revision},
    secret::{AccessTokenSecret, PkceVerifier, RefreshToken},
    store::{GrantKey, StoreError},
};

use crate::keyring::{Binding, Keyring};

/// Seals and opens what is secret, each in its place.
#[derive(Clone, Debug)]
pub(super) struct Vault(Keyring);

impl Vault {
    pub(super) fn new(keyring: Keyring) -> Self {
        Self(keyring)
    }

    /// What every ciphertext under the primary key begins with.
    pub(super) fn primary_header(&self) -> Vec<u8> {
        self.0.primary_header()
    }

    pub(super) fn seal_access_token(
        &self,
        key: &GrantKey,
        revision: Revision,
        token: &AccessTokenSecret,
    ) -> Result<Vec<u8>, StoreError> {
        self.seal(&Binding::access_token(key, revision), token.expose_secret())
    }

    pub(super) fn open_access_token(
        &self,
        key: &GrantKey,
        revision: Revision,
        sealed: &[u8],
    ) -> Result<AccessTokenSecret, StoreError> {
        self.open(&Binding::access_token(key, revision), sealed).map(AccessTokenSecret::new)
    }

    pub(super) fn seal_refresh_token(
        &self,
        key: &GrantKey,
        revision: Revision,
        token: &RefreshToken,
    ) -> Result<Vec<u8>, StoreError> {
        self.seal(&Binding::refresh_token(key, revision), token.expose_secret())
    }

    /// `revision` is the one that the token came with, which may be older than its grant's.
    pub(super) fn open_refresh_token(
        &self,
        key: &GrantKey,
        revision: Revision,
        sealed: &[u8],
    ) -> Result<RefreshToken, StoreError> {
        self.open(&Binding::refresh_token(key, revision), sealed).map(RefreshToken::new)
    }

    pub(super) fn seal_verifier(
        &self,
        key: &GrantKey,
        consent: ConsentId,
        verifier: &PkceVerifier,
    ) -> Result<Vec<u8>, StoreError> {
        self.seal(&Binding::pkce_verifier(key, consent), verifier.expose_secret())
    }

    pub(super) fn open_verifier(
        &self,
        key: &GrantKey,
        consent: ConsentId,
        sealed: &[u8],
    ) -> Result<PkceVerifier, StoreError> {
        self.open(&Binding::pkce_verifier(key, consent), sealed).map(PkceVerifier::new)
    }

    fn seal(&self, binding: &Binding<'_>, secret: &str) -> Result<Vec<u8>, StoreError> {
        Ok(self.0.seal(binding, secret.as_bytes())?)
    }

    fn open(&self, binding: &Binding<'_>, sealed: &[u8]) -> Result<String, StoreError> {
        Ok(self.0.open(binding, sealed)?.into_text()?)
    }
}
