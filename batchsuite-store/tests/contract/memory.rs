//! [`MemoryStore`]: no other process can lock or damage its rows.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use batchsuite_auth::{
    clock::Clock,
    store::Store,
    test_util::{ManualClock, store_contract::Harness},
};
use batchsuite_store::MemoryStore;

/// A memory store with a manual clock.
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

    async fn set_back(&self, by: Duration) {
        self.clock.set(self.clock.now() - by);
    }
}

batchsuite_auth::store_contract_tests!(Memory::default());
