//! Options of a consent before it begins.

use std::{future::IntoFuture, sync::Arc};

use futures_util::future::BoxFuture;

use crate::{
    consent::Trip,
    error::AuthenticateError,
    ids::{ActorId, CompanyId},
    secret::BrowserSecret,
    steps::{AuthenticateOptions, Consents},
};

/// A consent about to begin; see [`BatchSuiteAuth::authenticate`](super::BatchSuiteAuth::authenticate).
#[derive(Debug)]
#[must_use = "nothing begins until it is awaited"]
pub struct Authenticate<'a> {
    pub(super) consents: &'a Arc<Consents>,
    pub(super) company: &'a CompanyId,
    pub(super) actor: &'a ActorId,
    pub(super) options: AuthenticateOptions,
}

impl Authenticate<'_> {
    /// The secret from this browser's cookie ([`TripCookie::secrets`](crate::TripCookie::secrets)), so that two of its
    /// consents can run in parallel. `None`, or a secret that this library never issued, counts as not set: the browser
    /// gets a new secret.
    pub fn browser_secret(mut self, secret: impl Into<Option<BrowserSecret>>) -> Self {
        self.options.browser_secret = secret.into();
        self
    }

    /// The path to send the browser to after the callback: a path on the host itself, at most 2,048 bytes, returned as
    /// [`OptedIn::return_to`](crate::OptedIn::return_to).
    pub fn return_to(mut self, path: impl Into<String>) -> Self {
        self.options.return_to = Some(path.into());
        self
    }
}

impl<'a> IntoFuture for Authenticate<'a> {
    type Output = Result<Trip, AuthenticateError>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.consents.authenticate(self.company, self.actor, self.options))
    }
}
