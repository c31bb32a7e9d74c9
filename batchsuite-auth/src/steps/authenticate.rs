//! Authenticate: a person is about to be sent to UPS.com.

use std::sync::Arc;

use super::Core;
use crate::{
    authenticator::{CookieOfTrip, Trip},
    browser::TripCookie,
    clock::later,
    error::AuthenticateError,
    ids::{ActorId, CompanyId, ConsentId},
    secret::{BrowserSecret, SecretHash},
    store::NewConsent,
};

/// What a host may add.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) browser_secret: Option<BrowserSecret>,
    pub(crate) return_to: Option<String>,
}

impl Core {
    #[tracing::instrument(name = "authenticate", skip_all, fields(%company, %actor))]
    pub(crate) async fn authenticate(
        self: &Arc<Self>,
        company: &CompanyId,
        actor: &ActorId,
        options: Options,
    ) -> Result<Trip, AuthenticateError> {
        if self.is_ended() {
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
            is_beside: known.is_none().then_some(self.policy.consent_lifetime),
        };
        let browser_secret = known.unwrap_or_else(BrowserSecret::random);
        let authorization = self.ups.authorization(&self.redirect_uri);
        let (store, consent) = (
            Arc::clone(&self.store),
            NewConsent {
                id: ConsentId::random(),
                key: self.key(company),
                actor: actor.clone(),
                state: SecretHash::of(&authorization.state),
                browser: browser_secret.hash(),
                verifier: authorization.verifier,
                redirect_uri: self.redirect_uri.clone(),
                client_id: self.client_id.clone(),
                return_to: options.return_to,
                lifetime: self.policy.consent_lifetime,
                per_company: self.policy.consents_per_company,
                per_actor: self.policy.consents_per_actor,
            },
        );
        self.write_for_caller(async move { store.begin_consent(consent).await }).await?;
        tracing::debug!("a consent began");
        let expires_at = later(self.now(), self.policy.consent_lifetime);
        Ok(Trip { url: authorization.url, browser_secret, expires_at, cookie })
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
