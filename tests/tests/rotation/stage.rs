//! What every test here begins with: a UPS, a store, and one or more processes over them.
//!
//! Most tests run on tokio's paused time: its timers go by as soon as everybody waits. The wall clock of UPS, store and
//! processes is moved by hand; [`Stage::live`] lets both pass together.

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

/// A UPS and a store, for any number of processes.
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

    /// A process without a keeper, on the [`policy`] of these tests.
    pub(crate) fn process(&self) -> Process {
        self.process_with(|builder| builder.without_keeper())
    }

    pub(crate) fn process_with_policy(&self, change: impl FnOnce(&mut Policy)) -> Process {
        let mut policy = policy();
        change(&mut policy);
        self.process_with(|builder| builder.without_keeper().policy(policy))
    }

    /// A process that is configured as another client.
    pub(crate) fn process_as(&self, client: Client) -> Process {
        self.build(client, |builder| builder.without_keeper())
    }

    pub(crate) fn process_with(
        &self,
        settings: impl FnOnce(BatchSuiteAuthBuilder) -> BatchSuiteAuthBuilder,
    ) -> Process {
        self.build(Client::new(self.ups.client_id(), self.ups.client_secret()), settings)
    }

    fn build(&self, client: Client, settings: impl FnOnce(BatchSuiteAuthBuilder) -> BatchSuiteAuthBuilder) -> Process {
        let store = Arc::new(FlakyStore::over(self.store.clone()));
        let http = Arc::new(Gate::before(self.ups.in_process()));
        Process::start(&self.ups, client, store, http, |builder| settings(builder.policy(policy())))
    }

    /// `company` opts in, by way of `process`.
    pub(crate) async fn opt_in(&self, process: &Process, company: &CompanyId) {
        opt_in(&process.auth, &self.ups, company).await;
    }

    /// A caller of acme, whose access token has ended, and UPS's answer to its refresh, which is held up.
    pub(crate) async fn caller_before_the_answer(&self, process: &Process) -> (Hold, Caller) {
        self.access_tokens_end();
        let answer = process.http.hold_answer();
        let caller = process.caller(&acme());
        answer.reached().await;
        (answer, caller)
    }

    /// Ada's callback for acme, and UPS's answer to its exchange, which is held up.
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

    /// Time passes, for everybody: the wall clock and tokio's.
    pub(crate) async fn live(&self, time: Duration) {
        for _ in 0..time.as_secs() {
            self.ups.clock().advance(seconds(1));
            sleep(seconds(1)).await;
        }
    }

    /// The access tokens end: everybody's wall clock is an hour later.
    pub(crate) fn access_tokens_end(&self) {
        self.ups.clock().advance(HOUR);
    }

    /// The access tokens enter the early window.
    pub(crate) fn refreshes_are_due(&self) {
        self.ups.clock().advance(HOUR - seconds(600));
    }

    /// How many rotations UPS did.
    pub(crate) fn rotations(&self) -> u64 {
        self.ups.requests().count(Endpoint::Refresh, Outcome::Ok)
    }

    /// How many refreshes reached UPS.
    pub(crate) fn refreshes(&self) -> u64 {
        self.ups.requests().total(Endpoint::Refresh)
    }

    /// The company's grant, as it is stored.
    pub(crate) async fn grant_of(&self, company: &CompanyId) -> Grant {
        let row = self.row(company).await;
        Grant::of_document(row.document.as_str(), row.revision).unwrap()
    }

    /// The tokens that are stored of a company.
    pub(crate) async fn tokens_of(&self, company: &CompanyId) -> Option<Tokens> {
        match self.row(company).await.tokens {
            StoredTokens::Readable(tokens) => Some(tokens),
            _ => None,
        }
    }

    /// A hand writes this document into a row, which wakes at once.
    pub(crate) async fn write_document(&self, key: &RowKey, document: &str) {
        self.write(key, Document::new(document), TokenChange::Keep).await;
    }

    /// A hand deletes the tokens of a company.
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

/// The default policy, with a feed that is read every second: paused time would look like a clock that is set. A call of the
/// store that is held up stands for a process that is stopped in it, so the call is not given up and repeated.
pub(crate) fn policy() -> Policy {
    let mut policy = Policy::default();
    policy.feed_interval = seconds(1);
    policy.store_deadline = HOUR;
    policy
}
