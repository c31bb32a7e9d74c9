//! The store's side.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use batchsuite_auth::{
    CompanyId, Environment,
    ids::{AttemptId, Revision},
    store::{ClaimRefresh, Claimed, CommitRefresh, Committed, DueQuery, GrantKey, Store as _},
};
use batchsuite_benches::{
    companies::{self, CLIENT_ID},
    measure::{nanoseconds, now},
};
use batchsuite_store::{PostgresPool, PostgresStore};
use batchsuite_tests::postgres::Server;
use tokio::task::{JoinHandle, JoinSet};

use super::{
    rounds::{CLIENTS, DUE_AT_ONCE, Verb, Work},
    tables::{ACCESS_LENGTH, REFRESH_LENGTH},
};

/// How long a claim keeps others away.
pub(super) const LEASE: Duration = Duration::from_secs(60);
/// What the keeper asks for.
pub(super) const USED_WITHIN: Duration = Duration::from_secs(86_400);
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(7 * 86_400);
pub(super) const RESERVE_FOR: Duration = Duration::from_secs(600);

/// Opens all connections.
pub(super) async fn connect(store: &PostgresStore) {
    let mut checks = JoinSet::new();
    for _ in 0..CLIENTS {
        let store = store.clone();
        checks.spawn(async move { store.check().await.expect("the store is fine") });
    }
    checks.join_all().await;
}

/// A pool of a host's own, without notifications.
pub(super) fn pool(server: &Server) -> PostgresPool {
    let pool = PostgresPool::at(server.url()).connections(CLIENTS as usize).unnamed_statements();
    pool.build().expect("a pool")
}

/// Does a round; nanoseconds an operation.
pub(super) async fn run(store: &PostgresStore, work: &Work) -> f64 {
    let work = Arc::new(work.clone());
    let mut clients = JoinSet::new();
    let start = now();
    for client in 0..CLIENTS {
        clients.spawn(client_of(store.clone(), Arc::clone(&work), client));
    }
    clients.join_all().await;
    nanoseconds(start.elapsed(), CLIENTS * work.share)
}

async fn client_of(store: PostgresStore, work: Arc<Work>, client: u64) {
    for operation in 0..work.share {
        match work.verb {
            Verb::Due => due(&store).await,
            verb => {
                let company = CompanyId::new(work.company(client, operation).to_string()).expect("a valid name");
                let key = GrantKey { environment: Environment::Cie, company };
                let revision = Revision { epoch: 1, version: work.version };
                match verb {
                    Verb::Load => load(&store, &key).await,
                    Verb::Claim => claim(&store, key, revision).await,
                    _ => commit(&store, key, revision).await,
                }
            }
        }
    }
}

async fn load(store: &PostgresStore, key: &GrantKey) {
    let snapshot = store.load(key).await.expect("the store answers");
    assert!(snapshot.tokens.is_some(), "{key:?} has no tokens");
}

async fn claim(store: &PostgresStore, key: GrantKey, revision: Revision) {
    let claim = ClaimRefresh { key, revision, attempt: AttemptId::random(), lease: LEASE };
    assert_eq!(store.claim_refresh(claim).await.expect("the store answers"), Claimed::Yes);
}

async fn commit(store: &PostgresStore, key: GrantKey, revision: Revision) {
    let pair = companies::pair(companies::text_of(ACCESS_LENGTH), companies::text_of(REFRESH_LENGTH));
    let commit = CommitRefresh { key, revision, attempt: AttemptId::random(), pair, failures: 0, retry_in: None };
    let committed = store.commit_refresh(commit).await.expect("the store answers");
    assert!(matches!(committed, Committed::Stored(_)), "{committed:?}");
}

async fn due(store: &PostgresStore) {
    let query = DueQuery {
        environment: Environment::Cie,
        client_id: CLIENT_ID.to_owned(),
        used_within: USED_WITHIN,
        keep_alive: KEEP_ALIVE,
        reserve_for: RESERVE_FOR,
        limit: DUE_AT_ONCE as usize,
    };
    store.due(query).await.expect("the store answers");
}

/// Another process that reads the change feed.
pub(super) struct Following(JoinHandle<()>, Arc<AtomicU64>);

impl Following {
    pub(super) async fn begin(store: &PostgresStore) -> Self {
        let store = store.clone();
        let looks = Arc::new(AtomicU64::new(0));
        let found = Arc::clone(&looks);
        let environment = Environment::Cie;
        let mut cursor = store.changes(environment, None, Duration::ZERO).await.expect("the store answers").cursor;
        let following = tokio::spawn(async move {
            loop {
                let changes = store.changes(environment, Some(cursor), Duration::from_secs(30)).await;
                cursor = changes.expect("the store answers").cursor;
                found.fetch_add(1, Relaxed);
            }
        });
        Self(following, looks)
    }

    /// How many looks found changes.
    pub(super) async fn end(self) -> u64 {
        self.0.abort();
        assert!(self.0.await.is_err_and(|end| end.is_cancelled()), "the changes could not be followed");
        self.1.load(Relaxed)
    }
}
