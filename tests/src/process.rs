//! One process of a service, with calls for tests.

use std::sync::Arc;

use batchsuite_auth::{
    AccessToken, BatchSuiteAuth, BatchSuiteAuthBuilder, Client, CompanyId, Environment, EventFilter,
    error::TokenError,
    events::{Event, EventKind},
    fake_ups::{FakeUps, FakeUpsState},
    machine::CauseKind,
    status::Status,
};
use tokio::task::JoinHandle;

use crate::{FlakyStore, Gate, ada};

/// A call of `access_token` in its own task.
pub type Caller = JoinHandle<Result<AccessToken, TokenError>>;

/// An authenticator in this process, with its connections to the store and to UPS.
#[derive(Debug)]
pub struct Process {
    /// The authenticator.
    pub auth: BatchSuiteAuth,
    /// The connection to the store.
    pub store: Arc<FlakyStore>,
    /// The connection to UPS.
    pub http: Arc<Gate>,
}

impl Process {
    /// A `client` of this UPS, on its clock, configured by `set_up`.
    pub fn start(
        ups: &FakeUps,
        client: Client,
        store: Arc<FlakyStore>,
        http: Arc<Gate>,
        set_up: impl FnOnce(BatchSuiteAuthBuilder) -> BatchSuiteAuthBuilder,
    ) -> Self {
        let builder = BatchSuiteAuth::builder(Environment::Cie, client)
            .base_url(ups.base_url())
            .redirect_uri(ups.redirect_uri())
            .clock(ups.clock())
            .http(Arc::clone(&http))
            .store(Arc::clone(&store));
        let auth = set_up(builder).build().expect("a valid configuration");
        Self { auth, store, http }
    }

    /// The company's token.
    pub async fn token(&self, company: &CompanyId) -> AccessToken {
        self.auth.access_token(company).await.unwrap_or_else(|error| panic!("{company}: {error:?}"))
    }

    /// A call in its own task.
    pub fn caller(&self, company: &CompanyId) -> Caller {
        let (auth, company) = (self.auth.clone(), company.clone());
        tokio::spawn(async move { auth.access_token(&company).await })
    }

    /// Why the company must opt in again, if it must.
    pub async fn cause(&self, company: &CompanyId) -> Option<CauseKind> {
        cause(&self.auth, company).await
    }

    /// The company's events, oldest first.
    pub async fn events(&self, company: &CompanyId) -> Vec<Event> {
        events(&self.auth, Some(company)).await
    }

    /// The kinds of the company's events.
    pub async fn kinds(&self, company: &CompanyId) -> Vec<EventKind> {
        self.events(company).await.into_iter().map(|event| event.kind).collect()
    }
}

/// Ada opts in for the company, through `auth`.
pub async fn opt_in(auth: &BatchSuiteAuth, ups: &FakeUpsState, company: &CompanyId) {
    let trip = auth.authenticate(company, &ada()).await.expect("a trip");
    let query = ups.consent(&trip.url, FakeUps::USER).await;
    auth.callback(&ada(), &query, &trip.browser_secret).await.expect("an opt-in");
}

/// Why the company must opt in again, if it must.
pub async fn cause(auth: &BatchSuiteAuth, company: &CompanyId) -> Option<CauseKind> {
    match auth.status(company).await.expect("the store answers").status {
        Status::ReauthRequired(cause) => Some(cause.kind),
        _ => None,
    }
}

/// The whole log, or the company's part of it, oldest first.
pub async fn events(auth: &BatchSuiteAuth, company: Option<&CompanyId>) -> Vec<Event> {
    let filter = EventFilter::new().with_company(company.cloned()).with_limit(100_000);
    auth.events(filter).await.expect("the store answers").items
}
