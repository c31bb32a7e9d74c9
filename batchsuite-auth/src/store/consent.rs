//! What the verbs of a consent take and give: begin, take, connect.

use std::time::Duration;

use url::Url;

use super::{GrantKey, NewPair, Snapshot};
use crate::{
    clock::Timestamp,
    config::Environment,
    events::{EventKind, Evidence},
    ids::{ActorId, ConsentId},
    machine::{ConsentRefusal, Turn},
    secret::{PkceVerifier, SecretHash},
};

/// A consent to store.
#[derive(Clone, Debug)]
pub struct NewConsent {
    /// Its id.
    pub id: ConsentId,
    /// For which company.
    pub key: GrantKey,
    /// Who began it.
    pub actor: ActorId,
    /// The hash of the `state` parameter.
    pub state: SecretHash,
    /// The hash of the browser's secret.
    pub browser: SecretHash,
    /// The PKCE verifier, if the client uses PKCE.
    pub verifier: Option<PkceVerifier>,
    /// The exact redirect URI of the authorization request.
    pub redirect_uri: Url,
    /// The client that asked.
    pub client_id: String,
    /// Where the host wants the browser afterwards: a path of its own.
    pub return_to: Option<String>,
    /// How long it can be taken.
    pub lifetime: Duration,
    /// How many may be pending for the company, this one included.
    pub per_company: usize,
    /// How many may be pending for the actor, this one included.
    pub per_actor: usize,
}

/// A callback that wants its consent.
#[derive(Clone, Debug)]
pub struct TakeConsent {
    /// At which UPS.
    pub environment: Environment,
    /// The hash of the `state` parameter that came.
    pub state: SecretHash,
    /// The hash of the browser's secret that came.
    pub browser: SecretHash,
    /// Who is signed in.
    pub actor: ActorId,
    /// What to write down together with it.
    pub event: Option<(EventKind, Option<Evidence>)>,
}

/// What became of [`Store::take_consent`](super::Store::take_consent).
#[derive(Clone, Debug)]
pub enum TakenConsent {
    /// It is the caller's, and nobody else's from now on.
    Taken(Box<Consent>),
    /// This very person and browser took it before, for an exchange.
    Used(Box<UsedConsent>),
    /// No such state, or no more; or another person or browser took it.
    Unknown,
    /// It was there, and may not be taken.
    Refused(ConsentRefusal),
}

/// A consent that was taken.
#[derive(Clone, Debug)]
pub struct Consent {
    /// Its id.
    pub id: ConsentId,
    /// For which company.
    pub key: GrantKey,
    /// Who began it.
    pub actor: ActorId,
    /// The PKCE verifier, if the client uses PKCE.
    pub verifier: Option<PkceVerifier>,
    /// The exact redirect URI of the authorization request.
    pub redirect_uri: Url,
    /// The client that asked.
    pub client_id: String,
    /// Where the host wants the browser afterwards.
    pub return_to: Option<String>,
    /// The company's count of removals when it began.
    pub removals: u64,
    /// When it was taken, by the store's clock.
    pub used_at: Timestamp,
}

/// A consent that was taken before. What came of it is not in here: the company's grant tells.
#[derive(Clone, Debug)]
pub struct UsedConsent {
    /// Its id.
    pub id: ConsentId,
    /// For which company.
    pub key: GrantKey,
    /// Where the host wants the browser afterwards.
    pub return_to: Option<String>,
    /// The company's count of removals when it began.
    pub removals: u64,
    /// When it was taken, by the store's clock.
    pub used_at: Timestamp,
}

/// The first pair of an opt-in.
#[derive(Clone, Debug)]
pub struct Connect {
    /// For which company.
    pub key: GrantKey,
    /// The consent that brought it.
    pub consent: ConsentId,
    /// [`Consent::removals`].
    pub removals: u64,
    /// Who opted in.
    pub actor: ActorId,
    /// The client that UPS issued it to.
    pub client_id: String,
    /// [`Consent::used_at`].
    pub used_at: Timestamp,
    /// When UPS issued it or, where UPS says nothing that can be, when it arrived; `None`: when its request was sent.
    pub issued_at: Option<Timestamp>,
    /// Whether an earlier call may have stored it.
    pub retry: bool,
    /// The pair.
    pub pair: NewPair,
    /// Pairs in a row whose access token could not be used: 1 if this one's cannot, else 0.
    pub failures: u32,
}

impl Connect {
    /// How it stands to the grant that is stored.
    pub fn turn(&self, stored: &Snapshot) -> Turn {
        match stored.authenticated_at {
            _ if self.retry => Turn::Retry,
            // Lifetimes count from before the arrival, so they do not tell whether the stored pair was there already.
            Some(stored_at) if self.used_at <= stored_at => Turn::Alongside,
            _ => Turn::Newer,
        }
    }
}

/// What became of [`Store::connect`](super::Store::connect).
#[derive(Clone, Debug)]
pub enum Connected {
    /// It is stored.
    Stored(Box<Snapshot>),
    /// This very consent had been stored already.
    AlreadyStored(Box<Snapshot>),
    /// The authorization was removed after the consent had begun; the pair is not stored.
    RemovedSince,
    /// The company holds a grant that UPS issued later; the pair is not stored.
    Superseded(Box<Snapshot>),
}
