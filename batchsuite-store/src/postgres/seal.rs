//! The keys that seal.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use batchsuite_auth::{
    ids::Revision,
    secret::PkceVerifier,
    store::{Consent, RowKey, StoreError, StoredTokens, Tokens, Verifier},
};

use super::failure;
use crate::{
    keyring::{KeySet, Keyring},
    seal::{self, Sealed},
};

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

    pub(super) fn seal_tokens(&self, key: &RowKey, revision: Revision, tokens: &Tokens) -> Result<Sealed, StoreError> {
        Sealed::new(&*self.sealing()?, key, revision, tokens)
    }

    pub(super) fn open_tokens(&self, key: &RowKey, revision: Revision, sealed: &Sealed<&[u8]>) -> StoredTokens {
        sealed.open(&self.keyring, key, revision)
    }

    pub(super) fn seal_verifier(
        &self,
        consent: &Consent,
        verifier: Option<&PkceVerifier>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        verifier.map(|verifier| seal::seal_verifier(&*self.sealing()?, consent, verifier)).transpose()
    }

    pub(super) fn open_verifier(&self, consent: &Consent, sealed: Option<&[u8]>) -> Verifier {
        seal::open_verifier(&self.keyring, consent, sealed)
    }
}
