//! The common setup of the tests: a UPS, a store, and processes over them.
//!
//! Most tests run on tokio's paused time, which jumps to the next timer as soon as every task waits. The tests move the
//! wall clock of UPS, store and processes by hand; [`Stage::live`] lets both pass together.

use std::{sync::Arc, time::Duration};

use batchsuite_auth::{
    BatchSuiteAuthBuilder, Client, CompanyId, Environment, OptedIn, Policy,
    error::CallbackError,
    fake_ups::{Endpoint, FakeUps, Outcome},
    store::{Document, ListedAs, Row, RowKey, Saved, Store, StoredTokens, Swap, TokenChange, Tokens, Wake},
    test_util::machine::Grant,
};
use batchsuite_store::MemoryStore;
use batchsuite_tests::{Caller, FlakyStore, Gate, HOUR, Hold, Process, acme, ada, opt_in, seconds};
use tokio::{task::JoinHandle, time::sleep};

/// A UPS and a store for any number of processes.
pub(crate) struct Stage {
    pub(crate) ups: FakeUps,
    pub(crate) store: MemoryStore,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::over(FakeUps::start().await)
    }

    pub(crate) fn over(ups: FakeUps) -> Self {
        Self { store: MemoryStore::with_clock(ups.clock()), ups }
    }

    /// A process without a keeper, with the [`policy`] of these tests.
    pub(crate) fn process(&self) -> Process {
        self.process_with(|builder| builder.without_keeper())
    }

    pub(crate) fn process_with_policy(&self, change: impl FnOnce(&mut Policy)) -> Process {
        let mut policy = policy();
        change(&mut policy);
        self.process_with(|builder| builder.without_keeper().policy(policy))
    }

    /// A process configured as another client.
    pub(crate) fn process_as(&self, client: Client) -> Process {
        self.build(client, |builder| builder.without_keeper())
    }

    pub(crate) fn process_with(
        &self,
        settings: impl FnOnce(BatchSuiteAuthBuilder) -> BatchSuiteAuthBuilder,
    ) -> Process {
        self.build(Client::new(self.ups.client_id(), self.ups.client_secret()), settings)
    }

    /// A process configured as this client, with these settings.
    pub(crate) fn build(
        &self,
        client: Client,
        settings: impl FnOnce(BatchSuiteAuthBuilder) -> BatchSuiteAuthBuilder,
    ) -> Process {
        let store = Arc::new(FlakyStore::over(self.store.clone()));
        let http = Arc::new(Gate::before(self.ups.in_process()));
        Process::start(&self.ups, client, store, http, |builder| settings(builder.policy(policy())))
    }

    /// `company` opts in through `process`.
    pub(crate) async fn opt_in(&self, process: &Process, company: &CompanyId) {
        opt_in(&process.auth, &self.ups, company).await;
    }

    /// A caller for acme, whose access token has expired; UPS's answer to its refresh is held.
    pub(crate) async fn caller_before_the_answer(&self, process: &Process) -> (Hold, Caller) {
        self.access_tokens_end();
        let answer = process.http.hold_answer();
        let caller = process.caller(&acme());
        answer.reached().await;
        (answer, caller)
    }

    /// Ada's callback for acme; UPS's answer to its exchange is held.
    pub(crate) async fn callback_before_the_answer(
        &self,
        process: &Process,
    ) -> (Hold, JoinHandle<Result<OptedIn, CallbackError>>) {
        let trip = process.auth.authenticate(&acme(), &ada()).await.unwrap();
        let query = self.ups.consent(&trip.url, FakeUps::USER).await;
        let answer = process.http.hold_answer();
        let callback = tokio::spawn({
            let auth = process.auth.clone();
            async move { auth.callback(&ada(), &query, &trip.browser_secret).await }
        });
        answer.reached().await;
        (answer, callback)
    }

    /// Lets time pass on the wall clock and on tokio's.
    pub(crate) async fn live(&self, time: Duration) {
        for _ in 0..time.as_secs() {
            self.ups.clock().advance(seconds(1));
            sleep(seconds(1)).await;
        }
    }

    /// Moves the wall clock by an hour, so that the access tokens expire.
    pub(crate) fn access_tokens_end(&self) {
        self.ups.clock().advance(HOUR);
    }

    /// Moves the wall clock to 53 minutes, behind the first half of the access tokens' early window.
    pub(crate) fn refreshes_are_due(&self) {
        self.ups.clock().advance(HOUR - seconds(420));
    }

    /// The number of UPS's rotations.
    pub(crate) fn rotations(&self) -> u64 {
        self.ups.requests().count(Endpoint::Refresh, Outcome::Ok)
    }

    /// The number of refreshes that reached UPS.
    pub(crate) fn refreshes(&self) -> u64 {
        self.ups.requests().total(Endpoint::Refresh)
    }

    /// The company's stored grant.
    pub(crate) async fn grant_of(&self, company: &CompanyId) -> Grant {
        let row = self.row(company).await;
        Grant::of_document(row.document.as_str(), row.revision).unwrap()
    }

    /// The company's stored tokens.
    pub(crate) async fn tokens_of(&self, company: &CompanyId) -> Option<Tokens> {
        match self.row(company).await.tokens {
            StoredTokens::Readable(tokens) => Some(tokens),
            _ => None,
        }
    }

    /// Writes this document into a row by hand. The row is due at once.
    pub(crate) async fn write_document(&self, key: &RowKey, document: &str) {
        self.write(key, Document::new(document), TokenChange::Keep).await;
    }

    /// Deletes a company's tokens by hand.
    pub(crate) async fn delete_tokens(&self, company: &CompanyId) {
        self.write(
            &RowKey::company(Environment::Cie, company.clone()),
            self.row(company).await.document,
            TokenChange::Erase,
        )
        .await;
    }

    async fn write(&self, key: &RowKey, document: Document, tokens: TokenChange) {
        let row = self.store.load(key).await.unwrap();
        let swap = Swap {
            key: row.key,
            expected: row.number,
            decided_at: None,
            step: "test",
            document,
            revision: row.revision,
            listed_as: ListedAs::Authenticated,
            tokens,
            wake: key.company.as_ref().map(|_| Wake { at: Some(row.as_of), if_used: None }),
            used_at: row.used_at,
            events: Vec::new(),
            announce: false,
        };
        assert!(matches!(self.store.save(swap).await, Ok(Saved::Yes { .. })));
    }

    /// The company's row.
    pub(crate) async fn row(&self, company: &CompanyId) -> Row {
        self.store.load(&RowKey::company(Environment::Cie, company.clone())).await.unwrap()
    }
}

/// The default policy, except that the feed is read every second: with a longer interval, paused time would look like a
/// changed clock. A held call of the store stands for a stopped process, so the store's deadline does not end it.
pub(crate) fn policy() -> Policy {
    let mut policy = Policy::default();
    policy.feed_interval = seconds(1);
    policy.store_deadline = HOUR;
    policy
}
