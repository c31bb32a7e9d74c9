//! Authenticate: a person is about to be sent to UPS.com.

use std::sync::Arc;

use super::Consents;
use crate::{
    browser::TripCookie,
    clock::later,
    consent::{CookieOfTrip, Trip},
    error::AuthenticateError,
    events::{EventContent, EventKind},
    ids::{ActorId, CompanyId, ConsentId},
    secret::{BrowserSecret, SecretHash},
    store::{Consent, ConsentCaps, NewConsent, NewEvent},
};

/// What a host may add.
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
        // A browser with garbage in its cookie is one without a cookie: it gets a secret, and the cookie is set anew.
        let known = options
            .browser_secret
            .filter(|secret| BrowserSecret::of_bytes(secret.expose_secret().as_bytes()).is_some());
        let cookie = CookieOfTrip {
            cookie: TripCookie::of(&self.redirect_uri),
            is_beside: known.is_none().then_some(rotation.policy.consent_lifetime),
        };
        let browser_secret = known.unwrap_or_else(BrowserSecret::random);
        let authorization = rotation.ups.authorization(&self.redirect_uri);
        let consent = Consent {
            id: ConsentId::random(),
            environment: rotation.environment,
            company: company.clone(),
            actor: actor.clone(),
            browser: browser_secret.hash(),
            redirect_uri: self.redirect_uri.clone(),
            client_id: rotation.settings.client_id.clone(),
            return_to: options.return_to,
            removals: 0,
        };
        let (state, verifier) = (SecretHash::of(&authorization.state), authorization.verifier);
        let consent = NewConsent { consent, state, verifier, lifetime: rotation.policy.consent_lifetime };
        self.put(consent).await?;
        tracing::debug!("a consent began");
        let expires_at = later(rotation.now(), rotation.policy.consent_lifetime);
        Ok(Trip { url: authorization.url, browser_secret, expires_at, cookie })
    }

    /// Stores a consent that remembers how often the authorization has been removed up to now.
    async fn put(&self, mut consent: NewConsent) -> Result<(), AuthenticateError> {
        let engine = Arc::clone(&self.engine);
        let task = async move {
            let company = consent.consent.company.clone();
            let rotation = &engine.rotation;
            consent.consent.removals = rotation.read(&company).await?.snapshot.grant.removals;
            let caps = ConsentCaps {
                per_company: rotation.policy.consents_per_company,
                per_actor: rotation.policy.consents_per_actor,
            };
            let event = EventContent::new(EventKind::Started).with_actor(consent.consent.actor.clone());
            rotation.store.put_consent(consent, caps, NewEvent { company: Some(company), event }).await
        };
        Ok(self.engine.write_for_caller(task).await?)
    }
}

/// Whether a browser that is sent to `path` stays with the host: no scheme, no other authority, nothing that a browser
/// strips or reads as a slash.
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
