//! The common setup of the tests: a database, a UPS, and processes over them.

use std::{sync::Arc, time::Duration};

use batchsuite_auth::{
    BatchSuiteAuthBuilder, Client, CompanyId, Environment,
    fake_ups::{Endpoint, FakeUps, Fault, Times},
    store::{Row, RowKey},
};
use batchsuite_tests::{Backend, Database, FlakyStore, Gate, Process, acme, opt_in};

pub(crate) struct Stage {
    pub(crate) ups: FakeUps,
    pub(crate) database: Database,
}

impl Stage {
    pub(crate) async fn new(backend: Backend) -> Self {
        Self { ups: FakeUps::start().await, database: Database::new(backend).await }
    }

    /// A process without a keeper and with an empty cache.
    pub(crate) async fn process(&self) -> Process {
        self.process_with(|builder| builder.without_keeper()).await
    }

    pub(crate) async fn process_with(
        &self,
        set_up: impl FnOnce(BatchSuiteAuthBuilder) -> BatchSuiteAuthBuilder,
    ) -> Process {
        let store = Arc::new(FlakyStore::over(self.database.store(self.ups.clock()).await));
        let http = Arc::new(Gate::before(self.ups.in_process()));
        let client = Client::new(self.ups.client_id(), self.ups.client_secret());
        Process::start(&self.ups, client, store, http, set_up)
    }

    pub(crate) async fn opt_in(&self, company: &CompanyId) {
        opt_in(&self.process().await.auth, &self.ups, company).await;
    }

    /// Advances the time of UPS and the database.
    pub(crate) async fn advance(&self, by: Duration) {
        self.ups.clock().advance(by);
        self.database.advance(by).await;
    }

    /// The number of refreshes that reached UPS.
    pub(crate) fn refreshes(&self) -> u64 {
        self.ups.requests().total(Endpoint::Refresh)
    }

    /// Sets a fault of UPS for the next refresh.
    pub(crate) fn at_the_next_refresh(&self, fault: Fault) {
        self.ups.fault(Endpoint::Refresh, fault, Times::Once);
    }

    /// Acme's row.
    pub(crate) async fn row(&self) -> Row {
        self.database.store(self.ups.clock()).await.load(&RowKey::company(Environment::Cie, acme())).await.unwrap()
    }
}
