//! Secrets on their way to the database and back: the only file of the store that sees both a secret and its ciphertext.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use batchsuite_auth::{
    ids::{ConsentId, Revision},
    secret::{AccessTokenSecret, PkceVerifier, RefreshToken},
    store::{GrantKey, RowKey, StoreError, StoredTokens, Tokens},
};

use super::failure;
use crate::keyring::{Binding, KeySet, Keyring};

/// Seals and opens what is secret, each in its place.
#[derive(Debug)]
pub(super) struct Vault {
    keyring: Keyring,
    compared: Mutex<Compared>,
}

/// Keys that were compared with those that the database knows. A reload of the keyring brings others.
#[derive(Debug, Default)]
struct Compared {
    /// These agree: they seal.
    agreed: Option<Arc<KeySet>>,
    /// Whether the database knows the primary one of them as the one that seals now.
    recorded: bool,
    /// These do not agree. Those before them go on sealing: a pair in hand must be stored.
    refused: Option<Arc<KeySet>>,
}

impl Vault {
    pub(super) fn new(keyring: Keyring) -> Self {
        Self { keyring, compared: Mutex::default() }
    }

    fn compared(&self) -> MutexGuard<'_, Compared> {
        self.compared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keyring's keys that were not compared yet.
    pub(super) fn not_compared(&self) -> Option<Arc<KeySet>> {
        let (keys, compared) = (self.keyring.keys(), self.compared());
        let known = |set: &Option<Arc<KeySet>>| set.as_ref().is_some_and(|set| Arc::ptr_eq(set, &keys));
        (!known(&compared.agreed) && !known(&compared.refused)).then_some(keys)
    }

    /// The keys that seal, if the database does not know yet that they do.
    pub(super) fn not_recorded(&self) -> Option<Arc<KeySet>> {
        let compared = self.compared();
        compared.agreed.clone().filter(|_| !compared.recorded)
    }

    /// From now on these seal.
    pub(super) fn agree(&self, keys: Arc<KeySet>, recorded: bool) {
        *self.compared() = Compared { agreed: Some(keys), recorded, refused: None };
    }

    /// These must not seal.
    pub(super) fn refuse(&self, keys: Arc<KeySet>) {
        let mut compared = self.compared();
        compared.agreed.take_if(|agreed| Arc::ptr_eq(agreed, &keys));
        // Where no others seal, they are compared again, so that each call is told.
        compared.refused = compared.agreed.is_some().then_some(keys);
    }

    /// Whether there are keys that seal.
    pub(super) fn has_sealing_keys(&self) -> bool {
        self.compared().agreed.is_some()
    }

    /// The keys that seal.
    fn sealing(&self) -> Result<Arc<KeySet>, StoreError> {
        let sealing = self.compared().agreed.clone();
        sealing.ok_or_else(|| failure::misconfigured("the keys were not compared with those of this database"))
    }

    pub(super) fn keys(&self) -> Arc<KeySet> {
        self.keyring.keys()
    }

    /// What every ciphertext under the newest key begins with.
    pub(super) fn primary_header(&self) -> Vec<u8> {
        self.keyring.primary_header()
    }

    /// Both tokens of a pair, for the grant at this revision of it.
    pub(super) fn seal_tokens(&self, key: &RowKey, revision: Revision, tokens: &Tokens) -> Result<Sealed, StoreError> {
        let key = grant(key).ok_or_else(|| failure::misconfigured("the client row has no tokens"))?;
        let access = tokens.access.as_ref();
        let access = access.map(|token| self.seal(&Binding::access_token(&key, revision), token.expose_secret()));
        let refresh = tokens.refresh.as_ref();
        let refresh = refresh.map(|token| self.seal(&Binding::refresh_token(&key, revision), token.expose_secret()));
        Ok(Sealed { access: access.transpose()?, refresh: refresh.transpose()? })
    }

    pub(super) fn open_tokens(
        &self,
        key: &RowKey,
        revision: Revision,
        access: Option<&[u8]>,
        refresh: Option<&[u8]>,
    ) -> StoredTokens {
        let (false, Some(key)) = (access.is_none() && refresh.is_none(), grant(key)) else { return StoredTokens::None };
        let access = access.map(|sealed| self.open(&Binding::access_token(&key, revision), sealed)).transpose();
        let refresh = refresh.map(|sealed| self.open(&Binding::refresh_token(&key, revision), sealed)).transpose();
        match (access, refresh) {
            (Ok(access), Ok(refresh)) => StoredTokens::Readable(Tokens {
                access: access.map(AccessTokenSecret::new),
                refresh: refresh.map(RefreshToken::new),
            }),
            (Err(reason), _) | (_, Err(reason)) => {
                #[cfg(feature = "metrics")]
                metrics::counter!("batchsuite_unreadable_total", "what" => "tokens").increment(1);
                StoredTokens::Unreadable(reason)
            }
        }
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
        Ok(self.sealing()?.seal(binding, secret.as_bytes())?)
    }

    fn open(&self, binding: &Binding<'_>, sealed: &[u8]) -> Result<String, StoreError> {
        Ok(self.keyring.open(binding, sealed)?.into_text()?)
    }
}

/// A pair as it reaches the database.
#[derive(Default)]
pub(super) struct Sealed {
    pub(super) access: Option<Vec<u8>>,
    pub(super) refresh: Option<Vec<u8>>,
}

/// The grant of a company's row.
fn grant(key: &RowKey) -> Option<GrantKey> {
    Some(GrantKey { environment: key.environment, company: key.company.clone()? })
}
