//! Where a finding is produced: a fake UPS, a store, and processes over them, in real time.

use std::{sync::Arc, time::Duration};

use batchsuite_auth::{
    BatchSuiteAuthBuilder, Client, CompanyId, Environment, Policy,
    clock::{Clock as _, earlier, later},
    fake_ups::{Endpoint, FakeUps, Fault, Times},
    http::{HttpError, HttpErrorKind},
    store::{Document, ListedAs, RowKey, Saved, Store, Swap, TokenChange, Wake},
};

use crate::{Database, FlakyStore, Gate, HOUR, Process, company, opt_in};

/// A client id that is not the one of the opt-ins.
pub(super) const ANOTHER_CLIENT: &str = "another-client";

/// A UPS, a store, and the company that the findings are about.
#[derive(Debug)]
pub struct Scene<'a> {
    /// The UPS; its clock is that of every process.
    pub ups: &'a FakeUps,
    /// The company.
    pub company: CompanyId,
    store: Arc<dyn Store>,
    database: Option<&'a Database>,
}

impl<'a> Scene<'a> {
    /// A scene whose store uses the clock of `ups`, or that of `database`.
    pub fn new(ups: &'a FakeUps, store: Arc<dyn Store>, database: Option<&'a Database>, company: CompanyId) -> Self {
        Self { ups, company, store, database }
    }

    /// Moves all clocks ahead.
    pub async fn advance(&self, by: Duration) {
        self.ups.clock().set(later(self.ups.clock().now(), by));
        if let Some(database) = self.database {
            database.advance(by).await;
        }
    }

    /// Moves all clocks back.
    pub async fn set_back(&self, by: Duration) {
        self.ups.clock().set(earlier(self.ups.clock().now(), by));
        if let Some(database) = self.database {
            database.set_back(by).await;
        }
    }

    /// A process without a keeper.
    pub fn process(&self) -> Process {
        self.process_with(|builder| builder.without_keeper().policy(policy()))
    }

    /// A process with a keeper, whose policy is changed by `change`.
    pub(super) fn process_with_policy(&self, change: impl FnOnce(&mut Policy)) -> Process {
        let mut policy = policy();
        change(&mut policy);
        self.process_with(|builder| builder.policy(policy))
    }

    fn process_with(&self, set_up: impl FnOnce(BatchSuiteAuthBuilder) -> BatchSuiteAuthBuilder) -> Process {
        self.build(Client::new(self.ups.client_id(), self.ups.client_secret()), set_up)
    }

    /// A process without a keeper, configured with this client id.
    pub fn process_of(&self, client_id: &str) -> Process {
        self.build(Client::new(client_id, "secret"), |builder| builder.without_keeper().policy(policy()))
    }

    fn build(&self, client: Client, set_up: impl FnOnce(BatchSuiteAuthBuilder) -> BatchSuiteAuthBuilder) -> Process {
        let store = Arc::new(FlakyStore::over(Arc::clone(&self.store)));
        Process::start(self.ups, client, store, Arc::new(Gate::before(self.ups.in_process())), set_up)
    }

    /// A process through which the company has opted in.
    pub(super) async fn opted_in(&self) -> Process {
        let process = self.process();
        self.opt_in(&process).await;
        process
    }

    pub(super) async fn opt_in(&self, process: &Process) {
        opt_in(&process.auth, self.ups, &self.company).await;
    }

    /// UPS answers the refreshes of this many other companies so, whose access tokens have ended as the company's has.
    pub(super) async fn others_meet(&self, process: &Process, companies: usize, fault: impl Into<Fault>) {
        let others = self.others(process, companies).await;
        self.advance(HOUR).await;
        self.ups.fault(Endpoint::Refresh, fault, Times::UntilCleared);
        for other in &others {
            process.auth.access_token(other).await.expect_err("UPS gives no token");
        }
    }

    /// This many other companies have opted in.
    pub(super) async fn others(&self, process: &Process, companies: usize) -> Vec<CompanyId> {
        let others: Vec<_> = (0..companies).map(|number| company(&format!("other-{number}"))).collect();
        for other in &others {
            opt_in(&process.auth, self.ups, other).await;
        }
        others
    }

    /// The process cannot reach UPS any more.
    pub(super) fn cut(&self, process: &Process) {
        process.http.answer_by(|_| Some(Err(HttpError::new(HttpErrorKind::Connect))));
    }

    /// Erases the company's tokens behind the library's back.
    pub(super) async fn erase_tokens(&self) {
        self.write(None, TokenChange::Erase).await;
    }

    /// Damages the company's row behind the library's back.
    pub(super) async fn damage_row(&self) {
        self.write(Some(Document::new("[]")), TokenChange::Keep).await;
    }

    async fn write(&self, document: Option<Document>, tokens: TokenChange) {
        let key = RowKey::company(Environment::Cie, self.company.clone());
        let row = self.store.load(&key).await.expect("the row");
        let swap = Swap {
            key: row.key,
            expected: row.number,
            decided_at: None,
            step: "test",
            document: document.unwrap_or(row.document),
            revision: row.revision,
            listed_as: ListedAs::Authenticated,
            tokens,
            wake: Some(Wake { at: Some(row.as_of), if_used: None }),
            used_at: row.used_at,
            events: Vec::new(),
            announce: false,
        };
        assert!(matches!(self.store.save(swap).await, Ok(Saved::Yes { .. })), "nobody else writes");
    }
}

/// The default policy, except that the feed is read so often that it is fresh again soon after the clock was moved.
fn policy() -> Policy {
    let mut policy = Policy::default();
    policy.feed_interval = Duration::from_millis(50);
    policy
}
