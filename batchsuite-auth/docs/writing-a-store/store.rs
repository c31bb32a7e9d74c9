use std::fmt;

use batchsuite_auth::store::Store;
use tokio::time::timeout;

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStore").field("directory", &self.0.directory).finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl Store for FileStore {
    async fn load(&self, key: &RowKey) -> Result<Row> {
        let key = key.clone();
        self.run(key.environment, move |verb| verb.load(key)).await
    }

    async fn save(&self, swap: Swap) -> Result<Saved> {
        self.run(swap.key.environment, move |verb| verb.save(swap)).await
    }

    async fn put_consent(&self, new: NewConsent, caps: ConsentCaps, event: NewEvent) -> Result<()> {
        self.run(new.consent.environment, move |verb| verb.put_consent(new, caps, event)).await
    }

    async fn find_consent(&self, environment: Environment, state: &SecretHash) -> Result<Option<FoundConsent>> {
        let state = *state;
        self.run(environment, move |verb| verb.find_consent(state)).await
    }

    async fn use_consent(
        &self,
        environment: Environment,
        id: ConsentId,
        event: Option<NewEvent>,
    ) -> Result<Option<Timestamp>> {
        self.run(environment, move |verb| verb.use_consent(id, event)).await
    }

    async fn wake(&self, environment: Environment, limit: usize) -> Result<Vec<Row>> {
        self.run(environment, move |verb| verb.wake(limit)).await
    }

    async fn record_use(&self, environment: Environment, companies: &[CompanyId]) -> Result<()> {
        let companies = companies.to_vec();
        self.run(environment, move |verb| verb.record_use(&companies)).await
    }

    async fn list(&self, query: ListQuery) -> Result<Page<Row, CompanyId>> {
        self.run(query.environment, move |verb| Ok(verb.list(&query))).await
    }

    async fn events(&self, query: EventQuery) -> Result<EventPage> {
        self.run(query.environment, move |verb| verb.events(&query)).await
    }

    async fn append(&self, environment: Environment, event: NewEvent) -> Result<EventId> {
        self.run(environment, move |verb| verb.append(event)).await
    }

    async fn prune(&self, prune: Prune) -> Result<Pruned> {
        self.run(prune.environment, move |verb| verb.prune(prune)).await
    }

    async fn changes(&self, environment: Environment, after: Option<EventId>, wait: Duration) -> Result<Changes> {
        // Subscribe before reading, so that a write in between ends the wait.
        let mut written = self.0.written.subscribe();
        let look = || self.run(environment, move |verb| verb.changes(after));
        let changed = async {
            loop {
                let changes = look().await?;
                if after != Some(changes.cursor) || written.changed().await.is_err() {
                    return Ok(changes);
                }
            }
        };
        match timeout(wait, changed).await {
            Ok(changes) => changes,
            Err(_) => look().await,
        }
    }

    async fn take_delivery(
        &self,
        environment: Environment,
        delivery: &Delivery,
        lease: Duration,
    ) -> Result<Option<EventId>> {
        let delivery = delivery.clone();
        self.run(environment, move |verb| verb.take_delivery(&delivery, lease)).await
    }

    async fn advance_delivery(
        &self,
        environment: Environment,
        delivery: &Delivery,
        cursor: EventId,
        then: DeliveryEnd,
    ) -> Result<bool> {
        let delivery = delivery.clone();
        self.run(environment, move |verb| verb.advance_delivery(&delivery, cursor, then)).await
    }
}
