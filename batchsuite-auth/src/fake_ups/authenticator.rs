//! An authenticator for the fake.

use super::FakeUps;
use crate::{
    BatchSuiteAuth, BatchSuiteAuthBuilder,
    config::{Client, Environment},
    http::ReqwestClient,
};

impl FakeUps {
    /// A builder with this UPS's address, client, redirect URI and clock, over the real HTTP adapter. Only a store is
    /// missing; give the store the same [`clock`](Self::clock).
    ///
    /// # Panics
    /// If the HTTP adapter cannot be built.
    pub fn authenticator(&self) -> BatchSuiteAuthBuilder {
        let http = ReqwestClient::builder().allow_loopback_http().build().unwrap_or_else(|error| panic!("{error}"));
        BatchSuiteAuth::builder(Environment::Cie, Client::new(self.client_id(), self.client_secret()))
            .base_url(self.base_url())
            .redirect_uri(self.redirect_uri())
            .http(http)
            .clock(self.clock())
    }
}
