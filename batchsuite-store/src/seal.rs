//! Encryption and decryption of stored secrets, for every store that encrypts.

use batchsuite_auth::{
    ids::Revision,
    secret::{AccessTokenSecret, PkceVerifier, RefreshToken},
    store::{Consent, GrantKey, RowKey, StoreError, StoredTokens, Tokens, Verifier},
};

use crate::keyring::{Binding, KeyId, KeySet, Keyring};

/// A row's tokens as stored.
#[derive(Debug, Default)]
pub(crate) struct Sealed<B = Vec<u8>> {
    pub(crate) access: Option<B>,
    pub(crate) refresh: Option<B>,
}

impl Sealed {
    /// Encrypts a pair's tokens for this epoch and version. (The client row has none.)
    pub(crate) fn new(keys: &KeySet, key: &RowKey, revision: Revision, tokens: &Tokens) -> Result<Self, StoreError> {
        let Some(key) = grant(key) else { return Ok(Self::default()) };
        let (access, refresh) = (tokens.access.as_ref(), tokens.refresh.as_ref());
        let seal = |binding: Binding<'_>, secret: &str| keys.seal(&binding, secret.as_bytes());
        let access = access.map(|token| seal(Binding::access_token(&key, revision), token.expose_secret()));
        let refresh = refresh.map(|token| seal(Binding::refresh_token(&key, revision), token.expose_secret()));
        Ok(Self { access: access.transpose()?, refresh: refresh.transpose()? })
    }
}

impl<B: AsRef<[u8]>> Sealed<B> {
    /// Whether there is no token.
    pub(crate) fn is_empty(&self) -> bool {
        self.access.is_none() && self.refresh.is_none()
    }

    /// Decrypts the tokens. If one of them is unreadable, the pair is.
    pub(crate) fn open(&self, keyring: &Keyring, key: &RowKey, revision: Revision) -> StoredTokens {
        let (false, Some(key)) = (self.is_empty(), grant(key)) else { return StoredTokens::None };
        let (access, refresh) = (self.access.as_ref(), self.refresh.as_ref());
        let access = access.map(|sealed| open(keyring, &Binding::access_token(&key, revision), sealed.as_ref()));
        let refresh = refresh.map(|sealed| open(keyring, &Binding::refresh_token(&key, revision), sealed.as_ref()));
        match (access.transpose(), refresh.transpose()) {
            (Ok(access), Ok(refresh)) => StoredTokens::Readable(Tokens {
                access: access.map(AccessTokenSecret::new),
                refresh: refresh.map(RefreshToken::new),
            }),
            (Err(error), _) | (_, Err(error)) => {
                #[cfg(feature = "metrics")]
                metrics::counter!("batchsuite_unreadable_total", "what" => "tokens").increment(1);
                StoredTokens::Unreadable(error)
            }
        }
    }

    /// The state of the tokens, without decrypting them.
    #[cfg(feature = "sqlite")]
    pub(crate) fn look(&self, keyring: &Keyring, _: &RowKey, _: Revision) -> StoredTokens {
        let mut sealed = self.access.iter().chain(&self.refresh);
        if self.is_empty() {
            return StoredTokens::None;
        }
        StoredTokens::Sealed { with_older_key: sealed.any(|sealed| keyring.needs_reencryption(sealed.as_ref())) }
    }
}

/// The grant key of a company's row.
fn grant(key: &RowKey) -> Option<GrantKey> {
    Some(GrantKey { environment: key.environment, company: key.company.clone()? })
}

/// Encrypts a consent's verifier.
pub(crate) fn seal_verifier(keys: &KeySet, consent: &Consent, verifier: &PkceVerifier) -> Result<Vec<u8>, StoreError> {
    let key = GrantKey { environment: consent.environment, company: consent.company.clone() };
    Ok(keys.seal(&Binding::pkce_verifier(&key, consent.id), verifier.expose_secret().as_bytes())?)
}

/// Decrypts a consent's verifier, if there is one.
pub(crate) fn open_verifier(keyring: &Keyring, consent: &Consent, sealed: Option<&[u8]>) -> Verifier {
    let Some(sealed) = sealed else { return Verifier::None };
    let key = GrantKey { environment: consent.environment, company: consent.company.clone() };
    let verifier = open(keyring, &Binding::pkce_verifier(&key, consent.id), sealed).map(PkceVerifier::new);
    verifier.map_or_else(Verifier::Unreadable, Verifier::Readable)
}

fn open(keyring: &Keyring, binding: &Binding<'_>, sealed: &[u8]) -> Result<String, StoreError> {
    Ok(keyring.open(binding, sealed)?.into_text()?)
}

/// A key that has encrypted data in this database: its name and check value.
#[derive(Debug)]
pub(crate) struct KnownKey {
    pub(crate) name: String,
    pub(crate) check_value: Vec<u8>,
}

/// An error message if a key differs from the known key of the same name.
pub(crate) fn exchanged_key(known: &[KnownKey], keys: &KeySet) -> Option<String> {
    let is_another =
        |known: &&KnownKey| keys.check_value(&known.name).is_some_and(|value| value[..] != known.check_value[..]);
    let KnownKey { name, .. } = known.iter().find(is_another)?;
    Some(format!(
        "the keys are not those of this database: the key named {name} is another one here than the one that has encrypted \
         what is stored; restore it, and give a new key a new name"
    ))
}

/// An error message if the latest encryption key is missing and not declared lost. Without it, the keys may be those of
/// another database, and other processes' newest secrets would be unreadable. `known` has that key last.
pub(crate) fn missing_key(known: &[KnownKey], keys: &KeySet) -> Option<String> {
    let KnownKey { name, .. } = known.last()?;
    let is_lost = KeyId::new(name).is_ok_and(|name| keys.is_lost(&name));
    (keys.check_value(name).is_none() && !is_lost).then(|| {
        format!(
            "the keys are not those of this database: there is no key named {name}; add it, or, if it is lost, write {name}:lost"
        )
    })
}
