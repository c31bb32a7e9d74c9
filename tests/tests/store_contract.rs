//! The storage contract, run by every store.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use batchsuite_auth::{
    store::Store,
    test_util::{ManualClock, store_contract::Harness},
};
use batchsuite_store::{MemoryStore, PostgresStore};
use batchsuite_tests::postgres::{Log, Server, TestSchema, keyring};

/// A memory store on a clock moved by hand.
#[derive(Debug, Default)]
struct Memory {
    clock: ManualClock,
}

#[async_trait]
impl Harness for Memory {
    async fn fresh(&self) -> Arc<dyn Store> {
        Arc::new(MemoryStore::with_clock(self.clock.clone()))
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }
}

/// The same behind one `Arc<dyn Store>` more, as a host holds it that chooses its store at run time.
#[derive(Debug, Default)]
struct Shared(Memory);

#[async_trait]
impl Harness for Shared {
    async fn fresh(&self) -> Arc<dyn Store> {
        Arc::new(self.0.fresh().await)
    }

    async fn advance(&self, by: Duration) {
        self.0.advance(by).await;
    }
}

/// A Postgres store in a schema of its own.
#[derive(Debug)]
struct Postgres(TestSchema);

impl Postgres {
    fn new() -> Self {
        Self(TestSchema::new(Server::shared(Log::Normal)))
    }
}

#[async_trait]
impl Harness for Postgres {
    async fn fresh(&self) -> Arc<dyn Store> {
        let store = PostgresStore::at(self.0.server().url(), keyring().await).schema(self.0.name()).build();
        let store = store.expect("a store");
        store.migrate().await.expect("a schema of its own");
        Arc::new(store)
    }

    async fn advance(&self, by: Duration) {
        self.0.advance(by).await;
    }
}

mod memory_store {
    use super::*;

    batchsuite_auth::store_contract_tests!(Memory::default());
}

mod memory_store_behind_an_arc {
    use super::*;

    batchsuite_auth::store_contract_tests!(Shared::default());
}

mod postgres_store {
    use super::*;

    batchsuite_auth::store_contract_tests!(Postgres::new());
}
