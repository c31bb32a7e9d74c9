//! Authenticate: begins a consent, before the browser goes to UPS.com.

use std::{sync::Arc, time::Duration};

use super::Consents;
use crate::{
    browser::TripCookie,
    clock::later,
    consent::{CookieOfTrip, Trip},
    error::AuthenticateError,
    events::{EventContent, EventKind},
    ids::{ActorId, CompanyId, ConsentId},
    rotation::Engine,
    secret::{BrowserSecret, SecretHash},
    store::{Consent, ConsentCaps, NewConsent, NewEvent, StoreError},
    telemetry,
    ups::Authorization,
};

/// The host's options.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) browser_secret: Option<BrowserSecret>,
    pub(crate) return_to: Option<String>,
}

impl Consents {
    #[tracing::instrument(name = "authenticate", skip_all, fields(%company, %actor))]
    pub(crate) async fn authenticate(
        &self,
        company: &CompanyId,
        actor: &ActorId,
        options: Options,
    ) -> Result<Trip, AuthenticateError> {
        let rotation = &self.engine.rotation;
        if self.engine.tasks.is_ended() {
            return Err(AuthenticateError::ShutDown);
        }
        if options.return_to.as_deref().is_some_and(|path| !is_own_path(path)) {
            return Err(AuthenticateError::InvalidReturnTo);
        }
        // An invalid cookie value counts as no cookie: the browser gets a new secret in a new cookie.
        let known = options
            .browser_secret
            .filter(|secret| BrowserSecret::of_bytes(secret.expose_secret().as_bytes()).is_some());
        let (cookie, lifetime) = (TripCookie::of(&self.redirect_uri), rotation.policy.consent_lifetime);
        let cookie = match known {
            Some(_) => CookieOfTrip::Usual(cookie),
            None => CookieOfTrip::Beside(cookie, lifetime),
        };
        let browser_secret = known.unwrap_or_else(BrowserSecret::random);
        let authorization = rotation.ups.authorization(&self.redirect_uri);
        let (mut consent, trip) = self.new_trip(authorization, (company, actor), browser_secret, cookie, lifetime);
        consent.consent.return_to = options.return_to;
        let engine = Arc::clone(&self.engine);
        let put = async move {
            consent.consent.removals = engine.rotation.read(&consent.consent.company).await?.snapshot.grant.removals;
            engine.put_consent(consent, EventKind::Started).await
        };
        self.engine.write_for_caller(put).await?;
        tracing::debug!("a consent began");
        Ok(trip)
    }

    /// A consent to store, and the trip of the browser that has this secret.
    pub(super) fn new_trip(
        &self,
        authorization: Authorization,
        (company, actor): (&CompanyId, &ActorId),
        browser_secret: BrowserSecret,
        cookie: CookieOfTrip,
        lifetime: Duration,
    ) -> (NewConsent, Trip) {
        let consent = self.new_consent(ConsentId::random(), company, actor, browser_secret.hash());
        let (state, verifier) = (SecretHash::of(&authorization.state), authorization.verifier);
        let expires_at = later(self.engine.rotation.now(), lifetime);
        let trip = Trip { url: authorization.url, browser_secret, expires_at, cookie };
        (NewConsent { consent, state, verifier, lifetime }, trip)
    }

    pub(super) fn new_consent(
        &self,
        id: ConsentId,
        company: &CompanyId,
        actor: &ActorId,
        browser: SecretHash,
    ) -> Consent {
        let rotation = &self.engine.rotation;
        Consent {
            id,
            environment: rotation.environment,
            company: company.clone(),
            actor: actor.clone(),
            browser,
            redirect_uri: self.redirect_uri.clone(),
            client_id: rotation.settings.client_id.clone(),
            return_to: None,
            removals: 0,
        }
    }
}

impl Engine {
    /// Stores a consent together with an event of its actor.
    pub(super) async fn put_consent(&self, consent: NewConsent, kind: EventKind) -> Result<(), StoreError> {
        let rotation = &self.rotation;
        let caps = ConsentCaps {
            per_company: rotation.policy.consents_per_company,
            per_actor: rotation.policy.consents_per_actor,
        };
        let Consent { company, actor, .. } = &consent.consent;
        let event = EventContent::new(kind).with_actor(actor.clone());
        let event = NewEvent { company: Some(company.clone()), event };
        rotation
            .store
            .put_consent(consent, caps, event)
            .await
            .inspect(|()| telemetry::wrote(rotation.environment, [kind]))
    }
}

/// Whether `path` keeps the browser on the host: no scheme, no other authority, and no character that a browser strips
/// or treats as a slash.
pub(super) fn is_own_path(path: &str) -> bool {
    let mut bytes = path.bytes();
    path.len() <= 2048
        && bytes.next() == Some(b'/')
        && !matches!(bytes.next(), Some(b'/' | b'\\'))
        && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn return_to_is_a_path_of_the_hosts_own() {
        for own in ["/", "/companies/7?tab=history#top", "/a//b", "/a@b:80"] {
            assert!(is_own_path(own), "{own}");
        }
        let long = format!("/{}", "x".repeat(2048));
        for other in [
            "",
            "companies",
            "//evil.example",
            "/\\evil.example",
            "\\/evil",
            "https://evil.example",
            "/a\nb",
            "/\t/evil",
            "/a b",
            "/é",
            "javascript:alert(1)",
            &long,
        ] {
            assert!(!is_own_path(other), "{other:?}");
        }
    }
}
