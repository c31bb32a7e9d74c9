//! Consents: trips of a browser to UPS.com and back.

use std::time::Duration;

use url::Url;

use super::StoreError;
use crate::{
    clock::Timestamp,
    config::Environment,
    ids::{ActorId, CompanyId, ConsentId},
    secret::{PkceVerifier, SecretHash},
};

/// A consent to store.
#[derive(Clone, Debug)]
pub struct NewConsent {
    /// The consent.
    pub consent: Consent,
    /// The hash of the `state` parameter.
    pub state: SecretHash,
    /// The PKCE verifier, if the client uses PKCE. A store seals it, bound to the consent's id.
    pub verifier: Option<PkceVerifier>,
    /// How long it can be used.
    pub lifetime: Duration,
}

/// The stored facts of a consent, without its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consent {
    /// Its id.
    pub id: ConsentId,
    /// The UPS environment.
    pub environment: Environment,
    /// The company.
    pub company: CompanyId,
    /// The person who started it.
    pub actor: ActorId,
    /// The hash of the browser's secret.
    pub browser: SecretHash,
    /// The exact redirect URI of the authorization request.
    pub redirect_uri: Url,
    /// The client id of the authorization request.
    pub client_id: String,
    /// The host's path to which the browser goes afterwards.
    pub return_to: Option<String>,
    /// How often the company's authorization had been removed when the consent started.
    pub removals: u64,
}

/// How many consents may be pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsentCaps {
    /// Of one company, the new one included.
    pub per_company: usize,
    /// Of one actor, the new one included.
    pub per_actor: usize,
}

/// A consent found by its state.
#[derive(Clone, Debug)]
pub struct FoundConsent {
    /// The consent.
    pub consent: Consent,
    /// Its verifier.
    pub verifier: Verifier,
    /// When it expires.
    pub expires_at: Timestamp,
    /// Its use, if it was used.
    pub used: Option<ConsentUse>,
    /// The store's time of the read.
    pub as_of: Timestamp,
}

/// The use of a consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsentUse {
    /// When.
    pub at: Timestamp,
    /// Whether an event was written with the use; if so, the consent led to nothing.
    pub with_event: bool,
}

/// A consent's PKCE verifier.
#[derive(Clone, Debug)]
pub enum Verifier {
    /// There is none, or it was erased.
    None,
    /// The verifier.
    Readable(PkceVerifier),
    /// It cannot be read.
    Unreadable(StoreError),
}
