//! The storage contract, run by every store.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use batchsuite_auth::{
    clock::Clock,
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

    async fn set_back(&self, by: Duration) {
        self.clock.set(self.clock.now() - by);
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

    async fn set_back(&self, by: Duration) {
        self.0.set_back(by).await;
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

    async fn set_back(&self, by: Duration) {
        self.0.set_back(by).await;
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

/// What `MemoryStore` promises beyond the contract.
mod memory_store_alone {
    use batchsuite_auth::{
        Environment,
        ids::ConsentId,
        machine::ConsentRefusal,
        secret::BrowserSecret,
        store::{NewConsent, TakeConsent, TakenConsent},
    };
    use batchsuite_tests::{acme, ada, key};

    use super::*;

    const LIFETIME: Duration = Duration::from_secs(600);

    fn consent() -> NewConsent {
        NewConsent {
            id: ConsentId::random(),
            key: key(&acme()),
            actor: ada(),
            state: BrowserSecret::random().hash(),
            browser: BrowserSecret::random().hash(),
            verifier: None,
            redirect_uri: "https://host.example/callback".parse().expect("a valid URL"),
            client_id: "client".to_owned(),
            return_to: None,
            lifetime: LIFETIME,
            per_company: 10,
            per_actor: 10,
        }
    }

    async fn take(store: &MemoryStore, consent: &NewConsent) -> TakenConsent {
        let take = TakeConsent {
            environment: Environment::Cie,
            state: consent.state,
            browser: consent.browser,
            actor: consent.actor.clone(),
            event: None,
        };
        store.take_consent(take).await.expect("the store answers")
    }

    #[tokio::test]
    async fn a_clone_shares_what_is_stored() {
        let store = MemoryStore::new();
        let consent = consent();

        store.clone().begin_consent(consent.clone()).await.unwrap();

        assert!(matches!(take(&store, &consent).await, TakenConsent::Taken(_)));
    }

    #[tokio::test]
    async fn an_expired_consent_is_known_for_an_hour_and_then_forgotten() {
        let clock = ManualClock::new();
        let store = MemoryStore::with_clock(clock.clone());
        let (known, forgotten) = (consent(), consent());
        store.begin_consent(forgotten.clone()).await.unwrap();
        clock.advance(Duration::from_secs(60));
        store.begin_consent(known.clone()).await.unwrap();
        clock.advance(LIFETIME + Duration::from_secs(3600 - 60));

        store.begin_consent(consent()).await.unwrap();

        assert!(matches!(take(&store, &forgotten).await, TakenConsent::Unknown));
        assert!(matches!(take(&store, &known).await, TakenConsent::Refused(ConsentRefusal::Expired)));
    }

    #[tokio::test]
    async fn debug_shows_the_clock_and_how_many_companies() {
        let store = MemoryStore::with_clock(ManualClock::new());
        store.begin_consent(consent()).await.unwrap();

        let shown = format!("{store:?}");

        assert!(shown.starts_with("MemoryStore { clock: ManualClock") && shown.contains("companies: 1"), "{shown}");
    }
}

mod postgres_store {
    use super::*;

    batchsuite_auth::store_contract_tests!(Postgres::new());
}
