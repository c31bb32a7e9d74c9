//! Secrets on their way to a database and back, for every store that seals.

use batchsuite_auth::{
    ids::Revision,
    secret::{AccessTokenSecret, PkceVerifier, RefreshToken},
    store::{Consent, GrantKey, RowKey, StoreError, StoredTokens, Tokens, Verifier},
};

use crate::keyring::{Binding, KeyId, KeySet, Keyring};

/// The tokens of a row, as they are stored.
#[derive(Debug, Default)]
pub(crate) struct Sealed<B = Vec<u8>> {
    pub(crate) access: Option<B>,
    pub(crate) refresh: Option<B>,
}

impl Sealed {
    /// Seals both tokens of a pair for this opt-in and rotation. (The client row has none.)
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

    /// Opens them. If one cannot be read, the pair cannot.
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

    /// What there is to say of them without opening them.
    #[cfg(feature = "sqlite")]
    pub(crate) fn look(&self, keyring: &Keyring, _: &RowKey, _: Revision) -> StoredTokens {
        let mut sealed = self.access.iter().chain(&self.refresh);
        if self.is_empty() {
            return StoredTokens::None;
        }
        StoredTokens::Sealed { with_older_key: sealed.any(|sealed| keyring.needs_reencryption(sealed.as_ref())) }
    }
}

/// The grant of a company's row.
fn grant(key: &RowKey) -> Option<GrantKey> {
    Some(GrantKey { environment: key.environment, company: key.company.clone()? })
}

/// Seals the verifier of a consent.
pub(crate) fn seal_verifier(keys: &KeySet, consent: &Consent, verifier: &PkceVerifier) -> Result<Vec<u8>, StoreError> {
    let key = GrantKey { environment: consent.environment, company: consent.company.clone() };
    Ok(keys.seal(&Binding::pkce_verifier(&key, consent.id), verifier.expose_secret().as_bytes())?)
}

/// Opens it, if there is one.
pub(crate) fn open_verifier(keyring: &Keyring, consent: &Consent, sealed: Option<&[u8]>) -> Verifier {
    let Some(sealed) = sealed else { return Verifier::None };
    let key = GrantKey { environment: consent.environment, company: consent.company.clone() };
    let verifier = open(keyring, &Binding::pkce_verifier(&key, consent.id), sealed).map(PkceVerifier::new);
    verifier.map_or_else(Verifier::Unreadable, Verifier::Readable)
}

fn open(keyring: &Keyring, binding: &Binding<'_>, sealed: &[u8]) -> Result<String, StoreError> {
    Ok(keyring.open(binding, sealed)?.into_text()?)
}

/// A key that has encrypted what a database keeps: its name, and what tells it from others.
#[derive(Debug)]
pub(crate) struct KnownKey {
    pub(crate) name: String,
    pub(crate) check_value: Vec<u8>,
}

/// If a key is another one than the known one of its name: the line that says so.
pub(crate) fn exchanged_key(known: &[KnownKey], keys: &KeySet) -> Option<String> {
    let is_another =
        |known: &&KnownKey| keys.check_value(&known.name).is_some_and(|value| value[..] != known.check_value[..]);
    let KnownKey { name, .. } = known.iter().find(is_another)?;
    Some(format!(
        "the keys are not those of this database: the key named {name} is another one here than the one that has encrypted \
         what is stored; restore it, and give a new key a new name"
    ))
}

/// If the key is missing that sealed last, and was not declared lost: the line that says so. Without it, these may be the keys of
/// another database, and what others have just sealed cannot be read. `known` has that key last.
pub(crate) fn missing_key(known: &[KnownKey], keys: &KeySet) -> Option<String> {
    let KnownKey { name, .. } = known.last()?;
    let is_lost = KeyId::new(name).is_ok_and(|name| keys.is_lost(&name));
    (keys.check_value(name).is_none() && !is_lost).then(|| {
        format!(
            "the keys are not those of this database: there is no key named {name}; add it, or, if it is lost, write {name}:lost"
        )
    })
}
