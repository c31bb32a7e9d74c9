//! Builds an authenticator from its settings.

use std::sync::Arc;

use tokio::runtime::Handle;
use url::Url;

use super::BatchSuiteAuth;
use crate::{
    cache::Cache,
    clock::{Clock, HotClock, SystemClock},
    config::{Client, Environment, FeedLost, Policy, is_https_or_loopback},
    consent::OptInCheck,
    error::BuildError,
    http::HttpClient,
    rotation::{Engine, Parts},
    steps::Consents,
    store::Store,
    ups::{PairDefaults, Ups},
};

/// Builds a [`BatchSuiteAuth`].
#[derive(Debug)]
#[must_use = "nothing begins until build()"]
pub struct BatchSuiteAuthBuilder {
    environment: Environment,
    client: Client,
    base_url: Option<Url>,
    redirect_uri: Option<Url>,
    store: Option<Arc<dyn Store>>,
    http: Option<Arc<dyn HttpClient>>,
    clock: Option<Arc<dyn Clock>>,
    policy: Policy,
    opt_in_check: Option<Arc<dyn OptInCheck>>,
    keeper: bool,
}

impl BatchSuiteAuth {
    /// Starts the configuration of an authenticator for one application (`client`) in one UPS environment.
    pub fn builder(environment: Environment, client: Client) -> BatchSuiteAuthBuilder {
        BatchSuiteAuthBuilder::new(environment, client)
    }
}

impl BatchSuiteAuthBuilder {
    fn new(environment: Environment, client: Client) -> Self {
        Self {
            environment,
            client,
            base_url: None,
            redirect_uri: None,
            store: None,
            http: None,
            clock: None,
            policy: Policy::default(),
            opt_in_check: None,
            keeper: true,
        }
    }

    /// The callback URL, exactly as registered at UPS: https, or http on loopback.
    pub fn redirect_uri(mut self, uri: Url) -> Self {
        self.redirect_uri = Some(uri);
        self
    }

    /// The store for opt-ins.
    pub fn store(mut self, store: impl Store) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// A base URL in place of the environment's: https, or http on loopback.
    pub fn base_url(mut self, url: Url) -> Self {
        self.base_url = Some(url);
        self
    }

    /// An HTTP client in place of the reqwest adapter (feature `reqwest`).
    pub fn http(mut self, http: impl HttpClient) -> Self {
        self.http = Some(Arc::new(http));
        self
    }

    /// A clock in place of the system clock.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// A policy in place of the default.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// The host's own check in each callback, before anything is sent to UPS and before the opt-in is stored.
    pub fn opt_in_check(mut self, check: impl OptInCheck) -> Self {
        self.opt_in_check = Some(Arc::new(check));
        self
    }

    /// Runs no keeper in this process: it refreshes tokens only on demand and raises no expiry warnings.
    pub fn without_keeper(mut self) -> Self {
        self.keeper = false;
        self
    }

    /// Checks the settings and starts the authenticator on the current tokio runtime.
    ///
    /// # Errors
    /// [`BuildError`]: the invalid setting, and the reason.
    pub fn build(mut self) -> Result<BatchSuiteAuth, BuildError> {
        let runtime = Handle::try_current().map_err(|_| BuildError::NoRuntime)?;
        self.policy = self.policy.checked().map_err(|reason| BuildError::Invalid { setting: "policy", reason })?;
        let store = self.store.ok_or(BuildError::Missing("the store"))?;
        let redirect_uri = self.redirect_uri.ok_or(BuildError::Missing("redirect_uri"))?;
        if !is_https_or_loopback(&redirect_uri) || redirect_uri.fragment().is_some() {
            let reason = "it must be https, or http on localhost, and have no fragment";
            return Err(BuildError::Invalid { setting: "redirect_uri", reason });
        }
        if self.client.id.trim().is_empty() || self.client.secret.expose_secret().is_empty() {
            return Err(BuildError::Invalid { setting: "client", reason: "id and secret must not be empty" });
        }
        if self.client.id.contains(':') {
            let reason = "HTTP Basic cannot carry an id with a colon (RFC 7617)";
            return Err(BuildError::Invalid { setting: "client", reason });
        }
        let base_url = match self.base_url {
            Some(url) => url,
            None => Url::parse(self.environment.base_url())
                .map_err(|_| BuildError::Invalid { setting: "environment", reason: "it has no base URL" })?,
        };
        if !is_https_or_loopback(&base_url) || base_url.query().is_some() || !base_url.username().is_empty() {
            let reason = "it must be https, or http on localhost, without query and user";
            return Err(BuildError::Invalid { setting: "base_url", reason });
        }
        let http = self.http.map_or_else(|| default_http(&base_url), Ok)?;
        let defaults =
            PairDefaults { access_lifetime: self.policy.assumed_access_lifetime, client_id: self.client.id.clone() };
        let client_id = self.client.id.clone();
        let ups = Ups::new(&base_url, self.client, http, self.policy.request_deadline, defaults)
            .ok_or(BuildError::Invalid { setting: "base_url", reason: "it cannot carry a path" })?;
        let hot_clock = self.clock.clone().map_or(HotClock::System, HotClock::Host);
        let refuse_after = (self.policy.feed_lost == FeedLost::Refuse).then_some(self.policy.cache_max_age);
        let parts = Parts {
            environment: self.environment,
            client_id,
            store,
            ups,
            clock: self.clock.unwrap_or_else(|| Arc::new(SystemClock)),
            cache: Cache::new(hot_clock, refuse_after),
            policy: self.policy,
            keeper: self.keeper,
        };
        let engine = Engine::start(parts, runtime);
        let consents = Arc::new(Consents::new(Arc::clone(&engine), redirect_uri, self.opt_in_check));
        Ok(BatchSuiteAuth { engine, consents })
    }
}

#[cfg(feature = "reqwest")]
fn default_http(base_url: &Url) -> Result<Arc<dyn HttpClient>, BuildError> {
    let mut client = crate::http::ReqwestClient::builder();
    if base_url.scheme() == "http" {
        // The base URL is loopback here.
        client = client.allow_loopback_http();
    }
    let reason = "the default one could not be made: TLS or the system's certificates are not usable";
    let client = client.build().map_err(|_| BuildError::Invalid { setting: "http", reason })?;
    Ok(Arc::new(client))
}

#[cfg(not(feature = "reqwest"))]
fn default_http(_: &Url) -> Result<Arc<dyn HttpClient>, BuildError> {
    Err(BuildError::Missing("the HTTP client (http; or the feature `reqwest`)"))
}
