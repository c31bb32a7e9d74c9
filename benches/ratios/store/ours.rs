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
    clock::{Clock as _, SystemClock},
    ids::Revision,
    store::{RowKey, RowNumber, Saved, Store, StoredTokens, Swap, TokenChange},
};
use batchsuite_benches::{
    companies::{ACCESS_LENGTH, REFRESH_LENGTH, text_of},
    life::{Life, tokens},
    measure::{nanoseconds, now},
};
use batchsuite_store::{PostgresPool, PostgresStore};
use batchsuite_tests::postgres::Server;
use tokio::task::{JoinHandle, JoinSet};

use super::rounds::{CLIENTS, ROW, Verb, WOKEN_AT_ONCE, Work};

/// The saves of a refresh by the keeper, as the library makes them.
pub(super) struct Saves {
    pub(super) claim: Swap,
    pub(super) commit: Swap,
}

impl Saves {
    pub(super) async fn of_the_library() -> Self {
        let life = Life::with_a_refresh().await;
        // The keeper's row is due before the lease ends, so the claim does not change its wake time.
        let claim = Swap { wake: None, ..life.step("claim").clone() };
        Self { claim, commit: life.step("commit").clone() }
    }

    /// The claim of a company's token at this version.
    pub(super) fn claim(&self, company: CompanyId, version: u64) -> Swap {
        Swap {
            key: key(company),
            expected: RowNumber::new(ROW),
            decided_at: Some(SystemClock.now()),
            revision: Revision { epoch: 1, version },
            ..self.claim.clone()
        }
    }

    /// The commit of the pair that follows this version.
    pub(super) fn commit(&self, company: CompanyId, version: u64) -> Swap {
        Swap {
            key: key(company),
            expected: RowNumber::new(ROW),
            revision: Revision { epoch: 1, version: version + 1 },
            tokens: TokenChange::Replace(tokens(text_of(ACCESS_LENGTH), text_of(REFRESH_LENGTH))),
            ..self.commit.clone()
        }
    }
}

pub(super) fn key(company: CompanyId) -> RowKey {
    RowKey::company(Environment::Cie, company)
}

/// Opens all connections.
pub(super) async fn connect(store: &PostgresStore) {
    let mut checks = JoinSet::new();
    for _ in 0..CLIENTS {
        let store = store.clone();
        checks.spawn(async move { store.check().await.expect("the store is fine") });
    }
    checks.join_all().await;
}

/// A host's own pool, without notifications.
pub(super) fn pool(server: &Server) -> PostgresPool {
    let pool = PostgresPool::at(server.url()).connections(CLIENTS as usize).unnamed_statements();
    pool.build().expect("a pool")
}

/// Runs a round and returns nanoseconds per operation.
pub(super) async fn run<S: Store + Clone>(store: &S, saves: &Arc<Saves>, work: &Work) -> f64 {
    let work = Arc::new(work.clone());
    let mut clients = JoinSet::new();
    let start = now();
    for client in 0..CLIENTS {
        clients.spawn(client_of(store.clone(), Arc::clone(saves), Arc::clone(&work), client));
    }
    clients.join_all().await;
    nanoseconds(start.elapsed(), CLIENTS * work.share)
}

async fn client_of(store: impl Store, saves: Arc<Saves>, work: Arc<Work>, client: u64) {
    for operation in 0..work.share {
        let company = || CompanyId::new(work.company(client, operation).to_string()).expect("a valid name");
        match work.verb {
            Verb::Load => load(&store, &key(company())).await,
            Verb::Claim => save(&store, saves.claim(company(), work.version)).await,
            Verb::Commit => save(&store, saves.commit(company(), work.version)).await,
            // Fewer rows are returned while other clients hold the rest.
            Verb::Wake => drop(store.wake(Environment::Cie, WOKEN_AT_ONCE as usize).await.expect("the store answers")),
        }
    }
}

async fn load(store: &impl Store, key: &RowKey) {
    let row = store.load(key).await.expect("the store answers");
    assert!(matches!(row.tokens, StoredTokens::Readable(_)), "{row:?}");
}

async fn save(store: &impl Store, swap: Swap) {
    let saved = store.save(swap).await.expect("the store answers");
    assert!(matches!(saved, Saved::Yes { .. }), "a row's number has changed");
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

    /// Stops reading, and returns how many reads found changes.
    pub(super) async fn end(self) -> u64 {
        self.0.abort();
        assert!(self.0.await.is_err_and(|end| end.is_cancelled()), "the changes could not be followed");
        self.1.load(Relaxed)
    }
}
